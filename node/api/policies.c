/* Policies that were in force: what they said, who applied them, when and why. */
#include <stdlib.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/base/bytes.h"

#define SAME_TIME_MAX 10000 /* audit events of one instant that are looked at */

/* ---- Why: of the audit log, whose times never go back ---- */

struct instant {
	int64_t time_us;
};

static int instant_take(void *arg, const Et__AuditEvent *event)
{
	struct instant *i = arg;
	i->time_us = event->time_us;
	return 0;
}

/* The first event at or after `time_us`; events + 1 when there is none. */
static int event_first_at(const struct et_state_view *v, uint64_t events, int64_t time_us,
			  uint64_t *ret)
{
	uint64_t low = 1;
	uint64_t high = events + 1;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		struct instant i = { .time_us = 0 };
		int rc = et_state_each_audit(v, middle, middle, instant_take, &i);
		if (rc < 0) {
			return rc;
		}
		if (i.time_us < time_us) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	*ret = low;
	return 0;
}

/* Cluster time is a tick: several revisions may be of one instant, in the order of their events. */
struct reason {
	const Et__Policy *policy;
	uint64_t wanted; /* take this one of the instant, from 1; 0: only count them */
	uint64_t seen;
	struct et_buffer text; /* owned */
	uint64_t event;
};

static int reason_take(void *arg, const Et__AuditEvent *event)
{
	struct reason *r = arg;
	if (event->time_us != r->policy->applied_us) {
		return 1; /* the instant is over */
	}
	if (strcmp(event->action, "policy.set") != 0 || strcmp(event->outcome, "ok") != 0 ||
	    strcmp(event->target, r->policy->name) != 0 || ++r->seen != r->wanted) {
		return 0;
	}
	et_buffer_printf(&r->text, "%s", event->reason);
	r->event = event->number;
	return 1;
}

/* `later`: how many newer revisions are of the same instant. */
static int reason_find(const struct et_state_view *v, uint64_t events, uint64_t later,
		       struct reason *why)
{
	uint64_t first = 0;
	int rc = event_first_at(v, events, why->policy->applied_us, &first);
	if (rc < 0 || first > events) {
		return rc;
	}
	rc = et_state_each_audit(v, first, first + SAME_TIME_MAX, reason_take, why);
	if (rc < 0 || why->seen <= later) {
		return rc; /* of a time before the audit log: no reason is known */
	}
	why->wanted = why->seen - later;
	why->seen = 0;
	return et_state_each_audit(v, first, first + SAME_TIME_MAX, reason_take, why);
}

static int revision_json(const struct et_state_view *v, uint64_t events, const Et__Policy *p,
			 uint64_t later, json_t **ret)
{
	struct reason why = { .policy = p };
	int rc = reason_find(v, events, later, &why);
	if (rc >= 0) {
		et_buffer_add8(&why.text, 0);
		json_t *o = json_object();
		et_json_set(o, "revision", json_integer(p->revision));
		et_json_set(o, "applied", api_time(p->applied_us));
		et_json_set(o, "principal", et_json_text(p->principal));
		et_json_set(o, "reason",
			    et_json_text(why.text.failed ? "" : (const char *)why.text.data));
		et_json_set(o, "audit_event",
			    why.event != 0 ? et_json_u64(why.event) : json_null());
		et_json_set(o, "hash", et_json_hex(p->hash.data, p->hash.len));
		*ret = o;
	}
	et_buffer_release(&why.text);
	return rc < 0 ? rc : 0;
}

/* ---- The list ---- */

static int revisions_list(const struct et_state_view *v, const char *name, uint32_t newest,
			  json_t *list)
{
	struct et_state_counts counts = { 0 };
	int rc = et_state_counts(v, &counts);
	int64_t instant_us = 0;
	uint64_t later = 0;
	for (uint32_t n = newest; n > 0 && rc == 0; n--) {
		Et__Policy *policy = NULL;
		json_t *o = NULL;
		rc = et_state_get_policy_at(v, name, n, &policy);
		if (rc == ET_ENOTFOUND) {
			return 0; /* older ones are not kept either */
		}
		if (rc == 0) {
			later = policy->applied_us == instant_us ? later + 1 : 0;
			instant_us = policy->applied_us;
			rc = revision_json(v, counts.audit_events, policy, later, &o);
		}
		if (rc == 0) {
			et_json_set(o, "in_force", json_boolean(n == newest));
			et_json_add(list, o);
		}
		if (policy != NULL) {
			et__policy__free_unpacked(policy, NULL);
		}
	}
	return rc;
}

static int revisions_answer(struct api_call *call, const char *name, struct et_error *reterr)
{
	struct et_state_view *v;
	int rc = api_view(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	uint32_t newest = api_policy_revision(v, name);
	json_t *list = json_array();
	rc = revisions_list(v, name, newest, list);
	if (rc < 0) {
		json_decref(list);
		return et_fail(reterr, rc, "revisions of the policy");
	}
	json_t *o = json_object();
	et_json_set(o, "revision", json_integer(newest));
	et_json_set(o, "revisions", list);
	return api_json(call, 200, o);
}

int api_policy_revisions(struct api_call *call, struct et_error *reterr)
{
	return revisions_answer(call, ET_ARCHIVE_POLICY, reterr);
}

int api_retention_revisions(struct api_call *call, struct et_error *reterr)
{
	return revisions_answer(call, ET_STATE_RETENTION, reterr);
}

/* ---- One of them ---- */

static int revision_answer(struct api_call *call, const char *name, const char *word,
			   struct et_error *reterr)
{
	char text[16];
	char *end = NULL;
	struct et_state_view *v;
	Et__Policy *policy = NULL;
	unsigned long revision = 0;
	if (api_path_star(call->route->path, call->request.path, text, sizeof(text)) &&
	    text[0] >= '0' && text[0] <= '9') {
		revision = strtoul(text, &end, 10);
	}
	if (end == NULL || *end != '\0' || revision > UINT32_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE, "a revision is a whole number");
	}
	int rc = api_view(call, &v, reterr);
	rc = rc < 0 ? rc : et_state_get_policy_at(v, name, (uint32_t)revision, &policy);
	if (rc == ET_ENOTFOUND) {
		rc = et_fail_plain(reterr, rc, "revision %lu of the %s policy is not kept",
				   revision, word);
		(void)et_fail_next(reterr, "evertape %s policy list", word);
	}
	if (rc < 0) {
		return rc;
	}
	json_t *o = api_policy_json(policy);
	et__policy__free_unpacked(policy, NULL);
	return api_json(call, 200, o);
}

int api_policy_at(struct api_call *call, struct et_error *reterr)
{
	return revision_answer(call, ET_ARCHIVE_POLICY, "archive", reterr);
}

int api_retention_at(struct api_call *call, struct et_error *reterr)
{
	return revision_answer(call, ET_STATE_RETENTION, "retention", reterr);
}
