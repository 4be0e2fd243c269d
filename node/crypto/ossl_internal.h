/* OpenSSL, as this module uses it: algorithms fetched once, errors translated here. */
#ifndef ET_NODE_CRYPTO_OSSL_INTERNAL_H
#define ET_NODE_CRYPTO_OSSL_INTERNAL_H

#include <openssl/evp.h>

#include "node/base/bytes.h"
#include "node/base/err.h"

/* Fetched at the first use, never freed; safe from any thread. */
struct et_ossl {
	EVP_MD *sha256;
	EVP_CIPHER *aes_256_gcm;
	EVP_CIPHER *aes_128_gcm;
	EVP_KDF *hkdf;
	EVP_KDF *tls_prf;
};
const struct et_ossl *et_ossl(void);

/* Say what OpenSSL says, empty its queue, and return -ENOMEM or -EIO. */
int et_ossl_fail(struct et_error *reterr, const char *what);

/* Empty its queue after a failure that is an answer (a signature that does not fit). */
void et_ossl_clear(void);

/* `size` bytes from OpenSSL's generator for private values. */
int et_ossl_random(void *ret, size_t size, struct et_error *reterr) ET_MUST_CHECK;

/* HMAC-SHA256 with a key as bytes; `size` of any length. */
int et_ossl_hmac(const void *key, size_t key_size, const void *data, size_t size, uint8_t ret[32],
		 struct et_error *reterr) ET_MUST_CHECK;

static inline void et_pkey_freep(EVP_PKEY **p)
{
	EVP_PKEY_free(*p);
	*p = NULL;
}

static inline void et_pkey_ctx_freep(EVP_PKEY_CTX **p)
{
	EVP_PKEY_CTX_free(*p);
	*p = NULL;
}

static inline void et_md_ctx_freep(EVP_MD_CTX **p)
{
	EVP_MD_CTX_free(*p);
	*p = NULL;
}

#endif
