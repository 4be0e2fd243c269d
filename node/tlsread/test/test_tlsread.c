/* A listener between two real endpoints (OpenSSL, in memory): every suite, cut anywhere, keys that
 * come late, updates of keys, resumption, gaps, forged records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/defs.h"
#include "node/tlsread/tlsread.h"

static EVP_PKEY *keys[2]; /* EC, RSA */
static X509 *certificates[2];

struct fixture {
	SSL_CTX *context[2]; /* client, server */
	SSL *ssl[2];
	struct et_tlsread *t;
	struct et_keylog *log;
	struct et_buffer secrets; /* lines that the log does not have yet */
	bool late;		  /* they come when the test says so */
	size_t cut;		  /* bytes of a feed; 0: as they come */
	bool drop;		  /* what is said now is not heard */
	unsigned flags;
	int64_t time_us;  /* counts feeds */
	int64_t heard_us; /* of what was heard last */
	char heard[2][8192];
	size_t heard_size[2];
};

static void make_certificate(int i)
{
	keys[i] = i == 0 ? EVP_EC_gen("P-256") : EVP_RSA_gen(1024);
	X509 *x = X509_new();
	assert_non_null(keys[i]);
	assert_non_null(x);
	(void)X509_set_version(x, 2);
	(void)ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	(void)X509_gmtime_adj(X509_getm_notBefore(x), -60);
	(void)X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	(void)X509_set_pubkey(x, keys[i]);
	assert_true(X509_sign(x, keys[i], EVP_sha256()) > 0);
	certificates[i] = x;
}

static void on_line(const SSL *ssl, const char *line)
{
	struct fixture *f = SSL_get_app_data(ssl);
	et_buffer_add(&f->secrets, line, strlen(line));
	et_buffer_add8(&f->secrets, '\n');
	assert_false(f->secrets.failed);
}

static void give_secrets(struct fixture *f)
{
	if (f->secrets.size > 0) {
		assert_int_equal(et_keylog_add(f->log, f->secrets.data, f->secrets.size), 0);
		f->secrets.size = 0;
	}
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	assert_int_equal(et_keylog_new(1000, 1, &f->log, NULL), 0);
	assert_int_equal(et_tlsread_new(&f->t), 0);
	*state = f;
	return 0;
}

static void hang_up(struct fixture *f)
{
	for (int i = 0; i < 2; i++) {
		SSL_free(f->ssl[i]);
		SSL_CTX_free(f->context[i]);
		f->ssl[i] = NULL;
		f->context[i] = NULL;
		f->heard_size[i] = 0;
	}
	f->flags = 0;
	f->t = et_tlsread_free(f->t);
	assert_int_equal(et_tlsread_new(&f->t), 0);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	hang_up(f);
	f->t = et_tlsread_free(f->t);
	f->log = et_keylog_free(f->log);
	et_buffer_release(&f->secrets);
	free(f);
	return 0;
}

static void on_plain(void *arg, int from, int64_t time_us, struct et_view plain)
{
	struct fixture *f = arg;
	assert_true(time_us > f->heard_us && time_us <= f->time_us); /* as they spoke */
	f->heard_us = time_us;
	assert_true(f->heard_size[from] + plain.size <= sizeof(f->heard[from]));
	memcpy(f->heard[from] + f->heard_size[from], plain.data, plain.size);
	f->heard_size[from] += plain.size;
}

/* A copy of exactly that size: a read behind it is seen. */
static void listen(struct fixture *f, int from, const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size == 0 ? 1 : size);
	assert_non_null(copy);
	if (size > 0) {
		memcpy(copy, data, size);
	}
	f->flags |= et_tlsread_feed(f->t, f->log, from, ++f->time_us, copy, size, on_plain, f);
	free(copy);
}

/* What both have written goes to the other one, past the listener. */
static void pump(struct fixture *f)
{
	uint8_t b[65536];
	for (int i = 0; i < 2; i++) {
		int n = BIO_read(SSL_get_wbio(f->ssl[i]), b, sizeof(b));
		if (n <= 0) {
			continue;
		}
		assert_int_equal(BIO_write(SSL_get_rbio(f->ssl[1 - i]), b, n), n);
		if (!f->late) {
			give_secrets(f);
		}
		size_t step = f->cut != 0 ? f->cut : (size_t)n;
		for (size_t at = 0; at < (size_t)n && !f->drop; at += step) {
			listen(f, i, b + at, (size_t)n - at < step ? (size_t)n - at : step);
		}
	}
}

