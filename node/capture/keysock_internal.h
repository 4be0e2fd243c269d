/* Keys that are given through a Unix socket while calls run (an SBC's plug-in, a script): a thread
 * of its own reads, the ring thread takes.
 *
 *   connection ─▶ node/srtp/feed.h judges each line ─▶ room ─▶ ring thread: key log and ring of
 * keys └── an answer a line: "ok", or "line N: WHY"
 *
 * Promises
 *   - Who may: root, the daemon's own user, and the members of the configured group; the socket has
 * no rights for others, and the peer's credentials (SO_PEERCRED, SO_PEERGROUPS) are looked at as
 * well.
 *   - "ok" says that the key is handed to the recorder. It is in memory only, as all keys outside
 * of tapes: one that is to survive the recorder must be used by a call, or given again.
 *   - Nothing of a line is ever in an answer, a log or a core dump.
 *
 * Bounds: 8 connections (a ninth is closed at once), 480 bytes a line, 64 KiB that wait to be
 * taken: when they are full, nobody is read until the recorder has taken them. A connection that
 * sends nothing for five minutes, or takes no answer, is closed. */
#ifndef ET_NODE_CAPTURE_KEYSOCK_INTERNAL_H
#define ET_NODE_CAPTURE_KEYSOCK_INTERNAL_H

#include "node/capture/capture.h"
#include "node/keylog/keylog.h"
#include "node/srtp/ring.h"

struct et_keysock;

struct et_keysock_counts {
	uint64_t keys;	  /* handed on */
	uint64_t wrong;	  /* lines that are no keys */
	uint64_t refused; /* connections: not allowed, or too many */
};

/* Bind the socket and start the thread. A socket file that nobody answers on is replaced.
 * -EADDRINUSE: somebody does; -EPERM: the group may not be given; -ENAMETOOLONG, others of bind(2).
 */
int et_keysock_new(const struct et_capture_key_socket *config, struct et_keysock **ret,
		   struct et_error *reterr) ET_MUST_CHECK;
/* Ends the thread, closes, removes the file, wipes. NULL is allowed; returns NULL. */
struct et_keysock *et_keysock_free(struct et_keysock *k);

/* The ring thread: what has come. true: keys of a table were among it. Cheap when there is nothing.
 */
bool et_keysock_take(struct et_keysock *k, struct et_keylog *keylog, struct et_srtp_ring *ring);

/* Any thread. */
struct et_keysock_counts et_keysock_counts(const struct et_keysock *k);

#endif
