#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "node/io/clock.h"
#include "node/io/file.h"
#include "raft/catalog/catalog_internal.h"

/* Start, the turn of the loop, stop.
 *
 * Everything that may be done "a little later" is done in one place, catalog_turn(), once in each
 * turn of the loop, before it sleeps; et_cat_schedule() sees to it that another turn follows at
 * once. Stopping goes step by step in stop_step(): callers are told, then raft closes (not while it
 * takes a snapshot), then the state thread applies what it has and ends, then the handles close. */

enum {
	DISK_RETRY_MS = 500,
	CONNECT_RETRY_MS = 300,
	PROBE_MIN_MS = 10,
	PULL_STALL_US = 15 * 1000 * 1000,
	DIGEST_CHECK_MS = 60000
};

static const enum et_rpc_method methods[] = { ET_RPC_PROPOSE,  ET_RPC_READ_INDEX, ET_RPC_TERM,
					      ET_RPC_SNAPSHOT, ET_RPC_CLOCK,	  ET_RPC_TRANSFER,
					      ET_RPC_DIGEST };

void *et_cat_alloc(size_t size)
{
	void *p = calloc(1, size);

	if (p == NULL) {
		et_err("catalog.fatal", "why=memory bytes=%zu", size);
		abort();
	}
	return p;
}

bool et_cat_is_leader(const struct et_catalog *c)
{
	return c->raft.state == RAFT_LEADER;
}

const struct raft_server *et_cat_server(const struct et_catalog *c, uint64_t node)
{
	for (unsigned i = 0; i < c->raft.configuration.n; i++) {
		if (c->raft.configuration.servers[i].id == node) {
			return &c->raft.configuration.servers[i];
		}
	}
	return NULL;
}

/* ---- Calls, work and messages that the catalogue waits for, or that outlive it ---- */

static void call_on_answer(void *arg, int code, struct et_view body)
{
	struct cat_call *call = arg;

	if (call->c != NULL) {
		cat_list_take(&call->link);
		call->fn(call->c, call, code, body);
	}
	free(call);
}

void et_cat_call(struct et_catalog *c, uint64_t node, const char *address,
		 enum et_rpc_method method, const void *body, size_t size, uint32_t timeout_ms,
		 void (*fn)(struct et_catalog *, struct cat_call *, int, struct et_view),
		 uint64_t tag)
{
	struct cat_call *call = et_cat_alloc(sizeof(*call));

	call->c = c;
	call->fn = fn;
	call->node = node;
	call->tag = tag;
	call->sent_us = et_clock_mono_us();
	cat_list_add(&c->calls, &call->link);
	char to[CAT_ADDRESS_SIZE];
	et_cat_address(c, node, address, to);
	et_rpc_call(c->tls, node, to, method, body, size, timeout_ms, call_on_answer, call);
}

static void work_run(uv_work_t *work)
{
	struct cat_work *w = ET_CONTAINER_OF(work, struct cat_work, work);
	(void)atomic_load(&w->handed_over);
	w->run(w);
	atomic_store(&w->handed_over, 2);
}

static void work_after(uv_work_t *work, int status)
{
	struct cat_work *w = ET_CONTAINER_OF(work, struct cat_work, work);
	struct et_catalog *c = w->c;

	(void)status; /* Work is never cancelled. */
	(void)atomic_load(&w->handed_over);
	c->works--;
	w->after(w);
	et_cat_maybe_closed(c);
}

void et_cat_work(struct et_catalog *c, struct cat_work *w)
{
	w->c = c;
	c->works++;
	atomic_store(&w->handed_over, 1);
	int rc = uv_queue_work(c->loop, &w->work, work_run, work_after);
	et_assert(rc == 0); /* It fails only without a function. */
}

int et_cat_post(struct et_catalog *c, struct et_post *post)
{
	(void)atomic_fetch_add(&c->posts, 1);
	int rc = et_post(c->postbox, post);
	if (rc < 0) {
		(void)atomic_fetch_sub(&c->posts, 1);
	}
	return rc;
}

void et_cat_post_ended(struct et_catalog *c)
{
	(void)atomic_fetch_sub(&c->posts, 1);
	et_cat_maybe_closed(c);
}

