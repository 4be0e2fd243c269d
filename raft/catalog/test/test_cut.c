#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "raft/catalog/test/fixture.h"

/* What a power cut leaves of a log that was being cut (G14): files by name, for what is repaired by
 * name; and once a real log. cluster-tests/scenarios/power_loss.py cuts libraft's own work at each
 * of its calls. */

static char folder[256];

static int set_up(void **state)
{
	const char *base = getenv("TMPDIR");

	(void)state;
	(void)snprintf(folder, sizeof(folder), "%s/et_cut.XXXXXX", base != NULL ? base : "/tmp");
	return mkdtemp(folder) == NULL ? -1 : 0;
}

static int entry_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int tear_down(void **state)
{
	(void)state;
	return nftw(folder, entry_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static void file_make(const char *name, const void *data, size_t size)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), (ssize_t)size);
	(void)close(fd);
}

static void segment_make(unsigned first, unsigned last)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "%016u-%016u", first, last);
	file_make(name, "x", 1);
}

static void marker_make(uint64_t index)
{
	uint8_t bytes[32] = "ETCUT1";

	et_put64(bytes + 8, index);
	et_put64(bytes + 16, ~index);
	file_make("cutting", bytes, sizeof(bytes));
}

static bool has(const char *name)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	return access(path, F_OK) == 0;
}

static bool has_segment(unsigned first, unsigned last)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "%016u-%016u", first, last);
	return has(name);
}

static void a_log_in_one_piece_is_left_alone(void **state)
{
	(void)state;
	segment_make(1, 9);
	segment_make(10, 19);
	file_make("open-3", "data", 4);
	file_make("metadata1", "m", 1);
	assert_int_equal(et_cat_cut_repair(folder, NULL), 0);
	marker_make(15); /* Not begun, or over: the same to look at. */
	assert_int_equal(et_cat_cut_repair(folder, NULL), 0);
	assert_true(has_segment(1, 9) && has_segment(10, 19) && has("open-3") && has("metadata1"));
	assert_false(has("cutting"));
}

/* Nothing was removed yet: the longer has all. With or without the marker. */
static void of_twins_the_shorter_goes(void **state)
{
	(void)state;
	segment_make(1, 9);
	segment_make(10, 14);
	segment_make(10, 19);
	segment_make(20, 29);
	assert_int_equal(et_cat_cut_repair(folder, NULL), 0);
	assert_true(has_segment(1, 9) && has_segment(10, 19) && has_segment(20, 29));
	assert_false(has_segment(10, 14));
	segment_make(10, 14);
	marker_make(15);
	assert_int_equal(et_cat_cut_repair(folder, NULL), 0);
	assert_true(has_segment(10, 19) && has_segment(20, 29));
	assert_false(has_segment(10, 14));
}

static void what_is_behind_the_cut_goes(void **state)
{
	(void)state;
	segment_make(1, 9);
	segment_make(10, 14);
	segment_make(20, 29);
	segment_make(30, 39);
	file_make("open-7", "\0\0\0", 3); /* Prepared, and empty. */
	marker_make(15);
	assert_int_equal(et_cat_cut_repair(folder, NULL), 0);
	assert_true(has_segment(1, 9) && has_segment(10, 14));
	assert_false(has_segment(20, 29) || has_segment(30, 39) || has("cutting"));
	assert_int_equal(et_cat_cut_repair(folder, NULL), 0); /* The same again. */
	assert_true(has_segment(10, 14));
}

/* The cut was at the first entry of a segment, and it is the first of the log, too. */
static void a_whole_segment_was_cut(void **state)
{
	(void)state;
	segment_make(1, 9);
	segment_make(20, 29);
	marker_make(10);
	assert_int_equal(et_cat_cut_repair(folder, NULL), 0);
	assert_true(has_segment(1, 9));
	assert_false(has_segment(20, 29));
}

/* A file that is lost looks the same. What is behind it was perhaps acknowledged. */
static void a_gap_without_a_cut_is_not_repaired(void **state)
{
	(void)state;
	segment_make(1, 9);
	segment_make(10, 14);
	segment_make(20, 29);
	assert_int_equal(et_cat_cut_repair(folder, NULL), 0);
	assert_true(has_segment(1, 9) && has_segment(10, 14) && has_segment(20, 29));
	marker_make(25); /* Nor one before where it was cut. */
	assert_int_equal(et_cat_cut_repair(folder, NULL), 0);
	assert_true(has_segment(1, 9) && has_segment(10, 14) && has_segment(20, 29));
}

