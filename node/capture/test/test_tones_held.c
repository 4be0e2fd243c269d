/* Key presses that a rule drops: what is held back meanwhile and when it goes out; what a restart
 * keeps; audio from which they cannot be dropped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/capture/test/tones_kit.h"

/* ---- What is held ---------------------------------------------------------------------------- */

static void what_is_held_is_bounded_and_goes_out_when_nothing_follows(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	for (uint32_t n = 0; n < 50; n++) {
		f->now_us += 20000;
		send_as(f, 0, 0, n, n * 160, 160);
		if (n > 10) {
			assert_in_range(n + 1 - tape.count, 4, 8); /* 80 to 160 ms */
		}
	}
	assert_true(f->engine->slots[0]->opened); /* since the first */
	for (int i = 0; i < 4; i++) {
		f->now_us += 250000;
		et_engine_clock(f->engine, f->now_us);
	}
	assert_int_equal(tape.count, 50);
	assert_memory_equal(tape.packets[49].payload, said[0] + 49 * 160, 160);

	/* A sample a packet: 64 are enough. */
	for (uint32_t n = 0; n < 900; n++) {
		send_as(f, 0, 0, 50 + n, 8000 + n, 1);
		assert_true(50 + n + 1 - tape.count <= 64);
	}
	hang_up(f);
	assert_int_equal(tape.count, 950);
	assert_int_equal(f->engine->media_dropped, 0);
}

static void a_press_at_the_end_of_what_came_is_dropped(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	say_press(0, 0, &five, 960 * MS, 60 * MS);
	for (uint32_t n = 0; n < 50; n++) { /* 40 ms of it */
		f->now_us += 20000;
		send_as(f, 0, 0, n, n * 160, 160);
	}
	for (int i = 0; i < 4; i++) {
		f->now_us += 250000;
		et_engine_clock(f->engine, f->now_us);
	}
	assert_int_equal(tape.count, 50);
	assert_dropped(0, 0, 960 * MS, 40 * MS);
	hang_up(f);
	assert_int_equal(tape.mark_count, 2);
}

/* What arrived before a pause stands before it. */
static void a_pause_waits_for_nothing(void **state)
{
	struct fixture *f = *state;
	struct et_capture_pause pause;
	say(0, 0, 60);
	for (uint32_t n = 0; n < 10; n++) {
		f->now_us += 20000;
		send_as(f, 0, 0, n, n * 160, 160);
	}
	const struct et_call *c = f->engine->slots[0];
	et_engine_clock(f->engine, f->now_us + 1);
	assert_int_equal(et_engine_pause(f->engine, c->facts.id, true, "card", 0, &pause), 0);
	assert_int_equal(tape.count, 10);
	hang_up(f);
	assert_int_equal(f->closed[0].streams[0].packets, 10);
}

/* The recorder is stopped, not the call: nothing is lost; and after that it goes on so. */
static void a_stop_and_a_start_keep_the_promise(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	say_press(0, 0, &five, 500 * MS, 60 * MS);
	for (uint32_t n = 0; n < 50; n++) {
		f->now_us += 20000;
		send_as(f, 0, 0, n, n * 160, 160);
	}
	et_engine_finish(f->engine, false);
	assert_int_equal(tape.count, 50);
	rules.tones = ET_RULE_TONES_KEEP; /* it was promised to this call */
	restart(f, 20000);
	f->engine->sink.media = write_media;
	f->engine->sink.meta = write_meta;
	say_press(0, 0, &five, 2000 * MS, 60 * MS);
	for (uint32_t n = 50; n < 150; n++) {
		f->now_us += 20000;
		send_as(f, 0, 0, n, n * 160, 160);
	}
	hang_up(f);
	assert_int_equal(tape.count, 150);
	for (uint32_t i = 100; i < 103; i++) {
		assert_true(is_silence(0, tape.packets[i].payload[80]));
	}
	assert_int_equal(f->closed[0].count, 2); /* of before and after */
	assert_true(f->closed[0].streams[0].silenced >= 3);
	assert_true(f->closed[0].streams[1].silenced >= 3);
}

