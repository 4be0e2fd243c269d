/* The cluster itself: its beginning, members, tokens, certificates, keys, time. */
#include <stdio.h>

#include "raft/state/state_internal.h"

#define TICK_STEP_MAX_US INT64_C(300000000) /* cluster time goes on by at most 5 minutes a tick */

/* ---- Pieces ---- */

int cluster_put(struct apply *a, const Et__Cluster *c)
{
	struct key key = key_meta("cluster");
	Et__Cluster *copy = NULL;

	int rc = state_put_message(a->s, CF_META, &key, c);
	if (rc == 0) {
		rc = view_get_message(a->v, CF_META, &key, &et__cluster__descriptor, &copy);
	}
	if (rc == 0) {
		message_freep(&a->s->cluster);
		a->s->cluster = copy;
	}
	return rc;
}

int node_put(struct apply *a, const Et__Node *n)
{
	struct key key = key_u64(n->id);

	return state_put_message(a->s, CF_NODE, &key, n);
}

static int site_put(struct apply *a, const Et__Site *site)
{
	struct key key = key_text(site->name);

	return state_put_message(a->s, CF_SITE, &key, site);
}

/* A node may bring its site with it. */
int site_ensure(struct apply *a, const char *name)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer known = { 0 };
	struct key key = key_text(name);
	Et__Site site = ET__SITE__INIT;
	char text[128];

	if (name[0] == '\0') {
		return 0;
	}
	int rc = view_get(a->v, CF_SITE, &key, &known);
	if (rc != ET_ENOTFOUND) {
		return rc;
	}
	(void)snprintf(text, sizeof(text), "%s", name);
	site.name = text;
	return site_put(a, &site);
}

int certificate_put(struct apply *a, const Et__Certificate *c)
{
	struct key key = key_u64(c->node);

	return state_put_message(a->s, CF_CERTIFICATE, &key, c);
}

/* "kek:N" of a version that is there (or is being added), or the key of a CA. */
static int secret_check(struct apply *a, const char *secret, uint32_t adding)
{
	ET_CLEANUP(message_freep) Et__Kek *kek = NULL;
	uint64_t version = 0;

	bool is_ca = false;

	int rc = ca_secret_check(a, secret, &is_ca);
	if (rc < 0 || is_ca) {
		return rc;
	}
	bool good = strncmp(secret, "kek:", 4) == 0 && secret[4] >= '1' && secret[4] <= '9';
	for (const char *p = secret + 4; good && *p != '\0'; p++) {
		good = *p >= '0' && *p <= '9' && version <= UINT32_MAX;
		version = version * 10 + (uint64_t)(*p - '0');
	}
	if (!good || version > UINT32_MAX) {
		return refuse(a, ET_EREFUSED, "'%.64s' is no secret to grant", secret);
	}
	if (version == adding) {
		return 0;
	}
	rc = et_state_get_kek(a->v, (uint32_t)version, &kek);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "KEK version %u is not known", (unsigned)version);
	}
	if (rc == 0 && (kek->state == ET__KEK_STATE__KEK_DESTROYED ||
			kek->state == ET__KEK_STATE__KEK_DESTROY_SCHEDULED)) {
		return refuse(a, ET_EREFUSED, "KEK version %u is being destroyed",
			      (unsigned)version);
	}
	return rc;
}

