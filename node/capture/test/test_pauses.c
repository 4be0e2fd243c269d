/* What is left out of a recording: pauses, by request and by keys, and the keys themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/capture/test/engine_kit.h"

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
	answered(f, "1", 4000);
	talk(f, 0, 3);
	struct et_capture_pause p = pause_it(f, true, 60000000);
	talk(f, 3, 2);
	restart(f, 3000000);
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
	f->config.rules = &rules;
	make_again(f);
	answered(f, "1", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 65535);
	uint64_t meta = f->meta;
	key_presses(f);
	assert_int_equal(f->media, 3);
	assert_int_equal(f->meta, meta + 5); /* four marks, and what type 101 is */
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_RTP_DIGITS], 7);

	/* A restart under other rules: it was promised to this call. */
	rules.digits = ET_RULE_DIGITS_KEEP;
	restart(f, 1000000);
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
	make_again(f);
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
	restart(f, 1000000);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	return cmocka_run_group_tests_name("node/capture/pauses", tests, NULL, NULL);
}
