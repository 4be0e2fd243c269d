/* bench-catchup: three nodes as processes, mutual TLS between them; one is stopped, misses commands
 * and a snapshot, comes back while others go on, and catches up.
 *
 *   node.c   a node, as a process that is told what to do by lines
 *   turns.c  how long its loop's turns take, and how much memory it has
 *   run.c    the story, and the JSON; ends with 1 when a promise does not hold
 *
 * The promises: the leader stays the leader, the one that was away has all, the three have the same
 * digest at the same index. With --strict also: no turn of any loop is longer than 100 ms while it
 * catches up, and no side needs more than 200 MB of memory beside what it had. */
#ifndef ET_CLUSTER_TESTS_BENCH_CATCHUP_CATCHUP_H
#define ET_CLUSTER_TESTS_BENCH_CATCHUP_CATCHUP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum { CATCHUP_NODES = 3 };

/* ---- turns.c ---- */

struct turns {
	uv_prepare_t prepare;
	uv_timer_t timer;
	uint64_t at_ns; /* when the turn began; 0: none has */
	uint64_t idle_ns;
	uint64_t cpu_ns;
	uint64_t longest_ns;
	uint64_t longest_cpu_ns; /* of the longest: the rest it waited, for a disk or for a CPU */
	uint64_t over;		 /* turns of more than 100 ms */
	uint64_t wait_ns;	 /* for a CPU, in all (schedstat) */
	uint64_t rss_bytes;	 /* anonymous memory, the most that was seen */
};

/* Begin to measure on a loop of this thread. */
int turns_begin(struct turns *t, uv_loop_t *loop);
/* Forget what was measured; the memory counts from what there is now. */
void turns_reset(struct turns *t);
uint64_t turns_rss(void); /* now */

/* ---- node.c ---- */

/* The process of one node: FOLDER NODE ADDRESS. Lines and answers are in node.c. */
int catchup_node_main(const char *folder, const char *node, const char *address);
int catchup_identities_make(const char *folder);
/* Add `bytes` to the database of a node that is not running. */
int catchup_fill(const char *folder, int node, uint64_t bytes);

/* ---- run.c ---- */

int catchup_run(const char *program, int argc, char **argv);

#endif
