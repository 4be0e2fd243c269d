#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/io/clock.h"
#include "raft/catalog/test/member.h"
#include "raft/state/damage.h"

#define LOOP_US (INT64_C(40) * 1000000) /* for states that must be seen in time */

/* ---- The verdict ---- */

static enum cat_verdict judged(const char *own, const char *votes, size_t voters, bool ended)
{
	struct cat_vote list[8] = { 0 };
	uint8_t digest[32];
	size_t n = strlen(votes);

	memset(digest, own[0], sizeof(digest));
	for (size_t i = 0; i < n; i++) { /* '-': no answer; a digit: of a node that does not vote */
		list[i].node = i + 2;
		list[i].answered = votes[i] != '-';
		list[i].is_voter = votes[i] < '0' || votes[i] > '9';
		memset(list[i].digest, votes[i], sizeof(list[i].digest));
	}
	return et_cat_digest_judge(digest, own[0] < '0' || own[0] > '9', list, n, voters, ended);
}

static void the_majority_decides(void **state)
{
	(void)state;
	assert_int_equal(judged("a", "", 1, true), CAT_VERDICT_AGREES);
	assert_int_equal(judged("a", "ab", 3, true), CAT_VERDICT_AGREES);
	assert_int_equal(judged("a", "a-", 3, false), CAT_VERDICT_AGREES);
	assert_int_equal(judged("b", "aa", 3, false), CAT_VERDICT_WRONG);
	assert_int_equal(judged("b", "aaa-", 5, false), CAT_VERDICT_WRONG);
	/* Not yet: the third may side with either. */
	assert_int_equal(judged("b", "a-", 3, false), CAT_VERDICT_WAIT);
	assert_int_equal(judged("b", "aa--", 5, false), CAT_VERDICT_WAIT);
	/* No majority of the voters has the same. */
	assert_int_equal(judged("a", "bc", 3, true), CAT_VERDICT_DISPUTED);
	assert_int_equal(judged("a", "b", 2, true), CAT_VERDICT_DISPUTED);
	assert_int_equal(judged("a", "b-", 3, true), CAT_VERDICT_DISPUTED);
	assert_int_equal(judged("a", "abb", 4, true), CAT_VERDICT_DISPUTED);
	/* Silence is no disagreement. */
	assert_int_equal(judged("a", "--", 3, true), CAT_VERDICT_WAIT);
	/* Who does not vote is judged, and does not judge. */
	assert_int_equal(judged("1", "aa-", 3, false), CAT_VERDICT_WRONG);
	assert_int_equal(judged("a", "11", 1, true), CAT_VERDICT_AGREES);
	assert_int_equal(judged("b", "a-11", 3, false), CAT_VERDICT_WAIT);
}

/* ---- Nodes ---- */

static struct {
	int calls[NODES_MAX];
	struct et_error why[NODES_MAX];
} diverged_nodes;

static void on_diverged(void *arg, const struct et_error *why)
{
	const struct node *n = arg;

	diverged_nodes.calls[n->id - 1]++;
	diverged_nodes.why[n->id - 1] = *why;
}

static int set_up(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));
	struct answer a = { 0 };

	memset(&diverged_nodes, 0, sizeof(diverged_nodes));
	c->snapshot_bytes = 64 * 1024;
	c->digest_check_ms = 200;
	c->on_diverged = on_diverged;
	cluster_open(c, 3);
	cluster_form(c);
	init_cluster(c, &a);
	RUN_UNTIL(c, a.calls == 1);
	assert_int_equal(a.code, 0);
	join_member(c, 2);
	join_member(c, 3);
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

static struct et_catalog_status status_of(struct node *n)
{
	struct et_catalog_status s;

	et_catalog_status(n->catalog, &s);
	return s;
}

/* Checks follow commands: there are some until the leader has seen all three agree. */
static void until_all_agree(struct cluster *c)
{
	struct et_catalog_status s = { 0 };
	int64_t until_us = et_clock_mono_us() + LOOP_US;

	while (s.agreed_nodes != 3 || s.odd_count != 0) {
		assert_true(et_clock_mono_us() < until_us);
		struct answer a = { 0 };
		propose_noop(&c->nodes[0], "more", 0, 20000, &a);
		RUN_UNTIL(c, a.calls == 1);
		s = status_of(led(c));
	}
}

