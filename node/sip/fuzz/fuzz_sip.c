/* Any bytes: every view that comes out points into them. */
#include <stdlib.h>

#include "node/sip/sip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *start;
static const uint8_t *end;

static void inside(struct et_view v)
{
	if (v.data != NULL && (v.data < start || v.data > end || v.size > (size_t)(end - v.data))) {
		abort();
	}
}

static void party_inside(const struct et_sip_party *p)
{
	inside(p->display);
	inside(p->uri);
	inside(p->user);
	inside(p->tag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_sip m;
	bool probed = et_sip_probe(data, size);
	start = data;
	end = data + size;
	if (et_sip_parse(data, size, &m) < 0) {
		if (probed) {
			abort();
		}
		return 0;
	}
	inside(m.method_text);
	inside(m.request_uri);
	inside(m.call_id);
	inside(m.via_branch);
	inside(m.replaces);
	inside(m.refer_to);
	inside(m.user_agent);
	inside(m.content_type);
	inside(m.body);
	party_inside(&m.from);
	party_inside(&m.to);
	party_inside(&m.contact);
	party_inside(&m.asserted);
	static const char *const names[] = { "Via", "X-Queue", "From" };
	for (unsigned i = 0; i < 3; i++) {
		struct et_view value = { NULL, 0 };
		for (uint32_t n = 0;
		     et_sip_header((struct et_view){ data, size }, names[i], n, &value); n++) {
			inside(value);
		}
	}
	if (m.message_size > size || m.header_count > ET_SIP_HEADERS_MAX) {
		abort();
	}
	return 0;
}
