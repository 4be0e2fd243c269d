#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/catalog/test/fixture.h"

static int set_up(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));

	cluster_open(c, 3);
	cluster_form(c);
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

static void every_node_proposes(void **state)
{
	struct cluster *c = *state;
	uint64_t before = 0;

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < 3; i++) {
			uint64_t index = must_propose(&c->nodes[i]);
			assert_true(index > before);
			assert_true(applied_of(&c->nodes[i]) >= index); /* Read your own write. */
			before = index;
		}
	}
	assert_digests_equal(c);
}

enum { MANY = 10000, DISTINCT = 9000 };

/* 10,000 proposals, spread over the nodes; a tenth repeats the op id of an earlier one. */
static void a_repeated_command_is_applied_once(void **state)
{
	struct cluster *c = *state;
	struct answer *answers = calloc(MANY, sizeof(*answers));
	uint64_t before = c->nodes[0].applied_calls;
	size_t done = 0;

	for (int i = 0; i < MANY; i++) {
		int distinct = i < DISTINCT ? i : i - DISTINCT;
		size_t who = (size_t)distinct % 3;
		propose_noop(&c->nodes[who], "many", (uint64_t)distinct / 3 + 1, 30000,
			     &answers[i]);
	}
	while (done < MANY) {
		RUN_UNTIL(c, answers[done].calls > 0);
		assert_int_equal(answers[done].calls, 1);
		assert_int_equal(answers[done].code, 0);
		done++;
	}
	for (int i = DISTINCT; i < MANY; i++) {
		/* What a retry gets is the first result. */
		assert_int_equal(answers[i].index, answers[i - DISTINCT].index);
	}
	RUN_UNTIL(c, c->nodes[0].applied_calls >= before + DISTINCT);
	assert_digests_equal(c);
	assert_int_equal(c->nodes[0].applied_calls, before + DISTINCT);

	/* Again, now that all are applied: what is still remembered is answered at once, the rest
	 * is told that it was there; nothing is applied twice, also not by way of another node. */
	memset(answers, 0, MANY * sizeof(*answers));
	for (int i = 0; i < DISTINCT; i++) {
		propose_noop(&c->nodes[(size_t)i % 3], "many", (uint64_t)i / 3 + 1, 30000,
			     &answers[i]);
	}
	for (int i = 0; i < DISTINCT; i++) {
		RUN_UNTIL(c, answers[i].calls > 0);
		assert_true(answers[i].code == (i < 3 ? ET_EEXISTS : answers[i].code));
		assert_true(answers[i].code == 0 || answers[i].code == ET_EEXISTS);
	}
	assert_digests_equal(c);
	assert_int_equal(c->nodes[0].applied_calls, before + DISTINCT);
	free(answers);
}

static void proposals_of_a_node_keep_their_order(void **state)
{
	struct cluster *c = *state;
	struct node *follower = led(c) == &c->nodes[1] ? &c->nodes[2] : &c->nodes[1];
	static struct answer answers[2000];

	memset(answers, 0, sizeof(answers));
	for (size_t i = 0; i < ET_ARRAY_SIZE(answers); i++) {
		propose_noop(follower, "in order", i + 1, 30000, &answers[i]);
		if (i == 700) { /* Leadership moves meanwhile. */
			et_catalog_transfer(led(c)->catalog, 0, NULL, NULL);
		}
		if (i % 100 == 0) {
			(void)uv_run(&c->loop, UV_RUN_NOWAIT);
		}
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(answers); i++) {
		RUN_UNTIL(c, answers[i].calls == 1);
		assert_int_equal(answers[i].code, 0);
		assert_true(i == 0 || answers[i].index >= answers[i - 1].index);
	}
	assert_digests_equal(c);
}

/* Heartbeats that say nothing of what is committed: who waits for them waits for ever. */
static int (*send_really)(struct raft_io *io, struct raft_io_send *req,
			  const struct raft_message *message, raft_io_send_cb cb);

static int send_mute_heartbeats(struct raft_io *io, struct raft_io_send *req,
				const struct raft_message *message, raft_io_send_cb cb)
{
	struct raft_message mute = *message;

	if (mute.type == RAFT_APPEND_ENTRIES && mute.append_entries.n_entries == 0) {
		mute.append_entries.leader_commit = 0;
	}
	return send_really(io, req, &mute, cb);
}

