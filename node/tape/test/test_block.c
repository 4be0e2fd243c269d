#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "node/tape/block_internal.h"
#include "node/tape/checkpoint.h"
#include "node/tape/format_internal.h"
#include "node/tape/media.h"
#include "node/tape/proof.h"
#include "node/tape/test/tape_fixture.h"

enum { BLOCK = 1024, SECONDS = 8 };

/* ---- A call ---- */

/* How many bytes the two parties send in packet n (50 a second); 0: nothing. */
typedef void (*activity_fn)(uint32_t n, uint32_t ret[2]);

static void both_talk(uint32_t n, uint32_t ret[2])
{
	ret[0] = 20 + n * 7 % 40;
	ret[1] = 10 + n * 13 % 30;
}

static void they_take_turns(uint32_t n, uint32_t ret[2])
{
	const uint32_t who = n / 80 % 2;

	ret[who] = 30 + n * 11 % 50;
	ret[1 - who] = n % 20 == 0 ? 6 : 0; /* comfort noise */
}

static void nobody_says_a_word(uint32_t n, uint32_t ret[2])
{
	(void)n;
	ret[0] = ret[1] = 0;
}

static void add_packets(struct et_media_encoder *e, uint32_t n, activity_fn activity)
{
	uint8_t payload[1024];
	uint32_t sizes[2];

	activity(n, sizes);
	for (uint32_t s = 0; s < 2; s++) {
		memset(payload, (int)(n + s), sizeof(payload));
		const struct et_media_packet p = {
			.stream = s,
			.payload_type = 96,
			.sequence = (uint16_t)n,
			.timestamp = n * 960,
			.arrival_us = 1700000000123456 + (int64_t)n * 20000,
			.payload = { payload, sizes[s] },
		};
		if (sizes[s] > 0) {
			assert_int_equal(et_media_encoder_add(e, &p, ET_TAPE_PLAIN_MAX), 0);
		}
	}
}

static void append(struct et_tape *t, enum et_tape_kind kind, uint32_t ms, const void *data,
		   size_t size)
{
	assert_int_equal(et_tape_append(t, kind, ms, data, size, NULL), 0);
}

static void append_checkpoint(struct et_tape *t, uint32_t ms, uint32_t keys)
{
	struct et_buffer plain = { 0 };
	uint8_t item[] = { 1, ET_CHECKPOINT_KEYS, 4, 0, 0, 0, (uint8_t)keys };

	et_buffer_add(&plain, item, sizeof(item));
	append(t, ET_TAPE_CHECKPOINT, ms, plain.data, plain.size);
	et_buffer_release(&plain);
}

/* As a recorder does it; `meta` bytes of signalling at 0 s and 3 s. */
static struct et_tape_seal make_call(struct fixture *f, uint32_t bytes, activity_fn activity,
				     size_t meta)
{
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	struct et_media_encoder *e = calloc(1, sizeof(*e));
	struct et_tape_seal seal;
	uint8_t text[ET_TAPE_PLAIN_MAX] = { 1 };
	const uint8_t index[] = { 1 };

	assert_non_null(e);
	(void)unlink(f->path);
	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
	et_tape_pad(t, bytes, 0);
	for (uint32_t second = 0; second < SECONDS; second++) {
		if (meta > 0 && second % 3 == 0) {
			append(t, ET_TAPE_META, second * 1000, text, meta);
		}
		for (uint32_t n = second * 50; n < (second + 1) * 50; n++) {
			add_packets(e, n, activity);
		}
		if (e->packets > 0) {
			append(t, ET_TAPE_MEDIA, second * 1000, e->plain.data, e->plain.size);
			et_media_encoder_reset(e);
		}
		assert_int_equal(et_tape_tick(t, (second + 1) * 1000, NULL), 0);
		if (second == 3) {
			append_checkpoint(t, 4000, meta > 0);
		}
	}
	et_media_encoder_release(e);
	free(e);
	assert_int_equal(et_tape_end(t, SECONDS * 1000, (struct et_view){ index, 1 }, NULL), 0);
	assert_int_equal(et_tape_finish(t, &f->signer, &seal, NULL), 0);
	return seal;
}

