/* Pausing a live recording, and going on with it.
 *
 *   recorder: in force, saved ──▶ audit event: in the journal, then in the chain ──▶ answer
 *
 * Promises
 *   - It needs no quorum: card numbers do not wait for one. The audit event is kept durably here
 *     and goes into the chain when it can (`audit.pending`).
 *   - A good answer means that the pause (or its end) is in force, that it is synced on this disk
 *     (`survives: local`: the recorder may be killed or lose power and starts again with it), and
 *     that its audit event is too.
 *   - What is asked for twice is so once; each request has its audit event.
 * A request is answered by the recorder itself; another node says which one that is. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/io/clock.h"

/* This node does not record it: who does? */
static int say_where(struct api_call *call, const uint8_t id[16], const char *verb,
		     struct et_error *reterr)
{
	Et__Recording *r = NULL;
	Et__Node *node = NULL;
	bool pending = false;
	char text[ET_UUID_TEXT_SIZE];

	int rc = api_recording_find(call, id, &r, &pending, reterr);
	if (rc < 0) {
		return rc;
	}
	et_uuid_format(id, text);
	if (r->state != ET__RECORDING_STATE__CAPTURING) {
		rc = et_fail_plain(reterr, ET_EREFUSED, "recording %s has ended", text);
	} else if (r->node == call->api->services.node) {
		rc = et_fail_plain(reterr, ET_EREFUSED,
				   "recording %s is not being recorded any more; its end is on its "
				   "way",
				   text);
	} else if (et_state_get_node(call->view, r->node, &node) == 0) {
		rc = et_fail_plain(reterr, ET_EREFUSED, "node %s records %s: ask it", node->name,
				   text);
		(void)et_fail_next(reterr, "evertape --node %s recording %s %s --reason …",
				   *node->api_address != '\0' ? node->api_address : node->name,
				   verb, text);
		et__node__free_unpacked(node, NULL);
	} else {
		rc = et_fail_plain(reterr, ET_EREFUSED, "node %" PRIu64 " records %s: ask it",
				   r->node, text);
	}
	et__recording__free_unpacked(r, NULL);
	return rc;
}

int api_audit_durably(struct api_call *call, const char *action, const char *target,
		      const char *detail, const char *reason, struct et_api_told *ret,
		      struct et_error *reterr)
{
	const struct et_api_backend *b = &call->api->config.backend;
	Et__AuditAdd add = ET__AUDIT_ADD__INIT;
	Et__Command command = ET__COMMAND__INIT;

	if (b->tell == NULL) {
		ret->committed = true;
		return api_audit(call, action, target, detail, reason, &ret->index, reterr);
	}
	add.action = (char *)(uintptr_t)action;
	add.target = (char *)(uintptr_t)target;
	add.detail = (char *)(uintptr_t)detail;
	command.body_case = ET__COMMAND__BODY_AUDIT_ADD;
	command.audit_add = &add;
	command.principal = call->principal;
	command.reason = (char *)(uintptr_t)reason;
	command.schema = ET_COMMAND_SCHEMA;
	return b->tell(b->arg, &command, ret, reterr);
}

json_t *api_audited_json(const struct et_api_told *told)
{
	json_t *o = json_object();

	et_json_set(o, "pending", json_boolean(!told->committed));
	et_json_set(o, "index", told->committed ? et_json_u64(told->index) : json_null());
	return o;
}

static int answer(struct api_call *call, const char *id, const struct et_api_paused *p,
		  const struct et_api_told *told)
{
	json_t *o = json_object();

	et_json_set(o, "id", json_string(id));
	et_json_set(o, "paused", json_boolean(p->paused));
	et_json_set(o, "changed", json_boolean(p->changed));
	et_json_set(o, "from", api_time(p->from_us));
	et_json_set(o, "to", api_time(p->to_us));
	et_json_set(o, "until", api_time(p->until_us));
	et_json_set(o, "packets", et_json_u64(p->packets));
	et_json_set(o, "survives", json_string("local"));
	et_json_set(o, "audit", api_audited_json(told));
	return api_json(call, 200, o);
}

static int run(struct api_call *call, const json_t *body, bool pause, struct et_error *reterr)
{
	const struct et_api_backend *b = &call->api->config.backend;
	const char *verb = pause ? "pause" : "resume";
	const char *reason = et_json_get_text(body, "reason", "");
	uint8_t id[16];
	char text[ET_UUID_TEXT_SIZE];
	char detail[160];
	struct et_api_paused paused = { 0 };
	struct et_api_told told = { 0 };
	struct et_api_pause request = {
		.recording = id, .pause = pause, .principal = call->principal, .reason = reason
	};

	int rc = api_path_id(call, id, reterr);
	if (rc < 0) {
		return rc;
	}
	int64_t max_ms = et_json_get_int(body, "max_ms", 0);
	if (*reason == '\0' || max_ms < 0 || max_ms > INT64_C(86400000)) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     *reason == '\0' ? "it needs a reason"
						     : "max_ms is from 1 to 86400000");
	}
	request.max_us = max_ms * 1000;
	rc = b->pause != NULL ? b->pause(b->arg, &request, &paused, reterr) : ET_ENOTFOUND;
	if (rc == ET_ENOTFOUND) {
		return say_where(call, id, verb, reterr);
	}
	const int failed = rc;
	if (failed < 0 && paused.from_us == 0) {
		return failed; /* it did not come to be */
	}
	et_uuid_format(id, text);
	(void)snprintf(detail, sizeof(detail), "%s%s; %" PRIu64 " packets not written so far",
		       paused.changed ? (pause ? "paused" : "goes on")
		       : pause	      ? "was paused already"
				      : "was not paused",
		       failed < 0 ? ", but not saved" : "", paused.packets);
	struct et_error e = { 0 };
	rc = api_audit_durably(call, pause ? "recording.pause" : "recording.resume", text, detail,
			       reason, &told, &e);
	if (failed < 0) {
		return failed; /* reterr says what; the audit log has it, if it can */
	}
	if (rc < 0) {
		return et_fail_plain(reterr, rc,
				     "the recording %s, but its audit event could not be kept "
				     "(ask again): %.300s",
				     paused.paused ? "is paused" : "goes on", e.text);
	}
	return answer(call, text, &paused, &told);
}

int api_recording_pause(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "reason", "max_ms" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	return rc < 0 ? rc : run(call, body, true, reterr);
}

int api_recording_resume(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	return rc < 0 ? rc : run(call, body, false, reterr);
}
