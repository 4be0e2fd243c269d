/* What the writer lets be seen of a call by somebody who has no key: kinds, times and lengths of
 * its tape's records. Time is that of the packets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "node/capture/test/remove.h"
#include "node/capture/writer_internal.h"
#include "node/crypto/hash.h"
#include "node/crypto/sign.h"
#include "node/tape/meta.h"
#include "node/tape/reader.h"

#define SECOND_US 1000000LL
#define START_US 1700000000000000LL

enum { SECONDS = 70, HEAD = 16, SEEN_MAX = 256 };

struct fixture {
	char media[64];
	struct et_secret *sign;
	struct et_secret *kek;
	struct et_writer *w;
	int64_t now_us;
	bool allowed;
	struct et_capture_segment open;
	struct et_capture_segment sealed;
	uint32_t opened;
	char file[ET_RELATIVE_MAX];
	struct et_capture_metrics metrics;
};

static int on_event(void *arg, const struct et_capture_event *ev)
{
	struct fixture *f = arg;
	if (ev->kind == ET_CAPTURE_SEGMENT_OPEN) {
		f->open = *ev->segment;
		f->opened++;
		(void)snprintf(f->file, sizeof(f->file), "%s", ev->segment->file);
	} else if (ev->kind == ET_CAPTURE_SEGMENT_SEALED) {
		f->sealed = *ev->segment;
	}
	return 0;
}

static bool is_allowed(void *arg)
{
	const struct fixture *f = arg;
	return f->allowed;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	(void)snprintf(f->media, sizeof(f->media), "/tmp/et_pad.XXXXXX");
	assert_non_null(mkdtemp(f->media));
	uint8_t sign_public[32];
	assert_int_equal(et_ed25519_generate(&f->sign, sign_public, NULL), 0);
	f->allowed = true;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	(void)et_secret_free(f->sign);
	assert_int_equal(nftw(f->media, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(f);
	return 0;
}

/* ---- A call ---- */

/* What one party sends at `ms`, in bytes: 0 is nothing. */
typedef size_t (*voice_fn)(uint32_t party, uint32_t ms);

static size_t voice_talks(uint32_t party, uint32_t ms)
{
	return 40 + (ms * 7 + party * 13) % 50;
}

static size_t voice_listens(uint32_t party, uint32_t ms)
{
	const bool speaks = ms / 3000 % 2 == party;
	return speaks ? 30 + ms * 11 % 60 : ms % 400 == 0 ? 3 : 0;
}

static size_t voice_is_silent(uint32_t party, uint32_t ms)
{
	return party == 0 && ms == 0 ? 3 : 0;
}

static size_t voice_of_g711(uint32_t party, uint32_t ms)
{
	(void)party;
	(void)ms;
	return 160;
}

struct call {
	const char *codec;
	voice_fn voice;
	enum et_padding which;
	uint32_t turns_ms; /* from here on it is `then`, by a META; 0: never */
	const char *then;  /* NULL: the same, and silence is not sent */
	uint32_t allow_ms; /* padding is allowed from here on; 0: at once */
	size_t sip_bytes;  /* of a message at 12 s; 0: none */
	uint32_t full_ms;  /* the disk is full from here on, for two seconds; 0: never */
};

/* NULL: silence is not sent. */
static void codec_or_silence_tell(struct fixture *f, const char *name)
{
	struct et_buffer plain = { 0 };
	const struct et_meta_item silence = {
		.type = ET_META_FACT,
		.fact = { .key = et_view_of(ET_FACT_SILENCE), .value = et_view_of("suppressed") },
	};
	const struct et_meta_item item = {
		.type = ET_META_CODEC,
		.codec = { .stream = 0,
			   .payload_type = 97,
			   .channels = 1,
			   .clock_rate = 8000,
			   .codec = et_view_of(name != NULL ? name : "") },
	};
	assert_int_equal(et_meta_add(&plain, name != NULL ? &item : &silence), 0);
	et_writer_meta(f->w, 0, (struct et_view){ plain.data, plain.size });
	et_buffer_release(&plain);
}

static void sip_tell(struct fixture *f, size_t size)
{
	static uint8_t text[4096];
	struct et_buffer plain = { 0 };
	const struct et_meta_item item = {
		.type = ET_META_SIP, .sip = { .time_us = f->now_us, .text = { text, size } }
	};
	assert_int_equal(et_meta_add(&plain, &item), 0);
	et_writer_meta(f->w, 0, (struct et_view){ plain.data, plain.size });
	et_buffer_release(&plain);
}