/* All that who has no key sees of records: kind, flags, length, number, time. */
static struct et_buffer seen_of(const char *path)
{
	struct et_buffer b = load(path);
	struct et_buffer ret = { 0 };
	struct et_tape_header header;
	struct et_tape_record_head head;
	uint64_t at = ET_TAPE_HEADER_SIZE;

	assert_int_equal(et_tape_header_parse(b.data, &header, NULL), 0);
	for (uint32_t seq = 0;
	     et_tape_record_check(header.hash, seq, (struct et_view){ b.data + at, b.size - at },
				  &head) == 0;
	     seq++) {
		et_buffer_add(&ret, b.data + at, TAPE_HEAD_CRC_AT);
		at += head.size;
	}
	et_buffer_release(&b);
	return ret;
}

static void assert_same(struct et_buffer *a, struct et_buffer *b)
{
	assert_true(a->size > (size_t)SECONDS * TAPE_HEAD_CRC_AT);
	assert_int_equal(a->size, b->size);
	assert_memory_equal(a->data, b->data, a->size);
	et_buffer_release(a);
	et_buffer_release(b);
}

static void what_is_seen_tells_how_long_and_nothing_else(void **state)
{
	struct fixture *f = *state;

	(void)make_call(f, 8192, both_talk, 0);
	struct et_buffer talk = seen_of(f->path);
	struct et_buffer again = seen_of(f->path);
	(void)make_call(f, 8192, they_take_turns, 300);
	struct et_buffer turns = seen_of(f->path);
	(void)make_call(f, 8192, nobody_says_a_word, 0);
	struct et_buffer silence = seen_of(f->path);

	assert_same(&talk, &turns);
	assert_same(&again, &silence);
}

/* The same without padding is another sequence for each: the comparison can fail. */
static void without_padding_all_of_it_is_seen(void **state)
{
	struct fixture *f = *state;
	struct et_media_encoder *e = calloc(1, sizeof(*e));
	struct et_buffer seen[2];
	const activity_fn calls[] = { both_talk, they_take_turns };

	assert_non_null(e);
	for (size_t i = 0; i < 2; i++) {
		struct et_tape *t = NULL;
		(void)unlink(f->path);
		assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
		for (uint32_t n = 0; n < 50 * SECONDS; n++) {
			add_packets(e, n, calls[i]);
			if (n % 50 == 49) {
				append(t, ET_TAPE_MEDIA, n / 50 * 1000, e->plain.data,
				       e->plain.size);
				et_media_encoder_reset(e);
			}
		}
		t = et_tape_close(t);
		seen[i] = seen_of(f->path);
	}
	assert_int_equal(seen[0].size, seen[1].size);
	assert_int_not_equal(memcmp(seen[0].data, seen[1].data, seen[0].size), 0);
	et_buffer_release(&seen[0]);
	et_buffer_release(&seen[1]);
	et_media_encoder_release(e);
	free(e);
}

/* ---- What comes back ---- */

static uint32_t packets_of(struct et_view plain, activity_fn activity)
{
	struct et_media_decoder d;
	struct et_media_packet p;
	uint32_t count = 0;

	assert_int_equal(et_media_decoder_init(&d, plain, NULL), 0);
	while (et_media_decoder_next(&d, &p, NULL) == 1) {
		uint32_t sizes[2];
		activity(p.sequence, sizes);
		assert_int_equal(p.payload.size, sizes[p.stream]);
		assert_int_equal(p.payload.data[0], (uint8_t)(p.sequence + p.stream));
		count++;
	}
	return count;
}

