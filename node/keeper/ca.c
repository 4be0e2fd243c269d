/* CAs, as far as nodes do something for them: trust, certificates, and the steps of a rotation
 * (raft/state/ca.c has the phases).
 *
 *   CaRotate ─▶ a vault node makes key and certificate of the new CA, and seals the key to each
 *               vault node (CaStep)
 *            ─▶ every member takes it into its bundle, saves that, and says so (CaReport)
 *            ─▶ it issues (CaStep); every member renews its certificate, with its old key
 *            ─▶ living KEK versions are signed by it (CaSign)
 *            ─▶ the old one leaves trust (CaStep): every member takes it out of its bundle
 *
 * Each look reads the catalogue and does the one thing that is due first; whose turn a step is: as
 * in rotate.c.
 *
 * Who was away through a rotation trusts the old CA, and the others do not know its certificate's.
 * Both let the other in by its recorded key (members.c), which renewals never change and no CA can
 * make anew. It catches up, or, when nobody whom it knows can bring it up to date, has its
 * certificate renewed by a vault node that it knows: its answer holds the bundle of now.
 *
 * Possible failure modes are
 *   - no majority: the proposal fails, the next look (each second) tries again;
 *   - two do the same step: apply refuses the second one (ET_ESTALE);
 *   - a living KEK version that no trusted CA has signed: it is not signed now either, and the old
 *     CA stays until that version is destroyed (rotate.c makes a new one, and destroys it);
 *   - all that hold the key of a forced CA end within the second before it has signed: versions of
 *     then stay unsigned; nothing is sealed to them, for the theft has a new one made;
 *   - the disk refuses the bundle: it is in use, but not told of, and saved at a later look;
 *   - the catalogue came back at an earlier index: its bundle is not taken before a majority has
 *     said what is committed. */
#include <stdio.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "node/keeper/keeper_internal.h"

#define STEP_IN_US (10LL * 1000000) /* the next vault node steps in, each after so long */
#define FINISH_US (20LL * 1000000)  /* with `finish`, members get so long in each phase */

/* The catalogue at one look. */
struct look {
	struct et_keeper *k;
	struct et_state_view *v;
	Et__CaRing *ring;     /* owned */
	Et__Cluster *cluster; /* owned */
	Et__Node *self;	      /* owned */
	uint32_t issues;      /* number of the CA that does */
	uint32_t active;      /* KEK version */
	bool holds;	      /* this node can do steps */
	unsigned ahead;	      /* vault nodes that come first */
	struct grant_list grants;
	const struct et_secret *secret; /* that is granted */
	const char *name;
};

static void look_close(struct look *l)
{
	grant_list_release(&l->grants);
	et__ca_ring__free_unpacked(l->ring, NULL);
	et__cluster__free_unpacked(l->cluster, NULL);
	et__node__free_unpacked(l->self, NULL);
	(void)et_state_view_close(l->v);
}

static int look_kek(void *arg, const Et__Kek *kek)
{
	struct look *l = arg;

	l->active = kek->state == ET__KEK_STATE__KEK_ACTIVE ? kek->version : l->active;
	return 0;
}

/* Who makes a CA needs nothing but to be a vault; later steps are of those who hold its key. */
static bool can_step(const struct look *l, uint64_t node)
{
	char name[SECRET_NAME_BYTES];

	et_state_ca_secret(l->issues, name);
	return l->ring->phase == ET__CA_PHASE__CA_WANTED || et_state_has_grant(l->v, name, node);
}

static int look_node(void *arg, const Et__Node *n)
{
	struct look *l = arg;
	uint64_t self = l->k->identity.node;

	if (!node_is_vault(n) || !can_step(l, n->id)) {
		return 0;
	}
	l->holds |= n->id == self;
	l->ahead += n->id < self && et_rpc_is_connected(l->k->tls, n->id);
	return 0;
}

static int look_open(struct et_keeper *k, struct look *l)
{
	*l = (struct look){ .k = k, .v = et_state_view_open(k->state) };
	if (l->v == NULL) {
		return -ENOMEM;
	}
	int rc = et_state_get_ca_ring(l->v, &l->ring);
	rc = rc < 0 ? rc : et_state_get_cluster(l->v, &l->cluster);
	rc = rc < 0 ? rc : et_state_get_node(l->v, k->identity.node, &l->self);
	rc = rc < 0 ? rc : et_state_each_kek(l->v, look_kek, l);
	if (rc == 0) {
		l->issues = et_state_ca_number(l->cluster, 0);
		rc = et_state_each_node(l->v, look_node, l);
	}
	if (rc < 0) {
		look_close(l);
	}
	return rc;
}

