/* Scrub and repair: nodes are asked to do something about their copies, and say how it goes.
 *
 * Asking is audited first: the event is committed, then the nodes are asked, one after the other.
 * One that is not reached is named, and the answer says so: nothing is remembered for it.
 *
 * What is to be repaired is read from the catalogue; repairing is what placement does anyway. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/members_internal.h"
#include "node/io/clock.h"
#include "replication/limit/limit.h"

#define LISTED_MAX 1000 /* segments that a plan names */
#define IDS_MAX 1000	/* recordings that are asked about at once */

/* ---- Asking nodes ---- */

struct target {
	uint64_t id;
	char name[64];
	char address[64];
};

struct targets {
	const char *only; /* this one, by name; NULL: all that store */
	struct target list[256];
	size_t count;
};

static int target_add(void *arg, const Et__Node *node)
{
	struct targets *t = arg;

	if (api_node_moves_media(node) && t->count < ET_ARRAY_SIZE(t->list) &&
	    (t->only == NULL || strcmp(t->only, node->name) == 0)) {
		struct target *one = &t->list[t->count++];
		one->id = node->id;
		(void)snprintf(one->name, sizeof(one->name), "%s", node->name);
		(void)snprintf(one->address, sizeof(one->address), "%s", node->address);
	}
	return 0;
}

static int targets_find(struct api_call *call, const char *only, struct targets *ret,
			struct et_error *reterr)
{
	struct et_state_view *v;
	int rc = api_view(call, &v, reterr);

	*ret = (struct targets){ .only = only };
	rc = rc < 0 ? rc : et_state_each_node(v, target_add, ret);
	if (rc >= 0 && ret->count == 0) {
		rc = et_fail_plain(reterr, ET_ENOTFOUND,
				   "no member that stores media is called %.64s",
				   only != NULL ? only : "so");
		(void)et_fail_next(reterr, "evertape node list");
	}
	api_view_release(call);
	return rc < 0 ? rc : 0;
}

/* Each of them; who answered is in "asked", who did not in "not_reached". Negative when nobody did:
 * the reason of the first. */
static int targets_ask(struct api_call *call, const struct targets *t, const json_t *ask,
		       json_t *ret, struct et_error *reterr)
{
	const struct et_api_backend *b = &call->api->config.backend;
	json_t *asked = json_array();
	json_t *missed = json_array();
	int first = 0;

	for (size_t i = 0; i < t->count; i++) {
		struct et_error why = { 0 };
		json_t *answer = NULL;
		json_t *o = json_object();
		int rc = b->ask != NULL ? b->ask(b->arg, t->list[i].id, t->list[i].address, ask,
						 &answer, &why)
					: et_fail(&why, ET_EUNSUPPORTED, "replication");
		et_json_set(o, "node", et_json_text(t->list[i].name));
		if (rc == 0) {
			et_json_set(o, "done", json_incref(json_object_get(answer, "done")));
			et_json_set(o, "pass", json_incref(json_object_get(answer, "pass")));
			et_json_add(asked, o);
		} else {
			et_json_set(o, "code", json_string(et_errname(rc)));
			et_json_set(o, "why", et_json_text(why.text));
			et_json_add(missed, o);
			if (first == 0) {
				first = et_fail_plain(reterr, rc, "%s: %.300s", t->list[i].name,
						      why.text);
				(void)et_fail_next(reterr, "%s",
						   why.next[0] != '\0' ? why.next
								       : "evertape node list");
			}
		}
		json_decref(answer);
	}
	bool none = json_array_size(asked) == 0;
	et_json_set(ret, "asked", asked);
	et_json_set(ret, "not_reached", missed);
	return none ? first : 0;
}

/* ---- Scrub ---- */

