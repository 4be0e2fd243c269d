/* The CAs: which issues, which are trusted, what a rotation waits for, and what an administrator
 * may ask. */
#include <stdio.h>
#include <string.h>

#include "node/api/members_internal.h"

struct ca_list {
	const struct et_state_view *view;
	struct api_nodes nodes;
	const json_t *live; /* NULL: nobody asked */
	json_t *awaits;
	char names[160]; /* of whom is waited for, as text */
	unsigned open_tokens;
};

/* ---- Seeing ---- */

static void names_add(struct ca_list *l, const char *name)
{
	size_t n = strlen(l->names);

	(void)snprintf(l->names + n, sizeof(l->names) - n, "%s%s", n > 0 ? ", " : "", name);
}

static int add_await(void *arg, enum et_state_ca_await await, uint64_t number)
{
	static const char *const words[] = { "make", "holders", "trust", "kek", "certificate" };
	struct ca_list *l = arg;
	json_t *o = json_object();
	bool node = await == ET_CA_AWAIT_TRUST || await == ET_CA_AWAIT_CERTIFICATE;
	const json_t *live = node ? api_live_of(l->live, number) : NULL;

	et_json_set(o, "what", json_string(words[await]));
	et_json_set(o, "node", node ? et_json_text(api_node_name(&l->nodes, number)) : json_null());
	et_json_set(o, "reachable",
		    live != NULL ? json_boolean(et_json_get_bool(live, "reachable", false))
				 : json_null());
	et_json_set(o, "kek", await == ET_CA_AWAIT_KEK ? et_json_u64(number) : json_null());
	et_json_add(l->awaits, o);
	names_add(l, node ? api_node_name(&l->nodes, number) : words[await]);
	return 0;
}

static int count_token(void *arg, const Et__Token *t)
{
	struct ca_list *l = arg;

	l->open_tokens += strcmp(t->kind, "join") == 0 && !t->revoked && t->uses_left > 0;
	return 0;
}

static json_t *trusted_json(const Et__Cluster *cluster)
{
	json_t *list = json_array();
	uint8_t hash[32];

	for (size_t i = 0; i < cluster->n_ca_certs; i++) {
		const struct et_view der = { cluster->ca_certs[i].data, cluster->ca_certs[i].len };
		struct et_buffer pem = { 0 };
		json_t *o = json_object();
		et_json_set(o, "ca", et_json_u64(et_state_ca_number(cluster, i)));
		et_json_set(o, "issues", json_boolean(i == 0));
		et_json_set(o, "key_hash",
			    et_cert_spki_hash(der, hash) == 0 ? et_json_hex(hash, 32)
							      : json_null());
		api_pem(&cluster->ca_certs[i], &pem);
		et_json_set(o, "pem", json_stringn((const char *)pem.data, pem.size));
		et_buffer_release(&pem);
		et_json_add(list, o);
	}
	return list;
}

static json_t *rotation_json(struct ca_list *l, const Et__CaRing *ring)
{
	json_t *o = json_object();

	l->awaits = json_array();
	(void)et_state_each_ca_await(l->view, ring, add_await, l);
	et_json_set(o, "phase", json_string(et_state_ca_phase((int)ring->phase)));
	et_json_set(o, "from", et_json_u64(ring->from));
	et_json_set(o, "to", et_json_u64(ring->to));
	et_json_set(o, "forced", json_boolean(ring->forced));
	et_json_set(o, "aborted", json_boolean(ring->aborted));
	et_json_set(o, "finish", json_boolean(ring->finish));
	et_json_set(o, "reason", et_json_text(ring->reason));
	et_json_set(o, "begun", api_time(ring->begun_us));
	et_json_set(o, "changed", api_time(ring->changed_us));
	et_json_set(o, "awaits", l->awaits);
	return o;
}