/* ---- Turns ---- */

static void idle_on_turn(uv_idle_t *idle)
{
	(void)idle; /* That it is active keeps the loop from sleeping. */
}

void et_cat_schedule(struct et_catalog *c)
{
	if (!c->closing_handles) {
		(void)uv_idle_start(&c->idle, idle_on_turn);
	}
}

static void soon_on_timer(uv_timer_t *timer)
{
	(void)timer; /* The turn follows. */
}

void et_cat_soon(struct et_catalog *c, int64_t at_us)
{
	int64_t now_us = et_clock_mono_us();
	uint64_t ms = at_us <= now_us ? 1 : (uint64_t)(at_us - now_us) / 1000 + 1;

	if (!c->closing_handles &&
	    (!uv_is_active((uv_handle_t *)&c->soon) || uv_timer_get_due_in(&c->soon) > ms)) {
		(void)uv_timer_start(&c->soon, soon_on_timer, ms, 0);
	}
}

static void term_on_barrier(struct raft_barrier *req, int status)
{
	struct et_catalog *c = req->data;

	c->term_barrier_pending = false;
	if (status == 0) {
		c->ready_term = c->term_barrier_term;
	}
	et_cat_schedule(c);
}

/* A new leader commits an entry of its own term: only then it knows what is committed. */
static void leader_prepare(struct et_catalog *c)
{
	if (c->ready_term == c->raft.current_term || c->term_barrier_pending ||
	    raft_transferee(&c->raft) != 0) {
		return;
	}
	c->term_barrier.data = c;
	c->term_barrier_term = c->raft.current_term;
	int rv = raft_barrier(&c->raft, &c->term_barrier, term_on_barrier);
	if (rv == 0) {
		c->term_barrier_pending = true;
	} else {
		et_cat_soon(c, et_clock_mono_us() + CAT_TIMER_MS * 1000);
	}
}

static void leadership_watch(struct et_catalog *c)
{
	raft_id leader = 0;
	const char *address = NULL;
	uint64_t configuration = c->raft.configuration_uncommitted_index != 0
					 ? c->raft.configuration_uncommitted_index
					 : c->raft.configuration_committed_index;

	raft_leader(&c->raft, &leader, &address);
	if (et_cat_is_leader(c)) {
		leader = c->node;
		leader_prepare(c);
	}
	bool is_new = leader != c->leader || c->raft.current_term != c->term;
	if (!is_new && (int)c->raft.state == c->raft_state &&
	    configuration == c->configuration_index) {
		return;
	}
	if (is_new) {
		et_info("catalog.leader", "node=%" PRIu64 " leader=%llu term=%llu", c->node, leader,
			c->raft.current_term);
	}
	c->leader = leader;
	c->term = c->raft.current_term;
	c->raft_state = (int)c->raft.state;
	c->configuration_index = configuration;
	if (is_new && leader != 0) {
		et_cat_propose_resend(c);
	}
	et_cat_status_update(c);
	if (c->on_change != NULL) {
		c->on_change(c->arg);
	}
}

/* A turn is all that the loop does between two looks here, without what it slept. */
static void turn_measure(struct et_catalog *c)
{
	static const uint64_t minute_ns = UINT64_C(60) * 1000000000;
	uint64_t now_ns = uv_hrtime();
	uint64_t idle_ns = uv_metrics_idle_time(c->loop);
	uint64_t took_ns = now_ns - c->turn_ns - (idle_ns - c->idle_ns);

	if (c->turn_ns == 0 || (int64_t)took_ns < 0) {
		took_ns = 0; /* The first: what the loop did before is not known. */
	}
	c->turn_ns = now_ns;
	c->idle_ns = idle_ns;
	if (now_ns - c->stall_begin_ns > minute_ns) {
		c->stall_ns[1] = now_ns - c->stall_begin_ns > 2 * minute_ns ? 0 : c->stall_ns[0];
		c->stall_ns[0] = 0;
		c->stall_begin_ns = now_ns;
	}
	c->stall_ns[0] = took_ns > c->stall_ns[0] ? took_ns : c->stall_ns[0];
	c->longest_ns = took_ns > c->longest_ns ? took_ns : c->longest_ns;
}

static void stop_step(struct et_catalog *c);

