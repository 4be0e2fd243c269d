#include "node/tape/link.h"

#include <string.h>

#include "node/crypto/sign.h"
#include "node/tape/format_internal.h"
#include "node/tape/link_internal.h"

static const uint8_t magic[4] = { 'E', 'V', 'T', 'G' };

/* Fixed places; behind the runs it goes on. */
enum {
	LINK_VERSION = 1,
	WHY_AT = 5,
	FROM_AT = 8,
	TO_AT = 16,
	HEADER_AT = 24,
	TRAILER_AT = HEADER_AT + ET_TAPE_HEADER_SIZE,
	NEW_HEADER_AT = TRAILER_AT + ET_TAPE_TRAILER_SIZE,
	NEW_ROOT_AT = NEW_HEADER_AT + 32,
	NEW_RECORDS_AT = NEW_ROOT_AT + 32,
	KEPT_AT = NEW_RECORDS_AT + 4,
	COUNT_AT = KEPT_AT + 32,
	RUNS_AT = COUNT_AT + 4,
	RUN_SIZE = 5,
	TAIL_SIZE = 8 + 8 + 32 + 64,
	SIGNATURE_SIZE = 64,
};

static const uint8_t sign_label[12] = "evtm/1 link"; /* with its zero byte */

/* What is signed, into `ret`. */
static void signed_add(struct et_buffer *ret, const uint8_t *bytes, size_t size)
{
	et_buffer_add(ret, sign_label, sizeof(sign_label));
	et_buffer_add(ret, bytes, size);
}

struct et_link_run et_link_run_at(const struct et_link *link, uint32_t i)
{
	const uint8_t *p = link->runs.data + (size_t)i * RUN_SIZE;

	et_assert(i < link->run_count);
	return (struct et_link_run){ .what = p[0], .records = et_get32(p + 1) };
}

int link_write(const struct link_draft *d, const struct et_tape_signer *signer,
	       struct et_buffer *ret, struct et_error *reterr)
{
	struct et_buffer whole = { 0 };
	uint8_t signer_public[32];
	uint8_t signature[SIGNATURE_SIZE];
	const size_t begun = ret->size;

	int rc = et_ed25519_public(signer->seed, signer_public, reterr);
	if (rc < 0) {
		return rc;
	}
	et_buffer_add(ret, magic, sizeof(magic));
	et_buffer_add8(ret, LINK_VERSION);
	et_buffer_add8(ret, d->why);
	et_buffer_add16(ret, 0);
	et_buffer_add64(ret, (uint64_t)d->from_us);
	et_buffer_add64(ret, (uint64_t)d->to_us);
	et_buffer_add(ret, d->old_header, sizeof(d->old_header));
	et_buffer_add(ret, d->old_trailer, sizeof(d->old_trailer));
	et_buffer_add(ret, d->new_header_hash, 32);
	et_buffer_add(ret, d->new_root, 32);
	et_buffer_add32(ret, d->new_records);
	et_buffer_add(ret, d->kept, sizeof(d->kept));
	et_buffer_add32(ret, d->run_count);
	for (uint32_t i = 0; i < d->run_count; i++) {
		et_buffer_add8(ret, d->runs[i].what);
		et_buffer_add32(ret, d->runs[i].records);
	}
	et_buffer_add64(ret, (uint64_t)signer->now_us);
	et_buffer_add64(ret, signer->node);
	et_buffer_add(ret, signer_public, sizeof(signer_public));
	signed_add(&whole, ret->data + begun, ret->size - begun);
	if (ret->failed || whole.failed) {
		rc = et_fail(reterr, -ENOMEM, "link");
	} else {
		rc = et_ed25519_sign(signer->seed, (struct et_view){ whole.data, whole.size },
				     signature, reterr);
	}
	et_buffer_release(&whole);
	if (rc == 0) {
		et_buffer_add(ret, signature, sizeof(signature));
		rc = ret->failed ? et_fail(reterr, -ENOMEM, "link") : 0;
	}
	return rc;
}

static int not_whole(struct et_error *reterr, const char *why)
{
	return et_fail_plain(reterr, ET_EINTEGRITY, "the link of a generation: %s", why);
}

