#include "node/rtp/clock.h"

#include <stdlib.h>

#include "node/base/defs.h"

enum {
	LATE_SEQUENCE = 3000,	/* further back a sequence number is a new beginning */
	USUAL_PER_S = 50,	/* packets of a stream, as long as it is not known */
	PACKET_US_MAX = 250000, /* of one packet; a late one lies back by its numbers times this */
};

#define US_PER_S INT64_C(1000000)
/* Within these no product overflows (a rate is below 2^32), and no rule below applies. */
#define NEAR_US INT64_C(400000)
#define NEAR_SINCE_US (INT64_C(1) << 30)
#define NEAR_TICKS (INT64_C(1) << 42)

static int64_t ticks_us(int64_t ticks, uint32_t rate)
{
	const int64_t whole = ticks / rate;
	const int64_t rest = (ticks % rate) * US_PER_S;

	return whole * US_PER_S + (rest > 0 ? (rest + rate - 1) / rate : rest / rate);
}

int64_t et_rtp_place_us(struct et_rtp_place place, uint32_t rate)
{
	return place.anchor_us + ticks_us(place.ticks, rate);
}

int64_t et_rtp_clock_end_us(const struct et_rtp_clock *c)
{
	struct et_rtp_place end = c->now.place;

	end.ticks += c->length != 0 ? c->length : c->rate / USUAL_PER_S;
	return et_rtp_place_us(end, c->rate);
}

/* The place of a timestamp, as told from a point. */
static struct et_rtp_place place_from(const struct et_rtp_clock_point *p, uint32_t timestamp)
{
	return (struct et_rtp_place){ .anchor_us = p->place.anchor_us,
				      .ticks = p->place.ticks +
					       (int32_t)(timestamp - p->timestamp) };
}

/* The newest packet plays there; what its place hangs on stays. */
static void clock_move(struct et_rtp_clock *c, struct et_rtp_place place,
		       const struct et_rtp_clock_packet *p)
{
	c->now.place = place;
	c->now.timestamp = p->timestamp;
	c->now.sequence = p->sequence;
}

static int64_t sum_or_never(int64_t a, int64_t b)
{
	const bool counts = a > ET_RTP_CLOCK_NEVER && b > ET_RTP_CLOCK_NEVER;

	return counts && a + b > ET_RTP_CLOCK_NEVER ? a + b : ET_RTP_CLOCK_NEVER;
}

/* Begin to count anew: this packet is where its arrival says, but not on top of what is there. */
static void clock_anchor(struct et_rtp_clock *c, const struct et_rtp_clock_packet *p,
			 int64_t end_us)
{
	end_us = end_us == INT64_MIN ? et_rtp_clock_end_us(c) : end_us;
	const int64_t at_us = end_us > p->arrival_us ? end_us : p->arrival_us;
	const int64_t floor_us = sum_or_never(c->now.floor_us, end_us - at_us);

	c->before = c->now;
	c->was_anchored_before = true;
	c->now.shift_us = sum_or_never(c->now.shift_us, end_us - at_us);
	c->now.floor_us = floor_us > p->arrival_us - at_us ? floor_us
							   : sum_or_never(p->arrival_us - at_us, 0);
	clock_move(c, (struct et_rtp_place){ .anchor_us = at_us }, p);
	c->anchor_sequence = p->sequence;
	c->anchors++;
}

/* Does the timestamp of the next packet say something that its arrival cannot be true to? */
static bool clock_jumps(const struct et_rtp_clock *c, const struct et_rtp_clock_packet *p)
{
	const int64_t step = ticks_us((int32_t)(p->timestamp - c->now.timestamp), c->rate);
	const int64_t ahead =
		et_rtp_place_us(place_from(&c->now, p->timestamp), c->rate) - p->arrival_us;
	const int64_t surplus = step - (p->arrival_us - c->arrival_us);

	if (step < 0) {
		return true; /* Time went back while packets went on. */
	}
	if (ahead > ET_RTP_CLOCK_AHEAD_US && surplus > ET_RTP_CLOCK_AHEAD_US) {
		return true;
	}
	return ahead < -ET_RTP_CLOCK_BEHIND_US ||
	       (p->marker && ahead < -ET_RTP_CLOCK_PAUSE_US && surplus < -ET_RTP_CLOCK_PAUSE_US);
}

/* Does the packet go on where the last anchor left off, as if nothing had been since? */
static bool clock_returns(const struct et_rtp_clock *c, const struct et_rtp_clock_packet *p,
			  struct et_rtp_place *ret)
{
	const int64_t off_now =
		et_rtp_place_us(place_from(&c->now, p->timestamp), c->rate) - p->arrival_us;
	const uint16_t step = (uint16_t)(p->sequence - c->before.sequence);

	*ret = place_from(&c->before, p->timestamp);
	return c->was_anchored_before && step > 0 && step < LATE_SEQUENCE &&
	       ret->ticks > c->before.place.ticks &&
	       llabs(et_rtp_place_us(*ret, c->rate) - p->arrival_us) < ET_RTP_CLOCK_AHEAD_US &&
	       llabs(off_now) > ET_RTP_CLOCK_BEHIND_US;
}

/* A packet from behind the newest one: true if it is a late one, and *ret is where it belongs. */
static bool clock_late(const struct et_rtp_clock *c, const struct et_rtp_clock_packet *p,
		       struct et_rtp_place *ret)
{
	const int16_t step = (int16_t)(uint16_t)(p->sequence - c->now.sequence);
	const int64_t us = ticks_us((int32_t)(p->timestamp - c->now.timestamp), c->rate);

