/* The engine on messages and packets made here: what becomes of a call in each of its endings,
 * whose a stream is, what is counted as what. A sink that writes everything down stands in for the
 * writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

static int take_open(void *arg, uint32_t slot, const struct et_facts *facts, bool restored)
{
	struct fixture *f = arg;
	(void)slot;
	(void)facts;
	f->opens++;
	f->restored += restored;
	return 0;
}

static int take_media(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
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
	assert_true(f->closed_count < CLOSED_MAX);
	struct closed *c = &f->closed[f->closed_count++];
	c->facts = *facts;
	c->opened = opened;
	c->count = count;
	memcpy(c->streams, streams, count * sizeof(*streams));
	return 0;
}

static struct et_engine *make(struct fixture *f)
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

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	f->now_us = 1700000000000000LL;
	f->engine = make(f);
	*state = f;
	return 0;
}

static int tear_down(void **state)
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

static void datagram(struct fixture *f, uint8_t from, uint16_t sport, uint8_t to, uint16_t dport,
		     const void *data, size_t size)
{
	engine_datagram_at(f->engine, f->now_us, from, sport, to, dport, data, size);
}

static void rtp(struct fixture *f, uint8_t from, uint16_t sport, uint8_t to, uint16_t dport,
		uint32_t ssrc, uint32_t number)
{
	uint8_t p[172] = { 0x80, 0 };
	et_put16(p + 2, (uint16_t)number);
	et_put32(p + 4, number * 160);
	et_put32(p + 8, ssrc);
	datagram(f, from, sport, to, dport, p, sizeof(p));
}

/* A message of the call `id`; `port` > 0: with a description that names 10.0.0.`side`:port. */
static void sip(struct fixture *f, bool to_callee, const char *first, const char *id,
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

static void answered(struct fixture *f, const char *id, uint16_t port)
{
	sip(f, true, "INVITE sip:bob@x SIP/2.0", id, "1 INVITE", "a", 1, port);
	sip(f, false, "SIP/2.0 200 OK", id, "1 INVITE", "ab", 2, port);
	sip(f, true, "ACK sip:bob@x SIP/2.0", id, "1 ACK", "ab", 0, 0);
}

static void bye(struct fixture *f, const char *id)
{
	sip(f, true, "BYE sip:bob@x SIP/2.0", id, "2 BYE", "ab", 0, 0);
	sip(f, false, "SIP/2.0 200 OK", id, "2 BYE", "ab", 0, 0);
}

static void wait_s(struct fixture *f, int seconds)
{
	for (int i = 0; i < seconds * 4; i++) {
		f->now_us += 250000;
		et_engine_clock(f->engine, f->now_us);
	}
}

/* ---- Endings --------------------------------------------------------------------------------- */

static void a_call_has_both_directions(void **state)
{
	struct fixture *f = *state;
	answered(f, "1", 4000);
	for (uint32_t i = 0; i < 10; i++) {
		rtp(f, 1, 4000, 2, 4000, 0xA, i);
		rtp(f, 2, 4000, 1, 4000, 0xB, i);
		f->now_us += 20000;
	}
	bye(f, "1");
	wait_s(f, 3);
	assert_int_equal(f->closed_count, 1);
	const struct closed *c = &f->closed[0];
	assert_int_equal(c->facts.state, ET_CALL_ANSWERED);
	assert_string_equal(c->facts.from, "alice");
	assert_string_equal(c->facts.to, "bob");
	assert_int_equal(c->count, 2);
	assert_int_equal(c->streams[0].party, 0);
	assert_int_equal(c->streams[1].party, 1);
	assert_string_equal(c->streams[0].codec, "PCMU/8000");
	assert_int_equal(c->streams[0].association, ET_ASSOCIATION_SDP);
	assert_int_equal(c->streams[1].packets, 10);
	assert_int_equal(f->media, 20);
	assert_int_equal(f->engine->packets.sip, 5);
}

/* A busy machine reads its ring late: the clock is ahead of the packets. A recording that began at
 * the clock would begin behind its first samples. */
static void a_ring_read_late_does_not_move_the_times_of_a_call(void **state)
{
	struct fixture *f = *state;
	int64_t began_us = f->now_us;

	et_engine_clock(f->engine, f->now_us + 50000);
	answered(f, "1", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 0);
	rtp(f, 1, 4000, 2, 4000, 0xA, 1);
	bye(f, "1");
	wait_s(f, 3);
	assert_int_equal(f->closed_count, 1);
	const struct et_facts *facts = &f->closed[0].facts;
	assert_int_equal(facts->start_us, began_us);
	assert_int_equal(facts->answer_us, began_us + 1000);
	assert_int_equal(facts->end_us, began_us + 3000);
	assert_true(f->closed[0].streams[0].first_us >= facts->start_us);
}

static void a_cancelled_call_costs_no_tape(void **state)
{
	struct fixture *f = *state;
	sip(f, true, "INVITE sip:bob@x SIP/2.0", "1", "1 INVITE", "a", 1, 4000);
	sip(f, false, "SIP/2.0 180 Ringing", "1", "1 INVITE", "ab", 0, 0);
	sip(f, true, "CANCEL sip:bob@x SIP/2.0", "1", "1 CANCEL", "a", 0, 0);
	sip(f, false, "SIP/2.0 200 OK", "1", "1 CANCEL", "ab", 0, 0);
	sip(f, false, "SIP/2.0 487 Request Terminated", "1", "1 INVITE", "ab", 0, 0);
	wait_s(f, 3);
	assert_int_equal(f->closed_count, 1);
	assert_int_equal(f->closed[0].facts.state, ET_CALL_CANCELLED);
	assert_false(f->closed[0].opened);
	assert_int_equal(f->opens, 0);
}

static void a_refused_call_is_failed_unless_it_comes_with_credentials(void **state)
{
	struct fixture *f = *state;
	sip(f, true, "INVITE sip:bob@x SIP/2.0", "1", "1 INVITE", "a", 1, 4000);
	sip(f, false, "SIP/2.0 486 Busy Here", "1", "1 INVITE", "ab", 0, 0);
	sip(f, true, "INVITE sip:bob@x SIP/2.0", "2", "1 INVITE", "a", 1, 4002);
	sip(f, false, "SIP/2.0 407 Proxy Authentication Required", "2", "1 INVITE", "ab", 0, 0);
	sip(f, true, "ACK sip:bob@x SIP/2.0", "2", "1 ACK", "ab", 0, 0);
	sip(f, true, "INVITE sip:bob@x SIP/2.0", "2", "2 INVITE", "a", 1, 4002);
	sip(f, false, "SIP/2.0 200 OK", "2", "2 INVITE", "ab", 2, 4002);
	rtp(f, 1, 4002, 2, 4002, 0xA, 1);
	bye(f, "2");
	wait_s(f, 40);
	assert_int_equal(f->closed_count, 2);
	assert_int_equal(f->closed[0].facts.state, ET_CALL_ANSWERED);
	assert_int_equal(f->closed[0].count, 1);
	assert_int_equal(f->closed[1].facts.state, ET_CALL_FAILED);
}

static void a_missing_bye_ends_by_time(void **state)
{
	struct fixture *f = *state;
	et_engine_free(f->engine);
	f->config.limits.media_timeout_s = 60;
	f->engine = make(f);
	answered(f, "1", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 1);
	wait_s(f, 55);
	assert_int_equal(f->closed_count, 0);
	wait_s(f, 10);
	assert_int_equal(f->closed_count, 1);
	assert_int_equal(f->closed[0].facts.state, ET_CALL_PARTIAL);
	assert_true(f->closed[0].facts.end_us - f->closed[0].facts.start_us < 1000000);
}

static void an_invite_without_an_answer_ends_by_time(void **state)
{
	struct fixture *f = *state;
	sip(f, true, "INVITE sip:bob@x SIP/2.0", "1", "1 INVITE", "a", 1, 4000);
	wait_s(f, 250);
	assert_int_equal(f->closed_count, 1);
	assert_int_equal(f->closed[0].facts.state, ET_CALL_PARTIAL);
	assert_false(f->closed[0].opened);
}

static void a_long_hold_is_one_recording(void **state)
{
	struct fixture *f = *state;
	answered(f, "1", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 1);
	sip(f, true, "INVITE sip:bob@x SIP/2.0", "1", "2 INVITE", "ab", 0, 0);
	wait_s(f, 1800);
	rtp(f, 1, 4000, 2, 4000, 0xA, 2);
	bye(f, "1");
	wait_s(f, 3);
	assert_int_equal(f->closed_count, 1);
	assert_int_equal(f->closed[0].count, 1);
	assert_int_equal(f->closed[0].streams[0].packets, 2);
}

static void packets_after_the_bye_are_still_its_own(void **state)
{
	struct fixture *f = *state;
	answered(f, "1", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 1);
	bye(f, "1");
	f->now_us += 300000;
	rtp(f, 1, 4000, 2, 4000, 0xA, 2);
	wait_s(f, 4);
	assert_int_equal(f->closed_count, 1);
	assert_int_equal(f->closed[0].streams[0].packets, 2);
}

/* ---- Whose stream ---------------------------------------------------------------------------- */

static void a_reinvite_moves_the_media(void **state)
{
	struct fixture *f = *state;
	answered(f, "1", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 1);
	sip(f, false, "INVITE sip:alice@x SIP/2.0", "1", "9 INVITE", "ba", 2, 6000);
	sip(f, true, "SIP/2.0 200 OK", "1", "9 INVITE", "ba", 1, 6002);
	rtp(f, 1, 6002, 2, 6000, 0xA2, 1);
	rtp(f, 2, 6000, 1, 6002, 0xB2, 1);
	bye(f, "1");
	wait_s(f, 3);
	const struct closed *c = &f->closed[0];
	assert_int_equal(f->closed_count, 1);
	assert_int_equal(c->count, 3);
	assert_int_equal(c->streams[1].ssrc, 0xA2);
	assert_int_equal(c->streams[1].party, 0);
	assert_int_equal(c->streams[2].party, 1);
	assert_int_equal(c->streams[2].association, ET_ASSOCIATION_SDP);
}

static void calls_on_one_tuple_are_told_apart_by_ssrc(void **state)
{
	struct fixture *f = *state;
	for (uint32_t i = 0; i < 5; i++) {
		char id[8];
		(void)snprintf(id, sizeof(id), "c%u", i);
		answered(f, id, 6000);
		for (uint32_t k = 0; k < 3; k++) {
			rtp(f, 2, 6000, 1, 6000, 0xC0 + i, k);
			rtp(f, 1, 6000, 2, 6000, 0xC0 + i, k);
			rtp(f, 1, 6000, 2, 6000, 0xC0, 3 * i + k + 100);
		}
	}
	for (uint32_t i = 0; i < 5; i++) {
		char id[8];
		(void)snprintf(id, sizeof(id), "c%u", i);
		bye(f, id);
	}
	wait_s(f, 3);
	assert_int_equal(f->closed_count, 5);
	for (uint32_t i = 0; i < 5; i++) {
		const struct closed *c = &f->closed[i];
		assert_int_equal(c->count, 2);
		uint32_t call = (uint32_t)(c->facts.sip_call_id[1] - '0');
		for (uint32_t k = 0; k < 2; k++) {
			assert_int_equal(c->streams[k].ssrc, 0xC0 + call);
			assert_int_equal(c->streams[k].association,
					 call == 0 ? ET_ASSOCIATION_SDP : ET_ASSOCIATION_INFERRED);
		}
	}
}

static void media_before_its_description_waits_for_it(void **state)
{
	struct fixture *f = *state;
	sip(f, true, "INVITE sip:bob@x SIP/2.0", "1", "1 INVITE", "a", 1, 4000);
	rtp(f, 9, 4444, 8, 5555, 0xB, 1);
	rtp(f, 9, 4444, 8, 5555, 0xB, 2);
	assert_int_equal(f->engine->packets.pending, 2);
	sip(f, false, "SIP/2.0 200 OK", "1", "1 INVITE", "ab", 8, 5555);
	assert_int_equal(f->engine->packets.pending, 0);
	assert_int_equal(f->engine->packets.rtp, 2);
	bye(f, "1");
	wait_s(f, 3);
	assert_int_equal(f->closed[0].count, 1);
	assert_int_equal(f->closed[0].streams[0].party, 0);
}

static void a_port_is_used_again_by_the_next_call(void **state)
{
	struct fixture *f = *state;
	answered(f, "1", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 1);
	bye(f, "1");
	f->now_us += 600000;
	answered(f, "2", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 5000);
	bye(f, "2");
	wait_s(f, 4);
	assert_int_equal(f->closed_count, 2);
	assert_int_equal(f->closed[0].streams[0].packets, 1);
	assert_int_equal(f->closed[1].count, 1);
	assert_int_equal(f->closed[1].streams[0].packets, 1);
}

static void rtp_without_signalling_is_a_call_of_both_directions(void **state)
{
	struct fixture *f = *state;
	for (uint32_t i = 0; i < 200; i++) {
		rtp(f, 1, 7000, 2, 7002, 0xA, i);
		rtp(f, 2, 7002, 1, 7000, 0xB, i);
		f->now_us += 20000;
	}
	wait_s(f, 40);
	assert_int_equal(f->closed_count, 1);
	const struct closed *c = &f->closed[0];
	assert_int_equal(c->facts.state, ET_CALL_MEDIA_ONLY);
	assert_int_equal(c->count, 2);
	assert_int_equal(c->streams[0].packets, 200);
	assert_int_equal(c->streams[1].packets, 200);
	assert_int_equal(c->streams[0].association, ET_ASSOCIATION_INFERRED);
	assert_int_equal(f->media, 400);
}

static void what_only_looks_like_rtp_is_no_call(void **state)
{
	struct fixture *f = *state;
	for (uint32_t i = 0; i < 50; i++) {
		rtp(f, 1, 7000, 2, 7002, 0x1000 + i, i * 977);
	}
	wait_s(f, 4);
	assert_int_equal(f->closed_count, 0);
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_RTP_UNPROVEN], 50);
}

