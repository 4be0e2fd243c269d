/* Audio with key presses in it, said to an engine whose rule drops them, and what of it reached the
 * tape. */
#ifndef ET_NODE_CAPTURE_TEST_TONES_KIT_H
#define ET_NODE_CAPTURE_TEST_TONES_KIT_H

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

static inline int write_media(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
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

static inline int write_meta(void *arg, uint32_t slot, struct et_view plain)
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
static inline double peak_of(double dbm0)
{
	return 32124 / pow(10, (3.17 - dbm0) / 20);
}

static inline double press_sample(const struct press *p, uint32_t n)
{
	static const double hz[2][4] = { { 697, 770, 852, 941 }, { 1209, 1336, 1477, 1633 } };
	const size_t at = (size_t)(strchr(KEYS, p->key) - KEYS);
	const double t = 2 * M_PI * n / 8000 * (1 + p->off);
	return peak_of(p->row_dbm0) * sin(t * hz[0][at / 4]) +
	       peak_of(p->column_dbm0) * sin(t * hz[1][at % 4] + 1);
}

static inline double noise_next(uint64_t *state) /* -1 to 1 */
{
	*state = *state * 6364136223846793005U + 1442695040888963407U;
	return (double)(*state >> 33) / (double)(1U << 30) - 1;
}

static struct et_rules rules;
static uint8_t said[2][SAMPLES]; /* as codes, of both streams */

static inline uint8_t code_of(uint8_t type, double v)
{
	v = v > 32767 ? 32767 : v < -32768 ? -32768 : v;
	return type == 8 ? et_alaw_encode((int16_t)v) : et_ulaw_encode((int16_t)v);
}

static inline bool is_silence(uint8_t type, uint8_t code)
{
	return code == (type == 8 ? 0xD5 : 0xFF);
}

/* A noise of that peak, never silent for long; with a press in it. */
static inline void say(uint32_t side, uint8_t type, double peak)
{
	uint64_t seed = side + 77;
	for (uint32_t n = 0; n < SAMPLES; n++) {
		const uint8_t code = code_of(type, noise_next(&seed) * peak);
		said[side][n] = is_silence(type, code) ? code_of(type, 16) : code;
	}
}

static inline void say_press(uint32_t side, uint8_t type, const struct press *p, uint32_t from,
			     uint32_t size)
{
	for (uint32_t n = 0; n < size; n++) {
		const double beside = type == 8 ? et_alaw_decode(said[side][from + n])
						: et_ulaw_decode(said[side][from + n]);
		const uint8_t code = code_of(type, beside + press_sample(p, n));
		said[side][from + n] = is_silence(type, code) ? code_of(type, 16) : code;
	}
}

static inline int set_up_tones(void **state)
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

static inline void send_as(struct fixture *f, uint32_t side, uint8_t type, uint32_t number,
			   uint32_t from, uint32_t size)
{
	uint8_t p[12 + 1400] = { 0x80, type };
	et_put16(p + 2, (uint16_t)number);
	et_put32(p + 4, 1000000 + from);
	et_put32(p + 8, side == 0 ? 0xA : 0xB);
	memcpy(p + 12, said[side] + from, size);
	datagram(f, side == 0 ? 1 : 2, 4000, side == 0 ? 2 : 1, 4000, p, 12 + size);
}

/* All of it, in packets of that many ms. */
static inline void send_all(struct fixture *f, uint32_t side, uint8_t type, uint32_t ms)
{
	const int64_t began_us = f->now_us;
	for (uint32_t n = 0; (n + 1) * ms * MS <= SAMPLES; n++) {
		f->now_us = began_us + (int64_t)n * ms * 1000;
		send_as(f, side, type, n, n * ms * MS, ms * MS);
	}
	f->now_us += 1000;
}

static inline void hang_up(struct fixture *f)
{
	bye(f, "1");
	wait_s(f, 40);
	assert_int_equal(f->closed_count, 1);
}

/* [from, to) in samples: silent on the tape, or what was said; what the tape does not have is
 * neither. */
static inline bool all_are(uint32_t stream, uint8_t type, uint32_t from, uint32_t to, bool silent)
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

static inline void assert_dropped(uint32_t stream, uint8_t type, uint32_t from, uint32_t size)
{
	assert_true(all_are(stream, type, from, from + size, true));
}

static const struct press five = { '5', -10, -8, 0.01 };

#define TONES(name) cmocka_unit_test_setup_teardown(name, set_up_tones, tear_down)

#endif
