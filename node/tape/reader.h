/* Reading a tape with its DEK: records in order, every tag checked before a byte is given out.
 *
 * Threads: one owner at a time. Reads may wait for the source. */
#ifndef ET_NODE_TAPE_READER_H
#define ET_NODE_TAPE_READER_H

#include "node/tape/tape.h"

struct et_tape_reader;

/* A record, or an item of a block: what was appended, whether or not the tape is padded. */
struct et_tape_record {
	enum et_tape_kind kind;
	uint32_t seq; /* of the record, or of the block; and so is the offset */
	uint32_t t_ms;
	uint64_t offset;      /* in the tape */
	struct et_view plain; /* into the reader, until the next call on it */
};

/* Open `source` (borrowed until et_tape_reader_free()). Checks header and key commitment. The tape
 * may be unsealed (live, torn): then reading ends at the last whole record. ET_ENOKEY: `dek` is not
 * the one of this tape. The caller owns *ret; `dek` is not kept. */
int et_tape_reader_new(const struct et_tape_source *source, const struct et_secret *dek,
		       struct et_tape_reader **ret, struct et_error *reterr) ET_MUST_CHECK;

/* Wipe and release; NULL is allowed; returns NULL. */
struct et_tape_reader *et_tape_reader_free(struct et_tape_reader *r);
static inline void et_tape_reader_freep(struct et_tape_reader **r)
{
	*r = et_tape_reader_free(*r);
}

const struct et_tape_header *et_tape_reader_header(const struct et_tape_reader *r); /* a view */

/* The footer, or NULL when the tape has none (or none that checks); a view. It proves itself only:
 * who needs to know that nothing was cut off its end compares root and key with the catalogue. */
const struct et_tape_seal *et_tape_reader_seal(const struct et_tape_reader *r);

/* 1 and *ret: the next record. 0: the end (of a sealed tape: as its footer says; of an unsealed
 * one: no further whole record, see et_tape_reader_torn()). ET_EINTEGRITY: the next record is not
 * authentic; the reader stays there. */
int et_tape_reader_next(struct et_tape_reader *r, struct et_tape_record *ret,
			struct et_error *reterr) ET_MUST_CHECK;

/* As et_tape_reader_next(), but the next one of that kind; of others only the heads are read
 * (blocks are opened): that they are of other kinds is not authentic. */
int et_tape_reader_next_of(struct et_tape_reader *r, enum et_tape_kind kind,
			   struct et_tape_record *ret, struct et_error *reterr) ET_MUST_CHECK;

/* Records that were read, or passed over, from the first on. */
uint64_t et_tape_reader_records(const struct et_tape_reader *r);

/* Bytes behind the last whole record of an unsealed tape; for the summary of who read to the end.
 */
uint64_t et_tape_reader_torn(const struct et_tape_reader *r);

/* Go to the last CHECKPOINT with t_ms <= `t_ms`, and 1: et_tape_reader_next() gives it out. 0:
 * there is none; go to the first record. Reads the INDEX, or without one (an open or recovered
 * tape, one of an older recorder) the heads of all records, once; that what is found there is a
 * CHECKPOINT is authentic when it was given out. Errors of the source; -ENOMEM. */
int et_tape_reader_find(struct et_tape_reader *r, uint32_t t_ms,
			struct et_error *reterr) ET_MUST_CHECK;

void et_tape_reader_rewind(struct et_tape_reader *r); /* to the first record */

/* 1 and *ret: the INDEX, whatever was read before; what follows it is read next. 0: there is none
 * that can be read. */
int et_tape_reader_index(struct et_tape_reader *r, struct et_tape_record *ret,
			 struct et_error *reterr) ET_MUST_CHECK;

#endif
