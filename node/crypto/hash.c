#include "node/crypto/hash.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdio.h>

#include "node/crypto/ossl_internal.h"

/* OpenSSL's parameters point to what it does not write without saying so. */
union octets {
	const void *in;
	void *out;
};

void et_sha256(const void *data, size_t size, uint8_t ret[ET_SHA256_SIZE])
{
	int ok = EVP_Digest(size > 0 ? data : "", size, ret, NULL, et_ossl()->sha256, NULL);
	et_assert(ok == 1);
}

struct et_sha256 {
	EVP_MD_CTX *ctx; /* owned */
};

struct et_sha256 *et_sha256_new(void)
{
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *h = calloc(1, sizeof(*h));
	if (h == NULL) {
		return NULL;
	}
	h->ctx = EVP_MD_CTX_new();
	if (h->ctx == NULL || EVP_DigestInit_ex2(h->ctx, et_ossl()->sha256, NULL) != 1) {
		et_ossl_clear();
		return NULL;
	}
	return ET_TAKE(h);
}

struct et_sha256 *et_sha256_free(struct et_sha256 *h)
{
	if (h != NULL) {
		EVP_MD_CTX_free(h->ctx);
		free(h);
	}
	return NULL;
}

void et_sha256_reset(struct et_sha256 *h)
{
	int ok = EVP_DigestInit_ex2(h->ctx, NULL, NULL);
	et_assert(ok == 1);
}

void et_sha256_add(struct et_sha256 *h, const void *data, size_t size)
{
	if (size > 0) {
		int ok = EVP_DigestUpdate(h->ctx, data, size);
		et_assert(ok == 1);
	}
}

void et_sha256_end(struct et_sha256 *h, uint8_t ret[ET_SHA256_SIZE])
{
	int ok = EVP_DigestFinal_ex(h->ctx, ret, NULL);
	et_assert(ok == 1);
	et_sha256_reset(h);
}

int et_hmac_sha256(const struct et_secret *key, struct et_view data, uint8_t ret[ET_SHA256_SIZE],
		   struct et_error *reterr)
{
	return et_ossl_hmac(et_secret_bytes(key), et_secret_size(key), data.data, data.size, ret,
			    reterr);
}

int et_hkdf_sha256_public(const struct et_secret *key, struct et_view salt, struct et_view info,
			  uint8_t *ret, size_t size, struct et_error *reterr)
{
	/* OSSL_PARAM takes pointers without const and does not write through them. */
	union octets k = { .in = et_secret_bytes(key) };
	union octets s = { .in = salt.data };
	union octets i = { .in = info.data };
	char digest[] = "SHA256";
	OSSL_PARAM params[5];
	size_t n = 0;

	et_assert(size > 0);
	et_assert(size <= ET_SECRET_SIZE_MAX);
	params[n++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
	params[n++] =
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, k.out, et_secret_size(key));
	if (salt.size > 0) {
		params[n++] =
			OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, s.out, salt.size);
	}
	if (info.size > 0) {
		params[n++] =
			OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, i.out, info.size);
	}
	params[n] = OSSL_PARAM_construct_end();

	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(et_ossl()->hkdf);
	int ok = ctx != NULL ? EVP_KDF_derive(ctx, ret, size, params) : 0;
	EVP_KDF_CTX_free(ctx);
	return ok == 1 ? 0 : et_ossl_fail(reterr, "derive a key");
}

int et_hkdf_sha256(const struct et_secret *key, struct et_view salt, struct et_view info,
		   size_t size, struct et_secret **ret, struct et_error *reterr)
{
	et_assert(size > 0);
	et_assert(size <= ET_SECRET_SIZE_MAX);
	ET_CLEANUP(et_secret_freep) struct et_secret *s = et_secret_new(size);
	if (s == NULL) {
		return et_fail(reterr, -ENOMEM, "derive a key");
	}
	int rc = et_hkdf_sha256_public(key, salt, info, et_secret_edit(s), size, reterr);
	if (rc == 0) {
		*ret = ET_TAKE(s);
	}
	return rc;
}

int et_tls_prf(enum et_tls_prf prf, struct et_view secret, const char *label, struct et_view seed,
	       size_t size, struct et_secret **ret, struct et_error *reterr)
{
	static const char *const digests[] = {
		[ET_TLS_PRF_MD5_SHA1] = "MD5-SHA1",
		[ET_TLS_PRF_SHA256] = "SHA256",
		[ET_TLS_PRF_SHA384] = "SHA384",
	};
	char digest[16];
	union octets key = { .in = secret.data };
	union octets name = { .in = label };
	union octets data = { .in = seed.data };

	et_assert(size > 0);
	et_assert(size <= ET_SECRET_SIZE_MAX);
	ET_CLEANUP(et_secret_freep) struct et_secret *s = et_secret_new(size);
	if (s == NULL) {
		return et_fail(reterr, -ENOMEM, "derive a key");
	}
	(void)snprintf(digest, sizeof(digest), "%s", digests[prf]);
	/* Seeds are put one after the other. */
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, key.out, secret.size),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, name.out, strlen(label)),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, data.out, seed.size),
		OSSL_PARAM_construct_end(),
	};
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(et_ossl()->tls_prf);
	int ok = ctx != NULL ? EVP_KDF_derive(ctx, et_secret_edit(s), size, params) : 0;
	EVP_KDF_CTX_free(ctx);
	if (ok != 1) {
		return et_ossl_fail(reterr, "derive a key");
	}
	*ret = ET_TAKE(s);
	return 0;
}

bool et_equal_constant_time(const void *a, const void *b, size_t size)
{
	return CRYPTO_memcmp(a, b, size) == 0;
}
