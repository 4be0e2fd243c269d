#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/crypto/hash.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "raft/catalog/catalog_internal.h"

/* Snapshots never pass through memory. libraft's snapshot is a manifest of 32 bytes that says "as
 * of this index"; the content is a RocksDB checkpoint, hard links made at or past that index,
 * before the manifest is stored.
 *
 *   manifest := "ETSNAP1\0" index64 checkpoint64 node64          (big-endian)
 *
 *   <state>/db/CURRENT            the name of the folder that is the database
 *   <state>/db/live-1             the first one
 *   <state>/db/ckpt-INDEX-RANDOM      checkpoints; INDEX is their applied index
 *   <state>/db/incoming-INDEX-RANDOM  complete checkpoints of another node
 *   <state>/db/partial-NODE       what was pulled of one so far (pull.c)
 *   <state>/db/tmp-...            incomplete; removed at start
 *   former databases              removed ten minutes after they were replaced, or at start
 *
 * At a start libraft restores its newest manifest and replays the log from there. The database
 * stays when it is at or past the manifest; else (it was lost, or an installed snapshot was not yet
 * swapped in) the newest complete folder at or past it takes its place, by a new CURRENT.
 *
 * When libraft installs a snapshot while running, the state thread swaps, in order with the entries
 * before and after. Until it has, a crash ends in the case above. */

enum {
	RETRY_US = 10 * 1000 * 1000,
	ASK_US = 60 * 1000 * 1000,
	TRIM_US = 10 * 1000 * 1000,
	KEEP = 2,
	HASH_BYTES = 256 * 1024,
	FORMER_US = 600 * 1000 * 1000
};

/* ---- Folders ---- */

void et_cat_folder_remove(const char *path)
{
	DIR *dir = opendir(path);

	if (dir == NULL) {
		return;
	}
	for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
			(void)unlinkat(dirfd(dir), e->d_name, 0); /* RocksDB's folders are flat. */
		}
	}
	(void)closedir(dir);
	(void)rmdir(path);
}

int et_cat_file_hash(const char *path, uint8_t ret[ET_SHA256_SIZE])
{
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *sha = et_sha256_new();
	uint8_t *bytes = malloc(HASH_BYTES);
	ssize_t n = fd < 0 ? -errno : sha == NULL || bytes == NULL ? -ENOMEM : 1;

	while (n > 0) {
		n = read(fd, bytes, HASH_BYTES);
		if (n < 0) {
			n = errno == EINTR ? 1 : -errno;
		} else if (n > 0) {
			et_sha256_add(sha, bytes, (size_t)n);
		}
	}
	free(bytes);
	if (n == 0) {
		et_sha256_end(sha, ret);
	}
	return (int)n;
}

int et_cat_path_in_db(const struct et_catalog *c, const char *name, char path[CAT_PATH_SIZE])
{
	int n = snprintf(path, CAT_PATH_SIZE, "%s/%s", c->db_folder, name);
	return n > 0 && n < CAT_PATH_SIZE ? 0 : -ENAMETOOLONG;
}

void et_cat_snapshot_name(const struct et_catalog *c, const char *kind, uint64_t index,
			  char path[CAT_PATH_SIZE])
{
	char name[96];
	uint32_t salt;

	et_random(&salt, sizeof(salt));
	(void)snprintf(name, sizeof(name), "%s-%020" PRIu64 "-%08" PRIx32, kind, index, salt);
	if (et_cat_path_in_db(c, name, path) < 0) {
		et_cat_fatal(c, "the path of the state folder is too long");
	}
}

/* The index in "ckpt-INDEX-RANDOM" or "incoming-INDEX-RANDOM". false: another name. */
static bool name_index(const char *name, const char *kind, uint64_t *ret)
{
	size_t n = strlen(kind);
	char *end = NULL;

	if (strncmp(name, kind, n) != 0 || name[n] != '-' || name[n + 1] < '0' ||
	    name[n + 1] > '9') {
		return false;
	}
	*ret = strtoull(name + n + 1, &end, 10);
	return end == name + n + 21 && *end == '-' && strlen(end) == 9;
}

