#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "raft/catalog/catalog_internal.h"

/* Gets a checkpoint's files from another node (serve.c has the messages), for the InstallSnapshot
 * that guards.c holds:
 *
 *   OPEN ─> PREPARE ─> for each file: HASH ─┬─> VERIFY ────────────────────┬─> COMMIT ─>
 * incoming-... └─> BEGIN ─> READ... ─> END ───┘
 *
 *   PREPARE  makes partial-NODE; links into it what may be a file of the list already (same name
 * and size): of other partial folders, and of the own database. Refuses when the disk has no room
 * for the rest and the reserve VERIFY   such a file is taken when its SHA-256 is the source's; else
 * it goes BEGIN    NAME.part: what is there of an earlier attempt is hashed, and goes on READ 16
 * chunks of 256 KiB on their way at most, written in order: memory is bounded by these END SHA-256
 * of the whole against the source's, fsync, rename to NAME COMMIT   fsync and rename of the folder
 *
 * So a failure at any point, kill -9 among them, costs no complete file, and a second pass (the log
 * moved on meanwhile) only what is new. A file that is there is still never believed: it is hashed
 * again. The work runs in libuv's pool, one step at a time; the loop asks and decides in pull_go().
 *
 * A failed attempt is followed by another after a second; every other one asks another member than
 * the leader, so that a source that is hung or broken is not the end. Who answers nothing for
 * pull_stall_us (15 s) is left. Partial folders go when nobody needed them for an hour. */

enum {
	CALL_TIMEOUT_MS = 60000,
	RETRY_US = 1000 * 1000,
	SPACE_RETRY_US = 10 * 1000 * 1000,
	SWITCH_US = 3 * 1000 * 1000,
	WINDOW = 16,
	CHUNK = 256 * 1024,
	HASHES_AHEAD = 2,
};
#define PARTIALS_US (INT64_C(3600) * 1000 * 1000)
#define TAG_HASH (UINT64_C(1) << 31)

struct pull_file {
	bool asked; /* for the hash */
	bool have_hash;
	bool is_here; /* something of that name and size is in the folder */
	uint8_t hash[ET_SHA256_SIZE];
};

struct cat_pull {
	struct cat_work work;
	struct et_catalog *c;
	bool working;	/* in libuv's pool */
	bool cancelled; /* free it when the work is done */
	bool prepared;
	uint32_t generation; /* answers to older ones are ignored */
	unsigned attempts;
	uint64_t node; /* the source of this attempt */
	char address[CAT_ADDRESS_SIZE];
	uint64_t leader_node; /* who sent the message that it is for */
	char leader_address[CAT_ADDRESS_SIZE];
	uint64_t wanted;	    /* index, at least */
	int64_t retry_at_us;	    /* 0: under way */
	int64_t progress_us;	    /* when the source last answered */
	char unused[CAT_PATH_SIZE]; /* a complete checkpoint that is too old, or "" */

	struct cat_files list;		  /* owned */
	struct pull_file *files;	  /* owned: one for each of the list */
	size_t at;			  /* which file */
	bool reading;			  /* its NAME.part is open, chunks may be asked for */
	int fd;				  /* of its NAME.part, or -1: the work's */
	uint64_t asked;			  /* what of it is asked for */
	uint64_t taken;			  /* ... and given to the work, in order */
	uint64_t offset;		  /* ... and written: the work's */
	struct et_sha256 *sha;		  /* owned */
	struct et_buffer slots[WINDOW];	  /* owned: chunks that came, by number modulo WINDOW */
	struct et_buffer writing[WINDOW]; /* owned: those that the work writes */
	size_t writing_count;
	char folder[CAT_PATH_SIZE];
	char complete[CAT_PATH_SIZE];
	uint64_t done_bytes; /* of the list, before the file under way */

	/* What the work says. */
	bool file_is_done;
	uint64_t reused_bytes;
	int code;
	/* What failed while it worked; the loop's. */
	int fail_code;
	const char *fail_what;
};

static void pull_go(struct cat_pull *p);
static void begin_run(struct cat_work *w);

/* ---- Paths ---- */

enum { PATH_SIZE = CAT_PATH_SIZE + CAT_FILE_NAME_MAX + 16 };

