/* Health codes: what the daemon says, and what the catalogue and the services show. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/members_internal.h"
#include "node/io/clock.h"

#define LAG_LIMIT_MS 60000 /* a site that lacks copies for longer: SITE_LAG */

json_t *api_backend_array(json_t *(*fn)(void *arg), void *arg)
{
	json_t *list = fn != NULL ? fn(arg) : NULL;
	if (!json_is_array(list)) {
		json_decref(list);
		list = json_array();
	}
	return list;
}

struct api_picture *api_picture_take(struct et_api *api)
{
	struct api_picture *p = calloc(1, sizeof(*p));
	if (p == NULL) {
		return NULL;
	}
	et_catalog_status(api->services.catalog, &p->raft);
	if (api->services.sync != NULL) {
		et_sync_get_status(api->services.sync, &p->sync);
		p->has_sync = true;
	}
	if (api->services.mover != NULL) {
		p->has_mover = et_mover_status(api->services.mover, &p->mover, NULL) == 0;
	}
	return p;
}

void api_picture_freep(struct api_picture **p)
{
	free(*p);
}

const char *et_api_code_level(const char *code)
{
	static const char *const notes[] = { "ROOT_ON_DISK",	  "SCHEMA_OLD",
					     "RECORDING_PROBLEM", "VOTERS_EVEN",
					     "MEMBERSHIP_CHANGE", "NODE_DRAINING",
					     "KEY_ROTATION",	  "CA_ROTATION",
					     "NOT_INITIALISED",	  "STARTING" };
	static const char *const risks[] = {
		"NO_QUORUM",	   "NO_LEADER",		"DISK_FULL",	  "SYNC_FAILED",
		"CLOCK_SKEW",	   "VAULT_SINGLE",	"COPY_BAD",	  "AUDIT_BROKEN",
		"CALLS_REFUSED",   "STATE_DIVERGED",	"STATE_DISPUTED", "NODE_REMOVED",
		"KEK_COMPROMISED", "CA_STOLEN",		"COPIES_GONE",	  "CAPTURE_STOPPED",
		"ROOT_LOCKED",	   "SEALING_UNTRUSTED", "KEK_UNTRUSTED",
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(notes); i++) {
		if (strcmp(notes[i], code) == 0) {
			return "note";
		}
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(risks); i++) {
		if (strcmp(risks[i], code) == 0) {
			return "at_risk";
		}
	}
	return "degraded";
}

const char *api_detached_code(const struct et_api *api)
{
	return api->config.locked != NULL ? "ROOT_LOCKED"
	       : api->config.member	  ? "STARTING"
					  : "NOT_INITIALISED";
}

int api_detached(const struct et_api *api, struct et_error *reterr)
{
	const struct et_error *locked = api->config.locked;
	int rc = 0;

	if (locked != NULL) {
		rc = et_fail_plain(reterr, ET_ENOKEY, "the node root of %s does not open: %s",
				   api->config.name, locked->text);
		(void)et_fail_next(reterr, "%s", locked->next);
	} else if (api->config.member) {
		rc = et_fail_plain(reterr, ET_EBUSY,
				   "%s is starting: its catalogue is being opened",
				   api->config.name);
		(void)et_fail_next(reterr, "evertape status: again, until it tells the cluster");
	} else {
		rc = et_fail(reterr, ET_EUNINITIALISED, "%s", api->config.name);
		(void)et_fail_next(reterr, "evertape cluster init, or evertape node join TOKEN");
	}
	return rc;
}

void api_code_add(json_t *codes, const char *code, const char *next, const char *fmt, ...)
{
	char detail[300];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	json_t *o = json_object();
	et_json_set(o, "code", json_string(code));
	et_json_set(o, "level", json_string(et_api_code_level(code)));
	et_json_set(o, "detail", et_json_text(detail));
	et_json_set(o, "next", et_json_text(next));
	et_json_add(codes, o);
}

static bool codes_have(const json_t *codes, const char *code)
{
	size_t i;
	json_t *o;
	json_array_foreach((json_t *)(uintptr_t)codes, i, o)
	{
		if (strcmp(et_json_get_text(o, "code", ""), code) == 0) {
			return true;
		}
	}
	return false;
}

static void codes_of_raft(json_t *codes, const struct et_catalog_status *r)
{
	uint32_t majority = r->voters / 2 + 1;
	if (!r->has_quorum && !codes_have(codes, "NO_QUORUM")) {
		api_code_add(codes, "NO_QUORUM", "evertape node list",
			     "this node hears %u of %u voters, %u are needed", r->reachable_voters,
			     r->voters, majority);
	} else if (r->leader == 0) {
		api_code_add(codes, "NO_LEADER", "evertape node list",
			     "the voters have no leader now");
	} else if (r->voters >= 3 && r->reachable_voters <= majority) {
		api_code_add(codes, "QUORUM_THIN", "evertape node list",
			     "%u of %u voters are reachable: no further loss is survived",
			     r->reachable_voters, r->voters);
	}
}

/* Nodes whose catalogue was another one when they were last heard. They stop by themselves. */
static void codes_of_states(json_t *codes, const struct et_catalog_status *r)
{
	for (uint32_t i = 0; i < r->odd_count; i++) {
		api_code_add(codes, "STATE_DIVERGED", "evertape explain STATE_DIVERGED",
			     "the catalogue of node %" PRIu64 " is not that of the majority",
			     r->odd[i]);
	}
}

