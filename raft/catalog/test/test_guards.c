#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "raft/catalog/test/fixture.h"

/* A cluster of one, whose insides are touched. */
static int set_up(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));

	cluster_open(c, 1);
	cluster_form(c);
	*state = c;
	return 0;
}

static int set_up_three(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));

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

/* ---- What would have reached libraft ---- */

struct seen {
	enum raft_message_type type;
	raft_index prev;
	raft_term prev_term;
	unsigned n;
	int first_type;
	raft_index last_index;
	uint8_t byte; /* the first of the last entry */
};

static struct seen seen[32];
static size_t seen_count;

static void record(struct raft_io *io, struct raft_message *m)
{
	struct seen *s = &seen[seen_count++];

	(void)io;
	*s = (struct seen){ .type = m->type };
	if (m->type == RAFT_APPEND_ENTRIES) {
		struct raft_append_entries *a = &m->append_entries;
		s->prev = a->prev_log_index;
		s->prev_term = a->prev_log_term;
		s->n = a->n_entries;
		if (a->n_entries > 0) {
			s->first_type = (int)a->entries[0].type;
			s->byte = *(uint8_t *)a->entries[a->n_entries - 1].buf.base;
			raft_free(a->entries[0].batch);
			raft_free(a->entries);
		}
	} else if (m->type == RAFT_INSTALL_SNAPSHOT) {
		s->last_index = m->install_snapshot.last_index;
		raft_configuration_close(&m->install_snapshot.conf);
		raft_free(m->install_snapshot.data.base);
	}
}

static raft_io_recv_cb record_begin(struct et_catalog *c)
{
	raft_io_recv_cb before = c->deliver;

	seen_count = 0;
	c->deliver = record;
	return before;
}

static char sender_address[] = "127.0.0.1:1";

static struct raft_message append_of(raft_term term, raft_index prev, const int *types, unsigned n)
{
	struct raft_message m = { .type = RAFT_APPEND_ENTRIES,
				  .server_id = 2,
				  .server_address = sender_address };
	struct raft_append_entries *a = &m.append_entries;
	uint8_t *batch = raft_malloc(n == 0 ? 1 : n * 8);

	a->term = term;
	a->prev_log_index = prev;
	a->prev_log_term = 1;
	a->n_entries = n;
	a->entries = n == 0 ? NULL : raft_malloc(n * sizeof(*a->entries));
	for (unsigned i = 0; i < n; i++) {
		memset(batch + (size_t)i * 8, (int)i, 8);
		a->entries[i] = (struct raft_entry){ .term = 3 + i,
						     .type = (enum raft_entry_type)types[i],
						     .buf = { batch + (size_t)i * 8, 8 },
						     .batch = batch };
	}
	if (n == 0) {
		raft_free(batch);
	}
	return m;
}

static struct raft_message install_of(raft_term term, raft_index index)
{
	struct raft_message m = { .type = RAFT_INSTALL_SNAPSHOT,
				  .server_id = 2,
				  .server_address = sender_address };
	uint8_t *manifest = raft_malloc(CAT_MANIFEST_SIZE);

	memset(manifest, 0, CAT_MANIFEST_SIZE);
	memcpy(manifest, "ETSNAP1", 8);
	et_put64(manifest + 8, index);
	m.install_snapshot.term = term;
	m.install_snapshot.last_index = index;
	m.install_snapshot.last_term = 1;
	raft_configuration_init(&m.install_snapshot.conf);
	m.install_snapshot.data = (struct raft_buffer){ manifest, CAT_MANIFEST_SIZE };
	return m;
}

static void turns(struct cluster *c, int n)
{
	for (int i = 0; i < n; i++) {
		(void)uv_run(&c->loop, UV_RUN_NOWAIT);
	}
}

