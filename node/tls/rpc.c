/* Requests and answers.
 *
 *   outward: struct rpc_link, one a peer. IDLE ─call▶ CONNECTING ─▶ OPEN ─end▶ IDLE
 *            calls wait in the link with their bytes until it is OPEN
 *   inward:  struct rpc_in, one a connection that a peer made to us; it serves requests
 *
 * Calls that fail before they are sent are told ET_EUNREACHABLE; those that were given to a
 * connection which then ended, or whose time is over, ET_EUNKNOWN: they may have had their effect.
 * Completion never happens inside et_rpc_call(): such failures wait in `failed` for the idle
 * handle. Handlers and callbacks may call and answer; a link or inward connection that ends in the
 * middle of a feed is released after it. */
#include <stdio.h>

#include "node/base/log.h"
#include "node/tls/rpc_internal.h"

#define LINKS_MAX 1024
#define BUCKETS 256
#define TICK_MS 20
#define LINK_BYTES_MAX (32UL * 1024 * 1024)    /* waiting or queued to one peer */
#define ANSWERS_BYTES_MAX (16UL * 1024 * 1024) /* queued to one peer; above, we stop reading it */
#define UNANSWERED_MAX 1024		       /* requests of one peer; above, we stop reading it */

struct rpc_call {
	struct rpc_call *prev; /* borrowed: list of the link, oldest first */
	struct rpc_call *next;
	struct rpc_call *bucket_next;
	uint64_t id;
	uint64_t deadline_ms;
	bool sent;
	int code; /* while in `failed` */
	et_rpc_cb cb;
	void *arg;
	uint8_t *frame; /* owned, until sent */
	size_t frame_size;
};

enum link_state { LINK_IDLE, LINK_CONNECTING, LINK_OPEN };

struct rpc_link {
	struct rpc_link *next;
	struct rpc *rpc;
	uint64_t node;
	char address[ET_ADDRESS_MAX];
	enum link_state state;
	struct et_tls_conn *conn; /* owned while OPEN */
	struct rpc_parser parser;
	struct rpc_call *first; /* owned */
	struct rpc_call *last;
	struct rpc_call *buckets[BUCKETS];
	unsigned calls;
	size_t waiting_bytes;
	uint64_t next_id;
	uint64_t next_deadline_ms;
	bool feeding;
	bool broken; /* ended while feeding */
};

struct rpc_in {
	struct rpc_in *prev;
	struct rpc_in *next;
	struct rpc *rpc;
	struct et_tls_conn *conn; /* owned; NULL: ended */
	struct rpc_parser parser;
	struct et_rpc_reply *replies; /* borrowed: their holders answer */
	unsigned unanswered;
	bool feeding;
	bool throttled;
};

struct et_rpc_reply {
	struct et_rpc_reply *prev;
	struct et_rpc_reply *next;
	struct rpc_in *in; /* borrowed; NULL: the peer is gone */
	uint64_t id;
	uint16_t method;
};

struct rpc {
	struct et_tls_node *node; /* borrowed */
	uv_timer_t timer;
	uv_idle_t idle;
	int open_handles;
	bool stopping;
	struct {
		et_rpc_fn fn;
		void *arg;
	} methods[ET_RPC_METHODS];
	struct rpc_link *links; /* owned; one a peer ever called */
	unsigned link_count;
	struct rpc_in *ins;	 /* owned */
	struct rpc_call *failed; /* owned; oldest first */
	struct rpc_call **failed_end;
};

/* ---- Calls ---- */

static void on_rpc_idle(uv_idle_t *idle);
static void on_tick(uv_timer_t *timer);

static void call_free(struct rpc_call *call)
{
	free(call->frame);
	free(call);
}

static void call_finish(struct rpc_call *call, int code, struct et_view body)
{
	et_rpc_cb cb = call->cb;
	void *arg = call->arg;

	call_free(call);
	cb(arg, code, body);
}

static void call_fail_later(struct rpc *r, struct rpc_call *call, int code)
{
	call->code = code;
	call->next = NULL;
	*r->failed_end = call;
	r->failed_end = &call->next;
	if (!uv_is_closing((uv_handle_t *)&r->idle)) {
		(void)uv_idle_start(&r->idle, on_rpc_idle);
	}
}

static void finish_failed(struct rpc *r)
{
	while (r->failed != NULL) {
		struct rpc_call *call = r->failed;
		r->failed = call->next;
		if (r->failed == NULL) {
			r->failed_end = &r->failed;
		}
		call_finish(call, call->code, (struct et_view){ NULL, 0 });
	}
}