int api_ca(struct api_call *call, struct et_error *reterr)
{
	struct et_state_view *v;
	Et__Cluster *cluster = NULL;
	Et__CaRing *ring = NULL;

	int rc = api_view(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(et_json_freep) json_t *live = api_live_nodes(call);
	struct ca_list l = { .view = v, .live = live };
	api_nodes_load(v, &l.nodes);
	rc = et_state_get_cluster(v, &cluster);
	rc = rc < 0 ? rc : et_state_get_ca_ring(v, &ring);
	rc = rc < 0 ? rc : et_state_each_token(v, count_token, &l);
	if (rc == 0) {
		json_t *o = json_object();
		et_json_set(o, "issuer", et_json_u64(et_state_ca_number(cluster, 0)));
		et_json_set(o, "newest", et_json_u64(ring->newest != 0 ? ring->newest : 1));
		et_json_set(o, "trusted", trusted_json(cluster));
		et_json_set(o, "rotation",
			    ring->newest != 0 ? rotation_json(&l, ring) : json_null());
		et_json_set(o, "open_join_tokens", json_integer(l.open_tokens));
		et_json_set(o, "live", json_incref(live));
		rc = api_json(call, 200, o);
	} else {
		rc = et_fail(reterr, rc, "the CAs");
	}
	et__cluster__free_unpacked(cluster, NULL);
	et__ca_ring__free_unpacked(ring, NULL);
	return rc;
}

/* ---- Health ---- */

void api_codes_of_ca(struct api_call *call, json_t *codes)
{
	struct et_state_view *v = et_state_view_open(call->api->services.state);
	struct ca_list l = { .view = v, .awaits = json_array() };
	Et__CaRing *ring = NULL;

	if (v != NULL && et_state_get_ca_ring(v, &ring) == 0 &&
	    ring->phase != ET__CA_PHASE__CA_SETTLED) {
		api_nodes_load(v, &l.nodes);
		(void)et_state_each_ca_await(v, ring, add_await, &l);
		bool stolen = ring->forced && ring->phase == ET__CA_PHASE__CA_WANTED;
		api_code_add(codes, stolen ? "CA_STOLEN" : "CA_ROTATION",
			     "evertape cert rotate-ca --status",
			     "CA %u takes the place of CA %u (phase %s); waits for: %s", ring->to,
			     ring->from, et_state_ca_phase((int)ring->phase),
			     l.names[0] != '\0' ? l.names : "nobody");
	}
	json_decref(l.awaits);
	et__ca_ring__free_unpacked(ring, NULL);
	(void)et_state_view_close(v);
}

/* ---- Asking ---- */

static int ca_ask(struct api_call *call, Et__CaAsk ask, struct et_error *reterr)
{
	static const char *const known[] = { "reason", "expect" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	Et__CaRotate rotate = ET__CA_ROTATE__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct api_result result;

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	if (rc < 0) {
		return rc;
	}
	const char *reason = et_json_get_text(body, "reason", "");
	int64_t expect = et_json_get_int(body, "expect", 0);
	if (*reason == '\0' || expect < 0 || expect > UINT32_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "a reason is needed; expect is the number of a CA");
	}
	rotate.ask = ask;
	rotate.expect_newest = (uint32_t)expect;
	command.body_case = ET__COMMAND__BODY_CA_ROTATE;
	command.ca_rotate = &rotate;
	rc = api_propose(call, &command, reason, &result, reterr);
	if (rc < 0) {
		(void)et_fail_next(reterr, "evertape cert rotate-ca --status");
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "to", et_json_u64(result.number));
	et_json_set(o, "index", et_json_u64(result.index));
	return api_json(call, 200, o);
}

int api_ca_rotate(struct api_call *call, struct et_error *reterr)
{
	return ca_ask(call, ET__CA_ASK__CA_START, reterr);
}

int api_ca_abort(struct api_call *call, struct et_error *reterr)
{
	return ca_ask(call, ET__CA_ASK__CA_ABORT, reterr);
}

int api_ca_finish(struct api_call *call, struct et_error *reterr)
{
	return ca_ask(call, ET__CA_ASK__CA_FINISH, reterr);
}
