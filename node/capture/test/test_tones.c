/* Key presses in the audio that a rule drops: what reaches the tape, and what it says of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "node/audio/codec.h"
#include "node/capture/test/engine_kit.h"
#include "node/tape/meta.h"

enum { MS = 8, SAMPLES = 4000 * MS, PACKETS = 1024, MARKS = 64 };

/* What reached the sink. */
static struct {
	uint32_t count;
	struct {
		uint32_t stream;
		uint16_t sequence;
		uint32_t timestamp;
		uint8_t payload_type;
		int64_t time_us;
		uint32_t size;
		uint8_t payload[1400];
	} packets[PACKETS];
	uint32_t mark_count;
	struct {
		int64_t from_us;
		int64_t to_us;
		char cause[64];
	} marks[MARKS];
} tape;

static int write_media(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
		       const struct et_packet *p)
{
	(void)slot;
	(void)arg;
	assert_true(tape.count < PACKETS);
	assert_true(rtp->payload >= p->payload &&
		    rtp->payload + rtp->payload_size <= p->payload + p->size);
	assert_true(rtp->payload_size <= sizeof(tape.packets[0].payload));
	tape.packets[tape.count].stream = stream;
	tape.packets[tape.count].sequence = rtp->sequence;
	tape.packets[tape.count].timestamp = rtp->timestamp;
	tape.packets[tape.count].payload_type = rtp->payload_type;
	tape.packets[tape.count].time_us = p->time_us;
	tape.packets[tape.count].size = rtp->payload_size;
	memcpy(tape.packets[tape.count++].payload, rtp->payload, rtp->payload_size);
	return 0;
}

static int write_meta(void *arg, uint32_t slot, struct et_view plain)
{
	struct et_meta_reader r;
	struct et_meta_item item;
	(void)arg;
	(void)slot;
	assert_int_equal(et_meta_reader_init(&r, plain, NULL), 0);
	while (et_meta_reader_next(&r, &item, NULL) == 1) {
		if (item.type != ET_META_MARK || item.mark.what != ET_MARK_DROPPED) {
			continue;
		}
		assert_true(tape.mark_count < MARKS);
		tape.marks[tape.mark_count].from_us = item.mark.from_us;
		tape.marks[tape.mark_count].to_us = item.mark.to_us;
		(void)snprintf(tape.marks[tape.mark_count++].cause, 64, "%.*s",
			       (int)item.mark.cause.size, (const char *)item.mark.cause.data);
	}
	return 0;
}

/* ---- What is said ---------------------------------------------------------------------------- */

#define KEYS "123A456B789C*0#D"

struct press {
	char key;
	double row_dbm0;
	double column_dbm0;
	double off; /* of both frequencies: 0.015 is 1.5 % above */
};

/* The peak of a sine of so many dBm0: that of 3.17 dBm0 is 32124 (G.711). */
static double peak_of(double dbm0)
{
	return 32124 / pow(10, (3.17 - dbm0) / 20);
}

static double press_sample(const struct press *p, uint32_t n)
{
	static const double hz[2][4] = { { 697, 770, 852, 941 }, { 1209, 1336, 1477, 1633 } };
	const size_t at = (size_t)(strchr(KEYS, p->key) - KEYS);
	const double t = 2 * M_PI * n / 8000 * (1 + p->off);
	return peak_of(p->row_dbm0) * sin(t * hz[0][at / 4]) +
	       peak_of(p->column_dbm0) * sin(t * hz[1][at % 4] + 1);
}

static double noise_next(uint64_t *state) /* -1 to 1 */
{
	*state = *state * 6364136223846793005U + 1442695040888963407U;
	return (double)(*state >> 33) / (double)(1U << 30) - 1;
}

static struct et_rules rules;
static uint8_t said[2][SAMPLES]; /* as codes, of both streams */

static uint8_t code_of(uint8_t type, double v)
{
	v = v > 32767 ? 32767 : v < -32768 ? -32768 : v;
	return type == 8 ? et_alaw_encode((int16_t)v) : et_ulaw_encode((int16_t)v);
}

