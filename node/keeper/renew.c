/* Certificates are renewed at two thirds of their life, with the same key: the recorded key stays
 * the one by which members know each other, so that a node that lags behind still knows a renewed
 * one.
 *
 *   request := certificate request (PKCS#10 DER)
 *   answer  := certificate | CA bundle | list of members      each: length 4, bytes
 *
 *   CSR ─▶ issued here (a vault node) or by a vault node (ET_RPC_RENEW) ─▶ CertificateAdd committed
 *       ─▶ saved ─▶ in use
 *
 * The asker may come with a certificate that has expired, or of a CA that was rotated out: the
 * member check has let it in by its recorded key. What it takes for the CAs of now is what the
 * vault node says that it asked, which proved that it has the recorded key of one. A certificate of
 * another CA than the one that issues is renewed at once (ca.c). What fails is tried again after 5
 * s, 10 s, ... at most a minute. */
#include <stdio.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "node/keeper/keeper_internal.h"

#define RETRY_MIN_US (5LL * 1000000)
#define RETRY_MAX_US (60LL * 1000000)
#define CA_BYTES_MAX (16UL * ET_CERT_MAX)
#define MEMBERS_BYTES_MAX (256UL * 1024)

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

static void answer_add(struct et_buffer *answer, const struct et_buffer *part)
{
	et_buffer_add32(answer, (uint32_t)part->size);
	et_buffer_add(answer, part->data, part->size);
}

static int issue_certificate(struct issue *i, const struct et_state_view *v,
			     const struct issuer *issuer, const Et__Node *node,
			     struct et_view request, Et__Certificate **ret)
{
	struct et_keeper *k = i->k;
	ET_CLEANUP(et_secret_freep) struct et_secret *ca_key = NULL;
	ET_CLEANUP(et_buffer_releasep) struct et_buffer cert = { 0 };
	ET_CLEANUP(et_buffer_releasep) struct et_buffer bundle = { 0 };
	ET_CLEANUP(et_buffer_releasep) struct et_buffer members = { 0 };
	const struct et_cert_subject subject = { k->identity.cluster, node->site, node->id };
	uint8_t spki_hash[32];

	int rc = issuer_key(v, issuer, k->identity.node, &k->keys, &ca_key, NULL);
	rc = rc < 0 ? rc
		    : et_ca_issue(ca_key, issuer->cert, request, &subject, keeper_now_us(k),
				  k->cert_life_us, &cert, spki_hash, NULL);
	if (rc == 0 &&
	    (node->spki_hash.len != 32 || memcmp(spki_hash, node->spki_hash.data, 32) != 0)) {
		rc = ET_EDENIED; /* Renewal is for the recorded key. */
	}
	rc = rc < 0 ? rc : certificate_record(view_of(&cert), node->id, issuer->number, ret, NULL);
	rc = rc < 0 ? rc : members_pack(v, ca_key, &members, NULL);
	cluster_bundle(issuer->cluster, &bundle);
	if (rc == 0) {
		answer_add(&i->answer, &cert);
		answer_add(&i->answer, &bundle);
		answer_add(&i->answer, &members);
		rc = bundle.failed || i->answer.failed ? -ENOMEM : 0;
	}
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
	struct issuer issuer = { 0 };
	int rc = et_state_get_node(v, node, &record);
	rc = rc < 0 ? rc : issuer_find(v, &issuer, NULL);
	rc = rc < 0 ? rc : issue_certificate(i, v, &issuer, record, request, &add.certificate);
	issuer_release(&issuer);
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
	struct et_buffer members; /* owned */
	void (*cb)(void *arg, int code, const char *why);
	void *arg;
	uv_work_t work;
	int save_code;
	struct et_error save_error;
};

static const char *renewal_why(int code)
{
	switch (code) {
	case ET_EUNREACHABLE:
	case ET_EUNKNOWN:
		return "no vault node that holds the CA's key answers";
	case ET_ENOQUORUM:
	case -ETIMEDOUT:
		return "a vault node would issue it, but no majority commits it";
	case ET_EDENIED:
		return "the vault node refused: this is not the recorded key of the node";
	default:
		return et_strerror(code);
	}
}

