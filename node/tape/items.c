#include "node/tape/items_internal.h"

void et_tape_item_begin(struct et_buffer *plain, uint8_t version, uint32_t type, size_t size)
{
	if (plain->size == 0) {
		et_buffer_add8(plain, version);
	}
	et_buffer_add_varint(plain, type);
	et_buffer_add_varint(plain, size);
}

int et_tape_items_init(struct et_reader *r, struct et_view plain, uint8_t version, const char *what,
		       struct et_error *reterr)
{
	*r = et_reader_of(plain.data, plain.size);
	const uint8_t found = et_read8(r);
	if (r->failed) {
		return et_fail(reterr, ET_EMALFORMED, "%s record of no bytes", what);
	}
	return found == version ? 0 : et_fail(reterr, ET_EVERSION, "%s of version %u", what, found);
}

int et_tape_items_next(struct et_reader *r, const char *what, uint32_t *ret_type,
		       struct et_view *ret, struct et_error *reterr)
{
	if (!r->failed && et_reader_left(r) == 0) {
		return 0;
	}
	const uint64_t type = et_read_varint(r);
	const uint64_t size = et_read_varint(r);
	const uint8_t *value = size <= SIZE_MAX ? et_read_bytes(r, (size_t)size) : NULL;
	if (r->failed || value == NULL || type == 0 || type > UINT32_MAX) {
		r->failed = true;
		return et_fail(reterr, ET_EMALFORMED, "item in a %s record", what);
	}
	*ret_type = (uint32_t)type;
	*ret = (struct et_view){ value, (size_t)size };
	return 1;
}
