/* FILE: items come back, later versions are passed over; what is woven is the file, or says that it
 * is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "node/tape/file.h"

struct out {
	uint8_t bytes[256];
	size_t size;
};

static int put(void *arg, const void *data, size_t size)
{
	struct out *o = arg;
	if (o->size + size > sizeof(o->bytes)) {
		return ET_ELIMIT;
	}
	memcpy(o->bytes + o->size, data, size);
	o->size += size;
	return 0;
}

static struct et_view text(const char *s)
{
	return (struct et_view){ (const uint8_t *)s, strlen(s) };
}

static struct et_file_item medium(uint64_t size, uint8_t channels, uint8_t bytes, bool swapped)
{
	return (struct et_file_item){ .type = ET_FILE_MEDIUM,
				      .medium = { .size_bytes = size,
						  .sha256 = { 1, 2, [31] = 9 },
						  .channels = channels,
						  .sample_bytes = bytes,
						  .swapped = swapped,
						  .format = text("WAV"),
						  .name = text("a.wav") } };
}

static struct et_file_item beside(uint64_t offset, const char *s)
{
	return (struct et_file_item){ .type = ET_FILE_BYTES, .offset = offset, .bytes = text(s) };
}

static void weave(struct et_weave *w, const struct et_file_item *item)
{
	struct et_buffer b = { 0 };

	assert_int_equal(et_file_add(&b, item), 0);
	assert_false(b.failed);
	assert_int_equal(et_weave_file(w, (struct et_view){ b.data, b.size }, NULL), 0);
	et_buffer_release(&b);
}

static void packet(struct et_weave *w, uint32_t stream, uint32_t timestamp, const char *s)
{
	const struct et_media_packet p = { .stream = stream,
					   .timestamp = timestamp,
					   .payload = text(s) };
	assert_int_equal(et_weave_packet(w, &p), 0);
}

static void items_come_back(void **state)
{
	(void)state;
	const struct et_file_item m = medium(1234567890123, 2, 2, true);
	const struct et_file_item x = beside(77, "RIFF");
	struct et_buffer b = { 0 };
	struct et_file_reader r;
	struct et_file_item i;

	assert_int_equal(et_file_add(&b, &m), 0);
	assert_int_equal(et_file_add(&b, &x), 0);
	/* The bytes that ops/doc/formats/tape.md shows. */
	static const uint8_t head[] = { 1, 1, 53, 0, 0, 0x01, 0x1F, 0x71, 0xFB, 0x04, 0xCB, 1, 2 };
	assert_memory_equal(b.data, head, sizeof(head));
	et_buffer_add(&b, "\x09\x03xyz", 5); /* of a later version */
	assert_int_equal(et_file_reader_init(&r, (struct et_view){ b.data, b.size }, NULL), 0);
	assert_int_equal(et_file_reader_next(&r, &i, NULL), 1);
	assert_int_equal(i.type, ET_FILE_MEDIUM);
	assert_int_equal(i.medium.size_bytes, 1234567890123);
	assert_memory_equal(i.medium.sha256, m.medium.sha256, 32);
	assert_true(i.medium.channels == 2 && i.medium.sample_bytes == 2 && i.medium.swapped);
	assert_memory_equal(i.medium.name.data, "a.wav", 5);
	assert_int_equal(et_file_reader_next(&r, &i, NULL), 1);
	assert_int_equal(i.offset, 77);
	assert_memory_equal(i.bytes.data, "RIFF", 4);
	assert_int_equal(et_file_reader_next(&r, &i, NULL), 1);
	assert_int_equal(i.type, 9);
	assert_int_equal(et_file_reader_next(&r, &i, NULL), 0);
	et_buffer_release(&b);
}

static void what_is_out_of_bounds_is_refused(void **state)
{
	(void)state;
	struct et_buffer b = { 0 };
	struct et_file_item i = medium(1, 3, 1, false);
	struct et_file_reader r;

	assert_int_equal(et_file_add(&b, &i), -EINVAL);
	i = medium(1, 1, 5, false);
	assert_int_equal(et_file_add(&b, &i), -EINVAL);
	i = beside(0, "");
	assert_int_equal(et_file_add(&b, &i), -EINVAL);
	i = medium(1, 1, 1, false);
	assert_int_equal(et_file_add(&b, &i), 0);
	for (size_t cut = 1; cut < b.size; cut++) {
		struct et_file_item back;
		assert_int_equal(et_file_reader_init(&r, (struct et_view){ b.data, cut }, NULL), 0);
		int rc = et_file_reader_next(&r, &back, NULL);
		assert_int_equal(rc, cut == 1 ? 0 : ET_EMALFORMED);
	}
	b.data[0] = 2;
	assert_int_equal(et_file_reader_init(&r, (struct et_view){ b.data, b.size }, NULL),
			 ET_EVERSION);
	et_buffer_release(&b);
}

