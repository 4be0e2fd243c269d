/* SIGHUP: the configuration is read again. What can change while the node runs comes into force;
 * of the rest the log says that it waits for a restart. A file that does not read changes nothing.
 *
 * Threads: the loop. Reads a small file. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "node/base/log.h"
#include "node/daemon/daemon_internal.h"
#include "node/io/clock.h"

/* The settings that are in force from now on: the live ones of `fresh`, the others as they were. */
static json_t *settings_merge(const json_t *old, const json_t *fresh)
{
	json_t *list = json_array();
	size_t i;
	json_t *o;

	json_array_foreach((json_t *)(uintptr_t)old, i, o)
	{
		const char *key = et_json_get_text(o, "key", "");
		const json_t *new = et_config_is_live(key) ? et_config_setting(fresh, key) : NULL;
		et_json_add(list, json_incref(new != NULL ? (json_t *)(uintptr_t) new : o));
	}
	return list;
}

static void changes_log(const json_t *changes)
{
	size_t i;
	json_t *o;

	json_array_foreach((json_t *)(uintptr_t)changes, i, o)
	{
		const char *key = et_json_get_text(o, "key", "");
		if (et_config_is_live(key)) {
			et_info("config.changed", "key=%s", key);
		} else {
			et_warn("config.waits", "key=%s next=\"systemctl restart evertaped\"", key);
		}
	}
}

static void certificate_reload(struct et_daemon *d)
{
	struct et_error e = { 0 };
	char quoted[560];
	int64_t not_after_us = 0;
	int rc = d->api != NULL ? et_api_reload_certificate(d->api, &not_after_us, &e)
				: ET_ENOTFOUND;

	if (rc < 0 && rc != ET_ENOTFOUND) {
		et_err("api.certificate", "error=%s", et_log_quote(e.text, quoted, sizeof(quoted)));
	} else if (rc == 0) {
		et_info("api.certificate", "not_after_us=%lld", (long long)not_after_us);
	}
}

void daemon_reload(struct et_daemon *d)
{
	struct et_config *fresh = calloc(1, sizeof(*fresh));
	ET_CLEANUP(et_json_freep) json_t *settings = NULL;
	struct et_error e = { 0 };
	char quoted[560];
	struct stat st;

	if (fresh == NULL || d->phase == DAEMON_STOPPING) {
		free(fresh);
		return;
	}
	if (et_config_load_settings(d->config.file, fresh, &settings, &e) < 0) {
		et_err("config.refused", "error=%s next=\"evertape config check %s\"",
		       et_log_quote(e.text, quoted, sizeof(quoted)), d->config.file);
		free(fresh);
		return;
	}
	ET_CLEANUP(et_json_freep) json_t *changes = et_config_diff(d->settings, settings);
	changes_log(changes);
	d->config.log_level = fresh->log_level;
	d->config.limits.sync_rate_bytes = fresh->limits.sync_rate_bytes;
	free(fresh);
	et_log_set_level(d->config.log_level);
	daemon_set_rates(d);
	json_t *merged = settings_merge(d->settings, settings);
	json_decref(d->settings);
	d->settings = merged;
	if (stat(d->config.file, &st) == 0) {
		d->settings_file = st.st_mtim;
	}
	certificate_reload(d);
	et_info("config.read", "file=%s", d->config.file);
}
