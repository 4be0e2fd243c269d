/* The newest recordings of a database, by their ids (newest.c): so that apply need not look into it
 * for an id that cannot be there. Ids begin with the time, so that is nearly every new one; those
 * of a few thousand calls come in any order, for they began in the same moments.
 *
 * Promise: newest_lacks() says true only of an id that the database does not have, once it was told
 * where the database began (newest_begin()) and of each recording since then (newest_add()).
 * Nothing else follows from it: what apply finds is the same with it and without.
 * Thread: the state thread. Memory: 512 KiB, in struct et_state. */
#ifndef ET_RAFT_STATE_NEWEST_INTERNAL_H
#define ET_RAFT_STATE_NEWEST_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NEWEST_SLOTS 16384 /* of each half; a power of two; at most half are taken */

struct newest {
	uint8_t floor[16]; /* above it, the database has what is in the halves, and no other */
	struct newest_half {
		size_t count;
		uint8_t highest[16];
		uint8_t slots[NEWEST_SLOTS][16]; /* zeros: empty */
	} halves[2];
	unsigned young; /* the half that is being filled */
};

/* The database has no id above `highest` (zeros: it has none at all). */
void newest_begin(struct newest *n, const uint8_t highest[16]);
/* The database has it now. */
void newest_add(struct newest *n, const uint8_t id[16]);
/* The database does not have it, for sure. */
bool newest_lacks(const struct newest *n, const uint8_t id[16]);

#endif
