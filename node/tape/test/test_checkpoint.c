/* CHECKPOINT, INDEX and END: written, found with and without an INDEX, bounded, and never believed
 * before they are opened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "node/tape/checkpoint.h"
#include "node/tape/index_internal.h"
#include "node/tape/items_internal.h"
#include "node/tape/meta.h"
#include "node/tape/test/tape_fixture.h"

#define T0 INT64_C(1700000000123456)

enum { SAMPLES = 160, PACKET_US = 20000 };

static struct et_view text(const char *s)
{
	return (struct et_view){ (const uint8_t *)s, strlen(s) };
}

static struct et_meta_item stream_item(uint32_t number, uint32_t ssrc)
{
	return (struct et_meta_item){ .type = ET_META_STREAM,
				      .stream = { .stream = number,
						  .ssrc = ssrc,
						  .party = (uint8_t)(number & 1),
						  .channels = 1,
						  .clock_rate = 8000,
						  .codec = text("PCMU"),
						  .src = text("192.0.2.1:4000"),
						  .dst = text("192.0.2.2:5000") } };
}

static void give(struct et_tape_state *s, const struct et_meta_item *item)
{
	struct et_buffer plain = { 0 };

	assert_int_equal(et_meta_add(&plain, item), 0);
	et_tape_state_meta(s, (struct et_view){ plain.data, plain.size });
	et_buffer_release(&plain);
}

static struct et_media_packet packet(uint32_t stream, uint32_t n)
{
	static const uint8_t payload[SAMPLES];

	return (struct et_media_packet){ .stream = stream,
					 .sequence = (uint16_t)n,
					 .timestamp = n * SAMPLES,
					 .arrival_us =
						 T0 + (int64_t)n * PACKET_US + n * 7919 % 5000,
					 .payload = { payload, sizeof(payload) } };
}

static struct et_buffer written(const struct et_tape_state *s)
{
	struct et_buffer plain = { 0 };

	assert_int_equal(et_tape_state_write(s, &plain), 0);
	assert_false(plain.failed);
	return plain;
}

/* What a checkpoint says, counted by type; the clock of stream 0. */
static void read_items(struct et_view plain, uint32_t counts[6], struct et_rtp_clock *ret_clock,
		       struct et_view *ret_meta)
{
	struct et_checkpoint_reader r;
	struct et_checkpoint_item item;
	int rc;

	memset(counts, 0, 6 * sizeof(*counts));
	assert_int_equal(et_checkpoint_reader_init(&r, plain, NULL), 0);
	while ((rc = et_checkpoint_reader_next(&r, &item, NULL)) == 1) {
		assert_in_range(item.type, 1, 5);
		counts[item.type]++;
		if (item.type == ET_CHECKPOINT_CLOCK && item.stream == 0 && ret_clock != NULL) {
			*ret_clock = item.clock;
		}
		if (item.type == ET_CHECKPOINT_META && ret_meta != NULL) {
			*ret_meta = item.raw;
		}
	}
	assert_int_equal(rc, 0);
}

