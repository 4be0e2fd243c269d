#include "node/tls/server.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	RECORD_MAX = 16384,
	CHAIN_MAX = 16384, /* bytes of a client's certificates: 100 KB of them are 43 ms of ours */
	PIECE_MAX = 4096,  /* that is looked at before what it asked for is counted */
	ASKED_MAX = 64,	   /* for the life of a connection: no client of SIP has a use for more */
};

struct et_tls_server {
	SSL_CTX *ctx; /* owned */
};

struct et_tls_server_end {
	SSL *ssl;	/* owned; with both BIOs */
	BIO *in;	/* borrowed: of ssl */
	BIO *out;	/* borrowed: of ssl */
	unsigned asked; /* for other keys, or another handshake: each answered, 20 us of ours */
};

/* TLS 1.2 only with keys of its own for each session, and AEAD. */
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"
/* A client chooses: one handshake with ffdhe8192, which OpenSSL has by itself, is 100 ms of ours.
 */
#define GROUPS "X25519:P-256:P-384"

static SSL_CTX *context_new(void)
{
	char groups[] = GROUPS; /* OpenSSL's macro takes no constant */
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_cipher_list(ctx, CIPHERS) != 1 ||
	    SSL_CTX_set1_groups_list(ctx, groups) != 1 || SSL_CTX_set_num_tickets(ctx, 0) != 1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	(void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
					       SSL_OP_NO_COMPRESSION |
					       SSL_OP_CIPHER_SERVER_PREFERENCE);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	return ctx;
}

/* A service has nobody to ask for a passphrase. */
static int no_passphrase(char *buffer, int size, int writes, void *arg)
{
	(void)buffer;
	(void)size;
	(void)writes;
	(void)arg;
	return -1;
}

static int load_client_ca(SSL_CTX *ctx, const char *path, struct et_error *reterr)
{
	if (access(path, R_OK) < 0) {
		return et_fail(reterr, -errno, "CA of clients '%s'", path);
	}
	STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(path);
	if (names == NULL || SSL_CTX_load_verify_file(ctx, path) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return et_fail(reterr, ET_EMALFORMED, "CA of clients '%s'", path);
	}
	SSL_CTX_set_client_CA_list(ctx, names); /* takes them */
	/* Each in the file is trusted by itself: without it an intermediate one would need its
	 * root.
	 */
	(void)X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
	(void)SSL_CTX_set_max_cert_list(ctx, CHAIN_MAX);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return 0;
}

static int load(SSL_CTX *ctx, const char *certificate, const char *key, struct et_error *reterr)
{
	if (access(certificate, R_OK) < 0) {
		return et_fail(reterr, -errno, "certificate '%s'", certificate);
	}
	if (access(key, R_OK) < 0) {
		return et_fail(reterr, -errno, "key '%s'", key);
	}
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	if (SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1) {
		return et_fail(reterr, ET_EMALFORMED, "certificate '%s'", certificate);
	}
	if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(ctx) != 1) {
		return et_fail(reterr, ET_EMALFORMED, "key '%s', or it is of another certificate",
			       key);
	}
	return 0;
}

