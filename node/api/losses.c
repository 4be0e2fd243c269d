/* Which losses the cluster survives now: gathers what survives.c judges, and shows the verdicts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/losses_internal.h"
#include "node/api/members_internal.h"
#include "node/api/survives_internal.h"

struct gathering {
	const struct api_call *call;
	const struct et_state_view *view;
	const struct api_picture *picture;
	const json_t *live;
	struct survive_view v;
	struct survive_node nodes[SURVIVE_NODES_MAX];
	struct survive_site sites[ET_SYNC_SITES_MAX];
	struct survive_loss losses[SURVIVE_LOSSES_MAX];
	bool overflow;
};

/* ---- Members ---- */

static const struct et_catalog_member *raft_of(const struct gathering *g, uint64_t id)
{
	for (uint32_t i = 0; i < g->picture->raft.member_count; i++) {
		if (g->picture->raft.members[i].node == id) {
			return &g->picture->raft.members[i];
		}
	}
	return NULL;
}

static int gather_node(void *arg, const Et__Node *node)
{
	struct gathering *g = arg;
	const struct et_catalog_member *raft = raft_of(g, node->id);
	const json_t *said = api_live_of(g->live, node->id);
	bool gone = api_node_is_gone(node);

	if (gone && raft == NULL) {
		return 0;
	}
	if (g->v.node_count == SURVIVE_NODES_MAX) {
		g->overflow = true;
		return 0;
	}
	struct survive_node *n = &g->nodes[g->v.node_count++];
	bool self = node->id == g->call->api->services.node;
	bool heard = said != NULL && et_json_get_bool(said, "reachable", false);
	*n = (struct survive_node){
		.id = node->id,
		.votes = raft != NULL && raft->role == ET_CATALOG_VOTER,
		.answers = self || (heard && (raft == NULL || raft->reachable)),
		.stores = !gone && api_node_stores(node),
		/* Who hears nothing of the catalogue has nothing to open. */
		.opens = !gone && api_node_has_role(node, "vault") && raft != NULL &&
					 raft->role != ET_CATALOG_SPARE
				 ? UINT64_MAX
				 : 0,
		.live_calls = said != NULL ? (uint32_t)et_json_get_int(said, "live_calls", 0) : 0,
	};
	(void)snprintf(n->name, sizeof(n->name), "%.63s", node->name);
	(void)snprintf(n->site, sizeof(n->site), "%.63s", node->site);
	return 0;
}

/* ---- Keys ---- */

/* Versions beyond the last bit share it: it stays set for those who hold all of them. */
static void gather_secret(struct gathering *g, const char *name)
{
	size_t bit = g->v.secret_count < SURVIVE_SECRETS_MAX ? g->v.secret_count
							     : SURVIVE_SECRETS_MAX - 1;

	if (g->v.secret_count < SURVIVE_SECRETS_MAX) {
		g->v.secret_count++;
		(void)snprintf(g->v.secrets[bit], sizeof(g->v.secrets[bit]), "%.15s", name);
	}
	for (size_t i = 0; i < g->v.node_count; i++) {
		if (g->nodes[i].opens != 0 && !et_state_has_grant(g->view, name, g->nodes[i].id)) {
			g->nodes[i].opens &= ~(UINT64_C(1) << bit);
		}
	}
}

static int gather_kek(void *arg, const Et__Kek *kek)
{
	char name[24];

	if (kek->state != ET__KEK_STATE__KEK_DESTROYED) {
		(void)snprintf(name, sizeof(name), "kek:%u", (unsigned)kek->version);
		gather_secret(arg, name);
	}
	return 0;
}

/* ---- Copies ---- */

static bool position_of(const struct gathering *g, uint64_t id, size_t *ret)
{
	for (size_t i = 0; i < g->v.node_count; i++) {
		if (g->nodes[i].id == id) {
			*ret = i;
			return true;
		}
	}
	return false;
}

