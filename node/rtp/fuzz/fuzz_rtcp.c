/* Any bytes as a compound, and as arrivals of one source: bounds and counts hold. */
#include <stdlib.h>

#include "node/base/bytes.h"
#include "node/rtp/rtcp.h"
#include "node/rtp/rtp.h"
#include "node/rtp/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TIME_MAX_US INT64_C(253402300799000000)
#define CLOCK_MAX 1000000 /* that SDP may name */

static void read_compound(const uint8_t *data, uint32_t size)
{
	struct et_rtcp rtcp;
	const uint8_t *end = data + size;
	while (et_rtcp_parse(data, size, &rtcp) == 0) {
		struct et_rtcp_sender sender;
		struct et_rtcp_report report;
		if (rtcp.rest <= data || rtcp.rest + rtcp.rest_size != end) {
			abort();
		}
		(void)et_rtcp_sender(&rtcp, &sender);
		for (uint32_t i = 0; i < 32; i++) {
			(void)et_rtcp_report(&rtcp, i, &report);
		}
		data = rtcp.rest;
		size = rtcp.rest_size;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_rtp_source source = { .packets = 0 };
	if (size > UINT16_MAX) {
		return 0;
	}
	(void)et_rtp_classify(data, (uint32_t)size);
	read_compound(data, (uint32_t)size);
	for (size_t i = 0; i + 8 <= size; i += 8) {
		/* Up to the end of the year 9999, as a capture file may say, and back. */
		int64_t arrival_us = (int64_t)et_get16(data + i + 6) * (TIME_MAX_US / UINT16_MAX);
		(void)et_rtp_source_add(&source, et_get16(data + i), et_get32(data + i + 2),
					arrival_us, i % 3 == 0 ? 8000 : CLOCK_MAX);
		if (et_rtp_source_expected(&source) < source.packets - source.duplicate) {
			abort();
		}
	}
	return 0;
}
