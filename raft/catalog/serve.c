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
 * A checkpoint stays for a minute after the last request for it, and has the same id after a
 * restart. ET_ENOTFOUND: it is gone; begin again with OPEN. ET_EBUSY: too many wait.
 *
 * The disk is read in libuv's pool, by two requests at once, so that Raft's own work in that pool
 * never waits behind a queue of them; READ also waits for the rate. The hash of a file is computed
 * once: checkpoints are hard links, so what is known of an inode holds in all of them. */

enum { PIN_US = 60 * 1000 * 1000, OPENS_MAX = 8, WORKS_MAX = 2, WAITING_MAX = 256, KNOWN = 4096 };

/* A file as it was when it was hashed; files of a checkpoint never change. */
struct cat_known {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed;
	uint8_t hash[ET_SHA256_SIZE];
};

struct request {
	struct cat_link link; /* while it waits */
	struct cat_work work;
	struct et_rpc_reply *reply; /* owned until answered */
	struct cat_checkpoint *checkpoint;
	uint8_t op;
	bool is_known; /* HASH: what the file is, not yet its hash */
	char path[CAT_PATH_SIZE];
	uint64_t offset;
	uint32_t size;
	int code;
	struct stat st;
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

static void stat_run(struct request *r)
{
	r->code = lstat(r->path, &r->st) < 0 ? -errno : 0;
	if (r->code == 0 && !S_ISREG(r->st.st_mode)) {
		r->code = -EACCES;
	}
}

static void hash_run(struct request *r)
{
	uint8_t hash[ET_SHA256_SIZE];

	r->code = et_cat_file_hash(r->path, hash);
	if (r->code == 0) {
		et_buffer_add(&r->answer, hash, sizeof(hash));
	}
}

static void request_run(struct cat_work *w)
{
	struct request *r = ET_CONTAINER_OF(w, struct request, work);

	if (r->op == CAT_SNAPSHOT_OPEN) {
		list_run(r);
	} else if (r->op == CAT_SNAPSHOT_READ) {
		read_run(r);
	} else if (!r->is_known) {
		stat_run(r);
	} else {
		hash_run(r);
	}
	if (r->answer.failed) {
		r->code = -ENOMEM;
	}
}

/* ---- Hashes that are known ---- */

static struct cat_known *known_of(struct et_catalog *c, const struct stat *st)
{
	if (c->known == NULL) {
		c->known = et_cat_alloc(KNOWN * sizeof(*c->known));
	}
	return &c->known[st->st_ino % KNOWN];
}

static bool known_is(const struct cat_known *k, const struct stat *st)
{
	return k->inode == st->st_ino && k->device == st->st_dev && k->size == st->st_size &&
	       k->changed.tv_sec == st->st_mtim.tv_sec && k->changed.tv_nsec == st->st_mtim.tv_nsec;
}

static void known_add(struct et_catalog *c, const struct request *r)
{
	struct cat_known *k = known_of(c, &r->st);

	*k = (struct cat_known){ .device = r->st.st_dev,
				 .inode = r->st.st_ino,
				 .size = r->st.st_size,
				 .changed = r->st.st_mtim };
	memcpy(k->hash, r->answer.data, sizeof(k->hash));
}

/* ---- Turns of the requests ---- */

static void request_free(struct request *r)
{
	et_buffer_release(&r->answer);
	free(r);
}

static void request_end(struct et_catalog *c, struct request *r)
{
	r->checkpoint->readers--;
	if (r->code == -ENOENT) { /* Someone has removed its files: the next OPEN makes another. */
		r->checkpoint->is_gone = true;
		r->code = ET_ENOTFOUND;
	}
	r->checkpoint->pinned_until_us = et_clock_mono_us() + PIN_US;
	if (r->op == CAT_SNAPSHOT_READ && r->code == 0) {
		c->served_bytes += r->answer.size;
	}
	et_rpc_reply(r->reply, r->code, r->answer.data, r->code == 0 ? r->answer.size : 0);
	request_free(r);
}

static void request_work(struct et_catalog *c, struct request *r);

static void request_after(struct cat_work *w)
{
	struct request *r = ET_CONTAINER_OF(w, struct request, work);
	struct et_catalog *c = w->c;

	c->serves_working--;
	if (r->op == CAT_SNAPSHOT_HASH && r->code == 0 && !r->is_known) {
		const struct cat_known *k = known_of(c, &r->st);
		r->is_known = true;
		if (!known_is(k, &r->st)) {
			request_work(c, r); /* Again, for the hash. */
			return;
		}
		et_buffer_add(&r->answer, k->hash, sizeof(k->hash));
		r->code = r->answer.failed ? -ENOMEM : 0;
	} else if (r->op == CAT_SNAPSHOT_HASH && r->code == 0) {
		known_add(c, r);
	}
	request_end(c, r);
	et_cat_serve_turn(c);
}

static void request_work(struct et_catalog *c, struct request *r)
{
	c->serves_working++;
	r->work.run = request_run;
	r->work.after = request_after;
	et_cat_work(c, &r->work);
}

void et_cat_serve_turn(struct et_catalog *c)
{
	while (c->serves_working < WORKS_MAX && !cat_list_is_empty(&c->serves)) {
		struct request *r = ET_CONTAINER_OF(c->serves.next, struct request, link);
		if (r->op == CAT_SNAPSHOT_READ) {
			int64_t now_us = et_clock_mono_us();
			if (c->serve_rate.next_us > now_us) {
				et_cat_soon(c, c->serve_rate.next_us);
				return;
			}
			cat_rate_take(&c->serve_rate, r->size, now_us);
		}
		cat_list_take(&r->link);
		c->serves_waiting--;
		request_work(c, r);
	}
}

void et_cat_serve_stop(struct et_catalog *c)
{
	while (!cat_list_is_empty(&c->serves)) {
		struct request *r = ET_CONTAINER_OF(c->serves.next, struct request, link);
		cat_list_take(&r->link);
		r->code = ET_ECLOSED;
		request_end(c, r);
	}
	c->serves_waiting = 0;
}

static void request_start(struct et_catalog *c, struct request *r, struct cat_checkpoint *k)
{
	r->checkpoint = k;
	k->readers++;
	k->pinned_until_us = et_clock_mono_us() + PIN_US;
	if (c->stopping || c->serves_waiting >= WAITING_MAX) {
		r->code = c->stopping ? ET_ECLOSED : ET_EBUSY;
		request_end(c, r);
		return;
	}
	cat_list_add(&c->serves, &r->link);
	c->serves_waiting++;
	et_cat_serve_turn(c);
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
		if (!k->is_gone && k->index >= index && (best == NULL || k->index > best->index)) {
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
