/* The endpoint.
 *
 * Happy path of a server: accept, count the stranger, handshake (conn.c), judge the certificate,
 * member check, welcome byte, hand the connection to the handler of its protocol.
 * Happy path of a client: connect, handshake, judge, member check, wait for the welcome byte.
 *
 * What can fail is counted by cause, and told to the caller (client) or logged (server). */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/base/log.h"
#include "node/tls/tls_internal.h"

#define BACKLOG 256
#define ACCEPTS_A_TURN 32

/* ---- Bookkeeping ---- */

void tls_node_maybe_closed(struct et_tls_node *t)
{
	if (!t->stopping || !t->listener_closed || t->open_ios > 0 || t->conns != NULL ||
	    !rpc_is_closed(t->rpc)) {
		return;
	}
	void (*closed)(void *arg) = t->closed;
	void *arg = t->closed_arg;

	rpc_free(t->rpc);
	join_server_free(t->join);
	tls_contexts_release(&t->contexts);
	et_buffer_release(&t->ca);
	tls_guard_free(t->guard);
	tls_shared_unref(t->shared);
	free(t->listener);
	free(t);
	if (closed != NULL) {
		closed(arg);
	}
}

void tls_node_io_closed(struct et_tls_node *t)
{
	et_assert(t->open_ios > 0);
	t->open_ios--;
	tls_node_maybe_closed(t);
}

void tls_node_refused(struct et_tls_node *t, const struct et_tls_conn *conn, int code,
		      const struct et_error *why)
{
	const char *cause = "unreachable";

	if (code == ET_EUNTRUSTED && conn->member_refused) {
		cause = "member";
		t->counts.refused_member++;
	} else if (code == ET_EUNTRUSTED) {
		cause = "untrusted";
		t->counts.refused_untrusted++;
	} else if (code == ET_EUNSUPPORTED) {
		cause = "protocol";
		t->counts.refused_protocol++;
	} else if (code == -ETIMEDOUT) {
		cause = "timeout"; /* Counted where the timer ran. */
	} else {
		t->counts.handshakes_broken++;
	}
	tls_guard_log(t->guard, conn->peer.address, cause, why);
}

int tls_node_check(struct et_tls_node *t, const struct et_tls_peer *peer, const char *alpn,
		   struct et_error *reterr)
{
	if (t->check != NULL) {
		return t->check(t->check_arg, peer, alpn, reterr);
	}
	if (peer->expired) {
		return et_fail_plain(reterr, ET_EUNTRUSTED,
				     "the certificate of node %llu has expired",
				     (unsigned long long)peer->node);
	}
	return 0;
}

static bool node_recorded(void *arg, const struct et_cert_info *leaf)
{
	struct et_tls_node *t = arg;

	if (t->recorded == NULL || !t->recorded(t->check_arg, leaf->node, leaf->spki_hash)) {
		return false;
	}
	t->counts.unchained++;
	if (leaf->not_before_us > t->counts.unchained_newest_us) {
		t->counts.unchained_newest_us = leaf->not_before_us;
	}
	return true;
}

static bool node_serves(void *arg, const char *alpn)
{
	const struct et_tls_node *t = arg;

	for (size_t i = 0; i < ET_ARRAY_SIZE(t->handlers); i++) {
		if (t->handlers[i].fn != NULL && strcmp(t->handlers[i].alpn, alpn) == 0) {
			return !t->stopping;
		}
	}
	return false;
}

void et_tls_handle(struct et_tls_node *t, const char *alpn, et_tls_accept_fn fn, void *arg)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(t->handlers); i++) {
		struct tls_handler *h = &t->handlers[i];
		if (h->alpn == NULL || strcmp(h->alpn, alpn) == 0) {
			*h = (struct tls_handler){ .alpn = alpn, .fn = fn, .arg = arg };
			return;
		}
	}
	et_unreachable(); /* There are four protocols. */
}

/* ---- Accepting ---- */

static void on_accepted(void *arg, struct et_tls_conn *conn, int code, const struct et_error *why)
{
	struct et_tls_node *t = arg;

	(void)why;
	if (code < 0) {
		return; /* Counted and logged where it was refused. */
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(t->handlers); i++) {
		const struct tls_handler *h = &t->handlers[i];
		if (h->fn != NULL && strcmp(h->alpn, conn->alpn) == 0) {
			t->counts.accepted++;
			h->fn(h->arg, conn);
			return;
		}
	}
	tls_conn_drop(conn); /* The handler was taken away meanwhile. */
}

