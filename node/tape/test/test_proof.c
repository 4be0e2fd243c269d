#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "node/crypto/merkle.h"
#include "node/tape/format_internal.h"
#include "node/tape/proof.h"
#include "node/tape/test/tape_fixture.h"

enum { RECORDS = 12 };

static struct et_buffer prove(struct fixture *f, uint32_t from_ms, uint32_t to_ms, bool leaves)
{
	const struct et_proof_span span = { .from_ms = from_ms, .to_ms = to_ms, .leaves = leaves };
	struct et_tape_source source;
	struct et_buffer b = { 0 };

	assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
	assert_int_equal(et_tape_prove(&source, &span, NULL, &b, NULL), 0);
	et_tape_source_close(&source);
	return b;
}

static int check(const struct et_buffer *b, struct et_proof *ret)
{
	return et_tape_proof_check((struct et_view){ b->data, b->size }, NULL, ret, NULL);
}

/* Every excerpt of trees of every shape up to 20 leaves: its hashes make the root, and no other
 * leaf in its place does. */
static void every_range_of_every_tree_is_proved(void **state)
{
	uint8_t leaves[20][ET_SHA256_SIZE];
	uint8_t hashes[64 * ET_SHA256_SIZE];
	uint8_t root[ET_SHA256_SIZE];
	uint8_t found[ET_SHA256_SIZE];

	(void)state;
	for (uint8_t i = 0; i < 20; i++) {
		et_merkle_leaf(&i, 1, leaves[i]);
	}
	for (uint64_t count = 1; count <= 20; count++) {
		et_merkle_root_of(leaves[0], count, root);
		for (uint64_t first = 0; first < count; first++) {
			for (uint64_t n = 1; n <= count - first; n++) {
				assert_true(et_merkle_range_size(count, first, n) <= 64);
				et_merkle_range_proof(leaves[0], count, first, n, hashes);
				et_merkle_range_root(count, first, leaves[first], n, hashes, found);
				assert_memory_equal(found, root, sizeof(root));
				leaves[first + n - 1][7] ^= 1;
				et_merkle_range_root(count, first, leaves[first], n, hashes, found);
				assert_memory_not_equal(found, root, sizeof(root));
				leaves[first + n - 1][7] ^= 1;
			}
		}
	}
}

/* Records begin at 0, 1000, ... ms. */
static void a_span_has_the_records_that_it_touches(void **state)
{
	static const struct {
		uint32_t from_ms, to_ms, first, count;
	} spans[] = {
		{ 0, UINT32_MAX, 0, RECORDS },
		{ 0, 1, 0, 1 },
		{ 0, 1000, 0, 1 },
		{ 0, 1001, 0, 2 },
		{ 3500, 5500, 3, 3 },
		{ 3000, 5000, 3, 2 },
		{ 11000, UINT32_MAX, 11, 1 },
		{ 11999, 99999, 11, 1 },
	};
	struct fixture *f = *state;
	const struct et_tape_seal seal = make_tape(f, RECORDS, true);

	for (size_t i = 0; i < ET_ARRAY_SIZE(spans); i++) {
		for (int leaves = 0; leaves < 2; leaves++) {
			struct et_proof p;
			struct et_buffer b =
				prove(f, spans[i].from_ms, spans[i].to_ms, leaves != 0);
			assert_int_equal(check(&b, &p), 0);
			assert_int_equal(p.first, spans[i].first);
			assert_int_equal(p.count, spans[i].count);
			assert_int_equal(p.size_bytes, b.size);
			assert_int_equal(p.from_ms, leaves != 0 ? 0 : spans[i].first * 1000);
			assert_memory_equal(p.seal.root, seal.root, 32);
			assert_memory_equal(p.seal.signer_public, f->public_key, 32);
			assert_memory_equal(p.header.hash, f->header.hash, 32);
			et_buffer_release(&b);
		}
	}
}

/* A META and a MEDIA record of one time belong together. */
static void records_of_one_time_come_together(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	static const uint32_t times[] = { 0, 0, 0, 500, 900, 900, 2000 };
	struct et_tape_seal seal;
	struct et_proof p;

	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
	for (size_t i = 0; i < ET_ARRAY_SIZE(times); i++) {
		assert_int_equal(et_tape_append(t, ET_TAPE_MEDIA, times[i], "x", 1, NULL), 0);
	}
	assert_int_equal(et_tape_finish(t, &f->signer, &seal, NULL), 0);
	struct et_buffer b = prove(f, 0, 501, false);
	assert_int_equal(check(&b, &p), 0);
	assert_int_equal(p.first, 0);
	assert_int_equal(p.count, 4);
	et_buffer_release(&b);
	b = prove(f, 1000, UINT32_MAX, false);
	assert_int_equal(check(&b, &p), 0);
	assert_int_equal(p.first, 4);
	assert_int_equal(p.count, 3);
	et_buffer_release(&b);
}

