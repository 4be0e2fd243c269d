#include <stdio.h>

#include "node/io/clock.h"
#include "raft/catalog/catalog_internal.h"

/* Proposals of this node, in one list, in the order in which they came:
 *
 *   head ─ a ─ b ─ c ─ d ─ e ─ head        waiting for their own apply: all of them
 *                      ^cursor             sent in this term: a b c; not yet sent: d e
 *
 * The leader packs from the cursor on into entries of its log; a follower sends the same bytes to
 * the leader, one request at a time, so that their order stays. The leader answers when the entry
 * is in its log. In both cases a proposal ends when this node's state thread has applied its op,
 * from whichever entry; nothing else ends it but its own time.
 *
 * An entry that a leader has taken in its term is committed, or that leader falls. So when a new
 * leader is known, the cursor goes back to the head: everything without an answer is sent again,
 * in order, with the same op ids; apply does what was done already only once.
 *
 * Small proposals wait for each other only while enough entries are on their way. */

enum { BUCKETS = 65536, SEEN_MAX = 1024, FORWARD_TIMEOUT_MS = 5000, RETRY_US = 50000 };

struct proposal {
	struct cat_link link;	    /* in c->proposals */
	struct cat_link *hash_next; /* in its bucket */
	struct cat_op op;
	int64_t deadline_us;
	uint64_t number; /* place in the list */
	uint64_t bunch;	 /* that of what one callback proposes */
	unsigned sends;	 /* how often it went into a log, or to a leader */
	bool twin;	 /* another with this op waits, and travels for both */
	et_catalog_cb cb;
	void *arg;
	size_t size;
	uint8_t packed[];
};

/* The highest sequence number that was proposed here of an incarnation. */
struct cat_seen {
	uint8_t incarnation[16];
	uint64_t node;
	uint64_t seq;
};

struct later {
	struct cat_link link;
	et_catalog_cb cb;
	void (*index_cb)(void *arg, int code, uint64_t index);
	void *arg;
	int code;
	Et__Result *result; /* owned, or NULL */
};

static struct proposal *proposal_of(struct cat_link *link)
{
	return ET_CONTAINER_OF(link, struct proposal, link);
}

static struct cat_link **bucket_of(struct et_catalog *c, const struct cat_op *op)
{
	uint32_t hash = et_crc32c(0, op, sizeof(*op));
	return &c->buckets[hash % BUCKETS];
}

