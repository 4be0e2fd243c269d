/* BLOCK: the records of a second as one record of a size that tells nothing (decision 0122).
 *
 *   block := version 1 | item* | zeros to its size
 *   item  := kind 1 | t_ms 4 | size 4 | plaintext
 *
 * A kind of 0 is where the zeros begin. Sizes are 2^n or 1.5 * 2^n bytes, so that a tape has few of
 * them. Byte by byte in ops/doc/formats/tape.md.
 *
 * Threads: pure functions on plain values. */
#ifndef ET_NODE_TAPE_BLOCK_INTERNAL_H
#define ET_NODE_TAPE_BLOCK_INTERNAL_H

#include <stdbool.h>

#include "node/tape/reader.h"

enum {
	TAPE_BLOCK_HEAD = 1,		 /* bytes before the first item */
	TAPE_ITEM_HEAD = 9,		 /* bytes before an item's plaintext */
	TAPE_BLOCK_GAP = 60,		 /* seconds of which none had its block: they get none */
	TAPE_CHECKPOINT_MULTIPLE = 2048, /* of a padded tape: bytes of a CHECKPOINT, */
	TAPE_INDEX_MULTIPLE = 4096,	 /* of an INDEX */
};

/* Records that stand for themselves, also in a padded tape. */
static inline bool tape_kind_is_own(enum et_tape_kind kind)
{
	return kind == ET_TAPE_CHECKPOINT || kind == ET_TAPE_INDEX || kind == ET_TAPE_END ||
	       kind == ET_TAPE_BLOCK;
}

/* The smallest size of a block that is at least `size` and has `need` bytes; ET_TAPE_PLAIN_MAX at
 * most. */
uint32_t tape_block_size(uint32_t size, size_t need);

/* Add an item; of an empty block its head comes first. Check block->failed. */
void tape_block_add(struct et_buffer *block, enum et_tape_kind kind, uint32_t t_ms,
		    struct et_view plain);
/* The zeros. */
void tape_block_fill(struct et_buffer *block, uint32_t size);

struct tape_item {
	enum et_tape_kind kind;
	uint32_t t_ms;
	struct et_view plain; /* a view into the block */
};

/* Begin to read. ET_EVERSION, ET_EMALFORMED. */
int tape_block_init(struct et_reader *r, struct et_view block) ET_MUST_CHECK;
/* 1 and *ret; 0: zeros or the end; ET_EMALFORMED: an item that is none. */
int tape_block_next(struct et_reader *r, struct tape_item *ret) ET_MUST_CHECK;

/* From here on blocks are given out as they are, with kind ET_TAPE_BLOCK. */
void tape_reader_raw(struct et_tape_reader *r);

/* Lengthen a CHECKPOINT or an INDEX to a multiple of `multiple` bytes by an item that readers pass
 * over; nothing is done where there is no room for that in a record. */
void tape_checkpoint_pad(struct et_buffer *plain, size_t multiple);

#endif
