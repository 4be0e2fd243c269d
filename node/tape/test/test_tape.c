#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "node/crypto/hash.h"
#include "node/crypto/merkle.h"
#include "node/tape/test/tape_fixture.h"

static void what_is_written_is_read(void **state)
{
	struct fixture *f = *state;
	struct et_tape_seal seal = make_tape(f, 300, true);
	struct et_tape_source source;
	struct et_tape_report report;
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_size, seal.size_bytes);
	assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
	assert_int_equal(read_all(&source, f->dek), 300);

	const struct et_tape_expect expect = { .recording = f->header.recording,
					       .generation = 1,
					       .segment = 2,
					       .header_hash = f->header.hash,
					       .root = seal.root,
					       .seal_hash = seal.seal_hash,
					       .signer_public = f->public_key };
	assert_int_equal(et_tape_verify(&source, &expect, &report, NULL), 0);
	assert_int_equal(report.good_records, 300);
	assert_int_equal(report.seal.records, 300);
	assert_int_equal(report.seal.last_ms, 299000);
	assert_int_equal(report.seal.signer, 7);
	assert_int_equal(report.seal.flags, 0);
	assert_memory_equal(&report.seal, &seal, sizeof(seal));
	assert_string_equal(report.problem, "");
	et_tape_source_close(&source);
}

/* Two tapes that seal in one place, record by record in turn; who signs brings its public key. */
static void tapes_may_share_their_room(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(et_tape_closep) struct et_tape *a = NULL;
	ET_CLEANUP(et_tape_closep) struct et_tape *b = NULL;
	struct et_tape_header other = f->header;
	struct et_buffer room = { 0 };
	struct et_tape_seal seal;
	struct et_tape_report report;
	struct et_tape_source source;
	char path[96];

	(void)snprintf(path, sizeof(path), "%.80s.b", f->path);
	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &a, NULL), 0);
	assert_int_equal(et_tape_create(path, &other, f->dek, &b, NULL), 0);
	et_tape_share(a, &room);
	et_tape_share(b, &room);
	for (uint32_t seq = 0; seq < 40; seq++) {
		append_records(a, seq, 1);
		append_records(b, seq, 1);
	}
	f->signer.public_key = f->public_key;
	const char *const paths[] = { f->path, path };
	struct et_tape *const tapes[] = { a, b };
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(et_tape_finish(tapes[i], &f->signer, &seal, NULL), 0);
		assert_int_equal(et_tape_source_open(paths[i], &source, NULL), 0);
		assert_int_equal(read_all(&source, f->dek), 40);
		const struct et_tape_expect expect = { .root = seal.root,
						       .seal_hash = seal.seal_hash,
						       .signer_public = f->public_key };
		assert_int_equal(et_tape_verify(&source, &expect, &report, NULL), 0);
		et_tape_source_close(&source);
	}
	et_buffer_release(&room);
	assert_int_equal(unlink(path), 0);
}

static void the_object_hash_is_that_of_the_file_and_told_when_asked(void **state)
{
	struct fixture *f = *state;
	struct et_tape_report report;
	uint8_t hash[32];
	uint8_t by_path[32];

	(void)make_tape(f, 300, true);
	struct et_buffer b = load(f->path);
	const struct et_view view = { b.data, b.size };
	const struct et_tape_source source = et_tape_source_memory(&view);
	et_sha256(b.data, b.size, hash);
	const struct et_tape_expect expects[] = { { .hash_object = true },
						  { .object_hash = hash } };
	for (size_t i = 0; i < ET_ARRAY_SIZE(expects); i++) {
		assert_int_equal(et_tape_verify(&source, &expects[i], &report, NULL), 0);
		assert_true(report.has_object_hash);
		assert_memory_equal(report.object_hash, hash, sizeof(hash));
	}
	assert_int_equal(et_tape_verify(&source, NULL, &report, NULL), 0);
	assert_false(report.has_object_hash);
	assert_int_equal(et_tape_file_hash(f->path, by_path, NULL), 0);
	assert_memory_equal(by_path, hash, sizeof(hash));
	et_buffer_release(&b);
}

/* Byte by byte as the page has it, from what the file says. */
static void the_seal_hash_is_over_header_hash_and_trailer(void **state)
{
	struct fixture *f = *state;
	const struct et_tape_seal seal = make_tape(f, 5, true);
	struct et_buffer b = load(f->path);
	struct et_buffer whole = { 0 };
	uint8_t hash[32];

	et_buffer_add(&whole, "evtm/1 seal", 12);
	et_buffer_add(&whole, b.data + 128, 32);
	et_buffer_add(&whole, b.data + b.size - 192, 192);
	et_sha256(whole.data, whole.size, hash);
	assert_memory_equal(hash, seal.seal_hash, sizeof(hash));
	et_buffer_release(&whole);
	et_buffer_release(&b);
}