static void link_add(struct rpc_link *l, struct rpc_call *call)
{
	struct rpc_call **bucket = &l->buckets[call->id % BUCKETS];

	call->bucket_next = *bucket;
	*bucket = call;
	call->prev = l->last;
	if (l->last != NULL) {
		l->last->next = call;
	} else {
		l->first = call;
	}
	l->last = call;
	l->calls++;
	l->waiting_bytes += call->frame_size;
	if (call->deadline_ms < l->next_deadline_ms) {
		l->next_deadline_ms = call->deadline_ms;
	}
}

static void link_take(struct rpc_link *l, struct rpc_call *call)
{
	struct rpc_call **p = &l->buckets[call->id % BUCKETS];

	while (*p != call) {
		p = &(*p)->bucket_next;
	}
	*p = call->bucket_next;
	if (call->prev != NULL) {
		call->prev->next = call->next;
	} else {
		l->first = call->next;
	}
	if (call->next != NULL) {
		call->next->prev = call->prev;
	} else {
		l->last = call->prev;
	}
	l->calls--;
	l->waiting_bytes -= call->frame_size;
}

/* End every call that the link has now; not those that the callbacks add. */
static void link_fail_calls(struct rpc_link *l, int unsent_code)
{
	uint64_t last_id = l->next_id;

	while (l->first != NULL && l->first->id < last_id) {
		struct rpc_call *call = l->first;
		et_assert(call->prev == NULL);
		link_take(l, call);
		call_finish(call, call->sent ? ET_EUNKNOWN : unsent_code,
			    (struct et_view){ NULL, 0 });
	}
}

/* ---- Outward ---- */

static void link_connect(struct rpc_link *l);

static void link_closed(struct rpc_link *l)
{
	if (l->feeding) {
		l->broken = true; /* Its parser is at work: on_link_read() comes back here. */
		return;
	}
	struct et_tls_conn *conn = ET_TAKE(l->conn);
	l->state = LINK_IDLE;
	l->broken = false;
	rpc_parser_release(&l->parser);
	et_tls_conn_close(conn, false);
	link_fail_calls(l, ET_EUNREACHABLE);
}

static int on_answer(void *arg, const struct rpc_frame *frame)
{
	struct rpc_link *l = arg;

	if (frame->kind != RPC_ANSWER) {
		return ET_EMALFORMED;
	}
	struct rpc_call *call = l->buckets[frame->id % BUCKETS];
	while (call != NULL && call->id != frame->id) {
		call = call->bucket_next;
	}
	if (call != NULL) { /* Else its time was over. */
		link_take(l, call);
		call_finish(call, frame->code, frame->body);
	}
	return l->broken ? ET_ECLOSED : 0;
}

static void on_link_read(void *arg, struct et_tls_conn *conn, const uint8_t *data, size_t size)
{
	struct rpc_link *l = arg;

	l->feeding = true;
	int rc = rpc_parser_feed(&l->parser, data, size, on_answer, l);
	l->feeding = false;
	if (rc < 0 && !l->broken) {
		et_warn("rpc.malformed", "peer=%s node=%llu direction=out",
			et_tls_conn_peer(conn)->address, (unsigned long long)l->node);
	}
	if (rc < 0) {
		link_closed(l);
	}
}

static void on_link_end(void *arg, struct et_tls_conn *conn, int code)
{
	(void)conn;
	(void)code;
	link_closed(arg);
}

static void link_send(struct rpc_link *l, struct rpc_call *call)
{
	call->sent = true;
	et_tls_conn_write(l->conn, call->frame, call->frame_size);
	l->waiting_bytes -= call->frame_size;
	call->frame_size = 0;
	free(ET_TAKE(call->frame));
}

static void on_link_connected(void *arg, int code, struct et_tls_conn *conn)
{
	struct rpc_link *l = arg;
	const struct et_tls_conn_cb cb = { .on_read = on_link_read,
					   .on_end = on_link_end,
					   .arg = l };

	et_assert(l->state == LINK_CONNECTING);
	if (code == 0 && l->rpc->stopping) {
		et_tls_conn_close(conn, false);
		code = ET_ECLOSED;
	}
	if (code < 0) {
		l->state = LINK_IDLE;
		link_fail_calls(l, code == ET_EUNTRUSTED ? code : ET_EUNREACHABLE);
		if (l->first != NULL && l->state == LINK_IDLE) {
			link_connect(l); /* A callback has called again. */
		}
		return;
	}
	l->state = LINK_OPEN;
	l->conn = conn;
	et_tls_conn_start(conn, &cb);
	for (struct rpc_call *c = l->first; c != NULL; c = c->next) {
		link_send(l, c);
	}
}