/* A write through a follower, and a read at another, on a quiet cluster (flow.c). */
static void who_waits_at_a_follower_waits_for_no_heartbeat(void **state)
{
	struct cluster *c = *state;
	struct node *leader = led(c);
	struct node *writer = leader == &c->nodes[1] ? &c->nodes[2] : &c->nodes[1];
	struct node *reader = leader == &c->nodes[0] ? &c->nodes[2] : &c->nodes[0];
	reader = reader == writer ? &c->nodes[1] : reader;
	raft_term term = leader->catalog->raft.current_term;

	(void)must_propose(writer); /* the connections stand */
	send_really = leader->catalog->io.send;
	leader->catalog->io.send = send_mute_heartbeats;
	for (uint64_t i = 0; i < 20; i++) {
		struct answer a = { 0 };
		struct answer read = { 0 };
		propose_noop(writer, "quiet", i + 1, 30000, &a);
		RUN_UNTIL(c, a.calls == 1);
		assert_int_equal(a.code, 0);
		et_catalog_read_index(reader->catalog, 30000, on_index, &read);
		RUN_UNTIL(c, read.calls == 1);
		assert_int_equal(read.code, 0);
		assert_true(read.index >= a.index);
		/* Nobody waits at the others, and they know it, too. */
		struct answer own = { 0 };
		propose_noop(leader, "leader", i + 1, 30000, &own);
		RUN_UNTIL(c, own.calls == 1);
		RUN_UNTIL(c, writer->catalog->applied >= own.index &&
				     reader->catalog->applied >= own.index);
	}
	assert_ptr_equal(led(c), leader);
	assert_int_equal(leader->catalog->raft.current_term, term);
	leader->catalog->io.send = send_really;
	assert_digests_equal(c);
}

static void goes_on_without_its_leader(void **state)
{
	struct cluster *c = *state;
	struct node *dead = led(c);

	node_close(dead);
	RUN_UNTIL(c, all_follow(c));
	assert_ptr_not_equal(led(c), dead);
	for (size_t i = 0; i < 3; i++) {
		if (&c->nodes[i] != dead) {
			(void)must_propose(&c->nodes[i]);
		}
	}
	node_reopen(dead);
	(void)must_propose(dead);
	assert_digests_equal(c);
}

static void a_leader_that_is_cut_off_commits_nothing(void **state)
{
	struct cluster *c = *state;
	struct node *old = led(c);
	struct answer lost = { 0 };
	struct answer read = { 0 };
	struct et_catalog_status s;

	uint64_t term = old->catalog->raft.current_term;
	node_cut(old, true);
	propose_noop(old, "lost?", 7, 2500, &lost);
	et_catalog_read_index(old->catalog, 2500, on_index, &read);
	int64_t asked_us = et_clock_mono_us();
	RUN_UNTIL(c, all_follow(c));
	assert_ptr_not_equal(led(c), old);
	for (size_t i = 0; i < 3; i++) {
		if (&c->nodes[i] != old) {
			(void)must_propose(&c->nodes[i]);
		}
	}
	RUN_UNTIL(c, lost.calls == 1 && read.calls == 1);
	assert_int_equal(lost.code, ET_ENOQUORUM);
	assert_int_equal(read.code, ET_ENOQUORUM);
	assert_true(et_clock_mono_us() - asked_us < 5000000);
	et_catalog_status(old->catalog, &s);
	assert_false(s.is_leader);
	assert_false(s.has_quorum);

	node_cut(old, false);
	/* The same op id again: applied once, whatever became of the first. */
	propose_noop(old, "lost?", 7, 30000, &lost);
	RUN_UNTIL(c, lost.calls == 2);
	assert_int_equal(lost.code, 0);
	assert_digests_equal(c);
	/* Pre-vote: who was away does not force an election on the others. */
	assert_true(old->catalog->raft.current_term <= term + 2);
}

