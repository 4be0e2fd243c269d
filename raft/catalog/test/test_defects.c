#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "raft/catalog/test/fixture.h"

/* What libraft 0.22.1 does without the guards: each test runs a node, in a process of its own, once
 * as the product runs it, and once with the guard left out (what it guards is called beside it).
 * The second must show the defect: when a newer libraft no longer has it, its guard can go. */

enum { FINE = 0, DEFECT = 42 };

typedef int (*story)(struct cluster *c, bool guarded);

/* How the process of `run` ended: FINE, DEFECT, another code of its own, or minus a signal. */
static int in_child(story run, bool guarded, size_t nodes, bool form)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		const struct rlimit none = { 0, 0 };
		struct cluster *c = calloc(1, sizeof(*c));
		(void)setrlimit(RLIMIT_CORE, &none);
		(void)signal(SIGSEGV, SIG_DFL); /* cmocka's would tell it as a failure. */
		(void)setenv("TMPDIR", getenv("ET_TEST_FOLDER"), 1);
		et_log_set_level(ET_LOG_ERROR);
		cluster_open(c, nodes);
		if (form) {
			cluster_form(c);
		}
		_exit(run(c, guarded));
	}
	int status = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static bool crashed(int how)
{
	return how == -SIGSEGV || how == -SIGBUS || how == -SIGABRT;
}

static void turns(struct cluster *c, int n)
{
	for (int i = 0; i < n; i++) {
		(void)uv_run(&c->loop, UV_RUN_NOWAIT);
	}
}

static char sender_address[] = "127.0.0.1:1";

static struct raft_message install_of(raft_term term, raft_index index)
{
	struct raft_message m = { .type = RAFT_INSTALL_SNAPSHOT,
				  .server_id = 2,
				  .server_address = sender_address };
	uint8_t *manifest = raft_malloc(CAT_MANIFEST_SIZE);

	et_cat_manifest_write(&(struct cat_manifest){ .index = index }, manifest);
	m.install_snapshot.term = term;
	m.install_snapshot.last_index = index;
	m.install_snapshot.last_term = term;
	raft_configuration_init(&m.install_snapshot.conf);
	(void)raft_configuration_add(&m.install_snapshot.conf, 2, sender_address, RAFT_VOTER);
	m.install_snapshot.conf_index = 1;
	m.install_snapshot.data = (struct raft_buffer){ manifest, CAT_MANIFEST_SIZE };
	return m;
}

static void deliver(struct et_catalog *k, struct raft_message *m, bool guarded)
{
	if (guarded) {
		et_cat_guard_recv(&k->io, m);
	} else {
		k->deliver(&k->io, m);
	}
}

static void on_apply(struct raft_apply *req, int status, void *result)
{
	(void)req;
	(void)status;
	(void)result;
}

/* ---- G1 ---- */

static int unaligned(struct cluster *c, bool guarded)
{
	struct et_catalog *k = c->nodes[0].catalog;
	struct raft_apply *req = calloc(1, sizeof(*req));
	struct raft_buffer buf = { raft_malloc(13), 13 };
	raft_index before = raft_last_index(&k->raft);

	memset(buf.base, 'x', 13);
	if (!guarded) {
		k->io.append = k->io_append;
	}
	int rv = raft_apply(&k->raft, req, &buf, 1, on_apply);
	/* Refused, and counted as taken: its disk lacks an index that it believes in. */
	return rv != 0 && raft_last_index(&k->raft) == before + 1 ? DEFECT : FINE;
}

static int two_buffers(struct cluster *c, bool guarded)
{
	struct et_catalog *k = c->nodes[0].catalog;
	struct raft_apply *req = calloc(1, sizeof(*req));
	struct raft_buffer bufs[2] = { { raft_malloc(8), 8 }, { raft_malloc(8), 8 } };
	struct answer a = { 0 }, b = { 0 };
	raft_index before = raft_last_index(&k->raft);

	if (guarded) { /* Two proposals: in one buffer, or one after the other. Both are applied. */
		propose_noop(&c->nodes[0], "first", 0, 30000, &a);
		propose_noop(&c->nodes[0], "second", 0, 30000, &b);
		RUN_UNTIL(c, a.calls == 1 && b.calls == 1);
		return a.code == 0 && b.code == 0 ? FINE : 1;
	}
	memset(bufs[0].base, 1, 8);
	memset(bufs[1].base, 2, 8);
	int rv = raft_apply(&k->raft, req, bufs, 2, on_apply);
	return rv == 0 && raft_last_index(&k->raft) == before + 1 ? DEFECT : FINE;
}

