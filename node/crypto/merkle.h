/* Merkle trees as in RFC 6962, section 2.1, with SHA-256.
 *
 *   leaf hash   SHA-256(0x00 | data)
 *   node hash   SHA-256(0x01 | left | right)
 *   empty tree  SHA-256("")
 *
 * Threads: pure values; one owner each. */
#ifndef ET_NODE_CRYPTO_MERKLE_H
#define ET_NODE_CRYPTO_MERKLE_H

#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/crypto/hash.h"

#define ET_MERKLE_DEPTH_MAX 32 /* hashes of an inclusion proof: trees have at most 2^32 leaves */
#define ET_MERKLE_PATH_SIZE_MAX (ET_MERKLE_DEPTH_MAX * ET_SHA256_SIZE) /* bytes */

/* The root of a growing list: the roots of its full subtrees, largest first. Zero-initialised is
 * the empty tree. */
struct et_merkle {
	uint64_t count;						/* leaves; <= 2^32 */
	uint8_t peaks[ET_MERKLE_DEPTH_MAX + 1][ET_SHA256_SIZE]; /* private */
};

void et_merkle_leaf(const void *data, size_t size, uint8_t ret[ET_SHA256_SIZE]);
/* The same in a context of the caller's, who has many: it is empty before and afterwards. */
void et_merkle_leaf_in(struct et_sha256 *h, const void *data, size_t size,
		       uint8_t ret[ET_SHA256_SIZE]);
void et_merkle_add(struct et_merkle *m, const uint8_t leaf[ET_SHA256_SIZE]);
void et_merkle_root(const struct et_merkle *m, uint8_t ret[ET_SHA256_SIZE]);

/* The root over `count` leaf hashes that lie one after the other. */
void et_merkle_root_of(const uint8_t *leaves, uint64_t count, uint8_t ret[ET_SHA256_SIZE]);

/* The audit path of leaf `index` (section 2.1.1) in a tree of `count` leaf hashes, written to `ret`
 * one hash after the other, lowest first. Returns how many. `index` < `count` is the caller's
 * promise. */
size_t et_merkle_proof(const uint8_t *leaves, uint64_t count, uint64_t index,
		       uint8_t ret[ET_MERKLE_PATH_SIZE_MAX]);

/* 0: `leaf` is number `index` of the `count` leaves under `root`; `path` has `path_count` hashes.
 * ET_EINTEGRITY: this path does not prove it. All of it may come from outside. */
int et_merkle_verify(const uint8_t leaf[ET_SHA256_SIZE], uint64_t index, uint64_t count,
		     const uint8_t *path, size_t path_count,
		     const uint8_t root[ET_SHA256_SIZE]) ET_MUST_CHECK;

/* ---- Proofs of a range of leaves --------------------------------------------------------------
 *
 * The roots of the largest subtrees that lie wholly outside of the leaves first..first+n, from left
 * to right: with the leaves of the range they make the root (RFC 6962's trees; a range of one leaf
 * has the hashes of section 2.1.1 in another order). */

/* How many those are; at most 2 * ET_MERKLE_DEPTH_MAX. 0 < n, first + n <= count <= 2^32. */
size_t et_merkle_range_size(uint64_t count, uint64_t first, uint64_t n);

/* Write them to `ret`: et_merkle_range_size() hashes. `leaves` are all `count`. */
void et_merkle_range_proof(const uint8_t *leaves, uint64_t count, uint64_t first, uint64_t n,
			   uint8_t *ret);

/* The root that the `n` leaf hashes `range` and `outside` (et_merkle_range_size() hashes) make. All
 * of it may come from outside; that the root is the right one is the caller's to compare. */
void et_merkle_range_root(uint64_t count, uint64_t first, const uint8_t *range, uint64_t n,
			  const uint8_t *outside, uint8_t ret[ET_SHA256_SIZE]);

#endif
