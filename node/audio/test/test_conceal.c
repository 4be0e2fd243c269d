/* Lost packets, concealed: what is made up is like what was said, and nothing else changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "node/audio/mask.h"
#include "node/audio/mix.h"
#include "node/audio/test/encoders.h"
#include "node/audio/test/pressed.h"

enum { ORIGIN_S = 1700000000, PACKETS = 150, RATE_MAX = 48000, FRAMES_MAX = 20 * RATE_MAX };

#define ORIGIN_US (INT64_C(1000000) * ORIGIN_S)

/* What comes out of a mix, and what of it was told to be made up. */
struct heard {
	int16_t *samples; /* owned */
	uint8_t *made;	  /* owned: bit c of a frame: of channel c */
	size_t frames;
	struct et_mix_stats stats;
};

static int hear(void *arg, const int16_t *samples, size_t frames)
{
	struct heard *h = arg;

	assert_true(h->frames + frames <= FRAMES_MAX);
	memcpy(h->samples + 2 * h->frames, samples, 2 * frames * sizeof(*samples));
	h->frames += frames;
	return 0;
}

static void tell(void *arg, uint8_t channel, int64_t from, int64_t to)
{
	struct heard *h = arg;

	assert_true(from < to && to <= FRAMES_MAX);
	for (int64_t i = from; i < to; i++) {
		assert_int_equal(h->made[i] >> channel & 1, 0);
		h->made[i] |= (uint8_t)(1 << channel);
	}
}

static void heard_open(struct heard *h)
{
	*h = (struct heard){ .samples = calloc(2 * FRAMES_MAX, sizeof(*h->samples)),
			     .made = calloc(FRAMES_MAX, 1) };
	assert_non_null(h->samples);
	assert_non_null(h->made);
}

static void heard_close(struct heard *h)
{
	free(h->samples);
	free(h->made);
}

static struct et_mix *mix_open(struct heard *h, uint32_t rate, bool conceals)
{
	struct et_mix *m = NULL;

	heard_open(h);
	assert_int_equal(et_mix_new(ORIGIN_US, rate, hear, h, &m, NULL), 0);
	if (conceals) {
		assert_int_equal(et_mix_conceal(m, tell, h), 0);
	}
	return m;
}

static void mix_close(struct et_mix *m, struct heard *h)
{
	uint64_t made = 0;

	assert_int_equal(et_mix_finish(m, 0), 0);
	h->stats = et_mix_stats(m);
	assert_int_equal(h->stats.frames, h->frames);
	for (size_t i = 0; i < h->frames; i++) {
		made += (h->made[i] & 1U) + (h->made[i] >> 1);
	}
	assert_int_equal(h->stats.concealed, made);
	(void)et_mix_free(m);
}

/* ---- Each codec ---- */

struct said_packet {
	uint8_t payload[2000];
	size_t size;
};

/* A voice whose pitch glides between 110 and 170 Hz, as samples and as packets of 20 ms. */
static void voice_make(int16_t *pcm, size_t n, uint32_t rate)
{
	double phase = 0;

	for (size_t i = 0; i < n; i++) {
		const double t = (double)i / rate;
		double sum = 0;
		phase += (140 + 30 * sin(2 * M_PI * 0.7 * t)) / rate;
		for (int k = 1; k <= 16; k++) {
			sum += sin(2 * M_PI * k * phase + k * k) / (k < 5 ? 1 : k - 3);
		}
		pcm[i] = (int16_t)lrint(1800 * sum);
	}
}

static struct said_packet *packets_of(struct encoder *e, const int16_t *pcm)
{
	struct said_packet *list = calloc(PACKETS, sizeof(*list));

	assert_non_null(list);
	for (size_t p = 0; p < PACKETS; p++) {
		list[p].size = encode(e, pcm + p * (e->codec->rate / 50), list[p].payload);
	}
	return list;
}

