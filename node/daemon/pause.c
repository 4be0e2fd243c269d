/* Pausing what this node records, for the API.
 *
 * Threads: daemon_pause() on API workers, which have ended before capture is stopped (stop.c). */
#include <stdio.h>

#include "node/daemon/daemon_internal.h"

struct find {
	struct et_daemon *daemon;
	struct et_capture *capture;
};

static void find_on_loop(void *arg)
{
	struct find *f = arg;

	f->capture = f->daemon->capture;
}

int daemon_pause(void *arg, const struct et_api_pause *request, struct et_api_paused *ret,
		 struct et_error *reterr)
{
	struct find f = { .daemon = arg };
	struct et_capture_pause p = { 0 };
	char cause[ET_CAPTURE_CAUSE_MAX];

	int rc = daemon_on_loop(arg, find_on_loop, &f);
	if (rc < 0 || f.capture == NULL) {
		return et_fail(reterr, rc < 0 ? rc : ET_ENOTFOUND, "this node records nothing");
	}
	(void)snprintf(cause, sizeof(cause), "%s: %s", request->principal, request->reason);
	rc = et_capture_pause(f.capture, request->recording, request->pause, cause, request->max_us,
			      &p, reterr);
	*ret = (struct et_api_paused){
		.paused = p.paused,
		.changed = p.changed,
		.from_us = p.from_us,
		.to_us = p.to_us,
		.until_us = p.until_us,
		.packets = p.packets,
	};
	return rc;
}
