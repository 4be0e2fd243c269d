/* SRTP in the engine: keys of crypto lines reach the sink and never the call table, the first
 * packets say which one fits, keys by hand, protection that is only offered, new keys in a
 * re-INVITE. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/audio/codec.h"
#include "node/capture/replay.h"
#include "node/capture/test/sink.h"
#include "node/capture/writer_internal.h"
#include "node/crypto/hpke.h"
#include "node/crypto/sign.h"
#include "node/srtp/dtls.h"
#include "node/srtp/given.h"
#include "node/tape/keys.h"
#include "node/tape/reader.h"
#include "node/tape/wrap.h"

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

static int take_media(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
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

static int take_stream(void *arg, uint32_t slot, const struct et_capture_stream *stream)
{
	struct fixture *f = arg;
	(void)slot;
	if (stream->number < 2) {
		memcpy(f->announced[stream->number], stream->srtp, sizeof(f->announced[0]));
	}
	return 0;
}

static int take_keys(void *arg, uint32_t slot, struct et_view plain)
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

static int take_late(void *arg, const struct et_late_keys *late, struct et_view plain)
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

static int take_close(void *arg, uint32_t slot, bool opened, const struct et_facts *facts,
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

static int set_up(void **state)
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

static int tear_down(void **state)
{
	struct fixture *f = *state;
	(void)et_engine_free(f->engine);
	(void)et_srtp_ring_free(f->given);
	(void)et_keylog_free(f->keylog);
	free(f);
	return 0;
}

/* ---- Packets --------------------------------------------------------------------------------- */

static void datagram(struct fixture *f, uint8_t from, uint16_t port, uint8_t to, const void *data,
		     size_t size)
{
	engine_datagram_at(f->engine, f->now_us, from, port, to, port, data, size);
}

/* A message of the caller (1) or the callee (2); `media`: the description's m= and a= lines. */
static void sip(struct fixture *f, uint8_t from, const char *first, const char *cseq,
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

static struct sender sender_of(uint8_t from, enum et_srtp_suite suite, uint8_t seed)
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
static const char *description(const struct sender *s, const char *profile, char ret[400])
{
	char line[200];
	(void)snprintf(ret, 400, "m=audio 4000 %s 0\r\n%s", profile, line_of(s, 1, line));
	return ret;
}

static void send_rtp(struct fixture *f, struct sender *s, int count)
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

static void finish(struct fixture *f)
{
	sip(f, 1, "BYE sip:b@x SIP/2.0", "9 BYE", "");
	et_engine_finish(f->engine, true);
}

static void call(struct fixture *f, const char *offer, const char *answer)
{
	sip(f, 1, "INVITE sip:b@x SIP/2.0", "1 INVITE", offer);
	sip(f, 2, "SIP/2.0 200 OK", "1 INVITE", answer);
}

static int64_t no_gap(void *arg, const uint8_t id[16], uint32_t *segment)
{
	(void)arg;
	(void)id;
	(void)segment;
	return 0;
}

static bool was_told(const struct fixture *f, const struct sender *s)
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

/* ---- Tests ------------------------------------------------------------------------------------
 */

static void of_several_lines_the_one_in_use_opens(void **state)
{
	struct fixture *f = *state;
	char offer[1000];
	char answer[400];
	char lines[4][200];
	struct sender first = sender_of(1, ET_SRTP_AEAD_AES_256_GCM, 1);
	struct sender caller = sender_of(1, ET_SRTP_AES_256_CM_HMAC_SHA1_80, 2);
	struct sender callee = sender_of(2, ET_SRTP_AES_256_CM_HMAC_SHA1_80, 3);

	(void)snprintf(offer, sizeof(offer),
		       "m=audio 4000 RTP/SAVP 0\r\n%sa=crypto:2 F8_128_HMAC_SHA1_80 inline:x\r\n%s",
		       line_of(&first, 1, lines[0]), line_of(&caller, 3, lines[1]));
	(void)snprintf(answer, sizeof(answer), "m=audio 4000 RTP/SAVP 0\r\n%s",
		       line_of(&callee, 3, lines[2]));
	call(f, offer, answer);
	send_rtp(f, &caller, 20);
	send_rtp(f, &callee, 20);
	finish(f);
	assert_int_equal(f->opened, 40);
	assert_int_equal(f->closed, 0);
	assert_int_equal(f->stream_count, 2);
	for (uint32_t i = 0; i < 2; i++) {
		assert_string_equal(f->streams[i].srtp, "AES_256_CM_HMAC_SHA1_80");
		assert_int_equal(f->streams[i].opened, ET_OPENED_YES);
	}
	assert_string_equal(f->facts.problem, "");
	assert_int_equal(f->told_count, 3);
	assert_true(was_told(f, &first) && was_told(f, &caller) && was_told(f, &callee));
	(void)et_srtp_free(first.srtp);
	(void)et_srtp_free(caller.srtp);
	(void)et_srtp_free(callee.srtp);
}

static void a_reinvite_brings_new_keys(void **state)
{
	struct fixture *f = *state;
	char offer[400];
	char answer[400];
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 1);
	struct sender callee = sender_of(2, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 2);
	struct sender again = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_32, 3);

	call(f, description(&caller, "RTP/SAVP", offer), description(&callee, "RTP/SAVP", answer));
	send_rtp(f, &caller, 10);
	sip(f, 1, "INVITE sip:b@x SIP/2.0", "2 INVITE", description(&again, "RTP/SAVP", offer));
	send_rtp(f, &caller, 5); /* until the answer, the old ones */
	sip(f, 2, "SIP/2.0 200 OK", "2 INVITE", answer);
	again.sequence = caller.sequence;
	send_rtp(f, &again, 10);
	finish(f);
	assert_int_equal(f->opened, 25);
	assert_int_equal(f->closed, 0);
	assert_int_equal(f->told_count, 3);
	(void)et_srtp_free(caller.srtp);
	(void)et_srtp_free(callee.srtp);
	(void)et_srtp_free(again.srtp);
}

