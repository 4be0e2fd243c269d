/* Admitting a joiner.
 *
 *   read index ─▶ check token, signature ─▶ issue ─▶ propose NodeJoin ─▶ reply
 *        ▲                │                              │
 *        │                └─ this request has a node already: reply the same again
 *        └── another joiner took the number meanwhile (ET_ESTALE), at most 5 times
 *
 * Only a vault node can issue. Another hands the request to one (ET_RPC_JOIN), which does not hand
 * it on again. The signature is checked by whoever admits; the value of the TLS exporter that it
 * covers is the word of the member that took the connection. */
#include <stdio.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "node/keeper/keeper_internal.h"

#define ROUNDS_MAX 5
#define FORWARD_TIMEOUT_MS 25000

struct admission {
	struct et_keeper *k;
	struct et_join_request request; /* owned copy */
	bool forwarded;			/* from another member: not handed on again */
	unsigned rounds;
	et_keeper_admit_fn cb;
	void *arg;
};

static void admission_run(struct admission *a);

static void admission_finish(struct admission *a, const struct et_join_reply *reply)
{
	struct et_keeper *k = a->k;

	if (reply->code == 0) {
		(void)atomic_fetch_add(&k->health.joins, 1);
		et_info("node.joined", "node=%llu name=%s site=%s", (unsigned long long)reply->node,
			a->request.name, reply->site);
	} else {
		(void)atomic_fetch_add(&k->health.joins_refused, 1);
		et_warn("node.refused", "name=%s code=%s detail=\"%s\"", a->request.name,
			et_errname(reply->code), reply->text);
	}
	a->cb(a->arg, reply);
	et_join_request_release(&a->request);
	free(a);
	keeper_end(k);
}

static void admission_refuse(struct admission *a, int code, const char *text)
{
	struct et_join_reply reply = { .code = code };

	(void)snprintf(reply.text, sizeof(reply.text), "%.250s",
		       text != NULL && text[0] != '\0' ? text : et_strerror(code));
	admission_finish(a, &reply);
}

/* ---- The reply ---- */

struct reply_search {
	uint32_t kek_version;
	uint8_t kek_public[32];
	struct et_buffer *kek_signature;
	const uint8_t *request_hash;
	uint64_t joined;
};

static int reply_member(void *arg, const Et__Node *node)
{
	struct reply_search *s = arg;

	if (node->state == ET__NODE_STATE__REMOVED || node->state == ET__NODE_STATE__REVOKED) {
		return 0;
	}
	if (node->join_request_hash.len == 32 &&
	    memcmp(node->join_request_hash.data, s->request_hash, 32) == 0) {
		s->joined = node->id;
	}
	return 0;
}

static int reply_kek(void *arg, const Et__Kek *kek)
{
	struct reply_search *s = arg;

	if (kek->state == ET__KEK_STATE__KEK_ACTIVE && kek->public_key.len == 32) {
		s->kek_version = kek->version;
		memcpy(s->kek_public, kek->public_key.data, 32);
		s->kek_signature->size = 0;
		et_buffer_add(s->kek_signature, kek->signature.data, kek->signature.len);
	}
	return 0;
}

static void reply_cluster(struct et_join_reply *reply, const Et__Cluster *cluster)
{
	(void)snprintf(reply->cluster, sizeof(reply->cluster), "%.63s", cluster->name);
	if (cluster->id.len == 16) {
		memcpy(reply->cluster_id, cluster->id.data, 16);
	}
	reply->kek_id = cluster->kek_id;
	cluster_bundle(cluster, &reply->ca);
}

