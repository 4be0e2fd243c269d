#include "node/tape/rewrite.h"

#include <string.h>
#include <unistd.h>

#include "node/crypto/hash.h"
#include "node/tape/block_internal.h"
#include "node/tape/checkpoint.h"
#include "node/tape/format_internal.h"
#include "node/tape/items_internal.h"
#include "node/tape/link_internal.h"
#include "node/tape/media.h"
#include "node/tape/meta.h"
#include "node/tape/reader.h"

enum {
	PACKET_US = 20000,   /* what a packet plays, where nothing says more */
	BESIDE_US = 500000,  /* a timestamp farther from its arrival than this says nothing */
	RECORD_US = 1000000, /* that a record holds at most, as recorders write it */
};

/* Where the timestamps of a stream stand in time. */
struct clock {
	uint32_t rate; /* Hz; 0: not known */
	uint8_t payload_type;
	bool anchored;
	uint32_t timestamp;
	int64_t arrival_us;
};

struct rewrite {
	const struct et_tape_rewrite *order;
	bool cuts;		       /* there is a span */
	struct et_tape_reader *reader; /* owned */
	struct et_tape *tape;	       /* owned */
	struct et_sha256 *kept;	       /* owned */
	struct et_media_encoder encoder;
	struct et_buffer plain; /* of a changed record; wiped */
	struct clock clocks[ET_MEDIA_STREAMS_MAX];
	struct et_tape_state *state; /* owned: of the new tape, when a span is cut */
	struct et_buffer anew;	     /* plaintext of a CHECKPOINT, of the INDEX at last */
	struct et_buffer block;	     /* a block that is put together; wiped */
	uint32_t block_bytes;	     /* of the last block; 0: there was none */
	bool ends;		     /* the INDEX of the old tape was there, and its END comes */
	uint64_t old_records;
	int64_t t0_us;
	uint32_t last_ms;
	struct link_draft draft;
	size_t run_capacity;
};

/* ---- What belongs to the span ---- */

static bool in_span(const struct rewrite *w, int64_t us)
{
	return us >= w->order->from_us && us < w->order->to_us;
}

/* When it plays by its timestamp; its arrival where that cannot be told. */
static int64_t packet_plays(struct clock *c, const struct et_media_packet *p)
{
	if (p->rtcp || c->rate == 0) {
		return p->arrival_us;
	}
	if (c->anchored) {
		int64_t steps = (int32_t)(p->timestamp - c->timestamp);
		int64_t us = c->arrival_us + steps * 1000000 / (int64_t)c->rate;
		if (us > p->arrival_us - BESIDE_US && us < p->arrival_us + BESIDE_US) {
			return us;
		}
	}
	if (p->payload_type == c->payload_type) {
		c->anchored = true;
		c->timestamp = p->timestamp;
		c->arrival_us = p->arrival_us;
	}
	return p->arrival_us;
}

static bool packet_is_of_span(struct rewrite *w, const struct et_media_packet *p)
{
	struct clock *c = &w->clocks[p->stream];
	int64_t us = packet_plays(c, p);
	int64_t length_us = p->payload_type == c->payload_type && !p->rtcp ? PACKET_US : 1;

	return in_span(w, p->arrival_us) ||
	       (us < w->order->to_us && us + length_us > w->order->from_us);
}

static bool begins_with(struct et_view v, const char *text)
{
	size_t size = strlen(text);

	return v.size >= size && memcmp(v.data, text, size) == 0;
}

/* Bytes of a SIP message that stay: responses and what negotiates a session stay whole. */
static size_t sip_stays(struct et_view text)
{
	static const char *const sessions[] = { "SIP/2.0 ", "INVITE ", "ACK ", "UPDATE ",
						"PRACK " };

	for (size_t i = 0; i < ET_ARRAY_SIZE(sessions); i++) {
		if (begins_with(text, sessions[i])) {
			return text.size;
		}
	}
	const uint8_t *end = memmem(text.data, text.size, "\r\n\r\n", 4);
	return end != NULL ? (size_t)(end - text.data) + 4 : text.size;
}

