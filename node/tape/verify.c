#include <stdio.h>
#include <string.h>

#include "node/tape/format_internal.h"

static int read_header(const struct et_tape_source *source, uint8_t bytes[ET_TAPE_HEADER_SIZE],
		       struct et_tape_header *ret, struct et_error *reterr)
{
	if (source->size < ET_TAPE_HEADER_SIZE) {
		return et_fail(reterr, ET_ETRUNCATED, "tape of %llu bytes",
			       (unsigned long long)source->size);
	}
	int rc = source->read(source->arg, 0, bytes, ET_TAPE_HEADER_SIZE, reterr);
	return rc < 0 ? rc : et_tape_header_parse(bytes, ret, reterr);
}

int et_tape_footer_read(const struct et_tape_source *source, struct et_tape_header *ret_header,
			struct et_tape_seal *ret, struct et_error *reterr)
{
	uint8_t header[ET_TAPE_HEADER_SIZE];
	uint8_t trailer[ET_TAPE_TRAILER_SIZE];

	int rc = read_header(source, header, ret_header, reterr);
	if (rc < 0) {
		return rc;
	}
	if (source->size < sizeof(header) + ET_TAPE_FOOTER_HEAD_SIZE + sizeof(trailer)) {
		return et_fail_plain(reterr, ET_ETRUNCATED, "the tape has no footer");
	}
	rc = source->read(source->arg, source->size - sizeof(trailer), trailer, sizeof(trailer),
			  reterr);
	return rc < 0 ? rc
		      : et_tape_trailer_parse(trailer, ret_header->hash, source->size, ret, reterr);
}

int et_tape_leaves_read(const struct et_tape_source *source, const struct et_tape_seal *seal,
			uint64_t first, uint64_t count, uint8_t *ret, struct et_error *reterr)
{
	if (first > seal->records || count > seal->records - first) {
		return et_fail(reterr, -EINVAL, "leaves %llu to %llu of a tape of %llu records",
			       (unsigned long long)first, (unsigned long long)(first + count),
			       (unsigned long long)seal->records);
	}
	if (count == 0) {
		return 0;
	}
	return source->read(source->arg,
			    seal->body_bytes + ET_TAPE_FOOTER_HEAD_SIZE + first * ET_TAPE_HASH_SIZE,
			    ret, (size_t)count * ET_TAPE_HASH_SIZE, reterr);
}

/* ---- The walk ---------------------------------------------------------------------------------
 */

static void walk_hash_object(struct et_tape_walk *w, struct et_view bytes)
{
	if (w->object != NULL) {
		et_sha256_add(w->object, bytes.data, bytes.size);
	}
}

int et_tape_walk_init(struct et_tape_walk *w, const struct et_tape_source *source,
		      const struct et_secret *dek, bool hash_object, struct et_error *reterr)
{
	uint8_t header[ET_TAPE_HEADER_SIZE];

	*w = (struct et_tape_walk){ .offset = ET_TAPE_HEADER_SIZE };
	int rc = read_header(source, header, &w->header, reterr);
	if (rc == 0) {
		rc = et_tape_window_init(&w->window, source, reterr);
	}
	if (rc == 0 && dek != NULL) {
		rc = et_tape_unlock(&w->header, dek, &w->cipher, reterr);
		w->plain = malloc(ET_TAPE_PLAIN_MAX);
	}
	if (rc < 0) {
		return rc;
	}
	w->object = hash_object ? et_sha256_new() : NULL;
	w->list = et_sha256_new();
	w->leaf = et_sha256_new();
	if ((hash_object && w->object == NULL) || w->list == NULL || w->leaf == NULL ||
	    (dek != NULL && w->plain == NULL)) {
		return et_fail(reterr, -ENOMEM, "read a tape");
	}
	walk_hash_object(w, (struct et_view){ header, sizeof(header) });
	return 0;
}

