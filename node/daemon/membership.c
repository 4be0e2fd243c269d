/* Raft's configuration follows the catalogue, and the leader sees to it, one step at a time
 * (member_plan.h). What it does, or what it waits for, is part of its status, so that any node can
 * tell (`evertape node list`, `raft peers`).
 *
 * A node that is removed in peace is taken out of Raft two seconds later: until then it is told of
 * the entry that removes it. One that was revoked is cut at once. */
#include <string.h>

#include "node/base/log.h"
#include "node/daemon/daemon_internal.h"
#include "node/io/clock.h"

#define LINGER_US (2 * INT64_C(1000000))

struct wants {
	struct et_daemon *daemon;
	const struct et_catalog_status *status;
	struct member_want list[DAEMON_MEMBERS_MAX];
	size_t count;
};

/* Since when is this node known here to be removed? */
static int64_t gone_since(struct et_daemon *d, uint64_t node)
{
	size_t slot = node % ET_ARRAY_SIZE(d->gone);

	if (d->gone[slot].node != node) {
		d->gone[slot].node = node;
		d->gone[slot].since_us = et_clock_mono_us();
	}
	return d->gone[slot].since_us;
}

static bool is_member(const struct et_catalog_status *status, uint64_t node)
{
	for (uint32_t i = 0; i < status->member_count; i++) {
		if (status->members[i].node == node) {
			return true;
		}
	}
	return false;
}

static int on_node(void *arg, const Et__Node *node)
{
	struct wants *w = arg;

	if (w->count < DAEMON_MEMBERS_MAX) {
		struct member_want *want = &w->list[w->count++];
		member_want_of(node, want);
		want->lingers = node->state == ET__NODE_STATE__REMOVED &&
				is_member(w->status, node->id) &&
				et_clock_mono_us() - gone_since(w->daemon, node->id) < LINGER_US;
	}
	return 0;
}

static void on_step(void *arg, int code, const Et__Result *result)
{
	struct et_daemon *d = arg;

	(void)result;
	d->membership_busy = false;
	if (code != 0) {
		(void)snprintf(d->step.why, sizeof(d->step.why), "%s", et_strerror(code));
		et_warn("membership.retry", "node=%llu step=%s code=%s",
			(unsigned long long)d->step.node, d->step.name, et_errname(code));
		return; /* The next second tries again. */
	}
	daemon_reconcile_members(d);
}

static void step_note(struct et_daemon *d, const struct member_step *step)
{
	bool same = d->step.node == step->node && strcmp(d->step.name, step->name) == 0;

	if (!same) {
		d->step_since_us = et_clock_mono_us();
		if (step->node != 0) {
			et_info("membership.step", "node=%llu step=%s%s%s%s",
				(unsigned long long)step->node, step->name,
				step->held ? " waits=\"" : "", step->held ? step->why : "",
				step->held ? "\"" : "");
		}
	}
	if (same && step->kind != STEP_NONE) {
		return; /* Why it did not go last time stays to be read. */
	}
	d->step = *step;
}

void daemon_reconcile_members(struct et_daemon *d)
{
	struct et_catalog_status status;

	if (d->membership_busy || d->catalog == NULL || d->phase == DAEMON_STOPPING) {
		return;
	}
	et_catalog_status(d->catalog, &status);
	if (!status.is_leader) {
		d->step = (struct member_step){ .kind = STEP_NONE };
		return;
	}
	struct wants *wants = calloc(1, sizeof(*wants));
	if (wants == NULL) {
		return; /* The next second tries again. */
	}
	wants->daemon = d;
	wants->status = &status;
	struct et_state_view *view = et_state_view_open(d->state);
	int rc = view == NULL ? -ENOMEM : et_state_each_node(view, on_node, wants);
	(void)et_state_view_close(view);
	struct member_step step = { .kind = STEP_NONE };
	if (rc == 0) {
		step = member_next(&status, wants->list, wants->count);
	}
	free(wants);
	step_note(d, &step);
	if (step.kind == STEP_NONE) {
		return;
	}
	d->membership_busy = true;
	switch (step.kind) {
	case STEP_ADD:
		et_catalog_add(d->catalog, step.node, step.address, on_step, d);
		return;
	case STEP_ASSIGN:
		et_catalog_assign(d->catalog, step.node, step.role, on_step, d);
		return;
	case STEP_REMOVE:
		et_catalog_remove(d->catalog, step.node, on_step, d);
		return;
	case STEP_NONE:
		break;
	}
	et_unreachable();
}

