/* What the service manager is told: ready, stopping, and that the main loop still turns.
 *
 * Under systemd (Type=notify, WatchdogSec=) these reach it by sd_notify(3); without a manager
 * ($NOTIFY_SOCKET is not set) every function does nothing. The sign of life is given by a timer on
 * the loop and by nothing else: a loop that is stuck gives none, and the manager kills and starts
 * the process again.
 *
 * Threads: the main loop's. */
#ifndef ET_NODE_DAEMON_NOTIFY_H
#define ET_NODE_DAEMON_NOTIFY_H

#include <stdbool.h>

#include <uv.h>

#include "node/base/defs.h"
#include "node/base/err.h"

/* Embedded by the caller, zeroed at first; private. */
struct et_notify {
	uv_timer_t timer;
	bool watching; /* the timer is initialised */
};

/* The process serves now. Later calls only change the status line. */
void et_notify_ready(const char *fmt, ...) ET_PRINTF(1, 2);
/* One line for `systemctl status`. */
void et_notify_status(const char *fmt, ...) ET_PRINTF(1, 2);
/* The process has begun to go down. */
void et_notify_stopping(void);

/* Give a sign of life four times in each interval that the manager asks for ($WATCHDOG_USEC, meant
 * for this process: $WATCHDOG_PID). Nobody asks: 0, and nothing is done. The timer does not keep
 * the loop alive. */
int et_notify_watch_start(struct et_notify *notify, uv_loop_t *loop) ET_MUST_CHECK;
/* Ends that; the loop must run once more before `notify` goes. Safe without a start. */
void et_notify_watch_stop(struct et_notify *notify);

#endif
