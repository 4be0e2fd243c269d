#include "node/crypto/sign.h"

#include "node/crypto/ossl_internal.h"

/* The private key as OpenSSL's, or NULL. A secret of another length is refused there, too: it may
 * have come out of a box or a grant. */
static EVP_PKEY *key_private(int type, const struct et_secret *key)
{
	if (et_secret_size(key) != ET_KEY_SIZE) {
		return NULL;
	}
	return EVP_PKEY_new_raw_private_key(type, NULL, et_secret_bytes(key), ET_KEY_SIZE);
}

static int key_public(int type, const struct et_secret *key, uint8_t ret_public[ET_KEY_SIZE],
		      struct et_error *reterr)
{
	ET_CLEANUP(et_pkey_freep) EVP_PKEY *pkey = key_private(type, key);
	size_t size = ET_KEY_SIZE;

	if (pkey == NULL || EVP_PKEY_get_raw_public_key(pkey, ret_public, &size) != 1 ||
	    size != ET_KEY_SIZE) {
		return et_ossl_fail(reterr, "public half of a key");
	}
	return 0;
}

static int key_generate(int type, struct et_secret **ret_private, uint8_t ret_public[ET_KEY_SIZE],
			struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *key = NULL;

	int rc = et_secret_random(ET_KEY_SIZE, &key, reterr);
	if (rc == 0) {
		rc = key_public(type, key, ret_public, reterr);
	}
	if (rc == 0) {
		*ret_private = ET_TAKE(key);
	}
	return rc;
}

int et_secret_random(size_t size, struct et_secret **ret, struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *s = et_secret_new(size);
	if (s == NULL) {
		return et_fail(reterr, -ENOMEM, "new secret");
	}
	int rc = et_ossl_random(et_secret_edit(s), size, reterr);
	if (rc == 0) {
		*ret = ET_TAKE(s);
	}
	return rc;
}

int et_ed25519_generate(struct et_secret **ret_seed, uint8_t ret_public[ET_KEY_SIZE],
			struct et_error *reterr)
{
	return key_generate(EVP_PKEY_ED25519, ret_seed, ret_public, reterr);
}

int et_ed25519_public(const struct et_secret *seed, uint8_t ret_public[ET_KEY_SIZE],
		      struct et_error *reterr)
{
	return key_public(EVP_PKEY_ED25519, seed, ret_public, reterr);
}

int et_ed25519_sign(const struct et_secret *seed, struct et_view data,
		    uint8_t ret_signature[ET_SIGNATURE_SIZE], struct et_error *reterr)
{
	ET_CLEANUP(et_pkey_freep) EVP_PKEY *pkey = key_private(EVP_PKEY_ED25519, seed);
	ET_CLEANUP(et_md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t size = ET_SIGNATURE_SIZE;

	if (pkey == NULL || ctx == NULL || EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) != 1 ||
	    EVP_DigestSign(ctx, ret_signature, &size, data.data, data.size) != 1 ||
	    size != ET_SIGNATURE_SIZE) {
		return et_ossl_fail(reterr, "sign");
	}
	return 0;
}

int et_ed25519_verify(const uint8_t public_key[ET_KEY_SIZE], struct et_view data,
		      const uint8_t signature[ET_SIGNATURE_SIZE], struct et_error *reterr)
{
	ET_CLEANUP(et_pkey_freep)
	EVP_PKEY *pkey =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, ET_KEY_SIZE);
	ET_CLEANUP(et_md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (pkey == NULL || ctx == NULL || EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) != 1) {
		return et_ossl_fail(reterr, "verify a signature");
	}
	if (EVP_DigestVerify(ctx, signature, ET_SIGNATURE_SIZE, data.data, data.size) != 1) {
		et_ossl_clear();
		return et_fail(reterr, ET_EINTEGRITY, "signature");
	}
	return 0;
}

int et_x25519_generate(struct et_secret **ret_private, uint8_t ret_public[ET_KEY_SIZE],
		       struct et_error *reterr)
{
	return key_generate(EVP_PKEY_X25519, ret_private, ret_public, reterr);
}

int et_x25519_public(const struct et_secret *private_key, uint8_t ret_public[ET_KEY_SIZE],
		     struct et_error *reterr)
{
	return key_public(EVP_PKEY_X25519, private_key, ret_public, reterr);
}
