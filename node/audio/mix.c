#include "node/audio/mix.h"

#include <string.h>

/* Samples stand in a ring of RING frames that begins at `base`; what lies before was given out. A
 * packet is placed anywhere in it; if it ends behind the ring, the ring moves on. In steady state
 * the ring is given out up to LATE behind the newest sample.
 *
 *      base                    newest - LATE              newest        base + RING
 *   ────┼───────────────────────────┼────────────────────────┼───────────────┼────
 *  gone │   to be given out next    │  late packets may come │   silence yet │
 */
enum {
	RING = 131072, /* frames, a power of two: 16.4 s */
	RING_MASK = RING - 1,
	GRAIN = 64,   /* `base` moves in steps of this, but for the last one */
	CHUNK = 4096, /* frames given to the sink at once */
	PER_MS = ET_MIX_RATE / 1000,
	LATE = ET_MIX_LATE_MS * PER_MS,
	LATE_SEQUENCE = 3000,	 /* further back a sequence number is a new beginning */
	PACKET_TICKS_MAX = 2000, /* of one packet; a late one lies back by its numbers times this */
	SAMPLES_MAX = 16384,	 /* of one packet: 2 s */
};
_Static_assert(LATE + SAMPLES_MAX < RING, "a packet fits behind the late window");

/* Limits in frames and microseconds. */
static const int64_t frames_max = (int64_t)ET_MIX_DURATION_MAX_MS * PER_MS;
static const int64_t ahead_max = (int64_t)ET_MIX_AHEAD_MS * PER_MS;
static const int64_t behind_max = (int64_t)ET_MIX_BEHIND_MS * PER_MS;
static const int64_t early_max = (int64_t)ET_MIX_EARLY_MS * PER_MS;
static const int64_t pause_max = (int64_t)ET_MIX_PAUSE_MS * PER_MS;
static const int64_t before_us_max = (int64_t)ET_MIX_LATE_MS * 1000;
static const int64_t after_us_max = (int64_t)ET_MIX_DURATION_MAX_MS * 1000;

/* What is known of a stream's clock: its highest packet, and where that was placed. */
struct clock {
	uint32_t timestamp;
	uint16_t sequence;
	int64_t position; /* frames */
};

struct stream {
	bool anchored;
	bool was_anchored_before;
	struct clock now;
	struct clock before;	  /* that of the last anchor, for what comes late from then */
	uint16_t anchor_sequence; /* packets before it belong to `before` */
	int64_t arrival;	  /* of the packet that moved its clock last, in frames */
	int64_t end;		  /* behind its last placed sample */
	uint64_t *covered; /* owned: a bit a frame of the ring; NULL before the first packet */
};

struct et_mix {
	int64_t origin_us;
	et_mix_sink sink;
	void *arg; /* borrowed */
	int64_t base;
	int64_t newest; /* behind the newest sample of all */
	struct et_mix_stats stats;
	struct stream streams[ET_MIX_STREAMS_MAX];
	int16_t samples[SAMPLES_MAX]; /* of the packet at hand */
	int16_t ring[RING * ET_MIX_CHANNELS];
};

int et_mix_new(int64_t origin_us, et_mix_sink sink, void *arg, struct et_mix **ret,
	       struct et_error *reterr)
{
	struct et_mix *m = calloc(1, sizeof(*m));
	if (m == NULL) {
		return et_fail(reterr, -ENOMEM, "mix");
	}
	m->origin_us = origin_us;
	m->sink = sink;
	m->arg = arg;
	*ret = m;
	return 0;
}

struct et_mix *et_mix_free(struct et_mix *m)
{
	if (m != NULL) {
		for (size_t i = 0; i < ET_MIX_STREAMS_MAX; i++) {
			free(m->streams[i].covered);
		}
		/* As far as it was used: a short mix need not touch all of it. */
		const size_t used = m->newest < RING ? (size_t)m->newest : RING;
		explicit_bzero(m->ring, used * ET_MIX_CHANNELS * sizeof(m->ring[0]));
		explicit_bzero(m->samples, sizeof(m->samples));
		free(m);
	}
	return NULL;
}

/* Give out `count` frames at base; they do not wrap. */
static int mix_emit(struct et_mix *m, size_t count)
{
	const size_t at = (size_t)(m->base & RING_MASK);
	int16_t *frames = m->ring + at * ET_MIX_CHANNELS;

	et_assert(count <= RING - at);
	int rc = m->sink(m->arg, frames, count);
	if (rc < 0) {
		return rc;
	}
	memset(frames, 0, count * ET_MIX_CHANNELS * sizeof(*frames));
	const size_t words = (count + GRAIN - 1) / GRAIN;
	for (size_t i = 0; i < ET_MIX_STREAMS_MAX; i++) {
		if (m->streams[i].covered != NULL) {
			memset(m->streams[i].covered + at / GRAIN, 0,
			       words * sizeof(*m->streams[i].covered));
		}
	}
	m->base += (int64_t)count;
	m->stats.frames += count;
	return 0;
}