static void file_path(const struct cat_pull *p, const char *suffix, char path[PATH_SIZE])
{
	(void)snprintf(path, PATH_SIZE, "%s/%s%s", p->folder, p->list.files[p->at].name, suffix);
}

static void partial_path(struct et_catalog *c, uint64_t node, char path[CAT_PATH_SIZE])
{
	char name[CAT_NAME_SIZE];

	(void)snprintf(name, sizeof(name), "partial-%" PRIu64, node);
	if (et_cat_path_in_db(c, name, path) < 0) {
		et_cat_fatal(c, "the path of the state folder is too long");
	}
}

/* ---- The attempt ---- */

static void file_reset(struct cat_pull *p)
{
	if (p->fd >= 0) {
		(void)close(p->fd);
		p->fd = -1;
	}
	p->offset = p->asked = p->taken = 0;
	et_sha256_reset(p->sha);
	for (size_t i = 0; i < WINDOW; i++) {
		et_buffer_release(&p->slots[i]);
		et_buffer_release(&p->writing[i]);
	}
	p->writing_count = 0;
	p->reading = false;
}

/* The folder stays for the next attempt. */
static void pull_reset(struct cat_pull *p)
{
	file_reset(p);
	et_cat_files_release(&p->list);
	free(ET_TAKE(p->files));
	p->prepared = false;
	p->at = 0;
	p->done_bytes = 0;
	p->complete[0] = '\0';
}

static void pull_free(struct cat_pull *p)
{
	pull_reset(p);
	p->sha = et_sha256_free(p->sha);
	free(p);
}

static void pull_fail(struct cat_pull *p, int code, const char *what)
{
	if (p->working) { /* Its files and bytes are in use: after it. */
		p->fail_code = p->fail_code == 0 ? code : p->fail_code;
		p->fail_what = what;
		return;
	}
	p->fail_code = 0;
	et_warn("catalog.install.retry", "node=%" PRIu64 " from=%" PRIu64 " what=%s error=%s",
		p->c->node, p->node, what, et_errname(code));
	pull_reset(p);
	p->generation = ++p->c->pull_generation;
	p->c->pull_no_space = code == -ENOSPC;
	p->attempts += code != -ENOSPC;
	p->retry_at_us = et_clock_mono_us() + (code == -ENOSPC ? SPACE_RETRY_US : RETRY_US);
}

/* The pull that an answer is for; NULL: none any more. */
static struct cat_pull *pull_of(struct et_catalog *c, const struct cat_call *call)
{
	struct cat_pull *p = c->pull;

	if (p == NULL || p->generation != call->tag >> 32 || p->fail_code != 0) {
		return NULL;
	}
	p->progress_us = et_clock_mono_us();
	return p;
}

static void pull_call(struct cat_pull *p, const struct cat_request *q, uint64_t tag,
		      void (*fn)(struct et_catalog *, struct cat_call *, int, struct et_view))
{
	struct et_buffer body = { 0 };

	et_cat_request_write(q, &body);
	et_cat_call(p->c, p->node, p->address, ET_RPC_SNAPSHOT, body.data, body.size,
		    CALL_TIMEOUT_MS, fn, (uint64_t)p->generation << 32 | tag);
	et_buffer_release(&body);
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
	for (size_t i = 0; i < p->writing_count; i++) {
		et_buffer_release(&p->writing[i]);
	}
	p->writing_count = 0;
	p->c->reused_bytes += p->reused_bytes;
	p->reused_bytes = 0;
	p->progress_us = et_clock_mono_us(); /* What took its time was ours. */
	p->reading |= p->work.run == begin_run;
	if (p->file_is_done) {
		p->file_is_done = false;
		p->done_bytes += p->list.files[p->at].size;
		p->at++;
		p->offset = p->asked = p->taken = 0;
	}
	if (p->code < 0 || p->fail_code < 0) {
		pull_fail(p, p->code < 0 ? p->code : p->fail_code,
			  p->code == -ENOSPC ? "space"
			  : p->code < 0	     ? "disk"
					     : p->fail_what);
		return;
	}
	pull_go(p);
}

