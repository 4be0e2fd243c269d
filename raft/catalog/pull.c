#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/crypto/hash.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "raft/catalog/catalog_internal.h"

/* Gets a checkpoint's files from another node (serve.c has the messages), for the InstallSnapshot
 * that guards.c holds:
 *
 *   OPEN ─> for each file: READ... ─> HASH ─> fsync ─> ... ─> fsync folder, rename to incoming-...
 *
 * A chunk is on its way while nothing else is; disk and hash run in libuv's pool. Any failure
 * begins again after a second, from the source that is known then; what was fetched so far is
 * dropped. What comes is checked against SHA-256 of the source's disk; the folder gets its name
 * when all of it is durable. */

enum { CALL_TIMEOUT_MS = 30000, RETRY_US = 1000 * 1000 };

struct cat_pull {
	struct cat_work work;
	struct et_catalog *c;
	bool working;	     /* in libuv's pool */
	bool cancelled;	     /* free it when the work is done */
	uint64_t generation; /* answers to older ones are ignored */
	uint64_t node;	     /* the source of this attempt */
	char address[CAT_ADDRESS_SIZE];
	uint64_t next_node; /* of the next one */
	char next_address[CAT_ADDRESS_SIZE];
	uint64_t wanted;     /* index, at least */
	int64_t retry_at_us; /* 0: under way */

	struct cat_files list; /* owned */
	size_t at;	       /* which file */
	uint64_t offset;       /* in it */
	int fd;
	struct et_sha256 *sha;	    /* owned */
	char folder[CAT_PATH_SIZE]; /* tmp-incoming-..., or "" */
	char complete[CAT_PATH_SIZE];
	uint64_t done_bytes;

	/* For the work. */
	struct et_buffer chunk;
	uint8_t hash[ET_SHA256_SIZE];
	int code;
};

static void pull_ask_open(struct cat_pull *p);
static void pull_next(struct cat_pull *p);

static void pull_reset(struct cat_pull *p)
{
	if (p->fd >= 0) {
		(void)close(p->fd);
		p->fd = -1;
	}
	if (p->folder[0] != '\0') {
		et_cat_folder_remove_later(p->c, p->folder);
		p->folder[0] = '\0';
	}
	et_cat_files_release(&p->list);
	p->at = 0;
	p->offset = p->done_bytes = 0;
	p->complete[0] = '\0';
	et_sha256_reset(p->sha);
	et_buffer_release(&p->chunk);
}

static void pull_free(struct cat_pull *p)
{
	pull_reset(p);
	p->sha = et_sha256_free(p->sha);
	free(p);
}

static void pull_fail(struct cat_pull *p, int code, const char *what)
{
	et_warn("catalog.install.retry", "node=%llu from=%llu what=%s error=%s",
		(unsigned long long)p->c->node, (unsigned long long)p->node, what,
		et_errname(code));
	pull_reset(p);
	p->generation = ++p->c->pull_generation;
	p->retry_at_us = et_clock_mono_us() + RETRY_US;
}

static struct cat_pull *pull_of(struct et_catalog *c, const struct cat_call *call)
{
	return c->pull != NULL && c->pull->generation == call->tag ? c->pull : NULL;
}

static void pull_call(struct cat_pull *p, const struct cat_request *q,
		      void (*fn)(struct et_catalog *, struct cat_call *, int, struct et_view))
{
	struct et_buffer body = { 0 };

	et_cat_request_write(q, &body);
	et_cat_call(p->c, p->node, p->address, ET_RPC_SNAPSHOT, body.data, body.size,
		    CALL_TIMEOUT_MS, fn, p->generation);
	et_buffer_release(&body);
}

static struct cat_request request_of_file(const struct cat_pull *p, uint8_t op)
{
	struct cat_request q = { .op = op, .id = p->list.id, .offset = p->offset };

	memcpy(q.name, p->list.files[p->at].name, sizeof(q.name));
	return q;
}

