/* Copies of segments: who has what, and what may go. */
#include <stdio.h>

#include "raft/state/state_internal.h"

uint64_t place_node(const char *place)
{
	uint64_t id = 0;

	if (strncmp(place, "node:", 5) != 0 || place[5] == '0') {
		return 0;
	}
	for (const char *p = place + 5; *p != '\0'; p++) {
		if (*p < '0' || *p > '9' || id > UINT32_MAX) {
			return 0;
		}
		id = id * 10 + (uint64_t)(*p - '0');
	}
	return id;
}

static bool place_is_target(const char *place)
{
	return strncmp(place, "target:", 7) == 0 && place[7] != '\0';
}

/* ---- What else there is ---- */

struct elsewhere {
	const struct et_state_view *v;
	const char *place; /* not counted */
	uint64_t verified; /* at members and targets */
	uint64_t targets;  /* of these, at targets */
};

/* What lies on a removed node is not there; what lies on a draining one is about to go. */
static int elsewhere_add(void *arg, const void *message)
{
	struct elsewhere *e = arg;
	const Et__Copy *c = message;
	ET_CLEANUP(message_freep) Et__Node *node = NULL;

	if (c->state != ET__COPY__STATE__VERIFIED || strcmp(c->place, e->place) == 0) {
		return 0;
	}
	if (place_is_target(c->place)) {
		e->targets++;
		e->verified++;
		return 0;
	}
	int rc = et_state_get_node(e->v, place_node(c->place), &node);
	if (rc == ET_ENOTFOUND) {
		return 0;
	}
	e->verified += rc == 0 && node_keeps(node);
	return rc;
}

static int elsewhere_count(const struct et_state_view *v, const uint8_t recording[16],
			   uint32_t generation, uint32_t segment, const char *place,
			   struct elsewhere *ret)
{
	struct key prefix = key_segment(recording, generation, segment);

	*ret = (struct elsewhere){ .v = v, .place = place };
	return view_walk_messages(v, CF_COPY, &prefix, &et__copy__descriptor, elsewhere_add, ret);
}

bool et_state_copy_is_spare(const struct et_state_view *v, const uint8_t recording[16],
			    uint32_t generation, uint32_t segment, const char *place)
{
	struct elsewhere e;

	return elsewhere_count(v, recording, generation, segment, place, &e) == 0 && e.verified > 0;
}

int copy_put(struct apply *a, const Et__Copy *before, const Et__Copy *after)
{
	struct et_state_counts *counts = &a->s->counts;
	struct key key = key_copy(after);
	bool was = before != NULL && before->state == ET__COPY__STATE__VERIFIED;
	bool is = after->state == ET__COPY__STATE__VERIFIED;

	if (was != is && place_is_target(after->place)) {
		struct elsewhere e;
		int rc = elsewhere_count(a->v, after->recording.data, after->generation,
					 after->segment, after->place, &e);
		if (rc < 0) {
			return rc;
		}
		if (e.targets == 0) {
			counts->archived_segments += is ? 1 : UINT64_MAX;
		}
	}
	counts->copies += (uint64_t)is - (uint64_t)was;
	return state_put_message(a->s, CF_COPY, &key, after);
}

/* ---- Lists of copies: each is taken or refused by itself ---- */

static int copy_load(struct apply *a, const Et__Copy *c, Et__Copy **ret)
{
	struct key key = key_copy(c);

	int rc = view_get_message(a->v, CF_COPY, &key, &et__copy__descriptor, ret);
	return rc == ET_ENOTFOUND ? 0 : rc;
}