int grants_check_adding(struct apply *a, Et__Grant *const *grants, size_t count,
			const Et__Node *joining, uint32_t adding_kek)
{
	for (size_t i = 0; i < count; i++) {
		ET_CLEANUP(message_freep) Et__Node *known = NULL;
		const Et__Grant *g = grants[i];
		const Et__Node *node = joining;

		if (joining == NULL || joining->id != g->node) {
			int rc = apply_member(a, g->node, &known);
			if (rc < 0) {
				return rc;
			}
			node = known;
		}
		if (!node_has_role(node, "vault")) {
			return refuse(a, ET_EDENIED, "node %llu is no vault: it gets no grant",
				      (unsigned long long)g->node);
		}
		int rc = secret_check(a, g->secret, adding_kek);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

int grants_check(struct apply *a, Et__Grant *const *grants, size_t count, const Et__Node *joining)
{
	return grants_check_adding(a, grants, count, joining, 0);
}

int grants_put(struct apply *a, Et__Grant *const *grants, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct key key = key_grant(grants[i]->secret, grants[i]->node);
		int rc = state_put_message(a->s, CF_GRANT, &key, grants[i]);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

/* ---- ClusterInit ---- */

static int token_check(struct apply *a, const Et__Token *t)
{
	bool join = strcmp(t->kind, "join") == 0;

	if (!join && strcmp(t->kind, "api") != 0) {
		return refuse(a, ET_EREFUSED, "a token is for join or api, not '%.16s'", t->kind);
	}
	if (join ? t->public_key.len != 32 : t->secret_hash.len != 32) {
		return refuse(a, ET_EREFUSED, "a token for %s needs its %s", t->kind,
			      join ? "public key" : "hash");
	}
	return 0;
}

static int token_put(struct apply *a, const Et__Token *t)
{
	struct key key = key_of(t->id.data, 16);

	return state_put_message(a->s, CF_TOKEN, &key, t);
}

static int cluster_init_check(struct apply *a, const Et__ClusterInit *init)
{
	if (a->s->cluster != NULL) {
		return refuse(a, ET_EEXISTS, "this is cluster '%.64s' already",
			      a->s->cluster->name);
	}
	if (init->node->id == 0 || init->node->id != a->c->op->node) {
		return refuse(a, ET_EREFUSED, "the first node makes the cluster itself");
	}
	if (init->kek->version != 1) {
		return refuse(a, ET_EREFUSED, "the first KEK is version 1");
	}
	if (init->admin != NULL) {
		int rc = token_check(a, init->admin);
		if (rc < 0) {
			return rc;
		}
	}
	return grants_check_adding(a, init->grants, init->n_grants, init->node, 1);
}

static int cluster_init_write(struct apply *a, const Et__ClusterInit *init)
{
	Et__Cluster cluster = *init->cluster;
	Et__Node node = *init->node;
	Et__Kek kek = *init->kek;

	cluster.next_node_id = node.id + 1;
	cluster.cluster_time_us = cluster.created_us;
	cluster.schema = cluster.schema != 0 ? cluster.schema : 1;
	cluster.epoch = 0;
	cluster.restoring = false;
	node.state = ET__NODE_STATE__ACTIVE;
	kek.state = ET__KEK_STATE__KEK_ACTIVE;
	kek.activated_us = cluster.created_us;
	kek.escrow_us = kek.escrow_shares != 0 ? cluster.created_us : 0;
	int rc = cluster_put(a, &cluster);
	for (size_t i = 0; i < init->n_sites && rc == 0; i++) {
		rc = site_put(a, init->sites[i]);
	}
	rc = rc < 0 ? rc : site_ensure(a, node.site);
	rc = rc < 0 ? rc : node_put(a, &node);
	rc = rc < 0 ? rc : kek_put(a, &kek);
	rc = rc < 0 ? rc : grants_put(a, init->grants, init->n_grants);
	if (rc == 0 && init->certificate != NULL) {
		Et__Certificate certificate = *init->certificate;
		certificate.node = node.id;
		rc = certificate_put(a, &certificate);
	}
	if (rc == 0 && init->admin != NULL) {
		rc = token_put(a, init->admin);
	}
	return rc;
}

int apply_cluster_init(struct apply *a)
{
	const Et__ClusterInit *init = a->c->cluster_init;

	int rc = cluster_init_check(a, init);
	if (rc < 0) {
		return rc;
	}
	result_id(a, init->cluster->id);
	a->o->result.number = init->node->id;
	return cluster_init_write(a, init);
}

/* ---- Tokens ---- */

int apply_token_add(struct apply *a)
{
	const Et__Token *t = a->c->token_add->token;
	ET_CLEANUP(message_freep) Et__Token *known = NULL;

	int rc = token_check(a, t);
	if (rc < 0) {
		return rc;
	}
	rc = et_state_get_token(a->v, t->id.data, &known);
	if (rc == 0) {
		return refuse(a, ET_EEXISTS, "there is a token of this id");
	}
	if (rc != ET_ENOTFOUND) {
		return rc;
	}
	result_id(a, t->id);
	return token_put(a, t);
}

int apply_token_revoke(struct apply *a)
{
	ET_CLEANUP(message_freep) Et__Token *t = NULL;

	int rc = et_state_get_token(a->v, a->c->token_revoke->id.data, &t);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "the token is not known");
	}
	if (rc < 0) {
		return rc;
	}
	result_id(a, t->id);
	t->revoked = true;
	return token_put(a, t);
}

/* ---- NodeJoin ---- */

static uint32_t schema_of(const Et__Node *n)
{
	return n->schema != 0 ? n->schema : 1;
}

struct join_search {
	const Et__NodeJoin *join;
	uint64_t joined; /* the node that this very request made */
	bool name_taken;
};

static int join_search_each(void *arg, const void *message)
{
	struct join_search *s = arg;
	const Et__Node *n = message;

	if (!node_is_member(n)) {
		return 0;
	}
	if (bytes_equal(n->join_request_hash, s->join->request_hash)) {
		s->joined = n->id;
	}
	s->name_taken |= n->name[0] != '\0' && strcmp(n->name, s->join->node->name) == 0;
	return 0;
}

static int join_token_check(struct apply *a, const Et__NodeJoin *join, const Et__Token *t)
{
	if (strcmp(t->kind, "join") != 0) {
		return refuse(a, ET_EDENIED, "the token is not one to join with");
	}
	if (t->revoked) {
		return refuse(a, ET_EDENIED, "the token is revoked");
	}
	if (t->expires_us <= apply_time(a)) {
		return refuse(a, ET_EDENIED, "the token is expired");
	}
	if (t->uses_left == 0) {
		return refuse(a, ET_EDENIED, "the token is used up");
	}
	if (t->site[0] != '\0' && join->node->site[0] != '\0' &&
	    strcmp(t->site, join->node->site) != 0) {
		return refuse(a, ET_EDENIED, "the token is for site '%.64s'", t->site);
	}
	for (size_t i = 0; i < join->node->n_roles; i++) {
		Et__Node may = ET__NODE__INIT;
		may.n_roles = t->n_roles;
		may.roles = t->roles;
		if (!node_has_role(&may, join->node->roles[i])) {
			return refuse(a, ET_EDENIED, "the token does not give the role '%.32s'",
				      join->node->roles[i]);
		}
	}
	return 0;
}

/* Roles and site come from the token. */
static int join_write(struct apply *a, const Et__NodeJoin *join, Et__Token *token)
{
	Et__Node node = *join->node;
	Et__Cluster cluster = *a->s->cluster;

	node.n_roles = token->n_roles;
	node.roles = token->roles;
	node.site = token->site[0] != '\0' ? token->site : node.site;
	node.state = node.state == ET__NODE_STATE__ACTIVE ? node.state : ET__NODE_STATE__JOINING;
	node.joined_us = apply_time(a);
	node.join_request_hash = join->request_hash;
	int rc = grants_check(a, join->grants, join->n_grants, &node);
	if (rc == 0 && join->certificate != NULL) {
		rc = ca_welcome(a, join->certificate->ca);
	}
	if (rc < 0) {
		return rc;
	}
	token->uses_left--;
	cluster.next_node_id = node.id + 1;
	rc = token_put(a, token);
	rc = rc < 0 ? rc : site_ensure(a, node.site);
	rc = rc < 0 ? rc : node_put(a, &node);
	rc = rc < 0 ? rc : grants_put(a, join->grants, join->n_grants);
	if (rc == 0 && join->certificate != NULL) {
		Et__Certificate certificate = *join->certificate;
		certificate.node = node.id;
		rc = certificate_put(a, &certificate);
	}
	return rc < 0 ? rc : cluster_put(a, &cluster);
}

int apply_node_join(struct apply *a)
{
	const Et__NodeJoin *join = a->c->node_join;
	ET_CLEANUP(message_freep) Et__Token *token = NULL;
	struct join_search search = { .join = join };
	struct key all = { 0 };

	int rc = view_walk_messages(a->v, CF_NODE, &all, &et__node__descriptor, join_search_each,
				    &search);
	if (rc < 0) {
		return rc;
	}
	if (search.joined != 0) { /* the same request again: it used its token once */
		a->o->result.number = search.joined;
		return 0;
	}
	rc = et_state_get_token(a->v, join->token.data, &token);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_EDENIED, "the token is not known");
	}
	if (rc == 0) {
		rc = join_token_check(a, join, token);
	}
	if (rc < 0) {
		return rc;
	}
	if (join->node->id != a->s->cluster->next_node_id) {
		return refuse(a, ET_ESTALE, "the next node id is %llu",
			      (unsigned long long)a->s->cluster->next_node_id);
	}
	if (search.name_taken) {
		return refuse(a, ET_EEXISTS, "there is a node '%.64s'", join->node->name);
	}
	if (schema_of(join->node) < a->s->cluster->schema) {
		return refuse(a, ET_EVERSION, "its build knows schema %u, the cluster's is %u",
			      schema_of(join->node), a->s->cluster->schema);
	}
	if (join->node->spki_hash.len != 32) {
		return refuse(a, ET_EREFUSED, "a node joins with its key");
	}
	a->o->result.number = join->node->id;
	return join_write(a, join, token);
}

