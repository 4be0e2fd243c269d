#include "node/crypto/harden.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* ---- What OpenSSL lets go is wiped ----
 * OpenSSL 3.0 copies keys into buffers that it frees as they are (reading a PKCS#8 key: the
 * decoder's copies). Which of its memory held a secret nobody can say from outside: all of it is
 * wiped. */

static void *wiping_malloc(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return malloc(size);
}

static void wiping_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	if (p != NULL) {
		explicit_bzero(p, malloc_usable_size(p));
		free(p);
	}
}

/* realloc() would leave the old place behind as it is. */
static void *wiping_realloc(void *p, size_t size, const char *file, int line)
{
	if (p == NULL) {
		return malloc(size);
	}
	if (size == 0) {
		wiping_free(p, file, line);
		return NULL;
	}
	size_t old = malloc_usable_size(p);
	if (size <= old && size >= old / 2) {
		return p; /* It fits; what is behind is wiped with it. */
	}
	void *moved = malloc(size);
	if (moved != NULL) {
		memcpy(moved, p, old < size ? old : size);
		wiping_free(p, file, line);
	}
	return moved;
}

static int openssl_wipes(struct et_error *reterr)
{
	static atomic_bool done;

	if (atomic_exchange(&done, true)) {
		return 0;
	}
	if (CRYPTO_set_mem_functions(wiping_malloc, wiping_realloc, wiping_free) != 1) {
		return et_fail_plain(reterr, ET_EBUSY,
				     "OpenSSL was in use before its memory could be guarded");
	}
	return 0;
}

int et_harden_process(struct et_error *reterr)
{
	const struct rlimit none = { 0, 0 };
	struct rlimit lock;

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) {
		return et_fail(reterr, -errno, "make the process not dumpable");
	}
	if (setrlimit(RLIMIT_CORE, &none) < 0) {
		return et_fail(reterr, -errno, "forbid core files");
	}
	if (getrlimit(RLIMIT_MEMLOCK, &lock) == 0 && lock.rlim_cur < lock.rlim_max) {
		lock.rlim_cur = lock.rlim_max;
		(void)setrlimit(RLIMIT_MEMLOCK, &lock); /* Secrets are locked as far as it goes. */
	}
	return openssl_wipes(reterr);
}