static int reply_fill(struct et_keeper *k, const struct et_state_view *v, uint64_t node,
		      const uint8_t request_hash[32], struct et_join_reply *reply,
		      struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *ca_key = NULL;
	struct reply_search s = { .kek_signature = &reply->kek_signature,
				  .request_hash = request_hash };
	Et__Node *record = NULL;
	Et__Certificate *certificate = NULL;
	struct issuer issuer;

	int rc = issuer_find(v, &issuer, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = issuer_key(v, &issuer, k->identity.node, &k->keys, &ca_key, reterr);
	rc = rc < 0 ? rc : et_state_get_node(v, node, &record);
	rc = rc < 0 ? rc : et_state_get_certificate(v, node, &certificate);
	if (rc == 0) {
		(void)et_state_each_node(v, reply_member, &s);
		(void)et_state_each_kek(v, reply_kek, &s);
		reply_cluster(reply, issuer.cluster);
		reply->node = node;
		(void)snprintf(reply->site, sizeof(reply->site), "%.63s", record->site);
		reply->roles = roles_of(record->n_roles, record->roles);
		reply->kek_version = s.kek_version;
		memcpy(reply->kek_public, s.kek_public, 32);
		et_buffer_add(&reply->cert, certificate->der.data, certificate->der.len);
		rc = members_pack(v, ca_key, &reply->members, reterr);
	}
	issuer_release(&issuer);
	et__node__free_unpacked(record, NULL);
	et__certificate__free_unpacked(certificate, NULL);
	return rc < 0 ? et_fail(reterr, rc, "answer the joining node") : 0;
}

static void admission_admit(struct admission *a, uint64_t node)
{
	struct et_join_reply reply = { 0 };
	struct et_error why;

	struct et_state_view *v = et_state_view_open(a->k->state);
	int rc = reply_fill(a->k, v, node, a->request.hash, &reply, &why);
	(void)et_state_view_close(v);
	if (rc < 0) {
		admission_refuse(a, rc, why.text);
	} else {
		admission_finish(a, &reply);
	}
	et_join_reply_release(&reply);
}

/* ---- The command ---- */

static int token_check(const struct admission *a, const Et__Token *token, int64_t now_us,
		       struct et_error *reterr)
{
	uint32_t roles = roles_of(token->n_roles, token->roles);

	if (strcmp(token->kind, "join") != 0 || token->public_key.len != 32) {
		return et_fail_plain(reterr, ET_EDENIED, "the join token is not known");
	}
	int rc = et_join_request_verify(&a->request, token->public_key.data, reterr);
	if (rc < 0) {
		return ET_EDENIED;
	}
	if (token->revoked) {
		return et_fail_plain(reterr, ET_EDENIED, "the join token was revoked");
	}
	if (token->expires_us <= now_us) {
		return et_fail_plain(reterr, ET_EDENIED, "the join token has expired");
	}
	if ((a->request.roles & ~roles) != 0) {
		return et_fail_plain(reterr, ET_EDENIED,
				     "the join token does not give every role that the node's "
				     "configuration asks for");
	}
	if (token->site[0] != '\0' && a->request.site[0] != '\0' &&
	    strcmp(token->site, a->request.site) != 0) {
		return et_fail_plain(reterr, ET_EDENIED,
				     "the join token is for site '%.63s', the node's "
				     "configuration says '%s'",
				     token->site, a->request.site);
	}
	return 0;
}

static Et__Node *node_make(const struct admission *a, const Et__Token *token, uint64_t id,
			   const char *site, const uint8_t spki_hash[32])
{
	const struct et_join_request *q = &a->request;
	Et__Node *node = calloc(1, sizeof(*node));

	et_assert(node != NULL);
	et__node__init(node);
	node->id = id;
	pb_text(&node->name, q->name);
	pb_text(&node->site, site);
	pb_roles(&node->n_roles, &node->roles, roles_of(token->n_roles, token->roles));
	pb_text(&node->address, q->address);
	pb_text(&node->api_address, q->api_address);
	node->state = ET__NODE_STATE__ACTIVE;
	pb_bytes(&node->spki_hash, spki_hash, 32);
	pb_bytes(&node->sign_public, q->sign_public, 32);
	pb_bytes(&node->seal_public, q->seal_public, 32);
	pb_text(&node->version, q->version);
	pb_text(&node->store_uuid, q->store_uuid);
	node->schema = q->schema;
	pb_bytes(&node->join_request_hash, q->hash, 32);
	return node;
}

/* A certificate for the request's key, and with it the command that makes the node a member. */
static int command_make(const struct admission *a, const struct et_state_view *v,
			const Et__Cluster *cluster, const Et__Token *token, Et__NodeJoin *join,
			struct grant_list *grants, struct et_error *reterr)
{
	struct et_keeper *k = a->k;
	ET_CLEANUP(et_secret_freep) struct et_secret *ca_key = NULL;
	ET_CLEANUP(et_buffer_releasep) struct et_buffer cert = { 0 };
	const char *site = token->site[0] != '\0' ? token->site : a->request.site;
	const struct et_cert_subject subject = { cluster->name, site, cluster->next_node_id };
	uint8_t spki_hash[32];

	struct issuer issuer;

	int rc = issuer_find(v, &issuer, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = issuer_key(v, &issuer, k->identity.node, &k->keys, &ca_key, reterr);
	rc = rc < 0 ? rc
		    : et_ca_issue(ca_key, issuer.cert, view_of(&a->request.csr), &subject,
				  keeper_now_us(k), k->cert_life_us, &cert, spki_hash, reterr);
	rc = rc < 0 ? rc
		    : certificate_record(view_of(&cert), subject.node, issuer.number,
					 &join->certificate, reterr);
	issuer_release(&issuer);
	if (rc < 0) {
		return rc;
	}
	join->node = node_make(a, token, subject.node, site, spki_hash);
	if ((roles_of(token->n_roles, token->roles) & ET_ROLE_VAULT) != 0) {
		rc = grants_for_node(v, k->identity.node, &k->keys, subject.node,
				     a->request.seal_public, grants, reterr);
	}
	return rc;
}

static void on_joined(void *arg, int code, const Et__Result *result)
{
	struct admission *a = arg;

	if (code == 0 && result != NULL) {
		admission_admit(a, result->number);
	} else if (code == ET_ESTALE && ++a->rounds < ROUNDS_MAX && !a->k->stopping) {
		admission_run(a);
	} else {
		admission_refuse(a, code, result != NULL ? result->text : NULL);
	}
}

static int admission_propose(struct admission *a, const struct et_state_view *v,
			     const Et__Cluster *cluster, const Et__Token *token,
			     struct et_error *reterr)
{
	Et__NodeJoin join = ET__NODE_JOIN__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct grant_list grants = { 0 };
	char principal[32];
	char reason[] = "join token";

	int rc = command_make(a, v, cluster, token, &join, &grants, reterr);
	if (rc == 0) {
		(void)snprintf(principal, sizeof(principal), "node:%llu",
			       (unsigned long long)a->k->identity.node);
		join.token = (ProtobufCBinaryData){ 16, a->request.token };
		join.request_hash = (ProtobufCBinaryData){ 32, a->request.hash };
		join.n_grants = grants.count;
		join.grants = grants.grants;
		command.body_case = ET__COMMAND__BODY_NODE_JOIN;
		command.node_join = &join;
		command.principal = principal;
		command.reason = reason;
		command.schema = ET_COMMAND_SCHEMA;
		et_catalog_propose(a->k->catalog, &command, PROPOSE_TIMEOUT_MS, on_joined, a);
	}
	et__node__free_unpacked(join.node, NULL);
	et__certificate__free_unpacked(join.certificate, NULL);
	grant_list_release(&grants);
	return rc;
}

/* ---- Steps ---- */

/* Handing it to a vault node. */
static void on_forwarded(void *arg, int code, struct et_view body)
{
	struct admission *a = arg;
	struct et_join_reply reply;

	if (code < 0 || et_join_reply_parse(body, &reply, NULL) < 0) {
		admission_refuse(a, code < 0 ? code : ET_EMALFORMED,
				 "no vault node of the cluster could be asked");
		return;
	}
	admission_finish(a, &reply);
	et_join_reply_release(&reply);
}

static void admission_forward(struct admission *a)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer body = { 0 };

	if (a->forwarded || et_join_forward_pack(&a->request, &body) < 0) {
		admission_refuse(a, ET_ENOKEY, "the member that was asked holds no CA key");
		return;
	}
	keeper_ask_issuers(a->k, ET_RPC_JOIN, view_of(&body), FORWARD_TIMEOUT_MS, on_forwarded, a);
}

static bool holds_ca(struct et_keeper *k, const struct et_state_view *v)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *ca_key = NULL;
	struct issuer issuer;

	if (issuer_find(v, &issuer, NULL) < 0) {
		return false;
	}
	int rc = issuer_key(v, &issuer, k->identity.node, &k->keys, &ca_key, NULL);
	issuer_release(&issuer);
	return rc == 0;
}

