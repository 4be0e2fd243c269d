/* What was lost, made up on request. Three steps, each for a stream:
 *
 *   came    each packet's sequence number is noted: holes.c tells which holes are losses
 *   made    a codec with a way of its own is asked when its next packet is decoded (a few packets
 *           behind the newest); of all others it is made of what was heard before, when no late
 *           packet can come any more
 *   laid    when frames are given out, where nothing came meanwhile
 *
 * What is made up is kept aside until then: nothing that came is ever mixed with it, nothing is
 * made of it, and a packet that comes late takes its place. */
#include <stdlib.h>
#include <string.h>

#include "node/audio/mix_internal.h"
#include "node/audio/plc_internal.h"

enum {
	LEFT_MAX = 4096,	      /* spans that are left alone; more: all behind them */
	GUARD_MS = 200,		      /* around them: they are of times of arrival */
	MADE_MAX_S = RING / RATE / 2, /* of all streams, not given out yet */
};
_Static_assert((int)PLC_MADE_MS == (int)VOICE_MADE_MS, "whoever makes it up");

struct made {
	int64_t position;
	size_t count;
	int16_t *samples; /* owned */
};

struct left {
	int64_t from;
	int64_t to;
};

struct conceal {
	et_mix_made told;
	void *arg;	   /* borrowed */
	struct left *left; /* owned */
	size_t left_count;
	size_t made;	   /* samples that were made and not given out yet */
	size_t past_count; /* frames */
	int16_t *past;	   /* owned: what came of the frames before `base` */
	int16_t *room;	   /* owned: for that of a channel, and what is made of it */
};

static size_t room_count(const struct et_mix *m)
{
	return (size_t)((PLC_PAST_MS + PLC_MADE_MS) * m->per_ms);
}

int et_mix_conceal(struct et_mix *m, et_mix_made told, void *arg)
{
	et_assert(m->conceal == NULL && m->newest == m->base);
	struct conceal *c = calloc(1, sizeof(*c));
	if (c == NULL) {
		return -ENOMEM;
	}
	c->past_count = (size_t)(PLC_PAST_MS * m->per_ms);
	c->past = calloc(c->past_count * ET_MIX_CHANNELS, sizeof(*c->past));
	c->room = calloc(room_count(m), sizeof(*c->room));
	c->left = calloc(LEFT_MAX, sizeof(*c->left));
	c->told = told;
	c->arg = arg;
	m->conceal = c; /* Freed with the mix, whatever of it is there. */
	return c->past == NULL || c->room == NULL || c->left == NULL ? -ENOMEM : 0;
}

static void made_release(struct conceal *c, struct made *made)
{
	c->made -= made->count;
	explicit_bzero(made->samples, made->count * sizeof(*made->samples));
	free(made->samples);
}

void conceal_release(struct et_mix *m)
{
	struct conceal *c = m->conceal;

	if (c == NULL) {
		return;
	}
	for (size_t i = 0; i < ET_MIX_STREAMS_MAX; i++) {
		struct stream *s = &m->streams[i];
		for (size_t k = 0; k < s->made_count; k++) {
			made_release(c, &s->made[k]);
		}
		free(s->made);
		holes_release(&s->holes);
	}
	if (c->past != NULL) {
		explicit_bzero(c->past, c->past_count * ET_MIX_CHANNELS * sizeof(*c->past));
	}
	if (c->room != NULL) {
		explicit_bzero(c->room, room_count(m) * sizeof(*c->room));
	}
	free(c->past);
	free(c->room);
	free(c->left);
	free(c);
	m->conceal = NULL;
}

/* ---- What came, and what is no loss ---- */

void et_mix_leave(struct et_mix *m, int64_t from, int64_t to)
{
	struct conceal *c = m->conceal;

	et_assert(c != NULL);
	if (c->left_count == LEFT_MAX) {
		c->left[LEFT_MAX - 1].to = INT64_MAX;
		return;
	}
	c->left[c->left_count++] = (struct left){ from, to };
}

static bool is_left(const struct et_mix *m, const struct hole *h)
{
	const int64_t guard = GUARD_MS * m->per_ms;

	for (size_t i = 0; i < m->conceal->left_count; i++) {
		const struct left *l = &m->conceal->left[i];
		if (h->to + guard > l->from && h->from - guard < l->to) {
			return true;
		}
	}
	return false;
}

