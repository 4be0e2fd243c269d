/* The tape: one segment of a recording as a sealed, append-only object (EVTM/1).
 *
 *   object := header 160 | record* | [footer]
 *
 * Byte by byte in ops/doc/formats/tape.md. What holds for every tape:
 *  - record n (from 0) is sealed with nonce n under a key of this object alone; a number is never
 *    used twice under one key. So a tape that was reopened takes a footer and nothing else, and a
 *    tape whose write failed takes nothing but its footer;
 *  - each record is written by one write(2); what a crash leaves is whole records and one torn
 * tail;
 *  - anyone can verify a tape without a key: CRC, Merkle root over the ciphertext, signature.
 *
 * This header: what a tape is, and writing, verifying and recovering it. Reading with the key is in
 * reader.h, the plaintext of records in media.h and meta.h.
 *
 * Threads: a writer has one owner at a time; verify and recover may wait for the disk. Nothing here
 * syncs to disk but et_tape_recover(): the caller's tick does (et_tape_fd()). */
#ifndef ET_NODE_TAPE_TAPE_H
#define ET_NODE_TAPE_TAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/base/secret.h"

#define ET_TAPE_VERSION 1
#define ET_TAPE_SUITE 1		    /* AES-256-GCM, HKDF-SHA256, SHA-256, Ed25519 */
#define ET_TAPE_HEADER_SIZE 160	    /* bytes */
#define ET_TAPE_RECORD_HEAD_SIZE 20 /* bytes in front of the ciphertext */
#define ET_TAPE_TAG_SIZE 16	    /* bytes behind it */
#define ET_TAPE_PLAIN_MAX                                                                          \
	131072 /* bytes of plaintext in a record: 16 KiB and a UDP datagram fit                    \
		*/
#define ET_TAPE_RECORD_MAX (ET_TAPE_RECORD_HEAD_SIZE + ET_TAPE_PLAIN_MAX + ET_TAPE_TAG_SIZE)
#define ET_TAPE_BLOCK_MIN 1024	     /* bytes of plaintext in a block: the least, */
#define ET_TAPE_BLOCK_DEFAULT 8192   /* and as recorders begin */
#define ET_TAPE_BLOCK_MS 1000	     /* a block for each second */
#define ET_TAPE_RECORDS_MAX 16777216 /* records of one tape (194 days at one a second) */
#define ET_TAPE_FOOTER_HEAD_SIZE 8   /* bytes in front of the leaf hashes */
#define ET_TAPE_TRAILER_SIZE 192     /* bytes behind the leaf hashes: the end of the object */
#define ET_TAPE_HASH_SIZE 32	     /* bytes of a SHA-256 */

/* Kinds of records. A reader passes over those that it does not know. */
enum et_tape_kind {
	ET_TAPE_MEDIA = 1,
	ET_TAPE_META = 2,
	ET_TAPE_KEYS = 3,
	ET_TAPE_CHECKPOINT = 4, /* what a reader needs to begin here: checkpoint.h */
	ET_TAPE_INDEX = 5,	/* where they are; written by et_tape_end() only, as is */
	ET_TAPE_END = 6,	/* where that is: the last record */
	ET_TAPE_FILE =
		7, /* of an imported file: what it is, and its bytes that are no media: file.h */
	ET_TAPE_BLOCK = 8, /* the records of a second, padded: et_tape_pad(). Readers give out what
			      is in it */
};

/* Flags of a record. A reader refuses those that it does not know. */
enum {
	ET_TAPE_PADDED = 1, /* a BLOCK has it, and nothing else */
};

/* Flags of the footer. */
enum {
	ET_TAPE_RECOVERED = 1,	/* closed after a crash: the longest prefix that checks */
	ET_TAPE_UNVERIFIED = 2, /* with RECOVERED: without the DEK, so tags were not checked */
};

struct et_tape_header {
	uint8_t recording[16];
	uint32_t generation; /* from 1 */
	uint32_t segment;    /* from 1 */
	uint32_t kek_id;
	uint32_t kek_version;
	uint64_t dek_id;
	uint64_t node; /* who captured it */
	int64_t t0_us; /* of t_ms 0, UTC */

	/* Made by et_tape_create(). */
	uint8_t salt[32];
	uint8_t commitment[ET_TAPE_HASH_SIZE]; /* to the DEK */
	uint8_t hash[ET_TAPE_HASH_SIZE];       /* SHA-256 of the 128 bytes before it */
};

