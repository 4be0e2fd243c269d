/* TLS for strangers: against a client of OpenSSL's, in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
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

static void extension_add(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
	assert_non_null(e);
	assert_int_equal(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

/* Of `name` and `key`, in force for so long; with `by` (else itself) as who issued it, signed with
 * `signer`. `use`: "CA", for what it is (EKU), or NULL: for anything. */
static X509 *certificate_by(const char *name, EVP_PKEY *key, long seconds, const X509 *by,
			    EVP_PKEY *signer, const char *use)
{
	X509 *x = X509_new();
	assert_true(key != NULL && x != NULL);
	assert_int_equal(X509_set_version(x, X509_VERSION_3), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), 1), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x), -60));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x), seconds));
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
						    (const unsigned char *)name, -1, -1, 0),
			 1);
	assert_int_equal(X509_set_issuer_name(x, X509_get_subject_name(by != NULL ? by : x)), 1);
	assert_int_equal(X509_set_pubkey(x, key), 1);
	if (use != NULL && strcmp(use, "CA") == 0) {
		extension_add(x, NID_basic_constraints, "critical,CA:TRUE");
	} else if (use != NULL) {
		extension_add(x, NID_ext_key_usage, use);
	}
	assert_true(X509_sign(x, signer, EVP_sha256()) > 0);
	return x;
}

/* One that its own key signed. */
static X509 *certificate_of(EVP_PKEY *key)
{
	return certificate_by("srs", key, 3600, NULL, key, NULL);
}

static void certificates_write(const char *path, X509 *const *list, size_t count)
{
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(PEM_write_X509(f, list[i]), 1);
	}
	assert_int_equal(fclose(f), 0);
}

static void certificate_make(struct fixture *f)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	EVP_PKEY *other = EVP_EC_gen("P-256");
	X509 *x = certificate_of(key);
	certificates_write(f->certificate, &x, 1);
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
	shake_hands(f, 7);			   /* in small pieces */
	f->server = et_tls_server_free(f->server); /* its files were read again */
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

/* Says that it is `mine`, and signs with `theirs`. */
static EVP_PKEY *key_of_two(EVP_PKEY *mine, EVP_PKEY *theirs)
{
	OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	EVP_PKEY *key = NULL;
	BIGNUM *secret = NULL;
	uint8_t point[128];
	size_t size = 0;

	assert_int_equal(EVP_PKEY_get_octet_string_param(mine, OSSL_PKEY_PARAM_PUB_KEY, point,
							 sizeof(point), &size),
			 1);
	assert_int_equal(EVP_PKEY_get_bn_param(theirs, OSSL_PKEY_PARAM_PRIV_KEY, &secret), 1);
	assert_int_equal(OSSL_PARAM_BLD_push_utf8_string(b, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0),
			 1);
	assert_int_equal(OSSL_PARAM_BLD_push_octet_string(b, OSSL_PKEY_PARAM_PUB_KEY, point, size),
			 1);
	assert_int_equal(OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_PRIV_KEY, secret), 1);
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(b);
	assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
	assert_int_equal(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params), 1);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(b);
	EVP_PKEY_CTX_free(ctx);
	BN_free(secret);
	return key;
}

