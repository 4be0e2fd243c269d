/* What this node says of itself, and what it last heard the others say.
 *
 * Every second each member is asked (ET_RPC_STATUS) for one JSON object; any node can so answer for
 * the whole cluster, and says how old each part is. The object is what the API's `status` passes
 * on. */
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "node/base/log.h"
#include "node/daemon/daemon_internal.h"
#include "node/io/clock.h"
#include "node/text/json.h"
#include "node/tls/rpc.h"

#define STATUS_TIMEOUT_MS 1500
#define CUT_TOLD_US (60 * 1000000LL)
#define STATUS_SIZE_MAX (64 * 1024) /* bytes of one node's object */

static void add_disk(json_t *object, const char *prefix, const char *path)
{
	struct statvfs fs;
	char key[64];

	if (statvfs(path, &fs) < 0) {
		return;
	}
	(void)snprintf(key, sizeof(key), "%s_free_bytes", prefix);
	et_json_set(object, key, et_json_u64((uint64_t)fs.f_bavail * fs.f_frsize));
	(void)snprintf(key, sizeof(key), "%s_total_bytes", prefix);
	et_json_set(object, key, et_json_u64((uint64_t)fs.f_blocks * fs.f_frsize));
}

/* Calls by the rule that fired: what was not recorded is told with the rule that says so. */
json_t *daemon_rule_calls(const struct et_rules *rules, const struct et_capture_metrics *m)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i <= rules->count; i++) {
		const bool is_rule = i < rules->count;
		json_t *rule = json_object();
		et_json_set(rule, "name", et_json_text(is_rule ? rules->rules[i].name : "default"));
		et_json_set(rule, "action",
			    json_string(et_rule_action_text(is_rule ? rules->rules[i].action
								    : rules->otherwise)));
		et_json_set(rule, "calls", et_json_u64(m->rule_calls[i]));
		et_json_add(list, rule);
	}
	return list;
}

static void add_capture(const struct et_daemon *d, json_t *object)
{
	struct et_capture_metrics m = { 0 };
	json_t *capture = json_object();

	if (d->capture != NULL) {
		et_capture_metrics(d->capture, &m);
	}
	et_json_set(object, "live_calls", et_json_u64(m.calls_live));
	et_json_set(object, "drops", et_json_u64(m.kernel_dropped + m.media_dropped));
	et_json_set(capture, "running", json_boolean(d->capture != NULL));
	et_json_set(capture, "acknowledging", json_boolean(d->capture == NULL || m.acknowledging));
	et_json_set(capture, "packets", et_json_u64(m.packets.total));
	et_json_set(capture, "sip", et_json_u64(m.packets.sip));
	et_json_set(capture, "rtp", et_json_u64(m.packets.rtp));
	et_json_set(capture, "rtcp", et_json_u64(m.packets.rtcp));
	et_json_set(capture, "kernel_dropped", et_json_u64(m.kernel_dropped));
	et_json_set(capture, "media_dropped", et_json_u64(m.media_dropped));
	et_json_set(capture, "calls_total", et_json_u64(m.calls_total));
	et_json_set(capture, "refused_disk", et_json_u64(m.calls_refused_disk));
	et_json_set(capture, "refused_limit", et_json_u64(m.calls_refused_limit));
	et_json_set(capture, "refused_rule", et_json_u64(m.calls_refused_rule));
	et_json_set(capture, "rules", daemon_rule_calls(&d->config.rules, &m));
	et_json_set(capture, "on_demand_calls", et_json_u64(m.demand_calls));
	et_json_set(capture, "on_demand_bytes", et_json_u64(m.demand_bytes));
	et_json_set(capture, "on_demand_kept", et_json_u64(m.demand_kept));
	et_json_set(capture, "on_demand_dropped", et_json_u64(m.demand_dropped));
	et_json_set(capture, "on_demand_cut", et_json_u64(m.demand_cut));
	et_json_set(capture, "on_demand_lost", et_json_u64(m.demand_lost));
	et_json_set(capture, "on_demand_failed", et_json_u64(m.demand_failed));
	et_json_set(capture, "tones_silenced", et_json_u64(m.tones_silenced));
	et_json_set(capture, "tones_cannot_drop", et_json_u64(m.tones_cannot));
	et_json_set(capture, "refused_drain", et_json_u64(m.calls_refused_drain));
	et_json_set(capture, "refused_journal", et_json_u64(m.calls_refused_journal));
	et_json_set(capture, "refused_writer", et_json_u64(m.calls_refused_writer));
	et_json_set(capture, "siprec_sessions", et_json_u64(m.siprec_sessions));
	et_json_set(capture, "siprec_refused", et_json_u64(m.siprec_refused));
	et_json_set(capture, "sync_failures", et_json_u64(m.sync_failures));
	et_json_set(capture, "recovered", et_json_u64(m.recovered));
	et_json_set(object, "capture", capture);
}

