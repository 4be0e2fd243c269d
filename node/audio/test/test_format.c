/* What is written is what independent decoders read: as long, at its place, in its channel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <FLAC/stream_decoder.h>
#include <lame/lame.h>
#include <math.h>
#include <mpg123.h>
#include <ogg/ogg.h>
#include <opus/opus_multistream.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/audio/format.h"
#include "node/audio/wav.h"
#include "node/base/bytes.h"

enum { HEARD_MAX = 200000 }; /* frames */

static const uint32_t rates[] = { 8000, 16000, 48000 };
static const char *const names[] = { "wav", "flac", "opus", "mp3" };

static int take(void *arg, const void *data, size_t size)
{
	et_buffer_add(arg, data, size);
	return 0;
}

/* Both channels speak, each its own: words of 100 to 400 ms of some pitch, and pauses. */
static int16_t *speech(uint64_t frames, uint32_t rate, bool left, bool right)
{
	int16_t *s = calloc(frames + 1, 2 * sizeof(*s));
	uint32_t x = 12345;

	assert_non_null(s);
	for (unsigned c = 0; c < 2; c++) {
		double phase = 0;
		uint64_t until = 0;
		double hz = 0;
		double loud = 0;
		for (uint64_t i = 0; i < frames && (c == 0 ? left : right); i++) {
			if (i >= until) {
				x = x * 1664525U + 1013904223U;
				until = i + rate / 10 + (x >> 16) % (rate * 3 / 10);
				hz = 150 + (x >> 8) % 900;
				loud = (x >> 28) < 5 ? 0 : 6000;
			}
			phase += 2 * M_PI * hz / rate;
			s[2 * i + c] = (int16_t)lrint(loud * (sin(phase) + sin(2.7 * phase) / 2));
		}
	}
	return s;
}

static struct et_audio_about about(uint64_t frames, uint32_t rate)
{
	return (struct et_audio_about){
		.recording = { 0x01, 0xA2, 0x01, 0xF2, 0xAF, 0xB3, 0x7C, 0x1E, 0x80, 0x00, 0x01,
			       0x23, 0x45, 0x67, 0x89, 0xAB },
		.start_us = INT64_C(1700000000123456),
		.rate = rate,
		.frames = frames,
	};
}

/* The file, written `piece` frames at a time. */
static void file_make(const char *name, const struct et_audio_about *a, const int16_t *samples,
		      size_t piece, struct et_buffer *ret)
{
	const struct et_audio_format *format = et_audio_format_find(name);
	struct et_audio_writer *w = NULL;
	struct et_error e = { 0 };

	assert_non_null(format);
	assert_int_equal(et_audio_writer_new(format, a, take, ret, &w, &e), 0);
	for (uint64_t i = 0; i < a->frames; i += piece) {
		const uint64_t left = a->frames - i;
		assert_int_equal(et_audio_writer_write(w, samples + 2 * i,
						       left < piece ? (size_t)left : piece, &e),
				 0);
	}
	if (et_audio_writer_end(w, &e) != 0) {
		fail_msg("%s of %llu frames of %u Hz: %s", name, (unsigned long long)a->frames,
			 a->rate, e.text);
	}
	w = et_audio_writer_free(w);
	assert_false(ret->failed);
	const int64_t size = et_audio_size(format, a);
	assert_true(size == -1 || size == (int64_t)ret->size);
}

/* ---- Decoders of others ---- */

struct heard {
	int16_t *samples; /* owned */
	uint64_t frames;
	struct et_view file;
	uint64_t announced;
	bool failed;
};

static void heard_add(struct heard *h, int16_t left, int16_t right)
{
	assert_true(h->frames < HEARD_MAX);
	h->samples[2 * h->frames] = left;
	h->samples[2 * h->frames++ + 1] = right;
}

