/* Cluster init and join, tokens, certificates, the audit log, the feed of changes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/base/role.h"
#include "node/io/clock.h"
#include "node/text/units.h"
#include "node/tls/join.h"

#define AUDIT_LIMIT_DEFAULT 50
#define AUDIT_LIMIT_MAX 1000
#define CHANGES_LIMIT_MAX 1000
#define JOIN_TTL_US (INT64_C(3600) * 1000000)
#define API_TTL_US (INT64_C(30) * 86400 * 1000000)
#define TTL_MAX_US (INT64_C(366) * 86400 * 1000000)

json_t *api_secret_json(const struct et_secret *s)
{
	return et_json_text_n(et_secret_bytes(s), et_secret_size(s));
}

/* ---- Init and join ---- */

static void init_answer_release(struct et_api_init_answer *a)
{
	for (unsigned i = 0; i < a->share_count; i++) {
		a->shares[i] = et_secret_free(a->shares[i]);
	}
	a->token = et_secret_free(a->token);
}

int api_init_cluster(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "cluster", "escrow_threshold", "escrow_shares" };
	const struct et_api_backend *b = &call->api->config.backend;
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	ET_CLEANUP(init_answer_release) struct et_api_init_answer answer = { 0 };
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	if (rc == 0 && b->init_cluster == NULL) {
		rc = et_fail_plain(reterr, ET_EUNSUPPORTED, "this node cannot make a cluster");
	}
	if (rc < 0) {
		return rc;
	}
	int64_t threshold = et_json_get_int(body, "escrow_threshold", 3);
	int64_t shares = et_json_get_int(body, "escrow_shares", 5);
	if (threshold < 1 || shares < threshold || shares > ET_ESCROW_SHARES_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "the escrow is K of N shares with 1 <= K <= N <= %d",
				     ET_ESCROW_SHARES_MAX);
	}
	struct et_api_init request = { .cluster = et_json_get_text(body, "cluster", NULL),
				       .escrow_threshold = (unsigned)threshold,
				       .escrow_shares = (unsigned)shares };
	if (request.cluster != NULL && strcmp(request.cluster, call->api->config.cluster) != 0) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "the configuration names the cluster %s, not %.63s",
				     call->api->config.cluster, request.cluster);
	}
	rc = b->init_cluster(b->arg, &request, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *list = json_array();
	for (unsigned i = 0; i < answer.share_count; i++) {
		et_json_add(list, api_secret_json(answer.shares[i]));
	}
	json_t *o = json_object();
	et_json_set(o, "cluster", et_json_text(call->api->config.cluster));
	et_json_set(o, "node", et_json_u64(answer.node));
	et_json_set(o, "escrow_threshold", json_integer(threshold));
	et_json_set(o, "escrow_shares", list);
	if (answer.token != NULL) {
		et_json_set(o, "token", api_secret_json(answer.token));
	}
	return api_json(call, 201, o);
}

int api_join(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "token", "address" };
	const struct et_api_backend *b = &call->api->config.backend;
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	uint64_t node = 0;
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	if (rc == 0 && b->join == NULL) {
		rc = et_fail_plain(reterr, ET_EUNSUPPORTED, "this node cannot join");
	}
	if (rc < 0) {
		return rc;
	}
	const char *token = et_json_get_text(body, "token", NULL);
	const char *address = et_json_get_text(body, "address", NULL);
	if (token == NULL) {
		return et_fail_plain(reterr, ET_EUSAGE, "the token is missing");
	}
	if (address != NULL && !et_address_is_valid(address, false)) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "\"%.60s\" is no address such as 10.1.0.11:7400", address);
	}
	rc = b->join(b->arg, token, address, &node, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "cluster", et_json_text(call->api->config.cluster));
	et_json_set(o, "node", et_json_u64(node));
	return api_json(call, 201, o);
}

/* ---- Tokens ---- */

static int lifetime(const json_t *body, int64_t otherwise, int64_t *ret, struct et_error *reterr)
{
	*ret = et_json_get_int(body, "lifetime_us", otherwise);
	if (*ret < 1000000 || *ret > TTL_MAX_US) {
		return et_fail_plain(reterr, ET_EUSAGE, "a token lives from 1 s to 366 days");
	}
	return 0;
}

static int64_t time_now(struct api_call *call)
{
	struct et_catalog_status raft;
	et_catalog_status(call->api->services.catalog, &raft);
	return raft.cluster_time_us > 0 ? raft.cluster_time_us : et_clock_now_us();
}

