#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(leaves_no_core_and_no_ptrace) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