/* ---- Rules, limits, room --------------------------------------------------------------------- */

static void a_rule_keeps_a_call_from_being_recorded(void **state)
{
	struct fixture *f = *state;
	et_engine_free(f->engine);
	static struct et_rules rules = { .count = 1, .otherwise = ET_RULE_RECORD };
	rules.rules[0] = (struct et_rule){ .name = "not-bob", .to = { 1, { { "b*" } } } };
	f->config.rules = &rules;
	f->engine = make(f);
	answered(f, "1", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 1);
	bye(f, "1");
	wait_s(f, 3);
	assert_int_equal(f->opens, 0);
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_RTP_RULE], 1);
	assert_int_equal(f->engine->calls_refused_rule, 1);
	assert_string_equal(f->closed[0].facts.rule, "not-bob");
}

/* Rules in force from here on: they are copied. */
static struct et_rule *rules_of(struct fixture *f, struct et_rules *rules, const char *to,
				const char *header, enum et_rule_action action)
{
	struct et_rule *r = &rules->rules[rules->count++];
	(void)snprintf(r->name, sizeof(r->name), "rule-%u", rules->count);
	r->action = action;
	if (to != NULL) {
		r->to.count = 1;
		(void)snprintf(r->to.list[0].text, sizeof(r->to.list[0].text), "%s", to);
	}
	if (header != NULL) {
		r->header_count = 1;
		(void)snprintf(r->headers[0].name, sizeof(r->headers[0].name), "Contact");
		(void)snprintf(r->headers[0].value, sizeof(r->headers[0].value), "%s", header);
	}
	f->config.rules = rules;
	return r;
}

