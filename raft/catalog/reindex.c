#include "raft/catalog/catalog_internal.h"

/* What search reads is made anew, on the word of an administrator: begun by the state thread, in
 * order with the entries; it goes on by itself when that thread has nothing else to do. */

struct reindex {
	struct et_post post;
	struct et_catalog *c;
	void (*cb)(void *arg, int code, uint64_t recordings);
	void *arg;
};

static int reindex_work(struct et_catalog *c, struct cat_job *job, struct et_error *reterr)
{
	struct et_state_view *v = et_state_view_open(c->state);
	struct et_state_counts counts;

	int rc = v == NULL ? et_fail(reterr, -ENOMEM, "the search index") : 0;
	if (rc == 0) {
		rc = et_state_counts(v, &counts);
		rc = rc < 0 ? et_fail(reterr, rc, "counters of the catalogue") : 0;
	}
	et_state_view_close(v);
	rc = rc < 0 ? rc : et_state_index_rebuild(c->state, reterr);
	if (rc == 0) {
		job->result = counts.recordings;
		c->no_index = false; /* an earlier failure does not count any more */
		et_info("catalog.index", "node=%llu state=begun", (unsigned long long)c->node);
	}
	return rc;
}

static void reindex_end(struct reindex *x, int code, uint64_t recordings)
{
	struct et_catalog *c = x->c;

	x->cb(x->arg, code, recordings);
	free(x);
	et_cat_post_ended(c);
}

static void reindex_after(struct et_catalog *c, struct cat_job *job)
{
	(void)c;
	reindex_end(job->arg, job->code, job->result);
}

static void reindex_post_run(struct et_post *post)
{
	struct reindex *x = ET_CONTAINER_OF(post, struct reindex, post);
	struct et_catalog *c = x->c;

	if (c->stopping || c->rebuild.active) {
		reindex_end(x, c->stopping ? ET_ECLOSED : ET_EBUSY, 0);
		return;
	}
	struct cat_job *job = et_cat_job_new(reindex_work, reindex_after);
	job->arg = x;
	et_cat_job_push(c, job);
}

int et_catalog_reindex_from(struct et_catalog *c,
			    void (*cb)(void *arg, int code, uint64_t recordings), void *arg)
{
	struct reindex *x = calloc(1, sizeof(*x));

	if (x == NULL) {
		return -ENOMEM;
	}
	*x = (struct reindex){ .post = { .fn = reindex_post_run }, .c = c, .cb = cb, .arg = arg };
	int rc = et_cat_post(c, &x->post);
	if (rc < 0) {
		free(x);
	}
	return rc;
}
