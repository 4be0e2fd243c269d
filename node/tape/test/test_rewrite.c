#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "node/tape/checkpoint.h"
#include "node/tape/keys.h"
#include "node/tape/media.h"
#include "node/tape/meta.h"
#include "node/tape/rewrite.h"
#include "node/tape/test/tape_fixture.h"

#define T0 INT64_C(1700000000123456)
#define PACKET_MS 20
#define RECORD_PACKETS 10
#define RECORDS 20 /* of MEDIA: 4 s */

enum { SAMPLES = 160 };

static void payload_of(uint32_t stream, uint32_t n, uint8_t ret[SAMPLES])
{
	for (uint32_t i = 0; i < SAMPLES; i++) {
		ret[i] = (uint8_t)(stream * 91 + n * 17 + i * 3);
	}
}

static struct et_view text(const char *s)
{
	return (struct et_view){ (const uint8_t *)s, strlen(s) };
}

static void add_meta(struct et_tape *t, uint32_t ms, const struct et_meta_item *items, size_t count)
{
	struct et_buffer plain = { 0 };

	for (size_t i = 0; i < count; i++) {
		assert_int_equal(et_meta_add(&plain, &items[i]), 0);
	}
	assert_int_equal(et_tape_append(t, ET_TAPE_META, ms, plain.data, plain.size, NULL), 0);
	et_buffer_release(&plain);
}

static void add_streams(struct et_tape *t)
{
	struct et_meta_item items[2];

	for (uint32_t s = 0; s < 2; s++) {
		items[s] = (struct et_meta_item){ .type = ET_META_STREAM,
						  .stream = { .stream = s,
							      .ssrc = 100 + s,
							      .party = (uint8_t)s,
							      .payload_type = 0,
							      .channels = 1,
							      .clock_rate = 8000,
							      .codec = text("PCMU"),
							      .src = text("192.0.2.1:4000"),
							      .dst = text("192.0.2.2:5000") } };
	}
	add_meta(t, 0, items, 2);
}

/* Packet n of stream 0 and 1, each arriving 20 ms behind the one before; number `late` comes 100 ms
 * late. */
static void add_media(struct et_tape *t, uint32_t record, uint32_t late)
{
	struct et_media_encoder *e = calloc(1, sizeof(*e));
	uint8_t payload[SAMPLES];

	assert_non_null(e);
	for (uint32_t i = 0; i < RECORD_PACKETS; i++) {
		uint32_t n = record * RECORD_PACKETS + i;
		for (uint32_t s = 0; s < 2; s++) {
			payload_of(s, n, payload);
			const struct et_media_packet p = {
				.stream = s,
				.sequence = (uint16_t)n,
				.timestamp = n * SAMPLES,
				.arrival_us = T0 + (int64_t)n * PACKET_MS * 1000 +
					      (n == late ? 100000 : 0),
				.payload = { payload, sizeof(payload) },
			};
			assert_int_equal(et_media_encoder_add(e, &p, ET_TAPE_PLAIN_MAX), 0);
		}
	}
	assert_int_equal(et_tape_append(t, ET_TAPE_MEDIA, record * RECORD_PACKETS * PACKET_MS,
					e->plain.data, e->plain.size, NULL),
			 0);
	et_media_encoder_release(e);
	free(e);
}

static void add_sip(struct et_tape *t, uint32_t ms)
{
	const struct et_meta_item items[] = {
		{ .type = ET_META_SIP,
		  .sip = { .time_us = T0 + (int64_t)ms * 1000,
			   .src = text("a"),
			   .dst = text("b"),
			   .text = text("INFO sip:b SIP/2.0\r\nCall-ID: x\r\n\r\nSignal=7\r\n") } },
		{ .type = ET_META_SIP,
		  .sip = { .time_us = T0 + (int64_t)ms * 1000,
			   .text = text("INVITE sip:b SIP/2.0\r\n\r\nv=0\r\n") } },
		{ .type = ET_META_FACT,
		  .fact = { .time_us = T0 + (int64_t)ms * 1000,
			    .key = text("dtmf"),
			    .value = text("4711") } },
	};
	add_meta(t, ms, items, 3);
}

