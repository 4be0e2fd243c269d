/* Members as they are: what they say of themselves, their roles, draining, removal.
 *
 *   JOINING ─▶ ACTIVE ◀─▶ DRAINING ─▶ REMOVED ─▶ REVOKED
 *                 └──────── loss accepted ──────────▲
 *
 * What is refused here is refused whoever asks, and whatever was true when it was asked: the last
 * voter, the last holder of a living key, and (unless its loss was accepted) a node that may hold
 * the only copy of something. Which nodes can be reached at this moment is not replicated: that is
 * for the leader to look at before it changes Raft's configuration (node/daemon/membership.c).
 *
 * Sole copies. To look at every copy inside apply would stop a large catalogue for minutes. Who
 * asks for a removal looks at them in a view of index `seen_index`; "copies-moved" is the last
 * index at which a node can have come to hold something alone; apply compares the two. */
#include <stdio.h>

#include "raft/state/state_internal.h"

#define SECRET_SIZE 80

static const char *const raft_roles[] = { "voter", "standby", "spare", "witness" };
static const char *const other_roles[] = { "vault", "capture", "api", "store" };

static bool word_in(const char *word, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(list[i], word) == 0) {
			return true;
		}
	}
	return false;
}

static bool is_raft_role(const char *word)
{
	return word_in(word, raft_roles, ET_ARRAY_SIZE(raft_roles));
}

bool node_has_role(const Et__Node *n, const char *role)
{
	return word_in(role, (const char *const *)n->roles, n->n_roles);
}

bool node_stores(const Et__Node *n)
{
	return !node_has_role(n, "witness") && !node_has_role(n, "spare") &&
	       (node_has_role(n, "capture") || node_has_role(n, "vault") ||
		node_has_role(n, "store"));
}

bool node_keeps(const Et__Node *n)
{
	return node_is_member(n) && n->state != ET__NODE_STATE__DRAINING && node_stores(n);
}

static bool node_votes(const Et__Node *n)
{
	return node_has_role(n, "voter") || node_has_role(n, "witness");
}

/* ---- Copies that went ---- */

int copies_moved(struct apply *a)
{
	struct key key = key_meta("copies-moved");
	uint8_t index[8];

	et_put64(index, a->index);
	state_put(a->s, CF_META, &key, index, sizeof(index));
	return 0;
}

static int moved_get(const struct et_state_view *v, uint64_t *ret)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer moved = { 0 };
	struct key key = key_meta("copies-moved");

	int rc = view_get(v, CF_META, &key, &moved);
	*ret = rc == 0 && moved.size == 8 ? et_get64(moved.data) : 0;
	return rc == ET_ENOTFOUND ? 0 : rc;
}

uint64_t et_state_copies_moved(const struct et_state_view *v)
{
	uint64_t moved;

	return moved_get(v, &moved) < 0 ? UINT64_MAX : moved;
}

/* What was seen at `seen` still holds: no copy went since. */
static int seen_check(struct apply *a, uint64_t seen)
{
	uint64_t moved;

	int rc = moved_get(a->v, &moved);
	if (rc == 0 && moved > seen) {
		return refuse(a, ET_ESTALE,
			      "copies have moved since they were looked at, at index %llu",
			      (unsigned long long)seen);
	}
	return rc;
}

/* ---- What a node says of itself ---- */

static void text_take(char **text, char *told)
{
	if (told[0] != '\0') {
		*text = told;
	}
}

