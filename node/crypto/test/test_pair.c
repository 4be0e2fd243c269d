#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "node/crypto/sha256_pair.h"

enum { MESSAGE_MAX = 5000 };

static void fill(uint8_t *p, size_t size, uint32_t seed)
{
	for (size_t i = 0; i < size; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = (uint8_t)(seed >> 24);
	}
}

static void assert_piece(struct et_sha256_pair *p, const uint8_t *data, size_t size)
{
	struct et_sha256 *h = et_sha256_new();
	uint8_t want[ET_SHA256_SIZE];
	uint8_t found[ET_SHA256_SIZE];

	assert_non_null(h);
	et_sha256_add(h, "\7", 1);
	et_sha256_add(h, data, size);
	et_sha256_end(h, want);
	(void)et_sha256_free(h);
	et_sha256_pair_piece(p, 7, data, size, found);
	assert_memory_equal(found, want, sizeof(want));
}

static void assert_end(struct et_sha256_pair *p, const uint8_t *data, size_t size)
{
	uint8_t want[ET_SHA256_SIZE];
	uint8_t found[ET_SHA256_SIZE];

	et_sha256(data, size, want);
	et_sha256_pair_end(p, found);
	assert_memory_equal(found, want, sizeof(want));
}

/* Every length of the bytes before, and of the piece, around the edges of blocks. */
static void assert_all_lengths(struct et_sha256_pair *p)
{
	static uint8_t data[MESSAGE_MAX];

	assert_non_null(p);
	fill(data, sizeof(data), 1);
	for (size_t before = 0; before <= 130; before++) {
		for (size_t size = 0; size <= 200; size++) {
			et_sha256_pair_add(p, data, before);
			assert_piece(p, data + before, size);
			assert_end(p, data, before + size);
		}
	}
	(void)et_sha256_pair_free(p);
}

static void every_length_is_openssls_hash(void **state)
{
	(void)state;
	assert_all_lengths(et_sha256_pair_new());
}

static void without_sha_instructions_it_is_the_same(void **state)
{
	(void)state;
	assert_all_lengths(et_sha256_pair_new_slow());
}

/* A long hash over many pieces of odd lengths, from unaligned places. */
static void many_pieces_make_one_long_hash(void **state)
{
	static uint8_t data[400 * MESSAGE_MAX];
	struct et_sha256_pair *p = et_sha256_pair_new();
	uint32_t seed = 5;
	size_t at = 0;

	(void)state;
	assert_non_null(p);
	fill(data, sizeof(data), 2);
	for (int n = 0; n < 380; n++) {
		seed = seed * 1664525 + 1013904223;
		size_t size = (seed >> 16) % MESSAGE_MAX;
		if (n % 5 == 0) {
			et_sha256_pair_add(p, data + at, size);
		} else {
			assert_piece(p, data + at, size);
		}
		at += size;
	}
	assert_end(p, data, at);
	assert_end(p, data, 0); /* It began anew. */
	(void)et_sha256_pair_free(p);
}

/* FIPS 180-4: "abc", and nothing. */
static void the_published_hashes(void **state)
{
	static const uint8_t abc[] = { 0xBA, 0x78, 0x16, 0xBF, 0x8F, 0x01, 0xCF, 0xEA,
				       0x41, 0x41, 0x40, 0xDE, 0x5D, 0xAE, 0x22, 0x23,
				       0xB0, 0x03, 0x61, 0xA3, 0x96, 0x17, 0x7A, 0x9C,
				       0xB4, 0x10, 0xFF, 0x61, 0xF2, 0x00, 0x15, 0xAD };
	struct et_sha256_pair *p = et_sha256_pair_new();
	uint8_t found[ET_SHA256_SIZE];

	(void)state;
	assert_non_null(p);
	et_sha256_pair_piece(p, 'a', "bc", 2, found);
	assert_memory_equal(found, abc, sizeof(abc));
	et_sha256_pair_end(p, found);
	et_sha256_pair_add(p, "abc", 3);
	et_sha256_pair_end(p, found);
	assert_memory_equal(found, abc, sizeof(abc));
	(void)et_sha256_pair_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_length_is_openssls_hash),
		cmocka_unit_test(without_sha_instructions_it_is_the_same),
		cmocka_unit_test(many_pieces_make_one_long_hash),
		cmocka_unit_test(the_published_hashes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
