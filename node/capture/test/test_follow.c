/* Key logs that are written while they are read: not there yet, cut lines, grown, replaced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/capture/follow_internal.h"

struct fixture {
	char dir[64];
	char path[2][96];
	struct et_follow *follow;
	struct et_keylog *keylog;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/et_follow.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	for (int i = 0; i < 2; i++) {
		(void)snprintf(f->path[i], sizeof(f->path[i]), "%s/%d", f->dir, i);
	}
	const char *paths[] = { f->path[0], f->path[1] };
	assert_int_equal(et_follow_new(paths, 2, &f->follow, NULL), 0);
	assert_int_equal(et_keylog_new(10000, 0, &f->keylog, NULL), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	f->follow = et_follow_free(f->follow);
	f->keylog = et_keylog_free(f->keylog);
	(void)unlink(f->path[0]);
	(void)unlink(f->path[1]);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static void append(struct fixture *f, int file, const char *text)
{
	int fd = open(f->path[file], O_WRONLY | O_CREAT | O_APPEND, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
}

static void line(char ret[256], int number)
{
	(void)snprintf(ret, 256, "CLIENT_RANDOM %064d %096d\n", number, number);
}

static bool has(struct fixture *f, int number)
{
	char digits[65];
	uint8_t random[32];
	struct et_view secret;
	(void)snprintf(digits, sizeof(digits), "%064d", number);
	assert_true(et_unhex(digits, 64, random, 32));
	return et_keylog_find(f->keylog, ET_KEYLOG_MASTER_SECRET, random, &secret);
}

static void turn(struct fixture *f)
{
	while (et_follow_read(f->follow)) {
		assert_true(et_follow_take(f->follow, f->keylog));
	}
}

static void what_is_written_later_is_read_later(void **state)
{
	struct fixture *f = *state;
	char text[256];
	turn(f); /* nothing is there yet */
	line(text, 1);
	append(f, 0, text);
	turn(f);
	assert_true(has(f, 1));
	line(text, 2);
	char rest[256];
	(void)snprintf(rest, sizeof(rest), "%s", text + 100);
	text[100] = '\0';
	append(f, 0, text); /* cut in its middle: two files do not mix */
	turn(f);
	char other[256];
	line(other, 3);
	append(f, 1, other);
	turn(f);
	assert_true(has(f, 3));
	assert_false(has(f, 2));
	append(f, 0, rest);
	turn(f);
	assert_true(has(f, 2));
	assert_int_equal(et_keylog_counts(f->keylog).kept, 3);
	assert_int_equal(et_keylog_counts(f->keylog).malformed, 0);
}

static void a_file_that_is_replaced_or_emptied_is_read_from_its_beginning(void **state)
{
	struct fixture *f = *state;
	char text[256];
	line(text, 1);
	append(f, 0, text);
	append(f, 0, text);
	turn(f);
	assert_int_equal(truncate(f->path[0], 0), 0);
	line(text, 2);
	append(f, 0, text);
	turn(f);
	assert_true(has(f, 2));
	line(text, 3);
	append(f, 1, text);
	assert_int_equal(rename(f->path[1], f->path[0]), 0);
	turn(f);
	assert_true(has(f, 3));
}

static void a_long_file_is_read_in_turns(void **state)
{
	struct fixture *f = *state;
	char text[256];
	FILE *file = fopen(f->path[0], "w");
	assert_non_null(file);
	for (int i = 0; i < 5000; i++) {
		line(text, i);
		(void)fputs(text, file);
	}
	(void)fclose(file);
	assert_true(et_follow_read(f->follow));
	assert_false(et_follow_read(f->follow)); /* the first part is not taken yet */
	assert_true(et_follow_take(f->follow, f->keylog));
	assert_false(has(f, 4999));
	turn(f);
	assert_true(has(f, 4999));
	assert_int_equal(et_keylog_counts(f->keylog).kept, 5000);
	char junk[8192]; /* a line without an end does not stop it for ever */
	memset(junk, 'x', sizeof(junk) - 1);
	junk[sizeof(junk) - 1] = '\0';
	append(f, 0, junk);
	turn(f);
	turn(f);
	append(f, 0, "\n");
	line(text, 7000);
	append(f, 0, text);
	turn(f);
	assert_true(has(f, 7000));
}

static void a_file_that_grows_fast_keeps_no_other_waiting(void **state)
{
	struct fixture *f = *state;
	char text[256];
	line(text, 9000);
	append(f, 1, text);
	for (int turns = 0; turns < 2; turns++) { /* more than there is room for, each time */
		FILE *file = fopen(f->path[0], "a");
		assert_non_null(file);
		for (int i = 0; i < 4000; i++) {
			line(text, turns * 4000 + i);
			(void)fputs(text, file);
		}
		(void)fclose(file);
		assert_true(et_follow_read(f->follow));
		assert_true(et_follow_take(f->follow, f->keylog));
	}
	assert_true(has(f, 0));
	assert_true(has(f, 9000));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_written_later_is_read_later),
		TEST(a_file_that_is_replaced_or_emptied_is_read_from_its_beginning),
		TEST(a_long_file_is_read_in_turns),
		TEST(a_file_that_grows_fast_keeps_no_other_waiting),
	};
	return cmocka_run_group_tests_name("node/capture/follow", tests, NULL, NULL);
}
