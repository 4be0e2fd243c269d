/* Connections to other nodes, and the frames on them.
 *
 *   CONNECTING ──main thread connects──▶ OPEN ──end, protocol error, idle──▶ DEAD ──reaped──▶ freed
 *        └──────────────failed───────────────────────────────────────────────▲
 *
 * A dead link has no pulls and no streams any more, but stands until the loop's next round: what
 * killed it may be a callback of its own connection. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "replication/sync/sync_internal.h"

#define DOWN_US (2 * INT64_C(1000000)) /* a node that did not answer is left alone for */

static struct link *link_new(struct et_sync *s, bool outbound, uint64_t node, const char *site)
{
	struct link *l = s->link_count < ET_SYNC_LINKS_MAX ? calloc(1, sizeof(*l)) : NULL;
	if (l == NULL) {
		return NULL;
	}
	l->s = s;
	l->outbound = outbound;
	l->node = node;
	l->site = et_sync_site_of(s, site);
	l->id = ++s->next_link;
	l->next_stream = 1;
	l->last_in_us = et_clock_mono_us();
	l->idle_since_us = l->last_in_us;
	et_wire_parser_init(&l->parser, outbound ? ET_WIRE_SOURCE : ET_WIRE_PULLER);
	l->next = s->links;
	s->links = l;
	s->link_count++;
	return l;
}

/* ---- Which nodes are down ---- */

static void down_mark(struct et_sync *s, uint64_t node)
{
	struct down *oldest = &s->down[0];
	for (size_t i = 0; i < ET_ARRAY_SIZE(s->down); i++) {
		struct down *d = &s->down[i];
		if (d->node == node) {
			oldest = d;
			break;
		}
		oldest = d->until_us < oldest->until_us ? d : oldest;
	}
	*oldest = (struct down){ node, et_clock_mono_us() + DOWN_US };
}

static bool down_is(const struct et_sync *s, uint64_t node)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(s->down); i++) {
		if (s->down[i].node == node) {
			return s->down[i].until_us > et_clock_mono_us();
		}
	}
	return false;
}

struct link *et_link_get(struct et_sync *s, const struct et_look_source *source,
			 enum et_sync_class klass)
{
	bool fast = klass <= ET_SYNC_REPLAY;
	struct link *best = NULL;
	uint32_t count = 0;

	for (struct link *l = s->links; l != NULL; l = l->next) {
		if (l->outbound && l->node == source->node && l->fast == fast) {
			count++;
			if (best == NULL || l->pull_count < best->pull_count) {
				best = l;
			}
		}
	}
	uint32_t limit = fast ? 1 : s->bulk_connections;
	if (best != NULL && (best->pull_count == 0 || count >= limit)) {
		return best;
	}
	if (down_is(s, source->node)) {
		return best;
	}

	struct link *l = link_new(s, true, source->node, source->site);
	if (l == NULL) {
		return best;
	}
	l->fast = fast;
	if (et_sync_connect(s, l->id, source->node, source->address) < 0) {
		et_link_kill(l, ET_ELIMIT, "too much is waiting");
		return best;
	}
	return l;
}

/* ---- Sending ---- */

void et_link_send(struct link *l, struct et_buffer *frame)
{
	if (frame->failed) {
		l->broken = true; /* The next tick ends it: the caller is in the midst of things. */
	} else if (l->state == LINK_OPEN) {
		et_tls_conn_write(l->conn, frame->data, frame->size);
	}
	et_buffer_release(frame);
}

static void link_greet(struct link *l)
{
	struct et_buffer frame = { 0 };
	et_wire_add_hello(&frame, &(struct et_wire_hello){ .node = l->s->node,
							   .streams = ET_SYNC_STREAMS_MAX,
							   .features = ET_WIRE_HELLO_TAILS });
	et_link_send(l, &frame);
}

/* ---- Receiving ---- */

