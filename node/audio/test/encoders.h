/* Encoders for tests: the other side of each decoder, from the same libraries. A packet is 20 ms.
 */
#ifndef ET_NODE_AUDIO_TEST_ENCODERS_H
#define ET_NODE_AUDIO_TEST_ENCODERS_H

#include <bcg729/encoder.h>
#include <gsm.h>
#include <opencore-amrnb/interf_enc.h>
#include <opus/opus.h>
#include <spandsp.h>
#include <speex/speex.h>
#include <stdlib.h>
#include <string.h>
#include <vo-amrwbenc/enc_if.h>

#include "node/audio/codec.h"

struct encoder {
	const struct et_codec *codec;
	bool is_aligned; /* AMR */
	void *state;
	SpeexBits bits;
};

static inline bool encoder_is(const struct encoder *e, const char *name)
{
	return strcmp(e->codec->name, name) == 0;
}

static inline void encoder_open(struct encoder *e, const struct et_codec *codec, bool is_aligned)
{
	static const int modes[] = { SPEEX_MODEID_NB, SPEEX_MODEID_WB, SPEEX_MODEID_UWB };
	*e = (struct encoder){ .codec = codec, .is_aligned = is_aligned };
	if (encoder_is(e, "G722")) {
		e->state = g722_encode_init(NULL, 64000, 0);
	} else if (strstr(codec->name, "G726") != NULL) {
		e->state = g726_init(NULL, (int)(codec->variant & ~1U), G726_ENCODING_LINEAR,
				     (codec->variant & 1) != 0 ? G726_PACKING_LEFT
							       : G726_PACKING_RIGHT);
	} else if (encoder_is(e, "GSM")) {
		e->state = gsm_create();
	} else if (strncmp(codec->name, "G729", 4) == 0) {
		e->state = initBcg729EncoderChannel(0);
	} else if (encoder_is(e, "opus")) {
		e->state = opus_encoder_create(48000, 1, OPUS_APPLICATION_AUDIO, NULL);
	} else if (encoder_is(e, "speex")) {
		spx_int32_t quality = 10;
		e->state = speex_encoder_init(speex_lib_get_mode(modes[codec->variant]));
		(void)speex_encoder_ctl(e->state, SPEEX_SET_QUALITY, &quality);
		speex_bits_init(&e->bits);
	} else if (encoder_is(e, "AMR")) {
		e->state = Encoder_Interface_init(0);
	} else if (encoder_is(e, "AMR-WB")) {
		e->state = E_IF_init();
	}
}

static inline void encoder_close(struct encoder *e)
{
	if (encoder_is(e, "G722")) {
		(void)g722_encode_free(e->state);
	} else if (strstr(e->codec->name, "G726") != NULL) {
		(void)g726_free(e->state);
	} else if (encoder_is(e, "GSM")) {
		gsm_destroy(e->state);
	} else if (strncmp(e->codec->name, "G729", 4) == 0) {
		closeBcg729EncoderChannel(e->state);
	} else if (encoder_is(e, "opus")) {
		opus_encoder_destroy(e->state);
	} else if (encoder_is(e, "speex")) {
		speex_encoder_destroy(e->state);
		speex_bits_destroy(&e->bits);
	} else if (encoder_is(e, "AMR")) {
		Encoder_Interface_exit(e->state);
	} else if (encoder_is(e, "AMR-WB")) {
		E_IF_exit(e->state);
	}
}

/* One frame as in a file (RFC 4867, section 5.3) to a payload of either layout. */
static inline size_t amr_pack(const uint8_t *frame, size_t bits, bool is_aligned, uint8_t *ret)
{
	const uint8_t toc = frame[0] & 0x7C;
	if (is_aligned) {
		ret[0] = 0xF0;
		ret[1] = toc;
		memcpy(ret + 2, frame + 1, (bits + 7) / 8);
		return 2 + (bits + 7) / 8;
	}
	memset(ret, 0, 80);
	ret[0] = (uint8_t)(0xF0 | toc >> 4); /* CMR 4, F, FT 3 */
	ret[1] = (uint8_t)((toc & 0x0C) << 4);
	for (size_t i = 0; i < bits; i++) {
		const uint8_t bit = (uint8_t)(frame[1 + i / 8] >> (7 - i % 8) & 1);
		ret[(10 + i) / 8] |= (uint8_t)(bit << (7 - (10 + i) % 8));
	}
	return (10 + bits + 7) / 8;
}

/* 20 ms of samples to a payload; `ret` has room for 2,000 bytes. */
static inline size_t encode(struct encoder *e, const int16_t *said, uint8_t *ret)
{
	const int n = (int)(e->codec->rate / 50);
	int16_t pcm[960]; /* some encoders write into it */
	memcpy(pcm, said, (size_t)n * sizeof(*pcm));
	if (encoder_is(e, "PCMU") || encoder_is(e, "PCMA")) {
		for (int i = 0; i < n; i++) {
			ret[i] = encoder_is(e, "PCMU") ? et_ulaw_encode(pcm[i])
						       : et_alaw_encode(pcm[i]);
		}
		return (size_t)n;
	}
	if (encoder_is(e, "L16")) {
		for (size_t i = 0; i < (size_t)n; i++) {
			ret[2 * i] = (uint8_t)((uint16_t)pcm[i] >> 8);
			ret[2 * i + 1] = (uint8_t)pcm[i];
		}
		return (size_t)n * 2;
	}
	if (encoder_is(e, "G722")) {
		return (size_t)g722_encode(e->state, ret, pcm, n);
	}
	if (strstr(e->codec->name, "G726") != NULL) {
		return (size_t)g726_encode(e->state, ret, pcm, n);
	}
	if (encoder_is(e, "GSM")) {
		gsm_encode(e->state, pcm, ret);
		return 33;
	}
	if (strncmp(e->codec->name, "G729", 4) == 0) {
		uint8_t length = 0;
		bcg729Encoder(e->state, pcm, ret, &length);
		bcg729Encoder(e->state, pcm + 80, ret + 10, &length);
		return 20;
	}
	if (encoder_is(e, "opus")) {
		return (size_t)opus_encode(e->state, pcm, n, ret, 2000);
	}
	if (encoder_is(e, "speex")) {
		speex_bits_reset(&e->bits);
		(void)speex_encode_int(e->state, pcm, &e->bits);
		char bytes[2000];
		const int size = speex_bits_write(&e->bits, bytes, sizeof(bytes));
		memcpy(ret, bytes, (size_t)size);
		return (size_t)size;
	}
	uint8_t frame[80];
	if (encoder_is(e, "AMR")) {
		(void)Encoder_Interface_Encode(e->state, MR122, pcm, frame, 0);
		return amr_pack(frame, 244, e->is_aligned, ret);
	}
	(void)E_IF_encode(e->state, 8, pcm, frame, 0);
	return amr_pack(frame, 477, e->is_aligned, ret);
}

#endif