/* 2^32 ms are 49 days: a record near them is found as any other. */
static void times_near_their_end_do_not_wrap(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	struct et_tape_seal seal;
	struct et_proof p;

	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
	assert_int_equal(et_tape_append(t, ET_TAPE_MEDIA, 0, "x", 1, NULL), 0);
	assert_int_equal(et_tape_append(t, ET_TAPE_MEDIA, UINT32_MAX - 10, "x", 1, NULL), 0);
	assert_int_equal(et_tape_finish(t, &f->signer, &seal, NULL), 0);
	struct et_buffer b = prove(f, UINT32_MAX - 9, UINT32_MAX, false);
	assert_int_equal(check(&b, &p), 0);
	assert_int_equal(p.first, 1);
	assert_int_equal(p.count, 1);
	et_buffer_release(&b);
}

static void any_changed_bit_and_any_cut_is_refused(void **state)
{
	struct fixture *f = *state;
	struct et_proof p;

	(void)make_tape(f, RECORDS, true);
	for (int leaves = 0; leaves < 2; leaves++) {
		struct et_buffer b = prove(f, 4000, 7000, leaves != 0);
		assert_int_equal(check(&b, &p), 0);
		for (size_t bit = 0; bit < b.size * 8; bit++) {
			b.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
			assert_true(check(&b, &p) < 0);
			b.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
		}
		const size_t whole = b.size;
		for (b.size = 0; b.size < whole; b.size++) {
			assert_true(check(&b, &p) < 0);
		}
		et_buffer_release(&b);
	}
}

static void what_is_expected_is_compared(void **state)
{
	static const uint8_t other[32] = { 1 };
	struct fixture *f = *state;
	struct et_proof p;
	const struct et_tape_seal seal = make_tape(f, RECORDS, true);
	struct et_buffer b = prove(f, 0, 1, false);
	const struct et_view v = { b.data, b.size };
	const struct et_tape_expect right = { .recording = f->header.recording,
					      .generation = 1,
					      .segment = 2,
					      .header_hash = f->header.hash,
					      .root = seal.root,
					      .seal_hash = seal.seal_hash,
					      .signer_public = f->public_key };
	const struct et_tape_expect wrong[] = {
		{ .recording = other },	    { .generation = 2 }, { .segment = 1 },
		{ .header_hash = other },   { .root = other },	 { .seal_hash = other },
		{ .signer_public = other },
	};

	assert_int_equal(et_tape_proof_check(v, &right, &p, NULL), 0);
	for (size_t i = 0; i < ET_ARRAY_SIZE(wrong); i++) {
		assert_int_equal(et_tape_proof_check(v, &wrong[i], &p, NULL), ET_EINTEGRITY);
	}
	et_buffer_release(&b);
}

static void a_damaged_open_or_short_tape_makes_no_proof(void **state)
{
	const struct et_proof_span span = { .from_ms = 4000, .to_ms = 6000 };
	const struct et_proof_span late = { .from_ms = 14000, .to_ms = 16000 };
	struct fixture *f = *state;
	struct et_tape_source source;
	struct et_buffer b = { 0 };

	(void)make_tape(f, RECORDS, true);
	struct et_buffer tape = load(f->path);
	const struct et_view view = { tape.data, tape.size };
	source = et_tape_source_memory(&view);
	assert_int_equal(et_tape_prove(&source, &late, NULL, &b, NULL), ET_ENOTFOUND);
	for (size_t at = 0; at < tape.size; at++) { /* It may be elsewhere; then the proof holds. */
		struct et_proof p;
		tape.data[at] ^= 2;
		b.size = 0;
		int rc = et_tape_prove(&source, &span, NULL, &b, NULL);
		assert_true(rc < 0 || check(&b, &p) == 0);
		tape.data[at] ^= 2;
	}
	(void)make_tape(f, RECORDS, false);
	assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
	assert_int_equal(et_tape_prove(&source, &span, NULL, &b, NULL), ET_ETRUNCATED);
	et_tape_source_close(&source);
	(void)make_tape(f, 0, true);
	assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
	assert_int_equal(et_tape_prove(&source, &span, NULL, &b, NULL), ET_ENOTFOUND);
	et_tape_source_close(&source);
	et_buffer_release(&tape);
	et_buffer_release(&b);
}

/* A tape of more than 1 GiB that nobody wrote: heads, and zeros for the rest of its records. */
struct long_tape {
	uint8_t header[ET_TAPE_HEADER_SIZE];
	struct et_tape_seal seal;
	struct et_buffer footer;
};

