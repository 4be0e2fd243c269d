/* What the API asks of the daemon: on its workers, answered on the main loop. */
#include <stdlib.h>
#include <string.h>

#include "node/daemon/daemon_internal.h"
#include "node/io/clock.h"
#include "node/tls/rpc.h"

/* ---- Members
 * ------------------------------------------------------------------------------------- */

struct ask {
	struct et_daemon *daemon;
	json_t *result;
};

static void add_age(json_t *object, const struct et_daemon *d, const struct daemon_peer *peer)
{
	int64_t age_us = et_clock_mono_us() - peer->heard_us;

	et_json_set(object, "heard_ms", json_integer(age_us / 1000));
	et_json_set(object, "reachable",
		    json_boolean(et_rpc_is_connected(d->tls, peer->node) && age_us < 5000000));
}

static void nodes_on_loop(void *arg)
{
	struct ask *ask = arg;
	struct et_daemon *d = ask->daemon;

	ask->result = json_array();
	json_t *own = daemon_own_status(d);
	et_json_set(own, "heard_ms", json_integer(0));
	et_json_set(own, "reachable", json_true());
	et_json_add(ask->result, own);
	for (size_t i = 0; i < d->peer_count && d->tls != NULL; i++) {
		const struct daemon_peer *peer = &d->peers[i];
		json_t *object = NULL;
		if (!peer->is_member) {
			continue;
		}
		if (peer->json == NULL || et_json_parse("status", peer->json, strlen(peer->json),
							SIZE_MAX, &object, NULL) < 0) {
			int64_t known_us = et_clock_mono_us() - peer->known_us;
			object = json_object();
			et_json_set(object, "reachable", json_false());
			et_json_set(object, "known_ms", json_integer(known_us / 1000));
		} else {
			add_age(object, d, peer);
		}
		et_json_set(object, "id", et_json_u64(peer->node));
		et_json_add(ask->result, object);
	}
}

static json_t *backend_nodes(void *arg)
{
	struct ask ask = { .daemon = arg };
	return daemon_on_loop(arg, nodes_on_loop, &ask) == 0 ? ask.result : json_array();
}

/* ---- Health
 * -------------------------------------------------------------------------------------- */

static const struct {
	const char *code;
	const char *detail;
	const char *next;
} health_texts[] = {
	{ "CERT_EXPIRED", "the node's certificate has expired; it stays a member",
	  "evertape cert renew --node NODE --reason TEXT says why it cannot" },
	{ "ROOT_ON_DISK", "the node root of a vault node is a file on its disk",
	  "evertape explain ROOT_ON_DISK" },
	{ "SEALING_UNTRUSTED",
	  "the file that says which key version this node seals to is not signed by the cluster's "
	  "CA, and is not used",
	  "evertape explain SEALING_UNTRUSTED" },
	{ "KEK_UNTRUSTED",
	  "the active key version is not signed by a CA of this cluster: nothing is sealed to it",
	  "evertape explain KEK_UNTRUSTED" },
	{ "VAULT_SINGLE", "only one vault node can open recordings",
	  "evertape node promote NODE --role vault" },
	{ "VAULT_NO_GRANT", "this vault node holds no grant for the active key yet",
	  "evertape explain VAULT_NO_GRANT" },
	{ "CLOCK_SKEW",
	  "this node's clock is more than 2 s off the majority's, or (on the leader) no majority "
	  "agrees and timed decisions wait",
	  "evertape doctor" },
	{ "RAFT_TIMING",
	  "a voter answers later than raft.heartbeat, or fewer than ten round trips fit in "
	  "raft.election: commits are slow and elections may be needless",
	  "evertape explain RAFT_TIMING" },
	{ "SNAPSHOT_NO_SPACE",
	  "the state folder's disk has no room for the catalogue of another node, which this node "
	  "needs",
	  "evertape status; free space in data.state" },
	{ "DISK_NEARFULL",
	  "a disk is nearly full: the state disk is below twice limits.disk-reserve, or the media "
	  "disk is below it and new calls are refused",
	  "evertape explain DISK_NEARFULL" },
	{ "NO_QUORUM", "no majority of voters: recording goes on, destructive commands are refused",
	  "evertape node list" },
	{ "JOURNAL_STUCK", "commands wait in the journal until the next start", "evertape doctor" },
	{ "SYNC_FAILED",
	  "the media disk failed a sync: nothing is acknowledged until it was checked",
	  "evertape doctor" },
	{ "CALLS_REFUSED", "calls were not recorded: free space is below the reserve",
	  "evertape capture show --node NODE" },
	{ "ON_DEMAND_CUT",
	  "calls on demand lost a part of their rings before its time, in the last minute: what is "
	  "kept of them now begins later than their rule says",
	  "evertape explain ON_DEMAND_CUT" },
	{ "PACKETS_DROPPED", "packets were lost between the wire and the tape",
	  "evertape capture show --node NODE" },
	{ "DISK_FULL",
	  "a disk is full: the state disk is below limits.disk-reserve and the node takes no "
	  "entries (writes are refused while no majority of voters has room), or the media disk "
	  "takes nothing from other sites or from the archive",
	  "evertape explain DISK_FULL" },
	{ "COPY_BAD", "a copy did not verify; it is in quarantine, and fetched anew",
	  "evertape replication repair" },
	{ "LIMITS_UNREAD", "limits of transfers cannot be read here: those before them hold",
	  "evertape replication limit --show" },
	{ "TAIL_LAG",
	  "calls in progress at another site are known here only as they were more than 30 s ago: "
	  "a "
	  "site that is lost now loses that much of them",
	  "evertape replication lag" },
	{ "SCRUB_WAITS", "a scrub cannot go on, and tries each minute",
	  "evertape replication scrub --status" },
	{ "SCRUB_LATE", "copies were not all verified for two intervals of scrub.every",
	  "evertape replication scrub --status" },
	{ "NODE_REMOVED", "this node was removed from the cluster: stop it; its state can be wiped",
	  "evertape explain NODE_REMOVED" },
	{ "STATE_DIVERGED", "the catalogue of this node is not that of the majority: it stops",
	  "evertape explain STATE_DIVERGED" },
	{ "STATE_DISPUTED", "catalogues differ, and no majority agrees: nothing is destroyed",
	  "evertape explain STATE_DISPUTED" },
	{ "STATE_REBUILDING", "the catalogue of this node is gone; another node's is being fetched",
	  "evertape status --watch" },
	{ "NODE_UNREACHABLE", "no answer from this member", "evertape node list" },
};