static bool is_silence(uint8_t type, uint8_t code)
{
	return code == (type == 8 ? 0xD5 : 0xFF);
}

/* A noise of that peak, never silent for long; with a press in it. */
static void say(uint32_t side, uint8_t type, double peak)
{
	uint64_t seed = side + 77;
	for (uint32_t n = 0; n < SAMPLES; n++) {
		const uint8_t code = code_of(type, noise_next(&seed) * peak);
		said[side][n] = is_silence(type, code) ? code_of(type, 16) : code;
	}
}

static void say_press(uint32_t side, uint8_t type, const struct press *p, uint32_t from,
		      uint32_t size)
{
	for (uint32_t n = 0; n < size; n++) {
		const double beside = type == 8 ? et_alaw_decode(said[side][from + n])
						: et_ulaw_decode(said[side][from + n]);
		const uint8_t code = code_of(type, beside + press_sample(p, n));
		said[side][from + n] = is_silence(type, code) ? code_of(type, 16) : code;
	}
}

static int set_up_tones(void **state)
{
	if (set_up(state) != 0) {
		return -1;
	}
	struct fixture *f = *state;
	rules = (struct et_rules){ .otherwise = ET_RULE_RECORD, .tones = ET_RULE_TONES_DROP };
	f->config.rules = &rules;
	make_again(f);
	memset(&tape, 0, sizeof(tape));
	f->engine->sink.media = write_media;
	f->engine->sink.meta = write_meta;
	answered(f, "1", 4000);
	return 0;
}

static void send_as(struct fixture *f, uint32_t side, uint8_t type, uint32_t number, uint32_t from,
		    uint32_t size)
{
	uint8_t p[12 + 1400] = { 0x80, type };
	et_put16(p + 2, (uint16_t)number);
	et_put32(p + 4, 1000000 + from);
	et_put32(p + 8, side == 0 ? 0xA : 0xB);
	memcpy(p + 12, said[side] + from, size);
	datagram(f, side == 0 ? 1 : 2, 4000, side == 0 ? 2 : 1, 4000, p, 12 + size);
}

/* All of it, in packets of that many ms. */
static void send_all(struct fixture *f, uint32_t side, uint8_t type, uint32_t ms)
{
	const int64_t began_us = f->now_us;
	for (uint32_t n = 0; (n + 1) * ms * MS <= SAMPLES; n++) {
		f->now_us = began_us + (int64_t)n * ms * 1000;
		send_as(f, side, type, n, n * ms * MS, ms * MS);
	}
	f->now_us += 1000;
}

static void hang_up(struct fixture *f)
{
	bye(f, "1");
	wait_s(f, 40);
	assert_int_equal(f->closed_count, 1);
}

/* [from, to) in samples: silent on the tape, or what was said; what the tape does not have is
 * neither. */
static bool all_are(uint32_t stream, uint8_t type, uint32_t from, uint32_t to, bool silent)
{
	uint32_t seen = 0;
	for (uint32_t i = 0; i < tape.count; i++) {
		const uint32_t at = tape.packets[i].timestamp - 1000000;
		for (uint32_t n = 0; n < tape.packets[i].size; n++) {
			const uint8_t code = tape.packets[i].payload[n];
			if (tape.packets[i].stream != stream || at + n < from || at + n >= to) {
				continue;
			}
			seen++;
			if (silent ? !is_silence(type, code) : code != said[stream][at + n]) {
				return false;
			}
		}
	}
	return seen == to - from;
}

static void assert_dropped(uint32_t stream, uint8_t type, uint32_t from, uint32_t size)
{
	assert_true(all_are(stream, type, from, from + size, true));
}

static const struct press five = { '5', -10, -8, 0.01 };

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

/* ---- What is held ---------------------------------------------------------------------------- */

