/* Who asks, and the catalogue on their behalf. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/api/api_internal.h"
#include "node/crypto/hash.h"
#include "node/io/clock.h"

#define TOKEN_PREFIX "evapi1."
#define TOKEN_BYTES 48 /* id 16, secret 32 */

static const struct {
	const char *role;
	unsigned rights;
} roles[] = {
	{ "admin", API_ALL },
	{ "operator", API_READ | API_OPERATE | API_TELL },
	{ "teller", API_READ | API_TELL },
	{ "listener", API_READ | API_LISTEN },
	{ "unmasker", API_READ | API_LISTEN | API_UNMASK },
	{ "importer", API_READ | API_IMPORT },
	{ "reader", API_READ },
	{ "auditor", API_READ | API_AUDIT },
};

static unsigned rights_of(const char *role)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(roles); i++) {
		if (strcmp(roles[i].role, role) == 0) {
			return roles[i].rights;
		}
	}
	return 0;
}

int api_need(const void *service, const char *name, struct et_error *reterr)
{
	if (service != NULL) {
		return 0;
	}
	return et_fail_plain(reterr, ET_EUNSUPPORTED, "this node runs no %s", name);
}

/* ---- Tokens ---- */

static void token_hash(const uint8_t secret[32], uint8_t ret[32])
{
	et_sha256(secret, 32, ret);
}

int et_api_token_make(const char *name, const char *const *names, size_t role_count,
		      int64_t expires_us, Et__Token **ret, struct et_secret **ret_text,
		      struct et_error *reterr)
{
	uint8_t bytes[TOKEN_BYTES];
	uint8_t hash[32];
	char text[sizeof(TOKEN_PREFIX) + et_base64_size(TOKEN_BYTES)] = TOKEN_PREFIX;
	Et__Token token = ET__TOKEN__INIT;
	char *role_names[ET_ARRAY_SIZE(roles)];
	if (role_count == 0 || role_count > ET_ARRAY_SIZE(roles)) {
		return et_fail_plain(reterr, ET_EUSAGE, "a token needs 1 to %zu roles",
				     ET_ARRAY_SIZE(roles));
	}
	for (size_t i = 0; i < role_count; i++) {
		if (rights_of(names[i]) == 0) {
			return et_fail_plain(
				reterr, ET_EUSAGE,
				"there is no role \"%.32s\": admin, operator, listener, "
				"unmasker, teller, importer, reader, auditor",
				names[i]);
		}
		role_names[i] = (char *)(uintptr_t)names[i];
	}
	et_random(bytes, sizeof(bytes));
	et_uuid7(bytes);
	token_hash(bytes + 16, hash);
	et_base64(bytes, sizeof(bytes), text + strlen(TOKEN_PREFIX));
	token.id = (ProtobufCBinaryData){ .len = 16, .data = bytes };
	token.kind = (char *)(uintptr_t) "api";
	token.secret_hash = (ProtobufCBinaryData){ .len = 32, .data = hash };
	token.name = (char *)(uintptr_t)name;
	token.roles = role_names;
	token.n_roles = role_count;
	token.expires_us = expires_us;

	/* A copy that owns itself: packed and unpacked again. */
	ET_CLEANUP(et_buffer_release) struct et_buffer packed = { 0 };
	uint8_t *room = et_buffer_reserve(&packed, et__token__get_packed_size(&token) + 1);
	struct et_secret *secret = et_secret_copy(text, strlen(text));
	Et__Token *copy = NULL;
	if (room != NULL && secret != NULL) {
		size_t size = et__token__pack(&token, room);
		copy = et__token__unpack(NULL, size, room);
	}
	explicit_bzero(bytes, sizeof(bytes));
	explicit_bzero(text, sizeof(text));
	if (copy == NULL) {
		(void)et_secret_free(secret);
		return et_fail(reterr, -ENOMEM, "API token");
	}
	*ret = copy;
	*ret_text = secret;
	return 0;
}

