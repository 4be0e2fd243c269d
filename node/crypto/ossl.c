#include "node/crypto/ossl_internal.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <pthread.h>

static struct et_ossl fetched;
static pthread_once_t fetched_once = PTHREAD_ONCE_INIT;

static void ossl_fetch(void)
{
	fetched.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	fetched.aes_256_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	fetched.aes_128_gcm = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
	fetched.hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	fetched.tls_prf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
	/* Without them there is no evertape: an OpenSSL that lacks them is a broken installation.
	 */
	et_assert(fetched.sha256 != NULL && fetched.aes_256_gcm != NULL);
	et_assert(fetched.aes_128_gcm != NULL && fetched.hkdf != NULL);
	et_assert(fetched.tls_prf != NULL);
}

const struct et_ossl *et_ossl(void)
{
	(void)pthread_once(&fetched_once, ossl_fetch);
	return &fetched;
}

int et_ossl_fail(struct et_error *reterr, const char *what)
{
	unsigned long e = ERR_peek_last_error();
	int code = ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE ? -ENOMEM : -EIO;
	const char *reason = e != 0 ? ERR_reason_error_string(e) : NULL;

	ERR_clear_error();
	return et_fail_plain(reterr, code, "%s: OpenSSL: %s", what,
			     reason != NULL ? reason : "failed without a reason");
}

void et_ossl_clear(void)
{
	ERR_clear_error();
}

int et_ossl_random(void *ret, size_t size, struct et_error *reterr)
{
	et_assert(size <= INT_MAX);
	if (RAND_priv_bytes(ret, (int)size) != 1) {
		return et_ossl_fail(reterr, "random bytes");
	}
	return 0;
}

int et_ossl_hmac(const void *key, size_t key_size, const void *data, size_t size, uint8_t ret[32],
		 struct et_error *reterr)
{
	static const uint8_t none[1];

	et_assert(key_size <= INT_MAX);
	if (HMAC(et_ossl()->sha256, key_size > 0 ? key : none, (int)key_size,
		 size > 0 ? data : none, size, ret, NULL) == NULL) {
		return et_ossl_fail(reterr, "HMAC");
	}
	return 0;
}
