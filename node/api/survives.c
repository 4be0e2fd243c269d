#include "node/api/survives_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "node/base/defs.h"

#define NAMED_MAX 4 /* nodes or sites that a sentence names one by one */

/* ---- Sets ---- */

static bool set_is_within(const struct survive_set *inner, const struct survive_set *outer)
{
	uint64_t outside = 0;

	for (size_t i = 0; i < ET_ARRAY_SIZE(inner->bits); i++) {
		outside |= inner->bits[i] & ~outer->bits[i];
	}
	return outside == 0;
}

/* ---- One loss ---- */

/* What is lost, and what does not answer anyway. */
static struct survive_set gone_with(const struct survive_view *v, const struct survive_set *lost)
{
	struct survive_set gone = *lost;

	for (size_t i = 0; i < v->node_count; i++) {
		if (!v->nodes[i].answers) {
			survive_set_add(&gone, i);
		}
	}
	return gone;
}

/* Did all that was sealed after the count get to a site that is left whole? It is not known who
 * recorded it. */
static bool newer_are_safe(const struct survive_view *v, const struct survive_set *gone)
{
	bool touched = false;

	for (size_t i = 0; i < v->node_count; i++) {
		touched = touched || (v->nodes[i].stores && survive_set_has(gone, i));
	}
	if (v->newer == 0 || !touched) {
		return true;
	}
	for (size_t s = 0; v->pending_known && s < v->site_count; s++) {
		bool whole = v->sites[s].pending == 0;
		bool stores = false;
		for (size_t i = 0; i < v->node_count; i++) {
			const struct survive_node *n = &v->nodes[i];
			if (n->stores && strcmp(n->site, v->sites[s].name) == 0) {
				stores = true;
				whole = whole && !survive_set_has(gone, i);
			}
		}
		if (whole && stores) {
			return true;
		}
	}
	return false;
}

void survive_judge(const struct survive_view *v, const struct survive_set *lost,
		   struct survive_verdict *ret)
{
	const struct survive_set gone = gone_with(v, lost);
	uint64_t opens = 0;

	*ret = (struct survive_verdict){ .keys = true, .copies_known = v->copies_known };
	for (size_t i = 0; i < v->node_count; i++) {
		const struct survive_node *n = &v->nodes[i];
		ret->voters += n->votes;
		ret->live_calls += survive_set_has(lost, i) ? n->live_calls : 0;
		if (!survive_set_has(&gone, i)) {
			ret->voters_up += n->votes;
			opens |= n->opens;
		}
	}
	ret->votes = ret->voters_up >= ret->voters / 2 + 1;
	for (size_t i = 0; i < v->secret_count && ret->keys; i++) {
		if ((opens >> i & 1) == 0) {
			ret->keys = false;
			(void)snprintf(ret->secret, sizeof(ret->secret), "%s", v->secrets[i]);
		}
	}
	for (size_t i = 0; i < v->place_count; i++) {
		if (set_is_within(&v->places[i].at, &gone)) {
			ret->segments += v->places[i].segments;
		}
	}
	ret->newer = newer_are_safe(v, &gone) ? 0 : v->newer;
	ret->copies = v->copies_known && ret->segments + ret->newer == 0;
}

bool survive_is_survived(const struct survive_verdict *d)
{
	return d->votes && d->keys && d->copies;
}

/* ---- In words ---- */

static void ET_PRINTF(2, 3) why_add(char why[SURVIVE_WHY_SIZE], const char *fmt, ...)
{
	size_t used = strlen(why);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why + used, SURVIVE_WHY_SIZE - used, fmt, ap);
	va_end(ap);
}

/* What does not hold, after `why`. */
static void why_not(const struct survive_verdict *d, char why[SURVIVE_WHY_SIZE])
{
	const char *comma = "";

	if (!d->votes) {
		why_add(why, "votes (%u of %u would be left, %u are needed)", d->voters_up,
			d->voters, d->voters / 2 + 1);
		comma = ", ";
	}
	if (!d->keys) {
		why_add(why, "%skeys (nobody left could open %s)", comma, d->secret);
		comma = ", ";
	}
	if (!d->copies && d->segments > 0) {
		why_add(why, "%scopies (%" PRIu64 " segments are nowhere else)", comma,
			d->segments);
	} else if (!d->copies && d->copies_known) {
		why_add(why, "%scopies (%" PRIu64 " new segments may be nowhere else yet)", comma,
			d->newer);
	} else if (!d->copies) {
		why_add(why, "%scopies (they are not counted yet)", comma);
	}
}

static void why_holds(const struct survive_verdict *d, char why[SURVIVE_WHY_SIZE])
{
	why_add(why,
		"%u of %u votes would be left, %u are needed; keys and sealed segments are "
		"elsewhere too",
		d->voters_up, d->voters, d->voters / 2 + 1);
	if (d->live_calls > 0) {
		why_add(why, "; but what %u live calls have not sealed yet is lost", d->live_calls);
	}
}

