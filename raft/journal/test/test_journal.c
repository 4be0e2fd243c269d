#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "node/base/fd.h"
#include "node/io/file.h"
#include "raft/journal/journal.h"

#define NODE 3

struct fixture {
	char folder[64];
	char journal[80];
};

static int remove_files(const char *folder)
{
	DIR *dir = opendir(folder);
	if (dir == NULL) {
		return 0;
	}
	const struct dirent *e;
	while ((e = readdir(dir)) != NULL) {
		(void)unlinkat(dirfd(dir), e->d_name, 0);
	}
	(void)closedir(dir);
	return rmdir(folder);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const char *tmp = getenv("TMPDIR");

	assert_non_null(f);
	(void)snprintf(f->folder, sizeof(f->folder), "%.40s/journal.XXXXXX",
		       tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(f->folder));
	(void)snprintf(f->journal, sizeof(f->journal), "%s/j", f->folder);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(remove_files(f->journal), 0);
	assert_int_equal(rmdir(f->folder), 0);
	free(f);
	return 0;
}

static struct et_journal *journal_open(const struct fixture *f)
{
	struct et_journal *j = NULL;
	struct et_error error;

	int rc = et_journal_open(f->journal, NODE, &j, &error);
	if (rc < 0) {
		fail_msg("%s", error.text);
	}
	return j;
}

/* Append a command that says `number`; its op id in *ret_op (a view into the journal). */
static int append(struct et_journal *j, uint64_t number, Et__OpId *ret_op, struct et_error *error)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__OpId op = ET__OP_ID__INIT;
	Et__SegmentSeal seal = ET__SEGMENT_SEAL__INIT;
	uint8_t id[16] = { 1 };

	et_put64(id + 8, number);
	seal.recording = (ProtobufCBinaryData){ 16, id };
	seal.generation = 1;
	seal.segment = 1;
	seal.records = number;
	c.op = &op;
	c.body_case = ET__COMMAND__BODY_SEGMENT_SEAL;
	c.segment_seal = &seal;
	int rc = et_journal_append(j, &c, NULL, error);
	*ret_op = op;
	return rc;
}

static Et__OpId append_ok(struct et_journal *j, uint64_t number)
{
	Et__OpId op;
	struct et_error error;

	int rc = append(j, number, &op, &error);
	if (rc < 0) {
		fail_msg("%s", error.text);
	}
	return op;
}

struct seen {
	uint64_t numbers[4096];
	uint64_t seqs[4096];
	size_t count;
};

static int see(void *arg, const Et__Command *command, struct et_view packed)
{
	struct seen *s = arg;

	assert_true(packed.size > 0);
	assert_true(s->count < ET_ARRAY_SIZE(s->numbers));
	s->seqs[s->count] = command->op->seq;
	s->numbers[s->count++] = command->segment_seal->records;
	return 0;
}

static size_t pending(struct et_journal *j, struct seen *s)
{
	s->count = 0;
	assert_int_equal(et_journal_each_pending(j, see, s), 0);
	assert_int_equal(et_journal_pending(j), s->count);
	return s->count;
}

static size_t file_count(const struct fixture *f, const char *ending)
{
	DIR *dir = opendir(f->journal);
	const struct dirent *e;
	size_t count = 0;

	assert_non_null(dir);
	while ((e = readdir(dir)) != NULL) {
		size_t n = strlen(e->d_name);
		count += n > strlen(ending) && strcmp(e->d_name + n - strlen(ending), ending) == 0;
	}
	(void)closedir(dir);
	return count;
}

/* The path of the only journal file. */
static void only_file(const struct fixture *f, char *ret, size_t size)
{
	DIR *dir = opendir(f->journal);
	const struct dirent *e;

	assert_non_null(dir);
	assert_int_equal(file_count(f, ".journal"), 1);
	while ((e = readdir(dir)) != NULL) {
		if (strstr(e->d_name, ".journal") != NULL &&
		    strstr(e->d_name, ".corrupt") == NULL) {
			(void)snprintf(ret, size, "%s/%.220s", f->journal, e->d_name);
		}
	}
	(void)closedir(dir);
}

static void gives_back_what_was_appended_in_order(void **state)
{
	struct fixture *f = *state;
	struct et_journal *j = journal_open(f);
	struct seen s;

	for (uint64_t i = 1; i <= 100; i++) {
		Et__OpId op = append_ok(j, i);
		assert_int_equal(op.seq, i);
		assert_int_equal(op.node, NODE);
	}
	assert_int_equal(pending(j, &s), 100);
	for (size_t i = 0; i < 100; i++) {
		assert_int_equal(s.numbers[i], i + 1);
		assert_int_equal(s.seqs[i], i + 1);
	}
	(void)et_journal_close(j);

	j = journal_open(f);
	assert_int_equal(pending(j, &s), 100);
	assert_int_equal(s.numbers[99], 100);
	Et__OpId op = append_ok(j, 101);
	assert_int_equal(op.seq, 1); /* a new incarnation */
	assert_int_equal(pending(j, &s), 101);
	assert_int_equal(s.numbers[100], 101);
	(void)et_journal_close(j);
}

