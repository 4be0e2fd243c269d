#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "replication/plan/plan.h"

/* A generator of our own: the same worlds in every run. */
static uint64_t seed;

static uint64_t next_random(void)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return seed >> 33;
}

static const char *const site_names[] = { "brq", "ova", "prg", "zlin" };

struct world {
	struct et_plan_node nodes[24];
	struct et_plan_copy copies[24];
	struct et_plan plan;
};

static void world_make(struct world *w)
{
	memset(w, 0, sizeof(*w));
	size_t nodes = 1 + next_random() % 20;
	size_t sites = 1 + next_random() % 4;
	for (size_t i = 0; i < nodes; i++) {
		bool serves = next_random() % 8 != 0;
		w->nodes[i] = (struct et_plan_node){
			.id = i + 1,
			.site = site_names[next_random() % sites],
			.serves = serves,
			.accepts = serves && next_random() % 6 != 0,
		};
	}
	for (size_t i = 0; i < sizeof(w->plan.recording); i++) {
		w->plan.recording[i] = (uint8_t)next_random();
	}
	w->plan.generation = 1;
	w->plan.segment = 1 + (uint32_t)(next_random() % 5);
	w->plan.owner = 1 + next_random() % nodes;
	w->plan.copies = (uint32_t)(next_random() % 3);
	w->plan.nodes = w->nodes;
	w->plan.node_count = nodes;
	w->plan.held = w->copies;
	w->copies[0] = (struct et_plan_copy){ w->plan.owner, ET_PLAN_COPY_HELD };
	w->plan.held_count = 1;
	for (size_t i = next_random() % 4; i > 0; i--) {
		w->copies[w->plan.held_count++] =
			(struct et_plan_copy){ 1 + next_random() % nodes,
					       (enum et_plan_copy_state)(next_random() % 3) };
	}
}

static bool is_missing(const struct et_plan *plan, const char *site)
{
	const char *missing[ET_PLAN_SITES_MAX];
	size_t count = et_plan_missing(plan, missing);
	for (size_t i = 0; i < count; i++) {
		if (strcmp(missing[i], site) == 0) {
			return true;
		}
	}
	return false;
}

static size_t first_choices(const struct et_plan *plan, const char *site, uint64_t *ret_node)
{
	size_t count = 0;
	for (size_t i = 0; i < plan->node_count; i++) {
		if (strcmp(plan->nodes[i].site, site) == 0 &&
		    et_plan_turn(plan, plan->nodes[i].id) == 0) {
			*ret_node = plan->nodes[i].id;
			count++;
		}
	}
	return count;
}

static void knows_who_stores(void **state)
{
	(void)state;
	static const char *const capture[] = { "voter", "capture" };
	static const char *const api[] = { "voter", "api" };
	static const char *const witness[] = { "capture", "vault", "witness" };
	static const char *const store[] = { "store" };

	assert_true(et_plan_stores(capture, 2));
	assert_false(et_plan_stores(api, 2));
	assert_false(et_plan_stores(witness, 3));
	assert_true(et_plan_stores(store, 1));
	assert_false(et_plan_stores(NULL, 0));
}

static struct et_plan three_nodes(struct et_plan_node nodes[3], struct et_plan_copy *copy)
{
	nodes[0] = (struct et_plan_node){ 1, "prg", true, true };
	nodes[1] = (struct et_plan_node){ 2, "prg", true, true };
	nodes[2] = (struct et_plan_node){ 3, "brq", true, true };
	*copy = (struct et_plan_copy){ 1, ET_PLAN_COPY_HELD };
	return (struct et_plan){ .nodes = nodes,
				 .node_count = 3,
				 .generation = 1,
				 .segment = 1,
				 .owner = 1,
				 .held = copy,
				 .held_count = 1 };
}

static void counts_the_owners_copy_for_its_site(void **state)
{
	(void)state;
	struct et_plan_node nodes[3];
	struct et_plan_copy copy;
	struct et_plan plan = three_nodes(nodes, &copy);
	const char *missing[ET_PLAN_SITES_MAX];

	assert_int_equal(et_plan_missing(&plan, missing), 1);
	assert_string_equal(missing[0], "brq");
	assert_int_equal(et_plan_turn(&plan, 1), ET_PLAN_NO_TURN);
	assert_int_equal(et_plan_turn(&plan, 2), ET_PLAN_NO_TURN);
	assert_int_equal(et_plan_turn(&plan, 3), 0);
}

