#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/crypto/aead.h"
#include "node/crypto/test/test_util.h"

/* The GCM specification (McGrew and Viega), test case 16: AES-256, 20 bytes of AAD. */
static void follows_the_gcm_specification(void **state)
{
	ET_CLEANUP(et_secret_freep)
	struct et_secret *key = unhex_secret("feffe9928665731c6d6a8f9467308308"
					     "feffe9928665731c6d6a8f9467308308");
	struct et_view nonce = unhex("cafebabefacedbaddecaf888");
	struct et_view aad = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
	struct et_view plain =
		unhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
		      "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
	struct et_view sealed =
		unhex("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
		      "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
		      "76fc6ece0f4e1768cddf8853bb2d551b");
	ET_CLEANUP(et_aead_freep) struct et_aead *a = NULL;
	uint8_t out[128];
	uint8_t back[128];

	(void)state;
	assert_int_equal(et_aead_new(key, &a, NULL), 0);
	for (int round = 0; round < 3; round++) { /* One context, many messages. */
		assert_int_equal(
			et_aead_seal(a, nonce.data, aad, plain.data, plain.size, out, NULL), 0);
		assert_memory_equal(out, sealed.data, sealed.size);
		assert_int_equal(et_aead_open(a, nonce.data, aad, out, sealed.size, back, NULL), 0);
		assert_memory_equal(back, plain.data, plain.size);
	}
	memcpy(out, plain.data, plain.size); /* In place. */
	assert_int_equal(et_aead_seal(a, nonce.data, aad, out, plain.size, out, NULL), 0);
	assert_memory_equal(out, sealed.data, sealed.size);
	assert_int_equal(et_aead_open(a, nonce.data, aad, out, sealed.size, out, NULL), 0);
	assert_memory_equal(out, plain.data, plain.size);
}

static void refuses_every_changed_bit(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *key = et_secret_new(ET_AEAD_KEY_SIZE);
	ET_CLEANUP(et_aead_freep) struct et_aead *a = NULL;
	uint8_t nonce[ET_AEAD_NONCE_SIZE] = { 0 };
	uint8_t aad[3] = { 1, 2, 3 };
	uint8_t sealed[5 + ET_AEAD_TAG_SIZE];
	uint8_t back[5];
	const struct et_view aad_view = { aad, sizeof(aad) };
	struct et_error e;

	(void)state;
	assert_int_equal(et_aead_new(key, &a, &e), 0);
	assert_int_equal(et_aead_seal(a, nonce, aad_view, "plain", 5, sealed, &e), 0);
	for (size_t bit = 0; bit < sizeof(sealed) * 8; bit++) {
		sealed[bit / 8] ^= (uint8_t)(1U << bit % 8);
		memset(back, 0xEE, sizeof(back));
		assert_int_equal(et_aead_open(a, nonce, aad_view, sealed, sizeof(sealed), back, &e),
				 ET_EINTEGRITY);
		assert_memory_equal(back, "\0\0\0\0\0", 5); /* Nothing unauthentic gets out. */
		sealed[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	aad[2] ^= 1;
	assert_int_equal(et_aead_open(a, nonce, aad_view, sealed, sizeof(sealed), back, &e),
			 ET_EINTEGRITY);
	aad[2] ^= 1;
	nonce[11] = 1;
	assert_int_equal(et_aead_open(a, nonce, aad_view, sealed, sizeof(sealed), back, &e),
			 ET_EINTEGRITY);
	nonce[11] = 0;
	assert_int_equal(et_aead_open(a, nonce, aad_view, sealed, 15, back, &e), ET_EINTEGRITY);
	assert_int_equal(et_aead_open(a, nonce, aad_view, sealed, sizeof(sealed), back, &e), 0);
	assert_memory_equal(back, "plain", 5);
}

static void seals_nothing_at_all(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *key = et_secret_new(ET_AEAD_KEY_SIZE);
	ET_CLEANUP(et_aead_freep) struct et_aead *a = NULL;
	const struct et_view none = { NULL, 0 };
	const uint8_t nonce[ET_AEAD_NONCE_SIZE] = { 0 };
	uint8_t tag[ET_AEAD_TAG_SIZE];

	(void)state;
	/* The same specification, test case 13. */
	assert_int_equal(et_aead_new(key, &a, NULL), 0);
	assert_int_equal(et_aead_seal(a, nonce, none, NULL, 0, tag, NULL), 0);
	assert_memory_equal(tag, unhex("530f8afbc74536b9a963b4f1c4cb738b").data, sizeof(tag));
	assert_int_equal(et_aead_open(a, nonce, none, tag, sizeof(tag), tag, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_the_gcm_specification),
		cmocka_unit_test(refuses_every_changed_bit),
		cmocka_unit_test(seals_nothing_at_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
