/* Whatever a file is, its bytes come out again; what can be heard of it stands in packets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/medium/medium.h"
#include "node/tape/file.h"

struct seen {
	struct et_medium_about about;
	struct et_weave weave;
	struct et_buffer again;	     /* the file, as it came out */
	struct et_buffer payload[2]; /* of each stream */
	uint32_t packets;
	uint32_t abouts;
	uint32_t timestamp; /* of the last packet */
	int64_t offset_us;
	int64_t duration_us;
	char problem[160];
	struct et_error error;
};

static int give(void *arg, const void *data, size_t size)
{
	struct seen *s = arg;
	et_buffer_add(&s->again, data, size);
	return 0;
}

static void item(struct seen *s, const struct et_file_item *i)
{
	struct et_buffer b = { 0 };
	assert_int_equal(et_file_add(&b, i), 0);
	assert_int_equal(et_weave_file(&s->weave, (struct et_view){ b.data, b.size }, NULL), 0);
	et_buffer_release(&b);
}

static int on_about(void *arg, const struct et_medium_about *a)
{
	struct seen *s = arg;
	s->about = *a;
	s->abouts++;
	const struct et_file_item i = { .type = ET_FILE_MEDIUM,
					.medium = { .size_bytes = s->weave.medium.size_bytes,
						    .channels = a->channels,
						    .sample_bytes = a->sample_bytes,
						    .swapped = a->swapped } };
	item(s, &i);
	return 0;
}

static int on_packet(void *arg, const struct et_medium_packet *p)
{
	struct seen *s = arg;
	const struct et_media_packet packet = { .stream = p->stream,
						.timestamp = p->timestamp,
						.payload = p->payload };
	assert_true(p->stream < 2);
	et_buffer_add(&s->payload[p->stream], p->payload.data, p->payload.size);
	s->packets++;
	s->timestamp = p->timestamp;
	s->offset_us = p->offset_us;
	return et_weave_packet(&s->weave, &packet);
}

static int on_bytes(void *arg, struct et_view bytes)
{
	struct seen *s = arg;
	const struct et_file_item i = { .type = ET_FILE_BYTES,
					.offset = s->weave.size_bytes,
					.bytes = bytes };
	item(s, &i);
	return 0;
}

static int on_splice(void *arg, uint32_t at, struct et_view bytes)
{
	struct seen *s = arg;
	const struct et_file_item i = { .type = ET_FILE_SPLICE, .offset = at, .bytes = bytes };
	item(s, &i);
	return 0;
}

static int read_file(struct et_view file, size_t piece, struct seen *s)
{
	struct et_medium *m = NULL;
	const struct et_medium_sink sink = { on_about, on_packet, on_bytes, on_splice, s };
	int rc = 0;

	*s = (struct seen){ .weave = { .sink = give } };
	s->weave.arg = s;
	s->weave.medium.size_bytes = file.size;
	assert_int_equal(et_medium_new(&sink, &m), 0);
	for (size_t at = 0; at < file.size && rc == 0; at += piece) {
		const size_t n = file.size - at < piece ? file.size - at : piece;
		rc = et_medium_feed(m, (struct et_view){ file.data + at, n }, &s->error);
	}
	rc = rc < 0 ? rc : et_medium_end(m, &s->error);
	s->duration_us = et_medium_duration_us(m);
	(void)snprintf(s->problem, sizeof(s->problem), "%s", et_medium_problem(m));
	(void)et_medium_free(m);
	return rc;
}

static void seen_release(struct seen *s)
{
	et_weave_release(&s->weave);
	et_buffer_release(&s->again);
	et_buffer_release(&s->payload[0]);
	et_buffer_release(&s->payload[1]);
}

/* ... and it came out again, however it was cut. */
static void read_whole(struct et_view file, struct seen *s)
{
	static const size_t pieces[] = { 7, 1000, 65536 };
	uint32_t packets = 0;

	for (size_t i = 0; i < ET_ARRAY_SIZE(pieces); i++) {
		if (i > 0) {
			seen_release(s);
		}
		assert_int_equal(read_file(file, pieces[i], s), 0);
		assert_int_equal(s->abouts, 1);
		assert_true(et_weave_is_whole(&s->weave));
		assert_int_equal(s->again.size, file.size);
		assert_memory_equal(s->again.data, file.data, file.size);
		if (i > 0) {
			assert_int_equal(s->packets, packets);
		}
		packets = s->packets;
	}
}

