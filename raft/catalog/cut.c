#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/io/file.h"
#include "raft/catalog/catalog_internal.h"

/* Cutting a conflicting tail off the log, across a power cut (G14). A former leader that comes back
 * has entries that no majority has; the new leader's replace them. libraft cuts so (uv_truncate.c),
 * at index I in the segment F-E:
 *
 *   close the open segment; sync the folder
 *   write F-(I-1), sync it            (unless I is F)
 *   remove F-E, and all that follow   (E+1)-..., one by one
 *   sync the folder; only then take new entries
 *
 * A power cut between leaves what libraft does not open, or misreads:
 *
 *   twins   F-(I-1), perhaps torn, and F-E. Nothing is removed yet: F-E has all. The shorter goes.
 *   a gap   F-E is gone, a segment behind it is not. What is behind the gap goes, if this was a
 *           cut: a gap can also be a lost file, whose entries were acknowledged.
 *
 * So before it lets libraft cut, this node writes <raft>/cutting: the index (32 bytes,
 * ops/doc/formats/raft-log.md). It is a permission: what this log has from there on is in
 * no majority. That is so because the leader of the current term has another entry at that index:
 * had any entry from there on been committed, that leader would have it, and by the log matching
 * property all before it. It stays true until entries of the new leader are stored there; so it is
 * taken back, durably, before libraft is told that the first of them is stored, and with it before
 * anybody is. At a start that finds it:
 *
 *   segments in one piece     the cut had not begun to remove, or is over: nothing to repair
 *   a gap from the index on   segments behind the gap go, if no open segment has anything: removal
 *                             begins when all are closed, and new ones are opened when it has ended
 *
 * A gap without it is left for libraft to refuse. What goes is renamed to cut-..., which libraft
 * does not look at, and removed when the log has opened. */

#define MARKER "cutting"
#define ASIDE "cut-"
static const char magic[8] = "ETCUT1";
enum { MARKER_SIZE = 32, SEGMENTS_MAX = 65536, CHUNK = 65536 };

struct segment {
	uint64_t first;
	uint64_t last;
	bool goes;
};

struct log_files {
	struct segment *closed; /* owned; by first index, the longer of twins first */
	size_t count;
	size_t capacity;
	bool open_has_data; /* known only when a cut was begun */
};

static int path_of(char ret[CAT_PATH_SIZE], const char *folder, const char *name)
{
	int n = snprintf(ret, CAT_PATH_SIZE, "%s/%s", folder, name);
	return n > 0 && n < CAT_PATH_SIZE ? 0 : -ENAMETOOLONG;
}

/* ---- The marker ---- */

static int marker_write(const char *folder, uint64_t index, struct et_error *reterr)
{
	uint8_t bytes[MARKER_SIZE] = { 0 };
	char path[CAT_PATH_SIZE];

	memcpy(bytes, magic, sizeof(magic));
	et_put64(bytes + 8, index);
	et_put64(bytes + 16, ~index);
	int rc = path_of(path, folder, MARKER);
	return rc < 0 ? et_fail(reterr, rc, "'%s'", folder)
		      : et_file_publish(path, bytes, sizeof(bytes), 0600, reterr);
}

static int marker_remove(const char *folder, struct et_error *reterr)
{
	char path[CAT_PATH_SIZE];
	int rc = path_of(path, folder, MARKER);

	rc = rc < 0 ? rc : unlink(path) < 0 && errno != ENOENT ? -errno : 0;
	return rc < 0 ? et_fail(reterr, rc, "remove '%s/%s'", folder, MARKER)
		      : et_file_sync_parent(path, reterr);
}

/* *ret is 0 when there is none. */
static int marker_read(const char *folder, uint64_t *ret, struct et_error *reterr)
{
	struct et_buffer content = { 0 };
	char path[CAT_PATH_SIZE];
	int rc = path_of(path, folder, MARKER);

	*ret = 0;
	rc = rc < 0 ? et_fail(reterr, rc, "'%s'", folder)
		    : et_file_read(path, MARKER_SIZE, &content, reterr);
	if (rc == 0) {
		bool good = content.size == MARKER_SIZE &&
			    memcmp(content.data, magic, sizeof(magic)) == 0 &&
			    et_get64(content.data + 8) == ~et_get64(content.data + 16);
		*ret = good ? et_get64(content.data + 8) : 0;
		rc = good && *ret > 0 ? 0
				      : et_fail_plain(reterr, ET_ECORRUPT,
						      "'%s' is damaged: it says where the Raft log "
						      "was being cut",
						      path);
	}
	et_buffer_release(&content);
	return rc == -ENOENT ? 0 : rc;
}