static void add_catalog(struct et_daemon *d, json_t *object)
{
	struct et_catalog_status status;
	struct et_keeper_health health;
	uint8_t digest[32];
	uint64_t index = 0;

	et_catalog_status(d->catalog, &status);
	et_json_set(object, "applied", et_json_u64(status.applied));
	et_json_set(object, "has_quorum", json_boolean(status.has_quorum));
	et_json_set(object, "leader", et_json_u64(status.leader));
	et_json_set(object, "term", et_json_u64(status.term));
	daemon_add_membership(d, &status, object);
	struct et_state_view *view = et_state_view_open(d->state);
	if (et_state_digest(view, &index, digest) == 0) {
		et_json_set(object, "digest_index", et_json_u64(index));
		et_json_set(object, "digest", et_json_hex(digest, sizeof(digest)));
	}
	(void)et_state_view_close(view);
	et_keeper_health(d->keeper, &health);
	et_json_set(object, "cert_expires_us", json_integer(health.cert_not_after_us));
}

/* Below the reserve of the media folder new calls are refused: said before one is. */
static bool media_is_low(const struct et_daemon *d)
{
	struct statvfs fs;

	return statvfs(d->config.media, &fs) == 0 &&
	       (uint64_t)fs.f_bavail * fs.f_frsize < d->config.limits.disk_reserve_bytes;
}

/* What replication does here, and one code per condition that an operator must know; the API gives
 * each its sentence (health codes). */
static void add_codes(struct et_daemon *d, json_t *object)
{
	json_t *codes = json_array();
	struct et_keeper_health health;
	struct et_catalog_status status;
	struct et_sync_status *sync = calloc(1, sizeof(*sync));
	struct et_capture_metrics m = { 0 };

	et_keeper_health(d->keeper, &health);
	et_catalog_status(d->catalog, &status);
	if (d->capture != NULL) {
		et_capture_metrics(d->capture, &m);
	}
	if (sync != NULL && d->sync != NULL) {
		et_sync_get_status(d->sync, sync);
		daemon_add_replication(d, sync, object, codes);
	}
	const struct {
		bool on;
		const char *code;
	} table[] = {
		{ health.cert_expired, "CERT_EXPIRED" },
		{ health.root_on_disk, "ROOT_ON_DISK" },
		{ d->keys.untrusted, "SEALING_UNTRUSTED" },
		{ d->keys.refused != 0, "KEK_UNTRUSTED" },
		{ health.vault_single, "VAULT_SINGLE" },
		{ health.vault_without_grant, "VAULT_NO_GRANT" },
		{ status.clock_skew || status.clock_off, "CLOCK_SKEW" },
		{ d->removed, "NODE_REMOVED" },
		{ status.timing_tight, "RAFT_TIMING" },
		{ status.install_no_space, "SNAPSHOT_NO_SPACE" },
		{ !status.has_quorum && status.voters > 0, "NO_QUORUM" }, /* a spare knows none */
		{ status.diverged, "STATE_DIVERGED" },
		{ status.disputed, "STATE_DISPUTED" },
		{ status.rebuilding, "STATE_REBUILDING" },
		{ atomic_load(&d->events.stuck) > 0, "JOURNAL_STUCK" },
		{ d->capture != NULL && !m.acknowledging, "SYNC_FAILED" },
		{ m.calls_refused_disk > 0, "CALLS_REFUSED" },
		{ et_clock_now_us() - m.demand_cut_us < CUT_TOLD_US, "ON_DEMAND_CUT" },
		{ m.kernel_dropped + m.media_dropped > 0, "PACKETS_DROPPED" },
		{ status.space_full || status.disk_full || (sync != NULL && sync->disk_full) ||
			  (d->mover != NULL && et_mover_disk_full(d->mover)),
		  "DISK_FULL" },
		{ status.space_near || media_is_low(d), "DISK_NEARFULL" },
		{ sync != NULL && sync->bad_copies > 0, "COPY_BAD" },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(table); i++) {
		if (table[i].on) {
			et_json_add(codes, json_string(table[i].code));
		}
	}
	free(sync);
	et_json_set(object, "codes", codes);
}

void daemon_watch_capture(struct et_daemon *d)
{
	struct et_capture_metrics m = { 0 };

	if (d->capture == NULL) {
		return;
	}
	et_capture_metrics(d->capture, &m);
	if (m.calls_refused_disk > d->refused_logged) {
		et_err("calls.refused",
		       "count=%llu cause=\"free space of the media folder is below "
		       "limits.disk-reserve\" next=\"evertape archive plan\"",
		       (unsigned long long)(m.calls_refused_disk - d->refused_logged));
	}
	d->refused_logged = m.calls_refused_disk;
}