static void put16(struct et_buffer *b, unsigned v)
{
	et_buffer_add8(b, (uint8_t)v);
	et_buffer_add8(b, (uint8_t)(v >> 8));
}

static void put32(struct et_buffer *b, uint32_t v)
{
	put16(b, v & 0xFFFF);
	put16(b, v >> 16);
}

/* RIFF, an odd LIST, fmt, data with `size` bytes that count up, a LIST at the end. */
static void make_wav(struct et_buffer *b, unsigned tag, unsigned channels, unsigned bits,
		     uint32_t rate, uint32_t said, uint32_t size)
{
	et_buffer_add(b, "RIFF", 4);
	put32(b, 4 + 12 + 24 + 8 + said + 12);
	et_buffer_add(b, "WAVELIST\3\0\0\0abc\0fmt ", 20);
	put32(b, 16);
	put16(b, tag);
	put16(b, channels);
	put32(b, rate);
	put32(b, rate * channels * bits / 8);
	put16(b, channels * bits / 8);
	put16(b, bits);
	et_buffer_add(b, "data", 4);
	put32(b, said);
	for (uint32_t i = 0; i < size; i++) {
		et_buffer_add8(b, (uint8_t)(i * 7 + i / 256));
	}
	if (said == size) {
		et_buffer_add(b, "LIST\4\0\0\0tail", 12);
	}
}

static struct et_view view_of(const struct et_buffer *b)
{
	return (struct et_view){ b->data, b->size };
}

static void wav_is_read(void **state)
{
	(void)state;
	static const struct {
		unsigned tag, channels, bits;
		uint32_t rate;
		const char *codec;
	} rows[] = {
		{ 1, 1, 16, 8000, "L16" },  { 1, 2, 16, 8000, "L16" }, { 1, 2, 16, 44100, "L16" },
		{ 1, 1, 16, 11025, "L16" }, { 1, 1, 8, 8000, "L8" },   { 1, 2, 8, 16000, "L8" },
		{ 6, 1, 8, 8000, "PCMA" },  { 7, 2, 8, 8000, "PCMU" },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		struct et_buffer b = { 0 };
		struct seen s;
		const uint32_t frame = rows[i].channels * rows[i].bits / 8;
		const uint32_t frames = rows[i].rate * 2 + 13;
		make_wav(&b, rows[i].tag, rows[i].channels, rows[i].bits, rows[i].rate,
			 frames * frame, frames * frame);
		read_whole(view_of(&b), &s);
		assert_int_equal(s.about.kind, ET_MEDIUM_PCM);
		assert_string_equal(s.about.codec, rows[i].codec);
		assert_int_equal(s.about.clock_rate, rows[i].rate);
		assert_int_equal(s.about.channels, rows[i].channels);
		assert_int_equal(s.payload[0].size, frames * rows[i].bits / 8);
		assert_int_equal(s.payload[1].size, rows[i].channels == 2 ? s.payload[0].size : 0);
		assert_int_equal(s.duration_us, 2000000 + 13 * INT64_C(1000000) / rows[i].rate);
		assert_string_equal(s.problem, "");
		seen_release(&s);
		et_buffer_release(&b);
	}
}

static void samples_are_of_their_channel(void **state)
{
	(void)state;
	struct et_buffer b = { 0 };
	struct seen s;

	make_wav(&b, 1, 2, 16, 8000, 8, 8); /* 00 07 0e 15 1c 23 2a 31 */
	read_whole(view_of(&b), &s);
	assert_int_equal(s.packets, 2);
	assert_memory_equal(s.payload[0].data, "\x07\x00\x23\x1c", 4);
	assert_memory_equal(s.payload[1].data, "\x15\x0e\x31\x2a", 4);
	seen_release(&s);
	et_buffer_release(&b);
}

