#include "node/audio/voice_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "node/audio/codec_internal.h"
#include "node/audio/resample.h"

struct held {
	int64_t position;
	uint16_t sequence;
	uint8_t *payload; /* owned */
	size_t size;
};

struct voice {
	const struct et_codec *codec;
	char *fmtp; /* owned */
	uint32_t rate;
	struct et_decoder *decoder;	  /* owned; NULL: the parameters have none */
	struct et_resampler *resampler;	  /* owned; NULL: the rates are the same */
	struct held held[VOICE_HELD + 1]; /* by position */
	size_t held_count;
	/* The run: samples side by side from `start` on. */
	bool runs;
	int64_t start;
	uint64_t decoded; /* samples of the codec's rate */
	uint64_t given;	  /* of the mix's */
	bool has_end;
	int64_t end;
	int16_t samples[ET_CODEC_SAMPLES_MAX];
	int16_t *out; /* owned, when there is a resampler */
};

static void held_release(struct held *h)
{
	explicit_bzero(h->payload, h->size);
	free(h->payload);
}

int voice_new(const struct et_codec *codec, const char *fmtp, enum et_channel channel,
	      uint32_t rate, struct voice **ret)
{
	struct voice *v = calloc(1, sizeof(*v));
	int rc = v == NULL || (v->fmtp = strdup(fmtp)) == NULL ? -ENOMEM : 0;

	if (rc == 0) {
		v->codec = codec;
		v->rate = rate;
		rc = et_decoder_new(codec, v->fmtp, &v->decoder, NULL);
		rc = rc == ET_EUNSUPPORTED ? 0 : rc;
	}
	if (rc == 0 && v->decoder != NULL && channel != ET_CHANNEL_BOTH) {
		et_decoder_pick(v->decoder, channel);
	}
	if (rc == 0 && codec->rate != rate) {
		rc = et_resampler_new(codec->rate, rate, &v->resampler);
	}
	if (rc == 0 && v->resampler != NULL) {
		v->out = calloc(et_resampler_room(v->resampler), sizeof(*v->out));
		rc = v->out == NULL ? -ENOMEM : 0;
	}
	if (rc < 0) {
		voice_free(v);
		return rc;
	}
	*ret = v;
	return 0;
}

struct voice *voice_free(struct voice *v)
{
	if (v != NULL) {
		for (size_t i = 0; i < v->held_count; i++) {
			held_release(&v->held[i]);
		}
		if (v->out != NULL) {
			explicit_bzero(v->out, et_resampler_room(v->resampler) * sizeof(*v->out));
		}
		explicit_bzero(v->samples, sizeof(v->samples));
		free(v->out);
		free(v->fmtp);
		et_decoder_free(v->decoder);
		et_resampler_free(v->resampler);
		free(v);
	}
	return NULL;
}

bool voice_is_of(const struct voice *v, const struct et_codec *codec, const char *fmtp)
{
	return v->codec == codec && strcmp(v->fmtp, fmtp) == 0;
}

int voice_put(struct voice *v, int64_t position, uint16_t sequence, struct et_view payload)
{
	size_t at = v->held_count;

	et_assert(v->held_count <= VOICE_HELD);
	while (at > 0 && v->held[at - 1].position > position) {
		at--;
	}
	if (at > 0 && v->held[at - 1].position == position) {
		return 1;
	}
	uint8_t *copy = malloc(payload.size > 0 ? payload.size : 1);
	if (copy == NULL) {
		return -ENOMEM;
	}
	memcpy(copy, payload.data, payload.size);
	memmove(v->held + at + 1, v->held + at, (v->held_count - at) * sizeof(v->held[0]));
	v->held[at] = (struct held){ position, sequence, copy, payload.size };
	v->held_count++;
	return 0;
}

void voice_end(struct voice *v, int64_t position)
{
	v->has_end = true;
	v->end = position;
}

/* Where the run goes on, in frames of the mix. */
static int64_t run_end(const struct voice *v)
{
	return v->start + (int64_t)(v->decoded * v->rate / v->codec->rate);
}

static bool run_has_rest(const struct voice *v)
{
	return v->runs && v->resampler != NULL;
}

bool voice_lowest(const struct voice *v, int64_t *ret)
{
	if (run_has_rest(v)) {
		*ret = v->start + (int64_t)v->given;
		return true;
	}
	if (v->held_count > 0) {
		*ret = v->held[0].position;
		return true;
	}
	return false;
}

static void run_finish(struct voice *v, struct voice_span *ret)
{
	const size_t count = et_resampler_end(v->resampler, v->out);

	*ret = (struct voice_span){ v->start + (int64_t)v->given, v->out, count, 0, 0, 0, 0 };
	v->runs = false;
}

