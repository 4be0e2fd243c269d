/* The API thread: libwebsockets. Reads heads and bodies, hands calls to workers, writes answers.
 *
 * Happy path of a request: HTTP (head read; route found) -> [HTTP_BODY... HTTP_BODY_COMPLETION] ->
 * submitted -> EVENT_WAIT_CANCELLED (a worker has something) -> HTTP_WRITEABLE... -> transaction
 * completed. Possible failure modes are
 *   - head or body over their limits: an error at once;
 *   - the client leaves: CLOSED_HTTP; the worker learns it at its next api_write();
 *   - the client stops taking: a timeout of ours, then as above;
 *   - too many calls wait: ET_EBUSY at once.
 *
 * Threads: everything here runs on the API thread, but for start, wake and stop. */
#include <libwebsockets.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "node/api/api_internal.h"
#include "node/base/log.h"
#include "node/io/clock.h"

#define HEAD_TIMEOUT_S 15
#define WRITE_SIZE 16384 /* bytes a write */

/* Per-connection memory of lws: one call at a time. */
struct session {
	struct api_call *call; /* owned: one reference */
	uint64_t body_left;    /* bytes still to come */
	int64_t drop_until_us; /* monotonic: how long a body is dropped whose request is answered */
	bool counted;
};

static struct et_api *api_of(struct lws *wsi)
{
	return lws_context_user(lws_get_context(wsi));
}

/* ---- Reading a request ---- */

static void copy_token(struct lws *wsi, enum lws_token_indexes token, char *ret, int size)
{
	int n = lws_hdr_total_length(wsi, token);
	if (n <= 0 || n >= size || lws_hdr_copy(wsi, ret, size, token) < 0) {
		ret[0] = '\0';
	}
}

static bool method_read(struct lws *wsi, char method[8])
{
	static const struct {
		enum lws_token_indexes token;
		const char *name;
	} methods[] = {
		{ WSI_TOKEN_GET_URI, "GET" },	  { WSI_TOKEN_POST_URI, "POST" },
		{ WSI_TOKEN_PUT_URI, "PUT" },	  { WSI_TOKEN_DELETE_URI, "DELETE" },
		{ WSI_TOKEN_PATCH_URI, "PATCH" }, { WSI_TOKEN_OPTIONS_URI, "OPTIONS" },
		{ WSI_TOKEN_HEAD_URI, "HEAD" },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(methods); i++) {
		if (lws_hdr_total_length(wsi, methods[i].token) > 0) {
			(void)snprintf(method, 8, "%s", methods[i].name);
			return true;
		}
	}
	return false;
}

static int params_read(struct lws *wsi, struct api_request *r, struct et_error *reterr)
{
	for (int i = 0;; i++) {
		int n = lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, i);
		if (n <= 0) {
			return 0;
		}
		if (i == ET_API_PARAMS_MAX || n >= ET_API_PARAM_MAX) {
			return et_fail_plain(reterr, ET_EUSAGE, "the query is too long");
		}
		if (lws_hdr_copy_fragment(wsi, r->params[i], ET_API_PARAM_MAX,
					  WSI_TOKEN_HTTP_URI_ARGS, i) < 0) {
			return et_fail_plain(reterr, ET_EUSAGE, "the query cannot be read");
		}
		r->param_count++;
	}
}

static void custom_header(struct lws *wsi, const char *name, char *ret, int size)
{
	int n = lws_hdr_custom_copy(wsi, ret, size, name, (int)strlen(name));
	if (n < 0) {
		ret[0] = '\0';
	}
}

/* Who stands at the other end of the Unix socket. */
static void peer_read(struct lws *wsi, struct api_call *call)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);
	call->uid = (uid_t)-1;
	if (getsockopt(lws_get_socket_fd(wsi), SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0) {
		call->uid = cred.uid;
	}
}

