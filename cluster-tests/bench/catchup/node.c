#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster-tests/bench/catchup/catchup.h"
#include "cluster-tests/bench/commit/commit.h"
#include "node/base/log.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "node/tls/rpc.h"
#include "raft/catalog/catalog.h"
#include "raft/state/fill.h"

/* A node reads lines and answers each with one:
 *
 *   "begin"              node 1: make the cluster                -> "ok"
 *   "add NODE ADDRESS"   node 1: add a voter                     -> "ok"
 *   "load COUNT KIND"    propose so many, 512 at once            -> "ok FAILED SECONDS"
 *   "pace PER_S KIND"    propose so many a second, until "stop"  -> "ok"
 *   "stop"               no more; when all are answered          -> "ok COUNT FAILED SECONDS P50
 * P99" "snapshot"           take one                                -> "ok INDEX" "reset" forget
 * what was measured                -> "ok RSS" "status"             where it stands -> see
 * status_say()
 *
 * KIND: 0 RecordingOpen, 1 Noop of 1 KB. */

enum { IN_FLIGHT = 512, PACE_MS = 5, BEHIND_MAX = 100000 };

struct node {
	uv_loop_t loop;
	struct et_postbox postbox;
	struct et_tls_node *tls;
	struct et_catalog *catalog;
	uv_pipe_t in;
	char line[256];
	size_t size;
	uint64_t member; /* the node that is being added */
	struct turns turns;

	/* The load. */
	struct bench_commands commands;
	struct bench_stats stats;
	uv_timer_t pace;
	unsigned per_s; /* 0: as fast as it goes */
	bool noop;
	bool stopping;
	uint64_t left;
	uint64_t begun;
	uint64_t open;
	int64_t begin_us;
};

struct proposal {
	struct node *node;
	int64_t sent_us;
};

static void say(const char *text)
{
	(void)!write(1, text, strlen(text));
}

/* ---- Load ---- */

static void propose_more(struct node *n);

static void load_end(struct node *n)
{
	char line[160];
	double seconds = (double)(et_clock_mono_us() - n->begin_us) / 1e6;
	struct bench_result r = bench_stats_end(&n->stats, 1, seconds);

	(void)uv_timer_stop(&n->pace);
	(void)snprintf(line, sizeof(line), "ok %llu %llu %.3f %.3f %.3f\n",
		       (unsigned long long)r.count, (unsigned long long)r.failed, seconds, r.p50_ms,
		       r.p99_ms);
	say(line);
}

static void on_committed(void *arg, int code, const Et__Result *result)
{
	struct proposal *p = arg;
	struct node *n = p->node;

	(void)result;
	if (code != 0) {
		n->stats.failed++;
	} else {
		bench_stats_add(&n->stats, et_clock_mono_us() - p->sent_us);
	}
	free(p);
	n->open--;
	if (n->per_s == 0) {
		propose_more(n);
	}
	if (n->open == 0 && (n->per_s == 0 ? n->left == 0 : n->stopping)) {
		load_end(n);
	}
}

static void propose_one(struct node *n)
{
	struct proposal *p = malloc(sizeof(*p));

	et_assert(p != NULL);
	*p = (struct proposal){ n, et_clock_mono_us() };
	n->open++;
	n->begun++;
	bench_command_make(&n->commands, n->noop);
	et_catalog_propose(n->catalog, &n->commands.command, 60000, on_committed, p);
}

static void propose_more(struct node *n)
{
	while (n->left > 0 && n->open < IN_FLIGHT) {
		n->left--;
		propose_one(n);
	}
}

/* As many as are due; a pause of the loop is made up for, up to a bound. */
static void on_pace(uv_timer_t *timer)
{
	struct node *n = timer->data;
	uint64_t due = (uint64_t)(et_clock_mono_us() - n->begin_us) * n->per_s / 1000000;

	while (!n->stopping && n->begun < due && n->open < BEHIND_MAX) {
		propose_one(n);
	}
}

static void load_begin(struct node *n, uint64_t count, unsigned per_s, bool noop)
{
	n->noop = noop;
	n->per_s = per_s;
	n->left = count;
	n->begun = 0;
	n->stopping = false;
	n->begin_us = et_clock_mono_us();
	if (per_s > 0) {
		(void)uv_timer_start(&n->pace, on_pace, PACE_MS, PACE_MS);
		say("ok\n");
	} else {
		propose_more(n);
	}
}

/* ---- Lines ---- */

static void on_begun(void *arg, int code, const Et__Result *result)
{
	(void)arg;
	(void)result;
	say(code == 0 ? "ok\n" : "failed\n");
}

