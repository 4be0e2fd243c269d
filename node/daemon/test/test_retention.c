/* Timed erasure against a real state, without Raft: what is proposed is applied at once, or not, as
 * the test says, and answered from the loop. Time is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/daemon/retention.h"

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)
#define START (INT64_C(1700000000) * SECOND)
#define NOW (START + 100 * DAY)
#define TICK (5 * 60 * SECOND) /* what one tick may go on, but for the first */

struct fixture {
	char folder[64];
	uv_loop_t loop;
	uv_idle_t idle; /* answers come from the loop */
	struct et_state *state;
	struct et_retention *retention;
	uint64_t index;
	uint64_t seq;

	/* What is asked for, and what is said to it. */
	Et__Command *asked; /* owned; NULL: nothing waits */
	et_catalog_cb cb;
	void *cb_arg;
	bool closed;	   /* nothing can be proposed any more */
	int refuse;	   /* this code for the next one, which is not applied */
	bool hold_between; /* a hold comes between PlanPut and PlanApply */
	int puts, applies;
	int last; /* code of the last answer */
};

static int64_t mono_us = SECOND;

static int64_t test_mono_us(void)
{
	return mono_us;
}

/* ---- The state ---- */

struct answer {
	int code;
	uint64_t number;
};

static void on_result(void *arg, uint64_t index, uint32_t position, const Et__Command *command,
		      const Et__Result *result)
{
	struct answer *a = arg;

	(void)index;
	(void)position;
	(void)command;
	*a = (struct answer){ result->code, result->number };
}

static int apply(struct fixture *f, const Et__Command *told, struct answer *ret)
{
	Et__Command c = *told;
	Et__OpId op = ET__OP_ID__INIT;
	uint8_t incarnation[16] = { 9 };
	struct et_buffer packed = { 0 };
	struct et_buffer entry = { 0 };
	struct et_error e = { 0 };

	op.node = 1;
	op.seq = ++f->seq;
	op.incarnation = (ProtobufCBinaryData){ 16, incarnation };
	c.op = &op;
	if (et_command_check(&c, &e) < 0) {
		fail_msg("%s", e.text);
	}
	assert_int_equal(et_command_pack(&c, &packed), 0);
	et_entry_begin(&entry);
	et_entry_add(&entry, packed.data, packed.size);
	et_entry_end(&entry);
	et_state_begin(f->state);
	if (et_state_apply(f->state, ++f->index, (struct et_view){ entry.data, entry.size }, &e) <
		    0 ||
	    et_state_commit(f->state, on_result, ret, &e) < 0) {
		fail_msg("%s", e.text);
	}
	et_buffer_release(&packed);
	et_buffer_release(&entry);
	return ret->code;
}

static int tell(struct fixture *f, const Et__Command *c)
{
	struct answer a;

	return apply(f, c, &a);
}

static void cluster_make(struct fixture *f)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__ClusterInit init = ET__CLUSTER_INIT__INIT;
	Et__Cluster cluster = ET__CLUSTER__INIT;
	Et__Node node = ET__NODE__INIT;
	Et__Kek kek = ET__KEK__INIT;
	Et__Certificate certificate = ET__CERTIFICATE__INIT;
	char name[] = "acme";
	char node_name[] = "prg-1";
	char site[] = "prg";
	char address[] = "10.0.0.1:7400";
	char voter[] = "voter";
	char vault[] = "vault";
	char *roles[] = { voter, vault };
	uint8_t bytes[64] = { 1 };

	cluster.name = name;
	cluster.id = (ProtobufCBinaryData){ 16, bytes };
	node.id = 1;
	node.name = node_name;
	node.site = site;
	node.address = address;
	node.roles = roles;
	node.n_roles = 2;
	node.spki_hash = node.sign_public = node.seal_public = (ProtobufCBinaryData){ 32, bytes };
	kek.version = 1;
	kek.public_key = (ProtobufCBinaryData){ 32, bytes };
	kek.signature = (ProtobufCBinaryData){ 64, bytes };
	kek.state = ET__KEK_STATE__KEK_ACTIVE;
	certificate.node = 1;
	certificate.spki_hash = (ProtobufCBinaryData){ 32, bytes };
	certificate.serial = certificate.der = (ProtobufCBinaryData){ 8, bytes };
	init.cluster = &cluster;
	init.node = &node;
	init.kek = &kek;
	init.certificate = &certificate;
	c.body_case = ET__COMMAND__BODY_CLUSTER_INIT;
	c.cluster_init = &init;
	assert_int_equal(tell(f, &c), 0);
}

