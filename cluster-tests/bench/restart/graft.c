/* Calls that bench-search has loaded, under another cluster: the records that say who it is are
 * taken over from the node's own database. What is of the calls (and their audit events) stays. */
#include <rocksdb/c.h>
#include <stdio.h>
#include <string.h>

#include "cluster-tests/bench/restart/fill.h"
#include "node/base/defs.h"

enum { FAMILIES_MAX = 64 };

struct db {
	rocksdb_t *db;
	rocksdb_options_t *options;
	const rocksdb_options_t *each[FAMILIES_MAX];
	rocksdb_column_family_handle_t *cf[FAMILIES_MAX];
	char **names; /* owned by RocksDB */
	size_t count;
};

static char *db_open(struct db *d, const char *path)
{
	char *error = NULL;

	d->options = rocksdb_options_create();
	rocksdb_options_set_disable_auto_compactions(d->options, 1);
	rocksdb_options_set_compression(d->options, rocksdb_lz4_compression);
	d->names = rocksdb_list_column_families(d->options, path, &d->count, &error);
	if (error != NULL) {
		d->names = NULL;
		return error;
	}
	et_assert(d->count <= FAMILIES_MAX);
	for (size_t i = 0; i < d->count; i++) {
		d->each[i] = d->options;
	}
	d->db = rocksdb_open_column_families(d->options, path, (int)d->count,
					     (const char *const *)d->names, d->each, d->cf, &error);
	return error;
}

static void db_close(struct db *d)
{
	for (size_t i = 0; d->db != NULL && i < d->count; i++) {
		rocksdb_column_family_handle_destroy(d->cf[i]);
	}
	if (d->db != NULL) {
		rocksdb_close(d->db);
	}
	if (d->names != NULL) {
		rocksdb_list_column_families_destroy(d->names, d->count);
	}
	rocksdb_options_destroy(d->options);
}

static rocksdb_column_family_handle_t *family(const struct db *d, const char *name)
{
	for (size_t i = 0; i < d->count; i++) {
		if (strcmp(d->names[i], name) == 0) {
			return d->cf[i];
		}
	}
	return NULL;
}

static bool key_is(const char *key, size_t size, const char *text)
{
	return size == strlen(text) && memcmp(key, text, size) == 0;
}

static void take_family(const struct db *from, const struct db *to, const char *name,
			rocksdb_writebatch_t *batch)
{
	static const char first[] = "";
	static const char last[] = "\xff\xff\xff\xff";
	rocksdb_readoptions_t *options = rocksdb_readoptions_create();
	rocksdb_iterator_t *it = rocksdb_create_iterator_cf(from->db, options, family(from, name));
	bool is_meta = strcmp(name, "default") == 0;

	if (!is_meta) {
		rocksdb_writebatch_delete_range_cf(batch, family(to, name), first, 0, last, 4);
	}
	for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
		size_t key_size;
		size_t size;
		const char *key = rocksdb_iter_key(it, &key_size);
		const char *value = rocksdb_iter_value(it, &size);
		if (!is_meta || key_is(key, key_size, "cluster") ||
		    key_is(key, key_size, "ticked")) {
			rocksdb_writebatch_put_cf(batch, family(to, name), key, key_size, value,
						  size);
		}
	}
	rocksdb_iter_destroy(it);
	rocksdb_readoptions_destroy(options);
}

int bench_graft(const char *node, const char *calls)
{
	static const char *const families[] = { "default",     "node",	"kek",	"grant",
						"certificate", "token", "site", "policy" };
	struct db from = { 0 };
	struct db to = { 0 };

	char *error = db_open(&from, node);
	error = error != NULL ? error : db_open(&to, calls);
	if (error == NULL) {
		rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
		rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
		for (size_t i = 0; i < ET_ARRAY_SIZE(families); i++) {
			take_family(&from, &to, families[i], batch);
		}
		rocksdb_writeoptions_set_sync(options, 1);
		rocksdb_write(to.db, options, batch, &error);
		rocksdb_writebatch_destroy(batch);
		rocksdb_writeoptions_destroy(options);
	}
	db_close(&from);
	if (to.options != NULL) {
		db_close(&to);
	}
	if (error != NULL) {
		(void)fprintf(stderr, "bench-fill: %s\n", error);
		rocksdb_free(error);
		return -EIO;
	}
	return 0;
}
