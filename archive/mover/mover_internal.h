/* What the files of the mover share. */
#ifndef ET_ARCHIVE_MOVER_MOVER_INTERNAL_H
#define ET_ARCHIVE_MOVER_MOVER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "archive/mover/mover.h"
#include "archive/pack/pack.h"
#include "node/base/bytes.h"
#include "node/base/queue.h"

#define MOVER_PLACE_SIZE 80 /* "target:" and a name, or "node:" and a number */
#define MOVER_PATH_MAX 4096
#define MOVER_PAUSE_MIN_US (2LL * 1000000)
#define MOVER_PAUSE_MAX_US (300LL * 1000000)
#define MOVER_PARALLEL_MAX 16

/* How a target was doing, as seen from here. */
struct mover_target {
	char name[ET_ARCHIVE_NAME_MAX + 1];
	int64_t last_ok_us;
	int64_t last_error_us;
	char last_error[256];
	int64_t pause_us;      /* 0: it was all right */
	int64_t not_before_us; /* monotonic */
};

struct et_mover {
	uint64_t node;
	char *media; /* owned */
	struct et_state *state;
	struct et_mover_config config;
	char place[MOVER_PLACE_SIZE]; /* "node:<own>" */

	pthread_t thread;
	struct et_queue queue; /* struct mover_message, to the thread */
	atomic_bool stopping;
	atomic_bool media_full; /* as of the last look: a job waits for room on this node's disk */
	bool waits_for_room;	/* the thread's: a job of this look does */

	/* Under the lock: what other threads look at. */
	pthread_mutex_t lock;
	struct et_bucket *bucket; /* the one in use, to be cancelled; or NULL */
	struct mover_target targets[ET_ARCHIVE_TARGETS_MAX];
	size_t target_count;
};

/* rules.c: a policy's text, checked as et_archive_validate() does. */
int mover_policy_read(const char *text, size_t size, const char *file,
		      struct et_archive_policy **ret, struct et_error *reterr) ET_MUST_CHECK;

/* A segment, by name. */
struct mover_segment {
	uint8_t recording[16];
	uint32_t generation;
	uint32_t segment;
};

/* To the thread: look at the jobs; and these copies of ours were evicted. */
struct mover_message {
	struct et_queue_node node;
	size_t count;
	struct mover_segment evicted[];
};

/* ---- Small things (common.c) ---- */

void mover_place_target(const char *target, char ret[MOVER_PLACE_SIZE]);
/* The target's name of "target:NAME", a view; NULL: it is another place. */
const char *mover_target_of(const char *place);
ProtobufCBinaryData mover_bytes(const void *data,
				size_t size); /* a view that protobuf-c may not free */
/* "018f…/1.2": recording, generation and segment, for messages. */
#define MOVER_SEGMENT_TEXT_SIZE 72
void mover_segment_text(const uint8_t recording[16], uint32_t generation, uint32_t segment,
			char ret[MOVER_SEGMENT_TEXT_SIZE]);
/* <media>/<file>; ET_EMALFORMED: a name that leads out of the folder. */
int mover_path(const char *media, const char *file, char ret[MOVER_PATH_MAX]) ET_MUST_CHECK;
/* The verified copy of a segment at a place. ET_ENOTFOUND. The caller owns *ret. */
int mover_copy_get(const struct et_state_view *v, const uint8_t recording[16], uint32_t generation,
		   uint32_t segment, const char *place, Et__Copy **ret) ET_MUST_CHECK;
/* Propose, and wait for the answer, again while there is no quorum. 0; what apply said;
 * ET_ENOQUORUM..; ET_ECLOSED: the mover stops. What is proposed must bear to be applied twice. */
int mover_propose(struct et_mover *m, Et__Command *command, struct et_error *reterr) ET_MUST_CHECK;
/* The catalogue could not be told (no quorum, ...): the whole is tried again later. */
bool mover_is_unsaid(int code);
/* CopyBad for the copy at `place`; failing to say so is logged. */
void mover_report_bad(struct et_mover *m, const struct mover_segment *s, const char *place,
		      const char *why);
/* Is this a failure of the target that passes by itself, or by an administrator's hand? */
bool mover_is_passing(int code);
void mover_target_ok(struct et_mover *m, const char *target);
void mover_target_failed(struct et_mover *m, const char *target, const struct et_error *e);
/* Monotonic: when may the target be tried again? 0: now. */
int64_t mover_target_pause(struct et_mover *m, const char *target);

/* ---- Packs on their way (source.c, upload.c, evict.c) ---- */

struct mover_member {
	int fd; /* -1: left out */
	struct et_pack_entry entry;
	struct mover_segment id;
	bool tell_hash; /* the catalogue has none of its bytes: it comes with the copy */
};

/* A pack that is never written to disk: header and tail in memory, members in their files. */
struct mover_pack {
	struct mover_member *members; /* owned */
	size_t count;
	uint8_t header[ET_PACK_HEADER_SIZE];
	struct et_buffer tail;
	uint64_t size;
	uint8_t sha256[32];
	char key[ET_PACK_KEY_SIZE];
	struct et_pack_entry *entries; /* owned */
	struct et_error problem;       /* code 0, or about the first member that was left out */
};

/* Open the members and check them; those that are missing or bad are reported and left out. The
 * name and size are known then. ET_ENOTFOUND: no member is left. */
int mover_pack_open(struct et_mover *m, const struct et_state_view *v, Et__PlanItem *const *items,
		    size_t count, struct mover_pack *ret, struct et_error *reterr) ET_MUST_CHECK;
int mover_pack_read(void *pack, uint64_t offset, void *data, size_t size);
void mover_pack_release(struct mover_pack *p);

/* Run upload jobs, several at a time; evict jobs one by one. 0, or why to stop for now. */
int mover_upload_jobs(struct et_mover *m, Et__Job **jobs, size_t count) ET_MUST_CHECK;
int mover_evict_job(struct et_mover *m, const Et__Job *job) ET_MUST_CHECK;
int mover_restore_job(struct et_mover *m, const Et__Job *job) ET_MUST_CHECK;
/* Say what became of a job. */
int mover_job_update(struct et_mover *m, const Et__Job *job, const char *state, const char *error,
		     uint64_t done_bytes) ET_MUST_CHECK;

/* Unlink what this node evicted, if the catalogue still says so. */
void mover_unlink(struct et_mover *m, const struct mover_segment *s);
void mover_unlink_all(struct et_mover *m);

/* Open the bucket of a target of the policy in force, and keep it where et_mover_stop() finds it.
 */
int mover_bucket_open(struct et_mover *m, const struct et_archive_policy *policy,
		      const char *target, struct et_bucket **ret,
		      struct et_error *reterr) ET_MUST_CHECK;
void mover_bucket_close(struct et_mover *m, struct et_bucket *b);

#endif