static const char *const role_names[ET_ROLES] = { "voter", "standby", "spare", "witness",
						  "vault", "capture", "api" };

static int join_roles(const json_t *list, uint32_t *ret, struct et_error *reterr)
{
	size_t i;
	json_t *item;
	*ret = 0;
	json_array_foreach((json_t *)(uintptr_t)list, i, item)
	{
		const char *text = json_is_string(item) ? json_string_value(item) : "";
		uint32_t bit = 0;
		for (unsigned r = 0; r < ET_ROLES; r++) {
			bit |= strcmp(text, role_names[r]) == 0 ? 1U << r : 0;
		}
		if (bit == 0) {
			const char *near = et_suggest(text, role_names, ET_ROLES);
			return et_fail_plain(reterr, ET_EUSAGE, "there is no role \"%.32s\"%s%s%s",
					     text, near != NULL ? " (did you mean " : "",
					     near != NULL ? near : "", near != NULL ? "?)" : "");
		}
		*ret |= bit;
	}
	uint32_t raft = *ret & (ET_ROLE_VOTER | ET_ROLE_STANDBY | ET_ROLE_SPARE | ET_ROLE_WITNESS);
	if (__builtin_popcount(raft) != 1) {
		return et_fail_plain(
			reterr, ET_EUSAGE,
			"the roles need exactly one of voter, standby, spare, witness");
	}
	if ((*ret & ET_ROLE_WITNESS) != 0 && (*ret & (ET_ROLE_VAULT | ET_ROLE_CAPTURE)) != 0) {
		return et_fail_plain(reterr, ET_EUSAGE, "a witness holds neither media nor keys");
	}
	return 0;
}

/* Members that a joiner may ask: this node first, then vaults. */
struct addresses {
	struct et_join_token *token;
	uint64_t own;
	bool own_pass;
};

static int add_address(void *arg, const Et__Node *node)
{
	struct addresses *a = arg;
	bool is_own = node->id == a->own;
	bool active =
		node->state == ET__NODE_STATE__ACTIVE || node->state == ET__NODE_STATE__JOINING;
	size_t n = a->token->address_count;
	if (is_own == a->own_pass && active && n < ET_JOIN_ADDRESSES_MAX) {
		(void)snprintf(a->token->addresses[n], ET_ADDRESS_MAX, "%s", node->address);
		a->token->address_count++;
	}
	return 0;
}

static int join_token_fill(struct api_call *call, struct et_join_token *t, const char *site,
			   struct et_error *reterr)
{
	struct et_state_view *v;
	Et__Cluster *c = NULL;
	int rc = api_view(call, &v, reterr);
	if (rc == 0) {
		rc = et_state_get_cluster(v, &c);
		rc = rc < 0 ? et_fail(reterr, rc, "cluster") : 0;
	}
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(t->cluster, sizeof(t->cluster), "%s", c->name);
	(void)snprintf(t->site, sizeof(t->site), "%s", site);
	rc = c->n_ca_certs > 0 ? et_cert_spki_hash((struct et_view){ .data = c->ca_certs[0].data,
								     .size = c->ca_certs[0].len },
						   t->ca_hash)
			       : ET_ENOTFOUND;
	et__cluster__free_unpacked(c, NULL);
	if (rc < 0) {
		return et_fail(reterr, rc, "the cluster's CA");
	}
	struct addresses a = { .token = t, .own = call->api->services.node, .own_pass = true };
	(void)et_state_each_node(v, add_address, &a);
	a.own_pass = false;
	(void)et_state_each_node(v, add_address, &a);
	return 0;
}

static int join_token_commit(struct api_call *call, const struct et_join_token *t, uint32_t uses,
			     const char *reason, struct et_error *reterr)
{
	char *roles[ET_ROLES];
	Et__Token token = ET__TOKEN__INIT;
	Et__TokenAdd add = ET__TOKEN_ADD__INIT;
	Et__Command command = ET__COMMAND__INIT;
	uint8_t id[16];
	uint8_t public_key[32];
	memcpy(id, t->id, 16);
	memcpy(public_key, t->public_key, 32);
	for (unsigned r = 0; r < ET_ROLES; r++) {
		if ((t->roles & 1U << r) != 0) {
			roles[token.n_roles++] = (char *)(uintptr_t)role_names[r];
		}
	}
	token.id = (ProtobufCBinaryData){ .len = 16, .data = id };
	token.kind = (char *)(uintptr_t) "join";
	token.public_key = (ProtobufCBinaryData){ .len = 32, .data = public_key };
	token.roles = roles;
	token.site = (char *)(uintptr_t)t->site;
	token.expires_us = t->expires_us;
	token.uses_left = uses;
	add.token = &token;
	command.body_case = ET__COMMAND__BODY_TOKEN_ADD;
	command.token_add = &add;
	return api_propose(call, &command, reason, NULL, reterr);
}