/* Its digits are on the tape, from before: the recording says so at its end, too. */
static void a_restart_does_not_forget_that_it_could_not(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	send_as(f, 0, 0, 0, 0, 160);
	f->engine->table_changed = false;
	send_as(f, 0, 9, 1, 160, 160); /* G.722 */
	assert_true(f->engine->table_changed);
	restart(f, 20000);
	hang_up(f);
	assert_string_equal(
		f->closed[0].facts.problem,
		"key presses cannot be dropped from its codec (cannot_drop): masked when "
		"heard");
}

static int no_room(void *arg, uint32_t slot, const struct et_facts *facts, bool restored)
{
	(void)arg;
	(void)slot;
	(void)facts;
	(void)restored;
	return ET_ELIMIT;
}

/* The sink has no room for it, and a header that comes late says that another rule fires. */
static void what_is_held_goes_out_when_the_rule_changes(void **state)
{
	struct fixture *f = *state;
	bye(f, "1");
	wait_s(f, 3);
	f->closed_count = 0;
	rules.count = 1;
	rules.rules[0] = (struct et_rule){
		.name = "all",
		.action = ET_RULE_RECORD,
		.tones = ET_RULE_TONES_KEEP,
		.header_count = 1,
		.headers = { { .name = "Contact", .value = "*alice*" } },
	};
	make_again(f);
	f->engine->sink.media = write_media;
	f->engine->sink.meta = write_meta;
	f->engine->sink.open = no_room;
	sip(f, false, "SIP/2.0 200 OK", "2", "1 INVITE", "ab", 2, 4000);
	say(0, 0, 60);
	for (uint32_t n = 0; n < 3; n++) {
		f->now_us += 20000;
		send_as(f, 0, 0, n, n * 160, 160);
	}
	assert_int_equal(tape.count, 0);
	f->engine->sink.open = sink_open;
	sip(f, true, "INVITE sip:bob@x SIP/2.0\r\nContact: <sip:alice@10.0.0.1>", "2", "2 INVITE",
	    "ab", 1, 4000);
	assert_int_equal(tape.count, 3);
	bye(f, "2");
	wait_s(f, 40);
	assert_int_equal(f->closed[0].streams[0].packets, tape.count);
}

/* Packets that waited until a description named them are heard, too, though they are old. */
static void what_came_before_its_description_is_heard(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	say_press(0, 0, &five, 100 * MS, 60 * MS);
	for (uint32_t n = 0; n < 50; n++) {
		uint8_t p[172] = { 0x80, 0 };
		f->now_us += 20000;
		et_put16(p + 2, (uint16_t)n);
		et_put32(p + 4, 1000000 + n * 160);
		et_put32(p + 8, 0xC);
		memcpy(p + 12, said[0] + n * 160, 160);
		datagram(f, 3, 6000, 4, 6000, p, sizeof(p));
	}
	assert_int_equal(tape.count, 0);
	wait_s(f, 40); /* a call without signalling */
	assert_int_equal(tape.count, 50);
	assert_dropped(0, 0, 100 * MS, 60 * MS);
	assert_true(all_are(0, 0, 300 * MS, 1000 * MS, false));
}

/* An event between waits for its turn; the tape has all in the order of arrival. */
static void events_keep_their_place(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	for (uint32_t n = 0; n < 100; n++) {
		f->now_us += 20000;
		if (n % 3 == 1) {
			uint8_t p[16] = { 0x80, 101 };
			et_put16(p + 2, (uint16_t)n);
			et_put32(p + 4, 1000000 + n * 160);
			et_put32(p + 8, 0xA);
			datagram(f, 1, 4000, 2, 4000, p, sizeof(p));
		} else {
			send_as(f, 0, 0, n, n * 160, 160);
		}
	}
	hang_up(f);
	assert_int_equal(tape.count, 100);
	for (uint32_t n = 0; n < 100; n++) {
		assert_int_equal(tape.packets[n].sequence, n);
		assert_int_equal(tape.packets[n].payload_type, n % 3 == 1 ? 101 : 0);
	}
	assert_string_equal(f->closed[0].facts.problem, "");
}