static void catalog_turn(uv_prepare_t *prepare)
{
	struct et_catalog *c = prepare->data;

	turn_measure(c);
	(void)uv_idle_stop(&c->idle);
	if (c->stopping) {
		stop_step(c);
		return;
	}
	leadership_watch(c);
	et_cat_apply_turn(c);
	et_cat_guards_turn(c);
	et_cat_snapshot_watch(c);
	et_cat_member_turn(c);
	et_cat_read_turn(c);
	et_cat_propose_turn(c);
	et_cat_serve_turn(c);
	et_cat_pull_turn(c);
}

static void catalog_on_timer(uv_timer_t *timer)
{
	struct et_catalog *c = timer->data;
	int64_t now_us = et_clock_mono_us();

	if (c->stopping) {
		return;
	}
	et_cat_space_timer(c, now_us);
	et_cat_propose_timeouts(c, now_us);
	et_cat_read_timeouts(c, now_us);
	et_cat_member_timer(c, now_us);
	et_cat_tick_timer(c, now_us);
	et_cat_pull_timer(c, now_us);
	et_cat_snapshot_timer(c, now_us);
	et_cat_rebuild_timer(c, now_us);
	et_cat_digest_timer(c, now_us);
	et_cat_status_update(c);
}

static int handles_open(struct et_catalog *c, struct et_error *reterr)
{
	/* So that turn_measure() can tell work from sleep. */
	int rc = uv_loop_configure(c->loop, UV_METRICS_IDLE_TIME);
	rc = rc < 0 ? rc : uv_prepare_init(c->loop, &c->prepare);
	rc = rc < 0 ? rc : uv_idle_init(c->loop, &c->idle);
	rc = rc < 0 ? rc : uv_timer_init(c->loop, &c->timer);
	rc = rc < 0 ? rc : uv_timer_init(c->loop, &c->soon);
	rc = rc < 0 ? rc : uv_prepare_start(&c->prepare, catalog_turn);
	rc = rc < 0 ? rc : uv_timer_start(&c->timer, catalog_on_timer, CAT_TIMER_MS, CAT_TIMER_MS);
	et_assert(rc == 0); /* libuv's init of these cannot fail. */
	c->prepare.data = c->idle.data = c->timer.data = c->soon.data = c;
	c->handles = 4;
	return et_cat_apply_init(c, reterr);
}

/* ---- Stopping ---- */

static void catalog_free(struct et_catalog *c)
{
	void (*closed)(void *arg) = c->closed;
	void *arg = c->closed_arg;

	et_cat_guards_release(c);
	et_cat_propose_release(c);
	et_cat_snapshot_release(c);
	et_cat_apply_release(c);
	c->state = et_state_close(c->state);
	(void)pthread_mutex_destroy(&c->status_mutex);
	free(c->scratch);
	free(c->known);
	free(c);
	if (closed != NULL) {
		closed(arg);
	}
}

static void handle_on_close(uv_handle_t *handle)
{
	struct et_catalog *c = handle->data;

	c->handles--;
	et_cat_maybe_closed(c);
}

static void handles_close(struct et_catalog *c)
{
	c->closing_handles = true;
	uv_close((uv_handle_t *)&c->prepare, handle_on_close);
	uv_close((uv_handle_t *)&c->idle, handle_on_close);
	uv_close((uv_handle_t *)&c->timer, handle_on_close);
	uv_close((uv_handle_t *)&c->soon, handle_on_close);
	if (c->handles == 5) {
		uv_close((uv_handle_t *)&c->async, handle_on_close);
	}
}

static void raft_on_close(struct raft *raft)
{
	struct et_catalog *c = raft->data;

	c->raft_closed = true; /* libraft is still on the stack: the rest in the next turn. */
	et_cat_schedule(c);
}