static void on_read_index(void *arg, int code, uint64_t index)
{
	struct admission *a = arg;
	struct reply_search s = { .request_hash = a->request.hash };
	struct et_error why = { 0 };
	Et__Cluster *cluster = NULL;
	Et__Token *token = NULL;

	(void)index;
	if (code < 0) {
		admission_refuse(a, code, NULL);
		return;
	}
	struct et_state_view *v = et_state_view_open(a->k->state);
	if (!holds_ca(a->k, v)) {
		(void)et_state_view_close(v);
		admission_forward(a);
		return;
	}
	int rc = et_state_get_cluster(v, &cluster);
	if (rc == 0 && et_state_get_token(v, a->request.token, &token) < 0) {
		rc = et_fail_plain(&why, ET_EDENIED, "the join token is not known");
	}
	if (rc == 0 && token != NULL) {
		rc = token_check(a, token, cluster->cluster_time_us, &why);
	}
	if (rc == 0) {
		(void)et_state_each_node(v, reply_member, &s);
	}
	if (rc == 0 && s.joined == 0 && token != NULL) {
		rc = token->uses_left > 0
			     ? admission_propose(a, v, cluster, token, &why)
			     : et_fail_plain(&why, ET_EDENIED, "the join token is used up");
	}
	(void)et_state_view_close(v);
	et__cluster__free_unpacked(cluster, NULL);
	et__token__free_unpacked(token, NULL);
	if (rc < 0) {
		admission_refuse(a, rc, why.text);
	} else if (s.joined != 0) {
		admission_admit(a, s.joined);
	}
}

