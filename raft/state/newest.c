/* See newest_internal.h.
 *
 * Two halves: one is filled, the other is full. When the young one is full, too, the floor rises to
 * the highest id of the old one, which is emptied and filled anew. */
#include <string.h>

#include "raft/state/newest_internal.h"

#include "node/base/bytes.h"

static size_t slot_first(const uint8_t id[16])
{
	uint64_t x = (et_get64(id) ^ et_get64(id + 8)) * UINT64_C(0x9e3779b97f4a7c15);

	return (size_t)(x >> 32) & (NEWEST_SLOTS - 1);
}

/* Where the id stands, or the empty slot where it belongs. There is always an empty one. */
static size_t slot_of(const struct newest_half *h, const uint8_t id[16])
{
	static const uint8_t empty[16];
	size_t at = slot_first(id);

	while (memcmp(h->slots[at], id, 16) != 0 && memcmp(h->slots[at], empty, 16) != 0) {
		at = (at + 1) & (NEWEST_SLOTS - 1);
	}
	return at;
}

static bool half_has(const struct newest_half *h, const uint8_t id[16])
{
	return h->count > 0 && memcmp(h->slots[slot_of(h, id)], id, 16) == 0;
}

static void half_clear(struct newest_half *h)
{
	memset(h, 0, sizeof(*h));
}

static bool is_above(const uint8_t id[16], const uint8_t other[16])
{
	return memcmp(id, other, 16) > 0;
}

void newest_begin(struct newest *n, const uint8_t highest[16])
{
	half_clear(&n->halves[0]);
	half_clear(&n->halves[1]);
	n->young = 0;
	memcpy(n->floor, highest, sizeof(n->floor));
}

void newest_add(struct newest *n, const uint8_t id[16])
{
	struct newest_half *h = &n->halves[n->young];

	if (!is_above(id, n->floor) || half_has(&n->halves[n->young ^ 1], id)) {
		return;
	}
	size_t at = slot_of(h, id);
	if (memcmp(h->slots[at], id, 16) == 0) {
		return;
	}
	memcpy(h->slots[at], id, 16);
	h->count++;
	if (is_above(id, h->highest)) {
		memcpy(h->highest, id, 16);
	}
	if (h->count == NEWEST_SLOTS / 2) {
		n->young ^= 1;
		h = &n->halves[n->young];
		if (is_above(h->highest, n->floor)) {
			memcpy(n->floor, h->highest, sizeof(n->floor));
		}
		half_clear(h);
	}
}

bool newest_lacks(const struct newest *n, const uint8_t id[16])
{
	return is_above(id, n->floor) && !half_has(&n->halves[0], id) &&
	       !half_has(&n->halves[1], id);
}
