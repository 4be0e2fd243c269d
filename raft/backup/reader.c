/* Reading a backup. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/crypto/aead.h"
#include "node/crypto/hash.h"
#include "node/crypto/hpke.h"
#include "node/crypto/sign.h"
#include "node/io/file.h"
#include "raft/backup/backup_internal.h"

struct et_backup_reader {
	FILE *file; /* owned */
	char path[4096];
	struct et_buffer bytes; /* owned: of the head */
	struct et_backup_head head;
	size_t head_size;
	struct et_aead *aead;  /* owned; NULL while locked */
	struct et_sha256 *sha; /* owned */
	uint64_t counter;
	bool ended;
	uint8_t sealed[SEALED_MAX];
};

struct et_backup_reader *et_backup_close(struct et_backup_reader *r)
{
	if (r != NULL) {
		if (r->file != NULL) {
			(void)fclose(r->file);
		}
		et_buffer_release(&r->bytes);
		r->aead = et_aead_free(r->aead);
		r->sha = et_sha256_free(r->sha);
		explicit_bzero(r->sealed, sizeof(r->sealed));
		free(r);
	}
	return NULL;
}

static int take(struct et_backup_reader *r, void *ret, size_t size, struct et_error *reterr)
{
	if (fread(ret, 1, size, r->file) != size) {
		return ferror(r->file) ? et_fail(reterr, -EIO, "read '%s'", r->path)
				       : et_fail(reterr, ET_ETRUNCATED, "backup '%s'", r->path);
	}
	return 0;
}

static int head_take(struct et_backup_reader *r, struct et_error *reterr)
{
	uint8_t first[12];

	int rc = take(r, first, sizeof(first), reterr);
	if (rc < 0) {
		return rc;
	}
	struct et_view view = { first, sizeof(first) };
	rc = et_backup_head_parse(view, &r->head, &r->head_size, reterr);
	if (rc != ET_ETRUNCATED) {
		return rc < 0 ? rc : et_fail(reterr, ET_EMALFORMED, "backup '%s'", r->path);
	}
	size_t size = et_get32(first + 8);
	et_buffer_add(&r->bytes, first, sizeof(first));
	uint8_t *rest = et_buffer_reserve(&r->bytes, size - sizeof(first));
	if (rest == NULL) {
		return et_fail(reterr, -ENOMEM, "backup '%s'", r->path);
	}
	rc = take(r, rest, size - sizeof(first), reterr);
	if (rc < 0) {
		return rc;
	}
	r->bytes.size = size;
	return et_backup_head_parse((struct et_view){ r->bytes.data, size }, &r->head,
				    &r->head_size, reterr);
}

static void rewind_chunks(struct et_backup_reader *r)
{
	(void)fseek(r->file, (long)r->head_size, SEEK_SET);
	r->counter = 0;
	r->ended = false;
	et_sha256_reset(r->sha);
	et_sha256_add(r->sha, r->bytes.data, r->head_size);
}

int et_backup_open(const char *path, struct et_backup_reader **ret, struct et_error *reterr)
{
	struct et_backup_reader *r = calloc(1, sizeof(*r));

	if (r == NULL) {
		return et_fail(reterr, -ENOMEM, "open '%s'", path);
	}
	(void)snprintf(r->path, sizeof(r->path), "%s", path);
	r->sha = et_sha256_new();
	r->file = fopen(path, "re");
	int rc = r->file == NULL  ? et_fail(reterr, -errno, "open '%s'", path)
		 : r->sha == NULL ? et_fail(reterr, -ENOMEM, "open '%s'", path)
				  : head_take(r, reterr);
	if (rc < 0) {
		(void)et_backup_close(r);
		return rc;
	}
	rewind_chunks(r);
	*ret = r;
	return 0;
}

const struct et_backup_head *et_backup_head(const struct et_backup_reader *r)
{
	return &r->head;
}

/* The next chunk as it lies there. *ret_size 0: the trailer has come, and fits. */
static int chunk_take(struct et_backup_reader *r, size_t *ret_size, struct et_error *reterr)
{
	uint8_t head[4];

	int rc = take(r, head, sizeof(head), reterr);
	if (rc < 0) {
		return rc;
	}
	if (memcmp(head, BACKUP_END_MAGIC, 4) == 0) {
		uint8_t signature[ET_SIGNATURE_SIZE];
		uint8_t hash[ET_SHA256_SIZE];
		rc = take(r, signature, sizeof(signature), reterr);
		if (rc < 0) {
			return rc;
		}
		et_sha256_end(r->sha, hash);
		rc = et_ed25519_verify(r->head.sign_public, (struct et_view){ hash, sizeof(hash) },
				       signature, reterr);
		if (rc == 0 && fgetc(r->file) != EOF) {
			rc = ET_EINTEGRITY;
		}
		*ret_size = 0;
		return rc < 0 ? et_fail_plain(reterr, ET_EINTEGRITY,
					      "backup '%.300s' is not what was signed", r->path)
			      : 0;
	}
	uint32_t size = et_get32(head);
	if (size < 1 + ET_AEAD_TAG_SIZE || size > SEALED_MAX) {
		return et_fail(reterr, ET_EINTEGRITY, "backup '%s'", r->path);
	}
	rc = take(r, r->sealed, size, reterr);
	et_sha256_add(r->sha, head, sizeof(head));
	et_sha256_add(r->sha, r->sealed, size);
	*ret_size = size;
	return rc;
}

int et_backup_check(struct et_backup_reader *r, struct et_error *reterr)
{
	size_t size = 1;
	int rc = 0;

	rewind_chunks(r);
	while (rc == 0 && size > 0) {
		rc = chunk_take(r, &size, reterr);
	}
	rewind_chunks(r);
	return rc;
}