static FLAC__StreamDecoderReadStatus flac_read(const FLAC__StreamDecoder *d, FLAC__byte *to,
					       size_t *size, void *arg)
{
	struct heard *h = arg;

	(void)d;
	*size = *size < h->file.size ? *size : h->file.size;
	memcpy(to, h->file.data, *size);
	h->file.data += *size;
	h->file.size -= *size;
	return *size > 0 ? FLAC__STREAM_DECODER_READ_STATUS_CONTINUE
			 : FLAC__STREAM_DECODER_READ_STATUS_END_OF_STREAM;
}

static FLAC__StreamDecoderWriteStatus flac_frame(const FLAC__StreamDecoder *d,
						 const FLAC__Frame *frame,
						 const FLAC__int32 *const channels[], void *arg)
{
	(void)d;
	for (uint32_t i = 0; i < frame->header.blocksize; i++) {
		heard_add(arg, (int16_t)channels[0][i], (int16_t)channels[1][i]);
	}
	return FLAC__STREAM_DECODER_WRITE_STATUS_CONTINUE;
}

static void flac_about(const FLAC__StreamDecoder *d, const FLAC__StreamMetadata *m, void *arg)
{
	struct heard *h = arg;

	(void)d;
	if (m->type == FLAC__METADATA_TYPE_STREAMINFO) {
		h->announced = m->data.stream_info.total_samples;
	}
}

static void flac_error(const FLAC__StreamDecoder *d, FLAC__StreamDecoderErrorStatus status,
		       void *arg)
{
	struct heard *h = arg;

	(void)d;
	(void)status;
	h->failed = true;
}

static void flac_hear(struct heard *h, const struct et_audio_about *a)
{
	FLAC__StreamDecoder *d = FLAC__stream_decoder_new();

	assert_true(FLAC__stream_decoder_set_md5_checking(d, true));
	assert_int_equal(FLAC__stream_decoder_init_stream(d, flac_read, NULL, NULL, NULL, NULL,
							  flac_frame, flac_about, flac_error, h),
			 FLAC__STREAM_DECODER_INIT_STATUS_OK);
	assert_true(FLAC__stream_decoder_process_until_end_of_stream(d));
	assert_false(h->failed);
	assert_int_equal(h->announced, a->frames);
	assert_true(FLAC__stream_decoder_finish(d)); /* false: the MD5 is another */
	FLAC__stream_decoder_delete(d);
}

/* A player of RFC 7845: family 1, pre-skip, end by granule. libogg checks each page's sum. */
static void opus_hear(struct heard *h, const struct et_audio_about *a)
{
	static int16_t pcm[5760 * 2];
	ogg_sync_state sync;
	ogg_stream_state stream;
	ogg_page page;
	ogg_packet packet;
	OpusMSDecoder *decoder = NULL;
	uint32_t skip = 0;
	int64_t played = 0;
	int64_t last = -1;
	int64_t granule = 0;
	uint64_t packets = 0;
	int code;

	(void)ogg_sync_init(&sync);
	memcpy(ogg_sync_buffer(&sync, (long)h->file.size), h->file.data, h->file.size);
	(void)ogg_sync_wrote(&sync, (long)h->file.size);
	while (ogg_sync_pageout(&sync, &page) == 1) {
		if (ogg_page_bos(&page)) {
			assert_int_equal(ogg_page_serialno(&page), 0x456789AB);
			(void)ogg_stream_init(&stream, ogg_page_serialno(&page));
		}
		assert_int_equal(ogg_stream_pagein(&stream, &page), 0);
		assert_true(ogg_page_granulepos(&page) - granule <= 48000);
		granule = ogg_page_granulepos(&page);
		last = ogg_page_eos(&page) ? granule : -1;
		while (ogg_stream_packetout(&stream, &packet) == 1) {
			const uint8_t *p = packet.packet;
			if (packets++ == 0) {
				assert_memory_equal(p, "OpusHead\1\2", 10);
				assert_memory_equal(p + 16, "\0\0\1\2\0\0\1", 7);
				assert_int_equal(packet.bytes, 23);
				skip = p[10] | (uint32_t)p[11] << 8;
				assert_int_equal(p[12] | p[13] << 8, a->rate);
				decoder = opus_multistream_decoder_create(48000, 2, 2, 0, p + 21,
									  &code);
			} else if (packets == 2) {
				assert_memory_equal(p, "OpusTags", 8);
			} else {
				const int n = opus_multistream_decode(
					decoder, p, (opus_int32)packet.bytes, pcm, 5760, 0);
				assert_int_equal(n, 960);
				for (int i = 0; i < n; i++, played++) {
					if (played >= skip && (last < 0 || played < last) &&
					    (played - skip) % (48000 / a->rate) == 0) {
						heard_add(h, pcm[2 * i], pcm[2 * i + 1]);
					}
				}
			}
		}
	}
	assert_true(last >= 0 && last <= played && last > played - 960);
	assert_int_equal(last - skip, a->frames * (48000 / a->rate));
	opus_multistream_decoder_destroy(decoder);
	(void)ogg_stream_clear(&stream);
	(void)ogg_sync_clear(&sync);
}

