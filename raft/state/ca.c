/* The life of CAs. At most two are trusted at a time; the first of Cluster.ca_certs issues.
 *
 *   SETTLED ─▶ WANTED ─▶ TRUST ─▶ ISSUE ─▶ SETTLED
 *      ▲          │         │     │  ▲
 *      └──abort───┴──abort──┘     └──┘ abort: the two change places
 *
 *   WANTED ─▶ TRUST    a vault node made the new one; vault nodes hold its key
 *   TRUST  ─▶ ISSUE    every member has said that it trusts the new one: it issues from now on
 *   ISSUE  ─▶ SETTLED  every member's certificate and every living KEK version is of the one that
 *                      issues: the other one leaves trust, and its key goes
 *
 * Forced (a vault node was stolen, and the CA's key with it): WANTED ─▶ ISSUE, and what was trusted
 * before leaves at once; members know each other by their recorded keys meanwhile (node/keeper).
 * With `finish` members that are away are not waited for. A number is never used again, so that
 * what a member said of an aborted CA does not count for the next. Join tokens name the CA that
 * issues: those that are open are revoked whenever that changes. */
#include <stdio.h>

#include "raft/state/state_internal.h"

#define CAS_MAX 2

const char *et_state_ca_phase(int phase)
{
	static const char *const names[] = { "settled", "wanted", "trust", "issue" };

	return phase >= 0 && (size_t)phase < ET_ARRAY_SIZE(names) ? names[phase] : "unknown";
}

const char *et_state_ca_ask(int ask)
{
	static const char *const names[] = { "start", "abort", "finish" };

	return ask >= 0 && (size_t)ask < ET_ARRAY_SIZE(names) ? names[ask] : "unknown";
}

void et_state_ca_secret(uint32_t number, char ret[ET_STATE_CA_SECRET_SIZE])
{
	if (number <= 1) {
		(void)snprintf(ret, ET_STATE_CA_SECRET_SIZE, "ca");
	} else {
		(void)snprintf(ret, ET_STATE_CA_SECRET_SIZE, "ca:%u", (unsigned)number);
	}
}

static uint32_t number_of(uint32_t told)
{
	return told != 0 ? told : 1;
}

uint32_t et_state_ca_number(const Et__Cluster *c, size_t at)
{
	return at == 0 ? number_of(c->ca_first) : at == 1 && c->n_ca_certs == 2 ? c->ca_second : 0;
}

static bool ca_is_trusted(const Et__Cluster *c, uint32_t number)
{
	return number == et_state_ca_number(c, 0) || number == et_state_ca_number(c, 1);
}

int et_state_get_ca_ring(const struct et_state_view *v, Et__CaRing **ret)
{
	struct key key = key_meta("ca-ring");

	int rc = view_get_message(v, CF_META, &key, &et__ca_ring__descriptor, ret);
	if (rc == ET_ENOTFOUND) { /* the CA is still the first one */
		*ret = et__ca_ring__unpack(NULL, 0, NULL);
		rc = *ret != NULL ? 0 : -ENOMEM;
	}
	return rc;
}

static int ring_put(struct apply *a, Et__CaRing *ring)
{
	struct key key = key_meta("ca-ring");

	ring->changed_us = apply_time(a);
	return state_put_message(a->s, CF_META, &key, ring);
}

/* `reason` is not the ring's to free. */
static int ring_put_reason(struct apply *a, Et__CaRing *ring, char *reason)
{
	char *own = ring->reason;

	ring->reason = reason;
	int rc = ring_put(a, ring);
	ring->reason = own;
	return rc;
}

/* Of a certificate that comes in, or a signature. */
int ca_welcome(struct apply *a, uint32_t told)
{
	if (ca_is_trusted(a->s->cluster, number_of(told))) {
		return 0;
	}
	return refuse(a, ET_ESTALE, "it is of CA %u, which is not trusted", number_of(told));
}

/* Is `secret` the key of a CA that lives, or is being made? */
int ca_secret_check(struct apply *a, const char *secret, bool *ret)
{
	ET_CLEANUP(message_freep) Et__CaRing *ring = NULL;
	char name[ET_STATE_CA_SECRET_SIZE];

	*ret = false;
	int rc = et_state_get_ca_ring(a->v, &ring);
	for (size_t i = 0; i < CAS_MAX && rc == 0 && !*ret && a->s->cluster != NULL; i++) {
		uint32_t number = et_state_ca_number(a->s->cluster, i);
		et_state_ca_secret(number, name);
		*ret = number != 0 && strcmp(secret, name) == 0;
	}
	if (rc == 0 && !*ret && ring->phase == ET__CA_PHASE__CA_WANTED) {
		et_state_ca_secret(ring->to, name);
		*ret = strcmp(secret, name) == 0;
	}
	*ret |= a->s->cluster == NULL && strcmp(secret, "ca") == 0; /* the first command */
	return rc;
}