static json_t *scrub_row(const Et__Node *node, const json_t *told, bool heard)
{
	static const char *const same[] = { "pass", "by", "rate", "copies", "bytes", "bad" };
	static const char *const times[] = { "begun", "ended", "next" };
	const char *error = et_json_get_text(told, "error", "");
	bool running = et_json_get_bool(told, "running", false);
	uint8_t at[16];
	json_t *o = json_object();

	et_json_set(o, "node", et_json_text(node->name));
	et_json_set(o, "site", et_json_text(node->site));
	et_json_set(o, "state",
		    json_string(!heard		 ? "unknown"
				: *error != '\0' ? "waits"
				: running	 ? "running"
						 : "idle"));
	for (size_t i = 0; i < ET_ARRAY_SIZE(same); i++) {
		et_json_set(o, same[i], json_incref(json_object_get(told, same[i])));
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(times); i++) {
		char key[16];
		(void)snprintf(key, sizeof(key), "%s_us", times[i]);
		et_json_set(o, times[i], api_time(et_json_get_int(told, key, 0)));
	}
	/* A recording's id begins with its time: how far the pass has come. */
	bool has = running && et_uuid_parse(et_json_get_text(told, "at", ""), at);
	int64_t ms = has ? (int64_t)(et_get64(at) >> 16) : 0;
	et_json_set(o, "at", api_time(ms * 1000));
	et_json_set(o, "error", et_json_text(error));
	return o;
}

struct scrubs {
	const json_t *live;
	const char *only;
	json_t *rows;
	bool complete;
};

static int scrub_node(void *arg, const Et__Node *node)
{
	struct scrubs *s = arg;

	if (!api_node_moves_media(node) || (s->only != NULL && strcmp(s->only, node->name) != 0)) {
		return 0;
	}
	const json_t *live = api_live_of(s->live, node->id);
	const json_t *told = json_object_get(json_object_get(live, "replication"), "scrub");
	bool heard = told != NULL && api_live_is_fresh(live);
	s->complete = s->complete && heard;
	et_json_add(s->rows, scrub_row(node, told, heard));
	return 0;
}

int api_scrub(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "on", "read" };
	struct et_state_view *v;
	ET_CLEANUP(et_json_freep) json_t *live = NULL;
	struct scrubs s = { .complete = true };
	int rc = api_params_check(&call->request, known, ET_ARRAY_SIZE(known), reterr);

	rc = rc < 0 ? rc : api_view(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	s.live = live = api_live_nodes(call);
	s.only = api_param(&call->request, "on");
	s.rows = json_array();
	rc = et_state_each_node(v, scrub_node, &s);
	if (rc >= 0 && s.only != NULL && json_array_size(s.rows) == 0) {
		rc = et_fail_plain(reterr, ET_ENOTFOUND,
				   "no member that stores media is called %.64s", s.only);
		(void)et_fail_next(reterr, "evertape node list");
	}
	if (rc < 0) {
		json_decref(s.rows);
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "scrubs", s.rows);
	et_json_set(o, "complete", json_boolean(s.complete));
	return api_json(call, 200, o);
}

static int scrub_ask(struct api_call *call, const json_t *body, bool stop, const char *reason,
		     json_t *answer, struct et_error *reterr)
{
	const char *on = et_json_get_text(body, "on", NULL);
	struct targets targets;
	char detail[96];
	char target[96];
	uint64_t number = 0;
	json_t *ask = json_object();
	int64_t rate = et_json_get_int(body, "rate", 0);

	int rc = targets_find(call, on, &targets, reterr);
	(void)snprintf(target, sizeof(target), "%s%s", on != NULL ? "node " : "all nodes",
		       on != NULL ? targets.list[0].name : "");
	(void)snprintf(detail, sizeof(detail), stop ? "stop" : "rate=%" PRId64, rate);
	rc = rc < 0 ? rc
		    : api_audit(call, "replication.scrub", target, detail, reason, &number, reterr);
	if (rc == 0) {
		et_json_set(ask, "what", json_string(stop ? "scrub-stop" : "scrub"));
		et_json_set(ask, "rate", json_integer(rate));
		et_json_set(ask, "by", et_json_text(call->principal));
		rc = targets_ask(call, &targets, ask, answer, reterr);
		et_json_set(answer, "audit_event", et_json_u64(number));
	}
	json_decref(ask);
	return rc;
}

