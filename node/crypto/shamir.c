#include "node/crypto/shamir.h"

#include <string.h>

#include "node/base/bytes.h"
#include "node/crypto/hash.h"
#include "node/crypto/ossl_internal.h"

enum {
	SHARE_VERSION = 1,
	SHARE_HEAD = 8,	 /* version, threshold, count, x, set */
	SHARE_CHECK = 4, /* behind y */
	INNER_CHECK = 8, /* behind the secret, shared with it */
	Y_MAX = ET_SECRET_SIZE_MAX,
};

/* Product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1: no table, no branch on a value. */
static uint8_t gf_mul(uint8_t a, uint8_t b)
{
	unsigned product = 0;
	unsigned x = a;

	for (int bit = 0; bit < 8; bit++) {
		product ^= x & (0U - ((unsigned)b >> bit & 1U));
		x = x << 1 ^ (0x11BU & (0U - (x >> 7 & 1U)));
	}
	return (uint8_t)product;
}

/* a^254: the inverse; that of 0 is 0. */
static uint8_t gf_inverse(uint8_t a)
{
	uint8_t power = a;
	uint8_t result = 1;

	for (int bit = 1; bit < 8; bit++) {
		power = gf_mul(power, power);
		result = gf_mul(result, power);
	}
	return result;
}

static void share_free_all(struct et_secret **shares, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		shares[i] = et_secret_free(shares[i]);
	}
}

static void share_close(struct et_secret *share)
{
	uint8_t hash[ET_SHA256_SIZE];
	size_t size = et_secret_size(share) - SHARE_CHECK;

	et_sha256(et_secret_bytes(share), size, hash);
	memcpy(et_secret_edit(share) + size, hash, SHARE_CHECK);
}

/* For each byte of `value` a random polynomial of degree threshold - 1 through it at 0. The shares'
 * heads, with x, are there. */
static int share_fill(const struct et_secret *value, unsigned threshold, unsigned count,
		      struct et_secret **shares, struct et_error *reterr)
{
	uint8_t poly[ET_SHAMIR_SHARES_MAX];
	int rc = 0;

	for (size_t at = 0; at < et_secret_size(value) && rc == 0; at++) {
		poly[0] = et_secret_bytes(value)[at];
		rc = et_ossl_random(poly + 1, threshold - 1, reterr);
		for (unsigned i = 0; i < count && rc == 0; i++) {
			uint8_t *share = et_secret_edit(shares[i]);
			uint8_t y = 0;
			for (unsigned k = threshold; k > 0; k--) { /* Horner, at x = share[3]. */
				y = gf_mul(y, share[3]) ^ poly[k - 1];
			}
			share[SHARE_HEAD + at] = y;
		}
	}
	explicit_bzero(poly, sizeof(poly));
	return rc;
}

int et_shamir_split(const struct et_secret *secret, unsigned threshold, unsigned count,
		    struct et_secret **shares, struct et_error *reterr)
{
	const size_t size = et_secret_size(secret);
	uint8_t hash[ET_SHA256_SIZE];
	uint8_t set[4];

	if (threshold < 2 || threshold > count || count > ET_SHAMIR_SHARES_MAX) {
		return et_fail(reterr, -EINVAL, "split into %u shares of which %u suffice", count,
			       threshold);
	}
	if (size > Y_MAX - ET_SHAMIR_OVERHEAD_SIZE) {
		return et_fail(reterr, -EINVAL, "split a secret of %zu bytes", size);
	}
	ET_CLEANUP(et_secret_freep) struct et_secret *value = et_secret_new(size + INNER_CHECK);
	if (value == NULL) {
		return et_fail(reterr, -ENOMEM, "split a secret");
	}
	memcpy(et_secret_edit(value), et_secret_bytes(secret), size);
	et_sha256(et_secret_bytes(secret), size, hash);
	memcpy(et_secret_edit(value) + size, hash, INNER_CHECK);
	explicit_bzero(hash, sizeof(hash));

	struct et_secret *made[ET_SHAMIR_SHARES_MAX] = { NULL };
	int rc = et_ossl_random(set, sizeof(set), reterr);
	for (unsigned i = 0; i < count && rc == 0; i++) {
		made[i] = et_secret_new(size + ET_SHAMIR_OVERHEAD_SIZE);
		if (made[i] == NULL) {
			rc = et_fail(reterr, -ENOMEM, "split a secret");
			break;
		}
		uint8_t *p = et_secret_edit(made[i]);
		p[0] = SHARE_VERSION;
		p[1] = (uint8_t)threshold;
		p[2] = (uint8_t)count;
		p[3] = (uint8_t)(i + 1);
		memcpy(p + 4, set, sizeof(set));
	}
	if (rc == 0) {
		rc = share_fill(value, threshold, count, made, reterr);
	}
	if (rc < 0) {
		share_free_all(made, count);
		return rc;
	}
	for (unsigned i = 0; i < count; i++) {
		share_close(made[i]);
		shares[i] = made[i];
	}
	return 0;
}

