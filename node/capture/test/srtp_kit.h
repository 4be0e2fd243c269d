/* A call with SRTP in the engine, for its tests: parties that protect their packets, what the sink
 * is told of keys, and handshakes of DTLS. */
#ifndef ET_NODE_CAPTURE_TEST_SRTP_KIT_H
#define ET_NODE_CAPTURE_TEST_SRTP_KIT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/capture/test/sink.h"
#include "node/srtp/dtls.h"
#include "node/srtp/given.h"
#include "node/tape/keys.h"

enum { KEYS_MAX = 32, PAYLOAD = 160 };

struct fixture {
	struct et_capture_config config;
	struct et_engine *engine;
	struct et_srtp_ring *given;
	struct et_keylog *keylog;
	int64_t now_us;
	int media;
	int opened; /* of them, those that et_engine_plain() opened, with the right content */
	int closed; /* ... and those that it did not */
	uint8_t told[KEYS_MAX][ET_SRTP_MATERIAL_MAX];
	uint8_t told_party[KEYS_MAX];
	uint32_t told_count;
	struct et_late_keys late;
	uint32_t late_count; /* keys that came when the call was over */
	struct et_keys_item handshakes[4];
	uint32_t handshake_count;
	bool no_room;	       /* for keys */
	char announced[2][32]; /* what protects a stream, as the tape says before its media */
	struct et_facts facts;
	struct et_capture_stream streams[ET_CAPTURE_STREAMS_MAX];
	uint32_t stream_count;
};

static inline int take_media(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
			     const struct et_packet *packet)
{
	struct fixture *f = arg;
	struct et_rtp plain = *rtp;
	f->media++;
	if (!et_engine_plain(f->engine, slot, stream, packet, &plain)) {
		f->closed++;
		return 0;
	}
	f->opened++;
	assert_int_equal(plain.payload_size, PAYLOAD);
	for (uint32_t i = 0; i < PAYLOAD; i++) {
		assert_int_equal(plain.payload[i], (uint8_t)(i + rtp->sequence));
	}
	return 0;
}

static inline int take_stream(void *arg, uint32_t slot, const struct et_capture_stream *stream)
{
	struct fixture *f = arg;
	(void)slot;
	if (stream->number < 2) {
		memcpy(f->announced[stream->number], stream->srtp, sizeof(f->announced[0]));
	}
	return 0;
}

static inline int take_keys(void *arg, uint32_t slot, struct et_view plain)
{
	struct fixture *f = arg;
	struct et_keys_reader r;
	struct et_keys_item i;
	(void)slot;
	if (f->no_room) {
		return ET_ELIMIT;
	}
	assert_int_equal(et_keys_reader_init(&r, plain, NULL), 0);
	while (et_keys_reader_next(&r, &i, NULL) == 1) {
		if (i.type == ET_KEYS_DTLS) {
			assert_true(f->handshake_count < 4);
			f->handshakes[f->handshake_count++] = i;
			continue;
		}
		assert_true(f->told_count < KEYS_MAX);
		memcpy(f->told[f->told_count], i.material.data, i.material.size);
		f->told_party[f->told_count++] = i.party;
	}
	return 0;
}

static inline int take_late(void *arg, const struct et_late_keys *late, struct et_view plain)
{
	struct fixture *f = arg;
	struct et_keys_reader r;
	struct et_keys_item i;
	if (f->no_room) {
		return ET_ELIMIT;
	}
	f->late = *late;
	assert_int_equal(et_keys_reader_init(&r, plain, NULL), 0);
	while (et_keys_reader_next(&r, &i, NULL) == 1) {
		assert_int_equal(i.type, ET_KEYS_SRTP);
		assert_true(f->told_count < KEYS_MAX);
		memcpy(f->told[f->told_count], i.material.data, i.material.size);
		f->told_party[f->told_count++] = i.party;
		f->late_count++;
	}
	return 0;
}

static inline int take_close(void *arg, uint32_t slot, bool opened, const struct et_facts *facts,
			     const struct et_capture_stream *streams, uint32_t count)
{
	struct fixture *f = arg;
	(void)slot;
	(void)opened;
	f->facts = *facts;
	f->stream_count = count;
	memcpy(f->streams, streams, count * sizeof(*streams));
	return 0;
}

static inline int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct et_sink sink = sink_of(f);
	assert_non_null(f);
	sink.media = take_media;
	sink.stream = take_stream;
	sink.keys = take_keys;
	sink.late = take_late;
	sink.close = take_close;
	assert_int_equal(et_srtp_ring_new(8, &f->given, NULL), 0);
	assert_int_equal(et_keylog_new(8, 0, &f->keylog, NULL), 0);
	struct et_engine_config config = {
		.capture = &f->config,
		.sink = &sink,
		.deterministic = true,
		.given = f->given,
		.keylog = f->keylog,
		.keep_openers = true,
	};
	assert_int_equal(et_engine_new(&config, &f->engine, NULL), 0);
	f->now_us = 1700000000000000LL;
	*state = f;
	return 0;
}