static void the_rule_that_fired_and_the_direction_are_told(void **state)
{
	struct fixture *f = *state;
	static struct et_rules rules = { .otherwise = ET_RULE_SKIP };
	rules.own_count = 1;
	(void)snprintf(rules.own[0].text, sizeof(rules.own[0].text), "bob");
	(void)rules_of(f, &rules, "carol", NULL, ET_RULE_SKIP);
	(void)rules_of(f, &rules, "bob", NULL, ET_RULE_RECORD);
	et_engine_free(f->engine);
	f->engine = make(f);
	answered(f, "1", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 1);
	bye(f, "1");
	wait_s(f, 3);
	assert_int_equal(f->opens, 1);
	assert_string_equal(f->closed[0].facts.rule, "rule-2");
	assert_int_equal(f->closed[0].facts.direction, ET_RULE_INBOUND);
	struct et_capture_metrics m;
	et_engine_tell(f->engine, &m);
	assert_int_equal(m.rule_calls[0], 0);
	assert_int_equal(m.rule_calls[1], 1);
	assert_int_equal(m.rule_calls[2], 0);
}

/* The INVITE was missed: its headers are known at the next one of the dialog. */
static void a_provisional_decision_is_made_again_at_a_reinvite(void **state)
{
	struct fixture *f = *state;
	static struct et_rules rules = { .otherwise = ET_RULE_SKIP };
	(void)rules_of(f, &rules, NULL, "*alice*", ET_RULE_RECORD);
	et_engine_free(f->engine);
	f->engine = make(f);
	sip(f, false, "SIP/2.0 200 OK", "1", "1 INVITE", "ab", 2, 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 1);
	assert_int_equal(f->opens, 0);
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_RTP_RULE], 1);
	assert_int_equal(f->engine->rule_calls[1], 1);
	struct et_buffer saved = { .data = NULL };
	et_engine_save(f->engine, &saved); /* also over a restart */
	et_engine_finish(f->engine, false);
	et_engine_free(f->engine);
	f->engine = make(f);
	et_engine_clock(f->engine, f->now_us);
	assert_int_equal(et_engine_restore(f->engine, (struct et_view){ saved.data, saved.size },
					   NULL, NULL, NULL),
			 0);
	et_buffer_release(&saved);
	sip(f, true, "INVITE sip:bob@x SIP/2.0\r\nContact: <sip:alice@10.0.0.1>", "1", "2 INVITE",
	    "ab", 1, 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 2);
	assert_int_equal(f->opens, 1);
	assert_int_equal(f->media, 1);
	assert_int_equal(f->engine->rule_calls[0], 1);
	assert_int_equal(f->engine->calls_refused_rule, 0);
	bye(f, "1");
	wait_s(f, 3);
	assert_int_equal(f->closed_count, 1);
	assert_string_equal(f->closed[0].facts.rule, "rule-1");
}

