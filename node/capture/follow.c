#include "node/capture/follow_internal.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/fd.h"

enum { ROOM = 256 * 1024, LINE_MAX_BYTES = 4096 };

struct followed {
	char *path; /* owned */
	dev_t device;
	ino_t inode;
	off_t at; /* behind the last whole line */
};

struct et_follow {
	struct followed *files; /* owned */
	uint32_t count;
	uint32_t first; /* file of the next turn: none is kept waiting by one that grows fast */
	uint8_t *room;	/* owned: ROOM bytes, a mapping of their own */
	size_t size;	/* in use */
	/* Whose `room` and `size` are: false, of the thread that reads; true, of the one that
	 * takes. */
	_Atomic bool is_ready;
};

int et_follow_new(const char *const *paths, uint32_t count, struct et_follow **ret,
		  struct et_error *reterr)
{
	struct et_follow *f = calloc(1, sizeof(*f));
	if (f == NULL) {
		return et_fail(reterr, -ENOMEM, "key logs");
	}
	f->files = calloc(count, sizeof(*f->files));
	void *room = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	f->room = room != MAP_FAILED ? room : NULL;
	bool ok = f->files != NULL && f->room != NULL;
	for (uint32_t i = 0; ok && i < count; i++) {
		f->files[f->count].path = strdup(paths[i]);
		ok = f->files[f->count++].path != NULL;
	}
	if (!ok) {
		et_follow_free(f);
		return et_fail(reterr, -ENOMEM, "key logs");
	}
	(void)mlock(f->room, ROOM); /* best effort, as for other secrets */
	(void)madvise(f->room, ROOM, MADV_DONTDUMP);
	*ret = f;
	return 0;
}

struct et_follow *et_follow_free(struct et_follow *f)
{
	if (f == NULL) {
		return NULL;
	}
	for (uint32_t i = 0; i < f->count; i++) {
		free(f->files[i].path);
	}
	free(f->files);
	if (f->room != NULL) {
		explicit_bzero(f->room, ROOM);
		(void)munmap(f->room, ROOM);
	}
	free(f);
	return NULL;
}

/* Whole lines of the file that are new, into `ret`. Returns their bytes. */
static size_t read_lines(struct followed *file, uint8_t *ret, size_t size)
{
	ET_CLEANUP(et_fd_closep) int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		return 0; /* not there yet */
	}
	if (st.st_dev != file->device || st.st_ino != file->inode || st.st_size < file->at) {
		file->device = st.st_dev;
		file->inode = st.st_ino;
		file->at = 0;
	}
	ssize_t n = pread(fd, ret, size, file->at);
	if (n <= 0) {
		return 0;
	}
	const uint8_t *end = memrchr(ret, '\n', (size_t)n);
	size_t whole = end != NULL ? (size_t)(end - ret) + 1 : 0;
	explicit_bzero(ret + whole, (size_t)n - whole); /* read again when it is whole */
	if (whole == 0 && n >= LINE_MAX_BYTES) {	/* no key log has such lines */
		file->at += n;
		return 0;
	}
	file->at += (off_t)whole;
	return whole;
}

bool et_follow_read(struct et_follow *f)
{
	if (f->is_ready) {
		return false;
	}
	f->size = 0;
	for (uint32_t i = 0; i < f->count; i++) {
		struct followed *file = &f->files[(f->first + i) % f->count];
		f->size += read_lines(file, f->room + f->size, ROOM - f->size);
	}
	f->first = (f->first + 1) % f->count;
	bool any = f->size > 0;
	f->is_ready = any; /* the last: from here on it is the other thread's */
	return any;
}

bool et_follow_take(struct et_follow *f, struct et_keylog *keylog)
{
	int rc = 0;
	if (f->is_ready) {
		rc = et_keylog_add(keylog, f->room, f->size);
		explicit_bzero(f->room, f->size);
		f->is_ready = false;
	}
	return rc == 0;
}
