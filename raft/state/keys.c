/* The life of KEK versions.
 *
 *   PENDING ──▶ ACTIVE (one) ──▶ DECRYPT_ONLY ──▶ DESTROY_SCHEDULED ──▶ DESTROYED
 *      │                            │     ▲              │  ▲               ▲
 *      │                            │     └──────────────┘  │               │
 *      │                            └────▶ COMPROMISED ─────┘               │
 *      └────────────────────────────────────────────────────────────────────┘
 *
 * Only ACTIVE makes another version DECRYPT_ONLY; what was compromised never becomes DECRYPT_ONLY
 * again. A version is destroyed when nothing needs it any more (et_state_each_await() says what
 * does): no wrapped DEK is on it, its time has come, every member that may seal has applied a newer
 * one and committed its journal of this one, and what opens its grants opens nothing else. Its
 * grants go then, and each vault node wipes the key that they were sealed to. */
#include <stdio.h>

#include "raft/command/schema.h"
#include "raft/state/state_internal.h"

#define SECRET_SIZE 80
#define LIVING_MAX 48 /* KEK versions at a time: a node's key folder holds 64 */
#define SECOND_US INT64_C(1000000)
#define SPAN_MAX_US (INT64_C(3660) * 86400 * SECOND_US) /* ten years */
#define RATE_MAX 1000000

static const char *const state_names[] = { "pending",		"active",
					   "decrypt-only",	"compromised",
					   "destroy-scheduled", "destroyed" };

const char *et_state_kek_state(int state)
{
	return state >= 0 && (size_t)state < ET_ARRAY_SIZE(state_names) ? state_names[state]
									: "unknown";
}

int kek_put(struct apply *a, const Et__Kek *kek)
{
	struct key key = key_u32(kek->version);

	return state_put_message(a->s, CF_KEK, &key, kek);
}

/* ---- The ring ---- */

int et_state_get_key_ring(const struct et_state_view *v, Et__KeyRing **ret)
{
	struct key key = key_meta("key-ring");

	int rc = view_get_message(v, CF_META, &key, &et__key_ring__descriptor, ret);
	if (rc == ET_ENOTFOUND) { /* the defaults */
		*ret = et__key_ring__unpack(NULL, 0, NULL);
		rc = *ret != NULL ? 0 : -ENOMEM;
	}
	return rc;
}

static int ring_put(struct apply *a, const Et__KeyRing *ring)
{
	struct key key = key_meta("key-ring");

	return state_put_message(a->s, CF_META, &key, ring);
}

struct versions {
	uint32_t newest;
	uint32_t active;
	uint32_t pending;
	uint32_t living;
};

static int versions_each(void *arg, const void *message)
{
	struct versions *s = arg;
	const Et__Kek *k = message;

	s->newest = k->version;
	s->living += k->state != ET__KEK_STATE__KEK_DESTROYED;
	if (k->state == ET__KEK_STATE__KEK_ACTIVE) {
		s->active = k->version;
	}
	if (k->state == ET__KEK_STATE__KEK_PENDING) {
		s->pending = k->version;
	}
	return 0;
}

static int versions_look(const struct et_state_view *v, struct versions *ret)
{
	struct key all = { 0 };

	*ret = (struct versions){ 0 };
	return view_walk_messages(v, CF_KEK, &all, &et__kek__descriptor, versions_each, ret);
}

/* A grant, a version or a wrap that nobody can open destroys what is under it, without asking holds
 * or retention; apply cannot tell. So they are taken of those only who can open what they replace.
 */
int vault_speaks(struct apply *a)
{
	const Et__Node *node = NULL;

	if (!schema_has(a, ET_SCHEMA_KEYS_OF_VAULTS)) {
		return 0;
	}
	int rc = apply_node(a, a->c->op->node, &node);
	return rc < 0 || node_has_role(node, "vault")
		       ? rc
		       : refuse(a, ET_EDENIED, "node %llu is no vault: it has no key to give",
				(unsigned long long)a->c->op->node);
}

