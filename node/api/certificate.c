/* Certificates of erasure: what was erased, the audit events that say so, and this node's signature
 * over all of it. Anyone checks one without a cluster: evertape verify-proof.
 *
 * Format: ops/doc/formats/erasure.md. What is signed is the body as jansson writes it with sorted
 * keys and no spaces; it has no floats. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/crypto/sign.h"
#include "node/io/clock.h"

#define CONTEXT "evertape erasure/1" /* with its NUL, before the body */

struct certificate {
	struct api_call *call;
	const struct et_state_view *v;
	json_t *erasures;
	json_t *events;
	uint64_t head;
	char head_hash[65];
};

/* ---- What is left of a recording ---- */

static int add_segment(void *arg, const Et__Segment *g)
{
	json_t *list = arg;
	char dek[20];
	json_t *o = json_object();
	et_json_set(o, "segment", api_segment_name(g->generation, g->segment));
	et_json_set(o, "root", et_json_hex(g->root.data, g->root.len));
	if (g->wrap != NULL) {
		(void)snprintf(dek, sizeof(dek), "%016" PRIx64, g->wrap->dek);
		et_json_set(o, "dek", json_string(dek));
		et_json_set(o, "kek_version", json_integer(g->wrap->kek_version));
		et_json_set(o, "key",
			    json_string(g->wrap->erased && g->wrap->ciphertext.len == 0
						? "destroyed"
						: "there"));
	}
	et_json_add(list, o);
	return 0;
}

static int erasure_add(struct certificate *c, const uint8_t id[16], struct et_error *reterr)
{
	Et__Recording *r = NULL;
	int rc = et_state_get_recording(c->v, id, &r);
	if (rc < 0) {
		return et_fail(reterr, rc, "recording");
	}
	if (r->state != ET__RECORDING_STATE__ERASED || r->erased_audit == 0) {
		et__recording__free_unpacked(r, NULL);
		return et_fail_plain(reterr, ET_EREFUSED,
				     "it is not erased: there is nothing to certify");
	}
	json_t *o = json_object();
	json_t *segments = json_array();
	(void)et_state_each_segment_of(c->v, id, add_segment, segments);
	et_json_set(o, "recording", api_uuid(&r->id));
	et_json_set(o, "start", api_time(r->start_us));
	et_json_set(o, "node", et_json_u64(r->node));
	et_json_set(o, "site", et_json_text(r->site));
	et_json_set(o, "erased", api_time(r->erased_us));
	et_json_set(o, "index", et_json_u64(r->erased_index));
	et_json_set(o, "audit", et_json_u64(r->erased_audit));
	et_json_set(o, "segments", segments);
	et_json_add(c->erasures, o);
	et__recording__free_unpacked(r, NULL);
	return 0;
}

static int add_event(void *arg, const Et__AuditEvent *e)
{
	et_json_add(arg, api_audit_json(e));
	return 0;
}

/* The events of the erasures: of a plan, one unbroken part of the chain. */
static int events_add(struct certificate *c, uint64_t first, uint64_t last, struct et_error *reterr)
{
	int rc = et_state_each_audit(c->v, first, last, add_event, c->events);
	return rc < 0 ? et_fail(reterr, rc, "audit log") : 0;
}

static int head_take(void *arg, const Et__AuditEvent *e)
{
	struct certificate *c = arg;
	c->head = e->number;
	et_hex(e->hash.data, e->hash.len, c->head_hash);
	return 0;
}

static int erasure_last(struct certificate *c, uint64_t *ret, struct et_error *reterr)
{
	size_t count = json_array_size(c->erasures);
	if (count == 0) {
		return et_fail_plain(reterr, ET_EREFUSED, "it erased nothing");
	}
	*ret = (uint64_t)et_json_get_int(json_array_get(c->erasures, count - 1), "audit", 0);
	return 0;
}

/* ---- Whose certificate ---- */

static int plan_certify(struct certificate *c, const Et__Plan *plan, json_t *body,
			struct et_error *reterr)
{
	if (strcmp(plan->kind, "erase") != 0 || strcmp(plan->state, "applied") != 0) {
		return et_fail_plain(reterr, ET_EREFUSED,
				     "this plan erased nothing: it was not applied");
	}
	int rc = 0;
	for (size_t i = 0; i < plan->n_items && rc == 0; i++) {
		if (strcmp(plan->items[i]->action, "erase") == 0) {
			rc = erasure_add(c, plan->items[i]->recording.data, reterr);
		}
	}
	rc = rc < 0 ? rc : events_add(c, plan->audit_first, plan->audit_last, reterr);
	et_json_set(body, "plan", api_uuid(&plan->id));
	et_json_set(body, "plan_hash", et_json_hex(plan->hash.data, plan->hash.len));
	et_json_set(body, "retention_revision", json_integer(plan->policy_revision));
	et_json_set(body, "exempt", api_exempt_json(plan));
	return rc;
}