static void does_not_bring_back_what_was_released(void **state)
{
	(void)state;
	struct et_plan_node nodes[3];
	struct et_plan_copy first;
	struct et_plan plan = three_nodes(nodes, &first);
	struct et_plan_copy copies[2] = { first, { 3, ET_PLAN_COPY_RELEASED } };
	const char *missing[ET_PLAN_SITES_MAX];

	plan.held = copies;
	plan.held_count = 2;
	assert_int_equal(et_plan_missing(&plan, missing), 0);
	assert_int_equal(et_plan_turn(&plan, 3), ET_PLAN_NO_TURN);

	/* Bad is not released: it comes back. */
	copies[1].state = ET_PLAN_COPY_USELESS;
	assert_int_equal(et_plan_turn(&plan, 3), 0);

	/* Moved to the archive altogether: nothing is missing anywhere. */
	copies[0].state = ET_PLAN_COPY_RELEASED;
	plan.archived = true;
	assert_int_equal(et_plan_missing(&plan, missing), 0);
	assert_int_equal(et_plan_turn(&plan, 3), ET_PLAN_NO_TURN);
	uint64_t sources[4];
	assert_int_equal(et_plan_sources(&plan, 3, sources, 4), 1);
	assert_int_equal(sources[0], ET_PLAN_ARCHIVE);
}

static void asks_the_near_ones_first(void **state)
{
	(void)state;
	struct et_plan_node nodes[5] = { { 1, "prg", true, true },
					 { 2, "brq", true, true },
					 { 3, "brq", true, true },
					 { 4, "ova", true, true },
					 { 5, "ova", false, false } };
	struct et_plan_copy copies[4] = { { 1, ET_PLAN_COPY_HELD },
					  { 4, ET_PLAN_COPY_HELD },
					  { 3, ET_PLAN_COPY_HELD },
					  { 5, ET_PLAN_COPY_HELD } };
	struct et_plan plan = { .nodes = nodes,
				.node_count = 5,
				.generation = 1,
				.segment = 1,
				.owner = 1,
				.held = copies,
				.held_count = 4,
				.archived = true };
	uint64_t sources[8];

	assert_int_equal(et_plan_sources(&plan, 2, sources, 8), 4);
	assert_int_equal(sources[0], 3); /* of the same site */
	assert_int_equal(sources[1], 1); /* the owner */
	assert_int_equal(sources[2], 4);
	assert_int_equal(sources[3], ET_PLAN_ARCHIVE);

	/* Only the best fit when there is little room. */
	assert_int_equal(et_plan_sources(&plan, 2, sources, 2), 2);
	assert_int_equal(sources[0], 3);
	assert_int_equal(sources[1], 1);
}

static void serves_every_site_with_one_fetcher_for_each_missing_copy(void **state)
{
	(void)state;
	for (seed = 1; seed < 20000; seed += 2) {
		struct world w;
		uint64_t keep = seed; /* world_make() moves it. */
		world_make(&w);
		for (size_t s = 0; s < 4; s++) {
			const char *site = site_names[s];
			uint64_t node = 0;
			size_t chosen = first_choices(&w.plan, site, &node);
			if (!is_missing(&w.plan, site)) {
				assert_int_equal(chosen, 0);
			} else if (w.plan.copies <= 1) {
				assert_int_equal(chosen, 1);
			} else {
				assert_in_range(chosen, 1, w.plan.copies);
			}
		}
		/* When every chosen node has done its work, nothing is missing. */
		struct et_plan_copy all[64];
		size_t count = w.plan.held_count;
		memcpy(all, w.copies, count * sizeof(all[0]));
		for (size_t i = 0; i < w.plan.node_count; i++) {
			if (et_plan_turn(&w.plan, i + 1) == 0) {
				all[count++] = (struct et_plan_copy){ i + 1, ET_PLAN_COPY_HELD };
			}
		}
		w.plan.held = all;
		w.plan.held_count = count;
		const char *missing[ET_PLAN_SITES_MAX];
		assert_int_equal(et_plan_missing(&w.plan, missing), 0);
		seed = keep;
	}
}

