#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cluster-tests/harness/fault/fault.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "raft/command/sample.h"

/* Small, so that a few hundred commands make several snapshots, trims and compactions. With a tail:
 * none, for a snapshot would take the place of the log; and a leader stays one for a while when it
 * is alone. */
enum { SNAPSHOT_BYTES = 48 * 1024, TAIL_SNAPSHOT_BYTES = 128 * 1024 * 1024 };
enum { ELECTION_MS = 300, HEARTBEAT_MS = 50, POLL_MS = 5 };

static void ET_PRINTF(2, 0) say(const char *prefix, const char *fmt, va_list args)
{
	char line[900];
	int p = snprintf(line, sizeof(line), "%s", prefix);
	int n = vsnprintf(line + p, sizeof(line) - (size_t)p - 1, fmt, args);
	size_t size = (size_t)p + (n < 0 ? 0 : (size_t)n);

	size = size > sizeof(line) - 2 ? sizeof(line) - 2 : size;
	line[size++] = '\n';
	if (write(1, line, size) != (ssize_t)size) {
		_exit(3); /* Nobody listens. */
	}
}

void fault_say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say("", fmt, args);
	va_end(args);
}

_Noreturn void fault_die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say("X ", fmt, args);
	va_end(args);
	_exit(1);
}

static void poll_on_timer(uv_timer_t *timer)
{
	(void)timer;
}

void fault_nodes_init(struct fault_nodes *f, const char *folder, size_t count,
		      char *const addresses[])
{
	f->folder = folder;
	f->count = count;
	f->election_ms = ELECTION_MS;
	if (uv_loop_init(&f->loop) < 0 || et_postbox_init(&f->postbox, &f->loop) < 0) {
		fault_die("no loop");
	}
	(void)uv_timer_init(&f->loop, &f->poll);
	(void)uv_timer_start(&f->poll, poll_on_timer, POLL_MS, POLL_MS);
	for (size_t i = 0; i < count; i++) {
		struct fault_node *n = &f->nodes[i];
		n->all = f;
		n->id = i + 1;
		n->address = addresses[i];
		(void)snprintf(n->folder, sizeof(n->folder), "%s/%zu", folder, i + 1);
	}
}

void fault_run_until(struct fault_nodes *f, bool (*done)(void *arg), void *arg, unsigned seconds,
		     const char *what)
{
	int64_t until_us = et_clock_mono_us() + (int64_t)seconds * 1000000;

	while (!done(arg)) {
		if (et_clock_mono_us() > until_us) {
			fault_die("%u s were not enough for: %s", seconds, what);
		}
		(void)uv_run(&f->loop, UV_RUN_ONCE);
	}
}

/* ---- Identities ---- */

static int identity_issue(const char *path, uint64_t id, const struct et_secret *root,
			  struct et_secret *ca_key, struct et_view ca, struct et_error *e)
{
	struct et_identity identity = { 0 };
	struct et_buffer request = { 0 };
	const struct et_cert_subject subject = { .cluster = "acme", .site = "prg", .node = id };
	uint8_t hash[32];

	int rc = et_file_mkdirs(path, e);
	rc = rc < 0 ? rc : et_identity_make("acme", "a-node", "prg", &identity, e);
	identity.node = id;
	rc = rc < 0 ? rc : et_identity_request(&identity, &request, e);
	rc = rc < 0 ? rc
		    : et_ca_issue(ca_key, ca, (struct et_view){ request.data, request.size },
				  &subject, et_clock_now_us(), INT64_C(86400000000), &identity.cert,
				  hash, e);
	et_buffer_add(&identity.ca, ca.data, ca.size);
	rc = rc < 0 ? rc : et_identity_save(path, root, &identity, e);
	et_identity_release(&identity);
	et_buffer_release(&request);
	return rc;
}

