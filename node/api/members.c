/* Nodes as an operator changes them: roles, draining, removal.
 *
 * What is asked for is committed to the catalogue; the leader then brings Raft's configuration to
 * it (node/daemon/membership.c), a step at a time. Any node can be asked. Everything may be asked
 * for again: what is so already is said to be so.
 *
 * Refused (ET_EPOLICY) unless the operator says otherwise, loudly:
 *   - what takes votes away so that those left and reachable are no majority   (force)
 *   - removing a node that was not drained                                     (cause)
 *     ("dead" never while it answers; ET_EBUSY while this node has just begun to ask)
 * Saying otherwise needs the cluster's name, as `confirm`. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/members_internal.h"

#define ROLES_MAX 16
#define REMOVE_ROUNDS 5
#define SILENT_MS 5000 /* asked for so long without an answer, a member may be dead */

/* ---- Finding a node ---- */

struct node_search {
	const char *text;
	uint64_t id;
	uint64_t found;
	bool found_member;
};

static int search_node(void *arg, const Et__Node *node)
{
	struct node_search *s = arg;
	bool hit = node->id == s->id || strcmp(node->name, s->text) == 0;
	bool member = !api_node_is_gone(node);

	/* A name may have been used before; the latest who bears it is meant. */
	if (hit && (member || !s->found_member)) {
		s->found = node->id;
		s->found_member = member;
	}
	return 0;
}

int api_node_find(const struct et_state_view *v, const char *text, Et__Node **ret,
		  struct et_error *reterr)
{
	struct node_search s = { .text = text };
	char *end = NULL;

	if (text[0] >= '0' && text[0] <= '9') {
		s.id = strtoull(text, &end, 10);
		s.id = *end == '\0' ? s.id : 0;
	}
	(void)et_state_each_node(v, search_node, &s);
	if (s.found == 0) {
		int rc = et_fail_plain(reterr, ET_ENOTFOUND, "there is no node \"%.64s\"", text);
		(void)et_fail_next(reterr, "evertape node list");
		return rc;
	}
	int rc = et_state_get_node(v, s.found, ret);
	return rc < 0 ? et_fail(reterr, rc, "node %s", text) : 0;
}

/* The node that the path names, in the newest view there is. */
static int path_node(struct api_call *call, struct et_state_view **ret_view, Et__Node **ret,
		     struct et_error *reterr)
{
	char text[80];

	if (!api_path_star(call->route->path, call->request.path, text, sizeof(text))) {
		return et_fail_plain(reterr, ET_EUSAGE, "no node is named in %s",
				     call->request.path);
	}
	int rc = api_view_fresh(call, ret_view, reterr);
	return rc < 0 ? rc : api_node_find(*ret_view, text, ret, reterr);
}

/* ---- Force ---- */

static int confirm_check(struct api_call *call, const json_t *body, const char *what,
			 struct et_error *reterr)
{
	const char *told = et_json_get_text(body, "confirm", "");
	const char *name = call->api->config.cluster;

	if (strcmp(told, name) == 0) {
		return 0;
	}
	int rc = et_fail_plain(reterr, ET_EPOLICY,
			       "%s needs the name of the cluster typed%s%.64s%s", what,
			       *told != '\0' ? ", not \"" : "", told, *told != '\0' ? "\"" : "");
	(void)et_fail_next(reterr, "the same with --confirm %s", name);
	return rc;
}

static bool quorum_stays(const struct et_catalog_status *s, uint64_t without)
{
	unsigned voters = 0;
	unsigned reachable = 0;

	for (uint32_t i = 0; i < s->member_count; i++) {
		const struct et_catalog_member *m = &s->members[i];
		if (m->role == ET_CATALOG_VOTER && m->node != without) {
			voters++;
			reachable += m->reachable;
		}
	}
	return voters > 0 && reachable >= voters / 2 + 1;
}

