/* Readers beside the writer: every view is one index, whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "raft/state/test/kit.h"

#define READERS 3
#define ENTRIES 400

struct reader {
	struct et_state *s;
	atomic_bool *ended;
	uint64_t views;
	const char *failed; /* what was wrong, or NULL */
};

struct recount {
	uint64_t segments;
	uint64_t copies;
};

static int recount_segment(void *arg, const Et__Segment *g)
{
	struct recount *r = arg;

	(void)g;
	r->segments++;
	return 0;
}

static int recount_copy(void *arg, const Et__Copy *c)
{
	struct recount *r = arg;

	r->copies += c->state == ET__COPY__STATE__VERIFIED;
	return 0;
}

static const char *view_check(const struct et_state_view *v)
{
	struct recount r = { 0 };
	struct et_state_counts counts;
	uint64_t events;
	uint8_t head[32];

	if (et_state_each_segment(v, recount_segment, &r) != 0 ||
	    et_state_each_copy(v, recount_copy, &r) != 0 || et_state_counts(v, &counts) != 0) {
		return "cannot be read";
	}
	if (counts.segments != r.segments || counts.copies != r.copies) {
		return "counters and records differ";
	}
	if (et_state_audit_verify(v, &events, head, NULL) != 0) {
		return "the chain does not verify";
	}
	return NULL;
}

static void *reader_run(void *arg)
{
	struct reader *r = arg;
	uint64_t last = 0;

	while (r->failed == NULL && !atomic_load(r->ended)) {
		uint64_t applied = et_state_applied(r->s);
		struct et_state_view *v = et_state_view_open(r->s);
		if (v == NULL) {
			r->failed = "no view";
			break;
		}
		uint64_t index = et_state_view_index(v);
		r->failed = view_check(v);
		if (index < last || index < applied) {
			r->failed = "a view went back in time";
		}
		last = index;
		r->views++;
		(void)et_state_view_close(v);
	}
	return NULL;
}

static void views_are_whole_while_the_writer_goes_on(void **state)
{
	struct kit *k = *state;
	atomic_bool ended = false;
	struct reader readers[READERS];
	pthread_t threads[READERS];
	char path[128];
	uint64_t at;

	kit_cluster(k);
	for (size_t i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ .s = k->s, .ended = &ended };
		assert_int_equal(pthread_create(&threads[i], NULL, reader_run, &readers[i]), 0);
	}
	for (uint64_t i = 0; i < ENTRIES; i++) {
		const struct kit_call call = { .id = 1000 + i, .start_us = 1700000000000000 };
		assert_int_equal(kit_open_call(k, 2, &call), 0);
		assert_int_equal(kit_segment_open(k, 2, 1000 + i, 1), 0);
		assert_int_equal(kit_segment_seal(k, 2, 1000 + i, 1,
						  ET__SEGMENT_STATE__SEGMENT_SEALED, 7, 3),
				 0);
		assert_int_equal(kit_copy_add(k, 3, 1000 + i, 1, "node:3"), 0);
		if (i % 3 == 0) {
			assert_int_equal(kit_copy_evict(k, 2, 1000 + i, 1, "node:2"), 0);
		}
		if (i % 100 == 50) { /* a database is swapped under the readers */
			(void)snprintf(path, sizeof(path), "%s/checkpoint-%d", k->folder, (int)i);
			assert_int_equal(et_state_checkpoint(k->s, path, &at, NULL), 0);
			assert_int_equal(et_state_replace(k->s, path, NULL), 0);
			assert_int_equal(et_state_applied(k->s), at);
		}
	}
	atomic_store(&ended, true);
	for (size_t i = 0; i < READERS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		if (readers[i].failed != NULL) {
			fail_msg("%s", readers[i].failed);
		}
		assert_true(readers[i].views > 0);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(views_are_whole_while_the_writer_goes_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