static void a_header_that_lies_harms_nobody(void **state)
{
	(void)state;
	static const struct {
		uint32_t said, size;
		const char *problem;
		uint32_t heard;
	} rows[] = {
		{ 1000000, 4000, "the file ends before its header says", 4000 },
		{ 1000000, 3200, "the file ends before its header says", 3200 }, /* of packets */
		{ 1000000, 0, "the file ends before its header says", 0 },
		{ UINT32_MAX, 4000, "", 4000 },
		{ 4001, 4001, "", 4000 }, /* half a sample */
		{ 0, 0, "", 0 },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		struct et_buffer b = { 0 };
		struct seen s;
		make_wav(&b, 1, 1, 16, 8000, rows[i].said, rows[i].size);
		read_whole(view_of(&b), &s);
		assert_int_equal(s.payload[0].size, rows[i].heard);
		assert_string_equal(s.problem, rows[i].problem);
		seen_release(&s);
		et_buffer_release(&b);
	}
}

/* Cut anywhere: it comes out again, or is refused. */
static void every_prefix_comes_out(void **state)
{
	(void)state;
	struct et_buffer b = { 0 };

	make_wav(&b, 1, 2, 16, 8000, 700, 700);
	for (size_t cut = 0; cut < b.size; cut++) {
		struct seen s;
		int rc = read_file((struct et_view){ b.data, cut }, 64, &s);
		assert_true(rc == 0 || (rc == ET_EUNSUPPORTED && cut < 12));
		assert_true(rc < 0 || (s.again.size == cut && et_weave_is_whole(&s.weave)));
		seen_release(&s);
	}
	et_buffer_release(&b);
}

static void what_is_not_played_is_kept(void **state)
{
	(void)state;
	struct et_buffer b = { 0 };
	struct seen s;

	make_wav(&b, 1, 2, 24, 96000, 60000, 60000);
	read_whole(view_of(&b), &s);
	assert_int_equal(s.about.kind, ET_MEDIUM_OTHER);
	assert_string_equal(s.about.format, "WAV, 96000 Hz, 24 bit, 2 ch");
	assert_int_equal(s.about.clock_rate, 0);
	assert_int_equal(s.duration_us, 0);
	assert_non_null(strstr(s.problem, "nothing here plays it"));
	seen_release(&s);
	b.size = 0;
	et_buffer_add(&b, "fLaC and what follows it", 24);
	read_whole(view_of(&b), &s);
	assert_string_equal(s.about.format, "FLAC");
	seen_release(&s);
	et_buffer_release(&b);
}

/* ---- Other heads ---- */

static void put_text(struct et_buffer *b, const char *text)
{
	et_buffer_add(b, text, strlen(text));
}

static void long_wav_is_read(void **state)
{
	(void)state;
	for (int what = 0; what < 3; what++) {
		struct et_buffer b = { 0 };
		struct seen s;
		put_text(&b, what == 0 ? "BW64" : "RF64");
		put32(&b, UINT32_MAX);
		put_text(&b, "WAVEds64");
		put32(&b, 28);
		put32(&b, 5000);
		put32(&b, 0);
		put32(&b, what == 2 ? 1000000 : 4000); /* of samples */
		put32(&b, what == 2 ? 7 : 0);
		for (int i = 0; i < 3; i++) {
			put32(&b, 0);
		}
		put_text(&b, "fmt ");
		put32(&b, 16);
		put16(&b, 1);
		put16(&b, 1);
		put32(&b, 8000);
		put32(&b, 16000);
		put16(&b, 2);
		put16(&b, 16);
		put_text(&b, "data");
		put32(&b, UINT32_MAX);
		for (int i = 0; i < 4000; i++) {
			et_buffer_add8(&b, (uint8_t)i);
		}
		put_text(&b, "LIST");
		read_whole(view_of(&b), &s);
		assert_string_equal(s.about.format, "RF64");
		assert_int_equal(s.payload[0].size, what == 2 ? 4004 : 4000);
		assert_string_equal(s.problem,
				    what == 2 ? "the file ends before its header says" : "");
		seen_release(&s);
		et_buffer_release(&b);
	}
}

