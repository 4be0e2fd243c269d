/* Trailer and index of a pack, and the index object, as they come back from a store. */
#include <string.h>

#include "archive/pack/pack.h"
#include "node/crypto/hash.h"

static int entry_take(void *arg, const struct et_pack_entry *entry)
{
	uint64_t *sum = arg;
	*sum += entry->size;
	return 0;
}

/* The hashes are made to fit, so that what they protect is reached too. */
static void with_hashes(const uint8_t *data, size_t size)
{
	uint8_t copy[4096];
	uint64_t sum = 0;
	uint64_t pack_size;
	uint8_t pack_hash[32];
	struct et_pack_trailer trailer;
	if (size < ET_PACK_TRAILER_SIZE || size > sizeof(copy)) {
		return;
	}
	memcpy(copy, data, size);
	et_sha256(copy, size - 32, copy + size - 32);
	(void)et_pack_read_index_object(copy, size, &pack_size, pack_hash, entry_take, &sum, NULL);
	memcpy(copy, data, size);
	uint8_t *end = copy + size - ET_PACK_TRAILER_SIZE;
	if (et_pack_read_trailer(end, et_get64(copy), &trailer, NULL) == 0 &&
	    trailer.index_size <= size - ET_PACK_TRAILER_SIZE) {
		et_sha256(copy, trailer.index_size, trailer.index_sha256);
		(void)et_pack_read_index(&trailer, copy, trailer.index_size, entry_take, &sum,
					 NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t sum = 0;
	uint64_t pack_size;
	uint8_t pack_hash[32];
	(void)et_pack_read_index_object(data, size, &pack_size, pack_hash, entry_take, &sum, NULL);
	with_hashes(data, size);
	return 0;
}
