/* SRTP in the engine: secrets of DTLS handshakes, from a key log that may be late, and what waits
 * for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/capture/test/srtp_kit.h"

static void a_key_log_opens_dtls_srtp(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(sender_close) struct sender caller = sender_of_handshake(1, false);
	ET_CLEANUP(sender_close) struct sender callee = sender_of_handshake(2, true);

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
}

/* Of addresses that nobody named: they have places of their own among the handshakes. */
static void a_flood_of_hellos_costs_no_key(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(sender_close) struct sender caller = sender_of_handshake(1, false);
	uint8_t p[128];
	size_t size = hello_make(true, p);

	call_with_handshake(f);
	for (uint16_t i = 0; i < 3000; i++) {
		et_put16(p + 30, i); /* of its random */
		engine_datagram_at(f->engine, f->now_us, 9, (uint16_t)(20000 + i), 8, 4000, p,
				   size);
	}
	secret_comes(f);
	send_rtp(f, &caller, 10);
	finish(f);
	assert_int_equal(f->opened, 10);
	assert_int_equal(f->streams[0].opened, ET_OPENED_YES);
}

/* A key log that grows is read once a second: a secret is found seconds after the media began, but
 * not whenever. */
static void a_secret_is_waited_for(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(sender_close) struct sender caller = sender_of_handshake(1, false);

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
}

/* After half a minute it is looked for more rarely; as long as the call lasts. */
static void a_late_secret_is_still_found(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(sender_close) struct sender caller = sender_of_handshake(1, false);

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
}

/* What the handshake said goes into the tape once, with a key log or without. */
static void a_handshake_without_its_secret_is_kept(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(sender_close) struct sender caller = sender_of_handshake(1, false);
	ET_CLEANUP(sender_close) struct sender callee = sender_of_handshake(2, true);
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
}

/* It is tried on what was kept of the call, and told when it fits. */
static void a_secret_that_comes_after_the_call_is_told(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(sender_close) struct sender caller = sender_of_handshake(1, false);
	ET_CLEANUP(sender_close) struct sender callee = sender_of_handshake(2, true);

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
}

/* Of a call on demand nothing is told before somebody has kept it. */
static void a_secret_that_comes_after_a_call_on_demand_waits_until_it_is_kept(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(sender_close) struct sender caller = sender_of_handshake(1, false);
	struct et_keep keep = { .who = "token:anna" };

	f->engine->config.keylog_grows = true;
	call_with_handshake(f);
	f->engine->slots[0]->facts.ring_us = 60000000;
	f->engine->slots[0]->facts.keep_for_us = 600000000;
	send_rtp(f, &caller, 10);
	memcpy(keep.recording, f->engine->slots[0]->facts.id, sizeof(keep.recording));
	f->now_us += 5 * 3600 * 1000000LL; /* its media timed out */
	et_engine_clock(f->engine, f->now_us);
	assert_int_equal(f->engine->call_count, 0);
	secret_comes(f);
	et_keys_late(f->engine);
	assert_int_equal(et_engine_keep(f->engine, &keep), 0); /* asked, and not answered */
	et_keys_late(f->engine);
	assert_int_equal(f->late_count, 0);
	et_keys_kept(f->engine, keep.recording);
	et_keys_late(f->engine);
	assert_int_equal(f->late_count, 2);
	finish(f);
}

static void a_wrong_secret_after_the_call_is_not(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(sender_close)
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
}

/* Nor when the clock is set back meanwhile. */
static void a_secret_is_waited_for_when_time_goes_back(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(sender_close) struct sender caller = sender_of_handshake(1, false);

	f->engine->config.keylog_grows = true;
	call_with_handshake(f);
	send_rtp(f, &caller, 10);
	f->now_us -= 3600 * 1000000LL;
	secret_comes(f);
	send_rtp(f, &caller, 10);
	assert_int_equal(f->opened, 10);
	finish(f);
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
	ET_CLEANUP(sender_close) struct sender caller = sender_of_handshake(1, false);
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
}

static void without_a_key_it_is_paused_where_the_rule_says_so(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(sender_close) struct sender caller = sender_of_handshake(1, false);
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
}

static const struct et_rule_ring ring = { .reach_us = 60000000,
					  .keep_for_us = 60000000,
					  .keep = "*9" };

