#include <arpa/inet.h>
#include <pcap/dlt.h>
#include <stdio.h>
#include <string.h>

#include "node/base/bytes.h"
#include "node/capture/packet_internal.h"

enum {
	ETHER_SIZE = 14,
	VLAN_SIZE = 4,
	VLANS_MAX = 4,
	PPPOE_SIZE = 8, /* with the protocol of PPP */
	LABELS_MAX = 8,
	SLL_SIZE = 16,
	SLL2_SIZE = 20,
	IPV4_SIZE = 20,
	IPV6_SIZE = 40,
	EXTENSIONS_MAX = 8,
	UDP_SIZE = 8,
	TCP_SIZE = 20,
	TUNNELS_MAX = 4,
	GRE_SIZE = 4,
	ERSPAN2_SIZE = 8,
	ERSPAN3_SIZE = 12,
	ERSPAN3_EXTRA = 8,
	VXLAN_SIZE = 8,
	VXLAN_PORT = 4789,
	VXLAN_GPE_PORT = 4790,
	VXLAN_PORT_OLD = 8472, /* of Linux, before there was a number */
};

enum {
	TYPE_IPV4 = 0x0800,
	TYPE_ARP = 0x0806,
	TYPE_VLAN = 0x8100,
	TYPE_IPV6 = 0x86DD,
	TYPE_QINQ = 0x88A8,
	TYPE_QINQ_OLD = 0x9100,
	TYPE_MPLS = 0x8847,
	TYPE_MPLS_MULTICAST = 0x8848,
	TYPE_PPPOE = 0x8864,	/* session (RFC 2516) */
	TYPE_ETHERNET = 0x6558, /* transparent bridging, in GRE */
	TYPE_ERSPAN2 = 0x88BE,	/* and type I */
	TYPE_ERSPAN3 = 0x22EB,
	PPP_IPV4 = 0x0021,
	PPP_IPV6 = 0x0057,
};

/* Protocols over IP, and IPv6 extension headers (RFC 8200, section 4). */
enum {
	PROTO_HOP = 0,
	PROTO_ICMP = 1,
	PROTO_IPV4 = 4,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_IPV6 = 41,
	PROTO_ROUTING = 43,
	PROTO_FRAGMENT = 44,
	PROTO_GRE = 47,
	PROTO_AH = 51,
	PROTO_ICMP6 = 58,
	PROTO_OPTIONS = 60,
};

/* What one frame is being decoded with. */
struct decode {
	const struct et_frame *frame;
	struct et_defrag *defrag;
	struct et_packet *ret;
	struct et_capture_packets *packets;
	int tunnels; /* we are in */
};

static bool decode_ip(const struct decode *d, const uint8_t *p, uint32_t size);
static bool decode_type(const struct decode *d, uint32_t type, const uint8_t *p, uint32_t size);

static bool other(const struct decode *d, enum et_capture_other reason)
{
	d->packets->other[reason]++;
	return false;
}

static bool unclaimed(const struct decode *d, enum et_capture_unclaimed reason)
{
	d->packets->unclaimed[reason]++;
	return false;
}

/* Cut by the snapshot length, or simply wrong. */
static bool too_short(const struct decode *d, enum et_capture_unclaimed reason)
{
	return unclaimed(d, d->frame->size < d->frame->wire_size ? ET_UNCLAIMED_TRUNCATED : reason);
}

/* ---- Tunnels --------------------------------------------------------------------------------- */

static bool decode_ethernet(const struct decode *d, const uint8_t *p, uint32_t size)
{
	if (size < ETHER_SIZE) {
		return too_short(d, ET_UNCLAIMED_MALFORMED_IP);
	}
	return decode_type(d, et_get16(p + 12), p + ETHER_SIZE, size - ETHER_SIZE);
}

/* One deeper. */
static bool enter(const struct decode *d, struct decode *ret)
{
	*ret = *d;
	ret->tunnels++;
	return ret->tunnels <= TUNNELS_MAX || unclaimed(d, ET_UNCLAIMED_TUNNEL_DEPTH);
}

static bool decode_ipip(const struct decode *d, const uint8_t *p, uint32_t size)
{
	struct decode inner;
	return enter(d, &inner) && decode_ip(&inner, p, size);
}

