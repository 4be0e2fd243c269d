/* Bringing up a member: identity, TLS, catalogue, and the services on top of them. */
#include <grp.h>
#include <stdio.h>
#include <string.h>

#include "node/base/log.h"
#include "node/daemon/daemon_internal.h"
#include "node/io/clock.h"

/* ---- Rates ---- */

static int set_rate(void *arg, const Et__Site *site)
{
	struct et_daemon *d = arg;

	if (strcmp(site->name, d->identity.site) == 0) {
		return 0;
	}
	return et_sync_set_rate(d->sync, site->name, d->config.limits.sync_rate_bytes);
}

/* limits.sync-rate holds for the link to each other site. */
void daemon_set_rates(struct et_daemon *d)
{
	if (d->sync == NULL) {
		return;
	}
	struct et_state_view *view = et_state_view_open(d->state);
	if (et_state_each_site(view, set_rate, d) < 0) {
		et_warn("sync.rate", "error=\"a site's rate could not be set\"");
	}
	(void)et_state_view_close(view);
}

/* ---- What the catalogue says is applied
 * ---------------------------------------------------------- */

static void on_applied(void *arg, uint64_t index, const Et__Command *command,
		       const Et__Result *result)
{
	struct et_daemon *d = arg;

	if (command == NULL) { /* It cannot be read by this version; apply said so. */
		return;
	}
	if (d->sync != NULL) {
		et_sync_on_applied(d->sync, index, command, result);
	}
	if (d->mover != NULL) {
		et_mover_on_applied(d->mover, index, command, result);
	}
	if (d->api != NULL) {
		et_api_on_applied(d->api, index, command, result);
	}
	if (d->keeper != NULL) {
		et_keeper_on_applied(d->keeper, index, command, result);
	}
	if (command->body_case == ET__COMMAND__BODY_AGENT_SET) {
		atomic_store(&d->agents_changed, true);
	}
	switch ((int)command->body_case) {
	case ET__COMMAND__BODY_CLUSTER_INIT:
	case ET__COMMAND__BODY_KEK_ADD:
	case ET__COMMAND__BODY_KEK_SET:
		daemon_try_capture(d);
		break;
	case ET__COMMAND__BODY_RECORDING_ERASE:
	case ET__COMMAND__BODY_PLAN_APPLY: /* it may erase */
	case ET__COMMAND__BODY_POLICY_SET:
		daemon_backup_wake(d);
		break;
	case ET__COMMAND__BODY_NODE_JOIN:
	case ET__COMMAND__BODY_NODE_REMOVE:
	case ET__COMMAND__BODY_NODE_ROLES:
	case ET__COMMAND__BODY_NODE_UPDATE:
	case ET__COMMAND__BODY_NODE_DRAIN:
		daemon_obey(d);
		daemon_reconcile_members(d);
		daemon_set_rates(d);
		break;
	default:
		break;
	}
}

static void on_replaced(void *arg)
{
	struct et_daemon *d = arg;

	atomic_store(&d->agents_changed, true);
	if (d->sync != NULL) {
		et_sync_on_replaced(d->sync);
	}
	if (d->keeper != NULL) {
		et_keeper_on_replaced(d->keeper);
	}
	daemon_backup_wake(d);
	d->announced = false;
}

/* The catalogue of this node is not that of the cluster: it serves nobody any more. */
static void on_diverged(void *arg, const struct et_error *why)
{
	struct et_daemon *d = arg;
	char quoted[560];

	et_err("daemon.diverged", "error=%s next=\"%s\"",
	       et_log_quote(why->text, quoted, sizeof(quoted)), why->next);
	daemon_stop(d, et_exit_code(why->code));
}

static void on_change(void *arg)
{
	struct et_daemon *d = arg;

	if (d->catalog != NULL && d->phase != DAEMON_STOPPING) {
		daemon_reconcile_members(d);
	}
}

/* ---- Journal to catalogue
 * ------------------------------------------------------------------------ */

static void propose_packed(void *arg, struct et_view packed, uint32_t timeout_ms, et_catalog_cb cb,
			   void *cb_arg)
{
	struct et_daemon *d = arg;
	et_catalog_propose_packed(d->catalog, packed, timeout_ms, cb, cb_arg);
}

