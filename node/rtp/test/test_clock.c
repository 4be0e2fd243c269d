/* When packets play: node/rtp/clock.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/rtp/clock.h"

enum { RATE = 8000, TICKS = 160, PACKET_US = 20000 };

#define T0 INT64_C(1700000000000000)

static struct et_rtp_clock_packet packet(uint32_t n, int64_t jitter_us)
{
	return (struct et_rtp_clock_packet){ .sequence = (uint16_t)(65000 + n),
					     .timestamp = 0xFFFFF000U + n * TICKS,
					     .arrival_us = T0 + n * PACKET_US + jitter_us };
}

static int64_t add(struct et_rtp_clock *c, const struct et_rtp_clock_packet *p)
{
	return et_rtp_place_us(et_rtp_clock_add(c, RATE, p, T0, INT64_MIN), RATE);
}

/* A network's delay, the same for the same packet. */
static int64_t jitter(uint32_t n)
{
	return n * 7919 % 9000;
}

static void timestamps_tell_the_places_over_wraps(void **state)
{
	struct et_rtp_clock c = { 0 };

	(void)state;
	for (uint32_t n = 0; n < 2000; n++) {
		const struct et_rtp_clock_packet p = packet(n, n == 0 ? -5000 : jitter(n));
		assert_int_equal(add(&c, &p), T0 + n * PACKET_US); /* The first: at the begin. */
	}
	assert_int_equal(c.anchors, 0);
	assert_int_equal(c.length, TICKS);
}

static void late_packets_go_back(void **state)
{
	struct et_rtp_clock c = { 0 };

	(void)state;
	for (uint32_t n = 0; n < 20; n++) {
		const struct et_rtp_clock_packet p = packet(n ^ 1, 0);
		const int64_t first = T0 + PACKET_US; /* of number 1, by which all is told */
		assert_int_equal(add(&c, &p), first + ((int64_t)(n ^ 1) - 1) * PACKET_US);
	}
	assert_int_equal(c.anchors, 0);
}

static void a_restarted_sender_is_anchored_behind_what_it_played(void **state)
{
	struct et_rtp_clock c = { 0 };
	struct et_rtp_clock_packet p = packet(0, 8000);

	(void)state;
	assert_int_equal(add(&c, &p), T0 + 8000);
	p = packet(1, 0);
	assert_int_equal(add(&c, &p), T0 + 28000);
	p = packet(2, 0);
	p.timestamp = 0xF0000000U; /* back, while numbers go on */
	assert_int_equal(add(&c, &p), T0 + 48000);
	assert_int_equal(c.anchors, 1);
}

static struct et_rtp_clock_packet jumping(uint32_t n, uint32_t jump_at)
{
	struct et_rtp_clock_packet p = packet(n, jitter(n));

	p.timestamp += n / jump_at * 77777; /* again and again */
	return p;
}

/* Who saw the beginning, and goes on with what another saw of the end, has seen all. */
static void resumed(uint32_t cut, uint32_t jump_at)
{
	struct et_rtp_clock all = { 0 };
	struct et_rtp_clock before = { 0 };
	struct et_rtp_clock after = { 0 };
	for (uint32_t n = 0; n < 200; n++) {
		const struct et_rtp_clock_packet p = jumping(n, jump_at);
		(void)add(&all, &p);
		if (n < cut) {
			(void)add(&before, &p);
		} else {
			(void)et_rtp_clock_add(&after, RATE, &p, INT64_MIN, INT64_MIN);
		}
	}
	et_rtp_clock_resume(&before, &after, INT64_MIN);
	const struct et_rtp_clock_packet next = jumping(201, jump_at);
	assert_int_equal(before.anchors, all.anchors);
	assert_int_equal(before.now.sequence, all.now.sequence);
	assert_int_equal(add(&before, &next), add(&all, &next));
}

static void a_later_part_is_resumed(void **state)
{
	(void)state;
	for (uint32_t cut = 1; cut < 200; cut++) {
		resumed(cut, 500);
		resumed(cut, 120);
		resumed(cut, 7);
	}
}

static void nothing_is_resumed_from_nothing(void **state)
{
	struct et_rtp_clock c = { 0 };
	const struct et_rtp_clock none = { 0 };
	const struct et_rtp_clock_packet p = packet(0, 0);

	(void)state;
	(void)add(&c, &p);
	et_rtp_clock_resume(&c, &none, INT64_MIN);
	assert_true(c.anchored);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timestamps_tell_the_places_over_wraps),
		cmocka_unit_test(late_packets_go_back),
		cmocka_unit_test(a_restarted_sender_is_anchored_behind_what_it_played),
		cmocka_unit_test(a_later_part_is_resumed),
		cmocka_unit_test(nothing_is_resumed_from_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