static void what_is_only_offered_is_decided_by_packets(void **state)
{
	struct fixture *f = *state;
	char offer[400];
	char answer[400];
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 1);
	struct sender plain = { .srtp = NULL, .from = 2 };
	struct sender callee = sender_of(2, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 2);

	call(f, description(&caller, "RTP/AVP", offer), description(&callee, "RTP/AVP", answer));
	send_rtp(f, &caller, 10); /* protected */
	send_rtp(f, &plain, 10);  /* it named a key and does not use it */
	finish(f);
	assert_int_equal(f->opened, 20);
	assert_string_equal(f->streams[0].srtp, "AES_CM_128_HMAC_SHA1_80");
	assert_int_equal(f->streams[0].opened, ET_OPENED_YES);
	assert_string_equal(f->streams[1].srtp, "");
	assert_int_equal(f->streams[1].opened, ET_OPENED_UNKNOWN);
	assert_string_equal(f->facts.problem, "");
	(void)et_srtp_free(caller.srtp);
	(void)et_srtp_free(callee.srtp);
}

/* SIP over TLS is read when its secrets come, and an answer may be lost: the tape says from the
 * first packet on what is protected, else it would be played as it is. */
static void media_before_the_answer_is_known_to_be_protected(void **state)
{
	struct fixture *f = *state;
	char text[400];
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 1);
	struct sender callee = sender_of(2, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 2);

	sip(f, 1, "INVITE sip:b@x SIP/2.0", "1 INVITE", description(&caller, "RTP/SAVP", text));
	send_rtp(f, &caller, 1); /* teaches the callee's address, and nothing else of it */
	send_rtp(f, &callee, 5);
	assert_string_equal(f->announced[0], "AES_CM_128_HMAC_SHA1_80");
	assert_string_equal(f->announced[1], "AES_CM_128_HMAC_SHA1_80");
	assert_int_equal(f->closed, 5);
	sip(f, 2, "SIP/2.0 200 OK", "1 INVITE", description(&callee, "RTP/SAVP", text));
	send_rtp(f, &callee, 5);
	finish(f);
	assert_int_equal(f->opened, 6);
	assert_true(was_told(f, &callee));
	assert_int_equal(f->streams[1].opened, ET_OPENED_YES);
	assert_string_equal(f->facts.problem, "");
	(void)et_srtp_free(caller.srtp);
	(void)et_srtp_free(callee.srtp);
}

static void without_its_key_a_stream_says_so(void **state)
{
	struct fixture *f = *state;
	char offer[400];
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 1);
	struct sender other = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 9);
	struct sender callee = sender_of(2, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 2);

	call(f, description(&other, "RTP/SAVP", offer),
	     "m=audio 4000 UDP/TLS/RTP/SAVP 0\r\na=fingerprint:sha-256 AA\r\n");
	send_rtp(f, &caller, 10);
	send_rtp(f, &callee, 10);
	finish(f);
	assert_int_equal(f->media, 20); /* kept all the same */
	assert_int_equal(f->closed, 20);
	assert_string_equal(f->streams[0].srtp, "AES_CM_128_HMAC_SHA1_80");
	assert_string_equal(f->streams[1].srtp, "DTLS-SRTP");
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(f->streams[i].opened, ET_OPENED_NO);
	}
	assert_non_null(strstr(f->facts.problem, "2 streams are protected (SRTP) and no key"));
	(void)et_srtp_free(caller.srtp);
	(void)et_srtp_free(other.srtp);
	(void)et_srtp_free(callee.srtp);
}

/* A hello of DTLS 1.2: ECDHE-RSA with AES-128-GCM and SHA-256, SRTP of AES-CM with 80 bits. */
static size_t hello_make(bool client, uint8_t p[128])
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

static void hello(struct fixture *f, uint8_t from, bool client)
{
	uint8_t p[128];
	size_t size = hello_make(client, p);
	datagram(f, from, 4000, from == 1 ? 2 : 1, p, size);
}

/* Who protects with the client's or the server's key of that handshake; the master secret is zeros.
 */
static struct sender sender_of_handshake(uint8_t from, bool client)
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
static void call_with_handshake(struct fixture *f)
{
	static const char media[] = "m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\na=fingerprint:sha-1 A\r\n";
	call(f, media, media);
	hello(f, 2, true);
	hello(f, 2, true); /* again, with the cookie */
	hello(f, 1, false);
}

/* The line of that handshake, with its master secret of zeros. */
static void secret_comes(struct fixture *f)
{
	char line[200];
	char random[65];
	uint8_t bytes[32];

	memset(bytes, 0xC1, sizeof(bytes));
	et_hex(bytes, sizeof(bytes), random);
	(void)snprintf(line, sizeof(line), "CLIENT_RANDOM %s %096d\n", random, 0);
	assert_int_equal(et_keylog_add(f->keylog, line, strlen(line)), 0);
}

