/* Kinds of loss, reordering and duplication, through the real engine to a tape and from the tape to
 * the mix: each sample of each packet that arrived is in its place, exact; where none arrived there
 * is silence; nothing else. The sound is seeded noise: a tone that repeats in step with the packets
 * would hide a packet that is put in the place of another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/audio/mix.h"
#include "node/capture/replay.h"
#include "node/crypto/sign.h"
#include "node/tape/media.h"
#include "node/tape/meta.h"
#include "node/tape/reader.h"
#include "node/tape/wrap.h"

enum {
	PACKETS = 300, /* of a party: six seconds */
	SAMPLES = 160,
	STEP_US = 20000,
	ARRIVALS_MAX = 4 * PACKETS,
	CALLS_MAX = 32,
	FRAMES_MAX = 12 * 8000,
	LINKTYPE_RAW = 101,
};

#define START_US 1700000000000000LL
#define MEDIA_US (START_US + 200000) /* behind the answer */

/* SplitMix64: of a seed, on every machine the same. */
static uint64_t next(uint64_t *state)
{
	uint64_t z = *state += 0x9E3779B97F4A7C15U;
	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
	return z ^ (z >> 31);
}

static uint8_t noise(uint32_t call, uint32_t party, uint32_t sample)
{
	uint64_t state = (uint64_t)call << 48 | (uint64_t)party << 40 | sample;
	return (uint8_t)next(&state);
}

/* ---- Kinds ----------------------------------------------------------------------------------- */

struct arrival {
	int64_t at_us; /* since the first packet was sent */
	uint32_t number;
};

/* What of a party's packets arrives, and when. */
struct way {
	struct arrival a[ARRIVALS_MAX];
	uint32_t count;
};

static void arrive(struct way *w, uint32_t number, int64_t late_us)
{
	assert_true(w->count < ARRIVALS_MAX);
	w->a[w->count++] = (struct arrival){ (int64_t)number * STEP_US + late_us, number };
}

typedef void (*kind_fn)(struct way *w, uint32_t k, uint64_t *random);

static void all(struct way *w, uint32_t k, uint64_t *random)
{
	(void)random;
	arrive(w, k, 0);
}

static void without_the_first(struct way *w, uint32_t k, uint64_t *random)
{
	(void)random;
	if (k > 0) {
		arrive(w, k, 0);
	}
}

static void without_the_last(struct way *w, uint32_t k, uint64_t *random)
{
	(void)random;
	if (k + 1 < PACKETS) {
		arrive(w, k, 0);
	}
}

static void one_in_ten_lost(struct way *w, uint32_t k, uint64_t *random)
{
	if (next(random) % 10 != 0) {
		arrive(w, k, 0);
	}
}

static void half_lost(struct way *w, uint32_t k, uint64_t *random)
{
	if (next(random) % 2 != 0) {
		arrive(w, k, 0);
	}
}

static void each_second_lost(struct way *w, uint32_t k, uint64_t *random)
{
	(void)random;
	if (k % 2 == 0) {
		arrive(w, k, 0);
	}
}

static void bursts_of_ten_lost(struct way *w, uint32_t k, uint64_t *random)
{
	(void)random;
	if (k % 50 < 40) {
		arrive(w, k, 0);
	}
}

static void three_seconds_lost(struct way *w, uint32_t k, uint64_t *random)
{
	(void)random;
	if (k < 100 || k >= 250) {
		arrive(w, k, 0);
	}
}

static void neighbours_swapped(struct way *w, uint32_t k, uint64_t *random)
{
	(void)random;
	arrive(w, k, k % 10 == 4 ? STEP_US + 1 : 0);
}

static void late_by_100_ms(struct way *w, uint32_t k, uint64_t *random)
{
	(void)random;
	arrive(w, k, k % 7 == 3 ? 5 * STEP_US + 1 : 0);
}

static void late_by_a_second(struct way *w, uint32_t k, uint64_t *random)
{
	(void)random;
	arrive(w, k, k % 20 == 7 ? 50 * STEP_US + 1 : 0);
}