/* In order; each step waits for the one before. Returns when there is something to wait for. */
static void stop_step(struct et_catalog *c)
{
	if (c->closing_handles || c->snapshot_pending) {
		return;
	}
	if (c->raft_is_open && !c->raft_closing) {
		c->raft_closing = true;
		raft_close(&c->raft, raft_on_close);
		return;
	}
	if (c->raft_is_open && !c->raft_closed) {
		return;
	}
	if (c->raft_is_open) {
		c->raft_is_open = false;
		raft_uv_close(&c->io);
		et_cat_guards_release(c);
	}
	if (c->thread_is_running && !c->thread_ending) {
		c->thread_ending = true;
		et_cat_apply_end(c);
	}
	if (c->thread_is_running && !c->thread_ended) {
		return;
	}
	if (c->thread_is_running) {
		c->thread_is_running = false;
		(void)pthread_join(c->thread, NULL); /* It has sent its last message. */
	}
	if (c->works > 0 || atomic_load(&c->posts) > 0) {
		return;
	}
	et_cat_propose_fail_all(c, ET_ECLOSED); /* What was refused since. */
	handles_close(c);
}

/* Something that stopping waits for has ended. The last that runs here frees `c`. */
void et_cat_maybe_closed(struct et_catalog *c)
{
	if (!c->stopping) {
		return;
	}
	if (!c->closing_handles) {
		et_cat_schedule(c);
	} else if (c->handles == 0) {
		catalog_free(c);
	}
}

static void refuse_call(void *arg, const struct et_tls_peer *peer, struct et_view body,
			struct et_rpc_reply *reply)
{
	(void)arg;
	(void)peer;
	(void)body;
	et_rpc_reply(reply, ET_ECLOSED, NULL, 0);
}

void et_catalog_stop(struct et_catalog *c, void (*closed)(void *arg), void *arg)
{
	et_assert(!c->stopping);
	c->stopping = true;
	c->closed = closed;
	c->closed_arg = arg;
	for (size_t i = 0; i < ET_ARRAY_SIZE(methods); i++) {
		et_rpc_serve(c->tls, methods[i], refuse_call, NULL);
	}
	while (!cat_list_is_empty(&c->calls)) {
		struct cat_call *call = ET_CONTAINER_OF(c->calls.next, struct cat_call, link);
		cat_list_take(&call->link);
		call->c = NULL;
	}
	et_cat_pull_stop(c);
	et_cat_serve_stop(c);
	et_cat_snapshot_fail_asks(c, ET_ECLOSED);
	et_cat_member_fail_all(c, ET_ECLOSED);
	et_cat_read_fail_all(c, ET_ECLOSED);
	et_cat_propose_fail_all(c, ET_ECLOSED);
	et_cat_schedule(c);
}

/* ---- Starting ---- */

static int config_copy(struct et_catalog *c, const struct et_catalog_config *config,
		       struct et_error *reterr)
{
	c->loop = config->loop;
	c->postbox = config->postbox;
	c->tls = config->tls;
	c->node = config->node;
	c->election_ms = config->election_ms == 0 ? 1000 : config->election_ms;
	c->heartbeat_ms = config->heartbeat_ms == 0 ? 50 : config->heartbeat_ms;
	c->snapshot_bytes =
		config->snapshot_bytes == 0 ? UINT64_C(64) << 20 : config->snapshot_bytes;
	c->space_reserve = config->space_reserve == 0 ? UINT64_C(256) << 20 : config->space_reserve;
	c->serve_rate.per_s = config->snapshot_rate == 0	     ? 0
			      : config->snapshot_rate < CAT_RATE_MIN ? CAT_RATE_MIN
								     : config->snapshot_rate;
	c->pull_rate.per_s = c->serve_rate.per_s;
	c->pull_stall_us = PULL_STALL_US;
	c->on_applied = config->on_applied;
	c->on_change = config->on_change;
	c->on_replaced = config->on_replaced;
	c->address_of = config->address_of;
	c->on_diverged = config->on_diverged;
	c->on_entry = config->on_entry;
	c->digest_check_ms =
		config->digest_check_ms == 0 ? DIGEST_CHECK_MS : config->digest_check_ms;
	c->arg = config->arg;
	if (c->node == 0 || c->heartbeat_ms * 3 > c->election_ms) {
		return et_fail(reterr, ET_EUSAGE,
			       "node %" PRIu64 ", heartbeat %u ms, election %u ms", c->node,
			       c->heartbeat_ms, c->election_ms);
	}
	int a = snprintf(c->address, sizeof(c->address), "%s", config->address);
	int r = snprintf(c->raft_folder, sizeof(c->raft_folder), "%s/raft", config->folder);
	int d = snprintf(c->db_folder, sizeof(c->db_folder), "%s/db", config->folder);
	if (a >= (int)sizeof(c->address) || r >= (int)sizeof(c->raft_folder) - CAT_NAME_SIZE ||
	    d >= (int)sizeof(c->db_folder) - CAT_NAME_SIZE) {
		return et_fail(reterr, -ENAMETOOLONG, "'%s', '%s'", config->address,
			       config->folder);
	}
	return et_file_mkdirs(c->raft_folder, reterr);
}

