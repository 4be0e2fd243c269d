/* Taking the process down: last started, first stopped, each step when the one before has ended.
 *
 * Capture goes first: it seals what is open, and its last commands reach the journal. What is not
 * committed by then is in the journal, for the next start. */
#include "node/base/log.h"
#include "node/daemon/daemon_internal.h"

static void stop_next(void *arg);

static void stop_capture(uv_work_t *work)
{
	struct et_daemon *d = work->data;
	d->stop_capture = et_capture_stop(d->stop_capture);
}

static void stop_mover(uv_work_t *work)
{
	struct et_daemon *d = work->data;
	d->stop_mover = et_mover_stop(d->stop_mover);
	et_retention_stop(d->retention);
	daemon_backup_stop(d);
	daemon_pitr_stop(d);
}

static void on_background(uv_work_t *work, int status)
{
	(void)status;
	stop_next(work->data);
}

/* These wait for threads that may wait for the loop: not on the loop. */
static bool stop_in_background(struct et_daemon *d, void (*stop)(uv_work_t *work))
{
	d->stop_work.data = d;
	return uv_queue_work(&d->loop, &d->stop_work, stop, on_background) == 0;
}

static void stop_loop(struct et_daemon *d)
{
	uv_close((uv_handle_t *)&d->sigterm, NULL);
	uv_close((uv_handle_t *)&d->sigint, NULL);
	uv_close((uv_handle_t *)&d->sighup, NULL);
	uv_close((uv_handle_t *)&d->second, NULL);
	et_notify_watch_stop(&d->notify);
	et_postbox_close(&d->postbox, NULL);
}

enum stop_step {
	STOP_API,
	STOP_CAPTURE,
	STOP_PROPOSER,
	STOP_MOVER,
	STOP_SYNC,
	STOP_KEEPER,
	STOP_CATALOG,
	STOP_TLS,
	STOP_LOOP,
};

/* Begin a step; true when it calls stop_next() itself, later. */
static bool stop_begin(struct et_daemon *d, enum stop_step step)
{
	switch (step) {
	case STOP_API:
		if (d->api != NULL) {
			struct et_api *api = d->api;
			d->api = NULL;
			et_api_stop(api, stop_next, d);
			return true;
		}
		return false;
	case STOP_CAPTURE: /* The loop runs on: status requests must not find it any more. */
		d->stop_capture = d->capture;
		d->capture = NULL;
		return stop_in_background(d, stop_capture);
	case STOP_PROPOSER:
		if (d->proposer != NULL) {
			struct et_proposer *p = d->proposer;
			d->proposer = NULL;
			et_proposer_stop(p, stop_next, d);
			return true;
		}
		return false;
	case STOP_MOVER: /* Entries are applied meanwhile: on_applied must not find it. */
		d->stop_mover = d->mover;
		d->mover = NULL;
		return stop_in_background(d, stop_mover);
	case STOP_SYNC:
		if (d->sync != NULL) {
			struct et_sync *s = d->sync;
			d->sync = NULL;
			et_sync_stop(s, stop_next, d);
			return true;
		}
		return false;
	case STOP_KEEPER:
		if (d->keeper != NULL) {
			struct et_keeper *k = d->keeper;
			d->keeper = NULL;
			et_keeper_stop(k, stop_next, d);
			return true;
		}
		return false;
	case STOP_CATALOG:
		if (d->members != NULL) {
			et_members_set_state(d->members, NULL);
		}
		if (d->catalog != NULL) {
			struct et_catalog *c = d->catalog;
			d->catalog = NULL;
			d->state = NULL;
			et_catalog_stop(c, stop_next, d);
			return true;
		}
		return false;
	case STOP_TLS:
		if (d->tls != NULL) {
			struct et_tls_node *t = d->tls;
			d->tls = NULL;
			et_tls_stop(t, stop_next, d);
			return true;
		}
		return false;
	case STOP_LOOP:
		stop_loop(d);
		return true;
	}
	et_unreachable();
}

static void stop_next(void *arg)
{
	struct et_daemon *d = arg;

	while (!stop_begin(d, (enum stop_step)d->stop_step++)) {
	}
}

void daemon_stop(struct et_daemon *d, int exit_code)
{
	if (d->phase == DAEMON_STOPPING) {
		return;
	}
	et_info("daemon.stopping", "exit=%d", exit_code);
	et_notify_stopping();
	d->phase = DAEMON_STOPPING;
	d->exit_code = exit_code;
	(void)uv_timer_stop(&d->second);
	stop_next(d);
}