static void a_key_log_opens_dtls_srtp(void **state)
{
	struct fixture *f = *state;
	struct sender caller = sender_of_handshake(1, false);
	struct sender callee = sender_of_handshake(2, true);

	call_with_handshake(f);
	send_rtp(f, &caller, 1); /* the log is a little late */
	assert_int_equal(f->closed, 1);
	secret_comes(f);
	send_rtp(f, &caller, 10);
	send_rtp(f, &callee, 10);
	finish(f);
	assert_int_equal(f->opened, 20);
	for (uint32_t i = 0; i < 2; i++) {
		assert_string_equal(f->streams[i].srtp, "AES_CM_128_HMAC_SHA1_80");
		assert_int_equal(f->streams[i].opened, ET_OPENED_YES);
	}
	assert_int_equal(f->told_count, 2);
	assert_true(was_told(f, &caller) && was_told(f, &callee));
	assert_int_equal(f->engine->packets.other[ET_OTHER_DTLS], 3);
	assert_int_equal(f->facts.keys, ET_KEYS_COMPLETE);
	(void)et_srtp_free(caller.srtp);
	(void)et_srtp_free(callee.srtp);
}

/* A key log that grows is read once a second: a secret is found seconds after the media began, but
 * not whenever. */
static void a_secret_is_waited_for(void **state)
{
	struct fixture *f = *state;
	struct sender caller = sender_of_handshake(1, false);

	f->engine->config.keylog_grows = true;
	call_with_handshake(f);
	send_rtp(f, &caller, 100); /* two seconds */
	assert_int_equal(f->opened, 0);
	secret_comes(f);
	send_rtp(f, &caller, 100);
	assert_true(f->opened >= 87); /* a quarter of a second later at most */
	assert_true(was_told(f, &caller));
	finish(f);
	assert_int_equal(f->streams[0].opened, ET_OPENED_YES);
	assert_string_equal(f->facts.problem, "");
	(void)et_srtp_free(caller.srtp);
}

/* After half a minute it is looked for more rarely; as long as the call lasts. */
static void a_late_secret_is_still_found(void **state)
{
	struct fixture *f = *state;
	struct sender caller = sender_of_handshake(1, false);

	f->engine->config.keylog_grows = true;
	call_with_handshake(f);
	send_rtp(f, &caller, 1600); /* 32 seconds */
	secret_comes(f);
	send_rtp(f, &caller, 100);
	finish(f);
	assert_in_range(f->opened, 49, 99); /* a second later at most */
	assert_int_equal(f->streams[0].opened, ET_OPENED_YES);
	assert_int_equal(f->facts.keys, ET_KEYS_COMPLETE);
	assert_string_equal(f->facts.problem, "");
	(void)et_srtp_free(caller.srtp);
}

/* What the handshake said goes into the tape once, with a key log or without. */
static void a_handshake_without_its_secret_is_kept(void **state)
{
	struct fixture *f = *state;
	struct sender caller = sender_of_handshake(1, false);
	struct sender callee = sender_of_handshake(2, true);
	uint8_t random[32];

	f->engine->config.keylog = NULL;
	f->no_room = true;
	call_with_handshake(f);
	send_rtp(f, &caller, 5);
	f->no_room = false;
	send_rtp(f, &callee, 5);
	send_rtp(f, &caller, 5);
	finish(f);
	assert_int_equal(f->told_count, 0);
	assert_int_equal(f->handshake_count, 1);
	const struct et_keys_item *h = &f->handshakes[0];
	assert_int_equal(h->party, 1); /* the callee is the client */
	assert_int_equal(h->version, 0xFEFD);
	assert_int_equal(h->suite, ET_SRTP_AES_CM_128_HMAC_SHA1_80);
	memset(random, 0xC1, sizeof(random));
	assert_memory_equal(h->client_random, random, sizeof(random));
	assert_int_equal(f->facts.keys, ET_KEYS_MISSING);
	assert_non_null(strstr(f->facts.problem, "2 streams " ET_KEYS_PROBLEM));
	(void)et_srtp_free(caller.srtp);
	(void)et_srtp_free(callee.srtp);
}

/* It is tried on what was kept of the call, and told when it fits. */
static void a_secret_that_comes_after_the_call_is_told(void **state)
{
	struct fixture *f = *state;
	struct sender caller = sender_of_handshake(1, false);
	struct sender callee = sender_of_handshake(2, true);

	f->engine->config.keylog_grows = true;
	call_with_handshake(f);
	send_rtp(f, &caller, 10);
	send_rtp(f, &callee, 10);
	uint8_t id[16];
	memcpy(id, f->engine->slots[0]->facts.id, sizeof(id));
	et_keys_late(f->engine);
	assert_int_equal(f->late_count, 0);
	f->now_us += 5 * 3600 * 1000000LL; /* its media timed out */
	et_engine_clock(f->engine, f->now_us);
	assert_int_equal(f->engine->call_count, 0);
	assert_int_equal(f->facts.keys, ET_KEYS_MISSING);
	et_keys_late(f->engine);
	assert_int_equal(f->late_count, 0);
	secret_comes(f);
	f->no_room = true;
	et_keys_late(f->engine);
	assert_int_equal(f->late_count, 0);
	f->no_room = false;
	et_keys_late(f->engine);
	assert_int_equal(f->late_count, 2);
	assert_true(was_told(f, &caller) && was_told(f, &callee));
	assert_memory_equal(f->late.recording, id, sizeof(id));
	assert_int_equal(f->late.state, ET_KEYS_COMPLETE);
	et_keys_late(f->engine); /* once */
	assert_int_equal(f->late_count, 2);
	assert_int_equal(f->engine->handshakes_over, 0);
	finish(f);
	(void)et_srtp_free(caller.srtp);
	(void)et_srtp_free(callee.srtp);
}

