/* Any metadata: it is refused, or what was read is within its bounds. */
#include <stdlib.h>
#include <string.h>

#include "node/medium/told.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_told t;

	if (et_told_read("fuzz", (struct et_view){ data, size }, &t, NULL) < 0) {
		return 0;
	}
	for (size_t i = 0; i < t.fact_count; i++) {
		if (t.facts[i].key[0] == '\0' || strlen(t.facts[i].text) > ET_TOLD_VALUE_MAX) {
			abort();
		}
	}
	for (size_t i = 0; i < t.tag_count; i++) {
		if (t.tags[i][0] == '\0') {
			abort();
		}
	}
	if (t.start_us < 0 || strlen(t.from) > 200 || strlen(t.site) > 60) {
		abort();
	}
	et_told_release(&t);
	return 0;
}
