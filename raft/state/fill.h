/* For tests and benchmarks only: a large database without the commands that would make it.
 *
 * et_state_fill() adds tables of random values, which do not compress, under keys that apply never
 * reads: "~fill", seed, number. The database must be closed. It is then another database than the
 * log says: use it where all that matters is that bytes move, and that they are the same after. */
#ifndef ET_RAFT_STATE_FILL_H
#define ET_RAFT_STATE_FILL_H

#include <inttypes.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/bytes.h"
#include "node/base/defs.h"

enum { ET_FILL_VALUE = 64 * 1024 };

static inline void et_fill_random(uint64_t *x, uint8_t *to, size_t size)
{
	for (size_t i = 0; i + 8 <= size; i += 8) {
		*x ^= *x << 13;
		*x ^= *x >> 7;
		*x ^= *x << 17;
		memcpy(to + i, x, 8);
	}
}

/* One table at `path`; returns RocksDB's error or NULL. */
static inline char *et_fill_table(const rocksdb_options_t *options, const char *path, uint64_t seed,
				  uint64_t first, uint64_t count)
{
	rocksdb_envoptions_t *env = rocksdb_envoptions_create();
	rocksdb_sstfilewriter_t *w = rocksdb_sstfilewriter_create(env, options);
	uint8_t *value = malloc(ET_FILL_VALUE);
	uint64_t x = seed * 0x9e3779b97f4a7c15U + first + 1;
	char *error = NULL;

	et_assert(value != NULL);
	rocksdb_sstfilewriter_open(w, path, &error);
	for (uint64_t i = 0; i < count && error == NULL; i++) {
		uint8_t key[21];
		memcpy(key, "~fill", 5);
		et_put64(key + 5, seed);
		et_put64(key + 13, first + i);
		et_fill_random(&x, value, ET_FILL_VALUE);
		rocksdb_sstfilewriter_put(w, (const char *)key, sizeof(key), (const char *)value,
					  ET_FILL_VALUE, &error);
	}
	if (error == NULL) {
		rocksdb_sstfilewriter_finish(w, &error);
	}
	rocksdb_sstfilewriter_destroy(w);
	rocksdb_envoptions_destroy(env);
	free(value);
	return error;
}

/* `bytes` in tables of `table_bytes` into the database at `path`. NULL, or an error (the caller's;
 * rocksdb_free()). */
static inline char *et_state_fill(const char *path, uint64_t bytes, uint64_t table_bytes,
				  uint64_t seed)
{
	rocksdb_options_t *o = rocksdb_options_create();
	rocksdb_column_family_handle_t *handles[64];
	const rocksdb_options_t *options[64];
	char *error = NULL;
	size_t n = 0;
	char **names = rocksdb_list_column_families(o, path, &n, &error);

	if (error != NULL) {
		rocksdb_options_destroy(o);
		return error;
	}
	et_assert(n <= 64);
	for (size_t i = 0; i < n; i++) {
		options[i] = o;
	}
	rocksdb_options_set_compression(o, rocksdb_no_compression);
	rocksdb_t *db = rocksdb_open_column_families(o, path, (int)n, (const char *const *)names,
						     options, handles, &error);
	rocksdb_ingestexternalfileoptions_t *ingest = rocksdb_ingestexternalfileoptions_create();
	rocksdb_ingestexternalfileoptions_set_move_files(ingest, 1);
	uint64_t each = table_bytes / ET_FILL_VALUE;
	for (uint64_t at = 0; error == NULL && at * ET_FILL_VALUE < bytes; at += each) {
		char table[4096];
		const char *list[] = { table };
		(void)snprintf(table, sizeof(table), "%s.fill-%" PRIu64 ".sst", path, at);
		error = et_fill_table(o, table, seed, at, each);
		if (error == NULL) {
			rocksdb_ingest_external_file(db, list, 1, ingest, &error);
		}
		(void)remove(table);
	}
	rocksdb_ingestexternalfileoptions_destroy(ingest);
	if (db != NULL) {
		for (size_t i = 0; i < n; i++) {
			rocksdb_column_family_handle_destroy(handles[i]);
		}
		rocksdb_close(db);
	}
	rocksdb_list_column_families_destroy(names, n);
	rocksdb_options_destroy(o);
	return error;
}

#endif