/* "FORM", COMM of `bits`, an 80-bit 8000, a form of compression if it is given, SSND. */
static void make_aiff(struct et_buffer *b, unsigned channels, unsigned bits, const char *form,
		      size_t size)
{
	static const uint8_t rate[10] = { 0x40, 0x0B, 0xFA };
	const uint8_t head[] = { 0, (uint8_t)channels, 0, 0, 0, 1, 0, (uint8_t)bits };
	const size_t extra = form != NULL ? 6 : 0;

	put_text(b, "FORM");
	et_buffer_add32(b, (uint32_t)(4 + 8 + 18 + extra + 16 + size));
	put_text(b, form != NULL ? "AIFCCOMM" : "AIFFCOMM");
	et_buffer_add32(b, (uint32_t)(18 + extra));
	et_buffer_add(b, head, sizeof(head));
	et_buffer_add(b, rate, sizeof(rate));
	if (form != NULL) {
		et_buffer_add(b, form, 4);
		et_buffer_add(b, "\0\0", 2);
	}
	put_text(b, "SSND");
	et_buffer_add32(b, (uint32_t)(8 + size));
	et_buffer_add64(b, 0);
	for (size_t i = 0; i < size; i++) {
		et_buffer_add8(b, (uint8_t)i);
	}
}

static void aiff_is_read(void **state)
{
	(void)state;
	static const struct {
		unsigned channels, bits;
		const char *form;
		const char *codec; /* NULL: kept as it is */
		bool swapped;
	} rows[] = {
		{ 2, 16, NULL, "L16", false },	 { 1, 8, NULL, "S8", false },
		{ 2, 24, NULL, "L24", false },	 { 1, 12, NULL, "L16", false },
		{ 1, 16, "sowt", "L16", true },	 { 2, 32, "FL32", "F32", false },
		{ 1, 64, "fl64", "F64", false }, { 1, 16, "ulaw", "PCMU", false },
		{ 1, 16, "MAC3", NULL, false },	 { 3, 16, NULL, NULL, false },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		struct et_buffer b = { 0 };
		struct seen s;
		make_aiff(&b, rows[i].channels, rows[i].bits, rows[i].form, 4800);
		put_text(&b, "tail");
		read_whole(view_of(&b), &s);
		if (rows[i].codec != NULL) {
			assert_string_equal(s.about.codec, rows[i].codec);
			assert_int_equal(s.about.clock_rate, 8000);
			assert_int_equal(s.about.swapped, rows[i].swapped);
			assert_int_equal(s.payload[0].size, 4800 / rows[i].channels);
			assert_string_equal(s.problem, "");
		} else {
			assert_int_equal(s.about.kind, ET_MEDIUM_OTHER);
		}
		seen_release(&s);
		et_buffer_release(&b);
	}
}

static void au_is_read(void **state)
{
	(void)state;
	static const struct {
		uint32_t encoding, channels, said;
		const char *codec; /* NULL: kept as it is */
	} rows[] = {
		{ 1, 1, 1600, "PCMU" }, { 27, 2, 1600, "PCMA" },     { 2, 1, 1600, "S8" },
		{ 3, 2, 1600, "L16" },	{ 5, 1, UINT32_MAX, "L32" }, { 23, 1, 1600, NULL },
		{ 3, 3, 1600, NULL },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		struct et_buffer b = { 0 };
		struct seen s;
		put_text(&b, ".snd");
		et_buffer_add32(&b, 32);
		et_buffer_add32(&b, rows[i].said);
		et_buffer_add32(&b, rows[i].encoding);
		et_buffer_add32(&b, 8000);
		et_buffer_add32(&b, rows[i].channels);
		et_buffer_add64(&b, 0); /* a remark */
		for (int k = 0; k < 1600; k++) {
			et_buffer_add8(&b, (uint8_t)k);
		}
		read_whole(view_of(&b), &s);
		assert_string_equal(s.about.codec, rows[i].codec != NULL ? rows[i].codec : "AU");
		if (rows[i].codec != NULL) {
			assert_int_equal(s.payload[0].size, 1600 / rows[i].channels);
			assert_string_equal(s.problem, "");
		}
		seen_release(&s);
		et_buffer_release(&b);
	}
}