static void link_connect(struct rpc_link *l)
{
	l->state = LINK_CONNECTING;
	et_tls_connect(l->rpc->node, l->node, l->address, ET_ALPN_RPC, on_link_connected, l);
}

static struct rpc_link *link_of(struct rpc *r, uint64_t node)
{
	struct rpc_link *l = r->links;

	while (l != NULL && l->node != node) {
		l = l->next;
	}
	if (l == NULL && r->link_count < LINKS_MAX) {
		l = calloc(1, sizeof(*l));
		if (l != NULL) {
			l->rpc = r;
			l->node = node;
			l->next_id = 1;
			l->next_deadline_ms = UINT64_MAX;
			l->next = r->links;
			r->links = l;
			r->link_count++;
		}
	}
	return l;
}

static struct rpc_call *call_new(uint64_t id, enum et_rpc_method method, const void *body,
				 size_t size)
{
	struct rpc_call *call = calloc(1, sizeof(*call));
	size_t keep = size <= ET_RPC_BODY_MAX ? size : 0;
	const struct rpc_frame frame = { .kind = RPC_REQUEST,
					 .method = (uint16_t)method,
					 .id = id };

	et_assert(call != NULL);
	call->frame_size = 4 + RPC_HEADER_BYTES + keep;
	call->frame = malloc(call->frame_size);
	et_assert(call->frame != NULL);
	rpc_frame_header(&frame, keep, call->frame);
	if (keep > 0) {
		memcpy(call->frame + 4 + RPC_HEADER_BYTES, body, keep);
	}
	call->id = id;
	return call;
}

void et_rpc_call(struct et_tls_node *t, uint64_t node, const char *address,
		 enum et_rpc_method method, const void *body, size_t size, uint32_t timeout_ms,
		 et_rpc_cb cb, void *arg)
{
	struct rpc *r = t->rpc;
	struct rpc_link *l = link_of(r, node);
	struct rpc_call *call = call_new(l != NULL ? l->next_id : 0, method, body, size);

	call->cb = cb;
	call->arg = arg;
	if (r->stopping) {
		call_fail_later(r, call, ET_ECLOSED);
		return;
	}
	if (l == NULL || size > ET_RPC_BODY_MAX || l->calls >= ET_RPC_IN_FLIGHT_MAX ||
	    l->waiting_bytes + (l->conn != NULL ? et_tls_conn_queued(l->conn) : 0) + size >
		    LINK_BYTES_MAX) {
		call_fail_later(r, call, ET_ELIMIT);
		return;
	}
	l->next_id++;
	call->deadline_ms = uv_now(t->loop) + timeout_ms;
	link_add(l, call);
	if (!uv_is_active((uv_handle_t *)&r->timer)) {
		(void)uv_timer_start(&r->timer, on_tick, TICK_MS, TICK_MS);
	}
	if (l->state == LINK_OPEN) {
		link_send(l, call);
	} else if (l->state == LINK_IDLE) {
		(void)snprintf(l->address, sizeof(l->address), "%s", address);
		link_connect(l);
	}
}

/* The oldest call before `last_id` whose time is over. */
static struct rpc_call *link_overdue(const struct rpc_link *l, uint64_t last_id, uint64_t now_ms)
{
	struct rpc_call *c = l->first;

	while (c != NULL && c->id < last_id && c->deadline_ms > now_ms) {
		c = c->next;
	}
	return c != NULL && c->id < last_id ? c : NULL;
}

/* End the calls whose time is over; not those that their callbacks add. */
static void link_expire(struct rpc_link *l, uint64_t now_ms)
{
	uint64_t last_id = l->next_id;
	struct rpc_call *c = NULL;

	if (now_ms < l->next_deadline_ms) {
		return;
	}
	while ((c = link_overdue(l, last_id, now_ms)) != NULL) {
		link_take(l, c);
		call_finish(c, c->sent ? ET_EUNKNOWN : ET_EUNREACHABLE,
			    (struct et_view){ NULL, 0 });
	}
	l->next_deadline_ms = UINT64_MAX;
	for (c = l->first; c != NULL; c = c->next) {
		if (c->deadline_ms < l->next_deadline_ms) {
			l->next_deadline_ms = c->deadline_ms;
		}
	}
}