static void g1_one_buffer_of_whole_words(void **state)
{
	(void)state;
	assert_int_equal(in_child(unaligned, false, 1, true), DEFECT);
	assert_int_equal(in_child(unaligned, true, 1, true), -SIGABRT); /* It ends before. */
	assert_int_equal(in_child(two_buffers, false, 1, true), DEFECT);
	assert_int_equal(in_child(two_buffers, true, 1, true), FINE);
}

/* ---- G2 ---- */

static void on_index_ignore(void *arg, int code, uint64_t index)
{
	(void)code;
	(void)index;
	++*(int *)arg;
}

static int install_while_one_is_taken(struct cluster *c, bool guarded)
{
	struct et_catalog *k = c->nodes[0].catalog;
	int told = 0;

	for (int i = 0; i < 5; i++) {
		(void)must_propose(&c->nodes[0]);
	}
	et_catalog_snapshot(k, on_index_ignore, &told);
	RUN_UNTIL(c, k->raft.legacy.snapshot_taking);
	struct raft_message m =
		install_of(k->raft.current_term + 1, raft_last_index(&k->raft) + 100);
	deliver(k, &m, guarded);
	RUN_UNTIL(c, told > 0);
	turns(c, 50);
	return k->install.active ? FINE
				 : DEFECT; /* Held. Without the guard it did not live so long. */
}

static void g2_an_install_while_a_snapshot_is_taken(void **state)
{
	(void)state;
	assert_true(crashed(in_child(install_while_one_is_taken, false, 1, true)));
	assert_int_equal(in_child(install_while_one_is_taken, true, 1, true), FINE);
}

/* ---- G3 ---- */

static cat_syscall syscall_before;

/* libraft's writes fail; see aio.c for how it comes here. */
static long syscall_failing(long number, ...)
{
	long a[6];
	va_list args;

	va_start(args, number);
	for (size_t i = 0; i < 6; i++) {
		a[i] = va_arg(args, long);
	}
	va_end(args);
	long rc = syscall_before(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	for (long i = 0; number == SYS_io_getevents && i < rc; i++) {
		struct io_event *events = NULL;
		memcpy(&events, &a[3], sizeof(events));
		events[i].res = -EIO;
	}
	return rc;
}

static void no_trace(struct raft_tracer *t, int type, const void *info)
{
	(void)t;
	(void)type;
	(void)info;
}

static int a_write_fails(struct cluster *c, bool guarded)
{
	struct et_catalog *k = c->nodes[0].catalog;
	struct answer a = { 0 };

	if (!guarded) {
		k->io.append = k->io_append;
		k->tracer.emit = no_trace;
	}
	syscall_before = et_cat_syscall_next;
	et_cat_syscall_next = syscall_failing;
	propose_noop(&c->nodes[0], "not stored", 0, 3000, &a);
	RUN_UNTIL(c, a.calls == 1);
	turns(c, 100);
	return 1;
}

static void g3_a_write_of_the_log_that_fails(void **state)
{
	(void)state;
	assert_int_equal(in_child(a_write_fails, true, 1, true), -SIGABRT); /* It says why. */
	assert_int_equal(in_child(a_write_fails, false, 1, true), -SIGSEGV);
}

/* ---- G4 ---- */

static raft_index answered_index;
static unsigned answers;

static int send_capture(struct raft_io *io, struct raft_io_send *req,
			const struct raft_message *message, raft_io_send_cb cb)
{
	(void)io;
	if (message->type == RAFT_APPEND_ENTRIES_RESULT &&
	    message->append_entries_result.rejected == 0) {
		answers++;
		answered_index = message->append_entries_result.last_log_index;
	}
	cb(req, 0);
	return 0;
}

/* What is left on the stack is what a variable that was never set shows. */
__attribute__((noinline)) static void stack_fill(uint8_t with)
{
	volatile uint8_t bytes[16384];

	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] = with;
	}
}

