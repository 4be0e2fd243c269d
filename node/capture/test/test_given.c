/* SRTP in the engine: keys that somebody brings by hand, few and many, right and wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/capture/test/srtp_kit.h"

static void keys_by_hand_open_what_no_signalling_explains(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(sender_close)
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 1);
	ET_CLEANUP(sender_close) struct sender callee = sender_of(2, ET_SRTP_AEAD_AES_128_GCM, 2);
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
}

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

/* A call of which nothing says how it is protected, with the bounds on work of a live recorder. */
static void call_live(struct fixture *f)
{
	f->engine->config.deterministic = false;
	call(f, "m=audio 4000 RTP/SAVP 0\r\n", "m=audio 4000 RTP/SAVP 0\r\n");
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
	ET_CLEANUP(sender_close)
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 9);

	call_live(f);
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
}

/* Plain ones are many, and nothing says that they need a key. */
static void keys_by_hand_for_any_source_are_not_tried_on_plain_streams(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(sender_close)
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 9);

	call_live(f);
	give_many(f, 100, &caller);
	strangers_talk(f);
	f->opened = 0;
	send_rtp(f, &caller, 10);
	assert_int_equal(f->opened, 10);
	finish(f);
}

/* All are tried in the end, of a live stream, too, and once. */
static void of_many_keys_by_hand_the_oldest_is_found(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(sender_close)
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 9);

	call_live(f);
	give_many(f, 0, &caller);
	for (uint8_t i = 0; i < 100; i++) {
		struct sender wrong = { .suite = ET_SRTP_AES_CM_128_HMAC_SHA1_80 };
		wrong.material[0] = (uint8_t)(i + 1);
		give(f, &wrong);
	}
	send_rtp(f, &caller, 100);
	assert_true(f->opened > 50);
	finish(f);
}

/* A tag of 32 bits fits a wrong key by chance, as the first packet's does here. */
static void a_key_by_hand_with_short_tags_needs_two_packets(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(sender_close)
	struct sender wrong = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_32, 1);
	ET_CLEANUP(sender_close)
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_32, 9);

	call_live(f);
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
}

/* Its secret may never come, but its key has. */
static void a_key_by_hand_opens_what_waits_for_a_secret(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(sender_close) struct sender caller = sender_of_handshake(1, false);
	ET_CLEANUP(sender_close) struct sender callee = sender_of_handshake(2, true);

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
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(keys_by_hand_open_what_no_signalling_explains),
		TEST(many_keys_by_hand_take_no_time_of_others),
		TEST(keys_by_hand_for_any_source_are_not_tried_on_plain_streams),
		TEST(of_many_keys_by_hand_the_oldest_is_found),
		TEST(a_key_by_hand_with_short_tags_needs_two_packets),
		TEST(a_key_by_hand_opens_what_waits_for_a_secret),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
