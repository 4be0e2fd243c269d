/* Legal holds: placed on recordings or on a scope, listed, released. */
#include <stdio.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/io/clock.h"

#define LISTED_MAX 10000
#define PLACED_MAX 1000	  /* recordings of one call */
#define RELEASED_MAX 1000 /* holds of one call */

/* ---- As JSON ---- */

static json_t *scope_json(const Et__HoldScope *s)
{
	json_t *o = json_object();
	const struct {
		const char *key;
		const char *text;
	} texts[] = { { "number", s->number },
		      { "agent", s->agent },
		      { "site", s->site },
		      { "call_id", s->sip_call_id } };
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		if (texts[i].text[0] != '\0') {
			et_json_set(o, texts[i].key, et_json_text(texts[i].text));
		}
	}
	if (s->from_us != 0) {
		et_json_set(o, "from", api_time(s->from_us));
	}
	if (s->to_us != 0) {
		et_json_set(o, "to", api_time(s->to_us));
	}
	return o;
}

static json_t *hold_json(const Et__Hold *h)
{
	json_t *o = json_object();
	et_json_set(o, "id", api_uuid(&h->id));
	et_json_set(o, "name", et_json_text(h->matter));
	et_json_set(o, "recording", api_uuid(&h->recording));
	et_json_set(o, "scope", h->scope != NULL ? scope_json(h->scope) : json_null());
	et_json_set(o, "reason", et_json_text(h->reason));
	et_json_set(o, "principal", et_json_text(h->principal));
	et_json_set(o, "placed", api_time(h->placed_us));
	et_json_set(o, "released", api_time(h->released_us));
	if (h->released_us != 0) {
		et_json_set(o, "released_by", et_json_text(h->released_by));
		et_json_set(o, "release_reason", et_json_text(h->release_reason));
	}
	return o;
}

static int add_hold(void *arg, const Et__Hold *h)
{
	et_json_add(arg, hold_json(h));
	return 0;
}

json_t *api_holds_over(const struct et_state_view *v, const Et__Recording *r)
{
	json_t *list = json_array();
	if (r->id.len == 16) {
		(void)et_state_each_hold_over(v, r, add_hold, list);
	}
	return list;
}

/* ---- Listing ---- */

struct listing {
	const char *name; /* NULL: all */
	bool released;	  /* those, too */
	json_t *list;
	bool more;
};

static int list_hold(void *arg, const Et__Hold *h)
{
	struct listing *l = arg;
	if ((l->name != NULL && strcmp(l->name, h->matter) != 0) ||
	    (h->released_us != 0 && !l->released)) {
		return 0;
	}
	if (json_array_size(l->list) == LISTED_MAX) {
		l->more = true;
		return 1;
	}
	return add_hold(l->list, h);
}

int api_holds(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "name", "all", "read" };
	struct listing l = { .name = api_param(&call->request, "name") };
	struct et_state_view *v;
	int rc = api_params_check(&call->request, known, ET_ARRAY_SIZE(known), reterr);
	rc = rc < 0 ? rc : api_param_bool(&call->request, "all", &l.released, reterr);
	rc = rc < 0 ? rc : api_view(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	l.list = json_array();
	rc = et_state_each_hold(v, list_hold, &l);
	if (rc < 0) {
		json_decref(l.list);
		return et_fail(reterr, rc, "holds");
	}
	json_t *o = json_object();
	et_json_set(o, "holds", l.list);
	et_json_set(o, "more", json_boolean(l.more));
	return api_json(call, 200, o);
}

/* ---- Placing ---- */

static char *text_of(const json_t *o, const char *key)
{
	return (char *)(uintptr_t)et_json_get_text(o, key, "");
}

static int time_of(const json_t *o, const char *key, int64_t *ret, struct et_error *reterr)
{
	const char *text = et_json_get_text(o, key, "");
	if (*text == '\0' || et_time_parse(text, ret)) {
		return 0;
	}
	return et_fail_plain(reterr, ET_EUSAGE, "scope.%s is RFC 3339, not \"%.40s\"", key, text);
}

