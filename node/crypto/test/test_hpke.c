#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/crypto/hash.h"
#include "node/crypto/hpke_internal.h"
#include "node/crypto/sign.h"
#include "node/crypto/test/test_util.h"

/* Base mode, sequence number 0. The first is RFC 9180, appendix A.1.1. The second is the published
 * vector of our suite (AES-256-GCM: keys and encapsulation from the RFC's machine-readable file);
 * what follows from them was computed with another implementation that also gives A.1.1. */
struct vector {
	uint16_t aead;
	const char *sk_e, *enc, *sk_r, *pk_r, *shared_secret, *key, *nonce, *exporter, *ciphertext;
};

static const struct vector vectors[] = {
	{ HPKE_AES_128_GCM, "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736",
	  "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
	  "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
	  "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d",
	  "fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc",
	  "4531685d41d65f03dc48f6b8302c05b0", "56d890e5accaaf011cff4b7d",
	  "45ff1c2e220db587171952c0592d5f5ebe103f1561a2614e38f2ffd47e99e3f8",
	  "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c51"
	  "2a" },
	{ HPKE_AES_256_GCM, "179d4b53b6365c45b600c4163b61d95cbc2f4d9e36f1695558dce265ab8bab11",
	  "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256",
	  "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d",
	  "430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c",
	  "3101c54c3a4f87439eaac080699ed9bbcc726ffe44e860c0424ccb7e3e2ead7b",
	  "f50b0609186798729ed0564b36ef2ef8044f1f9d05636874d1f46c819c7a669f",
	  "151d9929e2449747889bc923",
	  "86017151bbff6a1940e8abae2ac9e0e7032e33df1eaaecc02ca6259b130d62df",
	  "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b"
	  "7a" },
};

static void assert_schedule(const struct vector *v, const struct et_hpke_schedule *s)
{
	assert_memory_equal(s->shared_secret, unhex(v->shared_secret).data, 32);
	assert_memory_equal(et_secret_bytes(s->key), unhex(v->key).data, strlen(v->key) / 2);
	assert_memory_equal(s->base_nonce, unhex(v->nonce).data, 12);
	assert_memory_equal(s->exporter_secret, unhex(v->exporter).data, 32);
}

static void follows_rfc_9180(void **state)
{
	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(vectors); i++) {
		const struct vector *v = &vectors[i];
		ET_CLEANUP(et_secret_freep) struct et_secret *sk_e = unhex_secret(v->sk_e);
		ET_CLEANUP(et_secret_freep) struct et_secret *sk_r = unhex_secret(v->sk_r);
		ET_CLEANUP(et_hpke_schedule_release) struct et_hpke_schedule sender = { 0 };
		ET_CLEANUP(et_hpke_schedule_release) struct et_hpke_schedule receiver = { 0 };
		struct et_view info = unhex("4f6465206f6e2061204772656369616e2055726e");
		struct et_view plain =
			unhex("4265617574792069732074727574682c20747275746820626561757479");
		struct et_view aad = et_view_of("Count-0");
		uint8_t enc[32];
		uint8_t out[64];

		assert_int_equal(et_hpke_sender(v->aead, unhex(v->pk_r).data, sk_e, info, enc,
						&sender, NULL),
				 0);
		assert_memory_equal(enc, unhex(v->enc).data, 32);
		assert_schedule(v, &sender);
		assert_int_equal(et_hpke_receiver(v->aead, sk_r, enc, info, &receiver, NULL), 0);
		assert_schedule(v, &receiver);

		assert_int_equal(
			et_hpke_crypt(&sender, true, aad, plain.data, plain.size, out, NULL), 0);
		assert_memory_equal(out, unhex(v->ciphertext).data, plain.size + 16);
		assert_int_equal(
			et_hpke_crypt(&receiver, false, aad, out, plain.size + 16, out, NULL), 0);
		assert_memory_equal(out, plain.data, plain.size);
	}
}

/* The public function opens what the vector's sender sealed. */
static void opens_the_published_message(void **state)
{
	const struct vector *v = &vectors[1];
	ET_CLEANUP(et_secret_freep) struct et_secret *sk_r = unhex_secret(v->sk_r);
	ET_CLEANUP(et_secret_freep) struct et_secret *plain = NULL;

	(void)state;
	assert_int_equal(et_hpke_open(sk_r, unhex(v->enc).data,
				      unhex("4f6465206f6e2061204772656369616e2055726e"),
				      et_view_of("Count-0"), unhex(v->ciphertext), &plain, NULL),
			 0);
	assert_int_equal(et_secret_size(plain), 29);
	assert_memory_equal(et_secret_bytes(plain), "Beauty is truth, truth beauty", 29);
}

static void a_dek_comes_back_and_only_to_its_key(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *key = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *other = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *back = NULL;
	uint8_t public_key[32];
	uint8_t other_public[32];
	uint8_t enc[32];
	uint8_t sealed[48];
	const struct et_view view = { sealed, sizeof(sealed) };
	const struct et_view info = et_view_of("evertape dek/1");
	const struct et_view aad = et_view_of("recording");
	struct et_error e;

	(void)state;
	assert_int_equal(et_x25519_generate(&key, public_key, &e), 0);
	assert_int_equal(et_x25519_generate(&other, other_public, &e), 0);
	assert_int_equal(et_secret_random(32, &dek, &e), 0);
	assert_int_equal(et_hpke_seal(public_key, info, aad, dek, enc, sealed, &e), 0);
	assert_int_equal(et_hpke_open(key, enc, info, aad, view, &back, &e), 0);
	assert_true(et_secret_equal(dek, back));

	back = et_secret_free(back);
	assert_int_equal(et_hpke_open(other, enc, info, aad, view, &back, &e), ET_EINTEGRITY);
	assert_int_equal(et_hpke_open(key, enc, et_view_of("x"), aad, view, &back, &e),
			 ET_EINTEGRITY);
	assert_int_equal(et_hpke_open(key, enc, info, et_view_of("x"), view, &back, &e),
			 ET_EINTEGRITY);
	assert_int_equal(
		et_hpke_open(key, enc, info, aad, (struct et_view){ sealed, 16 }, &back, &e),
		ET_EMALFORMED);
	for (size_t i = 0; i < sizeof(sealed); i++) {
		sealed[i] ^= 0x80;
		assert_int_equal(et_hpke_open(key, enc, info, aad, view, &back, &e), ET_EINTEGRITY);
		sealed[i] ^= 0x80;
	}
	assert_null(back);
}

static void refuses_a_point_of_small_order(void **state)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = et_secret_new(32);
	ET_CLEANUP(et_secret_freep) struct et_secret *key = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *back = NULL;
	const uint8_t zero[32] = { 0 };
	const struct et_view none = { NULL, 0 };
	uint8_t public_key[32];
	uint8_t enc[32];
	uint8_t sealed[48] = { 0 };

	(void)state;
	assert_int_equal(et_hpke_seal(zero, none, none, dek, enc, sealed, NULL), ET_EMALFORMED);
	assert_int_equal(et_x25519_generate(&key, public_key, NULL), 0);
	assert_int_equal(et_hpke_open(key, zero, none, none,
				      (struct et_view){ sealed, sizeof(sealed) }, &back, NULL),
			 ET_EMALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_rfc_9180),
		cmocka_unit_test(opens_the_published_message),
		cmocka_unit_test(a_dek_comes_back_and_only_to_its_key),
		cmocka_unit_test(refuses_a_point_of_small_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