/* ---- What a phase waits for ---- */

struct await_search {
	const struct et_state_view *v;
	const Et__CaRing *ring;
	char secret[ET_STATE_CA_SECRET_SIZE];
	unsigned vaults;
	unsigned holders;
	et_state_ca_await_fn fn;
	void *arg;
};

static int await_holder(void *arg, const void *message)
{
	struct await_search *s = arg;
	const Et__Node *n = message;

	if (node_is_member(n) && node_has_role(n, "vault")) {
		s->vaults++;
		s->holders += et_state_has_grant(s->v, s->secret, n->id);
	}
	return 0;
}

/* A spare hears nothing: it has its certificate renewed when that is due, and by its recorded key.
 */
static bool node_is_awaited(const Et__Node *n)
{
	return node_is_member(n) && !node_has_role(n, "spare");
}

static int await_trust(void *arg, const void *message)
{
	struct await_search *s = arg;
	const Et__Node *n = message;

	return node_is_awaited(n) && n->ca_trusted != s->ring->to
		       ? s->fn(s->arg, ET_CA_AWAIT_TRUST, n->id)
		       : 0;
}

static int await_certificate(void *arg, const void *message)
{
	ET_CLEANUP(message_freep) Et__Certificate *c = NULL;
	struct await_search *s = arg;
	const Et__Node *n = message;

	if (!node_is_awaited(n)) {
		return 0;
	}
	int rc = et_state_get_certificate(s->v, n->id, &c);
	if (rc < 0 && rc != ET_ENOTFOUND) {
		return rc;
	}
	return rc == 0 && number_of(c->ca) == s->ring->to
		       ? 0
		       : s->fn(s->arg, ET_CA_AWAIT_CERTIFICATE, n->id);
}

static int await_kek(void *arg, const void *message)
{
	struct await_search *s = arg;
	const Et__Kek *kek = message;

	return kek->state != ET__KEK_STATE__KEK_DESTROYED && number_of(kek->ca) != s->ring->to
		       ? s->fn(s->arg, ET_CA_AWAIT_KEK, kek->version)
		       : 0;
}

int et_state_each_ca_await(const struct et_state_view *v, const Et__CaRing *ring,
			   et_state_ca_await_fn fn, void *arg)
{
	struct await_search s = { .v = v, .ring = ring, .fn = fn, .arg = arg };
	struct key all = { 0 };

	if (ring->phase == ET__CA_PHASE__CA_SETTLED) {
		return 0;
	}
	if (ring->phase == ET__CA_PHASE__CA_WANTED) {
		return fn(arg, ET_CA_AWAIT_MAKE, 0);
	}
	et_state_ca_secret(ring->to, s.secret);
	int rc = view_walk_messages(v, CF_NODE, &all, &et__node__descriptor, await_holder, &s);
	if (rc == 0 && (s.holders == 0 || (s.holders < 2 && s.holders < s.vaults))) {
		rc = fn(arg, ET_CA_AWAIT_HOLDERS, s.holders);
	}
	if (rc == 0 && ring->phase == ET__CA_PHASE__CA_TRUST) {
		return view_walk_messages(v, CF_NODE, &all, &et__node__descriptor, await_trust, &s);
	}
	rc = rc == 0 ? view_walk_messages(v, CF_KEK, &all, &et__kek__descriptor, await_kek, &s)
		     : rc;
	return rc == 0 ? view_walk_messages(v, CF_NODE, &all, &et__node__descriptor,
					    await_certificate, &s)
		       : rc;
}

struct awaited {
	struct apply *a;
	bool finish;
};

static int await_refuse(void *arg, enum et_state_ca_await await, uint64_t number)
{
	const struct awaited *w = arg;
	unsigned long long n = number;

	switch (await) {
	case ET_CA_AWAIT_MAKE:
		return 0; /* This is the step that makes it. */
	case ET_CA_AWAIT_HOLDERS:
		return refuse(w->a, ET_EPOLICY,
			      "%llu vault nodes hold its key: two must, or all that there are", n);
	case ET_CA_AWAIT_TRUST:
		return w->finish ? 0
				 : refuse(w->a, ET_EPOLICY,
					  "node %llu has not said that it trusts the new CA", n);
	case ET_CA_AWAIT_CERTIFICATE:
		return w->finish ? 0
				 : refuse(w->a, ET_EPOLICY,
					  "node %llu has no certificate of the CA that stays", n);
	case ET_CA_AWAIT_KEK:
		return refuse(w->a, ET_EPOLICY,
			      "KEK version %llu is not signed by the CA that stays", n);
	}
	return ET_ECORRUPT;
}

