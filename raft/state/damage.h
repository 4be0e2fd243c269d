/* Damage a database that nobody has open, in a way that RocksDB itself cannot see: a value is
 * another one. For tests of what finds it. */
#ifndef ET_RAFT_STATE_DAMAGE_H
#define ET_RAFT_STATE_DAMAGE_H

#include <rocksdb/c.h>
#include <stdbool.h>
#include <string.h>

/* Flip a bit of the byte `at` of `key`'s value in the column family `family`; below zero: counted
 * from its end, -1 the last. false: it could not be done. */
static inline bool et_state_damage(const char *path, const char *family, const char *key,
				   size_t key_size, int at)
{
	rocksdb_options_t *o = rocksdb_options_create();
	rocksdb_readoptions_t *r = rocksdb_readoptions_create();
	rocksdb_writeoptions_t *w = rocksdb_writeoptions_create();
	char *error = NULL;
	size_t count = 0;
	bool done = false;

	char **names = rocksdb_list_column_families(o, path, &count, &error);
	const rocksdb_options_t *options[64];
	rocksdb_column_family_handle_t *handles[64] = { NULL };
	for (size_t i = 0; i < count && i < 64; i++) {
		options[i] = o;
	}
	rocksdb_t *db = error != NULL || count > 64
				? NULL
				: rocksdb_open_column_families(o, path, (int)count,
							       (const char *const *)names, options,
							       handles, &error);
	for (size_t i = 0; db != NULL && i < count; i++) {
		size_t size = 0;
		char *value =
			strcmp(names[i], family) != 0
				? NULL
				: rocksdb_get_cf(db, r, handles[i], key, key_size, &size, &error);
		size_t byte = at < 0 ? size + (size_t)at : (size_t)at;
		if (value != NULL && byte < size) {
			value[byte] ^= 1;
			rocksdb_put_cf(db, w, handles[i], key, key_size, value, size, &error);
			done = error == NULL;
		}
		rocksdb_free(value);
	}
	for (size_t i = 0; db != NULL && i < count; i++) {
		rocksdb_column_family_handle_destroy(handles[i]);
	}
	if (db != NULL) {
		rocksdb_close(db);
	}
	rocksdb_list_column_families_destroy(names, count);
	rocksdb_free(error);
	rocksdb_readoptions_destroy(r);
	rocksdb_writeoptions_destroy(w);
	rocksdb_options_destroy(o);
	return done;
}

#endif
