/* Raft's configuration follows the catalogue, and the leader sees to it, one step at a time:
 *
 *   not in Raft ──▶ spare ──▶ standby ──▶ voter (when it has caught up)      role voter or witness
 *                             standby                                       role standby
 *   removed or revoked ──▶ out
 *
 * Each step is safe to repeat; a new leader goes on where the old one stopped. */
#include <string.h>

#include "node/base/log.h"
#include "node/daemon/daemon_internal.h"

#define MEMBERSHIP_LAG_MAX 4096 /* entries behind the log's end that count as caught up */

struct step {
	enum { STEP_NONE, STEP_ADD, STEP_ASSIGN, STEP_REMOVE } kind;
	uint64_t node;
	char address[ET_ADDRESS_MAX];
	enum et_catalog_role role;
};

struct search {
	const struct et_catalog_status *status;
	struct step step;
};

static const struct et_catalog_member *find_member(const struct et_catalog_status *status,
						   uint64_t node)
{
	for (uint32_t i = 0; i < status->member_count; i++) {
		if (status->members[i].node == node) {
			return &status->members[i];
		}
	}
	return NULL;
}

static bool has_role(const Et__Node *node, const char *role)
{
	for (size_t i = 0; i < node->n_roles; i++) {
		if (strcmp(node->roles[i], role) == 0) {
			return true;
		}
	}
	return false;
}

static enum et_catalog_role wanted_role(const Et__Node *node)
{
	if (has_role(node, "voter") || has_role(node, "witness")) {
		return ET_CATALOG_VOTER;
	}
	return has_role(node, "standby") ? ET_CATALOG_STANDBY : ET_CATALOG_SPARE;
}

/* The next step for one node of the catalogue; pure. */
static struct step step_for(const struct et_catalog_status *status, const Et__Node *node)
{
	const struct et_catalog_member *member = find_member(status, node->id);
	enum et_catalog_role want = wanted_role(node);
	struct step step = { .kind = STEP_NONE, .node = node->id };
	bool gone =
		node->state == ET__NODE_STATE__REMOVED || node->state == ET__NODE_STATE__REVOKED;

	if (gone) {
		step.kind = member != NULL ? STEP_REMOVE : STEP_NONE;
		return step;
	}
	if (member == NULL) {
		step.kind = STEP_ADD;
		(void)snprintf(step.address, sizeof(step.address), "%s", node->address);
		return step;
	}
	if (member->role == want || member->role == ET_CATALOG_VOTER) {
		return step;
	}
	if (member->role == ET_CATALOG_SPARE) {
		step.kind = STEP_ASSIGN;
		step.role = ET_CATALOG_STANDBY;
		return step;
	}
	if (want == ET_CATALOG_VOTER &&
	    member->match_index + MEMBERSHIP_LAG_MAX >= status->last_index &&
	    member->match_index > 0) {
		step.kind = STEP_ASSIGN;
		step.role = ET_CATALOG_VOTER;
	}
	return step;
}

static int on_node(void *arg, const Et__Node *node)
{
	struct search *search = arg;

	if (search->step.kind == STEP_NONE) {
		search->step = step_for(search->status, node);
	}
	return 0;
}

static void on_step(void *arg, int code, const Et__Result *result)
{
	struct et_daemon *d = arg;

	(void)result;
	d->membership_busy = false;
	if (code != 0) {
		et_warn("membership.retry", "code=%s", et_errname(code));
		return; /* The next second tries again. */
	}
	daemon_reconcile_members(d);
}

void daemon_reconcile_members(struct et_daemon *d)
{
	struct et_catalog_status status;

	if (d->membership_busy || d->catalog == NULL || d->phase == DAEMON_STOPPING) {
		return;
	}
	et_catalog_status(d->catalog, &status);
	if (!status.is_leader) {
		return;
	}
	struct search search = { .status = &status };
	struct et_state_view *view = et_state_view_open(d->state);
	int rc = et_state_each_node(view, on_node, &search);
	(void)et_state_view_close(view);
	if (rc != 0 || search.step.kind == STEP_NONE) {
		return;
	}

	const struct step *step = &search.step;
	d->membership_busy = true;
	et_info("membership.step", "node=%llu step=%s", (unsigned long long)step->node,
		step->kind == STEP_ADD		 ? "add"
		: step->kind == STEP_REMOVE	 ? "remove"
		: step->role == ET_CATALOG_VOTER ? "voter"
						 : "standby");
	switch (step->kind) {
	case STEP_ADD:
		et_catalog_add(d->catalog, step->node, step->address, on_step, d);
		return;
	case STEP_ASSIGN:
		et_catalog_assign(d->catalog, step->node, step->role, on_step, d);
		return;
	case STEP_REMOVE:
		et_catalog_remove(d->catalog, step->node, on_step, d);
		return;
	case STEP_NONE:
		break;
	}
	et_unreachable();
}

/* ---- What the catalogue should know of this node
 * ------------------------------------------------- */

static void on_announced(void *arg, int code, const Et__Result *result)
{
	struct et_daemon *d = arg;

	(void)result;
	if (code != 0) {
		d->announced = false; /* Again in a second. */
	}
}

void daemon_announce(struct et_daemon *d)
{
	struct et_state_view *view = et_state_view_open(d->state);
	Et__Node *known = NULL;
	int rc = et_state_get_node(view, d->identity.node, &known);
	(void)et_state_view_close(view);
	if (rc < 0) {
		return;
	}
	bool same = strcmp(known->address, d->config.advertise) == 0 &&
		    strcmp(known->version, d->version) == 0 &&
		    strcmp(known->store_uuid, d->store_uuid) == 0 &&
		    strcmp(known->api_address, d->config.listen_api) == 0 &&
		    known->schema == ET_COMMAND_SCHEMA;
	et__node__free_unpacked(known, NULL);
	d->announced = true;
	if (same) {
		return;
	}

	Et__Node node = ET__NODE__INIT;
	Et__NodeUpdate body = ET__NODE_UPDATE__INIT;
	Et__Command command = ET__COMMAND__INIT;
	Et__OpId op = ET__OP_ID__INIT;
	uint8_t incarnation[16];
	char principal[32];
	(void)snprintf(principal, sizeof(principal), "node:%llu",
		       (unsigned long long)d->identity.node);
	node.id = d->identity.node;
	node.address = d->config.advertise;
	node.api_address = d->config.listen_api;
	node.version = d->version;
	node.store_uuid = d->store_uuid;
	node.schema = ET_COMMAND_SCHEMA;
	body.node = &node;
	command.op = &op;
	command.principal = principal;
	command.schema = ET_COMMAND_SCHEMA;
	command.body_case = ET__COMMAND__BODY_NODE_UPDATE;
	command.node_update = &body;
	et_catalog_next_op(d->catalog, &op, incarnation);
	et_catalog_propose(d->catalog, &command, 0, on_announced, d);
}
