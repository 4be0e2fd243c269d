#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <math.h>

#include "node/audio/mix.h"
#include "node/audio/test/encoders.h"

enum { ORIGIN_S = 1700000000, PTIME = 160, CALL_MAX = 8000 * 60 };

#define ORIGIN_US ((int64_t)ORIGIN_S * 1000000)

/* Party p says sample n of its own endless noise; a packet carries PTIME of them. */
struct fixture {
	struct et_mix *mix;
	int16_t *heard; /* owned: CALL_MAX frames */
	size_t frames;
	size_t calls;
};

static uint8_t said(unsigned party, uint32_t n)
{
	uint32_t x = (n + 1) * 2654435761U ^ (party + 1) * 0x9E3779B9U;
	x ^= x >> 15;
	x *= 0x85EBCA6BU;
	return (uint8_t)(x >> 13 | 1); /* Never 0x7F or 0xFF: silence is never said. */
}

static int16_t said_sample(unsigned party, uint32_t n)
{
	uint8_t code = said(party, n);
	return et_ulaw_decode(code == 0x7F || code == 0xFF ? 0x11 : code);
}

static int hear(void *arg, const int16_t *samples, size_t frames)
{
	struct fixture *f = arg;
	assert_true(f->frames + frames <= CALL_MAX);
	memcpy(f->heard + f->frames * 2, samples, frames * 2 * sizeof(*samples));
	f->frames += frames;
	f->calls++;
	return 0;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->heard = calloc(CALL_MAX * 2, sizeof(*f->heard));
	assert_non_null(f->heard);
	assert_int_equal(et_mix_new(ORIGIN_US, 8000, hear, f, &f->mix, NULL), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	f->mix = et_mix_free(f->mix);
	free(f->heard);
	free(f);
	return 0;
}

/* One packet with the party's samples from `first` on; RTP timestamp `first` + `ts_base`. */
struct sent {
	unsigned party;
	uint32_t first;
	uint16_t seq;
	int64_t arrival_us; /* since the origin */
	uint32_t ts_base;
	bool marker;
};

static void send(struct fixture *f, struct sent s)
{
	uint8_t payload[PTIME];
	for (uint32_t i = 0; i < PTIME; i++) {
		uint8_t code = said(s.party, s.first + i);
		payload[i] = code == 0x7F || code == 0xFF ? 0x11 : code;
	}
	const struct et_mix_packet packet = { .stream = s.party,
					      .party = (uint8_t)s.party,
					      .marker = s.marker,
					      .sequence = s.seq,
					      .timestamp = s.first + s.ts_base,
					      .arrival_us = ORIGIN_US + s.arrival_us,
					      .codec = et_codec_static(0),
					      .payload = { payload, sizeof(payload) } };
	assert_int_equal(et_mix_add(f->mix, &packet), 0);
}

/* The packet number n, on time. */
static struct sent packet_of(unsigned party, uint32_t n, int64_t start_us)
{
	return (struct sent){ .party = party,
			      .first = n * PTIME,
			      .seq = (uint16_t)(n + 65530),
			      .arrival_us = start_us + (int64_t)n * 20000,
			      .ts_base = 0xFFFFF000U };
}

/* In the party's channel, frames [from, from + count) are its samples from `first` on. */
static void assert_heard(const struct fixture *f, unsigned party, size_t from, uint32_t first,
			 size_t count)
{
	assert_true(from + count <= f->frames);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(f->heard[(from + i) * 2 + party],
				 said_sample(party, first + (uint32_t)i));
	}
}

static void assert_silence(const struct fixture *f, unsigned party, size_t from, size_t to)
{
	assert_true(to <= f->frames);
	for (size_t i = from; i < to; i++) {
		assert_int_equal(f->heard[i * 2 + party], 0);
	}
}

