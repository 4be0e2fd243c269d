#include <stdio.h>

#include "node/io/clock.h"
#include "raft/catalog/catalog_internal.h"

/* Linearizable reads without the disk (ReadIndex, Ongaro's thesis, section 6.4).
 *
 * The leader, once an entry of its own term is committed, takes its commit index and asks the other
 * voters "is your term T?". When a majority (itself among them) says yes, no later leader had been
 * elected when they were asked, so nothing was committed that this leader does not know. Then the
 * reader waits until its own database has applied that index. A follower asks the leader for the
 * index. Reads that come while a round is under way share the next one. */

enum { ROUND_TIMEOUT_MS = 1000, RETRY_US = 50000, READS_MAX = 65536 };

struct read_wait {
	struct cat_link link;
	void (*cb)(void *arg, int code, uint64_t index); /* of this process */
	void *arg;
	struct et_rpc_reply *reply; /* or of another: owned */
	uint64_t node;		    /* ... which is this one */
	uint64_t index;
	int64_t deadline_us;
};

static struct read_wait *wait_of(struct cat_link *link)
{
	return ET_CONTAINER_OF(link, struct read_wait, link);
}

static void wait_end(struct read_wait *w, int code, uint64_t index)
{
	uint8_t bytes[8];

	cat_list_take(&w->link);
	if (w->reply != NULL) {
		et_put64(bytes, index);
		et_rpc_reply(w->reply, code, bytes, code == 0 ? sizeof(bytes) : 0);
	} else {
		w->cb(w->arg, code, index);
	}
	free(w);
}

/* The index is known: another node's reader gets it, ours waits for the database. */
static void wait_has_index(struct et_catalog *c, struct read_wait *w, uint64_t index)
{
	if (w->reply != NULL) {
		et_cat_flow_ask(c, w->node, index);
	}
	if (w->reply != NULL || c->applied >= index) {
		wait_end(w, 0, index);
		return;
	}
	w->index = index;
	cat_list_take(&w->link);
	cat_list_add(&c->apply_waits, &w->link);
}

void et_cat_read_applied(struct et_catalog *c)
{
	struct cat_link ready;

	cat_list_init(&ready);
	for (struct cat_link *l = c->apply_waits.next; l != &c->apply_waits;) {
		struct read_wait *w = wait_of(l);
		l = l->next;
		if (w->index <= c->applied) {
			cat_list_take(&w->link);
			cat_list_add(&ready, &w->link);
		}
	}
	while (!cat_list_is_empty(&ready)) {
		struct read_wait *w = wait_of(ready.next);
		wait_end(w, 0, w->index);
	}
}

/* ---- A round ---- */

/* Not confirmed: the readers ask again, until their time is over. */
static void round_fail(struct et_catalog *c)
{
	c->round_active = false;
	c->round++;
	while (!cat_list_is_empty(&c->round_reads)) {
		struct cat_link *link = c->round_reads.next;
		cat_list_take(link);
		cat_list_add(&c->reads, link);
	}
	c->read_at_us = et_clock_mono_us() + RETRY_US;
	et_cat_soon(c, c->read_at_us);
}

static void round_succeed(struct et_catalog *c)
{
	struct cat_link done;

	c->round_active = false;
	c->round++;
	cat_list_move(&c->round_reads, &done);
	while (!cat_list_is_empty(&done)) {
		wait_has_index(c, wait_of(done.next), c->round_index);
	}
	et_cat_schedule(c);
}

static bool round_is_won(const struct et_catalog *c)
{
	unsigned voters = 0;

	for (unsigned i = 0; i < c->raft.configuration.n; i++) {
		voters += c->raft.configuration.servers[i].role == RAFT_VOTER;
	}
	return c->round_acks > voters / 2;
}

static void round_on_term(struct et_catalog *c, struct cat_call *call, int code,
			  struct et_view body)
{
	if (!c->round_active || call->tag != c->round) {
		return;
	}
	c->round_open--;
	if (!et_cat_is_leader(c) || c->raft.current_term != c->round_term) {
		round_fail(c);
		return;
	}
	const struct raft_server *server = et_cat_server(c, call->node);
	if (code == 0 && body.size == 8 && et_get64(body.data) == c->round_term && server != NULL &&
	    server->role == RAFT_VOTER) {
		c->round_acks++;
	}
	if (round_is_won(c)) {
		round_succeed(c);
	} else if (c->round_open == 0) {
		round_fail(c);
	}
}

static void round_start(struct et_catalog *c)
{
	uint8_t body[8];

	cat_list_move(&c->reads, &c->round_reads);
	c->round++;
	c->round_active = true;
	c->round_term = c->raft.current_term;
	c->round_index = c->raft.commit_index;
	c->round_acks = 0;
	c->round_open = 0;
	et_put64(body, c->round_term);
	for (unsigned i = 0; i < c->raft.configuration.n; i++) {
		const struct raft_server *s = &c->raft.configuration.servers[i];
		if (s->role != RAFT_VOTER) {
			continue;
		}
		if (s->id == c->node) {
			c->round_acks++;
			continue;
		}
		c->round_open++;
		et_cat_call(c, s->id, s->address, ET_RPC_TERM, body, sizeof(body), ROUND_TIMEOUT_MS,
			    round_on_term, c->round);
	}
	if (round_is_won(c)) {
		round_succeed(c); /* The only voter. */
	}
}

/* ---- A follower asks ---- */

