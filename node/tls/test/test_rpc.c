#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "node/tls/rpc_internal.h"
#include "node/tls/test/fixture.h"

struct fixture {
	struct world w;
	struct et_identity id[2];
	struct et_tls_node *node[2];
	uint64_t revoked;
	char address[ET_ADDRESS_MAX]; /* of node 1 */

	struct et_rpc_reply *kept[4096]; /* answers that a handler holds back */
	unsigned kept_count;
	uint64_t seen_node;

	unsigned answers;
	int code;
	struct et_buffer body;
	unsigned wait_answers;

	struct et_tls_conn *raw; /* a hostile connection */
	bool raw_ended;
};

static int check(void *arg, const struct et_tls_peer *peer, const char *alpn,
		 struct et_error *reterr)
{
	struct fixture *f = arg;

	(void)alpn;
	return peer->node != f->revoked ? 0 : et_fail(reterr, ET_EUNTRUSTED, "revoked");
}

static void serve_echo(void *arg, const struct et_tls_peer *peer, struct et_view body,
		       struct et_rpc_reply *reply)
{
	struct fixture *f = arg;

	f->seen_node = peer->node;
	et_rpc_reply(reply, 0, body.data, body.size);
}

static void serve_refusal(void *arg, const struct et_tls_peer *peer, struct et_view body,
			  struct et_rpc_reply *reply)
{
	(void)arg;
	(void)peer;
	(void)body;
	et_rpc_reply(reply, ET_EDENIED, "no", 2);
}

static void serve_later(void *arg, const struct et_tls_peer *peer, struct et_view body,
			struct et_rpc_reply *reply)
{
	struct fixture *f = arg;

	(void)peer;
	(void)body;
	assert_true(f->kept_count < ET_ARRAY_SIZE(f->kept));
	f->kept[f->kept_count++] = reply;
	f->w.done = true;
}

static void on_answer(void *arg, int code, struct et_view body)
{
	struct fixture *f = arg;

	f->answers++;
	f->code = code;
	f->body.size = 0;
	et_buffer_add(&f->body, body.data, body.size);
	f->w.done = f->answers >= f->wait_answers;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	world_open(&f->w);
	for (int i = 0; i < 2; i++) {
		identity_make(&f->w, (uint64_t)i + 1, &f->id[i]);
		f->node[i] = node_start(&f->w, &f->id[i], check, f);
	}
	(void)snprintf(f->address, sizeof(f->address), "%s", et_tls_address(f->node[0]));
	et_rpc_serve(f->node[0], ET_RPC_STATUS, serve_echo, f);
	et_rpc_serve(f->node[0], ET_RPC_PROPOSE, serve_refusal, f);
	et_rpc_serve(f->node[0], ET_RPC_TERM, serve_later, f);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->raw != NULL) {
		et_tls_conn_close(f->raw, false);
	}
	for (int i = 0; i < 2; i++) {
		if (f->node[i] != NULL) {
			node_stop(&f->w, f->node[i]);
		}
		et_identity_release(&f->id[i]);
	}
	for (unsigned i = 0; i < f->kept_count; i++) { /* To a peer that is gone. */
		et_rpc_reply(f->kept[i], 0, NULL, 0);
	}
	et_buffer_release(&f->body);
	world_close(&f->w);
	free(f);
	return 0;
}

static void call(struct fixture *f, enum et_rpc_method method, const void *body, size_t size,
		 uint32_t timeout_ms)
{
	et_rpc_call(f->node[1], 1, f->address, method, body, size, timeout_ms, on_answer, f);
}

static int call_and_wait(struct fixture *f, enum et_rpc_method method, const void *body,
			 size_t size, uint32_t timeout_ms)
{
	unsigned before = f->answers;

	f->wait_answers = before + 1;
	call(f, method, body, size, timeout_ms);
	assert_int_equal(f->answers, before);
	while (f->answers == before) {
		world_run(&f->w);
	}
	return f->code;
}

static void a_call_is_answered(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(call_and_wait(f, ET_RPC_STATUS, "hello", 5, 1000), 0);
	assert_int_equal(f->body.size, 5);
	assert_memory_equal(f->body.data, "hello", 5);
	assert_int_equal(f->seen_node, 2);
	assert_true(et_rpc_is_connected(f->node[1], 1));
	assert_true(et_rpc_is_connected(f->node[0], 2));
	assert_false(et_rpc_is_connected(f->node[1], 3));

	assert_int_equal(call_and_wait(f, ET_RPC_PROPOSE, NULL, 0, 1000), ET_EDENIED);
	assert_memory_equal(f->body.data, "no", 2);
	assert_int_equal(call_and_wait(f, ET_RPC_PING, "p", 1, 1000), 0);
	assert_int_equal(call_and_wait(f, ET_RPC_RENEW, NULL, 0, 1000), ET_EUNSUPPORTED);
	struct et_tls_counts c;
	et_tls_counts(f->node[1], &c);
	assert_int_equal(c.connected, 1); /* All on one connection. */
}

