/* Several sync services in one process, each with its own loop thread, over real mutual TLS on
 * loopback, and one catalogue in memory that all of them read. A node may be a rogue instead: a
 * source that follows a script. */
#ifndef ET_REPLICATION_SYNC_TEST_CLUSTER_H
#define ET_REPLICATION_SYNC_TEST_CLUSTER_H

#include <uv.h>

#include "node/base/secret.h"
#include "node/tls/tls.h"
#include "replication/sync/sync.h"
#include "replication/sync/test/fake_state.h"
#include "replication/sync/wire_internal.h"

#define NODES_MAX 4
#define DEADLINE_MS 30000
#define STORE_UUID "018f2b9c-0000-7000-8000-000000000001"

/* What a rogue does to what it serves. */
enum rogue_kind {
	ROGUE_HONEST,
	ROGUE_CUT,     /* ends the connection after `at` bytes of data */
	ROGUE_CORRUPT, /* flips the byte at `at` */
	ROGUE_SHORT,   /* says EOF at `at` */
	ROGUE_LEAVES,  /* one wrong leaf hash */
	ROGUE_MORE,    /* goes on behind the end */
	ROGUE_ERROR,   /* says that it has none */
	ROGUE_BUSY,
	ROGUE_GARBAGE, /* no frames at all */
};

struct node;
/* What it says to a frame; false: the connection ends behind it. */
typedef bool (*rogue_answer_fn)(struct node *n, const struct et_wire_frame *frame,
				struct et_buffer *out);

struct node {
	struct cluster *cluster;
	uint64_t id;
	struct et_identity identity;
	struct et_tls_node *tls;
	struct et_sync *sync;
	char media[256];

	rogue_answer_fn rogue_answer;
	uint32_t rogue_features; /* that its HELLO says */
	enum rogue_kind rogue;
	size_t rogue_at;
	size_t wants;	       /* that the rogue got */
	size_t data_wants;     /* of them, those for data */
	uint64_t offsets[256]; /* of its WANTs with data */
	struct et_tls_conn *conns[256];
	struct et_wire_parser parsers[256];
	size_t conn_count;
};

struct cluster {
	uv_loop_t loop;
	struct et_postbox postbox;
	uv_timer_t watchdog, tick;
	struct et_secret *ca_key;
	struct et_buffer ca;
	struct et_state state;
	struct node nodes[NODES_MAX];
	size_t node_count;
	struct et_sync_config tuning; /* numbers for the services */
	int pending;		      /* callbacks that are awaited */

	/* Proposals. */
	int refuse_quorum;  /* so many proposals get ET_ENOQUORUM */
	bool refuse_closes; /* ... and so do those that close a recording */
	int result_code; /* of what is applied: 0, or ET_EDEGRADED as for a partly refused list */
	uint64_t proposals, bad_proposals, seals, closes;
	uint64_t first_seq;
	uint8_t first_incarnation[16];
	bool same_op;
};

static void on_watchdog(uv_timer_t *timer)
{
	(void)timer;
	fail_msg("nothing happened for %d s", DEADLINE_MS / 1000);
}

static void on_tick(uv_timer_t *timer)
{
	(void)timer;
}

/* ---- The catalogue's side ---- */

struct proposed {
	struct et_post post;
	struct cluster *cluster;
	struct et_buffer packed;
	void (*cb)(void *arg, int code, const Et__Result *result);
	void *cb_arg;
};

static void tell_all(struct cluster *c, const Et__Command *command)
{
	Et__Result result = ET__RESULT__INIT;
	result.code = c->result_code;
	for (size_t i = 0; i < c->node_count; i++) {
		if (c->nodes[i].sync != NULL) {
			et_sync_on_applied(c->nodes[i].sync, c->state.index, command, &result);
		}
	}
}

static void apply_copy(struct cluster *c, const Et__Copy *copy)
{
	unsigned long long node = 0;
	assert_int_equal(sscanf(copy->place, "node:%llu", &node), 1);
	size_t segment = fake_find(&c->state, copy->recording.data, copy->segment);
	assert_true(segment < c->state.segment_count);
	fake_copy_set(&c->state, segment, node, copy->state);
}

/* Of the tail of a node that is gone. 0, or ET_EREFUSED: it is sealed with another root. */
static int apply_seal(struct cluster *c, const Et__Command *command)
{
	const Et__SegmentSeal *m = command->segment_seal;
	struct et_state *s = &c->state;
	size_t i = fake_find(s, m->recording.data, m->segment);

	assert_true(i < s->segment_count);
	assert_int_equal(m->state, ET__SEGMENT_STATE__SEGMENT_RECOVERED_UNVERIFIED);
	pthread_mutex_lock(&s->mutex);
	struct et_expect *x = &s->segments[i].expect;
	bool sealed = !s->open[i];
	bool same = sealed && memcmp(x->root, m->root.data, 32) == 0;
	if (!sealed) {
		memcpy(x->root, m->root.data, 32);
		memcpy(x->seal_hash, m->seal_hash.data, 32);
		x->has_seal_hash = true;
		x->records = m->records;
		x->size_bytes = m->size_bytes;
		s->owners[i] = command->op->node;
		s->open[i] = false;
	}
	pthread_mutex_unlock(&s->mutex);
	if (!sealed) {
		fake_copy_set(s, i, command->op->node, ET__COPY__STATE__VERIFIED);
	}
	return sealed && !same ? ET_EREFUSED : 0;
}

