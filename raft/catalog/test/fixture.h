/* A cluster for tests of raft/catalog: nodes with real certificates, TLS on loopback, RocksDB and
 * libraft on disk, all on one loop, in a folder of their own. Nothing sleeps: the loop runs until a
 * condition holds, or the test fails after two minutes. */
#ifndef ET_RAFT_CATALOG_TEST_FIXTURE_H
#define ET_RAFT_CATALOG_TEST_FIXTURE_H

#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

#include "node/io/clock.h"
#include "raft/catalog/catalog_internal.h"

/* RocksDB, libuv and libraft are not built for ThreadSanitizer: it does not see how their threads
 * order what they do. Our own code is looked at in full. */
#ifdef __SANITIZE_THREAD__
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "called_from_lib:librocksdb.so\nrace:librocksdb.so\n"
	       "called_from_lib:libstdc++.so\nrace:libstdc++.so\n"
	       "called_from_lib:libuv.so\nrace:libuv.so\n"
	       "called_from_lib:libraft.so\nrace:libraft.so\n"
	       /* One thread closes what another opens later under the same number. */
	       "race:closedir\n"
	       /* RocksDB locks, and jumps to the unlock: it looks like ours. */
	       "mutex:compactions_give_way\n";
}
#endif

#define NODES_MAX 5
#define PATIENCE_MS 120000

struct node {
	struct cluster *cluster;
	uint64_t id; /* 1, 2, ... */
	struct et_identity identity;
	struct et_tls_node *tls;
	struct et_catalog *catalog;
	char address[64];
	char folder[512];
	bool cut; /* from all others */
	bool catalog_open, tls_open;
	uint64_t applied_calls;
	uint64_t replaced_calls;
};

struct cluster {
	uv_loop_t loop;
	struct et_postbox postbox;
	uv_timer_t watchdog;
	uv_timer_t poll; /* so that conditions on other threads are seen */
	struct et_secret *ca_key;
	struct et_buffer ca;
	char folder[256];
	size_t count;
	uint64_t snapshot_bytes;
	uint32_t digest_check_ms;
	void (*on_diverged)(void *arg, const struct et_error *why);
	struct node nodes[NODES_MAX];
};

/* Where every node stands, when a test gives up. */
static inline void cluster_tell(const struct cluster *c)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct et_catalog *k = c->nodes[i].catalog;
		if (!c->nodes[i].catalog_open) {
			continue;
		}
		(void)fprintf(
			stderr,
			"node %zu: state %d term %llu commit %llu stored %llu raft-applied %llu "
			"pushed %llu applied %llu queue %zu held %zu installing %d %d snapshot "
			"%llu proposals %zu inflight %zu paused %d\n",
			i + 1, (int)k->raft.state, k->raft.current_term, k->raft.commit_index,
			k->raft.last_stored, k->raft.last_applied, (unsigned long long)k->pushed,
			(unsigned long long)k->applied, k->queue_bytes, k->held_bytes,
			k->install.active, k->raft.snapshot.installing,
			(unsigned long long)k->snapshot_index, k->proposals_count,
			k->inflight_count, k->paused);
	}
}

static inline void watchdog_on_timer(uv_timer_t *timer)
{
	cluster_tell(ET_CONTAINER_OF(timer, struct cluster, watchdog));
	(void)fprintf(stderr, "nothing happened for %d s\n", PATIENCE_MS / 1000);
	abort();
}

static inline void poll_on_timer(uv_timer_t *timer)
{
	(void)timer;
}

#define RUN_UNTIL(c, condition)                                                                    \
	do {                                                                                       \
		(void)uv_timer_start(&(c)->watchdog, watchdog_on_timer, PATIENCE_MS, 0);           \
		while (!(condition)) {                                                             \
			(void)uv_run(&(c)->loop, UV_RUN_ONCE);                                     \
		}                                                                                  \
		(void)uv_timer_stop(&(c)->watchdog);                                               \
	} while (0)

