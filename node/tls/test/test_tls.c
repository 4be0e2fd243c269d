#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "node/io/post.h"
#include "node/tls/test/fixture.h"

/* Two nodes on one loop; node 1 serves raft and sync, node 2 connects. */
struct pair {
	struct world w;
	struct et_identity id[2];
	struct et_tls_node *node[2];
	uint64_t revoked; /* node that the member check of both refuses */
	bool allow_expired;
	bool refuse_unchained;
	uint8_t recorded[32]; /* key of node 2 */

	struct et_tls_conn *server; /* accepted */
	struct et_tls_conn *client;
	int connect_code;
	int connect_calls;
	int ends[2]; /* calls of on_end: server's, client's */
	int end_code[2];
	struct et_buffer got[2];
	bool echo;
	size_t wait_server; /* stop the run when it has so many bytes */
	size_t wait_client;
};

static int check(void *arg, const struct et_tls_peer *peer, const char *alpn,
		 struct et_error *reterr)
{
	struct pair *p = arg;

	assert_non_null(alpn);
	if (peer->node == p->revoked) {
		return et_fail_plain(reterr, ET_EUNTRUSTED, "node %d is revoked", (int)peer->node);
	}
	if (peer->expired && !p->allow_expired) {
		return et_fail_plain(reterr, ET_EUNTRUSTED, "expired, and no member");
	}
	if (peer->unchained && p->refuse_unchained) {
		return et_fail_plain(reterr, ET_EUNTRUSTED, "of no CA that is trusted");
	}
	return 0;
}

static bool is_recorded(void *arg, uint64_t node, const uint8_t spki_hash[32])
{
	const struct pair *p = arg;

	return node == 1 || memcmp(spki_hash, p->recorded, 32) == 0;
}

static void on_read(void *arg, struct et_tls_conn *conn, const uint8_t *data, size_t size)
{
	struct pair *p = arg;
	int side = conn == p->server ? 0 : 1;

	et_buffer_add(&p->got[side], data, size);
	if (side == 0 && p->echo) {
		et_tls_conn_write(conn, data, size);
	}
	if ((p->wait_server > 0 && p->got[0].size >= p->wait_server) ||
	    (p->wait_client > 0 && p->got[1].size >= p->wait_client)) {
		p->w.done = true;
	}
}

static void on_end(void *arg, struct et_tls_conn *conn, int code)
{
	struct pair *p = arg;
	int side = conn == p->server ? 0 : 1;

	p->ends[side]++;
	p->end_code[side] = code;
	et_tls_conn_close(conn, false);
	if (side == 0) {
		p->server = NULL;
	} else {
		p->client = NULL;
	}
	p->w.done = true;
}

static void start_conn(struct pair *p, struct et_tls_conn *conn)
{
	const struct et_tls_conn_cb cb = { .on_read = on_read, .on_end = on_end, .arg = p };
	et_tls_conn_start(conn, &cb);
}

static void on_accept(void *arg, struct et_tls_conn *conn)
{
	struct pair *p = arg;

	assert_null(p->server);
	p->server = conn;
	start_conn(p, conn);
	p->w.done = p->client != NULL;
}

static void on_connect(void *arg, int code, struct et_tls_conn *conn)
{
	struct pair *p = arg;

	p->connect_calls++;
	p->connect_code = code;
	p->client = conn;
	if (code == 0) {
		start_conn(p, conn);
	}
	p->w.done = code < 0 || p->server != NULL;
}

static int set_up(void **state)
{
	struct pair *p = calloc(1, sizeof(*p));

	world_open(&p->w);
	for (int i = 0; i < 2; i++) {
		identity_make(&p->w, (uint64_t)i + 1, &p->id[i]);
		p->node[i] = node_start(&p->w, &p->id[i], check, p);
	}
	et_tls_handle(p->node[0], ET_ALPN_RAFT, on_accept, p);
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	struct pair *p = *state;

	if (p->client != NULL) {
		et_tls_conn_close(p->client, false);
	}
	if (p->server != NULL) {
		et_tls_conn_close(p->server, false);
	}
	for (int i = 0; i < 2; i++) {
		if (p->node[i] != NULL) {
			node_stop(&p->w, p->node[i]);
		}
		et_identity_release(&p->id[i]);
		et_buffer_release(&p->got[i]);
	}
	world_close(&p->w);
	free(p);
	return 0;
}