/* ---- Work in the pool ---- */

static void work_after(struct cat_work *w)
{
	struct cat_pull *p = ET_CONTAINER_OF(w, struct cat_pull, work);

	p->working = false;
	if (p->cancelled) {
		pull_free(p);
		return;
	}
	p->done_bytes += p->chunk.size;
	et_buffer_release(&p->chunk);
	if (p->code < 0) {
		pull_fail(p, p->code, "disk");
		return;
	}
	pull_next(p);
}

static void work_start(struct cat_pull *p, void (*run)(struct cat_work *w))
{
	p->working = true;
	p->code = 0;
	p->work.run = run;
	p->work.after = work_after;
	et_cat_work(p->c, &p->work);
}

static void chunk_run(struct cat_work *w)
{
	struct cat_pull *p = ET_CONTAINER_OF(w, struct cat_pull, work);
	const struct cat_file *f = &p->list.files[p->at];
	char path[CAT_PATH_SIZE + CAT_FILE_NAME_MAX + 1];

	if (p->fd < 0) {
		(void)snprintf(path, sizeof(path), "%s/%s", p->folder, f->name);
		p->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (p->fd < 0) {
			p->code = -errno;
			return;
		}
	}
	if (p->chunk.size > 0) {
		p->code = et_file_pwrite(p->fd, p->chunk.data, p->chunk.size, (int64_t)p->offset);
		et_sha256_add(p->sha, p->chunk.data, p->chunk.size);
		p->offset += p->chunk.size;
	}
}

static void file_end_run(struct cat_work *w)
{
	struct cat_pull *p = ET_CONTAINER_OF(w, struct cat_pull, work);
	uint8_t hash[ET_SHA256_SIZE];

	et_sha256_end(p->sha, hash);
	if (memcmp(hash, p->hash, sizeof(hash)) != 0) {
		p->code = ET_EINTEGRITY;
		return;
	}
	if (fsync(p->fd) < 0) {
		p->code = -errno;
		return;
	}
	(void)close(p->fd);
	p->fd = -1;
	p->at++;
	p->offset = 0;
}

static void all_end_run(struct cat_work *w)
{
	struct cat_pull *p = ET_CONTAINER_OF(w, struct cat_pull, work);
	int fd = open(p->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0 || rename(p->folder, p->complete) < 0) {
		p->code = -errno;
	}
	if (fd >= 0) {
		(void)close(fd);
	}
	if (p->code == 0) {
		p->folder[0] = '\0';
		p->code = et_file_sync_parent(p->complete, NULL);
	}
}

/* ---- Questions and answers ---- */

static void on_hash(struct et_catalog *c, struct cat_call *call, int code, struct et_view body)
{
	struct cat_pull *p = pull_of(c, call);

	if (p == NULL) {
		return;
	}
	if (code < 0 || body.size != sizeof(p->hash)) {
		pull_fail(p, code < 0 ? code : ET_EMALFORMED, "hash");
		return;
	}
	memcpy(p->hash, body.data, sizeof(p->hash));
	work_start(p, file_end_run);
}

static void on_chunk(struct et_catalog *c, struct cat_call *call, int code, struct et_view body)
{
	struct cat_pull *p = pull_of(c, call);

	if (p == NULL) {
		return;
	}
	uint64_t left = p->list.files[p->at].size - p->offset;
	if (code < 0 || body.size == 0 || body.size > left || body.size > CAT_CHUNK_BYTES) {
		pull_fail(p, code < 0 ? code : ET_EMALFORMED, "read");
		return;
	}
	et_buffer_add(&p->chunk, body.data, body.size);
	if (p->chunk.failed) {
		pull_fail(p, -ENOMEM, "read");
		return;
	}
	work_start(p, chunk_run);
}

