/* Calls on demand, in the engine: who keeps them, what the sink is told, and what a restart leaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/capture/test/engine_kit.h"

/* What the sink was told of keeping. */
static struct {
	uint32_t count;
	int code; /* what it answers */
	struct et_keep last;
	int64_t ring_us; /* of the last open() */
	bool restored;
} told;

static int take_keep(void *arg, const struct et_keep *keep)
{
	(void)arg;
	if (told.code == 0) {
		told.count++;
		told.last = *keep;
	}
	return told.code;
}

static int look_open(void *arg, uint32_t slot, const struct et_facts *facts, bool restored)
{
	told.ring_us = facts->ring_us;
	told.restored = restored;
	return take_open(arg, slot, facts, restored);
}

static struct et_rules rules;

static void use_rules(struct fixture *f)
{
	f->engine->sink.keep = take_keep;
	f->engine->sink.open = look_open;
}

/* A call of a rule on demand, which the callee's *9 keeps. */
static void begin(struct fixture *f, bool answer)
{
	memset(&told, 0, sizeof(told));
	rules = (struct et_rules){
		.otherwise = ET_RULE_RECORD,
		.count = 1,
		.rules = { { .name = "wanted",
			     .action = ET_RULE_ON_DEMAND,
			     .pause = { .start = "*7", .stop = "*8" },
			     .ring = { .reach_us = 60000000,
				       .keep_for_us = 600000000,
				       .keep = "*9",
				       .by = ET_RULE_BY_CALLEE } } },
	};
	f->config.rules = &rules;
	make_again(f);
	use_rules(f);
	if (answer) {
		answered(f, "1", 4000);
		rtp(f, 1, 4000, 2, 4000, 0xA, 0);
		rtp(f, 2, 4000, 1, 4000, 0xB, 0);
	} else {
		sip(f, true, "INVITE sip:bob@x SIP/2.0", "1", "1 INVITE", "a", 1, 4000);
	}
}

static const struct et_call *call(const struct fixture *f)
{
	return f->engine->slots[0];
}

/* A key press of somebody: its first packet, and its end. */
static void press(struct fixture *f, uint8_t from, uint8_t key, uint32_t number)
{
	uint8_t to = from == 1 ? 2 : 1;
	for (uint32_t i = 0; i < 2; i++) {
		uint8_t p[16] = { 0x80, 101 };
		f->now_us += 20000;
		et_put16(p + 2, (uint16_t)(number + i));
		et_put32(p + 4, number * 160);
		et_put32(p + 8, from == 1 ? 0xA : 0xB);
		p[12] = key;
		p[13] = i == 1 ? 0x8A : 0x0A;
		datagram(f, from, 4000, to, 4000, p, sizeof(p));
	}
}

static struct et_keep request(const struct fixture *f, struct et_keep_ask *ask)
{
	struct et_keep keep = { .who = "token:anna", .at_us = f->now_us, .ask = ask };
	if (call(f) != NULL) {
		memcpy(keep.recording, call(f)->facts.id, 16);
	}
	return keep;
}

static void a_call_on_demand_goes_into_a_ring(void **state)
{
	struct fixture *f = *state;
	begin(f, true);
	assert_int_equal(told.ring_us, 60000000);
	assert_true(et_call_is_waiting(call(f)));
	assert_int_equal(f->media, 2);
	assert_int_equal(f->engine->rule_calls[0], 1);
	bye(f, "1");
	wait_s(f, 3);
	assert_int_equal(told.count, 0);
	assert_int_equal(f->closed[0].facts.ring_us, 60000000);
	assert_int_equal(f->closed[0].facts.keep_for_us, 600000000);
	assert_string_equal(f->closed[0].facts.kept, "");
}

