#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <sys/socket.h>

#include "node/tls/tls_internal.h"

#define USER_TIMEOUT_MS 4000
#define NOTSENT_LOWAT_BYTES (128 * 1024)

struct tls_shared *tls_shared_new(void)
{
	struct tls_shared *s = calloc(1, sizeof(*s));

	if (s == NULL || pthread_mutex_init(&s->mutex, NULL) != 0) {
		free(s);
		return NULL;
	}
	atomic_init(&s->references, 1);
	return s;
}

struct tls_shared *tls_shared_ref(struct tls_shared *s)
{
	(void)atomic_fetch_add(&s->references, 1);
	return s;
}

void tls_shared_unref(struct tls_shared *s)
{
	if (s != NULL && atomic_fetch_sub(&s->references, 1) == 1) {
		(void)pthread_mutex_destroy(&s->mutex);
		free(s);
	}
}

/* ---- The loop's part ---- */

static void io_on_close(uv_handle_t *handle)
{
	struct conn_io *io = handle->data;

	et_assert(io->open_handles > 0);
	if (--io->open_handles == 0) {
		struct et_tls_node *node = io->node;
		OPENSSL_cleanse(io->plain, sizeof(io->plain));
		free(io);
		if (node != NULL) {
			tls_node_io_closed(node);
		}
	}
}

static void io_on_timer(uv_timer_t *timer)
{
	struct conn_io *io = ET_CONTAINER_OF(timer, struct conn_io, timer);
	struct et_tls_conn *conn = io->conn;
	struct et_error why;

	if (conn == NULL || conn->state == CONN_READY) {
		return;
	}
	if (conn->state >= CONN_FLUSH) {
		tls_conn_drop(conn);
		return;
	}
	if (conn->node != NULL && conn->state == CONN_HANDSHAKE) {
		conn->node->counts.handshake_timeouts++;
	}
	(void)et_fail(&why, -ETIMEDOUT, "%s with %s",
		      conn->state == CONN_CONNECT ? "connection" : "handshake", conn->peer.address);
	tls_conn_fail(conn, -ETIMEDOUT, &why);
}

static int io_new(uv_loop_t *loop, struct et_tls_conn *conn)
{
	struct conn_io *io = malloc(sizeof(*io));

	if (io == NULL) {
		return -ENOMEM;
	}
	memset(io, 0, offsetof(struct conn_io, plain));
	int rc = uv_poll_init(loop, &io->poll, conn->fd);
	if (rc < 0) {
		free(io);
		return rc;
	}
	(void)uv_idle_init(loop, &io->idle);
	(void)uv_timer_init(loop, &io->timer);
	io->poll.data = io;
	io->idle.data = io;
	io->timer.data = io;
	io->open_handles = 3;
	io->conn = conn;
	io->node = conn->node;
	if (io->node != NULL) {
		io->node->open_ios++;
	}
	conn->io = io;
	return 0;
}

static void io_let_go(struct et_tls_conn *conn)
{
	struct conn_io *io = ET_TAKE(conn->io);

	io->conn = NULL;
	(void)uv_poll_stop(&io->poll);
	uv_close((uv_handle_t *)&io->poll, io_on_close);
	uv_close((uv_handle_t *)&io->idle, io_on_close);
	uv_close((uv_handle_t *)&io->timer, io_on_close);
}

/* ---- Lists ---- */

static void list_add(struct et_tls_conn **list, struct et_tls_conn *conn)
{
	conn->prev = NULL;
	conn->next = *list;
	if (*list != NULL) {
		(*list)->prev = conn;
	}
	*list = conn;
}

static void list_remove(struct et_tls_conn **list, struct et_tls_conn *conn)
{
	if (conn->prev != NULL) {
		conn->prev->next = conn->next;
	} else {
		*list = conn->next;
	}
	if (conn->next != NULL) {
		conn->next->prev = conn->prev;
	}
}

