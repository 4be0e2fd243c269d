/* Key presses in the audio that a rule drops: what reaches the tape, and what it says of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/capture/test/tones_kit.h"

/* ---- Presses --------------------------------------------------------------------------------- */

static void a_press_is_silence_on_the_tape_and_the_rest_is_what_was_sent(void **state)
{
	struct fixture *f = *state;
	const int64_t began_us = f->now_us;
	say(0, 0, 300);
	say_press(0, 0, &five, 1003 * MS, 80 * MS);
	say_press(0, 0, &five, 2000 * MS + 5, 40 * MS);
	send_all(f, 0, 0, 20);
	hang_up(f);
	assert_dropped(0, 0, (1003 - 20) * MS, 120 * MS);
	assert_dropped(0, 0, (2000 - 20) * MS, 80 * MS);
	assert_true(all_are(0, 0, 0, (1003 - 80) * MS, false));
	assert_true(all_are(0, 0, (1083 + 80) * MS, (2000 - 80) * MS, false));
	assert_true(all_are(0, 0, (2040 + 80) * MS, SAMPLES, false));

	/* Nothing else of a packet is another, and none is more or less. */
	assert_int_equal(tape.count, SAMPLES / 160);
	for (uint32_t i = 0; i < tape.count; i++) {
		assert_int_equal(tape.packets[i].sequence, i);
		assert_int_equal(tape.packets[i].timestamp, 1000000 + i * 160);
		assert_int_equal(tape.packets[i].time_us, began_us + (int64_t)i * 20000);
	}
	/* It is said where, and how many. */
	assert_int_equal(tape.mark_count, 4);
	assert_string_equal(tape.marks[0].cause, "tones: caller");
	assert_int_equal(tape.marks[0].to_us, 0);
	assert_int_equal(tape.marks[1].from_us, tape.marks[0].from_us);
	assert_true(tape.marks[1].from_us <= began_us + 983000);
	assert_true(tape.marks[1].to_us >= began_us + 1103000);
	assert_true(tape.marks[1].to_us - tape.marks[1].from_us <= 240000);
	uint32_t changed[2];
	assert_int_equal(sscanf(tape.marks[1].cause, "tones: caller, %u packets", &changed[0]), 1);
	assert_int_equal(sscanf(tape.marks[3].cause, "tones: caller, %u packets", &changed[1]), 1);
	assert_true(changed[0] >= 6 && changed[0] <= 12);
	const struct closed *c = &f->closed[0];
	assert_int_equal(c->streams[0].silenced, changed[0] + changed[1]);
	assert_int_equal(f->engine->tones_silenced, changed[0] + changed[1]);
	assert_int_equal(c->streams[0].packets, SAMPLES / 160);
	assert_int_equal(c->streams[0].lost, 0);
	assert_int_equal(f->engine->packets.rtp, SAMPLES / 160);
	assert_string_equal(c->facts.problem, "");
	assert_int_equal(c->facts.tones, ET_RULE_TONES_DROP);
}

/* Every key of 40 ms, at any phase in a packet, in both laws and all packet times. */
static void no_phase_of_a_packet_leaves_anything(void **state)
{
	struct fixture *f = *state;
	static const uint32_t times[] = { 5, 10, 20, 30, 40, 60, 80, 160 };
	for (uint32_t i = 0; i < ET_ARRAY_SIZE(times); i++) {
		for (uint32_t part = 0; part < 4; part++) {
			const uint8_t type = part % 2 == 0 ? 0 : 8;
			const uint32_t step = times[i] * MS / 4 + 1;
			memset(&tape, 0, sizeof(tape));
			say(0, type, 60);
			for (uint32_t k = 0; k < 9; k++) {
				const struct press p = { KEYS[(k + 9 * part) % 16], -12.0 - k,
							 -9.0 - k, k % 2 == 0 ? 0.015 : -0.015 };
				say_press(0, type, &p, (200 + 400 * k) * MS + part * step + k,
					  40 * MS);
			}
			send_all(f, 0, type, times[i]);
			f->now_us += 1000000;
			et_engine_clock(f->engine, f->now_us);
			for (uint32_t k = 0; k < 9; k++) {
				assert_dropped(0, type, (200 + 400 * k) * MS + part * step + k,
					       40 * MS);
			}
			assert_true(all_are(0, type, 0, 100 * MS, false));
			assert_true(all_are(0, type, 480 * MS, 500 * MS, false));
			f->now_us += 1000000;
		}
	}
	hang_up(f);
}