/* ---- What changes with the CA that issues ---- */

static int tokens_close(struct apply *a)
{
	ET_CLEANUP(found_release) struct found f = { .d = &et__token__descriptor };

	int rc = found_all(a, CF_TOKEN, &f);
	for (size_t i = 0; i < f.count && rc == 0; i++) {
		Et__Token after = *(const Et__Token *)f.list[i];
		struct key key = key_of(after.id.data, 16);
		if (strcmp(after.kind, "join") == 0 && !after.revoked && after.uses_left > 0) {
			after.revoked = true;
			rc = state_put_message(a->s, CF_TOKEN, &key, &after);
		}
	}
	return rc;
}

static int escrow_void(struct apply *a)
{
	ET_CLEANUP(found_release) struct found f = { .d = &et__kek__descriptor };

	int rc = found_all(a, CF_KEK, &f);
	for (size_t i = 0; i < f.count && rc == 0; i++) {
		Et__Kek after = *(const Et__Kek *)f.list[i];
		if (after.state == ET__KEK_STATE__KEK_ACTIVE) {
			after.escrow_threshold = after.escrow_shares = 0;
			after.escrow_us = 0;
			rc = kek_put(a, &after);
		}
	}
	return rc;
}

/* Open join tokens name another CA, and escrow shares hold another CA's key. */
static int issuer_changed(struct apply *a)
{
	int rc = tokens_close(a);

	return rc < 0 ? rc : escrow_void(a);
}

struct ca {
	uint32_t number;
	ProtobufCBinaryData certificate; /* a view */
};

static int cas_put(struct apply *a, const struct ca *cas, size_t count)
{
	Et__Cluster after = *a->s->cluster;
	ProtobufCBinaryData certificates[CAS_MAX];

	for (size_t i = 0; i < count; i++) {
		certificates[i] = cas[i].certificate;
	}
	after.ca_certs = certificates;
	after.n_ca_certs = count;
	after.ca_first = cas[0].number;
	after.ca_second = count == 2 ? cas[1].number : 0;
	return cluster_put(a, &after);
}

/* The CAs as they are; false: not as many as `count`. */
static bool cas_get(const struct apply *a, struct ca cas[CAS_MAX], size_t count)
{
	const Et__Cluster *c = a->s->cluster;

	for (size_t i = 0; i < count && i < c->n_ca_certs; i++) {
		cas[i] = (struct ca){ et_state_ca_number(c, i), c->ca_certs[i] };
	}
	return c->n_ca_certs == count;
}

static int ca_key_drop(struct apply *a, uint32_t number)
{
	char secret[ET_STATE_CA_SECRET_SIZE];

	et_state_ca_secret(number, secret);
	return grants_drop(a, secret, 0);
}

/* The two change places: the other one issues. */
static int cas_swap(struct apply *a)
{
	struct ca cas[CAS_MAX];

	if (!cas_get(a, cas, 2)) {
		return ET_ECORRUPT;
	}
	const struct ca swapped[CAS_MAX] = { cas[1], cas[0] };
	int rc = issuer_changed(a);
	return rc < 0 ? rc : cas_put(a, swapped, 2);
}

/* The CA of this number leaves trust, and its key goes. */
static int ca_leave(struct apply *a, uint32_t number)
{
	struct ca cas[CAS_MAX];

	if (!cas_get(a, cas, 2)) {
		return a->s->cluster->n_ca_certs == 1 ? 0 : ET_ECORRUPT; /* it has left: forced */
	}
	int rc = ca_key_drop(a, number);
	return rc < 0 ? rc : cas_put(a, cas[0].number == number ? &cas[1] : &cas[0], 1);
}

/* ---- CaRotate ---- */

static int rotate_start(struct apply *a, Et__CaRing *ring)
{
	uint32_t newest = number_of(ring->newest);

	if (ring->phase != ET__CA_PHASE__CA_SETTLED) {
		a->o->result.number = ring->to;
		return refuse(a, ET_EEXISTS, "a rotation to CA %u is under way", ring->to);
	}
	if (a->c->ca_rotate->expect_newest != 0 && a->c->ca_rotate->expect_newest != newest) {
		return refuse(a, ET_ESTALE, "the newest CA is %u", newest);
	}
	if (a->s->cluster->n_ca_certs != 1) {
		return refuse(a, ET_EREFUSED, "the cluster has no CA");
	}
	ring->newest = ring->to = newest + 1;
	ring->from = et_state_ca_number(a->s->cluster, 0);
	ring->phase = ET__CA_PHASE__CA_WANTED;
	ring->forced = ring->finish = ring->aborted = false;
	ring->begun_us = apply_time(a);
	return ring_put_reason(a, ring, a->c->reason);
}

