/* Tails of segments that grow, are cut and end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replication/sync/test/tails.h"

static void keeps_what_an_open_segment_grows_and_fetches_the_rest(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;

	pair_start(c, &prg, &brq);
	size_t segment = segment_open(c, prg, &g);
	for (int i = 0; i < 6; i++) {
		tape_grow(&g, 1 + (uint32_t)i * 7, 16000);
		run_until(c, tail_size(c, brq, segment) == tape_size(c, prg, segment));
		assert_is_prefix(c, prg, brq, segment);
	}
	assert_int_equal(files_in(brq, "incoming"), 0); /* It is no copy, and looks like none. */
	assert_int_equal(tape_size(c, brq, segment), 0);
	assert_int_equal(c->proposals, 0);
	run_until(c, tails_of(brq).bytes == tape_size(c, prg, segment));
	run_until(c, tails_of(brq).count == 1 && tails_of(prg).count == 0);
	uint64_t before = site_of(brq, "prg").received_bytes;
	assert_true(before < tape_size(c, prg, segment) + 2 * 16500); /* Each byte once. */

	segment_end(c, segment, &g);
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, prg, brq, segment);
	run_until(c, is_settled(brq));
	assert_int_equal(files_in(brq, "tails"), 0);
	assert_int_equal(files_in(brq, "incoming"), 0);
	run_until(c, tails_of(brq).handed_over == 1 && tails_of(brq).count == 0);
	/* The footer came then, and no record again. */
	assert_true(site_of(brq, "prg").received_bytes < before + 16000);
	assert_int_equal(site_of(brq, "prg").errors, 0);
	assert_int_equal(tails_of(brq).errors, 0);
}

static void goes_on_after_a_restart_of_either_side(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;

	pair_start(c, &prg, &brq);
	size_t segment = segment_open(c, prg, &g);
	tape_grow(&g, 30, 16000);
	run_until(c, tail_size(c, brq, segment) == tape_size(c, prg, segment));
	sync_stop(brq);
	tape_grow(&g, 3, 16000);
	sync_start(brq); /* The scan finds it, and the file of before. */
	run_until(c, tail_size(c, brq, segment) == tape_size(c, prg, segment));
	run_until(c, tails_of(brq).bytes == tape_size(c, prg, segment));
	assert_true(site_of(brq, "prg").received_bytes < 5 * 16500);
	sync_stop(prg);
	tape_grow(&g, 3, 16000);
	sync_start(prg);
	run_until(c, tail_size(c, brq, segment) == tape_size(c, prg, segment));
	assert_is_prefix(c, prg, brq, segment);
	sync_stop(brq);
	segment_end(c, segment, &g); /* It is sealed while brq is away. */
	sync_start(brq);
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, prg, brq, segment);
	assert_int_equal(files_in(brq, "tails"), 0);
	assert_true(site_of(brq, "prg").received_bytes < 16000);
}

static void takes_a_tail_that_rotted_for_no_more_than_it_is(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;
	char path[600];
	char name[300];

	pair_start(c, &prg, &brq);
	size_t segment = segment_open(c, prg, &g);
	tape_grow(&g, 30, 1000);
	run_until(c, tail_size(c, brq, segment) == tape_size(c, prg, segment));
	tail_name(c, segment, name);
	(void)snprintf(path, sizeof(path), "%s/%s", brq->media, name);
	sync_stop(brq);
	flip(path, 5000); /* While nobody looks: the prefix before it is kept. */
	sync_start(brq);
	run_until(c, tails_of(brq).bytes == tape_size(c, prg, segment));
	assert_is_prefix(c, prg, brq, segment);
	flip(path, 9000); /* Behind its back: the leaf hashes find it. */
	segment_end(c, segment, &g);
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, prg, brq, segment);

	segment = segment_open(c, prg, &g); /* Another, whose tail somebody removes. */
	tape_grow(&g, 3, 1000);
	run_until(c, tail_size(c, brq, segment) == tape_size(c, prg, segment));
	tail_name(c, segment, name);
	(void)snprintf(path, sizeof(path), "%s/%s", brq->media, name);
	assert_int_equal(unlink(path), 0);
	tape_grow(&g, 3, 1000);
	run_until(c, tail_size(c, brq, segment) == tape_size(c, prg, segment));
	assert_is_prefix(c, prg, brq, segment);
	segment_end(c, segment, &g);
	run_until(c, fake_has(&c->state, segment, brq->id));
}

static void tails_more_than_one_question_holds(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	enum { OPEN = 300 };
	static struct tape_growing g[OPEN];
	size_t segments[OPEN];

	pair_start(c, &prg, &brq);
	for (size_t i = 0; i < OPEN; i++) {
		segments[i] = segment_open(c, prg, &g[i]);
		tape_grow(&g[i], 2, 500);
	}
	/* One is far behind the others; all take turns. */
	tape_grow(&g[7], 100, 16000);
	for (size_t i = 0; i < OPEN; i++) {
		run_until(c, tail_size(c, brq, segments[i]) == tape_size(c, prg, segments[i]));
		assert_is_prefix(c, prg, brq, segments[i]);
	}
	run_until(c, tails_of(brq).count == OPEN);
	for (size_t i = 0; i < OPEN; i++) {
		segment_end(c, segments[i], &g[i]);
	}
	run_until(c, c->state.copy_count == (size_t)(2 * OPEN));
	run_until(c, is_settled(brq));
	run_until(c, tails_of(brq).handed_over == OPEN);
	assert_int_equal(files_in(brq, "tails"), 0);
	assert_int_equal(files_in(brq, "incoming"), 0);
	assert_same_file(c, prg, brq, segments[7]);
}

