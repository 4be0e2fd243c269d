/* What a call does in its life, message by message: forks, early media, offers at every place where
 * they may stand, holds, redirections, transfers, crossings, forgeries. For each: how many
 * recordings, which streams, which state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/capture/test/dialog_kit.h"

/* Both ways between the caller's PORT and `host`:PORT, a packet each 20 ms. */
static void talk(struct fixture *f, uint8_t host, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++) {
		rtp(f, CALLER, PORT, host, PORT, 0xA, i);
		rtp(f, host, PORT, CALLER, PORT, 0xB0U + host, i);
		f->now_us += 20000;
	}
}

static void call_answered(struct fixture *f)
{
	SAY(f, CALLER, CALLEE, INVITE, "1 INVITE", "a", .port = PORT);
	SAY(f, CALLEE, CALLER, OK, "1 INVITE", "a", .to = "b", .port = PORT);
	SAY(f, CALLER, CALLEE, "ACK sip:bob@x SIP/2.0", "1 ACK", "a", .to = "b");
}

static void hang_up(struct fixture *f)
{
	SAY(f, CALLER, CALLEE, BYE, "9 BYE", "a", .to = "b");
	SAY(f, CALLEE, CALLER, OK, "9 BYE", "a", .to = "b");
}

static const struct et_capture_stream *stream_of(const struct closed *c, uint32_t ssrc)
{
	for (uint32_t i = 0; i < c->count; i++) {
		if (c->streams[i].ssrc == ssrc) {
			return &c->streams[i];
		}
	}
	fail_msg("no stream of SSRC %x", ssrc);
	return NULL;
}

/* One recording, `streams` of them, in that state. */
static const struct closed *only(struct fixture *f, enum et_capture_state state, uint32_t streams)
{
	assert_int_equal(f->closed_count, 1);
	assert_int_equal(f->closed[0].facts.state, state);
	assert_int_equal(f->closed[0].count, streams);
	return &f->closed[0];
}

static void check_stream(const struct closed *c, uint32_t ssrc, uint8_t party, uint64_t packets)
{
	const struct et_capture_stream *s = stream_of(c, ssrc);
	assert_int_equal(s->party, party);
	assert_int_equal(s->packets, packets);
	assert_int_equal(s->association, ET_ASSOCIATION_SDP);
}

/* ---- Forks ----------------------------------------------------------------------------------- */

static void early_media_of_two_branches(struct fixture *f)
{
	SAY(f, CALLER, PROXY, INVITE, "1 INVITE", "a", .port = PORT);
	SAY(f, PROXY, CALLER, "SIP/2.0 183 Progress", "1 INVITE", "a", .to = "b2", .port = PORT,
	    .at = CALLEE);
	SAY(f, PROXY, CALLER, "SIP/2.0 183 Progress", "1 INVITE", "a", .to = "b3", .port = PORT,
	    .at = OTHER);
	wait_s(f, 6); /* longer than an address counts that another replaced */
	for (uint32_t i = 0; i < 10; i++) {
		rtp(f, CALLEE, PORT, CALLER, PORT, 0xB2, i);
		rtp(f, OTHER, PORT, CALLER, PORT, 0xB3, i);
		f->now_us += 20000;
	}
}

static void a_fork_with_one_answer_is_one_recording_with_all_branches(void **state)
{
	struct fixture *f = *state;
	early_media_of_two_branches(f);
	SAY(f, PROXY, CALLER, OK, "1 INVITE", "a", .to = "b3", .port = PORT, .at = OTHER);
	talk(f, OTHER, 10, 500);
	SAY(f, CALLER, PROXY, BYE, "2 BYE", "a", .to = "b3");
	wait_s(f, 3);
	const struct closed *c = only(f, ET_CALL_ANSWERED, 3);
	check_stream(c, 0xA, 0, 500);
	check_stream(c, 0xB2, 1, 10);
	check_stream(c, 0xB3, 1, 510);
	assert_true(c->facts.answer_us > c->facts.start_us + 6000000);
}

static void of_two_answers_the_last_bye_ends_the_call(void **state)
{
	struct fixture *f = *state;
	early_media_of_two_branches(f);
	SAY(f, PROXY, CALLER, OK, "1 INVITE", "a", .to = "b2", .port = PORT, .at = CALLEE);
	SAY(f, PROXY, CALLER, OK, "1 INVITE", "a", .to = "b3", .port = PORT, .at = OTHER);
	SAY(f, CALLER, PROXY, BYE, "2 BYE", "a", .to = "b2");
	SAY(f, PROXY, CALLER, OK, "2 BYE", "a", .to = "b2");
	talk(f, OTHER, 10, 5000); /* 100 s: longer than packets after the end count */
	SAY(f, PROXY, CALLER, BYE, "7 BYE", "b3", .to = "a");
	wait_s(f, 3);
	const struct closed *c = only(f, ET_CALL_ANSWERED, 3);
	check_stream(c, 0xB3, 1, 5010);
	assert_true(c->facts.end_us - c->facts.answer_us > 99 * 1000000LL);
}

