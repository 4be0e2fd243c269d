/* Kinds of decoders. */
#ifndef ET_NODE_AUDIO_CODEC_INTERNAL_H
#define ET_NODE_AUDIO_CODEC_INTERNAL_H

#include <math.h>

#include "node/audio/codec.h"

struct codec_kind {
	/* NULL: stateless. *ret is freed with close(). ET_EUNSUPPORTED, -ENOMEM. */
	int (*open)(const struct et_codec *codec, const char *fmtp, void **ret);
	void (*close)(void *state);
	size_t (*decode)(void *state, struct et_view payload, int16_t *samples, size_t max);
	/* et_decoder_conceal(); or NULL: the codec has no such thing. */
	size_t (*conceal)(void *state, struct et_view next, int16_t *samples, size_t count);
	size_t (*told)(struct et_view packet); /* et_decoder_told(); or NULL: nothing */
	void (*pick)(void *state, enum et_channel channel); /* or NULL: it has one voice */
	bool has_ends;					    /* et_codec_has_ends() */
	bool begins_silent; /* the first packet has no samples of its own */
};

/* A sample of `bits` (4 to 32) as one of 16: what is finer is rounded. */
static inline int16_t codec_from_bits(int32_t sample, uint32_t bits)
{
	if (bits <= 16) {
		return (int16_t)((uint32_t)sample << (16 - bits));
	}
	const int64_t rounded = ((int64_t)sample + (INT64_C(1) << (bits - 17))) >> (bits - 16);
	return (int16_t)(rounded > INT16_MAX ? INT16_MAX : rounded);
}

/* 1.0 is full scale; what is no number is silence. */
static inline int16_t codec_from_float(double sample)
{
	const double scaled = sample * 32768;

	return (int16_t)(scaled >= INT16_MAX   ? INT16_MAX
			 : scaled <= INT16_MIN ? INT16_MIN
			 : scaled != scaled    ? 0
					       : lrint(scaled));
}

/* Two channels as one, or the one that was picked; `frames` of `channels` (1, 2) in turn. */
static inline int16_t codec_sample(const int16_t *frame, uint32_t channels, enum et_channel pick)
{
	if (channels == 1 || pick == ET_CHANNEL_LEFT) {
		return frame[0];
	}
	return pick == ET_CHANNEL_RIGHT ? frame[1] : (int16_t)((frame[0] + frame[1]) / 2);
}

/* libraries.c */
extern const struct codec_kind codec_g722;
extern const struct codec_kind codec_g726; /* variant: bits a second; | CODEC_AAL2 */
extern const struct codec_kind codec_gsm;
extern const struct codec_kind codec_g729;
extern const struct codec_kind codec_speex;
extern const struct codec_kind codec_opus;
extern const struct codec_kind codec_gsm_wav;
extern const struct codec_kind codec_ogg_opus;
/* mp3.c */
extern const struct codec_kind codec_mp3;
/* flac.c */
extern const struct codec_kind codec_flac;
/* vorbis.c */
extern const struct codec_kind codec_vorbis;
/* amr.c */
extern const struct codec_kind codec_amr;
extern const struct codec_kind codec_amr_wb;

#define CODEC_AAL2 1U /* ITU-T I.366.2: the first sample stands in the highest bits */

#endif