	if (step > 0 || step <= -LATE_SEQUENCE) {
		return false;
	}
	if (c->was_anchored_before && (int16_t)(uint16_t)(p->sequence - c->anchor_sequence) < 0) {
		*ret = place_from(&c->before, p->timestamp);
		return true;
	}
	*ret = place_from(&c->now, p->timestamp);
	return us <= 0 && (us > -ET_RTP_CLOCK_LATE_US || us >= (int64_t)step * PACKET_US_MAX);
}

/* By its arrival alone. */
static void clock_first(struct et_rtp_clock *c, const struct et_rtp_clock_packet *p,
			int64_t begin_us)
{
	/* What came just before the begin was overtaken on its way: none of it is cut. */
	const bool early = begin_us != INT64_MIN && p->arrival_us < begin_us &&
			   p->arrival_us >= begin_us - ET_RTP_CLOCK_EARLY_US;

	clock_move(c, (struct et_rtp_place){ .anchor_us = early ? begin_us : p->arrival_us }, p);
	c->now.floor_us = c->anchors == 0 ? ET_RTP_CLOCK_NEVER : 0;
	c->now.shift_us = c->anchors == 0 ? 0 : ET_RTP_CLOCK_NEVER;
	c->anchor_sequence = p->sequence;
	c->arrival_us = p->arrival_us;
	c->anchored = true;
	if (c->anchors == 0) {
		c->first = *p;
		c->first_place = c->now.place;
	}
}

/* The usual case, told without a division: forward, and so near its arrival that nothing else can
 * be meant. */
static bool clock_goes_on(const struct et_rtp_clock *c, const struct et_rtp_clock_packet *p)
{
	const int16_t step = (int16_t)(uint16_t)(p->sequence - c->now.sequence);
	const int32_t ticks = (int32_t)(p->timestamp - c->now.timestamp);
	const int64_t since_us = p->arrival_us - c->now.place.anchor_us;
	const int64_t all = c->now.place.ticks + ticks;

	if (step <= 0 || ticks < 0 || since_us < 0 || since_us > NEAR_SINCE_US || all < 0 ||
	    all > NEAR_TICKS) {
		return false;
	}
	const int64_t off = all * US_PER_S - since_us * c->rate;
	return off < NEAR_US * c->rate && off > -NEAR_US * c->rate;
}

static void clock_advance(struct et_rtp_clock *c, const struct et_rtp_clock_packet *p)
{
	const uint32_t ticks = p->timestamp - c->now.timestamp;

	if ((uint16_t)(p->sequence - c->now.sequence) == 1 && ticks > 0 &&
	    (uint64_t)ticks * US_PER_S <= (uint64_t)PACKET_US_MAX * c->rate) {
		c->length = ticks;
	}
	clock_move(c, place_from(&c->now, p->timestamp), p);
	c->arrival_us = p->arrival_us;
}

struct et_rtp_place et_rtp_clock_add(struct et_rtp_clock *c, uint32_t rate,
				     const struct et_rtp_clock_packet *packet, int64_t begin_us,
				     int64_t end_us)
{
	struct et_rtp_place place;

	et_assert(rate > 0);
	if (c->anchored && c->rate != rate) {
		c->anchors++; /* Its timestamps mean something else from here on. */
		c->anchored = false;
		c->was_anchored_before = false;
		c->length = 0;
	}
	c->rate = rate;
	if (!c->anchored) {
		clock_first(c, packet, begin_us);
		return c->now.place;
	}
	if (clock_goes_on(c, packet)) {
		clock_advance(c, packet);
		return c->now.place;
	}
	if (clock_late(c, packet, &place)) {
		return place;
	}
	if (clock_returns(c, packet, &place)) {
		const struct et_rtp_clock_point stray = c->now;
		c->now = c->before;
		c->before = stray;
		clock_move(c, place, packet);
		c->anchor_sequence = packet->sequence;
	} else if ((int16_t)(uint16_t)(packet->sequence - c->now.sequence) <= 0 ||
		   clock_jumps(c, packet)) {
		clock_anchor(c, packet, end_us);
	} else {
		clock_advance(c, packet);
	}
	c->arrival_us = packet->arrival_us;
	return c->now.place;
}

/* The point of a clock whose first packet plays `us` later. */
static void point_shift(struct et_rtp_clock_point *p, int64_t us)
{
	const int64_t floor_us = p->floor_us;
	const int64_t shift_us =
		p->shift_us > ET_RTP_CLOCK_NEVER ? p->shift_us + us : ET_RTP_CLOCK_NEVER;

	p->place.anchor_us += floor_us > shift_us ? floor_us : shift_us;
}

void et_rtp_clock_resume(struct et_rtp_clock *c, const struct et_rtp_clock *saved, int64_t end_us)
{
	if (!saved->anchored) {
		return;
	}
	if (!c->anchored) {
		*c = *saved;
		return;
	}
	/* Put the first packet of that part where it belongs: the others go along. */
	const struct et_rtp_place first =
		et_rtp_clock_add(c, saved->rate, &saved->first, INT64_MIN, end_us);
	const int64_t shift_us = et_rtp_place_us(first, saved->rate) -
				 et_rtp_place_us(saved->first_place, saved->rate);
	const struct et_rtp_clock before = *c;
	*c = *saved;
	c->anchors = before.anchors + saved->anchors;
	c->first = before.first;
	c->first_place = before.first_place;
	if (saved->anchors == 0) { /* exact, whatever the rate */
		c->now.place.anchor_us = first.anchor_us;
		c->now.place.ticks =
			first.ticks + saved->now.place.ticks - saved->first_place.ticks;
		c->before = before.before;
		c->was_anchored_before = before.was_anchored_before;
		c->anchor_sequence = before.anchor_sequence;
		return;
	}
	point_shift(&c->now, shift_us);
	point_shift(&c->before, shift_us);
}
