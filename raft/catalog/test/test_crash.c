#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "node/io/file.h"
#include "raft/catalog/test/fixture.h"

/* All nodes killed at once (kill -9), again and again, in the middle of their work. Each node is a
 * process: this program started again as "test_crash FOLDER ID ADDRESS MODE". It tells on its
 * standard output:
 *
 *   A <incarnation> <seq> <index>   acknowledged
 *   I <index> <digest>              applied
 *
 * In mode "verify" it reads lines "A ..." from its standard input, proposes each op again, and says
 * "V" when every one of them was there: with the same index, or remembered without its result. */

enum { NODES = 3, ROUNDS = 3, ACKS_A_ROUND = 600, IN_FLIGHT = 16 };

/* ---- The node ---- */

struct op {
	struct child *child;
	uint8_t incarnation[16];
	uint64_t seq;
	uint64_t index; /* acknowledged before; 0: new */
	int code;
};

struct child {
	uv_loop_t loop;
	struct et_postbox postbox;
	struct et_tls_node *tls;
	struct et_catalog *catalog;
	struct et_identity identity;
	uv_signal_t term;
	uv_timer_t report;
	uint64_t node;
	uint64_t reported;
	uint8_t incarnation[16];
	uint64_t seq;
	bool verify;
	bool stopping;
	size_t waiting;
};

static void child_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void child_say(const char *fmt, ...)
{
	char line[256];
	va_list args;

	va_start(args, fmt);
	int n = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (write(1, line, (size_t)n) != n) {
		_exit(3); /* The parent is gone. */
	}
}

static int child_check(void *arg, const struct et_tls_peer *peer, const char *alpn,
		       struct et_error *reterr)
{
	(void)arg;
	(void)peer;
	(void)alpn;
	(void)reterr;
	return 0;
}

static void child_propose(struct child *k, struct op *op);

static void child_on_answer(void *arg, int code, const Et__Result *result)
{
	struct op *op = arg;
	struct child *k = op->child;

	k->waiting--;
	if (k->stopping) {
		free(op);
		return;
	}
	if (code != 0 && code != ET_EEXISTS) {
		child_propose(k, op); /* The same op, until it is done. */
		return;
	}
	if (k->verify) {
		if (code == 0 && result->index != op->index) {
			child_say("X %llu applied twice, at %llu and %llu\n",
				  (unsigned long long)op->seq, (unsigned long long)op->index,
				  (unsigned long long)result->index);
		}
		free(op);
		if (k->waiting == 0) {
			child_say("V\n");
		}
		return;
	}
	char hex[33];
	et_hex(op->incarnation, 16, hex);
	child_say("A %s %llu %llu\n", hex, (unsigned long long)op->seq,
		  (unsigned long long)result->index);
	op->seq = ++k->seq;
	child_propose(k, op);
}

static void child_propose(struct child *k, struct op *op)
{
	Et__Command command = ET__COMMAND__INIT;
	Et__OpId id = ET__OP_ID__INIT;
	Et__Noop noop = ET__NOOP__INIT;
	char text[] = "what must not be lost";

	id.node = 1; /* One space of ids: whoever asks again. */
	id.seq = op->seq;
	id.incarnation = (ProtobufCBinaryData){ .len = 16, .data = op->incarnation };
	command.op = &id;
	command.principal = text;
	command.reason = text;
	command.schema = 1;
	command.body_case = ET__COMMAND__BODY_NOOP;
	command.noop = &noop;
	k->waiting++;
	et_catalog_propose(k->catalog, &command, 30000, child_on_answer, op);
}

static void child_report(uv_timer_t *timer)
{
	struct child *k = timer->data;

	if (k->stopping) {
		return;
	}
	if (et_state_applied(et_catalog_state(k->catalog)) == k->reported) {
		return;
	}
	uint8_t digest[32];
	char hex[65];
	struct et_state_view *v = et_state_view_open(et_catalog_state(k->catalog));
	if (v == NULL || et_state_digest(v, &k->reported, digest) < 0) {
		_exit(8);
	}
	et_state_view_close(v);
	et_hex(digest, sizeof(digest), hex);
	child_say("I %llu %s\n", (unsigned long long)k->reported, hex);
}

static void child_tls_closed(void *arg)
{
	struct child *k = arg;
	et_postbox_close(&k->postbox, NULL);
	uv_close((uv_handle_t *)&k->term, NULL);
	uv_close((uv_handle_t *)&k->report, NULL);
}

static void child_catalog_closed(void *arg)
{
	struct child *k = arg;
	et_tls_stop(k->tls, child_tls_closed, k);
}

static void child_on_term(uv_signal_t *signal, int number)
{
	struct child *k = signal->data;

	(void)number;
	if (!k->stopping) {
		k->stopping = true;
		et_catalog_stop(k->catalog, child_catalog_closed, k);
	}
}

