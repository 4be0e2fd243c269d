/* SRTP in the engine: keys of crypto lines reach the sink and never the call table, the first
 * packets say which one fits, protection that is only offered, new keys in a re-INVITE; what a real
 * client protected; and which keys stand in which segment of a tape. */
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
#include "node/capture/test/srtp_kit.h"
#include "node/capture/writer_internal.h"
#include "node/crypto/hpke.h"
#include "node/crypto/sign.h"
#include "node/tape/reader.h"
#include "node/tape/wrap.h"

static void of_several_lines_the_one_in_use_opens(void **state)
{
	struct fixture *f = *state;
	char offer[1000];
	char answer[400];
	char lines[4][200];
	ET_CLEANUP(sender_close) struct sender first = sender_of(1, ET_SRTP_AEAD_AES_256_GCM, 1);
	ET_CLEANUP(sender_close)
	struct sender caller = sender_of(1, ET_SRTP_AES_256_CM_HMAC_SHA1_80, 2);
	ET_CLEANUP(sender_close)
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
}

static void a_reinvite_brings_new_keys(void **state)
{
	struct fixture *f = *state;
	char offer[400];
	char answer[400];
	ET_CLEANUP(sender_close)
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 1);
	ET_CLEANUP(sender_close)
	struct sender callee = sender_of(2, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 2);
	ET_CLEANUP(sender_close)
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
}

static void what_is_only_offered_is_decided_by_packets(void **state)
{
	struct fixture *f = *state;
	char offer[400];
	char answer[400];
	ET_CLEANUP(sender_close)
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 1);
	struct sender plain = { .srtp = NULL, .from = 2 };
	ET_CLEANUP(sender_close)
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
}

/* SIP over TLS is read when its secrets come, and an answer may be lost: the tape says from the
 * first packet on what is protected, else it would be played as it is. */
static void media_before_the_answer_is_known_to_be_protected(void **state)
{
	struct fixture *f = *state;
	char text[400];
	ET_CLEANUP(sender_close)
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 1);
	ET_CLEANUP(sender_close)
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
}

static void without_its_key_a_stream_says_so(void **state)
{
	struct fixture *f = *state;
	char offer[400];
	ET_CLEANUP(sender_close)
	struct sender caller = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 1);
	ET_CLEANUP(sender_close)
	struct sender other = sender_of(1, ET_SRTP_AES_CM_128_HMAC_SHA1_80, 9);
	ET_CLEANUP(sender_close)
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
}

static void keys_wait_for_room_and_are_not_in_the_call_table(void **state)
{
	struct fixture *f = *state;
	char offer[400];
	struct et_buffer table = { .data = NULL };
	ET_CLEANUP(sender_close)
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
struct numbers {
	uint32_t low;
	uint32_t high;
	uint32_t count;
	uint32_t limited;
};

static int take_number(void *arg, const struct et_capture_event *ev)
{
	struct numbers *n = arg;
	if (ev->kind == ET_CAPTURE_SEGMENT_OPEN) {
		n->low = n->count == 0 || ev->segment->segment < n->low ? ev->segment->segment
									: n->low;
		n->high = ev->segment->segment > n->high ? ev->segment->segment : n->high;
		n->count++;
	}
	n->limited += ev->kind == ET_CAPTURE_PROBLEM && ev->code == ET_ELIMIT;
	return 0;
}

/* However many secrets come late, and wherever their salts lie: the numbers are this node's. */
static void late_keys_take_no_number_of_another_node(void **state)
{
	(void)state;
	char media[] = "/tmp/et_late.XXXXXX";
	struct numbers n = { .count = 0 };
	uint8_t sign_public[32];
	struct et_secret *sign = NULL;
	struct et_secret *kek = NULL;
	struct et_writer *w = NULL;
	struct et_recovery before;
	const struct et_late_keys late = { .recording = { 7 },
					   .start_us = 1700000000000000LL,
					   .salt = 127 };
	char command[64];

	assert_non_null(mkdtemp(media));
	struct et_writer_config config = { .media = media,
					   .node = 3,
					   .kek_version = 1,
					   .calls = 1,
					   .on_event = take_number,
					   .arg = &n };
	assert_int_equal(et_x25519_generate(&kek, config.kek_public, NULL), 0);
	assert_int_equal(et_ed25519_generate(&sign, sign_public, NULL), 0);
	config.sign_key = sign;
	assert_int_equal(et_writer_new(&config, &w, NULL), 0);
	assert_int_equal(et_openlog_start(w, &before, NULL), 0);
	et_recovery_release(&before);
	for (uint32_t i = 0; i < ET_KEYS_SEGMENTS_MAX + 2; i++) {
		et_writer_late(w, &late, (struct et_view){ (const uint8_t *)"0123456789", 10 });
	}
	et_writer_finish(w);
	assert_int_equal(n.count, ET_KEYS_SEGMENTS_MAX);
	assert_int_equal(n.low, et_keys_segment_base(3) + ET_KEYS_SEGMENTS_MAX);
	assert_int_equal(n.high, et_keys_segment_base(4) - 1);
	assert_true(n.limited > 0);
	(void)et_writer_free(w);
	(void)et_secret_free(kek);
	(void)et_secret_free(sign);
	(void)snprintf(command, sizeof(command), "rm -r %s", media);
	assert_int_equal(system(command), 0);
}

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(of_several_lines_the_one_in_use_opens),
		TEST(a_reinvite_brings_new_keys),
		TEST(what_is_only_offered_is_decided_by_packets),
		TEST(media_before_the_answer_is_known_to_be_protected),
		TEST(without_its_key_a_stream_says_so),
		cmocka_unit_test(what_a_client_protects_is_its_sound_again),
		cmocka_unit_test(every_segment_has_the_keys),
		cmocka_unit_test(late_keys_take_no_number_of_another_node),
		TEST(keys_wait_for_room_and_are_not_in_the_call_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