/* Apply `one` to each copy; the result says how many were refused, and which. */
static int copies_each(struct apply *a, Et__Copy *const *copies, size_t count,
		       int (*one)(struct apply *a, const Et__Copy *c))
{
	size_t refused = 0;
	int first = 0;
	char why[sizeof(a->o->text)] = "";

	for (size_t i = 0; i < count; i++) {
		int rc = one(a, copies[i]);
		if (code_is_final(rc)) {
			return rc;
		}
		if (rc < 0) {
			if (refused++ == 0) {
				first = rc;
				memcpy(why, a->o->text, sizeof(why));
			}
			rc = result_refused(a, (uint32_t)i);
		}
		if (rc < 0) {
			return rc;
		}
	}
	a->o->text[0] = '\0';
	if (refused == 0) {
		return 0;
	}
	return refuse(a, refused == count ? first : ET_EDEGRADED, "%zu of %zu refused: %.200s",
		      refused, count, why);
}

/* ---- CopyAdd ---- */

/* Who may say that a copy is at this place: the node for itself, any member for a target. */
static int place_check(struct apply *a, const char *place)
{
	uint64_t node = place_node(place);

	if (node == 0 && !place_is_target(place)) {
		return refuse(a, ET_EREFUSED, "'%.80s' is no place", place);
	}
	if (node != 0 && node != a->c->op->node) {
		return refuse(a, ET_EDENIED, "node %llu does not speak for %.80s",
			      (unsigned long long)a->c->op->node, place);
	}
	return 0;
}

bool segment_is_sealed(const Et__Segment *g)
{
	return g->state == ET__SEGMENT_STATE__SEGMENT_SEALED ||
	       g->state == ET__SEGMENT_STATE__SEGMENT_RECOVERED ||
	       g->state == ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED;
}

/* Of its footer, too: before schema 3 that of the whole object. */
bool segment_has_hash(const Et__Segment *g)
{
	return g->seal_hash.len == 32 || g->object_hash.len == 32;
}

/* The copy must be one of the segment as it was sealed. */
static int copy_check(struct apply *a, const Et__Copy *c, const Et__Segment *g)
{
	ET_CLEANUP(message_freep) Et__Recording *recording = NULL;

	if (!segment_is_sealed(g)) {
		return refuse(a, ET_EREFUSED, "the segment is not sealed");
	}
	if (c->size_bytes != 0 && c->size_bytes != g->size_bytes) {
		return refuse(a, ET_EINTEGRITY, "the copy has %llu bytes, the segment %llu",
			      (unsigned long long)c->size_bytes, (unsigned long long)g->size_bytes);
	}
	if (place_node(c->place) != 0 && c->object_hash.len > 0 && g->object_hash.len > 0 &&
	    !bytes_equal(c->object_hash, g->object_hash)) {
		return refuse(a, ET_EINTEGRITY, "the copy's hash is not that of the segment");
	}
	if (place_is_target(c->place) && c->object[0] == '\0') {
		return refuse(a, ET_EREFUSED, "a copy at a target needs its object");
	}
	if (g->wrap != NULL && g->wrap->erased) {
		return refuse(a, ET_EREFUSED, "the segment is erased");
	}
	int rc = et_state_get_recording(a->v, c->recording.data, &recording);
	if (rc == ET_ENOTFOUND) {
		return 0; /* its open is still on its way */
	}
	if (rc == 0 && recording->state == ET__RECORDING_STATE__ERASED) {
		return refuse(a, ET_EREFUSED, "the recording is erased");
	}
	return rc;
}

static int copy_add_one(struct apply *a, const Et__Copy *c)
{
	ET_CLEANUP(message_freep) Et__Segment *g = NULL;
	ET_CLEANUP(message_freep) Et__Copy *before = NULL;
	const Et__Node *node = NULL;

	int rc = place_check(a, c->place);
	if (rc < 0) {
		return rc;
	}
	rc = et_state_get_segment(a->v, c->recording.data, c->generation, c->segment, &g);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "the segment is not known");
	}
	if (rc == 0) {
		rc = copy_check(a, c, g);
	}
	if (rc == 0) {
		rc = copy_load(a, c, &before);
	}
	Et__Copy after = *c;
	if (rc == 0 && place_node(c->place) != 0) {
		rc = apply_node(a, place_node(c->place), &node);
		after.site = rc == 0 ? node->site : after.site;
		after.member_hash = (ProtobufCBinaryData){ 0, NULL };
	}
	if (rc < 0) {
		return rc;
	}
	after.state = ET__COPY__STATE__VERIFIED;
	after.size_bytes = g->size_bytes;
	after.verified_us = c->verified_us != 0 ? c->verified_us : apply_time(a);
	return copy_put(a, before, &after);
}

