/* Policies, plans and the jobs they become. */
#include <stdio.h>

#include "raft/command/schema.h"
#include "raft/state/state_internal.h"

/* ---- Policies ---- */

/* What is replaced stays to be looked at, the last ET_STATE_POLICY_KEPT of it; once every member's
 * build does the same. */
static int policy_keep(struct apply *a, const Et__Policy *known)
{
	if (!schema_has(a, ET_SCHEMA_POLICY_REVISIONS)) {
		return 0;
	}
	struct key key = key_policy_at(known->name, known->revision);
	if (known->revision > ET_STATE_POLICY_KEPT) {
		struct key oldest =
			key_policy_at(known->name, known->revision - ET_STATE_POLICY_KEPT);
		state_delete(a->s, CF_POLICY, &oldest);
	}
	return state_put_message(a->s, CF_POLICY, &key, known);
}

int apply_policy_set(struct apply *a)
{
	const Et__PolicySet *set = a->c->policy_set;
	ET_CLEANUP(message_freep) Et__Policy *known = NULL;
	Et__Policy after = *set->policy;
	uint8_t hash[32];

	int rc = et_state_get_policy(a->v, after.name, &known);
	if (rc < 0 && rc != ET_ENOTFOUND) {
		return rc;
	}
	if (after.n_retention > 0 && strcmp(after.name, ET_STATE_RETENTION) != 0) {
		return refuse(a, ET_EREFUSED, "retention rules are of the policy '%s'",
			      ET_STATE_RETENTION);
	}
	uint32_t revision = known != NULL ? known->revision : 0;
	if (set->expect_revision != revision) {
		return refuse(a, ET_ESTALE, "policy '%.64s' is at revision %u", after.name,
			      revision);
	}
	et_sha256(after.text, strlen(after.text), hash);
	if (after.hash.len != 0 && memcmp(after.hash.data, hash, sizeof(hash)) != 0) {
		return refuse(a, ET_EINTEGRITY, "the hash is not that of the text");
	}
	after.revision = revision + 1;
	after.hash = (ProtobufCBinaryData){ sizeof(hash), hash };
	after.applied_us = apply_time(a);
	after.principal = a->c->principal;
	a->o->result.number = after.revision;
	rc = known != NULL ? policy_keep(a, known) : 0;
	struct key key = key_text(after.name);
	return rc < 0 ? rc : state_put_message(a->s, CF_POLICY, &key, &after);
}

/* ---- Plans ---- */

int et_state_plan_hash(const Et__Plan *plan, uint8_t ret[32])
{
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *sha = et_sha256_new();
	ET_CLEANUP(et_buffer_release) struct et_buffer packed = { 0 };

	if (sha == NULL) {
		return -ENOMEM;
	}
	for (size_t i = 0; i < plan->n_items; i++) {
		size_t size = et__plan_item__get_packed_size(plan->items[i]);
		packed.size = 0;
		uint8_t *p = et_buffer_reserve(&packed, size + 1);
		if (p == NULL) {
			return -ENOMEM;
		}
		et_sha256_add(sha, p, et__plan_item__pack(plan->items[i], p));
	}
	et_sha256_end(sha, ret);
	return 0;
}

static int plan_put(struct apply *a, const Et__Plan *plan)
{
	struct key key = key_of(plan->id.data, 16);

	return state_put_message(a->s, CF_PLAN, &key, plan);
}