/* Who is cut off talks to nobody. */
static inline int fixture_check(void *arg, const struct et_tls_peer *peer, const char *alpn,
				struct et_error *reterr)
{
	struct node *n = arg;

	(void)alpn;
	if (n->cut || peer->node == 0 || peer->node > n->cluster->count ||
	    n->cluster->nodes[peer->node - 1].cut) {
		return et_fail_plain(reterr, ET_EUNTRUSTED, "cut off");
	}
	return 0;
}

static inline void fixture_on_applied(void *arg, uint64_t index, const Et__Command *command,
				      const Et__Result *result)
{
	struct node *n = arg;

	(void)index;
	assert_non_null(command);
	assert_non_null(result);
	n->applied_calls += result->code == 0;
}

static inline void fixture_on_replaced(void *arg)
{
	((struct node *)arg)->replaced_calls++;
}

static inline struct et_catalog_config config_of(struct node *n)
{
	return (struct et_catalog_config){ .loop = &n->cluster->loop,
					   .postbox = &n->cluster->postbox,
					   .tls = n->tls,
					   .node = n->id,
					   .address = n->address,
					   .folder = n->folder,
					   .election_ms = 600,
					   .heartbeat_ms = 50,
					   .snapshot_bytes = n->cluster->snapshot_bytes,
					   .on_applied = fixture_on_applied,
					   .on_replaced = fixture_on_replaced,
					   .on_diverged = n->cluster->on_diverged,
					   .digest_check_ms = n->cluster->digest_check_ms,
					   .arg = n };
}

static inline void tls_open(struct node *n)
{
	struct et_error e;
	const struct et_tls_config config = { .loop = &n->cluster->loop,
					      .identity = &n->identity,
					      .listen = n->address[0] != '\0' ? n->address
									      : "127.0.0.1:0",
					      .check = fixture_check,
					      .arg = n };

	if (et_tls_start(&config, &n->tls, &e) < 0) {
		fail_msg("%s", e.text);
	}
	n->tls_open = true;
	(void)snprintf(n->address, sizeof(n->address), "%s", et_tls_address(n->tls));
}

static inline void node_make(struct cluster *c, size_t i)
{
	struct node *n = &c->nodes[i];
	struct et_buffer request = { 0 };
	uint8_t hash[32];

	n->cluster = c;
	n->id = i + 1;
	(void)snprintf(n->folder, sizeof(n->folder), "%s/%zu", c->folder, i + 1);
	const struct et_cert_subject subject = { .cluster = "acme", .site = "prg", .node = n->id };
	assert_int_equal(et_identity_make("acme", "a-node", "prg", &n->identity, NULL), 0);
	n->identity.node = n->id;
	assert_int_equal(et_identity_request(&n->identity, &request, NULL), 0);
	assert_int_equal(et_ca_issue(c->ca_key, (struct et_view){ c->ca.data, c->ca.size },
				     (struct et_view){ request.data, request.size }, &subject,
				     et_clock_now_us(), INT64_C(3600000000), &n->identity.cert,
				     hash, NULL),
			 0);
	et_buffer_add(&n->identity.ca, c->ca.data, c->ca.size);
	et_buffer_release(&request);
	tls_open(n);
}

static inline void catalog_open(struct node *n)
{
	struct et_error e;
	struct et_catalog_config config = config_of(n);

	if (et_catalog_start(&config, &n->catalog, &e) < 0) {
		fail_msg("node %d: %s", (int)n->id, e.text);
	}
	n->catalog_open = true;
}

static inline void catalog_on_closed(void *arg)
{
	struct node *n = arg;
	n->catalog = NULL;
	n->catalog_open = false;
}

static inline void catalog_close(struct node *n)
{
	et_catalog_stop(n->catalog, catalog_on_closed, n);
	RUN_UNTIL(n->cluster, !n->catalog_open);
}

static inline void tls_on_closed(void *arg)
{
	struct node *n = arg;
	n->tls = NULL;
	n->tls_open = false;
}