static void database_of(const struct node *n, char path[800])
{
	char name[64];

	(void)snprintf(path, 800, "%s/db/CURRENT", n->folder);
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	assert_non_null(fgets(name, sizeof(name), f));
	(void)fclose(f);
	name[strcspn(name, "\n")] = '\0';
	(void)snprintf(path, 800, "%s/db/%s", n->folder, name);
}

static void damage(struct node *n, const char *key)
{
	char path[800];

	catalog_close(n);
	database_of(n, path);
	/* Of the cluster's record a letter of its name: a tick would put its time right again. */
	int at = strcmp(key, "cluster") == 0 ? 3 : -2;
	assert_true(et_state_damage(path, "default", key, strlen(key), at));
	catalog_open(n);
}

static void remove_db(const struct node *n)
{
	char path[800];

	(void)snprintf(path, sizeof(path), "%s/db", n->folder);
	assert_int_equal(nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void equal_states_are_seen_to_agree(void **state)
{
	struct cluster *c = *state;

	until_all_agree(c);
	struct et_catalog_status s = status_of(led(c));
	assert_true(s.agreed_index > 0);
	assert_int_equal(s.odd_count, 0);
	assert_false(s.disputed);
}

/* A follower or the leader; its running digest, or a value that later commands write again. */
static void the_wrong_one_is_named_and_comes_back(struct cluster *c, bool leader, const char *key)
{
	struct node *wrong = led(c);

	if (!leader) {
		wrong = wrong == &c->nodes[2] ? &c->nodes[1] : &c->nodes[2];
	}
	damage(wrong, key);
	if (leader) {
		struct answer a = { 0 };
		RUN_UNTIL(c, all_follow(c));
		et_catalog_transfer(led(c)->catalog, wrong->id, on_answer, &a);
		RUN_UNTIL(c, a.calls == 1);
	}
	struct node *other = &c->nodes[wrong->id % 3];
	if (strcmp(key, "cluster") == 0) {
		/* A value shows when it is written again: by a join. */
		join_member(c, 4);
	}
	int64_t until_us = et_clock_mono_us() + LOOP_US;
	while (diverged_nodes.calls[wrong->id - 1] == 0) {
		assert_true(et_clock_mono_us() < until_us);
		struct answer a = { 0 };
		propose_noop(other, "more", 0, 20000, &a);
		RUN_UNTIL(c, a.calls == 1);
	}
	assert_int_equal(diverged_nodes.why[wrong->id - 1].code, ET_EINTEGRITY);
	assert_non_null(strstr(diverged_nodes.why[wrong->id - 1].next, "rm -r "));
	assert_true(status_of(wrong).diverged);
	RUN_UNTIL(c, !status_of(wrong).is_leader);
	catalog_close(wrong);
	for (size_t i = 0; i < 3; i++) {
		if (&c->nodes[i] != wrong) {
			RUN_UNTIL(c, status_of(&c->nodes[i]).odd_count == 0 ||
					     status_of(&c->nodes[i]).odd[0] == wrong->id);
			assert_int_equal(diverged_nodes.calls[i], 0);
		}
	}

	/* It is not started again as it is. */
	struct et_catalog_config config = config_of(wrong);
	struct et_catalog *none = NULL;
	struct et_error e;
	assert_int_equal(et_catalog_start(&config, &none, &e), ET_EINTEGRITY);
	assert_non_null(strstr(e.text, "STATE_DIVERGED"));

	remove_db(wrong);
	catalog_open(wrong);
	uint64_t at = must_propose(other);
	RUN_UNTIL(c, applied_of(wrong) >= at);
	assert_digests_equal(c);
	until_all_agree(c);
}

static void a_wrong_follower_stops_and_replays_its_log(void **state)
{
	the_wrong_one_is_named_and_comes_back(*state, false, "applied");
}

static void a_wrong_leader_hands_over_and_stops(void **state)
{
	the_wrong_one_is_named_and_comes_back(*state, true, "applied");
}

static void a_wrong_value_shows_when_it_is_written_again(void **state)
{
	the_wrong_one_is_named_and_comes_back(*state, false, "cluster");
}

/* More than a snapshot's worth, all on their way at once. */
static void fill(struct cluster *c)
{
	struct answer answers[100] = { 0 };
	struct node *leader = led(c);
	char text[1001];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (size_t i = 0; i < ET_ARRAY_SIZE(answers); i++) {
		propose_noop(leader, text, 0, 100000, &answers[i]);
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(answers); i++) {
		RUN_UNTIL(c, answers[i].calls == 1);
	}
}

static void a_lost_database_comes_from_another_node(void **state)
{
	struct cluster *c = *state;
	struct node *n = led(c) == &c->nodes[2] ? &c->nodes[1] : &c->nodes[2];

	fill(c);
	RUN_UNTIL(c, status_of(n).snapshot_index > 0);
	catalog_close(n);
	remove_db(n);
	n->replaced_calls = 0;
	catalog_open(n);
	assert_true(status_of(n).rebuilding);
	uint64_t at = must_propose(led(c));
	RUN_UNTIL(c, n->replaced_calls == 1 && applied_of(n) >= at);
	assert_false(status_of(n).rebuilding);
	assert_digests_equal(c);
	(void)must_propose(n);
	catalog_close(n);
	catalog_open(n);
	(void)must_propose(n);
	assert_digests_equal(c);
}

static void a_single_node_says_that_nobody_can_help(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));
	struct et_catalog *none = NULL;
	struct et_error e;

	(void)state;
	c->snapshot_bytes = 64 * 1024;
	cluster_open(c, 1);
	cluster_form(c);
	fill(c);
	RUN_UNTIL(c, status_of(&c->nodes[0]).snapshot_index > 0);
	catalog_close(&c->nodes[0]);
	remove_db(&c->nodes[0]);
	struct et_catalog_config config = config_of(&c->nodes[0]);
	assert_int_equal(et_catalog_start(&config, &none, &e), ET_ECORRUPT);
	assert_non_null(strstr(e.text, "no other node"));
	cluster_close(c);
	free(c);
}