static void a_wrong_secret_after_the_call_is_not(void **state)
{
	struct fixture *f = *state;
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 9);

	f->engine->config.keylog_grows = true;
	call_with_handshake(f);
	send_rtp(f, &caller, 10);	   /* under another key than the handshake's */
	f->now_us += 5 * 3600 * 1000000LL; /* its media timed out */
	et_engine_clock(f->engine, f->now_us);
	secret_comes(f);
	et_keys_late(f->engine);
	assert_int_equal(f->late_count, 0);
	assert_int_equal(f->engine->handshakes_over, 0);
	finish(f);
	(void)et_srtp_free(caller.srtp);
}

/* Nor when the clock is set back meanwhile. */
static void a_secret_is_waited_for_when_time_goes_back(void **state)
{
	struct fixture *f = *state;
	struct sender caller = sender_of_handshake(1, false);

	f->engine->config.keylog_grows = true;
	call_with_handshake(f);
	send_rtp(f, &caller, 10);
	f->now_us -= 3600 * 1000000LL;
	secret_comes(f);
	send_rtp(f, &caller, 10);
	assert_int_equal(f->opened, 10);
	finish(f);
	(void)et_srtp_free(caller.srtp);
}

/* One key press of the caller, protected. */
static void press(struct fixture *f, struct sender *s, uint8_t key)
{
	uint32_t room[100] = { 0 };
	uint8_t *p = (uint8_t *)room;
	size_t size = 16;
	p[0] = 0x80;
	p[1] = 101;
	et_put16(p + 2, (uint16_t)s->sequence);
	et_put32(p + 4, s->sequence * 160);
	et_put32(p + 8, 0x1000U + s->from);
	p[12] = key;
	p[13] = 0x8A;
	s->sequence++;
	assert_int_equal(et_srtp_seal_rtp(s->srtp, p, &size), 0);
	f->now_us += 100000;
	datagram(f, s->from, 4000, s->from == 1 ? 2 : 1, p, size);
}

static const char events[] = "m=audio 4000 UDP/TLS/RTP/SAVPF 0 101\r\n"
			     "a=rtpmap:101 telephone-event/8000\r\na=fingerprint:sha-1 A\r\n";

/* A call under a rule whose pause is by keys; its handshake was seen, its secret not yet. */
static struct et_call *call_under(struct fixture *f, bool without_key)
{
	static const struct et_rule_pause any = { .start = "*7", .stop = "*8" };
	static const struct et_rule_pause safe = { .start = "*7",
						   .stop = "*8",
						   .without_key = true };
	f->engine->config.keylog_grows = true;
	call(f, events, events);
	hello(f, 2, true);
	hello(f, 1, false);
	f->engine->slots[0]->by_keys = without_key ? &safe : &any;
	return f->engine->slots[0];
}

static int sink_nothing(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
			const struct et_packet *packet)
{
	(void)slot;
	(void)stream;
	(void)rtp;
	(void)packet;
	((struct fixture *)arg)->media++;
	return 0;
}

static void protected_keys_pause_when_there_is_a_key(void **state)
{
	struct fixture *f = *state;
	struct sender caller = sender_of_handshake(1, false);
	f->engine->sink.media = sink_nothing;
	struct et_call *c = call_under(f, false);
	send_rtp(f, &caller, 50);
	assert_true(c->cannot_fire);
	press(f, &caller, 10);
	press(f, &caller, 7);
	assert_false(et_call_is_paused(c)); /* nobody can see them, and the rule says: record */
	assert_int_equal(f->media, 52);
	et_call_update(f->engine, c);
	assert_non_null(strstr(c->facts.problem, "cannot_fire"));
	secret_comes(f);
	send_rtp(f, &caller, 50);
	assert_false(c->cannot_fire);
	press(f, &caller, 10);
	press(f, &caller, 7);
	assert_true(et_call_is_paused(c));
	send_rtp(f, &caller, 50);
	press(f, &caller, 10);
	press(f, &caller, 8);
	assert_false(et_call_is_paused(c));
	assert_int_equal(f->media, 52 + 51 + 1);
	finish(f);
	assert_string_equal(f->facts.problem, "");
	(void)et_srtp_free(caller.srtp);
}

static void without_a_key_it_is_paused_where_the_rule_says_so(void **state)
{
	struct fixture *f = *state;
	struct sender caller = sender_of_handshake(1, false);
	f->engine->sink.media = sink_nothing;
	struct et_call *c = call_under(f, true);
	send_rtp(f, &caller, 50);
	assert_true(et_call_is_paused(c));
	assert_int_equal(f->media, 0);
	press(f, &caller, 10);
	press(f, &caller, 8);
	assert_true(et_call_is_paused(c));
	secret_comes(f);
	send_rtp(f, &caller, 50);
	assert_false(et_call_is_paused(c));
	assert_in_range(f->media, 37, 50); /* a quarter of a second later at most */
	press(f, &caller, 10);
	press(f, &caller, 7);
	assert_true(et_call_is_paused(c));
	finish(f);
	assert_int_equal(f->facts.gap_count, 2);
	(void)et_srtp_free(caller.srtp);
}

/* Live, keys are tried so often in a second and no more: on streams that may have one. */
static void plain_streams_do_not_keep_protected_ones_waiting(void **state)
{
	struct fixture *f = *state;
	struct sender caller = sender_of_handshake(1, false);

	(void)et_srtp_ring_free(f->given);
	f->given = NULL;
	f->engine->config.given = NULL;
	f->engine->config.deterministic = false;
	call_with_handshake(f);
	secret_comes(f);
	for (uint8_t from = 3; from < 103; from++) {
		struct sender plain = { .srtp = NULL, .from = from, .to = 200 };
		send_rtp(f, &plain, 8);
		f->now_us -= 8 * 20000;
	}
	f->now_us += 3000000;
	et_engine_clock(f->engine, f->now_us); /* what waited for signalling is looked at */
	assert_int_equal(f->media, 800);
	f->opened = 0;
	send_rtp(f, &caller, 10);
	assert_int_equal(f->opened, 10);
	finish(f);
	(void)et_srtp_free(caller.srtp);
}