/* Head into call; *ret_body gets the announced length of the body. */
static int head_read(struct lws *wsi, struct api_call *call, const char *path, size_t path_size,
		     uint64_t *ret_body, struct et_error *reterr)
{
	struct api_request *r = &call->request;
	char length[24];
	*ret_body = 0;
	call->is_local = strcmp(lws_get_vhost_name(lws_get_vhost(wsi)), "unix") == 0;
	if (call->is_local) {
		peer_read(wsi, call);
	}
	if (!method_read(wsi, r->method) || path_size >= sizeof(r->path)) {
		return et_fail_plain(reterr, ET_EUSAGE, "the request line is too long or odd");
	}
	memcpy(r->path, path, path_size);
	r->path[path_size] = '\0';
	copy_token(wsi, WSI_TOKEN_HTTP_AUTHORIZATION, call->authorization,
		   sizeof(call->authorization));
	copy_token(wsi, WSI_TOKEN_HTTP_RANGE, call->range, sizeof(call->range));
	copy_token(wsi, WSI_TOKEN_HTTP_IF_NONE_MATCH, call->if_none_match,
		   sizeof(call->if_none_match));
	custom_header(wsi, "x-evertape-expect-cluster:", call->expect_cluster,
		      sizeof(call->expect_cluster));
	if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0) {
		return et_fail_plain(reterr, ET_EUSAGE, "a body needs Content-Length");
	}
	copy_token(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, length, sizeof(length));
	if (length[0] != '\0') {
		char *end;
		*ret_body = strtoull(length, &end, 10);
		if (*end != '\0') {
			return et_fail_plain(reterr, ET_EUSAGE, "Content-Length is no number");
		}
	}
	return params_read(wsi, r, reterr);
}

static int route_find(struct api_call *call, uint64_t body, struct et_error *reterr)
{
	bool known;
	call->route = api_route_find(call->request.method, call->request.path, &known);
	if (call->route != NULL) {
		const bool streams = api_streams(call->route);
		const uint64_t most = streams ? (uint64_t)ET_API_FILE_MAX : ET_API_BODY_MAX;
		return body <= most ? 0
				    : et_fail_plain(reterr, ET_ELIMIT,
						    "the body is longer than %llu bytes",
						    (unsigned long long)most);
	}
	if (known) {
		return et_fail_plain(reterr, ET_EUNSUPPORTED, "%s is not for %s",
				     call->request.method, call->request.path);
	}
	return et_fail_plain(reterr, ET_ENOTFOUND, "there is no %s", call->request.path);
}

static void call_submit(struct et_api *api, struct api_call *call)
{
	int rc = api_pool_push(call->route->slow ? &api->slow : &api->quick, call);
	if (rc < 0) {
		struct et_error e = { 0 };
		(void)et_fail_plain(&e, rc, "too many requests wait");
		api_answer_error(call, rc, &e);
	}
}

static int on_http(struct lws *wsi, struct session *s, const char *path, size_t path_size)
{
	struct et_api *api = api_of(wsi);
	struct et_error e = { 0 };
	if (s->call != NULL) {
		return -1; /* lws never does; a second request would take the first one's answer */
	}
	struct api_call *call = api_call_new(api);
	if (call == NULL) {
		return -1;
	}
	call->wsi = wsi;
	s->call = call;
	lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);
	int rc = head_read(wsi, call, path, path_size, &s->body_left, &e);
	if (rc == 0) {
		rc = route_find(call, s->body_left, &e);
	}
	if (rc < 0) {
		s->body_left = 0;
		api_answer_error(call, rc, &e);
		return 0;
	}
	if (s->body_left == 0) {
		call_submit(api, call);
	} else if (api_streams(call->route)) {
		api_stream_begin(call, s->body_left);
		lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, API_STALL_S);
		call_submit(api, call);
	} else {
		/* At once: it may be a secret, of which no shorter copy is to be left behind. */
		(void)et_buffer_reserve(&call->body, (size_t)s->body_left);
		lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, API_STALL_S);
	}
	return 0;
}

