#include <stdio.h>
#include <sys/socket.h>

#include "raft/catalog/catalog_internal.h"

/* Raft's connections: libraft gets one end of a socket pair, as a pipe; a pump joins the other end
 * to a TLS connection, with back pressure both ways.
 *
 *   raft ── uv_pipe_t ── socket pair ── uv_pipe_t ── pump ── et_tls_conn ── peer
 *
 * Each connection carries messages one way: from who connected. It begins with a greeting, the
 * cluster address of the sender: "ETR1" length8 address. That is where it is dialled from then on
 * (operate.c); who the sender is, its certificate says. To libraft the sender's address is that of
 * the configuration, even when it has moved since: libraft would take another for a new connection.
 *
 * A peer has one inward connection; a new one ends the old. */

enum {
	QUEUE_MAX = 1024 * 1024, /* bytes waiting in a direction before its source is stopped */
	QUEUE_LOW = 256 * 1024,
	SCRATCH = 65536,
};

struct dial {
	struct cat_link link;
	struct et_catalog *c;	     /* NULL: the catalogue is gone */
	struct raft_uv_connect *req; /* borrowed; NULL: cancelled */
	uint64_t node;
	raft_uv_connect_cb cb;
};

struct pump {
	struct cat_link link;
	struct et_catalog *c;
	struct et_tls_conn *conn; /* owned, or NULL */
	uint64_t peer;
	bool is_inward;
	bool has_pipe; /* false: the greeting is not complete */
	bool closing;
	bool conn_paused;
	bool pipe_paused;
	size_t queued; /* bytes on their way into the pipe */
	struct cat_greeting greeting;
	uv_pipe_t pipe;
};

struct pump_write {
	uv_write_t req;
	struct pump *pump;
	size_t size;
	char data[];
};

static struct et_catalog *catalog_of(struct raft_uv_transport *t)
{
	return t->impl;
}

/* ---- The pump ---- */

static void pump_maybe_all_closed(struct et_catalog *c)
{
	if (c->pumps_open == 0 && c->transport_close_cb != NULL) {
		raft_uv_transport_close_cb cb = c->transport_close_cb;
		c->transport_close_cb = NULL;
		cb(&c->transport);
	}
}

static void pump_free(struct pump *p)
{
	struct et_catalog *c = p->c;

	free(p);
	c->pumps_open--;
	pump_maybe_all_closed(c);
}

static void pump_on_closed(uv_handle_t *handle)
{
	pump_free(handle->data);
}

static void pump_close(struct pump *p)
{
	if (p->closing) {
		return;
	}
	p->closing = true;
	cat_list_take(&p->link);
	if (p->conn != NULL) {
		et_tls_conn_close(p->conn, false);
		p->conn = NULL;
	}
	if (p->has_pipe) {
		uv_close((uv_handle_t *)&p->pipe, pump_on_closed);
	} else {
		pump_free(p);
	}
}

/* From raft to the peer. */

static void pump_on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void pump_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct pump *p = handle->data;

	(void)suggested;
	*buf = uv_buf_init(p->c->scratch, SCRATCH);
}

static void pump_on_drain(void *arg)
{
	struct pump *p = arg;

	p->pipe_paused = false;
	if (uv_read_start((uv_stream_t *)&p->pipe, pump_alloc, pump_on_read) < 0) {
		pump_close(p);
	}
}

static void pump_on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct pump *p = stream->data;

	if (n == 0) {
		return;
	}
	if (n < 0) {
		pump_close(p); /* Raft has let go. */
		return;
	}
	et_tls_conn_write(p->conn, buf->base, (size_t)n);
	if (!p->pipe_paused && et_tls_conn_queued(p->conn) > QUEUE_MAX) {
		p->pipe_paused = true;
		(void)uv_read_stop(stream);
		et_tls_conn_on_drain(p->conn, QUEUE_LOW, pump_on_drain, p);
	}
}

/* From the peer to raft. */

static void pump_on_written(uv_write_t *req, int status)
{
	struct pump_write *w = ET_CONTAINER_OF(req, struct pump_write, req);
	struct pump *p = w->pump;

	p->queued -= w->size;
	free(w);
	if (p->closing) {
		return;
	}
	if (status < 0) {
		pump_close(p);
	} else if (p->conn_paused && p->queued <= QUEUE_LOW) {
		p->conn_paused = false;
		et_tls_conn_pause(p->conn, false);
	}
}