/* What is being recorded goes on, whatever a header says later. */
static void a_recording_that_was_opened_is_not_taken_back(void **state)
{
	struct fixture *f = *state;
	static struct et_rules rules = { .otherwise = ET_RULE_RECORD };
	(void)rules_of(f, &rules, NULL, "*alice*", ET_RULE_SKIP);
	et_engine_free(f->engine);
	f->engine = make(f);
	sip(f, false, "SIP/2.0 200 OK", "1", "1 INVITE", "ab", 2, 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 1);
	assert_int_equal(f->opens, 1);
	sip(f, true, "INVITE sip:bob@x SIP/2.0\r\nContact: <sip:alice@10.0.0.1>", "1", "2 INVITE",
	    "ab", 1, 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 2);
	assert_int_equal(f->media, 2);
	bye(f, "1");
	wait_s(f, 3);
	assert_string_equal(f->closed[0].facts.rule, "default");
}

static void a_flood_of_invites_does_not_push_out_live_calls(void **state)
{
	struct fixture *f = *state;
	et_engine_free(f->engine);
	f->config.limits.calls = 16;
	f->engine = make(f);
	answered(f, "good", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 0);
	for (uint32_t i = 0; i < 40; i++) {
		char id[16];
		(void)snprintf(id, sizeof(id), "flood%u", i);
		sip(f, true, "INVITE sip:bob@x SIP/2.0", id, "1 INVITE", "a", 1, 9000);
	}
	assert_int_equal(f->engine->call_count, 16);
	assert_int_equal(f->engine->calls_refused_limit, 25);
	wait_s(f, 6);
	answered(f, "late", 4002); /* half-open ones make room */
	rtp(f, 1, 4002, 2, 4002, 0xA, 1);
	rtp(f, 1, 4000, 2, 4000, 0xA, 1);
	assert_int_equal(f->engine->packets.rtp, 3);
	assert_int_equal(f->media, 3);
}

static void a_slow_writer_costs_media_and_says_so(void **state)
{
	struct fixture *f = *state;
	answered(f, "1", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 1);
	f->full = true;
	rtp(f, 1, 4000, 2, 4000, 0xA, 2);
	f->full = false;
	bye(f, "1");
	wait_s(f, 3);
	assert_int_equal(f->engine->media_dropped, 1);
	assert_int_equal(f->engine->packets.rtp, 2);
	assert_non_null(strstr(f->closed[0].facts.problem, "1 packets"));
}

/* ---- Restart --------------------------------------------------------------------------------- */

static int64_t gap_from(void *arg, const uint8_t id[16], uint32_t *segment)
{
	(void)id;
	*segment = 3;
	return *(int64_t *)arg;
}

static void a_call_that_had_ended_is_closed_after_a_restart(void **state)
{
	struct fixture *f = *state;
	struct et_buffer table = { .data = NULL };
	answered(f, "1", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 1);
	bye(f, "1");
	assert_int_equal(f->closed_count, 0); /* It lingers for late packets. */
	et_engine_save(f->engine, &table);
	int64_t died_us = f->now_us;
	et_engine_free(f->engine);

	f->now_us += 60000000;
	f->engine = make(f);
	et_engine_clock(f->engine, f->now_us);
	struct et_view view = { table.data, table.size };
	assert_int_equal(et_engine_restore(f->engine, view, gap_from, &died_us, NULL), 0);
	wait_s(f, 1);
	assert_int_equal(f->closed_count, 1);
	assert_true(f->closed[0].opened);
	assert_int_equal(f->closed[0].facts.state, ET_CALL_ANSWERED);
	assert_int_equal(f->engine->call_count, 0);
	et_buffer_release(&table);
}