int api_scrub_start(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "on", "rate", "stop", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	const char *reason = "";
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);

	rc = rc < 0 ? rc : api_need_reason(body, &reason, reterr);
	int64_t rate = rc == 0 ? et_json_get_int(body, "rate", 0) : 0;
	if (rc == 0 && rate != 0 &&
	    (rate < ET_LIMIT_RATE_MIN || (uint64_t)rate > ET_LIMIT_RATE_MAX)) {
		rc = et_fail_plain(reterr, ET_EUSAGE, "rate is %d bytes a second or more",
				   ET_LIMIT_RATE_MIN);
	}
	if (rc < 0) {
		return rc;
	}
	json_t *answer = json_object();
	rc = scrub_ask(call, body, et_json_get_bool(body, "stop", false), reason, answer, reterr);
	if (rc < 0) {
		json_decref(answer);
		return rc;
	}
	return api_json(call, 200, answer);
}

/* ---- What is to be repaired ---- */

struct plan {
	const struct api_nodes *names;
	json_t *items;
	uint64_t segments, bytes, gone;
	bool cut;
};

static json_t *nodes_named(const struct plan *p, const uint64_t *ids, uint32_t count, bool archived)
{
	json_t *list = json_array();
	for (uint32_t i = 0; i < count; i++) {
		const char *name = api_node_name(p->names, ids[i]);
		char number[32];
		(void)snprintf(number, sizeof(number), "node %" PRIu64, ids[i]);
		et_json_add(list, et_json_text(*name != '\0' ? name : number));
	}
	if (archived) {
		et_json_add(list, json_string("archive"));
	}
	return list;
}

static int plan_item(void *arg, const struct et_sync_repair_item *i)
{
	struct plan *p = arg;
	char id[ET_UUID_TEXT_SIZE];

	p->segments++;
	p->bytes += i->size_bytes;
	p->gone += i->gone;
	if (json_array_size(p->items) == LISTED_MAX) {
		p->cut = true;
		return 0;
	}
	json_t *sites = json_array();
	for (uint32_t n = 0; n < i->site_count; n++) {
		et_json_add(sites, et_json_text(i->sites[n]));
	}
	et_uuid_format(i->recording, id);
	json_t *o = json_object();
	et_json_set(o, "recording", json_string(id));
	et_json_set(o, "segment", api_segment_name(i->generation, i->segment));
	et_json_set(o, "lacks", sites);
	et_json_set(o, "class", json_string(et_limit_class_name((int)i->klass)));
	et_json_set(o, "bytes", et_json_u64(i->size_bytes));
	et_json_set(o, "from", nodes_named(p, i->sources, i->source_count, i->archived));
	et_json_set(o, "bad_at", nodes_named(p, i->bad, i->bad_count, false));
	et_json_set(o, "repairable", json_boolean(!i->gone));
	et_json_set(o, "why", json_string(i->gone ? "no node and no archive has a good copy" : ""));
	et_json_add(p->items, o);
	return 0;
}

/* The ids of an array, at most IDS_MAX; *ret is the caller's. */
static int ids_read(const json_t *list, uint8_t **ret, size_t *ret_count, struct et_error *reterr)
{
	size_t count = json_array_size(list);
	uint8_t *ids = count <= IDS_MAX ? calloc(count + 1, 16) : NULL;

	if (ids == NULL) {
		return et_fail_plain(reterr, count > IDS_MAX ? ET_ELIMIT : -ENOMEM,
				     "at most %d recordings at once", IDS_MAX);
	}
	for (size_t i = 0; i < count; i++) {
		const char *text = json_string_value(json_array_get(list, i));
		if (text == NULL || !et_uuid_parse(text, ids + i * 16)) {
			free(ids);
			return et_fail_plain(reterr, ET_EUSAGE, "\"%.40s\" is no recording's id",
					     text != NULL ? text : "");
		}
	}
	*ret = ids;
	*ret_count = count;
	return 0;
}