static struct et_mix_packet packet_of(const struct et_codec *codec, const struct said_packet *list,
				      size_t n)
{
	return (struct et_mix_packet){ .sequence = (uint16_t)(65500 + n),
				       .timestamp =
					       (uint32_t)(0xFFFFF000U + n * codec->clock_rate / 50),
				       .arrival_us = ORIGIN_US + (int64_t)n * 20000,
				       .codec = codec,
				       .payload = { list[n].payload, list[n].size } };
}

/* The stream without `burst` packets of every 15, from the 40th on. */
static bool is_lost(size_t n, size_t burst)
{
	return n >= 40 && n < PACKETS - 15 && n % 15 < burst;
}

static void stream_hear(const struct et_codec *codec, const struct said_packet *list, size_t burst,
			bool conceals, uint32_t rate, struct heard *ret)
{
	struct et_mix *m = mix_open(ret, rate, conceals);

	for (size_t n = 0; n < PACKETS; n++) {
		const struct et_mix_packet p = packet_of(codec, list, n);
		if (!is_lost(n, burst)) {
			assert_int_equal(et_mix_add(m, &p), 0);
		}
	}
	mix_close(m, ret);
}

/* Over the frames of lost packets: how like the whole what is heard is, and how loud. */
static double likeness(const struct heard *whole, const struct heard *h, uint32_t rate,
		       size_t burst, double *ret_gain)
{
	double both = 0;
	double one = 1;
	double other = 1;

	for (size_t i = 0; i < h->frames; i++) {
		if (is_lost(i / (rate / 50), burst)) {
			const double x = whole->samples[2 * i];
			const double y = h->samples[2 * i];
			both += x * y;
			one += x * x;
			other += y * y;
		}
	}
	*ret_gain = sqrt(other / one);
	return both / sqrt(one * other);
}

static size_t frames_lost(const struct heard *h, uint32_t rate, size_t burst)
{
	size_t lost = 0;

	for (size_t i = 0; i < h->frames; i++) {
		lost += is_lost(i / (rate / 50), burst);
	}
	return lost;
}

/* What is not of a lost packet is the same with both. */
static void assert_rest_is_same(const struct heard *a, const struct heard *b, uint32_t rate,
				size_t burst)
{
	assert_int_equal(a->frames, b->frames);
	for (size_t i = 0; i < a->frames; i++) {
		assert_int_equal(a->samples[2 * i + 1], 0);
		if (!is_lost(i / (rate / 50), burst)) {
			assert_int_equal(a->made[i], 0);
			assert_int_equal(a->samples[2 * i], b->samples[2 * i]);
		}
	}
}

static void codec_try(const char *name, uint32_t clock_rate, uint32_t rate, double least)
{
	static int16_t pcm[PACKETS * 960];
	const struct et_codec *codec = et_codec_find(name, strlen(name), clock_rate);
	struct encoder e;
	struct heard whole;
	struct heard silent;
	struct heard concealed;
	double gain;

	voice_make(pcm, PACKETS * codec->rate / 50, codec->rate);
	encoder_open(&e, codec, false);
	struct said_packet *list = packets_of(&e, pcm);
	encoder_close(&e);
	for (size_t burst = 1; burst <= 2; burst++) {
		stream_hear(codec, list, 0, true, rate, &whole);
		stream_hear(codec, list, burst, false, rate, &silent);
		stream_hear(codec, list, burst, true, rate, &concealed);
		const double like = likeness(&whole, &concealed, rate, burst, &gain);
		print_message("%-13s at %5u Hz, %zu lost: %.3f, gain %.2f\n", name, rate, burst,
			      like, gain);
		assert_int_equal(whole.stats.concealed, 0);
		assert_int_equal(silent.stats.concealed, 0);
		assert_int_equal(concealed.stats.concealed, frames_lost(&whole, rate, burst));
		if (!et_codec_conceals(codec)) {
			assert_rest_is_same(&concealed, &silent, rate, burst);
		}
		assert_true(like > (burst == 1 ? least : least / 2));
		assert_true(gain > 0.3 && gain < 1.4);
		/* It is nearer to what was said than silence. (Behind two lost ones decoders
		 * may be off by a part of a pitch, for long.) */
		assert_true(like > gain / 2 || burst > 1);
		heard_close(&whole);
		heard_close(&silent);
		heard_close(&concealed);
	}
	free(list);
}

