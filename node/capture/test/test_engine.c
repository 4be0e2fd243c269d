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
	make_again(f);
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
	make_again(f);
	sip(f, false, "SIP/2.0 200 OK", "1", "1 INVITE", "ab", 2, 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 1);
	assert_int_equal(f->opens, 0);
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_RTP_RULE], 1);
	assert_int_equal(f->engine->rule_calls[1], 1);
	struct et_buffer saved = { .data = NULL };
	et_engine_save(f->engine, &saved); /* also over a restart */
	et_engine_finish(f->engine, false);
	make_again(f);
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
	make_again(f);
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

/* `spurts` of ten packets, each `gap_ms` behind the one before; `lost` packets between. How many
 * METAs they made. */
static uint64_t talk_in_spurts(struct fixture *f, uint32_t ssrc, int spurts, int gap_ms,
			       uint32_t lost)
{
	static uint32_t number;
	uint64_t before = 0;

	for (int i = 0; i < spurts; i++) {
		number += lost;
		f->now_us += gap_ms * 1000LL;
		for (int n = 0; n < 10; n++, number++, f->now_us += 20000) {
			rtp_of(f, 1, 4000, 2, 4000, ssrc, number, n == 0 ? 0x80 : 0);
		}
		before = i == 0 ? f->meta : before;
	}
	return f->meta - before;
}

static void who_sends_nothing_in_silence_is_noticed_once(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(talk_in_spurts(f, 0xA, 3, 500, 0), 0);
	assert_int_equal(talk_in_spurts(f, 0xB, 4, 500, 0), 1);
	assert_int_equal(talk_in_spurts(f, 0xB, 6, 500, 0), 0);	 /* it is known */
	assert_int_equal(talk_in_spurts(f, 0xC, 6, 40, 0), 0);	 /* jitter */
	assert_int_equal(talk_in_spurts(f, 0xD, 6, 5000, 0), 0); /* hold */
	assert_int_equal(talk_in_spurts(f, 0xE, 6, 500, 5), 0);	 /* loss */
}

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
		TEST(a_slow_writer_costs_media_and_says_so),
		TEST(a_call_that_had_ended_is_closed_after_a_restart),
		TEST(calls_go_on_after_a_restart),
		TEST(who_sends_nothing_in_silence_is_noticed_once),
	};
	return cmocka_run_group_tests_name("node/capture/engine", tests, NULL, NULL);
}
