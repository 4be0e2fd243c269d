#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/catalog/test/fixture.h"

#define MIB (UINT64_C(1) << 20)
#define RESERVE (64 * MIB)

/* Each node's disk, as it is told. */
static uint64_t free_of[NODES_MAX + 1];

static uint64_t probe(const struct et_catalog *c)
{
	return free_of[c->node];
}

/* A cluster of `count` whose disks are watched, and have room. */
static struct cluster *watched_open(size_t count)
{
	struct cluster *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	cluster_open(c, count);
	cluster_form(c);
	for (size_t i = 0; i < count; i++) {
		struct et_catalog *k = c->nodes[i].catalog;
		free_of[i + 1] = 1000 * MIB;
		k->space.probe = probe;
		k->space.reserve = RESERVE;
		(void)snprintf(k->space.path, sizeof(k->space.path), "%s/reserve",
			       c->nodes[i].folder);
	}
	return c;
}

static bool is_full(struct node *n)
{
	struct et_catalog_status s;

	et_catalog_status(n->catalog, &s);
	return s.space_full;
}

static bool refuses(struct node *n)
{
	struct et_catalog_status s;

	et_catalog_status(n->catalog, &s);
	return s.disk_full;
}

static int code_of_proposal(struct node *n, uint32_t timeout_ms)
{
	struct answer a = { 0 };

	propose_noop(n, "space", 0, timeout_ms, &a);
	RUN_UNTIL(n->cluster, a.calls == 1);
	return a.code;
}

static bool has_file(const struct node *n)
{
	return access(n->catalog->space.path, F_OK) == 0;
}

static void the_only_voter_refuses_until_there_is_room(void **state)
{
	struct cluster *c = watched_open(1);
	struct node *n = &c->nodes[0];

	(void)state;
	RUN_UNTIL(c, n->catalog->space.held);
	assert_true(has_file(n));
	assert_int_equal(code_of_proposal(n, 0), 0);
	uint64_t last = raft_last_index(&n->catalog->raft);

	free_of[1] = 31 * MIB; /* With the file that is 63: below the reserve. */
	RUN_UNTIL(c, is_full(n) && refuses(n));
	assert_true(has_file(n));
	assert_int_equal(code_of_proposal(n, 0), -ENOSPC);
	free_of[1] = 15 * MIB; /* Nearly all is gone: the file is given up. */
	RUN_UNTIL(c, !has_file(n));
	assert_int_equal(code_of_proposal(n, 0), -ENOSPC);
	assert_int_equal(raft_last_index(&n->catalog->raft), last); /* In no log. */

	free_of[1] = 70 * MIB; /* Not yet: it would be full again at once. */
	for (int i = 0; i < 200; i++) {
		(void)uv_run(&c->loop, UV_RUN_ONCE);
	}
	assert_true(is_full(n));
	free_of[1] = 80 * MIB;
	RUN_UNTIL(c, !is_full(n) && !refuses(n) && n->catalog->space.held);
	assert_true(has_file(n));
	assert_int_equal(code_of_proposal(n, 0), 0);
	cluster_close(c);
	free(c);
}

static void a_full_follower_is_left_behind_and_comes_back(void **state)
{
	struct cluster *c = watched_open(3);
	struct node *leader = NULL;

	(void)state;
	RUN_UNTIL(c, (leader = leader_of(c)) != NULL);
	struct node *follower = leader == &c->nodes[0] ? &c->nodes[1] : &c->nodes[0];
	free_of[follower->id] = MIB;
	RUN_UNTIL(c, is_full(follower));
	uint64_t term = leader->catalog->raft.current_term;
	uint64_t stored = raft_last_index(&follower->catalog->raft);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(code_of_proposal(leader, 0), 0);
	}
	assert_int_equal(raft_last_index(&follower->catalog->raft), stored); /* It took nothing. */
	assert_int_equal(leader->catalog->raft.current_term, term); /* And called no election. */
	free_of[follower->id] = 1000 * MIB;
	assert_digests_equal(c);
	assert_true(raft_last_index(&follower->catalog->raft) > stored);
	cluster_close(c);
	free(c);
}

static void a_full_leader_hands_over(void **state)
{
	struct cluster *c = watched_open(3);
	struct node *leader = NULL;

	(void)state;
	RUN_UNTIL(c, (leader = leader_of(c)) != NULL);
	struct node *old = leader;
	free_of[old->id] = MIB;
	RUN_UNTIL(c, (leader = leader_of(c)) != NULL && leader != old);
	assert_int_equal(code_of_proposal(leader, 0), 0);
	free_of[old->id] = 1000 * MIB;
	assert_digests_equal(c);
	cluster_close(c);
	free(c);
}

static void without_a_majority_with_room_everybody_is_told(void **state)
{
	struct cluster *c = watched_open(3);

	(void)state;
	for (size_t i = 1; i <= 3; i++) {
		free_of[i] = MIB;
	}
	RUN_UNTIL(c, leader_of(c) != NULL && refuses(leader_of(c)));
	/* The leader, and those who must ask it. */
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(code_of_proposal(&c->nodes[i], 20000), -ENOSPC);
	}
	for (size_t i = 1; i <= 3; i++) {
		free_of[i] = 1000 * MIB;
	}
	RUN_UNTIL(c, leader_of(c) != NULL && !refuses(leader_of(c)));
	for (size_t i = 0; i < 3; i++) {
		int code = -ENOSPC; /* What a node was told last holds for a moment. */
		while (code == -ENOSPC) {
			code = code_of_proposal(&c->nodes[i], 20000);
		}
		assert_int_equal(code, 0);
	}
	assert_digests_equal(c);
	cluster_close(c);
	free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_only_voter_refuses_until_there_is_room),
		cmocka_unit_test(a_full_follower_is_left_behind_and_comes_back),
		cmocka_unit_test(a_full_leader_hands_over),
		cmocka_unit_test(without_a_majority_with_room_everybody_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
