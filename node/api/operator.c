/* The certificate that an operator gave for HTTPS: read where it may take a while, put in place of
 * the one before as a whole, by the API thread, for the handshakes that begin then. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <time.h>

#include "node/api/api_internal.h"

struct et_api_certificate {
	SSL_CTX *ctx; /* owned: holds the certificate, its key and its chain */
};

bool api_certificate_is_given(const struct et_api *api)
{
	return api->config.certificate != NULL && api->config.certificate[0] != '\0';
}

struct et_api_certificate *et_api_certificate_free(struct et_api_certificate *c)
{
	if (c != NULL) {
		SSL_CTX_free(c->ctx);
		free(c);
	}
	return NULL;
}

static void certificate_freep(struct et_api_certificate **c)
{
	*c = et_api_certificate_free(*c);
}

/* A key that wants a passphrase has none: nobody is there to be asked. */
static int no_passphrase(char *text, int size, int writing, void *arg)
{
	(void)text;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static int64_t end_of(const SSL_CTX *ctx)
{
	const X509 *cert = SSL_CTX_get0_certificate(ctx);
	struct tm tm = { 0 };

	return cert != NULL && ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1
		       ? (int64_t)timegm(&tm) * 1000000
		       : 0;
}

int et_api_certificate_load(const char *file, const char *key, struct et_api_certificate **ret,
			    int64_t *ret_not_after_us, struct et_error *reterr)
{
	ET_CLEANUP(certificate_freep) struct et_api_certificate *c = calloc(1, sizeof(*c));

	ERR_clear_error();
	if (c == NULL || (c->ctx = SSL_CTX_new(TLS_server_method())) == NULL) {
		return et_fail(reterr, -ENOMEM, "TLS");
	}
	SSL_CTX_set_default_passwd_cb(c->ctx, no_passphrase);
	if (SSL_CTX_use_certificate_chain_file(c->ctx, file) != 1 ||
	    SSL_CTX_use_PrivateKey_file(c->ctx, key, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(c->ctx) != 1) {
		const char *why = ERR_reason_error_string(ERR_peek_last_error());
		(void)et_fail_plain(reterr, ET_EUNTRUSTED,
				    "tls.api-certificate '%s' with its key: %s", file,
				    why != NULL ? why : "cannot be used");
		return et_fail_next(reterr, "openssl x509 -in %.80s -noout -dates", file);
	}
	*ret_not_after_us = end_of(c->ctx);
	*ret = ET_TAKE(c);
	return 0;
}

void et_api_set_certificate(struct et_api *api, struct et_api_certificate *c)
{
	(void)pthread_mutex_lock(&api->mutex);
	(void)et_api_certificate_free(api->given); /* that nobody has taken yet */
	api->given = c;
	api_server_wake(api);
	(void)pthread_mutex_unlock(&api->mutex);
}

/* A handshake begins, on the API thread. All that the connection would have had goes: a key of
 * another kind than the one before has a place of its own beside it. */
static int on_handshake(SSL *ssl, void *arg)
{
	const struct et_api *api = arg;
	STACK_OF(X509) *chain = NULL;

	if (api->operators == NULL) {
		return 1;
	}
	SSL_CTX *from = api->operators->ctx;
	(void)SSL_CTX_get0_chain_certs(from, &chain);
	SSL_certs_clear(ssl);
	return SSL_use_cert_and_key(ssl, SSL_CTX_get0_certificate(from),
				    SSL_CTX_get0_privatekey(from), chain, 1);
}

void api_certificate_take(struct et_api *api)
{
	if (api->given != NULL) {
		(void)et_api_certificate_free(api->operators);
		api->operators = ET_TAKE(api->given);
	}
}

int api_certificate_start(struct et_api *api, void *ssl_ctx, struct et_error *reterr)
{
	int64_t not_after_us;

	SSL_CTX_set_cert_cb(ssl_ctx, on_handshake, api);
	return et_api_certificate_load(api->config.certificate, api->config.key, &api->operators,
				       &not_after_us, reterr);
}
