/* Tails of nodes that are gone: they become the segments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replication/sync/test/tails.h"

static void keeps_what_it_has_of_a_node_that_is_gone(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;

	size_t segment = pair_tailed(c, &prg, &brq, &g);
	sync_stop(prg);
	run_until(c, tails_of(brq).lag_ms > 200);
	node_remove(c, prg);
	run_until(c, tails_of(brq).kept == 1);
	assert_int_equal(tails_of(brq).kept_bytes, tape_size(c, prg, segment));
	assert_int_equal(tails_of(brq).lag_ms, 0); /* Nothing is followed. */
	assert_is_prefix(c, prg, brq, segment);
	sync_stop(brq);
	sync_start(brq);
	run_until(c, tails_of(brq).kept == 1);
	assert_is_prefix(c, prg, brq, segment);
	tape_end(&g, &c->state.segments[segment]);
}

static void seals_what_it_has_of_a_node_that_is_gone(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g[3];
	size_t segments[3];
	struct tape_made seal;

	c->state.schema = 3;
	c->refuse_quorum = 2;
	pair_start(c, &prg, &brq);
	struct node *ova = node_add(c, "ova"); /* tails them, too */
	for (size_t i = 0; i < 3; i++) {
		segments[i] = segment_open(c, prg, &g[i]);
		tape_grow(&g[i], 5 + (uint32_t)i, 1000);
	}
	run_until(c, tails_of(brq).bytes > 0 && tails_of(brq).count == 3);
	for (size_t i = 0; i < 3; i++) {
		run_until(c, tail_size(c, brq, segments[i]) == tape_size(c, prg, segments[i]));
	}
	run_until(c, tails_of(brq).lag_ms > 100 || tails_of(brq).lag_ms == 0);
	sync_stop(prg);
	node_remove(c, prg);
	for (size_t i = 0; i < 3; i++) {
		run_until(c, fake_has(&c->state, segments[i], brq->id));
		assert_int_equal(c->state.segments[segments[i]].expect.records, 5 + i);
	}
	run_until(c, c->closes == 3);
	for (size_t i = 0; i < 3; i++) { /* the last record of each */
		assert_int_equal(c->state.ended_us[segments[i]] / 1000000, 4 + i);
	}
	run_until(c, tails_of(brq).kept == 0 && tails_of(brq).sealed == 3);
	assert_int_equal(files_in(brq, "tails"), 0);
	sync_start(ova); /* It is a segment as any other. */
	for (size_t i = 0; i < 3; i++) {
		run_until(c, fake_has(&c->state, segments[i], ova->id));
		assert_same_file(c, brq, ova, segments[i]);
		tape_end(&g[i], &seal);
	}
}

/* The last segment first: with it the recording is closed. */
static void ends_a_recording_of_several_segments_where_the_last_ends(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g[3];
	struct tape_made tapes[3];
	size_t segments[3];
	uint8_t recording[16];

	c->state.schema = 3;
	pair_start(c, &prg, &brq);
	et_uuid7(recording);
	for (uint32_t i = 0; i < 3; i++) {
		tape_begin_of(prg->media, recording, i + 1, &g[i], &tapes[i]);
		tape_grow(&g[i], 5 + i, 1000);
		segments[i] = segment_tell_open(c, prg, &tapes[i]);
	}
	uint64_t bytes = 0;
	for (size_t i = 0; i < 3; i++) {
		bytes += tape_size(c, prg, segments[i]);
	}
	run_until(c, tails_of(brq).bytes == bytes);
	sync_stop(prg);
	node_remove(c, prg);
	for (size_t i = 0; i < 3; i++) {
		run_until(c, fake_has(&c->state, segments[i], brq->id));
	}
	run_until(c, tails_of(brq).kept == 0 && tails_of(brq).sealed == 3);
	assert_int_equal(c->closes, 3); /* Those of the others are refused. */
	assert_int_equal(c->state.ended_us[segments[0]] / 1000000, 6);
	for (size_t i = 0; i < 3; i++) {
		tape_end(&g[i], &tapes[i]);
	}
}