static void work_start(struct cat_pull *p, void (*run)(struct cat_work *w))
{
	p->working = true;
	p->code = 0;
	p->work.run = run;
	p->work.after = work_after;
	et_cat_work(p->c, &p->work);
}

static int file_compare(const void *a, const void *b)
{
	return strcmp(((const struct cat_file *)a)->name, ((const struct cat_file *)b)->name);
}

static const struct cat_file *list_find(const struct cat_files *list, const char *name)
{
	struct cat_file key;
	size_t n = strlen(name);

	if (n > CAT_FILE_NAME_MAX) {
		return NULL;
	}
	memcpy(key.name, name, n + 1);
	return bsearch(&key, list->files, list->count, sizeof(key), file_compare);
}

static bool is_regular(const char *path, uint64_t *ret_size)
{
	struct stat st;

	if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode)) {
		return false;
	}
	*ret_size = (uint64_t)st.st_size;
	return true;
}

/* What is in the folder and cannot be of use goes. */
static void folder_tidy(const struct cat_pull *p)
{
	DIR *dir = opendir(p->folder);

	for (struct dirent *e = dir != NULL ? readdir(dir) : NULL; e != NULL; e = readdir(dir)) {
		char name[sizeof(e->d_name)];
		struct stat st;
		size_t n = strlen(e->d_name);
		bool is_part = n > 5 && strcmp(e->d_name + n - 5, ".part") == 0;
		(void)snprintf(name, sizeof(name), "%s", e->d_name);
		name[is_part ? n - 5 : n] = '\0';
		const struct cat_file *f = list_find(&p->list, name);
		bool fits = f != NULL &&
			    fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			    S_ISREG(st.st_mode) &&
			    (is_part ? (uint64_t)st.st_size <= f->size
				     : (uint64_t)st.st_size == f->size);
		if (!fits && strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
			(void)unlinkat(dirfd(dir), e->d_name, 0);
		}
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
}

/* Link into the folder what may be a file of the list, from the folder `from`: tables only, they
 * never change. Whether it is the same, its hash says later. */
static void folder_link(const struct cat_pull *p, const char *from)
{
	for (size_t i = 0; i < p->list.count; i++) {
		const struct cat_file *f = &p->list.files[i];
		size_t n = strlen(f->name);
		char source[PATH_SIZE];
		char target[PATH_SIZE];
		uint64_t size = 0;
		if (n < 4 || strcmp(f->name + n - 4, ".sst") != 0) {
			continue;
		}
		(void)snprintf(source, sizeof(source), "%s/%s", from, f->name);
		(void)snprintf(target, sizeof(target), "%s/%s", p->folder, f->name);
		if (is_regular(source, &size) && size == f->size && access(target, F_OK) < 0) {
			(void)!link(source, target); /* If not, it is pulled. */
		}
	}
}

/* Every other partial folder, one after the other. */
static void partials_each(const struct cat_pull *p, bool remove)
{
	DIR *dir = opendir(p->c->db_folder);
	char path[CAT_PATH_SIZE];

	for (struct dirent *e = dir != NULL ? readdir(dir) : NULL; e != NULL; e = readdir(dir)) {
		if (strncmp(e->d_name, "partial-", 8) != 0 ||
		    et_cat_path_in_db(p->c, e->d_name, path) < 0 || strcmp(path, p->folder) == 0) {
			continue;
		}
		if (remove) {
			et_cat_folder_remove(path);
		} else {
			folder_link(p, path);
		}
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
}

/* Are there `bytes` and the reserve on the disk? Nothing that is pulled may fill it. */
static int space_check(const struct cat_pull *p, uint64_t bytes)
{
	struct statvfs fs;

	if (statvfs(p->c->db_folder, &fs) < 0) {
		return -errno;
	}
	uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	return free_bytes < p->c->space_reserve || free_bytes - p->c->space_reserve < bytes
		       ? -ENOSPC
		       : 0;
}

/* What is in the folder already; returns the bytes that are not. */
static uint64_t folder_look(struct cat_pull *p)
{
	uint64_t missing = 0;

	for (size_t i = 0; i < p->list.count; i++) {
		const struct cat_file *f = &p->list.files[i];
		char path[PATH_SIZE];
		uint64_t size = 0;
		(void)snprintf(path, sizeof(path), "%s/%s", p->folder, f->name);
		p->files[i].is_here = is_regular(path, &size) && size == f->size;
		if (!p->files[i].is_here) {
			(void)snprintf(path, sizeof(path), "%s/%s.part", p->folder, f->name);
			missing +=
				f->size - (is_regular(path, &size) && size <= f->size ? size : 0);
		}
	}
	return missing;
}

static void prepare_run(struct cat_work *w)
{
	struct cat_pull *p = ET_CONTAINER_OF(w, struct cat_pull, work);
	char path[CAT_PATH_SIZE];

	if (p->unused[0] != '\0') { /* A pass before this one, not enough for the message. */
		partial_path(p->c, 0, path);
		et_cat_folder_remove(path);
		(void)rename(p->unused, path);
		p->unused[0] = '\0';
	}
	if (mkdir(p->folder, 0700) < 0 && errno != EEXIST) {
		p->code = -errno;
		return;
	}
	folder_tidy(p);
	partials_each(p, false);
	if (et_cat_path_in_db(p->c, p->c->current, path) == 0) {
		folder_link(p, path);
	}
	uint64_t missing = folder_look(p);
	p->code = space_check(p, missing);
	if (p->code == -ENOSPC) {
		partials_each(p, true); /* They may be what takes the room. */
		p->code = space_check(p, missing);
	}
	if (p->code == -ENOSPC) {
		et_warn("catalog.install.space",
			"node=%" PRIu64 " missing_bytes=%" PRIu64 " reserve_bytes=%" PRIu64,
			p->c->node, missing, p->c->space_reserve);
	}
}

static void verify_run(struct cat_work *w)
{
	struct cat_pull *p = ET_CONTAINER_OF(w, struct cat_pull, work);
	struct pull_file *f = &p->files[p->at];
	uint8_t hash[ET_SHA256_SIZE];
	char path[PATH_SIZE];

	file_path(p, "", path);
	if (et_cat_file_hash(path, hash) == 0 && memcmp(hash, f->hash, sizeof(hash)) == 0) {
		p->reused_bytes = p->list.files[p->at].size;
		p->file_is_done = true;
	} else {
		(void)unlink(path); /* Another file of that name: it is pulled. */
		f->is_here = false;
	}
}

static void begin_run(struct cat_work *w)
{
	struct cat_pull *p = ET_CONTAINER_OF(w, struct cat_pull, work);
	uint64_t all = p->list.files[p->at].size;
	char path[PATH_SIZE];
	struct stat st;

	file_path(p, ".part", path);
	p->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (p->fd < 0 || fstat(p->fd, &st) < 0) {
		p->code = -errno;
		return;
	}
	uint64_t keep = (uint64_t)st.st_size < all ? (uint64_t)st.st_size : all;
	keep -= keep % CHUNK;
	p->code = space_check(p, all - keep);
	if (p->code == 0 && ftruncate(p->fd, (off_t)keep) < 0) {
		p->code = -errno;
	}
	uint8_t *bytes = malloc(CHUNK);
	while (p->code == 0 && p->offset < keep) {
		p->code = bytes == NULL ? -ENOMEM
					: et_file_pread(p->fd, bytes, CHUNK, (int64_t)p->offset);
		if (p->code == 0) {
			et_sha256_add(p->sha, bytes, CHUNK);
			p->offset += CHUNK;
		}
	}
	free(bytes);
	p->asked = p->taken = p->reused_bytes = p->offset;
}

static void write_run(struct cat_work *w)
{
	struct cat_pull *p = ET_CONTAINER_OF(w, struct cat_pull, work);

	for (size_t i = 0; i < p->writing_count && p->code == 0; i++) {
		const struct et_buffer *b = &p->writing[i];
		p->code = et_file_pwrite(p->fd, b->data, b->size, (int64_t)p->offset);
		et_sha256_add(p->sha, b->data, b->size);
		/* Begin to write it now: one large fsync would hold up Raft's own writes. */
		(void)sync_file_range(p->fd, (off_t)p->offset, (off_t)b->size,
				      SYNC_FILE_RANGE_WRITE);
		p->offset += b->size;
	}
}

static void end_run(struct cat_work *w)
{
	struct cat_pull *p = ET_CONTAINER_OF(w, struct cat_pull, work);
	uint8_t hash[ET_SHA256_SIZE];
	char part[PATH_SIZE];
	char path[PATH_SIZE];

	file_path(p, ".part", part);
	file_path(p, "", path);
	et_sha256_end(p->sha, hash);
	if (memcmp(hash, p->files[p->at].hash, sizeof(hash)) != 0) {
		(void)unlink(part);
		p->code = ET_EINTEGRITY;
		return;
	}
	if (fsync(p->fd) < 0 || rename(part, path) < 0) {
		p->code = -errno;
		return;
	}
	(void)close(p->fd);
	p->fd = -1;
	p->file_is_done = true;
}

static void commit_run(struct cat_work *w)
{
	struct cat_pull *p = ET_CONTAINER_OF(w, struct cat_pull, work);
	ET_CLEANUP(et_fd_closep) int fd = open(p->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0 || rename(p->folder, p->complete) < 0) {
		p->code = -errno;
	} else {
		p->code = et_file_sync_parent(p->complete, NULL);
	}
}

/* ---- Questions and answers ---- */

static struct cat_request request_of(const struct cat_pull *p, uint8_t op, size_t file)
{
	struct cat_request q = { .op = op, .id = p->list.id };

	memcpy(q.name, p->list.files[file].name, sizeof(q.name));
	return q;
}

static void on_hash(struct et_catalog *c, struct cat_call *call, int code, struct et_view body)
{
	struct cat_pull *p = pull_of(c, call);

	if (p == NULL) {
		return;
	}
	struct pull_file *f = &p->files[call->tag & (TAG_HASH - 1)];
	if (code < 0 || body.size != sizeof(f->hash)) {
		pull_fail(p, code < 0 ? code : ET_EMALFORMED, "hash");
		return;
	}
	memcpy(f->hash, body.data, sizeof(f->hash));
	f->have_hash = true;
	pull_go(p);
}

static void hashes_ask(struct cat_pull *p)
{
	for (size_t i = p->at; i < p->list.count && i <= p->at + HASHES_AHEAD; i++) {
		if (!p->files[i].asked) {
			struct cat_request q = request_of(p, CAT_SNAPSHOT_HASH, i);
			p->files[i].asked = true;
			pull_call(p, &q, TAG_HASH | i, on_hash);
		}
	}
}

static void on_chunk(struct et_catalog *c, struct cat_call *call, int code, struct et_view body)
{
	struct cat_pull *p = pull_of(c, call);

	if (p == NULL) {
		return;
	}
	uint64_t number = call->tag & (TAG_HASH - 1);
	uint64_t left = p->list.files[p->at].size - number * CHUNK;
	struct et_buffer *slot = &p->slots[number % WINDOW];
	if (code < 0 || body.size != (left < CHUNK ? left : CHUNK)) {
		pull_fail(p, code < 0 ? code : ET_EMALFORMED, "read");
		return;
	}
	c->pulled_bytes += body.size;
	et_buffer_add(slot, body.data, body.size);
	if (slot->failed) {
		pull_fail(p, -ENOMEM, "read");
		return;
	}
	pull_go(p);
}

static void chunks_ask(struct cat_pull *p)
{
	struct et_catalog *c = p->c;
	uint64_t size = p->list.files[p->at].size;

	while (p->asked < size && p->asked < p->taken + (uint64_t)WINDOW * CHUNK) {
		struct cat_request q = request_of(p, CAT_SNAPSHOT_READ, p->at);
		int64_t now_us = et_clock_mono_us();
		if (c->pull_rate.next_us > now_us) {
			et_cat_soon(c, c->pull_rate.next_us);
			return;
		}
		q.offset = p->asked;
		q.size = size - p->asked < CHUNK ? (uint32_t)(size - p->asked) : CHUNK;
		cat_rate_take(&c->pull_rate, q.size, now_us);
		p->asked += q.size;
		pull_call(p, &q, q.offset / CHUNK, on_chunk);
	}
}

/* Hand the chunks that are next in the file to the work. */
static bool chunks_take(struct cat_pull *p)
{
	struct et_buffer *slot = &p->slots[p->taken / CHUNK % WINDOW];

	while (p->writing_count < WINDOW && slot->size > 0) {
		p->taken += slot->size;
		p->writing[p->writing_count++] = *slot;
		*slot = (struct et_buffer){ 0 };
		slot = &p->slots[p->taken / CHUNK % WINDOW];
	}
	return p->writing_count > 0;
}

static void pull_done(struct cat_pull *p)
{
	struct et_catalog *c = p->c;
	char path[CAT_PATH_SIZE];
	uint64_t index = p->list.index;

	(void)snprintf(path, sizeof(path), "%s", p->complete);
	et_info("catalog.install.pulled", "node=%" PRIu64 " from=%" PRIu64 " index=%" PRIu64,
		c->node, p->node, index);
	c->pull = NULL;
	c->pull_no_space = false;
	pull_free(p);
	et_cat_install_ready(c, path, index);
}

/* The file under way. */
static void file_go(struct cat_pull *p)
{
	const struct pull_file *f = &p->files[p->at];

	hashes_ask(p);
	if (!f->have_hash) {
		return;
	}
	if (f->is_here) {
		work_start(p, verify_run);
		return;
	}
	if (!p->reading) {
		work_start(p, begin_run);
		return;
	}
	if (chunks_take(p)) {
		work_start(p, write_run);
	} else if (p->offset == p->list.files[p->at].size) {
		p->reading = false;
		work_start(p, end_run);
		return;
	}
	chunks_ask(p);
}

/* What is next. Anything that changes calls it. */
static void pull_go(struct cat_pull *p)
{
	if (p->retry_at_us != 0 || p->list.files == NULL) {
		return;
	}
	if (p->working) {
		return;
	}
	if (!p->prepared) {
		p->prepared = true;
		work_start(p, prepare_run);
	} else if (p->complete[0] != '\0') {
		pull_done(p);
	} else if (p->at == p->list.count) {
		et_cat_snapshot_name(p->c, "incoming", p->list.index, p->complete);
		work_start(p, commit_run);
	} else {
		file_go(p);
	}
}

static void on_open(struct et_catalog *c, struct cat_call *call, int code, struct et_view body)
{
	struct cat_pull *p = pull_of(c, call);

	if (p == NULL) {
		return;
	}
	if (code < 0 || !et_cat_files_read(body, &p->list)) {
		pull_fail(p, code < 0 ? code : ET_EMALFORMED, "open");
		return;
	}
	qsort(p->list.files, p->list.count, sizeof(*p->list.files), file_compare);
	bool is_sound = p->list.index >= p->wanted;
	for (size_t i = 1; i < p->list.count; i++) {
		is_sound &= file_compare(&p->list.files[i - 1], &p->list.files[i]) != 0;
	}
	if (!is_sound) {
		pull_fail(p, ET_EMALFORMED, "open");
		return;
	}
	p->files = et_cat_alloc(p->list.count * sizeof(*p->files));
	partial_path(c, p->node, p->folder);
	c->partials_exist = true;
	et_info("catalog.install.pull",
		"node=%" PRIu64 " from=%" PRIu64 " index=%" PRIu64 " files=%zu bytes=%" PRIu64,
		c->node, p->node, p->list.index, p->list.count, p->list.bytes);
	pull_go(p);
}

/* ---- Which source ---- */

/* Every other attempt asks the leader; those between ask the other members in turn: any that has
 * applied the index can give it. Who they are, the message says: a new node knows nobody. */
static void source_choose(struct cat_pull *p)
{
	const struct raft_configuration *all =
		p->c->install.active ? &p->c->install.message.install_snapshot.conf
				     : &p->c->raft.configuration;
	unsigned others = 0;
	unsigned want = p->attempts / 2;

	p->node = p->leader_node;
	memcpy(p->address, p->leader_address, sizeof(p->address));
	for (unsigned i = 0; i < all->n; i++) {
		others += all->servers[i].id != p->c->node &&
			  all->servers[i].id != p->leader_node &&
			  all->servers[i].role != RAFT_SPARE;
	}
	if (p->attempts % 2 == 0 || others == 0) {
		return;
	}
	want %= others;
	for (unsigned i = 0; i < all->n; i++) {
		const struct raft_server *s = &all->servers[i];
		if (s->id != p->c->node && s->id != p->leader_node && s->role != RAFT_SPARE &&
		    want-- == 0) {
			p->node = s->id;
			(void)snprintf(p->address, sizeof(p->address), "%s", s->address);
			return;
		}
	}
}

static void pull_ask_open(struct cat_pull *p)
{
	struct cat_request q = { .op = CAT_SNAPSHOT_OPEN, .index = p->wanted };

	source_choose(p);
	p->retry_at_us = 0;
	p->progress_us = et_clock_mono_us();
	pull_call(p, &q, 0, on_open);
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
		if (!c->raft.snapshot.installing) { /* Else libraft is about to restore it. */
			(void)snprintf(p->unused, sizeof(p->unused), "%s", c->install.path);
			c->install.path[0] = '\0';
		}
	}
	p->leader_node = node;
	(void)snprintf(p->leader_address, sizeof(p->leader_address), "%s", address);
	p->wanted = index;
	if (is_new && c->partials_going) {
		p->retry_at_us = et_clock_mono_us() + RETRY_US;
	} else if (is_new) {
		pull_ask_open(p);
	}
}

void et_cat_pull_turn(struct et_catalog *c)
{
	struct cat_pull *p = c->pull;

	/* What waited for the rate; while chunks are written, only `taken` and `asked` matter. */
	if (p != NULL && p->retry_at_us == 0 && p->reading && p->fail_code == 0) {
		chunks_ask(p);
	}
}

/* ---- Time ---- */

static void partials_going_run(struct cat_work *w)
{
	struct et_catalog *c = w->c;
	char path[CAT_PATH_SIZE];
	DIR *dir = opendir(c->db_folder);

	for (struct dirent *e = dir != NULL ? readdir(dir) : NULL; e != NULL; e = readdir(dir)) {
		if (strncmp(e->d_name, "partial-", 8) == 0 &&
		    et_cat_path_in_db(c, e->d_name, path) == 0) {
			et_cat_folder_remove(path);
		}
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
}

static void partials_going_after(struct cat_work *w)
{
	w->c->partials_going = false;
	free(w);
}

void et_cat_pull_timer(struct et_catalog *c, int64_t now_us)
{
	struct cat_pull *p = c->pull;

	if (p == NULL) {
		if (c->install.active || c->raft.snapshot.installing) {
			c->partials_us = now_us;
		}
		if (c->partials_exist && now_us - c->partials_us > PARTIALS_US) {
			struct cat_work *w = et_cat_alloc(sizeof(*w));
			c->partials_exist = false;
			c->partials_going = true;
			w->run = partials_going_run;
			w->after = partials_going_after;
			et_cat_work(c, w);
		}
		return;
	}
	c->partials_us = now_us;
	if (p->retry_at_us != 0) {
		if (now_us >= p->retry_at_us && !p->working && !c->partials_going) {
			pull_ask_open(p);
		}
		return;
	}
	/* Longer each time: where everything is slow, silence is no sign. */
	int64_t stall_us = c->pull_stall_us << (p->attempts < 4 ? p->attempts : 4);
	bool moved = p->node != p->leader_node && p->attempts % 2 == 0;
	if (!p->working && p->fail_code == 0 &&
	    now_us - p->progress_us > (moved ? SWITCH_US : stall_us)) {
		pull_fail(p, -ETIMEDOUT, "silence");
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

void et_cat_pull_keep(struct et_catalog *c, const char *path)
{
	char partial[CAT_PATH_SIZE];

	partial_path(c, 0, partial);
	et_cat_folder_remove(partial);
	if (rename(path, partial) < 0) {
		et_cat_folder_remove(path);
	}
	c->partials_exist = true;
}

void et_cat_pull_progress(const struct et_catalog *c, uint64_t *ret_done, uint64_t *ret_all)
{
	*ret_done = c->pull == NULL ? 0 : c->pull->done_bytes + c->pull->taken;
	*ret_all = c->pull == NULL ? 0 : c->pull->list.bytes;
}