static void tick(struct fixture *f, int64_t time_us)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__Tick t = ET__TICK__INIT;

	t.time_us = time_us;
	c.body_case = ET__COMMAND__BODY_TICK;
	c.tick = &t;
	assert_int_equal(tell(f, &c), 0);
}

static void id_of(uint32_t number, uint8_t ret[16])
{
	memset(ret, 0, 16);
	et_put32(ret, number);
	ret[15] = 1;
}

/* One that ended when the cluster was made. */
static void recording_make(struct fixture *f, uint32_t number, char *from)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__RecordingClose close = ET__RECORDING_CLOSE__INIT;
	Et__Recording r = ET__RECORDING__INIT;
	uint8_t id[16];

	id_of(number, id);
	r.id = (ProtobufCBinaryData){ 16, id };
	r.node = 1;
	r.state = ET__RECORDING_STATE__SEALED;
	r.start_us = START;
	r.end_us = START + 60 * SECOND;
	r.from = from;
	close.recording = &r;
	c.body_case = ET__COMMAND__BODY_RECORDING_CLOSE;
	c.recording_close = &close;
	assert_int_equal(tell(f, &c), 0);
}

static void policy_set(struct fixture *f, uint32_t expect, int64_t keep_us, int64_t erase_after_us)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__PolicySet set = ET__POLICY_SET__INIT;
	Et__Policy policy = ET__POLICY__INIT;
	Et__RetentionRule rule = ET__RETENTION_RULE__INIT;
	Et__RetentionRule *rules[] = { &rule };
	char name[] = "retention";
	char text[] = "rules";
	char rule_name[] = "all";

	rule.name = rule_name;
	rule.keep_us = keep_us;
	rule.erase_after_us = erase_after_us;
	policy.name = name;
	policy.text = text;
	policy.retention = rules;
	policy.n_retention = 1;
	set.policy = &policy;
	set.expect_revision = expect;
	c.body_case = ET__COMMAND__BODY_POLICY_SET;
	c.policy_set = &set;
	assert_int_equal(tell(f, &c), 0);
}

static void hold_add(struct fixture *f, uint32_t number)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__HoldAdd add = ET__HOLD_ADD__INIT;
	Et__Hold hold = ET__HOLD__INIT;
	uint8_t id[16];
	uint8_t hold_id[16] = { 77 };
	char matter[] = "case-118";

	id_of(number, id);
	hold.id = (ProtobufCBinaryData){ 16, hold_id };
	hold.recording = (ProtobufCBinaryData){ 16, id };
	hold.matter = matter;
	add.hold = &hold;
	c.body_case = ET__COMMAND__BODY_HOLD_ADD;
	c.hold_add = &add;
	assert_int_equal(tell(f, &c), 0);
}

static void hold_release(struct fixture *f)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__HoldRelease release = ET__HOLD_RELEASE__INIT;
	uint8_t hold_id[16] = { 77 };

	release.id = (ProtobufCBinaryData){ 16, hold_id };
	c.body_case = ET__COMMAND__BODY_HOLD_RELEASE;
	c.hold_release = &release;
	assert_int_equal(tell(f, &c), 0);
}

static uint64_t erased(struct fixture *f)
{
	struct et_state_view *v = et_state_view_open(f->state);
	struct et_state_counts counts;

	assert_int_equal(et_state_counts(v, &counts), 0);
	(void)et_state_view_close(v);
	return counts.erased;
}

static bool is_erased(struct fixture *f, uint32_t number)
{
	struct et_state_view *v = et_state_view_open(f->state);
	Et__Recording *r = NULL;
	uint8_t id[16];

	id_of(number, id);
	assert_int_equal(et_state_get_recording(v, id, &r), 0);
	bool is = r->state == ET__RECORDING_STATE__ERASED;
	et__recording__free_unpacked(r, NULL);
	(void)et_state_view_close(v);
	return is;
}

/* ---- Raft's part ---- */

