#ifndef ET_BENCH_RESTART_FILL_H
#define ET_BENCH_RESTART_FILL_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/err.h"

/* The catalogue in the state folder of a stopped node 1 gets so many synthetic calls, each (or one
 * in `every`) with a sealed segment and a copy, through apply; then a Raft log that begins behind
 * them, with the node as its only voter. <folder>/raft must be gone. With `grafted` the calls are
 * there already, and only segments and copies come. Prints what it took as JSON. */
int bench_fill(const char *folder, const char *address, uint64_t calls, unsigned every,
	       bool grafted, struct et_error *reterr) ET_MUST_CHECK;

/* The database of calls `calls` (a copy of what bench-search left; links of its tables do) becomes
 * that of the cluster whose database is `node`. Both closed. -EIO. */
int bench_graft(const char *node, const char *calls) ET_MUST_CHECK;

#endif