static int current_publish(const struct et_catalog *c, const char *name, struct et_error *reterr)
{
	char path[CAT_PATH_SIZE];
	char text[CAT_NAME_SIZE + 1];

	int rc = et_cat_path_in_db(c, "CURRENT", path);
	if (rc < 0) {
		return et_fail(reterr, rc, "'%s'", c->db_folder);
	}
	int n = snprintf(text, sizeof(text), "%s\n", name);
	return et_file_publish(path, text, (size_t)n, 0600, reterr);
}

static void current_set(struct et_catalog *c, const char *name)
{
	(void)snprintf(c->current, sizeof(c->current), "%s", name);
}

static int current_read(struct et_catalog *c, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	char path[CAT_PATH_SIZE];

	int rc = et_cat_path_in_db(c, "CURRENT", path);
	if (rc < 0) {
		return et_fail(reterr, rc, "'%s'", c->db_folder);
	}
	rc = et_file_read(path, sizeof(c->current), &text, reterr);
	if (rc == -ENOENT) {
		current_set(c, "live-1");
		return current_publish(c, "live-1", reterr);
	}
	if (rc < 0) {
		return rc;
	}
	if (text.size < 2 || text.data[text.size - 1] != '\n' ||
	    memchr(text.data, '/', text.size) != NULL || text.data[0] == '.') {
		return et_fail(reterr, ET_ECORRUPT, "'%s'", path);
	}
	memcpy(c->current, text.data, text.size - 1);
	c->current[text.size - 1] = '\0';
	return 0;
}

int et_cat_snapshot_open_state(struct et_catalog *c, struct et_error *reterr)
{
	char path[CAT_PATH_SIZE];

	cat_list_init(&c->checkpoints);
	int rc = et_file_mkdirs(c->db_folder, reterr);
	if (rc == 0) {
		rc = current_read(c, reterr);
	}
	if (rc == 0) {
		rc = et_cat_path_in_db(c, c->current, path);
	}
	rc = rc < 0 ? rc : et_state_open(path, &c->state, reterr);
	if (rc == 0) {
		et_state_index_hold(c->state, atomic_load(&c->space.no_flush));
	}
	if (rc == ET_ECORRUPT) {
		(void)et_fail_next(reterr,
				   "mv %.140s %.140s.bad; start again: it takes the other "
				   "members' state",
				   c->db_folder, c->db_folder);
	}
	return rc;
}

/* Of the name, which is random and stays: whoever reads it goes on after a restart of this node,
 * and never gets another checkpoint's files for those of its list. */
static uint64_t checkpoint_id(const char *path)
{
	const char *name = strrchr(path, '/');
	uint8_t hash[ET_SHA256_SIZE];

	et_assert(name != NULL);
	et_sha256(name, strlen(name), hash);
	return et_get64(hash);
}

static struct cat_checkpoint *checkpoint_add(struct et_catalog *c, const char *path, uint64_t index)
{
	struct cat_checkpoint *k = et_cat_alloc(sizeof(*k));

	k->index = index;
	k->id = checkpoint_id(path);
	k->serial = ++c->checkpoint_serial;
	(void)snprintf(k->path, sizeof(k->path), "%s", path);
	cat_list_add(&c->checkpoints, &k->link);
	return k;
}

/* Once, when libraft has restored: what is left over goes, checkpoints are remembered, and what was
 * pulled and not installed is kept for the pull that follows. */
void et_cat_snapshot_cleanup(struct et_catalog *c)
{
	DIR *dir = opendir(c->db_folder);
	char path[CAT_PATH_SIZE];
	uint64_t index;

	if (dir == NULL) {
		return;
	}
	c->partials_us = et_clock_mono_us();
	for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
		if (strcmp(e->d_name, c->current) == 0 || strcmp(e->d_name, "CURRENT") == 0 ||
		    e->d_name[0] == '.' || et_cat_path_in_db(c, e->d_name, path) < 0) {
			continue;
		}
		if (name_index(e->d_name, "ckpt", &index)) {
			(void)checkpoint_add(c, path, index);
		} else if (name_index(e->d_name, "incoming", &index) &&
			   index > et_state_applied(c->state)) {
			et_cat_pull_keep(c, path);
		} else if (strncmp(e->d_name, "partial-", 8) == 0) {
			c->partials_exist = true;
		} else {
			et_cat_folder_remove(path); /* tmp-, incoming-, a former database */
		}
	}
	(void)closedir(dir);
}

/* ---- Old checkpoints go, in libuv's pool ---- */