/* ---- Records ---- */

static int run_add(struct rewrite *w, enum et_link_what what, struct et_error *reterr)
{
	struct link_draft *d = &w->draft;

	if (d->run_count > 0 && d->runs[d->run_count - 1].what == what) {
		d->runs[d->run_count - 1].records++;
		return 0;
	}
	if (d->run_count == ET_LINK_RUNS_MAX) {
		return et_fail_plain(reterr, ET_ELIMIT, "the cut is in too many pieces");
	}
	if (d->run_count == w->run_capacity) {
		size_t capacity = w->run_capacity * 2 + 16;
		struct et_link_run *runs = realloc(d->runs, capacity * sizeof(*runs));
		if (runs == NULL) {
			return et_fail(reterr, -ENOMEM, "link");
		}
		d->runs = runs;
		w->run_capacity = capacity;
	}
	d->runs[d->run_count++] = (struct et_link_run){ .what = (uint8_t)what, .records = 1 };
	return 0;
}

static int record_write(struct rewrite *w, const struct et_tape_record *r, struct et_view plain,
			struct et_error *reterr)
{
	w->last_ms = r->t_ms;
	return et_tape_append(w->tape, r->kind, r->t_ms, plain.data, plain.size, reterr);
}

static int record_keep(struct rewrite *w, const struct et_tape_record *r, struct et_error *reterr)
{
	uint8_t head[9];
	uint8_t hash[32];

	et_put32(head, r->seq);
	head[4] = (uint8_t)r->kind;
	et_put32(head + 5, r->t_ms);
	et_sha256(r->plain.data, r->plain.size, hash);
	et_sha256_add(w->kept, head, sizeof(head));
	et_sha256_add(w->kept, hash, sizeof(hash));
	int rc = run_add(w, ET_LINK_KEPT, reterr);
	return rc < 0 ? rc : record_write(w, r, r->plain, reterr);
}

/* What is left of a record, or of an item of a block: `cut` of `all` things in it went. */
struct rest {
	struct et_view plain;
	uint32_t cut;
	uint32_t all;
};

static int record_settle(struct rewrite *w, const struct et_tape_record *r, const struct rest *rest,
			 struct et_error *reterr)
{
	if (rest->cut == 0) {
		return record_keep(w, r, reterr);
	}
	if (rest->cut == rest->all) {
		return run_add(w, ET_LINK_LEFT_OUT, reterr);
	}
	int rc = run_add(w, ET_LINK_CHANGED, reterr);
	return rc < 0 ? rc : record_write(w, r, rest->plain, reterr);
}

static int media_cut(struct rewrite *w, const struct et_tape_record *r, struct rest *ret,
		     struct et_error *reterr)
{
	struct et_media_decoder *d = malloc(sizeof(*d));
	struct et_media_packet p;

	if (d == NULL) {
		return et_fail(reterr, -ENOMEM, "cut a record");
	}
	et_media_encoder_reset(&w->encoder);
	int rc = et_media_decoder_init(d, r->plain, reterr);
	while (rc >= 0 && (rc = et_media_decoder_next(d, &p, reterr)) == 1) {
		ret->all++;
		if (packet_is_of_span(w, &p)) {
			ret->cut++;
			continue;
		}
		et_tape_state_packet(w->state, &p);
		rc = et_media_encoder_add(&w->encoder, &p, ET_TAPE_PLAIN_MAX);
		if (rc < 0) {
			rc = et_fail(reterr, rc, "write record %u anew", r->seq);
		}
	}
	free(d);
	ret->plain = (struct et_view){ w->encoder.plain.data, w->encoder.plain.size };
	return rc;
}

static void stream_note(struct rewrite *w, const struct et_meta_item *item)
{
	struct clock *c = &w->clocks[item->stream.stream];

	*c = (struct clock){ .rate = item->stream.clock_rate,
			     .payload_type = item->stream.payload_type };
}

