/* Keys by hand: a table of tab-separated values.
 *
 *   line := ssrc TAB suite TAB base64 of (master key | master salt) [TAB party]
 *
 * ssrc is a number, 0x... in hexadecimal, or "*": any; the suite is named as in SDP; party is
 * "caller", "callee" or nothing. Empty lines, lines that begin with '#' and a head line ("ssrc
 * ...") are passed over.
 *
 * Threads: one at a time per ring. */
#ifndef ET_NODE_SRTP_GIVEN_H
#define ET_NODE_SRTP_GIVEN_H

#include "node/srtp/ring.h"

#define ET_SRTP_GIVEN_BYTES_MAX (256 * 1024) /* of a table */

/* Add the keys of a table. ET_EMALFORMED, with the line's number and never with what stands in it;
 * ET_ELIMIT: more keys than fit in the ring; -ENOMEM. The keys of lines before stay. */
int et_srtp_given_read(struct et_view text, struct et_srtp_ring *ring,
		       struct et_error *reterr) ET_MUST_CHECK;

/* As above, of a file. -errno of opening and reading it; ET_ELIMIT: it is too long. */
int et_srtp_given_load(const char *path, struct et_srtp_ring *ring,
		       struct et_error *reterr) ET_MUST_CHECK;

#endif
