#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "node/io/file.h"
#include "raft/catalog/test/fixture.h"
#include "raft/state/fill.h"

/* A node without anything pulls a database of 24 MiB (6 under ThreadSanitizer) from one of the
 * other two, while this and that goes wrong. A tap stands before the sources: it counts, and may
 * answer in their place. In the test of kill -9 the puller is a process: this program started again
 * as "test_pull FOLDER ADDRESS". */

enum { TABLES = 12, PULLER = 2, HELD_MAX = 4096, KEPT_MAX = 256 };
#ifdef __SANITIZE_THREAD__ /* Every byte that is copied is looked at: fewer of them. */
#define TABLE_BYTES (UINT64_C(512) << 10)
#else
#define TABLE_BYTES (UINT64_C(2) << 20)
#endif
#define STATE_BYTES (TABLES * TABLE_BYTES)
#define CHUNK_BYTES (UINT64_C(256) << 10)

static struct tap {
	size_t messages, opens, reads, hashes;
	uint64_t read_bytes;
	uint64_t hung_node; /* answers nothing */
	struct et_rpc_reply *held[HELD_MAX];
	size_t held_count;
	bool corrupt_one;			    /* the next first chunk of a large table */
	char kept[KEPT_MAX][CAT_FILE_NAME_MAX + 1]; /* must not be read again from kept_node */
	size_t kept_count;
	uint64_t kept_node;
	size_t read_again;
} tap;

static bool is_table(const char *name)
{
	size_t n = strlen(name);
	return n > 4 && strcmp(name + n - 4, ".sst") == 0;
}

static void tap_count(const struct node *n, const struct cat_request *q)
{
	tap.messages++;
	tap.opens += q->op == CAT_SNAPSHOT_OPEN;
	tap.hashes += q->op == CAT_SNAPSHOT_HASH;
	tap.reads += q->op == CAT_SNAPSHOT_READ;
	tap.read_bytes += q->op == CAT_SNAPSHOT_READ ? q->size : 0;
	for (size_t i = 0; q->op == CAT_SNAPSHOT_READ && i < tap.kept_count; i++) {
		tap.read_again += n->id == tap.kept_node && strcmp(q->name, tap.kept[i]) == 0;
	}
}

static void tap_on_request(void *arg, const struct et_tls_peer *peer, struct et_view body,
			   struct et_rpc_reply *reply)
{
	struct node *n = arg;
	struct cat_request q;

	assert_true(et_cat_request_read(body, &q));
	tap_count(n, &q);
	if (n->id == tap.hung_node && tap.held_count < HELD_MAX) {
		tap.held[tap.held_count++] = reply;
	} else if (tap.corrupt_one && q.op == CAT_SNAPSHOT_READ && is_table(q.name) &&
		   q.offset == 0 && q.size == CHUNK_BYTES) {
		uint8_t *bytes = calloc(1, q.size);
		tap.corrupt_one = false;
		et_rpc_reply(reply, 0, bytes, q.size);
		free(bytes);
	} else {
		et_cat_serve_snapshot(n->catalog, peer, body, reply);
	}
}

static void tap_release(void)
{
	for (size_t i = 0; i < tap.held_count; i++) {
		et_rpc_reply(tap.held[i], ET_ECLOSED, NULL, 0);
	}
	memset(&tap, 0, sizeof(tap));
}

static void source_open(struct node *n)
{
	catalog_open(n);
	et_rpc_serve(n->tls, ET_RPC_SNAPSHOT, tap_on_request, n);
}

static void on_snapshot(void *arg, int code, uint64_t index)
{
	struct answer *a = arg;

	a->calls++;
	a->code = code;
	a->index = index;
}

/* Snapshots of both sources, so that the log alone helps nobody. */
static void snapshots_take(struct cluster *c)
{
	for (int round = 0; round < 2; round++) {
		uint64_t index = 0;
		for (int i = 0; i < 10; i++) {
			index = must_propose(led(c));
		}
		for (size_t i = 0; i < PULLER; i++) {
			struct answer a = { 0 };
			RUN_UNTIL(c, applied_of(&c->nodes[i]) >= index);
			et_catalog_snapshot(c->nodes[i].catalog, on_snapshot, &a);
			assert_int_equal(a.calls, 0);
			RUN_UNTIL(c, a.calls == 1);
			assert_int_equal(a.code, 0);
			assert_true(a.index >= index);
		}
	}
}