static void protected_keys_keep_a_call_when_there_is_a_key(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(sender_close) struct sender caller = sender_of_handshake(1, false);
	f->engine->sink.media = sink_nothing;
	struct et_call *c = call_under(f, false);
	c->by_keys = NULL;
	et_call_on_demand(c, &ring);
	send_rtp(f, &caller, 50);
	assert_true(c->cannot_fire);
	press(f, &caller, 10);
	press(f, &caller, 9);
	assert_true(et_call_is_waiting(c)); /* nobody can see them */
	et_call_update(f->engine, c);
	assert_non_null(strstr(c->facts.problem, "cannot keep by keys (cannot_fire)"));
	secret_comes(f);
	send_rtp(f, &caller, 50);
	assert_false(c->cannot_fire);
	press(f, &caller, 10);
	press(f, &caller, 9);
	assert_false(et_call_is_waiting(c));
	assert_string_equal(c->facts.kept, "keys of caller");
	send_rtp(f, &caller, 10);
	finish(f);
}

/* The secret of a call on demand comes when it is over. */
static void late_on_demand(struct fixture *f, bool kept)
{
	ET_CLEANUP(sender_close) struct sender caller = sender_of_handshake(1, false);
	uint8_t id[16];
	f->engine->config.keylog_grows = true;
	call_with_handshake(f);
	et_call_on_demand(f->engine->slots[0], &ring);
	memcpy(id, f->engine->slots[0]->facts.id, sizeof(id));
	send_rtp(f, &caller, 10);
	f->now_us += 5 * 3600 * 1000000LL; /* its media timed out */
	et_engine_clock(f->engine, f->now_us);
	secret_comes(f);
	et_keys_late(f->engine);
	assert_int_equal(f->late_count, 0); /* nobody kept it so far */
	assert_int_equal(f->engine->handshakes_over, 1);
	if (kept) {
		et_keys_kept(f->engine, id);
	} else {
		f->now_us += ring.keep_for_us + 1;
		et_engine_clock(f->engine, f->now_us);
	}
	et_keys_late(f->engine);
	assert_int_equal(f->late_count, kept ? 2 : 0);
	assert_int_equal(f->engine->handshakes_over, 0);
	finish(f);
}

static void a_secret_after_the_call_waits_for_who_keeps_it(void **state)
{
	late_on_demand(*state, true);
}

static void a_secret_of_a_call_that_nobody_kept_is_not_tried(void **state)
{
	late_on_demand(*state, false);
}

/* Live, keys are tried so often in a second and no more: on streams that may have one. */
static void plain_streams_do_not_keep_protected_ones_waiting(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(sender_close) struct sender caller = sender_of_handshake(1, false);

	(void)et_srtp_ring_free(f->given);
	f->given = NULL;
	f->engine->config.given = NULL;
	f->engine->config.deterministic = false;
	call_with_handshake(f);
	secret_comes(f);
	strangers_talk(f);
	assert_int_equal(f->media, 800);
	f->opened = 0;
	send_rtp(f, &caller, 10);
	assert_int_equal(f->opened, 10);
	finish(f);
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
		ET_CLEANUP(sender_close)
		struct sender s = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, i);
		(void)strcat(offer, line_of(&s, i + 1U, line));
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
	ET_CLEANUP(sender_close) struct sender caller = sender_of_handshake(1, false);
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
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_key_log_opens_dtls_srtp),
		TEST(a_flood_of_hellos_costs_no_key),
		TEST(a_secret_is_waited_for),
		TEST(a_late_secret_is_still_found),
		TEST(a_secret_that_comes_after_the_call_is_told),
		TEST(a_secret_that_comes_after_a_call_on_demand_waits_until_it_is_kept),
		TEST(a_wrong_secret_after_the_call_is_not),
		TEST(protected_keys_pause_when_there_is_a_key),
		TEST(protected_keys_keep_a_call_when_there_is_a_key),
		TEST(a_secret_after_the_call_waits_for_who_keeps_it),
		TEST(a_secret_of_a_call_that_nobody_kept_is_not_tried),
		TEST(without_a_key_it_is_paused_where_the_rule_says_so),
		TEST(a_handshake_without_its_secret_is_kept),
		TEST(a_secret_is_waited_for_when_time_goes_back),
		TEST(plain_streams_do_not_keep_protected_ones_waiting),
		TEST(a_call_with_many_keys_takes_no_time_of_others),
		TEST(handshakes_of_others_do_not_mix),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