static void committed_commands_go_and_their_file_with_the_last(void **state)
{
	struct fixture *f = *state;
	struct et_journal *j = journal_open(f);
	uint8_t incarnation[16];
	struct seen s;

	for (uint64_t i = 1; i <= 10; i++) {
		(void)append_ok(j, i);
	}
	et_journal_incarnation(j, incarnation);
	(void)et_journal_close(j);
	j = journal_open(f);
	assert_int_equal(file_count(f, ".journal"), 1);
	for (uint64_t i = 10; i >= 1; i--) {
		Et__OpId op = ET__OP_ID__INIT;
		op.node = NODE;
		op.incarnation = (ProtobufCBinaryData){ 16, incarnation };
		op.seq = i;
		et_journal_committed(j, &op);
		et_journal_committed(j, &op); /* twice is once */
		assert_int_equal(pending(j, &s), i - 1);
	}
	assert_int_equal(file_count(f, ".journal"), 0);
	(void)et_journal_close(j);
}

static void unknown_ops_are_ignored(void **state)
{
	struct fixture *f = *state;
	struct et_journal *j = journal_open(f);
	uint8_t other[16] = { 9 };

	Et__OpId op = append_ok(j, 1);
	Et__OpId wrong = op;
	wrong.seq = 2;
	et_journal_committed(j, &wrong);
	wrong = op;
	wrong.node++;
	et_journal_committed(j, &wrong);
	wrong = op;
	wrong.incarnation.data = other;
	et_journal_committed(j, &wrong);
	wrong.incarnation.len = 0;
	et_journal_committed(j, &wrong);
	assert_int_equal(et_journal_pending(j), 1);
	(void)et_journal_close(j);
}

static void the_floor_follows_what_is_committed(void **state)
{
	struct fixture *f = *state;
	struct et_journal *j = journal_open(f);

	Et__OpId a = append_ok(j, 1);
	Et__OpId b = append_ok(j, 2);
	assert_int_equal(a.floor, 1);
	assert_int_equal(b.floor, 1);
	et_journal_committed(j, &b);
	assert_int_equal(append_ok(j, 3).floor, 1);
	et_journal_committed(j, &a);
	assert_int_equal(append_ok(j, 4).floor, 3);
	(void)et_journal_close(j);
}

static void full_files_give_way_to_new_ones(void **state)
{
	struct fixture *f = *state;
	struct et_journal *j = journal_open(f);
	static Et__OpId ops[100];
	char *text = malloc(100001);
	struct seen s;

	assert_non_null(text);
	memset(text, 'x', 100000);
	text[100000] = '\0';
	for (size_t i = 0; i < 100; i++) {
		/* The biggest create commands are recordings with many streams; text is simpler. */
		Et__Command c = ET__COMMAND__INIT;
		Et__OpId op = ET__OP_ID__INIT;
		Et__PolicySet set = ET__POLICY_SET__INIT;
		Et__Policy policy = ET__POLICY__INIT;
		char name[] = "big";
		policy.name = name;
		policy.text = text;
		set.policy = &policy;
		c.op = &op;
		c.body_case = ET__COMMAND__BODY_POLICY_SET;
		c.policy_set = &set;
		assert_int_equal(et_journal_append(j, &c, NULL, NULL), 0);
		ops[i] = op;
	}
	assert_int_equal(file_count(f, ".journal"), 3); /* 43 records of 100 kB in 4 MiB */
	for (size_t i = 0; i < 42; i++) {
		et_journal_committed(j, &ops[i]);
	}
	assert_int_equal(file_count(f, ".journal"), 2);
	for (size_t i = 99; i >= 42; i--) {
		et_journal_committed(j, &ops[i]);
	}
	assert_int_equal(et_journal_pending(j), 0);
	assert_int_equal(file_count(f, ".journal"), 1); /* the one being appended to */
	(void)append_ok(j, 7);
	assert_int_equal(pending(j, &s), 1);
	assert_int_equal(s.numbers[0], 7);
	(void)et_journal_close(j);
	free(text);
}