static void on_added(void *arg, int code, const Et__Result *result)
{
	struct node *n = arg;
	uint64_t member = n->member;

	(void)result;
	if (code < 0 || member == 0) {
		say(code < 0 ? "failed\n" : "ok\n");
		return;
	}
	n->member = 0;
	et_catalog_assign(n->catalog, member, ET_CATALOG_VOTER, on_added, n);
}

static void on_snapshot(void *arg, int code, uint64_t index)
{
	char line[64];

	(void)arg;
	(void)snprintf(line, sizeof(line), code == 0 ? "ok %llu\n" : "failed\n",
		       (unsigned long long)index);
	say(line);
}

/* Without a view, unless the digest is asked for: the last view of a database that was replaced
 * closes it, and that would be a long turn of ours. */
static void status_say(struct node *n, bool with_digest)
{
	struct et_state_view *v = NULL;
	struct et_catalog_status s;
	uint8_t digest[32] = { 0 };
	char hex[65];
	char line[512];

	et_catalog_status(n->catalog, &s);
	uint64_t index = s.applied;
	if (with_digest) {
		v = et_state_view_open(et_catalog_state(n->catalog));
		if (v == NULL || et_state_digest(v, &index, digest) < 0) {
			say("failed\n");
			return;
		}
		(void)et_state_view_close(v);
	}
	et_hex(digest, sizeof(digest), hex);
	(void)snprintf(
		line, sizeof(line),
		"ok %llu %s %llu %llu %d %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu\n",
		(unsigned long long)index, hex, (unsigned long long)s.commit_index,
		(unsigned long long)s.term, (int)s.leader, (unsigned long long)s.snapshot_index,
		(unsigned long long)s.snapshot_pulled_bytes,
		(unsigned long long)s.snapshot_served_bytes,
		(unsigned long long)s.snapshot_reused_bytes,
		(unsigned long long)n->turns.longest_ns / 1000,
		(unsigned long long)n->turns.longest_cpu_ns / 1000,
		(unsigned long long)n->turns.over, (unsigned long long)n->turns.rss_bytes,
		(unsigned long long)s.loop_longest_us, (unsigned long long)s.installing);
	say(line);
}

static void reset_say(struct node *n)
{
	char line[64];

	turns_reset(&n->turns);
	(void)snprintf(line, sizeof(line), "ok %llu\n", (unsigned long long)turns_rss());
	say(line);
}

static void take_line(struct node *n)
{
	unsigned long long a;
	unsigned b, kind;
	char address[64];
	static struct bench_init init;

	if (strcmp(n->line, "begin") == 0) {
		bench_init_make(&init);
		et_catalog_propose(n->catalog, &init.command, 30000, on_begun, n);
	} else if (sscanf(n->line, "add %llu %63s", &a, address) == 2) {
		n->member = a;
		et_catalog_add(n->catalog, a, address, on_added, n);
	} else if (sscanf(n->line, "load %llu %u", &a, &kind) == 2) {
		load_begin(n, a, 0, kind == 1);
	} else if (sscanf(n->line, "pace %u %u", &b, &kind) == 2) {
		load_begin(n, 0, b, kind == 1);
	} else if (strcmp(n->line, "stop") == 0) {
		n->stopping = true;
		if (n->open == 0) {
			load_end(n);
		}
	} else if (strcmp(n->line, "snapshot") == 0) {
		et_catalog_snapshot(n->catalog, on_snapshot, n);
	} else if (strcmp(n->line, "reset") == 0) {
		reset_say(n);
	} else if (strcmp(n->line, "status") == 0) {
		status_say(n, false);
	} else if (strcmp(n->line, "digest") == 0) {
		status_say(n, true);
	} else {
		say("failed\n");
	}
}

static void in_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	static char bytes[256];

	(void)handle;
	(void)suggested;
	*buf = uv_buf_init(bytes, sizeof(bytes));
}

static void in_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
	struct node *n = stream->data;

	if (size < 0) {
		_exit(0); /* The benchmark is over, or this node dies: its folder says what it had.
			   */
	}
	for (ssize_t i = 0; i < size; i++) {
		if (buf->base[i] == '\n') {
			n->line[n->size] = '\0';
			n->size = 0;
			take_line(n);
		} else if (n->size + 1 < sizeof(n->line)) {
			n->line[n->size++] = buf->base[i];
		}
	}
}

/* ---- Start ---- */

static int check_all(void *arg, const struct et_tls_peer *peer, const char *alpn,
		     struct et_error *reterr)
{
	(void)arg;
	(void)peer;
	(void)alpn;
	(void)reterr;
	return 0;
}

static int node_open(struct node *n, const char *folder, const char *id, const char *address,
		     struct et_error *e)
{
	struct et_identity identity = { 0 };
	struct et_secret *root = NULL;
	char path[700];
	char state[600];

