/* The recording server and clients of TLS that do not read what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "node/capture/test/srs_kit.h"

enum { KEPT_MAX = 1024 * 1024 }; /* four times what may wait for one peer */

/* A certificate that its own key signed, and the key, in one file. */
static struct et_tls_server *server_make(void)
{
	char path[] = "/tmp/et_srs_tls.XXXXXX";
	const int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	struct et_tls_server *server = NULL;
	struct et_error e;
	assert_true(f != NULL && key != NULL && x != NULL);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x), -60));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x), 3600));
	assert_int_equal(X509_set_pubkey(x, key), 1);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_X509(f, x), 1);
	assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(f), 0);
	X509_free(x);
	EVP_PKEY_free(key);
	assert_int_equal(et_tls_server_new(path, path, NULL, &server, &e), 0);
	assert_int_equal(unlink(path), 0);
	return server;
}

/* A connection to the second listen, with little room in the kernel either way. */
static int connect_narrow(struct fixture *f)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(f->s->listens[1].port) };
	const int fd = client_open(SOCK_STREAM);
	const int little = 4096;
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_true(fcntl(fd, F_SETFL, O_NONBLOCK) >= 0);
	run(f, 1000);
	assert_int_equal(f->s->connection_count, 1);
	assert_int_equal(
		setsockopt(f->s->connections[0].fd, SOL_SOCKET, SO_SNDBUF, &little, sizeof(little)),
		0);
	return fd;
}

/* TLS answers some messages by itself: what waits is bounded all the same. */
static void who_has_keys_updated_and_reads_nothing_is_closed(void **state)
{
	struct fixture *f = make(4, 2);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	(void)state;
	f->s->tls = server_make();
	f->s->listens[1].transport = ET_TRANSPORT_TLS;
	const int fd = connect_narrow(f);
	assert_int_equal(SSL_set_fd(ssl, fd), 1);
	assert_int_equal(SSL_set_min_proto_version(ssl, TLS1_3_VERSION), 1);
	for (int i = 0; i < 100 && SSL_connect(ssl) != 1; i++) {
		run(f, 1000);
	}
	run(f, 1000);
	assert_true(f->s->connections[0].is_in);
	for (int i = 0; i < 100000 && f->s->connection_count == 1; i++) {
		if (SSL_get_key_update_type(ssl) == SSL_KEY_UPDATE_NONE) {
			(void)SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
		}
		(void)SSL_do_handshake(ssl);
		run(f, 10);
		assert_true(f->s->connections[0].out.size < KEPT_MAX);
	}
	assert_int_equal(f->s->connection_count, 0);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	(void)close(fd);
	done(f);
}

/* Something always waits for who reads slowly: what he has read is not kept. */
static void what_was_sent_to_who_reads_slowly_is_not_kept(void **state)
{
	struct fixture *f = make(4, 2);
	const int fd = connect_narrow(f);
	const struct et_srs_connection *c = &f->s->connections[0];
	struct message m = first;
	static char back[65536];
	uint64_t sent = 0;
	(void)state;
	m.method = "OPTIONS";
	m.transport = "TCP";
	m.headers = "";
	m.sdp = NULL;
	m.metadata = NULL;
	while (sent < 8ULL * KEPT_MAX) {
		const size_t waits = c->out.size - c->out_at;
		if (waits < 65536) {
			m.branch++;
			const char *text = message_text(f, &m);
			ssize_t n = send(fd, text, strlen(text), 0);
			assert_int_equal(n, (ssize_t)strlen(text));
			sent += (uint64_t)n;
		} else {
			(void)recv(fd, back, sizeof(back), 0);
		}
		run(f, 10);
		assert_int_equal(f->s->connection_count, 1);
		assert_true(c->out.size < KEPT_MAX);
	}
	(void)close(fd);
	done(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_has_keys_updated_and_reads_nothing_is_closed),
		cmocka_unit_test(what_was_sent_to_who_reads_slowly_is_not_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
