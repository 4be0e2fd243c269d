/* The life of KEK versions, as far as nodes do something for it.
 *
 *   KekRotate ─▶ each vault node makes a key for the new version and publishes it (KekReport)
 *             ─▶ the first vault node makes the version, seals it to those keys (KekAdd, pending)
 *             ─▶ it becomes the active one (KekSet)
 *             ─▶ what is on older versions is moved to it (rewrap.c)
 *             ─▶ every member has reported: the old version is scheduled, and later destroyed
 *             ─▶ each vault node wipes the key that its grant was sealed to
 *
 * Each look reads the catalogue and does the one thing that is due first, so it does not matter who
 * did the last step, or whether he lives. Whose turn it is: the vault node with the lowest number
 * that holds the active version and is connected. If the same step stays due, the next one steps
 * in.
 *
 * Possible failure modes are
 *   - no majority: the proposal fails, the next look (each second) tries again;
 *   - two do the same step: apply refuses the second one (ET_ESTALE, ET_EEXISTS);
 *   - a vault node does not publish its key: after a while the version is made without it; it gets
 *     its grant (grants.c) when it is back, and opens nothing of that version until then;
 *   - somebody without the CA's key puts a version of his own into the catalogue: a pending one is
 *     destroyed; nothing is sealed to an active one (et_keeper_sealing_find()), and another one is
 *     made at once (decision 0119);
 *   - the disk refuses a key: logged, tried again at the next look;
 *   - the catalogue came back at an earlier index: no key is wiped until a majority has said what
 *     is committed. */
#include <stdio.h>
#include <string.h>

#include "node/base/log.h"
#include "node/crypto/sign.h"
#include "node/io/clock.h"
#include "node/keeper/rotate_internal.h"

#define LOOK_MS 1000
#define STEP_IN_US (10LL * 1000000) /* the next vault node steps in, each after so long */
#define PUBLISH_US (20LL * 1000000) /* so long a vault node is waited for */

enum due {
	DUE_NONE,
	DUE_ASK,
	DUE_MAKE,
	DUE_DROP,
	DUE_ACTIVATE,
	DUE_REWRAP,
	DUE_SCHEDULE,
	DUE_DESTROY
};

static int look_kek(void *arg, const Et__Kek *kek)
{
	struct look *l = arg;

	if (kek->state == ET__KEK_STATE__KEK_DESTROYED || l->count == KEYS_MAX ||
	    kek->public_key.len != 32) {
		return 0;
	}
	struct row *r = &l->rows[l->count++];
	*r = (struct row){ .version = kek->version,
			   .state = kek->state,
			   .compromised = kek->compromised,
			   .activated_us =
				   kek->activated_us != 0 ? kek->activated_us : kek->made_us };
	memcpy(r->public_key, kek->public_key.data, 32);
	r->is_signed =
		(r->state == ET__KEK_STATE__KEK_ACTIVE || r->state == ET__KEK_STATE__KEK_PENDING) &&
		et_keeper_kek_verify(kek, view_of(&l->k->identity.ca), NULL) == 0;
	l->active = r->state == ET__KEK_STATE__KEK_ACTIVE ? r : l->active;
	l->pending = r->state == ET__KEK_STATE__KEK_PENDING ? r : l->pending;
	return 0;
}

static bool has_seal_key(const Et__Node *n, uint32_t version)
{
	for (size_t i = 0; i < n->n_seal_keys; i++) {
		if (n->seal_keys[i]->version == version) {
			return true;
		}
	}
	return false;
}

static int look_node(void *arg, const Et__Node *n)
{
	struct look *l = arg;
	char name[SECRET_NAME_BYTES];

	if (!node_is_vault(n)) {
		return 0;
	}
	kek_secret_name(l->active->version, name);
	bool holds = et_state_has_grant(l->v, name, n->id);
	if (n->id == l->k->identity.node) {
		l->holds = holds;
	} else if (holds && n->id < l->k->identity.node && et_rpc_is_connected(l->k->tls, n->id)) {
		l->ahead++;
	}
	l->silent += l->ring->wanted != 0 && !has_seal_key(n, l->ring->wanted);
	return 0;
}

void rotate_look_close(struct look *l)
{
	et__node__free_unpacked(l->self, NULL);
	et__key_ring__free_unpacked(l->ring, NULL);
	et__cluster__free_unpacked(l->cluster, NULL);
	(void)et_state_view_close(l->v);
}