void et_tape_walk_release(struct et_tape_walk *w)
{
	et_tape_window_release(&w->window);
	w->cipher = et_aead_free(w->cipher);
	w->object = et_sha256_free(w->object);
	w->list = et_sha256_free(w->list);
	w->leaf = et_sha256_free(w->leaf);
	et_buffer_release(&w->leaves);
	if (w->plain != NULL) {
		explicit_bzero(w->plain, ET_TAPE_PLAIN_MAX);
		free(w->plain);
		w->plain = NULL;
	}
}

/* 0: the tag fits, or there is no key. */
static int walk_check_tag(struct et_tape_walk *w, const struct et_tape_record_head *head,
			  const uint8_t *record)
{
	uint8_t aad[ET_TAPE_HASH_SIZE + TAPE_HEAD_CRC_AT];
	uint8_t nonce[ET_AEAD_NONCE_SIZE];

	if (w->cipher == NULL) {
		return 0;
	}
	et_tape_nonce(head->seq, nonce);
	et_tape_aad(w->header.hash, record, aad);
	return et_aead_open(w->cipher, nonce, (struct et_view){ aad, sizeof(aad) },
			    record + ET_TAPE_RECORD_HEAD_SIZE,
			    head->size - ET_TAPE_RECORD_HEAD_SIZE, w->plain, NULL);
}

static void walk_note_block(struct et_tape_walk *w, const struct et_tape_record_head *head)
{
	const uint32_t plain = head->size - ET_TAPE_RECORD_HEAD_SIZE - ET_TAPE_TAG_SIZE;

	if ((head->flags & ET_TAPE_PADDED) != 0 && plain > w->block_bytes) {
		w->block_bytes = plain;
	}
}

int et_tape_walk_run(struct et_tape_walk *w, uint64_t limit, struct et_error *reterr)
{
	w->limit = limit;
	while (w->offset < limit && w->merkle.count < ET_TAPE_RECORDS_MAX) {
		const uint64_t left = limit - w->offset;
		struct et_tape_record_head head;
		uint8_t leaf[ET_TAPE_HASH_SIZE];
		struct et_view v;

		int rc = et_tape_window_view(&w->window, w->offset, ET_TAPE_RECORD_HEAD_SIZE, &v,
					     reterr);
		if (rc < 0) {
			return rc;
		}
		w->stopped =
			et_tape_record_check(w->header.hash, (uint32_t)w->merkle.count, v, &head);
		if (w->stopped == ET_ETRUNCATED && head.size > 0 && head.size <= left) {
			rc = et_tape_window_view(&w->window, w->offset, head.size, &v, reterr);
			if (rc < 0) {
				return rc;
			}
			w->stopped = et_tape_record_check(w->header.hash, head.seq, v, &head);
		}
		if (w->stopped == 0 && head.t_ms < w->last_ms) {
			w->stopped = ET_ECORRUPT; /* No writer goes back in time. */
		}
		if (w->stopped == 0) {
			w->stopped = walk_check_tag(w, &head, v.data);
		}
		if (w->stopped < 0) {
			return w->stopped == -ENOMEM ? et_fail(reterr, -ENOMEM, "read a tape") : 0;
		}
		walk_hash_object(w, v);
		et_merkle_leaf_in(w->leaf, v.data, v.size, leaf);
		et_merkle_add(&w->merkle, leaf);
		et_sha256_add(w->list, leaf, sizeof(leaf));
		if (w->keep_leaves) {
			et_buffer_add(&w->leaves, leaf, sizeof(leaf));
		}
		if (w->leaves.failed) {
			return et_fail(reterr, -ENOMEM, "read a tape");
		}
		w->last_ms = head.t_ms;
		walk_note_block(w, &head);
		w->offset += head.size;
	}
	return 0;
}

/* ---- Verdicts ---------------------------------------------------------------------------------
 */

static int report_problem(struct et_tape_report *r, const struct et_tape_source *source, int code,
			  uint64_t offset, const char *text, struct et_error *reterr)
{
	(void)snprintf(r->problem, sizeof(r->problem), "%.159s", text);
	r->bad_offset = offset;
	return et_fail_plain(reterr, code, "tape %s: %s at byte %llu", source->name, text,
			     (unsigned long long)offset);
}