static void on_tick(uv_timer_t *timer)
{
	struct rpc *r = ET_CONTAINER_OF(timer, struct rpc, timer);
	uint64_t now_ms = uv_now(r->node->loop);
	bool any = false;

	for (struct rpc_link *l = r->links; l != NULL; l = l->next) {
		link_expire(l, now_ms);
		any = any || l->first != NULL;
	}
	if (!any && !r->stopping) {
		(void)uv_timer_stop(timer);
	}
}

/* ---- Inward ---- */

static void in_free(struct rpc_in *in)
{
	struct rpc *r = in->rpc;

	if (in->prev != NULL) {
		in->prev->next = in->next;
	} else {
		r->ins = in->next;
	}
	if (in->next != NULL) {
		in->next->prev = in->prev;
	}
	for (struct et_rpc_reply *p = in->replies; p != NULL; p = p->next) {
		p->in = NULL;
	}
	rpc_parser_release(&in->parser);
	free(in);
}

static void in_close(struct rpc_in *in)
{
	struct et_tls_conn *conn = ET_TAKE(in->conn);

	if (conn != NULL) {
		et_tls_conn_close(conn, false);
	}
	if (!in->feeding) {
		in_free(in);
	}
}

static void on_in_drained(void *arg);

static void in_throttle(struct rpc_in *in)
{
	bool too_much = in->unanswered >= UNANSWERED_MAX;

	if (in->conn == NULL) {
		return;
	}
	if (et_tls_conn_queued(in->conn) > ANSWERS_BYTES_MAX) {
		too_much = true;
		et_tls_conn_on_drain(in->conn, ANSWERS_BYTES_MAX / 2, on_in_drained, in);
	}
	if (too_much != in->throttled) {
		in->throttled = too_much;
		et_tls_conn_pause(in->conn, too_much);
	}
}

static void on_in_drained(void *arg)
{
	in_throttle(arg);
}

static int on_request(void *arg, const struct rpc_frame *frame)
{
	struct rpc_in *in = arg;
	struct rpc *r = in->rpc;

	if (frame->kind != RPC_REQUEST) {
		return ET_EMALFORMED;
	}
	struct et_rpc_reply *reply = calloc(1, sizeof(*reply));
	if (reply == NULL) {
		return -ENOMEM;
	}
	*reply = (struct et_rpc_reply){
		.next = in->replies, .in = in, .id = frame->id, .method = frame->method
	};
	if (in->replies != NULL) {
		in->replies->prev = reply;
	}
	in->replies = reply;
	in->unanswered++;
	if (frame->method >= ET_RPC_METHODS || r->methods[frame->method].fn == NULL) {
		et_rpc_reply(reply, ET_EUNSUPPORTED, NULL, 0);
	} else {
		r->methods[frame->method].fn(r->methods[frame->method].arg,
					     et_tls_conn_peer(in->conn), frame->body, reply);
	}
	return in->conn == NULL ? ET_ECLOSED : 0;
}

static void on_in_read(void *arg, struct et_tls_conn *conn, const uint8_t *data, size_t size)
{
	struct rpc_in *in = arg;

	in->feeding = true;
	int rc = rpc_parser_feed(&in->parser, data, size, on_request, in);
	in->feeding = false;
	if (rc < 0) {
		if (in->conn != NULL) {
			et_warn("rpc.malformed", "peer=%s node=%llu direction=in",
				et_tls_conn_peer(conn)->address,
				(unsigned long long)et_tls_conn_peer(conn)->node);
		}
		in_close(in);
		return;
	}
	in_throttle(in);
}

static void on_in_end(void *arg, struct et_tls_conn *conn, int code)
{
	(void)conn;
	(void)code;
	in_close(arg);
}

void rpc_accept(void *arg, struct et_tls_conn *conn)
{
	struct rpc *r = arg;
	struct rpc_in *in = calloc(1, sizeof(*in));
	const struct et_tls_conn_cb cb = { .on_read = on_in_read, .on_end = on_in_end, .arg = in };

	if (in == NULL || r->stopping) {
		free(in);
		et_tls_conn_close(conn, false);
		return;
	}
	*in = (struct rpc_in){ .rpc = r, .conn = conn, .next = r->ins };
	if (r->ins != NULL) {
		r->ins->prev = in;
	}
	r->ins = in;
	et_tls_conn_start(conn, &cb);
}

