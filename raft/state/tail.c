/* Writing the index behind apply: see tail_internal.h.
 *
 * Happy path: groups push their rows; when there are TAIL_BULK_BYTES of them, or somebody waits for
 * one, or the oldest is TAIL_LINGER_MS old, the index thread takes all of them, sorts their changes
 * by key, keeps the last of each, writes them, and deletes the rows.
 *
 *   few    one WriteBatch: changes, rows, how far it has come
 *   many   all families are flushed; a file of the changes to `find` is made and taken in; then a
 *          WriteBatch with the changes to `live`, rows, and how far
 *
 * Why a file: a memtable costs about one microsecond a key (Debian's build has its assertions on),
 * a file less than half of it, and no flush. Why the flush before it: a file that was taken in
 * stays after a kill, memtables do not. Without the flush the index would then have entries of
 * recordings that the database does not know yet. With it, a kill at any point leaves a database
 * that has all that its index says, and the rows, which are applied again.
 *
 * Possible failures: the database cannot be written. That is final: the next group fails with it.
 *
 * Keys in family `live`, beside the index's own (which begin with 0 or 1):
 *
 *   0xfd             index 8: groups up to it are in the index
 *   0xfe, index 8    a group's row: see changes_internal.h */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "node/io/clock.h"
#include "raft/state/changes_internal.h"

enum { ROW_KEY = 9 };

#define TAG_DONE 0xfd
#define TAG_ROW 0xfe

struct tail_chunk {
	struct tail_chunk *next;
	uint64_t index;
	struct et_buffer row; /* owned */
	bool again;	      /* from a database: the index may have it already */
};

struct tail {
	struct et_state *s; /* borrowed: its write options */
	pthread_t thread;
	bool runs;
	atomic_bool hold;

	/* The state thread's: the group. */
	struct et_buffer ids, changes;
	struct tail_chunk *sealed; /* owned: the group's, while it is written */

	struct changes writes; /* the index thread's: what it is writing */

	/* Under the mutex. */
	pthread_mutex_t mutex;
	pthread_cond_t woken;		 /* the index thread */
	pthread_cond_t moved;		 /* whoever waits for it */
	struct tail_chunk *first, *last; /* owned: what is not being written yet */
	uint64_t oldest;		 /* the lowest index that is not in; UINT64_MAX: none */
	uint64_t wanted;		 /* somebody waits for groups up to this one */
	uint64_t known;			 /* of all groups up to here the chunks have come */
	size_t bytes;			 /* of all chunks, with those that are being written */
	int64_t since_us;		 /* when `first` came */
	bool writing, stop;
	struct tail_tuning tuning;
	uint64_t files;
	int failed;
	struct et_error error;
	struct database *database; /* borrowed */
	char path[4096];	   /* of the database */
};

/* ---- Rows ---- */

static struct key key_row(uint64_t index)
{
	struct key k = key_tag((char)TAG_ROW);

	key_add64(&k, index);
	return k;
}

static struct key key_done(void)
{
	return key_tag((char)TAG_DONE);
}

void tail_rows_drop(rocksdb_writebatch_t *batch, const struct database *d)
{
	const char from = (char)TAG_DONE;
	const char to = (char)(TAG_ROW + 1);

	rocksdb_writebatch_delete_range_cf(batch, d->cf[CF_LIVE], &from, 1, &to, 1);
}

void tail_add_recording(struct tail *t, const uint8_t id[16])
{
	et_buffer_add(&t->ids, id, ROW_ID_SIZE);
}

void tail_add(struct tail *t, enum tail_kind kind, enum state_cf cf, const uint8_t *key,
	      size_t key_size, const uint8_t *value, size_t value_size)
{
	change_add(&t->changes, kind, cf, key, key_size, value, value_size);
}

static void chunk_free(struct tail_chunk *c)
{
	if (c != NULL) {
		et_buffer_release(&c->row);
		free(c);
	}
}

