#include "cluster-tests/bench/live/flood.h"

#include <stdio.h>
#include <string.h>

#include "node/base/bytes.h"

enum {
	HEADS = 14 + 20 + 8, /* Ethernet, IPv4, UDP */
	SIP_PORT = 5060,
};

static uint32_t next(uint32_t *random)
{
	*random = *random * 1664525 + 1013904223;
	return *random >> 8;
}

/* A message that would be good; each has a Call-ID of its own. */
static size_t invite_write(char *to, size_t size, uint32_t number)
{
	int n = snprintf(
		to, size,
		"INVITE sip:callee@flood.example SIP/2.0\r\nVia: SIP/2.0/UDP "
		"10.9.0.1;branch=z9hG4bKf%u\r\nMax-Forwards: 70\r\nFrom: "
		"<sip:9%06u@flood.example>;tag=f%u\r\nTo: <sip:8%06u@flood.example>\r\nCall-ID: "
		"flood-%u@flood.example\r\nCSeq: 1 INVITE\r\nContent-Type: "
		"application/sdp\r\nContent-Length: 98\r\n\r\nv=0\r\no=- 1 1 IN IP4 "
		"10.9.0.1\r\ns=-\r\nc=IN IP4 10.9.0.1\r\nt=0 0\r\nm=audio 30000 RTP/AVP "
		"0\r\na=rtpmap:0 PCMU/8000\r\n",
		number, number % 1000000, number, number % 1000000, number);
	return (size_t)n;
}

static void bytes_change(uint8_t *p, size_t size, uint32_t count, uint32_t *random)
{
	for (uint32_t i = 0; i < count && size > 0; i++) {
		p[next(random) % size] = (uint8_t)next(random);
	}
}

/* The SIP kinds: what a parser must refuse, or make the best of. */
static size_t sip_write(uint8_t *to, size_t size, uint32_t kind, uint32_t number, uint32_t *random)
{
	size_t n = invite_write((char *)to, size, number);

	switch (kind) {
	case 0: /* some bytes are others */
		bytes_change(to, n, 1 + next(random) % 16, random);
		return n;
	case 1: /* cut */
		return 1 + next(random) % n;
	case 2: /* one header without end */
		memset(to + 60, 'x', size - 60);
		return size;
	case 3: /* hundreds of headers */
		for (size_t i = 45; i + 4 <= size; i += 4) {
			memcpy(to + i, "v:\r\n", 4);
		}
		return size;
	default: /* begins as SIP, and is noise */
		bytes_change(to + 8, size - 8, 1400, random);
		return 200 + next(random) % (size - 200);
	}
}

static size_t datagram_write(uint8_t *to, size_t size, uint32_t number, uint32_t *random,
			     uint16_t *port)
{
	uint32_t kind = next(random) % 8;

	*port = SIP_PORT;
	if (kind < 5) {
		return sip_write(to, size, kind, number, random);
	}
	*port = (uint16_t)(20000 + next(random) % 20000);
	size_t n = 12 + next(random) % 200;
	bytes_change(to, n, 400, random);
	if (kind == 5) { /* RTP by its looks, never twice of one source */
		to[0] = 0x80;
		et_put32(to + 8, number);
	}
	return n; /* 6: noise; 7: a fragment, below */
}

size_t live_flood_frame(uint8_t *to, size_t size, uint32_t number)
{
	static const uint8_t ethernet[14] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 9, 8, 0 };
	uint32_t random = number * 2654435761U + 1;
	uint16_t port;
	uint8_t *ip = to + sizeof(ethernet);

	memset(to, 0, size);
	size_t n = datagram_write(to + HEADS, size - HEADS, number, &random, &port);
	uint32_t oddity = next(&random) % 16;
	memcpy(to, ethernet, sizeof(ethernet));
	ip[0] = 0x45;
	et_put16(ip + 2, (uint16_t)(28 + n));
	et_put16(ip + 4, (uint16_t)number);
	ip[6] = oddity == 0 ? 0x20 : 0x40; /* the first fragment of what never comes whole */
	ip[8] = 64;
	ip[9] = 17;
	et_put32(ip + 12, 10U << 24 | 9U << 16 | (number & 0xFFFF));
	et_put32(ip + 16, 10U << 24 | 8U << 16 | (number >> 8 & 0xFFFF));
	et_put16(ip + 20, port);
	et_put16(ip + 22, port);
	et_put16(ip + 24, (uint16_t)(oddity == 1 ? 9999 : 8 + n)); /* a length that cannot be */
	return HEADS + n;
}
