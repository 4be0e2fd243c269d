/* Certificates are renewed at two thirds of their life, with the same key: the recorded key stays
 * the one by which members know each other, so that a node that lags behind still knows a renewed
 * one.
 *
 *   request := certificate request (PKCS#10 DER)      answer := length 4 | certificate | CA bundle
 *
 *   CSR ─▶ issued here (a vault node) or by a vault node (ET_RPC_RENEW) ─▶ CertificateAdd committed
 *       ─▶ saved ─▶ in use
 *
 * The asker may come with an expired certificate: the member check has let it in by its recorded
 * key. What fails is tried again after 5 s, 10 s, ... at most
 * a minute. */
#include <stdio.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "node/keeper/keeper_internal.h"

#define RETRY_MIN_US (5LL * 1000000)
#define RETRY_MAX_US (60LL * 1000000)
#define CA_BYTES_MAX (16UL * ET_CERT_MAX)

/* ---- Issuing ---- */

struct issue {
	struct et_keeper *k;
	struct et_buffer answer; /* owned */
	void (*fn)(void *arg, int code, struct et_view answer);
	void *arg;
};

static void issue_finish(struct issue *i, int code)
{
	struct et_keeper *k = i->k;

	i->fn(i->arg, code, view_of(&i->answer));
	et_buffer_release(&i->answer);
	free(i);
	keeper_end(k);
}

static void on_committed(void *arg, int code, const Et__Result *result)
{
	(void)result;
	issue_finish(arg, code);
}

static int issue_certificate(struct issue *i, const struct et_state_view *v, const Et__Node *node,
			     struct et_view request, Et__Certificate **ret)
{
	struct et_keeper *k = i->k;
	ET_CLEANUP(et_secret_freep) struct et_secret *ca_key = NULL;
	ET_CLEANUP(et_buffer_releasep) struct et_buffer cert = { 0 };
	const struct et_cert_subject subject = { k->identity.cluster, node->site, node->id };
	uint8_t spki_hash[32];
	Et__Cluster *cluster = NULL;

	int rc = secret_open(v, "ca", k->identity.node, &k->keys, &ca_key, NULL);
	rc = rc < 0 ? rc : et_state_get_cluster(v, &cluster);
	if (rc == 0 && cluster->n_ca_certs == 0) {
		rc = ET_ECORRUPT;
	}
	if (rc == 0) {
		const struct et_view ca = { cluster->ca_certs[0].data, cluster->ca_certs[0].len };
		rc = et_ca_issue(ca_key, ca, request, &subject, keeper_now_us(k), k->cert_life_us,
				 &cert, spki_hash, NULL);
	}
	if (rc == 0 &&
	    (node->spki_hash.len != 32 || memcmp(spki_hash, node->spki_hash.data, 32) != 0)) {
		rc = ET_EDENIED; /* Renewal is for the recorded key. */
	}
	rc = rc < 0 ? rc : certificate_record(view_of(&cert), node->id, ret, NULL);
	if (rc == 0) {
		et_buffer_add32(&i->answer, (uint32_t)cert.size);
		et_buffer_add(&i->answer, cert.data, cert.size);
		for (size_t c = 0; c < cluster->n_ca_certs; c++) {
			et_buffer_add(&i->answer, cluster->ca_certs[c].data,
				      cluster->ca_certs[c].len);
		}
	}
	et__cluster__free_unpacked(cluster, NULL);
	return rc;
}

/* Issue for `node`, commit, then call back. May call back at once when it cannot be. */
static void issue_for(struct et_keeper *k, uint64_t node, struct et_view request,
		      void (*fn)(void *arg, int code, struct et_view answer), void *arg)
{
	struct issue *i = calloc(1, sizeof(*i));
	Et__CertificateAdd add = ET__CERTIFICATE_ADD__INIT;
	Et__Command command = ET__COMMAND__INIT;
	Et__Node *record = NULL;
	char principal[32];
	char reason[] = "certificate renewal";

	et_assert(i != NULL);
	*i = (struct issue){ .k = k, .fn = fn, .arg = arg };
	keeper_begin(k);
	struct et_state_view *v = et_state_view_open(k->state);
	int rc = et_state_get_node(v, node, &record);
	rc = rc < 0 ? rc : issue_certificate(i, v, record, request, &add.certificate);
	(void)et_state_view_close(v);
	if (rc == 0) {
		(void)snprintf(principal, sizeof(principal), "node:%llu", (unsigned long long)node);
		add.spki_hash = record->spki_hash;
		command.body_case = ET__COMMAND__BODY_CERTIFICATE_ADD;
		command.certificate_add = &add;
		command.principal = principal;
		command.reason = reason;
		command.schema = ET_COMMAND_SCHEMA;
		et_catalog_propose(k->catalog, &command, PROPOSE_TIMEOUT_MS, on_committed, i);
	}
	et__certificate__free_unpacked(add.certificate, NULL);
	et__node__free_unpacked(record, NULL);
	if (rc != 0) {
		issue_finish(i, rc);
	}
}

static void on_issued_for_peer(void *arg, int code, struct et_view answer)
{
	et_rpc_reply(arg, code, answer.data, code < 0 ? 0 : answer.size);
}

static void serve_renew(void *arg, const struct et_tls_peer *peer, struct et_view body,
			struct et_rpc_reply *reply)
{
	issue_for(arg, peer->node, body, on_issued_for_peer, reply);
}

/* ---- Renewing this node's own ---- */

struct renewal {
	struct et_keeper *k;
	struct et_identity fresh; /* owned */
	void (*cb)(void *arg, int code);
	void *arg;
	uv_work_t work;
	int save_code;
	struct et_error save_error;
};

