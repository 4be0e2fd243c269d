#include "node/rtp/rtcp.h"

#include <errno.h>

#include "node/base/bytes.h"

enum {
	HEAD_SIZE = 8, /* the common header and the first SSRC */
	SENDER_SIZE = 20,
	REPORT_SIZE = 24,
	TYPE_FIRST = 192, /* RFC 5761, section 4 */
	TYPE_LAST = 223,
};

int et_rtcp_parse(const uint8_t *data, uint32_t size, struct et_rtcp *ret)
{
	if (size < 4 || data[0] >> 6 != 2 || data[1] < TYPE_FIRST || data[1] > TYPE_LAST) {
		return -EBADMSG;
	}
	uint32_t length = ((uint32_t)et_get16(data + 2) + 1) * 4;
	if (length > size) {
		return -EBADMSG;
	}
	*ret = (struct et_rtcp){
		.type = data[1],
		.count = data[0] & 0x1F,
		.ssrc = length >= HEAD_SIZE ? et_get32(data + 4) : 0,
		.body = data + (length >= HEAD_SIZE ? HEAD_SIZE : length),
		.body_size = length >= HEAD_SIZE ? length - HEAD_SIZE : 0,
		.rest = data + length,
		.rest_size = size - length,
	};
	return 0;
}

bool et_rtcp_sender(const struct et_rtcp *rtcp, struct et_rtcp_sender *ret)
{
	if (rtcp->type != ET_RTCP_SR || rtcp->body_size < SENDER_SIZE) {
		return false;
	}
	*ret = (struct et_rtcp_sender){
		.ntp = et_get64(rtcp->body),
		.timestamp = et_get32(rtcp->body + 8),
		.packets = et_get32(rtcp->body + 12),
		.octets = et_get32(rtcp->body + 16),
	};
	return true;
}

bool et_rtcp_report(const struct et_rtcp *rtcp, uint32_t i, struct et_rtcp_report *ret)
{
	if (rtcp->type != ET_RTCP_SR && rtcp->type != ET_RTCP_RR) {
		return false;
	}
	uint32_t skip = rtcp->type == ET_RTCP_SR ? SENDER_SIZE : 0;
	if (i >= rtcp->count || rtcp->body_size < skip ||
	    (rtcp->body_size - skip) / REPORT_SIZE <= i) {
		return false;
	}
	const uint8_t *p = rtcp->body + skip + (size_t)i * REPORT_SIZE;
	uint32_t lost = et_get32(p + 4) & 0xFFFFFFU;
	*ret = (struct et_rtcp_report){
		.ssrc = et_get32(p),
		.fraction_lost = p[4],
		.lost = (lost & 0x800000U) != 0 ? (int32_t)lost - 0x1000000 : (int32_t)lost,
		.highest = et_get32(p + 8),
		.jitter = et_get32(p + 12),
	};
	return true;
}
