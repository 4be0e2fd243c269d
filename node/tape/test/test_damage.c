#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/stat.h>

#include "node/crypto/hash.h"
#include "node/crypto/merkle.h"
#include "node/tape/format_internal.h"
#include "node/tape/test/tape_fixture.h"

enum { RECORDS = 12 };

/* Where record n of a test tape begins; [RECORDS] is the end of the body. */
static void record_offsets(uint64_t ret[RECORDS + 1])
{
	uint8_t plain[128];
	uint64_t offset = ET_TAPE_HEADER_SIZE;

	for (uint32_t seq = 0; seq < RECORDS; seq++) {
		ret[seq] = offset;
		offset += ET_TAPE_RECORD_HEAD_SIZE + content_of(seq, plain) + ET_TAPE_TAG_SIZE;
	}
	ret[RECORDS] = offset;
}

/* How many records are whole in the first `size` bytes. */
static uint32_t whole_records(const uint64_t offsets[RECORDS + 1], uint64_t size)
{
	uint32_t n = 0;
	while (n < RECORDS && offsets[n + 1] <= size) {
		n++;
	}
	return n;
}

/* The tape at f->path is recovered to exactly `want` records, verifies then, and reads; recovering
 * it again does nothing. */
static void assert_recovers(struct fixture *f, uint32_t want, const struct et_secret *dek)
{
	struct et_tape_recovery recovery;
	struct et_tape_report report;
	struct et_tape_source source;
	struct et_error e = { 0 };

	assert_int_equal(et_tape_recover(f->path, &f->signer, dek, &recovery, &e), 0);
	assert_false(recovery.was_sealed);
	assert_int_equal(recovery.seal.records, want);
	assert_int_equal(recovery.seal.flags,
			 ET_TAPE_RECOVERED | (dek == NULL ? ET_TAPE_UNVERIFIED : 0));
	assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
	const struct et_tape_expect expect = { .root = recovery.seal.root,
					       .seal_hash = recovery.seal.seal_hash,
					       .signer_public = f->public_key };
	assert_int_equal(et_tape_verify(&source, &expect, &report, &e), 0);
	assert_int_equal(read_all(&source, f->dek), want);
	et_tape_source_close(&source);
	assert_int_equal(et_tape_recover(f->path, &f->signer, dek, &recovery, &e), 0);
	assert_true(recovery.was_sealed);
	assert_int_equal(recovery.seal.records, want);
}

static void every_truncation_recovers_the_whole_records(void **state)
{
	struct fixture *f = *state;
	uint64_t offsets[RECORDS + 1];
	struct et_tape_recovery recovery;

	(void)make_tape(f, RECORDS, true);
	record_offsets(offsets);
	struct et_buffer b = load(f->path);
	for (uint64_t size = 0; size < b.size; size++) {
		store(f->path, b.data, size);
		if (size < ET_TAPE_HEADER_SIZE) {
			assert_int_equal(
				et_tape_recover(f->path, &f->signer, NULL, &recovery, NULL),
				ET_ETRUNCATED);
			continue;
		}
		/* With and without the key, in turn. */
		assert_recovers(f, whole_records(offsets, size), size % 2 == 0 ? f->dek : NULL);
	}
	et_buffer_release(&b);
}

static void every_zero_filled_tail_recovers_the_whole_records(void **state)
{
	struct fixture *f = *state;
	uint64_t offsets[RECORDS + 1];

	(void)make_tape(f, RECORDS, false);
	record_offsets(offsets);
	struct et_buffer b = load(f->path);
	for (uint64_t good = ET_TAPE_HEADER_SIZE; good < b.size; good++) {
		uint8_t held[4096];
		assert_true(b.size - good <= sizeof(held));
		memcpy(held, b.data + good, b.size - good);
		memset(b.data + good, 0, b.size - good);
		store(f->path, b.data, b.size);
		memcpy(b.data + good, held, b.size - good);
		/* The last bytes may have been zeros anyway: then the record is whole. */
		uint64_t reached = good;
		while (reached < b.size && b.data[reached] == 0) {
			reached++;
		}
		assert_recovers(f, whole_records(offsets, reached), NULL);
	}
	et_buffer_release(&b);
}