static void blocks_of_eight_reversed(struct way *w, uint32_t k, uint64_t *random)
{
	(void)random;
	uint32_t at = k / 8 * 8 + (7 - k % 8);
	arrive(w, k, ((int64_t)at - (int64_t)k) * STEP_US + 8 * STEP_US);
}

static void shuffled_within_200_ms(struct way *w, uint32_t k, uint64_t *random)
{
	arrive(w, k, (int64_t)(next(random) % 200000));
}

static void the_first_after_the_third(struct way *w, uint32_t k, uint64_t *random)
{
	(void)random;
	arrive(w, k, k == 0 ? 2 * STEP_US + 1 : 0);
}

static void jitter_of_15_ms(struct way *w, uint32_t k, uint64_t *random)
{
	arrive(w, k, (int64_t)(next(random) % 15000));
}

static void each_twice_at_once(struct way *w, uint32_t k, uint64_t *random)
{
	(void)random;
	arrive(w, k, 0);
	arrive(w, k, 1);
}

static void some_again_after_a_second(struct way *w, uint32_t k, uint64_t *random)
{
	(void)random;
	arrive(w, k, 0);
	if (k % 9 == 2) {
		arrive(w, k, 50 * STEP_US + 1);
	}
}

static void some_four_times(struct way *w, uint32_t k, uint64_t *random)
{
	arrive(w, k, 0);
	if (next(random) % 8 == 0) {
		arrive(w, k, 10);
		arrive(w, k, 3 * STEP_US + 5);
		arrive(w, k, 9 * STEP_US + 5);
	}
}

static void a_block_of_a_second_again(struct way *w, uint32_t k, uint64_t *random)
{
	(void)random;
	arrive(w, k, 0);
	if (k >= 100 && k < 150) { /* a switch that mirrors a port twice */
		arrive(w, k, 50 * STEP_US + 3);
	}
}

static void lost_late_and_again(struct way *w, uint32_t k, uint64_t *random)
{
	uint64_t fate = next(random) % 16;
	if (fate < 3) {
		return;
	}
	arrive(w, k, fate < 6 ? (int64_t)(next(random) % 300000) : 0);
	if (fate > 12) {
		arrive(w, k, (int64_t)(next(random) % 400000));
	}
}

static void a_stall_and_all_at_once(struct way *w, uint32_t k, uint64_t *random)
{
	(void)random;
	arrive(w, k, k >= 120 && k < 170 ? (int64_t)(170 - k) * STEP_US - (170 - k) : 0);
}

static void only_bursts_of_ten(struct way *w, uint32_t k, uint64_t *random)
{
	(void)random;
	if (k % 60 < 10) {
		arrive(w, k, 0);
	}
}

static const struct {
	const char *name;
	kind_fn fn;
	uint16_t sequence; /* of the first packet */
	uint32_t timestamp;
	bool one_way; /* the callee's side has nothing */
} kinds[] = {
	{ "nothing", all, 1000, 7, false },
	{ "the first lost", without_the_first, 1000, 7, false },
	{ "the last lost", without_the_last, 1000, 7, false },
	{ "one in ten lost", one_in_ten_lost, 1000, 7, false },
	{ "half lost", half_lost, 1000, 7, false },
	{ "each second lost", each_second_lost, 1000, 7, false },
	{ "bursts of ten lost", bursts_of_ten_lost, 1000, 7, false },
	{ "only bursts of ten there", only_bursts_of_ten, 1000, 7, false },
	{ "three seconds lost", three_seconds_lost, 1000, 7, false },
	{ "half lost, over the wrap of the sequence", half_lost, 65400, 7, false },
	{ "neighbours swapped", neighbours_swapped, 1000, 7, false },
	{ "late by 100 ms, over both wraps", late_by_100_ms, 65450, 0xFFFFA000U, false },
	{ "late by a second", late_by_a_second, 1000, 7, false },
	{ "blocks of eight reversed", blocks_of_eight_reversed, 1000, 7, false },
	{ "shuffled within 200 ms", shuffled_within_200_ms, 65500, 7, false },
	{ "the first after the third", the_first_after_the_third, 0, 0, false },
	{ "jitter of 15 ms", jitter_of_15_ms, 1000, 7, false },
	{ "a stall of a second, then all", a_stall_and_all_at_once, 1000, 7, false },
	{ "each twice at once", each_twice_at_once, 1000, 7, false },
	{ "some again after a second", some_again_after_a_second, 65500, 7, false },
	{ "some four times", some_four_times, 1000, 7, false },
	{ "a second again, in one piece", a_block_of_a_second_again, 1000, 7, false },
	{ "lost, late and again", lost_late_and_again, 65500, 0xFFFFA000U, false },
	{ "one way", one_in_ten_lost, 1000, 7, true },
};