/* What the footer says, and what a caller puts into the catalogue. */
struct et_tape_seal {
	uint8_t root[ET_TAPE_HASH_SIZE]; /* Merkle root over the records */
	uint64_t records;
	uint64_t body_bytes; /* header and records */
	uint64_t size_bytes; /* the whole object */
	uint32_t last_ms;    /* t_ms of the last record, 0 without records */
	unsigned flags;	     /* ET_TAPE_RECOVERED, ET_TAPE_UNVERIFIED */
	int64_t signed_us;   /* when */
	uint64_t signer;     /* node id: who sealed it (the recovering node, after a crash) */
	uint8_t signer_public[32];
	uint8_t seal_hash[ET_TAPE_HASH_SIZE]; /* over header hash and trailer: with it every byte of
						 the object is told (decision 0115) */
	/* By the records, for who wrote or walked them; 0 from et_tape_footer_read(): */
	uint32_t block_bytes; /* plaintext of the largest block; 0: the tape is not padded */
};

/* Who signs. All borrowed for the call. */
struct et_tape_signer {
	uint64_t node;
	const struct et_secret *seed; /* Ed25519, 32 bytes */
	int64_t now_us;
	const uint8_t *public_key; /* its public half, 32 bytes; NULL: it is derived each
				      time, one of three products on the curve */
};

/* ---- Writing ----------------------------------------------------------------------------------
 */

struct et_tape;

/* Create the file (mode 0600; it must not exist, its folder must) and write the header. In `header`
 * the caller has filled the fields above the line; the others are filled in here. `dek` is 32 bytes
 * and is not kept. The caller owns *ret. */
int et_tape_create(const char *path, struct et_tape_header *header, const struct et_secret *dek,
		   struct et_tape **ret, struct et_error *reterr) ET_MUST_CHECK;

/* Seal in `room` (borrowed until the last record is appended; its owner releases it; ciphertext
 * only), which all tapes may share that one thread appends to: it stays in the caches, where a
 * thousand rooms would be cold at every record (decision 0107). Finishing and closing do not touch
 * it, and may be another thread's. */
void et_tape_share(struct et_tape *t, struct et_buffer *room);

/* Seal `size` bytes (1..ET_TAPE_PLAIN_MAX, 16 less in a padded tape; else -EINVAL, and nothing is
 * lost by it) as one record and write it with one write(2). `t_ms` is
 * the time of the first thing in it since t0; less than the last record's is raised to that. The
 * plaintext may be wiped or reused at once.
 *
 * On failure the file ends at the last whole record (`reterr` says so if even that failed), and the
 * tape takes only its footer: every later append returns the same code. The caller goes on with a
 * new segment under a new DEK. ET_ELIMIT: the tape is full (records), with the same consequence. */
int et_tape_append(struct et_tape *t, enum et_tape_kind kind, uint32_t t_ms, const void *plain,
		   size_t size, struct et_error *reterr) ET_MUST_CHECK;

/* ---- Padding ----
 *
 * Number, time and length of records are in the clear, and of a codec with a variable rate, or one
 * that sends nothing in silence, they tell who speaks when. From et_tape_pad() on they tell how
 * long it went on and nothing else: what is appended is gathered, and goes to disk as one BLOCK of
 * one size for each second since t0, also of a second in which there was nothing. CHECKPOINT, INDEX
 * and END stay records of their own, lengthened to few sizes; the caller appends a CHECKPOINT
 * behind a second (et_tape_tick()) at a constant distance. What was appended before stays as it is.
 *
 * What does not fit the size makes it larger, half as much again, for the rest of the tape: that
 * once is seen. So is what does not fit before the first MEDIA (signalling): more than one
 * block stands in its second then, and the size stays.
 *
 * What is gathered is lost by a crash, as what a caller has not appended yet. On failure (disk
 * full, memory) it is lost, too, and the tape takes only its footer. */

/* Begin with blocks of `bytes` (raised to a size that there is; ET_TAPE_BLOCK_MIN to
 * ET_TAPE_PLAIN_MAX). `t_ms`: the time now, since t0. Nothing if it is padded, ended or failed. */
void et_tape_pad(struct et_tape *t, uint32_t bytes, uint32_t t_ms);
bool et_tape_is_padded(const struct et_tape *t);

/* It is `t_ms` now: write the blocks of the seconds that are over. Of a minute and more in which
 * this was not called none are written but the first. Errors as of et_tape_append(). A tape that is
 * not padded, ended or failed is left as it is (0). */
int et_tape_tick(struct et_tape *t, uint32_t t_ms, struct et_error *reterr) ET_MUST_CHECK;
/* When the second at hand is over, in ms since t0; UINT32_MAX: not padded. */
uint32_t et_tape_second_end(const struct et_tape *t);

