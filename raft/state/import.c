/* Recordings that were made of a file: whole, in one entry. What a recorder tells bit by bit is
 * told at once here, and is as it would be then: closed, its segments sealed, its maker's copies
 * there. */
#include <stdio.h>

#include "raft/state/state_internal.h"

/* Is it there already? 0: no. */
static int import_is_new(struct apply *a, const Et__Recording *told)
{
	ET_CLEANUP(message_freep) Et__Recording *known = NULL;

	int rc = et_state_get_recording(a->v, told->id.data, &known);
	if (rc == ET_ENOTFOUND) {
		return 0;
	}
	if (rc < 0) {
		return rc;
	}
	a->o->result.number = known->opened_index;
	return known->state == ET__RECORDING_STATE__ERASED
		       ? refuse(a, ET_EREFUSED, "the recording of this file is erased")
		       : refuse(a, ET_EEXISTS, "this file is imported");
}

static int segment_check(struct apply *a, const Et__Segment *g)
{
	if (g->generation != 1 || g->wrap->erased || g->wrap->enc.len == 0 ||
	    g->wrap->ciphertext.len == 0) {
		return refuse(a, ET_EREFUSED, "a segment is imported with its wrapped key");
	}
	if (g->root.len != 32 || !segment_has_hash(g) || g->header_hash.len != 32 ||
	    g->size_bytes == 0) {
		return refuse(a, ET_EREFUSED, "a segment is imported with its seal");
	}
	return wrap_welcome(a, g->wrap);
}

/* Segments may come before their recording, and what counts them counts each once. */
static int segments_are_new(struct apply *a, const Et__Recording *told)
{
	struct segment_list l;

	int rc = segment_list_load(a->v, told->id.data, &l);
	if (rc < 0) {
		return rc;
	}
	rc = l.count > 0 ? refuse(a, ET_EREFUSED, "segment %u of this recording is known already",
				  l.list[0]->segment)
			 : 0;
	segment_list_release(&l);
	return rc;
}

static int segment_import(struct apply *a, const Et__Segment *told, const char *store_uuid)
{
	Et__Segment g = *told;

	g.node = a->c->op->node;
	g.state = ET__SEGMENT_STATE__SEGMENT_SEALED;
	g.made_index = 0;
	g.replaced_by = 0;
	g.redacted = 0;
	g.link = (ProtobufCBinaryData){ 0, NULL };
	a->s->counts.segments++;
	int rc = wraps_add(a->s, g.wrap);
	rc = rc < 0 ? rc : segment_put(a, &g);
	return rc < 0 ? rc : copy_of_sealer(a, &g, store_uuid, false);
}

static int import_write(struct apply *a, const Et__RecordingImport *told)
{
	Et__Subject about = ET__SUBJECT__INIT;
	Et__Recording r = *told->recording;
	Et__Imported imported = *r.imported;

	about.recording = r.id;
	imported.principal = a->c->principal;
	imported.imported_us = apply_time(a);
	r.imported = &imported;
	int rc = told_import(a, &about, told);
	rc = rc < 0 ? rc : recording_import(a, &r);
	for (size_t i = 0; i < told->n_segments && rc == 0; i++) {
		rc = segment_import(a, told->segments[i], told->store_uuid);
	}
	return rc;
}

int apply_recording_import(struct apply *a)
{
	const Et__RecordingImport *told = a->c->recording_import;
	char hex[2 * 32 + 1];

	result_id(a, told->recording->id);
	int rc = import_is_new(a, told->recording);
	rc = rc < 0 ? rc : segments_are_new(a, told->recording);
	for (size_t i = 0; i < told->n_segments && rc == 0; i++) {
		rc = segment_check(a, told->segments[i]);
	}
	rc = rc < 0 ? rc : import_write(a, told);
	if (rc == 0) { /* for the audit event */
		et_hex(told->recording->imported->sha256.data, 32, hex);
		(void)snprintf(a->o->text, sizeof(a->o->text), "%.120s sha256 %s",
			       told->recording->imported->name, hex);
		a->o->result.number = a->index;
	}
	return rc;
}
