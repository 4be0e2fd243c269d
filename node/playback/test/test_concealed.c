/* Recordings with losses, as they are heard when these are concealed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "node/playback/test/playback_fixture.h"

enum {
	RATE = 8000,
	ALL = SEGMENTS * PER_SEGMENT,
	PAUSED = 115,	/* packets of both, of a pause of 100 ms */
	DROPPED = 165,	/* of the caller: a key press that was not written */
	EVENT = 215,	/* of the caller: events took their numbers */
	REDACTED = 265, /* of both */
	SPAN = 5,
	OUTAGE = 315, /* of both, 1.2 s */
	OUTAGE_SPAN = 60,
};

static bool is_of(uint32_t n, uint32_t from, uint32_t span)
{
	return n >= from && n < from + span;
}

/* Two in a row at each second's begin, but for the first, were lost on their way. */
static bool is_lost(uint32_t n)
{
	return n >= 50 && n % 50 < 2 && !is_of(n, OUTAGE, OUTAGE_SPAN);
}

static bool loses(unsigned party, uint32_t n)
{
	return is_lost(n) || is_of(n, PAUSED, SPAN) || is_of(n, REDACTED, SPAN) ||
	       is_of(n, OUTAGE, OUTAGE_SPAN) ||
	       (party == 0 && (is_of(n, DROPPED, SPAN) || is_of(n, EVENT, SPAN)));
}

static void put_mark(struct et_tape *t, uint32_t t_ms, uint8_t what, uint32_t from, uint32_t to)
{
	struct et_buffer meta = { 0 };
	struct et_meta_item item = { .type = ET_META_MARK };

	item.mark.what = what;
	item.mark.from_us = T0_US + from * INT64_C(20000);
	item.mark.to_us = to != 0 ? T0_US + to * INT64_C(20000) : 0;
	item.mark.cause = et_view_of(what == ET_MARK_DROPPED ? ET_MARK_DIGIT_EVENT : "test");
	assert_int_equal(et_meta_add(&meta, &item), 0);
	assert_int_equal(et_tape_append(t, ET_TAPE_META, t_ms, meta.data, meta.size, NULL), 0);
	et_buffer_release(&meta);
}

static void put_events(struct et_tape *t, uint32_t t_ms)
{
	struct et_media_encoder e = { 0 };

	for (uint32_t n = EVENT; n < EVENT + SPAN; n++) {
		const uint8_t event[4] = { 5, 10, 0, 160 };
		const struct et_media_packet p = {
			.stream = 0,
			.payload_type = 101,
			.sequence = (uint16_t)n,
			.timestamp = EVENT * PTIME,
			.arrival_us = T0_US + n * INT64_C(20000),
			.payload = { event, sizeof(event) },
		};
		assert_int_equal(et_media_encoder_add(&e, &p, ET_TAPE_PLAIN_MAX), 0);
	}
	assert_int_equal(et_tape_append(t, ET_TAPE_MEDIA, t_ms, e.plain.data, e.plain.size, NULL),
			 0);
	et_media_encoder_release(&e);
}

static void tell(struct et_tape *t, uint32_t second, uint32_t t_ms)
{
	if (second == PAUSED / 50) {
		put_mark(t, t_ms, ET_MARK_PAUSE, PAUSED, 0);
		put_mark(t, t_ms, ET_MARK_RESUME, PAUSED + SPAN, 0);
	}
	if (second == DROPPED / 50) {
		put_mark(t, t_ms, ET_MARK_DROPPED, DROPPED, 0);
	}
	if (second == EVENT / 50) {
		put_events(t, t_ms);
	}
	if (second == 2 * SECONDS - 1) { /* behind all of its segment */
		put_mark(t, t_ms, ET_MARK_REDACTED, REDACTED, REDACTED + SPAN);
	}
}

/* The caller presses 5 while packets 450 to 452 should have come. */
static uint8_t say(unsigned party, uint32_t n)
{
	return party == 0 && n / PTIME >= 447 && n / PTIME < 456
		       ? et_ulaw_encode((int16_t)(9000 * sin(2 * M_PI * 770 * n / RATE) +
						  7000 * sin(2 * M_PI * 1336 * n / RATE)))
		       : said(party, n);
}

static int set_up_lossy(void **state)
{
	struct fixture *f = fixture_new(false, false);

	f->loses = loses;
	f->behind = tell;
	f->say = say;
	return fixture_fill(f, state);
}

static void render(struct fixture *f, uint64_t first, uint64_t count,
		   struct et_playback_summary *ret)
{
	f->frames = 0;
	assert_int_equal(et_playback_render(&f->config, first, count, hear, f, ret, NULL), 0);
}

/* Where packet n of the party is heard. */
static size_t frame_of(unsigned party, uint32_t n)
{
	return (size_t)n * PTIME + party * 80;
}