static void identities_save(struct cluster *c)
{
	struct et_secret *root = NULL;
	uint8_t bytes[32];
	char path[700];

	et_random(bytes, sizeof(bytes));
	(void)snprintf(path, sizeof(path), "%s/root.key", c->folder);
	assert_int_equal(et_file_publish(path, bytes, sizeof(bytes), 0400, NULL), 0);
	assert_int_equal(et_secret_load(path, 32, &root, NULL), 0);
	(void)snprintf(path, sizeof(path), "%s/identity", c->folder);
	assert_int_equal(et_file_mkdirs(path, NULL), 0);
	assert_int_equal(et_identity_save(path, root, &c->nodes[PULLER].identity, NULL), 0);
	(void)et_secret_free(root);
}

static int set_up(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));
	char path[600];

	cluster_open(c, 3);
	identities_save(c);
	cluster_form(c);
	node_close(&c->nodes[PULLER]);
	catalog_close(&c->nodes[0]);
	catalog_close(&c->nodes[1]);
	for (size_t i = 0; i < PULLER; i++) {
		(void)snprintf(path, sizeof(path), "%s/db/live-1", c->nodes[i].folder);
		assert_null(et_state_fill(path, STATE_BYTES, TABLE_BYTES, 7));
	}
	source_open(&c->nodes[0]);
	source_open(&c->nodes[1]);
	snapshots_take(c);
	*state = c;
	return 0;
}

static int tear_down(void **state)
{
	struct cluster *c = *state;

	tap_release();
	cluster_close(c);
	free(c);
	return 0;
}

/* A leader remembers how far a member was, and takes none for less: who lost its log must meet
 * another leader (a test may do that, an operator adds a new node). */
static void leader_change(struct cluster *c)
{
	const struct node *before = led(c);

	while (led(c) == before) {
		struct answer a = { 0 };
		et_catalog_transfer(before->catalog, before->id == 1 ? 2 : 1, on_answer, &a);
		RUN_UNTIL(c, a.calls == 1);
	}
	RUN_UNTIL(c, all_follow(c));
}

/* The puller has nothing, and is not running. */
static struct node *puller_fresh(struct cluster *c)
{
	struct node *n = &c->nodes[PULLER];
	char command[1200];

	tap_release();
	node_close(n);
	(void)snprintf(command, sizeof(command), "rm -rf '%s/raft' '%s/db'", n->folder, n->folder);
	assert_int_equal(system(command), 0);
	n->replaced_calls = 0;
	leader_change(c);
	return n;
}

static void puller_run(struct node *n)
{
	tls_open(n);
	catalog_open(n);
}

static struct et_catalog_status status_of(struct node *n)
{
	struct et_catalog_status s;
	et_cat_status_update(n->catalog);
	et_catalog_status(n->catalog, &s);
	return s;
}

/* All is there, and the same, byte for byte. */
static void assert_pulled(struct cluster *c)
{
	uint8_t first[32];

	RUN_UNTIL(c, c->nodes[PULLER].replaced_calls >= 1);
	(void)must_propose(&c->nodes[PULLER]);
	assert_digests_equal(c);
	for (size_t i = 0; i < 3; i++) {
		uint8_t digest[32];
		struct et_state_view *v = et_state_view_open(et_catalog_state(c->nodes[i].catalog));
		assert_int_equal(et_state_content_digest(v, digest), 0);
		et_state_view_close(v);
		if (i == 0) {
			memcpy(first, digest, sizeof(first));
		}
		assert_memory_equal(digest, first, sizeof(first));
	}
}

/* ---- Without a fault ---- */

