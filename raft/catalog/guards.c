#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "node/io/clock.h"
#include "raft/catalog/catalog_internal.h"

/* What stands between libraft 0.22.1 and the world. Each guard keeps out a defect of that version:
 *
 *   G1  one buffer a raft_apply(), its length a multiple of 8        propose.c
 *   G2  no InstallSnapshot while a snapshot is taken                 install_deliver()
 *   G3  a failed write, close or cut of the log ends the process     guard_append(), guard_trace()
 *   G4  no InstallSnapshot of an older term                          install_deliver()
 *   G5  a barrier of the own term before each membership change      member.c
 *   G6  a membership change travels first in its message             append_deliver(), member.c
 *   G7  hand over when the own disk does not keep up                 member.c
 *   G8  window, heartbeat, pre-vote                                  catalog.c, window_adapt()
 *   G9  restore() aborts; no run behind the database; auto-recovery off; held InstallSnapshot
 *                                                                    snapshot.c, catalog.c, here
 *   G10 a snapshot that cannot be read when it is to be sent         snapshot.c
 *   G12 messages, and turns, of a bounded size; no commit index that goes back
 *                                                                    flow.c, append_deliver()
 *   G13 a segment that could not be made once                        catalog.c, segment_retry()
 *   G14 a power cut while a conflicting tail is cut off              cut.c
 *   G15 a recovered log, and what applied entries say of it          bootstrap.c, cut.c
 *   G16 a message that is refused with an error is freed twice       entries_deliver() */

#define SEGMENT_TELL_US (INT64_C(10) * 1000000)

int et_cat_code(int raft_code)
{
	switch (raft_code) {
	case 0:
		return 0;
	case RAFT_NOTLEADER:
		return ET_ENOTLEADER;
	case RAFT_LEADERSHIPLOST:
		return ET_EUNKNOWN;
	case RAFT_NOSPACE:
		return -ENOSPC;
	case RAFT_NOMEM:
		return -ENOMEM;
	case RAFT_CORRUPT:
	case RAFT_MALFORMED:
		return ET_ECORRUPT;
	case RAFT_CANCELED:
	case RAFT_SHUTDOWN:
		return ET_ECLOSED;
	case RAFT_NOCONNECTION:
		return ET_EUNREACHABLE;
	case RAFT_BUSY:
	case RAFT_CANTCHANGE:
		return ET_EBUSY;
	case RAFT_NOTFOUND:
		return ET_ENOTFOUND;
	case RAFT_IOERR:
		return -EIO;
	case RAFT_CANTBOOTSTRAP:
	case RAFT_DUPLICATEID:
	case RAFT_DUPLICATEADDRESS:
		return ET_EEXISTS;
	case RAFT_NAMETOOLONG:
		return -ENAMETOOLONG;
	default:
		return ET_EREFUSED;
	}
}

_Noreturn void et_cat_fatal(const struct et_catalog *c, const char *fmt, ...)
{
	char text[512];
	char quoted[768];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	et_err("catalog.fatal", "node=%llu why=%s", (unsigned long long)c->node,
	       et_log_quote(text, quoted, sizeof(quoted)));
	abort();
}

bool et_cat_is_throttled(const struct et_catalog *c)
{
	return c->queue_bytes > CAT_QUEUE_MAX;
}

static struct et_catalog *catalog_of(struct raft_io *io)
{
	return ET_CONTAINER_OF(io, struct et_catalog, io);
}

/* ---- AppendEntries ---- */

static size_t append_bytes(const struct raft_append_entries *args)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < args->n_entries; i++) {
		bytes += args->entries[i].buf.len + CAT_ENTRY_OVERHEAD;
	}
	return bytes;
}

static void append_release(struct raft_append_entries *args)
{
	if (args->n_entries > 0) {
		raft_free(args->entries[0].batch);
		raft_free(args->entries);
	}
}

/* libraft limits what is on its way to a follower by entries, not by bytes: keep the product at
 * CAT_WINDOW_BYTES. */
void et_cat_window_adapt(struct et_catalog *c, size_t bytes, unsigned n)
{
	if (n == 0) {
		return;
	}
	uint64_t average = bytes / n;
	/* Grow at once, shrink slowly. */
	c->entry_bytes_average = average > c->entry_bytes_average
					 ? average
					 : (c->entry_bytes_average * 63 + average) / 64;
	uint64_t window = CAT_WINDOW_BYTES / (c->entry_bytes_average + CAT_ENTRY_OVERHEAD);
	window = window < 32 ? 32 : window > CAT_WINDOW_MAX ? CAT_WINDOW_MAX : window;
	raft_set_max_inflight_entries(&c->raft, (unsigned)window);
}

