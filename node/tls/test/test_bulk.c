#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "node/io/post.h"
#include "node/tls/test/fixture.h"

/* 100 MB each way at once, the accepted end on its own thread's loop, with readers that pause. */
#define BULK_BYTES (100 * 1000 * 1000)
#define CHUNK_BYTES (256 * 1024)
#define QUEUE_LIMIT (1024 * 1024)

struct side {
	struct et_tls_conn *conn;
	uint64_t sent;
	uint64_t got;
	uint64_t wrong;
	size_t queued_max;
	unsigned reads;
	uv_idle_t resume; /* a reader that rests for a turn, now and then */
	bool finished;
	int end_code;
	struct fixture *f;
};

struct fixture {
	struct world w;
	struct et_identity id[2];
	struct et_tls_node *node[2];
	uint64_t revoked;
	struct side local;  /* the client, on the main loop */
	struct side remote; /* the server, on the thread's loop */

	uv_thread_t thread;
	uv_loop_t loop;
	struct et_postbox box;
	struct et_post hand_over;
	bool give_back;
	struct et_postbox main_box;
	struct et_post handed_back;
};

static uint8_t chunk[CHUNK_BYTES];

static int check(void *arg, const struct et_tls_peer *peer, const char *alpn,
		 struct et_error *reterr)
{
	struct fixture *f = arg;

	(void)alpn;
	return peer->node != f->revoked ? 0 : et_fail(reterr, ET_EUNTRUSTED, "revoked");
}

static uint8_t byte_at(uint64_t offset)
{
	return chunk[offset % CHUNK_BYTES];
}

/* The client closes when it has read all and queued all; closing flushes what is queued. */
static void side_finish(struct side *s)
{
	if (s == &s->f->local && s->got == BULK_BYTES && s->sent == BULK_BYTES && !s->finished) {
		et_tls_conn_close(ET_TAKE(s->conn), true);
		uv_close((uv_handle_t *)&s->resume, NULL);
		s->finished = true;
	}
}

static void side_send(void *arg)
{
	struct side *s = arg;

	while (s->sent < BULK_BYTES && et_tls_conn_queued(s->conn) < QUEUE_LIMIT) {
		uint64_t left = BULK_BYTES - s->sent;
		size_t size = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
		et_tls_conn_write(s->conn, chunk, size);
		s->sent += size;
		size_t queued = et_tls_conn_queued(s->conn);
		s->queued_max = queued > s->queued_max ? queued : s->queued_max;
	}
	if (s->sent < BULK_BYTES) {
		et_tls_conn_on_drain(s->conn, QUEUE_LIMIT / 2, side_send, s);
	}
	side_finish(s);
}

static void side_on_resume(uv_idle_t *idle)
{
	struct side *s = idle->data;

	(void)uv_idle_stop(idle);
	if (s->conn != NULL) {
		et_tls_conn_pause(s->conn, false);
	}
}

static void side_on_read(void *arg, struct et_tls_conn *conn, const uint8_t *data, size_t size)
{
	struct side *s = arg;

	for (size_t i = 0; i < size; i += 997) {
		s->wrong += data[i] != byte_at(s->got + i);
	}
	s->wrong += data[size - 1] != byte_at(s->got + size - 1);
	s->got += size;
	if (++s->reads % 16 == 0) {
		et_tls_conn_pause(conn, true);
		(void)uv_idle_start(&s->resume, side_on_resume);
	}
	side_finish(s);
}

static void side_on_end(void *arg, struct et_tls_conn *conn, int code)
{
	struct side *s = arg;

	et_tls_conn_close(conn, false);
	s->conn = NULL;
	s->end_code = code;
	s->finished = true;
	uv_close((uv_handle_t *)&s->resume, NULL);
	if (s == &s->f->remote) {
		et_postbox_close(&s->f->box, NULL);
	}
}

static void side_start(struct side *s, uv_loop_t *loop)
{
	const struct et_tls_conn_cb cb = { side_on_read, side_on_end, s };

	(void)uv_idle_init(loop, &s->resume);
	s->resume.data = s;
	et_tls_conn_start(s->conn, &cb);
	side_send(s);
}

static void on_hand_over(struct et_post *post)
{
	struct fixture *f = ET_CONTAINER_OF(post, struct fixture, hand_over);

	assert_int_equal(et_tls_conn_attach(f->remote.conn, &f->loop), 0);
	side_start(&f->remote, &f->loop);
}