static int certify(struct certificate *c, const uint8_t id[16], json_t *body,
		   struct et_error *reterr)
{
	Et__Plan *plan = NULL;
	uint64_t number = 0;
	int rc = et_state_get_plan(c->v, id, &plan);
	if (rc == 0) {
		rc = plan_certify(c, plan, body, reterr);
		et__plan__free_unpacked(plan, NULL);
		return rc;
	}
	rc = erasure_add(c, id, reterr);
	if (rc == ET_ENOTFOUND) {
		return et_fail_plain(reterr, rc, "there is no such plan or recording");
	}
	rc = rc < 0 ? rc : erasure_last(c, &number, reterr);
	return rc < 0 ? rc : events_add(c, number, number, reterr);
}

/* ---- The signature ---- */

static int body_sign(struct api_call *call, const json_t *body, json_t **ret,
		     struct et_error *reterr)
{
	struct et_api *api = call->api;
	ET_CLEANUP(et_buffer_release) struct et_buffer bytes = { 0 };
	ET_CLEANUP(et_secret_freep) struct et_secret *key = NULL;
	uint8_t key_public[32];
	uint8_t signature[ET_SIGNATURE_SIZE];
	char *text = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS);
	et_buffer_add(&bytes, CONTEXT, sizeof(CONTEXT));
	if (text != NULL) {
		et_buffer_add(&bytes, text, strlen(text));
	}
	(void)pthread_mutex_lock(&api->mutex);
	if (api->has_identity && api->identity.sign_key != NULL) {
		key = et_secret_copy(et_secret_bytes(api->identity.sign_key),
				     et_secret_size(api->identity.sign_key));
		memcpy(key_public, api->identity.sign_public, sizeof(key_public));
	}
	(void)pthread_mutex_unlock(&api->mutex);
	int rc = text == NULL || bytes.failed ? et_fail(reterr, -ENOMEM, "certificate")
		 : key == NULL		      ? et_fail_plain(reterr, ET_EUNSUPPORTED,
							      "this node has no key to sign with")
			       : et_ed25519_sign(key, (struct et_view){ bytes.data, bytes.size },
						 signature, reterr);
	free(text);
	if (rc < 0) {
		return rc;
	}
	*ret = json_object();
	et_json_set(*ret, "key", et_json_hex(key_public, sizeof(key_public)));
	et_json_set(*ret, "signature", et_json_hex(signature, sizeof(signature)));
	return 0;
}

static int body_fill(struct certificate *c, json_t *body, struct et_error *reterr)
{
	struct et_catalog_status raft;
	Et__Cluster *cluster = NULL;
	struct et_state_counts counts;
	int rc = et_state_get_cluster(c->v, &cluster);
	rc = rc < 0 ? rc : et_state_counts(c->v, &counts);
	if (rc == 0) {
		rc = et_state_each_audit(c->v, counts.audit_events, 0, head_take, c);
	}
	if (rc < 0) {
		return et_fail(reterr, rc, "cluster");
	}
	et_catalog_status(c->call->api->services.catalog, &raft);
	et_json_set(body, "cluster", et_json_text(cluster->name));
	et_json_set(body, "cluster_id", api_uuid(&cluster->id));
	et_json_set(body, "epoch", json_integer(cluster->epoch));
	et__cluster__free_unpacked(cluster, NULL);
	et_json_set(body, "issued", api_time(raft.cluster_time_us));
	et_json_set(body, "issued_by", et_json_text(c->call->api->config.name));
	et_json_set(body, "audit_head", et_json_u64(c->head));
	et_json_set(body, "audit_head_hash", json_string(c->head_hash));
	return 0;
}

int api_erasure_certificate(struct api_call *call, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	struct certificate c = { .call = call };
	struct et_state_view *v;
	json_t *signature = NULL;
	uint8_t id[16];
	int rc = api_path_id(call, id, reterr);
	rc = rc < 0 ? rc : api_view_fresh(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	c.v = v;
	c.erasures = json_array();
	c.events = json_array();
	rc = certify(&c, id, body, reterr);
	et_json_set(body, "erasures", c.erasures);
	et_json_set(body, "events", c.events);
	rc = rc < 0 ? rc : body_fill(&c, body, reterr);
	rc = rc < 0 ? rc : body_sign(call, body, &signature, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "format", json_string("evertape-erasure/1"));
	et_json_set(o, "body", ET_TAKE(body));
	et_json_set(o, "signed", signature);
	return api_json(call, 200, o);
}