void tail_chunks_free(struct tail_chunk *list)
{
	while (list != NULL) {
		struct tail_chunk *c = list;
		list = c->next;
		chunk_free(c);
	}
}

static struct tail_chunk *chunk_seal(struct tail *t, uint64_t index)
{
	struct tail_chunk *c = calloc(1, sizeof(*c));

	if (c == NULL || t->ids.failed || t->changes.failed) {
		free(c);
		return NULL;
	}
	c->index = index;
	row_make(&c->row, &t->ids, &t->changes);
	if (c->row.failed) {
		chunk_free(c);
		return NULL;
	}
	return c;
}

/* With the mutex: have the thread write, and wait for what it has done. */
static void tail_push_on(struct tail *t)
{
	t->wanted = UINT64_MAX;
	(void)pthread_cond_signal(&t->woken);
	(void)pthread_cond_wait(&t->moved, &t->mutex);
}

/* With the mutex: has it failed? */
static int tail_failure(const struct tail *t, struct et_error *reterr)
{
	if (t->failed < 0 && reterr != NULL) {
		*reterr = t->error;
	}
	return t->failed;
}

int tail_row(struct tail *t, rocksdb_writebatch_t *batch, uint64_t index, struct et_error *reterr)
{
	(void)pthread_mutex_lock(&t->mutex);
	while (t->failed == 0 && t->bytes >= t->tuning.max_bytes) {
		tail_push_on(t);
	}
	int rc = tail_failure(t, reterr);
	(void)pthread_mutex_unlock(&t->mutex);
	if (rc < 0 || (t->ids.size == 0 && !t->ids.failed)) {
		return rc;
	}
	t->sealed = chunk_seal(t, index);
	if (t->sealed == NULL) {
		return et_fail(reterr, -ENOMEM, "the index");
	}
	struct key key = key_row(index);
	rocksdb_writebatch_put_cf(batch, t->s->database->cf[CF_LIVE], (const char *)key.data,
				  key.size, (const char *)t->sealed->row.data, t->sealed->row.size);
	return 0;
}

static void chunk_push(struct tail *t, struct tail_chunk *c)
{
	if (t->last != NULL) {
		t->last->next = c;
	} else {
		t->first = c;
		t->since_us = et_clock_mono_us();
	}
	t->last = c;
	t->bytes += c->row.size;
	t->oldest = t->oldest == UINT64_MAX ? c->index : t->oldest;
}

void tail_group_end(struct tail *t, bool good)
{
	struct tail_chunk *c = ET_TAKE(t->sealed);

	t->ids.size = t->changes.size = 0;
	t->ids.failed = t->changes.failed = false;
	if (!good) {
		chunk_free(c);
		return;
	}
	(void)pthread_mutex_lock(&t->mutex);
	t->known = t->s->own.index;
	if (c != NULL) {
		bool wake = t->first == NULL || t->bytes + c->row.size >= t->tuning.bulk_bytes;
		chunk_push(t, c);
		if (wake) {
			(void)pthread_cond_signal(&t->woken);
		}
	}
	(void)pthread_mutex_unlock(&t->mutex);
}

/* ---- Writing ---- */

static void batch_add(rocksdb_writebatch_t *batch, rocksdb_column_family_handle_t *cf,
		      const struct change_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		struct change c = change_at(list, i);
		if (c.kind == TAIL_DELETE) {
			rocksdb_writebatch_delete_cf(batch, cf, c.key, c.key_size);
		} else {
			rocksdb_writebatch_put_cf(batch, cf, c.key, c.key_size, c.value,
						  c.value_size);
		}
	}
}

static void rows_delete(rocksdb_writebatch_t *batch, const struct database *d,
			const struct tail_chunk *list)
{
	struct key key = key_done();
	uint8_t done[8] = { 0 };

	for (const struct tail_chunk *c = list; c != NULL; c = c->next) {
		struct key row = key_row(c->index);
		rocksdb_writebatch_delete_cf(batch, d->cf[CF_LIVE], (const char *)row.data,
					     row.size);
		et_put64(done, c->index);
	}
	rocksdb_writebatch_put_cf(batch, d->cf[CF_LIVE], (const char *)key.data, key.size,
				  (const char *)done, sizeof(done));
}