/* G4: its answer would carry an index that was never set. */
static void drops_a_stale_install_snapshot(void **state)
{
	struct cluster *c = *state;
	struct et_catalog *k = c->nodes[0].catalog;
	raft_io_recv_cb before = record_begin(k);

	k->raft.current_term += 5;
	struct raft_message stale = install_of(k->raft.current_term - 1, 1);
	et_cat_guard_recv(&k->io, &stale);
	turns(c, 20);
	assert_int_equal(seen_count, 0);

	/* Held, and stale only when it could be delivered: dropped too. */
	k->raft.legacy.snapshot_taking = true;
	struct raft_message held = install_of(k->raft.current_term, 1);
	et_cat_guard_recv(&k->io, &held);
	turns(c, 20);
	k->raft.current_term++;
	k->raft.legacy.snapshot_taking = false;
	turns(c, 20);
	assert_int_equal(seen_count, 0);
	assert_false(k->install.active);
	k->raft.current_term -= 6;
	k->deliver = before;
}

/* G2: libraft would use a null pointer. Duplicates are dropped while one is held. */
static void holds_install_snapshot_while_one_is_taken(void **state)
{
	struct cluster *c = *state;
	struct et_catalog *k = c->nodes[0].catalog;
	raft_io_recv_cb before = record_begin(k);

	k->raft.legacy.snapshot_taking = true;
	for (int i = 0; i < 3; i++) {
		struct raft_message m = install_of(k->raft.current_term, 1);
		et_cat_guard_recv(&k->io, &m);
		turns(c, 20);
	}
	assert_int_equal(seen_count, 0);
	assert_true(k->install.active);
	k->raft.legacy.snapshot_taking = false;
	et_cat_schedule(k);
	RUN_UNTIL(c, seen_count > 0);
	turns(c, 20);
	assert_int_equal(seen_count, 1);
	assert_int_equal(seen[0].type, RAFT_INSTALL_SNAPSHOT);
	k->deliver = before;
}

static void drops_a_foreign_snapshot(void **state)
{
	struct cluster *c = *state;
	struct et_catalog *k = c->nodes[0].catalog;
	raft_io_recv_cb before = record_begin(k);
	struct raft_message m = install_of(k->raft.current_term, 1);

	*(uint8_t *)m.install_snapshot.data.base = 'X';
	et_cat_guard_recv(&k->io, &m);
	turns(c, 20);
	assert_int_equal(seen_count, 0);
	assert_false(k->install.active);
	k->deliver = before;
}

/* G6: libraft would record the configuration at the index of the first entry. */
static void a_change_is_first_in_its_message(void **state)
{
	struct cluster *c = *state;
	struct et_catalog *k = c->nodes[0].catalog;
	raft_io_recv_cb before = record_begin(k);
	const int types[] = { RAFT_COMMAND, RAFT_COMMAND, RAFT_CHANGE, RAFT_COMMAND, RAFT_CHANGE };

	struct raft_message m = append_of(k->raft.current_term, 100, types, 5);
	et_cat_guard_recv(&k->io, &m);
	assert_int_equal(seen_count, 3);
	assert_int_equal(seen[0].prev, 100);
	assert_int_equal(seen[0].n, 2);
	assert_int_equal(seen[0].byte, 1);
	assert_int_equal(seen[1].prev, 102);
	assert_int_equal(seen[1].prev_term, 4); /* of entry 102 */
	assert_int_equal(seen[1].first_type, RAFT_CHANGE);
	assert_int_equal(seen[1].n, 2);
	assert_int_equal(seen[1].byte, 3);
	assert_int_equal(seen[2].prev, 104);
	assert_int_equal(seen[2].prev_term, 6);
	assert_int_equal(seen[2].first_type, RAFT_CHANGE);
	assert_int_equal(seen[2].n, 1);
	assert_int_equal(seen[2].byte, 4);
	k->deliver = before;
}

