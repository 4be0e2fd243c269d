#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/catalog/test/fixture.h"

/* What a leader tells of its own (flow.c), under everything that can come between: leaders that
 * change, are cut off and come back; followers that start again, miss so much that a snapshot
 * comes, and are behind. Each AppendEntries is compared with the log of who sends it, and no answer
 * may refuse what its follower has acknowledged: libraft 0.22.1 asserts that of a prober. */

static int (*send_below)(struct raft_io *io, struct raft_io_send *req,
			 const struct raft_message *message, raft_io_send_cb cb);
static int (*send_above)(struct raft_io *io, struct raft_io_send *req,
			 const struct raft_message *message, raft_io_send_cb cb);
static bool by_libraft;
static uint64_t told;	   /* messages that are not libraft's */
static uint64_t snapshots; /* that were sent */

/* 0: it is in the log no more, or not yet. */
static raft_term term_of(const struct raft_trail *t, raft_index index)
{
	unsigned n = t->size == 0 ? 0 : (t->back + t->size - t->front) % t->size;

	if (index > t->offset) {
		for (unsigned i = 0; i < n; i++) {
			if (index <= t->records[(t->front + i) % t->size].index) {
				return t->records[(t->front + i) % t->size].term;
			}
		}
	}
	return index == t->snapshot.index ? t->snapshot.term : 0;
}

static int checked_send(struct raft_io *io, struct raft_io_send *req,
			const struct raft_message *message, raft_io_send_cb cb)
{
	const struct et_catalog *c = ET_CONTAINER_OF(io, struct et_catalog, io);
	const struct raft_append_entries *args = &message->append_entries;

	snapshots += message->type == RAFT_INSTALL_SNAPSHOT;
	if (message->type == RAFT_APPEND_ENTRIES) {
		raft_term prev = term_of(&c->raft.trail, args->prev_log_index);
		assert_int_equal(c->raft.state, RAFT_LEADER);
		assert_int_equal(args->term, c->raft.current_term);
		assert_true(args->leader_commit <= c->raft.commit_index);
		assert_true(prev == 0 || prev == args->prev_log_term);
		for (unsigned i = 0; i < args->n_entries; i++) {
			prev = term_of(&c->raft.trail, args->prev_log_index + 1 + i);
			assert_true(prev == 0 || prev == args->entries[i].term);
		}
		if (!by_libraft) {
			raft_index match = 0;
			assert_int_equal(args->n_entries, 0);
			assert_int_equal(raft_match_index(&c->raft, message->server_id, &match), 0);
			assert_int_equal(args->prev_log_index, match);
			assert_true(args->leader_commit <= match);
			told++;
		}
	}
	return send_below(io, req, message, cb);
}

static int refuse_send(struct raft_io *io, struct raft_io_send *req,
		       const struct raft_message *message, raft_io_send_cb cb)
{
	(void)io;
	(void)req;
	(void)message;
	(void)cb;
	return RAFT_NOCONNECTION;
}

static int marked_send(struct raft_io *io, struct raft_io_send *req,
		       const struct raft_message *message, raft_io_send_cb cb)
{
	by_libraft = true;
	int rc = send_above(io, req, message, cb);
	by_libraft = false;
	return rc;
}

static void watch(struct node *n)
{
	send_below = n->catalog->io_send;
	send_above = n->catalog->io.send;
	n->catalog->io_send = checked_send;
	n->catalog->io.send = marked_send;
}

static int set_up(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));

	c->snapshot_bytes = 32 * 1024;
	cluster_open(c, 3);
	cluster_form(c);
	for (size_t i = 0; i < 3; i++) {
		watch(&c->nodes[i]);
	}
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

/* ---- Clients ---- */

enum { CLIENTS = 6, ROUNDS = 16, TURNS = 15 };

struct client {
	struct node *node;
	struct answer write;
	struct answer read;
	uint64_t before; /* the highest index that anybody had an answer of when the read began */
	unsigned done;
};

static uint64_t highest;
static uint64_t seq;

static void client_read_ended(struct client *k)
{
	if (k->read.code == 0) {
		assert_true(k->read.index >= k->before);
		k->done++;
	}
	k->read = (struct answer){ .calls = -1 };
}

