/* A small cluster for tests of node/tls: a CA, identities, a loop that gives up after 20 s. */
#ifndef ET_NODE_TLS_TEST_FIXTURE_H
#define ET_NODE_TLS_TEST_FIXTURE_H

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "node/io/clock.h"
#include "node/tls/cert_internal.h"
#include "node/tls/tls_internal.h"

#define HOUR_US (3600LL * 1000000)
#define CLUSTER "acme"

struct world {
	uv_loop_t loop;
	uv_timer_t watchdog;
	struct et_secret *ca_key;
	struct et_buffer ca;
	bool done;
	int stopped; /* endpoints */
};

static inline void world_on_watchdog(uv_timer_t *timer)
{
	(void)timer;
	fail_msg("nothing happened for 20 s");
}

static inline void world_open(struct world *w)
{
	*w = (struct world){ 0 };
	assert_int_equal(uv_loop_init(&w->loop), 0);
	assert_int_equal(uv_timer_init(&w->loop, &w->watchdog), 0);
	assert_int_equal(uv_timer_start(&w->watchdog, world_on_watchdog, 20000, 0), 0);
	uv_unref((uv_handle_t *)&w->watchdog);
	assert_int_equal(et_ca_make(CLUSTER, &w->ca_key, &w->ca, NULL), 0);
}

/* Run until `done`, or until nothing is left to do. */
static inline void world_run(struct world *w)
{
	w->done = false;
	(void)uv_timer_again(&w->watchdog);
	(void)uv_timer_start(&w->watchdog, world_on_watchdog, 20000, 0);
	while (!w->done && uv_run(&w->loop, UV_RUN_ONCE) != 0) {
	}
}

static inline void world_close(struct world *w)
{
	uv_close((uv_handle_t *)&w->watchdog, NULL);
	(void)uv_run(&w->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w->loop), 0);
	(void)et_secret_free(w->ca_key);
	et_buffer_release(&w->ca);
}

/* An identity whose certificate begins and ends at these distances from now. */
static inline void identity_make_at(struct world *w, uint64_t node, const char *site,
				    int64_t now_us, int64_t life_us, struct et_identity *ret)
{
	struct et_buffer request = { 0 };
	uint8_t hash[32];
	const struct et_cert_subject subject = { .cluster = CLUSTER, .site = site, .node = node };

	assert_int_equal(et_identity_make(CLUSTER, "a-node", site, ret, NULL), 0);
	ret->node = node;
	assert_int_equal(et_identity_request(ret, &request, NULL), 0);
	assert_int_equal(et_ca_issue(w->ca_key, (struct et_view){ w->ca.data, w->ca.size },
				     (struct et_view){ request.data, request.size }, &subject,
				     now_us, life_us, &ret->cert, hash, NULL),
			 0);
	et_buffer_add(&ret->ca, w->ca.data, w->ca.size);
	et_buffer_release(&request);
}

static inline void identity_make(struct world *w, uint64_t node, struct et_identity *ret)
{
	identity_make_at(w, node, "prg", et_clock_now_us(), HOUR_US, ret);
}

static inline struct et_tls_node *node_start(struct world *w, const struct et_identity *id,
					     int (*check)(void *arg, const struct et_tls_peer *peer,
							  const char *alpn,
							  struct et_error *reterr),
					     void *arg)
{
	struct et_tls_node *t = NULL;
	struct et_error e;
	const struct et_tls_config config = { .loop = &w->loop,
					      .identity = id,
					      .listen = "127.0.0.1:0",
					      .check = check,
					      .arg = arg };

	if (et_tls_start(&config, &t, &e) < 0) {
		fail_msg("%s", e.text);
	}
	return t;
}

static inline void node_on_stopped(void *arg)
{
	struct world *w = arg;
	w->done = true;
	w->stopped++;
}

static inline void node_stop(struct world *w, struct et_tls_node *t)
{
	int before = w->stopped;
	et_tls_stop(t, node_on_stopped, w);
	while (w->stopped == before) {
		world_run(w);
	}
}

#endif
