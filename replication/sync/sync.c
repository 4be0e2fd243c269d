/* Start, stop, and what comes from other threads.
 *
 * Starting: the main thread makes everything, then the sync thread runs its loop.
 * Stopping: the main thread takes its handler off the port and posts `stop`; the sync thread ends
 * links, pulls and workers, closes its handles, and its loop runs out; `ended` wakes the main
 * thread, which joins it, and posts `last` to itself: behind it nothing is left in the main postbox
 * that the sync thread posted. What is still on its way on the main thread then (connects,
 * proposals) is orphaned: it frees itself. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "node/base/fd.h"
#include "node/base/log.h"
#include "node/io/clock.h"
#include "replication/sync/sync_internal.h"

/* ---- Connecting, on the main thread ---- */

struct connect {
	struct et_post post;
	struct et_sync *s;    /* borrowed; NULL: the service has ended */
	struct connect *next; /* in s->connects */
	uint64_t link;
	uint64_t node;
	char address[64];
	int code;
	struct et_tls_conn *conn; /* owned while under way */
};

/* On the main loop: nobody will take it. */
static void conn_drop(uv_loop_t *loop, struct et_tls_conn *conn)
{
	if (conn != NULL && et_tls_conn_attach(conn, loop) == 0) {
		et_tls_conn_close(conn, false);
	}
}

static void connect_on_sync(struct et_post *post)
{
	struct connect *c = ET_CONTAINER_OF(post, struct connect, post);
	et_link_connected(c->s, c->link, c->code, c->conn);
	free(c);
}

static void connect_done(void *arg, int code, struct et_tls_conn *conn)
{
	struct connect *c = arg;
	struct et_sync *s = c->s;

	if (s == NULL) {
		if (conn != NULL) {
			et_tls_conn_close(conn, false);
		}
		free(c);
		return;
	}
	for (struct connect **at = &s->connects; *at != NULL; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			break;
		}
	}
	if (s->stop_asked) { /* The sync thread's postbox may be gone already. */
		if (conn != NULL) {
			et_tls_conn_close(conn, false);
		}
		free(c);
		return;
	}
	if (conn != NULL) {
		et_tls_conn_detach(conn);
	}
	c->code = code;
	c->conn = conn;
	c->post.fn = connect_on_sync;
	if (et_post(&s->box, &c->post) < 0) {
		conn_drop(s->main_loop, conn);
		free(c);
	}
}

static void connect_on_main(struct et_post *post)
{
	struct connect *c = ET_CONTAINER_OF(post, struct connect, post);
	struct et_sync *s = c->s;

	if (s->stop_asked) {
		free(c);
		return;
	}
	c->next = s->connects;
	s->connects = c;
	et_tls_connect(s->tls, c->node, c->address, ET_ALPN_SYNC, connect_done, c);
}

int et_sync_connect(struct et_sync *s, uint64_t link, uint64_t node, const char *address)
{
	struct connect *c = calloc(1, sizeof(*c));
	if (c == NULL) {
		return -ENOMEM;
	}
	c->s = s;
	c->link = link;
	c->node = node;
	(void)snprintf(c->address, sizeof(c->address), "%s", address);
	c->post.fn = connect_on_main;
	int rc = et_post(s->main_box, &c->post);
	if (rc < 0) {
		free(c);
	}
	return rc;
}

/* ---- Accepting ---- */

struct accepted {
	struct et_post post;
	struct et_sync *s;
	struct et_tls_conn *conn;
};

static void accepted_on_sync(struct et_post *post)
{
	struct accepted *a = ET_CONTAINER_OF(post, struct accepted, post);
	et_link_accepted(a->s, a->conn);
	free(a);
}

static void sync_on_accept(void *arg, struct et_tls_conn *conn)
{
	struct et_sync *s = arg;
	struct accepted *a = s->stop_asked ? NULL : calloc(1, sizeof(*a));

	if (a == NULL) {
		et_tls_conn_close(conn, false);
		return;
	}
	et_tls_conn_detach(conn);
	a->s = s;
	a->conn = conn;
	a->post.fn = accepted_on_sync;
	if (et_post(&s->box, &a->post) < 0) {
		conn_drop(s->main_loop, conn);
		free(a);
	}
}

