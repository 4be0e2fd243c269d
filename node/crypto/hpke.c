#include "node/crypto/hpke.h"

#include <limits.h>
#include <string.h>

#include "node/crypto/hpke_internal.h"
#include "node/crypto/ossl_internal.h"
#include "node/crypto/sign.h"

enum { KEM_X25519 = 0x0020, KDF_SHA256 = 0x0001, HASH_SIZE = 32, LABELED_MAX = 512 };

/* Which suite a labeled hash belongs to (section 4): "KEM" and the KEM, or "HPKE" and all three. */
struct suite {
	uint8_t id[10];
	size_t size;
};

static struct suite suite_kem(void)
{
	return (struct suite){ { 'K', 'E', 'M', 0, KEM_X25519 }, 5 };
}

static struct suite suite_hpke(uint16_t aead)
{
	return (struct suite){ { 'H', 'P', 'K', 'E', 0, KEM_X25519, 0, KDF_SHA256,
				 (uint8_t)(aead >> 8), (uint8_t)aead },
			       10 };
}

/* What is hashed under a label: small parts gathered on the stack, wiped afterwards. */
struct labeled {
	uint8_t bytes[LABELED_MAX];
	size_t size;
};

static void labeled_wipe(struct labeled *l)
{
	explicit_bzero(l, sizeof(*l));
}

static void labeled_add(struct labeled *l, const void *data, size_t size)
{
	et_assert(size <= sizeof(l->bytes) - l->size);
	if (size > 0) {
		memcpy(l->bytes + l->size, data, size);
		l->size += size;
	}
}

/* LabeledExtract(): HMAC(salt, "HPKE-v1" | suite | label | ikm). */
static int labeled_extract(const struct suite *suite, struct et_view salt, const char *label,
			   struct et_view ikm, uint8_t ret[HASH_SIZE], struct et_error *reterr)
{
	ET_CLEANUP(labeled_wipe) struct labeled l = { .size = 0 };

	if (ikm.size > LABELED_MAX - 64) {
		return et_fail(reterr, -EINVAL, "HPKE info of %zu bytes", ikm.size);
	}
	labeled_add(&l, "HPKE-v1", 7);
	labeled_add(&l, suite->id, suite->size);
	labeled_add(&l, label, strlen(label));
	labeled_add(&l, ikm.data, ikm.size);
	return et_ossl_hmac(salt.data, salt.size, l.bytes, l.size, ret, reterr);
}

/* LabeledExpand() for at most one block: HMAC(prk, L | "HPKE-v1" | suite | label | info | 1). */
static int labeled_expand(const struct suite *suite, const uint8_t prk[HASH_SIZE],
			  const char *label, struct et_view info, uint8_t *ret, size_t size,
			  struct et_error *reterr)
{
	ET_CLEANUP(labeled_wipe) struct labeled l = { .size = 0 };
	uint8_t block[HASH_SIZE];
	uint8_t length[2];

	et_assert(size <= HASH_SIZE);
	et_put16(length, (uint16_t)size);
	labeled_add(&l, length, sizeof(length));
	labeled_add(&l, "HPKE-v1", 7);
	labeled_add(&l, suite->id, suite->size);
	labeled_add(&l, label, strlen(label));
	labeled_add(&l, info.data, info.size);
	labeled_add(&l, "\x01", 1);
	int rc = et_ossl_hmac(prk, HASH_SIZE, l.bytes, l.size, block, reterr);
	if (rc == 0) {
		memcpy(ret, block, size);
	}
	explicit_bzero(block, sizeof(block));
	return rc;
}

/* X25519; its own public half comes with it, for OpenSSL makes that of each private one.
 * ET_EMALFORMED: the result is zero, so the public point is of small order. */
static int x25519(const struct et_secret *private_key, const uint8_t public_key[32],
		  uint8_t ret_own[32], uint8_t ret[32], struct et_error *reterr)
{
	ET_CLEANUP(et_pkey_freep)
	EVP_PKEY *own = et_secret_size(private_key) == 32
				? EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL,
							       et_secret_bytes(private_key), 32)
				: NULL;
	ET_CLEANUP(et_pkey_freep)
	EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, public_key, 32);
	ET_CLEANUP(et_pkey_ctx_freep)
	EVP_PKEY_CTX *ctx = own != NULL ? EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL) : NULL;
	size_t size = 32;
	size_t own_size = 32;

	if (peer == NULL || ctx == NULL ||
	    EVP_PKEY_get_raw_public_key(own, ret_own, &own_size) != 1 || own_size != 32 ||
	    EVP_PKEY_derive_init(ctx) != 1 || EVP_PKEY_derive_set_peer(ctx, peer) != 1) {
		return et_ossl_fail(reterr, "X25519");
	}
	if (EVP_PKEY_derive(ctx, ret, &size) != 1 || size != 32) {
		et_ossl_clear();
		return et_fail(reterr, ET_EMALFORMED, "X25519: public key of small order");
	}
	return 0;
}

