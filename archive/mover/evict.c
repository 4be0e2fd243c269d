/* Eviction: a committed command first, and the file only after this node applied it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive/mover/mover_internal.h"
#include "node/base/log.h"
#include "node/io/file.h"

struct eviction {
	Et__Copy *copies;
	Et__Copy **list;
	size_t count;
	struct et_error problem;
};

/* What the catalogue says now: is it still in the archive? */
static bool is_archived(const struct et_state_view *v, const Et__PlanItem *item)
{
	char place[MOVER_PLACE_SIZE];
	Et__Copy *copy = NULL;
	mover_place_target(item->target, place);
	if (mover_copy_get(v, item->recording.data, item->generation, item->segment, place, &copy) <
	    0) {
		return false;
	}
	et__copy__free_unpacked(copy, NULL);
	return true;
}

static void eviction_fill(struct et_mover *m, const struct et_state_view *v, const Et__Job *job,
			  struct eviction *e)
{
	char text[MOVER_SEGMENT_TEXT_SIZE];
	for (size_t i = 0; i < job->n_items; i++) {
		Et__PlanItem *item = job->items[i];
		if (!is_archived(v, item)) {
			mover_segment_text(item->recording.data, item->generation, item->segment,
					   text);
			(void)et_fail_plain(&e->problem, ET_EPOLICY,
					    "%s: target %.63s holds no verified copy", text,
					    item->target);
			continue;
		}
		Et__Copy *c = &e->copies[e->count];
		et__copy__init(c);
		c->recording = item->recording;
		c->generation = item->generation;
		c->segment = item->segment;
		c->place = m->place;
		e->list[e->count++] = c;
	}
}

static int eviction_propose(struct et_mover *m, const Et__Job *job, struct eviction *e)
{
	Et__CopyEvict evict = ET__COPY_EVICT__INIT;
	Et__Command command = ET__COMMAND__INIT;
	if (e->count == 0) {
		return 0;
	}
	evict.n_copies = e->count;
	evict.copies = e->list;
	evict.job = job->id;
	command.body_case = ET__COMMAND__BODY_COPY_EVICT;
	command.copy_evict = &evict;
	return mover_propose(m, &command, &e->problem);
}

int mover_evict_job(struct et_mover *m, const Et__Job *job)
{
	struct eviction e = { .copies = calloc(job->n_items + 1, sizeof(*e.copies)),
			      .list = calloc(job->n_items + 1, sizeof(Et__Copy *)) };
	struct et_state_view *v = et_state_view_open(m->state);
	int rc = e.copies == NULL || e.list == NULL || v == NULL ? -ENOMEM : 0;
	if (rc == 0 && strcmp(job->state, "ready") == 0) {
		rc = mover_job_update(m, job, "running", "", 0);
	}
	if (rc == 0) {
		eviction_fill(m, v, job, &e);
	}
	if (v != NULL) {
		(void)et_state_view_close(v);
	}
	if (rc == 0) {
		rc = eviction_propose(m, job, &e);
		bool later = rc == ET_ECLOSED || mover_is_unsaid(rc);
		if (!later) {
			bool good = rc == 0 && e.problem.code == 0;
			rc = mover_job_update(m, job, good ? "done" : "failed",
					      good ? "" : e.problem.text, 0);
		}
	}
	free(e.list);
	free(e.copies);
	return rc;
}

/* ---- Files ---- */

struct own_copy {
	const struct et_mover *m;
	const struct mover_segment *s;
	bool evicted;
};

static int own_copy_take(void *arg, const Et__Copy *copy)
{
	struct own_copy *o = arg;
	if (copy->generation == o->s->generation && copy->segment == o->s->segment &&
	    strcmp(copy->place, o->m->place) == 0) {
		o->evicted = copy->state == ET__COPY__STATE__EVICTED;
		return 1;
	}
	return 0;
}

static void file_unlink(struct et_mover *m, const struct mover_segment *s, const char *file)
{
	char path[MOVER_PATH_MAX];
	char text[MOVER_SEGMENT_TEXT_SIZE];
	struct et_error e = { 0 };
	mover_segment_text(s->recording, s->generation, s->segment, text);
	int rc = mover_path(m->media, file, path);
	if (rc == 0 && unlink(path) < 0) {
		rc = -errno;
	}
	if (rc == -ENOENT) {
		return;
	}
	rc = rc < 0 ? et_fail(&e, rc, "unlink '%s'", file) : et_file_sync_parent(path, &e);
	if (rc < 0) {
		char quoted[400];
		et_warn("archive.unlink", "segment=%s error=%s", text,
			et_log_quote(e.text, quoted, sizeof(quoted)));
		return;
	}
	et_info("archive.evicted", "segment=%s file=%s", text, file);
}

void mover_unlink(struct et_mover *m, const struct mover_segment *s)
{
	struct own_copy own = { .m = m, .s = s };
	Et__Segment *segment = NULL;
	struct et_state_view *v = et_state_view_open(m->state);
	if (v == NULL) {
		return; /* the next start finds it */
	}
	int rc = et_state_each_copy_of(v, s->recording, own_copy_take, &own);
	if (rc >= 0 && own.evicted) {
		rc = et_state_get_segment(v, s->recording, s->generation, s->segment, &segment);
	}
	(void)et_state_view_close(v);
	if (segment != NULL) {
		file_unlink(m, s, segment->file);
		et__segment__free_unpacked(segment, NULL);
	}
}

struct evicted_list {
	const struct et_mover *m;
	struct mover_segment *items; /* owned */
	size_t count;
	size_t room;
};

static int evicted_take(void *arg, const Et__Copy *copy)
{
	struct evicted_list *l = arg;
	if (copy->state != ET__COPY__STATE__EVICTED || strcmp(copy->place, l->m->place) != 0) {
		return 0;
	}
	if (l->count == l->room) {
		size_t room = l->room == 0 ? 64 : l->room * 2;
		struct mover_segment *more = reallocarray(l->items, room, sizeof(*more));
		if (more == NULL) {
			return -ENOMEM;
		}
		l->items = more;
		l->room = room;
	}
	struct mover_segment *s = &l->items[l->count++];
	memcpy(s->recording, copy->recording.data, 16);
	s->generation = copy->generation;
	s->segment = copy->segment;
	return 0;
}

/* What was evicted before the last stop, and may still lie there. */
void mover_unlink_all(struct et_mover *m)
{
	struct evicted_list l = { .m = m };
	struct et_state_view *v = et_state_view_open(m->state);
	if (v == NULL) {
		return;
	}
	(void)!et_state_each_copy(v, evicted_take, &l);
	(void)et_state_view_close(v);
	for (size_t i = 0; i < l.count && !atomic_load(&m->stopping); i++) {
		mover_unlink(m, &l.items[i]);
	}
	free(l.items);
}
