#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cluster-tests/bench/commit/commit.h"
#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "node/tls/rpc.h"
#include "raft/catalog/catalog.h"

/* A node reads lines from its standard input and answers each with one line:
 *
 *   "begin"                     node 1: make the cluster            -> "ok"
 *   "add NODE ADDRESS"          node 1: add a voter                 -> "ok"
 *   "load IN_FLIGHT BATCH S"    propose for S seconds               -> "FAILED SECONDS COUNT us..."
 * in binary after the line (see load_end) */

struct load {
	struct bench_cell cell;
	unsigned seconds;
	bool noop;
	int64_t begin_us;
	bool over;     /* what ends from now on does not count */
	unsigned open; /* batches */
	struct bench_stats stats;
};

struct batch {
	struct node *node;
	unsigned left;
	bool failed;
	int64_t sent_us;
};

struct node {
	uv_loop_t loop;
	struct et_postbox postbox;
	struct et_tls_node *tls;
	struct et_catalog *catalog;
	uv_pipe_t in;
	char line[256];
	size_t size;
	struct load load;
	uv_timer_t pace;
	uint64_t member; /* the node that is adding */
	struct bench_commands commands;
};

static void say(const char *text)
{
	(void)!write(1, text, strlen(text));
}

/* ---- The commands ---- */

static void on_begun(void *arg, int code, const Et__Result *result)
{
	(void)arg;
	(void)result;
	say(code == 0 ? "ok\n" : "failed\n");
}

static void cluster_begin(struct node *n)
{
	struct bench_init init;

	bench_init_make(&init);
	et_catalog_propose(n->catalog, &init.command, 30000, on_begun, n);
}

static void batch_begin(struct node *n);

static void load_end(struct node *n)
{
	struct load *l = &n->load;
	char line[128];
	(void)uv_timer_stop(&n->pace);

	struct bench_result r = bench_stats_end(&l->stats, l->cell.batch, l->seconds);
	(void)snprintf(line, sizeof(line), "%.1f %.3f %.3f %llu %llu\n", r.per_s, r.p50_ms,
		       r.p99_ms, (unsigned long long)r.count, (unsigned long long)r.failed);
	say(line);
}

static void on_committed(void *arg, int code, const Et__Result *result)
{
	struct batch *b = arg;
	struct node *n = b->node;
	struct load *l = &n->load;
	int64_t now_us = et_clock_mono_us();

	(void)result;
	b->failed |= code != 0;
	if (--b->left > 0) {
		return;
	}
	l->over |= now_us - l->begin_us >= (int64_t)l->seconds * 1000000;
	if (b->failed) {
		l->stats.failed++;
	} else if (!l->over) {
		bench_stats_add(&l->stats, now_us - b->sent_us);
	}
	free(b);
	l->open--;
	if (!l->over) {
		if (l->cell.per_s == 0) {
			batch_begin(n);
		}
	} else if (l->open == 0) {
		load_end(n);
	}
}

static void batch_begin(struct node *n)
{
	struct batch *b = calloc(1, sizeof(*b));

	et_assert(b != NULL);
	b->node = n;
	b->left = n->load.cell.batch;
	b->sent_us = et_clock_mono_us();
	n->load.open++;
	for (unsigned i = 0; i < n->load.cell.batch; i++) {
		bench_command_make(&n->commands, n->load.noop);
		et_catalog_propose(n->catalog, &n->commands.command, 60000, on_committed, b);
	}
}

static void on_pace(uv_timer_t *timer)
{
	struct node *n = timer->data;

	if (!n->load.over && n->load.open < n->load.cell.in_flight) {
		batch_begin(n);
	}
}

static void load_begin(struct node *n)
{
	struct load *l = &n->load;

	l->noop = strstr(n->line, "noop") != NULL;
	l->over = false;
	l->begin_us = et_clock_mono_us();
	if (l->cell.per_s > 0) {
		(void)uv_timer_start(&n->pace, on_pace, 1, 1000 / l->cell.per_s);
		return;
	}
	for (unsigned i = 0; i < l->cell.in_flight; i++) {
		batch_begin(n);
	}
}

/* ---- Lines ---- */

