#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replication/sync/store_internal.h"
#include "replication/sync/test/tapes.h"

struct fixture {
	char media[256];
	char path[600];
	struct tape_made tape;
	uint8_t *bytes;
	size_t size;
	uint8_t *leaves;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct et_tape_source source;
	struct et_tape_header header;
	struct et_tape_seal seal;

	folder_make(f->media);
	tape_make(f->media, 12, 900, &f->tape);
	(void)snprintf(f->path, sizeof(f->path), "%s/%s", f->media, f->tape.file);
	f->size = file_load(f->path, &f->bytes);
	f->leaves = malloc(12 * 32);
	assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
	assert_int_equal(et_tape_footer_read(&source, &header, &seal, NULL), 0);
	assert_int_equal(et_tape_leaves_read(&source, &seal, 0, 12, f->leaves, NULL), 0);
	et_tape_source_close(&source);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	folder_remove(f->media);
	free(f->bytes);
	free(f->leaves);
	free(f);
	return 0;
}

static struct et_wire_leaves leaves_of(const struct fixture *f, uint32_t first, uint32_t count)
{
	return (struct et_wire_leaves){ 12, first, count, f->leaves + (size_t)first * 32 };
}

/* Ready for data. */
static void begin(const struct fixture *f, struct et_intake *in)
{
	struct et_wire_leaves leaves = leaves_of(f, 0, 12);
	assert_int_equal(et_intake_init(in, &f->tape.expect, NULL), 0);
	assert_int_equal(et_intake_leaves(in, &leaves, NULL), 0);
}