static void mp3_hear(struct heard *h, const struct et_audio_about *a)
{
	mpg123_handle *m = mpg123_new(NULL, NULL);
	struct mpg123_frameinfo info;
	int16_t pcm[4096];
	size_t done = 0;
	int rc;

	assert_int_equal(mpg123_param(m, MPG123_ADD_FLAGS, MPG123_QUIET, 0), MPG123_OK);
	assert_int_equal(mpg123_open_feed(m), MPG123_OK);
	assert_int_equal(mpg123_feed(m, h->file.data, h->file.size), MPG123_OK);
	do {
		rc = mpg123_read(m, pcm, sizeof(pcm), &done);
		for (size_t i = 0; i < done / 4; i++) {
			heard_add(h, pcm[2 * i], pcm[2 * i + 1]);
		}
	} while (rc == MPG123_OK || rc == MPG123_NEW_FORMAT);
	assert_int_equal(rc, MPG123_NEED_MORE);
	assert_int_equal(mpg123_info(m, &info), MPG123_OK);
	assert_int_equal(info.rate, a->rate);
	assert_int_equal(info.mode, MPG123_M_STEREO); /* not joint */
	assert_int_equal(info.vbr, MPG123_CBR);
	mpg123_delete(m);
}

static struct heard hear(const char *name, const struct et_audio_about *a,
			 const struct et_buffer *file)
{
	struct heard h = { .samples = calloc(HEARD_MAX, 4), .file = { file->data, file->size } };

	assert_non_null(h.samples);
	if (strcmp(name, "flac") == 0) {
		flac_hear(&h, a);
	} else if (strcmp(name, "opus") == 0) {
		opus_hear(&h, a);
	} else {
		mp3_hear(&h, a);
	}
	return h;
}

/* Of a channel, how alike two sounds are when the second one is `shift` frames late: -1 to 1. */
static double likeness(const int16_t *a, const int16_t *b, uint64_t frames, unsigned channel,
		       int64_t shift)
{
	double ab = 0;
	double aa = 1;
	double bb = 1;

	for (int64_t i = 1000; i < (int64_t)frames - 1000; i++) {
		const double x = a[2 * i + channel];
		const double y = b[2 * (i + shift) + channel];
		ab += x * y;
		aa += x * x;
		bb += y * y;
	}
	return ab / sqrt(aa * bb);
}

/* ---- Tests ---- */

static void formats_are_found_by_name(void **state)
{
	char all[64] = "";

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(names); i++) {
		assert_string_equal(et_audio_format_find(names[i])->name, names[i]);
		(void)snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s",
			       i == 0 ? "" : " ", names[i]);
	}
	assert_string_equal(all, ET_AUDIO_FORMATS);
	assert_null(et_audio_format_find("original"));
	assert_null(et_audio_format_find(""));
}

static void wav_is_its_header_and_the_samples(void **state)
{
	(void)state;
	const struct et_audio_about a = about(5000, 16000);
	int16_t *samples = speech(a.frames, a.rate, true, true);
	struct et_buffer file = { 0 };
	uint8_t header[ET_WAV_HEADER_SIZE];
	uint8_t *bytes = malloc(5000 * 4);

	file_make("wav", &a, samples, 1777, &file);
	assert_int_equal(et_wav_header(5000, 16000, header), 0);
	assert_memory_equal(file.data, header, sizeof(header));
	et_wav_frames(samples, 5000, bytes);
	assert_memory_equal(file.data + sizeof(header), bytes, 5000 * 4);
	free(bytes);
	free(samples);
	et_buffer_release(&file);
}

