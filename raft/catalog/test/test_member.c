#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/catalog/test/fixture.h"

/* Four nodes; three of them form the cluster at first. */
static int set_up(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));

	cluster_open(c, 4);
	c->count = 3;
	cluster_form(c);
	c->count = 4;
	*state = c;
	return 0;
}

static int tear_down(void **state)
{
	struct cluster *c = *state;

	cluster_close(c);
	free(c);
	return 0;
}

static int change(struct cluster *c,
		  void (*what)(struct et_catalog *, uint64_t, et_catalog_cb, void *),
		  struct node *at, uint64_t node)
{
	struct answer a = { 0 };

	what(at->catalog, node, on_answer, &a);
	assert_int_equal(a.calls, 0);
	RUN_UNTIL(c, a.calls == 1);
	return a.code;
}

static int assign(struct cluster *c, struct node *at, uint64_t node, enum et_catalog_role role)
{
	struct answer a = { 0 };

	et_catalog_assign(at->catalog, node, role, on_answer, &a);
	RUN_UNTIL(c, a.calls == 1);
	return a.code;
}

static int add(struct cluster *c, struct node *at, uint64_t node, const char *address)
{
	struct answer a = { 0 };

	et_catalog_add(at->catalog, node, address, on_answer, &a);
	RUN_UNTIL(c, a.calls == 1);
	return a.code;
}

static struct node *led(struct cluster *c)
{
	struct node *leader = NULL;

	RUN_UNTIL(c, (leader = leader_of(c)) != NULL);
	return leader;
}

static void a_node_joins_while_others_write(void **state)
{
	struct cluster *c = *state;
	struct node *leader = led(c);
	struct et_catalog_status s;
	static struct answer answers[500];

	memset(answers, 0, sizeof(answers));
	catalog_open(&c->nodes[3]);
	for (size_t i = 0; i < ET_ARRAY_SIZE(answers); i++) {
		propose_noop(&c->nodes[i % 3], "meanwhile", 0, 30000, &answers[i]);
	}
	uint64_t last = raft_last_index(&leader->catalog->raft);
	assert_int_equal(add(c, leader, 4, c->nodes[3].address), 0);
	/* G5: a barrier of the own term goes before the change. */
	assert_true(raft_last_index(&leader->catalog->raft) >= last + 2);
	assert_int_equal(add(c, leader, 4, c->nodes[3].address), 0); /* Safe to repeat. */
	assert_int_equal(add(c, leader, 4, "127.0.0.1:1"), ET_EEXISTS);
	assert_int_equal(assign(c, leader, 4, ET_CATALOG_VOTER), 0);
	assert_int_equal(assign(c, leader, 4, ET_CATALOG_VOTER), 0);
	for (size_t i = 0; i < ET_ARRAY_SIZE(answers); i++) {
		RUN_UNTIL(c, answers[i].calls == 1);
		assert_int_equal(answers[i].code, 0);
	}
	(void)must_propose(&c->nodes[3]);
	assert_digests_equal(c);
	et_cat_status_update(c->nodes[3].catalog);
	et_catalog_status(c->nodes[3].catalog, &s);
	assert_int_equal(s.member_count, 4);
	assert_int_equal(s.voters, 4);
}

static void the_leader_is_removed(void **state)
{
	struct cluster *c = *state;
	struct node *old = led(c);

	/* It hands over first; the new leader does the rest. */
	assert_int_equal(change(c, et_catalog_remove, old, old->id), ET_ENOTLEADER);
	RUN_UNTIL(c, leader_of(c) != NULL && leader_of(c) != old);
	struct node *leader = leader_of(c);
	int code = ET_ENOTLEADER;
	while (code == ET_ENOTLEADER) {
		code = change(c, et_catalog_remove, led(c), old->id);
	}
	assert_int_equal(code, 0);
	leader = led(c);
	assert_null(et_cat_server(leader->catalog, old->id));
	assert_int_equal(change(c, et_catalog_remove, leader, old->id), 0);
	uint64_t term = leader->catalog->raft.current_term;
	(void)must_propose(leader);
	/* Left running, it disturbs nobody. */
	int64_t until = et_clock_mono_us() + 2000000;
	RUN_UNTIL(c, et_clock_mono_us() > until);
	assert_int_equal(leader->catalog->raft.current_term, term);
	node_close(old);
	(void)must_propose(leader);
	assert_digests_equal(c);
}

static void refuses_what_would_hurt(void **state)
{
	struct cluster *c = *state;
	struct node *leader = led(c);
	struct node *other = leader == &c->nodes[0] ? &c->nodes[1] : &c->nodes[0];

	assert_int_equal(change(c, et_catalog_remove, other, leader->id), ET_ENOTLEADER);
	assert_int_equal(assign(c, leader, 77, ET_CATALOG_VOTER), ET_ENOTFOUND);
	assert_int_equal(add(c, leader, 9, "no address"), ET_EMALFORMED);
	assert_int_equal(change(c, et_catalog_transfer, leader, 77), ET_ENOTFOUND);
	for (uint64_t id = 1; id <= 3; id++) {
		if (id != leader->id) {
			assert_int_equal(change(c, et_catalog_remove, leader, id), 0);
		}
	}
	assert_int_equal(change(c, et_catalog_remove, leader, leader->id), ET_EREFUSED);
	assert_int_equal(assign(c, leader, leader->id, ET_CATALOG_STANDBY), ET_EREFUSED);
	(void)must_propose(leader);
}

static void leadership_is_handed_over_under_load(void **state)
{
	struct cluster *c = *state;
	static struct answer answers[900];

	memset(answers, 0, sizeof(answers));
	for (size_t i = 0; i < ET_ARRAY_SIZE(answers); i++) {
		propose_noop(&c->nodes[i % 3], "load", 0, 30000, &answers[i]);
		if (i % 300 == 150) {
			struct node *leader = led(c);
			uint64_t to = leader->id % 3 + 1;
			int code = change(c, et_catalog_transfer, leader, to);
			assert_true(code == 0 || code == ET_EUNREACHABLE || code == ET_ENOTLEADER);
		}
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(answers); i++) {
		RUN_UNTIL(c, answers[i].calls == 1);
		assert_int_equal(answers[i].code, 0);
	}
	assert_digests_equal(c);
}

static void a_dead_node_is_replaced(void **state)
{
	struct cluster *c = *state;
	struct node *leader = led(c);
	struct node *dead = leader == &c->nodes[2] ? &c->nodes[1] : &c->nodes[2];

	node_close(dead);
	catalog_open(&c->nodes[3]);
	assert_int_equal(add(c, leader, 4, c->nodes[3].address), 0);
	assert_int_equal(assign(c, leader, 4, ET_CATALOG_VOTER), 0);
	assert_int_equal(change(c, et_catalog_remove, leader, dead->id), 0);
	(void)must_propose(&c->nodes[3]);
	assert_digests_equal(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_node_joins_while_others_write), TEST(the_leader_is_removed),
		TEST(refuses_what_would_hurt),	       TEST(leadership_is_handed_over_under_load),
		TEST(a_dead_node_is_replaced),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