static int propose(void *arg, const Et__Command *command, uint32_t timeout_ms, et_catalog_cb cb,
		   void *cb_arg)
{
	struct fixture *f = arg;
	struct et_buffer packed = { 0 };

	(void)timeout_ms;
	if (f->closed) {
		return ET_ECLOSED;
	}
	assert_null(f->asked); /* one at a time */
	assert_string_equal(command->principal, "node:1");
	assert_int_equal(et_command_pack(command, &packed), 0);
	f->asked = et__command__unpack(NULL, packed.size, packed.data); /* it has no op id yet */
	assert_non_null(f->asked);
	et_buffer_release(&packed);
	f->cb = cb;
	f->cb_arg = cb_arg;
	return 0;
}

static void on_idle(uv_idle_t *idle)
{
	struct fixture *f = idle->data;
	Et__Result result = ET__RESULT__INIT;
	Et__Command *asked = f->asked;
	struct answer a = { 0 };

	if (asked == NULL) {
		return;
	}
	f->asked = NULL;
	bool put = asked->body_case == ET__COMMAND__BODY_PLAN_PUT;
	assert_true(put || asked->body_case == ET__COMMAND__BODY_PLAN_APPLY);
	f->puts += put;
	f->applies += !put;
	if (f->refuse != 0) {
		a.code = f->refuse;
		f->refuse = 0;
	} else {
		(void)apply(f, asked, &a);
	}
	if (put && f->hold_between) {
		f->hold_between = false;
		hold_add(f, 1);
	}
	et__command__free_unpacked(asked, NULL);
	f->last = a.code;
	result.code = a.code;
	result.number = a.number;
	f->cb(f->cb_arg, a.code, &result);
}

/* ---- The fixture ---- */

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char db[96];

	assert_non_null(f);
	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/et_retention.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	(void)snprintf(db, sizeof(db), "%s/db", f->folder);
	assert_int_equal(et_state_open(db, &f->state, NULL), 0);
	assert_int_equal(uv_loop_init(&f->loop), 0);
	assert_int_equal(uv_idle_init(&f->loop, &f->idle), 0);
	assert_int_equal(uv_idle_start(&f->idle, on_idle), 0);
	f->idle.data = f;
	const struct et_retention_config config = {
		.loop = &f->loop, .node = 1, .propose = propose, .arg = f, .mono_us = test_mono_us
	};
	assert_int_equal(et_retention_new(&config, &f->retention), 0);
	cluster_make(f);
	tick(f, START + 60 * SECOND);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char command[128];

	et_retention_stop(f->retention);
	uv_close((uv_handle_t *)&f->idle, NULL);
	(void)uv_run(&f->loop, UV_RUN_DEFAULT);
	f->retention = et_retention_free(f->retention);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	f->state = et_state_close(f->state);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", f->folder);
	assert_int_equal(system(command), 0);
	et__command__free_unpacked(f->asked, NULL);
	free(f);
	return 0;
}

/* One look and all that follows from it. */
static void look(struct fixture *f, int64_t now_us)
{
	et_retention_look(f->retention, f->state, now_us);
	while (uv_loop_alive(&f->loop) && (f->asked != NULL || f->loop.active_reqs.count > 0)) {
		(void)uv_run(&f->loop, UV_RUN_NOWAIT);
	}
}

/* Past any pause between passes. */
static void later(void)
{
	mono_us += 3600 * SECOND;
}

/* ---- What must hold ---- */

static void what_is_due_goes_by_plan_and_no_sooner(void **state)
{
	struct fixture *f = *state;

	recording_make(f, 1, (char[]){ "100" });
	look(f, NOW);
	assert_int_equal(f->puts, 0); /* no policy */
	policy_set(f, 0, DAY, 0);
	later();
	look(f, NOW);
	assert_int_equal(f->puts, 0); /* one that erases nothing */
	policy_set(f, 1, 0, TICK);
	later();
	look(f, START + 60 * SECOND + TICK - 1);
	assert_int_equal(f->puts, 0); /* a microsecond is left */
	tick(f, START + 60 * SECOND + TICK);
	later();
	look(f, START + 60 * SECOND + TICK);
	assert_int_equal(f->puts, 1);
	assert_int_equal(f->applies, 1);
	assert_int_equal(f->last, 0);
	assert_true(is_erased(f, 1));
	later();
	look(f, START + 60 * SECOND + TICK);
	assert_int_equal(f->puts, 1); /* nothing is left */
}

/* The look may be mistaken about the time: apply decides what must stay. */
static void a_look_from_the_future_erases_nothing(void **state)
{
	struct fixture *f = *state;

	recording_make(f, 1, (char[]){ "100" });
	policy_set(f, 0, 10 * DAY, 10 * DAY);
	look(f, NOW);
	assert_int_equal(f->puts, 1);
	assert_int_equal(f->applies, 1);
	assert_int_equal(f->last, ET_ESTALE);
	assert_int_equal(erased(f), 0);
}