static void flac_is_the_samples_to_the_bit(void **state)
{
	static const uint64_t lengths[] = { 1, 4095, 4096, 4097, 100000 };

	(void)state;
	for (size_t r = 0; r < ET_ARRAY_SIZE(rates); r++) {
		for (size_t l = 0; l < ET_ARRAY_SIZE(lengths); l++) {
			const struct et_audio_about a = about(lengths[l], rates[r]);
			int16_t *samples = speech(a.frames, a.rate, true, l % 2 == 0);
			struct et_buffer file = { 0 };
			samples[0] = INT16_MIN;
			samples[1] = INT16_MAX;
			file_make("flac", &a, samples, 3000, &file);
			struct heard h = hear("flac", &a, &file);
			assert_int_equal(h.frames, a.frames);
			assert_memory_equal(h.samples, samples, a.frames * 4);
			free(h.samples);
			free(samples);
			et_buffer_release(&file);
		}
	}
}

static void flac_says_the_md5_that_it_is_told(void **state)
{
	/* Of 1, -1, 32767, -32768: 0100ffffff7f0080 */
	static const int16_t samples[] = { 1, -1, INT16_MAX, INT16_MIN };
	static const uint8_t md5[16] = { 0x36, 0x7d, 0x02, 0xf3, 0x6e, 0x1d, 0x65, 0x0c,
					 0xc5, 0xe1, 0x2a, 0x50, 0xb8, 0xa4, 0xc6, 0x9b };
	struct et_audio_about a = about(2, 8000);
	struct et_buffer file = { 0 };

	(void)state;
	memcpy(a.md5, md5, 16);
	file_make("flac", &a, samples, 1, &file);
	assert_memory_equal(file.data, "fLaC\0\0\0\x22", 8);
	assert_memory_equal(file.data + 26, md5, 16);
	struct heard h = hear("flac", &a, &file); /* The library's own agrees. */
	assert_memory_equal(h.samples, samples, sizeof(samples));
	free(h.samples);
	et_buffer_release(&file);
	/* ... and does not with another. */
	a.md5[3] ^= 1;
	file_make("flac", &a, samples, 1, &file);
	FLAC__StreamDecoder *d = FLAC__stream_decoder_new();
	h = (struct heard){ .samples = calloc(2, 4), .file = { file.data, file.size } };
	assert_true(FLAC__stream_decoder_set_md5_checking(d, true));
	assert_int_equal(FLAC__stream_decoder_init_stream(d, flac_read, NULL, NULL, NULL, NULL,
							  flac_frame, flac_about, flac_error, &h),
			 FLAC__STREAM_DECODER_INIT_STATUS_OK);
	assert_true(FLAC__stream_decoder_process_until_end_of_stream(d));
	assert_false(FLAC__stream_decoder_finish(d));
	FLAC__stream_decoder_delete(d);
	free(h.samples);
	et_buffer_release(&file);
}

/* As long to the sample, at its place, and recognisable. */
static void lossy_files_sound_alike_and_do_not_slip(void **state)
{
	(void)state;
	for (size_t n = 2; n < ET_ARRAY_SIZE(names); n++) {
		for (size_t r = 0; r < ET_ARRAY_SIZE(rates); r++) {
			const struct et_audio_about a = about(2 * rates[r] + 77, rates[r]);
			int16_t *samples = speech(a.frames, a.rate, true, true);
			struct et_buffer file = { 0 };
			file_make(names[n], &a, samples, 1777, &file);
			struct heard h = hear(names[n], &a, &file);
			assert_int_equal(h.frames, a.frames);
			for (unsigned c = 0; c < 2; c++) {
				const double here = likeness(samples, h.samples, a.frames, c, 0);
				if (here < 0.97) {
					fail_msg("%s of %u Hz, channel %u: alike by %.3f", names[n],
						 a.rate, c, here);
				}
				for (int64_t shift = -4; shift <= 4; shift += 2) {
					assert_true(shift == 0 ||
						    likeness(samples, h.samples, a.frames, c,
							     shift) < here);
				}
			}
			free(h.samples);
			free(samples);
			et_buffer_release(&file);
		}
	}
}

