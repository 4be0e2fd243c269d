/* The writes of a group before they are written (overlay.c): a map from family and key to the last
 * value, or to "deleted".
 *
 * Zero-initialised is empty. A failed allocation is sticky in `failed`; commit looks at it.
 * Thread: the state thread. */
#ifndef ET_RAFT_STATE_OVERLAY_INTERNAL_H
#define ET_RAFT_STATE_OVERLAY_INTERNAL_H

#include "raft/state/state_internal.h"

/* The first 16 bytes of a key as two numbers, big-endian, zeros behind its end: most comparisons of
 * keys need no more. */
static inline void key_heads(const uint8_t *key, size_t size, uint64_t ret[2])
{
	uint8_t head[16] = { 0 };

	memcpy(head, key, size < sizeof(head) ? size : sizeof(head));
	ret[0] = et_get64(head);
	ret[1] = et_get64(head + 8);
}

static inline int keys_order(const uint64_t a_heads[2], const uint8_t *a, size_t a_size,
			     const uint64_t b_heads[2], const uint8_t *b, size_t b_size)
{
	for (size_t i = 0; i < 2; i++) {
		if (a_heads[i] != b_heads[i]) {
			return a_heads[i] < b_heads[i] ? -1 : 1;
		}
	}
	int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
	return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

struct overlay_entry {
	uint64_t head[2]; /* key_heads() */
	uint32_t hash;
	enum state_cf cf;
	bool deleted;
	const uint8_t *key; /* view: behind this struct */
	size_t key_size;
	uint8_t *value; /* view */
	size_t value_size;
	size_t room; /* of `value` */
	size_t slot;
};

const struct overlay_entry *overlay_find(const struct overlay *o, enum state_cf cf, const void *key,
					 size_t size);

/* Set a key. The caller fills the `value_size` bytes returned, at once. NULL: no memory. */
uint8_t *overlay_put(struct overlay *o, enum state_cf cf, const void *key, size_t size,
		     size_t value_size);
void overlay_delete(struct overlay *o, enum state_cf cf, const void *key, size_t size);

/* All entries of a family in order of their keys; valid until the next change. */
const struct overlay_list *overlay_sorted(struct overlay *o, enum state_cf cf);
/* The position of the first that is not below `key`. */
size_t overlay_seek(const struct overlay_list *l, const void *key, size_t size);

void overlay_clear(struct overlay *o);
void overlay_release(struct overlay *o);

#endif
