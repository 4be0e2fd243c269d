/* bench-commit: commits of 1 KB through three nodes with mutual TLS, beside etcd in the same run.
 *
 *   commands.c  what is proposed
 *   apply.c   apply alone, without Raft
 *   stats.c   latencies of a cell
 *   node.c    one of our nodes, as a process; the first also makes the load
 *   etcd.c    certificates and three etcd processes with peer TLS
 *   grpc.c    as much of HTTP/2 and gRPC as loading etcd takes
 *   relay.c   a distance between nodes
 *   run.c     the matrix, and the JSON */
#ifndef ET_CLUSTER_TESTS_BENCH_COMMIT_COMMIT_H
#define ET_CLUSTER_TESTS_BENCH_COMMIT_COMMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "raft/command/sample.h"

/* With a distance, both systems are set as an operator would set them for a WAN. */
enum {
	BENCH_NODES = 3,
	BENCH_PAYLOAD = 1024,
	BENCH_WAN_ELECTION_MS = 3000,
	BENCH_WAN_HEARTBEAT_MS = 300
};

struct bench_cell {
	unsigned in_flight; /* batches on their way at once */
	unsigned batch;	    /* commands in each */
	unsigned per_s;	    /* batches begun a second; 0: as soon as one has ended */
};

struct bench_result {
	double per_s;  /* commands */
	double p50_ms; /* of a batch */
	double p99_ms;
	uint64_t count; /* commands */
	uint64_t failed;
	double cpu_us; /* of all three servers, a command */
};

/* ---- commands.c ---- */

/* The load is RecordingOpen of about 1 KB: what the product commits most, with all its indexes; or
 * Noop of 1 KB, which shows the way of an entry without what apply does. */
struct bench_commands {
	uint64_t seq;
	uint8_t incarnation[16];
	/* The one that was made last; it points into this struct. */
	Et__Command command;
	Et__OpId op;
	Et__RecordingOpen open;
	Et__Recording recording;
	Et__Noop noop;
	uint8_t id[16];
	char from[32];
	char call_id[64];
	char filler[961];
};

void bench_commands_init(struct bench_commands *k);
void bench_command_make(struct bench_commands *k, bool noop);

/* ClusterInit with node 1. */
struct bench_init {
	Et__Command command;
	struct et_sample_cluster sample;
};

void bench_init_make(struct bench_init *b);

/* ---- apply.c ---- */

/* Apply `commands`, `batch` in each entry and `group` entries in each commit, to a database in
 * `folder`; prints JSON. */
int bench_apply(const char *folder, unsigned batch, unsigned group, unsigned commands, bool noop);

/* ---- stats.c ---- */

struct bench_stats {
	uint32_t *us; /* owned */
	size_t count;
	size_t capacity;
	uint64_t failed;
};

void bench_stats_add(struct bench_stats *s, int64_t us);
/* Over `seconds`; empties `s`. */
struct bench_result bench_stats_end(struct bench_stats *s, unsigned batch, double seconds);
/* CPU time that these processes have used so far, in us; 0: it cannot be read. */
double bench_cpu_us(const pid_t *pids, size_t count);

/* ---- relay.c ---- */

struct bench_hop {
	int port; /* where peers dial */
	int to;	  /* where the node listens */
};
/* A process that passes on what comes, half of `rtt_ms` later. -1: it failed. `hops` must stay. */
pid_t bench_relay_start(const struct bench_hop *hops, size_t count, unsigned rtt_ms);
void bench_relay_stop(pid_t pid);

/* ---- node.c ---- */

/* The process of one node: FOLDER NODE ADDRESS PORT RTT_MS. It listens on PORT, its peers dial
 * ADDRESS. Reads what to do from its standard input. */
int bench_node_main(const char *folder, const char *node, const char *address, const char *port,
		    const char *rtt_ms);

struct bench_raft;
/* Three processes in `folder`. NULL: it failed, and said why. */
struct bench_raft *bench_raft_start(const char *program, const char *folder, unsigned rtt_ms);
int bench_raft_run(struct bench_raft *r, struct bench_cell cell, unsigned seconds, bool noop,
		   struct bench_result *ret);
void bench_raft_stop(struct bench_raft *r);

/* ---- etcd.c ---- */

struct bench_etcd;
/* Three processes in `folder`, with mutual TLS between them. NULL: it failed, and said why. */
struct bench_etcd *bench_etcd_start(const char *folder, unsigned rtt_ms);
int bench_etcd_run(struct bench_etcd *e, struct bench_cell cell, unsigned seconds,
		   struct bench_result *ret);
void bench_etcd_stop(struct bench_etcd *e);

/* A free port of 127.0.0.1. */
int bench_port(void);

/* ---- grpc.c ---- */

/* Load the etcd at 127.0.0.1:`port` with puts or transactions of puts for `seconds`. */
int bench_grpc_load(int port, struct bench_cell cell, unsigned seconds, struct bench_result *ret);
/* Does that member lead? 1, 0, or negative: it cannot be asked. */
int bench_grpc_leads(int port);

/* ---- run.c ---- */

int bench_run(const char *program, int argc, char **argv);

#endif