static bool op_is(const struct cat_op *a, const struct cat_op *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* ---- Callbacks that must not run inside the call ---- */

static void later_add(struct et_catalog *c, const struct later *what)
{
	struct later *l = et_cat_alloc(sizeof(*l));

	*l = *what;
	cat_list_add(&c->failed, &l->link);
	et_cat_schedule(c);
}

void et_cat_later(struct et_catalog *c, et_catalog_cb cb, void *arg, int code)
{
	later_add(c, &(struct later){ .cb = cb, .arg = arg, .code = code });
}

void et_cat_later_index(struct et_catalog *c, void (*cb)(void *, int, uint64_t), void *arg,
			int code)
{
	later_add(c, &(struct later){ .index_cb = cb, .arg = arg, .code = code });
}

static void later_run(struct et_catalog *c)
{
	struct cat_link now;

	cat_list_move(&c->failed, &now);
	while (!cat_list_is_empty(&now)) {
		struct later *l = ET_CONTAINER_OF(now.next, struct later, link);
		cat_list_take(&l->link);
		if (l->cb != NULL) {
			l->cb(l->arg, l->code, l->result);
		} else if (l->index_cb != NULL) {
			l->index_cb(l->arg, l->code, 0);
		}
		if (l->result != NULL) {
			et__result__free_unpacked(l->result, NULL);
		}
		free(l);
	}
}

/* ---- The list ---- */

static struct proposal *proposal_find(struct et_catalog *c, const struct cat_op *op)
{
	struct cat_link *link = *bucket_of(c, op);

	while (link != NULL && !op_is(&proposal_of(link)->op, op)) {
		link = proposal_of(link)->hash_next;
	}
	return link == NULL ? NULL : proposal_of(link);
}

static void proposal_unlink(struct et_catalog *c, struct proposal *p)
{
	struct cat_link **at = bucket_of(c, &p->op);

	while (*at != &p->link) {
		at = &proposal_of(*at)->hash_next;
	}
	*at = p->hash_next;
	if (p->number > c->sent_number) {
		c->unsent_bytes -= p->size;
	}
	if (c->cursor == &p->link) {
		c->cursor = p->link.next;
	}
	cat_list_take(&p->link);
	c->proposals_count--;
	c->waiting_bytes -= p->size;
}

static void proposal_end(struct et_catalog *c, struct proposal *p, int code,
			 const Et__Result *result)
{
	proposal_unlink(c, p);
	et_catalog_cb cb = p->cb;
	void *arg = p->arg;
	free(p);
	if (cb != NULL) {
		c->bunch++;
		cb(arg, code, result);
	}
}

/* Everything without an answer goes to the leader that is known now. */
void et_cat_propose_resend(struct et_catalog *c)
{
	c->cursor = c->proposals.next;
	c->sent_number = 0;
	c->unsent_bytes = c->waiting_bytes;
	c->forward_at_us = 0;
}

/* As above, from the proposal `number` on. */
static void resend_from(struct et_catalog *c, uint64_t number)
{
	struct cat_link *link = c->proposals.next;

	c->unsent_bytes = c->waiting_bytes;
	while (link != &c->proposals && proposal_of(link)->number < number) {
		c->unsent_bytes -= proposal_of(link)->size;
		link = link->next;
	}
	c->cursor = link;
	c->sent_number = number - 1;
}

void et_cat_propose_complete(struct et_catalog *c, const struct cat_outcome *outcome)
{
	struct proposal *p = proposal_find(c, &outcome->op);

	while (p != NULL) {
		proposal_end(c, p, outcome->result->code, outcome->result);
		p = proposal_find(c, &outcome->op); /* The callback may have changed it. */
	}
}

/* One with twins has left without an answer: the next of them travels. */
static void twin_wake(struct et_catalog *c, const struct cat_op *op)
{
	struct proposal *p = proposal_find(c, op);

	if (p != NULL && p->twin) {
		p->twin = false;
		if (p->number <= c->sent_number) {
			resend_from(c, p->number);
		}
		et_cat_schedule(c);
	}
}

void et_cat_propose_timeouts(struct et_catalog *c, int64_t now_us)
{
	if (now_us < c->next_deadline_us) {
		return;
	}
	int64_t next = INT64_MAX;
	struct cat_link over;
	cat_list_init(&over);
	struct cat_link *link = c->proposals.next;
	while (link != &c->proposals) {
		struct proposal *p = proposal_of(link);
		link = link->next;
		if (p->deadline_us > now_us) {
			next = p->deadline_us < next ? p->deadline_us : next;
			continue;
		}
		proposal_unlink(c, p);
		cat_list_add(&over, &p->link);
	}
	c->next_deadline_us = next;
	while (!cat_list_is_empty(&over)) {
		struct proposal *p = proposal_of(over.next);
		if (!p->twin) {
			twin_wake(c, &p->op);
		}
		int code = c->leader == 0 ? ET_ENOQUORUM
			   : p->sends > 0 ? ET_EUNKNOWN
					  : ET_ENOQUORUM;
		code = c->disk_full && p->sends == 0 ? -ENOSPC : code;
		cat_list_take(&p->link);
		if (p->cb != NULL) {
			p->cb(p->arg, code, NULL);
		}
		free(p);
	}
}

void et_cat_propose_fail_all(struct et_catalog *c, int code)
{
	while (!cat_list_is_empty(&c->proposals)) {
		struct proposal *p = proposal_of(c->proposals.next);
		proposal_end(c, p, p->sends > 0 ? ET_EUNKNOWN : code, NULL);
	}
	later_run(c);
}

/* ---- Sending ---- */

/* Pack from the cursor on, up to ET_ENTRY_SIZE_SOFT, or to the end of the first bunch that brings
 * it to `enough`, and at least one. Returns the number of the last; 0: no memory. */
static uint64_t entry_pack(struct et_catalog *c, struct et_buffer *entry, size_t enough)
{
	struct cat_link *end = c->cursor;
	uint64_t last = 0;
	uint64_t bunch = 0;
	size_t size = 16;

	for (; end != &c->proposals; end = end->next) {
		const struct proposal *p = proposal_of(end);
		if (p->twin) {
			continue;
		}
		bool full = size + p->size + 4 > ET_ENTRY_SIZE_SOFT;
		if (last != 0 && (full || (size >= enough && p->bunch != bunch))) {
			break;
		}
		size += p->size + 4;
		last = p->number;
		bunch = p->bunch;
	}
	if (et_buffer_reserve(entry, size) == NULL) { /* all of it at once */
		return 0;
	}
	et_entry_begin(entry);
	for (struct cat_link *l = c->cursor; l != end; l = l->next) {
		const struct proposal *p = proposal_of(l);
		if (!p->twin) {
			et_entry_add(entry, p->packed, p->size);
		}
	}
	et_entry_end(entry);
	return entry->failed ? 0 : last;
}

static void cursor_skip_twins(struct et_catalog *c)
{
	while (c->cursor != &c->proposals && proposal_of(c->cursor)->twin) {
		c->sent_number = proposal_of(c->cursor)->number;
		c->unsent_bytes -= proposal_of(c->cursor)->size;
		c->cursor = c->cursor->next;
	}
}

static void cursor_advance(struct et_catalog *c, uint64_t last)
{
	while (c->cursor != &c->proposals && proposal_of(c->cursor)->number <= last) {
		struct proposal *p = proposal_of(c->cursor);
		p->sends++;
		c->unsent_bytes -= p->size;
		c->cursor = c->cursor->next;
	}
	c->sent_number = last;
	cursor_skip_twins(c);
}

struct entry_apply {
	struct raft_apply req;
	struct et_catalog *c;
	size_t bytes;
	int64_t at_us; /* when it went into the log */
};

/* The entry is committed, or leadership is lost. Proposals are told by the state thread, or sent
 * again to the next leader; here only the window opens. */
static void entry_on_committed(struct raft_apply *req, int status, void *result)
{
	struct entry_apply *a = ET_CONTAINER_OF(req, struct entry_apply, req);
	struct et_catalog *c = a->c;

	(void)result;
	if (status == 0) {
		c->commit_us += (et_clock_mono_us() - a->at_us - c->commit_us) / 8;
	}
	c->inflight_bytes -= a->bytes;
	c->inflight_count--;
	free(a);
	/* Not from a handle of our own: raft calls this between polls, and the loop might sleep. */
	et_cat_schedule(c);
}

/* Append an entry to the log. G1: one buffer, a multiple of 8. Which errors leave the buffer to us
 * is known for those that are refused before the append; any other ends the process. */
static int entry_append(struct et_catalog *c, const void *data, size_t size)
{
	et_assert(size % 8 == 0 && size > 0);
	struct entry_apply *a = et_cat_alloc(sizeof(*a));
	struct raft_buffer buf = { .base = raft_malloc(size), .len = size };
	if (buf.base == NULL) {
		free(a);
		return -ENOMEM;
	}
	memcpy(buf.base, data, size);
	a->c = c;
	a->bytes = size + CAT_ENTRY_OVERHEAD;
	a->at_us = et_clock_mono_us();
	int rv = raft_apply(&c->raft, &a->req, &buf, 1, entry_on_committed);
	if (rv == 0) {
		c->inflight_bytes += a->bytes;
		c->inflight_count++;
		et_cat_window_adapt(c, a->bytes, 1);
		return 0;
	}
	if (rv != RAFT_NOTLEADER && rv != RAFT_NOSPACE && rv != RAFT_CANTCHANGE &&
	    rv != RAFT_MALFORMED) {
		et_cat_fatal(c, "the Raft log refuses an entry: %s: %s", raft_strerror(rv),
			     raft_errmsg(&c->raft));
	}
	raft_free(buf.base);
	free(a);
	return et_cat_code(rv);
}

static bool log_has_room(const struct et_catalog *c)
{
	return c->inflight_bytes < CAT_INFLIGHT_MAX && c->unstored_bytes < CAT_UNSTORED_MAX &&
	       !et_cat_is_throttled(c);
}

/* Is it time for the next entry, or shall small proposals wait for company? */
static bool entry_is_due(struct et_catalog *c, int64_t now_us)
{
	size_t depth = c->commit_us >= CAT_FAR_US ? CAT_FAR_DEPTH : CAT_PIPELINE_DEPTH;

	if (c->inflight_count < depth || c->unsent_bytes >= CAT_PIPELINE_BYTES) {
		c->flush_at_us = 0;
		return true;
	}
	if (c->flush_at_us == 0) {
		c->flush_at_us = now_us + CAT_PIPELINE_WAIT_MS * 1000;
	}
	if (now_us >= c->flush_at_us) {
		c->flush_at_us = 0;
		return true;
	}
	et_cat_soon(c, c->flush_at_us);
	return false;
}

/* Over a long way a crowd moves as one: it comes back in one entry, is applied, told, and goes out
 * again in one. In pieces the first are on their way while the others are applied. What one
 * callback proposes stays together, for it waits for the last of it. On a LAN pieces cost more than
 * they bring (batches of 64, one in flight: a quarter of the rate). */
static size_t entry_enough(const struct et_catalog *c)
{
	if (c->commit_us < CAT_FAR_US) {
		return ET_ENTRY_SIZE_SOFT;
	}
	return c->unsent_bytes <= CAT_CROWD_BYTES ? CAT_PIECE_BYTES : CAT_CROWD_PIECE_BYTES;
}

/* No majority has room: what was never in a log is refused. Taken out first, told then: a callback
 * may propose again. */
static void refuse_unsent(struct et_catalog *c, uint64_t from, uint64_t to, unsigned sends)
{
	struct cat_link *link = c->proposals.next;
	struct cat_link refused;

	cat_list_init(&refused);
	while (link != &c->proposals && proposal_of(link)->number <= to) {
		struct proposal *p = proposal_of(link);
		link = link->next;
		if (p->number >= from && p->sends <= sends && !p->twin) {
			proposal_unlink(c, p);
			cat_list_add(&refused, &p->link);
		}
	}
	while (!cat_list_is_empty(&refused)) {
		struct proposal *p = proposal_of(refused.next);
		cat_list_take(&p->link);
		twin_wake(c, &p->op);
		if (p->cb != NULL) {
			p->cb(p->arg, -ENOSPC, NULL);
		}
		free(p);
	}
}

static void leader_flush(struct et_catalog *c, int64_t now_us)
{
	if (c->disk_full) {
		refuse_unsent(c, 0, UINT64_MAX, 0);
		return;
	}
	if (c->space.full) {
		return; /* Leadership goes to a voter with room (space.c), which gets them. */
	}
	cursor_skip_twins(c);
	while (c->cursor != &c->proposals && !c->paused && log_has_room(c) &&
	       raft_transferee(&c->raft) == 0 && entry_is_due(c, now_us)) {
		struct et_buffer entry = { 0 };
		uint64_t last = entry_pack(c, &entry, entry_enough(c));
		int rc = last == 0 ? -ENOMEM : entry_append(c, entry.data, entry.size);
		et_buffer_release(&entry);
		if (rc < 0) {
			et_cat_soon(c, now_us + RETRY_US);
			return;
		}
		cursor_advance(c, last);
	}
}

/* ---- A follower sends to the leader ---- */

static void forward_on_answer(struct et_catalog *c, struct cat_call *call, int code,
			      struct et_view body)
{
	(void)body;
	c->forwarding = false;
	if (code == -ENOSPC && call->tag > 0 && call->tag <= c->sent_number) {
		et_cat_space_refused(c);
		refuse_unsent(c, call->tag, c->sent_number, 1); /* Sent once: this time. */
	}
	if (code != 0 && call->tag > 0) {
		/* Not taken, or nobody knows: from there on again, after a while. */
		if (call->tag <= c->sent_number) {
			resend_from(c, call->tag);
		}
		c->forward_at_us = et_clock_mono_us() + RETRY_US;
		et_cat_soon(c, c->forward_at_us);
	}
	et_cat_schedule(c);
}

static void follower_flush(struct et_catalog *c, int64_t now_us)
{
	raft_id leader = 0;
	const char *address = NULL;

	cursor_skip_twins(c);
	raft_leader(&c->raft, &leader, &address);
	if (c->cursor == &c->proposals || c->forwarding || leader == 0 || leader == c->node ||
	    address == NULL) {
		return;
	}
	if (now_us < c->forward_at_us) {
		et_cat_soon(c, c->forward_at_us);
		return;
	}
	struct et_buffer entry = { 0 };
	uint64_t first = proposal_of(c->cursor)->number;
	uint64_t last = entry_pack(c, &entry, ET_ENTRY_SIZE_SOFT);
	struct et_buffer body = { 0 };
	et_buffer_add64(&body, c->raft.current_term);
	et_buffer_add(&body, entry.data, entry.size);
	if (last == 0 || body.failed) {
		et_cat_soon(c, now_us + RETRY_US);
	} else {
		cursor_advance(c, last);
		c->forwarding = true;
		et_cat_call(c, leader, address, ET_RPC_PROPOSE, body.data, body.size,
			    FORWARD_TIMEOUT_MS, forward_on_answer, first);
	}
	et_buffer_release(&entry);
	et_buffer_release(&body);
}

static int check_foreign(void *arg, uint32_t position, struct et_view packed)
{
	Et__Command *command = NULL;
	unsigned *count = arg;

	(void)position;
	int rc = et_command_unpack(packed.data, packed.size, &command, NULL);
	if (rc < 0) {
		return rc;
	}
	rc = command->op == NULL				    ? ET_EMALFORMED
	     : command->body_case == ET__COMMAND__BODY_RESTORE_STEP ? ET_EDENIED
								    : 0;
	et_command_free(command);
	(*count)++;
	return rc;
}

/* Body: term64, entry. Answer: 0 when the entry is in this node's log, in that term. */
void et_cat_serve_propose(void *arg, const struct et_tls_peer *peer, struct et_view body,
			  struct et_rpc_reply *reply)
{
	struct et_catalog *c = arg;
	struct et_reader r = et_reader_of(body.data, body.size);
	uint64_t term = et_read64(&r);
	size_t size = et_reader_left(&r);
	unsigned count = 0;
	int rc;

	if (r.failed || size == 0 || size % 8 != 0 || size > ET_ENTRY_SIZE_MAX) {
		rc = ET_EMALFORMED;
	} else if (!et_cat_is_leader(c) || c->raft.current_term != term) {
		rc = ET_ENOTLEADER;
	} else if (c->paused || raft_transferee(&c->raft) != 0) {
		rc = ET_EBUSY;
	} else if (c->disk_full) {
		rc = -ENOSPC;
	} else if (c->space.full) {
		rc = ET_EBUSY; /* About to hand over. */
	} else if (!log_has_room(c)) {
		rc = ET_ELIMIT;
	} else {
		rc = et_entry_each(r.p, size, check_foreign, &count);
		rc = rc < 0 ? rc : count == 0 ? ET_EMALFORMED : entry_append(c, r.p, size);
	}
	if (rc == 0) {
		et_cat_flow_ask(c, peer->node, raft_last_index(&c->raft));
	}
	et_rpc_reply(reply, rc, NULL, 0);
}

void et_cat_propose_turn(struct et_catalog *c)
{
	int64_t now_us = et_clock_mono_us();

	later_run(c);
	if (et_cat_is_leader(c)) {
		leader_flush(c, now_us);
		et_cat_flow_turn(c);
	} else {
		follower_flush(c, now_us);
	}
}

/* ---- Proposing ---- */

/* Was this op, or a later one of its incarnation, proposed here before? Then it may be applied
 * already. An incarnation that begins with another number than 1 comes from before this start. */
static bool op_may_be_old(struct et_catalog *c, const struct cat_op *op)
{
	struct cat_seen *slot = NULL;

	for (size_t i = 0; i < c->seen_count; i++) {
		if (c->seen[i].node == op->node &&
		    memcmp(c->seen[i].incarnation, op->incarnation, 16) == 0) {
			slot = &c->seen[i];
			break;
		}
	}
	if (slot == NULL) {
		if (c->seen_count < SEEN_MAX) {
			slot = &c->seen[c->seen_count++];
		} else {
			slot = &c->seen[op->seq % SEEN_MAX]; /* Forgets one: costs look-ups only. */
		}
		*slot = (struct cat_seen){ .node = op->node, .seq = op->seq };
		memcpy(slot->incarnation, op->incarnation, 16);
		return op->seq != 1;
	}
	bool is_old = op->seq <= slot->seq;
	slot->seq = is_old ? slot->seq : op->seq;
	return is_old;
}

/* Answer at once what is applied already. */
static bool answer_applied(struct et_catalog *c, const struct cat_op *op, et_catalog_cb cb,
			   void *arg)
{
	Et__Result *result = NULL;
	Et__OpId id = ET__OP_ID__INIT;
	uint8_t incarnation[16];

	memcpy(incarnation, op->incarnation, sizeof(incarnation));
	id.node = op->node;
	id.seq = op->seq;
	id.incarnation = (ProtobufCBinaryData){ .len = sizeof(incarnation), .data = incarnation };
	struct et_state_view *view = et_state_view_open(c->state);
	bool found = view != NULL && et_state_op_result(view, &id, &result) && result != NULL;
	et_state_view_close(view);
	if (found) {
		later_add(c,
			  &(struct later){
				  .cb = cb, .arg = arg, .code = result->code, .result = result });
	}
	return found;
}

/* A full node applies nothing, so it would not see what becomes of a command. Those of the journal
 * go to the leader all the same: they are asked for again until they are answered. */
static bool is_refused_for_space(const struct et_catalog *c, bool journalled)
{
	return c->disk_full || (c->space.full && !journalled && !et_cat_is_leader(c));
}

static void propose_bytes(struct et_catalog *c, const struct cat_op *op, struct et_view packed,
			  bool journalled, uint32_t timeout_ms, et_catalog_cb cb, void *arg)
{
	if (c->waiting_bytes + packed.size > CAT_WAITING_MAX ||
	    c->proposals_count >= CAT_WAITING_COUNT_MAX) {
		et_cat_later(c, cb, arg, ET_ELIMIT);
		return;
	}
	if (op_may_be_old(c, op) && answer_applied(c, op, cb, arg)) {
		return;
	}
	if (is_refused_for_space(c, journalled)) {
		et_cat_later(c, cb, arg, -ENOSPC);
		return;
	}
	struct proposal *p = malloc(sizeof(*p) + packed.size);
	if (p == NULL) {
		et_cat_later(c, cb, arg, -ENOMEM);
		return;
	}
	*p = (struct proposal){ .op = *op, .cb = cb, .arg = arg, .size = packed.size };
	memcpy(p->packed, packed.data, packed.size);
	p->number = ++c->last_number;
	p->bunch = c->bunch;
	p->twin = proposal_find(c, op) != NULL;
	timeout_ms = timeout_ms == 0 ? CAT_PROPOSE_TIMEOUT_MS : timeout_ms;
	p->deadline_us = et_clock_mono_us() + (int64_t)timeout_ms * 1000;
	if (p->deadline_us < c->next_deadline_us) {
		c->next_deadline_us = p->deadline_us;
	}
	struct cat_link **bucket = bucket_of(c, op);
	p->hash_next = *bucket;
	*bucket = &p->link;
	cat_list_add(&c->proposals, &p->link);
	if (c->cursor == &c->proposals) {
		c->cursor = &p->link;
	}
	c->proposals_count++;
	c->waiting_bytes += p->size;
	c->unsent_bytes += p->size;
	et_cat_schedule(c);
}

static int op_of(const Et__OpId *id, struct cat_op *ret)
{
	if (id == NULL || id->incarnation.len != sizeof(ret->incarnation)) {
		return ET_EMALFORMED;
	}
	memset(ret, 0, sizeof(*ret));
	ret->node = id->node;
	ret->seq = id->seq;
	memcpy(ret->incarnation, id->incarnation.data, sizeof(ret->incarnation));
	return 0;
}

/* What must be known of a command before it is proposed. */
struct nature {
	uint32_t schema; /* it needs */
	bool destructive;
	bool offline; /* never proposed: a restore makes its own entries */
};

static struct nature nature_of(const Et__Command *command)
{
	return (struct nature){ et_schema_needed(command), et_command_is_destructive(command),
				command->body_case == ET__COMMAND__BODY_RESTORE_STEP };
}

/* 0, or why it may not be proposed now. */
static int nature_refusal(const struct et_catalog *c, const struct nature *n)
{
	if (n->offline) {
		return ET_EDENIED;
	}
	if (c->schema != 0 && n->schema > c->schema) {
		return ET_EVERSION;
	}
	if (c->digests.diverged || (c->digests.disputed && n->destructive)) {
		return ET_EINTEGRITY;
	}
	return 0;
}

/* Pack `command`, with an op id and a time if it has none. Any thread. */
static int command_pack(struct et_catalog *c, const Et__Command *command, struct et_buffer *ret,
			struct cat_op *ret_op)
{
	Et__Command copy = *command; /* Shallow: only the envelope changes. */
	Et__OpId op = ET__OP_ID__INIT;
	uint8_t incarnation[16];

	if (copy.op == NULL) {
		et_catalog_next_op(c, &op, incarnation);
		copy.op = &op;
	}
	if (copy.proposed_us == 0) {
		copy.proposed_us = et_clock_now_us();
	}
	copy.schema =
		et_schema_needed(command); /* Not what this build knows: others may know less. */
	int rc = op_of(copy.op, ret_op);
	rc = rc < 0 ? rc : et_command_check(&copy, NULL);
	return rc < 0 ? rc : et_command_pack(&copy, ret);
}

void et_catalog_propose(struct et_catalog *c, const Et__Command *command, uint32_t timeout_ms,
			et_catalog_cb cb, void *arg)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer packed = { 0 };
	struct cat_op op;

	struct nature nature = nature_of(command);
	int rc = c->stopping ? ET_ECLOSED : nature_refusal(c, &nature);
	rc = rc < 0 ? rc : command_pack(c, command, &packed, &op);
	if (rc < 0) {
		et_cat_later(c, cb, arg, rc);
		return;
	}
	propose_bytes(c, &op, (struct et_view){ packed.data, packed.size }, false, timeout_ms, cb,
		      arg);
}

