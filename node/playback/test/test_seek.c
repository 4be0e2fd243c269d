/* A range is what the whole has there, to the bit, without reading what lies before it: over
 * jitter, lateness, streams that are anchored again and recorders that were restarted; with an
 * INDEX, without one, and without checkpoints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/playback/test/playback_fixture.h"
#include "node/tape/checkpoint.h"

enum {
	LONG_SECONDS = 45, /* of each segment */
	LONG_TOTAL = SEGMENTS * LONG_SECONDS,
	EVERY = 5, /* s: a checkpoint */
};

enum ending { ENDS, NO_INDEX, NO_CHECKPOINTS, OPEN, RECOVERED };

struct tape {
	struct fixture *f;
	struct et_tape *t;
	struct et_tape_state *s;
};

static void put(struct tape *t, enum et_tape_kind kind, uint32_t t_ms, const struct et_buffer *b)
{
	assert_false(b->failed);
	assert_int_equal(et_tape_append(t->t, kind, t_ms, b->data, b->size, NULL), 0);
}

static void describe(struct tape *t)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer meta = { 0 };

	for (unsigned party = 0; party < 2; party++) {
		const struct et_meta_item item = {
			.type = ET_META_STREAM,
			.stream = { .stream = party,
				    .ssrc = 0x1000 + party,
				    .party = (uint8_t)party,
				    .payload_type = party == 0 ? 0 : 8,
				    .channels = 1,
				    .clock_rate = 8000,
				    .codec = et_view_of(party == 0 ? "PCMU" : "PCMA"),
				    .src = et_view_of("192.0.2.1:4000"),
				    .dst = et_view_of("192.0.2.2:5000"),
				    .srtp = et_view_of(t->f->is_protected ? "SRTP" : "") },
		};
		assert_int_equal(et_meta_add(&meta, &item), 0);
	}
	put(t, ET_TAPE_META, 0, &meta);
	et_tape_state_meta(t->s, (struct et_view){ meta.data, meta.size });
}

/* Packet n of the recording. Party 1's sender is restarted at 20, 65 and 110 s, and its packets of
 * every tenth second are late by up to 2 s. */
static struct et_media_packet packet_of(uint32_t n, unsigned party, uint8_t *payload)
{
	const uint32_t restarts = party == 1 ? (n + 25 * 50) / (45 * 50) : 0;
	const int64_t jitter_us = n * 7919 % 11000;

	for (uint32_t i = 0; i < PTIME; i++) {
		payload[i] = said(party, n * PTIME + i);
	}
	return (struct et_media_packet){
		.stream = party,
		.payload_type = party == 0 ? 0 : 8,
		.sequence = (uint16_t)(65000 + n),
		.timestamp = n * PTIME - restarts * 7000000,
		.arrival_us = T0_US + (int64_t)n * 20000 + jitter_us +
			      (party == 1 && n / 50 % 10 == 3 ? n % 50 * 40000 : 0),
		.payload = { payload, PTIME },
	};
}

static void put_packet(struct tape *t, struct et_media_encoder *e, uint32_t n, unsigned party)
{
	uint32_t room[(12 + PTIME + ET_SRTP_OVERHEAD_MAX) / 4 + 1];
	uint8_t *bytes = (uint8_t *)room;
	struct et_media_packet p = packet_of(n, party, bytes + 12);

	if (t->f->is_protected) {
		size_t size = 12 + PTIME;
		bytes[0] = 0x80;
		bytes[1] = p.payload_type;
		et_put16(bytes + 2, p.sequence);
		et_put32(bytes + 4, p.timestamp);
		et_put32(bytes + 8, 0x1000 + party);
		assert_int_equal(et_srtp_seal_rtp(t->f->senders[party], bytes, &size), 0);
		p.payload.size = size - 12;
	}
	assert_int_equal(et_media_encoder_add(e, &p, ET_TAPE_PLAIN_MAX), 0);
	et_tape_state_packet(t->s, &p);
}

static void put_checkpoint(struct tape *t, uint32_t t_ms)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer plain = { 0 };

	assert_int_equal(et_tape_state_write(t->s, &plain), 0);
	put(t, ET_TAPE_CHECKPOINT, t_ms, &plain);
}

static void end_tape(struct tape *t, enum ending ending, struct et_tape_seal *ret)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer plain = { 0 };
	const struct et_tape_signer signer = { .node = 1, .seed = t->f->seed, .now_us = T0_US };

	assert_int_equal(et_tape_state_write(t->s, &plain), 0);
	if (ending == ENDS) {
		assert_int_equal(et_tape_end(t->t, LONG_SECONDS * 1000,
					     (struct et_view){ plain.data, plain.size }, NULL),
				 0);
	}
	if (ending != OPEN && ending != RECOVERED) {
		assert_int_equal(et_tape_finish(t->t, &signer, ret, NULL), 0);
	}
}