static void a_state_says_what_still_holds(void **state)
{
	ET_CLEANUP(et_tape_state_freep) struct et_tape_state *s = et_tape_state_new(T0);
	ET_CLEANUP(et_buffer_release) struct et_buffer plain = { 0 };
	const struct et_meta_item pause = {
		.type = ET_META_MARK,
		.mark = { .what = ET_MARK_PAUSE, .from_us = T0 + 5, .cause = text("card") }
	};
	struct et_rtp_clock all = { 0 };
	struct et_rtp_clock found = { 0 };
	struct et_meta_reader meta;
	struct et_meta_item item;
	struct et_view described;
	uint32_t counts[6];

	(void)state;
	for (uint32_t i = 0; i < 2; i++) {
		struct et_meta_item stream = stream_item(i, 100 + i);
		give(s, &stream);
		give(s, &stream); /* A new segment says it again: once is enough. */
	}
	give(s, &pause);
	et_tape_state_keys(s);
	for (uint32_t n = 0; n < 300; n++) {
		struct et_media_packet p = packet(0, n);
		const struct et_rtp_clock_packet c = { .sequence = p.sequence,
						       .timestamp = p.timestamp,
						       .arrival_us = p.arrival_us };
		et_tape_state_packet(s, &p);
		(void)et_rtp_clock_add(&all, 8000, &c, T0, INT64_MIN);
		p.payload_type = 101; /* not described: it has no clock */
		p.timestamp = 7;
		et_tape_state_packet(s, &p);
	}
	plain = written(s);
	read_items((struct et_view){ plain.data, plain.size }, counts, &found, &described);
	assert_int_equal(counts[ET_CHECKPOINT_META], 1);
	assert_int_equal(counts[ET_CHECKPOINT_CLOCK], 1);
	assert_int_equal(counts[ET_CHECKPOINT_TYPES], 1);
	assert_int_equal(counts[ET_CHECKPOINT_KEYS], 1);
	assert_int_equal(found.now.place.anchor_us, all.now.place.anchor_us);
	assert_int_equal(found.now.place.ticks, all.now.place.ticks);
	assert_int_equal(found.now.sequence, 299);
	assert_int_equal(found.length, SAMPLES);
	assert_int_equal(et_meta_reader_init(&meta, described, NULL), 0);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(et_meta_reader_next(&meta, &item, NULL), 1);
		assert_int_equal(item.stream.ssrc, 100 + i);
	}
	assert_int_equal(et_meta_reader_next(&meta, &item, NULL), 1);
	assert_int_equal(item.mark.from_us, T0 + 5);
	assert_int_equal(et_meta_reader_next(&meta, &item, NULL), 0);
}

/* A recorder gives it whole records, who writes a tape anew single packets: no difference. */
static void a_record_says_what_its_packets_say(void **state)
{
	ET_CLEANUP(et_tape_state_freep) struct et_tape_state *by_packet = et_tape_state_new(T0);
	ET_CLEANUP(et_tape_state_freep) struct et_tape_state *by_record = et_tape_state_new(T0);
	struct et_media_encoder e = { 0 };

	(void)state;
	for (uint32_t n = 0; n < 500; n++) {
		struct et_media_packet p = packet(n % 3, n / 3);
		p.marker = n % 50 == 0;
		p.payload_type = n % 40 == 0 ? 101 : 0;
		p.timestamp += n > 400 ? 77777 : 0;
		et_tape_state_packet(by_packet, &p);
		assert_int_equal(et_media_encoder_add(&e, &p, SIZE_MAX / 8), 0);
		if (n % 100 == 99) {
			et_tape_state_media(by_record,
					    (struct et_view){ e.plain.data, e.plain.size });
			et_media_encoder_reset(&e);
		}
	}
	struct et_buffer want = written(by_packet);
	struct et_buffer got = written(by_record);
	assert_int_equal(got.size, want.size);
	assert_memory_equal(got.data, want.data, want.size);
	et_buffer_release(&want);
	et_buffer_release(&got);
	et_media_encoder_release(&e);
}

static void a_record_that_nobody_reads_leaves_it_incomplete(void **state)
{
	ET_CLEANUP(et_tape_state_freep) struct et_tape_state *s = et_tape_state_new(T0);
	struct et_buffer plain = { 0 };

	(void)state;
	et_tape_state_media(s, (struct et_view){ (const uint8_t *)"\1half", 5 });
	assert_int_equal(et_tape_state_write(s, &plain), ET_ELIMIT);
	et_buffer_release(&plain);
}