/* META; ten MEDIA; SIP at 2 s; KEYS; ten MEDIA. */
static struct et_tape_seal make_call(struct fixture *f, uint32_t late)
{
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	struct et_tape_seal seal;
	static const uint8_t keys[] = { 1 };

	(void)unlink(f->path);
	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
	add_streams(t);
	for (uint32_t i = 0; i < RECORDS / 2; i++) {
		add_media(t, i, late);
	}
	add_sip(t, 2000);
	assert_int_equal(et_tape_append(t, ET_TAPE_KEYS, 2000, keys, sizeof(keys), NULL), 0);
	for (uint32_t i = RECORDS / 2; i < RECORDS; i++) {
		add_media(t, i, late);
	}
	assert_int_equal(et_tape_finish(t, &f->signer, &seal, NULL), 0);
	return seal;
}

struct cut {
	char path[112];
	struct et_secret *dek;
	struct et_tape_header header;
	struct et_tape_seal seal;
	struct et_buffer link;
	struct et_error error;
};

static int rewrite(struct fixture *f, const struct et_tape_seal *old, int64_t from_ms,
		   int64_t to_ms, struct cut *ret)
{
	struct et_tape_source source;
	const struct et_tape_expect expect = { .root = old->root };

	memset(ret, 0, sizeof(*ret));
	(void)snprintf(ret->path, sizeof(ret->path), "%s.new", f->path);
	assert_int_equal(et_secret_random(32, &ret->dek, NULL), 0);
	assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
	const struct et_tape_rewrite order = {
		.old = &source,
		.expect = &expect,
		.old_dek = f->dek,
		.path = ret->path,
		.generation = 2,
		.kek_version = 9,
		.dek_id = 99,
		.dek = ret->dek,
		.from_us = to_ms > 0 ? T0 + from_ms * 1000 : 0,
		.to_us = to_ms > 0 ? T0 + to_ms * 1000 : 0,
		.cause = text("a card number"),
		.signer = &f->signer,
	};
	int rc = et_tape_rewrite(&order, &ret->header, &ret->seal, &ret->link, &ret->error);
	et_tape_source_close(&source);
	return rc;
}

static void cut_release(struct cut *c)
{
	(void)unlink(c->path);
	c->dek = et_secret_free(c->dek);
	et_buffer_release(&c->link);
}

/* What a tape has. */
struct found {
	bool packets[2][RECORDS * RECORD_PACKETS];
	unsigned keys, marks, infos, info_bodies, invites, facts;
	int64_t from_us, to_us;
};

static void found_meta(struct found *f, struct et_view plain)
{
	struct et_meta_reader r;
	struct et_meta_item i;

	assert_int_equal(et_meta_reader_init(&r, plain, NULL), 0);
	while (et_meta_reader_next(&r, &i, NULL) == 1) {
		if (i.type == ET_META_MARK && i.mark.what == ET_MARK_REDACTED) {
			f->marks++;
			f->from_us = i.mark.from_us;
			f->to_us = i.mark.to_us;
		}
		f->facts += i.type == ET_META_FACT;
		if (i.type == ET_META_SIP) {
			bool info = memcmp(i.sip.text.data, "INFO", 4) == 0;
			f->infos += info;
			f->invites +=
				!info && memmem(i.sip.text.data, i.sip.text.size, "v=0", 3) != NULL;
			f->info_bodies +=
				memmem(i.sip.text.data, i.sip.text.size, "Signal", 6) != NULL;
		}
	}
}