static void on_proposed(void *arg, const Et__Command *command, int code, const Et__Result *result)
{
	char quoted[300];

	daemon_tell_answered(arg, command, code, result);
	if (code == 0) {
		return;
	}
	const char *text =
		result != NULL && result->text != NULL ? result->text : et_strerror(code);
	et_warn("command.refused", "command=%s seq=%llu code=%s why=%s", et_command_name(command),
		(unsigned long long)command->op->seq, et_errname(code),
		et_log_quote(text, quoted, sizeof(quoted)));
}

static void on_command(void *arg, struct et_view packed)
{
	struct et_daemon *d = arg;

	if (d->proposer == NULL) {
		return; /* Going down: it is in the journal. */
	}
	int rc = et_proposer_add(d->proposer, packed);
	if (rc < 0) {
		atomic_fetch_add(&d->events.stuck, 1);
		et_err("journal.stuck", "error=%s", et_errname(rc));
	}
}

static void on_live(void *arg, const uint8_t recording[16], const Et__Recording *record)
{
	struct et_daemon *d = arg;
	et_live_set(&d->live, recording, record);
}

static uint32_t committed_schema(void *arg)
{
	const struct et_daemon *d = arg;

	return et_state_schema(d->state);
}

int daemon_open_journal(struct et_daemon *d, struct et_error *reterr)
{
	char folder[ET_CONFIG_PATH_MAX + 16];

	(void)snprintf(folder, sizeof(folder), "%s/journal", d->config.media);
	int rc = et_journal_open(folder, d->identity.node, &d->journal, reterr);
	if (rc < 0) {
		return rc;
	}
	size_t pending = et_journal_pending(d->journal);
	if (pending > 0) {
		et_info("journal.recovered", "pending=%zu", pending);
	}
	struct et_events_config events = { .postbox = &d->postbox,
					   .journal = d->journal,
					   .node = d->identity.node,
					   .store_uuid = d->store_uuid,
					   .media = d->config.media,
					   .schema = committed_schema,
					   .on_command = on_command,
					   .on_live = on_live,
					   .arg = d };
	et_events_init(&d->events, &events);
	return 0;
}

static int start_journal(struct et_daemon *d, struct et_error *reterr)
{
	int rc = daemon_open_journal(d, reterr);
	if (rc < 0) {
		return rc;
	}
	daemon_import_sweep(d);
	struct et_proposer_config proposer = { .loop = &d->loop,
					       .journal = d->journal,
					       .propose = propose_packed,
					       .on_done = on_proposed,
					       .arg = d };
	return et_proposer_start(&proposer, &d->proposer, reterr);
}

/* ---- Services
 * ------------------------------------------------------------------------------------ */

static int sync_propose(void *arg, const Et__Command *command, uint32_t timeout_ms,
			et_catalog_cb cb, void *cb_arg)
{
	struct et_daemon *d = arg;
	return et_catalog_propose_from(d->catalog, command, timeout_ms, cb, cb_arg);
}

static int64_t catalog_fresh_us(void *arg)
{
	struct et_daemon *d = arg;
	struct et_catalog_status status;

	et_catalog_status(d->catalog, &status);
	return status.fresh_us;
}

static int start_sync(struct et_daemon *d, struct et_error *reterr)
{
	struct et_sync_config config = { .loop = &d->loop,
					 .postbox = &d->postbox,
					 .tls = d->tls,
					 .state = d->state,
					 .propose = sync_propose,
					 .propose_arg = d,
					 .node = d->identity.node,
					 .media = d->config.media,
					 .sign_key = d->identity.sign_key,
					 .store_uuid = d->store_uuid,
					 .tail_ms = (uint32_t)(d->config.tail_us / 1000),
					 .cache_bytes = d->config.limits.cache_bytes,
					 .scrub_every_us = d->config.scrub.every_us,
					 .scrub_rate = d->config.scrub.rate_bytes,
					 .fresh_us = catalog_fresh_us,
					 .fresh_arg = d };
	int rc = et_sync_start(&config, &d->sync, reterr);
	if (rc == 0) {
		daemon_set_rates(d);
	}
	return rc;
}