/* A marker and the first block of FLAC; what it says of rate, channels, bits and block. */
static void make_flac(struct et_buffer *b, uint32_t rate, unsigned channels, unsigned bits,
		      unsigned block)
{
	static const uint8_t zeros[16];

	put_text(b, "fLaC");
	et_buffer_add32(b, 0x80000022);
	et_buffer_add16(b, (uint16_t)block);
	et_buffer_add16(b, (uint16_t)block);
	et_buffer_add16(b, 0);
	et_buffer_add32(b, 0);
	et_buffer_add64(b, (uint64_t)rate << 44 | (uint64_t)(channels - 1) << 41 |
				   (uint64_t)(bits - 1) << 36);
	et_buffer_add(b, zeros, sizeof(zeros));
}

static void flac_that_no_mix_takes_is_kept(void **state)
{
	(void)state;
	static const struct {
		uint32_t rate;
		unsigned channels, bits, block;
		const char *format;
		bool heard;
	} rows[] = {
		{ 44100, 2, 16, 4096, "FLAC", true },
		{ 96000, 2, 24, 4096, "FLAC 96000 Hz 24 bit 2 ch", false },
		{ 48000, 6, 16, 4096, "FLAC 48000 Hz 16 bit 6 ch", false },
		{ 8000, 1, 14, 4096, "FLAC 8000 Hz 14 bit 1 ch", false },
		{ 8000, 1, 16, 20000, "FLAC 8000 Hz 16 bit 1 ch", false },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		struct et_buffer b = { 0 };
		struct seen s;
		make_flac(&b, rows[i].rate, rows[i].channels, rows[i].bits, rows[i].block);
		for (int k = 0; k < 70000; k++) { /* no frame among them */
			et_buffer_add8(&b, (uint8_t)(k % 200));
		}
		read_whole(view_of(&b), &s);
		assert_string_equal(s.about.format, rows[i].format);
		assert_int_equal(s.about.kind == ET_MEDIUM_FLAC, rows[i].heard);
		assert_int_equal(s.about.clock_rate, rows[i].heard ? rows[i].rate : 0);
		assert_string_equal(s.problem, rows[i].heard
						       ? "70000 bytes of the file are no FLAC frame"
						       : s.problem);
		seen_release(&s);
		et_buffer_release(&b);
	}
}

/* A check sum of FLAC: of 8 bits (x^8 + x^2 + x + 1), of 16 (x^16 + x^15 + x^2 + 1). */
static uint16_t flac_crc(const uint8_t *p, size_t size, int width, unsigned polynomial)
{
	unsigned crc = 0;

	for (size_t i = 0; i < size; i++) {
		crc ^= (unsigned)p[i] << (width - 8);
		for (int bit = 0; bit < 8; bit++) {
			crc = crc << 1 ^ ((crc >> (width - 1) & 1) != 0 ? polynomial : 0);
		}
	}
	return (uint16_t)(crc & ((1U << width) - 1));
}

/* A frame of 192 samples of silence, one channel of 8 kHz and 16 bits: 11 bytes. */
static void put_silence(struct et_buffer *b, uint8_t number)
{
	const uint8_t head[] = { 0xFF, 0xF8, 0x14, 0x08, number };
	const size_t at = b->size;

	et_buffer_add(b, head, sizeof(head));
	et_buffer_add8(b, (uint8_t)flac_crc(head, sizeof(head), 8, 0x07));
	et_buffer_add(b, "\0\0\0", 3); /* a constant, 0 */
	et_buffer_add16(b, flac_crc(b->data + at, b->size - at, 16, 0x8005));
}