static bool link_hello(struct link *l, const struct et_wire_frame *frame)
{
	struct et_wire_hello hello;
	/* TLS has said who it is; that it agrees is a matter of good order. */
	if (!et_wire_read_hello(frame->body, &hello) || hello.node != l->node) {
		return false;
	}
	l->features = hello.features;
	et_tail_link_greeted(l);
	return true;
}

static void link_ping(struct link *l, const struct et_wire_frame *frame)
{
	struct et_buffer answer = { 0 };
	if ((frame->flags & ET_WIRE_PING_ANSWER) == 0) {
		et_wire_add_ping(&answer, et_get64(frame->body->data), true);
		et_link_send(l, &answer);
	}
}

/* One frame; takes its body over. false: the peer broke the protocol. */
static bool link_frame(struct link *l, struct et_wire_frame *frame)
{
	bool ok = true;

	switch (frame->type) {
	case ET_WIRE_HELLO:
		ok = link_hello(l, frame);
		break;
	case ET_WIRE_PING:
		link_ping(l, frame);
		break;
	case ET_WIRE_WANT: {
		struct et_wire_want want;
		ok = et_wire_read_want(frame->body, &want);
		ok = ok && et_serve_want(l, frame->klass, frame->flags, frame->stream, &want);
		break;
	}
	case ET_WIRE_TAIL:
		ok = et_serve_tail(l, frame->stream, frame->body);
		break;
	case ET_WIRE_GROWN:
		return et_tail_grown(l, frame);
	case ET_WIRE_CREDIT:
		ok = et_serve_credit(l, frame->stream, et_get32(frame->body->data));
		break;
	case ET_WIRE_CANCEL:
		et_serve_cancel(l, frame->stream);
		break;
	case ET_WIRE_LEAVES:
	case ET_WIRE_DATA:
	case ET_WIRE_EOF:
	case ET_WIRE_ERROR:
	case ET_WIRE_BUSY:
		if (!et_tail_refused(l, frame)) {
			return et_pull_frame(l, frame);
		}
		break;
	case ET_WIRE_TYPES:
		et_unreachable(); /* The parser gives none such. */
	}
	free(frame->body);
	return ok;
}

static void link_on_read(void *arg, struct et_tls_conn *conn, const uint8_t *data, size_t size)
{
	struct link *l = arg;

	(void)conn;
	l->last_in_us = et_clock_mono_us();
	while (size > 0 && l->state == LINK_OPEN) {
		struct et_wire_frame frame;
		struct et_error error = { 0 };
		size_t used = 0;
		int rc = et_wire_parse(&l->parser, data, size, &used, &frame, &error);
		if (rc < 0) {
			et_link_kill(l, rc, error.text);
			return;
		}
		data += used;
		size -= used;
		if (rc == 1 && !link_frame(l, &frame)) {
			et_link_kill(l, ET_EMALFORMED, "the peer broke the sync protocol");
			return;
		}
	}
}

static void link_on_end(void *arg, struct et_tls_conn *conn, int code)
{
	(void)conn;
	et_link_kill(arg, code == 0 ? ET_ECLOSED : code, NULL);
}

/* The connection is here: take it to this loop. */
static int link_attach(struct link *l, struct et_tls_conn *conn)
{
	const struct et_tls_conn_cb cb = { .on_read = link_on_read,
					   .on_end = link_on_end,
					   .arg = l };
	int rc = et_tls_conn_attach(conn, &l->s->loop);
	l->conn = conn;
	if (rc < 0) {
		return rc;
	}
	l->state = LINK_OPEN;
	l->last_in_us = et_clock_mono_us();
	/* Loss on a long line is no congestion: BBR knows, CUBIC does not. Without it we are
	 * slower.
	 */
	if (et_tls_conn_set_congestion(conn, "bbr") < 0) {
		et_debug("sync.congestion", "node=%llu bbr=no", (unsigned long long)l->node);
	}
	et_tls_conn_start(conn, &cb);
	link_greet(l);
	return 0;
}

