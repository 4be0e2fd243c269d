#include "node/audio/mask.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "node/audio/dtmf.h"

/* Hops are 10 ms; one ends at every multiple of their length since frame 0. With each, a window
 * ends that is looked at. What is found reaches back for a window, a hop and the guard: 75 ms. */
enum {
	HOPS_PER_S = ET_DTMF_RATE / ET_DTMF_HOP,
	WAIT_HOPS = 8,	/* what is older is given out */
	RING_HOPS = 16, /* room for what waits */
	ECHO_HOPS = ET_MASK_ECHO_MS / (1000 / HOPS_PER_S),
	AGAIN_HOPS = 3, /* a press that is heard again within them is the same */
	SPANS_MAX = 64, /* of a channel that lie before what is to be given out */
	MADE_BITS = 64,
	MADE_RING = 16384, /* frames: what waits at 48 kHz, and what a mix gives at once */
};
_Static_assert(1000 * ET_DTMF_WINDOW / ET_DTMF_RATE + ET_MASK_GUARD_MS + 10 <= WAIT_HOPS * 10,
	       "what is found is still here");

struct span {
	int64_t from;
	int64_t to;
};

struct spans {
	struct span list[SPANS_MAX];
	size_t count;
};

/* Where somebody listens for keys. */
struct ear {
	int16_t window[ET_DTMF_WINDOW]; /* at 8 kHz, the newest last */
	int32_t sum;			/* of the frames of a sample that is not whole yet */
	struct et_dtmf_look before;	/* of the last window */
	char key;			/* the last one that was pressed */
	int64_t key_hop;		/* when it was heard last */
	struct spans found;
};

struct channel {
	struct ear came;		      /* to what came: there all is silence */
	struct ear all;			      /* and to what was made up: there that is silence */
	uint64_t made[MADE_RING / MADE_BITS]; /* a bit a frame that was made up */
	int64_t silent_end; /* behind the last frame that was made silent; -1: none was */
};

struct et_mask {
	uint32_t step; /* frames of a sample at 8 kHz */
	int64_t hop;   /* frames */
	et_mix_sink sink;
	void *arg;	  /* borrowed */
	et_mix_made told; /* or NULL */
	void *told_arg;	  /* borrowed */
	bool has_made;	  /* something was made up once; without that both hear the same */
	int64_t in;	  /* the next frame that comes */
	int64_t out;	  /* the next frame that is given out */
	struct et_mask_stats stats;
	struct et_dtmf dtmf;
	struct channel channels[ET_MIX_CHANNELS];
	int16_t ring[]; /* RING_HOPS hops of frames */
};

int et_mask_new(uint32_t rate, et_mix_sink sink, void *arg, struct et_mask **ret,
		struct et_error *reterr)
{
	if (rate != 8000 && rate != 16000 && rate != 48000) {
		return et_fail(reterr, ET_EUNSUPPORTED, "mask at %u Hz", rate);
	}
	const size_t hop = rate / HOPS_PER_S;
	struct et_mask *m =
		calloc(1, sizeof(*m) + RING_HOPS * hop * ET_MIX_CHANNELS * sizeof(m->ring[0]));
	if (m == NULL) {
		return et_fail(reterr, -ENOMEM, "mask");
	}
	m->step = rate / ET_DTMF_RATE;
	m->hop = (int64_t)hop;
	m->sink = sink;
	m->arg = arg;
	for (size_t c = 0; c < ET_MIX_CHANNELS; c++) {
		m->channels[c].silent_end = -1;
	}
	et_dtmf_init(&m->dtmf);
	*ret = m;
	return 0;
}

struct et_mask *et_mask_free(struct et_mask *m)
{
	if (m != NULL) {
		const size_t frames = RING_HOPS * (size_t)m->hop;
		explicit_bzero(m, sizeof(*m) + frames * ET_MIX_CHANNELS * sizeof(m->ring[0]));
		free(m);
	}
	return NULL;
}

void et_mask_begin(struct et_mask *m, int64_t frame)
{
	et_assert(m->in == 0);
	m->in = frame;
	m->out = frame;
}

static void span_add(struct spans *spans, int64_t from, int64_t to)
{
	struct span *s;

	for (size_t i = 0; i < spans->count; i++) {
		s = &spans->list[i];
		if (from <= s->to && to >= s->from) {
			s->from = from < s->from ? from : s->from;
			s->to = to > s->to ? to : s->to;
			return;
		}
	}
	if (spans->count < SPANS_MAX) {
		spans->list[spans->count++] = (struct span){ from, to };
		return;
	}
	s = &spans->list[SPANS_MAX - 1]; /* Rather too much than too little. */
	s->from = from < s->from ? from : s->from;
	s->to = to > s->to ? to : s->to;
}

void et_mask_span(struct et_mask *m, uint8_t channel, int64_t from, int64_t to)
{
	if (to > m->out && from < to) {
		span_add(&m->channels[channel].came.found, from, to);
	}
}

