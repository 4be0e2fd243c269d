#include "node/tape/proof.h"

#include <string.h>

#include "node/tape/format_internal.h"

/* HEAD OF A PART
 *   0  "EVTX"        4
 *   4  version       1
 *   5  flags         1   1: leaves
 *   6  hashes        2   outside of the excerpt
 *   8  first record  4
 *  12  records       4  */
enum {
	PROOF_VERSION = 1,
	PROOF_LEAVES = 1,
	HEADER_AT = ET_PROOF_HEAD_SIZE,
	TRAILER_AT = HEADER_AT + ET_TAPE_HEADER_SIZE,
	HASHES_AT = TRAILER_AT + ET_TAPE_TRAILER_SIZE,
	LAST_MS = 1000, /* that the last record holds at most, as recorders write it */
};

static const uint8_t part_magic[4] = { 'E', 'V', 'T', 'X' };
static const uint8_t file_magic[4] = { 'E', 'V', 'T', 'P' };

/* ---- Making one -------------------------------------------------------------------------------
 */

struct maker {
	const struct et_tape_source *source;
	const struct et_proof_span *span;
	struct et_tape_header header;
	struct et_tape_seal seal;
	struct et_tape_window window;
	uint8_t *leaves; /* owned: of the whole tape */
	uint64_t offset; /* of the record at hand */
	uint32_t seq;
	uint64_t first_offset;
	uint32_t first;
};

static int check_expected(const struct et_tape_header *h, const struct et_tape_seal *s,
			  const struct et_tape_expect *e, struct et_error *reterr)
{
	const char *why = et_tape_header_unexpected(h, e);

	why = why != NULL ? why : et_tape_seal_unexpected(s, e);
	return why == NULL ? 0 : et_fail_plain(reterr, ET_EINTEGRITY, "%s", why);
}

/* Footer and leaves: all of what was signed. */
static int maker_begin(struct maker *m, const struct et_tape_expect *expect,
		       struct et_error *reterr)
{
	uint8_t root[ET_TAPE_HASH_SIZE];

	int rc = et_tape_footer_read(m->source, &m->header, &m->seal, reterr);
	rc = rc < 0 ? rc : check_expected(&m->header, &m->seal, expect, reterr);
	if (rc < 0) {
		return rc;
	}
	if (m->seal.records == 0 || m->span->from_ms > (uint64_t)m->seal.last_ms + LAST_MS) {
		return et_fail_plain(reterr, ET_ENOTFOUND, "the tape has nothing of that span");
	}
	m->leaves = malloc((size_t)m->seal.records * ET_TAPE_HASH_SIZE);
	if (m->leaves == NULL) {
		return et_fail(reterr, -ENOMEM, "proof");
	}
	rc = et_tape_window_init(&m->window, m->source, reterr);
	rc = rc < 0 ? rc
		    : et_tape_leaves_read(m->source, &m->seal, 0, m->seal.records, m->leaves,
					  reterr);
	if (rc < 0) {
		return rc;
	}
	et_merkle_root_of(m->leaves, m->seal.records, root);
	return memcmp(root, m->seal.root, sizeof(root)) == 0
		       ? 0
		       : et_fail_plain(reterr, ET_EINTEGRITY,
				       "the tape's list of leaves is not what was signed");
}

static int maker_head(struct maker *m, struct et_tape_record_head *ret, struct et_error *reterr)
{
	struct et_view v;

	int rc = et_tape_window_view(&m->window, m->offset, ET_TAPE_RECORD_HEAD_SIZE, &v, reterr);
	if (rc < 0) {
		return rc;
	}
	if (v.size < ET_TAPE_RECORD_HEAD_SIZE || et_tape_head_parse(v.data, m->seq, ret) < 0 ||
	    ret->size > m->seal.body_bytes - m->offset) {
		return et_fail(reterr, ET_EINTEGRITY, "record %u of tape %s", m->seq,
			       m->source->name);
	}
	return 0;
}

/* Where the excerpt begins and ends, by the heads; they are checked with their records. */
static int maker_find(struct maker *m, uint32_t *ret_count, struct et_error *reterr)
{
	struct et_tape_record_head head;
	int64_t first_ms = -1;

	m->offset = ET_TAPE_HEADER_SIZE;
	m->first_offset = m->offset;
	for (; m->seq < m->seal.records; m->seq++) {
		int rc = maker_head(m, &head, reterr);
		if (rc < 0) {
			return rc;
		}
		if (head.t_ms <= m->span->from_ms) {
			if (head.t_ms != first_ms) { /* Of those of one time, all. */
				first_ms = head.t_ms;
				m->first = m->seq;
				m->first_offset = m->offset;
			}
		} else if (head.t_ms >= m->span->to_ms) {
			break;
		}
		m->offset += head.size;
	}
	*ret_count = m->seq - m->first;
	if (*ret_count == 0) { /* Its first record begins behind the span. */
		return et_fail_plain(reterr, ET_ENOTFOUND, "the tape has nothing of that span");
	}
	return m->span->leaves || m->offset - m->first_offset <= ET_PROOF_BYTES_MAX
		       ? 0
		       : et_fail_plain(reterr, ET_ELIMIT, "the excerpt is longer than 1 GiB");
}

