/* What rewrite.c writes into a link. */
#ifndef ET_NODE_TAPE_LINK_INTERNAL_H
#define ET_NODE_TAPE_LINK_INTERNAL_H

#include "node/tape/link.h"

struct link_draft {
	uint8_t why;
	int64_t from_us;
	int64_t to_us;
	uint8_t old_header[ET_TAPE_HEADER_SIZE];
	uint8_t old_trailer[ET_TAPE_TRAILER_SIZE];
	uint8_t new_header_hash[32];
	uint8_t new_root[32];
	uint32_t new_records;
	uint8_t kept[32];
	uint32_t run_count;
	struct et_link_run *runs; /* owned by whoever drafts */
};

/* Added to `ret`, signed. */
int link_write(const struct link_draft *d, const struct et_tape_signer *signer,
	       struct et_buffer *ret, struct et_error *reterr) ET_MUST_CHECK;

#endif