static void on_added(void *arg, int code, const Et__Result *result)
{
	struct node *n = arg;

	(void)result;
	if (code < 0 || n->member == 0) {
		say(code < 0 ? "failed\n" : "ok\n");
		return;
	}
	uint64_t member = n->member;
	n->member = 0;
	et_catalog_assign(n->catalog, member, ET_CATALOG_VOTER, on_added, n);
}

static void take_line(struct node *n)
{
	char address[64];
	unsigned long long member;
	struct load *l = &n->load;

	if (strcmp(n->line, "begin") == 0) {
		cluster_begin(n);
	} else if (sscanf(n->line, "add %llu %63s", &member, address) == 2) {
		n->member = member;
		et_catalog_add(n->catalog, member, address, on_added, n);
	} else if (sscanf(n->line, "load %u %u %u %u", &l->cell.in_flight, &l->cell.batch,
			  &l->cell.per_s, &l->seconds) == 4) {
		load_begin(n);
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
		_exit(0); /* The benchmark is over: its folder goes with it. */
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
		     const char *port, bool is_far, struct et_error *e)
{
	char listen[64];
	struct et_identity identity = { 0 };
	struct et_secret *root = NULL;
	char path[700];
	char state[600];

	(void)snprintf(path, sizeof(path), "%s/root.key", folder);
	(void)snprintf(listen, sizeof(listen), "127.0.0.1:%s", port);
	int rc = et_secret_load(path, 32, &root, e);
	(void)snprintf(state, sizeof(state), "%s/%s", folder, id);
	(void)snprintf(path, sizeof(path), "%s/%s/identity", folder, id);
	rc = rc < 0 ? rc : et_identity_load(path, root, &identity, e);
	(void)et_secret_free(root);
	(void)uv_loop_init(&n->loop);
	rc = rc < 0 ? rc : et_postbox_init(&n->postbox, &n->loop);
	const struct et_tls_config tls = {
		.loop = &n->loop, .identity = &identity, .listen = listen, .check = check_all
	};
	rc = rc < 0 ? rc : et_tls_start(&tls, &n->tls, e);
	et_identity_release(&identity);
	const struct et_catalog_config config = { .loop = &n->loop,
						  .postbox = &n->postbox,
						  .tls = n->tls,
						  .node = strtoull(id, NULL, 10),
						  .address = address,
						  .folder = state,
						  .election_ms = is_far ? BENCH_WAN_ELECTION_MS : 0,
						  .heartbeat_ms =
							  is_far ? BENCH_WAN_HEARTBEAT_MS : 0 };
	if (rc == 0 && strcmp(id, "1") == 0) {
		rc = et_catalog_bootstrap(&config, e);
	}
	return rc < 0 ? rc : et_catalog_start(&config, &n->catalog, e);
}

int bench_node_main(const char *folder, const char *id, const char *address, const char *port,
		    const char *rtt_ms)
{
	static struct node n;
	struct et_error e;

	et_memory_keep(); /* As the daemon does. */
	et_log_set_level(ET_LOG_ERROR);
	bench_commands_init(&n.commands);
	if (node_open(&n, folder, id, address, port, strcmp(rtt_ms, "0") != 0, &e) < 0) {
		(void)fprintf(stderr, "bench-commit: node %s: %s\n", id, e.text);
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

/* ---- The other side ---- */

struct bench_raft {
	pid_t pid[BENCH_NODES];
	int to[BENCH_NODES];
	FILE *from[BENCH_NODES];
	char address[BENCH_NODES][32];
	struct bench_hop hops[BENCH_NODES];
	unsigned rtt_ms;
	pid_t relay;
};

static int ask(struct bench_raft *r, const char *question, char *answer, int size)
{
	if (write(r->to[0], question, strlen(question)) != (ssize_t)strlen(question) ||
	    fgets(answer, size, r->from[0]) == NULL) {
		return -EPIPE;
	}
	return strcmp(answer, "failed\n") == 0 ? -EIO : 0;
}

static int identities_make(const char *folder)
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
	for (uint64_t i = 1; rc == 0 && i <= BENCH_NODES; i++) {
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
		(void)fprintf(stderr, "bench-commit: %s\n", e.text);
	}
	return rc;
}

static int node_spawn(struct bench_raft *r, int i, const char *program, const char *folder)
{
	int to[2];
	int from[2];
	char id[16];
	char port[16];
	char rtt_ms[16];

	if (pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0) {
		return -errno;
	}
	(void)snprintf(id, sizeof(id), "%d", i + 1);
	(void)snprintf(port, sizeof(port), "%d", r->hops[i].to);
	(void)snprintf(rtt_ms, sizeof(rtt_ms), "%u", r->rtt_ms);
	(void)snprintf(r->address[i], sizeof(r->address[i]), "127.0.0.1:%d", r->hops[i].port);
	r->pid[i] = fork();
	if (r->pid[i] == 0) {
		(void)dup2(to[0], 0);
		(void)dup2(from[1], 1);
		(void)execl(program, program, "--node", folder, id, r->address[i], port, rtt_ms,
			    (char *)NULL);
		_exit(127);
	}
	(void)close(to[0]);
	(void)close(from[1]);
	r->to[i] = to[1];
	r->from[i] = fdopen(from[0], "r");
	return r->pid[i] < 0 || r->from[i] == NULL ? -errno : 0;
}

/* Ports, and with a distance the relay before them. */
static int hops_make(struct bench_raft *r)
{
	for (int i = 0; i < BENCH_NODES; i++) {
		r->hops[i].to = bench_port();
		r->hops[i].port = r->rtt_ms > 0 ? bench_port() : r->hops[i].to;
	}
	if (r->rtt_ms > 0) {
		r->relay = bench_relay_start(r->hops, BENCH_NODES, r->rtt_ms);
	}
	return r->relay < 0 ? -EADDRINUSE : 0;
}

struct bench_raft *bench_raft_start(const char *program, const char *folder, unsigned rtt_ms)
{
	struct bench_raft *r = calloc(1, sizeof(*r));
	char line[256];
	int rc = r == NULL ? -ENOMEM : identities_make(folder);

	if (rc == 0) {
		r->rtt_ms = rtt_ms;
		rc = hops_make(r);
	}
	for (int i = 0; rc == 0 && i < BENCH_NODES; i++) {
		rc = node_spawn(r, i, program, folder);
	}
	rc = rc < 0 ? rc : ask(r, "begin\n", line, sizeof(line));
	for (int i = 1; rc == 0 && i < BENCH_NODES; i++) {
		char question[128];
		(void)snprintf(question, sizeof(question), "add %d %s\n", i + 1, r->address[i]);
		rc = ask(r, question, line, sizeof(line));
	}
	if (rc < 0) {
		(void)fprintf(stderr, "bench-commit: the nodes did not form a cluster\n");
		if (r != NULL) {
			bench_raft_stop(r);
		}
		return NULL;
	}
	return r;
}

int bench_raft_run(struct bench_raft *r, struct bench_cell cell, unsigned seconds, bool noop,
		   struct bench_result *ret)
{
	char line[256];
	unsigned long long count, failed;

	(void)snprintf(line, sizeof(line), "load %u %u %u %u%s\n", cell.in_flight, cell.batch,
		       cell.per_s, seconds, noop ? " noop" : "");
	double cpu_us = bench_cpu_us(r->pid, BENCH_NODES);
	int rc = ask(r, line, line, sizeof(line));
	cpu_us = bench_cpu_us(r->pid, BENCH_NODES) - cpu_us;
	if (rc == 0 && sscanf(line, "%lf %lf %lf %llu %llu", &ret->per_s, &ret->p50_ms,
			      &ret->p99_ms, &count, &failed) != 5) {
		rc = -EPROTO;
	}
	if (rc == 0) {
		ret->count = count;
		ret->failed = failed;
		ret->cpu_us = count > 0 ? cpu_us / (double)count : 0;
	}
	return rc;
}

void bench_raft_stop(struct bench_raft *r)
{
	for (int i = 0; i < BENCH_NODES; i++) {
		if (r->pid[i] > 0) {
			(void)close(r->to[i]); /* It ends then. */
			(void)waitpid(r->pid[i], NULL, 0);
			(void)fclose(r->from[i]);
		}
	}
	bench_relay_stop(r->relay);
	free(r);
}
