/* Erasure, restore, upgrade of the schema, and records of a newer build. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/state/test/kit.h"

static struct et_state_view *view(struct kit *k)
{
	struct et_state_view *v = et_state_view_open(k->s);

	assert_non_null(v);
	return v;
}

static void sealed(struct kit *k, uint64_t node, uint64_t id)
{
	struct kit_call call = { .id = id, .start_us = 1700000000000000, .from = "a", .to = "b" };
	Et__Recording r = ET__RECORDING__INIT;

	assert_int_equal(kit_open_call(k, node, &call), 0);
	assert_int_equal(kit_segment_open(k, node, id, 1), 0);
	assert_int_equal(kit_segment_seal(k, node, id, 1, ET__SEGMENT_STATE__SEGMENT_SEALED, id, 3),
			 0);
	r.id = kit_id(id);
	r.state = ET__RECORDING_STATE__SEALED;
	r.end_us = 1700000002000000;
	assert_int_equal(kit_tell_recording(k, node, KIT_CLOSE, &r), 0);
}

static void assert_erased(struct kit *k, uint64_t id, bool has_segment)
{
	struct et_state_view *v = view(k);
	Et__Recording *r = NULL;
	Et__Segment *g = NULL;

	assert_int_equal(et_state_get_recording(v, kit_id(id).data, &r), 0);
	assert_int_equal(r->state, ET__RECORDING_STATE__ERASED);
	assert_true(r->erased_us > 0 && r->erased_index > 0);
	et__recording__free_unpacked(r, NULL);
	if (has_segment) {
		assert_int_equal(et_state_get_segment(v, kit_id(id).data, 1, 1, &g), 0);
		assert_true(g->wrap->erased);
		assert_int_equal(g->wrap->ciphertext.len, 0);
		assert_int_equal(g->wrap->enc.len, 0);
		et__segment__free_unpacked(g, NULL);
	}
	(void)et_state_view_close(v);
}

static void erasing_destroys_the_keys_for_good(void **state)
{
	struct kit *k = *state;
	struct kit_call call = { .id = 6, .start_us = 1 };

	kit_cluster(k);
	sealed(k, 1, 5);
	assert_int_equal(kit_erase(k, 99), ET_ENOTFOUND);
	assert_int_equal(kit_open_call(k, 1, &call), 0);
	assert_int_equal(kit_erase(k, 6), ET_EREFUSED); /* it is being made */
	assert_int_equal(kit_hold_add(k, 70, 5), 0);
	assert_int_equal(kit_erase(k, 5), ET_EPOLICY);
	assert_int_equal(kit_hold_release(k, 70), 0);
	assert_int_equal(kit_erase(k, 5), 0);
	assert_erased(k, 5, true);
	uint64_t first = k->result->number;
	assert_int_equal(kit_erase(k, 5), 0); /* again is fine, and changes nothing */
	assert_int_equal(k->result->number, first);
	/* Whatever comes late is refused. */
	assert_int_equal(kit_segment_open(k, 1, 5, 1), ET_EREFUSED);
	assert_int_equal(kit_segment_open(k, 1, 5, 2), ET_EREFUSED);
	assert_int_equal(kit_segment_seal(k, 1, 5, 1, ET__SEGMENT_STATE__SEGMENT_SEALED, 5, 3),
			 ET_EREFUSED);
	assert_erased(k, 5, true);
	assert_true(kit_audit_verify(k->s) > 0);
}

/* ---- Restore ---- */

static int step(struct kit *k, uint64_t node, Et__RestoreStep__Kind kind, uint32_t epoch,
		Et__Erasure *const *erasures, size_t count)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__OpId op = ET__OP_ID__INIT;
	Et__RestoreStep s = ET__RESTORE_STEP__INIT;
	Et__Node n = ET__NODE__INIT;
	Et__Grant g = ET__GRANT__INIT;
	Et__Grant *grants[] = { &g };
	static char words[5][16] = { "prg-1", "prg", "vault", "local:restore", "ca" };
	static uint64_t seq;
	char *roles[] = { words[2] };

	n.id = node;
	n.name = words[0];
	n.site = words[1];
	n.roles = roles;
	n.n_roles = 1;
	n.spki_hash = kit_hash(node);
	s.kind = kind;
	s.node = kind == ET__RESTORE_STEP__KIND__BEGIN ? &n : NULL;
	g.secret = words[4];
	g.node = node;
	g.enc = kit_hash(1);
	g.ciphertext = kit_bytes(48, 1);
	s.grants = grants;
	s.n_grants = s.node != NULL;
	s.expect_epoch = epoch;
	s.erasures = (Et__Erasure **)(uintptr_t)erasures;
	s.n_erasures = count;
	op.node = node;
	op.incarnation = kit_id(4242);
	op.seq = ++seq;
	c.op = &op;
	c.principal = words[3];
	c.body_case = ET__COMMAND__BODY_RESTORE_STEP;
	c.restore_step = &s;
	return kit_apply_as_is(k, &c);
}