static void thread_run(void *arg)
{
	struct fixture *f = arg;
	(void)uv_run(&f->loop, UV_RUN_DEFAULT);
}

static void on_accept(void *arg, struct et_tls_conn *conn)
{
	struct fixture *f = arg;

	f->remote.conn = conn;
	et_tls_conn_detach(conn);
	assert_int_equal(et_post(&f->box, &f->hand_over), 0);
}

static void on_connect(void *arg, int code, struct et_tls_conn *conn)
{
	struct fixture *f = arg;

	assert_int_equal(code, 0);
	f->local.conn = conn;
	side_start(&f->local, &f->w.loop);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	et_random(chunk, sizeof(chunk));
	world_open(&f->w);
	for (int i = 0; i < 2; i++) {
		identity_make(&f->w, (uint64_t)i + 1, &f->id[i]);
		f->node[i] = node_start(&f->w, &f->id[i], check, f);
	}
	f->local.f = f;
	f->remote.f = f;
	f->hand_over.fn = on_hand_over;
	et_tls_handle(f->node[0], ET_ALPN_SYNC, on_accept, f);
	assert_int_equal(uv_loop_init(&f->loop), 0);
	assert_int_equal(et_postbox_init(&f->box, &f->loop), 0);
	uv_ref((uv_handle_t *)&f->box.async);
	assert_int_equal(uv_thread_create(&f->thread, thread_run, f), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		node_stop(&f->w, f->node[i]);
		et_identity_release(&f->id[i]);
	}
	assert_int_equal(uv_thread_join(&f->thread), 0);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	world_close(&f->w);
	free(f);
	return 0;
}

static void a_hundred_megabytes_go_both_ways_between_two_loops(void **state)
{
	struct fixture *f = *state;

	et_tls_connect(f->node[1], 1, et_tls_address(f->node[0]), ET_ALPN_SYNC, on_connect, f);
	(void)uv_timer_start(&f->w.watchdog, world_on_watchdog, 200000, 0);
	while (!f->local.finished) {
		(void)uv_run(&f->w.loop, UV_RUN_ONCE);
	}
	for (int i = 0; i < 2; i++) { /* Its flush, and its wait for the other side's close. */
		while (f->node[1]->conns != NULL) {
			(void)uv_run(&f->w.loop, UV_RUN_ONCE);
		}
	}
	assert_int_equal(uv_thread_join(&f->thread), 0);
	assert_int_equal(uv_thread_create(&f->thread, thread_run, f), 0); /* For tear_down. */
	assert_int_equal(f->local.got, BULK_BYTES);
	assert_int_equal(f->remote.got, BULK_BYTES);
	assert_int_equal(f->local.wrong + f->remote.wrong, 0);
	assert_int_equal(f->remote.end_code, 0);
	assert_true(f->local.queued_max <= QUEUE_LIMIT + CHUNK_BYTES + OUT_BYTES_MAX);
	assert_true(f->remote.queued_max <= QUEUE_LIMIT + CHUNK_BYTES + OUT_BYTES_MAX);
}

static void a_recheck_cuts_a_connection_on_another_thread(void **state)
{
	struct fixture *f = *state;

	et_tls_connect(f->node[1], 1, et_tls_address(f->node[0]), ET_ALPN_SYNC, on_connect, f);
	while (f->local.got == 0) {
		(void)uv_run(&f->w.loop, UV_RUN_ONCE);
	}
	f->revoked = 2;
	et_tls_recheck(f->node[0]);
	while (!f->local.finished) {
		(void)uv_run(&f->w.loop, UV_RUN_ONCE);
	}
	assert_int_equal(uv_thread_join(&f->thread), 0);
	assert_int_equal(uv_thread_create(&f->thread, thread_run, f), 0); /* For tear_down. */
	assert_int_equal(f->remote.end_code, ET_EUNTRUSTED);
	assert_true(f->local.end_code != 0);
	struct et_tls_counts c;
	et_tls_counts(f->node[0], &c);
	assert_int_equal(c.cut, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_hundred_megabytes_go_both_ways_between_two_loops),
		TEST(a_recheck_cuts_a_connection_on_another_thread),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
