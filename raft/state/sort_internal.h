/* Many keys in order (sort.c): a radix sort, for keys that begin alike.
 *
 * Keys of the index begin with a list and a number that thousands of others begin with, too: a sort
 * by comparison looks at the same bytes again and again, each time in another place of memory. This
 * one looks at each byte about once, and no further than keys are told apart.
 *
 * Pure: no allocation, no failure, the same order anywhere. Any thread. */
#ifndef ET_RAFT_STATE_SORT_INTERNAL_H
#define ET_RAFT_STATE_SORT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sort_key {
	uint64_t head;	    /* keys_sort()'s: what it looks at */
	const uint8_t *key; /* view */
	uint32_t size;	    /* at most STATE_KEY_MAX */
	uint32_t tag;	    /* the caller's, and moves with the key */
};

/* Sort `list` by the bytes of the keys, a key before those that it begins; equal keys stay in their
 * order. `spare` has room for `count`, too; what is in it afterwards means nothing. */
void keys_sort(struct sort_key *list, struct sort_key *spare, size_t count);

/* Of keys that keys_sort() has sorted: are they equal? */
bool sort_key_same(const struct sort_key *a, const struct sort_key *b);

#endif
