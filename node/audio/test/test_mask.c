#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "node/audio/mask.h"
#include "node/audio/test/pressed.h"

enum { MS_MAX = 4000, FRAMES_MAX = MS_MAX * 48 };

/* What was said, in two channels, and what comes out. */
struct fixture {
	uint32_t rate;
	int16_t *said;	/* owned: MS_MAX of frames */
	int16_t *heard; /* owned */
	size_t frames;
};

static int hear(void *arg, const int16_t *samples, size_t frames)
{
	struct fixture *f = arg;
	assert_true(f->frames + frames <= FRAMES_MAX);
	memcpy(f->heard + f->frames * 2, samples, frames * 2 * sizeof(*samples));
	f->frames += frames;
	return 0;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->rate = 8000;
	f->said = calloc(FRAMES_MAX * 2, sizeof(*f->said));
	f->heard = calloc(FRAMES_MAX * 2, sizeof(*f->heard));
	assert_non_null(f->said);
	assert_non_null(f->heard);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	free(f->said);
	free(f->heard);
	free(f);
	return 0;
}

static size_t frames_of(const struct fixture *f, uint32_t ms)
{
	return (size_t)ms * f->rate / 1000;
}

/* Talk that goes on for ever, louder or not; `quiet`: of at least 1, so that silence is seen. */
static void talk(struct fixture *f, size_t channel, double level)
{
	uint64_t seed = channel + 1;
	for (size_t n = 0; n < frames_of(f, MS_MAX); n++) {
		const int16_t v = pressed_coded(noise_next(&seed) * level);
		f->said[n * 2 + channel] = v == 0 ? 8 : v;
	}
}

static void press(struct fixture *f, size_t channel, const struct press *p, uint32_t from_ms,
		  uint32_t ms)
{
	for (size_t n = 0; n < frames_of(f, ms); n++) {
		int16_t *s = &f->said[(frames_of(f, from_ms) + n) * 2 + channel];
		const int16_t v = pressed_coded(*s + press_sample(p, (uint32_t)n, f->rate));
		*s = v == 0 ? 8 : v;
	}
}

/* Frames [begin, MS_MAX) through a mask, in pieces of an odd size. */
static struct et_mask_stats run(struct fixture *f, size_t begin, struct et_mask *given)
{
	struct et_mask *m = given;
	if (m == NULL) {
		assert_int_equal(et_mask_new(f->rate, hear, f, &m, NULL), 0);
	}
	et_mask_begin(m, (int64_t)begin);
	f->frames = 0;
	const size_t all = frames_of(f, MS_MAX);
	for (size_t n = begin; n < all;) {
		const size_t count = all - n < 333 ? all - n : 333;
		assert_int_equal(et_mask_put(m, f->said + n * 2, count), 0);
		n += count;
	}
	assert_int_equal(et_mask_finish(m), 0);
	assert_int_equal(f->frames, all - begin);
	struct et_mask_stats stats = et_mask_stats(m);
	(void)et_mask_free(m);
	return stats;
}

static bool is_silent(const struct fixture *f, size_t channel, uint32_t from_ms, uint32_t to_ms)
{
	for (size_t n = frames_of(f, from_ms); n < frames_of(f, to_ms); n++) {
		if (f->heard[n * 2 + channel] != 0) {
			return false;
		}
	}
	return true;
}

static bool is_as_said(const struct fixture *f, size_t channel, uint32_t from_ms, uint32_t to_ms)
{
	for (size_t n = frames_of(f, from_ms); n < frames_of(f, to_ms); n++) {
		if (f->heard[n * 2 + channel] != f->said[n * 2 + channel]) {
			return false;
		}
	}
	return true;
}

static const struct press five = { '5', -10, -8, 0.01 };

static void a_press_is_silence_with_a_guard_and_nothing_else_is(void **state)
{
	struct fixture *f = *state;
	static const uint32_t rates[] = { 8000, 16000, 48000 };
	for (size_t i = 0; i < 3; i++) {
		f->rate = rates[i];
		talk(f, 0, 300);
		talk(f, 1, 8000);
		press(f, 0, &five, 1003, 80);
		press(f, 0, &five, 2000, 40);
		const struct et_mask_stats stats = run(f, 0, NULL);
		assert_int_equal(stats.keys, 2);
		assert_true(is_silent(f, 0, 1003 - 20, 1083 + 20));
		assert_true(is_silent(f, 0, 2000 - 20, 2040 + 20));
		assert_true(is_as_said(f, 0, 0, 1003 - 80));
		assert_true(is_as_said(f, 0, 1083 + 80, 2000 - 80));
		assert_true(is_as_said(f, 0, 2040 + 80, MS_MAX));
		assert_true(is_as_said(f, 1, 0, MS_MAX));
		assert_true(stats.frames >= frames_of(f, 200));
		assert_true(stats.frames <= frames_of(f, 360));
	}
}

