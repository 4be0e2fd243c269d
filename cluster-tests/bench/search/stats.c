#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "cluster-tests/bench/search/search.h"

void bench_times_add(struct bench_times *t, double us)
{
	if (t->count == t->capacity) {
		t->capacity = t->capacity > 0 ? t->capacity * 2 : 256;
		t->us = realloc(t->us, t->capacity * sizeof(*t->us));
		et_assert(t->us != NULL);
	}
	t->us[t->count++] = us;
}

static int times_order(const void *a, const void *b)
{
	const double *x = a;
	const double *y = b;

	return (*x > *y) - (*x < *y);
}

double bench_times_at(struct bench_times *t, double quantile)
{
	if (t->count == 0) {
		return 0;
	}
	qsort(t->us, t->count, sizeof(*t->us), times_order);
	size_t at = (size_t)(quantile * (double)t->count);
	return t->us[at < t->count ? at : t->count - 1];
}

double bench_now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double process_cpu_s(void)
{
	struct rusage r;

	(void)getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

void bench_settle(void)
{
	const struct timespec tick = { 0, 500000000 };
	int quiet = 0;

	while (quiet < 8) { /* on a busy machine a thread may wait a while */
		double cpu = process_cpu_s();
		(void)nanosleep(&tick, NULL);
		quiet = process_cpu_s() - cpu < 0.01 ? quiet + 1 : 0;
	}
}

static uint64_t folder_sum;

static int folder_add(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)path;
	(void)ftw;
	folder_sum += type == FTW_F ? (uint64_t)st->st_blocks * 512 : 0;
	return 0;
}

uint64_t bench_folder_bytes(const char *path)
{
	folder_sum = 0;
	(void)nftw(path, folder_add, 32, FTW_PHYS);
	return folder_sum;
}

uint64_t bench_rss(int pid)
{
	char path[64];
	unsigned long size = 0;
	unsigned long resident = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	FILE *f = fopen(path, "r");
	if (f == NULL) {
		return 0;
	}
	int n = fscanf(f, "%lu %lu", &size, &resident); /* NOLINT(cert-err34-c) */
	(void)fclose(f);
	return n == 2 ? (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static int folder_unlink(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void bench_folder_remove(const char *path)
{
	(void)nftw(path, folder_unlink, 32, FTW_DEPTH | FTW_PHYS);
}