/* ---- A new version ---- */

static int kek_retire(struct apply *a, uint32_t version)
{
	ET_CLEANUP(message_freep) Et__Kek *active = NULL;

	int rc = version != 0 ? et_state_get_kek(a->v, version, &active) : ET_ENOTFOUND;
	if (rc < 0) {
		return rc == ET_ENOTFOUND ? 0 : rc;
	}
	active->state = active->compromised ? ET__KEK_STATE__KEK_COMPROMISED
					    : ET__KEK_STATE__KEK_DECRYPT_ONLY;
	active->retired_us = apply_time(a);
	rc = et_state_wraps(a->v, version, &active->rewrap_total);
	return rc < 0 ? rc : kek_put(a, active);
}

/* `kek` becomes the one that seals; *kek is changed. */
static int kek_activate(struct apply *a, Et__Kek *kek, uint32_t active)
{
	ET_CLEANUP(message_freep) Et__KeyRing *ring = NULL;

	int rc = kek_retire(a, active);
	kek->state = ET__KEK_STATE__KEK_ACTIVE;
	kek->activated_us = apply_time(a);
	rc = rc < 0 ? rc : kek_put(a, kek);
	rc = rc < 0 ? rc : et_state_get_key_ring(a->v, &ring);
	if (rc == 0 && ring->wanted != 0 && ring->wanted <= kek->version) {
		ring->wanted = 0;
		ring->wanted_us = 0;
		rc = ring_put(a, ring);
	}
	return rc;
}

int apply_kek_add(struct apply *a)
{
	const Et__KekAdd *add = a->c->kek_add;
	struct versions now;
	Et__Kek after = *add->kek;

	int rc = vault_speaks(a);
	rc = rc < 0 ? rc : versions_look(a->v, &now);
	if (rc < 0) {
		return rc;
	}
	if (after.version != now.newest + 1) {
		return refuse(a, ET_ESTALE, "the next KEK version is %u", now.newest + 1);
	}
	if (after.state != ET__KEK_STATE__KEK_PENDING && after.state != ET__KEK_STATE__KEK_ACTIVE) {
		return refuse(a, ET_EREFUSED, "a KEK begins pending or active");
	}
	if (now.pending != 0) { /* versions become active in their order: see Node.kek_drained */
		return refuse(a, ET_EEXISTS, "KEK version %u is pending", now.pending);
	}
	if (now.living >= LIVING_MAX) {
		return refuse(a, ET_EREFUSED, "%u KEK versions live: rewrap and destroy old ones",
			      now.living);
	}
	rc = grants_check_adding(a, add->grants, add->n_grants, NULL, after.version);
	rc = rc < 0 ? rc : ca_welcome(a, after.ca);
	if (rc < 0) {
		return rc;
	}
	after.activated_us = after.retired_us = after.destroy_us = after.destroyed_us = 0;
	after.rewrapped_us = after.escrow_us = 0;
	after.rewrap_total = after.rewrap_node = 0;
	after.compromised = false;
	a->o->result.number = after.version;
	rc = after.state == ET__KEK_STATE__KEK_ACTIVE ? kek_activate(a, &after, now.active)
						      : kek_put(a, &after);
	return rc < 0 ? rc : grants_put(a, add->grants, add->n_grants);
}

struct vaults {
	const struct et_state_view *v;
	const char *secret;
	unsigned members; /* vault nodes */
	unsigned holders; /* of them with a grant of the secret */
};

static int vaults_each(void *arg, const void *message)
{
	struct vaults *s = arg;
	const Et__Node *n = message;

	if (node_is_member(n) && node_has_role(n, "vault")) {
		s->members++;
		s->holders += et_state_has_grant(s->v, s->secret, n->id);
	}
	return 0;
}

static int vaults_count(struct apply *a, uint32_t version, struct vaults *ret)
{
	struct key all = { 0 };
	char secret[SECRET_SIZE];

	(void)snprintf(secret, sizeof(secret), "kek:%u", (unsigned)version);
	*ret = (struct vaults){ .v = a->v, .secret = secret };
	int rc = view_walk_messages(a->v, CF_NODE, &all, &et__node__descriptor, vaults_each, ret);
	ret->secret = NULL;
	return rc;
}