/* Give out all frames before `until`. */
static int mix_flush(struct et_mix *m, int64_t until)
{
	int rc = 0;

	while (m->base < until && rc == 0) {
		int64_t count = until - m->base;
		const int64_t to_edge = RING - (m->base & RING_MASK);
		count = count < CHUNK ? count : CHUNK;
		rc = mix_emit(m, (size_t)(count < to_edge ? count : to_edge));
	}
	return rc;
}

/* Frames from the origin, rounded; false: too far from it to be placed. */
static bool mix_position(const struct et_mix *m, int64_t time_us, int64_t *ret)
{
	int64_t since;

	if (__builtin_sub_overflow(time_us, m->origin_us, &since) || since < -before_us_max ||
	    since > after_us_max) {
		return false;
	}
	int64_t scaled = since * PER_MS + 500;
	*ret = scaled / 1000 - (scaled % 1000 < 0 ? 1 : 0);
	return true;
}

/* Begin to count anew: this packet is where its arrival says, but not on top of what is there. */
static int64_t stream_anchor(struct stream *s, const struct et_mix_packet *p, int64_t arrival)
{
	const int64_t position = s->anchored && s->end > arrival ? s->end : arrival;

	if (s->anchored) {
		s->before = s->now;
		s->was_anchored_before = true;
	}
	s->now = (struct clock){ p->timestamp, p->sequence, position };
	s->anchor_sequence = p->sequence;
	s->anchored = true;
	return position;
}

static int64_t clock_position(const struct clock *c, uint32_t timestamp)
{
	return c->position + (int32_t)(timestamp - c->timestamp);
}

/* Does the timestamp of the next packet say something that its arrival cannot be true to? */
static bool stream_jumps(const struct stream *s, const struct et_mix_packet *p, int64_t arrival,
			 int64_t previous_arrival)
{
	const int64_t step = (int32_t)(p->timestamp - s->now.timestamp);
	const int64_t position = s->now.position + step;
	const int64_t ahead = position - arrival;
	const int64_t surplus = step - (arrival - previous_arrival);

	if (step < 0) {
		return true; /* Time went back while packets went on. */
	}
	if (ahead > ahead_max && surplus > ahead_max) {
		return true;
	}
	return ahead < -behind_max || (p->marker && ahead < -pause_max && surplus < -pause_max);
}

/* Does the packet go on where the last anchor left off, as if nothing had been since? */
static bool stream_returns(const struct stream *s, const struct et_mix_packet *p, int64_t arrival,
			   int64_t *ret)
{
	const int64_t off_now = clock_position(&s->now, p->timestamp) - arrival;
	const int64_t position = clock_position(&s->before, p->timestamp);
	const int64_t off_before = position - arrival;
	const uint16_t step = (uint16_t)(p->sequence - s->before.sequence);

	*ret = position;
	return s->was_anchored_before && step > 0 && step < LATE_SEQUENCE &&
	       position > s->before.position && llabs(off_before) < ahead_max &&
	       llabs(off_now) > behind_max;
}

/* Where the packet belongs, in frames; moves the stream's clock. */
static int64_t stream_place(struct et_mix *m, struct stream *s, const struct et_mix_packet *p,
			    int64_t arrival)
{
	if (!s->anchored) {
		s->arrival = arrival;
		/* What came just before the origin was overtaken on its way: none of it is cut. */
		return stream_anchor(s, p, arrival < 0 && arrival >= -early_max ? 0 : arrival);
	}
	const int16_t step = (int16_t)(uint16_t)(p->sequence - s->now.sequence);
	const int32_t ticks = (int32_t)(p->timestamp - s->now.timestamp);
	if (step <= 0 && step > -LATE_SEQUENCE) {
		const bool older = s->was_anchored_before &&
				   (int16_t)(uint16_t)(p->sequence - s->anchor_sequence) < 0;
		if (older) {
			return clock_position(&s->before, p->timestamp);
		}
		if (ticks <= 0 && (ticks > -LATE || ticks >= step * PACKET_TICKS_MAX)) {
			return clock_position(&s->now, p->timestamp);
		}
	}
	int64_t position;
	if (stream_returns(s, p, arrival, &position)) {
		s->before = s->now; /* What came between was a stray. */
		s->now = (struct clock){ p->timestamp, p->sequence, position };
		s->anchor_sequence = p->sequence;
	} else if (step <= 0 || stream_jumps(s, p, arrival, s->arrival)) {
		m->stats.anchors++;
		position = stream_anchor(s, p, arrival);
	} else {
		position = clock_position(&s->now, p->timestamp);
		s->now = (struct clock){ p->timestamp, p->sequence, position };
	}
	s->arrival = arrival;
	return position;
}