int apply_plan_put(struct apply *a)
{
	ET_CLEANUP(message_freep) Et__Plan *known = NULL;
	Et__Plan plan = *a->c->plan_put->plan;
	uint8_t hash[32];

	result_id(a, plan.id);
	int rc = et_state_get_plan(a->v, plan.id.data, &known);
	if (rc == 0) {
		return refuse(a, ET_EEXISTS, "there is a plan of this id");
	}
	if (rc == ET_ENOTFOUND) {
		rc = et_state_plan_hash(&plan, hash);
	}
	if (rc < 0) {
		return rc;
	}
	if (plan.hash.len != 0 && memcmp(plan.hash.data, hash, sizeof(hash)) != 0) {
		return refuse(a, ET_EINTEGRITY, "the hash is not that of the items");
	}
	if (plan.made_index > a->index) {
		return refuse(a, ET_EREFUSED, "a plan is made of what was");
	}
	rc = erase_plan_check(a, &plan);
	if (rc < 0) {
		return rc;
	}
	plan.applied_us = 0;
	plan.applied_index = plan.audit_first = plan.audit_last = 0;
	char state[] = "planned";
	plan.hash = (ProtobufCBinaryData){ sizeof(hash), hash };
	plan.state = state;
	plan.made_index = plan.made_index != 0 ? plan.made_index : a->index;
	plan.made_us = plan.made_us != 0 ? plan.made_us : apply_time(a);
	return plan_put(a, &plan);
}

/* ---- PlanApply: does the world still stand as the plan saw it? ---- */

struct hold_search {
	uint64_t since;
	bool changed;
};

static int hold_search_each(void *arg, const void *message)
{
	struct hold_search *s = arg;
	const Et__Hold *h = message;

	s->changed |= h->changed_index > s->since;
	return 0;
}

static int hold_search_standing(void *arg, const Et__Hold *h)
{
	return hold_search_each(arg, h);
}

static int item_scopes(struct apply *a, const Et__PlanItem *item, struct hold_search *holds)
{
	ET_CLEANUP(message_freep) Et__Recording *r = NULL;

	int rc = et_state_get_recording(a->v, item->recording.data, &r);
	if (rc < 0) {
		return rc == ET_ENOTFOUND ? 0 : rc;
	}
	return et_state_each_hold_over(a->v, r, hold_search_standing, holds);
}

static bool copy_is_verified(struct apply *a, const Et__PlanItem *item, const char *place)
{
	ET_CLEANUP(message_freep) Et__Copy *c = NULL;
	struct key key = key_segment(item->recording.data, item->generation, item->segment);

	key_add(&key, place, strlen(place));
	return view_get_message(a->v, CF_COPY, &key, &et__copy__descriptor, &c) == 0 &&
	       c->state == ET__COPY__STATE__VERIFIED;
}

static int item_stale(struct apply *a, const Et__PlanItem *item, const char *why)
{
	char hex[33];

	et_hex(item->recording.data, 16, hex);
	return refuse(a, ET_ESTALE, "%s, segment %u.%u of %s", why, item->generation, item->segment,
		      hex);
}

static int item_check_media(struct apply *a, const Et__PlanItem *item)
{
	ET_CLEANUP(message_freep) Et__Recording *recording = NULL;
	ET_CLEANUP(message_freep) Et__Segment *g = NULL;

	int rc = et_state_get_recording(a->v, item->recording.data, &recording);
	if (rc == 0 && recording->state == ET__RECORDING_STATE__ERASED) {
		return item_stale(a, item, "erased meanwhile");
	}
	if (rc == 0) {
		rc = et_state_get_segment(a->v, item->recording.data, item->generation,
					  item->segment, &g);
	}
	if (rc == ET_ENOTFOUND) {
		return item_stale(a, item, "not there");
	}
	if (rc < 0) {
		return rc;
	}
	et_assert(g != NULL);
	if (g->root.len != 32) {
		return item_stale(a, item, "not sealed");
	}
	if (item->size_bytes != 0 && item->size_bytes != g->size_bytes) {
		return item_stale(a, item, "changed meanwhile");
	}
	return 0;
}

static int item_check_copies(struct apply *a, const Et__PlanItem *item)
{
	char own[32];
	char target[128];

	(void)snprintf(own, sizeof(own), "node:%llu", (unsigned long long)item->node);
	(void)snprintf(target, sizeof(target), "target:%s", item->target);
	if (!copy_is_verified(a, item, own)) {
		return item_stale(a, item, "its node has no copy");
	}
	if (strcmp(item->action, "upload") == 0) {
		return copy_is_verified(a, item, target) ? item_stale(a, item, "archived already")
							 : 0;
	}
	if (!et_state_copy_is_spare(a->v, item->recording.data, item->generation, item->segment,
				    own)) {
		return item_stale(a, item, "the last copy");
	}
	return 0;
}