/* What et_tape_verify() says of the tape with one bit changed. */
static int verify_flipped(struct et_buffer *b, size_t bit, const struct et_tape_expect *expect,
			  struct et_tape_report *report)
{
	const struct et_view view = { b->data, b->size };
	const struct et_tape_source source = et_tape_source_memory(&view);

	b->data[bit / 8] ^= (uint8_t)(1U << bit % 8);
	int rc = et_tape_verify(&source, expect, report, NULL);
	b->data[bit / 8] ^= (uint8_t)(1U << bit % 8);
	return rc;
}

static void every_flipped_bit_is_found_without_a_key(void **state)
{
	struct fixture *f = *state;
	uint64_t offsets[RECORDS + 1];
	struct et_tape_report report;
	uint8_t object_hash[32];

	const struct et_tape_seal seal = make_tape(f, RECORDS, true);
	record_offsets(offsets);
	struct et_buffer b = load(f->path);
	et_sha256(b.data, b.size, object_hash);
	/* Nothing known, the hash of older segments, that of newer ones, in turn. */
	const struct et_tape_expect expects[] = { { .segment = 0 },
						  { .object_hash = object_hash },
						  { .seal_hash = seal.seal_hash } };
	for (size_t i = 0; i < b.size * 8 * ET_ARRAY_SIZE(expects); i++) {
		const size_t bit = i / ET_ARRAY_SIZE(expects);
		int rc = verify_flipped(&b, bit, &expects[i % ET_ARRAY_SIZE(expects)], &report);
		assert_true(rc < 0);
		assert_string_not_equal(report.problem, "");
		/* In a record: its number is told exactly. */
		if (bit / 8 >= ET_TAPE_HEADER_SIZE && bit / 8 < offsets[RECORDS]) {
			uint32_t damaged = whole_records(offsets, bit / 8);
			assert_int_equal(rc, ET_EINTEGRITY);
			assert_int_equal(report.good_records, damaged);
			assert_int_equal(report.bad_offset, offsets[damaged]);
		}
	}
	et_buffer_release(&b);
}

/* Less of it, and more: no other length has the seal hash or the object hash. */
static void every_truncation_and_added_byte_is_found_without_a_key(void **state)
{
	struct fixture *f = *state;
	struct et_tape_report report;
	uint8_t object_hash[32];

	const struct et_tape_seal seal = make_tape(f, RECORDS, true);
	struct et_buffer b = load(f->path);
	const size_t whole = b.size;
	et_sha256(b.data, b.size, object_hash);
	et_buffer_add(&b, b.data, 200); /* what was there stays in front */
	assert_false(b.failed);
	const struct et_tape_expect expects[] = { { .segment = 0 },
						  { .object_hash = object_hash },
						  { .seal_hash = seal.seal_hash } };
	for (size_t size = 0; size <= b.size; size++) {
		const struct et_view view = { b.data, size };
		const struct et_tape_source source = et_tape_source_memory(&view);
		for (size_t i = 0; i < ET_ARRAY_SIZE(expects); i++) {
			int rc = et_tape_verify(&source, &expects[i], &report, NULL);
			assert_true(size == whole ? rc == 0 : rc < 0);
		}
	}
	et_buffer_release(&b);
}

/* ---- A footer that was made anew --------------------------------------------------------------
 */

struct forgery {
	const char *what;
	struct et_tape_signer signer;
	unsigned flags;
	uint32_t left_out; /* records at the end */
};

/* The tape `b` with another footer, that is right in itself. */
static struct et_buffer forge(struct fixture *f, const struct et_buffer *b,
			      const struct et_tape_seal *seal, const struct forgery *g)
{
	uint64_t offsets[RECORDS + 1];
	struct et_buffer made = { 0 };
	struct et_tape_seal other = { .records = seal->records - g->left_out, .flags = g->flags };

	record_offsets(offsets);
	other.body_bytes = offsets[other.records];
	other.last_ms = (uint32_t)(other.records - 1) * 1000;
	const uint8_t *leaves = b->data + seal->body_bytes + ET_TAPE_FOOTER_HEAD_SIZE;
	et_merkle_root_of(leaves, other.records, other.root);
	et_buffer_add(&made, b->data, other.body_bytes);
	assert_int_equal(
		et_tape_footer_make(f->header.hash, leaves, &g->signer, &other, &made, NULL), 0);
	return made;
}

