/* The receiver's judgement under a hostile source: a tape of four records is expected, and the
 * input is a list of what the source does.
 *
 *   'l' n m  leaf hashes n..n+m of the true ones     'L' ...  32 bytes as a leaf hash
 *   'd' n    the next n true bytes                   'D' n ...  n bytes as data
 *   'e'      the end                                 'r'      the connection broke: rewind
 *
 * Whatever it does: when the intake says DONE, every byte before the footer was the true one. */
#include <stdlib.h>

#include "node/crypto/merkle.h"
#include "node/tape/tape.h"
#include "replication/sync/intake_internal.h"

#define RECORDS 4
#define CIPHER 40
#define RECORD (ET_TAPE_RECORD_HEAD_SIZE + CIPHER + ET_TAPE_TAG_SIZE)
#define FOOTER 64
#define BODY (ET_TAPE_HEADER_SIZE + RECORDS * RECORD)
#define SIZE (BODY + FOOTER)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t tape[SIZE];
static uint8_t leaves[RECORDS * 32];
static struct et_expect expect;

/* A tape by its format (ops/doc/formats/tape.md), with ciphertext that nobody can open. */
static void tape_make(void)
{
	memcpy(tape, "EVTM", 4);
	tape[4] = ET_TAPE_VERSION;
	tape[5] = ET_TAPE_SUITE;
	memset(tape + 8, 0x42, 16);
	et_put32(tape + 24, 1);
	et_put32(tape + 28, 1);
	et_sha256(tape, ET_TAPE_HEADER_SIZE - 32, tape + ET_TAPE_HEADER_SIZE - 32);
	for (uint32_t i = 0; i < RECORDS; i++) {
		uint8_t *r = tape + ET_TAPE_HEADER_SIZE + (size_t)i * RECORD;
		et_put16(r, 0xE7C4);
		r[2] = ET_TAPE_MEDIA;
		et_put32(r + 4, CIPHER + ET_TAPE_TAG_SIZE);
		et_put32(r + 8, i);
		memset(r + ET_TAPE_RECORD_HEAD_SIZE, (int)i, CIPHER + ET_TAPE_TAG_SIZE);
		et_merkle_leaf(r, RECORD, leaves + (size_t)i * 32);
	}
	memset(&expect, 0, sizeof(expect));
	memset(expect.recording, 0x42, 16);
	expect.generation = expect.segment = 1;
	et_merkle_root_of(leaves, RECORDS, expect.root);
	expect.records = RECORDS;
	expect.size_bytes = SIZE;
}

static int step_leaves(struct et_intake *in, struct et_reader *r, bool mine)
{
	struct et_wire_leaves l = { .total = RECORDS };
	if (mine) {
		l.first = in->leaves_have;
		l.count = 1;
		l.hashes = et_read_bytes(r, 32);
		if (l.first >= RECORDS) {
			return 0;
		}
	} else {
		l.first = et_read8(r) % (RECORDS + 1);
		l.count = et_read8(r) % (RECORDS + 1 - l.first);
		l.hashes = leaves + (size_t)l.first * 32;
	}
	return l.hashes != NULL ? et_intake_leaves(in, &l, NULL) : 0;
}

static int step_data(struct et_intake *in, struct et_reader *r, bool mine)
{
	size_t n = et_read8(r);
	size_t left = SIZE - (size_t)in->next;
	const uint8_t *bytes = tape + in->next;

	n = n < left || mine ? n : left;
	if (mine) {
		bytes = et_read_bytes(r, n);
	}
	return bytes != NULL && n > 0 ? et_intake_data(in, in->next, bytes, n, NULL) : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_reader r = et_reader_of(data, size);
	struct et_intake in;
	uint8_t file[SIZE] = { 0 };

	if (tape[0] == 0) {
		tape_make();
	}
	if (et_intake_init(&in, &expect, NULL) < 0) {
		abort();
	}
	while (et_reader_left(&r) > 0 && !r.failed) {
		uint8_t what = et_read8(&r);
		uint64_t before = in.next;
		const uint8_t *from = r.p + 1;
		int rc = 0;
		if (what == 'l' || what == 'L') {
			rc = step_leaves(&in, &r, what == 'L');
		} else if (what == 'd' || what == 'D') {
			rc = step_data(&in, &r, what == 'D');
			size_t n = rc == 0 ? (size_t)(in.next - before) : 0;
			memcpy(file + before, what == 'D' ? from : tape + before, n);
		} else if (what == 'e') {
			struct et_wire_eof eof = { .size_bytes = SIZE };
			memcpy(eof.root, expect.root, 32);
			rc = et_intake_eof(&in, &eof, NULL);
		}
		if (rc < 0 || what == 'r') {
			et_intake_rewind(&in);
		}
		et_assert(in.good <= in.next && in.next <= SIZE && in.record <= RECORDS);
		et_assert(in.good <= BODY);
		et_assert(memcmp(file, tape, in.good) == 0);
		if (in.state == ET_INTAKE_DONE) {
			et_assert(in.good == BODY && in.record == RECORDS);
			break;
		}
	}
	et_intake_release(&in);
	return 0;
}
