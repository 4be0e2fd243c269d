/* A policy file: what is read must also be decided upon and freed. */
#include "archive/policy/policy.h"

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
	struct et_archive_policy *p = NULL;
	struct et_error e = { 0 };
	static const uint8_t id[16] = { 1 };
	struct et_archive_local local = { 1, true };
	struct et_archive_facts facts = { .recording = id,
					  .sealed = true,
					  .call_over = true,
					  .end_us = 60000000,
					  .site = "prg",
					  .from = "+420123",
					  .local = &local,
					  .local_count = 1 };
	struct et_archive_decision d;
	if (et_archive_policy_parse((const char *)data, size, "f", &p, &e) == 0) {
		et_archive_decide(p, &facts, INT64_C(1) << 60, &d);
		et_assert(d.rule == NULL || d.target != NULL);
	} else {
		et_assert(p == NULL && e.code < 0);
	}
	p = et_archive_policy_free(p);
	return 0;
}
