/* The retention policy, and what it comes to now. Nothing here erases. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/policy/retention.h"
#include "node/api/api_internal.h"
#include "node/io/clock.h"

#define LOOKED_MAX 2000000 /* recordings that one plan looks at */
#define LOOK 10000
#define LISTED_MAX 1000
#define ROWS_MAX 512

/* ---- The policy ---- */

int api_retention_get(struct api_call *call, struct et_error *reterr)
{
	return api_policy_answer(call, ET_STATE_RETENTION, "retention", reterr);
}

static void rule_like(const struct et_retention_rule *from, Et__RetentionRule *to)
{
	et__retention_rule__init(to);
	to->name = (char *)(uintptr_t)from->name;
	to->sites = from->sites.items;
	to->n_sites = from->sites.count;
	to->directions = from->directions.items;
	to->n_directions = from->directions.count;
	to->numbers = from->numbers.items;
	to->n_numbers = from->numbers.count;
	to->recorded_by = from->recorded_by.items;
	to->n_recorded_by = from->recorded_by.count;
	to->min_duration_us = from->min_duration_us;
	to->keep_us = from->keep_us;
	to->erase_after_us = from->erase_after_us;
}

static int policy_commit(struct api_call *call, const char *text,
			 const struct et_retention_policy *parsed, uint32_t expect,
			 const char *reason, struct api_result *ret, struct et_error *reterr)
{
	static char name[] = ET_STATE_RETENTION;
	Et__Policy policy = ET__POLICY__INIT;
	Et__PolicySet set = ET__POLICY_SET__INIT;
	Et__Command command = ET__COMMAND__INIT;
	Et__RetentionRule *rules = calloc(parsed->rule_count + 1, sizeof(*rules));
	Et__RetentionRule **list = calloc(parsed->rule_count + 1, sizeof(*list));
	int rc = rules == NULL || list == NULL ? et_fail(reterr, -ENOMEM, "retention policy") : 0;
	for (size_t i = 0; i < parsed->rule_count && rc == 0; i++) {
		rule_like(&parsed->rules[i], &rules[i]);
		list[i] = &rules[i];
	}
	policy.name = name;
	policy.text = (char *)(uintptr_t)text;
	policy.retention = list;
	policy.n_retention = parsed->rule_count;
	set.policy = &policy;
	set.expect_revision = expect;
	command.body_case = ET__COMMAND__BODY_POLICY_SET;
	command.policy_set = &set;
	rc = rc < 0 ? rc : api_propose(call, &command, reason, ret, reterr);
	free(rules);
	free(list);
	return rc;
}

int api_retention_put(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "text", "reason", "expect_revision" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	ET_CLEANUP(et_retention_policy_freep) struct et_retention_policy *parsed = NULL;
	struct et_state_view *v;
	struct api_result result;
	const char *reason = "";
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : api_need_reason(body, &reason, reterr);
	rc = rc < 0 ? rc : api_view(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	const char *text = et_json_get_text(body, "text", "");
	int64_t expect = et_json_get_int(body, "expect_revision",
					 api_policy_revision(v, ET_STATE_RETENTION));
	if (expect < 0 || expect > UINT32_MAX - 1 || strlen(text) > ET_ARCHIVE_POLICY_SIZE_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "expect_revision is a revision, text at most %d bytes",
				     ET_ARCHIVE_POLICY_SIZE_MAX);
	}
	rc = et_retention_policy_parse(text, strlen(text), "policy", &parsed, reterr);
	rc = rc < 0 ? rc : api_need_quorum(call, reterr);
	rc = rc < 0 ? rc
		    : policy_commit(call, text, parsed, (uint32_t)expect, reason, &result, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "revision", et_json_u64(result.number));
	return api_json(call, 200, o);
}

/* ---- Of one recording ---- */

json_t *api_retention_json(const struct et_state_view *v, const Et__Recording *r,
			   int64_t cluster_time_us)
{
	struct et_state_retention retention;
	struct et_state_exemption e;
	Et__Policy *policy = NULL;
	json_t *o = json_object();
	int rc = et_state_get_policy(v, ET_STATE_RETENTION, &policy);
	if (rc < 0 && rc != ET_ENOTFOUND) {
		return o;
	}
	if (r->state != ET__RECORDING_STATE__ERASED && r->state != ET__RECORDING_STATE__CAPTURING) {
		et_state_retention(policy, r, &retention);
		et_json_set(o, "since", api_time(retention.since_us));
		et_json_set(o, "keep_until", api_time(retention.keep_until_us));
		et_json_set(o, "keep_rule",
			    retention.keep_rule != NULL ? et_json_text(retention.keep_rule)
							: json_null());
		et_json_set(o, "erase_at", api_time(retention.erase_at_us));
		et_json_set(o, "erase_rule",
			    retention.erase_rule != NULL ? et_json_text(retention.erase_rule)
							 : json_null());
	}
	if (et_state_exempt(v, policy, r, cluster_time_us, &e) == 0) {
		et_json_set(o, "exempt", et_json_text(e.text));
	}
	if (policy != NULL) {
		et__policy__free_unpacked(policy, NULL);
	}
	return o;
}