/* Equal in a time that does not tell where they differ. */
static bool hash_equal(const uint8_t a[32], const uint8_t b[32])
{
	unsigned diff = 0;
	for (size_t i = 0; i < 32; i++) {
		diff |= (unsigned)(a[i] ^ b[i]);
	}
	return diff == 0;
}

static int denied(struct api_call *call, struct et_error *reterr, const char *why)
{
	(void)atomic_fetch_add(&call->api->denied, 1);
	int rc = et_fail_plain(reterr, ET_EUNTRUSTED, "%s", why);
	(void)et_fail_next(reterr, "evertape token create --name NAME --role ROLE, on a node");
	return rc;
}

static int64_t cluster_time(struct et_api *api)
{
	struct et_catalog_status status;
	et_catalog_status(api->services.catalog, &status);
	return status.cluster_time_us > 0 ? status.cluster_time_us : et_clock_now_us();
}

static int token_check(struct api_call *call, const Et__Token *token, const uint8_t secret[32],
		       struct et_error *reterr)
{
	uint8_t hash[32];
	token_hash(secret, hash);
	bool good = strcmp(token->kind, "api") == 0 && token->secret_hash.len == 32 &&
		    hash_equal(hash, token->secret_hash.data);
	if (!good) {
		return denied(call, reterr, "this token is not known here");
	}
	if (token->revoked) {
		return denied(call, reterr, "this token was revoked");
	}
	if (token->expires_us != 0 && token->expires_us <= cluster_time(call->api)) {
		return denied(call, reterr, "this token has expired");
	}
	for (size_t i = 0; i < token->n_roles; i++) {
		call->rights |= rights_of(token->roles[i]);
	}
	(void)snprintf(call->principal, sizeof(call->principal), "token:%.80s", token->name);
	return 0;
}

static int bearer_check(struct api_call *call, struct et_error *reterr)
{
	static const char scheme[] = "Bearer " TOKEN_PREFIX;
	uint8_t bytes[TOKEN_BYTES];
	size_t size = strlen(call->authorization);
	if (size == 0) {
		return denied(call, reterr, "this needs a token (Authorization: Bearer ...)");
	}
	bool good = strncasecmp(call->authorization, scheme, 7) == 0 &&
		    strncmp(call->authorization + 7, TOKEN_PREFIX, strlen(TOKEN_PREFIX)) == 0 &&
		    et_unbase64(call->authorization + sizeof(scheme) - 1, size - sizeof(scheme) + 1,
				bytes, sizeof(bytes)) == TOKEN_BYTES;
	if (!good) {
		return denied(call, reterr, "this is not an API token of evertape");
	}
	struct et_state_view *v = et_state_view_open(call->api->services.state);
	Et__Token *token = NULL;
	int rc = et_state_get_token(v, bytes, &token);
	rc = rc == 0 ? token_check(call, token, bytes + 16, reterr)
		     : denied(call, reterr, "this token is not known here");
	if (token != NULL) {
		et__token__free_unpacked(token, NULL);
	}
	(void)et_state_view_close(v);
	explicit_bzero(bytes, sizeof(bytes));
	return rc;
}

int api_authenticate(struct api_call *call, struct et_error *reterr)
{
	unsigned need = call->route->rights;
	if (call->is_local) {
		if (call->uid != 0 && call->uid != geteuid()) {
			return et_fail_plain(
				reterr, ET_EDENIED,
				"only root and evertaped's own user may use this socket");
		}
		call->rights = API_ALL;
		(void)snprintf(call->principal, sizeof(call->principal), "local:uid=%u",
			       (unsigned)call->uid);
	} else if (call->route->local) {
		return et_fail_plain(reterr, ET_EDENIED, "this is for the node's own socket only");
	} else if (need != 0 && api_param(&call->request, "ticket") == NULL) {
		int rc = bearer_check(call, reterr);
		explicit_bzero(call->authorization, sizeof(call->authorization));
		if (rc < 0) {
			return rc;
		}
	} else if (need != 0 && (need & ~(unsigned)(API_READ | API_LISTEN)) == 0) {
		call->rights = 0; /* the handler checks the ticket */
		return 0;
	}
	if ((call->rights & need) != need) {
		(void)atomic_fetch_add(&call->api->denied, 1);
		return et_fail_plain(reterr, ET_EDENIED, "%s may not do this", call->principal);
	}
	return 0;
}