static inline void node_close(struct node *n)
{
	if (n->catalog_open) {
		catalog_close(n);
	}
	if (n->tls_open) {
		et_tls_stop(n->tls, tls_on_closed, n);
		RUN_UNTIL(n->cluster, !n->tls_open);
	}
}

static inline void node_reopen(struct node *n)
{
	tls_open(n); /* at the same address */
	catalog_open(n);
}

static inline void node_cut(struct node *n, bool cut)
{
	n->cut = cut;
	for (size_t i = 0; i < n->cluster->count; i++) {
		if (n->cluster->nodes[i].tls_open) {
			et_tls_recheck(n->cluster->nodes[i].tls);
		}
	}
}

/* ---- Looking ---- */

static inline struct node *leader_of(struct cluster *c)
{
	struct node *found = NULL;
	struct et_catalog_status s;

	for (size_t i = 0; i < c->count; i++) {
		if (c->nodes[i].catalog_open && !c->nodes[i].cut) {
			et_catalog_status(c->nodes[i].catalog, &s);
			if (s.is_leader) {
				found = &c->nodes[i];
			}
		}
	}
	return found;
}

/* The leader, when there is one. */
static inline struct node *led(struct cluster *c)
{
	struct node *leader = NULL;

	RUN_UNTIL(c, (leader = leader_of(c)) != NULL);
	return leader;
}

static inline bool all_follow(struct cluster *c)
{
	struct node *leader = leader_of(c);
	struct et_catalog_status s;

	for (size_t i = 0; leader != NULL && i < c->count; i++) {
		if (c->nodes[i].catalog_open && !c->nodes[i].cut) {
			et_catalog_status(c->nodes[i].catalog, &s);
			if (s.leader != leader->id) {
				return false;
			}
		}
	}
	return leader != NULL;
}

static inline uint64_t applied_of(struct node *n)
{
	return et_state_applied(et_catalog_state(n->catalog));
}

static inline bool all_level(struct cluster *c)
{
	uint64_t index = 0;

	for (size_t i = 0; i < c->count; i++) {
		if (c->nodes[i].catalog_open) {
			if (index != 0 && applied_of(&c->nodes[i]) != index) {
				return false;
			}
			index = applied_of(&c->nodes[i]);
		}
	}
	return true;
}

/* Equal applied index means equal digest, on every node. */
static inline void assert_digests_equal(struct cluster *c)
{
	uint8_t first[32];
	uint8_t digest[32];
	uint64_t first_index = 0;
	uint64_t index;

	RUN_UNTIL(c, all_level(c));
	for (size_t i = 0; i < c->count; i++) {
		if (!c->nodes[i].catalog_open) {
			continue;
		}
		struct et_state_view *v = et_state_view_open(et_catalog_state(c->nodes[i].catalog));
		assert_non_null(v);
		assert_int_equal(et_state_digest(v, &index, digest), 0);
		et_state_view_close(v);
		if (first_index == 0) {
			first_index = index;
			memcpy(first, digest, sizeof(first));
		}
		assert_int_equal(index, first_index);
		assert_memory_equal(digest, first, sizeof(first));
	}
}

/* ---- Doing ---- */

struct answer {
	int calls;
	int code;
	uint64_t index;
};

static inline void on_answer(void *arg, int code, const Et__Result *result)
{
	struct answer *a = arg;

	a->calls++;
	a->code = code;
	a->index = result != NULL ? result->index : 0;
	if (result != NULL) {
		assert_int_equal(code, result->code);
	}
}

static inline void on_index(void *arg, int code, uint64_t index)
{
	struct answer *a = arg;

	a->calls++;
	a->code = code;
	a->index = index;
}

