/* TLS for strangers: against a client of OpenSSL's, in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/tls/server.h"

struct fixture {
	char folder[32];
	char certificate[64];
	char key[64];
	char other[64]; /* a key of nobody's */
	struct et_tls_server *server;
	struct et_tls_server_end *end;
	SSL_CTX *ctx;
	SSL *client;
	BIO *in;
	BIO *out;
	char heard[65536];
	size_t heard_size;
};

static void key_write(const char *path, EVP_PKEY *key)
{
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(f), 0);
}

/* One that its own key signed. */
static X509 *certificate_of(EVP_PKEY *key)
{
	X509 *x = X509_new();
	assert_true(key != NULL && x != NULL);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), 1), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x), -60));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x), 3600));
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
						    (const unsigned char *)"srs", -1, -1, 0),
			 1);
	assert_int_equal(X509_set_issuer_name(x, X509_get_subject_name(x)), 1);
	assert_int_equal(X509_set_pubkey(x, key), 1);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	return x;
}

static void certificate_make(struct fixture *f)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	EVP_PKEY *other = EVP_EC_gen("P-256");
	X509 *x = certificate_of(key);
	FILE *file = fopen(f->certificate, "we");
	assert_non_null(file);
	assert_int_equal(PEM_write_X509(file, x), 1);
	assert_int_equal(fclose(file), 0);
	key_write(f->key, key);
	key_write(f->other, other);
	X509_free(x);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct et_error error;
	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/et_tls_server.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	(void)snprintf(f->certificate, sizeof(f->certificate), "%s/cert.pem", f->folder);
	(void)snprintf(f->key, sizeof(f->key), "%s/key.pem", f->folder);
	(void)snprintf(f->other, sizeof(f->other), "%s/other.pem", f->folder);
	certificate_make(f);
	assert_int_equal(et_tls_server_new(f->certificate, f->key, NULL, &f->server, &error), 0);
	f->end = et_tls_server_accept(f->server);
	assert_non_null(f->end);
	f->ctx = SSL_CTX_new(TLS_client_method());
	f->client = SSL_new(f->ctx);
	f->in = BIO_new(BIO_s_mem());
	f->out = BIO_new(BIO_s_mem());
	(void)BIO_set_mem_eof_return(f->in, -1);
	SSL_set_bio(f->client, f->in, f->out);
	SSL_set_connect_state(f->client);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	SSL_free(f->client);
	SSL_CTX_free(f->ctx);
	(void)et_tls_server_close(f->end);
	(void)et_tls_server_free(f->server);
	(void)unlink(f->certificate);
	(void)unlink(f->key);
	(void)unlink(f->other);
	assert_int_equal(rmdir(f->folder), 0);
	free(f);
	return 0;
}

/* Says back what it hears. */
static void on_plain(void *arg, struct et_view plain)
{
	struct fixture *f = arg;
	assert_true(f->heard_size + plain.size <= sizeof(f->heard));
	memcpy(f->heard + f->heard_size, plain.data, plain.size);
	f->heard_size += plain.size;
	assert_int_equal(et_tls_server_write(f->end, plain), 0);
}

/* All bytes that wait, both ways, `piece` at a time. */
static int exchange(struct fixture *f, int piece)
{
	uint8_t bytes[4096];
	struct et_buffer out = { .data = NULL };
	int rc = 0;
	for (int n = 0; rc == 0 && (n = BIO_read(f->out, bytes, piece)) > 0;) {
		rc = et_tls_server_read(f->end, (struct et_view){ bytes, (size_t)n }, on_plain, f);
	}
	et_tls_server_take(f->end, &out);
	if (out.size > 0) {
		assert_int_equal(BIO_write(f->in, out.data, (int)out.size), (int)out.size);
	}
	et_buffer_release(&out);
	return rc;
}

static void shake_hands(struct fixture *f, int piece)
{
	for (int i = 0; i < 10 && SSL_do_handshake(f->client) != 1; i++) {
		assert_int_equal(exchange(f, piece), 0);
	}
	assert_int_equal(exchange(f, piece), 0);
	assert_int_equal(SSL_is_init_finished(f->client), 1);
	assert_true(et_tls_server_is_open(f->end));
}

static void talks_to_a_client(void **state)
{
	struct fixture *f = *state;
	static char said[40000];
	static char back[sizeof(said)];
	for (size_t i = 0; i < sizeof(said); i++) {
		said[i] = (char)(i * 7);
	}
	shake_hands(f, 7); /* in small pieces */
	assert_int_equal(SSL_write(f->client, said, sizeof(said)), sizeof(said));
	assert_int_equal(exchange(f, 4096), 0);
	assert_int_equal(f->heard_size, sizeof(said));
	assert_memory_equal(f->heard, said, sizeof(said));
	size_t size = 0;
	for (int n = 0; (n = SSL_read(f->client, back + size, (int)(sizeof(back) - size))) > 0;) {
		size += (size_t)n;
	}
	assert_int_equal(size, sizeof(said));
	assert_memory_equal(back, said, sizeof(said));
	(void)SSL_shutdown(f->client);
	assert_int_equal(exchange(f, 4096), ET_ECLOSED);
}