static void what_was_appended_comes_back(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *r = NULL;
	struct et_tape_source source;
	struct et_tape_report report;
	struct et_tape_record record;
	struct et_error e = { 0 };
	uint32_t counts[ET_TAPE_BLOCK + 1] = { 0 };
	uint32_t packets = 0;
	uint32_t last_ms = 0;
	int rc;

	const struct et_tape_seal seal = make_call(f, BLOCK, both_talk, 300);
	assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
	const struct et_tape_expect expect = { .root = seal.root, .seal_hash = seal.seal_hash };
	assert_int_equal(et_tape_verify(&source, &expect, &report, &e), 0);
	assert_int_equal(report.seal.block_bytes, seal.block_bytes);
	assert_int_equal(et_tape_reader_new(&source, f->dek, &r, NULL), 0);
	while ((rc = et_tape_reader_next(r, &record, &e)) == 1) {
		assert_true(record.kind < ET_TAPE_BLOCK);
		assert_true(record.t_ms >= last_ms);
		last_ms = record.t_ms;
		counts[record.kind]++;
		packets += record.kind == ET_TAPE_MEDIA ? packets_of(record.plain, both_talk) : 0;
	}
	assert_int_equal(rc, 0);
	assert_int_equal(packets, 2 * 50 * SECONDS);
	assert_int_equal(counts[ET_TAPE_META], 3);
	assert_int_equal(counts[ET_TAPE_MEDIA], SECONDS);
	assert_int_equal(counts[ET_TAPE_CHECKPOINT], 1);
	assert_int_equal(counts[ET_TAPE_INDEX], 1);
	assert_int_equal(counts[ET_TAPE_END], 1);
	et_tape_source_close(&source);
}

static void one_kind_is_found_in_the_blocks_and_a_checkpoint_beside_them(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *r = NULL;
	struct et_tape_source source;
	struct et_tape_record record;
	uint32_t metas = 0;
	int rc;

	(void)make_call(f, 8192, they_take_turns, 300);
	assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
	assert_int_equal(et_tape_reader_new(&source, f->dek, &r, NULL), 0);
	while ((rc = et_tape_reader_next_of(r, ET_TAPE_META, &record, NULL)) == 1) {
		assert_int_equal(record.t_ms, metas++ * 3000);
	}
	assert_int_equal(rc, 0);
	assert_int_equal(metas, 3);
	assert_int_equal(et_tape_reader_find(r, 3999, NULL), 0);
	assert_int_equal(et_tape_reader_next(r, &record, NULL), 1);
	assert_int_equal(record.seq, 0);
	assert_int_equal(et_tape_reader_find(r, 6000, NULL), 1);
	assert_int_equal(et_tape_reader_next(r, &record, NULL), 1);
	assert_int_equal(record.kind, ET_TAPE_CHECKPOINT);
	assert_int_equal(record.plain.size, TAPE_CHECKPOINT_MULTIPLE);
	assert_int_equal(et_tape_reader_next(r, &record, NULL), 1);
	assert_int_equal(record.kind, ET_TAPE_MEDIA);
	assert_int_equal(record.t_ms, 4000);
	et_tape_source_close(&source);
}

/* ---- What does not fit ---- */

static void block_sizes(const char *path, uint32_t *ret, uint32_t *ret_count, uint32_t max)
{
	struct et_buffer seen = seen_of(path);

	*ret_count = 0;
	for (size_t at = 0; at < seen.size; at += TAPE_HEAD_CRC_AT) {
		if (seen.data[at + 2] == ET_TAPE_BLOCK) {
			assert_true(*ret_count < max);
			assert_int_equal(seen.data[at + 3], ET_TAPE_PADDED);
			ret[(*ret_count)++] = et_get32(seen.data + at + 4) - ET_TAPE_TAG_SIZE;
		}
	}
	et_buffer_release(&seen);
}

static void what_does_not_fit_makes_blocks_larger_once(void **state)
{
	struct fixture *f = *state;
	uint32_t sizes[SECONDS + 2];
	uint32_t count;

	const struct et_tape_seal seal = make_call(f, BLOCK, both_talk, 0);
	block_sizes(f->path, sizes, &count, SECONDS + 2);
	assert_int_equal(count, SECONDS + 1); /* and that of the second that had begun */
	for (uint32_t i = 1; i < count; i++) {
		assert_true(sizes[i] >= sizes[i - 1]);
		assert_int_equal(sizes[i], tape_block_size(sizes[i], 0));
	}
	assert_true(sizes[0] > BLOCK);
	assert_int_equal(sizes[1], sizes[count - 1]);
	assert_int_equal(seal.block_bytes, sizes[count - 1]);
}

