/* Each command: taken, refused, repeated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/state/test/kit.h"

static void nothing_happens_before_the_cluster_is_made(void **state)
{
	struct kit *k = *state;
	const struct kit_call call = { .id = 5, .start_us = 1700000000000000 };

	assert_int_equal(kit_open_call(k, 1, &call), ET_EUNINITIALISED);
	assert_int_equal(kit_tick(k, 1700000000000000), ET_EUNINITIALISED);
	assert_int_equal(kit_cluster_init(k), 0);
	assert_int_equal(k->result->number, 1);
	assert_int_equal(kit_cluster_init(k), ET_EEXISTS);
	assert_int_equal(kit_open_call(k, 1, &call), 0);
}

static void nodes_join_once_with_a_good_token(void **state)
{
	struct kit *k = *state;

	assert_int_equal(kit_cluster_init(k), 0);
	assert_int_equal(kit_node_join(k, 900, 2, 2), ET_EDENIED); /* no such token */
	assert_int_equal(kit_token_add(k, 900, 1, INT64_C(1700000100000000)), 0);
	assert_int_equal(kit_token_add(k, 900, 1, INT64_C(1700000100000000)), ET_EEXISTS);
	assert_int_equal(kit_node_join(k, 900, 7, 2), ET_ESTALE); /* not the next id */
	assert_int_equal(kit_node_join(k, 900, 2, 2), 0);
	assert_int_equal(k->result->number, 2);
	assert_int_equal(kit_node_join(k, 900, 2, 2), 0); /* the same request */
	assert_int_equal(k->result->number, 2);
	assert_int_equal(kit_node_join(k, 900, 3, 3), ET_EDENIED); /* used up */
	assert_int_equal(kit_token_add(k, 901, 5, INT64_C(1700000100000000)), 0);
	assert_int_equal(kit_tick(k, INT64_C(1700000100000000)), 0);
	assert_int_equal(kit_node_join(k, 901, 3, 3), ET_EDENIED); /* expired */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(nothing_happens_before_the_cluster_is_made),
		TEST(nodes_join_once_with_a_good_token),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