/* The changes that are in no file; the rows go with them. */
static int write_batch(struct tail *t, const struct tail_chunk *list, bool in_file, bool rows_stay,
		       struct et_error *reterr)
{
	rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
	const struct database *d = t->database;
	char *error = NULL;

	if (!in_file) {
		batch_add(batch, d->cf[CF_FIND], &t->writes.find);
	}
	batch_add(batch, d->cf[CF_LIVE], &t->writes.live);
	if (!rows_stay) {
		rows_delete(batch, d, list);
	}
	rocksdb_write(d->db, t->s->write_options, batch, &error);
	rocksdb_writebatch_destroy(batch);
	return state_status(error, reterr, "write the index");
}

static int file_make(const struct tail *t, const char *path, struct et_error *reterr)
{
	const struct change_list *find = &t->writes.find;
	rocksdb_envoptions_t *env = rocksdb_envoptions_create();
	rocksdb_sstfilewriter_t *w =
		rocksdb_sstfilewriter_create(env, t->database->family_options[CF_FIND]);
	char *error = NULL;

	rocksdb_sstfilewriter_open(w, path, &error);
	for (size_t i = 0; i < find->count && error == NULL; i++) {
		struct change c = change_at(find, i);
		if (c.kind == TAIL_DELETE) {
			rocksdb_sstfilewriter_delete(w, c.key, c.key_size, &error);
		} else {
			rocksdb_sstfilewriter_put(w, c.key, c.key_size, c.value, c.value_size,
						  &error);
		}
	}
	if (error == NULL) {
		rocksdb_sstfilewriter_finish(w, &error);
	}
	rocksdb_sstfilewriter_destroy(w);
	rocksdb_envoptions_destroy(env);
	return state_status(error, reterr, "make a file of the index");
}

static int file_take_in(const struct tail *t, const char *path, struct et_error *reterr)
{
	rocksdb_ingestexternalfileoptions_t *options = rocksdb_ingestexternalfileoptions_create();
	char *error = NULL;

	rocksdb_ingestexternalfileoptions_set_move_files(options, 1);
	rocksdb_ingest_external_file_cf(t->database->db, t->database->cf[CF_FIND], &path, 1,
					options, &error);
	rocksdb_ingestexternalfileoptions_destroy(options);
	return state_status(error, reterr, "take in a file of the index");
}

/* The changes to family `find`. */
static int write_file(const struct tail *t, struct et_error *reterr)
{
	char path[sizeof(t->path) + 16];

	(void)snprintf(path, sizeof(path), "%s.index", t->path);
	int rc = database_flush(t->database, path, reterr);
	if (rc == 0) {
		(void)snprintf(path, sizeof(path), "%s/index.tmp", t->path);
		(void)unlink(path); /* of a process that died in the middle */
		rc = file_make(t, path, reterr);
		rc = rc < 0 ? rc : file_take_in(t, path, reterr);
		(void)unlink(path); /* if it was taken in, this is another name of it */
	}
	return rc;
}

static int changes_of(struct changes *x, const struct tail_chunk *list)
{
	int rc = 0;

	changes_clear(x);
	for (const struct tail_chunk *c = list; rc == 0 && c != NULL; c = c->next) {
		rc = changes_read(x, (struct et_view){ c->row.data, c->row.size }, c->again);
	}
	return rc < 0 ? rc : changes_settle(x);
}

/* Returns whether it made a file. */
static int tail_write(struct tail *t, const struct tail_chunk *list, bool is_bulk, bool rows_stay,
		      struct et_error *reterr)
{
	int rc = changes_of(&t->writes, list);

