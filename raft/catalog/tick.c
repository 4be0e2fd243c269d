#include <stdio.h>

#include "node/io/clock.h"
#include "raft/catalog/catalog_internal.h"

/* Cluster time. Every node asks every member for its clock every 5 s, which also shows who can be
 * reached. The leader looks at the voters' clocks, and proposes a Tick while a majority
 * of them agrees within 2 s: the middle of the largest group that agrees, so that not even the
 * leader's own clock can move it alone. Once a second while commands are applied, else every 5 s.
 */

enum {
	ASK_US = 1000 * 1000,
	ASK_IDLE_US = 5 * 1000 * 1000,
	ASK_TIMEOUT_MS = 1000,
	STALE_US = 15 * 1000 * 1000,
	AGREE_US = 2 * 1000 * 1000,
	PEER_FULL = 1, /* its state disk has no room */
};

static int compare_offsets(const void *a, const void *b)
{
	const int64_t *x = a;
	const int64_t *y = b;
	return (*x > *y) - (*x < *y);
}

bool et_cat_clock_agree(const int64_t *offsets, size_t n, size_t voters, int64_t *ret_offset_us)
{
	int64_t sorted[CAT_MEMBERS_MAX];
	size_t best = 0;
	size_t best_at = 0;

	et_assert(n <= CAT_MEMBERS_MAX);
	if (n == 0) {
		return false;
	}
	memcpy(sorted, offsets, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare_offsets);
	for (size_t i = 0; i < n; i++) {
		size_t j = i;
		/* Offsets are of the order of 2^60 at most: the sum cannot overflow. */
		while (j + 1 < n && sorted[j + 1] <= sorted[i] + AGREE_US) {
			j++;
		}
		if (j - i + 1 > best) {
			best = j - i + 1;
			best_at = i;
		}
	}
	if (best <= voters / 2) {
		return false;
	}
	*ret_offset_us = sorted[best_at + (best - 1) / 2];
	return true;
}

void et_cat_tick_init(struct et_catalog *c)
{
	struct et_state_view *view = et_state_view_open(c->state);
	Et__Cluster *cluster = NULL;

	if (view != NULL && et_state_get_cluster(view, &cluster) == 0) {
		c->cluster_exists = true;
		c->cluster_time_us = cluster->cluster_time_us;
		c->schema = cluster->schema;
		et__cluster__free_unpacked(cluster, NULL);
	}
	et_state_view_close(view);
}

static struct cat_clock *clock_slot(struct et_catalog *c, uint64_t node)
{
	struct cat_clock *oldest = &c->clocks[0];

	for (size_t i = 0; i < CAT_MEMBERS_MAX; i++) {
		if (c->clocks[i].node == node) {
			return &c->clocks[i];
		}
		oldest = c->clocks[i].at_us < oldest->at_us ? &c->clocks[i] : oldest;
	}
	*oldest = (struct cat_clock){ .node = node };
	return oldest;
}

const struct cat_clock *et_cat_clock_of(const struct et_catalog *c, uint64_t node, int64_t now_us)
{
	for (size_t i = 0; i < CAT_MEMBERS_MAX; i++) {
		if (c->clocks[i].node == node && c->clocks[i].at_us != 0 &&
		    now_us - c->clocks[i].at_us < STALE_US) {
			return &c->clocks[i];
		}
	}
	return NULL;
}

bool et_cat_timing_fits(uint32_t election_ms, uint32_t heartbeat_ms, int64_t rtt_us)
{
	return rtt_us <= (int64_t)heartbeat_ms * 1000 && rtt_us * 10 <= (int64_t)election_ms * 1000;
}

int64_t et_cat_rtt_add(int64_t known_us, int64_t rtt_us)
{
	return known_us == 0 || rtt_us < known_us ? rtt_us : known_us + (rtt_us - known_us) / 8;
}

static void tick_on_answer(void *arg, int code, const Et__Result *result)
{
	struct et_catalog *c = arg;

	(void)code;
	(void)result;
	c->tick_pending = false;
}

static void tick_propose(struct et_catalog *c, int64_t time_us)
{
	Et__Command command = ET__COMMAND__INIT;
	Et__Tick tick = ET__TICK__INIT;
	char principal[32];

	if (time_us <= c->cluster_time_us || c->tick_pending) {
		return;
	}
	(void)snprintf(principal, sizeof(principal), "node:%llu", (unsigned long long)c->node);
	tick.time_us = time_us;
	command.principal = principal;
	command.schema = 1;
	command.body_case = ET__COMMAND__BODY_TICK;
	command.tick = &tick;
	c->tick_pending = true;
	c->commands_at_tick = c->commands_applied;
	et_catalog_propose(c, &command, 0, tick_on_answer, c);
}

/* Is the own clock one of those that agree? Every node asks itself: one that leads nothing is named
 * by its own health code. */
