/* From the catalogue and the policy to a plan, and from a plan to jobs. Reads; writes nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/mover/mover_internal.h"
#include "node/crypto/hash.h"
#include "node/io/clock.h"

#define PACKS_MAX 900	    /* of one plan; a command takes 1024 jobs */
#define EVICT_JOB_MAX 256   /* items of one evict job */
#define COPIES_MAX 4096	    /* of one recording that are looked at */
#define REQUESTS_PER_PACK 6 /* PUT, HEAD and GET, of the pack and of its index */

/* One local copy that may go. */
struct eviction {
	struct mover_segment id;
	uint64_t node;
	uint64_t size_bytes;
	int64_t end_us;
	const struct et_archive_rule *rule;
};

/* A copy of the recording that is looked at. */
struct seen_copy {
	uint32_t generation;
	uint32_t segment;
	uint64_t node; /* 0: a target */
	char target[ET_ARCHIVE_NAME_MAX + 1];
	int64_t verified_us;
};

struct planner {
	const struct et_state_view *v;
	const struct et_archive_policy *policy;
	int64_t now_us;
	struct et_archive_summary *summary;
	uint8_t row_recording[ET_ARCHIVE_SUMMARY_MAX][16];

	uint64_t *active; /* ids of active nodes, ascending */
	size_t active_count;
	struct mover_segment *busy; /* sorted */
	size_t busy_count;
	size_t busy_room;

	/* Of the recording that is looked at. */
	uint8_t recording_id[16];
	Et__Recording *recording; /* NULL: not known (yet) */
	bool held;
	struct seen_copy *copies;
	size_t copy_count;

	struct et_archive_upload *uploads;
	size_t upload_count;
	size_t upload_room;
	struct eviction *evictions;
	size_t eviction_count;
	size_t eviction_room;
};

static void planner_release(struct planner *p)
{
	free(p->active);
	free(p->busy);
	free(p->copies);
	free(p->uploads);
	free(p->evictions);
	if (p->recording != NULL) {
		et__recording__free_unpacked(p->recording, NULL);
	}
}

/* Room for one more of `size` bytes; NULL: no memory. */
static void *grow(void *list, size_t count, size_t *room, size_t size)
{
	if (count < *room) {
		return list;
	}
	size_t more = *room == 0 ? 64 : *room * 2;
	void *ret = reallocarray(list, more, size);
	if (ret != NULL) {
		*room = more;
	}
	return ret;
}

/* ---- What is known before the walk ---- */

static int node_take(void *arg, const Et__Node *node)
{
	struct planner *p = arg;
	if (node->state != ET__NODE_STATE__ACTIVE) {
		return 0;
	}
	uint64_t *more = reallocarray(p->active, p->active_count + 1, sizeof(*more));
	if (more == NULL) {
		return -ENOMEM;
	}
	p->active = more;
	p->active[p->active_count++] = node->id;
	return 0;
}

static bool is_active(const struct planner *p, uint64_t node)
{
	for (size_t i = 0; i < p->active_count; i++) {
		if (p->active[i] == node) {
			return true;
		}
	}
	return false;
}

static int segment_order(const void *left, const void *right)
{
	const struct mover_segment *a = left;
	const struct mover_segment *b = right;
	int by = memcmp(a->recording, b->recording, 16);
	if (by == 0 && a->generation != b->generation) {
		by = a->generation < b->generation ? -1 : 1;
	}
	if (by == 0 && a->segment != b->segment) {
		by = a->segment < b->segment ? -1 : 1;
	}
	return by;
}

static int job_take(void *arg, const Et__Job *job)
{
	struct planner *p = arg;
	if (strcmp(job->state, "ready") != 0 && strcmp(job->state, "running") != 0) {
		return 0;
	}
	for (size_t i = 0; i < job->n_items; i++) {
		const Et__PlanItem *item = job->items[i];
		struct mover_segment *more =
			grow(p->busy, p->busy_count, &p->busy_room, sizeof(*more));
		if (more == NULL) {
			return -ENOMEM;
		}
		p->busy = more;
		struct mover_segment *s = &p->busy[p->busy_count++];
		memcpy(s->recording, item->recording.data, 16);
		s->generation = item->generation;
		s->segment = item->segment;
	}
	return 0;
}