static void loud_faint_and_twisted_presses_are_dropped(void **state)
{
	struct fixture *f = *state;
	static const double levels[][2] = { { 0, 0 },	  { -40, -40 }, { -15, -5 }, { -15, -25 },
					    { -36, -42 }, { -6, 3 },	{ -30, -21 } };
	for (uint8_t type = 0; type <= 8; type += 8) {
		memset(&tape, 0, sizeof(tape));
		say(0, type, 20);
		for (uint32_t k = 0; k < ET_ARRAY_SIZE(levels); k++) {
			const struct press p = { "17#9D*0"[k], levels[k][0], levels[k][1], -0.01 };
			say_press(0, type, &p, (300 + 500 * k) * MS + 33, 40 * MS);
		}
		send_all(f, 0, type, 20);
		f->now_us += 1000000;
		et_engine_clock(f->engine, f->now_us);
		for (uint32_t k = 0; k < ET_ARRAY_SIZE(levels); k++) {
			assert_dropped(0, type, (300 + 500 * k) * MS + 33, 40 * MS);
		}
		f->now_us += 1000000;
	}
	hang_up(f);
}

/* Its echo in the other stream, under talk: alone that would be no key. */
static void an_echo_is_dropped_too(void **state)
{
	struct fixture *f = *state;
	const struct press echo = { '5', -38, -40, 0.01 };
	say(0, 0, 100);
	say(1, 0, 400);
	say_press(1, 0, &echo, 500 * MS, 100 * MS);
	say_press(0, 0, &five, 2000 * MS, 100 * MS);
	say_press(1, 0, &echo, 2150 * MS, 100 * MS);
	for (uint32_t n = 0; n < SAMPLES / 160; n++) {
		f->now_us += 20000;
		send_as(f, 0, 0, n, n * 160, 160);
		send_as(f, 1, 0, n, n * 160, 160);
	}
	hang_up(f);
	assert_dropped(0, 0, 2000 * MS, 100 * MS);
	assert_dropped(1, 0, 2160 * MS, 80 * MS);
	assert_true(all_are(1, 0, 0, 2000 * MS, false));
	assert_true(all_are(1, 0, 2800 * MS, SAMPLES, false));
}

/* ---- A network ------------------------------------------------------------------------------- */

/* Of 8 presses, with packets lost, late and twice. */
static void losses_and_late_packets_leave_nothing(void **state)
{
	struct fixture *f = *state;
	const int64_t began_us = f->now_us;
	uint64_t seed = 5;
	say(0, 0, 60);
	for (uint32_t k = 0; k < 8; k++) {
		const struct press p = { KEYS[k * 2], -8, -7, 0 };
		say_press(0, 0, &p, (300 + 400 * k) * MS + k * 21, 100 * MS);
	}
	uint32_t lost = 0;
	for (uint32_t n = 0; n < SAMPLES / 160; n++) {
		const uint32_t fate = (uint32_t)((noise_next(&seed) + 1) * 50); /* 0..99 */
		f->now_us = began_us + n * 20000;
		if (fate < 20) {
			lost++;
		} else if (fate < 35 && n > 6) { /* a gap first, and it comes behind others */
			send_as(f, 0, 0, n, n * 160, 160);
			send_as(f, 0, 0, n - 6, (n - 6) * 160, 160);
		} else if (fate < 45) {
			send_as(f, 0, 0, n, n * 160, 160);
			send_as(f, 0, 0, n, n * 160, 160);
		} else {
			send_as(f, 0, 0, n, n * 160, 160);
		}
	}
	hang_up(f);
	assert_true(lost > 20);
	for (uint32_t i = 0; i < tape.count; i++) {
		const uint32_t at = tape.packets[i].timestamp - 1000000;
		for (uint32_t n = 0; n < 160; n++) {
			const uint32_t k = (at + n) / (400 * MS);
			const uint32_t in = at + n - k * 400 * MS;
			const bool pressed =
				k < 8 && in >= 300 * MS + k * 21 && in < 400 * MS + k * 21;
			/* Of a press that lost its begin or end, less than 10 ms say nothing. */
			if (pressed && !is_silence(0, tape.packets[i].payload[n])) {
				fail_msg("%u.%03u s is on the tape", at / 8000, at % 8000 / 8);
			}
		}
	}
	assert_int_equal(f->closed[0].streams[0].packets, tape.count);
}

