#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/catalog/test/fixture.h"

/* What one message carries, and how often (G12): parts that are messages of their own, nothing sent
 * twice, nothing kept back for ever; and that a log comes out of parts as of the whole, with a
 * conflicting tail, and with another term between two of them. */

enum { ENTRY = 200 * 1024, SENT_MAX = 64 };

/* ---- What would have reached the connection ---- */

struct sent {
	raft_term term;
	raft_index prev;
	raft_term prev_term;
	raft_index commit;
	unsigned n;
	int first_type;
	size_t bytes;
	struct raft_io_send *req;
};

static struct sent sent[SENT_MAX];
static size_t sent_count;
static int sent_result; /* of the next send */
static unsigned ended;
static int ended_status;

static int record_send(struct raft_io *io, struct raft_io_send *req, const struct raft_message *m,
		       raft_io_send_cb cb)
{
	const struct raft_append_entries *a = &m->append_entries;

	(void)io;
	if (sent_result != 0) {
		return sent_result;
	}
	assert_int_equal(m->type, RAFT_APPEND_ENTRIES);
	assert_true(sent_count < SENT_MAX);
	struct sent *s = &sent[sent_count++];
	*s = (struct sent){ .term = a->term,
			    .prev = a->prev_log_index,
			    .prev_term = a->prev_log_term,
			    .commit = a->leader_commit,
			    .n = a->n_entries,
			    .first_type = a->n_entries > 0 ? (int)a->entries[0].type : 0,
			    .req = req };
	for (unsigned i = 0; i < a->n_entries; i++) {
		s->bytes += a->entries[i].buf.len;
	}
	req->cb = cb;
	return 0;
}

static void on_ended(struct raft_io_send *req, int status)
{
	(void)req;
	ended++;
	ended_status = status;
}

static void written(size_t from, int status)
{
	for (size_t i = from; i < sent_count; i++) {
		sent[i].req->cb(sent[i].req, status);
	}
}

static struct raft_entry pool[SENT_MAX];
static uint8_t content[ENTRY];

/* Entries prev+1.. of the leader's log; entry i has the term 2 + i / 10. */
static struct raft_message message_of(raft_term term, raft_index prev, unsigned n)
{
	static char address[] = "127.0.0.1:1";
	struct raft_message m = { .type = RAFT_APPEND_ENTRIES,
				  .server_id = 2,
				  .server_address = address };
	struct raft_append_entries *a = &m.append_entries;

	for (unsigned i = 0; i < n; i++) {
		pool[i] = (struct raft_entry){ .term = 2 + (prev + 1 + i) / 10,
					       .type = RAFT_COMMAND,
					       .buf = { content, ENTRY } };
	}
	a->term = term;
	a->prev_log_index = prev;
	a->prev_log_term = prev == 0 ? 0 : 2 + prev / 10;
	a->leader_commit = 1000;
	a->entries = pool;
	a->n_entries = n;
	return m;
}

static struct et_catalog *k;
static struct raft_io_send request;

/* As if the follower had said that it has what is before `m`. */
static void send_message(struct raft_message *m)
{
	struct cat_flow *f = &et_cat_seat(k, 2)->flow;

	sent_count = 0;
	ended = 0;
	if (f->sent == 0 || f->term != m->append_entries.term) {
		*f = (struct cat_flow){ .term = m->append_entries.term,
					.before = m->append_entries.prev_log_index,
					.sent = m->append_entries.prev_log_index,
					.open = f->open,
					.patience_us = f->patience_us,
					.moved_us = f->moved_us };
	}
	assert_int_equal(k->io.send(&k->io, &request, m, on_ended), 0);
	assert_int_equal(ended, 0); /* Never inside. */
}

static int (*send_before)(struct raft_io *io, struct raft_io_send *req,
			  const struct raft_message *message, raft_io_send_cb cb);

static int set_up(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));

	cluster_open(c, 1);
	cluster_form(c);
	*state = c;
	k = c->nodes[0].catalog;
	send_before = k->io_send;
	k->io_send = record_send;
	sent_result = 0;
	return 0;
}

