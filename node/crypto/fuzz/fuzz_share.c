/* Any shares, as if typed: joining stays inside them, and what joins splits and joins again.
 *
 * Input: share length 1, then shares of that length; their checks are made right if the first bit
 * of the length's byte is set. */
#include <stdlib.h>

#include "node/crypto/hash.h"
#include "node/crypto/shamir.h"

enum { SHARES_MAX = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct et_secret *share_of(const uint8_t *data, size_t size, int repair)
{
	struct et_secret *s = et_secret_copy(data, size);
	if (s == NULL) {
		abort();
	}
	if (repair && size > 4) {
		uint8_t hash[ET_SHA256_SIZE];
		et_sha256(data, size - 4, hash);
		memcpy(et_secret_edit(s) + size - 4, hash, 4);
	}
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_secret *shares[SHARES_MAX] = { NULL };
	struct et_secret *secret = NULL;
	struct et_error e;
	unsigned count = 0;

	if (size < 2) {
		return 0;
	}
	const size_t length = data[0] / 2 + 1U;
	for (size_t at = 1; count < SHARES_MAX && size - at >= length; at += length) {
		shares[count++] = share_of(data + at, length, data[0] & 1);
	}
	const struct et_secret *const *given = (const struct et_secret *const *)shares;
	if (et_shamir_join(given, count, &secret, &e) == 0) {
		struct et_secret *again[3] = { NULL };
		struct et_secret *back = NULL;
		if (et_secret_size(secret) != length - ET_SHAMIR_OVERHEAD_SIZE ||
		    et_shamir_split(secret, 2, 3, again, &e) < 0 ||
		    et_shamir_join((const struct et_secret *const *)again + 1, 2, &back, &e) < 0 ||
		    !et_secret_equal(secret, back)) {
			abort();
		}
		for (unsigned i = 0; i < 3; i++) {
			again[i] = et_secret_free(again[i]);
		}
		back = et_secret_free(back);
	}
	secret = et_secret_free(secret);
	for (unsigned i = 0; i < count; i++) {
		shares[i] = et_secret_free(shares[i]);
	}
	return 0;
}