static int on_body(struct lws *wsi, struct session *s, const void *data, size_t size)
{
	if (s->call == NULL) { /* answered before all of it came: dropped, for a while */
		return et_clock_mono_us() < s->drop_until_us ? 0 : -1;
	}
	if (s->body_left == 0) {
		return 0; /* of a request that was refused: dropped */
	}
	if (size > s->body_left) {
		return -1;
	}
	s->body_left -= size;
	if (s->call->streams) { /* lws gives the next piece HEAD_TIMEOUT_S */
		return api_stream_put(s->call, data, size) < 0 ? -1 : 0;
	}
	et_buffer_add(&s->call->body, data, size);
	if (s->call->body.failed) {
		return -1;
	}
	if (s->body_left == 0) {
		lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);
		call_submit(api_of(wsi), s->call);
	}
	return 0;
}

/* ---- Writing an answer ---- */

struct head {
	uint8_t buffer[LWS_PRE + 4096];
	uint8_t *p;
	uint8_t *end;
	bool failed;
};

static void head_add(struct lws *wsi, struct head *h, const char *name, const char *value)
{
	if (lws_add_http_header_by_name(wsi, (const unsigned char *)name,
					(const unsigned char *)value, (int)strlen(value), &h->p,
					h->end) != 0) {
		h->failed = true;
	}
}

static int head_write(struct lws *wsi, struct api_call *call)
{
	static const char *const security[][2] = {
		{ "cache-control:", "no-store" },
		{ "x-content-type-options:", "nosniff" },
		{ "referrer-policy:", "no-referrer" },
		{ "content-security-policy:", "default-src 'self'; frame-ancestors 'none'; "
					      "base-uri 'none'; form-action 'self'" },
		{ "cross-origin-resource-policy:", "same-origin" },
	};
	struct head h = { .failed = false };
	h.p = h.buffer + LWS_PRE;
	h.end = h.buffer + sizeof(h.buffer) - 1;
	lws_filepos_t length =
		call->length >= 0 ? (lws_filepos_t)call->length : LWS_ILLEGAL_HTTP_CONTENT_LEN;
	if (lws_add_http_common_headers(wsi, call->status, call->type, length, &h.p, h.end) != 0) {
		return -1;
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(security); i++) {
		bool given = false;
		for (size_t j = 0; j < call->header_count; j++) {
			given = given || strcmp(call->headers[j].name, security[i][0]) == 0;
		}
		if (!given) {
			head_add(wsi, &h, security[i][0], security[i][1]);
		}
	}
	for (size_t j = 0; j < call->header_count; j++) {
		head_add(wsi, &h, call->headers[j].name, call->headers[j].value);
	}
	if (call->streams) { /* it may be answered before all of it came */
		head_add(wsi, &h, "connection:", "close");
	}
	if (h.failed || lws_finalize_write_http_header(wsi, h.buffer + LWS_PRE, &h.p, h.end) != 0) {
		return -1;
	}
	call->head_sent = true;
	return 0;
}

/* Move the next bytes of the answer into `buffer`. *ret_last: nothing comes after them. */
static size_t pieces_take(struct api_call *call, uint8_t *buffer, size_t size, bool *ret_last,
			  bool *ret_broken)
{
	(void)pthread_mutex_lock(&call->mutex);
	size_t n = api_pieces_take(&call->out, buffer, size);
	*ret_last = call->ended && call->out.first == NULL;
	*ret_broken = call->broken;
	(void)pthread_cond_signal(&call->taken);
	(void)pthread_mutex_unlock(&call->mutex);
	return n;
}

static void session_drop(struct session *s)
{
	if (s->call != NULL) {
		api_call_gone(s->call);
		api_call_unref(s->call);
		s->call = NULL;
	}
	s->body_left = 0;
}

/* An answer that comes before its body was all sent would be lost if the connection ended with it:
 * closing a socket with bytes that nobody read resets it, and takes along what the client has not
 * read. So what still comes is read and dropped: until it ends (see body_ended()), for
 * API_STALL_S in all. */
static int answer_done(struct lws *wsi, struct session *s)
{
	/* Without a length the end of the connection is the end of the answer. */
	const bool closes = s->call->length < 0 || s->call->streams;
	const bool early = s->body_left > 0;
	session_drop(s);
	if (early) {
		s->drop_until_us = et_clock_mono_us() + API_STALL_S * INT64_C(1000000);
		lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, API_STALL_S);
		return 0;
	}
	return closes || lws_http_transaction_completed(wsi) != 0 ? -1 : 0;
}

