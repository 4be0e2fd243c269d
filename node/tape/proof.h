/* Proof of an excerpt of a sealed tape: that these records, and no others between them, stand in
 * the tape whose root that node signed. Made without a key from any copy, checked without a key, a
 * cluster or the tape. Byte by byte in ops/doc/formats/proof.md.
 *
 *   part := head 16 | header 160 | trailer 192 | hashes outside of the excerpt | records or leaves
 *
 * Every bit of a part is under the header's hash, the trailer's CRC or signature, or the root; what
 * is left in the head follows from the rest, and is compared.
 *
 * Threads: pure functions; making one may wait for the source. */
#ifndef ET_NODE_TAPE_PROOF_H
#define ET_NODE_TAPE_PROOF_H

#include "node/tape/tape.h"

#define ET_PROOF_HEAD_SIZE 16		/* bytes in front of the tape's header */
#define ET_PROOF_BYTES_MAX (1ULL << 30) /* of records in one part: ask for less */

struct et_proof_span {
	uint32_t from_ms;
	uint32_t to_ms; /* > from_ms; UINT32_MAX: to the end */
	bool leaves;	/* leaf hashes in place of the records */
};

/* Add the part for the records that may hold anything of the span [from_ms, to_ms) to `ret`: from
 * the last record that begins at or before from_ms (with others of the same t_ms) to the last one
 * that begins before to_ms.
 * `expect` as for et_tape_verify(), may be NULL (object_hash is not compared: the object is not
 * read whole; seal_hash is). ET_ENOTFOUND: the tape ends before from_ms, or has no records;
 * ET_ETRUNCATED: it is not sealed; ET_EINTEGRITY: what is read of it is not what was signed or
 * expected; ET_ELIMIT: longer than ET_PROOF_BYTES_MAX. *ret is to be thrown away on failure. */
int et_tape_prove(const struct et_tape_source *source, const struct et_proof_span *span,
		  const struct et_tape_expect *expect, struct et_buffer *ret,
		  struct et_error *reterr) ET_MUST_CHECK;

/* What a part proves. */
struct et_proof {
	struct et_tape_header header;
	struct et_tape_seal seal; /* of the whole tape */
	uint32_t first;		  /* number of the first record */
	uint32_t count;		  /* records, > 0 */
	bool leaves;		  /* without the records themselves */
	uint32_t from_ms;	  /* when the first and the last record begin; 0 with `leaves` */
	uint32_t to_ms;
	size_t size_bytes; /* of the part */
};

/* Check the part at the begin of `bytes`, which may go on behind it. 0 and *ret: it proves what
 * *ret says, under the key seal.signer_public; that this key is that node's is for who knows.
 * `expect` may be NULL. ET_EINTEGRITY: it proves nothing; ET_EVERSION: of a newer version. All of
 * it may come from outside. */
int et_tape_proof_check(struct et_view bytes, const struct et_tape_expect *expect,
			struct et_proof *ret, struct et_error *reterr) ET_MUST_CHECK;

/* A proof of a recording: a head and one part for each segment in it.
 *
 *   proof := "EVTP" 4 | version 1 | zeros 3 | parts 4 | CRC-32C of the 12 bytes 4 | part*  */
#define ET_PROOF_FILE_HEAD_SIZE 16

void et_proof_head(uint32_t parts, uint8_t ret[ET_PROOF_FILE_HEAD_SIZE]);

/* How many parts the proof has whose first bytes these are. ET_EMALFORMED: it is none; ET_EVERSION;
 * ET_EINTEGRITY: its head is damaged. */
int et_proof_head_parse(struct et_view bytes, uint32_t *ret, struct et_error *reterr) ET_MUST_CHECK;

#endif
