#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "replication/sync/wire_internal.h"

#define FRAMES_MAX 16

struct got {
	struct et_wire_frame frames[FRAMES_MAX];
	size_t count;
	int code;
	struct et_error error;
};

/* Parse `bytes` in pieces of `piece`. */
static void parse(enum et_wire_side from, const struct et_buffer *bytes, size_t piece,
		  struct got *got)
{
	struct et_wire_parser p;

	*got = (struct got){ 0 };
	et_wire_parser_init(&p, from);
	for (size_t at = 0; at < bytes->size && got->code >= 0;) {
		size_t size = bytes->size - at < piece ? bytes->size - at : piece;
		size_t used = 0;
		assert_true(got->count < FRAMES_MAX);
		got->code = et_wire_parse(&p, bytes->data + at, size, &used,
					  &got->frames[got->count], &got->error);
		assert_true(used <= size);
		assert_true(used > 0 || got->code < 0);
		got->count += got->code == 1;
		at += used;
	}
	et_wire_parser_release(&p);
}

static void got_release(struct got *got)
{
	for (size_t i = 0; i < got->count; i++) {
		free(got->frames[i].body);
	}
}

static void hello(struct et_buffer *out)
{
	et_wire_add_hello(out, &(struct et_wire_hello){
				       .node = 7, .streams = 64, .features = ET_WIRE_HELLO_TAILS });
}

static struct et_wire_want a_want(void)
{
	struct et_wire_want want = {
		.generation = 1, .segment = 2, .offset = 160, .window_bytes = 4096
	};
	memset(want.recording, 0x11, sizeof(want.recording));
	memset(want.root, 0x22, sizeof(want.root));
	return want;
}

static void carries_what_a_puller_says(void **state)
{
	(void)state;
	for (size_t piece = 1; piece < 200; piece++) {
		struct et_buffer out = { 0 };
		struct got got;
		struct et_wire_hello h;
		struct et_wire_want want = a_want();
		struct et_wire_want read;
		struct et_wire_tail tail = {
			.recording = { 0x44 }, .generation = 1, .segment = 3, .offset = 9
		};
		uint32_t window = 0;

		hello(&out);
		et_wire_add_want(&out, 5, 2, ET_WIRE_WANT_LEAVES | ET_WIRE_WANT_DATA, &want);
		et_wire_add_credit(&out, 5, 1000);
		et_wire_add_cancel(&out, 5);
		et_wire_add_ping(&out, 99, true);
		et_wire_add_tails(&out, 6, 70000, 2);
		et_wire_add_tail(&out, &tail);
		tail.segment++;
		et_wire_add_tail(&out, &tail);
		parse(ET_WIRE_PULLER, &out, piece, &got);
		assert_int_equal(got.count, 6);
		assert_int_equal(got.code, 1);
		assert_true(et_wire_read_hello(got.frames[0].body, &h));
		assert_int_equal(h.node, 7);
		assert_int_equal(h.streams, 64);
		assert_int_equal(h.features, ET_WIRE_HELLO_TAILS);
		assert_int_equal(got.frames[1].type, ET_WIRE_WANT);
		assert_int_equal(got.frames[1].klass, 2);
		assert_int_equal(got.frames[1].flags, 3);
		assert_int_equal(got.frames[1].stream, 5);
		assert_true(et_wire_read_want(got.frames[1].body, &read));
		assert_memory_equal(read.recording, want.recording, 16);
		assert_memory_equal(read.root, want.root, 32);
		assert_int_equal(read.offset, 160);
		assert_int_equal(read.window_bytes, 4096);
		assert_int_equal(got.frames[2].type, ET_WIRE_CREDIT);
		assert_int_equal(et_get32(got.frames[2].body->data), 1000);
		assert_int_equal(got.frames[3].type, ET_WIRE_CANCEL);
		assert_int_equal(got.frames[4].flags, ET_WIRE_PING_ANSWER);
		assert_int_equal(et_wire_read_tails(got.frames[5].body, &window), 2);
		assert_int_equal(window, 70000);
		et_wire_read_tail(got.frames[5].body, 1, &tail);
		assert_int_equal(tail.recording[0], 0x44);
		assert_int_equal(tail.segment, 4);
		assert_int_equal(tail.offset, 9);
		got_release(&got);
		et_buffer_release(&out);
	}
}

