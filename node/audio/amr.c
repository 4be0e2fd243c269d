/* AMR and AMR-WB (RFC 4867): one channel, bandwidth-efficient or octet-aligned.
 *
 *   octet-aligned         | CMR 4, 0 4 | F 1, FT 4, Q 1, 0 2 | ... | frames, each of whole bytes
 *   bandwidth-efficient   | CMR 4 | F 1, FT 4, Q 1 | ... | frames, bit after bit | padding
 *
 * Without parameters the layout is that which fits the payload's size.
 *
 * opencore takes a frame as in a file (section 5.3): F=0, FT, Q, 0 2, then its bits. */
#include <opencore-amrnb/interf_dec.h>
#include <opencore-amrwb/dec_if.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "node/audio/codec_internal.h"

enum {
	AMR_FRAMES_MAX = 50, /* of one packet: a second */
	AMR_FRAME_BYTES = 64,
	AMR_SAMPLES = 160,
	AMR_WIDE_SAMPLES = 320,
	AMR_FADE = 960, /* samples: 60 ms */
	FT_NOISE = 8,	/* up from there no frame is speech, */
	FT_NOISE_WIDE = 9,
	FT_NOTHING = 15,
};

struct amr {
	void *state; /* owned */
	bool is_wide;
	bool is_aligned;
	bool is_speech;		       /* the last frame that came: */
	uint8_t last[AMR_FRAME_BYTES]; /* it */
	uint32_t missed;	       /* samples since then */
};

/* Bits of a frame by its type; -1: there is no such type (sections 3.6 and 4.3.2 there). */
static int frame_bits(bool is_wide, unsigned type)
{
	static const int16_t narrow[16] = { 95, 103, 118, 134, 148, 159, 204, 244,
					    39, -1,  -1,  -1,  -1,  -1,	 -1,  0 };
	static const int16_t wide[16] = { 132, 177, 253, 285, 317, 365, 397, 461,
					  477, 40,  -1,	 -1,  -1,  -1,	0,   0 };

	return is_wide ? wide[type] : narrow[type];
}

/* The value of a parameter in "a=1; b=2", or "" when it is not there. */
static const char *parameter(const char *fmtp, const char *name)
{
	const size_t size = strlen(name);

	while (*fmtp != '\0') {
		fmtp += strspn(fmtp, "; \t");
		if (strncasecmp(fmtp, name, size) == 0 && fmtp[size] == '=') {
			return fmtp + size + 1;
		}
		fmtp += strcspn(fmtp, ";");
	}
	return "";
}

static bool parameter_is_set(const char *fmtp, const char *name)
{
	const char *value = parameter(fmtp, name);

	return value[0] != '\0' && value[0] != '0';
}

static int amr_open(const struct et_codec *codec, const char *fmtp, void **ret)
{
	const char *channels = parameter(fmtp, "channels");

	if (parameter_is_set(fmtp, "crc") || parameter_is_set(fmtp, "robust-sorting") ||
	    parameter_is_set(fmtp, "interleaving") || (channels[0] != '\0' && channels[0] != '1')) {
		return ET_EUNSUPPORTED;
	}
	struct amr *a = calloc(1, sizeof(*a));
	if (a == NULL) {
		return -ENOMEM;
	}
	a->is_wide = codec->rate == 16000;
	a->is_aligned = parameter_is_set(fmtp, "octet-align");
	a->state = a->is_wide ? D_IF_init() : Decoder_Interface_init();
	if (a->state == NULL) {
		free(a);
		return -ENOMEM;
	}
	*ret = a;
	return 0;
}

static void amr_close(void *state)
{
	struct amr *a = state;

	if (a->is_wide) {
		D_IF_exit(a->state);
	} else {
		Decoder_Interface_exit(a->state);
	}
	explicit_bzero(a, sizeof(*a));
	free(a);
}

/* Bits of the payload, the first one highest; behind its end there are zeros, and `failed`. */
struct bits {
	struct et_view bytes;
	size_t at;
	bool failed;
};

static unsigned bits_take(struct bits *b, unsigned count)
{
	unsigned value = 0;

	for (; count > 0; count--) {
		const size_t byte = b->at / 8;
		value <<= 1;
		if (byte < b->bytes.size) {
			value |= b->bytes.data[byte] >> (7 - b->at % 8) & 1U;
		} else {
			b->failed = true;
		}
		b->at++;
	}
	return value;
}

/* The table of contents; 0: there is none, or it names a frame that does not exist. */
static size_t toc_take(const struct amr *a, bool is_aligned, struct bits *b,
		       uint8_t toc[AMR_FRAMES_MAX])
{
	size_t count = 0;
	unsigned more = 1;

	(void)bits_take(b, is_aligned ? 8 : 4); /* what the sender asks for: not our matter */
	while (more != 0 && !b->failed) {
		if (count == AMR_FRAMES_MAX) {
			return 0;
		}
		more = bits_take(b, 1);
		const unsigned type_and_quality = bits_take(b, 5);
		if (frame_bits(a->is_wide, type_and_quality >> 1) < 0) {
			return 0;
		}
		toc[count++] = (uint8_t)(type_and_quality << 2);
		(void)bits_take(b, is_aligned ? 2 : 0);
	}
	return b->failed ? 0 : count;
}

