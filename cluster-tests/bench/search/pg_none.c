#include "cluster-tests/bench/search/search.h"

void *bench_pg(const char *folder, const struct bench_side **ret, const char **why)
{
	(void)folder;
	(void)ret;
	*why = "built without libpq: install it by `ops/packages bench` and configure again";
	return NULL;
}