/* ---- One recording ---- */

static int copy_take(void *arg, const Et__Copy *copy)
{
	struct planner *p = arg;
	if (copy->state != ET__COPY__STATE__VERIFIED || p->copy_count >= COPIES_MAX) {
		return 0;
	}
	struct seen_copy *c = &p->copies[p->copy_count];
	*c = (struct seen_copy){ .generation = copy->generation,
				 .segment = copy->segment,
				 .verified_us = copy->verified_us };
	const char *target = mover_target_of(copy->place);
	if (target != NULL) {
		if (strlen(target) > ET_ARCHIVE_NAME_MAX) {
			return 0;
		}
		(void)snprintf(c->target, sizeof(c->target), "%s", target);
	} else if (strncmp(copy->place, "node:", 5) == 0) {
		c->node = strtoull(copy->place + 5, NULL, 10);
	} else {
		return 0;
	}
	p->copy_count++;
	return 0;
}

static int hold_take(void *arg, const Et__Hold *hold)
{
	struct planner *p = arg;
	(void)hold;
	p->held = true;
	return 1; /* one is enough */
}

/* Load what belongs to the recording of the next segment. */
static int recording_enter(struct planner *p, const uint8_t id[16])
{
	if (p->recording != NULL) {
		et__recording__free_unpacked(p->recording, NULL);
		p->recording = NULL;
	}
	memcpy(p->recording_id, id, 16);
	p->copy_count = 0;
	p->held = false;
	int rc = et_state_get_recording(p->v, id, &p->recording);
	if (rc < 0 && rc != ET_ENOTFOUND) {
		return rc;
	}
	rc = et_state_each_copy_of(p->v, id, copy_take, p);
	if (rc < 0 || p->recording == NULL) {
		return rc;
	}
	rc = et_state_each_hold_over(p->v, p->recording, hold_take, p);
	return rc < 0 ? rc : 0;
}

static bool facts_recording(const struct planner *p, const Et__Segment *s,
			    struct et_archive_facts *f)
{
	const Et__Recording *r = p->recording;
	if (r == NULL) {
		return false;
	}
	f->erased = r->state == ET__RECORDING_STATE__ERASED ||
		    (s->wrap != NULL && s->wrap->erased) || !et_state_segment_is_newest(s);
	f->call_over = r->state != ET__RECORDING_STATE__CAPTURING;
	f->start_us = r->start_us;
	f->end_us = r->end_us != 0 ? r->end_us : s->sealed_us;
	f->node = r->node;
	f->site = r->site;
	f->direction = r->direction;
	f->from = r->from;
	f->to = r->to;
	f->rule = r->rule;
	return true;
}

static void facts_segment(const struct planner *p, const Et__Segment *s, struct et_archive_facts *f)
{
	struct mover_segment id = { .generation = s->generation, .segment = s->segment };
	memcpy(id.recording, s->recording.data, 16);
	f->recording = s->recording.data;
	f->generation = s->generation;
	f->segment = s->segment;
	f->size_bytes = s->size_bytes;
	f->sealed = s->state == ET__SEGMENT_STATE__SEGMENT_SEALED ||
		    s->state == ET__SEGMENT_STATE__SEGMENT_RECOVERED;
	f->unverified = s->state == ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED;
	f->held = p->held;
	f->busy = p->busy_count > 0 &&
		  bsearch(&id, p->busy, p->busy_count, sizeof(id), segment_order) != NULL;
}

/* The copies of one segment, in two lists. */
struct copy_lists {
	struct et_archive_local local[64];
	size_t local_count;
	struct et_archive_stored stored[ET_ARCHIVE_TARGETS_MAX];
	size_t stored_count;
};

static void copy_lists_fill(const struct planner *p, const Et__Segment *s, struct copy_lists *l)
{
	l->local_count = 0;
	l->stored_count = 0;
	for (size_t i = 0; i < p->copy_count; i++) {
		const struct seen_copy *c = &p->copies[i];
		if (c->generation != s->generation || c->segment != s->segment) {
			continue;
		}
		if (c->node != 0 && l->local_count < ET_ARRAY_SIZE(l->local)) {
			l->local[l->local_count++] =
				(struct et_archive_local){ .node = c->node,
							   .active = is_active(p, c->node) };
		} else if (c->node == 0 && l->stored_count < ET_ARRAY_SIZE(l->stored)) {
			l->stored[l->stored_count++] =
				(struct et_archive_stored){ .target = c->target,
							    .verified_us = c->verified_us };
		}
	}
}

