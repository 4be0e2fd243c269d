#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/crypto/hash.h"
#include "node/io/file.h"
#include "node/tape/format_internal.h"

/* What the arg of a local file points to. */
struct file_source {
	int fd;
};

static int file_read(void *arg, uint64_t offset, void *data, size_t size, struct et_error *reterr)
{
	const struct file_source *f = arg;

	int rc = et_file_pread(f->fd, data, size, (int64_t)offset);
	return rc < 0 ? et_fail(reterr, rc, "read tape at %llu", (unsigned long long)offset) : 0;
}

int et_tape_source_open(const char *path, struct et_tape_source *ret, struct et_error *reterr)
{
	struct stat st;
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0) {
		return et_fail(reterr, -errno, "open tape '%s'", path);
	}
	if (!S_ISREG(st.st_mode)) {
		return et_fail(reterr, ET_EMALFORMED, "tape '%s' is not a file", path);
	}
	struct file_source *f = malloc(sizeof(*f));
	if (f == NULL) {
		return et_fail(reterr, -ENOMEM, "open tape '%s'", path);
	}
	f->fd = fd;
	fd = -1;
	*ret = (struct et_tape_source){ .read = file_read, .arg = f, .size = (uint64_t)st.st_size };
	const char *slash = strrchr(path, '/');
	(void)snprintf(ret->name, sizeof(ret->name), "%s", slash != NULL ? slash + 1 : path);
	return 0;
}

void et_tape_source_close(struct et_tape_source *s)
{
	struct file_source *f = s->arg;

	if (f != NULL) {
		(void)close(f->fd);
		free(f);
	}
	s->arg = NULL;
	s->size = 0;
}

int et_tape_source_hash(const struct et_tape_source *source, uint8_t ret[ET_TAPE_HASH_SIZE],
			struct et_error *reterr)
{
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *hash = et_sha256_new();
	ET_CLEANUP(et_tape_window_release) struct et_tape_window w = { 0 };
	int rc = hash == NULL ? et_fail(reterr, -ENOMEM, "hash a tape")
			      : et_tape_window_init(&w, source, reterr);

	for (uint64_t at = 0; rc == 0 && at < source->size; at += w.size) {
		const uint64_t left = source->size - at;
		rc = et_tape_window_load(
			&w, at, left < TAPE_WINDOW_SIZE ? (size_t)left : TAPE_WINDOW_SIZE, reterr);
		if (rc == 0) {
			et_sha256_add(hash, w.data, w.size);
		}
	}
	if (rc == 0) {
		et_sha256_end(hash, ret);
	}
	return rc;
}

int et_tape_file_hash(const char *path, uint8_t ret[ET_TAPE_HASH_SIZE], struct et_error *reterr)
{
	struct et_tape_source source;

	int rc = et_tape_source_open(path, &source, reterr);
	if (rc == 0) {
		rc = et_tape_source_hash(&source, ret, reterr);
		et_tape_source_close(&source);
	}
	return rc;
}

static int memory_read(void *arg, uint64_t offset, void *data, size_t size, struct et_error *reterr)
{
	const struct et_view *v = arg;

	if (offset > v->size || size > v->size - offset) {
		return et_fail(reterr, ET_ETRUNCATED, "read tape at %llu",
			       (unsigned long long)offset);
	}
	memcpy(data, v->data + offset, size);
	return 0;
}

struct et_tape_source et_tape_source_memory(const struct et_view *bytes)
{
	union {
		const struct et_view *in;
		void *out;
	} view = { .in = bytes }; /* Only read through. */

	return (struct et_tape_source){ .read = memory_read, .arg = view.out, .size = bytes->size };
}

int et_tape_window_init(struct et_tape_window *w, const struct et_tape_source *source,
			struct et_error *reterr)
{
	size_t capacity = source->size < TAPE_WINDOW_SIZE ? (size_t)source->size : TAPE_WINDOW_SIZE;

	*w = (struct et_tape_window){ .source = source, .data = malloc(capacity + 1) };
	return w->data != NULL ? 0 : et_fail(reterr, -ENOMEM, "read a tape");
}

void et_tape_window_release(struct et_tape_window *w)
{
	free(w->data);
	w->data = NULL;
}

int et_tape_window_load(struct et_tape_window *w, uint64_t offset, size_t size,
			struct et_error *reterr)
{
	et_assert(size <= TAPE_WINDOW_SIZE);
	et_assert(offset <= w->source->size && size <= w->source->size - offset);
	w->base = offset;
	w->size = 0;
	int rc = w->source->read(w->source->arg, offset, w->data, size, reterr);
	w->size = rc < 0 ? 0 : size;
	return rc;
}

int et_tape_window_view(struct et_tape_window *w, uint64_t offset, size_t want, struct et_view *ret,
			struct et_error *reterr)
{
	const uint64_t end = w->source->size;

	et_assert(want <= TAPE_WINDOW_SIZE);
	if (offset >= end) {
		*ret = (struct et_view){ w->data, 0 };
		return 0;
	}
	if (want > end - offset) {
		want = (size_t)(end - offset);
	}
	if (offset < w->base || offset - w->base > w->size) {
		w->base = offset; /* Elsewhere: nothing in it helps. */
		w->size = 0;
	}
	size_t skip = (size_t)(offset - w->base);
	if (w->size - skip < want) { /* Keep what is there, fill up behind it. */
		size_t kept = w->size - skip;
		size_t room =
			end - offset < TAPE_WINDOW_SIZE ? (size_t)(end - offset) : TAPE_WINDOW_SIZE;
		memmove(w->data, w->data + skip, kept);
		w->base = offset;
		w->size = kept;
		skip = 0;
		int rc = w->source->read(w->source->arg, offset + kept, w->data + kept, room - kept,
					 reterr);
		if (rc < 0) {
			return rc;
		}
		w->size = room;
	}
	*ret = (struct et_view){ w->data + skip, want };
	return 0;
}