/* A power cut leaves any prefix of what was not synced: cut the file at every byte. */
static void every_cut_leaves_the_whole_records_before_it(void **state)
{
	struct fixture *f = *state;
	struct et_journal *j = journal_open(f);
	struct et_buffer content = { 0 };
	char path[320];
	size_t ends[6] = { 48 };
	struct seen s;

	for (size_t i = 1; i < ET_ARRAY_SIZE(ends); i++) {
		struct stat st;
		(void)append_ok(j, i * 1000);
		only_file(f, path, sizeof(path));
		assert_int_equal(stat(path, &st), 0);
		ends[i] = (size_t)st.st_size;
	}
	(void)et_journal_close(j);
	assert_int_equal(et_file_read(path, 1 << 20, &content, NULL), 0);
	for (size_t cut = 0; cut <= content.size; cut++) {
		ET_CLEANUP(et_fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		assert_true(fd >= 0);
		assert_int_equal(et_file_pwrite(fd, content.data, cut, 0), 0);
		if (cut % 3 == 1) { /* sizes may be on disk before their bytes are: zeros */
			assert_int_equal(ftruncate(fd, (off_t)cut + 777), 0);
		}
		size_t whole = 0;
		while (whole + 1 < ET_ARRAY_SIZE(ends) && ends[whole + 1] <= cut) {
			whole++;
		}
		j = journal_open(f);
		assert_int_equal(pending(j, &s), whole);
		for (size_t i = 0; i < whole; i++) {
			assert_int_equal(s.numbers[i], (i + 1) * 1000);
		}
		assert_int_equal(et_journal_kept_aside(j), cut < 48 && cut % 3 == 1 ? 1 : 0);
		(void)et_journal_close(j);
		assert_int_equal(remove_files(f->journal), 0);
		assert_int_equal(mkdir(f->journal, 0700), 0);
	}
	et_buffer_release(&content);
}

static void damage_is_kept_aside_and_the_rest_is_saved(void **state)
{
	struct fixture *f = *state;
	struct et_journal *j = journal_open(f);
	struct et_buffer content = { 0 };
	char path[320];
	struct seen s;

	for (uint64_t i = 1; i <= 5; i++) {
		(void)append_ok(j, i);
	}
	only_file(f, path, sizeof(path));
	(void)et_journal_close(j);
	assert_int_equal(et_file_read(path, 1 << 20, &content, NULL), 0);
	size_t record = (content.size - 48) / 5;
	for (size_t at = 0; at < content.size - record; at++) {
		assert_int_equal(remove_files(f->journal), 0);
		assert_int_equal(mkdir(f->journal, 0700), 0);
		ET_CLEANUP(et_fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		assert_true(fd >= 0);
		content.data[at] ^= 0x40;
		assert_int_equal(et_file_pwrite(fd, content.data, content.size, 0), 0);
		content.data[at] ^= 0x40;
		for (int round = 0; round < 2;
		     round++) { /* the second start finds the saved ones */
			j = journal_open(f);
			/* The node and reserved bytes of the header are covered by its CRC. */
			assert_int_equal(pending(j, &s), at < 48 ? 5 : 4);
			assert_int_equal(et_journal_kept_aside(j), 1);
			assert_int_equal(file_count(f, ".corrupt"), 1);
			(void)et_journal_close(j);
		}
		size_t lost = at < 48 ? 6 : (at - 48) / record + 1;
		for (size_t i = 0; i < s.count; i++) {
			assert_true(s.numbers[i] != lost);
		}
	}
	et_buffer_release(&content);
}

static void a_full_disk_refuses_the_command_and_harms_no_other(void **state)
{
	struct fixture *f = *state;
	struct et_journal *j = journal_open(f);
	struct rlimit before;
	struct et_error error;
	struct seen s;
	Et__OpId op;

	(void)append_ok(j, 1);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	for (rlim_t room = 1; room < 90; room += 7) { /* room for a part of the record only */
		char path[320];
		struct stat st;
		only_file(f, path, sizeof(path));
		assert_int_equal(stat(path, &st), 0);
		struct rlimit small = before;
		small.rlim_cur = (rlim_t)st.st_size + room;
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
		int rc = append(j, 99, &op, &error);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
		if (rc == 0) {
			et_journal_committed(j, &op);
			break;
		}
		assert_int_equal(rc, -EFBIG);
		off_t size = st.st_size;
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, size);
		assert_int_equal(pending(j, &s), 1);
	}
	op = append_ok(j, 2);
	assert_in_range(op.seq, 2, 3); /* a refused command uses up no sequence */
	assert_int_equal(pending(j, &s), 2);
	(void)et_journal_close(j);
	j = journal_open(f);
	assert_in_range(pending(j, &s), 2, 3);
	assert_int_equal(et_journal_kept_aside(j), 0);
	(void)et_journal_close(j);
	(void)signal(SIGXFSZ, SIG_DFL);
}

static void a_malformed_command_is_refused(void **state)
{
	struct fixture *f = *state;
	struct et_journal *j = journal_open(f);
	Et__Command c = ET__COMMAND__INIT;
	Et__OpId op = ET__OP_ID__INIT;
	Et__SegmentSeal seal = ET__SEGMENT_SEAL__INIT;

	c.op = &op;
	c.body_case = ET__COMMAND__BODY_SEGMENT_SEAL;
	c.segment_seal = &seal; /* without an id */
	assert_int_equal(et_journal_append(j, &c, NULL, NULL), ET_EMALFORMED);
	assert_int_equal(et_journal_pending(j), 0);
	assert_int_equal(append_ok(j, 1).seq, 1);
	(void)et_journal_close(j);
}

/* kill -9 takes nothing that append had answered for: the child says each before it goes on. */
static void a_killed_process_leaves_what_it_was_told(void **state)
{
	struct fixture *f = *state;
	struct seen s;

	for (int round = 0; round < 8; round++) {
		int pipes[2];
		uint64_t told = 0;
		uint64_t number;
		assert_int_equal(pipe(pipes), 0);
		/* A child on a fast disk gets at most a page of numbers ahead. */
		assert_true(fcntl(pipes[1], F_SETPIPE_SZ, 4096) > 0);
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			struct et_journal *j = NULL;
			if (et_journal_open(f->journal, NODE, &j, NULL) < 0) {
				_exit(1);
			}
			for (uint64_t i = 1;; i++) {
				Et__OpId op;
				if (append(j, i, &op, NULL) < 0 ||
				    write(pipes[1], &i, sizeof(i)) != sizeof(i)) {
					_exit(1);
				}
			}
		}
		(void)close(pipes[1]);
		while (told < (uint64_t)(20 + round * 13) &&
		       read(pipes[0], &number, sizeof(number)) == sizeof(number)) {
			told = number;
		}
		assert_int_equal(kill(child, SIGKILL), 0);
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status));
		while (read(pipes[0], &number, sizeof(number)) == sizeof(number)) {
			told = number;
		}
		(void)close(pipes[0]);

		struct et_journal *j = journal_open(f);
		assert_true(pending(j, &s) >= told);
		for (size_t i = 0; i < s.count; i++) {
			assert_int_equal(s.numbers[i], i + 1);
		}
		assert_int_equal(et_journal_kept_aside(j), 0);
		(void)et_journal_close(j);
		assert_int_equal(remove_files(f->journal), 0);
	}
	assert_int_equal(mkdir(f->journal, 0700), 0);
}