/* Nothing of who speaks is heard where the other is silent. */
static void voices_stay_in_their_channels(void **state)
{
	(void)state;
	for (size_t n = 1; n < ET_ARRAY_SIZE(names); n++) {
		for (unsigned silent = 0; silent < 2; silent++) {
			for (size_t r = 0; r < ET_ARRAY_SIZE(rates); r++) {
				const struct et_audio_about a = about(rates[r], rates[r]);
				int16_t *samples =
					speech(a.frames, a.rate, silent == 1, silent == 0);
				struct et_buffer file = { 0 };
				file_make(names[n], &a, samples, 4096, &file);
				struct heard h = hear(names[n], &a, &file);
				for (uint64_t i = 0; i < h.frames; i++) {
					assert_in_range(h.samples[2 * i + silent] + 1, 0, 2);
				}
				assert_true(likeness(samples, h.samples, a.frames, !silent, 0) >
					    0.97);
				free(h.samples);
				free(samples);
				et_buffer_release(&file);
			}
		}
	}
}

/* Every length about a packet, a frame, and none. */
static void any_length_is_a_whole_file(void **state)
{
	static const uint64_t lengths[] = { 0,	 1,   159, 160,	 161,  320,  575,  576,
					    577, 960, 961, 1151, 1152, 1153, 1728, 4608 };

	(void)state;
	for (size_t n = 2; n < ET_ARRAY_SIZE(names); n++) {
		for (size_t l = 0; l < ET_ARRAY_SIZE(lengths); l++) {
			const uint32_t rate = rates[l % ET_ARRAY_SIZE(rates)];
			const struct et_audio_about a = about(lengths[l], rate);
			int16_t *samples = speech(a.frames, a.rate, true, true);
			struct et_buffer file = { 0 };
			file_make(names[n], &a, samples, 100, &file);
			struct heard h = hear(names[n], &a, &file);
			assert_int_equal(h.frames, a.frames);
			free(h.samples);
			free(samples);
			et_buffer_release(&file);
		}
	}
}

static uint16_t crc16_of(const uint8_t *p, size_t size)
{
	uint16_t crc = 0;

	for (size_t i = 0; i < 8 * size; i++) {
		const unsigned bit = (p[i / 8] >> (i % 8) ^ crc) & 1;
		crc = (uint16_t)(crc >> 1 ^ (bit != 0 ? 0xA001 : 0));
	}
	return crc;
}

/* The same samples as the library itself makes a file of them. Returns the size of its Info frame.
 */
static size_t lame_info(const struct et_audio_about *a, int16_t *samples, uint8_t *ret, size_t size)
{
	static uint8_t out[1 << 20];
	lame_global_flags *l = lame_init();

	assert_true(lame_set_in_samplerate(l, (int)a->rate) == 0 &&
		    lame_set_out_samplerate(l, (int)a->rate) == 0 &&
		    lame_set_mode(l, STEREO) == 0 &&
		    lame_set_brate(l, a->rate == 8000	 ? 64
				      : a->rate == 16000 ? 96
							 : 192) == 0 &&
		    lame_init_params(l) == 0);
	assert_true(lame_encode_buffer_interleaved(l, samples, (int)a->frames, out, sizeof(out)) >
		    0);
	assert_true(lame_encode_flush(l, out, sizeof(out)) > 0);
	const size_t n = lame_get_lametag_frame(l, ret, size);
	(void)lame_close(l);
	return n;
}

