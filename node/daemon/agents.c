/* Who uses which number, from the catalogue to the recorder: rules may ask for an agent.
 *
 * A snapshot is made when capture starts, and within a second of each change. What it says of a
 * time is what the catalogue says of it; a call that began before somebody told it is not decided
 * about again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/log.h"
#include "node/daemon/daemon_internal.h"

struct roster {
	struct et_agent_claim *claims; /* owned */
	size_t count;
	size_t capacity;
	size_t left_out; /* texts that are too long */
};

static int claim_add(struct roster *r, const Et__Agent *a, const char *number, int64_t from_us,
		     int64_t to_us)
{
	if (strlen(number) > ET_AGENT_TEXT_MAX || strlen(a->id) > ET_AGENT_TEXT_MAX ||
	    strlen(a->team) > ET_AGENT_TEXT_MAX || r->count == ET_AGENTS_MAX) {
		r->left_out++;
		return 0;
	}
	if (r->count == r->capacity) {
		size_t capacity = r->capacity > 0 ? r->capacity * 2 : 64;
		struct et_agent_claim *p = realloc(r->claims, capacity * sizeof(*p));
		if (p == NULL) {
			return -ENOMEM;
		}
		r->claims = p;
		r->capacity = capacity;
	}
	struct et_agent_claim *c = &r->claims[r->count++];
	*c = (struct et_agent_claim){ .from_us = from_us, .to_us = to_us, .told = a->index };
	memcpy(c->number, number, strlen(number) + 1);
	memcpy(c->id, a->id, strlen(a->id) + 1);
	memcpy(c->team, a->team, strlen(a->team) + 1);
	return 0;
}

static int span_add(void *arg, const Et__Agent *a, int64_t from_us, int64_t to_us)
{
	int rc = 0;

	for (size_t i = 0; i < a->n_numbers && rc == 0; i++) {
		rc = claim_add(arg, a, a->numbers[i], from_us, to_us);
	}
	return rc;
}

static bool rules_ask(const struct et_rules *rules)
{
	for (uint32_t i = 0; i < rules->count; i++) {
		if (rules->rules[i].agent_count > 0) {
			return true;
		}
	}
	return false;
}

void daemon_tell_agents(struct et_daemon *d)
{
	struct roster r = { .claims = NULL };
	struct et_agents *agents = NULL;

	if (d->capture == NULL || !rules_ask(&d->config.rules)) {
		return;
	}
	struct et_state_view *v = et_state_view_open(d->state);
	int rc = v == NULL ? -ENOMEM : et_state_each_agent_span(v, span_add, &r);
	(void)et_state_view_close(v);
	rc = rc < 0 ? rc : et_agents_new(r.claims, r.count, &agents, NULL);
	free(r.claims);
	if (rc < 0) { /* what it had stays; the next second tries again */
		atomic_store(&d->agents_changed, true);
		et_warn("agents.failed", "code=%s", et_errname(rc));
		return;
	}
	et_info("agents.told", "numbers=%zu left_out=%zu", r.count, r.left_out);
	et_capture_set_agents(d->capture, agents);
}

void daemon_watch_agents(struct et_daemon *d)
{
	if (d->capture != NULL && atomic_exchange(&d->agents_changed, false)) {
		daemon_tell_agents(d);
	}
}
