#include "replication/plan/plan.h"

#include <stdlib.h>
#include <string.h>

#include "node/base/bytes.h"

bool et_plan_stores(const char *const *roles, size_t count)
{
	bool stores = false;
	for (size_t i = 0; i < count; i++) {
		/* A spare hears nothing of the catalogue. */
		if (strcmp(roles[i], "witness") == 0 || strcmp(roles[i], "spare") == 0) {
			return false;
		}
		stores = stores || strcmp(roles[i], "capture") == 0 ||
			 strcmp(roles[i], "vault") == 0 || strcmp(roles[i], "store") == 0;
	}
	return stores;
}

/* The finaliser of splitmix64: every bit of the input reaches every bit of the output. */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	x ^= x >> 31;
	return x;
}

static uint64_t plan_weight(const struct et_plan *plan, uint64_t node)
{
	uint64_t h = mix(et_get64(plan->recording) + UINT64_C(0x9e3779b97f4a7c15));
	h = mix(h ^ et_get64(plan->recording + 8));
	return mix(h ^ mix(node + UINT64_C(0x9e3779b97f4a7c15)));
}

static size_t plan_node_count(const struct et_plan *plan)
{
	return plan->node_count < ET_PLAN_NODES_MAX ? plan->node_count : ET_PLAN_NODES_MAX;
}

static const struct et_plan_node *plan_node(const struct et_plan *plan, uint64_t id)
{
	for (size_t i = 0; i < plan_node_count(plan); i++) {
		if (plan->nodes[i].id == id) {
			return &plan->nodes[i];
		}
	}
	return NULL;
}

static enum et_plan_copy_state plan_copy_at(const struct et_plan *plan, uint64_t node)
{
	enum et_plan_copy_state state = ET_PLAN_COPY_USELESS;
	for (size_t i = 0; i < plan->held_count; i++) {
		if (plan->held[i].node == node && plan->held[i].state < state) {
			state = plan->held[i].state; /* The best, should a node be named twice. */
		}
	}
	return state;
}

/* Nobody holds it and the archive does: it was moved there, and stays there. */
static bool plan_lives_in_archive(const struct et_plan *plan)
{
	for (size_t i = 0; i < plan->held_count; i++) {
		const struct et_plan_node *n = plan_node(plan, plan->held[i].node);
		if (plan->held[i].state == ET_PLAN_COPY_HELD && n != NULL && n->serves) {
			return false;
		}
	}
	return plan->archived;
}

/* How many copies `site` still wants. */
static uint32_t plan_lacks(const struct et_plan *plan, const char *site)
{
	uint32_t want = plan->copies > 0 ? plan->copies : 1;
	uint32_t have = 0;
	uint32_t able = 0;

	for (size_t i = 0; i < plan_node_count(plan); i++) {
		const struct et_plan_node *n = &plan->nodes[i];
		if (strcmp(n->site, site) != 0) {
			continue;
		}
		enum et_plan_copy_state state = plan_copy_at(plan, n->id);
		/* What a draining node holds is about to go; what it released stays released. */
		bool stays = n->accepts || state == ET_PLAN_COPY_RELEASED;
		if (n->serves && stays && state != ET_PLAN_COPY_USELESS) {
			have++;
		} else if (n->accepts) {
			able++;
		}
	}
	uint32_t lacks = have < want ? want - have : 0;
	return lacks < able ? lacks : able;
}

static int name_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

size_t et_plan_missing(const struct et_plan *plan, const char *ret[ET_PLAN_SITES_MAX])
{
	size_t count = 0;

	if (plan_lives_in_archive(plan)) {
		return 0;
	}
	for (size_t i = 0; i < plan_node_count(plan) && count < ET_PLAN_SITES_MAX; i++) {
		const char *site = plan->nodes[i].site;
		bool seen = false;
		for (size_t j = 0; j < count; j++) {
			seen = seen || strcmp(ret[j], site) == 0;
		}
		if (!seen && plan_lacks(plan, site) > 0) {
			ret[count++] = site;
		}
	}
	qsort(ret, count, sizeof(ret[0]), name_order);
	return count;
}

/* Does `a` come before `b` in the order of this segment? */
static bool plan_before(const struct et_plan *plan, uint64_t a, uint64_t b)
{
	uint64_t wa = plan_weight(plan, a);
	uint64_t wb = plan_weight(plan, b);
	return wa != wb ? wa > wb : a < b;
}

int et_plan_turn(const struct et_plan *plan, uint64_t node)
{
	const struct et_plan_node *self = plan_node(plan, node);
	if (self == NULL || !self->accepts || plan_copy_at(plan, node) != ET_PLAN_COPY_USELESS ||
	    plan_lives_in_archive(plan)) {
		return ET_PLAN_NO_TURN;
	}
	uint32_t lacks = plan_lacks(plan, self->site);
	if (lacks == 0) {
		return ET_PLAN_NO_TURN;
	}

	uint32_t before = 0;
	for (size_t i = 0; i < plan_node_count(plan); i++) {
		const struct et_plan_node *n = &plan->nodes[i];
		if (n->id != node && n->accepts && strcmp(n->site, self->site) == 0 &&
		    plan_copy_at(plan, n->id) == ET_PLAN_COPY_USELESS &&
		    plan_before(plan, n->id, node)) {
			before++;
		}
	}
	return before < lacks ? 0 : (int)(before - lacks + 1);
}

/* 0: same site, 1: the owner, 2: another. Lower is asked first. */
static int source_class(const struct et_plan *plan, const struct et_plan_node *self,
			const struct et_plan_node *n)
{
	if (self != NULL && strcmp(self->site, n->site) == 0) {
		return 0;
	}
	return n->id == plan->owner ? 1 : 2;
}

size_t et_plan_sources(const struct et_plan *plan, uint64_t node, uint64_t *ret, size_t max)
{
	const struct et_plan_node *self = plan_node(plan, node);
	size_t count = 0;

	for (size_t i = 0; i < plan_node_count(plan); i++) {
		const struct et_plan_node *n = &plan->nodes[i];
		if (n->id == node || !n->serves || plan_copy_at(plan, n->id) != ET_PLAN_COPY_HELD) {
			continue;
		}
		/* Insert in order; what falls off the end is the worst. */
		size_t at = count;
		while (at > 0) {
			const struct et_plan_node *other = plan_node(plan, ret[at - 1]);
			int mine = source_class(plan, self, n);
			int theirs = source_class(plan, self, other);
			if (mine > theirs ||
			    (mine == theirs && !plan_before(plan, n->id, other->id))) {
				break;
			}
			at--;
		}
		if (at == max) {
			continue;
		}
		size_t kept = count < max ? count : max - 1;
		memmove(&ret[at + 1], &ret[at], (kept - at) * sizeof(ret[0]));
		ret[at] = n->id;
		count = kept + 1;
	}
	if (plan->archived && count < max) {
		ret[count++] = ET_PLAN_ARCHIVE;
	}
	return count;
}