/* ---- What libraft is told ---- */

static int cut_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
		    struct raft_snapshot **snapshot, raft_index *start_index,
		    struct raft_entry **entries, size_t *n_entries)
{
	struct et_catalog *c = ET_CONTAINER_OF(io, struct et_catalog, io);
	int rv = c->io_load(io, term, voted_for, snapshot, start_index, entries, n_entries);

	if (rv == 0) {
		c->cut.next = *start_index + *n_entries;
	}
	return rv;
}

static int cut_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
			    const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
	struct et_catalog *c = ET_CONTAINER_OF(io, struct et_catalog, io);

	if (trailing == 0) { /* It takes the place of the log. */
		c->cut.next = snapshot->index + 1;
	}
	return c->cut_put(io, trailing, req, snapshot, cb);
}

/* libraft says this before each append; most cut nothing. The marker is written on the loop, as
 * terms and votes are: it is rare. */
static int cut_truncate(struct raft_io *io, raft_index index)
{
	struct et_catalog *c = ET_CONTAINER_OF(io, struct et_catalog, io);
	struct et_error error;

	if (index >= c->cut.next) {
		return c->io_truncate(io, index);
	}
	/* libraft, restarted, does not know what was committed; the database does (G15). */
	if (index <= c->applied) {
		et_cat_fatal(
			c,
			"the leader's log is another one from entry %llu on, and this node has "
			"applied its own up to %llu: the cluster went on without them (raft "
			"recover). Next: rm -r %s %s and start it again: it is brought up to date",
			index, (unsigned long long)c->applied, c->raft_folder, c->db_folder);
	}
	/* One that is not over yet may be lower. */
	uint64_t from = c->cut.marked && c->cut.index < index ? c->cut.index : index;
	if (marker_write(c->raft_folder, from, &error) < 0) {
		et_cat_fatal(c, "the Raft log cannot be cut at %llu: %s", index, error.text);
	}
	et_info("catalog.log.cut", "node=%llu index=%llu end=%llu", (unsigned long long)c->node,
		index, (unsigned long long)c->cut.next);
	c->cut.marked = true;
	c->cut.index = from;
	c->cut.generation++;
	c->cut.next = index;
	return c->io_truncate(io, index);
}

/* Entries that were appended after `generation` cuts are stored; libraft does not know it yet. */
void et_cat_cut_stored(struct et_catalog *c, uint64_t generation)
{
	struct et_error error;

	if (!c->cut.marked || generation != c->cut.generation) {
		return;
	}
	if (marker_remove(c->raft_folder, &error) < 0) {
		et_cat_fatal(c, "the Raft log was cut, and cannot say so: %s", error.text);
	}
	c->cut.marked = false;
}

void et_cat_cut_init(struct et_catalog *c)
{
	c->io_load = c->io.load;
	c->io_truncate = c->io.truncate;
	c->cut_put = c->io.snapshot_put;
	c->io.load = cut_load;
	c->io.truncate = cut_truncate;
	c->io.snapshot_put = cut_snapshot_put;
}

/* ---- At a start ---- */

static int segment_compare(const void *a, const void *b)
{
	const struct segment *x = a;
	const struct segment *y = b;

	if (x->first != y->first) {
		return x->first < y->first ? -1 : 1;
	}
	return x->last > y->last ? -1 : x->last < y->last;
}

/* Has a preallocated file been written to? 1, 0, or an error. */
static int file_has_data(const char *path)
{
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	static const uint8_t zeros[CHUNK];
	uint8_t bytes[CHUNK];
	ssize_t n = fd < 0 ? -1 : 1;

	while (n > 0) {
		n = read(fd, bytes, sizeof(bytes));
		if (n > 0 && memcmp(bytes, zeros, (size_t)n) != 0) {
			return 1;
		}
	}
	return n < 0 ? -errno : 0;
}

static int file_note(struct log_files *l, const char *folder, const char *name, bool cutting)
{
	unsigned long long first = 0, last = 0;
	char path[CAT_PATH_SIZE];
	int end = 0;

	if (strncmp(name, "open-", 5) == 0) {
		int rc = cutting ? path_of(path, folder, name) : 0;
		rc = rc < 0 || !cutting ? rc : file_has_data(path);
		l->open_has_data |= rc == 1;
		return rc < 0 ? rc : 0;
	}
	if (sscanf(name, "%16llu-%16llu%n", &first, &last, &end) != 2 || name[end] != '\0' ||
	    end != 33) {
		return 0;
	}
	if (l->count == l->capacity) {
		size_t capacity = l->capacity == 0 ? 64 : l->capacity * 2;
		struct segment *more = realloc(l->closed, capacity * sizeof(*more));
		if (more == NULL || capacity > SEGMENTS_MAX) {
			free(more == NULL ? l->closed : more);
			l->closed = NULL;
			return -ENOMEM;
		}
		l->closed = more;
		l->capacity = capacity;
	}
	l->closed[l->count++] = (struct segment){ .first = first, .last = last };
	return 0;
}