static int a_stale_install(struct cluster *c, bool guarded)
{
	struct et_catalog *k = c->nodes[0].catalog;
	raft_index seen[2] = { 0 };

	k->io.send = send_capture;
	for (size_t i = 0; i < 2; i++) {
		struct raft_message m = install_of(k->raft.current_term - 1, 100000);
		stack_fill(i == 0 ? 0x00 : 0x5a);
		deliver(k, &m, guarded);
		turns(c, 5);
		seen[i] = answered_index;
	}
	if (answers == 0) {
		return FINE;
	}
	/* "I have all up to ...": an index that nothing has set. */
	return seen[0] != seen[1] || seen[0] != raft_last_index(&k->raft) ? DEFECT : 1;
}

static int a_stale_install_in_term_2(struct cluster *c, bool guarded)
{
	c->nodes[0].catalog->raft.current_term += 5;
	return a_stale_install(c, guarded);
}

static void g4_an_install_of_an_older_term(void **state)
{
	(void)state;
	assert_int_equal(in_child(a_stale_install_in_term_2, false, 1, true), DEFECT);
	assert_int_equal(in_child(a_stale_install_in_term_2, true, 1, true), FINE);
}

/* ---- G5 ---- */

static int (*send_original)(struct raft_io *io, struct raft_io_send *req,
			    const struct raft_message *message, raft_io_send_cb cb);

/* A new leader that reaches nobody: elected, and nothing of its term is committed. */
static int send_no_entries(struct raft_io *io, struct raft_io_send *req,
			   const struct raft_message *message, raft_io_send_cb cb)
{
	if (message->type != RAFT_APPEND_ENTRIES || message->append_entries.n_entries == 0) {
		return send_original(io, req, message, cb);
	}
	cb(req, RAFT_NOCONNECTION);
	return 0;
}

static void on_change(struct raft_change *req, int status)
{
	(void)req;
	(void)status;
}

static int a_change_at_once(struct cluster *c, bool guarded)
{
	struct node *before = led(c);
	struct node *next = before == &c->nodes[0] ? &c->nodes[1] : &c->nodes[0];
	struct et_catalog *k = next->catalog;
	struct raft_change *req = calloc(1, sizeof(*req));
	struct answer a = { 0 }, t = { 0 };

	RUN_UNTIL(c, k->raft.configuration_uncommitted_index == 0);
	send_original = k->io.send;
	k->io.send = send_no_entries;
	et_catalog_transfer(before->catalog, next->id, on_answer, &t);
	RUN_UNTIL(c, k->raft.state == RAFT_LEADER || t.calls > 0);
	if (k->raft.state != RAFT_LEADER) {
		return 2;
	}
	if (!guarded) {
		/* The hole: a change of this leader and one of the next may both be committed by
		 * majorities that do not meet. */
		int rv = raft_add(&k->raft, req, 9, "127.0.0.1:9", on_change);
		return rv == 0 && k->raft.configuration_uncommitted_index != 0 ? DEFECT : FINE;
	}
	et_catalog_add(k, 9, "127.0.0.1:9", on_answer, &a);
	for (int i = 0; i < 100 && k->raft.state == RAFT_LEADER; i++) {
		(void)uv_run(&c->loop, UV_RUN_ONCE);
		if (k->raft.configuration_uncommitted_index != 0) {
			return DEFECT;
		}
	}
	return FINE;
}

static void g5_a_change_before_an_entry_of_the_own_term(void **state)
{
	int how = 2;

	(void)state;
	for (int i = 0; i < 5 && how == 2; i++) { /* libraft's transfer fails now and then. */
		how = in_child(a_change_at_once, false, 3, true);
	}
	assert_int_equal(how, DEFECT);
	how = 2;
	for (int i = 0; i < 5 && how == 2; i++) {
		how = in_child(a_change_at_once, true, 3, true);
	}
	assert_int_equal(how, FINE);
}

/* ---- G6 ---- */

static struct raft_message entries_of(struct raft_entry *entries, unsigned n, raft_index prev)
{
	struct raft_message m = { .type = RAFT_APPEND_ENTRIES,
				  .server_id = 2,
				  .server_address = sender_address };
	struct raft_append_entries *a = &m.append_entries;
	size_t size = 0;

