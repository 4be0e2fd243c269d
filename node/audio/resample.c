#include "node/audio/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/bytes.h"

enum {
	HALF = 16, /* samples of the lower rate on each side */
	RATIO_MAX = 6,
	PHASES_MAX = 640,
};

/* Output j lies at the time j * down / up of what goes in: between in[base] and in[base + 1], at
 * one of `up` phases. Its taps lie on in[base - half + 1] to in[base + half]. */
struct et_resampler {
	uint32_t up, down;
	size_t half;
	float *taps;	/* owned: `up` rows of 2 * half */
	uint64_t given; /* outputs of the run so far */
	int64_t first;	/* hold[0] is this sample of the run; negative: silence before it */
	size_t count;
	int16_t *hold; /* owned: 2 * half + ET_RESAMPLE_IN_MAX + half */
};

static uint32_t divisor_of(uint32_t a, uint32_t b)
{
	while (b != 0) {
		const uint32_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

/* Modified Bessel function of the first kind, order 0, for the window of Kaiser. */
static double bessel(double x)
{
	double term = 1;
	double sum = 1;

	for (int k = 1; k < 32; k++) {
		term *= x / (2 * k) * (x / (2 * k));
		sum += term;
	}
	return sum;
}

static void taps_make(struct et_resampler *r)
{
	const double beta = 8; /* about 80 dB */
	const double cut = r->down > r->up ? (double)r->up / r->down : 1;
	const size_t width = 2 * r->half;

	for (uint32_t phase = 0; phase < r->up; phase++) {
		float *row = r->taps + phase * width;
		double sum = 0;
		for (size_t t = 0; t < width; t++) {
			const double x = (double)t - (double)(r->half - 1) - (double)phase / r->up;
			const double u = x / (double)r->half;
			const double angle = M_PI * cut * x;
			const double sinc = fabs(x) < 1e-9 ? 1 : sin(angle) / angle;
			const double window =
				fabs(u) >= 1 ? 0 : bessel(beta * sqrt(1 - u * u)) / bessel(beta);
			row[t] = (float)(cut * sinc * window);
			sum += row[t];
		}
		for (size_t t = 0; t < width; t++) {
			row[t] = (float)(row[t] / sum);
		}
		if (phase == 0 && r->down == 1) { /* Exactly: that is what the sinc means. */
			memset(row, 0, width * sizeof(*row));
			row[r->half - 1] = 1;
		}
	}
}

static void run_begin(struct et_resampler *r)
{
	r->given = 0;
	r->first = -(int64_t)(r->half - 1);
	r->count = r->half - 1;
	memset(r->hold, 0, r->count * sizeof(*r->hold));
}

int et_resampler_new(uint32_t from, uint32_t to, struct et_resampler **ret)
{
	if (from == 0 || to == 0 || from > 48000 || to > 48000 || from > to * RATIO_MAX ||
	    to > from * RATIO_MAX) {
		return ET_EUNSUPPORTED;
	}
	const uint32_t divisor = divisor_of(from, to);
	if (to / divisor > PHASES_MAX) {
		return ET_EUNSUPPORTED;
	}
	struct et_resampler *r = calloc(1, sizeof(*r));
	if (r == NULL) {
		return -ENOMEM;
	}
	r->up = to / divisor;
	r->down = from / divisor;
	r->half = r->down > r->up ? (HALF * r->down + r->up - 1) / r->up : HALF;
	r->taps = calloc(r->up * 2 * r->half, sizeof(*r->taps));
	r->hold = calloc(3 * r->half + ET_RESAMPLE_IN_MAX, sizeof(*r->hold));
	if (r->taps == NULL || r->hold == NULL) {
		et_resampler_free(r);
		return -ENOMEM;
	}
	taps_make(r);
	run_begin(r);
	*ret = r;
	return 0;
}

struct et_resampler *et_resampler_free(struct et_resampler *r)
{
	if (r != NULL) {
		if (r->hold != NULL) {
			explicit_bzero(r->hold,
				       (3 * r->half + ET_RESAMPLE_IN_MAX) * sizeof(*r->hold));
		}
		free(r->taps);
		free(r->hold);
		free(r);
	}
	return NULL;
}

size_t et_resampler_room(const struct et_resampler *r)
{
	return (ET_RESAMPLE_IN_MAX + 2 * r->half) * r->up / r->down + 2;
}

static int16_t output_make(const struct et_resampler *r, const int16_t *in, uint32_t phase)
{
	const size_t width = 2 * r->half;
	const float *row = r->taps + phase * width;
	float sum = 0;

	for (size_t t = 0; t < width; t++) {
		sum += row[t] * (float)in[t];
	}
	const long rounded = lrintf(sum);
	return (int16_t)(rounded > INT16_MAX   ? INT16_MAX
			 : rounded < INT16_MIN ? INT16_MIN
					       : rounded);
}

/* Outputs whose taps all lie in what is held, before the sample `until` of the run. */
static size_t outputs_make(struct et_resampler *r, int64_t until, int16_t *out)
{
	const int64_t behind = r->first + (int64_t)r->count; /* the first that is not held */
	size_t made = 0;

	for (;;) {
		const uint64_t at = r->given * r->down;
		const int64_t base = (int64_t)(at / r->up);
		if (base >= until || base + (int64_t)r->half >= behind) {
			break;
		}
		const size_t from = (size_t)(base - (int64_t)(r->half - 1) - r->first);
		out[made++] = output_make(r, r->hold + from, (uint32_t)(at % r->up));
		r->given++;
	}
	/* What no later output needs goes. */
	const int64_t next = (int64_t)(r->given * r->down / r->up) - (int64_t)(r->half - 1);
	if (next > r->first) {
		size_t gone = (size_t)(next - r->first);
		gone = gone < r->count ? gone : r->count;
		r->count -= gone;
		memmove(r->hold, r->hold + gone, r->count * sizeof(*r->hold));
		r->first += (int64_t)gone;
	}
	return made;
}

size_t et_resampler_feed(struct et_resampler *r, const int16_t *in, size_t count, int16_t *out)
{
	et_assert(count <= ET_RESAMPLE_IN_MAX);
	memcpy(r->hold + r->count, in, count * sizeof(*in));
	r->count += count;
	return outputs_make(r, INT64_MAX, out);
}

size_t et_resampler_end(struct et_resampler *r, int16_t *out)
{
	const int64_t until = r->first + (int64_t)r->count;

	memset(r->hold + r->count, 0, (r->half + 1) * sizeof(*r->hold));
	r->count += r->half + 1;
	const size_t made = outputs_make(r, until, out);
	run_begin(r);
	return made;
}

int et_resample(uint32_t from, uint32_t to, const int16_t *in, size_t count, int16_t *out)
{
	struct et_resampler *r = NULL;

	if (from == to) {
		memcpy(out, in, count * sizeof(*in));
		return 0;
	}
	int rc = et_resampler_new(from, to, &r);
	if (rc == 0) {
		const size_t settled = et_resampler_feed(r, in, count, out);
		(void)et_resampler_end(r, out + settled);
		et_resampler_free(r);
	}
	return rc;
}
