/* The directory store: a mounted file system.
 *
 * A put writes a file that has no name yet (O_TMPFILE), hashes what it wrote, syncs it, and links
 * it to its name, which fails when the name is taken: nothing half-written is ever visible, nothing
 * is overwritten, and a crash leaves nothing behind. Where the file system has no unnamed files
 * (NFS, CIFS) the file is ".tmp-<chance>" until it is renamed without replacing. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/bucket/bucket_internal.h"
#include "node/base/bytes.h"
#include "node/base/fd.h"
#include "node/crypto/hash.h"
#include "node/io/clock.h"
#include "node/io/file.h"

#define DIR_DEPTH_MAX 64 /* folders below the root that a list goes into */

struct bucket_dir {
	struct et_bucket base;
	int root; /* the folder; open as long as the bucket */
};

static int root_of(struct et_bucket *b)
{
	return ET_CONTAINER_OF(b, struct bucket_dir, base)->root;
}

static void dir_close(struct et_bucket *b)
{
	(void)close(root_of(b));
}

/* ---- Read ---- */

static int dir_open_object(struct et_bucket *b, const char *name, uint64_t *ret_size,
			   struct et_error *reterr)
{
	int fd = openat(root_of(b), name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0) {
		int code = errno == ENOENT || errno == ENOTDIR ? ET_ENOTFOUND : -errno;
		return et_fail(reterr, code, "object '%s' in '%s'", name, b->settings.path);
	}
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		(void)close(fd);
		return et_fail(reterr, ET_ENOTFOUND, "object '%s': not a file", name);
	}
	*ret_size = (uint64_t)st.st_size;
	return fd;
}

static int dir_head(struct et_bucket *b, const char *name, struct et_bucket_object *ret,
		    struct et_error *reterr)
{
	ET_CLEANUP(et_fd_closep) int fd = dir_open_object(b, name, &ret->size, reterr);
	return fd < 0 ? fd : 0;
}

static int dir_get(struct et_bucket *b, const char *name, uint64_t offset, uint64_t length,
		   et_bucket_sink sink, void *arg, struct et_error *reterr)
{
	uint64_t size = 0;
	ET_CLEANUP(et_fd_closep) int fd = dir_open_object(b, name, &size, reterr);
	if (fd < 0) {
		return fd;
	}
	uint64_t end = length == ET_BUCKET_TO_END ? size : offset + length;
	if (offset > size || end > size) {
		return et_fail(reterr, ET_EINTEGRITY, "object '%s' has %llu bytes only", name,
			       (unsigned long long)size);
	}
	uint8_t *chunk = malloc(BUCKET_CHUNK_SIZE);
	int rc = chunk == NULL ? et_fail(reterr, -ENOMEM, "get '%s'", name) : 0;
	while (rc == 0 && offset < end) {
		size_t n = end - offset < BUCKET_CHUNK_SIZE ? (size_t)(end - offset)
							    : BUCKET_CHUNK_SIZE;
		rc = et_file_pread(fd, chunk, n, (int64_t)offset);
		rc = rc < 0 ? et_fail(reterr, rc, "read object '%s'", name) : sink(arg, chunk, n);
		offset += n;
		if (rc == 0 && bucket_is_cancelled(b)) {
			rc = et_fail(reterr, ET_ECLOSED, "the store");
		}
	}
	free(chunk);
	return rc;
}

static void dir_drop_cache(struct et_bucket *b, const char *name)
{
	uint64_t size;
	ET_CLEANUP(et_fd_closep) int fd = dir_open_object(b, name, &size, NULL);
	if (fd >= 0) {
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	}
}

/* ---- Put ---- */