static int by_time(const void *a, const void *b)
{
	const struct arrival *x = a;
	const struct arrival *y = b;
	return x->at_us != y->at_us	? (x->at_us > y->at_us) - (x->at_us < y->at_us)
	       : x->number != y->number ? (x->number > y->number) - (x->number < y->number)
					: 0;
}

static void way_of(uint32_t call, uint32_t party, struct way *w)
{
	uint64_t random = call * 2 + party;
	w->count = 0;
	for (uint32_t k = 0; k < PACKETS && !(kinds[call].one_way && party == 1); k++) {
		kinds[call].fn(w, k, &random);
	}
	qsort(w->a, w->count, sizeof(w->a[0]), by_time);
}

/* ---- The capture file ------------------------------------------------------------------------ */

struct frame {
	int64_t time_us;
	uint32_t order;
	uint32_t call;
	uint32_t party;
	uint32_t number; /* of a packet; or of a message, see `sip` */
	bool sip;
};

static int by_frame(const void *a, const void *b)
{
	const struct frame *x = a;
	const struct frame *y = b;
	return x->time_us != y->time_us ? (x->time_us > y->time_us) - (x->time_us < y->time_us)
					: (x->order > y->order) - (x->order < y->order);
}

static void put_le32(FILE *f, uint32_t v)
{
	const uint8_t b[4] = { (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16),
			       (uint8_t)(v >> 24) };
	assert_int_equal(fwrite(b, 1, 4, f), 4);
}

static void write_datagram(FILE *f, int64_t time_us, bool from_callee, uint16_t port,
			   const void *data, size_t size)
{
	uint8_t p[28] = { 0x45 };
	et_put16(p + 2, (uint16_t)(28 + size));
	p[8] = 64;
	p[9] = 17;
	et_put32(p + 12, 0x0A000001U + from_callee);
	et_put32(p + 16, 0x0A000002U - from_callee);
	et_put16(p + 20, port);
	et_put16(p + 22, port);
	et_put16(p + 24, (uint16_t)(8 + size));
	put_le32(f, (uint32_t)(time_us / 1000000));
	put_le32(f, (uint32_t)(time_us % 1000000));
	put_le32(f, (uint32_t)(28 + size));
	put_le32(f, (uint32_t)(28 + size));
	assert_int_equal(fwrite(p, 1, sizeof(p), f), sizeof(p));
	assert_int_equal(fwrite(data, 1, size, f), size);
}

/* Message 0: INVITE, 1: 200, 2: BYE. */
static void write_sip(FILE *f, const struct frame *x, uint16_t port)
{
	static const char *const first[] = { "INVITE sip:b@x SIP/2.0", "SIP/2.0 200 OK",
					     "BYE sip:b@x SIP/2.0" };
	char text[600];
	char body[200] = "";
	if (x->number < 2) {
		(void)snprintf(body, sizeof(body),
			       "v=0\r\nc=IN IP4 10.0.0.%u\r\nm=audio %u RTP/AVP 0\r\n",
			       x->number + 1, port);
	}
	int n = snprintf(
		text, sizeof(text),
		"%s\r\nFrom: <sip:call%u@x>;tag=a\r\nTo: <sip:b@x>%s\r\nCall-ID: %u\r\n"
		"CSeq: %s\r\nContent-Type: application/sdp\r\nContent-Length: %zu\r\n\r\n%s",
		first[x->number], x->call, x->number > 0 ? ";tag=b" : "", x->call,
		x->number < 2 ? "1 INVITE" : "2 BYE", strlen(body), body);
	write_datagram(f, x->time_us, x->number == 1, 5060, text, (size_t)n);
}