static void many_calls_share_a_connection(void **state)
{
	struct fixture *f = *state;

	f->wait_answers = 4000;
	for (unsigned i = 0; i < 4000; i++) {
		call(f, ET_RPC_STATUS, &i, sizeof(i), 10000);
	}
	while (f->answers < 4000) {
		world_run(&f->w);
	}
	assert_int_equal(f->code, 0);
	unsigned last = 0;
	memcpy(&last, f->body.data, sizeof(last));
	assert_int_equal(last, 3999);
}

static void a_large_body_goes_both_ways(void **state)
{
	struct fixture *f = *state;
	uint8_t *body = malloc(ET_RPC_BODY_MAX + 1);

	et_random(body, ET_RPC_BODY_MAX);
	assert_int_equal(call_and_wait(f, ET_RPC_STATUS, body, ET_RPC_BODY_MAX, 10000), 0);
	assert_int_equal(f->body.size, ET_RPC_BODY_MAX);
	assert_memory_equal(f->body.data, body, ET_RPC_BODY_MAX);
	assert_int_equal(call_and_wait(f, ET_RPC_STATUS, body, ET_RPC_BODY_MAX + 1, 10000),
			 ET_ELIMIT);
	free(body);
}

static void an_answer_may_come_later_or_never(void **state)
{
	struct fixture *f = *state;

	f->wait_answers = 1;
	call(f, ET_RPC_TERM, NULL, 0, 10000);
	world_run(&f->w);
	assert_int_equal(f->kept_count, 1);
	assert_int_equal(call_and_wait(f, ET_RPC_STATUS, "x", 1, 1000), 0); /* It overtakes. */
	f->wait_answers = 2;
	et_rpc_reply(f->kept[--f->kept_count], 0, "late", 4);
	world_run(&f->w);
	assert_int_equal(f->answers, 2);
	assert_memory_equal(f->body.data, "late", 4);

	/* Time over: sent, so the outcome is unknown; a late answer is thrown away. */
	assert_int_equal(call_and_wait(f, ET_RPC_TERM, NULL, 0, 60), ET_EUNKNOWN);
	et_rpc_reply(f->kept[--f->kept_count], 0, "late", 4);
	assert_int_equal(call_and_wait(f, ET_RPC_STATUS, "y", 1, 1000), 0);
	assert_int_equal(f->body.data[0], 'y');
}