static int join_token_answer(struct api_call *call, const struct et_join_token *t,
			     struct et_error *reterr)
{
	struct et_secret *text = NULL;
	int rc = et_join_token_format(t, &text, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "token", api_secret_json(text));
	et_json_set(o, "site", et_json_text(t->site));
	et_json_set(o, "expires", api_time(t->expires_us));
	et_secret_freep(&text);
	return api_json(call, 201, o);
}

int api_node_token(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "site", "roles", "uses", "lifetime_us", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	ET_CLEANUP(et_join_token_release) struct et_join_token t = { 0 };
	int64_t life = 0;
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	if (rc == 0) {
		rc = lifetime(body, JOIN_TTL_US, &life, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	const char *site = et_json_get_text(body, "site", "");
	int64_t uses = et_json_get_int(body, "uses", 1);
	if (!et_name_is_valid(site) || uses < 1 || uses > 1000) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "a join token needs a site, and 1 to 1000 uses");
	}
	rc = et_join_token_make(&t, reterr);
	if (rc == 0) {
		rc = join_roles(json_object_get(body, "roles"), &t.roles, reterr);
	}
	if (rc == 0) {
		t.expires_us = time_now(call) + life;
		rc = join_token_fill(call, &t, site, reterr);
	}
	if (rc == 0) {
		rc = join_token_commit(call, &t, (uint32_t)uses,
				       et_json_get_text(body, "reason", ""), reterr);
	}
	return rc < 0 ? rc : join_token_answer(call, &t, reterr);
}