static void pump_to_pipe(struct pump *p, const uint8_t *data, size_t size)
{
	size_t done = 0;

	if (p->queued == 0) {
		uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)size);
		int n = uv_try_write((uv_stream_t *)&p->pipe, &buf, 1);
		if (n < 0 && n != UV_EAGAIN) {
			pump_close(p);
			return;
		}
		done = n > 0 ? (size_t)n : 0;
	}
	if (done == size) {
		return;
	}
	struct pump_write *w = malloc(sizeof(*w) + size - done);
	if (w == NULL) {
		pump_close(p);
		return;
	}
	w->pump = p;
	w->size = size - done;
	memcpy(w->data, data + done, w->size);
	uv_buf_t buf = uv_buf_init(w->data, (unsigned)w->size);
	if (uv_write(&w->req, (uv_stream_t *)&p->pipe, &buf, 1, pump_on_written) < 0) {
		free(w);
		pump_close(p);
		return;
	}
	p->queued += w->size;
	if (!p->conn_paused && p->queued > QUEUE_MAX) {
		p->conn_paused = true;
		et_tls_conn_pause(p->conn, true);
	}
}

/* Open both pipes; *ret is raft's. It frees it with raft_free(). */
static int pump_open(struct pump *p, uv_stream_t **ret)
{
	struct et_catalog *c = p->c;
	int fds[2];
	uv_pipe_t *raft_end = raft_malloc(sizeof(*raft_end));

	if (raft_end == NULL) {
		return -ENOMEM;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
		raft_free(raft_end);
		return -errno;
	}
	(void)uv_pipe_init(c->loop, raft_end, 0);
	(void)uv_pipe_init(c->loop, &p->pipe, 0);
	p->pipe.data = p;
	p->has_pipe = true;
	int rc = uv_pipe_open(raft_end, fds[0]);
	et_assert(rc == 0); /* A fresh socket pair: nothing can be wrong with it. */
	rc = uv_pipe_open(&p->pipe, fds[1]);
	et_assert(rc == 0);
	*ret = (uv_stream_t *)raft_end;
	return uv_read_start((uv_stream_t *)&p->pipe, pump_alloc, pump_on_read);
}

static struct pump *pump_new(struct et_catalog *c, struct et_tls_conn *conn, bool is_inward)
{
	struct pump *p = et_cat_alloc(sizeof(*p));

	p->c = c;
	p->conn = conn;
	p->peer = et_tls_conn_peer(conn)->node;
	p->is_inward = is_inward;
	cat_list_add(&c->pumps, &p->link);
	c->pumps_open++;
	return p;
}

static void pump_on_end(void *arg, struct et_tls_conn *conn, int code)
{
	(void)conn;
	(void)code;
	pump_close(arg);
}

/* ---- Inward ---- */

/* false: the pump is gone. */
static bool inward_accept(struct pump *p, const char *greeting)
{
	struct et_catalog *c = p->c;
	const struct raft_server *server = et_cat_server(c, p->peer);
	const char *address = server != NULL ? server->address : greeting;
	uv_stream_t *stream = NULL;

	int rc = pump_open(p, &stream);
	if (rc < 0) {
		if (stream != NULL) {
			uv_close((uv_handle_t *)stream, (uv_close_cb)raft_free);
		}
		pump_close(p);
		return false;
	}
	c->accept_cb(&c->transport, p->peer, address, stream);
	return !p->closing;
}

static void inward_on_read(void *arg, struct et_tls_conn *conn, const uint8_t *data, size_t size)
{
	struct pump *p = arg;

	(void)conn;
	if (!p->has_pipe) {
		int rc = et_cat_greeting_take(&p->greeting, &data, &size);
		if (rc < 0) {
			pump_close(p);
			return;
		}
		if (rc == 0) {
			return;
		}
		et_cat_address_greeted(p->c, p->peer, p->greeting.address);
		if (!inward_accept(p, p->greeting.address)) {
			return;
		}
	}
	if (size > 0) {
		pump_to_pipe(p, data, size);
	}
}

static void inward_on_connection(void *arg, struct et_tls_conn *conn)
{
	struct et_catalog *c = arg;
	uint64_t peer = et_tls_conn_peer(conn)->node;

	if (c->stopping || c->accept_cb == NULL || peer == c->node || peer == 0) {
		et_tls_conn_close(conn, false);
		return;
	}
	struct cat_link *link = c->pumps.next;
	while (link != &c->pumps) {
		struct pump *p = ET_CONTAINER_OF(link, struct pump, link);
		link = link->next;
		if (p->is_inward && p->peer == peer) {
			pump_close(p);
		}
	}
	struct pump *p = pump_new(c, conn, true);
	et_tls_conn_start(conn, &(struct et_tls_conn_cb){ .on_read = inward_on_read,
							  .on_end = pump_on_end,
							  .arg = p });
}

static void refuse_connection(void *arg, struct et_tls_conn *conn)
{
	(void)arg;
	et_tls_conn_close(conn, false);
}

/* ---- Outward ---- */

