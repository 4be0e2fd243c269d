#include "node/crypto/harden.h"

#include <sys/prctl.h>
#include <sys/resource.h>

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
	return 0;
}
