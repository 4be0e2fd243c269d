/* A sender of calls and who receives them, for bench-live: each in a process and a network
 * namespace of its own, with a veth between. SIP over UDP and G.711 both ways; every frame is
 * counted where it is sent. */
#ifndef ET_CLUSTER_TESTS_BENCH_LIVE_LIVE_H
#define ET_CLUSTER_TESTS_BENCH_LIVE_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/err.h"

#define LIVE_RSS_MAX 256 /* samples of memory */

struct live_plan {
	uint32_t calls; /* set up before the media begins, ended after it; 1 to 65,536 */
	uint32_t
		talking; /* of them, at a time: both parties, all with the same share of the rate */
	uint32_t turn_s; /* then the next ones talk; 0: always the first */
	uint32_t seconds;  /* of media */
	uint64_t rate;	   /* media packets a second; 0: as many as go */
	size_t ring_bytes; /* of the receiver's kernel ring */
	uint32_t rings;	   /* of the recorder; 0: one */
	uint64_t flood;	   /* hostile frames a second while the calls talk (flood.h) */
};

struct live_sent {
	uint64_t sip; /* packets */
	uint64_t rtp;
	uint64_t flood;
	double media_s;	  /* how long the media took */
	uint64_t retries; /* a full queue of the card: sent again, not lost */
};

/* What a receiver had. A count-only one fills the first two. */
struct live_got {
	uint64_t received; /* frames */
	uint64_t kernel_dropped;
	uint64_t total; /* frames that reached the engine; the sum of the five that follow */
	uint64_t sip;
	uint64_t rtp;
	uint64_t rtcp;
	uint64_t other;
	uint64_t unclaimed;
	uint64_t pending;
	uint64_t media_dropped; /* of rtp, not on a tape */
	uint64_t tape_packets;
	uint64_t tape_bytes;
	uint64_t calls;	 /* recorded */
	uint64_t opened; /* tapes */
	uint64_t sealed; /* tapes that were acknowledged as durable */
	uint64_t problems;
	uint64_t rss_idle; /* bytes, before the first call */
	uint32_t rss_count;
	uint64_t rss[LIVE_RSS_MAX]; /* a sample every 5 s from then on */
};

/* Set up the calls, talk, end them, on the interface `name` of the present namespace. Blocks. */
int live_send(const struct live_plan *plan, const char *name, struct live_sent *ret,
	      struct et_error *reterr);

/* Receive on `name` until `stop_fd` is readable and nothing comes any more; a byte goes to
 * `ready_fd` when it has begun. Count what comes; or record it to sealed tapes under `media`. */
int live_count(const struct live_plan *plan, const char *name, int ready_fd, int stop_fd,
	       struct live_got *ret, struct et_error *reterr);
int live_record(const struct live_plan *plan, const char *name, const char *media, int ready_fd,
		int stop_fd, struct live_got *ret, struct et_error *reterr);

#endif
