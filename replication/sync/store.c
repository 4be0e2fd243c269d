#include "replication/sync/store_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "node/base/fd.h"
#include "node/io/clock.h"
#include "node/io/file.h"

#define READ_SIZE (256 * 1024)
#define CACHE_KEEP_US (60 * INT64_C(1000000))
#define INCOMING_KEEP_US (7 * 86400 * INT64_C(1000000))

/* What no attempt has touched for a week is of a segment that nobody wants here any more. */
static void store_sweep(const char *media, int64_t now_us)
{
	char path[ET_STORE_PATH_MAX];
	struct dirent *entry;
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/incoming", media);
	DIR *dir = opendir(path);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode) &&
		    (int64_t)st.st_mtim.tv_sec * 1000000 < now_us - INCOMING_KEEP_US) {
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
		}
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
}

int et_store_prepare(const char *media, struct et_error *reterr)
{
	static const char *const folders[] = { "incoming", "cache", "quarantine", "tails",
					       "tapes" };
	char path[ET_STORE_PATH_MAX];

	for (size_t i = 0; i < ET_ARRAY_SIZE(folders); i++) {
		int n = snprintf(path, sizeof(path), "%s/%s", media, folders[i]);
		if (n < 0 || (size_t)n >= sizeof(path) - ET_SYNC_FILE_MAX) {
			return et_fail(reterr, -ENAMETOOLONG, "media folder '%s'", media);
		}
		int rc = et_file_mkdirs(path, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	store_sweep(media, et_clock_now_us());
	return et_file_sync_parent(path, reterr);
}

bool et_store_file_ok(const char *file)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-/";
	size_t size = strlen(file);

	if (size >= ET_SYNC_FILE_MAX || strncmp(file, "tapes/", 6) != 0 ||
	    strspn(file, letters) != size || file[size - 1] == '/') {
		return false;
	}
	/* Hidden names, "." and "..", and empty ones begin with '.' or '/'. */
	return strstr(file, "/.") == NULL && strstr(file, "//") == NULL;
}

int et_store_path(const char *media, const char *folder, const struct et_expect *expect,
		  const char *suffix, char path[ET_STORE_PATH_MAX])
{
	char id[ET_UUID_TEXT_SIZE];

	et_uuid_format(expect->recording, id);
	int n = snprintf(path, ET_STORE_PATH_MAX, "%s/%s/%s-g%" PRIu32 "-s%" PRIu32 "%s", media,
			 folder, id, expect->generation, expect->segment, suffix);
	return n < 0 || n >= ET_STORE_PATH_MAX ? -ENAMETOOLONG : 0;
}

int et_store_part_open(const char *path, int *ret_fd, uint64_t *ret_size, struct et_error *reterr)
{
	ET_CLEANUP(et_fd_closep)
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		return et_fail(reterr, -errno, "open '%s'", path);
	}
	struct stat st;
	if (fstat(fd, &st) < 0) {
		return et_fail(reterr, -errno, "stat '%s'", path);
	}
	if (!S_ISREG(st.st_mode)) {
		return et_fail(reterr, -EINVAL, "'%s' is not a file", path);
	}
	*ret_fd = fd;
	*ret_size = (uint64_t)st.st_size;
	fd = -1;
	return 0;
}

int et_store_part_check(int fd, struct et_intake *in, struct et_error *reterr)
{
	uint8_t *buffer = malloc(READ_SIZE);
	if (buffer == NULL) {
		return et_fail(reterr, -ENOMEM, "check what has arrived");
	}

	int rc = 0;
	et_intake_rewind(in);
	while (rc == 0 && in->next < in->expect.size_bytes) {
		uint64_t left = in->expect.size_bytes - in->next;
		ssize_t n = pread(fd, buffer, left < READ_SIZE ? left : READ_SIZE, (off_t)in->next);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			rc = n < 0 ? -errno : 0;
			break;
		}
		/* A record that does not fit ends what can be kept; that is no failure. */
		if (et_intake_data(in, in->next, buffer, (size_t)n, NULL) < 0) {
			break;
		}
	}
	free(buffer);
	et_intake_rewind(in);
	if (rc == 0 && ftruncate(fd, (off_t)in->good) < 0) {
		rc = -errno;
	}
	return rc < 0 ? et_fail(reterr, rc, "check what has arrived") : 0;
}

