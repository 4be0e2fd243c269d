/* Archive policy, plans, jobs, verification. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/api/members_internal.h"
#include "node/crypto/hash.h"
#include "node/io/clock.h"

#define PROBLEMS_MAX 1000 /* copies listed by a verification */
#define JOBS_LISTED_MAX 200
#define RESTORE_MAX 1000 /* recordings of one request */

int api_policy_get(struct api_call *call, struct et_error *reterr)
{
	return api_policy_answer(call, ET_ARCHIVE_POLICY, "archive", reterr);
}

static int policy_commit(struct api_call *call, const char *text, uint32_t expect,
			 const char *reason, uint64_t *ret_revision, struct et_error *reterr)
{
	Et__Policy policy = ET__POLICY__INIT;
	Et__PolicySet set = ET__POLICY_SET__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct api_result result;
	uint8_t hash[32];
	et_sha256(text, strlen(text), hash);
	policy.name = (char *)(uintptr_t)ET_ARCHIVE_POLICY;
	policy.revision = expect + 1;
	policy.text = (char *)(uintptr_t)text;
	policy.hash = (ProtobufCBinaryData){ .len = 32, .data = hash };
	policy.principal = call->principal;
	set.policy = &policy;
	set.expect_revision = expect;
	command.body_case = ET__COMMAND__BODY_POLICY_SET;
	command.policy_set = &set;
	int rc = api_propose(call, &command, reason, &result, reterr);
	if (rc == 0) {
		*ret_revision = result.number != 0 ? result.number : expect + 1;
	}
	return rc;
}

