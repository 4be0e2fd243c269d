#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/state/test/kit.h"

static int change_roles(struct kit *k, uint64_t node, const char *add, const char *remove,
			const char *expect, uint64_t seen)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__NodeRoles body = ET__NODE_ROLES__INIT;
	char texts[3][64];
	char *lists[3][4];
	const char *told[] = { add, remove, expect };
	size_t counts[3] = { 0 };

	for (size_t i = 0; i < 3; i++) {
		(void)snprintf(texts[i], sizeof(texts[i]), "%s", told[i]);
		for (char *p = strtok(texts[i], " "); p != NULL; p = strtok(NULL, " ")) {
			lists[i][counts[i]++] = p;
		}
	}
	body.node = node;
	body.add = lists[0];
	body.n_add = counts[0];
	body.remove = lists[1];
	body.n_remove = counts[1];
	body.expect = lists[2];
	body.n_expect = counts[2];
	body.seen_index = seen;
	c.body_case = ET__COMMAND__BODY_NODE_ROLES;
	c.node_roles = &body;
	return kit_apply(k, &c);
}

static int drain(struct kit *k, uint64_t node, bool draining, bool stop_capture)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__NodeDrain body = ET__NODE_DRAIN__INIT;

	body.node = node;
	body.draining = draining;
	body.stop_capture = stop_capture;
	c.body_case = ET__COMMAND__BODY_NODE_DRAIN;
	c.node_drain = &body;
	return kit_apply(k, &c);
}

static int take_out(struct kit *k, uint64_t node, uint64_t seen, bool loss, bool force)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__NodeRemove body = ET__NODE_REMOVE__INIT;

	body.node = node;
	body.seen_index = seen;
	body.loss_accepted = loss;
	body.force = force;
	c.body_case = ET__COMMAND__BODY_NODE_REMOVE;
	c.node_remove = &body;
	return kit_apply(k, &c);
}

static int grant(struct kit *k, uint64_t node, const char *secret)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__GrantAdd body = ET__GRANT_ADD__INIT;
	Et__Grant g = ET__GRANT__INIT;
	Et__Grant *list[] = { &g };
	char text[32];

	(void)snprintf(text, sizeof(text), "%s", secret);
	g.secret = text;
	g.node = node;
	g.enc = kit_hash(3);
	g.ciphertext = kit_bytes(48, 4);
	body.grants = list;
	body.n_grants = 1;
	c.body_case = ET__COMMAND__BODY_GRANT_ADD;
	c.grant_add = &body;
	return kit_apply(k, &c);
}

static void assert_node(struct kit *k, uint64_t id, Et__NodeState state, const char *roles)
{
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Node *n = NULL;
	char text[128] = "";

	assert_int_equal(et_state_get_node(v, id, &n), 0);
	assert_int_equal(n->state, state);
	for (size_t i = 0; i < n->n_roles; i++) {
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s",
			       i > 0 ? " " : "", n->roles[i]);
	}
	assert_string_equal(text, roles);
	et__node__free_unpacked(n, NULL);
	(void)et_state_view_close(v);
}

static void segment_of(struct kit *k, uint64_t node, uint64_t id)
{
	const struct kit_call call = { .id = id, .start_us = 1700000000000000 };

	assert_int_equal(kit_open_call(k, node, &call), 0);
	assert_int_equal(kit_segment_open(k, node, id, 1), 0);
	assert_int_equal(kit_segment_seal(k, node, id, 1, ET__SEGMENT_STATE__SEGMENT_SEALED, 7, 3),
			 0);
}

/* ---- Of nodes that are gone ---- */

static int close_call(struct kit *k, uint64_t node, uint64_t id)
{
	static char problem[] = "its recorder was lost";
	Et__Recording r = ET__RECORDING__INIT;

	r.id = kit_id(id);
	r.state = ET__RECORDING_STATE__SEALED;
	r.end_us = 1700000009000000;
	r.problem = problem;
	return kit_tell_recording(k, node, KIT_CLOSE, &r);
}

