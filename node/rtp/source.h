/* What one RTP source sent and what of it arrived: RFC 3550, appendix A.1 (sequence numbers), A.3
 * (loss) and A.8 (jitter).
 *
 * We depart from the RFC where evidence asks for it: every packet is counted, also those that the
 * RFC's receiver would drop. A jump in the sequence numbers that the next packet confirms begins a
 * new run (the sender restarted); a jump that it does not confirm is a run of one packet. Expected
 * is the sum over runs, so that
 *
 *   packets = unique + duplicate,   lost = expected - unique,   lost >= 0.
 *
 * Threads: a plain value of one thread. */
#ifndef ET_NODE_RTP_SOURCE_H
#define ET_NODE_RTP_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#define ET_RTP_WINDOW 1024	/* packets behind the highest that are told from duplicates */
#define ET_RTP_DROPOUT_MAX 3000 /* a longer gap is a restart (A.1: MAX_DROPOUT) */

enum et_rtp_arrival {
	ET_RTP_IN_ORDER,
	ET_RTP_LATE,	  /* after a higher sequence number; not seen before */
	ET_RTP_DUPLICATE, /* seen before */
	ET_RTP_JUMP,	  /* far off: first of a new run, if the next packet confirms it */
};

struct et_rtp_source {
	uint64_t packets;
	uint64_t duplicate;
	uint64_t late;
	uint64_t runs; /* restarts of the sequence, the first among them */

	/* Private. */
	uint64_t expected_before; /* of finished runs */
	int64_t base;		  /* extended sequence numbers of this run */
	int64_t highest;
	int64_t origin_us;  /* arrival of the first packet */
	uint32_t transit;   /* in clock units, modulo 2^32 */
	uint32_t jitter16;  /* 16 times the jitter, in clock units (A.8) */
	uint32_t clock_hz;  /* of jitter16 */
	bool jumped;	    /* the last packet was a jump, to: */
	uint16_t jump_next; /* what confirms it */
	bool has_transit;
	uint64_t seen[ET_RTP_WINDOW / 64]; /* bit: extended sequence modulo the window */
};

/* Count a packet. `clock_hz` 0: no jitter from this one (events, comfort noise). */
enum et_rtp_arrival et_rtp_source_add(struct et_rtp_source *s, uint16_t sequence,
				      uint32_t timestamp, int64_t arrival_us, uint32_t clock_hz);

uint64_t et_rtp_source_expected(const struct et_rtp_source *s);
uint64_t et_rtp_source_lost(const struct et_rtp_source *s);
uint32_t et_rtp_source_jitter_us(const struct et_rtp_source *s);

#endif