/* The count's bits become those of `nodes`. */
static void places_move(const struct gathering *g, struct survey_result *r)
{
	size_t to[SURVIVE_NODES_MAX];

	for (size_t i = 0; i < r->node_count; i++) {
		if (!position_of(g, r->nodes[i], &to[i])) {
			to[i] = SURVIVE_NODES_MAX; /* removed since: it holds nothing */
		}
	}
	for (size_t p = 0; p < r->place_count; p++) {
		struct survive_set at = { 0 };
		for (size_t i = 0; i < r->node_count; i++) {
			bool has = survive_set_has(&r->places[p].at, i);
			if (has && to[i] < SURVIVE_NODES_MAX) {
				survive_set_add(&at, to[i]);
			}
		}
		r->places[p].at = at;
	}
}

static void gather_copies(struct gathering *g, struct survey_result *r, uint64_t segments)
{
	const struct et_sync_status *sync = &g->picture->sync;

	places_move(g, r);
	g->v.copies_known = r->complete && !g->overflow;
	g->v.places = r->places;
	g->v.place_count = r->place_count;
	g->v.newer = segments > r->segments ? segments - r->segments : 0;
	g->v.pending_known = g->picture->has_sync && sync->scanned_index > 0;
	g->v.sites = g->sites;
	for (uint32_t i = 0; g->picture->has_sync && i < sync->site_count; i++) {
		struct survive_site *s = &g->sites[g->v.site_count++];
		(void)snprintf(s->name, sizeof(s->name), "%s", sync->sites[i].site);
		s->pending = sync->sites[i].pending_segments;
	}
}

/* ---- The answer ---- */

static json_t *loss_json(const struct survive_loss *l)
{
	json_t *o = json_object();
	json_t *lacks = json_array();

	if (!l->survives && !l->votes) {
		et_json_add(lacks, json_string("votes"));
	}
	if (!l->survives && !l->keys) {
		et_json_add(lacks, json_string("keys"));
	}
	if (!l->survives && !l->copies) {
		et_json_add(lacks, json_string("copies"));
	}
	et_json_set(o, "loss", et_json_text(l->loss));
	et_json_set(o, "survives", json_boolean(l->survives));
	et_json_set(o, "lacks", lacks);
	et_json_set(o, "why", et_json_text(l->why));
	return o;
}

json_t *api_survives_json(struct api_call *call, const struct et_state_view *v,
			  const struct api_picture *p, struct et_state_counts *counts)
{
	struct gathering *g = calloc(1, sizeof(*g));
	struct survey_result r = { 0 };
	json_t *list = json_array();
	char name[ET_STATE_CA_SECRET_SIZE];
	Et__Cluster *cluster = NULL;

	if (g == NULL) {
		return list;
	}
	ET_CLEANUP(et_json_freep) json_t *live = api_live_nodes(call);
	*g = (struct gathering){ .call = call, .view = v, .picture = p, .live = live };
	g->v.nodes = g->nodes;
	int rc = et_state_each_node(v, gather_node, g);
	rc = rc < 0 ? rc : et_state_each_kek(v, gather_kek, g);
	rc = rc < 0 ? rc : et_state_get_cluster(v, &cluster);
	if (rc == 0) {
		et_state_ca_secret(et_state_ca_number(cluster, 0), name);
		et__cluster__free_unpacked(cluster, NULL);
		gather_secret(g, name);
		rc = survey_get(&call->api->survey, call->api->services.state, v, &r);
	}
	if (rc == 0) {
		gather_copies(g, &r, counts->segments);
		/* Those on removed nodes are in the catalogue's counter. */
		counts->copies = r.complete ? r.copies : counts->copies;
		size_t count = survive_losses(&g->v, g->losses, ET_ARRAY_SIZE(g->losses));
		for (size_t i = 0; i < count; i++) {
			et_json_add(list, loss_json(&g->losses[i]));
		}
	}
	survey_release(&r);
	free(g);
	return list;
}
