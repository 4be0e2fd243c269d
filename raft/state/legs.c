/* Legs of a call, by hand: what rules missed is joined, what they joined wrongly is split.
 *
 *   join   the calls of some recordings become one, that of the first: every leg of the others
 *          moves. It is found by the call that it came from, too (its link stays, and so does
 *          what was told of that call); and a leg that a rule puts into that call later goes
 *          where it went.
 *   split  one recording leaves its call for one of its own.
 *
 * A recorder tells `call` once and apply only fills it, so nothing that is told later undoes
 * either; who did it, when and why stands in the recording (`hand`). */
#include <stdio.h>

#include "node/io/clock.h"
#include "raft/state/state_internal.h"

bool et_hand_moved(const Et__Hand *hand)
{
	return hand != NULL && hand->was.len == 16 &&
	       (hand->what == ET__HAND_KIND__HAND_JOINED ||
		hand->what == ET__HAND_KIND__HAND_FOLLOWS);
}

/* All recordings that are found by this call, behind those that are there already. */
static int legs_of_call(struct apply *a, ProtobufCBinaryData call, struct linked *ret)
{
	struct key link = link_of_call(call);

	int rc = linked_read(a->v, &link, ret);
	return rc == 0 && ret->too_many
		       ? refuse(a, ET_ELIMIT, "a call of more than %d legs", LINKED_MAX)
		       : rc;
}

/* One that a link names. */
static int leg_read(struct apply *a, const uint8_t id[16], Et__Recording **ret)
{
	int rc = et_state_get_recording(a->v, id, ret);

	return rc == ET_ENOTFOUND ? ET_ECORRUPT : rc;
}

/* A recording that may be grouped by hand. */
static int leg_load(struct apply *a, const uint8_t id[16], Et__Recording **ret)
{
	char text[ET_UUID_TEXT_SIZE];

	et_uuid_format(id, text);
	int rc = et_state_get_recording(a->v, id, ret);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, rc, "recording %s is not known", text);
	}
	if (rc < 0) {
		return rc;
	}
	if ((*ret)->state == ET__RECORDING_STATE__ERASED) {
		return refuse(a, ET_EREFUSED, "recording %s is erased", text);
	}
	return (*ret)->call.len == 16 ? 0
				      : refuse(a, ET_EREFUSED, "recording %s has no call", text);
}

static Et__Hand hand_of(const struct apply *a, Et__HandKind what)
{
	Et__Hand hand = ET__HAND__INIT;

	hand.what = what;
	hand.principal = a->c->principal;
	hand.reason = a->c->reason;
	hand.at_us = apply_time(a);
	hand.at_index = a->index;
	return hand;
}

/* ---- Joining ---- */

/* The calls that become one. */
struct calls {
	uint8_t ids[ET_COMMAND_JOIN_MAX][16];
	size_t count;
};

static bool calls_have(const struct calls *c, ProtobufCBinaryData call)
{
	for (size_t i = 0; i < c->count; i++) {
		if (call.len == 16 && memcmp(c->ids[i], call.data, 16) == 0) {
			return true;
		}
	}
	return false;
}

static int leg_move(struct apply *a, const uint8_t id[16], const Et__Recording *first,
		    const struct calls *calls)
{
	ET_CLEANUP(message_freep) Et__Recording *r = NULL;
	char detail[64];
	char target[33];
	char to[ET_UUID_TEXT_SIZE];

	int rc = leg_read(a, id, &r);
	if (rc < 0 || bytes_equal(r->call, first->call) || !calls_have(calls, r->call)) {
		return rc; /* it is there, or it left these calls */
	}
	Et__Hand hand = hand_of(a, ET__HAND_KIND__HAND_JOINED);
	hand.was = et_hand_moved(r->hand) ? r->hand->was : r->call;
	if (bytes_equal(hand.was, first->call)) {
		hand.was = (ProtobufCBinaryData){ 0, NULL }; /* it is where it came from */
	}
	Et__Recording after = *r;
	after.call = first->call;
	after.hand = &hand;
	rc = recording_put(a, r, &after);
	if (rc < 0) {
		return rc;
	}
	a->o->result.number++;
	et_hex(id, 16, target);
	et_uuid_format(first->call.data, to);
	(void)snprintf(detail, sizeof(detail), "into call %s", to);
	return audit_append(a, "recording.joined", target, detail, 0, NULL);
}

