/* The newest ids of a database: what it is said to lack, it lacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "node/base/bytes.h"
#include "raft/state/newest_internal.h"

#define HALF (NEWEST_SLOTS / 2)

static const uint8_t zeros[16];

/* Ids of one moment in no order, moments in order. */
static void id_make(uint64_t n, uint8_t id[16])
{
	et_put64(id, 1 + n / 64);
	et_put64(id + 8, n * UINT64_C(0x9e3779b97f4a7c15));
}

static struct newest *newest_new(const uint8_t highest[16])
{
	struct newest *n = malloc(sizeof(*n));

	assert_non_null(n);
	newest_begin(n, highest);
	return n;
}

static void an_empty_database_lacks_all(void **state)
{
	struct newest *n = newest_new(zeros);
	uint8_t id[16];

	(void)state;
	id_make(7, id);
	assert_true(newest_lacks(n, id));
	newest_add(n, id);
	assert_false(newest_lacks(n, id));
	newest_add(n, id);
	assert_int_equal(n->halves[0].count, 1);
	assert_false(newest_lacks(n, zeros)); /* never said of what looks like an empty slot */
	free(n);
}

/* Of what was there before nothing is known. */
static void at_or_below_the_beginning_nothing_is_said(void **state)
{
	uint8_t highest[16];
	uint8_t id[16];

	(void)state;
	id_make(1000, highest);
	struct newest *n = newest_new(highest);
	assert_false(newest_lacks(n, highest));
	id_make(10, id);
	assert_false(newest_lacks(n, id));
	newest_add(n, id);
	assert_int_equal(n->halves[0].count, 0);
	id_make(2000, id);
	assert_true(newest_lacks(n, id));
	free(n);
}

/* Every id that was ever added, among many more than there is room for, in an order as that of
 * calls; and of new ones it says so. */
static void what_it_has_is_never_denied(void **state)
{
	enum { COUNT = 6 * HALF + 123 };
	struct newest *n = newest_new(zeros);
	uint8_t id[16];

	(void)state;
	for (uint64_t i = 0; i < COUNT; i++) {
		uint64_t number = i ^ (i % 7 == 0 ? 255 : 0); /* some come early, some late */
		id_make(COUNT + 1000 + i, id);
		assert_true(newest_lacks(n, id));
		id_make(number, id);
		newest_add(n, id);
		assert_false(newest_lacks(n, id));
	}
	for (uint64_t i = 0; i < COUNT; i++) {
		id_make(i ^ (i % 7 == 0 ? 255 : 0), id);
		assert_false(newest_lacks(n, id));
	}
	assert_true(n->halves[0].count <= HALF && n->halves[1].count <= HALF);
	free(n);
}

/* The floor rises by a half at a time: of the newest few thousand it knows what is missing. */
static void it_remembers_a_half_at_least(void **state)
{
	struct newest *n = newest_new(zeros);
	uint8_t id[16];

	(void)state;
	for (uint64_t i = 0; i < UINT64_C(20) * HALF; i++) {
		id_make(2 * i, id); /* every other one */
		newest_add(n, id);
		if (i > HALF && i % 97 == 0) {
			id_make(2 * (i - HALF + 64) + 1, id);
			assert_true(newest_lacks(n, id));
		}
	}
	free(n);
}

static void another_database_is_begun_anew(void **state)
{
	struct newest *n = newest_new(zeros);
	uint8_t id[16];

	(void)state;
	for (uint64_t i = 0; i < 3 * HALF; i++) {
		id_make(i, id);
		newest_add(n, id);
	}
	newest_begin(n, zeros);
	assert_true(newest_lacks(n, id));
	free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_database_lacks_all),
		cmocka_unit_test(at_or_below_the_beginning_nothing_is_said),
		cmocka_unit_test(what_it_has_is_never_denied),
		cmocka_unit_test(it_remembers_a_half_at_least),
		cmocka_unit_test(another_database_is_begun_anew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