int apply_kek_rotate(struct apply *a)
{
	uint32_t expect = a->c->kek_rotate->expect_newest;
	ET_CLEANUP(message_freep) Et__KeyRing *ring = NULL;
	struct versions now;
	struct vaults vaults;

	int rc = versions_look(a->v, &now);
	rc = rc < 0 ? rc : et_state_get_key_ring(a->v, &ring);
	rc = rc < 0 ? rc : vaults_count(a, now.active, &vaults);
	if (rc < 0) {
		return rc;
	}
	if (expect != 0 && expect != now.newest) {
		return refuse(a, ET_ESTALE, "the newest KEK version is %u", now.newest);
	}
	if (ring->wanted != 0 || now.pending != 0) {
		a->o->result.number = ring->wanted != 0 ? ring->wanted : now.pending;
		return refuse(a, ET_EEXISTS, "a rotation to KEK version %u is under way",
			      (unsigned)a->o->result.number);
	}
	if (vaults.holders == 0) {
		return refuse(a, ET_EREFUSED, "no vault node holds the active KEK version");
	}
	if (now.living >= LIVING_MAX) {
		return refuse(a, ET_EREFUSED, "%u KEK versions live: rewrap and destroy old ones",
			      now.living);
	}
	ring->wanted = now.newest + 1;
	ring->wanted_us = apply_time(a);
	char *reason = ring->reason;
	ring->reason = a->c->reason;
	rc = ring_put(a, ring);
	ring->reason = reason;
	a->o->result.number = ring->wanted;
	return rc;
}

int apply_key_schedule(struct apply *a)
{
	const Et__KeySchedule *told = a->c->key_schedule;
	ET_CLEANUP(message_freep) Et__KeyRing *ring = NULL;

	if ((told->rotate_us > 0 && told->rotate_us < SECOND_US) || told->rotate_us > SPAN_MAX_US ||
	    told->destroy_after_us > SPAN_MAX_US || told->rewrap_rate > RATE_MAX) {
		return refuse(a, ET_EREFUSED,
			      "rotate after 1 s to 10 years, destroy after at most that, rewrap at "
			      "most %d a second",
			      RATE_MAX);
	}
	int rc = et_state_get_key_ring(a->v, &ring);
	if (rc < 0) {
		return rc;
	}
	ring->rotate_us = told->rotate_us != 0 ? told->rotate_us : ring->rotate_us;
	ring->destroy_after_us =
		told->destroy_after_us != 0 ? told->destroy_after_us : ring->destroy_after_us;
	ring->rewrap_rate = told->rewrap_rate != 0 ? told->rewrap_rate : ring->rewrap_rate;
	return ring_put(a, ring);
}

int64_t et_state_rotate_us(const Et__KeyRing *ring)
{
	return ring->rotate_us != 0 ? ring->rotate_us : 30 * 86400 * SECOND_US;
}

int64_t et_state_destroy_after_us(const Et__KeyRing *ring)
{
	int64_t told = ring->destroy_after_us;

	return told < 0 ? 0 : told > 0 ? told : 7 * 86400 * SECOND_US;
}

uint32_t et_state_rewrap_rate(const Et__KeyRing *ring)
{
	return ring->rewrap_rate != 0 ? ring->rewrap_rate : 2000;
}

/* ---- What a version still waits for before it can be destroyed ---- */

struct await_search {
	const struct et_state_view *v;
	uint32_t version;
	char secret[SECRET_SIZE];
	et_state_await_fn fn;
	void *arg;
	/* of the grants of one node */
	uint64_t node;
	const Et__Grant *own;
	bool shared;
};

