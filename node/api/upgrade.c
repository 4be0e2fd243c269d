/* Which schema the cluster follows, and raising it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/api/api_internal.h"

struct upgrade {
	json_t *members;
	uint32_t oldest; /* schema that every member understands; 0: no member yet */
	uint32_t newest;
};

static int upgrade_add(void *arg, const Et__Node *n)
{
	struct upgrade *u = arg;
	uint32_t schema = n->schema != 0 ? n->schema : 1;

	if (n->state == ET__NODE_STATE__REMOVED || n->state == ET__NODE_STATE__REVOKED) {
		return 0;
	}
	u->oldest = u->oldest == 0 || schema < u->oldest ? schema : u->oldest;
	u->newest = schema > u->newest ? schema : u->newest;
	json_t *o = json_object();
	et_json_set(o, "id", et_json_u64(n->id));
	et_json_set(o, "name", et_json_text(n->name));
	et_json_set(o, "site", et_json_text(n->site));
	et_json_set(o, "version", et_json_text(n->version));
	et_json_set(o, "schema", json_integer(schema));
	et_json_add(u->members, o);
	return 0;
}

/* Who keeps the others from going on. */
static json_t *blockers_of(const struct upgrade *u)
{
	json_t *blockers = json_array();
	size_t i;
	json_t *member;

	json_array_foreach(u->members, i, member)
	{
		bool old = et_json_get_int(member, "schema", 1) < (int64_t)u->newest;
		et_json_set(member, "blocks", json_boolean(old));
		if (old) {
			et_json_add(blockers, et_json_text(et_json_get_text(member, "name", "")));
		}
	}
	return blockers;
}

int api_upgrade_plan(struct api_call *call, struct et_error *reterr)
{
	struct et_state_view *v;
	Et__Cluster *c = NULL;
	struct upgrade u = { 0 };

	int rc = api_view(call, &v, reterr);
	if (rc == 0) {
		rc = et_state_get_cluster(v, &c);
		rc = rc < 0 ? et_fail(reterr, rc, "cluster") : 0;
	}
	if (rc < 0) {
		return rc;
	}
	u.members = json_array();
	rc = et_state_each_node(v, upgrade_add, &u);
	if (rc < 0) {
		json_decref(u.members);
		et__cluster__free_unpacked(c, NULL);
		return et_fail(reterr, rc, "members");
	}
	json_t *blockers = blockers_of(&u);
	json_t *o = json_object();
	et_json_set(o, "schema_version", json_integer(c->schema));
	et_json_set(o, "to", json_integer(u.oldest > c->schema ? u.oldest : c->schema));
	et_json_set(o, "newest", json_integer(u.newest));
	et_json_set(o, "possible", json_boolean(u.oldest > c->schema));
	et_json_set(o, "blockers", blockers);
	et_json_set(o, "members", u.members);
	et__cluster__free_unpacked(c, NULL);
	return api_json(call, 200, o);
}

int api_upgrade_apply(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "to", "expect_from", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	Et__ClusterUpgrade upgrade = ET__CLUSTER_UPGRADE__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct api_result result;

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	if (rc < 0) {
		return rc;
	}
	int64_t to = et_json_get_int(body, "to", 0);
	int64_t from = et_json_get_int(body, "expect_from", 0);
	const char *reason = et_json_get_text(body, "reason", "");
	if (to < 1 || from < 1 || to > UINT32_MAX || from > UINT32_MAX || *reason == '\0') {
		return et_fail_plain(reterr, ET_EUSAGE, "to, expect_from and a reason are needed");
	}
	upgrade.to = (uint32_t)to;
	upgrade.expect_from = (uint32_t)from;
	command.body_case = ET__COMMAND__BODY_CLUSTER_UPGRADE;
	command.cluster_upgrade = &upgrade;
	rc = api_propose(call, &command, reason, &result, reterr);
	if (rc < 0) {
		(void)et_fail_next(reterr, "evertape cluster upgrade plan");
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "schema_version", et_json_u64(result.number));
	et_json_set(o, "index", et_json_u64(result.index));
	return api_json(call, 200, o);
}

/* For tests of upgrades: the only command that schema 2 of their binaries has. */
int api_schema_probe(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "text" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	Et__SchemaProbe probe = ET__SCHEMA_PROBE__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct api_result result;
	char text[64];

	command.body_case = ET__COMMAND__BODY_SCHEMA_PROBE;
	command.schema_probe = &probe;
	if (et_schema_needed(&command) > et_schema_build()) {
		return et_fail(reterr, ET_EUNSUPPORTED, "this is for tests of upgrades");
	}
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(text, sizeof(text), "%s", et_json_get_text(body, "text", ""));
	probe.text = text;
	rc = api_propose(call, &command, "test", &result, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "index", et_json_u64(result.index));
	return api_json(call, 200, o);
}