/* What stands in it before the encoding is what the library writes there behind it. */
static void the_info_frame_is_as_libmp3lame_has_it(void **state)
{
	(void)state;
	for (size_t r = 0; r < ET_ARRAY_SIZE(rates); r++) {
		const struct et_audio_about a = about(33333, rates[r]);
		const size_t at = rates[r] == 48000 ? 36 : 21; /* of "Info" in the frame */
		int16_t *samples = speech(a.frames, a.rate, true, true);
		struct et_buffer file = { 0 };
		uint8_t want[2000];
		const size_t size = lame_info(&a, samples, want, sizeof(want));
		file_make("mp3", &a, samples, 5000, &file);
		const uint8_t *found = memmem(file.data, file.size, want, 4);
		assert_non_null(found);
		assert_memory_equal(found + at, want + at, 16); /* name, flags, frames, bytes */
		assert_memory_equal(found + at + 120, want + at + 120, 11); /* version, lowpass */
		assert_memory_equal(found + at + 140, want + at + 140,
				    4); /* bits, delay, padding */
		assert_memory_equal(found + at + 148, want + at + 148, 4); /* bytes */
		assert_int_equal(et_get16(want + at + 154), crc16_of(want, at + 154));
		assert_int_equal(et_get16(found + at + 154), crc16_of(found, at + 154));
		assert_memory_equal(found + size, want, 2); /* the next frame */
		free(samples);
		et_buffer_release(&file);
	}
}

static void the_same_samples_are_the_same_bytes(void **state)
{
	(void)state;
	for (size_t n = 0; n < ET_ARRAY_SIZE(names); n++) {
		const struct et_audio_about a = about(16123, 8000);
		int16_t *samples = speech(a.frames, a.rate, true, true);
		struct et_buffer once = { 0 };
		struct et_buffer again = { 0 };
		file_make(names[n], &a, samples, 16123, &once);
		file_make(names[n], &a, samples, 37, &again);
		assert_int_equal(once.size, again.size);
		assert_memory_equal(once.data, again.data, once.size);
		free(samples);
		et_buffer_release(&once);
		et_buffer_release(&again);
	}
}

static bool holds(const struct et_buffer *b, const char *text)
{
	return memmem(b->data, b->size, text, strlen(text)) != NULL;
}

static void files_say_what_they_are_of(void **state)
{
	(void)state;
	for (size_t n = 1; n < ET_ARRAY_SIZE(names); n++) {
		for (int incomplete = 0; incomplete < 2; incomplete++) {
			struct et_audio_about a = about(1000, 8000);
			int16_t *samples = speech(a.frames, a.rate, true, true);
			struct et_buffer file = { 0 };
			a.incomplete = incomplete != 0;
			a.concealed = incomplete == 0;
			file_make(names[n], &a, samples, 1000, &file);
			assert_true(holds(&file, "01a201f2-afb3-7c1e-8000-0123456789ab"));
			assert_true(holds(&file, "2023-11-14T22:13:20.123456Z"));
			assert_true(holds(&file, "The original is evidence; this file is not."));
			assert_int_equal(holds(&file, "INCOMPLETE"), incomplete);
			assert_int_equal(holds(&file, "CONCEALED"), !incomplete);
			free(samples);
			et_buffer_release(&file);
		}
	}
}

/* WAV has no room for a word but behind its samples, and takes it only for this one. */
static void a_concealed_wav_says_so_at_its_end(void **state)
{
	struct et_buffer plain = { 0 };
	struct et_buffer file = { 0 };
	struct et_audio_about a = about(1000, 8000);
	int16_t *samples = speech(a.frames, a.rate, true, true);

	(void)state;
	file_make("wav", &a, samples, 1000, &plain);
	a.concealed = true;
	file_make("wav", &a, samples, 1000, &file);
	assert_int_equal(file.size, plain.size + ET_WAV_LABEL_SIZE);
	assert_memory_equal(file.data + 8, plain.data + 8, plain.size - 8);
	assert_true(holds(&file, "The original is evidence"));
	free(samples);
	et_buffer_release(&plain);
	et_buffer_release(&file);
}

struct disk {
	size_t room; /* bytes */
};