/* ---- What was applied ---- */

struct applied {
	struct et_post post;
	struct et_sync *s;
	bool world;  /* members changed: scan */
	bool limits; /* read them again */
	bool opened; /* the keys are of segments that other nodes have opened */
	bool sealed; /* ... or that were sealed: their tails end */
	size_t count;
	struct et_key keys[];
};

static void applied_on_sync(struct et_post *post)
{
	struct applied *a = ET_CONTAINER_OF(post, struct applied, post);

	for (size_t i = 0; i < a->count; i++) {
		if (a->opened) {
			et_tail_touch(a->s, &a->keys[i]);
		} else if (!a->sealed || !et_tail_sealed(a->s, &a->keys[i])) {
			et_table_touch(a->s, &a->keys[i]);
		}
	}
	if (a->world) {
		et_table_scan_soon(a->s, 500);
	}
	if (a->world || a->limits) {
		et_gate_look(a->s);
	}
	if (a->opened || a->sealed) {
		et_tail_run(a->s);
	}
	et_table_run(a->s);
	free(a);
}

static struct applied *applied_new(struct et_sync *s, size_t count)
{
	struct applied *a = calloc(1, sizeof(*a) + count * sizeof(a->keys[0]));
	if (a != NULL) {
		a->s = s;
		a->post.fn = applied_on_sync;
	}
	return a;
}

static void applied_add(struct applied *a, ProtobufCBinaryData recording, uint32_t generation,
			uint32_t segment)
{
	if (recording.len == 16) {
		struct et_key *key = &a->keys[a->count++];
		memcpy(key->recording, recording.data, 16);
		key->generation = generation;
		key->segment = segment;
	}
}

static struct applied *applied_copies(struct et_sync *s, Et__Copy *const *copies, size_t count)
{
	struct applied *a = applied_new(s, count);
	for (size_t i = 0; a != NULL && i < count; i++) {
		applied_add(a, copies[i]->recording, copies[i]->generation, copies[i]->segment);
	}
	return a;
}

static struct applied *applied_segments(struct et_sync *s, const Et__RecordingImport *m)
{
	struct applied *a = applied_new(s, m->n_segments);
	for (size_t i = 0; a != NULL && i < m->n_segments; i++) {
		const Et__Segment *g = m->segments[i];
		applied_add(a, g->recording, g->generation, g->segment);
	}
	return a;
}

/* What of a command concerns placement; NULL and *ret_lost: no memory. */
static struct applied *applied_of(struct et_sync *s, const Et__Command *command, bool *ret_lost)
{
	struct applied *a = NULL;

	*ret_lost = true;
	switch ((int)command->body_case) {
	case ET__COMMAND__BODY_SEGMENT_OPEN:
		if (s->tails.interval_us == 0 || command->segment_open->segment->node == s->node) {
			break;
		}
		a = applied_new(s, 1);
		if (a != NULL) {
			const Et__Segment *g = command->segment_open->segment;
			a->opened = true;
			applied_add(a, g->recording, g->generation, g->segment);
		}
		return a;
	case ET__COMMAND__BODY_SEGMENT_SEAL:
		a = applied_new(s, 1);
		if (a != NULL) {
			const Et__SegmentSeal *seal = command->segment_seal;
			a->sealed = true;
			applied_add(a, seal->recording, seal->generation, seal->segment);
		}
		return a;
	case ET__COMMAND__BODY_RECORDING_IMPORT:
		return applied_segments(s, command->recording_import);
	case ET__COMMAND__BODY_GENERATION_PUT: /* and the one that it replaced moves no more */
		a = applied_new(s, 2);
		if (a != NULL) {
			const Et__Segment *g = command->generation_put->segment;
			applied_add(a, g->recording, g->generation, g->segment);
			applied_add(a, g->recording, g->generation - 1, g->segment);
		}
		return a;
	case ET__COMMAND__BODY_COPY_ADD:
		return applied_copies(s, command->copy_add->copies, command->copy_add->n_copies);
	case ET__COMMAND__BODY_COPY_EVICT:
		return applied_copies(s, command->copy_evict->copies,
				      command->copy_evict->n_copies);
	case ET__COMMAND__BODY_COPY_BAD:
		return applied_copies(s, &command->copy_bad->copy, 1);
	case ET__COMMAND__BODY_POLICY_SET:
		if (strcmp(command->policy_set->policy->name, ET_LIMITS_POLICY) != 0) {
			break;
		}
		a = applied_new(s, 0);
		if (a != NULL) {
			a->limits = true;
		}
		return a;
	case ET__COMMAND__BODY_CLUSTER_INIT:
	case ET__COMMAND__BODY_NODE_JOIN:
	case ET__COMMAND__BODY_NODE_UPDATE:
	case ET__COMMAND__BODY_NODE_REMOVE:
	case ET__COMMAND__BODY_NODE_ROLES:
	case ET__COMMAND__BODY_NODE_DRAIN:
		a = applied_new(s, 0);
		if (a != NULL) {
			a->world = true;
		}
		return a;
	default:
		break;
	}
	*ret_lost = false;
	return NULL;
}