/* Whoever has a key can close a tape, or what a crash left of it, and it proves itself. Which
 * closing the catalogue was told of is known by the seal hash, as by the hash of all bytes. */
static void a_footer_that_was_made_anew_is_refused_where_the_seal_is_known(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(et_secret_freep) struct et_secret *seed = NULL;
	uint8_t public_key[32];
	uint8_t object_hash[32];
	struct et_tape_report report;
	struct et_tape_header header;
	struct et_tape_seal found;

	assert_int_equal(et_ed25519_generate(&seed, public_key, NULL), 0);
	const struct et_tape_seal seal = make_tape(f, RECORDS, true);
	struct et_buffer b = load(f->path);
	et_sha256(b.data, b.size, object_hash);
	const struct et_tape_signer own = { 7, f->seed, seal.signed_us, NULL };
	const struct forgery forgeries[] = {
		{ "another key", { 7, seed, seal.signed_us, NULL }, 0, 0 },
		{ "another node", { 8, f->seed, seal.signed_us, NULL }, 0, 0 },
		{ "another time", { 7, f->seed, seal.signed_us + 1, NULL }, 0, 0 },
		{ "recovered", own, ET_TAPE_RECOVERED, 0 },
		{ "unverified", own, ET_TAPE_RECOVERED | ET_TAPE_UNVERIFIED, 0 },
		{ "a record less", own, 0, 1 },
		{ "all but one less", own, 0, RECORDS - 1 },
	};
	const struct et_tape_expect by_seal = { .seal_hash = seal.seal_hash };
	const struct et_tape_expect by_object = { .object_hash = object_hash };
	const struct forgery same = { "the same", own, 0, 0 };
	struct et_buffer again = forge(f, &b, &seal, &same);
	assert_int_equal(again.size, b.size); /* Ed25519 signs alike: the forger is a good one. */
	assert_memory_equal(again.data, b.data, b.size);
	et_buffer_release(&again);
	for (size_t i = 0; i < ET_ARRAY_SIZE(forgeries); i++) {
		struct et_buffer forged = forge(f, &b, &seal, &forgeries[i]);
		const struct et_view view = { forged.data, forged.size };
		const struct et_tape_source source = et_tape_source_memory(&view);
		assert_int_equal(et_tape_verify(&source, NULL, &report, NULL), 0);
		assert_int_equal(et_tape_verify(&source, &by_object, &report, NULL), ET_EINTEGRITY);
		assert_int_equal(et_tape_verify(&source, &by_seal, &report, NULL), ET_EINTEGRITY);
		assert_string_equal(report.problem, "its footer is not the one expected");
		/* Header and footer alone say so. */
		assert_int_equal(et_tape_footer_read(&source, &header, &found, NULL), 0);
		assert_memory_not_equal(found.seal_hash, seal.seal_hash, 32);
		et_buffer_release(&forged);
	}
	et_buffer_release(&b);
}

/* The seal hash stands for every byte: what it does not cover itself is compared with what it
 * covers. Records of another tape under this header and footer, leaves of another list. */
static void what_stands_between_header_and_trailer_is_bound_to_them(void **state)
{
	struct fixture *f = *state;
	struct et_tape_report report;

	const struct et_tape_seal seal = make_tape(f, RECORDS, true);
	struct et_buffer a = load(f->path);
	(void)make_tape(f, RECORDS, true);
	struct et_buffer b = load(f->path); /* The same content under another salt. */
	const uint64_t parts[] = { ET_TAPE_HEADER_SIZE, seal.body_bytes,
				   seal.size_bytes - ET_TAPE_TRAILER_SIZE };
	const struct et_tape_expect expect = { .seal_hash = seal.seal_hash };
	const struct et_view view = { a.data, a.size };
	const struct et_tape_source source = et_tape_source_memory(&view);
	assert_int_equal(a.size, b.size);
	assert_int_equal(et_tape_verify(&source, &expect, &report, NULL), 0);
	for (size_t i = 0; i + 1 < ET_ARRAY_SIZE(parts); i++) {
		struct et_buffer kept = load(f->path);
		memcpy(kept.data, a.data, a.size);
		memcpy(a.data + parts[i], b.data + parts[i], parts[i + 1] - parts[i]);
		assert_int_equal(et_tape_verify(&source, &expect, &report, NULL), ET_EINTEGRITY);
		memcpy(a.data, kept.data, a.size);
		et_buffer_release(&kept);
	}
	et_buffer_release(&a);
	et_buffer_release(&b);
}

