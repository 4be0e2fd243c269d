/* A retention policy: whatever is read is within its bounds, and freed. */
#include "archive/policy/retention.h"

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
	struct et_retention_policy *p = NULL;
	struct et_error e = { 0 };

	if (et_retention_policy_parse((const char *)data, size, "f", &p, &e) == 0) {
		et_assert(p->rule_count <= ET_ARCHIVE_RULES_MAX);
		for (size_t i = 0; i < p->rule_count; i++) {
			et_assert(p->rules[i].name[0] != '\0' && p->rules[i].keep_us >= 0 &&
				  p->rules[i].erase_after_us >= 0);
		}
	} else {
		et_assert(p == NULL && e.code < 0);
	}
	p = et_retention_policy_free(p);
	return 0;
}
