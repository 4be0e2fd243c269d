#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/crypto/sign.h"
#include "node/io/file.h"
#include "raft/backup/backup.h"

struct fixture {
	char folder[64];
	char path[128];
	struct et_secret *sign;
	struct et_secret *kek;
	struct et_backup_head head;
	uint8_t digest[32];
};

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	static const uint8_t blob[] = "a certificate, a list, a grant";

	assert_non_null(f);
	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/et_backup.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	(void)snprintf(f->path, sizeof(f->path), "%s/one.evbk", f->folder);
	assert_int_equal(et_ed25519_generate(&f->sign, f->head.sign_public, NULL), 0);
	assert_int_equal(et_x25519_generate(&f->kek, f->head.kek_public, NULL), 0);
	f->head.kind = ET_BACKUP_BASE;
	(void)snprintf(f->head.cluster, sizeof(f->head.cluster), "acme");
	memset(f->head.cluster_id, 7, 16);
	f->head.node = 3;
	f->head.made_us = 1700000000000000;
	f->head.index = 4711;
	memset(f->digest, 9, 32);
	memcpy(f->head.digest, f->digest, 32);
	f->head.schema = 1;
	f->head.kek_version = 1;
	f->head.ca = f->head.members = (struct et_view){ blob, sizeof(blob) };
	f->head.grants[0] = f->head.grants[1] = (struct et_view){ blob, 11 };
	f->head.grant_count = 2;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)et_secret_free(f->sign);
	(void)et_secret_free(f->kek);
	(void)nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static int to_file(void *arg, const void *data, size_t size)
{
	return fwrite(data, 1, size, arg) == size ? 0 : -EIO;
}

static void file_make(const char *folder, const char *name, size_t size)
{
	char path[256];
	uint8_t *bytes = malloc(size + 1);

	assert_non_null(bytes);
	for (size_t i = 0; i < size; i++) {
		bytes[i] = (uint8_t)(i * 31 + size);
	}
	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	assert_int_equal(et_file_publish(path, bytes, size, 0600, NULL), 0);
	free(bytes);
}

/* A backup of a folder with files of all sizes that matter. */
static void backup_make(struct fixture *f)
{
	struct et_backup_writer *w = NULL;
	char source[128];
	FILE *out = fopen(f->path, "we");

	(void)snprintf(source, sizeof(source), "%s/source", f->folder);
	assert_int_equal(et_file_mkdirs(source, NULL), 0);
	file_make(source, "CURRENT", 0);
	file_make(source, "000001.sst", 65536);
	file_make(source, "000002.sst", 200001);
	file_make(source, "MANIFEST-000003", 77);
	assert_non_null(out);
	assert_int_equal(et_backup_writer_new(&f->head, f->sign, to_file, out, &w, NULL), 0);
	assert_int_equal(et_backup_write_folder(w, source, NULL), 0);
	assert_int_equal(et_backup_end(w, f->head.index, f->digest, NULL), 0);
	(void)et_backup_writer_free(w);
	assert_int_equal(fclose(out), 0);
}

static int backup_read(struct fixture *f, const char *path, const struct et_secret *kek)
{
	struct et_backup_reader *r = NULL;
	char folder[160];
	uint8_t digest[32];
	uint64_t index = 0;
	static unsigned serial;

	(void)snprintf(folder, sizeof(folder), "%s/out%u", f->folder, serial++);
	int rc = et_backup_open(path, &r, NULL);
	rc = rc < 0 ? rc : et_backup_unlock(r, kek, NULL);
	rc = rc < 0 ? rc : et_backup_extract(r, folder, &index, digest, NULL);
	if (rc == 0) {
		assert_int_equal(index, f->head.index);
		assert_memory_equal(digest, f->digest, 32);
	}
	(void)et_backup_close(r);
	return rc;
}

static int backup_check(const char *path)
{
	struct et_backup_reader *r = NULL;

	int rc = et_backup_open(path, &r, NULL);
	rc = rc < 0 ? rc : et_backup_check(r, NULL);
	(void)et_backup_close(r);
	return rc;
}

