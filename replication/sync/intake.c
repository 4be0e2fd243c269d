#include "replication/sync/intake_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "node/crypto/merkle.h"
#include "node/tape/tape.h"

#define RECORD_MIN (ET_TAPE_RECORD_HEAD_SIZE + ET_TAPE_TAG_SIZE)

int et_intake_init(struct et_intake *in, const struct et_expect *expect, struct et_error *reterr)
{
	memset(in, 0, sizeof(*in));
	if (expect->records > ET_WIRE_RECORDS_MAX) {
		return et_fail(reterr, ET_ELIMIT, "a segment of %" PRIu64 " records",
			       expect->records);
	}
	if (expect->size_bytes < ET_TAPE_HEADER_SIZE + expect->records * RECORD_MIN ||
	    expect->size_bytes > INT64_MAX) {
		return et_fail(reterr, ET_EMALFORMED,
			       "a segment of %" PRIu64 " records in %" PRIu64 " bytes",
			       expect->records, expect->size_bytes);
	}
	in->expect = *expect;
	return 0;
}

void et_intake_release(struct et_intake *in)
{
	free(in->leaves);
	in->leaves = NULL;
	et_buffer_release(&in->carry);
}

static int intake_check_root(struct et_intake *in, struct et_error *reterr)
{
	uint8_t root[32];

	et_merkle_root_of(in->leaves, in->leaves_have, root);
	if (memcmp(root, in->expect.root, sizeof(root)) != 0) {
		in->leaves_have = 0;
		return et_fail_plain(reterr, ET_EINTEGRITY,
				     "its leaf hashes have another root than the catalogue's");
	}
	in->state = ET_INTAKE_BODY;
	return 0;
}

int et_intake_leaves(struct et_intake *in, const struct et_wire_leaves *leaves,
		     struct et_error *reterr)
{
	if (in->state != ET_INTAKE_LEAVES) {
		return et_fail(reterr, ET_EMALFORMED, "leaf hashes come twice");
	}
	if (leaves->total != in->expect.records) {
		return et_fail_plain(reterr, ET_EINTEGRITY,
				     "it has %" PRIu32 " records, the catalogue says %" PRIu64,
				     leaves->total, in->expect.records);
	}
	if (leaves->first != in->leaves_have || (leaves->count == 0 && leaves->total != 0)) {
		return et_fail(reterr, ET_EMALFORMED, "leaf hashes %" PRIu32 " after %" PRIu32,
			       leaves->first, in->leaves_have);
	}
	if (in->leaves == NULL) {
		in->leaves = malloc(leaves->total > 0 ? (size_t)leaves->total * 32 : 1);
		if (in->leaves == NULL) {
			return et_fail(reterr, -ENOMEM, "leaf hashes");
		}
	}
	/* The parser promises first + count <= total. */
	et_assert(leaves->count <= leaves->total - leaves->first);
	memcpy(in->leaves + (size_t)in->leaves_have * 32, leaves->hashes,
	       (size_t)leaves->count * 32);
	in->leaves_have += leaves->count;
	return in->leaves_have < leaves->total ? 0 : intake_check_root(in, reterr);
}

/* The size of the unit (header or record) that begins with `bytes`, or 0: more is needed to know.
 */
static int64_t intake_unit_size(const struct et_intake *in, struct et_view bytes,
				struct et_error *reterr)
{
	struct et_tape_record_head head;

	if (!in->has_header) {
		return ET_TAPE_HEADER_SIZE;
	}
	if (bytes.size < ET_TAPE_RECORD_HEAD_SIZE) {
		return 0;
	}
	bytes.size = ET_TAPE_RECORD_HEAD_SIZE; /* The hash judges the rest; this is for its size. */
	int rc = et_tape_record_check(in->header_hash, in->record, bytes, &head);
	if ((rc != 0 && rc != ET_ETRUNCATED) || head.size < RECORD_MIN ||
	    head.size > ET_TAPE_RECORD_MAX) {
		return et_fail_plain(reterr, ET_EINTEGRITY,
				     "record %" PRIu32 " at byte %" PRIu64 " is not one",
				     in->record, in->good);
	}
	return (int64_t)head.size;
}

static int intake_header(struct et_intake *in, const uint8_t *bytes, struct et_error *reterr)
{
	const struct et_expect *expect = &in->expect;
	struct et_tape_header header;

	int rc = et_tape_header_parse(bytes, &header, reterr);
	if (rc < 0) {
		return rc;
	}
	if (memcmp(header.recording, expect->recording, 16) != 0 ||
	    header.generation != expect->generation || header.segment != expect->segment ||
	    (expect->has_header_hash &&
	     memcmp(header.hash, expect->header_hash, sizeof(header.hash)) != 0)) {
		return et_fail_plain(reterr, ET_EINTEGRITY, "its header is that of another tape");
	}
	memcpy(in->header_hash, header.hash, sizeof(in->header_hash));
	in->has_header = true;
	return 0;
}