static void waits_for_the_schema_to_seal(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;
	struct tape_made seal;

	c->state.schema = 2;
	size_t segment = pair_tailed(c, &prg, &brq, &g);
	sync_stop(prg);
	node_remove(c, prg);
	run_until(c, tails_of(brq).kept == 1);
	sync_stop(brq);
	sync_start(brq);
	run_until(c, tails_of(brq).kept == 1);
	assert_int_equal(c->seals, 0);
	c->state.schema = 3;
	sync_stop(brq);
	sync_start(brq);
	run_until(c, fake_has(&c->state, segment, brq->id) && c->closes == 1);
	tape_end(&g, &seal);
}

static void gives_way_to_the_seal_of_another(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;
	struct tape_made seal;

	c->state.schema = 3;
	struct node *ova = trio_start(c, &prg, &brq);
	size_t segment = segment_open(c, prg, &g);
	tape_grow(&g, 5, 1000);
	run_until(c, tails_of(brq).bytes == tape_size(c, prg, segment));
	run_until(c, tails_of(ova).bytes == tape_size(c, prg, segment));
	sync_stop(brq); /* It is away while the call goes on, and ova seals more than it has. */
	tape_grow(&g, 3, 1000);
	run_until(c, tails_of(ova).bytes == tape_size(c, prg, segment));
	sync_stop(prg);
	node_remove(c, prg);
	run_until(c, fake_has(&c->state, segment, ova->id));
	assert_int_equal(c->state.segments[segment].expect.records, 8);
	sync_start(brq);
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, ova, brq, segment);
	assert_int_equal(files_in(brq, "tails"), 0);
	tape_end(&g, &seal);
}

/* A tail of five records whose source is gone; its seal finds no quorum. */
static size_t seal_without_quorum(struct cluster *c, struct node *prg, struct node *brq,
				  struct tape_growing *g)
{
	size_t segment = segment_open(c, prg, g);

	tape_grow(g, 5, 1000);
	run_until(c, tails_of(brq).bytes == tape_size(c, prg, segment));
	sync_stop(prg);
	c->refuse_quorum = INT32_MAX;
	node_remove(c, prg);
	run_until(c, tape_size(c, brq, segment) > 0 && c->refuse_quorum < INT32_MAX);
	assert_int_equal(tail_size(c, brq, segment), 0);     /* It lies where copies lie, */
	assert_false(fake_has(&c->state, segment, brq->id)); /* and is none yet. */
	return segment;
}

static void tells_a_seal_again_after_a_kill(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;
	struct tape_made seal;

	c->state.schema = 3;
	pair_start(c, &prg, &brq);
	size_t segment = seal_without_quorum(c, prg, brq, &g);
	sync_stop(brq);
	c->refuse_quorum = 0;
	sync_start(brq);
	run_until(c, fake_has(&c->state, segment, brq->id) && c->closes == 1);
	run_until(c, tails_of(brq).kept == 0 && tails_of(brq).sealed == 1);
	tape_end(&g, &seal);
}

/* It is killed between the two commands. */
static void closes_what_it_sealed_before_a_kill(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;
	struct tape_made seal;

	c->state.schema = 3;
	c->refuse_closes = true;
	size_t segment = pair_tailed(c, &prg, &brq, &g);
	sync_stop(prg);
	node_remove(c, prg);
	run_until(c, fake_has(&c->state, segment, brq->id));
	sync_stop(brq);
	c->refuse_closes = false;
	assert_int_equal(c->closes, 0);
	sync_start(brq);
	run_until(c, c->closes == 1);
	assert_int_equal(c->state.ended_us[segment] / 1000000, 4);
	run_until(c, tails_of(brq).kept == 0);
	assert_true(tape_size(c, brq, segment) > 0);
	assert_int_equal(files_in(brq, "quarantine"), 0);
	tape_end(&g, &seal);
}

/* ova seals what it has; brq comes back with more, takes that seal's tape and keeps its own aside.
 */
