/* The policy `replication`: what is read decides, and prints as text that reads as the same. */
#include <string.h>

#include "replication/limit/limit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 loses 4 KiB on some malformed quoted scalars; what we allocate is still watched.
 */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so\n";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct et_limits l;
	static struct et_limits again;
	struct et_error e = { 0 };

	if (et_limits_parse((const char *)data, size, "f", &l, &e) < 0) {
		et_assert(e.code < 0);
		return 0;
	}
	struct et_buffer text = { 0 };
	struct et_buffer twice = { 0 };
	et_limits_print(&l, &text);
	et_assert(et_limits_parse((const char *)text.data, text.size, "f", &again, &e) == 0);
	et_limits_print(&again, &twice);
	et_assert(text.size == twice.size && memcmp(text.data, twice.data, text.size) == 0);
	int64_t now = INT64_C(1790000000000000) + (int64_t)(size * UINT64_C(997000000));
	for (int k = ET_LIMIT_ALL; k < ET_LIMIT_CLASSES; k++) {
		const struct et_limit *at = et_limits_at(&l, "brq", k, now);
		et_assert(at == NULL || at->klass < 0 || at->klass == k);
		(void)et_limits_change_us(&l, "brq", k, now);
	}
	et_buffer_release(&text);
	et_buffer_release(&twice);
	return 0;
}