static void call(struct fixture *f, int version, const char *suite, int certificate,
		 SSL_SESSION *session)
{
	for (int i = 0; i < 2; i++) {
		SSL_CTX *c = SSL_CTX_new(i == 0 ? TLS_client_method() : TLS_server_method());
		assert_non_null(c);
		f->context[i] = c;
		(void)SSL_CTX_set_min_proto_version(c, version);
		(void)SSL_CTX_set_max_proto_version(c, version);
		SSL_CTX_set_security_level(c, 0);
		assert_int_equal(version == TLS1_3_VERSION ? SSL_CTX_set_ciphersuites(c, suite)
							   : SSL_CTX_set_cipher_list(c, suite),
				 1);
		SSL_CTX_set_keylog_callback(c, i == 0 ? on_line : NULL);
		if (i == 1) {
			(void)SSL_CTX_use_certificate(c, certificates[certificate]);
			(void)SSL_CTX_use_PrivateKey(c, keys[certificate]);
			(void)SSL_CTX_set_dh_auto(c, 1);
			(void)SSL_CTX_set_session_id_context(c, (const uint8_t *)"x", 1);
		}
		f->ssl[i] = SSL_new(c);
		assert_non_null(f->ssl[i]);
		SSL_set_bio(f->ssl[i], BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
		(void)SSL_set_app_data(f->ssl[i], f);
	}
	if (session != NULL) {
		(void)SSL_set_session(f->ssl[0], session);
	}
	SSL_set_connect_state(f->ssl[0]);
	SSL_set_accept_state(f->ssl[1]);
}

static void shake_hands(struct fixture *f)
{
	for (int i = 0; i < 20; i++) {
		(void)SSL_do_handshake(f->ssl[0]);
		pump(f);
		(void)SSL_do_handshake(f->ssl[1]);
		pump(f);
		if (SSL_is_init_finished(f->ssl[0]) && SSL_is_init_finished(f->ssl[1])) {
			return;
		}
	}
	ERR_print_errors_fp(stderr);
	fail_msg("no handshake");
}

static void say(struct fixture *f, int from, const char *text)
{
	char b[4096];
	assert_int_equal(SSL_write(f->ssl[from], text, (int)strlen(text)), (int)strlen(text));
	pump(f);
	(void)SSL_read(f->ssl[1 - from], b, sizeof(b));
	pump(f);
}

#define QUESTION "INVITE sip:b@x SIP/2.0\r\n\r\n"
#define ANSWER "SIP/2.0 200 OK\r\n\r\n"

static void heard(struct fixture *f, const char *client, const char *server)
{
	assert_int_equal(f->heard_size[0], strlen(client));
	assert_memory_equal(f->heard[0], client, strlen(client));
	assert_int_equal(f->heard_size[1], strlen(server));
	assert_memory_equal(f->heard[1], server, strlen(server));
}

/* With DHE only one: its handshakes are slow, and what comes after is the same. */
static const struct {
	const char *name;
	int version;
	int certificate;
} suites[] = {
	{ "TLS_AES_128_GCM_SHA256", TLS1_3_VERSION, 0 },
	{ "TLS_AES_256_GCM_SHA384", TLS1_3_VERSION, 0 },
	{ "TLS_CHACHA20_POLY1305_SHA256", TLS1_3_VERSION, 1 },
	{ "AES128-GCM-SHA256", TLS1_2_VERSION, 1 },
	{ "AES256-GCM-SHA384", TLS1_2_VERSION, 1 },
	{ "ECDHE-ECDSA-AES128-GCM-SHA256", TLS1_2_VERSION, 0 },
	{ "ECDHE-ECDSA-AES256-GCM-SHA384", TLS1_2_VERSION, 0 },
	{ "ECDHE-RSA-AES128-GCM-SHA256", TLS1_2_VERSION, 1 },
	{ "ECDHE-RSA-AES256-GCM-SHA384", TLS1_2_VERSION, 1 },
	{ "ECDHE-RSA-CHACHA20-POLY1305", TLS1_2_VERSION, 1 },
	{ "ECDHE-ECDSA-CHACHA20-POLY1305", TLS1_2_VERSION, 0 },
	{ "DHE-RSA-CHACHA20-POLY1305", TLS1_2_VERSION, 1 },
	{ "AES128-SHA", TLS1_2_VERSION, 1 },
	{ "AES256-SHA", TLS1_2_VERSION, 1 },
	{ "AES128-SHA256", TLS1_2_VERSION, 1 },
	{ "AES256-SHA256", TLS1_2_VERSION, 1 },
	{ "ECDHE-ECDSA-AES128-SHA", TLS1_2_VERSION, 0 },
	{ "ECDHE-ECDSA-AES256-SHA", TLS1_2_VERSION, 0 },
	{ "ECDHE-RSA-AES128-SHA", TLS1_2_VERSION, 1 },
	{ "ECDHE-RSA-AES256-SHA", TLS1_2_VERSION, 1 },
	{ "ECDHE-ECDSA-AES128-SHA256", TLS1_2_VERSION, 0 },
	{ "ECDHE-ECDSA-AES256-SHA384", TLS1_2_VERSION, 0 },
	{ "ECDHE-RSA-AES128-SHA256", TLS1_2_VERSION, 1 },
	{ "ECDHE-RSA-AES256-SHA384", TLS1_2_VERSION, 1 },
};

static void every_suite_is_read(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(suites); i++) {
		call(f, suites[i].version, suites[i].name, suites[i].certificate, NULL);
		if (i % 2 == 0) { /* CBC: encrypt-then-MAC, or not */
			(void)SSL_set_options(f->ssl[0], SSL_OP_NO_ENCRYPT_THEN_MAC);
		}
		f->cut = i % 3 == 0 ? 1 : i % 3 == 1 ? 100 : 0;
		shake_hands(f);
		say(f, 0, QUESTION);
		say(f, 1, ANSWER);
		say(f, 0, QUESTION);
		if (f->heard_size[0] == 0) {
			print_message("%s\n", suites[i].name);
		}
		heard(f, QUESTION QUESTION, ANSWER);
		assert_int_equal(f->flags & ~(unsigned)(ET_TLSREAD_DATA | ET_TLSREAD_HANDSHAKE), 0);
		assert_int_equal(et_tlsread_held(f->t, 0) + et_tlsread_held(f->t, 1), 0);
		hang_up(f);
	}
}