static void all_of_it_comes_once(void **state)
{
	struct cluster *c = *state;
	struct node *n = puller_fresh(c);

	puller_run(n);
	assert_pulled(c);
	struct et_catalog_status s = status_of(n);
	assert_true(s.snapshot_pulled_bytes >= STATE_BYTES);
	assert_true(s.snapshot_pulled_bytes < STATE_BYTES * 12 / 10);
	assert_int_equal(s.snapshot_pulled_bytes, tap.read_bytes);
	assert_int_equal(s.snapshot_reused_bytes, 0);
	assert_true(s.loop_longest_us > 0 && s.loop_stall_us <= s.loop_longest_us);
}

/* The second pass costs what is new, not 24 MiB. */
static void only_what_is_new_comes_again(void **state)
{
	struct cluster *c = *state;
	struct node *n = puller_fresh(c);

	puller_run(n);
	assert_pulled(c);
	n->replaced_calls = 0;
	while (n->replaced_calls == 0) {
		RUN_UNTIL(c, !n->catalog->raft.snapshot.installing);
		node_close(n); /* libraft may have applied what this node's disk never took. */
		RUN_UNTIL(c, all_follow(c));
		snapshots_take(c);
		tap_release();
		puller_run(n);
		/* libraft keeps a few messages for who is away: that may do without a snapshot. */
		RUN_UNTIL(c, n->replaced_calls > 0 || applied_of(n) >= applied_of(led(c)));
	}
	assert_pulled(c);
	struct et_catalog_status s = status_of(n);
	assert_true(s.snapshot_reused_bytes >= STATE_BYTES);
	assert_true(s.snapshot_pulled_bytes < STATE_BYTES / 10);
}

/* Only the lower bound is looked at: how much slower a busy machine is does not matter. */
static void neither_side_is_faster_than_its_rate(void **state)
{
	struct cluster *c = *state;
	const uint64_t rate = UINT64_C(16) << 20;

	for (int side = 0; side < 2; side++) {
		struct node *n = puller_fresh(c);
		for (size_t i = 0; i < PULLER; i++) {
			c->nodes[i].catalog->serve_rate.per_s = side == 1 ? rate : 0;
		}
		puller_run(n);
		n->catalog->pull_rate.per_s = side == 0 ? rate : 0;
		RUN_UNTIL(c, tap.reads > 0);
		int64_t begin_us = et_clock_mono_us();
		RUN_UNTIL(c, n->replaced_calls == 1);
		int64_t least_us = (int64_t)(STATE_BYTES * 1000000 / rate) - 200000;
		assert_true(et_clock_mono_us() - begin_us >= least_us);
	}
	c->nodes[0].catalog->serve_rate.per_s = c->nodes[1].catalog->serve_rate.per_s = 0;
}

/* ---- The source ---- */

static void a_corrupt_chunk_is_found_and_fetched_again(void **state)
{
	struct cluster *c = *state;
	struct node *n = puller_fresh(c);

	tap.corrupt_one = true;
	puller_run(n);
	assert_pulled(c);
	assert_false(tap.corrupt_one);
	/* The file that it was in, no other. */
	assert_true(tap.read_bytes < STATE_BYTES * 11 / 10 + 3 * TABLE_BYTES);
	assert_true(tap.read_bytes >= STATE_BYTES + TABLE_BYTES);
}

static void a_silent_source_is_left_for_another(void **state)
{
	struct cluster *c = *state;
	struct node *n = puller_fresh(c);

	puller_run(n);
	n->catalog->pull_stall_us = 1000 * 1000;
	RUN_UNTIL(c, tap.reads > 10);
	tap.hung_node = n->catalog->leader; /* It goes on leading. */
	assert_pulled(c);
	assert_true(tap.held_count > 0);
	assert_true(tap.opens >= 2);
}

static void a_source_that_dies_is_left_for_another(void **state)
{
	struct cluster *c = *state;
	struct node *n = puller_fresh(c);

	puller_run(n);
	RUN_UNTIL(c, tap.reads > 20);
	struct node *source = led(c);
	catalog_close(source);
	/* The other cannot be elected without this one's vote: its log is behind. So the source has
	 * to come back, as another process would, and is the same source. */
	source_open(source);
	assert_pulled(c);
	assert_true(tap.read_bytes < 2 * STATE_BYTES);
}

