/* Calls whose signalling comes over TCP: segments in any order, lost, forged, endless; WebSocket;
 * TLS. Whatever comes, each packet is counted once, memory stays bounded, and other calls live. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pcap/dlt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/capture/test/sink.h"

enum { FIN = 1, SYN = 2, RST = 4, ACK = 16, CLOSED_MAX = 64 };

struct fixture {
	struct et_engine *engine;
	int64_t now_us;
	uint64_t meta;
	uint32_t closed;
	uint32_t answered;
	uint32_t streams;
	char from[64]; /* of the call that closed last */
	struct et_capture_config config;
	struct et_keylog *keylog;
};

static int take_meta(void *arg, uint32_t slot, struct et_view plain)
{
	struct fixture *f = arg;
	(void)slot;
	(void)plain;
	f->meta++;
	return 0;
}

static int take_close(void *arg, uint32_t slot, bool opened, const struct et_facts *facts,
		      const struct et_capture_stream *streams, uint32_t count)
{
	struct fixture *f = arg;
	(void)slot;
	(void)opened;
	(void)streams;
	f->closed++;
	f->answered += facts->state == ET_CALL_ANSWERED;
	f->streams += count;
	(void)snprintf(f->from, sizeof(f->from), "%s", facts->from);
	return 0;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->now_us = 1700000000000000LL;
	assert_int_equal(et_keylog_new(100, 0, &f->keylog, NULL), 0);
	f->config.limits.tcp_connections = 32;
	f->config.limits.tcp_message_bytes = 4096;
	f->config.limits.tcp_bytes = (size_t)64 * 1024;
	struct et_sink sink = sink_of(f);
	sink.meta = take_meta;
	sink.close = take_close;
	struct et_engine_config config = {
		.capture = &f->config,
		.sink = &sink,
		.deterministic = true,
		.keylog = f->keylog,
	};
	assert_int_equal(et_engine_new(&config, &f->engine, NULL), 0);
	*state = f;
	return 0;
}

static void check(struct fixture *f)
{
	assert_each_counted_once(f->engine);
	/* The connection in hand may hold more for the time of one segment. */
	assert_true(et_tcp_held(f->engine->tcp) <= f->engine->limits.tcp_bytes);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	et_engine_finish(f->engine, true);
	check(f);
	assert_int_equal(f->engine->packets.pending, 0);
	assert_int_equal(et_tcp_held(f->engine->tcp), 0);
	(void)et_engine_free(f->engine);
	f->keylog = et_keylog_free(f->keylog);
	free(f);
	return 0;
}

/* ---- Packets --------------------------------------------------------------------------------- */

/* One direction of a connection, as its sender has it. */
struct side {
	uint8_t from;
	uint8_t to;
	uint16_t sport;
	uint16_t dport;
	uint32_t seq;
};

static void segment(struct fixture *f, const struct side *s, uint8_t flags, uint32_t seq,
		    uint32_t ack, const void *data, size_t size)
{
	uint8_t p[4096] = { 0x45 };
	assert_true(size + 40 <= sizeof(p));
	et_put16(p + 2, (uint16_t)(40 + size));
	p[8] = 64;
	p[9] = 6;
	et_put32(p + 12, 0x0A000000U + s->from);
	et_put32(p + 16, 0x0A000000U + s->to);
	et_put16(p + 20, s->sport);
	et_put16(p + 22, s->dport);
	et_put32(p + 24, seq);
	et_put32(p + 28, ack);
	p[32] = 5 << 4;
	p[33] = flags;
	memcpy(p + 40, data, size);
	uint8_t *copy = malloc(40 + size);
	assert_non_null(copy);
	memcpy(copy, p, 40 + size);
	struct et_frame frame = {
		.link_type = DLT_RAW,
		.time_us = f->now_us,
		.data = copy,
		.size = (uint32_t)(40 + size),
		.wire_size = (uint32_t)(40 + size),
	};
	et_engine_frame(f->engine, &frame);
	free(copy);
	check(f);
	f->now_us += 100;
}

static void say(struct fixture *f, struct side *s, const char *text)
{
	segment(f, s, ACK, s->seq, 0, text, strlen(text));
	s->seq += (uint32_t)strlen(text);
}