/* May this node lose its vote now? */
static int vote_check(struct api_call *call, const json_t *body, const Et__Node *node,
		      bool *ret_force, struct et_error *reterr)
{
	struct et_catalog_status raft;

	*ret_force = et_json_get_bool(body, "force", false);
	et_catalog_status(call->api->services.catalog, &raft);
	if (*ret_force) {
		return confirm_check(call, body, "force", reterr);
	}
	if (!api_is_voter_now(&raft, node->id) || quorum_stays(&raft, node->id)) {
		return 0;
	}
	int rc = et_fail_plain(reterr, ET_EPOLICY,
			       "without %s, the voters that can be reached would be no majority: "
			       "nothing could be committed any more",
			       node->name);
	(void)et_fail_next(reterr, "bring the other voters up first (evertape raft peers); or "
				   "--force, to go on all the same");
	return rc;
}

/* ---- Roles ---- */

static int words_take(const json_t *list, const char *what, char *words[ROLES_MAX], size_t *ret,
		      struct et_error *reterr)
{
	size_t i;
	json_t *item;

	*ret = 0;
	json_array_foreach((json_t *)(uintptr_t)list, i, item)
	{
		if (!json_is_string(item) || i == ROLES_MAX) {
			return et_fail_plain(reterr, ET_EUSAGE, "%s is a list of roles", what);
		}
		words[(*ret)++] = (char *)(uintptr_t)json_string_value(item);
	}
	return 0;
}

static bool words_vote(char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(words[i], "voter") == 0 || strcmp(words[i], "witness") == 0) {
			return true;
		}
	}
	return false;
}

static bool words_have_raft(char *const *words, size_t count)
{
	static const char *const raft[] = { "voter", "witness", "standby", "spare" };

	for (size_t i = 0; i < count; i++) {
		for (size_t r = 0; r < ET_ARRAY_SIZE(raft); r++) {
			if (strcmp(words[i], raft[r]) == 0) {
				return true;
			}
		}
	}
	return false;
}

/* The node as the catalogue has it now: for the answer. */
static int answer_node(struct api_call *call, uint64_t id, json_t *more, struct et_error *reterr)
{
	Et__Node *node = NULL;

	api_view_release(call);
	struct et_state_view *v = et_state_view_open(call->api->services.state);
	ET_CLEANUP(api_picture_freep) struct api_picture *p = api_picture_take(call->api);
	ET_CLEANUP(et_json_freep) json_t *live = api_live_nodes(call);
	int rc = v == NULL || p == NULL ? -ENOMEM : et_state_get_node(v, id, &node);
	if (rc == 0) {
		json_t *o = api_node_json(v, p, live, node);
		et_json_set(o, "self", json_boolean(id == call->api->services.node));
		(void)json_object_update(o, more);
		rc = api_json(call, 200, o);
	} else {
		rc = et_fail(reterr, rc, "node %" PRIu64, id);
	}
	api_node_freep(&node);
	(void)et_state_view_close(v);
	json_decref(more);
	return rc;
}