static json_t *health_object(const char *code, const char *node)
{
	json_t *object = json_object();

	et_json_set(object, "code", et_json_text(code));
	et_json_set(object, "detail", json_string("")); /* of a newer member: its words are there */
	et_json_set(object, "next", json_string("evertape explain"));
	for (size_t i = 0; i < ET_ARRAY_SIZE(health_texts); i++) {
		if (strcmp(health_texts[i].code, code) == 0) {
			et_json_set(object, "detail", et_json_text(health_texts[i].detail));
			et_json_set(object, "next", et_json_text(health_texts[i].next));
		}
	}
	if (node != NULL) {
		et_json_set(object, "node", et_json_text(node));
	}
	return object;
}

static void add_health(json_t *list, const json_t *node)
{
	const char *name = et_json_get_text(node, "name", NULL);
	json_t *codes = json_object_get(node, "codes");
	size_t i;
	json_t *code;

	if (!et_json_get_bool(node, "reachable", true)) {
		et_json_add(list, health_object("NODE_UNREACHABLE", name));
		return;
	}
	json_array_foreach(codes, i, code)
	{
		const char *text = json_string_value(code);
		if (text != NULL) {
			et_json_add(list, health_object(text, name));
		}
	}
}

static json_t *backend_health(void *arg)
{
	json_t *nodes = backend_nodes(arg);
	json_t *list = json_array();
	size_t i;
	json_t *node;

	json_array_foreach(nodes, i, node)
	{
		add_health(list, node);
	}
	json_decref(nodes);
	return list;
}

/* ---- Capture
 * ------------------------------------------------------------------------------------- */

/* Until when somebody may keep it; 0: it runs, or is kept. */
static int64_t keep_until(const struct et_rules *rules, const Et__Recording *r, bool *ret_on_demand)
{
	*ret_on_demand = false;
	for (uint32_t i = 0; i < rules->count; i++) {
		if (rules->rules[i].action == ET_RULE_ON_DEMAND &&
		    strcmp(rules->rules[i].name, r->rule) == 0) {
			*ret_on_demand = true;
			return r->kept[0] == '\0' && r->end_us != 0
				       ? r->end_us + rules->rules[i].ring.keep_for_us
				       : 0;
		}
	}
	return 0;
}

struct live_list {
	const struct et_rules *rules;
	json_t *list;
};

static void add_live(void *arg, const Et__Recording *r)
{
	const struct live_list *live = arg;
	json_t *object = daemon_call_json(r);
	bool on_demand;
	const int64_t until_us = keep_until(live->rules, r, &on_demand);

	et_json_set(object, "on_demand",
		    on_demand ? json_string(r->kept[0] != '\0' ? "kept" : "waiting") : json_null());
	et_json_set(object, "kept", et_json_text(r->kept));
	et_json_set(object, "end", daemon_time_json(r->end_us));
	et_json_set(object, "keep_until", daemon_time_json(until_us));
	et_json_add(live->list, object);
}

