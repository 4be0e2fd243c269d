/* Secrets: short byte strings that must not outlive their use.
 *
 * A secret lives in locked, non-dumpable pages and is wiped when freed. Code holds key material
 * as `struct et_secret *` and nowhere else; the bytes are borrowed for one call at a time.
 *
 * Threads: a secret may move between threads; it is not locked against concurrent use. */
#ifndef ET_NODE_BASE_SECRET_H
#define ET_NODE_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"

#define ET_SECRET_SIZE_MAX 512 /* bytes; the longest key we hold is a P-256 private key in DER */

/* Invariant: 0 < size <= ET_SECRET_SIZE_MAX, and size never changes. */
struct et_secret;

/* Read the secret of exactly `size` bytes in the file at `path`.
 *
 * On success the caller owns *ret and releases it with et_secret_free(). On failure *ret is
 * untouched and `reterr` (may be NULL) says why:
 *   -ENOENT, -EACCES, ...  the file cannot be opened or read
 *   ET_EKEYPERM            group or others have access to it
 *   ET_ECORRUPT            it does not hold exactly `size` bytes */
int et_secret_load(const char *path, size_t size, struct et_secret **ret,
		   struct et_error *reterr) ET_MUST_CHECK;

/* A secret of `size` bytes, zeros, for the caller to fill through et_secret_edit(). NULL: no
 * memory. */
struct et_secret *et_secret_new(size_t size) ET_MUST_CHECK;

/* A copy of `size` bytes that the caller holds and then wipes. NULL: no memory. */
struct et_secret *et_secret_copy(const void *bytes, size_t size) ET_MUST_CHECK;

/* The bytes, to be filled in: borrowed, valid until `s` is freed. */
uint8_t *et_secret_edit(struct et_secret *s);

/* Equal length and bytes, in time that depends on the length only. */
bool et_secret_equal(const struct et_secret *a, const struct et_secret *b);

/* The bytes: borrowed, valid until `s` is freed. */
const uint8_t *et_secret_bytes(const struct et_secret *s);
size_t et_secret_size(const struct et_secret *s);

/* Wipe and release. NULL is allowed. Always returns NULL, for `s = et_secret_free(s)`. */
struct et_secret *et_secret_free(struct et_secret *s);

/* For ET_CLEANUP(). */
static inline void et_secret_freep(struct et_secret **s)
{
	*s = et_secret_free(*s);
}

#endif