static void write_rtp(FILE *f, const struct frame *x, uint16_t port)
{
	uint8_t p[12 + SAMPLES] = { 0x80, x->number == 0 ? 0x80 : 0 };
	et_put16(p + 2, (uint16_t)(kinds[x->call].sequence + x->number));
	et_put32(p + 4, kinds[x->call].timestamp + x->number * SAMPLES);
	et_put32(p + 8, 0xC0000000U + x->call * 2 + x->party);
	for (uint32_t i = 0; i < SAMPLES; i++) {
		p[12 + i] = noise(x->call, x->party, x->number * SAMPLES + i);
	}
	write_datagram(f, x->time_us, x->party == 1, port, p, sizeof(p));
}

static void write_file(const char *path)
{
	uint32_t count = (uint32_t)ET_ARRAY_SIZE(kinds);
	struct frame *frames = calloc((size_t)count * (2 * ARRIVALS_MAX + 3), sizeof(*frames));
	struct way *w = calloc(1, sizeof(*w));
	uint32_t n = 0;
	FILE *f = fopen(path, "wb");
	assert_true(frames != NULL && w != NULL && f != NULL);
	for (uint32_t call = 0; call < count; call++) {
		for (uint32_t m = 0; m < 3; m++) {
			int64_t at = m < 2 ? START_US + m * 1000 : MEDIA_US + 9000000;
			frames[n] = (struct frame){ at, n, call, 0, m, true };
			n++;
		}
		for (uint32_t party = 0; party < 2; party++) {
			way_of(call, party, w);
			for (uint32_t i = 0; i < w->count; i++, n++) {
				frames[n] =
					(struct frame){ MEDIA_US + w->a[i].at_us, n,	call, party,
							w->a[i].number,		  false };
			}
		}
	}
	qsort(frames, n, sizeof(*frames), by_frame);
	put_le32(f, 0xA1B2C3D4U);
	put_le32(f, 4U << 16 | 2U);
	put_le32(f, 0);
	put_le32(f, 0);
	put_le32(f, 65535);
	put_le32(f, LINKTYPE_RAW);
	for (uint32_t i = 0; i < n; i++) {
		uint16_t port = (uint16_t)(4000 + 2 * frames[i].call);
		(frames[i].sip ? write_sip : write_rtp)(f, &frames[i], port);
	}
	assert_int_equal(fclose(f), 0);
	free(frames);
	free(w);
}

/* ---- Tapes ----------------------------------------------------------------------------------- */

