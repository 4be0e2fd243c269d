#include "node/rtp/source.h"

#include <string.h>

#define US_PER_S INT64_C(1000000)

static bool seen_test(const struct et_rtp_source *s, int64_t number)
{
	uint64_t bit = (uint64_t)number % ET_RTP_WINDOW;
	return (s->seen[bit / 64] >> (bit % 64) & 1) != 0;
}

static void seen_set(struct et_rtp_source *s, int64_t number, bool seen)
{
	uint64_t bit = (uint64_t)number % ET_RTP_WINDOW;
	uint64_t mask = 1ULL << (bit % 64);
	s->seen[bit / 64] = seen ? s->seen[bit / 64] | mask : s->seen[bit / 64] & ~mask;
}

static void run_begin(struct et_rtp_source *s, uint16_t sequence)
{
	s->runs++;
	/* Far above zero, so that numbers before the base stay positive. */
	s->base = ((int64_t)1 << 32) + sequence;
	s->highest = s->base;
	memset(s->seen, 0, sizeof(s->seen));
	seen_set(s, s->base, true);
	s->has_transit = false;
}

static void jitter_add(struct et_rtp_source *s, uint32_t timestamp, int64_t arrival_us,
		       uint32_t clock_hz)
{
	/* Since the first packet. Seconds on their own: no clock times no time overflows, though a
	 * file may say that ten thousand years have passed. */
	const int64_t since_us = arrival_us - s->origin_us;
	int64_t units = since_us / US_PER_S * (int64_t)clock_hz +
			since_us % US_PER_S * (int64_t)clock_hz / US_PER_S;
	uint32_t transit = (uint32_t)units - timestamp;
	if (!s->has_transit || s->clock_hz != clock_hz) {
		s->has_transit = true;
		s->clock_hz = clock_hz;
		s->transit = transit;
		return;
	}
	int32_t d = (int32_t)(transit - s->transit);
	s->transit = transit;
	uint32_t distance = d < 0 ? 0U - (uint32_t)d : (uint32_t)d;
	s->jitter16 += distance - ((s->jitter16 + 8) >> 4);
}

/* The packet is `delta` away from the highest, within the window or the dropout. */
static enum et_rtp_arrival place(struct et_rtp_source *s, int delta)
{
	int64_t number = s->highest + delta;
	if (delta > 0) {
		int64_t clear = delta < ET_RTP_WINDOW ? delta : ET_RTP_WINDOW;
		for (int64_t i = 0; i < clear; i++) {
			seen_set(s, number - i, false);
		}
		seen_set(s, number, true);
		s->highest = number;
		return ET_RTP_IN_ORDER;
	}
	if (seen_test(s, number)) {
		s->duplicate++;
		return ET_RTP_DUPLICATE;
	}
	seen_set(s, number, true);
	if (number < s->base) {
		s->base = number;
	}
	s->late++;
	return ET_RTP_LATE;
}

static enum et_rtp_arrival jump(struct et_rtp_source *s, uint16_t sequence)
{
	if (s->jumped && sequence == s->jump_next) {
		/* Confirmed: the run before is over, and this one began a packet ago. That packet
		 * was counted as a run of its own. */
		s->expected_before += (uint64_t)(s->highest - s->base + 1) - 1;
		run_begin(s, (uint16_t)(sequence - 1));
		s->jumped = false;
		return place(s, 1);
	}
	s->jumped = true;
	s->jump_next = (uint16_t)(sequence + 1);
	s->expected_before++;
	return ET_RTP_JUMP;
}

enum et_rtp_arrival et_rtp_source_add(struct et_rtp_source *s, uint16_t sequence,
				      uint32_t timestamp, int64_t arrival_us, uint32_t clock_hz)
{
	enum et_rtp_arrival arrival = ET_RTP_IN_ORDER;
	if (s->packets++ == 0) {
		s->origin_us = arrival_us;
		run_begin(s, sequence);
	} else {
		int delta = (int16_t)(uint16_t)(sequence - (uint16_t)s->highest);
		if (delta > ET_RTP_DROPOUT_MAX || delta <= -ET_RTP_WINDOW) {
			arrival = jump(s, sequence);
		} else {
			arrival = place(s, delta);
			s->jumped = false;
		}
	}
	if (clock_hz != 0 && arrival != ET_RTP_DUPLICATE && arrival != ET_RTP_JUMP) {
		jitter_add(s, timestamp, arrival_us, clock_hz);
	}
	return arrival;
}

uint64_t et_rtp_source_expected(const struct et_rtp_source *s)
{
	return s->packets == 0 ? 0 : s->expected_before + (uint64_t)(s->highest - s->base + 1);
}

uint64_t et_rtp_source_lost(const struct et_rtp_source *s)
{
	uint64_t unique = s->packets - s->duplicate;
	uint64_t expected = et_rtp_source_expected(s);
	return expected > unique ? expected - unique : 0;
}

uint32_t et_rtp_source_jitter_us(const struct et_rtp_source *s)
{
	return s->clock_hz == 0 ? 0
				: (uint32_t)((uint64_t)(s->jitter16 >> 4) * 1000000U / s->clock_hz);
}
