/* The targets of the archive policy: how they are doing, and trying them out. */
#include <stdlib.h>
#include <string.h>

#include "archive/policy/trial.h"
#include "node/api/api_internal.h"

static json_t *rules_json(const struct et_archive_policy *p, size_t target)
{
	json_t *rules = json_array();
	for (size_t i = 0; i < p->rule_count; i++) {
		if (p->rules[i].target == target) {
			et_json_add(rules, json_string(p->rules[i].name));
		}
	}
	return rules;
}

static void settings_json(const struct et_archive_policy *p, size_t target, json_t *o)
{
	static const char *const types[] = {
		[ET_ARCHIVE_DIR] = "dir", [ET_ARCHIVE_S3] = "s3", [ET_ARCHIVE_S3V2] = "s3v2"
	};
	static const char *const locks[] = { [ET_LOCK_NONE] = "",
					     [ET_LOCK_GOVERNANCE] = "governance",
					     [ET_LOCK_COMPLIANCE] = "compliance" };
	const struct et_archive_target *t = &p->targets[target];
	char where[ET_ARCHIVE_WHERE_SIZE];
	et_archive_target_where(t, where);
	et_json_set(o, "name", et_json_text(t->name));
	et_json_set(o, "type", json_string(types[t->type]));
	et_json_set(o, "where", et_json_text(where));
	et_json_set(o, "lock", json_string(locks[et_archive_target_lock(p, target)]));
	et_json_set(o, "storage_class",
		    et_json_text(t->storage_class != NULL ? t->storage_class : ""));
	et_json_set(o, "rules", rules_json(p, target));
}

static void doing_json(const struct et_mover_target_status *t, json_t *o)
{
	bool unreachable = t->last_error_us > t->last_ok_us;
	et_json_set(o, "copies", et_json_u64(t->copies));
	et_json_set(o, "bytes", et_json_u64(t->bytes));
	et_json_set(o, "bad", et_json_u64(t->bad));
	et_json_set(o, "backlog_segments", et_json_u64(t->waiting_segments));
	et_json_set(o, "backlog_bytes", et_json_u64(t->waiting_bytes));
	et_json_set(o, "last_success", api_time(t->newest_us));
	et_json_set(o, "jobs_failed", et_json_u64(t->jobs_failed));
	et_json_set(o, "last_failure", api_time(t->job_error_us));
	et_json_set(o, "last_failure_why", et_json_text(t->job_error));
	et_json_set(o, "unreachable_since", api_time(unreachable ? t->last_error_us : 0));
	et_json_set(o, "unreachable_why", et_json_text(unreachable ? t->last_error : ""));
}

static json_t *targets_json(const struct et_archive_policy *p, const struct et_mover_status *s)
{
	json_t *targets = json_array();
	for (size_t i = 0; i < p->target_count; i++) {
		json_t *o = json_object();
		settings_json(p, i, o);
		for (size_t k = 0; k < s->target_count; k++) {
			if (strcmp(s->targets[k].name, p->targets[i].name) == 0) {
				doing_json(&s->targets[k], o);
			}
		}
		et_json_add(targets, o);
	}
	return targets;
}

/* The policy in force, of this call's view. */
static int policy_find(struct api_call *call, struct et_archive_policy **ret,
		       uint32_t *ret_revision, struct et_error *reterr)
{
	struct et_state_view *v;
	int rc = api_need(call->api->services.mover, "archive", reterr);
	rc = rc < 0 ? rc : api_view(call, &v, reterr);
	return rc < 0 ? rc : et_archive_policy_of(v, ret, ret_revision, reterr);
}

int api_targets(struct api_call *call, struct et_error *reterr)
{
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *policy = NULL;
	uint32_t revision = 0;
	int rc = policy_find(call, &policy, &revision, reterr);
	struct et_mover_status *s = rc == 0 ? calloc(1, sizeof(*s)) : NULL;
	if (rc == 0 && s == NULL) {
		rc = et_fail(reterr, -ENOMEM, "archive targets");
	}
	if (rc == 0) {
		rc = et_mover_status(call->api->services.mover, s, reterr);
	}
	if (rc == 0) {
		json_t *o = json_object();
		et_json_set(o, "policy_revision", json_integer(revision));
		et_json_set(o, "targets", targets_json(policy, s));
		rc = api_json(call, 200, o);
	}
	free(s);
	return rc;
}

int api_target_test(struct api_call *call, struct et_error *reterr)
{
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *policy = NULL;
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	char name[ET_ARCHIVE_NAME_MAX + 1];
	uint32_t revision = 0;
	uint64_t event;
	json_t *tests = NULL;
	int rc = api_body(call, NULL, 0, &body, reterr);
	rc = rc < 0 ? rc : policy_find(call, &policy, &revision, reterr);
	if (rc < 0) {
		return rc;
	}
	if (!api_path_star(call->route->path, call->request.path, name, sizeof(name)) ||
	    et_archive_target_find(policy, name) == NULL) {
		rc = et_fail_plain(reterr, ET_ENOTFOUND, "the policy in force has no such target");
		(void)et_fail_next(reterr, "evertape archive targets list");
		return rc;
	}
	rc = api_audit(call, "archive.target-test", name, "", NULL, &event, reterr);
	if (rc < 0) {
		(void)et_fail_next(reterr, "evertape archive targets test %s --file POLICY", name);
		return rc;
	}
	api_view_release(call); /* a server that does not answer takes a minute */
	rc = et_archive_trial(policy, name, &tests, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "node", et_json_text(call->api->config.name));
	et_json_set(o, "policy_revision", json_integer(revision));
	et_json_set(o, "tests", tests);
	return api_json(call, 200, o);
}