/* A server that answers with a tag which the hop above it does not know. */
static void an_answer_that_nobody_acknowledged_keeps_no_call_open(void **state)
{
	struct fixture *f = *state;
	early_media_of_two_branches(f);
	SAY(f, PROXY, CALLER, OK, "1 INVITE", "a", .to = "b2", .port = PORT, .at = CALLEE);
	SAY(f, PROXY, CALLER, OK, "1 INVITE", "a", .to = "b3", .port = PORT, .at = OTHER);
	SAY(f, CALLER, PROXY, "ACK sip:bob@x SIP/2.0", "1 ACK", "a", .to = "b3");
	talk(f, OTHER, 10, 100);
	SAY(f, CALLER, PROXY, BYE, "2 BYE", "a", .to = "b3");
	wait_s(f, 3);
	const struct closed *c = only(f, ET_CALL_ANSWERED, 3);
	check_stream(c, 0xB3, 1, 110);
}

static void a_branch_that_is_busy_does_not_fail_the_call(void **state)
{
	struct fixture *f = *state;
	SAY(f, PROXY, CALLEE, INVITE, "1 INVITE", "a", .port = PORT, .at = CALLER, .via = "x");
	SAY(f, PROXY, OTHER, INVITE, "1 INVITE", "a", .port = PORT, .at = CALLER, .via = "y");
	SAY(f, OTHER, PROXY, "SIP/2.0 180 Ringing", "1 INVITE", "a", .to = "b3", .via = "y");
	SAY(f, CALLEE, PROXY, "SIP/2.0 486 Busy", "1 INVITE", "a", .to = "b2", .via = "x");
	wait_s(f, 60); /* it rings for longer than a refused call waits */
	SAY(f, OTHER, PROXY, OK, "1 INVITE", "a", .to = "b3", .port = PORT, .via = "y");
	talk(f, OTHER, 0, 10);
	SAY(f, PROXY, OTHER, BYE, "2 BYE", "a", .to = "b3");
	wait_s(f, 3);
	(void)only(f, ET_CALL_ANSWERED, 2);
}

static void a_fork_fails_with_the_transaction_above_it(void **state)
{
	struct fixture *f = *state;
	SAY(f, CALLER, PROXY, INVITE, "1 INVITE", "a", .port = PORT);
	SAY(f, PROXY, CALLEE, INVITE, "1 INVITE", "a", .port = PORT, .via = "x", .below = true);
	SAY(f, PROXY, OTHER, INVITE, "1 INVITE", "a", .port = PORT, .via = "y", .below = true);
	SAY(f, CALLEE, PROXY, "SIP/2.0 486 Busy", "1 INVITE", "a", .to = "b2", .via = "x",
	    .below = true);
	wait_s(f, 40);
	assert_int_equal(f->closed_count, 0);
	/* The other branch never says anything. */
	SAY(f, PROXY, CALLER, "SIP/2.0 408 Timeout", "1 INVITE", "a", .to = "p");
	int64_t ended_us = f->now_us - 1000;
	wait_s(f, 40);
	const struct closed *c = only(f, ET_CALL_FAILED, 0);
	assert_false(c->opened);
	assert_int_equal(c->facts.end_us, ended_us);
}

static void a_fork_of_a_thousand_branches_is_bounded(void **state)
{
	struct fixture *f = *state;
	SAY(f, CALLER, PROXY, INVITE, "1 INVITE", "a", .port = PORT);
	for (uint32_t i = 0; i < 1000; i++) {
		char tag[16];
		(void)snprintf(tag, sizeof(tag), "leg%u", i);
		SAY(f, PROXY, CALLER, "SIP/2.0 183 Progress", "1 INVITE", "a", .to = tag,
		    .port = (uint16_t)(10000 + 2 * i), .at = CALLEE);
	}
	assert_int_equal(f->engine->call_count, 1);
	const struct et_call *call = f->engine->slots[0];
	assert_int_equal(call->endpoint_count, ET_CALL_ENDPOINTS_MAX);
	assert_int_equal(call->dialog_count, ET_CALL_DIALOGS_MAX);
	SAY(f, PROXY, CALLER, OK, "1 INVITE", "a", .to = "leg777", .port = PORT, .at = CALLEE);
	/* Early media of forty others, who have not heard of the answer. */
	for (uint32_t i = 0; i < 40; i++) {
		talk(f, CALLEE, i, 1);
		rtp(f, CALLEE, (uint16_t)(20000 + 2 * i), CALLER, PORT, 0x1000 + i, 0);
	}
	SAY(f, CALLER, PROXY, BYE, "2 BYE", "a", .to = "leg778"); /* of one that never answered */
	wait_s(f, 3);
	assert_int_equal(f->closed_count, 0);
	SAY(f, CALLER, PROXY, BYE, "3 BYE", "a", .to = "leg777");
	wait_s(f, 3);
	/* Theirs are addresses that nobody names by now: a quarter is left for those that are. */
	const uint32_t most = ET_CAPTURE_STREAMS_MAX - ET_CAPTURE_STREAMS_MAX / 4;
	const struct closed *c = only(f, ET_CALL_ANSWERED, most);
	check_stream(c, 0xA, 0, 40);
	check_stream(c, 0xB2, 1, 40);
	assert_int_equal(f->engine->packets.sip, 1004);
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_RTP_LIMIT_STREAMS], 42 - most);
}

/* ---- Offers ---------------------------------------------------------------------------------- */