void et_sync_on_applied(struct et_sync *s, uint64_t index, const Et__Command *command,
			const Et__Result *result)
{
	bool lost = false;

	(void)index;
	if (s->stop_asked || (result != NULL && result->code < 0 && result->code != ET_EDEGRADED)) {
		return;
	}
	struct applied *a = applied_of(s, command, &lost);
	if (a != NULL && et_post(&s->box, &a->post) == 0) {
		return;
	}
	free(a);
	if (lost) {
		atomic_store(&s->rescan, true);
	}
}

/* ---- Requests of other threads ---- */

static void fetch_on_sync(struct et_post *post)
{
	et_fetch_run(ET_CONTAINER_OF(post, struct fetch, post));
}

int et_sync_fetch(struct et_sync *s, const uint8_t recording[16], uint32_t generation,
		  uint32_t segment, et_sync_fetch_cb cb, void *arg)
{
	struct fetch *f = calloc(1, sizeof(*f));
	if (f == NULL) {
		return -ENOMEM;
	}
	f->s = s;
	memcpy(f->key.recording, recording, 16);
	f->key.generation = generation;
	f->key.segment = segment;
	f->cb = cb;
	f->arg = arg;
	f->post.fn = fetch_on_sync;
	int rc = et_post(&s->box, &f->post);
	if (rc < 0) {
		free(f);
	}
	return rc;
}

static void check_on_sync(struct et_post *post)
{
	et_check_run(ET_CONTAINER_OF(post, struct check, post));
}

int et_sync_check_local(struct et_sync *s, const uint8_t recording[16], et_sync_check_cb cb,
			void *arg)
{
	struct check *c = calloc(1, sizeof(*c));
	if (c == NULL) {
		return -ENOMEM;
	}
	c->s = s;
	memcpy(c->recording, recording, 16);
	c->cb = cb;
	c->arg = arg;
	c->post.fn = check_on_sync;
	int rc = et_post(&s->box, &c->post);
	if (rc < 0) {
		free(c);
	}
	return rc;
}

struct rate {
	struct et_post post;
	struct et_sync *s;
	char site[64];
	uint64_t bytes_per_s;
};

static void rate_on_sync(struct et_post *post)
{
	struct rate *r = ET_CONTAINER_OF(post, struct rate, post);
	struct site *site = et_sync_site_of(r->s, r->site);
	if (site != NULL) {
		const struct gate base = { .set = true, .rate = r->bytes_per_s };
		site->st.rate_limit = r->bytes_per_s;
		site->base_in = site->base_out = base;
	}
	free(r);
}

void et_sync_on_replaced(struct et_sync *s)
{
	atomic_store(&s->rescan, true); /* The next tick of the sync loop scans. */
}

int et_sync_set_rate(struct et_sync *s, const char *site, uint64_t bytes_per_s)
{
	struct rate *r = calloc(1, sizeof(*r));
	if (r == NULL) {
		return -ENOMEM;
	}
	r->s = s;
	r->bytes_per_s = bytes_per_s;
	(void)snprintf(r->site, sizeof(r->site), "%s", site);
	r->post.fn = rate_on_sync;
	int rc = et_post(&s->box, &r->post);
	if (rc < 0) {
		free(r);
	}
	return rc;
}