static int fill(void *arg, const void *data, size_t size)
{
	struct disk *d = arg;

	(void)data;
	if (size > d->room) {
		d->room = 0;
		return -ENOSPC;
	}
	d->room -= size;
	return 0;
}

/* Wherever it is full. */
static void a_full_disk_is_told_as_it_is(void **state)
{
	static const size_t rooms[] = { 0, 10, 30, 60, 700, 1500, 4000, 9000 };

	(void)state;
	for (size_t n = 0; n < ET_ARRAY_SIZE(names); n++) {
		const struct et_audio_about a = about(24000, 8000);
		int16_t *samples = speech(a.frames, a.rate, true, true);
		for (size_t i = 0; i < ET_ARRAY_SIZE(rooms); i++) {
			struct disk disk = { rooms[i] };
			struct et_audio_writer *w = NULL;
			struct et_error e = { 0 };
			int rc = et_audio_writer_new(et_audio_format_find(names[n]), &a, fill,
						     &disk, &w, &e);
			for (uint64_t at = 0; rc == 0 && at < a.frames; at += 800) {
				rc = et_audio_writer_write(w, samples + 2 * at, 800, &e);
			}
			rc = rc == 0 ? et_audio_writer_end(w, &e) : rc;
			assert_int_equal(rc, -ENOSPC);
			assert_int_equal(e.code, -ENOSPC);
			assert_non_null(strstr(e.text, names[n]));
			w = et_audio_writer_free(w);
		}
		free(samples);
	}
}

static void other_frames_than_announced_are_refused(void **state)
{
	static const int16_t samples[200];

	(void)state;
	for (size_t n = 0; n < ET_ARRAY_SIZE(names); n++) {
		struct et_audio_about a = about(50, 8000);
		struct et_buffer file = { 0 };
		struct et_audio_writer *w = NULL;
		const struct et_audio_format *format = et_audio_format_find(names[n]);
		assert_int_equal(et_audio_writer_new(format, &a, take, &file, &w, NULL), 0);
		assert_int_equal(et_audio_writer_write(w, samples, 49, NULL), 0);
		assert_int_equal(et_audio_writer_end(w, NULL), ET_EINTEGRITY);
		assert_int_equal(et_audio_writer_write(w, samples, 2, NULL), ET_EINTEGRITY);
		w = et_audio_writer_free(w);
		a.rate = 44100;
		assert_int_equal(et_audio_writer_new(format, &a, take, &file, &w, NULL),
				 ET_EUNSUPPORTED);
		assert_null(w);
		et_buffer_release(&file);
	}
	/* What a header of 32 bits cannot say. */
	struct et_audio_about a = about((uint64_t)ET_WAV_FRAMES_MAX + 1, 48000);
	struct et_audio_writer *w = NULL;
	struct et_buffer file = { 0 };
	assert_int_equal(
		et_audio_writer_new(et_audio_format_find("wav"), &a, take, &file, &w, NULL),
		ET_ELIMIT);
	a.frames = UINT64_C(400) * 3600 * 48000;
	assert_int_equal(
		et_audio_writer_new(et_audio_format_find("mp3"), &a, take, &file, &w, NULL),
		ET_ELIMIT);
	et_buffer_release(&file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(formats_are_found_by_name),
		cmocka_unit_test(wav_is_its_header_and_the_samples),
		cmocka_unit_test(flac_is_the_samples_to_the_bit),
		cmocka_unit_test(flac_says_the_md5_that_it_is_told),
		cmocka_unit_test(lossy_files_sound_alike_and_do_not_slip),
		cmocka_unit_test(voices_stay_in_their_channels),
		cmocka_unit_test(any_length_is_a_whole_file),
		cmocka_unit_test(the_info_frame_is_as_libmp3lame_has_it),
		cmocka_unit_test(the_same_samples_are_the_same_bytes),
		cmocka_unit_test(files_say_what_they_are_of),
		cmocka_unit_test(a_concealed_wav_says_so_at_its_end),
		cmocka_unit_test(a_full_disk_is_told_as_it_is),
		cmocka_unit_test(other_frames_than_announced_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
