/* Samples at another rate: a polyphase windowed sinc, 16 samples of the lower rate on each side.
 *
 * A run of samples without a gap goes in, ceil(samples * to / from) come out, the first of them at
 * the time of the first that went in: nothing is shifted. Upwards by a whole factor each sample
 * that went in stands in what comes out, bit for bit; between them the band is that of the lower
 * rate. At the ends of a run silence is taken to lie.
 *
 * Threads: one owner at a time. */
#ifndef ET_NODE_AUDIO_RESAMPLE_H
#define ET_NODE_AUDIO_RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"

struct et_resampler;

/* Rates in Hz, up to 48000, their ratio at most 1:6 or 6:1 (else ET_EUNSUPPORTED). The caller owns
 * *ret. */
int et_resampler_new(uint32_t from, uint32_t to, struct et_resampler **ret) ET_MUST_CHECK;
struct et_resampler *et_resampler_free(struct et_resampler *r); /* NULL is allowed; returns NULL */

/* The next samples of the run, at most ET_RESAMPLE_IN_MAX. What is settled now goes to `out`, which
 * has room for et_resampler_room() samples; returns how many. */
#define ET_RESAMPLE_IN_MAX 16384U
size_t et_resampler_feed(struct et_resampler *r, const int16_t *in, size_t count, int16_t *out);

/* The run is over: the rest of it, likewise. The next feed begins a new one. */
size_t et_resampler_end(struct et_resampler *r, int16_t *out);

/* The most that one call gives. */
size_t et_resampler_room(const struct et_resampler *r);

/* A short run at once: of `count` samples to ceil(count * to / from) of them in `out`. The rates
 * may be the same. As et_resampler_new(). */
int et_resample(uint32_t from, uint32_t to, const int16_t *in, size_t count,
		int16_t *out) ET_MUST_CHECK;

#endif
