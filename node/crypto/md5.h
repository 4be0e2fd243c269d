/* MD5 (RFC 1321), for formats that have it as a check sum (FLAC's STREAMINFO). It finds an error,
 * and proves nothing against somebody who wants to deceive: for that there is node/crypto/hash.h.
 *
 * Threads: one owner at a time. */
#ifndef ET_NODE_CRYPTO_MD5_H
#define ET_NODE_CRYPTO_MD5_H

#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"

#define ET_MD5_SIZE 16 /* bytes */

struct et_md5;

/* The caller owns *ret. -ENOMEM; ET_EUNSUPPORTED: OpenSSL has none here (FIPS). */
int et_md5_new(struct et_md5 **ret, struct et_error *reterr) ET_MUST_CHECK;
struct et_md5 *et_md5_free(struct et_md5 *m); /* NULL is allowed; returns NULL */
static inline void et_md5_freep(struct et_md5 **m)
{
	*m = et_md5_free(*m);
}

void et_md5_add(struct et_md5 *m, const void *data, size_t size);
/* The hash of all that was added; only free() is left. */
void et_md5_end(struct et_md5 *m, uint8_t ret[ET_MD5_SIZE]);

#endif