/* draft-foschiano-erspan-03, section 4. */
static bool decode_erspan(const struct decode *d, uint32_t type, bool sequenced, const uint8_t *p,
			  uint32_t size)
{
	uint32_t head = type == TYPE_ERSPAN3 ? ERSPAN3_SIZE : sequenced ? ERSPAN2_SIZE : 0;
	if (size < head) {
		return too_short(d, ET_UNCLAIMED_MALFORMED_TUNNEL);
	}
	if (head > 0 && p[0] >> 4 != (type == TYPE_ERSPAN3 ? 2 : 1)) {
		return unclaimed(d, ET_UNCLAIMED_MALFORMED_TUNNEL);
	}
	if (type == TYPE_ERSPAN3 && (p[11] & 1) != 0) { /* O: a platform's own header */
		head += ERSPAN3_EXTRA;
		if (size < head) {
			return too_short(d, ET_UNCLAIMED_MALFORMED_TUNNEL);
		}
	}
	return decode_ethernet(d, p + head, size - head);
}

/* RFC 2784 and 2890; version 1 (PPTP, RFC 2637) and source routes (RFC 1701) are not read. */
static bool decode_gre(const struct decode *outer, const uint8_t *p, uint32_t size)
{
	struct decode d;
	if (!enter(outer, &d)) {
		return false;
	}
	if (size < GRE_SIZE) {
		return too_short(&d, ET_UNCLAIMED_MALFORMED_TUNNEL);
	}
	uint32_t flags = et_get16(p);
	uint32_t type = et_get16(p + 2);
	if ((flags & 7) != 0 || (flags & 0x4000) != 0) {
		return other(&d, ET_OTHER_IP);
	}
	bool sequenced = (flags & 0x1000) != 0;
	uint32_t optional = ((flags & 0x8000) != 0 ? 1U : 0U) + ((flags & 0x2000) != 0 ? 1U : 0U) +
			    (sequenced ? 1U : 0U);
	uint32_t head = GRE_SIZE + 4 * optional;
	if (size < head) {
		return too_short(&d, ET_UNCLAIMED_MALFORMED_TUNNEL);
	}
	p += head;
	size -= head;
	switch (type) {
	case TYPE_ETHERNET:
		return decode_ethernet(&d, p, size);
	case TYPE_ERSPAN2:
	case TYPE_ERSPAN3:
		return decode_erspan(&d, type, sequenced, p, size);
	default:
		return decode_type(&d, type, p, size);
	}
}

static bool is_vxlan_port(uint16_t port)
{
	return port == VXLAN_PORT || port == VXLAN_PORT_OLD || port == VXLAN_GPE_PORT;
}

/* What follows the header: an Ethernet type, TYPE_ETHERNET, or 0: this is no VXLAN. Of GPE
 * (draft-ietf-nvo3-vxlan-gpe) the protocols that are IP or Ethernet. */
static uint32_t vxlan_type(uint16_t port, const uint8_t *p, uint32_t size)
{
	if (size < VXLAN_SIZE || (p[0] & 0x08) == 0 || p[7] != 0) {
		return 0;
	}
	if (port == VXLAN_GPE_PORT && (p[0] & 0x04) != 0 && p[3] != 3) {
		return p[3] == 1 ? TYPE_IPV4 : p[3] == 2 ? TYPE_IPV6 : 0;
	}
	if (size < VXLAN_SIZE + ETHER_SIZE) {
		return 0;
	}
	uint32_t type = et_get16(p + VXLAN_SIZE + 12);
	bool known = type == TYPE_IPV4 || type == TYPE_IPV6 || type == TYPE_VLAN ||
		     type == TYPE_QINQ || type == TYPE_ARP || type == TYPE_MPLS ||
		     type == TYPE_PPPOE;
	return known ? TYPE_ETHERNET : 0;
}

static bool decode_vxlan(const struct decode *d, uint32_t type, const uint8_t *p, uint32_t size)
{
	struct decode inner;
	if (!enter(d, &inner)) {
		return false;
	}
	p += VXLAN_SIZE;
	size -= VXLAN_SIZE;
	return type == TYPE_ETHERNET ? decode_ethernet(&inner, p, size)
				     : decode_type(&inner, type, p, size);
}

/* ---- UDP, TCP -------------------------------------------------------------------------------- */