void et_rpc_reply(struct et_rpc_reply *reply, int code, const void *body, size_t size)
{
	struct rpc_in *in = reply->in;
	uint8_t header[4 + RPC_HEADER_BYTES];

	et_assert(code <= 0);
	if (in == NULL) {
		free(reply);
		return;
	}
	if (size > ET_RPC_BODY_MAX) {
		code = ET_ELIMIT;
		size = 0;
	}
	const struct rpc_frame frame = {
		.kind = RPC_ANSWER, .method = reply->method, .id = reply->id, .code = code
	};
	rpc_frame_header(&frame, size, header);
	if (in->conn != NULL) {
		et_tls_conn_write(in->conn, header, sizeof(header));
		et_tls_conn_write(in->conn, body, size);
	}
	if (reply->prev != NULL) {
		reply->prev->next = reply->next;
	} else {
		in->replies = reply->next;
	}
	if (reply->next != NULL) {
		reply->next->prev = reply->prev;
	}
	in->unanswered--;
	free(reply);
	in_throttle(in);
}

/* ---- The whole ---- */

static void on_ping(void *arg, const struct et_tls_peer *peer, struct et_view body,
		    struct et_rpc_reply *reply)
{
	(void)arg;
	(void)peer;
	et_rpc_reply(reply, 0, body.data, body.size < 64 ? body.size : 64);
}

struct rpc *rpc_new(struct et_tls_node *t)
{
	struct rpc *r = calloc(1, sizeof(*r));

	if (r != NULL) {
		r->node = t;
		r->failed_end = &r->failed;
		r->methods[ET_RPC_PING].fn = on_ping;
	}
	return r;
}

static void on_rpc_idle(uv_idle_t *idle)
{
	struct rpc *r = ET_CONTAINER_OF(idle, struct rpc, idle);

	(void)uv_idle_stop(idle);
	finish_failed(r);
}

void rpc_begin(struct rpc *r)
{
	(void)uv_timer_init(r->node->loop, &r->timer);
	(void)uv_idle_init(r->node->loop, &r->idle);
	r->open_handles = 2;
}

static void on_rpc_closed(uv_handle_t *handle)
{
	struct rpc *r = handle->data;

	r->open_handles--;
	if (r->open_handles == 0) {
		tls_node_maybe_closed(r->node);
	}
}

void rpc_stop(struct rpc *r)
{
	r->stopping = true;
	for (struct rpc_in *in = r->ins; in != NULL;) {
		struct rpc_in *next = in->next;
		in_close(in);
		in = next;
	}
	for (struct rpc_link *l = r->links; l != NULL; l = l->next) {
		if (l->state == LINK_OPEN) {
			link_closed(l);
		} else {
			link_fail_calls(l, ET_EUNREACHABLE);
		}
	}
	finish_failed(r);
	r->timer.data = r;
	r->idle.data = r;
	uv_close((uv_handle_t *)&r->timer, on_rpc_closed);
	uv_close((uv_handle_t *)&r->idle, on_rpc_closed);
}

bool rpc_is_closed(const struct rpc *r)
{
	return r->stopping && r->open_handles == 0;
}

void rpc_free(struct rpc *r)
{
	if (r == NULL) {
		return;
	}
	finish_failed(r);
	while (r->links != NULL) {
		struct rpc_link *l = r->links;
		r->links = l->next;
		et_assert(l->first == NULL && l->conn == NULL);
		rpc_parser_release(&l->parser);
		free(l);
	}
	free(r);
}

void et_rpc_serve(struct et_tls_node *t, enum et_rpc_method method, et_rpc_fn fn, void *arg)
{
	et_assert(method > 0 && method < ET_RPC_METHODS);
	t->rpc->methods[method].fn = fn;
	t->rpc->methods[method].arg = arg;
}

bool et_rpc_is_connected(const struct et_tls_node *t, uint64_t node)
{
	for (const struct rpc_link *l = t->rpc->links; l != NULL; l = l->next) {
		if (l->node == node && l->state == LINK_OPEN) {
			return true;
		}
	}
	for (const struct rpc_in *in = t->rpc->ins; in != NULL; in = in->next) {
		if (in->conn != NULL && et_tls_conn_peer(in->conn)->node == node) {
			return true;
		}
	}
	return false;
}