/* Entries [from, n) of `args` as a message of their own, with memory of their own. */
static void append_split(const struct et_catalog *c, const struct raft_append_entries *args,
			 unsigned from, struct raft_append_entries *ret)
{
	unsigned n = args->n_entries - from;
	size_t size = 0;

	for (unsigned i = from; i < args->n_entries; i++) {
		size += args->entries[i].buf.len;
	}
	struct raft_entry *entries = raft_malloc(n * sizeof(*entries));
	uint8_t *batch = raft_malloc(size == 0 ? 1 : size);
	if (entries == NULL || batch == NULL) {
		et_cat_fatal(c, "no memory for %zu bytes of received entries", size);
	}
	size_t at = 0;
	for (unsigned i = 0; i < n; i++) {
		const struct raft_entry *e = &args->entries[from + i];
		entries[i] = *e;
		entries[i].batch = batch;
		entries[i].buf.base = batch + at;
		if (e->buf.len > 0) {
			memcpy(batch + at, e->buf.base, e->buf.len);
		}
		at += e->buf.len;
	}
	*ret = *args;
	ret->entries = entries;
	ret->n_entries = n;
	ret->prev_log_index = args->prev_log_index + from;
	ret->prev_log_term = args->entries[from - 1].term;
}

/* G12: libraft takes the lower of the leader's commit index and the message's last entry, also when
 * that is lower than what it had. A message that ends before (it was sent twice) says nothing. */
static void append_clamp(struct raft_append_entries *args)
{
	raft_index last = args->prev_log_index + args->n_entries;

	args->leader_commit = args->leader_commit < last ? args->leader_commit : last;
}

/* G16: libraft frees what it refuses with an error twice: where it refuses, and where it was handed
 * over. (It refuses so what contradicts a committed entry; a leader whose last snapshot it takes
 * for one of another term says that.) What it keeps it copies, so the bytes stay ours. */
static void entries_deliver(struct et_catalog *c, struct raft_message *message)
{
	struct raft_append_entries *args = &message->append_entries;
	void *batch = args->n_entries > 0 ? args->entries[0].batch : NULL;

	append_clamp(args);
	c->turn_bytes += append_bytes(args);
	for (unsigned i = 0; i < args->n_entries; i++) {
		args->entries[i].batch = NULL;
	}
	c->deliver(&c->io, message);
	raft_free(batch);
}

/* G6: libraft records a configuration at the index of the first entry of its message. Cut the
 * message before each that is not first. Takes over what `message` owns. */
static void append_deliver(struct et_catalog *c, struct raft_message *message)
{
	struct raft_append_entries *args = &message->append_entries;

	for (unsigned i = 1; i < args->n_entries; i++) {
		if (args->entries[i].type != RAFT_CHANGE) {
			continue;
		}
		struct raft_message rest = *message;
		append_split(c, args, i, &rest.append_entries);
		args->n_entries = i;
		entries_deliver(c, message);
		append_deliver(c, &rest); /* Ends: each round is shorter. */
		return;
	}
	entries_deliver(c, message);
}

/* While entries are held the follower must not take its leader for dead. This says what the leader
 * could have said: I lead, and what you have up to the held ones is mine. */
static void append_heartbeat(struct et_catalog *c)
{
	struct cat_held *first = ET_CONTAINER_OF(c->held.next, struct cat_held, link);
	struct raft_message message = first->message;

	if (message.append_entries.term < c->raft.current_term) {
		return;
	}
	message.server_address = first->address;
	message.append_entries.entries = NULL;
	message.append_entries.n_entries = 0;
	if (message.append_entries.leader_commit > c->raft.commit_index) {
		message.append_entries.leader_commit = c->raft.commit_index;
	}
	c->deliver(&c->io, &message);
}