static void two_parties_lie_on_one_clock(void **state)
{
	struct fixture *f = *state;

	for (uint32_t n = 0; n < 500; n++) {
		send(f, packet_of(0, n, 100000)); /* 100 ms after the origin */
		send(f, packet_of(1, n, 250125)); /* 250.125 ms: 2001 frames */
	}
	assert_int_equal(et_mix_finish(f->mix, 0), 0);
	assert_int_equal(f->frames, 2001 + 500 * PTIME);
	assert_silence(f, 0, 0, 800);
	assert_heard(f, 0, 800, 0, (size_t)500 * PTIME);
	assert_silence(f, 0, 800 + (size_t)500 * PTIME, f->frames);
	assert_silence(f, 1, 0, 2001);
	assert_heard(f, 1, 2001, 0, (size_t)500 * PTIME);
	struct et_mix_stats stats = et_mix_stats(f->mix);
	assert_int_equal(stats.packets, 1000);
	assert_int_equal(stats.frames, f->frames);
	assert_int_equal(stats.anchors + stats.duplicates + stats.too_late + stats.out_of_range, 0);
}

static void jitter_and_order_do_not_matter(void **state)
{
	struct fixture *f = *state;
	uint32_t order[1000];

	for (uint32_t n = 0; n < 1000; n++) {
		order[n] = n;
	}
	srand(7);
	for (uint32_t n = 1; n + 12 < 1000; n++) { /* The first stays first: it is the anchor. */
		uint32_t other = n + (uint32_t)rand() % 12;
		uint32_t held = order[n];
		order[n] = order[other];
		order[other] = held;
	}
	for (uint32_t i = 0; i < 1000; i++) {
		struct sent s = packet_of(0, order[i], 0);
		s.arrival_us = (int64_t)i * 20000 + (i > 0 ? rand() % 19000 : 0);
		send(f, s);
	}
	assert_int_equal(et_mix_finish(f->mix, 0), 0);
	assert_int_equal(f->frames, 1000 * PTIME);
	assert_heard(f, 0, 0, 0, (size_t)1000 * PTIME);
	assert_int_equal(et_mix_stats(f->mix).anchors, 0);
}

static void a_missing_packet_is_silence_and_a_double_is_heard_once(void **state)
{
	struct fixture *f = *state;

	for (uint32_t n = 0; n < 300; n++) {
		if (n % 10 != 3) {
			send(f, packet_of(0, n, 0));
		}
		if (n % 10 == 5) {
			send(f, packet_of(0, n, 0));
			send(f, packet_of(0, n - 1, 60000));
		}
	}
	assert_int_equal(et_mix_finish(f->mix, 0), 0);
	for (uint32_t n = 0; n < 300; n++) {
		if (n % 10 == 3) {
			assert_silence(f, 0, (size_t)n * PTIME, (size_t)(n + 1) * PTIME);
		} else {
			assert_heard(f, 0, (size_t)n * PTIME, n * PTIME, PTIME);
		}
	}
	assert_int_equal(et_mix_stats(f->mix).duplicates, 60);
}

static void a_packet_five_seconds_late_finds_its_place(void **state)
{
	struct fixture *f = *state;

	for (uint32_t n = 0; n < 1500; n++) {
		if (n != 100) {
			send(f, packet_of(0, n, 0));
		}
		if (n == 350) {
			struct sent s = packet_of(0, 100, 0);
			s.arrival_us = 350 * 20000;
			send(f, s);
		}
		if (n == 1400) { /* Behind the window: too late for good. */
			struct sent s = packet_of(0, 20, 0);
			s.arrival_us = 1400 * 20000;
			s.seq = (uint16_t)(s.seq + 1);
			send(f, s);
		}
	}
	assert_int_equal(et_mix_finish(f->mix, 0), 0);
	assert_int_equal(et_mix_stats(f->mix).anchors, 0);
	assert_int_equal(et_mix_stats(f->mix).too_late, 1);
	assert_heard(f, 0, 0, 0, (size_t)1500 * PTIME);
}

/* A packet that fits nowhere (broken, or injected) is heard somewhere; what follows is not moved.
 */