static void keys_of_the_one_keep_it_and_of_the_other_do_not(void **state)
{
	struct fixture *f = *state;
	begin(f, true);
	press(f, 1, 10, 10);
	press(f, 1, 9, 20); /* the caller's */
	press(f, 2, 10, 10);
	assert_int_equal(told.count, 0);
	uint64_t media = f->media;
	press(f, 2, 9, 20);
	assert_int_equal(told.count, 1);
	assert_memory_equal(told.last.recording, call(f)->facts.id, 16);
	assert_string_equal(told.last.who, "keys of callee");
	assert_null(told.last.ask);
	assert_int_equal(f->media, media + 2); /* not as a pause: the key itself is on it */
	assert_false(et_call_is_waiting(call(f)));
	assert_string_equal(call(f)->facts.kept, "keys of callee");
	press(f, 2, 10, 30);
	press(f, 2, 9, 40);
	assert_int_equal(told.count, 1); /* once */
	press(f, 1, 10, 50);
	press(f, 1, 7, 60);
	assert_true(et_call_is_paused(call(f))); /* its rule's other keys go on */
}

static void keys_are_said_again_when_there_was_no_room(void **state)
{
	struct fixture *f = *state;
	begin(f, true);
	told.code = ET_ELIMIT;
	press(f, 2, 10, 10);
	const int64_t pressed_us = f->now_us + 20000;
	press(f, 2, 9, 20);
	assert_true(et_call_is_waiting(call(f)));
	wait_s(f, 1);
	assert_true(et_call_is_waiting(call(f)));
	told.code = 0;
	wait_s(f, 1);
	assert_int_equal(told.count, 1);
	assert_string_equal(told.last.who, "keys of callee");
	assert_int_equal(told.last.at_us, pressed_us);
	assert_false(et_call_is_waiting(call(f)));
}

static void a_request_keeps_it_once(void **state)
{
	struct fixture *f = *state;
	struct et_keep_ask ask = { .arg = NULL };
	begin(f, true);
	struct et_keep keep = request(f, &ask);
	told.code = ET_ELIMIT;
	assert_int_equal(et_engine_keep(f->engine, &keep), ET_ELIMIT);
	assert_true(et_call_is_waiting(call(f)));
	told.code = 0;
	assert_int_equal(et_engine_keep(f->engine, &keep), 0);
	assert_ptr_equal(told.last.ask, &ask);
	assert_string_equal(call(f)->facts.kept, "token:anna");
	assert_int_equal(call(f)->facts.kept_us, keep.at_us);
	(void)snprintf(keep.who, sizeof(keep.who), "token:ben");
	assert_int_equal(et_engine_keep(f->engine, &keep), 0); /* the sink says that it is so */
	assert_int_equal(told.count, 2);
	assert_string_equal(call(f)->facts.kept, "token:anna");
	bye(f, "1");
	wait_s(f, 3);
	assert_int_equal(f->closed[0].facts.ring_us, 0);
	keep.recording[0] ^= 1;
	assert_int_equal(et_engine_keep(f->engine, &keep), 0); /* who knows: the sink */
	assert_int_equal(told.count, 3);
}

static void who_rings_and_is_kept_is_recorded_from_its_beginning(void **state)
{
	struct fixture *f = *state;
	struct et_keep_ask ask = { .arg = NULL };
	begin(f, false);
	struct et_keep keep = request(f, &ask);
	assert_int_equal(et_engine_keep(f->engine, &keep), 1);
	assert_true(ask.result.changed);
	assert_int_equal(ask.result.from_us, call(f)->facts.start_us);
	assert_int_equal(et_engine_keep(f->engine, &keep), 1);
	assert_false(ask.result.changed);
	sip(f, false, "SIP/2.0 200 OK", "1", "1 INVITE", "ab", 2, 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 0);
	assert_int_equal(f->opens, 1);
	assert_int_equal(told.ring_us, 0);
	assert_int_equal(told.count, 0);
}

static int64_t nothing_recovered(void *arg, const uint8_t id[16], uint32_t *segment)
{
	(void)id;
	(void)segment;
	return *(int64_t *)arg;
}