static void put_long(struct fixture *f, uint32_t number, enum ending ending)
{
	struct tape t = { .f = f };
	struct et_media_encoder e = { 0 };
	struct et_tape_header header = { .recording = { 9 },
					 .generation = 1,
					 .segment = number + 1,
					 .t0_us =
						 T0_US + number * LONG_SECONDS * INT64_C(1000000) };
	const struct et_tape_signer signer = { .node = 1, .seed = f->seed, .now_us = T0_US };
	struct et_tape_seal seal = { 0 };
	struct et_tape_recovery recovery;

	assert_int_equal(et_secret_random(32, &f->deks[number], NULL), 0);
	assert_int_equal(et_tape_create(f->paths[number], &header, f->deks[number], &t.t, NULL), 0);
	if (f->is_padded) {
		et_tape_pad(t.t, 24576, 0);
	}
	t.s = et_tape_state_new(number == 0 ? header.t0_us : INT64_MIN);
	describe(&t);
	if (f->is_protected && number == 0) {
		put_keys(t.t, 0);
		et_tape_state_keys(t.s);
	}
	for (uint32_t second = 0; second < LONG_SECONDS; second++) {
		et_media_encoder_reset(&e);
		for (uint32_t i = 0; i < 100; i++) {
			put_packet(&t, &e, (number * LONG_SECONDS + second) * 50 + i / 2, i % 2);
		}
		put(&t, ET_TAPE_MEDIA, second * 1000, &e.plain);
		assert_int_equal(et_tape_tick(t.t, (second + 1) * 1000, NULL), 0);
		if (second % EVERY == EVERY - 1 && ending != NO_CHECKPOINTS) {
			put_checkpoint(&t, second * 1000);
		}
	}
	end_tape(&t, ending, &seal);
	(void)et_tape_close(t.t);
	(void)et_tape_state_free(t.s);
	et_media_encoder_release(&e);
	if (ending == RECOVERED) {
		assert_int_equal(et_tape_recover(f->paths[number], &signer, NULL, &recovery, NULL),
				 0);
	}
	f->segments[number] = (struct et_playback_segment){ .generation = 1,
							    .segment = number + 1,
							    .t0_us = header.t0_us };
}

/* ---- A supply that counts ---- */

struct counted {
	struct fixture *f;
	struct et_tape_source file;
	uint64_t bytes;
};

static struct counted counted;

static int counted_read(void *arg, uint64_t offset, void *data, size_t size,
			struct et_error *reterr)
{
	struct counted *c = arg;

	c->bytes += size;
	return c->file.read(c->file.arg, offset, data, size, reterr);
}

static int counted_open(void *arg, const struct et_playback_segment *segment,
			struct et_tape_source *ret, struct et_error *reterr)
{
	int rc = open_segment(arg, segment, &counted.file, reterr);

	*ret = counted.file;
	ret->arg = &counted;
	ret->read = counted_read;
	return rc;
}

static void counted_close(void *arg, struct et_tape_source *source)
{
	(void)source;
	close_segment(arg, &counted.file);
}

/* ---- */

static void long_fixture(struct fixture *f, const enum ending endings[SEGMENTS])
{
	uint8_t public_key[32];

	f->seed = et_secret_free(f->seed);
	assert_int_equal(et_ed25519_generate(&f->seed, public_key, NULL), 0);
	for (unsigned party = 0; f->is_protected && party < 2; party++) {
		uint8_t material[30];
		srtp_key(party, material);
		const struct et_srtp_key key = { .suite = ET_SRTP_AES_CM_128_HMAC_SHA1_80,
						 .material = { material, sizeof(material) } };
		f->senders[party] = et_srtp_free(f->senders[party]);
		assert_int_equal(et_srtp_new(&key, 0x1000 + party, &f->senders[party], NULL), 0);
	}
	for (uint32_t i = 0; i < SEGMENTS; i++) {
		(void)unlink(f->paths[i]);
		f->deks[i] = et_secret_free(f->deks[i]);
		put_long(f, i, endings[i]);
	}
	f->config.verify = false;
	f->config.supply = (struct et_playback_supply){ counted_open, counted_close, open_key, f };
	f->frames_max = (size_t)8000 * (LONG_TOTAL + 10);
	free(f->heard);
	f->heard = calloc(f->frames_max, 4);
	assert_non_null(f->heard);
}

