#include "node/daemon/member_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool has_role(const Et__Node *node, const char *role)
{
	for (size_t i = 0; i < node->n_roles; i++) {
		if (strcmp(node->roles[i], role) == 0) {
			return true;
		}
	}
	return false;
}

void member_want_of(const Et__Node *node, struct member_want *ret)
{
	*ret = (struct member_want){
		.node = node->id,
		.gone = node->state == ET__NODE_STATE__REMOVED ||
			node->state == ET__NODE_STATE__REVOKED,
		.force = node->force,
		.role = ET_CATALOG_SPARE,
	};
	(void)snprintf(ret->address, sizeof(ret->address), "%s", node->address);
	if (has_role(node, "voter") || has_role(node, "witness")) {
		ret->role = ET_CATALOG_VOTER;
	} else if (has_role(node, "standby")) {
		ret->role = ET_CATALOG_STANDBY;
	}
}

static const struct et_catalog_member *member_of(const struct et_catalog_status *status,
						 uint64_t node)
{
	for (uint32_t i = 0; i < status->member_count; i++) {
		if (status->members[i].node == node) {
			return &status->members[i];
		}
	}
	return NULL;
}

bool member_quorum_stays(const struct et_catalog_status *status, uint64_t without)
{
	unsigned voters = 0;
	unsigned reachable = 0;

	for (uint32_t i = 0; i < status->member_count; i++) {
		const struct et_catalog_member *m = &status->members[i];
		if (m->role == ET_CATALOG_VOTER && m->node != without) {
			voters++;
			reachable += m->reachable;
		}
	}
	return voters > 0 && reachable >= voters / 2 + 1;
}

static const char *role_name(enum et_catalog_role role)
{
	return role == ET_CATALOG_VOTER	    ? "voter"
	       : role == ET_CATALOG_STANDBY ? "standby"
					    : "spare";
}

static struct member_step step_assign(uint64_t node, enum et_catalog_role role)
{
	struct member_step step = { .kind = STEP_ASSIGN, .node = node, .role = role };

	(void)snprintf(step.name, sizeof(step.name), "%s", role_name(role));
	return step;
}

static void step_hold(struct member_step *step, bool blocked, const char *why)
{
	step->kind = STEP_NONE;
	step->held = true;
	step->blocked = blocked;
	(void)snprintf(step->why, sizeof(step->why), "%s", why);
}

/* Upwards: to be added, to standby, to voter. */
static struct member_step step_up(const struct et_catalog_status *status,
				  const struct member_want *want)
{
	const struct et_catalog_member *m = member_of(status, want->node);
	struct member_step none = { .kind = STEP_NONE };

	if (want->gone) {
		return none;
	}
	if (m == NULL) {
		struct member_step step = { .kind = STEP_ADD, .node = want->node, .name = "add" };
		(void)snprintf(step.address, sizeof(step.address), "%s", want->address);
		return step;
	}
	if (m->role == ET_CATALOG_SPARE && want->role != ET_CATALOG_SPARE) {
		return step_assign(want->node, ET_CATALOG_STANDBY);
	}
	if (m->role != ET_CATALOG_STANDBY || want->role != ET_CATALOG_VOTER) {
		return none;
	}
	struct member_step step = step_assign(want->node, ET_CATALOG_VOTER);
	if (!m->reachable) {
		step_hold(&step, true, "it cannot be reached");
	} else if (m->match_index == 0 || m->match_index + MEMBER_LAG_MAX < status->last_index) {
		step_hold(&step, false, "");
		(void)snprintf(step.why, sizeof(step.why),
			       "it catches up: %" PRIu64 " entries behind",
			       status->last_index - m->match_index);
	}
	return step;
}

/* Downwards: a lesser role, and out. */
static struct member_step step_down(const struct et_catalog_status *status,
				    const struct member_want *want)
{
	const struct et_catalog_member *m = member_of(status, want->node);
	struct member_step step = { .kind = STEP_NONE };

	if (m == NULL) {
		return step;
	}
	if (want->gone) {
		step = (struct member_step){ .kind = STEP_REMOVE,
					     .node = want->node,
					     .name = "remove" };
	} else if ((m->role == ET_CATALOG_VOTER && want->role != ET_CATALOG_VOTER) ||
		   (m->role == ET_CATALOG_STANDBY && want->role == ET_CATALOG_SPARE)) {
		step = step_assign(want->node, want->role);
	} else {
		return step;
	}
	if (want->lingers && m->reachable) {
		step_hold(&step, false, "it hears of its removal first");
	} else if (m->role == ET_CATALOG_VOTER && !want->force &&
		   !member_quorum_stays(status, want->node)) {
		step_hold(&step, true, "the voters left that can be reached would be no majority");
	}
	return step;
}

struct member_step member_next(const struct et_catalog_status *status,
			       const struct member_want *wants, size_t count)
{
	struct member_step waits = { .kind = STEP_NONE };

	for (size_t pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < count; i++) {
			struct member_step step = pass == 0 ? step_up(status, &wants[i])
							    : step_down(status, &wants[i]);
			if (step.kind != STEP_NONE) {
				return step;
			}
			if (step.held && !waits.held) {
				waits = step;
			}
		}
	}
	return waits;
}
