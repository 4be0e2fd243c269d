/* The live recorder: a call over real sockets; a stop and a kill -9 in the middle of a call, each
 * followed by a start that goes on with it; pauses; a disk that gets full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/capture/test/live_kit.h"

static void a_call_is_recorded_sealed_and_told(void **state)
{
	struct fixture *f = *state;
	record_a_call(f);
}

static void a_stop_and_a_start_go_on_with_the_call(void **state)
{
	struct fixture *f = *state;
	start(f);
	call(f);
	talk(f, 50);
	wait_for(f, ET_CAPTURE_SEGMENT_OPEN);
	stop(f);
	assert_int_equal(find(f, ET_CAPTURE_SEGMENT_SEALED, 1)->segment.seal, ET_SEAL_SEALED);
	start(f);
	talk(f, 50);
	hang_up(f);
	struct told *closed = wait_for(f, ET_CAPTURE_RECORDING_CLOSE);
	assert_int_equal(closed->state, ET_CALL_ANSWERED);
	assert_int_equal(closed->gaps, 1);
	assert_string_equal(closed->cause, "recorder-restart");
	assert_int_equal(closed->packets, 200);
	stop(f);
	assert_true(find(f, ET_CAPTURE_SEGMENT_OPEN, 2)->restored);
	assert_memory_equal(find(f, ET_CAPTURE_SEGMENT_OPEN, 1)->recording,
			    find(f, ET_CAPTURE_SEGMENT_OPEN, 2)->recording, 16);
	assert_int_equal(read_tape(f, 1).packets, 100);
	struct content c = read_tape(f, 2);
	assert_int_equal(c.packets, 100);
	assert_int_equal(c.gaps, 1);
}

static void a_killed_recorder_goes_on_with_the_call(void **state)
{
	struct fixture *f = *state;
	start(f);
	call(f);
	talk(f, 300); /* a second and a half: the table is saved, the first record sealed */
	wait_for(f, ET_CAPTURE_TICK);
	wait_for(f, ET_CAPTURE_TICK);
	wait_for(f, ET_CAPTURE_TICK);
	talk(f, 300);
	kill_it(f);
	start(f);
	talk(f, 100);
	hang_up(f);
	struct told *closed = wait_for(f, ET_CAPTURE_RECORDING_CLOSE);
	assert_int_equal(closed->state, ET_CALL_ANSWERED);
	assert_int_equal(closed->gaps, 1);
	assert_string_equal(closed->cause, "recorder-restart");
	assert_in_range(closed->gap_us, 1, 10000000);
	stop(f);
	assert_int_equal(find(f, ET_CAPTURE_SEGMENT_SEALED, 1)->segment.seal,
			 ET_SEAL_RECOVERED_UNVERIFIED);
	/* At most a second of it is missing: 400 packets at this speed. */
	assert_in_range(read_tape(f, 1).packets, 800, 1200);
	assert_int_equal(read_tape(f, 2).packets, 200);
}

/* What was acknowledged as paused is paused when it is back: nothing of the pause is on a tape. */
static void a_killed_recorder_goes_on_paused(void **state)
{
	struct fixture *f = *state;
	uint8_t id[16];
	start(f);
	call(f);
	talk(f, 50);
	memcpy(id, wait_for(f, ET_CAPTURE_SEGMENT_OPEN)->recording, 16);
	struct et_capture_pause p = pause_it(f, id, true);
	assert_true(p.paused && p.changed);
	uint32_t from = f->number;
	talk(f, 20);
	struct et_capture_pause again = pause_it(f, id, true);
	assert_false(again.changed);
	assert_in_range(again.packets, 1, 40);
	for (int i = 0; i < 3; i++) { /* the sound before it is sealed by its age, and synced */
		wait_for(f, ET_CAPTURE_TICK);
	}
	kill_it(f);
	talk(f, 20);
	start(f);
	talk(f, 50);
	struct et_capture_pause end = pause_it(f, id, false);
	assert_true(!end.paused && end.changed);
	assert_int_equal(end.from_us, p.from_us);
	uint32_t to = f->number;
	talk(f, 50);
	hang_up(f);
	struct told *closed = wait_for(f, ET_CAPTURE_RECORDING_CLOSE);
	assert_int_equal(closed->gaps, 2);
	assert_string_equal(closed->cause, "paused");
	assert_int_equal(closed->gap_us, end.to_us - end.from_us);
	stop(f);
	struct content before = read_tape(f, 1);
	assert_int_equal(before.packets, 100);
	assert_int_equal(before.last, from - 1);
	assert_int_equal(before.pauses, 1);
	assert_int_equal(before.resumes, 0);
	struct content after = read_tape(f, 2);
	assert_int_equal(after.packets, 100);
	assert_int_equal(after.first, to);
	assert_int_equal(after.pauses, 1); /* it says so itself */
	assert_int_equal(after.resumes, 1);
	assert_int_equal(after.gaps, 1);
}