/* A message of the call `id`; port > 0: with a description of 10.0.0.`side`:port. */
static const char *sip(char text[2048], const char *first, const char *id, const char *cseq,
		       const char *tags, uint8_t side, uint16_t port)
{
	char body[200] = "";
	if (port > 0) {
		(void)snprintf(body, sizeof(body),
			       "v=0\r\nc=IN IP4 10.0.0.%u\r\nm=audio %u RTP/AVP 0\r\n", side, port);
	}
	(void)snprintf(
		text, 2048,
		"%s\r\nVia: SIP/2.0/TCP x;branch=z9hG4bK1\r\nFrom: <sip:alice%s@x>;tag=%c\r\n"
		"To: <sip:bob@x>%s%c\r\nCall-ID: %s\r\nCSeq: %s\r\n%sl: %zu\r\n\r\n%s",
		first, id, tags[0], tags[1] != '\0' ? ";tag=" : "", tags[1] != '\0' ? tags[1] : ' ',
		id, cseq, port > 0 ? "c: application/sdp\r\n" : "", strlen(body), body);
	return text;
}

static const struct side caller = { 1, 2, 40000, 5060, 1000 };
static const struct side callee = { 2, 1, 5060, 40000, 5000 };

/* All that both sides say in an answered call, with its end. */
static void script(char a[8192], char b[8192], const char *id, uint16_t port)
{
	char m[2048];
	(void)snprintf(a, 8192, "%s",
		       sip(m, "INVITE sip:bob@x SIP/2.0", id, "1 INVITE", "a", 1, port));
	(void)strcat(a, sip(m, "ACK sip:bob@x SIP/2.0", id, "1 ACK", "ab", 0, 0));
	(void)strcat(a, "\r\n\r\n");
	(void)strcat(a, sip(m, "BYE sip:bob@x SIP/2.0", id, "2 BYE", "ab", 0, 0));
	(void)snprintf(b, 8192, "%s", sip(m, "SIP/2.0 180 Ringing", id, "1 INVITE", "ab", 0, 0));
	(void)strcat(b, sip(m, "SIP/2.0 200 OK", id, "1 INVITE", "ab", 2, port));
	(void)strcat(b, sip(m, "SIP/2.0 200 OK", id, "2 BYE", "ab", 0, 0));
}

static void wait_s(struct fixture *f, int seconds)
{
	for (int i = 0; i < seconds * 4; i++) {
		f->now_us += 250000;
		et_engine_clock(f->engine, f->now_us);
	}
	check(f);
}

static void whole_call(struct fixture *f, struct side *a, struct side *b, const char *id)
{
	char m[2048];
	say(f, a, sip(m, "INVITE sip:bob@x SIP/2.0", id, "1 INVITE", "a", 1, 4000));
	say(f, b, sip(m, "SIP/2.0 200 OK", id, "1 INVITE", "ab", 2, 4000));
	say(f, a, sip(m, "ACK sip:bob@x SIP/2.0", id, "1 ACK", "ab", 0, 0));
	say(f, a, sip(m, "BYE sip:bob@x SIP/2.0", id, "2 BYE", "ab", 0, 0));
}

static void pieces_of(struct fixture *f, struct side *s, const char *text, size_t size)
{
	for (size_t at = 0; at < strlen(text); at += size) {
		size_t n = strlen(text) - at < size ? strlen(text) - at : size;
		segment(f, s, ACK, s->seq + (uint32_t)at, 0, text + at, n);
	}
	s->seq += (uint32_t)strlen(text);
}

/* ---- What comes as it should ----------------------------------------------------------------- */