/* Of a recording whose recorder is gone. */
static int apply_close(struct cluster *c, const Et__Command *command)
{
	const Et__Recording *r = command->recording_close->recording;
	struct et_state *s = &c->state;
	size_t i = fake_find(s, r->id.data, 0);

	assert_true(i < s->segment_count);
	pthread_mutex_lock(&s->mutex);
	bool closed = s->closed[i];
	s->closed[i] = true;
	s->ended_us[i] = closed ? s->ended_us[i] : r->end_us;
	pthread_mutex_unlock(&s->mutex);
	c->closes++;
	return closed ? ET_EDENIED : 0;
}

static void proposed_apply(struct cluster *c, const Et__Command *command)
{
	assert_int_equal(et_command_check(command, NULL), 0);
	assert_int_equal(command->op->incarnation.len, 16);
	if (c->proposals++ == 0) {
		c->first_seq = command->op->seq;
		memcpy(c->first_incarnation, command->op->incarnation.data, 16);
	}
	c->same_op = command->op->seq == c->first_seq &&
		     memcmp(c->first_incarnation, command->op->incarnation.data, 16) == 0;
}

static void proposed_on_main(struct et_post *post)
{
	struct proposed *p = ET_CONTAINER_OF(post, struct proposed, post);
	struct cluster *c = p->cluster;
	Et__Command *command = NULL;
	Et__Result result = ET__RESULT__INIT;

	assert_int_equal(et_command_unpack(p->packed.data, p->packed.size, &command, NULL), 0);
	proposed_apply(c, command);
	bool refused = c->refuse_closes && command->body_case == ET__COMMAND__BODY_RECORDING_CLOSE;
	if (c->refuse_quorum > 0 || refused) {
		c->refuse_quorum -= !refused;
		p->cb(p->cb_arg, ET_ENOQUORUM, NULL);
	} else {
		if (command->body_case == ET__COMMAND__BODY_COPY_BAD) {
			c->bad_proposals++;
			apply_copy(c, command->copy_bad->copy);
		} else if (command->body_case == ET__COMMAND__BODY_SEGMENT_SEAL) {
			result.code = apply_seal(c, command);
			c->seals++;
		} else if (command->body_case == ET__COMMAND__BODY_RECORDING_CLOSE) {
			result.code = apply_close(c, command);
		} else {
			assert_int_equal(command->body_case, ET__COMMAND__BODY_COPY_ADD);
			for (size_t i = 0; i < command->copy_add->n_copies; i++) {
				apply_copy(c, command->copy_add->copies[i]);
			}
		}
		if (result.code == 0) {
			tell_all(c, command);
		}
		p->cb(p->cb_arg, result.code, &result);
	}
	et_command_free(command);
	et_buffer_release(&p->packed);
	free(p);
}

static int cluster_propose(void *arg, const Et__Command *command, uint32_t timeout_ms,
			   void (*cb)(void *arg, int code, const Et__Result *result), void *cb_arg)
{
	struct cluster *c = arg;
	struct proposed *p = calloc(1, sizeof(*p));

	(void)timeout_ms;
	assert_int_equal(et_command_pack(command, &p->packed), 0);
	p->cluster = c;
	p->cb = cb;
	p->cb_arg = cb_arg;
	p->post.fn = proposed_on_main;
	return et_post(&c->postbox, &p->post);
}

/* ---- Nodes ---- */

static inline void store_make(const char *media)
{
	char path[300];
	(void)snprintf(path, sizeof(path), "%s/store.uuid", media);
	assert_int_equal(et_file_publish(path, STORE_UUID "\n", strlen(STORE_UUID) + 1, 0600, NULL),
			 0);
}

static int check_member(void *arg, const struct et_tls_peer *peer, const char *alpn,
			struct et_error *reterr)
{
	(void)arg, (void)peer, (void)alpn, (void)reterr;
	return 0;
}

static void identity_make(struct cluster *c, uint64_t node, const char *site,
			  struct et_identity *ret)
{
	struct et_buffer request = { 0 };
	uint8_t hash[32];
	const struct et_cert_subject subject = { .cluster = "acme", .site = site, .node = node };

	assert_int_equal(et_identity_make("acme", "a-node", site, ret, NULL), 0);
	ret->node = node;
	assert_int_equal(et_identity_request(ret, &request, NULL), 0);
	assert_int_equal(et_ca_issue(c->ca_key, (struct et_view){ c->ca.data, c->ca.size },
				     (struct et_view){ request.data, request.size }, &subject,
				     et_clock_now_us(), INT64_C(3600000000), &ret->cert, hash,
				     NULL),
			 0);
	et_buffer_add(&ret->ca, c->ca.data, c->ca.size);
	et_buffer_release(&request);
}