/* ---- The sync thread ---- */

int et_sync_work(struct et_sync *s, uv_work_t *work, uv_work_cb run, uv_after_work_cb after)
{
	int rc = uv_queue_work(&s->loop, work, run, after);
	if (rc == 0) {
		s->works++;
	}
	return rc;
}

void et_sync_work_done(struct et_sync *s)
{
	et_assert(s->works > 0);
	s->works--;
}

static void sync_on_tick(uv_timer_t *timer)
{
	struct et_sync *s = timer->data;
	int64_t now = et_clock_mono_us();

	et_sync_status_tick(s);
	et_link_tick(s, now);
	et_pull_tick(s, now);
	et_ack_tick(s, now);
	et_tail_tick(s, now);
	if (atomic_exchange(&s->rescan, false)) {
		et_table_scan_soon(s, 1000);
		et_gate_look(s);
	}
	et_table_run(s);
	et_sync_status_publish(s);
}

static void sync_thread(void *arg)
{
	struct et_sync *s = arg;
	(void)uv_run(&s->loop, UV_RUN_DEFAULT);
	(void)uv_async_send(&s->ended);
}

/* Everything that was under way is over: close the handles, and the loop runs out. */
static void sync_try_end(struct et_sync *s)
{
	et_assert(s->stopping);
	if (s->works > 0 || s->pulls != NULL || uv_is_closing((uv_handle_t *)&s->tick)) {
		return;
	}
	et_link_kill_all(s);
	et_link_reap(s);
	uv_close((uv_handle_t *)&s->tick, NULL);
	uv_close((uv_handle_t *)&s->round, NULL);
	uv_close((uv_handle_t *)&s->acks.timer, NULL);
	et_postbox_close(&s->box, NULL);
}

/* At the end of every round of the loop. */
static void sync_on_round(uv_check_t *check)
{
	struct et_sync *s = check->data;

	et_link_reap(s);
	if (s->stopping) {
		sync_try_end(s);
	}
}

struct stop {
	struct et_post post;
	struct et_sync *s;
};

static void stop_on_sync(struct et_post *post)
{
	struct stop *stop = ET_CONTAINER_OF(post, struct stop, post);
	struct et_sync *s = stop->s;

	free(stop);
	s->stopping = true;
	et_scrub_end(s);
	et_ack_stop(s);
	et_tail_stop(s);
	et_pull_cancel_all(s);
	et_link_kill_all(s);
}

/* ---- Start and stop, on the main thread ---- */

static void sync_free(struct et_sync *s)
{
	et_table_release(s);
	et_tail_release(s);
	et_gate_release(s);
	et_scrub_release(s);
	(void)pthread_mutex_destroy(&s->status_mutex);
	free(s->media);
	free(s);
}

static void sync_last_closed(uv_handle_t *handle)
{
	struct et_sync *s = handle->data;
	void (*closed)(void *arg) = s->closed;
	void *arg = s->closed_arg;

	sync_free(s);
	if (closed != NULL) {
		closed(arg);
	}
}

static void sync_on_last(struct et_post *post)
{
	struct et_sync *s = ET_CONTAINER_OF(post, struct et_sync, last);

	for (struct connect *c = s->connects; c != NULL; c = c->next) {
		c->s = NULL;
	}
	et_ack_orphan(s);
	uv_close((uv_handle_t *)&s->ended, sync_last_closed);
}

static void sync_on_ended(uv_async_t *async)
{
	struct et_sync *s = async->data;

	if (s->thread_runs) {
		(void)uv_thread_join(&s->thread);
		s->thread_runs = false;
		et_assert(uv_loop_close(&s->loop) == 0);
	}
	s->last.fn = sync_on_last;
	if (et_post(s->main_box, &s->last) < 0) {
		(void)uv_async_send(&s->ended); /* Full: in the next round. */
	}
}

void et_sync_stop(struct et_sync *s, void (*closed)(void *arg), void *arg)
{
	struct stop *stop = calloc(1, sizeof(*stop));

	et_assert(!s->stop_asked);
	s->stop_asked = true;
	s->closed = closed;
	s->closed_arg = arg;
	et_tls_handle(s->tls, ET_ALPN_SYNC, NULL, NULL);
	et_assert(stop != NULL);
	stop->s = s;
	stop->post.fn = stop_on_sync;
	et_assert(et_post(&s->box, &stop->post) == 0);
}