static void a_call_over_tcp_is_a_call_however_it_is_cut(void **state)
{
	struct fixture *f = *state;
	static const size_t sizes[] = { 1, 7, 100, 1400, 4000 };
	char a[8192];
	char b[8192];
	for (size_t i = 0; i < ET_ARRAY_SIZE(sizes); i++) {
		char id[8];
		struct side x = caller;
		struct side y = callee;
		x.sport = (uint16_t)(x.sport + i);
		y.dport = x.sport;
		(void)snprintf(id, sizeof(id), "%zu", i);
		script(a, b, id, (uint16_t)(4000 + i * 2));
		size_t half = (size_t)(strstr(a, "\r\n\r\n\r\n\r\n") - a) + 4;
		char begin[8192];
		(void)snprintf(begin, sizeof(begin), "%.*s", (int)half, a);
		segment(f, &x, SYN, x.seq - 1, 0, "", 0);
		segment(f, &y, SYN | ACK, y.seq - 1, x.seq, "", 0);
		pieces_of(f, &x, begin, sizes[i]);
		pieces_of(f, &y, b, sizes[i]);
		pieces_of(f, &x, a + half, sizes[i]);
		wait_s(f, 3);
		assert_int_equal(f->closed, i + 1);
		assert_int_equal(f->answered, i + 1);
	}
	struct et_capture_metrics m = { .tcp_messages = 0 };
	et_engine_tell(f->engine, &m);
	assert_int_equal(m.tcp_messages, 6 * ET_ARRAY_SIZE(sizes));
	assert_int_equal(m.tcp_gaps, 0);
	assert_int_equal(f->engine->packets.other[ET_OTHER_TCP_CONTROL], 2 * ET_ARRAY_SIZE(sizes));
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_TCP_UNSYNCED], 0);
}

static void segments_out_of_order_and_again_change_nothing(void **state)
{
	struct fixture *f = *state;
	char m[2048];
	struct side x = caller;
	x.seq = 0xFFFFFF80U; /* and the sequence wraps in it */
	const char *invite = sip(m, "INVITE sip:bob@x SIP/2.0", "1", "1 INVITE", "a", 1, 4000);
	size_t n = strlen(invite);
	segment(f, &x, SYN, x.seq - 1, 0, "", 0);
	segment(f, &x, ACK, x.seq + 200, 0, invite + 200, n - 200); /* first the end */
	segment(f, &x, ACK, x.seq + 50, 0, invite + 50, 100);
	segment(f, &x, ACK, x.seq + 40, 0, invite + 40, 100); /* again, and some more */
	assert_int_equal(f->engine->packets.pending, 3);
	assert_int_equal(f->engine->call_count, 0);
	segment(f, &x, ACK, x.seq, 0, invite, 60);
	assert_int_equal(f->engine->call_count, 0);
	segment(f, &x, ACK, x.seq, 0, invite, 210); /* the rest, with what was there */
	assert_int_equal(f->engine->call_count, 1);
	assert_int_equal(f->engine->packets.pending, 0);
	assert_int_equal(f->engine->packets.sip, 4); /* 40..50 came with 0..60 in time */
	assert_int_equal(f->engine->packets.other[ET_OTHER_TCP_AGAIN], 1);
	segment(f, &x, ACK, x.seq, 0, invite, n);		/* all again */
	segment(f, &x, ACK, x.seq + (uint32_t)n - 1, 0, "", 1); /* a keep-alive of TCP */
	assert_int_equal(f->engine->packets.other[ET_OTHER_TCP_AGAIN], 3);
	x.seq += (uint32_t)n;
	say(f, &x, "\r\n\r\n");
	assert_int_equal(f->engine->packets.other[ET_OTHER_KEEPALIVE], 1);
}

static void dialogs_share_a_connection(void **state)
{
	struct fixture *f = *state;
	char text[3][2048];
	char all[8192] = "";
	struct side x = caller;
	struct side y = callee;
	for (int i = 0; i < 3; i++) {
		char id[2] = { (char)('1' + i), '\0' };
		(void)strcat(all, sip(text[i], "INVITE sip:bob@x SIP/2.0", id, "1 INVITE", "a", 1,
				      (uint16_t)(4000 + 2 * i)));
	}
	say(f, &x, all); /* three in one segment: one packet */
	assert_int_equal(f->engine->packets.sip, 1);
	assert_int_equal(f->engine->call_count, 3);
	/* A call in the other direction of the same connection. */
	say(f, &y, sip(text[0], "INVITE sip:alice@x SIP/2.0", "9", "1 INVITE", "a", 2, 4010));
	assert_int_equal(f->engine->call_count, 4);
}