/* ---- The catalogue ---- */

static void on_read_index(void *arg, int code, uint64_t index)
{
	struct api_wait *w = arg;
	w->index = index;
	api_wait_answer(w, code);
}

static int read_barrier(struct api_call *call, struct et_error *reterr)
{
	struct api_wait *w = api_wait_new(call->api);
	if (w == NULL) {
		return et_fail(reterr, -ENOMEM, "read");
	}
	int rc = et_catalog_read_index_from(call->api->services.catalog, API_PROPOSE_MS,
					    on_read_index, w);
	if (rc < 0) {
		api_wait_unref(w); /* it will not be answered */
	} else {
		rc = api_wait_for(call->api, w, 2 * API_PROPOSE_MS);
	}
	api_wait_unref(w);
	return rc < 0 ? et_fail(reterr, rc, "linearizable read") : 0;
}

/* How old what a local view shows may be. */
static void read_age(struct api_call *call, const struct et_catalog_status *status)
{
	if (strcmp(call->read, "linearizable") == 0) {
		call->read_age_ms = 0;
	} else if (status->fresh_us == 0) {
		call->read_age_ms = -1;
	} else {
		call->read_age_ms = (et_clock_mono_us() - status->fresh_us) / 1000;
	}
}

int api_view(struct api_call *call, struct et_state_view **ret, struct et_error *reterr)
{
	struct et_api *api = call->api;
	const char *read = api_param(&call->request, "read");
	if (call->view != NULL) {
		*ret = call->view;
		return 0;
	}
	if (read != NULL && strcmp(read, "linearizable") == 0) {
		int rc = read_barrier(call, reterr);
		if (rc < 0) {
			return rc;
		}
		call->read = "linearizable";
	} else if (read != NULL && strcmp(read, "local") != 0) {
		return et_fail_plain(reterr, ET_EUSAGE, "read is local or linearizable");
	}
	struct et_catalog_status status;
	et_catalog_status(api->services.catalog, &status); /* before the view: never too young */
	call->view = call->indexed
			     ? et_state_view_open_indexed(api->services.state, API_INDEX_WAIT_MS)
			     : et_state_view_open(api->services.state);
	if (call->view == NULL) {
		return et_fail(reterr, -ENOMEM, "view of the catalogue");
	}
	call->read_index = et_state_view_index(call->view);
	read_age(call, &status);
	api_header(call, "x-evertape-read:", "%s", call->read);
	api_header(call, "x-evertape-index:", "%llu", (unsigned long long)call->read_index);
	if (call->read_age_ms >= 0) {
		api_header(call, "x-evertape-age-ms:", "%lld", (long long)call->read_age_ms);
	}
	*ret = call->view;
	return 0;
}

int api_view_indexed(struct api_call *call, struct et_state_view **ret, struct et_error *reterr)
{
	call->indexed = true;
	return api_view(call, ret, reterr);
}

int api_view_fresh(struct api_call *call, struct et_state_view **ret, struct et_error *reterr)
{
	int rc = read_barrier(call, reterr);
	if (rc < 0) {
		return rc;
	}
	if (call->view != NULL) {
		api_view_release(call);
		call->header_count = 0; /* they were of that view */
	}
	call->read = "linearizable";
	return api_view_indexed(call, ret, reterr);
}

void api_view_release(struct api_call *call)
{
	call->view = et_state_view_close(call->view);
}