/* A Noop with `reason`: may be applied without a cluster. seq 0: an op id of the catalogue's. */
static inline void propose_noop(struct node *n, const char *reason, uint64_t seq,
				uint32_t timeout_ms, struct answer *a)
{
	static uint8_t incarnation[16] = "an incarnation!";
	Et__Command command = ET__COMMAND__INIT;
	Et__OpId op = ET__OP_ID__INIT;
	Et__Noop noop = ET__NOOP__INIT;
	char principal[32];
	char text[1100];

	(void)snprintf(principal, sizeof(principal), "node:%d", (int)n->id);
	(void)snprintf(text, sizeof(text), "%s", reason);
	command.principal = principal;
	command.reason = text;
	command.schema = 1;
	command.body_case = ET__COMMAND__BODY_NOOP;
	command.noop = &noop;
	if (seq != 0) {
		op.node = n->id;
		op.seq = seq;
		op.incarnation = (ProtobufCBinaryData){ .len = 16, .data = incarnation };
		command.op = &op;
	}
	et_catalog_propose(n->catalog, &command, timeout_ms, on_answer, a);
}

static inline uint64_t must_propose(struct node *n)
{
	struct answer a = { 0 };

	propose_noop(n, "must", 0, 100000, &a);
	assert_int_equal(a.calls, 0); /* Never inside the call. */
	RUN_UNTIL(n->cluster, a.calls > 0);
	if (a.code != 0) {
		cluster_tell(n->cluster);
		fail_msg("node %d: %s", (int)n->id, et_errname(a.code));
	}
	return a.index;
}

static inline void cluster_open(struct cluster *c, size_t count)
{
	const char *base = getenv("TMPDIR");

	c->count = count;
	(void)snprintf(c->folder, sizeof(c->folder), "%s/et_catalog.XXXXXX",
		       base != NULL ? base : "/tmp");
	assert_non_null(mkdtemp(c->folder));
	assert_int_equal(uv_loop_init(&c->loop), 0);
	assert_int_equal(et_postbox_init(&c->postbox, &c->loop), 0);
	(void)uv_timer_init(&c->loop, &c->watchdog);
	(void)uv_timer_init(&c->loop, &c->poll);
	(void)uv_timer_start(&c->poll, poll_on_timer, 5, 5);
	assert_int_equal(et_ca_make("acme", &c->ca_key, &c->ca, NULL), 0);
	for (size_t i = 0; i < count; i++) {
		node_make(c, i);
	}
}

/* Node 1 is made; the others are added, one after the other. */
static inline void cluster_form(struct cluster *c)
{
	struct et_error e;
	struct et_catalog_config config = config_of(&c->nodes[0]);

	if (et_catalog_bootstrap(&config, &e) < 0) {
		fail_msg("%s", e.text);
	}
	catalog_open(&c->nodes[0]);
	(void)must_propose(&c->nodes[0]);
	for (size_t i = 1; i < c->count; i++) {
		int code = -1;
		catalog_open(&c->nodes[i]);
		/* Leadership may move on a busy machine: every step may be repeated. */
		while (code != 0) {
			struct node *leader = NULL;
			struct answer a = { 0 };
			RUN_UNTIL(c, (leader = leader_of(c)) != NULL);
			et_catalog_add(leader->catalog, i + 1, c->nodes[i].address, on_answer, &a);
			RUN_UNTIL(c, a.calls == 1);
			if (a.code == 0) {
				et_catalog_assign(leader->catalog, i + 1, ET_CATALOG_VOTER,
						  on_answer, &a);
				RUN_UNTIL(c, a.calls == 2);
			}
			code = a.code;
			if (code != 0 && code != ET_ENOTLEADER && code != ET_EUNKNOWN &&
			    code != ET_EBUSY) {
				fail_msg("%s", et_errname(code));
			}
		}
	}
	RUN_UNTIL(c, all_follow(c));
}

static inline int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline void cluster_close(struct cluster *c)
{
	for (size_t i = 0; i < c->count; i++) {
		node_close(&c->nodes[i]);
		et_identity_release(&c->nodes[i].identity);
	}
	et_postbox_close(&c->postbox, NULL);
	uv_close((uv_handle_t *)&c->watchdog, NULL);
	uv_close((uv_handle_t *)&c->poll, NULL);
	(void)uv_run(&c->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&c->loop), 0); /* No handle is left. */
	(void)et_secret_free(c->ca_key);
	et_buffer_release(&c->ca);
	(void)nftw(c->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
