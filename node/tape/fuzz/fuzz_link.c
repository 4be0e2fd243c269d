/* Any bytes as the link of a generation. The first byte says what is repaired before it is read, so
 * that the fuzzer comes behind the checksums: 1 the old header's hash, 2 the old trailer's CRC. */
#include <stdlib.h>
#include <string.h>

#include "node/crypto/hash.h"
#include "node/tape/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_link l;

	if (size == 0) {
		return 0;
	}
	const unsigned repair = data[0];
	const size_t rest = size - 1;
	uint8_t *copy = malloc(rest + 1);
	if (copy == NULL) {
		return 0;
	}
	memcpy(copy, data + 1, rest);
	if (rest >= 24 + 160 + 192) {
		if ((repair & 1) != 0) {
			et_sha256(copy + 24, 128, copy + 24 + 128);
		}
		if ((repair & 2) != 0) {
			et_put32(copy + 184 + 184, et_crc32c(0, copy + 184, 184));
		}
	}
	if (et_tape_link_check((struct et_view){ copy, rest }, NULL, &l, NULL) == 0) {
		uint64_t records = 0;
		for (uint32_t i = 0; i < l.run_count; i++) {
			records += et_link_run_at(&l, i).records;
		}
		if (records != l.old_seal.records || l.left_out + l.changed > records) {
			abort();
		}
	}
	free(copy);
	return 0;
}