static int sync_folder(int root, const char *path)
{
	ET_CLEANUP(et_fd_closep) int fd = openat(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* `name` up to its last '/', or "." */
static void folder_of(const char *name, char ret[BUCKET_NAME_MAX + 1])
{
	const char *slash = strrchr(name, '/');
	size_t size = slash == NULL ? 0 : (size_t)(slash - name);
	memcpy(ret, name, size);
	ret[size] = '\0';
	if (size == 0) {
		memcpy(ret, ".", 2);
	}
}

/* Make the folders of `name`, each durable in the one above it. */
static int make_folders(int root, const char *name)
{
	char path[BUCKET_NAME_MAX + 1];
	char above[BUCKET_NAME_MAX + 1];
	for (const char *slash = strchr(name, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		size_t size = (size_t)(slash - name);
		memcpy(path, name, size);
		path[size] = '\0';
		if (mkdirat(root, path, 0750) < 0) {
			if (errno != EEXIST) {
				return -errno;
			}
			continue;
		}
		folder_of(path, above);
		int rc = sync_folder(root, above);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

/* A file on its way to its name. */
struct dir_file {
	int root;
	int fd;
	char folder[BUCKET_NAME_MAX + 1];
	char temp[BUCKET_NAME_MAX + 32]; /* "" : the file has no name yet */
};

static void dir_file_end(struct dir_file *f)
{
	et_fd_closep(&f->fd);
	if (f->temp[0] != '\0') {
		(void)unlinkat(f->root, f->temp, 0);
	}
}

static int dir_file_begin(struct dir_file *f, const char *name)
{
	folder_of(name, f->folder);
	f->fd = openat(f->root, f->folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0440);
	if (f->fd >= 0) {
		return 0;
	}
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT) {
		return -errno;
	}
	uint64_t chance;
	et_random(&chance, sizeof(chance));
	(void)snprintf(f->temp, sizeof(f->temp), "%s/.tmp-%016llx", f->folder,
		       (unsigned long long)chance);
	f->fd = openat(f->root, f->temp, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0640);
	if (f->fd < 0) {
		f->temp[0] = '\0';
		return -errno;
	}
	return 0;
}

/* Give the file its name. -EEXIST: it is taken. */
static int dir_file_name(struct dir_file *f, const char *name)
{
	if (f->temp[0] == '\0') {
		char path[64];
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
		return linkat(AT_FDCWD, path, f->root, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
	}
	int rc = renameat2(f->root, f->temp, f->root, name, RENAME_NOREPLACE) < 0 ? -errno : 0;
	if (rc == -EINVAL || rc == -ENOSYS) { /* NFS: a hard link does not replace either */
		rc = linkat(f->root, f->temp, f->root, name, 0) < 0 ? -errno : 0;
		if (rc == 0) {
			(void)unlinkat(f->root, f->temp, 0);
		}
	}
	if (rc == 0) {
		f->temp[0] = '\0';
	}
	return rc;
}

/* Write what the source gives, and see that it is what the caller hashed. */
static int dir_file_fill(struct et_bucket *b, struct dir_file *f, struct et_bucket_put *put)
{
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *hash = et_sha256_new();
	uint8_t *chunk = malloc(BUCKET_CHUNK_SIZE);
	int rc = chunk == NULL || hash == NULL ? -ENOMEM : 0;
	uint64_t at = 0;
	while (rc == 0 && at < put->size) {
		size_t n = put->size - at < BUCKET_CHUNK_SIZE ? (size_t)(put->size - at)
							      : BUCKET_CHUNK_SIZE;
		rc = put->read(put->arg, at, chunk, n);
		if (rc == 0) {
			et_sha256_add(hash, chunk, n);
			rc = et_file_pwrite(f->fd, chunk, n, (int64_t)at);
		}
		at += n;
		if (rc == 0 && bucket_is_cancelled(b)) {
			rc = ET_ECLOSED;
		}
	}
	free(chunk);
	if (rc < 0) {
		return rc;
	}
	uint8_t found[32];
	et_sha256_end(hash, found);
	if (memcmp(found, put->sha256, 32) != 0) {
		return ET_EINTEGRITY;
	}
	return fsync(f->fd) < 0 ? -errno : 0;
}

/* The name is taken: by the same content, or not? */
static int dir_put_again(struct et_bucket *b, struct et_bucket_put *put, const char *name)
{
	if (put->if_absent) {
		return et_fail(&put->error, ET_EEXISTS, "put '%s'", put->key);
	}
	struct et_bucket_object object = { 0 };
	int rc = dir_head(b, name, &object, &put->error);
	if (rc == 0 && object.size != put->size) {
		return et_fail(&put->error, ET_EEXISTS,
			       "put '%s': an object of %llu bytes is there", put->key,
			       (unsigned long long)object.size);
	}
	return rc < 0 ? rc : bucket_compare(b, name, put->size, put->sha256, &put->error);
}

static int dir_put(struct et_bucket *b, struct et_bucket_put *put)
{
	char name[BUCKET_NAME_MAX + 1];
	bucket_name(b, put->key, name);
	ET_CLEANUP(dir_file_end) struct dir_file f = { .root = root_of(b), .fd = -1 };
	put->requests = 1;

	struct et_bucket_object object = { 0 };
	int rc = dir_head(b, name, &object, NULL);
	if (rc == 0) {
		rc = dir_put_again(b, put, name);
		if (rc < 0) {
			return rc;
		}
		folder_of(name, f.folder); /* It may be there without being durable. */
	} else {
		rc = rc == ET_ENOTFOUND ? make_folders(f.root, name) : rc;
		rc = rc < 0 ? rc : dir_file_begin(&f, name);
		rc = rc < 0 ? rc : dir_file_fill(b, &f, put);
		rc = rc < 0 ? rc : dir_file_name(&f, name);
		if (rc == -EEXIST) {
			rc = dir_put_again(b, put, name);
			if (rc < 0) {
				return rc;
			}
		}
	}
	rc = rc < 0 ? rc : sync_folder(f.root, f.folder);
	if (rc < 0) {
		return et_fail(&put->error, rc, "put '%s' into '%s'", put->key, b->settings.path);
	}
	return 0;
}

static int dir_put_many(struct et_bucket *b, struct et_bucket_put *puts, size_t count,
			uint32_t parallel)
{
	(void)parallel;
	for (size_t i = 0; i < count; i++) {
		puts[i].code = bucket_is_cancelled(b)
				       ? et_fail(&puts[i].error, ET_ECLOSED, "the store")
				       : dir_put(b, &puts[i]);
	}
	return 0;
}

static int dir_remove(struct et_bucket *b, const char *name, struct et_error *reterr)
{
	char folder[BUCKET_NAME_MAX + 1];
	folder_of(name, folder);
	if (unlinkat(root_of(b), name, 0) < 0) {
		if (errno == ENOENT || errno == ENOTDIR) {
			return 0;
		}
		return et_fail(reterr, -errno, "delete '%s'", name);
	}
	int rc = sync_folder(root_of(b), folder);
	return rc < 0 ? et_fail(reterr, rc, "delete '%s'", name) : 0;
}

/* ---- List ---- */

struct dir_entry {
	char *name; /* owned; a folder's ends in '/': that is how its keys sort */
};

struct dir_walk {
	struct et_bucket *b;
	const char *prefix;
	const char *after;
	int (*fn)(void *arg, const char *name, uint64_t size);
	void *arg;
	char path[BUCKET_NAME_MAX + 1]; /* of what is looked at: "", "a/", "a/b" */
	size_t path_size;
	struct et_error *reterr;
};

static int dir_walk_folder(struct dir_walk *w, unsigned depth);

static int entry_compare(const void *a, const void *b)
{
	return strcmp(((const struct dir_entry *)a)->name, ((const struct dir_entry *)b)->name);
}

/* May a name that begins with the present path be one that is asked for? */
static bool dir_walk_wants(const struct dir_walk *w)
{
	size_t prefix = strlen(w->prefix);
	size_t common = prefix < w->path_size ? prefix : w->path_size;
	if (strncmp(w->path, w->prefix, common) != 0) {
		return false;
	}
	if (w->path[w->path_size - 1] == '/') {
		return strncmp(w->path, w->after, w->path_size) >= 0;
	}
	return w->path_size >= prefix && strcmp(w->path, w->after) > 0;
}

static int dir_walk_entry(struct dir_walk *w, const char *entry, unsigned depth)
{
	size_t before = w->path_size;
	size_t size = strlen(entry);
	if (before + size > BUCKET_NAME_MAX) {
		return 0; /* longer than any key of ours */
	}
	memcpy(w->path + before, entry, size + 1);
	w->path_size += size;
	int rc = 0;
	if (dir_walk_wants(w)) {
		struct stat st;
		if (entry[size - 1] == '/') {
			rc = depth < DIR_DEPTH_MAX ? dir_walk_folder(w, depth + 1) : 0;
		} else if (fstatat(root_of(w->b), w->path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			   S_ISREG(st.st_mode)) {
			rc = w->fn(w->arg, w->path, (uint64_t)st.st_size);
		}
	}
	w->path_size = before;
	w->path[before] = '\0';
	return rc;
}

static void entries_free(struct dir_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(entries[i].name);
	}
	free(entries);
}

static bool entry_is_folder(int folder, const struct dirent *e)
{
	struct stat st;
	return e->d_type == DT_DIR ||
	       (e->d_type == DT_UNKNOWN &&
		fstatat(folder, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode));
}

/* The names in the folder, sorted; those that begin with '.' are not ours. */
static int entries_read(DIR *dir, struct dir_entry **ret, size_t *ret_count)
{
	struct dir_entry *entries = NULL;
	size_t count = 0;
	size_t room = 0;
	const struct dirent *e;
	errno = 0;
	while ((e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.') {
			continue;
		}
		if (count == room) {
			room = room == 0 ? 64 : room * 2;
			struct dir_entry *more = reallocarray(entries, room, sizeof(*entries));
			if (more == NULL) {
				entries_free(entries, count);
				return -ENOMEM;
			}
			entries = more;
		}
		const char *end = entry_is_folder(dirfd(dir), e) ? "/" : "";
		if (asprintf(&entries[count].name, "%s%s", e->d_name, end) < 0) {
			entries_free(entries, count);
			return -ENOMEM;
		}
		count++;
		errno = 0;
	}
	if (errno != 0) {
		int rc = -errno;
		entries_free(entries, count);
		return rc;
	}
	if (count > 0) {
		qsort(entries, count, sizeof(*entries), entry_compare);
	}
	*ret = entries;
	*ret_count = count;
	return 0;
}

static int dir_walk_folder(struct dir_walk *w, unsigned depth)
{
	int fd = openat(root_of(w->b), w->path_size == 0 ? "." : w->path,
			O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (dir == NULL) {
		int code = -errno;
		et_fd_closep(&fd);
		return code == -ENOENT ? 0 : et_fail(w->reterr, code, "list '%s'", w->path);
	}
	struct dir_entry *entries = NULL;
	size_t count = 0;
	int rc = entries_read(dir, &entries, &count);
	(void)closedir(dir);
	if (rc < 0) {
		return et_fail(w->reterr, rc, "list '%s'", w->path);
	}
	for (size_t i = 0; i < count && rc == 0; i++) {
		rc = bucket_is_cancelled(w->b) ? et_fail(w->reterr, ET_ECLOSED, "the store")
					       : dir_walk_entry(w, entries[i].name, depth);
	}
	entries_free(entries, count);
	return rc;
}

static int dir_list(struct et_bucket *b, const char *prefix, const char *after,
		    int (*fn)(void *arg, const char *name, uint64_t size), void *arg,
		    struct et_error *reterr)
{
	struct dir_walk w = {
		.b = b, .prefix = prefix, .after = after, .fn = fn, .arg = arg, .reterr = reterr
	};
	return dir_walk_folder(&w, 0);
}

static const struct bucket_ops dir_ops = {
	.put_many = dir_put_many,
	.get = dir_get,
	.head = dir_head,
	.list = dir_list,
	.remove = dir_remove,
	.drop_cache = dir_drop_cache,
	.close = dir_close,
};

int bucket_dir_open(struct bucket_settings *settings, struct et_bucket **ret,
		    struct et_error *reterr)
{
	ET_CLEANUP(et_fd_closep)
	int fd = open(settings->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		int code = errno == ENOENT ? ET_ENOTFOUND : -errno;
		int rc = et_fail(reterr, code, "archive folder '%s'", settings->path);
		(void)et_fail_next(reterr, "mkdir -p %s (or mount it)", settings->path);
		return rc;
	}
	struct bucket_dir *d = calloc(1, sizeof(*d));
	if (d == NULL) {
		return et_fail(reterr, -ENOMEM, "archive folder");
	}
	d->base.ops = &dir_ops;
	d->base.settings = *settings;
	*settings = (struct bucket_settings){ 0 };
	d->root = fd;
	fd = -1;
	*ret = &d->base;
	return 0;
}
