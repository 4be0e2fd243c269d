/* Any bytes as the plaintext of a BLOCK: its items stay inside it, and written anew they are what
 * was read. And any bytes as a CHECKPOINT that is lengthened. */
#include <stdlib.h>
#include <string.h>

#include "node/tape/block_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool held)
{
	if (!held) {
		abort();
	}
}

static void pad(const uint8_t *data, size_t size)
{
	struct et_buffer b = { 0 };

	et_buffer_add(&b, data, size);
	tape_checkpoint_pad(&b, 64);
	check(b.size % 64 == 0 && b.size - size < 192 && memcmp(b.data, data, size) == 0);
	et_buffer_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_buffer anew = { 0 };
	struct et_reader r;
	struct tape_item item;

	if (size == 0 || size > 65536) {
		return 0;
	}
	pad(data, size);
	int rc = tape_block_init(&r, (struct et_view){ data, size });
	check((rc == 0) == (data[0] == 1));
	while (rc == 0 && (rc = tape_block_next(&r, &item)) == 1) {
		check(item.plain.size > 0 && item.plain.data > data &&
		      item.plain.data + item.plain.size <= data + size);
		tape_block_add(&anew, item.kind, item.t_ms, item.plain);
		rc = 0;
	}
	check(anew.size <= size && (anew.size == 0 || memcmp(anew.data, data, anew.size) == 0));
	if (rc == 0) {
		tape_block_fill(&anew, tape_block_size(0, size));
		check(anew.size >= size);
	}
	et_buffer_release(&anew);
	return 0;
}