static void on_proposed(void *arg, int code, const Et__Result *result)
{
	struct api_wait *w = arg;
	if (result != NULL) {
		w->number = result->number;
		w->index = result->index;
		if (result->id.len == 16) {
			memcpy(w->id, result->id.data, 16);
		}
		(void)snprintf(w->text, sizeof(w->text), "%s", result->text);
	}
	api_wait_answer(w, code);
}

/* What the catalogue refused to propose. */
static void propose_explain(int code, const Et__Command *command, struct et_error *reterr)
{
	const char *name = et_command_name(command);

	if (code == ET_EVERSION) {
		(void)et_fail_plain(reterr, code, "%s needs a newer schema than the cluster's",
				    name);
		(void)et_fail_next(reterr, "evertape cluster upgrade plan");
	} else if (code == ET_EINTEGRITY) {
		(void)et_fail_plain(reterr, code,
				    "%s: the members' catalogues differ: nothing that destroys is "
				    "done until it is clear which is right",
				    name);
		(void)et_fail_next(reterr, "evertape doctor --deep");
	} else {
		(void)et_fail(reterr, code, "%s", name);
	}
}

int api_propose(struct api_call *call, Et__Command *command, const char *reason,
		struct api_result *ret, struct et_error *reterr)
{
	struct et_api *api = call->api;
	Et__OpId op = ET__OP_ID__INIT;
	uint8_t incarnation[16];
	et_catalog_next_op(api->services.catalog, &op, incarnation);
	command->op = &op;
	command->proposed_us = et_clock_now_us();
	command->principal = call->principal;
	command->reason = (char *)(uintptr_t)(reason != NULL ? reason : "");
	command->schema = ET_COMMAND_SCHEMA;
	int rc = et_command_check(command, reterr);
	if (rc < 0) {
		command->op = NULL;
		return rc;
	}
	struct api_wait *w = api_wait_new(api);
	if (w == NULL) {
		command->op = NULL;
		return et_fail(reterr, -ENOMEM, "command");
	}
	rc = et_catalog_propose_from(api->services.catalog, command, API_PROPOSE_MS, on_proposed,
				     w);
	command->op = NULL;
	if (rc < 0) {
		api_wait_unref(w);
		(void)et_fail(reterr, rc, "%s", et_command_name(command));
	} else {
		rc = api_wait_for(api, w, 2 * API_PROPOSE_MS);
		if (rc < 0 && w->seen && w->text[0] != '\0') {
			(void)et_fail_plain(reterr, rc, "%s", w->text);
		} else if (rc == -ENOSPC) {
			struct et_catalog_status status;
			et_catalog_status(api->services.catalog, &status);
			(void)et_fail_plain(reterr, rc, "%s: DISK_FULL: %s",
					    et_command_name(command),
					    status.space_full && !status.disk_full
						    ? "the state disk of this node is full: ask "
						      "another node"
						    : "no majority of voters has room on its disk, "
						      "so nothing is written");
		} else if (rc < 0) {
			propose_explain(rc, command, reterr);
		} else if (ret != NULL) {
			*ret = (struct api_result){ .number = w->number, .index = w->index };
			memcpy(ret->id, w->id, 16);
		}
	}
	api_wait_unref(w);
	return rc;
}

int api_audit(struct api_call *call, const char *action, const char *target, const char *detail,
	      const char *reason, uint64_t *ret_number, struct et_error *reterr)
{
	Et__AuditAdd add = ET__AUDIT_ADD__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct api_result result;
	add.action = (char *)(uintptr_t)action;
	add.target = (char *)(uintptr_t)target;
	add.detail = (char *)(uintptr_t)detail;
	command.body_case = ET__COMMAND__BODY_AUDIT_ADD;
	command.audit_add = &add;
	int rc = api_propose(call, &command, reason, &result, reterr);
	if (rc == 0) {
		*ret_number = result.number;
	}
	return rc;
}

