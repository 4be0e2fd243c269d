/* The proposer against a journal in a temporary folder, and a catalogue that answers as it is told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/daemon/proposer.h"
#include "node/io/clock.h"

enum { ANSWERS_MAX = 64 };

struct answer {
	uv_idle_t idle;
	et_catalog_cb cb;
	void *cb_arg;
	Et__Command *command; /* owned */
};

struct fixture {
	char folder[64];
	uv_loop_t loop;
	struct et_journal *journal;
	struct et_proposer *proposer;
	struct answer *waiting[ANSWERS_MAX]; /* proposed and not answered */
	int waiting_count;
	uint64_t done[ANSWERS_MAX]; /* sequence numbers, in order of on_done */
	int done_count;
	int stopped;
};

static void propose(void *arg, struct et_view packed, uint32_t timeout_ms, et_catalog_cb cb,
		    void *cb_arg)
{
	struct fixture *f = arg;
	struct answer *answer = calloc(1, sizeof(*answer));

	(void)timeout_ms;
	assert_non_null(answer);
	assert_int_equal(et_command_unpack(packed.data, packed.size, &answer->command, NULL), 0);
	answer->cb = cb;
	answer->cb_arg = cb_arg;
	assert_true(f->waiting_count < ANSWERS_MAX);
	f->waiting[f->waiting_count++] = answer;
}

static void on_done(void *arg, const Et__Command *command, int code, const Et__Result *result)
{
	struct fixture *f = arg;

	(void)code;
	(void)result;
	f->done[f->done_count++] = command->op->seq;
}

static void start(struct fixture *f)
{
	struct et_proposer_config config = { .loop = &f->loop,
					     .journal = f->journal,
					     .propose = propose,
					     .on_done = on_done,
					     .arg = f };
	assert_int_equal(et_proposer_start(&config, &f->proposer, NULL), 0);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/et_proposer.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	assert_int_equal(uv_loop_init(&f->loop), 0);
	assert_int_equal(et_journal_open(f->folder, 7, &f->journal, NULL), 0);
	*state = f;
	return 0;
}

static void on_stopped(void *arg)
{
	struct fixture *f = arg;
	f->stopped++;
}

/* Answer the oldest waiting proposal that is of sequence number `seq`. */
static void answer(struct fixture *f, uint64_t seq, int code)
{
	for (int i = 0; i < f->waiting_count; i++) {
		struct answer *a = f->waiting[i];
		if (a->command->op->seq != seq) {
			continue;
		}
		f->waiting[i] = f->waiting[--f->waiting_count];
		Et__Result result = ET__RESULT__INIT;
		bool applied = code == 0 || code == ET_EREFUSED;
		result.code = code;
		a->cb(a->cb_arg, code, applied ? &result : NULL);
		et_command_free(a->command);
		free(a);
		return;
	}
	fail_msg("sequence number %llu is not waiting", (unsigned long long)seq);
}

static bool is_waiting(const struct fixture *f, uint64_t seq)
{
	for (int i = 0; i < f->waiting_count; i++) {
		if (f->waiting[i]->command->op->seq == seq) {
			return true;
		}
	}
	return false;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	et_proposer_stop(f->proposer, on_stopped, f);
	while (f->waiting_count > 0) {
		answer(f, f->waiting[0]->command->op->seq, ET_ECLOSED);
	}
	(void)uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->stopped, 1);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	(void)et_journal_close(f->journal);
	char command[96];
	(void)snprintf(command, sizeof(command), "rm -r '%s'", f->folder);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