static void join_up(struct pair *p)
{
	et_tls_connect(p->node[1], 1, et_tls_address(p->node[0]), ET_ALPN_RAFT, on_connect, p);
	assert_int_equal(p->connect_calls, 0);
	world_run(&p->w);
	assert_int_equal(p->connect_calls, 1);
}

/* Give node 2 another identity and see what connecting brings. */
static int connect_as(struct pair *p, const struct et_identity *id)
{
	struct et_error e;

	if (et_tls_set_identity(p->node[1], id, &e) < 0) {
		fail_msg("%s", e.text);
	}
	join_up(p);
	return p->connect_code;
}

static struct et_tls_counts counts_of(const struct et_tls_node *t)
{
	struct et_tls_counts c;
	et_tls_counts(t, &c);
	return c;
}

/* ---- The good way ---- */

static void members_talk_and_know_each_other(void **state)
{
	struct pair *p = *state;

	join_up(p);
	assert_int_equal(p->connect_code, 0);
	assert_int_equal(et_tls_conn_peer(p->client)->node, 1);
	assert_int_equal(et_tls_conn_peer(p->server)->node, 2);
	assert_string_equal(et_tls_conn_peer(p->server)->site, "prg");
	struct et_cert_info info;
	assert_int_equal(et_cert_parse((struct et_view){ p->id[1].cert.data, p->id[1].cert.size },
				       &info, NULL),
			 0);
	assert_memory_equal(et_tls_conn_peer(p->server)->spki_hash, info.spki_hash, 32);
	assert_false(et_tls_conn_peer(p->server)->expired);

	p->echo = true;
	p->wait_client = 5;
	et_tls_conn_write(p->client, "hello", 5);
	world_run(&p->w);
	assert_memory_equal(p->got[1].data, "hello", 5);
	assert_int_equal(counts_of(p->node[0]).accepted, 1);
	assert_int_equal(counts_of(p->node[1]).connected, 1);
	assert_true(counts_of(p->node[1]).bytes_in > 5);
}

static void both_sides_export_the_same_secret(void **state)
{
	struct pair *p = *state;
	uint8_t a[32];
	uint8_t b[32];

	join_up(p);
	assert_int_equal(et_tls_conn_export(p->client, "EXPORTER evertape", a, 32), 0);
	assert_int_equal(et_tls_conn_export(p->server, "EXPORTER evertape", b, 32), 0);
	assert_memory_equal(a, b, 32);
	assert_int_equal(et_tls_conn_export(p->server, "EXPORTER other", b, 32), 0);
	assert_memory_not_equal(a, b, 32);
}

static void a_flushed_close_delivers_all_and_ends_in_order(void **state)
{
	struct pair *p = *state;
	static uint8_t block[3 << 20];

	join_up(p);
	memset(block, 7, sizeof(block));
	et_tls_conn_write(p->client, block, sizeof(block));
	et_tls_conn_close(ET_TAKE(p->client), true);
	world_run(&p->w);
	assert_int_equal(p->ends[0], 1);
	assert_int_equal(p->end_code[0], 0);
	assert_int_equal(p->got[0].size, sizeof(block));
}

static void a_cut_line_is_no_orderly_end(void **state)
{
	struct pair *p = *state;

	join_up(p);
	et_tls_conn_close(ET_TAKE(p->client), false);
	world_run(&p->w);
	assert_int_equal(p->ends[0], 1);
	assert_int_not_equal(p->end_code[0], 0);
}

