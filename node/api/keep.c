/* Keeping a call on demand: from now on it is a recording, with what its ring still has.
 *
 *   recorder: kept, synced ──▶ audit event: in the journal, then in the chain ──▶ answer
 *
 * Promises
 *   - It needs no quorum. The audit event is kept durably here and goes into the chain when it can
 *     (`audit.pending`); so is what was kept (`recording show` says pending until then).
 *   - A good answer means that the call is a recording, synced on this node's disk (`survives:
 *     local`), and so is its audit event.
 *   - What is kept twice is kept once; each request has its audit event.
 * The recorder itself is asked, as for a pause: a call that nobody kept is known to no other node.
 * A twin (another recorder of the same call) and other legs are kept by requests of their own; the
 * answer names the recorder that was asked and the others.
 *
 * Failures. The node has no such call, or nobody kept it in time (404; names the other recorders).
 * Its journal or its disk refuses: the recorder tries again by itself, and so may who asked. The
 * sync failed, or the audit event could not be kept: the call is, and the error says so. */
#include <stdio.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/io/clock.h"

#define CALL_ID_MAX 255 /* bytes, as the recorder has it */

/* Other nodes that record. */
struct others {
	uint64_t self;
	json_t *names; /* owned */
	char text[256];
};

static int add_other(void *arg, const Et__Node *n)
{
	struct others *o = arg;
	for (size_t i = 0; i < n->n_roles && n->id != o->self; i++) {
		if (strcmp(n->roles[i], "capture") == 0 && n->state != ET__NODE_STATE__REMOVED) {
			size_t used = strlen(o->text);
			(void)snprintf(o->text + used, sizeof(o->text) - used, "%s%.64s",
				       used > 0 ? ", " : "", n->name);
			et_json_add(o->names, et_json_text(n->name));
		}
	}
	return 0;
}

static int others_load(struct api_call *call, struct others *ret, struct et_error *reterr)
{
	struct et_state_view *v = NULL;
	int rc = api_view(call, &v, reterr);
	if (rc == 0) {
		*ret = (struct others){ .self = call->api->services.node, .names = json_array() };
		rc = et_state_each_node(v, add_other, ret);
	}
	return rc;
}

static int not_here(const struct others *o, const char *what, struct et_error *reterr)
{
	int rc = et_fail_plain(reterr, ET_ENOTFOUND,
			       "this node has no call on demand %.100s: nobody kept it in time, or "
			       "another recorder has it (%s)",
			       what, o->text[0] != '\0' ? o->text : "there is none");
	(void)et_fail_next(reterr, "evertape capture list; evertape --node OTHER recording keep "
				   "…");
	return rc;
}

/* It is a recording already: of whichever node. */
static bool is_recorded(struct api_call *call, const uint8_t id[16], struct et_api_kept *ret)
{
	Et__Recording *r = NULL;
	bool pending = false;
	if (api_recording_find(call, id, &r, &pending, NULL) < 0) {
		return false;
	}
	memcpy(ret->recording, id, 16);
	ret->start_us = ret->from_us = r->start_us;
	ret->end_us = r->end_us;
	for (size_t i = 0; i < r->n_gaps; i++) {
		if (strcmp(r->gaps[i]->cause, "before-ring") == 0) {
			ret->from_us = r->gaps[i]->to_us;
		}
	}
	et__recording__free_unpacked(r, NULL);
	return true;
}