static void a_stray_packet_moves_nothing(void **state)
{
	struct fixture *f = *state;

	for (uint32_t n = 0; n < 300; n++) {
		send(f, packet_of(0, n, 0));
		if (n == 100) {
			struct sent s = packet_of(0, n, 0);
			s.ts_base = 0x40000000;
			s.seq = (uint16_t)(s.seq + 1);
			send(f, s);
		}
	}
	assert_int_equal(et_mix_finish(f->mix, 0), 0);
	assert_int_equal(f->frames, 300 * PTIME);
	assert_heard(f, 0, 0, 0, (size_t)101 * PTIME);
	assert_heard(f, 0, (size_t)102 * PTIME, 102 * PTIME, (size_t)198 * PTIME);
}

static void a_stall_that_is_made_up_for_shifts_nothing(void **state)
{
	struct fixture *f = *state;

	for (uint32_t n = 0; n < 600; n++) {
		struct sent s = packet_of(0, n, 0);
		if (n >= 100 && n < 300) { /* 4 s of nothing, then all of it at once. */
			s.arrival_us = (int64_t)300 * 20000 + n * 10;
		}
		send(f, s);
	}
	assert_int_equal(et_mix_finish(f->mix, 0), 0);
	assert_int_equal(f->frames, 600 * PTIME);
	assert_heard(f, 0, 0, 0, (size_t)600 * PTIME);
}

static void a_restarted_sender_is_anchored_by_its_arrival(void **state)
{
	struct fixture *f = *state;

	for (uint32_t n = 0; n < 100; n++) {
		send(f, packet_of(0, n, 0));
	}
	for (uint32_t n = 0; n < 100; n++) { /* 5 s later, another timestamp and sequence. */
		struct sent s = packet_of(0, n, 5000000);
		s.ts_base = 0x12345678;
		s.seq = (uint16_t)(40000 + n);
		send(f, s);
	}
	assert_int_equal(et_mix_finish(f->mix, 0), 0);
	assert_int_equal(et_mix_stats(f->mix).anchors, 1);
	assert_heard(f, 0, 0, 0, (size_t)100 * PTIME);
	assert_silence(f, 0, (size_t)100 * PTIME, 40000);
	assert_heard(f, 0, 40000, 0, (size_t)100 * PTIME);
}

static void a_timestamp_that_stood_still_on_hold_is_anchored_at_the_marker(void **state)
{
	struct fixture *f = *state;

	for (uint32_t n = 0; n < 200; n++) { /* 2 s of hold that the timestamp does not know of. */
		struct sent s = packet_of(0, n, n < 100 ? 0 : 2000000);
		s.marker = n == 0 || n == 100;
		send(f, s);
	}
	assert_int_equal(et_mix_finish(f->mix, 0), 0);
	assert_heard(f, 0, 0, 0, (size_t)100 * PTIME);
	assert_silence(f, 0, (size_t)100 * PTIME, (size_t)100 * PTIME + 16000);
	assert_heard(f, 0, (size_t)100 * PTIME + 16000, 100 * PTIME, (size_t)100 * PTIME);
}

static void packets_late_from_before_a_restart_go_to_their_old_place(void **state)
{
	struct fixture *f = *state;

	for (uint32_t n = 0; n < 100; n++) {
		if (n != 99) {
			send(f, packet_of(0, n, 0));
		}
	}
	struct sent s = packet_of(0, 100, 1000000); /* The timestamp jumps, the numbers go on. */
	s.ts_base = 0x12345678;
	send(f, s);
	s = packet_of(0, 99, 0);
	s.arrival_us = 3030000;
	send(f, s);
	assert_int_equal(et_mix_finish(f->mix, 0), 0);
	assert_heard(f, 0, 0, 0, (size_t)100 * PTIME);
	assert_heard(f, 0, 24000, 100 * PTIME, PTIME);
}

static void the_end_is_padded_and_the_begin_cut(void **state)
{
	struct fixture *f = *state;

	send(f, packet_of(0, 0, -30000)); /* Wholly before the origin. */
	send(f, packet_of(0, 1, -30000)); /* Its second half is behind it. */
	send(f, packet_of(0, 2, -30000));
	assert_int_equal(et_mix_finish(f->mix, ORIGIN_US + 1000000), 0);
	assert_int_equal(f->frames, 8000);
	assert_heard(f, 0, 0, 240, 240);
	assert_silence(f, 0, 240, 8000);
	assert_int_equal(et_mix_stats(f->mix).out_of_range, 1);
}

