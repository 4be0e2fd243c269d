/* What waits to be replicated and why, the limits of transfers, and lag.
 *
 * The queue is told by each node of itself, with its status (once a second): rows by destination,
 * node, class and reason, and the oldest segments of each. A node that does not answer is named,
 * and the answer is not complete.
 *
 * The limits are the policy `replication` (replication/limit). Setting one reads the policy in
 * force, changes it, and commits it as the next revision; when somebody else was first, again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/members_internal.h"
#include "node/io/clock.h"
#include "replication/limit/limit.h"

#define SET_TRIES 5 /* revisions of others in between */

/* ---- Limits in force ---- */

/* Read them and their policy (NULL: there is none); *ret is the caller's (free), so is *ret_policy.
 */
static int limits_load(const struct et_state_view *v, struct et_limits **ret,
		       Et__Policy **ret_policy, struct et_error *reterr)
{
	struct et_limits *l = calloc(1, sizeof(*l));
	Et__Policy *policy = NULL;
	int rc = l == NULL ? -ENOMEM : et_state_get_policy(v, ET_LIMITS_POLICY, &policy);

	if (rc == 0) {
		rc = et_limits_parse(policy->text, strlen(policy->text), "policy replication", l,
				     reterr);
	} else if (rc == ET_ENOTFOUND) {
		rc = 0;
	} else {
		(void)et_fail(reterr, rc, "limits of transfers");
	}
	if (rc < 0) {
		free(l);
		et__policy__free_unpacked(policy, NULL);
		return rc;
	}
	*ret = l;
	*ret_policy = policy;
	return 0;
}

static json_t *rate_json(uint64_t rate)
{
	return rate == ET_LIMIT_NONE ? json_null() : et_json_u64(rate);
}

/* Which classes it decides for now. */
static json_t *limit_decides(const struct et_limits *l, const struct et_limit *one, int64_t now_us)
{
	json_t *classes = json_array();
	for (int k = 0; k < ET_LIMIT_CLASSES; k++) {
		bool waits = k > ET_LIMIT_REPLAY || one->klass == k;
		if (waits && et_limits_at(l, one->to, k, now_us) == one) {
			et_json_add(classes, json_string(et_limit_class_name(k)));
		}
	}
	return classes;
}

static json_t *limit_json(const struct et_limits *l, const struct et_limit *one, int64_t now_us)
{
	char rate[ET_LIMIT_RATE_TEXT];
	char window[ET_WINDOW_TEXT_MAX + 1] = "";
	json_t *o = json_object();

	if (one->has_window) {
		et_window_format(&one->window, window);
	}
	et_json_set(o, "to", et_json_text(one->to));
	et_json_set(o, "class", json_string(et_limit_class_name(one->klass)));
	et_json_set(o, "window", et_json_text(window));
	et_json_set(o, "rate", json_string(et_limit_rate_format(one->rate, rate)));
	et_json_set(o, "rate_bytes", rate_json(one->rate));
	et_json_set(o, "decides", limit_decides(l, one, now_us));
	et_json_set(o, "changes", api_time(et_limits_change_us(l, one->to, one->klass, now_us)));
	return o;
}

/* What each node has in force, and the base of its own configuration. */
static json_t *limits_nodes(const json_t *live)
{
	json_t *list = json_array();
	size_t i;
	json_t *node;

	json_array_foreach((json_t *)(uintptr_t)live, i, node)
	{
		const json_t *r = json_object_get(node, "replication");
		json_t *o = json_object();
		et_json_set(o, "node", et_json_text(et_json_get_text(node, "name", "")));
		et_json_set(o, "site", et_json_text(et_json_get_text(node, "site", "")));
		et_json_set(o, "reachable",
			    json_boolean(et_json_get_bool(node, "reachable", false)));
		et_json_set(o, "revision", json_integer(et_json_get_int(r, "limits_revision", 0)));
		et_json_set(o, "error", et_json_text(et_json_get_text(r, "limits_error", "")));
		et_json_set(o, "sync_rate_bytes", json_integer(et_json_get_int(r, "sync_rate", 0)));
		if (r != NULL) {
			et_json_add(list, o);
		} else {
			json_decref(o); /* it moves no media */
		}
	}
	return list;
}

