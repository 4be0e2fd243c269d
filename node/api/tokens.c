/* The tokens that there are, of both kinds, and revoking one. What a token says is never shown: the
 * catalogue does not have it. */
#include <string.h>

#include "node/api/api_internal.h"
#include "node/io/clock.h"

struct token_list {
	json_t *list;
	int64_t now_us;
};

/* As access.c and apply judge it. */
static const char *state_of(const Et__Token *t, int64_t now_us)
{
	if (t->revoked) {
		return "revoked";
	}
	if (t->expires_us != 0 && t->expires_us <= now_us) {
		return "expired";
	}
	return strcmp(t->kind, "join") == 0 && t->uses_left == 0 ? "used" : "valid";
}

static int add_token(void *arg, const Et__Token *t)
{
	struct token_list *l = arg;
	char text[ET_UUID_TEXT_SIZE];
	json_t *roles = json_array();
	json_t *o = json_object();

	if (t->id.len != 16) {
		return ET_ECORRUPT;
	}
	for (size_t i = 0; i < t->n_roles; i++) {
		et_json_add(roles, et_json_text(t->roles[i]));
	}
	et_uuid_format(t->id.data, text);
	et_json_set(o, "id", et_json_text(text));
	et_json_set(o, "kind", et_json_text(t->kind));
	et_json_set(o, "name", et_json_text(t->name));
	et_json_set(o, "roles", roles);
	et_json_set(o, "site", et_json_text(t->site));
	et_json_set(o, "expires", t->expires_us != 0 ? api_time(t->expires_us) : json_null());
	et_json_set(o, "uses_left",
		    strcmp(t->kind, "join") == 0 ? json_integer(t->uses_left) : json_null());
	et_json_set(o, "state", json_string(state_of(t, l->now_us)));
	et_json_add(l->list, o);
	return 0;
}

int api_tokens(struct api_call *call, struct et_error *reterr)
{
	struct et_state_view *v;
	Et__Cluster *cluster = NULL;
	struct token_list l = { 0 };

	int rc = api_view(call, &v, reterr);
	rc = rc < 0 ? rc : et_state_get_cluster(v, &cluster);
	if (rc < 0) {
		return rc;
	}
	l.now_us = cluster->cluster_time_us;
	l.list = json_array();
	et__cluster__free_unpacked(cluster, NULL);
	rc = et_state_each_token(v, add_token, &l);
	if (rc < 0) {
		json_decref(l.list);
		return et_fail(reterr, rc, "the tokens");
	}
	json_t *o = json_object();
	et_json_set(o, "tokens", l.list);
	return api_json(call, 200, o);
}

int api_token_revoke(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	Et__TokenRevoke revoke = ET__TOKEN_REVOKE__INIT;
	Et__Command command = ET__COMMAND__INIT;
	const char *reason = "";
	uint8_t id[16];

	int rc = api_path_id(call, id, reterr);
	rc = rc < 0 ? rc : api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : api_need_reason(body, &reason, reterr);
	if (rc < 0) {
		return rc;
	}
	revoke.id = (ProtobufCBinaryData){ .len = 16, .data = id };
	command.body_case = ET__COMMAND__BODY_TOKEN_REVOKE;
	command.token_revoke = &revoke;
	rc = api_propose(call, &command, reason, NULL, reterr);
	if (rc == ET_ENOTFOUND) {
		(void)et_fail_next(reterr, "evertape token list");
	}
	if (rc < 0) {
		return rc;
	}
	char text[ET_UUID_TEXT_SIZE];
	json_t *o = json_object();
	et_uuid_format(id, text);
	et_json_set(o, "id", et_json_text(text));
	et_json_set(o, "state", json_string("revoked"));
	return api_json(call, 200, o);
}