static void an_echo_is_silence_too(void **state)
{
	struct fixture *f = *state;
	const struct press echo = { '5', -38, -40, 0.01 };
	talk(f, 0, 100);
	talk(f, 1, 400); /* about as loud as the echo: alone, that is no key */
	press(f, 1, &echo, 500, 100);
	press(f, 0, &five, 2000, 100);
	press(f, 1, &echo, 2150, 100);
	(void)run(f, 0, NULL);
	assert_true(is_silent(f, 0, 1980, 2120));
	assert_true(is_silent(f, 1, 2160, 2240));
	assert_true(is_as_said(f, 1, 2800, MS_MAX));
}

static void a_range_is_cut_from_the_same_samples(void **state)
{
	struct fixture *f = *state;
	talk(f, 0, 300);
	talk(f, 1, 300);
	press(f, 0, &five, 1980, 90);
	press(f, 1, &(struct press){ '#', -20, -24, -0.015 }, 2300, 60);
	(void)run(f, 0, NULL);
	int16_t *whole = calloc(FRAMES_MAX * 2, sizeof(*whole));
	assert_non_null(whole);
	memcpy(whole, f->heard, FRAMES_MAX * 2 * sizeof(*whole));
	for (uint32_t at = 1900; at < 2500; at += 7) {
		const size_t begin = (frames_of(f, at - ET_MASK_MEMORY_MS) + 63) / 64 * 64;
		(void)run(f, begin, NULL);
		const size_t first = frames_of(f, at + 8);
		assert_memory_equal(f->heard + (first - begin) * 2, whole + first * 2,
				    (frames_of(f, MS_MAX) - first) * 2 * sizeof(*whole));
	}
	free(whole);
}

static void a_span_that_is_told_is_silence(void **state)
{
	struct fixture *f = *state;
	struct et_mask *m;
	talk(f, 0, 300);
	talk(f, 1, 300);
	assert_int_equal(et_mask_new(f->rate, hear, f, &m, NULL), 0);
	et_mask_span(m, 1, -100, 80);
	et_mask_span(m, 1, 8000, 8100);
	et_mask_span(m, 1, 8050, 8400); /* one with that */
	et_mask_span(m, 1, 9000, 9000);
	const struct et_mask_stats stats = run(f, 0, m);
	assert_int_equal(stats.keys, 0);
	assert_int_equal(stats.frames, 80 + 400);
	assert_true(is_silent(f, 1, 0, 10));
	assert_true(is_as_said(f, 1, 10, 1000));
	assert_true(is_silent(f, 1, 1000, 1050));
	assert_true(is_as_said(f, 1, 1050, MS_MAX));
	assert_true(is_as_said(f, 0, 0, MS_MAX));
}

static void too_many_spans_are_rather_one_that_is_too_long(void **state)
{
	struct fixture *f = *state;
	struct et_mask *m;
	talk(f, 0, 300);
	talk(f, 1, 300);
	assert_int_equal(et_mask_new(f->rate, hear, f, &m, NULL), 0);
	for (int i = 0; i < 100; i++) {
		et_mask_span(m, 0, 800 + i * 160, 880 + i * 160);
	}
	(void)run(f, 0, m);
	for (uint32_t i = 0; i < 100; i++) {
		assert_true(is_silent(f, 0, 100 + i * 20, 110 + i * 20));
	}
	assert_true(is_as_said(f, 0, 100 + 100 * 20, MS_MAX));
}

static void rates_of_mixes_only(void **state)
{
	struct fixture *f = *state;
	struct et_mask *m = NULL;
	struct et_error e;
	assert_int_equal(et_mask_new(11025, hear, f, &m, &e), ET_EUNSUPPORTED);
	assert_null(et_mask_free(NULL));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_press_is_silence_with_a_guard_and_nothing_else_is),
		TEST(an_echo_is_silence_too),
		TEST(a_range_is_cut_from_the_same_samples),
		TEST(a_span_that_is_told_is_silence),
		TEST(too_many_spans_are_rather_one_that_is_too_long),
		TEST(rates_of_mixes_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
