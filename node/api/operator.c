/* The certificate that an operator gave for HTTPS, read again while the API runs. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <time.h>

#include "node/api/api_internal.h"

static void ctx_freep(SSL_CTX **ctx)
{
	SSL_CTX_free(*ctx);
}

bool api_certificate_is_given(const struct et_api *api)
{
	return api->config.certificate != NULL && api->config.certificate[0] != '\0';
}

int api_certificate_use(const struct et_api *api, void *ssl_ctx)
{
	SSL_CTX *ctx = ssl_ctx;

	return SSL_CTX_use_certificate_chain_file(ctx, api->config.certificate) == 1 &&
			       SSL_CTX_use_PrivateKey_file(ctx, api->config.key,
							   SSL_FILETYPE_PEM) == 1 &&
			       SSL_CTX_check_private_key(ctx) == 1
		       ? 0
		       : ET_EUNTRUSTED;
}

static int64_t end_of(const SSL_CTX *ctx)
{
	const X509 *cert = SSL_CTX_get0_certificate(ctx);
	struct tm tm = { 0 };

	return cert != NULL && ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1
		       ? (int64_t)timegm(&tm) * 1000000
		       : 0;
}

int et_api_reload_certificate(struct et_api *api, int64_t *ret_not_after_us,
			      struct et_error *reterr)
{
	ET_CLEANUP(ctx_freep)
	SSL_CTX *ctx = NULL; /* tried here, before the one in use is touched */

	if (!api_certificate_is_given(api)) {
		return et_fail_plain(
			reterr, ET_ENOTFOUND,
			"tls.api-certificate is not set: the API shows the node's own");
	}
	ERR_clear_error();
	ctx = SSL_CTX_new(TLS_server_method());
	if (ctx == NULL) {
		return et_fail(reterr, -ENOMEM, "TLS");
	}
	int rc = api_certificate_use(api, ctx);
	if (rc < 0) {
		const char *why = ERR_reason_error_string(ERR_peek_last_error());
		(void)et_fail_plain(reterr, rc, "tls.api-certificate '%s' with its key: %s",
				    api->config.certificate, why != NULL ? why : "cannot be used");
		return et_fail_next(reterr, "openssl x509 -in %.80s -noout -dates",
				    api->config.certificate);
	}
	*ret_not_after_us = end_of(ctx);
	(void)pthread_mutex_lock(&api->mutex);
	api->certificate_changed = true;
	api_server_wake(api);
	(void)pthread_mutex_unlock(&api->mutex);
	return 0;
}