int api_node_roles(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = {
		"add", "remove", "expect", "force", "confirm", "reason"
	};
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	ET_CLEANUP(api_node_freep) Et__Node *node = NULL;
	Et__NodeRoles roles = ET__NODE_ROLES__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct et_state_view *v;
	char *words[3][ROLES_MAX];
	bool force = false;

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : path_node(call, &v, &node, reterr);
	rc = rc < 0 ? rc
		    : words_take(json_object_get(body, "add"), "add", words[0], &roles.n_add,
				 reterr);
	rc = rc < 0 ? rc
		    : words_take(json_object_get(body, "remove"), "remove", words[1],
				 &roles.n_remove, reterr);
	rc = rc < 0 ? rc
		    : words_take(json_object_get(body, "expect"), "expect", words[2],
				 &roles.n_expect, reterr);
	if (rc == 0 && roles.n_add + roles.n_remove == 0) {
		rc = et_fail_plain(reterr, ET_EUSAGE, "which roles are to be added or removed?");
	}
	bool loses_vote =
		words_have_raft(words[0], roles.n_add) && !words_vote(words[0], roles.n_add);
	if (rc == 0 && (loses_vote || et_json_get_bool(body, "force", false))) {
		rc = vote_check(call, body, node, &force, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	roles.node = node->id;
	roles.add = words[0];
	roles.remove = words[1];
	roles.expect = words[2];
	roles.force = force;
	if (roles.n_remove > 0 && node->state == ET__NODE_STATE__DRAINING) {
		struct api_holdings h;
		rc = api_holdings_read(v, node, &h, reterr);
		roles.seen_index = rc == 0 && h.left_segments == 0 ? h.index : 0;
		api_holdings_release(&h);
	}
	command.body_case = ET__COMMAND__BODY_NODE_ROLES;
	command.node_roles = &roles;
	rc = rc < 0 ? rc
		    : api_propose(call, &command, et_json_get_text(body, "reason", ""), NULL,
				  reterr);
	return rc < 0 ? rc : answer_node(call, node->id, json_object(), reterr);
}

/* ---- Draining ---- */

static json_t *holdings_json(const struct api_holdings *h)
{
	json_t *o = json_object();

	et_json_set(o, "index", et_json_u64(h->index));
	et_json_set(o, "segments", et_json_u64(h->segments));
	et_json_set(o, "bytes", et_json_u64(h->bytes));
	et_json_set(o, "left_segments", et_json_u64(h->left_segments));
	et_json_set(o, "left_bytes", et_json_u64(h->left_bytes));
	et_json_set(o, "alone_segments", et_json_u64(h->alone_segments));
	et_json_set(o, "alone_bytes", et_json_u64(h->alone_bytes));
	et_json_set(o, "alone_recordings", et_json_u64(h->alone_recordings));
	et_json_set(o, "recordings", json_incref(h->alone));
	et_json_set(o, "capturing", et_json_u64(h->capturing));
	return o;
}

/* What keeps the node from being empty, or NULL. */
static const char *drain_wants(const Et__Node *node, const struct api_holdings *h,
			       const json_t *live)
{
	bool heard = live != NULL && et_json_get_bool(live, "reachable", false);

	if (node->state != ET__NODE_STATE__DRAINING && api_node_stores(node)) {
		return "it was not told to drain";
	}
	if (h->left_segments > 0) {
		return "segments wait for a copy elsewhere";
	}
	if (h->capturing > 0) {
		return "calls are still being recorded";
	}
	if (!heard) {
		return "it cannot be asked for what is in its journal";
	}
	if (et_json_get_int(live, "pending", 1) > 0) {
		return "commands of its journal are not committed";
	}
	return NULL;
}

int api_node_holdings(struct api_call *call, struct et_error *reterr)
{
	ET_CLEANUP(api_node_freep) Et__Node *node = NULL;
	struct et_state_view *v;
	struct api_holdings h;

	int rc = path_node(call, &v, &node, reterr);
	rc = rc < 0 ? rc : api_holdings_read(v, node, &h, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(et_json_freep) json_t *live = api_live_nodes(call);
	const json_t *own = api_live_of(live, node->id);
	const char *wants = drain_wants(node, &h, own);
	json_t *o = holdings_json(&h);
	et_json_set(o, "id", et_json_u64(node->id));
	et_json_set(o, "name", et_json_text(node->name));
	et_json_set(o, "draining", json_boolean(node->state == ET__NODE_STATE__DRAINING));
	et_json_set(o, "pending",
		    own != NULL ? json_incref(json_object_get(own, "pending")) : json_null());
	et_json_set(o, "drained", json_boolean(wants == NULL));
	et_json_set(o, "why", et_json_text(wants != NULL ? wants : ""));
	api_holdings_release(&h);
	return api_json(call, 200, o);
}

int api_node_drain(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "draining", "stop_capture", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	ET_CLEANUP(api_node_freep) Et__Node *node = NULL;
	Et__NodeDrain drain = ET__NODE_DRAIN__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct et_state_view *v;

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : path_node(call, &v, &node, reterr);
	if (rc < 0) {
		return rc;
	}
	drain.node = node->id;
	drain.draining = et_json_get_bool(body, "draining", true);
	drain.stop_capture = et_json_get_bool(body, "stop_capture", false);
	command.body_case = ET__COMMAND__BODY_NODE_DRAIN;
	command.node_drain = &drain;
	rc = api_propose(call, &command, et_json_get_text(body, "reason", ""), NULL, reterr);
	if (rc == ET_EPOLICY) {
		(void)et_fail_next(reterr,
				   "evertape node drain %s --stop-capture: live calls end as they "
				   "would, new ones are not recorded there",
				   node->name);
	}
	return rc < 0 ? rc : answer_node(call, node->id, json_object(), reterr);
}

/* ---- Removal ---- */

enum cause { CAUSE_NONE, CAUSE_DEAD, CAUSE_STOLEN };

struct removal {
	json_t *body;	/* owned */
	Et__Node *node; /* owned */
	struct et_state_view *view;
	struct api_holdings holdings; /* owned */
	json_t *live;		      /* owned */
	enum cause cause;
	bool force;
	char reason[900];
	unsigned tokens; /* join tokens that were revoked with it */
};

static void removal_release(struct removal *r)
{
	json_decref(r->body);
	json_decref(r->live);
	api_node_freep(&r->node);
	api_holdings_release(&r->holdings);
}

static int cause_of(const json_t *body, enum cause *ret, struct et_error *reterr)
{
	const char *text = et_json_get_text(body, "cause", "");

	*ret = strcmp(text, "dead") == 0     ? CAUSE_DEAD
	       : strcmp(text, "stolen") == 0 ? CAUSE_STOLEN
					     : CAUSE_NONE;
	if (*ret == CAUSE_NONE && *text != '\0') {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "the cause is dead or stolen, not \"%.32s\"", text);
	}
	return 0;
}

/* In peace: it was drained, holds nothing alone, and its journal is committed. */
static int drained_check(const struct removal *r, struct et_error *reterr)
{
	const char *wants =
		api_node_stores(r->node)
			? drain_wants(r->node, &r->holdings, api_live_of(r->live, r->node->id))
			: NULL;
	if (wants == NULL) {
		return 0;
	}
	int rc = et_fail_plain(reterr, ET_EPOLICY,
			       "%s is not drained: %s (%" PRIu64 " segments left, of them %" PRIu64
			       " nowhere else)",
			       r->node->name, wants, r->holdings.left_segments,
			       r->holdings.alone_segments);
	(void)et_fail_next(reterr,
			   r->node->state == ET__NODE_STATE__DRAINING
				   ? "evertape node drain %s: waits until it is; or --reason "
				     "dead, if it is lost for ever"
				   : "evertape node drain %s; or --reason dead, if it is "
				     "lost for ever",
			   r->node->name);
	return rc;
}

/* How long this node has asked one that does not answer, SILENT_MS at most: whom it has heard once
 * was asked for long enough. One that it knows only from the catalogue yet was not. */
static int64_t silent_ms(struct api_call *call, const json_t *live)
{
	return live != NULL || call->api->config.backend.nodes == NULL
		       ? et_json_get_int(live, "known_ms", SILENT_MS)
		       : 0;
}

/* With its loss: said, and confirmed. */
static int loss_check(struct api_call *call, const struct removal *r, struct et_error *reterr)
{
	const json_t *live = api_live_of(r->live, r->node->id);
	const struct api_holdings *h = &r->holdings;
	char what[300];

	if (r->cause == CAUSE_DEAD && live != NULL && et_json_get_bool(live, "reachable", false)) {
		int rc = et_fail_plain(reterr, ET_EPOLICY, "%s is not dead: it answers",
				       r->node->name);
		(void)et_fail_next(reterr, "evertape node drain %s", r->node->name);
		return rc;
	}
	if (r->cause == CAUSE_DEAD && silent_ms(call, live) < SILENT_MS) {
		int rc = et_fail_plain(reterr, ET_EBUSY,
				       "%s has only just begun to ask %s: too early to call it "
				       "dead",
				       call->api->config.name, r->node->name);
		(void)et_fail_next(reterr, "again in %d s", SILENT_MS / 1000);
		return rc;
	}
	(void)snprintf(what, sizeof(what),
		       "this loses %" PRIu64 " segments of %" PRIu64
		       " recordings that are nowhere else, %" PRIu64
		       " calls that were being recorded, and whatever its journal holds; it",
		       h->alone_segments, h->alone_recordings, h->capturing);
	return confirm_check(call, r->body, what, reterr);
}

static int removal_look(struct api_call *call, struct removal *r, struct et_error *reterr)
{
	api_holdings_release(&r->holdings);
	json_decref(r->live);
	r->live = api_live_nodes(call);
	int rc = api_holdings_read(r->view, r->node, &r->holdings, reterr);
	if (rc < 0) {
		return rc;
	}
	return r->cause == CAUSE_NONE ? drained_check(r, reterr) : loss_check(call, r, reterr);
}

/* A leader hands over before it goes. */
static int leader_leaves(struct api_call *call, uint64_t node, struct et_error *reterr)
{
	struct et_catalog_status raft;
	uint64_t leader = 0;

	et_catalog_status(call->api->services.catalog, &raft);
	if (raft.leader != node || raft.voters < 2) {
		return 0; /* the last voter is refused by apply */
	}
	int rc = api_transfer(call, 0, reterr);
	return rc < 0 ? rc : api_leader_wait(call, node, 0, &leader, reterr);
}

static int removal_propose(struct api_call *call, struct removal *r, struct et_error *reterr)
{
	static const char *const causes[] = { "drained", "dead", "stolen" };
	const struct api_holdings *h = &r->holdings;
	Et__NodeRemove remove = ET__NODE_REMOVE__INIT;
	Et__Command command = ET__COMMAND__INIT;

	const char *told = et_json_get_text(r->body, "reason", "");
	bool named = strncmp(told, causes[r->cause], strlen(causes[r->cause])) == 0;
	int n = snprintf(r->reason, sizeof(r->reason), "%s%s%.500s", named ? "" : causes[r->cause],
			 named || *told == '\0' ? "" : ": ", told);
	if (r->cause != CAUSE_NONE) {
		(void)snprintf(r->reason + n, sizeof(r->reason) - (size_t)n,
			       " | lost: %" PRIu64 " segments of %" PRIu64 " recordings, %" PRIu64
			       " bytes; %" PRIu64 " calls in progress; its journal, unseen",
			       h->alone_segments, h->alone_recordings, h->alone_bytes,
			       h->capturing);
	}
	remove.node = r->node->id;
	remove.reason = r->reason;
	remove.revoked = r->cause == CAUSE_STOLEN;
	remove.loss_accepted = r->cause != CAUSE_NONE;
	remove.seen_index = h->index;
	remove.force = r->force;
	command.body_case = ET__COMMAND__BODY_NODE_REMOVE;
	command.node_remove = &remove;
	return api_propose(call, &command, r->reason, NULL, reterr);
}

/* ---- What a thief may have found on it ---- */

#define TOKENS_MAX 256

struct token_search {
	const char *site;
	uint8_t ids[TOKENS_MAX][16];
	size_t count;
};

static int token_look(void *arg, const Et__Token *t)
{
	struct token_search *s = arg;

	if (strcmp(t->kind, "join") == 0 && !t->revoked && t->uses_left > 0 && t->id.len == 16 &&
	    (t->site[0] == '\0' || strcmp(t->site, s->site) == 0) && s->count < TOKENS_MAX) {
		memcpy(s->ids[s->count++], t->id.data, 16);
	}
	return 0;
}

static int token_revoke(struct api_call *call, const struct removal *r, uint8_t id[16],
			struct et_error *reterr)
{
	Et__TokenRevoke revoke = ET__TOKEN_REVOKE__INIT;
	Et__Command command = ET__COMMAND__INIT;
	char reason[200];

	revoke.id = (ProtobufCBinaryData){ 16, id };
	command.body_case = ET__COMMAND__BODY_TOKEN_REVOKE;
	command.token_revoke = &revoke;
	(void)snprintf(reason, sizeof(reason), "node %.64s was stolen", r->node->name);
	return api_propose(call, &command, reason, NULL, reterr);
}

/* Join tokens that could admit a machine at the stolen node's site, all of them: it may have kept
 * one. */
static int tokens_revoke(struct api_call *call, struct removal *r, struct et_error *reterr)
{
	struct token_search *s = calloc(1, sizeof(*s));
	int rc = s == NULL ? et_fail(reterr, -ENOMEM, "join tokens") : 0;

	for (bool more = true; rc == 0 && more;) {
		struct et_state_view *v = et_state_view_open(call->api->services.state);
		*s = (struct token_search){ .site = r->node->site };
		rc = v == NULL ? -ENOMEM : et_state_each_token(v, token_look, s);
		(void)et_state_view_close(v);
		rc = rc < 0 ? et_fail(reterr, rc, "join tokens") : 0;
		for (size_t i = 0; rc == 0 && i < s->count; i++) {
			rc = token_revoke(call, r, s->ids[i], reterr);
			r->tokens += rc == 0;
		}
		more = s->count == TOKENS_MAX; /* as many as are looked at in one round */
	}
	free(s);
	return rc;
}

static json_t *removal_json(const struct removal *r)
{
	char text[200];
	json_t *o = json_object();
	json_t *notes = json_array();

	et_json_set(o, "loss", r->cause != CAUSE_NONE ? holdings_json(&r->holdings) : json_null());
	if (r->cause != CAUSE_NONE) {
		et_json_add(notes,
			    json_string("what its journal held and was never committed is lost: "
					"nobody else knows of it"));
	}
	if (r->cause == CAUSE_STOLEN) {
		et_json_add(notes,
			    json_string("its connections are cut as each node applies this; its "
					"certificate is good for nothing with members"));
		et_json_add(
			notes,
			json_string(api_node_has_role(r->node, "vault")
					    ? "it was a vault: whoever opens its disk and root "
					      "has the keys of all recordings so far, and the "
					      "CA's. The CA is replaced now (cert rotate-ca "
					      "--status), what it could open is marked "
					      "compromised, a new KEK version follows, and the "
					      "media is encrypted again (key status); then issue "
					      "new escrow shares, and make a backup"
					    : "it held no keys: CA and KEK versions stay"));
		(void)snprintf(text, sizeof(text),
			       "%u join tokens for its site are revoked; API tokens that were kept "
			       "on it are not known here: they end with their --ttl",
			       r->tokens);
		et_json_add(notes, json_string(text));
	}
	et_json_set(o, "notes", notes);
	return o;
}

int api_node_remove(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "cause", "confirm", "force", "reason" };
	ET_CLEANUP(removal_release) struct removal r = { 0 };

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &r.body, reterr);
	rc = rc < 0 ? rc : cause_of(r.body, &r.cause, reterr);
	rc = rc < 0 ? rc : path_node(call, &r.view, &r.node, reterr);
	if (rc < 0) {
		return rc;
	}
	bool gone = api_node_is_gone(r.node);
	if (gone && (r.cause != CAUSE_STOLEN || r.node->state == ET__NODE_STATE__REVOKED)) {
		rc = r.cause == CAUSE_STOLEN ? tokens_revoke(call, &r, reterr) : 0;
		return rc < 0 ? rc
			      : answer_node(call, r.node->id, json_pack("{s:b}", "already", 1),
					    reterr);
	}
	rc = gone ? 0 : vote_check(call, r.body, r.node, &r.force, reterr);
	rc = rc < 0 ? rc : removal_look(call, &r, reterr);
	rc = rc < 0 || gone ? rc : leader_leaves(call, r.node->id, reterr);
	if (rc == 0) {
		rc = removal_propose(call, &r, reterr);
	}
	for (unsigned i = 0; rc == ET_ESTALE && i < REMOVE_ROUNDS; i++) {
		api_view_release(call);
		rc = api_view_fresh(call, &r.view, reterr);
		rc = rc < 0 ? rc : removal_look(call, &r, reterr);
		rc = rc < 0 ? rc : removal_propose(call, &r, reterr);
	}
	if (rc == 0 && r.cause == CAUSE_STOLEN) {
		rc = tokens_revoke(call, &r, reterr); /* the same again goes on with it */
	}
	return rc < 0 ? rc : answer_node(call, r.node->id, removal_json(&r), reterr);
}

int api_node_show(struct api_call *call, struct et_error *reterr)
{
	ET_CLEANUP(api_node_freep) Et__Node *node = NULL;
	struct et_state_view *v;
	char text[80];

	if (!api_path_star(call->route->path, call->request.path, text, sizeof(text))) {
		return et_fail_plain(reterr, ET_EUSAGE, "no node is named");
	}
	int rc = api_view(call, &v, reterr);
	rc = rc < 0 ? rc : api_node_find(v, text, &node, reterr);
	return rc < 0 ? rc : answer_node(call, node->id, json_object(), reterr);
}