static int item_check(struct apply *a, const Et__Plan *plan, const Et__PlanItem *item)
{
	ET_CLEANUP(message_freep) Et__Node *node = NULL;
	struct hold_search holds = { .since = plan->made_index };
	struct key prefix = key_of(item->recording.data, 16);

	bool acts = strcmp(item->action, "upload") == 0 || strcmp(item->action, "evict") == 0;
	if (strcmp(item->action, "erase") == 0) {
		return erase_item_check(a, plan, item);
	}
	if (!acts) {
		return 0; /* keep, skip, exempt */
	}
	int rc = item_check_media(a, item);
	if (rc < 0) {
		return rc;
	}
	rc = apply_member(a, item->node, &node);
	if (rc == ET_ENOTFOUND || rc == ET_EREFUSED) {
		return item_stale(a, item, "its node is gone");
	}
	if (rc == 0) {
		rc = item_check_copies(a, item);
	}
	if (rc == 0) {
		rc = view_walk_messages(a->v, CF_HOLD, &prefix, &et__hold__descriptor,
					hold_search_each, &holds);
	}
	if (rc == 0 && !holds.changed) { /* or one whose scope it is in */
		rc = item_scopes(a, item, &holds);
	}
	if (rc == 0 && holds.changed) {
		return item_stale(a, item, "a hold changed");
	}
	return rc;
}

/* ---- PlanApply: the jobs are the plan's items, each at most once ---- */

static bool items_equal(const Et__PlanItem *x, const Et__PlanItem *y)
{
	return bytes_equal(x->recording, y->recording) && x->generation == y->generation &&
	       x->segment == y->segment && x->node == y->node && x->pack == y->pack &&
	       x->size_bytes == y->size_bytes && x->lock_until_us == y->lock_until_us &&
	       strcmp(x->action, y->action) == 0 && strcmp(x->target, y->target) == 0;
}

/* Items of a job stand in the order of the plan, so one pass over the plan finds them. */
static int job_check(struct apply *a, const Et__Plan *plan, const Et__Job *job, uint8_t *taken)
{
	ET_CLEANUP(message_freep) Et__Job *known = NULL;
	size_t at = 0;

	int rc = et_state_get_job(a->v, job->id.data, &known);
	if (rc == 0) {
		return refuse(a, ET_EEXISTS, "there is a job of this id");
	}
	if (rc != ET_ENOTFOUND) {
		return rc;
	}
	for (size_t i = 0; i < job->n_items; i++, at++) {
		while (at < plan->n_items && !items_equal(plan->items[at], job->items[i])) {
			at++;
		}
		if (at == plan->n_items || taken[at] != 0 || job->items[i]->node != job->node) {
			return refuse(a, ET_EREFUSED, "item %zu of a job is not in the plan", i);
		}
		taken[at] = 1;
	}
	return 0;
}

static int jobs_check(struct apply *a, const Et__Plan *plan)
{
	const Et__PlanApply *apply = a->c->plan_apply;
	uint8_t *taken = calloc(plan->n_items + 1, 1);

	if (taken == NULL) {
		return -ENOMEM;
	}
	int rc = 0;
	for (size_t i = 0; i < apply->n_jobs && rc == 0; i++) {
		for (size_t k = 0; k < i && rc == 0; k++) {
			if (bytes_equal(apply->jobs[i]->id, apply->jobs[k]->id)) {
				rc = refuse(a, ET_EEXISTS, "two jobs of one id");
			}
		}
		rc = rc < 0 ? rc : job_check(a, plan, apply->jobs[i], taken);
	}
	free(taken);
	return rc;
}

static struct key job_index_key(const Et__Job *job)
{
	struct key k = key_tag('j');

	key_add64(&k, job->node);
	key_add(&k, job->id.data, 16);
	return k;
}

