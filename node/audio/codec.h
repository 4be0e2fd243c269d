/* Decoders: payload bytes to 16-bit linear samples.
 *
 * Built in: G.711 µ-law and A-law (ITU-T G.711). Other codecs are recorded and exported as they
 * are, but have no decoder here: et_codec_find() says NULL, and whoever plays says "no decoder".
 *
 * Threads: pure functions and constant tables. */
#ifndef ET_NODE_AUDIO_CODEC_H
#define ET_NODE_AUDIO_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "node/base/bytes.h"

struct et_codec {
	const char *name;    /* as in SDP's rtpmap, "PCMU" */
	uint32_t clock_rate; /* Hz of the RTP timestamp and of the samples */
	/* Decode one payload: the number of samples written (at most `samples_max`). Stateless. */
	size_t (*decode)(const uint8_t *payload, size_t size, int16_t *samples, size_t samples_max);
};

/* By name without regard to case, and clock rate (0: any); static, or NULL: no decoder. */
const struct et_codec *et_codec_find(const char *name, size_t name_size, uint32_t clock_rate);

/* The codec of a static payload type (RFC 3551, table 4) that has a decoder, or NULL. */
const struct et_codec *et_codec_static(uint8_t payload_type);

/* One sample. */
int16_t et_ulaw_decode(uint8_t code);
int16_t et_alaw_decode(uint8_t code);
/* The nearest code; for tools and tests that make audio. */
uint8_t et_ulaw_encode(int16_t sample);
uint8_t et_alaw_encode(int16_t sample);

#endif