/* From now on this often. */
static void check_every(struct cluster *c, uint32_t ms)
{
	c->digest_check_ms = ms; /* who starts again */
	for (size_t i = 0; i < 3; i++) {
		c->nodes[i].catalog->digest_check_ms = ms;
		c->nodes[i].catalog->digests.propose_at_us = 0;
	}
}

/* 1:1:1. Nothing destructive is proposed anywhere; the rest goes on. */
static void a_dispute_refuses_what_destroys(void **state)
{
	struct cluster *c = *state;
	static uint8_t id[16] = { 9 };
	Et__HoldRelease release = ET__HOLD_RELEASE__INIT;
	Et__Command command = ET__COMMAND__INIT;
	char local[] = "local";

	check_every(c, 3600 * 1000); /* A check now would find node 2 alone against two. */
	damage(&c->nodes[1], "applied");
	damage(&c->nodes[2], "cluster");
	RUN_UNTIL(c, all_follow(c));
	RUN_UNTIL(c, all_level(c));
	join_member(c, 4); /* writes the record that node 3 has wrong */
	check_every(c, 200);
	bool all = false;
	for (int64_t until_us = et_clock_mono_us() + LOOP_US; !all;) {
		struct answer a = { 0 };
		propose_noop(&c->nodes[0], "more", 0, 20000, &a);
		RUN_UNTIL(c, a.calls == 1);
		all = true;
		for (size_t i = 0; i < 3; i++) {
			all &= status_of(&c->nodes[i]).disputed;
			assert_int_equal(diverged_nodes.calls[i], 0);
		}
		assert_true(et_clock_mono_us() < until_us);
	}
	release.id = (ProtobufCBinaryData){ sizeof(id), id };
	command.principal = local;
	command.body_case = ET__COMMAND__BODY_HOLD_RELEASE;
	command.hold_release = &release;
	for (size_t i = 0; i < 3; i++) {
		struct answer a = { 0 };
		assert_int_equal(diverged_nodes.calls[i], 0);
		et_catalog_propose(c->nodes[i].catalog, &command, 20000, on_answer, &a);
		RUN_UNTIL(c, a.calls == 1);
		assert_int_equal(a.code, ET_EINTEGRITY);
	}
	(void)must_propose(&c->nodes[0]);
}

static void newer_commands_wait_for_the_upgrade(void **state)
{
	struct cluster *c = *state;
	Et__SchemaProbe probe = ET__SCHEMA_PROBE__INIT;
	Et__RestoreStep step = ET__RESTORE_STEP__INIT;
	Et__Command command = ET__COMMAND__INIT;
	char local[] = "local";
	struct answer a = { 0 };

	RUN_UNTIL(c, status_of(&c->nodes[0]).schema == 1);
	command.principal = local;
	command.body_case = ET__COMMAND__BODY_SCHEMA_PROBE;
	command.schema_probe = &probe;
	et_catalog_propose(c->nodes[0].catalog, &command, 20000, on_answer, &a);
	RUN_UNTIL(c, a.calls == 1);
	assert_int_equal(a.code, ET_EVERSION);
	command.body_case = ET__COMMAND__BODY_RESTORE_STEP;
	command.restore_step = &step;
	et_catalog_propose(c->nodes[0].catalog, &command, 20000, on_answer, &a);
	RUN_UNTIL(c, a.calls == 2);
	assert_int_equal(a.code, ET_EDENIED);
}

