#include "node/tape/reader.h"

#include <string.h>

#include "node/tape/block_internal.h"
#include "node/tape/format_internal.h"
#include "node/tape/index_internal.h"

struct et_tape_reader {
	struct et_tape_source source; /* its arg is borrowed */
	struct et_tape_window window;
	struct et_tape_header header;
	struct et_tape_seal seal;
	bool sealed;
	struct et_aead *cipher; /* owned */
	uint8_t *plain;		/* owned, wiped */
	uint64_t limit;		/* where records end: by the footer, or the end of the source */
	uint64_t offset;	/* of the next record */
	uint32_t seq;		/* of the next record */
	bool raw;		/* blocks are given out whole */
	struct et_reader items; /* what of the last block was not given out */
	struct et_tape_record block; /* that block */
	bool listed;
	struct tape_list checkpoints; /* once listed */
};

static int reader_init(struct et_tape_reader *r, const struct et_secret *dek,
		       struct et_error *reterr)
{
	uint8_t header[ET_TAPE_HEADER_SIZE];
	struct et_tape_header again;
	struct et_error ignored;

	if (r->source.size < sizeof(header)) {
		return et_fail(reterr, ET_ETRUNCATED, "tape of %llu bytes",
			       (unsigned long long)r->source.size);
	}
	int rc = r->source.read(r->source.arg, 0, header, sizeof(header), reterr);
	if (rc == 0) {
		rc = et_tape_header_parse(header, &r->header, reterr);
	}
	if (rc == 0) {
		rc = et_tape_unlock(&r->header, dek, &r->cipher, reterr);
	}
	if (rc == 0) {
		rc = et_tape_window_init(&r->window, &r->source, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	r->plain = malloc(ET_TAPE_PLAIN_MAX);
	if (r->plain == NULL) {
		return et_fail(reterr, -ENOMEM, "read a tape");
	}
	/* Without a footer that checks this is an open tape: every record shows its own worth. */
	rc = et_tape_footer_read(&r->source, &again, &r->seal, &ignored);
	r->sealed = rc == 0 && memcmp(again.hash, r->header.hash, sizeof(again.hash)) == 0;
	r->limit = r->sealed ? r->seal.body_bytes : r->source.size;
	r->offset = sizeof(header);
	return 0;
}

int et_tape_reader_new(const struct et_tape_source *source, const struct et_secret *dek,
		       struct et_tape_reader **ret, struct et_error *reterr)
{
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *r = calloc(1, sizeof(*r));
	if (r == NULL) {
		return et_fail(reterr, -ENOMEM, "read a tape");
	}
	r->source = *source;
	int rc = reader_init(r, dek, reterr);
	if (rc == 0) {
		*ret = ET_TAKE(r);
	}
	return rc;
}

struct et_tape_reader *et_tape_reader_free(struct et_tape_reader *r)
{
	if (r != NULL) {
		(void)et_aead_free(r->cipher);
		et_tape_window_release(&r->window);
		tape_list_release(&r->checkpoints);
		if (r->plain != NULL) {
			explicit_bzero(r->plain, ET_TAPE_PLAIN_MAX);
			free(r->plain);
		}
		free(r);
	}
	return NULL;
}

const struct et_tape_header *et_tape_reader_header(const struct et_tape_reader *r)
{
	return &r->header;
}

const struct et_tape_seal *et_tape_reader_seal(const struct et_tape_reader *r)
{
	return r->sealed ? &r->seal : NULL;
}

/* 1: the whole record that begins at r->offset is in *ret_view. 0: the end. Of a sealed tape
 * nothing may be missing; in an open one whatever does not check by CRC is its torn end. */
static int reader_fetch(struct et_tape_reader *r, struct et_tape_record_head *head,
			struct et_view *ret_view, struct et_error *reterr)
{
	const uint64_t left = r->limit - r->offset;

	if (r->sealed ? r->seq == r->seal.records : left < ET_TAPE_RECORD_HEAD_SIZE) {
		return 0;
	}
	int rc = et_tape_window_view(&r->window, r->offset, ET_TAPE_RECORD_HEAD_SIZE, ret_view,
				     reterr);
	if (rc < 0) {
		return rc;
	}
	bool whole = ret_view->size == ET_TAPE_RECORD_HEAD_SIZE &&
		     et_tape_head_parse(ret_view->data, r->seq, head) == 0 && head->size <= left;
	if (whole) {
		rc = et_tape_window_view(&r->window, r->offset, head->size, ret_view, reterr);
		if (rc < 0) {
			return rc;
		}
		whole = ret_view->size == head->size;
	}
	if (whole && !r->sealed) {
		whole = et_tape_record_check(r->header.hash, r->seq, *ret_view, head) == 0;
	}
	if (!whole && r->sealed) {
		return et_fail(reterr, ET_EINTEGRITY, "record %u of tape %s", r->seq,
			       r->source.name);
	}
	return whole ? 1 : 0;
}

static int reader_refuse(const struct et_tape_reader *r, const struct et_tape_record_head *head,
			 struct et_error *reterr)
{
	return et_fail(reterr, ET_EVERSION, "record %u of tape %s is of kind %u and has flags 0x%x",
		       r->seq, r->source.name, head->kind, head->flags);
}

/* The record in `v` is opened; the reader goes behind it. */
static int reader_open(struct et_tape_reader *r, const struct et_tape_record_head *head,
		       struct et_view v, struct et_tape_record *ret, struct et_error *reterr)
{
	uint8_t aad[ET_TAPE_HASH_SIZE + TAPE_HEAD_CRC_AT];
	uint8_t nonce[ET_AEAD_NONCE_SIZE];

	et_tape_nonce(r->seq, nonce);
	et_tape_aad(r->header.hash, v.data, aad);
	const size_t sealed_size = head->size - ET_TAPE_RECORD_HEAD_SIZE;
	int rc = et_aead_open(r->cipher, nonce, (struct et_view){ aad, sizeof(aad) },
			      v.data + ET_TAPE_RECORD_HEAD_SIZE, sealed_size, r->plain, NULL);
	if (rc < 0) {
		return et_fail(reterr, rc, "record %u of tape %s", r->seq, r->source.name);
	}
	if (head->flags != (head->kind == ET_TAPE_BLOCK ? ET_TAPE_PADDED : 0)) {
		return reader_refuse(r, head, reterr);
	}
	*ret = (struct et_tape_record){
		.kind = (enum et_tape_kind)head->kind,
		.seq = r->seq,
		.t_ms = head->t_ms,
		.offset = r->offset,
		.plain = { r->plain, sealed_size - ET_TAPE_TAG_SIZE },
	};
	r->seq++;
	r->offset += head->size;
	return 1;
}

/* 1 and *ret: the next item of the block at hand. 0: it has no more, or there is none. */
static int block_item(struct et_tape_reader *r, struct et_tape_record *ret, struct et_error *reterr)
{
	struct tape_item item;

	int rc = tape_block_next(&r->items, &item);
	if (rc < 0) {
		return et_fail(reterr, rc, "item in the block that is record %u of tape %s",
			       r->block.seq, r->source.name);
	}
	if (rc == 1) {
		*ret = r->block;
		ret->kind = item.kind;
		ret->t_ms = item.t_ms;
		ret->plain = item.plain;
	}
	return rc;
}

/* 1: *ret is the head of the record at r->offset, read alone. 0: the end, or nothing that could be
 * a record; what is wrong there shows when it is opened. */
static int reader_head(struct et_tape_reader *r, struct et_tape_record_head *ret,
		       struct et_error *reterr)
{
	const uint64_t left = r->limit - r->offset;
	uint8_t bytes[ET_TAPE_RECORD_HEAD_SIZE];

	if ((r->sealed && r->seq == r->seal.records) || left < sizeof(bytes)) {
		return 0;
	}
	int rc = r->source.read(r->source.arg, r->offset, bytes, sizeof(bytes), reterr);
	if (rc < 0) {
		return rc;
	}
	return et_tape_head_parse(bytes, r->seq, ret) == 0 && ret->size <= left ? 1 : 0;
}

static void reader_go(struct et_tape_reader *r, uint64_t offset, uint32_t seq)
{
	r->items = (struct et_reader){ .p = NULL };
	r->offset = offset;
	r->seq = seq;
}

/* 1 and *ret: the record at r->offset. Of a block what is in it can be had then. */
static int record_read(struct et_tape_reader *r, struct et_tape_record *ret,
		       struct et_error *reterr)
{
	struct et_tape_record_head head = { .size = 0 };
	struct et_view v;

	int rc = reader_fetch(r, &head, &v, reterr);
	rc = rc <= 0 ? rc : reader_open(r, &head, v, ret, reterr);
	if (rc <= 0 || ret->kind != ET_TAPE_BLOCK || r->raw) {
		return rc;
	}
	r->block = *ret;
	rc = tape_block_init(&r->items, ret->plain);
	if (rc < 0) {
		reader_go(r, ret->offset, ret->seq);
		return et_fail(reterr, rc, "block that is record %u of tape %s", ret->seq,
			       r->source.name);
	}
	return 1;
}

int et_tape_reader_next(struct et_tape_reader *r, struct et_tape_record *ret,
			struct et_error *reterr)
{
	for (;;) { /* Blocks may be empty. */
		int rc = block_item(r, ret, reterr);
		if (rc != 0) {
			return rc;
		}
		rc = record_read(r, ret, reterr);
		if (rc <= 0 || ret->kind != ET_TAPE_BLOCK || r->raw) {
			return rc;
		}
	}
}

int et_tape_reader_next_of(struct et_tape_reader *r, enum et_tape_kind kind,
			   struct et_tape_record *ret, struct et_error *reterr)
{
	for (;;) {
		struct et_tape_record_head head = { .size = 0 };

		int rc = block_item(r, ret, reterr);
		if (rc == 1 && ret->kind != kind) {
			continue;
		}
		rc = rc != 0 ? rc : reader_head(r, &head, reterr);
		if (rc <= 0 || head.size == 0) {
			return rc;
		}
		if (head.kind == kind || head.kind == ET_TAPE_BLOCK) {
			rc = record_read(r, ret, reterr);
			if (rc <= 0 || ret->kind == kind) {
				return rc;
			}
		} else {
			reader_go(r, r->offset + head.size, r->seq + 1);
		}
	}
}

void tape_reader_raw(struct et_tape_reader *r)
{
	r->raw = true;
}

uint64_t et_tape_reader_records(const struct et_tape_reader *r)
{
	return r->seq;
}

uint64_t et_tape_reader_torn(const struct et_tape_reader *r)
{
	return r->sealed ? 0 : r->limit - r->offset;
}

/* ---- Finding ----------------------------------------------------------------------------------
 */

/* 1 and *ret: the record at `offset`, if it is of that kind; nothing else is read. 0: it is not, or
 * not authentic. */
static int reader_look(struct et_tape_reader *r, uint64_t offset, uint32_t seq,
		       enum et_tape_kind kind, struct et_tape_record *ret, struct et_error *reterr)
{
	struct et_tape_record_head head;

	reader_go(r, offset, seq);
	int rc = reader_head(r, &head, reterr);
	if (rc <= 0 || head.kind != kind) {
		return rc < 0 ? rc : 0;
	}
	rc = et_tape_window_load(&r->window, offset, head.size, reterr);
	rc = rc < 0 ? rc : et_tape_reader_next(r, ret, reterr);
	return rc == ET_EINTEGRITY || rc == ET_EVERSION ? 0 : rc;
}

void et_tape_reader_rewind(struct et_tape_reader *r)
{
	reader_go(r, ET_TAPE_HEADER_SIZE, 0);
}

int et_tape_reader_index(struct et_tape_reader *r, struct et_tape_record *ret,
			 struct et_error *reterr)
{
	uint64_t offset;
	uint32_t seq;

	if (!r->sealed || r->seal.records < 2 ||
	    r->limit < ET_TAPE_HEADER_SIZE + TAPE_END_RECORD_SIZE) {
		return 0;
	}
	const uint64_t end = r->limit - TAPE_END_RECORD_SIZE;
	const uint32_t last = (uint32_t)r->seal.records - 1;
	int rc = reader_look(r, end, last, ET_TAPE_END, ret, reterr);
	if (rc <= 0) {
		return rc;
	}
	if (tape_end_parse(ret->plain, &offset, &seq) < 0 || offset < ET_TAPE_HEADER_SIZE ||
	    offset >= end || seq != last - 1) {
		return 0;
	}
	return reader_look(r, offset, seq, ET_TAPE_INDEX, ret, reterr);
}

/* The list of an INDEX. 0: there is none. */
static int list_load(struct et_tape_reader *r, struct et_error *reterr)
{
	struct et_tape_record index;

	int rc = et_tape_reader_index(r, &index, reterr);
	if (rc <= 0) {
		return rc;
	}
	rc = tape_list_read(index.plain, index.offset, index.seq, &r->checkpoints);
	if (rc == -ENOMEM) {
		return et_fail(reterr, rc, "index of tape %s", r->source.name);
	}
	return rc == 0 ? 1 : 0;
}

/* By the heads of all records. */
static int list_scan(struct et_tape_reader *r, struct et_error *reterr)
{
	struct et_tape_record_head head;
	int rc;

	et_tape_reader_rewind(r);
	while ((rc = reader_head(r, &head, reterr)) == 1) {
		const struct tape_checkpoint c = { .offset = r->offset,
						   .seq = head.seq,
						   .t_ms = head.t_ms };
		if (head.kind == ET_TAPE_CHECKPOINT && tape_list_add(&r->checkpoints, c) < 0) {
			return et_fail(reterr, -ENOMEM, "checkpoints of tape %s", r->source.name);
		}
		reader_go(r, r->offset + head.size, r->seq + 1);
	}
	return rc;
}

int et_tape_reader_find(struct et_tape_reader *r, uint32_t t_ms, struct et_error *reterr)
{
	if (!r->listed) {
		int rc = list_load(r, reterr);
		rc = rc == 0 ? list_scan(r, reterr) : rc;
		if (rc < 0) {
			tape_list_release(&r->checkpoints);
			return rc;
		}
		r->listed = true;
	}
	uint32_t low = 0;
	uint32_t high = r->checkpoints.count; /* The first that lies behind is in [low, high]. */
	while (low < high) {
		const uint32_t middle = low + (high - low) / 2;
		if (r->checkpoints.all[middle].t_ms <= t_ms) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	if (low == 0) {
		et_tape_reader_rewind(r);
		return 0;
	}
	reader_go(r, r->checkpoints.all[low - 1].offset, r->checkpoints.all[low - 1].seq);
	return 1;
}