static void speaks_tls_1_2_and_nothing_older(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(SSL_set_max_proto_version(f->client, TLS1_2_VERSION), 1);
	shake_hands(f, 4096);
	assert_string_equal(SSL_get_version(f->client), "TLSv1.2");
}

/* What the handshake ends with at the server, for a client with that certificate. */
static int shake_hands_as(struct fixture *f, X509 *x, EVP_PKEY *key, int version)
{
	int rc = 0;
	assert_int_equal(SSL_clear(f->client), 1);
	SSL_set_connect_state(f->client);
	(void)BIO_reset(f->in);
	(void)BIO_reset(f->out);
	SSL_certs_clear(f->client);
	if (x != NULL) {
		assert_int_equal(SSL_use_certificate(f->client, x), 1);
		assert_int_equal(SSL_use_PrivateKey(f->client, key), 1);
	}
	assert_int_equal(SSL_set_max_proto_version(f->client, version), 1);
	f->end = et_tls_server_close(f->end);
	f->end = et_tls_server_accept(f->server);
	assert_non_null(f->end);
	for (int i = 0; i < 10 && rc == 0 && !et_tls_server_is_open(f->end); i++) {
		(void)SSL_do_handshake(f->client);
		rc = exchange(f, 4096);
	}
	assert_int_equal(rc == 0, et_tls_server_is_open(f->end));
	return rc;
}

static void takes_who_has_a_certificate_of_its_ca(void **state)
{
	struct fixture *f = *state;
	EVP_PKEY *stranger = EVP_EC_gen("P-256");
	EVP_PKEY *known = NULL;
	X509 *theirs = certificate_of(stranger);
	X509 *ours = NULL;
	struct et_error error;
	FILE *file = fopen(f->certificate, "re");
	assert_true(file != NULL && (ours = PEM_read_X509(file, NULL, NULL, NULL)) != NULL);
	assert_int_equal(fclose(file), 0);
	file = fopen(f->key, "re");
	assert_true(file != NULL && (known = PEM_read_PrivateKey(file, NULL, NULL, NULL)) != NULL);
	assert_int_equal(fclose(file), 0);
	f->end = et_tls_server_close(f->end);
	f->server = et_tls_server_free(f->server);
	assert_int_equal(
		et_tls_server_new(f->certificate, f->key, f->certificate, &f->server, &error), 0);
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		assert_int_equal(shake_hands_as(f, NULL, NULL, version), ET_EDENIED);
		assert_int_equal(shake_hands_as(f, theirs, stranger, version), ET_EDENIED);
		assert_int_equal(shake_hands_as(f, ours, known, version), 0);
	}
	X509_free(ours);
	X509_free(theirs);
	EVP_PKEY_free(known);
	EVP_PKEY_free(stranger);
}

static void what_is_no_tls_ends_it(void **state)
{
	struct fixture *f = *state;
	struct et_view text = { (const uint8_t *)"OPTIONS sip:h SIP/2.0\r\n\r\n", 25 };
	assert_int_equal(et_tls_server_write(f->end, text), ET_ECLOSED); /* before the handshake */
	assert_int_equal(et_tls_server_read(f->end, text, on_plain, f), ET_ECLOSED);
	assert_int_equal(f->heard_size, 0);
}

static void says_what_is_wrong_with_its_files(void **state)
{
	struct fixture *f = *state;
	struct et_tls_server *s = NULL;
	struct et_error error;
	assert_int_equal(et_tls_server_new("/nowhere", f->key, NULL, &s, &error), -ENOENT);
	assert_int_equal(et_tls_server_new(f->certificate, "/nowhere", NULL, &s, &error), -ENOENT);
	assert_int_equal(et_tls_server_new(f->key, f->key, NULL, &s, &error), ET_EMALFORMED);
	assert_int_equal(et_tls_server_new(f->certificate, f->other, NULL, &s, &error),
			 ET_EMALFORMED);
	assert_int_equal(et_tls_server_new(f->certificate, f->key, "/nowhere", &s, &error),
			 -ENOENT);
	assert_int_equal(et_tls_server_new(f->certificate, f->key, f->key, &s, &error),
			 ET_EMALFORMED);
	assert_null(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(talks_to_a_client, set_up, tear_down),
		cmocka_unit_test_setup_teardown(speaks_tls_1_2_and_nothing_older, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(takes_who_has_a_certificate_of_its_ca, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_tls_ends_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(says_what_is_wrong_with_its_files, set_up,
						tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