/* The runs: their sums, and that they say what they say in one way only. */
static int runs_check(struct et_link *l, struct et_error *reterr)
{
	uint64_t records = 0;
	uint8_t before = 0;

	for (uint32_t i = 0; i < l->run_count; i++) {
		struct et_link_run run = et_link_run_at(l, i);
		if (run.what < ET_LINK_KEPT || run.what > ET_LINK_LEFT_OUT || run.what == before ||
		    run.records == 0) {
			return not_whole(reterr, "a run of records makes no sense");
		}
		before = run.what;
		records += run.records;
		l->changed += run.what == ET_LINK_CHANGED ? run.records : 0;
		l->left_out += run.what == ET_LINK_LEFT_OUT ? run.records : 0;
	}
	bool span = l->why == ET_LINK_SPAN;
	if (records != l->old_seal.records || records - l->left_out + span != l->new_records ||
	    (!span && l->changed + l->left_out > 0)) {
		return not_whole(reterr, "its runs are not those of the two tapes");
	}
	return 0;
}

static int signature_check(struct et_view bytes, const uint8_t node_public[32],
			   struct et_error *reterr)
{
	struct et_buffer whole = { 0 };
	const size_t size = bytes.size - SIGNATURE_SIZE;

	signed_add(&whole, bytes.data, size);
	int rc = whole.failed ? -ENOMEM
			      : et_ed25519_verify(node_public,
						  (struct et_view){ whole.data, whole.size },
						  bytes.data + size, NULL);
	et_buffer_release(&whole);
	if (rc == -ENOMEM) {
		return et_fail(reterr, rc, "link");
	}
	return rc < 0 ? not_whole(reterr, "its signature does not fit") : 0;
}

static bool is_other(const uint8_t *expected, const uint8_t found[32])
{
	return expected != NULL && memcmp(expected, found, 32) != 0;
}

static int link_read(struct et_view bytes, struct et_link *ret, struct et_error *reterr)
{
	const uint8_t *p = bytes.data;

	if (bytes.size < ET_LINK_SIZE(0) || memcmp(p, magic, sizeof(magic)) != 0) {
		return not_whole(reterr, "it is none");
	}
	if (p[4] != LINK_VERSION) {
		return et_fail(reterr, ET_EVERSION, "link of version %u", p[4]);
	}
	*ret = (struct et_link){
		.why = p[WHY_AT],
		.from_us = (int64_t)et_get64(p + FROM_AT),
		.to_us = (int64_t)et_get64(p + TO_AT),
		.new_records = et_get32(p + NEW_RECORDS_AT),
		.run_count = et_get32(p + COUNT_AT),
	};
	if (ret->run_count > ET_LINK_RUNS_MAX || bytes.size != ET_LINK_SIZE(ret->run_count)) {
		return not_whole(reterr, "its length is another one");
	}
	bool span = ret->why == ET_LINK_SPAN;
	if ((!span && ret->why != ET_LINK_KEY) || p[6] != 0 || p[7] != 0 ||
	    (span ? ret->from_us >= ret->to_us : ret->from_us != 0 || ret->to_us != 0)) {
		return not_whole(reterr, "why it was made makes no sense");
	}
	const uint8_t *tail = p + bytes.size - TAIL_SIZE;
	ret->runs = (struct et_view){ p + RUNS_AT, (size_t)ret->run_count * RUN_SIZE };
	ret->made_us = (int64_t)et_get64(tail);
	ret->node = et_get64(tail + 8);
	memcpy(ret->node_public, tail + 16, 32);
	memcpy(ret->new_header_hash, p + NEW_HEADER_AT, 32);
	memcpy(ret->new_root, p + NEW_ROOT_AT, 32);
	memcpy(ret->kept, p + KEPT_AT, 32);
	int rc = et_tape_header_parse(p + HEADER_AT, &ret->old_header, reterr);
	return rc < 0 ? rc
		      : et_tape_trailer_parse(p + TRAILER_AT, ret->old_header.hash,
					      et_get64(p + TRAILER_AT + 168), &ret->old_seal,
					      reterr);
}

int et_tape_link_check(struct et_view bytes, const struct et_link_expect *expect,
		       struct et_link *ret, struct et_error *reterr)
{
	int rc = link_read(bytes, ret, reterr);
	rc = rc < 0 ? rc : runs_check(ret, reterr);
	rc = rc < 0 ? rc : signature_check(bytes, ret->node_public, reterr);
	if (rc < 0 || expect == NULL) {
		return rc;
	}
	if (is_other(expect->old_root, ret->old_seal.root) ||
	    is_other(expect->new_root, ret->new_root) ||
	    is_other(expect->new_header_hash, ret->new_header_hash) ||
	    is_other(expect->node_public, ret->node_public)) {
		return not_whole(reterr, "it is of other tapes than expected");
	}
	return 0;
}
