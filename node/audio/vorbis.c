/* Vorbis through libvorbis: a payload is one whole packet. */
#include "node/audio/vorbis.h"

#include <stdlib.h>
#include <string.h>
#include <vorbis/codec.h>

#include "node/audio/codec_internal.h"

enum { WINDOW_MAX = 8192, SETUP_HEAD = 7, BOOK_SYNC = 0x564342, BOOK_LENGTH_BITS = 5 };

static const char fmtp_key[] = "headers=";

/* ---- Codebooks: Vorbis I, section 3.2.1. Bits from the lowest of each byte. ---- */

struct bits {
	struct et_view v;
	size_t at; /* bits */
	bool failed;
};

static uint32_t bits_get(struct bits *b, uint32_t count)
{
	uint32_t value = 0;

	for (uint32_t i = 0; i < count; i++, b->at++) {
		if (b->at / 8 >= b->v.size) {
			b->failed = true;
			return 0;
		}
		value |= (uint32_t)(b->v.data[b->at / 8] >> b->at % 8 & 1) << i;
	}
	return value;
}

static uint32_t bits_of(uint32_t value)
{
	return value == 0 ? 0 : 32 - (uint32_t)__builtin_clz(value);
}

/* The lengths of the code words. */
static void lengths_pass(struct bits *b, uint32_t entries)
{
	if (bits_get(b, 1) == 0) {
		const bool is_sparse = bits_get(b, 1) != 0;
		for (uint32_t i = 0; i < entries && !b->failed; i++) {
			if (!is_sparse || bits_get(b, 1) != 0) {
				(void)bits_get(b, BOOK_LENGTH_BITS);
			}
		}
		return;
	}
	(void)bits_get(b, BOOK_LENGTH_BITS);
	for (uint32_t i = 0, runs = 0; i < entries && !b->failed; runs++) {
		const uint32_t run = bits_get(b, bits_of(entries - i));
		b->failed = b->failed || run > entries - i || runs > 32;
		i += run;
	}
}

/* Does base (> 1) to the power of exponent go beyond the limit? */
static bool power_exceeds(uint64_t base, uint32_t exponent, uint64_t limit)
{
	uint64_t value = 1;

	for (uint32_t i = 0; i < exponent && value <= limit; i++) {
		value *= base;
	}
	return value > limit;
}

/* The values of its vectors. */
static void lookup_pass(struct bits *b, uint32_t entries, uint32_t dimensions)
{
	const uint32_t type = bits_get(b, 4);
	uint64_t values = (uint64_t)entries * dimensions;

	if (type == 0) {
		return;
	}
	if (type > 2 || dimensions == 0) {
		b->failed = true;
		return;
	}
	(void)bits_get(b, 32);
	(void)bits_get(b, 32);
	const uint32_t width = bits_get(b, 4) + 1;
	(void)bits_get(b, 1);
	if (type == 1) {
		for (values = 1; !power_exceeds(values + 1, dimensions, entries); values++) {
		}
	}
	for (uint64_t i = 0; i < values && !b->failed; i++) {
		(void)bits_get(b, width);
	}
}

static int books_check(struct et_view setup)
{
	struct bits b = { .v = setup, .at = (size_t)SETUP_HEAD * 8 };
	const uint32_t count = bits_get(&b, 8) + 1;
	uint64_t all = 0;

	for (uint32_t i = 0; i < count; i++) {
		const uint32_t sync = bits_get(&b, 24);
		const uint32_t dimensions = bits_get(&b, 16);
		const uint32_t entries = bits_get(&b, 24);
		all += (uint64_t)entries * (dimensions > 0 ? dimensions : 1);
		if (sync != BOOK_SYNC || b.failed || entries == 0) {
			return ET_EMALFORMED;
		}
		if (all > ET_VORBIS_BOOKS_MAX) {
			return ET_ELIMIT;
		}
		lengths_pass(&b, entries);
		lookup_pass(&b, entries, dimensions);
	}
	return b.failed ? ET_EMALFORMED : 0;
}