/* `announced`: what the IP header says, >= size. */
static bool decode_udp(const struct decode *d, const uint8_t *p, uint32_t size, uint32_t announced)
{
	if (announced < UDP_SIZE) {
		return unclaimed(d, ET_UNCLAIMED_MALFORMED_UDP);
	}
	if (size < UDP_SIZE) {
		return too_short(d, ET_UNCLAIMED_MALFORMED_UDP);
	}
	uint32_t length = et_get16(p + 4);
	if (length < UDP_SIZE || length > announced) {
		return unclaimed(d, ET_UNCLAIMED_MALFORMED_UDP);
	}
	uint16_t dport = et_get16(p + 2);
	if (is_vxlan_port(dport)) { /* its end may be cut */
		uint32_t n = (length < size ? length : size) - UDP_SIZE;
		uint32_t type = vxlan_type(dport, p + UDP_SIZE, n);
		if (type != 0) {
			return decode_vxlan(d, type, p + UDP_SIZE, n);
		}
	}
	if (length > size) {
		return unclaimed(d, ET_UNCLAIMED_TRUNCATED);
	}
	d->ret->time_us = d->frame->time_us;
	d->ret->sport = et_get16(p);
	d->ret->dport = dport;
	d->ret->payload = p + UDP_SIZE;
	d->ret->size = length - UDP_SIZE;
	d->ret->is_tcp = false;
	return true;
}

static bool decode_tcp(const struct decode *d, const uint8_t *p, uint32_t size, uint32_t announced)
{
	uint32_t head = size > 12 ? (uint32_t)(p[12] >> 4) * 4 : TCP_SIZE;
	if (announced < TCP_SIZE || head < TCP_SIZE || head > announced) {
		return unclaimed(d, ET_UNCLAIMED_MALFORMED_TCP);
	}
	if (size < head) {
		return too_short(d, ET_UNCLAIMED_MALFORMED_TCP);
	}
	struct et_packet *ret = d->ret;
	ret->time_us = d->frame->time_us;
	ret->sport = et_get16(p);
	ret->dport = et_get16(p + 2);
	ret->payload = p + head;
	ret->size = size - head;
	ret->is_tcp = true;
	ret->is_cut = size < announced;
	ret->tcp_flags = p[13];
	ret->seq = et_get32(p + 4);
	ret->ack = et_get32(p + 8);
	return true;
}

static bool decode_protocol(const struct decode *d, uint8_t protocol, const uint8_t *p,
			    uint32_t size, uint32_t announced)
{
	switch (protocol) {
	case PROTO_UDP:
		return decode_udp(d, p, size, announced);
	case PROTO_TCP:
		return decode_tcp(d, p, size, announced);
	case PROTO_ICMP:
	case PROTO_ICMP6:
		return other(d, ET_OTHER_ICMP);
	case PROTO_IPV4:
	case PROTO_IPV6:
		return decode_ipip(d, p, size);
	case PROTO_GRE:
		return decode_gre(d, p, size);
	default:
		return other(d, ET_OTHER_IP);
	}
}

/* True: *ret is what all fragments make. False: this one is counted. */
static bool take_fragment(const struct decode *d, struct et_fragment *f, const uint8_t *p,
			  uint32_t size, uint32_t announced, struct et_view *ret)
{
	if (size < announced) {
		return unclaimed(d, ET_UNCLAIMED_TRUNCATED);
	}
	memcpy(f->src, d->ret->src, 16);
	memcpy(f->dst, d->ret->dst, 16);
	f->data = p;
	f->size = announced;
	f->time_us = d->frame->time_us;
	return et_defrag_add(d->defrag, f, ret, d->packets);
}

/* ---- IP -------------------------------------------------------------------------------------- */

static void map_ipv4(const uint8_t *address, uint8_t ret[16])
{
	memset(ret, 0, 10);
	memset(ret + 10, 0xFF, 2);
	memcpy(ret + 12, address, 4);
}