/* Name, site, roles, draining and keys to its identity are not among it. */
int apply_node_update(struct apply *a)
{
	const Et__Node *told = a->c->node_update->node;
	ET_CLEANUP(message_freep) Et__Node *known = NULL;

	int rc = apply_member(a, told->id, &known);
	if (rc < 0) {
		return rc;
	}
	Et__Node after = *known;
	text_take(&after.address, told->address);
	text_take(&after.api_address, told->api_address);
	text_take(&after.version, told->version);
	text_take(&after.store_uuid, told->store_uuid);
	if (told->schema != 0) {
		if (told->schema < a->s->cluster->schema) {
			return refuse(a, ET_EVERSION,
				      "its build knows schema %u, the cluster's is %u",
				      told->schema, a->s->cluster->schema);
		}
		after.schema = told->schema;
	}
	if (told->seal_public.len == 32) {
		if (told->id != a->c->op->node) {
			return refuse(a, ET_EDENIED, "a node's seal key is its own to change");
		}
		after.seal_public = told->seal_public;
	}
	if (told->state != ET__NODE_STATE__JOINING && told->state != known->state) { /* 0: untold */
		if (told->state != ET__NODE_STATE__ACTIVE ||
		    known->state != ET__NODE_STATE__JOINING) {
			return refuse(a, ET_EREFUSED, "a node does not get there by an update");
		}
		after.state = told->state;
	}
	a->o->result.number = told->id;
	return node_put(a, &after);
}

/* ---- What would be lost with a member ---- */

struct others {
	const struct et_state_view *v;
	uint64_t node; /* not counted */
	const char *secret;
	uint64_t members;
	uint64_t voters;
	uint64_t holders; /* vault members with a grant of `secret` */
};

static int others_add(void *arg, const void *message)
{
	struct others *o = arg;
	const Et__Node *n = message;
	ET_CLEANUP(message_freep) Et__Grant *grant = NULL;

	if (n->id == o->node || !node_is_member(n)) {
		return 0;
	}
	o->members++;
	o->voters += node_votes(n);
	if (o->secret == NULL || !node_has_role(n, "vault")) {
		return 0;
	}
	int rc = et_state_get_grant(o->v, o->secret, n->id, &grant);
	o->holders += rc == 0;
	return rc == ET_ENOTFOUND ? 0 : rc;
}

static int others_count(struct apply *a, uint64_t node, const char *secret, struct others *ret)
{
	struct key all = { 0 };

	*ret = (struct others){ .v = a->v, .node = node, .secret = secret };
	return view_walk_messages(a->v, CF_NODE, &all, &et__node__descriptor, others_add, ret);
}

/* Secrets that this node can open. */
struct held {
	struct apply *a;
	uint64_t node;
	char alone[SECRET_SIZE]; /* one that no other vault member can open, or "" */
};

static int held_secret(struct held *h, const char *secret)
{
	ET_CLEANUP(message_freep) Et__Grant *grant = NULL;
	struct others others;

	int rc = et_state_get_grant(h->a->v, secret, h->node, &grant);
	if (rc == ET_ENOTFOUND) {
		return 0;
	}
	rc = rc < 0 ? rc : others_count(h->a, h->node, secret, &others);
	if (rc == 0 && others.holders == 0 && h->alone[0] == '\0') {
		(void)snprintf(h->alone, sizeof(h->alone), "%s", secret);
	}
	return rc;
}

static int held_kek(void *arg, const void *message)
{
	const Et__Kek *kek = message;
	char secret[SECRET_SIZE];

	if (kek->state == ET__KEK_STATE__KEK_DESTROYED) {
		return 0;
	}
	(void)snprintf(secret, sizeof(secret), "kek:%u", (unsigned)kek->version);
	return held_secret(arg, secret);
}

/* Keys that live, and that nobody else could open. */
static int keys_check(struct apply *a, const Et__Node *n)
{
	struct held held = { .a = a, .node = n->id };
	struct key all = { 0 };

	if (!node_has_role(n, "vault")) {
		return 0;
	}
	int rc = view_walk_messages(a->v, CF_KEK, &all, &et__kek__descriptor, held_kek, &held);
	rc = rc < 0 ? rc : held_secret(&held, "ca");
	if (rc == 0 && held.alone[0] != '\0') {
		return refuse(a, ET_EPOLICY,
			      "no other vault node holds %s: what is sealed to it could be opened "
			      "with the escrow shares only",
			      held.alone);
	}
	return rc;
}

static int voters_check(struct apply *a, const Et__Node *n)
{
	struct others others;

	if (!node_votes(n)) {
		return 0;
	}
	int rc = others_count(a, n->id, NULL, &others);
	if (rc == 0 && others.voters == 0) {
		return refuse(a, ET_EREFUSED, "it is the last voter");
	}
	return rc;
}