	for (unsigned i = 0; i < n; i++) {
		size += entries[i].buf.len;
	}
	uint8_t *batch = raft_malloc(size);
	a->entries = raft_malloc(n * sizeof(*entries));
	for (unsigned i = 0, at = 0; i < n; i++) {
		memcpy(batch + at, entries[i].buf.base, entries[i].buf.len);
		a->entries[i] = entries[i];
		a->entries[i].buf.base = batch + at;
		a->entries[i].batch = batch;
		at += (unsigned)entries[i].buf.len;
	}
	a->term = 1;
	a->prev_log_index = prev;
	a->prev_log_term = prev == 0 ? 0 : 1;
	a->n_entries = n;
	return m;
}

static struct raft_entry change_of(unsigned others)
{
	struct raft_configuration conf;
	struct raft_entry e = { .term = 1, .type = RAFT_CHANGE };
	char address[32];

	raft_configuration_init(&conf);
	(void)raft_configuration_add(&conf, 2, sender_address, RAFT_VOTER);
	for (unsigned i = 0; i < others; i++) {
		(void)snprintf(address, sizeof(address), "127.0.0.1:%u", 10 + i);
		(void)raft_configuration_add(&conf, 10 + i, address, RAFT_SPARE);
	}
	(void)raft_configuration_encode(&conf, &e.buf);
	raft_configuration_close(&conf);
	return e;
}

static int a_change_behind_another_entry(struct cluster *c, bool guarded)
{
	uint64_t word = 0;
	struct raft_entry command = { .term = 1, .type = RAFT_COMMAND, .buf = { &word, 8 } };

	catalog_open(&c->nodes[0]);
	struct et_catalog *k = c->nodes[0].catalog;
	struct raft_entry first[1] = { change_of(0) };
	struct raft_message m = entries_of(first, 1, 0);
	deliver(k, &m, true);
	RUN_UNTIL(c, k->raft.last_stored == 1);
	struct raft_entry then[2] = { command, change_of(1) };
	m = entries_of(then, 2, 1);
	deliver(k, &m, guarded);
	RUN_UNTIL(c, k->raft.last_stored == 3);
	return k->raft.configuration_uncommitted_index == 3   ? FINE
	       : k->raft.configuration_uncommitted_index == 2 ? DEFECT
							      : 1;
}

static void g6_a_change_that_is_not_first_in_its_message(void **state)
{
	(void)state;
	assert_int_equal(in_child(a_change_behind_another_entry, false, 1, false), DEFECT);
	assert_int_equal(in_child(a_change_behind_another_entry, true, 1, false), FINE);
}

/* ---- G7 ---- */

static int append_hangs(struct raft_io *io, struct raft_io_append *req,
			const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
	(void)io;
	(void)req;
	(void)entries;
	(void)n;
	(void)cb;
	return 0;
}

static int a_disk_hangs(struct cluster *c, bool guarded)
{
	struct node *stuck = led(c);
	struct answer a = { 0 };

	stuck->catalog->io_append = append_hangs;
	if (!guarded) {
		stuck->catalog->hand_over_at_us = INT64_MAX;
	}
	propose_noop(stuck, "stuck", 0, 30000, &a);
	if (guarded) {
		RUN_UNTIL(c, leader_of(c) != NULL && leader_of(c) != stuck);
		return FINE;
	}
	int64_t until_us = et_clock_mono_us() + INT64_C(5) * 600 * 1000; /* election timeouts */
	RUN_UNTIL(c, et_clock_mono_us() > until_us);
	return leader_of(c) == stuck && stuck->catalog->raft.last_stored <
						raft_last_index(&stuck->catalog->raft)
		       ? DEFECT
		       : FINE;
}

static void g7_a_leader_that_cannot_store(void **state)
{
	(void)state;
	assert_int_equal(in_child(a_disk_hangs, false, 3, true), DEFECT);
	assert_int_equal(in_child(a_disk_hangs, true, 3, true), FINE);
}

/* ---- G8 ---- */

static raft_index furthest;

static int send_look(struct raft_io *io, struct raft_io_send *req,
		     const struct raft_message *message, raft_io_send_cb cb)
{
	const struct raft_append_entries *a = &message->append_entries;

	if (message->type == RAFT_APPEND_ENTRIES && a->prev_log_index + a->n_entries > furthest) {
		furthest = a->prev_log_index + a->n_entries;
	}
	return send_original(io, req, message, cb);
}