/* ExtractAndExpand() of the KEM (section 4.1). */
static int kem_shared(const struct et_secret *private_key, const uint8_t peer[32], bool sender,
		      uint8_t ret_own[32], uint8_t ret[HASH_SIZE], struct et_error *reterr)
{
	const struct suite suite = suite_kem();
	uint8_t context[64];
	uint8_t dh[32];
	uint8_t prk[HASH_SIZE];

	int rc = x25519(private_key, peer, ret_own, dh, reterr);
	if (rc == 0) { /* enc, and the receiver's public half */
		memcpy(context, sender ? ret_own : peer, 32);
		memcpy(context + 32, sender ? peer : ret_own, 32);
		rc = labeled_extract(&suite, (struct et_view){ 0 }, "eae_prk",
				     (struct et_view){ dh, sizeof(dh) }, prk, reterr);
	}
	if (rc == 0) {
		rc = labeled_expand(&suite, prk, "shared_secret",
				    (struct et_view){ context, sizeof(context) }, ret, HASH_SIZE,
				    reterr);
	}
	explicit_bzero(dh, sizeof(dh));
	explicit_bzero(prk, sizeof(prk));
	return rc;
}

/* KeySchedule() in base mode (section 5.1), from ret->shared_secret. */
static int schedule(struct et_view info, struct et_hpke_schedule *s, struct et_error *reterr)
{
	const struct suite suite = suite_hpke(s->aead);
	const struct et_view none = { NULL, 0 };
	uint8_t context[1 + 2 * HASH_SIZE] = { 0 }; /* Mode 0: base. */
	uint8_t secret[HASH_SIZE];
	const struct et_view ctx = { context, sizeof(context) };

	s->key = et_secret_new(s->aead == HPKE_AES_128_GCM ? 16 : 32);
	if (s->key == NULL) {
		return et_fail(reterr, -ENOMEM, "HPKE");
	}
	int rc = labeled_extract(&suite, none, "psk_id_hash", none, context + 1, reterr);
	if (rc == 0) {
		rc = labeled_extract(&suite, none, "info_hash", info, context + 1 + HASH_SIZE,
				     reterr);
	}
	if (rc == 0) {
		rc = labeled_extract(&suite, (struct et_view){ s->shared_secret, HASH_SIZE },
				     "secret", none, secret, reterr);
	}
	if (rc == 0) {
		rc = labeled_expand(&suite, secret, "key", ctx, et_secret_edit(s->key),
				    et_secret_size(s->key), reterr);
	}
	if (rc == 0) {
		rc = labeled_expand(&suite, secret, "base_nonce", ctx, s->base_nonce,
				    sizeof(s->base_nonce), reterr);
	}
	if (rc == 0) {
		rc = labeled_expand(&suite, secret, "exp", ctx, s->exporter_secret, HASH_SIZE,
				    reterr);
	}
	explicit_bzero(secret, sizeof(secret));
	return rc;
}

void et_hpke_schedule_release(struct et_hpke_schedule *s)
{
	s->key = et_secret_free(s->key);
	explicit_bzero(s, sizeof(*s));
}

int et_hpke_sender(uint16_t aead, const uint8_t public_key[32], const struct et_secret *ephemeral,
		   struct et_view info, uint8_t ret_enc[32], struct et_hpke_schedule *ret,
		   struct et_error *reterr)
{
	*ret = (struct et_hpke_schedule){ .aead = aead };
	int rc = kem_shared(ephemeral, public_key, true, ret_enc, ret->shared_secret, reterr);
	return rc < 0 ? rc : schedule(info, ret, reterr);
}

int et_hpke_receiver(uint16_t aead, const struct et_secret *private_key, const uint8_t enc[32],
		     struct et_view info, struct et_hpke_schedule *ret, struct et_error *reterr)
{
	uint8_t public_key[32];

	*ret = (struct et_hpke_schedule){ .aead = aead };
	int rc = kem_shared(private_key, enc, false, public_key, ret->shared_secret, reterr);
	return rc < 0 ? rc : schedule(info, ret, reterr);
}