json_t *daemon_own_status(struct et_daemon *d)
{
	json_t *object = json_object();

	et_json_set(object, "id", et_json_u64(d->identity.node));
	et_json_set(object, "name", et_json_text(d->identity.name));
	et_json_set(object, "site", et_json_text(d->identity.site));
	et_json_set(object, "version", et_json_text(d->version));
	et_json_set(object, "store", et_json_text(d->store_uuid));
	et_json_set(object, "time_us", json_integer(et_clock_now_us()));
	et_json_set(object, "pending",
		    et_json_u64(d->journal != NULL ? et_journal_pending(d->journal) : 0));
	add_disk(object, "disk", d->config.media);
	et_json_set(object, "disk_reserve_bytes", et_json_u64(d->config.limits.disk_reserve_bytes));
	add_disk(object, "state_disk", d->config.state);
	add_capture(d, object);
	if (d->catalog != NULL && d->keeper != NULL) {
		add_catalog(d, object);
		add_codes(d, object);
	}
	return object;
}

/* ---- The others
 * ---------------------------------------------------------------------------------- */

static void on_status_request(void *arg, const struct et_tls_peer *peer, struct et_view body,
			      struct et_rpc_reply *reply)
{
	struct et_daemon *d = arg;

	(void)peer;
	(void)body;
	if (d->phase == DAEMON_STOPPING) {
		et_rpc_reply(reply, ET_ECLOSED, NULL, 0);
		return;
	}
	struct et_buffer text = { 0 };
	json_t *object = daemon_own_status(d);
	et_json_print(object, false, &text);
	json_decref(object);
	et_rpc_reply(reply, text.failed ? -ENOMEM : 0, text.data, text.size);
	et_buffer_release(&text);
}

void daemon_serve_status(struct et_daemon *d)
{
	et_rpc_serve(d->tls, ET_RPC_STATUS, on_status_request, d);
}

static struct daemon_peer *find_peer(struct et_daemon *d, uint64_t node)
{
	const struct daemon_peer fresh = { .node = node, .known_us = et_clock_mono_us() };

	for (size_t i = 0; i < d->peer_count; i++) {
		if (d->peers[i].node == node) {
			return &d->peers[i];
		}
	}
	for (size_t i = 0; i < d->peer_count; i++) {
		struct daemon_peer *old = &d->peers[i];
		if (!old->is_member && !old->asking) {
			free(old->json);
			*old = fresh;
			return old;
		}
	}
	if (d->peer_count == DAEMON_PEERS_MAX) {
		return NULL;
	}
	d->peers[d->peer_count] = fresh;
	return &d->peers[d->peer_count++];
}

struct question {
	struct et_daemon *daemon;
	uint64_t node;
};

static void on_status_answer(void *arg, int code, struct et_view body)
{
	struct question *question = arg;
	struct daemon_peer *peer = find_peer(question->daemon, question->node);

	free(question);
	et_assert(peer != NULL); /* Nobody is forgotten while it is asked. */
	peer->asking = false;
	if (code != 0 || body.size == 0 || body.size > STATUS_SIZE_MAX) {
		return;
	}
	json_t *object = NULL;
	if (et_json_parse("status", body.data, body.size, STATUS_SIZE_MAX, &object, NULL) < 0) {
		return; /* Not what a member of ours says. */
	}
	json_decref(object);
	free(peer->json);
	peer->json = strndup((const char *)body.data, body.size);
	peer->heard_us = et_clock_mono_us();
}

static int ask_node(void *arg, const Et__Node *node)
{
	struct et_daemon *d = arg;

	if (node->id == d->identity.node || node->state == ET__NODE_STATE__REMOVED ||
	    node->state == ET__NODE_STATE__REVOKED) {
		return 0;
	}
	struct daemon_peer *peer = find_peer(d, node->id);
	if (peer == NULL) {
		return 0;
	}
	peer->seen = peer->is_member = true;
	if (peer->asking) {
		return 0;
	}
	struct question *question = malloc(sizeof(*question));
	if (question == NULL) {
		return 0;
	}
	*question = (struct question){ .daemon = d, .node = node->id };
	peer->asking = true;
	et_rpc_call(d->tls, node->id, node->address, ET_RPC_STATUS, NULL, 0, STATUS_TIMEOUT_MS,
		    on_status_answer, question);
	return 0;
}

void daemon_poll_peers(struct et_daemon *d)
{
	struct et_state_view *view = et_state_view_open(d->state);
	for (size_t i = 0; i < d->peer_count; i++) {
		d->peers[i].seen = false;
	}
	(void)et_state_each_node(view, ask_node, d);
	for (size_t i = 0; i < d->peer_count; i++) {
		d->peers[i].is_member = d->peers[i].seen; /* who was removed is named no more */
	}
	(void)et_state_view_close(view);
}

void daemon_release_peers(struct et_daemon *d)
{
	for (size_t i = 0; i < d->peer_count; i++) {
		free(d->peers[i].json);
	}
}