static void a_stream_is_joined_in_its_middle(void **state)
{
	struct fixture *f = *state;
	char m[2048];
	struct side x = caller;
	struct side y = { 3, 4, 7000, 7001, 77 }; /* no SIP port: known by its content */
	say(f, &x, "end of a body\r\na=sendrecv\r\n");
	whole_call(f, &x, &(struct side){ 2, 1, 5060, 40000, 9 }, "1");
	say(f, &y, "<xml>something else</xml>\r\n");
	say(f, &y, sip(m, "INVITE sip:bob@x SIP/2.0", "2", "1 INVITE", "a", 1, 4002));
	assert_int_equal(f->engine->call_count, 2);
	assert_int_equal(f->engine->packets.other[ET_OTHER_TCP], 2);
	assert_int_equal(f->engine->packets.sip, 5);
}

/* ---- What is lost ---------------------------------------------------------------------------- */

static void a_lost_segment_costs_one_message(void **state)
{
	struct fixture *f = *state;
	char m[2048];
	struct side x = caller;
	struct side y = callee;
	const char *invite = sip(m, "INVITE sip:bob@x SIP/2.0", "1", "1 INVITE", "a", 1, 4000);
	size_t n = strlen(invite);
	segment(f, &x, ACK, x.seq, 0, invite, 100);
	segment(f, &x, ACK, x.seq + 200, 0, invite + 200, n - 200); /* 100..200 is lost */
	x.seq += (uint32_t)n;
	whole_call(f, &x, &y, "2");
	assert_int_equal(f->engine->packets.sip, 1); /* of the other direction */
	assert_int_equal(f->engine->packets.pending, 5);
	f->now_us += 60000;
	segment(f, &y, ACK, y.seq, x.seq, "", 0); /* the receiver has it all */
	assert_int_equal(f->engine->packets.pending, 0);
	assert_int_equal(f->engine->packets.sip, 4);
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_TCP_GAP], 1);
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_TCP_UNSYNCED], 1);
	struct et_capture_metrics metrics = { .tcp_gaps = 0 };
	et_engine_tell(f->engine, &metrics);
	assert_int_equal(metrics.tcp_gaps, 1);
	assert_int_equal(metrics.tcp_cut, 1);
	wait_s(f, 3);
	assert_int_equal(f->answered, 1);
}

static void a_hole_that_nobody_acknowledges_is_given_up_in_time(void **state)
{
	struct fixture *f = *state;
	char m[2048];
	struct side x = caller;
	struct side y = callee;
	say(f, &x, "\r\n\r\n");
	x.seq += 500; /* lost */
	whole_call(f, &x, &y, "1");
	assert_int_equal(f->engine->packets.pending, 3);
	wait_s(f, 4);
	assert_int_equal(f->engine->packets.pending, 0);
	assert_int_equal(f->engine->packets.sip, 4);
	/* A message that never goes on. */
	(void)sip(m, "INVITE sip:bob@x SIP/2.0", "2", "1 INVITE", "a", 1, 4000);
	m[100] = '\0';
	say(f, &x, m);
	assert_true(et_tcp_held(f->engine->tcp) > 0);
	wait_s(f, 31);
	assert_int_equal(et_tcp_held(f->engine->tcp), 0);
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_TCP_GAP], 1);
}

static void a_cut_packet_is_a_hole(void **state)
{
	struct fixture *f = *state;
	struct side x = caller;
	uint8_t p[60] = {
		0x45, 0, 0, 200, [8] = 64, [9] = 6, [12] = 10, [15] = 1, [16] = 10, [19] = 2
	};
	say(f, &x, "\r\n\r\n");
	et_put16(p + 20, x.sport);
	et_put16(p + 22, x.dport);
	et_put32(p + 24, x.seq);
	p[32] = 5 << 4;
	struct et_frame frame = {
		.link_type = DLT_RAW, .time_us = f->now_us, .data = p, .size = 60, .wire_size = 200
	};
	et_engine_frame(f->engine, &frame);
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_TRUNCATED], 1);
	x.seq += 160;
	whole_call(f, &x, &(struct side){ 2, 1, 5060, 40000, 9 }, "1");
	wait_s(f, 7);
	assert_int_equal(f->answered, 1);
}

/* ---- What means no good ---------------------------------------------------------------------- */