static void one_channel_is_woven(void **state)
{
	(void)state;
	struct out o = { .size = 0 };
	struct et_weave w = { .sink = put, .arg = &o };
	struct et_file_item i = medium(12, 1, 2, true);

	weave(&w, &i);
	i = beside(0, "HEAD");
	weave(&w, &i);
	packet(&w, 0, 0, "badc");
	packet(&w, 0, 2, "fe");
	assert_false(et_weave_is_whole(&w));
	i = beside(10, "xy");
	weave(&w, &i);
	assert_true(et_weave_is_whole(&w));
	assert_int_equal(o.size, 12);
	assert_memory_equal(o.bytes, "HEADabcdefxy", 12);
	assert_string_equal(w.name, "a.wav");
	assert_string_equal(w.format, "WAV");
	et_weave_release(&w);
}

static void two_channels_are_woven(void **state)
{
	(void)state;
	struct out o = { .size = 0 };
	struct et_weave w = { .sink = put, .arg = &o };
	const struct et_file_item i = medium(12, 2, 2, true);

	weave(&w, &i);
	packet(&w, 0, 0, "1a3c");
	packet(&w, 1, 0, "2b4d");
	packet(&w, 0, 2, "5e");
	assert_false(et_weave_is_whole(&w));
	packet(&w, 1, 2, "6f");
	assert_true(et_weave_is_whole(&w));
	assert_memory_equal(o.bytes, "a1b2c3d4e5f6", 12);
	et_weave_release(&w);
}

static struct et_file_item within(uint64_t at, const char *text)
{
	struct et_file_item i = beside(at, text);

	i.type = ET_FILE_SPLICE;
	return i;
}

static void bytes_are_spliced_into_their_packet(void **state)
{
	(void)state;
	struct out o = { .size = 0 };
	struct et_weave w = { .sink = put, .arg = &o };
	struct et_file_item i = medium(11, 1, 1, false);

	weave(&w, &i);
	i = within(2, "1");
	weave(&w, &i);
	i = within(2, "2");
	weave(&w, &i);
	i = within(4, "34");
	weave(&w, &i);
	assert_false(et_weave_is_whole(&w));
	packet(&w, 0, 0, "abcd");
	packet(&w, 0, 2, "efg"); /* the next one is whole again */
	assert_true(et_weave_is_whole(&w));
	assert_memory_equal(o.bytes, "ab12cd34efg", 11);
	et_weave_release(&w);
}

static void bytes_that_fit_no_packet_are_told(void **state)
{
	(void)state;
	struct out o = { .size = 0 };

	for (int what = 0; what < 5; what++) {
		struct et_weave w = { .sink = put, .arg = &o };
		const struct et_file_item i =
			medium(12, what == 3 ? 2 : 1, what == 4 ? 2 : 1, false);
		const struct et_file_item first = within(2, "xx");
		const struct et_file_item second = within(what == 1 ? 1 : 5, "yy");
		const struct et_file_item other = beside(0, "zz");
		weave(&w, &i);
		weave(&w, &first);
		if (what < 2) {
			weave(&w, &second); /* behind its end; before the one before */
			packet(&w, 0, 0, "abcd");
		} else if (what == 2) {
			weave(&w, &other); /* no packet follows */
		}
		assert_true(w.broken);
		et_weave_release(&w);
	}
}

/* What a span that was cut out leaves. */
static void a_hole_is_told(void **state)
{
	(void)state;
	struct out o = { .size = 0 };

	for (int what = 0; what < 5; what++) {
		struct et_weave w = { .sink = put, .arg = &o };
		const struct et_file_item i = medium(12, 2, 1, false);
		const struct et_file_item late = beside(4, "x");
		weave(&w, &i);
		if (what == 0) {
			packet(&w, 1, 0, "a"); /* the left one is missing */
		} else if (what == 1) {
			packet(&w, 0, 0, "a");
			packet(&w, 0, 1, "b"); /* the right one */
		} else if (what == 2) {
			packet(&w, 0, 0, "a");
			packet(&w, 1, 7, "b"); /* of another time */
		} else if (what == 3) {
			packet(&w, 0, 0, "ab");
			packet(&w, 1, 0, "b"); /* of another length */
		} else {
			weave(&w, &late); /* what was before it is missing */
		}
		assert_true(w.broken);
		assert_false(et_weave_is_whole(&w));
		et_weave_release(&w);
	}
	struct et_weave none = { .sink = put, .arg = &o };
	packet(&none, 0, 0, "a tape of a recorder");
	assert_false(et_weave_is_whole(&none) || none.has_medium);
	et_weave_release(&none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(items_come_back),
		cmocka_unit_test(what_is_out_of_bounds_is_refused),
		cmocka_unit_test(one_channel_is_woven),
		cmocka_unit_test(two_channels_are_woven),
		cmocka_unit_test(bytes_are_spliced_into_their_packet),
		cmocka_unit_test(bytes_that_fit_no_packet_are_told),
		cmocka_unit_test(a_hole_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