static void what_is_not_recorded_is_not_paused(void **state)
{
	struct fixture *f = *state;
	struct order order = { .pause = true };
	start(f);
	assert_int_equal(write(f->stop_fd, &order, sizeof(order)), (ssize_t)sizeof(order));
	assert_int_equal(wait_for(f, (enum et_capture_event_kind)TOLD_PAUSE)->code, ET_ENOTFOUND);
	stop(f);
}

/* On a filesystem of 3 MiB: what was told is there, nothing crashes, the next start works. */
static void a_full_disk_loses_nothing_that_was_told(void **state)
{
	struct fixture *f = *state;
	char path[256];
	assert_int_equal(mkdir(f->media, 0700), 0);
	assert_int_equal(mount("tmpfs", f->media, "tmpfs", 0, "size=3m"), 0);
	start(f);
	call(f);
	talk(f, 100);
	for (int i = 0; i < 3; i++) { /* what was said is sealed by its age, and synced */
		wait_for(f, ET_CAPTURE_TICK);
	}
	(void)snprintf(path, sizeof(path), "%s/hog", f->media);
	int hog = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(hog >= 0);
	static const char zeros[4096];
	while (write(hog, zeros, sizeof(zeros)) > 0) {
	}
	talk(f, 400);
	assert_int_equal(wait_for(f, ET_CAPTURE_PROBLEM)->code, -ENOSPC);
	assert_int_equal(ftruncate(hog, 0), 0);
	(void)close(hog);
	wait_for(f, ET_CAPTURE_SEGMENT_SEALED);
	/* After a while it tries again, under a new key. */
	for (int i = 0; i < 20 && f->told[f->count - 1].kind != ET_CAPTURE_SEGMENT_OPEN; i++) {
		struct pollfd fd = { .fd = f->told_fd, .events = POLLIN };
		talk(f, 100);
		while (poll(&fd, 1, 0) == 1 &&
		       f->told[f->count - 1].kind != ET_CAPTURE_SEGMENT_OPEN) {
			(void)next_told(f);
		}
	}
	talk(f, 50);
	hang_up(f);
	struct told *closed = wait_for(f, ET_CAPTURE_RECORDING_CLOSE);
	assert_int_equal(closed->state, ET_CALL_ANSWERED);
	assert_int_equal(closed->gaps, 1);
	assert_string_equal(closed->cause, "disk-full");
	stop(f);
	assert_true(read_tape(f, 1).packets >= 200);
	assert_true(read_tape(f, 2).packets >= 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_call_is_recorded_sealed_and_told),
		TEST(a_stop_and_a_start_go_on_with_the_call),
		TEST(a_killed_recorder_goes_on_with_the_call),
		TEST(a_killed_recorder_goes_on_paused),
		TEST(what_is_not_recorded_is_not_paused),
		TEST(a_full_disk_loses_nothing_that_was_told),
	};
	return live_begin() ? cmocka_run_group_tests_name("node/capture/live", tests, NULL, NULL)
			    : 77;
}
