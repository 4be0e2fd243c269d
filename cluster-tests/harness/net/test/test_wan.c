#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cluster-tests/harness/net/wan.h"

#define FRAMES 10000

static void control(struct et_wan *w, const char *line, const char *want)
{
	char reply[4096];
	et_wan_command(w, line, reply, sizeof(reply));
	assert_string_equal(reply, want);
}

/* The number of the next frame (its content) due by `now_us`, or -1. */
static int taken(struct et_wan *w, uint64_t now_us)
{
	int number = -1;
	struct et_wan_frame *f = et_wan_take(w, now_us);
	if (f != NULL) {
		assert_int_equal(f->size, sizeof(number));
		memcpy(&number, f->data, sizeof(number));
		free(f);
	}
	return number;
}

static void sent(struct et_wan *w, uint64_t now_us, int from, int to, int number)
{
	uint8_t data[sizeof(number)];
	memcpy(data, &number, sizeof(number));
	et_wan_send(w, now_us, from, to, data, sizeof(data));
}

static void a_frame_takes_as_long_as_its_link(void **state)
{
	struct et_wan *w = et_wan_new(2, 7);
	(void)state;
	control(w, "set 0 1 delay 50", "OK\n");
	sent(w, 1000, 0, 1, 1);
	sent(w, 1000, 1, 0, 2);
	assert_int_equal(taken(w, 1000), 2); /* the other direction has no delay */
	assert_int_equal(et_wan_due(w), 51000);
	assert_int_equal(taken(w, 50999), -1);
	assert_int_equal(taken(w, 51000), 1);
	assert_int_equal(et_wan_due(w), UINT64_MAX);
	(void)et_wan_free(w);
}

static void a_cut_is_for_its_direction_and_for_what_is_under_way(void **state)
{
	struct et_wan *w = et_wan_new(3, 7);
	(void)state;
	control(w, "set * * delay 10", "OK\n");
	sent(w, 0, 0, 1, 1);
	control(w, "set 0 1 up 0", "OK\n");
	sent(w, 0, 0, 1, 2);
	sent(w, 0, 1, 0, 3);
	sent(w, 0, 0, 2, 4);
	assert_int_equal(taken(w, 10000), 3);
	assert_int_equal(taken(w, 10000), 4);
	assert_int_equal(taken(w, 10000), -1);
	assert_int_equal(et_wan_link(w, 0, 1)->cut, 2);
	control(w, "clear", "OK\n");
	sent(w, 20000, 0, 1, 5);
	assert_int_equal(taken(w, 20000), 5);
	(void)et_wan_free(w);
}

static void loss_and_duplication_are_as_often_as_said(void **state)
{
	struct et_wan *w = et_wan_new(2, 42);
	(void)state;
	control(w, "set 0 1 loss 2 dup 5", "OK\n");
	for (int i = 0; i < FRAMES; i++) {
		sent(w, 0, 0, 1, i);
		while (taken(w, 0) >= 0) {
		}
	}
	const struct et_wan_link *l = et_wan_link(w, 0, 1);
	assert_in_range(l->lost, FRAMES * 15 / 1000, FRAMES * 25 / 1000);
	assert_in_range(l->duplicated, FRAMES * 40 / 1000, FRAMES * 60 / 1000);
	assert_int_equal(l->out, FRAMES - l->lost + l->duplicated);
	(void)et_wan_free(w);
}

static void jitter_keeps_the_order_and_reorder_does_not(void **state)
{
	struct et_wan *w = et_wan_new(2, 42);
	int last = -1, backwards = 0;
	(void)state;
	control(w, "set 0 1 delay 20 jitter 15", "OK\n");
	for (int i = 0; i < 1000; i++) {
		sent(w, (uint64_t)i * 100, 0, 1, i);
	}
	for (int n; (n = taken(w, UINT64_MAX - 1)) >= 0; last = n) {
		assert_true(n > last);
	}
	assert_int_equal(last, 999);
	control(w, "set 0 1 jitter 0 reorder 10", "OK\n");
	for (int i = 0; i < 1000; i++) {
		sent(w, 200000 + (uint64_t)i * 100, 0, 1, i);
	}
	last = -1;
	for (int n; (n = taken(w, UINT64_MAX - 1)) >= 0; last = n) {
		backwards += n < last;
	}
	assert_in_range(backwards, 50, 150);
	(void)et_wan_free(w);
}

static void the_rate_spaces_frames_and_the_queue_has_an_end(void **state)
{
	struct et_wan *w = et_wan_new(2, 42);
	(void)state;
	control(w, "set 0 1 kbit 32 limit 3", "OK\n"); /* 4 bytes take 1 ms */
	for (int i = 0; i < 5; i++) {
		sent(w, 0, 0, 1, i);
	}
	assert_int_equal(et_wan_link(w, 0, 1)->overflowed, 2);
	assert_int_equal(taken(w, 999), -1);
	assert_int_equal(taken(w, 1000), 0);
	assert_int_equal(taken(w, 1999), -1);
	assert_int_equal(taken(w, 3000), 1);
	assert_int_equal(taken(w, 3000), 2);
	(void)et_wan_free(w);
}

static void one_seed_one_story(void **state)
{
	uint64_t lost[3];
	(void)state;
	for (int run = 0; run < 3; run++) {
		struct et_wan *w = et_wan_new(2, run < 2 ? 5 : 6);
		uint64_t sum = 0;
		control(w, "set * * loss 30", "OK\n");
		for (int i = 0; i < 1000; i++) {
			sent(w, (uint64_t)i, 0, 1, i);
			int n = taken(w, (uint64_t)i);
			sum = sum * 31 + (uint64_t)(n + 1);
		}
		lost[run] = sum;
		(void)et_wan_free(w);
	}
	assert_true(lost[0] == lost[1]);
	assert_true(lost[0] != lost[2]);
}

static void a_bad_line_changes_nothing(void **state)
{
	struct et_wan *w = et_wan_new(2, 1);
	char reply[64], line[600];
	(void)state;
	const char *bad[] = { "set 0 2 delay 1",
			      "set 0 1 delay",
			      "set 0 1 delay 5 loss 101",
			      "set 0 1 speed 5",
			      "set 0 1 delay -5",
			      "set 0",
			      "set 0 1",
			      "",
			      "seed x",
			      "what" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		et_wan_command(w, bad[i], reply, sizeof(reply));
		assert_memory_equal(reply, "ERR ", 4);
	}
	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	et_wan_command(w, line, reply, sizeof(reply));
	assert_memory_equal(reply, "ERR ", 4);
	assert_int_equal(et_wan_link(w, 0, 1)->delay_us, 0);
	et_wan_command(w, "stats", reply, sizeof(reply)); /* cut to what there is room for */
	assert_int_equal(strlen(reply), sizeof(reply) - 1);
	(void)et_wan_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_takes_as_long_as_its_link),
		cmocka_unit_test(a_cut_is_for_its_direction_and_for_what_is_under_way),
		cmocka_unit_test(loss_and_duplication_are_as_often_as_said),
		cmocka_unit_test(jitter_keeps_the_order_and_reorder_does_not),
		cmocka_unit_test(the_rate_spaces_frames_and_the_queue_has_an_end),
		cmocka_unit_test(one_seed_one_story),
		cmocka_unit_test(a_bad_line_changes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