static int await_shared(void *arg, const void *message)
{
	struct await_search *s = arg;
	const Et__Grant *g = message;

	s->shared |= g->node == s->node && strcmp(g->secret, s->secret) != 0 &&
		     g->seal_public.len == 32 && bytes_equal(g->seal_public, s->own->seal_public);
	return 0;
}

/* Who may hold something that was sealed to the version: every member but those without media and
 * journal. A spare hears nothing, so it says nothing either; with a recorder it is waited for all
 * the same. */
static bool node_may_seal(const Et__Node *n)
{
	return node_is_member(n) && !node_has_role(n, "witness") &&
	       (!node_has_role(n, "spare") || node_has_role(n, "capture"));
}

static int await_node(void *arg, const void *message)
{
	struct await_search *s = arg;
	const Et__Node *n = message;
	ET_CLEANUP(message_freep) Et__Grant *grant = NULL;
	struct key all = { 0 };
	int rc = 0;

	if (node_may_seal(n) && n->kek_drained <= s->version) {
		rc = s->fn(s->arg, ET_AWAIT_JOURNAL, n->id, 0);
	}
	if (rc != 0 || !node_is_member(n)) {
		return rc;
	}
	rc = et_state_get_grant(s->v, s->secret, n->id, &grant);
	if (rc < 0 || grant->seal_public.len != 32) {
		return rc == ET_ENOTFOUND ? 0 : rc;
	}
	s->node = n->id;
	s->own = grant;
	s->shared = false;
	rc = view_walk_messages(s->v, CF_GRANT, &all, &et__grant__descriptor, await_shared, s);
	return rc == 0 && s->shared ? s->fn(s->arg, ET_AWAIT_KEY, n->id, 0) : rc;
}

int et_state_each_await(const struct et_state_view *v, const Et__Kek *kek, et_state_await_fn fn,
			void *arg)
{
	struct await_search s = { .v = v, .version = kek->version, .fn = fn, .arg = arg };
	ET_CLEANUP(message_freep) Et__Cluster *cluster = NULL;
	struct key all = { 0 };
	uint64_t wraps = 0;

	(void)snprintf(s.secret, sizeof(s.secret), "kek:%u", (unsigned)kek->version);
	int rc = et_state_wraps(v, kek->version, &wraps);
	if (rc == 0 && wraps > 0) {
		rc = fn(arg, ET_AWAIT_WRAPS, 0, wraps);
	}
	rc = rc == 0 ? et_state_get_cluster(v, &cluster) : rc;
	if (rc == 0 && kek->destroy_us > cluster->cluster_time_us) {
		rc = fn(arg, ET_AWAIT_TIME, 0, (uint64_t)kek->destroy_us);
	}
	return rc == 0 ? view_walk_messages(v, CF_NODE, &all, &et__node__descriptor, await_node, &s)
		       : rc;
}

static int await_refuse(void *arg, enum et_state_await await, uint64_t node, uint64_t number)
{
	struct apply *a = arg;

	switch (await) {
	case ET_AWAIT_WRAPS:
		return refuse(a, ET_EPOLICY, "%llu wrapped keys of recordings are on it",
			      (unsigned long long)number);
	case ET_AWAIT_TIME:
		return refuse(a, ET_EPOLICY, "its time has not come");
	case ET_AWAIT_JOURNAL:
		return refuse(
			a, ET_EPOLICY,
			"node %llu has not said that it applied a newer version and committed "
			"its journal of this one",
			(unsigned long long)node);
	case ET_AWAIT_KEY:
		return refuse(a, ET_EPOLICY,
			      "what opens the grant of node %llu opens other grants too",
			      (unsigned long long)node);
	}
	return ET_ECORRUPT;
}

/* A wrap that comes in: nobody could ever open what is on a version that is destroyed. While a
 * wrap is on a version it is none of those, which spares looking. */