static void early_media_begins_the_recording_before_the_answer(void **state)
{
	struct fixture *f = *state;
	SAY(f, CALLER, CALLEE, INVITE, "1 INVITE", "a", .port = PORT);
	SAY(f, CALLEE, CALLER, "SIP/2.0 183 Progress", "1 INVITE", "a", .to = "b", .port = PORT);
	int64_t media_us = f->now_us;
	for (uint32_t i = 0; i < 50; i++) {
		rtp(f, CALLEE, PORT, CALLER, PORT, 0xB2, i);
		f->now_us += 20000;
	}
	int64_t answer_us = f->now_us;
	SAY(f, CALLEE, CALLER, OK, "1 INVITE", "a", .to = "b"); /* without it again */
	talk(f, CALLEE, 50, 10);
	hang_up(f);
	wait_s(f, 3);
	const struct closed *c = only(f, ET_CALL_ANSWERED, 2);
	check_stream(c, 0xB2, 1, 60);
	assert_int_equal(stream_of(c, 0xB2)->first_us, media_us);
	assert_int_equal(c->facts.answer_us, answer_us);
}

static void an_offer_may_come_in_183_and_its_answer_in_prack(void **state)
{
	struct fixture *f = *state;
	SAY(f, CALLER, CALLEE, INVITE, "1 INVITE", "a", .port = 0);
	SAY(f, CALLEE, CALLER, "SIP/2.0 183 Progress", "1 INVITE", "a", .to = "b", .port = PORT,
	    .more = "Require: 100rel\r\nRSeq: 1\r\n");
	SAY(f, CALLER, CALLEE, "PRACK sip:bob@x SIP/2.0", "2 PRACK", "a", .to = "b", .port = PORT,
	    .more = "RAck: 1 1 INVITE\r\n");
	SAY(f, CALLEE, CALLER, OK, "2 PRACK", "a", .to = "b");
	talk(f, CALLEE, 0, 10);
	SAY(f, CALLEE, CALLER, OK, "1 INVITE", "a", .to = "b");
	hang_up(f);
	wait_s(f, 3);
	const struct closed *c = only(f, ET_CALL_ANSWERED, 2);
	check_stream(c, 0xA, 0, 10);
	check_stream(c, 0xB2, 1, 10);
}

static void a_delayed_offer_stands_in_200_and_its_answer_in_ack(void **state)
{
	struct fixture *f = *state;
	SAY(f, CALLER, CALLEE, INVITE, "1 INVITE", "a", .port = 0);
	SAY(f, CALLEE, CALLER, OK, "1 INVITE", "a", .to = "b", .port = PORT);
	SAY(f, CALLER, CALLEE, "ACK sip:bob@x SIP/2.0", "1 ACK", "a", .to = "b", .port = PORT);
	talk(f, CALLEE, 0, 10);
	hang_up(f);
	wait_s(f, 3);
	const struct closed *c = only(f, ET_CALL_ANSWERED, 2);
	check_stream(c, 0xA, 0, 10);
	check_stream(c, 0xB2, 1, 10);
}

static void an_update_moves_a_port(void **state)
{
	struct fixture *f = *state;
	call_answered(f);
	talk(f, CALLEE, 0, 10);
	SAY(f, CALLEE, CALLER, "UPDATE sip:alice@x SIP/2.0", "5 UPDATE", "b", .to = "a",
	    .port = 7000);
	SAY(f, CALLER, CALLEE, OK, "5 UPDATE", "b", .to = "a", .port = 7002);
	wait_s(f, 10);
	rtp(f, CALLER, 7002, CALLEE, 7000, 0xA2, 0);
	rtp(f, CALLEE, 7000, CALLER, 7002, 0xB9, 0);
	hang_up(f);
	wait_s(f, 3);
	const struct closed *c = only(f, ET_CALL_ANSWERED, 4);
	check_stream(c, 0xA2, 0, 1);
	check_stream(c, 0xB9, 1, 1);
}

static void what_a_refused_offer_says_never_was(void **state)
{
	struct fixture *f = *state;
	call_answered(f);
	talk(f, CALLEE, 0, 10);
	SAY(f, CALLEE, CALLER, "INVITE sip:alice@x SIP/2.0", "5 INVITE", "b", .to = "a",
	    .port = 7000);
	wait_s(f, 20); /* somebody is asked */
	SAY(f, CALLER, CALLEE, "SIP/2.0 488 Not Acceptable", "5 INVITE", "b", .to = "a");
	wait_s(f, 10);
	/* A NAT in front of the caller: only the callee's address is named. */
	rtp(f, 99, 999, CALLEE, PORT, 0xA7, 0);
	const struct et_call *call = f->engine->slots[0];
	assert_int_equal(call->endpoint_count, 3); /* and that of the NAT */
	assert_false(call->ended);
	hang_up(f);
	wait_s(f, 3);
	const struct closed *c = only(f, ET_CALL_ANSWERED, 3);
	check_stream(c, 0xA7, 0, 1);
}