/* A restore without a ledger of erasures is never forgotten. */
static void codes_of_restore(struct api_call *call, json_t *codes)
{
	Et__Cluster *c = NULL;
	struct et_state_view *v = et_state_view_open(call->api->services.state);

	if (v != NULL && et_state_get_cluster(v, &c) == 0) {
		if (c->erasures_missing) {
			api_code_add(codes, "ERASURES_MISSING", "evertape explain ERASURES_MISSING",
				     "epoch %u was restored without all ledgers of erasures",
				     c->epoch);
		}
		et__cluster__free_unpacked(c, NULL);
	}
	(void)et_state_view_close(v);
}

static void codes_of_services(json_t *codes, const struct api_picture *p)
{
	char next[128];

	for (uint32_t i = 0; p->has_sync && i < p->sync.site_count; i++) {
		const struct et_sync_site *s = &p->sync.sites[i];
		int64_t lag = s->oldest_us > 0 ? (et_clock_now_us() - s->oldest_us) / 1000 : 0;
		if (s->pending_segments > 0 && lag > LAG_LIMIT_MS) {
			(void)snprintf(next, sizeof(next), "evertape replication queue --site %s",
				       s->site);
			api_code_add(codes, "SITE_LAG", next,
				     "%s lacks %" PRIu64 " segments, the oldest for %" PRId64 " s",
				     s->site, s->pending_segments, lag / 1000);
		}
	}
	if (p->has_sync && p->sync.queue.gone_segments > 0) {
		api_code_add(codes, "COPIES_GONE", "evertape replication repair",
			     "%" PRIu64 " segments have no good copy on any node or in the archive",
			     p->sync.queue.gone_segments);
	}
	if (p->has_mover && p->mover.jobs_failed > 0) {
		api_code_add(codes, "ARCHIVE_FAILED", "evertape archive status",
			     "%" PRIu64 " jobs: %.200s", p->mover.jobs_failed, p->mover.last_error);
	}
	for (size_t i = 0; p->has_mover && p->mover.jobs_waiting > 0 && i < p->mover.target_count;
	     i++) {
		const struct et_mover_target_status *t = &p->mover.targets[i];
		if (t->last_error_us > t->last_ok_us) {
			api_code_add(codes, "ARCHIVE_UNREACHABLE", "evertape archive status",
				     "target %s, as seen from here: %.160s", t->name,
				     t->last_error);
		}
	}
}

struct member_codes {
	json_t *codes;
	const struct api_picture *picture;
};

static int codes_of_node(void *arg, const Et__Node *node)
{
	const struct member_codes *m = arg;
	const struct et_catalog_status *r = &m->picture->raft;

	if (node->state == ET__NODE_STATE__DRAINING) {
		api_code_add(m->codes, "NODE_DRAINING", "evertape node list", "%s%s", node->name,
			     node->capture_stopped ? ", its recorder is stopped" : "");
	}
	for (uint32_t i = 0; i < r->member_count; i++) {
		const struct et_catalog_member *member = &r->members[i];
		if (member->node == node->id && member->role == ET_CATALOG_VOTER &&
		    !member->reachable) {
			api_code_add(m->codes, "VOTER_DOWN", "evertape raft peers",
				     "voter %s cannot be reached; %u of %u can, %u are needed",
				     node->name, r->reachable_voters, r->voters, r->voters / 2 + 1);
		}
	}
	return 0;
}

static void codes_of_members(struct api_call *call, json_t *codes, const struct api_picture *p)
{
	struct member_codes m = { .codes = codes, .picture = p };
	struct et_state_view *v = et_state_view_open(call->api->services.state);
	ET_CLEANUP(et_json_freep) json_t *live = api_live_nodes(call);
	const json_t *change = json_object_get(api_live_of(live, p->raft.leader), "change");
	Et__Node *node = NULL;

	if (v != NULL) {
		(void)et_state_each_node(v, codes_of_node, &m);
	}
	if (p->raft.voters >= 2 && p->raft.voters % 2 == 0) {
		api_code_add(codes, "VOTERS_EVEN", "evertape node list",
			     "%u voters survive the loss of %u, as %u would", p->raft.voters,
			     (p->raft.voters - 1) / 2, p->raft.voters - 1);
	}
	if (v != NULL && change != NULL &&
	    et_state_get_node(v, (uint64_t)et_json_get_int(change, "node", 0), &node) == 0) {
		bool held = et_json_get_bool(change, "held", false);
		const char *why = et_json_get_text(change, "why", "");
		api_code_add(codes, held ? "MEMBERSHIP_HELD" : "MEMBERSHIP_CHANGE",
			     "evertape raft peers", "%s: %s%s%.160s", node->name,
			     et_json_get_text(change, "step", ""), *why != '\0' ? ": " : "", why);
		et__node__free_unpacked(node, NULL);
	}
	(void)et_state_view_close(v);
}

json_t *api_codes(struct api_call *call, const struct api_picture *p)
{
	const struct et_api_backend *b = &call->api->config.backend;
	json_t *codes = api_backend_array(b->health, b->arg);
	size_t i;
	json_t *o;
	json_array_foreach(codes, i, o)
	{
		et_json_set(o, "level",
			    json_string(et_api_code_level(et_json_get_text(o, "code", ""))));
	}
	codes_of_raft(codes, &p->raft);
	codes_of_members(call, codes, p);
	codes_of_states(codes, &p->raft);
	codes_of_restore(call, codes);
	api_codes_of_keys(call, codes);
	api_codes_of_ca(call, codes);
	codes_of_services(codes, p);
	return codes;
}

const char *api_health_of(const json_t *codes)
{
	const char *health = "ok";
	size_t i;
	json_t *o;
	json_array_foreach((json_t *)(uintptr_t)codes, i, o)
	{
		const char *level = et_json_get_text(o, "level", "degraded");
		if (strcmp(level, "at_risk") == 0) {
			return "at_risk";
		}
		if (strcmp(level, "degraded") == 0) {
			health = "degraded";
		}
	}
	return health;
}