static void each_codec_is_like_what_was_said(void **state)
{
	(void)state;
	codec_try("PCMU", 8000, 8000, 0.6);
	codec_try("PCMA", 8000, 8000, 0.6);
	codec_try("L16", 8000, 8000, 0.6);
	codec_try("L16", 16000, 16000, 0.6);
	codec_try("L16", 48000, 48000, 0.6);
	codec_try("PCMU", 8000, 48000, 0.6);
	codec_try("G722", 8000, 16000, 0.6);
	codec_try("GSM", 8000, 8000, 0.6);
	codec_try("G726-32", 8000, 16000, 0.6);
	codec_try("G729", 8000, 8000, 0.5);
	codec_try("G729", 8000, 16000, 0.5);
	codec_try("speex", 8000, 8000, 0.5);
	codec_try("speex", 16000, 16000, 0.5);
	codec_try("speex", 32000, 48000, 0.5);
	codec_try("AMR", 8000, 8000, 0.5);
	codec_try("AMR-WB", 16000, 16000, 0.5);
	codec_try("AMR-WB", 16000, 48000, 0.5);
	codec_try("opus", 48000, 48000, 0.5);
	codec_try("opus", 48000, 8000, 0.5);
}

/* The talker of pressed.h at 48 kHz: nobody guesses what comes next. */
static void talk(int16_t *pcm, size_t n)
{
	struct talker t = { .seed = 5 };
	static int16_t narrow[PACKETS * 160];

	for (size_t i = 0; i < PACKETS * 160; i++) {
		narrow[i] = talker_next(&t);
	}
	for (size_t i = 0; i < n; i++) {
		const size_t at = i / 6;
		const int next = at + 1 < PACKETS * 160 ? narrow[at + 1] : 0;
		pcm[i] = (int16_t)(narrow[at] + (next - narrow[at]) * (int)(i % 6) / 6);
	}
}

/* What the next packet tells of a lost one is heard, even at the end of a hole that is too long. */
static void opus_tells_of_the_packet_before(void **state)
{
	static int16_t pcm[PACKETS * 960];
	const struct et_codec *codec = et_codec_find("opus", 4, 48000);
	struct encoder e = { .codec = codec };
	struct heard whole;
	struct heard concealed;
	double gain;
	int code;

	(void)state;
	talk(pcm, PACKETS * 960);
	e.state = opus_encoder_create(48000, 1, OPUS_APPLICATION_VOIP, &code);
	(void)opus_encoder_ctl(e.state, OPUS_SET_BITRATE(24000));
	(void)opus_encoder_ctl(e.state, OPUS_SET_MAX_BANDWIDTH(OPUS_BANDWIDTH_WIDEBAND));
	(void)opus_encoder_ctl(e.state, OPUS_SET_INBAND_FEC(1));
	(void)opus_encoder_ctl(e.state, OPUS_SET_PACKET_LOSS_PERC(25));
	struct said_packet *list = packets_of(&e, pcm);
	encoder_close(&e);
	stream_hear(codec, list, 0, true, 48000, &whole);
	stream_hear(codec, list, 1, true, 48000, &concealed);
	const double told = likeness(&whole, &concealed, 48000, 1, &gain);
	heard_close(&concealed);
	stream_hear(codec, list, 6, true, 48000, &concealed);
	size_t tail = 0;
	for (size_t n = 0; n < PACKETS; n++) {
		const bool last = is_lost(n, 6) && !is_lost(n + 1, 6);
		tail += last && concealed.made[n * 960 + 480] != 0;
		if (is_lost(n, 6) && n % 15 > 2 && !last) {
			assert_int_equal(concealed.made[n * 960 + 480], 0);
		}
	}
	print_message("opus that tells: %.3f, gain %.2f; %zu ends\n", told, gain, tail);
	assert_true(told > 0.9);
	assert_true(tail >= 3);
	heard_close(&whole);
	heard_close(&concealed);
	free(list);
}