/* ---- What is decided ---- */

static void summary_add(struct planner *p, const struct et_archive_decision *d,
			const Et__Segment *s)
{
	struct et_archive_summary *sum = p->summary;
	const char *rule = d->rule == NULL ? "" : d->rule->name;
	const char *target = d->target == NULL ? "" : d->target->name;
	size_t i = 0;
	while (i < sum->row_count &&
	       (sum->rows[i].action != d->action || sum->rows[i].why != d->why ||
		strcmp(sum->rows[i].rule, rule) != 0 || strcmp(sum->rows[i].target, target) != 0)) {
		i++;
	}
	if (i == sum->row_count) {
		if (i == ET_ARCHIVE_SUMMARY_MAX) {
			return; /* More rules than rows: the plan itself is whole. */
		}
		sum->row_count++;
		struct et_archive_summary_row *row = &sum->rows[i];
		*row = (struct et_archive_summary_row){ .action = d->action, .why = d->why };
		(void)snprintf(row->rule, sizeof(row->rule), "%s", rule);
		(void)snprintf(row->target, sizeof(row->target), "%s", target);
	}
	struct et_archive_summary_row *row = &sum->rows[i];
	if (row->segments == 0 || memcmp(p->row_recording[i], s->recording.data, 16) != 0) {
		memcpy(p->row_recording[i], s->recording.data, 16);
		row->recordings++;
	}
	row->segments++;
	row->bytes += s->size_bytes;
}

static int upload_add(struct planner *p, const struct et_archive_decision *d,
		      const struct et_archive_facts *f)
{
	struct et_archive_upload *more =
		grow(p->uploads, p->upload_count, &p->upload_room, sizeof(*more));
	if (more == NULL) {
		return -ENOMEM;
	}
	p->uploads = more;
	struct et_archive_upload *u = &p->uploads[p->upload_count++];
	*u = (struct et_archive_upload){ .node = d->node,
					 .rule = d->rule,
					 .lock_until_us = d->lock_until_us,
					 .size_bytes = f->size_bytes,
					 .end_us = f->end_us,
					 .generation = f->generation,
					 .segment = f->segment };
	memcpy(u->recording, f->recording, 16);
	return 0;
}

static int evictions_add(struct planner *p, const struct et_archive_decision *d,
			 const struct et_archive_facts *f)
{
	for (size_t i = 0; i < f->local_count; i++) {
		if (!f->local[i].active) {
			continue; /* It cannot do it; its copy counts for nothing anyway. */
		}
		struct eviction *more =
			grow(p->evictions, p->eviction_count, &p->eviction_room, sizeof(*more));
		if (more == NULL) {
			return -ENOMEM;
		}
		p->evictions = more;
		struct eviction *e = &p->evictions[p->eviction_count++];
		*e = (struct eviction){ .node = f->local[i].node,
					.size_bytes = f->size_bytes,
					.end_us = f->end_us,
					.rule = d->rule };
		memcpy(e->id.recording, f->recording, 16);
		e->id.generation = f->generation;
		e->id.segment = f->segment;
	}
	return 0;
}

static int segment_take(void *arg, const Et__Segment *s)
{
	struct planner *p = arg;
	struct copy_lists lists;
	struct et_archive_facts f = { 0 };
	struct et_archive_decision d;
	if (memcmp(p->recording_id, s->recording.data, 16) != 0) {
		int rc = recording_enter(p, s->recording.data);
		if (rc < 0) {
			return rc;
		}
	}
	facts_segment(p, s, &f);
	(void)facts_recording(p, s, &f);
	copy_lists_fill(p, s, &lists);
	f.local = lists.local;
	f.local_count = lists.local_count;
	f.stored = lists.stored;
	f.stored_count = lists.stored_count;
	et_archive_decide(p->policy, &f, p->now_us, &d);
	summary_add(p, &d, s);
	if (d.action == ET_ARCHIVE_UPLOAD) {
		return upload_add(p, &d, &f);
	}
	return d.action == ET_ARCHIVE_EVICT ? evictions_add(p, &d, &f) : 0;
}