/* How many bytes a payload of this layout has by its table of contents; 0: it is none. */
static size_t layout_size(const struct amr *a, bool is_aligned, struct et_view payload)
{
	struct bits b = { .bytes = payload };
	uint8_t toc[AMR_FRAMES_MAX];
	size_t bits = 0;
	size_t bytes = 0;

	const size_t count = toc_take(a, is_aligned, &b, toc);
	for (size_t i = 0; i < count; i++) {
		const int size = frame_bits(a->is_wide, toc[i] >> 3);
		bits += (size_t)size;
		bytes += ((size_t)size + 7) / 8;
	}
	return count == 0 ? 0 : is_aligned ? 1 + count + bytes : (4 + 6 * count + bits + 7) / 8;
}

static size_t frames_decode(struct amr *a, bool is_aligned, struct et_view payload,
			    int16_t *samples, size_t max)
{
	const size_t length = a->is_wide ? AMR_WIDE_SAMPLES : AMR_SAMPLES;
	struct bits b = { .bytes = payload };
	uint8_t toc[AMR_FRAMES_MAX];
	size_t n = 0;

	const size_t count = toc_take(a, is_aligned, &b, toc);
	for (size_t i = 0; i < count && max - n >= length; i++) {
		uint8_t frame[AMR_FRAME_BYTES] = { toc[i] };
		const int size = frame_bits(a->is_wide, toc[i] >> 3);
		for (int j = 0; j < size; j++) {
			frame[1 + j / 8] |= (uint8_t)(bits_take(&b, 1) << (7 - j % 8));
		}
		if (is_aligned) {
			b.at = (b.at + 7) / 8 * 8;
		}
		if (size == 0) { /* Nothing was sent, so nothing is heard. */
			memset(samples + n, 0, length * sizeof(*samples));
		} else if (a->is_wide) {
			D_IF_decode(a->state, frame, samples + n, 0);
		} else {
			Decoder_Interface_Decode(a->state, frame, samples + n, 0);
		}
		a->is_speech = toc[i] >> 3 < (a->is_wide ? FT_NOISE_WIDE : FT_NOISE);
		a->missed = 0;
		memcpy(a->last, frame, sizeof(frame));
		n += length;
	}
	return n;
}

/* What was told of the layout is not always there, nor true; a payload's size tells it. */
static size_t amr_payload(void *state, struct et_view payload, int16_t *samples, size_t max)
{
	struct amr *a = state;
	bool is_aligned = a->is_aligned;
	const size_t told = layout_size(a, is_aligned, payload);

	if (told != payload.size && layout_size(a, !is_aligned, payload) == payload.size) {
		is_aligned = !is_aligned;
	} else if (told == 0 || told > payload.size) {
		return 0;
	}
	return frames_decode(a, is_aligned, payload, samples, max);
}

/* A frame that did not come: of that the library has no type, but one where nothing was sent while
 * somebody speaks means the same to it. */
static void frame_miss(struct amr *a, int16_t *samples)
{
	static const uint8_t lost[AMR_FRAME_BYTES] = { FT_NOTHING << 3 };

	Decoder_Interface_Decode(a->state, lost, samples, 1);
}

/* In AMR-WB such a frame makes those behind it faint, too. So the last one is heard again, fainter
 * and fainter (as GSM 06.11 has it). */
static void frame_repeat(struct amr *a, int16_t *samples)
{
	D_IF_decode(a->state, a->last, samples, 0);
	for (size_t i = 0; i < AMR_WIDE_SAMPLES; i++, a->missed++) {
		const int32_t left = a->missed < AMR_FADE ? AMR_FADE - (int32_t)a->missed : 0;
		samples[i] = (int16_t)(samples[i] * left / AMR_FADE * left / AMR_FADE);
	}
}

static size_t amr_conceal(void *state, struct et_view next, int16_t *samples, size_t count)
{
	struct amr *a = state;
	const size_t length = a->is_wide ? AMR_WIDE_SAMPLES : AMR_SAMPLES;
	int16_t frame[AMR_WIDE_SAMPLES];

	(void)next;
	if (!a->is_speech) { /* Noise that is described now and then, or nothing at all. */
		return 0;
	}
	for (size_t n = 0; n < count; n += length) {
		const size_t left = count - n;
		if (a->is_wide) {
			frame_repeat(a, frame);
		} else {
			frame_miss(a, frame);
		}
		memcpy(samples + n, frame, (left < length ? left : length) * sizeof(*samples));
	}
	return count;
}

const struct codec_kind codec_amr = {
	.open = amr_open, .close = amr_close, .decode = amr_payload, .conceal = amr_conceal
};
const struct codec_kind codec_amr_wb = {
	.open = amr_open, .close = amr_close, .decode = amr_payload, .conceal = amr_conceal
};