/* ---- Certificates, grants ---- */

int apply_certificate_add(struct apply *a)
{
	const Et__CertificateAdd *add = a->c->certificate_add;
	const Et__Certificate *c = add->certificate;
	ET_CLEANUP(message_freep) Et__Node *node = NULL;

	int rc = apply_member(a, c->node, &node);
	rc = rc < 0 ? rc : ca_welcome(a, c->ca);
	if (rc < 0) {
		return rc;
	}
	a->o->result.number = c->node;
	if (c->spki_hash.len != 32) {
		return refuse(a, ET_EREFUSED, "a certificate needs the hash of its key");
	}
	if (bytes_equal(c->spki_hash, node->spki_hash)) {
		return certificate_put(a, c);
	}
	/* A new key takes the place of the one that its maker knew. */
	if (!bytes_equal(add->spki_hash, node->spki_hash)) {
		return refuse(a, ET_EUNTRUSTED, "the key is not the recorded one of node %llu",
			      (unsigned long long)c->node);
	}
	Et__Node after = *node;
	after.spki_hash = c->spki_hash;
	rc = node_put(a, &after);
	return rc < 0 ? rc : certificate_put(a, c);
}

int apply_grant_add(struct apply *a)
{
	const Et__GrantAdd *add = a->c->grant_add;

	int rc = vault_speaks(a);
	rc = rc < 0 ? rc : grants_check(a, add->grants, add->n_grants, NULL);
	return rc < 0 ? rc : grants_put(a, add->grants, add->n_grants);
}