static void outward_on_read(void *arg, struct et_tls_conn *conn, const uint8_t *data, size_t size)
{
	(void)conn;
	(void)data;
	(void)size;
	pump_close(arg); /* Nobody answers here. */
}

static void outward_connected(struct dial *d, struct et_tls_conn *conn)
{
	struct et_catalog *c = d->c;
	struct pump *p = pump_new(c, conn, false);
	uv_stream_t *stream = NULL;
	uint8_t greeting[CAT_GREETING_MAX];

	int rc = pump_open(p, &stream);
	if (rc < 0) {
		if (stream != NULL) {
			uv_close((uv_handle_t *)stream, (uv_close_cb)raft_free);
		}
		pump_close(p);
		d->cb(d->req, NULL, RAFT_NOCONNECTION);
		return;
	}
	et_tls_conn_write(conn, greeting, et_cat_greeting_make(c->address, greeting));
	et_tls_conn_start(conn, &(struct et_tls_conn_cb){ .on_read = outward_on_read,
							  .on_end = pump_on_end,
							  .arg = p });
	d->cb(d->req, stream, 0);
}

static void dial_on_connect(void *arg, int code, struct et_tls_conn *conn)
{
	struct dial *d = arg;

	if (d->c != NULL) {
		cat_list_take(&d->link);
	}
	if (d->req == NULL) {
		if (code == 0) {
			et_tls_conn_close(conn, false);
		}
	} else if (code < 0) {
		et_cat_address_failed(d->c, d->node);
		d->cb(d->req, NULL, RAFT_NOCONNECTION);
	} else {
		outward_connected(d, conn);
	}
	free(d);
}

/* ---- What raft calls ---- */

static int transport_init(struct raft_uv_transport *t, raft_id id, const char *address)
{
	(void)t;
	(void)id;
	(void)address;
	return 0;
}

static int transport_listen(struct raft_uv_transport *t, raft_uv_accept_cb cb)
{
	catalog_of(t)->accept_cb = cb;
	return 0;
}

static int transport_connect(struct raft_uv_transport *t, struct raft_uv_connect *req, raft_id id,
			     const char *address, raft_uv_connect_cb cb)
{
	struct et_catalog *c = catalog_of(t);
	struct dial *d = et_cat_alloc(sizeof(*d));

	char to[CAT_ADDRESS_SIZE];

	d->c = c;
	d->req = req;
	d->cb = cb;
	d->node = id;
	et_cat_flow_forget(c, id); /* What the connection before it carried may be lost. */
	cat_list_add(&c->dials, &d->link);
	et_cat_address(c, id, address, to);
	et_tls_connect(c->tls, id, to, ET_ALPN_RAFT, dial_on_connect, d);
	return 0;
}

static void transport_close(struct raft_uv_transport *t, raft_uv_transport_close_cb cb)
{
	struct et_catalog *c = catalog_of(t);

	c->accept_cb = NULL;
	et_tls_handle(c->tls, ET_ALPN_RAFT, refuse_connection, NULL);
	while (!cat_list_is_empty(&c->dials)) {
		struct dial *d = ET_CONTAINER_OF(c->dials.next, struct dial, link);
		struct raft_uv_connect *req = d->req;
		cat_list_take(&d->link);
		d->c = NULL;
		d->req = NULL;
		d->cb(req, NULL, RAFT_CANCELED);
	}
	c->transport_close_cb = cb;
	c->pumps_open++; /* Not before the loop below has ended. */
	while (!cat_list_is_empty(&c->pumps)) {
		pump_close(ET_CONTAINER_OF(c->pumps.next, struct pump, link));
	}
	c->pumps_open--;
	pump_maybe_all_closed(c);
}

bool et_cat_transport_has(const struct et_catalog *c, uint64_t node)
{
	for (struct cat_link *l = c->pumps.next; l != &c->pumps; l = l->next) {
		if (ET_CONTAINER_OF(l, struct pump, link)->peer == node) {
			return true;
		}
	}
	return false;
}

int et_cat_transport_init(struct et_catalog *c, struct et_error *reterr)
{
	cat_list_init(&c->dials);
	cat_list_init(&c->pumps);
	c->scratch = malloc(SCRATCH);
	if (c->scratch == NULL) {
		return et_fail(reterr, -ENOMEM, "Raft's connections");
	}
	c->transport = (struct raft_uv_transport){
		.version = 1,
		.impl = c,
		.init = transport_init,
		.listen = transport_listen,
		.connect = transport_connect,
		.close = transport_close,
	};
	return 0;
}

void et_cat_transport_serve(struct et_catalog *c)
{
	et_tls_handle(c->tls, ET_ALPN_RAFT, inward_on_connection, c);
}
