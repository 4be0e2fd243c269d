/* Erasing a recording: its wrapped DEKs go, for good. What media is left anywhere can be opened by
 * nobody then.
 *
 * Tombstones always win: whatever comes late of an erased recording (an open that waited in a
 * journal) is refused. */
#include <stdio.h>

#include "raft/state/state_internal.h"

struct segments {
	const struct et_state_view *v;
	Et__Segment **list; /* owned, and what it points to */
	size_t count;
};

static int segments_add(void *arg, const void *message)
{
	struct segments *s = arg;
	const Et__Segment *g = message;
	Et__Segment **list = realloc(s->list, (s->count + 1) * sizeof(*list));

	if (list == NULL) {
		return -ENOMEM;
	}
	s->list = list;
	int rc = et_state_get_segment(s->v, g->recording.data, g->generation, g->segment,
				      &list[s->count]);
	s->count += rc == 0;
	return rc;
}

static void segments_release(struct segments *s)
{
	for (size_t i = 0; i < s->count; i++) {
		message_freep(&s->list[i]);
	}
	free(s->list);
}

/* The wrapped key is gone from the record; what is left says which key it was. */
int segment_erase(struct apply *a, const Et__Segment *g)
{
	Et__Segment after = *g;
	Et__Wrap wrap = ET__WRAP__INIT;

	if (g->wrap != NULL) {
		wrap = *g->wrap;
	}
	wrap.enc = (ProtobufCBinaryData){ 0, NULL };
	wrap.ciphertext = (ProtobufCBinaryData){ 0, NULL };
	wrap.erased = true;
	after.wrap = &wrap;
	int rc = wraps_remove(a->s, g->wrap);
	return rc < 0 ? rc : segment_put(a, &after);
}

static int segments_erase(struct apply *a, const uint8_t id[16])
{
	struct segments s = { .v = a->v };
	struct key prefix = key_of(id, 16);

	int rc = view_walk_messages(a->v, CF_SEGMENT, &prefix, &et__segment__descriptor,
				    segments_add, &s);
	for (size_t i = 0; i < s.count && rc == 0; i++) {
		rc = segment_erase(a, s.list[i]);
	}
	segments_release(&s);
	return rc;
}

/* `known` NULL: nothing is known of it; a tombstone keeps late comers out. */
int recording_erase(struct apply *a, const uint8_t id[16], const Et__Recording *known,
		    int64_t erased_us, uint64_t erased_index)
{
	Et__Recording after = ET__RECORDING__INIT;
	uint8_t bytes[16];

	memcpy(bytes, id, sizeof(bytes));
	if (known != NULL) {
		after = *known;
	}
	after.id = (ProtobufCBinaryData){ sizeof(bytes), bytes };
	after.state = ET__RECORDING_STATE__ERASED;
	after.erased_us = erased_us;
	after.erased_index = erased_index;
	a->s->erased = true;
	int rc = generations_drop(a, id);
	rc = rc < 0 ? rc : segments_erase(a, id);
	return rc < 0 ? rc : recording_put(a, known, &after);
}

static int hold_each(void *arg, const void *message)
{
	const Et__Hold *h = message;
	char *matter = arg;

	if (h->released_us != 0) {
		return 0;
	}
	(void)snprintf(matter, 80, "%.79s", h->matter);
	return 1;
}

int recording_not_held(struct apply *a, ProtobufCBinaryData id)
{
	struct key holds = key_of(id.data, 16);
	char matter[80] = "";

	int rc =
		view_walk_messages(a->v, CF_HOLD, &holds, &et__hold__descriptor, hold_each, matter);
	return rc == 1 ? refuse(a, ET_EPOLICY, "a hold stands: matter '%s'", matter) : rc;
}

int apply_recording_erase(struct apply *a)
{
	ProtobufCBinaryData id = a->c->recording_erase->recording;
	ET_CLEANUP(message_freep) Et__Recording *known = NULL;

	result_id(a, id);
	int rc = et_state_get_recording(a->v, id.data, &known);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "the recording is not known");
	}
	if (rc < 0) {
		return rc;
	}
	if (known->state == ET__RECORDING_STATE__ERASED) {
		a->o->result.number = known->erased_index;
		return 0; /* it is */
	}
	if (known->state == ET__RECORDING_STATE__CAPTURING) {
		return refuse(a, ET_EREFUSED, "the recording is still being made");
	}
	rc = recording_not_held(a, id);
	if (rc < 0) {
		return rc;
	}
	a->o->result.number = a->index;
	return recording_erase(a, id.data, known, apply_time(a), a->index);
}

int recording_not_erased(struct apply *a, ProtobufCBinaryData id)
{
	ET_CLEANUP(message_freep) Et__Recording *known = NULL;

	int rc = et_state_get_recording(a->v, id.data, &known);
	if (rc == 0 && known->state == ET__RECORDING_STATE__ERASED) {
		return refuse(a, ET_EREFUSED, "the recording is erased");
	}
	return rc == ET_ENOTFOUND ? 0 : rc;
}
