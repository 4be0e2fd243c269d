#include "node/daemon/notify.h"

#include <stdarg.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

#define STATUS_SIZE 256
#define SIGNS_PER_INTERVAL 4

/* A manager that cannot be told is no reason to stop recording: results are left alone. */
static void ET_PRINTF(2, 0) say(const char *before, const char *fmt, va_list ap)
{
	char status[STATUS_SIZE];

	(void)vsnprintf(status, sizeof(status), fmt, ap);
	(void)sd_notifyf(/* unset_environment= */ 0, "%sSTATUS=%s", before, status);
}

void et_notify_ready(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("READY=1\n", fmt, ap);
	va_end(ap);
}

void et_notify_status(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("", fmt, ap);
	va_end(ap);
}

void et_notify_stopping(void)
{
	(void)sd_notify(/* unset_environment= */ 0, "STOPPING=1");
}

static void on_timer(uv_timer_t *timer)
{
	(void)timer;
	(void)sd_notify(/* unset_environment= */ 0, "WATCHDOG=1");
}

int et_notify_watch_start(struct et_notify *notify, uv_loop_t *loop)
{
	uint64_t interval_us = 0;

	if (sd_watchdog_enabled(/* unset_environment= */ 0, &interval_us) <= 0) {
		return 0; /* Nobody asks, or not us. */
	}
	uint64_t every_ms = interval_us / 1000 / SIGNS_PER_INTERVAL;
	if (every_ms == 0) {
		every_ms = 1;
	}
	int rc = uv_timer_init(loop, &notify->timer);
	if (rc < 0) {
		return rc;
	}
	notify->watching = true;
	uv_unref((uv_handle_t *)&notify->timer);
	return uv_timer_start(&notify->timer, on_timer, 0, every_ms);
}

void et_notify_watch_stop(struct et_notify *notify)
{
	if (notify->watching) {
		notify->watching = false;
		uv_close((uv_handle_t *)&notify->timer, NULL);
	}
}