int et_backup_unlock(struct et_backup_reader *r, const struct et_secret *kek,
		     struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *key = NULL;
	uint8_t aad[92];

	backup_wrap_aad(&r->head, aad);
	int rc = et_hpke_open(
		kek, r->head.enc, et_view_of(WRAP_INFO), (struct et_view){ aad, sizeof(aad) },
		(struct et_view){ r->head.wrapped, sizeof(r->head.wrapped) }, &key, reterr);
	if (rc < 0) {
		return et_fail_plain(reterr, rc,
				     "the key of '%.200s' does not open with this secret of KEK "
				     "version %u",
				     r->path, r->head.kek_version);
	}
	r->aead = et_aead_free(r->aead);
	return et_aead_new(key, &r->aead, reterr);
}

int et_backup_next(struct et_backup_reader *r, enum et_backup_type *ret_type, struct et_view *ret,
		   struct et_error *reterr)
{
	uint8_t nonce[ET_AEAD_NONCE_SIZE] = { 0 };
	size_t size = 0;
	size_t end = 0;

	et_assert(r->aead != NULL && !r->ended);
	int rc = chunk_take(r, &size, reterr);
	if (rc == 0 && size == 0) { /* a trailer without an end before it */
		rc = et_fail(reterr, ET_EINTEGRITY, "backup '%s'", r->path);
	}
	if (rc < 0) {
		return rc;
	}
	et_put64(nonce + 4, r->counter++);
	uint8_t *hash = r->bytes.data + r->head_size - ET_SHA256_SIZE;
	rc = et_aead_open(r->aead, nonce, (struct et_view){ hash, ET_SHA256_SIZE }, r->sealed, size,
			  r->sealed, reterr);
	if (rc < 0) {
		return et_fail(reterr, rc, "backup '%s', chunk %llu", r->path,
			       (unsigned long long)r->counter);
	}
	size -= ET_AEAD_TAG_SIZE;
	*ret_type = (enum et_backup_type)r->sealed[0];
	*ret = (struct et_view){ r->sealed + 1, size - 1 };
	if (*ret_type == ET_BACKUP_END) {
		uint8_t kept[40];
		r->ended = true;
		if (ret->size != sizeof(kept)) {
			return et_fail(reterr, ET_EINTEGRITY, "backup '%s'", r->path);
		}
		memcpy(kept, ret->data, sizeof(kept));
		rc = chunk_take(r, &end, reterr);
		memcpy(r->sealed + 1, kept, sizeof(kept));
		if (rc == 0 && end != 0) {
			rc = et_fail(reterr, ET_EINTEGRITY, "backup '%s'", r->path);
		}
	}
	return rc;
}

/* ---- A BASE into a folder ---- */

struct extract {
	const char *folder;
	int fd; /* of the file under way, or -1 */
	uint64_t left;
};

static int file_end(struct extract *x)
{
	int rc = 0;

	if (x->fd >= 0) {
		rc = x->left > 0 ? ET_EINTEGRITY : fsync(x->fd) < 0 ? -errno : 0;
		(void)close(x->fd);
		x->fd = -1;
	}
	return rc;
}

static int file_begin(struct extract *x, struct et_view chunk)
{
	char name[ET_BACKUP_NAME_MAX + 1] = "";
	char path[4096];

	int rc = file_end(x);
	if (rc < 0) {
		return rc;
	}
	if (chunk.size < 9 || chunk.size - 8 > ET_BACKUP_NAME_MAX ||
	    !backup_name_is_plain((const char *)chunk.data + 8, chunk.size - 8)) {
		return ET_EMALFORMED;
	}
	memcpy(name, chunk.data + 8, chunk.size - 8);
	x->left = et_get64(chunk.data);
	(void)snprintf(path, sizeof(path), "%.3900s/%s", x->folder, name);
	x->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	return x->fd < 0 ? -errno : 0;
}

static int file_data(struct extract *x, struct et_view chunk)
{
	const uint8_t *p = chunk.data;
	size_t size = chunk.size;

	if (x->fd < 0 || size > x->left) {
		return ET_EINTEGRITY;
	}
	x->left -= size;
	while (size > 0) {
		ssize_t n = write(x->fd, p, size);
		if (n < 0) {
			return -errno;
		}
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

int et_backup_extract(struct et_backup_reader *r, const char *folder, uint64_t *ret_index,
		      uint8_t ret_digest[32], struct et_error *reterr)
{
	struct extract x = { .folder = folder, .fd = -1 };
	enum et_backup_type type = ET_BACKUP_FILE;
	struct et_view chunk = { 0 };

	rewind_chunks(r);
	int rc = et_file_mkdirs(folder, reterr);
	while (rc == 0 && type != ET_BACKUP_END) {
		rc = et_backup_next(r, &type, &chunk, reterr);
		if (rc < 0) {
			break;
		}
		rc = type == ET_BACKUP_FILE   ? file_begin(&x, chunk)
		     : type == ET_BACKUP_DATA ? file_data(&x, chunk)
		     : type == ET_BACKUP_END  ? file_end(&x)
					      : ET_EMALFORMED;
		if (rc < 0) {
			(void)et_fail(reterr, rc, "put '%s' into '%s'", r->path, folder);
		}
	}
	if (x.fd >= 0) {
		(void)close(x.fd);
	}
	if (rc == 0) {
		*ret_index = et_get64(chunk.data);
		memcpy(ret_digest, chunk.data + 8, 32);
		ET_CLEANUP(et_fd_closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		rc = fd < 0 || fsync(fd) < 0 ? et_fail(reterr, -errno, "sync '%s'", folder) : 0;
	}
	return rc;
}
