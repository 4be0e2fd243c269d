/* Legal holds: what may not be erased, whoever asks.
 *
 * A hold is of one recording, or of a scope: then it covers what fits, now and later. Standing
 * holds of scopes lie under a key of zeros, so that one short walk finds them all; when one is
 * released it moves under a key of ones, so that the walk stays short.
 *
 * What is told later of an agent can widen a scope, never narrow it: every version that was ever
 * told counts, those that were replaced or withdrawn, too. A hold must not end because a roster
 * changed. */
#include <stdio.h>

#include "raft/state/state_internal.h"

#define SCOPES_MAX 128 /* standing at once: each erasure looks at all of them */

static const uint8_t scopes_standing[16] = { 0 };
static const uint8_t scopes_released[16] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
					     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

/* ---- Keys ---- */

static const uint8_t *hold_place(const Et__Hold *h)
{
	if (h->scope == NULL) {
		return h->recording.data;
	}
	return h->released_us == 0 ? scopes_standing : scopes_released;
}

static struct key hold_key(const Et__Hold *h)
{
	struct key k = key_of(hold_place(h), 16);

	key_add(&k, h->id.data, 16);
	return k;
}

static struct key hold_index_key(ProtobufCBinaryData id)
{
	struct key k = key_tag('h');

	key_add(&k, id.data, 16);
	return k;
}

static int hold_load(struct apply *a, ProtobufCBinaryData id, Et__Hold **ret)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer place = { 0 };
	struct key index = hold_index_key(id);

	int rc = view_get(a->v, CF_INDEX, &index, &place);
	if (rc < 0) {
		return rc;
	}
	if (place.size != 16) {
		return ET_ECORRUPT;
	}
	struct key key = key_of(place.data, 16);
	key_add(&key, id.data, 16);
	rc = view_get_message(a->v, CF_HOLD, &key, &et__hold__descriptor, ret);
	return rc == ET_ENOTFOUND ? ET_ECORRUPT : rc;
}

static int hold_put(struct apply *a, const Et__Hold *h)
{
	struct key key = hold_key(h);
	struct key index = hold_index_key(h->id);

	state_put(a->s, CF_INDEX, &index, hold_place(h), 16);
	return state_put_message(a->s, CF_HOLD, &key, h);
}

/* ---- What a scope covers ---- */

static bool number_fits(const char *pattern, const char *number)
{
	size_t size = strlen(pattern);
	size_t length = strlen(number);

	if (size == 0 || length == 0) {
		return false;
	}
	if (pattern[0] == '*') {
		return length >= size - 1 && strcmp(number + length - (size - 1), pattern + 1) == 0;
	}
	if (pattern[size - 1] == '*') {
		return strncmp(pattern, number, size - 1) == 0;
	}
	return strcmp(pattern, number) == 0;
}

bool state_number_fits(const char *pattern, const Et__Recording *r)
{
	bool fits = number_fits(pattern, r->from) || number_fits(pattern, r->to);

	for (size_t i = 0; !fits && r->session != NULL && i < r->session->n_participants; i++) {
		fits = number_fits(pattern, r->session->participants[i]->number);
	}
	return fits;
}

struct ever {
	const char *agent;
	const Et__Recording *r;
};

static int ever_version(void *arg, const Et__Agent *version)
{
	const struct ever *e = arg;
	int64_t at_us = e->r->start_us;

	if (version->valid_from_us > at_us ||
	    (version->valid_to_us != 0 && version->valid_to_us <= at_us)) {
		return 0;
	}
	for (size_t i = 0; i < version->n_numbers; i++) {
		if (strcmp(version->numbers[i], e->r->from) == 0 ||
		    strcmp(version->numbers[i], e->r->to) == 0) {
			return 1;
		}
	}
	return 0;
}

static int ever_told(void *arg, const Et__Told *told)
{
	const struct ever *e = arg;

	for (size_t i = 0; i < told->n_facts; i++) {
		if (strcmp(told->facts[i]->key, "agent") == 0 &&
		    strcmp(told->facts[i]->text, e->agent) == 0) {
			return 1;
		}
	}
	return 0;
}

/* 1: somebody once said that this agent was in it; 0: nobody did. */
static int agent_was_in(const struct et_state_view *v, const char *agent, const Et__Recording *r)
{
	struct ever e = { agent, r };

	int rc = et_state_each_agent(v, agent, ever_version, &e);
	return rc != 0 ? rc : et_state_each_told_of(v, r, ever_told, &e);
}

/* 1: it is in the scope; 0: it is not. */
static int scope_has(const struct et_state_view *v, const Et__HoldScope *s, const Et__Recording *r)
{
	bool fits = (s->from_us == 0 || r->start_us >= s->from_us) &&
		    (s->to_us == 0 || r->start_us < s->to_us) &&
		    (s->site[0] == '\0' || strcmp(s->site, r->site) == 0) &&
		    (s->sip_call_id[0] == '\0' || strcmp(s->sip_call_id, r->sip_call_id) == 0) &&
		    (s->number[0] == '\0' || state_number_fits(s->number, r));

	return fits && s->agent[0] != '\0' ? agent_was_in(v, s->agent, r) : fits;
}