/* ---- Time, sites ---- */

/* The first tick sets the time, later ones let it go on: at most by a step, so that one wrong clock
 * cannot carry it away; after a long pause several ticks catch up. */
int apply_tick(struct apply *a)
{
	Et__Cluster cluster = *a->s->cluster;
	int64_t now = cluster.cluster_time_us;
	int64_t told = a->c->tick->time_us;
	uint8_t yes = 1;
	struct key ticked = key_meta("ticked");

	if (told < now) {
		a->o->result.number = (uint64_t)now;
		return refuse(a, ET_ESTALE, "cluster time is past that");
	}
	if (a->s->ticked && told - now > TICK_STEP_MAX_US) {
		told = now + TICK_STEP_MAX_US;
	}
	if (!a->s->ticked) {
		state_put(a->s, CF_META, &ticked, &yes, sizeof(yes));
		a->s->ticked = true;
	}
	a->o->result.number = (uint64_t)told;
	cluster.cluster_time_us = told;
	return cluster_put(a, &cluster);
}

int apply_site_set(struct apply *a)
{
	return site_put(a, a->c->site_set->site);
}

/* ---- Schema, digest ---- */

struct upgrade {
	uint32_t to;
	uint64_t blocker; /* the first member whose build is too old */
	uint32_t schema;  /* its */
};

static int upgrade_each(void *arg, const void *message)
{
	struct upgrade *u = arg;
	const Et__Node *n = message;

	if (node_is_member(n) && schema_of(n) < u->to && u->blocker == 0) {
		u->blocker = n->id;
		u->schema = schema_of(n);
	}
	return 0;
}

/* Only what is committed counts, never this build: all nodes must come to the same answer. A node
 * whose build is too old in spite of what it said stops at the next entry. */
int apply_cluster_upgrade(struct apply *a)
{
	const Et__ClusterUpgrade *told = a->c->cluster_upgrade;
	struct upgrade u = { .to = told->to };
	struct key all = { 0 };
	Et__Cluster after = *a->s->cluster;

	if (told->expect_from != after.schema) {
		return refuse(a, ET_ESTALE, "the cluster's schema is %u", after.schema);
	}
	if (told->to <= after.schema) {
		return refuse(a, ET_EREFUSED, "a schema is never lowered");
	}
	int rc = view_walk_messages(a->v, CF_NODE, &all, &et__node__descriptor, upgrade_each, &u);
	if (rc < 0) {
		return rc;
	}
	if (u.blocker != 0) {
		return refuse(a, ET_EREFUSED, "node %llu knows schema %u only",
			      (unsigned long long)u.blocker, u.schema);
	}
	after.schema = told->to;
	a->o->result.number = told->to;
	return cluster_put(a, &after);
}

/* Nothing is compared here: what a node thinks of its own digest is not replicated. */
int apply_digest_check(struct apply *a)
{
	const Et__DigestCheck *c = a->c->digest_check;

	if (c->index == 0 || c->index >= a->index) {
		return refuse(a, ET_EREFUSED, "a digest is checked at an earlier index");
	}
	a->o->result.number = c->index;
	return 0;
}
