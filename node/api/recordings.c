/* Finding recordings, where their copies are, and whether those here are good. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/io/clock.h"

#define LIMIT_DEFAULT 50
#define LIMIT_MAX 1000
#define VERIFY_TIMEOUT_MS 3600000
#define DURATION_MS_MAX (INT64_C(366) * 86400 * 1000)

/* ---- Pending here: in this node's journal, not committed yet ---- */

struct pending {
	const struct et_state_view *view;
	const struct api_nodes *nodes;
	const struct et_state_query *query; /* NULL: that of `id` only */
	const uint8_t *id;
	json_t *list;	      /* one object a recording */
	bool left_out;	      /* some may fit, but what is told of them is not known here yet */
	Et__Recording *found; /* owned; of `id` */
};

static const Et__Recording *command_recording(const Et__Command *command)
{
	switch ((int)command->body_case) {
	case ET__COMMAND__BODY_RECORDING_OPEN:
		return command->recording_open->recording;
	case ET__COMMAND__BODY_RECORDING_UPDATE:
		return command->recording_update->recording;
	case ET__COMMAND__BODY_RECORDING_CLOSE:
		return command->recording_close->recording;
	case ET__COMMAND__BODY_RECORDING_IMPORT:
		return command->recording_import->recording;
	default:
		return NULL;
	}
}

static bool number_fits(const char *pattern, const char *number)
{
	size_t size = strlen(pattern);
	size_t length = strlen(number);
	if (*pattern == '*') {
		return length >= size - 1 && strcmp(number + length - (size - 1), pattern + 1) == 0;
	}
	return size > 0 && pattern[size - 1] == '*' ? strncmp(pattern, number, size - 1) == 0
						    : strcmp(pattern, number) == 0;
}

/* Conditions on what is told of a recording: only the catalogue knows. */
static bool query_asks_more(const struct et_state_query *q)
{
	return q->agent != NULL || q->team != NULL || q->text != NULL || q->tag_count > 0 ||
	       q->fact_count > 0;
}

static bool duration_fits(const struct et_state_query *q, const Et__Recording *r)
{
	int64_t us = r->end_us - r->start_us;
	return (q->duration_min_us == 0 && q->duration_max_us == 0) ||
	       (r->end_us != 0 && us >= q->duration_min_us &&
		(q->duration_max_us == 0 || us <= q->duration_max_us));
}

static bool query_fits(const struct et_state_query *q, const Et__Recording *r)
{
	return duration_fits(q, r) && (q->from_us == 0 || r->start_us >= q->from_us) &&
	       (q->to_us == 0 || r->start_us < q->to_us) &&
	       (q->number == NULL || number_fits(q->number, r->from) ||
		number_fits(q->number, r->to)) &&
	       (q->site == NULL || strcmp(q->site, r->site) == 0) &&
	       (q->state < 0 || (int)r->state == q->state) &&
	       (q->call == NULL || (r->call.len == 16 && memcmp(r->call.data, q->call, 16) == 0)) &&
	       (q->sip_call_id == NULL || strcmp(q->sip_call_id, r->sip_call_id) == 0);
}

static bool is_committed(const struct et_state_view *v, const uint8_t id[16])
{
	Et__Recording *r = NULL;
	int rc = et_state_get_recording(v, id, &r);
	if (r != NULL) {
		et__recording__free_unpacked(r, NULL);
	}
	return rc == 0;
}

/* Later commands of a recording replace what earlier ones said. */
static void pending_put(struct pending *p, json_t *o)
{
	size_t i;
	json_t *other;
	const char *id = et_json_get_text(o, "id", "");
	json_array_foreach(p->list, i, other)
	{
		if (strcmp(et_json_get_text(other, "id", ""), id) == 0) {
			(void)json_array_set_new(p->list, i, o);
			return;
		}
	}
	if (json_array_size(p->list) < LIMIT_MAX) {
		et_json_add(p->list, o);
	} else {
		json_decref(o);
	}
}

