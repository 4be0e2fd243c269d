/* The detector beside ITU-T Q.24: which presses it hears, and what it takes for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "node/audio/dtmf.h"
#include "node/audio/test/pressed.h"

/* Samples; presses begin at BEGINS places of a hop. */
enum { ROOM = 2000, EVERY = 37, BEGINS = 3 };
_Static_assert(BEGINS *EVERY >= ET_DTMF_HOP, "all over a hop");

static struct et_dtmf dtmf;

/* Of how many begins in a hop it is heard. Two windows in a row count. */
static uint32_t begins_heard(const struct press *p, uint32_t ms, double noise_dbm0)
{
	uint64_t seed = 7;
	uint32_t count = 0;
	for (uint32_t i = 0; i < BEGINS; i++) {
		const uint32_t begin = 400 + i * EVERY;
		int16_t heard[ROOM];
		bool found = false;
		char before = '\0';
		for (uint32_t n = 0; n < ROOM; n++) {
			const double peak =
				pressed_peak(noise_dbm0) * sqrt(1.5); /* evenly spread */
			double v = noise_next(&seed) * peak;
			v += n >= begin && n < begin + ms * 8 ? press_sample(p, n - begin, 8000)
							      : 0;
			heard[n] = pressed_coded(v);
		}
		for (uint32_t n = 0; n + ET_DTMF_WINDOW <= ROOM; n += ET_DTMF_HOP) {
			const char key = et_dtmf_look(&dtmf, heard + n).key;
			assert_true(key == '\0' || key == p->key || noise_dbm0 > -40);
			found = found || (key == p->key && key == before);
			before = key;
		}
		count += found;
	}
	return count;
}

/* Heard wherever it begins, or nowhere. */
static bool every_key_is(bool heard, double row, double column, double off, uint32_t ms,
			 double noise)
{
	for (const char *key = PRESSED_KEYS; *key != '\0'; key++) {
		const struct press p = { *key, row, column, off };
		if (begins_heard(&p, ms, noise) != (heard ? BEGINS : 0)) {
			print_message("key %c %g/%g dBm0 %+g %% %u ms noise %g dBm0\n", *key, row,
				      column, off * 100, ms, noise);
			return false;
		}
	}
	return true;
}

#define QUIET (-90.0) /* dBm0 of noise */

static void keys_of_40_ms_are_heard_at_all_levels(void **state)
{
	(void)state;
	for (int level = 0; level >= -42; level -= 3) {
		assert_true(every_key_is(true, level, level, 0, 40, QUIET));
	}
	assert_true(every_key_is(false, -52, -52, 0, 200, QUIET));
}

static void keys_are_heard_with_twist(void **state)
{
	(void)state;
	for (int twist = -10; twist <= 10; twist += 2) {
		assert_true(every_key_is(true, -15, -15 + twist, 0, 40, QUIET));
	}
	assert_true(every_key_is(false, -30, -10, 0, 200, QUIET));
	assert_true(every_key_is(false, -10, -30, 0, 200, QUIET));
}

static void keys_are_heard_off_their_frequency(void **state)
{
	(void)state;
	for (int permille = -20; permille <= 20; permille += 5) {
		assert_true(every_key_is(true, -10, -10, permille / 1000.0, 40, QUIET));
		assert_true(every_key_is(true, -10, -18, permille / 1000.0, 50, QUIET));
	}
	assert_true(every_key_is(false, -10, -10, 0.04, 200, QUIET));
	assert_true(every_key_is(false, -10, -10, -0.04, 200, QUIET));
}

static void keys_are_heard_in_noise(void **state)
{
	(void)state;
	for (int snr = 24; snr >= 8; snr -= 4) { /* beside both tones, -7 dBm0 */
		assert_true(every_key_is(true, -10, -10, 0.015, 50, -7 - snr));
	}
}

static void one_tone_and_tones_of_the_network_are_no_keys(void **state)
{
	static const double pairs[][2] = { { 697, 0 },	  { 1336, 0 }, { 350, 440 }, { 440, 480 },
					   { 480, 620 },  { 425, 0 },  { 697, 770 }, { 1209, 1477 },
					   { 1100, 0 },	  { 2100, 0 }, { 700, 900 }, { 1300, 1500 },
					   { 900, 1700 }, { 1004, 0 } };
	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		for (uint32_t n = 0; n < 8000; n += ET_DTMF_HOP) {
			int16_t heard[ET_DTMF_WINDOW];
			for (uint32_t k = 0; k < ET_DTMF_WINDOW; k++) {
				const double t = 2 * M_PI * (n + k) / 8000;
				heard[k] = pressed_coded(
					pressed_peak(-10) *
					(sin(t * pairs[i][0]) +
					 (pairs[i][1] > 0 ? sin(t * pairs[i][1]) : 0)));
			}
			assert_int_equal(et_dtmf_look(&dtmf, heard).key, '\0');
		}
	}
}

/* Talk-off: half an hour of somebody who talks. (Of 600 s of people in captures, none was.) */
static void hardly_any_talk_is_a_key(void **state)
{
	struct talker t = { .seed = 1, .pitch = { 120, 120 } };
	int16_t window[ET_DTMF_WINDOW] = { 0 };
	uint32_t keys = 0;
	char before = '\0';
	char pressed = '\0';
	(void)state;
	for (uint32_t hop = 0; hop < 180000; hop++) {
		memmove(window, window + ET_DTMF_HOP,
			(ET_DTMF_WINDOW - ET_DTMF_HOP) * sizeof(window[0]));
		for (uint32_t n = 0; n < ET_DTMF_HOP; n++) {
			window[ET_DTMF_WINDOW - ET_DTMF_HOP + n] = talker_next(&t);
		}
		const char key = et_dtmf_look(&dtmf, window).key;
		const bool twice = key != '\0' && key == before;
		keys += twice && key != pressed;
		pressed = twice ? key : '\0';
		before = key;
	}
	print_message("%u keys in 30 min of talk\n", keys);
	assert_true(keys <= 8);
}

static int set_up(void **state)
{
	(void)state;
	et_dtmf_init(&dtmf);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_of_40_ms_are_heard_at_all_levels),
		cmocka_unit_test(keys_are_heard_with_twist),
		cmocka_unit_test(keys_are_heard_off_their_frequency),
		cmocka_unit_test(keys_are_heard_in_noise),
		cmocka_unit_test(one_tone_and_tones_of_the_network_are_no_keys),
		cmocka_unit_test(hardly_any_talk_is_a_key),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
