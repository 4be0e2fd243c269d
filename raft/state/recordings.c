/* Recordings and segments: the create commands. They may come in any order (an open that is retried
 * after its close): each adds what it knows, none depends on another. A node speaks only of what it
 * captured itself. */
#include <stdio.h>

#include "raft/command/schema.h"
#include "raft/state/state_internal.h"

static void state_count(struct et_state_counts *c, const Et__Recording *r, uint64_t by)
{
	if (r == NULL) {
		return;
	}
	c->recordings += by;
	switch ((int)r->state) {
	case ET__RECORDING_STATE__CAPTURING:
		c->capturing += by;
		break;
	case ET__RECORDING_STATE__SEALED:
		c->sealed += by;
		break;
	case ET__RECORDING_STATE__LOST:
		c->lost += by;
		break;
	case ET__RECORDING_STATE__ERASED:
		c->erased += by;
		break;
	default:
		break;
	}
}

static bool nothing_is_told(const struct et_state *s)
{
	return s->counts.facts == 0 && s->counts.tags == 0 && s->counts.notes == 0;
}

/* What is told by a call or a SIP Call-ID comes and goes with those of the recording. */
static int index_recording(struct apply *a, const Et__Recording *before, const Et__Recording *after)
{
	Et__Told *told[TOLD_SUBJECTS] = { NULL };
	Et__Told *was[TOLD_SUBJECTS] = { NULL };
	int rc = 0;

	if (!nothing_is_told(a->s)) {
		rc = told_load(a->v, after, told);
		rc = rc == 0 && before != NULL ? told_load(a->v, before, was) : rc;
	}
	if (rc == 0) {
		const struct indexed old = { before, (const Et__Told *const *)was };
		const struct indexed new = { after, (const Et__Told *const *)told };
		rc = index_update(a->s, before != NULL ? &old : NULL, &new);
	}
	told_free(was);
	told_free(told);
	return rc;
}

int recording_put(struct apply *a, const Et__Recording *before, const Et__Recording *after)
{
	struct key key = key_of(after->id.data, 16);

	int rc = state_put_message(a->s, CF_RECORDING, &key, after);
	if (rc < 0) {
		return rc;
	}
	if (links_update(a->s, before, after) || before == NULL) {
		rc = told_claim(a, after);
		if (rc < 0) {
			return rc;
		}
	}
	rc = index_recording(a, before, after);
	if (rc < 0) {
		return rc;
	}
	state_count(&a->s->counts, before, UINT64_MAX); /* minus 1, modulo 2^64 */
	state_count(&a->s->counts, after, 1);
	return 0;
}

/* ---- Recordings ---- */

static int recording_is_own(struct apply *a, uint64_t node)
{
	if (node != 0 && node != a->c->op->node) {
		return refuse(a, ET_EDENIED, "node %llu captured it, not node %llu",
			      (unsigned long long)node, (unsigned long long)a->c->op->node);
	}
	return 0;
}

/* A node that was removed tells no more how its calls ended: a member that kept their tails does.
 * Before schema 3 nobody did, and other builds say so still. */
static bool speaks_for(struct apply *a, uint64_t node)
{
	const Et__Node *n = NULL;

	if (!schema_has(a, ET_SCHEMA_LOST_TAILS) || apply_node(a, node, &n) < 0 ||
	    node_is_member(n)) {
		return false;
	}
	return apply_node(a, a->c->op->node, &n) == 0 && n->state == ET__NODE_STATE__ACTIVE;
}

/* When the catalogue heard that it ended. `before` NULL: it is new. */
static void recording_note_end(const struct apply *a, const Et__Recording *before,
			       Et__Recording *after)
{
	if (after->state != ET__RECORDING_STATE__CAPTURING &&
	    (before == NULL || before->state == ET__RECORDING_STATE__CAPTURING)) {
		after->ended_us = apply_time(a);
	}
}

/* Written, where it belongs: with those that an operator moved out of its call. */
static int recording_put_new(struct apply *a, const Et__Recording *r)
{
	struct followed followed;

	int rc = legs_follow(a, r, &followed);
	if (rc != 1) {
		return rc < 0 ? rc : recording_put(a, NULL, r);
	}
	Et__Recording moved = *r;
	moved.call = (ProtobufCBinaryData){ sizeof(followed.call), followed.call };
	moved.hand = &followed.hand;
	return recording_put(a, NULL, &moved);
}

