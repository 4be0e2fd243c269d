#include "node/crypto/md5.h"

#include <stdlib.h>

#include "node/crypto/ossl_internal.h"

struct et_md5 {
	EVP_MD_CTX *ctx; /* owned */
};

int et_md5_new(struct et_md5 **ret, struct et_error *reterr)
{
	ET_CLEANUP(et_md5_freep) struct et_md5 *m = calloc(1, sizeof(*m));
	if (m != NULL) {
		m->ctx = EVP_MD_CTX_new();
	}
	if (m == NULL || m->ctx == NULL) {
		return et_fail(reterr, -ENOMEM, "MD5");
	}
	if (EVP_DigestInit_ex2(m->ctx, EVP_md5(), NULL) != 1) {
		et_ossl_clear();
		return et_fail(reterr, ET_EUNSUPPORTED, "MD5 of OpenSSL");
	}
	*ret = ET_TAKE(m);
	return 0;
}

struct et_md5 *et_md5_free(struct et_md5 *m)
{
	if (m != NULL) {
		EVP_MD_CTX_free(m->ctx);
		free(m);
	}
	return NULL;
}

void et_md5_add(struct et_md5 *m, const void *data, size_t size)
{
	if (size > 0) {
		int ok = EVP_DigestUpdate(m->ctx, data, size);
		et_assert(ok == 1);
	}
}

void et_md5_end(struct et_md5 *m, uint8_t ret[ET_MD5_SIZE])
{
	int ok = EVP_DigestFinal_ex(m->ctx, ret, NULL);
	et_assert(ok == 1);
}
