/* Records that pages had lately: what a view may have of them, and what it may not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "raft/state/rows_internal.h"
#include "raft/state/test/random.h"

static void id_make(uint64_t n, uint8_t id[16])
{
	et_put64(id, n / 3); /* as ids of one millisecond begin */
	et_put64(id + 8, n * UINT64_C(0x9e3779b97f4a7c15));
}

static bool has(struct rows *r, uint64_t n, uint64_t index, const char *text)
{
	struct et_view v;
	uint8_t id[16];

	id_make(n, id);
	if (!rows_get(r, id, index, &v)) {
		return false;
	}
	assert_int_equal(v.size, strlen(text));
	assert_memory_equal(v.data, text, v.size);
	return true;
}

static void put(struct rows *r, uint64_t n, uint64_t index, const char *text)
{
	uint8_t id[16];

	id_make(n, id);
	rows_put(r, id, index, (struct et_view){ (const uint8_t *)text, strlen(text) });
}

static void change(struct rows *r, uint64_t n, uint64_t index)
{
	uint8_t id[16];

	id_make(n, id);
	rows_change(r, id, index);
}

static void a_view_has_what_was_read_at_its_index_or_before(void **state)
{
	struct rows *r = rows_new(65536);

	(void)state;
	assert_false(has(r, 1, 10, ""));
	put(r, 1, 10, "ten");
	assert_true(has(r, 1, 10, "ten"));
	assert_true(has(r, 1, 11, "ten"));
	assert_false(has(r, 1, 9, "ten")); /* it may have been another then */
	assert_false(has(r, 2, 10, "ten"));
	put(r, 3, 10, "");
	assert_true(has(r, 3, 10, ""));
	rows_free(r);
	rows_free(NULL);
}

static void a_record_that_changes_is_gone_and_does_not_come_back_late(void **state)
{
	struct rows *r = rows_new(65536);

	(void)state;
	put(r, 1, 10, "ten");
	change(r, 1, 12);
	assert_false(has(r, 1, 20, "ten"));
	put(r, 1, 11, "ten"); /* by a view that was opened before, and read slowly */
	assert_false(has(r, 1, 11, "ten"));
	assert_false(has(r, 1, 20, "ten"));
	put(r, 1, 12, "twelve");
	assert_true(has(r, 1, 12, "twelve"));
	rows_free(r);
}

/* Against a model: whatever is there is what was put last, and small enough a working set stays. */
static void the_oldest_go_when_it_is_full(void **state)
{
	enum { ENTRIES = 4000 };
	struct rows *r = rows_new(65536);
	uint64_t x = 5;
	char text[1200];
	static char last[ENTRIES][16]; /* "": not to be had */
	size_t kept = 0;

	(void)state;
	memset(text, '.', sizeof(text));
	for (uint64_t i = 1; i < 40000; i++) {
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407U;
		uint64_t n = (x >> 33) % ENTRIES;
		size_t size = 20 + (x >> 20) % 1000;
		if (x % 5 == 0) {
			change(r, n, i);
			last[n][0] = '\0';
			continue;
		}
		struct et_view v;
		uint8_t id[16];
		id_make(n, id);
		if (rows_get(r, id, i, &v)) {
			assert_memory_equal(v.data, last[n], strlen(last[n]));
			kept++;
			continue;
		}
		(void)snprintf(last[n], sizeof(last[n]), "%llu ", (unsigned long long)i);
		memcpy(text, last[n], strlen(last[n]));
		rows_put(r, id, i, (struct et_view){ (const uint8_t *)text, size });
	}
	assert_true(kept > 100);
	put(r, 9999, 50000, "the last one");
	assert_true(has(r, 9999, 50000, "the last one"));
	char large[1200];
	memset(large, 'x', sizeof(large));
	large[sizeof(large) - 1] = '\0';
	put(r, 9998, 50000, large); /* more than a part of it: not kept */
	assert_false(has(r, 9998, 50000, large));
	rows_free(r);
}

/* ---- In searches ---- */

struct seen {
	char state[64];
	size_t count;
};

static int seen_hit(void *arg, const Et__Recording *r)
{
	struct seen *s = arg;

	(void)snprintf(s->state, sizeof(s->state), "%s", r->call_state);
	s->count++;
	return 0;
}

static void expect(const struct et_state_view *v, const char *call_state)
{
	struct et_state_query q = { .state = -1 };
	struct et_state_found found;
	struct seen s = { 0 };

	assert_int_equal(et_state_search(v, &q, seen_hit, &s, &found), 0);
	assert_int_equal(s.count, 1);
	assert_string_equal(s.state, call_state);
}

static void tell(struct kit *k, const char *call_state)
{
	Et__Recording r = ET__RECORDING__INIT;
	char text[32];

	(void)snprintf(text, sizeof(text), "%s", call_state);
	r.id = kit_id(7);
	r.start_us = 1000;
	r.call_state = text;
	assert_int_equal(kit_tell_recording(k, 1, KIT_UPDATE, &r), 0);
}

static void each_view_sees_its_own_record(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	tell(k, "ringing");
	struct et_state_view *before = et_state_view_open_indexed(k->s, 1000);
	tell(k, "answered");
	struct et_state_view *after = et_state_view_open_indexed(k->s, 1000);
	expect(before, "ringing"); /* reads it, too late to be kept for others */
	expect(after, "answered");
	expect(after, "answered"); /* from memory */
	expect(before, "ringing");
	tell(k, "ended");
	expect(after, "answered");
	struct et_state_view *last = et_state_view_open_indexed(k->s, 1000);
	expect(last, "ended");
	expect(before, "ringing");
	(void)et_state_view_close(before);
	(void)et_state_view_close(after);
	(void)et_state_view_close(last);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_view_has_what_was_read_at_its_index_or_before),
		cmocka_unit_test(a_record_that_changes_is_gone_and_does_not_come_back_late),
		cmocka_unit_test(the_oldest_go_when_it_is_full),
		cmocka_unit_test_setup_teardown(each_view_sees_its_own_record, kit_set_up,
						kit_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