static int answer(struct api_call *call, const struct et_api_kept *k, const char *id,
		  const struct et_api_told *told, struct others *others)
{
	struct api_nodes nodes;
	json_t *o = json_object();
	const int64_t missing_us = k->from_us > k->start_us ? k->from_us - k->start_us : 0;

	api_nodes_load(call->view, &nodes);
	et_json_set(o, "id", json_string(id));
	et_json_set(o, "kept", json_true());
	et_json_set(o, "changed", json_boolean(k->changed));
	et_json_set(o, "start", api_time(k->start_us));
	et_json_set(o, "from", api_time(k->from_us));
	et_json_set(o, "end", api_time(k->end_us));
	et_json_set(o, "missing_ms", json_integer(missing_us / 1000));
	et_json_set(o, "node", et_json_text(api_node_name(&nodes, others->self)));
	et_json_set(o, "other_recorders", json_incref(others->names));
	et_json_set(o, "survives", json_string("local"));
	et_json_set(o, "audit", api_audited_json(told));
	return api_json(call, 200, o);
}

/* Kept: told in the audit log, and to who asked. `failed` is 0, or why it is not durable: then
 * reterr says so. */
static int tell(struct api_call *call, const struct et_api_kept *kept, int failed,
		const char *reason, struct others *others, struct et_error *reterr)
{
	char text[ET_UUID_TEXT_SIZE];
	char detail[160];
	struct et_api_told told = { 0 };
	struct et_error e = { 0 };

	et_uuid_format(kept->recording, text);
	(void)snprintf(detail, sizeof(detail),
		       "%s%s; its first %lld ms were not in the ring any more",
		       kept->changed ? "kept" : "was a recording already",
		       failed < 0 ? ", but not saved" : "",
		       (long long)((kept->from_us - kept->start_us) / 1000));
	int rc = api_audit_durably(call, "recording.keep", text, detail, reason, &told, &e);
	if (failed < 0) {
		return failed; /* the audit log has it, if it can */
	}
	if (rc < 0) {
		return et_fail_plain(reterr, rc,
				     "the call is kept, but its audit event could not be (ask "
				     "again): %.300s",
				     e.text);
	}
	return answer(call, kept, text, &told, others);
}

static int run(struct api_call *call, const uint8_t *id, const char *sip_call_id,
	       const char *reason, struct others *others, struct et_error *reterr)
{
	const struct et_api_backend *b = &call->api->config.backend;
	char text[ET_UUID_TEXT_SIZE] = "";
	struct et_api_kept kept = { 0 };
	struct et_api_keep request = { .recording = id,
				       .sip_call_id = sip_call_id,
				       .principal = call->principal };

	if (*reason == '\0') {
		return et_fail_plain(reterr, ET_EUSAGE, "it needs a reason");
	}
	int rc = b->keep != NULL ? b->keep(b->arg, &request, &kept, reterr) : ET_ENOTFOUND;
	if (rc == ET_ENOTFOUND && id != NULL && is_recorded(call, id, &kept)) {
		rc = 0;
	}
	if (id != NULL) {
		et_uuid_format(id, text);
	}
	if (rc == ET_ENOTFOUND) {
		return not_here(others, id != NULL ? text : sip_call_id, reterr);
	}
	if (rc < 0 && kept.start_us == 0) {
		return rc; /* it did not come to be */
	}
	return tell(call, &kept, rc, reason, others, reterr);
}

int api_recording_keep(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	struct others others = { .names = NULL };
	uint8_t id[16];

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : api_path_id(call, id, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = others_load(call, &others, reterr);
	rc = rc < 0 ? rc
		    : run(call, id, NULL, et_json_get_text(body, "reason", ""), &others, reterr);
	json_decref(others.names);
	return rc;
}

int api_capture_keep(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "sip_call_id", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	struct others others = { .names = NULL };

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	if (rc < 0) {
		return rc;
	}
	const char *call_id = et_json_get_text(body, "sip_call_id", "");
	if (*call_id == '\0' || strlen(call_id) > CALL_ID_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE, "sip_call_id is 1 to %d bytes",
				     CALL_ID_MAX);
	}
	rc = others_load(call, &others, reterr);
	rc = rc < 0 ? rc
		    : run(call, NULL, call_id, et_json_get_text(body, "reason", ""), &others,
			  reterr);
	json_decref(others.names);
	return rc;
}
