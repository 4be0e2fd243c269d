#include "node/io/clock.h"
#include "raft/catalog/catalog_internal.h"

/* What one AppendEntries carries, and how often (G12). libraft sends all that it has from a
 * follower's next index in one message (64 MiB and more), and while it has no answer it sends the
 * same again at each tick. The other side decodes, copies and stores such a message in one turn of
 * its loop: a second without heartbeats, votes and answers.
 *
 *   libraft's message    prev=100 [101 ................................... 900]
 *   the connection       prev=100 [101 .. 350]  prev=350 [351 .. 610]  prev=610 [611 .. 900]
 *   the same again       prev=100 []            on its way already: a heartbeat
 *
 * Why that is Raft's: each part is a message that the same leader could have sent in the same term.
 * Its entries are a run of the leader's log, which a leader never changes in its term; index and
 * term before it are those of the entry before it in that log; the commit index is no higher than
 * the leader's, nor than the part's last entry. Parts may be lost, doubled, reordered or refused
 * one by one, and leaders may change between two: the checks are made for each message. Of what is
 * not sent again Raft knows nothing; it is a message that the network lost.
 *
 * Why nothing is missed for ever: "on its way" is forgotten when a part fails, when there is a new
 * connection, when the follower refuses one of the parts, when it gets a snapshot, when the term
 * changes, and when no index has moved for some seconds though everything has been written (then
 * twice as long, and so on: a follower whose disk is slow is not helped by more of the same).
 * libraft's next message then goes; only its first part, as long as the follower has not said that
 * it has the entry before it: it may refuse, and libraft goes back then.
 *
 * And what is told at once: libraft says that an entry is committed with the next entry or tick.
 * Whoever proposed it through a follower of a quiet cluster, or reads there, would wait for up to a
 * heartbeat (a write took 29 ms instead of 5; with the WAN's times up to 300), and a token that one
 * node gave out would be unknown to another for so long. A follower where somebody waits, and all
 * when nothing else is on its way, get a heartbeat of its own: prev is the last entry that it has
 * acknowledged. */

#define PATIENCE_MIN_US (INT64_C(2) * 1000000)
#define PATIENCE_MAX_US (INT64_C(60) * 1000000)

struct flow_part {
	struct raft_io_send req;
	struct flow_send *all;
};

struct flow_send {
	struct raft_io_send *original; /* borrowed until its callback */
	raft_io_send_cb cb;
	struct et_catalog *c;
	uint64_t node;
	int status;
	unsigned open; /* parts without a callback, and one while they are being sent */
	struct flow_part parts[];
};

/* No entry is on its way that would carry the commit index. */
static bool is_quiet(const struct et_catalog *c)
{
	return c->inflight_count == 0 && c->unsent_bytes == 0;
}

void et_cat_flow_forget(struct et_catalog *c, uint64_t node)
{
	et_cat_seat(c, node)->flow.sent = 0;
}

/* Others are answers to what was sent before that: libraft knows what to do, or that they are old.
 */
void et_cat_flow_result(struct et_catalog *c, const struct raft_message *message)
{
	raft_index rejected = message->append_entries_result.rejected;
	struct cat_flow *f = &et_cat_seat(c, message->server_id)->flow;

	if (rejected > 0 && rejected >= f->before && rejected <= f->sent) {
		f->sent = 0;
	}
	if (f->asked > f->told || (is_quiet(c) && f->told < c->raft.commit_index)) {
		et_cat_schedule(c); /* It may have the entry now. */
	}
}

static void send_end(struct flow_send *s)
{
	struct raft_io_send *original = s->original;
	raft_io_send_cb cb = s->cb;
	int status = s->status;

	if (--s->open > 0) {
		return;
	}
	free(s);
	cb(original, status);
}

static void part_on_sent(struct raft_io_send *req, int status)
{
	struct flow_part *part = ET_CONTAINER_OF(req, struct flow_part, req);
	struct flow_send *s = part->all;
	struct cat_flow *f = &et_cat_seat(s->c, s->node)->flow;

	f->open -= f->open > 0; /* It may be a new seat. */
	f->moved_us = et_clock_mono_us();
	if (status != 0) {
		f->sent = 0;
		s->status = status;
	}
	send_end(s);
}