struct over {
	const struct et_state_view *v;
	const Et__Recording *r;
	int (*fn)(void *arg, const Et__Hold *record);
	void *arg;
};

static int over_each(void *arg, const void *message)
{
	const struct over *o = arg;
	const Et__Hold *h = message;

	if (h->released_us != 0) {
		return 0;
	}
	int rc = h->scope != NULL ? scope_has(o->v, h->scope, o->r) : 1;
	return rc == 1 ? o->fn(o->arg, h) : rc;
}

int et_state_each_hold_over(const struct et_state_view *v, const Et__Recording *r,
			    int (*fn)(void *arg, const Et__Hold *record), void *arg)
{
	struct over o = { v, r, fn, arg };
	struct key own = key_of(r->id.data, 16);
	struct key scopes = key_of(scopes_standing, 16);

	if (r->state == ET__RECORDING_STATE__ERASED) {
		return 0;
	}
	int rc = view_walk_messages(v, CF_HOLD, &own, &et__hold__descriptor, over_each, &o);
	return rc != 0 ? rc
		       : view_walk_messages(v, CF_HOLD, &scopes, &et__hold__descriptor, over_each,
					    &o);
}

/* ---- Placing ---- */

static int count_one(void *arg, struct et_view key, struct et_view value)
{
	size_t *count = arg;

	(void)key;
	(void)value;
	++*count;
	return 0;
}

static int scope_check(struct apply *a)
{
	struct key standing = key_of(scopes_standing, 16);
	size_t count = 0;

	int rc = view_walk(a->v, CF_HOLD, &standing, NULL, count_one, &count);
	if (rc == 0 && count >= SCOPES_MAX) {
		return refuse(a, ET_ELIMIT, "%d holds of scopes stand already", SCOPES_MAX);
	}
	return rc;
}

static int held_check(struct apply *a, ProtobufCBinaryData id)
{
	ET_CLEANUP(message_freep) Et__Recording *recording = NULL;

	int rc = et_state_get_recording(a->v, id.data, &recording);
	if (rc == ET_ENOTFOUND || memcmp(id.data, scopes_standing, 16) == 0 ||
	    memcmp(id.data, scopes_released, 16) == 0) {
		return refuse(a, ET_ENOTFOUND, "the recording is not known");
	}
	if (rc == 0 && recording->state == ET__RECORDING_STATE__ERASED) {
		return refuse(a, ET_EREFUSED, "the recording is erased");
	}
	return rc;
}

/* What the audit log says of it: names and ids, no numbers of people. */
static void hold_note(struct apply *a, const Et__Hold *h)
{
	char hex[33];

	et_hex(h->id.data, 16, hex);
	(void)snprintf(a->o->text, sizeof(a->o->text), "hold '%.120s' (%s%s)", h->matter,
		       h->scope != NULL ? "of a scope, " : "", hex);
}

int apply_hold_add(struct apply *a)
{
	const Et__Hold *told = a->c->hold_add->hold;
	ET_CLEANUP(message_freep) Et__Hold *known = NULL;
	Et__Hold after = *told;
	char none[] = "";

	result_id(a, told->id);
	int rc = hold_load(a, told->id, &known);
	if (rc == 0) {
		return refuse(a, ET_EEXISTS, "there is a hold of this id");
	}
	if (rc != ET_ENOTFOUND) {
		return rc;
	}
	rc = told->scope != NULL ? scope_check(a) : held_check(a, told->recording);
	if (rc < 0) {
		return rc;
	}
	after.placed_us = apply_time(a);
	after.released_us = 0;
	after.changed_index = a->index;
	after.principal = a->c->principal;
	after.released_by = after.release_reason = none;
	a->s->counts.holds++;
	hold_note(a, &after);
	return hold_put(a, &after);
}

int apply_hold_release(struct apply *a)
{
	ET_CLEANUP(message_freep) Et__Hold *h = NULL;

	int rc = hold_load(a, a->c->hold_release->id, &h);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "the hold is not known");
	}
	if (rc < 0) {
		return rc;
	}
	result_id(a, h->id);
	hold_note(a, h);
	if (h->released_us != 0) {
		return 0;
	}
	struct key before = hold_key(h);
	Et__Hold after = *h;
	after.released_us = apply_time(a);
	after.changed_index = a->index;
	after.released_by = a->c->principal;
	after.release_reason = a->c->reason;
	if (h->scope != NULL) {
		state_delete(a->s, CF_HOLD, &before);
	}
	a->s->counts.holds--;
	return hold_put(a, &after);
}
