/* Sites: what people read of one, and giving one up.
 *
 * A removal is refused while members are at the site, while segments lie only there, and while a
 * policy in force names it; all reasons are told at once, each with the next command. Apply looks
 * again (raft/state/sites.c). Recordings and holds keep the site's name; open join tokens for it
 * are revoked. Possible failure modes are
 *   - somebody joins, or applies a policy, meanwhile: apply refuses (ET_EPOLICY, ET_ESTALE);
 *   - no majority: ET_ENOQUORUM, nothing is changed. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "archive/policy/policy.h"
#include "node/api/members_internal.h"
#include "node/base/role.h"

#define SITE_BYTES 64

static int path_site(struct api_call *call, char ret[SITE_BYTES], struct et_error *reterr)
{
	if (!api_path_star(call->route->path, call->request.path, ret, SITE_BYTES) ||
	    !et_name_is_valid(ret)) {
		return et_fail_plain(reterr, ET_EUSAGE, "%s names no site", call->request.path);
	}
	return 0;
}

/* What people read of a site. The site is made when there is none of that name. */
int api_site_set(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "description", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	Et__Command command = ET__COMMAND__INIT;
	Et__SiteSet set = ET__SITE_SET__INIT;
	Et__Site site = ET__SITE__INIT;
	struct api_result result = { 0 };
	char name[SITE_BYTES];
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = path_site(call, name, reterr);
	if (rc < 0) {
		return rc;
	}
	const char *text = et_json_get_text(body, "description", NULL);
	if (text == NULL) {
		return et_fail_plain(reterr, ET_EUSAGE, "description is needed; it may be empty");
	}
	site.name = name;
	site.description = (char *)(uintptr_t)text;
	set.site = &site;
	command.body_case = ET__COMMAND__BODY_SITE_SET;
	command.site_set = &set;
	rc = api_propose(call, &command, et_json_get_text(body, "reason", ""), &result, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "name", json_string(name));
	et_json_set(o, "description", et_json_text(text));
	et_json_set(o, "index", et_json_u64(result.index));
	return api_json(call, 200, o);
}

/* ---- What keeps a site ---- */

struct removal {
	const struct et_state_view *view;
	char name[SITE_BYTES];
	bool known;
	char description[1024];
	json_t *refused; /* owned: array of {why, next} */
	uint32_t archive_revision;
	uint64_t tokens; /* open ones for it */
	uint64_t holds;	 /* that stand, and name it */
	uint64_t members[SURVIVE_NODES_MAX];
	size_t member_count;
	bool alone_known;
	uint64_t alone_segments;
};

static void removal_release(struct removal *r)
{
	json_decref(r->refused);
}

static void refused_add(struct removal *r, const char *why, const char *next)
{
	json_t *o = json_object();

	et_json_set(o, "why", et_json_text(why));
	et_json_set(o, "next", et_json_text(next));
	et_json_add(r->refused, o);
}

static int look_site(void *arg, const Et__Site *site)
{
	struct removal *r = arg;

	if (strcmp(site->name, r->name) == 0) {
		r->known = true;
		(void)snprintf(r->description, sizeof(r->description), "%s", site->description);
	}
	return 0;
}

static int look_node(void *arg, const Et__Node *node)
{
	struct removal *r = arg;
	char why[160];
	char next[192];

	if (api_node_is_gone(node) || strcmp(node->site, r->name) != 0) {
		return 0;
	}
	if (r->member_count < SURVIVE_NODES_MAX) {
		r->members[r->member_count++] = node->id;
	}
	(void)snprintf(why, sizeof(why), "the node %.64s is there", node->name);
	(void)snprintf(next, sizeof(next),
		       "evertape node drain %.40s --reason TEXT, then evertape node remove %.40s "
		       "--reason TEXT",
		       node->name, node->name);
	refused_add(r, why, next);
	return 0;
}

static int look_token(void *arg, const Et__Token *t)
{
	struct removal *r = arg;

	r->tokens += strcmp(t->kind, "join") == 0 && !t->revoked && t->uses_left > 0 &&
		     strcmp(t->site, r->name) == 0;
	return 0;
}

static int look_hold(void *arg, const Et__Hold *h)
{
	struct removal *r = arg;

	r->holds += h->released_us == 0 && h->scope != NULL && strcmp(h->scope->site, r->name) == 0;
	return 0;
}

static void refused_rule(struct removal *r, const char *policy, const char *rule)
{
	char why[192];
	char next[96];

	(void)snprintf(why, sizeof(why), "rule %.64s of the %s policy names it", rule, policy);
	(void)snprintf(next, sizeof(next), "evertape %s policy apply FILE --reason TEXT", policy);
	refused_add(r, why, next);
}

static int look_retention(struct removal *r)
{
	Et__Policy *policy = NULL;
	int rc = et_state_get_policy(r->view, ET_STATE_RETENTION, &policy);

	for (size_t i = 0; rc == 0 && i < policy->n_retention; i++) {
		const Et__RetentionRule *rule = policy->retention[i];
		for (size_t s = 0; s < rule->n_sites; s++) {
			if (strcmp(rule->sites[s], r->name) == 0) {
				refused_rule(r, "retention", rule->name);
				break;
			}
		}
	}
	et__policy__free_unpacked(policy, NULL);
	return rc == ET_ENOTFOUND ? 0 : rc;
}