struct removal {
	struct cat_work work;
	char path[CAT_PATH_SIZE];
};

static void removal_run(struct cat_work *w)
{
	et_cat_folder_remove(ET_CONTAINER_OF(w, struct removal, work)->path);
}

static void removal_after(struct cat_work *w)
{
	free(ET_CONTAINER_OF(w, struct removal, work));
}

void et_cat_folder_remove_later(struct et_catalog *c, const char *path)
{
	struct removal *r = et_cat_alloc(sizeof(*r));

	(void)snprintf(r->path, sizeof(r->path), "%s", path);
	r->work.run = removal_run;
	r->work.after = removal_after;
	et_cat_work(c, &r->work);
}

static bool is_current(const struct et_catalog *c, const char *path)
{
	const char *name = strrchr(path, '/');
	return name != NULL && strcmp(name + 1, c->current) == 0;
}

/* Keep the newest two, and what another node is reading. */
static void checkpoints_trim(struct et_catalog *c)
{
	int64_t now_us = et_clock_mono_us();
	struct cat_link *link = c->checkpoints.next;

	while (link != &c->checkpoints) {
		struct cat_checkpoint *k = ET_CONTAINER_OF(link, struct cat_checkpoint, link);
		unsigned newer = 0;
		link = link->next;
		for (struct cat_link *l = c->checkpoints.next; l != &c->checkpoints; l = l->next) {
			newer +=
				ET_CONTAINER_OF(l, struct cat_checkpoint, link)->serial > k->serial;
		}
		bool is_needed = !k->is_gone && (newer < KEEP || k->pinned_until_us > now_us);
		if (is_needed || k->readers > 0 || is_current(c, k->path)) {
			continue;
		}
		cat_list_take(&k->link);
		et_cat_folder_remove_later(c, k->path);
		free(k);
	}
}

/* ---- Making a checkpoint ---- */

/* First a call of the state thread, which has applied by then all that was in its queue; then in
 * libuv's pool, while it goes on. (The state thread made them itself once: it applied nothing for
 * 200 to 470 ms then, three nodes at full load.) */
struct making {
	struct cat_work work;
	struct cat_job job;
	void (*after)(struct et_catalog *c, struct cat_job *job);
};

static int checkpoint_make(struct et_catalog *c, struct cat_job *job, struct et_error *reterr)
{
	char temporary[CAT_PATH_SIZE];

	et_cat_snapshot_name(c, "tmp-ckpt", 0, temporary);
	int rc = et_state_checkpoint(c->state, temporary, &job->result, reterr);
	if (rc == 0) {
		et_cat_snapshot_name(c, "ckpt", job->result, job->path);
		if (rename(temporary, job->path) < 0) {
			rc = et_fail(reterr, -errno, "rename '%s'", temporary);
		} else {
			rc = et_file_sync_parent(job->path, reterr);
		}
	}
	if (rc < 0) {
		et_cat_folder_remove(temporary);
	}
	return rc;
}

static void making_run(struct cat_work *w)
{
	struct making *m = ET_CONTAINER_OF(w, struct making, work);

	m->job.code = checkpoint_make(w->c, &m->job, &m->job.error);
}

static void making_after(struct cat_work *w)
{
	struct making *m = ET_CONTAINER_OF(w, struct making, work);

	m->after(w->c, &m->job);
	free(m);
}

static int checkpoint_reached(struct et_catalog *c, struct cat_job *job, struct et_error *reterr)
{
	(void)c;
	(void)job;
	(void)reterr;
	return 0;
}

static void checkpoint_begin(struct et_catalog *c, struct cat_job *job)
{
	struct making *m = job->arg;

	m->work.run = making_run;
	m->work.after = making_after;
	et_cat_work(c, &m->work);
}

void et_cat_checkpoint(struct et_catalog *c,
		       void (*after)(struct et_catalog *c, struct cat_job *job), void *arg)
{
	struct cat_job *job = et_cat_job_new(checkpoint_reached, checkpoint_begin);
	struct making *m = et_cat_alloc(sizeof(*m));

	m->after = after;
	m->job.arg = arg;
	job->arg = m;
	et_cat_job_push(c, job);
}

struct cat_checkpoint *et_cat_checkpoint_made(struct et_catalog *c, const struct cat_job *job)
{
	struct cat_checkpoint *k = checkpoint_add(c, job->path, job->result);