/* The shortest frames, up to the last byte of the file. */
static void silence_of_flac_has_its_length(void **state)
{
	(void)state;
	for (unsigned frames = 1; frames < 6; frames++) {
		struct et_buffer b = { 0 };
		struct seen s;
		make_flac(&b, 8000, 1, 16, 192);
		for (unsigned i = 0; i < frames; i++) {
			put_silence(&b, (uint8_t)i);
		}
		read_whole(view_of(&b), &s);
		assert_int_equal(s.packets, frames);
		assert_int_equal(s.timestamp, 192 * (frames - 1));
		assert_int_equal(s.duration_us, 24000 * frames);
		assert_int_equal(s.payload[0].size, 11 * frames);
		assert_string_equal(s.problem, "");
		seen_release(&s);
		et_buffer_release(&b);
	}
}

/* A number of which each bit of the first byte says that it goes on: there is none. */
static void a_frame_without_a_number_is_none(void **state)
{
	(void)state;
	static const uint8_t head[16] = { 0xFF, 0xF8, 0x14, 0x08, 0xFF };
	struct et_buffer b = { 0 };
	struct seen s;

	make_flac(&b, 8000, 1, 16, 192);
	et_buffer_add(&b, head, sizeof(head));
	put_silence(&b, 0);
	read_whole(view_of(&b), &s);
	assert_int_equal(s.packets, 1);
	seen_release(&s);
	et_buffer_release(&b);
}

/* Heads of frames with none behind them, each with its check sum: looking for an end of each takes
 * a look at 64 KiB. */
static void heads_without_frames_cost_little(void **state)
{
	(void)state;
	static const uint8_t head[] = { 0xFF, 0xF8, 0x64, 0x08, 0x00, 0xFF };
	struct et_buffer b = { 0 };
	struct seen s;

	make_flac(&b, 8000, 1, 16, 4096);
	/* 8 bits of block size behind the number */
	const uint8_t crc = (uint8_t)flac_crc(head, sizeof(head), 8, 0x07);
	for (int k = 0; k < 1000000; k++) { /* 16 MB: without a limit 10^12 steps */
		static const uint8_t rest[9];
		et_buffer_add(&b, head, sizeof(head));
		et_buffer_add8(&b, crc);
		et_buffer_add(&b, rest, sizeof(rest));
	}
	assert_int_equal(read_file(view_of(&b), 65536, &s), 0);
	assert_true(et_weave_is_whole(&s.weave));
	assert_string_equal(s.about.format, "FLAC");
	seen_release(&s);
	et_buffer_release(&b);
}

static void what_is_no_audio_is_refused(void **state)
{
	(void)state;
	static const char *const files[] = { "", "x", "%PDF-1.4 and more of it",
					     "RIFF\1\1\1\1AVI LIST",
					     "\xD4\xC3\xB2\xA1\2\0\4\0 capture" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(files); i++) {
		struct seen s;
		const struct et_view v = { (const uint8_t *)files[i], strlen(files[i]) };
		assert_int_equal(read_file(v, 3, &s), ET_EUNSUPPORTED);
		assert_int_equal(s.abouts, 0);
		assert_int_equal(strstr(s.error.text, "capture") != NULL, i == 4);
		seen_release(&s);
	}
}

/* ---- MP3 ---- */

static void frame(struct et_buffer *b, uint8_t bits, size_t size)
{
	static const uint8_t zeros[3000];
	et_buffer_add8(b, 0xFF);
	et_buffer_add8(b, 0xFB); /* MPEG 1, layer III, no CRC */
	et_buffer_add8(b, bits);
	et_buffer_add8(b, 0x44);
	et_buffer_add(b, zeros, size - 4);
}

