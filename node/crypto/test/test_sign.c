#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/crypto/hash.h"
#include "node/crypto/sign.h"
#include "node/crypto/test/test_util.h"

/* RFC 8032, section 7.1, tests 1 and 2. */
static void ed25519_follows_rfc_8032(void **state)
{
	static const struct {
		const char *seed, *public_key, *message, *signature;
	} vectors[] = {
		{ "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
		  "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
		  "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac"
		  "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b" },
		{ "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
		  "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
		  "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e"
		  "458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00" },
	};

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(vectors); i++) {
		ET_CLEANUP(et_secret_freep) struct et_secret *seed = unhex_secret(vectors[i].seed);
		struct et_view message = unhex(vectors[i].message);
		uint8_t public_key[ET_KEY_SIZE];
		uint8_t signature[ET_SIGNATURE_SIZE];

		assert_int_equal(et_ed25519_public(seed, public_key, NULL), 0);
		assert_memory_equal(public_key, unhex(vectors[i].public_key).data, ET_KEY_SIZE);
		assert_int_equal(et_ed25519_sign(seed, message, signature, NULL), 0);
		assert_memory_equal(signature, unhex(vectors[i].signature).data, ET_SIGNATURE_SIZE);
		assert_int_equal(et_ed25519_verify(public_key, message, signature, NULL), 0);
	}
}

static void a_changed_signature_message_or_key_is_refused(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *seed = NULL;
	uint8_t public_key[ET_KEY_SIZE];
	uint8_t signature[ET_SIGNATURE_SIZE];
	struct et_error e;

	(void)state;
	assert_int_equal(et_ed25519_generate(&seed, public_key, &e), 0);
	assert_int_equal(et_ed25519_sign(seed, et_view_of("message"), signature, &e), 0);
	assert_int_equal(et_ed25519_verify(public_key, et_view_of("message"), signature, &e), 0);
	assert_int_equal(et_ed25519_verify(public_key, et_view_of("massage"), signature, &e),
			 ET_EINTEGRITY);
	for (size_t i = 0; i < sizeof(signature); i++) {
		signature[i] ^= 1;
		assert_int_equal(
			et_ed25519_verify(public_key, et_view_of("message"), signature, &e),
			ET_EINTEGRITY);
		signature[i] ^= 1;
	}
	for (size_t i = 0; i < sizeof(public_key); i++) {
		public_key[i] ^= 1;
		assert_int_not_equal(
			et_ed25519_verify(public_key, et_view_of("message"), signature, &e), 0);
		public_key[i] ^= 1;
	}
}

/* RFC 7748, section 6.1: Alice's key pair. */
static void x25519_public_follows_rfc_7748(void **state)
{
	ET_CLEANUP(et_secret_freep)
	struct et_secret *alice =
		unhex_secret("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
	uint8_t public_key[ET_KEY_SIZE];

	(void)state;
	assert_int_equal(et_x25519_public(alice, public_key, NULL), 0);
	assert_memory_equal(
		public_key,
		unhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a").data,
		ET_KEY_SIZE);
}

static void keys_differ(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *a = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *b = NULL;
	uint8_t public_a[ET_KEY_SIZE];
	uint8_t public_b[ET_KEY_SIZE];
	uint8_t again[ET_KEY_SIZE];

	(void)state;
	assert_int_equal(et_x25519_generate(&a, public_a, NULL), 0);
	assert_int_equal(et_x25519_generate(&b, public_b, NULL), 0);
	assert_false(et_secret_equal(a, b));
	assert_memory_not_equal(public_a, public_b, ET_KEY_SIZE);
	assert_int_equal(et_x25519_public(a, again, NULL), 0);
	assert_memory_equal(public_a, again, ET_KEY_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ed25519_follows_rfc_8032),
		cmocka_unit_test(a_changed_signature_message_or_key_is_refused),
		cmocka_unit_test(x25519_public_follows_rfc_7748),
		cmocka_unit_test(keys_differ),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
