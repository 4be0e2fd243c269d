/* Grants for vault nodes that lack them: a node that got the role after it joined, a KEK version or
 * the CA that a restore could not hand on.
 *
 *   catalogue: "vault", without a grant of a living secret
 *     ─▶ of the vault nodes that hold that secret, the first by number seals it to the node's key
 *        and proposes GrantAdd; the second does so a round later, if it is still missing, and so on
 *
 * Possible failure modes are
 *   - no majority: the proposal fails, the next round tries again;
 *   - the first does not answer, or its grant does not open: the next one stands in;
 *   - nobody holds the secret: nothing can be done here; status says VAULT_NO_GRANT there;
 *   - the role was taken away meanwhile: the catalogue refuses.
 *
 * A grant is made once: who holds one is not looked at again. */
#include <stdio.h>
#include <string.h>

#include "node/base/log.h"
#include "node/keeper/keeper_internal.h"

/* ---- What is missing ---- */

struct lack {
	struct et_keeper *k;
	const struct et_state_view *v;
	const Et__Cluster *cluster;
	const Et__Node *node; /* that lacks; borrowed for the walk */
	const char *secret;   /* that is looked at */
	uint32_t version;     /* its; of the CA key: the active one */
	uint32_t active;
	unsigned rank; /* of this node among those who hold it */
	bool missing;  /* somebody lacks something that somebody has */
	struct grant_list list;
	uint64_t to; /* whom the list is for; 0: it is empty */
};

static int rank_node(void *arg, const Et__Node *node)
{
	struct lack *l = arg;

	l->rank += node->id < l->k->identity.node && node_is_vault(node) &&
		   et_state_has_grant(l->v, l->secret, node->id);
	return 0;
}

static void lack_secret(struct lack *l, const char *secret)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *opened = NULL;
	struct et_keeper *k = l->k;

	if (et_state_has_grant(l->v, secret, l->node->id) ||
	    !et_state_has_grant(l->v, secret, k->identity.node) || l->list.count == SECRETS_MAX) {
		return;
	}
	l->missing = true;
	l->secret = secret;
	l->rank = 0;
	(void)et_state_each_node(l->v, rank_node, l);
	if (l->rank > k->grants_missed) {
		return; /* It is for another one first. */
	}
	struct et_error e = { 0 };
	int rc = secret_open(l->v, secret, k->identity.node, &k->keys, &opened, &e);
	rc = rc < 0 ? rc
		    : grant_make(secret, opened, l->node->id, seal_key_of(l->node, l->version),
				 &l->list.grants[l->list.count], &e);
	if (rc < 0) {
		et_warn("keeper.grants", "node=%llu secret=%s why=\"%s\"",
			(unsigned long long)l->node->id, secret, e.text);
		return;
	}
	l->list.count++;
	l->to = l->node->id;
}

static int lack_kek(void *arg, const Et__Kek *kek)
{
	char name[SECRET_NAME_BYTES];

	if (kek->state != ET__KEK_STATE__KEK_DESTROYED &&
	    kek->state != ET__KEK_STATE__KEK_DESTROY_SCHEDULED) {
		struct lack *l = arg;
		l->version = kek->version;
		l->active = kek->state == ET__KEK_STATE__KEK_ACTIVE ? kek->version : l->active;
		kek_secret_name(kek->version, name);
		lack_secret(arg, name);
	}
	return 0;
}

static int lack_node(void *arg, const Et__Node *node)
{
	struct lack *l = arg;
	char name[SECRET_NAME_BYTES];

	if (l->to != 0 || node->id == l->k->identity.node || !node_is_vault(node) ||
	    node->seal_public.len != 32) {
		return 0; /* One node at a time. */
	}
	l->node = node;
	int rc = et_state_each_kek(l->v, lack_kek, l);
	l->version = l->active;
	for (size_t i = 0; i < 2; i++) {
		uint32_t number = et_state_ca_number(l->cluster, i);
		et_state_ca_secret(number, name);
		if (number != 0) {
			lack_secret(l, name);
		}
	}
	return rc;
}

/* ---- Giving it ---- */

static void on_granted(void *arg, int code, const Et__Result *result)
{
	struct et_keeper *k = arg;

	k->granting = false;
	if (code < 0) {
		et_warn("keeper.grants", "code=%s why=\"%s\"", et_errname(code),
			result != NULL ? result->text : "");
	} else {
		grants_look(k); /* for the next node */
	}
	keeper_end(k);
}

static void grants_propose(struct et_keeper *k, struct lack *l)
{
	Et__GrantAdd add = ET__GRANT_ADD__INIT;
	Et__Command command = ET__COMMAND__INIT;
	char principal[32];
	char reason[] = "grants for a vault node";

	et_info("keeper.granting", "node=%llu secrets=%zu", (unsigned long long)l->to,
		l->list.count);
	(void)snprintf(principal, sizeof(principal), "node:%llu",
		       (unsigned long long)k->identity.node);
	add.n_grants = l->list.count;
	add.grants = l->list.grants;
	command.body_case = ET__COMMAND__BODY_GRANT_ADD;
	command.grant_add = &add;
	command.principal = principal;
	command.reason = reason;
	command.schema = ET_COMMAND_SCHEMA;
	k->granting = true;
	keeper_begin(k);
	et_catalog_propose(k->catalog, &command, PROPOSE_TIMEOUT_MS, on_granted, k);
}

/* Look once; is anything missing that somebody could give? */
static bool grants_give(struct et_keeper *k)
{
	struct lack l = { .k = k, .v = et_state_view_open(k->state) };

	if (l.v == NULL) {
		return true;
	}
	Et__Cluster *cluster = NULL;
	int rc = et_state_get_cluster(l.v, &cluster);
	l.cluster = cluster;
	if (rc == 0 && et_state_each_node(l.v, lack_node, &l) == 0 && l.to != 0) {
		grants_propose(k, &l);
	}
	grant_list_release(&l.list);
	et__cluster__free_unpacked(cluster, NULL);
	(void)et_state_view_close((struct et_state_view *)(uintptr_t)l.v);
	return l.missing;
}

void grants_round(struct et_keeper *k)
{
	if (k->granting || k->stopping) {
		return;
	}
	k->grants_missed = grants_give(k) ? k->grants_missed + 1 : 0;
}

static void on_look(void *arg)
{
	struct et_keeper *k = arg;

	k->grants_looking = false;
	if (!k->granting && !k->stopping) {
		(void)grants_give(k);
	}
}

void grants_look(struct et_keeper *k)
{
	if (!k->grants_looking && !k->stopping) {
		k->grants_looking = true;
		keeper_defer(k, on_look, k);
	}
}
