/* Whose is an RTP packet that no stream knows: the call whose addresses fit best. A look, which
 * changes nothing.
 *
 * Threads: the engine's. */
#ifndef ET_NODE_CAPTURE_MATCH_INTERNAL_H
#define ET_NODE_CAPTURE_MATCH_INTERNAL_H

#include "node/capture/engine_internal.h"

struct et_match {
	struct et_call *call;		/* borrowed, as all here; NULL: none fits */
	uint8_t party;			/* who sends */
	const struct et_endpoint *to;	/* where it goes; NULL: not named */
	const struct et_endpoint *from; /* where its sender receives; NULL: not named */
	int rank;
	int certain; /* the part of the rank that SDP alone gives */
	int rivals;  /* calls that SDP alone fits as well */
};

/* By the packet's destination first, then by its source (symmetric RTP). */
struct et_match et_match_find(struct et_engine *e, const struct et_stream_key *key);
/* How sure that is; there must be a call. */
enum et_capture_association et_match_association(const struct et_match *m);

#endif