static int files_read(struct log_files *l, const char *folder, bool cutting,
		      struct et_error *reterr)
{
	DIR *dir = opendir(folder);
	int rc = dir == NULL && errno != ENOENT ? -errno : 0;

	for (struct dirent *e; rc == 0 && dir != NULL && (e = readdir(dir)) != NULL;) {
		rc = file_note(l, folder, e->d_name, cutting);
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
	if (rc < 0) {
		return et_fail(reterr, rc, "Raft log '%s'", folder);
	}
	if (l->count > 0) {
		qsort(l->closed, l->count, sizeof(*l->closed), segment_compare);
	}
	return 0;
}

/* Which segments go: of twins the shorter, and with `index` what is behind a gap from there on.
 * Returns how many. *ret_gap: there is one; *ret_whole: what is before it reaches up to `index`, as
 * a cut leaves it (or there is nothing: then a snapshot is before it, and the database shows
 * whether it is enough, G9). */
static size_t segments_judge(struct log_files *l, uint64_t index, bool *ret_gap, bool *ret_whole)
{
	const struct segment *before = NULL;
	uint64_t expected = 0; /* 0: whatever comes */
	size_t going = 0;

	*ret_gap = false;
	*ret_whole = true;
	for (size_t i = 0; i < l->count; i++) {
		struct segment *s = &l->closed[i];
		if (before != NULL && s->first == before->first) {
			s->goes = true;
		} else if (index > 0 && s->first >= index &&
			   s->first != (expected > index ? expected : index)) {
			*ret_whole &= *ret_gap || expected == 0 || expected >= index;
			s->goes = true;
			*ret_gap = true;
		} else {
			expected = s->last + 1;
			before = s;
		}
		going += s->goes;
	}
	return going;
}

static int segments_set_aside(const struct log_files *l, const char *folder,
			      struct et_error *reterr)
{
	char from[CAT_PATH_SIZE];
	char to[CAT_PATH_SIZE] = "";
	char name[64];

	for (size_t i = l->count; i-- > 0;) { /* From the end: after a power cut the same again. */
		const struct segment *s = &l->closed[i];
		if (!s->goes) {
			continue;
		}
		(void)snprintf(name, sizeof(name), ASIDE "%016llu-%016llu",
			       (unsigned long long)s->first, (unsigned long long)s->last);
		int rc = path_of(to, folder, name);
		rc = rc < 0 ? rc : path_of(from, folder, name + sizeof(ASIDE) - 1);
		rc = rc < 0 ? rc : rename(from, to) < 0 ? -errno : 0;
		if (rc < 0) {
			return et_fail(reterr, rc, "rename '%s'", from);
		}
		et_warn("catalog.log.cut", "file=%s why=\"a cut of the log was interrupted\"",
			from);
	}
	return et_file_sync_parent(to, reterr);
}

int et_cat_cut_repair(const char *folder, struct et_error *reterr)
{
	struct log_files l = { 0 };
	uint64_t index = 0;
	bool gap = false;
	bool whole = true;

	int rc = marker_read(folder, &index, reterr);
	rc = rc < 0 ? rc : files_read(&l, folder, index > 0, reterr);
	if (rc == 0 && segments_judge(&l, index, &gap, &whole) > 0) {
		if (gap && (l.open_has_data || !whole)) {
			rc = et_fail_plain(reterr, ET_ECORRUPT,
					   "Raft log '%s': it was being cut at %llu, but %s",
					   folder, (unsigned long long)index,
					   whole ? "there are newer entries behind the gap"
						 : "entries before that are missing, too");
		} else {
			rc = segments_set_aside(&l, folder, reterr);
		}
	}
	free(l.closed);
	return rc < 0 || index == 0 ? rc : marker_remove(folder, reterr);
}

void et_cat_cut_done(const struct et_catalog *c)
{
	DIR *dir = opendir(c->raft_folder);
	char path[CAT_PATH_SIZE];

	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
		if (strncmp(e->d_name, ASIDE, sizeof(ASIDE) - 1) == 0 &&
		    path_of(path, c->raft_folder, e->d_name) == 0) {
			(void)unlink(path); /* Else at the next start. */
		}
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
}