static void renewal_finish(struct renewal *r, int code, const char *why)
{
	struct et_keeper *k = r->k;

	k->renewing = false;
	if (code < 0) {
		k->renew_wait_us = k->renew_wait_us == 0 ? RETRY_MIN_US : k->renew_wait_us * 2;
		if (k->renew_wait_us > RETRY_MAX_US) {
			k->renew_wait_us = RETRY_MAX_US;
		}
		k->renew_again_us = et_clock_mono_us() + k->renew_wait_us;
		(void)atomic_fetch_add(&k->health.renewal_failures, 1);
		et_warn("cert.renewal", "code=%s detail=\"%s\"", et_errname(code),
			why != NULL ? why : et_strerror(code));
	} else {
		k->renew_wait_us = 0;
		(void)atomic_fetch_add(&k->health.renewals, 1);
		et_info("cert.renewed", "not_after_us=%lld", (long long)k->not_after_us);
	}
	if (r->cb != NULL) {
		r->cb(r->arg, code);
	}
	et_identity_release(&r->fresh);
	free(r);
	keeper_end(k);
}

static void renewal_save(uv_work_t *work)
{
	struct renewal *r = work->data;
	char folder[PATH_BYTES + 16];

	(void)snprintf(folder, sizeof(folder), "%s/identity", r->k->state_folder);
	r->save_code = et_identity_save(folder, r->k->root, &r->fresh, &r->save_error);
}

static void renewal_on_saved(uv_work_t *work, int status)
{
	struct renewal *r = work->data;
	struct et_keeper *k = r->k;
	struct et_error why;

	int rc = status < 0 ? status : r->save_code;
	if (rc < 0) {
		renewal_finish(r, rc, status < 0 ? NULL : r->save_error.text);
		return;
	}
	rc = et_tls_set_identity(k->tls, &r->fresh, &why);
	if (rc < 0) {
		renewal_finish(r, rc, why.text);
		return;
	}
	et_identity_release(&k->identity);
	k->identity = r->fresh;
	r->fresh = (struct et_identity){ 0 };
	keeper_note_certificate(k);
	if (k->on_identity != NULL) {
		k->on_identity(k->arg, &k->identity);
	}
	renewal_finish(r, 0, NULL);
}

static int renewal_take(struct renewal *r, struct et_view answer)
{
	struct et_reader reader = et_reader_of(answer.data, answer.size);
	uint32_t size = et_read32(&reader);
	const uint8_t *cert = et_read_bytes(&reader, size);
	size_t ca_size = et_reader_left(&reader);
	struct et_cert_info info;

	if (cert == NULL || ca_size == 0 || ca_size > CA_BYTES_MAX ||
	    et_cert_parse((struct et_view){ cert, size }, &info, NULL) < 0 ||
	    info.node != r->k->identity.node) {
		return ET_EMALFORMED;
	}
	int rc = et_identity_copy(&r->k->identity, &r->fresh);
	if (rc < 0) {
		return rc;
	}
	r->fresh.cert.size = 0;
	r->fresh.ca.size = 0;
	et_buffer_add(&r->fresh.cert, cert, size);
	et_buffer_add(&r->fresh.ca, reader.p, ca_size);
	return r->fresh.cert.failed || r->fresh.ca.failed ? -ENOMEM : 0;
}

static void on_renewed(void *arg, int code, struct et_view answer)
{
	struct renewal *r = arg;

	code = code < 0 ? code : renewal_take(r, answer);
	if (code == 0) {
		r->work.data = r;
		code = uv_queue_work(r->k->loop, &r->work, renewal_save, renewal_on_saved);
	}
	if (code < 0) {
		renewal_finish(r, code, NULL);
	}
}

static void renewal_run(void *arg)
{
	struct renewal *r = arg;
	struct et_keeper *k = r->k;
	ET_CLEANUP(et_buffer_releasep) struct et_buffer request = { 0 };

	int rc = et_identity_request(&k->identity, &request, NULL);
	if (rc < 0) {
		renewal_finish(r, rc, NULL);
		return;
	}
	struct et_state_view *v = et_state_view_open(k->state);
	bool here = et_state_has_grant(v, "ca", k->identity.node);
	(void)et_state_view_close(v);
	if (here) {
		issue_for(k, k->identity.node, view_of(&request), on_renewed, r);
	} else {
		keeper_ask_vaults(k, "ca", ET_RPC_RENEW, view_of(&request),
				  PROPOSE_TIMEOUT_MS + RPC_TIMEOUT_MS, on_renewed, r);
	}
}

void et_keeper_renew(struct et_keeper *k, void (*cb)(void *arg, int code), void *arg)
{
	struct renewal *r = calloc(1, sizeof(*r));

	et_assert(r != NULL);
	*r = (struct renewal){ .k = k, .cb = cb, .arg = arg };
	k->renewing = true;
	keeper_begin(k);
	keeper_defer(k, renewal_run, r);
}

void renew_round(struct et_keeper *k)
{
	int64_t due_us = k->not_before_us + (k->not_after_us - k->not_before_us) / 3 * 2;
	Et__Node *self = NULL;

	if (k->renewing || keeper_now_us(k) < due_us || et_clock_mono_us() < k->renew_again_us) {
		return;
	}
	struct et_state_view *v = et_state_view_open(k->state);
	bool known = et_state_get_node(v, k->identity.node, &self) == 0;
	(void)et_state_view_close(v);
	et__node__free_unpacked(self, NULL);
	if (known) { /* Else the catalogue here is still on its way. */
		et_keeper_renew(k, NULL, NULL);
	}
}

void renew_serve(struct et_keeper *k)
{
	et_rpc_serve(k->tls, ET_RPC_RENEW, serve_renew, k);
}
