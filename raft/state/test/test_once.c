/* Exactly once, and the audit chain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/state/state_internal.h"
#include "raft/state/test/kit.h"

/* ---- Exactly once ---- */

static void a_repeated_command_changes_nothing_and_gets_its_first_result(void **state)
{
	struct kit *k = *state;
	Et__Command c = ET__COMMAND__INIT;
	Et__OpId op = ET__OP_ID__INIT;
	Et__AuditAdd add = ET__AUDIT_ADD__INIT;
	char texts[2][32] = { "recording.play", "local:uid=0" };

	kit_cluster(k);
	op.node = 2;
	op.incarnation = kit_id(500);
	add.action = texts[0];
	c.op = &op;
	c.principal = texts[1];
	c.body_case = ET__COMMAND__BODY_AUDIT_ADD;
	c.audit_add = &add;
	uint64_t events = kit_counts(k).audit_events;
	for (op.seq = 1; op.seq <= 5; op.seq++) {
		assert_int_equal(kit_apply_as_is(k, &c), 0);
		assert_int_equal(k->result->number, events + op.seq);
	}
	uint64_t index = k->index;
	for (op.seq = 1; op.seq <= 5; op.seq++) {
		assert_int_equal(kit_apply_as_is(k, &c), 0);
		assert_int_equal(k->result->number, events + op.seq);
		assert_int_equal(k->result->index, index - 5 + op.seq);
		struct et_state_view *v = et_state_view_open(k->s);
		Et__Result *r = NULL;
		assert_true(et_state_op_result(v, &op, &r));
		assert_int_equal(r->number, events + op.seq);
		et__result__free_unpacked(r, NULL);
		(void)et_state_view_close(v);
	}
	assert_int_equal(kit_counts(k).audit_events, events + 5);

	/* A refusal is a result, too. */
	op.seq = 6;
	c.body_case = ET__COMMAND__BODY_TICK;
	Et__Tick tick = ET__TICK__INIT;
	c.tick = &tick;
	assert_int_equal(kit_apply_as_is(k, &c), ET_ESTALE);
	tick.time_us = 1700000000000001;
	assert_int_equal(kit_apply_as_is(k, &c), ET_ESTALE);
	assert_string_equal(k->result->text, "cluster time is past that");

	/* The same sequence of another incarnation is another command. */
	op.incarnation = kit_id(501);
	assert_int_equal(kit_apply_as_is(k, &c), 0);
}

static void old_results_go_but_the_command_is_not_applied_again(void **state)
{
	struct kit *k = *state;
	Et__Command c = ET__COMMAND__INIT;
	Et__OpId op = ET__OP_ID__INIT;
	Et__AuditAdd add = ET__AUDIT_ADD__INIT;
	char texts[2][32] = { "recording.play", "local:uid=0" };

	kit_cluster(k);
	op.node = 2;
	op.incarnation = kit_id(500);
	add.action = texts[0];
	c.op = &op;
	c.principal = texts[1];
	c.body_case = ET__COMMAND__BODY_AUDIT_ADD;
	c.audit_add = &add;
	for (op.seq = 1; op.seq <= 1030; op.seq++) {
		assert_int_equal(kit_apply_as_is(k, &c), 0);
	}
	uint64_t events = kit_counts(k).audit_events;
	op.seq = 6;
	assert_int_equal(kit_apply_as_is(k, &c), ET_EEXISTS);
	op.seq = 7;
	assert_int_equal(kit_apply_as_is(k, &c), 0); /* still kept: 7..1030 */
	assert_int_equal(kit_counts(k).audit_events, events);
}

static void a_node_has_a_bounded_number_of_incarnations(void **state)
{
	struct kit *k = *state;
	Et__Command c = ET__COMMAND__INIT;
	Et__OpId op = ET__OP_ID__INIT;
	Et__Noop noop = ET__NOOP__INIT;
	struct et_state_view *v;
	Et__Result *r = NULL;

	kit_cluster(k);
	op.node = 2;
	c.op = &op;
	c.body_case = ET__COMMAND__BODY_NOOP;
	c.noop = &noop;
	for (uint64_t i = 0; i < 70; i++) {
		op.incarnation = kit_id(5000 + i);
		for (op.seq = 1; op.seq <= 3; op.seq++) {
			assert_int_equal(kit_apply_as_is(k, &c), 0);
		}
	}
	v = et_state_view_open(k->s);
	op.seq = 2;
	for (uint64_t i = 0; i < 70; i++) {
		op.incarnation = kit_id(5000 + i);
		bool kept = et_state_op_result(v, &op, &r);
		assert_int_equal(kept, i >= 6); /* the oldest six are forgotten */
		if (kept) {
			et__result__free_unpacked(r, NULL);
		}
	}
	(void)et_state_view_close(v);
}

