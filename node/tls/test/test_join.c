#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "node/tls/join_internal.h"
#include "node/tls/rpc.h"
#include "node/tls/test/fixture.h"

struct fixture {
	struct world w;
	struct et_identity id;
	struct et_tls_node *node;
	struct et_join_token token;
	struct et_identity joiner;
	struct et_buffer request;

	/* What the handler saw and does. */
	unsigned requests;
	int verify_code;
	bool keep; /* hold the answer back */
	struct et_join_answer *kept[32];
	unsigned kept_count;
	uint64_t issue_node;  /* in the certificate */
	bool issue_other_key; /* for a key that was not asked for */
	uint8_t hash[32];
	struct et_buffer forwarded;

	unsigned answers;
	int code;
	uint64_t got_node;
	char text[512];
	size_t wait_answers;
};

static void reply_fill(struct fixture *f, const struct et_join_request *request,
		       struct et_join_reply *reply)
{
	const struct et_cert_subject subject = { CLUSTER, "brq", f->issue_node };
	ET_CLEANUP(et_buffer_releasep) struct et_buffer other = { 0 };
	uint8_t hash[32];

	*reply = (struct et_join_reply){ .node = 4, .cluster = CLUSTER, .site = "brq" };
	assert_int_equal(et_identity_request(&f->id, &other, NULL), 0);
	const struct et_buffer *csr = f->issue_other_key ? &other : &request->csr;
	assert_int_equal(et_ca_issue(f->w.ca_key, (struct et_view){ f->w.ca.data, f->w.ca.size },
				     (struct et_view){ csr->data, csr->size }, &subject,
				     et_clock_now_us(), HOUR_US, &reply->cert, hash, NULL),
			 0);
	et_buffer_add(&reply->ca, f->w.ca.data, f->w.ca.size);
	et_buffer_add(&reply->members, "list", 4);
	et_buffer_add(&reply->kek_signature, "sig", 3);
}

static void serve(void *arg, const struct et_join_request *request, struct et_join_answer *answer)
{
	struct fixture *f = arg;
	struct et_join_reply reply = { 0 };

	f->requests++;
	f->verify_code = et_join_request_verify(request, f->token.public_key, NULL);
	memcpy(f->hash, request->hash, 32);
	f->forwarded.size = 0;
	assert_int_equal(et_join_forward_pack(request, &f->forwarded), 0);
	if (f->keep) {
		f->kept[f->kept_count++] = answer;
		f->w.done = true;
		return;
	}
	if (f->verify_code < 0) {
		reply.code = ET_EDENIED;
		(void)snprintf(reply.text, sizeof(reply.text), "no such token");
	} else {
		reply_fill(f, request, &reply);
	}
	et_join_answer(answer, &reply);
	et_join_reply_release(&reply);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct et_join_request request = { .roles = ET_ROLE_CAPTURE, .schema = 1 };

	world_open(&f->w);
	identity_make(&f->w, 1, &f->id);
	f->node = node_start(&f->w, &f->id, NULL, NULL);
	assert_int_equal(et_join_serve(f->node, serve, f, NULL), 0);
	f->issue_node = 4;

	assert_int_equal(et_join_token_make(&f->token, NULL), 0);
	memcpy(f->token.cluster, CLUSTER, sizeof(CLUSTER));
	memcpy(f->token.site, "brq", 4);
	assert_int_equal(
		et_cert_spki_hash((struct et_view){ f->w.ca.data, f->w.ca.size }, f->token.ca_hash),
		0);
	f->token.address_count = 1;
	(void)snprintf(f->token.addresses[0], ET_ADDRESS_MAX, "%s", et_tls_address(f->node));

	assert_int_equal(et_identity_make(CLUSTER, "brq-1", "brq", &f->joiner, NULL), 0);
	memcpy(request.token, f->token.id, 16);
	memcpy(request.name, "brq-1", 6);
	memcpy(request.address, "10.0.0.4:7400", 14);
	memcpy(request.version, "0.1.0", 6);
	memcpy(request.sign_public, f->joiner.sign_public, 32);
	memset(request.seal_public, 3, 32);
	assert_int_equal(et_identity_request(&f->joiner, &request.csr, NULL), 0);
	assert_int_equal(et_join_request_pack(&request, &f->request, NULL), 0);
	et_join_request_release(&request);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->node != NULL) {
		node_stop(&f->w, f->node);
	}
	et_join_token_release(&f->token);
	et_identity_release(&f->id);
	et_identity_release(&f->joiner);
	et_buffer_release(&f->request);
	et_buffer_release(&f->forwarded);
	world_close(&f->w);
	free(f);
	return 0;
}

