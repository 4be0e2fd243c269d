/* Archived segments back on this node's disk.
 *
 * Happy path of a restore job: for each segment, unless a verified copy is here: its archive copy
 * into the file where it was (tmp, hash of the catalogue, fsync, rename) -> CopyAdd -> progress in
 * the job; at the end the job is done.
 *
 * Failures
 *   - A kill leaves a file that nobody counts, or a copy; the job goes on where it was.
 *   - No target that has it can be used now: the job waits, and the target's pauses grow.
 *   - This node's disk would be below its reserve with the segment on it (or is full): the job
 * waits, `running` with DISK_FULL in its error, and goes on by itself when there is room. The
 * reserve is the recorder's.
 *   - A segment that was erased or replaced meanwhile is left out. One whose archive copies are all
 *     bad makes the job fail with its name, after the others came back. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "archive/mover/mover_internal.h"
#include "node/base/log.h"
#include "node/io/clock.h"
#include "node/io/file.h"

#define SAY_US (INT64_C(2) * 1000000) /* between two words of progress */

struct restore {
	const Et__Job *job;
	uint64_t done_bytes;
	int64_t said_us;
	struct et_error problem; /* the first */
};

/* ---- One segment ---- */

/* 1: there is nothing to do; 0: `path` is where it belongs. */
static int segment_look(struct et_mover *m, const Et__PlanItem *item, char path[MOVER_PATH_MAX],
			struct et_error *reterr)
{
	Et__Segment *s = NULL;
	Et__Copy *own = NULL;
	struct et_state_view *v = et_state_view_open(m->state);
	if (v == NULL) {
		return et_fail(reterr, -ENOMEM, "restore");
	}
	int rc = et_state_get_segment(v, item->recording.data, item->generation, item->segment, &s);
	bool gone = rc == ET_ENOTFOUND || (rc == 0 && ((s->wrap != NULL && s->wrap->erased) ||
						       !et_state_segment_is_newest(s)));
	if (rc == 0 && !gone) {
		rc = mover_copy_get(v, item->recording.data, item->generation, item->segment,
				    m->place, &own);
		gone = rc == 0; /* a copy is here */
		rc = rc == ET_ENOTFOUND ? mover_path(m->media, s->file, path) : rc;
	}
	(void)et_state_view_close(v);
	if (own != NULL) {
		et__copy__free_unpacked(own, NULL);
	}
	if (s != NULL) {
		et__segment__free_unpacked(s, NULL);
	}
	return gone ? 1 : rc < 0 ? et_fail(reterr, rc, "restore") : 0;
}

static int copy_add(struct et_mover *m, const Et__PlanItem *item, struct et_error *reterr)
{
	Et__Copy copy = ET__COPY__INIT;
	Et__Copy *list[] = { &copy };
	Et__CopyAdd add = ET__COPY_ADD__INIT;
	Et__Command command = ET__COMMAND__INIT;
	copy.recording = item->recording;
	copy.generation = item->generation;
	copy.segment = item->segment;
	copy.place = m->place;
	copy.state = ET__COPY__STATE__VERIFIED;
	add.copies = list;
	add.n_copies = 1;
	command.body_case = ET__COMMAND__BODY_COPY_ADD;
	command.copy_add = &add;
	return mover_propose(m, &command, reterr);
}

/* May a segment of this size come? */
static int room_look(const struct et_mover *m, uint64_t size_bytes, struct et_error *reterr)
{
	struct statvfs fs;
	if (m->config.media_reserve_bytes == 0) {
		return 0;
	}
	if (statvfs(m->media, &fs) < 0) {
		return et_fail(reterr, -errno, "'%s'", m->media);
	}
	uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (free_bytes >= m->config.media_reserve_bytes &&
	    free_bytes - m->config.media_reserve_bytes >= size_bytes) {
		return 0;
	}
	return et_fail_plain(reterr, -ENOSPC,
			     "DISK_FULL: a segment of %" PRIu64 " bytes does not fit: %" PRIu64
			     " are free on the media disk, and %" PRIu64
			     " of them (limits.disk-reserve) are the recorder's",
			     size_bytes, free_bytes, m->config.media_reserve_bytes);
}

