/* One protected record. */
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>

#include "node/tlsread/keys_internal.h"

enum { TAG_SIZE = 16, BLOCK_SIZE = 16, EXPLICIT_SIZE = 8, AAD_SIZE = 13 };

static const EVP_CIPHER *cipher_of(const struct suite *s)
{
	switch (s->kind) {
	case KIND_GCM:
		return s->key_size == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm();
	case KIND_CHACHA:
		return EVP_chacha20_poly1305();
	case KIND_CBC:
	default:
		return s->key_size == 16 ? EVP_aes_128_cbc() : EVP_aes_256_cbc();
	}
}

/* `size` bytes of ciphertext and a tag behind them. */
static bool aead_open(const struct suite *s, const uint8_t *key, const uint8_t nonce[IV_SIZE],
		      const uint8_t *aad, size_t aad_size, const uint8_t *data, size_t size,
		      uint8_t *ret)
{
	uint8_t tag[TAG_SIZE];
	int n = 0;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	memcpy(tag, data + size, TAG_SIZE);
	bool ok = ctx != NULL && EVP_DecryptInit_ex(ctx, cipher_of(s), NULL, key, nonce) == 1 &&
		  EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) == 1 &&
		  EVP_DecryptUpdate(ctx, NULL, &n, aad, (int)aad_size) == 1 &&
		  EVP_DecryptUpdate(ctx, ret, &n, data, (int)size) == 1 &&
		  EVP_DecryptFinal_ex(ctx, ret + n, &n) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

static void put_aad(uint8_t aad[AAD_SIZE], uint64_t number, const uint8_t head[RECORD_HEAD],
		    size_t size)
{
	et_put64(aad, number);
	memcpy(aad + 8, head, 3);
	et_put16(aad + 11, (uint16_t)size);
}

/* RFC 8446, section 5.2: the content's type is its last byte that is not zero. */
static bool open_tls13(const struct suite *s, const struct keys *k, uint64_t number,
		       const uint8_t head[RECORD_HEAD], const uint8_t *payload, size_t size,
		       uint8_t *ret, size_t *ret_size, uint8_t *ret_type)
{
	uint8_t nonce[IV_SIZE];
	if (size < TAG_SIZE + 1) {
		return false;
	}
	memcpy(nonce, k->iv, IV_SIZE);
	for (int i = 0; i < 8; i++) {
		nonce[IV_SIZE - 1 - i] ^= (uint8_t)(number >> (8 * i));
	}
	size -= TAG_SIZE;
	if (!aead_open(s, k->key, nonce, head, RECORD_HEAD, payload, size, ret)) {
		return false;
	}
	while (size > 0 && ret[size - 1] == 0) {
		size--;
	}
	if (size == 0) {
		return false;
	}
	*ret_type = ret[size - 1];
	*ret_size = size - 1;
	return true;
}

static bool open_aead(const struct suite *s, const struct keys *k, uint64_t number,
		      const uint8_t head[RECORD_HEAD], const uint8_t *payload, size_t size,
		      uint8_t *ret, size_t *ret_size)
{
	uint8_t nonce[IV_SIZE];
	uint8_t aad[AAD_SIZE];
	size_t explicit_size = s->kind == KIND_GCM ? EXPLICIT_SIZE : 0;
	if (size < explicit_size + TAG_SIZE) {
		return false;
	}
	memcpy(nonce, k->iv, IV_SIZE);
	if (s->kind == KIND_GCM) {
		memcpy(nonce + 4, payload, EXPLICIT_SIZE);
	} else {
		for (int i = 0; i < 8; i++) {
			nonce[IV_SIZE - 1 - i] ^= (uint8_t)(number >> (8 * i));
		}
	}
	size -= explicit_size + TAG_SIZE;
	put_aad(aad, number, head, size);
	*ret_size = size;
	return aead_open(s, k->key, nonce, aad, sizeof(aad), payload + explicit_size, size, ret);
}