/* A SegmentSeal of recording number `recording`. */
static void add(struct fixture *f, uint8_t recording)
{
	uint8_t id[16];
	uint8_t hash[32] = { 1 };
	Et__SegmentSeal body = ET__SEGMENT_SEAL__INIT;
	Et__Command command = ET__COMMAND__INIT;
	Et__OpId op = ET__OP_ID__INIT;
	struct et_buffer packed = { 0 };

	memset(id, recording, sizeof(id));
	body.recording = (ProtobufCBinaryData){ .len = 16, .data = id };
	body.generation = 1;
	body.segment = 1;
	body.state = ET__SEGMENT_STATE__SEGMENT_SEALED;
	body.root = (ProtobufCBinaryData){ .len = 32, .data = hash };
	body.object_hash = body.root;
	body.sealed_us = et_clock_now_us();
	char principal[] = "node:7";
	command.op = &op;
	command.principal = principal;
	command.schema = ET_COMMAND_SCHEMA;
	command.body_case = ET__COMMAND__BODY_SEGMENT_SEAL;
	command.segment_seal = &body;
	struct et_error error = { 0 };
	int rc = et_journal_append(f->journal, &command, &packed, &error);
	if (rc < 0) {
		fail_msg("%s", error.text);
	}
	command.op = NULL;
	if (f->proposer != NULL) {
		assert_int_equal(
			et_proposer_add(f->proposer, (struct et_view){ packed.data, packed.size }),
			0);
	}
	et_buffer_release(&packed);
}

static void run_until_waiting(struct fixture *f, uint64_t seq)
{
	while (!is_waiting(f, seq)) {
		int alive = uv_run(&f->loop, UV_RUN_ONCE);
		assert_true(alive != 0 || is_waiting(f, seq));
	}
}

static void one_recording_goes_in_order_and_two_side_by_side(void **state)
{
	struct fixture *f = *state;

	start(f);
	add(f, 1); /* 1 */
	add(f, 1); /* 2 */
	add(f, 2); /* 3 */
	assert_true(is_waiting(f, 1));
	assert_false(is_waiting(f, 2));
	assert_true(is_waiting(f, 3));
	answer(f, 3, 0);
	assert_false(is_waiting(f, 2));
	answer(f, 1, 0);
	assert_true(is_waiting(f, 2));
	answer(f, 2, 0);
	assert_int_equal(et_proposer_pending(f->proposer), 0);
	assert_int_equal(et_journal_pending(f->journal), 0);
}

static void what_is_not_answered_is_proposed_again_before_its_successor(void **state)
{
	static const int codes[] = { ET_ENOQUORUM, ET_EUNKNOWN, ET_EUNREACHABLE,
				     -ETIMEDOUT,   -ENOSPC,	ET_EVERSION };
	struct fixture *f = *state;

	start(f);
	add(f, 1);
	add(f, 1);
	for (size_t i = 0; i < ET_ARRAY_SIZE(codes); i++) {
		answer(f, 1, codes[i]);
		assert_int_equal(f->waiting_count, 0);
		run_until_waiting(f, 1);
		assert_false(is_waiting(f, 2));
	}
	assert_int_equal(et_journal_pending(f->journal), 2);
	answer(f, 1, 0);
	answer(f, 2, 0);
	assert_int_equal(f->done_count, 2);
}

static void a_refusal_is_an_answer(void **state)
{
	struct fixture *f = *state;

	start(f);
	add(f, 1);
	answer(f, 1, ET_EREFUSED);
	assert_int_equal(et_journal_pending(f->journal), 0);
	assert_int_equal(f->done_count, 1);
}

static void begins_with_what_the_journal_holds(void **state)
{
	struct fixture *f = *state;

	add(f, 1);
	add(f, 1);
	start(f);
	assert_true(is_waiting(f, 1));
	answer(f, 1, 0);
	answer(f, 2, 0);
	assert_int_equal(et_journal_pending(f->journal), 0);
}

static int count_one(void *arg, const Et__Command *command)
{
	(void)command;
	++*(int *)arg;
	return 0;
}

static void shows_what_is_pending(void **state)
{
	struct fixture *f = *state;
	int count = 0;

	start(f);
	add(f, 1);
	add(f, 2);
	assert_int_equal(et_proposer_each_pending(f->proposer, count_one, &count), 0);
	assert_int_equal(count, 2);
	answer(f, 1, 0);
	answer(f, 2, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_recording_goes_in_order_and_two_side_by_side,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_is_not_answered_is_proposed_again_before_its_successor, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(a_refusal_is_an_answer, set_up, tear_down),
		cmocka_unit_test_setup_teardown(begins_with_what_the_journal_holds, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(shows_what_is_pending, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