static void an_identity_is_swapped_under_open_connections(void **state)
{
	struct pair *p = *state;
	struct et_identity fresh;

	join_up(p);
	identity_make(&p->w, 2, &fresh);
	assert_int_equal(et_tls_set_identity(p->node[1], &fresh, NULL), 0);
	p->echo = true;
	p->wait_client = 3;
	et_tls_conn_write(p->client, "old", 3);
	world_run(&p->w);
	assert_int_equal(p->got[1].size, 3);
	et_tls_conn_close(ET_TAKE(p->client), false);
	world_run(&p->w);

	p->connect_calls = 0;
	p->wait_client = 0;
	join_up(p);
	assert_int_equal(p->connect_code, 0);
	struct et_cert_info info;
	assert_int_equal(
		et_cert_parse((struct et_view){ fresh.cert.data, fresh.cert.size }, &info, NULL),
		0);
	assert_memory_equal(et_tls_conn_peer(p->server)->spki_hash, info.spki_hash, 32);
	et_identity_release(&fresh);
}

/* ---- Refusals ---- */

static void refuses_a_revoked_node_on_either_side(void **state)
{
	struct pair *p = *state;

	p->revoked = 2;
	join_up(p);
	assert_int_equal(p->connect_code, ET_EUNTRUSTED);
	assert_null(p->server);
	assert_int_equal(counts_of(p->node[0]).refused_member, 1);

	p->revoked = 1;
	p->connect_calls = 0;
	join_up(p);
	assert_int_equal(p->connect_code, ET_EUNTRUSTED);
}

static void expiry_is_for_the_member_check_to_judge(void **state)
{
	struct pair *p = *state;
	struct et_identity old;

	identity_make_at(&p->w, 2, "prg", et_clock_now_us() - 100 * HOUR_US, HOUR_US, &old);
	p->allow_expired = true;
	assert_int_equal(connect_as(p, &old), 0);
	assert_true(et_tls_conn_peer(p->server)->expired);
	et_tls_conn_close(ET_TAKE(p->client), false);
	world_run(&p->w);

	p->allow_expired = false;
	p->connect_calls = 0;
	assert_int_equal(connect_as(p, &old), ET_EUNTRUSTED);
	assert_int_equal(counts_of(p->node[0]).refused_member, 1);
	et_identity_release(&old);
}

static void a_certificate_of_the_future_is_judged_as_an_expired_one(void **state)
{
	struct pair *p = *state;
	struct et_identity future;

	identity_make_at(&p->w, 2, "prg", et_clock_now_us() + HOUR_US, HOUR_US, &future);
	assert_int_equal(connect_as(p, &future), ET_EUNTRUSTED);
	assert_int_equal(counts_of(p->node[0]).refused_member, 1);
	/* A member with its recorded key is let in: a clock that is behind cuts nobody off. */
	p->allow_expired = true;
	p->connect_calls = 0;
	assert_int_equal(connect_as(p, &future), 0);
	assert_true(et_tls_conn_peer(p->server)->expired);
	et_tls_conn_close(ET_TAKE(p->client), false);
	world_run(&p->w);
	p->allow_expired = false;
	et_identity_release(&future);

	/* Issued 8 minutes ahead, backdated by 5: begins in 3 minutes. */
	p->connect_calls = 0;
	identity_make_at(&p->w, 2, "prg", et_clock_now_us() + 8 * 60 * 1000000LL, HOUR_US, &future);
	assert_int_equal(connect_as(p, &future), 0);
	et_identity_release(&future);
}

static void refuses_another_ca_in_both_directions(void **state)
{
	struct pair *p = *state;
	struct world other = { 0 };
	struct et_identity theirs;

	assert_int_equal(et_ca_make(CLUSTER, &other.ca_key, &other.ca, NULL), 0);
	identity_make(&other, 2, &theirs);
	assert_int_equal(connect_as(p, &theirs), ET_EUNTRUSTED); /* It does not trust node 1. */

	/* It trusts node 1, but node 1 does not trust it. */
	p->connect_calls = 0;
	et_buffer_add(&theirs.ca, p->w.ca.data, p->w.ca.size);
	assert_int_equal(connect_as(p, &theirs), ET_EUNTRUSTED);
	assert_int_equal(counts_of(p->node[0]).refused_untrusted, 1);
	assert_null(p->server);
	et_identity_release(&theirs);
	et_buffer_release(&other.ca);
	(void)et_secret_free(other.ca_key);
}

