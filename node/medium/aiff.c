/* AIFF and AIFF-C (Apple, "Audio Interchange File Format" 1.3 of 1989, and AIFF-C of 1991), and AU
 * (Sun's .snd, as its manual page has it). Big-endian. */
#include <string.h>

#include "node/medium/medium_internal.h"

enum {
	FORM_HEAD = 12,
	CHUNK_HEAD = 8,
	COMMON_BYTES = 18,
	COMMON_C_BYTES = 22,
	SOUND_HEAD = 8,
	AU_HEAD = 24,
	RATE_BYTES = 10,
};

/* ---- AIFF ---- */

/* A whole number of an IEEE 754 extended; 0: it is none, or more than 2^31. */
static uint32_t extended_get(const uint8_t p[RATE_BYTES])
{
	const int exponent = ((p[0] & 0x7F) << 8 | p[1]) - 16383;
	const uint64_t mantissa = et_get64(p + 2);

	return (p[0] & 0x80) != 0 || exponent < 0 || exponent > 30
		       ? 0
		       : (uint32_t)(mantissa >> (63 - exponent));
}

static bool common_read(const uint8_t *c, size_t size, bool is_c, struct pcm_head *ret)
{
	static const struct {
		char name[5];
		enum pcm_sample sample;
		bool is_little;
		uint32_t bits; /* 0: as it says */
	} rows[] = {
		{ "NONE", PCM_SIGNED, false, 0 }, { "twos", PCM_SIGNED, false, 0 },
		{ "sowt", PCM_SIGNED, true, 0 },  { "raw ", PCM_UNSIGNED, false, 0 },
		{ "fl32", PCM_FLOAT, false, 32 }, { "FL32", PCM_FLOAT, false, 32 },
		{ "fl64", PCM_FLOAT, false, 64 }, { "FL64", PCM_FLOAT, false, 64 },
		{ "alaw", PCM_ALAW, false, 8 },	  { "ALAW", PCM_ALAW, false, 8 },
		{ "ulaw", PCM_ULAW, false, 8 },	  { "ULAW", PCM_ULAW, false, 8 },
	};
	const char *name = is_c && size >= COMMON_C_BYTES ? (const char *)c + 18 : "NONE";
	struct pcm_kind k = {
		.channels = et_get16(c),
		.rate = extended_get(c + 8),
		.bits = et_get16(c + 6),
	};

	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		if (memcmp(rows[i].name, name, 4) == 0) {
			k.sample = rows[i].sample;
			k.is_little = rows[i].is_little;
			k.bits = rows[i].bits != 0 ? rows[i].bits : (k.bits + 7) / 8 * 8;
			k.frame_bytes = k.channels * k.bits / 8;
			return pcm_describe(ret, is_c ? "AIFF-C" : "AIFF", &k);
		}
	}
	return false;
}

bool aiff_is(struct et_view v)
{
	return v.size >= FORM_HEAD && memcmp(v.data, "FORM", 4) == 0 &&
	       (memcmp(v.data + 8, "AIFF", 4) == 0 || memcmp(v.data + 8, "AIFC", 4) == 0);
}

int aiff_read(struct et_view begin, struct pcm_head *ret)
{
	const uint8_t *b = begin.data;
	const bool is_c = b[11] == 'C';
	uint64_t at = FORM_HEAD;
	bool has_common = false;

	*ret = (struct pcm_head){ .about = { .kind = ET_MEDIUM_OTHER } };
	memcpy(ret->about.format, is_c ? "AIFF-C" : "AIFF", is_c ? 7 : 5);
	while (at + CHUNK_HEAD <= begin.size) {
		const uint32_t size = et_get32(b + at + 4);
		const uint64_t body = at + CHUNK_HEAD;
		if (memcmp(b + at, "SSND", 4) == 0) {
			if (!has_common || size < SOUND_HEAD) {
				return -1; /* A description behind the sound comes too late. */
			}
			if (body + SOUND_HEAD > begin.size) {
				return 0;
			}
			const uint32_t offset = et_get32(b + body);
			if (offset > size - SOUND_HEAD || offset > 4096) {
				return -1;
			}
			ret->head_bytes = (size_t)body + SOUND_HEAD + offset;
			ret->data_bytes = size - SOUND_HEAD - offset;
			return ret->head_bytes <= begin.size ? 1 : 0;
		}
		if (memcmp(b + at, "COMM", 4) == 0) {
			if (size < COMMON_BYTES || size > 4096) {
				return -1;
			}
			if (body + size > begin.size) {
				return 0;
			}
			if (!common_read(b + body, size, is_c, ret)) {
				return -1;
			}
			has_common = true;
		}
		at = body + size + (size & 1);
	}
	return 0;
}

/* ---- AU ---- */

bool au_is(struct et_view v)
{
	return v.size >= 4 && memcmp(v.data, ".snd", 4) == 0;
}

int au_read(struct et_view begin, struct pcm_head *ret)
{
	static const struct {
		uint32_t encoding;
		enum pcm_sample sample;
		uint32_t bits;
	} rows[] = {
		{ 1, PCM_ULAW, 8 },    { 2, PCM_SIGNED, 8 },  { 3, PCM_SIGNED, 16 },
		{ 4, PCM_SIGNED, 24 }, { 5, PCM_SIGNED, 32 }, { 6, PCM_FLOAT, 32 },
		{ 7, PCM_FLOAT, 64 },  { 27, PCM_ALAW, 8 },
	};

	*ret = (struct pcm_head){ .about = { .kind = ET_MEDIUM_OTHER, .format = "AU" } };
	if (begin.size < AU_HEAD) {
		return 0;
	}
	const uint8_t *b = begin.data;
	const uint32_t head_bytes = et_get32(b + 4);
	const uint32_t size = et_get32(b + 8);
	if (head_bytes < AU_HEAD || head_bytes > ET_MEDIUM_PEEK / 2) {
		return -1;
	}
	if (head_bytes > begin.size) {
		return 0;
	}
	ret->head_bytes = head_bytes;
	ret->to_the_end = size == UINT32_MAX;
	ret->data_bytes = size == UINT32_MAX ? UINT64_MAX : size;
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		if (rows[i].encoding == et_get32(b + 12)) {
			struct pcm_kind k = { .sample = rows[i].sample,
					      .bits = rows[i].bits,
					      .rate = et_get32(b + 16),
					      .channels = et_get32(b + 20) };
			k.frame_bytes = k.channels * k.bits / 8;
			return k.channels <= 255 && pcm_describe(ret, "AU", &k) ? 1 : -1;
		}
	}
	return -1;
}
