/* What somebody tells of a medium: metadata beside an audio or capture file, as JSON.
 *
 *   {"call": "PBX-2024-118", "start": "2024-03-01T09:15:00+01:00", "from": "+4930111", "to":
 * "1234", "agent": "jana", "site": "prg", "direction": "inbound", "facts": {"order": "A-17",
 * "amount": 12, "vip": true}, "tags": ["complaint"]}
 *
 * All of it may be left out. It is a stranger's: at most ET_TOLD_BYTES_MAX bytes, no other keys
 * (with a suggestion), no control characters, every text within its bounds.
 *
 * Threads: plain values. */
#ifndef ET_NODE_MEDIUM_TOLD_H
#define ET_NODE_MEDIUM_TOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/text/json.h"

#define ET_TOLD_BYTES_MAX 65536 /* of the document */
#define ET_TOLD_FACTS_MAX 60
#define ET_TOLD_TAGS_MAX 32
#define ET_TOLD_VALUE_MAX 1000 /* bytes of a fact's text */

struct et_told_fact {
	const char *key; /* view */
	enum { ET_TOLD_TEXT, ET_TOLD_INTEGER, ET_TOLD_BOOL } type;
	const char *text; /* view; "" of other types */
	int64_t number;
};

/* Texts are views into `json`, "" where they are not told. */
struct et_told {
	json_t *json;	  /* owned */
	int64_t start_us; /* 0: not told */
	const char *call;
	const char *from;
	const char *to;
	const char *agent;
	const char *site;
	const char *direction; /* "", inbound, outbound, internal */
	struct et_told_fact facts[ET_TOLD_FACTS_MAX];
	size_t fact_count;
	const char *tags[ET_TOLD_TAGS_MAX];
	size_t tag_count;
};

/* Read it; no bytes: nothing is told. `name` stands for the input in errors. ET_EMALFORMED,
 * ET_ELIMIT: what and where. On success the caller releases *ret. */
int et_told_read(const char *name, struct et_view text, struct et_told *ret,
		 struct et_error *reterr) ET_MUST_CHECK;
void et_told_release(struct et_told *t);

#endif
