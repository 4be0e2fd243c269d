/* The database: open, group commit, flush, checkpoint, views. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "node/base/fd.h"
#include "node/io/file.h"
#include "raft/state/overlay_internal.h"
#include "raft/state/rows_internal.h"
#include "raft/state/tail_internal.h"

/* Memory is bounded whatever the size of the database: blocks, indexes and filters in one cache,
 * memtables of all column families together under one limit (options.c). */
#define CACHE_BYTES (256UL << 20)
#define ROWS_BYTES (32UL << 20)
#define READ_TIER_MEMORY 1 /* RocksDB's kBlockCacheTier: memtables and block cache */

static const char *const cf_names[CF_COUNT] = {
	[CF_META] = "default",	  [CF_RECORDING] = "recording",
	[CF_SEGMENT] = "segment", [CF_COPY] = "copy",
	[CF_HOLD] = "hold",	  [CF_SITE] = "site",
	[CF_NODE] = "node",	  [CF_KEK] = "kek",
	[CF_GRANT] = "grant",	  [CF_CERTIFICATE] = "certificate",
	[CF_TOKEN] = "token",	  [CF_POLICY] = "policy",
	[CF_PLAN] = "plan",	  [CF_JOB] = "job",
	[CF_AUDIT] = "audit",	  [CF_OP] = "op",
	[CF_INDEX] = "index",	  [CF_TOLD] = "told",
	[CF_AGENT] = "agent",	  [CF_LINK] = "link",
	[CF_LIVE] = "live",	  [CF_FIND] = "find",
};

/* A column family that this build does not know was made by a newer one. */
static int families_check(const char *path, const rocksdb_options_t *options,
			  struct et_error *reterr)
{
	char *error = NULL;
	size_t count = 0;
	char **names = rocksdb_list_column_families(options, path, &count, &error);

	if (error != NULL) { /* nothing there yet, or what the open says better */
		rocksdb_free(error);
		rocksdb_list_column_families_destroy(names, count);
		return 0;
	}
	int rc = 0;
	for (size_t i = 0; i < count && rc == 0; i++) {
		bool known = false;
		for (size_t k = 0; k < CF_COUNT; k++) {
			known |= strcmp(names[i], cf_names[k]) == 0;
		}
		if (!known) {
			rc = et_fail(reterr, ET_EVERSION, "database '%s' (part '%s')", path,
				     names[i]);
		}
	}
	rocksdb_list_column_families_destroy(names, count);
	return rc;
}

static int meta_get(const struct et_state_view *v, const char *name, uint8_t *ret, size_t size)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	struct key key = key_meta(name);

	int rc = view_get(v, CF_META, &key, &b);
	if (rc < 0) {
		return rc;
	}
	if (b.size != size) {
		return ET_ECORRUPT;
	}
	memcpy(ret, b.data, size);
	return 0;
}

/* The index and digest that a view stands at; both zero in a new database. */
static int view_read_applied(struct et_state_view *v)
{
	uint8_t bytes[40];

	int rc = meta_get(v, "applied", bytes, sizeof(bytes));
	if (rc == 0) {
		v->index = et_get64(bytes);
		memcpy(v->digest, bytes + 8, sizeof(v->digest));
	}
	return rc == ET_ENOTFOUND ? 0 : rc;
}

#define COUNT_FIELDS (sizeof(struct et_state_counts) / sizeof(uint64_t))

int et_state_counts(const struct et_state_view *v, struct et_state_counts *ret)
{
	uint8_t bytes[sizeof(struct et_state_counts)];
	uint64_t fields[COUNT_FIELDS];

	int rc = meta_get(v, "counts", bytes, sizeof(bytes));
	if (rc == ET_ENOTFOUND) {
		*ret = (struct et_state_counts){ 0 };
		return 0;
	}
	if (rc == 0) {
		for (size_t i = 0; i < COUNT_FIELDS; i++) {
			fields[i] = et_get64(bytes + i * 8);
		}
		memcpy(ret, fields, sizeof(fields));
	}
	return rc;
}

/* The highest id of a recording; zero: there is none. */
static int highest_read(const struct et_state_view *v, uint8_t ret[16])
{
	rocksdb_iterator_t *it = view_iterator(v, CF_RECORDING);

	memset(ret, 0, 16);
	rocksdb_iter_seek_to_last(it);
	if (rocksdb_iter_valid(it)) {
		size_t size;
		const char *key = rocksdb_iter_key(it, &size);
		memcpy(ret, key, size < 16 ? size : 16); /* They all have 16. */
	}
	int rc = iterator_status(it);
	rocksdb_iter_destroy(it);
	return rc;
}

