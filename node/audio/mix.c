#include "node/audio/mix.h"

#include <stdlib.h>
#include <string.h>

#include "node/audio/codec_internal.h"
#include "node/audio/mix_internal.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static const int64_t before_us_max = (int64_t)ET_MIX_LATE_MS * 1000;
static const int64_t after_us_max = (int64_t)ET_MIX_DURATION_MAX_MS * 1000;

uint32_t et_mix_rate_for(const struct et_codec *codec)
{
	return codec->rate <= 8000 ? 8000 : codec->rate <= 16000 ? 16000 : 48000;
}

int et_mix_new(int64_t origin_us, uint32_t rate, et_mix_sink sink, void *arg, struct et_mix **ret,
	       struct et_error *reterr)
{
	if (rate != 8000 && rate != 16000 && rate != 48000) {
		return et_fail(reterr, ET_EUNSUPPORTED, "mix of %u Hz", rate);
	}
	const int64_t ring_size = RING * (rate == 48000 ? STEPS_MAX : (int64_t)(rate / RATE));
	struct et_mix *m =
		calloc(1, sizeof(*m) + (size_t)ring_size * ET_MIX_CHANNELS * sizeof(m->ring[0]));
	if (m == NULL) {
		return et_fail(reterr, -ENOMEM, "mix");
	}
	m->origin_us = origin_us;
	m->rate = rate;
	m->per_ms = rate / 1000;
	m->ring_size = ring_size;
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
			voice_free(m->streams[i].voice);
		}
		conceal_release(m);
		/* As far as it was used: a short mix need not touch all of it. */
		const size_t used = (size_t)(m->newest < m->ring_size ? m->newest : m->ring_size);
		explicit_bzero(m->ring, used * ET_MIX_CHANNELS * sizeof(m->ring[0]));
		explicit_bzero(m->samples, sizeof(m->samples));
		free(m);
	}
	return NULL;
}