static inline int tear_down(void **state)
{
	struct fixture *f = *state;
	(void)et_engine_free(f->engine);
	(void)et_srtp_ring_free(f->given);
	(void)et_keylog_free(f->keylog);
	free(f);
	return 0;
}

/* ---- Packets --------------------------------------------------------------------------------- */

static inline void datagram(struct fixture *f, uint8_t from, uint16_t port, uint8_t to,
			    const void *data, size_t size)
{
	engine_datagram_at(f->engine, f->now_us, from, port, to, port, data, size);
}

/* A message of the caller (1) or the callee (2); `media`: the description's m= and a= lines. */
static inline void sip(struct fixture *f, uint8_t from, const char *first, const char *cseq,
		       const char *media)
{
	char text[1900];
	char body[1200] = "";
	if (media[0] != '\0') {
		(void)snprintf(body, sizeof(body), "v=0\r\nc=IN IP4 10.0.0.%u\r\n%s", from, media);
	}
	int n = snprintf(
		text, sizeof(text),
		"%s\r\nFrom: <sip:a@x>;tag=a\r\nTo: <sip:b@x>%s\r\nCall-ID: 1\r\nCSeq: %s\r\n"
		"%sContent-Length: %zu\r\n\r\n%s",
		first, from == 2 ? ";tag=b" : "", cseq,
		media[0] != '\0' ? "Content-Type: application/sdp\r\n" : "", strlen(body), body);
	datagram(f, from, 5060, from == 1 ? 2 : 1, text, (size_t)n);
	f->now_us += 1000;
}

struct sender {
	struct et_srtp *srtp; /* owned; NULL: plain */
	enum et_srtp_suite suite;
	uint8_t material[ET_SRTP_MATERIAL_MAX];
	uint8_t from;
	uint8_t to; /* 0: the other one of caller and callee */
	uint32_t sequence;
};

static inline void sender_close(struct sender *s)
{
	s->srtp = et_srtp_free(s->srtp);
}

static inline struct sender sender_of(uint8_t from, enum et_srtp_suite suite, uint8_t seed)
{
	struct sender s = { .suite = suite, .from = from, .sequence = 100 };
	for (size_t i = 0; i < sizeof(s.material); i++) {
		s.material[i] = (uint8_t)(seed + i * 3);
	}
	struct et_srtp_key key = {
		.suite = suite,
		.material = { s.material, et_srtp_key_size(suite) + et_srtp_salt_size(suite) },
	};
	assert_int_equal(et_srtp_new(&key, 0x1000U + from, &s.srtp, NULL), 0);
	return s;
}

/* "a=crypto:TAG SUITE inline:KEY" of a sender. */
static const char *line_of(const struct sender *s, unsigned tag, char ret[200])
{
	char key[80];
	et_base64(s->material, et_srtp_key_size(s->suite) + et_srtp_salt_size(s->suite), key);
	for (char *c = key; *c != '\0'; c++) {
		*c = (char)(*c == '-' ? '+' : *c == '_' ? '/' : *c);
	}
	(void)snprintf(ret, 200, "a=crypto:%u %s inline:%s|2^31\r\n", tag,
		       et_srtp_suite_name(s->suite), key);
	return ret;
}

/* A description with one line. */
static inline const char *description(const struct sender *s, const char *profile, char ret[400])
{
	char line[200];
	(void)snprintf(ret, 400, "m=audio 4000 %s 0\r\n%s", profile, line_of(s, 1, line));
	return ret;
}

static inline void send_rtp(struct fixture *f, struct sender *s, int count)
{
	for (int n = 0; n < count; n++) {
		uint32_t room[100] = { 0 };
		uint8_t *p = (uint8_t *)room;
		size_t size = 12 + PAYLOAD;
		p[0] = 0x80;
		et_put16(p + 2, (uint16_t)s->sequence);
		et_put32(p + 4, s->sequence * 160);
		et_put32(p + 8, 0x1000U + s->from);
		for (uint32_t i = 0; i < PAYLOAD; i++) {
			p[12 + i] = (uint8_t)(i + s->sequence);
		}
		s->sequence++;
		if (s->srtp != NULL) {
			assert_int_equal(et_srtp_seal_rtp(s->srtp, p, &size), 0);
		}
		datagram(f, s->from, 4000, s->to != 0 ? s->to : s->from == 1 ? 2 : 1, p, size);
		f->now_us += 20000;
	}
}

