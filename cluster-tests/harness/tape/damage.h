/* Every way in which bytes of one tape can be missing or wrong, one after the other, against what a
 * tape promises: exactly the authentic prefix is recovered, and nothing that was changed verifies.
 *
 * Threads: one. */
#ifndef ET_CLUSTER_TESTS_HARNESS_TAPE_DAMAGE_H
#define ET_CLUSTER_TESTS_HARNESS_TAPE_DAMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/err.h"

struct et_damage_config {
	const char *folder; /* for two files of the tape's size */
	uint64_t seed;
	uint32_t records; /* 1..ET_MADE_RECORDS_MAX */
	uint32_t bytes;	  /* a record has 1 to this many bytes of plaintext */
	bool bits;	  /* flip every bit, not one bit of every byte */
};

#define ET_DAMAGE_KINDS 16

/* One kind of damage. */
struct et_damage_tally {
	const char *name;
	const char *promise; /* what must come of it */
	uint64_t tried;
	uint64_t wrong;
	char first_wrong[160]; /* "" : none */
};

struct et_damage_result {
	uint64_t object_bytes;
	uint64_t body_bytes;
	uint32_t records;
	uint64_t tried; /* of all kinds */
	uint64_t wrong;
	struct et_damage_tally kinds[ET_DAMAGE_KINDS];
	uint32_t kind_count;
};

/* 0 also when promises were broken: result->wrong says how often. Other errors: of the files. */
int et_damage_run(const struct et_damage_config *config, struct et_damage_result *ret,
		  struct et_error *reterr) ET_MUST_CHECK;

#endif
