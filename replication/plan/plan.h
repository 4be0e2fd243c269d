/* Placement: who fetches a segment, and from whom. Pure decisions.
 *
 * Given the members and the copies of one segment, every node comes to the same answer by itself,
 * without asking: which sites lack a copy, which node of such a site fetches it, who stands in when
 * that node does not, and in which order a fetcher asks the holders.
 *
 * Promises
 *   - A site with at least one accepting node is served or has exactly one first choice.
 *   - The choice is by rendezvous hash (highest random weight) over (recording, node id): a new
 *     node takes over only what it wins itself, and a node that leaves gives up only what it held.
 *     All segments of a recording go to the same node of a site.
 *   - Integers only: the same answer on every machine and in every build.
 *
 * A site is served when `copies` (placement) of its nodes hold a verified copy. One that serves and
 * does not accept (it drains) is a source, and does not count: its copy is about to go. A copy that
 * policy released (evicted, because others and the archive hold it) is as good as held: releasing
 * must not bring the segment back. When nobody holds a copy any more and the archive does, nothing
 * is missing.
 *
 * Threads: pure functions; nothing is kept. */
#ifndef ET_REPLICATION_PLAN_PLAN_H
#define ET_REPLICATION_PLAN_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ET_PLAN_NODES_MAX 128 /* members that a plan looks at; more are ignored */
#define ET_PLAN_SITES_MAX 64  /* sites, likewise */
#define ET_PLAN_ARCHIVE 0     /* as a source: no node, the archive (node ids begin at 1) */
#define ET_PLAN_NO_TURN (-1)  /* this node has nothing to do */

struct et_plan_node {
	uint64_t id;
	const char *site; /* borrowed */
	bool serves;	  /* stores media and has not been removed: may be asked for it */
	bool accepts;	  /* serves, and is to get more: active, not draining */
};

/* Does a member with these roles store media? capture, vault or store; never a witness or spare. */
bool et_plan_stores(const char *const *roles, size_t count);

enum et_plan_copy_state {
	ET_PLAN_COPY_HELD,     /* verified */
	ET_PLAN_COPY_RELEASED, /* evicted by policy */
	ET_PLAN_COPY_USELESS,  /* bad or lost: as if it were not there */
};

struct et_plan_copy {
	uint64_t node;
	enum et_plan_copy_state state;
};

struct et_plan {
	const struct et_plan_node *nodes; /* borrowed */
	size_t node_count;
	uint32_t copies; /* at every site; 0 means 1 */

	uint8_t recording[16];
	uint32_t generation;
	uint32_t segment;
	uint64_t owner;			 /* who captured it */
	const struct et_plan_copy *held; /* borrowed: its copies on nodes */
	size_t held_count;
	bool archived; /* a verified copy is in the archive */
};

/* The sites that lack copies, by name: views into plan->nodes, ascending. Returns how many. */
size_t et_plan_missing(const struct et_plan *plan, const char *ret[ET_PLAN_SITES_MAX]);

/* Is `node` to fetch this segment? 0: yes, now. k > 0: it is the k-th stand-in; it fetches when
 * those before it have not done so in the time that the caller grants each. ET_PLAN_NO_TURN: no,
 * its site is served, or it holds a copy, or it does not accept any. */
int et_plan_turn(const struct et_plan *plan, uint64_t node);

/* Whom `node` asks, best first: holders at its own site, then the owner, then the other holders
 * (spread by hash), then ET_PLAN_ARCHIVE if the archive has it. Returns how many; at most `max`. */
size_t et_plan_sources(const struct et_plan *plan, uint64_t node, uint64_t *ret, size_t max);

#endif