/* on_body() has counted it. Of a request that is answered: its answer said that it closes. */
static int body_ended(const struct session *s)
{
	return s->call == NULL ? -1 : 0;
}

static int on_writeable(struct lws *wsi, struct session *s)
{
	uint8_t buffer[LWS_PRE + WRITE_SIZE];
	struct api_call *call = s->call;
	bool begun, last, broken;
	if (call == NULL) {
		return 0;
	}
	(void)pthread_mutex_lock(&call->mutex);
	begun = call->begun;
	(void)pthread_mutex_unlock(&call->mutex);
	if (!begun) {
		return 0;
	}
	if (!call->head_sent) {
		if (head_write(wsi, call) < 0) {
			return -1;
		}
		if (call->length != 0) {
			(void)lws_callback_on_writable(wsi);
			return 0;
		}
	}
	size_t n = pieces_take(call, buffer + LWS_PRE, WRITE_SIZE, &last, &broken);
	if (n > 0) {
		lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, API_STALL_S);
		if (lws_write(wsi, buffer + LWS_PRE, n,
			      last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0) {
			last = broken = true; /* the connection is no good any more */
		}
		explicit_bzero(buffer, sizeof(buffer)); /* tokens pass through it */
	}
	if (last) {
		return broken ? -1 : answer_done(wsi, s);
	}
	if (n == 0) { /* the worker is slower than the client: no fault of the client */
		lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);
	} else {
		(void)lws_callback_on_writable(wsi);
	}
	return 0;
}

/* ---- TLS ---- */

/* The node's own certificate and key into the context of new connections. */
static int tls_use_identity(SSL_CTX *ctx, const struct et_identity *id)
{
	const uint8_t *der = id->cert.data;
	const uint8_t *key = et_secret_bytes(id->tls_key);
	X509 *cert = d2i_X509(NULL, &der, (long)id->cert.size);
	EVP_PKEY *pkey = d2i_AutoPrivateKey(NULL, &key, (long)et_secret_size(id->tls_key));
	int rc = cert != NULL && pkey != NULL && SSL_CTX_use_certificate(ctx, cert) == 1 &&
				 SSL_CTX_use_PrivateKey(ctx, pkey) == 1
			 ? 0
			 : ET_EUNTRUSTED;
	X509_free(cert);
	EVP_PKEY_free(pkey);
	return rc;
}

static int tls_setup(struct et_api *api, SSL_CTX *ctx)
{
	char groups[] = "X25519:P-256:P-384"; /* OpenSSL's macro takes no constant */

	api->ssl_ctx = ctx;
	(void)SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	/* A client chooses: with ffdhe8192 a handshake is 100 ms of this thread. */
	if (SSL_CTX_set1_groups_list(ctx, groups) != 1) {
		return -ENOMEM;
	}
	if (!api_certificate_is_given(api)) {
		return tls_use_identity(ctx, &api->identity);
	}
	struct et_error e = { 0 };
	char quoted[560];
	int rc = api_certificate_start(api, ctx, &e);
	if (rc < 0) {
		et_err("api.certificate", "error=%s next=\"%s\"",
		       et_log_quote(e.text, quoted, sizeof(quoted)), e.next);
	}
	return rc;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
		    size_t size);

static const struct lws_protocols protocols[] = {
	{ .name = "http", .callback = callback, .per_session_data_size = sizeof(struct session) },
	{ .name = NULL },
};

