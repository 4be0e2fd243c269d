/* Codecs of files: what an encoder said is heard, of one channel or of both, and whatever comes, a
 * stream does not slip. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <FLAC/stream_encoder.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <vorbis/vorbisenc.h>

#include "node/audio/codec.h"
#include "node/audio/vorbis.h"

enum { RATE = 16000, FRAMES = 8192, BLOCK = 1024, PACKETS_MAX = 64 };

static struct et_decoder *decoder(const char *name, uint32_t rate, const char *fmtp,
				  enum et_channel channel)
{
	struct et_decoder *d = NULL;
	const struct et_codec *codec = et_codec_find(name, strlen(name), rate);

	assert_non_null(codec);
	assert_int_equal(et_decoder_new(codec, fmtp, &d, NULL), 0);
	if (channel != ET_CHANNEL_BOTH) {
		assert_true(et_codec_has_voices(codec));
		et_decoder_pick(d, channel);
	}
	return d;
}

static int said(unsigned channel, size_t i)
{
	return (int)lrint(channel == 0 ? 9000 * sin(0.05 * (double)i)
				       : 4000 * sin(0.11 * (double)i) * sin(0.001 * (double)i));
}

/* ---- Samples ---- */

static void samples_of_files_are_heard(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		const char *bytes;
		size_t size;
		int16_t heard[4];
	} rows[] = {
		{ "S8", "\x00\x7F\x80\xFF", 4, { 0, 32512, -32768, -256 } },
		{ "L24",
		  "\x12\x34\x56\x12\x34\x80\x80\x00\x00\x7F\xFF\xFF",
		  12,
		  { 0x1234, 0x1235, -32768, 32767 } },
		{ "L32",
		  "\x12\x34\x7F\xFF\x12\x34\x80\x00\xFF\xFF\xFF\xFF\x7F\xFF\xFF\xFF",
		  16,
		  { 0x1234, 0x1235, 0, 32767 } },
		/* 0.5, -1, 2, not a number */
		{ "F32",
		  "\x3F\x00\x00\x00\xBF\x80\x00\x00\x40\x00\x00\x00\x7F\xC0\x00\x00",
		  16,
		  { 16384, -32768, 32767, 0 } },
		/* 0.5, -1, infinity, not a number */
		{ "F64",
		  "\x3F\xE0\0\0\0\0\0\0\xBF\xF0\0\0\0\0\0\0\x7F\xF0\0\0\0\0\0\0\x7F\xF8\0\0\0\0\0",
		  32,
		  { 16384, -32768, 32767, 0 } },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		int16_t heard[8];
		struct et_decoder *d = decoder(rows[i].name, 8000, "", ET_CHANNEL_BOTH);
		const struct et_view v = { (const uint8_t *)rows[i].bytes, rows[i].size };
		assert_int_equal(et_decoder_decode(d, v, heard, 8), 4);
		assert_memory_equal(heard, rows[i].heard, sizeof(rows[i].heard));
		assert_int_equal(et_decoder_decode(d, v, heard, 3), 3);
		(void)et_decoder_free(d);
	}
	/* A file that is kept as it is has such a name, and no clock. */
	assert_null(et_codec_find("FLAC", 4, 0));
	assert_non_null(et_codec_find("opus", 4, 0));
}

/* ---- FLAC ---- */

struct packets {
	struct et_buffer bytes[PACKETS_MAX];
	size_t count;
};

static void packets_release(struct packets *p)
{
	for (size_t i = 0; i < p->count; i++) {
		et_buffer_release(&p->bytes[i]);
	}
}

static FLAC__StreamEncoderWriteStatus on_written(const FLAC__StreamEncoder *e,
						 const FLAC__byte bytes[], size_t size,
						 uint32_t samples, uint32_t number, void *arg)
{
	struct packets *p = arg;

	(void)e;
	(void)number;
	if (samples > 0) { /* a frame; without: metadata */
		assert_true(p->count < PACKETS_MAX);
		et_buffer_add(&p->bytes[p->count++], bytes, size);
	}
	return FLAC__STREAM_ENCODER_WRITE_STATUS_OK;
}

