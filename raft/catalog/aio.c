#include <dlfcn.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "raft/catalog/catalog_internal.h"

/* G11: at the end of each segment of its log (8 MiB) libraft calls io_destroy(2) on the loop, and
 * the kernel answers when every CPU has passed a quiescent state: tens of milliseconds on an idle
 * machine, seconds on one that is short of CPU. Measured, it was nearly all that the loop ever
 * waited for. The context is idle by then, and nobody looks at the answer.
 *
 * libraft reaches the kernel through syscall(3), and looks that up in the program first: so it
 * comes by here. io_destroy() of a loop's thread is done by a thread of its own; all else goes on
 * as it came, to the next in the order of libraries. */

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

void et_cat_aio_init(void)
{
	if (atomic_load(&et_cat_syscall_next) == NULL) {
		(void)next_find();
	}
	on_loop = true;
}