/* The next step of the file, of the next file, or the end. */
static void pull_next(struct cat_pull *p)
{
	if (p->complete[0] != '\0') {
		struct et_catalog *c = p->c;
		char path[CAT_PATH_SIZE];
		uint64_t index = p->list.index;
		(void)snprintf(path, sizeof(path), "%s", p->complete);
		c->pull = NULL;
		pull_free(p);
		et_cat_install_ready(c, path, index);
		return;
	}
	if (p->at == p->list.count) {
		et_cat_snapshot_name(p->c, "incoming", p->list.index, p->complete);
		work_start(p, all_end_run);
		return;
	}
	const struct cat_file *f = &p->list.files[p->at];
	uint64_t left = f->size - p->offset;
	if (left > 0) {
		struct cat_request q = request_of_file(p, CAT_SNAPSHOT_READ);
		q.size = left < CAT_CHUNK_BYTES ? (uint32_t)left : CAT_CHUNK_BYTES;
		pull_call(p, &q, on_chunk);
	} else if (p->fd < 0) {
		work_start(p, chunk_run); /* An empty file: only made. */
	} else {
		struct cat_request q = request_of_file(p, CAT_SNAPSHOT_HASH);
		pull_call(p, &q, on_hash);
	}
}

static void on_open(struct et_catalog *c, struct cat_call *call, int code, struct et_view body)
{
	struct cat_pull *p = pull_of(c, call);

	if (p == NULL) {
		return;
	}
	if (code < 0 || !et_cat_files_read(body, &p->list) || p->list.index < p->wanted) {
		pull_fail(p, code < 0 ? code : ET_EMALFORMED, "open");
		return;
	}
	et_cat_snapshot_name(c, "tmp-incoming", p->list.index, p->folder);
	if (mkdir(p->folder, 0700) < 0) {
		pull_fail(p, -errno, "mkdir");
		return;
	}
	et_info("catalog.install.pull", "node=%llu from=%llu index=%llu files=%zu bytes=%llu",
		(unsigned long long)c->node, (unsigned long long)p->node,
		(unsigned long long)p->list.index, p->list.count,
		(unsigned long long)p->list.bytes);
	pull_next(p);
}

static void pull_ask_open(struct cat_pull *p)
{
	struct cat_request q = { .op = CAT_SNAPSHOT_OPEN, .index = p->wanted };

	p->retry_at_us = 0;
	p->node = p->next_node;
	memcpy(p->address, p->next_address, sizeof(p->address));
	pull_call(p, &q, on_open);
}

void et_cat_pull_start(struct et_catalog *c, uint64_t node, const char *address, uint64_t index)
{
	struct cat_pull *p = c->pull;
	bool is_new = p == NULL;

	if (is_new) {
		p = et_cat_alloc(sizeof(*p));
		p->c = c;
		p->fd = -1;
		p->sha = et_sha256_new();
		if (p->sha == NULL) {
			et_cat_fatal(c, "no memory for a hash");
		}
		p->generation = ++c->pull_generation;
		c->pull = p;
	}
	p->next_node = node;
	(void)snprintf(p->next_address, sizeof(p->next_address), "%s", address);
	p->wanted = index;
	if (is_new) {
		pull_ask_open(p);
	}
}

void et_cat_pull_turn(struct et_catalog *c, int64_t now_us)
{
	struct cat_pull *p = c->pull;

	if (p != NULL && p->retry_at_us != 0 && now_us >= p->retry_at_us && !p->working) {
		pull_ask_open(p);
	}
}

void et_cat_pull_stop(struct et_catalog *c)
{
	struct cat_pull *p = c->pull;

	c->pull = NULL;
	if (p == NULL) {
		return;
	}
	if (p->working) {
		p->cancelled = true;
	} else {
		pull_free(p);
	}
}

void et_cat_pull_progress(const struct et_catalog *c, uint64_t *ret_done, uint64_t *ret_all)
{
	*ret_done = c->pull == NULL ? 0 : c->pull->done_bytes;
	*ret_all = c->pull == NULL ? 0 : c->pull->list.bytes;
}
