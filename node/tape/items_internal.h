/* What the plaintexts of META and KEYS have in common:
 *
 *   plaintext := version 1 | item*
 *   item      := type varint | length varint | value
 *
 * `what` is "meta" or "keys": for messages. */
#ifndef ET_NODE_TAPE_ITEMS_INTERNAL_H
#define ET_NODE_TAPE_ITEMS_INTERNAL_H

#include "node/base/bytes.h"
#include "node/base/err.h"

/* Begin an item of `size` bytes, which the caller adds; an empty `plain` gets the version first. */
void et_tape_item_begin(struct et_buffer *plain, uint8_t version, uint32_t type, size_t size);

/* Begin to read. ET_EMALFORMED: nothing is there; ET_EVERSION: another version. */
int et_tape_items_init(struct et_reader *r, struct et_view plain, uint8_t version, const char *what,
		       struct et_error *reterr) ET_MUST_CHECK;

/* 1, *ret_type (> 0) and *ret (a view): the next item. 0: the end. ET_EMALFORMED. */
int et_tape_items_next(struct et_reader *r, const char *what, uint32_t *ret_type,
		       struct et_view *ret, struct et_error *reterr) ET_MUST_CHECK;

#endif
