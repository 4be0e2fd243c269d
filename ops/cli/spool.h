/* Media of many calls at once, kept until a call is over, then read call by call: a file without a
 * name in the folder that the calls' audio will lie in, in pieces that are used again.
 *
 * A call costs one piece of memory (16 KiB); the file is as long as the calls under way at a time
 * have media. Packets lie in it as in a tape (node/tape/media.h), in the clear, as the audio will.
 *
 * Threads: one owner. */
#ifndef ET_OPS_CLI_SPOOL_H
#define ET_OPS_CLI_SPOOL_H

#include "node/base/err.h"
#include "node/tape/media.h"

struct et_spool;

/* Zero-initialised is empty. */
struct et_spool_call {
	struct et_media_encoder encoder; /* private: the piece that is begun */
	struct et_spool_piece *pieces;	 /* private, owned */
	uint32_t count;
	uint32_t room;
};

/* A file in `folder`, which exists. The caller owns *ret. */
int et_spool_new(const char *folder, struct et_spool **ret, struct et_error *reterr) ET_MUST_CHECK;
struct et_spool *et_spool_free(struct et_spool *s); /* NULL is allowed; returns NULL */

/* Keep a packet. -EINVAL: its fields are none of a packet; -ENOMEM; the disk's. */
int et_spool_add(struct et_spool *s, struct et_spool_call *c, const struct et_media_packet *p,
		 struct et_error *reterr) ET_MUST_CHECK;

/* Every packet of the call, in order, to `fn`, whose negative result ends it and is returned. The
 * call is empty afterwards in any case. */
int et_spool_drain(struct et_spool *s, struct et_spool_call *c,
		   int (*fn)(void *arg, const struct et_media_packet *p), void *arg,
		   struct et_error *reterr) ET_MUST_CHECK;

/* Give up what is kept of it. */
void et_spool_drop(struct et_spool *s, struct et_spool_call *c);

#endif