/* Give out `count` frames at base; they do not wrap. */
static int mix_emit(struct et_mix *m, size_t count)
{
	const size_t at = ring_at(m, m->base);
	int16_t *frames = m->ring + at * ET_MIX_CHANNELS;

	et_assert(count <= (size_t)m->ring_size - at);
	conceal_lay(m, count);
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
	int rc = conceal_until(m, until);

	while (m->base < until && rc == 0) {
		int64_t count = until - m->base;
		const int64_t to_edge = m->ring_size - (int64_t)ring_at(m, m->base);
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
	int64_t scaled = since * m->per_ms + 500;
	*ret = scaled / 1000 - (scaled % 1000 < 0 ? 1 : 0);
	return true;
}

/* Behind the stream's last placed sample: nothing of a new anchor is laid on top of it. */
static int64_t stream_end_us(const struct et_mix *m, const struct stream *s)
{
	return s->laid ? m->origin_us + (s->end * 1000 + m->per_ms - 1) / m->per_ms : INT64_MIN;
}

/* Where the packet belongs, in frames; moves the stream's clock. False: too far from the origin. */
static bool stream_place(struct et_mix *m, struct stream *s, const struct et_mix_packet *p,
			 int64_t *ret)
{
	const struct et_rtp_clock_packet packet = { .sequence = p->sequence,
						    .timestamp = p->timestamp,
						    .marker = p->marker,
						    .arrival_us = p->arrival_us };
	const uint32_t rate = p->codec->clock_rate;
	const uint64_t anchors = s->clock.anchors;
	const struct et_rtp_place place =
		et_rtp_clock_add(&s->clock, rate, &packet, m->origin_us, stream_end_us(m, s));

	m->stats.anchors += s->clock.anchors - anchors;
	if (!mix_position(m, place.anchor_us, ret)) {
		return false;
	}
	*ret += place.ticks * m->rate / rate;
	return *ret <= ET_MIX_DURATION_MAX_MS * m->per_ms;
}

static int16_t add_clipped(int16_t a, int16_t b)
{
	const int sum = a + b;

	return (int16_t)(sum > INT16_MAX ? INT16_MAX : sum < INT16_MIN ? INT16_MIN : sum);
}

/* Add samples to one channel of frames: the other one gets zeros. */
static void frames_add(int16_t *frames, unsigned channel, const int16_t *samples, size_t count)
{
	size_t i = 0;

#if defined(__SSE2__) /* of every x86-64: eight at a time, clipped as add_clipped() does it */
	const __m128i zero = _mm_setzero_si128();
	for (; i + 8 <= count; i += 8) {
		__m128i *low = (__m128i *)(void *)(frames + i * ET_MIX_CHANNELS);
		const __m128i s = _mm_loadu_si128((const __m128i *)(const void *)(samples + i));
		const __m128i a = channel == 0 ? s : zero;
		const __m128i b = channel == 0 ? zero : s;
		_mm_storeu_si128(low,
				 _mm_adds_epi16(_mm_loadu_si128(low), _mm_unpacklo_epi16(a, b)));
		_mm_storeu_si128(low + 1, _mm_adds_epi16(_mm_loadu_si128(low + 1),
							 _mm_unpackhi_epi16(a, b)));
	}
#endif
	for (; i < count; i++) {
		int16_t *sample = &frames[i * ET_MIX_CHANNELS + channel];
		*sample = add_clipped(*sample, samples[i]);
	}
}

/* Put samples into the ring, at a place that ends within a word of `covered`, where the stream has
 * none yet. Returns how many were put. */
static size_t word_put(struct et_mix *m, struct stream *s, size_t at, const int16_t *samples,
		       size_t count)
{
	uint64_t *covered = &s->covered[at / GRAIN];
	const uint64_t bits = count == GRAIN ? UINT64_MAX : (UINT64_C(1) << count) - 1;
	const uint64_t free_bits = ~(*covered >> (at % GRAIN)) & bits;
	int16_t *sample = &m->ring[at * ET_MIX_CHANNELS + s->channel];

	*covered |= bits << (at % GRAIN);
	if (free_bits == bits) { /* in order, as nearly all: without a look at each bit */
		frames_add(&m->ring[at * ET_MIX_CHANNELS], s->channel, samples, count);
		return count;
	}
	for (size_t i = 0; i < count; i++, sample += ET_MIX_CHANNELS) {
		if ((free_bits >> i & 1) != 0) {
			*sample = add_clipped(*sample, samples[i]);
		}
	}
	return (size_t)__builtin_popcountll(free_bits);
}

static size_t mix_put(struct et_mix *m, struct stream *s, int64_t position, const int16_t *samples,
		      size_t count)
{
	size_t put = 0;

	while (count > 0) {
		const size_t at = ring_at(m, position);
		const size_t room = GRAIN - at % GRAIN;
		const size_t n = count < room ? count : room;
		put += word_put(m, s, at, samples, n);
		position += (int64_t)n;
		samples += n;
		count -= n;
	}
	return put;
}

enum laid { LAID, LAID_BEFORE, LAID_NOT };

/* Samples at their place; what lies before `base` is gone already, or before the origin. The ring
 * has room: mix_advance() came before. */
static enum laid mix_lay(struct et_mix *m, struct stream *s, int64_t position,
			 const int16_t *samples, size_t count)
{
	const int64_t end = position + (int64_t)count;

	et_assert(end <= m->base + m->ring_size);
	if (end <= m->base) {
		return LAID_NOT;
	}
	if (position < m->base) {
		samples += m->base - position;
		count -= (size_t)(m->base - position);
		position = m->base;
	}
	const size_t put = mix_put(m, s, position, samples, count);
	s->end = end > s->end ? end : s->end;
	s->laid = true;
	m->newest = end > m->newest ? end : m->newest;
	return put > 0 ? LAID : LAID_BEFORE;
}

static void mix_count(struct et_mix *m, enum laid laid, int64_t position)
{
	if (laid == LAID_NOT && m->begin > 0 && position < m->begin) {
		return;
	}
	m->stats.packets += laid == LAID;
	m->stats.duplicates += laid == LAID_BEFORE;
	m->stats.out_of_range += laid == LAID_NOT && m->base == 0;
	m->stats.too_late += laid == LAID_NOT && m->base != 0;
}

/* Where `base` must be so that the ring reaches to `end`. */
static int64_t base_for(const struct et_mix *m, int64_t end)
{
	return (end - m->ring_size + GRAIN - 1) / GRAIN * GRAIN;
}

static int span_lay(struct et_mix *m, struct stream *s, const struct voice_span *span)
{
	int rc = 0;

	if (span->packet < 0) {
		m->stats.undecodable++;
		return 0;
	}
	const int64_t end = span->position + (int64_t)span->count;
	if (end > m->base + m->ring_size) {
		rc = mix_flush(m, base_for(m, end)); /* Nothing that waits lies lower. */
	}
	if (rc == 0) {
		enum laid laid = span->count == 0 ? LAID
						  : mix_lay(m, s, span->position, span->samples,
							    span->count);
		/* Some of it may still be in the resampler: then it is not a late one. */
		laid = laid == LAID_NOT && span->packet_end > m->base ? LAID : laid;
		if (span->packet > 0) {
			mix_count(m, laid, span->position);
			holes_heard(&s->holes, span->sequence, span->packet_end,
				    span->packet_end - span->packet_position);
		}
	}
	return rc;
}

/* What waits in a voice and lies lower than in any other, and than `until`. */
static struct stream *mix_lowest(struct et_mix *m, int64_t until)
{
	struct stream *found = NULL;
	int64_t lowest = until;
	int64_t position;

	for (size_t i = 0; m->voices > 0 && i < ET_MIX_STREAMS_MAX; i++) {
		struct stream *s = &m->streams[i];
		if (s->voice != NULL && voice_lowest(s->voice, &position) && position < lowest) {
			lowest = position;
			found = s;
		}
	}
	return found;
}

/* What waits and lies before `until` has its turn, in order. */
static int voices_take(struct et_mix *m, int64_t until)
{
	struct stream *s;
	struct voice_span span;
	int rc = 0;

	while (rc == 0 && (s = mix_lowest(m, until)) != NULL) {
		rc = conceal_voice(m, s, true);
		bool taken = voice_take(s->voice, true, &span);
		et_assert(taken);
		rc = rc < 0 ? rc : span_lay(m, s, &span);
	}
	return rc;
}

/* Give out all before `until`. */
static int mix_advance(struct et_mix *m, int64_t until)
{
	int rc = voices_take(m, until);

	return rc < 0 ? rc : mix_flush(m, until);
}

static int voice_drain(struct et_mix *m, struct stream *s, bool all)
{
	struct voice_span span;
	int rc = conceal_voice(m, s, all);

	while (rc == 0 && voice_take(s->voice, all, &span)) {
		const int64_t end = span.position + (int64_t)span.count;
		if (end > m->base + m->ring_size) {
			/* Of others: all that is left in this voice lies higher. */
			rc = mix_advance(m, base_for(m, end));
		}
		rc = rc < 0 ? rc : span_lay(m, s, &span);
		rc = rc < 0 ? rc : conceal_voice(m, s, all);
	}
	return rc;
}

/* Does the stream have sound at this place already? */
static bool mix_is_covered(const struct et_mix *m, const struct stream *s, int64_t position)
{
	const size_t at = ring_at(m, position);

	return position >= m->base && position < m->base + m->ring_size &&
	       (s->covered[at / GRAIN] >> (at % GRAIN) & 1) != 0;
}

/* A packet of a codec that needs a voice. */
static int mix_add_voice(struct et_mix *m, struct stream *s, const struct et_mix_packet *p,
			 int64_t position)
{
	const char *fmtp = p->fmtp != NULL ? p->fmtp : "";
	int rc = 0;

	if (p->payload.size == 0 && et_codec_has_ends(p->codec)) {
		if (s->voice != NULL) {
			voice_end(s->voice, position);
		}
		return 0;
	}
	/* Not decoded twice, nor when it is too late: the decoder's memory is that of the others.
	 */
	if (mix_is_covered(m, s, position) || (m->base > 0 && position < m->base)) {
		mix_count(m, position < m->base ? LAID_NOT : LAID_BEFORE, position);
		return 0;
	}
	if (s->voice != NULL && !voice_is_of(s->voice, p->codec, fmtp)) {
		rc = voice_drain(m, s, true);
		s->voice = voice_free(s->voice);
		m->voices--;
	}
	if (rc == 0 && s->voice == NULL) {
		rc = voice_new(p->codec, fmtp, p->channel, m->rate, &s->voice);
		m->voices += rc == 0;
	}
	if (rc == 0) {
		rc = voice_put(s->voice, position, p->sequence, p->payload);
	}
	if (rc == 1) {
		m->stats.duplicates++;
		return 0;
	}
	return rc < 0 ? rc : voice_drain(m, s, false);
}

/* One that is laid as it is. */
static int mix_add_plain(struct et_mix *m, struct stream *s, const struct et_mix_packet *p,
			 int64_t position)
{
	const size_t count =
		p->codec->kind->decode(NULL, p->payload, m->samples, ET_CODEC_SAMPLES_MAX);
	const int64_t end = position + (int64_t)count;
	int rc = 0;

	if (count == 0) {
		m->stats.undecodable++;
		return 0;
	}
	if (end > m->base + m->ring_size) {
		rc = mix_advance(m, base_for(m, end));
	}
	if (rc == 0) {
		mix_count(m, mix_lay(m, s, position, m->samples, count), position);
		holes_heard(&s->holes, p->sequence, end, (int64_t)count);
	}
	return rc;
}

int et_mix_add(struct et_mix *m, const struct et_mix_packet *packet)
{
	int64_t position;

	et_assert(packet->stream < ET_MIX_STREAMS_MAX);
	et_assert(packet->party < ET_MIX_CHANNELS);
	struct stream *s = &m->streams[packet->stream];
	if (!mix_position(m, packet->arrival_us, &position)) {
		m->stats.out_of_range++;
		return 0;
	}
	if (s->covered == NULL) {
		s->covered = calloc((size_t)m->ring_size / GRAIN, sizeof(*s->covered));
		if (s->covered == NULL) {
			return -ENOMEM;
		}
	}
	s->channel = packet->party;
	if (!stream_place(m, s, packet, &position)) {
		m->stats.out_of_range++;
		return 0;
	}
	int rc = conceal_came(m, s, packet, position);
	if (rc < 0) {
		return rc;
	}
	const bool plain = et_codec_is_stateless(packet->codec) && packet->codec->rate == m->rate;
	rc = plain ? mix_add_plain(m, s, packet, position) : mix_add_voice(m, s, packet, position);
	const int64_t settled = m->newest - ET_MIX_LATE_MS * m->per_ms - m->base;
	if (rc == 0 && settled >= CHUNK) {
		rc = mix_advance(m, m->base + settled / GRAIN * GRAIN);
	}
	return rc;
}

void et_mix_begin(struct et_mix *m, int64_t frame)
{
	et_assert(m->base == 0);
	et_assert(m->newest == 0);
	m->base = frame > 0 ? frame / GRAIN * GRAIN : 0;
	m->begin = m->base;
	m->newest = m->base;
	m->stats.frames = (uint64_t)m->base;
}

void et_mix_resume(struct et_mix *m, uint32_t stream, const struct et_rtp_clock *saved)
{
	et_assert(stream < ET_MIX_STREAMS_MAX);
	et_rtp_clock_resume(&m->streams[stream].clock, saved,
			    stream_end_us(m, &m->streams[stream]));
}

void et_mix_pass(struct et_mix *m, const struct et_mix_packet *packet)
{
	int64_t position;

	et_assert(packet->stream < ET_MIX_STREAMS_MAX);
	if (mix_position(m, packet->arrival_us, &position)) {
		(void)stream_place(m, &m->streams[packet->stream], packet, &position);
	}
}

int64_t et_mix_where(const struct et_mix *m, uint32_t stream, uint32_t timestamp,
		     int64_t arrival_us)
{
	et_assert(stream < ET_MIX_STREAMS_MAX);
	const struct et_rtp_clock *clock = &m->streams[stream].clock;
	int64_t arrival = 0;
	int64_t position;

	(void)mix_position(m, arrival_us, &arrival);
	if (!clock->anchored || !mix_position(m, clock->now.place.anchor_us, &position)) {
		return arrival;
	}
	const int64_t ticks = clock->now.place.ticks + (int32_t)(timestamp - clock->now.timestamp);
	position += ticks * m->rate / clock->rate;
	const int64_t off = position - arrival;
	return off > ET_MIX_WHERE_MS * m->per_ms || off < -ET_MIX_WHERE_MS * m->per_ms ? arrival
										       : position;
}

int et_mix_finish(struct et_mix *m, int64_t end_us)
{
	int64_t end;

	int rc = voices_take(m, INT64_MAX);
	if (rc < 0) {
		return rc;
	}
	int64_t until = m->newest;
	if (end_us != 0 && mix_position(m, end_us, &end) && end > until) {
		until = end;
	}
	return mix_flush(m, until);
}

struct et_mix_stats et_mix_stats(const struct et_mix *m)
{
	return m->stats;
}
