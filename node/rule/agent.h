/* Who uses which number when, for rules: a snapshot of the catalogue's roster of agents, which
 * changes no more once it is made. As there, of several who claim a number the one whose version
 * began last has it; of those, the one that was told last.
 *
 * Threads: pure functions over a plain value. */
#ifndef ET_NODE_RULE_AGENT_H
#define ET_NODE_RULE_AGENT_H

#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"

#define ET_AGENTS_MAX 262144 /* claims in a snapshot */
#define ET_AGENT_TEXT_MAX 64 /* bytes; longer texts are not taken */

/* One number of one version of an agent. */
struct et_agent_claim {
	char number[ET_AGENT_TEXT_MAX + 1];
	char id[ET_AGENT_TEXT_MAX + 1];
	char team[ET_AGENT_TEXT_MAX + 1];
	int64_t from_us; /* [from, to), UTC */
	int64_t to_us;
	uint64_t told; /* later is larger */
};

struct et_agents;

/* A snapshot of these claims, in any order (copied). The caller owns *ret. -ENOMEM; ET_ELIMIT */
int et_agents_new(const struct et_agent_claim *claims, size_t count, struct et_agents **ret,
		  struct et_error *reterr) ET_MUST_CHECK;
struct et_agents *et_agents_free(struct et_agents *a); /* NULL is allowed; returns NULL */

/* Who has the number at this time; NULL: nobody. A view. */
const struct et_agent_claim *et_agents_at(const struct et_agents *a, const char *number,
					  int64_t at_us);

#endif