/* The state thread is behind: entries wait, in order; the leader is not taken for dead. */
static void holds_entries_while_throttled(void **state)
{
	struct cluster *c = *state;
	struct et_catalog *k = c->nodes[0].catalog;
	raft_io_recv_cb before = record_begin(k);
	const int types[] = { RAFT_COMMAND, RAFT_COMMAND };

	k->queue_bytes += CAT_QUEUE_MAX + 1;
	for (raft_index i = 0; i < 3; i++) {
		struct raft_message m = append_of(k->raft.current_term, 100 + i * 2, types, 2);
		et_cat_guard_recv(&k->io, &m);
	}
	turns(c, 5);
	assert_int_equal(seen_count, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(seen[i].n, 0); /* Only heartbeats, before the first that waits. */
		assert_int_equal(seen[i].prev, 100);
	}
	struct et_catalog_status s;
	et_cat_status_update(k);
	et_catalog_status(k, &s);
	assert_true(s.throttled);
	k->queue_bytes -= CAT_QUEUE_MAX + 1;
	et_cat_schedule(k);
	RUN_UNTIL(c, seen_count == 6);
	for (size_t i = 3; i < 6; i++) {
		assert_int_equal(seen[i].n, 2);
		assert_int_equal(seen[i].prev, 100 + (i - 3) * 2);
	}
	assert_int_equal(k->held_bytes, 0);
	k->deliver = before;
}

static void refuses_proposals_above_the_limit(void **state)
{
	struct cluster *c = *state;
	struct et_catalog *k = c->nodes[0].catalog;
	struct answer waits = { 0 };
	struct answer refused = { 0 };
	uint64_t last = raft_last_index(&k->raft);

	/* Behind: it waits in memory, not in the log. */
	k->queue_bytes += CAT_QUEUE_MAX + 1;
	propose_noop(&c->nodes[0], "waits", 0, 30000, &waits);
	turns(c, 30);
	assert_int_equal(waits.calls, 0);
	assert_int_equal(raft_last_index(&k->raft), last);
	/* And not without end. */
	k->waiting_bytes += CAT_WAITING_MAX;
	propose_noop(&c->nodes[0], "refused", 0, 30000, &refused);
	assert_int_equal(refused.calls, 0);
	RUN_UNTIL(c, refused.calls == 1);
	assert_int_equal(refused.code, ET_ELIMIT);
	k->waiting_bytes -= CAT_WAITING_MAX;
	k->queue_bytes -= CAT_QUEUE_MAX + 1;
	et_cat_schedule(k);
	RUN_UNTIL(c, waits.calls == 1);
	assert_int_equal(waits.code, 0);
}

/* ---- G1: through the door that other nodes have ---- */

struct call {
	int calls;
	int code;
};

static void on_call(void *arg, int code, struct et_view body)
{
	struct call *call = arg;

	(void)body;
	call->calls++;
	call->code = code;
}

static int forward(struct cluster *c, struct node *from, struct node *to, uint64_t term,
		   const void *entry, size_t size)
{
	struct et_buffer body = { 0 };
	struct call call = { 0 };

	et_buffer_add64(&body, term);
	et_buffer_add(&body, entry, size);
	et_rpc_call(from->tls, to->id, to->address, ET_RPC_PROPOSE, body.data, body.size, 10000,
		    on_call, &call);
	RUN_UNTIL(c, call.calls == 1);
	et_buffer_release(&body);
	return call.code;
}

static void foreign_entries_are_checked(void **state)
{
	struct cluster *c = *state;
	struct node *leader = led(c);
	struct node *other = leader == &c->nodes[0] ? &c->nodes[1] : &c->nodes[0];
	uint64_t term = leader->catalog->raft.current_term;
	struct et_buffer entry = { 0 };

	uint64_t last = raft_last_index(&leader->catalog->raft);
	et_entry_begin(&entry);
	et_entry_add(&entry, "this is no command", 18);
	et_entry_end(&entry);
	assert_int_equal(forward(c, other, leader, term, entry.data, entry.size), ET_EMALFORMED);
	assert_int_equal(forward(c, other, leader, term, "not an entry....", 16), ET_EMALFORMED);
	assert_int_equal(forward(c, other, leader, term, "13 bytes long", 13), ET_EMALFORMED);
	assert_int_equal(forward(c, other, leader, term, "", 0), ET_EMALFORMED);
	assert_int_equal(forward(c, other, leader, term + 1, entry.data, entry.size),
			 ET_ENOTLEADER);
	assert_int_equal(forward(c, leader, other, term, entry.data, entry.size), ET_ENOTLEADER);
	assert_int_equal(raft_last_index(&leader->catalog->raft), last);
	et_buffer_release(&entry);
}