static void ranges_are_of_the_whole(struct fixture *f, const enum ending endings[SEGMENTS])
{
	struct et_playback_summary whole;
	struct et_playback_summary s;

	long_fixture(f, endings);
	assert_int_equal(et_playback_render(&f->config, 0, UINT64_MAX, hear, f, &whole, NULL), 0);
	assert_string_equal(whole.problem, "");
	assert_true(whole.mix.anchors >= 3);
	int16_t *heard = f->heard;
	const size_t frames = f->frames;
	assert_true(frames >= LONG_TOTAL * 8000);
	f->heard = calloc(f->frames_max, 4);
	assert_non_null(f->heard);
	f->config.rate = whole.rate;
	for (size_t first = 0; first < frames + 20000; first += 8000 * 3 + 777) {
		const size_t left = first < frames ? frames - first : 0;
		const size_t want = left < 9999 ? left : 9999;
		f->frames = 0;
		assert_int_equal(et_playback_render(&f->config, first, 9999, hear, f, &s, NULL), 0);
		assert_int_equal(f->frames, want);
		assert_memory_equal(f->heard, heard + first * 2, want * 4);
		assert_int_equal(s.mix.too_late, 0);
	}
	f->config.rate = 0;
	assert_int_equal(et_playback_survey(&f->config, &s, NULL), 0);
	assert_int_equal(s.frames, frames);
	assert_int_equal(s.rate, 8000);
	assert_int_equal(s.segments, SEGMENTS);
	assert_int_equal(s.packets_no_decoder, 0);
	free(heard);
}

static void with_an_index(void **state)
{
	static const enum ending endings[] = { ENDS, ENDS, ENDS };

	ranges_are_of_the_whole(*state, endings);
}

static void without_an_index(void **state)
{
	static const enum ending endings[] = { NO_INDEX, RECOVERED, OPEN };

	ranges_are_of_the_whole(*state, endings);
}

static void without_checkpoints(void **state)
{
	static const enum ending endings[] = { NO_CHECKPOINTS, ENDS, NO_CHECKPOINTS };

	ranges_are_of_the_whole(*state, endings);
}

static void of_padded_tapes(void **state)
{
	struct fixture *f = *state;
	static const enum ending closed[] = { ENDS, ENDS, ENDS };
	static const enum ending others[] = { NO_CHECKPOINTS, RECOVERED, OPEN };

	f->is_padded = true;
	ranges_are_of_the_whole(f, f->is_protected ? others : closed);
}

static void a_range_reads_little(void **state)
{
	struct fixture *f = *state;
	static const enum ending endings[] = { ENDS, ENDS, ENDS };
	struct et_playback_summary s;

	long_fixture(f, endings);
	counted.bytes = 0;
	assert_int_equal(et_playback_render(&f->config, 0, UINT64_MAX, hear, f, &s, NULL), 0);
	const uint64_t all = counted.bytes;
	f->frames = 0;
	f->config.rate = 8000;
	counted.bytes = 0;
	assert_int_equal(et_playback_render(&f->config, 110 * 8000, 800, hear, f, &s, NULL), 0);
	assert_true(counted.bytes < all / 4);
	assert_true(s.packets < LONG_TOTAL * 100 / 4);
	f->config.rate = 0;
	counted.bytes = 0;
	assert_int_equal(et_playback_survey(&f->config, &s, NULL), 0);
	assert_true(counted.bytes < all / 4);
}

/* A checkpoint that was damaged is none: the tape is read from its begin. */
static void a_damaged_checkpoint_is_passed_over(void **state)
{
	struct fixture *f = *state;
	static const enum ending endings[] = { ENDS, ENDS, ENDS };
	struct et_playback_summary s;
	struct et_buffer object = { 0 };

	long_fixture(f, endings);
	assert_int_equal(et_file_read(f->paths[0], 1U << 30, &object, NULL), 0);
	uint64_t at = ET_TAPE_HEADER_SIZE;
	while (object.data[at + 2] != ET_TAPE_CHECKPOINT ||
	       et_get32(object.data + at + 12) < 24000) {
		at += ET_TAPE_RECORD_HEAD_SIZE + et_get32(object.data + at + 4);
	}
	et_buffer_release(&object);
	flip(f->paths[0], (long)at + 30);
	f->config.segment_count = 1;
	f->config.end_us = T0_US + INT64_C(45000000);
	f->config.rate = 8000;
	assert_int_equal(et_playback_render(&f->config, 36 * 8000, 800, hear, f, &s, NULL), 0);
	assert_int_equal(f->frames, 800);
	/* Read from the begin, up to the damage; the rest is silence, and the summary says why. */
	assert_int_equal(s.segments_damaged, 1);
	assert_true(s.packets >= 24 * 100);
}

int main(void)
{
#define TEST(name, up) cmocka_unit_test_setup_teardown(name, up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(with_an_index, set_up),
		TEST(without_an_index, set_up),
		TEST(without_checkpoints, set_up),
		TEST(with_an_index, set_up_protected),
		TEST(without_an_index, set_up_protected),
		TEST(of_padded_tapes, set_up),
		TEST(of_padded_tapes, set_up_protected),
		TEST(a_range_reads_little, set_up),
		TEST(a_damaged_checkpoint_is_passed_over, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