static void say(struct fixture *f, const struct call *c, uint32_t ms)
{
	static uint8_t sound[256];
	for (uint32_t party = 0; party < 2; party++) {
		const struct et_media_packet p = {
			.stream = party,
			.payload_type = 96,
			.sequence = (uint16_t)(ms / 20),
			.timestamp = ms * 8,
			.arrival_us = f->now_us,
			.payload = { sound, c->voice(party, ms) },
		};
		if (p.payload.size > 0) {
			et_writer_media(f->w, 0, &p);
		}
	}
}

static void disk_is_full(bool full)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = full ? 1 : limit.rlim_max;
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void run(struct fixture *f, const struct call *c)
{
	struct et_writer_config config = {
		.media = f->media,
		.node = 3,
		.sign_key = f->sign,
		.kek_version = 1,
		.calls = 1,
		.live = true,
		.padding = { .which = c->which, .allowed = is_allowed },
		.on_event = on_event,
		.arg = f,
	};
	struct et_facts facts = { .start_us = START_US, .rule = "default" };
	struct et_capture_stream streams[] = { { .number = 0, .clock_hz = 8000 },
					       { .number = 1, .party = 1, .clock_hz = 8000 } };

	f->opened = 0;
	f->allowed = c->allow_ms == 0;
	assert_int_equal(et_x25519_generate(&f->kek, config.kek_public, NULL), 0);
	assert_int_equal(et_writer_new(&config, &f->w, NULL), 0);
	struct et_recovery recovery;
	assert_int_equal(et_writer_recover(f->w, &recovery, NULL), 0);
	et_recovery_release(&recovery);
	f->w->now_us = 0;				       /* of the clock that it has not */
	memcpy(facts.id, config.kek_public, sizeof(facts.id)); /* another one each time */
	et_writer_open(f->w, 0, &facts, false);
	for (int i = 0; i < 2; i++) {
		(void)snprintf(streams[i].codec, sizeof(streams[i].codec), "%s", c->codec);
		et_writer_stream(f->w, 0, &streams[i]);
	}
	for (uint32_t ms = 0; ms < SECONDS * 1000; ms += 20) {
		f->now_us = START_US + ms * 1000LL;
		f->allowed = f->allowed || ms >= c->allow_ms;
		if (c->turns_ms != 0 && ms == c->turns_ms) {
			codec_or_silence_tell(f, c->then);
		}
		if (c->sip_bytes != 0 && ms == 12000) {
			sip_tell(f, c->sip_bytes);
		}
		if (c->full_ms != 0 && (ms == c->full_ms || ms == c->full_ms + 2000)) {
			disk_is_full(ms == c->full_ms);
		}
		say(f, c, ms);
		if (ms % 200 == 0) {
			et_writer_poll(f->w, f->now_us);
		}
	}
	et_writer_poll(f->w, START_US + SECONDS * SECOND_US);
	facts.end_us = f->now_us;
	facts.state = ET_CALL_ANSWERED;
	et_writer_close(f->w, 0, &facts, streams, 2);
	et_writer_sync(f->w);
	et_writer_poll(f->w, f->now_us);
	et_writer_tell_metrics(f->w, &f->metrics);
	assert_int_equal(f->opened, c->full_ms == 0 ? 1 : 2);
	assert_true((f->metrics.media_dropped > 0) == (c->full_ms != 0));
}

static void done(struct fixture *f)
{
	f->metrics = (struct et_capture_metrics){ 0 };
	f->w = et_writer_free(f->w);
	f->kek = et_secret_free(f->kek);
}

/* ---- What is seen of it ---- */

struct seen {
	uint8_t heads[SEEN_MAX][HEAD];
	uint32_t count;
	uint32_t blocks;
	uint32_t checkpoints;
	uint32_t first_block; /* its number */
};

