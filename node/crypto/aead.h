/* AES-256-GCM with a context that is set up once per key (NIST SP 800-38D).
 *
 * The caller chooses the nonce, and must never seal twice with one nonce under one key: a second
 * use gives the plaintexts and the authentication key away.
 *
 * Threads: one thread at a time per object. */
#ifndef ET_NODE_CRYPTO_AEAD_H
#define ET_NODE_CRYPTO_AEAD_H

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/base/secret.h"

#define ET_AEAD_KEY_SIZE 32   /* bytes */
#define ET_AEAD_NONCE_SIZE 12 /* bytes */
#define ET_AEAD_TAG_SIZE 16   /* bytes, behind the ciphertext */

struct et_aead;

/* A context for `key` (32 bytes; not kept: it may be freed afterwards). Owned by the caller. */
int et_aead_new(const struct et_secret *key, struct et_aead **ret,
		struct et_error *reterr) ET_MUST_CHECK;

/* Wipe and release; NULL is allowed. Returns NULL. */
struct et_aead *et_aead_free(struct et_aead *a);

/* For ET_CLEANUP(). */
static inline void et_aead_freep(struct et_aead **a)
{
	*a = et_aead_free(*a);
}

/* Seal `size` bytes into `ret`: size + ET_AEAD_TAG_SIZE bytes. `ret` may be `plain`, or not
 * overlap it at all. */
int et_aead_seal(struct et_aead *a, const uint8_t nonce[ET_AEAD_NONCE_SIZE], struct et_view aad,
		 const void *plain, size_t size, uint8_t *ret,
		 struct et_error *reterr) ET_MUST_CHECK;

/* Open `size` bytes (ciphertext and tag) into `ret`: size - ET_AEAD_TAG_SIZE bytes; in place is
 * allowed. ET_EINTEGRITY: too short, or not what was sealed with this key, nonce and aad; `ret` is
 * wiped then. */
int et_aead_open(struct et_aead *a, const uint8_t nonce[ET_AEAD_NONCE_SIZE], struct et_view aad,
		 const void *sealed, size_t size, uint8_t *ret,
		 struct et_error *reterr) ET_MUST_CHECK;

#endif