static void found_media(struct found *f, struct et_view plain)
{
	struct et_media_decoder *d = malloc(sizeof(*d));
	struct et_media_packet p;
	uint8_t want[SAMPLES];

	assert_non_null(d);
	assert_int_equal(et_media_decoder_init(d, plain, NULL), 0);
	while (et_media_decoder_next(d, &p, NULL) == 1) {
		payload_of(p.stream, p.sequence, want);
		assert_int_equal(p.payload.size, SAMPLES);
		assert_memory_equal(p.payload.data, want, SAMPLES);
		assert_int_equal(p.timestamp, (uint32_t)p.sequence * SAMPLES);
		f->packets[p.stream][p.sequence] = true;
	}
	free(d);
}

static void find(const char *path, const struct et_secret *dek, struct found *ret)
{
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *r = NULL;
	struct et_tape_source source;
	struct et_tape_record record;

	memset(ret, 0, sizeof(*ret));
	assert_int_equal(et_tape_source_open(path, &source, NULL), 0);
	assert_int_equal(et_tape_reader_new(&source, dek, &r, NULL), 0);
	while (et_tape_reader_next(r, &record, NULL) == 1) {
		if (record.kind == ET_TAPE_META) {
			found_meta(ret, record.plain);
		} else if (record.kind == ET_TAPE_MEDIA) {
			found_media(ret, record.plain);
		}
		ret->keys += record.kind == ET_TAPE_KEYS;
	}
	et_tape_source_close(&source);
}

/* From every place to every other: what lies outside is there, what lies inside is not. */
static void a_span_is_left_out_and_nothing_else(void **state)
{
	static const int64_t spans[][2] = { { 0, 1 },	    { 1990, 2010 }, { 0, 4000 },
					    { 1000, 3000 }, { 205, 215 },   { 400, 600 },
					    { 3980, 9000 } };
	struct fixture *f = *state;

	for (size_t i = 0; i < ET_ARRAY_SIZE(spans); i++) {
		struct cut c;
		struct found now;
		const struct et_tape_seal old = make_call(f, UINT32_MAX);

		assert_int_equal(rewrite(f, &old, spans[i][0], spans[i][1], &c), 0);
		find(c.path, c.dek, &now);
		for (uint32_t n = 0; n < RECORDS * RECORD_PACKETS; n++) {
			int64_t ms = (int64_t)n * PACKET_MS;
			bool plays = ms < spans[i][1] && ms + PACKET_MS > spans[i][0];
			assert_int_equal(now.packets[0][n], !plays);
			assert_int_equal(now.packets[1][n], !plays);
		}
		bool sip = spans[i][0] <= 2000 && spans[i][1] > 2000;
		assert_int_equal(now.infos, 1);
		assert_int_equal(now.info_bodies, !sip);
		assert_int_equal(now.facts, !sip);
		assert_int_equal(now.invites, 1);
		assert_int_equal(now.keys, 1);
		assert_int_equal(now.marks, 1);
		assert_true(now.from_us == T0 + spans[i][0] * 1000);
		assert_true(now.to_us == T0 + spans[i][1] * 1000);
		cut_release(&c);
	}
}

static void a_packet_that_came_late_goes_by_when_it_plays(void **state)
{
	struct fixture *f = *state;
	struct cut c;
	struct found now;

	/* Number 50 plays at 1000 ms and came at 1100; the span ends between. */
	const struct et_tape_seal old = make_call(f, 50);
	assert_int_equal(rewrite(f, &old, 900, 1040, &c), 0);
	find(c.path, c.dek, &now);
	assert_false(now.packets[0][50]);
	assert_true(now.packets[0][44]);
	assert_false(now.packets[0][45]);
	assert_false(now.packets[0][51]);
	assert_true(now.packets[0][52]);
	cut_release(&c);
}

