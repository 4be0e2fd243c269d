/* KEK versions: their state, what they wait for, and what an administrator may ask. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/members_internal.h"

#define ESCROW_WAIT_MS 20000

/* ---- Seeing ---- */

struct key_list {
	const struct et_state_view *view;
	struct api_nodes nodes;
	json_t *list;
	uint32_t version;
	json_t *into;	    /* of the version: grants, keys or awaits */
	uint64_t to_rewrap; /* on versions that are not the active one */
	uint32_t active;
	int64_t activated_us;
};

static int add_grant(void *arg, const Et__Grant *grant)
{
	struct key_list *l = arg;
	char secret[32];

	(void)snprintf(secret, sizeof(secret), "kek:%u", l->version);
	if (strcmp(grant->secret, secret) == 0) {
		et_json_add(l->into, et_json_text(api_node_name(&l->nodes, grant->node)));
	}
	return 0;
}

/* Who has a key for this version in its key folder still. */
static int add_seal_key(void *arg, const Et__Node *node)
{
	struct key_list *l = arg;
	bool gone =
		node->state == ET__NODE_STATE__REMOVED || node->state == ET__NODE_STATE__REVOKED;

	for (size_t i = 0; i < node->n_seal_keys && !gone; i++) {
		if (node->seal_keys[i]->version == l->version) {
			et_json_add(l->into, et_json_text(node->name));
		}
	}
	return 0;
}

static int add_await(void *arg, enum et_state_await await, uint64_t node, uint64_t number)
{
	static const char *const words[] = { "rewrap", "time", "journal", "key" };
	struct key_list *l = arg;
	json_t *o = json_object();

	et_json_set(o, "what", json_string(words[await]));
	et_json_set(o, "node",
		    node != 0 ? et_json_text(api_node_name(&l->nodes, node)) : json_null());
	et_json_set(o, "wraps", await == ET_AWAIT_WRAPS ? et_json_u64(number) : json_null());
	et_json_set(o, "until", await == ET_AWAIT_TIME ? api_time((int64_t)number) : json_null());
	et_json_add(l->into, o);
	return 0;
}

static json_t *escrow_json(const Et__Kek *kek)
{
	char escrow[48];

	if (kek->escrow_shares == 0) {
		return json_string("none");
	}
	(void)snprintf(escrow, sizeof(escrow), "%u of %u", kek->escrow_threshold,
		       kek->escrow_shares);
	return json_string(escrow);
}

static int add_kek(void *arg, const Et__Kek *kek)
{
	struct key_list *l = arg;
	json_t *o = json_object();
	uint64_t wraps = 0;

	int rc = et_state_wraps(l->view, kek->version, &wraps);
	if (rc < 0) {
		json_decref(o);
		return rc;
	}
	l->version = kek->version;
	et_json_set(o, "version", json_integer(kek->version));
	et_json_set(o, "state", json_string(et_state_kek_state((int)kek->state)));
	et_json_set(o, "compromised", json_boolean(kek->compromised));
	et_json_set(o, "made", api_time(kek->made_us));
	et_json_set(o, "activated", api_time(kek->activated_us));
	et_json_set(o, "retired", api_time(kek->retired_us));
	et_json_set(o, "destroy_after", api_time(kek->destroy_us));
	et_json_set(o, "destroyed", api_time(kek->destroyed_us));
	et_json_set(o, "reason", et_json_text(kek->reason));
	et_json_set(o, "wraps", et_json_u64(wraps));
	et_json_set(o, "rewrap_total", et_json_u64(kek->rewrap_total));
	et_json_set(o, "rewrapped_last", api_time(kek->rewrapped_us));
	et_json_set(o, "rewrapped_by", et_json_text(api_node_name(&l->nodes, kek->rewrap_node)));
	l->into = json_array();
	et_json_set(o, "grants", l->into);
	(void)et_state_each_grant(l->view, add_grant, l);
	l->into = json_array();
	et_json_set(o, "keys_on", l->into);
	(void)et_state_each_node(l->view, add_seal_key, l);
	l->into = json_array();
	et_json_set(o, "awaits", l->into);
	if (kek->state != ET__KEK_STATE__KEK_DESTROYED && kek->state != ET__KEK_STATE__KEK_ACTIVE &&
	    kek->state != ET__KEK_STATE__KEK_PENDING) {
		l->to_rewrap += wraps;
		(void)et_state_each_await(l->view, kek, add_await, l);
	}
	if (kek->state == ET__KEK_STATE__KEK_ACTIVE) {
		l->active = kek->version;
		l->activated_us = kek->activated_us != 0 ? kek->activated_us : kek->made_us;
	}
	et_json_set(o, "escrow", escrow_json(kek));
	et_json_set(o, "escrow_issued", api_time(kek->escrow_us));
	et_json_set(o, "public_key", et_json_hex(kek->public_key.data, kek->public_key.len));
	et_json_add(l->list, o);
	return 0;
}

