/* The records of a page of hits. Read one by one, each costs its own look through memtables, levels
 * and filters, and cold a wait for the disk; so they are asked for together, in the order of their
 * keys: neighbours share blocks. What the block cache has not is shared out to helpers, so that
 * their waits for the disk overlap. Messages are unpacked into an arena that lives as long as the
 * page. */
#include <pthread.h>
#include <signal.h>

#include "node/base/queue.h"
#include "raft/state/rows_internal.h"
#include "raft/state/search_internal.h"

#define BLOCK_SIZE 32768
#define HELPERS 16 /* threads; an SSD answers that many at once about as fast as one */

struct helpers {
	size_t count;
	struct et_queue queues[HELPERS];
	pthread_t threads[HELPERS];
};

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

/* ---- Helpers: threads that wait for the disk ---- */

struct read_job {
	struct et_queue_node node;
	const struct et_state_view *v;
	const struct page *page;
	const uint8_t *order;		  /* positions whose records are wanted */
	uint8_t first, step;		  /* every `step`th of them, from `first` on */
	uint8_t count;			  /* of all */
	rocksdb_pinnableslice_t **values; /* theirs, at the same place as in `order` */
	int status;
	struct et_queue *done;
};

static void job_run(struct read_job *j)
{
	const struct database *d = j->v->database;

	for (size_t i = j->first; i < j->count; i += j->step) {
		char *error = NULL;
		const struct place *place = &j->page->places[j->order[i]];
		j->values[i] = rocksdb_get_pinned_cf(d->db, j->v->options, d->cf[CF_RECORDING],
						     (const char *)place->bytes + 8, 16, &error);
		int status = state_status(error, NULL, "read");
		j->status = j->status < 0 ? j->status : status;
	}
}

static void *helper_run(void *arg)
{
	struct et_queue *q = arg;

	for (;;) {
		struct et_queue_node *n = et_queue_wait(q, -1);
		if (n == NULL) {
			return NULL; /* closed */
		}
		while (n != NULL) {
			struct read_job *j = ET_CONTAINER_OF(n, struct read_job, node);
			n = n->next;
			job_run(j);
			int rc = et_queue_push(j->done, &j->node, 0);
			et_assert(rc == 0);
		}
	}
}

void helpers_stop(struct helpers *h)
{
	if (h == NULL) {
		return;
	}
	for (size_t i = 0; i < h->count; i++) {
		et_queue_close(&h->queues[i]);
		(void)pthread_join(h->threads[i], NULL);
		et_queue_destroy(&h->queues[i]);
	}
	free(h);
}

static struct helpers *helpers_start(void)
{
	struct helpers *h = calloc(1, sizeof(*h));
	pthread_attr_t attributes;
	sigset_t all;
	sigset_t before;

	if (h == NULL) {
		return NULL;
	}
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, &before);
	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setstacksize(&attributes, 256UL << 10);
	while (h->count < HELPERS) {
		struct et_queue *q = &h->queues[h->count];
		if (et_queue_init(q, 256, 1, NULL, NULL) < 0) {
			break;
		}
		if (pthread_create(&h->threads[h->count], &attributes, helper_run, q) != 0) {
			et_queue_destroy(q);
			break;
		}
		h->count++;
	}
	(void)pthread_attr_destroy(&attributes);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return h;
}

/* They begin with the first page that is not in memory: most processes never need them. */
static struct helpers *helpers_of(struct et_state *s)
{
	(void)pthread_mutex_lock(&s->mutex);
	if (s->helpers == NULL) {
		s->helpers = helpers_start();
	}
	struct helpers *h = s->helpers;
	(void)pthread_mutex_unlock(&s->mutex);
	return h;
}

/* ---- Reading ---- */

