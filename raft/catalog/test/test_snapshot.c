#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>

#include "raft/catalog/test/fixture.h"

enum { SNAPSHOT_BYTES = 128 * 1024, ENTRIES = 1200 };

static int set_up(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));

	c->snapshot_bytes = SNAPSHOT_BYTES;
	cluster_open(c, 3);
	cluster_form(c);
	*state = c;
	return 0;
}

static int tear_down(void **state)
{
	struct cluster *c = *state;

	cluster_close(c);
	free(c);
	return 0;
}

/* About 1.2 MB through the log: several snapshots. */
static void fill(struct cluster *c, struct node *n)
{
	struct answer *answers = calloc(ENTRIES, sizeof(*answers));
	char text[1001];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (int i = 0; i < ENTRIES; i += 20) {
		for (int k = i; k < i + 20; k++) {
			propose_noop(n, text, 0, 30000, &answers[k]);
		}
		for (int k = i; k < i + 20; k++) {
			RUN_UNTIL(c, answers[k].calls == 1);
			assert_int_equal(answers[k].code, 0);
		}
	}
	free(answers);
}

static uint64_t snapshot_of(struct node *n)
{
	struct et_catalog_status s;
	et_catalog_status(n->catalog, &s);
	return s.snapshot_index;
}

static struct node *not_leader(struct cluster *c)
{
	return led(c) == &c->nodes[2] ? &c->nodes[1] : &c->nodes[2];
}

/* Whoever leads can help `behind`, which is at `at`, by its snapshot only. */
static void logs_end_after(struct cluster *c, const struct node *behind, uint64_t at)
{
	for (size_t i = 0; i < 3; i++) {
		RUN_UNTIL(c, &c->nodes[i] == behind || snapshot_of(&c->nodes[i]) > at + 30);
	}
}

static void a_follower_far_behind_installs(void **state)
{
	struct cluster *c = *state;
	struct node *behind = not_leader(c);
	uint8_t before[32];
	uint8_t after[32];
	uint64_t index;

	(void)must_propose(behind);
	uint64_t at = applied_of(behind);
	struct et_state_view *old = et_state_view_open(et_catalog_state(behind->catalog));
	assert_int_equal(et_state_digest(old, &index, before), 0);
	node_cut(behind, true);
	RUN_UNTIL(c, all_follow(c));
	fill(c, led(c));
	logs_end_after(c, behind, at);
	assert_true(raft_last_index(&behind->catalog->raft) < snapshot_of(led(c)));

	node_cut(behind, false);
	RUN_UNTIL(c, behind->replaced_calls == 1);
	fill(c, behind); /* It takes part again. */
	assert_digests_equal(c);
	assert_true(snapshot_of(behind) > at);
	/* A view that was open keeps what it saw. */
	assert_int_equal(et_state_digest(old, &index, after), 0);
	assert_memory_equal(before, after, sizeof(before));
	et_state_view_close(old);
	assert_int_equal(behind->replaced_calls, 1);

	catalog_close(behind);
	catalog_open(behind);
	(void)must_propose(behind);
	assert_digests_equal(c);
}

static size_t folders_named(const struct node *n, const char *prefix)
{
	char path[600];
	size_t count = 0;

	(void)snprintf(path, sizeof(path), "%s/db", n->folder);
	DIR *dir = opendir(path);
	for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
		count += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
	}
	(void)closedir(dir);
	return count;
}

static void installs_while_others_write(void **state)
{
	struct cluster *c = *state;
	struct node *behind = not_leader(c);

	for (int round = 0; round < 3; round++) {
		behind = not_leader(c);
		node_close(behind);
		RUN_UNTIL(c, all_follow(c));
		fill(c, led(c));
		node_reopen(behind);
		fill(c, led(c));
		(void)must_propose(behind);
		assert_digests_equal(c);
		/* Of all that was fetched, only what became the database stays (a former one for a
		 * while: views of it may be open). */
		RUN_UNTIL(c, folders_named(behind, "incoming-") <= behind->replaced_calls);
		RUN_UNTIL(c, folders_named(behind, "tmp-") == 0);
	}
}