int conceal_came(struct et_mix *m, struct stream *s, const struct et_mix_packet *p,
		 int64_t position)
{
	if (m->conceal == NULL) {
		return 0;
	}
	if (s->codec != p->codec || s->anchors != s->clock.anchors) {
		holes_begin(&s->holes);
		s->codec = p->codec;
		s->anchors = s->clock.anchors;
	}
	return holes_came(&s->holes, p->sequence, position);
}

int et_mix_came(struct et_mix *m, uint32_t stream, uint16_t sequence, uint32_t timestamp,
		int64_t arrival_us)
{
	struct stream *s = &m->streams[stream];

	et_assert(stream < ET_MIX_STREAMS_MAX);
	if (m->conceal == NULL || s->codec == NULL) {
		return 0;
	}
	return holes_came(&s->holes, sequence, et_mix_where(m, stream, timestamp, arrival_us));
}

/* ---- Made ---- */

/* Keep a copy for later. -ENOMEM. */
static int made_add(struct et_mix *m, struct stream *s, int64_t position, const int16_t *samples,
		    size_t count)
{
	if (count == 0 || m->conceal->made + count > (size_t)MADE_MAX_S * m->rate) {
		return 0;
	}
	if (s->made_count == s->made_room) {
		const size_t room = s->made_room == 0 ? 8 : 2 * s->made_room;
		struct made *more = realloc(s->made, room * sizeof(*more));
		if (more == NULL) {
			return -ENOMEM;
		}
		s->made = more;
		s->made_room = room;
	}
	int16_t *copy = malloc(count * sizeof(*copy));
	if (copy == NULL) {
		return -ENOMEM;
	}
	memcpy(copy, samples, count * sizeof(*copy));
	s->made[s->made_count++] = (struct made){ position, count, copy };
	m->conceal->made += count;
	return 0;
}

/* Is it the first time that somebody asks for this hole, and may it be filled? */
static bool hole_begin(const struct et_mix *m, struct stream *s, const struct hole *h)
{
	if (h->from < s->made_end) {
		return false;
	}
	s->made_end = h->to;
	return !is_left(m, h);
}

int conceal_voice(struct et_mix *m, struct stream *s, bool all)
{
	struct hole h;
	uint16_t sequence;
	size_t head;
	size_t tail;

	if (m->conceal == NULL || !voice_conceals(s->voice) ||
	    !voice_next(s->voice, all, &sequence) ||
	    !holes_before(&s->holes, sequence, m->rate, &h) || !hole_begin(m, s, &h)) {
		return 0;
	}
	const size_t count = (size_t)(h.to - h.from);
	int16_t *samples = calloc(count, sizeof(*samples));
	if (samples == NULL) {
		return -ENOMEM;
	}
	int rc = voice_conceal(s->voice, count, samples, &head, &tail);
	rc = rc < 0 ? rc : made_add(m, s, h.from, samples, head);
	rc = rc < 0 ? rc : made_add(m, s, h.to - (int64_t)tail, samples + count - tail, tail);
	explicit_bzero(samples, count * sizeof(*samples));
	free(samples);
	return rc;
}

/* What came of a channel right before the hole, since the numbers go on. */
static size_t past_take(const struct et_mix *m, uint8_t channel, const struct hole *h, int16_t *ret)
{
	const struct conceal *c = m->conceal;
	int64_t from = h->from - (int64_t)c->past_count;
	size_t n = 0;

	from = h->since > from ? h->since : from;
	for (int64_t at = from; at < h->from; at++) {
		const int64_t back = at - m->base + (int64_t)c->past_count;
		const int16_t *frame = back < (int64_t)c->past_count
					       ? &c->past[back * ET_MIX_CHANNELS]
					       : &m->ring[ring_at(m, at) * ET_MIX_CHANNELS];
		ret[n++] = frame[channel];
	}
	return n;
}