static void a_recorded_key_counts_whatever_the_ca(void **state)
{
	struct pair *p = *state;
	struct world other = { 0 };
	struct et_identity theirs;

	assert_int_equal(et_ca_make(CLUSTER, &other.ca_key, &other.ca, NULL), 0);
	identity_make(&other, 2, &theirs); /* trusts the other CA only */
	assert_int_equal(et_cert_spki_hash((struct et_view){ theirs.cert.data, theirs.cert.size },
					   p->recorded),
			 0);
	p->node[0]->recorded = p->node[1]->recorded = is_recorded;
	assert_int_equal(connect_as(p, &theirs), 0);
	assert_true(et_tls_conn_peer(p->server)->unchained);
	assert_true(et_tls_conn_peer(p->client)->unchained);
	assert_int_equal(et_tls_conn_peer(p->server)->node, 2);
	assert_int_equal(counts_of(p->node[0]).unchained, 1);
	assert_true(counts_of(p->node[0]).unchained_newest_us > 0);
	et_tls_conn_close(ET_TAKE(p->client), false);
	world_run(&p->w);
	et_identity_release(&theirs);

	/* The same number with another key: nobody vouches for that. */
	identity_make(&other, 2, &theirs);
	p->connect_calls = 0;
	assert_int_equal(connect_as(p, &theirs), ET_EUNTRUSTED);
	assert_int_equal(counts_of(p->node[0]).refused_untrusted, 1);
	et_identity_release(&theirs);
	et_buffer_release(&other.ca);
	(void)et_secret_free(other.ca_key);
}

static void refuses_another_node_than_was_asked_for(void **state)
{
	struct pair *p = *state;

	et_tls_connect(p->node[1], 7, et_tls_address(p->node[0]), ET_ALPN_RAFT, on_connect, p);
	world_run(&p->w);
	while (p->connect_calls == 0) {
		world_run(&p->w);
	}
	assert_int_equal(p->connect_code, ET_EUNTRUSTED);
}

static void refuses_a_protocol_that_nobody_serves(void **state)
{
	struct pair *p = *state;

	et_tls_connect(p->node[1], 1, et_tls_address(p->node[0]), ET_ALPN_SYNC, on_connect, p);
	world_run(&p->w);
	assert_int_equal(p->connect_code, ET_EUNSUPPORTED);
	assert_int_equal(counts_of(p->node[0]).refused_protocol, 1);
}

static void tells_when_nobody_listens(void **state)
{
	struct pair *p = *state;
	char address[ET_ADDRESS_MAX];

	(void)snprintf(address, sizeof(address), "%s", et_tls_address(p->node[0]));
	node_stop(&p->w, ET_TAKE(p->node[0]));
	et_tls_connect(p->node[1], 1, address, ET_ALPN_RAFT, on_connect, p);
	assert_int_equal(p->connect_calls, 0);
	world_run(&p->w);
	assert_int_equal(p->connect_code, ET_EUNREACHABLE);

	p->connect_calls = 0;
	et_tls_connect(p->node[1], 1, "nonsense", ET_ALPN_RAFT, on_connect, p);
	assert_int_equal(p->connect_calls, 0);
	world_run(&p->w);
	assert_int_equal(p->connect_code, -EINVAL);
}

/* A client of plain OpenSSL on a thread of its own, for what our client never does. */
struct stranger {
	SSL_CTX *ctx;
	const char *address;
	const char *alpn; /* wire form; NULL: none */
	int handshake;
	int first; /* bytes that the first read brought */
	uint8_t byte;
	uv_thread_t thread;
	struct world *w;
	bool finished;
	uv_async_t async;
};

static void stranger_run(void *arg)
{
	struct stranger *s = arg;
	BIO *bio = BIO_new_connect(s->address);
	SSL *ssl = SSL_new(s->ctx);

	assert_int_equal(BIO_do_connect(bio), 1);
	SSL_set_bio(ssl, bio, bio);
	if (s->alpn != NULL) {
		(void)SSL_set_alpn_protos(ssl, (const uint8_t *)s->alpn, (unsigned)strlen(s->alpn));
	}
	s->handshake = SSL_connect(ssl);
	s->first = s->handshake == 1 ? SSL_read(ssl, &s->byte, 1) : -1;
	SSL_free(ssl);
	(void)uv_async_send(&s->async);
}