static void what_is_held_is_bounded_and_goes_out_when_nothing_follows(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	for (uint32_t n = 0; n < 50; n++) {
		f->now_us += 20000;
		send_as(f, 0, 0, n, n * 160, 160);
		if (n > 10) {
			assert_in_range(n + 1 - tape.count, 4, 8); /* 80 to 160 ms */
		}
	}
	assert_true(f->engine->slots[0]->opened); /* since the first */
	for (int i = 0; i < 4; i++) {
		f->now_us += 250000;
		et_engine_clock(f->engine, f->now_us);
	}
	assert_int_equal(tape.count, 50);
	assert_memory_equal(tape.packets[49].payload, said[0] + 49 * 160, 160);

	/* A sample a packet: 64 are enough. */
	for (uint32_t n = 0; n < 900; n++) {
		send_as(f, 0, 0, 50 + n, 8000 + n, 1);
		assert_true(50 + n + 1 - tape.count <= 64);
	}
	hang_up(f);
	assert_int_equal(tape.count, 950);
	assert_int_equal(f->engine->media_dropped, 0);
}

static void a_press_at_the_end_of_what_came_is_dropped(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	say_press(0, 0, &five, 960 * MS, 60 * MS);
	for (uint32_t n = 0; n < 50; n++) { /* 40 ms of it */
		f->now_us += 20000;
		send_as(f, 0, 0, n, n * 160, 160);
	}
	for (int i = 0; i < 4; i++) {
		f->now_us += 250000;
		et_engine_clock(f->engine, f->now_us);
	}
	assert_int_equal(tape.count, 50);
	assert_dropped(0, 0, 960 * MS, 40 * MS);
	hang_up(f);
	assert_int_equal(tape.mark_count, 2);
}

/* What arrived before a pause stands before it. */
static void a_pause_waits_for_nothing(void **state)
{
	struct fixture *f = *state;
	struct et_capture_pause pause;
	say(0, 0, 60);
	for (uint32_t n = 0; n < 10; n++) {
		f->now_us += 20000;
		send_as(f, 0, 0, n, n * 160, 160);
	}
	const struct et_call *c = f->engine->slots[0];
	et_engine_clock(f->engine, f->now_us + 1);
	assert_int_equal(et_engine_pause(f->engine, c->facts.id, true, "card", 0, &pause), 0);
	assert_int_equal(tape.count, 10);
	hang_up(f);
	assert_int_equal(f->closed[0].streams[0].packets, 10);
}

/* The recorder is stopped, not the call: nothing is lost; and after that it goes on so. */
static void a_stop_and_a_start_keep_the_promise(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	say_press(0, 0, &five, 500 * MS, 60 * MS);
	for (uint32_t n = 0; n < 50; n++) {
		f->now_us += 20000;
		send_as(f, 0, 0, n, n * 160, 160);
	}
	et_engine_finish(f->engine, false);
	assert_int_equal(tape.count, 50);
	rules.tones = ET_RULE_TONES_KEEP; /* it was promised to this call */
	restart(f, 20000);
	f->engine->sink.media = write_media;
	f->engine->sink.meta = write_meta;
	say_press(0, 0, &five, 2000 * MS, 60 * MS);
	for (uint32_t n = 50; n < 150; n++) {
		f->now_us += 20000;
		send_as(f, 0, 0, n, n * 160, 160);
	}
	hang_up(f);
	assert_int_equal(tape.count, 150);
	for (uint32_t i = 100; i < 103; i++) {
		assert_true(is_silence(0, tape.packets[i].payload[80]));
	}
	assert_int_equal(f->closed[0].count, 2); /* of before and after */
	assert_true(f->closed[0].streams[0].silenced >= 3);
	assert_true(f->closed[0].streams[1].silenced >= 3);
}

/* Its digits are on the tape, from before: the recording says so at its end, too. */
static void a_restart_does_not_forget_that_it_could_not(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	send_as(f, 0, 0, 0, 0, 160);
	f->engine->table_changed = false;
	send_as(f, 0, 9, 1, 160, 160); /* G.722 */
	assert_true(f->engine->table_changed);
	restart(f, 20000);
	hang_up(f);
	assert_string_equal(
		f->closed[0].facts.problem,
		"key presses cannot be dropped from its codec (cannot_drop): masked when "
		"heard");
}

