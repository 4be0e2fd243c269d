#include "node/audio/holes_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	NUMBERS = 65536,
	ANEW = 4 * NUMBERS, /* so far apart, numbers belong to nothing of before */
};

void holes_release(struct holes *h)
{
	free(h->runs);
	*h = (struct holes){ 0 };
}

static int64_t number_of(const struct holes *h, uint16_t sequence)
{
	return h->newest + (int16_t)(uint16_t)(sequence - (uint16_t)h->newest);
}

/* How many runs begin at `number` or before it. */
static size_t runs_up_to(const struct holes *h, int64_t number)
{
	size_t at = h->count;

	while (at > 0 && h->runs[at - 1].first > number) {
		at--;
	}
	return at;
}

static void run_remove(struct holes *h, size_t at)
{
	h->count--;
	memmove(h->runs + at, h->runs + at + 1, (h->count - at) * sizeof(h->runs[0]));
}

static int run_insert(struct holes *h, size_t at, int64_t number, int64_t position)
{
	if (h->count == HOLES_RUNS_MAX) {
		if (at == 0) {
			return 0;
		}
		run_remove(h, 0);
		at--;
	}
	if (h->count == h->room) {
		const size_t room = h->room == 0 ? 8 : 2 * h->room;
		struct holes_run *more = realloc(h->runs, room * sizeof(*more));
		if (more == NULL) {
			return -ENOMEM;
		}
		h->runs = more;
		h->room = room;
	}
	memmove(h->runs + at + 1, h->runs + at, (h->count - at) * sizeof(h->runs[0]));
	h->runs[at] = (struct holes_run){ .first = number, .last = number, .from = position };
	h->count++;
	return 0;
}

int holes_came(struct holes *h, uint16_t sequence, int64_t position)
{
	h->newest = h->newest == 0 ? ANEW + sequence : h->newest;
	const int64_t number = number_of(h, sequence);
	const size_t at = runs_up_to(h, number);
	struct holes_run *low = at > 0 ? &h->runs[at - 1] : NULL;
	struct holes_run *high = at < h->count ? &h->runs[at] : NULL;

	h->newest = number > h->newest ? number : h->newest;
	if (low != NULL && number <= low->last) {
		return 0; /* again */
	}
	const bool joins_high = high != NULL && high->first == number + 1;
	if (low != NULL && low->last + 1 == number) {
		low->last = number;
		low->has_sound = false;
		if (joins_high) {
			low->last = high->last;
			low->has_sound = high->has_sound;
			low->end = high->end;
			low->length = high->length;
			run_remove(h, at);
		}
		return 0;
	}
	if (joins_high) {
		high->first = number;
		high->from = position;
		return 0;
	}
	return run_insert(h, at, number, position);
}

void holes_heard(struct holes *h, uint16_t sequence, int64_t end, int64_t length)
{
	const int64_t number = number_of(h, sequence);
	const size_t at = runs_up_to(h, number);

	if (at > 0 && h->runs[at - 1].last == number) {
		h->runs[at - 1].has_sound = true;
		h->runs[at - 1].end = end;
		h->runs[at - 1].length = length;
	}
}

void holes_begin(struct holes *h)
{
	h->newest += h->newest == 0 ? 0 : ANEW;
}

/* Is the hole between two runs one of lost sound? */
static bool hole_between(const struct holes_run *low, const struct holes_run *high, uint32_t rate,
			 struct hole *ret)
{
	const int64_t missing = high->first - low->last - 1;
	const int64_t width = high->from - low->end;

	if (!low->has_sound || missing >= NUMBERS || width <= 0 || width > rate) {
		return false;
	}
	const int64_t off = missing * low->length - width;
	*ret = (struct hole){ low->end, high->from, low->from };
	return 2 * off <= low->length && 2 * off >= -low->length;
}

bool holes_before(const struct holes *h, uint16_t sequence, uint32_t rate, struct hole *ret)
{
	const int64_t number = number_of(h, sequence);
	const size_t at = runs_up_to(h, number);

	return at > 1 && h->runs[at - 1].first == number &&
	       hole_between(&h->runs[at - 2], &h->runs[at - 1], rate, ret);
}

bool holes_take(struct holes *h, int64_t until, uint32_t rate, struct hole *ret)
{
	while (h->count > 1) {
		const struct holes_run low = h->runs[0];
		const struct holes_run high = h->runs[1];
		if ((low.has_sound ? low.end : high.from) >= until) {
			return false;
		}
		run_remove(h, 0);
		if (hole_between(&low, &high, rate, ret)) {
			return true;
		}
	}
	return false;
}
