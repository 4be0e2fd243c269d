/* Calls on demand at the live recorder: kept while they run, after their end, behind a kill -9. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/capture/test/live_kit.h"

/* A call on demand, and so many packets of each side. */
static void begin(struct fixture *f, uint32_t packets)
{
	f->on_demand = true;
	start(f);
	call(f);
	talk(f, packets);
}

static void a_call_on_demand_is_kept_while_it_runs(void **state)
{
	struct fixture *f = *state;
	uint8_t id[16];
	begin(f, 50);
	memcpy(id, wait_for(f, ET_CAPTURE_RING)->recording, 16);
	const struct told *kept = keep_it(f, id);
	assert_int_equal(kept->code, 0);
	assert_true(kept->kept.changed);
	assert_int_equal(kept->kept.from_us, kept->kept.start_us);
	talk(f, 50);
	assert_false(keep_it(f, id)->kept.changed);
	hang_up(f);
	struct told *closed = wait_for(f, ET_CAPTURE_RECORDING_CLOSE);
	assert_int_equal(closed->packets, 200);
	assert_int_equal(closed->gaps, 0);
	stop(f);
	assert_memory_equal(find(f, ET_CAPTURE_RECORDING_OPEN, 0)->recording, id, 16);
	assert_int_equal(read_tape(f, 1).packets, 200);
}

static void a_call_on_demand_is_kept_after_its_end(void **state)
{
	struct fixture *f = *state;
	uint8_t id[16];
	begin(f, 50);
	hang_up(f);
	struct told *t = NULL;
	do { /* its end, two seconds after the BYE */
		t = wait_for(f, ET_CAPTURE_RING);
	} while (t->state == ET_CALL_LIVE);
	memcpy(id, t->recording, 16);
	assert_int_equal(keep_it(f, id)->code, 0);
	assert_int_equal(wait_for(f, ET_CAPTURE_RECORDING_CLOSE)->packets, 100);
	assert_int_equal(keep_it(f, id)->code, ET_ENOTFOUND); /* it is told, and forgotten here */
	stop(f);
	assert_int_equal(read_tape(f, 1).packets, 100);
}

static void a_killed_recorder_loses_its_rings_and_begins_others(void **state)
{
	struct fixture *f = *state;
	uint8_t id[16];
	begin(f, 100);
	for (int i = 0; i < 3; i++) { /* the call table is saved */
		wait_for(f, ET_CAPTURE_TICK);
	}
	memcpy(id, find(f, ET_CAPTURE_RING, 0)->recording, 16);
	kill_it(f);
	start(f);
	assert_int_equal(find(f, ET_CAPTURE_PROBLEM, 0)->code, ET_ENOKEY);
	talk(f, 50);
	const struct told *kept = keep_it(f, id);
	assert_int_equal(kept->code, 0);
	assert_true(kept->kept.from_us > kept->kept.start_us);
	hang_up(f);
	struct told *closed = wait_for(f, ET_CAPTURE_RECORDING_CLOSE);
	assert_int_equal(closed->gaps, 1);
	assert_string_equal(closed->cause, "before-ring");
	stop(f);
	const struct told *opened = find(f, ET_CAPTURE_SEGMENT_OPEN, 0);
	assert_int_equal(read_tape(f, opened->segment.segment).packets, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_call_on_demand_is_kept_while_it_runs),
		TEST(a_call_on_demand_is_kept_after_its_end),
		TEST(a_killed_recorder_loses_its_rings_and_begins_others),
	};
	return live_begin()
		       ? cmocka_run_group_tests_name("node/capture/live_demand", tests, NULL, NULL)
		       : 77;
}
