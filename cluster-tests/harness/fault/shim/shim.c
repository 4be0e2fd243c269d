/* Preloaded into a program under test: counts its durability calls, and at the N-th one ends the
 * process or lets the call fail.
 *
 *   ET_FAULT_UNDER=FOLDER   only what happens to files in it (and on its device) counts
 *   ET_FAULT_ONLY=FOLDER    ... and of that only what happens in this folder
 *   ET_FAULT=KIND:N         what happens at call N:
 *       kill    the process ends before the call        after   ... after it
 *       torn    ... after half of it: of a write, the first half is on its way
 *       eio, nospc     this call fails                   peio, pnospc   this and all later ones
 *   ET_FAULT_COUNT=FILE     two 64-bit numbers (calls so far, calls that were hit) and the name of
 *                           the last call, kept up to date so that they outlive a kill
 *   ET_FAULT_NOSYNC=1       nothing is ever synced, and calls say that it was: a control
 *
 * A durability call is one that changes a file or folder, or that makes such a change durable.
 * libraft writes its log by io_submit(2) through syscall(2): that one is looked into. Calls that
 * the kernel refuses count too. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define SHOWN __attribute__((visibility("default")))

enum kind { NOTHING, KILL, AFTER, TORN, FAIL };

struct board {
	_Atomic uint64_t calls;
	_Atomic uint64_t hits;
	char name[48];
};

static struct {
	enum kind kind;
	int error;     /* FAIL */
	bool for_ever; /* FAIL: from then on */
	bool nosync;
	uint64_t at;
	char under[512];
	size_t under_size;
	char only[512];
	size_t only_size;
	dev_t device;
	struct board *board;
	struct board own; /* when nobody wants to see it */
	long (*syscall)(long number, ...);
} shim;

static void die(void)
{
	(void)kill(getpid(), SIGKILL);
	for (;;) {
		(void)pause();
	}
}

static void plan_read(const char *plan)
{
	static const struct {
		const char *name;
		enum kind kind;
		int error;
		bool for_ever;
	} kinds[] = {
		{ "kill:", KILL, 0, false },	   { "after:", AFTER, 0, false },
		{ "torn:", TORN, 0, false },	   { "eio:", FAIL, EIO, false },
		{ "nospc:", FAIL, ENOSPC, false }, { "peio:", FAIL, EIO, true },
		{ "pnospc:", FAIL, ENOSPC, true },
	};

	for (size_t i = 0; plan != NULL && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t n = strlen(kinds[i].name);
		if (strncmp(plan, kinds[i].name, n) == 0) {
			shim.kind = kinds[i].kind;
			shim.error = kinds[i].error;
			shim.for_ever = kinds[i].for_ever;
			shim.at = strtoull(plan + n, NULL, 10);
		}
	}
}

static void board_open(const char *path)
{
	shim.board = &shim.own;
	if (path == NULL) {
		return;
	}
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || syscall(SYS_ftruncate, fd, (long)sizeof(struct board)) < 0) {
		abort();
	}
	void *p = mmap(NULL, sizeof(struct board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		abort();
	}
	shim.board = p;
	(void)close(fd);
}

__attribute__((constructor)) static void shim_begin(void)
{
	const char *under = getenv("ET_FAULT_UNDER");
	const char *only = getenv("ET_FAULT_ONLY");
	struct stat st;

	shim.syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	shim.nosync = getenv("ET_FAULT_NOSYNC") != NULL;
	board_open(getenv("ET_FAULT_COUNT"));
	if (under == NULL || strlen(under) >= sizeof(shim.under) || stat(under, &st) < 0) {
		return; /* under_size stays 0: nothing counts. */
	}
	shim.under_size = strlen(under);
	memcpy(shim.under, under, shim.under_size + 1);
	shim.device = st.st_dev;
	if (only != NULL && strlen(only) < sizeof(shim.only)) {
		shim.only_size = strlen(only);
		memcpy(shim.only, only, shim.only_size + 1);
	}
	plan_read(getenv("ET_FAULT"));
}