static int add_records(struct maker *m, uint32_t count, struct et_buffer *ret,
		       struct et_error *reterr)
{
	uint8_t leaf[ET_TAPE_HASH_SIZE];

	m->offset = m->first_offset;
	m->seq = m->first;
	for (uint32_t i = 0; i < count; i++, m->seq++) {
		struct et_tape_record_head head;
		struct et_view v;
		int rc = maker_head(m, &head, reterr);
		rc = rc < 0 ? rc
			    : et_tape_window_view(&m->window, m->offset, head.size, &v, reterr);
		if (rc < 0) {
			return rc;
		}
		et_tape_leaf(v, leaf);
		if (memcmp(leaf, m->leaves + (size_t)m->seq * ET_TAPE_HASH_SIZE, sizeof(leaf)) !=
		    0) {
			return et_fail(reterr, ET_EINTEGRITY, "record %u of tape %s", m->seq,
				       m->source->name);
		}
		et_buffer_add(ret, v.data, v.size);
		m->offset += head.size;
	}
	return 0;
}

static int add_part(struct maker *m, struct et_buffer *ret, struct et_error *reterr)
{
	uint8_t hashes[2 * ET_MERKLE_DEPTH_MAX * ET_TAPE_HASH_SIZE];
	uint8_t header[ET_TAPE_HEADER_SIZE];
	uint8_t trailer[ET_TAPE_TRAILER_SIZE];
	uint32_t count;

	int rc = maker_find(m, &count, reterr);
	rc = rc < 0 ? rc
		    : m->source->read(m->source->arg, m->source->size - sizeof(trailer), trailer,
				      sizeof(trailer), reterr);
	if (rc < 0) {
		return rc;
	}
	const size_t size = et_merkle_range_size(m->seal.records, m->first, count);
	et_merkle_range_proof(m->leaves, m->seal.records, m->first, count, hashes);
	et_tape_header_format(&m->header, header);
	et_buffer_add(ret, part_magic, sizeof(part_magic));
	et_buffer_add8(ret, PROOF_VERSION);
	et_buffer_add8(ret, m->span->leaves ? PROOF_LEAVES : 0);
	et_buffer_add16(ret, (uint16_t)size);
	et_buffer_add32(ret, m->first);
	et_buffer_add32(ret, count);
	et_buffer_add(ret, header, sizeof(header));
	et_buffer_add(ret, trailer, sizeof(trailer));
	et_buffer_add(ret, hashes, size * ET_TAPE_HASH_SIZE);
	if (m->span->leaves) {
		et_buffer_add(ret, m->leaves + (size_t)m->first * ET_TAPE_HASH_SIZE,
			      (size_t)count * ET_TAPE_HASH_SIZE);
	} else {
		rc = add_records(m, count, ret, reterr);
	}
	return rc == 0 && ret->failed ? et_fail(reterr, -ENOMEM, "proof") : rc;
}

int et_tape_prove(const struct et_tape_source *source, const struct et_proof_span *span,
		  const struct et_tape_expect *expect, struct et_buffer *ret,
		  struct et_error *reterr)
{
	struct maker m = { .source = source, .span = span };

	et_assert(span->from_ms < span->to_ms);
	int rc = maker_begin(&m, expect, reterr);
	rc = rc < 0 ? rc : add_part(&m, ret, reterr);
	et_tape_window_release(&m.window);
	free(m.leaves);
	return rc;
}

/* ---- Checking one -----------------------------------------------------------------------------
 */

static int bad(struct et_error *reterr, const char *text)
{
	return et_fail_plain(reterr, ET_EINTEGRITY, "the proof is not sound: %s", text);
}

/* The leaves of the records that stand in the part. */
static int records_read(struct et_view bytes, struct et_proof *p, uint8_t *ret_leaves,
			struct et_error *reterr)
{
	uint32_t last_ms = 0;
	size_t at = p->size_bytes;

	for (uint32_t i = 0; i < p->count; i++) {
		struct et_tape_record_head head;
		struct et_view v = { bytes.data + at, bytes.size - at };
		if (et_tape_record_check(p->header.hash, p->first + i, v, &head) < 0 ||
		    head.t_ms < last_ms) {
			return bad(reterr, "a record");
		}
		v.size = head.size;
		et_tape_leaf(v, ret_leaves + (size_t)i * ET_TAPE_HASH_SIZE);
		p->from_ms = i == 0 ? head.t_ms : p->from_ms;
		p->to_ms = head.t_ms;
		last_ms = head.t_ms;
		at += head.size;
	}
	p->size_bytes = at;
	return 0;
}