/* The mover leaves the op id to us, and proposes from its own thread. */
static int mover_propose(void *arg, Et__Command *command, et_mover_proposed_fn done, void *done_arg)
{
	struct et_daemon *d = arg;
	return et_catalog_propose_from(d->catalog, command, 0, done, done_arg);
}

static int64_t mover_now(void *arg)
{
	struct et_daemon *d = arg;
	struct et_catalog_status status;

	et_catalog_status(d->catalog, &status);
	return status.cluster_time_us;
}

static int start_mover(struct et_daemon *d, struct et_error *reterr)
{
	struct et_mover_config config = { .node = d->identity.node,
					  .media = d->config.media,
					  .state = d->state,
					  .propose = mover_propose,
					  .now = mover_now,
					  .arg = d,
					  .media_reserve_bytes =
						  d->config.limits.disk_reserve_bytes };
	return et_mover_start(&config, &d->mover, reterr);
}

static void on_identity(void *arg, const struct et_identity *identity)
{
	struct et_daemon *d = arg;
	struct et_error error;

	/* The keys stay: the recorder borrows one. */
	d->identity.cert.size = d->identity.ca.size = 0;
	et_buffer_add(&d->identity.cert, identity->cert.data, identity->cert.size);
	et_buffer_add(&d->identity.ca, identity->ca.data, identity->ca.size);
	if (d->api != NULL && et_api_set_identity(d->api, identity, &error) < 0) {
		et_warn("api.identity", "error=\"%s\"", error.text);
	}
}

static int start_keeper(struct et_daemon *d, struct et_error *reterr)
{
	struct et_keeper_config config = { .loop = &d->loop,
					   .postbox = &d->postbox,
					   .catalog = d->catalog,
					   .tls = d->tls,
					   .identity = &d->identity,
					   .root = d->root,
					   .root_on_disk = et_root_on_disk(d->config.root),
					   .state_folder = d->config.state,
					   .media_folder = d->config.media,
					   .cert_life_us = d->config.tls.certificate_life_us,
					   .on_identity = on_identity,
					   .arg = d };
	return et_keeper_start(&config, &d->keeper, reterr);
}

static bool address_of(void *arg, uint64_t node, char ret[64])
{
	struct et_daemon *d = arg;
	return et_members_address(d->members, node, ret);
}

static void on_entry(void *arg, uint64_t index, struct et_view entry, const uint8_t digest[32])
{
	daemon_pitr_entry(arg, index, entry, digest);
}

static int start_catalog(struct et_daemon *d, struct et_error *reterr)
{
	struct et_catalog_config config = { .loop = &d->loop,
					    .postbox = &d->postbox,
					    .tls = d->tls,
					    .node = d->identity.node,
					    .address = d->config.advertise,
					    .folder = d->config.state,
					    .election_ms = (uint32_t)(d->config.election_us / 1000),
					    .heartbeat_ms =
						    (uint32_t)(d->config.heartbeat_us / 1000),
					    .snapshot_rate = d->config.limits.snapshot_rate_bytes,
					    .space_reserve = d->config.limits.disk_reserve_bytes,
					    .disk_reserve = d->config.limits.disk_reserve_bytes,
					    .on_applied = on_applied,
					    .on_change = on_change,
					    .on_replaced = on_replaced,
					    .address_of = address_of,
					    .on_diverged = on_diverged,
					    .on_entry = d->pitr != NULL ? on_entry : NULL,
					    .arg = d };
	int rc = et_catalog_start(&config, &d->catalog, reterr);
	if (rc == 0) {
		d->state = et_catalog_state(d->catalog);
		et_members_set_state(d->members, d->state);
	}
	return rc;
}

static int start_tls(struct et_daemon *d, struct et_error *reterr)
{
	int rc = et_members_open(d->identity_folder, &d->identity, &d->members, reterr);
	if (rc < 0) {
		return rc;
	}
	struct et_tls_config config = { .loop = &d->loop,
					.identity = &d->identity,
					.listen = d->config.listen_cluster,
					.check = et_members_check,
					.recorded = et_members_recorded,
					.arg = d->members };
	return et_tls_start(&config, &d->tls, reterr);
}

