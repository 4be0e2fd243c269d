/* The proposer brings the journal's commands into the catalogue, however long that takes.
 *
 * Happy path: a create command is journalled (on the thread that made it), handed over, proposed,
 * and struck from the journal once the catalogue has said what became of it. Failures: no quorum,
 * leadership lost, too much waiting: the command is proposed again, with its op id, until it is
 * answered. The process dies: the journal brings it back. It is applied once all the same.
 *
 * Order: commands of one recording (and what is told of one thing) go one after the other (a
 * segment is never sealed before it was opened, whatever is lost on the way); different recordings
 * go side by side.
 *
 * Threads: loop thread only. */
#ifndef ET_NODE_DAEMON_PROPOSER_H
#define ET_NODE_DAEMON_PROPOSER_H

#include <uv.h>

#include "raft/catalog/catalog.h"
#include "raft/journal/journal.h"

#define ET_PROPOSER_IN_FLIGHT_MAX 512 /* commands: far above what a round trip needs */
#define ET_PROPOSER_RETRY_MS 250

struct et_proposer;

struct et_proposer_config {
	uv_loop_t *loop;
	struct et_journal *journal; /* borrowed */
	/* et_catalog_propose_packed() of this node, or what a test puts there. */
	void (*propose)(void *arg, struct et_view packed, uint32_t timeout_ms, et_catalog_cb cb,
			void *cb_arg);
	/* A command was answered for good. May be NULL. Views. */
	void (*on_done)(void *arg, const Et__Command *command, int code, const Et__Result *result);
	void *arg;
};

/* Begin with what the journal holds from earlier incarnations. */
int et_proposer_start(const struct et_proposer_config *config, struct et_proposer **ret,
		      struct et_error *reterr) ET_MUST_CHECK;

/* Take over a journalled command; copies it. -ENOMEM: it stays in the journal, for the next start.
 */
int et_proposer_add(struct et_proposer *p, struct et_view packed) ET_MUST_CHECK;

/* Commands not answered yet, oldest first for each recording. */
size_t et_proposer_pending(const struct et_proposer *p);
int et_proposer_each_pending(struct et_proposer *p,
			     int (*fn)(void *arg, const Et__Command *command), void *arg);

/* Stop. Answers still out are ignored; the journal keeps what was not answered. */
void et_proposer_stop(struct et_proposer *p, void (*closed)(void *arg), void *arg);

#endif