static bool decode_ipv4(const struct decode *d, const uint8_t *p, uint32_t size)
{
	if (size < IPV4_SIZE) {
		return too_short(d, ET_UNCLAIMED_MALFORMED_IP);
	}
	uint32_t head = (p[0] & 0x0FU) * 4;
	uint32_t total = et_get16(p + 2);
	if (total == 0) { /* left to the card: what is here is what there was */
		total = size;
	}
	if (p[0] >> 4 != 4 || head < IPV4_SIZE || total < head) {
		return unclaimed(d, ET_UNCLAIMED_MALFORMED_IP);
	}
	if (size < head) {
		return too_short(d, ET_UNCLAIMED_MALFORMED_IP);
	}
	if (size > total) { /* padding of the link layer */
		size = total;
	}
	map_ipv4(p + 12, d->ret->src);
	map_ipv4(p + 16, d->ret->dst);

	uint32_t fragment = et_get16(p + 6);
	if ((fragment & 0x3FFFU) != 0) {
		struct et_fragment f = {
			.id = et_get16(p + 4),
			.protocol = p[9],
			.more = (fragment & 0x2000U) != 0,
			.offset = (fragment & 0x1FFFU) * 8,
		};
		struct et_view whole;
		return take_fragment(d, &f, p + head, size - head, total - head, &whole) &&
		       decode_protocol(d, f.protocol, whole.data, (uint32_t)whole.size,
				       (uint32_t)whole.size);
	}
	return decode_protocol(d, p[9], p + head, size - head, total - head);
}

static bool decode_ipv6(const struct decode *d, const uint8_t *p, uint32_t size)
{
	if (size < IPV6_SIZE) {
		return too_short(d, ET_UNCLAIMED_MALFORMED_IP);
	}
	if (p[0] >> 4 != 6) {
		return unclaimed(d, ET_UNCLAIMED_MALFORMED_IP);
	}
	uint32_t announced = et_get16(p + 4);
	uint8_t next = p[6];
	memcpy(d->ret->src, p + 8, 16);
	memcpy(d->ret->dst, p + 24, 16);
	p += IPV6_SIZE;
	size -= IPV6_SIZE;
	if (announced == 0 && next != PROTO_HOP) {
		announced = size;
	}
	if (size > announced) {
		size = announced;
	}
	bool fragmented = false;
	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		if (next != PROTO_HOP && next != PROTO_ROUTING && next != PROTO_OPTIONS &&
		    next != PROTO_AH && next != PROTO_FRAGMENT) {
			return decode_protocol(d, next, p, size, announced);
		}
		if (size < 8) {
			return too_short(d, ET_UNCLAIMED_MALFORMED_IP);
		}
		if (next == PROTO_FRAGMENT && fragmented) { /* what is whole has no second one */
			return unclaimed(d, ET_UNCLAIMED_MALFORMED_IP);
		}
		if (next == PROTO_FRAGMENT) {
			struct et_view whole;
			uint32_t field = et_get16(p + 2);
			struct et_fragment f = {
				.id = et_get32(p + 4),
				.protocol = p[0],
				.more = (field & 1U) != 0,
				.offset = field & 0xFFF8U,
			};
			if (!take_fragment(d, &f, p + 8, size - 8, announced - 8, &whole)) {
				return false;
			}
			/* Extension headers may be in it (RFC 8200, section 4.5). */
			fragmented = true;
			next = f.protocol;
			p = whole.data;
			size = (uint32_t)whole.size;
			announced = size;
			continue;
		}
		uint32_t length = next == PROTO_AH ? (p[1] + 2U) * 4 : (p[1] + 1U) * 8;
		if (size < length) {
			return too_short(d, ET_UNCLAIMED_MALFORMED_IP);
		}
		next = p[0];
		p += length;
		size -= length;
		announced -= length;
	}
	return unclaimed(d, ET_UNCLAIMED_MALFORMED_IP);
}

static bool decode_ip(const struct decode *d, const uint8_t *p, uint32_t size)
{
	if (size == 0) {
		return too_short(d, ET_UNCLAIMED_MALFORMED_IP);
	}
	return p[0] >> 4 == 6 ? decode_ipv6(d, p, size) : decode_ipv4(d, p, size);
}

static bool decode_pppoe(const struct decode *d, const uint8_t *p, uint32_t size)
{
	if (size < PPPOE_SIZE) {
		return too_short(d, ET_UNCLAIMED_MALFORMED_IP);
	}
	uint32_t protocol = et_get16(p + 6);
	if (protocol != PPP_IPV4 && protocol != PPP_IPV6) {
		return other(d, ET_OTHER_LINK);
	}
	return decode_ip(d, p + PPPOE_SIZE, size - PPPOE_SIZE);
}