/* ---- The plan ---- */

static int upload_age(const void *left, const void *right)
{
	const struct et_archive_upload *a = left;
	const struct et_archive_upload *b = right;
	if (a->end_us != b->end_us) {
		return a->end_us < b->end_us ? -1 : 1;
	}
	return memcmp(a->recording, b->recording, 16);
}

static int eviction_age(const void *left, const void *right)
{
	const struct eviction *a = left;
	const struct eviction *b = right;
	if (a->end_us != b->end_us) {
		return a->end_us < b->end_us ? -1 : 1;
	}
	return segment_order(&a->id, &b->id);
}

static int eviction_order(const void *left, const void *right)
{
	const struct eviction *a = left;
	const struct eviction *b = right;
	if (a->node != b->node) {
		return a->node < b->node ? -1 : 1;
	}
	return eviction_age(left, right);
}

/* Keep what one plan holds: the oldest, and half for each kind while both are many. */
static void planner_cut(struct planner *p)
{
	size_t max = ET_ARCHIVE_PLAN_ITEMS_MAX;
	size_t evictions = p->eviction_count < max / 2 ? p->eviction_count : max / 2;
	size_t uploads = p->upload_count < max - evictions ? p->upload_count : max - evictions;
	evictions = p->eviction_count < max - uploads ? p->eviction_count : max - uploads;
	if (uploads < p->upload_count) {
		qsort(p->uploads, p->upload_count, sizeof(*p->uploads), upload_age);
		p->upload_count = uploads;
		p->summary->partial = true;
	}
	if (evictions < p->eviction_count) {
		qsort(p->evictions, p->eviction_count, sizeof(*p->evictions), eviction_age);
		p->eviction_count = evictions;
		p->summary->partial = true;
	}
	uint32_t packs = et_archive_pack(p->uploads, p->upload_count);
	while (packs > PACKS_MAX) { /* Packs are in order: the last ones wait for the next plan. */
		p->upload_count--;
		packs = p->upload_count == 0 ? 0 : p->uploads[p->upload_count - 1].pack;
		p->summary->partial = true;
	}
	p->summary->packs = packs;
	p->summary->requests = (uint64_t)packs * REQUESTS_PER_PACK;
	if (p->eviction_count > 0) {
		qsort(p->evictions, p->eviction_count, sizeof(*p->evictions), eviction_order);
	}
}

static char *dup_text(const char *text, bool *failed)
{
	char *copy = strdup(text);
	*failed = *failed || copy == NULL;
	return copy;
}

static void dup_bytes(const void *data, size_t size, ProtobufCBinaryData *ret, bool *failed)
{
	ret->data = malloc(size);
	ret->len = ret->data == NULL ? 0 : size;
	*failed = *failed || ret->data == NULL;
	if (ret->data != NULL) {
		memcpy(ret->data, data, size);
	}
}

/* Everything in it is from malloc, so that the generated code can free it. */
static Et__PlanItem *item_new(enum et_archive_action action, const struct mover_segment *id,
			      const struct et_archive_rule *rule, const char *target, bool *failed)
{
	Et__PlanItem *item = malloc(sizeof(*item));
	if (item == NULL) {
		*failed = true;
		return NULL;
	}
	et__plan_item__init(item);
	item->action = dup_text(et_archive_action_name(action), failed);
	item->rule = dup_text(rule->name, failed);
	item->target = dup_text(target, failed);
	dup_bytes(id->recording, 16, &item->recording, failed);
	item->generation = id->generation;
	item->segment = id->segment;
	return item;
}

