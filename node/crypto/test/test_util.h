/* Hexadecimal vectors for the tests of this module. */
#ifndef ET_NODE_CRYPTO_TEST_UTIL_H
#define ET_NODE_CRYPTO_TEST_UTIL_H

#include "node/base/bytes.h"
#include "node/base/secret.h"

/* The bytes of a vector, in memory that lives to the end of the test program. */
static inline struct et_view unhex(const char *text)
{
	static uint8_t pool[65536];
	static size_t used;
	const size_t size = strlen(text) / 2;

	et_assert(size <= sizeof(pool) - used);
	uint8_t *p = pool + used;
	bool ok = et_unhex(text, strlen(text), p, size);
	et_assert(ok);
	used += size;
	return (struct et_view){ p, size };
}

static inline struct et_secret *unhex_secret(const char *text)
{
	struct et_view v = unhex(text);
	struct et_secret *s = et_secret_copy(v.data, v.size);
	et_assert(s != NULL);
	return s;
}

#endif
