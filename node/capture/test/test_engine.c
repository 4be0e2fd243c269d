/* The engine on messages and packets made here: what becomes of a call in each of its endings,
 * whose a stream is, what is counted as what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/capture/test/engine_kit.h"

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

/* Two packets make a call without signalling. */
static void a_flood_of_rtp_does_not_keep_out_calls_with_signalling(void **state)
{
	struct fixture *f = *state;
	et_engine_free(f->engine);
	f->config.limits.calls = 16;
	f->engine = make(f);
	answered(f, "good", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 0);
	for (uint16_t i = 0; i < 40; i++) {
		for (uint32_t k = 0; k < 3; k++) {
			rtp(f, 3, (uint16_t)(20000 + i), 4, 30000, 0xF, k);
		}
	}
	wait_s(f, 3);
	assert_int_equal(f->engine->call_count, 16);
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_RTP_LIMIT_CALLS], 25 * 3);
	answered(f, "late", 4002);
	rtp(f, 1, 4002, 2, 4002, 0xA, 0);
	rtp(f, 1, 4000, 2, 4000, 0xA, 1);
	assert_int_equal(f->engine->call_count, 16);
	assert_int_equal(f->engine->packets.rtp, 3 + 15 * 3);
	assert_int_equal(f->closed_count, 1);
	assert_int_equal(f->closed[0].facts.state, ET_CALL_MEDIA_ONLY);
}

/* Nor the other way round. */
static void a_flood_of_invites_does_not_push_out_calls_without_signalling(void **state)
{
	struct fixture *f = *state;
	et_engine_free(f->engine);
	f->config.limits.calls = 16;
	f->engine = make(f);
	for (uint16_t i = 0; i < 8; i++) {
		for (uint32_t k = 0; k < 3; k++) {
			rtp(f, 3, (uint16_t)(20000 + i), 4, 30000, 0xF, k);
		}
	}
	wait_s(f, 3);
	assert_int_equal(f->engine->media_only_count, 8);
	for (uint32_t i = 0; i < 40; i++) {
		char id[16];
		(void)snprintf(id, sizeof(id), "flood%u", i);
		sip(f, true, "INVITE sip:bob@x SIP/2.0", id, "1 INVITE", "a", 1, 9000);
	}
	assert_int_equal(f->engine->calls_refused_limit, 32);
	assert_int_equal(f->engine->media_only_count, 8);
	assert_int_equal(f->closed_count, 0);
	wait_s(f, 40);
	assert_int_equal(f->engine->media_only_count, 0);
}

/* Both sides of their signalling are forged, and nobody speaks. */
static void answered_calls_without_media_make_room(void **state)
{
	struct fixture *f = *state;
	et_engine_free(f->engine);
	f->config.limits.calls = 16;
	f->engine = make(f);
	answered(f, "good", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 0);
	for (uint32_t i = 0; i < 20; i++) {
		char id[16];
		(void)snprintf(id, sizeof(id), "flood%u", i);
		answered(f, id, (uint16_t)(20000 + 2 * i));
	}
	assert_int_equal(f->engine->call_count, 16);
	wait_s(f, 61);
	answered(f, "late", 4002);
	rtp(f, 1, 4002, 2, 4002, 0xA, 0);
	rtp(f, 1, 4000, 2, 4000, 0xA, 1); /* silent for a minute, too; but it had media */
	assert_int_equal(f->engine->packets.rtp, 3);
	assert_int_equal(f->closed_count, 1);
	assert_int_equal(f->closed[0].facts.state, ET_CALL_PARTIAL);
	assert_memory_equal(f->closed[0].facts.sip_call_id, "flood", 5);
}

/* A packet with an SSRC of its own is a stream: their numbers must not run out before the call's.
 */
static void a_stranger_cannot_take_all_streams_of_a_call(void **state)
{
	struct fixture *f = *state;
	answered(f, "1", 4000);
	for (uint32_t i = 0; i < 60; i++) {
		rtp(f, 9, 9000, 2, 4000, 0x1000 + i, i);
	}
	rtp(f, 1, 4000, 2, 4000, 0xA, 0);
	rtp(f, 2, 4000, 1, 4000, 0xB, 0);
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_RTP_LIMIT_STREAMS], 60 - 24);
	assert_int_equal(f->engine->packets.rtp, 24 + 2);
	bye(f, "1");
	wait_s(f, 3);
	assert_int_equal(f->closed[0].count, 26);
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

