/* Calls on demand: recorded into a ring, and kept when somebody says so.
 *
 *   its rule says on-demand ──▶ waiting ──keys, API──▶ kept: a recording as any other
 *                                  │  ▲                     ▲
 *                                  │  └── a restart: its ring is lost, and begins anew
 *                                  └──end──▶ (the writer has it, for `keep-for`) ──API──▶ kept
 *                                                    └──▶ its keys are wiped: nothing was recorded
 *
 * Happy path: who opens a call on demand gives the sink its ring's reach (facts.ring_us); the sink
 * (ring.c) tells nobody of the call. Keys of the rule, or et_engine_keep(), say who keeps it; from
 * then on the call is one that is recorded: its updates are told, its table says so, and a restart
 * goes on with it.
 *
 * Failures. The sink has no room for the word that it is kept: who asked is told so; what keys said
 * is said again at the next sweep. The sink cannot keep it (journal, disk): it tries again by
 * itself. The recorder is restarted before it was kept: the ring is lost, a new one begins, and the
 * call can still be kept; what was before is the gap "before-ring". A call that was never opened
 * (it rings) and is kept is recorded from its beginning.
 *
 * What keys cannot do: see press.c; `cannot_fire` says so. */
#include <stdio.h>

#include "node/capture/engine_internal.h"

const char *const et_gap_before = "before-ring";

bool et_call_is_waiting(const struct et_call *c)
{
	return c->facts.ring_us != 0;
}

void et_call_on_demand(struct et_call *c, const struct et_rule_ring *ring)
{
	c->facts.ring_us = ring != NULL ? ring->reach_us : 0;
	c->facts.keep_for_us = ring != NULL ? ring->keep_for_us : 0;
	c->keep_keys = ring != NULL && ring->keep[0] != '\0' ? ring : NULL;
}

/* From here on it is a recording. */
static void take(struct et_engine *e, struct et_call *c, const struct et_keep *keep)
{
	c->facts.ring_us = 0;
	memcpy(c->facts.kept, keep->who, sizeof(c->facts.kept));
	c->facts.kept_us = keep->at_us;
	c->keep_keys = NULL;
	c->keep_wanted = NULL;
	c->cannot_fire = c->cannot_fire && c->by_keys != NULL;
	c->dirty = true;
	c->updated_us = 0; /* if there is no room now: at the next sweep */
	e->table_changed = true;
	et_call_update(e, c);
}

static int tell(const struct et_engine *e, const struct et_keep *keep)
{
	return e->sink.keep != NULL ? e->sink.keep(e->sink.arg, keep) : 0;
}

static void keep_by_keys(struct et_engine *e, struct et_call *c, const char *who, int64_t at_us)
{
	struct et_keep keep = { .at_us = at_us };

	memcpy(keep.recording, c->facts.id, sizeof(keep.recording));
	(void)snprintf(keep.who, sizeof(keep.who), "%s", who);
	const bool known = c->restored ? et_call_open(e, c) : c->opened;
	const bool full = known ? tell(e, &keep) < 0 : c->restored;
	if (full) {
		c->keep_wanted = who;
		c->keep_wanted_us = at_us;
	} else {
		take(e, c, &keep);
	}
}

void et_call_keep_by_keys(struct et_engine *e, struct et_call *c, uint8_t side, int64_t at_us)
{
	if (et_call_is_waiting(c)) {
		keep_by_keys(e, c, side == 0 ? "keys of caller" : "keys of callee", at_us);
	}
}

void et_call_keep_sweep(struct et_engine *e, struct et_call *c)
{
	if (c->keep_wanted != NULL) {
		keep_by_keys(e, c, c->keep_wanted, c->keep_wanted_us);
	}
}

int et_engine_keep(struct et_engine *e, const struct et_keep *keep)
{
	struct et_call *c = et_call_of(e, keep->recording);

	if (c != NULL && c->decision != ET_DECISION_RECORD) {
		c = NULL;
	}
	if (c != NULL && c->restored && !et_call_open(e, c)) {
		return ET_ELIMIT; /* it goes on after a restart, and was told of then, or is now */
	}
	if (c != NULL && !c->opened) { /* the sink does not know it yet */
		keep->ask->result.changed = et_call_is_waiting(c);
		keep->ask->result.start_us = keep->ask->result.from_us = c->facts.start_us;
		if (keep->ask->result.changed) {
			take(e, c, keep);
		}
		return 1;
	}
	int rc = tell(e, keep);
	if (rc < 0) {
		return rc;
	}
	if (c != NULL && et_call_is_waiting(c)) {
		take(e, c, keep);
	}
	return 0;
}