static void renewal_finish(struct renewal *r, int code, const char *why)
{
	struct et_keeper *k = r->k;

	k->renewing = false;
	why = why != NULL ? why : renewal_why(code);
	if (code < 0) {
		k->renew_wait_us = k->renew_wait_us == 0 ? RETRY_MIN_US : k->renew_wait_us * 2;
		if (k->renew_wait_us > RETRY_MAX_US) {
			k->renew_wait_us = RETRY_MAX_US;
		}
		k->renew_again_us = et_clock_mono_us() + k->renew_wait_us;
		(void)atomic_fetch_add(&k->health.renewal_failures, 1);
		et_warn("cert.renewal", "code=%s detail=\"%s\"", et_errname(code), why);
	} else {
		k->renew_wait_us = 0;
		(void)atomic_fetch_add(&k->health.renewals, 1);
		et_info("cert.renewed", "not_after_us=%lld", (long long)k->not_after_us);
	}
	if (r->cb != NULL) {
		r->cb(r->arg, code, why);
	}
	et_identity_release(&r->fresh);
	et_buffer_release(&r->members);
	free(r);
	keeper_end(k);
}

static void renewal_save(uv_work_t *work)
{
	struct renewal *r = work->data;
	char folder[PATH_BYTES + 16];

	(void)snprintf(folder, sizeof(folder), "%s/identity", r->k->state_folder);
	r->save_code = et_identity_save(folder, r->k->root, &r->fresh, &r->save_error);
	if (r->save_code == 0) {
		r->save_code = et_member_list_save(folder, view_of(&r->members), &r->save_error);
	}
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
	k->bundle_saved = true;
	keeper_note_certificate(k);
	ca_look(k); /* it may be newer than the answer */
	if (k->on_identity != NULL) {
		k->on_identity(k->arg, &k->identity);
	}
	renewal_finish(r, 0, NULL);
}

/* The next part of an answer; false: there is none, or a longer one than may be. */
static bool answer_next(struct et_reader *r, size_t most, struct et_view *ret)
{
	uint32_t size = et_read32(r);
	const uint8_t *bytes = size <= most ? et_read_bytes(r, size) : NULL;

	*ret = (struct et_view){ bytes, bytes != NULL ? size : 0 };
	return bytes != NULL && size > 0;
}

static int renewal_take(struct renewal *r, struct et_view answer)
{
	struct et_reader reader = et_reader_of(answer.data, answer.size);
	struct et_member_list list = { 0 };
	struct et_view cert;
	struct et_view ca;
	struct et_view members;
	struct et_cert_info info;

	if (!answer_next(&reader, ET_CERT_MAX, &cert) || !answer_next(&reader, CA_BYTES_MAX, &ca) ||
	    !answer_next(&reader, MEMBERS_BYTES_MAX, &members) ||
	    et_cert_parse(cert, &info, NULL) < 0 || info.node != r->k->identity.node ||
	    !et_cert_is_of(cert, ca)) {
		return ET_EMALFORMED;
	}
	int rc = et_member_list_parse(members, ca, &list, NULL);
	et_member_list_release(&list);
	rc = rc < 0 ? rc : et_identity_copy(&r->k->identity, &r->fresh);
	if (rc < 0) {
		return rc;
	}
	r->fresh.cert.size = 0;
	r->fresh.ca.size = 0;
	et_buffer_add(&r->fresh.cert, cert.data, cert.size);
	et_buffer_add(&r->fresh.ca, ca.data, ca.size);
	et_buffer_add(&r->members, members.data, members.size);
	return r->fresh.cert.failed || r->fresh.ca.failed || r->members.failed ? -ENOMEM : 0;
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
	struct issuer issuer = { 0 };
	bool here = issuer_find(v, &issuer, NULL) == 0 &&
		    et_state_has_grant(v, issuer.name, k->identity.node);
	issuer_release(&issuer);
	(void)et_state_view_close(v);
	if (here) {
		issue_for(k, k->identity.node, view_of(&request), on_renewed, r);
	} else {
		keeper_ask_issuers(k, ET_RPC_RENEW, view_of(&request),
				   PROPOSE_TIMEOUT_MS + RPC_TIMEOUT_MS, on_renewed, r);
	}
}

bool et_keeper_is_renewing(const struct et_keeper *k)
{
	return k->renewing;
}

void et_keeper_renew(struct et_keeper *k, void (*cb)(void *arg, int code, const char *why),
		     void *arg)
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

	if (k->renewing || et_clock_mono_us() < k->renew_again_us) {
		return;
	}
	struct et_state_view *v = et_state_view_open(k->state);
	bool known = et_state_get_node(v, k->identity.node, &self) == 0;
	bool is_due = known && (keeper_now_us(k) >= due_us || ca_wants_renewal(k, v));
	(void)et_state_view_close(v);
	et__node__free_unpacked(self, NULL);
	if (is_due) { /* Else, if it is not known, the catalogue here is still on its way. */
		et_keeper_renew(k, NULL, NULL);
	}
}

void renew_serve(struct et_keeper *k)
{
	et_rpc_serve(k->tls, ET_RPC_RENEW, serve_renew, k);
}
