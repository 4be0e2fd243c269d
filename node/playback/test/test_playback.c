#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/playback/test/playback_fixture.h"

enum { TOTAL = SEGMENTS * SECONDS * 8000 };

static int16_t expected(unsigned party, size_t frame)
{
	if (party == 0) {
		return frame < TOTAL ? et_ulaw_decode(said(0, (uint32_t)frame)) : 0;
	}
	/* Party 1 is 10 ms behind. */
	return frame >= 80 && frame < TOTAL + 80 ? et_alaw_decode(said(1, (uint32_t)frame - 80))
						 : 0;
}

/* f->heard begins at frame `first`; [from, to) of the whole is silent (a segment that is missing).
 */
static void assert_sound(const struct fixture *f, size_t first, size_t from, size_t to)
{
	for (size_t i = 0; i < f->frames; i++) {
		for (unsigned party = 0; party < 2; party++) {
			size_t frame = first + i;
			size_t shift = party * 80;
			bool silent = frame >= from + shift && frame < to + shift;
			assert_int_equal(f->heard[i * 2 + party],
					 silent ? 0 : expected(party, frame));
		}
	}
}

static void all_segments_sound_as_one(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;

	assert_int_equal(et_playback_render(&f->config, 0, UINT64_MAX, hear, f, &s, NULL), 0);
	assert_int_equal(f->frames, TOTAL + 80);
	assert_int_equal(s.frames, f->frames);
	assert_sound(f, 0, 0, 0);
	assert_int_equal(s.segments, SEGMENTS);
	assert_int_equal(s.packets, SEGMENTS * PER_SEGMENT * 2);
	assert_int_equal(s.streams, SEGMENTS * 2);
	assert_int_equal(s.packets_no_decoder, 0);
	assert_int_equal(s.mix.anchors, 0); /* A stream's clock goes on over segments. */
	assert_string_equal(s.problem, "");
}

static void any_range_is_cut_from_the_same_samples(void **state)
{
	struct fixture *f = *state;
	static const uint64_t ranges[][2] = { { 0, 1 },		{ 1, 4096 },   { 4095, 4097 },
					      { 33333, 44444 }, { TOTAL, 80 }, { TOTAL + 79, 1 },
					      { 64000, 100000 } };
	struct et_playback_summary s;

	for (size_t i = 0; i < ET_ARRAY_SIZE(ranges); i++) {
		f->frames = 0;
		assert_int_equal(et_playback_render(&f->config, ranges[i][0], ranges[i][1], hear, f,
						    &s, NULL),
				 0);
		uint64_t rest = TOTAL + 80 - ranges[i][0];
		assert_int_equal(f->frames, ranges[i][1] < rest ? ranges[i][1] : rest);
		assert_sound(f, ranges[i][0], 0, 0);
	}
	f->frames = 0;
	assert_int_equal(et_playback_render(&f->config, TOTAL + 80, 5, hear, f, &s, NULL), 0);
	assert_int_equal(f->frames, 0);
}

static void origin_and_end_pad_with_silence(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;

	f->config.origin_us = T0_US - 1000000;
	f->config.end_us = T0_US + 20000000;
	assert_int_equal(et_playback_render(&f->config, 0, UINT64_MAX, hear, f, &s, NULL), 0);
	assert_int_equal(f->frames, 8000 * 21);
	for (size_t i = 0; i < (size_t)8000 * 2; i++) {
		assert_int_equal(f->heard[i], 0);
	}
	memmove(f->heard, f->heard + (size_t)8000 * 2, (f->frames - 8000) * 4);
	f->frames -= 8000;
	assert_sound(f, 0, 0, 0);
}

static void a_missing_segment_is_silence_and_is_said(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;

	f->missing[1] = true;
	assert_int_equal(et_playback_render(&f->config, 0, UINT64_MAX, hear, f, &s, NULL), 0);
	assert_int_equal(s.segments_missing, 1);
	assert_int_equal(s.segments, SEGMENTS);
	assert_string_equal(s.problem, "segment 2: copy of segment 2: not found");
	assert_sound(f, 0, SECONDS * 8000, 2 * SECONDS * 8000);
	assert_int_equal(f->frames, TOTAL + 80);
}

static void a_segment_without_its_key_is_silence_and_is_said(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;

	f->no_key[0] = true;
	assert_int_equal(et_playback_render(&f->config, 0, UINT64_MAX, hear, f, &s, NULL), 0);
	assert_int_equal(s.segments_no_key, 1);
	assert_sound(f, 0, 0, SECONDS * 8000);
}