/* A decoder is asked a few packets behind the newest; what it made up gives way to what comes. */
static void what_comes_late_takes_the_place_of_what_a_decoder_made(void **state)
{
	static const char *const names[] = { "G729", "opus", "AMR", "speex" };
	static int16_t pcm[PACKETS * 960];

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(names); i++) {
		const struct et_codec *codec = et_codec_find(names[i], strlen(names[i]), 0);
		const uint32_t rate = codec->rate;
		struct encoder e;
		struct heard h;

		voice_make(pcm, PACKETS * rate / 50, rate);
		encoder_open(&e, codec, false);
		struct said_packet *list = packets_of(&e, pcm);
		encoder_close(&e);
		struct et_mix *m = mix_open(&h, rate, true);
		for (size_t n = 0; n < PACKETS; n++) {
			struct et_mix_packet p = packet_of(codec, list, n);
			if (n != 60 && n != 61) {
				assert_int_equal(et_mix_add(m, &p), 0);
			}
			if (n == 120) {
				p = packet_of(codec, list, 61);
				p.arrival_us = ORIGIN_US + 120 * INT64_C(20000);
				assert_int_equal(et_mix_add(m, &p), 0);
			}
		}
		mix_close(m, &h);
		assert_int_equal(h.stats.concealed, rate / 50);
		for (size_t f = 0; f < h.frames; f++) {
			assert_int_equal(h.made[f] != 0, f / (rate / 50) == 60);
		}
		heard_close(&h);
		free(list);
	}
}

/* AMR says that nothing is said: what is lost of that is nothing, too. */
static void of_nothing_that_was_sent_nothing_is_made(void **state)
{
	static const char *const names[] = { "AMR", "AMR-WB" };
	static int16_t pcm[PACKETS * 320];

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(names); i++) {
		const struct et_codec *codec = et_codec_find(names[i], strlen(names[i]), 0);
		struct encoder e;
		struct heard h;

		voice_make(pcm, PACKETS * codec->rate / 50, codec->rate);
		encoder_open(&e, codec, true);
		struct said_packet *list = packets_of(&e, pcm);
		encoder_close(&e);
		for (size_t n = 40; n < PACKETS; n++) {
			memcpy(list[n].payload, "\xF0\x7C", 2);
			list[n].size = 2;
		}
		stream_hear(codec, list, 1, true, codec->rate, &h);
		assert_int_equal(h.stats.concealed, 0);
		heard_close(&h);
		free(list);
	}
}

/* ---- What is no loss ---- */

enum { PTIME = 160, PCMU_RATE = 8000 };

/* Packet n of a stream of PCMU, as it is sent. */
struct sent {
	uint32_t n;
	int32_t number; /* added to its sequence number: silence that nobody sent */
	uint32_t ticks; /* added to its timestamp */
	int64_t late_us;
	uint32_t stream;
};

static void send(struct et_mix *m, struct sent s)
{
	uint8_t payload[PTIME];
	const struct et_mix_packet p = { .stream = s.stream,
					 .sequence = (uint16_t)(65500 + s.n + (uint32_t)s.number),
					 .timestamp = 0xFFFFF000U + s.n * PTIME + s.ticks,
					 .arrival_us = ORIGIN_US + (int64_t)s.n * 20000 +
						       s.ticks * INT64_C(125) + s.late_us,
					 .codec = et_codec_static(0),
					 .payload = { payload, sizeof(payload) } };

	for (size_t i = 0; i < PTIME; i++) {
		const double t = (double)(s.n * PTIME + i) / PCMU_RATE;
		payload[i] = et_ulaw_encode((int16_t)lrint(6000 * sin(2 * M_PI * 130 * t) +
							   3000 * sin(2 * M_PI * 390 * t)));
	}
	assert_int_equal(et_mix_add(m, &p), 0);
}

/* Packets 0 to 199 but for [from, to), then what `behind` does, heard. */
static void hole_hear(uint32_t from, uint32_t to, void (*behind)(struct et_mix *m),
		      struct heard *ret)
{
	struct et_mix *m = mix_open(ret, PCMU_RATE, true);