/* ---- Life ---- */

static void set_options(int fd)
{
	const int one = 1;
	const int user_timeout_ms = USER_TIMEOUT_MS;
	const int idle_s = 5;
	const int interval_s = 1;
	const int lowat_bytes = NOTSENT_LOWAT_BYTES;

	/* None of them can fail on a TCP socket of a kernel that we run on; none is vital. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms,
			 sizeof(user_timeout_ms));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat_bytes, sizeof(lowat_bytes));
}

static int client_prepare(struct et_tls_conn *conn, const char *alpn)
{
	uint8_t wire[sizeof(conn->alpn) + 1];
	size_t size = strlen(alpn);

	et_assert(size < sizeof(conn->alpn));
	memcpy(conn->alpn, alpn, size + 1);
	wire[0] = (uint8_t)size;
	memcpy(wire + 1, alpn, size);
	SSL_set_connect_state(conn->ssl);
	return SSL_set_alpn_protos(conn->ssl, wire, (unsigned)size + 1) == 0 ? 0 : -ENOMEM;
}

int tls_conn_new(const struct conn_spec *spec, struct et_tls_conn **ret)
{
	struct et_tls_conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL) {
		(void)close(spec->fd);
		return -ENOMEM;
	}
	conn->fd = spec->fd;
	conn->node = spec->node;
	conn->server = spec->server;
	conn->want_node = spec->want_node;
	conn->ready = spec->ready;
	conn->ready_arg = spec->ready_arg;
	conn->state = spec->server ? CONN_HANDSHAKE : CONN_CONNECT;
	(void)snprintf(conn->peer.address, sizeof(conn->peer.address), "%s", spec->address);
	conn->ssl = tls_ssl_new(spec->ctx, conn);
	int rc = conn->ssl != NULL ? 0 : -ENOMEM;
	if (rc == 0 && !spec->server) {
		rc = client_prepare(conn, spec->alpn);
	} else if (rc == 0) {
		SSL_set_accept_state(conn->ssl);
	}
	rc = rc < 0 ? rc : io_new(spec->loop, conn);
	if (rc < 0) {
		SSL_free(conn->ssl);
		(void)close(conn->fd);
		free(conn);
		return rc;
	}
	conn->shared = tls_shared_ref(spec->shared);
	if (conn->node != NULL) {
		list_add(&conn->node->conns, conn);
	}
	set_options(conn->fd);
	(void)uv_timer_start(&conn->io->timer, io_on_timer, HANDSHAKE_TIMEOUT_MS, 0);
	tls_conn_kick(conn);
	*ret = conn;
	return 0;
}

void tls_conn_kick(struct et_tls_conn *conn)
{
	if (conn->io != NULL) {
		(void)uv_idle_start(&conn->io->idle, tls_pump_on_idle);
	}
}

/* It no longer counts as a stranger. */
static void conn_uncount(struct et_tls_conn *conn)
{
	if (conn->guarded) {
		conn->guarded = false;
		tls_guard_done(conn->node->guard, conn->peer.address);
	}
}

void tls_conn_drop(struct et_tls_conn *conn)
{
	conn_uncount(conn);
	if (conn->is_detached) {
		(void)pthread_mutex_lock(&conn->shared->mutex);
		list_remove(&conn->shared->detached, conn);
		(void)pthread_mutex_unlock(&conn->shared->mutex);
	} else if (conn->node != NULL) {
		list_remove(&conn->node->conns, conn);
	}
	if (conn->io != NULL) {
		io_let_go(conn);
	}
	SSL_free(conn->ssl);
	(void)close(conn->fd);
	OPENSSL_cleanse(conn->queue.data, conn->queue.data != NULL ? conn->queue.capacity : 0);
	tls_bytes_release(&conn->in);
	tls_bytes_release(&conn->queue);
	tls_bytes_release(&conn->out);
	tls_shared_unref(conn->shared);
	free(conn);
}

void tls_conn_end(struct et_tls_conn *conn, int code)
{
	if (!conn->ended) {
		conn->ended = true;
		conn->end_code = code;
		tls_bytes_release(&conn->out);
		tls_bytes_release(&conn->queue);
		tls_conn_kick(conn);
	}
}

/* Let go of the connection towards the peer, politely. */
static void conn_farewell(struct et_tls_conn *conn)
{
	conn->state = CONN_FLUSH;
	(void)uv_timer_start(&conn->io->timer, io_on_timer, LINGER_TIMEOUT_MS, 0);
	tls_conn_kick(conn);
}

void tls_conn_fail(struct et_tls_conn *conn, int code, const struct et_error *why)
{
	void (*ready)(void *arg, struct et_tls_conn *c, int rc, const struct et_error *e) =
		conn->ready;
	void *arg = conn->ready_arg;
	struct et_error copy = *why;

	et_assert(conn->state < CONN_READY);
	if (conn->server && code != -ETIMEDOUT && code != ET_ECLOSED) {
		tls_node_refused(conn->node, conn, code, &copy);
		conn_farewell(conn); /* So that the alert, or the refusal, arrives. */
	} else {
		if (conn->server && code == -ETIMEDOUT) {
			tls_node_refused(conn->node, conn, code, &copy);
		}
		(void)tls_pump_flush(conn); /* A client's alert, if there is room for it. */
		tls_conn_drop(conn);
	}
	ready(arg, NULL, code, &copy);
}

/* ---- Handshake ---- */

/* Why OpenSSL gave up: ET_EUNTRUSTED when certificates are the matter, on either side. */
static int handshake_error(struct et_tls_conn *conn, struct et_error *why)
{
	unsigned long code = ERR_peek_error();
	int reason = ERR_GET_REASON(code);
	long verify = SSL_get_verify_result(conn->ssl);
	const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
		return et_fail_plain(why, ET_EUNTRUSTED, "certificate: %s",
				     X509_verify_cert_error_string(verify));
	}
	if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
		return et_fail_plain(why, ET_EUNTRUSTED, "the peer shows no certificate");
	}
	if (reason == SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL ||
	    reason == SSL_R_NO_APPLICATION_PROTOCOL) {
		return et_fail_plain(why, ET_EUNSUPPORTED, "no protocol in common");
	}
	if (reason > SSL_AD_REASON_OFFSET) {
		return et_fail_plain(why, conn->server ? ET_EUNREACHABLE : ET_EUNTRUSTED,
				     "the peer refused: %s", text != NULL ? text : "an alert");
	}
	if (conn->socket_error != 0) {
		return et_fail(why, ET_EUNREACHABLE, "%s", strerror(-conn->socket_error));
	}
	if (conn->eof) {
		return et_fail_plain(why, ET_EUNREACHABLE,
				     "the peer closed the connection in the handshake");
	}
	return et_fail_plain(why, ET_EUNSUPPORTED, "TLS: %s", text != NULL ? text : "failed");
}