static void append_hold(struct et_catalog *c, struct raft_message *message)
{
	size_t bytes = append_bytes(&message->append_entries);

	if (message->append_entries.n_entries > 0) {
		if (c->held_bytes + bytes > CAT_HELD_MAX) {
			append_release(&message->append_entries); /* The leader sends it again. */
		} else {
			struct cat_held *h = et_cat_alloc(sizeof(*h));
			h->message = *message;
			(void)snprintf(h->address, sizeof(h->address), "%s",
				       message->server_address);
			h->bytes = bytes;
			c->held_bytes += bytes;
			cat_list_add(&c->held, &h->link);
		}
	}
	if (!cat_list_is_empty(&c->held)) {
		append_heartbeat(c);
	} else {
		c->deliver(&c->io, message);
	}
}

/* The rest comes in the next turn: heartbeats, votes and answers go between. */
static bool turn_is_full(const struct et_catalog *c)
{
	return c->turn_bytes >= CAT_TURN_BYTES;
}

static void append_release_held(struct et_catalog *c)
{
	while (!cat_list_is_empty(&c->held) && !et_cat_is_throttled(c) && !c->space.full) {
		if (turn_is_full(c)) {
			et_cat_schedule(c);
			return;
		}
		struct cat_held *h = ET_CONTAINER_OF(c->held.next, struct cat_held, link);
		cat_list_take(&h->link);
		c->held_bytes -= h->bytes;
		h->message.server_address = h->address;
		append_deliver(c, &h->message);
		free(h);
	}
}

/* ---- InstallSnapshot ---- */

static void install_message_release(struct raft_install_snapshot *args)
{
	raft_configuration_close(&args->conf);
	raft_free(args->data.base);
}

/* Files that were fetched and are not needed. */
static void install_forget_files(struct et_catalog *c)
{
	if (c->install.path[0] != '\0') {
		et_cat_folder_remove_later(c, c->install.path);
		c->install.path[0] = '\0';
	}
}

static void install_drop(struct et_catalog *c)
{
	install_message_release(&c->install.message.install_snapshot);
	c->install.active = false;
	c->install.have_files = false;
}

/* Hand the held message to raft when nothing forbids it: not of an older term (G4: the answer would
 * carry an index that was never set), not while a snapshot is taken (G2: NULL is used then). */
static void install_deliver(struct et_catalog *c)
{
	if (!c->install.active) {
		if (!c->raft.snapshot.installing && c->pushed >= c->install.path_index) {
			install_forget_files(c); /* The log brought what they would have. */
		}
		return;
	}
	if (c->install.message.install_snapshot.term < c->raft.current_term) {
		install_drop(c); /* What is being fetched may serve the next leader's message. */
		return;
	}
	if (!c->install.have_files || c->raft.legacy.snapshot_taking || c->snapshot_pending ||
	    c->raft.snapshot.installing || !cat_list_is_empty(&c->held)) {
		return;
	}
	struct raft_message message = c->install.message;
	message.server_address = c->install.address;
	c->install.active = false;
	c->install.have_files = false;
	et_info("catalog.install.deliver", "node=%llu index=%llu", (unsigned long long)c->node,
		message.install_snapshot.last_index);
	c->deliver(&c->io, &message);
}

static void install_begin(struct et_catalog *c)
{
	uint64_t index = c->install.message.install_snapshot.last_index;

	/* The database has it, or the state thread's queue, or it was fetched already. */
	c->install.have_files = c->pushed >= index ||
				(c->install.path[0] != '\0' && c->install.path_index >= index);
	if (c->install.have_files) {
		et_cat_schedule(c);
	} else {
		et_cat_pull_start(c, c->install.message.server_id, c->install.address, index);
	}
}

/* Take over the message: hold it, or drop it. */
static void install_hold(struct et_catalog *c, struct raft_message *message)
{
	struct raft_install_snapshot *args = &message->install_snapshot;
	const struct raft_install_snapshot *old = &c->install.message.install_snapshot;
	struct cat_manifest manifest;

	if (args->term < c->raft.current_term ||
	    !et_cat_manifest_read(args->data.base, args->data.len, &manifest) ||
	    (c->install.active &&
	     (args->term < old->term || args->last_index < old->last_index ||
	      (args->term == old->term && args->last_index == old->last_index)))) {
		install_message_release(args); /* Stale, foreign or a duplicate. */
		return;
	}
	if (c->install.active) {
		install_drop(c);
	}
	c->install.active = true;
	c->install.message = *message;
	(void)snprintf(c->install.address, sizeof(c->install.address), "%s",
		       message->server_address);
	et_info("catalog.install.hold", "node=%llu index=%llu leader=%llu",
		(unsigned long long)c->node, args->last_index, message->server_id);
	install_begin(c);
}

