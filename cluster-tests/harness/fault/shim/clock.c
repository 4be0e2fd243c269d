/* Preloaded into a daemon: its real-time clock is off by as many seconds as the file
 * ET_CLOCK_FILE says (a 64-bit number, in the machine's order; it may change while the program
 * runs). Its monotonic clock is left alone, as it is when a clock is wrong. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SHOWN __attribute__((visibility("default")))
#define REALTIME_LEAST 1000000000 /* seconds: no machine is up for so long */

static const volatile int64_t *offset;

__attribute__((constructor)) static void shim_begin(void)
{
	const char *path = getenv("ET_CLOCK_FILE");
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		void *p = mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0);
		offset = p == MAP_FAILED ? NULL : p;
		(void)close(fd);
	}
}

static time_t ahead(void)
{
	return offset == NULL ? 0 : (time_t)*offset;
}

SHOWN int clock_gettime(clockid_t id, struct timespec *ret)
{
	int rc = (int)syscall(SYS_clock_gettime, id, ret);

	if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
		ret->tv_sec += ahead();
	}
	return rc;
}

SHOWN int gettimeofday(struct timeval *ret, void *zone)
{
	struct timespec now;

	(void)zone;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	ret->tv_sec = now.tv_sec;
	ret->tv_usec = now.tv_nsec / 1000;
	return 0;
}

SHOWN time_t time(time_t *ret)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (ret != NULL) {
		*ret = now.tv_sec;
	}
	return now.tv_sec;
}

/* The kernel waits by its own clock: a deadline of ours is made one of its. */
SHOWN int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				 const struct timespec *until)
{
	static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
	struct timespec t = *until;

	if (real == NULL) {
		real = (__typeof__(real))dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
	}
	if (t.tv_sec > REALTIME_LEAST) {
		t.tv_sec -= ahead();
	}
	return real(cond, mutex, &t);
}
