/* Recordings that are being captured on this node now, as capture last described them.
 *
 * Threads: the main loop only. */
#ifndef ET_NODE_DAEMON_LIVE_H
#define ET_NODE_DAEMON_LIVE_H

#include "node/base/bytes.h"
#include "raft/command/command.h"

struct et_live_entry;

struct et_live {
	struct et_live_entry *entries; /* owned, by recording */
	size_t count;
};

/* Remember (a copy of) `record`; NULL: it has ended. */
void et_live_set(struct et_live *live, const uint8_t recording[16], const Et__Recording *record);
void et_live_each(const struct et_live *live, void (*fn)(void *arg, const Et__Recording *record),
		  void *arg);
void et_live_release(struct et_live *live);

#endif