static void a_hold_of_thirty_minutes_is_one_recording(void **state)
{
	static const char *const directions[] = { "a=sendonly\r\n", "a=inactive\r\n",
						  "a=recvonly\r\n" };
	struct fixture *f = *state;
	call_answered(f);
	talk(f, CALLEE, 0, 10);
	for (uint32_t i = 0; i < ET_ARRAY_SIZE(directions); i++) {
		char hold[16];
		char resume[16];
		(void)snprintf(hold, sizeof(hold), "%u INVITE", 2 + 2 * i);
		(void)snprintf(resume, sizeof(resume), "%u INVITE", 3 + 2 * i);
		SAY(f, CALLER, CALLEE, INVITE, hold, "a", .to = "b", .port = PORT,
		    .lines = directions[i]);
		SAY(f, CALLEE, CALLER, OK, hold, "a", .to = "b", .port = PORT,
		    .lines = directions[i]);
		wait_s(f, 1800);
		SAY(f, CALLER, CALLEE, INVITE, resume, "a", .to = "b", .port = PORT);
		SAY(f, CALLEE, CALLER, OK, resume, "a", .to = "b", .port = PORT);
		talk(f, CALLEE, 10 + 10 * i, 10);
	}
	/* As RFC 2543 did it: the address 0.0.0.0, and nobody who says so again. */
	SAY(f, CALLER, CALLEE, INVITE, "8 INVITE", "a", .to = "b", .port = PORT,
	    .lines = "c=IN IP4 0.0.0.0\r\n");
	wait_s(f, 1800);
	talk(f, CALLEE, 40, 10);
	hang_up(f);
	wait_s(f, 3);
	const struct closed *c = only(f, ET_CALL_ANSWERED, 2);
	check_stream(c, 0xA, 0, 50);
	check_stream(c, 0xB2, 1, 50);
	assert_true(c->facts.end_us - c->facts.start_us > 7200 * 1000000LL);
}

static void codecs_and_ports_change_in_mid_call(void **state)
{
	struct fixture *f = *state;
	call_answered(f);
	talk(f, CALLEE, 0, 10);
	SAY(f, CALLER, CALLEE, INVITE, "2 INVITE", "a", .to = "b", .port = 5000, .codec = "96",
	    .lines = "a=rtpmap:96 opus/48000/2\r\n");
	SAY(f, CALLEE, CALLER, OK, "2 INVITE", "a", .to = "b", .port = PORT, .codec = "96",
	    .lines = "a=rtpmap:96 opus/48000/2\r\n");
	rtp_of(f, CALLEE, PORT, CALLER, 5000, 0xB9, 0, 96); /* another stream */
	rtp_of(f, CALLER, 5000, CALLEE, PORT, 0xA2, 0, 96); /* another stream */
	rtp_of(f, CALLER, PORT, CALLEE, PORT, 0xA, 10, 0);  /* one that was on its way */
	hang_up(f);
	wait_s(f, 3);
	const struct closed *c = only(f, ET_CALL_ANSWERED, 4);
	assert_string_equal(stream_of(c, 0xA2)->codec, "opus/48000/2");
	assert_string_equal(stream_of(c, 0xB9)->codec, "opus/48000/2");
	assert_string_equal(stream_of(c, 0xA)->codec, "PCMU/8000");
	check_stream(c, 0xA, 0, 11);
}

/* ---- Set up ---------------------------------------------------------------------------------- */

static void a_redirection_is_one_call(void **state)
{
	struct fixture *f = *state;
	SAY(f, CALLER, CALLEE, INVITE, "1 INVITE", "a", .port = PORT);
	SAY(f, CALLEE, CALLER, "SIP/2.0 302 Moved", "1 INVITE", "a", .to = "b",
	    .more = "Contact: <sip:carol@x>\r\n");
	SAY(f, CALLER, CALLEE, "ACK sip:bob@x SIP/2.0", "1 ACK", "a", .to = "b");
	SAY(f, CALLER, OTHER, "INVITE sip:carol@x SIP/2.0", "2 INVITE", "a", .port = PORT);
	SAY(f, CALLEE, CALLER, "SIP/2.0 302 Moved", "1 INVITE", "a", .to = "b"); /* again */
	wait_s(f, 40);
	SAY(f, OTHER, CALLER, OK, "2 INVITE", "a", .to = "c", .port = PORT);
	talk(f, OTHER, 0, 10);
	SAY(f, CALLER, OTHER, BYE, "3 BYE", "a", .to = "c");
	wait_s(f, 3);
	(void)only(f, ET_CALL_ANSWERED, 2);
}

static void an_invite_that_comes_again_with_credentials_is_one_call(void **state)
{
	static const char *const refusals[] = { "SIP/2.0 401 Unauthorized",
						"SIP/2.0 407 Proxy Authentication Required" };
	struct fixture *f = *state;
	for (uint32_t i = 0; i < 2; i++) {
		const char *again = i == 0 ? "a" : "a2"; /* some take another tag */
		const char *id = i == 0 ? "1" : "2";
		SAY(f, CALLER, CALLEE, INVITE, "1 INVITE", "a", .port = PORT, .id = id);
		SAY(f, CALLEE, CALLER, refusals[i], "1 INVITE", "a", .to = "p", .id = id);
		SAY(f, CALLER, CALLEE, "ACK sip:bob@x SIP/2.0", "1 ACK", "a", .to = "p", .id = id);
		SAY(f, CALLER, CALLEE, INVITE, "2 INVITE", again, .port = PORT, .id = id);
		SAY(f, CALLEE, CALLER, refusals[i], "1 INVITE", "a", .to = "p", .id = id);
		wait_s(f, 40); /* a late copy of the refusal does not end it */
		SAY(f, CALLEE, CALLER, OK, "2 INVITE", again, .to = "b", .port = PORT, .id = id);
		talk(f, CALLEE, 0, 10);
		SAY(f, CALLEE, CALLER, BYE, "5 BYE", "b", .to = again, .id = id);
		wait_s(f, 3);
		assert_int_equal(f->closed_count, i + 1);
		assert_int_equal(f->closed[i].facts.state, ET_CALL_ANSWERED);
		assert_int_equal(f->closed[i].count, 2);
		check_stream(&f->closed[i], 0xA, 0, 10);
	}
}