static void the_link_says_what_was_kept_and_who_says_so(void **state)
{
	struct fixture *f = *state;
	struct cut c;
	struct et_link l;
	const struct et_tape_seal old = make_call(f, UINT32_MAX);

	assert_int_equal(rewrite(f, &old, 410, 850, &c), 0);
	const struct et_link_expect expect = { .old_root = old.root,
					       .new_root = c.seal.root,
					       .new_header_hash = c.header.hash,
					       .node_public = f->public_key };
	assert_int_equal(
		et_tape_link_check((struct et_view){ c.link.data, c.link.size }, &expect, &l, NULL),
		0);
	assert_int_equal(l.why, ET_LINK_SPAN);
	assert_int_equal(l.old_seal.records, 1 + RECORDS + 2);
	/* META, two of MEDIA; one cut at its begin, one gone, one cut at its end; the rest. */
	static const struct et_link_run want[] = { { ET_LINK_KEPT, 3 },
						   { ET_LINK_LEFT_OUT, 2 },
						   { ET_LINK_CHANGED, 1 },
						   { ET_LINK_KEPT, 17 } };
	assert_int_equal(l.run_count, ET_ARRAY_SIZE(want));
	for (uint32_t i = 0; i < l.run_count; i++) {
		assert_int_equal(et_link_run_at(&l, i).what, want[i].what);
		assert_int_equal(et_link_run_at(&l, i).records, want[i].records);
	}
	assert_int_equal(l.new_records, c.seal.records);
	assert_int_equal(l.left_out, 2);
	assert_int_equal(l.changed, 1);
	cut_release(&c);
}

static void any_changed_bit_of_a_link_is_refused(void **state)
{
	struct fixture *f = *state;
	struct cut c;
	struct et_link l;
	const struct et_tape_seal old = make_call(f, UINT32_MAX);

	assert_int_equal(rewrite(f, &old, 410, 850, &c), 0);
	for (size_t i = 0; i < c.link.size; i++) {
		c.link.data[i] ^= (uint8_t)(1U << (i % 8));
		assert_int_not_equal(
			et_tape_link_check((struct et_view){ c.link.data, c.link.size }, NULL, &l,
					   NULL),
			0);
		c.link.data[i] ^= (uint8_t)(1U << (i % 8));
		assert_int_not_equal(
			et_tape_link_check((struct et_view){ c.link.data, i }, NULL, &l, NULL), 0);
	}
	const struct et_link_expect other = { .old_root = c.seal.root };
	assert_int_equal(
		et_tape_link_check((struct et_view){ c.link.data, c.link.size }, &other, &l, NULL),
		ET_EINTEGRITY);
	cut_release(&c);
}

static void another_key_leaves_everything(void **state)
{
	struct fixture *f = *state;
	struct cut c;
	struct et_link l;
	struct found before;
	struct found now;
	const struct et_tape_seal old = make_call(f, 7);

	assert_int_equal(rewrite(f, &old, 0, 0, &c), 0);
	find(f->path, f->dek, &before);
	find(c.path, c.dek, &now);
	assert_memory_equal(&before, &now, sizeof(now));
	assert_int_equal(c.seal.records, old.records);
	assert_int_equal(c.header.generation, 2);
	assert_int_equal(c.header.kek_version, 9);
	assert_int_equal(
		et_tape_link_check((struct et_view){ c.link.data, c.link.size }, NULL, &l, NULL),
		0);
	assert_int_equal(l.why, ET_LINK_KEY);
	assert_int_equal(l.run_count, 1);
	cut_release(&c);
}

static void a_damaged_tape_or_a_wrong_key_makes_none(void **state)
{
	struct fixture *f = *state;
	struct cut c;
	const struct et_tape_seal old = make_call(f, UINT32_MAX);
	struct et_secret *right = f->dek;

	assert_int_equal(et_secret_random(32, &f->dek, NULL), 0);
	assert_int_equal(rewrite(f, &old, 100, 200, &c), ET_ENOKEY);
	assert_int_not_equal(access(c.path, F_OK), 0);
	cut_release(&c);
	f->dek = et_secret_free(f->dek);
	f->dek = right;
	struct et_buffer bytes = load(f->path);
	bytes.data[700] ^= 1;
	store(f->path, bytes.data, bytes.size);
	et_buffer_release(&bytes);
	assert_int_equal(rewrite(f, &old, 100, 200, &c), ET_EINTEGRITY);
	assert_int_not_equal(access(c.path, F_OK), 0);
	cut_release(&c);
}