/* A SIP message without its body, as an item. */
static int sip_cut(struct et_buffer *plain, const struct et_meta_item *item, size_t stays)
{
	struct et_meta_item after = *item;

	after.sip.text.size = stays;
	return et_meta_add(plain, &after);
}

/* 0: it stays as it is; 1: it was cut, or is left out; negative: an error. */
static int item_cut(struct rewrite *w, const struct et_meta_item *item)
{
	if (item->type == ET_META_SIP && in_span(w, item->sip.time_us)) {
		size_t stays = sip_stays(item->sip.text);
		if (stays < item->sip.text.size) {
			int rc = sip_cut(&w->plain, item, stays);
			return rc < 0 ? rc : 1;
		}
	}
	if (item->type == ET_META_FACT && in_span(w, item->fact.time_us) &&
	    (begins_with(item->fact.key, "dtmf") || begins_with(item->fact.key, "digit"))) {
		return 1;
	}
	return 0;
}

static int meta_cut(struct rewrite *w, const struct et_tape_record *r, struct rest *ret,
		    struct et_error *reterr)
{
	struct et_meta_reader items;
	struct et_meta_item item;

	if (w->plain.data != NULL) {
		explicit_bzero(w->plain.data, w->plain.capacity);
	}
	w->plain.size = 0;
	int rc = et_meta_reader_init(&items, r->plain, reterr);
	while (rc >= 0 && (rc = et_meta_reader_next(&items, &item, reterr)) == 1) {
		if (item.type == ET_META_STREAM) {
			stream_note(w, &item);
		}
		int gone = item_cut(w, &item);
		if (gone < 0) {
			return et_fail(reterr, gone, "write record %u anew", r->seq);
		}
		ret->cut += (uint32_t)gone;
		if (gone == 0) {
			et_tape_item_begin(&w->plain, r->plain.data[0], item.type, item.raw.size);
			et_buffer_add(&w->plain, item.raw.data, item.raw.size);
		}
	}
	if (rc >= 0 && w->plain.failed) {
		rc = et_fail(reterr, -ENOMEM, "cut a record");
	}
	if (rc < 0) {
		return rc;
	}
	/* Nothing but its version is left of it: it goes. */
	ret->all = w->plain.size > 1 ? ret->cut + 1 : ret->cut;
	ret->plain = (struct et_view){ w->plain.data, w->plain.size };
	if (ret->cut < ret->all) {
		et_tape_state_meta(w->state, ret->plain);
	}
	return rc;
}

/* What of a record, or of an item of a block, is not of the span. */
static int content_cut(struct rewrite *w, const struct et_tape_record *r, struct rest *ret,
		       struct et_error *reterr)
{
	const int64_t us = w->t0_us + (int64_t)r->t_ms * 1000;
	const bool touched = us < w->order->to_us && us + RECORD_US > w->order->from_us;

	*ret = (struct rest){ .plain = r->plain };
	if (r->kind == ET_TAPE_KEYS) {
		et_tape_state_keys(w->state);
		return 0;
	}
	if (r->kind == ET_TAPE_MEDIA) {
		return media_cut(w, r, ret, reterr);
	}
	if (r->kind == ET_TAPE_META) {
		return meta_cut(w, r, ret, reterr);
	}
	if (touched && r->kind == ET_TAPE_FILE) {
		ret->cut = ret->all = 1; /* between what is cut: it goes, too */
	} else if (touched) {
		return et_fail_plain(reterr, ET_EVERSION,
				     "record %u is of kind %d, which this version cannot cut",
				     r->seq, (int)r->kind);
	}
	return 0;
}

