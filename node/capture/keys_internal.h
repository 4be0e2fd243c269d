/* SRTP keys, between the files that find them: keys.c (of signalling, by hand) and handshake.c (of
 * DTLS).
 *
 * Threads: the engine's. */
#ifndef ET_NODE_CAPTURE_KEYS_INTERNAL_H
#define ET_NODE_CAPTURE_KEYS_INTERNAL_H

#include "node/capture/engine_internal.h"
#include "node/tape/keys.h"

/* keys.c: into the call's tape; negative: no room for it now. */
int et_keys_tell_item(struct et_engine *e, const struct et_call *c,
		      const struct et_keys_item *item) ET_MUST_CHECK;
struct et_keys_item et_keys_item_of(const struct et_srtp_entry *entry); /* views into it */

/* handshake.c: the handshake, if there was one, gives the stream's key. false: its secret is not in
 * the key log. */
bool et_handshake_add_key(struct et_engine *e, struct et_stream *s);

#endif