static void own_clock_judge(struct et_catalog *c, bool agrees, int64_t offset_us)
{
	bool off = agrees && (offset_us > AGREE_US || offset_us < -AGREE_US);

	if (off != c->clock_off) {
		if (off) {
			et_warn("clock.off", "node=%llu ahead_us=%lld", (unsigned long long)c->node,
				(long long)-offset_us);
		} else {
			et_info("clock.good", "node=%llu", (unsigned long long)c->node);
		}
	}
	c->clock_off = off;
	c->clock_off_us = off ? -offset_us : 0;
}

/* What the answers say, when they are there. */
static void tick_decide(struct et_catalog *c, int64_t now_us)
{
	bool leads = et_cat_is_leader(c) && c->ready_term == c->raft.current_term;
	int64_t offsets[CAT_MEMBERS_MAX] = { 0 };
	size_t n = 0;
	size_t voters = 0;
	int64_t offset_us = 0;

	for (unsigned i = 0; i < c->raft.configuration.n; i++) {
		const struct raft_server *s = &c->raft.configuration.servers[i];
		if (s->role != RAFT_VOTER) {
			continue;
		}
		voters++;
		const struct cat_clock *clock = et_cat_clock_of(c, s->id, now_us);
		if (s->id == c->node && n < CAT_MEMBERS_MAX) {
			offsets[n++] = 0;
		} else if (clock != NULL && n < CAT_MEMBERS_MAX) {
			offsets[n++] = clock->offset_us;
		}
	}
	bool agrees = et_cat_clock_agree(offsets, n, voters, &offset_us);
	own_clock_judge(c, agrees, offset_us);
	if (!leads) {
		return;
	}
	/* Too few answers are no skew: that is a lost quorum, and shows elsewhere. */
	c->clock_skew = !agrees && n > voters / 2;
	if (agrees && c->cluster_exists) {
		tick_propose(c, et_clock_now_us() + offset_us);
	}
}

static void clock_on_answer(struct et_catalog *c, struct cat_call *call, int code,
			    struct et_view body)
{
	int64_t now_us = et_clock_mono_us();

	if (code == 0 && body.size >= 9) {
		et_cat_space_of_peer(c, call->node, (body.data[8] & PEER_FULL) != 0);
	}
	if (code == 0 && body.size >= 8) {
		int64_t middle_us = et_clock_now_us() - (now_us - call->sent_us) / 2;
		int64_t theirs_us = (int64_t)et_get64(body.data);
		struct cat_clock *clock = clock_slot(c, call->node);
		if (theirs_us > INT64_MAX / 4 || theirs_us < 0) {
			theirs_us = INT64_MAX / 4; /* Out of this world: far away, no overflow. */
		}
		clock->offset_us = theirs_us - middle_us;
		clock->at_us = now_us;
		clock->rtt_us = et_cat_rtt_add(clock->rtt_us, now_us - call->sent_us);
	}
	if (--c->clocks_open == 0) {
		tick_decide(c, now_us);
	}
}

static void clocks_ask(struct et_catalog *c, int64_t now_us)
{
	static const uint8_t version = 1; /* We understand what comes after the clock. */

	c->clocks_asked_us = now_us;
	for (unsigned i = 0; i < c->raft.configuration.n; i++) {
		const struct raft_server *s = &c->raft.configuration.servers[i];
		if (s->id == c->node) {
			continue;
		}
		c->clocks_open++;
		et_cat_call(c, s->id, s->address, ET_RPC_CLOCK, &version, 1, ASK_TIMEOUT_MS,
			    clock_on_answer, 0);
	}
	if (c->clocks_open == 0 && et_cat_is_leader(c)) {
		tick_decide(c, now_us); /* The only voter. */
	}
}

void et_cat_tick_timer(struct et_catalog *c, int64_t now_us)
{
	bool leads = et_cat_is_leader(c) && c->ready_term == c->raft.current_term;
	bool idle =
		(!leads || c->commands_applied == c->commands_at_tick) && !et_cat_space_is_short(c);

	c->clock_skew = leads && c->clock_skew;
	if (c->clocks_open == 0 && now_us - c->clocks_asked_us >= (idle ? ASK_IDLE_US : ASK_US)) {
		if (!c->cluster_exists) {
			et_cat_tick_init(c);
		}
		clocks_ask(c, now_us);
	}
}

/* No body -> microseconds since 1970, 64 bits. A byte -> the same, and a byte of PEER_* bits; more
 * may follow one day. */
void et_cat_serve_clock(void *arg, const struct et_tls_peer *peer, struct et_view body,
			struct et_rpc_reply *reply)
{
	const struct et_catalog *c = arg;
	uint8_t bytes[9];

	(void)peer;
	et_put64(bytes, (uint64_t)et_clock_now_us());
	bytes[8] = c->space.full ? PEER_FULL : 0;
	et_rpc_reply(reply, 0, bytes, body.size > 0 ? 9 : 8);
}
