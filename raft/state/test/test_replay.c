/* Determinism: the same log gives the same state, however it is grouped, cut, killed or copied. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>

#include "raft/state/tail_internal.h"
#include "raft/state/test/random.h"

#define ENTRIES 1200

static const char *own_path; /* of this program, to start it again as the one that is killed */

static void play(struct kit *k, uint64_t seed, size_t entries)
{
	struct dice_game *g = malloc(sizeof(*g));
	struct et_buffer entry = { 0 };

	assert_non_null(g);
	dice_begin(g, seed);
	kit_cluster(k);
	kit_upgrade(k, 1, ET_COMMAND_SCHEMA);
	for (size_t i = 0; i < entries; i++) {
		dice_entry(g, k, &entry);
		kit_apply_bytes(k, entry.data, entry.size);
	}
	et_buffer_release(&entry);
	free(g);
}

/* Apply log[from + 1 ..] to `s`, in groups of random size. */
static void replay(struct et_state *s, const struct kit *k, uint64_t from, struct dice *d)
{
	struct et_error error;
	uint64_t index = from;

	while (index < k->log_count) {
		uint64_t end = index + 1 + dice_below(d, 40);
		et_state_begin(s);
		while (index < end && index < k->log_count) {
			const struct kit_entry *e = &k->log[index++];
			int rc = et_state_apply(s, index, (struct et_view){ e->data, e->size },
						&error);
			if (rc < 0) {
				fail_msg("%s", error.text);
			}
		}
		assert_int_equal(et_state_commit(s, NULL, NULL, &error), 0);
	}
}

static void grouping_does_not_matter(void **state)
{
	struct kit *k = *state;
	struct kit_sums whole;
	struct dice d = { 77 };

	for (uint64_t round = 0; round < 3; round++) {
		char path[128];
		struct kit_sums other;
		if (round == 0) {
			play(k, 1, ENTRIES);
			kit_sum(k->s, &whole);
			assert_int_equal(whole.index, k->log_count);
		}
		(void)snprintf(path, sizeof(path), "%s/other-%d", k->folder, (int)round);
		struct et_state *s = kit_open(path);
		replay(s, k, 0, &d);
		kit_sum(s, &other);
		kit_assert_equal(&whole, &other);
		(void)et_state_close(s);
	}
}

static void every_index_has_its_own_digest(void **state)
{
	struct kit *k = *state;
	struct kit_sums before;
	struct kit_sums after;

	kit_cluster(k);
	kit_sum(k->s, &before);
	kit_apply_bytes(k, NULL, 0);
	kit_sum(k->s, &after);
	assert_int_equal(after.index, before.index + 1);
	assert_memory_not_equal(before.digest, after.digest, 32);
	/* Bytes that are no entry count, too: all nodes have received them. */
	before = after;
	kit_apply_bytes(k, "garbage!", 8);
	kit_sum(k->s, &after);
	assert_int_equal(after.index, before.index + 1);
	assert_memory_not_equal(before.digest, after.digest, 32);
}

static void entries_before_applied_are_skipped_and_holes_refused(void **state)
{
	struct kit *k = *state;
	struct kit_sums before;
	struct kit_sums after;
	struct et_error error;

	play(k, 3, 100);
	kit_sum(k->s, &before);
	et_state_begin(k->s);
	for (uint64_t i = 0; i < k->log_count; i++) {
		const struct kit_entry *e = &k->log[i];
		assert_int_equal(
			et_state_apply(k->s, i + 1, (struct et_view){ e->data, e->size }, NULL), 0);
	}
	assert_int_equal(et_state_commit(k->s, NULL, NULL, &error), 0);
	kit_sum(k->s, &after);
	kit_assert_equal(&before, &after);
	et_state_begin(k->s);
	assert_int_equal(
		et_state_apply(k->s, k->log_count + 2, (struct et_view){ NULL, 0 }, &error),
		ET_ECORRUPT);
	assert_int_equal(et_state_commit(k->s, NULL, NULL, &error), ET_ECORRUPT);
}

static void a_checkpoint_goes_on_from_its_index(void **state)
{
	struct kit *k = *state;
	struct kit_sums whole;
	struct kit_sums other;
	struct dice d = { 5 };
	char path[128];
	uint64_t at;
	struct et_error error;

	(void)snprintf(path, sizeof(path), "%s/checkpoint", k->folder);
	play(k, 4, 300);
	if (et_state_checkpoint(k->s, path, &at, &error) < 0) {
		fail_msg("%s", error.text);
	}
	assert_int_equal(at, k->log_count);
	struct dice_game *g = malloc(sizeof(*g));
	struct et_buffer entry = { 0 };
	assert_non_null(g);
	dice_begin(g, 40);
	for (size_t i = 0; i < 300; i++) {
		dice_entry(g, k, &entry);
		kit_apply_bytes(k, entry.data, entry.size);
	}
	et_buffer_release(&entry);
	free(g);
	kit_sum(k->s, &whole);
	struct et_state *s = kit_open(path);
	assert_int_equal(et_state_applied(s), at);
	replay(s, k, at, &d);
	kit_sum(s, &other);
	kit_assert_equal(&whole, &other);
	(void)et_state_close(s);
}

