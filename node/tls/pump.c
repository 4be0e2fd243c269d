/* A connection's bytes.
 *
 *   socket ─recv▶ in ─BIO▶ OpenSSL ─SSL_read▶ io.plain ─▶ on_read
 *   et_tls_conn_write ─▶ queue ─SSL_write▶ OpenSSL ─BIO▶ out ─send▶ socket
 *
 * Everything moves in a turn (pump_turn), which the poll handle or, for what was asked for outside
 * of it, the idle handle begins. A turn calls the owner back; the owner may then close or detach
 * the connection, so after each callback the turn looks at io->conn and goes no further without it.
 * io itself outlives the turn: it is freed by a close callback of the loop.
 *
 * Writes are gathered until the turn, so that many small frames make one record, and up to 16
 * records one send(): that is worth 25 to 40 % of a sender's CPU. */
#include <openssl/err.h>
#include <sys/socket.h>

#include "node/tls/tls_internal.h"

uint8_t *tls_bytes_reserve(struct tls_bytes *b, size_t size)
{
	if (b->start == b->end) {
		b->start = 0;
		b->end = 0;
	}
	if (b->capacity - b->end < size && b->start > 0 && b->start >= b->capacity / 2) {
		memmove(b->data, b->data + b->start, tls_bytes_used(b));
		b->end -= b->start;
		b->start = 0;
	}
	if (b->capacity - b->end < size) {
		size_t capacity = b->capacity < 4096 ? 4096 : b->capacity;
		while (capacity - b->end < size) {
			capacity *= 2;
		}
		uint8_t *data = realloc(b->data, capacity);
		if (data == NULL) {
			return NULL;
		}
		b->data = data;
		b->capacity = capacity;
	}
	return b->data + b->end;
}

void tls_bytes_consume(struct tls_bytes *b, size_t size)
{
	et_assert(size <= tls_bytes_used(b));
	b->start += size;
	if (b->start == b->end && b->capacity > OUT_BYTES_MAX) {
		tls_bytes_release(b); /* A burst is over: give its memory back. */
	}
}

void tls_bytes_release(struct tls_bytes *b)
{
	free(b->data);
	*b = (struct tls_bytes){ 0 };
}

/* ---- The BIO ---- */

static int bio_read(BIO *bio, char *data, int size)
{
	struct et_tls_conn *conn = BIO_get_data(bio);
	size_t n = tls_bytes_used(&conn->in);

	BIO_clear_retry_flags(bio);
	if (n == 0) {
		if (!conn->eof) {
			BIO_set_retry_read(bio);
		}
		return conn->eof ? 0 : -1;
	}
	n = n < (size_t)size ? n : (size_t)size;
	memcpy(data, conn->in.data + conn->in.start, n);
	tls_bytes_consume(&conn->in, n);
	return (int)n;
}

static int bio_write(BIO *bio, const char *data, int size)
{
	struct et_tls_conn *conn = BIO_get_data(bio);
	uint8_t *p = NULL;

	BIO_clear_retry_flags(bio);
	if (tls_bytes_used(&conn->out) + (size_t)size <= OUT_BYTES_MAX) {
		p = tls_bytes_reserve(&conn->out, (size_t)size);
	}
	if (p == NULL) { /* Whoever makes us answer without reading the answers waits. */
		BIO_set_retry_write(bio);
		return -1;
	}
	memcpy(p, data, (size_t)size);
	conn->out.end += (size_t)size;
	return size;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	struct et_tls_conn *conn = BIO_get_data(bio);

	(void)number;
	(void)pointer;
	if (command == BIO_CTRL_EOF) {
		return conn->eof && tls_bytes_used(&conn->in) == 0;
	}
	return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static void method_make(void)
{
	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "evertape buffers");
	et_assert(method != NULL);
	(void)BIO_meth_set_read(method, bio_read);
	(void)BIO_meth_set_write(method, bio_write);
	(void)BIO_meth_set_ctrl(method, bio_ctrl);
}

BIO_METHOD *tls_bio_method(void)
{
	(void)pthread_once(&method_once, method_make);
	return method;
}

/* ---- Socket ---- */

