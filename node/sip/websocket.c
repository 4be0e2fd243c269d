#include <string.h>

#include "node/base/bytes.h"
#include "node/sip/framer_internal.h"

enum { LENGTH_16 = 126, LENGTH_64 = 127, CONTROL_MAX = 125 };

int et_ws_frame(const uint8_t *data, size_t size, struct et_ws_frame *ret)
{
	if (size < 2) {
		return 0;
	}
	struct et_ws_frame f = {
		.size = data[1] & 0x7FU,
		.head = 2,
		.opcode = data[0] & 0x0F,
		.rsv = data[0] >> 4 & 7,
		.fin = (data[0] & 0x80) != 0,
		.masked = (data[1] & 0x80) != 0,
	};
	bool control = f.opcode >= ET_WS_CLOSE;
	if ((f.opcode > ET_WS_BINARY && f.opcode < ET_WS_CLOSE) || f.opcode > ET_WS_PONG ||
	    (control && (!f.fin || f.size > CONTROL_MAX))) {
		return -1;
	}
	uint32_t extra = f.size == LENGTH_16 ? 2 : f.size == LENGTH_64 ? 8 : 0;
	if (size < f.head + extra + (f.masked ? 4U : 0U)) {
		return 0;
	}
	if (extra == 2) {
		f.size = et_get16(data + 2);
	} else if (extra == 8) {
		f.size = et_get64(data + 2);
		if (f.size >> 63 != 0) {
			return -1;
		}
	}
	f.head += extra;
	if (f.masked) {
		memcpy(f.mask, data + f.head, 4);
		f.head += 4;
	}
	*ret = f;
	return 1;
}

void et_ws_unmask(const struct et_ws_frame *frame, uint8_t *payload, size_t size)
{
	for (size_t i = 0; frame->masked && i < size; i++) {
		payload[i] ^= frame->mask[i % 4];
	}
}