/* Is the file in ET_FAULT_ONLY, if that is set? */
static bool fd_is_chosen(int fd)
{
	char link[64];
	char path[1024];

	if (shim.only_size == 0) {
		return true;
	}
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	path[n < 0 ? 0 : n] = '\0';
	return strncmp(path, shim.only, shim.only_size) == 0;
}

static bool fd_counts(int fd)
{
	struct stat st;

	return shim.under_size > 0 && fstat(fd, &st) == 0 && st.st_dev == shim.device &&
	       (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) && fd_is_chosen(fd);
}

static bool path_counts(int folder, const char *path)
{
	if (shim.under_size == 0 || path == NULL) {
		return false;
	}
	if (path[0] != '/' && folder != AT_FDCWD) {
		return fd_counts(folder);
	}
	return strncmp(path, shim.under, shim.under_size) == 0 &&
	       strncmp(path, shim.only, shim.only_size) == 0;
}

/* Count a call. What shall become of it? */
static enum kind gate(const char *name)
{
	uint64_t n = atomic_fetch_add(&shim.board->calls, 1) + 1;
	bool is_hit = shim.kind != NOTHING && (n == shim.at || (n > shim.at && shim.for_ever));

	if (!is_hit) {
		return NOTHING;
	}
	if (atomic_fetch_add(&shim.board->hits, 1) == 0) {
		(void)strncpy(shim.board->name, name, sizeof(shim.board->name) - 1);
	}
	if (shim.kind == KILL) {
		die();
	}
	return shim.kind;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* The body of a wrapper: `half` is what a torn call does. */
#define PASS(name, counts, call, half)                                                             \
	do {                                                                                       \
		REAL(name);                                                                        \
		if (!(counts)) {                                                                   \
			return call;                                                               \
		}                                                                                  \
		enum kind kind = gate(#name);                                                      \
		if (kind == FAIL) {                                                                \
			errno = shim.error;                                                        \
			return -1;                                                                 \
		}                                                                                  \
		if (kind == TORN) {                                                                \
			half;                                                                      \
			die();                                                                     \
		}                                                                                  \
		__typeof__(call) result = call;                                                    \
		if (kind == AFTER) {                                                               \
			die();                                                                     \
		}                                                                                  \
		return result;                                                                     \
	} while (0)

/* ---- Writes ---- */

SHOWN ssize_t write(int fd, const void *data, size_t size)
{
	PASS(write, fd_counts(fd), real(fd, data, size), (void)!real(fd, data, size / 2));
}

SHOWN ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	PASS(pwrite, fd_counts(fd), real(fd, data, size, offset),
	     (void)!real(fd, data, size / 2, offset));
}

SHOWN ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
	PASS(pwrite64, fd_counts(fd), real(fd, data, size, offset),
	     (void)!real(fd, data, size / 2, offset));
}

SHOWN ssize_t writev(int fd, const struct iovec *v, int count)
{
	PASS(writev, fd_counts(fd), real(fd, v, count),
	     (void)!write(fd, v[0].iov_base, v[0].iov_len / 2));
}

SHOWN ssize_t pwritev(int fd, const struct iovec *v, int count, off_t offset)
{
	PASS(pwritev, fd_counts(fd), real(fd, v, count, offset),
	     (void)!pwrite(fd, v[0].iov_base, v[0].iov_len / 2, offset));
}

SHOWN ssize_t pwritev64(int fd, const struct iovec *v, int count, off64_t offset)
{
	PASS(pwritev64, fd_counts(fd), real(fd, v, count, offset),
	     (void)!pwrite(fd, v[0].iov_base, v[0].iov_len / 2, offset));
}

SHOWN ssize_t pwritev2(int fd, const struct iovec *v, int count, off_t offset, int flags)
{
	PASS(pwritev2, fd_counts(fd), real(fd, v, count, offset, flags),
	     (void)!pwrite(fd, v[0].iov_base, v[0].iov_len / 2, offset));
}

