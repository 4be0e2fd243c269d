/* Recordings whose rule says tones: mask, as they are heard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "node/playback/test/playback_fixture.h"

enum { RATE = 8000, PRESSED_AT = 7 * RATE, PRESSED = RATE / 10, EVENT_S = 9, DROPPED_S = 10 };

/* The caller presses 5 at 7 s for 100 ms. */
static uint8_t say(unsigned party, uint32_t n)
{
	if (party == 0 && n >= PRESSED_AT && n < PRESSED_AT + PRESSED) {
		const double t = 2 * M_PI * n / RATE;
		const double v = 9000 * sin(770 * t) + 7000 * sin(1336 * t + 1);
		const uint8_t code = et_ulaw_encode((int16_t)lrint(v));
		return code == 0x7F || code == 0xFF ? 0x11 : code;
	}
	return said(party, n);
}

/* An event of the callee at 9.5 s, 160 ms long, and a key at 10.5 s that was not kept. */
static void tell(struct et_tape *t, uint32_t second, uint32_t t_ms)
{
	if (second == EVENT_S) {
		struct et_media_encoder e = { 0 };
		for (uint32_t i = 1; i <= 8; i++) {
			const uint32_t lasted = i * PTIME;
			const uint8_t event[4] = { 5, 10, (uint8_t)(lasted >> 8), (uint8_t)lasted };
			const struct et_media_packet p = {
				.stream = 1,
				.payload_type = 101,
				.sequence = (uint16_t)(1000 + i),
				.timestamp = EVENT_S * RATE + RATE / 2,
				.arrival_us = T0_US + EVENT_S * 1000000 + 560000 + i * 20000,
				.payload = { event, sizeof(event) },
			};
			assert_int_equal(et_media_encoder_add(&e, &p, ET_TAPE_PLAIN_MAX), 0);
		}
		assert_int_equal(
			et_tape_append(t, ET_TAPE_MEDIA, t_ms, e.plain.data, e.plain.size, NULL),
			0);
		et_media_encoder_release(&e);
	}
	if (second == DROPPED_S) {
		struct et_buffer meta = { 0 };
		struct et_meta_item item = { .type = ET_META_MARK };
		item.mark.what = ET_MARK_DROPPED;
		item.mark.from_us = T0_US + DROPPED_S * 1000000 + 500000;
		item.mark.cause = et_view_of(ET_MARK_DIGIT_EVENT);
		assert_int_equal(et_meta_add(&meta, &item), 0);
		assert_int_equal(et_tape_append(t, ET_TAPE_META, t_ms, meta.data, meta.size, NULL),
				 0);
		et_buffer_release(&meta);
	}
}

static int set_up_pressed(void **state)
{
	struct fixture *f = fixture_new(false, false);

	f->say = say;
	f->behind = tell;
	return fixture_fill(f, state);
}

static int set_up_pressed_protected(void **state)
{
	struct fixture *f = fixture_new(true, false);

	f->say = say;
	return fixture_fill(f, state);
}

static void render(struct fixture *f, uint64_t first, uint64_t count,
		   struct et_playback_summary *ret)
{
	f->frames = 0;
	assert_int_equal(et_playback_render(&f->config, first, count, hear, f, ret, NULL), 0);
}

/* Milliseconds of the channel, of what was heard from `first` on. */
static bool is_silent(const struct fixture *f, unsigned party, uint32_t from_ms, uint32_t to_ms)
{
	for (uint32_t n = from_ms * 8; n < to_ms * 8; n++) {
		if (f->heard[n * 2 + party] != 0) {
			return false;
		}
	}
	return true;
}

static bool is_as_said(const struct fixture *f, unsigned party, uint32_t from_ms, uint32_t to_ms)
{
	const uint32_t delay = party * 80; /* it arrives 10 ms later */
	for (uint32_t n = from_ms * 8; n < to_ms * 8; n++) {
		const uint8_t code = say(party, n - delay);
		const int16_t sample = party == 0 ? et_ulaw_decode(code) : et_alaw_decode(code);
		if (f->heard[n * 2 + party] != sample) {
			return false;
		}
	}
	return true;
}

