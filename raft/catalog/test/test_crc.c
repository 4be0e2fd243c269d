/* libraft's checksum of its log, as the catalogue makes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/catalog/catalog_internal.h"

/* The definition: a bit at a time. */
static uint32_t crc_by_bits(const uint8_t *p, size_t size, uint32_t crc)
{
	for (size_t i = 0; i < size; i++) {
		crc ^= (uint32_t)p[i] << 24;
		for (int bit = 0; bit < 8; bit++) {
			crc = crc << 1 ^ (crc >> 31 != 0 ? UINT32_C(0x04c11db7) : 0);
		}
	}
	return crc;
}

/* The check value of CRC-32/MPEG-2 (Koopman, Williams): from all ones; and from nothing, which is
 * CRC-32/CKSUM's without its length and inversion. */
static void known_values_are_met(void **state)
{
	(void)state;
	assert_int_equal(__wrap_byteCrc32("123456789", 9, 0xffffffff), 0x0376e6e7);
	assert_int_equal(__wrap_byteCrc32("123456789", 9, 0), 0x89a1897f);
	assert_int_equal(__wrap_byteCrc32("", 0, 0x12345678), 0x12345678);
}

static void any_length_place_and_beginning_is_right(void **state)
{
	static uint8_t bytes[4096];
	uint32_t x = 1;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		x = x * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(x >> 24);
	}
	for (size_t size = 0; size < 300; size++) {
		for (size_t at = 0; at < 17; at++) {
			x = x * 1664525 + 1013904223;
			assert_int_equal(__wrap_byteCrc32(bytes + at, size, x),
					 crc_by_bits(bytes + at, size, x));
		}
	}
	assert_int_equal(__wrap_byteCrc32(bytes, sizeof(bytes), 0),
			 crc_by_bits(bytes, sizeof(bytes), 0));
}

/* A part is the beginning of the next: libraft sums an entry's buffers one after the other. */
static void parts_make_the_whole(void **state)
{
	static const uint8_t bytes[100] = { 1, 2, 3 };

	(void)state;
	for (size_t cut = 0; cut <= sizeof(bytes); cut++) {
		unsigned first = __wrap_byteCrc32(bytes, cut, 0);
		assert_int_equal(__wrap_byteCrc32(bytes + cut, sizeof(bytes) - cut, first),
				 __wrap_byteCrc32(bytes, sizeof(bytes), 0));
	}
}

#ifdef ET_RAFT_LINKED_IN
unsigned __real_byteCrc32(const void *buf, size_t size, unsigned init); /* the linker's name */

/* A libraft whose function of this name gives something else would write logs that only such
 * builds of evertape read; one without such a function does not link here. */
static void libraft_has_it_and_gives_the_same(void **state)
{
	static uint8_t bytes[1000];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)(i * i + 7);
	}
	for (size_t size = 0; size <= sizeof(bytes); size++) {
		unsigned init = (unsigned)size * 2654435761U;
		assert_int_equal(__wrap_byteCrc32(bytes, size, init),
				 __real_byteCrc32(bytes, size, init));
	}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_values_are_met),
		cmocka_unit_test(any_length_place_and_beginning_is_right),
		cmocka_unit_test(parts_make_the_whole),
#ifdef ET_RAFT_LINKED_IN
		cmocka_unit_test(libraft_has_it_and_gives_the_same),
#endif
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
