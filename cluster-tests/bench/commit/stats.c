#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cluster-tests/bench/commit/commit.h"
#include "node/base/defs.h"

void bench_stats_add(struct bench_stats *s, int64_t us)
{
	if (s->count == s->capacity) {
		s->capacity = s->capacity == 0 ? 65536 : s->capacity * 2;
		s->us = realloc(s->us, s->capacity * sizeof(*s->us));
		et_assert(s->us != NULL);
	}
	s->us[s->count++] = us < 0 ? 0 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static int compare(const void *a, const void *b)
{
	const uint32_t *x = a;
	const uint32_t *y = b;
	return (*x > *y) - (*x < *y);
}

struct bench_result bench_stats_end(struct bench_stats *s, unsigned batch, double seconds)
{
	struct bench_result r = { .failed = s->failed };

	if (s->count > 0) {
		qsort(s->us, s->count, sizeof(*s->us), compare);
		r.p50_ms = s->us[s->count / 2] / 1000.0;
		r.p99_ms = s->us[s->count - 1 - s->count / 100] / 1000.0;
	}
	r.count = (uint64_t)s->count * batch;
	r.per_s = (double)r.count / seconds;
	free(s->us);
	*s = (struct bench_stats){ 0 };
	return r;
}

double bench_cpu_us(const pid_t *pids, size_t count)
{
	double ticks = 0;

	for (size_t i = 0; i < count; i++) {
		char path[64];
		unsigned long user = 0;
		unsigned long system = 0;
		(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pids[i]);
		FILE *f = fopen(path, "re");
		if (f == NULL) {
			return 0;
		}
		int n = fscanf(f,
			       "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
			       &user, &system);
		(void)fclose(f);
		ticks += n == 2 ? (double)user + (double)system : 0;
	}
	return ticks * 1e6 / (double)sysconf(_SC_CLK_TCK);
}