/* ---- Syncs ---- */

SHOWN int fsync(int fd)
{
	PASS(fsync, fd_counts(fd), shim.nosync ? 0 : real(fd), );
}

SHOWN int fdatasync(int fd)
{
	PASS(fdatasync, fd_counts(fd), shim.nosync ? 0 : real(fd), );
}

SHOWN int syncfs(int fd)
{
	PASS(syncfs, fd_counts(fd), shim.nosync ? 0 : real(fd), );
}

SHOWN int sync_file_range(int fd, off64_t offset, off64_t size, unsigned flags)
{
	PASS(sync_file_range, fd_counts(fd), shim.nosync ? 0 : real(fd, offset, size, flags), );
}

/* ---- Names ---- */

SHOWN int rename(const char *from, const char *to)
{
	PASS(rename, path_counts(AT_FDCWD, from), real(from, to), );
}

SHOWN int renameat(int a, const char *from, int b, const char *to)
{
	PASS(renameat, path_counts(a, from), real(a, from, b, to), );
}

SHOWN int renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
	PASS(renameat2, path_counts(a, from), real(a, from, b, to, flags), );
}

SHOWN int link(const char *from, const char *to)
{
	PASS(link, path_counts(AT_FDCWD, from), real(from, to), );
}

SHOWN int linkat(int a, const char *from, int b, const char *to, int flags)
{
	PASS(linkat, path_counts(b, to), real(a, from, b, to, flags), );
}

SHOWN int unlink(const char *path)
{
	PASS(unlink, path_counts(AT_FDCWD, path), real(path), );
}

SHOWN int unlinkat(int folder, const char *path, int flags)
{
	PASS(unlinkat, path_counts(folder, path), real(folder, path, flags), );
}

SHOWN int rmdir(const char *path)
{
	PASS(rmdir, path_counts(AT_FDCWD, path), real(path), );
}

SHOWN int mkdir(const char *path, mode_t mode)
{
	PASS(mkdir, path_counts(AT_FDCWD, path), real(path, mode), );
}

/* ---- Sizes ---- */

SHOWN int ftruncate(int fd, off_t size)
{
	PASS(ftruncate, fd_counts(fd), real(fd, size), );
}

SHOWN int ftruncate64(int fd, off64_t size)
{
	PASS(ftruncate64, fd_counts(fd), real(fd, size), );
}

SHOWN int fallocate(int fd, int mode, off_t offset, off_t size)
{
	PASS(fallocate, fd_counts(fd), real(fd, mode, offset, size),
	     (void)!real(fd, mode, offset, size / 2));
}

SHOWN int fallocate64(int fd, int mode, off64_t offset, off64_t size)
{
	PASS(fallocate64, fd_counts(fd), real(fd, mode, offset, size),
	     (void)!real(fd, mode, offset, size / 2));
}