/* What apply keeps in memory, as the database has it: all of it, or (on failure) none. */
static int writer_load(struct et_state *s, struct et_state_view *v, struct et_error *reterr)
{
	struct et_state_counts counts;
	struct wraps wraps = { 0 };
	Et__Cluster *cluster = NULL;
	uint8_t audit[40] = { 0 };
	uint8_t highest[16];
	uint8_t ticked = 0;
	struct key key = key_meta("cluster");

	int rc = view_read_applied(v);
	rc = rc < 0 ? rc : et_state_counts(v, &counts);
	rc = rc < 0 ? rc : highest_read(v, highest);
	if (rc == 0) {
		rc = meta_get(v, "audit", audit, sizeof(audit));
		rc = rc == ET_ENOTFOUND ? 0 : rc;
	}
	if (rc == 0) {
		rc = meta_get(v, "ticked", &ticked, sizeof(ticked));
		rc = rc == ET_ENOTFOUND ? 0 : rc;
	}
	if (rc == 0) {
		rc = view_get_message(v, CF_META, &key, &et__cluster__descriptor, &cluster);
		rc = rc == ET_ENOTFOUND ? 0 : rc;
	}
	rc = rc < 0 ? rc : wraps_read(v, &wraps);
	if (rc < 0) {
		message_freep(&cluster);
		return et_fail(reterr, rc, "read the database");
	}
	wraps_release(&s->wraps);
	s->wraps = wraps;
	s->counts = counts;
	newest_begin(&s->newest, highest);
	s->audit_number = et_get64(audit);
	memcpy(s->audit_hash, audit + 8, sizeof(s->audit_hash));
	s->ticked = ticked != 0;
	message_freep(&s->cluster);
	s->cluster = cluster;
	s->failed = 0;
	atomic_store(&s->applied, v->index);
	return 0;
}

static int format_check(struct et_state *s, const struct et_state_view *v, struct et_error *reterr)
{
	uint8_t format[4];
	char *error = NULL;

	int rc = meta_get(v, "format", format, sizeof(format));
	if (rc == ET_ENOTFOUND) {
		et_put32(format, ET_STATE_FORMAT);
		rocksdb_put_cf(v->database->db, s->write_options, v->database->cf[CF_META],
			       "format", 6, (const char *)format, sizeof(format), &error);
		return state_status(error, reterr, "write");
	}
	if (rc < 0) {
		return et_fail(reterr, rc, "the database's format");
	}
	if (et_get32(format) != ET_STATE_FORMAT) {
		return et_fail(reterr, ET_EVERSION, "database of format %u, this build has %u",
			       et_get32(format), ET_STATE_FORMAT);
	}
	return 0;
}

/* ---- The database, shared ---- */

static void database_release(struct database *d)
{
	if (d == NULL || atomic_fetch_sub(&d->users, 1) > 1) {
		return;
	}
	for (size_t i = 0; i < CF_COUNT; i++) {
		if (d->cf[i] != NULL) {
			rocksdb_column_family_handle_destroy(d->cf[i]);
		}
	}
	if (d->db != NULL) {
		rocksdb_close(d->db);
	}
	for (size_t i = 0; i < CF_COUNT; i++) {
		if (d->family_options[i] != NULL) {
			rocksdb_options_destroy(d->family_options[i]);
		}
	}
	rocksdb_cache_destroy(d->cache);
	rows_free(d->rows);
	free(d);
}

/* Compactions can wait, and what waits for a processor beside them cannot: the state thread, Raft's
 * loop, the recorder. Three nodes on two cores, 16 batches of 64 in flight: 18,500 to 21,900
 * commands a second, p99 338 to 144 ms; 1 x 64 p99 23 to 17.6 (ops/doc/benchmarks.md). Flushes keep
 * theirs: writers wait for those (lowered, too: p99 above 460 ms). For the whole process. */
static void compactions_give_way(void)
{
	rocksdb_env_t *env = rocksdb_create_default_env();

	rocksdb_env_lower_thread_pool_cpu_priority(env);
	rocksdb_env_destroy(env);
}

static int database_open(struct et_state *s, const char *path, struct database **ret,
			 struct et_error *reterr)
{
	const rocksdb_options_t *options[CF_COUNT];
	struct database *d = calloc(1, sizeof(*d));
	char *error = NULL;