static int conn_judge(struct et_tls_conn *conn, struct et_error *why)
{
	const unsigned char *alpn = NULL;
	unsigned size = 0;
	const char *cluster = conn->node != NULL ? conn->node->cluster : conn->want_cluster;

	SSL_get0_alpn_selected(conn->ssl, &alpn, &size);
	if (size == 0 || size >= sizeof(conn->alpn) ||
	    (!conn->server &&
	     (strlen(conn->alpn) != size || memcmp(conn->alpn, alpn, size) != 0))) {
		return et_fail_plain(why, ET_EUNSUPPORTED, "the peer names no protocol of ours");
	}
	memcpy(conn->alpn, alpn, size);
	conn->alpn[size] = '\0';
	if (conn->server && strcmp(conn->alpn, ET_ALPN_JOIN) == 0) {
		return 0; /* It has no certificate; its request is signed. */
	}
	int rc = tls_judge(conn->ssl, cluster, &conn->peer, conn->ca_hash, why);
	if (rc < 0) {
		return rc;
	}
	if (conn->want_node != 0 && conn->peer.node != conn->want_node) {
		return et_fail_plain(why, ET_EUNTRUSTED, "node %llu answers at %s, not node %llu",
				     (unsigned long long)conn->peer.node, conn->peer.address,
				     (unsigned long long)conn->want_node);
	}
	rc = conn->node != NULL ? tls_node_check(conn->node, &conn->peer, conn->alpn, why) : 0;
	conn->member_refused = rc < 0;
	return rc;
}