/* Writes and reads, one of each at a time. */
static void client_turn(struct client *k)
{
	if (!k->node->catalog_open) {
		return;
	}
	if (k->write.calls == 1 && k->write.code == 0) {
		highest = k->write.index > highest ? k->write.index : highest;
		k->done++;
	}
	if (k->write.calls != 0) {
		k->write = (struct answer){ .calls = 0 };
		propose_noop(k->node, "told", ++seq, 3000, &k->write);
	}
	if (k->read.calls == 1) {
		client_read_ended(k);
	}
	if (k->read.calls != 0) {
		k->read = (struct answer){ .calls = 0 };
		k->before = highest;
		et_catalog_read_index(k->node->catalog, 3000, on_index, &k->read);
	}
}

static void clients_run(struct cluster *c, struct client *clients, unsigned turns)
{
	unsigned done[CLIENTS];
	int64_t until_us = et_clock_mono_us() + 700000; /* some are cut off */

	for (size_t i = 0; i < CLIENTS; i++) {
		done[i] = clients[i].done + turns;
	}
	for (bool more = true; more && et_clock_mono_us() < until_us;) {
		(void)uv_run(&c->loop, UV_RUN_ONCE);
		more = false;
		for (size_t i = 0; i < CLIENTS; i++) {
			client_turn(&clients[i]);
			more |= clients[i].done < done[i];
		}
	}
}

static void clients_end(struct cluster *c, struct client *clients)
{
	for (size_t i = 0; i < CLIENTS; i++) {
		RUN_UNTIL(c, clients[i].write.calls != 0 && clients[i].read.calls != 0);
	}
}

/* ---- What comes between ---- */

static void node_restart(struct cluster *c, struct client *clients, struct node *n)
{
	node_close(n);
	clients_run(c, clients, TURNS);
	for (int i = 0; i < 60; i++) { /* more than a snapshot's worth is missed */
		char text[1024];
		struct answer a = { 0 };
		memset(text, 'x', sizeof(text) - 1);
		text[sizeof(text) - 1] = '\0';
		propose_noop(led(c), text, 0, 10000, &a);
		RUN_UNTIL(c, a.calls == 1);
	}
	node_reopen(n);
	watch(n);
}

static void round_run(struct cluster *c, struct client *clients, unsigned round)
{
	struct node *leader = led(c);
	struct node *other = &c->nodes[leader->id % 3];

	switch (round % 4) {
	case 0:
		et_catalog_transfer(leader->catalog, other->id, NULL, NULL);
		break;
	case 1:
		node_cut(leader, true);
		clients_run(c, clients, TURNS);
		RUN_UNTIL(c, all_follow(c));
		clients_run(c, clients, TURNS);
		node_cut(leader, false);
		break;
	case 2:
		node_cut(other, true);
		clients_run(c, clients, TURNS);
		node_cut(other, false);
		break;
	default:
		node_restart(c, clients, round % 8 == 3 ? leader : other);
		break;
	}
	clients_run(c, clients, TURNS);
}

static void what_is_told_is_of_the_leaders_log(void **state)
{
	struct cluster *c = *state;
	struct client clients[CLIENTS];

	for (size_t i = 0; i < CLIENTS; i++) {
		clients[i] = (struct client){ .node = &c->nodes[i % 3],
					      .write = { .calls = -1 },
					      .read = { .calls = -1 } };
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		round_run(c, clients, round);
	}
	clients_end(c, clients);
	RUN_UNTIL(c, all_follow(c));
	assert_digests_equal(c);
	assert_true(told > 100); /* It was tested. */
	assert_true(snapshots > 0);
}

/* A new leader's first messages carry entries: what is known of a follower begins anew with them,
 * but not how libraft's messages look. */
static void the_version_is_libraft_s(void **state)
{
	struct cluster *c = *state;
	struct et_catalog *k = led(c)->catalog;
	uint64_t other = k->node % 3 + 1;

	(void)must_propose(led(c));
	struct cat_flow *f = &et_cat_seat(k, other)->flow;
	f->term--; /* as if it were of another */
	f->version = 7;
	static char address[] = "127.0.0.1:1";
	struct raft_entry entry = { .term = k->raft.current_term };
	struct raft_message m = { .type = RAFT_APPEND_ENTRIES,
				  .server_id = other,
				  .server_address = address };
	m.append_entries.version = 3;
	m.append_entries.term = k->raft.current_term;
	m.append_entries.entries = &entry;
	m.append_entries.n_entries = 1;
	struct raft_io_send req;
	k->io_send = refuse_send;
	assert_int_equal(send_above(&k->io, &req, &m, NULL), RAFT_NOCONNECTION);
	k->io_send = checked_send;
	assert_int_equal(f->version, 3);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_told_is_of_the_leaders_log),
		TEST(the_version_is_libraft_s),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