/* A hundred entries at once: how many are on their way before the first answer? */
static int a_window(struct cluster *c, bool guarded)
{
	struct et_catalog *k = led(c)->catalog;
	raft_index before = raft_last_index(&k->raft);

	if (!guarded) {
		raft_set_max_inflight_entries(&k->raft, 32); /* what raft_init() sets */
	}
	send_original = k->io.send;
	k->io.send = send_look;
	for (int i = 0; i < 100; i++) {
		struct raft_apply *req = calloc(1, sizeof(*req));
		struct raft_buffer buf = { raft_malloc(8), 8 };
		memset(buf.base, 0, 8);
		if (raft_apply(&k->raft, req, &buf, 1, on_apply) != 0) {
			return 1;
		}
	}
	return furthest <= before + 32 ? DEFECT : furthest == before + 100 ? FINE : 1;
}

static int a_follower_returns(struct cluster *c, bool guarded)
{
	struct node *leader = led(c);
	struct node *away = leader == &c->nodes[0] ? &c->nodes[1] : &c->nodes[0];
	raft_term before = leader->catalog->raft.current_term;
	int64_t until_us = et_clock_mono_us() + INT64_C(4) * 600 * 1000;

	raft_set_pre_vote(&away->catalog->raft, guarded);
	node_cut(away, true);
	if (guarded) {
		RUN_UNTIL(c, et_clock_mono_us() > until_us);
	} else {
		RUN_UNTIL(c, away->catalog->raft.current_term >= before + 2);
	}
	node_cut(away, false);
	(void)must_propose(away);
	return leader->catalog->raft.current_term == before ? FINE : DEFECT;
}

static void g8_window_and_pre_vote(void **state)
{
	(void)state;
	assert_int_equal(in_child(a_window, false, 3, true), DEFECT);
	assert_int_equal(in_child(a_window, true, 3, true), FINE);
	assert_int_equal(in_child(a_follower_returns, false, 3, true), DEFECT);
	assert_int_equal(in_child(a_follower_returns, true, 3, true), FINE);
}

/* ---- G9 ---- */

static int restore_fails(struct raft_fsm *fsm, struct raft_buffer *buf)
{
	(void)fsm;
	(void)buf;
	return RAFT_IOERR;
}

/* A snapshot that cannot be restored, while running. */
static int a_restore_fails(struct cluster *c, bool guarded)
{
	uint64_t word = 0;
	struct raft_entry next[1] = { { .term = 1, .type = RAFT_COMMAND, .buf = { &word, 8 } } };

	catalog_open(&c->nodes[0]);
	struct et_catalog *k = c->nodes[0].catalog;
	if (!guarded) {
		k->fsm.restore = restore_fails;
	}
	struct raft_message m = install_of(1, 100);
	k->deliver(&k->io, &m); /* Its files are not there. */
	RUN_UNTIL(c, k->raft.last_stored >= 100 && !k->raft.snapshot.installing);
	m = entries_of(next, 1, 100);
	m.append_entries.leader_commit = 101;
	k->deliver(&k->io, &m);
	RUN_UNTIL(c, k->raft.last_stored == 101);
	if (guarded) { /* The state thread cannot do it: it ends. */
		int64_t until_us = et_clock_mono_us() + 30 * 1000000;
		RUN_UNTIL(c, et_clock_mono_us() > until_us);
	}
	turns(c, 50);
	/* It has stored, it answers, its commit index moves; and nothing is ever applied again. */
	return k->raft.commit_index >= 100 && k->raft.last_applied < 100 ? DEFECT : FINE;
}

static int nowhere_init(struct raft_uv_transport *t, raft_id id, const char *address)
{
	(void)t;
	(void)id;
	(void)address;
	return 0;
}

static int nowhere_listen(struct raft_uv_transport *t, raft_uv_accept_cb cb)
{
	(void)t;
	(void)cb;
	return 0;
}

static void nowhere_close(struct raft_uv_transport *t, raft_uv_transport_close_cb cb)
{
	cb(t);
}

static int nothing_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
	(void)fsm;
	(void)buf;
	*result = NULL;
	return 0;
}