/* What must be folded: streams or gaps that are told twice in one command. */
static int recording_new_folded(struct apply *a, const Et__Recording *told, enum merge how,
				char *site)
{
	Et__Recording empty = ET__RECORDING__INIT;
	ET_CLEANUP(message_freep) Et__Recording *r = NULL;

	empty.id = told->id;
	empty.node = a->c->op->node;
	empty.opened_index = a->index;
	empty.site = site;
	uint8_t packed[512];
	size_t size = et__recording__get_packed_size(&empty);
	et_assert(size <= sizeof(packed));
	(void)et__recording__pack(&empty, packed);
	r = et__recording__unpack(NULL, size, packed);
	if (r == NULL) {
		return -ENOMEM;
	}
	int rc = recording_merge(r, told, how);
	recording_note_end(a, NULL, r);
	return rc < 0 ? rc : recording_put_new(a, r);
}

static int recording_new(struct apply *a, const Et__Recording *told, enum merge how)
{
	const Et__Node *node = NULL;
	Et__Recording r;

	int rc = apply_node(a, a->c->op->node, &node);
	if (rc < 0) {
		return rc;
	}
	char *site = told->site[0] != '\0' ? told->site : node->site;
	a->o->result.number = a->index;
	if (!recording_begin(told, how, &r)) {
		return recording_new_folded(a, told, how, site);
	}
	r.node = a->c->op->node;
	r.opened_index = a->index;
	r.site = site;
	recording_note_end(a, NULL, &r);
	return recording_put_new(a, &r);
}

static int recording_tell(struct apply *a, const Et__Recording *recording, enum merge how)
{
	ET_CLEANUP(message_freep) Et__Recording *before = NULL;
	ET_CLEANUP(message_freep) Et__Recording *after = NULL;
	Et__Recording plain = *recording;
	const Et__Recording *told = &plain;

	plain.imported = NULL; /* only an import says it */
	if (!schema_has(a, ET_SCHEMA_TONES)) {
		plain.tones = 0; /* not every member keeps it */
	}
	if (!schema_has(a, ET_SCHEMA_KEPT)) {
		plain.kept = (char *)(uintptr_t) "";
		plain.kept_us = 0;
	}

	int rc = recording_is_own(a, told->node);
	if (rc < 0) {
		return rc;
	}
	result_id(a, told->id);
	rc = et_state_get_recording(a->v, told->id.data, &before);
	if (rc == ET_ENOTFOUND) {
		return recording_new(a, told, how);
	}
	if (rc == 0) {
		rc = et_state_get_recording(a->v, told->id.data, &after);
	}
	bool lost = rc == 0 && how == MERGE_CLOSE &&
		    before->state == ET__RECORDING_STATE__CAPTURING && speaks_for(a, before->node);
	if (rc == 0 && !lost) {
		rc = recording_is_own(a, before->node);
	}
	if (rc < 0) {
		return rc;
	}
	et_assert(before != NULL && after != NULL);
	if (before->state == ET__RECORDING_STATE__ERASED) {
		return refuse(a, ET_EREFUSED, "the recording is erased");
	}
	rc = recording_merge(after, told, how);
	if (rc < 0) {
		return rc;
	}
	recording_note_end(a, before, after);
	a->o->result.number = after->opened_index;
	return recording_put(a, before, after);
}

int recording_import(struct apply *a, const Et__Recording *told)
{
	return recording_new(a, told, MERGE_CLOSE);
}

int apply_recording_open(struct apply *a)
{
	return recording_tell(a, a->c->recording_open->recording, MERGE_OPEN);
}

int apply_recording_update(struct apply *a)
{
	return recording_tell(a, a->c->recording_update->recording, MERGE_UPDATE);
}

int apply_recording_close(struct apply *a)
{
	return recording_tell(a, a->c->recording_close->recording, MERGE_CLOSE);
}

/* ---- Segments ---- */

int segment_put(struct apply *a, const Et__Segment *g)
{
	struct key key = key_segment(g->recording.data, g->generation, g->segment);

	return state_put_message(a->s, CF_SEGMENT, &key, g);
}

static int segment_own(struct apply *a, const uint8_t recording[16], uint32_t generation,
		       uint32_t segment, Et__Segment **ret)
{
	int rc = et_state_get_segment(a->v, recording, generation, segment, ret);

	if (rc == 0) {
		rc = recording_is_own(a, (*ret)->node);
	}
	return rc;
}