static struct seen seen_of(struct fixture *f)
{
	struct seen seen = { .first_block = UINT32_MAX };
	struct et_tape_source source;
	struct et_tape_report report;
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", f->media, f->file);
	assert_int_equal(et_tape_source_open(path, &source, NULL), 0);
	assert_int_equal(et_tape_verify(&source, NULL, &report, NULL), 0);
	assert_int_equal(report.seal.block_bytes, f->sealed.block_bytes);
	uint64_t at = ET_TAPE_HEADER_SIZE;
	for (; seen.count < report.seal.records; seen.count++) {
		assert_true(seen.count < SEEN_MAX);
		uint8_t *head = seen.heads[seen.count];
		assert_int_equal(source.read(source.arg, at, head, HEAD, NULL), 0);
		seen.checkpoints += head[2] == ET_TAPE_CHECKPOINT;
		if (head[2] == ET_TAPE_BLOCK) {
			seen.first_block = seen.blocks++ == 0 ? seen.count : seen.first_block;
		}
		at += ET_TAPE_RECORD_HEAD_SIZE + et_get32(head + 4);
	}
	et_tape_source_close(&source);
	return seen;
}

/* All packets are in it, as they were sent. */
static void assert_plays(struct fixture *f, const struct call *c)
{
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *reader = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;
	struct et_tape_source source;
	struct et_tape_record record;
	char path[256];
	uint32_t packets = 0;
	uint32_t want = 0;
	struct et_view wrap = { f->open.wrap_sealed, 48 };

	for (uint32_t ms = 0; ms < SECONDS * 1000; ms += 20) {
		want += c->voice(0, ms) > 0;
		want += c->voice(1, ms) > 0;
	}
	(void)snprintf(path, sizeof(path), "%s/%s", f->media, f->file);
	assert_int_equal(et_tape_source_open(path, &source, NULL), 0);
	assert_int_equal(et_dek_unwrap(f->kek, f->open.kek_version, f->open.recording, f->open.dek,
				       f->open.wrap_enc, wrap, &dek, NULL),
			 0);
	assert_int_equal(et_tape_reader_new(&source, dek, &reader, NULL), 0);
	while (et_tape_reader_next(reader, &record, NULL) == 1) {
		struct et_media_decoder d;
		struct et_media_packet p;
		if (record.kind != ET_TAPE_MEDIA) {
			continue;
		}
		assert_int_equal(et_media_decoder_init(&d, record.plain, NULL), 0);
		while (et_media_decoder_next(&d, &p, NULL) == 1) {
			const int64_t ms = (p.arrival_us - START_US) / 1000;
			assert_int_equal(p.payload.size, c->voice(p.stream, (uint32_t)ms));
			packets++;
		}
	}
	assert_int_equal(packets, want);
	et_tape_source_close(&source);
}

static void assert_same(const struct seen *a, const struct seen *b)
{
	assert_int_equal(a->count, b->count);
	assert_memory_equal(a->heads, b->heads, (size_t)a->count * HEAD);
}

/* ---- Tests ---- */

static void two_calls_of_one_length_look_the_same(void **state)
{
	static const struct call calls[] = {
		{ .codec = "opus/48000/2", .voice = voice_talks },
		{ .codec = "opus/48000/2", .voice = voice_listens, .sip_bytes = 900 },
		{ .codec = "AMR/8000", .voice = voice_is_silent },
	};
	struct fixture *f = *state;
	struct seen first;

	for (size_t i = 0; i < ET_ARRAY_SIZE(calls); i++) {
		run(f, &calls[i]);
		assert_plays(f, &calls[i]);
		const struct seen seen = seen_of(f);
		first = i == 0 ? seen : first;
		assert_same(&first, &seen);
		done(f);
	}
	assert_int_equal(first.blocks, SECONDS + 1);
	assert_int_equal(first.checkpoints, SECONDS / 30);
	assert_true(first.first_block <= 2); /* behind what is told of parties and streams */
	assert_int_equal(f->sealed.block_bytes, ET_TAPE_BLOCK_DEFAULT);
}

/* The comparison above can fail: without padding it does. */
static void without_padding_they_do_not(void **state)
{
	static const struct call calls[] = {
		{ .codec = "opus/48000/2", .voice = voice_talks, .which = ET_PADDING_NONE },
		{ .codec = "opus/48000/2", .voice = voice_listens, .which = ET_PADDING_NONE },
	};
	struct fixture *f = *state;
	struct seen seen[2];

	for (size_t i = 0; i < 2; i++) {
		run(f, &calls[i]);
		seen[i] = seen_of(f);
		assert_int_equal(seen[i].blocks, 0);
		assert_int_equal(f->sealed.block_bytes, 0);
		done(f);
	}
	assert_true(seen[0].count != seen[1].count ||
		    memcmp(seen[0].heads, seen[1].heads, sizeof(seen[0].heads)) != 0);
}