int api_policy_put(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "text", "reason", "expect_revision" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	struct et_state_view *v;
	const char *reason = "";
	uint64_t revision = 0;
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	if (rc == 0) {
		rc = api_need_reason(body, &reason, reterr);
	}
	if (rc == 0) {
		rc = api_view(call, &v, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	const char *text = et_json_get_text(body, "text", "");
	rc = et_archive_validate_against(v, text, strlen(text), "policy", reterr);
	if (rc < 0) {
		return rc;
	}
	int64_t expect =
		et_json_get_int(body, "expect_revision", api_policy_revision(v, ET_ARCHIVE_POLICY));
	if (expect < 0 || expect > UINT32_MAX - 1) {
		return et_fail_plain(reterr, ET_EUSAGE, "expect_revision is a revision");
	}
	rc = api_need_quorum(call, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = policy_commit(call, text, (uint32_t)expect, reason, &revision, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "revision", et_json_u64(revision));
	return api_json(call, 200, o);
}

/* ---- Plans ---- */

static json_t *action_row(const char *action)
{
	json_t *o = json_object();
	et_json_set(o, "action", json_string(action));
	et_json_set(o, "recordings", json_integer(0));
	et_json_set(o, "segments", json_integer(0));
	et_json_set(o, "bytes", json_integer(0));
	return o;
}

static json_t *item_json(const struct api_nodes *nodes, const Et__PlanItem *item)
{
	json_t *o = json_object();
	et_json_set(o, "action", et_json_text(item->action));
	et_json_set(o, "recording", api_uuid(&item->recording));
	et_json_set(o, "segment", api_segment_name(item->generation, item->segment));
	et_json_set(o, "rule", et_json_text(item->rule));
	et_json_set(o, "target", et_json_text(item->target));
	et_json_set(o, "node", et_json_text(api_node_name(nodes, item->node)));
	et_json_set(o, "bytes", et_json_u64(item->size_bytes));
	et_json_set(o, "pack", json_integer(item->pack));
	et_json_set(o, "lock_until", api_time(item->lock_until_us));
	et_json_set(o, "why", et_json_text(item->why));
	return o;
}

static json_t *items_json(const struct et_state_view *v, const Et__Plan *plan)
{
	struct api_nodes nodes;
	json_t *items = json_array();
	api_nodes_load(v, &nodes);
	for (size_t i = 0; i < plan->n_items; i++) {
		et_json_add(items, item_json(&nodes, plan->items[i]));
	}
	return items;
}

/* The rows of a summary, by action and reason. */
static json_t *summary_json(const struct et_archive_summary *s)
{
	json_t *rows = json_array();
	for (size_t i = 0; i < s->row_count; i++) {
		const struct et_archive_summary_row *r = &s->rows[i];
		json_t *o = json_object();
		et_json_set(o, "action", json_string(et_archive_action_name(r->action)));
		et_json_set(o, "rule", et_json_text(r->rule));
		et_json_set(o, "target", et_json_text(r->target));
		et_json_set(o, "recordings", et_json_u64(r->recordings));
		et_json_set(o, "segments", et_json_u64(r->segments));
		et_json_set(o, "bytes", et_json_u64(r->bytes));
		et_json_set(o, "why", et_json_text(r->why));
		et_json_add(rows, o);
	}
	return rows;
}

static json_t *plan_json(const struct et_state_view *v, const Et__Plan *plan, bool items)
{
	json_t *o = json_object();
	et_json_set(o, "plan", api_uuid(&plan->id));
	et_json_set(o, "state", et_json_text(plan->state));
	et_json_set(o, "policy", et_json_text(plan->policy));
	et_json_set(o, "policy_revision", json_integer(plan->policy_revision));
	et_json_set(o, "made", api_time(plan->made_us));
	et_json_set(o, "made_index", et_json_u64(plan->made_index));
	et_json_set(o, "hash", et_json_hex(plan->hash.data, plan->hash.len));
	et_json_set(o, "cost", json_null()); /* prices are not known */
	if (items) {
		et_json_set(o, "items", items_json(v, plan));
	}
	return o;
}

static int plan_commit(struct api_call *call, Et__Plan *plan, struct et_error *reterr)
{
	Et__PlanPut put = ET__PLAN_PUT__INIT;
	Et__Command command = ET__COMMAND__INIT;
	put.plan = plan;
	command.body_case = ET__COMMAND__BODY_PLAN_PUT;
	command.plan_put = &put;
	return api_propose(call, &command, NULL, NULL, reterr);
}

int api_plan_make(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "items", "text" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	struct et_state_view *v;
	struct et_catalog_status raft;
	Et__Plan *plan = NULL;
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	const char *text = rc == 0 ? et_json_get_text(body, "text", NULL) : NULL;
	if (rc == 0) {
		rc = api_view(call, &v, reterr);
	}
	struct et_archive_summary *s = rc == 0 ? calloc(1, sizeof(*s)) : NULL;
	if (rc == 0 && s == NULL) {
		rc = et_fail(reterr, -ENOMEM, "plan");
	}
	if (rc == 0) {
		et_catalog_status(call->api->services.catalog, &raft);
		rc = text != NULL ? et_archive_plan_by(v, text, strlen(text), raft.cluster_time_us,
						       &plan, s, reterr)
				  : et_archive_plan(v, raft.cluster_time_us, &plan, s, reterr);
	}
	if (rc == 0 && plan->n_items > 0 && text == NULL) {
		rc = plan_commit(call, plan, reterr);
	}
	if (rc == 0) {
		json_t *o = plan_json(v, plan, et_json_get_bool(body, "items", false));
		if (plan->n_items == 0 || text != NULL) { /* nothing to apply: not kept */
			et_json_set(o, "plan", json_string(""));
		}
		et_json_set(o, "actions", summary_json(s));
		et_json_set(o, "requests", et_json_u64(s->requests));
		et_json_set(o, "packs", et_json_u64(s->packs));
		et_json_set(o, "partial", json_boolean(s->partial));
		rc = api_json(call, 201, o);
	}
	if (plan != NULL) {
		et__plan__free_unpacked(plan, NULL);
	}
	free(s);
	return rc;
}

/* Actions of a stored plan: by action alone, as reasons are kept with its items. */
static json_t *actions_of(const Et__Plan *plan)
{
	static const char *const actions[] = { "upload", "evict", "keep", "skip" };
	json_t *rows = json_array();
	for (size_t a = 0; a < ET_ARRAY_SIZE(actions); a++) {
		json_t *o = action_row(actions[a]);
		uint64_t bytes = 0;
		uint64_t segments = 0;
		uint64_t recordings = 0;
		const ProtobufCBinaryData *last = NULL;
		for (size_t i = 0; i < plan->n_items; i++) {
			const Et__PlanItem *item = plan->items[i];
			if (strcmp(item->action, actions[a]) != 0) {
				continue;
			}
			bool same = last != NULL && last->len == item->recording.len &&
				    memcmp(last->data, item->recording.data, last->len) == 0;
			recordings += !same;
			segments++;
			bytes += item->size_bytes;
			last = &item->recording;
		}
		et_json_set(o, "recordings", et_json_u64(recordings));
		et_json_set(o, "segments", et_json_u64(segments));
		et_json_set(o, "bytes", et_json_u64(bytes));
		if (segments > 0) {
			et_json_add(rows, o);
		} else {
			json_decref(o);
		}
	}
	return rows;
}

int api_plan_get(struct api_call *call, struct et_error *reterr)
{
	Et__Plan *plan = NULL;
	int rc = api_plan_find(call, /* erase= */ false, &plan, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *o = plan_json(call->view, plan, true);
	et_json_set(o, "actions", actions_of(plan));
	et__plan__free_unpacked(plan, NULL);
	return api_json(call, 200, o);
}

static int plan_apply(struct api_call *call, const Et__Plan *plan, const char *reason,
		      size_t *ret_jobs, struct et_error *reterr)
{
	Et__PlanApply apply = ET__PLAN_APPLY__INIT;
	Et__Command command = ET__COMMAND__INIT;
	Et__Job **jobs = NULL;
	size_t count = 0;
	int rc = et_archive_jobs(plan, &jobs, &count);
	if (rc < 0) {
		return et_fail(reterr, rc, "jobs of the plan");
	}
	apply.plan = plan->id;
	apply.hash = plan->hash;
	apply.jobs = jobs;
	apply.n_jobs = count;
	command.body_case = ET__COMMAND__BODY_PLAN_APPLY;
	command.plan_apply = &apply;
	rc = api_propose(call, &command, reason, NULL, reterr);
	et_archive_jobs_free(jobs, count);
	*ret_jobs = count;
	return rc;
}

int api_plan_apply(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	Et__Plan *plan = NULL;
	const char *reason = "";
	size_t jobs = 0;
	int rc = api_body(call, known, 1, &body, reterr);
	if (rc == 0) {
		rc = api_need_reason(body, &reason, reterr);
	}
	if (rc == 0) {
		rc = api_need_quorum(call, reterr);
	}
	if (rc == 0) {
		rc = api_plan_find(call, /* erase= */ false, &plan, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	rc = plan_apply(call, plan, reason, &jobs, reterr);
	et__plan__free_unpacked(plan, NULL);
	if (rc == ET_ESTALE) {
		(void)et_fail_next(reterr, "evertape archive plan");
	}
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "jobs", json_integer((json_int_t)jobs));
	return api_json(call, 200, o);
}

/* ---- Restore ---- */

static int restore_ids(const json_t *body, const struct et_state_view *v, struct et_buffer *ids,
		       json_t *skipped, struct et_error *reterr)
{
	const json_t *list = json_object_get(body, "recordings");
	size_t i;
	json_t *text;
	if (json_array_size(list) == 0 || json_array_size(list) > RESTORE_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE, "recordings is a list of 1 to %d ids",
				     RESTORE_MAX);
	}
	json_array_foreach(list, i, text)
	{
		uint8_t id[16];
		Et__Recording *r = NULL;
		if (!json_is_string(text) || !et_uuid_parse(json_string_value(text), id)) {
			return et_fail_plain(reterr, ET_EUSAGE, "recording %zu is no UUID", i + 1);
		}
		int rc = et_state_get_recording(v, id, &r);
		bool erased = rc == 0 && r->state == ET__RECORDING_STATE__ERASED;
		if (rc == 0) {
			et__recording__free_unpacked(r, NULL);
		} else if (rc != ET_ENOTFOUND) {
			return et_fail(reterr, rc, "recording");
		}
		if (rc == 0 && !erased) {
			et_buffer_add(ids, id, sizeof(id));
			continue;
		}
		json_t *o = json_object();
		et_json_set(o, "recording", json_incref(text));
		et_json_set(o, "why", json_string(erased ? "it was erased" : "it is not known"));
		et_json_add(skipped, o);
	}
	return ids->failed ? et_fail(reterr, -ENOMEM, "restore") : 0;
}

struct node_choice {
	const char *site; /* NULL: the node that answers */
	uint64_t own;
	uint64_t node;
	char name[64];
};

/* A member of the site that keeps media; the one that answers, if it is one. */
static int node_choose(void *arg, const Et__Node *node)
{
	struct node_choice *c = arg;
	bool fits = c->site != NULL ? strcmp(node->site, c->site) == 0 : node->id == c->own;
	for (size_t i = 0; i < node->n_roles; i++) {
		fits = fits && strcmp(node->roles[i], "witness") != 0;
	}
	if (fits && node->state == ET__NODE_STATE__ACTIVE && (c->node == 0 || node->id == c->own)) {
		c->node = node->id;
		(void)snprintf(c->name, sizeof(c->name), "%.63s", node->name);
	}
	return 0;
}

/* Does that fit above the reserve of the node's media disk, as far as is known here? The node looks
 * again before each segment. */
static int restore_fits(struct api_call *call, const struct node_choice *c, uint64_t bytes,
			struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *live = api_live_nodes(call);
	size_t i;
	json_t *node;
	json_array_foreach(live, i, node)
	{
		int64_t free_bytes = et_json_get_int(node, "disk_free_bytes", INT64_MAX);
		int64_t reserve = et_json_get_int(node, "disk_reserve_bytes", 0);
		if ((uint64_t)et_json_get_int(node, "id", 0) != c->node || free_bytes < 0 ||
		    (free_bytes >= reserve && (uint64_t)(free_bytes - reserve) >= bytes)) {
			continue;
		}
		int rc = et_fail_plain(
			reterr, -ENOSPC,
			"DISK_FULL: %" PRIu64 " bytes do not fit on the media disk of %.63s: "
			"%" PRId64 " are free, and %" PRId64 " of them (limits.disk-reserve) are "
			"the recorder's",
			bytes, c->name, free_bytes, reserve);
		(void)et_fail_next(reterr,
				   "free space in data.media of %.63s, or --site of "
				   "another; evertape node list",
				   c->name);
		return rc;
	}
	return 0;
}

static int restore_run(struct api_call *call, const struct et_buffer *ids,
		       const struct node_choice *c, const char *reason, json_t *o,
		       struct et_error *reterr)
{
	struct et_archive_restored told;
	struct et_catalog_status raft;
	Et__Plan *plan = NULL;
	size_t jobs = 0;
	et_catalog_status(call->api->services.catalog, &raft);
	int rc = et_archive_restore_plan(call->view, ids, c->node, raft.cluster_time_us, &plan,
					 &told, reterr);
	if (rc < 0) {
		return rc;
	}
	et_json_set(o, "plan", plan->n_items > 0 ? api_uuid(&plan->id) : json_string(""));
	if (plan->n_items > 0) {
		rc = restore_fits(call, c, told.bytes, reterr);
		rc = rc < 0 ? rc : plan_commit(call, plan, reterr);
		rc = rc < 0 ? rc : plan_apply(call, plan, reason, &jobs, reterr);
	}
	et__plan__free_unpacked(plan, NULL);
	et_json_set(o, "node", et_json_text(c->name));
	et_json_set(o, "jobs", json_integer((json_int_t)jobs));
	et_json_set(o, "segments", et_json_u64(told.segments));
	et_json_set(o, "bytes", et_json_u64(told.bytes));
	et_json_set(o, "here_already", et_json_u64(told.here));
	et_json_set(o, "not_archived", et_json_u64(told.not_archived));
	return rc;
}

int api_archive_restore(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "recordings", "site", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	ET_CLEANUP(et_json_freep) json_t *o = json_object();
	ET_CLEANUP(et_buffer_release) struct et_buffer ids = { 0 };
	struct et_state_view *v;
	const char *reason = "";
	json_t *skipped = json_array();
	et_json_set(o, "skipped", skipped);
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : api_need_reason(body, &reason, reterr);
	rc = rc < 0 ? rc : api_need_quorum(call, reterr);
	rc = rc < 0 ? rc : api_view(call, &v, reterr);
	rc = rc < 0 ? rc : restore_ids(body, v, &ids, skipped, reterr);
	if (rc < 0) {
		return rc;
	}
	struct node_choice c = { .site = et_json_get_text(body, "site", NULL),
				 .own = call->api->services.node };
	rc = et_state_each_node(v, node_choose, &c);
	if (rc >= 0 && c.node == 0) {
		return et_fail_plain(reterr, ET_ENOTFOUND,
				     "no active member that keeps media is at site %.64s",
				     c.site != NULL ? c.site : "of this node");
	}
	rc = rc < 0 ? et_fail(reterr, rc, "restore") : 0;
	rc = rc < 0 ? rc : restore_run(call, &ids, &c, reason, o, reterr);
	return rc < 0 ? rc : api_json(call, 200, ET_TAKE(o));
}

/* ---- Status ---- */

struct job_list {
	struct api_nodes nodes;
	json_t *list;
};

static int add_job(void *arg, const Et__Job *job)
{
	struct job_list *l = arg;
	if (strcmp(job->state, "done") == 0) {
		return 0;
	}
	json_t *o = json_object();
	et_json_set(o, "id", api_uuid(&job->id));
	et_json_set(o, "kind", et_json_text(job->kind));
	et_json_set(o, "plan", api_uuid(&job->plan));
	et_json_set(o, "node", et_json_text(api_node_name(&l->nodes, job->node)));
	et_json_set(o, "items", json_integer((json_int_t)job->n_items));
	et_json_set(o, "state", et_json_text(job->state));
	et_json_set(o, "error", et_json_text(job->error));
	et_json_set(o, "done_bytes", et_json_u64(job->done_bytes));
	et_json_set(o, "updated", api_time(job->updated_us));
	et_json_add(l->list, o);
	return json_array_size(l->list) < JOBS_LISTED_MAX ? 0 : 1;
}

static json_t *target_json(const struct et_mover_target_status *t)
{
	json_t *o = json_object();
	et_json_set(o, "name", et_json_text(t->name));
	et_json_set(o, "copies", et_json_u64(t->copies));
	et_json_set(o, "bytes", et_json_u64(t->bytes));
	et_json_set(o, "bad", et_json_u64(t->bad));
	et_json_set(o, "last_ok", api_time(t->last_ok_us));
	et_json_set(o, "last_error_at", api_time(t->last_error_us));
	et_json_set(o, "last_error", et_json_text(t->last_error));
	return o;
}

int api_archive_status(struct api_call *call, struct et_error *reterr)
{
	struct et_state_view *v;
	int rc = api_need(call->api->services.mover, "archive", reterr);
	if (rc == 0) {
		rc = api_view(call, &v, reterr);
	}
	struct et_mover_status *s = rc == 0 ? calloc(1, sizeof(*s)) : NULL;
	if (rc == 0 && s == NULL) {
		rc = et_fail(reterr, -ENOMEM, "archive status");
	}
	if (rc == 0) {
		rc = et_mover_status(call->api->services.mover, s, reterr);
	}
	if (rc < 0) {
		free(s);
		return rc;
	}
	struct job_list l = { .list = json_array() };
	json_t *targets = json_array();
	api_nodes_load(v, &l.nodes);
	(void)et_state_each_job(v, add_job, &l);
	for (size_t i = 0; i < s->target_count; i++) {
		et_json_add(targets, target_json(&s->targets[i]));
	}
	json_t *o = json_object();
	et_json_set(o, "policy_revision", json_integer(s->policy_revision));
	et_json_set(o, "jobs_waiting", et_json_u64(s->jobs_waiting));
	et_json_set(o, "jobs_failed", et_json_u64(s->jobs_failed));
	et_json_set(o, "backlog_segments", et_json_u64(s->backlog_segments));
	et_json_set(o, "backlog_bytes", et_json_u64(s->backlog_bytes));
	et_json_set(o, "oldest", api_time(s->oldest_us));
	et_json_set(o, "last_error", et_json_text(s->last_error));
	et_json_set(o, "targets", targets);
	et_json_set(o, "jobs", l.list);
	free(s);
	return api_json(call, 200, o);
}

/* ---- Verification ---- */

static int on_verified(void *arg, const Et__Copy *copy, int code, const char *text)
{
	json_t *problems = arg;
	if (code == 0 || json_array_size(problems) >= PROBLEMS_MAX) {
		return 0;
	}
	struct api_nodes none = { .count = 0 };
	json_t *o = api_copy_json(&none, copy);
	et_json_set(o, "recording", api_uuid(&copy->recording));
	et_json_set(o, "code", json_string(et_errname(code)));
	et_json_set(o, "why", et_json_text(text));
	et_json_add(problems, o);
	return 0;
}

int api_archive_verify(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "target", "recording" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	uint8_t id[16];
	int rc = api_need(call->api->services.mover, "archive", reterr);
	if (rc == 0) {
		rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	const char *recording = et_json_get_text(body, "recording", NULL);
	if (recording != NULL && !et_uuid_parse(recording, id)) {
		return et_fail_plain(reterr, ET_EUSAGE, "recording is a UUID");
	}
	json_t *problems = json_array();
	struct et_mover_verify verify = { .target = et_json_get_text(body, "target", NULL),
					  .recording = recording != NULL ? id : NULL,
					  .each = on_verified,
					  .arg = problems };
	rc = et_mover_verify(call->api->services.mover, &verify, reterr);
	if (rc < 0 && rc != ET_EINTEGRITY && rc != ET_EUNREACHABLE) {
		json_decref(problems);
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "copies", et_json_u64(verify.copies));
	et_json_set(o, "bytes", et_json_u64(verify.bytes));
	et_json_set(o, "bad", et_json_u64(verify.bad));
	et_json_set(o, "unreachable", et_json_u64(verify.unreachable));
	et_json_set(o, "problems", problems);
	return api_json(call, 200, o);
}
