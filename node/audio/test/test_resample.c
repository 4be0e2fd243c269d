#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "node/audio/resample.h"
#include "node/base/bytes.h"

enum { SECOND_MAX = 48000 };

static int16_t tone(uint32_t rate, double hz, size_t n)
{
	return (int16_t)lrint(10000 * sin(2 * M_PI * hz * (double)n / rate));
}

/* A second of it in pieces of `piece`; returns how many samples come out. */
static size_t run(uint32_t from, uint32_t to, size_t piece, double hz, int16_t *out)
{
	struct et_resampler *r = NULL;
	int16_t in[SECOND_MAX];
	size_t n = 0;

	assert_int_equal(et_resampler_new(from, to, &r), 0);
	for (size_t i = 0; i < from; i++) {
		in[i] = tone(from, hz, i);
	}
	for (size_t i = 0; i < from; i += piece) {
		const size_t count = from - i < piece ? from - i : piece;
		const size_t made = et_resampler_feed(r, in + i, count, out + n);
		assert_true(made <= et_resampler_room(r));
		n += made;
	}
	n += et_resampler_end(r, out + n);
	et_resampler_free(r);
	return n;
}

static const struct {
	uint32_t from, to;
} pairs[] = { { 8000, 16000 },	{ 8000, 48000 },  { 16000, 48000 }, { 32000, 48000 },
	      { 48000, 16000 }, { 48000, 8000 },  { 16000, 8000 },  { 32000, 8000 },
	      { 44100, 48000 }, { 48000, 44100 }, { 8000, 8000 } };

static void a_tone_stays_where_and_what_it_was(void **state)
{
	int16_t *out = calloc(4 * SECOND_MAX, sizeof(*out));

	(void)state;
	assert_non_null(out);
	for (size_t p = 0; p < ET_ARRAY_SIZE(pairs); p++) {
		const size_t n = run(pairs[p].from, pairs[p].to, 160, 1000, out);
		assert_int_equal(n, pairs[p].to);
		double signal = 0;
		double noise = 0;
		for (size_t i = n / 10; i < n * 9 / 10; i++) { /* away from the ends */
			const double want = tone(pairs[p].to, 1000, i);
			signal += want * want;
			noise += (out[i] - want) * (out[i] - want);
		}
		assert_true(10 * log10(signal / (noise + 1)) > 70);
	}
	free(out);
}

static void pieces_make_no_difference(void **state)
{
	int16_t *a = calloc(4 * SECOND_MAX, sizeof(*a));
	int16_t *b = calloc(4 * SECOND_MAX, sizeof(*b));

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	for (size_t p = 0; p < ET_ARRAY_SIZE(pairs); p++) {
		const size_t n = run(pairs[p].from, pairs[p].to, 1, 700, a);
		assert_int_equal(run(pairs[p].from, pairs[p].to, 7777, 700, b), n);
		assert_memory_equal(a, b, n * sizeof(*a));
	}
	free(a);
	free(b);
}

static void upwards_the_samples_stay_bit_for_bit(void **state)
{
	int16_t *out = calloc(4 * SECOND_MAX, sizeof(*out));

	(void)state;
	assert_non_null(out);
	assert_int_equal(run(8000, 48000, 160, 3100, out), 48000);
	for (size_t i = 0; i < 8000; i++) {
		assert_int_equal(out[6 * i], tone(8000, 3100, i));
	}
	free(out);
}

static void downwards_the_upper_band_is_gone(void **state)
{
	int16_t *out = calloc(4 * SECOND_MAX, sizeof(*out));
	double noise = 0;

	(void)state;
	assert_non_null(out);
	const size_t n = run(48000, 8000, 960, 6000, out); /* would be heard as 2 kHz */
	for (size_t i = n / 10; i < n * 9 / 10; i++) {
		noise += (double)out[i] * out[i];
	}
	assert_true(sqrt(noise / (double)n) < 10);
	free(out);
}

static void refuses_what_it_cannot(void **state)
{
	struct et_resampler *r = NULL;

	(void)state;
	assert_int_equal(et_resampler_new(0, 8000, &r), ET_EUNSUPPORTED);
	assert_int_equal(et_resampler_new(8000, 96000, &r), ET_EUNSUPPORTED);
	assert_int_equal(et_resampler_new(1000, 48000, &r), ET_EUNSUPPORTED);
	assert_int_equal(et_resampler_new(47999, 48000, &r), ET_EUNSUPPORTED);
	assert_null(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tone_stays_where_and_what_it_was),
		cmocka_unit_test(pieces_make_no_difference),
		cmocka_unit_test(upwards_the_samples_stay_bit_for_bit),
		cmocka_unit_test(downwards_the_upper_band_is_gone),
		cmocka_unit_test(refuses_what_it_cannot),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
