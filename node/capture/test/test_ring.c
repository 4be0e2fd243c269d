/* What the writer makes of calls on demand: rings that are lost, and rings that are kept. Time is
 * that of the packets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/capture/test/remove.h"
#include "node/capture/writer_internal.h"
#include "node/crypto/sign.h"
#include "node/tape/keys.h"
#include "node/tape/meta.h"
#include "node/tape/reader.h"

enum { TOLD_MAX = 128, CALLS = 4, FRAME = 160 };

#define SECOND_US 1000000LL
#define START_US 1700000000000000LL
#define REACH_US (40 * SECOND_US)
#define KEEP_FOR_US (30 * SECOND_US)

struct told {
	enum et_capture_event_kind kind;
	struct et_capture_segment segment;
	char file[ET_RELATIVE_MAX];
	char kept[ET_CAPTURE_WHO_MAX];
	char text[160];
	int64_t end_us;
	uint32_t gap_count;
	struct et_capture_gap gaps[4];
};

struct fixture {
	char media[64];
	struct et_secret *sign;
	uint8_t sign_public[32];
	struct et_secret *kek;
	struct et_writer_config config;
	struct et_writer *w;
	int64_t now_us;
	uint32_t sequence[CALLS];
	struct told told[TOLD_MAX];
	uint32_t count;
	enum et_capture_event_kind refuses; /* this kind, ... */
	uint32_t refusals;		    /* ... so often */
	int answer;			    /* of the last keep; 1: none */
	struct et_capture_kept result;
};

