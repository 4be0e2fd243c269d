/* Any bytes as <state>/root.slots. Their hash is made to fit, so that what lies behind it is
 * reached; what is accepted packs to the same bytes, and asks for no more than the bounds. */
#include <stdlib.h>
#include <string.h>

#include "node/crypto/hash.h"
#include "node/root/root_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct et_view bytes)
{
	struct et_buffer again = { 0 };
	struct root_slots s;
	struct et_error e;

	int rc = root_slots_parse(bytes, &s, &e);
	if (rc != 0 && rc != ET_ECORRUPT && rc != ET_EVERSION) {
		abort();
	}
	for (size_t i = 0; rc == 0 && i < s.count; i++) {
		if (s.slots[i].cost.memory_kib > MEMORY_KIB_MAX ||
		    s.slots[i].cost.passes > PASSES_MAX || s.slots[i].wrapped_size > WRAPPED_MAX) {
			abort();
		}
	}
	if (rc == 0 && (root_slots_pack(&s, &again) != 0 || again.size != bytes.size ||
			memcmp(again.data, bytes.data, bytes.size) != 0)) {
		abort();
	}
	et_buffer_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check((struct et_view){ data, size });
	uint8_t *copy = malloc(size + ET_SHA256_SIZE);
	if (copy != NULL) {
		if (size > 0) {
			memcpy(copy, data, size);
		}
		et_sha256(copy, size, copy + size);
		check((struct et_view){ copy, size + ET_SHA256_SIZE });
		free(copy);
	}
	return 0;
}
