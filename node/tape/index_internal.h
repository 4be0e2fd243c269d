/* The list of a tape's CHECKPOINT records: in memory, in an INDEX, and the END that leads to it.
 *
 *   LIST (an item of INDEX) := entry*       entry := Δsequence varint | Δoffset varint | Δt_ms
 * varint END                     := version 1 | 0 3 | sequence of INDEX 4 | offset of INDEX 8
 *
 * The first entry counts from sequence 0, offset 0, 0 ms. */
#ifndef ET_NODE_TAPE_INDEX_INTERNAL_H
#define ET_NODE_TAPE_INDEX_INTERNAL_H

#include "node/tape/checkpoint.h"
#include "node/tape/tape.h"

enum {
	TAPE_END_SIZE = 16, /* bytes of plaintext */
	TAPE_END_RECORD_SIZE = ET_TAPE_RECORD_HEAD_SIZE + TAPE_END_SIZE + ET_TAPE_TAG_SIZE,
};

struct tape_checkpoint {
	uint64_t offset;
	uint32_t seq;
	uint32_t t_ms;
};

/* Zero-initialised is empty. At most ET_CHECKPOINTS_MAX: of more, every second one, then every
 * fourth, ... */
struct tape_list {
	struct tape_checkpoint *all; /* owned */
	uint32_t count;
	uint32_t capacity;
	uint32_t stride; /* 0: 1 */
	uint64_t seen;
};

int tape_list_add(struct tape_list *list, struct tape_checkpoint checkpoint); /* -ENOMEM */
void tape_list_release(struct tape_list *list);

/* Add the item to an INDEX. */
void tape_list_write(const struct tape_list *list, struct et_buffer *plain);
/* Read it from an INDEX at `offset` with number `seq`. ET_EMALFORMED: it cannot be one of that
 * tape; ET_EVERSION; -ENOMEM. */
int tape_list_read(struct et_view index, uint64_t offset, uint32_t seq,
		   struct tape_list *ret) ET_MUST_CHECK;

void tape_end_format(uint64_t index_offset, uint32_t index_seq, uint8_t ret[TAPE_END_SIZE]);
/* ET_EMALFORMED, ET_EVERSION */
int tape_end_parse(struct et_view plain, uint64_t *ret_offset, uint32_t *ret_seq) ET_MUST_CHECK;

#endif