static void plan_items(const struct planner *p, Et__Plan *plan, bool *failed)
{
	for (size_t i = 0; i < p->upload_count && !*failed; i++) {
		const struct et_archive_upload *u = &p->uploads[i];
		struct mover_segment id = { .generation = u->generation, .segment = u->segment };
		memcpy(id.recording, u->recording, 16);
		Et__PlanItem *item = item_new(ET_ARCHIVE_UPLOAD, &id, u->rule,
					      p->policy->targets[u->rule->target].name, failed);
		if (item != NULL) {
			item->node = u->node;
			item->size_bytes = u->size_bytes;
			item->pack = u->pack;
			item->lock_until_us = u->lock_until_us;
			item->why = dup_text("due, and not archived yet", failed);
			plan->items[plan->n_items++] = item;
		}
	}
	for (size_t i = 0; i < p->eviction_count && !*failed; i++) {
		const struct eviction *e = &p->evictions[i];
		Et__PlanItem *item = item_new(ET_ARCHIVE_EVICT, &e->id, e->rule,
					      p->policy->targets[e->rule->target].name, failed);
		if (item != NULL) {
			item->node = e->node;
			item->size_bytes = e->size_bytes;
			item->why = dup_text("archived and verified", failed);
			plan->items[plan->n_items++] = item;
		}
	}
}

static int plan_make(const struct planner *p, uint32_t revision, Et__Plan **ret)
{
	bool failed = false;
	uint8_t id[16];
	uint8_t hash[32];
	Et__Plan *plan = malloc(sizeof(*plan));
	if (plan == NULL) {
		return -ENOMEM;
	}
	et__plan__init(plan);
	et_uuid7(id);
	dup_bytes(id, sizeof(id), &plan->id, &failed);
	plan->kind = dup_text("archive", &failed);
	plan->policy = dup_text(ET_ARCHIVE_POLICY, &failed);
	plan->policy_revision = revision;
	plan->made_index = et_state_view_index(p->v);
	plan->made_us = p->now_us;
	plan->items = calloc(p->upload_count + p->eviction_count + 1, sizeof(*plan->items));
	failed = failed || plan->items == NULL;
	if (!failed) {
		plan_items(p, plan, &failed);
	}
	failed = failed || et_archive_plan_hash(plan, hash) < 0;
	if (!failed) {
		dup_bytes(hash, sizeof(hash), &plan->hash, &failed);
	}
	if (failed) {
		et__plan__free_unpacked(plan, NULL);
		return -ENOMEM;
	}
	*ret = plan;
	return 0;
}

/* All segments, or those of one recording. */
static int planner_walk(struct planner *p, const uint8_t *recording)
{
	p->copies = calloc(COPIES_MAX, sizeof(*p->copies));
	if (p->copies == NULL) {
		return -ENOMEM;
	}
	int rc = et_state_each_node(p->v, node_take, p);
	rc = rc < 0 ? rc : et_state_each_job(p->v, job_take, p);
	if (rc == 0 && p->busy_count > 0) {
		qsort(p->busy, p->busy_count, sizeof(*p->busy), segment_order);
	}
	if (rc < 0) {
		return rc;
	}
	return recording != NULL ? et_state_each_segment_of(p->v, recording, segment_take, p)
				 : et_state_each_segment(p->v, segment_take, p);
}

static int plan_by(const struct et_state_view *view, const struct et_archive_policy *policy,
		   uint32_t revision, int64_t now_us, Et__Plan **ret,
		   struct et_archive_summary *summary, struct et_error *reterr)
{
	struct et_archive_summary *sum = calloc(1, sizeof(*sum));
	if (sum == NULL) {
		return et_fail(reterr, -ENOMEM, "archive plan");
	}
	ET_CLEANUP(planner_release)
	struct planner p = { .v = view, .policy = policy, .now_us = now_us, .summary = sum };
	int rc = planner_walk(&p, NULL);
	if (rc == 0) {
		planner_cut(&p);
		rc = plan_make(&p, revision, ret);
	}
	if (rc == 0 && summary != NULL) {
		*summary = *sum;
	}
	free(sum);
	return rc < 0 ? et_fail(reterr, rc, "archive plan") : 0;
}

int et_archive_plan(const struct et_state_view *view, int64_t now_us, Et__Plan **ret,
		    struct et_archive_summary *summary, struct et_error *reterr)
{
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *policy = NULL;
	uint32_t revision = 0;
	int rc = et_archive_policy_of(view, &policy, &revision, reterr);
	return rc < 0 ? rc : plan_by(view, policy, revision, now_us, ret, summary, reterr);
}

int et_archive_plan_by(const struct et_state_view *view, const char *text, size_t size,
		       int64_t now_us, Et__Plan **ret, struct et_archive_summary *summary,
		       struct et_error *reterr)
{
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *policy = NULL;
	int rc = mover_policy_read(text, size, "policy", &policy, reterr);
	return rc < 0 ? rc : plan_by(view, policy, 0, now_us, ret, summary, reterr);
}