/* What keys cost is bounded, however many a call names and however many streams ask for them. */
static void a_call_with_many_keys_takes_no_time_of_others(void **state)
{
	struct fixture *f = *state;
	char offer[1200] = "m=audio 4000 RTP/SAVP 0\r\n";
	char line[200];
	enum { LINES = 4, STREAMS = 20 };

	f->engine->config.deterministic = false;
	for (uint8_t i = 0; i < LINES; i++) {
		struct sender s = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, i);
		(void)strcat(offer, line_of(&s, i + 1U, line));
		(void)et_srtp_free(s.srtp);
	}
	call(f, offer, "m=audio 4000 RTP/SAVP 0\r\n");
	for (int seconds = 0; seconds < 8; seconds++) {
		for (uint8_t from = 3; from < 3 + STREAMS; from++) {
			struct sender s = { .srtp = NULL, .from = from, .to = 2 };
			s.sequence = 100 + 10 * (uint32_t)seconds;
			send_rtp(f, &s, 6);
			f->now_us -= 6 * 20000;
		}
		int said = 0;
		for (struct et_stream *s = f->engine->slots[0]->streams; s != NULL; s = s->next) {
			said += s->checks == 0;
		}
		if (seconds == 0) {
			assert_in_range(said * 4 * LINES, 100, 200 + LINES);
		} else if (seconds == 7) {
			assert_int_equal(said, STREAMS);
		}
		f->now_us += 1000000;
	}
	finish(f);
}

/* As many as are remembered, but no more: those that came first give way. */
static void handshakes_of_others_do_not_mix(void **state)
{
	struct fixture *f = *state;
	struct sender caller = sender_of_handshake(1, false);
	uint8_t p[128];
	size_t size = hello_make(true, p);

	for (uint16_t port = 10000; port < 12100; port++) {
		if (port == 11500) {
			call_with_handshake(f);
		}
		engine_datagram_at(f->engine, f->now_us, 2, port, 1, 4000, p, size);
	}
	secret_comes(f);
	send_rtp(f, &caller, 10);
	assert_int_equal(f->opened, 10);
	finish(f);
	(void)et_srtp_free(caller.srtp);
}

static void keys_by_hand_open_what_no_signalling_explains(void **state)
{
	struct fixture *f = *state;
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 1);
	struct sender callee = sender_of(2, ET_SRTP_AEAD_AES_128_GCM, 2);
	struct et_srtp_entry entry = {
		.key = { .suite = caller.suite, .material = { caller.material, 30 } },
		.origin = ET_SRTP_ORIGIN_GIVEN,
		.party = ET_SRTP_PARTY_ANY,
	};

	assert_int_equal(et_srtp_ring_add(f->given, &entry), 1);
	entry.key =
		(struct et_srtp_key){ .suite = callee.suite, .material = { callee.material, 28 } };
	entry.has_ssrc = true;
	entry.ssrc = 0x1002;
	assert_int_equal(et_srtp_ring_add(f->given, &entry), 1);
	et_srtp_seal_from(caller.srtp, 7); /* long since it began */
	caller.sequence = 65530;
	send_rtp(f, &caller, 20);
	send_rtp(f, &callee, 20);
	f->now_us += 3000000;
	et_engine_finish(f->engine, true);
	assert_int_equal(f->opened, 40);
	assert_int_equal(f->facts.state, ET_CALL_MEDIA_ONLY);
	assert_int_equal(f->stream_count, 2);
	assert_string_equal(f->streams[0].srtp, "AES_CM_128_HMAC_SHA1_80");
	assert_string_equal(f->streams[1].srtp, "AEAD_AES_128_GCM");
	assert_int_equal(f->told_count, 2); /* they go with the recording */
	(void)et_srtp_free(caller.srtp);
	(void)et_srtp_free(callee.srtp);
}

/* ---- Many keys by hand ---- */

static void give(struct fixture *f, const struct sender *s)
{
	const struct et_srtp_entry entry = {
		.key = { .suite = s->suite,
			 .material = { s->material,
				       et_srtp_key_size(s->suite) + et_srtp_salt_size(s->suite) } },
		.origin = ET_SRTP_ORIGIN_GIVEN,
		.party = ET_SRTP_PARTY_ANY,
	};
	assert_int_equal(et_srtp_ring_add(f->given, &entry), 1);
}

/* For any source; the right one of `s`, if there is one, is the newest. */
static void give_many(struct fixture *f, uint32_t count, const struct sender *s)
{
	(void)et_srtp_ring_free(f->given);
	assert_int_equal(et_srtp_ring_new(512, &f->given, NULL), 0);
	f->engine->config.given = f->given;
	for (uint32_t i = 0; i < count; i++) {
		struct sender wrong = { .suite = ET_SRTP_AES_CM_128_HMAC_SHA1_80 };
		et_put32(wrong.material, i + 1);
		give(f, &wrong);
	}
	if (s != NULL) {
		give(f, s);
	}
}

static uint32_t streams_decided(const struct fixture *f)
{
	uint32_t decided = 0;

	for (struct et_stream *s = f->engine->slots[0]->streams; s != NULL; s = s->next) {
		decided += s->checks == 0;
	}
	return decided;
}

/* Whoever may give keys cannot stop the recorder with them: 512 that fit nothing took the thread of
 * the rings a second for each packet of a closed stream. */