static void what_was_written_is_read(void **state)
{
	struct fixture *f = *state;
	struct et_backup_reader *r = NULL;
	struct et_buffer a = { 0 };
	struct et_buffer b = { 0 };
	char path[256];
	char folder[128];
	uint8_t digest[32];
	uint64_t index = 0;

	backup_make(f);
	assert_int_equal(et_backup_open(f->path, &r, NULL), 0);
	const struct et_backup_head *h = et_backup_head(r);
	assert_string_equal(h->cluster, "acme");
	assert_int_equal(h->index, 4711);
	assert_int_equal(h->grant_count, 2);
	assert_int_equal(h->grants[1].size, 11);
	assert_int_equal(et_backup_check(r, NULL), 0);
	assert_int_equal(et_backup_unlock(r, f->kek, NULL), 0);
	(void)snprintf(folder, sizeof(folder), "%s/out", f->folder);
	assert_int_equal(et_backup_extract(r, folder, &index, digest, NULL), 0);
	(void)et_backup_close(r);
	static const char *const names[] = { "CURRENT", "000001.sst", "000002.sst",
					     "MANIFEST-000003" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(names); i++) {
		(void)snprintf(path, sizeof(path), "%s/source/%s", f->folder, names[i]);
		assert_int_equal(et_file_read(path, 1 << 20, &a, NULL), 0);
		(void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		assert_int_equal(et_file_read(path, 1 << 20, &b, NULL), 0);
		assert_int_equal(a.size, b.size);
		assert_true(a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
		a.size = b.size = 0;
	}
	et_buffer_release(&a);
	et_buffer_release(&b);
}

static void another_key_opens_nothing(void **state)
{
	struct fixture *f = *state;
	struct et_secret *other = NULL;
	uint8_t public[32];

	backup_make(f);
	assert_int_equal(et_x25519_generate(&other, public, NULL), 0);
	assert_int_equal(backup_read(f, f->path, other), ET_EINTEGRITY);
	assert_int_equal(backup_read(f, f->path, f->kek), 0);
	(void)et_secret_free(other);
}

static void copy_damaged(const struct et_buffer *whole, const char *path, size_t size, size_t at)
{
	FILE *out = fopen(path, "we");

	assert_non_null(out);
	uint8_t was = at < size ? whole->data[at] : 0;
	if (at < size) {
		whole->data[at] ^= 0x10;
	}
	assert_int_equal(fwrite(whole->data, 1, size, out), size);
	assert_int_equal(fclose(out), 0);
	if (at < size) {
		whole->data[at] = was;
	}
}

/* Without any key, and with it: a changed byte anywhere, a cut anywhere, bytes behind the end. */
static void damage_is_found_wherever_it_is(void **state)
{
	struct fixture *f = *state;
	struct et_buffer whole = { 0 };
	char path[160];
	uint64_t random = 88172645463325252;

	backup_make(f);
	assert_int_equal(et_file_read(f->path, 1 << 20, &whole, NULL), 0);
	(void)snprintf(path, sizeof(path), "%s/damaged.evbk", f->folder);
	for (int i = 0; i < 300; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		size_t at = i < 64 ? (size_t)i : random % whole.size;
		copy_damaged(&whole, path, whole.size, at);
		assert_true(backup_check(path) < 0);
		if (i % 10 == 0) {
			assert_true(backup_read(f, path, f->kek) < 0);
		}
	}
	for (int i = 0; i < 100; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		size_t cut = i == 0 ? whole.size - 1 : random % whole.size;
		copy_damaged(&whole, path, cut, cut);
		assert_true(backup_check(path) < 0);
	}
	et_buffer_add8(&whole, 0);
	copy_damaged(&whole, path, whole.size, whole.size);
	assert_int_equal(backup_check(path), ET_EINTEGRITY);
	et_buffer_release(&whole);
}

/* Chunks of the same key in another order are other chunks. */
static void chunks_do_not_change_places(void **state)
{
	struct fixture *f = *state;
	struct et_backup_writer *w = NULL;
	struct et_buffer whole = { 0 };
	size_t head = 0;
	struct et_backup_head h;
	uint8_t one[100];
	FILE *out = fopen(f->path, "we");

	f->head.kind = ET_BACKUP_LOG;
	memset(one, 1, sizeof(one));
	assert_int_equal(et_backup_writer_new(&f->head, f->sign, to_file, out, &w, NULL), 0);
	assert_int_equal(et_backup_write(w, ET_BACKUP_ENTRIES, one, sizeof(one), NULL), 0);
	memset(one, 2, sizeof(one));
	assert_int_equal(et_backup_write(w, ET_BACKUP_ENTRIES, one, sizeof(one), NULL), 0);
	assert_int_equal(et_backup_end(w, 1, f->digest, NULL), 0);
	(void)et_backup_writer_free(w);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(et_file_read(f->path, 1 << 20, &whole, NULL), 0);
	assert_int_equal(
		et_backup_head_parse((struct et_view){ whole.data, whole.size }, &h, &head, NULL),
		0);
	uint8_t swap[121];
	size_t chunk = 4 + 1 + 100 + 16;
	memcpy(swap, whole.data + head, chunk);
	memcpy(whole.data + head, whole.data + head + chunk, chunk);
	memcpy(whole.data + head + chunk, swap, chunk);
	copy_damaged(&whole, f->path, whole.size, whole.size);
	struct et_backup_reader *r = NULL;
	enum et_backup_type type;
	struct et_view view;
	assert_int_equal(et_backup_open(f->path, &r, NULL), 0);
	assert_int_equal(et_backup_unlock(r, f->kek, NULL), 0);
	assert_int_equal(et_backup_next(r, &type, &view, NULL), ET_EINTEGRITY);
	(void)et_backup_close(r);
	et_buffer_release(&whole);
}

static int full_disk(void *arg, const void *data, size_t size)
{
	size_t *left = arg;

	(void)data;
	if (size > *left) {
		return -ENOSPC;
	}
	*left -= size;
	return 0;
}

static void a_full_disk_ends_the_backup(void **state)
{
	struct fixture *f = *state;
	struct et_backup_writer *w = NULL;
	uint8_t bytes[1000] = { 0 };
	size_t left = 10;

	assert_int_equal(et_backup_writer_new(&f->head, f->sign, full_disk, &left, &w, NULL),
			 -ENOSPC);
	left = 3000;
	assert_int_equal(et_backup_writer_new(&f->head, f->sign, full_disk, &left, &w, NULL), 0);
	int rc = 0;
	while (rc == 0) {
		rc = et_backup_write(w, ET_BACKUP_DATA, bytes, sizeof(bytes), NULL);
	}
	assert_int_equal(rc, -ENOSPC);
	(void)et_backup_writer_free(w);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(what_was_written_is_read),	   T(another_key_opens_nothing),
		T(damage_is_found_wherever_it_is), T(chunks_do_not_change_places),
		T(a_full_disk_ends_the_backup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