/* ---- Where it cannot be done ----------------------------------------------------------------- */

static void other_codecs_say_that_they_cannot(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	for (uint32_t n = 0; n < 60; n++) {
		f->now_us += 20000;
		send_as(f, 0, n < 30 ? 0 : 9, n, n * 160, 160); /* G.722 from there on */
	}
	assert_int_equal(tape.count, 60); /* and the others before it */
	for (uint32_t n = 0; n < 60; n++) {
		assert_int_equal(tape.packets[n].sequence, n);
		assert_memory_equal(tape.packets[n].payload, said[0] + n * 160, 160);
	}
	hang_up(f);
	assert_string_equal(
		f->closed[0].facts.problem,
		"key presses cannot be dropped from its codec (cannot_drop): masked when "
		"heard");
	assert_int_equal(f->engine->tones_cannot, 1);
}

static void strict_does_not_write_them(void **state)
{
	struct fixture *f = *state;
	bye(f, "1");
	wait_s(f, 3);
	rules.tones = ET_RULE_TONES_STRICT;
	make_again(f);
	f->closed_count = 0;
	f->engine->sink.media = write_media;
	f->engine->sink.meta = write_meta;
	answered(f, "2", 4000);
	say(0, 0, 60);
	for (uint32_t n = 0; n < 60; n++) {
		f->now_us += 20000;
		send_as(f, 0, n < 30 ? 0 : 9, n, n * 160, 160);
	}
	bye(f, "2");
	wait_s(f, 40);
	assert_int_equal(tape.count, 30);
	assert_int_equal(f->engine->packets.unclaimed[ET_UNCLAIMED_RTP_TONES], 30);
	assert_int_equal(f->closed[0].streams[0].packets, 30);
	assert_int_equal(f->closed[0].streams[0].lost, 0);
	assert_string_equal(
		f->closed[0].facts.problem,
		"key presses cannot be dropped from its codec (cannot_drop): not written");
}

static void packets_that_are_too_long_say_so(void **state)
{
	struct fixture *f = *state;
	say(0, 0, 60);
	send_as(f, 0, 0, 0, 0, 1280); /* 160 ms */
	assert_null(f->engine->slots[0]->cannot_drop);
	send_as(f, 0, 0, 1, 1280, 1281);
	assert_string_equal(f->engine->slots[0]->cannot_drop, "its packets");
	assert_int_equal(tape.count, 2);
	hang_up(f);
}

static void which_sound_it_is(void **state)
{
	(void)state;
	assert_int_equal(et_tones_sound("PCMU", 8000, 1), ET_SOUND_ULAW);
	assert_int_equal(et_tones_sound("pcma", 8000, 1), ET_SOUND_ALAW);
	assert_int_equal(et_tones_sound("PCMA", 16000, 1), ET_SOUND_OTHER);
	assert_int_equal(et_tones_sound("PCMU", 8000, 2), ET_SOUND_OTHER);
	assert_int_equal(et_tones_sound("G722", 8000, 1), ET_SOUND_OTHER);
	assert_int_equal(et_tones_sound("", 0, 1), ET_SOUND_OTHER);
	assert_int_equal(et_tones_sound("tone", 8000, 1), ET_SOUND_OTHER);
	assert_int_equal(et_tones_sound("CN", 16000, 1), ET_SOUND_NONE);
	assert_int_equal(et_tones_sound("telephone-event", 48000, 1), ET_SOUND_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TONES(what_is_held_is_bounded_and_goes_out_when_nothing_follows),
		TONES(a_press_at_the_end_of_what_came_is_dropped),
		TONES(a_pause_waits_for_nothing),
		TONES(a_stop_and_a_start_keep_the_promise),
		TONES(a_restart_does_not_forget_that_it_could_not),
		TONES(what_is_held_goes_out_when_the_rule_changes),
		TONES(what_came_before_its_description_is_heard),
		TONES(events_keep_their_place),
		TONES(other_codecs_say_that_they_cannot),
		TONES(strict_does_not_write_them),
		TONES(packets_that_are_too_long_say_so),
		cmocka_unit_test(which_sound_it_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
