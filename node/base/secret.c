#include "node/base/secret.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "node/base/fd.h"

struct et_secret {
	size_t size; /* bytes in use */
	uint8_t bytes[ET_SECRET_SIZE_MAX];
};

/* A mapping of its own, so that locking and wiping concern no neighbour on the heap. */
struct et_secret *et_secret_new(size_t size)
{
	et_assert(size > 0);
	et_assert(size <= ET_SECRET_SIZE_MAX);

	struct et_secret *s =
		mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED) {
		return NULL;
	}
	(void)mlock(s, sizeof(*s)); /* Best effort: RLIMIT_MEMLOCK may be small. */
	(void)madvise(s, sizeof(*s), MADV_DONTDUMP);
	s->size = size;
	return s;
}

/* The whole file, or an error; a file that is shorter or longer is an error too. */
static int read_exactly(int fd, uint8_t *target, size_t size)
{
	size_t done = 0;
	while (done < size) {
		ssize_t n = read(fd, target + done, size - done);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return -errno;
		}
		if (n == 0) {
			return ET_ECORRUPT;
		}
		done += (size_t)n;
	}
	et_assert(done == size);
	return 0;
}

int et_secret_load(const char *path, size_t size, struct et_secret **ret, struct et_error *reterr)
{
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		return et_fail(reterr, -errno, "open key file '%s'", path);
	}

	struct stat st;
	if (fstat(fd, &st) < 0) {
		return et_fail(reterr, -errno, "stat key file '%s'", path);
	}
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
		return et_fail(reterr, ET_EKEYPERM, "key file '%s'", path);
	}
	if (st.st_size != (off_t)size) {
		return et_fail(reterr, ET_ECORRUPT, "key file '%s' has %lld bytes, want %zu", path,
			       (long long)st.st_size, size);
	}

	ET_CLEANUP(et_secret_freep) struct et_secret *s = et_secret_new(size);
	if (s == NULL) {
		return et_fail(reterr, -ENOMEM, "key file '%s'", path);
	}
	int rc = read_exactly(fd, s->bytes, size);
	if (rc < 0) {
		return et_fail(reterr, rc, "read key file '%s'", path);
	}

	*ret = ET_TAKE(s);
	return 0;
}

struct et_secret *et_secret_copy(const void *bytes, size_t size)
{
	struct et_secret *s = et_secret_new(size);
	if (s != NULL) {
		memcpy(s->bytes, bytes, size);
	}
	return s;
}

uint8_t *et_secret_edit(struct et_secret *s)
{
	et_assert(s != NULL);
	return s->bytes;
}

bool et_secret_equal(const struct et_secret *a, const struct et_secret *b)
{
	uint8_t difference = 0;

	if (a->size != b->size) {
		return false;
	}
	for (size_t i = 0; i < a->size; i++) {
		difference |= a->bytes[i] ^ b->bytes[i];
	}
	return difference == 0;
}

const uint8_t *et_secret_bytes(const struct et_secret *s)
{
	et_assert(s != NULL);
	return s->bytes;
}

size_t et_secret_size(const struct et_secret *s)
{
	et_assert(s != NULL);
	return s->size;
}

struct et_secret *et_secret_free(struct et_secret *s)
{
	if (s != NULL) {
		explicit_bzero(s, sizeof(*s));
		(void)munmap(s, sizeof(*s));
	}
	return NULL;
}