/* Write the block of the second at hand, which is the last. et_tape_end() and et_tape_finish() do
 * it where the caller did not. */
int et_tape_settle(struct et_tape *t, struct et_error *reterr) ET_MUST_CHECK;

/* Write the last two records: the INDEX, which is `plain` (that of a CHECKPOINT) and the list of
 * the tape's CHECKPOINT records, and the END that leads to it. Errors as of et_tape_append(); a
 * tape that failed, or has them, is left as it is (0). Without them a reader finds the checkpoints
 * by the heads of the records. Nothing but et_tape_finish() may follow. */
int et_tape_end(struct et_tape *t, uint32_t t_ms, struct et_view plain,
		struct et_error *reterr) ET_MUST_CHECK;

/* Write the footer. Not synced: publish the seal after the next good tick. After a failure (disk
 * full) the file ends at the last record, and the call may be repeated. */
int et_tape_finish(struct et_tape *t, const struct et_tape_signer *signer, struct et_tape_seal *ret,
		   struct et_error *reterr) ET_MUST_CHECK;

/* Records and bytes so far; what a tail can be told. */
uint64_t et_tape_records(const struct et_tape *t);
uint64_t et_tape_bytes(const struct et_tape *t);
int et_tape_fd(const struct et_tape *t); /* borrowed; -1 after a failed create */

/* Close the file and wipe the key; without et_tape_finish() the file stays unsealed. NULL is
 * allowed. Returns NULL. */
struct et_tape *et_tape_close(struct et_tape *t);
static inline void et_tape_closep(struct et_tape **t)
{
	*t = et_tape_close(*t);
}

/* ---- Where bytes come from --------------------------------------------------------------------
 */

/* Random access to a tape: a local file, a cache, a range of an archive pack. */
struct et_tape_source {
	/* Exactly `size` bytes at `offset` (always inside [0, size)), or a negative code. */
	int (*read)(void *arg, uint64_t offset, void *data, size_t size, struct et_error *reterr);
	void *arg;	/* borrowed */
	uint64_t size;	/* bytes of the tape as far as it is there */
	char name[128]; /* for messages; "" is allowed */
};

/* A local file as a source; et_tape_source_close() closes it. The size is that at the time of the
 * call. */
int et_tape_source_open(const char *path, struct et_tape_source *ret,
			struct et_error *reterr) ET_MUST_CHECK;
void et_tape_source_close(struct et_tape_source *s); /* of et_tape_source_open() only */
/* SHA-256 of its bytes, as sha256sum has it, by reading them once. */
int et_tape_source_hash(const struct et_tape_source *source, uint8_t ret[ET_TAPE_HASH_SIZE],
			struct et_error *reterr) ET_MUST_CHECK;
int et_tape_file_hash(const char *path, uint8_t ret[ET_TAPE_HASH_SIZE],
		      struct et_error *reterr) ET_MUST_CHECK;
/* A view of memory as a source: `bytes` must outlive it. */
struct et_tape_source et_tape_source_memory(const struct et_view *bytes);

/* ---- Pieces, for whoever moves tapes ----------------------------------------------------------
 */

/* Read a header. ET_EMALFORMED: not a tape; ET_EVERSION: a newer one; ET_ECORRUPT: its hash does
 * not fit. */
int et_tape_header_parse(const uint8_t bytes[ET_TAPE_HEADER_SIZE], struct et_tape_header *ret,
			 struct et_error *reterr) ET_MUST_CHECK;

struct et_tape_record_head {
	uint8_t kind;
	uint8_t flags; /* ET_TAPE_PADDED */
	uint32_t seq;
	uint32_t t_ms;
	uint32_t size; /* bytes of the whole record: head, ciphertext, tag */
};

/* The record at the begin of `bytes` (which may go on behind it): its size and checks that need no
 * key. Returns 0 and *ret; ET_ETRUNCATED: it goes on behind the end (ret->size is set, or 0 when
 * not even the head is there); ET_ECORRUPT: not a record of this tape with number `seq`. */
int et_tape_record_check(const uint8_t header_hash[ET_TAPE_HASH_SIZE], uint32_t seq,
			 struct et_view bytes, struct et_tape_record_head *ret) ET_MUST_CHECK;

/* The leaf hash of a whole record. */
void et_tape_leaf(struct et_view record, uint8_t ret[ET_TAPE_HASH_SIZE]);

/* The footer of a sealed tape, without its leaf hashes, checked against itself and the header (not
 * against the records). ET_ETRUNCATED: the tape has no footer. */
int et_tape_footer_read(const struct et_tape_source *source, struct et_tape_header *ret_header,
			struct et_tape_seal *ret, struct et_error *reterr) ET_MUST_CHECK;