static void calls_go_on_after_a_restart(void **state)
{
	struct fixture *f = *state;
	struct et_buffer table = { .data = NULL };
	answered(f, "1", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 1);
	sip(f, true, "INVITE sip:bob@x SIP/2.0", "2", "1 INVITE", "a", 1, 4002);
	et_engine_save(f->engine, &table);
	assert_false(table.failed);
	int64_t died_us = f->now_us;
	uint8_t id[16];
	memcpy(id, f->engine->slots[0]->facts.id, 16);
	et_engine_free(f->engine);

	f->now_us += 3000000;
	f->engine = make(f);
	et_engine_clock(f->engine, f->now_us);
	struct et_view view = { table.data, table.size };
	assert_int_equal(et_engine_restore(f->engine, view, gap_from, &died_us, NULL), 0);
	assert_int_equal(f->engine->call_count, 2);
	int64_t back_us = f->now_us;
	rtp(f, 1, 4000, 2, 4000, 0xA, 150);
	rtp(f, 2, 4000, 1, 4000, 0xB, 150);
	sip(f, false, "SIP/2.0 200 OK", "2", "1 INVITE", "ab", 2, 4002);
	bye(f, "1");
	bye(f, "2");
	wait_s(f, 3);
	assert_int_equal(f->closed_count, 2);
	assert_int_equal(f->restored, 1);
	const struct closed *c = &f->closed[0];
	assert_memory_equal(c->facts.id, id, 16);
	assert_int_equal(c->facts.state, ET_CALL_ANSWERED);
	assert_int_equal(c->facts.segment, 3);
	assert_int_equal(c->facts.gap_count, 1);
	assert_int_equal(c->facts.gaps[0].from_us, died_us);
	assert_int_equal(c->facts.gaps[0].to_us, back_us);
	assert_string_equal(c->facts.gaps[0].cause, "recorder-restart");
	assert_int_equal(c->count, 3);
	assert_int_equal(c->streams[0].packets, 1);
	assert_int_equal(c->streams[1].number, 1);
	assert_int_equal(c->streams[1].ssrc, 0xA);
	assert_int_equal(f->closed[1].facts.state, ET_CALL_ANSWERED);
	assert_int_equal(f->closed[1].facts.gap_count, 0);

	table.data[20] ^= 1;
	struct et_engine *other = make(f);
	assert_int_equal(et_engine_restore(other, view, gap_from, &died_us, NULL), ET_ECORRUPT);
	et_engine_free(other);
	et_buffer_release(&table);
}

/* ---- Pauses ---------------------------------------------------------------------------------- */

static struct et_capture_pause pause_it(struct fixture *f, bool pause, int64_t max_us)
{
	struct et_capture_pause p;
	const struct et_call *c = f->engine->slots[0];
	et_engine_clock(f->engine, f->now_us);
	assert_int_equal(et_engine_pause(f->engine, c->facts.id, pause, "test: card", max_us, &p),
			 0);
	return p;
}

/* 20 ms of both sides, `count` times. */
static void talk(struct fixture *f, uint32_t from, uint32_t count)
{
	for (uint32_t i = from; i < from + count; i++) {
		f->now_us += 20000;
		rtp(f, 1, 4000, 2, 4000, 0xA, i);
		rtp(f, 2, 4000, 1, 4000, 0xB, i);
	}
}

static void what_arrives_in_a_pause_goes_nowhere(void **state)
{
	struct fixture *f = *state;
	answered(f, "1", 4000);
	talk(f, 0, 5);
	struct et_capture_pause p = pause_it(f, true, 0);
	assert_true(p.paused && p.changed);
	assert_int_equal(p.from_us, f->now_us);
	assert_int_equal(p.until_us, f->now_us + 900000000LL);
	uint64_t meta = f->meta;
	talk(f, 5, 7);
	sip(f, true, "INFO sip:bob@x SIP/2.0", "1", "3 INFO", "ab", 0, 0);
	assert_int_equal(f->meta, meta); /* it may carry digits */
	sip(f, true, "INVITE sip:bob@x SIP/2.0", "1", "4 INVITE", "ab", 1, 4000);
	assert_int_equal(f->meta, meta + 1);
	struct et_capture_pause again = pause_it(f, true, 1);
	assert_true(again.paused && !again.changed);
	assert_int_equal(again.from_us, p.from_us);
	assert_int_equal(again.until_us, p.until_us);
	assert_int_equal(again.packets, 14);
	assert_int_equal(f->media, 10);
	struct et_capture_pause end = pause_it(f, false, 0);
	assert_true(!end.paused && end.changed);
	assert_false(pause_it(f, false, 0).changed);
	talk(f, 12, 3);
	sip(f, true, "INFO sip:bob@x SIP/2.0", "1", "5 INFO", "ab", 0, 0);
	assert_int_equal(f->meta, meta + 2);
	bye(f, "1");
	wait_s(f, 3);
	assert_int_equal(f->media, 16);
	assert_int_equal(f->engine->packets.rtp, 16);
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_RTP_PAUSED], 14);
	const struct closed *c = &f->closed[0];
	assert_int_equal(c->facts.gap_count, 1);
	assert_int_equal(c->facts.gaps[0].from_us, p.from_us);
	assert_int_equal(c->facts.gaps[0].to_us, end.to_us);
	assert_string_equal(c->facts.gaps[0].cause, "paused");
	assert_string_equal(c->facts.pause_cause, "test: card");
	assert_int_equal(c->count, 2);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(c->streams[i].packets, 8);
		assert_int_equal(c->streams[i].lost, 0); /* they were not */
	}
}