static int raft_open(struct et_catalog *c, struct et_error *reterr)
{
	int rc = et_cat_cut_repair(c->raft_folder, reterr);
	if (rc < 0) {
		return rc;
	}
	int rv = raft_uv_init(&c->io, c->loop, c->raft_folder, &c->transport);
	if (rv != 0) {
		return et_fail(reterr, et_cat_code(rv), "Raft log '%s': %s", c->raft_folder,
			       c->io.errmsg);
	}
	raft_uv_set_auto_recovery(&c->io, false); /* It would drop what it takes for damaged. */
	raft_uv_set_disk_retry(&c->io, DISK_RETRY_MS);
	raft_uv_set_connect_retry_delay(&c->io, CONNECT_RETRY_MS);
	et_cat_guards_init(c);
	c->fsm = (struct raft_fsm){ .version = 2,
				    .data = c,
				    .apply = et_cat_fsm_apply,
				    .snapshot = et_cat_fsm_snapshot,
				    .restore = et_cat_fsm_restore };
	rv = raft_init(&c->raft, &c->io, &c->fsm, c->node, c->address);
	if (rv != 0) {
		raft_uv_close(&c->io);
		return et_fail(reterr, et_cat_code(rv), "Raft log '%s': %s", c->raft_folder,
			       raft_errmsg(&c->raft));
	}
	c->raft_is_open = true;
	c->raft.data = c;
	c->raft.tracer = NULL; /* It formats a line for every message, into one static buffer. */
	et_cat_snapshot_init(c);
	raft_set_election_timeout(&c->raft, c->election_ms);
	/* Not the tick (guards.c): the least time between messages to a silent follower. */
	uint32_t probe_ms = c->heartbeat_ms / 3;
	raft_set_heartbeat_timeout(&c->raft, probe_ms < PROBE_MIN_MS ? PROBE_MIN_MS : probe_ms);
	raft_set_pre_vote(&c->raft, true);
	raft_set_max_inflight_entries(&c->raft, CAT_WINDOW_MAX);
	/* G13: libraft refuses entries while a majority has no prepared segments, and prepares them
	 * only when entries come: where that failed once at the start, it stands still for ever.
	 * Whether there is room is our own question (space.c). */
	raft_set_capacity_threshold(&c->raft, 0);
	raft_set_max_catch_up_rounds(&c->raft, 10);
	raft_set_max_catch_up_round_duration(&c->raft, 10000);
	raft_set_install_snapshot_timeout(&c->raft, 10000);
	return 0;
}

/* Start raft, which restores its snapshot and may apply at once (a cluster of one). */
static int raft_begin(struct et_catalog *c, struct et_error *reterr)
{
	int rv = raft_start(&c->raft);
	if (rv != 0) {
		return et_fail(reterr, et_cat_code(rv), "Raft log '%s': %s", c->raft_folder,
			       raft_errmsg(&c->raft));
	}
	uint64_t last = raft_last_index(&c->raft);
	if (last < et_state_applied(c->state)) {
		return et_fail(reterr, ET_ECORRUPT,
			       "the Raft log in '%s' ends at %" PRIu64
			       ", before the database's %" PRIu64 ": entries were lost",
			       c->raft_folder, last, et_state_applied(c->state));
	}
	int rc = et_cat_rebuild_begin(c, reterr);
	return rc < 0 ? rc : et_cat_apply_start(c, reterr);
}

/* A log with a hole has lost what this node has acknowledged: only the other members know it all.
 */
