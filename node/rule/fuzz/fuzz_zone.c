#include <stdint.h>
#include <string.h>

#include "node/rule/rule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is read has its changes in order, and every moment has an offset of a possible size. The
 * same bytes are then a pattern and a text: matching ends, and a pattern without signs of its own
 * fits itself. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct et_zone z;
	if (et_zone_read("f", data, size, &z, NULL) == 0) {
		et_assert(z.count <= ET_ZONE_CHANGES_MAX);
		for (uint32_t i = 1; i < z.count; i++) {
			et_assert(z.changes[i - 1].at_s < z.changes[i].at_s);
		}
		for (int64_t t = -4000000000; t < 4000000000; t += 100000000) {
			int32_t o = et_zone_offset(&z, t * 1000000);
			et_assert(o >= -26 * 3600 && o <= 26 * 3600);
		}
	}
	char pattern[ET_RULE_PATTERN_MAX + 1];
	size_t n = size < ET_RULE_PATTERN_MAX ? size : ET_RULE_PATTERN_MAX;
	memcpy(pattern, data, n);
	pattern[n] = '\0';
	bool fits = et_rule_glob(pattern, (const char *)data, strlen(pattern), false);
	et_assert(fits || strpbrk(pattern, "*?[\\") != NULL);
	const char *why;
	(void)et_rule_number_check(pattern, &why);
	char key[ET_JOIN_KEY_MAX];
	(void)et_join_numbers_key(pattern, pattern, 4, key);
	if (et_join_header_key("Session-ID", (struct et_view){ data, size }, key)) {
		et_assert(strlen(key) == 11 + 32);
	}
	if (et_join_header_key("X", (struct et_view){ data, size }, key)) {
		et_assert(strlen(key) == 2 + size);
	}
	return 0;
}
