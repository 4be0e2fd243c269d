/* The records of a page of hits. Read one by one, each costs its own look through memtables, levels
 * and filters, and cold a wait for the disk; so they are asked for together, in the order of their
 * keys: neighbours share blocks. What the block cache has not is shared out to helpers, so that
 * their waits for the disk overlap. Messages are unpacked into an arena that lives as long as the
 * page. */
#include "raft/state/rows_internal.h"
#include "raft/state/search_internal.h"

#define BLOCK_SIZE 32768

/* ---- Arena ---- */

struct page_block {
	struct page_block *next;
	size_t size;
	uint8_t bytes[] __attribute__((aligned(16)));
};

static void *arena_alloc(void *arena, size_t size)
{
	struct page_arena *a = arena;
	size_t padded = (size + 15) & ~(size_t)15;

	if (a->blocks == NULL || a->blocks->size - a->used < padded) {
		size_t wanted = padded > BLOCK_SIZE ? padded : BLOCK_SIZE;
		struct page_block *b = malloc(sizeof(*b) + wanted);
		if (b == NULL) {
			return NULL;
		}
		b->next = a->blocks;
		b->size = wanted;
		a->blocks = b;
		a->used = 0;
	}
	void *p = a->blocks->bytes + a->used;
	a->used += padded;
	return p;
}

static void arena_keep(void *arena, void *p)
{
	(void)arena;
	(void)p; /* all goes at once */
}

/* All but one block. */
static void arena_clear(struct page_arena *a)
{
	while (a->blocks != NULL && a->blocks->next != NULL) {
		struct page_block *b = a->blocks;
		a->blocks = b->next;
		free(b);
	}
	a->used = 0;
}

/* ---- Page ---- */

struct page *page_new(void)
{
	return calloc(1, sizeof(struct page));
}

void page_clear(struct page *p)
{
	arena_clear(&p->arena);
	p->count = 0;
}

void page_free(struct page *p)
{
	if (p != NULL) {
		arena_clear(&p->arena);
		free(p->arena.blocks);
		free(p);
	}
}

/* Positions of the places, in the order of their records' keys. */
static int ids_order(const void *a, const void *b, void *page)
{
	const struct page *p = page;
	const uint8_t *x = a;
	const uint8_t *y = b;

	return memcmp(p->places[*x].bytes + 8, p->places[*y].bytes + 8, 16);
}

static int record_take(struct page *p, size_t at, const uint8_t *data, size_t size)
{
	uint8_t *copy = arena_alloc(&p->arena, size + 1);

	if (copy == NULL) {
		return -ENOMEM;
	}
	memcpy(copy, data, size);
	p->packed[at] = (struct et_view){ copy, size };
	return 0;
}

static int record_unpack(struct page *p, size_t at)
{
	ProtobufCAllocator allocator = { arena_alloc, arena_keep, &p->arena };

	p->records[at] = et__recording__unpack(&allocator, p->packed[at].size, p->packed[at].data);
	return p->records[at] != NULL ? 0 : ET_ECORRUPT;
}

/* ---- Reading ---- */

#define NEAR 12	    /* records that are stepped over sooner than sought past */
#define NEAR_HITS 6 /* for each that was not: else they lie too far apart for that */

/* What a site or a tag gives lies close together: those at the beginning of `order` (ascending) are
 * reached by steps, as long as they are in memory. Returns how many were read, or an error. */
static int read_near(struct page *p, const struct et_state_view *v, const uint8_t *order,
		     size_t count)
{
	rocksdb_iterator_t *it = rocksdb_create_iterator_cf(v->database->db, v->cached,
							    v->database->cf[CF_RECORDING]);
	size_t misses = 0;
	int rc = 0;
	size_t i;

	for (i = 0; i < count && rc == 0; i++) {
		const uint8_t *id = p->places[order[i]].bytes + 8;
		size_t size = 0;
		int far = 1;
		for (int step = 0; i > 0 && step < NEAR && rocksdb_iter_valid(it); step++) {
			const char *key = rocksdb_iter_key(it, &size);
			far = size == 16 ? memcmp(key, id, 16) : -1;
			if (far >= 0) {
				break;
			}
			rocksdb_iter_next(it);
		}
		if (far != 0) {
			if (i > 0 && ++misses > i / NEAR_HITS) {
				break;
			}
			rocksdb_iter_seek(it, (const char *)id, 16);
		}
		if (!rocksdb_iter_valid(it) || memcmp(rocksdb_iter_key(it, &size), id, 16) != 0) {
			break; /* the reading of the rest tells what is wrong */
		}
		const char *data = rocksdb_iter_value(it, &size);
		rc = record_take(p, order[i], (const uint8_t *)data, size);
	}
	rocksdb_iter_destroy(it);
	return rc < 0 ? rc : (int)i;
}

static int read_together(struct page *p, const struct et_state_view *v, const uint8_t *order,
			 size_t count)
{
	struct et_view keys[PAGE_PLACES];
	rocksdb_pinnableslice_t *values[PAGE_PLACES];

	for (size_t i = 0; i < count; i++) {
		keys[i] = (struct et_view){ p->places[order[i]].bytes + 8, 16 };
	}
	int rc = fetch(v, CF_RECORDING, keys, count, values);
	for (size_t i = 0; i < count && rc == 0; i++) {
		size_t size;
		const char *data = rocksdb_pinnableslice_value(values[i], &size);
		rc = data != NULL ? record_take(p, order[i], (const uint8_t *)data, size) : 0;
	}
	fetch_release(values, count);
	return rc;
}

/* What memory has; the others, in the order of their keys. Returns how many these are. */
static int read_rows(struct page *p, const struct et_state_view *v, uint8_t order[PAGE_PLACES])
{
	struct rows *rows = v->database->rows;
	size_t left = 0;
	int rc = 0;

	rows_lock(rows);
	for (size_t i = p->count; i-- > 0 && rc == 0;) { /* most often their order already */
		struct et_view packed;
		p->records[i] = NULL;
		p->packed[i] = (struct et_view){ 0 };
		if (rows_get(rows, p->places[i].bytes + 8, v->index, &packed)) {
			rc = record_take(p, i, packed.data, packed.size);
		} else {
			order[left++] = (uint8_t)i;
		}
	}
	rows_unlock(rows);
	qsort_r(order, left, 1, ids_order, p);
	return rc < 0 ? rc : (int)left;
}

static int read_database(struct page *p, const struct et_state_view *v, const uint8_t *order,
			 size_t count)
{
	struct rows *rows = v->database->rows;

	int rc = read_near(p, v, order, count);
	if (rc >= 0 && (size_t)rc < count) {
		size_t near = (size_t)rc;
		rc = read_together(p, v, order + near, count - near);
	}
	if (rc < 0) {
		return rc;
	}
	rows_lock(rows);
	for (size_t i = 0; i < count; i++) {
		size_t at = order[i];
		if (p->packed[at].data != NULL) {
			rows_put(rows, p->places[at].bytes + 8, v->index, p->packed[at]);
		}
	}
	rows_unlock(rows);
	return 0;
}

int page_read(struct page *p, const struct et_state_view *v)
{
	uint8_t order[PAGE_PLACES];

	int rc = read_rows(p, v, order);
	if (rc > 0) {
		rc = read_database(p, v, order, (size_t)rc);
	}
	for (size_t i = 0; i < p->count && rc == 0; i++) {
		rc = p->packed[i].data != NULL ? record_unpack(p, i) : 0;
	}
	return rc;
}
