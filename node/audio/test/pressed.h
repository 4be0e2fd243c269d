/* Keys that are pressed, and somebody who talks: sound for tests, the same in each run. */
#ifndef ET_NODE_AUDIO_TEST_PRESSED_H
#define ET_NODE_AUDIO_TEST_PRESSED_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "node/audio/codec.h"

#define PRESSED_KEYS "123A456B789C*0#D"

/* The peak of a sine of so many dBm0: that of 3.17 dBm0 is 32124 (G.711). */
static inline double pressed_peak(double dbm0)
{
	return 32124 / pow(10, (3.17 - dbm0) / 20);
}

struct press {
	char key;
	double row_dbm0;
	double column_dbm0;
	double off; /* of both frequencies: 0.015 is 1.5 % above */
};

/* Sample n of a press, at a rate. */
static inline double press_sample(const struct press *p, uint32_t n, uint32_t rate)
{
	static const double hz[2][4] = { { 697, 770, 852, 941 }, { 1209, 1336, 1477, 1633 } };
	const size_t at = (size_t)(strchr(PRESSED_KEYS, p->key) - PRESSED_KEYS);
	const double t = 2 * M_PI * n / rate * (1 + p->off);
	return pressed_peak(p->row_dbm0) * sin(t * hz[0][at / 4]) +
	       pressed_peak(p->column_dbm0) * sin(t * hz[1][at % 4] + 1);
}

static inline double noise_next(uint64_t *state)
{
	*state = *state * 6364136223846793005U + 1442695040888963407U;
	return (double)(*state >> 33) / (double)(1U << 30) - 1;
}

/* As µ-law has it. */
static inline int16_t pressed_coded(double v)
{
	v = v > 32767 ? 32767 : v < -32768 ? -32768 : v;
	return et_ulaw_decode(et_ulaw_encode((int16_t)v));
}

/* Somebody who talks: a source of pulses whose pitch glides, or of noise, through four resonances
 * that glide from sound to sound; syllables of 60 to 300 ms, pauses between some. */
struct talker {
	uint64_t seed;
	uint32_t left;	/* samples of this sound */
	uint32_t total; /* of it */
	double pitch[2];
	double hz[2][4];
	double level;
	double phase;
	double memory[4][2];
	int kind; /* 0 silence, 1 voiced, 2 not voiced */
};

static inline void talker_sound(struct talker *t)
{
	static const double low[4] = { 250, 700, 1800, 2900 };
	static const double span[4] = { 600, 1500, 1100, 700 };
	const double choice = noise_next(&t->seed);
	t->kind = choice < -0.7 ? 0 : choice < 0.6 ? 1 : 2;
	t->total = t->left = (uint32_t)(480 + (noise_next(&t->seed) + 1) * 960);
	t->level = 2000 + (noise_next(&t->seed) + 1) * 4000;
	t->pitch[0] = t->pitch[1];
	t->pitch[1] = 80 + (noise_next(&t->seed) + 1) * 120;
	for (int i = 0; i < 4; i++) {
		t->hz[0][i] = t->hz[1][i];
		t->hz[1][i] = low[i] + (noise_next(&t->seed) + 1) / 2 * span[i];
	}
}

static inline int16_t talker_next(struct talker *t)
{
	if (t->left == 0) {
		talker_sound(t);
	}
	const double way = 1 - (double)t->left / t->total;
	const double fade = way < 0.1 ? way * 10 : way > 0.8 ? (1 - way) * 5 : 1;
	double source = 0;
	t->left--;
	t->phase += (t->pitch[0] + (t->pitch[1] - t->pitch[0]) * way) / 8000;
	if (t->phase >= 1) {
		t->phase -= 1;
		source = t->kind == 1 ? 1 : 0;
	}
	source = t->kind == 2 ? noise_next(&t->seed) * 0.3 : source;
	double out = 0;
	for (int i = 0; i < 4; i++) {
		const double hz = t->hz[0][i] + (t->hz[1][i] - t->hz[0][i]) * way;
		const double r = exp(-M_PI * (50 + 20 * i) / 8000);
		const double y = source + 2 * r * cos(2 * M_PI * hz / 8000) * t->memory[i][0] -
				 r * r * t->memory[i][1];
		t->memory[i][1] = t->memory[i][0];
		t->memory[i][0] = y;
		out += y * (i == 0 ? 1 : 0.5);
	}
	return pressed_coded(out * t->level * fade * (t->kind != 0));
}

#endif