static void remove_checkpoints(const struct node *n)
{
	char command[800];

	(void)snprintf(command, sizeof(command), "rm -rf '%s'/db/ckpt-*", n->folder);
	assert_int_equal(system(command), 0);
}

static void checkpoints_that_vanish_are_made_again(void **state)
{
	struct cluster *c = *state;
	struct node *n = puller_fresh(c);

	puller_run(n);
	RUN_UNTIL(c, tap.reads > 20);
	remove_checkpoints(&c->nodes[0]);
	remove_checkpoints(&c->nodes[1]);
	assert_pulled(c);
	assert_true(tap.opens >= 2);
}

/* ---- The puller ---- */

static void nothing_is_pulled_onto_a_disk_without_room(void **state)
{
	struct cluster *c = *state;
	struct node *n = puller_fresh(c);

	puller_run(n);
	n->catalog->space_reserve = INT64_MAX;
	RUN_UNTIL(c, status_of(n).install_no_space);
	assert_int_equal(tap.reads, 0);
	assert_int_equal(n->replaced_calls, 0);
	n->catalog->space_reserve = 1; /* Someone has made room: it looks again by itself. */
	assert_pulled(c);
	assert_false(status_of(n).install_no_space);
}

/* ---- kill -9 of the puller ---- */

static int child_check(void *arg, const struct et_tls_peer *peer, const char *alpn,
		       struct et_error *reterr)
{
	(void)arg;
	(void)peer;
	(void)alpn;
	(void)reterr;
	return 0;
}

static void child_on_replaced(void *arg)
{
	(void)arg;
	(void)!write(1, "R", 1);
}

static int child_main(char **argv)
{
	struct et_secret *root = NULL;
	struct et_identity identity = { 0 };
	struct et_postbox postbox;
	struct et_tls_node *tls_node = NULL;
	struct et_catalog *catalog = NULL;
	struct et_error e;
	uv_loop_t loop;
	char path[700];
	char folder[600];

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* Ends with its parent. */
	for (int fd = 3; fd < 256; fd++) {
		(void)close(fd);
	}
	et_log_set_level(ET_LOG_ERROR);
	(void)snprintf(folder, sizeof(folder), "%s/%d", argv[1], PULLER + 1);
	(void)snprintf(path, sizeof(path), "%s/root.key", argv[1]);
	int rc = et_secret_load(path, 32, &root, &e);
	(void)snprintf(path, sizeof(path), "%s/identity", argv[1]);
	rc = rc < 0 ? rc : et_identity_load(path, root, &identity, &e);
	(void)et_secret_free(root);
	(void)uv_loop_init(&loop);
	rc = rc < 0 ? rc : et_postbox_init(&postbox, &loop);
	const struct et_tls_config tls = {
		.loop = &loop, .identity = &identity, .listen = argv[2], .check = child_check
	};
	rc = rc < 0 ? rc : et_tls_start(&tls, &tls_node, &e);
	const struct et_catalog_config config = { .loop = &loop,
						  .postbox = &postbox,
						  .tls = tls_node,
						  .node = PULLER + 1,
						  .address = argv[2],
						  .folder = folder,
						  .election_ms = 600,
						  .on_replaced = child_on_replaced };
	rc = rc < 0 ? rc : et_catalog_start(&config, &catalog, &e);
	if (rc < 0) {
		(void)fprintf(stderr, "the puller: %s\n", e.text);
		return 5;
	}
	if (et_state_applied(et_catalog_state(catalog)) > 0) {
		child_on_replaced(
			NULL); /* Killed after the pull: this start has finished the swap. */
	}
	return uv_run(&loop, UV_RUN_DEFAULT);
}

struct process {
	pid_t pid;
	int out;
};