int wrap_welcome(struct apply *a, const Et__Wrap *wrap)
{
	ET_CLEANUP(message_freep) Et__Kek *kek = NULL;
	uint64_t wraps = 0;

	int rc = et_state_wraps(a->v, wrap->kek_version, &wraps);
	if (rc < 0 || wraps > 0) {
		return rc;
	}
	rc = et_state_get_kek(a->v, wrap->kek_version, &kek);
	if (rc == 0 && kek->state == ET__KEK_STATE__KEK_DESTROYED) {
		return refuse(a, ET_EREFUSED, "KEK version %u is destroyed: nobody can open this",
			      wrap->kek_version);
	}
	return rc == ET_ENOTFOUND ? 0 : rc;
}

/* ---- KekSet ---- */

#define TO(state) (1U << ET__KEK_STATE__KEK_##state)
static const unsigned moves[] = {
	[ET__KEK_STATE__KEK_PENDING] = TO(ACTIVE) | TO(DESTROYED),
	[ET__KEK_STATE__KEK_ACTIVE] = 0,
	[ET__KEK_STATE__KEK_DECRYPT_ONLY] = TO(COMPROMISED) | TO(DESTROY_SCHEDULED),
	[ET__KEK_STATE__KEK_COMPROMISED] = TO(DESTROY_SCHEDULED),
	[ET__KEK_STATE__KEK_DESTROY_SCHEDULED] = TO(DECRYPT_ONLY) | TO(COMPROMISED) | TO(DESTROYED),
	[ET__KEK_STATE__KEK_DESTROYED] = 0,
};

struct drop {
	const char *secret; /* NULL: any */
	uint64_t node;	    /* 0: any */
	struct key *keys;   /* owned */
	size_t count;
};

static int drop_each(void *arg, const void *message)
{
	struct drop *d = arg;
	const Et__Grant *g = message;

	if ((d->secret != NULL && strcmp(g->secret, d->secret) != 0) ||
	    (d->node != 0 && g->node != d->node)) {
		return 0;
	}
	struct key *keys = realloc(d->keys, (d->count + 1) * sizeof(*keys));
	if (keys == NULL) {
		return -ENOMEM;
	}
	d->keys = keys;
	d->keys[d->count++] = key_grant(g->secret, g->node);
	return 0;
}

int grants_drop(struct apply *a, const char *secret, uint64_t node)
{
	struct drop d = { .secret = secret, .node = node };
	struct key all = { 0 };

	int rc = view_walk_messages(a->v, CF_GRANT, &all, &et__grant__descriptor, drop_each, &d);
	for (size_t i = 0; i < d.count && rc == 0; i++) {
		state_delete(a->s, CF_GRANT, &d.keys[i]);
	}
	free(d.keys);
	return rc;
}

int grants_drop_node(struct apply *a, uint64_t node)
{
	return grants_drop(a, NULL, node);
}

static int set_active(struct apply *a, Et__Kek *kek)
{
	struct versions now;
	struct vaults vaults;

	int rc = versions_look(a->v, &now);
	rc = rc < 0 ? rc : vaults_count(a, kek->version, &vaults);
	if (rc < 0) {
		return rc;
	}
	if (vaults.holders == 0 || (vaults.holders < 2 && vaults.holders < vaults.members)) {
		return refuse(a, ET_EPOLICY,
			      "%u of %u vault nodes hold it: two must, or all that there are",
			      vaults.holders, vaults.members);
	}
	return kek_activate(a, kek, now.active);
}

static int set_scheduled(struct apply *a, Et__Kek *kek)
{
	ET_CLEANUP(message_freep) Et__KeyRing *ring = NULL;
	uint64_t wraps = 0;

	int rc = et_state_wraps(a->v, kek->version, &wraps);
	rc = rc < 0 ? rc : et_state_get_key_ring(a->v, &ring);
	if (rc < 0) {
		return rc;
	}
	if (wraps > 0) {
		return refuse(a, ET_EPOLICY, "%llu wrapped keys of recordings are on it",
			      (unsigned long long)wraps);
	}
	kek->destroy_us = apply_time(a) + et_state_destroy_after_us(ring);
	return kek_put(a, kek);
}

