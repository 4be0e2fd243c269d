/* RIFF WAVE: "Multimedia Programming Interface and Data Specifications 1.0" (1991), chapter 2, and
 * WAVEFORMATEXTENSIBLE; RF64 and BW64 (EBU Tech 3306, ITU-R BS.2088): the same with lengths of 64
 * bits. Little-endian. */
#include <stdio.h>
#include <string.h>

#include "node/medium/medium_internal.h"

enum {
	RIFF_HEAD = 12,
	CHUNK_HEAD = 8,
	FORMAT_BYTES = 16,
	EXTENSIBLE_BYTES = 40,
	LENGTHS_BYTES = 16, /* of ds64: of the file, of its samples */
	TAG_GSM = 49,
	TAG_EXTENSIBLE = 0xFFFE,
};

static uint32_t get16_little(const uint8_t *p)
{
	return (uint32_t)p[1] << 8 | p[0];
}

static uint32_t get32_little(const uint8_t *p)
{
	return get16_little(p + 2) << 16 | get16_little(p);
}

/* ---- The head ---- */

/* The 14 bytes behind the tag in a SubFormat (KSDATAFORMAT_SUBTYPE_*). */
static const uint8_t subtype[14] = { 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x80,
				     0x00, 0x00, 0xAA, 0x00, 0x38, 0x9B, 0x71 };

static uint32_t format_tag(const uint8_t *f, size_t size)
{
	const uint32_t tag = get16_little(f);

	return tag == TAG_EXTENSIBLE && size >= EXTENSIBLE_BYTES &&
			       memcmp(f + 26, subtype, sizeof(subtype)) == 0
		       ? get16_little(f + 24)
		       : tag;
}

/* The format chunk. false: nothing that is played here. */
static bool format_read(const char *name, const uint8_t *f, size_t size, struct pcm_head *ret)
{
	static const struct {
		uint32_t tag;
		enum pcm_sample sample;
	} rows[] = { { 1, PCM_SIGNED }, { 3, PCM_FLOAT }, { 6, PCM_ALAW }, { 7, PCM_ULAW } };
	const uint32_t tag = format_tag(f, size);
	struct pcm_kind k = {
		.channels = get16_little(f + 2),
		.rate = get32_little(f + 4),
		.frame_bytes = get16_little(f + 12),
		.bits = get16_little(f + 14),
		.is_little = true,
	};

	if (tag == TAG_GSM && pcm_describe_gsm(ret, name, k.channels, k.rate, k.frame_bytes)) {
		return true;
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		if (rows[i].tag == tag) {
			k.sample = tag == 1 && k.bits == 8 ? PCM_UNSIGNED : rows[i].sample;
			return pcm_describe(ret, name, &k);
		}
	}
	(void)snprintf(ret->about.format, sizeof(ret->about.format), "%s codec %u, %u bit", name,
		       tag, k.bits);
	return false;
}

static void data_note(const uint8_t *begin, uint32_t size, struct pcm_head *ret)
{
	const uint32_t riff_bytes = get32_little(begin + 4);
	const bool is_open =
		size == UINT32_MAX ||
		(size == 0 && (riff_bytes == 0 || riff_bytes + CHUNK_HEAD == ret->head_bytes));

	if (size == UINT32_MAX && ret->data_bytes != 0) {
		return; /* RF64: a chunk of its own said it. */
	}
	ret->to_the_end = is_open;
	ret->data_bytes = is_open ? UINT64_MAX : size;
}

bool riff_is(struct et_view v)
{
	return v.size >= RIFF_HEAD && memcmp(v.data + 8, "WAVE", 4) == 0 &&
	       (memcmp(v.data, "RIFF", 4) == 0 || memcmp(v.data, "RF64", 4) == 0 ||
		memcmp(v.data, "BW64", 4) == 0);
}

int riff_read(struct et_view begin, struct pcm_head *ret)
{
	const uint8_t *b = begin.data;
	const bool is_long = b[0] != 'R' || b[1] != 'I';
	const char *name = is_long ? "RF64" : "WAV";
	uint64_t at = RIFF_HEAD;
	bool has_format = false;

	*ret = (struct pcm_head){ .about = { .kind = ET_MEDIUM_OTHER } };
	(void)snprintf(ret->about.format, sizeof(ret->about.format), "%s", name);
	while (at + CHUNK_HEAD <= begin.size) {
		const uint32_t size = get32_little(b + at + 4);
		const uint64_t body = at + CHUNK_HEAD;
		if (memcmp(b + at, "data", 4) == 0) {
			ret->head_bytes = (size_t)body;
			data_note(b, size, ret);
			return has_format ? 1 : -1;
		}
		if (memcmp(b + at, "fmt ", 4) == 0) {
			if (size < FORMAT_BYTES || size > 4096) {
				return -1;
			}
			if (body + size > begin.size) {
				return 0;
			}
			if (!format_read(name, b + body, size, ret)) {
				return -1;
			}
			has_format = true;
		}
		if (is_long && memcmp(b + at, "ds64", 4) == 0 && size >= LENGTHS_BYTES &&
		    body + LENGTHS_BYTES <= begin.size) {
			ret->data_bytes = get32_little(b + body + 8) |
					  (uint64_t)get32_little(b + body + 12) << 32;
		}
		at = body + size + (size & 1); /* chunks begin at even places */
	}
	return 0;
}