	for (uint32_t n = 0; n < 200; n++) {
		if (n < from || n >= to) {
			send(m, (struct sent){ .n = n });
		}
	}
	if (behind != NULL) {
		behind(m);
	}
	mix_close(m, ret);
}

static void assert_made(const struct heard *h, size_t from, size_t to)
{
	for (size_t i = 0; i < h->frames; i++) {
		assert_int_equal(h->made[i], i >= from && i < to);
	}
}

static bool is_silent(const struct heard *h, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		if (h->samples[2 * i] != 0) {
			return false;
		}
	}
	return true;
}

static void sixty_milliseconds_are_made_and_of_an_outage_nothing(void **state)
{
	static const uint32_t lost[] = { 1, 2, 3, 4, 10, 50 };
	struct heard h;

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(lost); i++) {
		const size_t from = (size_t)100 * PTIME;
		const size_t end = from + (lost[i] < 3 ? lost[i] : 3) * PTIME;
		hole_hear(100, 100 + lost[i], NULL, &h);
		assert_made(&h, from, end);
		assert_false(is_silent(&h, from, from + PTIME));
		assert_true(is_silent(&h, from + 3 * PTIME, from + lost[i] * PTIME) ||
			    lost[i] <= 3);
		heard_close(&h);
	}
	hole_hear(100, 151, NULL, &h);
	assert_made(&h, 0, 0);
	assert_true(is_silent(&h, (size_t)100 * PTIME, (size_t)151 * PTIME));
	heard_close(&h);
	hole_hear(0, 5, NULL, &h); /* What lies before the first packet nobody lost. */
	assert_made(&h, 0, 0);
	heard_close(&h);
}

static void send_late(struct et_mix *m)
{
	send(m, (struct sent){ .n = 100, .late_us = 3000000 });
	send(m, (struct sent){ .n = 102, .late_us = 3000000 });
}

static void what_comes_late_is_no_loss(void **state)
{
	struct heard h;
	struct heard whole;

	(void)state;
	hole_hear(100, 103, send_late, &h);
	assert_made(&h, (size_t)101 * PTIME, (size_t)102 * PTIME);
	hole_hear(0, 0, NULL, &whole);
	for (size_t i = 0; i < h.frames; i++) {
		assert_true(h.made[i] != 0 || h.samples[2 * i] == whole.samples[2 * i]);
	}
	heard_close(&whole);
	heard_close(&h);
}

/* After 100 packets: `step` numbers and `ticks` further on the stream goes on. */
static void jump_hear(int32_t step, uint32_t ticks, uint16_t noise, struct heard *ret)
{
	struct et_mix *m = mix_open(ret, PCMU_RATE, true);

	for (uint32_t n = 0; n < 200; n++) {
		send(m, (struct sent){ .n = n,
				       .number = n < 100 ? 0 : step,
				       .ticks = n < 100 ? 0 : ticks });
		for (uint16_t k = 0; n == 99 && k < noise; k++) {
			const uint16_t number = (uint16_t)(65500 + 100 + k);
			assert_int_equal(et_mix_came(m, 0, number,
						     0xFFFFF000U + 100 * PTIME + k * PTIME,
						     ORIGIN_US + 2000000 + k * 20000),
					 0);
		}
	}
	mix_close(m, ret);
	assert_int_equal(ret->stats.packets, 200);
}

static void what_was_not_sent_is_silence(void **state)
{
	static const struct {
		int32_t step;
		uint32_t ticks;
		uint16_t noise;
	} jumps[] = {
		{ 0, 5 * PTIME, 0 },  /* nobody spoke, and nothing was sent */
		{ 1, 20 * PTIME, 0 }, /* that, and a packet lost somewhere */
		{ 9, 4 * PTIME, 0 },  /* more packets than there is room for */
		{ 4, 4 * PTIME, 4 },  /* packets that are not heard here */
		{ 4, 4 * PTIME, 1 },  /* one of them, and others like it were lost */
		{ 2, 0, 0 },	      /* no time is missing */
	};
	struct heard h;

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(jumps); i++) {
		jump_hear(jumps[i].step, jumps[i].ticks, jumps[i].noise, &h);
		assert_int_equal(h.stats.concealed, 0);
		assert_true(
			is_silent(&h, (size_t)100 * PTIME, (size_t)100 * PTIME + jumps[i].ticks));
		heard_close(&h);
	}
	jump_hear(4, 4 * PTIME, 0, &h); /* The same without a reason. */
	assert_int_equal(h.stats.concealed, 3 * PTIME);
	heard_close(&h);
}

