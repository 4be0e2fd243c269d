/* Raft as an operator sees and moves it: its leader, its peers, a snapshot. Any node can be asked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node/api/members_internal.h"
#include "node/io/clock.h"

#define PEERS_WAIT_US (5 * INT64_C(1000000))
#define LEADER_WAIT_US (15 * INT64_C(1000000))
#define TRANSFER_TIMEOUT_MS 40000
#define SNAPSHOT_TIMEOUT_MS 70000

/* ---- Leadership ---- */

bool api_is_voter_now(const struct et_catalog_status *s, uint64_t node)
{
	for (uint32_t i = 0; i < s->member_count; i++) {
		if (s->members[i].node == node) {
			return s->members[i].role == ET_CATALOG_VOTER;
		}
	}
	return false;
}

static void on_transferred(void *arg, int code, const Et__Result *result)
{
	(void)result;
	api_wait_answer(arg, code);
}

int api_leader_wait(struct api_call *call, uint64_t old, uint64_t want, uint64_t *ret,
		    struct et_error *reterr)
{
	const struct timespec pause = { .tv_nsec = 50 * 1000000 };
	int64_t until = et_clock_mono_us() + LEADER_WAIT_US;
	struct et_catalog_status raft;

	do {
		et_catalog_status(call->api->services.catalog, &raft);
		if (raft.leader != 0 && (want != 0 ? raft.leader == want : raft.leader != old)) {
			*ret = raft.leader;
			return 0;
		}
		(void)nanosleep(&pause, NULL);
	} while (et_clock_mono_us() < until && !atomic_load(&call->api->stopping));
	return et_fail_plain(reterr, ET_EUNREACHABLE, "leadership was not taken over in 15 s");
}

int api_transfer(struct api_call *call, uint64_t to, struct et_error *reterr)
{
	struct api_wait *w = api_wait_new(call->api);

	if (w == NULL) {
		return et_fail(reterr, -ENOMEM, "hand leadership over");
	}
	int rc = et_catalog_transfer_from(call->api->services.catalog, to, on_transferred, w);
	if (rc < 0) {
		api_wait_unref(w);
	} else {
		rc = api_wait_for(call->api, w, TRANSFER_TIMEOUT_MS);
	}
	api_wait_unref(w);
	if (rc == ET_EUNREACHABLE) {
		return et_fail_plain(reterr, rc, "the other node did not take leadership over");
	}
	return rc < 0 ? et_fail(reterr, rc, "hand leadership over") : 0;
}