static void in_flight_is_bounded(void **state)
{
	struct fixture *f = *state;

	f->wait_answers = UINT32_MAX;
	const char body[100] = "";
	for (unsigned i = 0; i < ET_RPC_IN_FLIGHT_MAX; i++) {
		call(f, ET_RPC_TERM, body, sizeof(body), 600000);
	}
	assert_int_equal(f->answers, 0);
	f->wait_answers = 1;
	call(f, ET_RPC_TERM, NULL, 0, 600000);
	while (f->answers == 0) {
		world_run(&f->w);
	}
	assert_int_equal(f->code, ET_ELIMIT);

	/* The server reads no further than its own bound, and goes on when it has answered. */
	f->wait_answers = UINT32_MAX;
	for (int i = 0; i < 300; i++) {
		(void)uv_run(&f->w.loop, UV_RUN_NOWAIT);
	}
	assert_true(f->kept_count >= 1024);
	assert_true(f->kept_count < 1024 + READ_BYTES / sizeof(body));
	while (f->answers < ET_RPC_IN_FLIGHT_MAX + 1) {
		while (f->kept_count > 0) {
			et_rpc_reply(f->kept[--f->kept_count], 0, NULL, 0);
		}
		(void)uv_run(&f->w.loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(f->code, 0);
}

static void tells_what_was_sent_from_what_was_not(void **state)
{
	struct fixture *f = *state;

	f->wait_answers = 1;
	call(f, ET_RPC_TERM, NULL, 0, 10000);
	world_run(&f->w);
	assert_int_equal(f->kept_count, 1);
	node_stop(&f->w, ET_TAKE(f->node[0]));
	while (f->answers == 0) {
		world_run(&f->w);
	}
	assert_int_equal(f->code, ET_EUNKNOWN);
	assert_int_equal(call_and_wait(f, ET_RPC_STATUS, NULL, 0, 1000), ET_EUNREACHABLE);
	assert_false(et_rpc_is_connected(f->node[1], 1));
}

static void refused_nodes_are_told_so_and_may_come_back(void **state)
{
	struct fixture *f = *state;

	f->revoked = 2;
	assert_int_equal(call_and_wait(f, ET_RPC_STATUS, NULL, 0, 1000), ET_EUNTRUSTED);
	f->revoked = 0;
	assert_int_equal(call_and_wait(f, ET_RPC_STATUS, NULL, 0, 1000), 0);
	f->revoked = 1; /* Now cut from our side: what was sent is unknown. */
	f->wait_answers = f->answers + 1;
	call(f, ET_RPC_TERM, NULL, 0, 10000);
	while (f->kept_count == 0) {
		world_run(&f->w);
	}
	et_tls_recheck(f->node[1]);
	world_run(&f->w);
	while (f->answers < f->wait_answers) {
		world_run(&f->w);
	}
	assert_int_equal(f->code, ET_EUNKNOWN);
	f->revoked = 0;
	assert_int_equal(call_and_wait(f, ET_RPC_STATUS, NULL, 0, 1000), 0);
}

static void stopping_ends_all_calls_once(void **state)
{
	struct fixture *f = *state;

	f->wait_answers = UINT32_MAX;
	call(f, ET_RPC_TERM, NULL, 0, 10000); /* Not connected yet. */
	et_tls_stop(f->node[1], node_on_stopped, &f->w);
	assert_int_equal(f->answers, 1);
	assert_int_equal(f->code, ET_EUNREACHABLE);
	call(f, ET_RPC_TERM, NULL, 0, 10000);
	assert_int_equal(f->answers, 1);
	while (f->w.stopped == 0) {
		world_run(&f->w);
	}
	assert_int_equal(f->answers, 2);
	assert_int_equal(f->code, ET_ECLOSED);
	f->node[1] = NULL;
}

/* ---- Hostile frames, from a node that is a member ---- */

static void on_raw_read(void *arg, struct et_tls_conn *conn, const uint8_t *data, size_t size)
{
	(void)arg;
	(void)conn;
	(void)data;
	(void)size;
}

static void on_raw_end(void *arg, struct et_tls_conn *conn, int code)
{
	struct fixture *f = arg;

	(void)code;
	et_tls_conn_close(conn, false);
	f->raw = NULL;
	f->raw_ended = true;
	f->w.done = true;
}

static void on_raw(void *arg, int code, struct et_tls_conn *conn)
{
	struct fixture *f = arg;
	const struct et_tls_conn_cb cb = { on_raw_read, on_raw_end, f };

	assert_int_equal(code, 0);
	f->raw = conn;
	f->raw_ended = false;
	et_tls_conn_start(conn, &cb);
	f->w.done = true;
}

/* Send bytes as a member: is the connection cut? */
static bool is_cut_for(struct fixture *f, const char *hex)
{
	uint8_t bytes[64];
	size_t size = strlen(hex) / 2;

	assert_true(et_unhex(hex, size * 2, bytes, size));
	et_tls_connect(f->node[1], 1, f->address, ET_ALPN_RPC, on_raw, f);
	while (f->raw == NULL) {
		world_run(&f->w);
	}
	et_tls_conn_write(f->raw, bytes, size);
	for (int i = 0; i < 400 && !f->raw_ended; i++) {
		(void)uv_run(&f->w.loop, UV_RUN_NOWAIT);
	}
	if (!f->raw_ended) {
		et_tls_conn_close(ET_TAKE(f->raw), false);
		return false;
	}
	return true;
}

static void hostile_frames_cut_the_connection(void **state)
{
	struct fixture *f = *state;

	/* length, kind, method, id, code */
	assert_false(is_cut_for(f, "0000000f01000100000000000000010000000000"));
	assert_true(is_cut_for(f, "ffffffff01000100000000000000010000000000"));
	assert_true(is_cut_for(f, "0040001001000100000000000000010000000000")); /* one too long */
	assert_true(is_cut_for(f, "0000000e010001000000000000000100000000"));
	assert_true(is_cut_for(f, "0000000000000000"));
	assert_true(is_cut_for(f, "0000000f00000100000000000000010000000000"));	 /* kind 0 */
	assert_true(is_cut_for(f, "0000000f02000100000000000000010000000000"));	 /* an answer */
	assert_true(is_cut_for(f, "0000000f01000100000000000000010000000100"));	 /* code */
	assert_false(is_cut_for(f, "0000000f01ffff00000000000000010000000000")); /* method */
	assert_false(is_cut_for(f, "0000000f0100010000000000000001"));		 /* a part */
	assert_int_equal(call_and_wait(f, ET_RPC_STATUS, NULL, 0, 1000), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_call_is_answered),
		TEST(many_calls_share_a_connection),
		TEST(a_large_body_goes_both_ways),
		TEST(an_answer_may_come_later_or_never),
		TEST(in_flight_is_bounded),
		TEST(tells_what_was_sent_from_what_was_not),
		TEST(refused_nodes_are_told_so_and_may_come_back),
		TEST(stopping_ends_all_calls_once),
		TEST(hostile_frames_cut_the_connection),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
