/* Reading again what an operator wrote, while the node runs: off the loop, for a disk may take its
 * time; what comes of it is put into force on the loop.
 *
 *   SIGHUP ─▶ worker: the configuration ─▶ loop: what can change is in force, the rest is told ─▶
 *   worker: the operator's certificate for HTTPS ─▶ loop: it is shown
 *
 * What SIPREC clients are shown over TLS, and must show, is read with the configuration.
 *
 * A file that does not read changes nothing. Another SIGHUP meanwhile: all of it once more.
 *
 * Threads: the loop; what reads is named work_*(). */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "node/base/log.h"
#include "node/daemon/daemon_internal.h"
#include "node/io/clock.h"
#include "node/tls/server.h"

int daemon_read_config(const char *path, struct et_config *config, struct daemon_settings *ret,
		       struct et_error *reterr)
{
	struct stat st = { 0 };

	ret->read_us = et_clock_now_us();
	(void)stat(path, &st); /* before: a change while it is read is one since then */
	ret->file = st.st_mtim;
	return et_config_load_settings(path, config, &ret->list, reterr);
}

/* ---- The operator's certificate ---- */

struct certificate {
	struct et_daemon *d;
	uv_work_t work;
	struct et_api_certificate *loaded; /* owned */
	int64_t not_after_us;
	int code;
	struct et_error error;
	daemon_certificate_fn *fn;
	void *arg;
};

/* Where the files are is of the start: it never changes. */
static void work_certificate(uv_work_t *work)
{
	struct certificate *c = work->data;
	const struct et_config *config = &c->d->config;

	c->code = et_api_certificate_load(config->tls.api_certificate, config->tls.api_key,
					  &c->loaded, &c->not_after_us, &c->error);
}

static void certificate_done(uv_work_t *work, int status)
{
	struct certificate *c = work->data;
	int code = status < 0 ? status : c->code;

	if (code == 0 && c->d->api != NULL) {
		et_api_set_certificate(c->d->api, ET_TAKE(c->loaded));
	}
	(void)et_api_certificate_free(c->loaded);
	c->fn(c->arg, code, c->not_after_us, c->error.text);
	free(c);
}

void daemon_read_certificate(struct et_daemon *d, daemon_certificate_fn *fn, void *arg)
{
	struct certificate *c;

	if (d->api == NULL || d->config.tls.api_certificate[0] == '\0') {
		fn(arg, ET_ENOTFOUND, 0, "");
		return;
	}
	c = calloc(1, sizeof(*c));
	if (c == NULL) {
		fn(arg, -ENOMEM, 0, et_strerror(-ENOMEM));
		return;
	}
	*c = (struct certificate){ .d = d, .work.data = c, .fn = fn, .arg = arg };
	int rc = uv_queue_work(&d->loop, &c->work, work_certificate, certificate_done);
	et_assert(rc == 0); /* it can only be called wrongly */
}

/* ---- The configuration ---- */

struct reload {
	struct et_daemon *d;
	uv_work_t work;
	struct et_config config;
	struct daemon_settings settings;
	int code;
	struct et_error error;
	struct et_tls_server *siprec; /* owned */
	int siprec_code;
	struct et_error siprec_error;
};

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

static void reload_apply(struct et_daemon *d, const struct et_config *fresh,
			 const struct daemon_settings *read)
{
	ET_CLEANUP(et_json_freep) json_t *before = d->settings.list;
	ET_CLEANUP(et_json_freep) json_t *changes = et_config_diff(before, read->list);

	changes_log(changes);
	d->config.log_level = fresh->log_level;
	d->config.limits.sync_rate_bytes = fresh->limits.sync_rate_bytes;
	et_log_set_level(d->config.log_level);
	daemon_set_rates(d);
	d->settings = *read;
	d->settings.list = settings_merge(before, read->list);
}

static void reload_end(struct et_daemon *d)
{
	d->reloading = false;
	if (d->reload_again) {
		d->reload_again = false;
		daemon_reload(d);
	}
}

static void on_certificate(void *arg, int code, int64_t not_after_us, const char *why)
{
	struct et_daemon *d = arg;
	char quoted[560];

	if (code == 0) {
		et_info("api.certificate", "not_after_us=%lld", (long long)not_after_us);
	} else if (code != ET_ENOTFOUND) {
		et_err("api.certificate",
		       "error=%s next=\"the one before stays; systemctl reload "
		       "evertaped when it is mended\"",
		       et_log_quote(why, quoted, sizeof(quoted)));
	}
	et_info("config.read", "file=%s", d->config.file);
	reload_end(d);
}

static void work_reload(uv_work_t *work)
{
	struct reload *r = work->data;

	/* Where the files are is of the start: it never changes. */
	const struct et_config_siprec *s = &r->d->config.siprec;

	r->code = daemon_read_config(r->d->config.file, &r->config, &r->settings, &r->error);
	if (r->code == 0 && s->certificate[0] != '\0') {
		r->siprec_code = et_tls_server_new(s->certificate, s->key,
						   s->client_ca[0] != '\0' ? s->client_ca : NULL,
						   &r->siprec, &r->siprec_error);
	}
}

static void siprec_take(struct et_daemon *d, struct reload *r)
{
	char quoted[560];

	if (r->siprec_code < 0) {
		et_err("siprec.certificate",
		       "error=%s next=\"the one before stays; systemctl reload "
		       "evertaped when it is mended\"",
		       et_log_quote(r->siprec_error.text, quoted, sizeof(quoted)));
	} else if (r->siprec != NULL && d->capture != NULL) {
		et_capture_set_tls(d->capture, ET_TAKE(r->siprec));
		et_info("siprec.certificate", "file=%s", d->config.siprec.certificate);
	}
}

static void reload_done(uv_work_t *work, int status)
{
	struct reload *r = work->data;
	struct et_daemon *d = r->d;
	bool good = status == 0 && r->code == 0 && d->phase != DAEMON_STOPPING;
	char quoted[560];

	if (good) {
		reload_apply(d, &r->config, &r->settings);
		siprec_take(d, r);
	} else if (r->code < 0) {
		et_err("config.refused", "error=%s next=\"evertape config check %s\"",
		       et_log_quote(r->error.text, quoted, sizeof(quoted)), d->config.file);
	}
	json_decref(r->settings.list);
	(void)et_tls_server_free(r->siprec);
	free(r);
	if (good) {
		daemon_read_certificate(d, on_certificate, d);
	} else {
		reload_end(d);
	}
}

void daemon_reload(struct et_daemon *d)
{
	if (d->phase == DAEMON_STOPPING) {
		return;
	}
	if (d->reloading) {
		d->reload_again = true;
		return;
	}
	struct reload *r = calloc(1, sizeof(*r));
	if (r == NULL) {
		et_err("config.refused", "error=\"%s\" next=\"systemctl reload evertaped\"",
		       et_strerror(-ENOMEM));
		return;
	}
	r->d = d;
	r->work.data = r;
	d->reloading = true;
	int rc = uv_queue_work(&d->loop, &r->work, work_reload, reload_done);
	et_assert(rc == 0); /* it can only be called wrongly */
}
