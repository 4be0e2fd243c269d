/* Erasing a recording: a committed entry that destroys its keys, after the holds were looked at. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/io/clock.h"

int api_recording_erase(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "reason", "confirm" };
	const struct et_api_backend *b = &call->api->config.backend;
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	Et__RecordingErase erase = ET__RECORDING_ERASE__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct api_result result;
	uint8_t id[16];
	const char *reason = "";

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : api_path_id(call, id, reterr);
	rc = rc < 0 ? rc : api_need_confirm(call, body, &reason, reterr);
	rc = rc < 0 ? rc : api_need_quorum(call, reterr);
	if (rc < 0) {
		return rc;
	}
	erase.recording = (ProtobufCBinaryData){ sizeof(id), id };
	command.body_case = ET__COMMAND__BODY_RECORDING_ERASE;
	command.recording_erase = &erase;
	rc = api_propose(call, &command, reason, &result, reterr);
	if (rc < 0) {
		return rc;
	}
	/* A backup must not bring it back: the tombstone is outside of the catalogue before the
	 * answer is given. */
	if (b->erased != NULL) {
		rc = b->erased(b->arg, id, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	json_t *o = json_object();
	et_json_set(o, "id", api_uuid(&erase.recording));
	et_json_set(o, "state", json_string("erased"));
	et_json_set(o, "index", et_json_u64(result.number));
	return api_json(call, 200, o);
}

/* ---- By plan ---- */

#define EXEMPT_MAX 4000 /* listed in one plan */

struct planning {
	struct api_call *call;
	const struct et_state_view *v;
	Et__Policy *policy; /* owned; NULL: none is in force */
	int64_t now_us;
	Et__Plan plan;
	Et__PlanItem *items; /* owned */
	Et__PlanItem **list; /* owned */
	uint8_t (*ids)[16];  /* owned */
	char (*whys)[200];   /* owned */
	size_t erases;
	size_t exempts;
	size_t capacity;
	bool more;
	uint8_t id[16];
};

static void planning_release(struct planning *p)
{
	if (p->policy != NULL) {
		et__policy__free_unpacked(p->policy, NULL);
	}
	free(p->items);
	free(p->list);
	free(p->ids);
	free(p->whys);
}

static int planning_begin(struct planning *p, size_t count, struct et_error *reterr)
{
	static char kind[] = "erase";
	static char policy[] = ET_STATE_RETENTION;
	size_t room = ET_STATE_ERASE_MAX + EXEMPT_MAX;
	struct et_catalog_status raft;
	p->capacity = count < room ? count : room;
	p->items = calloc(p->capacity + 1, sizeof(*p->items));
	p->list = calloc(p->capacity + 1, sizeof(*p->list));
	p->ids = calloc(p->capacity + 1, sizeof(*p->ids));
	p->whys = calloc(p->capacity + 1, sizeof(*p->whys));
	if (p->items == NULL || p->list == NULL || p->ids == NULL || p->whys == NULL) {
		return et_fail(reterr, -ENOMEM, "plan");
	}
	et_catalog_status(p->call->api->services.catalog, &raft);
	int rc = et_state_get_policy(p->v, ET_STATE_RETENTION, &p->policy);
	if (rc < 0 && rc != ET_ENOTFOUND) {
		return et_fail(reterr, rc, "retention policy");
	}
	et__plan__init(&p->plan);
	et_uuid7(p->id);
	p->now_us = raft.cluster_time_us;
	p->plan.id = (ProtobufCBinaryData){ sizeof(p->id), p->id };
	p->plan.kind = kind;
	p->plan.policy = policy;
	p->plan.policy_revision = p->policy != NULL ? p->policy->revision : 0;
	p->plan.made_index = et_state_view_index(p->v);
	p->plan.made_us = p->now_us;
	p->plan.items = p->list;
	return 0;
}

static int planning_why(struct planning *p, const uint8_t id[16], char why[200])
{
	struct et_state_exemption e = { .why = ET_EXEMPT_NOT };
	Et__Recording *r = NULL;
	int rc = et_state_get_recording(p->v, id, &r);
	if (rc == ET_ENOTFOUND) {
		(void)snprintf(why, 200, "not found");
		return 0;
	}
	rc = rc < 0 ? rc : et_state_exempt(p->v, p->policy, r, p->now_us, &e);
	(void)snprintf(why, 200, "%s", e.text);
	if (r != NULL) {
		et__recording__free_unpacked(r, NULL);
	}
	return rc;
}

static int planning_add(struct planning *p, const uint8_t id[16])
{
	static char erase[] = "erase";
	static char exempt[] = "exempt";
	size_t i = p->plan.n_items;
	for (size_t k = 0; k < i; k++) {
		if (memcmp(p->ids[k], id, 16) == 0) {
			return 0; /* named twice */
		}
	}
	if (i == p->capacity) {
		p->more = true;
		return 0;
	}
	int rc = planning_why(p, id, p->whys[i]);
	if (rc < 0) {
		return rc;
	}
	bool goes = p->whys[i][0] == '\0';
	if (goes ? p->erases == ET_STATE_ERASE_MAX : p->exempts == EXEMPT_MAX) {
		p->more = true;
		return 0;
	}
	memcpy(p->ids[i], id, 16);
	et__plan_item__init(&p->items[i]);
	p->items[i].action = goes ? erase : exempt;
	p->items[i].recording = (ProtobufCBinaryData){ 16, p->ids[i] };
	p->items[i].why = p->whys[i];
	p->list[i] = &p->items[i];
	p->plan.n_items++;
	p->erases += goes;
	p->exempts += !goes;
	return 0;
}

static json_t *erasure_json(const Et__Plan *plan)
{
	json_t *o = json_object();
	json_t *erase = json_array();
	for (size_t i = 0; i < plan->n_items; i++) {
		if (strcmp(plan->items[i]->action, "erase") == 0) {
			et_json_add(erase, api_uuid(&plan->items[i]->recording));
		}
	}
	et_json_set(o, "plan", api_uuid(&plan->id));
	et_json_set(o, "state", et_json_text(plan->state));
	et_json_set(o, "made", api_time(plan->made_us));
	et_json_set(o, "made_index", et_json_u64(plan->made_index));
	et_json_set(o, "retention_revision", json_integer(plan->policy_revision));
	et_json_set(o, "hash", et_json_hex(plan->hash.data, plan->hash.len));
	et_json_set(o, "applied", api_time(plan->applied_us));
	et_json_set(o, "applied_index", et_json_u64(plan->applied_index));
	et_json_set(o, "audit_first", et_json_u64(plan->audit_first));
	et_json_set(o, "audit_last", et_json_u64(plan->audit_last));
	et_json_set(o, "erase", erase);
	et_json_set(o, "exempt", api_exempt_json(plan));
	return o;
}

static int ids_of_body(const json_t *list, struct et_buffer *ids, struct et_error *reterr)
{
	size_t i;
	json_t *one;
	json_array_foreach(list, i, one)
	{
		uint8_t id[16];
		const char *text = json_string_value(one) != NULL ? json_string_value(one) : "";
		if (!et_uuid_parse(text, id)) {
			return et_fail_plain(reterr, ET_EUSAGE, "\"%.40s\" is no recording id",
					     text);
		}
		et_buffer_add(ids, id, sizeof(id));
	}
	return ids->failed ? et_fail(reterr, -ENOMEM, "recordings") : 0;
}

static int plan_keep(struct planning *p, struct et_error *reterr)
{
	Et__PlanPut put = ET__PLAN_PUT__INIT;
	Et__Command command = ET__COMMAND__INIT;
	put.plan = &p->plan;
	command.body_case = ET__COMMAND__BODY_PLAN_PUT;
	command.plan_put = &put;
	return p->erases == 0 ? 0 : api_propose(p->call, &command, NULL, NULL, reterr);
}

static int plan_make(struct api_call *call, const struct et_buffer *ids, bool more,
		     struct et_error *reterr)
{
	struct planning p = { .call = call, .more = more };
	struct et_state_view *v;
	uint8_t hash[32];
	int rc = api_view(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	p.v = v;
	rc = planning_begin(&p, ids->size / 16, reterr);
	for (size_t i = 0; i < ids->size / 16 && rc == 0; i++) {
		rc = planning_add(&p, ids->data + i * 16);
		if (rc < 0) {
			(void)et_fail(reterr, rc, "plan");
		}
	}
	if (rc == 0) {
		rc = et_state_plan_hash(&p.plan, hash);
		p.plan.hash = (ProtobufCBinaryData){ sizeof(hash), hash };
	}
	rc = rc < 0 ? rc : plan_keep(&p, reterr);
	if (rc == 0) {
		json_t *o = erasure_json(&p.plan);
		et_json_set(o, "state", json_string("planned"));
		et_json_set(o, "partial", json_boolean(p.more));
		if (p.erases == 0) { /* nothing to apply: nothing was kept */
			et_json_set(o, "plan", json_string(""));
		}
		rc = api_json(call, 201, o);
	}
	planning_release(&p);
	return rc;
}

int api_erasure_plan(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "recordings" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	ET_CLEANUP(et_buffer_release) struct et_buffer ids = { 0 };
	bool more = false;
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	if (rc < 0) {
		return rc;
	}
	const json_t *named = json_object_get(body, "recordings");
	if (named != NULL && call->request.param_count > 0) {
		return et_fail_plain(reterr, ET_EUSAGE, "name recordings, or say which: not both");
	}
	rc = named != NULL ? ids_of_body(named, &ids, reterr)
			   : api_recordings_match(call, ET_STATE_ERASE_MAX + EXEMPT_MAX, &ids,
						  &more, reterr);
	return rc < 0 ? rc : plan_make(call, &ids, more, reterr);
}

int api_erasure_get(struct api_call *call, struct et_error *reterr)
{
	Et__Plan *plan = NULL;
	int rc = api_plan_find(call, /* erase= */ true, &plan, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *o = erasure_json(plan);
	et__plan__free_unpacked(plan, NULL);
	return api_json(call, 200, o);
}

/* A backup must not bring it back: the tombstones are outside of the catalogue before the answer is
 * given. */
static int ledger_wait(struct api_call *call, const Et__Plan *plan, struct et_error *reterr)
{
	const struct et_api_backend *b = &call->api->config.backend;
	int rc = 0;
	for (size_t i = 0; i < plan->n_items && rc == 0 && b->erased != NULL; i++) {
		if (strcmp(plan->items[i]->action, "erase") == 0) {
			rc = b->erased(b->arg, plan->items[i]->recording.data, reterr);
		}
	}
	return rc;
}

static int erasure_apply(struct api_call *call, const Et__Plan *plan, const char *reason,
			 struct et_error *reterr)
{
	Et__PlanApply apply = ET__PLAN_APPLY__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct api_result result;
	apply.plan = plan->id;
	apply.hash = plan->hash;
	command.body_case = ET__COMMAND__BODY_PLAN_APPLY;
	command.plan_apply = &apply;
	int rc = api_propose(call, &command, reason, &result, reterr);
	if (rc == ET_ESTALE) {
		(void)et_fail_next(reterr, "evertape recording erase --plan ...");
	}
	rc = rc < 0 ? rc : ledger_wait(call, plan, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "plan", api_uuid(&plan->id));
	et_json_set(o, "erased", et_json_u64(result.number));
	et_json_set(o, "index", et_json_u64(result.index));
	return api_json(call, 200, o);
}

int api_erasure_apply(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "reason", "confirm" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	Et__Plan *plan = NULL;
	const char *reason = "";
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : api_need_confirm(call, body, &reason, reterr);
	rc = rc < 0 ? rc : api_need_quorum(call, reterr);
	rc = rc < 0 ? rc : api_plan_find(call, /* erase= */ true, &plan, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = erasure_apply(call, plan, reason, reterr);
	et__plan__free_unpacked(plan, NULL);
	return rc;
}