/* A Noop of node 1, packed by a build that knows `schema`. */
static void noop_pack(uint32_t schema, uint64_t seq, struct et_buffer *ret)
{
	static uint8_t incarnation[16] = "a journal's own";
	Et__Command command = ET__COMMAND__INIT;
	Et__OpId op = ET__OP_ID__INIT;
	Et__Noop noop = ET__NOOP__INIT;
	char local[] = "local";

	op.node = 1;
	op.seq = seq;
	op.incarnation = (ProtobufCBinaryData){ sizeof(incarnation), incarnation };
	command.op = &op;
	command.proposed_us = 1700000000000000;
	command.principal = local;
	command.schema = schema;
	command.body_case = ET__COMMAND__BODY_NOOP;
	command.noop = &noop;
	ret->size = 0;
	assert_int_equal(et_command_pack(&command, ret), 0);
}

static struct answer packed_propose(struct node *n, const struct et_buffer *packed)
{
	struct answer a = { 0 };

	et_catalog_propose_packed(n->catalog, (struct et_view){ packed->data, packed->size }, 20000,
				  on_answer, &a);
	assert_int_equal(a.calls, 0);
	RUN_UNTIL(n->cluster, a.calls == 1);
	return a;
}

/* What was packed by a newer build, and needs none, stops nobody who knows less: these nodes. */
static void what_is_packed_asks_for_what_it_needs(void **state)
{
	struct cluster *c = *state;
	Et__SegmentSeal seal = ET__SEGMENT_SEAL__INIT;
	Et__Command command = ET__COMMAND__INIT;
	Et__OpId op = ET__OP_ID__INIT;
	struct et_buffer packed = { 0 };
	uint8_t bytes[32] = { 1 };
	char local[] = "local";

	RUN_UNTIL(c, status_of(&c->nodes[0]).schema == 1);
	for (size_t i = 0; i < 3; i++) {
		noop_pack(ET_COMMAND_SCHEMA + 1, i + 1, &packed);
		assert_int_equal(packed_propose(&c->nodes[i], &packed).code, 0);
	}
	/* It is the same command still: what comes again is applied once. */
	struct answer again = packed_propose(&c->nodes[0], &packed);
	assert_int_equal(again.code, 0);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(packed_propose(&c->nodes[i], &packed).index, again.index);
		(void)must_propose(&c->nodes[i]);
	}
	/* What does need a newer one is refused, whatever its envelope says. */
	op.node = 1;
	op.seq = 9;
	op.incarnation = (ProtobufCBinaryData){ 16, bytes };
	command.op = &op;
	command.proposed_us = 1700000000000000;
	command.principal = local;
	command.schema = 1;
	command.body_case = ET__COMMAND__BODY_SEGMENT_SEAL;
	command.segment_seal = &seal;
	seal.recording = (ProtobufCBinaryData){ 16, bytes };
	seal.generation = seal.segment = 1;
	seal.state = ET__SEGMENT_STATE__SEGMENT_SEALED;
	seal.root = seal.seal_hash = (ProtobufCBinaryData){ 32, bytes };
	packed.size = 0;
	assert_int_equal(et_command_pack(&command, &packed), 0);
	assert_int_equal(packed_propose(&c->nodes[0], &packed).code, ET_EVERSION);
	et_buffer_release(&packed);
}

int main(void)
{
#define NODES_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_majority_decides),
		NODES_TEST(equal_states_are_seen_to_agree),
		NODES_TEST(a_wrong_follower_stops_and_replays_its_log),
		NODES_TEST(a_wrong_leader_hands_over_and_stops),
		NODES_TEST(a_wrong_value_shows_when_it_is_written_again),
		NODES_TEST(a_lost_database_comes_from_another_node),
		NODES_TEST(a_dispute_refuses_what_destroys),
		NODES_TEST(newer_commands_wait_for_the_upgrade),
		NODES_TEST(what_is_packed_asks_for_what_it_needs),
		cmocka_unit_test(a_single_node_says_that_nobody_can_help),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