/* As restart() of the kit; `known`: tapes of it were found. */
static void restart_on_demand(struct fixture *f, bool known)
{
	struct et_buffer table = { .data = NULL };
	int64_t died_us = f->now_us;
	et_engine_save(f->engine, &table);
	et_engine_free(f->engine);
	f->now_us += 1000000;
	f->engine = make(f);
	use_rules(f);
	et_engine_clock(f->engine, f->now_us);
	struct et_view view = { table.data, table.size };
	assert_int_equal(et_engine_restore(f->engine, view, known ? gap_from : nothing_recovered,
					   &died_us, NULL),
			 0);
	et_buffer_release(&table);
}

static void a_restart_loses_a_ring_and_begins_another(void **state)
{
	struct fixture *f = *state;
	begin(f, true);
	wait_s(f, 1);
	restart_on_demand(f, false);
	assert_true(et_call_is_waiting(call(f)));
	assert_int_equal(f->engine->demand_lost, 1);
	assert_int_equal(call(f)->facts.gap_count, 0); /* all of it is before the ring */
	assert_true(call(f)->facts.segment > 0);
	rtp(f, 1, 4000, 2, 4000, 0xA, 50);
	assert_false(told.restored); /* nobody was told of it */
	assert_int_equal(told.ring_us, 60000000);
	press(f, 2, 10, 60);
	press(f, 2, 9, 70);
	assert_int_equal(told.count, 1);
}

/* Before anything of it came: it is not one that rings. */
static void what_came_through_a_restart_is_opened_to_be_kept(void **state)
{
	struct fixture *f = *state;
	struct et_keep_ask ask = { .arg = NULL };
	begin(f, true);
	restart_on_demand(f, false);
	struct et_keep keep = request(f, &ask);
	assert_int_equal(et_engine_keep(f->engine, &keep), 0);
	assert_int_equal(told.count, 1);
	assert_int_equal(told.ring_us, 60000000); /* a ring, which says what it lacks */
	assert_false(told.restored);
	assert_false(et_call_is_waiting(call(f)));
}

static void what_was_kept_goes_on_after_a_restart(void **state)
{
	struct fixture *f = *state;
	begin(f, true);
	press(f, 2, 10, 10);
	press(f, 2, 9, 20);
	et_facts_gap(&f->engine->slots[0]->facts, 5, 6, et_gap_before);
	restart_on_demand(f, true);
	assert_false(et_call_is_waiting(call(f)));
	assert_string_equal(call(f)->facts.kept, "keys of callee");
	rtp(f, 1, 4000, 2, 4000, 0xA, 50);
	assert_true(told.restored);
	assert_int_equal(told.ring_us, 0);
	assert_int_equal(call(f)->facts.gap_count, 2);
	assert_ptr_equal(call(f)->facts.gaps[0].cause, et_gap_before); /* which is compared so */
	assert_string_equal(call(f)->facts.gaps[1].cause, "recorder-restart");
}

/* It was kept, and the table that says so did not get to the disk; its tapes did. */
static void tapes_of_a_call_say_that_it_was_kept(void **state)
{
	struct fixture *f = *state;
	begin(f, true);
	restart_on_demand(f, true);
	assert_false(et_call_is_waiting(call(f)));
	rtp(f, 1, 4000, 2, 4000, 0xA, 50);
	assert_true(told.restored);
	assert_int_equal(f->engine->demand_lost, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_call_on_demand_goes_into_a_ring),
		TEST(keys_of_the_one_keep_it_and_of_the_other_do_not),
		TEST(keys_are_said_again_when_there_was_no_room),
		TEST(a_request_keeps_it_once),
		TEST(who_rings_and_is_kept_is_recorded_from_its_beginning),
		TEST(a_restart_loses_a_ring_and_begins_another),
		TEST(what_came_through_a_restart_is_opened_to_be_kept),
		TEST(what_was_kept_goes_on_after_a_restart),
		TEST(tapes_of_a_call_say_that_it_was_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
