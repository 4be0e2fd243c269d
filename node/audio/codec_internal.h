/* Kinds of decoders. */
#ifndef ET_NODE_AUDIO_CODEC_INTERNAL_H
#define ET_NODE_AUDIO_CODEC_INTERNAL_H

#include "node/audio/codec.h"

struct codec_kind {
	/* NULL: stateless. *ret is freed with close(). ET_EUNSUPPORTED, -ENOMEM. */
	int (*open)(const struct et_codec *codec, const char *fmtp, void **ret);
	void (*close)(void *state);
	size_t (*decode)(void *state, struct et_view payload, int16_t *samples, size_t max);
};

/* libraries.c */
extern const struct codec_kind codec_g722;
extern const struct codec_kind codec_g726; /* variant: bits a second; | CODEC_AAL2 */
extern const struct codec_kind codec_gsm;
extern const struct codec_kind codec_g729;
extern const struct codec_kind codec_speex;
extern const struct codec_kind codec_opus;
/* mp3.c */
extern const struct codec_kind codec_mp3;
/* amr.c */
extern const struct codec_kind codec_amr;
extern const struct codec_kind codec_amr_wb;

#define CODEC_AAL2 1U /* ITU-T I.366.2: the first sample stands in the highest bits */

#endif