/* Entries before the cut are not what it took away. */
static void a_gap_that_begins_before_the_cut_is_refused(void **state)
{
	struct et_error e;

	(void)state;
	segment_make(1, 9);
	segment_make(20, 29);
	marker_make(15);
	assert_int_equal(et_cat_cut_repair(folder, &e), ET_ECORRUPT);
	assert_true(has_segment(1, 9) && has_segment(20, 29) && has("cutting"));
}

/* libraft counts what open segments have from the end of the closed ones: they would move. */
static void newer_entries_behind_a_gap_are_refused(void **state)
{
	struct et_error e;

	(void)state;
	segment_make(1, 9);
	segment_make(20, 29);
	file_make("open-7", "data", 4);
	marker_make(10);
	assert_int_equal(et_cat_cut_repair(folder, &e), ET_ECORRUPT);
	assert_true(has_segment(1, 9) && has_segment(20, 29) && has("open-7") && has("cutting"));
}

static void a_damaged_marker_is_refused(void **state)
{
	struct et_error e;

	(void)state;
	segment_make(1, 9);
	file_make("cutting", "ETCUT1\0\0\1\0\0\0\0\0\0\0", 16);
	assert_int_equal(et_cat_cut_repair(folder, &e), ET_ECORRUPT);
	assert_true(has("cutting"));
}

/* ---- A real one ---- */

static unsigned files_like(const char *in, const char *prefix)
{
	DIR *dir = opendir(in);
	unsigned count = 0;

	assert_non_null(dir);
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		count += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
	}
	(void)closedir(dir);
	return count;
}

static unsigned marks; /* times that the marker was there when libraft was told to cut */
static int (*truncate_before)(struct raft_io *io, raft_index index);

static int truncate_look(struct raft_io *io, raft_index index)
{
	struct et_catalog *c = ET_CONTAINER_OF(io, struct et_catalog, io);

	marks += files_like(c->raft_folder, "cutting");
	return truncate_before(io, index);
}

/* A leader that is cut off takes commands; when it is back, they go. Before that the marker is
 * there, and when what replaces them is stored it is not. */
static void the_marker_is_there_while_a_tail_is_cut(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));
	struct answer lost[40] = { 0 };

	(void)state;
	cluster_open(c, 3);
	cluster_form(c);
	struct node *old = led(c);
	(void)must_propose(old);
	RUN_UNTIL(c, all_level(c));
	marks = 0;
	truncate_before = old->catalog->io_truncate;
	old->catalog->io_truncate = truncate_look;
	uint64_t end = raft_last_index(&old->catalog->raft);
	node_cut(old, true);
	for (size_t i = 0; i < ET_ARRAY_SIZE(lost); i++) {
		propose_noop(old, "lost?", 0, 100000, &lost[i]);
	}
	RUN_UNTIL(c, raft_last_index(&old->catalog->raft) > end);
	struct node *leader = led(c);
	assert_true(leader != old);
	(void)must_propose(leader);
	node_cut(old, false);
	RUN_UNTIL(c, all_follow(c) && all_level(c));
	assert_true(marks > 0);
	assert_int_equal(files_like(old->catalog->raft_folder, "cutting"), 0);
	for (size_t i = 0; i < ET_ARRAY_SIZE(lost); i++) { /* They come again, through the other. */
		RUN_UNTIL(c, lost[i].calls == 1);
		assert_int_equal(lost[i].code, 0);
	}
	assert_digests_equal(c);
	catalog_close(old);
	catalog_open(old);
	assert_digests_equal(c);
	cluster_close(c);
	free(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_log_in_one_piece_is_left_alone),
		TEST(of_twins_the_shorter_goes),
		TEST(what_is_behind_the_cut_goes),
		TEST(a_whole_segment_was_cut),
		TEST(a_gap_without_a_cut_is_not_repaired),
		TEST(a_gap_that_begins_before_the_cut_is_refused),
		TEST(newer_entries_behind_a_gap_are_refused),
		TEST(a_damaged_marker_is_refused),
		cmocka_unit_test(the_marker_is_there_while_a_tail_is_cut),
	};

	et_log_set_level(ET_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