static int check_header(const struct et_tape_header *h, const struct et_tape_expect *e,
			const struct et_tape_source *source, struct et_tape_report *r,
			struct et_error *reterr)
{
	const char *why = et_tape_header_unexpected(h, e);

	return why == NULL ? 0 : report_problem(r, source, ET_EINTEGRITY, 0, why, reterr);
}

/* Begin a report: header, expectations, and a walk that is ready. */
static int report_begin(const struct et_tape_source *source, const struct et_tape_expect *expect,
			struct et_tape_report *ret, struct et_tape_walk *walk,
			struct et_error *reterr)
{
	struct et_error e = { 0 };

	*ret = (struct et_tape_report){ 0 };
	const bool hash_object =
		expect != NULL && (expect->hash_object || expect->object_hash != NULL);
	int rc = et_tape_walk_init(walk, source, NULL, hash_object, &e);
	if (rc < 0) {
		return report_problem(ret, source, rc, 0, e.text, reterr);
	}
	ret->has_header = true;
	ret->header = walk->header;
	return check_header(&walk->header, expect, source, ret, reterr);
}

static void report_walk(struct et_tape_report *r, const struct et_tape_walk *w)
{
	r->good_records = w->merkle.count;
	r->good_bytes = w->offset;
	r->bad_offset = w->offset;
	r->seal.records = w->merkle.count;
	r->seal.body_bytes = w->offset;
	r->seal.last_ms = w->last_ms;
	r->seal.block_bytes = w->block_bytes;
	et_merkle_root(&w->merkle, r->seal.root);
}

/* Hash the footer's list of leaves, and, if it was asked for, the whole object to its end. */
static int hash_footer(struct et_tape_walk *w, uint64_t records,
		       uint8_t ret_list[ET_TAPE_HASH_SIZE], uint8_t ret_object[ET_TAPE_HASH_SIZE],
		       struct et_error *reterr)
{
	const uint64_t size = ET_TAPE_FOOTER_HEAD_SIZE + records * ET_TAPE_HASH_SIZE;
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *list = et_sha256_new();
	uint64_t done = 0;

	if (list == NULL) {
		return et_fail(reterr, -ENOMEM, "read a tape");
	}
	while (w->offset + done < w->window.source->size) {
		const uint64_t left = done < size ? size - done : ET_TAPE_TRAILER_SIZE;
		struct et_view v;
		int rc = et_tape_window_view(&w->window, w->offset + done,
					     left < 65536 ? (size_t)left : 65536, &v, reterr);
		if (rc < 0) {
			return rc;
		}
		walk_hash_object(w, v);
		if (done < size) {
			const size_t skip = done == 0 ? ET_TAPE_FOOTER_HEAD_SIZE : 0;
			et_sha256_add(list, v.data + skip, v.size - skip);
		}
		done += v.size;
	}
	et_sha256_end(list, ret_list);
	if (w->object != NULL) {
		et_sha256_end(w->object, ret_object);
	}
	return 0;
}

/* The records are as many and as long as the footer says: now compare what it claims of them. */
static int check_footer(const struct et_tape_source *source, const struct et_tape_expect *expect,
			struct et_tape_walk *w, const struct et_tape_seal *claimed,
			struct et_tape_report *r, struct et_error *reterr)
{
	uint8_t computed[ET_TAPE_HASH_SIZE];
	uint8_t listed[ET_TAPE_HASH_SIZE];
	struct et_view v;