static void presses_are_silence_and_the_rest_is_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;

	f->config.mask_tones = true;
	render(f, 0, UINT64_MAX, &s);
	assert_int_equal(s.frames, SEGMENTS * SECONDS * RATE + 80);
	assert_int_equal(f->frames, s.frames);
	assert_int_equal(s.masked.keys, 1);
	assert_true(is_silent(f, 0, 6980, 7120));
	assert_true(is_as_said(f, 0, 0, 6920));
	assert_true(is_as_said(f, 0, 7180, 10380));
	/* The event, from what came before a gateway was sure. */
	assert_true(is_as_said(f, 1, 10, 9400));
	assert_true(is_silent(f, 1, 9411, 9709));
	assert_true(is_as_said(f, 1, 9715, 10390));
	/* The one that was not kept: nothing says whose it was. */
	assert_true(is_silent(f, 0, 10400, 10540));
	assert_true(is_silent(f, 1, 10400, 10540));
	assert_true(is_as_said(f, 0, 10550, 12000));
	assert_true(is_as_said(f, 1, 10550, 12000));
}

static void without_the_policy_all_is_heard(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;

	render(f, 0, UINT64_MAX, &s);
	assert_true(is_as_said(f, 0, 0, 12000));
	assert_true(is_as_said(f, 1, 10, 12000));
	assert_int_equal(s.masked.frames, 0);
}

static void ranges_are_of_the_masked_whole(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;

	f->config.mask_tones = true;
	render(f, 0, UINT64_MAX, &s);
	int16_t *whole = calloc(f->frames, 4);
	assert_non_null(whole);
	memcpy(whole, f->heard, f->frames * 4);
	for (uint32_t first = PRESSED_AT - 1000; first < PRESSED_AT + 2000; first += 299) {
		render(f, first, 1500, &s);
		assert_int_equal(f->frames, 1500);
		assert_memory_equal(f->heard, whole + (size_t)first * 2, (size_t)1500 * 4);
	}
	for (uint32_t first = 81000; first < 96000; first += 1999) { /* behind 10 s */
		render(f, first, 80, &s);
		assert_int_equal(f->frames, 80);
		assert_memory_equal(f->heard, whole + (size_t)first * 2, (size_t)80 * 4);
	}
	free(whole);
}

static void peaks_show_no_press(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;
	struct et_peak peaks[10];
	uint64_t frames;

	f->config.mask_tones = true;
	assert_int_equal(et_playback_peaks(&f->config, 7000, 7100, peaks, 10, &frames, &s, NULL),
			 0);
	assert_int_equal(frames, PRESSED);
	for (size_t i = 0; i < 10; i++) {
		assert_int_equal(peaks[i].low[0], 0);
		assert_int_equal(peaks[i].high[0], 0);
		assert_true(peaks[i].high[1] > 0);
	}
}

static void what_was_protected_is_masked_too(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;

	f->config.mask_tones = true;
	render(f, 0, UINT64_MAX, &s);
	assert_int_equal(s.streams_closed, 0);
	assert_true(is_silent(f, 0, 6980, 7120));
	assert_true(is_as_said(f, 0, 0, 6920));
	assert_true(is_as_said(f, 1, 10, 12000));
}

#define TEST(name, up) cmocka_unit_test_setup_teardown(name, up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(presses_are_silence_and_the_rest_is_as_it_was, set_up_pressed),
		TEST(without_the_policy_all_is_heard, set_up_pressed),
		TEST(ranges_are_of_the_masked_whole, set_up_pressed),
		TEST(peaks_show_no_press, set_up_pressed),
		TEST(what_was_protected_is_masked_too, set_up_pressed_protected),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