static void assert_closed(struct kit *k, uint64_t id, bool closed)
{
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Recording *r = NULL;

	assert_int_equal(et_state_get_recording(v, kit_id(id).data, &r), 0);
	assert_int_equal(r->state,
			 closed ? ET__RECORDING_STATE__SEALED : ET__RECORDING_STATE__CAPTURING);
	assert_int_equal(r->node, 2); /* who captured it */
	if (closed) {
		assert_int_equal(r->end_us, 1700000009000000);
		assert_string_equal(r->from, "+420601");
		assert_string_equal(r->problem, "its recorder was lost");
	}
	et__recording__free_unpacked(r, NULL);
	(void)et_state_view_close(v);
}

static void assert_segment(struct kit *k, uint64_t id, Et__SegmentState state, uint64_t node)
{
	struct et_state_view *v = et_state_view_open(k->s);
	Et__Segment *g = NULL;

	assert_int_equal(et_state_get_segment(v, kit_id(id).data, 1, 1, &g), 0);
	assert_int_equal(g->state, state);
	assert_int_equal(g->node, node);
	assert_non_null(g->wrap); /* its key is that of its beginning */
	et__segment__free_unpacked(g, NULL);
	(void)et_state_view_close(v);
}

/* What others kept of calls that were in progress when their recorder was lost. */
static void members_tell_the_end_of_what_a_gone_node_had_open(void **state)
{
	struct kit *k = *state;
	const Et__SegmentState open = ET__SEGMENT_STATE__SEGMENT_OPEN;
	const Et__SegmentState sealed = ET__SEGMENT_STATE__SEGMENT_SEALED;
	const Et__SegmentState unverified = ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED;
	const struct kit_call call = { .id = 5, .start_us = 1700000000000000, .from = "+420601" };

	kit_cluster(k);
	kit_upgrade(k, 1, 2);
	kit_know_schema(k, 3);
	assert_int_equal(kit_open_call(k, 2, &call), 0);
	assert_int_equal(kit_segment_open(k, 2, 5, 1), 0);
	assert_int_equal(kit_segment_seal(k, 3, 5, 1, unverified, 7, 3), ET_EDENIED);
	assert_int_equal(close_call(k, 3, 5), ET_EDENIED);
	assert_int_equal(take_out(k, 2, k->index, true, true), 0);

	/* Builds of schema 2 refuse it, so all do until the schema is 3. */
	assert_int_equal(kit_segment_seal(k, 3, 5, 1, unverified, 7, 3), ET_EDENIED);
	assert_int_equal(close_call(k, 3, 5), ET_EDENIED);
	assert_int_equal(kit_raise_schema(k, 2, 3), 0);
	assert_segment(k, 5, open, 2);
	assert_int_equal(kit_segment_seal(k, 3, 5, 1, sealed, 7, 3), ET_EDENIED);
	assert_int_equal(kit_segment_seal(k, 3, 5, 1, unverified, 7, 3), 0);
	assert_int_equal(kit_segment_seal(k, 3, 5, 1, unverified, 7, 3), 0); /* again */
	assert_segment(k, 5, unverified, 3);
	assert_int_equal(kit_segment_seal(k, 1, 5, 1, unverified, 8, 9), ET_EDENIED);
	assert_closed(k, 5, false);
	assert_int_equal(close_call(k, 3, 5), 0);
	assert_closed(k, 5, true);
	assert_int_equal(close_call(k, 1, 5), ET_EDENIED);
	assert_int_equal(kit_segment_open(k, 3, 5, 2), 0);
}

/* ---- Roles ---- */

