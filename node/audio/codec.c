#include "node/audio/codec.h"

#include <strings.h>

/* ITU-T G.711: µ-law is 14 bits of sample with a bias of 33 (132 in 16 bits), its code inverted. */
enum { ULAW_BIAS = 132, ULAW_MAX = 32635, ALAW_INVERT = 0x55 };

int16_t et_ulaw_decode(uint8_t code)
{
	const unsigned c = ~(unsigned)code & 0xFF;
	const int magnitude = (int)((((c & 15) << 3) + ULAW_BIAS) << (c >> 4 & 7)) - ULAW_BIAS;

	return (int16_t)((c & 0x80) != 0 ? -magnitude : magnitude);
}

int16_t et_alaw_decode(uint8_t code)
{
	const unsigned c = (unsigned)code ^ ALAW_INVERT;
	const unsigned segment = c >> 4 & 7;
	const unsigned low = ((c & 15) << 4) + 8;
	const int magnitude = (int)(segment == 0 ? low : (low + 256) << (segment - 1));

	return (int16_t)((c & 0x80) != 0 ? magnitude : -magnitude);
}

/* The number of the highest bit set, counted from `lowest` up; 0 when none is. */
static unsigned segment_of(unsigned magnitude, unsigned lowest)
{
	unsigned segment = 0;

	while (segment < 7 && magnitude >> (lowest + segment + 1) != 0) {
		segment++;
	}
	return segment;
}

uint8_t et_ulaw_encode(int16_t sample)
{
	unsigned magnitude = (unsigned)(sample < 0 ? -(int)sample : sample);
	const unsigned sign = sample < 0 ? 0x80 : 0;

	if (magnitude > ULAW_MAX) {
		magnitude = ULAW_MAX;
	}
	magnitude += ULAW_BIAS;
	const unsigned segment = segment_of(magnitude, 7);
	return (uint8_t) ~(sign | segment << 4 | (magnitude >> (segment + 3) & 15));
}

uint8_t et_alaw_encode(int16_t sample)
{
	const unsigned sign = sample < 0 ? 0 : 0x80;
	/* -1 - x: the codes of both signs meet between 0 and -1. */
	const unsigned magnitude = (unsigned)(sample < 0 ? -1 - (int)sample : sample);
	const unsigned segment = segment_of(magnitude, 7);
	const unsigned shift = segment == 0 ? 4 : segment + 3;

	return (uint8_t)((sign | segment << 4 | (magnitude >> shift & 15)) ^ ALAW_INVERT);
}

static size_t ulaw_payload(const uint8_t *payload, size_t size, int16_t *samples,
			   size_t samples_max)
{
	const size_t n = size < samples_max ? size : samples_max;

	for (size_t i = 0; i < n; i++) {
		samples[i] = et_ulaw_decode(payload[i]);
	}
	return n;
}

static size_t alaw_payload(const uint8_t *payload, size_t size, int16_t *samples,
			   size_t samples_max)
{
	const size_t n = size < samples_max ? size : samples_max;

	for (size_t i = 0; i < n; i++) {
		samples[i] = et_alaw_decode(payload[i]);
	}
	return n;
}

static const struct et_codec codecs[] = {
	{ "PCMU", 8000, ulaw_payload },
	{ "PCMA", 8000, alaw_payload },
};

const struct et_codec *et_codec_find(const char *name, size_t name_size, uint32_t clock_rate)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(codecs); i++) {
		if (strlen(codecs[i].name) == name_size &&
		    strncasecmp(codecs[i].name, name, name_size) == 0 &&
		    (clock_rate == 0 || clock_rate == codecs[i].clock_rate)) {
			return &codecs[i];
		}
	}
	return NULL;
}

const struct et_codec *et_codec_static(uint8_t payload_type)
{
	switch (payload_type) {
	case 0:
		return &codecs[0];
	case 8:
		return &codecs[1];
	default:
		return NULL;
	}
}