int api_token_create(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "name", "roles", "lifetime_us", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	Et__Token *token = NULL;
	struct et_secret *text = NULL;
	const char *roles[8];
	int64_t life = 0;
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	if (rc == 0) {
		rc = lifetime(body, API_TTL_US, &life, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	const char *name = et_json_get_text(body, "name", "");
	const json_t *list = json_object_get(body, "roles");
	size_t count = json_array_size(list);
	if (!et_name_is_valid(name) || count > ET_ARRAY_SIZE(roles)) {
		return et_fail_plain(reterr, ET_EUSAGE, "a token needs a name of a-z, 0-9 and -");
	}
	for (size_t i = 0; i < count; i++) {
		const char *role = json_string_value(json_array_get(list, i));
		roles[i] = role != NULL ? role : "";
	}
	rc = et_api_token_make(name, roles, count, time_now(call) + life, &token, &text, reterr);
	if (rc < 0) {
		return rc;
	}
	Et__TokenAdd add = ET__TOKEN_ADD__INIT;
	Et__Command command = ET__COMMAND__INIT;
	add.token = token;
	command.body_case = ET__COMMAND__BODY_TOKEN_ADD;
	command.token_add = &add;
	rc = api_propose(call, &command, et_json_get_text(body, "reason", ""), NULL, reterr);
	if (rc == 0) {
		json_t *o = json_object();
		et_json_set(o, "token", api_secret_json(text));
		et_json_set(o, "name", et_json_text(name));
		et_json_set(o, "expires", api_time(token->expires_us));
		rc = api_json(call, 201, o);
	}
	et__token__free_unpacked(token, NULL);
	et_secret_freep(&text);
	return rc;
}

/* ---- Certificates ---- */

struct cert_list {
	const struct et_state_view *view;
	json_t *list;
	int64_t now_us;
};

static int add_certificate(void *arg, const Et__Certificate *c)
{
	struct cert_list *l = arg;
	Et__Node *node = NULL;
	int64_t left = c->not_after_us - l->now_us;
	int64_t life = c->not_after_us - c->not_before_us;
	json_t *o = json_object();
	bool removed = false;
	bool revoked = false;
	if (et_state_get_node(l->view, c->node, &node) == 0) {
		removed = node->state == ET__NODE_STATE__REMOVED;
		revoked = node->state == ET__NODE_STATE__REVOKED;
		et_json_set(o, "name", et_json_text(node->name));
		et_json_set(o, "site", et_json_text(node->site));
		et__node__free_unpacked(node, NULL);
	}
	et_json_set(o, "node", et_json_u64(c->node));
	et_json_set(o, "not_before", api_time(c->not_before_us));
	et_json_set(o, "not_after", api_time(c->not_after_us));
	et_json_set(o, "left_ms", json_integer(left > 0 ? left / 1000 : 0));
	et_json_set(o, "state",
		    json_string(revoked		  ? "revoked"
				: removed	  ? "removed"
				: left <= 0	  ? "expired"
				: left < life / 4 ? "expiring"
						  : "ok"));
	et_json_set(o, "serial", et_json_hex(c->serial.data, c->serial.len));
	et_json_set(o, "ca", et_json_u64(c->ca != 0 ? c->ca : 1));
	et_json_add(l->list, o);
	return 0;
}

int api_certs(struct api_call *call, struct et_error *reterr)
{
	struct et_state_view *v;
	int rc = api_view(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	struct cert_list l = { .view = v, .list = json_array(), .now_us = time_now(call) };
	(void)et_state_each_certificate(v, add_certificate, &l);
	json_t *o = json_object();
	et_json_set(o, "certs", l.list);
	return api_json(call, 200, o);
}

/* ---- Audit ---- */

static int add_event(void *arg, const Et__AuditEvent *event)
{
	et_json_add(arg, api_audit_json(event));
	return 0;
}

int api_audit_list(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "from", "to", "limit", "read" };
	struct et_state_view *v;
	struct et_state_counts counts = { 0 };
	uint64_t from, to, limit;
	int rc = api_params_check(&call->request, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = api_param_uint(&call->request, "from", 0, UINT64_MAX, 0, &from, reterr);
	}
	if (rc == 0) {
		rc = api_param_uint(&call->request, "to", 1, UINT64_MAX, UINT64_MAX, &to, reterr);
	}
	if (rc == 0) {
		rc = api_param_uint(&call->request, "limit", 1, AUDIT_LIMIT_MAX,
				    from > 0 ? AUDIT_LIMIT_MAX : AUDIT_LIMIT_DEFAULT, &limit,
				    reterr);
	}
	if (rc == 0) {
		rc = api_view(call, &v, reterr);
	}
	if (rc == 0) {
		rc = et_state_counts(v, &counts);
		rc = rc < 0 ? et_fail(reterr, rc, "audit log") : 0;
	}
	if (rc < 0) {
		return rc;
	}
	to = to < counts.audit_events ? to : counts.audit_events;
	if (from == 0) { /* the last ones */
		from = to > limit ? to - limit + 1 : 1;
	}
	uint64_t last = to >= from && to - from >= limit ? from + limit - 1 : to;
	json_t *events = json_array();
	if (last >= from && last > 0) {
		rc = et_state_each_audit(v, from, last, add_event, events);
	}
	if (rc < 0) {
		json_decref(events);
		return et_fail(reterr, rc, "audit log");
	}
	json_t *o = json_object();
	et_json_set(o, "events", events);
	et_json_set(o, "total", et_json_u64(counts.audit_events));
	et_json_set(o, "more", json_boolean(last < to));
	et_json_set(o, "next_number", et_json_u64(last + 1));
	return api_json(call, 200, o);
}

int api_audit_verify(struct api_call *call, struct et_error *reterr)
{
	struct et_state_view *v;
	uint64_t events = 0;
	uint8_t head[32] = { 0 };
	int rc = api_view(call, &v, reterr);
	if (rc == 0) {
		rc = et_state_audit_verify(v, &events, head, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "verified", json_true());
	et_json_set(o, "node", et_json_text(call->api->config.name));
	et_json_set(o, "events", et_json_u64(events));
	et_json_set(o, "head", et_json_hex(head, 32));
	return api_json(call, 200, o);
}

/* ---- Changes ---- */

static void target_uuid(const char *kind, const ProtobufCBinaryData *id, char *ret, size_t size)
{
	char text[ET_UUID_TEXT_SIZE];
	if (id != NULL && id->len == 16) {
		et_uuid_format(id->data, text);
		(void)snprintf(ret, size, "%s %s", kind, text);
	}
}

void api_change_target(const Et__Command *c, const Et__Result *result, char *ret, size_t size)
{
	ret[0] = '\0';
	switch ((int)c->body_case) {
	case ET__COMMAND__BODY_RECORDING_OPEN:
		target_uuid("recording", &c->recording_open->recording->id, ret, size);
		break;
	case ET__COMMAND__BODY_RECORDING_UPDATE:
		target_uuid("recording", &c->recording_update->recording->id, ret, size);
		break;
	case ET__COMMAND__BODY_RECORDING_CLOSE:
		target_uuid("recording", &c->recording_close->recording->id, ret, size);
		break;
	case ET__COMMAND__BODY_SEGMENT_OPEN:
		target_uuid("recording", &c->segment_open->segment->recording, ret, size);
		break;
	case ET__COMMAND__BODY_SEGMENT_SEAL:
		target_uuid("recording", &c->segment_seal->recording, ret, size);
		break;
	case ET__COMMAND__BODY_RECORDING_IMPORT:
		target_uuid("recording", &c->recording_import->recording->id, ret, size);
		break;
	case ET__COMMAND__BODY_COPY_ADD:
		if (c->copy_add->n_copies == 1) {
			target_uuid("recording", &c->copy_add->copies[0]->recording, ret, size);
		}
		break;
	case ET__COMMAND__BODY_PLAN_APPLY:
		target_uuid("plan", &c->plan_apply->plan, ret, size);
		break;
	case ET__COMMAND__BODY_JOB_UPDATE:
		target_uuid("job", &c->job_update->job, ret, size);
		break;
	case ET__COMMAND__BODY_RECORDING_ERASE:
		target_uuid("recording", &c->recording_erase->recording, ret, size);
		break;
	case ET__COMMAND__BODY_RECORDING_REDACT:
		target_uuid("recording", &c->recording_redact->recording, ret, size);
		break;
	case ET__COMMAND__BODY_GENERATION_PUT:
		target_uuid("recording", &c->generation_put->segment->recording, ret, size);
		break;
	case ET__COMMAND__BODY_GENERATION_FINISH:
		target_uuid("recording", &c->generation_finish->recording, ret, size);
		break;
	case ET__COMMAND__BODY_NODE_JOIN:
		(void)snprintf(ret, size, "node %" PRIu64, result->number);
		break;
	default:
		break;
	}
}

int api_changes(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "after", "limit" };
	struct et_api *api = call->api;
	uint64_t after, limit;
	int rc = api_params_check(&call->request, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = api_param_uint(&call->request, "after", 0, UINT64_MAX, 0, &after, reterr);
	}
	if (rc == 0) {
		rc = api_param_uint(&call->request, "limit", 1, CHANGES_LIMIT_MAX,
				    CHANGES_LIMIT_MAX, &limit, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	json_t *list = json_array();
	uint64_t last = after;
	bool more = false;
	(void)pthread_mutex_lock(&api->mutex);
	uint64_t count = api->change_count;
	uint64_t first = count > API_CHANGES_MAX ? count - API_CHANGES_MAX : 0;
	/* What was applied before this node kept a list is not in it. */
	uint64_t oldest = count > 0 ? api->changes[first % API_CHANGES_MAX].index : 0;
	bool lost = count > 0 ? after + 1 < oldest : after < et_state_applied(api->services.state);
	for (uint64_t i = first; i < count && !lost; i++) {
		size_t slot = i % API_CHANGES_MAX;
		uint64_t index = api->changes[slot].index;
		if (index <= after) {
			continue;
		}
		if (json_array_size(list) >= limit && index != last) {
			more = true; /* never between two changes of one index */
			break;
		}
		json_t *o = json_object();
		et_json_set(o, "index", et_json_u64(index));
		et_json_set(o, "change", et_json_text(api->changes[slot].name));
		et_json_set(o, "target", et_json_text(api->changes[slot].target));
		et_json_add(list, o);
		last = index;
	}
	(void)pthread_mutex_unlock(&api->mutex);
	if (lost) {
		json_decref(list);
		rc = et_fail_plain(reterr, ET_ESTALE,
				   "this node no longer keeps the changes after index %" PRIu64,
				   after);
		(void)et_fail_next(reterr,
				   "read the lists anew, then go on after the index that they "
				   "name in X-Evertape-Index");
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "changes", list);
	et_json_set(o, "last", et_json_u64(last));
	et_json_set(o, "more", json_boolean(more));
	return api_json(call, 200, o);
}