/* ---- What was made up ---- */

void et_mask_tell_made(struct et_mask *m, et_mix_made told, void *arg)
{
	m->told = told;
	m->told_arg = arg;
}

static bool is_made(const struct channel *c, int64_t frame)
{
	return (c->made[frame % MADE_RING / MADE_BITS] >> frame % MADE_BITS & 1) != 0;
}

void et_mask_made(void *arg, uint8_t channel, int64_t from, int64_t to)
{
	struct et_mask *m = arg;

	et_assert(from >= m->in && to - m->out <= MADE_RING);
	for (size_t c = 0; c < ET_MIX_CHANNELS && !m->has_made; c++) {
		m->channels[c].all = m->channels[c].came;
		m->channels[c].all.found.count = 0;
	}
	m->has_made = true;
	for (int64_t f = from; f < to; f++) {
		uint64_t *word = &m->channels[channel].made[f % MADE_RING / MADE_BITS];
		*word |= UINT64_C(1) << f % MADE_BITS;
	}
}

/* Of `count` frames at `out` those that were made up behind silent ones, or of a key; the others
 * are told. `silent`: where there is a key. */
static void channel_silence_made(struct et_mask *m, uint8_t channel, int16_t *frames, int64_t count,
				 const bool *silent, bool *mark)
{
	const int64_t reach = ET_MASK_MADE_MS * m->hop / (1000 / HOPS_PER_S);
	struct channel *c = &m->channels[channel];
	int64_t begin = m->out; /* of what is told at once */

	for (int64_t f = m->out; f < m->out + count; f++) {
		const bool made = is_made(c, f);
		const bool is_silent = made && (silent[f - m->out] ||
						(c->silent_end >= 0 && f < c->silent_end + reach));
		if (is_silent) {
			frames[(f - m->out) * ET_MIX_CHANNELS + channel] = 0;
			mark[f - m->out] = true;
			c->silent_end = f + 1 > c->silent_end ? f + 1 : c->silent_end;
		}
		if (made && !is_silent) {
			continue;
		}
		if (f > begin && m->told != NULL) {
			m->told(m->told_arg, channel, begin, f);
		}
		begin = f + 1;
	}
	if (m->out + count > begin && m->told != NULL) {
		m->told(m->told_arg, channel, begin, m->out + count);
	}
	for (int64_t f = m->out; f < m->out + count; f++) {
		c->made[f % MADE_RING / MADE_BITS] &= ~(UINT64_C(1) << f % MADE_BITS);
	}
}

/* ---- Out ---- */

/* Where spans lie within `count` frames at `out`; returns the end of the last one, or -1. */
static int64_t spans_take(struct spans *spans, int64_t out, int64_t count, bool *ret)
{
	int64_t end = -1;

	for (size_t i = 0; i < spans->count;) {
		const struct span s = spans->list[i];
		const int64_t from = s.from > out ? s.from - out : 0;
		const int64_t to = s.to < out + count ? s.to - out : count;
		for (int64_t f = from; f < to; f++) {
			ret[f] = true;
		}
		end = to > from && out + to > end ? out + to : end;
		if (s.to <= out + count) {
			spans->list[i] = spans->list[--spans->count];
		} else {
			i++;
		}
	}
	return end;
}

/* Silence of a channel, of `count` frames at `out`; `mark` notes where. */
static void channel_silence(struct et_mask *m, uint8_t channel, int16_t *frames, int64_t count,
			    bool *mark)
{
	struct channel *c = &m->channels[channel];
	bool silent[48000 / HOPS_PER_S] = { false };

	const int64_t end = spans_take(&c->came.found, m->out, count, silent);
	c->silent_end = end > c->silent_end ? end : c->silent_end;
	for (int64_t f = 0; f < count && end >= 0; f++) {
		if (silent[f]) {
			frames[f * ET_MIX_CHANNELS + channel] = 0;
			mark[f] = true;
		}
	}
	if (m->has_made) {
		(void)spans_take(&c->all.found, m->out, count, silent);
		channel_silence_made(m, channel, frames, count, silent, mark);
	}
}

/* Give out all frames before `until`. */
static int mask_flush(struct et_mask *m, int64_t until)
{
	bool mark[48000 / HOPS_PER_S];
	int rc = 0;

	while (m->out < until && rc == 0) {
		int64_t count = m->hop - m->out % m->hop;
		count = count < until - m->out ? count : until - m->out;
		int16_t *frames = &m->ring[m->out % (RING_HOPS * m->hop) * ET_MIX_CHANNELS];
		memset(mark, 0, sizeof(mark));
		for (uint8_t c = 0; c < ET_MIX_CHANNELS; c++) {
			channel_silence(m, c, frames, count, mark);
		}
		for (int64_t f = 0; f < count; f++) {
			m->stats.frames += mark[f];
		}
		m->out += count;
		rc = m->sink(m->arg, frames, (size_t)count);
	}
	return rc;
}

