/* The member that is asked: takes a request, gives it to the keeper, sends the answer.
 *
 *   accepted ─request▶ asked ─answer▶ flushed and closed
 *       └─ 10 s, end, malformed ─▶ closed      (an answer for a joiner that is gone is thrown away)
 *
 * Anyone who reaches the port may come this far, so the rate, the number at a time and the size are
 * bounded, and nothing but the bytes is looked at here. */
#include <stdio.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "node/tls/cert_internal.h"
#include "node/tls/join_internal.h"
#include "node/tls/tls_internal.h"

#define JOINS_MAX 16
#define JOINS_PER_S 5.0
#define JOINS_BURST 10.0
#define REQUEST_TIMEOUT_MS 10000
#define SIGNATURE_BYTES 64
#define FRAME_BYTES_MAX (SIGNATURE_BYTES + ET_JOIN_REQUEST_MAX)

struct et_join_answer {
	struct et_join_answer *prev;
	struct et_join_answer *next;
	struct join_server *server; /* borrowed; NULL when the endpoint is stopping */
	struct et_tls_node *node;   /* borrowed: lives until the timer is closed */
	struct et_tls_conn *conn;   /* owned; NULL: the joiner is gone */
	uv_timer_t timer;
	struct et_buffer bytes;
	bool asked; /* the handler holds it, and will answer */
	bool timer_closed;
};

struct join_server {
	struct et_tls_node *node; /* borrowed */
	et_join_serve_fn fn;
	void *arg;
	double tokens;
	int64_t refilled_us;
	unsigned active;
	struct et_join_answer *first; /* owned */
};

static void answer_maybe_free(struct et_join_answer *a)
{
	if (a->conn == NULL && !a->asked && a->timer_closed) {
		et_buffer_release(&a->bytes);
		free(a);
	}
}

static void answer_on_timer_closed(uv_handle_t *handle)
{
	struct et_join_answer *a = handle->data;
	struct et_tls_node *t = a->node;

	a->timer_closed = true;
	answer_maybe_free(a);
	tls_node_io_closed(t);
}

/* The connection is over, one way or another. */
static void answer_close(struct et_join_answer *a, bool flush)
{
	struct et_tls_conn *conn = ET_TAKE(a->conn);

	if (conn == NULL) {
		return;
	}
	et_tls_conn_close(conn, flush);
	if (a->server != NULL) {
		if (a->prev != NULL) {
			a->prev->next = a->next;
		} else {
			a->server->first = a->next;
		}
		if (a->next != NULL) {
			a->next->prev = a->prev;
		}
		a->server->active--;
		a->server = NULL;
	}
	uv_close((uv_handle_t *)&a->timer, answer_on_timer_closed);
}

static void conn_send_reply(struct et_tls_conn *conn, const struct et_join_reply *reply)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer b = { 0 };
	uint8_t length[4];

	if (et_join_reply_pack(reply, &b) < 0) {
		return; /* The joiner sees the connection end, and asks again. */
	}
	et_put32(length, (uint32_t)b.size);
	et_tls_conn_write(conn, length, sizeof(length));
	et_tls_conn_write(conn, b.data, b.size);
}

static void refuse(struct et_tls_conn *conn, int code, const char *text)
{
	struct et_join_reply reply = { .code = code };

	(void)snprintf(reply.text, sizeof(reply.text), "%.250s", text);
	conn_send_reply(conn, &reply);
}

void et_join_answer(struct et_join_answer *answer, const struct et_join_reply *reply)
{
	et_assert(answer->asked);
	answer->asked = false;
	if (answer->conn != NULL) {
		conn_send_reply(answer->conn, reply);
		answer_close(answer, true);
	} else {
		answer_maybe_free(answer);
	}
}

static void answer_on_timer(uv_timer_t *timer)
{
	struct et_join_answer *a = timer->data;

	refuse(a->conn, -ETIMEDOUT, "the join request did not arrive in time");
	answer_close(a, true);
}