static void a_stream_that_begins_a_little_early_is_not_cut(void **state)
{
	struct fixture *f = *state;

	for (uint32_t n = 0; n < 50; n++) {
		send(f, packet_of(0, n, 0));
		send(f, packet_of(1, n, -600)); /* overtaken by the other party */
	}
	assert_int_equal(et_mix_finish(f->mix, 0), 0);
	assert_int_equal(f->frames, 50 * PTIME);
	assert_heard(f, 0, 0, 0, (size_t)50 * PTIME);
	assert_heard(f, 1, 0, 0, (size_t)50 * PTIME);
	assert_int_equal(et_mix_stats(f->mix).anchors + et_mix_stats(f->mix).out_of_range, 0);
}

static void long_silence_comes_in_pieces_and_nonsense_is_counted(void **state)
{
	struct fixture *f = *state;

	send(f, packet_of(0, 0, 0));
	send(f, packet_of(1, 0, 50000000)); /* 50 s later */
	struct sent far = packet_of(0, 1, 0);
	far.arrival_us = INT64_MAX - ORIGIN_US;
	send(f, far);
	far.arrival_us = -ORIGIN_US;
	send(f, far);
	assert_int_equal(et_mix_finish(f->mix, 0), 0);
	assert_int_equal(f->frames, 400000 + PTIME);
	assert_heard(f, 0, 0, 0, PTIME);
	assert_silence(f, 0, PTIME, f->frames);
	assert_heard(f, 1, 400000, 0, PTIME);
	assert_true(f->calls > 90);
	assert_int_equal(et_mix_stats(f->mix).out_of_range, 2);
}

static int refuse(void *arg, const int16_t *samples, size_t frames)
{
	(void)arg;
	(void)samples;
	(void)frames;
	return -EPIPE;
}

static void a_sink_that_refuses_ends_the_mix(void **state)
{
	ET_CLEANUP(et_mix_freep) struct et_mix *m = NULL;
	const uint8_t payload[PTIME] = { 1 };
	const struct et_mix_packet packet = { .arrival_us = ORIGIN_US,
					      .codec = et_codec_static(8),
					      .payload = { payload, sizeof(payload) } };

	(void)state;
	assert_int_equal(et_mix_new(ORIGIN_US, 8000, refuse, NULL, &m, NULL), 0);
	assert_int_equal(et_mix_add(m, &packet), 0);
	assert_int_equal(et_mix_finish(m, 0), -EPIPE);
}

/* ---- Codecs with a memory, other rates ---- */

enum { TONE_PACKETS = 200 };

static int16_t tone(uint32_t rate, double hz, double n)
{
	return (int16_t)lrint(8000 * sin(2 * M_PI * hz * n / rate));
}

struct said_packet {
	uint8_t payload[2000];
	size_t size;
};

/* Two seconds of a tone as packets of 20 ms of a codec. */
static struct said_packet *tone_packets(const struct et_codec *codec, double hz)
{
	struct said_packet *list = calloc(TONE_PACKETS, sizeof(*list));
	const size_t frame = codec->rate / 50;
	int16_t pcm[960];
	struct encoder e;

	assert_non_null(list);
	encoder_open(&e, codec, false);
	for (size_t p = 0; p < TONE_PACKETS; p++) {
		for (size_t i = 0; i < frame; i++) {
			pcm[i] = tone(codec->rate, hz, (double)(p * frame + i));
		}
		list[p].size = encode(&e, pcm, list[p].payload);
	}
	encoder_close(&e);
	return list;
}