static void an_empty_tape_is_a_tape(void **state)
{
	struct fixture *f = *state;
	struct et_tape_seal seal = make_tape(f, 0, true);
	struct et_tape_source source;
	struct et_tape_report report;

	assert_int_equal(seal.size_bytes, 160 + 8 + 192);
	assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
	assert_int_equal(et_tape_verify(&source, NULL, &report, NULL), 0);
	assert_int_equal(read_all(&source, f->dek), 0);
	et_tape_source_close(&source);
}

static void the_longest_record_fits(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *r = NULL;
	struct et_tape_source source;
	struct et_tape_record record;
	struct et_tape_report report;
	struct et_tape_seal seal;
	uint8_t *plain = malloc(ET_TAPE_PLAIN_MAX);

	assert_non_null(plain);
	memset(plain, 0x5A, ET_TAPE_PLAIN_MAX);
	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
	for (uint32_t i = 0; i < 5; i++) {
		assert_int_equal(
			et_tape_append(t, ET_TAPE_MEDIA, i, plain, ET_TAPE_PLAIN_MAX - i, NULL), 0);
	}
	assert_int_equal(et_tape_finish(t, &f->signer, &seal, NULL), 0);
	assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
	assert_int_equal(et_tape_verify(&source, NULL, &report, NULL), 0);
	assert_int_equal(et_tape_reader_new(&source, f->dek, &r, NULL), 0);
	for (uint32_t i = 0; i < 5; i++) {
		assert_int_equal(et_tape_reader_next(r, &record, NULL), 1);
		assert_int_equal(record.plain.size, ET_TAPE_PLAIN_MAX - i);
		assert_memory_equal(record.plain.data, plain, record.plain.size);
	}
	assert_int_equal(et_tape_reader_next(r, &record, NULL), 0);
	et_tape_source_close(&source);
	free(plain);
}

static void an_open_tape_reads_up_to_now(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	struct et_tape_source source;
	struct et_tape_report report;
	struct et_error e;

	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
	for (uint32_t n = 0; n < 4; n++) {
		assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
		assert_int_equal(source.size, et_tape_bytes(t));
		assert_int_equal(read_all(&source, f->dek), et_tape_records(t));
		assert_int_equal(et_tape_verify(&source, NULL, &report, &e), ET_ETRUNCATED);
		assert_int_equal(report.good_records, n);
		assert_int_equal(et_tape_verify_prefix(&source, NULL, &report, &e), 0);
		assert_int_equal(report.good_records, n);
		assert_int_equal(report.good_bytes, source.size);
		et_tape_source_close(&source);
		append_records(t, n, 1);
	}
}

static void nothing_follows_the_footer(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	struct et_tape_seal seal;
	struct et_tape *again = NULL;

	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
	append_records(t, 0, 2);
	assert_int_equal(et_tape_finish(t, &f->signer, &seal, NULL), 0);
	assert_int_equal(et_tape_append(t, ET_TAPE_MEDIA, 0, "x", 1, NULL), ET_ECLOSED);
	assert_int_equal(et_tape_finish(t, &f->signer, &seal, NULL), ET_ECLOSED);
	/* A path is a tape once: no second writer, no second use of a number. */
	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &again, NULL), -EEXIST);
	assert_null(again);
}

static void time_does_not_go_back(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *r = NULL;
	static const uint32_t given[] = { 5, 10, 3, 11 };
	static const uint32_t kept[] = { 5, 10, 10, 11 };
	struct et_tape_source source;
	struct et_tape_record record;

	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(et_tape_append(t, ET_TAPE_MEDIA, given[i], "x", 1, NULL), 0);
	}
	assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
	assert_int_equal(et_tape_reader_new(&source, f->dek, &r, NULL), 0);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(et_tape_reader_next(r, &record, NULL), 1);
		assert_int_equal(record.t_ms, kept[i]);
	}
	et_tape_source_close(&source);
}

static void another_key_is_refused_by_the_commitment(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(et_secret_freep) struct et_secret *other = NULL;
	struct et_tape_source source;

	(void)make_tape(f, 3, true);
	assert_int_equal(et_secret_random(32, &other, NULL), 0);
	assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
	assert_int_equal(read_all(&source, other), ET_ENOKEY);
	et_tape_source_close(&source);
}

static void another_tape_than_expected_is_refused(void **state)
{
	struct fixture *f = *state;
	struct et_tape_seal seal = make_tape(f, 3, true);
	struct et_tape_source source;
	struct et_tape_report report;
	uint8_t other[32] = { 0 };
	const struct et_tape_expect wrong[] = {
		{ .recording = other },	  { .generation = 2 },	      { .segment = 1 },
		{ .header_hash = other }, { .root = other },	      { .seal_hash = other },
		{ .object_hash = other }, { .signer_public = other },
	};

	assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
	for (size_t i = 0; i < ET_ARRAY_SIZE(wrong); i++) {
		assert_int_equal(et_tape_verify(&source, &wrong[i], &report, NULL), ET_EINTEGRITY);
		assert_string_not_equal(report.problem, "");
	}
	const struct et_tape_expect right = { .root = seal.root };
	assert_int_equal(et_tape_verify(&source, &right, &report, NULL), 0);
	et_tape_source_close(&source);
}