int api_limits(struct api_call *call, struct et_error *reterr)
{
	struct et_state_view *v;
	struct et_limits *l = NULL;
	Et__Policy *policy = NULL;
	int rc = api_view(call, &v, reterr);

	rc = rc < 0 ? rc : limits_load(v, &l, &policy, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(et_json_freep) json_t *live = api_live_nodes(call);
	int64_t now_us = et_clock_now_us();
	json_t *list = json_array();
	json_t *o = json_object();
	for (uint32_t i = 0; i < l->count; i++) {
		et_json_add(list, limit_json(l, &l->limits[i], now_us));
	}
	et_json_set(o, "revision", json_integer(policy != NULL ? policy->revision : 0));
	et_json_set(o, "applied", api_time(policy != NULL ? policy->applied_us : 0));
	et_json_set(o, "principal", et_json_text(policy != NULL ? policy->principal : ""));
	et_json_set(o, "limits", list);
	et_json_set(o, "nodes", limits_nodes(live));
	free(l);
	et__policy__free_unpacked(policy, NULL);
	return api_json(call, 200, o);
}

/* ---- Setting one ---- */

struct limit_words {
	const char *to;
	const char *klass;
	const char *window;
	const char *rate; /* NULL: it is to be removed */
	const char *reason;
};

static const char *word_of(const json_t *body, const char *key)
{
	const char *word = et_json_get_text(body, key, "");
	return *word != '\0' ? word : NULL;
}

static int site_same(void *arg, const Et__Site *site)
{
	return strcmp(site->name, arg) == 0;
}

static int node_at(void *arg, const Et__Node *node)
{
	return strcmp(node->site, arg) == 0;
}

static bool site_known(const struct et_state_view *v, const char *name)
{
	void *arg = (char *)(uintptr_t)name;
	return et_state_each_site(v, site_same, arg) == 1 ||
	       et_state_each_node(v, node_at, arg) == 1;
}

static int limit_commit(struct api_call *call, const struct et_limits *l, uint32_t expect,
			const char *reason, struct api_result *ret, struct et_error *reterr)
{
	static char name[] = ET_LIMITS_POLICY;
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	Et__Policy policy = ET__POLICY__INIT;
	Et__PolicySet set = ET__POLICY_SET__INIT;
	Et__Command command = ET__COMMAND__INIT;

	et_limits_print(l, &text);
	et_buffer_add8(&text, 0);
	if (text.failed) {
		return et_fail(reterr, -ENOMEM, "limits of transfers");
	}
	policy.name = name;
	policy.text = (char *)text.data;
	set.policy = &policy;
	set.expect_revision = expect;
	command.body_case = ET__COMMAND__BODY_POLICY_SET;
	command.policy_set = &set;
	return api_propose(call, &command, reason, ret, reterr);
}

static int limit_change_once(struct api_call *call, const struct limit_words *w,
			     struct api_result *ret, struct et_error *reterr)
{
	struct et_state_view *v;
	struct et_limits *l = NULL;
	Et__Policy *policy = NULL;
	int rc = api_view_fresh(call, &v, reterr);

	rc = rc < 0 ? rc : limits_load(v, &l, &policy, reterr);
	if (rc < 0) {
		return rc;
	}
	if (w->rate != NULL && !site_known(v, w->to)) {
		(void)et_fail_plain(reterr, ET_ENOTFOUND, "there is no site \"%.64s\"", w->to);
		rc = et_fail_next(reterr, "evertape site list");
	} else if (w->rate != NULL) {
		rc = et_limits_set(l, w->to, w->klass, w->window, w->rate, reterr);
	} else {
		rc = et_limits_remove(l, w->to, w->klass, w->window, reterr);
	}
	api_view_release(call);
	rc = rc < 0 ? rc
		    : limit_commit(call, l, policy != NULL ? policy->revision : 0, w->reason, ret,
				   reterr);
	free(l);
	et__policy__free_unpacked(policy, NULL);
	return rc;
}

static int limit_change(struct api_call *call, const struct limit_words *w, struct et_error *reterr)
{
	struct api_result result = { 0 };
	int rc = api_need_quorum(call, reterr);

	for (int i = 0; rc == 0 && i < SET_TRIES; i++) {
		rc = limit_change_once(call, w, &result, reterr);
		if (rc != ET_ESTALE) {
			break;
		}
		rc = i + 1 < SET_TRIES ? 0 : rc;
	}
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "revision", et_json_u64(result.number));
	return api_json(call, 200, o);
}