static void nothing_to_play_is_an_error_that_says_why(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;
	struct et_error e;

	memset(f->missing, 1, sizeof(f->missing));
	assert_int_equal(et_playback_measure(&f->config, &s, &e), ET_ENOTFOUND);
	memset(f->missing, 0, sizeof(f->missing));
	memset(f->no_key, 1, sizeof(f->no_key));
	assert_int_equal(et_playback_measure(&f->config, &s, &e), ET_ENOKEY);
	f->config.segment_count = 0;
	assert_int_equal(et_playback_measure(&f->config, &s, &e), ET_ENOTFOUND);
}

static void a_damaged_segment_is_not_played_when_verified(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;

	flip(f->paths[1], 40000); /* In its third record or so. */
	assert_int_equal(et_playback_render(&f->config, 0, UINT64_MAX, hear, f, &s, NULL), 0);
	assert_int_equal(s.segments_damaged, 1);
	assert_string_not_equal(s.problem, "");
	assert_sound(f, 0, SECONDS * 8000, 2 * SECONDS * 8000);
}

static void a_damaged_segment_is_played_up_to_the_damage_otherwise(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;

	f->config.verify = false;
	flip(f->paths[1], 40000);
	assert_int_equal(et_playback_render(&f->config, 0, UINT64_MAX, hear, f, &s, NULL), 0);
	assert_int_equal(s.segments_damaged, 1);
	size_t whole = 0; /* Seconds of segment 2 that were played. */
	while (f->heard[((size_t)(SECONDS + whole) * 8000 + 100) * 2] != 0) {
		whole++;
	}
	assert_true(whole > 0 && whole < SECONDS);
	assert_sound(f, 0, (SECONDS + whole) * 8000, 2 * SECONDS * 8000);
}

static void another_tape_than_the_catalogue_says_is_not_played(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;

	for (int verify = 0; verify < 2; verify++) {
		f->config.verify = verify != 0;
		f->segments[0].root[0] ^= 1;
		f->segments[1].header_hash[0] ^= 1;
		f->segments[2].generation = 2;
		assert_int_equal(et_playback_measure(&f->config, &s, NULL), ET_EINTEGRITY);
		assert_int_equal(s.segments_damaged, 3);
		f->segments[0].root[0] ^= 1;
		f->segments[1].header_hash[0] ^= 1;
		f->segments[2].generation = 1;
	}
}

static void a_live_or_torn_segment_plays_as_far_as_it_goes(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;
	struct stat st;

	assert_int_equal(stat(f->paths[2], &st), 0);
	assert_int_equal(truncate(f->paths[2], st.st_size - 600), 0);
	f->segments[2].has_root = false; /* Not sealed, as far as the catalogue knows. */
	for (int verify = 0; verify < 2; verify++) {
		f->config.verify = verify != 0;
		f->frames = 0;
		assert_int_equal(et_playback_render(&f->config, 0, UINT64_MAX, hear, f, &s, NULL),
				 0);
		assert_int_equal(s.segments_unsealed, 1);
		assert_int_equal(s.segments_damaged, 0);
		assert_int_equal(f->frames, TOTAL - 8000 + 80);
		assert_sound(f, 0, TOTAL - 8000, TOTAL);
	}
	f->segments[2].has_root = true; /* But if it was sealed, this is damage. */
	assert_int_equal(et_playback_measure(&f->config, &s, NULL), 0);
	assert_int_equal(s.segments_damaged, 1);
}

static int stop(void *arg, const int16_t *samples, size_t frames)
{
	(void)arg;
	(void)samples;
	(void)frames;
	return -EPIPE;
}

static void a_listener_that_goes_away_ends_it(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;
	struct et_error e;

	assert_int_equal(et_playback_render(&f->config, 0, UINT64_MAX, stop, NULL, &s, &e), -EPIPE);
}

