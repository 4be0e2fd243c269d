#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/audio/holes_internal.h"

enum { RATE = 8000, LENGTH = 160 };

/* Packet n is there, with its sound. */
static void come(struct holes *h, uint16_t n, int64_t position)
{
	assert_int_equal(holes_came(h, n, position), 0);
	holes_heard(h, n, position + LENGTH, LENGTH);
}

/* All packets of a stream whose first has the number 65530, but for some. */
static void come_all(struct holes *h, uint32_t count, uint64_t lost)
{
	for (uint32_t n = 0; n < count; n++) {
		if ((lost >> n & 1) == 0) {
			come(h, (uint16_t)(65530 + n), n * LENGTH);
		}
	}
}

static void assert_hole(struct holes *h, int64_t from, int64_t to)
{
	struct hole hole;

	assert_true(holes_take(h, INT64_MAX, RATE, &hole));
	assert_int_equal(hole.from, from);
	assert_int_equal(hole.to, to);
}

static void assert_no_hole(struct holes *h)
{
	struct hole hole;

	assert_false(holes_take(h, INT64_MAX, RATE, &hole));
	holes_release(h);
}

static void lost_packets_are_holes(void **state)
{
	struct holes h = { 0 };
	struct hole hole;

	(void)state;
	come_all(&h, 20, 1U << 3 | 1U << 8 | 1U << 9);
	assert_true(holes_before(&h, (uint16_t)(65530 + 4), RATE, &hole));
	assert_int_equal(hole.from, 3 * LENGTH);
	assert_int_equal(hole.since, 0);
	assert_false(holes_before(&h, (uint16_t)(65530 + 5), RATE, &hole));
	assert_false(holes_before(&h, 65530, RATE, &hole));
	assert_false(holes_take(&h, 3 * LENGTH, RATE, &hole));
	assert_hole(&h, 3 * LENGTH, 4 * LENGTH);
	assert_hole(&h, 8 * LENGTH, 10 * LENGTH);
	assert_no_hole(&h);
}

static void a_packet_that_comes_late_closes_its_part(void **state)
{
	struct holes h = { 0 };

	(void)state;
	come_all(&h, 20, 1U << 5 | 1U << 6 | 1U << 7 | 1U << 12);
	come(&h, (uint16_t)(65530 + 6), 6 * LENGTH);
	come(&h, (uint16_t)(65530 + 12), 12 * LENGTH);
	come(&h, (uint16_t)(65530 + 12), 12 * LENGTH);
	assert_hole(&h, 5 * LENGTH, 6 * LENGTH);
	assert_hole(&h, 7 * LENGTH, 8 * LENGTH);
	assert_no_hole(&h);
}

static void what_was_not_sent_is_no_hole(void **state)
{
	struct holes h = { 0 };

	(void)state;
	come(&h, 1, 0);
	come(&h, 2, 5 * LENGTH);  /* silence: the numbers go on */
	come(&h, 4, 20 * LENGTH); /* a packet is missing, and much more time */
	come(&h, 5, 21 * LENGTH);
	come(&h, 16, 25 * LENGTH); /* more packets than there is room for: they were no sound */
	assert_int_equal(holes_came(&h, 17, 26 * LENGTH), 0); /* comfort noise */
	come(&h, 19, 28 * LENGTH);
	come(&h, 20 + 200, 29 * LENGTH + 200 * LENGTH); /* 4 s: an outage */
	assert_no_hole(&h);
}

static void behind_a_new_beginning_nothing_is_told(void **state)
{
	struct holes h = { 0 };

	(void)state;
	come(&h, 7, 0);
	holes_begin(&h);
	come(&h, 9, 2 * LENGTH);
	come(&h, 11, 4 * LENGTH);
	come(&h, 8, LENGTH); /* of before */
	assert_hole(&h, 3 * LENGTH, 4 * LENGTH);
	assert_no_hole(&h);
}

static void the_oldest_of_too_many_are_forgotten(void **state)
{
	struct holes h = { 0 };

	(void)state;
	for (uint32_t n = 0; n < 3 * HOLES_RUNS_MAX; n++) {
		come(&h, (uint16_t)(2 * n), (int64_t)(2 * n) * LENGTH);
	}
	assert_int_equal(h.count, HOLES_RUNS_MAX);
	come(&h, (uint16_t)(2 * 2 * HOLES_RUNS_MAX - 1), (4 * HOLES_RUNS_MAX - 1) * LENGTH);
	assert_hole(&h, (4 * HOLES_RUNS_MAX + 1) * LENGTH, (4 * HOLES_RUNS_MAX + 2) * LENGTH);
	holes_release(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lost_packets_are_holes),
		cmocka_unit_test(a_packet_that_comes_late_closes_its_part),
		cmocka_unit_test(what_was_not_sent_is_no_hole),
		cmocka_unit_test(behind_a_new_beginning_nothing_is_told),
		cmocka_unit_test(the_oldest_of_too_many_are_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