/* ---- The bundle of this node ---- */

void cluster_bundle(const Et__Cluster *cluster, struct et_buffer *ret)
{
	for (size_t i = 0; i < cluster->n_ca_certs; i++) {
		et_buffer_add(ret, cluster->ca_certs[i].data, cluster->ca_certs[i].len);
	}
}

/* The CA that issues signs what a trusted one has signed, and nothing else: who could put a version
 * of his own into the catalogue would have it signed with the next rotation. After a theft the CA
 * before is trusted no more when its versions are to be signed; so what it had signed is noted just
 * before that. */
static bool kek_is_vouched(const struct et_keeper *k, const Et__Kek *kek)
{
	for (size_t i = 0; i < k->vouched_count; i++) {
		if (k->vouched[i].version == kek->version &&
		    memcmp(k->vouched[i].public_key, kek->public_key.data, 32) == 0) {
			return true;
		}
	}
	return et_keeper_kek_verify(kek, view_of(&k->identity.ca), NULL) == 0;
}

struct vouching {
	const struct et_keeper *k;
	struct vouched list[KEYS_MAX];
	size_t count;
};

static int vouch_kek(void *arg, const Et__Kek *kek)
{
	struct vouching *w = arg;

	if (kek->state != ET__KEK_STATE__KEK_DESTROYED && kek->public_key.len == 32 &&
	    w->count < KEYS_MAX && kek_is_vouched(w->k, kek)) {
		struct vouched *to = &w->list[w->count++];
		to->version = kek->version;
		memcpy(to->public_key, kek->public_key.data, 32);
	}
	return 0;
}

/* Before this node's bundle is another one. */
static void keks_vouch(struct look *l)
{
	struct vouching w = { .k = l->k };

	if (et_state_each_kek(l->v, vouch_kek, &w) == 0) {
		memcpy(l->k->vouched, w.list, sizeof(w.list));
		l->k->vouched_count = w.count;
	}
}

struct saving {
	uv_work_t work;
	struct et_keeper *k;
	struct et_identity identity; /* owned */
	int code;
	struct et_error error;
};

static void saving_work(uv_work_t *work)
{
	struct saving *s = work->data;
	char folder[PATH_BYTES + 16];

	(void)snprintf(folder, sizeof(folder), "%s/identity", s->k->state_folder);
	s->code = et_identity_save(folder, s->k->root, &s->identity, &s->error);
}

static void saving_done(uv_work_t *work, int status)
{
	struct saving *s = work->data;
	struct et_keeper *k = s->k;

	k->renewing = false;
	if (status < 0 || s->code < 0) {
		et_err("keeper.ca", "step=save error=\"%s\"",
		       status < 0 ? et_strerror(status) : s->error.text);
	} else {
		k->bundle_saved =
			k->identity.ca.size == s->identity.ca.size &&
			memcmp(k->identity.ca.data, s->identity.ca.data, s->identity.ca.size) == 0;
		ca_look(k);
	}
	et_identity_release(&s->identity);
	free(s);
	keeper_end(k);
}

/* One at a time writes the identity: this, or a renewal. */
static void bundle_save(struct et_keeper *k)
{
	struct saving *s = k->renewing ? NULL : calloc(1, sizeof(*s));

	if (s == NULL || et_identity_copy(&k->identity, &s->identity) < 0) {
		free(s);
		return; /* The next look tries again. */
	}
	s->k = k;
	s->work.data = s;
	k->renewing = true;
	keeper_begin(k);
	if (uv_queue_work(k->loop, &s->work, saving_work, saving_done) < 0) {
		saving_done(&s->work, -ENOMEM);
	}
}

/* Trust what the catalogue trusts, at once; the disk follows. */
static void bundle_take(struct look *l)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer bundle = { 0 };
	struct et_keeper *k = l->k;
	struct et_identity *id = &k->identity;
	struct et_error why = { 0 };

	cluster_bundle(l->cluster, &bundle);
	if (bundle.failed || bundle.size == 0) {
		return;
	}
	if (bundle.size == id->ca.size && memcmp(bundle.data, id->ca.data, bundle.size) == 0) {
		if (!k->bundle_saved) {
			bundle_save(k);
		}
		return;
	}
	keks_vouch(l);
	struct et_buffer before = id->ca;
	id->ca = bundle;
	int rc = et_tls_set_identity(k->tls, id, &why);
	if (rc < 0) {
		id->ca = before;
		et_err("keeper.ca", "step=trust error=\"%s\"", why.text);
		return;
	}
	bundle = before;
	et_info("keeper.ca", "trusted=%zu issuer=%u", l->cluster->n_ca_certs, l->issues);
	et_tls_recheck(k->tls);
	if (k->on_identity != NULL) {
		k->on_identity(k->arg, id);
	}
	k->bundle_saved = false;
	bundle_save(k);
}