/* ---- This node itself ---- */

void daemon_obey(struct et_daemon *d)
{
	Et__Node *own = NULL;

	if (d->state == NULL || d->phase == DAEMON_STOPPING) {
		return;
	}
	struct et_state_view *view = et_state_view_open(d->state);
	int rc = view == NULL ? -ENOMEM : et_state_get_node(view, d->identity.node, &own);
	(void)et_state_view_close(view);
	if (rc < 0) {
		return; /* A node that has just joined does not know itself yet. */
	}
	bool removed =
		own->state == ET__NODE_STATE__REMOVED || own->state == ET__NODE_STATE__REVOKED;
	if (removed && !d->removed) {
		et_err("node.removed", "state=%s next=\"stop this daemon; its state can be wiped\"",
		       own->state == ET__NODE_STATE__REVOKED ? "revoked" : "removed");
	}
	d->removed = removed;
	if (d->capture != NULL) {
		/* What a removed node recorded would be nobody's. */
		et_capture_set_draining(d->capture, removed || own->capture_stopped);
	}
	et__node__free_unpacked(own, NULL);
}

/* ---- For the status ---- */

static json_t *peers_json(const struct et_catalog_status *s)
{
	static const char *const names[] = { "standby", "voter", "spare" };
	int64_t now_us = et_clock_mono_us();
	json_t *list = json_array();

	for (uint32_t i = 0; i < s->member_count; i++) {
		const struct et_catalog_member *m = &s->members[i];
		json_t *o = json_object();
		et_json_set(o, "id", et_json_u64(m->node));
		et_json_set(o, "role", json_string((unsigned)m->role < 3 ? names[m->role] : ""));
		et_json_set(o, "raft_address", et_json_text(m->address));
		et_json_set(o, "reachable", json_boolean(m->reachable));
		et_json_set(o, "match", et_json_u64(m->match_index));
		et_json_set(o, "lag",
			    et_json_u64(s->last_index > m->match_index
						? s->last_index - m->match_index
						: 0));
		et_json_set(o, "contact_ms",
			    m->contact_us > 0 ? json_integer((now_us - m->contact_us) / 1000)
					      : json_null());
		et_json_set(o, "clock_offset_ms",
			    m->clock_known ? json_integer(m->clock_offset_us / 1000) : json_null());
		et_json_add(list, o);
	}
	return list;
}

void daemon_add_membership(struct et_daemon *d, const struct et_catalog_status *status,
			   json_t *object)
{
	et_json_set(object, "last_index", et_json_u64(status->last_index));
	et_json_set(object, "snapshot_index", et_json_u64(status->snapshot_index));
	if (!status->is_leader) {
		return;
	}
	et_json_set(object, "raft_peers", peers_json(status));
	if (d->step.node == 0) {
		return;
	}
	json_t *o = json_object();
	et_json_set(o, "node", et_json_u64(d->step.node));
	et_json_set(o, "step", et_json_text(d->step.name));
	et_json_set(o, "held", json_boolean(d->step.blocked));
	et_json_set(o, "why", et_json_text(d->step.why));
	et_json_set(o, "since_ms", json_integer((et_clock_mono_us() - d->step_since_us) / 1000));
	et_json_set(object, "change", o);
}

/* ---- What the catalogue should know of this node ---- */
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