/* What the cache does not have, by all hands. */
static int read_rest(struct page *p, const struct et_state_view *v, const uint8_t *order,
		     size_t count)
{
	struct helpers *h = count > 2 ? helpers_of(v->state) : NULL;
	size_t hands = h != NULL ? 1 + h->count : 1;
	rocksdb_pinnableslice_t *values[PAGE_PLACES] = { NULL };
	struct read_job jobs[1 + HELPERS];
	struct et_queue done;
	size_t given = 0;

	hands = hands > count ? count : hands;
	if (hands > 1 && et_queue_init(&done, HELPERS, 1, NULL, NULL) < 0) {
		hands = 1;
	}
	for (size_t i = hands; i-- > 0;) {
		jobs[i] = (struct read_job){ .v = v,
					     .page = p,
					     .order = order,
					     .first = (uint8_t)i,
					     .count = (uint8_t)count,
					     .step = (uint8_t)hands,
					     .values = values,
					     .done = &done };
		if (i > 0 && et_queue_push(&h->queues[i - 1], &jobs[i].node, 0) == 0) {
			given++;
		} else {
			job_run(&jobs[i]); /* also when the helper has too much to do */
		}
	}
	for (size_t i = 0; i < given;) {
		const struct et_queue_node *n = et_queue_wait(&done, -1);
		for (; n != NULL; n = n->next) {
			i++;
		}
	}
	if (hands > 1) {
		et_queue_destroy(&done);
	}
	int rc = 0;
	for (size_t i = 0; i < hands; i++) {
		rc = rc < 0 ? rc : jobs[i].status;
	}
	for (size_t i = 0; i < count; i++) {
		size_t size;
		if (values[i] == NULL) {
			continue;
		}
		const char *data = rocksdb_pinnableslice_value(values[i], &size);
		int status = record_take(p, order[i], (const uint8_t *)data, size);
		rocksdb_pinnableslice_destroy(values[i]);
		rc = rc < 0 ? rc : status;
	}
	return rc;
}

#define NEAR 12	      /* records that are stepped over sooner than sought past */
#define NEAR_HITS 6   /* for each that was not: else they lie too far apart for that */
#define COLD_BLOCKS 1 /* read from files: what comes next is not in memory, either */

/* What a site or a tag gives lies close together: those at the beginning of `order` (ascending) are
 * reached by steps. Returns how many were read, or an error. */
static int read_near(struct page *p, const struct et_state_view *v, const uint8_t *order,
		     size_t count, bool *ret_cold)
{
	rocksdb_iterator_t *it = view_iterator(v, CF_RECORDING);
	size_t misses = 0;
	int rc = 0;
	size_t i;

	rocksdb_perfcontext_t *counters = rocksdb_perfcontext_create();
	uint64_t before = rocksdb_perfcontext_metric(counters, rocksdb_block_read_count);
	*ret_cold = false;
	for (i = 0; i < count && rc == 0 && !*ret_cold; i++) {
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
		*ret_cold =
			rocksdb_perfcontext_metric(counters, rocksdb_block_read_count) - before >=
			COLD_BLOCKS;
	}
	rocksdb_perfcontext_destroy(counters);
	rocksdb_iter_destroy(it);
	return rc < 0 ? rc : (int)i;
}

/* One after the other, or (in memory) all at one go. */
static int read_together(struct page *p, const struct et_state_view *v, const uint8_t *order,
			 size_t count)
{
	const struct database *d = v->database;
	const char *keys[PAGE_PLACES] = { NULL };
	size_t sizes[PAGE_PLACES] = { 0 };
	rocksdb_pinnableslice_t *values[PAGE_PLACES] = { NULL };
	char *errors[PAGE_PLACES] = { NULL };
	int rc = 0;

	for (size_t i = 0; i < count; i++) {
		keys[i] = (const char *)p->places[order[i]].bytes + 8;
		sizes[i] = 16;
	}
	rocksdb_batched_multi_get_cf(d->db, v->options, d->cf[CF_RECORDING], count, keys, sizes,
				     values, errors, true);
	for (size_t i = 0; i < count; i++) {
		int status = state_status(errors[i], NULL, "read");
		if (values[i] != NULL) {
			size_t size;
			const char *data = rocksdb_pinnableslice_value(values[i], &size);
			status = record_take(p, order[i], (const uint8_t *)data, size);
			rocksdb_pinnableslice_destroy(values[i]);
		}
		rc = rc < 0 ? rc : status;
	}
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
	bool cold;

	int rc = read_near(p, v, order, count, &cold);
	if (rc >= 0 && (size_t)rc < count) {
		size_t near = (size_t)rc;
		rc = cold ? read_rest(p, v, order + near, count - near)
			  : read_together(p, v, order + near, count - near);
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