/* ---- What would go now ---- */

struct row {
	char rule[64];
	char why[200]; /* "": it goes */
	uint64_t recordings;
};

struct planning {
	const struct et_state_view *v;
	const Et__Policy *policy;
	int64_t now_us;
	struct row rows[ROWS_MAX];
	size_t row_count;
	uint64_t goes;
	uint64_t exempt;
	json_t *list;
	bool cut; /* more than are listed */
};

static void row_count(struct planning *p, const char *rule, const char *why)
{
	size_t i = 0;
	while (i < p->row_count &&
	       (strcmp(p->rows[i].rule, rule) != 0 || strcmp(p->rows[i].why, why) != 0)) {
		i++;
	}
	if (i == ROWS_MAX) {
		i = ROWS_MAX - 1; /* the last row has the rest */
	} else if (i == p->row_count) {
		p->row_count++;
		(void)snprintf(p->rows[i].rule, sizeof(p->rows[i].rule), "%s", rule);
		(void)snprintf(p->rows[i].why, sizeof(p->rows[i].why), "%s", why);
	}
	p->rows[i].recordings++;
}

static int plan_one(void *arg, const Et__Recording *r)
{
	struct planning *p = arg;
	struct et_state_retention retention;
	struct et_state_exemption e;
	et_state_retention(p->policy, r, &retention);
	int rc = et_state_exempt(p->v, p->policy, r, p->now_us, &e);
	if (rc < 0) {
		return rc;
	}
	row_count(p, retention.erase_rule, e.text);
	p->goes += e.why == ET_EXEMPT_NOT;
	p->exempt += e.why != ET_EXEMPT_NOT;
	if (json_array_size(p->list) == LISTED_MAX) {
		p->cut = true;
		return 0;
	}
	json_t *o = json_object();
	et_json_set(o, "recording", api_uuid(&r->id));
	et_json_set(o, "action", json_string(e.why == ET_EXEMPT_NOT ? "erase" : "exempt"));
	et_json_set(o, "rule", et_json_text(retention.erase_rule));
	et_json_set(o, "due", api_time(retention.erase_at_us));
	et_json_set(o, "why", et_json_text(e.text));
	et_json_add(p->list, o);
	return 0;
}

static json_t *rows_json(const struct planning *p)
{
	json_t *rows = json_array();
	for (size_t i = 0; i < p->row_count; i++) {
		json_t *o = json_object();
		bool goes = p->rows[i].why[0] == '\0';
		et_json_set(o, "action", json_string(goes ? "erase" : "exempt"));
		et_json_set(o, "rule", et_json_text(p->rows[i].rule));
		et_json_set(o, "recordings", et_json_u64(p->rows[i].recordings));
		et_json_set(o, "why", et_json_text(goes ? "its time has come" : p->rows[i].why));
		et_json_add(rows, o);
	}
	return rows;
}

static int plan_look(struct planning *p, bool *ret_more)
{
	uint8_t at[16] = { 0 };
	bool more = p->policy != NULL;
	uint64_t looked = 0;
	int rc = 0;
	while (more && rc == 0 && looked < LOOKED_MAX) {
		rc = et_state_each_due(p->v, p->policy, p->now_us, at, LOOK, plan_one, p, &more);
		looked += LOOK;
	}
	*ret_more = more;
	return rc;
}

int api_retention_plan(struct api_call *call, struct et_error *reterr)
{
	struct et_catalog_status raft;
	struct et_state_view *v;
	Et__Policy *policy = NULL;
	bool more = false;
	int rc = api_view(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	struct planning *p = calloc(1, sizeof(*p));
	if (p == NULL) {
		return et_fail(reterr, -ENOMEM, "retention plan");
	}
	et_catalog_status(call->api->services.catalog, &raft);
	rc = et_state_get_policy(v, ET_STATE_RETENTION, &policy);
	if (rc < 0 && rc != ET_ENOTFOUND) {
		free(p);
		return et_fail(reterr, rc, "retention policy");
	}
	p->v = v;
	p->policy = policy;
	p->now_us = raft.cluster_time_us;
	p->list = json_array();
	rc = plan_look(p, &more);
	if (rc < 0) {
		json_decref(p->list);
		(void)et_fail(reterr, rc, "retention plan");
	} else {
		json_t *o = json_object();
		et_json_set(o, "policy_revision",
			    json_integer(policy != NULL ? policy->revision : 0));
		et_json_set(o, "cluster_time", api_time(p->now_us));
		et_json_set(o, "erase", et_json_u64(p->goes));
		et_json_set(o, "exempt", et_json_u64(p->exempt));
		et_json_set(o, "actions", rows_json(p));
		et_json_set(o, "items", p->list);
		et_json_set(o, "items_cut", json_boolean(p->cut));
		et_json_set(o, "partial", json_boolean(more));
		rc = api_json(call, 200, o);
	}
	if (policy != NULL) {
		et__policy__free_unpacked(policy, NULL);
	}
	free(p);
	return rc;
}