static void accept_one(struct et_tls_node *t, int fd, const struct sockaddr_storage *peer)
{
	char address[ET_ADDRESS_MAX];
	struct et_tls_conn *conn = NULL;

	tls_address_format(peer, address);
	if (!tls_guard_admit(t->guard, address)) {
		t->counts.refused_busy++;
		tls_guard_log(t->guard, address, "busy", NULL);
		(void)close(fd);
		return;
	}
	struct conn_spec spec = { .loop = t->loop,
				  .node = t,
				  .shared = t->shared,
				  .ctx = t->contexts.server,
				  .fd = fd,
				  .server = true,
				  .address = address,
				  .ready = on_accepted,
				  .ready_arg = t };
	if (tls_conn_new(&spec, &conn) < 0) {
		tls_guard_done(t->guard, address);
		t->counts.refused_busy++;
		return;
	}
	conn->guarded = true;
}

/* No descriptor is left: give the spare one up to take the connection and close it at once, for the
 * listener would otherwise stay readable and the loop spin. */
static void accept_without_descriptors(struct et_tls_node *t)
{
	(void)close(t->spare_fd);
	int fd = accept4(t->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0) {
		(void)close(fd);
	}
	t->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	t->counts.refused_busy++;
	tls_guard_log(t->guard, t->address, "no-descriptors", NULL);
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
	struct et_tls_node *t = poll->data;
	struct sockaddr_storage peer;

	(void)events;
	if (status < 0) {
		return;
	}
	for (int i = 0; i < ACCEPTS_A_TURN && !t->stopping; i++) {
		socklen_t size = sizeof(peer);
		int fd = accept4(t->listen_fd, (struct sockaddr *)&peer, &size,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			accept_one(t, fd, &peer);
		} else if (errno == EMFILE || errno == ENFILE) {
			accept_without_descriptors(t);
			return;
		} else if (errno != EINTR && errno != ECONNABORTED) {
			return;
		}
	}
}

