/* Real tapes for the tests of sync, in a folder that goes with the test. */
#ifndef ET_REPLICATION_SYNC_TEST_TAPES_H
#define ET_REPLICATION_SYNC_TEST_TAPES_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "node/tape/tape.h"
#include "replication/sync/intake_internal.h"

struct tape_made {
	struct et_expect expect;
	char file[256]; /* below the media folder */
};

static inline void folder_make(char path[256])
{
	const char *top = getenv("TMPDIR");
	(void)snprintf(path, 256, "%s/et_sync.XXXXXX", top != NULL ? top : "/tmp");
	assert_non_null(mkdtemp(path));
}

static inline void folder_remove(const char *path)
{
	DIR *dir = opendir(path);
	if (dir == NULL) {
		return;
	}
	struct dirent *entry;
	while ((entry = readdir(dir)) != NULL) {
		char inner[1024];
		struct stat st;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
			continue;
		}
		int n = snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
		assert_in_range(n, 1, sizeof(inner) - 1);
		if (lstat(inner, &st) == 0 && S_ISDIR(st.st_mode)) {
			folder_remove(inner);
		} else {
			(void)unlink(inner);
		}
	}
	(void)closedir(dir);
	(void)rmdir(path);
}

/* A sealed tape of `records` records with about `size` bytes each, below `media`. */
static inline void tape_make(const char *media, uint32_t records, size_t size,
			     struct tape_made *ret)
{
	char path[512];
	char id[ET_UUID_TEXT_SIZE];
	struct et_tape_header header = { .generation = 1, .segment = 1, .node = 1, .t0_us = 1 };
	struct et_secret *dek = et_secret_new(32);
	struct et_secret *seed = et_secret_new(32);
	struct et_tape *tape = NULL;
	struct et_tape_seal seal;
	struct et_error e = { 0 };

	memset(ret, 0, sizeof(*ret));
	et_uuid7(header.recording);
	et_random(et_secret_edit(dek), 32);
	et_random(et_secret_edit(seed), 32);
	et_uuid_format(header.recording, id);
	(void)snprintf(ret->file, sizeof(ret->file), "tapes/2026/11/22/%s-g1-s1.evtm", id);
	(void)snprintf(path, sizeof(path), "%s/tapes/2026/11/22", media);
	assert_int_equal(et_file_mkdirs(path, &e), 0);
	(void)snprintf(path, sizeof(path), "%s/%s", media, ret->file);
	assert_int_equal(et_tape_create(path, &header, dek, &tape, &e), 0);
	uint8_t *plain = malloc(size + 16);
	for (uint32_t i = 0; i < records; i++) {
		size_t this_size = size > 16 ? size - 16 + i % 32 : size;
		et_random(plain, this_size);
		assert_int_equal(
			et_tape_append(tape, ET_TAPE_MEDIA, i * 1000, plain, this_size, &e), 0);
	}
	free(plain);
	const struct et_tape_signer signer = { .node = 1, .seed = seed, .now_us = 2 };
	assert_int_equal(et_tape_finish(tape, &signer, &seal, &e), 0);
	tape = et_tape_close(tape);
	(void)et_secret_free(dek);
	(void)et_secret_free(seed);

	struct et_expect *x = &ret->expect;
	memcpy(x->recording, header.recording, 16);
	x->generation = 1;
	x->segment = 1;
	memcpy(x->root, seal.root, 32);
	memcpy(x->header_hash, header.hash, 32);
	memcpy(x->object_hash, seal.object_hash, 32);
	x->has_header_hash = x->has_object_hash = true;
	x->records = seal.records;
	x->size_bytes = seal.size_bytes;
}

/* The whole file; the caller frees *ret. */
static inline size_t file_load(const char *path, uint8_t **ret)
{
	struct et_buffer b = { 0 };
	assert_int_equal(et_file_read(path, 1 << 30, &b, NULL), 0);
	*ret = b.data;
	return b.size;
}

#endif