/* ---- Checkpoints ---- */

static void state_take(struct et_tape_state *s, const struct et_tape_record *record)
{
	struct et_media_decoder *d = malloc(sizeof(*d));
	struct et_media_packet p;

	assert_non_null(d);
	if (record->kind == ET_TAPE_META) {
		et_tape_state_meta(s, record->plain);
	} else if (record->kind == ET_TAPE_KEYS) {
		et_tape_state_keys(s);
	} else if (record->kind == ET_TAPE_MEDIA) {
		assert_int_equal(et_media_decoder_init(d, record->plain, NULL), 0);
		while (et_media_decoder_next(d, &p, NULL) == 1) {
			et_tape_state_packet(s, &p);
		}
	}
	free(d);
}

/* What holds at the end of a tape, read from it. */
static struct et_buffer state_of(const struct fixture *f)
{
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *r = NULL;
	ET_CLEANUP(et_tape_state_freep) struct et_tape_state *s = et_tape_state_new(INT64_MIN);
	struct et_tape_source source;
	struct et_tape_record record;
	struct et_buffer plain = { 0 };

	assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
	assert_int_equal(et_tape_reader_new(&source, f->dek, &r, NULL), 0);
	while (et_tape_reader_next(r, &record, NULL) == 1) {
		state_take(s, &record);
	}
	assert_int_equal(et_tape_state_write(s, &plain), 0);
	et_tape_source_close(&source);
	return plain;
}

/* As make_call(), with a checkpoint behind every fourth MEDIA, INDEX and END. */
static struct et_tape_seal make_ended(struct fixture *f)
{
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	struct et_tape_seal seal;
	static const uint8_t keys[] = { 1 };

	(void)unlink(f->path);
	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
	add_streams(t);
	assert_int_equal(et_tape_append(t, ET_TAPE_KEYS, 0, keys, sizeof(keys), NULL), 0);
	for (uint32_t i = 0; i < RECORDS; i++) {
		add_media(t, i, UINT32_MAX);
		if (i % 4 == 3) {
			ET_CLEANUP(et_buffer_release) struct et_buffer b = state_of(f);
			assert_int_equal(et_tape_append(t, ET_TAPE_CHECKPOINT, i * 200, b.data,
							b.size, NULL),
					 0);
		}
	}
	ET_CLEANUP(et_buffer_release) struct et_buffer b = state_of(f);
	assert_int_equal(et_tape_end(t, 4000, (struct et_view){ b.data, b.size }, NULL), 0);
	assert_int_equal(et_tape_finish(t, &f->signer, &seal, NULL), 0);
	return seal;
}

/* Its checkpoints say what is in it before them, and its INDEX where they are. */
static void assert_checkpoints(const struct cut *c)
{
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *r = NULL;
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *sought = NULL;
	ET_CLEANUP(et_tape_state_freep) struct et_tape_state *s = et_tape_state_new(INT64_MIN);
	struct et_tape_source source;
	struct et_tape_record record;
	struct et_tape_record there;
	enum et_tape_kind before = ET_TAPE_MEDIA;
	unsigned checkpoints = 0;

	assert_int_equal(et_tape_source_open(c->path, &source, NULL), 0);
	assert_int_equal(et_tape_reader_new(&source, c->dek, &r, NULL), 0);
	assert_int_equal(et_tape_reader_new(&source, c->dek, &sought, NULL), 0);
	while (et_tape_reader_next(r, &record, NULL) == 1) {
		ET_CLEANUP(et_buffer_release) struct et_buffer want = { 0 };
		assert_int_equal(et_tape_state_write(s, &want), 0);
		state_take(s, &record);
		if (record.kind == ET_TAPE_CHECKPOINT) {
			checkpoints++;
			assert_int_equal(record.plain.size, want.size);
			assert_memory_equal(record.plain.data, want.data, want.size);
			assert_int_equal(et_tape_reader_find(sought, record.t_ms, NULL), 1);
			assert_int_equal(et_tape_reader_next(sought, &there, NULL), 1);
			assert_int_equal(there.seq, record.seq);
		} else if (record.kind == ET_TAPE_INDEX) {
			assert_true(record.plain.size > want.size);
			assert_memory_equal(record.plain.data, want.data, want.size);
		} else if (record.kind == ET_TAPE_END) {
			assert_int_equal(before, ET_TAPE_INDEX);
		}
		before = record.kind;
	}
	assert_int_equal(before, ET_TAPE_END);
	assert_int_equal(checkpoints, RECORDS / 4);
	assert_int_equal(et_tape_reader_index(sought, &there, NULL), 1);
	et_tape_source_close(&source);
}

