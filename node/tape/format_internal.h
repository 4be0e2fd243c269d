/* The bytes of EVTM/1, and the pieces that writer, verifier, recovery and reader share. */
#ifndef ET_NODE_TAPE_FORMAT_INTERNAL_H
#define ET_NODE_TAPE_FORMAT_INTERNAL_H

#include "node/crypto/aead.h"
#include "node/crypto/merkle.h"
#include "node/tape/tape.h"

/* HEADER            RECORD HEAD         TRAILER
 *   0  "EVTM"  4      0  0xE7C4    2      0  "EVTF"         4
 *   4  version 1      2  kind      1      4  version        1
 *   5  suite   1      3  flags     1      5  suite          1
 *   6  flags   2      4  length    4      6  flags          2
 *   8  recording 16   8  sequence  4      8  records        4
 *  24  generation 4  12  t_ms      4     12  last t_ms      4
 *  28  segment 4     16  crc32c    4     16  body length    8
 *  32  salt   32                         24  root          32
 *  64  commitment 32                     56  signed_us      8
 *  96  kek id  4                         64  signer node    8
 * 100  kek version 4                     72  signer public 32
 * 104  dek id  8                        104  signature     64
 * 112  node    8                        168  object length  8
 * 120  t0_us   8                        176  zero           8
 * 128  hash   32                        184  crc32c         4
 *                                       188  "EVTE"         4 */
enum {
	TAPE_RECORD_MAGIC = 0xE7C4,
	TAPE_HEAD_CRC_AT = 16,	   /* in a record */
	TAPE_SIGNED_SIZE = 104,	   /* bytes of the trailer under the signature */
	TAPE_WINDOW_SIZE = 135168, /* a record, and the head behind it */
};

void et_tape_header_format(const struct et_tape_header *header,
			   uint8_t ret[ET_TAPE_HEADER_SIZE]); /* computes the hash, too */

/* The cipher of a tape, and the commitment to its DEK. */
int et_tape_cipher(const struct et_secret *dek, const uint8_t salt[32], struct et_aead **ret,
		   struct et_error *reterr) ET_MUST_CHECK;
int et_tape_commit(const struct et_secret *dek, const uint8_t salt[32],
		   uint8_t ret[ET_TAPE_HASH_SIZE], struct et_error *reterr) ET_MUST_CHECK;
/* The cipher, if `dek` is the one that the header commits to; ET_ENOKEY if not. */
int et_tape_unlock(const struct et_tape_header *header, const struct et_secret *dek,
		   struct et_aead **ret, struct et_error *reterr) ET_MUST_CHECK;

/* Nonce and AAD of a record, whose first 16 bytes are `head`. */
void et_tape_nonce(uint32_t seq, uint8_t ret[ET_AEAD_NONCE_SIZE]);
void et_tape_aad(const uint8_t header_hash[ET_TAPE_HASH_SIZE], const uint8_t *head,
		 uint8_t ret[ET_TAPE_HASH_SIZE + TAPE_HEAD_CRC_AT]);
uint32_t et_tape_crc(const uint8_t header_hash[ET_TAPE_HASH_SIZE], const uint8_t *record,
		     size_t size);

/* Read a record's head without its CRC: as et_tape_record_check(), with at least a head in `p`. */
int et_tape_head_parse(const uint8_t p[ET_TAPE_RECORD_HEAD_SIZE], uint32_t seq,
		       struct et_tape_record_head *ret) ET_MUST_CHECK;

/* The footer of `seal` (root, records, body_bytes, last_ms, flags are set): leaf list and trailer,
 * added to `ret`; fills in the signer's fields and size_bytes. */
int et_tape_footer_make(const uint8_t header_hash[ET_TAPE_HASH_SIZE], const uint8_t *leaves,
			const struct et_tape_signer *signer, struct et_tape_seal *seal,
			struct et_buffer *ret, struct et_error *reterr) ET_MUST_CHECK;

/* Read a trailer. ET_ETRUNCATED: there is none at the end of these bytes; ET_EINTEGRITY: there is
 * one, damaged or not signed by the key it names; ET_EVERSION. `size_bytes` is that of the object.
 */
int et_tape_trailer_parse(const uint8_t bytes[ET_TAPE_TRAILER_SIZE],
			  const uint8_t header_hash[ET_TAPE_HASH_SIZE], uint64_t size_bytes,
			  struct et_tape_seal *ret, struct et_error *reterr) ET_MUST_CHECK;

/* What of it is not as expected, as a sentence; NULL: nothing. `e` may be NULL; its object_hash is
 * not compared here. */
const char *et_tape_header_unexpected(const struct et_tape_header *h,
				      const struct et_tape_expect *e);
const char *et_tape_seal_unexpected(const struct et_tape_seal *s, const struct et_tape_expect *e);

/* ---- A window on a source that moves forward --------------------------------------------------
 */

struct et_tape_window {
	const struct et_tape_source *source; /* borrowed */
	uint8_t *data;			     /* owned, TAPE_WINDOW_SIZE */
	uint64_t base;			     /* offset of data[0] */
	size_t size;			     /* bytes in it */
};

int et_tape_window_init(struct et_tape_window *w, const struct et_tape_source *source,
			struct et_error *reterr) ET_MUST_CHECK;
void et_tape_window_release(struct et_tape_window *w);

/* A view of [offset, offset + want), or of less where the source ends; until the next call.
 * want <= TAPE_WINDOW_SIZE. */
int et_tape_window_view(struct et_tape_window *w, uint64_t offset, size_t want, struct et_view *ret,
			struct et_error *reterr) ET_MUST_CHECK;

/* Have just these bytes in the window, whatever was there: a look at a record far from the others.
 * They lie in the source; size <= TAPE_WINDOW_SIZE. */
int et_tape_window_load(struct et_tape_window *w, uint64_t offset, size_t size,
			struct et_error *reterr) ET_MUST_CHECK;

/* ---- The walk that verify and recover share ---------------------------------------------------
 */

struct et_tape_walk {
	struct et_tape_window window;
	uint64_t limit; /* records end here at the latest */
	struct et_tape_header header;
	struct et_aead *cipher; /* owned; NULL: tags are not checked */
	struct et_sha256
		*object;	/* owned; NULL: not asked for. SHA-256 of header and good records */
	struct et_sha256 *list; /* owned: SHA-256 of the leaf hashes, one after the other */
	struct et_sha256 *leaf; /* owned: of each record in turn */
	bool keep_leaves;	/* a footer is to be written: else they are not kept */
	struct et_merkle merkle;
	struct et_buffer leaves;
	uint64_t offset; /* behind the good records */
	uint32_t last_ms;
	uint32_t block_bytes; /* plaintext of the largest block */
	int stopped; /* 0: at the limit; ET_ETRUNCATED, ET_ECORRUPT, ET_EINTEGRITY: why before it */
	uint8_t *plain; /* owned; for checking tags */
};

/* Read the header (errors of et_tape_header_parse(), ET_ETRUNCATED) and get ready; with
 * `hash_object` to hash every byte of the object, too. */
int et_tape_walk_init(struct et_tape_walk *w, const struct et_tape_source *source,
		      const struct et_secret *dek, bool hash_object,
		      struct et_error *reterr) ET_MUST_CHECK;
void et_tape_walk_release(struct et_tape_walk *w);
/* Walk to the first record that does not check, or to `limit`. 0 also when it stops early. */
int et_tape_walk_run(struct et_tape_walk *w, uint64_t limit, struct et_error *reterr) ET_MUST_CHECK;

#endif