	if (d == NULL) {
		return et_fail(reterr, -ENOMEM, "database '%s'", path);
	}
	compactions_give_way();
	atomic_init(&d->users, 1);
	d->cache = rocksdb_cache_create_lru(CACHE_BYTES);
	d->rows = rows_new(ROWS_BYTES);
	for (size_t i = 0; i < CF_COUNT; i++) {
		options[i] = d->family_options[i] = family_options(d->cache, (enum state_cf)i);
	}
	int rc = d->rows == NULL ? et_fail(reterr, -ENOMEM, "database '%s'", path)
				 : families_check(path, d->family_options[CF_META], reterr);
	if (rc == 0) {
		d->db = rocksdb_open_column_families(d->family_options[CF_META], path, CF_COUNT,
						     cf_names, options, d->cf, &error);
		rc = state_status(error, reterr, "open the database");
	}
	if (rc < 0) {
		database_release(d);
		return rc;
	}
	database_preload(s, d, cf_names);
	*ret = d;
	return 0;
}

/* ---- Open ---- */

/* Go over to the database at `path`. On failure the state is as it was. */
static int state_take(struct et_state *s, const char *path, struct et_error *reterr)
{
	struct database *fresh = NULL;
	char *name = strdup(path);

	int rc = name == NULL ? et_fail(reterr, -ENOMEM, "database '%s'", path)
			      : database_open(s, path, &fresh, reterr);
	if (rc < 0) {
		free(name);
		return rc;
	}
	et_assert(fresh != NULL);
	struct et_state_view first = { .state = s, .database = fresh, .options = s->own.options };
	rc = format_check(s, &first, reterr);
	struct find_state find;
	rc = rc < 0 ? rc : find_open(s, &first, &find, reterr);
	struct tail_chunk *chunks = NULL;
	if (rc == 0) {
		rc = tail_load(&first, &chunks);
		rc = rc < 0 ? et_fail(reterr, rc, "the index's tail") : 0;
	}
	rc = rc < 0 ? rc : writer_load(s, &first, reterr);
	if (rc < 0) {
		free(name);
		tail_chunks_free(chunks);
		database_release(fresh);
		return rc;
	}
	tail_take(s->tail, fresh, name, chunks);
	(void)pthread_mutex_lock(&s->mutex);
	struct database *old = s->database;
	s->database = fresh;
	(void)pthread_mutex_unlock(&s->mutex);
	database_release(old);
	free(s->path);
	s->path = name;
	windows_forget(s);
	nodes_forget(s);
	first.overlay = &s->overlay;
	s->find = find;
	atomic_store(&s->find_pending, find.rebuilding);
	s->own = first;
	return 0;
}

int et_state_open(const char *path, struct et_state **ret, struct et_error *reterr)
{
	struct et_state *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		return et_fail(reterr, -ENOMEM, "database '%s'", path);
	}
	state_tsan_note();
	int rc = -pthread_mutex_init(&s->mutex, NULL);
	et_assert(rc == 0); /* Without attributes it needs nothing that could be missing. */
	s->write_options = rocksdb_writeoptions_create();
	rocksdb_writeoptions_disable_WAL(s->write_options, 1);
	/* Apply and the index write at the same time, each in the order of keys. */
	rocksdb_writeoptions_set_memtable_insert_hint_per_batch(s->write_options, 1);
	s->batch = rocksdb_writebatch_create();
	s->own.options = read_options();
	s->sha = et_sha256_new();
	s->index = index_new();
	rc = s->sha == NULL || s->index == NULL ? et_fail(reterr, -ENOMEM, "database '%s'", path)
						: et_file_mkdirs(path, reterr);
	rc = rc < 0 ? rc : tail_new(s, &s->tail, reterr);
	if (rc == 0) {
		rc = state_take(s, path, reterr);
	}
	if (rc < 0) {
		(void)et_state_close(s);
		return rc;
	}
	*ret = s;
	return 0;
}

int et_state_replace(struct et_state *s, const char *path, struct et_error *reterr)
{
	et_assert(!s->in_group);
	return state_take(s, path, reterr);
}

static void outcomes_clear(struct et_state *s)
{
	for (size_t i = 0; i < s->outcome_count; i++) {
		struct outcome *o = &s->outcomes[i];
		et_command_free(o->command);
		message_freep(&o->first);
		free(o->result.refused);
	}
	s->outcome_count = 0;
}