static void a_cancel_after_180_costs_no_tape(void **state)
{
	struct fixture *f = *state;
	SAY(f, CALLER, CALLEE, INVITE, "1 INVITE", "a", .port = PORT);
	SAY(f, CALLEE, CALLER, "SIP/2.0 180 Ringing", "1 INVITE", "a", .to = "b");
	wait_s(f, 20);
	SAY(f, CALLER, CALLEE, "CANCEL sip:bob@x SIP/2.0", "1 CANCEL", "a", .port = 0);
	SAY(f, CALLEE, CALLER, OK, "1 CANCEL", "a", .to = "b");
	SAY(f, CALLEE, CALLER, "SIP/2.0 487 Terminated", "1 INVITE", "a", .to = "b");
	wait_s(f, 3);
	assert_false(only(f, ET_CALL_CANCELLED, 0)->opened);
}

static void a_bye_before_the_answer_cancels(void **state)
{
	struct fixture *f = *state;
	SAY(f, CALLER, CALLEE, INVITE, "1 INVITE", "a", .port = PORT);
	SAY(f, CALLEE, CALLER, "SIP/2.0 180 Ringing", "1 INVITE", "a", .to = "b");
	SAY(f, CALLER, CALLEE, BYE, "2 BYE", "a", .to = "b");
	SAY(f, CALLEE, CALLER, OK, "2 BYE", "a", .to = "b");
	SAY(f, CALLEE, CALLER, "SIP/2.0 487 Terminated", "1 INVITE", "a", .to = "b");
	wait_s(f, 3);
	(void)only(f, ET_CALL_CANCELLED, 0);
}

static void an_answer_that_crosses_a_cancel_is_one(void **state)
{
	struct fixture *f = *state;
	SAY(f, CALLER, CALLEE, INVITE, "1 INVITE", "a", .port = PORT);
	SAY(f, CALLER, CALLEE, "CANCEL sip:bob@x SIP/2.0", "1 CANCEL", "a", .port = 0);
	SAY(f, CALLEE, CALLER, OK, "1 INVITE", "a", .to = "b", .port = PORT);
	SAY(f, CALLEE, CALLER, "SIP/2.0 481 None", "1 CANCEL", "a", .to = "b");
	talk(f, CALLEE, 0, 10);
	hang_up(f);
	wait_s(f, 3);
	(void)only(f, ET_CALL_ANSWERED, 2);
}

/* ---- Transfers ------------------------------------------------------------------------------- */

static void a_call_that_replaces_another_is_told_as_one_with_it(void **state)
{
	struct fixture *f = *state;
	call_answered(f);
	talk(f, CALLEE, 0, 10);
	SAY(f, CALLER, CALLEE, "REFER sip:bob@x SIP/2.0", "2 REFER", "a", .to = "b",
	    .more = "Refer-To: <sip:carol@x>\r\n");
	SAY(f, CALLEE, CALLER, "SIP/2.0 202 Accepted", "2 REFER", "a", .to = "b");
	SAY(f, OTHER, CALLEE, INVITE, "1 INVITE", "c", .id = "2", .port = PORT, .user = "carol",
	    .more = "Replaces: 1;to-tag=b;from-tag=a\r\n");
	SAY(f, CALLEE, OTHER, OK, "1 INVITE", "c", .to = "d", .id = "2", .port = 6000);
	hang_up(f);
	rtp(f, OTHER, PORT, CALLEE, 6000, 0xC, 0);
	SAY(f, OTHER, CALLEE, BYE, "2 BYE", "c", .to = "d", .id = "2");
	/* It says so, and knows no tags of it. */
	SAY(f, OTHER, CALLEE, INVITE, "1 INVITE", "e", .id = "3", .port = PORT,
	    .more = "Replaces: 1;to-tag=b;from-tag=guessed\r\n");
	SAY(f, CALLEE, OTHER, "SIP/2.0 481 None", "1 INVITE", "e", .to = "x", .id = "3");
	wait_s(f, 40);
	assert_int_equal(f->closed_count, 3);
	const struct closed *old = &f->closed[0];
	const struct closed *next = &f->closed[1];
	assert_string_equal(old->facts.sip_call_id, "1");
	assert_string_equal(next->facts.sip_call_id, "2");
	assert_memory_equal(old->facts.call, next->facts.call, 16);
	assert_memory_not_equal(old->facts.id, next->facts.id, 16);
	assert_memory_not_equal(old->facts.call, f->closed[2].facts.call, 16);
	assert_int_equal(old->count, 2);
	assert_int_equal(next->count, 1);
	assert_int_equal(old->facts.state, ET_CALL_ANSWERED);
	assert_int_equal(next->facts.state, ET_CALL_ANSWERED);
}