static int tick_by(struct kit *k, uint64_t node)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__Tick t = ET__TICK__INIT;
	Et__OpId op = ET__OP_ID__INIT;
	static char who[] = "node";
	static uint64_t seq = 100;

	t.time_us = 1750000000000000;
	op.node = node;
	op.incarnation = kit_id(4243);
	op.seq = ++seq;
	c.op = &op;
	c.principal = who;
	c.body_case = ET__COMMAND__BODY_TICK;
	c.tick = &t;
	return kit_apply_as_is(k, &c);
}

static void a_restore_erases_again_and_shuts_the_old_nodes_out(void **state)
{
	struct kit *k = *state;
	Et__Erasure known = ET__ERASURE__INIT;
	Et__Erasure unknown = ET__ERASURE__INIT;
	Et__Erasure *list[] = { &known, &unknown };
	Et__Cluster *cluster = NULL;
	Et__Node *node = NULL;
	Et__Token *token = NULL;

	kit_cluster(k);
	sealed(k, 1, 5);
	sealed(k, 2, 8);
	assert_int_equal(kit_hold_add(k, 70, 5), 0);
	known.recording = kit_id(5);
	unknown.recording = kit_id(77); /* made and erased after the backup */
	known.index = unknown.index = 500;
	known.time_us = unknown.time_us = 1700000009000000;

	/* Not from a number that somebody has or had, not of another epoch, not out of order. */
	assert_int_equal(step(k, 3, ET__RESTORE_STEP__KIND__BEGIN, 0, NULL, 0), ET_EREFUSED);
	assert_int_equal(step(k, 50, ET__RESTORE_STEP__KIND__BEGIN, 1, NULL, 0), ET_ESTALE);
	assert_int_equal(step(k, 50, ET__RESTORE_STEP__KIND__ERASE, 0, list, 2), ET_EREFUSED);
	assert_int_equal(step(k, 50, ET__RESTORE_STEP__KIND__BEGIN, 0, NULL, 0), 0);
	assert_int_equal(tick_by(k, 50), ET_EREFUSED); /* nothing else, until the end */
	assert_int_equal(tick_by(k, 1), ET_EREFUSED);
	assert_int_equal(step(k, 50, ET__RESTORE_STEP__KIND__ERASE, 0, list, 2), 0);
	assert_int_equal(step(k, 50, ET__RESTORE_STEP__KIND__END, 0, NULL, 0), 0);

	assert_erased(k, 5, true); /* although a hold stands: it was decided then */
	assert_erased(k, 77, false);
	struct kit_call late = { .id = 77, .start_us = 1 };
	assert_int_equal(tick_by(k, 50), 0);
	assert_int_equal(tick_by(k, 1), ET_EDENIED);
	assert_int_equal(kit_open_call(k, 1, &late), ET_EDENIED);
	struct et_state_view *v = view(k);
	assert_int_equal(et_state_get_cluster(v, &cluster), 0);
	assert_int_equal(cluster->epoch, 1);
	assert_false(cluster->restoring);
	assert_int_equal(cluster->next_node_id, 51);
	for (uint64_t id = 1; id <= 3; id++) {
		assert_int_equal(et_state_get_node(v, id, &node), 0);
		assert_int_equal(node->state, ET__NODE_STATE__REMOVED);
		et__node__free_unpacked(node, NULL);
	}
	assert_int_equal(et_state_get_token(v, kit_id(900).data, &token), 0);
	assert_true(token->revoked);
	et__token__free_unpacked(token, NULL);
	et__cluster__free_unpacked(cluster, NULL);
	(void)et_state_view_close(v);
	assert_true(kit_audit_verify(k->s) > 0);
}

/* ---- Schema ---- */

static int upgrade(struct kit *k, uint32_t to, uint32_t from)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__ClusterUpgrade u = ET__CLUSTER_UPGRADE__INIT;

	u.to = to;
	u.expect_from = from;
	c.body_case = ET__COMMAND__BODY_CLUSTER_UPGRADE;
	c.cluster_upgrade = &u;
	return kit_apply(k, &c);
}