static void checkpoints_are_made_anew(void **state)
{
	static const int64_t spans[][2] = { { 0, 0 }, { 0, 4000 }, { 100, 450 }, { 1000, 3000 } };
	struct fixture *f = *state;

	for (size_t i = 0; i < ET_ARRAY_SIZE(spans); i++) {
		struct cut c;
		struct found now;
		struct et_link l;
		const struct et_tape_seal old = make_ended(f);

		assert_int_equal(rewrite(f, &old, spans[i][0], spans[i][1], &c), 0);
		assert_int_equal(et_tape_link_check((struct et_view){ c.link.data, c.link.size },
						    NULL, &l, NULL),
				 0);
		assert_int_equal(l.new_records, c.seal.records);
		find(c.path, c.dek, &now);
		assert_int_equal(now.marks, spans[i][1] > 0);
		assert_checkpoints(&c);
		cut_release(&c);
	}
}

/* What a crash left between INDEX and END: it goes, and the mark is last. */
static void an_index_without_an_end_is_left_out(void **state)
{
	struct fixture *f = *state;
	struct et_tape_recovery recovery;
	struct cut c;
	struct found now;
	const struct et_tape_seal old = make_ended(f);

	assert_int_equal(truncate(f->path, (off_t)old.body_bytes - 5), 0); /* in END */
	assert_int_equal(et_tape_recover(f->path, &f->signer, NULL, &recovery, NULL), 0);
	assert_int_equal(recovery.seal.records, old.records - 1);
	assert_int_equal(rewrite(f, &recovery.seal, 100, 450, &c), 0);
	find(c.path, c.dek, &now);
	assert_int_equal(now.marks, 1);
	cut_release(&c);
}

/* ---- Padded ---- */

/* As make_ended(), in blocks of a second, with a checkpoint behind the second one. */
static struct et_tape_seal make_padded(struct fixture *f)
{
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	struct et_tape_seal seal;
	static const uint8_t keys[] = { 1 };

	(void)unlink(f->path);
	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
	et_tape_pad(t, 32768, 0);
	add_streams(t);
	assert_int_equal(et_tape_append(t, ET_TAPE_KEYS, 0, keys, sizeof(keys), NULL), 0);
	for (uint32_t i = 0; i < RECORDS; i++) {
		add_media(t, i, UINT32_MAX);
		if (i == 9) {
			add_sip(t, 2000);
		}
		assert_int_equal(et_tape_tick(t, (i + 1) * 200, NULL), 0);
		if (i == 9) {
			ET_CLEANUP(et_buffer_release) struct et_buffer b = state_of(f);
			assert_int_equal(
				et_tape_append(t, ET_TAPE_CHECKPOINT, 2000, b.data, b.size, NULL),
				0);
		}
	}
	ET_CLEANUP(et_buffer_release) struct et_buffer b = state_of(f);
	assert_int_equal(et_tape_end(t, 4000, (struct et_view){ b.data, b.size }, NULL), 0);
	assert_int_equal(et_tape_finish(t, &f->signer, &seal, NULL), 0);
	return seal;
}