void et_link_accepted(struct et_sync *s, struct et_tls_conn *conn)
{
	const struct et_tls_peer *peer = et_tls_conn_peer(conn);
	struct link *l = s->stopping ? NULL : link_new(s, false, peer->node, peer->site);
	if (l == NULL) {
		if (et_tls_conn_attach(conn, &s->loop) == 0) {
			et_tls_conn_close(conn, false);
		}
		return;
	}
	int rc = link_attach(l, conn);
	if (rc < 0) {
		et_link_kill(l, rc, NULL);
	}
}

void et_link_connected(struct et_sync *s, uint64_t id, int code, struct et_tls_conn *conn)
{
	struct link *l = s->links;
	while (l != NULL && l->id != id) {
		l = l->next;
	}
	if (l == NULL) { /* Given up meanwhile. */
		if (conn != NULL && et_tls_conn_attach(conn, &s->loop) == 0) {
			et_tls_conn_close(conn, false);
		}
		return;
	}
	int rc = code < 0 ? code : link_attach(l, conn);
	if (rc < 0) {
		down_mark(s, l->node);
		et_link_kill(l, rc, NULL);
		return;
	}
	et_pull_link_open(l);
}

/* ---- Ending ---- */

void et_link_kill(struct link *l, int code, const char *text)
{
	struct et_sync *s = l->s;

	if (l->state == LINK_DEAD) {
		return;
	}
	bool used = l->pulls != NULL || l->serves != NULL || l->tail != NULL;
	l->state = LINK_DEAD;
	for (struct link **p = &s->links; *p != NULL; p = &(*p)->next) {
		if (*p == l) {
			*p = l->next;
			break;
		}
	}
	s->link_count--;
	l->next = s->dead;
	s->dead = l;
	if (code != ET_ECLOSED || used) {
		et_sync_site_error(s, l->site, code, text);
	}
	et_serve_end_all(l);
	et_tail_link_lost(l);
	while (l->pulls != NULL) {
		et_pull_link_lost(l->pulls, code, text);
	}
	(void)uv_async_send(&s->box.async); /* So that the loop comes round to the reaper. */
}

void et_link_reap(struct et_sync *s)
{
	while (s->dead != NULL) {
		struct link *l = s->dead;
		s->dead = l->next;
		if (l->conn != NULL) {
			et_tls_conn_close(l->conn, false);
		}
		et_wire_parser_release(&l->parser);
		free(l);
	}
}

void et_link_kill_all(struct et_sync *s)
{
	while (s->links != NULL) {
		et_link_kill(s->links, ET_ECLOSED, NULL);
	}
}

static void link_tick(struct link *l, int64_t now_us)
{
	int64_t silent_ms = (now_us - l->last_in_us) / 1000;

	if (l->broken) {
		et_link_kill(l, -ENOMEM, NULL);
		return;
	}
	if (l->pulls == NULL && l->serves == NULL && l->tail == NULL) {
		if (l->idle_since_us == 0) {
			l->idle_since_us = now_us;
		} else if (l->outbound && now_us - l->idle_since_us > ET_SYNC_IDLE_MS * 1000) {
			et_link_kill(l, ET_ECLOSED, NULL);
		}
		return;
	}
	l->idle_since_us = 0;
	if (silent_ms > ET_SYNC_DEAD_MS) {
		et_link_kill(l, -ETIMEDOUT, "nothing came for 15 s");
	} else if (silent_ms > ET_SYNC_PING_MS && now_us - l->pinged_us > ET_SYNC_PING_MS * 1000) {
		struct et_buffer frame = { 0 };
		et_wire_add_ping(&frame, (uint64_t)now_us, false);
		l->pinged_us = now_us;
		et_link_send(l, &frame);
	}
}

void et_link_tick(struct et_sync *s, int64_t now_us)
{
	struct link *next = NULL;
	for (struct link *l = s->links; l != NULL; l = next) {
		next = l->next;
		if (l->state == LINK_OPEN) {
			link_tick(l, now_us);
			if (l->state == LINK_OPEN && l->serves != NULL) {
				et_serve_pump(l); /* The rate may allow more now. */
			}
		}
	}
}