static void child_work(struct child *k)
{
	char hex[64];
	unsigned long long seq, index;

	if (!k->verify) {
		for (int i = 0; i < IN_FLIGHT; i++) {
			struct op *op = et_cat_alloc(sizeof(*op));
			op->child = k;
			memcpy(op->incarnation, k->incarnation, 16);
			op->seq = ++k->seq;
			child_propose(k, op);
		}
		return;
	}
	while (scanf("A %40s %llu %llu\n", hex, &seq, &index) == 3) {
		struct op *op = et_cat_alloc(sizeof(*op));
		op->child = k;
		op->seq = seq;
		op->index = index;
		if (!et_unhex(hex, 32, op->incarnation, 16)) {
			_exit(4);
		}
		child_propose(k, op);
	}
}

static int child_main(char **argv)
{
	struct child k = { .node = strtoull(argv[2], NULL, 10),
			   .verify = strcmp(argv[4], "verify") == 0 };
	struct et_secret *root = NULL;
	struct et_error e;
	char path[700];
	char folder[600];

	et_log_set_level(ET_LOG_ERROR);
	et_random(k.incarnation, 16);
	(void)snprintf(folder, sizeof(folder), "%s/%s", argv[1], argv[2]);
	(void)snprintf(path, sizeof(path), "%s/root.key", argv[1]);
	int rc = et_secret_load(path, 32, &root, &e);
	(void)snprintf(path, sizeof(path), "%s/identity", folder);
	rc = rc < 0 ? rc : et_identity_load(path, root, &k.identity, &e);
	(void)et_secret_free(root);
	(void)uv_loop_init(&k.loop);
	rc = rc < 0 ? rc : et_postbox_init(&k.postbox, &k.loop);
	const struct et_tls_config tls = {
		.loop = &k.loop, .identity = &k.identity, .listen = argv[3], .check = child_check
	};
	rc = rc < 0 ? rc : et_tls_start(&tls, &k.tls, &e);
	const struct et_catalog_config config = { .loop = &k.loop,
						  .postbox = &k.postbox,
						  .tls = k.tls,
						  .node = k.node,
						  .address = argv[3],
						  .folder = folder,
						  .election_ms = 600,
						  .snapshot_bytes = 64 * 1024 };
	rc = rc < 0 ? rc : et_catalog_start(&config, &k.catalog, &e);
	if (rc < 0) {
		child_say("X %s\n", e.text);
		return 5;
	}
	(void)uv_signal_init(&k.loop, &k.term);
	(void)uv_timer_init(&k.loop, &k.report);
	k.term.data = k.report.data = &k;
	(void)uv_signal_start(&k.term, child_on_term, SIGTERM);
	(void)uv_timer_start(&k.report, child_report, 20, 20);
	if (!k.verify || k.node == 1) {
		child_work(&k);
	}
	(void)uv_run(&k.loop, UV_RUN_DEFAULT);
	et_identity_release(&k.identity);
	return uv_loop_close(&k.loop) == 0 ? 0 : 6;
}

/* ---- The parent ---- */

struct process {
	pid_t pid;
	int out;
	int in;
	char line[512];
	size_t size;
	char applied[128]; /* index and digest */
	bool verified;
};

struct crash {
	struct cluster cluster;
	struct process p[NODES];
	char program[600];
	char *acks; /* owned: lines */
	size_t acks_size;
	size_t acks_count;
};

static void start_all(struct crash *x, const char *mode)
{
	for (size_t i = 0; i < NODES; i++) {
		int out[2];
		int in[2];
		char id[8];
		struct node *n = &x->cluster.nodes[i];

		assert_int_equal(pipe(out), 0);
		assert_int_equal(pipe(in), 0);
		(void)snprintf(id, sizeof(id), "%zu", i + 1);
		x->p[i] = (struct process){ .out = out[0], .in = in[1] };
		x->p[i].pid = fork();
		assert_true(x->p[i].pid >= 0);
		if (x->p[i].pid == 0) {
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* Ends with its parent. */
			(void)dup2(in[0], 0);
			(void)dup2(out[1], 1);
			for (int fd = 3; fd < 256; fd++) {
				(void)close(fd);
			}
			(void)execl(x->program, x->program, x->cluster.folder, id, n->address, mode,
				    (char *)NULL);
			_exit(7);
		}
		(void)close(out[1]);
		(void)close(in[0]);
	}
}