/* The MAC of aad and data is what it should be. */
static bool mac_is(const struct suite *s, const struct keys *k, const uint8_t aad[AAD_SIZE],
		   const uint8_t *data, size_t size, const uint8_t *mac)
{
	uint8_t ours[HASH_MAX];
	size_t n = 0;
	EVP_MAC *algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *ctx = algorithm != NULL ? EVP_MAC_CTX_new(algorithm) : NULL;
	char digest[16];
	(void)snprintf(digest, sizeof(digest), "%s", s->mac);
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string("digest", digest, 0),
				OSSL_PARAM_construct_end() };
	bool ok = ctx != NULL && EVP_MAC_init(ctx, k->mac, s->mac_size, params) == 1 &&
		  EVP_MAC_update(ctx, aad, AAD_SIZE) == 1 &&
		  (size == 0 || EVP_MAC_update(ctx, data, size) == 1) &&
		  EVP_MAC_final(ctx, ours, &n, sizeof(ours)) == 1 && n == s->mac_size &&
		  CRYPTO_memcmp(ours, mac, n) == 0;
	EVP_MAC_CTX_free(ctx);
	EVP_MAC_free(algorithm);
	return ok;
}

static bool cbc_decrypt(const struct suite *s, const struct keys *k, const uint8_t *iv,
			const uint8_t *data, size_t size, uint8_t *ret)
{
	int n = 0;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	bool ok = ctx != NULL && EVP_DecryptInit_ex(ctx, cipher_of(s), NULL, k->key, iv) == 1 &&
		  EVP_CIPHER_CTX_set_padding(ctx, 0) == 1 &&
		  EVP_DecryptUpdate(ctx, ret, &n, data, (int)size) == 1 && (size_t)n == size;
	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

/* RFC 5246, section 6.2.3.2. Nobody can ask us twice, so the time that it takes tells nothing to
 * nobody. */
static bool open_cbc(const struct suite *s, const struct keys *k, bool encrypt_then_mac,
		     uint64_t number, const uint8_t head[RECORD_HEAD], const uint8_t *payload,
		     size_t size, uint8_t *ret, size_t *ret_size)
{
	uint8_t aad[AAD_SIZE];
	size_t mac = encrypt_then_mac ? s->mac_size : 0;
	if (size < (size_t)2 * BLOCK_SIZE + mac || (size - mac) % BLOCK_SIZE != 0) {
		return false;
	}
	size -= mac;
	if (encrypt_then_mac) {
		put_aad(aad, number, head, size);
		if (!mac_is(s, k, aad, payload, size, payload + size)) {
			return false;
		}
	}
	size -= BLOCK_SIZE;
	if (!cbc_decrypt(s, k, payload, payload + BLOCK_SIZE, size, ret)) {
		return false;
	}
	size_t padding = ret[size - 1] + 1U;
	size_t least = padding + (encrypt_then_mac ? 0 : s->mac_size);
	if (least > size) {
		return false;
	}
	for (size_t i = size - padding; i < size; i++) {
		if (ret[i] != padding - 1) {
			return false;
		}
	}
	size -= least;
	if (!encrypt_then_mac) {
		put_aad(aad, number, head, size);
		if (!mac_is(s, k, aad, ret, size, ret + size)) {
			return false;
		}
	}
	*ret_size = size;
	return true;
}

bool record_open(const struct suite *s, const struct keys *k, bool encrypt_then_mac,
		 uint64_t number, const uint8_t head[RECORD_HEAD], const uint8_t *payload,
		 size_t size, uint8_t *ret, size_t *ret_size, uint8_t *ret_type)
{
	bool ok = false;
	*ret_type = head[0];
	if (s->is_tls13) {
		ok = open_tls13(s, k, number, head, payload, size, ret, ret_size, ret_type);
	} else if (s->kind == KIND_CBC) {
		ok = open_cbc(s, k, encrypt_then_mac, number, head, payload, size, ret, ret_size);
	} else {
		ok = open_aead(s, k, number, head, payload, size, ret, ret_size);
	}
	if (!ok) {
		ERR_clear_error();
	}
	return ok;
}