static void every_flipped_byte_of_a_record_is_found_by_the_reader(void **state)
{
	struct fixture *f = *state;
	uint64_t offsets[RECORDS + 1];

	(void)make_tape(f, RECORDS, true);
	record_offsets(offsets);
	struct et_buffer b = load(f->path);
	const struct et_view view = { b.data, b.size };
	const struct et_tape_source source = et_tape_source_memory(&view);
	for (size_t at = ET_TAPE_HEADER_SIZE; at < offsets[RECORDS]; at++) {
		b.data[at] ^= 0x04;
		size_t in_record = at - offsets[whole_records(offsets, at)];
		bool crc = in_record >= 16 && in_record < 20; /* The tag covers all but the CRC. */
		assert_int_equal(read_all(&source, f->dek), crc ? RECORDS : ET_EINTEGRITY);
		b.data[at] ^= 0x04;
	}
	et_buffer_release(&b);
}

static void an_open_tape_with_a_flipped_byte_recovers_what_is_before_it(void **state)
{
	struct fixture *f = *state;
	uint64_t offsets[RECORDS + 1];

	(void)make_tape(f, RECORDS, false);
	record_offsets(offsets);
	struct et_buffer b = load(f->path);
	for (size_t at = ET_TAPE_HEADER_SIZE; at < b.size; at += 3) {
		b.data[at] ^= 0x80;
		store(f->path, b.data, b.size);
		b.data[at] ^= 0x80;
		assert_recovers(f, whole_records(offsets, at), NULL);
	}
	et_buffer_release(&b);
}

/* Bit rot in a tape that was sealed is no torn tape: recovery leaves it for a repair. */
static void a_damaged_sealed_tape_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct et_tape_recovery recovery;

	(void)make_tape(f, RECORDS, true);
	struct et_buffer b = load(f->path);
	b.data[300] ^= 1;
	store(f->path, b.data, b.size);
	assert_int_equal(et_tape_recover(f->path, &f->signer, NULL, &recovery, NULL),
			 ET_EINTEGRITY);
	struct et_buffer after = load(f->path);
	assert_int_equal(after.size, b.size);
	assert_memory_equal(after.data, b.data, b.size);
	et_buffer_release(&after);

	/* Unless surely nobody knows its seal: a power cut that lost the middle. */
	assert_int_equal(et_tape_recover_unpublished(f->path, &f->signer, f->dek, &recovery, NULL),
			 0);
	assert_false(recovery.was_sealed);
	assert_true(recovery.seal.records < RECORDS);
	assert_int_equal(recovery.cut_bytes, b.size - recovery.seal.body_bytes);
	et_buffer_release(&b);
}

/* A record of another tape, or of another place in this one, does not belong here: its CRC and tag
 * are bound to header and number. */
static void records_cannot_be_moved(void **state)
{
	struct fixture *f = *state;
	uint64_t offsets[RECORDS + 1];
	struct et_tape_report report;

	(void)make_tape(f, RECORDS, false);
	record_offsets(offsets);
	struct et_buffer a = load(f->path);
	(void)make_tape(f, RECORDS, false);
	struct et_buffer b = load(f->path); /* The same content under another salt. */
	assert_int_equal(a.size, b.size);

	const struct et_view view = { b.data, b.size };
	const struct et_tape_source source = et_tape_source_memory(&view);
	memcpy(b.data + offsets[4], a.data + offsets[4], offsets[5] - offsets[4]);
	assert_int_equal(et_tape_verify_prefix(&source, NULL, &report, NULL), 0);
	assert_int_equal(report.good_records, 4);

	memcpy(b.data + offsets[2], b.data + offsets[3], offsets[4] - offsets[3]);
	assert_int_equal(et_tape_verify_prefix(&source, NULL, &report, NULL), 0);
	assert_int_equal(report.good_records, 2);
	et_buffer_release(&a);
	et_buffer_release(&b);
}