static void flac_encode(unsigned bits, struct packets *ret)
{
	FLAC__StreamEncoder *e = FLAC__stream_encoder_new();

	memset(ret, 0, sizeof(*ret));
	assert_true(FLAC__stream_encoder_set_channels(e, 2) &&
		    FLAC__stream_encoder_set_bits_per_sample(e, bits) &&
		    FLAC__stream_encoder_set_sample_rate(e, RATE) &&
		    FLAC__stream_encoder_set_blocksize(e, BLOCK));
	assert_int_equal(FLAC__stream_encoder_init_stream(e, on_written, NULL, NULL, NULL, ret),
			 FLAC__STREAM_ENCODER_INIT_STATUS_OK);
	for (size_t i = 0; i < FRAMES; i++) {
		const FLAC__int32 frame[] = { said(0, i) * (1 << (bits - 16)),
					      said(1, i) * (1 << (bits - 16)) };
		assert_true(FLAC__stream_encoder_process_interleaved(e, frame, 1));
	}
	assert_true(FLAC__stream_encoder_finish(e));
	FLAC__stream_encoder_delete(e);
	assert_int_equal(ret->count, FRAMES / BLOCK);
}

static void flac_is_heard_to_the_bit(void **state)
{
	(void)state;
	for (unsigned bits = 16; bits <= 24; bits += 8) {
		struct packets p;
		flac_encode(bits, &p);
		for (int channel = ET_CHANNEL_BOTH; channel <= ET_CHANNEL_RIGHT; channel++) {
			struct et_decoder *d = decoder("FLAC", RATE, "", (enum et_channel)channel);
			int16_t heard[BLOCK];
			for (size_t i = 0; i < FRAMES; i++) {
				const struct et_buffer *b = &p.bytes[i / BLOCK];
				if (i % BLOCK == 0) {
					assert_int_equal(
						et_decoder_decode(
							d, (struct et_view){ b->data, b->size },
							heard, BLOCK),
						BLOCK);
				}
				const int want[] = { (said(0, i) + said(1, i)) / 2, said(0, i),
						     said(1, i) };
				assert_int_equal(heard[i % BLOCK], want[channel]);
			}
			(void)et_decoder_free(d);
		}
		packets_release(&p);
	}
}

/* 192 samples of one value: the shortest a frame of 16 bits can be. */
static void a_short_frame_of_flac_is_heard(void **state)
{
	(void)state;
	static const char frame[] = "\xFF\xF8\x14\x08\x00\x2B\x00\x12\x34\x05\xE0";
	const struct et_view v = { (const uint8_t *)frame, sizeof(frame) - 1 };
	struct et_decoder *d = decoder("FLAC", 8000, "", ET_CHANNEL_BOTH);
	int16_t heard[192];

	for (int round = 0; round < 2; round++) {
		assert_int_equal(et_decoder_decode(d, v, heard, 192), 192);
		for (size_t i = 0; i < 192; i++) {
			assert_int_equal(heard[i], 0x1234);
		}
	}
	(void)et_decoder_free(d);
}

static void flac_does_not_slip(void **state)
{
	(void)state;
	struct et_decoder *d = decoder("FLAC", RATE, "", ET_CHANNEL_BOTH);
	struct et_decoder *other = decoder("FLAC", 48000, "", ET_CHANNEL_BOTH);
	static int16_t heard[ET_CODEC_SAMPLES_MAX];
	struct packets p;
	uint32_t x = 1;

	flac_encode(16, &p);
	for (int i = 0; i < 3000; i++) { /* damaged behind their heads */
		struct et_buffer *b = &p.bytes[i % (int)p.count];
		const struct et_view v = { b->data, b->size };
		x = x * 1664525U + 1013904223U;
		const size_t at = 8 + (x >> 8) % (b->size - 8);
		b->data[at] ^= (uint8_t)(1 << (x & 7));
		assert_int_equal(et_decoder_decode(d, v, heard, ET_CODEC_SAMPLES_MAX), BLOCK);
		assert_true(heard[5] == 0); /* nothing of what is damaged */
		b->data[at] ^= (uint8_t)(1 << (x & 7));
		assert_int_equal(et_decoder_decode(d, v, heard, ET_CODEC_SAMPLES_MAX), BLOCK);
		const size_t k = (size_t)i % p.count * BLOCK + 5;
		assert_int_equal(heard[5], (said(0, k) + said(1, k)) / 2);
	}
	/* Cut, none at all, of another rate, more than there is room for. */
	const struct et_view v = { p.bytes[0].data, p.bytes[0].size };
	for (size_t cut = 0; cut < v.size; cut++) {
		assert_int_equal(et_decoder_decode(d, (struct et_view){ v.data, cut }, heard,
						   ET_CODEC_SAMPLES_MAX),
				 cut < 10 ? 0 : BLOCK);
	}
	assert_int_equal(et_decoder_decode(other, v, heard, ET_CODEC_SAMPLES_MAX), BLOCK);
	assert_int_equal(heard[5], 0);
	assert_int_equal(et_decoder_decode(d, v, heard, BLOCK - 1), 0);
	packets_release(&p);
	(void)et_decoder_free(d);
	(void)et_decoder_free(other);
}