static json_t *schedule_json(const struct key_list *l, const Et__KeyRing *ring)
{
	json_t *o = json_object();
	int64_t rotate_us = et_state_rotate_us(ring);

	et_json_set(o, "rotate_us", rotate_us > 0 ? json_integer(rotate_us) : json_null());
	et_json_set(o, "next", rotate_us > 0 ? api_time(l->activated_us + rotate_us) : json_null());
	et_json_set(o, "destroy_after_us", json_integer(et_state_destroy_after_us(ring)));
	et_json_set(o, "rewrap_rate", json_integer(et_state_rewrap_rate(ring)));
	return o;
}

int api_keys(struct api_call *call, struct et_error *reterr)
{
	struct et_state_view *v;
	Et__KeyRing *ring = NULL;
	int rc = api_view(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	struct key_list l = { .view = v, .list = json_array() };
	api_nodes_load(v, &l.nodes);
	rc = et_state_each_kek(v, add_kek, &l);
	rc = rc < 0 ? rc : et_state_get_key_ring(v, &ring);
	if (rc < 0) {
		json_decref(l.list);
		return et_fail(reterr, rc, "the KEK versions");
	}
	json_t *o = json_object();
	et_json_set(o, "keys", l.list);
	et_json_set(o, "active", json_integer(l.active));
	et_json_set(o, "to_rewrap", et_json_u64(l.to_rewrap));
	et_json_set(o, "schedule", schedule_json(&l, ring));
	et_json_set(o, "wanted", ring->wanted != 0 ? json_integer(ring->wanted) : json_null());
	et_json_set(o, "wanted_since", api_time(ring->wanted_us));
	et__key_ring__free_unpacked(ring, NULL);
	return api_json(call, 200, o);
}

/* ---- Health ---- */

struct key_codes {
	json_t *codes;
	const struct et_state_view *v;
};

static int codes_of_kek(void *arg, const Et__Kek *kek)
{
	struct key_codes *c = arg;
	uint64_t wraps = 0;

	if (kek->state == ET__KEK_STATE__KEK_ACTIVE && kek->escrow_shares == 0) {
		api_code_add(c->codes, "ESCROW_STALE", "evertape key escrow --escrow 3/5",
			     "no escrow shares were issued for KEK version %u, the active one",
			     kek->version);
	}
	if (kek->state == ET__KEK_STATE__KEK_DESTROYED ||
	    et_state_wraps(c->v, kek->version, &wraps) < 0) {
		return 0;
	}
	if (kek->compromised) {
		api_code_add(c->codes, "KEK_COMPROMISED", "evertape explain KEK_COMPROMISED",
			     "KEK version %u: %" PRIu64 " keys of recordings are on it",
			     kek->version, wraps);
	} else if (kek->state == ET__KEK_STATE__KEK_PENDING ||
		   (kek->state != ET__KEK_STATE__KEK_ACTIVE && wraps > 0)) {
		api_code_add(c->codes, "KEY_ROTATION", "evertape key status",
			     "KEK version %u is %s: %" PRIu64 " keys of recordings are on it",
			     kek->version, et_state_kek_state((int)kek->state), wraps);
	}
	return 0;
}

void api_codes_of_keys(struct api_call *call, json_t *codes)
{
	struct key_codes c = { .codes = codes, .v = et_state_view_open(call->api->services.state) };

	if (c.v != NULL) {
		(void)et_state_each_kek(c.v, codes_of_kek, &c);
	}
	(void)et_state_view_close((struct et_state_view *)(uintptr_t)c.v);
}

/* ---- What a version touches ---- */

struct touches {
	const struct et_state_view *v;
	uint8_t last[16]; /* recording */
	uint64_t recordings;
	uint64_t segments;
	uint64_t bytes;
	uint64_t copies_nodes;
	uint64_t copies_targets;
};

static int touch_copy(void *arg, const Et__Copy *copy)
{
	struct touches *t = arg;

	if (copy->state == ET__COPY__STATE__VERIFIED) {
		bool node = strncmp(copy->place, "node:", 5) == 0;
		t->copies_nodes += node;
		t->copies_targets += !node;
	}
	return 0;
}

static int touch_segment(void *arg, const Et__Segment *g)
{
	struct touches *t = arg;

	t->segments++;
	t->bytes += g->size_bytes;
	if (t->recordings == 0 || memcmp(t->last, g->recording.data, 16) != 0) {
		memcpy(t->last, g->recording.data, 16);
		t->recordings++;
		return et_state_each_copy_of(t->v, t->last, touch_copy, t);
	}
	return 0;
}

static int path_version(struct api_call *call, uint32_t *ret, struct et_error *reterr)
{
	char text[32];
	char *end = text;

	unsigned long version = 0;
	if (api_path_star(call->route->path, call->request.path, text, sizeof(text))) {
		version = strtoul(text, &end, 10);
	}
	if (end == text || *end != '\0' || version == 0 || version > UINT32_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE, "a KEK version is a number from 1 on");
	}
	*ret = (uint32_t)version;
	return 0;
}

