/* Two SHA-256 of the same bytes at once: a long one that goes on from piece to piece, and one of
 * each piece. What a tape needs of every record: its leaf, and the hash of the whole object.
 *
 * A CPU with SHA instructions waits for each of them longer than it works on it; two hashes side by
 * side fill each other's waits, and cost little more than one. Elsewhere it is two contexts of
 * OpenSSL, one after the other. Both give the same bytes (test_crypto_pair).
 *
 * Errors and threads as in hash.h. */
#ifndef ET_NODE_CRYPTO_SHA256_PAIR_H
#define ET_NODE_CRYPTO_SHA256_PAIR_H

#include "node/crypto/hash.h"

struct et_sha256_pair;

/* Ready, nothing hashed. NULL: no memory. */
struct et_sha256_pair *et_sha256_pair_new(void) ET_MUST_CHECK;
struct et_sha256_pair *et_sha256_pair_free(struct et_sha256_pair *p); /* NULL is allowed; NULL */

/* `size` bytes into the long hash only. */
void et_sha256_pair_add(struct et_sha256_pair *p, const void *data, size_t size);

/* The piece `data` into the long hash, and *ret = SHA-256(prefix | data). */
void et_sha256_pair_piece(struct et_sha256_pair *p, uint8_t prefix, const void *data, size_t size,
			  uint8_t ret[ET_SHA256_SIZE]);

/* The long hash of all that was added; it begins anew. */
void et_sha256_pair_end(struct et_sha256_pair *p, uint8_t ret[ET_SHA256_SIZE]);

/* Whether two at once is what this machine does (and the next et_sha256_pair_new() takes). */
bool et_sha256_pair_is_fast(void);

/* For the test: OpenSSL's contexts, wherever it runs. */
struct et_sha256_pair *et_sha256_pair_new_slow(void) ET_MUST_CHECK;

#endif
