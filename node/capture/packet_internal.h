/* From a captured frame to a UDP datagram or TCP segment: link layer, VLANs, IP, fragments,
 * tunnels.
 *
 * Tunnels are opened up to four deep: IP in IP (RFC 2003, 2473, 4213), GRE (RFC 2784, 2890) around
 * IP, Ethernet or MPLS, ERSPAN types I to III, and VXLAN (RFC 7348; GPE around IP or Ethernet),
 * which is known by its port (4789, 8472 as older Linux has it, 4790) and by its header and the
 * Ethernet type behind it. What is
 * counted, and whose addresses it has, is the innermost packet.
 *
 * Threads: one owner. */
#ifndef ET_NODE_CAPTURE_PACKET_INTERNAL_H
#define ET_NODE_CAPTURE_PACKET_INTERNAL_H

#include "node/base/bytes.h"
#include "node/capture/capture.h"

/* A datagram, or a segment. `payload` is a view into the frame, or into the defragmenter until its
 * next call. */
struct et_packet {
	int64_t time_us;
	uint8_t src[16]; /* IPv6, or IPv4 mapped into it */
	uint8_t dst[16];
	uint16_t sport;
	uint16_t dport;
	const uint8_t *payload;
	uint32_t size;
	bool is_tcp;
	bool is_cut;	   /* TCP: the snapshot length cut the payload */
	uint8_t tcp_flags; /* ... and these are TCP's only */
	uint32_t seq;
	uint32_t ack;
};

struct et_frame {
	int link_type; /* DLT_* */
	int64_t time_us;
	const uint8_t *data;
	uint32_t size;	    /* captured */
	uint32_t wire_size; /* on the wire: >= size */
};

struct et_defrag;

/* `limit` (> 0) datagrams at most are being put together; the oldest gives way to one more. NULL:
 * no memory. */
struct et_defrag *et_defrag_new(uint32_t limit, uint64_t seed);
struct et_defrag *et_defrag_free(struct et_defrag *d);

/* Give up what is older than its time (all: everything): counted in `packets`. */
void et_defrag_expire(struct et_defrag *d, int64_t now_us, bool all,
		      struct et_capture_packets *packets);

/* One fragment of an IP packet, with the addresses filled in `key`; offset and size in bytes. */
struct et_fragment {
	uint8_t src[16];
	uint8_t dst[16];
	uint32_t id;
	uint8_t protocol;
	bool more;
	uint32_t offset;
	const uint8_t *data;
	uint32_t size;
	int64_t time_us;
};

/* True and *ret (a view into `d` until its next call): the packet is whole. False: the fragment was
 * counted in `packets`, as pending or with its reason. */
bool et_defrag_add(struct et_defrag *d, const struct et_fragment *f, struct et_view *ret,
		   struct et_capture_packets *packets);

/* True: *ret is a UDP datagram or TCP segment, not counted yet. False: the frame is counted in
 * `packets`. */
bool et_packet_decode(const struct et_frame *frame, struct et_defrag *defrag, struct et_packet *ret,
		      struct et_capture_packets *packets);

/* "192.0.2.1:5060", "[2001:db8::1]:5060" into `ret`. */
void et_address_format(const uint8_t address[16], uint16_t port, char ret[ET_CAPTURE_ADDRESS_TEXT]);

#endif