	if (rc < 0) {
		return et_fail(reterr, rc, "the index's tail");
	}
	bool in_file = is_bulk && t->writes.find.count > 0 && !atomic_load(&t->hold);
	if (in_file) {
		rc = write_file(t, reterr);
	}
	rc = rc < 0 ? rc : write_batch(t, list, in_file, rows_stay, reterr);
	return rc < 0 ? rc : in_file;
}

/* ---- The index thread ---- */

static bool tail_is_due(const struct tail *t, int64_t now_us)
{
	return t->first->index <= t->wanted || t->bytes >= t->tuning.bulk_bytes ||
	       now_us - t->since_us >= INT64_C(1000) * t->tuning.linger_ms;
}

static void time_at(int64_t mono_us, struct timespec *ret)
{
	ret->tv_sec = mono_us / 1000000;
	ret->tv_nsec = mono_us % 1000000 * 1000;
}

/* With the mutex, which is free while it writes. */
static void tail_turn(struct tail *t)
{
	struct tail_chunk *list = ET_TAKE(t->first);
	struct et_error error;
	size_t bytes = t->bytes;
	bool is_bulk = bytes >= t->tuning.bulk_bytes;
	bool rows_stay = t->tuning.rows_stay;

	t->last = NULL;
	t->writing = true;
	(void)pthread_mutex_unlock(&t->mutex);
	int rc = tail_write(t, list, is_bulk, rows_stay, &error);
	tail_chunks_free(list);
	if (!is_bulk) { /* else the next one most likely is, too */
		changes_release(&t->writes);
	}
	(void)pthread_mutex_lock(&t->mutex);
	t->writing = false;
	t->files += rc > 0;
	if (rc < 0) {
		t->failed = rc;
		t->error = error;
	} else {
		t->bytes -= bytes;
		t->oldest = t->first != NULL ? t->first->index : UINT64_MAX;
		t->wanted = t->first == NULL ? 0 : t->wanted;
	}
	(void)pthread_cond_broadcast(&t->moved);
}

static void *tail_main(void *arg)
{
	struct tail *t = arg;

	rocksdb_set_perf_level(rocksdb_disable);
	(void)pthread_mutex_lock(&t->mutex);
	while (!t->stop) {
		bool paused = t->tuning.paused && t->wanted != UINT64_MAX;
		if (t->first == NULL || t->failed < 0 || paused) {
			(void)pthread_cond_wait(&t->woken, &t->mutex);
		} else if (tail_is_due(t, et_clock_mono_us())) {
			tail_turn(t);
		} else {
			struct timespec until;
			time_at(t->since_us + INT64_C(1000) * t->tuning.linger_ms, &until);
			(void)pthread_cond_timedwait(&t->woken, &t->mutex, &until);
		}
	}
	(void)pthread_mutex_unlock(&t->mutex);
	return NULL;
}

/* ---- Life ---- */

int tail_new(struct et_state *s, struct tail **ret, struct et_error *reterr)
{
	struct tail *t = calloc(1, sizeof(*t));
	pthread_condattr_t attributes;

	if (t == NULL) {
		return et_fail(reterr, -ENOMEM, "the index's thread");
	}
	t->s = s;
	t->oldest = UINT64_MAX;
	t->tuning = (struct tail_tuning){ .bulk_bytes = TAIL_BULK_BYTES,
					  .max_bytes = TAIL_MAX_BYTES,
					  .linger_ms = TAIL_LINGER_MS };
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&t->woken, &attributes);
	(void)pthread_cond_init(&t->moved, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	(void)pthread_mutex_init(&t->mutex, NULL);
	int rc = -pthread_create(&t->thread, NULL, tail_main, t);
	t->runs = rc == 0;
	if (rc < 0) {
		tail_free(t);
		return et_fail(reterr, rc, "the index's thread");
	}
	(void)pthread_setname_np(t->thread, "index");
	*ret = t;
	return 0;
}