static void stranger_on_done(uv_async_t *async)
{
	struct stranger *s = async->data;
	s->finished = true;
	s->w->done = true;
}

/* Let a stranger try; true: it was welcomed. */
static bool stranger_gets_in(struct pair *p, SSL_CTX *ctx, const char *alpn)
{
	struct stranger s = {
		.ctx = ctx, .address = et_tls_address(p->node[0]), .alpn = alpn, .w = &p->w
	};

	assert_int_equal(uv_async_init(&p->w.loop, &s.async, stranger_on_done), 0);
	s.async.data = &s;
	assert_int_equal(uv_thread_create(&s.thread, stranger_run, &s), 0);
	while (!s.finished) {
		world_run(&p->w);
	}
	assert_int_equal(uv_thread_join(&s.thread), 0);
	if (p->server != NULL) { /* Else it has seen the stranger go. */
		et_tls_conn_close(ET_TAKE(p->server), false);
	}
	uv_close((uv_handle_t *)&s.async, NULL);
	(void)uv_run(&p->w.loop, UV_RUN_NOWAIT);
	p->w.done = false;
	ERR_clear_error();
	return s.first == 1 && s.byte == WELCOME;
}

static SSL_CTX *stranger_context(const struct et_identity *id)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (id != NULL) {
		const uint8_t *der = id->cert.data;
		X509 *cert = d2i_X509(NULL, &der, (long)id->cert.size);
		EVP_PKEY *key = et_key_of(id->tls_key);
		assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
		X509_free(cert);
		EVP_PKEY_free(key);
	}
	return ctx;
}

#define WIRE_RAFT "\x0f" ET_ALPN_RAFT

static void refuses_old_tls_no_certificate_and_no_protocol(void **state)
{
	struct pair *p = *state;
	SSL_CTX *member = stranger_context(&p->id[1]);
	SSL_CTX *nobody = stranger_context(NULL);

	assert_true(stranger_gets_in(p, member, WIRE_RAFT)); /* The stranger itself works. */
	assert_false(stranger_gets_in(p, nobody, WIRE_RAFT));
	assert_int_equal(counts_of(p->node[0]).refused_untrusted, 1);
	assert_false(stranger_gets_in(p, member, NULL));
	assert_false(stranger_gets_in(p, member, "\x08http/1.1"));
	assert_int_equal(counts_of(p->node[0]).refused_protocol, 2);
	assert_int_equal(SSL_CTX_set_max_proto_version(member, TLS1_2_VERSION), 1);
	assert_false(stranger_gets_in(p, member, WIRE_RAFT));
	assert_int_equal(counts_of(p->node[0]).refused_protocol, 3);
	assert_null(p->server);
	SSL_CTX_free(member);
	SSL_CTX_free(nobody);
}

/* A certificate for `id`'s key with this SAN, signed by `ca_key`, or by itself when NULL. */
static void forge(const struct world *w, struct et_identity *id, const char *san, bool self)
{
	struct et_view bundle = { w->ca.data, w->ca.size };
	bool bad = false;
	EVP_PKEY *key = et_key_of(id->tls_key);
	EVP_PKEY *ca_key = et_key_of(w->ca_key);
	X509 *ca = et_cert_next(&bundle, &bad);
	X509 *cert = X509_new();
	X509V3_CTX ctx;

	assert_int_equal(X509_set_version(cert, X509_VERSION_3), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 77), 1);
	assert_non_null(ASN1_TIME_set(X509_getm_notBefore(cert), time(NULL) - 60));
	assert_non_null(ASN1_TIME_set(X509_getm_notAfter(cert), time(NULL) + 3600));
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN",
						    MBSTRING_UTF8, (const uint8_t *)"forged", -1,
						    -1, 0),
			 1);
	assert_int_equal(X509_set_issuer_name(cert, X509_get_subject_name(self ? cert : ca)), 1);
	assert_int_equal(X509_set_pubkey(cert, key), 1);
	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, self ? cert : ca, cert, NULL, NULL, 0);
	if (san != NULL) {
		X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, san);
		assert_non_null(e);
		assert_int_equal(X509_add_ext(cert, e, -1), 1);
		X509_EXTENSION_free(e);
	}
	assert_true(X509_sign(cert, self ? key : ca_key, EVP_sha256()) > 0);
	et_buffer_release(&id->cert);
	int size = i2d_X509(cert, NULL);
	uint8_t *out = et_buffer_reserve(&id->cert, (size_t)size);
	assert_int_equal(i2d_X509(cert, &out), size);
	id->cert.size = (size_t)size;
	X509_free(cert);
	X509_free(ca);
	EVP_PKEY_free(key);
	EVP_PKEY_free(ca_key);
}