struct et_state *et_state_close(struct et_state *s)
{
	if (s == NULL) {
		return NULL;
	}
	et_assert(atomic_load(&s->views) == 0); /* readers end before the writer */
	tail_free(s->tail);
	helpers_stop(s->helpers);
	outcomes_clear(s);
	free(s->outcomes);
	message_freep(&s->cluster);
	wraps_release(&s->wraps);
	windows_forget(s);
	nodes_forget(s);
	overlay_release(&s->overlay);
	rocksdb_writebatch_destroy(s->batch);
	index_free(s->index);
	database_release(s->database);
	rocksdb_readoptions_destroy(s->own.options);
	rocksdb_writeoptions_destroy(s->write_options);
	(void)pthread_mutex_destroy(&s->mutex);
	(void)et_sha256_free(s->sha);
	free(s->path);
	free(s);
	return NULL;
}

/* ---- Group commit ---- */

void et_state_begin(struct et_state *s)
{
	et_assert(!s->in_group);
	et_assert(s->outcome_count == 0);
	rocksdb_set_perf_level(rocksdb_disable); /* this thread's: RocksDB counts each comparison */
	s->in_group = true;
}

static void meta_write(struct et_state *s)
{
	uint8_t applied[40];
	uint8_t audit[40];
	uint8_t counts[sizeof(struct et_state_counts)];
	uint64_t fields[COUNT_FIELDS];
	const struct {
		const char *name;
		const uint8_t *value;
		size_t size;
	} rows[] = {
		{ "applied", applied, sizeof(applied) },
		{ "audit", audit, sizeof(audit) },
		{ "counts", counts, sizeof(counts) },
	};

	et_put64(applied, s->own.index);
	memcpy(applied + 8, s->own.digest, 32);
	et_put64(audit, s->audit_number);
	memcpy(audit + 8, s->audit_hash, 32);
	memcpy(fields, &s->counts, sizeof(fields));
	for (size_t i = 0; i < COUNT_FIELDS; i++) {
		et_put64(counts + i * 8, fields[i]);
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		rocksdb_writebatch_put_cf(s->batch, s->database->cf[CF_META], rows[i].name,
					  strlen(rows[i].name), (const char *)rows[i].value,
					  rows[i].size);
	}
}

/* What readers have of the records that the group changes is not to be had any more. */
static void rows_forget(struct et_state *s)
{
	const struct overlay_list *l = overlay_sorted(&s->overlay, CF_RECORDING);
	struct rows *r = s->database->rows;

	rows_lock(r);
	for (size_t i = 0; i < l->count; i++) {
		et_assert(l->entries[i]->key_size == 16);
		rows_change(r, l->entries[i]->key, s->own.index);
	}
	rows_unlock(r);
}

/* Family by family, in the order of keys. */
static int batch_fill(struct et_state *s, struct et_error *reterr)
{
	windows_write(s);
	if (s->overlay.failed) {
		return et_fail(reterr, -ENOMEM, "write the database");
	}
	for (size_t cf = 0; cf < CF_COUNT; cf++) {
		const struct overlay_list *l = overlay_sorted(&s->overlay, (enum state_cf)cf);
		for (size_t i = 0; i < l->count; i++) {
			const struct overlay_entry *e = l->entries[i];
			if (e->deleted) {
				rocksdb_writebatch_delete_cf(s->batch, s->database->cf[cf],
							     (const char *)e->key, e->key_size);
			} else {
				rocksdb_writebatch_put_cf(s->batch, s->database->cf[cf],
							  (const char *)e->key, e->key_size,
							  (const char *)e->value, e->value_size);
			}
		}
	}
	meta_write(s);
	wraps_write(s);
	return tail_row(s->tail, s->batch, s->own.index, reterr);
}

/* The group's recordings are in the database. */
static void newest_note(struct et_state *s)
{
	const struct overlay_list *l = overlay_sorted(&s->overlay, CF_RECORDING);

	for (size_t i = 0; i < l->count; i++) {
		newest_add(&s->newest, l->entries[i]->key);
	}
}

static int group_write(struct et_state *s, struct et_error *reterr)
{
	char *error = NULL;

	int rc = batch_fill(s, reterr);
	if (rc == 0) {
		rows_forget(s);
		rocksdb_write(s->database->db, s->write_options, s->batch, &error);
		rc = state_status(error, reterr, "write the database");
	}
	tail_group_end(s->tail, rc == 0);
	if (rc == 0) {
		newest_note(s);
	}
	if (rc == 0 && s->erased) { /* not told before its entries say so */
		rc = tail_settle(s->tail, reterr);
	}
	return rc;
}

