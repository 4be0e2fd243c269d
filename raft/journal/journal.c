#include "raft/journal/journal.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

#include "node/base/fd.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "raft/journal/journal_internal.h"

#define JOURNAL_FILES_MAX 4096 /* found at start; far above ET_JOURNAL_BYTES_MAX / FILE_BYTES */

/* Invariant: `oldest` .. `newest` are linked by number; `newest` is the one appended to, and is
 * NULL only until the first append of this incarnation, or when all was committed and removed. */
struct et_journal {
	pthread_mutex_t mutex;
	char folder[400];
	uint64_t node;
	uint8_t incarnation[16];
	uint64_t next_seq;
	uint64_t next_number;
	struct journal_file *oldest; /* owned */
	struct journal_file *newest; /* borrowed: the last of the chain */
	size_t pending;
	int64_t bytes; /* of all files */
	size_t kept_aside;
};

static void chain_add(struct et_journal *j, struct journal_file *f)
{
	et_assert(j->newest == NULL || j->newest->number < f->number);
	if (j->newest == NULL) {
		j->oldest = f;
	} else {
		j->newest->next = f;
	}
	j->newest = f;
	j->pending += f->pending;
	j->bytes += f->size;
}

/* Remove files whose commands are all committed; the one being appended to only when it is full or
 * of an older incarnation. */
static void chain_trim(struct et_journal *j)
{
	struct journal_file **link = &j->oldest;
	struct journal_file *before = NULL;

	while (*link != NULL) {
		struct journal_file *f = *link;
		bool in_use = f == j->newest && f->size < ET_JOURNAL_FILE_BYTES &&
			      memcmp(f->incarnation, j->incarnation, 16) == 0;
		if (f->pending > 0 || in_use) {
			before = f;
			link = &f->next;
			continue;
		}
		*link = f->next;
		if (j->newest == f) {
			j->newest = before;
		}
		j->bytes -= f->size;
		(void)unlink(f->path); /* If it stays, its commands are proposed once more. */
		(void)journal_file_free(f);
	}
}

/* ---- Open ---- */

/* Write what is left of a damaged file anew, durably, then put the file aside. */
static int file_repair(struct et_journal *j, struct et_view content, struct journal_file *damaged,
		       struct journal_file **ret, struct et_error *reterr)
{
	struct journal_file *f = NULL;
	char aside[sizeof(damaged->path) + 16];

	int rc = journal_file_begin(j->folder, j->next_number++, j->node, damaged->incarnation, &f,
				    reterr);
	for (size_t i = 0; rc == 0 && i < damaged->count; i++) {
		const struct journal_record *r = &damaged->records[i];
		Et__OpId op = ET__OP_ID__INIT;
		uint8_t incarnation[16];
		memcpy(incarnation, r->incarnation, sizeof(incarnation));
		op.seq = r->seq;
		op.incarnation = (ProtobufCBinaryData){ sizeof(incarnation), incarnation };
		rc = journal_file_append(f, (struct et_view){ content.data + r->offset, r->size },
					 &op, reterr);
	}
	if (rc == 0 && fsync(f->fd) < 0) {
		rc = et_fail(reterr, -errno, "sync '%s'", f->path);
	}
	if (rc == 0) {
		rc = et_file_sync_parent(f->path, reterr);
	}
	(void)snprintf(aside, sizeof(aside), "%s.corrupt", damaged->path);
	if (rc == 0 && rename(damaged->path, aside) < 0) {
		rc = et_fail(reterr, -errno, "put '%s' aside", damaged->path);
	}
	if (rc < 0) {
		(void)journal_file_free(f);
		return rc;
	}
	j->kept_aside++;
	*ret = f;
	return 0;
}

static int file_settle(struct et_journal *j, struct et_view content, struct journal_file *f,
		       enum journal_finding finding, struct journal_file **ret,
		       struct et_error *reterr)
{
	*ret = f;
	switch (finding) {
	case JOURNAL_UNBEGUN:
		(void)unlink(f->path);
		f->pending = 0;
		return 0;
	case JOURNAL_TORN:
		if (ftruncate(f->fd, f->size) < 0) {
			return et_fail(reterr, -errno, "cut the torn tail of '%s'", f->path);
		}
		return 0;
	case JOURNAL_DAMAGED: {
		int rc = file_repair(j, content, f, ret, reterr);
		if (rc == 0) {
			(void)journal_file_free(f);
		}
		return rc;
	}
	case JOURNAL_WHOLE:
		break;
	}
	return 0;
}