/* ---- Headers ---- */

struct et_vorbis {
	vorbis_info info;
};

static ogg_packet packet_of(struct et_view v, int64_t number)
{
	/* The library does not write to it. */
	return (ogg_packet){ .packet = (unsigned char *)(uintptr_t)v.data,
			     .bytes = (long)v.size,
			     .b_o_s = number == 0,
			     .granulepos = -1,
			     .packetno = number };
}

static int headers_take(struct et_vorbis *v, struct et_view identity, struct et_view setup)
{
	/* Section 5.2.1: no vendor, no comments. */
	static const uint8_t comment[] = "\3vorbis\0\0\0\0\0\0\0\0\1";
	const struct et_view headers[] = { identity, { comment, sizeof(comment) - 1 }, setup };
	vorbis_comment comments;
	int rc = 0;

	vorbis_comment_init(&comments);
	for (size_t i = 0; i < ET_ARRAY_SIZE(headers) && rc == 0; i++) {
		ogg_packet p = packet_of(headers[i], (int64_t)i);
		rc = vorbis_synthesis_headerin(&v->info, &comments, &p);
	}
	vorbis_comment_clear(&comments);
	return rc == 0 ? 0 : ET_EMALFORMED;
}

int et_vorbis_new(struct et_view identity, struct et_view setup, struct et_vorbis **ret)
{
	if (identity.size != ET_VORBIS_IDENTITY_SIZE || setup.size < SETUP_HEAD ||
	    setup.size > ET_VORBIS_SETUP_MAX || memcmp(setup.data, "\5vorbis", SETUP_HEAD) != 0) {
		return ET_EMALFORMED;
	}
	int rc = books_check(setup);
	if (rc < 0) {
		return rc;
	}
	struct et_vorbis *v = calloc(1, sizeof(*v));
	if (v == NULL) {
		return -ENOMEM;
	}
	vorbis_info_init(&v->info);
	rc = headers_take(v, identity, setup);
	if (rc < 0) {
		(void)et_vorbis_free(v);
		return rc;
	}
	*ret = v;
	return 0;
}

struct et_vorbis *et_vorbis_free(struct et_vorbis *v)
{
	if (v != NULL) {
		vorbis_info_clear(&v->info);
		free(v);
	}
	return NULL;
}

uint32_t et_vorbis_rate(const struct et_vorbis *v)
{
	return (uint32_t)v->info.rate;
}

uint32_t et_vorbis_channels(const struct et_vorbis *v)
{
	return (uint32_t)v->info.channels;
}

uint32_t et_vorbis_window(struct et_vorbis *v, struct et_view packet)
{
	ogg_packet p = packet_of(packet, 0);
	const long n = packet.size > 0 ? vorbis_packet_blocksize(&v->info, &p) : 0;

	return n > 0 && n <= WINDOW_MAX ? (uint32_t)n : 0;
}

void et_vorbis_fmtp(struct et_view identity, struct et_view setup, char *text)
{
	uint8_t both[ET_VORBIS_IDENTITY_SIZE + ET_VORBIS_SETUP_MAX];

	et_assert(identity.size == ET_VORBIS_IDENTITY_SIZE && setup.size <= ET_VORBIS_SETUP_MAX);
	memcpy(both, identity.data, identity.size);
	memcpy(both + identity.size, setup.data, setup.size);
	memcpy(text, fmtp_key, sizeof(fmtp_key));
	et_base64(both, identity.size + setup.size, text + sizeof(fmtp_key) - 1);
}

/* ---- The decoder ---- */

struct vorbis {
	struct et_vorbis *head; /* owned */
	bool has_dsp;
	bool has_block;
	vorbis_dsp_state dsp;
	vorbis_block block;
	enum et_channel channel;
	uint32_t before; /* window of the packet before, or 0 */
};

static void vorbis_close(void *state)
{
	struct vorbis *v = state;

	if (v->has_block) {
		vorbis_block_clear(&v->block);
	}
	if (v->has_dsp) {
		vorbis_dsp_clear(&v->dsp);
	}
	(void)et_vorbis_free(v->head);
	free(v);
}