static int set_destroyed(struct apply *a, Et__Kek *kek, bool pending)
{
	ET_CLEANUP(message_freep) Et__KeyRing *ring = NULL;
	char secret[SECRET_SIZE];
	uint64_t wraps = 0;

	(void)snprintf(secret, sizeof(secret), "kek:%u", (unsigned)kek->version);
	int rc = et_state_wraps(a->v, kek->version, &wraps);
	if (rc == 0 && pending) { /* nobody was told to seal to it */
		rc = wraps > 0 ? await_refuse(a, ET_AWAIT_WRAPS, 0, wraps) : 0;
		rc = rc < 0 ? rc : et_state_get_key_ring(a->v, &ring);
		if (rc == 0 && ring->wanted == kek->version) {
			ring->wanted = 0;
			ring->wanted_us = 0;
			rc = ring_put(a, ring);
		}
	} else if (rc == 0) {
		rc = et_state_each_await(a->v, kek, await_refuse, a);
	}
	if (rc < 0) {
		return rc;
	}
	kek->destroyed_us = apply_time(a);
	rc = kek_put(a, kek);
	return rc < 0 ? rc : grants_drop(a, secret, 0);
}

static int kek_move(struct apply *a, Et__Kek *kek, Et__KekState to)
{
	bool pending = kek->state == ET__KEK_STATE__KEK_PENDING;

	kek->state = to;
	switch ((int)to) {
	case ET__KEK_STATE__KEK_ACTIVE:
		return set_active(a, kek);
	case ET__KEK_STATE__KEK_DESTROY_SCHEDULED:
		return set_scheduled(a, kek);
	case ET__KEK_STATE__KEK_DESTROYED:
		return set_destroyed(a, kek, pending);
	default:
		kek->compromised |= to == ET__KEK_STATE__KEK_COMPROMISED;
		kek->destroy_us = 0;
		return kek_put(a, kek);
	}
}

int apply_kek_set(struct apply *a)
{
	const Et__KekSet *told = a->c->kek_set;
	ET_CLEANUP(message_freep) Et__Kek *known = NULL;

	a->o->result.number = told->version;
	int rc = et_state_get_kek(a->v, told->version, &known);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "KEK version %u is not known", told->version);
	}
	if (rc < 0) {
		return rc;
	}
	if (known->state == told->state) {
		return 0; /* it is */
	}
	if (known->state != told->expect) {
		return refuse(a, ET_ESTALE, "KEK version %u is %s", told->version,
			      et_state_kek_state((int)known->state));
	}
	if (known->state == ET__KEK_STATE__KEK_ACTIVE) {
		return refuse(a, ET_EREFUSED,
			      "KEK version %u is the active one: another must become active first",
			      told->version);
	}
	if ((size_t)known->state >= ET_ARRAY_SIZE(moves) ||
	    (moves[known->state] & (1U << told->state)) == 0 ||
	    (known->compromised && told->state == ET__KEK_STATE__KEK_DECRYPT_ONLY)) {
		return refuse(a, ET_EREFUSED, "KEK version %u is %s%s, and never becomes %s",
			      told->version, known->compromised ? "compromised, " : "",
			      et_state_kek_state((int)known->state),
			      et_state_kek_state((int)told->state));
	}
	Et__Kek after = *known;
	after.reason = a->c->reason;
	return kek_move(a, &after, told->state);
}

/* ---- A vault node was stolen ---- */

/* Nobody seals to a pending version yet: it goes at once. */
static int stolen_pending(struct apply *a, Et__Kek *kek)
{
	char secret[SECRET_SIZE];

	(void)snprintf(secret, sizeof(secret), "kek:%u", (unsigned)kek->version);
	kek->state = ET__KEK_STATE__KEK_DESTROYED;
	kek->destroyed_us = apply_time(a);
	int rc = kek_put(a, kek);
	return rc < 0 ? rc : grants_drop(a, secret, 0);
}

