#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ops/cli/spool.h"

enum { CALLS = 5, PACKETS = 700 };

struct fixture {
	char folder[64];
	struct et_spool *spool;
	struct et_spool_call calls[CALLS];
	uint8_t payload[ET_MEDIA_PACKET_MAX];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	(void)strcpy(f->folder, "/tmp/evertape-spool.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	assert_int_equal(et_spool_new(f->folder, &f->spool, NULL), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	et_spool_free(f->spool);
	assert_int_equal(rmdir(f->folder), 0); /* It left nothing behind. */
	free(f);
	return 0;
}

/* Packet n of a call; every hundredth is as long as there can be. */
static struct et_media_packet packet_of(struct fixture *f, uint32_t call, uint32_t n)
{
	const size_t size = n % 100 == 99 ? ET_MEDIA_PACKET_MAX : n % 331;
	memset(f->payload, (int)(call * 7 + n), size);
	return (struct et_media_packet){
		.stream = n % 3,
		.marker = n % 50 == 0,
		.payload_type = n % 128,
		.sequence = (uint16_t)(65000 + n),
		.timestamp = n * 160 + call,
		.arrival_us = INT64_C(1700000000000000) + n * 20000 - n % 5 * 70000,
		.payload = { f->payload, size },
	};
}

static void fill(struct fixture *f, uint32_t call, uint32_t from, uint32_t to)
{
	for (uint32_t n = from; n < to; n++) {
		const struct et_media_packet p = packet_of(f, call, n);
		assert_int_equal(et_spool_add(f->spool, &f->calls[call], &p, NULL), 0);
	}
}

struct seen {
	struct fixture *f;
	uint32_t call;
	uint32_t count;
	uint32_t stop; /* at this packet; 0: never */
};

static int see(void *arg, const struct et_media_packet *p)
{
	struct seen *s = arg;
	const struct et_media_packet is = packet_of(s->f, s->call, s->count++);
	assert_int_equal(p->stream, is.stream);
	assert_int_equal(p->marker, is.marker);
	assert_int_equal(p->payload_type, is.payload_type);
	assert_int_equal(p->sequence, is.sequence);
	assert_int_equal(p->timestamp, is.timestamp);
	assert_int_equal(p->arrival_us, is.arrival_us);
	assert_int_equal(p->payload.size, is.payload.size);
	assert_memory_equal(p->payload.data, is.payload.data, is.payload.size);
	return s->count == s->stop ? -ENOSPC : 0;
}

static void drain(struct fixture *f, uint32_t call, uint32_t count)
{
	struct seen s = { .f = f, .call = call };
	assert_int_equal(et_spool_drain(f->spool, &f->calls[call], see, &s, NULL), 0);
	assert_int_equal(s.count, count);
}

static void calls_side_by_side_come_back_whole(void **state)
{
	struct fixture *f = *state;
	for (uint32_t n = 0; n < PACKETS; n += 50) {
		for (uint32_t c = 0; c < CALLS; c++) {
			fill(f, c, n, n + 50);
		}
	}
	for (uint32_t c = CALLS; c-- > 0;) {
		drain(f, c, PACKETS);
		drain(f, c, 0); /* It is empty then. */
	}
}

/* What is over makes room: places are used again, among them those of long packets. */
static void a_place_is_used_again_for_others(void **state)
{
	struct fixture *f = *state;
	for (uint32_t round = 0; round < 20; round++) {
		fill(f, round % CALLS, 0, PACKETS);
		fill(f, (round + 1) % CALLS, 0, 90);
		drain(f, round % CALLS, PACKETS);
		et_spool_drop(f->spool, &f->calls[(round + 1) % CALLS]);
	}
	drain(f, 0, 0);
}

static void who_reads_may_stop(void **state)
{
	struct fixture *f = *state;
	struct seen s = { .f = f, .call = 2, .stop = 123 };
	fill(f, 2, 0, PACKETS);
	assert_int_equal(et_spool_drain(f->spool, &f->calls[2], see, &s, NULL), -ENOSPC);
	assert_int_equal(s.count, 123);
	drain(f, 2, 0);
}

/* No more room: told with the folder, and the calls can still be given up. */
static void a_full_disk_is_told(void **state)
{
	struct fixture *f = *state;
	const struct rlimit less = { .rlim_cur = 65536, .rlim_max = RLIM_INFINITY };
	const struct rlimit all = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };
	struct et_error e = { .code = 0 };
	int rc = 0;
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
	for (uint32_t n = 0; n < PACKETS && rc == 0; n++) {
		const struct et_media_packet p = packet_of(f, 0, n);
		rc = et_spool_add(f->spool, &f->calls[0], &p, &e);
	}
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
	assert_int_equal(rc, -EFBIG);
	assert_non_null(strstr(e.text, f->folder));
	et_spool_drop(f->spool, &f->calls[0]);
	fill(f, 0, 0, PACKETS);
	drain(f, 0, PACKETS);
}

static void what_is_no_packet_is_refused(void **state)
{
	struct fixture *f = *state;
	struct et_media_packet p = packet_of(f, 0, 0);
	p.payload_type = 128;
	assert_int_equal(et_spool_add(f->spool, &f->calls[0], &p, NULL), -EINVAL);
	drain(f, 0, 0);
	struct et_spool *none = NULL;
	assert_int_equal(et_spool_new("/nonexistent/folder", &none, NULL), -ENOENT);
	assert_null(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(calls_side_by_side_come_back_whole, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_place_is_used_again_for_others, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(who_reads_may_stop, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_full_disk_is_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_packet_is_refused, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