static void gives_stand_ins_an_order_without_holes(void **state)
{
	(void)state;
	struct et_plan_node nodes[8];
	struct et_plan_copy copy = { 8, ET_PLAN_COPY_HELD };
	for (size_t i = 0; i < 8; i++) {
		nodes[i] = (struct et_plan_node){ i + 1, i < 7 ? "brq" : "prg", true, true };
	}
	struct et_plan plan = { .nodes = nodes,
				.node_count = 8,
				.segment = 1,
				.owner = 8,
				.held = &copy,
				.held_count = 1 };
	for (unsigned r = 0; r < 1000; r++) {
		unsigned seen = 0;
		plan.recording[0] = (uint8_t)r;
		plan.recording[15] = (uint8_t)(r >> 8);
		for (uint64_t n = 1; n <= 7; n++) {
			seen |= 1U << et_plan_turn(&plan, n);
		}
		assert_int_equal(seen, 0x7f);
	}
}

static void moves_little_when_a_node_comes(void **state)
{
	(void)state;
	struct et_plan_node nodes[6];
	struct et_plan_copy copy = { 6, ET_PLAN_COPY_HELD };
	for (size_t i = 0; i < 5; i++) {
		nodes[i] = (struct et_plan_node){ i + 1, "brq", true, true };
	}
	nodes[5] = (struct et_plan_node){ 6, "prg", true, true };
	struct et_plan plan = { .nodes = nodes,
				.node_count = 6,
				.segment = 1,
				.owner = 6,
				.held = &copy,
				.held_count = 1 };
	size_t moved = 0;
	size_t share[6] = { 0 };
	const size_t segments = 10000;
	for (size_t r = 0; r < segments; r++) {
		uint64_t before = 0;
		uint64_t after = 0;
		plan.recording[3] = (uint8_t)r;
		plan.recording[9] = (uint8_t)(r >> 8);
		nodes[4].accepts = false;
		assert_int_equal(first_choices(&plan, "brq", &before), 1);
		nodes[4].accepts = true;
		assert_int_equal(first_choices(&plan, "brq", &after), 1);
		if (before != after) {
			assert_int_equal(after, 5); /* only the new node takes anything */
			moved++;
		}
		share[after]++;
	}
	assert_in_range(moved, segments / 5 - 250, segments / 5 + 250);
	for (size_t n = 1; n <= 5; n++) {
		assert_in_range(share[n], segments / 5 - 250, segments / 5 + 250);
	}
}

static void keeps_its_choices_from_build_to_build(void **state)
{
	(void)state;
	/* Written down once: a change of the hash would move every pending fetch of a cluster whose
	 * nodes run different builds. */
	static const char expected[] = "4444232222233323";
	struct et_plan_node nodes[4] = { { 1, "prg", true, true },
					 { 2, "brq", true, true },
					 { 3, "brq", true, true },
					 { 4, "brq", true, true } };
	struct et_plan_copy copy = { 1, ET_PLAN_COPY_HELD };
	struct et_plan plan = { .nodes = nodes,
				.node_count = 4,
				.generation = 1,
				.segment = 1,
				.owner = 1,
				.held = &copy,
				.held_count = 1 };
	char got[17] = "";
	for (size_t r = 0; r < 16; r++) {
		uint64_t node = 0;
		plan.recording[0] = (uint8_t)r;
		assert_int_equal(first_choices(&plan, "brq", &node), 1);
		got[r] = (char)('0' + node);
	}
	assert_string_equal(got, expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_who_stores),
		cmocka_unit_test(counts_the_owners_copy_for_its_site),
		cmocka_unit_test(does_not_bring_back_what_was_released),
		cmocka_unit_test(asks_the_near_ones_first),
		cmocka_unit_test(serves_every_site_with_one_fetcher_for_each_missing_copy),
		cmocka_unit_test(gives_stand_ins_an_order_without_holes),
		cmocka_unit_test(moves_little_when_a_node_comes),
		cmocka_unit_test(keeps_its_choices_from_build_to_build),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