static void rtp_at(struct fixture *f, int64_t time_us, uint32_t number)
{
	uint8_t p[172] = { 0x80, 0 };
	et_put16(p + 2, (uint16_t)number);
	et_put32(p + 4, number * 160);
	et_put32(p + 8, 0xA);
	engine_datagram_at(f->engine, time_us, 1, 4000, 2, 4000, p, sizeof(p));
}

/* A ring is read late: what counts is when a packet came, not when its turn does. */
static void a_pause_is_a_span_of_arrival(void **state)
{
	struct fixture *f = *state;
	answered(f, "1", 4000);
	talk(f, 0, 1);
	f->now_us += 1000000;
	int64_t from_us = pause_it(f, true, 0).from_us;
	rtp_at(f, from_us - 1, 1);
	assert_int_equal(f->media, 3);
	rtp_at(f, from_us, 2);
	assert_int_equal(f->media, 3);
	f->now_us += 1000000;
	int64_t to_us = pause_it(f, false, 0).to_us;
	rtp_at(f, to_us - 1, 3);
	assert_int_equal(f->media, 3);
	f->now_us += 1000000;
	(void)pause_it(f, true, 0);
	rtp_at(f, to_us - 1, 4); /* of the first pause still */
	assert_int_equal(f->media, 3);
	rtp_at(f, to_us, 5); /* between the two */
	assert_int_equal(f->media, 4);
	bye(f, "1");
	wait_s(f, 40);
	const struct et_facts *facts = &f->closed[0].facts;
	assert_int_equal(facts->gap_count, 2);
	assert_true(facts->gaps[1].to_us >= facts->gaps[1].from_us); /* the call ended in it */
}

static void a_pause_ends_by_itself(void **state)
{
	struct fixture *f = *state;
	answered(f, "1", 4000);
	talk(f, 0, 1);
	int64_t until_us = pause_it(f, true, 3000000).until_us;
	assert_int_equal(until_us, f->now_us + 3000000);
	wait_s(f, 2);
	talk(f, 1, 1);
	assert_int_equal(f->media, 2);
	f->now_us = until_us - 20000;
	talk(f, 2, 1); /* at the moment itself */
	assert_int_equal(f->media, 4);
	assert_false(et_call_is_paused(f->engine->slots[0]));
	(void)pause_it(f, true, 0);
	wait_s(f, 901); /* nobody speaks */
	assert_false(et_call_is_paused(f->engine->slots[0]));
	assert_int_equal(f->engine->slots[0]->facts.gaps[0].to_us, until_us);
	assert_int_equal(f->engine->slots[0]->facts.gaps[1].to_us -
				 f->engine->slots[0]->facts.gaps[1].from_us,
			 900000000LL);
	bye(f, "1");
	wait_s(f, 3);
}

static void a_paused_call_is_paused_after_a_restart(void **state)
{
	struct fixture *f = *state;
	struct et_buffer table = { .data = NULL };
	answered(f, "1", 4000);
	talk(f, 0, 3);
	struct et_capture_pause p = pause_it(f, true, 60000000);
	talk(f, 3, 2);
	et_engine_save(f->engine, &table);
	int64_t died_us = f->now_us;
	et_engine_free(f->engine);
	f->now_us += 3000000;
	f->engine = make(f);
	et_engine_clock(f->engine, f->now_us);
	struct et_view view = { table.data, table.size };
	assert_int_equal(et_engine_restore(f->engine, view, gap_from, &died_us, NULL), 0);
	et_buffer_release(&table);
	talk(f, 155, 4);
	assert_int_equal(f->media, 6);
	struct et_capture_pause end = pause_it(f, false, 0);
	assert_true(end.changed);
	assert_int_equal(end.from_us, p.from_us);
	assert_int_equal(end.packets, 4 + 8);
	talk(f, 159, 2);
	assert_int_equal(f->media, 10);
	bye(f, "1");
	wait_s(f, 3);
	const struct et_facts *facts = &f->closed[0].facts;
	assert_int_equal(facts->gap_count, 2);
	assert_string_equal(facts->gaps[0].cause, "paused");
	assert_int_equal(facts->gaps[0].from_us, p.from_us);
	assert_int_equal(facts->gaps[0].to_us, end.to_us);
	assert_string_equal(facts->gaps[1].cause, "recorder-restart");
}

/* Those that are not listed are in force all the same, and the recording says so. */
static void more_pauses_than_are_listed_are_in_force(void **state)
{
	struct fixture *f = *state;
	answered(f, "1", 4000);
	talk(f, 0, 1);
	for (uint32_t i = 0; i <= ET_CAPTURE_GAPS_MAX; i++) {
		(void)pause_it(f, true, 0);
		talk(f, 1 + 2 * i, 1);
		(void)pause_it(f, false, 0);
		talk(f, 2 + 2 * i, 1);
	}
	assert_int_equal(f->media, 2 + 2 * (ET_CAPTURE_GAPS_MAX + 1));
	bye(f, "1");
	wait_s(f, 3);
	assert_int_equal(f->closed[0].facts.gap_count, ET_CAPTURE_GAPS_MAX);
	assert_string_equal(f->closed[0].facts.problem, "there are more pauses than are listed");
}

static void what_is_not_recorded_cannot_be_paused(void **state)
{
	struct fixture *f = *state;
	uint8_t id[16] = { 1 };
	struct et_capture_pause p;
	sip(f, true, "INVITE sip:bob@x SIP/2.0", "1", "1 INVITE", "a", 1, 4000);
	assert_int_equal(et_engine_pause(f->engine, id, true, "", 0, &p), ET_ENOTFOUND);
	assert_int_equal(et_engine_pause(f->engine, f->engine->slots[0]->facts.id, true, "", 0, &p),
			 ET_ENOTFOUND); /* it is not open yet */
}

