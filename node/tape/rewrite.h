/* A newer generation of a sealed tape: under another key, and perhaps without a span.
 *
 * Every record of the old tape is opened and checked; what has nothing of the span is sealed again
 * byte for byte. Of the span [from_us, to_us) these are left out:
 *  - packets (RTP, RTCP, telephone-events; of all streams) that arrived in it, and RTP packets that
 *    play in it by their timestamp, though they came beside it (20 ms are taken for their length);
 *  - bodies of SIP requests of the span that describe no session (INFO, MESSAGE, ...): their
 *    header stays;
 *  - facts of the span whose key begins with "dtmf" or "digit".
 * SDP, keys, streams and marks stay; a last META record has a mark ET_MARK_REDACTED. CHECKPOINT,
 * INDEX and END records are made anew, each in its place (the mark is before the INDEX): what they
 * tell is told of what is left. Times stay, so that whoever plays it hears silence. A block stays,
 * in its size, without what it had of the span; the mark of a padded tape is in a block.
 *
 * A record of a kind that this version does not know, with a time in the span or just before it,
 * cannot be cut: ET_EVERSION.
 *
 * Threads: one call, one owner; waits for the disk. Nothing is synced. */
#ifndef ET_NODE_TAPE_REWRITE_H
#define ET_NODE_TAPE_REWRITE_H

#include "node/tape/link.h"

struct et_tape_rewrite { /* all borrowed for the call */
	const struct et_tape_source *old;
	const struct et_tape_expect *expect; /* of the old tape */
	const struct et_secret *old_dek;
	const char *path;     /* of the new tape: must not exist */
	uint32_t generation;  /* of the new tape */
	uint32_t kek_version; /* that the new DEK is wrapped to */
	uint64_t dek_id;
	const struct et_secret *dek;
	int64_t from_us; /* the span; both 0: nothing is left out */
	int64_t to_us;
	struct et_view cause; /* of the mark */
	const struct et_tape_signer *signer;
};

/* Write it. *ret_header and *ret are those of the new tape; the link is added to `ret_link`. On
 * failure there is no file at `path`. Errors as of et_tape_verify() and et_tape_reader_next() for
 * the old tape; ET_ELIMIT: the link would be too long. */
int et_tape_rewrite(const struct et_tape_rewrite *order, struct et_tape_header *ret_header,
		    struct et_tape_seal *ret, struct et_buffer *ret_link,
		    struct et_error *reterr) ET_MUST_CHECK;

#endif
