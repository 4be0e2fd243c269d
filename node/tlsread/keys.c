#include "node/tlsread/keys_internal.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "node/crypto/hash.h"

static const struct suite suites[] = {
	{ 0x1301, true, KIND_GCM, 16, 0, "SHA256", NULL, 32 },
	{ 0x1302, true, KIND_GCM, 32, 0, "SHA384", NULL, 48 },
	{ 0x1303, true, KIND_CHACHA, 32, 0, "SHA256", NULL, 32 },
	/* TLS 1.2: RSA, DHE, ECDHE with RSA and ECDSA; how the master secret came about is all one
	 * to the key log. */
	{ 0x009C, false, KIND_GCM, 16, 0, "SHA256", NULL, 32 },
	{ 0x009D, false, KIND_GCM, 32, 0, "SHA384", NULL, 48 },
	{ 0x009E, false, KIND_GCM, 16, 0, "SHA256", NULL, 32 },
	{ 0x009F, false, KIND_GCM, 32, 0, "SHA384", NULL, 48 },
	{ 0xC02B, false, KIND_GCM, 16, 0, "SHA256", NULL, 32 },
	{ 0xC02C, false, KIND_GCM, 32, 0, "SHA384", NULL, 48 },
	{ 0xC02F, false, KIND_GCM, 16, 0, "SHA256", NULL, 32 },
	{ 0xC030, false, KIND_GCM, 32, 0, "SHA384", NULL, 48 },
	{ 0xCCA8, false, KIND_CHACHA, 32, 0, "SHA256", NULL, 32 },
	{ 0xCCA9, false, KIND_CHACHA, 32, 0, "SHA256", NULL, 32 },
	{ 0xCCAA, false, KIND_CHACHA, 32, 0, "SHA256", NULL, 32 },
	{ 0x002F, false, KIND_CBC, 16, 20, "SHA256", "SHA1", 32 },
	{ 0x0033, false, KIND_CBC, 16, 20, "SHA256", "SHA1", 32 },
	{ 0x0035, false, KIND_CBC, 32, 20, "SHA256", "SHA1", 32 },
	{ 0x0039, false, KIND_CBC, 32, 20, "SHA256", "SHA1", 32 },
	{ 0x003C, false, KIND_CBC, 16, 32, "SHA256", "SHA256", 32 },
	{ 0x003D, false, KIND_CBC, 32, 32, "SHA256", "SHA256", 32 },
	{ 0x0067, false, KIND_CBC, 16, 32, "SHA256", "SHA256", 32 },
	{ 0x006B, false, KIND_CBC, 32, 32, "SHA256", "SHA256", 32 },
	{ 0xC009, false, KIND_CBC, 16, 20, "SHA256", "SHA1", 32 },
	{ 0xC00A, false, KIND_CBC, 32, 20, "SHA256", "SHA1", 32 },
	{ 0xC013, false, KIND_CBC, 16, 20, "SHA256", "SHA1", 32 },
	{ 0xC014, false, KIND_CBC, 32, 20, "SHA256", "SHA1", 32 },
	{ 0xC023, false, KIND_CBC, 16, 32, "SHA256", "SHA256", 32 },
	{ 0xC024, false, KIND_CBC, 32, 48, "SHA384", "SHA384", 48 },
	{ 0xC027, false, KIND_CBC, 16, 32, "SHA256", "SHA256", 32 },
	{ 0xC028, false, KIND_CBC, 32, 48, "SHA384", "SHA384", 48 },
};

const struct suite *suite_find(uint16_t number)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(suites); i++) {
		if (suites[i].number == number) {
			return &suites[i];
		}
	}
	return NULL;
}

static bool hmac(const struct suite *s, const uint8_t *key, size_t key_size, const uint8_t *data,
		 size_t size, uint8_t ret[HASH_MAX])
{
	size_t n = 0;
	bool ok = EVP_Q_mac(NULL, "HMAC", NULL, s->hash, NULL, key, key_size, data, size, ret,
			    HASH_MAX, &n) != NULL &&
		  n == s->hash_size;
	if (!ok) {
		ERR_clear_error();
	}
	return ok;
}

/* HKDF-Expand-Label with an empty context; `size` is at most one block of the hash. */
static bool expand_label(const struct suite *s, const uint8_t secret[HASH_MAX], const char *label,
			 uint8_t *ret, size_t size)
{
	uint8_t info[64] = { 0, (uint8_t)size };
	uint8_t block[HASH_MAX];
	size_t n = strlen(label);
	et_assert(size <= s->hash_size && n < 32);
	info[2] = (uint8_t)(6 + n);
	memcpy(info + 3, "tls13 ", 6);
	memcpy(info + 9, label, n);
	info[9 + n] = 0;
	info[10 + n] = 1; /* T(1), RFC 5869 section 2.3 */
	bool ok = hmac(s, secret, s->hash_size, info, 11 + n, block);
	if (ok) {
		memcpy(ret, block, size);
	}
	OPENSSL_cleanse(block, sizeof(block));
	return ok;
}

bool keys_expand(const struct suite *s, struct keys *ret)
{
	return expand_label(s, ret->secret, "key", ret->key, s->key_size) &&
	       expand_label(s, ret->secret, "iv", ret->iv, IV_SIZE);
}

bool keys_update(const struct suite *s, const struct keys *from, struct keys *ret)
{
	return expand_label(s, from->secret, "traffic upd", ret->secret, s->hash_size) &&
	       keys_expand(s, ret);
}

bool keys_block(const struct suite *s, struct et_view master, const uint8_t client_random[32],
		const uint8_t server_random[32], struct keys *client, struct keys *server)
{
	uint8_t seed[64];
	ET_CLEANUP(et_secret_freep) struct et_secret *block = NULL;
	memcpy(seed, server_random, 32);
	memcpy(seed + 32, client_random, 32);
	/* GCM: a salt of 4 bytes; CBC in TLS 1.2: the iv is in the record. */
	size_t iv = s->kind == KIND_GCM ? 4 : s->kind == KIND_CHACHA ? IV_SIZE : 0;
	size_t size = 2 * (s->mac_size + (size_t)s->key_size + iv);
	enum et_tls_prf prf = s->hash_size == 48 ? ET_TLS_PRF_SHA384 : ET_TLS_PRF_SHA256;
	if (et_tls_prf(prf, master, "key expansion", (struct et_view){ seed, sizeof(seed) }, size,
		       &block, NULL) < 0) {
		return false;
	}
	const uint8_t *p = et_secret_bytes(block);
	memcpy(client->mac, p, s->mac_size);
	memcpy(server->mac, p + s->mac_size, s->mac_size);
	p += (size_t)2 * s->mac_size;
	memcpy(client->key, p, s->key_size);
	memcpy(server->key, p + s->key_size, s->key_size);
	p += (size_t)2 * s->key_size;
	memcpy(client->iv, p, iv);
	memcpy(server->iv, p + iv, iv);
	return true;
}