/* ---- Ends ------------------------------------------------------------------------------------ */

static void byes_that_cross_are_one_end(void **state)
{
	struct fixture *f = *state;
	call_answered(f);
	talk(f, CALLEE, 0, 10);
	int64_t end_us = f->now_us;
	SAY(f, CALLER, CALLEE, BYE, "2 BYE", "a", .to = "b");
	SAY(f, CALLEE, CALLER, BYE, "7 BYE", "b", .to = "a");
	SAY(f, CALLEE, CALLER, "SIP/2.0 481 None", "2 BYE", "a", .to = "b");
	SAY(f, CALLER, CALLEE, "SIP/2.0 481 None", "7 BYE", "b", .to = "a");
	wait_s(f, 3);
	assert_int_equal(only(f, ET_CALL_ANSWERED, 2)->facts.end_us, end_us);
}

static void a_bye_with_other_tags_ends_nothing(void **state)
{
	struct fixture *f = *state;
	call_answered(f);
	talk(f, CALLEE, 0, 10);
	SAY(f, 66, CALLEE, BYE, "2 BYE", "evil", .to = "b");
	SAY(f, 66, CALLEE, BYE, "2 BYE", "a", .to = "guessed");
	SAY(f, 66, CALLER, BYE, "2 BYE", "guessed", .to = "a");
	talk(f, CALLEE, 10, 5000);
	hang_up(f);
	wait_s(f, 3);
	const struct closed *c = only(f, ET_CALL_ANSWERED, 2);
	check_stream(c, 0xA, 0, 5010);
	assert_true(c->facts.end_us - c->facts.start_us > 99 * 1000000LL);
}

/* Who knows the tags has seen the dialog: the call is over in the books, from wherever it comes.
 * Its media is recorded all the same: two seconds of silence end the recording, or a minute; what
 * comes then is a recording without signalling. */
static void a_forged_bye_with_the_right_tags_costs_a_name_and_no_packet(void **state)
{
	struct fixture *f = *state;
	call_answered(f);
	talk(f, CALLEE, 0, 10);
	SAY(f, 66, CALLEE, BYE, "2 BYE", "a", .to = "b");
	talk(f, CALLEE, 10, 5000);
	wait_s(f, 40);
	assert_int_equal(f->closed_count, 2);
	assert_int_equal(f->closed[0].facts.state, ET_CALL_ANSWERED);
	assert_int_equal(f->closed[1].facts.state, ET_CALL_MEDIA_ONLY);
	assert_int_equal(f->media, 2 * 5010);
	assert_int_equal(f->closed[0].streams[0].packets + f->closed[1].streams[0].packets, 5010);
}

static void a_bye_that_is_refused_ends_nothing(void **state)
{
	struct fixture *f = *state;
	call_answered(f);
	talk(f, CALLEE, 0, 10);
	SAY(f, 66, CALLEE, BYE, "2 BYE", "a", .to = "b");
	SAY(f, CALLEE, 66, "SIP/2.0 403 Forbidden", "2 BYE", "a", .to = "b");
	talk(f, CALLEE, 10, 5000);
	SAY(f, CALLER, CALLEE, BYE, "3 BYE", "a", .to = "b");
	SAY(f, CALLEE, CALLER, "SIP/2.0 401 Unauthorized", "3 BYE", "a", .to = "b");
	talk(f, CALLEE, 5010, 10);
	hang_up(f);
	wait_s(f, 3);
	check_stream(only(f, ET_CALL_ANSWERED, 2), 0xA, 0, 5020);
}

/* An INVITE with the same Call-ID that somebody else makes up does not take the call away. */
static void a_forged_invite_does_not_become_the_call(void **state)
{
	struct fixture *f = *state;
	SAY(f, CALLER, CALLEE, INVITE, "1 INVITE", "a", .port = PORT);
	SAY(f, 66, CALLEE, INVITE, "7 INVITE", "evil", .port = 9000);
	SAY(f, CALLEE, 66, "SIP/2.0 482 Loop", "7 INVITE", "evil", .to = "z");
	SAY(f, CALLEE, CALLER, OK, "1 INVITE", "a", .to = "b", .port = PORT);
	talk(f, CALLEE, 0, 10);
	hang_up(f);
	wait_s(f, 3);
	const struct closed *c = only(f, ET_CALL_ANSWERED, 2);
	assert_int_equal(stream_of(c, 0xA)->packets, 10);
	assert_int_equal(stream_of(c, 0xA)->party, 0);
}

static void a_bye_whose_answer_was_not_seen_ends_the_call(void **state)
{
	struct fixture *f = *state;
	SAY(f, CALLER, CALLEE, INVITE, "1 INVITE", "a", .port = PORT);
	talk(f, CALLEE, 0, 10);
	SAY(f, CALLEE, CALLER, BYE, "7 BYE", "b", .to = "a");
	wait_s(f, 3);
	(void)only(f, ET_CALL_PARTIAL, 2); /* whether it was answered nobody saw */
}