static int scope_read(const json_t *j, Et__HoldScope *ret, struct et_error *reterr)
{
	static const char *const known[] = { "number", "agent", "site", "call_id", "from", "to" };
	et__hold_scope__init(ret);
	if (!json_is_object(j)) {
		return et_fail_plain(reterr, ET_EUSAGE, "scope is an object");
	}
	int rc = et_json_check_keys(j, known, ET_ARRAY_SIZE(known), reterr);
	rc = rc < 0 ? rc : time_of(j, "from", &ret->from_us, reterr);
	rc = rc < 0 ? rc : time_of(j, "to", &ret->to_us, reterr);
	ret->number = text_of(j, "number");
	ret->agent = text_of(j, "agent");
	ret->site = text_of(j, "site");
	ret->sip_call_id = text_of(j, "call_id");
	return rc;
}

/* `id` becomes that of the hold. */
static int hold_place(struct api_call *call, Et__Hold *h, uint8_t id[16], struct et_error *reterr)
{
	Et__HoldAdd add = ET__HOLD_ADD__INIT;
	Et__Command command = ET__COMMAND__INIT;
	et_uuid7(id);
	h->id = (ProtobufCBinaryData){ 16, id };
	add.hold = h;
	command.body_case = ET__COMMAND__BODY_HOLD_ADD;
	command.hold_add = &add;
	return api_propose(call, &command, h->reason, NULL, reterr);
}

struct standing {
	const char *name;
	bool found;
};

static int standing_one(void *arg, const Et__Hold *h)
{
	struct standing *s = arg;
	s->found |= h->released_us == 0 && strcmp(h->matter, s->name) == 0;
	return s->found;
}

/* Which of `ids` are held under the name already, as *stands. */
static int holds_look(struct api_call *call, const json_t *ids, const char *name,
		      bool stands[PLACED_MAX], struct et_error *reterr)
{
	struct et_state_view *v;
	size_t i;
	json_t *one;
	int rc = api_view_fresh(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	json_array_foreach(ids, i, one)
	{
		uint8_t id[16];
		struct standing s = { .name = name };
		stands[i] = json_is_string(one) && et_uuid_parse(json_string_value(one), id) &&
			    et_state_each_hold_of(v, id, standing_one, &s) == 1;
	}
	api_view_release(call); /* what follows waits for as many commits */
	return 0;
}

static int recording_hold(struct api_call *call, const char *recording, const Et__Hold *like,
			  struct et_error *reterr)
{
	uint8_t id[16];
	uint8_t own[16];
	Et__Hold h = *like;
	if (!et_uuid_parse(recording, id)) {
		return et_fail_plain(reterr, ET_EUSAGE, "no recording id");
	}
	h.recording = (ProtobufCBinaryData){ sizeof(id), id };
	int rc = api_need_quorum(call, reterr); /* it may go while others are placed */
	return rc < 0 ? rc : hold_place(call, &h, own, reterr);
}

/* Each is placed or refused by itself: what is placed stands, and the answer says which are not. */
static int holds_place(struct api_call *call, const json_t *ids, const Et__Hold *like,
		       struct et_error *reterr)
{
	bool stands[PLACED_MAX] = { false };
	size_t placed = 0;
	size_t stood = 0;
	size_t i;
	json_t *one;
	int rc = holds_look(call, ids, like->matter, stands, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *refused = json_array();
	json_array_foreach(ids, i, one)
	{
		const char *text = json_string_value(one) != NULL ? json_string_value(one) : "";
		struct et_error why = { 0 };
		if (stands[i]) {
			stood++;
			continue;
		}
		rc = recording_hold(call, text, like, &why);
		placed += rc == 0;
		if (rc < 0) {
			json_t *o = json_object();
			et_json_set(o, "recording", et_json_text(text));
			et_json_set(o, "code", json_string(et_errname(rc)));
			et_json_set(o, "why", et_json_text(why.text));
			et_json_add(refused, o);
		}
	}
	json_t *o = json_object();
	et_json_set(o, "name", et_json_text(like->matter));
	et_json_set(o, "placed", json_integer((json_int_t)placed));
	et_json_set(o, "stood_already", json_integer((json_int_t)stood));
	et_json_set(o, "refused", refused);
	return api_json(call, 201, o);
}

int api_hold_add(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "name", "reason", "recordings", "scope" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	Et__Hold h = ET__HOLD__INIT;
	Et__HoldScope scope;
	uint8_t own[16];
	const char *reason = "";
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : api_need_reason(body, &reason, reterr);
	if (rc < 0) {
		return rc;
	}
	const json_t *ids = json_object_get(body, "recordings");
	const json_t *scoped = json_object_get(body, "scope");
	h.matter = text_of(body, "name");
	h.reason = (char *)(uintptr_t)reason;
	if (h.matter[0] == '\0') {
		return et_fail_plain(reterr, ET_EUSAGE, "a hold needs a name: that of its matter");
	}
	if ((ids != NULL) == (scoped != NULL) ||
	    (ids != NULL && (json_array_size(ids) == 0 || json_array_size(ids) > PLACED_MAX))) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "a hold is of 1 to %d recordings, or of a scope", PLACED_MAX);
	}
	rc = api_need_quorum(call, reterr);
	if (rc < 0 || ids != NULL) {
		return rc < 0 ? rc : holds_place(call, ids, &h, reterr);
	}
	rc = scope_read(scoped, &scope, reterr);
	h.scope = &scope;
	rc = rc < 0 ? rc : hold_place(call, &h, own, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "name", et_json_text(h.matter));
	et_json_set(o, "id", api_uuid(&h.id));
	et_json_set(o, "placed", json_integer(1));
	et_json_set(o, "stood_already", json_integer(0));
	et_json_set(o, "refused", json_array());
	return api_json(call, 201, o);
}