static int rotate_abort(struct apply *a, Et__CaRing *ring)
{
	int rc = 0;

	if (ring->forced) {
		return refuse(a, ET_EPOLICY, "the CA's key was stolen: there is no way back to it");
	}
	if (ring->aborted && ring->phase == ET__CA_PHASE__CA_ISSUE) {
		return refuse(a, ET_EEXISTS, "CA %u is on its way out", ring->from);
	}
	if (ring->phase == ET__CA_PHASE__CA_ISSUE) { /* some have certificates of it */
		uint32_t to = ring->to;
		ring->to = ring->from;
		ring->from = to;
		ring->finish = false;
		rc = cas_swap(a);
	} else {
		rc = ring->phase == ET__CA_PHASE__CA_TRUST ? ca_leave(a, ring->to) : 0;
		ring->phase = ET__CA_PHASE__CA_SETTLED;
	}
	ring->aborted = true;
	return rc < 0 ? rc : ring_put_reason(a, ring, a->c->reason);
}

int apply_ca_rotate(struct apply *a)
{
	const Et__CaRotate *told = a->c->ca_rotate;
	ET_CLEANUP(message_freep) Et__CaRing *ring = NULL;

	int rc = et_state_get_ca_ring(a->v, &ring);
	if (rc < 0) {
		return rc;
	}
	if (told->ask == ET__CA_ASK__CA_START) {
		rc = rotate_start(a, ring);
	} else if (ring->phase == ET__CA_PHASE__CA_SETTLED) {
		return refuse(a, ET_ESTALE, "no rotation of the CA is under way");
	} else if (told->ask == ET__CA_ASK__CA_ABORT) {
		rc = rotate_abort(a, ring);
	} else if (told->ask == ET__CA_ASK__CA_FINISH) {
		ring->finish = true;
		rc = ring_put(a, ring);
	} else {
		return refuse(a, ET_EREFUSED, "that is nothing to ask of a CA");
	}
	a->o->result.number = rc == 0 ? ring->to : a->o->result.number;
	return rc;
}

/* A vault node that knew the CA's key was stolen: another CA, and no trust in those before. */
int ca_force(struct apply *a)
{
	ET_CLEANUP(message_freep) Et__CaRing *ring = NULL;

	int rc = et_state_get_ca_ring(a->v, &ring);
	if (rc < 0 || a->s->cluster->n_ca_certs == 0 ||
	    (ring->forced && ring->phase == ET__CA_PHASE__CA_WANTED)) {
		return rc;
	}
	ring->newest = ring->to = number_of(ring->newest) + 1;
	ring->from = et_state_ca_number(a->s->cluster, 0);
	ring->phase = ET__CA_PHASE__CA_WANTED;
	ring->forced = true;
	ring->finish = ring->aborted = false;
	ring->begun_us = apply_time(a);
	return ring_put_reason(a, ring, a->c->reason);
}

/* ---- CaStep ---- */

static int step_make(struct apply *a, Et__CaRing *ring)
{
	const Et__CaStep *told = a->c->ca_step;
	const struct ca made = { ring->to, told->certificate };
	char secret[ET_STATE_CA_SECRET_SIZE];
	struct ca cas[CAS_MAX];

	et_state_ca_secret(ring->to, secret);
	if (told->certificate.len == 0 || told->n_grants == 0) {
		return refuse(a, ET_EREFUSED,
			      "a new CA needs its certificate, and who holds its key");
	}
	for (size_t i = 0; i < told->n_grants; i++) {
		if (strcmp(told->grants[i]->secret, secret) != 0) {
			return refuse(a, ET_EREFUSED, "'%.32s' is not the key of CA %u",
				      told->grants[i]->secret, ring->to);
		}
	}
	int rc = grants_check(a, told->grants, told->n_grants, NULL);
	if (rc < 0) {
		return rc;
	}
	if (ring->forced) {
		for (size_t i = 0; i < CAS_MAX && rc == 0; i++) {
			uint32_t number = et_state_ca_number(a->s->cluster, i);
			rc = number != 0 ? ca_key_drop(a, number) : 0;
		}
		rc = rc < 0 ? rc : issuer_changed(a);
		rc = rc < 0 ? rc : cas_put(a, &made, 1);
		ring->phase = ET__CA_PHASE__CA_ISSUE;
	} else if (!cas_get(a, cas, 1)) {
		return ET_ECORRUPT;
	} else {
		cas[1] = made;
		rc = cas_put(a, cas, 2);
		ring->phase = ET__CA_PHASE__CA_TRUST;
	}
	return rc < 0 ? rc : grants_put(a, told->grants, told->n_grants);
}