static int stolen_kek(struct apply *a, const Et__Kek *known, uint64_t node)
{
	Et__Kek after = *known;
	char secret[SECRET_SIZE];
	uint64_t wraps = 0;

	(void)snprintf(secret, sizeof(secret), "kek:%u", (unsigned)after.version);
	if (after.state == ET__KEK_STATE__KEK_DESTROYED ||
	    (node != 0 && !et_state_has_grant(a->v, secret, node))) {
		return 0;
	}
	after.compromised = true;
	after.reason = a->c->reason;
	int rc = et_state_wraps(a->v, after.version, &wraps);
	if (rc == 0 && after.state == ET__KEK_STATE__KEK_PENDING && wraps == 0) {
		return stolen_pending(a, &after);
	}
	if (after.state == ET__KEK_STATE__KEK_DECRYPT_ONLY) {
		after.state = ET__KEK_STATE__KEK_COMPROMISED;
	}
	return rc < 0 ? rc : kek_put(a, &after);
}

int keks_compromise(struct apply *a, uint64_t node)
{
	ET_CLEANUP(found_release) struct found f = { .d = &et__kek__descriptor };
	ET_CLEANUP(message_freep) Et__KeyRing *ring = NULL;
	struct versions now;

	int rc = versions_look(a->v, &now);
	rc = rc < 0 ? rc : et_state_get_key_ring(a->v, &ring);
	rc = rc < 0 ? rc : found_all(a, CF_KEK, &f);
	for (size_t i = 0; i < f.count && rc == 0; i++) {
		rc = stolen_kek(a, (const Et__Kek *)f.list[i], node);
	}
	if (rc < 0 || ring->wanted > now.newest) { /* the next one is asked for already */
		return rc;
	}
	ring->wanted = now.newest + 1;
	ring->wanted_us = apply_time(a);
	char *reason = ring->reason;
	ring->reason = a->c->reason;
	rc = ring_put(a, ring);
	ring->reason = reason;
	return rc;
}

/* ---- What a node says of its keys ---- */

int apply_kek_report(struct apply *a)
{
	const Et__KekReport *told = a->c->kek_report;
	ET_CLEANUP(message_freep) Et__Node *known = NULL;
	struct versions now;

	int rc = apply_member(a, a->c->op->node, &known);
	rc = rc < 0 ? rc : versions_look(a->v, &now);
	if (rc < 0) {
		return rc;
	}
	if (told->drained > now.active) {
		return refuse(a, ET_EREFUSED, "KEK version %u is not active yet", told->drained);
	}
	if (told->n_seal_keys > 0 && !node_has_role(known, "vault")) {
		return refuse(a, ET_EDENIED, "node %llu is no vault: nothing is granted to it",
			      (unsigned long long)known->id);
	}
	Et__Node after = *known;
	if (told->drained > after.kek_drained) {
		after.kek_drained = told->drained;
	}
	if (told->seal_public.len == 32) {
		after.seal_public = told->seal_public;
	}
	if (told->has_seal_keys) {
		after.seal_keys = told->seal_keys;
		after.n_seal_keys = told->n_seal_keys;
	}
	a->o->result.number = known->id;
	return node_put(a, &after);
}

int apply_kek_escrow(struct apply *a)
{
	const Et__KekEscrow *told = a->c->kek_escrow;
	ET_CLEANUP(message_freep) Et__Kek *kek = NULL;

	a->o->result.number = told->version;
	int rc = et_state_get_kek(a->v, told->version, &kek);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "KEK version %u is not known", told->version);
	}
	if (rc < 0) {
		return rc;
	}
	if (kek->state == ET__KEK_STATE__KEK_DESTROYED ||
	    kek->state == ET__KEK_STATE__KEK_DESTROY_SCHEDULED) {
		return refuse(a, ET_EREFUSED, "KEK version %u is %s", told->version,
			      et_state_kek_state((int)kek->state));
	}
	if (told->threshold > told->shares) {
		return refuse(a, ET_EREFUSED, "%u of %u shares", told->threshold, told->shares);
	}
	kek->escrow_threshold = told->threshold;
	kek->escrow_shares = told->shares;
	kek->escrow_us = apply_time(a);
	return kek_put(a, kek);
}

