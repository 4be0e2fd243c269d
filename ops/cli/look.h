/* What a look at an interface says of an installation: `capture test`.
 *
 * Pure: the counts of some seconds in, findings out, each with its cause and the next thing to do.
 * No finding: packets come, both directions of signalling and media are seen, nothing is lost. */
#ifndef ET_OPS_CLI_LOOK_H
#define ET_OPS_CLI_LOOK_H

#include "node/capture/replay.h"
#include "node/text/json.h"

/* What the calls of a summary come to. */
struct et_look {
	uint32_t calls;	   /* with signalling */
	uint32_t answered; /* an answer was seen, or the call ended as calls do */
	uint32_t waited;   /* went on for et_look's patience without one */
	uint32_t both;	   /* media of both parties */
	uint32_t one_way;  /* answered, media of one party alone */
	uint32_t silent;   /* answered, no media, for as long */
	uint32_t media_only;
	uint32_t protected; /* streams of SRTP that no key opens */
	uint64_t media;	    /* packets of streams */
	uint64_t twice;	    /* ... that came a second time */
};

struct et_look et_look_count(const struct et_replay_summary *s);
/* Array of {code, detail, next}; the caller's. */
json_t *et_look_findings(const struct et_replay_summary *s, const struct et_look *l,
			 const char *interface);

#endif