static void a_call_joined_in_its_middle_lasts_until_its_bye(void **state)
{
	struct fixture *f = *state;
	SAY(f, CALLER, CALLEE, BYE, "9 BYE", "x", .to = "y", .id = "gone"); /* no call */
	SAY(f, CALLER, CALLEE, "UPDATE sip:bob@x SIP/2.0", "9 UPDATE", "x", .to = "y",
	    .id = "gone");
	assert_int_equal(f->engine->call_count, 0);
	SAY(f, CALLEE, CALLER, "INVITE sip:alice@x SIP/2.0", "5 INVITE", "b", .to = "a",
	    .port = PORT);
	SAY(f, CALLER, CALLEE, "SIP/2.0 488 Not Acceptable", "5 INVITE", "b", .to = "a");
	wait_s(f, 40); /* what is refused is not the call */
	talk(f, CALLEE, 0, 10);
	SAY(f, CALLEE, CALLER, "INVITE sip:alice@x SIP/2.0", "6 INVITE", "b", .to = "a",
	    .port = PORT);
	SAY(f, CALLER, CALLEE, OK, "6 INVITE", "b", .to = "a", .port = PORT);
	talk(f, CALLEE, 10, 10);
	SAY(f, CALLER, CALLEE, BYE, "9 BYE", "a", .to = "b");
	wait_s(f, 3);
	const struct closed *c = only(f, ET_CALL_ANSWERED, 2);
	check_stream(c, 0xA, 1, 20); /* who speaks first in what was seen is the caller here */
	check_stream(c, 0xB2, 0, 20);
}

static void a_port_is_used_again_though_no_bye_was_seen(void **state)
{
	struct fixture *f = *state;
	call_answered(f);
	talk(f, CALLEE, 0, 10);
	wait_s(f, 60);
	SAY(f, CALLER, CALLEE, INVITE, "1 INVITE", "x", .port = PORT, .id = "2");
	SAY(f, CALLEE, CALLER, OK, "1 INVITE", "x", .to = "y", .port = PORT, .id = "2");
	for (uint32_t i = 0; i < 10; i++) {
		rtp(f, CALLER, PORT, CALLEE, PORT, 0x77, i);
		rtp(f, CALLEE, PORT, CALLER, PORT, 0x78, i);
	}
	SAY(f, CALLER, CALLEE, BYE, "2 BYE", "x", .to = "y", .id = "2");
	wait_s(f, 3);
	const struct closed *c = only(f, ET_CALL_ANSWERED, 2);
	assert_string_equal(c->facts.sip_call_id, "2");
	assert_int_equal(stream_of(c, 0x77)->packets, 10);
	assert_int_equal(stream_of(c, 0x77)->association, ET_ASSOCIATION_INFERRED);
	wait_s(f, 14400);
	assert_int_equal(f->closed_count, 2);
	assert_int_equal(f->closed[1].facts.state, ET_CALL_PARTIAL);
	assert_int_equal(f->closed[1].count, 2);
	assert_int_equal(stream_of(&f->closed[1], 0xA)->packets, 10);
}

/* Five calls on one 5-tuple, all set up before any of them speaks. With a=ssrc in their
 * descriptions each stream says so, whatever the order; without, the order of the calls is taken
 * for that of the streams, both directions of a call find each other by their SSRC, and the streams
 * say that this is inferred. */
static void five_calls_on_one_tuple(struct fixture *f, bool told, bool one_ssrc)
{
	static const uint32_t order[2][5] = { { 0, 1, 2, 3, 4 }, { 3, 0, 4, 2, 1 } };
	char id[5][4];
	for (uint32_t i = 0; i < 5; i++) {
		char a[64];
		char b[64];
		(void)snprintf(id[i], sizeof(id[i]), "c%u", i);
		(void)snprintf(a, sizeof(a), "a=ssrc:%u cname:a\r\n", 0xA00 + i);
		(void)snprintf(b, sizeof(b), "a=ssrc:%u cname:b\r\n",
			       (one_ssrc ? 0xA00 : 0xB00) + i);
		SAY(f, CALLER, CALLEE, INVITE, "1 INVITE", "a", .port = PORT, .id = id[i],
		    .lines = told ? a : NULL);
		SAY(f, CALLEE, CALLER, OK, "1 INVITE", "a", .to = "b", .port = PORT, .id = id[i],
		    .lines = told ? b : NULL);
	}
	for (uint32_t k = 0; k < 50; k++) {
		for (uint32_t i = 0; i < 5; i++) {
			uint32_t call = order[told][i];
			rtp(f, CALLER, PORT, CALLEE, PORT, 0xA00 + call, k);
			rtp(f, CALLEE, PORT, CALLER, PORT, (one_ssrc ? 0xA00 : 0xB00) + call, k);
		}
		f->now_us += 20000;
	}
	for (uint32_t i = 0; i < 5; i++) {
		SAY(f, CALLER, CALLEE, BYE, "9 BYE", "a", .to = "b", .id = id[i]);
	}
	wait_s(f, 3);
	assert_int_equal(f->closed_count, 5);
	for (uint32_t i = 0; i < 5; i++) {
		const struct closed *c = &f->closed[i];
		uint32_t call = (uint32_t)(c->facts.sip_call_id[1] - '0');
		assert_int_equal(c->facts.state, ET_CALL_ANSWERED);
		assert_int_equal(c->count, 2);
		for (uint32_t k = 0; k < 2; k++) {
			const struct et_capture_stream *s = &c->streams[k];
			assert_int_equal(s->ssrc,
					 (s->party == 0 || one_ssrc ? 0xA00 : 0xB00) + call);
			assert_int_equal(s->packets, 50);
			assert_int_equal(s->association,
					 told ? ET_ASSOCIATION_SSRC : ET_ASSOCIATION_INFERRED);
		}
		assert_true(c->streams[0].party != c->streams[1].party);
	}
	f->closed_count = 0;
	wait_s(f, 10);
}