static void a_minority_says_so_in_time(void **state)
{
	struct cluster *c = *state;
	struct answer a = { 0 };
	struct answer read = { 0 };

	node_close(&c->nodes[1]);
	node_close(&c->nodes[2]);
	propose_noop(&c->nodes[0], "alone", 11, 1500, &a);
	et_catalog_read_index(c->nodes[0].catalog, 1500, on_index, &read);
	int64_t asked_us = et_clock_mono_us();
	RUN_UNTIL(c, a.calls == 1 && read.calls == 1);
	assert_true(et_clock_mono_us() - asked_us < 3000000);
	assert_int_equal(read.code, ET_ENOQUORUM);
	assert_true(a.code == ET_ENOQUORUM || a.code == ET_EUNKNOWN);
	node_reopen(&c->nodes[1]);
	propose_noop(&c->nodes[0], "alone", 11, 30000, &a);
	RUN_UNTIL(c, a.calls == 2);
	assert_int_equal(a.code, 0);
	node_reopen(&c->nodes[2]);
	(void)must_propose(&c->nodes[2]);
	assert_digests_equal(c);
}

static void starts_again_from_its_disks(void **state)
{
	struct cluster *c = *state;
	uint64_t last = 0;

	for (int i = 0; i < 20; i++) {
		last = must_propose(&c->nodes[(size_t)i % 3]);
	}
	for (size_t i = 0; i < 3; i++) {
		node_close(&c->nodes[i]);
	}
	for (size_t i = 0; i < 3; i++) {
		node_reopen(&c->nodes[i]);
		assert_true(applied_of(&c->nodes[i]) > 0); /* Flushed at the stop. */
	}
	assert_true(must_propose(&c->nodes[2]) > last);
	assert_digests_equal(c);
}

static void a_read_sees_what_was_committed_before(void **state)
{
	struct cluster *c = *state;

	for (int round = 0; round < 10; round++) {
		for (size_t i = 0; i < 3; i++) {
			struct node *writer = &c->nodes[i];
			struct node *reader = &c->nodes[(i + 1) % 3];
			struct answer read = { 0 };
			uint64_t index = must_propose(writer);
			et_catalog_read_index(reader->catalog, 10000, on_index, &read);
			assert_int_equal(read.calls, 0);
			RUN_UNTIL(c, read.calls == 1);
			assert_int_equal(read.code, 0);
			assert_true(read.index >= index);
			struct et_state_view *v =
				et_state_view_open(et_catalog_state(reader->catalog));
			assert_true(et_state_view_index(v) >= index);
			et_state_view_close(v);
		}
	}
}

static void reads_do_not_touch_the_log(void **state)
{
	struct cluster *c = *state;
	struct node *leader = led(c);

	(void)must_propose(leader);
	uint64_t last = raft_last_index(&leader->catalog->raft);
	struct answer reads[100] = { 0 };
	for (size_t i = 0; i < 100; i++) {
		et_catalog_read_index(c->nodes[i % 3].catalog, 10000, on_index, &reads[i]);
	}
	for (size_t i = 0; i < 100; i++) {
		RUN_UNTIL(c, reads[i].calls == 1);
		assert_int_equal(reads[i].code, 0);
	}
	assert_int_equal(raft_last_index(&leader->catalog->raft), last);
}

struct thread {
	struct node *node;
	struct answer answers[200];
	struct answer reads[20];
	int failed;
};

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	char text[] = "from a thread";
	Et__Command command = ET__COMMAND__INIT;
	Et__Noop noop = ET__NOOP__INIT;

	command.reason = text;
	command.principal = text;
	command.schema = 1;
	command.body_case = ET__COMMAND__BODY_NOOP;
	command.noop = &noop;
	for (size_t i = 0; i < ET_ARRAY_SIZE(t->answers); i++) {
		t->failed |= et_catalog_propose_from(t->node->catalog, &command, 30000, on_answer,
						     &t->answers[i]);
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(t->reads); i++) {
		struct et_catalog_status s;
		t->failed |=
			et_catalog_read_index_from(t->node->catalog, 30000, on_index, &t->reads[i]);
		et_catalog_status(t->node->catalog, &s);
		t->failed |= s.node != t->node->id;
	}
	return NULL;
}

static void other_threads_propose_and_read(void **state)
{
	struct cluster *c = *state;
	struct thread *threads = calloc(3, sizeof(*threads));
	pthread_t ids[3];

	for (size_t i = 0; i < 3; i++) {
		threads[i].node = &c->nodes[i];
		assert_int_equal(pthread_create(&ids[i], NULL, thread_main, &threads[i]), 0);
	}
	for (size_t i = 0; i < 3; i++) {
		for (size_t k = 0; k < ET_ARRAY_SIZE(threads[i].answers); k++) {
			RUN_UNTIL(c, threads[i].answers[k].calls == 1);
			assert_int_equal(threads[i].answers[k].code, 0);
		}
		for (size_t k = 0; k < ET_ARRAY_SIZE(threads[i].reads); k++) {
			RUN_UNTIL(c, threads[i].reads[k].calls == 1);
			assert_int_equal(threads[i].reads[k].code, 0);
		}
		(void)pthread_join(ids[i], NULL);
		assert_int_equal(threads[i].failed, 0);
	}
	assert_digests_equal(c);
	free(threads);
}

