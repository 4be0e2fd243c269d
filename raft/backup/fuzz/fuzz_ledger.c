/* A file that somebody calls a ledger of erasures. */
#include <stdlib.h>

#include "raft/backup/backup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count(void *arg, const uint8_t recording[16], uint64_t index, int64_t time_us)
{
	(void)recording;
	(void)index;
	(void)time_us;
	(*(uint64_t *)arg)++;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_ledger_info info;
	uint64_t n = 0;

	if (et_ledger_read((struct et_view){ data, size }, NULL, count, &n, &info, NULL) == 0) {
		et_assert(n == info.erasures);
	}
	return 0;
}