static void forged_segments_cost_at_most_what_they_hit(void **state)
{
	struct fixture *f = *state;
	char m[2048];
	struct side x = caller;
	struct side y = callee;
	const char *invite = sip(m, "INVITE sip:bob@x SIP/2.0", "1", "1 INVITE", "a", 1, 4000);
	size_t n = strlen(invite);
	/* RST, FIN, a SYN with another sequence number, and segments far away do not matter. */
	segment(f, &x, ACK, x.seq, 0, invite, 100);
	segment(f, &x, SYN, x.seq + 0x10000000U, 0, "", 0);
	segment(f, &x, RST, x.seq + 100, 0, "", 0);
	segment(f, &x, FIN | ACK, x.seq + 100, 0, "", 0);
	segment(f, &x, ACK, x.seq + 0x20000000U, 0, "BYE sip:bob@x SIP/2.0\r\n", 23);
	segment(f, &x, ACK, x.seq + 0x30000000U, 0, "BYE sip:bob@x SIP/2.0\r\n", 23);
	/* Early, and other than what comes: of two that overlap the first stays. */
	segment(f, &x, ACK, x.seq + 200, 0, invite + 200, n - 200);
	segment(f, &x, ACK, x.seq + 190, 0, "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", 30);
	segment(f, &x, ACK, x.seq + 100, 0, invite + 100, 90);
	assert_int_equal(f->engine->packets.sip, 4);
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_TCP_STRAY], 2);
	assert_int_equal(f->engine->call_count, 1);
	x.seq += (uint32_t)n;
	whole_call(f, &x, &y, "2");
	wait_s(f, 3);
	assert_int_equal(f->answered, 1);
	assert_string_equal(f->from, "alice2");
}

static void a_stream_that_really_moved_is_followed(void **state)
{
	struct fixture *f = *state;
	struct side x = caller;
	struct side y = callee;
	whole_call(f, &x, &y, "1");
	/* The same ports again; its SYN was seen. */
	x.seq = 0x70000000U;
	segment(f, &x, SYN, x.seq - 1, 0, "", 0);
	y.seq = 0x60000000U;
	whole_call(f, &x, &y, "2"); /* nobody saw the other one's: it is followed with the third */
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_TCP_STRAY], 1);
	wait_s(f, 3);
	assert_int_equal(f->closed, 2);
	/* Megabytes are lost, but acknowledged. */
	x.seq += 0x08000000U;
	segment(f, &y, ACK, y.seq, x.seq, "", 0);
	char m[2048];
	say(f, &x, sip(m, "INVITE sip:bob@x SIP/2.0", "3", "1 INVITE", "a", 1, 4000));
	assert_int_equal(f->engine->call_count, 1);
}

static void ports_that_are_used_again_are_a_new_connection(void **state)
{
	struct fixture *f = *state;
	char m[2048];
	struct side x = caller;
	(void)sip(m, "INVITE sip:bob@x SIP/2.0", "1", "1 INVITE", "a", 1, 4000);
	m[100] = '\0';
	say(f, &x, m);
	assert_true(et_tcp_held(f->engine->tcp) > 0);
	segment(f, &x, RST, x.seq, 0, "", 0);
	x.seq = 0x70000000U;
	segment(f, &x, SYN, x.seq - 1, 0, "", 0);
	assert_int_equal(et_tcp_held(f->engine->tcp), 0);
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_TCP_GAP], 1);
	whole_call(f, &x, &(struct side){ 2, 1, 5060, 40000, 9 }, "2");
	wait_s(f, 3);
	assert_int_equal(f->answered, 1);
}