static void take_line(struct crash *x, struct process *p, const char *line)
{
	if (line[0] == 'A') {
		size_t n = strlen(line);
		x->acks = realloc(x->acks, x->acks_size + n + 2);
		memcpy(x->acks + x->acks_size, line, n);
		x->acks[x->acks_size + n] = '\n';
		x->acks_size += n + 1;
		x->acks_count++;
	} else if (line[0] == 'I') {
		(void)snprintf(p->applied, sizeof(p->applied), "%s", line + 2);
	} else if (line[0] == 'V') {
		p->verified = true;
	} else {
		fail_msg("a node says: %s", line);
	}
}

/* What the nodes said. Waits for something, unless `drain`: then until they are silent for ever. */
static void hear(struct crash *x, bool drain)
{
	struct pollfd fds[NODES];

	for (size_t i = 0; i < NODES; i++) {
		fds[i] = (struct pollfd){ .fd = x->p[i].out, .events = POLLIN };
	}
	int rc = poll(fds, NODES, PATIENCE_MS);
	if (rc == 0) {
		fail_msg("the nodes say nothing");
	}
	for (size_t i = 0; i < NODES; i++) {
		struct process *p = &x->p[i];
		char text[4096];
		if (fds[i].revents == 0) {
			continue;
		}
		ssize_t n = read(p->out, text, sizeof(text));
		if (n <= 0) {
			if (!drain) {
				fail_msg("node %zu died", i + 1);
			}
			(void)close(p->out);
			p->out = -1;
		}
		for (ssize_t k = 0; k < n; k++) {
			if (text[k] == '\n') {
				p->line[p->size] = '\0';
				p->size = 0;
				take_line(x, p, p->line);
			} else if (p->size + 1 < sizeof(p->line)) {
				p->line[p->size++] = text[k];
			}
		}
	}
}

static void end_all(struct crash *x, int signal)
{
	for (size_t i = 0; i < NODES; i++) {
		(void)close(x->p[i].in);
		(void)kill(x->p[i].pid, signal);
	}
	while (x->p[0].out >= 0 || x->p[1].out >= 0 || x->p[2].out >= 0) {
		hear(x, true); /* What was acknowledged before the end counts. */
	}
	for (size_t i = 0; i < NODES; i++) {
		int status = 0;
		assert_int_equal(waitpid(x->p[i].pid, &status, 0), x->p[i].pid);
		if (signal == SIGTERM) {
			assert_true(WIFEXITED(status));
			assert_int_equal(WEXITSTATUS(status), 0);
		}
	}
}

static void save_identities(struct cluster *c)
{
	struct et_secret *root = NULL;
	uint8_t bytes[32];
	char path[700];

	et_random(bytes, sizeof(bytes));
	(void)snprintf(path, sizeof(path), "%s/root.key", c->folder);
	assert_int_equal(et_file_publish(path, bytes, sizeof(bytes), 0400, NULL), 0);
	assert_int_equal(et_secret_load(path, 32, &root, NULL), 0);
	for (size_t i = 0; i < NODES; i++) {
		(void)snprintf(path, sizeof(path), "%s/identity", c->nodes[i].folder);
		assert_int_equal(et_file_mkdirs(path, NULL), 0);
		assert_int_equal(et_identity_save(path, root, &c->nodes[i].identity, NULL), 0);
	}
	(void)et_secret_free(root);
}

static void nothing_acknowledged_is_lost(void **state)
{
	struct crash *x = calloc(1, sizeof(*x));
	struct cluster *c = &x->cluster;

	(void)state;
	ssize_t n = readlink("/proc/self/exe", x->program, sizeof(x->program) - 1);
	assert_true(n > 0);
	cluster_open(c, NODES);
	save_identities(c);
	cluster_form(c);
	for (size_t i = 0; i < NODES; i++) {
		node_close(&c->nodes[i]);
	}
	for (int round = 0; round < ROUNDS; round++) {
		size_t before = x->acks_count;
		start_all(x, "work");
		while (x->acks_count < before + ACKS_A_ROUND) {
			hear(x, false);
		}
		end_all(x, SIGKILL);
	}
	start_all(x, "verify");
	for (size_t i = 0; i < x->acks_size;) {
		ssize_t w = write(x->p[0].in, x->acks + i, x->acks_size - i);
		assert_true(w > 0);
		i += (size_t)w;
	}
	(void)close(x->p[0].in);
	x->p[0].in = -1;
	/* All are there, and all at one index with one digest. */
	while (!x->p[0].verified || strcmp(x->p[0].applied, x->p[1].applied) != 0 ||
	       strcmp(x->p[0].applied, x->p[2].applied) != 0) {
		hear(x, false);
	}
	end_all(x, SIGTERM);
	print_message("%zu acknowledged, %d times all killed, none lost\n", x->acks_count, ROUNDS);
	cluster_close(c);
	free(x->acks);
	free(x);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_acknowledged_is_lost),
	};

	if (argc == 5) {
		return child_main(argv);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