/* ---- Digits ---------------------------------------------------------------------------------- */

/* One packet of a key press: the type is what the descriptions call telephone-event. */
static void event(struct fixture *f, uint32_t number, uint32_t timestamp)
{
	uint8_t p[16] = { 0x80, 101 };
	et_put16(p + 2, (uint16_t)number);
	et_put32(p + 4, timestamp);
	et_put32(p + 8, 0xA);
	p[12] = 7; /* the digit */
	datagram(f, 1, 4000, 2, 4000, p, sizeof(p));
}

static void info(struct fixture *f, const char *cseq)
{
	char text[512];
	int n = snprintf(
		text, sizeof(text),
		"INFO sip:bob@x SIP/2.0\r\nFrom: <sip:alice@x>;tag=a\r\n"
		"To: <sip:bob@x>;tag=b\r\nCall-ID: 1\r\nCSeq: %s\r\n"
		"Content-Type: application/dtmf-relay\r\nContent-Length: 8\r\n\r\nSignal=7",
		cseq);
	datagram(f, 1, 5060, 2, 5060, text, (size_t)n);
}

static void key_presses(struct fixture *f)
{
	rtp(f, 1, 4000, 2, 4000, 0xA, 0);
	for (uint32_t i = 1; i <= 5; i++) { /* one of five packets, and one of two */
		event(f, i, 160);
	}
	event(f, 6, 1600);
	event(f, 7, 1600);
	rtp(f, 1, 4000, 2, 4000, 0xA, 8);
	info(f, "3 INFO");
	info(f, "3 INFO"); /* sent again */
	info(f, "4 INFO");
}

static void a_rule_drops_digits_and_marks_each_key_press(void **state)
{
	struct fixture *f = *state;
	static struct et_rules rules = { .otherwise = ET_RULE_RECORD,
					 .digits = ET_RULE_DIGITS_DROP };
	struct et_buffer table = { .data = NULL };
	f->config.rules = &rules;
	et_engine_free(f->engine);
	f->engine = make(f);
	answered(f, "1", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 65535);
	uint64_t meta = f->meta;
	key_presses(f);
	assert_int_equal(f->media, 3);
	assert_int_equal(f->meta, meta + 5); /* four marks, and what type 101 is */
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_RTP_DIGITS], 7);

	/* A restart under other rules: it was promised to this call. */
	rules.digits = ET_RULE_DIGITS_KEEP;
	et_engine_save(f->engine, &table);
	int64_t died_us = f->now_us;
	et_engine_free(f->engine);
	f->now_us += 1000000;
	f->engine = make(f);
	et_engine_clock(f->engine, f->now_us);
	struct et_view view = { table.data, table.size };
	assert_int_equal(et_engine_restore(f->engine, view, gap_from, &died_us, NULL), 0);
	et_buffer_release(&table);
	rtp(f, 1, 4000, 2, 4000, 0xA, 100);
	event(f, 101, 16000);
	assert_int_equal(f->media, 4);
	bye(f, "1");
	wait_s(f, 3);
	const struct closed *c = &f->closed[0];
	assert_int_equal(c->streams[0].packets, 3);
	assert_int_equal(c->streams[0].lost, 0);
	assert_int_equal(c->streams[1].packets, 1);
}

/* A key press of somebody: its first packet twice, and its end. */
static void press(struct fixture *f, uint8_t from, uint8_t key, uint32_t number)
{
	uint8_t to = from == 1 ? 2 : 1;
	for (uint32_t i = 0; i < 3; i++) {
		uint8_t p[16] = { 0x80, 101 };
		f->now_us += 20000;
		et_put16(p + 2, (uint16_t)(number + i));
		et_put32(p + 4, number * 160);
		et_put32(p + 8, from == 1 ? 0xA : 0xB);
		p[12] = key;
		p[13] = i == 2 ? 0x8A : 0x0A;
		et_put16(p + 14, (uint16_t)((i + 1) * 160));
		datagram(f, from, 4000, to, 4000, p, sizeof(p));
	}
}

/* Under one rule, whose pause is by keys. */
static void answered_under(struct fixture *f, struct et_rules *rules, enum et_rule_by by)
{
	*rules = (struct et_rules){
		.otherwise = ET_RULE_RECORD,
		.count = 1,
		.rules = { { .name = "card",
			     .action = ET_RULE_RECORD,
			     .pause = { .start = "*7", .stop = "*8", .by = by } } },
	};
	f->config.rules = rules;
	et_engine_free(f->engine);
	f->engine = make(f);
	answered(f, "1", 4000);
}

static bool is_paused(const struct fixture *f)
{
	return et_call_is_paused(f->engine->slots[0]);
}

