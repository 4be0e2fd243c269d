/* A recording, or a part of it, as a file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <FLAC/stream_decoder.h>

#include "node/audio/wav.h"
#include "node/crypto/md5.h"
#include "node/playback/test/playback_fixture.h"

enum { TOTAL = SEGMENTS * SECONDS * 8000 + 80 };

static const char *const names[] = { "wav", "flac", "opus", "mp3" };

static int take(void *arg, const void *data, size_t size)
{
	et_buffer_add(arg, data, size);
	return 0;
}

static struct et_playback_part part_read(struct fixture *f, uint64_t first, uint64_t frames)
{
	struct et_playback_part part = { .first_frame = first, .frames = frames, .rate = 8000 };
	struct et_playback_summary s;

	assert_int_equal(et_playback_read(&f->config, &part, false, &s, NULL), 0);
	return part;
}

static int part_export(struct fixture *f, const struct et_playback_part *part, const char *name,
		       struct et_buffer *ret, struct et_error *reterr)
{
	return et_playback_export(&f->config, part, et_audio_format_find(name), take, ret, reterr);
}

static bool holds(const struct et_buffer *b, const char *text)
{
	return memmem(b->data, b->size, text, strlen(text)) != NULL;
}

/* ---- FLAC, by libFLAC: it checks the MD5 itself ---- */

struct flac {
	struct et_view file;
	uint64_t frames;
};

static FLAC__StreamDecoderReadStatus flac_read(const FLAC__StreamDecoder *d, FLAC__byte *to,
					       size_t *size, void *arg)
{
	struct flac *f = arg;

	(void)d;
	*size = *size < f->file.size ? *size : f->file.size;
	memcpy(to, f->file.data, *size);
	f->file.data += *size;
	f->file.size -= *size;
	return *size > 0 ? FLAC__STREAM_DECODER_READ_STATUS_CONTINUE
			 : FLAC__STREAM_DECODER_READ_STATUS_END_OF_STREAM;
}

static FLAC__StreamDecoderWriteStatus flac_frame(const FLAC__StreamDecoder *d,
						 const FLAC__Frame *frame,
						 const FLAC__int32 *const channels[], void *arg)
{
	struct flac *f = arg;

	(void)d;
	(void)channels;
	f->frames += frame->header.blocksize;
	return FLAC__STREAM_DECODER_WRITE_STATUS_CONTINUE;
}

static void flac_error(const FLAC__StreamDecoder *d, FLAC__StreamDecoderErrorStatus status,
		       void *arg)
{
	(void)d;
	(void)status;
	(void)arg;
	fail();
}

/* How many frames; that they are those of the MD5 is checked. */
static uint64_t flac_frames(const struct et_buffer *file)
{
	struct flac f = { .file = { file->data, file->size } };
	FLAC__StreamDecoder *d = FLAC__stream_decoder_new();

	assert_true(FLAC__stream_decoder_set_md5_checking(d, true));
	assert_int_equal(FLAC__stream_decoder_init_stream(d, flac_read, NULL, NULL, NULL, NULL,
							  flac_frame, NULL, flac_error, &f),
			 FLAC__STREAM_DECODER_INIT_STATUS_OK);
	assert_true(FLAC__stream_decoder_process_until_end_of_stream(d));
	assert_true(FLAC__stream_decoder_finish(d));
	FLAC__stream_decoder_delete(d);
	return f.frames;
}

/* ---- Tests ---- */

static void a_wav_file_is_what_was_said(void **state)
{
	struct fixture *f = *state;
	const struct et_playback_part part = part_read(f, 0, TOTAL);
	struct et_buffer b = { 0 };

	assert_true(part.is_settled && part.is_complete);
	assert_int_equal(part_export(f, &part, "wav", &b, NULL), 0);
	assert_int_equal(b.size, ET_WAV_HEADER_SIZE + TOTAL * 4);
	for (size_t i = 0; i < TOTAL; i++) {
		const uint8_t *p = b.data + ET_WAV_HEADER_SIZE + i * 4;
		const bool first = i < TOTAL - 80; /* Party 1 is 10 ms behind. */
		const bool second = i >= 80;
		assert_int_equal((int16_t)(uint16_t)(p[0] | p[1] << 8),
				 first ? et_ulaw_decode(said(0, (uint32_t)i)) : 0);
		assert_int_equal((int16_t)(uint16_t)(p[2] | p[3] << 8),
				 second ? et_alaw_decode(said(1, (uint32_t)i - 80)) : 0);
	}
	et_buffer_release(&b);
}

/* STREAMINFO has the MD5 of the WAV's samples; libFLAC says that the frames have it, too. */
static void a_flac_file_has_the_samples_of_the_wav(void **state)
{
	static const uint64_t parts[][2] = { { 0, TOTAL }, { 12345, 20000 }, { TOTAL - 1, 1 } };
	struct fixture *f = *state;

	for (size_t i = 0; i < ET_ARRAY_SIZE(parts); i++) {
		const struct et_playback_part part = part_read(f, parts[i][0], parts[i][1]);
		struct et_buffer wav = { 0 };
		struct et_buffer flac = { 0 };
		struct et_md5 *md5 = NULL;
		uint8_t hash[ET_MD5_SIZE];
		assert_int_equal(part_export(f, &part, "wav", &wav, NULL), 0);
		assert_int_equal(part_export(f, &part, "flac", &flac, NULL), 0);
		assert_int_equal(et_md5_new(&md5, NULL), 0);
		et_md5_add(md5, wav.data + ET_WAV_HEADER_SIZE, wav.size - ET_WAV_HEADER_SIZE);
		et_md5_end(md5, hash);
		md5 = et_md5_free(md5);
		assert_memory_equal(flac.data + 26, hash, sizeof(hash));
		assert_int_equal(flac_frames(&flac), parts[i][1]);
		et_buffer_release(&wav);
		et_buffer_release(&flac);
	}
}

