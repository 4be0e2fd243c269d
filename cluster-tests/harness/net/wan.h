/* A model of the links between sites: what happens to a frame on its way. No clock, no I/O: the
 * program (main.c) feeds it frames and the time, a test feeds it what it likes. One seed replays
 * every decision, given the same frames.
 *
 * A link is directed. In this order: a link that is down drops; loss; a full queue drops;
 * duplication; then the rate says when the last bit has left, delay and jitter are added, and a
 * frame that may overtake (reorder) skips the delay. Jitter alone never reorders. A frame that is
 * under way when its link goes down is dropped too: a cut is a cut. */
#ifndef ET_CLUSTER_TESTS_HARNESS_NET_WAN_H
#define ET_CLUSTER_TESTS_HARNESS_NET_WAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ET_WAN_SITES_MAX 16
#define ET_WAN_FRAME_MAX 2048
#define ET_WAN_ALL (-1) /* every site */

struct et_wan_link {
	bool up;
	uint64_t delay_us, jitter_us;
	uint32_t loss_ppm, duplicate_ppm, reorder_ppm;
	uint64_t rate_bps;    /* 0: unlimited */
	uint32_t queue_limit; /* frames */

	/* Counted; cut: dropped because the link was down, before or on the way. */
	uint64_t in, out, out_bytes, lost, cut, overflowed, duplicated, reordered;

	uint32_t queued;
	uint64_t busy_until_us, last_due_us;
};

struct et_wan_frame {
	uint64_t due_us, sequence;
	int from, to;
	size_t size;
	uint8_t data[];
};

/* Opaque. One thread. */
struct et_wan;

/* NULL when there is no memory. 1 <= sites <= ET_WAN_SITES_MAX; every link is up, without delay. */
struct et_wan *et_wan_new(int sites, uint64_t seed);

/* NULL is allowed. Returns NULL. */
struct et_wan *et_wan_free(struct et_wan *w);

/* borrowed, until `w` is freed. */
struct et_wan_link *et_wan_link(struct et_wan *w, int from, int to);

/* A frame left `from` for `to` at `now_us` (never decreasing). `data` is copied. */
void et_wan_send(struct et_wan *w, uint64_t now_us, int from, int to, const uint8_t *data,
		 size_t size);

/* When the next frame is due, or UINT64_MAX. */
uint64_t et_wan_due(const struct et_wan *w);

/* The next frame that has arrived by `now_us`, or NULL. The caller owns it: free(). */
struct et_wan_frame *et_wan_take(struct et_wan *w, uint64_t now_us);

/* One line of control; its answer, "OK ...\n" or "ERR why\n", in `reply` (cut to `size`).
 *
 *   set FROM TO KEY VALUE [KEY VALUE...]   FROM, TO: a site's number or *; KEY: delay, jitter (ms),
 * loss, dup, reorder (percent), kbit, limit (frames), up (0 or 1) clear every link up, without
 * delay, loss, rate seed N stats                                  one line a link: FROM>TO
 * key=value... ping
 *
 * A line that is not understood changes nothing. */
void et_wan_command(struct et_wan *w, const char *line, char *reply, size_t size);

#endif
