/* Writing a backup; the head, both ways. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/crypto/aead.h"
#include "node/crypto/hash.h"
#include "node/crypto/hpke.h"
#include "node/crypto/sign.h"
#include "raft/backup/backup_internal.h"

/* ---- The head ---- */

void backup_wrap_aad(const struct et_backup_head *head, uint8_t ret[92])
{
	memcpy(ret, head->cluster_id, 16);
	et_put64(ret + 16, head->node);
	et_put64(ret + 24, (uint64_t)head->made_us);
	et_put64(ret + 32, head->index);
	memcpy(ret + 40, head->digest, 32);
	et_put32(ret + 72, (uint32_t)head->kind);
	et_put32(ret + 76, head->schema);
	et_put32(ret + 80, head->epoch);
	et_put32(ret + 84, head->kek_version);
	et_put32(ret + 88, 0);
}

static void head_write(const struct et_backup_head *h, struct et_buffer *b)
{
	uint8_t hash[ET_SHA256_SIZE];
	size_t name = strlen(h->cluster);

	et_buffer_add(b, BACKUP_MAGIC, 4);
	et_buffer_add8(b, BACKUP_VERSION);
	et_buffer_add8(b, (uint8_t)h->kind);
	et_buffer_add16(b, 0);
	et_buffer_add32(b, 0); /* the head's size, below */
	et_buffer_add(b, h->cluster_id, 16);
	et_buffer_add64(b, h->node);
	et_buffer_add64(b, (uint64_t)h->made_us);
	et_buffer_add64(b, h->index);
	et_buffer_add(b, h->digest, 32);
	et_buffer_add32(b, h->schema);
	et_buffer_add32(b, h->epoch);
	et_buffer_add(b, h->sign_public, 32);
	et_buffer_add32(b, h->kek_version);
	et_buffer_add(b, h->kek_public, 32);
	et_buffer_add(b, h->enc, 32);
	et_buffer_add(b, h->wrapped, 48);
	et_buffer_add8(b, (uint8_t)name);
	et_buffer_add(b, h->cluster, name);
	et_buffer_add32(b, (uint32_t)h->ca.size);
	et_buffer_add(b, h->ca.data, h->ca.size);
	et_buffer_add32(b, (uint32_t)h->members.size);
	et_buffer_add(b, h->members.data, h->members.size);
	et_buffer_add16(b, (uint16_t)h->grant_count);
	for (size_t i = 0; i < h->grant_count; i++) {
		et_buffer_add16(b, (uint16_t)h->grants[i].size);
		et_buffer_add(b, h->grants[i].data, h->grants[i].size);
	}
	if (!b->failed) {
		et_put32(b->data + 8, (uint32_t)(b->size + sizeof(hash)));
		et_sha256(b->data, b->size, hash);
		et_buffer_add(b, hash, sizeof(hash));
	}
}

static void bytes_read(struct et_reader *r, void *ret, size_t size)
{
	const uint8_t *p = et_read_bytes(r, size);

	if (p != NULL) {
		memcpy(ret, p, size);
	}
}

static struct et_view view_read(struct et_reader *r, size_t size)
{
	const uint8_t *p = size <= et_reader_left(r) ? et_read_bytes(r, size) : NULL;

	r->failed |= p == NULL;
	return (struct et_view){ p, p != NULL ? size : 0 };
}

static bool head_read(struct et_reader *r, struct et_backup_head *h)
{
	bytes_read(r, h->cluster_id, 16);
	h->node = et_read64(r);
	h->made_us = (int64_t)et_read64(r);
	h->index = et_read64(r);
	bytes_read(r, h->digest, 32);
	h->schema = et_read32(r);
	h->epoch = et_read32(r);
	bytes_read(r, h->sign_public, 32);
	h->kek_version = et_read32(r);
	bytes_read(r, h->kek_public, 32);
	bytes_read(r, h->enc, 32);
	bytes_read(r, h->wrapped, 48);
	struct et_view name = view_read(r, et_read8(r));
	h->ca = view_read(r, et_read32(r));
	h->members = view_read(r, et_read32(r));
	h->grant_count = et_read16(r);
	if (r->failed || name.size > ET_BACKUP_NAME_MAX ||
	    !backup_name_is_plain((const char *)name.data, name.size) ||
	    h->grant_count > ET_BACKUP_GRANTS_MAX) {
		return false;
	}
	memcpy(h->cluster, name.data, name.size);
	for (size_t i = 0; i < h->grant_count; i++) {
		h->grants[i] = view_read(r, et_read16(r));
	}
	return !r->failed && et_reader_left(r) == 0 && h->made_us >= 0 && h->node != 0;
}