static int no_room(void *arg, uint32_t slot, const struct et_facts *facts, bool restored)
{
	(void)arg;
	(void)slot;
	(void)facts;
	(void)restored;
	return ET_ELIMIT;
}

/* The sink has no room for it, and a header that comes late says that another rule fires. */
static void what_is_held_goes_out_when_the_rule_changes(void **state)
{
	struct fixture *f = *state;
	bye(f, "1");
	wait_s(f, 3);
	f->closed_count = 0;
	rules.count = 1;
	rules.rules[0] = (struct et_rule){
		.name = "all",
		.action = ET_RULE_RECORD,
		.tones = ET_RULE_TONES_KEEP,
		.header_count = 1,
		.headers = { { .name = "Contact", .value = "*alice*" } },
	};
	make_again(f);
	f->engine->sink.media = write_media;
	f->engine->sink.meta = write_meta;
	f->engine->sink.open = no_room;
	sip(f, false, "SIP/2.0 200 OK", "2", "1 INVITE", "ab", 2, 4000);
	say(0, 0, 60);
	for (uint32_t n = 0; n < 3; n++) {
		f->now_us += 20000;
		send_as(f, 0, 0, n, n * 160, 160);
	}
	assert_int_equal(tape.count, 0);
	f->engine->sink.open = sink_open;
	sip(f, true, "INVITE sip:bob@x SIP/2.0\r\nContact: <sip:alice@10.0.0.1>", "2", "2 INVITE",
	    "ab", 1, 4000);
	assert_int_equal(tape.count, 3);
	bye(f, "2");
	wait_s(f, 40);
	assert_int_equal(f->closed[0].streams[0].packets, tape.count);
}

/* Packets that waited until a description named them are heard, too, though they are old. */
static void what_came_before_its_description_is_heard(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	say_press(0, 0, &five, 100 * MS, 60 * MS);
	for (uint32_t n = 0; n < 50; n++) {
		uint8_t p[172] = { 0x80, 0 };
		f->now_us += 20000;
		et_put16(p + 2, (uint16_t)n);
		et_put32(p + 4, 1000000 + n * 160);
		et_put32(p + 8, 0xC);
		memcpy(p + 12, said[0] + n * 160, 160);
		datagram(f, 3, 6000, 4, 6000, p, sizeof(p));
	}
	assert_int_equal(tape.count, 0);
	wait_s(f, 40); /* a call without signalling */
	assert_int_equal(tape.count, 50);
	assert_dropped(0, 0, 100 * MS, 60 * MS);
	assert_true(all_are(0, 0, 300 * MS, 1000 * MS, false));
}

/* An event between waits for its turn; the tape has all in the order of arrival. */
static void events_keep_their_place(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	for (uint32_t n = 0; n < 100; n++) {
		f->now_us += 20000;
		if (n % 3 == 1) {
			uint8_t p[16] = { 0x80, 101 };
			et_put16(p + 2, (uint16_t)n);
			et_put32(p + 4, 1000000 + n * 160);
			et_put32(p + 8, 0xA);
			datagram(f, 1, 4000, 2, 4000, p, sizeof(p));
		} else {
			send_as(f, 0, 0, n, n * 160, 160);
		}
	}
	hang_up(f);
	assert_int_equal(tape.count, 100);
	for (uint32_t n = 0; n < 100; n++) {
		assert_int_equal(tape.packets[n].sequence, n);
		assert_int_equal(tape.packets[n].payload_type, n % 3 == 1 ? 101 : 0);
	}
	assert_string_equal(f->closed[0].facts.problem, "");
}

/* ---- Where it cannot be done ----------------------------------------------------------------- */

static void other_codecs_say_that_they_cannot(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	for (uint32_t n = 0; n < 60; n++) {
		f->now_us += 20000;
		send_as(f, 0, n < 30 ? 0 : 9, n, n * 160, 160); /* G.722 from there on */
	}
	assert_int_equal(tape.count, 60); /* and the others before it */
	for (uint32_t n = 0; n < 60; n++) {
		assert_int_equal(tape.packets[n].sequence, n);
		assert_memory_equal(tape.packets[n].payload, said[0] + n * 160, 160);
	}
	hang_up(f);
	assert_string_equal(
		f->closed[0].facts.problem,
		"key presses cannot be dropped from its codec (cannot_drop): masked when "
		"heard");
	assert_int_equal(f->engine->tones_cannot, 1);
}

