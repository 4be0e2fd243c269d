/* Media through a TURN relay: it belongs to the addresses that SDP names, in channels and in
 * indications, on both sides of the relay, and when the start was not seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "node/capture/test/sink.h"

struct fixture {
	struct et_engine *engine;
	int64_t now_us;
	uint32_t count; /* of streams that closed */
	struct et_capture_stream streams[32];
	struct et_capture_config config;
};

/* What is kept is the packet inside. */
static int take_media(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
		      const struct et_packet *packet)
{
	(void)arg;
	(void)slot;
	(void)stream;
	assert_int_equal(packet->size, 172);
	assert_int_equal(rtp->payload_size, 160);
	return 0;
}

static int take_close(void *arg, uint32_t slot, bool opened, const struct et_facts *facts,
		      const struct et_capture_stream *streams, uint32_t count)
{
	struct fixture *f = arg;
	(void)slot;
	(void)opened;
	(void)facts;
	for (uint32_t i = 0; i < count && f->count < ET_ARRAY_SIZE(f->streams); i++) {
		f->streams[f->count++] = streams[i];
	}
	return 0;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->now_us = 1700000000000000LL;
	f->config.limits.turn_allocations = 4;
	struct et_sink sink = sink_of(f);
	sink.media = take_media;
	sink.close = take_close;
	struct et_engine_config config = {
		.capture = &f->config,
		.sink = &sink,
		.deterministic = true,
	};
	assert_int_equal(et_engine_new(&config, &f->engine, NULL), 0);
	*state = f;
	return 0;
}

static void finish(struct fixture *f)
{
	et_engine_finish(f->engine, true);
	assert_int_equal(f->engine->packets.pending, 0);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	finish(f);
	assert_each_counted_once(f->engine);
	(void)et_engine_free(f->engine);
	free(f);
	return 0;
}

/* ---- Packets --------------------------------------------------------------------------------- */

/* The client is 10.0.0.1:6000, its server 10.0.0.8:3478, its relayed address 10.0.0.9:5000; the
 * peer is 10.0.0.2:4000. */
enum { CLIENT = 1, PEER = 2, SERVER = 8, RELAYED = 9 };

static void datagram(struct fixture *f, uint8_t from, uint16_t sport, uint8_t to, uint16_t dport,
		     const void *data, size_t size)
{
	engine_datagram_at(f->engine, f->now_us, from, sport, to, dport, data, size);
	f->now_us += 1000;
}

static size_t rtp(uint8_t p[172], uint32_t ssrc, uint16_t number)
{
	memset(p, 0, 172);
	p[0] = 0x80;
	et_put16(p + 2, number);
	et_put32(p + 4, number * 160U);
	et_put32(p + 8, ssrc);
	return 172;
}

static size_t attribute(uint8_t *p, uint16_t type, const void *value, size_t size)
{
	et_put16(p, type);
	et_put16(p + 2, (uint16_t)size);
	memcpy(p + 4, value, size);
	return 4 + ((size + 3) & ~(size_t)3);
}

static size_t address(uint8_t *p, uint16_t type, uint8_t host, uint16_t port)
{
	uint8_t value[8] = { 0, 1 };
	et_put16(value + 2, port ^ 0x2112);
	et_put32(value + 4, (0x0A000000U + host) ^ 0x2112A442U);
	return attribute(p, type, value, sizeof(value));
}

static size_t stun(uint8_t *p, uint16_t type, size_t size)
{
	et_put16(p, type);
	et_put16(p + 2, (uint16_t)size);
	et_put32(p + 4, 0x2112A442U);
	return 20 + size;
}

static void allocate(struct fixture *f, uint16_t client_port)
{
	uint8_t p[64] = { 0 };
	size_t n = stun(p, 0x0103, address(p + 20, 0x0016, RELAYED, 5000));
	datagram(f, SERVER, 3478, CLIENT, client_port, p, n);
}

static void bind_channel(struct fixture *f)
{
	uint8_t p[64] = { 0 };
	size_t n = attribute(p + 20, 0x000C, "\x40\x01\0\0", 4);
	n += address(p + 20 + n, 0x0012, PEER, 4000);
	datagram(f, CLIENT, 6000, SERVER, 3478, p, stun(p, 0x0009, n));
}

static void channel(struct fixture *f, bool from_client, uint32_t ssrc, uint16_t number)
{
	uint8_t p[200] = { 0x40, 1, 0, 172 };
	(void)rtp(p + 4, ssrc, number);
	if (from_client) {
		datagram(f, CLIENT, 6000, SERVER, 3478, p, 176);
	} else {
		datagram(f, SERVER, 3478, CLIENT, 6000, p, 176);
	}
}

static void indication(struct fixture *f, bool from_client, uint32_t ssrc, uint16_t number)
{
	uint8_t p[300] = { 0 };
	uint8_t media[172];
	size_t n = address(p + 20, 0x0012, PEER, 4000);
	n += attribute(p + 20 + n, 0x0013, media, rtp(media, ssrc, number));
	n = stun(p, from_client ? 0x0016 : 0x0017, n);
	if (from_client) {
		datagram(f, CLIENT, 6000, SERVER, 3478, p, n);
	} else {
		datagram(f, SERVER, 3478, CLIENT, 6000, p, n);
	}
}