void et_cat_install_ready(struct et_catalog *c, const char *path, uint64_t index)
{
	if (et_cat_rebuild_ready(c, path, index)) {
		if (c->install.active) {
			install_begin(c);
		}
		return;
	}
	install_forget_files(c);
	(void)snprintf(c->install.path, sizeof(c->install.path), "%s", path);
	c->install.path_index = index;
	if (c->install.active) {
		install_begin(c); /* A newer message may have come meanwhile. */
	}
	et_cat_schedule(c);
}

/* ---- The wrapped functions ---- */

void et_cat_guard_recv(struct raft_io *io, struct raft_message *message)
{
	struct et_catalog *c = catalog_of(io);

	if (c->stopping) {
		if (message->type == RAFT_APPEND_ENTRIES) {
			append_release(&message->append_entries);
		} else if (message->type == RAFT_INSTALL_SNAPSHOT) {
			install_message_release(&message->install_snapshot);
		}
		return;
	}
	et_cat_seat(c, message->server_id)->contact_us = et_clock_mono_us();
	switch (message->type) {
	case RAFT_APPEND_ENTRIES:
		if (message->append_entries.term >= c->raft.current_term) {
			c->contact_us = et_clock_mono_us();
		}
		et_cat_window_adapt(c, append_bytes(&message->append_entries),
				    message->append_entries.n_entries);
		if (!cat_list_is_empty(&c->held) || et_cat_is_throttled(c) || c->space.full ||
		    turn_is_full(c)) {
			append_hold(c, message);
		} else {
			append_deliver(c, message);
		}
		break;
	case RAFT_INSTALL_SNAPSHOT:
		c->contact_us = et_clock_mono_us();
		install_hold(c, message);
		break;
	case RAFT_APPEND_ENTRIES_RESULT:
		et_cat_flow_result(c, message);
		c->deliver(io, message);
		break;
	case RAFT_REQUEST_VOTE:
	case RAFT_REQUEST_VOTE_RESULT:
	case RAFT_TIMEOUT_NOW:
		c->deliver(io, message);
		break;
	}
}

/* The tick is the heartbeat. libraft would also take it for the least time between two messages to
 * a follower that it thinks is away, and delay a write after a pause by as much; that time is set
 * shorter in catalog.c, so give the timer the real one here. */
static int guard_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick,
		       raft_io_recv_cb recv)
{
	struct et_catalog *c = catalog_of(io);

	(void)msecs;
	c->deliver = recv;
	return c->io_start(io, c->heartbeat_ms, tick, et_cat_guard_recv);
}

struct guard_append {
	struct raft_io_append req;
	struct raft_io_append *original; /* borrowed */
	raft_io_append_cb cb;
	struct et_catalog *c;
	size_t bytes;
	uint64_t generation; /* cuts of the log before it */
};

static void guard_append_cb(struct raft_io_append *req, int status)
{
	struct guard_append *w = ET_CONTAINER_OF(req, struct guard_append, req);
	struct raft_io_append *original = w->original;
	raft_io_append_cb cb = w->cb;
	struct et_catalog *c = w->c;

	if (status != 0 && !(c->stopping && status == RAFT_CANCELED)) {
		et_cat_fatal(c, "the Raft log cannot be written: %s: %s", raft_strerror(status),
			     c->io.errmsg);
	}
	if (status == 0) {
		et_cat_cut_stored(c, w->generation);
	}
	c->unstored_bytes -= w->bytes;
	c->stored_at_us = et_clock_mono_us();
	free(w);
	cb(original, status);
}

static int guard_append(struct raft_io *io, struct raft_io_append *req,
			const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
	struct et_catalog *c = catalog_of(io);
	struct guard_append *w = et_cat_alloc(sizeof(*w));

	for (unsigned i = 0; i < n; i++) {
		et_assert(entries[i].buf.len % 8 == 0);
		w->bytes += entries[i].buf.len + CAT_ENTRY_OVERHEAD;
	}
	w->original = req;
	w->cb = cb;
	w->c = c;
	w->generation = c->cut.generation;
	if (c->unstored_bytes == 0) {
		c->stored_at_us = et_clock_mono_us();
	}
	c->unstored_bytes += w->bytes;
	int rv = c->io_append(io, &w->req, entries, n, guard_append_cb);
	if (rv != 0) {
		if (!c->stopping) {
			et_cat_fatal(c, "the Raft log refuses an entry: %s: %s", raft_strerror(rv),
				     io->errmsg);
		}
		c->unstored_bytes -= w->bytes;
		free(w);
		return rv;
	}
	c->cut.next += n;
	return 0;
}