static void mp3_is_read(void **state)
{
	(void)state;
	static const char junk[] = "junk \xFF\xFB\x90\x44 with a header in it";
	struct et_buffer b = { 0 };
	struct seen s;

	et_buffer_add(&b, "ID3\4\0\0\0\0\1\2tag", 10);
	for (int i = 0; i < 130; i++) {
		et_buffer_add8(&b, 0xFF);
	}
	for (int i = 0; i < 40; i++) {
		frame(&b, i % 3 == 0 ? 0x92 : 0x90, i % 3 == 0 ? 418 : 417); /* 128 kbit/s */
	}
	et_buffer_add(&b, junk, sizeof(junk) - 1);
	for (int i = 0; i < 10; i++) {
		frame(&b, 0xB0, 626); /* 192 kbit/s */
	}
	et_buffer_add(&b, "TAG", 3);
	for (int i = 0; i < 125; i++) {
		et_buffer_add8(&b, ' ');
	}
	read_whole(view_of(&b), &s);
	assert_int_equal(s.about.kind, ET_MEDIUM_MP3);
	assert_int_equal(s.about.clock_rate, 44100);
	assert_int_equal(s.packets, 50);
	assert_int_equal(s.timestamp, 49 * 1152);
	assert_int_equal(s.duration_us, 50 * INT64_C(1152000000) / 44100);
	assert_string_equal(s.problem, "");
	seen_release(&s);
	et_buffer_release(&b);
}

/* What lies behind the bytes that are looked at says nothing, though it is there already. */
static void a_file_is_known_by_its_begin_only(void **state)
{
	static const size_t pieces[] = { 4096, 65536, 2 * ET_MEDIUM_PEEK };
	static uint8_t tag[ET_MEDIUM_PEEK] = "ID3\4\0\0\0\100\0"; /* 1 MiB, and its head */
	struct et_buffer b = { 0 };
	struct seen s;

	(void)state;
	et_buffer_add(&b, tag, sizeof(tag));
	et_buffer_add(&b, "in the tag", 10);
	for (int i = 0; i < 10; i++) {
		frame(&b, 0x90, 417);
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(pieces); i++) {
		assert_int_equal(read_file(view_of(&b), pieces[i], &s), 0);
		assert_int_equal(s.about.kind, ET_MEDIUM_OTHER);
		assert_int_equal(s.again.size, b.size);
		assert_memory_equal(s.again.data, b.data, b.size);
		seen_release(&s);
	}
	et_buffer_release(&b);
}

static void frames_have_their_length(void **state)
{
	(void)state;
	struct et_buffer b = { 0 };
	struct seen s;

	/* MPEG 2 and 2.5: 24 kHz with 64 kbit/s, 8 kHz with 8 kbit/s: ISO 13818-3, 2.4.2.3. */
	static const struct {
		uint8_t version, bits;
		size_t size;
		uint32_t rate;
	} rows[] = { { 0xF3, 0x84, 192, 24000 }, { 0xE3, 0x18, 72, 8000 } };
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		b.size = 0;
		for (int n = 0; n < 5; n++) {
			const size_t at = b.size;
			frame(&b, rows[i].bits, rows[i].size);
			b.data[at + 1] = rows[i].version;
		}
		read_whole(view_of(&b), &s);
		assert_int_equal(s.packets, 5);
		assert_int_equal(s.timestamp, 4 * 576);
		assert_int_equal(s.about.clock_rate, rows[i].rate);
		seen_release(&s);
	}
	b.size = 0;
	frame(&b, 0x90, 417); /* one alone, with something behind it */
	et_buffer_add(&b, "no frame", 8);
	assert_int_equal(read_file(view_of(&b), 100, &s), ET_EUNSUPPORTED);
	seen_release(&s);
	et_buffer_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wav_is_read),
		cmocka_unit_test(samples_are_of_their_channel),
		cmocka_unit_test(a_header_that_lies_harms_nobody),
		cmocka_unit_test(every_prefix_comes_out),
		cmocka_unit_test(what_is_not_played_is_kept),
		cmocka_unit_test(long_wav_is_read),
		cmocka_unit_test(aiff_is_read),
		cmocka_unit_test(au_is_read),
		cmocka_unit_test(flac_that_no_mix_takes_is_kept),
		cmocka_unit_test(silence_of_flac_has_its_length),
		cmocka_unit_test(a_frame_without_a_number_is_none),
		cmocka_unit_test(heads_without_frames_cost_little),
		cmocka_unit_test(what_is_no_audio_is_refused),
		cmocka_unit_test(mp3_is_read),
		cmocka_unit_test(a_file_is_known_by_its_begin_only),
		cmocka_unit_test(frames_have_their_length),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
