/* One frame: link layer, VLANs, MPLS, PPPoE, IP, extension headers, tunnels, UDP, TCP. The first
 * byte picks the link layer, the second says how much the snapshot length cut. Whatever comes: it
 * is a datagram or a segment inside of what was given, or it is counted once. */
#include <pcap/dlt.h>
#include <stdlib.h>

#include "node/capture/engine_internal.h"
#include "node/capture/packet_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A datagram in one piece is inside of the frame, or (an IPv6 packet with a fragment header and
 * nothing missing) in the defragmenter: all of it can be read. */
static void look(const struct et_packet *p)
{
	uint8_t sum = 0;
	for (uint32_t i = 0; i < p->size; i++) {
		sum = (uint8_t)(sum ^ p->payload[i]);
	}
	char text[ET_CAPTURE_ADDRESS_TEXT];
	et_address_format(p->src, p->sport, text);
	if (p->size > UINT16_MAX || (sum == 0 && text[0] == '\0')) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int links[] = { DLT_EN10MB, DLT_LINUX_SLL, DLT_LINUX_SLL2, DLT_NULL,
				     DLT_RAW,	 DLT_LOOP,	DLT_IPV6,	-1 };
	static struct et_defrag *defrag;
	struct et_capture_packets packets = { .total = 0 };
	struct et_packet p;

	if (size < 2) {
		return 0;
	}
	if (defrag == NULL) {
		defrag = et_defrag_new(4, 0);
	}
	struct et_frame frame = {
		.link_type = links[data[0] % ET_ARRAY_SIZE(links)],
		.data = data + 2,
		.size = (uint32_t)size - 2,
		.wire_size = (uint32_t)size - 2 + data[1] / 64,
	};
	bool decoded = et_packet_decode(&frame, defrag, &p, &packets);
	if (decoded) {
		look(&p);
	}
	if (et_capture_counted(&packets) != (decoded ? 0U : 1U)) {
		abort();
	}
	et_defrag_expire(defrag, 0, true, &packets);
	if (packets.pending != 0) {
		abort();
	}
	return 0;
}
