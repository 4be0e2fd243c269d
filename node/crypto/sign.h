/* Key pairs: Ed25519 signatures (RFC 8032) and X25519 keys (RFC 7748).
 *
 * Private halves are 32-byte secrets: the seed of Ed25519, the scalar of X25519. Randomness is
 * OpenSSL's.
 *
 * A secret of another length than 32 bytes is no key: -EIO.
 *
 * Threads: pure functions. */
#ifndef ET_NODE_CRYPTO_SIGN_H
#define ET_NODE_CRYPTO_SIGN_H

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/base/secret.h"

#define ET_KEY_SIZE 32	     /* bytes of a private or public half */
#define ET_SIGNATURE_SIZE 64 /* bytes */

/* A new key. The caller owns *ret_seed. */
int et_ed25519_generate(struct et_secret **ret_seed, uint8_t ret_public[ET_KEY_SIZE],
			struct et_error *reterr) ET_MUST_CHECK;

/* The public half of a seed. */
int et_ed25519_public(const struct et_secret *seed, uint8_t ret_public[ET_KEY_SIZE],
		      struct et_error *reterr) ET_MUST_CHECK;

int et_ed25519_sign(const struct et_secret *seed, struct et_view data,
		    uint8_t ret_signature[ET_SIGNATURE_SIZE],
		    struct et_error *reterr) ET_MUST_CHECK;

/* 0: `signature` of `data` was made with the private half of `public_key`. ET_EINTEGRITY: it was
 * not. */
int et_ed25519_verify(const uint8_t public_key[ET_KEY_SIZE], struct et_view data,
		      const uint8_t signature[ET_SIGNATURE_SIZE],
		      struct et_error *reterr) ET_MUST_CHECK;

/* A new key pair. The caller owns *ret_private. */
int et_x25519_generate(struct et_secret **ret_private, uint8_t ret_public[ET_KEY_SIZE],
		       struct et_error *reterr) ET_MUST_CHECK;

/* The public half of a private one. */
int et_x25519_public(const struct et_secret *private_key, uint8_t ret_public[ET_KEY_SIZE],
		     struct et_error *reterr) ET_MUST_CHECK;

/* A fresh secret of `size` random bytes (a DEK, a seed). The caller owns *ret. */
int et_secret_random(size_t size, struct et_secret **ret, struct et_error *reterr) ET_MUST_CHECK;

#endif