static int on_pending(void *arg, const Et__Command *command)
{
	struct pending *p = arg;
	const Et__Recording *r = command_recording(command);
	if (r == NULL || r->id.len != 16 || is_committed(p->view, r->id.data)) {
		return 0;
	}
	if (p->id != NULL && memcmp(p->id, r->id.data, 16) == 0) {
		size_t size = et__recording__get_packed_size(r);
		uint8_t *bytes = malloc(size + 1);
		if (bytes == NULL) {
			return -ENOMEM;
		}
		(void)et__recording__pack(r, bytes);
		if (p->found != NULL) {
			et__recording__free_unpacked(p->found, NULL);
		}
		p->found = et__recording__unpack(NULL, size, bytes);
		free(bytes);
	} else if (p->query != NULL && query_fits(p->query, r) && query_asks_more(p->query)) {
		p->left_out = true;
	} else if (p->query != NULL && query_fits(p->query, r)) {
		pending_put(p, api_recording_json(p->view, p->nodes, r, true, false));
	}
	return 0;
}

static int pending_each(struct et_api *api, struct pending *p)
{
	const struct et_api_backend *b = &api->config.backend;
	return b->pending != NULL ? b->pending(b->arg, on_pending, p) : 0;
}

int api_recording_find(struct api_call *call, const uint8_t id[16], Et__Recording **ret,
		       bool *ret_pending, struct et_error *reterr)
{
	struct et_state_view *v;
	int rc = api_view(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	*ret_pending = false;
	if (et_state_get_recording(v, id, ret) == 0) {
		return 0;
	}
	struct pending p = { .view = v, .id = id };
	rc = pending_each(call->api, &p);
	if (rc == 0 && p.found != NULL) {
		*ret = p.found;
		*ret_pending = true;
		return 0;
	}
	char text[ET_UUID_TEXT_SIZE];
	et_uuid_format(id, text);
	rc = et_fail_plain(reterr, ET_ENOTFOUND, "there is no recording %s", text);
	(void)et_fail_next(reterr, "evertape recording list");
	return rc;
}

/* ---- The list ---- */

/* What a query says, with the parts that its pointers need. */
struct query {
	struct et_state_query q;
	const char *tags[ET_STATE_CONDITIONS_MAX];
	struct et_state_fact_is facts[ET_STATE_CONDITIONS_MAX];
	char texts[2 * ET_STATE_CONDITIONS_MAX][ET_API_PARAM_MAX];
	size_t text_count;
	uint8_t call[16];
};

/* Each value of a parameter that may be repeated. */
static const char *param_next(const struct api_request *r, const char *key, unsigned *at)
{
	size_t size = strlen(key);
	for (; *at < r->param_count; (*at)++) {
		const char *p = r->params[*at];
		if (strncmp(p, key, size) == 0 && p[size] == '=') {
			(*at)++;
			return p + size + 1;
		}
	}
	return NULL;
}

static int too_many(const char *what, struct et_error *reterr)
{
	return et_fail_plain(reterr, ET_EUSAGE, "at most %d of %s", ET_STATE_CONDITIONS_MAX, what);
}

/* "KEY:TYPE" and the value of that type. */
static int fact_typed(char *key, struct et_state_fact_is *f, struct et_error *reterr)
{
	char *colon = strrchr(key, ':');
	const char *value = f->text;
	bool fits = true;
	int type = colon != NULL ? api_fact_type(colon + 1) : -1;
	if (type < 0) {
		return 0;
	}
	*colon = '\0';
	f->type = type;
	if (type == ET__FACT_TYPE__FACT_INTEGER) {
		char *end;
		errno = 0;
		f->number = strtoll(value, &end, 10);
		fits = errno == 0 && *value != '\0' && *end == '\0';
	} else if (type == ET__FACT_TYPE__FACT_BOOL) {
		f->number = strcmp(value, "true") == 0;
		fits = f->number != 0 || strcmp(value, "false") == 0;
	} else if (type == ET__FACT_TYPE__FACT_TIME) {
		fits = et_time_parse(value, &f->number);
	}
	return fits ? 0
		    : et_fail_plain(reterr, ET_EUSAGE, "\"%.60s\" is not of type %s", value,
				    colon + 1);
}

/* "KEY=TEXT", or "KEY:TYPE=VALUE". */
static int query_facts(const struct api_request *r, struct query *ret, struct et_error *reterr)
{
	unsigned at = 0;
	for (const char *p; (p = param_next(r, "fact", &at)) != NULL;) {
		if (ret->q.fact_count == ET_STATE_CONDITIONS_MAX) {
			return too_many("fact", reterr);
		}
		char *copy = ret->texts[ret->text_count++];
		struct et_state_fact_is *f = &ret->facts[ret->q.fact_count++];
		(void)snprintf(copy, ET_API_PARAM_MAX, "%s", p);
		char *equals = strchr(copy, '=');
		if (equals == copy || equals == NULL) {
			return et_fail_plain(reterr, ET_EUSAGE,
					     "fact is KEY=TEXT, or KEY:TYPE=VALUE");
		}
		*equals = '\0';
		*f = (struct et_state_fact_is){ .key = copy,
						.type = ET__FACT_TYPE__FACT_TEXT,
						.text = equals + 1 };
		int rc = fact_typed(copy, f, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	ret->q.facts = ret->facts;
	return 0;
}

static int query_tags(const struct api_request *r, struct query *ret, struct et_error *reterr)
{
	unsigned at = 0;
	for (const char *p; (p = param_next(r, "tag", &at)) != NULL;) {
		if (ret->q.tag_count == ET_STATE_CONDITIONS_MAX) {
			return too_many("tag", reterr);
		}
		ret->tags[ret->q.tag_count++] = p;
	}
	ret->q.tags = ret->tags;
	return 0;
}

static int query_state(const struct api_request *r, struct et_state_query *q,
		       struct et_error *reterr)
{
	static const char *const states[] = { "capturing", "sealed", "lost", "erased" };
	const char *state = api_param(r, "state");
	for (int i = 0; state != NULL && i < (int)ET_ARRAY_SIZE(states); i++) {
		if (strcmp(state, states[i]) == 0) {
			q->state = i;
		}
	}
	if (state != NULL && q->state < 0) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "state is capturing, sealed, lost or erased, not \"%.32s\"",
				     state);
	}
	return 0;
}

static int query_durations(const struct api_request *r, struct et_state_query *q,
			   struct et_error *reterr)
{
	uint64_t min_ms, max_ms;
	int rc = api_param_uint(r, "min_duration_ms", 0, DURATION_MS_MAX, 0, &min_ms, reterr);
	if (rc == 0) {
		rc = api_param_uint(r, "max_duration_ms", 0, DURATION_MS_MAX, 0, &max_ms, reterr);
	}
	if (rc == 0) {
		q->duration_min_us = (int64_t)min_ms * 1000;
		q->duration_max_us = (int64_t)max_ms * 1000;
	}
	return rc;
}

static int query_read(const struct api_request *r, struct query *ret, struct et_error *reterr)
{
	static const char *const known[] = { "from",	       "to",   "number",  "site",
					     "state",	       "call", "call_id", "agent",
					     "team",	       "text", "limit",	  "cursor",
					     "read",	       "tag",  "fact",	  "min_duration_ms",
					     "max_duration_ms" };
	static const char *const many[] = { "tag", "fact" };
	struct et_state_query *q = &ret->q;
	uint64_t limit;
	*ret = (struct query){ .q = { .state = -1 } };
	int rc = api_params_check_many(r, known, ET_ARRAY_SIZE(known), many, ET_ARRAY_SIZE(many),
				       reterr);
	if (rc == 0) {
		rc = api_param_time(r, "from", &q->from_us, reterr);
	}
	if (rc == 0) {
		rc = api_param_time(r, "to", &q->to_us, reterr);
	}
	if (rc == 0) {
		rc = api_param_uint(r, "limit", 1, LIMIT_MAX, LIMIT_DEFAULT, &limit, reterr);
	}
	if (rc == 0) {
		rc = query_durations(r, q, reterr);
	}
	if (rc == 0) {
		rc = query_state(r, q, reterr);
	}
	if (rc == 0) {
		rc = query_tags(r, ret, reterr);
	}
	if (rc == 0) {
		rc = query_facts(r, ret, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	const char *call = api_param(r, "call");
	if (call != NULL && !et_uuid_parse(call, ret->call)) {
		return et_fail_plain(reterr, ET_EUSAGE, "call is a UUID, not \"%.64s\"", call);
	}
	q->call = call != NULL ? ret->call : NULL;
	q->limit = (uint32_t)limit;
	q->number = api_param(r, "number");
	q->site = api_param(r, "site");
	q->sip_call_id = api_param(r, "call_id");
	q->agent = api_param(r, "agent");
	q->team = api_param(r, "team");
	q->text = api_param(r, "text");
	q->cursor = api_param(r, "cursor");
	return 0;
}

struct listing {
	const struct et_state_view *view;
	const struct api_nodes *nodes;
	json_t *list;
};

static int add_recording(void *arg, const Et__Recording *r)
{
	struct listing *l = arg;
	et_json_add(l->list, api_recording_json(l->view, l->nodes, r, false, false));
	return 0;
}

int api_recordings(struct api_call *call, struct et_error *reterr)
{
	struct query query;
	struct et_state_view *v;
	struct api_nodes nodes;
	struct et_state_found found = { .cursor = "" };
	int rc = query_read(&call->request, &query, reterr);
	if (rc == 0) {
		rc = api_view_indexed(call, &v, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	api_nodes_load(v, &nodes);
	ET_CLEANUP(et_json_freep) json_t *list = json_array();
	struct pending p = { .view = v, .nodes = &nodes, .query = &query.q, .list = list };
	if (query.q.cursor == NULL || *query.q.cursor == '\0') { /* the first page */
		rc = pending_each(call->api, &p);
		if (rc < 0) {
			return et_fail(reterr, rc, "what is pending here");
		}
	}
	struct listing l = { .view = v, .nodes = &nodes, .list = list };
	rc = et_state_search(v, &query.q, add_recording, &l, &found);
	if (rc < 0) {
		return et_fail(reterr, rc, "search");
	}
	json_t *o = json_object();
	et_json_set(o, "recordings", ET_TAKE(list));
	et_json_set(o, "cursor", json_string(found.cursor));
	et_json_set(o, "complete", json_boolean(found.complete && !p.left_out));
	et_json_set(o, "why",
		    json_string(!found.complete ? "the index does not have everything yet"
				: p.left_out	? "recordings that are not committed yet "
						  "are left out"
						: ""));
	et_json_set(o, "total", et_json_u64(found.total));
	et_json_set(o, "total_is_exact", json_boolean(found.total_is_exact));
	et_json_set(o, "index", et_json_u64(et_state_view_index(v)));
	return api_json(call, 200, o);
}

/* ---- All that fit, for who acts on them ---- */

struct match {
	struct et_buffer *ids;
	size_t most;
	bool more;
};

static int match_add(void *arg, const Et__Recording *r)
{
	struct match *m = arg;
	if (m->ids->size / 16 == m->most) {
		m->more = true;
		return 1;
	}
	et_buffer_add(m->ids, r->id.data, 16);
	return 0;
}

static int match_conditions(const struct api_request *r, struct et_error *reterr)
{
	static const char *const not_conditions[] = { "limit=", "cursor=", "read=" };
	unsigned conditions = r->param_count;
	for (unsigned i = 0; i < r->param_count; i++) {
		for (size_t k = 0; k < ET_ARRAY_SIZE(not_conditions); k++) {
			const char *c = not_conditions[k];
			conditions -= strncmp(r->params[i], c, strlen(c)) == 0;
		}
	}
	return conditions > 0 ? 0
			      : et_fail_plain(reterr, ET_EUSAGE,
					      "name recordings, or say which: all there are is "
					      "not a choice");
}

int api_recordings_match(struct api_call *call, size_t most, struct et_buffer *ids, bool *ret_more,
			 struct et_error *reterr)
{
	struct query query;
	struct et_state_view *v;
	struct et_state_found found = { .cursor = "" };
	struct match m = { .ids = ids, .most = most };
	char cursor[ET_STATE_CURSOR_SIZE] = "";
	int rc = match_conditions(&call->request, reterr);
	rc = rc < 0 ? rc : query_read(&call->request, &query, reterr);
	rc = rc < 0 ? rc : api_view_indexed(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	query.q.limit = LIMIT_MAX;
	do {
		query.q.cursor = cursor;
		rc = et_state_search(v, &query.q, match_add, &m, &found);
		if (rc < 0) {
			return et_fail(reterr, rc, "search");
		}
		if (!found.complete) {
			return et_fail_plain(reterr, ET_EBUSY,
					     "the index does not have everything yet: nothing is "
					     "decided by half of an answer");
		}
		memcpy(cursor, found.cursor, sizeof(cursor));
	} while (!m.more && cursor[0] != '\0');
	*ret_more = m.more;
	return ids->failed ? et_fail(reterr, -ENOMEM, "recordings") : 0;
}

int api_recording(struct api_call *call, struct et_error *reterr)
{
	uint8_t id[16];
	struct api_nodes nodes;
	Et__Recording *r = NULL;
	bool pending;
	int rc = api_path_id(call, id, reterr);
	if (rc == 0) {
		rc = api_recording_find(call, id, &r, &pending, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	api_nodes_load(call->view, &nodes);
	struct et_catalog_status raft;
	et_catalog_status(call->api->services.catalog, &raft);
	json_t *o = api_recording_json(call->view, &nodes, r, pending, true);
	et_json_set(o, "retention", api_retention_json(call->view, r, raft.cluster_time_us));
	et__recording__free_unpacked(r, NULL);
	return api_json(call, 200, o);
}

static int add_copy(void *arg, const Et__Copy *copy)
{
	struct listing *l = arg;
	et_json_add(l->list, api_copy_json(l->nodes, copy));
	return 0;
}

int api_recording_where(struct api_call *call, struct et_error *reterr)
{
	uint8_t id[16];
	struct api_nodes nodes;
	Et__Recording *r = NULL;
	bool pending;
	int rc = api_path_id(call, id, reterr);
	if (rc == 0) {
		rc = api_recording_find(call, id, &r, &pending, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	et__recording__free_unpacked(r, NULL);
	api_nodes_load(call->view, &nodes);
	struct listing l = { .view = call->view, .nodes = &nodes, .list = json_array() };
	(void)et_state_each_copy_of(call->view, id, add_copy, &l);
	json_t *o = json_object();
	et_json_set(o, "pending", json_boolean(pending));
	et_json_set(o, "copies", l.list);
	return api_json(call, 200, o);
}

/* ---- Verify the copies of this node ---- */

static json_t *check_json(const struct et_sync_check *c)
{
	char segment[32];
	json_t *o = json_object();
	(void)snprintf(segment, sizeof(segment), "g%u-s%u", c->generation, c->segment);
	et_json_set(o, "segment", json_string(segment));
	et_json_set(o, "result",
		    json_string(c->code == 0		   ? "ok"
				: c->code == ET_EINTEGRITY ? "bad"
				: c->code == ET_ENOTFOUND  ? "missing"
							   : "unreadable"));
	et_json_set(o, "code", json_string(et_errname(c->code)));
	et_json_set(o, "file", et_json_text(c->file));
	et_json_set(o, "record", c->record >= 0 ? json_integer(c->record) : json_null());
	et_json_set(o, "offset", et_json_u64(c->offset));
	et_json_set(o, "size_bytes", et_json_u64(c->size_bytes));
	et_json_set(o, "block_bytes",
		    c->block_bytes > 0 ? json_integer(c->block_bytes) : json_null());
	et_json_set(o, "why", et_json_text(c->text));
	et_json_set(o, "quarantine", et_json_text(c->quarantine));
	return o;
}

static void on_checked(void *arg, int code, const struct et_sync_check *checks, size_t count)
{
	struct api_wait *w = arg;
	w->list = json_array();
	for (size_t i = 0; i < count; i++) {
		et_json_add(w->list, check_json(&checks[i]));
	}
	api_wait_answer(w, code);
}

static int check_run(struct api_call *call, const uint8_t id[16], json_t **ret,
		     struct et_error *reterr)
{
	struct api_wait *w = api_wait_new(call->api);
	if (w == NULL) {
		return et_fail(reterr, -ENOMEM, "verify");
	}
	int rc = et_sync_check_local(call->api->services.sync, id, on_checked, w);
	if (rc < 0) {
		api_wait_unref(w);
		(void)et_fail(reterr, rc, "verify");
	} else {
		rc = api_wait_for(call->api, w, VERIFY_TIMEOUT_MS);
		if (w->seen) {
			*ret = ET_TAKE(w->list);
			rc = rc == ET_EINTEGRITY || rc == ET_ENOTFOUND ? 0 : rc;
		}
		if (rc < 0) {
			(void)et_fail(reterr, rc, "verify");
		}
	}
	api_wait_unref(w);
	return rc;
}

static json_t *verdict(json_t *segments, const char *name)
{
	char why[400] = "";
	const char *result = json_array_size(segments) == 0 ? "none" : "ok";
	size_t i;
	json_t *s;
	json_array_foreach(segments, i, s)
	{
		const char *one = et_json_get_text(s, "result", "");
		if (strcmp(one, "ok") == 0 || strcmp(result, "bad") == 0) {
			continue;
		}
		result = strcmp(one, "bad") == 0 ? "bad" : "incomplete";
		int64_t record = et_json_get_int(s, "record", -1);
		char where[40] = "";
		if (record >= 0) {
			(void)snprintf(where, sizeof(where), " record %lld", (long long)record);
		}
		(void)snprintf(why, sizeof(why), "%.63s: %.150s%s: %.120s", name,
			       et_json_get_text(s, "file", ""), where,
			       et_json_get_text(s, "why", one));
	}
	if (strcmp(result, "none") == 0) {
		(void)snprintf(why, sizeof(why), "node %.63s holds no copy: ask one that does",
			       name);
	}
	json_t *o = json_object();
	et_json_set(o, "result", json_string(result));
	et_json_set(o, "why", et_json_text(why));
	et_json_set(o, "node", et_json_text(name));
	et_json_set(o, "segments", segments);
	return o;
}

int api_recording_verify(struct api_call *call, struct et_error *reterr)
{
	uint8_t id[16];
	Et__Recording *r = NULL;
	json_t *segments = NULL;
	bool pending;
	int rc = api_need(call->api->services.sync, "replication", reterr);
	if (rc == 0) {
		rc = api_path_id(call, id, reterr);
	}
	if (rc == 0) {
		rc = api_recording_find(call, id, &r, &pending, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	et__recording__free_unpacked(r, NULL);
	api_view_release(call);
	rc = check_run(call, id, &segments, reterr);
	return rc < 0 ? rc : api_json(call, 200, verdict(segments, call->api->config.name));
}