static void many_keys_by_hand_take_no_time_of_others(void **state)
{
	struct fixture *f = *state;
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 9);

	f->engine->config.deterministic = false;
	call(f, "m=audio 4000 RTP/SAVP 0\r\n", "m=audio 4000 RTP/SAVP 0\r\n");
	give_many(f, 500, NULL);
	send_rtp(f, &caller, 60);		 /* 1.2 s */
	assert_int_equal(streams_decided(f), 0); /* 4 times 500 are not tried by then */
	assert_in_range(f->engine->openers_made, 1, 207);
	f->now_us += 2000000;
	give(f, &caller); /* what is new is tried first */
	et_keys_given_came(f->engine);
	f->opened = 0;
	send_rtp(f, &caller, 1);
	assert_int_equal(f->opened, 1);
	finish(f);
	(void)et_srtp_free(caller.srtp);
}

/* Plain ones are many, and nothing says that they need a key. */
static void keys_by_hand_for_any_source_are_not_tried_on_plain_streams(void **state)
{
	struct fixture *f = *state;
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 9);

	f->engine->config.deterministic = false;
	call(f, "m=audio 4000 RTP/SAVP 0\r\n", "m=audio 4000 RTP/SAVP 0\r\n");
	give_many(f, 100, &caller);
	for (uint8_t from = 3; from < 103; from++) {
		struct sender plain = { .srtp = NULL, .from = from, .to = 200 };
		send_rtp(f, &plain, 8);
		f->now_us -= 8 * 20000;
	}
	f->now_us += 3000000;
	et_engine_clock(f->engine, f->now_us); /* what waited for signalling is looked at */
	f->opened = 0;
	send_rtp(f, &caller, 10);
	assert_int_equal(f->opened, 10);
	finish(f);
	(void)et_srtp_free(caller.srtp);
}

/* All are tried in the end, of a live stream, too, and once. */
static void of_many_keys_by_hand_the_oldest_is_found(void **state)
{
	struct fixture *f = *state;
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 9);

	f->engine->config.deterministic = false;
	call(f, "m=audio 4000 RTP/SAVP 0\r\n", "m=audio 4000 RTP/SAVP 0\r\n");
	give_many(f, 0, &caller);
	for (uint8_t i = 0; i < 100; i++) {
		struct sender wrong = { .suite = ET_SRTP_AES_CM_128_HMAC_SHA1_80 };
		wrong.material[0] = (uint8_t)(i + 1);
		give(f, &wrong);
	}
	send_rtp(f, &caller, 100);
	assert_true(f->opened > 50);
	finish(f);
	(void)et_srtp_free(caller.srtp);
}

/* A tag of 32 bits fits a wrong key by chance, as the first packet's does here. */
static void a_key_by_hand_with_short_tags_needs_two_packets(void **state)
{
	struct fixture *f = *state;
	struct sender wrong = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_32, 1);
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_32, 9);

	f->engine->config.deterministic = false;
	call(f, "m=audio 4000 RTP/SAVP 0\r\n", "m=audio 4000 RTP/SAVP 0\r\n");
	give_many(f, 0, &wrong);
	send_rtp(f, &wrong, 1);
	caller.sequence = wrong.sequence;
	send_rtp(f, &caller, 10);
	assert_int_equal(f->opened, 0);
	assert_int_equal(f->told_count, 0);
	give(f, &caller);
	et_keys_given_came(f->engine);
	send_rtp(f, &caller, 10);
	assert_int_equal(f->opened, 9);
	assert_true(was_told(f, &caller) && !was_told(f, &wrong));
	finish(f);
	(void)et_srtp_free(wrong.srtp);
	(void)et_srtp_free(caller.srtp);
}

/* Its secret may never come, but its key has. */
static void a_key_by_hand_opens_what_waits_for_a_secret(void **state)
{
	struct fixture *f = *state;
	struct sender caller = sender_of_handshake(1, false);
	struct sender callee = sender_of_handshake(2, true);

	f->engine->config.keylog_grows = true;
	f->engine->config.deterministic = false;
	call_with_handshake(f);
	send_rtp(f, &caller, 10);
	assert_int_equal(f->opened, 0);
	give(f, &caller);
	et_keys_given_came(f->engine);
	send_rtp(f, &caller, 10);
	assert_int_equal(f->opened, 10);
	send_rtp(f, &callee, 10); /* the other side still waits, */
	assert_int_equal(f->opened, 10);
	secret_comes(f); /* and its secret is still looked for */
	f->now_us += 2000000;
	send_rtp(f, &callee, 10);
	assert_int_equal(f->opened, 20);
	finish(f);
	(void)et_srtp_free(caller.srtp);
	(void)et_srtp_free(callee.srtp);
}