/* A packet that is alone is enough: 20 ms of two tones are a digit for who listens closely. */
static void a_packet_alone_between_lost_ones_is_dropped(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	say_press(0, 0, &five, 1000 * MS, 60 * MS);
	for (uint32_t n = 0; n < SAMPLES / 160; n++) {
		f->now_us += 20000;
		if (n != 50 && n != 52 && n != 49 && n != 53) {
			send_as(f, 0, 0, n, n * 160, 160);
		}
	}
	hang_up(f);
	assert_dropped(0, 0, 1020 * MS, 20 * MS);
}

/* Late by 100 ms: what was before it is on the tape by then. */
static void a_late_packet_of_a_press_is_dropped(void **state)
{
	struct fixture *f = *state;
	say(0, 8, 60);
	say_press(0, 8, &five, 1000 * MS, 100 * MS);
	for (uint32_t n = 0; n < SAMPLES / 160; n++) {
		f->now_us += 20000;
		if (n != 52) {
			send_as(f, 0, 8, n, n * 160, 160);
		}
		if (n == 57) {
			send_as(f, 0, 8, 52, 52 * 160, 160);
		}
		if (n == 120) { /* far behind: by itself */
			send_as(f, 0, 8, 52, 52 * 160, 160);
		}
	}
	hang_up(f);
	uint32_t copies = 0;
	for (uint32_t i = 0; i < tape.count; i++) {
		copies += tape.packets[i].sequence == 52;
		assert_true(tape.packets[i].sequence != 52 ||
			    is_silence(8, tape.packets[i].payload[80]));
	}
	assert_int_equal(copies, 2);
	assert_true(all_are(0, 8, 0, 900 * MS, false));
}

/* The sender goes on with other timestamps in the midst of a press. */
static void a_jump_of_the_timestamp_hides_nothing(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	say_press(0, 0, &five, 1000 * MS, 100 * MS);
	for (uint32_t n = 0; n < SAMPLES / 160; n++) {
		uint8_t p[172] = { 0x80, 0 };
		f->now_us += 20000;
		et_put16(p + 2, (uint16_t)n);
		et_put32(p + 4, n * 160 + (n >= 52 ? 3000000000U : 0));
		et_put32(p + 8, 0xA);
		memcpy(p + 12, said[0] + n * 160, 160);
		datagram(f, 1, 4000, 2, 4000, p, sizeof(p));
	}
	hang_up(f);
	for (uint32_t n = 0; n < tape.count; n++) {
		const bool pressed = n >= 50 && n < 55;
		assert_int_equal(tape.packets[n].sequence, n);
		if (pressed || n < 45 || n > 60) {
			assert_int_equal(is_silence(0, tape.packets[n].payload[80]), pressed);
		}
	}
}

/* Always the same timestamp: each packet is heard by itself. */
static void a_timestamp_that_stands_still_hides_nothing(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	say_press(0, 0, &five, 1000 * MS, 100 * MS);
	for (uint32_t n = 0; n < SAMPLES / 160; n++) {
		uint8_t p[172] = { 0x80, 0 };
		f->now_us += 20000;
		et_put16(p + 2, (uint16_t)n);
		et_put32(p + 8, 0xA);
		memcpy(p + 12, said[0] + n * 160, 160);
		datagram(f, 1, 4000, 2, 4000, p, sizeof(p));
	}
	hang_up(f);
	assert_int_equal(tape.count, SAMPLES / 160);
	for (uint32_t n = 50; n < 55; n++) {
		assert_true(is_silence(0, tape.packets[n].payload[80]));
	}
	assert_memory_equal(tape.packets[40].payload, said[0] + 40 * 160, 160);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TONES(a_press_is_silence_on_the_tape_and_the_rest_is_what_was_sent),
		TONES(no_phase_of_a_packet_leaves_anything),
		TONES(loud_faint_and_twisted_presses_are_dropped),
		TONES(an_echo_is_dropped_too),
		TONES(losses_and_late_packets_leave_nothing),
		TONES(a_packet_alone_between_lost_ones_is_dropped),
		TONES(a_late_packet_of_a_press_is_dropped),
		TONES(a_jump_of_the_timestamp_hides_nothing),
		TONES(a_timestamp_that_stands_still_hides_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