static void take_request(struct et_join_answer *a)
{
	struct et_join_request request;
	struct et_error e;

	int rc = et_join_request_parse((struct et_view){ a->bytes.data + 4 + SIGNATURE_BYTES,
							 a->bytes.size - 4 - SIGNATURE_BYTES },
				       &request, &e);
	if (rc == 0) {
		memcpy(request.signature, a->bytes.data + 4, SIGNATURE_BYTES);
		rc = et_tls_conn_export(a->conn, JOIN_EXPORTER_LABEL, request.exporter,
					sizeof(request.exporter));
		if (rc < 0) {
			(void)et_fail(&e, rc, "join request");
			et_join_request_release(&request);
		}
	}
	if (rc < 0) {
		et_warn("join.malformed", "peer=%s detail=\"%s\"",
			et_tls_conn_peer(a->conn)->address, e.text);
		refuse(a->conn, rc, e.text);
		answer_close(a, true);
		return;
	}
	(void)uv_timer_stop(&a->timer);
	a->asked = true;
	a->server->fn(a->server->arg, &request, a); /* May answer at once. */
	et_join_request_release(&request);
}

static void on_read(void *arg, struct et_tls_conn *conn, const uint8_t *data, size_t size)
{
	struct et_join_answer *a = arg;

	if (a->asked) {
		return; /* It has said all that it may say. */
	}
	et_buffer_add(&a->bytes, data, size);
	if (a->bytes.size < 4) {
		return;
	}
	size_t length = et_get32(a->bytes.data);
	if (a->bytes.failed || length <= SIGNATURE_BYTES || length > FRAME_BYTES_MAX ||
	    a->bytes.size > 4 + length) {
		refuse(conn, ET_EMALFORMED, "the join request has a wrong length");
		answer_close(a, true);
	} else if (a->bytes.size == 4 + length) {
		take_request(a);
	}
}

static void on_end(void *arg, struct et_tls_conn *conn, int code)
{
	(void)conn;
	(void)code;
	answer_close(arg, false);
}

static bool server_admits(struct join_server *j)
{
	int64_t now_us = et_clock_mono_us();

	j->tokens += (double)(now_us - j->refilled_us) * JOINS_PER_S / 1e6;
	j->tokens = j->tokens < JOINS_BURST ? j->tokens : JOINS_BURST;
	j->refilled_us = now_us;
	if (j->tokens < 1 || j->active >= JOINS_MAX) {
		return false;
	}
	j->tokens -= 1;
	return true;
}

static void on_accept(void *arg, struct et_tls_conn *conn)
{
	struct join_server *j = arg;
	const struct et_tls_conn_cb cb = { on_read, on_end, NULL };

	if (!server_admits(j)) {
		refuse(conn, ET_EBUSY, "too many are joining just now: try again in a second");
		et_tls_conn_close(conn, true);
		return;
	}
	struct et_join_answer *a = calloc(1, sizeof(*a));
	if (a == NULL) {
		et_tls_conn_close(conn, false);
		return;
	}
	*a = (struct et_join_answer){
		.server = j, .node = j->node, .conn = conn, .next = j->first
	};
	if (j->first != NULL) {
		j->first->prev = a;
	}
	j->first = a;
	j->active++;
	j->node->open_ios++;
	(void)uv_timer_init(j->node->loop, &a->timer);
	a->timer.data = a;
	(void)uv_timer_start(&a->timer, answer_on_timer, REQUEST_TIMEOUT_MS, 0);
	struct et_tls_conn_cb with = cb;
	with.arg = a;
	et_tls_conn_start(conn, &with);
}

int et_join_serve(struct et_tls_node *t, et_join_serve_fn fn, void *arg, struct et_error *reterr)
{
	if (fn == NULL) { /* No longer. */
		et_tls_handle(t, ET_ALPN_JOIN, NULL, NULL);
		return 0;
	}
	if (t->join == NULL) {
		t->join = calloc(1, sizeof(*t->join));
		if (t->join == NULL) {
			return et_fail(reterr, -ENOMEM, "serve joining nodes");
		}
		t->join->node = t;
		t->join->tokens = JOINS_BURST;
		t->join->refilled_us = et_clock_mono_us();
	}
	t->join->fn = fn;
	t->join->arg = arg;
	et_tls_handle(t, ET_ALPN_JOIN, on_accept, t->join);
	return 0;
}

void join_server_stop(struct join_server *j)
{
	while (j != NULL && j->first != NULL) {
		answer_close(j->first, false);
	}
}

void join_server_free(struct join_server *j)
{
	free(j);
}
