/* Beginning in the midst of a tape: what its checkpoints say. */
#include "node/playback/walk_internal.h"

/* All of it can be read: nothing is told of half a checkpoint. */
static bool checkpoint_is_whole(struct et_view plain)
{
	struct et_checkpoint_reader r;
	struct et_checkpoint_item item;
	struct et_meta_reader meta;
	struct et_meta_item description;

	int rc = et_checkpoint_reader_init(&r, plain, NULL);
	while (rc == 0 && (rc = et_checkpoint_reader_next(&r, &item, NULL)) == 1) {
		rc = item.type == ET_CHECKPOINT_META ? et_meta_reader_init(&meta, item.raw, NULL)
						     : 0;
		while (rc == 0 && item.type == ET_CHECKPOINT_META &&
		       (rc = et_meta_reader_next(&meta, &description, NULL)) == 1) {
			rc = 0;
		}
	}
	return rc == 0;
}

static void take_types(struct walk *w, const struct et_checkpoint_item *item)
{
	for (size_t i = 0; i < item->types.size; i++) {
		const struct walk_type *type = walk_note_type(w, item->stream, item->types.data[i]);
		if (w->visitor->seen != NULL) {
			w->visitor->seen(w->visitor->arg, type);
		}
	}
}

static int take_clock(struct walk *w, const struct et_checkpoint_item *item,
		      struct et_error *reterr)
{
	if (w->visitor->clock == NULL) {
		return 0;
	}
	walk_note_stream(w, item->stream);
	int rc = w->visitor->clock(w->visitor->arg, w->segment, item->stream, &item->clock, reterr);
	w->stopped = w->stopped || rc < 0;
	return rc;
}

static int checkpoint_take(struct walk *w, struct et_view plain, struct et_error *reterr)
{
	struct et_checkpoint_reader r;
	struct et_checkpoint_item item;

	int rc = et_checkpoint_reader_init(&r, plain, reterr);
	while (rc == 0 && (rc = et_checkpoint_reader_next(&r, &item, reterr)) == 1) {
		rc = 0;
		if (item.type == ET_CHECKPOINT_META) {
			rc = walk_meta(w, item.raw, reterr);
		} else if (item.type == ET_CHECKPOINT_CLOCK) {
			rc = take_clock(w, &item, reterr);
		} else if (item.type == ET_CHECKPOINT_TYPES) {
			take_types(w, &item);
		} else if (item.type == ET_CHECKPOINT_KEYS && w->visitor->opens) {
			rc = walk_look_ahead(w, reterr);
		}
	}
	return rc;
}

/* 1: the last checkpoint of before `t_ms` was told. */
static int checkpoint_find(struct walk *w, struct et_tape_reader *reader, uint32_t t_ms,
			   struct et_error *reterr)
{
	struct et_tape_record record;
	struct et_error ignored; /* What is damaged shows when it is come to. */

	int rc = et_tape_reader_find(reader, t_ms, reterr);
	if (rc <= 0) {
		return rc;
	}
	rc = et_tape_reader_next(reader, &record, &ignored);
	if (rc == 1 && record.kind == ET_TAPE_CHECKPOINT && checkpoint_is_whole(record.plain)) {
		rc = checkpoint_take(w, record.plain, reterr);
		return rc < 0 ? rc : 1;
	}
	et_tape_reader_rewind(reader);
	return 0;
}

int walk_seek(struct walk *w, struct et_tape_reader *reader, bool last, uint32_t t_ms,
	      struct et_error *reterr)
{
	struct et_tape_record record;

	if (!last) {
		return checkpoint_find(w, reader, t_ms, reterr);
	}
	int rc = et_tape_reader_index(reader, &record, reterr);
	if (rc < 0) {
		return rc;
	}
	if (rc == 1 && checkpoint_is_whole(record.plain)) {
		rc = checkpoint_take(w, record.plain, reterr);
		return rc < 0 ? rc : 2;
	}
	return checkpoint_find(w, reader, UINT32_MAX, reterr);
}
