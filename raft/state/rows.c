/* See rows_internal.h.
 *
 *   table    buckets of four positions in the ring, by a hash of the id
 *   ring     { id 16, index 8, size 4, record } one after the other; the oldest are overwritten
 *   changed  by another hash of the id: the last group that changed any such record. A reader that
 *            began before that group and comes with its record behind it comes too late
 *
 * A position counts bytes ever written: one that lies a whole ring behind was overwritten. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "raft/state/rows_internal.h"

#include "node/base/defs.h"

#define WAYS 4
#define CHANGED 4096  /* a power of two */
#define TYPICAL 512   /* bytes of a record with its head */
#define LARGE_PART 64 /* of the ring: what is larger is not kept */

struct row {
	uint8_t id[16];
	uint64_t index;
	uint32_t size;
	uint8_t bytes[];
};

struct rows {
	pthread_mutex_t mutex;
	uint8_t *ring; /* owned */
	size_t size;
	uint64_t head;	 /* positions begin at `size`: 0 is none */
	uint64_t *table; /* owned */
	size_t buckets;	 /* a power of two */
	uint64_t changed[CHANGED];
};

struct rows *rows_new(size_t bytes)
{
	struct rows *r = calloc(1, sizeof(*r));

	et_assert(bytes >= 65536);
	if (r == NULL) {
		return NULL;
	}
	r->size = bytes & ~(size_t)7;
	r->head = r->size;
	r->buckets = 1;
	while (r->buckets * WAYS * TYPICAL < bytes) {
		r->buckets *= 2;
	}
	r->ring = malloc(r->size); /* pages that are never written take no memory */
	r->table = calloc(r->buckets * WAYS, sizeof(*r->table));
	if (r->ring == NULL || r->table == NULL) {
		free(r->ring);
		free(r->table);
		free(r);
		return NULL;
	}
	(void)pthread_mutex_init(&r->mutex, NULL);
	return r;
}

void rows_free(struct rows *r)
{
	if (r != NULL) {
		(void)pthread_mutex_destroy(&r->mutex);
		free(r->ring);
		free(r->table);
		free(r);
	}
}

void rows_lock(struct rows *r)
{
	(void)pthread_mutex_lock(&r->mutex);
}

void rows_unlock(struct rows *r)
{
	(void)pthread_mutex_unlock(&r->mutex);
}

static uint64_t id_hash(const uint8_t id[16])
{
	uint64_t x = (et_get64(id) ^ et_get64(id + 8)) * UINT64_C(0x9e3779b97f4a7c15);

	return x ^ x >> 32;
}

static struct row *row_at(const struct rows *r, uint64_t position)
{
	if (position == 0 || r->head > position + r->size) {
		return NULL; /* none, or overwritten */
	}
	return (struct row *)(void *)(r->ring + position % r->size);
}

/* Where the table says that the record lies. NULL: it does not lie here. */
static uint64_t *slot_of(const struct rows *r, const uint8_t id[16])
{
	uint64_t *slots = r->table + (id_hash(id) & (r->buckets - 1)) * WAYS;

	for (size_t i = 0; i < WAYS; i++) {
		const struct row *row = row_at(r, slots[i]);
		if (row != NULL && memcmp(row->id, id, 16) == 0) {
			return &slots[i];
		}
	}
	return NULL;
}

static uint64_t *changed_of(struct rows *r, const uint8_t id[16])
{
	return &r->changed[(id_hash(id) >> 40) & (CHANGED - 1)];
}

bool rows_get(const struct rows *r, const uint8_t id[16], uint64_t index, struct et_view *ret)
{
	const uint64_t *slot = slot_of(r, id);
	const struct row *row = slot != NULL ? row_at(r, *slot) : NULL;

	if (row == NULL || row->index > index) {
		return false;
	}
	*ret = (struct et_view){ row->bytes, row->size };
	return true;
}

/* An empty place of the bucket, or the one that was filled first. */
static uint64_t *slot_new(const struct rows *r, const uint8_t id[16])
{
	uint64_t *slots = r->table + (id_hash(id) & (r->buckets - 1)) * WAYS;
	uint64_t *oldest = slots;

	for (size_t i = 1; i < WAYS; i++) {
		oldest = slots[i] < *oldest ? &slots[i] : oldest;
	}
	return oldest;
}

void rows_put(struct rows *r, const uint8_t id[16], uint64_t index, struct et_view packed)
{
	size_t size = (sizeof(struct row) + packed.size + 7) & ~(size_t)7;

	if (size > r->size / LARGE_PART || *changed_of(r, id) > index || slot_of(r, id) != NULL) {
		return;
	}
	if (r->head % r->size + size > r->size) { /* records do not go over the end */
		r->head += r->size - r->head % r->size;
	}
	uint64_t at = r->head;
	r->head += size;
	struct row *row = row_at(r, at);
	et_assert(row != NULL);
	memcpy(row->id, id, 16);
	row->index = index;
	row->size = (uint32_t)packed.size;
	if (packed.size > 0) {
		memcpy(row->bytes, packed.data, packed.size);
	}
	*slot_new(r, id) = at;
}

void rows_change(struct rows *r, const uint8_t id[16], uint64_t index)
{
	uint64_t *slot = slot_of(r, id);

	if (slot != NULL) {
		*slot = 0;
	}
	*changed_of(r, id) = index;
}