static void replacing_the_database_keeps_open_views(void **state)
{
	struct kit *k = *state;
	struct kit_sums before;
	struct kit_sums after;
	char path[128];
	uint64_t at;
	const struct kit_call call = { .id = 5000, .start_us = 1700000000000000 };

	(void)snprintf(path, sizeof(path), "%s/checkpoint", k->folder);
	play(k, 6, 200);
	assert_int_equal(et_state_checkpoint(k->s, path, &at, NULL), 0);
	kit_sum(k->s, &before);
	(void)kit_open_call(k, 1, &call);
	struct et_state_view *old = et_state_view_open(k->s);
	assert_non_null(old);
	uint8_t digest[32];
	assert_int_equal(et_state_content_digest(old, digest), 0);

	assert_int_equal(et_state_replace(k->s, "/dev/null/none", NULL), -EIO);
	assert_int_equal(et_state_applied(k->s), k->log_count);
	assert_int_equal(et_state_replace(k->s, path, NULL), 0);
	assert_int_equal(et_state_applied(k->s), at);
	kit_sum(k->s, &after);
	kit_assert_equal(&before, &after);
	uint8_t again[32];
	assert_int_equal(et_state_content_digest(old, again), 0); /* the old view is as it was */
	assert_memory_equal(digest, again, 32);
	assert_int_equal(et_state_view_index(old), at + 1);
	(void)et_state_view_close(old);

	/* And it goes on from there. */
	const struct kit_entry *e = &k->log[at];
	struct et_error error;
	et_state_begin(k->s);
	assert_int_equal(et_state_apply(k->s, at + 1, (struct et_view){ e->data, e->size }, &error),
			 0);
	assert_int_equal(et_state_commit(k->s, NULL, NULL, &error), 0);
	kit_sum(k->s, &after);
	assert_memory_equal(digest, after.content, 32);
}

/* ---- kill -9 ---- */

static void log_save(const struct kit *k, const char *path)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	for (size_t i = 0; i < k->log_count; i++) {
		uint8_t size[8];
		et_put64(size, k->log[i].size);
		assert_int_equal(fwrite(size, 1, 8, f), 8);
		assert_int_equal(fwrite(k->log[i].data, 1, k->log[i].size, f), k->log[i].size);
	}
	assert_int_equal(fclose(f), 0);
}

/* The index is written in files of few groups; in half of the runs no row goes when its file was
 * taken in, as if every kill came in between. */
static void victim_tune(struct et_state *s, uint64_t seed)
{
	struct tail_tuning tuning = tail_tuning(s->tail);

	tuning.bulk_bytes = seed % 3 == 0 ? 4000 : 40000;
	tuning.rows_stay = seed % 2 == 0;
	tail_tune(s->tail, &tuning);
}

/* The program that is killed: applies the log, flushes now and then, says each index it committed
 * on its standard output. */
static int victim(const char *db, const char *log, uint64_t seed)
{
	struct dice d = { seed * 2 + 1 };
	struct et_state *s = NULL;
	struct et_error error;
	FILE *f = fopen(log, "r");
	uint8_t size[8];
	uint64_t index = 0;

	if (f == NULL || et_state_open(db, &s, &error) < 0) {
		return 1;
	}
	victim_tune(s, seed);
	et_state_begin(s);
	while (fread(size, 1, 8, f) == 8) {
		size_t n = (size_t)et_get64(size);
		uint8_t *data = malloc(n + 1);
		if (data == NULL || fread(data, 1, n, f) != n ||
		    et_state_apply(s, ++index, (struct et_view){ data, n }, &error) < 0) {
			return 1;
		}
		free(data);
		if (!dice_one_in(&d, 10)) {
			continue;
		}
		if (et_state_commit(s, NULL, NULL, &error) < 0 ||
		    (dice_one_in(&d, 6) && et_state_flush(s, &error) < 0) ||
		    write(STDOUT_FILENO, &index, sizeof(index)) != sizeof(index)) {
			return 1;
		}
		et_state_begin(s);
	}
	int rc = et_state_commit(s, NULL, NULL, &error);
	(void)fclose(f);
	(void)et_state_close(s);
	return rc < 0;
}

static pid_t victim_start(const char *db, const char *log, uint64_t seed, int *ret_fd)
{
	char number[32];
	int pipes[2];

	(void)snprintf(number, sizeof(number), "%llu", (unsigned long long)seed);
	assert_int_equal(pipe(pipes), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)dup2(pipes[1], STDOUT_FILENO);
		(void)close(pipes[0]);
		(void)close(pipes[1]);
		(void)execl(own_path, own_path, "victim", db, log, number, (char *)NULL);
		_exit(127);
	}
	(void)close(pipes[1]);
	*ret_fd = pipes[0];
	return pid;
}

