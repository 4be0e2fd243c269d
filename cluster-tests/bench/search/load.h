/* The synthetic calls, into a catalogue. */
#ifndef ET_BENCH_SEARCH_LOAD_H
#define ET_BENCH_SEARCH_LOAD_H

#include "cluster-tests/bench/search/search.h"
#include "raft/state/state.h"

#define BENCH_LOAD_CLUSTER 1U /* it is empty: a cluster comes first */
#define BENCH_LOAD_CALLS 2U
#define BENCH_LOAD_SEGMENTS 4U /* every so many-th call has a sealed segment, and node 1 a copy */

/* Calls 0 to `calls`, and what is told of them, as commands of node 1 behind what is applied, then
 * flushed. The caller's thread is the state thread. What goes wrong is told on standard error. 0,
 * or what apply or commit gave. */
int bench_load_calls(struct et_state *s, uint64_t calls, uint32_t flags, unsigned every,
		     uint64_t *ret_commands);

/* Wait until its compactions are through, with those that wait for a reader: RocksDB writes tables
 * that came to the lowest level as they are anew (without their sequence numbers, and as that level
 * has its filters) when a snapshot has gone, and in a load none goes. On a node this is done table
 * by table while it runs. */
int bench_load_settle(struct et_state *s);

#endif
