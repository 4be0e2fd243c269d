/* Packs: many tapes in one archive object, `EVPK/1`. Byte by byte in ops/doc/formats/pack.md.
 *
 *   pack    := header | member... | index | trailer
 *   header  := "EVPK" | version 1 | zeros 3 | members 4 | zeros 4                        16 bytes
 *   member  := a tape object exactly as it lies on disk
 *   index   := entry...
 *   entry   := recording 16 | generation 4 | segment 4 | offset 8 | size 8 | SHA-256 32  72 bytes
 *   trailer := index offset 8 | index size 8 | SHA-256 of the index 32 | "EVPKEND1"      56 bytes
 *
 *   index object (beside the pack) := "EVPX" | version 1 | zeros 3 | members 4 | zeros 4
 *                                   | pack size 8 | SHA-256 of the pack 32 | index | SHA-256 of all
 * this
 *
 * A pack is named by the SHA-256 of its bytes, and its bytes follow from its members and their
 * order alone: building it again after a crash gives the same name. It can be opened without a
 * catalogue: the trailer finds the index, the index finds and checks each member, and a member is a
 * tape that proves itself.
 *
 * Threads: plain values. */
#ifndef ET_ARCHIVE_PACK_PACK_H
#define ET_ARCHIVE_PACK_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"

#define ET_PACK_HEADER_SIZE 16
#define ET_PACK_ENTRY_SIZE 72
#define ET_PACK_TRAILER_SIZE 56
#define ET_PACK_MEMBERS_MAX 65536
#define ET_PACK_KEY_SIZE 96 /* "packs/2026/11/<64 hex>.evpk" and a NUL */

struct et_pack_entry {
	uint8_t recording[16];
	uint32_t generation;
	uint32_t segment;
	uint64_t offset; /* in the pack */
	uint64_t size;
	uint8_t sha256[32];
};

/* The order in which a pack's parts follow from `entries` whose sizes and hashes are filled in:
 * sets each offset, and writes header and tail (index and trailer). ET_ELIMIT: too many members, or
 * no member. Returns the pack's size in *ret_size. */
int et_pack_layout(struct et_pack_entry *entries, size_t count, uint8_t header[ET_PACK_HEADER_SIZE],
		   struct et_buffer *tail, uint64_t *ret_size) ET_MUST_CHECK;

/* Where the index lies, from the last ET_PACK_TRAILER_SIZE bytes of a pack of `pack_size` bytes.
 * ET_EMALFORMED; ET_EVERSION: a trailer of another version. */
struct et_pack_trailer {
	uint64_t index_offset;
	uint64_t index_size;
	uint8_t index_sha256[32];
};
int et_pack_read_trailer(const uint8_t trailer[ET_PACK_TRAILER_SIZE], uint64_t pack_size,
			 struct et_pack_trailer *ret, struct et_error *reterr) ET_MUST_CHECK;

/* Check the index against its trailer, and hand out its entries, in order. ET_EINTEGRITY: the hash;
 * ET_EMALFORMED: members that overlap, leave holes or lie outside. */
int et_pack_read_index(const struct et_pack_trailer *trailer, const void *index, size_t size,
		       int (*fn)(void *arg, const struct et_pack_entry *entry), void *arg,
		       struct et_error *reterr) ET_MUST_CHECK;

/* The index object. */
int et_pack_write_index_object(const struct et_pack_entry *entries, size_t count,
			       uint64_t pack_size, const uint8_t pack_sha256[32],
			       struct et_buffer *ret) ET_MUST_CHECK;
int et_pack_read_index_object(const void *data, size_t size, uint64_t *ret_pack_size,
			      uint8_t ret_pack_sha256[32],
			      int (*fn)(void *arg, const struct et_pack_entry *entry), void *arg,
			      struct et_error *reterr) ET_MUST_CHECK;

/* "packs/<yyyy>/<mm>/<hash>.evpk" of the UTC month of `us` ("evpk" or "idx" as `ending`). */
void et_pack_key(const uint8_t sha256[32], int64_t us, const char *ending,
		 char ret[ET_PACK_KEY_SIZE]);

#endif