static int feed(struct et_intake *in, const uint8_t *bytes, size_t size, size_t piece,
		struct et_error *e)
{
	while (in->next < size) {
		size_t n = size - in->next < piece ? size - in->next : piece;
		int rc = et_intake_data(in, in->next, bytes + in->next, n, e);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

static struct et_wire_eof eof_of(const struct fixture *f)
{
	struct et_wire_eof eof = { .size_bytes = f->size };
	memcpy(eof.root, f->tape.expect.root, 32);
	return eof;
}

static void takes_a_tape_in_pieces_of_any_size(void **state)
{
	struct fixture *f = *state;
	struct et_wire_eof eof = eof_of(f);

	for (size_t piece = 1; piece <= f->size; piece = piece < 1100 ? piece + 1 : piece * 2) {
		struct et_intake in;
		begin(f, &in);
		assert_int_equal(feed(&in, f->bytes, f->size, piece, NULL), 0);
		assert_int_equal(in.record, 12);
		assert_int_equal(et_intake_eof(&in, &eof, NULL), 0);
		assert_int_equal(in.state, ET_INTAKE_DONE);
		et_intake_release(&in);
	}
}

static void finds_every_flipped_byte_before_the_footer(void **state)
{
	struct fixture *f = *state;
	struct et_intake whole;

	begin(f, &whole);
	assert_int_equal(feed(&whole, f->bytes, f->size, 4096, NULL), 0);
	for (size_t at = 0; at < whole.good; at++) {
		struct et_intake in;
		struct et_error e = { 0 };
		begin(f, &in);
		f->bytes[at] ^= (uint8_t)(1U << (at % 8));
		assert_true(feed(&in, f->bytes, f->size, 1000, &e) < 0);
		assert_true(in.good <= at); /* Nothing at or behind it counts as verified. */
		assert_true(e.text[0] != '\0');
		f->bytes[at] ^= (uint8_t)(1U << (at % 8));

		/* And what did verify can be kept: from there on it goes through. */
		et_intake_rewind(&in);
		assert_int_equal(feed(&in, f->bytes, f->size, 1000, NULL), 0);
		assert_int_equal(in.record, 12);
		et_intake_release(&in);
	}
	et_intake_release(&whole);
}

static void refuses_leaves_of_another_tape(void **state)
{
	struct fixture *f = *state;
	struct et_intake in;
	struct et_wire_leaves leaves;

	assert_int_equal(et_intake_init(&in, &f->tape.expect, NULL), 0);
	/* Out of order, with a hole, of another count. */
	leaves = leaves_of(f, 3, 9);
	assert_int_equal(et_intake_leaves(&in, &leaves, NULL), ET_EMALFORMED);
	leaves = leaves_of(f, 0, 11);
	leaves.total = 11;
	assert_int_equal(et_intake_leaves(&in, &leaves, NULL), ET_EINTEGRITY);
	leaves = leaves_of(f, 0, 5);
	assert_int_equal(et_intake_leaves(&in, &leaves, NULL), 0);
	leaves = leaves_of(f, 6, 6);
	assert_int_equal(et_intake_leaves(&in, &leaves, NULL), ET_EMALFORMED);
	/* Data before all of them. */
	assert_int_equal(et_intake_data(&in, 0, f->bytes, 10, NULL), ET_EMALFORMED);
	/* One wrong hash: another root; another source may begin anew. */
	f->leaves[7 * 32] ^= 1;
	leaves = leaves_of(f, 5, 7);
	assert_int_equal(et_intake_leaves(&in, &leaves, NULL), ET_EINTEGRITY);
	f->leaves[7 * 32] ^= 1;
	leaves = leaves_of(f, 0, 12);
	assert_int_equal(et_intake_leaves(&in, &leaves, NULL), 0);
	assert_int_equal(et_intake_leaves(&in, &leaves, NULL), ET_EMALFORMED);
	et_intake_release(&in);
}

static void refuses_holes_and_too_much(void **state)
{
	struct fixture *f = *state;
	struct et_intake in;

	begin(f, &in);
	assert_int_equal(et_intake_data(&in, 1, f->bytes, 10, NULL), ET_EMALFORMED);
	assert_int_equal(et_intake_data(&in, 0, f->bytes, f->size + 1, NULL), ET_EMALFORMED);
	assert_int_equal(et_intake_data(&in, 0, f->bytes, 100, NULL), 0);
	assert_int_equal(et_intake_data(&in, 0, f->bytes, 100, NULL), ET_EMALFORMED);
	et_intake_release(&in);
}

static void knows_a_tape_that_ends_too_early(void **state)
{
	struct fixture *f = *state;
	struct et_wire_eof eof = eof_of(f);

	for (size_t size = 0; size < f->size; size += 37) {
		struct et_intake in;
		begin(f, &in);
		assert_int_equal(feed(&in, f->bytes, size, 512, NULL), 0);
		assert_int_equal(et_intake_eof(&in, &eof, NULL), ET_ETRUNCATED);
		et_intake_release(&in);
	}
	struct et_intake in;
	begin(f, &in);
	assert_int_equal(feed(&in, f->bytes, f->size, 512, NULL), 0);
	eof.root[0] ^= 1;
	assert_int_equal(et_intake_eof(&in, &eof, NULL), ET_EINTEGRITY);
	et_intake_release(&in);
}

static void goes_on_from_every_cut(void **state)
{
	struct fixture *f = *state;

	for (size_t cut = 0; cut <= f->size; cut++) {
		struct et_intake in;
		begin(f, &in);
		assert_int_equal(feed(&in, f->bytes, cut, 700, NULL), 0);
		et_intake_rewind(&in);
		assert_true(in.next <= cut);
		assert_true(cut < 160 || cut - in.next < 1000 || in.record == 12);
		assert_int_equal(feed(&in, f->bytes, f->size, 700, NULL), 0);
		assert_int_equal(in.record, 12);
		et_intake_release(&in);
	}
}

static void refuses_numbers_that_cannot_be(void **state)
{
	struct fixture *f = *state;
	struct et_intake in;
	struct et_expect x = f->tape.expect;

	x.records = UINT64_MAX;
	assert_int_equal(et_intake_init(&in, &x, NULL), ET_ELIMIT);
	x.records = 12;
	x.size_bytes = 160 + 11 * 36;
	assert_int_equal(et_intake_init(&in, &x, NULL), ET_EMALFORMED);
	x.size_bytes = UINT64_MAX;
	assert_int_equal(et_intake_init(&in, &x, NULL), ET_EMALFORMED);
}

/* ---- The files around it ---- */

static void keeps_of_a_partial_file_what_verifies(void **state)
{
	struct fixture *f = *state;
	char part[700];
	static const size_t cuts[] = { 0, 1, 159, 160, 161, 2000, 5000, 9000 };

	(void)snprintf(part, sizeof(part), "%s/part", f->media);
	for (size_t i = 0; i < 2 * ET_ARRAY_SIZE(cuts); i++) {
		size_t cut = cuts[i / 2];
		bool torn = i % 2 == 1; /* zeros behind it, as a power cut leaves them */
		static const uint8_t zeros[3000];
		int fd = -1;
		uint64_t size = 0;
		struct et_intake in;

		while (torn && f->bytes[cut] == 0) {
			cut++; /* The tape has this zero, too: the last of its header's hash. */
		}
		(void)unlink(part);
		assert_int_equal(et_store_part_open(part, &fd, &size, NULL), 0);
		assert_int_equal(size, 0);
		assert_int_equal(et_file_pwrite(fd, f->bytes, cut, 0), 0);
		if (torn) {
			assert_int_equal(et_file_pwrite(fd, zeros, sizeof(zeros), (int64_t)cut), 0);
		}
		begin(f, &in);
		assert_int_equal(et_store_part_check(fd, &in, NULL), 0);
		assert_int_equal(in.next, in.good);
		assert_true(in.good <= cut);
		assert_int_equal(lseek(fd, 0, SEEK_END), in.good);
		assert_true(cut < 160 || cut - in.good < 1000);
		et_intake_release(&in);
		(void)close(fd);
	}
}

static void publishes_only_what_verifies_as_a_whole(void **state)
{
	struct fixture *f = *state;
	char part[700];
	char path[700];
	struct stat st;

	(void)snprintf(part, sizeof(part), "%s/part", f->media);
	(void)snprintf(path, sizeof(path), "%s/tapes/a/b/c.evtm", f->media);
	for (size_t at = 0; at < f->size; at += 101) { /* the footer too */
		f->bytes[at] ^= 0x10;
		assert_int_equal(et_file_publish(part, f->bytes, f->size, 0600, NULL), 0);
		f->bytes[at] ^= 0x10;
		struct et_error e = { 0 };
		assert_true(et_store_publish(part, path, &f->tape.expect, &e) < 0);
		assert_true(e.text[0] != '\0');
		assert_int_equal(stat(path, &st), -1);
	}
	assert_int_equal(et_file_publish(part, f->bytes, f->size, 0600, NULL), 0);
	assert_int_equal(et_store_publish(part, path, &f->tape.expect, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, f->size);
	assert_int_equal(stat(part, &st), -1);
}

static void uses_only_names_below_tapes(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",	      "tapes",	       "tapes/",    "/etc/passwd",
		"../tapes/x", "tapes/../../x", "tapes/./x", "tapes//x",
		"tapes/.x",   "tapes/x/",      "tapes/a b", "tapes/a\nb",
		"cache/x",    "tapes/\xc3\xa9"
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		assert_false(et_store_file_ok(bad[i]));
	}
	assert_true(et_store_file_ok("tapes/2026/11/22/018f-g1-s1.evtm"));
}

static void sweeps_what_nobody_came_back_for(void **state)
{
	struct fixture *f = *state;
	char old[700];
	char young[700];
	struct stat st;

	assert_int_equal(et_store_prepare(f->media, NULL), 0);
	(void)snprintf(old, sizeof(old), "%s/incoming/old.part", f->media);
	(void)snprintf(young, sizeof(young), "%s/incoming/young.part", f->media);
	assert_int_equal(et_file_publish(old, f->bytes, 1000, 0600, NULL), 0);
	assert_int_equal(et_file_publish(young, f->bytes, 1000, 0600, NULL), 0);
	int64_t now_s = et_clock_now_us() / 1000000;
	struct timespec times[2] = { { .tv_sec = now_s - 8 * 86400 },
				     { .tv_sec = now_s - 8 * 86400 } };
	assert_int_equal(utimensat(AT_FDCWD, old, times, 0), 0);
	assert_int_equal(et_store_prepare(f->media, NULL), 0);
	assert_int_equal(stat(old, &st), -1);
	assert_int_equal(stat(young, &st), 0);
}

static void trims_the_oldest_of_the_cache_but_nothing_young(void **state)
{
	struct fixture *f = *state;
	char path[700];
	int64_t now = et_clock_now_us();
	struct stat st;

	assert_int_equal(et_store_prepare(f->media, NULL), 0);
	for (int i = 0; i < 6; i++) {
		(void)snprintf(path, sizeof(path), "%s/cache/%d", f->media, i);
		assert_int_equal(et_file_publish(path, f->bytes, 1000, 0600, NULL), 0);
		int64_t used_s = now / 1000000 - (i == 5 ? 0 : 1000 - i * 100);
		struct timespec times[2] = { { .tv_sec = used_s }, { .tv_sec = used_s } };
		assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	}
	et_store_cache_trim(f->media, 3000, now);
	for (int i = 0; i < 6; i++) {
		(void)snprintf(path, sizeof(path), "%s/cache/%d", f->media, i);
		assert_int_equal(stat(path, &st), i < 3 ? -1 : 0);
	}
	et_store_cache_trim(f->media, 0, now);
	assert_int_equal(stat(path, &st), 0); /* Somebody was just told of number 5. */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(takes_a_tape_in_pieces_of_any_size),
		TEST(finds_every_flipped_byte_before_the_footer),
		TEST(refuses_leaves_of_another_tape),
		TEST(refuses_holes_and_too_much),
		TEST(knows_a_tape_that_ends_too_early),
		TEST(goes_on_from_every_cut),
		TEST(refuses_numbers_that_cannot_be),
		TEST(keeps_of_a_partial_file_what_verifies),
		TEST(publishes_only_what_verifies_as_a_whole),
		TEST(uses_only_names_below_tapes),
		TEST(sweeps_what_nobody_came_back_for),
		TEST(trims_the_oldest_of_the_cache_but_nothing_young),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