	checkpoints_trim(c);
	return k;
}

/* ---- Who asks for a snapshot ---- */

struct snapshot_ask {
	struct cat_link link;
	uint64_t index; /* at least */
	int64_t deadline_us;
	void (*cb)(void *arg, int code, uint64_t index);
	void *arg;
};

/* Tell those who wait for an index up to `index`, or (code < 0) all whose time is before `now_us`.
 */
static void asks_end(struct et_catalog *c, uint64_t index, int code, int64_t now_us)
{
	struct cat_link *link = c->asks.next;

	while (link != &c->asks) {
		struct snapshot_ask *a = ET_CONTAINER_OF(link, struct snapshot_ask, link);
		link = link->next;
		if (code == 0 ? a->index <= index : a->deadline_us <= now_us) {
			cat_list_take(&a->link);
			a->cb(a->arg, code, code == 0 ? index : 0);
			free(a);
		}
	}
}

void et_cat_snapshot_fail_asks(struct et_catalog *c, int code)
{
	asks_end(c, 0, code, INT64_MAX);
}

void et_catalog_snapshot(struct et_catalog *c, void (*cb)(void *arg, int code, uint64_t index),
			 void *arg)
{
	uint64_t index = raft_last_applied(&c->raft);

	if (c->stopping || c->install.active) {
		et_cat_later_index(c, cb, arg, c->stopping ? ET_ECLOSED : ET_EBUSY);
		return;
	}
	struct snapshot_ask *a = et_cat_alloc(sizeof(*a));
	a->index = index;
	a->deadline_us = et_clock_mono_us() + ASK_US;
	a->cb = cb;
	a->arg = arg;
	cat_list_add(&c->asks, &a->link);
	c->snapshot_at_us = 0;
	et_cat_snapshot_watch(c); /* What is so already is told by the timer. */
}

/* ---- libraft takes a snapshot ---- */

static bool snapshot_is_due(const struct et_catalog *c)
{
	/* The last who asked wants the highest index. */
	const struct snapshot_ask *last = ET_CONTAINER_OF(c->asks.prev, struct snapshot_ask, link);

	return c->log_bytes >= c->snapshot_bytes ||
	       (!cat_list_is_empty(&c->asks) && last->index > c->snapshot_index);
}

int et_cat_fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
	struct et_catalog *c = fsm->data;
	uint64_t index = raft_last_applied(&c->raft);

	if (c->stopping || c->snapshot_pending || c->install.active || c->space.full ||
	    !snapshot_is_due(c) || c->applied < index || et_clock_mono_us() < c->snapshot_at_us) {
		return RAFT_BUSY;
	}
	struct raft_buffer *buf = raft_malloc(sizeof(*buf));
	uint8_t *bytes = raft_malloc(CAT_MANIFEST_SIZE);
	if (buf == NULL || bytes == NULL) {
		et_cat_fatal(c, "no memory for a snapshot");
	}
	et_cat_manifest_write(&(struct cat_manifest){ .index = index, .source = c->node }, bytes);
	*buf = (struct raft_buffer){ .base = bytes, .len = CAT_MANIFEST_SIZE };
	*bufs = buf;
	*n_bufs = 1;
	/* What came since the last snapshot stays in the log, for followers a little behind. 0
	 * would mean to libraft that this is an install. */
	uint64_t trailing = index > c->snapshot_index ? index - c->snapshot_index : 1;
	raft_set_snapshot_trailing(&c->raft, trailing > UINT_MAX ? UINT_MAX : (unsigned)trailing);
	c->snapshot_log_bytes = c->log_bytes;
	return 0;
}

struct snapshot_put {
	struct raft_io_snapshot_put req;
	struct et_catalog *c;
	unsigned trailing;
	struct raft_io_snapshot_put *original; /* borrowed */
	const struct raft_snapshot *snapshot;  /* borrowed */
	raft_io_snapshot_put_cb cb;
};