int api_raft_transfer(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "to", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	ET_CLEANUP(api_node_freep) Et__Node *to = NULL;
	struct et_catalog_status raft;
	struct et_state_view *v;
	uint64_t event = 0;
	uint64_t leader = 0;

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	const char *name = et_json_get_text(body, "to", "");
	rc = rc < 0 ? rc : api_view_fresh(call, &v, reterr);
	if (rc == 0 && *name != '\0') {
		rc = api_node_find(v, name, &to, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	et_catalog_status(call->api->services.catalog, &raft);
	if (to != NULL && !api_is_voter_now(&raft, to->id)) {
		rc = et_fail_plain(reterr, ET_EREFUSED, "%s is no voter: it cannot lead", to->name);
		(void)et_fail_next(reterr, "evertape node promote %s", to->name);
		return rc;
	}
	if (to == NULL || to->id != raft.leader) {
		rc = api_audit(call, "raft.transfer", to != NULL ? to->name : "any voter", "",
			       et_json_get_text(body, "reason", ""), &event, reterr);
		rc = rc < 0 ? rc : api_transfer(call, to != NULL ? to->id : 0, reterr);
	}
	rc = rc < 0 ? rc
		    : api_leader_wait(call, raft.leader, to != NULL ? to->id : 0, &leader, reterr);
	if (rc < 0) {
		return rc;
	}
	struct api_nodes names;
	api_nodes_load(v, &names);
	json_t *o = json_object();
	et_json_set(o, "leader", et_json_text(api_node_name(&names, leader)));
	et_json_set(o, "leader_id", et_json_u64(leader));
	return api_json(call, 200, o);
}

static void on_snapshot(void *arg, int code, uint64_t index)
{
	struct api_wait *w = arg;
	w->index = index;
	api_wait_answer(w, code);
}

int api_raft_snapshot(struct api_call *call, struct et_error *reterr)
{
	struct api_wait *w = api_wait_new(call->api);

	if (w == NULL) {
		return et_fail(reterr, -ENOMEM, "snapshot");
	}
	int rc = et_catalog_snapshot_from(call->api->services.catalog, on_snapshot, w);
	if (rc < 0) {
		api_wait_unref(w);
	} else {
		rc = api_wait_for(call->api, w, SNAPSHOT_TIMEOUT_MS);
	}
	uint64_t index = rc < 0 ? 0 : w->index;
	api_wait_unref(w);
	if (rc < 0) {
		return et_fail(reterr, rc, "snapshot");
	}
	json_t *o = json_object();
	et_json_set(o, "node", et_json_text(call->api->config.name));
	et_json_set(o, "index", et_json_u64(index));
	return api_json(call, 200, o);
}

/* ---- Raft's members, as the leader sees them ---- */

struct peer_names {
	const struct et_state_view *view;
	json_t *list;
	uint64_t leader;
};

static void peer_add(struct peer_names *n, const json_t *peer)
{
	Et__Node *node = NULL;
	uint64_t id = (uint64_t)et_json_get_int(peer, "id", 0);
	json_t *o = json_deep_copy(peer);

	if (et_state_get_node(n->view, id, &node) == 0) {
		et_json_set(o, "name", et_json_text(node->name));
		et_json_set(o, "site", et_json_text(node->site));
		et_json_set(o, "address", et_json_text(node->address));
		if (api_node_has_role(node, "witness")) {
			et_json_set(o, "witness", json_true());
		}
		et__node__free_unpacked(node, NULL);
	}
	et_json_set(o, "leader", json_boolean(id == n->leader));
	et_json_add(n->list, o);
}

/* Until a leader has said what it sees: a new one does within a second or two. A new array of what
 * the nodes said last. */
static json_t *peers_wait(struct api_call *call, struct et_catalog_status *raft)
{
	const struct timespec pause = { .tv_nsec = 50 * 1000000 };
	int64_t until = et_clock_mono_us() + PEERS_WAIT_US;

	for (;;) {
		et_catalog_status(call->api->services.catalog, raft);
		json_t *live = api_live_nodes(call);
		const json_t *leader = raft->leader != 0 ? api_live_of(live, raft->leader) : NULL;
		if (json_array_size(json_object_get(leader, "raft_peers")) > 0 ||
		    et_clock_mono_us() >= until || atomic_load(&call->api->stopping)) {
			return live;
		}
		json_decref(live);
		(void)nanosleep(&pause, NULL);
	}
}

static const char *peers_missing(const struct et_catalog_status *raft, const json_t *leader)
{
	if (raft->leader == 0) {
		return "there is no leader: evertape status says how many voters are heard; ask "
		       "again when a majority is up";
	}
	if (leader == NULL || !et_json_get_bool(leader, "reachable", false)) {
		return "this node cannot hear the leader: ask at another one";
	}
	return "the leader has not said yet what it sees: ask again";
}

int api_raft_peers(struct api_call *call, struct et_error *reterr)
{
	struct et_catalog_status raft;
	struct et_state_view *v;
	struct api_nodes names;
	size_t i;
	json_t *peer;

	ET_CLEANUP(et_json_freep) json_t *live = peers_wait(call, &raft);
	int rc = api_view(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	const json_t *leader = api_live_of(live, raft.leader);
	struct peer_names n = { .view = v, .list = json_array(), .leader = raft.leader };
	json_array_foreach(json_object_get(leader, "raft_peers"), i, peer)
	{
		peer_add(&n, peer);
	}
	api_nodes_load(v, &names);
	json_t *o = json_object();
	et_json_set(o, "leader", et_json_text(api_node_name(&names, raft.leader)));
	et_json_set(o, "term", et_json_u64(raft.term));
	et_json_set(o, "has_quorum", json_boolean(raft.has_quorum));
	et_json_set(o, "commit_index", et_json_u64(raft.commit_index));
	et_json_set(o, "heard_ms", json_incref(json_object_get(leader, "heard_ms")));
	bool complete = json_array_size(n.list) > 0;
	et_json_set(o, "complete", json_boolean(complete));
	et_json_set(o, "why", et_json_text(complete ? "" : peers_missing(&raft, leader)));
	et_json_set(o, "peers", n.list);
	if (json_object_get(leader, "change") != NULL) {
		et_json_set(o, "change", json_incref(json_object_get(leader, "change")));
	}
	return api_json(call, 200, o);
}
