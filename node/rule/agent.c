#include "node/rule/agent.h"

#include <stdlib.h>
#include <string.h>

struct et_agents {
	size_t count;
	struct et_agent_claim claims[]; /* by number */
};

static int by_number(const void *a, const void *b)
{
	const struct et_agent_claim *x = a;
	const struct et_agent_claim *y = b;

	return strcmp(x->number, y->number);
}

int et_agents_new(const struct et_agent_claim *claims, size_t count, struct et_agents **ret,
		  struct et_error *reterr)
{
	if (count > ET_AGENTS_MAX) {
		return et_fail_plain(reterr, ET_ELIMIT, "more than %d numbers of agents",
				     ET_AGENTS_MAX);
	}
	struct et_agents *a = malloc(sizeof(*a) + count * sizeof(*claims));
	if (a == NULL) {
		return et_fail(reterr, -ENOMEM, "agents");
	}
	a->count = count;
	if (count > 0) {
		memcpy(a->claims, claims, count * sizeof(*claims));
		qsort(a->claims, count, sizeof(*claims), by_number);
	}
	*ret = a;
	return 0;
}

struct et_agents *et_agents_free(struct et_agents *a)
{
	free(a);
	return NULL;
}

/* The first claim of the number, or where it would stand. */
static size_t place_of(const struct et_agents *a, const char *number)
{
	size_t low = 0;
	size_t high = a->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(a->claims[middle].number, number) < 0) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	return low;
}

const struct et_agent_claim *et_agents_at(const struct et_agents *a, const char *number,
					  int64_t at_us)
{
	const struct et_agent_claim *best = NULL;

	for (size_t i = place_of(a, number);
	     i < a->count && strcmp(a->claims[i].number, number) == 0; i++) {
		const struct et_agent_claim *c = &a->claims[i];
		if (c->from_us > at_us || c->to_us <= at_us) {
			continue;
		}
		if (best == NULL || c->from_us > best->from_us ||
		    (c->from_us == best->from_us && c->told >= best->told)) {
			best = c;
		}
	}
	return best;
}