static void snapshot_on_put(struct raft_io_snapshot_put *req, int status)
{
	struct snapshot_put *p = ET_CONTAINER_OF(req, struct snapshot_put, req);
	struct et_catalog *c = p->c;
	struct raft_io_snapshot_put *original = p->original;
	raft_io_snapshot_put_cb cb = p->cb;

	if (status == 0) {
		c->snapshot_index = p->snapshot->index;
		c->log_bytes -= c->snapshot_log_bytes;
		et_info("catalog.snapshot", "node=%" PRIu64 " index=%" PRIu64, c->node,
			c->snapshot_index);
		asks_end(c, c->snapshot_index, 0, 0);
	} else if (!c->stopping) {
		c->snapshot_at_us = et_clock_mono_us() + RETRY_US;
		et_warn("catalog.snapshot", "node=%" PRIu64 " error=%d", c->node, status);
		et_cat_snapshot_fail_asks(c, et_cat_code(status));
	}
	free(p);
	cb(original, status);
	et_cat_snapshot_watch(c);
}

static void snapshot_on_checkpoint(struct et_catalog *c, struct cat_job *job)
{
	struct snapshot_put *p = job->arg;
	int rv = RAFT_CANCELED;

	c->snapshot_pending = false;
	if (job->code < 0) {
		char quoted[600];
		et_warn("catalog.checkpoint", "node=%" PRIu64 " why=%s", c->node,
			et_log_quote(job->error.text, quoted, sizeof(quoted)));
		rv = RAFT_NOSPACE;
	} else {
		(void)et_cat_checkpoint_made(c, job);
		et_assert(job->result >= p->snapshot->index);
		if (!c->stopping) {
			uint8_t *bytes = p->snapshot->bufs[0].base;
			et_put64(bytes + 16, job->result);
			rv = c->io_snapshot_put(&c->io, p->trailing, &p->req, p->snapshot,
						snapshot_on_put);
		}
	}
	if (rv != 0) {
		snapshot_on_put(&p->req, rv);
	}
}

/* An install: libraft has thrown its log away in memory, so there is no way back. */
static void install_on_put(struct raft_io_snapshot_put *req, int status)
{
	struct snapshot_put *p = ET_CONTAINER_OF(req, struct snapshot_put, req);
	struct raft_io_snapshot_put *original = p->original;
	raft_io_snapshot_put_cb cb = p->cb;
	struct et_catalog *c = p->c;

	if (status != 0 && !c->stopping) {
		et_cat_fatal(c, "the snapshot at %llu cannot be stored: %s", p->snapshot->index,
			     c->io.errmsg);
	}
	free(p);
	cb(original, status);
}

/* libraft stores the manifest: not before the checkpoint is there. */
static int snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
			const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
	struct et_catalog *c = ET_CONTAINER_OF(io, struct et_catalog, io);

	if (trailing != 0 && c->stopping) {
		return RAFT_CANCELED;
	}
	struct snapshot_put *p = et_cat_alloc(sizeof(*p));
	p->c = c;
	p->trailing = trailing;
	p->original = req;
	p->snapshot = snapshot;
	p->cb = cb;
	if (trailing == 0) {
		int rv = c->io_snapshot_put(io, 0, &p->req, snapshot, install_on_put);
		if (rv != 0) {
			free(p);
		}
		return rv;
	}
	c->snapshot_pending = true;
	et_cat_checkpoint(c, snapshot_on_checkpoint, p);
	return 0;
}

/* ---- libraft reads its snapshot, to send it ---- */

struct snapshot_get {
	struct cat_link link; /* while it waits for another attempt */
	struct raft_io_snapshot_get req;
	struct et_catalog *c;
	struct raft_io_snapshot_get *original; /* borrowed */
	raft_io_snapshot_get_cb cb;
};

/* What libraft made for its message; it begins where `data` points. */
static void get_drop(struct snapshot_get *g)
{
	raft_free(g->original->data);
	free(g);
}

static void get_start(struct snapshot_get *g);

/* G10: told of a failure (the newest snapshot went while it was read), libraft releases a
 * configuration that it never set. So it is not told: the attempt is made again. */
static void get_on_done(struct raft_io_snapshot_get *req, struct raft_snapshot *snapshot,
			int status)
{
	struct snapshot_get *g = ET_CONTAINER_OF(req, struct snapshot_get, req);
	struct et_catalog *c = g->c;

	if (status == 0 && !c->stopping) {
		struct raft_io_snapshot_get *original = g->original;
		raft_io_snapshot_get_cb cb = g->cb;
		free(g);
		cb(original, snapshot, 0);
		return;
	}
	if (status == 0) {
		raft_configuration_close(&snapshot->configuration);
		raft_free(snapshot->bufs[0].base);
		raft_free(snapshot->bufs);
	}
	raft_free(snapshot);
	if (c->stopping) {
		get_drop(g);
	} else {
		cat_list_add(&c->gets, &g->link);
	}
}