static void endless_streams_and_floods_do_not_hurt_others(void **state)
{
	struct fixture *f = *state;
	char text[2048];
	char filler[1300];
	struct side good = caller;
	struct side back = callee;
	struct side bad[40];
	uint16_t port = 1000;
	memset(filler, 'x', sizeof(filler) - 3);
	memcpy(filler + sizeof(filler) - 3, "\r\n", 3);
	segment(f, &good, SYN, good.seq - 1, 0, "", 0);
	for (uint32_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		bad[i] = (struct side){ 9, 2, (uint16_t)(20000 + i), 5060, i * 7777 };
	}
	for (int round = 0; round < 60; round++) {
		for (uint32_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
			say(f, &bad[i],
			    round == 0 ? "INVITE sip:b@x SIP/2.0\r\nContent-Length: 4000\r\n"
				       : filler);
		}
		for (int i = 0; i < 50; i++) { /* half-open */
			struct side s = { 8, 2, port, 5060, port };
			segment(f, &s, SYN, s.seq, 0, "", 0);
			port++;
		}
		/* And one that is always early. */
		struct side early = { 7, 2, 100, 5060, 100 + (uint32_t)round * 2000 };
		say(f, &early, filler);
		if (round % 20 == 10) { /* a whole call, cut in the middle of its INVITE */
			char id[8];
			(void)snprintf(id, sizeof(id), "%d", round);
			(void)sip(text, "INVITE sip:bob@x SIP/2.0", id, "1 INVITE", "a", 1, 4000);
			segment(f, &good, ACK, good.seq, 0, text, 100);
			segment(f, &good, ACK, good.seq + 100, 0, text + 100, strlen(text) - 100);
			good.seq += (uint32_t)strlen(text);
			say(f, &back, sip(text, "SIP/2.0 200 OK", id, "1 INVITE", "ab", 2, 4000));
			say(f, &good, sip(text, "BYE sip:bob@x SIP/2.0", id, "2 BYE", "ab", 0, 0));
		}
	}
	struct et_capture_metrics m = { .tcp_connections = 0 };
	et_engine_tell(f->engine, &m);
	assert_true(m.tcp_connections <= 32);
	wait_s(f, 3);
	assert_int_equal(f->answered, 3);
}

static void another_protocol_on_a_sip_port_is_left_alone(void **state)
{
	struct fixture *f = *state;
	char b[1000];
	struct side x = caller;
	memset(b, 'x', sizeof(b) - 1);
	b[sizeof(b) - 1] = '\0';
	for (int i = 0; i < 100; i++) {
		say(f, &x, b);
	}
	assert_int_equal(et_tcp_held(f->engine->tcp), 0);
	whole_call(f, &x, &(struct side){ 2, 1, 5060, 40000, 9 }, "1"); /* but for SIP after all */
	wait_s(f, 3);
	assert_int_equal(f->answered, 1);
}

/* ---- WebSocket ------------------------------------------------------------------------------- */

static void frame(struct fixture *f, struct side *s, bool masked, const char *text)
{
	uint8_t p[3000] = { 0x81, 126 };
	size_t n = strlen(text);
	size_t at = 4;
	et_put16(p + 2, (uint16_t)n);
	if (masked) {
		p[1] |= 0x80;
		memcpy(p + 4, "\1\2\3\4", 4);
		at = 8;
	}
	for (size_t i = 0; i < n; i++) {
		p[at + i] = (uint8_t)(text[i] ^ (masked ? "\1\2\3\4"[i % 4] : 0));
	}
	segment(f, s, ACK, s->seq, 0, p, at + n);
	s->seq += (uint32_t)(at + n);
}

static void a_call_over_websocket_is_a_call(void **state)
{
	struct fixture *f = *state;
	char m[2048];
	struct side x = { 1, 2, 40000, 443, 1 };
	struct side y = { 2, 1, 443, 40000, 1 };
	say(f, &x,
	    "GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: sip, other\r\n\r\n");
	say(f, &y,
	    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n"
	    "Sec-WebSocket-Protocol: sip\r\n\r\n");
	assert_int_equal(f->engine->packets.other[ET_OTHER_WEBSOCKET], 2);
	frame(f, &x, true, sip(m, "INVITE sip:bob@x SIP/2.0", "1", "1 INVITE", "a", 1, 4000));
	frame(f, &y, false, sip(m, "SIP/2.0 200 OK", "1", "1 INVITE", "ab", 2, 4000));
	frame(f, &x, true, sip(m, "BYE sip:bob@x SIP/2.0", "1", "2 BYE", "ab", 0, 0));
	/* Joined in its middle. */
	struct side z = { 3, 2, 40000, 80, 1 };
	frame(f, &z, true, sip(m, "INVITE sip:bob@x SIP/2.0", "2", "1 INVITE", "a", 1, 4002));
	assert_int_equal(f->engine->packets.sip, 4);
	assert_int_equal(f->engine->call_count, 2);
	wait_s(f, 3);
	assert_int_equal(f->answered, 1);
}