/* Nothing is survived by what does not even hold. */
static bool broken_already(const struct survive_view *v, char why[SURVIVE_WHY_SIZE])
{
	static const struct survive_set nothing;
	struct survive_verdict d;

	survive_judge(v, &nothing, &d);
	if (!d.votes) {
		why_add(why, "there is no majority now: %u of %u voters answer, %u are needed",
			d.voters_up, d.voters, d.voters / 2 + 1);
	} else if (!d.keys) {
		why_add(why, "nobody who answers can open %s now", d.secret);
	} else if (d.segments > 0) {
		why_add(why,
			"%" PRIu64 " segments are at no machine that answers, as far as is "
			"known",
			d.segments);
	} else {
		return false;
	}
	return true;
}

/* ---- Any one of several ---- */

struct any {
	struct survive_loss *out;
	size_t judged;
	size_t failed;
	struct survive_verdict worst; /* of those that are survived: the fewest votes */
};

static void any_add(struct any *a, const char *name, const struct survive_verdict *d)
{
	struct survive_loss *out = a->out;
	uint32_t live = a->worst.live_calls;

	a->judged++;
	out->votes = out->votes && d->votes;
	out->keys = out->keys && d->keys;
	out->copies = out->copies && d->copies;
	if (survive_is_survived(d)) {
		if (a->judged - a->failed == 1 || d->voters_up < a->worst.voters_up) {
			a->worst = *d;
		}
		a->worst.live_calls = live > d->live_calls ? live : d->live_calls;
		return;
	}
	if (a->failed++ < NAMED_MAX) {
		why_add(out->why, "%s%s: ", a->failed > 1 ? "; not " : "not ", name);
		why_not(d, out->why);
	}
}

static void any_end(struct any *a, const char *loss, const char *alone)
{
	struct survive_loss *out = a->out;

	(void)snprintf(out->loss, sizeof(out->loss), "%s", loss);
	if (a->judged < 2) {
		out->why[0] = '\0';
		why_add(out->why, "%s", alone);
		out->survives = false;
		return;
	}
	out->survives = a->failed == 0;
	if (a->failed > NAMED_MAX) {
		why_add(out->why, "; and %zu more", a->failed - NAMED_MAX);
	} else if (a->failed == 0) {
		why_holds(&a->worst, out->why);
	}
}

static void loss_begin(struct survive_loss *l)
{
	*l = (struct survive_loss){ .votes = true, .keys = true, .copies = true };
}

/* ---- All of them ---- */

static bool site_is_first(const struct survive_view *v, size_t i)
{
	for (size_t j = 0; j < i; j++) {
		if (strcmp(v->nodes[j].site, v->nodes[i].site) == 0) {
			return false;
		}
	}
	return true;
}

static struct survive_set site_set(const struct survive_view *v, const char *site)
{
	struct survive_set set = { 0 };

	for (size_t i = 0; i < v->node_count; i++) {
		if (strcmp(v->nodes[i].site, site) == 0) {
			survive_set_add(&set, i);
		}
	}
	return set;
}

static void site_loss(const char *name, const struct survive_verdict *d, struct survive_loss *ret)
{
	loss_begin(ret);
	(void)snprintf(ret->loss, sizeof(ret->loss), "site %s", name);
	ret->votes = d->votes;
	ret->keys = d->keys;
	ret->copies = d->copies;
	ret->survives = survive_is_survived(d);
	if (ret->survives) {
		why_holds(d, ret->why);
	} else {
		why_not(d, ret->why);
	}
}

size_t survive_losses(const struct survive_view *v, struct survive_loss *ret, size_t max)
{
	struct survive_verdict d;
	struct any nodes = { .out = &ret[0] };
	struct any sites = { .out = &ret[1] };
	size_t count = 2;

	et_assert(max >= 2);
	loss_begin(&ret[0]);
	loss_begin(&ret[1]);
	for (size_t i = 0; i < v->node_count; i++) {
		struct survive_set one = { 0 };
		survive_set_add(&one, i);
		survive_judge(v, &one, &d);
		any_add(&nodes, v->nodes[i].name, &d);
	}
	for (size_t i = 0; i < v->node_count; i++) {
		if (!site_is_first(v, i)) {
			continue;
		}
		const char *name = v->nodes[i].site;
		const struct survive_set set = site_set(v, name);
		survive_judge(v, &set, &d);
		any_add(&sites, name, &d);
		if (count < max) {
			site_loss(name, &d, &ret[count++]);
		}
	}
	any_end(&nodes, "any one node", "there is one node only");
	any_end(&sites, "any one site", "there is one site only");
	char why[SURVIVE_WHY_SIZE] = "";
	if (broken_already(v, why)) {
		for (size_t i = 0; i < count; i++) {
			ret[i].survives = false;
			memcpy(ret[i].why, why, sizeof(why));
		}
	}
	return count;
}
