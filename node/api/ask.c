/* What one node knows, or does: its settings, its capture, its certificate. Any node can be asked
 * for any member (node/daemon/ask.c asks it). */
#include <stdio.h>
#include <string.h>

#include "node/api/members_internal.h"

/* Ask the member that is named; NULL or "": the node that is asked. Before there is a cluster, or
 * with a locked root, a node answers for itself. */
static int member_ask(struct api_call *call, const char *name, const json_t *question, json_t **ret,
		      struct et_error *reterr)
{
	const struct et_api_backend *b = &call->api->config.backend;
	Et__Node *node = NULL;
	struct et_state_view *v;

	if (b->ask == NULL) {
		return et_fail_plain(reterr, ET_EUNSUPPORTED, "this node cannot be asked");
	}
	if (name == NULL || *name == '\0' || strcmp(name, call->api->config.name) == 0) {
		return b->ask(b->arg, 0, "", question, ret, reterr);
	}
	if (!atomic_load(&call->api->attached)) {
		return et_fail_plain(reterr, ET_EUNINITIALISED, "%s knows no other nodes",
				     call->api->config.name);
	}
	int rc = api_view(call, &v, reterr);
	rc = rc < 0 ? rc : api_node_find(v, name, &node, reterr);
	if (rc == 0 && api_node_is_gone(node)) {
		rc = et_fail_plain(reterr, ET_ENOTFOUND, "%s was removed", node->name);
	}
	if (rc == 0) {
		api_view_release(call);
		rc = b->ask(b->arg, node->id, node->address, question, ret, reterr);
		if (rc == ET_EUNREACHABLE) {
			(void)et_fail_plain(reterr, rc, "%s does not answer", node->name);
			(void)et_fail_next(reterr, "evertape node show %s", node->name);
		}
	}
	et__node__free_unpacked(node, NULL);
	return rc;
}

int api_config(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "node" };
	ET_CLEANUP(et_json_freep) json_t *question = json_object();
	json_t *answer = NULL;

	et_json_set(question, "what", json_string("config"));
	int rc = api_params_check(&call->request, known, ET_ARRAY_SIZE(known), reterr);
	rc = rc < 0 ? rc
		    : member_ask(call, api_param(&call->request, "node"), question, &answer,
				 reterr);
	return rc < 0 ? rc : api_json(call, 200, answer);
}

int api_capture_now(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "node", "calls" };
	ET_CLEANUP(et_json_freep) json_t *question = json_object();
	json_t *answer = NULL;
	uint64_t calls = 0;

	int rc = api_params_check(&call->request, known, ET_ARRAY_SIZE(known), reterr);
	rc = rc < 0 ? rc
		    : api_param_uint(&call->request, "calls", 0, ET_API_CALLS_MAX, 0, &calls,
				     reterr);
	et_json_set(question, "what", json_string("capture"));
	et_json_set(question, "calls", et_json_u64(calls));
	rc = rc < 0 ? rc
		    : member_ask(call, api_param(&call->request, "node"), question, &answer,
				 reterr);
	return rc < 0 ? rc : api_json(call, 200, answer);
}

/* Who asked for it, and why, is in the audit log before it is done; the certificate itself is
 * another event there, of the node. */
int api_cert_renew(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "node", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	ET_CLEANUP(et_json_freep) json_t *question = json_object();
	json_t *answer = NULL;
	const char *reason;
	uint64_t event = 0;

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : api_need_reason(body, &reason, reterr);
	if (rc < 0) {
		return rc;
	}
	const char *name = et_json_get_text(body, "node", "");
	name = *name != '\0' ? name : call->api->config.name;
	et_json_set(question, "what", json_string("renew"));
	rc = api_audit(call, "certificate.renew", name, "", reason, &event, reterr);
	rc = rc < 0 ? rc : member_ask(call, name, question, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	et_json_set(answer, "audit", et_json_u64(event));
	return api_json(call, 200, answer);
}