static int report(struct kit *k, uint64_t id, uint32_t schema)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__NodeUpdate u = ET__NODE_UPDATE__INIT;
	Et__Node n = ET__NODE__INIT;

	n.id = id;
	n.schema = schema;
	u.node = &n;
	c.body_case = ET__COMMAND__BODY_NODE_UPDATE;
	c.node_update = &u;
	return kit_apply_from(k, id, &c);
}

static void the_schema_goes_up_when_all_members_know_it(void **state)
{
	struct kit *k = *state;
	Et__Command probe = ET__COMMAND__INIT;
	Et__SchemaProbe body = ET__SCHEMA_PROBE__INIT;
	struct et_error e;
	char text[32];

	kit_cluster(k);
	probe.body_case = ET__COMMAND__BODY_SCHEMA_PROBE;
	probe.schema_probe = &body;
	assert_int_equal(kit_apply(k, &probe), ET_EVERSION);
	assert_int_equal(upgrade(k, 1, 1), ET_EREFUSED);
	assert_int_equal(upgrade(k, 2, 2), ET_ESTALE);
	assert_int_equal(upgrade(k, 2, 1), ET_EREFUSED);
	assert_int_equal(report(k, 1, 2), 0);
	assert_int_equal(report(k, 2, 2), 0);
	assert_int_equal(upgrade(k, 2, 1), ET_EREFUSED); /* node 3 */
	assert_int_equal(report(k, 3, 2), 0);
	assert_int_equal(upgrade(k, 2, 1), 0);
	assert_int_equal(kit_apply(k, &probe), ET_EVERSION);
	for (uint64_t id = 1; id <= 3; id++) {
		assert_int_equal(report(k, id, ET_COMMAND_SCHEMA + 1), 0);
	}
	assert_int_equal(upgrade(k, ET_COMMAND_SCHEMA + 1, 2), 0);

	/* What this build does not know: it goes no further. */
	(void)snprintf(text, sizeof(text), "schema %u", ET_COMMAND_SCHEMA + 1);
	k->index++;
	et_state_begin(k->s);
	assert_int_equal(et_state_apply(k->s, k->index, (struct et_view){ NULL, 0 }, &e),
			 ET_EVERSION);
	assert_non_null(strstr(e.text, text));
	assert_int_equal(et_state_commit(k->s, NULL, NULL, &e), 0);
}

/* ---- Fields of a newer build ---- */

#define NEWER_TAG 2000

static void newer_field(ProtobufCMessage *m, ProtobufCMessageUnknownField *f, uint8_t value[3])
{
	value[0] = 2; /* length, then two bytes */
	value[1] = 'o';
	value[2] = 'k';
	*f = (ProtobufCMessageUnknownField){ .tag = NEWER_TAG,
					     .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
					     .len = 3,
					     .data = value };
	m->n_unknown_fields = 1;
	m->unknown_fields = f;
}

static void assert_newer(const ProtobufCMessage *m)
{
	assert_int_equal(m->n_unknown_fields, 1);
	assert_int_equal(m->unknown_fields[0].tag, NEWER_TAG);
	assert_int_equal(m->unknown_fields[0].len, 3);
	assert_memory_equal(m->unknown_fields[0].data + 1, "ok", 2);
}

/* A stream is taken as it comes, when it is new and when it is told again: who does not know a
 * field of it writes what those write who do (raft/command/schema.h). */
static void streams_keep_fields_of_a_newer_build(void **state)
{
	struct kit *k = *state;
	ProtobufCMessageUnknownField field;
	uint8_t value[3];
	Et__Recording told = ET__RECORDING__INIT;
	Et__Stream s = ET__STREAM__INIT;
	Et__Stream *list[] = { &s };

	kit_cluster(k);
	told.id = kit_id(1);
	told.streams = list;
	told.n_streams = 1;
	for (uint64_t round = 1; round <= 3; round++) {
		Et__Recording *r = NULL;
		newer_field(&s.base, &field, value);
		s.packets = round;
		assert_int_equal(
			kit_tell_recording(k, 1, round == 1 ? KIT_OPEN : KIT_UPDATE, &told), 0);
		struct et_state_view *v = et_state_view_open(k->s);
		assert_int_equal(et_state_get_recording(v, told.id.data, &r), 0);
		(void)et_state_view_close(v);
		assert_int_equal(r->streams[0]->packets, round);
		assert_newer(&r->streams[0]->base);
		et__recording__free_unpacked(r, NULL);
	}
}