/* Each is a recording. */
static int ids_known(const struct et_state_view *v, const uint8_t *ids, size_t count,
		     struct et_error *reterr)
{
	for (size_t i = 0; i < count; i++) {
		Et__Recording *r = NULL;
		char id[ET_UUID_TEXT_SIZE];
		int rc = et_state_get_recording(v, ids + i * 16, &r);
		if (rc < 0) {
			et_uuid_format(ids + i * 16, id);
			return et_fail(reterr, rc, "recording %s", id);
		}
		et__recording__free_unpacked(r, NULL);
	}
	return 0;
}

static int plan_make(struct api_call *call, const json_t *list, json_t *ret,
		     struct et_error *reterr)
{
	struct et_state_view *v;
	struct api_nodes names;
	struct plan p = { .names = &names };
	uint8_t *ids = NULL;
	size_t count = 0;
	bool more = false;
	int rc = ids_read(list, &ids, &count, reterr);

	rc = rc < 0 ? rc : api_view(call, &v, reterr);
	if (rc == 0) {
		api_nodes_load(v, &names);
		rc = ids_known(v, ids, count, reterr);
		api_view_release(call); /* The look opens views of its own. */
	}
	p.items = json_array();
	if (rc == 0) {
		rc = et_sync_repair_each(call->api->services.state, ids, count, plan_item, &p,
					 &more, reterr);
	}
	free(ids);
	et_json_set(ret, "items", p.items);
	et_json_set(ret, "segments", et_json_u64(p.segments));
	et_json_set(ret, "bytes", et_json_u64(p.bytes));
	et_json_set(ret, "cannot", et_json_u64(p.gone));
	et_json_set(ret, "partial", json_boolean(p.cut || more));
	return rc < 0 ? rc : 0;
}

/* POST for both: a plan may be for many recordings. */
static int repair_body(struct api_call *call, const char *const *known, size_t known_count,
		       json_t **ret, struct et_error *reterr)
{
	int rc = api_need(call->api->services.sync, "replication", reterr);

	rc = rc < 0 ? rc : api_body(call, known, known_count, ret, reterr);
	const json_t *list = rc == 0 ? json_object_get(*ret, "recordings") : NULL;
	if (list != NULL && !json_is_array(list)) {
		rc = et_fail_plain(reterr, ET_EUSAGE, "recordings is a list of ids");
	}
	return rc;
}

int api_repair_plan(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "recordings" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	int rc = repair_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);

	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	rc = plan_make(call, json_object_get(body, "recordings"), o, reterr);
	if (rc < 0) {
		json_decref(o);
		return rc;
	}
	return api_json(call, 200, o);
}

static int repair_ask(struct api_call *call, const json_t *list, const char *reason, json_t *answer,
		      struct et_error *reterr)
{
	struct targets targets;
	char target[64] = "all recordings";
	uint64_t number = 0;
	size_t count = json_array_size(list);

	if (count == 1) {
		(void)snprintf(target, sizeof(target), "recording %.36s",
			       json_string_value(json_array_get(list, 0)));
	} else if (count > 1) {
		(void)snprintf(target, sizeof(target), "%zu recordings", count);
	}
	int rc = targets_find(call, NULL, &targets, reterr);
	rc = rc < 0 ? rc
		    : api_audit(call, "replication.repair", target, "", reason, &number, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *ask = json_object();
	et_json_set(ask, "what", json_string("repair"));
	et_json_set(ask, "recordings", count > 0 ? json_deep_copy(list) : json_array());
	rc = targets_ask(call, &targets, ask, answer, reterr);
	json_decref(ask);
	et_json_set(answer, "audit_event", et_json_u64(number));
	return rc;
}

int api_repair_apply(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "recordings", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	const char *reason = "";
	int rc = repair_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);

	rc = rc < 0 ? rc : api_need_reason(body, &reason, reterr);
	if (rc < 0) {
		return rc;
	}
	const json_t *list = json_object_get(body, "recordings");
	json_t *o = json_object();
	rc = plan_make(call, list, o, reterr);
	rc = rc < 0 ? rc : repair_ask(call, list, reason, o, reterr);
	if (rc < 0) {
		json_decref(o);
		return rc;
	}
	return api_json(call, 200, o);
}