static int tear_down(void **state)
{
	struct cluster *c = *state;

	k->io_send = send_before;
	cluster_close(c);
	free(c);
	return 0;
}

static void parts_are_messages_of_the_same_log(void **state)
{
	struct raft_message m = message_of(9, 100, 20);
	raft_index next = 100;
	unsigned entries = 0;

	(void)state;
	m.append_entries.leader_commit = 107;
	pool[7].type = RAFT_CHANGE;
	send_message(&m);
	assert_in_range(sent_count, 4, 6); /* 20 of 200 KiB */
	for (size_t i = 0; i < sent_count; i++) {
		assert_int_equal(sent[i].term, 9);
		assert_int_equal(sent[i].prev, next);
		assert_int_equal(sent[i].prev_term, 2 + next / 10);
		assert_true(sent[i].bytes <= CAT_PART_BYTES);
		next += sent[i].n;
		entries += sent[i].n;
		assert_int_equal(sent[i].commit, next < 107 ? next : 107);
		assert_true(sent[i].prev < 107 ? next <= 107 : true); /* The change is first. */
	}
	assert_int_equal(entries, 20);
	written(0, 0);
	assert_int_equal(ended, 1);
	assert_int_equal(ended_status, 0);
}

static void what_is_on_its_way_is_not_sent_again(void **state)
{
	struct raft_message m = message_of(9, 100, 20);

	(void)state;
	send_message(&m);
	written(0, 0);
	send_message(&m); /* libraft has no answer: the same again. */
	assert_int_equal(sent_count, 1);
	assert_int_equal(sent[0].n, 0);
	assert_int_equal(sent[0].prev, 100);
	assert_int_equal(sent[0].commit, 100);
	written(0, 0);
	assert_int_equal(ended, 1);

	m = message_of(9, 110, 13); /* An answer of the half came, and three more entries. */
	send_message(&m);
	assert_int_equal(sent_count, 1);
	assert_int_equal(sent[0].prev, 120);
	assert_int_equal(sent[0].n, 3);
	written(0, 0);

	m = message_of(9, 90,
		       15); /* From before what was sent: it may refuse, so the first only. */
	send_message(&m);
	assert_int_equal(sent_count, 1);
	assert_int_equal(sent[0].prev, 90);
	assert_true(sent[0].n > 0);
	written(0, 0);
}

/* Each way to forget: then the next message goes whole. */
static void assert_sent_whole(struct raft_message *m)
{
	send_message(m);
	assert_true(sent_count > 1);
	assert_int_equal(sent[0].prev, 100);
	written(0, 0);
	send_message(m);
	assert_int_equal(sent[0].n, 0);
	written(0, 0);
}

static void what_may_be_lost_is_sent_again(void **state)
{
	struct raft_message m = message_of(9, 100, 20);
	struct raft_message answer = { .type = RAFT_APPEND_ENTRIES_RESULT, .server_id = 2 };

	(void)state;
	assert_sent_whole(&m);
	m = message_of(10, 100, 20); /* another term */
	assert_sent_whole(&m);
	et_cat_flow_forget(k, 2); /* another connection */
	assert_sent_whole(&m);
	answer.append_entries_result.last_log_index = 100;
	et_cat_flow_result(k, &answer); /* "I have 100": nothing is lost. */
	send_message(&m);
	assert_int_equal(sent[0].n, 0);
	written(0, 0);
	answer.append_entries_result.rejected = 700; /* Something else, sent before: so, too. */
	et_cat_flow_result(k, &answer);
	send_message(&m);
	assert_int_equal(sent[0].n, 0);
	written(0, 0);
	answer.append_entries_result.rejected = 110; /* One of the parts. */
	et_cat_flow_result(k, &answer);
	assert_sent_whole(&m);

	m = message_of(10, 120, 6); /* The second of two parts does not get out. */
	send_message(&m);
	assert_int_equal(sent_count, 2);
	sent[0].req->cb(sent[0].req, 0);
	written(1, RAFT_IOERR);
	assert_int_equal(ended, 1);
	assert_int_equal(ended_status, RAFT_IOERR);
	m = message_of(10, 100, 20);
	assert_sent_whole(&m);

	/* Nothing has moved for a while. Not while something waits to be written; and the next time
	 * it takes longer. */
	struct cat_flow *f = &et_cat_seat(k, 2)->flow;
	f->moved_us -= f->patience_us + 1;
	int64_t patience_us = f->patience_us;
	send_message(&m);
	assert_true(sent_count == 1 && sent[0].n > 0); /* It is not known to have the one before. */
	assert_int_equal(f->patience_us, patience_us * 2);
	f->moved_us -= f->patience_us + 1;
	struct sent open = sent[0];
	m = message_of(10, 100, open.n);
	send_message(&m);
	assert_true(sent_count == 1 && sent[0].n == 0);
	open.req->cb(open.req, 0);
	f->moved_us -= f->patience_us + 1;
	send_message(&m);
	assert_true(sent_count == 1 && sent[0].n == open.n);
	written(0, 0);
}