static struct node *node_add(struct cluster *c, const char *site)
{
	struct node *n = &c->nodes[c->node_count++];
	struct et_error e = { 0 };

	n->cluster = c;
	n->id = c->node_count;
	identity_make(c, n->id, site, &n->identity);
	folder_make(n->media);
	store_make(n->media);
	const struct et_tls_config config = { .loop = &c->loop,
					      .identity = &n->identity,
					      .listen = "127.0.0.1:0",
					      .check = check_member };
	if (et_tls_start(&config, &n->tls, &e) < 0) {
		fail_msg("%s", e.text);
	}
	pthread_mutex_lock(&c->state.mutex);
	struct fake_node *f = &c->state.nodes[c->state.node_count++];
	f->id = n->id;
	f->role = "capture";
	f->state = ET__NODE_STATE__ACTIVE;
	(void)snprintf(f->site, sizeof(f->site), "%s", site);
	(void)snprintf(f->address, sizeof(f->address), "%s", et_tls_address(n->tls));
	pthread_mutex_unlock(&c->state.mutex);
	return n;
}

static void sync_start(struct node *n)
{
	struct cluster *c = n->cluster;
	struct et_sync_config config = c->tuning;
	struct et_error e = { 0 };

	config.loop = &c->loop;
	config.postbox = &c->postbox;
	config.tls = n->tls;
	config.state = &c->state;
	config.propose = cluster_propose;
	config.propose_arg = c;
	config.node = n->id;
	config.media = n->media;
	config.sign_key = n->identity.sign_key;
	config.store_uuid = STORE_UUID;
	if (et_sync_start(&config, &n->sync, &e) < 0) {
		fail_msg("%s", e.text);
	}
}

static void on_stopped(void *arg)
{
	struct cluster *c = arg;
	c->pending--;
}

static void sync_stop(struct node *n)
{
	struct cluster *c = n->cluster;
	if (n->sync == NULL) {
		return;
	}
	c->pending++;
	et_sync_stop(ET_TAKE(n->sync), on_stopped, c);
	while (c->pending > 0) {
		(void)uv_run(&c->loop, UV_RUN_ONCE);
	}
}

/* ---- The cluster ---- */

static int cluster_open(void **state)
{
	struct cluster *c = calloc(1, sizeof(*c));

	assert_int_equal(uv_loop_init(&c->loop), 0);
	assert_int_equal(et_postbox_init(&c->postbox, &c->loop), 0);
	assert_int_equal(uv_timer_init(&c->loop, &c->watchdog), 0);
	assert_int_equal(uv_timer_start(&c->watchdog, on_watchdog, DEADLINE_MS, 0), 0);
	assert_int_equal(uv_timer_init(&c->loop, &c->tick), 0);
	assert_int_equal(uv_timer_start(&c->tick, on_tick, 5, 5), 0);
	assert_int_equal(pthread_mutex_init(&c->state.mutex, NULL), 0);
	assert_int_equal(et_ca_make("acme", &c->ca_key, &c->ca, NULL), 0);
	c->state.index = 1;
	c->tuning.stand_in_ms = 300;
	c->tuning.backoff_ms = 10;
	*state = c;
	return 0;
}

static int cluster_close(void **state)
{
	struct cluster *c = *state;

	for (size_t i = 0; i < c->node_count; i++) {
		sync_stop(&c->nodes[i]);
	}
	for (size_t i = 0; i < c->node_count; i++) {
		struct node *n = &c->nodes[i];
		for (size_t k = 0; k < n->conn_count; k++) {
			if (n->conns[k] != NULL) {
				et_tls_conn_close(n->conns[k], false);
			}
			et_wire_parser_release(&n->parsers[k]);
		}
		c->pending++;
		et_tls_stop(n->tls, on_stopped, c);
	}
	while (c->pending > 0) {
		(void)uv_run(&c->loop, UV_RUN_ONCE);
	}
	et_postbox_close(&c->postbox, NULL);
	uv_close((uv_handle_t *)&c->watchdog, NULL);
	uv_close((uv_handle_t *)&c->tick, NULL);
	(void)uv_run(&c->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&c->loop), 0);
	for (size_t i = 0; i < c->node_count; i++) {
		folder_remove(c->nodes[i].media);
		et_identity_release(&c->nodes[i].identity);
	}
	(void)et_secret_free(c->ca_key);
	et_buffer_release(&c->ca);
	(void)pthread_mutex_destroy(&c->state.mutex);
	free(c);
	return 0;
}

/* Run the main loop until the condition holds; the watchdog fails the test otherwise. (`tick`
 * brings the loop round while other threads work.) */
#define run_until(c, condition)                                                                    \
	do {                                                                                       \
		(void)uv_timer_start(&(c)->watchdog, on_watchdog, DEADLINE_MS, 0);                 \
		while (!(condition)) {                                                             \
			(void)uv_run(&(c)->loop, UV_RUN_ONCE);                                     \
		}                                                                                  \
	} while (0)

#endif