static int sync_loop_init(struct et_sync *s, struct et_error *reterr)
{
	int rc = uv_loop_init(&s->loop);
	if (rc < 0) {
		return et_fail(reterr, rc, "sync loop");
	}
	rc = et_postbox_init(&s->box, &s->loop);
	if (rc < 0) {
		(void)uv_loop_close(&s->loop);
		return et_fail(reterr, rc, "sync loop");
	}
	(void)uv_timer_init(&s->loop, &s->tick);
	(void)uv_check_init(&s->loop, &s->round);
	et_ack_init(s);
	s->tick.data = s;
	s->round.data = s;
	(void)uv_timer_start(&s->tick, sync_on_tick, 0, ET_SYNC_TICK_MS);
	(void)uv_check_start(&s->round, sync_on_round);
	return 0;
}

/* Does this kernel give BBR to a socket that asks? */
static bool has_bbr(void)
{
	ET_CLEANUP(et_fd_closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3) == 0;
}

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
	return value != 0 ? value : otherwise;
}

static struct et_sync *sync_new(const struct et_sync_config *config)
{
	struct et_sync *s = calloc(1, sizeof(*s));
	if (s == NULL) {
		return NULL;
	}
	s->main_loop = config->loop;
	s->main_box = config->postbox;
	s->tls = config->tls;
	s->state = config->state;
	s->propose = config->propose;
	s->propose_arg = config->propose_arg;
	s->node = config->node;
	s->sign_key = config->sign_key;
	s->media = strdup(config->media);
	(void)snprintf(s->store_uuid, sizeof(s->store_uuid), "%s", config->store_uuid);
	s->transfers = (uint32_t)or_default(config->transfers, 8);
	s->bulk_connections = (uint32_t)or_default(config->bulk_connections, 2);
	s->window_bytes = (uint32_t)or_default(config->window_bytes, 4 << 20);
	s->window_bytes =
		s->window_bytes < ET_WIRE_WINDOW_MAX ? s->window_bytes : ET_WIRE_WINDOW_MAX;
	s->stand_in_ms = (uint32_t)or_default(config->stand_in_ms, 30000);
	s->backoff_ms = (uint32_t)or_default(config->backoff_ms, 1000);
	s->tails.interval_us = (int64_t)config->tail_ms * 1000;
	s->cache_bytes = or_default(config->cache_bytes, UINT64_C(1) << 30);
	s->status.bbr = has_bbr();
	s->ticked_us = et_clock_mono_us();
	(void)pthread_mutex_init(&s->status_mutex, NULL);
	return s;
}

static int sync_begin(struct et_sync *s, struct et_error *reterr)
{
	s->ended.data = s;
	int rc = uv_async_init(s->main_loop, &s->ended, sync_on_ended);
	if (rc < 0) {
		return et_fail(reterr, rc, "sync service");
	}
	s->thread_runs = true;
	et_table_scan_soon(s, 0);
	et_gate_init(s);
	et_scrub_begin(s);
	rc = uv_thread_create(&s->thread, sync_thread, s);
	et_assert(rc == 0); /* As for every thread that a process starts with. */
	et_tls_handle(s->tls, ET_ALPN_SYNC, sync_on_accept, s);
	return 0;
}

int et_sync_start(const struct et_sync_config *config, struct et_sync **ret,
		  struct et_error *reterr)
{
	int rc = et_store_prepare(config->media, reterr);
	if (rc < 0) {
		return rc;
	}
	struct et_sync *s = sync_new(config);
	if (s == NULL || s->media == NULL) {
		free(s);
		return et_fail(reterr, -ENOMEM, "sync service");
	}
	et_scrub_init(s, config);
	rc = et_table_init(s, reterr);
	rc = rc < 0 ? rc : et_tail_init(s, reterr);
	if (rc == 0) {
		rc = sync_loop_init(s, reterr);
	}
	if (rc == 0) {
		rc = sync_begin(s, reterr);
	}
	if (rc < 0) {
		sync_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}