/* These two return the error. */
#define PASS_ALLOCATE(name)                                                                        \
	do {                                                                                       \
		REAL(name);                                                                        \
		if (!fd_counts(fd)) {                                                              \
			return real(fd, offset, size);                                             \
		}                                                                                  \
		enum kind kind = gate(#name);                                                      \
		if (kind == FAIL) {                                                                \
			return shim.error;                                                         \
		}                                                                                  \
		int result = real(fd, offset, kind == TORN ? size / 2 : size);                     \
		if (kind != NOTHING) {                                                             \
			die();                                                                     \
		}                                                                                  \
		return result;                                                                     \
	} while (0)

SHOWN int posix_fallocate(int fd, off_t offset, off_t size)
{
	PASS_ALLOCATE(posix_fallocate);
}

SHOWN int posix_fallocate64(int fd, off64_t offset, off64_t size)
{
	PASS_ALLOCATE(posix_fallocate64);
}

/* ---- Open: one that makes a file counts ---- */

static int flags_of(int flags)
{
	return shim.nosync ? flags & ~(O_SYNC | O_DSYNC) : flags;
}

static bool open_makes(int folder, const char *path, int flags)
{
	return (flags & O_CREAT) != 0 && path_counts(folder, path) &&
	       faccessat(folder, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0;
}

static mode_t mode_of(int flags, va_list args)
{
	return (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
}

#define PASS_OPEN(name, folder, path, ...)                                                         \
	do {                                                                                       \
		va_list args;                                                                      \
		va_start(args, flags);                                                             \
		mode_t mode = mode_of(flags, args);                                                \
		va_end(args);                                                                      \
		PASS(name, open_makes(folder, path, flags),                                        \
		     real(__VA_ARGS__ path, flags_of(flags), mode), );                             \
	} while (0)
#define NO_FOLDER

SHOWN int open(const char *path, int flags, ...)
{
	PASS_OPEN(open, AT_FDCWD, path, NO_FOLDER);
}

SHOWN int open64(const char *path, int flags, ...)
{
	PASS_OPEN(open64, AT_FDCWD, path, NO_FOLDER);
}

SHOWN int openat(int folder, const char *path, int flags, ...)
{
	va_list args;

	va_start(args, flags);
	mode_t mode = mode_of(flags, args);
	va_end(args);
	PASS(openat, open_makes(folder, path, flags), real(folder, path, flags_of(flags), mode), );
}

SHOWN int openat64(int folder, const char *path, int flags, ...)
{
	va_list args;

	va_start(args, flags);
	mode_t mode = mode_of(flags, args);
	va_end(args);
	PASS(openat64, open_makes(folder, path, flags),
	     real(folder, path, flags_of(flags), mode), );
}

/* ---- io_submit, through syscall() ---- */

static bool is_write(const struct iocb *cb)
{
	return cb->aio_lio_opcode == IOCB_CMD_PWRITE || cb->aio_lio_opcode == IOCB_CMD_PWRITEV;
}

/* The first half of it, in whole sectors, and wait until it is done: the power went in between. */
static void submit_half(long context, const struct iocb *cb)
{
	struct iocb half = *cb;
	struct iocb *list = &half;
	struct io_event event;
	struct iovec v;

	if (cb->aio_lio_opcode == IOCB_CMD_PWRITEV) {
		memcpy(&v, (const void *)(uintptr_t)cb->aio_buf, sizeof(v));
		v.iov_len = v.iov_len / 2 & ~(size_t)511;
		half.aio_buf = (uint64_t)(uintptr_t)&v;
		half.aio_nbytes = 1;
	} else {
		half.aio_nbytes = cb->aio_nbytes / 2 & ~(uint64_t)511;
	}
	if (shim.syscall(SYS_io_submit, context, 1L, &list) == 1) {
		(void)shim.syscall(SYS_io_getevents, context, 1L, 1L, &event, NULL);
	}
}

static long submit(long context, long count, struct iocb **list)
{
	enum kind kind = gate("io_submit");

	if (kind == FAIL) {
		errno = shim.error;
		return -1;
	}
	if (kind == TORN) {
		submit_half(context, list[0]);
		die();
	}
	for (long i = 0; shim.nosync && i < count; i++) {
		list[i]->aio_rw_flags &= (int)~(RWF_DSYNC | RWF_SYNC);
	}
	long result = shim.syscall(SYS_io_submit, context, count, list);
	if (kind == AFTER) {
		die();
	}
	return result;
}

SHOWN long syscall(long number, ...)
{
	va_list args;
	long a[6];

	va_start(args, number);
	for (size_t i = 0; i < 6; i++) {
		a[i] = va_arg(args, long);
	}
	va_end(args);
	if (number == SYS_io_submit && a[1] > 0) {
		struct iocb **list = (struct iocb **)(uintptr_t)a[2];
		if (is_write(list[0]) && fd_counts((int)list[0]->aio_fildes)) {
			return submit(a[0], a[1], list);
		}
	}
	if (shim.syscall == NULL) {
		shim.syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	}
	return shim.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
