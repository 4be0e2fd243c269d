/* Ledgers of erasures in an archive target, which may be anybody's by the time of a restore. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/daemon/restore_internal.h"

static char root[] = "/tmp/et_restore_ledger.XXXXXX";
static char folder[256];
static struct et_bucket *bucket;
static const struct et_backup_head backup = { .node = 1 };

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int set_up(void **state)
{
	char path[64];

	(void)state;
	memcpy(root + strlen(root) - 6, "XXXXXX", 6);
	assert_non_null(mkdtemp(root));
	(void)snprintf(path, sizeof(path), "%s/ledger", root);
	assert_int_equal(mkdir(path, 0700), 0);
	(void)snprintf(folder, sizeof(folder), "%s/%032d", path, 0); /* the cluster's id */
	assert_int_equal(mkdir(folder, 0700), 0);
	const struct et_bucket_config config = { .type = ET_BUCKET_DIR, .path = root };
	assert_int_equal(et_bucket_open(&config, &bucket, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	bucket = et_bucket_close(bucket);
	return nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *name)
{
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "ETLG", 4), 4);
	assert_int_equal(close(fd), 0);
}

static int look(struct restore_ledgers *l, struct et_error *reterr)
{
	const struct restore_ledgers_from from = { .backup = &backup };

	*l = (struct restore_ledgers){ 0 };
	return restore_ledgers_of_bucket(l, &from, bucket, "cold", reterr);
}

static void of_each_node_the_newest_is_read(void **state)
{
	struct restore_ledgers l;

	(void)state;
	put("1-000000000100.evl");
	put("1-000000000200.evl");
	put("10-000000000050.evl");
	assert_int_equal(look(&l, NULL), 0);
	assert_int_equal(l.bad, 2); /* what is no ledger is told, and keeps no other back */
	assert_int_equal(l.count, 0);
}

static void what_is_no_ledger_by_its_name_is_passed_over(void **state)
{
	struct restore_ledgers l;
	char path[512];

	(void)state;
	put("x-000000000100.evl");
	put("1-100.evl");
	put("1-0000000001000.evl"); /* it would hide those before it */
	put("1-000000000100.evl.evl");
	put("-000000000100.evl");
	put("111111111111111111111-000000000100.evl");
	(void)snprintf(path, sizeof(path), "%s/2-000000000100.evl", folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	(void)snprintf(path, sizeof(path), "%s/3-000000000100.evl", folder);
	assert_int_equal(symlink("/dev/zero", path), 0);
	(void)snprintf(path, sizeof(path), "%s/4-000000000100.evl", folder);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(look(&l, NULL), 0);
	assert_int_equal(l.bad, 0);
}

static void an_endless_target_ends(void **state)
{
	struct restore_ledgers l;
	struct et_error e = { .text = "" };
	char name[64];

	(void)state;
	for (int i = 0; i < RESTORE_LEDGER_NODES_MAX + 10; i++) {
		(void)snprintf(name, sizeof(name), "%d-000000000100.evl", i + 100000);
		put(name);
	}
	assert_int_equal(look(&l, &e), ET_ELIMIT);
	assert_non_null(strstr(e.text, "more than 4096 nodes"));
	assert_int_equal(l.bad, RESTORE_LEDGER_NODES_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(of_each_node_the_newest_is_read),
		TEST(what_is_no_ledger_by_its_name_is_passed_over),
		TEST(an_endless_target_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