struct fixture {
	char dir[64];
	char pcap[128];
	char media[128];
	struct et_secret *sign;
	struct et_secret *kek;
	uint8_t sign_public[32];
	uint8_t kek_public[32];
	struct et_capture_segment segments[CALLS_MAX];
	char files[CALLS_MAX][128];
	uint32_t calls[CALLS_MAX];
	uint32_t count;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const char *tmp = getenv("TMPDIR");
	assert_non_null(f);
	(void)snprintf(f->dir, sizeof(f->dir), "%.32s/et_losses.XXXXXX",
		       tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->pcap, sizeof(f->pcap), "%s/made.pcap", f->dir);
	(void)snprintf(f->media, sizeof(f->media), "%s/media", f->dir);
	assert_int_equal(et_ed25519_generate(&f->sign, f->sign_public, NULL), 0);
	assert_int_equal(et_x25519_generate(&f->kek, f->kek_public, NULL), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	et_secret_free(f->sign);
	et_secret_free(f->kek);
	free(f);
	return 0;
}

static int on_event(void *arg, const struct et_capture_event *ev)
{
	struct fixture *f = arg;
	if (ev->kind == ET_CAPTURE_SEGMENT_OPEN) {
		assert_true(f->count < CALLS_MAX);
		f->segments[f->count] = *ev->segment;
		(void)snprintf(f->files[f->count], sizeof(f->files[0]), "%s", ev->segment->file);
		assert_int_equal(sscanf(ev->recording->from, "call%u", &f->calls[f->count]), 1);
		f->count++;
	}
	return 0;
}

struct reading {
	struct et_mix *mix;
	int party[ET_MEDIA_STREAMS_MAX];
	int16_t (*frames)[2];
	size_t count;
};

static int on_samples(void *arg, const int16_t *samples, size_t frames)
{
	struct reading *r = arg;
	assert_true(r->count + frames <= FRAMES_MAX);
	memcpy(r->frames + r->count, samples, frames * sizeof(*r->frames));
	r->count += frames;
	return 0;
}

static void read_meta(struct reading *r, struct et_view plain)
{
	struct et_meta_reader m;
	struct et_meta_item item;
	assert_int_equal(et_meta_reader_init(&m, plain, NULL), 0);
	while (et_meta_reader_next(&m, &item, NULL) == 1) {
		if (item.type == ET_META_STREAM) {
			r->party[item.stream.stream] = item.stream.party;
		}
	}
}

static void read_media(struct reading *r, struct et_view plain)
{
	struct et_media_decoder d;
	struct et_media_packet p;
	assert_int_equal(et_media_decoder_init(&d, plain, NULL), 0);
	while (et_media_decoder_next(&d, &p, NULL) == 1) {
		struct et_mix_packet mixed = {
			.stream = p.stream,
			.party = (uint8_t)r->party[p.stream],
			.marker = p.marker,
			.sequence = p.sequence,
			.timestamp = p.timestamp,
			.arrival_us = p.arrival_us,
			.codec = et_codec_static(p.payload_type),
			.payload = p.payload,
		};
		assert_int_equal(et_mix_add(r->mix, &mixed), 0);
	}
}

static void play(struct fixture *f, uint32_t at, struct reading *r)
{
	const struct et_capture_segment *s = &f->segments[at];
	char path[512];
	struct et_tape_source source;
	struct et_tape_reader *reader = NULL;
	struct et_tape_record record;
	struct et_secret *dek = NULL;
	int rc = 0;
	(void)snprintf(path, sizeof(path), "%s/%s", f->media, f->files[at]);
	assert_int_equal(et_tape_source_open(path, &source, NULL), 0);
	assert_int_equal(et_dek_unwrap(f->kek, 1, s->recording, s->dek, s->wrap_enc,
				       (struct et_view){ s->wrap_sealed, 48 }, &dek, NULL),
			 0);
	assert_int_equal(et_tape_reader_new(&source, dek, &reader, NULL), 0);
	assert_int_equal(et_mix_new(s->t0_us, 8000, on_samples, r, &r->mix, NULL), 0);
	while ((rc = et_tape_reader_next(reader, &record, NULL)) == 1) {
		if (record.kind == ET_TAPE_MEDIA) {
			read_media(r, record.plain);
		} else if (record.kind == ET_TAPE_META) {
			read_meta(r, record.plain);
		}
	}
	assert_int_equal(rc, 0);
	assert_int_equal(et_mix_finish(r->mix, 0), 0);
	r->mix = et_mix_free(r->mix);
	(void)et_tape_reader_free(reader);
	et_secret_free(dek);
	et_tape_source_close(&source);
}

/* ---- The table ------------------------------------------------------------------------------- */

struct found {
	uint32_t arrived;
	uint32_t unique;
	uint64_t exact;	 /* samples of packets that arrived */
	uint64_t silent; /* samples of packets that did not */
};

static void check_party(const struct reading *r, uint32_t call, uint32_t party, int64_t origin_us,
			struct found *ret)
{
	static struct way w;
	bool there[PACKETS] = { false };
	way_of(call, party, &w);
	for (uint32_t i = 0; i < w.count; i++) {
		ret->unique += !there[w.a[i].number];
		there[w.a[i].number] = true;
	}
	ret->arrived += w.count;
	/* The first that arrived is placed by its arrival, to the nearest sample. */
	int64_t begin = w.count == 0 ? 0
				     : ((MEDIA_US + w.a[0].at_us - origin_us) * 8 + 500) / 1000 -
					       (int64_t)w.a[0].number * SAMPLES;
	for (int64_t i = 0; i < (int64_t)r->count; i++) {
		int64_t at = i - begin;
		bool inside = w.count > 0 && at >= 0 && at < (int64_t)PACKETS * SAMPLES;
		bool sounds = inside && there[at / SAMPLES];
		int16_t expected =
			sounds ? et_ulaw_decode(noise(call, party, (uint32_t)at)) : (int16_t)0;
		if (r->frames[i][party] != expected) {
			fail_msg("%s: party %u, sample %lld (packet %lld): %d, not %d",
				 kinds[call].name, party, (long long)i, (long long)(at / SAMPLES),
				 r->frames[i][party], expected);
		}
		ret->exact += sounds;
		ret->silent += inside && !sounds;
	}
}

static void check_counts(const struct et_capture_recording *r, const struct found *found)
{
	uint64_t packets = 0;
	uint64_t duplicate = 0;
	for (uint32_t i = 0; i < r->stream_count; i++) {
		packets += r->streams[i].packets;
		duplicate += r->streams[i].duplicate;
		assert_int_equal(r->streams[i].association, ET_ASSOCIATION_SDP);
	}
	assert_int_equal(packets, found->arrived);
	assert_int_equal(duplicate, found->arrived - found->unique);
}

static const struct et_capture_recording *recording_of(const struct et_replay_summary *s,
						       const uint8_t id[16])
{
	for (uint32_t i = 0; i < s->call_count; i++) {
		if (memcmp(s->calls[i].recording.id, id, 16) == 0) {
			return &s->calls[i].recording;
		}
	}
	fail_msg("a tape of no recording");
	return NULL;
}

static void each_kind_is_exact_where_present_and_silent_where_absent(void **state)
{
	struct fixture *f = *state;
	struct et_error error = { .text = "" };
	struct et_replay_summary summary;
	const char *files[] = { f->pcap };
	struct et_replay_config config = {
		.files = files,
		.file_count = 1,
		.capture = {
			.media = f->media,
			.node = 7,
			.site = "prg",
			.sign_key = f->sign,
			.kek_id = 1,
			.kek_version = 1,
			.on_event = on_event,
			.arg = f,
		},
	};
	memcpy(config.capture.kek_public, f->kek_public, 32);
	write_file(f->pcap);
	if (et_replay(&config, &summary, &error) < 0) {
		fail_msg("%s", error.text);
	}
	assert_int_equal(f->count, ET_ARRAY_SIZE(kinds));
	assert_int_equal(summary.call_count, ET_ARRAY_SIZE(kinds));
	print_message("%-42s %7s %7s %9s %9s\n", "kind", "arrived", "unique", "exact", "silent");
	for (uint32_t i = 0; i < f->count; i++) {
		struct reading r = { .frames = calloc(FRAMES_MAX, sizeof(*r.frames)) };
		struct found found = { .arrived = 0 };
		uint32_t call = f->calls[i];
		assert_non_null(r.frames);
		play(f, i, &r);
		check_party(&r, call, 0, f->segments[i].t0_us, &found);
		check_party(&r, call, 1, f->segments[i].t0_us, &found);
		check_counts(recording_of(&summary, f->segments[i].recording), &found);
		/* Every sample of what arrived is there, also of the packets behind the last. */
		assert_int_equal(found.exact, (uint64_t)found.unique * SAMPLES);
		print_message("%-42s %7u %7u %9llu %9llu\n", kinds[call].name, found.arrived,
			      found.unique, (unsigned long long)found.exact,
			      (unsigned long long)found.silent);
		free(r.frames);
	}
	et_replay_summary_release(&summary);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			each_kind_is_exact_where_present_and_silent_where_absent, set_up,
			tear_down),
	};
	return cmocka_run_group_tests_name("cluster-tests/harness/losses", tests, NULL, NULL);
}