int daemon_start_member(struct et_daemon *d, struct et_error *reterr)
{
	static int (*const steps[])(struct et_daemon * d, struct et_error * reterr) = {
		start_tls,	   daemon_pitr_make,  start_catalog, start_keeper,
		start_journal,	   start_sync,	      start_mover,   daemon_backup_start,
		daemon_pitr_start, daemon_attach_api,
	};

	d->phase = DAEMON_STARTING;
	for (size_t i = 0; i < ET_ARRAY_SIZE(steps); i++) {
		int rc = steps[i](d, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	daemon_tell_recovery(d);
	daemon_serve_status(d);
	daemon_serve_questions(d);
	et_info("daemon.member", "cluster=%s node=%llu name=%s site=%s cluster-port=%s",
		d->identity.cluster, (unsigned long long)d->identity.node, d->identity.name,
		d->identity.site, d->config.advertise);
	daemon_try_capture(d);
	et_notify_status("member %s of cluster %s", d->identity.name, d->identity.cluster);
	return 0;
}

/* ---- Capture
 * ------------------------------------------------------------------------------------- */

/* What the configuration takes is recorded, all of it. */
_Static_assert(ET_CAPTURE_SOURCES_MAX >= ET_CONFIG_CAPTURES_MAX, "sources");
_Static_assert(ET_CAPTURE_SIP_PORTS_MAX >= ET_CONFIG_CAPTURES_MAX * ET_CONFIG_SIP_PORTS_MAX,
	       "ports");
_Static_assert(ET_CAPTURE_RINGS_MAX == ET_CONFIG_RINGS_MAX, "rings");

static void fill_sources(const struct et_config *from, struct et_capture_config *to)
{
	for (uint32_t i = 0; i < from->capture_count; i++) {
		const struct et_config_capture *c = &from->captures[i];
		to->sources[to->source_count++] = (struct et_capture_source){
			.interface = c->interface[0] != '\0' ? c->interface : NULL,
			.file = c->file[0] != '\0' ? c->file : NULL,
			.filter = c->filter,
			.keylog = c->keylog[0] != '\0' ? c->keylog : NULL,
			.rings = c->rings,
		};
		for (uint32_t k = 0; k < c->sip_port_count; k++) {
			to->sip_ports[to->sip_port_count++] = c->sip_ports[k];
		}
	}
}

static void fill_siprec(const struct et_config *from, struct et_capture_config *to)
{
	const struct et_config_siprec *s = &from->siprec;
	for (uint32_t i = 0; i < s->listen_count && i < ET_CAPTURE_LISTENS_MAX; i++) {
		to->siprec.listens[i].transport =
			s->listens[i].transport == ET_CONFIG_UDP   ? ET_TRANSPORT_UDP
			: s->listens[i].transport == ET_CONFIG_TCP ? ET_TRANSPORT_TCP
								   : ET_TRANSPORT_TLS;
		to->siprec.listens[i].address = s->listens[i].address;
		to->siprec.listen_count = i + 1;
	}
	to->siprec.media = s->media;
	to->siprec.port_first = s->port_first;
	to->siprec.port_last = s->port_last;
	to->siprec.sessions = s->sessions;
	to->siprec.connections = s->connections;
	to->siprec.certificate = s->certificate[0] != '\0' ? s->certificate : NULL;
	to->siprec.key = s->key[0] != '\0' ? s->key : NULL;
	to->siprec.allow = s->allow;
	to->siprec.allow_count = s->allow_count;
	to->siprec.client_ca = s->client_ca[0] != '\0' ? s->client_ca : NULL;
}

/* A group that this machine does not know is an error: nobody could give keys. */
static int fill_key_socket(const struct et_config *from, struct et_capture_config *to,
			   struct et_error *reterr)
{
	const struct et_config_key_socket *k = &from->key_socket;
	char room[4096];
	struct group group;
	struct group *found = NULL;

	if (k->path[0] == '\0') {
		return 0;
	}
	to->key_socket = (struct et_capture_key_socket){ .path = k->path, .mode = k->mode };
	if (k->group[0] == '\0') {
		return 0;
	}
	int rc = getgrnam_r(k->group, &group, room, sizeof(room), &found);
	if (rc != 0 || found == NULL) {
		return et_fail_plain(reterr, ET_ENOTFOUND,
				     "key-socket: there is no group '%s' on this machine",
				     k->group);
	}
	to->key_socket.has_group = true;
	to->key_socket.group = group.gr_gid;
	return 0;
}

int daemon_start_capture(struct et_daemon *d, const struct et_keeper_sealing *pick,
			 struct et_error *reterr)
{
	struct et_capture_config *c = calloc(1, sizeof(*c));
	if (c == NULL) {
		return et_fail(reterr, -ENOMEM, "start capture");
	}
	fill_sources(&d->config, c);
	fill_siprec(&d->config, c);
	int rc = fill_key_socket(&d->config, c, reterr);
	if (rc < 0) {
		free(c);
		return rc;
	}
	c->rules = &d->config.rules;
	c->media = d->config.media;
	c->node = d->identity.node;
	c->site = d->identity.site;
	c->sign_key = d->identity.sign_key;
	c->kek_id = pick->kek_id;
	c->kek_version = pick->version;
	memcpy(c->kek_public, pick->public_key, 32);
	c->limits.calls = d->config.limits.live_calls;
	c->limits.free_reserve_bytes = d->config.limits.disk_reserve_bytes;
	c->limits.demand_bytes = d->config.limits.demand_bytes;
	c->limits.ring_bytes = (size_t)d->config.limits.ring_bytes;
	c->limits.queue_bytes = (size_t)d->config.limits.queue_bytes;
	c->limits.max_pause_s = (uint32_t)(d->config.max_pause_us / 1000000);
	c->limits.setup_timeout_s = (uint32_t)(d->config.setup_timeout_us / 1000000);
	c->limits.media_timeout_s = (uint32_t)(d->config.media_timeout_us / 1000000);
	c->limits.media_only_timeout_s = (uint32_t)(d->config.media_only_timeout_us / 1000000);
	_Static_assert((int)ET_PADDING_NONE == (int)ET_CONFIG_PADDING_NONE &&
			       (int)ET_PADDING_ALWAYS == (int)ET_CONFIG_PADDING_ALWAYS,
		       "the same words in the same order");
	c->padding.which = (enum et_padding)d->config.tapes.padding;
	c->padding.bytes = (uint32_t)d->config.tapes.rate_bytes;
	c->padding.allowed = et_events_may_pad;
	c->on_event = et_events_on_capture;
	c->arg = &d->events;
	rc = et_capture_start(c, &d->capture, reterr);
	free(c);
	return rc;
}

void daemon_try_capture(struct et_daemon *d)
{
	struct et_keeper_sealing pick;
	struct et_error error;

	if (d->phase == DAEMON_STOPPING || d->journal == NULL || !daemon_keys_find(d, &pick)) {
		return;
	}
	d->kek = pick;
	d->kek_id = pick.kek_id;
	if ((d->config.roles & ET_ROLE_CAPTURE) == 0 ||
	    (d->config.capture_count == 0 && d->config.siprec.listen_count == 0)) {
		d->phase = DAEMON_RUNNING;
		return;
	}
	if (d->capture != NULL) {
		if (pick.version != d->kek_version) {
			et_capture_set_kek(d->capture, pick.version, pick.public_key);
			d->kek_version = pick.version;
		}
		return;
	}
	if (daemon_start_capture(d, &pick, &error) < 0) {
		et_err("capture.failed", "error=\"%s\" next=\"evertape capture test\"", error.text);
		daemon_stop(d, et_exit_code(error.code));
		return;
	}
	d->kek_version = pick.version;
	d->phase = DAEMON_RUNNING;
	daemon_tell_agents(d);
	et_info("capture.started", "sources=%u siprec=%u kek=%u", d->config.capture_count,
		d->config.siprec.listen_count, pick.version);
}