/* Nothing is on this node alone, as far as was seen. */
static int drained_check(struct apply *a, const Et__Node *n, uint64_t seen)
{
	if (!node_stores(n)) {
		return 0;
	}
	if (n->state != ET__NODE_STATE__DRAINING) {
		return refuse(a, ET_EPOLICY, "it stores media, and was not drained");
	}
	return seen_check(a, seen);
}

/* ---- NodeRoles ---- */

struct roles {
	char *words[32]; /* views */
	size_t count;
};

static int roles_add(struct apply *a, struct roles *r, char *word)
{
	if (word_in(word, (const char *const *)r->words, r->count)) {
		return 0;
	}
	if (r->count == ET_ARRAY_SIZE(r->words)) {
		return refuse(a, ET_EREFUSED, "too many roles");
	}
	r->words[r->count++] = word;
	return 0;
}

static bool roles_same(const Et__Node *n, char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!node_has_role(n, words[i])) {
			return false;
		}
	}
	return count == n->n_roles;
}

static int roles_make(struct apply *a, const Et__Node *known, struct roles *ret)
{
	const Et__NodeRoles *told = a->c->node_roles;
	bool raft_told = false;
	int rc = 0;

	for (size_t i = 0; i < told->n_add; i++) {
		bool is_raft = is_raft_role(told->add[i]);
		if (!is_raft && !word_in(told->add[i], other_roles, ET_ARRAY_SIZE(other_roles))) {
			return refuse(a, ET_EREFUSED, "there is no role '%.32s'", told->add[i]);
		}
		raft_told |= is_raft;
	}
	for (size_t i = 0; i < known->n_roles && rc == 0; i++) {
		bool goes = word_in(known->roles[i], (const char *const *)told->remove,
				    told->n_remove) ||
			    (raft_told && is_raft_role(known->roles[i]));
		rc = goes ? 0 : roles_add(a, ret, known->roles[i]);
	}
	for (size_t i = 0; i < told->n_add && rc == 0; i++) {
		rc = roles_add(a, ret, told->add[i]);
	}
	return rc;
}

static int roles_check(struct apply *a, const Et__Node *known, const Et__Node *after)
{
	unsigned raft = 0;
	int rc = 0;

	for (size_t i = 0; i < after->n_roles; i++) {
		raft += is_raft_role(after->roles[i]);
	}
	if (raft != 1) {
		return refuse(a, ET_EREFUSED,
			      "a node is exactly one of voter, standby, spare, witness");
	}
	if (node_has_role(after, "witness") &&
	    (node_has_role(after, "vault") || node_has_role(after, "capture") ||
	     node_has_role(after, "store"))) {
		return refuse(a, ET_EREFUSED, "a witness holds neither media nor keys");
	}
	if (!node_votes(after)) {
		rc = voters_check(a, known);
	}
	if (rc == 0 && !node_has_role(after, "vault")) {
		rc = keys_check(a, known);
	}
	if (rc == 0 && !node_stores(after)) {
		rc = drained_check(a, known, a->c->node_roles->seen_index);
	}
	return rc;
}

int apply_node_roles(struct apply *a)
{
	const Et__NodeRoles *told = a->c->node_roles;
	ET_CLEANUP(message_freep) Et__Node *known = NULL;
	struct roles roles = { 0 };

	int rc = apply_member(a, told->node, &known);
	if (rc < 0) {
		return rc;
	}
	a->o->result.number = told->node;
	if (told->n_expect > 0 && !roles_same(known, told->expect, told->n_expect)) {
		return refuse(a, ET_ESTALE, "its roles were changed meanwhile");
	}
	rc = roles_make(a, known, &roles);
	if (rc < 0) {
		return rc;
	}
	Et__Node after = *known;
	after.roles = roles.words;
	after.n_roles = roles.count;
	if (roles_same(known, roles.words, roles.count) && known->force == (told->force != 0)) {
		return 0; /* it is */
	}
	rc = roles_check(a, known, &after);
	if (rc < 0) {
		return rc;
	}
	after.force = told->force;
	after.changed_index = a->index;
	if (!node_has_role(&after, "vault")) {
		after.n_seal_keys = 0;
	}
	rc = node_put(a, &after);
	if (rc == 0 && !node_has_role(&after, "vault")) {
		rc = grants_drop_node(a, after.id);
	}
	if (rc == 0 && node_stores(known) && !node_stores(&after)) {
		rc = copies_moved(a);
	}
	return rc;
}

