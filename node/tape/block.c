#include "node/tape/block_internal.h"

#include <string.h>

#include "node/tape/checkpoint.h"
#include "node/tape/items_internal.h"

enum { VERSION = 1 };

uint32_t tape_block_size(uint32_t size, size_t need)
{
	uint32_t power = ET_TAPE_BLOCK_MIN;

	while (power < ET_TAPE_PLAIN_MAX) {
		if (power >= size && power >= need) {
			return power;
		}
		if (power + power / 2 >= size && power + power / 2 >= need) {
			return power + power / 2;
		}
		power *= 2;
	}
	return ET_TAPE_PLAIN_MAX;
}

void tape_block_add(struct et_buffer *block, enum et_tape_kind kind, uint32_t t_ms,
		    struct et_view plain)
{
	if (block->size == 0) {
		et_buffer_add8(block, VERSION);
	}
	et_buffer_add8(block, (uint8_t)kind);
	et_buffer_add32(block, t_ms);
	et_buffer_add32(block, (uint32_t)plain.size);
	et_buffer_add(block, plain.data, plain.size);
}

void tape_block_fill(struct et_buffer *block, uint32_t size)
{
	if (block->size == 0) {
		et_buffer_add8(block, VERSION);
	}
	et_assert(block->size <= size);
	const size_t zeros = size - block->size;
	uint8_t *at = zeros > 0 ? et_buffer_reserve(block, zeros) : NULL;
	if (at != NULL) {
		memset(at, 0, zeros);
		block->size += zeros;
	}
}

int tape_block_init(struct et_reader *r, struct et_view block)
{
	*r = et_reader_of(block.data, block.size);
	const uint8_t version = et_read8(r);
	return r->failed ? ET_EMALFORMED : version == VERSION ? 0 : ET_EVERSION;
}

int tape_block_next(struct et_reader *r, struct tape_item *ret)
{
	if (!r->failed && et_reader_left(r) == 0) {
		return 0;
	}
	const uint8_t kind = et_read8(r);
	if (!r->failed && kind == 0) {
		r->p = r->end;
		return 0;
	}
	const uint32_t t_ms = et_read32(r);
	const size_t size = et_read32(r);
	const uint8_t *data = et_read_bytes(r, size);
	if (r->failed || size == 0 || tape_kind_is_own((enum et_tape_kind)kind)) {
		r->failed = true;
		return ET_EMALFORMED;
	}
	*ret = (struct tape_item){ (enum et_tape_kind)kind, t_ms, { data, size } };
	return 1;
}

void tape_checkpoint_pad(struct et_buffer *plain, size_t multiple)
{
	enum { SHORT = 2 + 127, ONE_TOO_MANY = SHORT + 1 }; /* type, length in a byte, value */
	const size_t over = plain->size % multiple;
	size_t more = over == 0 ? 0 : multiple - over;

	if (more == 0 || plain->size + more + multiple > ET_TAPE_PLAIN_MAX) {
		return;
	}
	while (more < 2 || more == ONE_TOO_MANY) { /* no item has so many bytes */
		more += multiple;
	}
	const size_t zeros = more - (more <= SHORT ? 2 : 3);
	et_tape_item_begin(plain, plain->data[0], ET_CHECKPOINT_PAD, zeros);
	uint8_t *at = et_buffer_reserve(plain, zeros);
	if (at != NULL && zeros > 0) {
		memset(at, 0, zeros);
		plain->size += zeros;
	}
}