static void strict_does_not_write_them(void **state)
{
	struct fixture *f = *state;
	bye(f, "1");
	wait_s(f, 3);
	rules.tones = ET_RULE_TONES_STRICT;
	make_again(f);
	f->closed_count = 0;
	f->engine->sink.media = write_media;
	f->engine->sink.meta = write_meta;
	answered(f, "2", 4000);
	say(0, 0, 60);
	for (uint32_t n = 0; n < 60; n++) {
		f->now_us += 20000;
		send_as(f, 0, n < 30 ? 0 : 9, n, n * 160, 160);
	}
	bye(f, "2");
	wait_s(f, 40);
	assert_int_equal(tape.count, 30);
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_RTP_TONES], 30);
	assert_int_equal(f->closed[0].streams[0].packets, 30);
	assert_int_equal(f->closed[0].streams[0].lost, 0);
	assert_string_equal(
		f->closed[0].facts.problem,
		"key presses cannot be dropped from its codec (cannot_drop): not written");
}

static void packets_that_are_too_long_say_so(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	send_as(f, 0, 0, 0, 0, 1280); /* 160 ms */
	assert_null(f->engine->slots[0]->cannot_drop);
	send_as(f, 0, 0, 1, 1280, 1281);
	assert_string_equal(f->engine->slots[0]->cannot_drop, "its packets");
	assert_int_equal(tape.count, 2);
	hang_up(f);
}

static void which_sound_it_is(void **state)
{
	(void)state;
	assert_int_equal(et_tones_sound("PCMU", 8000, 1), ET_SOUND_ULAW);
	assert_int_equal(et_tones_sound("pcma", 8000, 1), ET_SOUND_ALAW);
	assert_int_equal(et_tones_sound("PCMA", 16000, 1), ET_SOUND_OTHER);
	assert_int_equal(et_tones_sound("PCMU", 8000, 2), ET_SOUND_OTHER);
	assert_int_equal(et_tones_sound("G722", 8000, 1), ET_SOUND_OTHER);
	assert_int_equal(et_tones_sound("", 0, 1), ET_SOUND_OTHER);
	assert_int_equal(et_tones_sound("tone", 8000, 1), ET_SOUND_OTHER);
	assert_int_equal(et_tones_sound("CN", 16000, 1), ET_SOUND_NONE);
	assert_int_equal(et_tones_sound("telephone-event", 48000, 1), ET_SOUND_NONE);
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_tones, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_press_is_silence_on_the_tape_and_the_rest_is_what_was_sent),
		TEST(no_phase_of_a_packet_leaves_anything),
		TEST(loud_faint_and_twisted_presses_are_dropped),
		TEST(an_echo_is_dropped_too),
		TEST(losses_and_late_packets_leave_nothing),
		TEST(a_packet_alone_between_lost_ones_is_dropped),
		TEST(a_late_packet_of_a_press_is_dropped),
		TEST(a_jump_of_the_timestamp_hides_nothing),
		TEST(a_timestamp_that_stands_still_hides_nothing),
		TEST(what_is_held_is_bounded_and_goes_out_when_nothing_follows),
		TEST(a_press_at_the_end_of_what_came_is_dropped),
		TEST(a_pause_waits_for_nothing),
		TEST(a_stop_and_a_start_keep_the_promise),
		TEST(a_restart_does_not_forget_that_it_could_not),
		TEST(what_is_held_goes_out_when_the_rule_changes),
		TEST(what_came_before_its_description_is_heard),
		TEST(events_keep_their_place),
		TEST(other_codecs_say_that_they_cannot),
		TEST(strict_does_not_write_them),
		TEST(packets_that_are_too_long_say_so),
		cmocka_unit_test(which_sound_it_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