/* G13: a segment that could not be made is tried again for ever, under the same name, which must
 * not exist. Where only the sync of the folder had failed it does, and the log would stand still.
 * The file was never written, and nobody has it open: take it away. On the loop, before the next
 * try.
 */
static void segment_retry(struct et_catalog *c, const char *name)
{
	char path[CAT_PATH_SIZE + 64];
	int64_t now_us = et_clock_mono_us();

	(void)snprintf(path, sizeof(path), "%s/%s", c->raft_folder, name);
	bool left = strncmp(name, "open-", 5) == 0 && unlink(path) == 0;
	if (left || now_us - c->segment_told_us > SEGMENT_TELL_US) {
		c->segment_told_us = now_us;
		et_warn("catalog.log.segment",
			"node=%llu file=%s why=\"it could not be made\" next=again",
			(unsigned long long)c->node, path);
	}
}

/* G3: after a failed write libraft starts a timer with the wrong structure, and crashes when it
 * runs. After a segment that could not be closed, or not be cut, it only makes a note that nobody
 * reads, and goes on: the log on the disk has a hole then, and the next start refuses it. In each
 * case it says one of these first (on a thread of libuv's pool, some of them). */
static void guard_trace(struct raft_tracer *t, int type, const void *info)
{
	static const char *const failures[] = {
		"retry failed write",  /* uv_append.c */
		"truncate segment ",   /* uv_finalize.c: close one */
		"truncate index ",     /* uv_truncate.c: cut the log */
		"unlink segment ",     /* ... */
		"sync data directory", /* ... */
		"write 0",	       /* uv_segment.c: cut a segment */
	};
	static const char retry[] = "retry creating segment ";
	const struct raft_tracer_info *i = info;

	if (type != RAFT_TRACER_DIAGNOSTIC || i->diagnostic.message == NULL) {
		return;
	}
	if (strncmp(i->diagnostic.message, retry, sizeof(retry) - 1) == 0) {
		segment_retry(t->impl, i->diagnostic.message + sizeof(retry) - 1);
		return;
	}
	for (size_t k = 0; k < ET_ARRAY_SIZE(failures); k++) {
		if (strncmp(i->diagnostic.message, failures[k], strlen(failures[k])) == 0) {
			et_cat_fatal(t->impl, "the Raft log cannot be written: %s",
				     i->diagnostic.message);
		}
	}
}

void et_cat_guards_init(struct et_catalog *c)
{
	cat_list_init(&c->held);
	c->io_start = c->io.start;
	c->io_append = c->io.append;
	c->io.start = guard_start;
	c->io.append = guard_append;
	c->tracer = (struct raft_tracer){ .impl = c, .version = 2, .emit = guard_trace };
	raft_uv_set_tracer(&c->io, &c->tracer);
	et_cat_flow_init(c);
	et_cat_cut_init(c);
}

/* G3: a write that could not even be submitted, of entries that waited for the one before: libraft
 * tells nobody, and its log stands still for ever. It leaves this text. */
static void submit_watch(const struct et_catalog *c)
{
	static const char text[] = "io_submit";

	if (c->unstored_bytes > 0 && strncmp(c->io.errmsg, text, sizeof(text) - 1) == 0) {
		et_cat_fatal(c, "the Raft log cannot be written: %s", c->io.errmsg);
	}
}

void et_cat_guards_turn(struct et_catalog *c)
{
	submit_watch(c);
	c->turn_bytes = 0;
	append_release_held(c);
	install_deliver(c);
}

void et_cat_guards_release(struct et_catalog *c)
{
	while (!cat_list_is_empty(&c->held)) {
		struct cat_held *h = ET_CONTAINER_OF(c->held.next, struct cat_held, link);
		cat_list_take(&h->link);
		append_release(&h->message.append_entries);
		free(h);
	}
	c->held_bytes = 0;
	if (c->install.active) {
		install_drop(c);
	}
}