/* ---- Vorbis ---- */

static void packet_keep(struct packets *p, const ogg_packet *from)
{
	assert_true(p->count < PACKETS_MAX);
	et_buffer_add(&p->bytes[p->count++], from->packet, (size_t)from->bytes);
}

/* Identity, setup, then packets of sound. */
static void vorbis_encode(int channels, struct packets *ret)
{
	vorbis_info info;
	vorbis_comment comment;
	vorbis_dsp_state dsp;
	vorbis_block block;
	ogg_packet heads[3];
	ogg_packet packet;

	memset(ret, 0, sizeof(*ret));
	vorbis_info_init(&info);
	assert_int_equal(vorbis_encode_init_vbr(&info, channels, RATE, 0.3F), 0);
	vorbis_comment_init(&comment);
	assert_int_equal(vorbis_analysis_init(&dsp, &info), 0);
	assert_int_equal(vorbis_block_init(&dsp, &block), 0);
	assert_int_equal(vorbis_analysis_headerout(&dsp, &comment, &heads[0], &heads[1], &heads[2]),
			 0);
	packet_keep(ret, &heads[0]);
	packet_keep(ret, &heads[2]);
	float **room = vorbis_analysis_buffer(&dsp, FRAMES);
	for (int c = 0; c < channels; c++) {
		for (size_t i = 0; i < FRAMES; i++) {
			room[c][i] = (float)said((unsigned)c, i) / 32768;
		}
	}
	(void)vorbis_analysis_wrote(&dsp, FRAMES);
	(void)vorbis_analysis_wrote(&dsp, 0);
	while (vorbis_analysis_blockout(&dsp, &block) == 1) {
		assert_int_equal(vorbis_analysis(&block, NULL), 0);
		assert_int_equal(vorbis_bitrate_addblock(&block), 0);
		while (vorbis_bitrate_flushpacket(&dsp, &packet) == 1) {
			packet_keep(ret, &packet);
		}
	}
	vorbis_block_clear(&block);
	vorbis_dsp_clear(&dsp);
	vorbis_comment_clear(&comment);
	vorbis_info_clear(&info);
}

static struct et_view view_of(const struct et_buffer *b)
{
	return (struct et_view){ b->data, b->size };
}