int apply_recordings_join(struct apply *a)
{
	const Et__RecordingsJoin *told = a->c->recordings_join;
	ET_CLEANUP(message_freep) Et__Recording *first = NULL;
	struct linked legs = { .count = 0 };
	struct calls calls = { .count = 0 };

	if (told->n_recordings < 2) {
		return refuse(a, ET_EREFUSED, "two recordings at least are joined");
	}
	int rc = leg_load(a, told->recordings[0].data, &first);
	if (rc < 0) {
		return rc;
	}
	result_id(a, first->call);
	for (size_t i = 0; i < told->n_recordings && rc == 0; i++) {
		ET_CLEANUP(message_freep) Et__Recording *r = NULL;
		rc = leg_load(a, told->recordings[i].data, &r);
		if (rc == 0) {
			memcpy(calls.ids[calls.count++], r->call.data, 16);
			rc = legs_of_call(a, r->call, &legs);
		}
	}
	for (size_t i = 0; i < legs.count && rc == 0; i++) {
		rc = leg_move(a, legs.ids[i], first, &calls);
	}
	return rc;
}

/* ---- Following ---- */

int legs_follow(struct apply *a, const Et__Recording *r, struct followed *ret)
{
	struct linked legs = { .count = 0 };

	if (r->joined[0] == '\0' || r->call.len != 16) {
		return 0;
	}
	struct key link = link_of_call(r->call);
	int rc = linked_read(a->v, &link, &legs);
	for (size_t i = 0; i < legs.count && rc == 0; i++) {
		ET_CLEANUP(message_freep) Et__Recording *leg = NULL;
		rc = leg_read(a, legs.ids[i], &leg);
		if (rc == 0 && et_hand_moved(leg->hand) && bytes_equal(leg->hand->was, r->call)) {
			memcpy(ret->call, leg->call.data, sizeof(ret->call));
			ret->hand = hand_of(a, ET__HAND_KIND__HAND_FOLLOWS);
			ret->hand.was = r->call;
			return 1;
		}
	}
	return rc;
}

/* ---- Splitting ---- */

/* 1: others are in its call, too. */
static int leg_has_others(struct apply *a, const Et__Recording *r)
{
	struct linked legs = { .count = 0 };
	struct key link = link_of_call(r->call);

	int rc = linked_read(a->v, &link, &legs);
	for (size_t i = 0; i < legs.count && rc == 0; i++) {
		ET_CLEANUP(message_freep) Et__Recording *leg = NULL;
		rc = leg_read(a, legs.ids[i], &leg);
		if (rc == 0 && !bytes_equal(leg->id, r->id) && bytes_equal(leg->call, r->call)) {
			return 1;
		}
	}
	return rc;
}

/* A call that nobody is in: named by the recording's id; when it is in that one already, and others
 * are with it, by that id and the log index. */
static void call_of_its_own(const struct apply *a, const Et__Recording *r, uint8_t ret[16])
{
	uint8_t bytes[16 + 8];
	uint8_t hash[ET_SHA256_SIZE];

	memcpy(bytes, r->id.data, 16);
	et_put64(bytes + 16, a->index);
	et_sha256(bytes, sizeof(bytes), hash);
	memcpy(ret, bytes_equal(r->call, r->id) ? hash : bytes, 16);
}

int apply_recording_split(struct apply *a)
{
	ET_CLEANUP(message_freep) Et__Recording *r = NULL;
	uint8_t call[16];

	int rc = leg_load(a, a->c->recording_split->recording.data, &r);
	if (rc < 0) {
		return rc;
	}
	result_id(a, r->call);
	rc = et_hand_moved(r->hand) ? 1 : leg_has_others(a, r);
	if (rc <= 0) {
		return rc; /* it is alone */
	}
	call_of_its_own(a, r, call);
	Et__Hand hand = hand_of(a, ET__HAND_KIND__HAND_SPLIT);
	Et__Recording after = *r;
	after.call = (ProtobufCBinaryData){ sizeof(call), call };
	after.hand = &hand;
	result_id(a, after.call);
	a->o->result.number = 1;
	return recording_put(a, r, &after);
}
