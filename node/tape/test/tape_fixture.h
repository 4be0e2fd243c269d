/* A folder, a key, a signer, and tapes with known content, for the tests of this module. */
#ifndef ET_NODE_TAPE_TEST_TAPE_FIXTURE_H
#define ET_NODE_TAPE_TEST_TAPE_FIXTURE_H

#include <stdio.h>
#include <unistd.h>

#include "node/crypto/sign.h"
#include "node/io/file.h"
#include "node/tape/reader.h"
#include "node/tape/tape.h"

struct fixture {
	char dir[64];
	char path[96];
	struct et_secret *dek;
	struct et_secret *seed;
	uint8_t public_key[32];
	struct et_tape_signer signer;
	struct et_tape_header header;
};

static inline int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	const char *tmp = getenv("TMPDIR");
	(void)snprintf(f->dir, sizeof(f->dir), "%.40s/et_tape.XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/tape.evtm", f->dir);
	assert_int_equal(et_secret_random(32, &f->dek, NULL), 0);
	assert_int_equal(et_ed25519_generate(&f->seed, f->public_key, NULL), 0);
	f->signer =
		(struct et_tape_signer){ .node = 7, .seed = f->seed, .now_us = 1700000000000000 };
	f->header = (struct et_tape_header){ .recording = { 1, 2, 3, 4, 5, 6, 7, 8 },
					     .generation = 1,
					     .segment = 2,
					     .kek_id = 3,
					     .kek_version = 4,
					     .dek_id = 5,
					     .node = 7,
					     .t0_us = 1700000000123456 };
	*state = f;
	return 0;
}

static inline int tear_down(void **state)
{
	struct fixture *f = *state;
	f->dek = et_secret_free(f->dek);
	f->seed = et_secret_free(f->seed);
	(void)unlink(f->path);
	assert_int_equal(rmdir(f->dir), 0); /* Nothing else was left in it. */
	free(f);
	return 0;
}

/* What record number `seq` of a test tape says: its length depends on the number, too. */
static inline size_t content_of(uint32_t seq, uint8_t *ret)
{
	const size_t size = 1 + (size_t)seq * 37 % 90;
	for (size_t i = 0; i < size; i++) {
		ret[i] = (uint8_t)(seq * 31 + i * 7);
	}
	return size;
}

static inline void append_records(struct et_tape *t, uint32_t first, uint32_t count)
{
	uint8_t plain[128];
	for (uint32_t seq = first; seq < first + count; seq++) {
		size_t size = content_of(seq, plain);
		assert_int_equal(et_tape_append(t, seq == 0 ? ET_TAPE_META : ET_TAPE_MEDIA,
						seq * 1000, plain, size, NULL),
				 0);
	}
}

/* A tape at f->path with `count` records, sealed or as a crash leaves it. */
static inline struct et_tape_seal make_tape(struct fixture *f, uint32_t count, bool sealed)
{
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	struct et_tape_seal seal = { 0 };

	(void)unlink(f->path);
	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
	append_records(t, 0, count);
	if (sealed) {
		assert_int_equal(et_tape_finish(t, &f->signer, &seal, NULL), 0);
	}
	return seal;
}

static inline struct et_buffer load(const char *path)
{
	struct et_buffer b = { 0 };
	assert_int_equal(et_file_read(path, 1U << 30, &b, NULL), 0);
	return b;
}

static inline void store(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

/* Read all there is; every record must be what was written. Returns how many, or the error. */
static inline int read_all(const struct et_tape_source *source, const struct et_secret *dek)
{
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *r = NULL;
	struct et_tape_record record;
	uint8_t want[128];
	int count = 0;

	int rc = et_tape_reader_new(source, dek, &r, NULL);
	while (rc == 0 && (rc = et_tape_reader_next(r, &record, NULL)) == 1) {
		size_t size = content_of((uint32_t)count, want);
		assert_int_equal(record.seq, count);
		assert_int_equal(record.t_ms, count * 1000);
		assert_int_equal(record.kind, count == 0 ? ET_TAPE_META : ET_TAPE_MEDIA);
		assert_int_equal(record.plain.size, size);
		assert_memory_equal(record.plain.data, want, size);
		count++;
		rc = 0;
	}
	return rc < 0 ? rc : count;
}

#endif