static void a_send_that_is_refused_is_not_counted(void **state)
{
	struct raft_message m = message_of(9, 100, 20);

	(void)state;
	sent_result = RAFT_NOMEM;
	sent_count = ended = 0;
	assert_int_equal(k->io.send(&k->io, &request, &m, on_ended), RAFT_NOMEM);
	assert_int_equal(ended, 0);
	sent_result = 0;
	assert_sent_whole(&m);
}

/* ---- Receiving ---- */

static size_t delivered;
static raft_index delivered_next;
static raft_index delivered_commit;

static void record_deliver(struct raft_io *io, struct raft_message *m)
{
	struct raft_append_entries *a = &m->append_entries;

	(void)io;
	assert_int_equal(m->type, RAFT_APPEND_ENTRIES);
	delivered_commit = a->leader_commit;
	if (a->n_entries > 0) {
		delivered++;
		assert_int_equal(a->prev_log_index, delivered_next);
		delivered_next += a->n_entries;
		raft_free(a->entries[0].batch);
		raft_free(a->entries);
	}
}

/* The same with memory of its own, as libraft gets it. */
static struct raft_message received_of(raft_term term, raft_index prev, raft_term prev_term,
				       const raft_term *terms, unsigned n, size_t size)
{
	struct raft_message m = message_of(term, prev, 0);
	struct raft_append_entries *a = &m.append_entries;
	uint8_t *batch = raft_malloc(n * size + 1);

	memset(batch, 0, n * size);
	a->entries = raft_malloc(n * sizeof(*a->entries) + 1);
	for (unsigned i = 0; i < n; i++) {
		a->entries[i] = (struct raft_entry){ .term = terms[i],
						     .type = RAFT_BARRIER,
						     .buf = { batch + i * size, size },
						     .batch = batch };
	}
	a->n_entries = n;
	a->prev_log_term = prev_term;
	a->leader_commit = 0;
	return m;
}

static void a_turn_takes_no_more_than_it_should(void **state)
{
	static const raft_term terms[8] = { 1, 1, 1, 1, 1, 1, 1, 1 };
	struct cluster *c = *state;
	raft_io_recv_cb before = k->deliver;

	k->deliver = record_deliver;
	delivered = 0;
	delivered_next = 100;
	k->turn_bytes = 0;
	for (raft_index i = 0; i < 6; i++) {
		struct raft_message m =
			received_of(k->raft.current_term, 100 + i * 4, 1, terms, 4, 256 * 1024);
		et_cat_guard_recv(&k->io, &m);
	}
	assert_int_equal(delivered, 2); /* of 1 MiB each */
	(void)uv_run(&c->loop, UV_RUN_NOWAIT);
	assert_in_range(delivered, 3, 5);
	RUN_UNTIL(c, delivered == 6); /* In order: see record_deliver(). */
	assert_int_equal(k->held_bytes, 0);
	k->deliver = before;
}