static int limit_request(struct api_call *call, bool removes, struct et_error *reterr)
{
	static const char *const known[] = { "to", "class", "window", "reason", "rate" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	struct limit_words w = { 0 };
	int rc = api_body(call, known, ET_ARRAY_SIZE(known) - removes, &body, reterr);

	rc = rc < 0 ? rc : api_need_reason(body, &w.reason, reterr);
	if (rc < 0) {
		return rc;
	}
	w.to = et_json_get_text(body, "to", "");
	w.klass = word_of(body, "class");
	w.window = word_of(body, "window");
	w.rate = removes ? NULL : et_json_get_text(body, "rate", "");
	return limit_change(call, &w, reterr);
}

int api_limit_set(struct api_call *call, struct et_error *reterr)
{
	return limit_request(call, /* removes= */ false, reterr);
}

int api_limit_remove(struct api_call *call, struct et_error *reterr)
{
	return limit_request(call, /* removes= */ true, reterr);
}

/* ---- The queue ---- */

struct queue {
	const struct et_limits *limits;
	const struct api_nodes *names;
	const char *site; /* only to this one; NULL: all */
	const char *node; /* only this one's; NULL: all */
	int64_t now_us;
	/* When limits to this site change, by class: a week of minutes is looked at for each. */
	char to[ET_NAME_MAX + 1];
	bool known[ET_LIMIT_CLASSES];
	int64_t change_us[ET_LIMIT_CLASSES];
	json_t *rows;
	json_t *items;
	json_t *silent;
};

static json_t *age_json(int64_t since_us, int64_t now_us)
{
	return since_us > 0 ? json_integer((now_us - since_us) / 1000) : json_null();
}

static int64_t change_of(struct queue *q, const char *to, int klass)
{
	if (klass < 0 || klass >= ET_LIMIT_CLASSES) {
		return 0;
	}
	if (strcmp(q->to, to) != 0) { /* Rows come by node, and so by site. */
		(void)snprintf(q->to, sizeof(q->to), "%s", to);
		memset(q->known, 0, sizeof(q->known));
	}
	if (!q->known[klass]) {
		q->known[klass] = true;
		q->change_us[klass] = et_limits_change_us(q->limits, to, klass, q->now_us);
	}
	return q->change_us[klass];
}

/* A pause that a window ends is a window; it says when. */
static void why_set(struct queue *q, const char *to, json_t *o)
{
	const char *why = et_json_get_text(o, "why", "");
	int klass = et_limit_class_parse(et_json_get_text(o, "class", ""));
	int64_t opens_us = 0;

	if (strcmp(why, "paused") == 0 || strcmp(why, "limit") == 0) {
		opens_us = change_of(q, to, klass);
	}
	if (strcmp(why, "paused") == 0 && opens_us != 0) {
		et_json_set(o, "why", json_string("window"));
	}
	et_json_set(o, "changes", api_time(opens_us));
}

static void row_add(struct queue *q, const json_t *node, const json_t *told)
{
	const char *to = et_json_get_text(node, "site", "");
	const char *why = et_json_get_text(told, "why", "");
	bool moves = strcmp(why, "moving") == 0 || strcmp(why, "limit") == 0;
	json_t *o = json_object();

	et_json_set(o, "to", et_json_text(to));
	et_json_set(o, "node", et_json_text(et_json_get_text(node, "name", "")));
	et_json_set(o, "class", et_json_text(et_json_get_text(told, "class", "")));
	et_json_set(o, "why", et_json_text(why));
	et_json_set(o, "segments", json_incref(json_object_get(told, "segments")));
	et_json_set(o, "bytes", json_incref(json_object_get(told, "bytes")));
	et_json_set(o, "oldest_ms", age_json(et_json_get_int(told, "oldest_us", 0), q->now_us));
	et_json_set(o, "rate_bytes",
		    moves ? json_incref(json_object_get(told, "bytes_per_s")) : json_integer(0));
	why_set(q, to, o);
	et_json_add(q->rows, o);
}

static void item_add(struct queue *q, const json_t *node, const json_t *told)
{
	const char *to = et_json_get_text(node, "site", "");
	json_t *o = json_object();

	et_json_set(o, "to", et_json_text(to));
	et_json_set(o, "node", et_json_text(et_json_get_text(node, "name", "")));
	static const char *const same[] = { "recording", "segment",    "class", "why",
					    "bytes",	 "done_bytes", "code",	"detail" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(same); i++) {
		et_json_set(o, same[i], json_incref(json_object_get(told, same[i])));
	}
	et_json_set(o, "age_ms", age_json(et_json_get_int(told, "sealed_us", 0), q->now_us));
	et_json_set(
		o, "from",
		et_json_text(api_node_name(q->names, (uint64_t)et_json_get_int(told, "from", 0))));
	why_set(q, to, o);
	et_json_add(q->items, o);
}

struct asking {
	struct queue *q;
	const json_t *live;
	bool found; /* the site or node that was asked for */
};

static int queue_node(void *arg, const Et__Node *node)
{
	struct asking *a = arg;
	struct queue *q = a->q;

	if (!api_node_moves_media(node) || (q->site != NULL && strcmp(q->site, node->site) != 0) ||
	    (q->node != NULL && strcmp(q->node, node->name) != 0)) {
		return 0;
	}
	a->found = true;
	const json_t *live = api_live_of(a->live, node->id);
	const json_t *told = json_object_get(live, "replication");
	size_t i;
	json_t *one;
	if (told == NULL || !api_live_is_fresh(live)) {
		int64_t heard_ms = et_json_get_int(live, "heard_ms", INT64_MAX);
		json_t *o = json_object();
		et_json_set(o, "node", et_json_text(node->name));
		et_json_set(o, "site", et_json_text(node->site));
		et_json_set(o, "heard_ms",
			    heard_ms != INT64_MAX ? json_integer(heard_ms) : json_null());
		et_json_add(q->silent, o);
		return 0; /* What it said long ago is not how it stands now. */
	}
	json_array_foreach(json_object_get(told, "queue"), i, one)
	{
		row_add(q, live, one);
	}
	json_array_foreach(json_object_get(told, "oldest"), i, one)
	{
		item_add(q, live, one);
	}
	return 0;
}

static json_t *queue_sites(const struct api_picture *p, const struct queue *q)
{
	json_t *sites = json_array();

	for (uint32_t i = 0; p->has_sync && i < p->sync.site_count; i++) {
		const struct et_sync_site *s = &p->sync.sites[i];
		if (q->site != NULL && strcmp(q->site, s->site) != 0) {
			continue;
		}
		json_t *o = json_object();
		et_json_set(o, "site", et_json_text(s->site));
		et_json_set(o, "segments", et_json_u64(s->pending_segments));
		et_json_set(o, "bytes", et_json_u64(s->pending_bytes));
		et_json_set(o, "oldest_ms", age_json(s->oldest_us, q->now_us));
		et_json_add(sites, o);
	}
	return sites;
}

static int queue_answer(struct api_call *call, struct queue *q, struct et_error *reterr)
{
	ET_CLEANUP(api_picture_freep) struct api_picture *p = api_picture_take(call->api);
	ET_CLEANUP(et_json_freep) json_t *live = api_live_nodes(call);
	struct asking a = { .q = q, .live = live };

	if (p == NULL) {
		return et_fail(reterr, -ENOMEM, "queue");
	}
	q->rows = json_array();
	q->items = json_array();
	q->silent = json_array();
	int rc = et_state_each_node(call->view, queue_node, &a);
	if (rc >= 0 && !a.found && (q->site != NULL || q->node != NULL)) {
		rc = et_fail_plain(reterr, ET_ENOTFOUND, "no member that stores media is %s %.64s",
				   q->node != NULL ? "called" : "at site",
				   q->node != NULL ? q->node : q->site);
		(void)et_fail_next(reterr, "evertape node list");
	}
	if (rc < 0) {
		json_decref(q->rows);
		json_decref(q->items);
		json_decref(q->silent);
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "sites", queue_sites(p, q));
	et_json_set(o, "queue", q->rows);
	et_json_set(o, "items", q->items);
	et_json_set(o, "complete", json_boolean(json_array_size(q->silent) == 0));
	et_json_set(o, "silent", q->silent);
	et_json_set(o, "gone_segments", et_json_u64(p->sync.queue.gone_segments));
	return api_json(call, 200, o);
}

int api_replication_queue(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "site", "on", "read" };
	struct et_state_view *v;
	struct et_limits *l = NULL;
	struct api_nodes names;
	Et__Policy *policy = NULL;
	struct queue q = { .site = api_param(&call->request, "site"),
			   .node = api_param(&call->request, "on"),
			   .names = &names,
			   .now_us = et_clock_now_us() };

	int rc = api_params_check(&call->request, known, ET_ARRAY_SIZE(known), reterr);
	rc = rc < 0 ? rc : api_view(call, &v, reterr);
	rc = rc < 0 ? rc : limits_load(v, &l, &policy, reterr);
	if (rc < 0) {
		return rc;
	}
	et__policy__free_unpacked(policy, NULL);
	api_nodes_load(v, &names);
	q.limits = l;
	rc = queue_answer(call, &q, reterr);
	free(l);
	return rc;
}

