/* RTCP compounds: sender report with a block, source description, and every cut of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "node/rtp/rtcp.h"
#include "node/rtp/rtp.h"

static const uint8_t compound[] = {
	0x81, 200, 0,	 12,  0xAA, 0xBB, 0xCC, 0xDD,			 /* SR, one block */
	0xE0, 0,   0,	 1,   0x80, 0,	  0,	0,			 /* NTP */
	0,    0,   1,	 0,   0,    0,	  0,	5,    0,    0,	  3, 32, /* RTP time, packets,
									    octets */
	1,    2,   3,	 4,   64,   0xFF, 0xFF, 0xFE, /* block: SSRC, lost 25 %, -2 */
	0,    1,   0,	 9,   0,    0,	  0,	17,   0,    0,	  0, 0,	 0,   0,
	0,    0,   0x81, 202, 0,    2,	  0xAA, 0xBB, 0xCC, 0xDD, 1, 2,	 'a', 'b', /* SDES */
};

static void reads_reports(void **state)
{
	(void)state;
	struct et_rtcp rtcp;
	struct et_rtcp_sender sender;
	struct et_rtcp_report report;
	assert_int_equal(et_rtcp_parse(compound, sizeof(compound), &rtcp), 0);
	assert_int_equal(rtcp.type, ET_RTCP_SR);
	assert_int_equal(rtcp.ssrc, 0xAABBCCDD);
	assert_true(et_rtcp_sender(&rtcp, &sender));
	assert_int_equal(sender.ntp >> 32, 0xE0000001);
	assert_int_equal(sender.timestamp, 256);
	assert_int_equal(sender.packets, 5);
	assert_int_equal(sender.octets, 800);
	assert_true(et_rtcp_report(&rtcp, 0, &report));
	assert_int_equal(report.ssrc, 0x01020304);
	assert_int_equal(report.fraction_lost, 64);
	assert_int_equal(report.lost, -2);
	assert_int_equal(report.highest, 0x10009);
	assert_int_equal(report.jitter, 17);
	assert_false(et_rtcp_report(&rtcp, 1, &report));
	assert_int_equal(rtcp.rest_size, 12);
	assert_int_equal(et_rtcp_parse(rtcp.rest, rtcp.rest_size, &rtcp), 0);
	assert_int_equal(rtcp.type, ET_RTCP_SDES);
	assert_false(et_rtcp_sender(&rtcp, &sender));
	assert_int_equal(rtcp.rest_size, 0);
}

static void refuses_what_is_cut(void **state)
{
	(void)state;
	struct et_rtcp rtcp;
	for (uint32_t size = 0; size < 52; size++) {
		assert_int_equal(et_rtcp_parse(compound, size, &rtcp), -EBADMSG);
	}
	assert_int_equal(et_rtcp_parse(compound, 52, &rtcp), 0);
}

/* A count of blocks that the length does not hold. */
static void reads_no_block_behind_the_packet(void **state)
{
	(void)state;
	uint8_t bytes[sizeof(compound)];
	struct et_rtcp rtcp;
	struct et_rtcp_report report;
	memcpy(bytes, compound, sizeof(bytes));
	bytes[0] = 0x9F;
	assert_int_equal(et_rtcp_parse(bytes, sizeof(bytes), &rtcp), 0);
	assert_true(et_rtcp_report(&rtcp, 0, &report));
	for (uint32_t i = 1; i < 32; i++) {
		assert_false(et_rtcp_report(&rtcp, i, &report));
	}
}

static void knows_what_shares_a_port(void **state)
{
	(void)state;
	const uint8_t stun[20] = { 0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42 };
	const uint8_t dtls[13] = { 22, 0xFE, 0xFD };
	const uint8_t rtp[12] = { 0x80, 0x80 };
	assert_int_equal(et_rtp_classify(compound, sizeof(compound)), ET_RTP_KIND_RTCP);
	assert_int_equal(et_rtp_classify(stun, sizeof(stun)), ET_RTP_KIND_STUN);
	assert_int_equal(et_rtp_classify(dtls, sizeof(dtls)), ET_RTP_KIND_DTLS);
	assert_int_equal(et_rtp_classify(rtp, sizeof(rtp)), ET_RTP_KIND_RTP);
	assert_int_equal(et_rtp_classify(rtp, 11), ET_RTP_KIND_NONE);
	assert_int_equal(et_rtp_classify((const uint8_t *)"INVITE sip:a", 12), ET_RTP_KIND_NONE);
	assert_int_equal(et_rtp_classify(rtp, 0), ET_RTP_KIND_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_reports),
		cmocka_unit_test(refuses_what_is_cut),
		cmocka_unit_test(reads_no_block_behind_the_packet),
		cmocka_unit_test(knows_what_shares_a_port),
	};
	return cmocka_run_group_tests_name("node/rtp/rtcp", tests, NULL, NULL);
}