static void vorbis_is_heard(void **state)
{
	(void)state;
	static char fmtp[ET_VORBIS_FMTP_MAX];
	static int16_t heard[2 * FRAMES];
	struct et_vorbis *v = NULL;
	struct packets p;

	vorbis_encode(2, &p);
	assert_int_equal(et_vorbis_new(view_of(&p.bytes[0]), view_of(&p.bytes[1]), &v), 0);
	assert_int_equal(et_vorbis_rate(v), RATE);
	assert_int_equal(et_vorbis_channels(v), 2);
	et_vorbis_fmtp(view_of(&p.bytes[0]), view_of(&p.bytes[1]), fmtp);
	for (unsigned c = 0; c < 2; c++) {
		struct et_decoder *d =
			decoder("VORBIS", RATE, fmtp, c == 0 ? ET_CHANNEL_LEFT : ET_CHANNEL_RIGHT);
		uint32_t before = 0;
		size_t frames = 0;
		double off = 0;
		for (size_t i = 2; i < p.count && frames < FRAMES; i++) {
			const uint32_t window = et_vorbis_window(v, view_of(&p.bytes[i]));
			const size_t n =
				et_decoder_decode(d, view_of(&p.bytes[i]), heard + frames, FRAMES);
			assert_int_equal(n, before == 0 ? 0 : before / 4 + window / 4);
			before = window;
			frames += n;
		}
		assert_true(frames >= FRAMES);
		for (size_t i = 0; i < FRAMES; i++) {
			off += pow(heard[i] - said(c, i), 2) / FRAMES;
		}
		print_message("channel %u: %.0f off\n", c, sqrt(off));
		assert_true(sqrt(off) < 300);
		/* What is none, or damaged, does not end it. */
		assert_int_equal(et_decoder_decode(d, (struct et_view){ (const uint8_t *)"\1", 1 },
						   heard, FRAMES),
				 0);
		for (size_t i = 2; i < p.count; i++) {
			const struct et_view half = { p.bytes[i].data, p.bytes[i].size / 2 };
			const uint32_t window = et_vorbis_window(v, half);
			assert_int_equal(et_decoder_decode(d, half, heard, FRAMES),
					 before / 4 + window / 4);
			before = window;
		}
		(void)et_decoder_free(d);
	}
	(void)et_vorbis_free(v);
	packets_release(&p);
}

/* Bits from the lowest of each byte. */
static void bits_put(struct et_buffer *b, size_t *at, uint32_t value, unsigned count)
{
	for (unsigned i = 0; i < count; i++, (*at)++) {
		if (*at % 8 == 0) {
			et_buffer_add8(b, 0);
		}
		b->data[*at / 8] |= (uint8_t)((value >> i & 1) << *at % 8);
	}
}

static void headers_that_ask_for_too_much_are_refused(void **state)
{
	(void)state;
	struct et_buffer b = { 0 };
	struct et_vorbis *v = NULL;
	struct packets p;
	size_t at = 7 * 8;

	vorbis_encode(1, &p);
	/* 256 codebooks of 8 million entries each, in 10 bytes a book: 20 GiB in libvorbis. */
	et_buffer_add(&b, "\5vorbis", 7);
	bits_put(&b, &at, 255, 8);
	for (int i = 0; i < 256; i++) {
		bits_put(&b, &at, 0x564342, 24);
		bits_put(&b, &at, 1, 16);
		bits_put(&b, &at, 1U << 23, 24);
		bits_put(&b, &at, 1, 1);
		bits_put(&b, &at, 22, 5);
		bits_put(&b, &at, 1U << 23, 24);
		bits_put(&b, &at, 0, 4);
	}
	assert_int_equal(et_vorbis_new(view_of(&p.bytes[0]), view_of(&b), &v), ET_ELIMIT);
	for (size_t cut = 0; cut < p.bytes[1].size; cut++) {
		assert_int_equal(et_vorbis_new(view_of(&p.bytes[0]),
					       (struct et_view){ p.bytes[1].data, cut }, &v),
				 ET_EMALFORMED);
	}
	for (size_t i = 0; i < 8 * p.bytes[1].size; i += 7) { /* whatever it is then, it ends */
		p.bytes[1].data[i / 8] ^= (uint8_t)(1 << i % 8);
		if (et_vorbis_new(view_of(&p.bytes[0]), view_of(&p.bytes[1]), &v) == 0) {
			v = et_vorbis_free(v);
		}
		p.bytes[1].data[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	const struct et_codec *codec = et_codec_find("VORBIS", 6, RATE);
	struct et_decoder *d = NULL;
	static const char *const wrong[] = { "", "headers=", "headers=AAAA", "headers=%%" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(wrong); i++) {
		assert_int_equal(et_decoder_new(codec, wrong[i], &d, NULL), ET_EUNSUPPORTED);
	}
	et_buffer_release(&b);
	packets_release(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(samples_of_files_are_heard),
		cmocka_unit_test(flac_is_heard_to_the_bit),
		cmocka_unit_test(a_short_frame_of_flac_is_heard),
		cmocka_unit_test(flac_does_not_slip),
		cmocka_unit_test(vorbis_is_heard),
		cmocka_unit_test(headers_that_ask_for_too_much_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