	int rc = et_tape_window_view(&w->window, w->offset, ET_TAPE_FOOTER_HEAD_SIZE, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	if (v.size != ET_TAPE_FOOTER_HEAD_SIZE || memcmp(v.data, "EVTL", 4) != 0 ||
	    et_get32(v.data + 4) != claimed->records) {
		return report_problem(r, source, ET_EINTEGRITY, w->offset,
				      "the list of leaves is damaged", reterr);
	}
	rc = hash_footer(w, claimed->records, listed, r->object_hash, reterr);
	if (rc < 0) {
		return rc;
	}
	et_sha256_end(w->list, computed);
	if (memcmp(computed, listed, sizeof(computed)) != 0) {
		return report_problem(r, source, ET_EINTEGRITY, w->offset,
				      "the list of leaves is not that of the records", reterr);
	}
	if (claimed->last_ms != w->last_ms ||
	    memcmp(claimed->root, r->seal.root, sizeof(claimed->root)) != 0) {
		return report_problem(r, source, ET_EINTEGRITY, w->offset,
				      "the signed root is not that of the records", reterr);
	}
	r->seal = *claimed;
	r->seal.block_bytes = w->block_bytes;
	r->has_object_hash = w->object != NULL;
	const char *why = et_tape_seal_unexpected(&r->seal, expect);
	if (why == NULL && expect != NULL && expect->object_hash != NULL &&
	    memcmp(expect->object_hash, r->object_hash, sizeof(r->object_hash)) != 0) {
		why = "its bytes are not those expected";
	}
	return why == NULL ? 0 : report_problem(r, source, ET_EINTEGRITY, w->offset, why, reterr);
}

int et_tape_verify(const struct et_tape_source *source, const struct et_tape_expect *expect,
		   struct et_tape_report *ret, struct et_error *reterr)
{
	ET_CLEANUP(et_tape_walk_release) struct et_tape_walk w = { 0 };
	struct et_tape_header header = { .generation = 0 };
	struct et_tape_seal claimed = { .records = 0 };
	struct et_error e = { 0 };

	int rc = report_begin(source, expect, ret, &w, reterr);
	if (rc < 0) {
		return rc;
	}
	int footer = et_tape_footer_read(source, &header, &claimed, &e);
	if (footer < 0 && footer != ET_ETRUNCATED && footer != ET_EINTEGRITY &&
	    footer != ET_EVERSION) {
		return report_problem(ret, source, footer, source->size, e.text, reterr);
	}
	if (footer == 0 && memcmp(header.hash, w.header.hash, sizeof(header.hash)) != 0) {
		return report_problem(ret, source, ET_EINTEGRITY, 0, "it changes while it is read",
				      reterr);
	}
	ret->has_footer = footer == 0;
	rc = et_tape_walk_run(&w, footer == 0 ? claimed.body_bytes : source->size, reterr);
	if (rc < 0) {
		return rc;
	}
	report_walk(ret, &w);
	if (footer < 0) {
		const uint64_t at = source->size < ET_TAPE_TRAILER_SIZE
					    ? source->size
					    : source->size - ET_TAPE_TRAILER_SIZE;
		return report_problem(ret, source, footer, footer == ET_ETRUNCATED ? w.offset : at,
				      e.text, reterr);
	}
	if (w.offset != claimed.body_bytes || w.merkle.count != claimed.records) {
		char text[96];
		(void)snprintf(text, sizeof(text), "record %llu of %llu is damaged",
			       (unsigned long long)w.merkle.count,
			       (unsigned long long)claimed.records);
		return report_problem(ret, source, ET_EINTEGRITY, w.offset, text, reterr);
	}
	return check_footer(source, expect, &w, &claimed, ret, reterr);
}

int et_tape_verify_prefix(const struct et_tape_source *source, const struct et_tape_expect *expect,
			  struct et_tape_report *ret, struct et_error *reterr)
{
	ET_CLEANUP(et_tape_walk_release) struct et_tape_walk w = { 0 };

	int rc = report_begin(source, expect, ret, &w, reterr);
	if (rc == 0) {
		rc = et_tape_walk_run(&w, source->size, reterr);
	}
	if (rc == 0) {
		report_walk(ret, &w);
		if (w.offset < source->size) {
			(void)snprintf(ret->problem, sizeof(ret->problem),
				       "no whole record behind byte %llu",
				       (unsigned long long)w.offset);
		}
	}
	return rc;
}