/* ---- Lag ---- */

static json_t *sync_site_json(const struct et_sync_site *s)
{
	json_t *o = json_object();
	et_json_set(o, "site", et_json_text(s->site));
	api_add_lag(o, s);
	et_json_set(o, "own_segments", et_json_u64(s->own_segments));
	et_json_set(o, "received_bytes", et_json_u64(s->received_bytes));
	et_json_set(o, "sent_bytes", et_json_u64(s->sent_bytes));
	et_json_set(o, "received_segments", et_json_u64(s->received_segments));
	et_json_set(o, "receive_bytes_per_s", et_json_u64(s->receive_bytes_per_s));
	et_json_set(o, "send_bytes_per_s", et_json_u64(s->send_bytes_per_s));
	et_json_set(o, "errors", et_json_u64(s->errors));
	et_json_set(o, "last_error", et_json_text(s->last_error));
	et_json_set(o, "last_error_at", api_time(s->last_error_us));
	et_json_set(o, "rate_limit_bytes", et_json_u64(s->rate_limit));
	return o;
}

/* Calls in progress elsewhere, as its nodes keep them. */
static void add_tails(json_t *o, const char *site, const json_t *live)
{
	int64_t tails = 0;
	int64_t lag = 0;
	int64_t kept = 0;
	size_t i;
	json_t *node;

	json_array_foreach((json_t *)(uintptr_t)live, i, node)
	{
		const json_t *t = json_object_get(json_object_get(node, "replication"), "tails");
		if (api_live_is_fresh(node) &&
		    strcmp(et_json_get_text(node, "site", ""), site) == 0) {
			int64_t here = et_json_get_int(t, "lag_ms", 0);
			tails += et_json_get_int(t, "tails", 0);
			kept += et_json_get_int(t, "kept", 0);
			lag = here > lag ? here : lag;
		}
	}
	et_json_set(o, "tails", json_integer(tails));
	et_json_set(o, "tail_lag_ms", json_integer(lag));
	et_json_set(o, "tails_kept", json_integer(kept));
}