/* See what has moved; forget what has not for too long. */
static void flow_look(struct et_catalog *c, struct cat_flow *f, raft_index match)
{
	int64_t least_us = (int64_t)c->election_ms * 2 * 1000;
	int64_t now_us = et_clock_mono_us();

	least_us = least_us < PATIENCE_MIN_US ? PATIENCE_MIN_US : least_us;
	if (match > f->match || f->patience_us < least_us) {
		f->match = match;
		f->moved_us = now_us;
		f->patience_us = least_us;
	}
	if (f->open == 0 && f->sent > 0 && now_us - f->moved_us > f->patience_us) {
		f->sent = 0;
		f->moved_us = now_us;
		f->patience_us =
			f->patience_us > PATIENCE_MAX_US / 2 ? PATIENCE_MAX_US : f->patience_us * 2;
	}
}

/* How many of the first entries are on their way already. *ret_known: the follower has the entry
 * before them, or it is on its way. */
static unsigned flow_covered(struct et_catalog *c, struct cat_flow *f,
			     const struct raft_message *message, bool *ret_known)
{
	const struct raft_append_entries *args = &message->append_entries;
	raft_index match = 0;

	if (f->term != args->term) {
		*f = (struct cat_flow){ .term = args->term, .open = f->open };
	}
	if (raft_match_index(&c->raft, message->server_id, &match) < 0) {
		match = 0;
	}
	flow_look(c, f, match);
	*ret_known = args->prev_log_index <= match ||
		     (args->prev_log_index >= f->before && args->prev_log_index <= f->sent);
	if (f->sent <= args->prev_log_index || args->prev_log_index < f->before) {
		return 0;
	}
	raft_index covered = f->sent - args->prev_log_index;
	return covered > args->n_entries ? args->n_entries : (unsigned)covered;
}

/* The end of the part that begins at `from`: CAT_PART_BYTES, one entry at least, and a membership
 * change only as the first (G6). */
static unsigned part_end(const struct raft_append_entries *args, unsigned from)
{
	size_t bytes = 0;
	unsigned i = from;

	do {
		bytes += args->entries[i].buf.len + CAT_ENTRY_OVERHEAD;
		i++;
	} while (i < args->n_entries && args->entries[i].type != RAFT_CHANGE &&
		 bytes + args->entries[i].buf.len + CAT_ENTRY_OVERHEAD <= CAT_PART_BYTES);
	return i;
}

/* Entries [from, to) of `whole`, as a message; the entries stay the whole's. */
static struct raft_message part_make(const struct raft_message *whole, unsigned from, unsigned to)
{
	struct raft_message part = *whole;
	struct raft_append_entries *args = &part.append_entries;
	raft_index last = args->prev_log_index + to;

	if (from > 0) {
		args->prev_log_index += from;
		args->prev_log_term = args->entries[from - 1].term;
	}
	args->entries = from < to ? args->entries + from : NULL;
	args->n_entries = to - from;
	args->leader_commit = args->leader_commit < last ? args->leader_commit : last;
	return part;
}

/* `count` parts, the first of which begins at `from`. */
static int parts_send(struct et_catalog *c, struct flow_send *s, const struct raft_message *whole,
		      unsigned from, unsigned count)
{
	const struct raft_append_entries *args = &whole->append_entries;

	for (unsigned i = 0; i < count; i++) {
		unsigned to = part_end(args, from);
		struct raft_message part = part_make(whole, from, to);
		struct cat_flow *f = &et_cat_seat(c, s->node)->flow;
		s->parts[i].all = s;
		s->open++;
		f->open++;
		int rv = c->io_send(&c->io, &s->parts[i].req, &part, part_on_sent);
		f = &et_cat_seat(c, s->node)->flow;
		if (rv != 0) {
			s->open--;
			f->open -= f->open > 0;
			f->sent = 0;
			return i == 0 ? rv : 0; /* The rest was lost on its way. */
		}
		if (f->sent == 0 || f->sent != part.append_entries.prev_log_index) {
			f->before = part.append_entries.prev_log_index;
		}
		f->sent = part.append_entries.prev_log_index + part.append_entries.n_entries;
		f->sent_term = args->entries[to - 1].term;
		f->told = part.append_entries.leader_commit;
		f->moved_us = et_clock_mono_us();
		from = to;
	}
	return 0;
}