static void get_start(struct snapshot_get *g)
{
	if (g->c->io_snapshot_get(&g->c->io, &g->req, get_on_done) != 0) {
		cat_list_add(&g->c->gets, &g->link);
	}
}

static int snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *req,
			raft_io_snapshot_get_cb cb)
{
	struct snapshot_get *g = et_cat_alloc(sizeof(*g));

	g->c = ET_CONTAINER_OF(io, struct et_catalog, io);
	g->original = req;
	g->cb = cb;
	get_start(g);
	return 0;
}

static void gets_again(struct et_catalog *c)
{
	struct cat_link now;

	cat_list_move(&c->gets, &now);
	while (!cat_list_is_empty(&now)) {
		struct snapshot_get *g = ET_CONTAINER_OF(now.next, struct snapshot_get, link);
		cat_list_take(&g->link);
		get_start(g);
	}
}

void et_cat_snapshot_init(struct et_catalog *c)
{
	c->io_snapshot_get = c->io.snapshot_get;
	c->io.snapshot_get = snapshot_get;
	c->io_snapshot_put = c->io.snapshot_put;
	c->io.snapshot_put = snapshot_put;
	raft_set_snapshot_threshold(&c->raft, UINT_MAX);
}

/* libraft counts entries, we count bytes: the threshold says whether it is time. */
void et_cat_snapshot_watch(struct et_catalog *c)
{
	raft_set_snapshot_threshold(&c->raft, snapshot_is_due(c) ? 1 : UINT_MAX);
}

/* ---- libraft restores a snapshot ---- */

/* The newest complete folder at or past `index`, into `name`. */
static bool newest_at(const struct et_catalog *c, uint64_t index, char name[CAT_NAME_SIZE])
{
	DIR *dir = opendir(c->db_folder);
	uint64_t best = 0;

	if (dir == NULL) {
		return false;
	}
	for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
		uint64_t found;
		size_t length = strlen(e->d_name);
		if ((name_index(e->d_name, "ckpt", &found) ||
		     name_index(e->d_name, "incoming", &found)) &&
		    found >= index && found > best && length < CAT_NAME_SIZE) {
			best = found;
			memcpy(name, e->d_name, length + 1);
		}
	}
	(void)closedir(dir);
	return best != 0;
}

/* During raft_start(): no thread, no readers. */
static void restore_at_start(struct et_catalog *c, uint64_t index)
{
	char name[CAT_NAME_SIZE];
	char path[CAT_PATH_SIZE];
	struct et_error error;

	if (et_state_applied(c->state) >= index) {
		return;
	}
	if (!newest_at(c, index, name) || et_cat_path_in_db(c, name, path) < 0) {
		c->rebuild.active = true; /* If there is another node: et_cat_rebuild_begin(). */
		c->rebuild.index = index;
		c->pushed = index;
		return;
	}
	c->state = et_state_close(c->state);
	int rc = current_publish(c, name, &error);
	if (rc == 0) {
		current_set(c, name);
		rc = et_state_open(path, &c->state, &error);
	}
	if (rc < 0 || et_state_applied(c->state) < index) {
		et_cat_fatal(c, "the checkpoint '%s' cannot be used: %s", path,
			     rc < 0 ? error.text : "it is too old");
	}
	et_state_index_hold(c->state, atomic_load(&c->space.no_flush));
	c->pushed = c->applied = et_state_applied(c->state);
	et_info("catalog.restore", "node=%" PRIu64 " from=%s index=%" PRIu64, c->node, name,
		et_state_applied(c->state));
}

static int replace_work(struct et_catalog *c, struct cat_job *job, struct et_error *reterr)
{
	const char *name = strrchr(job->path, '/');

	if (et_state_applied(c->state) >= job->index) {
		return 0;
	}
	if (name == NULL) {
		return et_fail(reterr, ET_ECORRUPT, "no checkpoint for index %" PRIu64, job->index);
	}
	int rc = current_publish(c, name + 1, reterr);
	if (rc == 0) {
		rc = et_state_replace(c->state, job->path, reterr);
	}
	job->result = rc == 0;
	return rc;
}

