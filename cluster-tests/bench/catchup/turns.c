#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "cluster-tests/bench/catchup/catchup.h"

enum { SAMPLE_MS = 10 };
#define LONG_NS UINT64_C(100000000)

static uint64_t cpu_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t turns_rss(void)
{
	unsigned long long size = 0, resident = 0, shared = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f != NULL) {
		(void)!fscanf(f, "%llu %llu %llu", &size, &resident, &shared);
		(void)fclose(f);
	}
	return resident > shared ? (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

/* How long this thread was ready and had no CPU. */
static uint64_t wait_now(void)
{
	unsigned long long ran = 0, waited = 0;
	FILE *f = fopen("/proc/thread-self/schedstat", "re");

	if (f != NULL) {
		(void)!fscanf(f, "%llu %llu", &ran, &waited);
		(void)fclose(f);
	}
	return waited;
}

static void turns_on_prepare(uv_prepare_t *prepare)
{
	struct turns *t = prepare->data;
	uint64_t now_ns = uv_hrtime();
	uint64_t idle_ns = uv_metrics_idle_time(prepare->loop);
	uint64_t cpu_ns = cpu_now();
	uint64_t slept_ns = idle_ns - t->idle_ns;

	if (t->at_ns != 0 && now_ns - t->at_ns > slept_ns) {
		uint64_t took_ns = now_ns - t->at_ns - slept_ns;
		t->over += took_ns > LONG_NS;
		if (took_ns > t->longest_ns) {
			t->longest_ns = took_ns;
			t->longest_cpu_ns = cpu_ns - t->cpu_ns;
		}
	}
	t->at_ns = now_ns;
	t->idle_ns = idle_ns;
	t->cpu_ns = cpu_ns;
}

static void turns_on_timer(uv_timer_t *timer)
{
	struct turns *t = timer->data;
	uint64_t rss = turns_rss();

	t->rss_bytes = rss > t->rss_bytes ? rss : t->rss_bytes;
}

int turns_begin(struct turns *t, uv_loop_t *loop)
{
	int rc = uv_loop_configure(loop, UV_METRICS_IDLE_TIME);

	(void)uv_prepare_init(loop, &t->prepare);
	(void)uv_timer_init(loop, &t->timer);
	t->prepare.data = t->timer.data = t;
	(void)uv_prepare_start(&t->prepare, turns_on_prepare);
	(void)uv_timer_start(&t->timer, turns_on_timer, SAMPLE_MS, SAMPLE_MS);
	turns_reset(t);
	return rc;
}

void turns_reset(struct turns *t)
{
	t->at_ns = 0;
	t->longest_ns = t->longest_cpu_ns = t->over = 0;
	t->wait_ns = wait_now();
	t->rss_bytes = turns_rss();
}