static int listen_on(const char *address, struct et_tls_node *t, struct et_error *reterr)
{
	struct sockaddr_storage a;
	unsigned size = 0;
	const int one = 1;

	if (!tls_address_parse(address, &a, &size)) {
		return et_fail_plain(reterr, ET_EUSAGE, "'%.100s' is not an address (\"ip:port\")",
				     address);
	}
	t->listen_fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (t->listen_fd < 0) {
		return et_fail(reterr, -errno, "cluster port %s", address);
	}
	(void)setsockopt(t->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	socklen_t got = sizeof(a);
	if (bind(t->listen_fd, (struct sockaddr *)&a, size) < 0 ||
	    listen(t->listen_fd, BACKLOG) < 0 ||
	    getsockname(t->listen_fd, (struct sockaddr *)&a, &got) < 0) {
		return et_fail(reterr, -errno, "listen on cluster port %s", address);
	}
	tls_address_format(&a, t->address);
	int rc = uv_poll_init(t->loop, t->listener, t->listen_fd);
	if (rc < 0) {
		return et_fail(reterr, rc, "poll the cluster port");
	}
	t->listener->data = t;
	return 0;
}

/* ---- Start and stop ---- */

static void node_abandon(struct et_tls_node *t)
{
	if (t->listen_fd >= 0) {
		(void)close(t->listen_fd);
	}
	if (t->spare_fd >= 0) {
		(void)close(t->spare_fd);
	}
	rpc_free(t->rpc);
	tls_contexts_release(&t->contexts);
	et_buffer_release(&t->ca);
	tls_guard_free(t->guard);
	tls_shared_unref(t->shared);
	free(t->listener);
	free(t);
}

int et_tls_start(const struct et_tls_config *config, struct et_tls_node **ret,
		 struct et_error *reterr)
{
	struct et_tls_node *t = calloc(1, sizeof(*t));

	if (t == NULL) {
		return et_fail(reterr, -ENOMEM, "start TLS");
	}
	t->loop = config->loop;
	t->check = config->check;
	t->recorded = config->recorded;
	t->check_arg = config->arg;
	t->listen_fd = -1;
	t->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	t->shared = tls_shared_new();
	t->guard = tls_guard_new();
	t->listener = malloc(sizeof(*t->listener));
	t->alpn =
		(struct tls_alpn){ .is_served = node_serves, .recorded = node_recorded, .arg = t };
	et_buffer_add(&t->ca, config->identity->ca.data, config->identity->ca.size);
	memcpy(t->cluster, config->identity->cluster, sizeof(t->cluster));
	int rc = t->shared != NULL && t->guard != NULL && t->listener != NULL && !t->ca.failed
			 ? 0
			 : -ENOMEM;
	t->rpc = rc == 0 ? rpc_new(t) : NULL;
	if (t->rpc == NULL) {
		rc = et_fail(reterr, -ENOMEM, "start TLS");
	} else {
		rc = tls_contexts_make(config->identity, &t->alpn, &t->contexts, reterr);
	}
	rc = rc < 0 ? rc : listen_on(config->listen, t, reterr);
	if (rc < 0) {
		node_abandon(t);
		return rc;
	}
	rpc_begin(t->rpc);
	et_tls_handle(t, ET_ALPN_RPC, rpc_accept, t->rpc);
	(void)uv_poll_start(t->listener, UV_READABLE, on_listener);
	*ret = t;
	return 0;
}

static void on_listener_closed(uv_handle_t *handle)
{
	struct et_tls_node *t = handle->data;

	t->listener_closed = true;
	tls_node_maybe_closed(t);
}

void et_tls_stop(struct et_tls_node *t, void (*closed)(void *arg), void *arg)
{
	struct et_error why;

	et_assert(!t->stopping);
	t->stopping = true;
	t->closed = closed;
	t->closed_arg = arg;
	(void)et_fail(&why, ET_ECLOSED, "this node is going down");
	join_server_stop(t->join);
	rpc_stop(t->rpc);
	for (struct et_tls_conn *c = t->conns; c != NULL;) {
		struct et_tls_conn *next = c->next;
		if (c->state < CONN_READY) {
			tls_conn_fail(c, ET_ECLOSED, &why);
			next = t->conns; /* The callback may have closed others. */
		} else if (c->state >= CONN_FLUSH) {
			tls_conn_drop(c);
		} else {
			tls_conn_end(c, ET_ECLOSED); /* Its owner closes it. */
		}
		c = next;
	}
	(void)pthread_mutex_lock(&t->shared->mutex);
	for (struct et_tls_conn *c = t->shared->detached; c != NULL; c = c->next) {
		(void)shutdown(c->fd, SHUT_RDWR);
	}
	(void)pthread_mutex_unlock(&t->shared->mutex);

	(void)uv_poll_stop(t->listener);
	uv_close((uv_handle_t *)t->listener, on_listener_closed);
	(void)close(t->listen_fd);
	if (t->spare_fd >= 0) {
		(void)close(t->spare_fd);
	}
}

int et_tls_set_identity(struct et_tls_node *t, const struct et_identity *identity,
			struct et_error *reterr)
{
	struct tls_contexts fresh;
	struct et_buffer ca = { 0 };

	if (strcmp(identity->cluster, t->cluster) != 0) {
		return et_fail_plain(reterr, ET_EUSAGE, "an identity of cluster '%s', not '%s'",
				     identity->cluster, t->cluster);
	}
	et_buffer_add(&ca, identity->ca.data, identity->ca.size);
	int rc = ca.failed ? et_fail(reterr, -ENOMEM, "another identity")
			   : tls_contexts_make(identity, &t->alpn, &fresh, reterr);
	if (rc < 0) {
		et_buffer_release(&ca);
		return rc;
	}
	tls_contexts_release(&t->contexts); /* Connections hold references to what they use. */
	t->contexts = fresh;
	et_buffer_release(&t->ca);
	t->ca = ca;
	return 0;
}

/* Its CA may have left trust since. */
static bool recheck_fails(struct et_tls_node *t, struct et_tls_conn *conn)
{
	struct et_tls_peer now = conn->peer;
	struct et_error why;

	now.unchained = now.unchained ||
			!tls_bundle_has((struct et_view){ t->ca.data, t->ca.size }, conn->ca_hash);
	if (now.node == 0 || tls_node_check(t, &now, conn->alpn, &why) == 0) {
		return false;
	}
	t->counts.cut++;
	et_warn("tls.cut", "peer=%s node=%llu protocol=%s detail=\"%s\"", conn->peer.address,
		(unsigned long long)conn->peer.node, conn->alpn, why.text);
	return true;
}

void et_tls_recheck(struct et_tls_node *t)
{
	for (struct et_tls_conn *c = t->conns; c != NULL; c = c->next) {
		if (c->state == CONN_READY && !c->ended && recheck_fails(t, c)) {
			tls_conn_end(c, ET_EUNTRUSTED);
			(void)shutdown(c->fd, SHUT_RDWR);
		}
	}
	(void)pthread_mutex_lock(&t->shared->mutex);
	for (struct et_tls_conn *c = t->shared->detached; c != NULL; c = c->next) {
		if (!atomic_load(&c->cut) && recheck_fails(t, c)) {
			atomic_store(&c->cut, true);
			(void)shutdown(c->fd, SHUT_RDWR); /* Wakes its loop. */
		}
	}
	(void)pthread_mutex_unlock(&t->shared->mutex);
}

/* ---- Connecting ---- */

struct connect_request {
	uv_idle_t idle; /* tells of a failure that is known before there is a connection */
	struct et_tls_node *node;
	et_tls_connect_fn cb;
	void *arg;
	int code;
	char address[ET_ADDRESS_MAX];
};

static void on_connected(void *arg, struct et_tls_conn *conn, int code, const struct et_error *why)
{
	struct connect_request *request = arg;
	struct et_tls_node *t = request->node;
	et_tls_connect_fn cb = request->cb;
	void *cb_arg = request->arg;
	char address[ET_ADDRESS_MAX];

	memcpy(address, request->address, sizeof(address));
	free(request);
	if (code == 0) {
		t->counts.connected++;
	} else if (code == ET_EUNTRUSTED) {
		t->counts.refused_untrusted++;
		tls_guard_log(t->guard, address, "connect", why);
	}
	cb(cb_arg, code, conn);
}

static void on_defer_closed(uv_handle_t *handle)
{
	struct connect_request *request = handle->data;
	struct et_tls_node *t = request->node;

	free(request);
	tls_node_io_closed(t);
}

static void on_defer(uv_idle_t *idle)
{
	struct connect_request *request = idle->data;

	(void)uv_idle_stop(idle);
	uv_close((uv_handle_t *)idle, on_defer_closed);
	request->cb(request->arg, request->code, NULL);
}

static void connect_defer(struct connect_request *request, int code)
{
	request->code = code;
	request->node->open_ios++;
	(void)uv_idle_init(request->node->loop, &request->idle);
	request->idle.data = request;
	(void)uv_idle_start(&request->idle, on_defer);
}

static bool is_loopback(const struct sockaddr_storage *a)
{
	const struct sockaddr_in *in = (const void *)a;
	const struct sockaddr_in6 *in6 = (const void *)a;

	return a->ss_family == AF_INET ? ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET
				       : IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

/* Speak from the address on which we listen, so that a firewall between sites sees one address for
 * each node. Where that cannot be (we listen on all addresses, or on one that does not lead there),
 * the kernel chooses. */
static void speak_from(int fd, const char *own, const struct sockaddr_storage *to)
{
	struct sockaddr_storage a;
	unsigned size = 0;
	const int one = 1;

	if (!tls_address_parse(own, &a, &size) || a.ss_family != to->ss_family ||
	    (is_loopback(&a) && !is_loopback(to))) {
		return;
	}
	if (a.ss_family == AF_INET) {
		((struct sockaddr_in *)&a)->sin_port = 0;
	} else {
		((struct sockaddr_in6 *)&a)->sin6_port = 0;
	}
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	(void)bind(fd, (struct sockaddr *)&a, size);
}

void et_tls_connect(struct et_tls_node *t, uint64_t node, const char *address, const char *alpn,
		    et_tls_connect_fn cb, void *arg)
{
	struct connect_request *request = calloc(1, sizeof(*request));
	struct sockaddr_storage a;
	struct et_tls_conn *conn = NULL;
	unsigned size = 0;

	et_assert(request != NULL);
	*request = (struct connect_request){ .node = t, .cb = cb, .arg = arg };
	(void)snprintf(request->address, sizeof(request->address), "%s", address);
	if (t->stopping || !tls_address_parse(address, &a, &size)) {
		connect_defer(request, t->stopping ? ET_ECLOSED : -EINVAL);
		return;
	}
	int fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		connect_defer(request, -errno);
		return;
	}
	speak_from(fd, t->address, &a);
	int error = 0;
	if (connect(fd, (struct sockaddr *)&a, size) < 0 && errno != EINPROGRESS) {
		error = -errno;
	}
	struct conn_spec spec = { .loop = t->loop,
				  .node = t,
				  .shared = t->shared,
				  .ctx = t->contexts.client,
				  .fd = fd,
				  .want_node = node,
				  .alpn = alpn,
				  .address = address,
				  .ready = on_connected,
				  .ready_arg = request };
	int rc = tls_conn_new(&spec, &conn);
	if (rc < 0) {
		connect_defer(request, rc);
		return;
	}
	conn->socket_error = error;
}

const char *et_tls_address(const struct et_tls_node *t)
{
	return t->address;
}

void et_tls_counts(const struct et_tls_node *t, struct et_tls_counts *ret)
{
	*ret = t->counts;
	ret->bytes_in = atomic_load(&t->shared->bytes_in);
	ret->bytes_out = atomic_load(&t->shared->bytes_out);
}