static void a_hold_that_comes_between_keeps_all_of_the_plan(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 1; i <= 3; i++) {
		recording_make(f, i, (char[]){ "100" });
	}
	policy_set(f, 0, 0, TICK);
	tick(f, START + 60 * SECOND + TICK);
	f->hold_between = true;
	look(f, START + 60 * SECOND + TICK);
	assert_int_equal(f->last, ET_ESTALE);
	assert_int_equal(erased(f), 0);
	later();
	look(f, START + 60 * SECOND + TICK); /* it leaves out what is held */
	assert_int_equal(f->last, 0);
	assert_int_equal(erased(f), 2);
	assert_false(is_erased(f, 1));
}

static void many_go_a_batch_at_a_time_without_a_pause(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 1; i <= ET_RETENTION_BATCH + 7; i++) {
		recording_make(f, i, (char[]){ "100" });
	}
	policy_set(f, 0, 0, TICK);
	tick(f, START + 60 * SECOND + TICK);
	look(f, START + 60 * SECOND + TICK);
	assert_int_equal(erased(f), ET_RETENTION_BATCH);
	look(f, START + 60 * SECOND + TICK); /* the clock stands still: no pause */
	assert_int_equal(erased(f), ET_RETENTION_BATCH + 7);
	recording_make(f, 1000, (char[]){ "100" });
	look(f, START + 60 * SECOND + TICK);
	assert_int_equal(f->puts, 2); /* the pass is over: a pause */
}

static void what_is_not_answered_is_met_again(void **state)
{
	struct fixture *f = *state;

	recording_make(f, 1, (char[]){ "100" });
	policy_set(f, 0, 0, TICK);
	tick(f, START + 60 * SECOND + TICK);
	f->refuse = ET_ENOQUORUM;
	look(f, START + 60 * SECOND + TICK);
	assert_int_equal(f->puts, 1);
	assert_int_equal(f->applies, 0);
	look(f, START + 60 * SECOND + TICK);
	assert_int_equal(f->puts, 1); /* not at once */
	later();
	look(f, START + 60 * SECOND + TICK);
	assert_int_equal(f->applies, 1);
	assert_true(is_erased(f, 1));
}

static void another_policy_begins_at_the_first_recording(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 1; i <= ET_RETENTION_BATCH + 7; i++) {
		recording_make(f, i, (char[]){ "100" });
	}
	policy_set(f, 0, 0, TICK);
	tick(f, START + 60 * SECOND + TICK);
	hold_add(f, 1);
	look(f, START + 60 * SECOND + TICK);
	assert_int_equal(erased(f), ET_RETENTION_BATCH);
	/* In the midst of a pass: what it has gone by is looked at again, without a pause. */
	hold_release(f);
	policy_set(f, 1, 0, TICK + 1);
	tick(f, START + 60 * SECOND + TICK + 1);
	look(f, START + 60 * SECOND + TICK + 1);
	assert_true(is_erased(f, 1));
	assert_int_equal(erased(f), ET_RETENTION_BATCH + 7);
	/* Somebody wants all of it kept. */
	policy_set(f, 2, 90 * DAY, TICK);
	recording_make(f, 2000, (char[]){ "100" });
	later();
	look(f, START + 60 * SECOND + TICK + 1);
	assert_int_equal(erased(f), ET_RETENTION_BATCH + 7);
}

static void a_node_that_stops_proposes_nothing(void **state)
{
	struct fixture *f = *state;

	recording_make(f, 1, (char[]){ "100" });
	policy_set(f, 0, 0, TICK);
	tick(f, START + 60 * SECOND + TICK);
	f->closed = true;
	look(f, START + 60 * SECOND + TICK);
	assert_int_equal(f->puts, 0);
	assert_int_equal(erased(f), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_is_due_goes_by_plan_and_no_sooner),
		TEST(a_look_from_the_future_erases_nothing),
		TEST(a_hold_that_comes_between_keeps_all_of_the_plan),
		TEST(many_go_a_batch_at_a_time_without_a_pause),
		TEST(what_is_not_answered_is_met_again),
		TEST(another_policy_begins_at_the_first_recording),
		TEST(a_node_that_stops_proposes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