void tail_free(struct tail *t)
{
	if (t == NULL) {
		return;
	}
	if (t->runs) {
		(void)pthread_mutex_lock(&t->mutex);
		t->stop = true;
		(void)pthread_cond_signal(&t->woken);
		(void)pthread_mutex_unlock(&t->mutex);
		(void)pthread_join(t->thread, NULL);
	}
	tail_chunks_free(t->first);
	chunk_free(t->sealed);
	changes_release(&t->writes);
	et_buffer_release(&t->ids);
	et_buffer_release(&t->changes);
	(void)pthread_cond_destroy(&t->woken);
	(void)pthread_cond_destroy(&t->moved);
	(void)pthread_mutex_destroy(&t->mutex);
	free(t);
}

void tail_take(struct tail *t, struct database *database, const char *path, struct tail_chunk *list)
{
	(void)pthread_mutex_lock(&t->mutex);
	tail_chunks_free(ET_TAKE(t->first));
	t->last = NULL;
	while (t->writing) {
		(void)pthread_cond_wait(&t->moved, &t->mutex);
	}
	t->bytes = 0;
	t->oldest = UINT64_MAX;
	t->wanted = 0;
	t->failed = 0;
	t->known = et_state_applied(t->s);
	t->database = database;
	(void)snprintf(t->path, sizeof(t->path), "%s", path);
	for (struct tail_chunk *c = list, *next; c != NULL; c = next) {
		next = ET_TAKE(c->next);
		chunk_push(t, c);
	}
	(void)pthread_cond_signal(&t->woken);
	(void)pthread_cond_broadcast(&t->moved);
	(void)pthread_mutex_unlock(&t->mutex);
}

/* ---- Waiting for it ---- */

int tail_settle(struct tail *t, struct et_error *reterr)
{
	(void)pthread_mutex_lock(&t->mutex);
	while (t->failed == 0 && (t->first != NULL || t->writing)) {
		tail_push_on(t);
	}
	int rc = tail_failure(t, reterr);
	(void)pthread_mutex_unlock(&t->mutex);
	return rc;
}

bool tail_wait(struct tail *t, uint64_t index, uint32_t timeout_ms)
{
	struct timespec until;
	int rc = 0;

	time_at(et_clock_mono_us() + INT64_C(1000) * timeout_ms, &until);
	(void)pthread_mutex_lock(&t->mutex);
	while (t->failed == 0 && t->oldest <= index && rc == 0) {
		t->wanted = t->wanted > index ? t->wanted : index;
		(void)pthread_cond_signal(&t->woken);
		rc = pthread_cond_timedwait(&t->moved, &t->mutex, &until);
	}
	bool in = t->oldest > index;
	(void)pthread_mutex_unlock(&t->mutex);
	return in;
}

uint64_t tail_has(struct tail *t, const struct database *database)
{
	(void)pthread_mutex_lock(&t->mutex);
	uint64_t index = t->oldest == UINT64_MAX ? t->known : t->oldest - 1;
	index = t->database == database ? index : 0;
	(void)pthread_mutex_unlock(&t->mutex);
	return index;
}

void tail_hold(struct tail *t, bool hold)
{
	atomic_store(&t->hold, hold);
}

/* ---- For tests ---- */

struct tail_tuning tail_tuning(struct tail *t)
{
	(void)pthread_mutex_lock(&t->mutex);
	struct tail_tuning tuning = t->tuning;
	(void)pthread_mutex_unlock(&t->mutex);
	return tuning;
}

void tail_tune(struct tail *t, const struct tail_tuning *tuning)
{
	(void)pthread_mutex_lock(&t->mutex);
	t->tuning = *tuning;
	(void)pthread_cond_signal(&t->woken);
	(void)pthread_mutex_unlock(&t->mutex);
}

uint64_t tail_files(struct tail *t)
{
	(void)pthread_mutex_lock(&t->mutex);
	uint64_t files = t->files;
	(void)pthread_mutex_unlock(&t->mutex);
	return files;
}