int rotate_look_open(struct et_keeper *k, struct look *l)
{
	*l = (struct look){ .k = k, .v = et_state_view_open(k->state) };
	if (l->v == NULL) {
		return -ENOMEM;
	}
	int rc = et_state_get_node(l->v, k->identity.node, &l->self);
	rc = rc < 0 ? rc : et_state_get_key_ring(l->v, &l->ring);
	rc = rc < 0 ? rc : et_state_get_cluster(l->v, &l->cluster);
	rc = rc < 0 ? rc : et_state_each_kek(l->v, look_kek, l);
	if (rc == 0 && l->active == NULL) {
		rc = ET_ENOTFOUND;
	}
	rc = rc < 0 ? rc : et_state_each_node(l->v, look_node, l);
	if (rc < 0) {
		rotate_look_close(l);
		return rc;
	}
	l->vault = node_is_vault(l->self);
	return 0;
}

/* ---- Proposing ---- */

struct proposal {
	struct et_keeper *k;
	void (*fn)(struct et_keeper *k, int code, const Et__Result *result);
	const char *what;
};

static void on_proposed(void *arg, int code, const Et__Result *result)
{
	struct proposal *p = arg;
	struct et_keeper *k = p->k;

	k->rotation.proposing = false;
	if (code < 0 && code != ET_ESTALE && code != ET_EEXISTS) {
		et_warn("keeper.keys", "step=%s code=%s why=\"%s\"", p->what, et_errname(code),
			result != NULL ? result->text : "");
	}
	if (p->fn != NULL) {
		p->fn(k, code, result);
	}
	if (code == 0) {
		rotate_look(k);
		ca_look(k);
	}
	free(p);
	keeper_end(k);
}

void rotate_propose(struct et_keeper *k, Et__Command *command, const char *reason,
		    void (*fn)(struct et_keeper *k, int code, const Et__Result *result))
{
	struct proposal *p = calloc(1, sizeof(*p));
	char principal[32];
	char text[64];

	et_assert(p != NULL && !k->rotation.proposing);
	*p = (struct proposal){ .k = k, .fn = fn, .what = et_command_name(command) };
	(void)snprintf(principal, sizeof(principal), "node:%llu",
		       (unsigned long long)k->identity.node);
	(void)snprintf(text, sizeof(text), "%s", reason);
	command->principal = principal;
	command->reason = text;
	command->schema = et_schema_needed(command);
	k->rotation.proposing = true;
	keeper_begin(k);
	et_catalog_propose(k->catalog, command, PROPOSE_TIMEOUT_MS, on_proposed, p);
}

static void propose_set(struct look *l, const struct row *r, Et__KekState to, const char *reason)
{
	Et__KekSet set = ET__KEK_SET__INIT;
	Et__Command command = ET__COMMAND__INIT;

	set.version = r->version;
	set.state = to;
	set.expect = r->state;
	command.body_case = ET__COMMAND__BODY_KEK_SET;
	command.kek_set = &set;
	rotate_propose(l->k, &command, reason, NULL);
}

/* ---- What is committed ---- */

static void on_current(void *arg, int code, uint64_t index)
{
	struct et_keeper *k = arg;

	(void)index;
	k->rotation.asking = false;
	if (code == 0) {
		k->rotation.current = true;
		rotate_look(k);
		ca_look(k);
	}
	keeper_end(k);
}

/* After a crash the catalogue may come back at an earlier index, and know nothing of a version
 * whose only grants are sealed to keys that were made since. So nothing is wiped before a majority
 * has said what is committed; later the catalogue only goes forward. */
bool rotate_is_current(struct et_keeper *k)
{
	if (!k->rotation.current && !k->rotation.asking) {
		k->rotation.asking = true;
		keeper_begin(k);
		et_catalog_read_index(k->catalog, READ_TIMEOUT_MS, on_current, k);
	}
	return k->rotation.current;
}

/* ---- A new version ---- */

struct making {
	struct look *l;
	uint32_t version;
	const struct et_secret *kek;
	struct grant_list grants;
	int code;
	struct et_error *reterr;
};

static int making_grant(void *arg, const Et__Node *n)
{
	struct making *m = arg;
	char name[SECRET_NAME_BYTES];

	if (!node_is_vault(n) || !has_seal_key(n, m->version) || m->grants.count == SECRETS_MAX) {
		return 0;
	}
	kek_secret_name(m->version, name);
	int rc = grant_make(name, m->kek, n->id, seal_key_of(n, m->version),
			    &m->grants.grants[m->grants.count], m->reterr);
	m->grants.count += rc == 0;
	return rc;
}

