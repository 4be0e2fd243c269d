/* Gates: how fast bytes may pass, by site, class and time of day.
 *
 *   policy `replication` ──worker──▶ limits ──each second──▶ gates ──tokens──▶ who sends, who
 * grants limits.sync-rate of this node ───────────────────────▶ base gates ─▲ where no limit
 * decides
 *
 * Happy path: PolicySet is applied -> read and parsed in a worker -> in force within a tick. The
 * destination holds a limit by granting credit no faster than its part of the rate (the rate by the
 * nodes of its site that take copies); a source, which may know of it earlier, sends no faster than
 * the whole rate. Tokens are taken when credit is granted and given back when it was not used, so
 * that many small segments pass no faster than a large one.
 *
 * Live tails and replays wait for nothing but a limit that names their class; they take tokens all
 * the same, ten seconds' worth at most, and the others make room.
 *
 * Until they were read once, what waits for limits comes from no other site.
 *
 * Possible failure modes are
 *   - the policy cannot be read here (a time zone that this machine does not have): the limits that
 *     were in force stay (after a start: none are), and the status says so;
 *   - the clock of this node is wrong: windows open at the wrong time. Nothing is lost by that.
 *
 * Windows follow this node's clock. Threads: sync thread; reading, in a worker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "replication/sync/sync_internal.h"

#define BURST_MIN (64 * 1024) /* bytes: a gate holds a quarter of a second, and at least this */
#define DEBT_S 10
#define JUDGE_US INT64_C(1000000)

/* ---- Tokens ---- */

static void gate_refill(struct gate *g, int64_t elapsed_us)
{
	if (!g->set || g->paused || g->rate == 0) {
		g->tokens = 0;
		return;
	}
	int64_t burst = (int64_t)(g->rate / 4) > BURST_MIN ? (int64_t)(g->rate / 4) : BURST_MIN;
	g->tokens += (int64_t)((double)g->rate * (double)elapsed_us / 1e6);
	g->tokens = g->tokens < burst ? g->tokens : burst;
}

static void gate_take(struct gate *g, int64_t bytes)
{
	if (g == NULL || g->rate == 0) {
		return;
	}
	int64_t debt = -(int64_t)g->rate * DEBT_S;
	g->tokens -= bytes;
	g->tokens = g->tokens > debt ? g->tokens : debt;
}

/* The gate that decides, or NULL: nothing does. *ret_waits: the class waits for it. */
static struct gate *gate_of(struct gates *gates, struct gate *base, uint8_t klass, bool *ret_waits)
{
	et_assert(klass < ET_SYNC_CLASSES);
	*ret_waits = true;
	if (gates->klass[klass].set) {
		return &gates->klass[klass];
	}
	*ret_waits = klass > ET_SYNC_REPLAY;
	return gates->shared.set ? &gates->shared : base->set ? base : NULL;
}

static struct gate *gate_in(struct et_sync *s, struct site *site, uint8_t klass, bool *ret_waits)
{
	if (site == NULL || strcmp(site->st.site, s->site) == 0) {
		return NULL; /* Within a site nothing is limited. */
	}
	return gate_of(&s->limits.in, &site->base_in, klass, ret_waits);
}

static struct gate *gate_out(struct et_sync *s, struct site *site, uint8_t klass, bool *ret_waits)
{
	if (site == NULL || strcmp(site->st.site, s->site) == 0) {
		return NULL;
	}
	return gate_of(&site->out, &site->base_out, klass, ret_waits);
}

static bool gate_lets(const struct gate *g, bool waits)
{
	return g == NULL || !waits || (!g->paused && (g->rate == 0 || g->tokens > 0));
}

bool et_gate_may_send(struct et_sync *s, struct site *site, uint8_t klass)
{
	bool waits = false;
	const struct gate *g = gate_out(s, site, klass, &waits);
	return gate_lets(g, waits);
}

bool et_gate_may_receive(struct et_sync *s, struct site *site, uint8_t klass)
{
	bool waits = false;
	const struct gate *g = gate_in(s, site, klass, &waits);
	return gate_lets(g, waits);
}

bool et_gate_is_paused(struct et_sync *s, struct site *site, uint8_t klass)
{
	bool waits = false;
	const struct gate *g = gate_in(s, site, klass, &waits);
	return g != NULL && waits && g->paused;
}

uint64_t et_gate_rate(struct et_sync *s, struct site *site, uint8_t klass)
{
	bool waits = false;
	const struct gate *g = gate_in(s, site, klass, &waits);
	return g != NULL && waits ? g->rate : 0;
}

bool et_gate_is_named(const struct et_sync *s, uint8_t klass)
{
	return s->limits.in.klass[klass].set;
}

void et_gate_sent(struct et_sync *s, struct site *site, uint8_t klass, uint64_t bytes)
{
	bool waits = false;
	gate_take(gate_out(s, site, klass, &waits), (int64_t)bytes);
	if (site != NULL) {
		site->st.sent_bytes += bytes;
	}
}

void et_gate_granted(struct et_sync *s, struct site *site, uint8_t klass, int64_t bytes)
{
	bool waits = false;
	gate_take(gate_in(s, site, klass, &waits), bytes);
}

/* ---- From limits to gates ---- */

static void gate_judge(struct gate *g, const struct et_limit *l, uint32_t sharers)
{
	uint64_t rate = l == NULL || l->rate == ET_LIMIT_NONE ? 0 : l->rate;

	rate = rate > 0 && rate / sharers == 0 ? 1 : rate / sharers;
	g->tokens = g->set == (l != NULL) && g->rate == rate ? g->tokens : 0;
	g->set = l != NULL;
	g->paused = l != NULL && l->rate == ET_LIMIT_PAUSE;
	g->rate = rate;
}