static void keys_pause_a_call_and_let_it_go_on(void **state)
{
	struct fixture *f = *state;
	static struct et_rules rules;
	struct et_buffer table = { .data = NULL };
	answered_under(f, &rules, ET_RULE_BY_CALLER);
	talk(f, 0, 5);
	press(f, 2, 10, 200); /* not the caller */
	press(f, 2, 7, 210);
	press(f, 1, 10, 5);
	press(f, 1, 8, 10); /* *8: it is not paused */
	assert_false(is_paused(f));
	press(f, 1, 10, 15);
	assert_false(is_paused(f));
	press(f, 1, 7, 20);
	assert_true(is_paused(f));
	assert_string_equal(f->engine->slots[0]->facts.pause_cause, "rule card: keys");
	uint64_t media = f->media;
	talk(f, 30, 5);
	press(f, 1, 4, 40); /* a card's digit */
	press(f, 1, 10, 50);
	press(f, 1, 7, 60); /* *7 again: it is paused already */
	assert_true(is_paused(f));
	assert_int_equal(f->media, media);

	/* A restart in the pause: the rule's keys still end it. */
	et_engine_save(f->engine, &table);
	int64_t died_us = f->now_us;
	et_engine_free(f->engine);
	f->now_us += 1000000;
	f->engine = make(f);
	et_engine_clock(f->engine, f->now_us);
	struct et_view view = { table.data, table.size };
	assert_int_equal(et_engine_restore(f->engine, view, gap_from, &died_us, NULL), 0);
	et_buffer_release(&table);
	assert_true(is_paused(f));
	press(f, 1, 10, 100);
	press(f, 1, 8, 110);
	assert_false(is_paused(f));
	talk(f, 120, 5);
	assert_true(f->media >= media + 10);
	bye(f, "1");
	wait_s(f, 3);
	const struct et_facts *facts = &f->closed[0].facts;
	uint32_t pauses = 0;
	for (uint32_t i = 0; i < facts->gap_count; i++) {
		pauses += strcmp(facts->gaps[i].cause, "paused") == 0;
		assert_true(facts->gaps[i].to_us > facts->gaps[i].from_us);
	}
	assert_int_equal(pauses, 1);
}

static void info_with(struct fixture *f, const char *cseq, const char *type, const char *body)
{
	char text[512];
	int n = snprintf(text, sizeof(text),
			 "INFO sip:bob@x SIP/2.0\r\nFrom: <sip:alice@x>;tag=a\r\n"
			 "To: <sip:bob@x>;tag=b\r\nCall-ID: 1\r\nCSeq: %s INFO\r\n"
			 "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
			 cseq, type, strlen(body), body);
	f->now_us += 100000;
	datagram(f, 1, 5060, 2, 5060, text, (size_t)n);
}

static void keys_in_sip_pause_too(void **state)
{
	struct fixture *f = *state;
	static struct et_rules rules;
	answered_under(f, &rules, ET_RULE_BY_ANY);
	talk(f, 0, 5);
	info_with(f, "3", "application/dtmf-relay", "Duration=160\r\nSignal= *\r\n");
	info_with(f, "3", "application/dtmf-relay", "Duration=160\r\nSignal= *\r\n");
	info_with(f, "4", "text/plain", "7");
	info_with(f, "5", "application/dtmf-relay", "Signal=77\r\n");
	info_with(f, "6", "application/dtmf-relay", "Signal");
	assert_false(is_paused(f));
	info_with(f, "7", "application/dtmf", "7");
	assert_true(is_paused(f));
	info_with(f, "8", "application/dtmf", "*");
	info_with(f, "9", "application/dtmf-relay", "signal=8");
	assert_false(is_paused(f));
	talk(f, 10, 5);
	bye(f, "1");
	wait_s(f, 3);
	assert_int_equal(f->closed[0].facts.gap_count, 1);
}

static void digits_are_kept_where_no_rule_drops_them(void **state)
{
	struct fixture *f = *state;
	answered(f, "1", 4000);
	uint64_t meta = f->meta;
	key_presses(f);
	assert_int_equal(f->media, 9);
	assert_true(f->meta >= meta + 3); /* the INFO, all of them; and the codec of the events */
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_RTP_DIGITS], 0);
	bye(f, "1");
	wait_s(f, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_call_has_both_directions),
		TEST(a_ring_read_late_does_not_move_the_times_of_a_call),
		TEST(a_cancelled_call_costs_no_tape),
		TEST(a_refused_call_is_failed_unless_it_comes_with_credentials),
		TEST(a_missing_bye_ends_by_time),
		TEST(an_invite_without_an_answer_ends_by_time),
		TEST(a_long_hold_is_one_recording),
		TEST(packets_after_the_bye_are_still_its_own),
		TEST(a_reinvite_moves_the_media),
		TEST(calls_on_one_tuple_are_told_apart_by_ssrc),
		TEST(media_before_its_description_waits_for_it),
		TEST(a_port_is_used_again_by_the_next_call),
		TEST(rtp_without_signalling_is_a_call_of_both_directions),
		TEST(what_only_looks_like_rtp_is_no_call),
		TEST(a_rule_keeps_a_call_from_being_recorded),
		TEST(the_rule_that_fired_and_the_direction_are_told),
		TEST(a_provisional_decision_is_made_again_at_a_reinvite),
		TEST(a_recording_that_was_opened_is_not_taken_back),
		TEST(a_flood_of_invites_does_not_push_out_live_calls),
		TEST(a_slow_writer_costs_media_and_says_so),
		TEST(a_call_that_had_ended_is_closed_after_a_restart),
		TEST(calls_go_on_after_a_restart),
		TEST(what_arrives_in_a_pause_goes_nowhere),
		TEST(a_pause_is_a_span_of_arrival),
		TEST(a_pause_ends_by_itself),
		TEST(a_paused_call_is_paused_after_a_restart),
		TEST(more_pauses_than_are_listed_are_in_force),
		TEST(what_is_not_recorded_cannot_be_paused),
		TEST(a_rule_drops_digits_and_marks_each_key_press),
		TEST(digits_are_kept_where_no_rule_drops_them),
		TEST(keys_pause_a_call_and_let_it_go_on),
		TEST(keys_in_sip_pause_too),
	};
	return cmocka_run_group_tests_name("node/capture/engine", tests, NULL, NULL);
}
