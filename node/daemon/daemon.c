#include "node/daemon/daemon.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "node/base/log.h"
#include "node/crypto/harden.h"
#include "node/daemon/daemon_internal.h"
#include "node/io/clock.h"

static int report(const struct et_error *error)
{
	char quoted[560];

	et_err("daemon.failed", "error=%s next=\"%s\"",
	       et_log_quote(error->text, quoted, sizeof(quoted)), error->next);
	return et_exit_code(error->code);
}

/* ---- The loop's own clockwork
 * -------------------------------------------------------------------- */

static int retention_propose(void *arg, const Et__Command *command, uint32_t timeout_ms,
			     et_catalog_cb cb, void *cb_arg)
{
	struct et_daemon *d = arg;

	if (d->phase == DAEMON_STOPPING || d->catalog == NULL) {
		return ET_ECLOSED;
	}
	et_catalog_propose(d->catalog, command, timeout_ms, cb, cb_arg);
	return 0;
}

/* On the leader, what is due is erased by plan. */
static void watch_retention(struct et_daemon *d)
{
	const struct et_retention_config config = { .loop = &d->loop,
						    .node = d->identity.node,
						    .propose = retention_propose,
						    .arg = d,
						    .mono_us = et_clock_mono_us };
	struct et_catalog_status status;

	if (d->catalog == NULL || d->state == NULL || d->phase == DAEMON_STOPPING) {
		return;
	}
	et_catalog_status(d->catalog, &status);
	if (!status.is_leader || !status.has_quorum || status.cluster_time_us == 0 ||
	    (d->retention == NULL && et_retention_new(&config, &d->retention) < 0)) {
		return; /* the next second tries again */
	}
	et_retention_look(d->retention, d->state, status.cluster_time_us);
}

static void on_second(uv_timer_t *timer)
{
	struct et_daemon *d = timer->data;

	if (d->phase != DAEMON_STARTING && d->phase != DAEMON_RUNNING) {
		return;
	}
	daemon_poll_peers(d);
	daemon_reconcile_members(d);
	if (!d->announced) {
		daemon_announce(d);
	}
	daemon_try_capture(d);
	daemon_obey(d);
	daemon_tell_recovery(d);
	daemon_watch_capture(d);
	daemon_watch_keys(d);
	daemon_watch_agents(d);
	watch_retention(d);
}

static void on_hangup(uv_signal_t *handle, int number)
{
	(void)number;
	daemon_reload(handle->data);
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct et_daemon *d = handle->data;

	et_info("daemon.signal", "number=%d", number);
	daemon_stop(d, 0);
}

static int start_handles(struct et_daemon *d, struct et_error *reterr)
{
	const struct {
		uv_signal_t *handle;
		uv_signal_cb cb;
		int number;
	} signals[] = { { &d->sigterm, on_signal, SIGTERM },
			{ &d->sigint, on_signal, SIGINT },
			{ &d->sighup, on_hangup, SIGHUP } };
	int rc = et_postbox_init(&d->postbox, &d->loop);
	if (rc == 0) {
		uv_ref((uv_handle_t *)&d->postbox
			       .async); /* The daemon lives until it is stopped. */
		rc = uv_timer_init(&d->loop, &d->second);
	}
	if (rc == 0) {
		d->second.data = d;
		rc = uv_timer_start(&d->second, on_second, 1000, 1000);
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(signals) && rc == 0; i++) {
		rc = uv_signal_init(&d->loop, signals[i].handle);
		if (rc == 0) {
			signals[i].handle->data = d;
			rc = uv_signal_start(signals[i].handle, signals[i].cb, signals[i].number);
		}
	}
	return rc < 0 ? et_fail(reterr, rc, "start the loop") : 0;
}

/* ---- Start
 * --------------------------------------------------------------------------------------- */

static int start_api(struct et_daemon *d, bool fresh, struct et_error *reterr)
{
	char socket[108];
	int rc = et_config_socket_path(&d->config, socket, reterr);
	if (rc < 0) {
		return rc;
	}
	struct et_api_config config = {
		.postbox = &d->postbox,
		.socket_path = socket,
		.listen = (d->config.roles & ET_ROLE_API) != 0 ? d->config.listen_api : "",
		.certificate = d->config.tls.api_certificate,
		.key = d->config.tls.api_key,
		.media = d->config.media,
		.version = d->version,
		.cluster = d->config.cluster,
		.name = d->config.name,
		.site = d->config.site,
		.connections = d->config.limits.api_connections,
		.member = !fresh,
		.locked = d->locked.code < 0 ? &d->locked : NULL,
	};
	daemon_fill_backend(d, &config.backend);
	return et_api_start(&config, &d->api, reterr);
}

/* Root and identity, if this node has them. ET_ENOTFOUND: a fresh node. */
static int load_identity(struct et_daemon *d, struct et_error *reterr)
{
	const struct et_root_place place = { .spec = d->config.root, .state = d->config.state };
	char path[ET_CONFIG_PATH_MAX + 48];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/identity", d->identity_folder);
	if (stat(path, &st) < 0 && errno == ENOENT) {
		return ET_ENOTFOUND;
	}
	if (daemon_setup_unfinished(d)) {
		(void)et_fail_plain(
			reterr, ET_EREFUSED,
			"a cluster init on this node was interrupted: its escrow shares were "
			"never shown, so that cluster must not be used");
		return et_fail_next(reterr, "rm -r %s %s, start again, evertape cluster init",
				    d->config.state, d->config.media);
	}
	int rc = et_root_load(&place, &d->root, reterr);
	rc = rc == ET_ENOTFOUND ? -ENOENT : rc;
	bool opened = rc == 0;
	if (opened) {
		rc = et_identity_load(d->identity_folder, d->root, &d->identity, reterr);
	}
	if (rc < 0 && reterr->next[0] == '\0') {
		(void)et_fail_next(reterr, "put the node root of this node back at %.100s",
				   d->config.root);
	}
	if (!opened) {
		d->locked = *reterr;
		d->locked.code = rc;
	}
	return rc;
}