/* libraft alone starts on this folder, as it is set by default: the last index it finds; -1: it
 * refuses. */
static int64_t raft_alone(const struct node *n)
{
	struct raft_uv_transport transport = {
		.version = 1, .init = nowhere_init, .listen = nowhere_listen, .close = nowhere_close
	};
	struct raft_fsm fsm = { .version = 1, .apply = nothing_apply };
	struct raft_io *io = calloc(1, sizeof(*io)); /* The process ends soon. */
	struct raft *raft = calloc(1, sizeof(*raft));
	uv_loop_t *loop = calloc(1, sizeof(*loop));
	char folder[600];

	(void)snprintf(folder, sizeof(folder), "%s/raft", n->folder);
	(void)mkdir(folder, 0700);
	(void)uv_loop_init(loop);
	if (raft_uv_init(io, loop, folder, &transport) != 0 ||
	    raft_init(raft, io, &fsm, n->id, n->address) != 0) {
		return -2;
	}
	return raft_start(raft) == 0 ? (int64_t)raft_last_index(raft) : -1;
}

/* One byte of the log, in the middle of what is written, is another. */
static bool log_damage(const struct node *n)
{
	char path[900];
	char folder[600];
	struct stat st;
	bool done = false;

	(void)snprintf(folder, sizeof(folder), "%s/raft", n->folder);
	DIR *dir = opendir(folder);
	for (struct dirent *e = readdir(dir); e != NULL && !done; e = readdir(dir)) {
		uint8_t byte = 0;
		(void)snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		if (strchr(e->d_name, '-') == NULL || strncmp(e->d_name, "snapshot", 8) == 0 ||
		    strncmp(e->d_name, "open", 4) == 0 || stat(path, &st) < 0) {
			continue;
		}
		int fd = open(path, O_RDWR | O_CLOEXEC);
		done = pread(fd, &byte, 1, st.st_size / 2) == 1;
		byte ^= 0x40;
		done = done && pwrite(fd, &byte, 1, st.st_size / 2) == 1;
		(void)close(fd);
	}
	(void)closedir(dir);
	return done;
}

static int a_damaged_log(struct cluster *c, bool guarded)
{
	struct node *n = &c->nodes[0];
	struct et_catalog_config config = config_of(n);
	struct et_error e;
	uint64_t last = 0;

	for (int i = 0; i < 40; i++) {
		last = must_propose(n);
	}
	catalog_close(n); /* Its segment is closed. */
	if (!log_damage(n)) {
		return 1;
	}
	(void)guarded; /* What automatic recovery would drop depends on where the damage is. */
	for (int i = 0; i < 2; i++) { /* It stays refused: nothing was set aside by the first. */
		if (et_catalog_start(&config, &n->catalog, &e) == 0) {
			return DEFECT;
		}
		turns(c, 50);
	}
	return last > 0 ? FINE : 1;
}

static int a_lost_log(struct cluster *c, bool guarded)
{
	struct node *n = &c->nodes[0];
	struct et_catalog_config config = config_of(n);
	struct et_error e;
	char command[800];

	(void)must_propose(n);
	catalog_close(n);
	(void)snprintf(command, sizeof(command), "rm -rf '%s/raft'", n->folder);
	if (system(command) != 0) {
		return 1;
	}
	if (guarded) {
		return et_catalog_start(&config, &n->catalog, &e) == ET_ECORRUPT ? FINE : DEFECT;
	}
	return raft_alone(n) == 0 ? DEFECT : FINE; /* An empty log is fine with it. */
}

static void g9_what_was_lost_is_not_passed_over(void **state)
{
	(void)state;
	assert_int_equal(in_child(a_restore_fails, false, 1, false), DEFECT);
	assert_int_equal(in_child(a_restore_fails, true, 1, false), -SIGABRT);
	assert_int_equal(in_child(a_damaged_log, true, 1, true), FINE);
	assert_int_equal(in_child(a_lost_log, false, 1, true), DEFECT);
	assert_int_equal(in_child(a_lost_log, true, 1, true), FINE);
}

/* ---- G11 ---- */

static pthread_t loop_thread;
static atomic_int destroyed_on_loop;
static atomic_int destroyed_elsewhere;