/* Whole, of this version, and of the same split as the first one. */
static int share_check(const struct et_secret *const *shares, unsigned number,
		       struct et_error *reterr)
{
	const struct et_secret *share = shares[number];
	const uint8_t *p = et_secret_bytes(share);
	const size_t size = et_secret_size(share);
	uint8_t hash[ET_SHA256_SIZE];

	if (size <= ET_SHAMIR_OVERHEAD_SIZE) {
		return et_fail(reterr, ET_EMALFORMED, "share %u is too short", number + 1);
	}
	et_sha256(p, size - SHARE_CHECK, hash);
	if (!et_equal_constant_time(hash, p + size - SHARE_CHECK, SHARE_CHECK)) {
		return et_fail(reterr, ET_EMALFORMED, "share %u is mistyped or damaged",
			       number + 1);
	}
	if (p[0] != SHARE_VERSION) {
		return et_fail(reterr, ET_EVERSION, "share %u", number + 1);
	}
	if (p[3] == 0 || p[1] < 2 || p[1] > p[2] || p[3] > p[2]) {
		return et_fail(reterr, ET_EMALFORMED, "share %u", number + 1);
	}
	const uint8_t *first = et_secret_bytes(shares[0]);
	if (size != et_secret_size(shares[0]) || memcmp(first, p, 3) != 0 ||
	    memcmp(first + 4, p + 4, 4) != 0) {
		return et_fail(reterr, ET_EUSAGE, "share %u is of another split than share 1",
			       number + 1);
	}
	for (unsigned i = 0; i < number; i++) {
		if (et_secret_bytes(shares[i])[3] == p[3]) {
			return et_fail(reterr, ET_EUSAGE, "shares %u and %u are the same one",
				       i + 1, number + 1);
		}
	}
	return 0;
}

/* Lagrange at 0: the weight of share `number` among the first `count`. x are public. */
static uint8_t share_weight(const struct et_secret *const *shares, unsigned number, unsigned count)
{
	const uint8_t x = et_secret_bytes(shares[number])[3];
	uint8_t weight = 1;

	for (unsigned i = 0; i < count; i++) {
		const uint8_t other = et_secret_bytes(shares[i])[3];
		if (i != number) {
			weight = gf_mul(weight, gf_mul(other, gf_inverse((uint8_t)(other ^ x))));
		}
	}
	return weight;
}

int et_shamir_join(const struct et_secret *const *shares, unsigned count, struct et_secret **ret,
		   struct et_error *reterr)
{
	uint8_t hash[ET_SHA256_SIZE];

	if (count == 0 || count > ET_SHAMIR_SHARES_MAX) {
		return et_fail(reterr, ET_EUSAGE, "join %u shares", count);
	}
	for (unsigned i = 0; i < count; i++) {
		int rc = share_check(shares, i, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	const unsigned threshold = et_secret_bytes(shares[0])[1];
	if (count < threshold) {
		return et_fail(reterr, ET_EUSAGE, "%u shares are needed, %u are given", threshold,
			       count);
	}

	const size_t size = et_secret_size(shares[0]) - ET_SHAMIR_OVERHEAD_SIZE;
	ET_CLEANUP(et_secret_freep) struct et_secret *value = et_secret_new(size + INNER_CHECK);
	ET_CLEANUP(et_secret_freep) struct et_secret *secret = et_secret_new(size);
	if (value == NULL || secret == NULL) {
		return et_fail(reterr, -ENOMEM, "join shares");
	}
	for (unsigned i = 0; i < threshold; i++) {
		const uint8_t weight = share_weight(shares, i, threshold);
		const uint8_t *y = et_secret_bytes(shares[i]) + SHARE_HEAD;
		for (size_t at = 0; at < size + INNER_CHECK; at++) {
			et_secret_edit(value)[at] ^= gf_mul(weight, y[at]);
		}
	}
	memcpy(et_secret_edit(secret), et_secret_bytes(value), size);
	et_sha256(et_secret_bytes(secret), size, hash);
	bool same = et_equal_constant_time(hash, et_secret_bytes(value) + size, INNER_CHECK);
	explicit_bzero(hash, sizeof(hash));
	if (!same) {
		return et_fail(reterr, ET_EINTEGRITY, "the shares do not give a secret");
	}
	*ret = ET_TAKE(secret);
	return 0;
}
