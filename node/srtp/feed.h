/* Keys that come line by line while calls run: lines of a key log (node/keylog) and of a table of
 * keys (node/srtp/given.h) in any order, cut anywhere.
 *
 *   line := label ' ' client random ' ' secret  |  ssrc TAB suite TAB base64 [TAB party]  |  '#'
 * ...
 *
 * Each line is judged by itself, so that who gives it can be told at once. A feed holds one line in
 * secret memory, 480 bytes at most; a longer one is passed over to its end.
 *
 * Threads: one at a time per feed. */
#ifndef ET_NODE_SRTP_FEED_H
#define ET_NODE_SRTP_FEED_H

#include "node/base/bytes.h"
#include "node/base/secret.h"
#include "node/keylog/keylog.h"
#include "node/srtp/ring.h"

#define ET_KEY_LINE_MAX 480 /* bytes, without its end */

struct et_key_feed;

/* The caller owns *ret. -ENOMEM */
int et_key_feed_new(struct et_key_feed **ret, struct et_error *reterr) ET_MUST_CHECK;
struct et_key_feed *et_key_feed_free(struct et_key_feed *f); /* wipes; NULL is allowed; NULL */

/* The next bytes. `each` gets every line that ends in them, without its end: `wrong` is NULL for a
 * key (`line` is a view until it returns), "" for what says nothing (empty, a comment, a label that
 * nothing here can use), else a sentence without anything of the line, which is NULL then. Lines
 * are counted from 1. A negative result of it ends the call, and is returned. */
int et_key_feed_add(struct et_key_feed *f, const void *data, size_t size,
		    int (*each)(void *arg, uint64_t number, struct et_view line, const char *wrong),
		    void *arg) ET_MUST_CHECK;

/* Whole lines that were judged to be keys, each with its end: into the key log or the ring. true:
 * some went into the ring. */
bool et_key_lines_take(struct et_view lines, struct et_keylog *keylog, struct et_srtp_ring *ring);

#endif