static int hole_make(struct et_mix *m, struct stream *s, const struct hole *h)
{
	const size_t most = (size_t)(PLC_MADE_MS * m->per_ms);
	const size_t lost = (size_t)(h->to - h->from);
	const size_t count = lost < most ? lost : most;
	int16_t *past = m->conceal->room;
	int16_t *made = past + m->conceal->past_count;

	const size_t n = past_take(m, s->channel, h, past);
	int rc = plc_make(past, n, m->rate, made, count);
	return rc == 1 ? made_add(m, s, h->from, made, count) : rc;
}

int conceal_until(struct et_mix *m, int64_t until)
{
	struct hole h;
	int rc = 0;

	for (size_t i = 0; m->conceal != NULL && i < ET_MIX_STREAMS_MAX && rc == 0; i++) {
		struct stream *s = &m->streams[i];
		while (rc == 0 && holes_take(&s->holes, until, m->rate, &h)) {
			if (h.from >= m->base && hole_begin(m, s, &h)) {
				rc = hole_make(m, s, &h);
			}
		}
	}
	return rc;
}

/* ---- Laid ---- */

/* Frames of a channel, of the 64 around `at`, where something came. */
static uint64_t word_covered(const struct et_mix *m, uint8_t channel, size_t at)
{
	uint64_t covered = 0;

	for (size_t i = 0; i < ET_MIX_STREAMS_MAX; i++) {
		const struct stream *s = &m->streams[i];
		if (s->covered != NULL && s->channel == channel) {
			covered |= s->covered[at / GRAIN];
		}
	}
	return covered;
}

static void told(struct et_mix *m, uint8_t channel, int64_t from, int64_t to)
{
	m->stats.concealed += (uint64_t)(to - from);
	if (m->conceal->told != NULL) {
		m->conceal->told(m->conceal->arg, channel, from, to);
	}
}

/* What of it lies in [from, to), where nothing came. */
static void made_lay(struct et_mix *m, struct stream *s, const struct made *made, int64_t from,
		     int64_t to)
{
	uint64_t covered = 0;
	int64_t begin = from; /* of what was laid side by side */

	for (int64_t at = from; at < to; at++) {
		const size_t frame = ring_at(m, at);
		const uint64_t bit = UINT64_C(1) << frame % GRAIN;
		if (at == from || frame % GRAIN == 0) {
			covered = word_covered(m, s->channel, frame);
		}
		if ((covered & bit) == 0) {
			m->ring[frame * ET_MIX_CHANNELS + s->channel] =
				made->samples[at - made->position];
			s->covered[frame / GRAIN] |= bit;
			continue;
		}
		if (at > begin) {
			told(m, s->channel, begin, at);
		}
		begin = at + 1;
	}
	if (to > begin) {
		told(m, s->channel, begin, to);
	}
}

static void stream_lay(struct et_mix *m, struct stream *s, int64_t end)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->made_count; i++) {
		struct made *made = &s->made[i];
		const int64_t made_end = made->position + (int64_t)made->count;
		const int64_t from = made->position > m->base ? made->position : m->base;
		const int64_t to = made_end < end ? made_end : end;
		if (from < to) {
			made_lay(m, s, made, from, to);
		}
		if (made_end <= end) {
			made_release(m->conceal, made);
		} else {
			s->made[kept++] = *made;
		}
	}
	s->made_count = kept;
}

/* Note what came, before anything is put beside it. */
static void past_note(struct et_mix *m, size_t count)
{
	struct conceal *c = m->conceal;
	const size_t n = count < c->past_count ? count : c->past_count;
	const size_t frame = ET_MIX_CHANNELS * sizeof(*c->past);
	const int16_t *frames = m->ring + ring_at(m, m->base) * ET_MIX_CHANNELS;

	memmove(c->past, c->past + n * ET_MIX_CHANNELS, (c->past_count - n) * frame);
	memcpy(c->past + (c->past_count - n) * ET_MIX_CHANNELS,
	       frames + (count - n) * ET_MIX_CHANNELS, n * frame);
}

void conceal_lay(struct et_mix *m, size_t count)
{
	if (m->conceal == NULL) {
		return;
	}
	past_note(m, count);
	for (size_t i = 0; i < ET_MIX_STREAMS_MAX; i++) {
		if (m->streams[i].made_count > 0) {
			stream_lay(m, &m->streams[i], m->base + (int64_t)count);
		}
	}
}
