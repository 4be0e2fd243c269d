/* A hash table of objects that embed their link: no allocation after init, chains, a seeded hash.
 *
 * Threads: one owner. */
#ifndef ET_NODE_CAPTURE_TABLE_INTERNAL_H
#define ET_NODE_CAPTURE_TABLE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/defs.h"

struct et_link {
	struct et_link *next;
	uint64_t hash;
};

struct et_table {
	struct et_link **buckets; /* owned; a power of two */
	uint64_t mask;
	uint64_t seed;
};

static inline uint64_t et_mix(uint64_t a, uint64_t b)
{
	__extension__ unsigned __int128 product = (unsigned __int128)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Hash of `size` bytes. Flooding it needs the seed. */
static inline uint64_t et_hash(uint64_t seed, const void *data, size_t size)
{
	const uint8_t *p = data;
	uint64_t h = seed ^ 0x9E3779B97F4A7C15ULL ^ size;
	uint64_t word = 0;
	while (size >= 8) {
		memcpy(&word, p, 8);
		h = et_mix(h ^ word, 0xD6E8FEB86659FD93ULL ^ seed);
		p += 8;
		size -= 8;
	}
	word = 0;
	memcpy(&word, p, size);
	h = et_mix(h ^ word, 0xA0761D6478BD642FULL ^ seed);
	return et_mix(h, 0xE7037ED1A0B428DBULL);
}

/* Buckets for about `expected` objects. false: no memory. */
static inline bool et_table_init(struct et_table *t, uint32_t expected, uint64_t seed)
{
	uint64_t size = 64;
	while (size < expected) {
		size *= 2;
	}
	t->buckets = calloc(size, sizeof(*t->buckets));
	t->mask = size - 1;
	t->seed = seed;
	return t->buckets != NULL;
}

static inline void et_table_release(struct et_table *t)
{
	free(t->buckets);
	t->buckets = NULL;
}

/* The newest stands first in its chain. */
static inline void et_table_add(struct et_table *t, struct et_link *link, uint64_t hash)
{
	struct et_link **bucket = &t->buckets[hash & t->mask];
	link->hash = hash;
	link->next = *bucket;
	*bucket = link;
}

static inline void et_table_remove(struct et_table *t, struct et_link *link)
{
	struct et_link **p = &t->buckets[link->hash & t->mask];
	while (*p != link) {
		et_assert(*p != NULL);
		p = &(*p)->next;
	}
	*p = link->next;
	link->next = NULL;
}

static inline struct et_link *et_table_first(const struct et_table *t, uint64_t hash)
{
	return t->buckets[hash & t->mask];
}

#endif
