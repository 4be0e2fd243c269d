/* Bringing a segment to somebody who waits for it.
 *
 * Happy path: look (worker): this node's own file, or one in the cache -> called back at once; else
 * a pull into the cache, which further fetches of the same segment join. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "replication/sync/sync_internal.h"

/* What a caller is told: how it failed, not at which hop. */
static int fetch_code(int code)
{
	switch (code) {
	case 0:
	case ET_ENOTFOUND:
	case ET_EINTEGRITY:
	case ET_ECLOSED:
	case -ENOMEM:
		return code;
	default:
		return et_store_is_full(code) ? code : ET_EUNREACHABLE;
	}
}

void et_fetch_end(struct fetch *f, int code, const char *path, const struct et_error *error)
{
	struct et_error plain = { 0 };

	code = fetch_code(code);
	if (code < 0 && (error == NULL || error->code == 0)) {
		(void)et_fail(&plain, code, "fetch the segment");
		error = &plain;
	}
	f->cb(f->arg, code, code == 0 ? path : NULL, code == 0 ? NULL : error);
	free(f);
}

static void fetch_look_run(uv_work_t *work)
{
	struct fetch *f = ET_CONTAINER_OF(work, struct fetch, work);
	struct et_sync *s = f->s;
	struct et_look_result *r = &f->result;

	et_look_run(&f->look);
	if (r->code < 0) {
		return;
	}
	if (r->own_copy && et_store_file_ok(r->file)) {
		int n = snprintf(f->path, sizeof(f->path), "%s/%s", s->media, r->file);
		f->have = n > 0 && (size_t)n < sizeof(f->path) && access(f->path, R_OK) == 0;
	}
	if (!f->have && et_store_path(s->media, "cache", &r->expect, ".evtm", f->path) == 0) {
		f->have = et_store_cache_touch(f->path);
	}
}

static void fetch_look_after(uv_work_t *work, int status)
{
	struct fetch *f = ET_CONTAINER_OF(work, struct fetch, work);
	struct et_sync *s = f->s;
	struct et_error error = { 0 };

	et_sync_work_done(s);
	if (status < 0 || s->stopping) {
		et_fetch_end(f, ET_ECLOSED, NULL, NULL);
		return;
	}
	if (f->result.code < 0 || f->have) {
		et_fetch_end(f, f->result.code, f->path, NULL);
		return;
	}
	struct pull *p = et_pull_find(s, &f->key, PULL_CACHE);
	if (p != NULL) {
		f->next = p->waiters;
		p->waiters = f;
		return;
	}
	int rc = et_pull_start(s, &f->result, PULL_CACHE, f, &error);
	if (rc < 0) {
		et_fetch_end(f, rc, NULL, &error);
	}
}

void et_fetch_run(struct fetch *f)
{
	struct et_sync *s = f->s;

	f->result.key = f->key;
	f->look = (struct et_look){
		.state = s->state, .node = s->node, .count = 1, .results = &f->result
	};
	int rc = s->stopping ? ET_ECLOSED
			     : et_sync_work(s, &f->work, fetch_look_run, fetch_look_after);
	if (rc < 0) {
		et_fetch_end(f, rc, NULL, NULL);
	}
}