int apply_segment_open(struct apply *a)
{
	const Et__Segment *told = a->c->segment_open->segment;
	ET_CLEANUP(message_freep) Et__Recording *recording = NULL;
	ET_CLEANUP(message_freep) Et__Segment *known = NULL;

	int rc = recording_is_own(a, told->node);
	if (rc < 0) {
		return rc;
	}
	if (told->wrap->erased || told->wrap->enc.len == 0 || told->wrap->ciphertext.len == 0) {
		return refuse(a, ET_EREFUSED, "a segment is opened with its wrapped key");
	}
	if (told->generation > 1) {
		return refuse(a, ET_EREFUSED, "generation %u is not one of a recorder",
			      told->generation);
	}
	result_id(a, told->recording);
	rc = recording_not_erased(a, told->recording, &recording);
	rc = rc < 0 ? rc : wrap_welcome(a, told->wrap);
	if (rc < 0) {
		return rc;
	}
	rc = segment_own(a, told->recording.data, told->generation, told->segment, &known);
	if (rc < 0 && rc != ET_ENOTFOUND) {
		return rc;
	}
	Et__Segment after = known != NULL ? *known : *told; /* its parts stay where they are */
	after.node = a->c->op->node;
	if (known == NULL) {
		after.state = ET__SEGMENT_STATE__SEGMENT_OPEN;
		after.root = (ProtobufCBinaryData){ 0, NULL };
		after.object_hash = (ProtobufCBinaryData){ 0, NULL };
		after.seal_hash = (ProtobufCBinaryData){ 0, NULL };
		after.block_bytes = 0;
		after.records = after.size_bytes = 0;
		after.sealed_us = 0;
		after.made_index = 0;
		after.replaced_by = 0;
		after.redacted = 0;
		after.link = (ProtobufCBinaryData){ 0, NULL };
		a->s->counts.segments++;
		rc = wraps_add(a->s, after.wrap);
		return rc < 0 ? rc : segment_put(a, &after);
	}
	if (known->wrap == NULL) { /* its seal came first */
		after.wrap = told->wrap;
		after.header_hash = told->header_hash;
		after.t0_us = told->t0_us;
		after.file = told->file;
		rc = wraps_add(a->s, after.wrap);
		rc = rc < 0 ? rc : segment_put(a, &after);
		return rc < 0 ? rc : generations_late(a, recording);
	}
	if (!bytes_equal(known->wrap->ciphertext, told->wrap->ciphertext) && !known->wrap->erased &&
	    known->wrap->kek_version == told->wrap->kek_version) {
		return refuse(a, ET_EEXISTS, "the segment was opened with another key");
	}
	return 0;
}

/* What a seal must say to count as one. */
static int seal_check(struct apply *a, const Et__SegmentSeal *seal)
{
	switch ((int)seal->state) {
	case ET__SEGMENT_STATE__SEGMENT_SEALED:
	case ET__SEGMENT_STATE__SEGMENT_RECOVERED:
	case ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED:
		if (seal->root.len != 32 || seal->size_bytes == 0) {
			return refuse(a, ET_EREFUSED, "a seal needs root and size");
		}
		return 0;
	case ET__SEGMENT_STATE__SEGMENT_LOST:
		return 0;
	default:
		return refuse(a, ET_EREFUSED, "a seal does not open a segment");
	}
}

/* What a node that is gone had open, as another kept it while it grew. */
static bool seal_is_of_tail(struct apply *a, const Et__Segment *known, const Et__SegmentSeal *seal)
{
	return known->state == ET__SEGMENT_STATE__SEGMENT_OPEN &&
	       seal->state == ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED &&
	       known->node != a->c->op->node && speaks_for(a, known->node);
}

/* A sealed root is replaced only by a verified extension of what a crash left. */
static bool seal_extends(const Et__Segment *known, const Et__SegmentSeal *seal)
{
	return known->state == ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED &&
	       seal->state == ET__SEGMENT_STATE__SEGMENT_RECOVERED &&
	       seal->records > known->records;
}

struct others {
	struct apply *a;
	const char *place;
	struct {
		struct key key;
		Et__Copy *copy; /* owned */
	} list[64];
	size_t count;
};

static int others_add(void *arg, const void *message)
{
	struct others *o = arg;
	const Et__Copy *c = message;

	if (c->state != ET__COPY__STATE__VERIFIED || strcmp(c->place, o->place) == 0) {
		return 0;
	}
	if (o->count == ET_ARRAY_SIZE(o->list)) {
		return 0; /* more places than a cluster has nodes and targets */
	}
	o->list[o->count].copy = NULL;
	struct key key = key_copy(c);
	int rc = view_get_message(o->a->v, CF_COPY, &key, &et__copy__descriptor,
				  &o->list[o->count].copy);
	o->count += rc == 0;
	return rc;
}

/* Copies elsewhere are of the old root now. */
static int copies_outdate(struct apply *a, const Et__Segment *g, const char *own_place)
{
	struct others *o = calloc(1, sizeof(*o));
	struct key prefix = key_segment(g->recording.data, g->generation, g->segment);

	if (o == NULL) {
		return -ENOMEM;
	}
	o->a = a;
	o->place = own_place;
	int rc = view_walk_messages(a->v, CF_COPY, &prefix, &et__copy__descriptor, others_add, o);
	for (size_t i = 0; i < o->count; i++) {
		Et__Copy bad = *o->list[i].copy;
		bad.state = ET__COPY__STATE__BAD;
		rc = rc == 0 ? copy_put(a, o->list[i].copy, &bad) : rc;
		message_freep(&o->list[i].copy);
	}
	free(o);
	return rc;
}