static void a_call_that_had_ended_is_closed_after_a_restart(void **state)
{
	struct fixture *f = *state;
	answered(f, "1", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 1);
	bye(f, "1");
	assert_int_equal(f->closed_count, 0); /* It lingers for late packets. */
	restart(f, 60000000);
	wait_s(f, 1);
	assert_int_equal(f->closed_count, 1);
	assert_true(f->closed[0].opened);
	assert_int_equal(f->closed[0].facts.state, ET_CALL_ANSWERED);
	assert_int_equal(f->engine->call_count, 0);
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

/* ---- A look ahead ---------------------------------------------------------------------------- */

enum { AHEAD_FRAMES = 600, AHEAD_FRAME_MAX = 14 + 4 + 20 + 8 + 12 + 160 };

/* Which packets a sink got, in which order. */
struct told {
	struct et_engine *engine;
	uint64_t media;
	uint64_t closed;
	uint64_t trace;
	uint64_t ahead[ET_SINK_STEPS];
};

static int told_media(void *arg, uint32_t slot, uint32_t stream, const struct et_rtp *rtp,
		      const struct et_packet *packet)
{
	struct told *t = arg;
	(void)packet;
	t->media++;
	t->trace = t->trace * 31 + slot * 7 + stream * 3 + rtp->sequence;
	return 0;
}

static int told_close(void *arg, uint32_t slot, bool opened, const struct et_facts *facts,
		      const struct et_capture_stream *streams, uint32_t count)
{
	struct told *t = arg;
	(void)opened;
	(void)facts;
	(void)streams;
	t->closed++;
	t->trace = t->trace * 31 + slot + count;
	return 0;
}

static void told_ahead(void *arg, uint32_t slot, uint32_t stream, int step)
{
	struct told *t = arg;
	assert_non_null(t->engine->slots[slot]);
	assert_true(stream < t->engine->slots[slot]->stream_count);
	t->ahead[step]++;
}

/* RTP of one of 20 flows over Ethernet, some with a VLAN; some cut off. In memory of its size. */
static struct et_frame flow_frame(uint32_t n)
{
	const uint32_t flow = n % 20;
	const bool vlan = flow % 3 == 1;
	uint8_t *p = calloc(1, AHEAD_FRAME_MAX);
	uint8_t *ip = p + (vlan ? 18 : 14);

	assert_non_null(p);
	et_put16(p + 12, vlan ? 0x8100 : 0x0800);
	et_put16(ip - 2, 0x0800);
	ip[0] = 0x45;
	et_put16(ip + 2, 200);
	ip[8] = 64;
	ip[9] = 17;
	et_put32(ip + 12, 0x0A000001U + flow);
	et_put32(ip + 16, 0x0B000001U + flow);
	et_put16(ip + 20, 4000);
	et_put16(ip + 22, 5000);
	et_put16(ip + 24, 180);
	ip[28] = 0x80;
	et_put16(ip + 30, (uint16_t)(n / 20));
	et_put32(ip + 32, n / 20 * 160);
	et_put32(ip + 36, 0xABC0 + flow);
	struct et_frame frame = {
		.link_type = DLT_EN10MB,
		.time_us = INT64_C(1700000000000000) + n / 20 * 200000 +
			   (n > 400 ? INT64_C(90000000) : 0), /* calls end in the middle */
		.size = n % 37 == 5 ? n % 90 : (uint32_t)(ip - p) + 200,
		.wire_size = (uint32_t)(ip - p) + 200,
	};
	frame.data = realloc(p, frame.size > 0 ? frame.size : 1);
	assert_non_null(frame.data);
	return frame;
}

static void told_run(struct told *t, const struct et_frame *frames, size_t batch)
{
	const struct et_capture_config capture = { .limits.media_only_timeout_s = 30 };
	struct et_sink sink = sink_of(t);
	const struct et_engine_config config = { .capture = &capture,
						 .sink = &sink,
						 .deterministic = true };
	sink.media = told_media;
	sink.close = told_close;
	sink.ahead = told_ahead;
	assert_int_equal(et_engine_new(&config, &t->engine, NULL), 0);
	for (size_t at = 0; at < AHEAD_FRAMES; at += batch) {
		const size_t left = AHEAD_FRAMES - at;
		if (batch == 1) {
			et_engine_frame(t->engine, &frames[at]);
		} else {
			et_engine_frames(t->engine, frames + at, left < batch ? left : batch);
		}
	}
	et_engine_finish(t->engine, true);
	assert_each_counted_once(t->engine);
}

static void a_look_ahead_changes_nothing(void **state)
{
	static const size_t batches[] = { 2, 16, 17, AHEAD_FRAMES };
	struct et_frame frames[AHEAD_FRAMES];
	struct told one = { .media = 0 };

	(void)state;
	for (uint32_t n = 0; n < AHEAD_FRAMES; n++) {
		frames[n] = flow_frame(n);
	}
	told_run(&one, frames, 1);
	assert_int_equal(one.ahead[0], 0);
	assert_true(one.media > AHEAD_FRAMES / 2);
	assert_true(one.closed >= 40); /* 20 before the silence, 20 after it */
	for (size_t i = 0; i < ET_ARRAY_SIZE(batches); i++) {
		struct told t = { .media = 0 };
		told_run(&t, frames, batches[i]);
		assert_int_equal(t.media, one.media);
		assert_int_equal(t.closed, one.closed);
		assert_int_equal(t.trace, one.trace);
		assert_memory_equal(&t.engine->packets, &one.engine->packets,
				    sizeof(one.engine->packets));
		assert_true(t.ahead[0] > 0); /* It did look. */
		assert_int_equal(t.ahead[ET_SINK_STEPS - 1], t.ahead[0]);
		et_engine_free(t.engine);
	}
	et_engine_free(one.engine);
	for (uint32_t n = 0; n < AHEAD_FRAMES; n++) {
		free((void *)(uintptr_t)frames[n].data);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_look_ahead_changes_nothing),
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
		TEST(a_flood_of_rtp_does_not_keep_out_calls_with_signalling),
		TEST(a_flood_of_invites_does_not_push_out_calls_without_signalling),
		TEST(answered_calls_without_media_make_room),
		TEST(a_stranger_cannot_take_all_streams_of_a_call),
		TEST(a_slow_writer_costs_media_and_says_so),
		TEST(a_call_that_had_ended_is_closed_after_a_restart),
		TEST(calls_go_on_after_a_restart),
	};
	return cmocka_run_group_tests_name("node/capture/engine", tests, NULL, NULL);
}