/* ---- What goes into one entry over a long way ---- */

enum { CROWD = 64 };

struct crowd {
	struct node *n;
	uint64_t alone[CROWD], together[CROWD]; /* the entry of each */
	size_t alone_count, together_count;
};

static void propose_kilobyte(struct crowd *w, et_catalog_cb cb)
{
	Et__Command command = ET__COMMAND__INIT;
	Et__Noop noop = ET__NOOP__INIT;
	char principal[] = "node:1";
	char text[961];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	command.principal = principal;
	command.reason = text;
	command.schema = 1;
	command.body_case = ET__COMMAND__BODY_NOOP;
	command.noop = &noop;
	et_catalog_propose(w->n->catalog, &command, 30000, cb, w);
}

static void on_together(void *arg, int code, const Et__Result *result)
{
	struct crowd *w = arg;

	assert_int_equal(code, 0);
	w->together[w->together_count++] = result->index;
}

/* The last of them proposes many at once. */
static void on_alone(void *arg, int code, const Et__Result *result)
{
	struct crowd *w = arg;

	assert_int_equal(code, 0);
	w->alone[w->alone_count++] = result->index;
	for (size_t i = 0; i < CROWD && w->alone_count == CROWD; i++) {
		propose_kilobyte(w, on_together);
	}
}

/* Each proposes one. */
static void on_crowd(void *arg, int code, const Et__Result *result)
{
	struct crowd *w = arg;

	(void)result;
	assert_int_equal(code, 0);
	propose_kilobyte(w, on_alone);
}

/* Who proposes one by one is told in pieces; who waits for many finds them in one entry. */
static void over_a_long_way_what_is_proposed_together_stays_together(void **state)
{
	struct cluster *c = *state;
	struct crowd w = { .n = led(c) };
	size_t most = 0;

	w.n->catalog->commit_us = INT64_C(1000000000);
	for (size_t i = 0; i < CROWD; i++) {
		propose_kilobyte(&w, on_crowd);
	}
	RUN_UNTIL(c, w.together_count == CROWD);
	assert_true(w.n->catalog->commit_us >= CAT_FAR_US); /* it was far all the time */
	for (size_t i = 0, same = 0; i < CROWD; i++) {
		same = i > 0 && w.alone[i] == w.alone[i - 1] ? same + 1 : 1;
		most = same > most ? same : most;
		assert_int_equal(w.together[i], w.together[0]);
	}
	assert_in_range(most, 2, CAT_PIECE_BYTES / 1000 + 2);
}

static void stopping_answers_everybody(void **state)
{
	struct cluster *c = *state;
	struct answer a[50] = { 0 };
	struct answer reads[50] = { 0 };

	for (size_t i = 0; i < 50; i++) {
		propose_noop(&c->nodes[0], "late", 0, 0, &a[i]);
		et_catalog_read_index(c->nodes[0].catalog, 0, on_index, &reads[i]);
	}
	catalog_close(&c->nodes[0]);
	for (size_t i = 0; i < 50; i++) {
		assert_int_equal(a[i].calls, 1);
		assert_int_equal(reads[i].calls, 1);
	}
	catalog_open(&c->nodes[0]);
	(void)must_propose(&c->nodes[0]);
	assert_digests_equal(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_node_proposes),
		TEST(a_repeated_command_is_applied_once),
		TEST(proposals_of_a_node_keep_their_order),
		TEST(who_waits_at_a_follower_waits_for_no_heartbeat),
		TEST(goes_on_without_its_leader),
		TEST(a_leader_that_is_cut_off_commits_nothing),
		TEST(a_minority_says_so_in_time),
		TEST(starts_again_from_its_disks),
		TEST(a_read_sees_what_was_committed_before),
		TEST(reads_do_not_touch_the_log),
		TEST(other_threads_propose_and_read),
		TEST(over_a_long_way_what_is_proposed_together_stays_together),
		TEST(stopping_answers_everybody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