static void keys_wait_for_room_and_are_not_in_the_call_table(void **state)
{
	struct fixture *f = *state;
	char offer[400];
	struct et_buffer table = { .data = NULL };
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 1);

	f->no_room = true;
	call(f, description(&caller, "RTP/SAVP", offer), "m=audio 4000 RTP/SAVP 0\r\n");
	send_rtp(f, &caller, 3);
	assert_int_equal(f->told_count, 0);
	f->no_room = false;
	f->now_us += 1000000;
	et_engine_clock(f->engine, f->now_us);
	assert_true(was_told(f, &caller));
	et_engine_save(f->engine, &table);
	assert_false(table.failed);
	assert_null(memmem(table.data, table.size, caller.material, 16));
	assert_null(memmem(table.data, table.size, strstr(offer, "inline:") + 7, 16));

	/* The next process: no key is known, nothing is said of what it cannot know. */
	struct et_engine *before = f->engine;
	struct et_sink sink = before->sink;
	struct et_engine_config config = {
		.capture = &f->config, .sink = &sink, .deterministic = true, .keep_openers = true
	};
	assert_int_equal(et_engine_new(&config, &f->engine, NULL), 0);
	(void)et_engine_free(before);
	et_engine_clock(f->engine, f->now_us);
	assert_int_equal(et_engine_restore(f->engine, (struct et_view){ table.data, table.size },
					   no_gap, NULL, NULL),
			 0);
	f->closed = 0;
	send_rtp(f, &caller, 10);
	assert_int_equal(f->closed, 10);
	finish(f);
	assert_int_equal(f->stream_count, 2);
	assert_int_equal(f->streams[0].opened, ET_OPENED_YES); /* of before */
	assert_string_equal(f->streams[1].srtp, "AES_CM_128_HMAC_SHA1_80");
	assert_int_equal(f->streams[1].opened, ET_OPENED_UNKNOWN);
	et_buffer_release(&table);
	(void)et_srtp_free(caller.srtp);
}

/* ---- A client ----------------------------------------------------------------------------------
 */

/* A second of a call between two baresip 1.0.0 with SDES, cut from a capture of it; they played
 * tones of 440 Hz (the caller) and 1000 Hz. */
static const char sample[] = "fixtures/baresip_sdes.pcap";

struct tones {
	uint32_t packets[2];
	uint32_t crossings[2];
	int16_t last[2];
};

static void hear_tone(void *arg, const struct et_replay_media *media)
{
	struct tones *t = arg;
	unsigned party = media->ssrc == 0x4A998415 ? 0 : 1;

	assert_false(media->closed);
	assert_int_equal(media->payload_size, 160);
	t->packets[party]++;
	for (uint32_t i = 0; i < media->payload_size; i++) {
		int16_t now = et_ulaw_decode(media->payload[i]);
		t->crossings[party] += (now < 0) != (t->last[party] < 0);
		t->last[party] = now;
	}
}

static void what_a_client_protects_is_its_sound_again(void **state)
{
	(void)state;
	const char *file = sample;
	struct tones tones = { .packets = { 0, 0 } };
	struct et_replay_summary s;
	struct et_replay_config config = {
		.files = &file, .file_count = 1, .on_media = hear_tone, .media_arg = &tones
	};

	assert_int_equal(et_replay(&config, &s, NULL), 0);
	assert_int_equal(s.call_count, 1);
	assert_int_equal(s.calls[0].recording.state, ET_CALL_ANSWERED);
	assert_int_equal(s.calls[0].recording.stream_count, 2);
	for (unsigned i = 0; i < 2; i++) {
		const struct et_capture_stream *stream = &s.calls[0].recording.streams[i];
		assert_string_equal(stream->srtp, "AES_CM_128_HMAC_SHA1_80");
		assert_int_equal(stream->opened, ET_OPENED_YES);
		assert_int_equal(tones.packets[i], 50); /* a second of samples */
	}
	assert_in_range(tones.crossings[0], 2 * 440 - 60, 2 * 440 + 20);
	assert_in_range(tones.crossings[1], 2 * 1000 - 140, 2 * 1000 + 20);
	et_replay_summary_release(&s);
}

/* ---- Tapes ------------------------------------------------------------------------------------
 */

enum { SEGMENTS = 3, KEYS_TOLD = 40 };

struct tapes {
	uint32_t count;
	char file[SEGMENTS][ET_RELATIVE_MAX];
	struct et_capture_segment segment[SEGMENTS];
};

static int take_event(void *arg, const struct et_capture_event *ev)
{
	struct tapes *t = arg;
	if (ev->kind == ET_CAPTURE_SEGMENT_OPEN) {
		assert_true(t->count < SEGMENTS);
		t->segment[t->count] = *ev->segment;
		(void)snprintf(t->file[t->count], ET_RELATIVE_MAX, "%s", ev->segment->file);
		t->count++;
	}
	return 0;
}

struct content {
	uint32_t keys;
	uint8_t first; /* of the first key's material */
	uint8_t last;
	uint32_t media;
	bool keys_first; /* before any media */
};

static struct content read_tape(const char *media, const struct tapes *t, uint32_t i,
				const struct et_secret *kek)
{
	char path[512];
	struct et_tape_source source;
	struct et_tape_record record;
	struct content c = { .keys_first = true };
	struct et_secret *dek = NULL;
	struct et_tape_reader *reader = NULL;
	const struct et_capture_segment *s = &t->segment[i];
	static const uint8_t id[16] = { 7 };

	(void)snprintf(path, sizeof(path), "%s/%s", media, t->file[i]);
	assert_int_equal(et_tape_source_open(path, &source, NULL), 0);
	assert_int_equal(et_dek_unwrap(kek, 1, id, s->dek, s->wrap_enc,
				       (struct et_view){ s->wrap_sealed, 48 }, &dek, NULL),
			 0);
	assert_int_equal(et_tape_reader_new(&source, dek, &reader, NULL), 0);
	while (et_tape_reader_next(reader, &record, NULL) == 1) {
		struct et_keys_reader keys;
		struct et_keys_item item;
		c.media += record.kind == ET_TAPE_MEDIA;
		if (record.kind != ET_TAPE_KEYS) {
			continue;
		}
		c.keys_first = c.keys_first && c.media == 0;
		assert_int_equal(et_keys_reader_init(&keys, record.plain, NULL), 0);
		while (et_keys_reader_next(&keys, &item, NULL) == 1) {
			c.first = c.keys == 0 ? item.material.data[0] : c.first;
			c.last = item.material.data[0];
			c.keys++;
		}
	}
	(void)et_tape_reader_free(reader);
	(void)et_secret_free(dek);
	et_tape_source_close(&source);
	assert_int_equal(unlink(path), 0);
	return c;
}