int et_state_commit(struct et_state *s, et_state_result_fn fn, void *arg, struct et_error *reterr)
{
	et_assert(s->in_group);
	if (s->failed == 0 && s->own.index > atomic_load(&s->applied)) {
		s->failed = group_write(s, reterr);
	} else {
		tail_group_end(s->tail, false);
		if (s->failed < 0) {
			et_fail(reterr, s->failed, "an earlier failure is final");
		}
	}
	rocksdb_writebatch_clear(s->batch);
	overlay_clear(&s->overlay);
	s->in_group = s->erased = false;
	if (s->failed == 0) {
		atomic_store(&s->applied, s->own.index);
		for (size_t i = 0; fn != NULL && i < s->outcome_count; i++) {
			struct outcome *o = &s->outcomes[i];
			s->telling = o;
			fn(arg, o->index, o->position, o->command,
			   o->first != NULL ? o->first : &o->result);
		}
		s->telling = NULL;
	}
	outcomes_clear(s);
	return s->failed;
}

Et__Command *et_state_take_command(struct et_state *s)
{
	et_assert(s->telling != NULL);
	return ET_TAKE(s->telling->command);
}

uint64_t et_state_applied(const struct et_state *s)
{
	return atomic_load(&s->applied);
}

/* ---- Checkpoint and flush ---- */

static int folder_sync(const char *path, struct et_error *reterr)
{
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0) {
		return et_fail(reterr, -errno, "sync folder '%s'", path);
	}
	return 0;
}

static int database_checkpoint(struct database *d, const char *path, struct et_error *reterr)
{
	char *error = NULL;

	rocksdb_checkpoint_t *c = rocksdb_checkpoint_object_create(d->db, &error);
	if (error != NULL) {
		return state_status(error, reterr, "make a checkpoint");
	}
	rocksdb_checkpoint_create(c, path, 0, &error); /* 0: flush first, whatever the size */
	rocksdb_checkpoint_object_destroy(c);
	return state_status(error, reterr, "make a checkpoint");
}

/* The applied index of a database that nobody has open. */
static int checkpoint_index(const char *path, uint64_t *ret, struct et_error *reterr)
{
	rocksdb_options_t *options = rocksdb_options_create();
	const rocksdb_options_t *family_options[] = { options };
	rocksdb_column_family_handle_t *meta = NULL;
	char *error = NULL;
	char *value = NULL;
	size_t size = 0;

	rocksdb_options_set_max_open_files(options, 16); /* none but those that are read */
	rocksdb_t *db = rocksdb_open_for_read_only_column_families(
		options, path, 1, &cf_names[CF_META], family_options, &meta, 0, &error);
	if (error == NULL) {
		rocksdb_readoptions_t *read = rocksdb_readoptions_create();
		value = rocksdb_get_cf(db, read, meta, "applied", strlen("applied"), &size, &error);
		rocksdb_readoptions_destroy(read);
		rocksdb_column_family_handle_destroy(meta);
		rocksdb_close(db);
	}
	rocksdb_options_destroy(options);
	int rc = state_status(error, reterr, "read the checkpoint");
	if (rc == 0) {
		*ret = size >= 8 ? et_get64((const uint8_t *)value) : 0; /* nothing is applied */
	}
	rocksdb_free(value);
	return rc;
}

int et_state_checkpoint(struct et_state *s, const char *path, uint64_t *ret_index,
			struct et_error *reterr)
{
	(void)pthread_mutex_lock(&s->mutex);
	struct database *d = s->database;
	atomic_fetch_add(&d->users, 1);
	(void)pthread_mutex_unlock(&s->mutex);
	int rc = database_checkpoint(d, path, reterr);
	database_release(d);
	rc = rc < 0 ? rc : checkpoint_index(path, ret_index, reterr);
	rc = rc < 0 ? rc : folder_sync(path, reterr);
	return rc < 0 ? rc : et_file_sync_parent(path, reterr);
}

static void folder_remove(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *e;

	if (dir != NULL) {
		while ((e = readdir(dir)) != NULL) {
			(void)unlinkat(dirfd(dir), e->d_name, 0);
		}
		(void)closedir(dir);
		(void)rmdir(path);
	}
}