static void a_pause_that_is_over_is_not_told(void **state)
{
	ET_CLEANUP(et_tape_state_freep) struct et_tape_state *s = et_tape_state_new(INT64_MIN);
	struct et_meta_item mark = { .type = ET_META_MARK,
				     .mark = { .what = ET_MARK_PAUSE, .from_us = T0 } };
	struct et_view described;
	uint32_t counts[6];

	(void)state;
	give(s, &mark);
	mark.mark.what = ET_MARK_RESUME;
	give(s, &mark);
	mark.mark.what = ET_MARK_PAUSE;
	mark.mark.to_us = T0 + 1; /* a whole span: over as it is told */
	give(s, &mark);
	struct et_buffer plain = written(s);
	read_items((struct et_view){ plain.data, plain.size }, counts, NULL, &described);
	assert_int_equal(described.size, 1); /* its version */
	et_buffer_release(&plain);
}

static void a_state_that_grows_too_large_is_not_written(void **state)
{
	ET_CLEANUP(et_tape_state_freep) struct et_tape_state *s = et_tape_state_new(T0);
	struct et_buffer plain = { 0 };

	(void)state;
	for (uint32_t n = 0; n < 2000; n++) {
		struct et_meta_item stream = stream_item(n % 64, n);
		give(s, &stream);
	}
	assert_int_equal(et_tape_state_write(s, &plain), ET_ELIMIT);
	assert_int_equal(plain.size, 0);
}

/* Every byte of a checkpoint in turn is something else: read, or refused. */
static void hostile_items_are_refused(void **state)
{
	ET_CLEANUP(et_tape_state_freep) struct et_tape_state *s = et_tape_state_new(T0);
	struct et_meta_item stream = stream_item(0, 1);
	struct et_checkpoint_reader r;
	struct et_checkpoint_item item;
	size_t refused = 0;

	(void)state;
	give(s, &stream);
	for (uint32_t n = 0; n < 10; n++) {
		struct et_media_packet p = packet(0, n);
		p.timestamp -= n == 5 ? 1000 : 0; /* anchored again */
		et_tape_state_packet(s, &p);
	}
	struct et_buffer plain = written(s);
	for (size_t at = 0; at < plain.size; at++) {
		plain.data[at] ^= 0xFF;
		int rc = et_checkpoint_reader_init(&r, (struct et_view){ plain.data, plain.size },
						   NULL);
		rc = rc == 0 ? 1 : rc;
		while (rc == 1) {
			rc = et_checkpoint_reader_next(&r, &item, NULL);
			assert_true(rc != 1 || item.stream < ET_MEDIA_STREAMS_MAX);
			assert_true(rc != 1 || item.type != ET_CHECKPOINT_CLOCK ||
				    (item.clock.rate > 0 && item.clock.rate <= 1000000));
		}
		refused += rc < 0;
		plain.data[at] ^= 0xFF;
	}
	assert_in_range(refused, plain.size / 8, plain.size - 1);
	for (size_t size = 0; size < plain.size; size++) {
		int rc = et_checkpoint_reader_init(&r, (struct et_view){ plain.data, size }, NULL);
		while (rc >= 0 && (rc = et_checkpoint_reader_next(&r, &item, NULL)) == 1) {
		}
	}
	et_buffer_release(&plain);
}

/* ---- In a tape ---- */

/* A checkpoint behind every tenth record. */
static void make_checkpoints(struct fixture *f, uint32_t records, bool ends, bool sealed)
{
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	ET_CLEANUP(et_tape_state_freep) struct et_tape_state *s = et_tape_state_new(T0);
	struct et_tape_seal seal;

	(void)unlink(f->path);
	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
	struct et_buffer plain = written(s);
	for (uint32_t n = 0; n < records; n++) {
		assert_int_equal(et_tape_append(t, ET_TAPE_MEDIA, n * 1000, &n, sizeof(n), NULL),
				 0);
		if (n % 10 == 9) {
			assert_int_equal(et_tape_append(t, ET_TAPE_CHECKPOINT, n * 1000, plain.data,
							plain.size, NULL),
					 0);
		}
	}
	if (ends) {
		const struct et_view index = { plain.data, plain.size };
		assert_int_equal(et_tape_end(t, records * 1000, index, NULL), 0);
		assert_int_equal(et_tape_end(t, records * 1000, index, NULL), 0); /* Once. */
		assert_int_equal(et_tape_append(t, ET_TAPE_MEDIA, 0, "x", 1, NULL), ET_ECLOSED);
	}
	if (sealed) {
		assert_int_equal(et_tape_finish(t, &f->signer, &seal, NULL), 0);
	}
	et_buffer_release(&plain);
}