static bool conn_ready(struct et_tls_conn *conn)
{
	void (*ready)(void *arg, struct et_tls_conn *c, int code, const struct et_error *why) =
		ET_TAKE(conn->ready);

	conn->state = CONN_READY;
	conn_uncount(conn);
	(void)uv_timer_stop(&conn->io->timer);
	ready(conn->ready_arg, conn, 0, NULL); /* May close or detach it. */
	return true;
}

static bool conn_welcomed(struct et_tls_conn *conn)
{
	struct et_error why;
	uint8_t byte = 0;
	size_t n = 0;

	if (SSL_read_ex(conn->ssl, &byte, 1, &n) != 1) {
		int error = SSL_get_error(conn->ssl, 0);
		if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
			ERR_clear_error();
			return true;
		}
		int rc = handshake_error(conn, &why);
		tls_conn_fail(conn, rc, &why);
		return false;
	}
	if (byte != WELCOME) {
		(void)et_fail_plain(&why, ET_EUNTRUSTED,
				    "%s does not take this node for a member of the cluster",
				    conn->peer.address);
		tls_conn_fail(conn, ET_EUNTRUSTED, &why);
		return false;
	}
	return conn_ready(conn);
}

static bool conn_authenticated(struct et_tls_conn *conn)
{
	struct et_error why = { 0 };
	const uint8_t refused = REFUSED_UNTRUSTED;
	const uint8_t welcome = WELCOME;
	size_t done = 0;

	int rc = conn_judge(conn, &why);
	if (rc < 0) {
		if (conn->server) {
			(void)SSL_write_ex(conn->ssl, &refused, 1, &done);
			ERR_clear_error();
		}
		tls_conn_fail(conn, rc, &why);
		return false;
	}
	if (!conn->server) {
		conn->state = CONN_WELCOME;
		return conn_welcomed(conn);
	}
	if (SSL_write_ex(conn->ssl, &welcome, 1, &done) != 1) {
		(void)handshake_error(conn, &why);
		tls_conn_fail(conn, ET_EUNREACHABLE, &why);
		return false;
	}
	return conn_ready(conn);
}

static bool conn_connected(struct et_tls_conn *conn)
{
	struct sockaddr_storage peer;
	socklen_t size = sizeof(peer);
	struct et_error why;
	int error = -conn->socket_error;
	socklen_t error_size = sizeof(error);

	if (error == 0 && getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &error_size) < 0) {
		error = errno;
	}
	if (error != 0) {
		(void)et_fail_plain(&why, ET_EUNREACHABLE, "connect to %s: %s", conn->peer.address,
				    strerror(error));
		tls_conn_fail(conn, ET_EUNREACHABLE, &why);
		return false;
	}
	if (getpeername(conn->fd, (struct sockaddr *)&peer, &size) == 0) {
		conn->state = CONN_HANDSHAKE;
	}
	return true;
}

