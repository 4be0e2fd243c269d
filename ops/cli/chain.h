/* The audit chain in an exported file, verified without a cluster.
 *
 * A file holds the events as `audit list -o ndjson` (one object a line) or `-o json` ({"events":
 * [...]}) prints them. Each is rebuilt as the record that was hashed:
 * hash = SHA-256(0x02 | prev_hash | the record packed without its hash), and its prev_hash must be
 * the hash before. An export that begins in the middle proves itself from there on only.
 *
 * Threads: pure functions. */
#ifndef ET_OPS_CLI_CHAIN_H
#define ET_OPS_CLI_CHAIN_H

#include "node/text/json.h"

struct et_chain {
	uint64_t events;
	uint64_t first;	  /* number of the first event */
	uint64_t last;	  /* number of the last one that fits */
	uint8_t head[32]; /* its hash */
};

/* Continue the chain with one event. ET_EMALFORMED: it is not one; ET_EINTEGRITY: it does not fit,
 * reterr names its number. */
int et_chain_add(struct et_chain *chain, const json_t *event,
		 struct et_error *reterr) ET_MUST_CHECK;

/* The whole content of a file; `name` for messages. */
int et_chain_verify(const char *name, const char *text, size_t size, struct et_chain *ret,
		    struct et_error *reterr) ET_MUST_CHECK;

#endif