static void a_raft_role_takes_the_place_of_the_other(void **state)
{
	struct kit *k = *state;
	const Et__NodeState active = ET__NODE_STATE__ACTIVE;

	kit_cluster(k);
	assert_node(k, 2, active, "voter capture vault");
	assert_int_equal(change_roles(k, 2, "standby", "", "voter capture vault", 0), 0);
	assert_node(k, 2, active, "capture vault standby");
	assert_int_equal(change_roles(k, 2, "standby", "", "", 0), 0); /* again */
	assert_int_equal(change_roles(k, 2, "spare", "", "capture vault voter", 0), ET_ESTALE);
	/* A spare hears nothing of the catalogue: it can store nothing. */
	assert_int_equal(change_roles(k, 2, "spare", "", "", k->index), ET_EPOLICY);
	assert_int_equal(change_roles(k, 2, "voter api", "capture", "vault capture standby", 0), 0);
	assert_node(k, 2, active, "vault voter api");
	assert_int_equal(drain(k, 2, true, false), 0);
	assert_int_equal(change_roles(k, 2, "spare", "", "", k->index), 0);
	assert_node(k, 2, ET__NODE_STATE__DRAINING, "vault api spare");
}

static void a_node_is_exactly_one_thing_to_raft(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	assert_int_equal(change_roles(k, 2, "", "voter", "", 0), ET_EREFUSED);
	assert_int_equal(change_roles(k, 2, "voter standby", "", "", 0), ET_EREFUSED);
	assert_int_equal(change_roles(k, 2, "king", "", "", 0), ET_EREFUSED);
	assert_int_equal(change_roles(k, 77, "voter", "", "", 0), ET_ENOTFOUND);
	assert_node(k, 2, ET__NODE_STATE__ACTIVE, "voter capture vault");
}

static void a_witness_holds_neither_media_nor_keys(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	assert_int_equal(change_roles(k, 2, "witness", "", "", 0), ET_EREFUSED);
	/* It stores media: that goes first. */
	assert_int_equal(change_roles(k, 2, "witness", "capture vault", "", k->index), ET_EPOLICY);
	assert_int_equal(drain(k, 2, true, true), 0);
	assert_int_equal(change_roles(k, 2, "witness", "capture vault", "", k->index), 0);
	assert_node(k, 2, ET__NODE_STATE__DRAINING, "witness");
	assert_int_equal(drain(k, 2, false, false), 0);
	assert_int_equal(change_roles(k, 2, "vault", "", "", 0), ET_EREFUSED);
	assert_int_equal(grant(k, 2, "kek:1"), ET_EDENIED);
}

static void the_last_voter_stays_one(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	assert_int_equal(change_roles(k, 1, "standby", "", "", 0), 0);
	assert_int_equal(change_roles(k, 2, "standby", "", "", 0), 0);
	assert_int_equal(change_roles(k, 3, "standby", "", "", 0), ET_EREFUSED);
	assert_int_equal(take_out(k, 3, 0, true, true), ET_EREFUSED);
	assert_int_equal(change_roles(k, 1, "voter", "", "", 0), 0);
	assert_int_equal(change_roles(k, 3, "standby", "", "", 0), 0);
}

static void the_last_holder_of_a_key_stays_a_vault(void **state)
{
	struct kit *k = *state;

	kit_cluster(k); /* nodes 2 and 3 have the role, but no grant */
	assert_int_equal(change_roles(k, 1, "", "vault", "", 0), ET_EPOLICY);
	assert_int_equal(take_out(k, 1, 0, true, false), ET_EPOLICY);
	assert_int_equal(grant(k, 1, "ca"), 0);
	assert_int_equal(grant(k, 2, "kek:1"), 0);
	assert_int_equal(change_roles(k, 1, "", "vault", "", 0), ET_EPOLICY); /* the CA's key */
	assert_int_equal(grant(k, 3, "ca"), 0);
	assert_int_equal(change_roles(k, 1, "", "vault", "", 0), 0);
	assert_node(k, 1, ET__NODE_STATE__ACTIVE, "voter capture");
	/* The holder is removed: who is left? */
	assert_int_equal(take_out(k, 2, 0, true, false), ET_EPOLICY);
	assert_int_equal(take_out(k, 2, 0, true, true), 0); /* with open eyes */
}

/* ---- Draining ---- */

