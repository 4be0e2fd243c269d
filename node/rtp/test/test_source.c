/* What one source sent and what of it arrived: loss, duplicates, lateness, restarts, jitter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/rtp/source.h"

#define CLOCK 8000

/* A packet of 20 ms, on time. */
static enum et_rtp_arrival add(struct et_rtp_source *s, uint16_t sequence)
{
	return et_rtp_source_add(s, sequence, sequence * 160U, sequence * 20000LL, CLOCK);
}

static void nothing_is_lost_of_a_whole_stream(void **state)
{
	(void)state;
	struct et_rtp_source s = { .packets = 0 };
	for (uint32_t i = 0; i < 70000; i++) { /* wraps once */
		assert_int_equal(et_rtp_source_add(&s, (uint16_t)(65000 + i), i * 160,
						   (int64_t)i * 20000, CLOCK),
				 ET_RTP_IN_ORDER);
	}
	assert_int_equal(s.packets, 70000);
	assert_int_equal(et_rtp_source_expected(&s), 70000);
	assert_int_equal(et_rtp_source_lost(&s), 0);
	assert_int_equal(s.runs, 1);
	assert_int_equal(et_rtp_source_jitter_us(&s), 0);
}

static void tells_loss_from_lateness_from_repetition(void **state)
{
	(void)state;
	struct et_rtp_source s = { .packets = 0 };
	assert_int_equal(add(&s, 10), ET_RTP_IN_ORDER);
	assert_int_equal(add(&s, 12), ET_RTP_IN_ORDER);
	assert_int_equal(et_rtp_source_lost(&s), 1);
	assert_int_equal(add(&s, 11), ET_RTP_LATE);
	assert_int_equal(et_rtp_source_lost(&s), 0);
	assert_int_equal(add(&s, 11), ET_RTP_DUPLICATE);
	assert_int_equal(add(&s, 12), ET_RTP_DUPLICATE);
	assert_int_equal(add(&s, 16), ET_RTP_IN_ORDER);
	assert_int_equal(s.packets, 6);
	assert_int_equal(s.late, 1);
	assert_int_equal(s.duplicate, 2);
	assert_int_equal(et_rtp_source_lost(&s), 3);
}

static void the_first_may_come_late(void **state)
{
	(void)state;
	struct et_rtp_source s = { .packets = 0 };
	assert_int_equal(add(&s, 1), ET_RTP_IN_ORDER);
	assert_int_equal(add(&s, 0), ET_RTP_LATE);
	assert_int_equal(add(&s, 65535), ET_RTP_LATE);
	assert_int_equal(et_rtp_source_expected(&s), 3);
	assert_int_equal(et_rtp_source_lost(&s), 0);
}

static void a_restart_is_a_new_run_and_no_loss(void **state)
{
	(void)state;
	struct et_rtp_source s = { .packets = 0 };
	for (uint16_t i = 0; i < 100; i++) {
		assert_int_equal(add(&s, i), ET_RTP_IN_ORDER);
	}
	assert_int_equal(add(&s, 30000), ET_RTP_JUMP);
	assert_int_equal(add(&s, 30001), ET_RTP_IN_ORDER);
	assert_int_equal(add(&s, 30003), ET_RTP_IN_ORDER);
	assert_int_equal(s.runs, 2);
	assert_int_equal(et_rtp_source_expected(&s), 104);
	assert_int_equal(et_rtp_source_lost(&s), 1);
}

static void a_stray_packet_costs_nothing(void **state)
{
	(void)state;
	struct et_rtp_source s = { .packets = 0 };
	assert_int_equal(add(&s, 100), ET_RTP_IN_ORDER);
	assert_int_equal(add(&s, 40000), ET_RTP_JUMP);
	assert_int_equal(add(&s, 101), ET_RTP_IN_ORDER);
	assert_int_equal(add(&s, 20000), ET_RTP_JUMP);
	assert_int_equal(s.runs, 1);
	assert_int_equal(s.packets, 4);
	assert_int_equal(et_rtp_source_expected(&s), 4);
	assert_int_equal(et_rtp_source_lost(&s), 0);
}

/* RFC 3550, A.8: J += (|D| - J) / 16; with a constant |D| it comes to |D|. */
static void jitter_comes_to_the_constant_difference(void **state)
{
	(void)state;
	struct et_rtp_source s = { .packets = 0 };
	for (uint32_t i = 0; i < 400; i++) {
		int64_t arrival = (int64_t)i * 20000 + (i % 2) * 5000; /* 5 ms, early and late */
		(void)et_rtp_source_add(&s, (uint16_t)i, i * 160, arrival, CLOCK);
	}
	assert_in_range(et_rtp_source_jitter_us(&s), 4000, 5000);
}

/* Any order of arrival: what was sent is unique and lost together, and nothing is counted twice. */
static void counts_agree_whatever_comes(void **state)
{
	(void)state;
	uint64_t dice = 7;
	struct et_rtp_source s = { .packets = 0 };
	for (uint32_t i = 0; i < 200000; i++) {
		dice = dice * 6364136223846793005ULL + 1442695040888963407ULL;
		(void)et_rtp_source_add(&s, (uint16_t)(dice >> 48), (uint32_t)(dice >> 20),
					(int64_t)(dice >> 30), CLOCK);
		uint64_t unique = s.packets - s.duplicate;
		assert_true(et_rtp_source_expected(&s) >= unique);
		assert_int_equal(et_rtp_source_lost(&s), et_rtp_source_expected(&s) - unique);
	}
	assert_int_equal(s.packets, 200000);
}

/* The bounds of a capture file's times, and the highest clock that SDP may name. */
static void no_time_is_too_long(void **state)
{
	(void)state;
	struct et_rtp_source s = { .packets = 0 };
	assert_int_equal(et_rtp_source_add(&s, 1, 0, 0, 1000000), ET_RTP_IN_ORDER);
	assert_int_equal(et_rtp_source_add(&s, 2, 1, 253402300799000000, 1000000), ET_RTP_IN_ORDER);
	assert_int_equal(et_rtp_source_add(&s, 3, 2, 1, 1000000), ET_RTP_IN_ORDER);
	assert_int_equal(et_rtp_source_lost(&s), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost_of_a_whole_stream),
		cmocka_unit_test(tells_loss_from_lateness_from_repetition),
		cmocka_unit_test(the_first_may_come_late),
		cmocka_unit_test(a_restart_is_a_new_run_and_no_loss),
		cmocka_unit_test(a_stray_packet_costs_nothing),
		cmocka_unit_test(jitter_comes_to_the_constant_difference),
		cmocka_unit_test(counts_agree_whatever_comes),
		cmocka_unit_test(no_time_is_too_long),
	};
	return cmocka_run_group_tests_name("node/rtp/source", tests, NULL, NULL);
}