/* A whole unit of `size` bytes at in->good. */
static int intake_unit(struct et_intake *in, const uint8_t *bytes, size_t size,
		       struct et_error *reterr)
{
	if (in->has_header) {
		uint8_t leaf[32];
		et_merkle_leaf(bytes, size, leaf);
		if (memcmp(leaf, in->leaves + (size_t)in->record * 32, sizeof(leaf)) != 0) {
			return et_fail_plain(reterr, ET_EINTEGRITY,
					     "record %" PRIu32 " at byte %" PRIu64
					     " is not what was recorded",
					     in->record, in->good);
		}
		in->record++;
	} else {
		int rc = intake_header(in, bytes, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	in->good += size;
	if (in->record == in->expect.records) {
		in->state = ET_INTAKE_FOOTER;
	}
	return 0;
}

/* Fill the carry up to one whole unit, as far as `data` goes. *used: bytes taken. */
static int intake_carry(struct et_intake *in, const uint8_t *data, size_t size, size_t *used,
			struct et_error *reterr)
{
	*used = 0;
	for (;;) {
		struct et_view have = { in->carry.data, in->carry.size };
		int64_t unit = intake_unit_size(in, have, reterr);
		if (unit < 0) {
			return (int)unit;
		}
		size_t want = unit > 0 ? (size_t)unit : ET_TAPE_RECORD_HEAD_SIZE;
		if (unit > 0 && in->carry.size == want) {
			int rc = intake_unit(in, in->carry.data, want, reterr);
			in->carry.size = 0;
			return rc;
		}
		size_t part = want - in->carry.size;
		part = part < size - *used ? part : size - *used;
		if (part == 0) {
			return 0;
		}
		et_buffer_add(&in->carry, data + *used, part);
		if (in->carry.failed) {
			return et_fail(reterr, -ENOMEM, "record");
		}
		*used += part;
	}
}

static int intake_bytes(struct et_intake *in, const uint8_t *data, size_t size,
			struct et_error *reterr)
{
	while (size > 0 && in->state == ET_INTAKE_BODY) {
		struct et_view rest = { data, size };
		int64_t unit = in->carry.size > 0 ? 0 : intake_unit_size(in, rest, reterr);
		size_t used = 0;
		int rc = 0;
		if (unit < 0) {
			return (int)unit;
		}
		if (in->good + (uint64_t)unit > in->expect.size_bytes) {
			return et_fail_plain(reterr, ET_EINTEGRITY,
					     "record %" PRIu32 " goes on behind the end",
					     in->record);
		}
		if (unit > 0 && (size_t)unit <= size) { /* It lies here as a whole. */
			used = (size_t)unit;
			rc = intake_unit(in, data, used, reterr);
		} else {
			rc = intake_carry(in, data, size, &used, reterr);
		}
		if (rc < 0) {
			return rc;
		}
		in->next += used;
		data += used;
		size -= used;
	}
	in->next += size; /* footer */
	return 0;
}

int et_intake_data(struct et_intake *in, uint64_t offset, const uint8_t *data, size_t size,
		   struct et_error *reterr)
{
	if (in->state != ET_INTAKE_BODY && in->state != ET_INTAKE_FOOTER) {
		return et_fail(reterr, ET_EMALFORMED, "data before its leaf hashes");
	}
	if (offset != in->next || size > in->expect.size_bytes - in->next) {
		return et_fail(reterr, ET_EMALFORMED,
			       "%zu bytes at %" PRIu64 ", want %" PRIu64 " of %" PRIu64, size,
			       offset, in->next, in->expect.size_bytes);
	}
	return intake_bytes(in, data, size, reterr);
}

void et_intake_rewind(struct et_intake *in)
{
	in->next = in->good;
	in->carry.size = 0;
	in->carry.failed = false;
	if (in->state == ET_INTAKE_LEAVES) {
		in->leaves_have = 0;
	} else if (in->state == ET_INTAKE_DONE) {
		in->state = ET_INTAKE_FOOTER;
	}
}

int et_intake_eof(struct et_intake *in, const struct et_wire_eof *eof, struct et_error *reterr)
{
	if (eof->size_bytes != in->expect.size_bytes ||
	    memcmp(eof->root, in->expect.root, sizeof(eof->root)) != 0) {
		return et_fail_plain(reterr, ET_EINTEGRITY, "it holds another segment");
	}
	if (in->state != ET_INTAKE_FOOTER || in->next != in->expect.size_bytes) {
		return et_fail_plain(reterr, ET_ETRUNCATED,
				     "it ended at byte %" PRIu64 " of %" PRIu64, in->next,
				     in->expect.size_bytes);
	}
	in->state = ET_INTAKE_DONE;
	return 0;
}
