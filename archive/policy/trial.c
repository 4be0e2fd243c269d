#include "archive/policy/trial.h"

#include <stdlib.h>
#include <string.h>

#include "archive/bucket/probe.h"
#include "archive/policy/target.h"

static json_t *step_json(const struct et_probe_step *s)
{
	json_t *o = json_object();
	et_json_set(o, "step", json_string(s->name));
	et_json_set(o, "result", json_string(et_probe_result_name(s->result)));
	et_json_set(o, "code", json_string(s->code < 0 ? et_errname(s->code) : ""));
	et_json_set(o, "took_ms", json_integer((json_int_t)(s->took_us / 1000)));
	et_json_set(o, "text", et_json_text(s->text));
	et_json_set(o, "next", et_json_text(s->next));
	return o;
}

static json_t *probe_json(const struct et_archive_target *t, const struct et_probe *p)
{
	static const char *const types[] = {
		[ET_ARCHIVE_DIR] = "dir", [ET_ARCHIVE_S3] = "s3", [ET_ARCHIVE_S3V2] = "s3v2"
	};
	static const char *const locks[] = { [ET_LOCK_NONE] = "",
					     [ET_LOCK_GOVERNANCE] = "governance",
					     [ET_LOCK_COMPLIANCE] = "compliance" };
	static const struct et_probe_step none = { .name = "" };
	const struct et_probe_step *failed = &none;
	char where[ET_ARCHIVE_WHERE_SIZE];
	json_t *steps = json_array();
	json_t *o = json_object();
	for (size_t i = 0; i < p->step_count; i++) {
		et_json_add(steps, step_json(&p->steps[i]));
		if (failed == &none && p->steps[i].result == ET_PROBE_FAILED) {
			failed = &p->steps[i];
		}
	}
	et_archive_target_where(t, where);
	et_json_set(o, "target", et_json_text(t->name));
	et_json_set(o, "type", json_string(types[t->type]));
	et_json_set(o, "where", et_json_text(where));
	et_json_set(o, "lock", json_string(locks[p->lock]));
	et_json_set(o, "ok", json_boolean(failed == &none));
	et_json_set(o, "failed", json_string(failed->name));
	et_json_set(o, "why", et_json_text(failed->text));
	et_json_set(o, "next", et_json_text(failed->next));
	et_json_set(o, "left", et_json_text(p->left));
	et_json_set(o, "steps", steps);
	return o;
}

int et_archive_trial(const struct et_archive_policy *policy, const char *name, json_t **ret,
		     struct et_error *reterr)
{
	if (name != NULL && et_archive_target_find(policy, name) == NULL) {
		int rc = et_fail_plain(reterr, ET_ENOTFOUND, "the policy has no target \"%.63s\"",
				       name);
		(void)et_fail_next(reterr, "evertape archive targets list");
		return rc;
	}
	struct et_probe *probe = calloc(1, sizeof(*probe));
	if (probe == NULL) {
		return et_fail(reterr, -ENOMEM, "test of a target");
	}
	json_t *list = json_array();
	for (size_t i = 0; i < policy->target_count; i++) {
		const struct et_archive_target *t = &policy->targets[i];
		struct et_bucket_config config;
		if (name != NULL && strcmp(name, t->name) != 0) {
			continue;
		}
		et_archive_bucket_config(t, &config);
		probe->config = &config;
		probe->lock = et_archive_target_lock(policy, i);
		int rc = et_bucket_probe(probe);
		json_t *o = probe_json(t, probe);
		et_json_set(o, "code", json_string(rc < 0 ? et_errname(rc) : ""));
		et_json_add(list, o);
	}
	free(probe);
	*ret = list;
	return 0;
}
