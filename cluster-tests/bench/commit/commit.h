/* bench-commit: commits of 1 KB through three nodes with mutual TLS, beside etcd in the same run.
 *
 *   stats.c   latencies of a cell
 *   node.c    one of our nodes, as a process; the first also makes the load
 *   etcd.c    certificates and three etcd processes with peer TLS
 *   grpc.c    as much of HTTP/2 and gRPC as loading etcd takes
 *   run.c     the matrix, and the JSON */
#ifndef ET_CLUSTER_TESTS_BENCH_COMMIT_COMMIT_H
#define ET_CLUSTER_TESTS_BENCH_COMMIT_COMMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { BENCH_NODES = 3, BENCH_PAYLOAD = 1024 };

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
};

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

/* ---- node.c ---- */

/* The process of one node: FOLDER NODE ADDRESS. Reads what to do from its standard input. */
int bench_node_main(const char *folder, const char *node, const char *address);

struct bench_raft;
/* Three processes in `folder`. NULL: it failed, and said why. */
struct bench_raft *bench_raft_start(const char *program, const char *folder);
int bench_raft_run(struct bench_raft *r, struct bench_cell cell, unsigned seconds, bool noop,
		   struct bench_result *ret);
void bench_raft_stop(struct bench_raft *r);

/* ---- etcd.c ---- */

struct bench_etcd;
/* Three processes in `folder`, with mutual TLS between them. NULL: it failed, and said why. */
struct bench_etcd *bench_etcd_start(const char *folder);
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