/* libraft would let its commit index fall to the message's last entry. */
static void an_old_message_does_not_take_back_a_commit(void **state)
{
	static const raft_term terms[2] = { 1, 1 };
	raft_io_recv_cb before = k->deliver;

	(void)state;
	k->deliver = record_deliver;
	delivered_next = 10;
	struct raft_message m = received_of(k->raft.current_term, 10, 1, terms, 2, 8);
	m.append_entries.leader_commit = 500;
	et_cat_guard_recv(&k->io, &m);
	assert_int_equal(delivered_commit, 12);
	m = message_of(k->raft.current_term, 10, 0);
	et_cat_guard_recv(&k->io, &m);
	assert_int_equal(delivered_commit, 10);
	k->deliver = before;
}

/* ---- What comes of it, in libraft's log ---- */

static int set_up_follower(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));

	cluster_open(c, 1);
	catalog_open(&c->nodes[0]); /* In no cluster: it takes what a leader says. */
	k = c->nodes[0].catalog;
	*state = c;
	return 0;
}

static int tear_down_follower(void **state)
{
	struct cluster *c = *state;

	cluster_close(c);
	free(c);
	return 0;
}

static void take(struct cluster *c, struct raft_message m, raft_index stored)
{
	et_cat_guard_recv(&k->io, &m);
	RUN_UNTIL(c, k->raft.last_stored == stored && k->unstored_bytes == 0);
}

static void nowhere_close(struct raft_uv_transport *t, raft_uv_transport_close_cb cb)
{
	cb(t);
}

static int nowhere_init(struct raft_uv_transport *t, raft_id id, const char *address)
{
	(void)t;
	(void)id;
	(void)address;
	return 0;
}

static void on_io_closed(struct raft_io *io)
{
	(void)io;
}

/* The terms of the log on the disk. */
static size_t log_terms(struct cluster *c, raft_term *ret)
{
	struct raft_uv_transport transport = { .version = 1,
					       .init = nowhere_init,
					       .close = nowhere_close };
	struct raft_snapshot *snapshot = NULL;
	struct raft_entry *entries = NULL;
	struct raft_io io = { 0 };
	char folder[CAT_PATH_SIZE];
	void *batch = NULL;
	raft_index start;
	raft_term term;
	raft_id voted;
	size_t n = 0;

	(void)snprintf(folder, sizeof(folder), "%s", k->raft_folder);
	catalog_close(&c->nodes[0]);
	assert_int_equal(raft_uv_init(&io, &c->loop, folder, &transport), 0);
	assert_int_equal(io.init(&io, 1, "127.0.0.1:1"), 0);
	assert_int_equal(io.load(&io, &term, &voted, &snapshot, &start, &entries, &n), 0);
	assert_int_equal(start, 1);
	for (size_t i = 0; i < n; i++) {
		ret[i] = entries[i].term;
		if (entries[i].batch != batch) {
			batch = entries[i].batch;
			raft_free(batch);
		}
	}
	raft_free(entries);
	io.close(&io, on_io_closed);
	(void)uv_run(&c->loop, UV_RUN_NOWAIT);
	(void)uv_run(&c->loop, UV_RUN_NOWAIT);
	raft_uv_close(&io);
	return n;
}

/* The log has 1 1 2 2 2; the leader of term 3 has 1 1 1 3 3 3. The part with the first that differs
 * cuts, the one before it does not, and the ones behind it follow. */
static void parts_replace_a_conflicting_tail(void **state)
{
	static const raft_term old[5] = { 1, 1, 2, 2, 2 };
	static const raft_term new[6] = { 1, 1, 1, 3, 3, 3 };
	struct cluster *c = *state;
	raft_term terms[16];

	take(c, received_of(2, 0, 0, old, 5, 8), 5);
	take(c, received_of(3, 0, 0, new, 2, 8), 5); /* All is there; what is behind stays. */
	take(c, received_of(3, 2, 1, new + 2, 2, 8), 4);
	take(c, received_of(3, 4, 3, new + 4, 2, 8), 6);
	take(c, received_of(3, 2, 1, new + 2, 2, 8), 6); /* One of them twice. */
	assert_int_equal(log_terms(c, terms), 6);
	assert_memory_equal(terms, new, sizeof(new));
}