/* G16: entries behind one that is committed, and of another term. (The allocator of the C library
 * ends the process when it is given the same twice.) */
static void what_libraft_refuses_is_freed_once(void **state)
{
	struct cluster *c = *state;
	const struct node *leader = led(c);
	struct et_catalog *k = (leader == &c->nodes[0] ? &c->nodes[1] : &c->nodes[0])->catalog;
	const int types[] = { RAFT_COMMAND, RAFT_COMMAND };
	struct answer a = { 0 };

	propose_noop(led(c), "before", 0, 30000, &a);
	RUN_UNTIL(c, a.calls == 1 && k->raft.commit_index >= 2);
	struct raft_message m = append_of(k->raft.current_term, k->raft.commit_index, types, 2);
	m.server_id = leader->id;
	m.append_entries.prev_log_term = k->raft.current_term + 7;
	uint64_t last = raft_last_index(&k->raft);
	et_cat_guard_recv(&k->io, &m);
	assert_int_equal(raft_last_index(&k->raft), last);
	a = (struct answer){ 0 };
	propose_noop(led(c), "after", 0, 30000, &a);
	RUN_UNTIL(c, a.calls == 1 && k->raft.commit_index > last);
	assert_int_equal(a.code, 0);
}

/* ---- G8, G9: how libraft is set ---- */

static void libraft_is_set_as_it_must_be(void **state)
{
	struct cluster *c = *state;
	const struct raft *r = &c->nodes[0].catalog->raft;

	assert_true(r->pre_vote);
	assert_int_equal(r->election_timeout, 600);
	/* To a follower that was silent for a tick, libraft sends one message in heartbeat_timeout.
	 * Were that the tick, a write after a pause would wait for the next heartbeat. */
	assert_true(r->heartbeat_timeout * 2 <= c->nodes[0].catalog->heartbeat_ms);
	assert_true(r->max_inflight_entries > 1000);
	/* The window is of bytes in the end. */
	et_cat_window_adapt(c->nodes[0].catalog, 4 * 262144, 4);
	assert_true(r->max_inflight_entries * (uint64_t)262144 <= CAT_INFLIGHT_MAX);
	assert_true(r->max_inflight_entries >= 32);
}

/* G13: what a failed try has left is in the way of the next. libraft says that it tries again. */
static void a_segment_that_could_not_be_made_is_made_again(void **state)
{
	struct cluster *c = *state;
	struct et_catalog *k = c->nodes[0].catalog;
	static const char *const names[] = { "open-99", "metadata1" };
	char path[CAT_PATH_SIZE + 16];

	assert_int_equal(k->raft.capacity_threshold, 0);
	for (size_t i = 0; i < ET_ARRAY_SIZE(names); i++) {
		char text[64];
		(void)snprintf(text, sizeof(text), "retry creating segment %s", names[i]);
		struct raft_tracer_info info = { .version = 1 };
		info.diagnostic.message = text;
		(void)snprintf(path, sizeof(path), "%s/%s", k->raft_folder, names[i]);
		FILE *f = fopen(path, "ae");
		assert_non_null(f);
		(void)fclose(f);
		k->tracer.emit(&k->tracer, RAFT_TRACER_DIAGNOSTIC, &info);
		assert_int_equal(access(path, F_OK) == 0, i == 1);
	}
}

enum { SEGMENT_SIZE = 8 * 1024 * 1024 };