static void sealed_by_another(struct cluster *c, struct node *ova, struct node *brq, size_t segment,
			      uint64_t longer)
{
	sync_start(ova);
	run_until(c, fake_has(&c->state, segment, ova->id));
	sync_start(brq);
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, ova, brq, segment);
	assert_int_equal(files_in(brq, "tails"), 0);
	assert_int_equal(files_in(brq, "quarantine"), 1);
	assert_int_equal(quarantined_size(brq), longer);
}

static void keeps_aside_a_tail_that_is_longer_than_the_seal(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;
	struct tape_made seal;

	c->state.schema = 3;
	struct node *ova = trio_start(c, &prg, &brq);
	size_t segment = segment_open(c, prg, &g);
	tape_grow(&g, 5, 1000);
	run_until(c, tails_of(ova).bytes == tape_size(c, prg, segment));
	sync_stop(ova); /* The one that is to seal it has less. */
	tape_grow(&g, 3, 1000);
	run_until(c, tails_of(brq).bytes == tape_size(c, prg, segment));
	uint64_t longer = tail_size(c, brq, segment);
	sync_stop(brq);
	sync_stop(prg);
	node_remove(c, prg);
	sealed_by_another(c, ova, brq, segment, longer);
	assert_int_equal(c->state.segments[segment].expect.records, 5);
	tape_end(&g, &seal);
}

/* ... or another is sealed while it lies where copies lie, and this node is away. */
static void writes_over_no_tail_that_lies_where_copies_lie(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;
	struct tape_made seal;

	c->state.schema = 3;
	struct node *ova = trio_start(c, &prg, &brq);
	size_t segment = segment_open(c, prg, &g);
	tape_grow(&g, 3, 1000);
	run_until(c, tails_of(ova).bytes == tape_size(c, prg, segment));
	sync_stop(ova);
	tape_grow(&g, 5, 1000);
	run_until(c, tails_of(brq).bytes == tape_size(c, prg, segment));
	sync_stop(prg);
	c->refuse_quorum = INT32_MAX;
	node_remove(c, prg);
	run_until(c, tape_size(c, brq, segment) > 0 && c->refuse_quorum < INT32_MAX);
	uint64_t longer = tape_size(c, brq, segment);
	sync_stop(brq);
	c->refuse_quorum = 0;
	sealed_by_another(c, ova, brq, segment, longer);
	tape_end(&g, &seal);
}

static void keeps_aside_what_came_too_late(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;
	struct tape_made seal;

	c->state.schema = 3;
	pair_start(c, &prg, &brq);
	size_t segment = seal_without_quorum(c, prg, brq, &g);
	pthread_mutex_lock(&c->state.mutex); /* Somebody else has sealed another tail of it. */
	c->state.open[segment] = false;
	c->state.segments[segment].expect.root[0] ^= 1;
	pthread_mutex_unlock(&c->state.mutex);
	c->refuse_quorum = 0;
	run_until(c, files_in(brq, "quarantine") == 1);
	assert_int_equal(tape_size(c, brq, segment), 0);
	assert_int_equal(c->closes, 0);
	assert_int_equal(tails_of(brq).sealed, 0);
	tape_end(&g, &seal);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, cluster_open, cluster_close)
	const struct CMUnitTest tests[] = {
		TEST(keeps_what_it_has_of_a_node_that_is_gone),
		TEST(seals_what_it_has_of_a_node_that_is_gone),
		TEST(ends_a_recording_of_several_segments_where_the_last_ends),
		TEST(waits_for_the_schema_to_seal),
		TEST(gives_way_to_the_seal_of_another),
		TEST(tells_a_seal_again_after_a_kill),
		TEST(closes_what_it_sealed_before_a_kill),
		TEST(keeps_aside_a_tail_that_is_longer_than_the_seal),
		TEST(writes_over_no_tail_that_lies_where_copies_lie),
		TEST(keeps_aside_what_came_too_late),
	};
	if (argc > 1) {
		cmocka_set_test_filter(argv[1]); /* One of them, by name. */
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