/* ---- In ---- */

/* `made`: what was made up of the channel is silence here; or NULL. */
static void ear_hear(struct ear *e, uint32_t step, const int16_t *frames, int64_t count,
		     int64_t position, const struct channel *made)
{
	for (int64_t f = 0; f < count; f++) {
		const bool is_silent = made != NULL && is_made(made, position + f);
		e->sum += is_silent ? 0 : frames[f * ET_MIX_CHANNELS];
		if ((position + f + 1) % step != 0) {
			continue;
		}
		/* The mean of the frames: what lies above the band of telephony is damped, 0.6 dB
		 * at the highest tone. */
		const int64_t at = (position + f) / step % ET_DTMF_HOP;
		e->window[ET_DTMF_WINDOW - ET_DTMF_HOP + at] = (int16_t)(e->sum / (int32_t)step);
		e->sum = 0;
	}
}

/* Was this key pressed lately, in either channel? */
static bool is_pressed(struct ear *const ears[ET_MIX_CHANNELS], char key, int64_t hop)
{
	for (size_t c = 0; c < ET_MIX_CHANNELS; c++) {
		if (ears[c]->key == key && hop - ears[c]->key_hop <= ECHO_HOPS) {
			return true;
		}
	}
	return false;
}

/* A hop ended at frame `in`, and with it a window of both ears. Returns how many presses began. */
static uint64_t ears_look(struct et_mask *m, struct ear *const ears[ET_MIX_CHANNELS])
{
	const int64_t hop = m->in / m->hop;
	const int64_t reach = m->hop + ET_DTMF_WINDOW * (int64_t)m->step;
	const int64_t guard = ET_MASK_GUARD_MS * m->hop / (1000 / HOPS_PER_S);
	struct et_dtmf_look now[ET_MIX_CHANNELS];
	bool again[ET_MIX_CHANNELS];
	uint64_t keys = 0;

	for (size_t c = 0; c < ET_MIX_CHANNELS; c++) {
		struct ear *e = ears[c];
		now[c] = et_dtmf_look(&m->dtmf, e->window);
		again[c] = now[c].key != '\0' && now[c].key == e->before.key;
		if (again[c]) {
			keys += now[c].key != e->key || hop - e->key_hop > AGAIN_HOPS;
			e->key = now[c].key;
			e->key_hop = hop;
		}
	}
	for (size_t c = 0; c < ET_MIX_CHANNELS; c++) {
		struct ear *e = ears[c];
		const bool faint = now[c].faint != '\0' && now[c].faint == e->before.faint &&
				   is_pressed(ears, now[c].faint, hop);
		if (again[c] || faint) {
			span_add(&e->found, m->in - reach - guard, m->in + guard);
		}
		e->before = now[c];
		memmove(e->window, e->window + ET_DTMF_HOP,
			(ET_DTMF_WINDOW - ET_DTMF_HOP) * sizeof(e->window[0]));
	}
	return keys;
}

static void mask_look(struct et_mask *m)
{
	struct ear *const came[] = { &m->channels[0].came, &m->channels[1].came };
	struct ear *const all[] = { &m->channels[0].all, &m->channels[1].all };

	m->stats.keys += ears_look(m, came);
	if (m->has_made) {
		(void)ears_look(m, all);
	}
}

static void mask_hear(struct et_mask *m, const int16_t *samples, int64_t count)
{
	for (size_t i = 0; i < ET_MIX_CHANNELS; i++) {
		struct channel *c = &m->channels[i];
		ear_hear(&c->came, m->step, samples + i, count, m->in, m->has_made ? c : NULL);
		if (m->has_made) {
			ear_hear(&c->all, m->step, samples + i, count, m->in, NULL);
		}
	}
}

int et_mask_put(void *arg, const int16_t *samples, size_t frames)
{
	struct et_mask *m = arg;
	int rc = 0;

	while (frames > 0 && rc == 0) {
		const int64_t room = m->hop - m->in % m->hop;
		const int64_t count = (int64_t)frames < room ? (int64_t)frames : room;
		memcpy(&m->ring[m->in % (RING_HOPS * m->hop) * ET_MIX_CHANNELS], samples,
		       (size_t)count * ET_MIX_CHANNELS * sizeof(samples[0]));
		mask_hear(m, samples, count);
		samples += count * ET_MIX_CHANNELS;
		frames -= (size_t)count;
		m->in += count;
		if (m->in % m->hop == 0) {
			mask_look(m);
			rc = mask_flush(m, m->in - WAIT_HOPS * m->hop);
		}
	}
	return rc;
}

int et_mask_finish(struct et_mask *m)
{
	return mask_flush(m, m->in);
}

struct et_mask_stats et_mask_stats(const struct et_mask *m)
{
	return m->stats;
}
