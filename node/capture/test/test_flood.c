/* What somebody who can send anything cannot take from those who speak: places in the call table,
 * and streams of a call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/capture/test/engine_kit.h"

static void small_table(struct fixture *f)
{
	f->config.limits.calls = 16;
	make_again(f);
}

/* One that speaks, in a table of 16. */
static void good_call(struct fixture *f)
{
	small_table(f);
	answered(f, "good", 4000);
	rtp(f, 1, 4000, 2, 4000, 0xA, 0);
}

static void invites_40(struct fixture *f)
{
	for (uint32_t i = 0; i < 40; i++) {
		char id[16];
		(void)snprintf(id, sizeof(id), "flood%u", i);
		sip(f, true, "INVITE sip:bob@x SIP/2.0", id, "1 INVITE", "a", 1, 9000);
	}
}

static void a_flood_of_invites_does_not_push_out_live_calls(void **state)
{
	struct fixture *f = *state;
	good_call(f);
	invites_40(f);
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
	good_call(f);
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
	small_table(f);
	for (uint16_t i = 0; i < 8; i++) {
		for (uint32_t k = 0; k < 3; k++) {
			rtp(f, 3, (uint16_t)(20000 + i), 4, 30000, 0xF, k);
		}
	}
	wait_s(f, 3);
	assert_int_equal(f->engine->media_only_count, 8);
	invites_40(f);
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
	good_call(f);
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
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_flood_of_invites_does_not_push_out_live_calls),
		TEST(a_flood_of_rtp_does_not_keep_out_calls_with_signalling),
		TEST(a_flood_of_invites_does_not_push_out_calls_without_signalling),
		TEST(answered_calls_without_media_make_room),
		TEST(a_stranger_cannot_take_all_streams_of_a_call),
	};
	return cmocka_run_group_tests_name("node/capture/flood", tests, NULL, NULL);
}