/* Decode the first that is held, which goes on with the run or begins one. */
static void packet_take(struct voice *v, struct voice_span *ret)
{
	struct held first = v->held[0];
	size_t count = 0;

	v->held_count--;
	memmove(v->held, v->held + 1, v->held_count * sizeof(v->held[0]));
	if (v->decoder != NULL) {
		count = et_decoder_decode(v->decoder, (struct et_view){ first.payload, first.size },
					  v->samples, ET_CODEC_SAMPLES_MAX);
	}
	held_release(&first);
	*ret = (struct voice_span){ .position = first.position,
				    .packet = count > 0 ? 1 : -1,
				    .sequence = first.sequence };
	if (count == 0) {
		const bool begins = !v->runs && v->decoder != NULL && v->codec->kind->begins_silent;
		ret->packet = begins ? 0 : -1;
		return;
	}
	if (!v->runs) {
		v->runs = true;
		v->start = first.position;
		v->decoded = 0;
		v->given = 0;
	}
	v->decoded += count;
	ret->position = v->start + (int64_t)v->given;
	ret->samples = v->samples;
	ret->count = count;
	if (v->resampler != NULL) {
		ret->samples = v->out;
		ret->count = et_resampler_feed(v->resampler, v->samples, count, v->out);
	}
	v->given += ret->count;
	ret->packet_position = first.position;
	ret->packet_end = run_end(v);
	if (v->codec->kind->has_ends && ret->packet_end <= 0) {
		ret->packet = 0; /* Before the sound begins. */
	}
}

/* Does the first that is held go on with the run? Both places are rounded. */
static bool run_goes_on(const struct voice *v)
{
	const int64_t gap = v->held[0].position - run_end(v);

	return v->codec->rate == v->rate ? gap == 0 : gap >= -1 && gap <= 1;
}

static bool span_take(struct voice *v, bool all, struct voice_span *ret)
{
	if (v->held_count > (all ? 0 : VOICE_HELD)) {
		if (v->runs && !run_goes_on(v)) {
			if (run_has_rest(v)) {
				run_finish(v, ret);
				return true;
			}
			v->runs = false;
		}
		packet_take(v, ret);
		return true;
	}
	if (all && run_has_rest(v)) {
		run_finish(v, ret);
		return true;
	}
	return false;
}

bool voice_take(struct voice *v, bool all, struct voice_span *ret)
{
	if (!span_take(v, all, ret)) {
		return false;
	}
	if (v->has_end && ret->position + (int64_t)ret->count > v->end) {
		ret->count = ret->position < v->end ? (size_t)(v->end - ret->position) : 0;
	}
	return true;
}

bool voice_next(const struct voice *v, bool all, uint16_t *ret)
{
	if (v->held_count <= (all ? 0 : VOICE_HELD)) {
		return false;
	}
	*ret = v->held[0].sequence;
	return true;
}

/* ---- What was lost ---- */

bool voice_conceals(const struct voice *v)
{
	return et_codec_conceals(v->codec);
}

/* The last 10 ms of what is made up fade into the silence behind it. */
static void end_fade(int16_t *samples, size_t count, uint32_t rate)
{
	const size_t fade = count < rate / 100 ? count : rate / 100;

	for (size_t i = 0; i < fade; i++) {
		int16_t *sample = &samples[count - 1 - i];
		*sample = (int16_t)(*sample * (int32_t)i / (int32_t)fade);
	}
}

/* `count` samples before the next packet, which is told of if `next`, at the mix's rate. Returns
 * the frames made, or -ENOMEM. */
static ssize_t samples_make(struct voice *v, bool next, size_t count, bool fades, int16_t *ret)
{
	const struct held *first = &v->held[0];
	const struct et_view payload = { first->payload, next ? first->size : 0 };

	count = et_decoder_conceal(v->decoder, payload, v->samples, count);
	if (fades) {
		end_fade(v->samples, count, v->codec->rate);
	}
	int rc = et_resample(v->codec->rate, v->rate, v->samples, count, ret);
	return rc < 0 ? rc : (ssize_t)(count * v->rate / v->codec->rate);
}

int voice_conceal(struct voice *v, size_t frames, int16_t *ret, size_t *ret_head, size_t *ret_tail)
{
	const struct et_codec *codec = v->codec;

	et_assert(v->held_count > 0);
	et_assert(frames <= v->rate);
	*ret_head = *ret_tail = 0;
	if (v->decoder == NULL) {
		return 0;
	}
	const size_t lost = frames * codec->rate / v->rate;
	const size_t head = VOICE_MADE_MS * codec->rate / 1000;
	size_t told = et_decoder_told(v->decoder,
				      (struct et_view){ v->held[0].payload, v->held[0].size });
	told = told < lost ? told : 0;
	if (lost <= head + told) { /* All of it, at once. */
		ssize_t made = samples_make(v, true, lost, false, ret);
		*ret_head = made > 0 ? (size_t)made : 0;
		return made < 0 ? (int)made : 0;
	}
	ssize_t made = samples_make(v, false, head, true, ret);
	*ret_head = made > 0 ? (size_t)made : 0;
	if (made >= 0 && told > 0) {
		const size_t last = told * v->rate / codec->rate;
		made = samples_make(v, true, told, false, ret + frames - last);
		*ret_tail = made > 0 ? (size_t)made : 0;
	}
	return made < 0 ? (int)made : 0;
}