static inline void finish(struct fixture *f)
{
	sip(f, 1, "BYE sip:b@x SIP/2.0", "9 BYE", "");
	et_engine_finish(f->engine, true);
}

static inline void call(struct fixture *f, const char *offer, const char *answer)
{
	sip(f, 1, "INVITE sip:b@x SIP/2.0", "1 INVITE", offer);
	sip(f, 2, "SIP/2.0 200 OK", "1 INVITE", answer);
}

static inline int64_t no_gap(void *arg, const uint8_t id[16], uint32_t *segment)
{
	(void)arg;
	(void)id;
	(void)segment;
	return 0;
}

static inline bool was_told(const struct fixture *f, const struct sender *s)
{
	size_t size = et_srtp_key_size(s->suite) + et_srtp_salt_size(s->suite);
	uint32_t n = 0;
	for (uint32_t i = 0; i < f->told_count; i++) {
		n += memcmp(f->told[i], s->material, size) == 0 &&
		     f->told_party[i] == (s->from == 1 ? 0 : 1);
	}
	assert_true(n <= 1);
	return n == 1;
}

/* ---- Handshakes -------------------------------------------------------------------------------
 */

/* A hello of DTLS 1.2: ECDHE-RSA with AES-128-GCM and SHA-256, SRTP of AES-CM with 80 bits. */
static inline size_t hello_make(bool client, uint8_t p[128])
{
	static const uint8_t head[] = { 22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	static const uint8_t server[] = { 0, 0xC0, 0x2F, 0, 0, 9, 0, 14, 0, 5, 0, 2, 0, 1, 0 };
	size_t body = 2 + 32 + (client ? 1 : sizeof(server));

	memset(p, 0, 128);
	memcpy(p, head, sizeof(head));
	et_put16(p + 11, (uint16_t)(12 + body));
	p[13] = client ? 1 : 2;
	p[16] = (uint8_t)body;
	p[24] = (uint8_t)body;
	et_put16(p + 25, 0xFEFD);
	memset(p + 27, client ? 0xC1 : 0x5E, 32);
	if (!client) {
		memcpy(p + 59, server, sizeof(server));
	}
	return 25 + body;
}

static inline void hello(struct fixture *f, uint8_t from, bool client)
{
	uint8_t p[128];
	size_t size = hello_make(client, p);
	datagram(f, from, 4000, from == 1 ? 2 : 1, p, size);
}

/* Who protects with the client's or the server's key of that handshake; the master secret is zeros.
 */
static inline struct sender sender_of_handshake(uint8_t from, bool client)
{
	static const uint8_t master[48];
	struct et_dtls_hello hellos[2];
	struct et_secret *keys = NULL;
	uint8_t p[128];
	struct sender s = { .suite = ET_SRTP_AES_CM_128_HMAC_SHA1_80, .from = from };

	for (int i = 0; i < 2; i++) {
		size_t size = hello_make(i == 0, p);
		assert_true(et_dtls_hello_find(p, size, &hellos[i]));
	}
	assert_int_equal(et_dtls_srtp_keys(&hellos[0], &hellos[1],
					   (struct et_view){ master, sizeof(master) }, &keys, NULL),
			 0);
	memcpy(s.material, et_secret_bytes(keys) + (client ? 0 : 30), 30);
	(void)et_secret_free(keys);
	struct et_srtp_key k = { .suite = s.suite, .material = { s.material, 30 } };
	assert_int_equal(et_srtp_new(&k, 0x1000U + from, &s.srtp, NULL), 0);
	return s;
}

/* A call in which the callee is the client of DTLS. */
static inline void call_with_handshake(struct fixture *f)
{
	static const char media[] = "m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\na=fingerprint:sha-1 A\r\n";
	call(f, media, media);
	hello(f, 2, true);
	hello(f, 2, true); /* again, with the cookie */
	hello(f, 1, false);
}

/* 100 streams of others, not protected, of eight packets each: calls without signalling. */
static inline void strangers_talk(struct fixture *f)
{
	for (uint8_t from = 3; from < 103; from++) {
		struct sender plain = { .srtp = NULL, .from = from, .to = 200 };
		send_rtp(f, &plain, 8);
		f->now_us -= 8 * 20000;
	}
	f->now_us += 3000000;
	et_engine_clock(f->engine, f->now_us); /* what waited for signalling is looked at */
}

/* The line of that handshake, with its master secret of zeros. */
static inline void secret_comes(struct fixture *f)
{
	char line[200];
	char random[65];
	uint8_t bytes[32];

	memset(bytes, 0xC1, sizeof(bytes));
	et_hex(bytes, sizeof(bytes), random);
	(void)snprintf(line, sizeof(line), "CLIENT_RANDOM %s %096d\n", random, 0);
	assert_int_equal(et_keylog_add(f->keylog, line, strlen(line)), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