static void on_joined(void *arg, int code, const struct et_join_reply *reply,
		      const struct et_error *why)
{
	struct fixture *f = arg;

	f->answers++;
	f->code = code;
	f->got_node = reply != NULL ? reply->node : 0;
	(void)snprintf(f->text, sizeof(f->text), "%s", code < 0 ? why->text : "");
	f->w.done = f->answers >= f->wait_answers;
}

static void ask(struct fixture *f, const char *address, uint32_t timeout_ms)
{
	assert_int_equal(et_join_call(&f->w.loop, &f->token, address,
				      (struct et_view){ f->request.data, f->request.size },
				      timeout_ms, on_joined, f, NULL),
			 0);
}

static int join(struct fixture *f)
{
	unsigned before = f->answers;

	f->wait_answers = before + 1;
	ask(f, NULL, 3000);
	assert_int_equal(f->answers, before);
	while (f->answers == before) {
		world_run(&f->w);
	}
	return f->code;
}

static void the_holder_of_a_token_is_let_in(void **state)
{
	struct fixture *f = *state;
	uint8_t hash[32];

	assert_int_equal(join(f), 0);
	assert_int_equal(f->verify_code, 0);
	assert_int_equal(f->got_node, 4);
	memcpy(hash, f->hash, 32);
	assert_int_equal(join(f), 0); /* The same request again is the same to the cluster. */
	assert_memory_equal(hash, f->hash, 32);
}

static void a_forwarded_request_still_proves_itself(void **state)
{
	struct fixture *f = *state;
	struct et_join_request request;

	assert_int_equal(join(f), 0);
	struct et_view bytes = { f->forwarded.data, f->forwarded.size };
	assert_int_equal(et_join_forward_parse(bytes, &request, NULL), 0);
	assert_int_equal(et_join_request_verify(&request, f->token.public_key, NULL), 0);
	assert_string_equal(request.name, "brq-1");
	assert_string_equal(request.address, "10.0.0.4:7400");
	et_join_request_release(&request);
	for (size_t i = 0; i < bytes.size; i++) { /* No bit of it may change. */
		f->forwarded.data[i] ^= 4;
		if (et_join_forward_parse(bytes, &request, NULL) == 0) {
			assert_int_equal(
				et_join_request_verify(&request, f->token.public_key, NULL),
				ET_EUNTRUSTED);
			et_join_request_release(&request);
		}
		f->forwarded.data[i] ^= 4;
	}
}

static void another_seed_is_refused(void **state)
{
	struct fixture *f = *state;
	struct et_join_token other;

	assert_int_equal(et_join_token_make(&other, NULL), 0);
	struct et_secret *seed = f->token.seed;
	f->token.seed = other.seed; /* Its public half stays in the "catalogue". */
	other.seed = seed;
	assert_int_equal(join(f), ET_EDENIED);
	assert_int_equal(f->verify_code, ET_EUNTRUSTED);
	assert_string_equal(f->text, "no such token");
	et_join_token_release(&other);
}

static void the_joiner_trusts_the_tokens_ca_only(void **state)
{
	struct fixture *f = *state;

	f->token.ca_hash[7] ^= 1;
	assert_int_equal(join(f), ET_EUNTRUSTED);
	assert_int_equal(f->requests, 0); /* It said nothing to a stranger. */
	f->token.ca_hash[7] ^= 1;
	memcpy(f->token.cluster, "other", 6);
	assert_int_equal(join(f), ET_EUNTRUSTED);
	assert_int_equal(f->requests, 0);
}

static void the_joiner_checks_what_it_is_given(void **state)
{
	struct fixture *f = *state;

	f->issue_node = 5; /* The reply says 4. */
	assert_int_equal(join(f), ET_EUNTRUSTED);
	f->issue_node = 4;
	f->issue_other_key = true;
	assert_int_equal(join(f), ET_EUNTRUSTED);
}

