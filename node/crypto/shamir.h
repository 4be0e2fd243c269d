/* Shamir's secret sharing over GF(2^8), for the escrow: any `threshold` of `count` shares give the
 * secret back, fewer say nothing about it.
 *
 *   share := version 1 | threshold 1 | count 1 | x 1 | set 4 | y (secret and its 8-byte check)
 *            | check 4 (SHA-256 of the preceding bytes, cut)
 *
 * `set` is random per split and keeps shares of two splits apart; the inner check tells a wrong
 * result. Arithmetic is without tables and branches on secret data (polynomial 0x11B).
 *
 * Threads: pure functions. */
#ifndef ET_NODE_CRYPTO_SHAMIR_H
#define ET_NODE_CRYPTO_SHAMIR_H

#include "node/base/err.h"
#include "node/base/secret.h"

#define ET_SHAMIR_OVERHEAD_SIZE 20 /* bytes that a share is longer than the secret */
#define ET_SHAMIR_SHARES_MAX 255

/* Split into `count` shares, written to shares[0..count): the caller owns each. 2 <= threshold <=
 * count <= ET_SHAMIR_SHARES_MAX, else -EINVAL. On failure no share is written. */
int et_shamir_split(const struct et_secret *secret, unsigned threshold, unsigned count,
		    struct et_secret **shares, struct et_error *reterr) ET_MUST_CHECK;

/* Join shares that people typed in. The caller owns *ret. ET_EMALFORMED: a share is damaged
 * (`reterr` says which, counted from 1); ET_EUSAGE: shares of different splits, twice the same, or
 * too few; ET_EINTEGRITY: they do not give a secret. */
int et_shamir_join(const struct et_secret *const *shares, unsigned count, struct et_secret **ret,
		   struct et_error *reterr) ET_MUST_CHECK;

#endif