static void signalling_before_media_makes_more_blocks_of_the_same_size(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	struct et_tape_seal seal;
	uint8_t text[700] = { 1 };
	uint32_t sizes[8];
	uint32_t count;

	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
	et_tape_pad(t, BLOCK, 0);
	for (uint32_t i = 0; i < 3; i++) {
		append(t, ET_TAPE_META, 0, text, sizeof(text));
	}
	append(t, ET_TAPE_MEDIA, 0, text, sizeof(text));
	append(t, ET_TAPE_MEDIA, 0, text, 200);
	assert_int_equal(et_tape_finish(t, &f->signer, &seal, NULL), 0);
	block_sizes(f->path, sizes, &count, 8);
	assert_int_equal(count, 4);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(sizes[i], BLOCK);
	}
}

static void sizes_are_few_and_hold_what_they_must(void **state)
{
	(void)state;
	assert_int_equal(tape_block_size(0, 0), ET_TAPE_BLOCK_MIN);
	assert_int_equal(tape_block_size(1025, 0), 1536);
	assert_int_equal(tape_block_size(1024, 1537), 2048);
	assert_int_equal(tape_block_size(98305, 1), ET_TAPE_PLAIN_MAX);
	assert_int_equal(tape_block_size(UINT32_MAX, SIZE_MAX), ET_TAPE_PLAIN_MAX);
	uint32_t size = ET_TAPE_BLOCK_MIN;
	uint32_t steps = 0;
	while (size < ET_TAPE_PLAIN_MAX) {
		const uint32_t next = tape_block_size(size, size + 1);
		assert_true(next > size && next <= size + size / 2);
		assert_int_equal(tape_block_size(next, 0), next);
		size = next;
		steps++;
	}
	assert_int_equal(steps, 14);
}

static void the_largest_record_fits_and_no_larger_one(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	struct et_tape_seal seal;
	uint8_t *plain = calloc(1, ET_TAPE_PLAIN_MAX);
	const size_t most = ET_TAPE_PLAIN_MAX - TAPE_BLOCK_HEAD - TAPE_ITEM_HEAD;

	assert_non_null(plain);
	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
	et_tape_pad(t, BLOCK, 0);
	assert_int_equal(et_tape_append(t, ET_TAPE_MEDIA, 0, plain, most + 1, NULL), -EINVAL);
	for (uint32_t i = 0; i < 3; i++) { /* more than the largest block in a second */
		append(t, ET_TAPE_MEDIA, 0, plain, most);
	}
	assert_int_equal(et_tape_settle(t, NULL), 0);
	assert_int_equal(et_tape_append(t, ET_TAPE_MEDIA, 0, plain, 1, NULL), ET_ECLOSED);
	assert_int_equal(et_tape_tick(t, 9000, NULL), 0);
	assert_int_equal(et_tape_finish(t, &f->signer, &seal, NULL), 0);
	assert_int_equal(seal.records, 3);
	assert_int_equal(seal.block_bytes, ET_TAPE_PLAIN_MAX);
	free(plain);
}

static void a_minute_without_a_tick_is_passed_over(void **state)
{
	struct fixture *f = *state;
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;

	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
	et_tape_pad(t, BLOCK, 500);
	assert_int_equal(et_tape_second_end(t), 1000);
	assert_int_equal(et_tape_tick(t, 59999, NULL), 0);
	assert_int_equal(et_tape_records(t), 59);
	assert_int_equal(et_tape_tick(t, UINT32_MAX, NULL), 0);
	assert_int_equal(et_tape_records(t), 60);
	assert_int_equal(et_tape_second_end(t), UINT32_MAX);
	assert_int_equal(et_tape_tick(t, UINT32_MAX, NULL), 0);
	assert_int_equal(et_tape_records(t), 60);
}

/* ---- Damage ---- */

enum { SHORT = 4 }; /* seconds, and one that was not over */