/* Is this the node that its configuration means? Another member's folder is not. */
static int check_identity(const struct et_daemon *d, struct et_error *reterr)
{
	const struct {
		const char *key;
		const char *configured;
		const char *is;
	} names[] = {
		{ "cluster", d->config.cluster, d->identity.cluster },
		{ "name", d->config.name, d->identity.name },
		{ "site", d->config.site, d->identity.site },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(names); i++) {
		if (strcmp(names[i].configured, names[i].is) != 0) {
			(void)et_fail_plain(reterr, ET_EUSAGE,
					    "%s: '%s' is '%s', but the identity in %s is of '%s'",
					    d->config.file, names[i].key, names[i].configured,
					    d->identity_folder, names[i].is);
			return et_fail_next(reterr, "correct it, then: evertape config check %s",
					    d->config.file);
		}
	}
	return 0;
}

int daemon_attach_api(struct et_daemon *d, struct et_error *reterr)
{
	struct et_api_services services = { .catalog = d->catalog,
					    .state = d->state,
					    .keeper = d->keeper,
					    .sync = d->sync,
					    .mover = d->mover,
					    .identity = &d->identity,
					    .node = d->identity.node };
	return et_api_attach(d->api, &services, reterr);
}

static int start_all(struct et_daemon *d, struct et_error *reterr)
{
	int rc = daemon_open_store(d, reterr);
	if (rc == 0) {
		rc = start_handles(d, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	rc = load_identity(d, reterr);
	bool fresh = rc == ET_ENOTFOUND;
	if (rc < 0 && !fresh && (d->locked.code == 0 || daemon_peek_locked(d, reterr) < 0)) {
		return rc;
	}
	rc = start_api(d, fresh, reterr);
	if (rc < 0) {
		return rc;
	}
	if (fresh) {
		et_info("daemon.fresh",
			"next=\"evertape cluster init, or evertape node join TOKEN\"");
		return 0;
	}
	rc = check_identity(d, reterr);
	if (rc < 0) {
		return rc;
	}
	return d->locked.code < 0 ? daemon_start_locked(d, reterr) : daemon_start_member(d, reterr);
}

/* The API answers, and a member records: what depends on us may start, and who starts us may go on.
 */
static int tell_manager(struct et_daemon *d, struct et_error *reterr)
{
	if (d->phase == DAEMON_STOPPING) {
		return 0; /* Capture could not be started. */
	}
	int rc = et_notify_watch_start(&d->notify, &d->loop);
	if (rc < 0) {
		return et_fail(reterr, rc, "start the watchdog's timer");
	}
	if (d->phase == DAEMON_LOCKED) {
		et_notify_ready("the node root does not open: it records, and nothing else");
	} else if (d->phase == DAEMON_FRESH) {
		et_notify_ready("in no cluster yet: evertape cluster init, or node join");
	} else {
		et_notify_ready("member %s of cluster %s", d->identity.name, d->identity.cluster);
	}
	return 0;
}

static void daemon_free(struct et_daemon *d)
{
	daemon_backup_release(d);
	d->retention = et_retention_free(d->retention);
	daemon_pitr_release(d);
	d->journal = et_journal_close(d->journal);
	d->members = et_members_close(d->members);
	et_events_release(&d->events);
	et_live_release(&d->live);
	daemon_release_peers(d);
	json_decref(d->settings.list);
	daemon_setup_release(d);
	et_identity_release(&d->identity);
	d->root = et_secret_free(d->root);
	free(d);
}

int et_daemon_run(const char *config_path)
{
	struct et_error error = { 0 };
	struct et_daemon *d = calloc(1, sizeof(*d));

	if (d == NULL) {
		return 1;
	}
	if (daemon_read_config(config_path, &d->config, &d->settings, &error) < 0) {
		(void)et_fail_next(&error, "correct it, then: evertape config check %s",
				   config_path);
		int code = report(&error);
		free(d);
		return code == 1 ? 2 : code;
	}
	et_log_set_level(d->config.log_level);
	(void)umask(077);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)snprintf(d->version, sizeof(d->version), "%s", ET_DAEMON_VERSION);
	int rc = et_harden_process(&error);
	if (rc == 0) {
		rc = uv_loop_init(&d->loop);
		et_assert(rc == 0);
		et_info("daemon.starting", "version=%s config=%s", d->version, d->config.file);
		rc = start_all(d, &error);
	}
	if (rc == 0) {
		rc = tell_manager(d, &error);
	}
	if (rc < 0) {
		int code = report(&error);
		if (d->second.data == NULL) { /* Not even the loop's handles are there. */
			return code;
		}
		daemon_stop(d, code);
	}
	(void)uv_run(&d->loop, UV_RUN_DEFAULT);
	et_assert(uv_loop_close(&d->loop) == 0); /* Nothing is left open. */
	int code = d->exit_code;
	daemon_free(d);
	et_info("daemon.stopped", "exit=%d", code);
	return code;
}

int et_daemon_check(const char *config_path)
{
	struct et_config *config = calloc(1, sizeof(*config));
	struct et_error error = { 0 };
	int rc = config != NULL ? et_config_load(config_path, config, &error) : -ENOMEM;

	free(config);
	if (rc < 0) {
		(void)fprintf(stderr, "%s\n", error.text);
		return rc == ET_EMALFORMED ? 2 : et_exit_code(rc);
	}
	return 0;
}