static void sip(struct fixture *f, bool is_invite, uint8_t host, uint16_t port)
{
	char text[1000];
	char body[200];
	int size = snprintf(body, sizeof(body),
			    "v=0\r\nc=IN IP4 10.0.0.%u\r\nm=audio %u RTP/AVP 0\r\n", host, port);
	int n = snprintf(text, sizeof(text),
			 "%s\r\nFrom: <sip:a@x>;tag=a\r\nTo: <sip:b@x>%s\r\nCall-ID: 1\r\n"
			 "CSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: "
			 "%d\r\n\r\n%s",
			 is_invite ? "INVITE sip:b@x SIP/2.0" : "SIP/2.0 200 OK",
			 is_invite ? "" : ";tag=b", size, body);
	datagram(f, is_invite ? 1 : 2, 5060, is_invite ? 2 : 1, 5060, text, (size_t)n);
}

static void is_stream(const struct et_capture_stream *s, const char *src, const char *dst,
		      uint64_t packets)
{
	assert_string_equal(s->src, src);
	assert_string_equal(s->dst, dst);
	assert_int_equal(s->packets, packets);
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void media_in_a_channel_belongs_to_what_sdp_names(void **state)
{
	struct fixture *f = *state;
	allocate(f, 6000);
	bind_channel(f);
	sip(f, true, RELAYED, 5000);
	sip(f, false, PEER, 4000);
	for (uint16_t i = 0; i < 10; i++) {
		uint8_t media[172];
		channel(f, true, 0xA, i);
		channel(f, false, 0xB, i);
		/* And the same on the other side of the relay. */
		datagram(f, RELAYED, 5000, PEER, 4000, media, rtp(media, 0xA, i));
	}
	finish(f);
	assert_int_equal(f->count, 2);
	is_stream(&f->streams[0], "10.0.0.9:5000", "10.0.0.2:4000", 20);
	assert_int_equal(f->streams[0].duplicate, 10);
	assert_int_equal(f->streams[0].party, 0);
	assert_int_equal(f->streams[0].association, ET_ASSOCIATION_SDP);
	is_stream(&f->streams[1], "10.0.0.2:4000", "10.0.0.9:5000", 10);
	assert_int_equal(f->streams[1].party, 1);
	assert_int_equal(f->engine->packets.other[ET_OTHER_STUN], 2);
	assert_int_equal(f->engine->packets.rtp, 30);
}

static void media_in_indications_belongs_to_what_sdp_names(void **state)
{
	struct fixture *f = *state;
	sip(f, true, RELAYED, 5000);
	sip(f, false, PEER, 4000);
	for (uint16_t i = 0; i < 10; i++) {
		indication(f, true, 0xA, i); /* nobody saw the Allocate */
		indication(f, false, 0xB, i);
	}
	finish(f);
	assert_int_equal(f->count, 2);
	is_stream(&f->streams[0], "10.0.0.1:6000", "10.0.0.2:4000", 10);
	is_stream(&f->streams[1], "10.0.0.2:4000", "10.0.0.1:6000", 10);
	assert_int_equal(f->streams[0].party, 0);
	assert_int_equal(f->streams[1].party, 1);
}

static void a_channel_that_nobody_saw_bound_is_known_by_its_content(void **state)
{
	struct fixture *f = *state;
	for (uint16_t i = 0; i < 10; i++) {
		channel(f, true, 0xA, i);
		channel(f, false, 0xB, i);
	}
	f->now_us += 3000000;
	finish(f);
	assert_int_equal(f->count, 2);
	is_stream(&f->streams[0], "10.0.0.1:6000", "10.0.0.8:3478", 10);
	is_stream(&f->streams[1], "10.0.0.8:3478", "10.0.0.1:6000", 10);
}

static void what_only_looks_like_a_channel_is_none(void **state)
{
	struct fixture *f = *state;
	uint8_t p[200] = { 0x40, 1, 0, 172 };
	(void)rtp(p + 4, 1, 1);
	datagram(f, CLIENT, 6000, SERVER, 3478, p, 180); /* four bytes too many */
	datagram(f, CLIENT, 6000, SERVER, 3478, p, 100); /* cut */
	p[4] = 0;					 /* no media */
	datagram(f, CLIENT, 6000, SERVER, 3478, p, 176);
	datagram(f, CLIENT, 6000, SERVER, 3478, p, 3);
	assert_int_equal(f->engine->packets.other[ET_OTHER_UDP], 4);
	bind_channel(f);
	datagram(f, CLIENT, 6000, SERVER, 3478, p, 176);
	assert_int_equal(f->engine->packets.other[ET_OTHER_TURN], 1);
	/* Attributes that go past the end, an indication of nothing. */
	uint8_t bad[64] = { 0 };
	(void)address(bad + 20, 0x0012, PEER, 4000);
	et_put16(bad + 22, 60);
	datagram(f, CLIENT, 6000, SERVER, 3478, bad, stun(bad, 0x0016, 12));
	assert_int_equal(f->engine->packets.other[ET_OTHER_STUN], 2);
}

static void allocations_are_bounded(void **state)
{
	struct fixture *f = *state;
	for (uint16_t i = 0; i < 100; i++) {
		allocate(f, (uint16_t)(7000 + i));
	}
	allocate(f, 6000);
	bind_channel(f);
	for (uint16_t i = 0; i < 3; i++) {
		allocate(f, (uint16_t)(7000 + i));
	}
	channel(f, true, 0xA, 0); /* still known: the older ones gave way */
	channel(f, true, 0xA, 1);
	f->now_us += 3000000;
	finish(f);
	is_stream(&f->streams[0], "10.0.0.9:5000", "10.0.0.2:4000", 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(media_in_a_channel_belongs_to_what_sdp_names),
		TEST(media_in_indications_belongs_to_what_sdp_names),
		TEST(a_channel_that_nobody_saw_bound_is_known_by_its_content),
		TEST(what_only_looks_like_a_channel_is_none),
		TEST(allocations_are_bounded),
	};
	return cmocka_run_group_tests_name("node/capture/turn", tests, NULL, NULL);
}
