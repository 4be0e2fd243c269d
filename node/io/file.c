#include "node/io/file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "node/base/fd.h"

int et_file_pwrite(int fd, const void *data, size_t size, int64_t offset)
{
	const uint8_t *p = data;
	while (size > 0) {
		ssize_t n = pwrite(fd, p, size, offset);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			return n < 0 ? -errno : -EIO;
		}
		p += n;
		size -= (size_t)n;
		offset += n;
	}
	return 0;
}

int et_file_pread(int fd, void *data, size_t size, int64_t offset)
{
	uint8_t *p = data;
	while (size > 0) {
		ssize_t n = pread(fd, p, size, offset);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			return n < 0 ? -errno : ET_ETRUNCATED;
		}
		p += n;
		size -= (size_t)n;
		offset += n;
	}
	return 0;
}

/* The folder that holds `path`. */
static int parent_of(const char *path, char ret[PATH_MAX], struct et_error *reterr)
{
	const char *slash = strrchr(path, '/');
	const size_t size = slash == NULL || slash == path ? 1 : (size_t)(slash - path);

	if (size >= PATH_MAX) {
		return et_fail(reterr, -ENAMETOOLONG, "'%s'", path);
	}
	memcpy(ret, slash != NULL ? path : ".", size);
	ret[size] = '\0';
	return 0;
}

int et_file_mkdirs_of(const char *path, struct et_error *reterr)
{
	char folder[PATH_MAX];
	int rc = parent_of(path, folder, reterr);

	return rc < 0 ? rc : et_file_mkdirs(folder, reterr);
}

int et_file_sync_parent(const char *path, struct et_error *reterr)
{
	char folder[PATH_MAX];
	int rc = parent_of(path, folder, reterr);

	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(et_fd_closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0) {
		return et_fail(reterr, -errno, "sync folder '%s'", folder);
	}
	return 0;
}

int et_file_publish(const char *path, const void *data, size_t size, mode_t mode,
		    struct et_error *reterr)
{
	char temp[PATH_MAX];
	int n = snprintf(temp, sizeof(temp), "%s.tmp", path);
	if (n < 0 || (size_t)n >= sizeof(temp)) {
		return et_fail(reterr, -ENAMETOOLONG, "'%s'", path);
	}

	(void)unlink(temp); /* What a crash left: its mode may be another. */
	int rc = 0;
	{
		ET_CLEANUP(et_fd_closep)
		int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
		if (fd < 0) {
			return et_fail(reterr, -errno, "create '%s'", temp);
		}
		rc = et_file_pwrite(fd, data, size, 0);
		if (rc == 0 && fsync(fd) < 0) {
			rc = -errno;
		}
	}
	if (rc == 0 && rename(temp, path) < 0) {
		rc = -errno;
	}
	if (rc < 0) {
		(void)unlink(temp);
		return et_fail(reterr, rc, "write '%s'", path);
	}
	return et_file_sync_parent(path, reterr);
}

int et_file_read(const char *path, size_t size_max, struct et_buffer *ret, struct et_error *reterr)
{
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return et_fail(reterr, -errno, "open '%s'", path);
	}
	size_t total = 0;
	for (;;) {
		uint8_t *p = et_buffer_reserve(ret, 65536);
		if (p == NULL) {
			return et_fail(reterr, -ENOMEM, "read '%s'", path);
		}
		ssize_t n = read(fd, p, 65536);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return et_fail(reterr, -errno, "read '%s'", path);
		}
		if (n == 0) {
			return 0;
		}
		total += (size_t)n;
		if (total > size_max) {
			return et_fail(reterr, ET_ELIMIT, "'%s' is longer than %zu bytes", path,
				       size_max);
		}
		ret->size += (size_t)n;
	}
}

int et_file_mkdirs(const char *path, struct et_error *reterr)
{
	char folder[PATH_MAX];
	int n = snprintf(folder, sizeof(folder), "%s", path);
	if (n < 0 || (size_t)n >= sizeof(folder)) {
		return et_fail(reterr, -ENAMETOOLONG, "'%s'", path);
	}
	for (char *p = folder + 1;; p++) {
		if (*p != '/' && *p != '\0') {
			continue;
		}
		char held = *p;
		*p = '\0';
		if (mkdir(folder, 0700) < 0 && errno != EEXIST) {
			return et_fail(reterr, -errno, "make folder '%s'", folder);
		}
		if (held == '\0') {
			return 0;
		}
		*p = held;
	}
}