static int file_load(struct et_journal *j, const char *name, struct journal_file **ret,
		     struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer content = { 0 };
	struct journal_file *f = calloc(1, sizeof(*f));
	enum journal_finding finding;

	if (f == NULL) {
		return et_fail(reterr, -ENOMEM, "journal '%s'", name);
	}
	(void)snprintf(f->path, sizeof(f->path), "%s/%s", j->folder, name);
	bool named = journal_name_parse(name, &f->number, f->incarnation);
	et_assert(named);
	f->fd = open(f->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	int rc = f->fd < 0 ? et_fail(reterr, -errno, "open '%s'", f->path) : 0;
	if (rc == 0) {
		rc = et_file_read(f->path, ET_JOURNAL_BYTES_MAX, &content, reterr);
	}
	struct et_view view = { content.data, content.size };
	if (rc == 0) {
		rc = journal_scan(view, f, &finding);
		rc = rc < 0 ? et_fail(reterr, rc, "read '%s'", f->path)
			    : file_settle(j, view, f, finding, ret, reterr);
	}
	if (rc < 0) {
		(void)journal_file_free(f);
	}
	return rc;
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The journal files' names, sorted: oldest first. */
static int names_read(struct et_journal *j, char **names, size_t *ret_count,
		      struct et_error *reterr)
{
	DIR *dir = opendir(j->folder);
	if (dir == NULL) {
		return et_fail(reterr, -errno, "open folder '%s'", j->folder);
	}
	int rc = 0;
	const struct dirent *entry;
	while (rc == 0 && (entry = readdir(dir)) != NULL) {
		uint64_t number;
		uint8_t incarnation[16];
		size_t length = strlen(entry->d_name);
		if (length > 8 && strcmp(entry->d_name + length - 8, ".corrupt") == 0) {
			j->kept_aside++;
		}
		if (!journal_name_parse(entry->d_name, &number, incarnation)) {
			continue;
		}
		if (*ret_count == JOURNAL_FILES_MAX || number == UINT64_MAX) {
			rc = et_fail(reterr, ET_ELIMIT, "files in '%s'", j->folder);
			break;
		}
		names[*ret_count] = strdup(entry->d_name);
		if (names[*ret_count] == NULL) {
			rc = et_fail(reterr, -ENOMEM, "folder '%s'", j->folder);
			break;
		}
		++*ret_count;
		j->next_number = number >= j->next_number ? number + 1 : j->next_number;
	}
	(void)closedir(dir);
	qsort(names, *ret_count, sizeof(*names), name_compare);
	return rc;
}

/* Whole files keep their place; repaired ones get new numbers and come behind them. */
static int chain_load(struct et_journal *j, struct et_error *reterr)
{
	char **names = calloc(JOURNAL_FILES_MAX, sizeof(*names));
	struct journal_file *repaired = NULL;
	struct journal_file **last = &repaired;
	size_t count = 0;

	if (names == NULL) {
		return et_fail(reterr, -ENOMEM, "folder '%s'", j->folder);
	}
	int rc = names_read(j, names, &count, reterr);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		struct journal_file *f = NULL;
		rc = file_load(j, names[i], &f, reterr);
		et_assert(rc < 0 || f != NULL);
		if (rc == 0 && strstr(f->path, names[i]) == NULL) {
			*last = f;
			last = &f->next;
		} else if (rc == 0) {
			chain_add(j, f);
		}
	}
	while (repaired != NULL) {
		struct journal_file *f = repaired;
		repaired = f->next;
		f->next = NULL;
		chain_add(j, f);
	}
	for (size_t i = 0; i < count; i++) {
		free(names[i]);
	}
	free(names);
	return rc;
}

int et_journal_open(const char *folder, uint64_t node, struct et_journal **ret,
		    struct et_error *reterr)
{
	struct et_journal *j = calloc(1, sizeof(*j));

	if (j == NULL) {
		return et_fail(reterr, -ENOMEM, "journal '%s'", folder);
	}
	int rc = -pthread_mutex_init(&j->mutex, NULL);
	et_assert(rc == 0); /* Without attributes it needs nothing that could be missing. */
	int n = snprintf(j->folder, sizeof(j->folder), "%s", folder);
	j->node = node;
	j->next_seq = 1;
	j->next_number = 1;
	et_random(j->incarnation, sizeof(j->incarnation));
	if (n < 0 || (size_t)n >= sizeof(j->folder)) {
		rc = et_fail(reterr, -ENAMETOOLONG, "journal '%s'", folder);
	} else {
		rc = et_file_mkdirs(folder, reterr);
	}
	if (rc == 0) {
		rc = chain_load(j, reterr);
	}
	if (rc < 0) {
		(void)et_journal_close(j);
		return rc;
	}
	chain_trim(j);
	*ret = j;
	return 0;
}

struct et_journal *et_journal_close(struct et_journal *j)
{
	if (j == NULL) {
		return NULL;
	}
	while (j->oldest != NULL) {
		struct journal_file *f = j->oldest;
		j->oldest = f->next;
		(void)journal_file_free(f);
	}
	(void)pthread_mutex_destroy(&j->mutex);
	free(j);
	return NULL;
}

/* ---- Append ---- */

/* The sequence below which all commands of this incarnation are committed. */
static uint64_t journal_floor(const struct et_journal *j)
{
	for (const struct journal_file *f = j->oldest; f != NULL; f = f->next) {
		if (f->pending == 0 || memcmp(f->incarnation, j->incarnation, 16) != 0) {
			continue;
		}
		for (size_t i = f->first; i < f->count; i++) {
			if (!f->records[i].committed) {
				return f->records[i].seq;
			}
		}
	}
	return j->next_seq;
}

/* The file to append to: a new one at first, and when the present one is full. */
static int journal_file_for(struct et_journal *j, struct journal_file **ret,
			    struct et_error *reterr)
{
	struct journal_file *f = j->newest;

	if (f != NULL && f->size < ET_JOURNAL_FILE_BYTES &&
	    memcmp(f->incarnation, j->incarnation, 16) == 0) {
		*ret = f;
		return 0;
	}
	int rc =
		journal_file_begin(j->folder, j->next_number, j->node, j->incarnation, ret, reterr);
	if (rc == 0) {
		j->next_number++;
		chain_add(j, *ret);
	}
	return rc;
}

static int journal_write(struct et_journal *j, Et__Command *command, struct et_buffer *packed,
			 struct et_error *reterr)
{
	struct journal_file *f = NULL;

	if (j->pending >= ET_JOURNAL_PENDING_MAX || j->bytes >= ET_JOURNAL_BYTES_MAX) {
		return et_fail(reterr, ET_ELIMIT, "journal '%s': %zu commands wait in %lld bytes",
			       j->folder, j->pending, (long long)j->bytes);
	}
	command->op->seq = j->next_seq;
	command->op->floor = journal_floor(j);
	int rc = et_command_check(command, reterr);
	if (rc == 0) {
		rc = et_command_pack(command, packed);
		rc = rc < 0 ? et_fail(reterr, rc, "pack %s", et_command_name(command)) : 0;
	}
	if (rc == 0) {
		rc = journal_file_for(j, &f, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	et_assert(f != NULL);
	int64_t before = f->size;
	rc = journal_file_append(f, (struct et_view){ packed->data, packed->size }, command->op,
				 reterr);
	if (rc == 0) {
		j->next_seq++;
		j->pending++;
		j->bytes += f->size - before;
	}
	return rc;
}

static void op_fill(Et__OpId *op, struct et_journal *j)
{
	op->node = j->node;
	if (op->incarnation.len == sizeof(j->incarnation)) {
		memcpy(op->incarnation.data, j->incarnation, sizeof(j->incarnation));
	} else {
		et_assert(op->incarnation.data == NULL);
		op->incarnation = (ProtobufCBinaryData){ sizeof(j->incarnation), j->incarnation };
	}
}

int et_journal_append(struct et_journal *j, Et__Command *command, struct et_buffer *packed,
		      struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer bytes = { 0 };

	et_assert(command->op != NULL);
	op_fill(command->op, j);
	(void)pthread_mutex_lock(&j->mutex);
	int rc = journal_write(j, command, &bytes, reterr);
	(void)pthread_mutex_unlock(&j->mutex);
	if (rc == 0 && packed != NULL) {
		et_buffer_add(packed, bytes.data, bytes.size);
		/* It is journalled: without memory here the next start proposes it. */
		rc = packed->failed ? et_fail(reterr, -ENOMEM, "copy of a command") : 0;
	}
	return rc;
}

/* ---- Pending ---- */

/* Where a walk stands: behind record `index` of file `number`. */
struct walk {
	uint64_t number;
	size_t index;
};

/* The next pending record at or behind `w`, read into `ret`; 0: no more; 1: got one. */
static int walk_next(struct et_journal *j, struct walk *w, struct et_buffer *ret)
{
	for (struct journal_file *f = j->oldest; f != NULL; f = f->next) {
		if (f->number < w->number || f->pending == 0) {
			continue;
		}
		size_t i = f->number == w->number ? w->index : 0;
		i = i < f->first ? f->first : i;
		while (i < f->count && f->records[i].committed) {
			i++;
		}
		if (i == f->count) {
			continue;
		}
		*w = (struct walk){ f->number, i + 1 };
		uint8_t *p = et_buffer_reserve(ret, f->records[i].size);
		if (p == NULL) {
			return -ENOMEM;
		}
		int rc = et_file_pread(f->fd, p, f->records[i].size, f->records[i].offset);
		if (rc < 0) {
			return rc;
		}
		ret->size += f->records[i].size;
		return 1;
	}
	return 0;
}

int et_journal_each_pending(struct et_journal *j,
			    int (*fn)(void *arg, const Et__Command *command, struct et_view packed),
			    void *arg)
{
	struct walk w = { 0 };

	for (;;) {
		ET_CLEANUP(et_buffer_release) struct et_buffer bytes = { 0 };
		Et__Command *command = NULL;

		(void)pthread_mutex_lock(&j->mutex);
		int rc = walk_next(j, &w, &bytes);
		(void)pthread_mutex_unlock(&j->mutex);
		if (rc <= 0) {
			return rc;
		}
		rc = et_command_unpack(bytes.data, bytes.size, &command, NULL);
		if (rc < 0) {
			return rc == -ENOMEM ? rc
					     : ET_ECORRUPT; /* It was whole when it was read. */
		}
		rc = fn(arg, command, (struct et_view){ bytes.data, bytes.size });
		et_command_free(command);
		if (rc < 0) {
			return rc;
		}
	}
}

size_t et_journal_pending(struct et_journal *j)
{
	(void)pthread_mutex_lock(&j->mutex);
	size_t pending = j->pending;
	(void)pthread_mutex_unlock(&j->mutex);
	return pending;
}

static bool record_is(const struct journal_record *r, const Et__OpId *op)
{
	return r->seq == op->seq && memcmp(r->incarnation, op->incarnation.data, 16) == 0;
}

/* Records are in order of sequence, but in a repaired file: where the sequence would stand if there
 * were no holes, else one by one. Most files are passed over by their range: without that, a
 * journal of 1,000,000 was gone through whole for each that was committed. */
static struct journal_record *file_find(struct journal_file *f, const Et__OpId *op)
{
	if (f->count == 0 || op->seq < f->seq_low || op->seq > f->seq_high) {
		return NULL;
	}
	if (op->seq >= f->records[0].seq) {
		uint64_t at = op->seq - f->records[0].seq;
		if (at < f->count && record_is(&f->records[at], op)) {
			return &f->records[at];
		}
	}
	if (memcmp(f->incarnation, op->incarnation.data, 16) != 0) {
		return NULL;
	}
	for (size_t i = f->first; i < f->count; i++) {
		if (record_is(&f->records[i], op)) {
			return &f->records[i];
		}
	}
	return NULL;
}

void et_journal_committed(struct et_journal *j, const Et__OpId *op)
{
	if (op->node != j->node || op->incarnation.len != 16) {
		return;
	}
	(void)pthread_mutex_lock(&j->mutex);
	for (struct journal_file *f = j->oldest; f != NULL; f = f->next) {
		struct journal_record *r = f->pending > 0 ? file_find(f, op) : NULL;
		if (r == NULL || r->committed) {
			continue;
		}
		r->committed = true;
		f->pending--;
		j->pending--;
		while (f->first < f->count && f->records[f->first].committed) {
			f->first++;
		}
		if (f->pending == 0) {
			chain_trim(j);
			break; /* f may be gone */
		}
	}
	(void)pthread_mutex_unlock(&j->mutex);
}

void et_journal_incarnation(const struct et_journal *j, uint8_t ret[16])
{
	memcpy(ret, j->incarnation, sizeof(j->incarnation));
}

size_t et_journal_kept_aside(const struct et_journal *j)
{
	return j->kept_aside;
}