static bool is_silent(const struct fixture *f, unsigned party, uint32_t n)
{
	for (size_t i = frame_of(party, n); i < frame_of(party, n + 1); i++) {
		if (f->heard[2 * i + party] != 0) {
			return false;
		}
	}
	return true;
}

static bool is_as_said(const struct fixture *f, unsigned party, uint32_t n)
{
	for (uint32_t i = 0; i < PTIME; i++) {
		const uint8_t code = say(party, n * PTIME + i);
		const int16_t sample = party == 0 ? et_ulaw_decode(code) : et_alaw_decode(code);
		if (f->heard[2 * (frame_of(party, n) + i) + party] != sample) {
			return false;
		}
	}
	return true;
}

static void without_being_asked_nothing_is_made_up(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;

	render(f, 0, UINT64_MAX, &s);
	assert_int_equal(s.concealed, 0);
	for (uint32_t n = 0; n < ALL; n++) {
		for (unsigned party = 0; party < 2; party++) {
			assert_true(loses(party, n) ? is_silent(f, party, n)
						    : is_as_said(f, party, n));
		}
	}
}

static void what_was_lost_is_made_up_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;
	uint64_t lost = 0;

	f->config.conceal = true;
	render(f, 0, UINT64_MAX, &s);
	assert_int_equal(s.frames, ALL * PTIME + 80);
	for (uint32_t n = 0; n < ALL; n++) {
		for (unsigned party = 0; party < 2; party++) {
			if (!loses(party, n)) {
				assert_true(is_as_said(f, party, n));
				continue;
			}
			lost += is_lost(n) ? PTIME : 0;
			assert_int_equal(is_silent(f, party, n), !is_lost(n));
		}
	}
	assert_int_equal(s.concealed, lost);
	assert_int_equal(s.mix.concealed, lost);
}

static void ranges_are_of_the_concealed_whole(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;

	f->config.conceal = true;
	for (int masked = 0; masked < 2; masked++) {
		f->config.mask_tones = masked != 0;
		render(f, 0, UINT64_MAX, &s);
		int16_t *whole = calloc(f->frames, 4);
		assert_non_null(whole);
		memcpy(whole, f->heard, f->frames * 4);
		uint64_t all = 0;
		for (uint32_t first = 0; first < ALL * PTIME; first += 6400) {
			render(f, first, 6400, &s);
			assert_memory_equal(f->heard, whole + (size_t)first * 2, f->frames * 4);
			all += s.concealed;
		}
		render(f, 0, UINT64_MAX, &s);
		assert_int_equal(all, s.concealed);
		free(whole);
	}
}

static void of_a_masked_press_nothing_is_made_up(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;

	f->config.conceal = true;
	render(f, 0, UINT64_MAX, &s);
	const uint64_t unmasked = s.concealed;
	assert_false(is_silent(f, 0, 450));
	f->config.mask_tones = true;
	render(f, 0, UINT64_MAX, &s);
	for (uint32_t n = 447; n < 456; n++) {
		assert_true(is_silent(f, 0, n));
	}
	assert_false(is_silent(f, 1, 450));
	assert_true(s.concealed < unmasked);
	assert_int_equal(s.mix.concealed, unmasked);

	/* What came is as it is without. */
	int16_t *made = calloc(f->frames, 4);
	assert_non_null(made);
	memcpy(made, f->heard, f->frames * 4);
	f->config.conceal = false;
	render(f, 0, UINT64_MAX, &s);
	for (uint32_t n = 0; n < ALL; n++) {
		for (unsigned party = 0; party < 2; party++) {
			const size_t from = frame_of(party, n);
			for (size_t i = from; i < from + PTIME && !is_lost(n); i++) {
				assert_int_equal(made[2 * i + party], f->heard[2 * i + party]);
			}
		}
	}
	free(made);
}

static void the_survey_and_peaks_are_of_what_came(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;
	struct et_peak peak;
	uint64_t frames;

	f->config.conceal = true;
	assert_int_equal(et_playback_survey(&f->config, &s, NULL), 0);
	assert_int_equal(s.frames, ALL * PTIME + 80);
	assert_int_equal(et_playback_peaks(&f->config, 2010, 2030, &peak, 1, &frames, &s, NULL), 0);
	assert_int_equal(peak.low[0], 0);
	assert_int_equal(peak.high[0], 0);
	assert_int_equal(s.concealed, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_lossy, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_being_asked_nothing_is_made_up),
		TEST(what_was_lost_is_made_up_and_nothing_else),
		TEST(ranges_are_of_the_concealed_whole),
		TEST(of_a_masked_press_nothing_is_made_up),
		TEST(the_survey_and_peaks_are_of_what_came),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