/* ---- TLS ------------------------------------------------------------------------------------- */

/* Two calls, over TLS 1.3 and 1.2, made by OpenSSL; six messages each, and a keep-alive. In 25
 * packets: 2 times SYN and its answer, 9 of the handshakes, 2 keep-alives, 10 with SIP in them, as
 * tshark has it with the same key log. */
static void play_part(struct fixture *f, uint32_t first, uint32_t end)
{
	uint8_t b[16 * 1024];
	FILE *file = fopen("fixtures/tls-sip.pcap", "rb");
	assert_non_null(file);
	size_t n = fread(b, 1, sizeof(b), file);
	(void)fclose(file);
	uint32_t count = 0;
	for (size_t at = 24; at + 16 <= n; count++) {
		uint32_t head[4]; /* written by a little-endian machine */
		for (int i = 0; i < 4; i++) {
			const uint8_t *p = b + at + 4 * i;
			head[i] = (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 |
				  (uint32_t)p[1] << 8 | p[0];
		}
		struct et_frame frame = {
			.link_type = DLT_EN10MB,
			.time_us = f->now_us,
			.data = b + at + 16,
			.size = head[2],
			.wire_size = head[3],
		};
		if (count >= first && count < end) {
			et_engine_frame(f->engine, &frame);
			check(f);
			f->now_us += 1000;
		}
		at += 16 + head[2];
	}
	assert_int_equal(count, 25);
}

static void play(struct fixture *f)
{
	play_part(f, 0, 25);
}

static void give_secrets(struct fixture *f)
{
	char b[4096];
	FILE *file = fopen("fixtures/tls-sip.keys", "rb");
	assert_non_null(file);
	size_t n = fread(b, 1, sizeof(b), file);
	(void)fclose(file);
	assert_int_equal(et_keylog_add(f->keylog, b, n), 0);
}

static void all_is_read(struct fixture *f)
{
	struct et_capture_metrics m = { .tcp_messages = 0 };
	et_engine_tell(f->engine, &m);
	assert_int_equal(m.tcp_messages, 12);
	wait_s(f, 3);
	assert_int_equal(f->answered, 2);
}

static void sip_over_tls_is_read_with_its_secrets(void **state)
{
	struct fixture *f = *state;
	give_secrets(f);
	play(f);
	assert_int_equal(f->engine->packets.sip, 10);
	assert_int_equal(f->engine->packets.other[ET_OTHER_TLS], 9);
	assert_int_equal(f->engine->packets.other[ET_OTHER_KEEPALIVE], 2);
	assert_int_equal(f->engine->packets.pending, 0);
	all_is_read(f);
}

/* Who has not seen its beginning cannot read it: a flood of what is cheap must not end it. */
static void a_flood_does_not_push_out_what_a_key_opened(void **state)
{
	struct fixture *f = *state;
	give_secrets(f);
	play_part(f, 0, 9); /* two messages of the first call are in it */
	uint64_t before = f->engine->packets.sip;
	assert_int_equal(before, 2);
	for (uint16_t i = 0; i < 100; i++) {
		struct side x = { 9, 2, (uint16_t)(20000 + i), 5060, 1 };
		say(f, &x, "OPTIONS sip:b@x SIP/2.0\r\nContent-Length: 0\r\n\r\n");
	}
	assert_int_equal(f->engine->packets.sip, before + 100);
	play_part(f, 9, 25);
	assert_int_equal(f->engine->packets.sip, 10 + 100);
	wait_s(f, 3);
	assert_int_equal(f->answered, 2);
}

static void secrets_may_come_after_the_packets(void **state)
{
	struct fixture *f = *state;
	play(f);
	assert_int_equal(f->engine->packets.sip, 0);
	assert_true(f->engine->packets.pending >= 10);
	assert_true(et_tcp_held(f->engine->tcp) > 0);
	give_secrets(f);
	wait_s(f, 1);
	assert_int_equal(f->engine->packets.pending, 0);
	assert_int_equal(et_tcp_held(f->engine->tcp), 0);
	all_is_read(f);
}

static void tls_without_secrets_is_given_up(void **state)
{
	struct fixture *f = *state;
	play(f);
	wait_s(f, 32);
	assert_int_equal(f->engine->packets.pending, 0);
	assert_int_equal(et_tcp_held(f->engine->tcp), 0);
	assert_true(f->engine->packets.unclaimed[ET_UNCLAIMED_TLS_NO_KEY] >= 12);
	assert_int_equal(f->engine->call_count, 0);
}

/* A TLS 1.3 connection whose secrets nobody has, and `size` bytes (at most) in records after it. */
static void secretless(struct fixture *f, uint16_t port, size_t size)
{
	static const uint8_t head[] = { 22, 3, 3, 0, 0, 0, 0, 0, 0, 3, 3 };
	static const uint8_t server[] = { 0, 0x13, 0x01, 0, 0, 6, 0, 43, 0, 2, 3, 4 };
	struct side x = { 9, 2, port, 5061, 1 };
	struct side y = { 2, 9, 5061, port, 1 };
	uint8_t p[4000] = { 0 };
	memcpy(p, head, sizeof(head));
	size_t body = 2 + 32 + sizeof(server);
	et_put16(p + 3, (uint16_t)(4 + body));
	p[8] = (uint8_t)body;
	memcpy(p + 43, server, sizeof(server));
	for (int i = 0; i < 2; i++) { /* a ClientHello is not read behind its random */
		struct side *s = i == 0 ? &x : &y;
		p[5] = (uint8_t)(i + 1);
		segment(f, s, ACK, s->seq, 0, p, 9 + body);
		s->seq += (uint32_t)(9 + body);
	}
	memset(p, 0, sizeof(p));
	memcpy(p, "\x17\x03\x03", 3);
	while (size > 5) {
		size_t n = size < sizeof(p) ? size : sizeof(p);
		et_put16(p + 3, (uint16_t)(n - 5));
		segment(f, &x, ACK, x.seq, 0, p, n);
		x.seq += (uint32_t)n;
		size -= n;
	}
}

static void what_waits_for_secrets_is_bounded_in_all(void **state)
{
	struct fixture *f = *state;
	struct side x = caller;
	struct side y = callee;
	for (uint16_t i = 0; i < 8; i++) { /* twice what there is room for */
		secretless(f, (uint16_t)(1000 + i), (size_t)16 * 1000);
	}
	assert_true(et_tcp_held(f->engine->tcp) > 0);
	assert_true(f->engine->packets.unclaimed[ET_UNCLAIMED_TCP_LIMIT] >= 16);
	for (uint16_t i = 0; i < 40; i++) { /* more than the table has room for */
		secretless(f, (uint16_t)(2000 + i), 500);
	}
	whole_call(f, &x, &y, "1");
	wait_s(f, 3);
	assert_int_equal(f->answered, 1);
	assert_true(et_tcp_held(f->engine->tcp) > 0); /* as long as nothing else comes */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_call_over_tcp_is_a_call_however_it_is_cut),
		TEST(segments_out_of_order_and_again_change_nothing),
		TEST(dialogs_share_a_connection),
		TEST(a_stream_is_joined_in_its_middle),
		TEST(a_lost_segment_costs_one_message),
		TEST(a_hole_that_nobody_acknowledges_is_given_up_in_time),
		TEST(a_cut_packet_is_a_hole),
		TEST(forged_segments_cost_at_most_what_they_hit),
		TEST(a_stream_that_really_moved_is_followed),
		TEST(ports_that_are_used_again_are_a_new_connection),
		TEST(endless_streams_and_floods_do_not_hurt_others),
		TEST(another_protocol_on_a_sip_port_is_left_alone),
		TEST(a_call_over_websocket_is_a_call),
		TEST(sip_over_tls_is_read_with_its_secrets),
		TEST(a_flood_does_not_push_out_what_a_key_opened),
		TEST(secrets_may_come_after_the_packets),
		TEST(tls_without_secrets_is_given_up),
		TEST(what_waits_for_secrets_is_bounded_in_all),
	};
	return cmocka_run_group_tests_name("node/capture/tcp", tests, NULL, NULL);
}
