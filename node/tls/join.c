/* The joiner: asks each address in turn until one answers. */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/crypto/hash.h"
#include "node/crypto/sign.h"
#include "node/tls/cert_internal.h"
#include "node/tls/join_internal.h"
#include "node/tls/tls_internal.h"

struct join_call {
	uv_loop_t *loop; /* borrowed */
	uv_timer_t timer;
	struct tls_shared *shared;
	SSL_CTX *ctx; /* owned */
	uint8_t ca_hash[32];
	char cluster[ET_NAME_MAX + 1];
	struct et_secret *seed; /* owned */
	char addresses[ET_JOIN_ADDRESSES_MAX][ET_ADDRESS_MAX];
	size_t address_count;
	size_t tried;
	uint32_t timeout_ms;
	struct et_buffer request;
	struct et_buffer csr;
	struct et_tls_conn *conn; /* owned once ready; while connecting, its own */
	struct et_tls_conn *connecting;
	struct et_buffer bytes;
	struct et_error why; /* of the last attempt */
	bool go_on;	     /* the timer is to try the next address */
	bool over;
	et_join_fn cb;
	void *arg;
};

static void on_timer(uv_timer_t *timer);

static void call_on_closed(uv_handle_t *handle)
{
	struct join_call *c = handle->data;

	SSL_CTX_free(c->ctx);
	tls_shared_unref(c->shared);
	(void)et_secret_free(c->seed);
	et_buffer_release(&c->request);
	et_buffer_release(&c->csr);
	et_buffer_release(&c->bytes);
	free(c);
}

static void call_finish(struct join_call *c, int code, const struct et_join_reply *reply)
{
	et_assert(!c->over);
	c->over = true;
	if (c->conn != NULL) {
		et_tls_conn_close(ET_TAKE(c->conn), false);
	}
	uv_close((uv_handle_t *)&c->timer, call_on_closed);
	c->cb(c->arg, code, reply, &c->why);
}

/* This address has failed: the next one, or the end. */
static void call_failed(struct join_call *c, int code, const struct et_error *why)
{
	if (why != NULL) {
		c->why = *why;
	}
	c->why.code = code;
	if (c->conn != NULL) {
		et_tls_conn_close(ET_TAKE(c->conn), false);
	}
	c->bytes.size = 0;
	if (c->tried < c->address_count) {
		c->go_on = true;
		(void)uv_timer_start(&c->timer, on_timer, 0, 0);
	} else {
		call_finish(c, code, NULL);
	}
}

/* Is what they gave us ours: by the token's CA, for our key, and as the reply says? */
static int reply_check(const struct join_call *c, const struct et_join_reply *reply,
		       struct et_error *reterr)
{
	struct et_cert_info info;
	struct et_view cert = { reply->cert.data, reply->cert.size };

	int rc = et_cert_parse(cert, &info, reterr);
	if (rc < 0) {
		return rc;
	}
	if (info.node != reply->node || strcmp(info.site, reply->site) != 0 ||
	    strcmp(info.cluster, reply->cluster) != 0 || strcmp(reply->cluster, c->cluster) != 0) {
		return et_fail_plain(reterr, ET_EUNTRUSTED,
				     "the certificate that was issued names another node");
	}
	return et_cert_check_issued(cert, (struct et_view){ reply->ca.data, reply->ca.size },
				    c->ca_hash, (struct et_view){ c->csr.data, c->csr.size },
				    reterr);
}

static void call_reply(struct join_call *c)
{
	struct et_join_reply reply;
	struct et_error e;

	int rc = et_join_reply_parse((struct et_view){ c->bytes.data + 4, c->bytes.size - 4 },
				     &reply, &e);
	if (rc < 0) {
		call_failed(c, rc, &e);
		return;
	}
	if (reply.code < 0) {
		(void)et_fail_plain(&c->why, reply.code, "%s", reply.text);
		call_finish(c, reply.code, &reply);
	} else {
		rc = reply_check(c, &reply, &e);
		if (rc < 0) {
			call_failed(c, rc, &e);
		} else {
			call_finish(c, 0, &reply);
		}
	}
	et_join_reply_release(&reply);
}

static void on_read(void *arg, struct et_tls_conn *conn, const uint8_t *data, size_t size)
{
	struct join_call *c = arg;
	struct et_error e;

	(void)conn;
	et_buffer_add(&c->bytes, data, size);
	if (c->bytes.size < 4) {
		return;
	}
	size_t length = et_get32(c->bytes.data);
	if (c->bytes.failed || length == 0 || length > ET_JOIN_REPLY_MAX ||
	    c->bytes.size > 4 + length) {
		(void)et_fail_plain(&e, ET_EMALFORMED, "the reply has a wrong length");
		call_failed(c, ET_EMALFORMED, &e);
	} else if (c->bytes.size == 4 + length) {
		call_reply(c);
	}
}

static void on_end(void *arg, struct et_tls_conn *conn, int code)
{
	struct join_call *c = arg;
	struct et_error e;

	(void)code;
	(void)et_fail_plain(&e, ET_EUNREACHABLE, "%s closed the connection without an answer",
			    et_tls_conn_peer(conn)->address);
	call_failed(c, ET_EUNREACHABLE, &e);
}