static void leave_pause(struct et_mix *m)
{
	et_mix_leave(m, 100 * PTIME + 50, 101 * PTIME);
}

static void around_a_pause_nothing_is_made(void **state)
{
	struct heard h;

	(void)state;
	hole_hear(100, 102, leave_pause, &h);
	assert_int_equal(h.stats.concealed, 0);
	heard_close(&h);
	hole_hear(60, 62, leave_pause, &h);
	assert_int_equal(h.stats.concealed, 2 * PTIME);
	heard_close(&h);
}

static void behind_a_restart_nothing_is_made(void **state)
{
	struct heard h;
	struct et_mix *m = mix_open(&h, PCMU_RATE, true);

	(void)state;
	for (uint32_t n = 0; n < 100; n++) {
		send(m, (struct sent){ .n = n });
	}
	for (uint32_t n = 101; n < 200; n++) { /* Another timestamp, as if one packet was lost. */
		send(m, (struct sent){ .n = n,
				       .ticks = 0x20000000,
				       .late_us = -0x20000000 * INT64_C(125) });
	}
	mix_close(m, &h);
	assert_int_equal(h.stats.anchors, 1);
	assert_int_equal(h.stats.concealed, 0);
	heard_close(&h);
}

static void where_another_stream_is_heard_nothing_is_made(void **state)
{
	struct heard h;
	struct et_mix *m = mix_open(&h, PCMU_RATE, true);

	(void)state;
	for (uint32_t n = 0; n < 200; n++) {
		if (n != 60 && n != 100) {
			send(m, (struct sent){ .n = n });
		}
		if (n > 90) {
			send(m, (struct sent){ .n = n, .stream = 1 });
		}
	}
	mix_close(m, &h);
	assert_made(&h, (size_t)60 * PTIME, (size_t)61 * PTIME);
	heard_close(&h);
}

/* Losses of one in four, in no order; from the midst, the samples are those of the whole. */
static void a_range_is_what_the_whole_has_there(void **state)
{
	struct heard whole;
	struct heard part;
	struct et_mix *m = mix_open(&whole, PCMU_RATE, true);

	(void)state;
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t n = pass == 0 ? 0 : 150; n < 900; n++) {
			if (n * 2654435761U >> 30 != 0) {
				send(m, (struct sent){ .n = n });
			}
		}
		if (pass == 0) {
			mix_close(m, &whole);
			m = mix_open(&part, PCMU_RATE, true);
			et_mix_begin(m, 200 * PTIME);
		}
	}
	assert_int_equal(et_mix_finish(m, 0), 0);
	(void)et_mix_free(m);
	assert_true(whole.stats.concealed > 100 * PTIME);
	const size_t begin = whole.frames - part.frames;
	assert_int_equal(begin, 200 * PTIME);
	assert_memory_equal(part.samples, whole.samples + 2 * begin, 4 * part.frames);
	assert_memory_equal(part.made + begin, whole.made + begin, part.frames);
	heard_close(&whole);
	heard_close(&part);
}

/* ---- Key presses ---- */

/* A press from 2 s on, for 60 ms: its last packet, and those behind it, are lost. With `event`,
 * others say that there was one in the packet before it. */
static void press_hear(bool press, bool masks, bool event, struct heard *ret,
		       struct et_mask_stats *ret_masked)
{
	const struct press key = { '5', -10, -8, 0 };
	struct et_mask *mask = NULL;
	struct et_mix *m = NULL;

