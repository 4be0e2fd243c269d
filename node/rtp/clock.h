/* The clock of a stream: when each of its packets plays, told by RTP timestamps and held to the
 * times of arrival. Pure: the same packets in the same order give the same places, whoever counts
 * (playback, or a recorder that notes for playback where a stream stands).
 *
 * The first packet plays when it arrived; the others by their timestamp from there, however late or
 * reordered they come. A stream is anchored again, by arrival and behind what it has played, when
 * timestamp and arrival part by more than a network explains (a restarted sender, a timestamp that
 * stood still on hold, a sender's clock that drifted away over hours):
 *   - the timestamp goes back while the sequence number goes on, or the sequence number goes back
 *     by more than a late packet does;
 *   - it runs ahead of the arrival by more than ET_RTP_CLOCK_AHEAD_US, in one step;
 *   - it is behind the arrival by more than ET_RTP_CLOCK_BEHIND_US, or falls behind by
 *     ET_RTP_CLOCK_PAUSE_US at a packet with the marker bit (the begin of a talk spurt, RFC 3551,
 *     section 4.1).
 *
 * Threads: plain values. */
#ifndef ET_NODE_RTP_CLOCK_H
#define ET_NODE_RTP_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define ET_RTP_CLOCK_LATE_US 10000000 /* how far back a packet of the last anchor may lie */
#define ET_RTP_CLOCK_AHEAD_US 1000000
#define ET_RTP_CLOCK_BEHIND_US 5000000
#define ET_RTP_CLOCK_PAUSE_US 500000
#define ET_RTP_CLOCK_EARLY_US 10000 /* what comes so little before the begin plays at it */
#define ET_RTP_CLOCK_ARRIVAL_MAX (INT64_MAX / 8) /* us from 1970, either way */

#define ET_RTP_CLOCK_NEVER (-(INT64_C(1) << 53))

/* A place: `ticks` of the stream's clock behind a time. */
struct et_rtp_place {
	int64_t anchor_us;
	int64_t ticks; /* may be negative */
};

/* A packet and its place. Had the clock's first packet played `d` us later, it would play
 * max(floor_us, shift_us + d) us later (ET_RTP_CLOCK_NEVER: that one does not count): anchors that
 * lie behind what was played move along, others do not. */
struct et_rtp_clock_point {
	struct et_rtp_place place;
	int64_t floor_us; /* <= 0 */
	int64_t shift_us; /* <= 0 */
	uint32_t timestamp;
	uint16_t sequence;
};

struct et_rtp_clock_packet {
	uint16_t sequence;
	uint32_t timestamp;
	bool marker;
	int64_t arrival_us;
};

/* Zero-initialised has seen nothing. */
struct et_rtp_clock {
	bool anchored;
	bool was_anchored_before;
	uint32_t rate;		       /* Hz */
	struct et_rtp_clock_point now; /* of the newest packet */
	struct et_rtp_clock_point
		before;		  /* that of the last anchor, for what comes late from then */
	uint16_t anchor_sequence; /* packets before it belong to `before` */
	int64_t arrival_us;	  /* of the packet that moved it last */
	uint32_t length;  /* ticks that a packet plays: the last step by one; 0: not known */
	uint64_t anchors; /* how often it was anchored again */
	struct et_rtp_clock_packet first; /* the first packet */
	struct et_rtp_place first_place;  /* and where that was put */
};

/* Where a packet of a clock of `rate` Hz (> 0) plays; moves the clock. `begin_us`: what comes just
 * before it plays at it (INT64_MIN: there is none). `end_us`: a new anchor lies not before it
 * (INT64_MIN: the clock's own guess of what was played). The arrival is within
 * ET_RTP_CLOCK_ARRIVAL_MAX. */
struct et_rtp_place et_rtp_clock_add(struct et_rtp_clock *c, uint32_t rate,
				     const struct et_rtp_clock_packet *packet, int64_t begin_us,
				     int64_t end_us);

/* `saved` saw the packets of a later part of the stream only: `c` goes on as if it had seen those
 * of before and of that part. */
void et_rtp_clock_resume(struct et_rtp_clock *c, const struct et_rtp_clock *saved, int64_t end_us);

/* The time of a place, rounded up. */
int64_t et_rtp_place_us(struct et_rtp_place place, uint32_t rate);

/* Behind the newest packet, as far as its length is known. */
int64_t et_rtp_clock_end_us(const struct et_rtp_clock *c);

#endif