static void tone_send(struct et_mix *m, const struct et_codec *codec,
		      const struct said_packet *list, unsigned party, size_t n)
{
	const struct et_mix_packet packet = { .stream = party,
					      .party = (uint8_t)party,
					      .sequence = (uint16_t)(65500 + n),
					      .timestamp = (uint32_t)(0xFFFFF000U +
								      n * codec->clock_rate / 50),
					      .arrival_us = ORIGIN_US + (int64_t)n * 20000,
					      .codec = codec,
					      .payload = { list[n].payload, list[n].size } };
	assert_int_equal(et_mix_add(m, &packet), 0);
}

/* How like a tone of `hz` a channel's frames [from, to) are: 1 is the same, at any delay. */
static double tone_share(const struct fixture *f, uint32_t rate, unsigned party, double hz,
			 size_t from, size_t to)
{
	double sine = 0;
	double cosine = 0;
	double all = 0;

	assert_true(to <= f->frames);
	for (size_t i = from; i < to; i++) {
		const double x = f->heard[2 * i + party];
		sine += x * sin(2 * M_PI * hz * (double)i / rate);
		cosine += x * cos(2 * M_PI * hz * (double)i / rate);
		all += x * x;
	}
	return sqrt(2 * (sine * sine + cosine * cosine) / ((double)(to - from) * (all + 1)));
}

static void of_rate(struct fixture *f, uint32_t rate)
{
	f->mix = et_mix_free(f->mix);
	assert_int_equal(et_mix_new(ORIGIN_US, rate, hear, f, &f->mix, NULL), 0);
}

/* Narrow and wide, plain and with a memory: each on its side, in time, at the rate of the best. */
static void codecs_of_all_rates_lie_on_one_clock(void **state)
{
	static const struct {
		const char *left, *right;
		uint32_t rate;
	} calls[] = { { "PCMU", "opus", 48000 }, { "PCMA", "G722", 16000 },
		      { "GSM", "AMR", 8000 },	 { "G722", "opus", 48000 },
		      { "opus", "PCMU", 8000 },	 { "G722", "G729", 8000 },
		      { "L16", "AMR-WB", 16000 } };
	struct fixture *f = *state;

	for (size_t c = 0; c < ET_ARRAY_SIZE(calls); c++) {
		const struct et_codec *left =
			et_codec_find(calls[c].left, strlen(calls[c].left), 0);
		const struct et_codec *right =
			et_codec_find(calls[c].right, strlen(calls[c].right), 0);
		struct said_packet *a = tone_packets(left, 500);
		struct said_packet *b = tone_packets(right, 900);
		const uint32_t rate = calls[c].rate;

		f->frames = 0;
		of_rate(f, rate);
		for (size_t n = 0; n < TONE_PACKETS; n++) {
			tone_send(f->mix, left, a, 0, n);
			tone_send(f->mix, right, b, 1, n);
		}
		assert_int_equal(et_mix_finish(f->mix, 0), 0);
		assert_int_equal(f->frames, TONE_PACKETS * rate / 50);
		assert_true(tone_share(f, rate, 0, 500, rate / 2, f->frames - rate / 50) > 0.97);
		assert_true(tone_share(f, rate, 1, 900, rate / 2, f->frames - rate / 50) > 0.97);
		const struct et_mix_stats s = et_mix_stats(f->mix);
		assert_int_equal(s.packets, 2 * TONE_PACKETS);
		assert_int_equal(s.duplicates + s.too_late + s.out_of_range + s.undecodable, 0);
		assert_int_equal(s.anchors, 0);
		free(a);
		free(b);
	}
}