static void a_file_says_which_part_it_is(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 1; i < ET_ARRAY_SIZE(names); i++) {
		const struct et_playback_part part = part_read(f, 8000 * 3, 8000);
		struct et_buffer b = { 0 };
		assert_int_equal(part_export(f, &part, names[i], &b, NULL), 0);
		assert_true(holds(&b, "09000000-0000-0000-0000-000000000000"));
		assert_true(holds(&b, "2023-11-14T22:13:23")); /* T0_US and 3 s */
		assert_false(holds(&b, "INCOMPLETE"));
		et_buffer_release(&b);
	}
}

static void the_same_part_is_the_same_file(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ET_ARRAY_SIZE(names); i++) {
		const struct et_playback_part part = part_read(f, 0, TOTAL);
		struct et_buffer once = { 0 };
		struct et_buffer again = { 0 };
		assert_int_equal(part_export(f, &part, names[i], &once, NULL), 0);
		assert_int_equal(part_export(f, &part, names[i], &again, NULL), 0);
		assert_int_equal(once.size, again.size);
		assert_memory_equal(once.data, again.data, once.size);
		et_buffer_release(&once);
		et_buffer_release(&again);
	}
}

static void what_is_missing_is_silence_and_the_file_says_so(void **state)
{
	struct fixture *f = *state;

	f->missing[1] = true;
	for (size_t i = 1; i < ET_ARRAY_SIZE(names); i++) {
		const struct et_playback_part part = part_read(f, 0, TOTAL);
		struct et_buffer b = { 0 };
		assert_true(part.is_settled && !part.is_complete);
		assert_int_equal(part_export(f, &part, names[i], &b, NULL), 0);
		assert_true(holds(&b, "INCOMPLETE"));
		et_buffer_release(&b);
	}
}

/* A node that held a segment went away in the midst: the head has said otherwise. */
static void what_is_lost_between_the_readings_is_an_error(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ET_ARRAY_SIZE(names); i++) {
		const struct et_playback_part part = part_read(f, 0, TOTAL);
		struct et_buffer b = { 0 };
		struct et_error e = { 0 };
		f->missing[1] = true;
		assert_int_equal(part_export(f, &part, names[i], &b, &e), ET_ESTALE);
		assert_non_null(strstr(e.text, "segment 2"));
		f->missing[1] = false;
		et_buffer_release(&b);
	}
}

/* What is still being recorded may differ from one second to the next: no MD5 is said, and the file
 * is as long as its head has it. */
static void a_live_recording_is_exported_as_far_as_it_goes(void **state)
{
	static const uint8_t unknown[16];
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(stat(f->paths[2], &st), 0);
	assert_int_equal(truncate(f->paths[2], st.st_size - 600), 0);
	f->segments[2].has_root = false;
	struct et_playback_part part = part_read(f, 0, TOTAL - 8000);
	assert_false(part.is_settled);
	part.md5[0] ^= 1; /* as if other samples had been there */
	part.frames += 500;
	for (size_t i = 0; i < ET_ARRAY_SIZE(names); i++) {
		struct et_buffer b = { 0 };
		assert_int_equal(part_export(f, &part, names[i], &b, NULL), 0);
		if (strcmp(names[i], "flac") == 0) {
			assert_memory_equal(b.data + 26, unknown, 16);
			assert_int_equal(flac_frames(&b), TOTAL - 7500);
		}
		et_buffer_release(&b);
	}
}

static int full(void *arg, const void *data, size_t size)
{
	size_t *room = arg;

	(void)data;
	if (size > *room) {
		return -ENOSPC;
	}
	*room -= size;
	return 0;
}

static void a_full_disk_ends_it(void **state)
{
	static const size_t rooms[] = { 0, 50, 5000, 20000 };
	struct fixture *f = *state;
	const struct et_playback_part part = part_read(f, 0, TOTAL);

	for (size_t i = 0; i < ET_ARRAY_SIZE(names); i++) {
		for (size_t r = 0; r < ET_ARRAY_SIZE(rooms); r++) {
			size_t room = rooms[r];
			struct et_error e = { 0 };
			assert_int_equal(et_playback_export(&f->config, &part,
							    et_audio_format_find(names[i]), full,
							    &room, &e),
					 -ENOSPC);
			assert_int_equal(e.code, -ENOSPC);
			assert_non_null(strstr(e.text, names[i]));
		}
	}
}

static void nothing_to_play_is_no_file(void **state)
{
	struct fixture *f = *state;
	struct et_playback_part part = { .frames = TOTAL, .rate = 8000 };
	struct et_playback_summary s;

	memset(f->missing, 1, sizeof(f->missing));
	assert_int_equal(et_playback_read(&f->config, &part, true, &s, NULL), ET_ENOTFOUND);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_wav_file_is_what_was_said),
		TEST(a_flac_file_has_the_samples_of_the_wav),
		TEST(a_file_says_which_part_it_is),
		TEST(the_same_part_is_the_same_file),
		TEST(what_is_missing_is_silence_and_the_file_says_so),
		TEST(what_is_lost_between_the_readings_is_an_error),
		TEST(a_live_recording_is_exported_as_far_as_it_goes),
		TEST(a_full_disk_ends_it),
		TEST(nothing_to_play_is_no_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