int et_backup_head_parse(struct et_view bytes, struct et_backup_head *ret, size_t *ret_size,
			 struct et_error *reterr)
{
	uint8_t hash[ET_SHA256_SIZE];

	if (bytes.size < 12) {
		return et_fail(reterr, ET_ETRUNCATED, "head of a backup");
	}
	if (memcmp(bytes.data, BACKUP_MAGIC, 4) != 0) {
		return et_fail_plain(reterr, ET_EMALFORMED, "this is no backup of evertape");
	}
	if (bytes.data[4] != BACKUP_VERSION) {
		return et_fail(reterr, ET_EVERSION, "a backup of format %u", bytes.data[4]);
	}
	uint32_t size = et_get32(bytes.data + 8);
	uint8_t kind = bytes.data[5];
	if (size > ET_BACKUP_HEAD_MAX || size < 12 + sizeof(hash) ||
	    (kind != ET_BACKUP_BASE && kind != ET_BACKUP_LOG)) {
		return et_fail(reterr, ET_EMALFORMED, "head of a backup");
	}
	if (bytes.size < size) {
		return et_fail(reterr, ET_ETRUNCATED, "head of a backup");
	}
	et_sha256(bytes.data, size - sizeof(hash), hash);
	if (memcmp(hash, bytes.data + size - sizeof(hash), sizeof(hash)) != 0) {
		return et_fail(reterr, ET_EINTEGRITY, "head of a backup");
	}
	struct et_reader r = et_reader_of(bytes.data + 12, size - 12 - sizeof(hash));
	*ret = (struct et_backup_head){ .kind = (enum et_backup_kind)kind };
	if (!head_read(&r, ret)) {
		return et_fail(reterr, ET_EMALFORMED, "head of a backup");
	}
	*ret_size = size;
	return 0;
}

/* ---- Writing ---- */

struct et_backup_writer {
	et_backup_sink sink;
	void *arg;
	const struct et_secret *sign_key; /* borrowed */
	struct et_aead *aead;		  /* owned */
	struct et_sha256 *sha;		  /* owned: of all that was written */
	uint8_t head_hash[ET_SHA256_SIZE];
	uint64_t counter;
	uint8_t sealed[4 + SEALED_MAX];
};

struct et_backup_writer *et_backup_writer_free(struct et_backup_writer *w)
{
	if (w != NULL) {
		w->aead = et_aead_free(w->aead);
		w->sha = et_sha256_free(w->sha);
		free(w);
	}
	return NULL;
}

static int put(struct et_backup_writer *w, const void *data, size_t size, struct et_error *reterr)
{
	et_sha256_add(w->sha, data, size);
	int rc = w->sink(w->arg, data, size);
	return rc < 0 ? et_fail(reterr, rc, "write the backup") : 0;
}

static int writer_begin(struct et_backup_writer *w, const struct et_backup_head *head,
			struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer bytes = { 0 };
	ET_CLEANUP(et_secret_freep) struct et_secret *key = NULL;
	struct et_backup_head full = *head;
	uint8_t aad[92];

	int rc = et_secret_random(ET_AEAD_KEY_SIZE, &key, reterr);
	rc = rc < 0 ? rc : et_aead_new(key, &w->aead, reterr);
	if (rc < 0) {
		return rc;
	}
	backup_wrap_aad(&full, aad);
	rc = et_hpke_seal(full.kek_public, et_view_of(WRAP_INFO),
			  (struct et_view){ aad, sizeof(aad) }, key, full.enc, full.wrapped,
			  reterr);
	if (rc < 0) {
		return rc;
	}
	head_write(&full, &bytes);
	if (bytes.failed || bytes.size > ET_BACKUP_HEAD_MAX) {
		return et_fail(reterr, bytes.failed ? -ENOMEM : ET_ELIMIT, "head of a backup");
	}
	memcpy(w->head_hash, bytes.data + bytes.size - sizeof(w->head_hash), sizeof(w->head_hash));
	return put(w, bytes.data, bytes.size, reterr);
}

int et_backup_writer_new(const struct et_backup_head *head, const struct et_secret *sign_key,
			 et_backup_sink sink, void *arg, struct et_backup_writer **ret,
			 struct et_error *reterr)
{
	struct et_backup_writer *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		return et_fail(reterr, -ENOMEM, "write a backup");
	}
	w->sink = sink;
	w->arg = arg;
	w->sign_key = sign_key;
	w->sha = et_sha256_new();
	int rc = w->sha == NULL ? et_fail(reterr, -ENOMEM, "write a backup")
				: writer_begin(w, head, reterr);
	if (rc < 0) {
		(void)et_backup_writer_free(w);
		return rc;
	}
	*ret = w;
	return 0;
}