/* One recv() into `in`; what could not be read is in eof and socket_error. */
static void pump_fill(struct et_tls_conn *conn)
{
	size_t room = conn->in.capacity - conn->in.end;

	if (tls_bytes_used(&conn->in) >= IN_BYTES_MAX) {
		return;
	}
	if (tls_bytes_used(&conn->in) == 0) {
		room = conn->in.capacity;
	}
	size_t want = room < IN_BYTES_MIN ? IN_BYTES_MIN : room;
	want = want < IN_BYTES_MAX ? want : IN_BYTES_MAX;
	uint8_t *p = tls_bytes_reserve(&conn->in, want);
	if (p == NULL) {
		conn->eof = true;
		conn->socket_error = -ENOMEM;
		return;
	}
	ssize_t n = 0;
	do {
		n = recv(conn->fd, p, want, 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		conn->in.end += (size_t)n;
		(void)atomic_fetch_add_explicit(&conn->shared->bytes_in, (uint64_t)n,
						memory_order_relaxed);
		if ((size_t)n == want && conn->in.capacity < IN_BYTES_MAX) {
			(void)tls_bytes_reserve(&conn->in, conn->in.capacity); /* Grow. */
		}
	} else if (n == 0) {
		conn->eof = true;
	} else if (errno != EAGAIN) {
		conn->eof = true;
		conn->socket_error = -errno;
	}
}

bool tls_pump_flush(struct et_tls_conn *conn)
{
	while (tls_bytes_used(&conn->out) > 0) {
		ssize_t n = send(conn->fd, conn->out.data + conn->out.start,
				 tls_bytes_used(&conn->out), MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0 && errno == EAGAIN) {
			return true;
		}
		if (n < 0) {
			conn->socket_error = -errno;
			return false;
		}
		(void)atomic_fetch_add_explicit(&conn->shared->bytes_out, (uint64_t)n,
						memory_order_relaxed);
		tls_bytes_consume(&conn->out, (size_t)n);
	}
	return true;
}

/* ---- Towards the peer ---- */

/* Seal queued bytes while there is room in `out`. */
static void pump_seal(struct et_tls_conn *conn)
{
	while (tls_bytes_used(&conn->queue) > 0 && tls_bytes_used(&conn->out) < OUT_BYTES_SOFT) {
		size_t size = tls_bytes_used(&conn->queue);
		size_t done = 0;

		size = size < RECORD_BYTES ? size : RECORD_BYTES;
		if (conn->sealed_bytes >= REKEY_BYTES) {
			(void)SSL_key_update(conn->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
			conn->sealed_bytes = 0;
		}
		if (SSL_write_ex(conn->ssl, conn->queue.data + conn->queue.start, size, &done) !=
		    1) {
			int error = SSL_get_error(conn->ssl, 0);
			ERR_clear_error();
			if (error != SSL_ERROR_WANT_WRITE && error != SSL_ERROR_WANT_READ) {
				tls_conn_end(conn, ET_ECLOSED);
			}
			return;
		}
		tls_bytes_consume(&conn->queue, done);
		conn->sealed_bytes += done;
	}
}

static void pump_send(struct et_tls_conn *conn)
{
	size_t sent = 0;

	while (!conn->broken) {
		if (conn->state >= CONN_READY) {
			pump_seal(conn);
		}
		sent += tls_bytes_used(&conn->out);
		if (!tls_pump_flush(conn)) {
			conn->broken = true;
			break;
		}
		if (tls_bytes_used(&conn->out) > 0 || tls_bytes_used(&conn->queue) == 0 ||
		    conn->state < CONN_READY || conn->ended) {
			break; /* The socket is full, or nothing is left. */
		}
		if (sent >= TURN_BYTES_MAX) {
			tls_conn_kick(conn);
			break;
		}
	}
	if (conn->broken) {
		tls_bytes_release(&conn->queue);
		tls_bytes_release(&conn->out);
		/* What the peer sent before it went is read to its end, unless nobody reads. */
		if (conn->state == CONN_READY && (!conn->started || conn->paused)) {
			tls_conn_end(conn, conn->socket_error);
		}
	}
}

/* ---- Towards the owner ---- */

/* The meaning of a failed SSL_read: 0 go on later; 1 orderly end; else why it ended. */
static int pump_read_error(struct et_tls_conn *conn)
{
	int error = SSL_get_error(conn->ssl, 0);

	ERR_clear_error();
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
		return 0;
	}
	if (error == SSL_ERROR_ZERO_RETURN) {
		return 1;
	}
	if (conn->socket_error != 0) {
		return conn->socket_error;
	}
	return conn->eof ? ET_ECLOSED : ET_EMALFORMED;
}

/* Give the owner what has arrived. false: the connection is no longer ours. */
static bool pump_deliver(struct conn_io *io)
{
	struct et_tls_conn *conn = io->conn;
	size_t delivered = 0;

	while (conn->started && !conn->paused && !conn->ended) {
		size_t size = 0;
		int end = 0;
		bool more = true;
		while (more && size < sizeof(io->plain)) {
			size_t n = 0;
			more = SSL_read_ex(conn->ssl, io->plain + size, sizeof(io->plain) - size,
					   &n) == 1;
			size += n;
		}
		if (!more) {
			end = pump_read_error(conn);
		}
		delivered += size;
		if (size > 0) {
			conn->cb.on_read(conn->cb.arg, conn, io->plain, size);
			if (io->conn == NULL) {
				return false;
			}
		}
		if (end != 0) {
			tls_conn_end(conn, end == 1 ? 0 : end);
		} else if (!more) {
			break;
		} else if (delivered >= TURN_BYTES_MAX) {
			tls_conn_kick(conn);
			break;
		}
	}
	return true;
}

/* Tell what was waited for. false: the connection is no longer ours. */
static bool pump_tell(struct conn_io *io)
{
	struct et_tls_conn *conn = io->conn;

	if (conn->on_drain != NULL && et_tls_conn_queued(conn) <= conn->drain_below) {
		void (*fn)(void *arg) = conn->on_drain;
		conn->on_drain = NULL;
		fn(conn->drain_arg);
		if (io->conn == NULL) {
			return false;
		}
	}
	if (conn->started && conn->ended && !conn->end_told) {
		conn->end_told = true;
		conn->cb.on_end(conn->cb.arg, conn, conn->end_code);
		if (io->conn == NULL) {
			return false;
		}
	}
	return true;
}

/* Nobody owns it any more: send what is left, say goodbye, and wait until the other side has closed
 * too, for closing with unread bytes would make the kernel throw away what the peer has not read
 * yet. false: it is gone. */
static bool pump_finish(struct et_tls_conn *conn)
{
	if (conn->broken || conn->ended) {
		tls_conn_drop(conn);
		return false;
	}
	if (conn->state == CONN_FLUSH && tls_bytes_used(&conn->queue) == 0) {
		if ((SSL_get_shutdown(conn->ssl) & SSL_SENT_SHUTDOWN) == 0 &&
		    SSL_is_init_finished(conn->ssl)) {
			(void)SSL_shutdown(conn->ssl);
			ERR_clear_error();
			pump_send(conn);
		}
		if (!conn->broken && tls_bytes_used(&conn->out) == 0) {
			(void)shutdown(conn->fd, SHUT_WR);
			conn->state = CONN_LINGER;
		}
	}
	if (conn->state == CONN_LINGER) {
		conn->lingered_bytes += tls_bytes_used(&conn->in);
		tls_bytes_consume(&conn->in, tls_bytes_used(&conn->in));
	}
	if (conn->broken || (conn->state == CONN_LINGER &&
			     (conn->eof || conn->lingered_bytes > LINGER_BYTES_MAX))) {
		tls_conn_drop(conn);
		return false;
	}
	return true;
}

/* ---- Turns ---- */

static void pump_poll(struct conn_io *io)
{
	const struct et_tls_conn *conn = io->conn;
	int events = 0;

	if (!conn->eof && tls_bytes_used(&conn->in) < IN_BYTES_MAX &&
	    (conn->state == CONN_HANDSHAKE || conn->state == CONN_WELCOME ||
	     conn->state == CONN_LINGER ||
	     (conn->state == CONN_READY && conn->started && !conn->paused && !conn->ended))) {
		events |= UV_READABLE;
	}
	if (conn->state == CONN_CONNECT ||
	    (tls_bytes_used(&conn->out) > 0 && !conn->broken && !conn->ended)) {
		events |= UV_WRITABLE;
	}
	if (events == io->events) {
		return;
	}
	io->events = events;
	if (events == 0) {
		(void)uv_poll_stop(&io->poll);
	} else {
		(void)uv_poll_start(&io->poll, events, tls_pump_on_poll);
	}
}

static void pump_turn(struct conn_io *io)
{
	struct et_tls_conn *conn = io->conn;

	(void)uv_idle_stop(&io->idle);
	if (atomic_load(&conn->cut) && !conn->ended) {
		tls_conn_end(conn, ET_EUNTRUSTED);
	}
	if (conn->state < CONN_READY && !tls_conn_step(conn)) {
		return;
	}
	if (io->conn == NULL || (conn->state == CONN_READY && !pump_deliver(io))) {
		return;
	}
	if (!conn->ended) {
		pump_send(conn);
	}
	if (conn->state == CONN_READY && !pump_tell(io)) {
		return;
	}
	if (conn->state >= CONN_FLUSH && !pump_finish(conn)) {
		return;
	}
	pump_poll(io);
}

void tls_pump_on_poll(uv_poll_t *poll, int status, int events)
{
	struct conn_io *io = ET_CONTAINER_OF(poll, struct conn_io, poll);
	struct et_tls_conn *conn = io->conn;

	if (conn == NULL) {
		return;
	}
	if (status < 0) { /* An error of the socket: libuv has stopped polling; reading tells it. */
		io->events = 0;
		events = UV_READABLE | UV_WRITABLE;
	}
	if ((events & UV_READABLE) != 0 && conn->state != CONN_CONNECT && !conn->paused) {
		pump_fill(conn);
	}
	pump_turn(io);
}

void tls_pump_on_idle(uv_idle_t *idle)
{
	struct conn_io *io = ET_CONTAINER_OF(idle, struct conn_io, idle);

	if (io->conn != NULL) {
		pump_turn(io);
	}
}
