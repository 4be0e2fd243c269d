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

/* A tape that grows. */
struct tape_growing {
	struct et_tape *tape;
	struct et_secret *dek, *seed;
	uint32_t records;
};

/* Begin segment number `segment` of a recording below `media`; `ret` knows its name and header. */
static inline void tape_begin_of(const char *media, const uint8_t recording[16], uint32_t segment,
				 struct tape_growing *g, struct tape_made *ret)
{
	char path[512];
	char id[ET_UUID_TEXT_SIZE];
	struct et_tape_header header = {
		.generation = 1, .segment = segment, .node = 1, .t0_us = 1
	};
	struct et_error e = { 0 };

	memset(ret, 0, sizeof(*ret));
	*g = (struct tape_growing){ .dek = et_secret_new(32), .seed = et_secret_new(32) };
	memcpy(header.recording, recording, 16);
	et_random(et_secret_edit(g->dek), 32);
	et_random(et_secret_edit(g->seed), 32);
	et_uuid_format(header.recording, id);
	(void)snprintf(ret->file, sizeof(ret->file), "tapes/2026/11/22/%s-g1-s%u.evtm", id,
		       segment);
	(void)snprintf(path, sizeof(path), "%s/tapes/2026/11/22", media);
	assert_int_equal(et_file_mkdirs(path, &e), 0);
	(void)snprintf(path, sizeof(path), "%s/%s", media, ret->file);
	assert_int_equal(et_tape_create(path, &header, g->dek, &g->tape, &e), 0);
	memcpy(ret->expect.recording, header.recording, 16);
	memcpy(ret->expect.header_hash, header.hash, 32);
	ret->expect.generation = 1;
	ret->expect.segment = segment;
	ret->expect.has_header_hash = true;
}

static inline void tape_begin(const char *media, struct tape_growing *g, struct tape_made *ret)
{
	uint8_t recording[16];

	et_uuid7(recording);
	tape_begin_of(media, recording, 1, g, ret);
}

/* `records` more of about `size` bytes each. */
static inline void tape_grow(struct tape_growing *g, uint32_t records, size_t size)
{
	uint8_t *plain = malloc(size + 16);
	struct et_error e = { 0 };

	for (uint32_t i = 0; i < records; i++) {
		size_t this_size = size > 16 ? size - 16 + g->records % 32 : size;
		et_random(plain, this_size);
		assert_int_equal(et_tape_append(g->tape, ET_TAPE_MEDIA, g->records++ * 1000, plain,
						this_size, &e),
				 0);
	}
	free(plain);
}

/* Its footer. */
static inline void tape_end(struct tape_growing *g, struct tape_made *ret)
{
	const struct et_tape_signer signer = { .node = 1, .seed = g->seed, .now_us = 2 };
	struct et_expect *x = &ret->expect;
	struct et_tape_seal seal;
	struct et_error e = { 0 };

	assert_int_equal(et_tape_finish(g->tape, &signer, &seal, &e), 0);
	g->tape = et_tape_close(g->tape);
	(void)et_secret_free(g->dek);
	(void)et_secret_free(g->seed);
	memcpy(x->root, seal.root, 32);
	memcpy(x->seal_hash, seal.seal_hash, 32);
	x->has_seal_hash = true;
	x->records = seal.records;
	x->size_bytes = seal.size_bytes;
}

/* A sealed tape of `records` records with about `size` bytes each, below `media`. */
static inline void tape_make(const char *media, uint32_t records, size_t size,
			     struct tape_made *ret)
{
	struct tape_growing g;

	tape_begin(media, &g, ret);
	tape_grow(&g, records, size);
	tape_end(&g, ret);
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