static void calls_on_one_tuple_are_told_by_ssrc_or_inferred(void **state)
{
	struct fixture *f = *state;
	five_calls_on_one_tuple(f, true, false);
	five_calls_on_one_tuple(f, true, true);
	five_calls_on_one_tuple(f, false, true);
	five_calls_on_one_tuple(f, false, false);
}

/* ---- Names ----------------------------------------------------------------------------------- */

static void tags_that_are_long_and_begin_alike_differ(void **state)
{
	struct fixture *f = *state;
	char a[201];
	char b[201];
	memset(a, 'x', sizeof(a) - 1);
	a[sizeof(a) - 1] = '\0';
	memcpy(b, a, sizeof(b));
	b[199] = 'y';
	SAY(f, CALLER, CALLEE, INVITE, "1 INVITE", a, .port = PORT);
	SAY(f, CALLEE, CALLER, OK, "1 INVITE", a, .to = b, .port = PORT);
	SAY(f, CALLEE, CALLER, "INVITE sip:alice@x SIP/2.0", "5 INVITE", b, .to = a, .port = 7000);
	SAY(f, CALLER, CALLEE, OK, "5 INVITE", b, .to = a, .port = 7002);
	rtp(f, CALLER, 7002, CALLEE, 7000, 0xA2, 0);
	rtp(f, CALLEE, 7000, CALLER, 7002, 0xB9, 0);
	SAY(f, CALLEE, CALLER, BYE, "6 BYE", b, .to = a);
	wait_s(f, 3);
	const struct closed *c = only(f, ET_CALL_ANSWERED, 2);
	check_stream(c, 0xA2, 0, 1);
	check_stream(c, 0xB9, 1, 1);
}

static void a_name_with_escapes_is_the_name_they_stand_for(void **state)
{
	struct fixture *f = *state;
	SAY(f, CALLER, CALLEE, INVITE, "1 INVITE", "a", .port = PORT, .user = "%2B420%00%31");
	SAY(f, CALLEE, CALLER, "SIP/2.0 486 Busy", "1 INVITE", "a", .to = "b");
	wait_s(f, 40);
	const struct closed *c = only(f, ET_CALL_FAILED, 0);
	assert_string_equal(c->facts.from, "+420?1");
	assert_string_equal(c->facts.from_uri, "sip:%2B420%00%31@x"); /* as it came */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DIALOG(a_fork_with_one_answer_is_one_recording_with_all_branches),
		DIALOG(of_two_answers_the_last_bye_ends_the_call),
		DIALOG(an_answer_that_nobody_acknowledged_keeps_no_call_open),
		DIALOG(a_branch_that_is_busy_does_not_fail_the_call),
		DIALOG(a_fork_fails_with_the_transaction_above_it),
		DIALOG(a_fork_of_a_thousand_branches_is_bounded),
		DIALOG(early_media_begins_the_recording_before_the_answer),
		DIALOG(an_offer_may_come_in_183_and_its_answer_in_prack),
		DIALOG(a_delayed_offer_stands_in_200_and_its_answer_in_ack),
		DIALOG(an_update_moves_a_port),
		DIALOG(what_a_refused_offer_says_never_was),
		DIALOG(a_hold_of_thirty_minutes_is_one_recording),
		DIALOG(codecs_and_ports_change_in_mid_call),
		DIALOG(a_redirection_is_one_call),
		DIALOG(an_invite_that_comes_again_with_credentials_is_one_call),
		DIALOG(a_cancel_after_180_costs_no_tape),
		DIALOG(a_bye_before_the_answer_cancels),
		DIALOG(an_answer_that_crosses_a_cancel_is_one),
		DIALOG(a_call_that_replaces_another_is_told_as_one_with_it),
		DIALOG(byes_that_cross_are_one_end),
		DIALOG(a_bye_with_other_tags_ends_nothing),
		DIALOG(a_forged_bye_with_the_right_tags_costs_a_name_and_no_packet),
		DIALOG(a_bye_that_is_refused_ends_nothing),
		DIALOG(a_forged_invite_does_not_become_the_call),
		DIALOG(a_bye_whose_answer_was_not_seen_ends_the_call),
		DIALOG(a_call_joined_in_its_middle_lasts_until_its_bye),
		DIALOG(a_port_is_used_again_though_no_bye_was_seen),
		DIALOG(calls_on_one_tuple_are_told_by_ssrc_or_inferred),
		DIALOG(tags_that_are_long_and_begin_alike_differ),
		DIALOG(a_name_with_escapes_is_the_name_they_stand_for),
	};
	return cmocka_run_group_tests_name("node/capture/dialog", tests, NULL, NULL);
}