	(void)snprintf(path, sizeof(path), "%s/root.key", folder);
	int rc = et_secret_load(path, 32, &root, e);
	(void)snprintf(state, sizeof(state), "%s/%s", folder, id);
	(void)snprintf(path, sizeof(path), "%s/%s/identity", folder, id);
	rc = rc < 0 ? rc : et_identity_load(path, root, &identity, e);
	(void)et_secret_free(root);
	rc = rc < 0 ? rc : et_postbox_init(&n->postbox, &n->loop);
	const struct et_tls_config tls = {
		.loop = &n->loop, .identity = &identity, .listen = address, .check = check_all
	};
	rc = rc < 0 ? rc : et_tls_start(&tls, &n->tls, e);
	et_identity_release(&identity);
	const struct et_catalog_config config = { .loop = &n->loop,
						  .postbox = &n->postbox,
						  .tls = n->tls,
						  .node = strtoull(id, NULL, 10),
						  .address = address,
						  .folder = state };
	(void)snprintf(path, sizeof(path), "%s/db", state);
	if (rc == 0 && strcmp(id, "1") == 0 && access(path, F_OK) < 0) {
		rc = et_catalog_bootstrap(&config, e);
	}
	return rc < 0 ? rc : et_catalog_start(&config, &n->catalog, e);
}

int catchup_node_main(const char *folder, const char *id, const char *address)
{
	static struct node n;
	struct et_error e;

	et_log_set_level(getenv("BENCH_VERBOSE") != NULL ? ET_LOG_INFO : ET_LOG_ERROR);
	bench_commands_init(&n.commands);
	(void)uv_loop_init(&n.loop);
	if (turns_begin(&n.turns, &n.loop) < 0 || node_open(&n, folder, id, address, &e) < 0) {
		(void)fprintf(stderr, "bench-catchup: node %s: %s\n", id, e.text);
		return 1;
	}
	(void)uv_pipe_init(&n.loop, &n.in, 0);
	(void)uv_timer_init(&n.loop, &n.pace);
	n.pace.data = &n;
	n.in.data = &n;
	if (uv_pipe_open(&n.in, 0) < 0 ||
	    uv_read_start((uv_stream_t *)&n.in, in_alloc, in_read) < 0) {
		return 1;
	}
	return uv_run(&n.loop, UV_RUN_DEFAULT);
}

int catchup_identities_make(const char *folder)
{
	struct et_secret *root = NULL;
	struct et_secret *ca_key = NULL;
	struct et_buffer ca = { 0 };
	struct et_error e;
	uint8_t bytes[32];
	uint8_t hash[32];
	char path[700];

	et_random(bytes, sizeof(bytes));
	(void)snprintf(path, sizeof(path), "%s/root.key", folder);
	int rc = et_file_publish(path, bytes, sizeof(bytes), 0400, &e);
	rc = rc < 0 ? rc : et_secret_load(path, 32, &root, &e);
	rc = rc < 0 ? rc : et_ca_make("bench", &ca_key, &ca, &e);
	for (uint64_t i = 1; rc == 0 && i <= CATCHUP_NODES; i++) {
		struct et_identity id = { 0 };
		struct et_buffer request = { 0 };
		const struct et_cert_subject subject = { "bench", "prg", i };
		rc = et_identity_make("bench", "a-node", "prg", &id, &e);
		id.node = i;
		rc = rc < 0 ? rc : et_identity_request(&id, &request, &e);
		rc = rc < 0 ? rc
			    : et_ca_issue(ca_key, (struct et_view){ ca.data, ca.size },
					  (struct et_view){ request.data, request.size }, &subject,
					  et_clock_now_us(), INT64_C(86400000000), &id.cert, hash,
					  &e);
		et_buffer_add(&id.ca, ca.data, ca.size);
		(void)snprintf(path, sizeof(path), "%s/%d/identity", folder, (int)i);
		rc = rc < 0 ? rc : et_file_mkdirs(path, &e);
		rc = rc < 0 ? rc : et_identity_save(path, root, &id, &e);
		et_identity_release(&id);
		et_buffer_release(&request);
	}
	(void)et_secret_free(root);
	(void)et_secret_free(ca_key);
	et_buffer_release(&ca);
	if (rc < 0) {
		(void)fprintf(stderr, "bench-catchup: %s\n", e.text);
	}
	return rc;
}

int catchup_fill(const char *folder, int node, uint64_t bytes)
{
	char path[700];

	(void)snprintf(path, sizeof(path), "%s/%d/db/live-1", folder, node);
	char *error = et_state_fill(path, bytes, UINT64_C(64) << 20, 7);
	if (error != NULL) {
		(void)fprintf(stderr, "bench-catchup: %s\n", error);
		rocksdb_free(error);
	}
	return error == NULL ? 0 : -EIO;
}
