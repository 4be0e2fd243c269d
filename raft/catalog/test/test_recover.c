#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>
#include <sys/wait.h>

#include "raft/catalog/test/fixture.h"

/* Two of three voters are lost; node 3 goes on alone, and meets node 2 again with its log of
 * before. The fixture's nodes know no identity folder: the log's part of recovery is called. */

static void recover(struct node *n, uint64_t *ret_index)
{
	struct et_error e;
	char folder[600];

	(void)snprintf(folder, sizeof(folder), "%s/raft", n->folder);
	if (et_cat_recover_log(folder, n->id, n->address, ret_index, &e) < 0) {
		fail_msg("%s", e.text);
	}
	(void)snprintf(folder, sizeof(folder), "%s/raft.recover", n->folder);
	assert_int_not_equal(access(folder, F_OK), 0); /* Nothing is left behind. */
}

static void lead(struct cluster *c, size_t i)
{
	while (led(c) != &c->nodes[i]) {
		struct answer a = { 0 };
		et_catalog_transfer(led(c)->catalog, i + 1, on_answer, &a);
		RUN_UNTIL(c, a.calls == 1);
	}
}

static raft_term term_of(const struct node *n)
{
	return n->catalog->raft.current_term;
}

/* Node 3 does not hear what 1 and 2 write, in two terms more: its log is a part of theirs. */
static void go_ahead(struct cluster *c)
{
	lead(c, 0);
	for (int i = 0; i < 5; i++) {
		(void)must_propose(&c->nodes[0]);
	}
	RUN_UNTIL(c, all_level(c));
	node_cut(&c->nodes[2], true);
	for (size_t i = 0; i < 2; i++) {
		lead(c, 1 - i);
		for (int k = 0; k < 3; k++) {
			(void)must_propose(&c->nodes[1 - i]);
		}
	}
}

static void close_all(struct cluster *c)
{
	for (size_t i = 0; i < c->count; i++) {
		node_close(&c->nodes[i]);
	}
	c->nodes[2].cut = false;
}

/* Node 3 goes on alone: what it writes takes the indexes of what it had not heard. */
static void go_on(struct cluster *c, raft_term before, uint64_t past)
{
	uint64_t index = 0;

	recover(&c->nodes[2], &index);
	node_reopen(&c->nodes[2]);
	while (must_propose(&c->nodes[2]) <= past) {
	}
	assert_ptr_equal(leader_of(c), &c->nodes[2]);
	/* No log of before can have an entry of the term of this one, or of a later one. */
	assert_true(term_of(&c->nodes[2]) >= before + CAT_RECOVERY_TERMS);
	assert_true(index <= applied_of(&c->nodes[2]));
}

static void take_back(struct cluster *c, size_t i)
{
	struct answer a = { 0 };

	node_reopen(&c->nodes[i]);
	et_catalog_add(c->nodes[2].catalog, i + 1, c->nodes[i].address, on_answer, &a);
	RUN_UNTIL(c, a.calls == 1);
	assert_int_equal(a.code, 0);
	et_catalog_assign(c->nodes[2].catalog, i + 1, ET_CATALOG_VOTER, on_answer, &a);
	RUN_UNTIL(c, a.calls == 2);
	assert_int_equal(a.code, 0);
}

/* It had heard no more than the one that goes on: it need not even be emptied. */
static void a_survivor_that_was_not_ahead_comes_back(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));

	(void)state;
	cluster_open(c, 3);
	cluster_form(c);
	lead(c, 0);
	for (int i = 0; i < 5; i++) {
		(void)must_propose(&c->nodes[0]);
	}
	RUN_UNTIL(c, all_level(c));
	raft_term before = term_of(&c->nodes[2]);
	uint64_t last = applied_of(&c->nodes[2]);
	close_all(c);
	go_on(c, before, last + 5);
	take_back(c, 1);
	(void)must_propose(&c->nodes[1]);
	assert_digests_equal(c);
	cluster_close(c);
	free(c);
}

/* What only the other survivor had heard has gone its own way: it stops, loudly, and its catalogue
 * never becomes a mixture of both. */
static void a_survivor_that_was_ahead_does_not_take_part(void **state)
{
	int pipes[2];
	char stage = 0;
	int status = 0;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const struct rlimit none = { 0, 0 };
		struct cluster *c = calloc(1, sizeof(*c));
		(void)setrlimit(RLIMIT_CORE, &none);
		(void)setenv("TMPDIR", getenv("ET_TEST_FOLDER"), 1);
		et_log_set_level(ET_LOG_ERROR);
		cluster_open(c, 3);
		cluster_form(c);
		go_ahead(c);
		raft_term before = term_of(&c->nodes[1]);
		uint64_t last = applied_of(&c->nodes[1]);
		bool ahead = applied_of(&c->nodes[2]) < last && term_of(&c->nodes[2]) < before;
		close_all(c);
		go_on(c, before - 2, last + 5);
		(void)!write(pipes[1], ahead ? "a" : "b", 1);
		take_back(c, 1);
		(void)must_propose(&c->nodes[1]);
		_exit(1);
	}
	(void)close(pipes[1]); /* A child that ends early says nothing: the end of the pipe. */
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(read(pipes[0], &stage, 1), 1);
	assert_int_equal(stage, 'a');
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	(void)close(pipes[0]);
}

/* Cut off before its entry was stored it leaves a scratch log behind; after that, the entry. */
static void a_recovery_that_was_interrupted_is_done_again(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));
	struct node *n = &c->nodes[0];
	char path[600];
	uint64_t first = 0;
	uint64_t second = 0;

	(void)state;
	cluster_open(c, 1);
	cluster_form(c);
	uint64_t last = must_propose(n);
	raft_term before = term_of(n);
	node_close(n);
	(void)snprintf(path, sizeof(path), "%s/raft.recover", n->folder);
	assert_int_equal(mkdir(path, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/raft.recover/metadata1", n->folder);
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	(void)fputs("torn", f);
	(void)fclose(f);
	recover(n, &first);
	recover(n, &second);
	assert_true(first > last);
	assert_int_equal(second, first + 1);
	node_reopen(n);
	assert_true(must_propose(n) > second);
	assert_true(term_of(n) >= before + 2 * CAT_RECOVERY_TERMS);
	cluster_close(c);
	free(c);
}

static void a_log_that_is_a_snapshot_alone_goes_on_behind_it(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));
	struct et_error e;
	uint64_t index = 0;

	(void)state;
	cluster_open(c, 1);
	struct et_catalog_config config = config_of(&c->nodes[0]);
	assert_int_equal(et_catalog_bootstrap_at(&config, 1000, &e), 0);
	recover(&c->nodes[0], &index);
	assert_int_equal(index, 1001);
	recover(&c->nodes[0], &index); /* It finds what was written. */
	assert_int_equal(index, 1002);
	cluster_close(c);
	free(c);
}

int main(void)
{
	char folder[] = "/tmp/et_recover.XXXXXX"; /* of the process that dies, too */
	assert_non_null(mkdtemp(folder));
	(void)setenv("ET_TEST_FOLDER", folder, 1);
	const struct CMUnitTest tests[] = {
		/* It forks: no thread may run before. */
		cmocka_unit_test(a_survivor_that_was_ahead_does_not_take_part),
		cmocka_unit_test(a_survivor_that_was_not_ahead_comes_back),
		cmocka_unit_test(a_recovery_that_was_interrupted_is_done_again),
		cmocka_unit_test(a_log_that_is_a_snapshot_alone_goes_on_behind_it),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	(void)nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return rc;
}
