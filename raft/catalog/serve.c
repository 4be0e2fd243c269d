#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "node/base/fd.h"
#include "node/crypto/hash.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "raft/catalog/catalog_internal.h"

/* A checkpoint's files for a node that fell behind (ET_RPC_SNAPSHOT; all numbers big-endian):
 *
 *   OPEN  1 index64                          -> id64 index64 count32 { length8 name size64 }
 *         a checkpoint at or past `index`; made now when there is none
 *   READ  2 id64 length8 name offset64 size32 -> bytes (fewer at the end of the file)
 *   HASH  3 id64 length8 name                -> SHA-256 of the file
 *
 * A checkpoint stays for a minute after the last request for it. The disk is read in libuv's
 * pool. ET_ENOTFOUND: it is gone; begin again with OPEN. */

enum { PIN_US = 60 * 1000 * 1000, OPENS_MAX = 8 };

struct request {
	struct cat_work work;
	struct et_rpc_reply *reply; /* owned until answered */
	struct cat_checkpoint *checkpoint;
	uint8_t op;
	char path[CAT_PATH_SIZE];
	uint64_t offset;
	uint32_t size;
	int code;
	struct et_buffer answer;
};

static void list_run(struct request *r)
{
	DIR *dir = opendir(r->path);
	struct stat st;
	uint32_t count = 0;
	size_t count_at = r->answer.size;

	if (dir == NULL) {
		r->code = -errno;
		return;
	}
	et_buffer_add32(&r->answer, 0);
	for (struct dirent *e = readdir(dir); e != NULL && r->code == 0; e = readdir(dir)) {
		size_t length = strlen(e->d_name);
		if (!et_cat_file_name_is_plain(e->d_name) ||
		    fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode)) {
			continue;
		}
		if (length > CAT_FILE_NAME_MAX || ++count > CAT_FILES_MAX) {
			r->code = ET_ELIMIT;
			break;
		}
		et_buffer_add8(&r->answer, (uint8_t)length);
		et_buffer_add(&r->answer, e->d_name, length);
		et_buffer_add64(&r->answer, (uint64_t)st.st_size);
	}
	(void)closedir(dir);
	if (!r->answer.failed) {
		et_put32(r->answer.data + count_at, count);
	}
}

static void read_run(struct request *r)
{
	struct stat st;
	ET_CLEANUP(et_fd_closep) int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || fstat(fd, &st) < 0) {
		r->code = -errno;
		return;
	}
	uint64_t left = r->offset < (uint64_t)st.st_size ? (uint64_t)st.st_size - r->offset : 0;
	size_t size = left < r->size ? (size_t)left : r->size;
	uint8_t *to = et_buffer_reserve(&r->answer, size);
	if (to == NULL) {
		r->code = -ENOMEM;
		return;
	}
	r->code = size == 0 ? 0 : et_file_pread(fd, to, size, (int64_t)r->offset);
	r->answer.size = r->code == 0 ? size : 0;
}

static void hash_run(struct request *r)
{
	ET_CLEANUP(et_fd_closep) int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *sha = et_sha256_new();
	uint8_t hash[ET_SHA256_SIZE];
	uint8_t *bytes = malloc(CAT_CHUNK_BYTES);
	ssize_t n = -1;

	if (fd >= 0 && sha != NULL && bytes != NULL) {
		while ((n = read(fd, bytes, CAT_CHUNK_BYTES)) > 0) {
			et_sha256_add(sha, bytes, (size_t)n);
		}
	}
	free(bytes);
	if (n < 0) {
		r->code = -EIO;
		return;
	}
	et_sha256_end(sha, hash);
	et_buffer_add(&r->answer, hash, sizeof(hash));
}

static void request_run(struct cat_work *w)
{
	struct request *r = ET_CONTAINER_OF(w, struct request, work);

	switch (r->op) {
	case CAT_SNAPSHOT_OPEN:
		list_run(r);
		break;
	case CAT_SNAPSHOT_READ:
		read_run(r);
		break;
	default:
		hash_run(r);
		break;
	}
	if (r->answer.failed) {
		r->code = -ENOMEM;
	}
}