/* What the decoder sees is in order and once; a lost packet is silence. */
static void reordered_doubled_and_lost_packets_of_a_codec_with_memory(void **state)
{
	struct fixture *f = *state;
	const struct et_codec *codec = et_codec_find("G722", 4, 0);
	struct said_packet *list = tone_packets(codec, 700);
	int16_t *in_order = calloc((size_t)TONE_PACKETS * 320 * 2, sizeof(*in_order));

	assert_non_null(in_order);
	of_rate(f, 16000);
	for (size_t n = 0; n < TONE_PACKETS; n++) {
		if (n != 150) {
			tone_send(f->mix, codec, list, 1, n);
		}
	}
	assert_int_equal(et_mix_finish(f->mix, 0), 0);
	const size_t frames = f->frames;
	memcpy(in_order, f->heard, frames * 4);
	for (size_t i = 150 * 320; i < 151 * 320; i++) {
		assert_int_equal(in_order[2 * i + 1], 0);
	}

	f->frames = 0;
	of_rate(f, 16000);
	for (size_t n = 0; n < TONE_PACKETS; n += 4) {
		static const size_t order[] = { 2, 0, 0, 3, 1, 3 };
		for (size_t i = 0; i < ET_ARRAY_SIZE(order); i++) {
			if (n + order[i] != 150) {
				tone_send(f->mix, codec, list, 1, n + order[i]);
			}
		}
	}
	assert_int_equal(et_mix_finish(f->mix, 0), 0);
	const struct et_mix_stats s = et_mix_stats(f->mix);
	assert_int_equal(s.packets, TONE_PACKETS - 1);
	assert_int_equal(s.duplicates, TONE_PACKETS / 2);
	/* The first to come was the third: its place is by its arrival. */
	assert_int_equal(f->frames, frames);
	assert_memory_equal(f->heard, in_order, frames * 4);
	free(in_order);
	free(list);
}

/* One side falls silent with packets that still wait for their turn; the other talks on. */
static void what_waits_is_not_forgotten(void **state)
{
	struct fixture *f = *state;
	const struct et_codec *codec = et_codec_find("GSM", 3, 0);
	struct said_packet *list = tone_packets(codec, 600);

	for (size_t n = 0; n < 50; n++) {
		tone_send(f->mix, codec, list, 1, n);
	}
	for (uint32_t n = 0; n < 50 * 40; n++) {
		send(f, packet_of(0, n, 0));
	}
	assert_int_equal(et_mix_finish(f->mix, 0), 0);
	assert_int_equal(f->frames, 40 * 8000);
	assert_true(tone_share(f, 8000, 1, 600, 800, 50 * 160) > 0.97);
	assert_silence(f, 1, 50 * 160, f->frames);
	assert_heard(f, 0, 0, 0, 8000);
	assert_int_equal(et_mix_stats(f->mix).too_late, 0);
	free(list);
}

static void what_is_no_payload_of_the_codec_is_counted(void **state)
{
	struct fixture *f = *state;
	const struct et_codec *amr = et_codec_find("AMR", 3, 0);
	static struct said_packet list[TONE_PACKETS];

	for (size_t n = 0; n < 20; n++) {
		list[n].size = 7;
		memset(list[n].payload, 0xFF, 7);
		tone_send(f->mix, amr, list, 0, n);
	}
	assert_int_equal(et_mix_finish(f->mix, 0), 0);
	assert_int_equal(et_mix_stats(f->mix).undecodable, 20);
	assert_int_equal(f->frames, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(codecs_of_all_rates_lie_on_one_clock),
		TEST(reordered_doubled_and_lost_packets_of_a_codec_with_memory),
		TEST(what_waits_is_not_forgotten),
		TEST(what_is_no_payload_of_the_codec_is_counted),
		TEST(two_parties_lie_on_one_clock),
		TEST(jitter_and_order_do_not_matter),
		TEST(a_missing_packet_is_silence_and_a_double_is_heard_once),
		TEST(a_packet_five_seconds_late_finds_its_place),
		TEST(a_stray_packet_moves_nothing),
		TEST(a_stall_that_is_made_up_for_shifts_nothing),
		TEST(a_restarted_sender_is_anchored_by_its_arrival),
		TEST(a_timestamp_that_stood_still_on_hold_is_anchored_at_the_marker),
		TEST(packets_late_from_before_a_restart_go_to_their_old_place),
		TEST(the_end_is_padded_and_the_begin_cut),
		TEST(a_stream_that_begins_a_little_early_is_not_cut),
		TEST(long_silence_comes_in_pieces_and_nonsense_is_counted),
		TEST(a_sink_that_refuses_ends_the_mix),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