static int job_put(struct apply *a, const Et__Job *job, bool is_new)
{
	struct key key = key_of(job->id.data, 16);
	struct key index = job_index_key(job);

	if (is_new) {
		state_put(a->s, CF_INDEX, &index, "", 0);
	} else if (strcmp(job->state, "done") == 0) {
		state_delete(a->s, CF_INDEX, &index);
	}
	return state_put_message(a->s, CF_JOB, &key, job);
}

static int plan_check(struct apply *a, const Et__Plan *plan)
{
	ET_CLEANUP(message_freep) Et__Policy *policy = NULL;

	if (!bytes_equal(plan->hash, a->c->plan_apply->hash)) {
		return refuse(a, ET_ESTALE, "this is not the plan that was shown");
	}
	if (strcmp(plan->state, "planned") != 0) {
		return refuse(a, ET_ESTALE, "the plan is %.16s", plan->state);
	}
	if (plan->policy[0] != '\0') {
		int rc = et_state_get_policy(a->v, plan->policy, &policy);
		if (rc < 0 && rc != ET_ENOTFOUND) {
			return rc;
		}
		if ((policy != NULL ? policy->revision : 0) != plan->policy_revision) {
			return refuse(a, ET_ESTALE, "policy '%.64s' is at revision %u",
				      plan->policy, policy != NULL ? policy->revision : 0);
		}
	}
	for (size_t i = 0; i < plan->n_items; i++) {
		int rc = item_check(a, plan, plan->items[i]);
		if (rc < 0) {
			return rc;
		}
	}
	return jobs_check(a, plan);
}

int apply_plan_apply(struct apply *a)
{
	const Et__PlanApply *apply = a->c->plan_apply;
	ET_CLEANUP(message_freep) Et__Plan *plan = NULL;
	char ready[] = "ready";
	char applied[] = "applied";

	int rc = et_state_get_plan(a->v, apply->plan.data, &plan);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "the plan is not known");
	}
	result_id(a, apply->plan);
	rc = rc < 0 ? rc : plan_check(a, plan);
	if (rc < 0) {
		return rc;
	}
	Et__Plan after = *plan;
	after.state = applied;
	a->o->result.number = apply->n_jobs;
	if (plan_erases(plan)) {
		rc = erase_plan_carry_out(a, &after);
		return rc < 0 ? rc : plan_put(a, &after);
	}
	for (size_t i = 0; i < apply->n_jobs && rc == 0; i++) {
		Et__Job job = *apply->jobs[i];
		job.plan = apply->plan;
		job.state = ready;
		job.done_bytes = 0;
		job.updated_us = apply_time(a);
		rc = job_put(a, &job, true);
	}
	return rc < 0 ? rc : plan_put(a, &after);
}

/* ---- Jobs ---- */

/* ready -> running -> done; it may fail at any time, and a failed one may run again. */
static bool job_move_is_legal(const char *before, const char *after)
{
	if (strcmp(before, "done") == 0) {
		return strcmp(after, "done") == 0;
	}
	if (strcmp(after, "running") == 0) {
		return true;
	}
	if (strcmp(after, "failed") == 0) {
		return true;
	}
	return strcmp(after, "done") == 0 && strcmp(before, "running") == 0;
}

int apply_job_update(struct apply *a)
{
	const Et__JobUpdate *told = a->c->job_update;
	ET_CLEANUP(message_freep) Et__Job *known = NULL;

	int rc = et_state_get_job(a->v, told->job.data, &known);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "the job is not known");
	}
	if (rc < 0) {
		return rc;
	}
	result_id(a, told->job);
	if (known->node != a->c->op->node) {
		return refuse(a, ET_EDENIED, "it is the job of node %llu",
			      (unsigned long long)known->node);
	}
	if (!job_move_is_legal(known->state, told->state)) {
		return refuse(a, ET_EREFUSED, "a job that is %.16s does not become %.16s",
			      known->state, told->state);
	}
	if (strcmp(known->state, "done") == 0) {
		return 0;
	}
	Et__Job after = *known;
	after.state = told->state;
	after.error = told->error;
	after.done_bytes = told->done_bytes;
	after.updated_us = apply_time(a);
	return job_put(a, &after, false);
}