size_t tail_bytes(struct tail *t)
{
	(void)pthread_mutex_lock(&t->mutex);
	size_t bytes = t->bytes;
	(void)pthread_mutex_unlock(&t->mutex);
	return bytes;
}

/* ---- Reading rows ---- */

/* Call `fn` for each row that the index lacks. */
static int rows_each(const struct et_state_view *v, view_walk_fn fn, void *arg)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer done = { 0 };
	struct key prefix = key_tag((char)TAG_ROW);
	struct key key = key_done();
	struct key from = prefix;

	int rc = view_get(v, CF_LIVE, &key, &done);
	if (rc == 0) { /* deleted rows before it cost nothing */
		if (done.size != 8) {
			return ET_ECORRUPT;
		}
		from = key_row(et_get64(done.data) + 1);
	}
	return rc < 0 && rc != ET_ENOTFOUND ? rc : view_walk(v, CF_LIVE, &prefix, &from, fn, arg);
}

struct loading {
	struct tail_chunk *first, *last; /* owned */
};

static int load_each(void *arg, struct et_view key, struct et_view value)
{
	struct loading *l = arg;
	struct tail_chunk *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		return -ENOMEM;
	}
	et_buffer_add(&c->row, value.data, value.size);
	if (key.size != ROW_KEY || value.size < 4 || c->row.failed) {
		int rc = c->row.failed ? -ENOMEM : ET_ECORRUPT;
		chunk_free(c);
		return rc;
	}
	c->index = et_get64(key.data + 1);
	c->again = true;
	if (l->last != NULL) {
		l->last->next = c;
	} else {
		l->first = c;
	}
	l->last = c;
	return 0;
}

int tail_load(const struct et_state_view *v, struct tail_chunk **ret)
{
	struct loading l = { 0 };

	int rc = rows_each(v, load_each, &l);
	if (rc < 0) {
		tail_chunks_free(l.first);
		return rc;
	}
	*ret = l.first;
	return 0;
}

struct viewing {
	struct tail_view *ret;
	size_t capacity;
};

static int view_each(void *arg, struct et_view key, struct et_view value)
{
	struct viewing *x = arg;
	struct tail_view *t = x->ret;
	size_t count;

	const uint8_t *ids = row_ids(value, &count);
	if (key.size != ROW_KEY || ids == NULL) {
		return ET_ECORRUPT;
	}
	if (t->count + count > x->capacity) {
		size_t capacity = 2 * (t->count + count);
		uint8_t(*p)[16] = realloc(t->ids, capacity * sizeof(*p));
		if (p == NULL) {
			return -ENOMEM;
		}
		t->ids = p;
		x->capacity = capacity;
	}
	memcpy(t->ids + t->count, ids, count * ROW_ID_SIZE);
	t->count += count;
	t->first = t->first == 0 ? et_get64(key.data + 1) : t->first;
	return 0;
}

static int id_order(const void *a, const void *b)
{
	return memcmp(a, b, ROW_ID_SIZE);
}

int tail_view_read(const struct et_state_view *v, struct tail_view *ret)
{
	struct viewing x = { .ret = ret };

	*ret = (struct tail_view){ 0 };
	if (v->index <= v->in_index) {
		return 0;
	}
	int rc = rows_each(v, view_each, &x);
	if (rc < 0) {
		tail_view_release(ret);
		return rc;
	}
	if (ret->count > 1) {
		qsort(ret->ids, ret->count, sizeof(ret->ids[0]), id_order);
	}
	return 0;
}

void tail_view_release(struct tail_view *t)
{
	free(t->ids);
	*t = (struct tail_view){ 0 };
}

bool tail_view_has(const struct tail_view *t, const uint8_t id[16])
{
	return t->count > 0 && bsearch(id, t->ids, t->count, sizeof(t->ids[0]), id_order) != NULL;
}