static int16_t add_clipped(int16_t a, int16_t b)
{
	const int sum = a + b;

	return (int16_t)(sum > INT16_MAX ? INT16_MAX : sum < INT16_MIN ? INT16_MIN : sum);
}

/* Put samples into the ring where the stream has none yet. Returns how many were put. */
static size_t mix_put(struct et_mix *m, struct stream *s, unsigned channel, int64_t position,
		      size_t count)
{
	size_t put = 0;

	for (size_t i = 0; i < count; i++) {
		const size_t at = (size_t)((position + (int64_t)i) & RING_MASK);
		const uint64_t bit = UINT64_C(1) << (at % GRAIN);
		if ((s->covered[at / GRAIN] & bit) == 0) {
			int16_t *sample = &m->ring[at * ET_MIX_CHANNELS + channel];
			s->covered[at / GRAIN] |= bit;
			*sample = add_clipped(*sample, m->samples[i]);
			put++;
		}
	}
	return put;
}

/* The part of the packet that lies in the ring, after moving the ring on if it must be. */
static int mix_lay(struct et_mix *m, struct stream *s, unsigned channel, int64_t position,
		   size_t count)
{
	const int64_t end = position + (int64_t)count;

	if (end > m->base + RING) {
		int64_t until = end - RING;
		int rc = mix_flush(m, (until + GRAIN - 1) / GRAIN * GRAIN);
		if (rc < 0) {
			return rc;
		}
	}
	if (end <= m->base) {
		if (m->base == 0) {
			m->stats.out_of_range++;
		} else {
			m->stats.too_late++;
		}
		return 0;
	}
	if (position < m->base) { /* Its begin is gone already, or lies before the origin. */
		const size_t gone = (size_t)(m->base - position);
		memmove(m->samples, m->samples + gone, (count - gone) * sizeof(*m->samples));
		count -= gone;
		position = m->base;
	}
	if (mix_put(m, s, channel, position, count) > 0) {
		m->stats.packets++;
	} else {
		m->stats.duplicates++;
	}
	s->end = end > s->end ? end : s->end;
	m->newest = end > m->newest ? end : m->newest;
	return 0;
}

int et_mix_add(struct et_mix *m, const struct et_mix_packet *packet)
{
	int64_t arrival;

	et_assert(packet->stream < ET_MIX_STREAMS_MAX);
	et_assert(packet->party < ET_MIX_CHANNELS);
	struct stream *s = &m->streams[packet->stream];
	if (packet->codec->clock_rate != ET_MIX_RATE) {
		return ET_EUNSUPPORTED;
	}
	if (!mix_position(m, packet->arrival_us, &arrival)) {
		m->stats.out_of_range++;
		return 0;
	}
	if (s->covered == NULL) {
		s->covered = calloc(RING / GRAIN, sizeof(*s->covered));
		if (s->covered == NULL) {
			return -ENOMEM;
		}
	}
	const int64_t position = stream_place(m, s, packet, arrival);
	if (position > frames_max) {
		m->stats.out_of_range++;
		return 0;
	}
	const size_t count = packet->codec->decode(packet->payload.data, packet->payload.size,
						   m->samples, SAMPLES_MAX);
	int rc = mix_lay(m, s, packet->party, position, count);
	if (rc == 0 && m->newest - LATE - m->base >= CHUNK) {
		rc = mix_flush(m, m->base + (m->newest - LATE - m->base) / GRAIN * GRAIN);
	}
	return rc;
}

int et_mix_finish(struct et_mix *m, int64_t end_us)
{
	int64_t until = m->newest;
	int64_t end;

	if (end_us != 0 && mix_position(m, end_us, &end) && end > until) {
		until = end;
	}
	return mix_flush(m, until);
}

void et_mix_restart(struct et_mix *m, uint32_t stream)
{
	et_assert(stream < ET_MIX_STREAMS_MAX);
	m->streams[stream].anchored = false;
	m->streams[stream].was_anchored_before = false;
}

struct et_mix_stats et_mix_stats(const struct et_mix *m)
{
	return m->stats;
}