static void addresses_are_tried_in_turn(void **state)
{
	struct fixture *f = *state;
	struct et_tls_node *gone = node_start(&f->w, &f->id, NULL, NULL);

	memcpy(f->token.addresses[1], f->token.addresses[0], ET_ADDRESS_MAX);
	(void)snprintf(f->token.addresses[0], ET_ADDRESS_MAX, "%s", et_tls_address(gone));
	f->token.address_count = 2;
	node_stop(&f->w, gone);
	assert_int_equal(join(f), 0);
	f->token.address_count = 1;
	assert_int_equal(join(f), ET_EUNREACHABLE);
	assert_non_null(strstr(f->text, f->token.addresses[0]));
}

static void silence_ends_by_the_clock(void **state)
{
	struct fixture *f = *state;

	f->keep = true;
	f->wait_answers = 1;
	ask(f, NULL, 100);
	while (f->answers == 0) {
		world_run(&f->w);
	}
	assert_int_equal(f->code, -ETIMEDOUT);
	const struct et_join_reply reply = { .code = ET_EDENIED };
	et_join_answer(f->kept[--f->kept_count], &reply); /* To a joiner that is gone. */
}

/* Ten at once, then five a second, and never more than sixteen at a time. */
static void strangers_are_paced(void **state)
{
	struct fixture *f = *state;
	const unsigned count = 24;
	int64_t t0_us = et_clock_mono_us();

	f->keep = true;
	f->wait_answers = 1; /* Look after each. */
	for (unsigned i = 0; i < count; i++) {
		ask(f, NULL, 15000);
	}
	while (f->answers + f->kept_count < count) {
		world_run(&f->w);
	}
	double seconds = (double)(et_clock_mono_us() - t0_us) / 1e6;
	assert_true(f->kept_count <= 16);
	assert_true((double)f->kept_count <= 10 + 5 * seconds);
	assert_true(f->kept_count >= 10);
	assert_int_equal(f->code, ET_EBUSY);
	const struct et_join_reply reply = { .code = ET_EDENIED };
	while (f->kept_count > 0) {
		et_join_answer(f->kept[--f->kept_count], &reply);
	}
	while (f->answers < count) {
		world_run(&f->w);
	}
}

static void stopping_forgets_unanswered_requests(void **state)
{
	struct fixture *f = *state;

	f->keep = true;
	f->wait_answers = 1;
	ask(f, NULL, 5000);
	world_run(&f->w);
	assert_int_equal(f->kept_count, 1);
	node_stop(&f->w, ET_TAKE(f->node));
	while (f->answers == 0) {
		world_run(&f->w);
	}
	assert_int_equal(f->code, ET_EUNREACHABLE);
	const struct et_join_reply reply = { .code = ET_EDENIED };
	et_join_answer(f->kept[--f->kept_count], &reply);
}

static void a_join_connection_opens_no_other_door(void **state)
{
	struct fixture *f = *state;
	struct et_join_request request;
	struct et_view bytes = { f->request.data, f->request.size };

	/* Any change of the request is refused, or is another request. */
	for (size_t i = 0; i < f->request.size; i++) {
		f->request.data[i] ^= 0x80;
		if (et_join_request_parse(bytes, &request, NULL) == 0) {
			et_join_request_release(&request);
		}
		f->request.data[i] ^= 0x80;
		assert_true(et_join_request_parse((struct et_view){ f->request.data, i }, &request,
						  NULL) < 0);
	}
	/* What a joiner may speak is evertape-join/1 alone: no peer, no node. */
	assert_int_equal(join(f), 0);
	assert_false(et_rpc_is_connected(f->node, 0));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(the_holder_of_a_token_is_let_in),
		TEST(a_forwarded_request_still_proves_itself),
		TEST(another_seed_is_refused),
		TEST(the_joiner_trusts_the_tokens_ca_only),
		TEST(the_joiner_checks_what_it_is_given),
		TEST(addresses_are_tried_in_turn),
		TEST(silence_ends_by_the_clock),
		TEST(strangers_are_paced),
		TEST(stopping_forgets_unanswered_requests),
		TEST(a_join_connection_opens_no_other_door),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