static void a_recorder_does_not_drain_while_it_records(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	assert_int_equal(drain(k, 2, true, false), ET_EPOLICY);
	assert_int_equal(drain(k, 2, true, true), 0);
	assert_int_equal(drain(k, 2, true, false), 0); /* again */
	assert_node(k, 2, ET__NODE_STATE__DRAINING, "voter capture vault");
	assert_int_equal(drain(k, 2, false, false), 0);
	assert_int_equal(drain(k, 2, false, false), 0);
	assert_node(k, 2, ET__NODE_STATE__ACTIVE, "voter capture vault");
	assert_int_equal(drain(k, 9, true, true), ET_ENOTFOUND);
	assert_int_equal(take_out(k, 2, 0, true, false), 0);
	assert_int_equal(drain(k, 2, true, true), ET_EREFUSED);
}

static void a_copy_on_a_draining_node_frees_no_other(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	segment_of(k, 2, 5);
	assert_int_equal(kit_copy_add(k, 3, 5, 1, "node:3"), 0);
	assert_int_equal(drain(k, 3, true, true), 0);
	assert_int_equal(kit_copy_evict(k, 2, 5, 1, "node:2"), ET_EPOLICY);
	assert_int_equal(drain(k, 3, false, false), 0);
	assert_int_equal(kit_copy_evict(k, 2, 5, 1, "node:2"), 0);
}

/* ---- Removal ---- */

static void a_node_that_stores_is_drained_before_it_goes(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	assert_int_equal(take_out(k, 2, k->index, false, false), ET_EPOLICY);
	assert_int_equal(drain(k, 2, true, true), 0);
	uint64_t seen = k->index;
	assert_int_equal(take_out(k, 2, seen - 1, false, false), ET_ESTALE);
	assert_int_equal(take_out(k, 2, seen, false, false), 0);
	assert_node(k, 2, ET__NODE_STATE__REMOVED, "voter capture vault");
	assert_int_equal(take_out(k, 2, 0, false, false), 0); /* again */
}

static void what_moved_since_it_was_looked_at_refuses_a_removal(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	segment_of(k, 2, 5);
	assert_int_equal(kit_copy_add(k, 3, 5, 1, "node:3"), 0);
	assert_int_equal(drain(k, 3, true, true), 0);
	uint64_t seen = k->index;
	/* What others seal, and add, takes nothing away. */
	segment_of(k, 2, 6);
	assert_int_equal(kit_copy_add(k, 1, 5, 1, "node:1"), 0);
	assert_int_equal(kit_tick(k, 1700000000000000), 0);
	uint64_t evicted = k->index;
	assert_int_equal(kit_copy_evict(k, 2, 5, 1, "node:2"), 0);
	assert_int_equal(take_out(k, 3, seen, false, false), ET_ESTALE);
	assert_int_equal(take_out(k, 3, evicted, false, false), ET_ESTALE);
	/* What the draining node itself records is on it alone. */
	seen = k->index;
	segment_of(k, 3, 8);
	assert_int_equal(take_out(k, 3, seen, false, false), ET_ESTALE);
	assert_int_equal(take_out(k, 3, k->index, false, false), 0);
}

struct wanted {
	const char *place;
	Et__Copy__State state;
	unsigned found;
};

static int wanted_look(void *arg, const Et__Copy *copy)
{
	struct wanted *w = arg;

	if (strcmp(copy->place, w->place) == 0) {
		w->state = copy->state;
		w->found++;
	}
	return 0;
}

/* As readers see it, in both ways to walk. */
static Et__Copy__State state_at(const struct et_state_view *v, uint8_t recording, const char *place)
{
	struct wanted one = { .place = place };
	struct wanted all = { .place = place };

	assert_int_equal(et_state_each_copy_of(v, kit_id(recording).data, wanted_look, &one), 0);
	assert_int_equal(et_state_each_copy(v, wanted_look, &all), 0);
	assert_int_equal(one.found, 1);
	assert_int_equal(all.found, 1);
	assert_int_equal(one.state, all.state);
	return one.state;
}

/* With the loss of node 3 accepted, what node 2 holds is the last copy, whatever the records say.
 */