static int headers_of(const char *fmtp, struct et_vorbis **ret)
{
	uint8_t both[ET_VORBIS_IDENTITY_SIZE + ET_VORBIS_SETUP_MAX];

	if (strncmp(fmtp, fmtp_key, sizeof(fmtp_key) - 1) != 0) {
		return ET_EUNSUPPORTED;
	}
	fmtp += sizeof(fmtp_key) - 1;
	const ssize_t size = et_unbase64(fmtp, strlen(fmtp), both, sizeof(both));
	if (size <= ET_VORBIS_IDENTITY_SIZE) {
		return ET_EUNSUPPORTED;
	}
	int rc = et_vorbis_new((struct et_view){ both, ET_VORBIS_IDENTITY_SIZE },
			       (struct et_view){ both + ET_VORBIS_IDENTITY_SIZE,
						 (size_t)size - ET_VORBIS_IDENTITY_SIZE },
			       ret);
	return rc == 0 || rc == -ENOMEM ? rc : ET_EUNSUPPORTED;
}

static int vorbis_open(const struct et_codec *codec, const char *fmtp, void **ret)
{
	struct vorbis *v = calloc(1, sizeof(*v));
	int rc = v == NULL ? -ENOMEM : headers_of(fmtp, &v->head);

	if (rc == 0 &&
	    (et_vorbis_rate(v->head) != codec->rate || et_vorbis_channels(v->head) > 2)) {
		rc = ET_EUNSUPPORTED;
	}
	if (rc == 0) {
		v->has_dsp = vorbis_synthesis_init(&v->dsp, &v->head->info) == 0;
		v->has_block = v->has_dsp && vorbis_block_init(&v->dsp, &v->block) == 0;
		rc = v->has_block ? 0 : ET_EUNSUPPORTED;
	}
	if (rc < 0) {
		if (v != NULL) {
			vorbis_close(v);
		}
		return rc;
	}
	*ret = v;
	return 0;
}

static void vorbis_pick(void *state, enum et_channel channel)
{
	struct vorbis *v = state;

	v->channel = channel;
}

/* What the library has now, at most `max`. */
static size_t samples_take(struct vorbis *v, int16_t *samples, size_t max)
{
	const uint32_t channels = et_vorbis_channels(v->head);
	size_t n = 0;
	float **pcm;
	int count;

	while ((count = vorbis_synthesis_pcmout(&v->dsp, &pcm)) > 0) {
		for (int i = 0; i < count && n < max; i++) {
			int16_t both[2] = { codec_from_float((double)pcm[0][i]), 0 };
			if (channels == 2) {
				both[1] = codec_from_float((double)pcm[1][i]);
			}
			samples[n++] = codec_sample(both, channels, v->channel);
		}
		(void)vorbis_synthesis_read(&v->dsp, count);
	}
	return n;
}

/* As many samples as the windows say, silence where the packet cannot be decoded. */
static size_t vorbis_payload(void *state, struct et_view payload, int16_t *samples, size_t max)
{
	struct vorbis *v = state;
	const uint32_t window = et_vorbis_window(v->head, payload);
	const size_t said = v->before != 0 ? v->before / 4 + window / 4 : 0;
	ogg_packet p = packet_of(payload, 3);
	size_t n = 0;

	if (window == 0 || said > max) {
		return 0;
	}
	v->before = window;
	if (vorbis_synthesis(&v->block, &p) == 0 &&
	    vorbis_synthesis_blockin(&v->dsp, &v->block) == 0) {
		n = samples_take(v, samples, said);
	}
	memset(samples + n, 0, (said - n) * sizeof(*samples));
	return said;
}

const struct codec_kind codec_vorbis = { .open = vorbis_open,
					 .close = vorbis_close,
					 .decode = vorbis_payload,
					 .pick = vorbis_pick,
					 .has_ends = true,
					 .begins_silent = true };
