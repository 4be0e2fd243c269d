/* Threads that wait for the disk, and what is read by them: see search_internal.h. */
#include <pthread.h>
#include <signal.h>

#include "node/base/queue.h"
#include "raft/state/search_internal.h"

#define HELPERS 16 /* threads; an SSD answers that many at once about as fast as one */

struct helpers {
	size_t count;
	struct et_queue queues[HELPERS];
	pthread_t threads[HELPERS];
};

/* Work that is shared out: who is free takes the next part. */
struct work {
	void (*fn)(void *arg, size_t i);
	void *arg;
	size_t count;
	atomic_size_t next;
	struct et_queue done;
};

struct job {
	struct et_queue_node node;
	struct work *work;
};

static void work_run(struct work *w)
{
	for (size_t i; (i = atomic_fetch_add(&w->next, 1)) < w->count;) {
		w->fn(w->arg, i);
	}
}

static void *helper_run(void *arg)
{
	struct et_queue *q = arg;

	rocksdb_set_perf_level(rocksdb_disable); /* of this thread: nobody reads its counters */
	for (;;) {
		struct et_queue_node *n = et_queue_wait(q, -1);
		if (n == NULL) {
			return NULL; /* closed */
		}
		while (n != NULL) {
			struct job *j = ET_CONTAINER_OF(n, struct job, node);
			n = n->next;
			work_run(j->work);
			int rc = et_queue_push(&j->work->done, &j->node, 0);
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

/* They begin with a database that has much to preload, or with the first page that is not in
 * memory: most processes never need them. */
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

void helpers_each(struct et_state *s, size_t count, void (*fn)(void *arg, size_t i), void *arg)
{
	struct helpers *h = count > 1 ? helpers_of(s) : NULL;
	struct work work = { .fn = fn, .arg = arg, .count = count };
	struct job jobs[HELPERS];
	size_t hands = h == NULL ? 0 : h->count < count ? h->count : count - 1;
	size_t given = 0;

	atomic_init(&work.next, 0);
	if (hands > 0 && et_queue_init(&work.done, HELPERS, 1, NULL, NULL) < 0) {
		hands = 0;
	}
	for (size_t i = 0; i < hands; i++) {
		jobs[i].work = &work;
		/* One that has too much to do already is left alone. */
		given += et_queue_push(&h->queues[i], &jobs[i].node, 0) == 0;
	}
	work_run(&work);
	for (size_t i = 0; i < given;) {
		const struct et_queue_node *n = et_queue_wait(&work.done, -1);
		for (; n != NULL; n = n->next) {
			i++;
		}
	}
	if (hands > 0) {
		et_queue_destroy(&work.done);
	}
}

/* ---- Values of many keys ---- */

struct fetch {
	const struct et_state_view *v;
	enum state_cf cf;
	const struct et_view *keys;
	rocksdb_pinnableslice_t **values;
	size_t first; /* that was not in memory */
	int status[FETCH_MAX];
};

static rocksdb_pinnableslice_t *fetch_one(const struct fetch *f, size_t i,
					  const rocksdb_readoptions_t *options, char **error)
{
	const struct database *d = f->v->database;

	return rocksdb_get_pinned_cf(d->db, options, d->cf[f->cf], (const char *)f->keys[i].data,
				     f->keys[i].size, error);
}

static void fetch_rest(void *arg, size_t i)
{
	struct fetch *f = arg;
	char *error = NULL;

	f->values[f->first + i] = fetch_one(f, f->first + i, f->v->options, &error);
	f->status[i] = state_status(error, NULL, "read");
}

/* RocksDB's batch of keys would go to the disk itself, one read after the other. */
int fetch(const struct et_state_view *v, enum state_cf cf, const struct et_view *keys, size_t count,
	  rocksdb_pinnableslice_t **values)
{
	struct fetch f = { .v = v, .cf = cf, .keys = keys, .values = values };
	char *error = NULL;
	int rc = 0;

	et_assert(count <= FETCH_MAX);
	memset(values, 0, count * sizeof(values[0]));
	while (f.first < count && error == NULL) {
		values[f.first] = fetch_one(&f, f.first, v->cached, &error);
		f.first += error == NULL;
	}
	if (error != NULL) { /* not in memory; another error comes again */
		rocksdb_free(error);
		helpers_each(v->state, count - f.first, fetch_rest, &f);
	}
	for (size_t i = f.first; i < count; i++) {
		rc = rc < 0 ? rc : f.status[i - f.first];
	}
	if (rc < 0) {
		fetch_release(values, count);
	}
	return rc;
}

void fetch_release(rocksdb_pinnableslice_t **values, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (values[i] != NULL) {
			rocksdb_pinnableslice_destroy(values[i]);
			values[i] = NULL;
		}
	}
}