/* RocksDB's C interface flushes one column family at a time, atomic_flush or not: a crash between
 * two would leave `applied` without its records. Making a checkpoint flushes all as one. */
int database_flush(struct database *d, const char *path, struct et_error *reterr)
{
	folder_remove(path); /* of a process that died in the middle */
	int rc = database_checkpoint(d, path, reterr);
	folder_remove(path);
	return rc;
}

int et_state_flush(struct et_state *s, struct et_error *reterr)
{
	char path[4096];

	et_assert(!s->in_group);
	int n = snprintf(path, sizeof(path), "%s.flush", s->path);
	if (n < 0 || (size_t)n >= sizeof(path)) {
		return et_fail(reterr, -ENAMETOOLONG, "'%s'", s->path);
	}
	int rc = tail_settle(s->tail, reterr);
	return rc < 0 ? rc : database_flush(s->database, path, reterr);
}

/* ---- Views ---- */

struct et_state_view *et_state_view_open(struct et_state *s)
{
	struct et_state_view *v = calloc(1, sizeof(*v));

	if (v == NULL) {
		return NULL;
	}
	(void)pthread_mutex_lock(&s->mutex);
	v->database = s->database;
	v->in_index = tail_has(s->tail, v->database); /* before the snapshot */
	atomic_fetch_add(&v->database->users, 1);
	(void)pthread_mutex_unlock(&s->mutex);
	v->state = s;
	v->needs = UINT64_MAX;
	v->options = read_options();
	v->snapshot = rocksdb_create_snapshot(v->database->db);
	rocksdb_readoptions_set_snapshot(v->options, v->snapshot);
	v->cached = read_options();
	rocksdb_readoptions_set_snapshot(v->cached, v->snapshot);
	rocksdb_readoptions_set_read_tier(v->cached, READ_TIER_MEMORY);
	atomic_fetch_add(&s->views, 1);
	if (view_read_applied(v) < 0) {
		return et_state_view_close(v);
	}
	return v;
}

struct et_state_view *et_state_view_open_indexed(struct et_state *s, uint32_t wait_ms)
{
	uint64_t needs = et_state_applied(s);

	(void)tail_wait(s->tail, needs, wait_ms); /* in vain: search says what it lacks */
	struct et_state_view *v = et_state_view_open(s);
	if (v != NULL) {
		v->needs = needs;
	}
	return v;
}

void et_state_index_hold(struct et_state *s, bool hold)
{
	tail_hold(s->tail, hold);
}

struct et_state_view *et_state_view_close(struct et_state_view *v)
{
	if (v != NULL) {
		rocksdb_readoptions_destroy(v->options);
		rocksdb_readoptions_destroy(v->cached);
		rocksdb_release_snapshot(v->database->db, v->snapshot);
		database_release(v->database);
		atomic_fetch_sub(&v->state->views, 1);
		free(atomic_load(&v->gone));
		free(v);
	}
	return NULL;
}

uint64_t et_state_view_index(const struct et_state_view *v)
{
	return v->index;
}

uint64_t et_state_view_searched(const struct et_state_view *v)
{
	return v->needs < v->index ? v->needs : v->index;
}

int et_state_digest(const struct et_state_view *v, uint64_t *ret_index, uint8_t ret[32])
{
	if (ret_index != NULL) {
		*ret_index = v->index;
	}
	memcpy(ret, v->digest, 32);
	return 0;
}

/* ---- Content ---- */

static int content_add(void *arg, struct et_view key, struct et_view value)
{
	uint8_t head[8];

	et_put32(head, (uint32_t)key.size);
	et_put32(head + 4, (uint32_t)value.size);
	et_sha256_add(arg, head, sizeof(head));
	et_sha256_add(arg, key.data, key.size);
	et_sha256_add(arg, value.data, value.size);
	return 0;
}

int et_state_content_digest(const struct et_state_view *v, uint8_t ret[32])
{
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *sha = et_sha256_new();
	struct key all = { 0 };

	if (sha == NULL) {
		return -ENOMEM;
	}
	for (size_t i = 0; i < CF_COUNT; i++) {
		uint8_t family = (uint8_t)i;
		if (i == CF_FIND || i == CF_LIVE) {
			continue; /* made of the others: et_state_index_digest() */
		}
		et_sha256_add(sha, &family, 1);
		int rc = view_walk(v, (enum state_cf)i, &all, NULL, content_add, sha);
		if (rc < 0) {
			return rc;
		}
	}
	et_sha256_end(sha, ret);
	return 0;
}