static void capture_on_loop(void *arg)
{
	struct ask *ask = arg;
	struct et_daemon *d = ask->daemon;
	json_t *sources = json_array();
	json_t *live = json_array();
	json_t *own = daemon_own_status(d);

	for (uint32_t i = 0; i < d->config.capture_count; i++) {
		const struct et_config_capture *c = &d->config.captures[i];
		json_t *source = json_object();
		et_json_set(source, "interface", et_json_text(c->interface));
		et_json_set(source, "file", et_json_text(c->file));
		et_json_set(source, "filter", et_json_text(c->filter));
		et_json_add(sources, source);
	}
	struct live_list l = { .rules = &d->config.rules, .list = live };
	et_live_each(&d->live, add_live, &l);
	ask->result = json_object();
	et_json_set(ask->result, "node", et_json_text(d->config.name));
	et_json_set(ask->result, "sources", sources);
	et_json_set(ask->result, "live", live);
	et_json_set(ask->result, "counters", json_incref(json_object_get(own, "capture")));
	json_decref(own);
}

static json_t *backend_capture(void *arg)
{
	struct ask ask = { .daemon = arg };
	return daemon_on_loop(arg, capture_on_loop, &ask) == 0 ? ask.result : json_object();
}

/* ---- Pending commands
 * ---------------------------------------------------------------------------- */

struct pending_list {
	struct et_daemon *daemon;
	struct et_buffer packed; /* size32 and a command, again and again */
};

static int copy_pending(void *arg, const Et__Command *command)
{
	struct pending_list *list = arg;
	struct et_buffer one = { 0 };

	if (et_command_pack(command, &one) == 0) {
		et_buffer_add32(&list->packed, (uint32_t)one.size);
		et_buffer_add(&list->packed, one.data, one.size);
	}
	et_buffer_release(&one);
	return 0;
}

static void pending_on_loop(void *arg)
{
	struct pending_list *list = arg;

	if (list->daemon->proposer != NULL) {
		(void)et_proposer_each_pending(list->daemon->proposer, copy_pending, list);
	}
}

static int backend_pending(void *arg, int (*fn)(void *fn_arg, const Et__Command *command),
			   void *fn_arg)
{
	struct pending_list list = { .daemon = arg };
	int rc = daemon_on_loop(arg, pending_on_loop, &list);
	struct et_reader r = et_reader_of(list.packed.data, list.packed.size);

	while (rc == 0 && et_reader_left(&r) > 0 && !r.failed) {
		uint32_t size = et_read32(&r);
		const uint8_t *p = et_read_bytes(&r, size);
		Et__Command *command = NULL;
		if (p == NULL || et_command_unpack(p, size, &command, NULL) < 0) {
			continue;
		}
		rc = fn(fn_arg, command);
		et_command_free(command);
	}
	et_buffer_release(&list.packed);
	return rc;
}

/* ---- Setup
 * --------------------------------------------------------------------------------------- */

static int backend_init(void *arg, const struct et_api_init *request,
			struct et_api_init_answer *ret, struct et_error *reterr)
{
	return daemon_setup_init(arg, request, ret, reterr);
}

static int backend_join(void *arg, const char *token, const char *address, uint64_t *ret_node,
			struct et_error *reterr)
{
	return daemon_setup_join(arg, token, address, ret_node, reterr);
}

static int backend_erased(void *arg, const uint8_t recording[16], struct et_error *reterr)
{
	return daemon_backup_erased(arg, recording, reterr);
}

static int backend_backup(void *arg, et_backup_sink sink, void *sink_arg, struct et_error *reterr)
{
	return daemon_backup_write(arg, sink, sink_arg, reterr);
}

void daemon_fill_backend(struct et_daemon *d, struct et_api_backend *ret)
{
	*ret = (struct et_api_backend){
		.init_cluster = backend_init,
		.join = backend_join,
		.nodes = backend_nodes,
		.health = backend_health,
		.capture = backend_capture,
		.pending = backend_pending,
		.ask = daemon_ask,
		.tell = daemon_tell,
		.pause = daemon_pause,
		.keep = daemon_keep,
		.late_keys = daemon_late_keys,
		.import = daemon_import,
		.metrics = daemon_metrics,
		.erased = backend_erased,
		.backup = backend_backup,
		.arg = d,
	};
}