static void carries_what_a_source_says(void **state)
{
	(void)state;
	uint8_t hashes[3 * 32];
	memset(hashes, 0x33, sizeof(hashes));
	for (size_t piece = 1; piece < 200; piece += 7) {
		struct et_buffer out = { 0 };
		struct got got;
		struct et_wire_leaves leaves;
		struct et_wire_eof eof = { .size_bytes = 12345 };
		struct et_wire_eof read;
		struct et_wire_grown grown;
		static const uint8_t efg[] = { 'e', 'f', 'g' };

		hello(&out);
		et_wire_add_leaves(&out, 9, 1, 5, 2, 3, hashes);
		et_wire_add_header(&out, ET_WIRE_DATA, 1, 0, 9, 8 + 4);
		et_buffer_add64(&out, 160);
		et_buffer_add(&out, "abcd", 4);
		et_wire_add_eof(&out, 9, 1, &eof);
		et_wire_add_error(&out, 9, ET_ENOTFOUND, "not here");
		et_wire_add_busy(&out, 9, 500);
		et_wire_add_grown(
			&out, 10, ET_WIRE_GROWN_MORE,
			&(struct et_wire_grown){ .entry = 2, .offset = 160, .bytes = { efg, 3 } });
		parse(ET_WIRE_SOURCE, &out, piece, &got);
		assert_int_equal(got.count, 7);
		assert_true(et_wire_read_leaves(got.frames[1].body, &leaves));
		assert_int_equal(leaves.total, 5);
		assert_int_equal(leaves.first, 2);
		assert_int_equal(leaves.count, 3);
		assert_memory_equal(leaves.hashes, hashes, sizeof(hashes));
		assert_int_equal(et_get64(got.frames[2].body->data), 160);
		assert_memory_equal(got.frames[2].body->data + 8, "abcd", 4);
		et_wire_read_eof(got.frames[3].body, &read);
		assert_int_equal(read.size_bytes, 12345);
		assert_int_equal((int32_t)et_get32(got.frames[4].body->data), ET_ENOTFOUND);
		assert_int_equal(got.frames[6].flags, ET_WIRE_GROWN_MORE);
		assert_true(et_wire_read_grown(got.frames[6].body, &grown));
		assert_int_equal(grown.entry, 2);
		assert_int_equal(grown.code, 0);
		assert_int_equal(grown.offset, 160);
		assert_int_equal(grown.bytes.size, 3);
		assert_memory_equal(grown.bytes.data, efg, 3);
		got_release(&got);
		et_buffer_release(&out);
	}
}

static void expect_refused(enum et_wire_side from, struct et_buffer *out, int code)
{
	struct got got;
	parse(from, out, 64, &got);
	assert_int_equal(got.code, code);
	assert_true(got.error.text[0] != '\0');
	got_release(&got);
	et_buffer_release(out);
}

static void refuses_what_is_not_the_protocol(void **state)
{
	(void)state;
	struct et_buffer out = { 0 };
	struct et_wire_want want = a_want();

	/* Before the greeting; the greeting twice; another version. */
	et_wire_add_want(&out, 1, 2, 1, &want);
	expect_refused(ET_WIRE_PULLER, &out, ET_EMALFORMED);
	hello(&out);
	hello(&out);
	expect_refused(ET_WIRE_PULLER, &out, ET_EMALFORMED);
	hello(&out);
	out.data[17] = 2;
	expect_refused(ET_WIRE_PULLER, &out, ET_EVERSION);

	/* A source that wants, a puller that sends. */
	hello(&out);
	et_wire_add_want(&out, 1, 2, 1, &want);
	expect_refused(ET_WIRE_SOURCE, &out, ET_EMALFORMED);
	hello(&out);
	et_wire_add_busy(&out, 1, 0);
	expect_refused(ET_WIRE_PULLER, &out, ET_EMALFORMED);

	/* Unknown type, class, flags; stream 0 where there must be one. */
	static const struct {
		size_t at;
		uint8_t value;
	} bad[] = { { 4, 0 }, { 4, 13 }, { 4, 255 }, { 5, 5 }, { 6, 1 }, { 7, 4 }, { 15, 0 } };
	for (size_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		hello(&out);
		size_t begin = out.size;
		et_wire_add_want(&out, 1, 2, 1, &want);
		out.data[begin + bad[i].at] = bad[i].value;
		expect_refused(ET_WIRE_PULLER, &out, ET_EMALFORMED);
	}
}

static void refuses_lengths_before_it_allocates(void **state)
{
	(void)state;
	static const uint32_t lengths[] = { 0,	      1,	 11,
					    12,	      20,	 12 + ET_WIRE_BODY_MAX + 1,
					    1U << 31, UINT32_MAX };
	for (size_t i = 0; i < ET_ARRAY_SIZE(lengths); i++) {
		struct et_buffer out = { 0 };
		hello(&out);
		size_t begin = out.size;
		et_wire_add_header(&out, ET_WIRE_DATA, 0, 0, 1, 9);
		et_put32(out.data + begin, lengths[i]);
		expect_refused(ET_WIRE_SOURCE, &out, ET_EMALFORMED);
	}
}