/* Between two parts another leader comes: what is left of the first's is refused. */
static void another_term_between_two_parts(void **state)
{
	static const raft_term first[6] = { 2, 2, 2, 2, 2, 2 };
	static const raft_term second[3] = { 2, 3, 3 };
	static const raft_term all[4] = { 2, 2, 3, 3 };
	struct cluster *c = *state;
	raft_term terms[16];

	take(c, received_of(2, 0, 0, first, 3, 8), 3);
	take(c, received_of(3, 1, 2, second, 3, 8), 4); /* 2 2 3 3: the third goes. */
	take(c, received_of(2, 3, 2, first + 3, 3, 8), 4);
	assert_int_equal(k->raft.current_term, 3);
	assert_int_equal(log_terms(c, terms), 4);
	assert_memory_equal(terms, all, sizeof(all));
}

/* A part that comes before the one before it is refused, and no harm. */
static void a_part_without_the_one_before_is_refused(void **state)
{
	static const raft_term all[4] = { 2, 2, 2, 2 };
	struct cluster *c = *state;
	raft_term terms[16];

	take(c, received_of(2, 0, 0, all, 1, 8), 1);
	take(c, received_of(2, 2, 2, all + 2, 2, 8), 1);
	take(c, received_of(2, 1, 2, all + 1, 1, 8), 2);
	take(c, received_of(2, 2, 2, all + 2, 2, 8), 4);
	assert_int_equal(log_terms(c, terms), 4);
}

/* ---- All of it ---- */

static size_t biggest;
static size_t taken;
static raft_io_recv_cb deliver_before;

static void deliver_measure(struct raft_io *io, struct raft_message *m)
{
	size_t bytes = 0;

	if (m->type == RAFT_APPEND_ENTRIES) {
		for (unsigned i = 0; i < m->append_entries.n_entries; i++) {
			bytes += m->append_entries.entries[i].buf.len;
		}
	}
	biggest = bytes > biggest ? bytes : biggest;
	taken += bytes;
	deliver_before(io, m);
}

/* A follower was cut off and missed 12 MB: they come in parts. */
static void a_follower_that_returns_gets_parts(void **state)
{
	enum { COMMANDS = 12 * 1024, BYTES = 1000 };
	static struct answer answers[COMMANDS];
	static char reason[BYTES + 1];
	struct cluster *c = calloc(1, sizeof(*c));

	(void)state;
	memset(answers, 0, sizeof(answers));
	memset(reason, 'r', BYTES);
	cluster_open(c, 3);
	cluster_form(c);
	struct node *leader = led(c);
	struct node *away = &c->nodes[leader->id == 3 ? 1 : 2];
	node_cut(away, true);
	for (size_t i = 0; i < COMMANDS; i++) {
		propose_noop(leader, reason, 0, 100000, &answers[i]);
	}
	RUN_UNTIL(c, answers[COMMANDS - 1].calls == 1);
	biggest = taken = 0;
	deliver_before = away->catalog->deliver;
	away->catalog->deliver = deliver_measure;
	node_cut(away, false);
	RUN_UNTIL(c, applied_of(away) == applied_of(leader));
	assert_in_range(biggest, 1, CAT_PART_BYTES);
	assert_true(taken >= (size_t)COMMANDS * BYTES);
	away->catalog->deliver = deliver_before;
	assert_digests_equal(c);
	cluster_close(c);
	free(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define FOLLOWER(f) cmocka_unit_test_setup_teardown(f, set_up_follower, tear_down_follower)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(parts_are_messages_of_the_same_log),
		TEST(what_is_on_its_way_is_not_sent_again),
		TEST(what_may_be_lost_is_sent_again),
		TEST(a_send_that_is_refused_is_not_counted),
		TEST(a_turn_takes_no_more_than_it_should),
		TEST(an_old_message_does_not_take_back_a_commit),
		FOLLOWER(parts_replace_a_conflicting_tail),
		FOLLOWER(another_term_between_two_parts),
		FOLLOWER(a_part_without_the_one_before_is_refused),
		cmocka_unit_test(a_follower_that_returns_gets_parts),
	};

	et_log_set_level(ET_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
