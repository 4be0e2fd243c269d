#include <stdio.h>

#include "node/io/clock.h"
#include "raft/catalog/catalog_internal.h"

static enum et_catalog_role role_of(int role)
{
	return role == RAFT_VOTER     ? ET_CATALOG_VOTER
	       : role == RAFT_STANDBY ? ET_CATALOG_STANDBY
				      : ET_CATALOG_SPARE;
}

static void status_member(struct et_catalog *c, const struct raft_server *server, int64_t now_us,
			  struct et_catalog_member *ret)
{
	const struct cat_clock *clock = et_cat_clock_of(c, server->id, now_us);
	raft_index match = 0;

	*ret = (struct et_catalog_member){ .node = server->id, .role = role_of(server->role) };
	(void)snprintf(ret->address, sizeof(ret->address), "%s", server->address);
	ret->reachable = server->id == c->node || et_rpc_is_connected(c->tls, server->id) ||
			 et_cat_transport_has(c, server->id);
	if (et_cat_is_leader(c) && raft_match_index(&c->raft, server->id, &match) == 0) {
		ret->match_index = match;
	}
	ret->contact_us = server->id == c->node ? now_us : et_cat_seat(c, server->id)->contact_us;
	ret->clock_known = clock != NULL;
	ret->clock_offset_us = clock != NULL ? clock->offset_us : 0;
	ret->rtt_us = clock != NULL ? clock->rtt_us : 0;
}

void et_cat_status_update(struct et_catalog *c)
{
	struct et_catalog_status s = {
		.node = c->node,
		.leader = c->leader,
		.term = c->raft.current_term,
		.commit_index = c->raft.commit_index,
		.applied = c->applied,
		.last_index = raft_last_index(&c->raft),
		.is_leader = et_cat_is_leader(c),
		.leader_contact_us = c->contact_us,
		.cluster_time_us = c->cluster_time_us,
		.waiting = c->proposals_count,
		.clock_skew = c->clock_skew,
		.clock_off = c->clock_off,
		.clock_off_us = c->clock_off_us,
		.throttled = et_cat_is_throttled(c) || !cat_list_is_empty(&c->held),
		.disk_full = c->disk_full,
		.space_full = c->space.full,
		.space_near = c->space.near,
		.installing = c->install.active,
		.install_no_space = c->pull_no_space,
		.snapshot_pulled_bytes = c->pulled_bytes,
		.snapshot_reused_bytes = c->reused_bytes,
		.snapshot_served_bytes = c->served_bytes,
		.loop_stall_us =
			(c->stall_ns[0] > c->stall_ns[1] ? c->stall_ns[0] : c->stall_ns[1]) / 1000,
		.loop_longest_us = c->longest_ns / 1000,
		.snapshot_index = c->snapshot_index,
		.state_queue_bytes = c->queue_bytes,
		.schema = c->schema,
		.diverged = c->digests.diverged,
		.disputed = c->digests.disputed,
		.agreed_index = c->digests.agreed_index,
		.agreed_nodes = c->digests.agreed_nodes,
		.odd_count = (uint32_t)c->digests.odd_count,
		.rebuilding = c->rebuild.active,
	};
	memcpy(s.odd, c->digests.odd, c->digests.odd_count * sizeof(s.odd[0]));
	int64_t now_us = et_clock_mono_us();

	if (s.is_leader) {
		/* It steps down by itself when a majority is silent for an election timeout. */
		s.leader_contact_us = c->contact_us = now_us;
		s.has_quorum = true;
	} else {
		s.has_quorum =
			c->leader != 0 && now_us - c->contact_us < (int64_t)c->election_ms * 2000;
	}
	if (c->applied >= c->raft.commit_index && c->contact_us > c->fresh_us) {
		c->fresh_us = c->contact_us;
	}
	s.fresh_us = c->fresh_us;
	et_cat_pull_progress(c, &s.installed_bytes, &s.install_bytes);
	for (unsigned i = 0; i < c->raft.configuration.n; i++) {
		const struct raft_server *server = &c->raft.configuration.servers[i];
		if (s.member_count == ET_ARRAY_SIZE(s.members)) {
			break;
		}
		struct et_catalog_member *m = &s.members[s.member_count++];
		status_member(c, server, now_us, m);
		s.voters += m->role == ET_CATALOG_VOTER;
		s.reachable_voters += m->role == ET_CATALOG_VOTER && m->reachable;
		s.timing_tight |= m->role == ET_CATALOG_VOTER &&
				  !et_cat_timing_fits(c->election_ms, c->heartbeat_ms, m->rtt_us);
	}
	(void)pthread_mutex_lock(&c->status_mutex);
	c->status = s;
	(void)pthread_mutex_unlock(&c->status_mutex);
}

void et_catalog_status(struct et_catalog *c, struct et_catalog_status *ret)
{
	(void)pthread_mutex_lock(&c->status_mutex);
	*ret = c->status;
	(void)pthread_mutex_unlock(&c->status_mutex);
}