/* ---- Rewrap ---- */

/* Compare and set: the segment's wrap is the one that its maker opened, and is not erased. */
static int rewrap_one(struct apply *a, const Et__KekRewrap *told, const Et__Rewrap *item)
{
	ET_CLEANUP(message_freep) Et__Segment *g = NULL;
	uint8_t hash[32];

	int rc = et_state_get_segment(a->v, item->recording.data, item->generation, item->segment,
				      &g);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "the segment is not known");
	}
	if (rc < 0) {
		return rc;
	}
	if (g->wrap == NULL || g->wrap->erased) {
		return refuse(a, ET_EREFUSED, "the segment is erased");
	}
	if (g->wrap->kek_version != told->from || g->wrap->dek != item->wrap->dek) {
		return refuse(a, ET_ESTALE, "the segment's key is on KEK version %u",
			      g->wrap->kek_version);
	}
	et_state_wrap_hash(g->wrap, hash);
	if (memcmp(hash, item->old_hash.data, sizeof(hash)) != 0) {
		return refuse(a, ET_ESTALE, "the segment's wrapped key is another one");
	}
	if (item->wrap->kek_version != told->to || item->wrap->erased ||
	    item->wrap->enc.len != 32 || item->wrap->ciphertext.len == 0) {
		return refuse(a, ET_EREFUSED, "that is no wrap to KEK version %u", told->to);
	}
	rc = wraps_remove(a->s, g->wrap);
	rc = rc < 0 ? rc : wraps_add(a->s, item->wrap);
	Et__Segment after = *g;
	after.wrap = item->wrap;
	return rc < 0 ? rc : segment_put(a, &after);
}

static int rewrap_check(struct apply *a, const Et__KekRewrap *told, Et__Kek **ret_from)
{
	ET_CLEANUP(message_freep) Et__Kek *to = NULL;

	int rc = et_state_get_kek(a->v, told->from, ret_from);
	rc = rc < 0 ? rc : et_state_get_kek(a->v, told->to, &to);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "KEK version %u or %u is not known", told->from,
			      told->to);
	}
	if (rc < 0) {
		return rc;
	}
	if (to->state != ET__KEK_STATE__KEK_ACTIVE) {
		return refuse(a, ET_ESTALE, "KEK version %u is %s: nothing new is sealed to it",
			      told->to, et_state_kek_state((int)to->state));
	}
	if ((*ret_from)->compromised) {
		return refuse(a, ET_EREFUSED,
			      "KEK version %u is compromised: its recordings are to be encrypted "
			      "again, not rewrapped",
			      told->from);
	}
	return 0;
}

int apply_kek_rewrap(struct apply *a)
{
	const Et__KekRewrap *told = a->c->kek_rewrap;
	ET_CLEANUP(message_freep) Et__Kek *from = NULL;
	char why[sizeof(a->o->text)] = "";
	int first = 0;

	int rc = vault_speaks(a);
	rc = rc < 0 ? rc : rewrap_check(a, told, &from);
	for (size_t i = 0; i < told->n_items && rc == 0; i++) {
		rc = rewrap_one(a, told, told->items[i]);
		if (rc < 0 && !code_is_final(rc)) {
			if (first == 0) {
				first = rc;
				memcpy(why, a->o->text, sizeof(why));
			}
			rc = result_refused(a, (uint32_t)i);
		}
	}
	if (rc < 0) {
		return rc;
	}
	size_t refused = a->o->result.n_refused;
	a->o->result.number = told->n_items - refused;
	a->o->text[0] = '\0';
	if (refused < told->n_items) {
		from->rewrap_node = a->c->op->node;
		from->rewrapped_us = apply_time(a);
		rc = kek_put(a, from);
	}
	if (rc < 0 || refused == 0) {
		return rc;
	}
	return refuse(a, refused == told->n_items ? first : ET_EDEGRADED,
		      "%zu of %zu refused: %.200s", refused, told->n_items, why);
}
