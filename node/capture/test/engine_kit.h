/* An engine whose sink writes everything down, messages and packets for it, and its death. */
#ifndef ET_NODE_CAPTURE_TEST_ENGINE_KIT_H
#define ET_NODE_CAPTURE_TEST_ENGINE_KIT_H

#include <stdio.h>
#include <string.h>

#include "node/capture/test/sink.h"

enum { CLOSED_MAX = 64 };

struct closed {
	struct et_facts facts;
	bool opened;
	uint32_t count;
	struct et_capture_stream streams[ET_CAPTURE_STREAMS_MAX];
};

struct fixture {
	struct et_engine *engine;
	int64_t now_us;
	uint64_t media;
	uint64_t meta;
	uint32_t opens;
	uint32_t restored;
	bool full; /* the sink has no room for media */
	uint32_t closed_count;
	struct closed closed[CLOSED_MAX];
	struct et_capture_config config;
};

static inline int take_open(void *arg, uint32_t slot, const struct et_facts *facts, bool restored)
{
	struct fixture *f = arg;
	(void)slot;
	(void)facts;
	f->opens++;
	f->restored += restored;
	return 0;
}

static inline int take_media(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
			     const struct et_packet *packet)
{
	struct fixture *f = arg;
	(void)slot;
	(void)stream;
	(void)rtp;
	(void)packet;
	f->media += f->full ? 0 : 1;
	return f->full ? ET_ELIMIT : 0;
}

static inline int take_meta(void *arg, uint32_t slot, struct et_view plain)
{
	struct fixture *f = arg;
	(void)slot;
	(void)plain;
	f->meta++;
	return 0;
}

static inline int take_close(void *arg, uint32_t slot, bool opened, const struct et_facts *facts,
			     const struct et_capture_stream *streams, uint32_t count)
{
	struct fixture *f = arg;
	(void)slot;
	assert_true(f->closed_count < CLOSED_MAX);
	struct closed *c = &f->closed[f->closed_count++];
	c->facts = *facts;
	c->opened = opened;
	c->count = count;
	memcpy(c->streams, streams, count * sizeof(*streams));
	return 0;
}

static inline struct et_engine *make(struct fixture *f)
{
	struct et_sink sink = sink_of(f);
	sink.open = take_open;
	sink.media = take_media;
	sink.meta = take_meta;
	sink.keys = take_meta;
	sink.close = take_close;
	struct et_engine_config config = {
		.capture = &f->config,
		.sink = &sink,
		.deterministic = true,
	};
	struct et_engine *e = NULL;
	assert_int_equal(et_engine_new(&config, &e, NULL), 0);
	return e;
}

/* Another engine, as f->config says now. */
static inline void make_again(struct fixture *f)
{
	(void)et_engine_free(f->engine);
	f->engine = make(f);
}

static inline int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->now_us = 1700000000000000LL;
	f->engine = make(f);
	*state = f;
	return 0;
}

static inline int tear_down(void **state)
{
	struct fixture *f = *state;
	et_engine_finish(f->engine, true);
	assert_each_counted_once(f->engine);
	assert_int_equal(f->engine->packets.pending, 0);
	(void)et_engine_free(f->engine);
	free(f);
	return 0;
}

/* ---- Packets --------------------------------------------------------------------------------- */

static inline void datagram(struct fixture *f, uint8_t from, uint16_t sport, uint8_t to,
			    uint16_t dport, const void *data, size_t size)
{
	engine_datagram_at(f->engine, f->now_us, from, sport, to, dport, data, size);
}

static inline void rtp_of(struct fixture *f, uint8_t from, uint16_t sport, uint8_t to,
			  uint16_t dport, uint32_t ssrc, uint32_t number, uint8_t type)
{
	uint8_t p[172] = { 0x80, type };
	et_put16(p + 2, (uint16_t)number);
	et_put32(p + 4, number * 160);
	et_put32(p + 8, ssrc);
	datagram(f, from, sport, to, dport, p, sizeof(p));
}

static inline void rtp(struct fixture *f, uint8_t from, uint16_t sport, uint8_t to, uint16_t dport,
		       uint32_t ssrc, uint32_t number)
{
	rtp_of(f, from, sport, to, dport, ssrc, number, 0);
}

/* A message of the call `id`; `port` > 0: with a description that names 10.0.0.`side`:port. */
static inline void sip(struct fixture *f, bool to_callee, const char *first, const char *id,
		       const char *cseq, const char *tags, uint8_t side, uint16_t port)
{
	char text[1500];
	char body[300] = "";
	if (port > 0) {
		(void)snprintf(body, sizeof(body),
			       "v=0\r\nc=IN IP4 10.0.0.%u\r\nm=audio %u RTP/AVP 0 101\r\n"
			       "a=rtpmap:101 telephone-event/8000\r\n",
			       side, port);
	}
	bool tagged = strcmp(tags, "ab") == 0 || strcmp(tags, "ba") == 0;
	int n = snprintf(text, sizeof(text),
			 "%s\r\nFrom: <sip:alice@x>;tag=%c\r\nTo: <sip:bob@x>%s%c\r\n"
			 "Call-ID: %s\r\nCSeq: %s\r\n%sContent-Length: %zu\r\n\r\n%s",
			 first, tags[0], tagged ? ";tag=" : "", tagged ? tags[1] : ' ', id, cseq,
			 port > 0 ? "Content-Type: application/sdp\r\n" : "", strlen(body), body);
	datagram(f, to_callee ? 1 : 2, 5060, to_callee ? 2 : 1, 5060, text, (size_t)n);
	f->now_us += 1000;
}

static inline void answered(struct fixture *f, const char *id, uint16_t port)
{
	sip(f, true, "INVITE sip:bob@x SIP/2.0", id, "1 INVITE", "a", 1, port);
	sip(f, false, "SIP/2.0 200 OK", id, "1 INVITE", "ab", 2, port);
	sip(f, true, "ACK sip:bob@x SIP/2.0", id, "1 ACK", "ab", 0, 0);
}

static inline void bye(struct fixture *f, const char *id)
{
	sip(f, true, "BYE sip:bob@x SIP/2.0", id, "2 BYE", "ab", 0, 0);
	sip(f, false, "SIP/2.0 200 OK", id, "2 BYE", "ab", 0, 0);
}

static inline void wait_s(struct fixture *f, int seconds)
{
	for (int i = 0; i < seconds * 4; i++) {
		f->now_us += 250000;
		et_engine_clock(f->engine, f->now_us);
	}
}

/* ---- Restart --------------------------------------------------------------------------------- */

static inline int64_t gap_from(void *arg, const uint8_t id[16], uint32_t *segment)
{
	(void)id;
	*segment = 3;
	return *(int64_t *)arg;
}

/* The recorder dies now, and another one begins `later_us` later with the call table. */
static inline void restart(struct fixture *f, int64_t later_us)
{
	struct et_buffer table = { .data = NULL };
	int64_t died_us = f->now_us;
	et_engine_save(f->engine, &table);
	assert_false(table.failed);
	et_engine_free(f->engine);
	f->now_us += later_us;
	f->engine = make(f);
	et_engine_clock(f->engine, f->now_us);
	struct et_view view = { table.data, table.size };
	assert_int_equal(et_engine_restore(f->engine, view, gap_from, &died_us, NULL), 0);
	et_buffer_release(&table);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
