/* Retention: how long a recording must stay, when it has to go, and what keeps it from being
 * erased. Pure but for the holds: the same answer for the same catalogue and the same cluster time,
 * in apply and wherever a plan is made. */
#include <stdio.h>

#include "node/io/clock.h"
#include "raft/state/state_internal.h"

static bool text_is(const char *pattern, const char *text)
{
	size_t size = strlen(pattern);

	if (size > 0 && pattern[size - 1] == '*') {
		return strncmp(pattern, text, size - 1) == 0;
	}
	return strcmp(pattern, text) == 0;
}

static bool one_is(char *const *list, size_t count, const char *text)
{
	for (size_t i = 0; i < count; i++) {
		if (text_is(list[i], text)) {
			return true;
		}
	}
	return count == 0;
}

static bool rule_selects(const Et__RetentionRule *rule, const Et__Recording *r)
{
	bool number = rule->n_numbers == 0;

	for (size_t i = 0; i < rule->n_numbers && !number; i++) {
		number = state_number_fits(rule->numbers[i], r);
	}
	return number && one_is(rule->sites, rule->n_sites, r->site) &&
	       one_is(rule->directions, rule->n_directions, r->direction) &&
	       one_is(rule->recorded_by, rule->n_recorded_by, r->rule) &&
	       r->end_us - r->start_us >= rule->min_duration_us;
}

/* The recorder's clock may be wrong by years: what the catalogue saw counts, if it is later. */
static int64_t retention_since(const Et__Recording *r)
{
	int64_t since = r->end_us > r->start_us ? r->end_us : r->start_us;

	return r->ended_us > since ? r->ended_us : since;
}

void et_state_retention(const Et__Policy *policy, const Et__Recording *r,
			struct et_state_retention *ret)
{
	int64_t keep_us = 0;
	int64_t erase_us = 0;

	*ret = (struct et_state_retention){ .since_us = retention_since(r) };
	for (size_t i = 0; policy != NULL && i < policy->n_retention; i++) {
		const Et__RetentionRule *rule = policy->retention[i];
		if (!rule_selects(rule, r)) {
			continue;
		}
		if (rule->keep_us > keep_us) {
			keep_us = rule->keep_us;
			ret->keep_rule = rule->name;
		}
		if (rule->erase_after_us > erase_us) {
			erase_us = rule->erase_after_us;
			ret->erase_rule = rule->name;
		}
	}
	ret->keep_until_us = keep_us > 0 ? ret->since_us + keep_us : 0;
	if (erase_us > 0) {
		ret->erase_at_us = ret->since_us + (keep_us > erase_us ? keep_us : erase_us);
	}
}

static int hold_names(void *arg, const Et__Hold *h)
{
	struct et_state_exemption *e = arg;

	e->why = ET_EXEMPT_HOLD;
	(void)snprintf(e->text, sizeof(e->text), "a hold stands: '%.120s'", h->matter);
	return 1;
}

static int exempt(struct et_state_exemption *e, enum et_state_exempt why, const char *text)
{
	e->why = why;
	(void)snprintf(e->text, sizeof(e->text), "%s", text);
	return 0;
}

int et_state_exempt(const struct et_state_view *v, const Et__Policy *policy, const Et__Recording *r,
		    int64_t cluster_time_us, struct et_state_exemption *ret)
{
	struct et_state_retention retention;
	char until[ET_TIME_TEXT_SIZE];

	*ret = (struct et_state_exemption){ .why = ET_EXEMPT_NOT };
	if (r->state == ET__RECORDING_STATE__ERASED) {
		return exempt(ret, ET_EXEMPT_ERASED, "erased already");
	}
	if (r->state == ET__RECORDING_STATE__CAPTURING) {
		return exempt(ret, ET_EXEMPT_CAPTURING, "the recording is still being made");
	}
	int rc = et_state_each_hold_over(v, r, hold_names, ret);
	if (rc != 0) {
		return rc < 0 ? rc : 0;
	}
	et_state_retention(policy, r, &retention);
	if (retention.keep_until_us > cluster_time_us) {
		et_time_format(retention.keep_until_us, until);
		ret->why = ET_EXEMPT_RETENTION;
		ret->until_us = retention.keep_until_us;
		(void)snprintf(ret->text, sizeof(ret->text),
			       "retention rule '%.63s' keeps it until %s", retention.keep_rule,
			       until);
	}
	return 0;
}

struct due {
	const Et__Policy *policy;
	int64_t now_us;
	uint32_t left;
	bool more;
	uint8_t *at;
	int (*fn)(void *arg, const Et__Recording *record);
	void *arg;
};

static int due_each(void *arg, struct et_view key, struct et_view value)
{
	struct due *d = arg;
	ET_CLEANUP(message_freep) Et__Recording *r = NULL;
	struct et_state_retention retention;

	if (key.size != 16) {
		return ET_ECORRUPT;
	}
	if (memcmp(key.data, d->at, 16) == 0) {
		return 0; /* where the last look ended */
	}
	if (d->left == 0) {
		d->more = true;
		return 1;
	}
	r = et__recording__unpack(NULL, value.size, value.data);
	if (r == NULL) {
		return ET_ECORRUPT;
	}
	d->left--;
	if (r->state != ET__RECORDING_STATE__ERASED) {
		et_state_retention(d->policy, r, &retention);
		if (retention.erase_at_us != 0 && retention.erase_at_us <= d->now_us) {
			int rc = d->fn(d->arg, r);
			if (rc != 0) {
				return rc;
			}
		}
	}
	memcpy(d->at, key.data, 16);
	return 0;
}

int et_state_each_due(const struct et_state_view *v, const Et__Policy *policy,
		      int64_t cluster_time_us, uint8_t at[16], uint32_t most,
		      int (*fn)(void *arg, const Et__Recording *record), void *arg, bool *ret_more)
{
	struct due d = { policy, cluster_time_us, most, false, at, fn, arg };
	struct key all = { 0 };
	struct key from = key_of(at, 16);

	int rc = view_walk(v, CF_RECORDING, &all, &from, due_each, &d);
	*ret_more = d.more || rc > 0;
	return d.more ? 0 : rc;
}
