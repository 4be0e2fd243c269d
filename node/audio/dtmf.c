#include "node/audio/dtmf.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

enum { GROUP = 4, TONES = 2 * GROUP };

/* Hz: rows, columns. */
static const float tones[TONES] = { 697, 770, 852, 941, 1209, 1336, 1477, 1633 };
static const char keys[GROUP][GROUP + 1] = { "123A", "456B", "789C", "*0#D" };

#define AMPLITUDE_MIN 125.0F /* -45 dBm0: a sine of 3.17 dBm0 has the peak 32124 (G.711) */
#define FAINT_MIN 40.0F	     /* -55 dBm0 */
#define TWIST_MAX 12.6F	     /* of powers: 11 dB */
#define PURITY_MIN 0.75F
#define STANDS_OUT 4.0F /* of powers, over the next one of its group: 6 dB */
#define BESIDE 0.022F	/* where a tone is looked at beside its place */
#define OFF_MAX 0.027F	/* how far from its place a tone may be */

/* Of a Hann window: a sine of amplitude A at its frequency has the power (A/2 * sum)², and the
 * energy A²/2 * squares. */
#define SUM (ET_DTMF_WINDOW / 2.0F)
#define SQUARES (ET_DTMF_WINDOW * 3.0F / 8.0F)

static float power_of(float amplitude)
{
	return amplitude * amplitude * SUM * SUM / 4.0F;
}

static float share_of(float power, float energy)
{
	return power * 2.0F * SQUARES / (SUM * SUM * energy);
}

static float turn_of(float hz)
{
	return 2.0F * cosf(2.0F * (float)M_PI * hz / ET_DTMF_RATE);
}

void et_dtmf_init(struct et_dtmf *d)
{
	for (size_t n = 0; n < ET_DTMF_WINDOW; n++) {
		const float at = ((float)n + 0.5F) / ET_DTMF_WINDOW;
		d->window[n] = 0.5F - 0.5F * cosf(2.0F * (float)M_PI * at);
	}
	for (size_t i = 0; i < TONES; i++) {
		d->turn[i] = turn_of(tones[i]);
	}
}

/* Goertzel, of several frequencies at once: the loop over them is what a compiler makes vectors of.
 */
static void powers(const float *x, const float *turn, size_t count, float *ret)
{
	float s1[TONES] = { 0 };
	float s2[TONES] = { 0 };

	for (size_t n = 0; n < ET_DTMF_WINDOW; n++) {
		for (size_t i = 0; i < count; i++) {
			const float s0 = x[n] + turn[i] * s1[i] - s2[i];
			s2[i] = s1[i];
			s1[i] = s0;
		}
	}
	for (size_t i = 0; i < count; i++) {
		ret[i] = s1[i] * s1[i] + s2[i] * s2[i] - turn[i] * s1[i] * s2[i];
	}
}

/* The strongest of a group; *ret_clear: no other is near it. */
static size_t strongest(const float *power, bool *ret_clear)
{
	size_t best = 0;
	float next = 0;

	for (size_t i = 1; i < GROUP; i++) {
		best = power[i] > power[best] ? i : best;
	}
	for (size_t i = 0; i < GROUP; i++) {
		next = i != best && power[i] > next ? power[i] : next;
	}
	*ret_clear = power[best] >= STANDS_OUT * next;
	return best;
}

/* The top of the parabola through the logarithms of three powers: how far off it is, in steps, and
 * the power there. false: there is no top. */
static bool top_of(float below, float at, float above, float *ret_off, float *ret_power)
{
	const float l = logf(below + 1.0F);
	const float m = logf(at + 1.0F);
	const float r = logf(above + 1.0F);
	const float bend = l - 2.0F * m + r;

	if (bend >= 0) {
		return false;
	}
	*ret_off = 0.5F * (l - r) / bend;
	*ret_power = expf(m - 0.25F * (l - r) * *ret_off);
	return fabsf(*ret_off) <= OFF_MAX / BESIDE;
}

/* Are these two, and hardly anything else, what the window has? */
static bool is_key(const float *x, float energy, float row_hz, float column_hz, float row,
		   float column)
{
	const float beside[4] = { turn_of(row_hz * (1 - BESIDE)), turn_of(row_hz * (1 + BESIDE)),
				  turn_of(column_hz * (1 - BESIDE)),
				  turn_of(column_hz * (1 + BESIDE)) };
	float p[4];
	float off;

	powers(x, beside, 4, p);
	if (!top_of(p[0], row, p[1], &off, &row) || !top_of(p[2], column, p[3], &off, &column)) {
		return false;
	}
	return row >= power_of(AMPLITUDE_MIN) && column >= power_of(AMPLITUDE_MIN) &&
	       row <= TWIST_MAX * column && column <= TWIST_MAX * row &&
	       share_of(row + column, energy) >= PURITY_MIN;
}

struct et_dtmf_look et_dtmf_look(const struct et_dtmf *d, const int16_t samples[ET_DTMF_WINDOW])
{
	struct et_dtmf_look look = { 0 };
	float x[ET_DTMF_WINDOW];
	float p[TONES];
	float energy = 0;
	bool clear_row;
	bool clear_column;

	for (size_t n = 0; n < ET_DTMF_WINDOW; n++) {
		x[n] = (float)samples[n] * d->window[n];
		energy += x[n] * x[n];
	}
	if (energy < FAINT_MIN * FAINT_MIN * SQUARES) { /* two tones, each of half of that */
		return look;
	}
	powers(x, d->turn, TONES, p);
	const size_t row = strongest(p, &clear_row);
	const size_t column = strongest(p + GROUP, &clear_column);
	const float row_power = p[row];
	const float column_power = p[GROUP + column];
	if (!clear_row || !clear_column || row_power < power_of(FAINT_MIN) ||
	    column_power < power_of(FAINT_MIN)) {
		return look;
	}
	look.faint = keys[row][column];
	if (is_key(x, energy, tones[row], tones[GROUP + column], row_power, column_power)) {
		look.key = look.faint;
	}
	return look;
}