int et_archive_plan_of(const struct et_state_view *view, const uint8_t recording[16],
		       int64_t now_us, struct et_archive_summary *ret, struct et_error *reterr)
{
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *policy = NULL;
	uint32_t revision = 0;
	int rc = et_archive_policy_of(view, &policy, &revision, reterr);
	if (rc < 0) {
		return rc;
	}
	*ret = (struct et_archive_summary){ 0 };
	ET_CLEANUP(planner_release)
	struct planner p = { .v = view, .policy = policy, .now_us = now_us, .summary = ret };
	rc = planner_walk(&p, recording);
	return rc < 0 ? et_fail(reterr, rc, "archive") : 0;
}

int et_archive_plan_hash(const Et__Plan *plan, uint8_t ret[32])
{
	return et_state_plan_hash(plan, ret);
}

/* ---- Jobs ---- */

static Et__PlanItem *item_copy(const Et__PlanItem *from)
{
	bool failed = false;
	Et__PlanItem *item = malloc(sizeof(*item));
	if (item == NULL) {
		return NULL;
	}
	et__plan_item__init(item);
	item->action = dup_text(from->action, &failed);
	item->rule = dup_text(from->rule, &failed);
	item->target = dup_text(from->target, &failed);
	dup_bytes(from->recording.data, 16, &item->recording, &failed);
	item->generation = from->generation;
	item->segment = from->segment;
	item->node = from->node;
	item->size_bytes = from->size_bytes;
	item->pack = from->pack;
	item->lock_until_us = from->lock_until_us;
	if (failed) {
		et__plan_item__free_unpacked(item, NULL);
		return NULL;
	}
	return item;
}

static bool same_job(const Et__PlanItem *a, const Et__PlanItem *b, size_t count)
{
	if (a->node != b->node || strcmp(a->action, b->action) != 0) {
		return false;
	}
	return strcmp(a->action, "upload") == 0 ? a->pack == b->pack : count < EVICT_JOB_MAX;
}

static const char *job_kind(const char *action)
{
	if (strcmp(action, "upload") == 0) {
		return "archive-upload";
	}
	return strcmp(action, "restore") == 0 ? "archive-restore" : "evict";
}

static Et__Job *job_new(const Et__Plan *plan, size_t first, size_t count)
{
	bool failed = false;
	uint8_t id[16];
	Et__Job *job = malloc(sizeof(*job));
	if (job == NULL) {
		return NULL;
	}
	et__job__init(job);
	et_uuid7(id);
	dup_bytes(id, sizeof(id), &job->id, &failed);
	dup_bytes(plan->id.data, plan->id.len, &job->plan, &failed);
	job->kind = dup_text(job_kind(plan->items[first]->action), &failed);
	job->state = dup_text("ready", &failed);
	job->node = plan->items[first]->node;
	job->items = calloc(count, sizeof(*job->items));
	failed = failed || job->items == NULL;
	for (size_t i = 0; i < count && !failed; i++) {
		job->items[i] = item_copy(plan->items[first + i]);
		failed = job->items[i] == NULL;
		job->n_items += failed ? 0 : 1;
	}
	if (failed) {
		et__job__free_unpacked(job, NULL);
		return NULL;
	}
	return job;
}

int et_archive_jobs(const Et__Plan *plan, Et__Job ***ret, size_t *ret_count)
{
	Et__Job **jobs = calloc(plan->n_items + 1, sizeof(*jobs));
	size_t count = 0;
	if (jobs == NULL) {
		return -ENOMEM;
	}
	for (size_t first = 0; first < plan->n_items;) {
		size_t n = 1;
		while (first + n < plan->n_items &&
		       same_job(plan->items[first], plan->items[first + n], n)) {
			n++;
		}
		jobs[count] = job_new(plan, first, n);
		if (jobs[count] == NULL) {
			et_archive_jobs_free(jobs, count);
			return -ENOMEM;
		}
		count++;
		first += n;
	}
	*ret = jobs;
	*ret_count = count;
	return 0;
}

void et_archive_jobs_free(Et__Job **jobs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		et__job__free_unpacked(jobs[i], NULL);
	}
	free(jobs);
}
