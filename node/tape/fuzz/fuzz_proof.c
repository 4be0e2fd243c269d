/* Any bytes as the part of a proof, and as the head of a file of parts. The first byte says what is
 * repaired before it is read, so that the fuzzer comes behind the checksums: 1 the header's hash, 2
 * the trailer's CRC. What checks has its sizes inside the bytes. */
#include <stdlib.h>
#include <string.h>

#include "node/crypto/hash.h"
#include "node/tape/proof.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_proof p;
	uint32_t parts;

	if (size == 0) {
		return 0;
	}
	const unsigned repair = data[0];
	struct et_view v = { data + 1, size - 1 };
	(void)et_proof_head_parse(v, &parts, NULL);
	uint8_t *copy = malloc(v.size + 1);
	if (copy == NULL) {
		return 0;
	}
	memcpy(copy, v.data, v.size);
	if (v.size >= 368) {
		if ((repair & 1) != 0) {
			et_sha256(copy + 16, 128, copy + 16 + 128);
		}
		if ((repair & 2) != 0) {
			et_put32(copy + 176 + 184, et_crc32c(0, copy + 176, 184));
		}
	}
	v.data = copy;
	if (et_tape_proof_check(v, NULL, &p, NULL) == 0 &&
	    (p.size_bytes > v.size || p.count == 0 || p.first + p.count > p.seal.records)) {
		abort();
	}
	free(copy);
	return 0;
}
