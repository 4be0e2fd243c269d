#include <inttypes.h>
#include <stdio.h>

#include "node/io/clock.h"
#include "raft/catalog/catalog_internal.h"

/* A database that is gone (removed because it was wrong, or lost) while the Raft log is there.
 *
 * When the log begins at its first entry, replaying it makes the database anew. When it begins
 * behind a snapshot whose checkpoint is gone too, the checkpoint comes from another node: libraft
 * goes on as a follower, its entries wait here, and when the checkpoint has come the state thread
 * goes over to it and applies what waited. Until then this node answers reads from an empty state,
 * as one that has just joined, and does not lead.
 *
 * What waits counts as the state thread's queue: when it is full, received entries are held back.
 */

enum { ROTATE_US = 5 * 1000 * 1000 };

/* Before the thread runs, when raft has restored its snapshot and nothing here fits it. */
int et_cat_rebuild_begin(struct et_catalog *c, struct et_error *reterr)
{
	if (!c->rebuild.active) {
		return 0;
	}
	if (c->raft.configuration.n < 2) {
		return et_fail_plain(reterr, ET_ECORRUPT,
				     "the database is at %" PRIu64
				     ", the Raft log begins after %" PRIu64
				     ", no checkpoint is left in '%s', and there is no other "
				     "node that could have one",
				     et_state_applied(c->state), c->rebuild.index, c->db_folder);
	}
	et_warn("catalog.rebuild",
		"node=%" PRIu64 " index=%" PRIu64
		" why=\"the database is gone: another node's state is fetched\"",
		c->node, c->rebuild.index);
	return 0;
}

bool et_cat_rebuild_holds(struct et_catalog *c, struct cat_job *job)
{
	struct cat_rebuild *r = &c->rebuild;

	if (!r->active || !et_cat_job_is_of_log(job)) {
		return false;
	}
	et_cat_jobs_add(&r->jobs, job);
	return true;
}

/* Where to fetch it; asks another one now and then, in case the first has nothing. */
static void rebuild_ask(struct et_catalog *c)
{
	const struct raft_configuration *conf = &c->raft.configuration;

	for (unsigned i = 0; i < conf->n; i++) {
		const struct raft_server *s = &conf->servers[c->rebuild.source++ % conf->n];
		if (s->id != c->node && s->role != RAFT_SPARE) {
			et_cat_pull_start(c, s->id, s->address, c->rebuild.index);
			return;
		}
	}
}

void et_cat_rebuild_timer(struct et_catalog *c, int64_t now_us)
{
	if (!c->rebuild.active) {
		return;
	}
	if (now_us >= c->rebuild.rotate_at_us) {
		c->rebuild.rotate_at_us = now_us + ROTATE_US;
		rebuild_ask(c);
		if (et_cat_is_leader(c) && cat_list_is_empty(&c->changes)) {
			et_catalog_transfer(c, 0, NULL, NULL);
		}
	}
}

/* A checkpoint has come. false: nobody waits for it here. */
bool et_cat_rebuild_ready(struct et_catalog *c, const char *path, uint64_t index)
{
	struct cat_rebuild *r = &c->rebuild;

	if (!r->active) {
		return false;
	}
	et_info("catalog.rebuild.done", "node=%" PRIu64 " index=%" PRIu64, c->node, index);
	r->active = false;
	et_cat_replace(c, path, r->index);
	for (struct cat_job *job = et_cat_jobs_take(&r->jobs); job != NULL;
	     job = et_cat_jobs_take(&r->jobs)) {
		c->queue_bytes -= job->size + sizeof(*job); /* It is counted again. */
		et_cat_job_push(c, job);
	}
	return true;
}

void et_cat_rebuild_release(struct et_catalog *c)
{
	et_cat_jobs_release(&c->rebuild.jobs);
}