/* How many of a file's extents are reserved only; -1: the file system does not say. */
static int extents_unwritten(int fd)
{
	enum { EXTENTS = 64 };
	union {
		struct fiemap map;
		uint8_t room[sizeof(struct fiemap) + EXTENTS * sizeof(struct fiemap_extent)];
	} u = { .map = { .fm_length = SEGMENT_SIZE, .fm_extent_count = EXTENTS } };
	int unwritten = 0;

	int rc = ioctl(fd, FS_IOC_FIEMAP, &u.map);
	for (unsigned i = 0; rc == 0 && i < u.map.fm_mapped_extents; i++) {
		unwritten += (u.map.fm_extents[i].fe_flags & FIEMAP_EXTENT_UNWRITTEN) != 0;
	}
	return rc == 0 ? unwritten : -1;
}

static int new_file_unwritten(const char *folder, const char *name)
{
	char path[CAT_PATH_SIZE + 16];
	char byte = 1;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	int flags = fcntl(fd, F_GETFL);
	assert_int_equal(posix_fallocate(fd, 0, SEGMENT_SIZE), 0);
	assert_int_equal(fcntl(fd, F_GETFL), flags);
	assert_int_equal(lseek(fd, 0, SEEK_END), SEGMENT_SIZE);
	for (off_t at = 0; at < SEGMENT_SIZE; at += SEGMENT_SIZE / 16) {
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		assert_int_equal(byte, 0);
	}
	int unwritten = extents_unwritten(fd);
	(void)close(fd);
	(void)unlink(path);
	return unwritten;
}

/* Of the log's open segments, the one in use and those that are kept ready. */
static int segments_written(const char *folder)
{
	DIR *dir = opendir(folder);
	int count = 0;

	assert_non_null(dir);
	for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
		int fd = strncmp(e->d_name, "open-", 5) == 0
				 ? openat(dirfd(dir), e->d_name, O_RDONLY | O_CLOEXEC)
				 : -1;
		if (fd >= 0) {
			count += lseek(fd, 0, SEEK_END) == SEGMENT_SIZE &&
				 extents_unwritten(fd) == 0;
			(void)close(fd);
		}
	}
	(void)closedir(dir);
	return count;
}

/* aio.c: asked of it, and by libraft. */
static void a_segment_is_written_before_it_is_used(void **state)
{
	struct cluster *c = *state;
	const char *folder = c->nodes[0].catalog->raft_folder;

	int others = new_file_unwritten(folder, "other-1");
	int own = new_file_unwritten(folder, "open-99");
	if (others <= 0) {
		skip(); /* Nothing to tell them by here. */
	}
	assert_int_equal(own, 0);
	RUN_UNTIL(c, segments_written(folder) >= 2);
}

/* ---- G3: the process ends, in a child ---- */

static int append_fails(struct raft_io *io, struct raft_io_append *req,
			const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
	(void)io;
	(void)req;
	(void)entries;
	(void)n;
	(void)cb;
	return RAFT_IOERR;
}

static int append_reports_failure(struct raft_io *io, struct raft_io_append *req,
				  const struct raft_entry entries[], unsigned n,
				  raft_io_append_cb cb)
{
	(void)io;
	(void)entries;
	(void)n;
	cb(req, RAFT_IOERR);
	return 0;
}

static int append_is_silent(struct raft_io *io, struct raft_io_append *req,
			    const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
	(void)req;
	(void)entries;
	(void)n;
	(void)cb;
	(void)snprintf(io->errmsg, sizeof(io->errmsg), "io_submit: i/o error");
	return 0;
}

/* The segment that is being written goes away: it cannot be closed when the node stops. */
static void lose_open_segments(const struct cluster *c)
{
	char path[700];

	for (int i = 1; i < 100; i++) {
		(void)snprintf(path, sizeof(path), "%s/raft/open-%d", c->nodes[0].folder, i);
		(void)unlink(path);
	}
}