/* ---- Audit ---- */

struct audit_seen {
	uint64_t count;
	uint64_t refused;
	char last[128];
};

static int audit_see(void *arg, const Et__AuditEvent *e)
{
	struct audit_seen *s = arg;

	s->count++;
	s->refused += strcmp(e->outcome, "refused") == 0;
	(void)snprintf(s->last, sizeof(s->last), "%s %s %s", e->action, e->target, e->outcome);
	return 0;
}

static void what_operators_do_is_in_the_chain(void **state)
{
	struct kit *k = *state;
	struct audit_seen seen = { 0 };

	kit_cluster(k);
	(void)kit_policy_set(k, "a: 1", 0);
	(void)kit_policy_set(k, "a: 1", 0); /* refused */
	kit_sealed_segment(k, 5);	    /* what machines do is not */
	struct et_state_view *v = et_state_view_open(k->s);
	assert_int_equal(et_state_each_audit(v, 1, 0, audit_see, &seen), 0);
	assert_int_equal(seen.count, 6); /* init, token, join, join, policy, policy */
	assert_int_equal(seen.refused, 1);
	assert_string_equal(seen.last, "policy.set archive refused");
	seen.count = 0;
	assert_int_equal(et_state_each_audit(v, 2, 4, audit_see, &seen), 0);
	assert_int_equal(seen.count, 3);
	assert_int_equal(et_state_each_audit(v, 9, 0, audit_see, &seen), 0);
	assert_int_equal(seen.count, 3);
	(void)et_state_view_close(v);
	assert_int_equal(kit_audit_verify(k->s), 6);
}

/* Change, drop or add bytes of the chain behind the state's back. */
static void a_changed_chain_is_found_out(void **state)
{
	struct kit *k = *state;
	struct database *db = k->s->database;
	rocksdb_readoptions_t *options = read_options();
	struct et_error error;
	uint64_t events;
	uint8_t head[32];

	kit_cluster(k);
	for (uint64_t number = 1; number <= 4; number++) {
		uint8_t key[8];
		char *e = NULL;
		size_t size = 0;
		et_put64(key, number);
		char *value = rocksdb_get_cf(db->db, options, db->cf[CF_AUDIT], (char *)key, 8,
					     &size, &e);
		assert_non_null(value);
		for (size_t at = 0; at <= size; at++) {
			struct key k8 = key_of(key, 8);
			if (at < size) {
				value[at] ^= 0x10;
				rocksdb_put_cf(db->db, k->s->write_options, db->cf[CF_AUDIT],
					       (char *)k8.data, 8, value, size, &e);
				value[at] ^= 0x10;
			} else {
				rocksdb_delete_cf(db->db, k->s->write_options, db->cf[CF_AUDIT],
						  (char *)k8.data, 8, &e);
			}
			assert_null(e);
			struct et_state_view *v = et_state_view_open(k->s);
			assert_int_equal(et_state_audit_verify(v, &events, head, &error),
					 ET_EINTEGRITY);
			(void)et_state_view_close(v);
		}
		rocksdb_put_cf(db->db, k->s->write_options, db->cf[CF_AUDIT], (char *)key, 8, value,
			       size, &e);
		assert_null(e);
		rocksdb_free(value);
		assert_int_equal(kit_audit_verify(k->s), 4);
	}
	rocksdb_readoptions_destroy(options);
}

/* What is no command does nothing, and says so. */
static void bytes_that_are_no_command_are_answered(void **state)
{
	struct kit *k = *state;
	struct et_buffer entry = { 0 };

	kit_cluster(k);
	et_entry_begin(&entry);
	et_entry_add(&entry, "\xff\xff\xff", 3);
	et_entry_end(&entry);
	kit_apply_bytes(k, entry.data, entry.size);
	assert_int_equal(k->result->code, ET_EMALFORMED);
	et_buffer_release(&entry);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_repeated_command_changes_nothing_and_gets_its_first_result),
		TEST(old_results_go_but_the_command_is_not_applied_again),
		TEST(a_node_has_a_bounded_number_of_incarnations),
		TEST(what_operators_do_is_in_the_chain),
		TEST(a_changed_chain_is_found_out),
		TEST(bytes_that_are_no_command_are_answered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