/* The node that sealed it has it. */
int copy_of_sealer(struct apply *a, const Et__Segment *g, const char *store_uuid, bool was_sealed)
{
	const Et__Node *node = NULL;
	ET_CLEANUP(message_freep) Et__Copy *before = NULL;
	Et__Copy c = ET__COPY__INIT;
	char place[32];
	char uuid[128];

	int rc = apply_node(a, g->node, &node);
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(place, sizeof(place), "node:%llu", (unsigned long long)g->node);
	(void)snprintf(uuid, sizeof(uuid), "%s", store_uuid);
	c.recording = g->recording;
	c.generation = g->generation;
	c.segment = g->segment;
	c.place = place;
	c.site = node->site;
	c.state = ET__COPY__STATE__VERIFIED;
	c.verified_us = g->sealed_us;
	c.size_bytes = g->size_bytes;
	c.object_hash = g->object_hash;
	c.store_uuid = uuid;
	struct key key = key_copy(&c);
	rc = view_get_message(a->v, CF_COPY, &key, &et__copy__descriptor, &before);
	if (rc < 0 && rc != ET_ENOTFOUND) {
		return rc;
	}
	rc = copy_put(a, before, &c);
	/* A segment that was not sealed has no copies. */
	return rc < 0 || !was_sealed ? rc : copies_outdate(a, g, place);
}

/* `recording` NULL: nothing is known of it yet. */
static int segment_seal_write(struct apply *a, const Et__SegmentSeal *seal,
			      const Et__Recording *recording, const Et__Segment *known)
{
	Et__Segment empty = ET__SEGMENT__INIT;
	Et__Segment after = known != NULL ? *known : empty;

	after.recording = seal->recording;
	after.generation = seal->generation;
	after.segment = seal->segment;
	after.node = a->c->op->node;
	after.state = seal->state;
	after.sealed_us = seal->sealed_us;
	if (seal->state != ET__SEGMENT_STATE__SEGMENT_LOST) {
		after.root = seal->root;
		after.records = seal->records;
		after.size_bytes = seal->size_bytes;
		after.object_hash = seal->object_hash;
		after.seal_hash = seal->seal_hash;
		after.block_bytes = seal->block_bytes;
	}
	a->s->counts.segments += known == NULL;
	int rc = segment_put(a, &after);
	if (rc < 0 || seal->state == ET__SEGMENT_STATE__SEGMENT_LOST) {
		return rc;
	}
	rc = generations_late(a, recording);
	if (rc < 0) {
		return rc;
	}
	bool was_sealed = known != NULL && known->state != ET__SEGMENT_STATE__SEGMENT_OPEN;
	return copy_of_sealer(a, &after, seal->store_uuid, was_sealed);
}

int apply_segment_seal(struct apply *a)
{
	const Et__SegmentSeal *seal = a->c->segment_seal;
	ET_CLEANUP(message_freep) Et__Recording *recording = NULL;
	ET_CLEANUP(message_freep) Et__Segment *known = NULL;

	int rc = seal_check(a, seal);
	if (rc < 0) {
		return rc;
	}
	result_id(a, seal->recording);
	rc = recording_not_erased(a, seal->recording, &recording);
	if (rc < 0) {
		return rc;
	}
	rc = et_state_get_segment(a->v, seal->recording.data, seal->generation, seal->segment,
				  &known);
	if (rc == 0 && !seal_is_of_tail(a, known, seal)) {
		rc = recording_is_own(a, known->node);
	}
	if (rc < 0 && rc != ET_ENOTFOUND) {
		return rc;
	}
	if (known == NULL && seal->generation > 1) {
		return refuse(a, ET_EREFUSED, "generation %u is not one of a recorder",
			      seal->generation);
	}
	if (known == NULL || known->state == ET__SEGMENT_STATE__SEGMENT_OPEN) {
		return segment_seal_write(a, seal, recording, known);
	}
	if (bytes_equal(known->root, seal->root)) {
		if (known->state == ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED &&
		    seal->state == ET__SEGMENT_STATE__SEGMENT_RECOVERED) {
			known->state = seal->state; /* its tags were checked meanwhile */
			return segment_put(a, known);
		}
		return 0;
	}
	if (seal_extends(known, seal)) {
		return segment_seal_write(a, seal, recording, known);
	}
	return refuse(a, ET_EREFUSED, "the segment is sealed with another root");
}
