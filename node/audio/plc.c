#include "node/audio/plc_internal.h"

#include <errno.h>
#include <spandsp.h>
#include <string.h>

#include "node/audio/resample.h"
#include "node/base/bytes.h"

enum {
	RATE = 8000,   /* Hz: the library is for it */
	STEPS_MAX = 6, /* 48 kHz */
	PAST = PLC_PAST_MS * RATE / 1000,
	MADE = PLC_MADE_MS * RATE / 1000,
	EDGE = 16, /* samples that a resampler looks ahead */
	LEAST = 40,
};
_Static_assert(PAST == PLC_HISTORY_LEN, "what the library remembers");

/* A past of the library's rate. The edge is mirrored: silence behind it would sound into it. */
static int past_take(const int16_t *past, size_t count, uint32_t rate, int16_t ret[PAST + EDGE],
		     size_t *ret_count)
{
	const size_t steps = rate / RATE;
	int16_t mirrored[(PAST + EDGE) * STEPS_MAX];

	*ret_count = count / steps < PAST ? count / steps : PAST;
	if (*ret_count < LEAST) {
		*ret_count = 0;
		return 0;
	}
	const size_t n = *ret_count * steps;
	memcpy(mirrored, past + count - n, n * sizeof(*past));
	for (size_t i = 0; i < EDGE * steps; i++) {
		mirrored[n + i] = mirrored[n - 1 - i];
	}
	return et_resample(rate, RATE, mirrored, n + EDGE * steps, ret);
}

int plc_make(const int16_t *past, size_t past_count, uint32_t rate, int16_t *ret, size_t count)
{
	int16_t sound[PAST + MADE + EDGE]; /* the past, and behind it what is made */
	int16_t out[(PAST + MADE + EDGE) * STEPS_MAX];
	const size_t steps = rate / RATE;
	plc_state_t plc;
	size_t n;

	et_assert(steps <= STEPS_MAX && rate % RATE == 0);
	et_assert(count <= (size_t)MADE * steps);
	int rc = past_take(past, past_count, rate, sound, &n);
	if (rc < 0 || n == 0) {
		return rc;
	}
	/* A short past is heard backwards and forwards: its pitch stays. */
	int16_t *begin = sound + PAST - n;
	memmove(begin, sound, n * sizeof(*sound));
	for (size_t i = 0; i < PAST - n; i++) {
		begin[-1 - (ptrdiff_t)i] = begin[i % (2 * n) < n ? i % n : n - 1 - i % n];
	}
	const size_t made = (count + steps - 1) / steps + EDGE;
	(void)plc_init(&plc);
	(void)plc_rx(&plc, sound, PAST);
	(void)plc_fillin(&plc, sound + PAST, (int)made);
	rc = et_resample(RATE, rate, sound, PAST + made, out);
	if (rc == 0) {
		memcpy(ret, out + PAST * steps, count * sizeof(*ret));
	}
	explicit_bzero(sound, sizeof(sound));
	explicit_bzero(out, sizeof(out));
	explicit_bzero(&plc, sizeof(plc));
	return rc < 0 ? rc : 1;
}