int api_key_touches(struct api_call *call, struct et_error *reterr)
{
	struct touches t = { 0 };
	struct et_state_place at = { 0 };
	struct et_state_view *v;
	Et__Kek *kek = NULL;
	uint32_t version = 0;
	bool more = true;

	int rc = path_version(call, &version, reterr);
	rc = rc < 0 ? rc : api_view(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = et_state_get_kek(v, version, &kek);
	if (rc < 0) {
		return et_fail(reterr, rc, "KEK version %u", version);
	}
	t.v = v;
	while (more && rc == 0) {
		rc = et_state_each_wrapped(v, version, &at, 100000, touch_segment, &t, &more);
	}
	json_t *o = json_object();
	et_json_set(o, "version", json_integer(version));
	et_json_set(o, "state", json_string(et_state_kek_state((int)kek->state)));
	et_json_set(o, "recordings", et_json_u64(t.recordings));
	et_json_set(o, "segments", et_json_u64(t.segments));
	et_json_set(o, "bytes", et_json_u64(t.bytes));
	et_json_set(o, "copies_at_nodes", et_json_u64(t.copies_nodes));
	et_json_set(o, "copies_at_targets", et_json_u64(t.copies_targets));
	et__kek__free_unpacked(kek, NULL);
	if (rc < 0) {
		json_decref(o);
		return et_fail(reterr, rc, "segments");
	}
	return api_json(call, 200, o);
}

/* ---- Asking ---- */

static int reason_of(const json_t *body, const char **ret, struct et_error *reterr)
{
	*ret = et_json_get_text(body, "reason", "");
	return **ret != '\0' ? 0 : et_fail_plain(reterr, ET_EUSAGE, "a reason is needed");
}

static int answer_number(struct api_call *call, const char *name, const struct api_result *result)
{
	json_t *o = json_object();

	et_json_set(o, name, et_json_u64(result->number));
	et_json_set(o, "index", et_json_u64(result->index));
	return api_json(call, 200, o);
}

int api_key_rotate(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "reason", "expect" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	Et__KekRotate rotate = ET__KEK_ROTATE__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct api_result result;
	const char *reason;

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : reason_of(body, &reason, reterr);
	if (rc < 0) {
		return rc;
	}
	int64_t expect = et_json_get_int(body, "expect", 0);
	if (expect < 0 || expect > UINT32_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE, "expect is a KEK version");
	}
	rotate.expect_newest = (uint32_t)expect;
	command.body_case = ET__COMMAND__BODY_KEK_ROTATE;
	command.kek_rotate = &rotate;
	rc = api_propose(call, &command, reason, &result, reterr);
	if (rc < 0) {
		(void)et_fail_next(reterr, "evertape key status");
		return rc;
	}
	return answer_number(call, "version", &result);
}

int api_key_schedule(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "rotate_us", "destroy_after_us", "rewrap_rate",
					     "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	Et__KeySchedule schedule = ET__KEY_SCHEDULE__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct api_result result;
	const char *reason;

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : reason_of(body, &reason, reterr);
	if (rc < 0) {
		return rc;
	}
	int64_t rate = et_json_get_int(body, "rewrap_rate", 0);
	if (rate < 0 || rate > INT32_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE, "rewrap_rate is a number a second");
	}
	schedule.rotate_us = et_json_get_int(body, "rotate_us", 0);
	schedule.destroy_after_us = et_json_get_int(body, "destroy_after_us", 0);
	schedule.rewrap_rate = (uint32_t)rate;
	command.body_case = ET__COMMAND__BODY_KEY_SCHEDULE;
	command.key_schedule = &schedule;
	rc = api_propose(call, &command, reason, &result, reterr);
	return rc < 0 ? rc : answer_number(call, "number", &result);
}