static int look_archive(struct removal *r, struct et_error *reterr)
{
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *p = NULL;
	Et__Policy *policy = NULL;
	int rc = et_state_get_policy(r->view, "archive", &policy);

	if (rc == 0) {
		r->archive_revision = policy->revision;
		rc = et_archive_policy_parse(policy->text, strlen(policy->text),
					     "archive policy in force", &p, reterr);
		et__policy__free_unpacked(policy, NULL);
	}
	for (size_t i = 0; rc == 0 && i < p->rule_count; i++) {
		for (size_t s = 0; s < p->rules[i].sites.count; s++) {
			if (strcmp(p->rules[i].sites.items[s], r->name) == 0) {
				refused_rule(r, "archive", p->rules[i].name);
				break;
			}
		}
	}
	return rc == ET_ENOTFOUND ? 0 : rc;
}

static bool is_there(const struct removal *r, uint64_t node)
{
	for (size_t i = 0; i < r->member_count; i++) {
		if (r->members[i] == node) {
			return true;
		}
	}
	return false;
}

/* Segments of which no other place has a verified copy, by the last count. */
static void look_copies(struct api_call *call, struct removal *r)
{
	struct survey_result s = { 0 };
	char why[160];

	r->alone_known = r->member_count == 0;
	if (r->alone_known ||
	    survey_get(&call->api->survey, call->api->services.state, r->view, &s) < 0) {
		return;
	}
	r->alone_known = s.complete;
	for (size_t p = 0; s.complete && p < s.place_count; p++) {
		bool alone = s.places[p].segments > 0;
		for (size_t i = 0; alone && i < s.node_count; i++) {
			alone = !survive_set_has(&s.places[p].at, i) || is_there(r, s.nodes[i]);
		}
		r->alone_segments += alone ? s.places[p].segments : 0;
	}
	survey_release(&s);
	if (r->alone_segments > 0) {
		(void)snprintf(why, sizeof(why), "%" PRIu64 " segments lie nowhere but there",
			       r->alone_segments);
		refused_add(r, why, "evertape replication lag");
	}
}

static int removal_look(struct api_call *call, struct removal *r, struct et_error *reterr)
{
	struct et_state_view *v;
	int rc = path_site(call, r->name, reterr);

	rc = rc < 0 ? rc : api_view_fresh(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	r->view = v;
	r->refused = json_array();
	rc = et_state_each_site(v, look_site, r);
	if (rc == 0 && !r->known) {
		(void)et_fail_plain(reterr, ET_ENOTFOUND, "there is no site %s", r->name);
		return et_fail_next(reterr, "evertape site list");
	}
	rc = rc < 0 ? rc : et_state_each_node(v, look_node, r);
	rc = rc < 0 ? rc : et_state_each_token(v, look_token, r);
	rc = rc < 0 ? rc : et_state_each_hold(v, look_hold, r);
	rc = rc < 0 ? rc : look_retention(r);
	if (rc < 0) {
		return et_fail(reterr, rc, "site %s", r->name);
	}
	rc = look_archive(r, reterr);
	if (rc == 0) {
		look_copies(call, r);
	}
	return rc;
}

int api_site_removal(struct api_call *call, struct et_error *reterr)
{
	ET_CLEANUP(removal_release) struct removal r = { .refused = NULL };
	int rc = removal_look(call, &r, reterr);

	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "name", et_json_text(r.name));
	et_json_set(o, "description", et_json_text(r.description));
	et_json_set(o, "removable", json_boolean(json_array_size(r.refused) == 0));
	et_json_set(o, "refused", json_incref(r.refused));
	et_json_set(o, "open_join_tokens", et_json_u64(r.tokens));
	et_json_set(o, "holds", et_json_u64(r.holds));
	et_json_set(o, "alone_segments",
		    r.alone_known ? et_json_u64(r.alone_segments) : json_null());
	return api_json(call, 200, o);
}

static int removal_refuse(const struct removal *r, struct et_error *reterr)
{
	char all[400] = "";
	size_t used = 0;
	size_t i;
	json_t *o;

	json_array_foreach(r->refused, i, o)
	{
		int n = snprintf(all + used, sizeof(all) - used, "%s%s", i > 0 ? "; " : "",
				 et_json_get_text(o, "why", ""));
		used += n > 0 ? (size_t)n : 0;
		if (used >= sizeof(all)) {
			break; /* the rest is told by --plan */
		}
	}
	(void)et_fail_plain(reterr, ET_EPOLICY, "the site %s stays: %s", r->name, all);
	return et_fail_next(reterr, "evertape site remove %s --plan", r->name);
}

int api_site_remove(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	ET_CLEANUP(removal_release) struct removal r = { .refused = NULL };
	Et__Command command = ET__COMMAND__INIT;
	Et__SiteRemove remove = ET__SITE_REMOVE__INIT;
	struct api_result result = { 0 };
	const char *reason;

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : api_need_reason(body, &reason, reterr);
	rc = rc < 0 ? rc : removal_look(call, &r, reterr);
	if (rc == 0 && json_array_size(r.refused) > 0) {
		rc = removal_refuse(&r, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	remove.name = r.name;
	remove.archive_revision = r.archive_revision;
	command.body_case = ET__COMMAND__BODY_SITE_REMOVE;
	command.site_remove = &remove;
	rc = api_propose(call, &command, reason, &result, reterr);
	if (rc == ET_ESTALE || rc == ET_EPOLICY) {
		(void)et_fail_next(reterr, "evertape site remove %s --plan", r.name);
	}
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "name", et_json_text(r.name));
	et_json_set(o, "removed", json_true());
	et_json_set(o, "revoked_join_tokens", et_json_u64(r.tokens));
	et_json_set(o, "index", et_json_u64(result.index));
	return api_json(call, 200, o);
}