/* A block without what is of the span, in the size that it had: it is never left out. */
static int block_cut(struct rewrite *w, const struct et_tape_record *r, struct et_error *reterr)
{
	struct et_reader items;
	struct tape_item item;
	bool changed = false;

	w->block.secret = true;
	w->block.size = 0;
	w->block_bytes = (uint32_t)r->plain.size;
	int rc = tape_block_init(&items, r->plain);
	while (rc >= 0 && (rc = tape_block_next(&items, &item)) == 1) {
		struct et_tape_record one = *r;
		struct rest rest;
		one.kind = item.kind;
		one.t_ms = item.t_ms;
		one.plain = item.plain;
		rc = content_cut(w, &one, &rest, reterr);
		if (rc < 0) {
			return rc;
		}
		changed = changed || rest.cut > 0;
		if (rest.cut == 0 || rest.cut < rest.all) {
			const struct et_view left = rest.cut == 0 ? item.plain : rest.plain;
			tape_block_add(&w->block, item.kind, item.t_ms, left);
		}
	}
	if (rc < 0) {
		return et_fail(reterr, rc, "block that is record %u", r->seq);
	}
	if (!changed) {
		return record_keep(w, r, reterr);
	}
	if (w->block.failed || w->block.size > ET_TAPE_PLAIN_MAX) {
		return et_fail(reterr, w->block.failed ? -ENOMEM : ET_ELIMIT,
			       "write record %u anew", r->seq);
	}
	tape_block_fill(&w->block, tape_block_size(w->block_bytes, w->block.size));
	rc = w->block.failed ? et_fail(reterr, -ENOMEM, "cut a record")
			     : run_add(w, ET_LINK_CHANGED, reterr);
	return rc < 0 ? rc
		      : record_write(w, r, (struct et_view){ w->block.data, w->block.size },
				     reterr);
}

/* What still holds at this place of the new tape, into w->anew. False: more than can be told. */
static bool state_tell(struct rewrite *w, int *ret_rc, struct et_error *reterr)
{
	w->anew.size = 0;
	*ret_rc = et_tape_state_write(w->state, &w->anew);
	if (*ret_rc == 0 && w->anew.failed) {
		*ret_rc = et_fail(reterr, -ENOMEM, "checkpoint of a tape");
		return false;
	}
	const bool told = *ret_rc == 0;
	*ret_rc = 0;
	return told;
}

/* A CHECKPOINT is made anew: its clocks told of packets that are gone. */
static int checkpoint_take(struct rewrite *w, const struct et_tape_record *r,
			   struct et_error *reterr)
{
	int rc;

	if (!state_tell(w, &rc, reterr)) {
		return rc < 0 ? rc : run_add(w, ET_LINK_LEFT_OUT, reterr);
	}
	if (w->block_bytes > 0) {
		tape_checkpoint_pad(&w->anew, TAPE_CHECKPOINT_MULTIPLE);
	}
	if (w->anew.failed) {
		return et_fail(reterr, -ENOMEM, "checkpoint of a tape");
	}
	const struct et_view plain = { w->anew.data, w->anew.size };
	if (plain.size == r->plain.size && memcmp(plain.data, r->plain.data, plain.size) == 0) {
		return record_keep(w, r, reterr);
	}
	rc = run_add(w, ET_LINK_CHANGED, reterr);
	return rc < 0 ? rc : record_write(w, r, plain, reterr);
}

/* Of a padded tape in a block as large as the last one. */
static int mark_write(struct rewrite *w, struct et_view mark, struct et_error *reterr)
{
	enum et_tape_kind kind = ET_TAPE_META;

	if (w->block_bytes > 0) {
		w->block.size = 0;
		tape_block_add(&w->block, kind, w->last_ms, mark);
		tape_block_fill(&w->block, tape_block_size(w->block_bytes, w->block.size));
		mark = (struct et_view){ w->block.data, w->block.size };
		kind = ET_TAPE_BLOCK;
	}
	return w->block.failed
		       ? et_fail(reterr, -ENOMEM, "the mark of a cut")
		       : et_tape_append(w->tape, kind, w->last_ms, mark.data, mark.size, reterr);
}