/* Called with api->mutex held. */
static int https_open(struct et_api *api)
{
	char address[64];
	const char *colon = strrchr(api->config.listen, ':');
	size_t size = (size_t)(colon - api->config.listen);
	bool bracket = api->config.listen[0] == '[';
	if (size >= sizeof(address) || (bracket && size < 3)) {
		return -EINVAL;
	}
	memcpy(address, api->config.listen, size);
	address[size] = '\0';
	if (bracket) {
		address[size - 1] = '\0';
	}
	struct lws_context_creation_info info = {
		.port = atoi(colon + 1),
		.iface = bracket ? address + 1 : address,
		.protocols = protocols,
		.vhost_name = "https",
		.alpn = "http/1.1",
		.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
			   LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX |
			   LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND,
		.keepalive_timeout = 60,
		.timeout_secs = HEAD_TIMEOUT_S,
	};
	if (!bracket) { /* With IPv6 it would listen everywhere when no interface has the address.
			 */
		info.options |= LWS_SERVER_OPTION_DISABLE_IPV6;
	}
	if (strcmp(info.iface, "0.0.0.0") == 0 || strcmp(info.iface, "::") == 0) {
		info.iface = NULL;
	}
	api->https_code = 1;
	api->https = lws_create_vhost(api->context, &info);
	if (api->https == NULL) {
		return api->ssl_ctx == NULL ? ET_EUNTRUSTED : -EADDRINUSE;
	}
	api->port = (uint16_t)lws_get_vhost_listen_port(api->https);
	return api->https_code < 0 ? api->https_code : 0;
}

/* What the main loop asked for. */
static void requests_serve(struct et_api *api)
{
	(void)pthread_mutex_lock(&api->mutex);
	if (api->want_https) {
		api->want_https = false;
		api->https_code = https_open(api);
		(void)pthread_cond_broadcast(&api->listening);
	}
	if (api->identity_changed) {
		api->identity_changed = false;
		if (!api_certificate_is_given(api) && api->ssl_ctx != NULL &&
		    tls_use_identity(api->ssl_ctx, &api->identity) < 0) {
			et_err("api.certificate", "the renewed certificate cannot be used");
		}
	}
	api_certificate_take(api);
	(void)pthread_mutex_unlock(&api->mutex);
}

/* ---- The thread ---- */

/* While a worker has enough its client waits, and not in vain: it is not cut for it. (Not in
 * on_body(): lws starts its clock once more after that.) lws serves no writeable connection whose
 * reading stands still, and does not sleep then: it is not asked to. */
static void call_follow(struct api_call *call)
{
	const struct session *s = lws_wsi_user(call->wsi);
	const bool held = api_stream_is_held(call);
	if (held != call->is_held) {
		const bool sends =
			!held && s->body_left > 0; /* all of it may have come meanwhile */
		call->is_held = held;
		(void)lws_rx_flow_control(call->wsi, held ? 0 : 1);
		lws_set_timeout(call->wsi,
				sends ? PENDING_TIMEOUT_HTTP_CONTENT : NO_PENDING_TIMEOUT,
				sends ? API_STALL_S : 0);
	}
	if (!held) {
		(void)lws_callback_on_writable(call->wsi);
	}
}

static void ready_serve(struct et_api *api)
{
	struct et_queue_node *node = et_queue_take(&api->ready);
	while (node != NULL) {
		struct et_queue_node *next = node->next;
		struct api_call *call = ET_CONTAINER_OF(node, struct api_call, ready);
		(void)pthread_mutex_lock(&call->mutex);
		call->queued_ready = false;
		(void)pthread_mutex_unlock(&call->mutex);
		if (call->wsi != NULL) {
			call_follow(call);
		}
		api_call_unref(call);
		node = next;
	}
}

static int connection_opened(struct et_api *api, struct session *s)
{
	unsigned max =
		api->config.connections > 0 ? api->config.connections : ET_API_CONNECTIONS_MAX;
	if (s != NULL && !s->counted) {
		if (api->connections >= max) {
			return -1;
		}
		s->counted = true;
		api->connections++;
	}
	return 0;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
		    size_t size)
{
	struct session *s = user;
	switch ((int)reason) {
	case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS: {
		struct et_api *api = api_of(wsi);
		int rc = tls_setup(api, user);
		api->https_code = rc < 0 ? rc : api->https_code;
		return 0;
	}
	case LWS_CALLBACK_EVENT_WAIT_CANCELLED:
		ready_serve(api_of(wsi));
		requests_serve(api_of(wsi));
		return 0;
	case LWS_CALLBACK_HTTP:
		if (connection_opened(api_of(wsi), s) < 0) {
			return -1;
		}
		return on_http(wsi, s, in, size);
	case LWS_CALLBACK_HTTP_BODY:
		return on_body(wsi, s, in, size);
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
		return body_ended(s);
	case LWS_CALLBACK_HTTP_WRITEABLE:
		return on_writeable(wsi, s);
	case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
	case LWS_CALLBACK_CLOSED_HTTP:
		if (s != NULL) {
			session_drop(s);
			if (s->counted) {
				s->counted = false;
				api_of(wsi)->connections--;
			}
		}
		return 0;
	default:
		return 0;
	}
}