static void a_steady_codec_costs_nothing(void **state)
{
	static const struct call g711 = { .codec = "PCMU/8000", .voice = voice_of_g711 };
	static const struct call none = { .codec = "PCMU/8000",
					  .voice = voice_of_g711,
					  .which = ET_PADDING_NONE };
	static const struct call always = { .codec = "PCMU/8000",
					    .voice = voice_of_g711,
					    .which = ET_PADDING_ALWAYS };
	struct fixture *f = *state;

	run(f, &g711);
	const struct seen seen = seen_of(f);
	const uint64_t size = f->sealed.size_bytes;
	done(f);
	run(f, &none);
	const struct seen same = seen_of(f);
	assert_same(&seen, &same);
	assert_int_equal(seen.blocks, 0);
	assert_int_equal(f->sealed.size_bytes, size);
	done(f);
	run(f, &always);
	assert_plays(f, &always);
	assert_int_equal(seen_of(f).first_block, 0);
	assert_int_equal(f->sealed.block_bytes, 24576); /* 16.9 kB a second */
	done(f);
}

static void a_codec_that_comes_later_pads_from_there(void **state)
{
	static const struct call cn = {
		.codec = "PCMA/8000", .voice = voice_of_g711, .turns_ms = 20020, .then = "CN"
	};
	static const struct call keys = { .codec = "PCMA/8000",
					  .voice = voice_of_g711,
					  .turns_ms = 20020,
					  .then = "telephone-event" };
	struct fixture *f = *state;

	run(f, &cn);
	assert_plays(f, &cn);
	const struct seen seen = seen_of(f);
	assert_int_equal(seen.blocks, SECONDS - 20 + 1);
	assert_true(seen.first_block >= 20);
	assert_int_equal(et_get32(seen.heads[seen.first_block] + 12), 20000);
	for (uint32_t i = seen.first_block; i + 2 < seen.count; i++) {
		const uint8_t kind = seen.heads[i][2];
		assert_true(kind == ET_TAPE_BLOCK || kind == ET_TAPE_CHECKPOINT);
	}
	done(f);
	run(f, &keys);
	assert_int_equal(seen_of(f).blocks, 0);
	done(f);
}

static void silence_that_is_not_sent_pads_from_there(void **state)
{
	static const struct call call = { .codec = "PCMU/8000",
					  .voice = voice_of_g711,
					  .turns_ms = 20020 };
	struct fixture *f = *state;

	run(f, &call);
	assert_plays(f, &call);
	assert_int_equal(seen_of(f).blocks, SECONDS - 20 + 1);
	done(f);
}

static void it_waits_until_all_can_read_it(void **state)
{
	static const struct call call = { .codec = "G729/8000",
					  .voice = voice_talks,
					  .allow_ms = 30500 };
	struct fixture *f = *state;

	run(f, &call);
	assert_plays(f, &call);
	assert_int_equal(seen_of(f).blocks, SECONDS - 30 + 1);
	done(f);
}

/* What was gathered is lost with the block, and counted; the next tape is padded from its begin. */
static void a_block_that_cannot_be_written_ends_its_tape(void **state)
{
	static const struct call call = { .codec = "opus/48000/2",
					  .voice = voice_talks,
					  .full_ms = 40500 };
	struct fixture *f = *state;

	run(f, &call);
	/* From second 40 on, which was begun, to the next try, 5 s behind its failure. */
	assert_int_equal(f->metrics.media_dropped, 2 * 50 * 6);
	assert_int_equal(f->metrics.media_dropped + f->metrics.tape_packets, 2 * 50 * SECONDS);
	const struct seen seen = seen_of(f);
	assert_int_equal(seen.first_block, 0);
	assert_int_equal(seen.blocks, SECONDS - 46 + 1);
	done(f);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(two_calls_of_one_length_look_the_same),
		TEST(without_padding_they_do_not),
		TEST(a_steady_codec_costs_nothing),
		TEST(a_codec_that_comes_later_pads_from_there),
		TEST(silence_that_is_not_sent_pads_from_there),
		TEST(it_waits_until_all_can_read_it),
		TEST(a_block_that_cannot_be_written_ends_its_tape),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
