#include "node/crypto/aead.h"

#include <limits.h>
#include <string.h>

#include "node/crypto/ossl_internal.h"

struct et_aead {
	EVP_CIPHER_CTX *seal; /* owned; key set */
	EVP_CIPHER_CTX *open; /* owned; key set */
};

int et_aead_new(const struct et_secret *key, struct et_aead **ret, struct et_error *reterr)
{
	et_assert(et_secret_size(key) == ET_AEAD_KEY_SIZE);

	ET_CLEANUP(et_aead_freep) struct et_aead *a = calloc(1, sizeof(*a));
	if (a == NULL) {
		return et_fail(reterr, -ENOMEM, "cipher context");
	}
	const EVP_CIPHER *cipher = et_ossl()->aes_256_gcm;
	const uint8_t *bytes = et_secret_bytes(key);
	a->seal = EVP_CIPHER_CTX_new();
	a->open = EVP_CIPHER_CTX_new();
	if (a->seal == NULL || a->open == NULL ||
	    EVP_EncryptInit_ex2(a->seal, cipher, bytes, NULL, NULL) != 1 ||
	    EVP_DecryptInit_ex2(a->open, cipher, bytes, NULL, NULL) != 1) {
		return et_ossl_fail(reterr, "cipher context");
	}
	*ret = ET_TAKE(a);
	return 0;
}

struct et_aead *et_aead_free(struct et_aead *a)
{
	if (a != NULL) {
		EVP_CIPHER_CTX_free(a->seal); /* Wipes its key schedule. */
		EVP_CIPHER_CTX_free(a->open);
		free(a);
	}
	return NULL;
}

int et_aead_seal(struct et_aead *a, const uint8_t nonce[ET_AEAD_NONCE_SIZE], struct et_view aad,
		 const void *plain, size_t size, uint8_t *ret, struct et_error *reterr)
{
	int n = 0;

	if (size > INT_MAX - ET_AEAD_TAG_SIZE || aad.size > INT_MAX) {
		return et_fail(reterr, -EINVAL, "seal %zu bytes", size);
	}
	if (EVP_EncryptInit_ex2(a->seal, NULL, NULL, nonce, NULL) != 1 ||
	    (aad.size > 0 && EVP_EncryptUpdate(a->seal, NULL, &n, aad.data, (int)aad.size) != 1) ||
	    (size > 0 && EVP_EncryptUpdate(a->seal, ret, &n, plain, (int)size) != 1) ||
	    EVP_EncryptFinal_ex(a->seal, ret + size, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(a->seal, EVP_CTRL_AEAD_GET_TAG, ET_AEAD_TAG_SIZE, ret + size) !=
		    1) {
		return et_ossl_fail(reterr, "seal");
	}
	return 0;
}

int et_aead_open(struct et_aead *a, const uint8_t nonce[ET_AEAD_NONCE_SIZE], struct et_view aad,
		 const void *sealed, size_t size, uint8_t *ret, struct et_error *reterr)
{
	uint8_t tag[ET_AEAD_TAG_SIZE];
	uint8_t none[1];
	int n = 0;

	if (size < ET_AEAD_TAG_SIZE) {
		return et_fail(reterr, ET_EINTEGRITY, "open %zu bytes", size);
	}
	if (size > INT_MAX || aad.size > INT_MAX) {
		return et_fail(reterr, -EINVAL, "open %zu bytes", size);
	}
	size_t plain_size = size - ET_AEAD_TAG_SIZE;
	memcpy(tag, (const uint8_t *)sealed + plain_size, sizeof(tag));
	if (EVP_DecryptInit_ex2(a->open, NULL, NULL, nonce, NULL) != 1 ||
	    EVP_CIPHER_CTX_ctrl(a->open, EVP_CTRL_AEAD_SET_TAG, ET_AEAD_TAG_SIZE, tag) != 1 ||
	    (aad.size > 0 && EVP_DecryptUpdate(a->open, NULL, &n, aad.data, (int)aad.size) != 1) ||
	    (plain_size > 0 && EVP_DecryptUpdate(a->open, ret, &n, sealed, (int)plain_size) != 1)) {
		return et_ossl_fail(reterr, "open");
	}
	if (EVP_DecryptFinal_ex(a->open, none, &n) != 1) {
		et_ossl_clear();
		if (plain_size > 0) {
			explicit_bzero(ret, plain_size);
		}
		return et_fail(reterr, ET_EINTEGRITY, "open %zu bytes", size);
	}
	return 0;
}