static int segment_restore(struct et_mover *m, const Et__PlanItem *item, struct et_error *reterr)
{
	char path[MOVER_PATH_MAX];
	char folder[MOVER_PATH_MAX];
	int rc = segment_look(m, item, path, reterr);
	if (rc != 0) {
		return rc < 0 ? rc : 0;
	}
	rc = room_look(m, item->size_bytes, reterr);
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(folder, sizeof(folder), "%s", path);
	*strrchr(folder, '/') = '\0';
	rc = et_file_mkdirs(folder, reterr);
	rc = rc < 0 ? rc
		    : et_mover_fetch(m, item->recording.data, item->generation, item->segment, path,
				     reterr);
	return rc < 0 ? rc : copy_add(m, item, reterr);
}

/* ---- The job ---- */

/* The disk is full: said once by the log and once by the job, and shown by `status` as long as a
 * look finds it so. */
static int full(struct et_mover *m, const struct restore *r, int code, const struct et_error *e)
{
	char quoted[400];
	m->waits_for_room = true;
	if (!atomic_exchange(&m->media_full, true)) {
		et_warn("archive.disk_full", "code=%s error=%s next=\"evertape explain DISK_FULL\"",
			et_errname(code), et_log_quote(e->text, quoted, sizeof(quoted)));
	}
	if (r->job->error[0] != '\0') {
		return code;
	}
	int rc = mover_job_update(m, r->job, "running", e->text, r->done_bytes);
	return rc < 0 ? rc : code;
}

static int progress(struct et_mover *m, struct restore *r)
{
	int64_t now = et_clock_mono_us();
	if (now - r->said_us < SAY_US) {
		return 0;
	}
	r->said_us = now;
	return mover_job_update(m, r->job, "running", "", r->done_bytes);
}

/* 0: go on; else the job stops here, and is taken up again later. */
static int item_run(struct et_mover *m, struct restore *r, const Et__PlanItem *item)
{
	char text[MOVER_SEGMENT_TEXT_SIZE];
	struct et_error e = { 0 };
	int rc = atomic_load(&m->stopping) ? ET_ECLOSED : segment_restore(m, item, &e);
	if (rc == ET_ECLOSED || mover_is_unsaid(rc)) {
		return rc;
	}
	if (rc == -ENOSPC || rc == -EDQUOT) { /* nothing is written to a target here */
		return full(m, r, rc, &e);
	}
	if (rc < 0 && mover_is_passing(rc)) {
		mover_target_failed(m, item->target, &e);
		return rc;
	}
	if (rc < 0) {
		mover_segment_text(item->recording.data, item->generation, item->segment, text);
		if (r->problem.code == 0) {
			(void)et_fail_plain(&r->problem, rc, "%s: %.300s", text, e.text);
		}
		return 0;
	}
	mover_target_ok(m, item->target);
	r->done_bytes += item->size_bytes;
	atomic_store(&m->media_full, m->waits_for_room);
	return progress(m, r);
}

int mover_restore_job(struct et_mover *m, const Et__Job *job)
{
	/* What it waited for is over with the first that comes: that is said at once. */
	struct restore r = { .job = job,
			     .said_us = job->error[0] != '\0' ? 0 : et_clock_mono_us() };
	int rc = strcmp(job->state, "ready") == 0 ? mover_job_update(m, job, "running", "", 0) : 0;
	for (size_t i = 0; i < job->n_items && rc == 0; i++) {
		rc = item_run(m, &r, job->items[i]);
	}
	if (rc < 0) {
		return mover_is_passing(rc) ? 0 : rc; /* other jobs go on */
	}
	et_info("archive.restored", "segments=%zu bytes=%llu", job->n_items,
		(unsigned long long)r.done_bytes);
	return mover_job_update(m, job, r.problem.code == 0 ? "done" : "failed", r.problem.text,
				r.done_bytes);
}

/* ---- The plan ---- */

struct wanted {
	uint8_t recording[16];
	uint32_t generation, segment;
	uint64_t size_bytes;
	char target[ET_ARCHIVE_NAME_MAX + 1];
};

struct choice {
	const struct et_state_view *v;
	char place[MOVER_PLACE_SIZE]; /* of the node */
	struct wanted *items;	      /* owned */
	size_t count;
	struct et_archive_restored *told;
};

static void choice_release(struct choice *c)
{
	free(c->items);
}

/* Where one segment lies. */
struct lying {
	const struct choice *choice;
	struct wanted *wanted;
	bool here;
};