static void what_lies_on_a_removed_node_is_lost(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	segment_of(k, 2, 5);
	assert_int_equal(kit_copy_add(k, 3, 5, 1, "node:3"), 0);
	struct et_state_view *before = et_state_view_open(k->s);
	uint64_t moved = et_state_copies_moved(before);
	assert_int_equal(state_at(before, 5, "node:3"), ET__COPY__STATE__VERIFIED);
	assert_true(et_state_copy_is_spare(before, kit_id(5).data, 1, 1, "node:2"));
	assert_int_equal(take_out(k, 3, 0, true, false), 0);

	struct et_state_view *after = et_state_view_open(k->s);
	assert_int_equal(state_at(after, 5, "node:3"), ET__COPY__STATE__LOST);
	assert_int_equal(state_at(after, 5, "node:2"), ET__COPY__STATE__VERIFIED);
	assert_false(et_state_copy_is_spare(after, kit_id(5).data, 1, 1, "node:2"));
	assert_true(et_state_copies_moved(after) == k->index && moved < k->index);
	assert_int_equal(state_at(before, 5, "node:3"),
			 ET__COPY__STATE__VERIFIED); /* of its time */
	assert_null(et_state_view_close(after));
	assert_null(et_state_view_close(before));

	assert_int_equal(kit_copy_evict(k, 2, 5, 1, "node:2"), ET_EPOLICY);
	assert_int_equal(kit_copy_add(k, 3, 5, 1, "node:3"), ET_EDENIED); /* it says nothing more */
	assert_int_equal(kit_copy_add(k, 1, 5, 1, "node:1"), 0);
	assert_int_equal(kit_copy_evict(k, 2, 5, 1, "node:2"), 0);
	after = et_state_view_open(k->s);
	assert_int_equal(state_at(after, 5, "node:2"), ET__COPY__STATE__EVICTED);
	assert_null(et_state_view_close(after));

	/* What it released before it went stays released; drained and stolen nodes are the same. */
	assert_int_equal(drain(k, 2, true, true), 0);
	assert_int_equal(take_out(k, 2, k->index, false, false), 0);
	after = et_state_view_open(k->s);
	assert_int_equal(state_at(after, 5, "node:2"), ET__COPY__STATE__EVICTED);
	assert_int_equal(state_at(after, 5, "node:1"), ET__COPY__STATE__VERIFIED);
	assert_null(et_state_view_close(after));
	assert_int_equal(kit_copy_evict(k, 1, 5, 1, "node:1"), ET_EPOLICY);
}

static void a_node_without_media_goes_at_once(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	assert_int_equal(drain(k, 2, true, true), 0);
	assert_int_equal(change_roles(k, 2, "voter", "capture vault", "", k->index), 0);
	assert_int_equal(drain(k, 2, false, false), 0);
	assert_int_equal(take_out(k, 2, 0, false, false), 0);
}

static void a_dead_node_goes_with_its_loss(void **state)
{
	struct kit *k = *state;

	kit_cluster(k);
	segment_of(k, 2, 5);
	assert_int_equal(take_out(k, 2, 0, false, false), ET_EPOLICY);
	assert_int_equal(take_out(k, 2, 0, true, false), 0);
	const struct kit_call call = { .id = 9, .start_us = 1700000000000000 };
	assert_int_equal(kit_open_call(k, 2, &call), ET_EDENIED);
	assert_int_equal(change_roles(k, 2, "voter", "", "", 0), ET_EREFUSED);
	assert_true(kit_audit_verify(k->s) > 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(members_tell_the_end_of_what_a_gone_node_had_open),
		TEST(a_raft_role_takes_the_place_of_the_other),
		TEST(a_node_is_exactly_one_thing_to_raft),
		TEST(a_witness_holds_neither_media_nor_keys),
		TEST(the_last_voter_stays_one),
		TEST(the_last_holder_of_a_key_stays_a_vault),
		TEST(a_recorder_does_not_drain_while_it_records),
		TEST(a_copy_on_a_draining_node_frees_no_other),
		TEST(a_node_that_stores_is_drained_before_it_goes),
		TEST(what_moved_since_it_was_looked_at_refuses_a_removal),
		TEST(what_lies_on_a_removed_node_is_lost),
		TEST(a_node_without_media_goes_at_once),
		TEST(a_dead_node_goes_with_its_loss),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
