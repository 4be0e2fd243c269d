#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/crypto/hash.h"
#include "node/crypto/md5.h"
#include "node/crypto/test/test_util.h"

static void sha256_follows_fips_180(void **state)
{
	static const char abc[] =
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	static const char none[] =
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *h = et_sha256_new();
	uint8_t hash[ET_SHA256_SIZE];

	(void)state;
	et_sha256("abc", 3, hash);
	assert_memory_equal(hash, unhex(abc).data, sizeof(hash));
	et_sha256(NULL, 0, hash);
	assert_memory_equal(hash, unhex(none).data, sizeof(hash));

	assert_non_null(h);
	for (int round = 0; round < 2; round++) { /* The end leaves it ready for the next. */
		et_sha256_add(h, "a", 1);
		et_sha256_add(h, NULL, 0);
		et_sha256_add(h, "bc", 2);
		et_sha256_end(h, hash);
		assert_memory_equal(hash, unhex(abc).data, sizeof(hash));
	}
	et_sha256_add(h, "x", 1);
	et_sha256_reset(h);
	et_sha256_end(h, hash);
	assert_memory_equal(hash, unhex(none).data, sizeof(hash));
}

static void md5_follows_rfc_1321(void **state)
{
	static const struct {
		const char *text;
		const char *hash;
	} rows[] = { { "", "d41d8cd98f00b204e9800998ecf8427e" },
		     { "message digest", "f96b697d7cb7938d525a2f31aaf161d0" } };
	uint8_t hash[ET_MD5_SIZE];

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		const size_t size = strlen(rows[i].text);
		struct et_md5 *m = NULL;
		assert_int_equal(et_md5_new(&m, NULL), 0);
		et_md5_add(m, rows[i].text, size / 2);
		et_md5_add(m, rows[i].text + size / 2, size - size / 2);
		et_md5_end(m, hash);
		assert_memory_equal(hash, unhex(rows[i].hash).data, sizeof(hash));
		m = et_md5_free(m);
	}
}

static void fill(uint8_t *p, size_t size, uint32_t seed)
{
	for (size_t i = 0; i < size; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = (uint8_t)(seed >> 24);
	}
}

static void assert_end(struct et_sha256 *h, const uint8_t *data, size_t size)
{
	uint8_t want[ET_SHA256_SIZE];
	uint8_t found[ET_SHA256_SIZE];

	et_sha256(data, size, want);
	et_sha256_end(h, found);
	assert_memory_equal(found, want, sizeof(want));
}

/* Two pieces of every length around the edges of blocks; then many of odd lengths, from unaligned
 * places. */
static void pieces_make_one_hash(void **state)
{
	enum { PIECE_MAX = 5000 };
	static uint8_t data[400 * PIECE_MAX];
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *h = et_sha256_new();
	uint32_t seed = 5;
	size_t at = 0;

	(void)state;
	assert_non_null(h);
	fill(data, sizeof(data), 2);
	for (size_t before = 0; before <= 130; before++) {
		for (size_t size = 0; size <= 200; size++) {
			et_sha256_add(h, data, before);
			et_sha256_add(h, data + before, size);
			assert_end(h, data, before + size);
		}
	}
	for (int n = 0; n < 380; n++) {
		seed = seed * 1664525 + 1013904223;
		size_t size = (seed >> 16) % PIECE_MAX;
		et_sha256_add(h, data + at, size);
		at += size;
	}
	assert_end(h, data, at);
	assert_end(h, data, 0); /* It began anew. */
}

static void hmac_follows_rfc_4231(void **state)
{
	ET_CLEANUP(et_secret_freep)
	struct et_secret *key = unhex_secret("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
	uint8_t mac[ET_SHA256_SIZE];

	(void)state;
	assert_int_equal(et_hmac_sha256(key, et_view_of("Hi There"), mac, NULL), 0);
	assert_memory_equal(
		mac, unhex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7").data,
		32);
}

static void hkdf_follows_rfc_5869(void **state)
{
	ET_CLEANUP(et_secret_freep)
	struct et_secret *key = unhex_secret("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
	ET_CLEANUP(et_secret_freep) struct et_secret *okm = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *plain = NULL;

	(void)state;
	assert_int_equal(et_hkdf_sha256(key, unhex("000102030405060708090a0b0c"),
					unhex("f0f1f2f3f4f5f6f7f8f9"), 42, &okm, NULL),
			 0);
	assert_int_equal(et_secret_size(okm), 42);
	assert_memory_equal(et_secret_bytes(okm),
			    unhex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
				  "34007208d5b887185865")
				    .data,
			    42);
	/* Test case 3: no salt, no info. */
	const struct et_view none = { NULL, 0 };
	assert_int_equal(et_hkdf_sha256(key, none, none, 42, &plain, NULL), 0);
	assert_memory_equal(et_secret_bytes(plain),
			    unhex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
				  "9d201395faa4b61a96c8")
				    .data,
			    42);
}

/* The first is the vector that implementers of TLS 1.2 agreed on for P_SHA256; the others are of
 * the same input, computed from the RFCs' formulas with Python's hmac. */
static void tls_prf_follows_rfc_5246_and_2246(void **state)
{
	static const char *const want[] = {
		[ET_TLS_PRF_MD5_SHA1] =
			"661740e6f98bc901efd2738502a71c03f76dd2f86298549b1148eff06714cf0f"
			"6b7c532cd8c69f1530e0bb680eec34c495fa75a8bfcc9c335484c0d3d194ab6e"
			"32975903c50ebcdbe9d67c0591bdbd80dddcc36d33ccd58adf96caae173f48dc"
			"40f983e2",
		[ET_TLS_PRF_SHA256] =
			"e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a"
			"6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab"
			"4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701"
			"87347b66",
		[ET_TLS_PRF_SHA384] =
			"dd88775cd827187b67a3f7652b5c13f715791cc46e0274a6d3fb16651103defc"
			"544cd8afb68369a219bb918b8b21ddb1764af0a70339e6dec085e574f655851b"
			"a692513203536bdfc3675e53768210f0a2389dd324311a440c7c30ef44b391d9"
			"14c3b0c7",
	};
	const struct et_view secret = unhex("9bbe436ba940f017b17652849a71db35");
	const struct et_view seed = unhex("a0ba9f936cda311827a6f796ffd5198c");

	(void)state;
	for (size_t prf = 0; prf < ET_ARRAY_SIZE(want); prf++) {
		ET_CLEANUP(et_secret_freep) struct et_secret *s = NULL;
		assert_int_equal(
			et_tls_prf((enum et_tls_prf)prf, secret, "test label", seed, 100, &s, NULL),
			0);
		assert_int_equal(et_secret_size(s), 100);
		assert_memory_equal(et_secret_bytes(s), unhex(want[prf]).data, 100);
	}
}

static void compares_bytes(void **state)
{
	(void)state;
	assert_true(et_equal_constant_time("abc", "abc", 3));
	assert_false(et_equal_constant_time("abc", "abd", 3));
	assert_true(et_equal_constant_time("abc", "abd", 2));
	assert_true(et_equal_constant_time("", "", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256_follows_fips_180),
		cmocka_unit_test(md5_follows_rfc_1321),
		cmocka_unit_test(pieces_make_one_hash),
		cmocka_unit_test(hmac_follows_rfc_4231),
		cmocka_unit_test(hkdf_follows_rfc_5869),
		cmocka_unit_test(tls_prf_follows_rfc_5246_and_2246),
		cmocka_unit_test(compares_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
