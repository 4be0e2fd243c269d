#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/crypto.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "node/crypto/harden.h"

static void leaves_no_core_and_no_ptrace(void **state)
{
	struct rlimit core = { 1, 1 };

	(void)state;
	assert_int_equal(et_harden_process(NULL), 0);
	assert_int_equal(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
	assert_int_equal(getrlimit(RLIMIT_CORE, &core), 0);
	assert_int_equal(core.rlim_cur, 0);
	assert_int_equal(core.rlim_max, 0);
	assert_int_equal(et_harden_process(NULL), 0); /* Twice does no harm. */
}

/* That it is wiped when it is freed shows cluster-tests/scenarios/memory.py: to look at it here
 * would be to read what was freed. */
static void openssl_keeps_what_it_holds_when_it_grows(void **state)
{
	static const size_t sizes[] = { 1, 24, 25, 4096, 100000, 70000, 30000, 16, 8, 64 };
	unsigned char *p = NULL;
	size_t size = 0;

	(void)state;
	assert_int_equal(et_harden_process(NULL), 0);
	for (size_t i = 0; i < ET_ARRAY_SIZE(sizes); i++) {
		unsigned char *q = OPENSSL_realloc(p, sizes[i]);
		assert_non_null(q);
		for (size_t k = 0; k < (size < sizes[i] ? size : sizes[i]); k++) {
			assert_int_equal(q[k], (unsigned char)(k * 7));
		}
		for (size_t k = 0; k < sizes[i]; k++) {
			q[k] = (unsigned char)(k * 7);
		}
		p = q;
		size = sizes[i];
	}
	assert_null(OPENSSL_realloc(p, 0));
	OPENSSL_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaves_no_core_and_no_ptrace),
		cmocka_unit_test(openssl_keeps_what_it_holds_when_it_grows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