static void identities_make(struct fault_nodes *f)
{
	struct et_secret *root = NULL;
	struct et_secret *ca_key = NULL;
	struct et_buffer ca = { 0 };
	struct et_error e;
	uint8_t bytes[32];
	char path[600];

	et_random(bytes, sizeof(bytes));
	(void)snprintf(path, sizeof(path), "%s/root.key", f->folder);
	int rc = et_file_publish(path, bytes, sizeof(bytes), 0400, &e);
	rc = rc < 0 ? rc : et_secret_load(path, 32, &root, &e);
	rc = rc < 0 ? rc : et_ca_make("acme", &ca_key, &ca, &e);
	for (size_t i = 0; rc == 0 && i < f->count; i++) {
		(void)snprintf(path, sizeof(path), "%s/identity", f->nodes[i].folder);
		rc = identity_issue(path, i + 1, root, ca_key, (struct et_view){ ca.data, ca.size },
				    &e);
	}
	if (rc < 0) {
		fault_die("%s", e.text);
	}
	(void)et_secret_free(root);
	(void)et_secret_free(ca_key);
	et_buffer_release(&ca);
}

/* ---- Open and close ---- */

static int check_peer(void *arg, const struct et_tls_peer *peer, const char *alpn,
		      struct et_error *reterr)
{
	(void)arg;
	(void)peer;
	(void)alpn;
	(void)reterr;
	return 0;
}

static struct et_catalog_config config_of(const struct fault_node *n)
{
	return (struct et_catalog_config){ .loop = &n->all->loop,
					   .postbox = &n->all->postbox,
					   .tls = n->tls,
					   .node = n->id,
					   .address = n->address,
					   .folder = n->folder,
					   .election_ms = n->all->election_ms,
					   .heartbeat_ms = HEARTBEAT_MS,
					   .snapshot_bytes = n->all->tail ? TAIL_SNAPSHOT_BYTES
									  : SNAPSHOT_BYTES };
}

static void tls_open(struct fault_nodes *f, struct fault_node *n)
{
	struct et_identity *identity = calloc(1, sizeof(*identity)); /* the process's */
	struct et_secret *root = NULL;
	struct et_error e;
	char path[600];

	if (identity == NULL) {
		fault_die("no memory");
	}
	(void)snprintf(path, sizeof(path), "%s/root.key", f->folder);
	int rc = et_secret_load(path, 32, &root, &e);
	(void)snprintf(path, sizeof(path), "%s/identity", n->folder);
	rc = rc < 0 ? rc : et_identity_load(path, root, identity, &e);
	(void)et_secret_free(root);
	const struct et_tls_config config = {
		.loop = &f->loop, .identity = identity, .listen = n->address, .check = check_peer
	};
	rc = rc < 0 ? rc : et_tls_start(&config, &n->tls, &e);
	if (rc < 0) {
		fault_die("node %d: %s", (int)n->id, e.text);
	}
	n->tls_open = true;
}

void fault_node_open(struct fault_nodes *f, size_t i)
{
	struct fault_node *n = &f->nodes[i];
	struct et_error e;

	tls_open(f, n);
	const struct et_catalog_config config = config_of(n);
	if (et_catalog_start(&config, &n->catalog, &e) < 0) {
		fault_die("node %d does not open: %s", (int)n->id, e.text);
	}
	n->catalog_open = true;
}

static void on_catalog_closed(void *arg)
{
	((struct fault_node *)arg)->catalog_open = false;
}

static void on_tls_closed(void *arg)
{
	((struct fault_node *)arg)->tls_open = false;
}

static bool catalogs_are_closed(void *arg)
{
	const struct fault_nodes *f = arg;
	bool open = false;

	for (size_t i = 0; i < f->count; i++) {
		open |= f->nodes[i].catalog_open;
	}
	return !open;
}

static bool tls_are_closed(void *arg)
{
	const struct fault_nodes *f = arg;
	bool open = false;

	for (size_t i = 0; i < f->count; i++) {
		open |= f->nodes[i].tls_open;
	}
	return !open;
}

static bool node_catalog_is_closed(void *arg)
{
	return !((const struct fault_node *)arg)->catalog_open;
}

static bool node_tls_is_closed(void *arg)
{
	return !((const struct fault_node *)arg)->tls_open;
}