int et_backup_write(struct et_backup_writer *w, enum et_backup_type type, const void *data,
		    size_t size, struct et_error *reterr)
{
	uint8_t nonce[ET_AEAD_NONCE_SIZE] = { 0 };
	uint8_t *plain = w->sealed + 4;

	et_assert(size <= ET_BACKUP_CHUNK_MAX);
	et_put64(nonce + 4, w->counter++);
	plain[0] = (uint8_t)type;
	if (size > 0) {
		memcpy(plain + 1, data, size);
	}
	et_put32(w->sealed, (uint32_t)(size + 1 + ET_AEAD_TAG_SIZE));
	int rc = et_aead_seal(w->aead, nonce, (struct et_view){ w->head_hash, 32 }, plain, size + 1,
			      plain, reterr);
	return rc < 0 ? rc : put(w, w->sealed, 4 + size + 1 + ET_AEAD_TAG_SIZE, reterr);
}

int et_backup_end(struct et_backup_writer *w, uint64_t index, const uint8_t digest[32],
		  struct et_error *reterr)
{
	uint8_t end[40];
	uint8_t hash[ET_SHA256_SIZE];
	uint8_t trailer[TRAILER_BYTES];

	et_put64(end, index);
	memcpy(end + 8, digest, 32);
	int rc = et_backup_write(w, ET_BACKUP_END, end, sizeof(end), reterr);
	if (rc < 0) {
		return rc;
	}
	et_sha256_end(w->sha, hash);
	memcpy(trailer, BACKUP_END_MAGIC, 4);
	rc = et_ed25519_sign(w->sign_key, (struct et_view){ hash, sizeof(hash) }, trailer + 4,
			     reterr);
	if (rc < 0) {
		return rc;
	}
	rc = w->sink(w->arg, trailer, sizeof(trailer));
	return rc < 0 ? et_fail(reterr, rc, "write the backup") : 0;
}

/* ---- A folder ---- */

static int file_write(struct et_backup_writer *w, int dir, const char *name, uint8_t *bytes,
		      struct et_error *reterr)
{
	ET_CLEANUP(et_fd_closep) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint8_t head[8 + ET_BACKUP_NAME_MAX];
	struct stat st;
	size_t length = strlen(name);

	if (fd < 0 || fstat(fd, &st) < 0) {
		return et_fail(reterr, -errno, "read '%s'", name);
	}
	if (!S_ISREG(st.st_mode) || !backup_name_is_plain(name, length)) {
		return 0; /* RocksDB's own are plain files with plain names. */
	}
	et_put64(head, (uint64_t)st.st_size);
	memcpy(head + 8, name, length);
	int rc = et_backup_write(w, ET_BACKUP_FILE, head, 8 + length, reterr);
	uint64_t left = (uint64_t)st.st_size;
	while (rc == 0 && left > 0) {
		ssize_t n =
			read(fd, bytes, left < ET_BACKUP_CHUNK_MAX ? left : ET_BACKUP_CHUNK_MAX);
		if (n <= 0) {
			return et_fail(reterr, n < 0 ? -errno : ET_ETRUNCATED, "read '%s'", name);
		}
		left -= (uint64_t)n;
		rc = et_backup_write(w, ET_BACKUP_DATA, bytes, (size_t)n, reterr);
	}
	return rc;
}

int et_backup_write_folder(struct et_backup_writer *w, const char *folder, struct et_error *reterr)
{
	DIR *dir = opendir(folder);
	uint8_t *bytes = malloc(ET_BACKUP_CHUNK_MAX);
	int rc = dir == NULL	 ? et_fail(reterr, -errno, "read folder '%s'", folder)
		 : bytes == NULL ? et_fail(reterr, -ENOMEM, "read folder '%s'", folder)
				 : 0;

	for (const struct dirent *e = rc == 0 ? readdir(dir) : NULL; e != NULL && rc == 0;
	     e = readdir(dir)) {
		if (e->d_name[0] != '.') {
			rc = file_write(w, dirfd(dir), e->d_name, bytes, reterr);
		}
	}
	free(bytes);
	if (dir != NULL) {
		(void)closedir(dir);
	}
	return rc;
}