/* RLIMIT_FSIZE makes the write short at an exact byte, as a full disk does. */
static void limit_file_size(rlim_t bytes)
{
	struct rlimit l;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
	l.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void a_full_disk_leaves_whole_records_and_takes_the_footer_later(void **state)
{
	struct fixture *f = *state;
	struct et_tape_source source;
	struct et_tape_report report;
	uint8_t plain[200] = { 0 };

	(void)signal(SIGXFSZ, SIG_IGN);
	for (rlim_t cut = 0; cut < 20 + 200 + 16; cut += 5) {
		ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
		struct et_tape_seal seal;
		struct et_error e;
		struct stat st;

		(void)unlink(f->path);
		assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
		append_records(t, 0, 3);
		const uint64_t whole = et_tape_bytes(t);
		limit_file_size(whole + cut);
		int rc = et_tape_append(t, ET_TAPE_MEDIA, 3000, plain, sizeof(plain), &e);
		assert_true(rc == -ENOSPC || rc == -EFBIG);
		assert_int_equal(stat(f->path, &st), 0);
		assert_int_equal(st.st_size, whole);
		int footer = et_tape_finish(t, &f->signer, &seal, &e);
		assert_true(footer == -ENOSPC || footer == -EFBIG);
		assert_int_equal(stat(f->path, &st), 0);
		assert_int_equal(st.st_size, whole);
		limit_file_size(RLIM_INFINITY);

		/* There is room again: but number 3 was used, so only the footer goes in. */
		assert_int_equal(et_tape_append(t, ET_TAPE_MEDIA, 3000, "x", 1, &e), rc);
		assert_int_equal(et_tape_finish(t, &f->signer, &seal, &e), 0);
		assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
		const struct et_tape_expect expect = { .seal_hash = seal.seal_hash };
		assert_int_equal(et_tape_verify(&source, &expect, &report, NULL), 0);
		assert_int_equal(read_all(&source, f->dek), 3);
		et_tape_source_close(&source);
	}
}

static void a_header_that_does_not_fit_leaves_no_file(void **state)
{
	struct fixture *f = *state;
	struct et_tape *t = NULL;

	(void)signal(SIGXFSZ, SIG_IGN);
	limit_file_size(100);
	int rc = et_tape_create(f->path, &f->header, f->dek, &t, NULL);
	limit_file_size(RLIM_INFINITY);
	assert_true(rc == -ENOSPC || rc == -EFBIG);
	assert_null(t);
	assert_int_equal(access(f->path, F_OK), -1);
}

/* An excerpt is proved by its records and their paths: what a third party gets. */
static void a_record_is_proved_by_its_path(void **state)
{
	struct fixture *f = *state;
	struct et_tape_seal seal = make_tape(f, 21, true);
	struct et_tape_source source;
	struct et_tape_header header;
	struct et_tape_seal read;
	uint8_t leaves[21 * 32];
	uint8_t path[ET_MERKLE_PATH_SIZE_MAX];

	assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
	assert_int_equal(et_tape_footer_read(&source, &header, &read, NULL), 0);
	assert_memory_equal(read.root, seal.root, 32);
	assert_int_equal(et_tape_leaves_read(&source, &read, 0, 21, leaves, NULL), 0);
	assert_int_equal(et_tape_leaves_read(&source, &read, 1, 21, leaves, NULL), -EINVAL);
	struct et_buffer b = load(f->path);
	uint64_t offset = ET_TAPE_HEADER_SIZE;
	for (uint32_t seq = 0; seq < 21; seq++) {
		struct et_tape_record_head head;
		uint8_t leaf[32];
		const struct et_view rest = { b.data + offset, b.size - offset };
		assert_int_equal(et_tape_record_check(header.hash, seq, rest, &head), 0);
		et_tape_leaf((struct et_view){ rest.data, head.size }, leaf);
		assert_memory_equal(leaf, leaves + (size_t)seq * 32, 32);
		size_t n = et_merkle_proof(leaves, 21, seq, path);
		assert_int_equal(et_merkle_verify(leaf, seq, 21, path, n, seal.root), 0);
		offset += head.size;
	}
	assert_int_equal(offset, seal.body_bytes);
	et_buffer_release(&b);
	et_tape_source_close(&source);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_is_written_is_read),
		TEST(tapes_may_share_their_room),
		TEST(the_object_hash_is_that_of_the_file_and_told_when_asked),
		TEST(the_seal_hash_is_over_header_hash_and_trailer),
		TEST(an_empty_tape_is_a_tape),
		TEST(the_longest_record_fits),
		TEST(an_open_tape_reads_up_to_now),
		TEST(nothing_follows_the_footer),
		TEST(time_does_not_go_back),
		TEST(another_key_is_refused_by_the_commitment),
		TEST(another_tape_than_expected_is_refused),
		TEST(a_full_disk_leaves_whole_records_and_takes_the_footer_later),
		TEST(a_header_that_does_not_fit_leaves_no_file),
		TEST(a_record_is_proved_by_its_path),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