static void refuses_certificates_that_name_no_member_of_ours(void **state)
{
	struct pair *p = *state;
	static const char *const names[] = {
		NULL,
		"DNS:node2.example",
		"URI:spiffe://other/site/prg/node/2",
		"URI:spiffe://acme/site/prg/node/02",
		"URI:spiffe://acme/site/prg/node/0",
		"URI:spiffe://acme/site/prg/node/",
		"URI:spiffe://acme/site/prg/node/2x",
		"URI:spiffe://acme/site/prg/node/99999999999999999999",
		"URI:spiffe://acme/site//node/2",
		"URI:spiffe://acme/site/PRG/node/2",
		"URI:https://acme/site/prg/node/2",
		"URI:spiffe://acme/site/prg/node/2,URI:spiffe://acme/site/prg/node/1",
	};
	struct et_identity id;
	identity_make(&p->w, 2, &id);

	for (size_t i = 0; i < ET_ARRAY_SIZE(names); i++) {
		forge(&p->w, &id, names[i], false);
		SSL_CTX *ctx = stranger_context(&id);
		assert_false(stranger_gets_in(p, ctx, WIRE_RAFT));
		assert_int_equal(counts_of(p->node[0]).refused_untrusted, i + 1);
		SSL_CTX_free(ctx);
	}
	forge(&p->w, &id, "URI:spiffe://acme/site/prg/node/2", true); /* Self-signed. */
	SSL_CTX *ctx = stranger_context(&id);
	assert_false(stranger_gets_in(p, ctx, WIRE_RAFT));
	SSL_CTX_free(ctx);
	assert_int_equal(counts_of(p->node[0]).refused_untrusted, ET_ARRAY_SIZE(names) + 1);

	forge(&p->w, &id, "URI:spiffe://acme/site/prg/node/2", false); /* And the right one. */
	ctx = stranger_context(&id);
	assert_true(stranger_gets_in(p, ctx, WIRE_RAFT));
	SSL_CTX_free(ctx);
	et_identity_release(&id);
}

/* ---- Cutting ---- */

static void a_recheck_cuts_who_is_no_member_any_more(void **state)
{
	struct pair *p = *state;

	join_up(p);
	et_tls_recheck(p->node[0]);
	et_tls_conn_write(p->client, "x", 1);
	p->wait_server = 1;
	world_run(&p->w);
	assert_int_equal(p->got[0].size, 1);

	p->revoked = 2;
	et_tls_recheck(p->node[0]);
	assert_int_equal(p->ends[0], 0); /* Never inside the call. */
	while (p->ends[0] == 0 || p->ends[1] == 0) {
		world_run(&p->w);
	}
	assert_int_equal(p->end_code[0], ET_EUNTRUSTED);
	assert_int_equal(p->ends[1], 1);
	assert_int_equal(counts_of(p->node[0]).cut, 1);
}

static void a_recheck_tells_who_lost_its_ca(void **state)
{
	struct pair *p = *state;
	struct et_identity fresh;
	struct et_secret *key = NULL;

	join_up(p);
	p->refuse_unchained = true;
	et_tls_recheck(p->node[0]);
	assert_int_equal(counts_of(p->node[0]).cut, 0);
	assert_int_equal(et_identity_copy(&p->id[0], &fresh), 0);
	fresh.ca.size = 0;
	assert_int_equal(et_ca_make(CLUSTER, &key, &fresh.ca, NULL), 0); /* another one only */
	assert_int_equal(et_tls_set_identity(p->node[0], &fresh, NULL), 0);
	et_tls_recheck(p->node[0]);
	assert_int_equal(counts_of(p->node[0]).cut, 1);
	while (p->ends[0] == 0 || p->ends[1] == 0) {
		world_run(&p->w);
	}
	et_identity_release(&fresh);
	(void)et_secret_free(key);
}