void et_catalog_propose_packed(struct et_catalog *c, struct et_view packed, uint32_t timeout_ms,
			       et_catalog_cb cb, void *arg)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer again = { 0 };
	Et__Command *command = NULL;
	struct nature nature = { .schema = 0 };
	struct cat_op op;

	int rc = c->stopping ? ET_ECLOSED
			     : et_command_unpack(packed.data, packed.size, &command, NULL);
	if (rc == 0) {
		nature = nature_of(command);
		rc = nature_refusal(c, &nature);
	}
	rc = rc < 0 ? rc : op_of(command->op, &op);
	if (rc == 0 && command->schema > nature.schema) { /* its build's: others know less */
		rc = command_pack(c, command, &again, &op);
		packed = (struct et_view){ again.data, again.size };
	}
	et_command_free(command);
	if (rc < 0) {
		et_cat_later(c, cb, arg, rc);
		return;
	}
	propose_bytes(c, &op, packed, true, timeout_ms, cb, arg);
}

void et_catalog_next_op(struct et_catalog *c, Et__OpId *op, uint8_t incarnation[16])
{
	memcpy(incarnation, c->incarnation, 16);
	et__op_id__init(op);
	op->node = c->node;
	op->incarnation = (ProtobufCBinaryData){ .len = 16, .data = incarnation };
	op->seq = atomic_fetch_add(&c->op_seq, 1) + 1;
}