static void records_keep_fields_of_a_newer_build(void **state)
{
	struct kit *k = *state;
	ProtobufCMessageUnknownField fields[4];
	uint8_t values[4][3];
	Et__Command c = ET__COMMAND__INIT;
	static char words[4][16] = { "join", "voter", "n4", "prg" };
	char *roles[] = { words[1] };

	kit_cluster(k);
	/* A token that is revoked, with its newer field. */
	Et__Token t = ET__TOKEN__INIT;
	Et__TokenAdd add = ET__TOKEN_ADD__INIT;
	t.id = kit_id(901);
	t.kind = words[0];
	t.public_key = kit_hash(1);
	t.roles = roles;
	t.n_roles = 1;
	t.uses_left = 2;
	t.expires_us = INT64_C(1800000000000000);
	newer_field(&t.base, &fields[0], values[0]);
	add.token = &t;
	c.body_case = ET__COMMAND__BODY_TOKEN_ADD;
	c.token_add = &add;
	assert_int_equal(kit_apply(k, &c), 0);
	/* A node that joins with it (a use less), is updated, and removed. */
	Et__Node n = ET__NODE__INIT;
	Et__NodeJoin join = ET__NODE_JOIN__INIT;
	n.id = 4;
	n.name = words[2];
	n.site = words[3];
	n.spki_hash = kit_hash(4);
	newer_field(&n.base, &fields[1], values[1]);
	join.node = &n;
	join.token = kit_id(901);
	join.request_hash = kit_hash(4);
	c.body_case = ET__COMMAND__BODY_NODE_JOIN;
	c.node_join = &join;
	assert_int_equal(kit_apply(k, &c), 0);
	assert_int_equal(report(k, 4, 1), 0);
	/* A segment that is opened, sealed and erased. */
	Et__Segment g = ET__SEGMENT__INIT;
	Et__Wrap w = ET__WRAP__INIT;
	Et__SegmentOpen open = ET__SEGMENT_OPEN__INIT;
	struct kit_call call = { .id = 5, .start_us = 1 };
	Et__Recording r = ET__RECORDING__INIT;
	assert_int_equal(kit_open_call(k, 1, &call), 0);
	w.kek_version = 1;
	w.enc = kit_hash(5);
	w.ciphertext = kit_bytes(48, 5);
	newer_field(&w.base, &fields[2], values[2]);
	g.recording = kit_id(5);
	g.generation = g.segment = 1;
	g.wrap = &w;
	newer_field(&g.base, &fields[3], values[3]);
	open.segment = &g;
	c.body_case = ET__COMMAND__BODY_SEGMENT_OPEN;
	c.segment_open = &open;
	assert_int_equal(kit_apply(k, &c), 0);
	assert_int_equal(kit_segment_seal(k, 1, 5, 1, ET__SEGMENT_STATE__SEGMENT_SEALED, 5, 3), 0);
	r.id = kit_id(5);
	r.state = ET__RECORDING_STATE__SEALED;
	r.end_us = 2;
	assert_int_equal(kit_tell_recording(k, 1, KIT_CLOSE, &r), 0);
	assert_int_equal(kit_erase(k, 5), 0);

	Et__Token *token = NULL;
	Et__Node *node = NULL;
	Et__Segment *segment = NULL;
	struct et_state_view *v = view(k);
	assert_int_equal(et_state_get_token(v, kit_id(901).data, &token), 0);
	assert_int_equal(token->uses_left, 1);
	assert_newer(&token->base);
	assert_int_equal(et_state_get_node(v, 4, &node), 0);
	assert_newer(&node->base);
	assert_int_equal(et_state_get_segment(v, kit_id(5).data, 1, 1, &segment), 0);
	assert_newer(&segment->base);
	assert_newer(&segment->wrap->base);
	assert_true(segment->wrap->erased);
	et__token__free_unpacked(token, NULL);
	et__node__free_unpacked(node, NULL);
	et__segment__free_unpacked(segment, NULL);
	(void)et_state_view_close(v);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)
	const struct CMUnitTest tests[] = {
		T(erasing_destroys_the_keys_for_good),
		T(a_restore_erases_again_and_shuts_the_old_nodes_out),
		T(the_schema_goes_up_when_all_members_know_it),
		T(records_keep_fields_of_a_newer_build),
		T(streams_keep_fields_of_a_newer_build),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