struct paced {
	struct et_tape_source file;
	const struct et_store_pace *pace;
};

static int paced_read(void *arg, uint64_t offset, void *data, size_t size, struct et_error *reterr)
{
	const struct paced *p = arg;

	if (p->pace != NULL && !p->pace->take(p->pace->arg, size)) {
		return et_fail(reterr, ET_ECLOSED, "verify");
	}
	return p->file.read(p->file.arg, offset, data, size, reterr);
}

static int source_verify(const struct et_tape_source *source, const struct et_expect *expect,
			 struct et_tape_report *ret, struct et_error *reterr)
{
	const struct et_tape_expect tape = {
		.recording = expect->recording,
		.generation = expect->generation,
		.segment = expect->segment,
		.header_hash = expect->has_header_hash ? expect->header_hash : NULL,
		.root = expect->root,
		.seal_hash = expect->has_seal_hash ? expect->seal_hash : NULL,
		.object_hash = expect->has_object_hash ? expect->object_hash : NULL,
	};
	return et_tape_verify(source, &tape, ret, reterr);
}

int et_store_verify(const char *path, const struct et_expect *expect, struct et_tape_report *ret,
		    struct et_error *reterr)
{
	struct et_tape_source source;

	memset(ret, 0, sizeof(*ret));
	int rc = et_tape_source_open(path, &source, reterr);
	if (rc == 0) {
		rc = source_verify(&source, expect, ret, reterr);
		et_tape_source_close(&source);
	}
	return rc;
}

/* From here on the disk is read, as far as what is cached is on it. */
static void cache_drop(const char *path)
{
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0) {
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	}
}

int et_store_verify_disk(const char *path, const struct et_expect *expect,
			 const struct et_store_pace *pace, struct et_tape_report *ret,
			 struct et_error *reterr)
{
	struct paced p = { .pace = pace };

	memset(ret, 0, sizeof(*ret));
	int rc = et_tape_source_open(path, &p.file, reterr);
	if (rc < 0) {
		return rc;
	}
	struct et_tape_source source = p.file;
	source.read = paced_read;
	source.arg = &p;
	cache_drop(path);
	rc = source_verify(&source, expect, ret, reterr);
	cache_drop(path);
	et_tape_source_close(&p.file);
	return rc;
}

bool et_store_is(const char *media, const char *uuid)
{
	char path[ET_STORE_PATH_MAX];
	struct et_buffer text = { 0 };
	size_t size = strlen(uuid);

	(void)snprintf(path, sizeof(path), "%s/store.uuid", media);
	cache_drop(path);
	bool is = et_file_read(path, 64, &text, NULL) == 0 && text.size >= size &&
		  memcmp(text.data, uuid, size) == 0;
	et_buffer_release(&text);
	return is;
}

int et_store_make_folders(const char *path, struct et_error *reterr)
{
	char folder[ET_STORE_PATH_MAX];

	(void)snprintf(folder, sizeof(folder), "%s", path);
	for (char *p = folder + 1; *p != '\0'; p++) {
		if (*p != '/') {
			continue;
		}
		*p = '\0';
		if (mkdir(folder, 0700) == 0) {
			int rc = et_file_sync_parent(folder, reterr);
			if (rc < 0) {
				return rc;
			}
		} else if (errno != EEXIST) {
			return et_fail(reterr, -errno, "make folder '%s'", folder);
		}
		*p = '/';
	}
	return 0;
}

int et_store_publish(const char *part, const char *path, const struct et_expect *expect,
		     struct et_error *reterr)
{
	struct et_tape_report report;