static void gates_judge(struct gates *gates, const struct et_limits *limits, const char *to,
			uint32_t sharers, int64_t time_us)
{
	gate_judge(&gates->shared, et_limits_at(limits, to, ET_LIMIT_ALL, time_us), sharers);
	for (int k = 0; k < ET_SYNC_CLASSES; k++) {
		const struct et_limit *l = et_limits_at(limits, to, k, time_us);
		gate_judge(&gates->klass[k], l != NULL && l->klass == k ? l : NULL, sharers);
	}
}

static void gates_refill(struct gates *gates, int64_t elapsed_us)
{
	gate_refill(&gates->shared, elapsed_us);
	for (int k = 0; k < ET_SYNC_CLASSES; k++) {
		gate_refill(&gates->klass[k], elapsed_us);
	}
}

static bool gates_pause(const struct gates *gates)
{
	bool pause = gates->shared.set && gates->shared.paused;
	for (int k = 0; k < ET_SYNC_CLASSES; k++) {
		pause = pause || (gates->klass[k].set && gates->klass[k].paused);
	}
	return pause;
}

void et_gate_init(struct et_sync *s)
{
	s->limits.in.shared = (struct gate){ .set = true, .paused = true };
	et_gate_look(s);
}

static void limits_judge(struct et_sync *s)
{
	struct limits *l = &s->limits;
	int64_t time_us = et_clock_now_us();

	if (l->read == NULL) {
		return;
	}
	gates_judge(&l->in, l->read, s->site, l->sharers > 0 ? l->sharers : 1, time_us);
	for (uint32_t i = 0; i < s->site_count; i++) {
		gates_judge(&s->sites[i].out, l->read, s->sites[i].st.site, 1, time_us);
	}
	et_pull_put_back(s);
	if (gates_pause(&l->in)) {
		et_table_refresh(s);
	}
}

/* ---- Reading them ---- */

static void limits_run(uv_work_t *work)
{
	struct limits *l = ET_CONTAINER_OF(work, struct limits, work);

	et_look_policy(&l->look);
	l->parsed = l->look.code == 0 ? calloc(1, sizeof(*l->parsed)) : NULL;
	if (l->parsed == NULL) {
		l->look.code = l->look.code < 0 ? l->look.code : -ENOMEM;
		return;
	}
	if (l->look.text != NULL) {
		l->look.code = et_limits_parse(l->look.text, strlen(l->look.text),
					       "policy replication", l->parsed, &l->parse_error);
	}
}

static void limits_failed(struct et_sync *s, uint32_t revision, int code)
{
	struct limits *l = &s->limits;
	char quoted[300];
	char before[sizeof(l->error)];

	memcpy(before, l->error, sizeof(before));
	(void)snprintf(l->error, sizeof(l->error), "revision %u: %.140s", revision,
		       l->parse_error.text[0] != '\0' ? l->parse_error.text : et_strerror(code));
	if (strcmp(before, l->error) != 0) { /* Once, not at each try. */
		et_err("sync.limits", "revision=%u code=%s error=%s", revision, et_errname(code),
		       et_log_quote(l->error, quoted, sizeof(quoted)));
	}
}

static void limits_after(uv_work_t *work, int status)
{
	struct limits *l = ET_CONTAINER_OF(work, struct limits, work);
	struct et_sync *s = ET_CONTAINER_OF(l, struct et_sync, limits);

	(void)status;
	et_sync_work_done(s);
	l->looking = false;
	if (l->look.own_site[0] != '\0') {
		(void)snprintf(s->site, sizeof(s->site), "%s", l->look.own_site);
		l->sharers = l->look.sharers;
	}
	if (l->look.code < 0) {
		limits_failed(s, l->look.revision, l->look.code);
		/* What cannot be parsed stays so; what could not be read is tried again. */
		if (l->look.text == NULL) {
			l->due = true;
		} else if (l->read == NULL) {
			l->read = calloc(1, sizeof(*l->read)); /* It holds nothing up. */
		}
	} else {
		if (l->revision != l->look.revision) {
			et_info("sync.limits", "revision=%u limits=%u sharers=%u", l->look.revision,
				l->parsed->count, l->sharers);
		}
		free(l->read);
		l->read = ET_TAKE(l->parsed);
		l->revision = l->look.revision;
		l->error[0] = '\0';
	}
	free(l->parsed);
	l->parsed = NULL;
	free(l->look.text);
	l->look.text = NULL;
	if (!s->stopping) {
		limits_judge(s);
		et_table_run(s);
	}
}

void et_gate_look(struct et_sync *s)
{
	s->limits.due = true; /* The next tick reads them. */
}

void et_gate_tick(struct et_sync *s, int64_t now_us, int64_t elapsed_us)
{
	struct limits *l = &s->limits;

	if (l->due && !l->looking && !s->stopping) {
		l->look.state = s->state;
		l->look.node = s->node;
		l->parse_error = (struct et_error){ 0 };
		l->due = et_sync_work(s, &l->work, limits_run, limits_after) < 0;
		l->looking = !l->due;
	}
	if (now_us - l->judged_us >= JUDGE_US) {
		l->judged_us = now_us;
		limits_judge(s);
	}
	gates_refill(&l->in, elapsed_us);
	for (uint32_t i = 0; i < s->site_count; i++) {
		struct site *site = &s->sites[i];
		gates_refill(&site->out, elapsed_us);
		gate_refill(&site->base_in, elapsed_us);
		gate_refill(&site->base_out, elapsed_us);
	}
}

void et_gate_release(struct et_sync *s)
{
	free(s->limits.read);
	free(s->limits.parsed);
	free(s->limits.look.text);
}