/* ---- NodeDrain ---- */

int apply_node_drain(struct apply *a)
{
	const Et__NodeDrain *told = a->c->node_drain;
	ET_CLEANUP(message_freep) Et__Node *known = NULL;

	int rc = apply_member(a, told->node, &known);
	if (rc < 0) {
		return rc;
	}
	Et__Node after = *known;
	bool drains = known->state == ET__NODE_STATE__DRAINING;
	bool stops =
		told->draining && (told->stop_capture || (drains && known->capture_stopped != 0));
	a->o->result.number = told->node;
	if (told->draining && node_has_role(known, "capture") && !stops) {
		return refuse(a, ET_EPOLICY,
			      "it records calls, and would never be empty: its recorder must stop");
	}
	if (told->draining == drains && stops == (known->capture_stopped != 0)) {
		return 0; /* it does */
	}
	after.state = told->draining ? ET__NODE_STATE__DRAINING : ET__NODE_STATE__ACTIVE;
	after.capture_stopped = stops;
	after.changed_index = a->index;
	rc = node_put(a, &after);
	return rc < 0 ? rc : copies_moved(a);
}

/* ---- NodeRemove ---- */

static int remove_check(struct apply *a, const Et__Node *known)
{
	const Et__NodeRemove *remove = a->c->node_remove;
	struct others others;

	int rc = others_count(a, known->id, NULL, &others);
	if (rc == 0 && others.members == 0) {
		return refuse(a, ET_EREFUSED, "it is the last node");
	}
	rc = rc < 0 ? rc : voters_check(a, known);
	if (rc == 0 && !(remove->loss_accepted && remove->force)) {
		rc = keys_check(a, known);
	}
	if (rc == 0 && !remove->loss_accepted) {
		rc = drained_check(a, known, remove->seen_index);
	}
	return rc;
}

/* A thief has what a vault node could open. What one could open that was removed before is not
 * known any more: all that lives counts. */
static int vault_stolen(struct apply *a, const Et__Node *known)
{
	int rc = keks_compromise(a, node_is_member(known) ? known->id : 0);

	return rc < 0 ? rc : ca_force(a);
}

int apply_node_remove(struct apply *a)
{
	const Et__NodeRemove *remove = a->c->node_remove;
	ET_CLEANUP(message_freep) Et__Node *known = NULL;

	int rc = et_state_get_node(a->v, remove->node, &known);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "node %llu is not known",
			      (unsigned long long)remove->node);
	}
	if (rc < 0) {
		return rc;
	}
	a->o->result.number = remove->node;
	bool member = node_is_member(known);
	if (!member && (known->state == ET__NODE_STATE__REVOKED || !remove->revoked)) {
		return 0; /* it is; once revoked, always revoked */
	}
	rc = member ? remove_check(a, known) : 0;
	if (rc < 0) {
		return rc;
	}
	Et__Node after = *known;
	after.state = remove->revoked ? ET__NODE_STATE__REVOKED : ET__NODE_STATE__REMOVED;
	after.reason = remove->reason[0] != '\0' ? remove->reason : a->c->reason;
	after.force = remove->force;
	after.changed_index = a->index;
	after.n_seal_keys = 0;
	rc = node_put(a, &after);
	if (rc == 0 && remove->revoked && node_has_role(known, "vault")) {
		rc = vault_stolen(a, known);
	}
	rc = rc < 0 ? rc : grants_drop_node(a, after.id);
	return rc < 0 ? rc : copies_moved(a);
}