static void stopping_tells_owners_and_pending_connects(void **state)
{
	struct pair *p = *state;

	join_up(p);
	p->connect_calls = 0;
	struct et_tls_conn *first = p->client;
	et_tls_connect(p->node[1], 1, et_tls_address(p->node[0]), ET_ALPN_RAFT, on_connect, p);
	et_tls_stop(ET_TAKE(p->node[1]), node_on_stopped, &p->w);
	assert_int_equal(p->connect_calls, 1);
	assert_int_equal(p->connect_code, ET_ECLOSED);
	p->client = first;
	while (p->ends[1] == 0 || p->w.stopped == 0) {
		world_run(&p->w);
	}
	assert_int_equal(p->end_code[1], ET_ECLOSED);
}

/* ---- Floods ---- */

static int plain_connect(struct pair *p)
{
	struct sockaddr_storage a;
	unsigned size = 0;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(tls_address_parse(et_tls_address(p->node[0]), &a, &size));
	assert_int_equal(connect(fd, (struct sockaddr *)&a, size), 0);
	return fd;
}

static void half_open_floods_are_bounded(void **state)
{
	struct pair *p = *state;
	int fds[HANDSHAKES_OF_ADDRESS_MAX + 20];

	for (size_t i = 0; i < ET_ARRAY_SIZE(fds); i++) {
		fds[i] = plain_connect(p);
		(void)uv_run(&p->w.loop, UV_RUN_NOWAIT);
	}
	for (int i = 0; i < 50; i++) {
		(void)uv_run(&p->w.loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(counts_of(p->node[0]).refused_busy, 20);
	/* The refused ones are closed, the others are waited for. */
	char byte = 0;
	assert_int_equal(recv(fds[ET_ARRAY_SIZE(fds) - 1], &byte, 1, 0), 0);
	assert_int_equal(recv(fds[0], &byte, 1, MSG_DONTWAIT), -1);
	for (size_t i = 0; i < ET_ARRAY_SIZE(fds); i++) {
		(void)close(fds[i]);
	}
	/* When they are gone there is room for a member again. */
	for (int i = 0; i < 200; i++) {
		(void)uv_run(&p->w.loop, UV_RUN_NOWAIT);
	}
	join_up(p);
	assert_int_equal(p->connect_code, 0);
}

static void a_silent_stranger_is_dropped_after_five_seconds(void **state)
{
	struct pair *p = *state;
	uint64_t t0 = uv_now(&p->w.loop);
	int fd = plain_connect(p);

	while (counts_of(p->node[0]).handshake_timeouts == 0) {
		assert_true(uv_now(&p->w.loop) - t0 < 8000);
		(void)uv_run(&p->w.loop, UV_RUN_ONCE);
	}
	assert_true(uv_now(&p->w.loop) - t0 >= HANDSHAKE_TIMEOUT_MS - 50);
	(void)close(fd);
}

static void garbage_is_refused(void **state)
{
	struct pair *p = *state;
	int fd = plain_connect(p);

	assert_int_equal(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 18);
	while (counts_of(p->node[0]).refused_protocol == 0) {
		(void)uv_run(&p->w.loop, UV_RUN_ONCE);
	}
	(void)close(fd);
	join_up(p);
	assert_int_equal(p->connect_code, 0);
}

/* ---- Bytes in every split, through a slow man in the middle ---- */

struct slow {
	struct pair *p;
	int listen_fd;
	int fds[2];
	uv_thread_t thread;
	unsigned step; /* bytes passed on at a time */
	char address[ET_ADDRESS_MAX];
};

static void slow_run(void *arg)
{
	struct slow *s = arg;
	uint8_t buffer[4096];

	s->fds[0] = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	s->fds[1] = plain_connect(s->p);
	assert_int_equal(fcntl(s->fds[1], F_SETFL, O_NONBLOCK), 0);
	const int one = 1;
	(void)setsockopt(s->fds[0], IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof(one));
	(void)setsockopt(s->fds[1], IPPROTO_TCP, 1, &one, sizeof(one));
	for (bool open = true; open;) {
		struct pollfd fds[2] = { { .fd = s->fds[0], .events = POLLIN },
					 { .fd = s->fds[1], .events = POLLIN } };
		(void)poll(fds, 2, 1000);
		for (int i = 0; i < 2; i++) {
			if (fds[i].revents == 0) {
				continue;
			}
			ssize_t n = recv(s->fds[i], buffer, s->step, 0);
			open = open && (n > 0 || (n < 0 && errno == EAGAIN));
			if (n > 0) {
				(void)send(s->fds[1 - i], buffer, (size_t)n, MSG_NOSIGNAL);
			}
		}
	}
	(void)close(s->fds[0]);
	(void)close(s->fds[1]);
	(void)close(s->listen_fd);
}

static void run_through(struct pair *p, unsigned step)
{
	struct slow s = { .p = p, .step = step };
	struct sockaddr_storage a;
	unsigned size = 0;
	socklen_t got = sizeof(a);
	uint8_t message[300];

	assert_true(tls_address_parse("127.0.0.1:0", &a, &size));
	s.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s.listen_fd, (struct sockaddr *)&a, size), 0);
	assert_int_equal(listen(s.listen_fd, 1), 0);
	assert_int_equal(getsockname(s.listen_fd, (struct sockaddr *)&a, &got), 0);
	tls_address_format(&a, s.address);
	assert_int_equal(uv_thread_create(&s.thread, slow_run, &s), 0);

	p->connect_calls = 0;
	p->echo = true;
	p->wait_client = sizeof(message);
	p->got[1].size = 0;
	et_tls_connect(p->node[1], 1, s.address, ET_ALPN_RAFT, on_connect, p);
	world_run(&p->w);
	assert_int_equal(p->connect_code, 0);
	for (size_t i = 0; i < sizeof(message); i++) {
		message[i] = (uint8_t)(i * step);
	}
	et_tls_conn_write(p->client, message, sizeof(message));
	world_run(&p->w);
	assert_int_equal(p->got[1].size, sizeof(message));
	assert_memory_equal(p->got[1].data, message, sizeof(message));
	int ends = p->ends[0];
	et_tls_conn_close(ET_TAKE(p->client), false);
	while (p->ends[0] == ends) {
		world_run(&p->w);
	}
	assert_int_equal(uv_thread_join(&s.thread), 0);
}