/* The file has an intermediate CA, whose root is not there, and a client's own certificate. */
static void looks_at_what_the_certificate_is(void **state)
{
	struct fixture *f = *state;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	EVP_PKEY *stranger = EVP_EC_gen("P-256");
	X509 *root = certificate_by("root", stranger, 3600, NULL, stranger, "CA");
	X509 *ca = certificate_by("ca", key, 3600, root, stranger, "CA");
	X509 *own = certificate_by("own", key, 3600, NULL, key, NULL);
	EVP_PKEY *stolen = key_of_two(key, stranger);
	X509 *good = certificate_by("good", key, 3600, ca, key, "clientAuth");
	struct {
		X509 *x;
		EVP_PKEY *key;
		int rc;
	} cases[] = {
		{ good, key, 0 },
		{ certificate_by("any use", key, 3600, ca, key, NULL), key, 0 },
		{ own, key, 0 },
		{ certificate_by("server", key, 3600, ca, key, "serverAuth"), key, ET_EDENIED },
		{ certificate_by("expired", key, -30, ca, key, "clientAuth"), key, ET_EDENIED },
		{ certificate_by("forged", stranger, 3600, ca, stranger, "clientAuth"), stranger,
		  ET_EDENIED },
		{ certificate_by("of no CA", stranger, 3600, own, key, "clientAuth"), stranger,
		  ET_EDENIED },
		{ good, stolen, ET_EDENIED }, /* without its key */
	};
	struct et_error error;
	f->end = et_tls_server_close(f->end);
	f->server = et_tls_server_free(f->server);
	certificates_write(f->other, (X509 *const[]){ own, ca }, 2);
	assert_int_equal(et_tls_server_new(f->certificate, f->key, f->other, &f->server, &error),
			 0);
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
			print_message("case %zu, version %x\n", i, (unsigned)version);
			assert_int_equal(shake_hands_as(f, cases[i].x, cases[i].key, version),
					 cases[i].rc);
		}
	}
	/* a chain that is long to look through */
	for (int i = 0; i < 100; i++) {
		assert_int_equal(SSL_CTX_add_extra_chain_cert(f->ctx, certificate_of(stranger)), 1);
	}
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		assert_int_equal(shake_hands_as(f, good, key, version), ET_EDENIED);
	}
	for (size_t i = 1; i < ET_ARRAY_SIZE(cases) - 1; i++) {
		X509_free(cases[i].x);
	}
	X509_free(good);
	X509_free(ca);
	X509_free(root);
	EVP_PKEY_free(stolen);
	EVP_PKEY_free(key);
	EVP_PKEY_free(stranger);
}

/* A group that costs us a hundred times what it costs who asks for it. */
static void has_no_group_that_is_dear(void **state)
{
	struct fixture *f = *state;
	char dear[] = "ffdhe8192:ffdhe2048"; /* OpenSSL's macro takes no constant */
	char both[] = "ffdhe8192:P-384";
	assert_int_equal(SSL_set1_groups_list(f->client, dear), 1);
	assert_int_equal(shake_hands_as(f, NULL, NULL, TLS1_3_VERSION), ET_ECLOSED);
	assert_int_equal(SSL_set1_groups_list(f->client, both), 1);
	assert_int_equal(shake_hands_as(f, NULL, NULL, TLS1_3_VERSION), 0);
}

/* Each is answered, which costs us more than it costs who asks. */
static void has_its_keys_updated_so_often_and_no_more(void **state)
{
	struct fixture *f = *state;
	shake_hands(f, 4096);
	for (int i = 0; i < 64; i++) {
		assert_int_equal(SSL_key_update(f->client, SSL_KEY_UPDATE_REQUESTED), 1);
		assert_int_equal(SSL_write(f->client, "x", 1), 1);
		assert_int_equal(exchange(f, 4096), 0);
		assert_int_equal(f->heard_size, i + 1);
		char back[1];
		assert_int_equal(SSL_read(f->client, back, 1), 1);
	}
	assert_int_equal(SSL_key_update(f->client, SSL_KEY_UPDATE_REQUESTED), 1);
	assert_int_equal(SSL_write(f->client, "x", 1), 1);
	assert_int_equal(exchange(f, 4096), ET_ECLOSED);
}

/* By TLS 1.2: it is told that there is none, and may go on; but not for ever. */
static void shakes_hands_once(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(SSL_set_max_proto_version(f->client, TLS1_2_VERSION), 1);
	shake_hands(f, 4096);
	assert_int_equal(SSL_renegotiate(f->client), 1);
	assert_int_equal(SSL_do_handshake(f->client), -1);
	assert_int_equal(exchange(f, 4096), 0);
	assert_true(et_tls_server_is_open(f->end));
	assert_int_equal(SSL_do_handshake(f->client), -1);
	assert_int_equal(SSL_get_error(f->client, -1), SSL_ERROR_SSL);
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
		cmocka_unit_test_setup_teardown(looks_at_what_the_certificate_is, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(has_no_group_that_is_dear, set_up, tear_down),
		cmocka_unit_test_setup_teardown(has_its_keys_updated_so_often_and_no_more, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(shakes_hands_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_tls_ends_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(says_what_is_wrong_with_its_files, set_up,
						tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