/* Leaf hashes first..first+count of a sealed tape, as its footer lists them: compare with a root.
 */
int et_tape_leaves_read(const struct et_tape_source *source, const struct et_tape_seal *seal,
			uint64_t first, uint64_t count, uint8_t *ret,
			struct et_error *reterr) ET_MUST_CHECK;

/* ---- Verifying without a key ------------------------------------------------------------------
 */

/* What the caller knows from elsewhere (the catalogue); NULL fields are not compared. seal_hash
 * alone says which object it is, byte for byte; the others say earlier that it is another one. */
struct et_tape_expect {
	const uint8_t *recording;     /* 16 */
	uint32_t generation;	      /* 0: any */
	uint32_t segment;	      /* 0: any */
	const uint8_t *header_hash;   /* 32 */
	const uint8_t *root;	      /* 32 */
	const uint8_t *seal_hash;     /* 32 */
	const uint8_t *object_hash;   /* 32: SHA-256 of all bytes, of tapes that were sealed before
					 there were seal hashes. Each byte is hashed twice then, */
	bool hash_object;	      /* or because the caller needs report->object_hash */
	const uint8_t *signer_public; /* 32 */
};

/* What was found, also on failure. */
struct et_tape_report {
	struct et_tape_header header;
	struct et_tape_seal seal; /* as computed while reading; complete on success only */
	bool has_header;
	bool has_footer;
	bool has_object_hash;			/* on success, if it was asked for: */
	uint8_t object_hash[ET_TAPE_HASH_SIZE]; /* SHA-256 of the whole object */
	uint64_t good_records;			/* from the begin, without a hole */
	uint64_t good_bytes;			/* header and good records */
	uint64_t bad_offset;			/* where it first fails */
	char problem[160];			/* "" or what is wrong there */
};

/* Read the whole sealed object once: every record's CRC and leaf, root, signature, counts, lengths,
 * seal hash. 0: it is as it was sealed and as expected. ET_ETRUNCATED: no footer; ET_EINTEGRITY: it
 * was changed, or is not what was expected; ET_EMALFORMED, ET_EVERSION, ET_ECORRUPT: its header;
 * others: of the source. `expect` may be NULL: then the tape proves itself only, under the key it
 * names. */
int et_tape_verify(const struct et_tape_source *source, const struct et_tape_expect *expect,
		   struct et_tape_report *ret, struct et_error *reterr) ET_MUST_CHECK;

/* The longest prefix of an unsealed (tailed, torn) tape that checks by CRC: ret->good_*. 0 when
 * there is a header, even without records. ret->seal.root is the root over the good records. */
int et_tape_verify_prefix(const struct et_tape_source *source, const struct et_tape_expect *expect,
			  struct et_tape_report *ret, struct et_error *reterr) ET_MUST_CHECK;

/* ---- After a crash ----------------------------------------------------------------------------
 */

struct et_tape_recovery {
	struct et_tape_header header;
	struct et_tape_seal seal;
	bool was_sealed;    /* nothing was to be done: the footer is there and the tape verifies */
	uint64_t cut_bytes; /* behind the last good record, gone now */
};

/* Close a tape that a dead writer left, and whose seal nobody was told of (the catalogue and the
 * journal know no root of it): keep the longest prefix whose CRCs fit (and tags, with `dek`), cut
 * the rest, write and sync the footer, flagged RECOVERED (and UNVERIFIED without `dek`, which may
 * be NULL). Can be repeated after another crash in the middle.
 *
 * A whole footer is believed to be one of a seal that may be known elsewhere: if the tape verifies
 * it is left alone (was_sealed); if not it is left as it is, ET_EINTEGRITY: fetch another copy, or,
 * when surely nobody knows that seal, et_tape_recover_unpublished(). No usable header:
 * ET_EMALFORMED, ET_EVERSION, ET_ECORRUPT, ET_ETRUNCATED; the file is left as it is. ET_ENOKEY:
 * `dek` is not the one of this tape. */
int et_tape_recover(const char *path, const struct et_tape_signer *signer,
		    const struct et_secret *dek, struct et_tape_recovery *ret,
		    struct et_error *reterr) ET_MUST_CHECK;

/* As above, but a whole footer over records that do not check is cut off, too: a power cut may
 * leave the end of a file on disk and not its middle. Never for a tape whose seal was published. */
int et_tape_recover_unpublished(const char *path, const struct et_tape_signer *signer,
				const struct et_secret *dek, struct et_tape_recovery *ret,
				struct et_error *reterr) ET_MUST_CHECK;

#endif