struct writer {
	struct et_journal *journal;
	uint64_t base;
};

static void *write_and_commit(void *arg)
{
	struct writer *w = arg;

	for (uint64_t i = 0; i < 500; i++) {
		Et__OpId op;
		if (append(w->journal, w->base + i, &op, NULL) < 0) {
			return w;
		}
		if (i % 2 == 0) {
			et_journal_committed(w->journal, &op);
		}
	}
	return NULL;
}

static void many_threads_lose_nothing(void **state)
{
	struct fixture *f = *state;
	struct et_journal *j = journal_open(f);
	struct writer writers[4];
	pthread_t threads[4];
	struct seen *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	for (size_t i = 0; i < 4; i++) {
		writers[i] = (struct writer){ j, i * 10000 };
		assert_int_equal(pthread_create(&threads[i], NULL, write_and_commit, &writers[i]),
				 0);
	}
	for (size_t i = 0; i < 4; i++) {
		void *failed;
		s->count = 0;
		assert_int_equal(et_journal_each_pending(j, see, s), 0);
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	assert_int_equal(pending(j, s), 1000);
	(void)et_journal_close(j);
	j = journal_open(f);
	assert_true(pending(j, s) >=
		    1000); /* committed ones may come back, until their file goes */
	(void)et_journal_close(j);
	free(s);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(gives_back_what_was_appended_in_order),
		TEST(committed_commands_go_and_their_file_with_the_last),
		TEST(unknown_ops_are_ignored),
		TEST(the_floor_follows_what_is_committed),
		TEST(full_files_give_way_to_new_ones),
		TEST(every_cut_leaves_the_whole_records_before_it),
		TEST(damage_is_kept_aside_and_the_rest_is_saved),
		TEST(a_full_disk_refuses_the_command_and_harms_no_other),
		TEST(a_malformed_command_is_refused),
		TEST(a_killed_process_leaves_what_it_was_told),
		TEST(many_threads_lose_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