static void put_key(struct et_writer *w, uint8_t id)
{
	struct et_buffer plain = { .data = NULL };
	uint8_t material[46];
	memset(material, id, sizeof(material));
	struct et_keys_item item = {
		.type = ET_KEYS_SRTP,
		.suite = ET_SRTP_AES_256_CM_HMAC_SHA1_80,
		.material = { material, sizeof(material) },
	};
	assert_int_equal(et_keys_add(&plain, &item), 0);
	et_writer_keys(w, 0, (struct et_view){ plain.data, plain.size });
	et_buffer_release(&plain);
}

static void put_media(struct et_writer *w, int64_t at_us)
{
	static const uint8_t payload[160];
	struct et_media_packet p = { .arrival_us = at_us, .payload = { payload, sizeof(payload) } };
	et_writer_media(w, 0, &p);
}

/* A tape that breaks off is followed by one that has the keys again, the newest of them at least.
 */
static void every_segment_has_the_keys(void **state)
{
	(void)state;
	char media[] = "/tmp/et_srtp.XXXXXX";
	struct tapes tapes = { .count = 0 };
	uint8_t kek_public[32];
	uint8_t sign_public[32];
	struct et_secret *kek = NULL;
	struct et_secret *sign = NULL;
	struct et_writer *w = NULL;
	struct et_recovery before;
	struct et_facts facts = { .id = { 7 }, .start_us = 1700000000000000LL };
	char command[64];

	assert_non_null(mkdtemp(media));
	assert_int_equal(et_x25519_generate(&kek, kek_public, NULL), 0);
	assert_int_equal(et_ed25519_generate(&sign, sign_public, NULL), 0);
	struct et_writer_config config = { .media = media,
					   .sign_key = sign,
					   .kek_version = 1,
					   .calls = 1,
					   .on_event = take_event,
					   .arg = &tapes };
	memcpy(config.kek_public, kek_public, 32);
	assert_int_equal(et_writer_new(&config, &w, NULL), 0);
	assert_int_equal(et_openlog_start(w, &before, NULL), 0);
	et_recovery_release(&before);
	et_writer_open(w, 0, &facts, false);
	put_key(w, 1);
	put_key(w, 2);
	put_media(w, facts.start_us);
	for (int i = 1; i < SEGMENTS; i++) {
		struct et_slot *s = w->slots[0];
		et_segment_finish(w, s, NULL);
		s->state = ET_SLOT_BROKEN;
		s->retry_us = 0;
		put_media(w, facts.start_us + i * 6000000LL);
		for (uint8_t id = 3; i == 1 && id < 3 + KEYS_TOLD; id++) {
			put_key(w, id);
		}
	}
	et_writer_finish(w);
	assert_int_equal(tapes.count, SEGMENTS);
	struct content c = read_tape(media, &tapes, 0, kek);
	assert_true(c.keys == 2 && c.first == 1 && c.last == 2 && c.media == 1 && c.keys_first);
	c = read_tape(media, &tapes, 1, kek);
	assert_true(c.keys == 2 + KEYS_TOLD && c.first == 1 && c.last == 2 + KEYS_TOLD);
	assert_int_equal(c.media, 1);
	c = read_tape(media, &tapes, 2, kek);
	assert_true(c.keys > 20 && c.keys <= 28); /* bounded */
	assert_true(c.last == 2 + KEYS_TOLD && c.first == 3 + KEYS_TOLD - c.keys && c.keys_first);
	(void)et_writer_free(w);
	(void)et_secret_free(kek);
	(void)et_secret_free(sign);
	(void)snprintf(command, sizeof(command), "rm -r %s", media);
	assert_int_equal(system(command), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(of_several_lines_the_one_in_use_opens),
		TEST(a_reinvite_brings_new_keys),
		TEST(what_is_only_offered_is_decided_by_packets),
		TEST(media_before_the_answer_is_known_to_be_protected),
		TEST(without_its_key_a_stream_says_so),
		TEST(a_key_log_opens_dtls_srtp),
		TEST(a_secret_is_waited_for),
		TEST(a_late_secret_is_still_found),
		TEST(a_secret_that_comes_after_the_call_is_told),
		TEST(a_wrong_secret_after_the_call_is_not),
		TEST(protected_keys_pause_when_there_is_a_key),
		TEST(without_a_key_it_is_paused_where_the_rule_says_so),
		TEST(a_handshake_without_its_secret_is_kept),
		TEST(a_secret_is_waited_for_when_time_goes_back),
		TEST(plain_streams_do_not_keep_protected_ones_waiting),
		TEST(a_call_with_many_keys_takes_no_time_of_others),
		TEST(handshakes_of_others_do_not_mix),
		TEST(keys_by_hand_open_what_no_signalling_explains),
		TEST(many_keys_by_hand_take_no_time_of_others),
		TEST(keys_by_hand_for_any_source_are_not_tried_on_plain_streams),
		TEST(of_many_keys_by_hand_the_oldest_is_found),
		TEST(a_key_by_hand_with_short_tags_needs_two_packets),
		TEST(a_key_by_hand_opens_what_waits_for_a_secret),
		cmocka_unit_test(what_a_client_protects_is_its_sound_again),
		cmocka_unit_test(every_segment_has_the_keys),
		TEST(keys_wait_for_room_and_are_not_in_the_call_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
