/* From a made capture file to tapes and back: every packet that was sent is in its tape, in order,
 * byte for byte, and nothing else; tapes verify; events come in their order; the mix is the sound
 * that was made, with silence where packets were lost. */
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

#include "cluster-tests/harness/calls.h"
#include "node/audio/mix.h"
#include "node/capture/replay.h"
#include "node/crypto/sign.h"
#include "node/playback/playback.h"
#include "node/tape/media.h"
#include "node/tape/meta.h"
#include "node/tape/reader.h"
#include "node/tape/wrap.h"

enum { CALLS = 12, SECONDS = 4, PACKETS = SECONDS * 50, SEGMENTS_MAX = 64 };

struct told {
	struct et_capture_segment segment; /* as opened, then as sealed */
	char file[128];
	uint32_t call; /* of the generator */
	bool opened;
	bool sealed;
	bool closed;
};

struct fixture {
	char dir[64];
	char pcap[128];
	char media[128];
	struct et_secret *sign;
	uint8_t sign_public[32];
	struct et_secret *kek;
	uint8_t kek_public[32];
	struct told told[SEGMENTS_MAX];
	uint32_t count;
	uint32_t refuse; /* the callback says no to this one (1: the first) */
	uint32_t opens;
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
	(void)snprintf(f->dir, sizeof(f->dir), "%.32s/et_tapes.XXXXXX", tmp != NULL ? tmp : "/tmp");
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

static struct told *find(struct fixture *f, const uint8_t id[16])
{
	for (uint32_t i = 0; i < f->count; i++) {
		if (memcmp(f->told[i].segment.recording, id, 16) == 0) {
			return &f->told[i];
		}
	}
	return NULL;
}

static int on_open(struct fixture *f, const struct et_capture_event *ev)
{
	if (++f->opens == f->refuse) {
		return -ENOSPC;
	}
	assert_true(f->count < SEGMENTS_MAX);
	struct told *t = &f->told[f->count++];
	memcpy(t->segment.recording, ev->recording->id, 16);
	assert_int_equal(sscanf(ev->recording->from, "caller%u", &t->call), 1);
	return 0;
}

static int on_event(void *arg, const struct et_capture_event *ev)
{
	struct fixture *f = arg;
	struct told *t = NULL;
	if (ev->kind == ET_CAPTURE_RECORDING_OPEN) {
		return on_open(f, ev);
	}
	if (ev->kind == ET_CAPTURE_SEGMENT_OPEN) {
		t = find(f, ev->segment->recording);
		assert_non_null(t);
		assert_false(t->opened);
		t->segment = *ev->segment;
		t->opened = true;
		(void)snprintf(t->file, sizeof(t->file), "%s", ev->segment->file);
	} else if (ev->kind == ET_CAPTURE_SEGMENT_SEALED) {
		t = find(f, ev->segment->recording);
		assert_non_null(t);
		assert_true(t->opened && !t->sealed && !t->closed);
		assert_string_equal(t->file, ev->segment->file);
		t->sealed = true;
		memcpy(t->segment.root, ev->segment->root, 32);
		memcpy(t->segment.seal_hash, ev->segment->seal_hash, 32);
		t->segment.records = ev->segment->records;
		t->segment.size_bytes = ev->segment->size_bytes;
	} else if (ev->kind == ET_CAPTURE_RECORDING_CLOSE) {
		t = find(f, ev->recording->id);
		assert_non_null(t);
		assert_true(t->sealed && !t->closed);
		t->closed = true;
	}
	return 0;
}

static void replay(struct fixture *f, const struct et_made_config *made,
		   struct et_made_counts *counts, struct et_replay_summary *summary)
{
	struct et_error error = { .text = "" };
	const char *files[] = { f->pcap };
	struct et_replay_config config = {
		.files = files,
		.file_count = 1,
		.capture = {
			.media = f->media,
			.node = 7,
			.site = "prg",
			.sign_key = f->sign,
			.kek_id = 3,
			.kek_version = 2,
			.on_event = on_event,
			.arg = f,
		},
	};
	memcpy(config.capture.kek_public, f->kek_public, 32);
	assert_int_equal(et_made_write(f->pcap, made, counts, &error), 0);
	assert_int_equal(et_replay(&config, summary, &error), 0);
}

static void check_accounting(const struct et_replay_summary *s, const struct et_made_counts *counts)
{
	uint64_t in_streams = 0;
	for (uint32_t i = 0; i < s->call_count; i++) {
		for (uint32_t k = 0; k < s->calls[i].recording.stream_count; k++) {
			in_streams += s->calls[i].recording.streams[k].packets;
		}
	}
	assert_int_equal(s->packets.total, counts->packets);
	assert_int_equal(et_capture_counted(&s->packets), counts->packets);
	assert_int_equal(s->packets.pending, 0);
	assert_int_equal(s->packets.sip, counts->sip);
	assert_int_equal(s->packets.rtp, counts->rtp);
	assert_int_equal(in_streams, counts->rtp);
}

/* ---- Tapes ----------------------------------------------------------------------------------- */

/* The packets of a party in the order in which the generator sent them. */
static uint32_t sent(const struct et_made_config *made, uint32_t call, uint32_t party,
		     uint32_t ret[2 * PACKETS])
{
	uint32_t n = 0;
	for (uint32_t k = 0; k < PACKETS; k++) {
		enum et_made_fate fate = et_made_fate(made, call, party, k);
		if (fate == ET_MADE_SENT || fate == ET_MADE_TWICE) {
			ret[n++] = k;
		}
		if (fate == ET_MADE_TWICE) {
			ret[n++] = k;
		}
		if (k > 0 && et_made_fate(made, call, party, k - 1) == ET_MADE_LATE) {
			ret[n++] = k - 1;
		}
	}
	return n;
}

struct reading {
	const struct et_made_config *made;
	uint32_t call;
	uint32_t expected[2][2 * PACKETS];
	uint32_t count[2];
	uint32_t at[2];
	int party[ET_MEDIA_STREAMS_MAX]; /* of a stream; -1: unknown */
	uint32_t sip;
	struct et_mix *mix;
};

static void check_packet(struct reading *r, const struct et_media_packet *p)
{
	int party = r->party[p->stream];
	assert_in_range(party, 0, 1);
	assert_false(p->whole || p->rtcp);
	assert_true(r->at[party] < r->count[party]);
	uint32_t number = r->expected[party][r->at[party]++];
	assert_int_equal(p->sequence, (uint16_t)(65000 + r->call + number));
	assert_int_equal(p->timestamp, number * ET_MADE_SAMPLES + r->call * 7);
	assert_int_equal(p->payload_type, r->made->alaw ? 8 : 0);
	assert_int_equal(p->marker, number == 0);
	assert_int_equal(p->payload.size, ET_MADE_SAMPLES);
	for (uint32_t i = 0; i < ET_MADE_SAMPLES; i++) {
		assert_int_equal(p->payload.data[i],
				 et_made_code(r->made->seed, r->call, (uint32_t)party,
					      (uint64_t)number * ET_MADE_SAMPLES + i));
	}
	struct et_mix_packet mixed = {
		.stream = p->stream,
		.party = (uint8_t)party,
		.marker = p->marker,
		.sequence = p->sequence,
		.timestamp = p->timestamp,
		.arrival_us = p->arrival_us,
		.codec = et_codec_static(p->payload_type),
		.payload = p->payload,
	};
	assert_int_equal(et_mix_add(r->mix, &mixed), 0);
}

static void read_media(struct reading *r, struct et_view plain)
{
	struct et_media_decoder d;
	struct et_media_packet p;
	int rc = 0;
	assert_int_equal(et_media_decoder_init(&d, plain, NULL), 0);
	while ((rc = et_media_decoder_next(&d, &p, NULL)) == 1) {
		check_packet(r, &p);
	}
	assert_int_equal(rc, 0);
}

static void read_meta(struct reading *r, struct et_view plain)
{
	struct et_meta_reader m;
	struct et_meta_item item;
	int rc = 0;
	assert_int_equal(et_meta_reader_init(&m, plain, NULL), 0);
	while ((rc = et_meta_reader_next(&m, &item, NULL)) == 1) {
		if (item.type == ET_META_STREAM) {
			r->party[item.stream.stream] = item.stream.party;
			assert_int_equal(item.stream.clock_rate, 8000);
			assert_memory_equal(item.stream.codec.data, r->made->alaw ? "PCMA" : "PCMU",
					    4);
		} else if (item.type == ET_META_SIP) {
			r->sip++;
		}
	}
	assert_int_equal(rc, 0);
}

/* ---- The sound ------------------------------------------------------------------------------- */

struct sound {
	int16_t (*frames)[2];
	size_t count;
};

enum { FRAMES_MAX = (SECONDS + 5) * 8000 };

static int on_samples(void *arg, const int16_t *samples, size_t frames)
{
	struct sound *s = arg;
	assert_true(s->count + frames <= FRAMES_MAX);
	memcpy(s->frames + s->count, samples, frames * sizeof(*s->frames));
	s->count += frames;
	return 0;
}

/* The whole of it, from the place where the party's first packet lies. */
static void check_sound(const struct reading *r, const struct sound *s, uint32_t party,
			int64_t origin_us)
{
	uint32_t first = r->expected[party][0];
	int64_t first_us = ET_MADE_MEDIA_US + (int64_t)first * 20000 +
			   (int64_t)(2 * r->call + party) * 20000 / (2 * CALLS);
	/* Placed by arrival, to the nearest sample. */
	int64_t begin =
		((first_us - origin_us) * 8 + 500) / 1000 - (int64_t)first * ET_MADE_SAMPLES;
	bool there[PACKETS] = { false };
	for (uint32_t i = 0; i < r->count[party]; i++) {
		there[r->expected[party][i]] = true;
	}
	for (int64_t i = 0; i < (int64_t)s->count; i++) {
		int64_t at = i - begin;
		bool inside = at >= 0 && at < (int64_t)PACKETS * ET_MADE_SAMPLES;
		int16_t expected = 0;
		if (inside && there[at / ET_MADE_SAMPLES]) {
			uint8_t code = et_made_code(r->made->seed, r->call, party, (uint64_t)at);
			expected = r->made->alaw ? et_alaw_decode(code) : et_ulaw_decode(code);
		}
		assert_int_equal(s->frames[i][party], expected);
	}
}

static void check_tape(struct fixture *f, const struct told *t, const struct et_made_config *made)
{
	char path[512];
	struct et_tape_source source;
	struct et_tape_report report;
	struct et_tape_reader *reader = NULL;
	struct et_tape_record record;
	struct et_secret *dek = NULL;
	struct et_error error = { .text = "" };
	(void)snprintf(path, sizeof(path), "%s/%s", f->media, t->file);
	assert_int_equal(et_tape_source_open(path, &source, &error), 0);
	struct et_tape_expect expect = {
		.recording = t->segment.recording,
		.generation = 1,
		.segment = 1,
		.header_hash = t->segment.header_hash,
		.root = t->segment.root,
		.seal_hash = t->segment.seal_hash,
		.signer_public = f->sign_public,
	};
	assert_int_equal(et_tape_verify(&source, &expect, &report, &error), 0);
	assert_int_equal(report.seal.records, t->segment.records);
	assert_int_equal(report.seal.size_bytes, t->segment.size_bytes);
	assert_int_equal(
		et_dek_unwrap(f->kek, 2, t->segment.recording, t->segment.dek, t->segment.wrap_enc,
			      (struct et_view){ t->segment.wrap_sealed, 48 }, &dek, &error),
		0);
	assert_int_equal(et_tape_reader_new(&source, dek, &reader, &error), 0);

	struct sound sound = { .frames = calloc(FRAMES_MAX, sizeof(*sound.frames)) };
	struct reading r = { .made = made, .call = t->call };
	memset(r.party, -1, sizeof(r.party));
	assert_non_null(sound.frames);
	assert_int_equal(et_mix_new(t->segment.t0_us, 8000, on_samples, &sound, &r.mix, &error), 0);
	for (uint32_t party = 0; party < 2; party++) {
		r.count[party] = sent(made, t->call, party, r.expected[party]);
	}
	int rc = 0;
	while ((rc = et_tape_reader_next(reader, &record, &error)) == 1) {
		if (record.kind == ET_TAPE_MEDIA) {
			read_media(&r, record.plain);
		} else if (record.kind == ET_TAPE_META) {
			read_meta(&r, record.plain);
		}
	}
	assert_int_equal(rc, 0);
	assert_int_equal(r.at[0], r.count[0]);
	assert_int_equal(r.at[1], r.count[1]);
	assert_int_equal(r.sip, 7);
	assert_int_equal(et_mix_finish(r.mix, 0), 0);
	check_sound(&r, &sound, 0, t->segment.t0_us);
	check_sound(&r, &sound, 1, t->segment.t0_us);

	(void)et_mix_free(r.mix);
	free(sound.frames);
	(void)et_tape_reader_free(reader);
	et_secret_free(dek);
	et_tape_source_close(&source);
}

static void check_all(struct fixture *f, const struct et_made_config *made)
{
	struct et_made_counts counts;
	struct et_replay_summary summary;
	replay(f, made, &counts, &summary);
	check_accounting(&summary, &counts);
	assert_int_equal(summary.call_count, CALLS);
	assert_int_equal(f->count, CALLS);
	assert_int_equal(summary.metrics.tape_packets, counts.rtp);
	assert_int_equal(summary.metrics.media_dropped, 0);
	uint64_t duplicate = 0;
	uint64_t late = 0;
	for (uint32_t i = 0; i < summary.call_count; i++) {
		const struct et_capture_recording *r = &summary.calls[i].recording;
		assert_int_equal(r->state, ET_CALL_ANSWERED);
		assert_int_equal(r->stream_count, 2);
		for (uint32_t k = 0; k < 2; k++) {
			assert_int_equal(r->streams[k].association, ET_ASSOCIATION_SDP);
			duplicate += r->streams[k].duplicate;
			late += r->streams[k].late;
		}
	}
	assert_int_equal(duplicate, counts.duplicate);
	assert_int_equal(late, counts.late);
	for (uint32_t i = 0; i < f->count; i++) {
		assert_true(f->told[i].opened && f->told[i].sealed && f->told[i].closed);
		check_tape(f, &f->told[i], made);
	}
	et_replay_summary_release(&summary);
}

static void every_packet_is_in_its_tape(void **state)
{
	struct et_made_config made = { .calls = CALLS, .seconds = SECONDS, .seed = 11 };
	check_all(*state, &made);
}

static void losses_late_and_repeated_packets_are_kept_as_they_came(void **state)
{
	struct et_made_config made = {
		.calls = CALLS,
		.seconds = SECONDS,
		.seed = 12,
		.alaw = true,
		.vlan = 7,
		.loss_permille = 40,
		.reorder_permille = 40,
		.duplicate_permille = 20,
	};
	check_all(*state, &made);
}

/* ---- Checkpoints ----------------------------------------------------------------------------- */

enum { LONG_SECONDS = 100 };

/* A supply of one tape. */
struct one_tape {
	struct fixture *f;
	const struct told *t;
};

static int one_open(void *arg, const struct et_playback_segment *segment,
		    struct et_tape_source *ret, struct et_error *reterr)
{
	const struct one_tape *one = arg;
	char path[512];
	(void)segment;
	(void)snprintf(path, sizeof(path), "%s/%s", one->f->media, one->t->file);
	return et_tape_source_open(path, ret, reterr);
}

static void one_close(void *arg, struct et_tape_source *source)
{
	(void)arg;
	et_tape_source_close(source);
}

static int one_key(void *arg, const struct et_tape_header *header, struct et_secret **ret,
		   struct et_error *reterr)
{
	const struct one_tape *one = arg;
	const struct et_capture_segment *s = &one->t->segment;
	(void)header;
	return et_dek_unwrap(one->f->kek, 2, s->recording, s->dek, s->wrap_enc,
			     (struct et_view){ s->wrap_sealed, 48 }, ret, reterr);
}

struct heard {
	int16_t (*frames)[2];
	size_t count;
	size_t max;
};

static int on_heard(void *arg, const int16_t *samples, size_t frames)
{
	struct heard *h = arg;
	assert_true(h->count + frames <= h->max);
	memcpy(h->frames + h->count, samples, frames * sizeof(*h->frames));
	h->count += frames;
	return 0;
}

static void check_checkpoints(const struct et_playback_config *config, struct one_tape *one)
{
	struct et_tape_reader *reader = NULL;
	struct et_secret *dek = NULL;
	struct et_tape_source source;
	struct et_tape_record record;
	uint32_t counts[ET_TAPE_END + 1] = { 0 };
	assert_int_equal(one_open(one, config->segments, &source, NULL), 0);
	assert_int_equal(one_key(one, NULL, &dek, NULL), 0);
	assert_int_equal(et_tape_reader_new(&source, dek, &reader, NULL), 0);
	while (et_tape_reader_next(reader, &record, NULL) == 1) {
		counts[record.kind]++;
	}
	assert_int_equal(counts[ET_TAPE_CHECKPOINT], LONG_SECONDS / 30);
	assert_int_equal(counts[ET_TAPE_INDEX], 1);
	assert_int_equal(record.kind, ET_TAPE_END);
	(void)et_tape_reader_free(reader);
	et_secret_free(dek);
	et_tape_source_close(&source);
}

static void a_long_call_is_heard_from_any_second(void **state)
{
	struct fixture *f = *state;
	const struct et_made_config made = { .calls = 1,
					     .seconds = LONG_SECONDS,
					     .seed = 15,
					     .loss_permille = 20,
					     .reorder_permille = 20 };
	struct et_made_counts counts;
	struct et_replay_summary summary;
	struct et_playback_summary played;
	replay(f, &made, &counts, &summary);
	et_replay_summary_release(&summary);
	struct one_tape one = { f, &f->told[0] };
	const struct et_playback_segment segment = { .generation = 1,
						     .segment = 1,
						     .t0_us = one.t->segment.t0_us };
	struct et_playback_config config = { .segments = &segment,
					     .segment_count = 1,
					     .supply = { one_open, one_close, one_key, &one } };
	memcpy(config.recording, one.t->segment.recording, 16);
	check_checkpoints(&config, &one);

	struct heard all = { .max = (LONG_SECONDS + 5) * 8000 };
	struct heard part = { .max = 8000 };
	all.frames = calloc(all.max, sizeof(*all.frames));
	part.frames = calloc(part.max, sizeof(*part.frames));
	assert_non_null(all.frames);
	assert_non_null(part.frames);
	assert_int_equal(et_playback_render(&config, 0, UINT64_MAX, on_heard, &all, &played, NULL),
			 0);
	for (size_t first = 0; first + 8000 <= all.count; first += 8000 * 7) {
		part.count = 0;
		assert_int_equal(
			et_playback_render(&config, first, 8000, on_heard, &part, &played, NULL),
			0);
		assert_int_equal(part.count, 8000);
		assert_memory_equal(part.frames, all.frames + first, 8000 * sizeof(*part.frames));
		/* 10 s before, 30 s to a checkpoint, and what may come late. */
		assert_true(played.packets < (first < 8000 * 10 ? 25 : 60) * 100);
	}
	assert_int_equal(et_playback_survey(&config, &played, NULL), 0);
	assert_int_equal(played.frames, all.count);
	free(all.frames);
	free(part.frames);
}

static void a_refused_call_leaves_no_tape_and_is_counted(void **state)
{
	struct fixture *f = *state;
	struct et_made_config made = { .calls = CALLS, .seconds = 1, .seed = 13 };
	struct et_made_counts counts;
	struct et_replay_summary summary;
	f->refuse = 3;
	replay(f, &made, &counts, &summary);
	check_accounting(&summary, &counts);
	assert_int_equal(f->count, CALLS - 1);
	assert_int_equal(summary.metrics.calls_refused_journal, 1);
	assert_int_equal(summary.metrics.media_dropped, 100);
	assert_int_equal(summary.metrics.tape_packets, counts.rtp - 100);
	et_replay_summary_release(&summary);
}

/* A file that ends in the middle of a frame: what was read counts, and it is said. */
static void a_cut_file_gives_what_is_there(void **state)
{
	struct fixture *f = *state;
	struct et_made_config made = { .calls = CALLS, .seconds = 1, .seed = 14 };
	struct et_made_counts counts;
	struct et_replay_summary summary;
	struct et_error error;
	const char *files[] = { f->pcap };
	struct et_replay_config config = { .files = files, .file_count = 1 };
	assert_int_equal(et_made_write(f->pcap, &made, &counts, &error), 0);
	assert_int_equal(truncate(f->pcap, 150001), 0);
	assert_int_equal(et_replay(&config, &summary, &error), 0);
	assert_true(summary.truncated);
	assert_int_equal(summary.error_count, 1);
	assert_string_equal(summary.errors[0].code, "ET_ETRUNCATED");
	assert_non_null(strstr(summary.errors[0].text, f->pcap));
	counts.packets = summary.packets.total;
	counts.rtp = summary.packets.rtp;
	counts.sip = summary.packets.sip;
	assert_true(counts.rtp > 400 && counts.packets < 1260);
	check_accounting(&summary, &counts);
	assert_int_equal(summary.calls[0].recording.state, ET_CALL_PARTIAL);
	et_replay_summary_release(&summary);
	assert_int_equal(truncate(f->pcap, 10), 0);
	assert_int_equal(et_replay(&config, &summary, &error), ET_EMALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_packet_is_in_its_tape, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			losses_late_and_repeated_packets_are_kept_as_they_came, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_long_call_is_heard_from_any_second, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_refused_call_leaves_no_tape_and_is_counted,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_cut_file_gives_what_is_there, set_up, tear_down),
	};
	return cmocka_run_group_tests_name("cluster-tests/harness/tapes", tests, NULL, NULL);
}
