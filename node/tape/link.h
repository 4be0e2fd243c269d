/* The link of a newer generation to the tape that it replaced: which records were kept, changed or
 * left out, signed by the node that had both keys. Public; made by et_tape_rewrite(), checked
 * without a key. Byte by byte, with what it proves and what it cannot, in
 * ops/doc/formats/link.md.
 *
 * Threads: pure functions. */
#ifndef ET_NODE_TAPE_LINK_H
#define ET_NODE_TAPE_LINK_H

#include "node/tape/tape.h"

#define ET_LINK_RUNS_MAX 8192
/* bytes of a link with `n` runs */
#define ET_LINK_SIZE(n) (24 + 160 + 192 + 32 + 32 + 4 + 32 + 4 + 5 * (size_t)(n) + 8 + 8 + 32 + 64)

enum et_link_why {
	ET_LINK_SPAN = 1, /* a span was left out */
	ET_LINK_KEY = 2,  /* another key, nothing was left out */
};

enum et_link_what {
	ET_LINK_KEPT = 1,
	ET_LINK_CHANGED = 2, /* packets or texts of the span were taken out of it */
	ET_LINK_LEFT_OUT = 3,
};

struct et_link_run {
	uint8_t what; /* enum et_link_what */
	uint32_t records;
};

struct et_link {
	uint8_t why; /* enum et_link_why */
	int64_t from_us;
	int64_t to_us;
	struct et_tape_header old_header;
	struct et_tape_seal old_seal;
	uint8_t new_header_hash[32];
	uint8_t new_root[32];
	uint32_t new_records;
	uint8_t kept[32]; /* of the plaintexts of the kept records, under the new key */
	uint32_t run_count;
	struct et_view runs; /* a view into the bytes: et_link_run_at() */
	uint64_t changed;    /* records, by the runs */
	uint64_t left_out;
	int64_t made_us;
	uint64_t node;
	uint8_t node_public[32];
};

struct et_link_run et_link_run_at(const struct et_link *link, uint32_t i);

/* What the verifier knows from elsewhere; NULL fields are not compared. */
struct et_link_expect {
	const uint8_t *old_root;
	const uint8_t *new_root;
	const uint8_t *new_header_hash;
	const uint8_t *node_public;
};

/* 0 and *ret: it says what *ret says, under the signature of ret->node_public, of an old tape that
 * ret->old_seal.signer_public signed. `expect` may be NULL. ET_EINTEGRITY: it is not whole, or not
 * what was expected; ET_EVERSION: of a newer version. The bytes may come from outside. */
int et_tape_link_check(struct et_view bytes, const struct et_link_expect *expect,
		       struct et_link *ret, struct et_error *reterr) ET_MUST_CHECK;

#endif
