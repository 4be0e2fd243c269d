#include "node/tape/index_internal.h"

#include <stdlib.h>
#include <string.h>

#include "node/tape/items_internal.h"

enum { VERSION = 1 };

/* ---- In memory ---- */

static void list_thin(struct tape_list *list)
{
	for (uint32_t i = 0; i < list->count / 2; i++) {
		list->all[i] = list->all[2 * (size_t)i];
	}
	list->count /= 2;
	list->stride *= 2;
}

int tape_list_add(struct tape_list *list, struct tape_checkpoint checkpoint)
{
	list->stride = list->stride == 0 ? 1 : list->stride;
	if (list->count == ET_CHECKPOINTS_MAX) {
		list_thin(list);
	}
	if (list->seen++ % list->stride != 0) {
		return 0;
	}
	if (list->count == list->capacity) {
		const uint32_t capacity = list->capacity * 2 + 8;
		struct tape_checkpoint *all = realloc(list->all, capacity * sizeof(*all));
		if (all == NULL) {
			return -ENOMEM;
		}
		list->all = all;
		list->capacity = capacity;
	}
	list->all[list->count++] = checkpoint;
	return 0;
}

void tape_list_release(struct tape_list *list)
{
	free(list->all);
	*list = (struct tape_list){ 0 };
}

/* ---- In a record ---- */

void tape_list_write(const struct tape_list *list, struct et_buffer *plain)
{
	struct tape_checkpoint before = { 0 };
	struct et_buffer b = { 0 };

	for (uint32_t i = 0; i < list->count; i++) {
		const struct tape_checkpoint *c = &list->all[i];
		et_buffer_add_varint(&b, c->seq - before.seq);
		et_buffer_add_varint(&b, c->offset - before.offset);
		et_buffer_add_varint(&b, c->t_ms - before.t_ms);
		before = *c;
	}
	et_tape_item_begin(plain, VERSION, ET_CHECKPOINT_LIST, b.size);
	if (b.size > 0) {
		et_buffer_add(plain, b.data, b.size);
	}
	plain->failed = plain->failed || b.failed;
	et_buffer_release(&b);
}

/* Every record before the INDEX takes room, so numbers and offsets grow; times do not go back. */
static bool entry_read(struct et_reader *r, const struct tape_checkpoint *before, uint64_t offset,
		       uint32_t seq, struct tape_checkpoint *ret)
{
	const uint64_t seqs = et_read_varint(r);
	const uint64_t bytes = et_read_varint(r);
	const uint64_t ms = et_read_varint(r);
	const bool first = before->offset == 0;

	if (r->failed || (seqs == 0 && !first) || bytes == 0 || seqs >= seq - before->seq ||
	    bytes >= offset - before->offset || ms > UINT32_MAX - before->t_ms ||
	    (first && bytes < ET_TAPE_HEADER_SIZE)) {
		return false;
	}
	*ret = (struct tape_checkpoint){ .offset = before->offset + bytes,
					 .seq = before->seq + (uint32_t)seqs,
					 .t_ms = before->t_ms + (uint32_t)ms };
	return true;
}

static int entries_read(struct et_view value, uint64_t offset, uint32_t seq, struct tape_list *ret)
{
	struct et_reader r = et_reader_of(value.data, value.size);
	struct tape_checkpoint before = { 0 };
	int rc = 0;

	while (rc == 0 && et_reader_left(&r) > 0) {
		if (ret->count == ET_CHECKPOINTS_MAX ||
		    !entry_read(&r, &before, offset, seq, &before)) {
			return ET_EMALFORMED;
		}
		rc = tape_list_add(ret, before);
	}
	return rc;
}

int tape_list_read(struct et_view index, uint64_t offset, uint32_t seq, struct tape_list *ret)
{
	struct et_checkpoint_reader r;
	struct et_checkpoint_item item;
	struct tape_list list = { 0 };
	bool found = false;

	int rc = et_checkpoint_reader_init(&r, index, NULL);
	while (rc == 0 && (rc = et_checkpoint_reader_next(&r, &item, NULL)) == 1) {
		rc = 0;
		if (item.type == ET_CHECKPOINT_LIST) {
			rc = found ? ET_EMALFORMED : entries_read(item.raw, offset, seq, &list);
			found = true;
		}
	}
	if (rc == 0 && !found) {
		rc = ET_EMALFORMED;
	}
	if (rc < 0) {
		tape_list_release(&list);
		return rc;
	}
	*ret = list;
	return 0;
}

void tape_end_format(uint64_t index_offset, uint32_t index_seq, uint8_t ret[TAPE_END_SIZE])
{
	memset(ret, 0, TAPE_END_SIZE);
	ret[0] = VERSION;
	et_put32(ret + 4, index_seq);
	et_put64(ret + 8, index_offset);
}

int tape_end_parse(struct et_view plain, uint64_t *ret_offset, uint32_t *ret_seq)
{
	if (plain.size != TAPE_END_SIZE) {
		return ET_EMALFORMED;
	}
	if (plain.data[0] != VERSION) {
		return ET_EVERSION;
	}
	*ret_seq = et_get32(plain.data + 4);
	*ret_offset = et_get64(plain.data + 8);
	return 0;
}