/* States that a person asks for; the others come by themselves. */
static int state_of(const json_t *body, Et__KekState *ret, struct et_error *reterr)
{
	const char *word = et_json_get_text(body, "state", "");

	if (strcmp(word, "compromised") == 0) {
		*ret = ET__KEK_STATE__KEK_COMPROMISED;
	} else if (strcmp(word, "decrypt-only") == 0) {
		*ret = ET__KEK_STATE__KEK_DECRYPT_ONLY;
	} else {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "state is compromised or decrypt-only, not \"%.30s\"", word);
	}
	return 0;
}

int api_key_set(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "state", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	Et__KekSet set = ET__KEK_SET__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct et_state_view *v;
	struct api_result result;
	const char *reason;
	Et__Kek *kek = NULL;

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : path_version(call, &set.version, reterr);
	rc = rc < 0 ? rc : reason_of(body, &reason, reterr);
	rc = rc < 0 ? rc : state_of(body, &set.state, reterr);
	rc = rc < 0 ? rc : api_view(call, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = et_state_get_kek(v, set.version, &kek);
	if (rc < 0) {
		return et_fail(reterr, rc, "KEK version %u", set.version);
	}
	set.expect = kek->state;
	et__kek__free_unpacked(kek, NULL);
	command.body_case = ET__COMMAND__BODY_KEK_SET;
	command.kek_set = &set;
	rc = api_propose(call, &command, reason, &result, reterr);
	if (rc < 0) {
		(void)et_fail_next(reterr, "evertape key rotate --reason ..., then again");
		return rc;
	}
	return answer_number(call, "version", &result);
}

/* ---- Escrow ---- */

static void on_shares(void *arg, int code, const struct et_keeper_shares *shares,
		      const struct et_error *why)
{
	struct api_wait *w = arg;

	if (code == 0) {
		w->list = json_array();
		w->number = shares->kek_version;
		for (unsigned i = 0; i < shares->count; i++) {
			et_json_add(w->list, api_secret_json(shares->shares[i]));
		}
	} else if (why != NULL) {
		w->error = *why;
	}
	api_wait_answer(w, code);
}

int api_key_escrow(struct api_call *call, struct et_error *reterr)
{
	static const char *const known[] = { "threshold", "shares", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	char detail[32];
	uint64_t audit;

	int rc = api_body(call, known, ET_ARRAY_SIZE(known), &body, reterr);
	rc = rc < 0 ? rc : api_need(call->api->services.keeper, "the keeper", reterr);
	if (rc < 0) {
		return rc;
	}
	int64_t threshold = et_json_get_int(body, "threshold", 3);
	int64_t shares = et_json_get_int(body, "shares", 5);
	if (threshold < 2 || shares < threshold || shares > ET_ESCROW_SHARES_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "the escrow is K of N shares with 2 <= K <= N <= %d",
				     ET_ESCROW_SHARES_MAX);
	}
	/* The keeper records as the node that shares were issued; here is who got them. */
	(void)snprintf(detail, sizeof(detail), "%u of %u", (unsigned)threshold, (unsigned)shares);
	rc = api_audit(call, "key.escrow", "escrow shares", detail,
		       et_json_get_text(body, "reason", ""), &audit, reterr);
	if (rc < 0) {
		return rc;
	}
	struct api_wait *w = api_wait_new(call->api);
	if (w == NULL) {
		return et_fail(reterr, -ENOMEM, "issue shares");
	}
	rc = et_keeper_escrow_issue_from(call->api->services.keeper, (unsigned)threshold,
					 (unsigned)shares, on_shares, w);
	if (rc < 0) {
		api_wait_unref(w);
	} else {
		rc = api_wait_for(call->api, w, ESCROW_WAIT_MS);
	}
	if (rc < 0) {
		if (w->seen && w->error.text[0] != '\0') {
			rc = et_fail_plain(reterr, rc, "%s", w->error.text);
		} else {
			rc = et_fail(reterr, rc, "issue shares");
		}
		api_wait_unref(w);
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "version", et_json_u64(w->number));
	et_json_set(o, "escrow_threshold", json_integer(threshold));
	et_json_set(o, "escrow_shares", ET_TAKE(w->list));
	api_wait_unref(w);
	return api_json(call, 201, o);
}