	int rc = et_store_verify(part, expect, &report, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(et_fd_closep) int fd = open(part, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fsync(fd) < 0) {
		return et_fail(reterr, -errno, "sync '%s'", part);
	}
	rc = et_store_make_folders(path, reterr);
	if (rc < 0) {
		return rc;
	}
	if (rename(part, path) < 0) {
		return et_fail(reterr, -errno, "rename '%s' to '%s'", part, path);
	}
	return et_file_sync_parent(path, reterr);
}

int et_store_quarantine(const char *media, const char *file, int64_t now_us,
			char ret[ET_SYNC_FILE_MAX], struct et_error *reterr)
{
	char from[ET_STORE_PATH_MAX];
	char to[ET_STORE_PATH_MAX + 16];
	const char *name = strrchr(file, '/');

	name = name != NULL ? name + 1 : file;
	int n = snprintf(ret, ET_SYNC_FILE_MAX, "quarantine/%" PRId64 "-%s", now_us, name);
	int m = snprintf(from, sizeof(from), "%s/%s", media, file);
	if (n < 0 || n >= ET_SYNC_FILE_MAX || m < 0 || (size_t)m >= sizeof(from)) {
		ret[0] = '\0';
		return et_fail(reterr, -ENAMETOOLONG, "'%s'", file);
	}
	(void)snprintf(to, sizeof(to), "%s/%s", media, ret);
	if (rename(from, to) < 0) {
		ret[0] = '\0';
		return et_fail(reterr, -errno, "move '%s' into quarantine", from);
	}
	int rc = et_file_sync_parent(to, reterr);
	return rc < 0 ? rc : et_file_sync_parent(from, reterr);
}

struct cached {
	char name[NAME_MAX + 1];
	int64_t used_us;
	uint64_t size;
};

static int cached_order(const void *a, const void *b)
{
	const struct cached *x = a;
	const struct cached *y = b;
	return x->used_us < y->used_us ? -1 : x->used_us > y->used_us;
}

/* The files of the cache; the caller frees *ret. */
static size_t cache_list(DIR *dir, struct cached **ret, uint64_t *ret_bytes)
{
	size_t count = 0;
	size_t capacity = 0;
	struct dirent *entry;

	while ((entry = readdir(dir)) != NULL) {
		struct stat st;
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode)) {
			continue;
		}
		if (count == capacity) {
			capacity = capacity > 0 ? capacity * 2 : 64;
			struct cached *more = realloc(*ret, capacity * sizeof(*more));
			if (more == NULL) {
				break; /* What is listed can still be trimmed. */
			}
			*ret = more;
		}
		struct cached *c = &(*ret)[count++];
		(void)snprintf(c->name, sizeof(c->name), "%s", entry->d_name);
		c->used_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
		c->size = (uint64_t)st.st_size;
		*ret_bytes += c->size;
	}
	return count;
}

void et_store_cache_trim(const char *media, uint64_t bytes, int64_t now_us)
{
	char path[ET_STORE_PATH_MAX];
	struct cached *files = NULL;
	uint64_t total = 0;

	(void)snprintf(path, sizeof(path), "%s/cache", media);
	DIR *dir = opendir(path);
	if (dir == NULL) {
		return;
	}
	size_t count = cache_list(dir, &files, &total);
	if (count > 0) {
		qsort(files, count, sizeof(files[0]), cached_order);
	}
	for (size_t i = 0; i < count && total > bytes; i++) {
		if (files[i].used_us > now_us - CACHE_KEEP_US) {
			break;
		}
		if (unlinkat(dirfd(dir), files[i].name, 0) == 0) {
			total -= files[i].size;
		}
	}
	free(files);
	(void)closedir(dir);
}

bool et_store_cache_touch(const char *path)
{
	return utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW) == 0;
}

bool et_store_is_full(int code)
{
	return code == -ENOSPC || code == -EDQUOT || code == -EFBIG;
}