static void keys_may_come_late_and_change(void **state)
{
	struct fixture *f = *state;
	for (int i = 0; i < 2; i++) {
		call(f, suites[i * 5].version, suites[i * 5].name, 0, NULL);
		f->late = true;
		shake_hands(f);
		say(f, 0, QUESTION);
		say(f, 1, ANSWER);
		heard(f, "", "");
		assert_true(et_tlsread_is_waiting(f->t));
		assert_true(et_tlsread_held(f->t, 0) > 0);
		give_secrets(f);
		listen(f, 0, NULL, 0);
		heard(f, QUESTION, ANSWER);
		if (i == 0) { /* TLS 1.3 */
			assert_int_equal(SSL_key_update(f->ssl[0], SSL_KEY_UPDATE_REQUESTED), 1);
			say(f, 0, QUESTION);
			say(f, 1, ANSWER);
			say(f, 0, QUESTION);
			heard(f, QUESTION QUESTION QUESTION, ANSWER ANSWER);
		}
		assert_int_equal(f->flags & ET_TLSREAD_FAILED, 0);
		f->late = false;
		hang_up(f);
	}
}

static void a_session_that_is_resumed_is_read(void **state)
{
	struct fixture *f = *state;
	call(f, TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256", 1, NULL);
	shake_hands(f);
	say(f, 0, QUESTION);
	SSL_SESSION *session = SSL_get1_session(f->ssl[0]);
	SSL_CTX *server = f->context[1]; /* its ticket keys */
	(void)SSL_CTX_up_ref(server);
	for (int i = 0; i < 2; i++) { /* else OpenSSL would not resume it */
		SSL_set_shutdown(f->ssl[i], SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	}
	hang_up(f);
	call(f, TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256", 1, session);
	SSL_free(f->ssl[1]);
	f->ssl[1] = SSL_new(server);
	SSL_set_bio(f->ssl[1], BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	(void)SSL_set_app_data(f->ssl[1], f);
	SSL_set_accept_state(f->ssl[1]);
	shake_hands(f);
	assert_int_equal(SSL_session_reused(f->ssl[0]), 1);
	say(f, 1, ANSWER);
	say(f, 0, QUESTION);
	heard(f, QUESTION, ANSWER);
	SSL_SESSION_free(session);
	SSL_CTX_free(server);
}

static void a_gap_costs_what_is_in_it(void **state)
{
	struct fixture *f = *state;
	static const size_t some[] = { 0, 2, 6, 9, 13, 20 };
	for (size_t i = 0; i < ET_ARRAY_SIZE(some); i++) {
		call(f, suites[some[i]].version, suites[some[i]].name, suites[some[i]].certificate,
		     NULL);
		shake_hands(f);
		say(f, 0, QUESTION);
		f->drop = true;
		for (int k = 0; k < 10; k++) {
			say(f, 0, QUESTION);
		}
		f->drop = false;
		et_tlsread_gap(f->t, ET_TLSREAD_CLIENT);
		listen(f, 0, (const uint8_t *)"the end of a record", 19);
		say(f, 0, QUESTION);
		say(f, 1, ANSWER);
		heard(f, QUESTION QUESTION, ANSWER);
		hang_up(f);
	}
	/* The end of the handshake is in it, and a new epoch begins there. */
	call(f, TLS1_3_VERSION, suites[0].name, 0, NULL);
	(void)SSL_do_handshake(f->ssl[0]);
	pump(f);
	(void)SSL_do_handshake(f->ssl[1]);
	pump(f);
	f->drop = true;
	shake_hands(f);
	say(f, 0, QUESTION);
	f->drop = false;
	et_tlsread_gap(f->t, ET_TLSREAD_CLIENT);
	et_tlsread_gap(f->t, ET_TLSREAD_SERVER);
	say(f, 0, QUESTION);
	say(f, 1, ANSWER);
	heard(f, QUESTION, ANSWER);
}

static void what_is_forged_is_not_believed(void **state)
{
	struct fixture *f = *state;
	uint8_t record[5 + 100] = { 23, 3, 3, 0, 100 };
	call(f, TLS1_3_VERSION, suites[0].name, 0, NULL);
	shake_hands(f);
	say(f, 0, QUESTION);
	for (int i = 0; i < 5; i++) {
		listen(f, 0, record, sizeof(record));
	}
	assert_true((f->flags & ET_TLSREAD_FAILED) != 0);
	say(f, 0, QUESTION);
	heard(f, QUESTION QUESTION, "");
	for (int i = 0; i < 100; i++) {
		listen(f, 0, record, sizeof(record));
	}
	assert_true(et_tlsread_is_refused(f->t));
}

static void what_cannot_be_read_is_refused_and_holds_nothing(void **state)
{
	struct fixture *f = *state;
	call(f, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-CCM", 0, NULL);
	shake_hands(f);
	assert_true(et_tlsread_is_refused(f->t));
	hang_up(f);

	call(f, TLS1_3_VERSION, suites[0].name, 0, NULL); /* never a key */
	f->late = true;
	shake_hands(f);
	for (int i = 0; i < 5000 && !et_tlsread_is_refused(f->t); i++) {
		say(f, 0, QUESTION);
		assert_true(et_tlsread_held(f->t, 0) <= (size_t)256 * 1024);
	}
	assert_true(et_tlsread_is_refused(f->t));
	assert_true((f->flags & ET_TLSREAD_NO_KEY) != 0);
	assert_int_equal(et_tlsread_held(f->t, 0), 0);
	hang_up(f);

	f->late = false; /* joined in its middle */
	call(f, TLS1_3_VERSION, suites[0].name, 0, NULL);
	f->drop = true;
	shake_hands(f);
	f->drop = false;
	say(f, 0, QUESTION);
	assert_true(et_tlsread_is_refused(f->t));
	assert_false(et_tlsread_recognise((const uint8_t *)QUESTION, strlen(QUESTION)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_suite_is_read),
		TEST(keys_may_come_late_and_change),
		TEST(a_session_that_is_resumed_is_read),
		TEST(a_gap_costs_what_is_in_it),
		TEST(what_is_forged_is_not_believed),
		TEST(what_cannot_be_read_is_refused_and_holds_nothing),
	};
	for (int i = 0; i < 2; i++) {
		make_certificate(i);
	}
	int rc = cmocka_run_group_tests_name("node/tlsread/tlsread", tests, NULL, NULL);
	for (int i = 0; i < 2; i++) {
		X509_free(certificates[i]);
		EVP_PKEY_free(keys[i]);
	}
	return rc;
}