int apply_ca_step(struct apply *a)
{
	const Et__CaStep *told = a->c->ca_step;
	ET_CLEANUP(message_freep) Et__CaRing *ring = NULL;

	a->o->result.number = told->number;
	int rc = et_state_get_ca_ring(a->v, &ring);
	if (rc < 0) {
		return rc;
	}
	if (ring->phase == ET__CA_PHASE__CA_SETTLED || ring->phase != told->expect ||
	    ring->to != told->number) {
		return refuse(a, ET_ESTALE, "the rotation is to CA %u, in phase %s", ring->to,
			      et_state_ca_phase((int)ring->phase));
	}
	struct awaited w = { a, ring->finish };
	rc = et_state_each_ca_await(a->v, ring, await_refuse, &w);
	if (rc < 0) {
		return rc;
	}
	switch ((int)ring->phase) {
	case ET__CA_PHASE__CA_WANTED:
		rc = step_make(a, ring);
		break;
	case ET__CA_PHASE__CA_TRUST:
		rc = cas_swap(a);
		ring->phase = ET__CA_PHASE__CA_ISSUE;
		break;
	default:
		rc = ca_leave(a, ring->from);
		ring->phase = ET__CA_PHASE__CA_SETTLED;
		break;
	}
	return rc < 0 ? rc : ring_put(a, ring);
}

/* ---- CaReport, CaSign ---- */

int apply_ca_report(struct apply *a)
{
	ET_CLEANUP(message_freep) Et__Node *known = NULL;

	int rc = apply_member(a, a->c->op->node, &known);
	rc = rc < 0 ? rc : ca_welcome(a, a->c->ca_report->trusted);
	if (rc < 0) {
		return rc;
	}
	Et__Node after = *known;
	after.ca_trusted = a->c->ca_report->trusted;
	a->o->result.number = known->id;
	return node_put(a, &after);
}

int apply_ca_sign(struct apply *a)
{
	const Et__CaSign *told = a->c->ca_sign;

	a->o->result.number = told->number;
	if (told->number != et_state_ca_number(a->s->cluster, 0)) {
		return refuse(a, ET_ESTALE, "CA %u issues", et_state_ca_number(a->s->cluster, 0));
	}
	for (size_t i = 0; i < told->n_keks; i++) {
		ET_CLEANUP(message_freep) Et__Kek *known = NULL;
		int rc = et_state_get_kek(a->v, told->keks[i]->version, &known);
		if (rc == ET_ENOTFOUND) {
			return refuse(a, ET_ENOTFOUND, "KEK version %u is not known",
				      told->keks[i]->version);
		}
		if (rc < 0) {
			return rc;
		}
		Et__Kek after = *known;
		after.signature = told->keks[i]->signature;
		after.ca = told->number;
		rc = kek_put(a, &after);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

/* ---- Restore ---- */

/* The node that restores goes on with the CA whose key it has: no rotation is under way then. */
int ca_restore(struct apply *a, Et__Grant *const *grants, size_t count, Et__Cluster *after)
{
	ET_CLEANUP(message_freep) Et__CaRing *ring = NULL;
	char secret[ET_STATE_CA_SECRET_SIZE];

	int rc = et_state_get_ca_ring(a->v, &ring);
	if (rc < 0) {
		return rc;
	}
	et_state_ca_secret(et_state_ca_number(a->s->cluster, 0), secret);
	bool holds = a->s->cluster->n_ca_certs == 0;
	for (size_t i = 0; i < count; i++) {
		holds |= strcmp(grants[i]->secret, secret) == 0;
	}
	if (!holds) {
		return refuse(a, ET_EREFUSED, "it needs the key of CA %u, the one that issues",
			      et_state_ca_number(a->s->cluster, 0));
	}
	if (after->n_ca_certs > 1) {
		after->n_ca_certs = 1;
		after->ca_second = 0;
	}
	if (ring->phase == ET__CA_PHASE__CA_SETTLED) {
		return 0;
	}
	ring->phase = ET__CA_PHASE__CA_SETTLED;
	ring->aborted = true;
	return ring_put(a, ring);
}