/* Counts what is read. */
struct counting {
	struct et_view bytes;
	uint64_t read;
};

static int counting_read(void *arg, uint64_t offset, void *data, size_t size,
			 struct et_error *reterr)
{
	struct counting *c = arg;

	(void)reterr;
	assert_true(offset <= c->bytes.size && size <= c->bytes.size - offset);
	memcpy(data, c->bytes.data + offset, size);
	c->read += size;
	return 0;
}

static void find_everywhere(struct fixture *f, uint32_t records)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer object = load(f->path);
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *r = NULL;
	struct counting c = { .bytes = { object.data, object.size } };
	const struct et_tape_source source = { .read = counting_read,
					       .arg = &c,
					       .size = object.size };
	struct et_tape_record record;

	assert_int_equal(et_tape_reader_new(&source, f->dek, &r, NULL), 0);
	for (uint32_t ms = 0; ms < (records + 20) * 1000; ms += 777) {
		const uint32_t before = (ms / 1000 + 1) / 10; /* checkpoints up to there */
		const uint32_t all = records / 10;
		const uint32_t want = before < all ? before : all;
		assert_int_equal(et_tape_reader_find(r, ms, NULL), want > 0);
		assert_int_equal(et_tape_reader_next(r, &record, NULL), 1);
		if (want == 0) {
			assert_int_equal(record.seq, 0);
			continue;
		}
		assert_int_equal(record.kind, ET_TAPE_CHECKPOINT);
		assert_int_equal(record.seq, want * 11 - 1);
		assert_int_equal(record.t_ms, (want * 10 - 1) * 1000);
	}
}

static void checkpoints_are_found_with_and_without_an_index(void **state)
{
	struct fixture *f = *state;
	struct et_tape_recovery recovery;

	make_checkpoints(f, 95, true, true);
	find_everywhere(f, 95);
	make_checkpoints(f, 95, false, true); /* of an older recorder */
	find_everywhere(f, 95);
	make_checkpoints(f, 95, false, false); /* open */
	find_everywhere(f, 95);
	for (int with_key = 0; with_key < 2; with_key++) {
		make_checkpoints(f, 95, false, false);
		assert_int_equal(et_tape_recover(f->path, &f->signer, with_key ? f->dek : NULL,
						 &recovery, NULL),
				 0);
		assert_int_equal(recovery.seal.records, 95 + 9);
		find_everywhere(f, 95);
	}
}

static void an_index_saves_reading_the_tape(void **state)
{
	struct fixture *f = *state;
	uint64_t read[2];

	for (int ends = 0; ends < 2; ends++) {
		ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *r = NULL;
		make_checkpoints(f, 9000, ends != 0, true);
		ET_CLEANUP(et_buffer_release) struct et_buffer object = load(f->path);
		struct counting c = { .bytes = { object.data, object.size } };
		const struct et_tape_source source = { .read = counting_read,
						       .arg = &c,
						       .size = object.size };
		assert_int_equal(et_tape_reader_new(&source, f->dek, &r, NULL), 0);
		const uint64_t opened = c.read;
		assert_int_equal(et_tape_reader_find(r, 4000000, NULL), 1);
		read[ends] = c.read - opened;
	}
	/* The heads of all records, and one more: is the last one END? */
	assert_int_equal(read[0], (9000 + 900 + 1) * (uint64_t)ET_TAPE_RECORD_HEAD_SIZE);
	assert_true(read[1] < 8000); /* END, and an INDEX of 900 */
}

