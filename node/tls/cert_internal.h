/* What the sources of this folder share about X.509; OpenSSL does not travel further. */
#ifndef ET_NODE_TLS_CERT_INTERNAL_H
#define ET_NODE_TLS_CERT_INTERNAL_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "node/tls/identity.h"

static inline void et_x509_freep(X509 **p)
{
	X509_free(*p);
}

static inline void et_x509_req_freep(X509_REQ **p)
{
	X509_REQ_free(*p);
}

static inline void et_pkey_freep(EVP_PKEY **p)
{
	EVP_PKEY_free(*p);
}

static inline void et_md_ctx_freep(EVP_MD_CTX **p)
{
	EVP_MD_CTX_free(*p);
}

static inline void et_buffer_releasep(struct et_buffer *b)
{
	et_buffer_release(b);
}

/* What a parsed certificate says. */
int et_cert_read(const X509 *cert, struct et_cert_info *ret, struct et_error *reterr) ET_MUST_CHECK;

/* SHA-256 of its SubjectPublicKeyInfo. */
int et_cert_read_spki(const X509 *cert, uint8_t ret[32]) ET_MUST_CHECK;

/* Microseconds of its end; false: it says none that can be read. */
bool et_cert_read_end(const X509 *cert, int64_t *ret_us);

/* The next certificate of a bundle, or NULL at its end or when it is malformed (*bad). */
X509 *et_cert_next(struct et_view *bundle, bool *bad);

/* A fresh P-256 key as PKCS#8 DER. */
int et_key_make(struct et_secret **ret) ET_MUST_CHECK;

/* The private key of a PKCS#8 DER; NULL: it is none. */
EVP_PKEY *et_key_of(const struct et_secret *pkcs8);

/* Is `cert` signed by the CA of the bundle whose key has `ca_hash`, for the key of `request`? */
int et_cert_check_issued(struct et_view cert, struct et_view bundle, const uint8_t ca_hash[32],
			 struct et_view request, struct et_error *reterr) ET_MUST_CHECK;

/* The reason of OpenSSL's last error in this thread, which is cleared; static text. */
const char *et_openssl_reason(void);

#endif