static int mark_add(struct rewrite *w, struct et_error *reterr)
{
	struct et_buffer plain = { 0 };
	const struct et_meta_item item = { .type = ET_META_MARK,
					   .mark = { .what = ET_MARK_REDACTED,
						     .from_us = w->order->from_us,
						     .to_us = w->order->to_us,
						     .cause = w->order->cause } };

	int rc = et_meta_add(&plain, &item);
	rc = rc == 0 && plain.failed ? -ENOMEM : rc;
	rc = rc < 0 ? et_fail(reterr, rc, "the mark of a cut")
		    : mark_write(w, (struct et_view){ plain.data, plain.size }, reterr);
	et_buffer_release(&plain);
	return rc;
}

/* INDEX and END are made anew, behind the mark of the cut. */
static int index_take(struct rewrite *w, const struct et_tape_record *r, struct et_error *reterr)
{
	int rc = 0;

	if (r->seq + 2 != w->old_records || !state_tell(w, &rc, reterr)) {
		return rc < 0 ? rc : run_add(w, ET_LINK_LEFT_OUT, reterr);
	}
	w->ends = true;
	rc = mark_add(w, reterr);
	return rc < 0 ? rc : run_add(w, ET_LINK_CHANGED, reterr);
}

static int end_take(struct rewrite *w, const struct et_tape_record *r, struct et_error *reterr)
{
	if (!w->ends) {
		return run_add(w, ET_LINK_LEFT_OUT, reterr);
	}
	int rc = run_add(w, ET_LINK_CHANGED, reterr);
	return rc < 0 ? rc
		      : et_tape_end(w->tape, r->t_ms,
				    (struct et_view){ w->anew.data, w->anew.size }, reterr);
}

static int record_take(struct rewrite *w, const struct et_tape_record *r, struct et_error *reterr)
{
	struct rest rest;

	if (!w->cuts) {
		return record_keep(w, r, reterr);
	}
	if (w->ends && r->kind != ET_TAPE_END) {
		return et_fail_plain(reterr, ET_EMALFORMED, "record %u stands where END must be",
				     r->seq);
	}
	switch (r->kind) {
	case ET_TAPE_BLOCK:
		return block_cut(w, r, reterr);
	case ET_TAPE_CHECKPOINT:
		return checkpoint_take(w, r, reterr);
	case ET_TAPE_INDEX:
		return index_take(w, r, reterr);
	case ET_TAPE_END:
		return end_take(w, r, reterr);
	case ET_TAPE_MEDIA:
	case ET_TAPE_META:
	case ET_TAPE_KEYS:
	case ET_TAPE_FILE:
	default:
		break;
	}
	int rc = content_cut(w, r, &rest, reterr);
	return rc < 0 ? rc : record_settle(w, r, &rest, reterr);
}

/* ---- The whole ---- */

/* The old tape is what it is said to be, to its last byte, and is opened. */
static int rewrite_begin(struct rewrite *w, struct et_error *reterr)
{
	const struct et_tape_rewrite *o = w->order;
	struct et_tape_report report;

	int rc = et_tape_verify(o->old, o->expect, &report, reterr);
	rc = rc < 0 ? rc
		    : o->old->read(o->old->arg, 0, w->draft.old_header, ET_TAPE_HEADER_SIZE,
				   reterr);
	rc = rc < 0 ? rc
		    : o->old->read(o->old->arg, o->old->size - ET_TAPE_TRAILER_SIZE,
				   w->draft.old_trailer, ET_TAPE_TRAILER_SIZE, reterr);
	rc = rc < 0 ? rc : et_tape_reader_new(o->old, o->old_dek, &w->reader, reterr);
	if (rc < 0) {
		return rc;
	}
	tape_reader_raw(w->reader);
	w->kept = et_sha256_new();
	w->t0_us = report.header.t0_us;
	w->old_records = report.seal.records;
	w->state = et_tape_state_new(report.header.segment == 1 ? w->t0_us : INT64_MIN);
	return w->kept != NULL && w->state != NULL ? 0
						   : et_fail(reterr, -ENOMEM, "write a tape anew");
}