void fault_node_close(struct fault_nodes *f, size_t i)
{
	struct fault_node *n = &f->nodes[i];

	et_catalog_stop(n->catalog, on_catalog_closed, n);
	fault_run_until(f, node_catalog_is_closed, n, 60, "a catalogue to close");
	et_tls_stop(n->tls, on_tls_closed, n);
	fault_run_until(f, node_tls_is_closed, n, 60, "connections to close");
}

void fault_nodes_close(struct fault_nodes *f)
{
	for (size_t i = 0; i < f->count; i++) {
		if (f->nodes[i].catalog_open) {
			et_catalog_stop(f->nodes[i].catalog, on_catalog_closed, &f->nodes[i]);
		}
	}
	fault_run_until(f, catalogs_are_closed, f, 60, "the catalogues to close");
	for (size_t i = 0; i < f->count; i++) {
		if (f->nodes[i].tls_open) {
			et_tls_stop(f->nodes[i].tls, on_tls_closed, &f->nodes[i]);
		}
	}
	fault_run_until(f, tls_are_closed, f, 60, "the connections to close");
}

uint64_t fault_applied(const struct fault_node *n)
{
	return et_state_applied(et_catalog_state(n->catalog));
}

/* ---- Forming ---- */

struct answer {
	int calls;
	int code;
};

static void on_answer(void *arg, int code, const Et__Result *result)
{
	struct answer *a = arg;

	(void)result;
	a->calls++;
	a->code = code;
}

static bool is_answered(void *arg)
{
	return ((struct answer *)arg)->calls > 0;
}

static void cluster_begin(struct fault_nodes *f)
{
	static char local[] = "local";
	struct et_sample_cluster sample;
	Et__Command command = ET__COMMAND__INIT;
	struct answer a = { 0 };

	et_sample_cluster_init(&sample, et_clock_now_us(), &command);
	command.principal = local;
	command.schema = 1;
	et_catalog_propose(f->nodes[0].catalog, &command, 60000, on_answer, &a);
	fault_run_until(f, is_answered, &a, 90, "ClusterInit");
	if (a.code != 0) {
		fault_die("ClusterInit: %s", et_errname(a.code));
	}
}

static struct fault_node *leader_of(struct fault_nodes *f)
{
	for (size_t i = 0; i < f->count; i++) {
		struct et_catalog_status s;
		if (f->nodes[i].catalog_open) {
			et_catalog_status(f->nodes[i].catalog, &s);
			if (s.is_leader) {
				return &f->nodes[i];
			}
		}
	}
	return NULL;
}

bool fault_has_leader(void *arg)
{
	return leader_of(arg) != NULL;
}

static void member_add(struct fault_nodes *f, size_t i)
{
	for (int code = -1; code != 0;) {
		struct answer added = { 0 };
		struct answer assigned = { 0 };
		fault_run_until(f, fault_has_leader, f, 60, "a leader");
		struct et_catalog *leader = leader_of(f)->catalog;
		et_catalog_add(leader, i + 1, f->nodes[i].address, on_answer, &added);
		fault_run_until(f, is_answered, &added, 90, "a member to be added");
		if (added.code == 0) {
			et_catalog_assign(leader, i + 1, ET_CATALOG_VOTER, on_answer, &assigned);
			fault_run_until(f, is_answered, &assigned, 90, "a member to vote");
		}
		code = added.code != 0 ? added.code : assigned.code;
	}
}

void fault_cluster_make(struct fault_nodes *f)
{
	struct et_error e;

	identities_make(f);
	tls_open(f, &f->nodes[0]);
	const struct et_catalog_config config = config_of(&f->nodes[0]);
	if (et_catalog_bootstrap(&config, &e) < 0 ||
	    et_catalog_start(&config, &f->nodes[0].catalog, &e) < 0) {
		fault_die("%s", e.text);
	}
	f->nodes[0].catalog_open = true;
	cluster_begin(f);
	for (size_t i = 1; i < f->count; i++) {
		fault_node_open(f, i);
		member_add(f, i);
	}
}

int fault_form(struct fault_nodes *f)
{
	fault_cluster_make(f);
	fault_nodes_close(f);
	return 0;
}