int apply_copy_add(struct apply *a)
{
	const Et__CopyAdd *add = a->c->copy_add;

	return copies_each(a, add->copies, add->n_copies, copy_add_one);
}

/* ---- CopyBad ---- */

int apply_copy_bad(struct apply *a)
{
	const Et__Copy *c = a->c->copy_bad->copy;
	ET_CLEANUP(message_freep) Et__Copy *before = NULL;

	int rc = place_check(a, c->place);
	if (rc == 0) {
		rc = copy_load(a, c, &before);
	}
	if (rc < 0) {
		return rc;
	}
	if (before == NULL) {
		return refuse(a, ET_ENOTFOUND, "no copy is known at %.80s", c->place);
	}
	result_id(a, c->recording);
	if (before->state == ET__COPY__STATE__EVICTED) {
		return refuse(a, ET_EREFUSED, "the copy was evicted");
	}
	Et__Copy after = *before;
	after.state = c->state == ET__COPY__STATE__LOST ? c->state : ET__COPY__STATE__BAD;
	rc = copy_put(a, before, &after);
	if (rc == 0) {
		(void)snprintf(a->o->text, sizeof(a->o->text), "%.80s: %.150s", c->place,
			       a->c->copy_bad->why);
	}
	return rc;
}

/* ---- CopyEvict ---- */

static int copy_evict_one(struct apply *a, const Et__Copy *c)
{
	ET_CLEANUP(message_freep) Et__Copy *before = NULL;
	struct elsewhere e;

	if (place_is_target(c->place)) {
		return refuse(a, ET_EPOLICY, "what is archived is not evicted");
	}
	int rc = place_check(a, c->place);
	if (rc == 0) {
		rc = copy_load(a, c, &before);
	}
	if (rc < 0) {
		return rc;
	}
	if (before == NULL) {
		return refuse(a, ET_ENOTFOUND, "no copy is known at %.80s", c->place);
	}
	if (before->state == ET__COPY__STATE__EVICTED) {
		return 0;
	}
	rc = elsewhere_count(a->v, c->recording.data, c->generation, c->segment, c->place, &e);
	if (rc < 0) {
		return rc;
	}
	if (e.verified == 0) {
		return refuse(a, ET_EPOLICY, "it is the last verified copy");
	}
	Et__Copy after = *before;
	after.state = ET__COPY__STATE__EVICTED;
	return copy_put(a, before, &after);
}

/* An eviction in the name of a job is that job's own. */
static int evict_job_check(struct apply *a, ProtobufCBinaryData id)
{
	ET_CLEANUP(message_freep) Et__Job *job = NULL;

	if (id.len == 0) {
		return 0;
	}
	int rc = et_state_get_job(a->v, id.data, &job);
	if (rc == ET_ENOTFOUND) {
		return refuse(a, ET_ENOTFOUND, "the job is not known");
	}
	if (rc == 0 && (job->node != a->c->op->node || strcmp(job->kind, "evict") != 0)) {
		return refuse(a, ET_EDENIED, "the job is not one of this node to evict");
	}
	return rc;
}

int apply_copy_evict(struct apply *a)
{
	const Et__CopyEvict *evict = a->c->copy_evict;

	int rc = evict_job_check(a, evict->job);
	return rc < 0 ? rc : copies_each(a, evict->copies, evict->n_copies, copy_evict_one);
}