int api_replication(struct api_call *call, struct et_error *reterr)
{
	struct et_state_view *v;
	int rc = api_need(call->api->services.sync, "replication", reterr);
	if (rc == 0) {
		rc = api_view(call, &v, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(api_picture_freep) struct api_picture *p = api_picture_take(call->api);
	if (p == NULL) {
		return et_fail(reterr, -ENOMEM, "replication");
	}
	ET_CLEANUP(et_json_freep) json_t *live = api_live_nodes(call);
	json_t *sites = json_array();
	for (uint32_t i = 0; i < p->sync.site_count; i++) {
		json_t *site = sync_site_json(&p->sync.sites[i]);
		add_tails(site, p->sync.sites[i].site, live);
		et_json_add(sites, site);
	}
	json_t *o = json_object();
	et_json_set(o, "node", et_json_text(call->api->config.name));
	et_json_set(o, "sites", sites);
	et_json_set(o, "transfers", json_integer(p->sync.transfers));
	et_json_set(o, "serving", json_integer(p->sync.serving));
	et_json_set(o, "unacknowledged", et_json_u64(p->sync.unacknowledged));
	et_json_set(o, "bad_copies", et_json_u64(p->sync.bad_copies));
	et_json_set(o, "disk_full", json_boolean(p->sync.disk_full));
	return api_json(call, 200, o);
}