static void cipher_ctx_freep(EVP_CIPHER_CTX **p)
{
	EVP_CIPHER_CTX_free(*p);
	*p = NULL;
}

int et_hpke_crypt(const struct et_hpke_schedule *s, bool seal, struct et_view aad, const void *in,
		  size_t size, uint8_t *ret, struct et_error *reterr)
{
	ET_CLEANUP(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	const EVP_CIPHER *cipher =
		s->aead == HPKE_AES_128_GCM ? et_ossl()->aes_128_gcm : et_ossl()->aes_256_gcm;
	uint8_t tag[ET_HPKE_OVERHEAD_SIZE] = { 0 };
	uint8_t none[1];
	int n = 0;

	et_assert(size <= INT_MAX && aad.size <= INT_MAX);
	et_assert(seal || size >= sizeof(tag));
	size_t body = seal ? size : size - sizeof(tag);
	if (ctx == NULL || EVP_CipherInit_ex2(ctx, cipher, et_secret_bytes(s->key), s->base_nonce,
					      seal ? 1 : 0, NULL) != 1) {
		return et_ossl_fail(reterr, "HPKE");
	}
	if (!seal) {
		memcpy(tag, (const uint8_t *)in + body, sizeof(tag));
		if (EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag) != 1) {
			return et_ossl_fail(reterr, "HPKE");
		}
	}
	if ((aad.size > 0 && EVP_CipherUpdate(ctx, NULL, &n, aad.data, (int)aad.size) != 1) ||
	    (body > 0 && EVP_CipherUpdate(ctx, ret, &n, in, (int)body) != 1)) {
		return et_ossl_fail(reterr, "HPKE");
	}
	if (EVP_CipherFinal_ex(ctx, none, &n) != 1) {
		et_ossl_clear();
		explicit_bzero(ret, body);
		return et_fail_plain(
			reterr, ET_EINTEGRITY,
			"HPKE: not sealed to this key for this purpose, or changed since");
	}
	if (seal && EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, sizeof(tag), ret + body) != 1) {
		return et_ossl_fail(reterr, "HPKE");
	}
	return 0;
}

int et_hpke_seal(const uint8_t public_key[ET_HPKE_KEY_SIZE], struct et_view info,
		 struct et_view aad, const struct et_secret *plain,
		 uint8_t ret_enc[ET_HPKE_ENC_SIZE], uint8_t *ret_ciphertext,
		 struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *ephemeral = NULL;
	ET_CLEANUP(et_hpke_schedule_release) struct et_hpke_schedule s = { 0 };

	int rc = et_secret_random(32, &ephemeral, reterr);
	if (rc == 0) {
		rc = et_hpke_sender(HPKE_AES_256_GCM, public_key, ephemeral, info, ret_enc, &s,
				    reterr);
	}
	if (rc == 0) {
		rc = et_hpke_crypt(&s, true, aad, et_secret_bytes(plain), et_secret_size(plain),
				   ret_ciphertext, reterr);
	}
	return rc;
}

int et_hpke_open(const struct et_secret *private_key, const uint8_t enc[ET_HPKE_ENC_SIZE],
		 struct et_view info, struct et_view aad, struct et_view ciphertext,
		 struct et_secret **ret, struct et_error *reterr)
{
	ET_CLEANUP(et_hpke_schedule_release) struct et_hpke_schedule s = { 0 };
	ET_CLEANUP(et_secret_freep) struct et_secret *plain = NULL;

	if (et_secret_size(private_key) != ET_HPKE_KEY_SIZE) {
		return et_fail(reterr, ET_EMALFORMED, "HPKE: private key of %zu bytes",
			       et_secret_size(private_key));
	}
	if (ciphertext.size <= ET_HPKE_OVERHEAD_SIZE ||
	    ciphertext.size > ET_SECRET_SIZE_MAX + ET_HPKE_OVERHEAD_SIZE) {
		return et_fail(reterr, ET_EMALFORMED, "HPKE: ciphertext of %zu bytes",
			       ciphertext.size);
	}
	plain = et_secret_new(ciphertext.size - ET_HPKE_OVERHEAD_SIZE);
	if (plain == NULL) {
		return et_fail(reterr, -ENOMEM, "HPKE");
	}
	int rc = et_hpke_receiver(HPKE_AES_256_GCM, private_key, enc, info, &s, reterr);
	if (rc == 0) {
		rc = et_hpke_crypt(&s, false, aad, ciphertext.data, ciphertext.size,
				   et_secret_edit(plain), reterr);
	}
	if (rc == 0) {
		*ret = ET_TAKE(plain);
	}
	return rc;
}