bool tls_conn_step(struct et_tls_conn *conn)
{
	struct et_error why;

	if (conn->ended) {
		(void)et_fail(&why, conn->end_code, "connection with %s", conn->peer.address);
		tls_conn_fail(conn, conn->end_code, &why);
		return false;
	}
	if (conn->state == CONN_CONNECT && !conn_connected(conn)) {
		return false;
	}
	if (conn->state == CONN_CONNECT) {
		return true;
	}
	if (conn->state == CONN_WELCOME) {
		return conn_welcomed(conn);
	}
	int rc = SSL_do_handshake(conn->ssl);
	if (rc == 1) {
		return conn_authenticated(conn);
	}
	int error = SSL_get_error(conn->ssl, rc);
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
		return true;
	}
	rc = handshake_error(conn, &why);
	tls_conn_fail(conn, rc, &why);
	return false;
}

/* ---- What the owner calls ---- */

const struct et_tls_peer *et_tls_conn_peer(const struct et_tls_conn *conn)
{
	return &conn->peer;
}

void et_tls_conn_start(struct et_tls_conn *conn, const struct et_tls_conn_cb *cb)
{
	et_assert(conn->state == CONN_READY);
	et_assert(cb->on_read != NULL && cb->on_end != NULL);
	conn->cb = *cb;
	conn->started = true;
	tls_conn_kick(conn);
}

void et_tls_conn_pause(struct et_tls_conn *conn, bool paused)
{
	conn->paused = paused;
	tls_conn_kick(conn);
}

void et_tls_conn_write(struct et_tls_conn *conn, const void *data, size_t size)
{
	if (conn->ended || conn->broken || size == 0) {
		return;
	}
	if (tls_bytes_used(&conn->queue) + size > QUEUE_BYTES_MAX) {
		tls_conn_end(conn, ET_ELIMIT);
		return;
	}
	uint8_t *p = tls_bytes_reserve(&conn->queue, size);
	if (p == NULL) {
		tls_conn_end(conn, -ENOMEM);
		return;
	}
	memcpy(p, data, size);
	conn->queue.end += size;
	tls_conn_kick(conn);
}

size_t et_tls_conn_queued(const struct et_tls_conn *conn)
{
	return tls_bytes_used(&conn->queue) + tls_bytes_used(&conn->out);
}

void et_tls_conn_on_drain(struct et_tls_conn *conn, size_t below, void (*on_drain)(void *arg),
			  void *arg)
{
	conn->drain_below = below;
	conn->on_drain = on_drain;
	conn->drain_arg = arg;
	tls_conn_kick(conn);
}

void et_tls_conn_close(struct et_tls_conn *conn, bool flush)
{
	if (!flush || conn->ended || conn->broken || conn->io == NULL) {
		tls_conn_drop(conn);
		return;
	}
	conn->started = false;
	conn->on_drain = NULL;
	conn_farewell(conn);
}

void et_tls_conn_detach(struct et_tls_conn *conn)
{
	et_assert(conn->state == CONN_READY && conn->io != NULL);
	io_let_go(conn);
	if (conn->is_detached) {
		return;
	}
	(void)pthread_mutex_lock(&conn->shared->mutex);
	if (conn->node != NULL) {
		list_remove(&conn->node->conns, conn);
		conn->node = NULL;
	}
	conn->is_detached = true;
	list_add(&conn->shared->detached, conn);
	(void)pthread_mutex_unlock(&conn->shared->mutex);
}

int et_tls_conn_attach(struct et_tls_conn *conn, uv_loop_t *loop)
{
	et_assert(conn->io == NULL && conn->is_detached);
	int rc = io_new(loop, conn);
	if (rc == 0) {
		tls_conn_kick(conn); /* Bytes may be waiting in its buffers. */
	}
	return rc;
}

int et_tls_conn_export(struct et_tls_conn *conn, const char *label, uint8_t *ret, size_t size)
{
	if (SSL_export_keying_material(conn->ssl, ret, size, label, strlen(label), NULL, 0, 0) !=
	    1) {
		ERR_clear_error();
		return ET_ECLOSED;
	}
	return 0;
}

int et_tls_conn_set_congestion(struct et_tls_conn *conn, const char *name)
{
	int rc = setsockopt(conn->fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name));
	return rc < 0 ? -errno : 0;
}
