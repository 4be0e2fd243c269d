/* A request from a stranger, and everything a server says to it: what we write has no line that the
 * stranger chose. */
#include "node/base/err.h"
#include "node/sip/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void reply_to(struct et_view request)
{
	struct et_buffer b = { .data = NULL };
	struct et_sip again;
	struct et_sip_reply reply = {
		.status = 200,
		.reason = "OK",
		.to_tag = "tag",
		.received = "192.0.2.1",
		.rport = 5060,
		.dialog = true,
	};
	et_sip_reply_write(request, &reply, &b);
	et_assert(b.failed || et_sip_parse(b.data, b.size, &again) == 0);
	et_assert(b.failed || again.status == 200);
	et_assert(b.failed || again.body.size == 0);
	et_buffer_release(&b);
}

static void answer_to(struct et_view offer)
{
	static struct et_sdp sdp;
	static struct et_sdp again;
	struct et_buffer b = { .data = NULL };
	struct et_sdp_answer answer = { .session = 1, .version = 1, .address = "192.0.2.1" };
	if (et_sdp_parse(offer, &sdp) < 0) {
		return;
	}
	for (uint32_t i = 0; i < sdp.media_count; i++) {
		answer.media[i].port = (uint16_t)(i % 2 == 0 ? 20000 + i : 0);
	}
	et_sdp_answer_write(offer, &sdp, &answer, &b);
	et_assert(b.failed || et_sdp_parse((struct et_view){ b.data, b.size }, &again) == 0);
	et_buffer_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_sip m;
	struct et_sip_part parts[ET_SIP_PARTS_MAX];

	answer_to((struct et_view){ data, size });
	if (et_sip_parse(data, size, &m) < 0) {
		return 0;
	}
	struct et_view message = { data, size };
	if (m.is_request) {
		reply_to(message);
	}
	(void)et_sip_header_has(message, "Require", "siprec");
	uint32_t n = et_sip_parts(m.content_type, m.body, parts, ET_SIP_PARTS_MAX);
	for (uint32_t i = 0; i < n; i++) {
		et_assert(parts[i].body.data >= data &&
			  parts[i].body.data + parts[i].body.size <= data + size);
		answer_to(parts[i].body);
	}
	return 0;
}
