#include <inttypes.h>
#include <stdio.h>

#include "raft/catalog/catalog_internal.h"

/* A checkpoint for a backup: a folder of hard links that is the caller's until it drops it. It lies
 * beside the database under a name that a start removes. */

struct backup {
	struct et_post post;
	struct et_catalog *c;
	et_catalog_checkpoint_fn fn;
	void *arg;
	uint8_t digest[32];
};

static int backup_work(struct et_catalog *c, struct cat_job *job, struct et_error *reterr)
{
	struct backup *b = job->arg;

	et_cat_snapshot_name(c, "tmp-backup", et_state_applied(c->state), job->path);
	int rc = et_state_checkpoint(c->state, job->path, &job->result, reterr);
	if (rc == 0) {
		struct et_state_view *view = et_state_view_open(c->state);
		rc = view == NULL ? -ENOMEM : et_state_digest(view, NULL, b->digest);
		et_state_view_close(view);
	}
	if (rc < 0) {
		et_cat_folder_remove(job->path);
	}
	return rc;
}

static void backup_after(struct et_catalog *c, struct cat_job *job)
{
	struct backup *b = job->arg;

	b->fn(b->arg, job->code, job->path, job->result, b->digest);
	free(b);
	et_cat_post_ended(c);
}

static void backup_post_run(struct et_post *post)
{
	struct backup *b = ET_CONTAINER_OF(post, struct backup, post);
	struct et_catalog *c = b->c;

	if (c->stopping || c->rebuild.active) {
		b->fn(b->arg, c->stopping ? ET_ECLOSED : ET_EBUSY, "", 0, b->digest);
		free(b);
		et_cat_post_ended(c);
		return;
	}
	struct cat_job *job = et_cat_job_new(backup_work, backup_after);
	job->arg = b;
	et_cat_job_push(c, job);
}

int et_catalog_checkpoint_from(struct et_catalog *c, et_catalog_checkpoint_fn fn, void *arg)
{
	struct backup *b = calloc(1, sizeof(*b));

	if (b == NULL) {
		return -ENOMEM;
	}
	b->post.fn = backup_post_run;
	b->c = c;
	b->fn = fn;
	b->arg = arg;
	int rc = et_cat_post(c, &b->post);
	if (rc < 0) {
		free(b);
	}
	return rc;
}

void et_catalog_checkpoint_drop(const char *path)
{
	et_cat_folder_remove(path);
}