/* Whoever can write the file but has no key can fix the CRC, not the tag. */
static void a_forged_record_with_a_right_crc_fails_its_tag(void **state)
{
	struct fixture *f = *state;
	uint64_t offsets[RECORDS + 1];
	struct et_tape_recovery recovery;

	(void)make_tape(f, RECORDS, false);
	record_offsets(offsets);
	struct et_buffer b = load(f->path);
	uint8_t *record = b.data + offsets[6];
	const size_t size = offsets[7] - offsets[6];
	record[25] ^= 1;
	uint32_t crc = et_crc32c(0, b.data + 128, 32);
	crc = et_crc32c(crc, record, 16);
	et_put32(record + 16, et_crc32c(crc, record + 20, size - 20));

	const struct et_view view = { b.data, b.size };
	const struct et_tape_source source = et_tape_source_memory(&view);
	assert_int_equal(read_all(&source, f->dek), ET_EINTEGRITY);
	store(f->path, b.data, b.size);
	assert_int_equal(et_tape_recover(f->path, &f->signer, f->dek, &recovery, NULL), 0);
	assert_int_equal(recovery.seal.records, 6); /* With the key the tags decide. */
	store(f->path, b.data, b.size);
	assert_int_equal(et_tape_recover(f->path, &f->signer, NULL, &recovery, NULL), 0);
	assert_int_equal(recovery.seal.records, RECORDS); /* Without it, later: UNVERIFIED. */
	assert_int_equal(recovery.seal.flags, ET_TAPE_RECOVERED | ET_TAPE_UNVERIFIED);
	et_buffer_release(&b);
}

static void recovery_with_another_key_changes_nothing(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(et_secret_freep) struct et_secret *other = NULL;
	struct et_tape_recovery recovery;
	struct stat before;
	struct stat after;

	(void)make_tape(f, RECORDS, false);
	assert_int_equal(et_secret_random(32, &other, NULL), 0);
	assert_int_equal(stat(f->path, &before), 0);
	assert_int_equal(et_tape_recover(f->path, &f->signer, other, &recovery, NULL), ET_ENOKEY);
	assert_int_equal(stat(f->path, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
}

static void newer_versions_are_said_to_be_newer(void **state)
{
	struct fixture *f = *state;
	struct et_tape_header header;

	(void)make_tape(f, 1, true);
	struct et_buffer b = load(f->path);
	b.data[4]++;
	assert_int_equal(et_tape_header_parse(b.data, &header, NULL), ET_EVERSION);
	b.data[4]--;
	b.data[5]++;
	assert_int_equal(et_tape_header_parse(b.data, &header, NULL), ET_EVERSION);
	b.data[5]--;
	b.data[7]++; /* A flag, and a hash that says it was meant. */
	assert_int_equal(et_tape_header_parse(b.data, &header, NULL), ET_ECORRUPT);
	b.data[7]--;
	b.data[0]++;
	assert_int_equal(et_tape_header_parse(b.data, &header, NULL), ET_EMALFORMED);
	b.data[0]--;
	assert_int_equal(et_tape_header_parse(b.data, &header, NULL), 0);
	et_buffer_release(&b);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(every_truncation_recovers_the_whole_records),
		TEST(every_zero_filled_tail_recovers_the_whole_records),
		TEST(every_flipped_bit_is_found_without_a_key),
		TEST(every_truncation_and_added_byte_is_found_without_a_key),
		TEST(a_footer_that_was_made_anew_is_refused_where_the_seal_is_known),
		TEST(what_stands_between_header_and_trailer_is_bound_to_them),
		TEST(every_flipped_byte_of_a_record_is_found_by_the_reader),
		TEST(an_open_tape_with_a_flipped_byte_recovers_what_is_before_it),
		TEST(a_damaged_sealed_tape_is_left_alone),
		TEST(records_cannot_be_moved),
		TEST(a_forged_record_with_a_right_crc_fails_its_tag),
		TEST(recovery_with_another_key_changes_nothing),
		TEST(newer_versions_are_said_to_be_newer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