int api_body(struct api_call *call, const char *const *known, size_t known_count, json_t **ret,
	     struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	if (call->body.size == 0) {
		j = json_object();
	} else {
		int rc = et_json_parse("body", call->body.data, call->body.size, ET_API_BODY_MAX,
				       &j, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	int rc = et_json_check_keys(j, known, known_count, reterr);
	if (rc < 0) {
		return rc;
	}
	*ret = ET_TAKE(j);
	return 0;
}

int api_path_id(struct api_call *call, uint8_t ret[16], struct et_error *reterr)
{
	char text[64];
	if (!api_path_star(call->route->path, call->request.path, text, sizeof(text)) ||
	    !et_uuid_parse(text, ret)) {
		return et_fail_plain(reterr, ET_EUSAGE, "the id in %s is no UUID",
				     call->request.path);
	}
	return 0;
}

/* ---- What a handler needs ---- */

int api_need_reason(const json_t *body, const char **ret, struct et_error *reterr)
{
	*ret = et_json_get_text(body, "reason", "");
	if (**ret == '\0') {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "a reason is needed: it goes into the audit log");
	}
	return 0;
}

/* What moves or destroys, now or by what it allows, needs a quorum: refused at once when there is
 * none, rather than after a timeout with an outcome that nobody knows. */
int api_need_quorum(struct api_call *call, struct et_error *reterr)
{
	struct et_catalog_status raft;

	et_catalog_status(call->api->services.catalog, &raft);
	if (raft.has_quorum) {
		return 0;
	}
	(void)et_fail_plain(reterr, ET_EPOLICY,
			    "refused: this node hears %u of %u voters, and what moves or destroys "
			    "needs a quorum",
			    raft.reachable_voters, raft.voters);
	(void)et_fail_next(reterr, "evertape status");
	return ET_EPOLICY;
}

int api_need_confirm(struct api_call *call, const json_t *body, const char **ret_reason,
		     struct et_error *reterr)
{
	const char *typed = et_json_get_text(body, "confirm", "");
	int rc = api_need_reason(body, ret_reason, reterr);
	if (rc == 0 && strcmp(typed, call->api->config.cluster) != 0) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "what goes is gone for good: confirm with the cluster's name, "
				     "which is not \"%.60s\"",
				     typed);
	}
	return rc;
}

int api_plan_find(struct api_call *call, bool erase, Et__Plan **ret, struct et_error *reterr)
{
	struct et_state_view *v;
	Et__Plan *plan = NULL;
	uint8_t id[16];
	int rc = api_path_id(call, id, reterr);
	rc = rc < 0 ? rc : api_view(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = et_state_get_plan(v, id, &plan);
	if (rc == 0 && (strcmp(plan->kind, "erase") == 0) != erase) {
		et__plan__free_unpacked(plan, NULL);
		rc = ET_ENOTFOUND;
	}
	if (rc < 0) {
		rc = et_fail_plain(reterr, rc,
				   erase ? "there is no such plan to erase"
					 : "there is no such plan");
		(void)et_fail_next(reterr, erase ? "evertape recording erase --plan ..."
						 : "evertape archive plan");
		return rc;
	}
	*ret = plan;
	return 0;
}

uint32_t api_policy_revision(const struct et_state_view *v, const char *name)
{
	Et__Policy *policy = NULL;
	uint32_t revision = 0;
	if (et_state_get_policy(v, name, &policy) == 0) {
		revision = policy->revision;
		et__policy__free_unpacked(policy, NULL);
	}
	return revision;
}

int api_policy_answer(struct api_call *call, const char *name, const char *word,
		      struct et_error *reterr)
{
	struct et_state_view *v;
	Et__Policy *policy = NULL;
	int rc = api_view(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = et_state_get_policy(v, name, &policy);
	if (rc < 0) {
		rc = et_fail_plain(reterr, rc, "no %s policy is in force", word);
		(void)et_fail_next(reterr, "evertape %s policy apply FILE --reason TEXT", word);
		return rc;
	}
	json_t *o = api_policy_json(policy);
	et__policy__free_unpacked(policy, NULL);
	return api_json(call, 200, o);
}