/* Records or leaves, up to the root. `hashes` are the ones outside. */
static int check_root(struct et_view bytes, const uint8_t *hashes, struct et_proof *p,
		      struct et_error *reterr)
{
	const size_t size = (size_t)p->count * ET_TAPE_HASH_SIZE;
	const size_t record_min = ET_TAPE_RECORD_HEAD_SIZE + ET_TAPE_TAG_SIZE + 1;
	const size_t left = bytes.size - p->size_bytes;
	uint8_t root[ET_TAPE_HASH_SIZE];

	if (p->leaves ? left < size : left / record_min < p->count) {
		return bad(reterr, "it is cut off");
	}
	uint8_t *leaves = malloc(size);
	if (leaves == NULL) {
		return et_fail(reterr, -ENOMEM, "proof");
	}
	int rc = 0;
	if (p->leaves) {
		memcpy(leaves, bytes.data + p->size_bytes, size);
		p->size_bytes += size;
	} else {
		rc = records_read(bytes, p, leaves, reterr);
	}
	if (rc == 0) {
		et_merkle_range_root(p->seal.records, p->first, leaves, p->count, hashes, root);
		if (memcmp(root, p->seal.root, sizeof(root)) != 0) {
			rc = bad(reterr, "its records are not those under the signed root");
		}
	}
	free(leaves);
	return rc;
}

int et_tape_proof_check(struct et_view bytes, const struct et_tape_expect *expect,
			struct et_proof *ret, struct et_error *reterr)
{
	const uint8_t *b = bytes.data;
	struct et_proof p = { .count = 0 };

	if (bytes.size < HASHES_AT || memcmp(b, part_magic, sizeof(part_magic)) != 0) {
		return bad(reterr, "there is no part where one is to be");
	}
	if (b[4] != PROOF_VERSION || (b[5] & ~PROOF_LEAVES) != 0) {
		return et_fail(reterr, ET_EVERSION, "proof of version %u, flags 0x%x", b[4], b[5]);
	}
	p.leaves = (b[5] & PROOF_LEAVES) != 0;
	p.first = et_get32(b + 8);
	p.count = et_get32(b + 12);
	if (et_tape_header_parse(b + HEADER_AT, &p.header, NULL) < 0) {
		return bad(reterr, "the tape's header");
	}
	/* The object's length is under the trailer's CRC; here there is no object to compare. */
	int rc = et_tape_trailer_parse(b + TRAILER_AT, p.header.hash,
				       et_get64(b + TRAILER_AT + 168), &p.seal, NULL);
	if (rc < 0) {
		return rc == -ENOMEM ? et_fail(reterr, rc, "proof")
				     : bad(reterr, "the tape's trailer or its signature");
	}
	if (p.count == 0 || p.first >= p.seal.records || p.count > p.seal.records - p.first) {
		return bad(reterr, "the numbers of its records");
	}
	const size_t hashes = et_merkle_range_size(p.seal.records, p.first, p.count);
	if (et_get16(b + 6) != hashes || bytes.size - HASHES_AT < hashes * ET_TAPE_HASH_SIZE) {
		return bad(reterr, "the hashes beside its records");
	}
	p.size_bytes = HASHES_AT + hashes * ET_TAPE_HASH_SIZE;
	rc = check_root(bytes, b + HASHES_AT, &p, reterr);
	rc = rc < 0 ? rc : check_expected(&p.header, &p.seal, expect, reterr);
	if (rc == 0) {
		*ret = p;
	}
	return rc;
}

/* ---- A file of parts --------------------------------------------------------------------------
 */

void et_proof_head(uint32_t parts, uint8_t ret[ET_PROOF_FILE_HEAD_SIZE])
{
	memset(ret, 0, ET_PROOF_FILE_HEAD_SIZE);
	memcpy(ret, file_magic, sizeof(file_magic));
	ret[4] = PROOF_VERSION;
	et_put32(ret + 8, parts);
	et_put32(ret + 12, et_crc32c(0, ret, 12));
}

int et_proof_head_parse(struct et_view bytes, uint32_t *ret, struct et_error *reterr)
{
	static const uint8_t zeros[3];

	if (bytes.size < ET_PROOF_FILE_HEAD_SIZE ||
	    memcmp(bytes.data, file_magic, sizeof(file_magic)) != 0) {
		return et_fail_plain(reterr, ET_EMALFORMED, "this is no proof");
	}
	if (et_get32(bytes.data + 12) != et_crc32c(0, bytes.data, 12)) {
		return bad(reterr, "its head");
	}
	if (bytes.data[4] != PROOF_VERSION || memcmp(bytes.data + 5, zeros, sizeof(zeros)) != 0) {
		return et_fail(reterr, ET_EVERSION, "proof of version %u", bytes.data[4]);
	}
	*ret = et_get32(bytes.data + 8);
	return 0;
}