static void follower_on_index(struct et_catalog *c, struct cat_call *call, int code,
			      struct et_view body)
{
	if (!c->round_active || call->tag != c->round) {
		return;
	}
	if (code == 0 && body.size == 8) {
		c->round_index = et_get64(body.data);
		round_succeed(c);
	} else {
		round_fail(c);
	}
}

static void follower_ask(struct et_catalog *c, uint64_t leader, const char *address)
{
	cat_list_move(&c->reads, &c->round_reads);
	c->round++;
	c->round_active = true;
	et_cat_call(c, leader, address, ET_RPC_READ_INDEX, NULL, 0, ROUND_TIMEOUT_MS,
		    follower_on_index, c->round);
}

void et_cat_read_turn(struct et_catalog *c)
{
	raft_id leader = 0;
	const char *address = NULL;

	if (c->round_active || cat_list_is_empty(&c->reads)) {
		return;
	}
	if (et_clock_mono_us() < c->read_at_us) {
		et_cat_soon(c, c->read_at_us);
		return;
	}
	if (et_cat_is_leader(c)) {
		if (c->ready_term == c->raft.current_term) {
			round_start(c);
		}
		return;
	}
	raft_leader(&c->raft, &leader, &address);
	if (leader != 0 && leader != c->node && address != NULL) {
		follower_ask(c, leader, address);
	}
}

static void list_timeouts(struct cat_link *list, int64_t now_us)
{
	struct cat_link over;

	cat_list_init(&over);
	for (struct cat_link *l = list->next; l != list;) {
		struct read_wait *w = wait_of(l);
		l = l->next;
		if (w->deadline_us <= now_us) {
			cat_list_take(&w->link);
			cat_list_add(&over, &w->link);
		}
	}
	while (!cat_list_is_empty(&over)) {
		wait_end(wait_of(over.next), ET_ENOQUORUM, 0);
	}
}

void et_cat_read_timeouts(struct et_catalog *c, int64_t now_us)
{
	list_timeouts(&c->reads, now_us);
	list_timeouts(&c->round_reads, now_us);
	list_timeouts(&c->apply_waits, now_us);
}

void et_cat_read_fail_all(struct et_catalog *c, int code)
{
	struct cat_link *lists[] = { &c->reads, &c->round_reads, &c->apply_waits };

	c->round_active = false;
	for (size_t i = 0; i < ET_ARRAY_SIZE(lists); i++) {
		while (!cat_list_is_empty(lists[i])) {
			wait_end(wait_of(lists[i]->next), code, 0);
		}
	}
}

static void read_add(struct et_catalog *c, uint32_t timeout_ms, const struct read_wait *what)
{
	struct read_wait *w = et_cat_alloc(sizeof(*w));

	*w = *what;
	timeout_ms = timeout_ms == 0 ? CAT_PROPOSE_TIMEOUT_MS : timeout_ms;
	w->deadline_us = et_clock_mono_us() + (int64_t)timeout_ms * 1000;
	cat_list_add(&c->reads, &w->link);
	et_cat_schedule(c);
}

void et_catalog_read_index(struct et_catalog *c, uint32_t timeout_ms,
			   void (*cb)(void *arg, int code, uint64_t index), void *arg)
{
	if (c->stopping) {
		et_cat_later_index(c, cb, arg, ET_ECLOSED);
		return;
	}
	read_add(c, timeout_ms, &(struct read_wait){ .cb = cb, .arg = arg });
}

struct read_from {
	struct et_post post;
	struct et_catalog *c;
	uint32_t timeout_ms;
	void (*cb)(void *arg, int code, uint64_t index);
	void *arg;
};

static void read_from_run(struct et_post *post)
{
	struct read_from *f = ET_CONTAINER_OF(post, struct read_from, post);
	struct et_catalog *c = f->c;

	if (c->stopping) {
		f->cb(f->arg, ET_ECLOSED, 0);
	} else {
		et_catalog_read_index(c, f->timeout_ms, f->cb, f->arg);
	}
	free(f);
	et_cat_post_ended(c);
}

int et_catalog_read_index_from(struct et_catalog *c, uint32_t timeout_ms,
			       void (*cb)(void *arg, int code, uint64_t index), void *arg)
{
	struct read_from *f = calloc(1, sizeof(*f));

	if (f == NULL) {
		return -ENOMEM;
	}
	*f = (struct read_from){ .post = { .fn = read_from_run },
				 .c = c,
				 .timeout_ms = timeout_ms,
				 .cb = cb,
				 .arg = arg };
	int rc = et_cat_post(c, &f->post);
	if (rc < 0) {
		free(f);
	}
	return rc;
}

/* ---- What other nodes ask ---- */

/* No body -> index64. */
void et_cat_serve_read_index(void *arg, const struct et_tls_peer *peer, struct et_view body,
			     struct et_rpc_reply *reply)
{
	struct et_catalog *c = arg;

	(void)body;
	if (c->stopping || !et_cat_is_leader(c)) {
		et_rpc_reply(reply, ET_ENOTLEADER, NULL, 0);
		return;
	}
	read_add(c, ROUND_TIMEOUT_MS, &(struct read_wait){ .reply = reply, .node = peer->node });
}

/* term64 (informative) -> own term64. */
void et_cat_serve_term(void *arg, const struct et_tls_peer *peer, struct et_view body,
		       struct et_rpc_reply *reply)
{
	struct et_catalog *c = arg;
	uint8_t bytes[8];

	(void)peer;
	if (body.size != 8) {
		et_rpc_reply(reply, ET_EMALFORMED, NULL, 0);
		return;
	}
	et_put64(bytes, c->raft.current_term);
	et_rpc_reply(reply, 0, bytes, sizeof(bytes));
}