/* A small one: a byte in each second. */
static struct et_buffer make_short(struct fixture *f)
{
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	struct et_tape_seal seal;

	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
	et_tape_pad(t, BLOCK, 0);
	for (uint32_t i = 0; i <= SHORT; i++) {
		const uint8_t byte = (uint8_t)(i + 1);
		append(t, ET_TAPE_MEDIA, i * 1000, &byte, 1);
		assert_int_equal(et_tape_tick(t, i < SHORT ? (i + 1) * 1000 : 0, NULL), 0);
	}
	assert_int_equal(et_tape_finish(t, &f->signer, &seal, NULL), 0);
	assert_int_equal(seal.records, SHORT + 1);
	return load(f->path);
}

/* Seconds that can be read of it, in their order. */
static uint32_t seconds_of(const struct et_tape_source *source, const struct et_secret *dek)
{
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *r = NULL;
	struct et_tape_record record;
	uint32_t count = 0;

	assert_int_equal(et_tape_reader_new(source, dek, &r, NULL), 0);
	while (et_tape_reader_next(r, &record, NULL) == 1) {
		assert_int_equal(record.plain.size, 1);
		assert_int_equal(record.plain.data[0], ++count);
		assert_int_equal(record.seq, count - 1);
	}
	return count;
}

/* What a crash leaves at every byte is read and recovered in whole seconds. */
static void every_truncation_leaves_whole_seconds(void **state)
{
	struct fixture *f = *state;
	const size_t record = ET_TAPE_RECORD_HEAD_SIZE + BLOCK + ET_TAPE_TAG_SIZE;
	struct et_tape_report report;
	struct et_buffer b = make_short(f);
	const size_t body = ET_TAPE_HEADER_SIZE + (SHORT + 1) * record;

	for (size_t size = ET_TAPE_HEADER_SIZE; size < b.size; size++) {
		const struct et_view v = { b.data, size };
		const struct et_tape_source source = et_tape_source_memory(&v);
		const size_t whole = ((size < body ? size : body) - ET_TAPE_HEADER_SIZE) / record;
		assert_int_equal(et_tape_verify_prefix(&source, NULL, &report, NULL), 0);
		assert_int_equal(report.good_records, whole);
		assert_int_equal(report.seal.block_bytes, whole > 0 ? BLOCK : 0);
		if (size % 17 == 0 || size % record < 2) {
			assert_int_equal(seconds_of(&source, f->dek), whole);
		}
	}
	et_buffer_release(&b);
}

static void what_was_torn_is_recovered_with_and_without_its_key(void **state)
{
	struct fixture *f = *state;
	struct et_buffer b = make_short(f);
	struct et_tape_recovery recovery;

	for (int i = 0; i < 2; i++) {
		store(f->path, b.data, b.size - 700); /* in the last block */
		assert_int_equal(et_tape_recover(f->path, &f->signer, i == 0 ? NULL : f->dek,
						 &recovery, NULL),
				 0);
		assert_int_equal(recovery.seal.records, SHORT);
		assert_int_equal(recovery.seal.block_bytes, BLOCK);
		assert_int_equal(recovery.seal.last_ms, (SHORT - 1) * 1000);
	}
	et_buffer_release(&b);
}

static void every_flipped_byte_is_found_without_a_key(void **state)
{
	struct fixture *f = *state;
	struct et_tape_report report;
	struct et_buffer b = make_short(f);
	const struct et_view v = { b.data, b.size };
	const struct et_tape_source source = et_tape_source_memory(&v);

	assert_int_equal(et_tape_verify(&source, NULL, &report, NULL), 0);
	for (size_t at = 0; at < b.size; at++) {
		b.data[at] ^= (uint8_t)(1 << at % 8);
		assert_true(et_tape_verify(&source, NULL, &report, NULL) < 0);
		b.data[at] ^= (uint8_t)(1 << at % 8);
	}
	et_buffer_release(&b);
}

/* A tape whose author is hostile, or of a later version: `plain` as a block, or with other flags.
 */