/* Lengths of the records of a tape, by their heads. */
static uint32_t sizes_of(const char *path, uint32_t ret[32])
{
	struct et_buffer b = load(path);
	uint64_t at = ET_TAPE_HEADER_SIZE;
	uint32_t count = 0;

	while (et_get16(b.data + at) == 0xE7C4) {
		assert_true(count < 32);
		ret[count] = et_get32(b.data + at + 4);
		at += ET_TAPE_RECORD_HEAD_SIZE + ret[count++];
	}
	et_buffer_release(&b);
	return count;
}

static void a_cut_of_a_padded_tape_does_not_show(void **state)
{
	static const int64_t spans[][2] = { { 0, 1 }, { 1000, 3000 }, { 205, 215 }, { 0, 4000 } };
	struct fixture *f = *state;

	for (size_t i = 0; i < ET_ARRAY_SIZE(spans); i++) {
		struct cut c;
		struct found now;
		struct et_link l;
		uint32_t before[32];
		uint32_t after[32];
		const struct et_tape_seal old = make_padded(f);

		assert_int_equal(rewrite(f, &old, spans[i][0], spans[i][1], &c), 0);
		assert_int_equal(et_tape_link_check((struct et_view){ c.link.data, c.link.size },
						    NULL, &l, NULL),
				 0);
		assert_int_equal(l.left_out, 0);
		assert_int_equal(c.seal.block_bytes, old.block_bytes);
		find(c.path, c.dek, &now);
		assert_int_equal(now.marks, 1);
		assert_int_equal(now.keys, 1);
		assert_int_equal(now.invites, 1);
		for (uint32_t n = 0; n < RECORDS * RECORD_PACKETS; n++) {
			int64_t ms = (int64_t)n * PACKET_MS;
			bool plays = ms < spans[i][1] && ms + PACKET_MS > spans[i][0];
			assert_int_equal(now.packets[0][n], !plays);
			assert_int_equal(now.packets[1][n], !plays);
		}
		/* Four seconds with a checkpoint among them, and the last; the mark; INDEX, END. */
		const uint32_t count = sizes_of(f->path, before);
		assert_int_equal(count, 8);
		assert_int_equal(sizes_of(c.path, after), count + 1);
		assert_memory_equal(before, after, 6 * sizeof(uint32_t));
		assert_int_equal(after[6], before[5]);
		assert_memory_equal(before + 6, after + 7, 2 * sizeof(uint32_t));
		cut_release(&c);
	}
}

static void another_key_leaves_blocks_as_they_are(void **state)
{
	struct fixture *f = *state;
	struct cut c;
	struct found now;
	struct et_link l;
	const struct et_tape_seal old = make_padded(f);

	assert_int_equal(rewrite(f, &old, 0, 0, &c), 0);
	assert_int_equal(
		et_tape_link_check((struct et_view){ c.link.data, c.link.size }, NULL, &l, NULL),
		0);
	assert_int_equal(l.run_count, 1);
	assert_int_equal(c.seal.size_bytes, old.size_bytes);
	assert_int_equal(c.seal.block_bytes, old.block_bytes);
	find(c.path, c.dek, &now);
	assert_int_equal(now.marks, 0);
	assert_int_equal(now.infos, 1);
	assert_true(now.packets[1][RECORDS * RECORD_PACKETS - 1]);
	cut_release(&c);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_span_is_left_out_and_nothing_else),
		TEST(a_packet_that_came_late_goes_by_when_it_plays),
		TEST(the_link_says_what_was_kept_and_who_says_so),
		TEST(any_changed_bit_of_a_link_is_refused),
		TEST(another_key_leaves_everything),
		TEST(a_damaged_tape_or_a_wrong_key_makes_none),
		TEST(checkpoints_are_made_anew),
		TEST(an_index_without_an_end_is_left_out),
		TEST(a_cut_of_a_padded_tape_does_not_show),
		TEST(another_key_leaves_blocks_as_they_are),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