static void request_after(struct cat_work *w)
{
	struct request *r = ET_CONTAINER_OF(w, struct request, work);

	r->checkpoint->readers--;
	r->checkpoint->pinned_until_us = et_clock_mono_us() + PIN_US;
	et_rpc_reply(r->reply, r->code, r->answer.data, r->code == 0 ? r->answer.size : 0);
	et_buffer_release(&r->answer);
	free(r);
}

static void request_start(struct et_catalog *c, struct request *r, struct cat_checkpoint *k)
{
	r->checkpoint = k;
	k->readers++;
	k->pinned_until_us = et_clock_mono_us() + PIN_US;
	r->work.run = request_run;
	r->work.after = request_after;
	et_cat_work(c, &r->work);
}

/* ---- OPEN ---- */

static void open_answer(struct et_catalog *c, struct request *r, struct cat_checkpoint *k)
{
	(void)snprintf(r->path, sizeof(r->path), "%s", k->path);
	et_buffer_add64(&r->answer, k->id);
	et_buffer_add64(&r->answer, k->index);
	request_start(c, r, k);
}

static void open_on_checkpoint(struct et_catalog *c, struct cat_job *job)
{
	struct request *r = job->arg;

	c->opens--;
	if (job->code < 0) {
		et_rpc_reply(r->reply, job->code, NULL, 0);
		free(r);
		return;
	}
	open_answer(c, r, et_cat_checkpoint_made(c, job));
}

static void serve_open(struct et_catalog *c, uint64_t index, struct et_rpc_reply *reply)
{
	struct cat_checkpoint *best = NULL;

	for (struct cat_link *l = c->checkpoints.next; l != &c->checkpoints; l = l->next) {
		struct cat_checkpoint *k = ET_CONTAINER_OF(l, struct cat_checkpoint, link);
		if (k->index >= index && (best == NULL || k->index > best->index)) {
			best = k;
		}
	}
	if (best == NULL && (c->applied < index || c->opens >= OPENS_MAX)) {
		et_rpc_reply(reply, ET_EBUSY, NULL, 0);
		return;
	}
	struct request *r = et_cat_alloc(sizeof(*r));
	r->reply = reply;
	r->op = CAT_SNAPSHOT_OPEN;
	if (best != NULL) {
		open_answer(c, r, best);
		return;
	}
	c->opens++;
	et_cat_checkpoint(c, open_on_checkpoint, r);
}

/* ---- READ, HASH ---- */

static void serve_file(struct et_catalog *c, const struct cat_request *q,
		       struct et_rpc_reply *reply)
{
	struct cat_checkpoint *k = NULL;

	for (struct cat_link *l = c->checkpoints.next; l != &c->checkpoints; l = l->next) {
		struct cat_checkpoint *found = ET_CONTAINER_OF(l, struct cat_checkpoint, link);
		k = found->id == q->id ? found : k;
	}
	if (k == NULL) {
		et_rpc_reply(reply, ET_ENOTFOUND, NULL, 0);
		return;
	}
	struct request *r = et_cat_alloc(sizeof(*r));
	r->reply = reply;
	r->op = q->op;
	r->offset = q->offset;
	r->size = q->size;
	int n = snprintf(r->path, sizeof(r->path), "%s/%s", k->path, q->name);
	if (n < 0 || (size_t)n >= sizeof(r->path)) {
		et_rpc_reply(reply, -ENAMETOOLONG, NULL, 0);
		free(r);
		return;
	}
	request_start(c, r, k);
}

void et_cat_serve_snapshot(void *arg, const struct et_tls_peer *peer, struct et_view body,
			   struct et_rpc_reply *reply)
{
	struct et_catalog *c = arg;
	struct cat_request q;

	(void)peer;
	if (c->stopping) {
		et_rpc_reply(reply, ET_ECLOSED, NULL, 0);
	} else if (!et_cat_request_read(body, &q)) {
		et_rpc_reply(reply, ET_EMALFORMED, NULL, 0);
	} else if (q.op == CAT_SNAPSHOT_OPEN) {
		serve_open(c, q.index, reply);
	} else {
		serve_file(c, &q, reply);
	}
}
