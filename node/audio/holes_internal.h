/* What of a stream's sequence numbers came, and so what was lost: runs of numbers side by side.
 *
 * Between two runs there is a hole. It is one of lost sound only when the numbers say so: the last
 * packet before it had sound, and as many packets like it as are missing are as long as the hole,
 * up to a second. All other holes are pauses, silences that nobody sent (the numbers go on, the
 * timestamps jump), key presses that were told in packets of their own, outages.
 *
 * Threads: one owner at a time. */
#ifndef ET_NODE_AUDIO_HOLES_INTERNAL_H
#define ET_NODE_AUDIO_HOLES_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/defs.h"

enum { HOLES_RUNS_MAX = 1024 }; /* of a stream at a time; more: the oldest is forgotten */

struct holes_run {
	int64_t first; /* sequence numbers, without end */
	int64_t last;
	int64_t from;	/* where the first packet begins, in frames */
	bool has_sound; /* the last packet, as far as it was decoded: */
	int64_t end;	/* behind it */
	int64_t length;
};

/* Zero-initialised has seen nothing. */
struct holes {
	struct holes_run *runs; /* owned */
	size_t count;
	size_t room;
	int64_t newest; /* 0: nothing came */
};

struct hole {
	int64_t from; /* frames [from, to) were lost */
	int64_t to;
	int64_t since; /* the numbers go on from there to `from` */
};

void holes_release(struct holes *h);

/* A packet came, with sound or without; it begins at `position`. -ENOMEM. */
int holes_came(struct holes *h, uint16_t sequence, int64_t position) ET_MUST_CHECK;

/* The sound of one that came ends at `end` and is `length` frames long. */
void holes_heard(struct holes *h, uint16_t sequence, int64_t end, int64_t length);

/* The numbers begin anew: nothing is told of what lies between. */
void holes_begin(struct holes *h);

/* The lost sound right before a packet that came; `rate` in Hz of the frames. False: there is none.
 */
bool holes_before(const struct holes *h, uint16_t sequence, uint32_t rate, struct hole *ret);

/* The next lost sound that begins before `until`; what lies lower is forgotten. */
bool holes_take(struct holes *h, int64_t until, uint32_t rate, struct hole *ret);

#endif