static long syscall_looking(long number, ...)
{
	long a[6];
	va_list args;

	va_start(args, number);
	for (size_t i = 0; i < 6; i++) {
		a[i] = va_arg(args, long);
	}
	va_end(args);
	if (number == SYS_io_destroy) {
		bool here = pthread_equal(pthread_self(), loop_thread) != 0;
		(void)atomic_fetch_add(here ? &destroyed_on_loop : &destroyed_elsewhere, 1);
	}
	return syscall_before(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* Segments are closed when the catalogue is. libraft alone, in a thread that is no catalogue's
 * loop, does what it does. */
static int segments_end(struct cluster *c, bool guarded)
{
	loop_thread = pthread_self();
	(void)syscall(SYS_getpid, 0L, 0L, 0L, 0L, 0L, 0L); /* So that aio.c has looked it up. */
	syscall_before = et_cat_syscall_next;
	et_cat_syscall_next = syscall_looking;
	if (!guarded) {
		(void)syscall(SYS_io_destroy, 0L, 0L, 0L, 0L, 0L, 0L);
		return atomic_load(&destroyed_on_loop) > 0 ? DEFECT : FINE;
	}
	(void)must_propose(&c->nodes[0]);
	catalog_close(&c->nodes[0]);
	RUN_UNTIL(c, atomic_load(&destroyed_elsewhere) + atomic_load(&destroyed_on_loop) > 0);
	return atomic_load(&destroyed_on_loop) == 0 ? FINE : DEFECT;
}

static void g11_the_loop_does_not_wait_for_io_destroy(void **state)
{
	(void)state;
	assert_int_equal(in_child(segments_end, false, 0, false), DEFECT);
	assert_int_equal(in_child(segments_end, true, 1, true), FINE);
}

/* ---- G13 ---- */

/* No node can make a segment while it starts: 8 MiB are more than a file may have. */
static int a_start_without_segments(struct cluster *c, bool guarded)
{
	struct rlimit before;
	struct answer a = { 0 };

	for (size_t i = 0; i < c->count; i++) {
		catalog_close(&c->nodes[i]);
	}
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)getrlimit(RLIMIT_FSIZE, &before);
	const struct rlimit small = { 4 * 1024 * 1024, before.rlim_max };
	(void)setrlimit(RLIMIT_FSIZE, &small);
	for (size_t i = 0; i < c->count; i++) {
		catalog_open(&c->nodes[i]);
	}
	(void)setrlimit(RLIMIT_FSIZE, &before);
	for (size_t i = 0; !guarded && i < c->count; i++) {
		raft_set_capacity_threshold(&c->nodes[i].catalog->raft, 4 * 1024); /* its own */
	}
	propose_noop(led(c), "goes on", 0, 100000, &a);
	int64_t until_us = et_clock_mono_us() + (guarded ? 60 : 8) * INT64_C(1000000);
	RUN_UNTIL(c, a.calls == 1 || et_clock_mono_us() > until_us);
	return a.calls == 1 && a.code == 0 ? FINE : DEFECT;
}

static void g13_a_start_without_segments(void **state)
{
	(void)state;
	assert_int_equal(in_child(a_start_without_segments, false, 3, true), DEFECT);
	assert_int_equal(in_child(a_start_without_segments, true, 3, true), FINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(g1_one_buffer_of_whole_words),
		cmocka_unit_test(g2_an_install_while_a_snapshot_is_taken),
		cmocka_unit_test(g3_a_write_of_the_log_that_fails),
		cmocka_unit_test(g4_an_install_of_an_older_term),
		cmocka_unit_test(g5_a_change_before_an_entry_of_the_own_term),
		cmocka_unit_test(g6_a_change_that_is_not_first_in_its_message),
		cmocka_unit_test(g7_a_leader_that_cannot_store),
		cmocka_unit_test(g8_window_and_pre_vote),
		cmocka_unit_test(g9_what_was_lost_is_not_passed_over),
		cmocka_unit_test(g11_the_loop_does_not_wait_for_io_destroy),
		cmocka_unit_test(g13_a_start_without_segments),
	};
	char folder[] = "/tmp/et_defects.XXXXXX";

	assert_non_null(mkdtemp(folder));
	(void)setenv("ET_TEST_FOLDER", folder, 1);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	(void)nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return failed;
}