struct former {
	struct cat_link link;
	char path[CAT_PATH_SIZE];
	int64_t remove_at_us;
};

/* The database that was: views of it may be open, so its files stay for longer than any view does.
 */
static void former_add(struct et_catalog *c)
{
	struct former *f = et_cat_alloc(sizeof(*f));

	if (et_cat_path_in_db(c, c->current, f->path) < 0) {
		free(f);
		return;
	}
	f->remove_at_us = et_clock_mono_us() + FORMER_US;
	cat_list_add(&c->formers, &f->link);
}

void et_cat_snapshot_timer(struct et_catalog *c, int64_t now_us)
{
	gets_again(c);
	asks_end(c, c->snapshot_index, 0, 0);
	asks_end(c, 0, ET_EUNKNOWN, now_us);
	if (now_us >= c->trim_at_us) { /* Those that were being read when it was tried last. */
		c->trim_at_us = now_us + TRIM_US;
		checkpoints_trim(c);
	}
	while (!cat_list_is_empty(&c->formers)) {
		struct former *f = ET_CONTAINER_OF(c->formers.next, struct former, link);
		if (now_us < f->remove_at_us) {
			return;
		}
		cat_list_take(&f->link);
		et_cat_folder_remove_later(c, f->path);
		free(f);
	}
}

static void replace_after(struct et_catalog *c, struct cat_job *job)
{
	if (job->code < 0 || et_state_applied(c->state) < job->index) {
		et_cat_fatal(c, "the snapshot at %" PRIu64 " cannot be installed: %s", job->index,
			     job->code < 0 ? job->error.text : "the checkpoint is too old");
	}
	et_info("catalog.install.done", "node=%" PRIu64 " index=%" PRIu64 " applied=%" PRIu64,
		c->node, job->index, et_state_applied(c->state));
	if (job->result != 0) {
		former_add(c);
		current_set(c, strrchr(job->path, '/') + 1);
	} else if (job->path[0] != '\0') {
		et_cat_folder_remove_later(c, job->path); /* The database was there before. */
	}
	/* Some of what waits may lie in what was jumped over: ask again, it answers at once. */
	et_cat_propose_resend(c);
	et_cat_tick_init(c);
	if (job->result != 0 && c->on_replaced != NULL) {
		c->on_replaced(c->arg);
	}
}

/* Have the state thread go over to the checkpoint in `path`, unless it is at `index` already. */
void et_cat_replace(struct et_catalog *c, const char *path, uint64_t index)
{
	struct cat_job *job = et_cat_job_new(replace_work, replace_after);

	job->index = index;
	(void)snprintf(job->path, sizeof(job->path), "%s", path);
	et_cat_job_push(c, job);
}

int et_cat_fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
	struct et_catalog *c = fsm->data;
	struct cat_manifest m;

	if (!et_cat_manifest_read(buf->base, buf->len, &m)) {
		et_cat_fatal(c, "the snapshot in '%s' is not one of ours", c->raft_folder);
	}
	raft_free(buf->base);
	c->snapshot_index = m.index;
	c->log_bytes = 0;
	if (!c->thread_is_running) {
		restore_at_start(c, m.index);
		return 0;
	}
	et_cat_apply_stored(c);
	et_cat_replace(c, c->install.path, m.index);
	c->install.path[0] = '\0';
	c->pushed = m.index > c->pushed ? m.index : c->pushed;
	return 0;
}

void et_cat_snapshot_release(struct et_catalog *c)
{
	while (!cat_list_is_empty(&c->gets)) {
		struct snapshot_get *g = ET_CONTAINER_OF(c->gets.next, struct snapshot_get, link);
		cat_list_take(&g->link);
		get_drop(g);
	}
	while (!cat_list_is_empty(&c->formers)) {
		struct former *f = ET_CONTAINER_OF(c->formers.next, struct former, link);
		cat_list_take(&f->link);
		free(f);
	}
	while (!cat_list_is_empty(&c->checkpoints)) {
		struct cat_checkpoint *k =
			ET_CONTAINER_OF(c->checkpoints.next, struct cat_checkpoint, link);
		cat_list_take(&k->link);
		free(k);
	}
}