static int send_request(struct join_call *c, struct et_error *reterr)
{
	uint8_t head[4 + ET_SIGNATURE_SIZE];
	uint8_t signed_bytes[JOIN_SIGNED_BYTES];
	uint8_t exporter[32];
	uint8_t hash[32];

	int rc = et_tls_conn_export(c->conn, JOIN_EXPORTER_LABEL, exporter, sizeof(exporter));
	if (rc < 0) {
		return et_fail(reterr, rc, "bind the join request to the connection");
	}
	et_sha256(c->request.data, c->request.size, hash);
	join_signed_bytes(exporter, hash, signed_bytes);
	et_put32(head, (uint32_t)(ET_SIGNATURE_SIZE + c->request.size));
	rc = et_ed25519_sign(c->seed, (struct et_view){ signed_bytes, sizeof(signed_bytes) },
			     head + 4, reterr);
	if (rc == 0) {
		et_tls_conn_write(c->conn, head, sizeof(head));
		et_tls_conn_write(c->conn, c->request.data, c->request.size);
	}
	return rc;
}

static void on_ready(void *arg, struct et_tls_conn *conn, int code, const struct et_error *why)
{
	struct join_call *c = arg;
	const struct et_tls_conn_cb cb = { on_read, on_end, c };
	struct et_error e;

	c->connecting = NULL;
	if (c->over) {
		return;
	}
	if (code == ET_EUNTRUSTED) {
		(void)et_fail_plain(&e, code,
				    "%s; a token that was made before the cluster's CA was rotated "
				    "is good for nothing",
				    why->text);
		(void)et_fail_next(&e, "evertape node token, on a member");
		why = &e;
	}
	if (code < 0) {
		call_failed(c, code, why);
		return;
	}
	c->conn = conn;
	et_tls_conn_start(conn, &cb);
	code = send_request(c, &e);
	if (code < 0) {
		call_failed(c, code, &e);
	}
}

static int call_connect(struct join_call *c, const char *address, struct et_error *reterr)
{
	struct sockaddr_storage a;
	unsigned size = 0;
	struct et_tls_conn *conn = NULL;

	if (!tls_address_parse(address, &a, &size)) {
		return et_fail_plain(reterr, ET_EUSAGE, "'%.64s' is not an address (\"ip:port\")",
				     address);
	}
	int fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		return et_fail(reterr, -errno, "connect to %s", address);
	}
	int error =
		connect(fd, (struct sockaddr *)&a, size) < 0 && errno != EINPROGRESS ? -errno : 0;
	struct conn_spec spec = { .loop = c->loop,
				  .shared = c->shared,
				  .ctx = c->ctx,
				  .fd = fd,
				  .alpn = ET_ALPN_JOIN,
				  .address = address,
				  .ready = on_ready,
				  .ready_arg = c };
	int rc = tls_conn_new(&spec, &conn);
	if (rc < 0) {
		return et_fail(reterr, rc, "connect to %s", address);
	}
	memcpy(conn->want_cluster, c->cluster, sizeof(conn->want_cluster));
	conn->socket_error = error;
	c->connecting = conn;
	return 0;
}

static void call_next(struct join_call *c)
{
	struct et_error e;

	(void)uv_timer_start(&c->timer, on_timer, c->timeout_ms, 0);
	int rc = call_connect(c, c->addresses[c->tried++], &e);
	if (rc < 0) {
		call_failed(c, rc, &e);
	}
}

/* The time for this address is over, or it is time to try the next one. */
static void on_timer(uv_timer_t *timer)
{
	struct join_call *c = timer->data;
	struct et_error e;

	if (c->go_on) {
		c->go_on = false;
		call_next(c);
		return;
	}
	(void)et_fail_plain(&e, -ETIMEDOUT, "%s did not answer within %u ms",
			    c->addresses[c->tried - 1], c->timeout_ms);
	if (c->connecting != NULL) {
		tls_conn_fail(c->connecting, -ETIMEDOUT, &e); /* Comes back through on_ready(). */
	} else {
		call_failed(c, -ETIMEDOUT, &e);
	}
}

static int call_prepare(struct join_call *c, const struct et_join_token *token, const char *address,
			struct et_view request, struct et_error *reterr)
{
	struct et_join_request parsed;

	int rc = et_join_request_parse(request, &parsed, reterr);
	if (rc < 0) {
		return rc;
	}
	c->csr = parsed.csr;
	parsed.csr = (struct et_buffer){ 0 };
	et_join_request_release(&parsed);
	et_buffer_add(&c->request, request.data, request.size);
	memcpy(c->ca_hash, token->ca_hash, sizeof(c->ca_hash));
	memcpy(c->cluster, token->cluster, sizeof(c->cluster));
	if (address != NULL) {
		(void)snprintf(c->addresses[0], sizeof(c->addresses[0]), "%s", address);
		c->address_count = 1;
	} else {
		memcpy(c->addresses, token->addresses, sizeof(c->addresses));
		c->address_count = token->address_count;
	}
	if (c->address_count == 0) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "the join token names no address: give that of a member");
	}
	c->seed = et_secret_copy(et_secret_bytes(token->seed), et_secret_size(token->seed));
	c->shared = tls_shared_new();
	c->ctx = tls_context_pinned(c->ca_hash);
	if (c->request.failed || c->seed == NULL || c->shared == NULL || c->ctx == NULL) {
		return et_fail(reterr, -ENOMEM, "join");
	}
	return 0;
}

int et_join_call(uv_loop_t *loop, const struct et_join_token *token, const char *address,
		 struct et_view request, uint32_t timeout_ms, et_join_fn cb, void *arg,
		 struct et_error *reterr)
{
	struct join_call *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		return et_fail(reterr, -ENOMEM, "join");
	}
	c->loop = loop;
	c->timeout_ms = timeout_ms;
	c->cb = cb;
	c->arg = arg;
	c->timer.data = c;
	int rc = call_prepare(c, token, address, request, reterr);
	if (rc < 0) {
		call_on_closed((uv_handle_t *)&c->timer);
		return rc;
	}
	(void)uv_timer_init(loop, &c->timer);
	c->timer.data = c;
	c->go_on = true;
	(void)uv_timer_start(&c->timer, on_timer, 0, 0);
	return 0;
}