static void one_node_of_a_site_tails(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g[8];
	size_t segments[8];

	c->tuning.stand_in_ms = DEADLINE_MS; /* However slow the machine, nobody stands in. */
	pair_start(c, &prg, &brq);
	struct node *prg2 = node_add(c, "prg");
	struct node *brq2 = node_add(c, "brq");
	sync_start(prg2);
	sync_start(brq2);
	run_until(c, status_of(brq2).scanned_index > 0 && status_of(prg2).scanned_index > 0);
	for (size_t i = 0; i < 8; i++) {
		segments[i] = segment_open(c, prg, &g[i]);
		tape_grow(&g[i], 2, 500);
	}
	run_until(c, tails_of(brq).count + tails_of(brq2).count == 8);
	for (size_t i = 0; i < 8; i++) {
		run_until(c, tail_size(c, brq, segments[i]) + tail_size(c, brq2, segments[i]) ==
				     tape_size(c, prg, segments[i]));
		segment_end(c, segments[i], &g[i]);
	}
	run_until(c, c->state.copy_count == 16);
	assert_int_equal(files_in(prg2, "tails"), 0); /* Its site has the owner's. */
	run_until(c, tails_of(brq).handed_over + tails_of(brq2).handed_over == 8);
}

static void heeds_a_limit_of_its_class(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;

	pair_start(c, &prg, &brq);
	policy_set(c, "  - {to: brq, rate: 100KiB, class: tail}\n");
	run_until(c, status_of(brq).limits_revision == c->state.policy_revision);
	size_t segment = segment_open(c, prg, &g);
	int64_t begin = et_clock_mono_us();
	tape_grow(&g, 32, 16000); /* 512 kB */
	run_until(c, tail_size(c, brq, segment) == tape_size(c, prg, segment));
	assert_true(et_clock_mono_us() - begin > 1000000);
	segment_end(c, segment, &g);
	run_until(c, fake_has(&c->state, segment, brq->id));
}

static void is_off_when_it_is_not_asked_for(void **state)
{
	struct cluster *c = *state;
	struct node *prg = NULL;
	struct node *brq = NULL;
	struct tape_growing g;

	size_t segment = pair_tailed(c, &prg, &brq, &g);
	sync_stop(brq);
	c->tuning.tail_ms = 0;
	sync_start(brq);
	size_t sealed = segment_seal(c, prg, 3, 1000);
	run_until(c, fake_has(&c->state, sealed, brq->id));
	assert_false(tails_of(brq).on);
	run_until(c, tails_of(brq).count == 0 && tails_of(brq).kept == 1);
	segment_end(c, segment, &g); /* What is there from before still serves. */
	run_until(c, fake_has(&c->state, segment, brq->id));
	assert_same_file(c, prg, brq, segment);
	run_until(c, tails_of(brq).handed_over == 1);
}

static void stops_at_any_moment(void **state)
{
	struct cluster *c = *state;
	struct node *prg = node_add(c, "prg");
	struct node *brq = node_add(c, "brq");
	enum { OPEN = 20 };
	static struct tape_growing g[OPEN];
	size_t segments[OPEN];

	c->tuning.tail_ms = 1;
	for (size_t i = 0; i < OPEN; i++) {
		segments[i] = segment_open(c, prg, &g[i]);
	}
	for (int round = 0; round < 12; round++) {
		sync_start(prg);
		sync_start(brq);
		for (size_t i = 0; i < OPEN; i++) {
			tape_grow(&g[i], 3, 16000);
		}
		int64_t until = et_clock_mono_us() + round * 9000;
		run_until(c, et_clock_mono_us() >= until);
		if (round < 10) {
			segment_end(c, segments[round], &g[round]);
			g[round] = (struct tape_growing){ 0 };
			segments[round] = segment_open(c, prg, &g[round]);
		}
		sync_stop(round % 2 == 0 ? prg : brq);
		sync_stop(round % 2 == 0 ? brq : prg);
	}
	sync_start(prg);
	sync_start(brq);
	for (size_t i = 0; i < OPEN; i++) {
		run_until(c, tail_size(c, brq, segments[i]) == tape_size(c, prg, segments[i]));
		assert_is_prefix(c, prg, brq, segments[i]);
		segment_end(c, segments[i], &g[i]);
	}
	run_until(c, c->state.copy_count == 2 * c->state.segment_count);
	run_until(c, is_settled(brq));
	assert_int_equal(files_in(brq, "tails"), 0);
	assert_int_equal(files_in(brq, "incoming"), 0);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, cluster_open, cluster_close)
	const struct CMUnitTest tests[] = {
		TEST(keeps_what_an_open_segment_grows_and_fetches_the_rest),
		TEST(goes_on_after_a_restart_of_either_side),
		TEST(takes_a_tail_that_rotted_for_no_more_than_it_is),
		TEST(tails_more_than_one_question_holds),
		TEST(one_node_of_a_site_tails),
		TEST(heeds_a_limit_of_its_class),
		TEST(is_off_when_it_is_not_asked_for),
		TEST(stops_at_any_moment),
	};
	if (argc > 1) {
		cmocka_set_test_filter(argv[1]); /* One of them, by name. */
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