static void old_checkpoints_and_log_go(void **state)
{
	struct cluster *c = *state;

	fill(c, led(c));
	fill(c, led(c));
	for (size_t i = 0; i < 3; i++) {
		RUN_UNTIL(c, snapshot_of(&c->nodes[i]) > 0);
		RUN_UNTIL(c, folders_named(&c->nodes[i], "ckpt-") <= 2);
		RUN_UNTIL(c, folders_named(&c->nodes[i], "tmp-") == 0);
		/* The log in memory ends not far before the snapshot. */
		RUN_UNTIL(c, c->nodes[i].catalog->log_bytes < 3 * SNAPSHOT_BYTES);
	}
}

static void database_set_back(const struct node *n)
{
	char command[2048];

	(void)snprintf(command, sizeof(command),
		       "cd '%s' && rm -rf ../kept && mkdir ../kept && cp -r db/. ../kept/",
		       n->folder);
	assert_int_equal(system(command), 0);
}

/* The process died after libraft had stored the installed snapshot, before the swap: the next start
 * finishes it. */
static void a_start_finishes_the_swap(void **state)
{
	struct cluster *c = *state;
	struct node *behind = not_leader(c);
	char command[2048];

	(void)must_propose(behind);
	uint64_t at = applied_of(behind);
	node_close(behind);
	RUN_UNTIL(c, all_follow(c));
	database_set_back(behind); /* Keep the old database aside. */
	fill(c, led(c));
	logs_end_after(c, behind, at);
	behind->replaced_calls = 0;
	node_reopen(behind);
	RUN_UNTIL(c, behind->replaced_calls == 1);
	node_close(behind);
	(void)snprintf(command, sizeof(command),
		       "cd '%s' && rm -rf db/live-1 && cp -r ../kept/live-1 ../kept/CURRENT db/",
		       behind->folder);
	assert_int_equal(system(command), 0);
	assert_true(folders_named(behind, "incoming-") >= 1);

	node_reopen(behind);
	(void)must_propose(behind);
	assert_digests_equal(c);
	assert_int_equal(folders_named(behind, "live-"), 0);
}

static int gets;
static int (*get)(struct raft_io *io, struct raft_io_snapshot_get *req, raft_io_snapshot_get_cb cb);

static int get_fails_at_first(struct raft_io *io, struct raft_io_snapshot_get *req,
			      raft_io_snapshot_get_cb cb)
{
	gets++;
	if (gets == 1) {
		return RAFT_IOERR;
	}
	if (gets < 4) {
		cb(req, NULL, RAFT_IOERR);
		return 0;
	}
	return get(io, req, cb);
}

/* G10: libraft would release a configuration that it never set. */
static void a_snapshot_that_cannot_be_read_is_read_again(void **state)
{
	struct cluster *c = *state;
	struct node *behind = not_leader(c);

	gets = 0;
	uint64_t at = applied_of(behind);
	node_close(behind);
	RUN_UNTIL(c, all_follow(c));
	fill(c, led(c));
	logs_end_after(c, behind, at);
	for (size_t i = 0; i < 3; i++) {
		if (&c->nodes[i] != behind) {
			get = c->nodes[i].catalog->io_snapshot_get;
			c->nodes[i].catalog->io_snapshot_get = get_fails_at_first;
		}
	}
	node_reopen(behind);
	(void)must_propose(behind);
	RUN_UNTIL(c, gets >= 4);
	assert_digests_equal(c);
}

static void refuses_to_run_behind_its_database(void **state)
{
	struct cluster *c = *state;
	struct node *n = not_leader(c);
	struct et_error e;
	char command[2048];

	fill(c, led(c));
	(void)must_propose(n);
	node_close(n);
	(void)snprintf(command, sizeof(command), "rm -rf '%s/raft'", n->folder);
	assert_int_equal(system(command), 0);
	tls_open(n);
	struct et_catalog_config config = config_of(n);
	assert_int_equal(et_catalog_start(&config, &n->catalog, &e), ET_ECORRUPT);
	assert_non_null(strstr(e.text, "entries were lost"));
	/* What was begun goes by itself. */
	for (int i = 0; i < 20; i++) {
		(void)uv_run(&c->loop, UV_RUN_ONCE);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_follower_far_behind_installs),
		TEST(installs_while_others_write),
		TEST(old_checkpoints_and_log_go),
		TEST(a_start_finishes_the_swap),
		TEST(refuses_to_run_behind_its_database),
		TEST(a_snapshot_that_cannot_be_read_is_read_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
