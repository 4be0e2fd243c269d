/* Keeping calls on demand of this node, for the API.
 *
 * Threads: daemon_keep() on API workers, which have ended before capture is stopped (stop.c). */
#include <stdio.h>

#include "node/daemon/daemon_internal.h"

struct find {
	struct et_daemon *daemon;
	const char *sip_call_id; /* NULL: `recording` is known */
	struct et_capture *capture;
	uint8_t recording[16];
	int64_t start_us; /* of what was found; 0: nothing */
};

/* Of those that have the Call-ID the one that began last. */
static void look(void *arg, const Et__Recording *r)
{
	struct find *f = arg;

	if (strcmp(r->sip_call_id, f->sip_call_id) == 0 && r->start_us > f->start_us) {
		f->start_us = r->start_us;
		memcpy(f->recording, r->id.data, 16);
	}
}

static void find_on_loop(void *arg)
{
	struct find *f = arg;

	f->capture = f->daemon->capture;
	if (f->sip_call_id != NULL) {
		et_live_each(&f->daemon->live, look, f);
	}
}

int daemon_keep(void *arg, const struct et_api_keep *request, struct et_api_kept *ret,
		struct et_error *reterr)
{
	struct find f = { .daemon = arg, .sip_call_id = request->sip_call_id };
	struct et_capture_kept k = { 0 };

	if (request->recording != NULL) {
		memcpy(f.recording, request->recording, 16);
	}
	int rc = daemon_on_loop(arg, find_on_loop, &f);
	if (rc < 0 || f.capture == NULL) {
		return et_fail(reterr, rc < 0 ? rc : ET_ENOTFOUND, "this node records nothing");
	}
	if (request->recording == NULL && f.start_us == 0) {
		return et_fail(reterr, ET_ENOTFOUND, "keep the call");
	}
	rc = et_capture_keep(f.capture, f.recording, request->principal, &k, reterr);
	memcpy(ret->recording, f.recording, 16);
	ret->changed = k.changed;
	ret->start_us = k.start_us;
	ret->from_us = k.from_us;
	ret->end_us = k.end_us;
	return rc;
}
