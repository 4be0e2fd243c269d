/* From capture's events to journalled commands.
 *
 * Happy path: capture says RECORDING_OPEN; the command is in the journal before capture writes the
 * first record of the tape; the same sync tick makes both durable; the main loop gets the packed
 * command and brings it into the catalogue (proposer.h).
 * Failures: the journal is full or its disk is: the event is refused, capture records no such call
 * and counts it. The loop takes no more messages: the command stays in the journal and is proposed
 * at the next start; `stuck` counts it (health code JOURNAL_STUCK).
 *
 * Threads: et_events_on_capture() on capture's writer thread; the callbacks of et_events_config on
 * the loop; the counters any. */
#ifndef ET_NODE_DAEMON_EVENTS_H
#define ET_NODE_DAEMON_EVENTS_H

#include <stdatomic.h>

#include "node/capture/capture.h"
#include "node/io/post.h"
#include "raft/journal/journal.h"

struct et_events_config {
	struct et_postbox *postbox; /* borrowed: of the main loop */
	struct et_journal *journal; /* borrowed */
	uint64_t node;
	const char *store_uuid;	       /* borrowed */
	const char *media;	       /* borrowed: the media folder */
	uint32_t (*schema)(void *arg); /* the committed one; on the writer's thread */
	/* On the loop: a command was journalled. View. */
	void (*on_command)(void *arg, struct et_view packed);
	/* On the loop: what is known of a live recording now; NULL record: it ended. View. */
	void (*on_live)(void *arg, const uint8_t recording[16], const Et__Recording *record);
	void *arg;
};

struct et_events {
	/* Private. */
	struct et_events_config config;
	struct facts *facts; /* of live recordings: what was last said to the catalogue */
	/* Any thread. */
	atomic_uint_fast64_t stuck;
	atomic_uint_fast64_t refused;
	atomic_int problem_code; /* the last PROBLEM, 0 when a tick has passed since */
	atomic_int_fast64_t synced_us;
};

void et_events_init(struct et_events *events, const struct et_events_config *config);
/* After et_capture_stop(). */
void et_events_release(struct et_events *events);

/* What capture says of a recording as the catalogue has it; `fn` may change it while it lasts. Its
 * result is returned. Any thread. */
int et_events_recording(const struct et_capture_recording *from,
			int (*fn)(void *arg, Et__Recording *r), void *arg);

/* An et_capture_event_fn; `arg` is the struct et_events. */
int et_events_on_capture(void *arg, const struct et_capture_event *ev);
/* et_capture_padding.allowed: all members can read a padded tape. `arg` as above. */
bool et_events_may_pad(void *arg);

#endif
