/* Tapes with content, key and signer that a seed gives, for tests of damage and for readers in
 * other languages. The writer is the real one; where its records begin and what is in them is
 * written down here, beside it, so that a test need not ask the code that it tests.
 *
 * Threads: plain values. */
#ifndef ET_CLUSTER_TESTS_HARNESS_TAPE_MADE_H
#define ET_CLUSTER_TESTS_HARNESS_TAPE_MADE_H

#include <stdio.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/base/secret.h"
#include "node/tape/tape.h"

#define ET_MADE_RECORDS_MAX 4096 /* INDEX and END among them */

struct et_made_tape {
	uint64_t seed;
	struct et_secret *dek;	     /* owned */
	struct et_secret *sign_seed; /* owned */
	uint8_t sign_public[32];
	struct et_tape_signer signer;
	struct et_tape_header header;
	struct et_tape_seal seal;
	struct et_buffer object;		/* the sealed tape */
	uint32_t records;			/* that were appended */
	uint64_t ends[ET_MADE_RECORDS_MAX + 1]; /* ends[n]: where n records end */
	uint32_t sizes[ET_MADE_RECORDS_MAX];	/* bytes of plaintext */
	struct et_buffer tail[2];		/* plaintexts of INDEX and END, if it has them */
};

/* Record number `n` of the tape of `seed`: `size` bytes. */
void et_made_content(uint64_t seed, uint32_t n, uint8_t *ret, size_t size);
/* Record number `n` of a made tape, whatever it is: m->sizes[n] bytes. */
void et_made_plain(const struct et_made_tape *m, uint32_t n, uint8_t *ret);
/* With checkpoints: every fourth record is one. */
bool et_made_is_checkpoint(uint32_t n);

/* Write a tape of `records` records of 1 to `bytes` bytes to `path` (must not exist) and load it;
 * `ends`: with CHECKPOINT records among them (of any content: nothing reads it), and two more,
 * INDEX and END. DEK and signing key follow from `seed`; the tape's salt does not. *ret
 * (zero-initialised) is released with et_made_release(), also on failure. */
int et_made_tape(const char *path, uint64_t seed, uint32_t records, uint32_t bytes, bool ends,
		 struct et_made_tape *ret, struct et_error *reterr) ET_MUST_CHECK;
/* As above (`padded`: in blocks), with the META, KEYS, MEDIA, CHECKPOINT, INDEX and END of a call
 * in which every flag and item of the format occurs; a line on `out` for each packet: "packet
 * STREAM RTCP WHOLE MARKER TYPE SEQUENCE TIMESTAMP ARRIVAL_US SIZE SHA256". ret->ends and
 * ret->sizes are not filled in. */
int et_made_call_tape(const char *path, uint64_t seed, bool padded, FILE *out,
		      struct et_made_tape *ret, struct et_error *reterr) ET_MUST_CHECK;
/* Its records, into `t`. */
int et_made_call(struct et_tape *t, struct et_made_tape *m, FILE *out,
		 struct et_error *reterr) ET_MUST_CHECK;
void et_made_release(struct et_made_tape *m);

#endif
