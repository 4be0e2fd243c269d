#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "raft/catalog/catalog_internal.h"

/* Two things that libraft asks of the kernel, and that are done in another way. It looks both
 * functions up in the program first, so the calls come by here; whatever else does goes on as it
 * came, to the next in the order of libraries.
 *
 * G11: at the end of each segment of its log (8 MiB) libraft calls io_destroy(2) on the loop, and
 * the kernel answers when every CPU has passed a quiescent state: tens of milliseconds on an idle
 * machine, seconds on one that is short of CPU. Measured, it was nearly all that the loop ever
 * waited for. The context is idle by then, and nobody looks at the answer.
 *
 * libraft reaches the kernel through syscall(3). io_destroy() of a loop's thread is done by a
 * thread of its own.
 *
 * Segments: what is only reserved is marked as written when it is written first, and the mark is in
 * the file system's journal. So each write of the log waited for a commit of that journal, and that
 * for whatever others have on its way to the disk. A segment is written once, in whole, before it
 * is used. The place of the bytes and what is read of them are the same: zeros. */

#define ZEROS_BYTES ((size_t)1024 * 1024)

/* Never written: the kernel has one page for all of it. */
static _Alignas(4096) uint8_t zeros[ZEROS_BYTES];

_Atomic(cat_syscall) et_cat_syscall_next;

static _Thread_local bool on_loop;

static void *destroy_main(void *arg)
{
	cat_syscall next = atomic_load(&et_cat_syscall_next);

	(void)next(SYS_io_destroy, (long)(intptr_t)arg, 0L, 0L, 0L, 0L, 0L);
	return NULL;
}

/* false: there is no thread to be had. */
static bool destroy_later(long context)
{
	pthread_attr_t attributes;
	pthread_t thread;

	if (pthread_attr_init(&attributes) != 0) {
		return false;
	}
	(void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attributes, (size_t)256 * 1024);
	int rc = pthread_create(&thread, &attributes, destroy_main, (void *)(intptr_t)context);
	(void)pthread_attr_destroy(&attributes);
	return rc == 0;
}

static cat_syscall next_find(void)
{
	void *found = dlsym(RTLD_NEXT, "syscall");
	cat_syscall next = NULL;

	et_assert(found != NULL); /* libc has it. */
	memcpy(&next, &found, sizeof(found));
	atomic_store(&et_cat_syscall_next, next);
	return next;
}

/* The name is libc's. */
__attribute__((visibility("default"))) long syscall(long number, ...)
{
	long a[6];
	va_list args;

	va_start(args, number);
	for (size_t i = 0; i < ET_ARRAY_SIZE(a); i++) {
		a[i] = va_arg(args, long);
	}
	va_end(args);
	cat_syscall next = atomic_load(&et_cat_syscall_next);
	if (next == NULL) {
		next = next_find(); /* Some library is here before the catalogue. */
	}
	if (number == SYS_io_destroy && on_loop && destroy_later(a[0])) {
		return 0;
	}
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

typedef int (*cat_allocate)(int fd, off_t offset, off_t size);

static cat_allocate allocate_find(void)
{
	void *found = dlsym(RTLD_NEXT, "posix_fallocate");
	cat_allocate next = NULL;

	et_assert(found != NULL);
	memcpy(&next, &found, sizeof(found));
	return next;
}

/* A file that libraft prepares: it is called so until it is closed. */
static bool is_segment(int fd)
{
	char link[64];
	char path[4096];

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t size = readlink(link, path, sizeof(path) - 1);
	if (size < 0) {
		return false;
	}
	path[size] = '\0';
	const char *name = strrchr(path, '/');
	return name != NULL && strncmp(name, "/open-", 6) == 0;
}

/* Past the page cache, as it will be written later. Where that is not possible (tmpfs) there is no
 * journal either. 0, or the error. */
static int zeros_write(int fd, off_t offset, off_t size)
{
	int flags = fcntl(fd, F_GETFL);
	int rc = 0;

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) < 0) {
		return 0;
	}
	while (size > 0 && rc == 0) {
		size_t want = size < (off_t)ZEROS_BYTES ? (size_t)size : ZEROS_BYTES;
		ssize_t n = pwrite(fd, zeros, want, offset);
		rc = n > 0 ? 0 : n < 0 ? errno : EIO;
		rc = rc == EINTR ? 0 : rc;
		offset += n > 0 ? n : 0;
		size -= n > 0 ? n : 0;
	}
	if (rc == 0 && fdatasync(fd) < 0) {
		rc = errno;
	}
	return fcntl(fd, F_SETFL, flags) < 0 && rc == 0 ? errno : rc;
}

/* The name is libc's; it returns the error. */
__attribute__((visibility("default"))) int posix_fallocate(int fd, off_t offset, off_t size)
{
	int rc = allocate_find()(fd, offset, size);

	return rc == 0 && is_segment(fd) ? zeros_write(fd, offset, size) : rc;
}

void et_cat_aio_init(void)
{
	if (atomic_load(&et_cat_syscall_next) == NULL) {
		(void)next_find();
	}
	on_loop = true;
}
