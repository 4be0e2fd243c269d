#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/base/bytes.h"

static void a_reader_never_passes_its_end(void **state)
{
	const uint8_t data[] = { 1, 2, 3 };
	struct et_reader r = et_reader_of(data, sizeof(data));

	(void)state;
	assert_int_equal(et_read16(&r), 0x0102);
	assert_int_equal(et_read32(&r), 0);
	assert_true(r.failed);
	assert_int_equal(et_read8(&r), 0); /* Sticky, though a byte is left. */
}

static void numbers_survive_the_writer(void **state)
{
	static const uint64_t values[] = { 0, 1, 127, 128, 16384, UINT32_MAX, UINT64_MAX };
	struct et_buffer b = { 0 };

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(values); i++) {
		et_buffer_add_varint(&b, values[i]);
		et_buffer_add64(&b, values[i]);
	}
	assert_false(b.failed);
	struct et_reader r = et_reader_of(b.data, b.size);
	for (size_t i = 0; i < ET_ARRAY_SIZE(values); i++) {
		assert_int_equal(et_read_varint(&r), values[i]);
		assert_int_equal(et_read64(&r), values[i]);
	}
	assert_false(r.failed);
	assert_int_equal(et_reader_left(&r), 0);
	et_buffer_release(&b);
}

static void refuses_a_varint_of_more_than_64_bits(void **state)
{
	const uint8_t data[] = { 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02 };
	struct et_reader r = et_reader_of(data, sizeof(data));

	(void)state;
	(void)et_read_varint(&r);
	assert_true(r.failed);
}

static void base64_follows_rfc_4648(void **state)
{
	static const char *const plain[] = { "", "f", "fo", "foo", "foob", "fooba", "foobar" };
	static const char *const coded[] = { "",       "Zg",	  "Zm8",     "Zm9v",
					     "Zm9vYg", "Zm9vYmE", "Zm9vYmFy" };
	char text[16];
	char back[16];

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(plain); i++) {
		et_base64(plain[i], strlen(plain[i]), text);
		assert_string_equal(text, coded[i]);
		assert_int_equal(et_unbase64(text, strlen(text), back, sizeof(back)),
				 (int)strlen(plain[i]));
		assert_memory_equal(back, plain[i], strlen(plain[i]));
	}
	assert_int_equal(et_unbase64("Zg==", 4, back, sizeof(back)), -1);
	assert_int_equal(et_unbase64("Zh", 2, back, sizeof(back)), -1); /* Stray bits. */
	assert_int_equal(et_unbase64("Z", 1, back, sizeof(back)), -1);
	assert_int_equal(et_unbase64("Zm9v", 4, back, 2), -1);
}

static void crc32c_follows_rfc_3720(void **state)
{
	uint8_t data[32] = { 0 };

	(void)state;
	assert_int_equal(et_crc32c(0, data, 32), 0x8A9136AA);
	for (size_t i = 0; i < 32; i++) {
		data[i] = (uint8_t)i;
	}
	assert_int_equal(et_crc32c(0, data, 32), 0x46DD794E);
	assert_int_equal(et_crc32c(et_crc32c(0, data, 5), data + 5, 27), 0x46DD794E);
}

/* Long inputs go through several lanes: whatever is cut, the sum is the same. */
static void crc32c_of_the_whole_is_that_of_its_pieces(void **state)
{
	static uint8_t data[20000];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++) {
		data[i] = (uint8_t)(i * 7 + i / 251);
	}
	for (size_t size = 0; size <= sizeof(data); size += size < 100 ? 1 : 397) {
		uint32_t crc = 0;
		for (size_t at = 0; at < size; at += 1000) {
			const size_t left = size - at;
			crc = et_crc32c(crc, data + at, left < 1000 ? left : 1000);
		}
		assert_int_equal(et_crc32c(0, data, size), crc);
		assert_int_equal(
			et_crc32c(et_crc32c(0, data, size / 3), data + size / 3, size - size / 3),
			crc);
	}
}

static void hexadecimal_is_exact(void **state)
{
	uint8_t back[2];
	char text[5];

	(void)state;
	et_hex("\x0f\xa0", 2, text);
	assert_string_equal(text, "0fa0");
	assert_true(et_unhex("0FA0", 4, back, 2));
	assert_memory_equal(back, "\x0f\xa0", 2);
	assert_false(et_unhex("0fa", 3, back, 2));
	assert_false(et_unhex("0fag", 4, back, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reader_never_passes_its_end),
		cmocka_unit_test(numbers_survive_the_writer),
		cmocka_unit_test(refuses_a_varint_of_more_than_64_bits),
		cmocka_unit_test(base64_follows_rfc_4648),
		cmocka_unit_test(crc32c_follows_rfc_3720),
		cmocka_unit_test(crc32c_of_the_whole_is_that_of_its_pieces),
		cmocka_unit_test(hexadecimal_is_exact),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
