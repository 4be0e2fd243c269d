/* HPKE, base mode, single shot (RFC 9180, section 6.1): seal a secret to a public key.
 *
 * Suite: DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001, AES-256-GCM 0x0002. Base mode does
 * not say who sealed: where that matters, sign.
 *
 * Both sides must name the same `info` (what the key is for) and `aad` (what it belongs to).
 *
 * Threads: pure functions. */
#ifndef ET_NODE_CRYPTO_HPKE_H
#define ET_NODE_CRYPTO_HPKE_H

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/base/secret.h"

#define ET_HPKE_KEY_SIZE 32	 /* bytes of an X25519 key */
#define ET_HPKE_ENC_SIZE 32	 /* bytes of the encapsulated key */
#define ET_HPKE_OVERHEAD_SIZE 16 /* bytes that the ciphertext is longer than the secret */

/* Seal `plain` to the holder of the private half of `public_key`. `ret_enc` gets the encapsulated
 * key, `ret_ciphertext` et_secret_size(plain) + ET_HPKE_OVERHEAD_SIZE bytes (48 for a DEK).
 * ET_EMALFORMED: `public_key` is a point of small order. */
int et_hpke_seal(const uint8_t public_key[ET_HPKE_KEY_SIZE], struct et_view info,
		 struct et_view aad, const struct et_secret *plain,
		 uint8_t ret_enc[ET_HPKE_ENC_SIZE], uint8_t *ret_ciphertext,
		 struct et_error *reterr) ET_MUST_CHECK;

/* Open it. The caller owns *ret. ET_EINTEGRITY: another key, info or aad, or changed bytes;
 * ET_EMALFORMED: no sealed secret or private key has this length, or `enc` is a point of small
 * order. */
int et_hpke_open(const struct et_secret *private_key, const uint8_t enc[ET_HPKE_ENC_SIZE],
		 struct et_view info, struct et_view aad, struct et_view ciphertext,
		 struct et_secret **ret, struct et_error *reterr) ET_MUST_CHECK;

#endif