/* ---- Releasing ---- */

struct releasing {
	const char *name;
	const uint8_t *id; /* NULL: all of the name */
	struct et_buffer ids;
	bool more;
};

static int release_find(void *arg, const Et__Hold *h)
{
	struct releasing *r = arg;
	bool fits = r->id != NULL ? memcmp(r->id, h->id.data, 16) == 0
				  : strcmp(r->name, h->matter) == 0;
	if (!fits || h->released_us != 0) {
		return 0;
	}
	if (r->ids.size / 16 == RELEASED_MAX) {
		r->more = true;
		return 1;
	}
	et_buffer_add(&r->ids, h->id.data, 16);
	return 0;
}

static int release_one(struct api_call *call, uint8_t *id, const char *reason,
		       struct et_error *reterr)
{
	Et__HoldRelease release = ET__HOLD_RELEASE__INIT;
	Et__Command command = ET__COMMAND__INIT;
	release.id = (ProtobufCBinaryData){ 16, id };
	command.body_case = ET__COMMAND__BODY_HOLD_RELEASE;
	command.hold_release = &release;
	return api_propose(call, &command, reason, NULL, reterr);
}

int api_hold_release(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "hold", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	struct releasing r = { 0 };
	struct et_state_view *v;
	const char *reason = "";
	uint8_t id[16];
	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : api_need_reason(body, &reason, reterr);
	rc = rc < 0 ? rc : api_need_quorum(call, reterr);
	rc = rc < 0 ? rc : api_view_fresh(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	r.name = et_json_get_text(body, "hold", "");
	r.id = et_uuid_parse(r.name, id) ? id : NULL;
	rc = et_state_each_hold(v, release_find, &r);
	if (rc < 0 || r.ids.failed) {
		et_buffer_release(&r.ids);
		return et_fail(reterr, rc < 0 ? rc : -ENOMEM, "holds");
	}
	if (r.ids.size == 0) {
		rc = et_fail_plain(reterr, ET_ENOTFOUND, "no hold \"%.100s\" stands", r.name);
		(void)et_fail_next(reterr, "evertape hold list");
		return rc;
	}
	api_view_release(call);
	size_t released = 0;
	for (; released < r.ids.size / 16 && rc == 0; released++) {
		rc = release_one(call, r.ids.data + released * 16, reason, reterr);
	}
	et_buffer_release(&r.ids);
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "released", json_integer((json_int_t)released));
	et_json_set(o, "more", json_boolean(r.more));
	return api_json(call, 200, o);
}