struct from_thread {
	struct et_post post;
	struct et_catalog *c;
	struct et_buffer packed;
	struct cat_op op;
	struct nature nature;
	uint32_t timeout_ms;
	et_catalog_cb cb;
	void *arg;
};

static void from_thread_run(struct et_post *post)
{
	struct from_thread *f = ET_CONTAINER_OF(post, struct from_thread, post);
	struct et_catalog *c = f->c;

	int rc = c->stopping ? ET_ECLOSED : nature_refusal(c, &f->nature);

	if (rc < 0) {
		if (f->cb != NULL) {
			f->cb(f->arg, rc, NULL);
		}
	} else {
		propose_bytes(c, &f->op, (struct et_view){ f->packed.data, f->packed.size }, false,
			      f->timeout_ms, f->cb, f->arg);
	}
	et_buffer_release(&f->packed);
	free(f);
	et_cat_post_ended(c);
}

int et_catalog_propose_from(struct et_catalog *c, const Et__Command *command, uint32_t timeout_ms,
			    et_catalog_cb cb, void *arg)
{
	struct from_thread *f = calloc(1, sizeof(*f));

	if (f == NULL) {
		return -ENOMEM;
	}
	f->post.fn = from_thread_run;
	f->c = c;
	f->timeout_ms = timeout_ms;
	f->cb = cb;
	f->arg = arg;
	f->nature = nature_of(command);
	int rc = command_pack(c, command, &f->packed, &f->op);
	if (rc == 0) {
		rc = et_cat_post(c, &f->post);
	}
	if (rc < 0) {
		et_buffer_release(&f->packed);
		free(f);
	}
	return rc;
}

int et_cat_propose_init(struct et_catalog *c, struct et_error *reterr)
{
	cat_list_init(&c->proposals);
	cat_list_init(&c->failed);
	c->cursor = &c->proposals;
	c->next_deadline_us = INT64_MAX;
	c->buckets = calloc(BUCKETS, sizeof(*c->buckets));
	c->seen = calloc(SEEN_MAX, sizeof(*c->seen));
	et_random(c->incarnation, sizeof(c->incarnation));
	if (c->buckets == NULL || c->seen == NULL) {
		return et_fail(reterr, -ENOMEM, "proposals");
	}
	return 0;
}

void et_cat_propose_release(struct et_catalog *c)
{
	free(c->buckets);
	free(c->seen);
}