static void dies_with(struct cluster *c, int how)
{
	struct et_catalog *k = c->nodes[0].catalog;
	struct answer a = { 0 };
	struct raft_tracer_info info = { .version = 1 };

	if (how == 0) {
		k->io_append = append_fails;
	} else if (how == 1) {
		k->io_append = append_reports_failure;
	} else if (how == 2) {
		k->io_append = append_is_silent;
	} else if (how == 3) {
		(void)must_propose(&c->nodes[0]);
		lose_open_segments(c);
		catalog_close(&c->nodes[0]);
		_exit(1);
	} else {
		info.diagnostic.message = "retry failed write (Input/output error)";
		k->tracer.emit(&k->tracer, RAFT_TRACER_DIAGNOSTIC, &info);
		_exit(1);
	}
	propose_noop(&c->nodes[0], "never stored", 0, 3000, &a);
	RUN_UNTIL(c, a.calls == 1);
	_exit(1);
}

static void a_failed_log_write_ends_the_process(void **state)
{
	(void)state;
	for (int how = 0; how < 5; how++) {
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			struct cluster *c = calloc(1, sizeof(*c));
			(void)setenv("TMPDIR", getenv("ET_TEST_FOLDER"), 1);
			cluster_open(c, 1);
			cluster_form(c);
			dies_with(c, how);
		}
		int status = 0;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGABRT);
	}
}

/* ---- G7 ---- */

struct kept {
	struct raft_io_append *req;
	raft_io_append_cb cb;
};
static struct kept kept[4096];
static size_t kept_count;

/* A disk that takes nothing and says nothing. */
static int append_hangs(struct raft_io *io, struct raft_io_append *req,
			const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
	(void)io;
	(void)entries;
	(void)n;
	kept[kept_count++] = (struct kept){ req, cb };
	return 0;
}

static void a_leader_whose_disk_hangs_hands_over(void **state)
{
	struct cluster *c = *state;
	struct node *stuck = led(c);
	struct answer a = { 0 };

	stuck->catalog->io_append = append_hangs;
	propose_noop(stuck, "stuck", 0, 3000, &a);
	RUN_UNTIL(c, leader_of(c) != NULL && leader_of(c) != stuck);
	for (size_t i = 0; i < 3; i++) {
		if (&c->nodes[i] != stuck) {
			(void)must_propose(&c->nodes[i]);
		}
	}
	/* libraft applies what the others have stored. The database must not be ahead of the own
	 * log, so this node says nothing: whoever asks it again is told by another one. */
	RUN_UNTIL(c, raft_last_applied(&stuck->catalog->raft) > stuck->catalog->raft.last_stored);
	RUN_UNTIL(c, a.calls == 1);
	assert_int_not_equal(a.code, 0);
	assert_true(applied_of(stuck) <= stuck->catalog->raft.last_stored);
	/* The disk never comes back: libraft is told so when it closes. */
	stuck->catalog->stopping = true;
	for (size_t i = 0; i < kept_count; i++) {
		kept[i].cb(kept[i].req, RAFT_CANCELED);
	}
	stuck->catalog->stopping = false;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define TEST_THREE(f) cmocka_unit_test_setup_teardown(f, set_up_three, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failed_log_write_ends_the_process),
		TEST(drops_a_stale_install_snapshot),
		TEST(holds_install_snapshot_while_one_is_taken),
		TEST(drops_a_foreign_snapshot),
		TEST(a_change_is_first_in_its_message),
		TEST(holds_entries_while_throttled),
		TEST(refuses_proposals_above_the_limit),
		TEST(libraft_is_set_as_it_must_be),
		TEST(a_segment_that_could_not_be_made_is_made_again),
		TEST(a_segment_is_written_before_it_is_used),
		TEST_THREE(foreign_entries_are_checked),
		TEST_THREE(what_libraft_refuses_is_freed_once),
		TEST_THREE(a_leader_whose_disk_hangs_hands_over),
	};
	char folder[] = "/tmp/et_guards.XXXXXX";
	assert_non_null(mkdtemp(folder));
	(void)setenv("ET_TEST_FOLDER", folder, 1);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	(void)nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return failed;
}