static void peaks_are_those_of_the_samples(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;
	struct et_peak peaks[10];
	struct et_peak part[2];
	uint64_t frames;
	const size_t per_peak = (TOTAL + 80) / 10;

	assert_int_equal(et_playback_peaks(&f->config, 0, UINT64_MAX, peaks, 10, &frames, &s, NULL),
			 0);
	for (size_t i = 0; i < 10; i++) {
		int16_t high = 0;
		for (size_t n = i * per_peak; n < (i + 1) * per_peak; n++) {
			high = expected(1, n) > high ? expected(1, n) : high;
		}
		assert_int_equal(peaks[i].high[1], high);
	}
	/* Of a span: two halves of a second. */
	assert_int_equal(et_playback_peaks(&f->config, 2000, 3000, part, 2, &frames, &s, NULL), 0);
	assert_int_equal(frames, 8000);
	for (size_t i = 0; i < 2; i++) {
		int16_t low = 0;
		for (size_t n = 16000 + i * 4000; n < 20000 + i * 4000; n++) {
			low = expected(0, n) < low ? expected(0, n) : low;
		}
		assert_int_equal(part[i].low[0], low);
	}
	assert_int_equal(
		et_playback_peaks(&f->config, 999000, UINT64_MAX, part, 2, &frames, &s, NULL), 0);
	assert_int_equal(frames, 0);
}

static void srtp_with_its_keys_sounds_like_any_other(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;
	struct et_peak peaks[8][2];
	uint64_t frames;

	/* Keys stand in the first segment, before its media or behind; they hold for the others. */
	assert_int_equal(et_playback_render(&f->config, 0, UINT64_MAX, hear, f, &s, NULL), 0);
	assert_int_equal(f->frames, TOTAL + 80);
	assert_sound(f, 0, 0, 0);
	assert_int_equal(s.streams_protected, SEGMENTS * 2);
	assert_int_equal(s.streams_closed, 0);
	assert_int_equal(s.packets_no_decoder, 0);
	assert_int_equal(s.packets, SEGMENTS * PER_SEGMENT * 2);
	assert_string_equal(s.problem, "");
	f->frames = 0;
	assert_int_equal(et_playback_render(&f->config, 4095, 40000, hear, f, &s, NULL), 0);
	assert_sound(f, 4095, 0, 0);
	assert_int_equal(
		et_playback_peaks(&f->config, 0, UINT64_MAX, &peaks[0][0], 8, &frames, &s, NULL),
		0);
	assert_int_equal(s.streams_closed, 0);
}

static void srtp_without_its_keys_is_silent_and_says_so(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;

	f->config.end_us = T0_US + 1000000;
	assert_int_equal(et_playback_render(&f->config, 0, UINT64_MAX, hear, f, &s, NULL), 0);
	for (size_t i = 0; i < f->frames * 2; i++) {
		assert_int_equal(f->heard[i], 0);
	}
	assert_int_equal(s.streams_protected, SEGMENTS * 2);
	assert_int_equal(s.streams_closed, SEGMENTS * 2);
	assert_int_equal(s.packets_closed, SEGMENTS * PER_SEGMENT * 2);
	assert_int_equal(s.packets_no_decoder, s.packets_closed);
	assert_string_equal(s.problem, "6 streams are protected (SRTP) and no key that is known "
				       "opens them");
}

static void srtp_without_the_segment_of_its_keys_says_so(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;

	f->missing[0] = true;
	assert_int_equal(et_playback_render(&f->config, 0, UINT64_MAX, hear, f, &s, NULL), 0);
	assert_int_equal(s.segments_missing, 1);
	assert_int_equal(s.streams_closed, (SEGMENTS - 1) * 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(all_segments_sound_as_one),
		TEST(any_range_is_cut_from_the_same_samples),
		TEST(origin_and_end_pad_with_silence),
		TEST(a_missing_segment_is_silence_and_is_said),
		TEST(a_segment_without_its_key_is_silence_and_is_said),
		TEST(nothing_to_play_is_an_error_that_says_why),
		TEST(a_damaged_segment_is_not_played_when_verified),
		TEST(a_damaged_segment_is_played_up_to_the_damage_otherwise),
		TEST(another_tape_than_the_catalogue_says_is_not_played),
		TEST(a_live_or_torn_segment_plays_as_far_as_it_goes),
		TEST(a_listener_that_goes_away_ends_it),
		TEST(peaks_are_those_of_the_samples),
		cmocka_unit_test_setup_teardown(srtp_with_its_keys_sounds_like_any_other,
						set_up_protected, tear_down),
		cmocka_unit_test_setup_teardown(srtp_with_its_keys_sounds_like_any_other,
						set_up_keys_behind, tear_down),
		cmocka_unit_test_setup_teardown(srtp_without_its_keys_is_silent_and_says_so,
						set_up_keyless, tear_down),
		cmocka_unit_test_setup_teardown(srtp_without_the_segment_of_its_keys_says_so,
						set_up_protected, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