int et_tls_server_new(const char *certificate, const char *key, const char *client_ca,
		      struct et_tls_server **ret, struct et_error *reterr)
{
	struct et_tls_server *s = calloc(1, sizeof(*s));
	if (s != NULL) {
		s->ctx = context_new();
	}
	if (s == NULL || s->ctx == NULL) {
		ERR_clear_error();
		free(s);
		return et_fail(reterr, -ENOMEM, "TLS");
	}
	int rc = load(s->ctx, certificate, key, reterr);
	if (rc == 0 && client_ca != NULL) {
		rc = load_client_ca(s->ctx, client_ca, reterr);
	}
	ERR_clear_error();
	if (rc < 0) {
		(void)et_tls_server_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

struct et_tls_server *et_tls_server_free(struct et_tls_server *s)
{
	if (s != NULL) {
		SSL_CTX_free(s->ctx);
		free(s);
	}
	return NULL;
}

static void on_message(int is_write, int version, int type, const void *data, size_t size, SSL *ssl,
		       void *arg)
{
	struct et_tls_server_end *e = arg;
	(void)version;
	(void)ssl;
	if (is_write == 0 && type == SSL3_RT_HANDSHAKE && size > 0 &&
	    *(const uint8_t *)data == SSL3_MT_KEY_UPDATE) {
		e->asked++;
	} else if (is_write != 0 && type == SSL3_RT_ALERT && size == 2 &&
		   ((const uint8_t *)data)[1] == SSL_AD_NO_RENEGOTIATION) {
		e->asked++;
	}
}

struct et_tls_server_end *et_tls_server_accept(struct et_tls_server *s)
{
	struct et_tls_server_end *e = calloc(1, sizeof(*e));
	if (e == NULL) {
		return NULL;
	}
	e->ssl = SSL_new(s->ctx);
	e->in = BIO_new(BIO_s_mem());
	e->out = BIO_new(BIO_s_mem());
	if (e->ssl == NULL || e->in == NULL || e->out == NULL) {
		BIO_free(e->in);
		BIO_free(e->out);
		SSL_free(e->ssl);
		free(e);
		return NULL;
	}
	(void)BIO_set_mem_eof_return(e->in, -1); /* empty is not the end */
	SSL_set_bio(e->ssl, e->in, e->out);
	SSL_set_msg_callback(e->ssl, on_message);
	SSL_set_msg_callback_arg(e->ssl, e);
	SSL_set_accept_state(e->ssl);
	return e;
}

struct et_tls_server_end *et_tls_server_close(struct et_tls_server_end *e)
{
	if (e != NULL) {
		SSL_free(e->ssl);
		free(e);
	}
	return NULL;
}

static int judge(struct et_tls_server_end *e, int n)
{
	int why = SSL_get_error(e->ssl, n);
	unsigned long error = ERR_peek_last_error(); /* those before say how it came to that */
	ERR_clear_error();
	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
		return 0;
	}
	bool denied = ERR_GET_LIB(error) == ERR_LIB_SSL &&
		      (ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED ||
		       ERR_GET_REASON(error) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE ||
		       ERR_GET_REASON(error) == SSL_R_EXCESSIVE_MESSAGE_SIZE || /* CHAIN_MAX */
		       ERR_GET_REASON(error) == SSL_R_BAD_SIGNATURE);		/* not its key */
	return denied ? ET_EDENIED : ET_ECLOSED;
}

static int read_piece(struct et_tls_server_end *e, struct et_view piece,
		      void (*fn)(void *arg, struct et_view plain), void *arg)
{
	uint8_t plain[RECORD_MAX];
	if (BIO_write(e->in, piece.data, (int)piece.size) != (int)piece.size) {
		return ET_ECLOSED;
	}
	for (;;) {
		int n = SSL_read(e->ssl, plain,
				 sizeof(plain)); /* also goes on with the handshake */
		if (n <= 0) {
			return judge(e, n);
		}
		fn(arg, (struct et_view){ plain, (size_t)n });
	}
}

int et_tls_server_read(struct et_tls_server_end *e, struct et_view bytes,
		       void (*fn)(void *arg, struct et_view plain), void *arg)
{
	int rc = 0;
	for (size_t at = 0; rc == 0 && at < bytes.size; at += PIECE_MAX) {
		const size_t left = bytes.size - at;
		rc = read_piece(
			e, (struct et_view){ bytes.data + at, left < PIECE_MAX ? left : PIECE_MAX },
			fn, arg);
		if (rc == 0 && e->asked > ASKED_MAX) {
			rc = ET_ECLOSED;
		}
	}
	return rc;
}

int et_tls_server_write(struct et_tls_server_end *e, struct et_view plain)
{
	if (plain.size == 0) {
		return 0;
	}
	if (plain.size > INT32_MAX || !et_tls_server_is_open(e)) {
		return ET_ECLOSED;
	}
	int n = SSL_write(e->ssl, plain.data, (int)plain.size);
	ERR_clear_error();
	return n == (int)plain.size ? 0 : ET_ECLOSED;
}

void et_tls_server_take(struct et_tls_server_end *e, struct et_buffer *ret)
{
	size_t size = BIO_ctrl_pending(e->out);
	uint8_t *to = size > 0 && size <= INT32_MAX ? et_buffer_reserve(ret, size) : NULL;
	if (to != NULL) {
		int n = BIO_read(e->out, to, (int)size);
		ret->size += n > 0 ? (size_t)n : 0;
	}
}

bool et_tls_server_is_open(const struct et_tls_server_end *e)
{
	return SSL_is_init_finished(e->ssl) == 1;
}