enum { LONG_RECORD = ET_TAPE_RECORD_HEAD_SIZE + ET_TAPE_PLAIN_MAX + ET_TAPE_TAG_SIZE };

/* Those of the `n` bytes at `at` that lie in data. */
static void put(uint8_t *data, uint64_t offset, size_t size, uint64_t at, const uint8_t *bytes,
		size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (at + i >= offset && at + i - offset < size) {
			data[at + i - offset] = bytes[i];
		}
	}
}

static int long_read(void *arg, uint64_t offset, void *data, size_t size, struct et_error *reterr)
{
	const struct long_tape *t = arg;
	uint64_t seq =
		offset < ET_TAPE_HEADER_SIZE ? 0 : (offset - ET_TAPE_HEADER_SIZE) / LONG_RECORD;

	(void)reterr;
	memset(data, 0, size);
	put(data, offset, size, 0, t->header, sizeof(t->header));
	put(data, offset, size, t->seal.body_bytes, t->footer.data, t->footer.size);
	for (; seq < t->seal.records; seq++) {
		const uint64_t at = ET_TAPE_HEADER_SIZE + seq * LONG_RECORD;
		uint8_t head[ET_TAPE_RECORD_HEAD_SIZE] = { 0xE7, 0xC4, ET_TAPE_MEDIA };
		if (at >= offset + size) {
			break;
		}
		et_put32(head + 4, ET_TAPE_PLAIN_MAX + ET_TAPE_TAG_SIZE);
		et_put32(head + 8, (uint32_t)seq);
		et_put32(head + 12, (uint32_t)seq);
		put(data, offset, size, at, head, sizeof(head));
	}
	return 0;
}

static void leaves_of_a_long_tape_are_not_too_long(void **state)
{
	enum { COUNT = 8192 };
	static uint8_t leaves[COUNT][ET_TAPE_HASH_SIZE];
	struct fixture *f = *state;
	struct long_tape t = { .seal = { .records = COUNT,
					 .body_bytes = ET_TAPE_HEADER_SIZE +
						       (uint64_t)COUNT * LONG_RECORD,
					 .last_ms = COUNT - 1 } };
	struct et_proof_span span = { .from_ms = 0, .to_ms = UINT32_MAX };
	struct et_buffer b = { 0 };
	struct et_proof p;

	assert_true(t.seal.body_bytes > ET_PROOF_BYTES_MAX);
	et_tape_header_format(&f->header, t.header);
	et_merkle_root_of(leaves[0], COUNT, t.seal.root);
	assert_int_equal(et_tape_footer_make(t.header + 128, leaves[0], &f->signer, &t.seal,
					     &t.footer, NULL),
			 0);
	const struct et_tape_source source = { .read = long_read,
					       .arg = &t,
					       .size = t.seal.size_bytes };
	assert_int_equal(et_tape_prove(&source, &span, NULL, &b, NULL), ET_ELIMIT);
	b.size = 0;
	span.leaves = true;
	assert_int_equal(et_tape_prove(&source, &span, NULL, &b, NULL), 0);
	assert_int_equal(check(&b, &p), 0);
	assert_int_equal(p.count, COUNT);
	et_buffer_release(&b);
	et_buffer_release(&t.footer);
}

static void the_head_of_a_file_of_parts(void **state)
{
	uint8_t head[ET_PROOF_FILE_HEAD_SIZE];
	uint32_t parts = 0;

	(void)state;
	et_proof_head(77, head);
	const struct et_view v = { head, sizeof(head) };
	assert_int_equal(et_proof_head_parse(v, &parts, NULL), 0);
	assert_int_equal(parts, 77);
	for (size_t bit = 0; bit < sizeof(head) * 8; bit++) {
		head[bit / 8] ^= (uint8_t)(1U << bit % 8);
		assert_true(et_proof_head_parse(v, &parts, NULL) < 0);
		head[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	for (size_t at = 5; at < 8; at++) { /* What a later version may say there. */
		head[at] = 1;
		et_put32(head + 12, et_crc32c(0, head, 12));
		assert_int_equal(et_proof_head_parse(v, &parts, NULL), ET_EVERSION);
		head[at] = 0;
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_range_of_every_tree_is_proved),
		TEST(a_span_has_the_records_that_it_touches),
		TEST(records_of_one_time_come_together),
		TEST(times_near_their_end_do_not_wrap),
		TEST(any_changed_bit_and_any_cut_is_refused),
		TEST(what_is_expected_is_compared),
		TEST(a_damaged_open_or_short_tape_makes_no_proof),
		TEST(leaves_of_a_long_tape_are_not_too_long),
		cmocka_unit_test(the_head_of_a_file_of_parts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
