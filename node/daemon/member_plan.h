/* The next step by which Raft's configuration comes closer to what the catalogue wants. Pure.
 *
 *   not in Raft ─▶ spare ─▶ standby ─▶ voter        upwards: one role at a time, voter when level
 *   voter ─▶ standby, spare      standby ─▶ spare   downwards
 *   removed, revoked ─▶ out
 *
 * Upwards goes first, so that a replaced node's vote is taken away only when the new one has its
 * own. A step that takes a vote away is held when the voters that would be left and can be reached
 * are no majority of those that would be left; unless the operator said so (force).
 *
 * Every step is safe to repeat; a new leader goes on where the old one stopped, for nothing but
 * catalogue and configuration is looked at. */
#ifndef ET_NODE_DAEMON_MEMBER_PLAN_H
#define ET_NODE_DAEMON_MEMBER_PLAN_H

#include "raft/catalog/catalog.h"

#define DAEMON_MEMBERS_MAX 256
#define MEMBER_LAG_MAX 4096 /* entries behind the log's end that count as caught up */

/* What the catalogue wants of a node. */
struct member_want {
	uint64_t node;
	char address[64];
	bool gone;    /* removed or revoked */
	bool lingers; /* gone, but it shall hear of it first: not yet */
	bool force;
	enum et_catalog_role role;
};

enum member_step_kind { STEP_NONE, STEP_ADD, STEP_ASSIGN, STEP_REMOVE };

struct member_step {
	enum member_step_kind kind;
	uint64_t node; /* 0: nothing is to be done */
	enum et_catalog_role role;
	bool held;     /* STEP_NONE, though something is wanted: `why` says what it waits for */
	bool blocked;  /* held, and not by itself for long: an operator should look */
	char name[16]; /* "add", "standby", "voter", "spare", "remove" */
	char why[160]; /* for an operator; "" when it just goes */
	char address[64];
};

/* What is wanted of a record. */
void member_want_of(const Et__Node *node, struct member_want *ret);

/* The step to take now; or, with kind STEP_NONE and a node, the first that waits. */
struct member_step member_next(const struct et_catalog_status *status,
			       const struct member_want *wants, size_t count);

/* Would those that can be reached still be a majority, if these votes (0: none) were taken away? */
bool member_quorum_stays(const struct et_catalog_status *status, uint64_t without);

#endif