/* An INDEX that says what is not so leads nowhere wrong: what it names is opened, or refused. */
static void an_index_of_nonsense_is_passed_over(void **state)
{
	struct fixture *f = *state;
	static const uint8_t nonsense[][12] = {
		{ 1, 4, 3, 0, 0, 0 },		     /* offset 0 */
		{ 1, 4, 6, 1, 0xA0, 1, 0, 0, 1, 0 }, /* twice the same record */
		{ 1, 4, 4, 5, 0xFF, 0x7F, 0 },	     /* behind the INDEX */
		{ 2 },
		{ 1, 9, 1, 0 }, /* no list */
	};

	for (size_t i = 0; i < ET_ARRAY_SIZE(nonsense); i++) {
		ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *r = NULL;
		ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
		struct et_tape_source source;
		struct et_tape_record record;
		struct et_tape_seal seal;
		uint8_t end[TAPE_END_SIZE];

		(void)unlink(f->path);
		assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
		append_records(t, 0, 3);
		assert_int_equal(et_tape_append(t, ET_TAPE_CHECKPOINT, 2000, "\1", 1, NULL), 0);
		tape_end_format(et_tape_bytes(t), 4, end);
		assert_int_equal(et_tape_append(t, ET_TAPE_INDEX, 3000, nonsense[i],
						sizeof(nonsense[i]), NULL),
				 0);
		assert_int_equal(et_tape_append(t, ET_TAPE_END, 3000, end, sizeof(end), NULL), 0);
		assert_int_equal(et_tape_finish(t, &f->signer, &seal, NULL), 0);
		assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
		assert_int_equal(et_tape_reader_new(&source, f->dek, &r, NULL), 0);
		assert_int_equal(et_tape_reader_find(r, 5000, NULL), 1); /* by the heads */
		assert_int_equal(et_tape_reader_next(r, &record, NULL), 1);
		assert_int_equal(record.seq, 3);
		et_tape_source_close(&source);
	}
}

static void long_lists_are_thinned(void **state)
{
	struct tape_list list = { 0 };
	struct tape_list back = { 0 };
	struct et_buffer plain = { 0 };

	(void)state;
	for (uint32_t i = 0; i < 100000; i++) {
		const struct tape_checkpoint c = { .offset = 160 + (uint64_t)i * 491520,
						   .seq = i * 31,
						   .t_ms = i * 30000 };
		assert_int_equal(tape_list_add(&list, c), 0);
	}
	assert_in_range(list.count, ET_CHECKPOINTS_MAX / 2, ET_CHECKPOINTS_MAX);
	for (uint32_t i = 1; i < list.count; i++) {
		assert_int_equal(list.all[i].seq - list.all[i - 1].seq, 31 * list.stride);
	}
	et_tape_item_begin(&plain, 1, ET_CHECKPOINT_LIST, 0);
	plain.size = 1; /* the version alone */
	tape_list_write(&list, &plain);
	assert_true(plain.size < 65536);
	assert_int_equal(tape_list_read((struct et_view){ plain.data, plain.size }, UINT64_MAX,
					UINT32_MAX, &back),
			 0);
	assert_int_equal(back.count, list.count);
	assert_memory_equal(back.all, list.all, list.count * sizeof(*list.all));
	tape_list_release(&list);
	tape_list_release(&back);
	et_buffer_release(&plain);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_state_says_what_still_holds),
		TEST(a_record_says_what_its_packets_say),
		TEST(a_record_that_nobody_reads_leaves_it_incomplete),
		TEST(a_pause_that_is_over_is_not_told),
		TEST(a_state_that_grows_too_large_is_not_written),
		TEST(hostile_items_are_refused),
		TEST(checkpoints_are_found_with_and_without_an_index),
		TEST(an_index_saves_reading_the_tape),
		TEST(an_index_of_nonsense_is_passed_over),
		TEST(long_lists_are_thinned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