static int kek_sign(struct look *l, Et__Kek *kek, struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *ca_key = NULL;
	ET_CLEANUP(et_buffer_releasep) struct et_buffer signature = { 0 };
	uint8_t bytes[KEK_SIGNED_BYTES];

	char name[SECRET_NAME_BYTES];

	kek->ca = et_state_ca_number(l->cluster, 0);
	et_state_ca_secret(kek->ca, name);
	int rc = secret_open(l->v, name, l->k->identity.node, &l->k->keys, &ca_key, reterr);
	if (rc < 0) {
		return rc;
	}
	kek_signed_bytes(kek->version, kek->public_key.data, bytes);
	rc = et_ca_sign(ca_key, (struct et_view){ bytes, sizeof(bytes) }, &signature);
	if (rc == 0) {
		pb_bytes(&kek->signature, signature.data, signature.size);
	}
	return rc < 0 ? et_fail(reterr, rc, "sign KEK %u", kek->version) : 0;
}

static void make_version(struct look *l)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *secret = NULL;
	Et__Kek *kek = calloc(1, sizeof(*kek));
	Et__KekAdd add = ET__KEK_ADD__INIT;
	Et__Command command = ET__COMMAND__INIT;
	uint8_t public_key[32];
	struct et_error e = { 0 };
	struct making m = { .l = l, .version = l->ring->wanted, .reterr = &e };

	et_assert(kek != NULL);
	et__kek__init(kek);
	kek->version = m.version;
	kek->state = ET__KEK_STATE__KEK_PENDING;
	kek->made_us = keeper_now_us(l->k);
	pb_text(&kek->reason, l->ring->reason);
	int rc = et_x25519_generate(&secret, public_key, &e);
	if (rc == 0) {
		pb_bytes(&kek->public_key, public_key, sizeof(public_key));
		rc = kek_sign(l, kek, &e);
	}
	m.kek = secret;
	rc = rc < 0 ? rc : et_state_each_node(l->v, making_grant, &m);
	if (rc == 0) {
		add.kek = kek;
		add.n_grants = m.grants.count;
		add.grants = m.grants.grants;
		command.body_case = ET__COMMAND__BODY_KEK_ADD;
		command.kek_add = &add;
		et_info("keeper.kek", "version=%u grants=%zu", m.version, m.grants.count);
		rotate_propose(l->k, &command, l->ring->reason, NULL);
	} else {
		et_warn("keeper.keys", "step=make why=\"%s\"", e.text);
	}
	grant_list_release(&m.grants);
	et__kek__free_unpacked(kek, NULL);
}

/* ---- Which step is due ---- */

struct step {
	enum due due;
	const struct row *row;
	uint64_t left; /* wraps */
};

static int await_any(void *arg, enum et_state_await await, uint64_t node, uint64_t number)
{
	(void)arg;
	(void)await;
	(void)node;
	(void)number;
	return 1;
}

/* Nothing needs it any more. */
static bool row_is_free(const struct look *l, const struct row *r)
{
	Et__Kek *kek = NULL;

	bool is = et_state_get_kek(l->v, r->version, &kek) == 0 &&
		  et_state_each_await(l->v, kek, await_any, NULL) == 0;
	if (kek != NULL) {
		et__kek__free_unpacked(kek, NULL);
	}
	return is;
}

static bool step_of_row(const struct look *l, const struct row *r, struct step *ret)
{
	bool old = r->state == ET__KEK_STATE__KEK_DECRYPT_ONLY ||
		   r->state == ET__KEK_STATE__KEK_COMPROMISED ||
		   r->state == ET__KEK_STATE__KEK_DESTROY_SCHEDULED;

	if (!old || et_state_wraps(l->v, r->version, &ret->left) < 0) {
		return false;
	}
	ret->row = r;
	if (ret->left > 0) { /* of a compromised one generations.c makes the media anew */
		ret->due = DUE_REWRAP;
		return !r->compromised && l->active->is_signed &&
		       !rewrap_is_put_off(l->k->rewrap, r->version);
	}
	if (!row_is_free(l, r)) {
		return false;
	}
	ret->due = r->state == ET__KEK_STATE__KEK_DESTROY_SCHEDULED ? DUE_DESTROY : DUE_SCHEDULE;
	return true;
}

static struct step step_due(const struct look *l)
{
	int64_t life_us = et_state_rotate_us(l->ring);
	int64_t now_us = keeper_now_us(l->k);
	bool judges = bundle_is_of(view_of(&l->k->identity.ca), l->cluster);
	struct step s = { .row = l->active };