static void *thread_run(void *arg)
{
	struct et_api *api = arg;
	while (!atomic_load(&api->stopping)) {
		if (lws_service(api->context, 0) < 0) {
			break;
		}
	}
	return NULL;
}

static void log_line(int level, const char *line)
{
	char text[256];
	char quoted[300];
	(void)snprintf(text, sizeof(text), "%s", line);
	text[strcspn(text, "\n")] = '\0';
	et_log(level == LLL_ERR ? ET_LOG_ERROR : ET_LOG_DEBUG, "api.lws", "text=%s",
	       et_log_quote(text, quoted, sizeof(quoted)));
}

/* A socket that another process serves must not be taken from it. */
static int socket_prepare(const char *path, struct et_error *reterr)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(address.sun_path)) {
		return et_fail(reterr, -ENAMETOOLONG, "socket '%s'", path);
	}
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		return et_fail(reterr, -errno, "socket '%s'", path);
	}
	bool served = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	(void)close(fd);
	if (served) {
		return et_fail(reterr, -EADDRINUSE, "another process serves '%s'", path);
	}
	if (unlink(path) != 0 && errno != ENOENT) {
		return et_fail(reterr, -errno, "remove old socket '%s'", path);
	}
	return 0;
}

static void on_ready(void *arg)
{
	struct et_api *api = arg;
	lws_cancel_service(api->context);
}

static int context_make(struct et_api *api, struct et_error *reterr)
{
	unsigned connections =
		api->config.connections > 0 ? api->config.connections : ET_API_CONNECTIONS_MAX;
	lws_set_log_level(LLL_ERR | LLL_WARN, log_line);
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN,
		.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
		.fd_limit_per_thread = connections + 16,
		.max_http_header_data = ET_API_HEAD_MAX,
		.max_http_header_pool = (unsigned short)connections,
		.timeout_secs = HEAD_TIMEOUT_S,
		.keepalive_timeout = 60,
		.pcontext = NULL,
		.user = api,
	};
	api->context = lws_create_context(&info);
	if (api->context == NULL) {
		return et_fail(reterr, -ENOMEM, "libwebsockets");
	}
	struct lws_context_creation_info local = {
		.port = 0,
		.iface = api->config.socket_path,
		.protocols = protocols,
		.vhost_name = "unix",
		.options = LWS_SERVER_OPTION_UNIX_SOCK,
		.keepalive_timeout = 60,
		.timeout_secs = HEAD_TIMEOUT_S,
	};
	if (lws_create_vhost(api->context, &local) == NULL ||
	    chmod(api->config.socket_path, 0600) != 0) {
		int code = errno != 0 ? -errno : -EIO;
		return et_fail(reterr, code, "listen on '%s'", api->config.socket_path);
	}
	return 0;
}

int api_server_start(struct et_api *api, struct et_error *reterr)
{
	int rc = socket_prepare(api->config.socket_path, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = context_make(api, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = et_queue_init(&api->ready, 65536, SIZE_MAX, on_ready, api);
	if (rc == 0) {
		rc = -pthread_create(&api->thread, NULL, thread_run, api);
	}
	api->thread_runs = rc == 0;
	return rc < 0 ? et_fail(reterr, rc, "API thread") : 0;
}

void api_server_wake(struct et_api *api)
{
	lws_cancel_service(api->context);
}

void api_server_stop(struct et_api *api)
{
	if (api->thread_runs) {
		lws_cancel_service(api->context);
		(void)pthread_join(api->thread, NULL);
		et_queue_close(&api->ready);
		ready_serve(api);
		et_queue_destroy(&api->ready);
	}
	if (api->context != NULL) {
		lws_context_destroy(api->context);
	}
	(void)unlink(api->config.socket_path);
}