/* true: it is being said. */
static bool report(struct look *l)
{
	Et__CaReport body = ET__CA_REPORT__INIT;
	Et__Command command = ET__COMMAND__INIT;

	if (l->ring->phase != ET__CA_PHASE__CA_TRUST || !l->k->bundle_saved ||
	    l->self->ca_trusted == l->ring->to) {
		return false;
	}
	body.trusted = l->ring->to;
	command.body_case = ET__COMMAND__BODY_CA_REPORT;
	command.ca_report = &body;
	rotate_propose(l->k, &command, "the CAs that this node trusts", NULL);
	return true;
}

/* ---- A new CA ---- */

static int make_grant(void *arg, const Et__Node *n)
{
	struct look *l = arg;
	const uint8_t *key = seal_key_of(n, l->active);

	if (!node_is_vault(n) || key == NULL || l->grants.count == SECRETS_MAX) {
		return 0;
	}
	int rc = grant_make(l->name, l->secret, n->id, key, &l->grants.grants[l->grants.count],
			    NULL);
	l->grants.count += rc == 0;
	return rc;
}

static void propose_step(struct look *l, Et__CaStep *step)
{
	Et__Command command = ET__COMMAND__INIT;

	step->expect = l->ring->phase;
	step->number = l->ring->to;
	command.body_case = ET__COMMAND__BODY_CA_STEP;
	command.ca_step = step;
	rotate_propose(l->k, &command, l->ring->reason, NULL);
}

static void make_ca(struct look *l)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *key = NULL;
	ET_CLEANUP(et_buffer_releasep) struct et_buffer cert = { 0 };
	Et__CaStep step = ET__CA_STEP__INIT;
	char name[SECRET_NAME_BYTES];
	struct et_error e = { 0 };

	et_state_ca_secret(l->ring->to, name);
	int rc = et_ca_make(l->k->identity.cluster, &key, &cert, &e);
	l->name = name;
	l->secret = key;
	rc = rc < 0 ? rc : et_state_each_node(l->v, make_grant, l);
	if (rc < 0) {
		et_warn("keeper.ca", "step=make code=%s why=\"%s\"", et_errname(rc), e.text);
		return;
	}
	step.certificate = (ProtobufCBinaryData){ cert.size, cert.data };
	step.n_grants = l->grants.count;
	step.grants = l->grants.grants;
	et_info("keeper.ca", "step=make ca=%u grants=%zu", l->ring->to, l->grants.count);
	propose_step(l, &step);
}

/* ---- KEK versions under the CA that issues ---- */

struct signing {
	struct look *l;
	const struct et_secret *key;
	Et__KekSignature keks[SECRETS_MAX];
	Et__KekSignature *list[SECRETS_MAX];
	struct et_buffer signatures[SECRETS_MAX]; /* owned */
	size_t count;
};

static int kek_is_foreign(void *arg, const Et__Kek *kek)
{
	const struct look *l = arg;

	return kek->state != ET__KEK_STATE__KEK_DESTROYED && kek->public_key.len == 32 &&
	       (kek->ca != 0 ? kek->ca : 1) != l->issues && kek_is_vouched(l->k, kek);
}

static int signing_kek(void *arg, const Et__Kek *kek)
{
	struct signing *s = arg;
	uint8_t bytes[KEK_SIGNED_BYTES];

	if (s->count == SECRETS_MAX || kek_is_foreign(s->l, kek) == 0) {
		return 0;
	}
	struct et_buffer *signature = &s->signatures[s->count];
	kek_signed_bytes(kek->version, kek->public_key.data, bytes);
	int rc = et_ca_sign(s->key, (struct et_view){ bytes, sizeof(bytes) }, signature);
	if (rc == 0) {
		Et__KekSignature *k = &s->keks[s->count];
		et__kek_signature__init(k);
		k->version = kek->version;
		k->signature = (ProtobufCBinaryData){ signature->size, signature->data };
		s->list[s->count++] = k;
	}
	return rc;
}

