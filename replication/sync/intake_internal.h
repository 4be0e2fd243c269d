/* The receiver's judgement: takes leaf hashes, then bytes, and says of each whether it is what was
 * recorded. Pure: no file, no socket. What it is fed may come from a hostile source, or from a file
 * that an earlier attempt left behind; it does not trust either.
 *
 *   LEAVES ──all there, and their root is the catalogue's──▶ BODY ──last record──▶ FOOTER ──▶ DONE
 *
 * Invariants: `good` is the end of the last unit (header, record) that was verified; `next` >= good
 * is the offset of the next byte; what lies between waits in `carry`. In FOOTER `good` stays at the
 * end of the records: the footer is judged by et_tape_verify() over the whole file.
 *
 * Threads: one owner at a time. */
#ifndef ET_REPLICATION_SYNC_INTAKE_INTERNAL_H
#define ET_REPLICATION_SYNC_INTAKE_INTERNAL_H

#include <stdbool.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "replication/sync/wire_internal.h"

/* What the catalogue says of a sealed segment. */
struct et_expect {
	uint8_t recording[16];
	uint32_t generation;
	uint32_t segment;
	uint8_t root[32];
	uint8_t header_hash[32];
	bool has_header_hash;
	uint8_t seal_hash[32];
	bool has_seal_hash;
	uint8_t object_hash[32]; /* of segments from before there were seal hashes */
	bool has_object_hash;
	uint64_t records;
	uint64_t size_bytes;
};

enum et_intake_state { ET_INTAKE_LEAVES, ET_INTAKE_BODY, ET_INTAKE_FOOTER, ET_INTAKE_DONE };

struct et_intake {
	struct et_expect expect;
	enum et_intake_state state;
	uint8_t *leaves; /* owned; expect.records * 32 bytes once the first of them came */
	uint32_t leaves_have;
	uint64_t good;
	uint64_t next;
	uint32_t record; /* verified so far */
	bool has_header;
	uint8_t header_hash[32];
	struct et_buffer carry;
};

/* ET_ELIMIT: more records than the protocol carries; ET_EMALFORMED: the catalogue's numbers cannot
 * be those of a tape. */
int et_intake_init(struct et_intake *in, const struct et_expect *expect,
		   struct et_error *reterr) ET_MUST_CHECK;
void et_intake_release(struct et_intake *in);

/* Hashes, in order and without holes. ET_EMALFORMED: out of order, or too many; ET_EINTEGRITY: all
 * are there and their root is another (they are forgotten then: another source may do better). */
int et_intake_leaves(struct et_intake *in, const struct et_wire_leaves *leaves,
		     struct et_error *reterr) ET_MUST_CHECK;
static inline bool et_intake_has_leaves(const struct et_intake *in)
{
	return in->state != ET_INTAKE_LEAVES;
}

/* Bytes at `offset`, which must be in->next. ET_EMALFORMED: another offset, too many bytes, or not
 * their time; ET_EINTEGRITY: a record is not what was recorded (reterr names it). After a failure
 * in->good tells what may be kept, and et_intake_rewind() makes it ready to go on from there. */
int et_intake_data(struct et_intake *in, uint64_t offset, const uint8_t *data, size_t size,
		   struct et_error *reterr) ET_MUST_CHECK;

/* Forget what is not verified: next = good. */
void et_intake_rewind(struct et_intake *in);

/* The source says that this is all. ET_ETRUNCATED: it is not; ET_EINTEGRITY: it means another. */
int et_intake_eof(struct et_intake *in, const struct et_wire_eof *eof,
		  struct et_error *reterr) ET_MUST_CHECK;

#endif