static void a_killed_process_goes_on_where_its_database_stands(void **state)
{
	struct kit *k = *state;
	struct kit_sums whole;
	struct dice d = { 9 };
	char log[128];
	bool moved = false;

	(void)snprintf(log, sizeof(log), "%s/log", k->folder);
	play(k, 7, ENTRIES);
	kit_sum(k->s, &whole);
	log_save(k, log);
	for (uint64_t round = 0; round < 8; round++) {
		char db[128];
		int fd = -1;
		int status;
		uint64_t told;
		struct kit_sums sums;
		(void)snprintf(db, sizeof(db), "%s/victim-%d", k->folder, (int)round);
		uint64_t target = dice_below(&d, k->log_count * 3 / 4);
		for (int kills = 0; kills < 2; kills++, target += 100) {
			pid_t pid = victim_start(db, log, round * 10 + (uint64_t)kills, &fd);
			while (read(fd, &told, sizeof(told)) == sizeof(told) && told < target) {
			}
			assert_int_equal(kill(pid, SIGKILL), 0);
			assert_int_equal(waitpid(pid, &status, 0), pid);
			assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
			(void)close(fd);
		}
		struct et_state *s = kit_open(db);
		uint64_t applied = et_state_applied(s);
		moved |= applied > 0 && applied < k->log_count;
		/* What stands there is the state of `applied`, not of in between. */
		char part[128];
		struct kit_sums here;
		struct kit_sums there;
		(void)snprintf(part, sizeof(part), "%s/part-%d", k->folder, (int)round);
		struct et_state *p = kit_open(part);
		struct kit prefix = *k;
		prefix.log_count = applied;
		replay(p, &prefix, 0, &d);
		kit_sum(s, &here);
		kit_sum(p, &there);
		if (applied > 0) {
			kit_assert_equal(&here, &there);
			kit_assert_same_index(s, p);
		}
		(void)et_state_close(p);

		replay(s, k, applied, &d);
		kit_sum(s, &sums);
		kit_assert_equal(&whole, &sums);
		kit_assert_same_index(s, k->s);
		(void)kit_audit_verify(s);
		(void)et_state_close(s);
	}
	assert_true(moved); /* some kill met a database that had been flushed on the way */
}

static void a_second_opener_is_told(void **state)
{
	struct kit *k = *state;
	struct et_state *s = NULL;
	struct et_error error;

	assert_int_equal(et_state_open(k->db, &s, &error), ET_EBUSY);
	assert_null(s);
}

static void a_newer_schema_stops_before_anything_of_the_entry(void **state)
{
	struct kit *k = *state;
	struct et_buffer packed = { 0 };
	struct et_buffer entry = { 0 };
	struct kit_sums before;
	struct kit_sums after;
	struct et_error error;
	Et__Command c = ET__COMMAND__INIT;
	Et__OpId op = ET__OP_ID__INIT;
	Et__Noop noop = ET__NOOP__INIT;

	kit_cluster(k);
	kit_sum(k->s, &before);
	op.node = 1;
	op.incarnation = kit_id(77);
	op.seq = 1;
	c.op = &op;
	c.body_case = ET__COMMAND__BODY_NOOP;
	c.noop = &noop;
	et_entry_begin(&entry);
	for (uint32_t schema = 0; schema <= ET_COMMAND_SCHEMA + 1; schema++) {
		c.schema = schema;
		op.seq = schema + 1;
		packed.size = 0;
		assert_int_equal(et_command_pack(&c, &packed), 0);
		et_entry_add(&entry, packed.data, packed.size);
	}
	et_entry_end(&entry);
	et_state_begin(k->s);
	assert_int_equal(et_state_apply(k->s, k->index + 1,
					(struct et_view){ entry.data, entry.size }, &error),
			 ET_EVERSION);
	assert_int_equal(et_state_commit(k->s, NULL, NULL, &error), 0);
	kit_sum(k->s, &after);
	kit_assert_equal(&before, &after);
	et_buffer_release(&packed);
	et_buffer_release(&entry);
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "victim") == 0) {
		return victim(argv[2], argv[3], strtoull(argv[4], NULL, 10));
	}
	own_path = "/proc/self/exe";
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_set_up, kit_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(grouping_does_not_matter),
		TEST(every_index_has_its_own_digest),
		TEST(entries_before_applied_are_skipped_and_holes_refused),
		TEST(a_checkpoint_goes_on_from_its_index),
		TEST(replacing_the_database_keeps_open_views),
		TEST(a_killed_process_goes_on_where_its_database_stands),
		TEST(a_second_opener_is_told),
		TEST(a_newer_schema_stops_before_anything_of_the_entry),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