static void sign_keks(struct look *l)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *key = NULL;
	struct signing *s = calloc(1, sizeof(*s));
	Et__CaSign body = ET__CA_SIGN__INIT;
	Et__Command command = ET__COMMAND__INIT;
	char name[SECRET_NAME_BYTES];
	struct et_error e = { 0 };

	et_assert(s != NULL);
	et_state_ca_secret(l->issues, name);
	int rc = secret_open(l->v, name, l->k->identity.node, &l->k->keys, &key, &e);
	s->l = l;
	s->key = key;
	rc = rc < 0 ? rc : et_state_each_kek(l->v, signing_kek, s);
	if (rc == 0) {
		body.number = l->issues;
		body.n_keks = s->count;
		body.keks = s->list;
		command.body_case = ET__COMMAND__BODY_CA_SIGN;
		command.ca_sign = &body;
		rotate_propose(l->k, &command, "KEK versions under the CA that issues", NULL);
	} else {
		et_warn("keeper.ca", "step=sign code=%s why=\"%s\"", et_errname(rc), e.text);
	}
	for (size_t i = 0; i < SECRETS_MAX; i++) {
		et_buffer_release(&s->signatures[i]);
	}
	free(s);
}

/* ---- Which step is due ---- */

enum due { DUE_NONE, DUE_SIGN, DUE_STEP };

static int await_any(void *arg, enum et_state_ca_await await, uint64_t number)
{
	const struct look *l = arg;
	bool away = await == ET_CA_AWAIT_TRUST || await == ET_CA_AWAIT_CERTIFICATE;

	(void)number;
	if (await == ET_CA_AWAIT_MAKE ||
	    (away && l->ring->finish && keeper_now_us(l->k) - l->ring->changed_us >= FINISH_US)) {
		return 0;
	}
	return 1;
}

static enum due step_due(struct look *l)
{
	if (et_state_each_kek(l->v, kek_is_foreign, l) == 1) {
		return DUE_SIGN;
	}
	return l->ring->phase != ET__CA_PHASE__CA_SETTLED &&
			       et_state_each_ca_await(l->v, l->ring, await_any, l) == 0
		       ? DUE_STEP
		       : DUE_NONE;
}

/* Is it this node's turn? */
static bool step_is_mine(struct look *l, enum due due)
{
	struct et_keeper *k = l->k;
	int64_t now_us = et_clock_mono_us();

	if (k->ca_due.what != (unsigned)due || k->ca_due.phase != (unsigned)l->ring->phase ||
	    k->ca_due.number != l->ring->to) {
		k->ca_due.what = due;
		k->ca_due.phase = l->ring->phase;
		k->ca_due.number = l->ring->to;
		k->ca_due.since_us = now_us;
	}
	return now_us - k->ca_due.since_us >= (int64_t)l->ahead * STEP_IN_US;
}

static void ca_step(struct look *l)
{
	Et__CaStep step = ET__CA_STEP__INIT;
	enum due due = step_due(l);

	if (due == DUE_NONE || !step_is_mine(l, due)) {
		return;
	}
	if (due == DUE_SIGN) {
		sign_keks(l);
	} else if (l->ring->phase == ET__CA_PHASE__CA_WANTED) {
		make_ca(l);
	} else {
		propose_step(l, &step);
	}
}

void ca_round(struct et_keeper *k)
{
	struct look l;

	if (k->stopping || look_open(k, &l) < 0) {
		return;
	}
	if (rotate_is_current(k)) {
		bundle_take(&l);
		if (!k->rotation.proposing && !report(&l) && l.holds) {
			ca_step(&l);
		}
	}
	look_close(&l);
}

bool ca_wants_renewal(struct et_keeper *k, const struct et_state_view *v)
{
	struct et_tls_counts counts;
	Et__Cluster *cluster = NULL;
	bool wants = false;

	if (k->rotation.current && et_state_get_cluster(v, &cluster) == 0) {
		wants = cluster->n_ca_certs > 0 &&
			!et_cert_is_of(view_of(&k->identity.cert),
				       (struct et_view){ cluster->ca_certs[0].data,
							 cluster->ca_certs[0].len });
		et__cluster__free_unpacked(cluster, NULL);
	}
	/* Somebody has a newer certificate than this node, of a CA that it does not know. */
	et_tls_counts(k->tls, &counts);
	return wants || counts.unchained_newest_us > k->not_before_us;
}

static void on_look(void *arg)
{
	struct et_keeper *k = arg;

	k->ca_looking = false;
	ca_round(k);
	renew_round(k);
}

void ca_look(struct et_keeper *k)
{
	if (!k->ca_looking && !k->stopping) {
		k->ca_looking = true;
		keeper_defer(k, on_look, k);
	}
}