static int log_open(struct et_catalog *c, struct et_error *reterr)
{
	int rc = raft_open(c, reterr);

	rc = rc < 0 ? rc : raft_begin(c, reterr);
	if (rc == ET_ECORRUPT) {
		(void)et_fail_next(reterr, "evertape node remove (on a member); then add it again, "
					   "as a new node");
	}
	return rc;
}

static void sigpipe_ignore(void)
{
	struct sigaction now;

	/* Writing to a pipe that raft has closed must be an error, not the end. */
	if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL) {
		(void)signal(SIGPIPE, SIG_IGN);
	}
}

static void lists_init(struct et_catalog *c)
{
	struct cat_link *lists[] = { &c->calls,	      &c->dials,       &c->pumps,	&c->held,
				     &c->proposals,   &c->failed,      &c->checkpoints, &c->reads,
				     &c->round_reads, &c->apply_waits, &c->changes,	&c->formers,
				     &c->gets,	      &c->asks,	       &c->serves };

	for (size_t i = 0; i < ET_ARRAY_SIZE(lists); i++) {
		cat_list_init(lists[i]);
	}
	(void)pthread_mutex_init(&c->status_mutex, NULL);
}

/* A build that is older than what the cluster has agreed on does not even look. */
static int schema_check(struct et_catalog *c, struct et_error *reterr)
{
	et_cat_tick_init(c);
	if (c->schema <= ET_COMMAND_SCHEMA) {
		return 0;
	}
	(void)et_fail_plain(
		reterr, ET_EVERSION,
		"the cluster was upgraded to schema %u; this build of evertape knows %u "
		"at most",
		c->schema, ET_COMMAND_SCHEMA);
	return et_fail_next(reterr, "install the version that the other members run "
				    "(evertape cluster upgrade plan, there)");
}

static int parts_init(struct et_catalog *c, const struct et_catalog_config *config,
		      struct et_error *reterr)
{
	int rc = config_copy(c, config, reterr);
	rc = rc < 0 ? rc : et_cat_propose_init(c, reterr);
	rc = rc < 0 ? rc : et_cat_transport_init(c, reterr);
	if (rc == 0) {
		et_cat_space_init(c, config->disk_reserve);
	}
	rc = rc < 0 ? rc : et_cat_digest_check_marker(c, reterr);
	rc = rc < 0 ? rc : et_cat_snapshot_open_state(c, reterr);
	return rc < 0 ? rc : schema_check(c, reterr);
}

int et_catalog_start(const struct et_catalog_config *config, struct et_catalog **ret,
		     struct et_error *reterr)
{
	struct et_catalog *c = et_cat_alloc(sizeof(*c));

	sigpipe_ignore();
	et_cat_aio_init();
	lists_init(c);
	int rc = parts_init(c, config, reterr);
	if (rc < 0) {
		catalog_free(c); /* Nothing of the loop's yet. */
		return rc;
	}
	c->pushed = c->applied = et_state_applied(c->state);
	c->stored_at_us = et_clock_mono_us();
	rc = handles_open(c, reterr);
	rc = rc < 0 ? rc : log_open(c, reterr);
	if (rc < 0) {
		c->stopping = true; /* Goes when the loop runs on. */
		et_cat_schedule(c);
		return rc;
	}
	et_cat_cut_done(c);
	et_cat_snapshot_cleanup(c);
	et_cat_tick_init(c);
	et_cat_transport_serve(c);
	et_rpc_serve(c->tls, ET_RPC_PROPOSE, et_cat_serve_propose, c);
	et_rpc_serve(c->tls, ET_RPC_READ_INDEX, et_cat_serve_read_index, c);
	et_rpc_serve(c->tls, ET_RPC_TERM, et_cat_serve_term, c);
	et_rpc_serve(c->tls, ET_RPC_SNAPSHOT, et_cat_serve_snapshot, c);
	et_rpc_serve(c->tls, ET_RPC_CLOCK, et_cat_serve_clock, c);
	et_rpc_serve(c->tls, ET_RPC_TRANSFER, et_cat_serve_transfer, c);
	et_rpc_serve(c->tls, ET_RPC_DIGEST, et_cat_serve_digest, c);
	et_cat_status_update(c);
	et_cat_schedule(c);
	*ret = c;
	return 0;
}

struct et_state *et_catalog_state(struct et_catalog *c)
{
	return c->state;
}