static int rewrite_create(struct rewrite *w, struct et_tape_header *ret, struct et_error *reterr)
{
	const struct et_tape_rewrite *o = w->order;

	*ret = *et_tape_reader_header(w->reader);
	ret->generation = o->generation;
	ret->kek_version = o->kek_version;
	ret->dek_id = o->dek_id;
	return et_tape_create(o->path, ret, o->dek, &w->tape, reterr);
}

static int kept_value(const struct rewrite *w, const struct et_tape_header *header,
		      const uint8_t digest[32], uint8_t ret[32], struct et_error *reterr)
{
	uint8_t info[11 + 32];

	memcpy(info, "evtm/1 kept", 11);
	memcpy(info + 11, digest, 32);
	return et_hkdf_sha256_public(w->order->dek,
				     (struct et_view){ header->salt, sizeof(header->salt) },
				     (struct et_view){ info, sizeof(info) }, ret, 32, reterr);
}

static int rewrite_end(struct rewrite *w, const struct et_tape_header *header,
		       struct et_tape_seal *ret, struct et_buffer *ret_link,
		       struct et_error *reterr)
{
	struct link_draft *d = &w->draft;
	uint8_t digest[32];

	int rc = w->cuts && !w->ends ? mark_add(w, reterr) : 0;
	rc = rc < 0 ? rc : et_tape_finish(w->tape, w->order->signer, ret, reterr);
	if (rc < 0) {
		return rc;
	}
	et_sha256_end(w->kept, digest);
	d->why = w->cuts ? ET_LINK_SPAN : ET_LINK_KEY;
	d->from_us = w->order->from_us;
	d->to_us = w->order->to_us;
	memcpy(d->new_header_hash, header->hash, 32);
	memcpy(d->new_root, ret->root, 32);
	d->new_records = (uint32_t)ret->records;
	rc = kept_value(w, header, digest, d->kept, reterr);
	return rc < 0 ? rc : link_write(d, w->order->signer, ret_link, reterr);
}

static void rewrite_release(struct rewrite *w)
{
	w->reader = et_tape_reader_free(w->reader);
	w->tape = et_tape_close(w->tape);
	(void)et_sha256_free(w->kept);
	if (w->encoder.plain.data != NULL) {
		explicit_bzero(w->encoder.plain.data, w->encoder.plain.capacity);
	}
	et_media_encoder_release(&w->encoder);
	if (w->plain.data != NULL) {
		explicit_bzero(w->plain.data, w->plain.capacity);
	}
	et_buffer_release(&w->plain);
	et_buffer_release(&w->anew);
	et_buffer_release(&w->block);
	w->state = et_tape_state_free(w->state);
	free(w->draft.runs);
	free(w);
}

int et_tape_rewrite(const struct et_tape_rewrite *order, struct et_tape_header *ret_header,
		    struct et_tape_seal *ret, struct et_buffer *ret_link, struct et_error *reterr)
{
	struct rewrite *w = calloc(1, sizeof(*w));
	struct et_tape_record record;

	if (w == NULL) {
		return et_fail(reterr, -ENOMEM, "write a tape anew");
	}
	w->order = order;
	w->cuts = order->from_us < order->to_us;
	int rc = rewrite_begin(w, reterr);
	rc = rc < 0 ? rc : rewrite_create(w, ret_header, reterr);
	while (rc >= 0 && (rc = et_tape_reader_next(w->reader, &record, reterr)) == 1) {
		rc = record_take(w, &record, reterr);
	}
	rc = rc < 0 ? rc : rewrite_end(w, ret_header, ret, ret_link, reterr);
	if (rc < 0 && w->tape != NULL) {
		(void)unlink(order->path);
	}
	rewrite_release(w);
	return rc < 0 ? rc : 0;
}