static int read_of(struct fixture *f, const void *plain, size_t size)
{
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	ET_CLEANUP(et_tape_reader_freep) struct et_tape_reader *r = NULL;
	struct et_tape_source source;
	struct et_tape_record record;

	(void)unlink(f->path);
	assert_int_equal(et_tape_create(f->path, &f->header, f->dek, &t, NULL), 0);
	append(t, ET_TAPE_BLOCK, 0, plain, size);
	append(t, ET_TAPE_META, 0, "x", 1);
	assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
	assert_int_equal(et_tape_reader_new(&source, f->dek, &r, NULL), 0);
	int rc = et_tape_reader_next(r, &record, NULL);
	const int again = et_tape_reader_next(r, &record, NULL);
	assert_true(rc == 1 || rc == again); /* it stays there */
	et_tape_source_close(&source);
	return rc;
}

static void malformed_blocks_are_refused(void **state)
{
	struct fixture *f = *state;
	static const uint8_t version[] = { 2, 0 };
	static const uint8_t cut_head[] = { 1, 2, 0, 0, 0 };
	static const uint8_t long_item[] = { 1, 2, 0, 0, 0, 0, 0, 0, 0, 9, 1 };
	static const uint8_t no_item[] = { 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	static const uint8_t nested[] = { 1, 8, 0, 0, 0, 0, 0, 0, 0, 1, 1 };
	static const uint8_t index[] = { 1, 5, 0, 0, 0, 0, 0, 0, 0, 1, 1 };
	static const uint8_t good[] = { 1, 2, 0, 0, 0, 0, 0, 0, 0, 1, 1 };
	static const uint8_t empty[] = { 1 };

	assert_int_equal(read_of(f, version, sizeof(version)), ET_EVERSION);
	assert_int_equal(read_of(f, cut_head, sizeof(cut_head)), ET_EMALFORMED);
	assert_int_equal(read_of(f, long_item, sizeof(long_item)), ET_EMALFORMED);
	assert_int_equal(read_of(f, no_item, sizeof(no_item)), ET_EMALFORMED);
	assert_int_equal(read_of(f, nested, sizeof(nested)), ET_EMALFORMED);
	assert_int_equal(read_of(f, index, sizeof(index)), ET_EMALFORMED);
	assert_int_equal(read_of(f, good, sizeof(good)), 1);
	assert_int_equal(read_of(f, empty, sizeof(empty)), 1); /* the META behind it */
}

/* ---- Excerpts ---- */

static void an_excerpt_is_whole_seconds(void **state)
{
	struct fixture *f = *state;
	struct et_tape_source source;
	struct et_buffer part = { 0 };
	struct et_proof proof;
	const struct et_proof_span span = { .from_ms = 2500, .to_ms = 3200 };

	(void)make_call(f, 8192, they_take_turns, 0);
	assert_int_equal(et_tape_source_open(f->path, &source, NULL), 0);
	assert_int_equal(et_tape_prove(&source, &span, NULL, &part, NULL), 0);
	assert_int_equal(
		et_tape_proof_check((struct et_view){ part.data, part.size }, NULL, &proof, NULL),
		0);
	assert_int_equal(proof.first, 2);
	assert_int_equal(proof.count, 2);
	assert_int_equal(proof.from_ms, 2000);
	assert_int_equal(proof.to_ms, 3000);
	et_buffer_release(&part);
	et_tape_source_close(&source);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_seen_tells_how_long_and_nothing_else,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_padding_all_of_it_is_seen, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_was_appended_comes_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			one_kind_is_found_in_the_blocks_and_a_checkpoint_beside_them, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(what_does_not_fit_makes_blocks_larger_once, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			signalling_before_media_makes_more_blocks_of_the_same_size, set_up,
			tear_down),
		cmocka_unit_test(sizes_are_few_and_hold_what_they_must),
		cmocka_unit_test_setup_teardown(the_largest_record_fits_and_no_larger_one, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_minute_without_a_tick_is_passed_over, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(every_truncation_leaves_whole_seconds, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(every_flipped_byte_is_found_without_a_key, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_was_torn_is_recovered_with_and_without_its_key,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(malformed_blocks_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_excerpt_is_whole_seconds, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
