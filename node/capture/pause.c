/* Pausing a recording: what arrives meanwhile is counted and goes nowhere.
 *
 * A pause is a span of packet time, [from, to): whatever arrived in it is dropped, however late its
 * turn comes, and what arrived outside is kept. It is one of the recording's gaps ("paused"; `to`
 * is 0 while it goes on), which is how the writer, the catalogue and the call table know of it; the
 * writer marks the tape. Streams count on (sequence numbers, and with them the packet index of
 * SRTP, go on through a pause); packets of the pause are not among a stream's packets, nor are they
 * lost.
 *
 * Of SIP, only what makes the dialog is kept meanwhile: an INFO may carry digits. */
#include <stdio.h>

#include "node/capture/engine_internal.h"

#define PAUSE_DEFAULT_US (900 * 1000000LL)

const char *const et_gap_paused = "paused";

static struct et_capture_gap *gap_of(struct et_call *c)
{
	for (uint32_t i = c->facts.gap_count; i-- > 0;) {
		struct et_capture_gap *g = &c->facts.gaps[i];
		if (g->from_us == c->pause.from_us && g->cause == et_gap_paused) {
			return g;
		}
	}
	return NULL;
}

bool et_call_is_paused(const struct et_call *c)
{
	return c->pause.from_us != 0 && c->pause.to_us == 0;
}

static void tell(struct et_engine *e, struct et_call *c)
{
	c->dirty = true;
	c->updated_us = 0; /* if there is no room now: at the next sweep */
	e->table_changed = true;
	et_call_update(e, c);
}

void et_call_pause_begin(struct et_engine *e, struct et_call *c, int64_t at_us, const char *cause,
			 int64_t max_us)
{
	int64_t limit_us = e->limits.max_pause_s != 0 ? (int64_t)e->limits.max_pause_s * 1000000
						      : PAUSE_DEFAULT_US;

	et_tones_flush_call(e, c); /* it came before */
	c->pause = (struct et_pause){ .from_us = at_us, .packets = c->pause.packets };
	c->pause.until_us = at_us + (max_us > 0 && max_us < limit_us ? max_us : limit_us);
	(void)snprintf(c->facts.pause_cause, sizeof(c->facts.pause_cause), "%s", cause);
	if (c->facts.gap_count == ET_CAPTURE_GAPS_MAX) {
		(void)snprintf(c->facts.problem, sizeof(c->facts.problem),
			       "there are more pauses than are listed");
		c->facts.problem_srtp = false;
	}
	et_facts_gap(&c->facts, c->pause.from_us, 0, et_gap_paused);
	tell(e, c);
}

void et_call_pause_end(struct et_engine *e, struct et_call *c, int64_t at_us)
{
	struct et_capture_gap *g = gap_of(c);
	c->pause.to_us = at_us > c->pause.from_us ? at_us : c->pause.from_us;
	if (g != NULL) {
		g->to_us = c->pause.to_us;
	}
	tell(e, c);
}

void et_call_pause_sweep(struct et_engine *e, struct et_call *c)
{
	if (et_call_is_paused(c) && e->now_us >= c->pause.until_us) {
		et_call_pause_end(e, c, c->pause.until_us);
	}
}

bool et_call_drops(struct et_engine *e, struct et_call *c, int64_t time_us)
{
	if (c->pause.from_us == 0) {
		return false;
	}
	if (et_call_is_paused(c) && time_us >= c->pause.until_us) {
		et_call_pause_end(e, c, c->pause.until_us);
	}
	if (time_us >= c->pause.from_us) {
		return c->pause.to_us == 0 || time_us < c->pause.to_us;
	}
	for (uint32_t i = 0; i < c->facts.gap_count; i++) { /* an earlier one, read late */
		const struct et_capture_gap *g = &c->facts.gaps[i];
		if (g->cause == et_gap_paused && time_us >= g->from_us && time_us < g->to_us) {
			return true;
		}
	}
	return false;
}

bool et_call_keeps_message(struct et_engine *e, struct et_call *c, int64_t time_us,
			   enum et_sip_method method)
{
	switch (method) {
	case ET_SIP_INVITE:
	case ET_SIP_ACK:
	case ET_SIP_BYE:
	case ET_SIP_CANCEL:
	case ET_SIP_PRACK:
	case ET_SIP_UPDATE:
		return true;
	case ET_SIP_UNKNOWN:
	case ET_SIP_OPTIONS:
	case ET_SIP_REGISTER:
	case ET_SIP_INFO:
	case ET_SIP_REFER:
	case ET_SIP_NOTIFY:
	case ET_SIP_SUBSCRIBE:
	case ET_SIP_MESSAGE:
	case ET_SIP_PUBLISH:
	default:
		return !et_call_drops(e, c, time_us);
	}
}

int et_engine_pause(struct et_engine *e, const uint8_t recording[16], bool pause, const char *cause,
		    int64_t max_us, struct et_capture_pause *ret)
{
	struct et_call *c = et_call_of(e, recording);
	if (c == NULL || (!c->opened && !c->restored)) {
		return ET_ENOTFOUND;
	}
	et_call_pause_sweep(e, c);
	bool changed = et_call_is_paused(c) != pause;
	if (changed && pause) {
		et_call_pause_begin(e, c, e->now_us, cause, max_us);
	} else if (changed) {
		et_call_pause_end(e, c, e->now_us);
	}
	*ret = (struct et_capture_pause){
		.paused = pause,
		.changed = changed,
		.from_us = c->pause.from_us,
		.to_us = c->pause.to_us,
		.until_us = pause ? c->pause.until_us : 0,
		.packets = c->pause.packets,
	};
	return 0;
}