	if (l->pending != NULL) {
		s.due = l->pending->is_signed ? DUE_ACTIVATE : judges ? DUE_DROP : DUE_NONE;
		s.row = l->pending;
		return s;
	}
	if (l->ring->wanted != 0) {
		bool waits = l->silent > 0 && now_us - l->ring->wanted_us < PUBLISH_US;
		s.due = waits ? DUE_NONE : DUE_MAKE;
		return s;
	}
	if ((life_us > 0 && now_us - l->active->activated_us >= life_us) ||
	    (judges && !l->active->is_signed)) {
		s.due = DUE_ASK;
		return s;
	}
	for (size_t i = 0; i < l->count; i++) {
		struct step of_row = { 0 };
		if (step_of_row(l, &l->rows[i], &of_row)) {
			return of_row;
		}
	}
	return s;
}

/* Is it this node's turn? */
static bool step_is_mine(struct look *l, const struct step *s)
{
	struct rotation *r = &l->k->rotation;
	int64_t now_us = et_clock_mono_us();

	if (r->due.what != s->due || r->due.version != s->row->version || r->due.left != s->left) {
		r->due.what = s->due;
		r->due.version = s->row->version;
		r->due.left = s->left;
		r->due.since_us = now_us;
	}
	return now_us - r->due.since_us >= (int64_t)l->ahead * STEP_IN_US;
}

static void step_do(struct look *l, const struct step *s)
{
	struct et_keeper *k = l->k;
	Et__KekRotate rotate = ET__KEK_ROTATE__INIT;
	Et__Command command = ET__COMMAND__INIT;

	switch (s->due) {
	case DUE_NONE:
		break;
	case DUE_ASK:
		command.body_case = ET__COMMAND__BODY_KEK_ROTATE;
		command.kek_rotate = &rotate;
		rotate_propose(k, &command,
			       l->active->is_signed ? "scheduled rotation"
						    : "no CA has signed the active version",
			       NULL);
		break;
	case DUE_MAKE:
		make_version(l);
		break;
	case DUE_DROP:
		propose_set(l, s->row, ET__KEK_STATE__KEK_DESTROYED, "no CA has signed it");
		break;
	case DUE_ACTIVATE:
		propose_set(l, s->row, ET__KEK_STATE__KEK_ACTIVE, l->ring->reason);
		break;
	case DUE_REWRAP:
		rewrap_step(k, l->v, s->row->version, l->active->version, l->active->public_key,
			    et_state_rewrap_rate(l->ring));
		break;
	case DUE_SCHEDULE:
		propose_set(l, s->row, ET__KEK_STATE__KEK_DESTROY_SCHEDULED,
			    "nothing is sealed to it any more");
		break;
	case DUE_DESTROY:
		propose_set(l, s->row, ET__KEK_STATE__KEK_DESTROYED,
			    "nothing needs it any more, and its time has come");
		break;
	}
}

static void rotate_step(struct et_keeper *k)
{
	struct look l;

	if (k->stopping || k->rotation.proposing || k->rotation.ordering ||
	    rotate_look_open(k, &l) < 0) {
		return;
	}
	if (!rotate_keys_order(&l) && !rotate_report(&l) && !rotate_reseal(&l) && l.holds) {
		struct step s = step_due(&l);
		if (s.due != DUE_NONE && step_is_mine(&l, &s)) {
			step_do(&l, &s);
		}
	}
	rotate_look_close(&l);
}

static void on_look(void *arg)
{
	struct et_keeper *k = arg;

	k->rotation.looking = false;
	rotate_step(k);
}

void rotate_look(struct et_keeper *k)
{
	if (!k->rotation.looking && !k->stopping) {
		k->rotation.looking = true;
		keeper_defer(k, on_look, k);
	}
}

static void on_timer(uv_timer_t *timer)
{
	rotate_step(timer->data);
	ca_round(timer->data);
	renew_round(timer->data);
	generations_round(timer->data);
}

void rotate_start(struct et_keeper *k)
{
	(void)uv_timer_init(k->loop, &k->rotate_timer);
	k->rotate_timer.data = k;
	(void)uv_timer_start(&k->rotate_timer, on_timer, LOOK_MS, LOOK_MS);
}

void et_keeper_set_drained(struct et_keeper *k, uint32_t version)
{
	if (version > k->rotation.drained) {
		k->rotation.drained = version;
		rotate_look(k);
	}
}