/* `b` has room for three. */
static void refuses_tails_out_of_bounds(struct et_wire_block *b)
{
	struct et_wire_grown g;
	uint32_t window = 0;

	memset(b->data, 0, 4 + 3 * 32);
	for (size_t i = 0; i < 3; i++) {
		et_put32(b->data + 4 + i * 32 + 16, 1);
		et_put32(b->data + 4 + i * 32 + 20, 1);
	}
	b->size = 4 + 3 * 32;
	assert_int_equal(et_wire_read_tails(b, &window), 0); /* no window */
	et_put32(b->data, 1);
	assert_int_equal(et_wire_read_tails(b, &window), 3);
	b->size = 4 + 3 * 32 - 1;
	assert_int_equal(et_wire_read_tails(b, &window), 0); /* not whole entries */
	b->size = 4 + 3 * 32;
	et_put32(b->data, ET_WIRE_WINDOW_MAX + 1);
	assert_int_equal(et_wire_read_tails(b, &window), 0);
	et_put32(b->data, 1);
	et_put64(b->data + 4 + 64 + 24, UINT64_MAX);
	assert_int_equal(et_wire_read_tails(b, &window), 0); /* an offset behind all files */
	et_put64(b->data + 4 + 64 + 24, 0);
	et_put32(b->data + 4 + 64 + 20, 0);
	assert_int_equal(et_wire_read_tails(b, &window), 0); /* segments count from 1 */

	memset(b->data, 0, 32);
	b->size = 16;
	assert_true(et_wire_read_grown(b, &g));
	et_put32(b->data, ET_WIRE_TAILS_MAX);
	assert_false(et_wire_read_grown(b, &g)); /* no such entry */
	et_put32(b->data, 0);
	et_put32(b->data + 4, 1);
	assert_false(et_wire_read_grown(b, &g)); /* no code */
	et_put32(b->data + 4, (uint32_t)ET_ENOTFOUND);
	assert_true(et_wire_read_grown(b, &g));
	b->size = 17;
	assert_false(et_wire_read_grown(b, &g)); /* a refusal with bytes */
	et_put32(b->data + 4, 0);
	et_put64(b->data + 8, UINT64_MAX);
	assert_false(et_wire_read_grown(b, &g));
}

static void refuses_bodies_out_of_bounds(void **state)
{
	(void)state;
	enum { BODY = 128 };
	struct et_wire_block *b = calloc(1, sizeof(*b) + BODY);
	struct et_wire_leaves leaves;
	struct et_wire_want want;
	struct et_wire_hello h;

	b->size = 8 + 33;
	assert_false(et_wire_read_leaves(b, &leaves)); /* not whole hashes */
	b->size = 8 + 64;
	et_put32(b->data, 1);
	assert_false(et_wire_read_leaves(b, &leaves)); /* more than in total */
	et_put32(b->data, UINT32_MAX);
	assert_false(et_wire_read_leaves(b, &leaves)); /* more than ever */
	et_put32(b->data, 4);
	et_put32(b->data + 4, UINT32_MAX);
	assert_false(et_wire_read_leaves(b, &leaves)); /* first + count would overflow */
	et_put32(b->data + 4, 2);
	assert_true(et_wire_read_leaves(b, &leaves));

	memset(b->data, 0, BODY);
	b->size = 68;
	assert_false(et_wire_read_want(b, &want)); /* generation and segment count from 1 */
	et_put32(b->data + 16, 1);
	et_put32(b->data + 20, 1);
	assert_true(et_wire_read_want(b, &want));
	et_put64(b->data + 24, UINT64_MAX);
	assert_false(et_wire_read_want(b, &want));
	et_put64(b->data + 24, 0);
	et_put32(b->data + 64, ET_WIRE_WINDOW_MAX + 1);
	assert_false(et_wire_read_want(b, &want));

	memset(b->data, 0, BODY);
	b->size = 12;
	assert_false(et_wire_read_hello(b, &h));
	et_put64(b->data + 2, 1);
	et_put16(b->data + 10, 1);
	et_put32(b->data + 12, UINT32_MAX);
	assert_true(et_wire_read_hello(b, &h)); /* of a build from before features */
	assert_int_equal(h.features, 0);
	refuses_tails_out_of_bounds(b);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(carries_what_a_puller_says),
		cmocka_unit_test(carries_what_a_source_says),
		cmocka_unit_test(refuses_what_is_not_the_protocol),
		cmocka_unit_test(refuses_lengths_before_it_allocates),
		cmocka_unit_test(refuses_bodies_out_of_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
