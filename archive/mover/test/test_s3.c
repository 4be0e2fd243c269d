/* The mover and an S3 target: locks are read back, and what the target keeps is what counts. The
 * server is cluster-tests/harness/faultd.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "archive/mover/test/world.h"

#include <spawn.h>
#include <sys/wait.h>

#define HARNESS "../../../cluster-tests/harness/faultd.py"

extern char **environ;

struct server {
	pid_t pid;
	int input;
	char line[64]; /* "port=N" */
};

static void server_start(struct server *s, const char *always)
{
	int out[2];
	int in[2];
	char program[] = HARNESS;
	char option[] = "--always";
	char fault[32];
	char *argv[] = { program, option, fault, NULL };
	posix_spawn_file_actions_t actions;
	(void)snprintf(fault, sizeof(fault), "%s", always);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, out[1], 1), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, in[0], 0), 0);
	assert_int_equal(posix_spawn(&s->pid, program, &actions, NULL, argv, environ), 0);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(out[1]);
	(void)close(in[0]);
	s->input = in[1];
	size_t used = 0;
	while (used + 1 < sizeof(s->line) && read(out[0], s->line + used, 1) == 1 &&
	       s->line[used] != '\n') {
		used++;
	}
	s->line[used] = '\0';
	(void)close(out[0]);
	assert_ptr_equal(strstr(s->line, "port="), s->line);
}

static void server_stop(struct server *s)
{
	(void)close(s->input);
	assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
}

/* Archive one recording by the rule in a server with this fault. */
static struct tape archive_one(struct world *w, struct server *s, const char *fault,
			       const char *rule)
{
	char path[128];
	struct et_error e = { 0 };
	server_start(s, fault);
	(void)snprintf(path, sizeof(path), "%s/cred", w->folder);
	assert_int_equal(et_file_publish(path, "ID\nsecret\n", 10, 0400, &e), 0);
	(void)snprintf(w->target, sizeof(w->target),
		       "cold: {type: s3, endpoint: \"http://127.0.0.1:%s\", bucket: rec, "
		       "credentials: \"file:%s\"}",
		       s->line + 5, path);
	struct tape t = tape_record(w, 1, 70000);
	assert_int_equal(policy_set(w, rule, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, one_job_ended);
	return t;
}

#define LOCKED "{name: all, to: cold, lock: {mode: compliance, until: 7y}, local: {keep: 0s}}"

struct lock_seen {
	char text[64];
};

static int lock_seen_take(void *arg, const Et__Copy *copy)
{
	struct lock_seen *l = arg;
	if (strncmp(copy->place, "target:", 7) == 0) {
		(void)snprintf(l->text, sizeof(l->text), "%s", copy->lock);
	}
	return 0;
}

static void says_which_lock_it_read_back(void **state)
{
	struct world *w = *state;
	struct server s;
	struct lock_seen lock = { "" };
	struct tape t = archive_one(w, &s, "none", LOCKED);
	expect_archived(w, &t);
	expect_readable(w, &t);
	struct et_state_view *v = et_state_view_open(w->state);
	assert_int_equal(et_state_each_copy_of(v, t.id, lock_seen_take, &lock), 0);
	(void)et_state_view_close(v);
	/* 7 years of 366 days after 14:06:02 on the 22nd, rounded up to a second. */
	assert_string_equal(lock.text, "compliance until 2033-11-27T14:06:03.000000Z");
	server_stop(&s);
	free(t.bytes);
}

static void sets_no_lock_that_has_ended_already(void **state)
{
	struct world *w = *state;
	struct server s;
	struct lock_seen lock = { "" };
	struct tape t = archive_one(w, &s, "nolock",
				    "{name: all, to: cold, lock: {mode: compliance, until: 58m}}");
	expect_archived(w, &t); /* an hour has passed since the start of the call */
	struct et_state_view *v = et_state_view_open(w->state);
	assert_int_equal(et_state_each_copy_of(v, t.id, lock_seen_take, &lock), 0);
	(void)et_state_view_close(v);
	assert_string_equal(lock.text, "");
	server_stop(&s);
	free(t.bytes);
}

static void does_not_call_archived_what_is_not_locked(void **state)
{
	struct world *w = *state;
	struct server s;
	struct tape t = archive_one(w, &s, "nolock", LOCKED);
	assert_false(copy_at(w, &t, "target:cold").found);
	struct et_mover_status status = status_of(w);
	assert_int_equal(status.jobs_failed, 1);
	assert_non_null(strstr(status.last_error, "did not keep the lock"));
	assert_int_equal(access(t.path, F_OK), 0);
	server_stop(&s);
	free(t.bytes);
}

static void expect_refused(struct world *w, const char *fault)
{
	struct server s;
	struct tape t = archive_one(w, &s, fault, KEEP);
	assert_false(copy_at(w, &t, "target:cold").found);
	assert_int_equal(status_of(w).jobs_failed, 1);
	server_stop(&s);
	free(t.bytes);
}

static void does_not_call_archived_what_reads_back_wrong(void **state)
{
	expect_refused(*state, "wrong");
}

static void does_not_call_archived_what_was_kept_in_part(void **state)
{
	expect_refused(*state, "short");
}

static void stops_in_the_middle_of_an_upload(void **state)
{
	struct world *w = *state;
	struct server s;
	char path[128];
	struct et_error e = { 0 };
	server_start(&s, "stall");
	(void)snprintf(path, sizeof(path), "%s/cred", w->folder);
	assert_int_equal(et_file_publish(path, "ID\nsecret\n", 10, 0400, &e), 0);
	(void)snprintf(w->target, sizeof(w->target),
		       "cold: {type: s3, endpoint: \"http://127.0.0.1:%s\", bucket: rec, "
		       "credentials: \"file:%s\"}",
		       s.line + 5, path);
	struct tape t = tape_record(w, 1, 70000);
	assert_int_equal(policy_set(w, KEEP, 0), 0);
	mover_begin(w);
	plan_and_apply(w);
	wait_for(w, job_runs);
	int64_t begin = et_clock_mono_us();
	mover_end(w);
	assert_true(et_clock_mono_us() - begin < 8LL * 1000000);
	assert_int_equal(w->job_ends, 0);
	server_stop(&s);
	free(t.bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(says_which_lock_it_read_back),
		TEST(sets_no_lock_that_has_ended_already),
		TEST(does_not_call_archived_what_is_not_locked),
		TEST(does_not_call_archived_what_reads_back_wrong),
		TEST(does_not_call_archived_what_was_kept_in_part),
		TEST(stops_in_the_middle_of_an_upload),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