static struct process process_start(const struct cluster *c)
{
	struct process p = { 0 };
	char program[600];
	int out[2];

	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
	assert_true(n > 0);
	program[n] = '\0';
	assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
	char folder[256];
	char address[64];
	char *args[] = { program, folder, address, NULL };
	posix_spawn_file_actions_t actions;
	(void)snprintf(folder, sizeof(folder), "%s", c->folder);
	(void)snprintf(address, sizeof(address), "%s", c->nodes[PULLER].address);
	/* Not fork(): other threads run here. */
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, out[1], 1), 0);
	assert_int_equal(posix_spawn(&p.pid, program, &actions, NULL, args, environ), 0);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(out[1]);
	p.out = out[0];
	return p;
}

static void process_kill(struct process *p)
{
	int status = 0;

	assert_int_equal(kill(p->pid, SIGKILL), 0);
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
	assert_true(WIFSIGNALED(status) &&
		    WTERMSIG(status) == SIGKILL); /* Not before, by itself. */
	(void)close(p->out);
}

static bool process_replaced(const struct process *p)
{
	char byte;
	return read(p->out, &byte, 1) == 1;
}

/* Tables that are complete now, wherever they are: from here on nobody may read them again. */
static void tables_keep(const struct node *n)
{
	char path[600];
	char folder[1200];

	tap.kept_count = 0;
	(void)snprintf(path, sizeof(path), "%s/db", n->folder);
	DIR *db = opendir(path);
	assert_non_null(db);
	for (struct dirent *f = readdir(db); f != NULL; f = readdir(db)) {
		bool is_partial = strncmp(f->d_name, "partial-", 8) == 0;
		if (!is_partial && strncmp(f->d_name, "incoming-", 9) != 0) {
			continue;
		}
		if (is_partial && f->d_name[8] != '0') {
			tap.kept_node = strtoull(f->d_name + 8, NULL, 10);
		}
		(void)snprintf(folder, sizeof(folder), "%s/%s", path, f->d_name);
		DIR *dir = opendir(folder);
		for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
			if (is_table(e->d_name) && tap.kept_count < KEPT_MAX) {
				(void)snprintf(tap.kept[tap.kept_count++], sizeof(tap.kept[0]),
					       "%.*s", CAT_FILE_NAME_MAX, e->d_name);
			}
		}
		(void)closedir(dir);
	}
	(void)closedir(db);
}

static void kill_at_any_point_costs_no_complete_file(void **state)
{
	static const size_t points[] = { 1, 2, 3, 6, 11, 19, 31, 47, 66 };
	struct cluster *c = *state;
	struct node *n = puller_fresh(c);
	size_t most = 0;

	for (size_t i = 0; i < ET_ARRAY_SIZE(points); i++) {
		struct process p = process_start(c);
		bool done = false;
		tap.messages = 0;
		RUN_UNTIL(c, tap.messages >= points[i] || (done = process_replaced(&p)));
		process_kill(&p);
		tables_keep(n);
		most = tap.kept_count > most ? tap.kept_count : most;
		if (done) {
			break;
		}
	}
	struct process p = process_start(c);
	RUN_UNTIL(c, process_replaced(&p));
	process_kill(&p);
	assert_int_equal(tap.read_again, 0);
	assert_true(most > 0);
	print_message("%zu tables were complete at a kill; %zu of %zu chunks were read twice\n",
		      most, (size_t)((tap.read_bytes - STATE_BYTES) / CHUNK_BYTES),
		      (size_t)(STATE_BYTES / CHUNK_BYTES));
	tls_open(n);
	catalog_open(n);
	n->replaced_calls = 1;
	assert_pulled(c);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_it_comes_once),
		cmocka_unit_test(only_what_is_new_comes_again),
		cmocka_unit_test(neither_side_is_faster_than_its_rate),
		cmocka_unit_test(a_corrupt_chunk_is_found_and_fetched_again),
		cmocka_unit_test(a_silent_source_is_left_for_another),
		cmocka_unit_test(a_source_that_dies_is_left_for_another),
		cmocka_unit_test(checkpoints_that_vanish_are_made_again),
		cmocka_unit_test(nothing_is_pulled_onto_a_disk_without_room),
		cmocka_unit_test(kill_at_any_point_costs_no_complete_file),
	};

	if (argc == 3) {
		return child_main(argv);
	}
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