static int flow_send(struct raft_io *io, struct raft_io_send *req,
		     const struct raft_message *message, raft_io_send_cb cb)
{
	struct et_catalog *c = ET_CONTAINER_OF(io, struct et_catalog, io);
	const struct raft_append_entries *args = &message->append_entries;

	if (message->type == RAFT_INSTALL_SNAPSHOT) { /* Entries that meet it are dropped there. */
		et_cat_flow_forget(c, message->server_id);
	}
	if (message->type != RAFT_APPEND_ENTRIES) {
		return c->io_send(io, req, message, cb);
	}
	struct cat_flow *f = &et_cat_seat(c, message->server_id)->flow;
	struct raft_message heartbeat = *message;
	bool known = false;
	unsigned from = 0;
	if (args->n_entries > 0) {
		from = flow_covered(c, f, message, &known);
		heartbeat = part_make(message, 0, 0);
	}
	f->version = args->version;
	if (from == args->n_entries) {
		f->told = f->term == args->term ? heartbeat.append_entries.leader_commit : 0;
		return c->io_send(io, req, &heartbeat, cb);
	}
	unsigned count = 0;
	for (unsigned i = from; i < args->n_entries && (known || count == 0);
	     i = part_end(args, i)) {
		count++;
	}
	struct flow_send *s = et_cat_alloc(sizeof(*s) + count * sizeof(s->parts[0]));
	s->original = req;
	s->cb = cb;
	s->c = c;
	s->node = message->server_id;
	s->open = 1;
	int rv = parts_send(c, s, message, from, count);
	if (rv != 0) {
		free(s);
		return rv;
	}
	send_end(s);
	return 0;
}

/* ---- Telling who waits ---- */

void et_cat_flow_ask(struct et_catalog *c, uint64_t node, raft_index index)
{
	struct cat_flow *f = &et_cat_seat(c, node)->flow;

	if (index > f->asked) {
		f->asked = index;
		et_cat_schedule(c);
	}
}

static void tell_on_sent(struct raft_io_send *req, int status)
{
	(void)status; /* Lost: the tick says it again. */
	free(req);
}

static void flow_tell(struct et_catalog *c, struct cat_flow *f, const struct raft_server *server)
{
	raft_index commit = c->raft.commit_index;
	raft_index wanted = is_quiet(c) ? commit : f->asked;
	raft_index match = 0;

	if (wanted <= f->told || wanted > commit || f->term != c->raft.current_term ||
	    f->sent < wanted || raft_match_index(&c->raft, server->id, &match) < 0 ||
	    match != f->sent) {
		return; /* What is on its way, or the tick, will say it. */
	}
	struct raft_io_send *req = et_cat_alloc(sizeof(*req));
	struct raft_message message = { .type = RAFT_APPEND_ENTRIES,
					.server_id = server->id,
					.server_address = server->address };
	message.append_entries.version = f->version;
	message.append_entries.term = f->term;
	message.append_entries.prev_log_index = f->sent;
	message.append_entries.prev_log_term = f->sent_term;
	message.append_entries.leader_commit = commit < f->sent ? commit : f->sent;
	f->told = message.append_entries.leader_commit;
	if (c->io_send(&c->io, req, &message, tell_on_sent) != 0) {
		free(req);
	}
}

void et_cat_flow_turn(struct et_catalog *c)
{
	for (unsigned i = 0; i < c->raft.configuration.n; i++) {
		const struct raft_server *server = &c->raft.configuration.servers[i];
		if (server->id != c->node) {
			flow_tell(c, &et_cat_seat(c, server->id)->flow, server);
		}
	}
}

void et_cat_flow_init(struct et_catalog *c)
{
	c->io_send = c->io.send;
	c->io.send = flow_send;
}
