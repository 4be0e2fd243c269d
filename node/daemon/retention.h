/* Timed erasure: what retention says must go, goes, by plans that the leader makes.
 *
 *   each second, on the leader with a majority: worker looks at the next recordings ─▶ those that
 *   are due and that nothing exempts ─▶ PlanPut ─▶ PlanApply: apply looks at all of it again, and
 *   erases
 *
 * Nothing is remembered: what is still to do is what is still there and due, by the catalogue and
 * its time. Whoever leads next begins at the first recording; a plan that was put and not applied
 * is passed by. A clock decides nothing here: it only says when to look.
 *
 * Possible failure modes are
 *   - no majority, another leader: nothing is applied; the next leader looks;
 *   - a hold came between look and apply: the plan is stale, all of it; the next look leaves it
 * out;
 *   - a full disk: the proposal is refused, and made again by the next look.
 *
 * Threads: the loop's; the look runs on a worker, one at a time. */
#ifndef ET_NODE_DAEMON_RETENTION_H
#define ET_NODE_DAEMON_RETENTION_H

#include <uv.h>

#include "raft/catalog/catalog.h"
#include "raft/state/state.h"

#define ET_RETENTION_BATCH 100 /* recordings a plan: with one a second, what is erased at most */

struct et_retention;

struct et_retention_config {
	uv_loop_t *loop; /* borrowed */
	uint64_t node;	 /* own id: who proposes */
	/* As et_catalog_propose(): `command` is borrowed for the call. 0: `cb` runs, once, later;
	 * else it does not (the node stops). */
	int (*propose)(void *arg, const Et__Command *command, uint32_t timeout_ms, et_catalog_cb cb,
		       void *cb_arg);
	void *arg;
	int64_t (*mono_us)(void); /* when to look again */
};

/* The caller owns *ret: et_retention_free(), when no call of `propose` is unanswered and the loop
 * runs no more. -ENOMEM. */
int et_retention_new(const struct et_retention_config *config,
		     struct et_retention **ret) ET_MUST_CHECK;

/* Look now, unless a look is under way or it is not time yet: a pass over all recordings is
 * followed by a pause of ten times what it took, of 5 seconds to an hour. `state` is borrowed until
 * the look has ended (et_retention_stop()). Call it on the leader only, while it has a majority. */
void et_retention_look(struct et_retention *w, struct et_state *state, int64_t cluster_time_us);

/* No further look or proposal; waits for the look. Not on the loop. NULL is allowed. */
void et_retention_stop(struct et_retention *w);
struct et_retention *et_retention_free(struct et_retention *w); /* NULL is allowed; returns NULL */

#endif
