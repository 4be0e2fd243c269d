/* SHA-256 (FIPS 180-4), HMAC (RFC 2104), HKDF-SHA256 (RFC 5869), the PRF of TLS, comparison in
 * constant time.
 *
 * Hashing itself cannot fail but for lack of memory inside OpenSSL; that aborts the process (it is
 * a few hundred bytes), so that no caller can use a hash that was not computed.
 *
 * Threads: functions are pure; one thread at a time per struct et_sha256. */
#ifndef ET_NODE_CRYPTO_HASH_H
#define ET_NODE_CRYPTO_HASH_H

#include <stdbool.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/base/secret.h"

#define ET_SHA256_SIZE 32 /* bytes */

void et_sha256(const void *data, size_t size, uint8_t ret[ET_SHA256_SIZE]);

/* Incremental, reusable: a context of OpenSSL that is allocated once. */
struct et_sha256;

/* Ready for et_sha256_add(). NULL: no memory. */
struct et_sha256 *et_sha256_new(void) ET_MUST_CHECK;
struct et_sha256 *et_sha256_free(struct et_sha256 *h); /* NULL is allowed; returns NULL */
static inline void et_sha256_freep(struct et_sha256 **h)
{
	*h = et_sha256_free(*h);
}

void et_sha256_reset(struct et_sha256 *h);
void et_sha256_add(struct et_sha256 *h, const void *data, size_t size);
/* The hash of all that was added; `h` is reset. */
void et_sha256_end(struct et_sha256 *h, uint8_t ret[ET_SHA256_SIZE]);

/* HMAC-SHA256 of `data`. */
int et_hmac_sha256(const struct et_secret *key, struct et_view data, uint8_t ret[ET_SHA256_SIZE],
		   struct et_error *reterr) ET_MUST_CHECK;

/* HKDF-SHA256, extract and expand: `size` bytes (1..ET_SECRET_SIZE_MAX) for the purpose `info`.
 * An empty salt is allowed. The caller owns *ret. */
int et_hkdf_sha256(const struct et_secret *key, struct et_view salt, struct et_view info,
		   size_t size, struct et_secret **ret, struct et_error *reterr) ET_MUST_CHECK;

/* As above, for an output that is public (a key commitment). */
int et_hkdf_sha256_public(const struct et_secret *key, struct et_view salt, struct et_view info,
			  uint8_t *ret, size_t size, struct et_error *reterr) ET_MUST_CHECK;

/* The pseudorandom functions of TLS up to 1.2 (RFC 5246, section 5; RFC 2246 for the first). */
enum et_tls_prf { ET_TLS_PRF_MD5_SHA1, ET_TLS_PRF_SHA256, ET_TLS_PRF_SHA384 };

/* PRF(secret, label, seed): `size` bytes (1..ET_SECRET_SIZE_MAX). The caller owns *ret. */
int et_tls_prf(enum et_tls_prf prf, struct et_view secret, const char *label, struct et_view seed,
	       size_t size, struct et_secret **ret, struct et_error *reterr) ET_MUST_CHECK;

/* Equal bytes, in time that depends on `size` only. */
bool et_equal_constant_time(const void *a, const void *b, size_t size);

/* The bytes of a string without its NUL; a view into `text`. */
static inline struct et_view et_view_of(const char *text)
{
	return (struct et_view){ (const uint8_t *)text, strlen(text) };
}

#endif