/* Labels (RFC 3032) up to the bottom of the stack; what is no IP behind them is another matter. */
static bool decode_mpls(const struct decode *d, const uint8_t *p, uint32_t size)
{
	for (int i = 0; i < LABELS_MAX; i++) {
		if (size < 5) {
			return too_short(d, ET_UNCLAIMED_MALFORMED_IP);
		}
		bool bottom = (p[2] & 1) != 0;
		p += 4;
		size -= 4;
		if (bottom) {
			bool is_ip = p[0] >> 4 == 4 || p[0] >> 4 == 6;
			return is_ip ? decode_ip(d, p, size) : other(d, ET_OTHER_LINK);
		}
	}
	return unclaimed(d, ET_UNCLAIMED_MALFORMED_IP);
}

/* ---- Link layers ----------------------------------------------------------------------------- */

static bool decode_type(const struct decode *d, uint32_t type, const uint8_t *p, uint32_t size)
{
	for (int i = 0; i < VLANS_MAX; i++) {
		if (type != TYPE_VLAN && type != TYPE_QINQ && type != TYPE_QINQ_OLD) {
			break;
		}
		if (size < VLAN_SIZE) {
			return too_short(d, ET_UNCLAIMED_MALFORMED_IP);
		}
		type = et_get16(p + 2);
		p += VLAN_SIZE;
		size -= VLAN_SIZE;
	}
	switch (type) {
	case TYPE_IPV4:
		return decode_ipv4(d, p, size);
	case TYPE_IPV6:
		return decode_ipv6(d, p, size);
	case TYPE_PPPOE:
		return decode_pppoe(d, p, size);
	case TYPE_MPLS:
	case TYPE_MPLS_MULTICAST:
		return decode_mpls(d, p, size);
	case TYPE_ARP:
		return other(d, ET_OTHER_ARP);
	default:
		return other(d, ET_OTHER_LINK);
	}
}

/* The family is in the byte order of the machine that captured; IPv6 has a number for each BSD. */
static bool decode_null(const struct decode *d, const uint8_t *p, uint32_t size)
{
	if (size < 4) {
		return too_short(d, ET_UNCLAIMED_MALFORMED_IP);
	}
	uint32_t family = p[0] != 0 ? p[0] : p[3];
	if (family != 2 && family != 10 && family != 24 && family != 28 && family != 30) {
		return other(d, ET_OTHER_LINK);
	}
	return decode_ip(d, p + 4, size - 4);
}

bool et_packet_decode(const struct et_frame *frame, struct et_defrag *defrag, struct et_packet *ret,
		      struct et_capture_packets *packets)
{
	struct decode d = { .frame = frame, .defrag = defrag, .ret = ret, .packets = packets };
	const uint8_t *p = frame->data;
	uint32_t size = frame->size;

	switch (frame->link_type) {
	case DLT_EN10MB:
		return decode_ethernet(&d, p, size);
	case DLT_LINUX_SLL:
		if (size < SLL_SIZE) {
			return too_short(&d, ET_UNCLAIMED_MALFORMED_IP);
		}
		return decode_type(&d, et_get16(p + 14), p + SLL_SIZE, size - SLL_SIZE);
	case DLT_LINUX_SLL2:
		if (size < SLL2_SIZE) {
			return too_short(&d, ET_UNCLAIMED_MALFORMED_IP);
		}
		return decode_type(&d, et_get16(p), p + SLL2_SIZE, size - SLL2_SIZE);
	case DLT_NULL:
	case DLT_LOOP:
		return decode_null(&d, p, size);
	case DLT_RAW:
	case DLT_IPV4:
	case DLT_IPV6:
		return decode_ip(&d, p, size);
	default:
		return unclaimed(&d, ET_UNCLAIMED_LINK_UNKNOWN);
	}
}

void et_address_format(const uint8_t address[16], uint16_t port, char ret[ET_CAPTURE_ADDRESS_TEXT])
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF };
	char text[INET6_ADDRSTRLEN] = "";
	bool is_ipv4 = memcmp(address, mapped, sizeof(mapped)) == 0;
	(void)inet_ntop(is_ipv4 ? AF_INET : AF_INET6, is_ipv4 ? address + 12 : address, text,
			sizeof(text));
	(void)snprintf(ret, ET_CAPTURE_ADDRESS_TEXT, is_ipv4 ? "%s:%u" : "[%s]:%u", text,
		       (unsigned)port);
}