	heard_open(ret);
	if (masks) {
		assert_int_equal(et_mask_new(PCMU_RATE, hear, ret, &mask, NULL), 0);
		et_mask_tell_made(mask, tell, ret);
	}
	assert_int_equal(et_mix_new(ORIGIN_US, PCMU_RATE, masks ? et_mask_put : hear,
				    masks ? (void *)mask : ret, &m, NULL),
			 0);
	assert_int_equal(et_mix_conceal(m, masks ? et_mask_made : tell, masks ? (void *)mask : ret),
			 0);
	if (event) {
		et_mask_span(mask, 0, (int64_t)99 * PTIME, (int64_t)100 * PTIME);
	}
	for (uint32_t n = 0; n < 200; n++) {
		uint8_t payload[PTIME];
		struct et_mix_packet p = { .sequence = (uint16_t)n,
					   .timestamp = n * PTIME,
					   .arrival_us = ORIGIN_US + n * INT64_C(20000),
					   .codec = et_codec_static(0),
					   .payload = { payload, PTIME } };
		for (uint32_t i = 0; i < PTIME; i++) {
			const double t = (double)(n * PTIME + i) / PCMU_RATE;
			double v = 2000 * sin(2 * M_PI * 210 * t) + 1500 * sin(2 * M_PI * 420 * t);
			if (press && n >= 100 && n < 103) {
				v = press_sample(&key, n * PTIME + i, PCMU_RATE);
			}
			payload[i] = et_ulaw_encode((int16_t)v);
		}
		if ((n < 102 || n >= 105) && n != 30) {
			assert_int_equal(et_mix_add(m, &p), 0);
		}
	}
	assert_int_equal(et_mix_finish(m, 0), 0);
	if (masks) {
		assert_int_equal(et_mask_finish(mask), 0);
		*ret_masked = et_mask_stats(mask);
	}
	(void)et_mix_free(m);
	(void)et_mask_free(mask);
}

static void a_masked_press_is_not_made_again(void **state)
{
	struct heard h;
	struct et_mask_stats masked;

	(void)state;
	press_hear(true, false, false, &h, &masked); /* There would be something to hear: */
	assert_false(is_silent(&h, (size_t)102 * PTIME, (size_t)104 * PTIME));
	heard_close(&h);
	press_hear(true, true, false, &h, &masked);
	assert_int_equal(masked.keys, 1);
	assert_true(is_silent(&h, (size_t)100 * PTIME, (size_t)105 * PTIME));
	assert_made(&h, (size_t)30 * PTIME, (size_t)31 * PTIME);
	assert_false(is_silent(&h, (size_t)30 * PTIME, (size_t)31 * PTIME));
	heard_close(&h);
	press_hear(false, true, false, &h, &masked); /* Of a voice it is made. */
	assert_int_equal(masked.keys, 0);
	assert_false(is_silent(&h, (size_t)102 * PTIME, (size_t)104 * PTIME));
	heard_close(&h);
	press_hear(false, true, true, &h, &masked);
	assert_true(is_silent(&h, (size_t)99 * PTIME, (size_t)100 * PTIME));
	assert_false(is_silent(&h, (size_t)100 * PTIME, (size_t)102 * PTIME));
	assert_true(is_silent(&h, (size_t)102 * PTIME, (size_t)105 * PTIME));
	assert_made(&h, (size_t)30 * PTIME, (size_t)31 * PTIME);
	heard_close(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_codec_is_like_what_was_said),
		cmocka_unit_test(opus_tells_of_the_packet_before),
		cmocka_unit_test(what_comes_late_takes_the_place_of_what_a_decoder_made),
		cmocka_unit_test(of_nothing_that_was_sent_nothing_is_made),
		cmocka_unit_test(sixty_milliseconds_are_made_and_of_an_outage_nothing),
		cmocka_unit_test(what_comes_late_is_no_loss),
		cmocka_unit_test(what_was_not_sent_is_silence),
		cmocka_unit_test(around_a_pause_nothing_is_made),
		cmocka_unit_test(behind_a_restart_nothing_is_made),
		cmocka_unit_test(where_another_stream_is_heard_nothing_is_made),
		cmocka_unit_test(a_masked_press_is_not_made_again),
		cmocka_unit_test(a_range_is_what_the_whole_has_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