static int lying_take(void *arg, const Et__Copy *copy)
{
	struct lying *l = arg;
	const char *target = mover_target_of(copy->place);
	if (copy->state != ET__COPY__STATE__VERIFIED || copy->generation != l->wanted->generation ||
	    copy->segment != l->wanted->segment) {
		return 0;
	}
	l->here = l->here || strcmp(copy->place, l->choice->place) == 0;
	if (target != NULL && strlen(target) <= ET_ARCHIVE_NAME_MAX) {
		(void)snprintf(l->wanted->target, sizeof(l->wanted->target), "%s", target);
	}
	return 0;
}

static int choice_take(void *arg, const Et__Segment *s)
{
	struct choice *c = arg;
	if ((s->wrap != NULL && s->wrap->erased) || !et_state_segment_is_newest(s)) {
		return 0;
	}
	if (c->count == ET_ARCHIVE_PLAN_ITEMS_MAX) {
		return ET_ELIMIT;
	}
	struct wanted *w = &c->items[c->count];
	struct lying l = { .choice = c, .wanted = w };
	*w = (struct wanted){ .generation = s->generation,
			      .segment = s->segment,
			      .size_bytes = s->size_bytes };
	memcpy(w->recording, s->recording.data, 16);
	int rc = et_state_each_copy_of(c->v, w->recording, lying_take, &l);
	if (rc < 0) {
		return rc;
	}
	if (l.here) {
		c->told->here++;
	} else if (w->target[0] == '\0') {
		c->told->not_archived++;
	} else {
		c->told->segments++;
		c->told->bytes += w->size_bytes;
		c->count++;
	}
	return 0;
}

/* A plan that owns itself: packed and unpacked again. */
static int plan_own(Et__Plan *plan, Et__Plan **ret)
{
	uint8_t hash[32];
	int rc = et_archive_plan_hash(plan, hash);
	if (rc < 0) {
		return rc;
	}
	plan->hash = mover_bytes(hash, sizeof(hash));
	size_t size = et__plan__get_packed_size(plan);
	uint8_t *packed = malloc(size + 1);
	if (packed == NULL) {
		return -ENOMEM;
	}
	(void)et__plan__pack(plan, packed);
	*ret = et__plan__unpack(NULL, size, packed);
	free(packed);
	return *ret == NULL ? -ENOMEM : 0;
}

static int plan_make(struct choice *c, uint64_t node, int64_t now_us, Et__Plan **ret)
{
	static char kind[] = "archive";
	static char action[] = "restore";
	static char why[] = "asked for";
	Et__Plan plan = ET__PLAN__INIT;
	uint8_t id[16];
	Et__PlanItem *items = calloc(c->count + 1, sizeof(*items));
	Et__PlanItem **list = calloc(c->count + 1, sizeof(*list));
	int rc = items == NULL || list == NULL ? -ENOMEM : 0;
	for (size_t i = 0; i < c->count && rc == 0; i++) {
		et__plan_item__init(&items[i]);
		items[i].action = action;
		items[i].why = why;
		items[i].target = c->items[i].target;
		items[i].recording = mover_bytes(c->items[i].recording, 16);
		items[i].generation = c->items[i].generation;
		items[i].segment = c->items[i].segment;
		items[i].size_bytes = c->items[i].size_bytes;
		items[i].node = node;
		list[i] = &items[i];
	}
	et_uuid7(id);
	plan.id = mover_bytes(id, sizeof(id));
	plan.kind = kind;
	plan.made_index = et_state_view_index(c->v);
	plan.made_us = now_us;
	plan.items = list;
	plan.n_items = c->count;
	rc = rc < 0 ? rc : plan_own(&plan, ret);
	free(list);
	free(items);
	return rc;
}

int et_archive_restore_plan(const struct et_state_view *view, const struct et_buffer *recordings,
			    uint64_t node, int64_t now_us, Et__Plan **ret,
			    struct et_archive_restored *told, struct et_error *reterr)
{
	ET_CLEANUP(choice_release)
	struct choice c = { .v = view,
			    .items = calloc(ET_ARCHIVE_PLAN_ITEMS_MAX, sizeof(*c.items)),
			    .told = told };
	int rc = c.items == NULL ? -ENOMEM : 0;
	*told = (struct et_archive_restored){ 0 };
	(void)snprintf(c.place, sizeof(c.place), "node:%llu", (unsigned long long)node);
	for (size_t at = 0; at + 16 <= recordings->size && rc == 0; at += 16) {
		rc = et_state_each_segment_of(view, recordings->data + at, choice_take, &c);
	}
	rc = rc < 0 ? rc : plan_make(&c, node, now_us, ret);
	return rc < 0 ? et_fail(reterr, rc, "restore") : 0;
}