static void bytes_may_come_in_every_split(void **state)
{
	static const unsigned steps[] = { 1, 2, 3, 5, 7, 16, 61, 255, 1000, 4096 };

	for (size_t i = 0; i < ET_ARRAY_SIZE(steps); i++) {
		run_through(*state, steps[i]);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(members_talk_and_know_each_other),
		TEST(both_sides_export_the_same_secret),
		TEST(a_flushed_close_delivers_all_and_ends_in_order),
		TEST(a_cut_line_is_no_orderly_end),
		TEST(an_identity_is_swapped_under_open_connections),
		TEST(refuses_a_revoked_node_on_either_side),
		TEST(expiry_is_for_the_member_check_to_judge),
		TEST(a_certificate_of_the_future_is_judged_as_an_expired_one),
		TEST(refuses_another_ca_in_both_directions),
		TEST(a_recorded_key_counts_whatever_the_ca),
		TEST(refuses_another_node_than_was_asked_for),
		TEST(refuses_a_protocol_that_nobody_serves),
		TEST(tells_when_nobody_listens),
		TEST(refuses_old_tls_no_certificate_and_no_protocol),
		TEST(refuses_certificates_that_name_no_member_of_ours),
		TEST(a_recheck_cuts_who_is_no_member_any_more),
		TEST(a_recheck_tells_who_lost_its_ca),
		TEST(stopping_tells_owners_and_pending_connects),
		TEST(half_open_floods_are_bounded),
		TEST(a_silent_stranger_is_dropped_after_five_seconds),
		TEST(garbage_is_refused),
		TEST(bytes_may_come_in_every_split),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