static int on_event(void *arg, const struct et_capture_event *ev)
{
	struct fixture *f = arg;
	if (f->refusals > 0 && ev->kind == f->refuses) {
		f->refusals--;
		return -ENOSPC;
	}
	if (ev->kind == ET_CAPTURE_TICK) {
		return 0;
	}
	assert_true(f->count < TOLD_MAX);
	struct told *t = &f->told[f->count++];
	*t = (struct told){ .kind = ev->kind };
	if (ev->segment != NULL) {
		t->segment = *ev->segment;
		(void)snprintf(t->file, sizeof(t->file), "%s", ev->segment->file);
	}
	if (ev->recording != NULL) {
		(void)snprintf(t->kept, sizeof(t->kept), "%s", ev->recording->kept);
		t->end_us = ev->recording->end_us;
		t->gap_count = ev->recording->gap_count;
		assert_true(t->gap_count <= ET_ARRAY_SIZE(t->gaps));
		memcpy(t->gaps, ev->recording->gaps, t->gap_count * sizeof(t->gaps[0]));
	}
	if (ev->text != NULL) {
		(void)snprintf(t->text, sizeof(t->text), "%s", ev->text);
	}
	return 0;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static bool is_nobody(void *arg, const uint8_t id[16])
{
	(void)arg;
	(void)id;
	return false;
}

static void begin(struct fixture *f)
{
	struct et_recovery recovery;
	assert_int_equal(et_writer_new(&f->config, &f->w, NULL), 0);
	assert_int_equal(et_writer_recover(f->w, &recovery, NULL), 0);
	et_writer_close_orphans(f->w, &recovery, is_nobody, NULL);
	et_recovery_release(&recovery);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	(void)snprintf(f->media, sizeof(f->media), "/tmp/et_ring.XXXXXX");
	assert_non_null(mkdtemp(f->media));
	f->now_us = START_US;
	assert_int_equal(et_ed25519_generate(&f->sign, f->sign_public, NULL), 0);
	f->config = (struct et_writer_config){
		.media = f->media,
		.node = 3,
		.sign_key = f->sign,
		.kek_version = 1,
		.calls = CALLS,
		.demand_bytes = 1 << 30,
		.on_event = on_event,
		.arg = f,
	};
	assert_int_equal(et_x25519_generate(&f->kek, f->config.kek_public, NULL), 0);
	begin(f);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	(void)et_writer_free(f->w);
	(void)et_secret_free(f->sign);
	(void)et_secret_free(f->kek);
	assert_int_equal(nftw(f->media, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(f);
	return 0;
}

/* ---- A call ---------------------------------------------------------------------------------- */

static struct et_facts facts_of(const struct fixture *f, uint32_t slot)
{
	struct et_facts facts = {
		.start_us = f->now_us,
		.ring_us = REACH_US,
		.keep_for_us = KEEP_FOR_US,
		.rule = "wanted",
	};
	memset(facts.id, (int)slot + 1, sizeof(facts.id));
	return facts;
}

static void open_call(struct fixture *f, uint32_t slot)
{
	struct et_capture_stream stream = { .number = 1, .codec = "PCMU/8000", .clock_hz = 8000 };
	struct et_facts facts = facts_of(f, slot);
	et_writer_open(f->w, slot, &facts, false);
	et_writer_stream(f->w, slot, &stream);
}

static void poll(struct fixture *f)
{
	et_writer_poll(f->w, f->now_us);
}

/* `seconds` of the call, a packet every 20 ms, each as large as given. */
static void talk(struct fixture *f, uint32_t slot, uint32_t seconds, size_t size)
{
	static uint8_t sound[1400];
	for (uint32_t i = 0; i < seconds * 50; i++) {
		const uint32_t n = f->sequence[slot]++;
		memset(sound, (int)(n & 0x7F), sizeof(sound));
		struct et_media_packet p = {
			.stream = 1,
			.sequence = (uint16_t)n,
			.timestamp = n * FRAME,
			.arrival_us = f->now_us,
			.payload = { sound, size },
		};
		et_writer_media(f->w, slot, &p);
		f->now_us += 20000;
		if (i % 50 == 49) {
			poll(f);
		}
	}
}

/* Time goes on, and nobody says anything: another packet's arrival tells the writer. */
static void wait_s(struct fixture *f, int seconds)
{
	f->w->now_us = f->now_us += seconds * SECOND_US;
	poll(f);
}

static void close_call(struct fixture *f, uint32_t slot)
{
	struct et_facts facts = facts_of(f, slot);
	struct et_capture_stream stream = { .number = 1, .codec = "PCMU/8000" };
	facts.start_us = f->w->slots[slot]->facts.start_us;
	facts.end_us = f->now_us;
	facts.state = ET_CALL_ANSWERED;
	et_writer_close(f->w, slot, &facts, &stream, 1);
}

static void on_answer(struct et_keep_ask *ask, int code)
{
	struct fixture *f = ask->arg;
	f->answer = code;
	f->result = ask->result;
}

static int keep(struct fixture *f, uint32_t slot)
{
	struct et_keep_ask ask = { .done = on_answer, .arg = f };
	struct et_keep keep = { .who = "token:anna", .at_us = f->now_us, .ask = &ask };
	memset(keep.recording, (int)slot + 1, sizeof(keep.recording));
	f->answer = 1;
	et_writer_keep(f->w, &keep);
	assert_int_not_equal(f->answer, 1);
	return f->answer;
}

static void sync_all(struct fixture *f)
{
	et_writer_sync(f->w);
	poll(f);
}

/* ---- What there is --------------------------------------------------------------------------- */

static uint32_t count(const struct fixture *f, enum et_capture_event_kind kind)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < f->count; i++) {
		n += f->told[i].kind == kind;
	}
	return n;
}

static const struct told *first(const struct fixture *f, enum et_capture_event_kind kind)
{
	for (uint32_t i = 0; i < f->count; i++) {
		if (f->told[i].kind == kind) {
			return &f->told[i];
		}
	}
	fail_msg("event %d was not told", (int)kind);
	return NULL;
}

static uint32_t files; /* of count_tape() */

static int count_tape(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	files += type == FTW_F && strstr(path, ".evtm") != NULL;
	return 0;
}

static uint32_t tapes_in(const struct fixture *f, const char *folder)
{
	char path[128];
	(void)snprintf(path, sizeof(path), "%s/%s", f->media, folder);
	files = 0;
	assert_int_equal(nftw(path, count_tape, 16, FTW_PHYS), 0);
	return files;
}

/* Bytes of the logs of open tapes, beyond their heads. */
static uint64_t logged(const struct fixture *f)
{
	uint64_t size = 0;
	for (const struct et_openlog *l = f->w->logs; l != NULL; l = l->next) {
		size += l->size - 5;
	}
	return size;
}

struct content {
	uint32_t packets;
	uint16_t first;
	uint16_t last;
	uint32_t keys;
	uint32_t gaps;
	uint32_t pauses;
	char kept[ET_CAPTURE_WHO_MAX];
};

static void read_meta(struct et_view plain, struct content *c)
{
	struct et_meta_reader m;
	struct et_meta_item item;
	assert_int_equal(et_meta_reader_init(&m, plain, NULL), 0);
	while (et_meta_reader_next(&m, &item, NULL) == 1) {
		c->gaps += item.type == ET_META_MARK && item.mark.what == ET_MARK_GAP;
		c->pauses += item.type == ET_META_MARK && item.mark.what == ET_MARK_PAUSE;
		if (item.type == ET_META_FACT && item.fact.key.size == 4 &&
		    memcmp(item.fact.key.data, "kept", 4) == 0) {
			(void)snprintf(c->kept, sizeof(c->kept), "%.*s", (int)item.fact.value.size,
				       (const char *)item.fact.value.data);
		}
	}
}

static void read_media(struct et_view plain, struct content *c)
{
	struct et_media_decoder d;
	struct et_media_packet p;
	assert_int_equal(et_media_decoder_init(&d, plain, NULL), 0);
	while (et_media_decoder_next(&d, &p, NULL) == 1) {
		if (c->packets == 0) {
			c->first = p.sequence;
		} else {
			assert_int_equal(p.sequence, c->last + 1);
		}
		assert_int_equal(p.payload.data[0], p.sequence & 0x7F);
		c->last = p.sequence;
		c->packets++;
	}
}

/* A tape that was told opens with the key that was told; its packets follow those of the tape
 * before. */
static void read_tape(struct fixture *f, const struct told *t, struct content *c)
{
	char path[256];
	struct et_tape_source source;
	struct et_tape_reader *reader = NULL;
	struct et_tape_record record;
	struct et_secret *dek = NULL;
	struct et_error error = { .text = "" };
	(void)snprintf(path, sizeof(path), "%s/%s", f->media, t->file);
	assert_int_equal(et_tape_source_open(path, &source, &error), 0);
	struct et_view wrap = { t->segment.wrap_sealed, 48 };
	assert_int_equal(et_dek_unwrap(f->kek, t->segment.kek_version, t->segment.recording,
				       t->segment.dek, t->segment.wrap_enc, wrap, &dek, &error),
			 0);
	assert_int_equal(et_tape_reader_new(&source, dek, &reader, &error), 0);
	while (et_tape_reader_next(reader, &record, &error) == 1) {
		if (record.kind == ET_TAPE_MEDIA) {
			read_media(record.plain, c);
		} else if (record.kind == ET_TAPE_META) {
			read_meta(record.plain, c);
		}
		c->keys += record.kind == ET_TAPE_KEYS;
	}
	(void)et_tape_reader_free(reader);
	(void)et_secret_free(dek);
	et_tape_source_close(&source);
}

static struct content read_all(struct fixture *f)
{
	struct content c = { .packets = 0 };
	for (uint32_t i = 0; i < f->count; i++) {
		if (f->told[i].kind == ET_CAPTURE_SEGMENT_OPEN) {
			read_tape(f, &f->told[i], &c);
		}
	}
	return c;
}

/* Each segment was opened and sealed once, and its end told behind them. */
static void assert_whole(const struct fixture *f)
{
	uint32_t opened = count(f, ET_CAPTURE_SEGMENT_OPEN);
	assert_int_equal(count(f, ET_CAPTURE_RECORDING_OPEN), 1);
	assert_int_equal(count(f, ET_CAPTURE_SEGMENT_SEALED), opened);
	assert_int_equal(tapes_in(f, "tapes"), opened);
	assert_int_equal(tapes_in(f, "ring"), 0);
	assert_int_equal(f->told[f->count - 1].kind, ET_CAPTURE_RECORDING_CLOSE);
	assert_int_equal(count(f, ET_CAPTURE_RECORDING_CLOSE), 1);
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void what_nobody_keeps_is_gone(void **state)
{
	struct fixture *f = *state;
	open_call(f, 0);
	talk(f, 0, 100, FRAME);
	/* Four parts of its reach, one that is not older yet, and the open one. */
	assert_in_range(tapes_in(f, "ring"), 4, 6);
	close_call(f, 0);
	wait_s(f, 29);
	assert_in_range(tapes_in(f, "ring"), 4, 6);
	assert_int_equal(f->w->demand_calls, 1);
	assert_true(f->w->demand_used > 0);
	wait_s(f, 2);
	assert_int_equal(tapes_in(f, "ring"), 0);
	assert_int_equal(f->w->demand_dropped, 1);
	assert_int_equal(f->w->demand_calls, 0);
	assert_int_equal(f->w->demand_used, 0);
	assert_int_equal(keep(f, 0), ET_ENOTFOUND);
	assert_int_equal(f->told[f->count - 1].kind, ET_CAPTURE_RING_LOST);
	assert_int_equal(count(f, ET_CAPTURE_RING) + 1, f->count); /* and nothing else */
	assert_int_equal(logged(f), 0);
	assert_int_equal(tapes_in(f, "tapes"), 0);
}

static void what_is_kept_while_it_runs_has_its_last_minutes_and_all_that_comes(void **state)
{
	struct fixture *f = *state;
	open_call(f, 0);
	talk(f, 0, 100, FRAME);
	assert_int_equal(keep(f, 0), 0);
	assert_true(f->result.changed);
	assert_int_equal(f->result.start_us, START_US);
	assert_in_range(f->result.from_us - START_US, 50 * SECOND_US, 60 * SECOND_US);
	const int64_t from_us = f->result.from_us;
	talk(f, 0, 50, FRAME); /* longer than any part: an ordinary tape */
	assert_int_equal(keep(f, 0), 0);
	assert_false(f->result.changed);
	assert_int_equal(f->result.from_us, from_us);
	close_call(f, 0);
	sync_all(f);
	assert_whole(f);
	const struct told *open = first(f, ET_CAPTURE_RECORDING_OPEN);
	assert_string_equal(open->kept, "token:anna");
	assert_int_equal(open->gap_count, 1);
	assert_string_equal(open->gaps[0].cause, "before-ring");
	assert_int_equal(open->gaps[0].from_us, START_US);
	assert_int_equal(open->gaps[0].to_us, from_us);
	struct content c = read_all(f);
	assert_int_equal(c.first, (from_us - START_US) / 20000);
	assert_int_equal(c.last, f->sequence[0] - 1);
	assert_int_equal(c.gaps, 1);
	assert_string_equal(c.kept, "token:anna");
	assert_int_equal(f->w->demand_kept, 1);
	assert_int_equal(f->w->demand_dropped, 0);
	assert_int_equal(count(f, ET_CAPTURE_RING_LOST), 0);
}

static void what_is_kept_from_its_begin_has_no_gap(void **state)
{
	struct fixture *f = *state;
	open_call(f, 0);
	talk(f, 0, 30, FRAME);
	assert_int_equal(keep(f, 0), 0);
	assert_int_equal(f->result.from_us, START_US);
	close_call(f, 0);
	sync_all(f);
	assert_whole(f);
	assert_int_equal(first(f, ET_CAPTURE_RECORDING_OPEN)->gap_count, 0);
	assert_int_equal(read_all(f).packets, 30 * 50);
}

static void it_can_be_kept_after_its_end(void **state)
{
	struct fixture *f = *state;
	open_call(f, 0);
	talk(f, 0, 60, FRAME);
	close_call(f, 0);
	wait_s(f, 25); /* the ring stands still: it reaches back from the end */
	assert_int_equal(keep(f, 0), 0);
	assert_true(f->result.changed);
	assert_int_equal(f->result.end_us, START_US + 60 * SECOND_US);
	assert_in_range(f->result.from_us - START_US, 10 * SECOND_US, 20 * SECOND_US);
	sync_all(f);
	assert_whole(f);
	assert_int_equal(first(f, ET_CAPTURE_RECORDING_OPEN)->end_us, 0);
	assert_int_equal(f->told[f->count - 1].end_us, START_US + 60 * SECOND_US);
	struct content c = read_all(f);
	assert_int_equal(c.first, (f->result.from_us - START_US) / 20000);
	assert_int_equal(c.last, 60 * 50 - 1);
	assert_int_equal(keep(f, 0), ET_ENOTFOUND); /* the catalogue has it now */
}

static void a_journal_that_refuses_is_asked_again(void **state)
{
	struct fixture *f = *state;
	open_call(f, 0);
	talk(f, 0, 30, FRAME);
	f->refuses = ET_CAPTURE_RECORDING_OPEN;
	f->refusals = 1;
	const uint32_t parts = tapes_in(f, "ring");
	assert_int_equal(keep(f, 0), -ENOSPC);
	assert_int_equal(tapes_in(f, "ring"), parts); /* nothing has happened */
	assert_int_equal(tapes_in(f, "tapes"), 0);
	assert_int_equal(f->w->log->refs, 0);
	assert_int_equal(f->w->demand_failed, 1);
	const struct told *problem = first(f, ET_CAPTURE_PROBLEM);
	assert_non_null(strstr(problem->text, "01010101-0101-0101-0101-010101010101"));
	assert_non_null(strstr(problem->text, "tried again in 5 s: the journal takes no"));
	talk(f, 0, 6, FRAME);
	assert_int_equal(count(f, ET_CAPTURE_RECORDING_OPEN), 1);
	close_call(f, 0);
	sync_all(f);
	assert_whole(f);
	assert_int_equal(read_all(f).packets, 36 * 50);
}

static void what_is_kept_in_part_is_not_dropped(void **state)
{
	struct fixture *f = *state;
	open_call(f, 0);
	talk(f, 0, 30, FRAME);
	close_call(f, 0);
	f->refuses = ET_CAPTURE_SEGMENT_OPEN;
	f->refusals = 3;
	assert_int_equal(keep(f, 0), -ENOSPC);
	assert_int_equal(count(f, ET_CAPTURE_RECORDING_OPEN), 1);
	wait_s(f, 6);
	wait_s(f, 60); /* beyond the time in which it can be kept */
	wait_s(f, 6);
	sync_all(f);
	assert_whole(f);
	assert_int_equal(read_all(f).packets, 30 * 50);
	assert_int_equal(f->w->demand_failed, 3);
}

static void the_largest_ring_gives_way(void **state)
{
	struct fixture *f = *state;
	open_call(f, 0);
	open_call(f, 1);
	for (int i = 0; i < 30; i++) {
		talk(f, 0, 1, 1400);
		f->now_us -= SECOND_US;
		talk(f, 1, 1, FRAME);
	}
	const uint64_t small = f->w->slots[1]->ring->count;
	const uint64_t used = f->w->demand_used;
	f->w->config.demand_bytes = used / 2;
	wait_s(f, 1);
	assert_true(f->w->demand_used <= used / 2);
	assert_true(f->w->demand_cut > 0);
	assert_true(f->w->demand_cut_us > 0);
	assert_true(f->w->slots[1]->ring->count >= small);
	f->w->config.demand_bytes = 1;
	talk(f, 0, 1, 1400); /* no room for anything: they begin anew, again and again */
	talk(f, 1, 1, FRAME);
	assert_true(f->w->slots[0]->ring->count <= 1);
	f->w->config.demand_bytes = 1 << 30;
	assert_int_equal(keep(f, 1), 0);
	assert_true(f->result.from_us > START_US + 30 * SECOND_US);
	talk(f, 1, 1, FRAME);
	close_call(f, 1);
	sync_all(f);
	assert_int_equal(count(f, ET_CAPTURE_RECORDING_OPEN), 1);
	assert_int_equal(read_all(f).last, f->sequence[1] - 1);
}

static void recordings_have_the_disk_first(void **state)
{
	struct fixture *f = *state;
	open_call(f, 0);
	talk(f, 0, 30, FRAME);
	open_call(f, 1);
	talk(f, 1, 1, FRAME);
	close_call(f, 1);
	assert_true(tapes_in(f, "ring") > 3);
	f->w->refuse = true;
	wait_s(f, 1);
	assert_int_equal(tapes_in(f, "ring"), 1);  /* the open one */
	assert_int_equal(f->w->demand_dropped, 1); /* nothing was left of the other */
	f->w->refuse = false;
	assert_int_equal(keep(f, 0), 0);
	close_call(f, 0);
	sync_all(f);
	assert_whole(f);
	assert_int_equal(first(f, ET_CAPTURE_RECORDING_OPEN)->gap_count, 1);
}

static void each_part_has_the_keys_and_the_pauses_before_it(void **state)
{
	struct fixture *f = *state;
	open_call(f, 0);
	et_writer_keys(f->w, 0, (struct et_view){ (const uint8_t *)"0123456789", 10 });
	talk(f, 0, 15, FRAME);
	struct et_facts facts = facts_of(f, 0);
	facts.start_us = START_US;
	et_facts_gap(&facts, f->now_us, 0, et_gap_paused);
	et_writer_update(f->w, 0, &facts, NULL, 0);
	wait_s(f, 2);
	facts.gaps[0].to_us = f->now_us;
	et_writer_update(f->w, 0, &facts, NULL, 0);
	et_writer_keys(f->w, 0, (struct et_view){ (const uint8_t *)"late456789", 10 });
	talk(f, 0, 40, FRAME);
	assert_int_equal(count(f, ET_CAPTURE_RECORDING_UPDATE), 0);
	assert_int_equal(keep(f, 0), 0);
	et_writer_update(f->w, 0, &facts, NULL, 0);
	assert_int_equal(count(f, ET_CAPTURE_RECORDING_UPDATE), 1);
	close_call(f, 0);
	sync_all(f);
	const uint32_t segments = count(f, ET_CAPTURE_SEGMENT_OPEN);
	struct content c = read_all(f);
	assert_in_range(segments, 4, 6);
	assert_in_range(c.keys, 2 * segments - 1,
			2 * segments); /* the pause's part got the second */
	assert_true(c.pauses >= segments - 1);
}

/* Its key is not open: footers are for the next start. */
static void without_a_signing_key_the_next_start_seals(void **state)
{
	struct fixture *f = *state;
	(void)et_writer_free(f->w);
	f->config.sign_key = NULL;
	begin(f);
	open_call(f, 0);
	talk(f, 0, 30, FRAME);
	close_call(f, 0);
	assert_int_equal(keep(f, 0), 0);
	sync_all(f);
	assert_int_equal(count(f, ET_CAPTURE_SEGMENT_SEALED), 0);
	(void)et_writer_free(f->w);
	f->config.sign_key = f->sign;
	begin(f);
	sync_all(f);
	assert_whole(f);
	assert_int_equal(read_all(f).packets, 30 * 50);
}

/* ---- Death ----------------------------------------------------------------------------------- */

/* A process has a call, does with it what it does, and is killed. */
static void killed(struct fixture *f, bool kept)
{
	int status = 0;
	(void)et_writer_free(f->w);
	f->w = NULL;
	int told[2];
	assert_int_equal(pipe(told), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		begin(f);
		open_call(f, 0);
		talk(f, 0, 60, FRAME);
		bool sound = !kept || keep(f, 0) == 0;
		et_writer_sync(f->w);
		ssize_t n = write(told[1], f->told, f->count * sizeof(f->told[0]));
		_exit(sound && n == (ssize_t)(f->count * sizeof(f->told[0])) ? 0 : 1);
	}
	(void)close(told[1]);
	uint8_t *to = (uint8_t *)f->told;
	ssize_t n = 0;
	size_t size = 0;
	while ((n = read(told[0], to + size, sizeof(f->told) - size)) > 0) {
		size += (size_t)n;
	}
	(void)close(told[0]);
	f->count = (uint32_t)(size / sizeof(f->told[0]));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void a_killed_recorder_loses_what_nobody_kept_and_says_so(void **state)
{
	struct fixture *f = *state;
	killed(f, false);
	assert_true(tapes_in(f, "ring") > 3);
	assert_int_equal(count(f, ET_CAPTURE_RING), f->count);
	begin(f);
	sync_all(f);
	assert_int_equal(tapes_in(f, "ring"), 0);
	assert_int_equal(tapes_in(f, "tapes"), 0);
	assert_non_null(strstr(first(f, ET_CAPTURE_PROBLEM)->text, "on demand"));
	assert_int_equal(count(f, ET_CAPTURE_SEGMENT_SEALED), 0);
	assert_int_equal(count(f, ET_CAPTURE_RECORDING_CLOSE), 0);
}

static void a_killed_recorder_has_what_was_kept(void **state)
{
	struct fixture *f = *state;
	killed(f, true);
	assert_int_equal(tapes_in(f, "ring"), 0);
	begin(f);
	sync_all(f);
	assert_whole(f); /* nobody went on with the call */
	struct content c = read_all(f);
	assert_in_range(c.last, 59 * 50 - 2, 60 * 50 - 1); /* at most a second is missing */
}

static void a_stop_loses_what_nobody_kept_and_says_so(void **state)
{
	struct fixture *f = *state;
	open_call(f, 0);
	talk(f, 0, 15, FRAME);
	open_call(f, 1);
	talk(f, 1, 15, FRAME);
	close_call(f, 1);
	et_writer_finish(f->w);
	assert_int_equal(tapes_in(f, "ring"), 0);
	assert_non_null(strstr(first(f, ET_CAPTURE_PROBLEM)->text, "2 calls"));
	assert_int_equal(logged(f), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_nobody_keeps_is_gone),
		TEST(what_is_kept_while_it_runs_has_its_last_minutes_and_all_that_comes),
		TEST(what_is_kept_from_its_begin_has_no_gap),
		TEST(it_can_be_kept_after_its_end),
		TEST(a_journal_that_refuses_is_asked_again),
		TEST(what_is_kept_in_part_is_not_dropped),
		TEST(the_largest_ring_gives_way),
		TEST(recordings_have_the_disk_first),
		TEST(each_part_has_the_keys_and_the_pauses_before_it),
		TEST(without_a_signing_key_the_next_start_seals),
		TEST(a_killed_recorder_loses_what_nobody_kept_and_says_so),
		TEST(a_killed_recorder_has_what_was_kept),
		TEST(a_stop_loses_what_nobody_kept_and_says_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