static void admission_run(struct admission *a)
{
	et_catalog_read_index(a->k->catalog, READ_TIMEOUT_MS, on_read_index, a);
}

static struct admission *admission_new(struct et_keeper *k, const struct et_join_request *request,
				       et_keeper_admit_fn cb, void *arg)
{
	struct admission *a = calloc(1, sizeof(*a));
	ET_CLEANUP(et_buffer_releasep) struct et_buffer bytes = { 0 };

	et_assert(a != NULL);
	a->k = k;
	a->cb = cb;
	a->arg = arg;
	if (et_join_forward_pack(request, &bytes) < 0 ||
	    et_join_forward_parse(view_of(&bytes), &a->request, NULL) < 0) {
		et_unreachable(); /* It was parsed once; only memory can be short. */
	}
	keeper_begin(k);
	return a;
}

void et_keeper_admit(struct et_keeper *k, const struct et_join_request *request,
		     et_keeper_admit_fn cb, void *arg)
{
	admission_run(admission_new(k, request, cb, arg));
}

/* ---- Where requests come from ---- */

static void answer_joiner(void *arg, const struct et_join_reply *reply)
{
	et_join_answer(arg, reply);
}

static void serve_join(void *arg, const struct et_join_request *request,
		       struct et_join_answer *answer)
{
	et_keeper_admit(arg, request, answer_joiner, answer);
}

static void answer_member(void *arg, const struct et_join_reply *reply)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer body = { 0 };
	struct et_rpc_reply *rpc = arg;
	int rc = reply->code == ET_ENOKEY ? ET_ENOKEY : et_join_reply_pack(reply, &body);

	et_rpc_reply(rpc, rc, body.data, rc < 0 ? 0 : body.size);
}

static void serve_forwarded(void *arg, const struct et_tls_peer *peer, struct et_view body,
			    struct et_rpc_reply *reply)
{
	struct et_join_request request;

	(void)peer;
	int rc = et_join_forward_parse(body, &request, NULL);
	if (rc < 0) {
		et_rpc_reply(reply, rc, NULL, 0);
		return;
	}
	struct admission *a = admission_new(arg, &request, answer_member, reply);
	a->forwarded = true;
	admission_run(a);
	et_join_request_release(&request);
}

int admit_serve(struct et_keeper *k, struct et_error *reterr)
{
	et_rpc_serve(k->tls, ET_RPC_JOIN, serve_forwarded, k);
	return et_join_serve(k->tls, serve_join, k, reterr);
}
