/* SRTP against a second implementation, written here from the RFCs on OpenSSL's primitives: key
 * derivation as in RFC 3711, appendix B.3, packets of every suite, with and without MKI, through
 * wraps, gaps, from the midst; SRTCP; what is damaged or of another key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "node/srtp/srtp.h"

#define SSRC 0xCAFEBABEU
#define TEXT_SIZE 160

/* ---- The other implementation -----------------------------------------------------------------
 */

static void aes_ctr(const uint8_t *key, size_t key_size, const uint8_t iv[16], const uint8_t *in,
		    size_t size, uint8_t *out)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n = 0;
	assert_int_equal(EVP_EncryptInit_ex(c,
					    key_size == 16 ? EVP_aes_128_ctr() : EVP_aes_256_ctr(),
					    NULL, key, iv),
			 1);
	assert_int_equal(EVP_EncryptUpdate(c, out, &n, in, (int)size), 1);
	EVP_CIPHER_CTX_free(c);
}

/* RFC 3711, 4.3.1 and 4.3.3, with a key derivation rate of 0. */
static void derive(const uint8_t *key, size_t key_size, const uint8_t *salt, size_t salt_size,
		   uint8_t label, uint8_t *out, size_t size)
{
	static const uint8_t zero[64];
	uint8_t x[16] = { 0 };
	memcpy(x, salt, salt_size); /* RFC 7714, 11: shorter salts are padded on the right */
	x[7] ^= label;
	aes_ctr(key, key_size, x, zero, size, out);
}

struct sender {
	enum et_srtp_suite suite;
	uint8_t material[ET_SRTP_MATERIAL_MAX];
	size_t key_size;
	size_t salt_size;
	uint8_t mki[4];
	size_t mki_size;
};

static struct sender sender_of(enum et_srtp_suite suite, size_t mki_size)
{
	struct sender s = { .suite = suite, .mki = { 0, 0, 7, 9 }, .mki_size = mki_size };
	s.key_size = et_srtp_key_size(suite);
	s.salt_size = et_srtp_salt_size(suite);
	for (size_t i = 0; i < sizeof(s.material); i++) {
		s.material[i] = (uint8_t)(0x31 * i + (size_t)suite);
	}
	return s;
}

static struct et_srtp_key key_of(const struct sender *s)
{
	return (struct et_srtp_key){
		.suite = s->suite,
		.material = { s->material, s->key_size + s->salt_size },
		.mki = { s->mki, s->mki_size },
	};
}

static bool is_gcm(const struct sender *s)
{
	return s->salt_size == 12;
}

static void put_index(uint8_t iv[16], const uint8_t *salt, size_t at, uint32_t ssrc, uint64_t index)
{
	uint8_t n[16] = { 0 };
	et_put32(n + at, ssrc);
	et_put16(n + at + 4, (uint16_t)(index >> 32));
	et_put32(n + at + 6, (uint32_t)index);
	for (size_t i = 0; i < 14; i++) {
		iv[i] = salt[i] ^ n[i];
	}
}

static size_t seal_gcm(const uint8_t *key, size_t key_size, const uint8_t iv[12],
		       const uint8_t *aad, size_t aad_size, uint8_t *text, size_t size)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n = 0;
	assert_int_equal(EVP_EncryptInit_ex(c,
					    key_size == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm(),
					    NULL, key, iv),
			 1);
	assert_int_equal(EVP_EncryptUpdate(c, NULL, &n, aad, (int)aad_size), 1);
	assert_int_equal(EVP_EncryptUpdate(c, text, &n, text, (int)size), 1);
	assert_int_equal(EVP_EncryptFinal_ex(c, text + size, &n), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, 16, text + size), 1);
	EVP_CIPHER_CTX_free(c);
	return size + 16;
}

static size_t plain_of(uint64_t index, uint8_t *p)
{
	p[0] = 0x80;
	p[1] = 96;
	et_put16(p + 2, (uint16_t)index);
	et_put32(p + 4, (uint32_t)index * 160);
	et_put32(p + 8, SSRC);
	for (size_t i = 0; i < TEXT_SIZE; i++) {
		p[12 + i] = (uint8_t)(i * 7 + index);
	}
	return 12 + TEXT_SIZE;
}

/* A protected packet with this index (RFC 3711, 3.3; RFC 7714, 8). */
static size_t seal(const struct sender *s, uint64_t index, uint8_t *p)
{
	const uint8_t *salt = s->material + s->key_size;
	uint8_t key[32];
	uint8_t own_salt[14] = { 0 };
	uint8_t auth[20];
	uint8_t iv[16] = { 0 };
	uint8_t tag[20];
	size_t size = plain_of(index, p);

	derive(s->material, s->key_size, salt, s->salt_size, 0, key, s->key_size);
	derive(s->material, s->key_size, salt, s->salt_size, 2, own_salt, s->salt_size);
	if (is_gcm(s)) {
		put_index(iv, own_salt, 2, SSRC, index); /* 12 bytes: 0 0 | SSRC | ROC | SEQ */
		size = 12 + seal_gcm(key, s->key_size, iv, p, 12, p + 12, size - 12);
		memcpy(p + size, s->mki, s->mki_size);
		return size + s->mki_size;
	}
	derive(s->material, s->key_size, salt, s->salt_size, 1, auth, sizeof(auth));
	put_index(iv, own_salt, 4, SSRC, index);
	aes_ctr(key, s->key_size, iv, p + 12, size - 12, p + 12);
	et_put32(p + size, (uint32_t)(index >> 16));
	assert_non_null(HMAC(EVP_sha1(), auth, sizeof(auth), p, size + 4, tag, NULL));
	memcpy(p + size, s->mki, s->mki_size);
	size += s->mki_size;
	size_t tag_size = s->suite == ET_SRTP_AES_CM_128_HMAC_SHA1_32 ||
					  s->suite == ET_SRTP_AES_256_CM_HMAC_SHA1_32
				  ? 4
				  : 10;
	memcpy(p + size, tag, tag_size);
	return size + tag_size;
}

/* ---- Tests ------------------------------------------------------------------------------------
 */

static struct et_srtp *opener(const struct sender *s)
{
	struct et_srtp_key key = key_of(s);
	struct et_srtp *o = NULL;
	struct et_error e = { .text = "" };
	if (et_srtp_new(&key, SSRC, &o, &e) < 0) {
		fail_msg("%s", e.text);
	}
	return o;
}

static int open_index(struct et_srtp *o, const struct sender *s, uint64_t index)
{
	uint8_t packet[512];
	uint32_t room[512 / 4];
	uint8_t plain[512];
	uint8_t *ret = (uint8_t *)room;
	size_t ret_size = 0;
	size_t size = seal(s, index, packet);
	int rc = et_srtp_open_rtp(o, packet, size, ret, &ret_size);
	if (rc == 0) {
		assert_int_equal(ret_size, plain_of(index, plain));
		assert_memory_equal(ret, plain, ret_size);
	}
	return rc;
}

static void derives_as_rfc_3711_appendix_b_3(void **state)
{
	(void)state;
	static const char master[] = "e1f97a0d3e018be0d64fa32c06de4139";
	static const char salt[] = "0ec675ad498afeebb6960b3aabe6";
	static const struct {
		uint8_t label;
		const char *expected;
	} keys[] = {
		{ 0, "c61e7a93744f39ee10734afe3ff7a087" },
		{ 2, "30cbbc08863d8c85d49db34a9ae1" },
		{ 1, "cebe321f6ff7716b6fd4ab49af256a156d38baa4" },
	};
	uint8_t material[30];
	assert_true(et_unhex(master, 32, material, 16) && et_unhex(salt, 28, material + 16, 14));
	for (size_t i = 0; i < ET_ARRAY_SIZE(keys); i++) {
		uint8_t key[32];
		char text[65];
		size_t size = strlen(keys[i].expected) / 2;
		derive(material, 16, material + 16, 14, keys[i].label, key, size);
		et_hex(key, size, text);
		assert_string_equal(text, keys[i].expected);
	}
	/* And libsrtp2 opens what is protected with the keys of that appendix. */
	struct sender s = sender_of(ET_SRTP_AES_CM_128_HMAC_SHA1_80, 0);
	memcpy(s.material, material, sizeof(material));
	struct et_srtp *o = opener(&s);
	assert_int_equal(open_index(o, &s, 1), 0);
	(void)et_srtp_free(o);
}

static void every_suite_opens_with_and_without_mki(void **state)
{
	(void)state;
	for (int suite = ET_SRTP_AES_CM_128_HMAC_SHA1_80; suite <= ET_SRTP_AEAD_AES_256_GCM;
	     suite++) {
		for (size_t mki = 0; mki <= 4; mki += 4) {
			struct sender s = sender_of((enum et_srtp_suite)suite, mki);
			struct et_srtp *o = opener(&s);
			assert_false(et_srtp_has_opened(o));
			for (uint64_t i = 65000; i < 66000; i += 7) {
				assert_int_equal(open_index(o, &s, i), 0);
			}
			assert_true(et_srtp_has_opened(o));
			assert_int_equal(et_srtp_roc(o), 1);
			(void)et_srtp_free(o);
		}
	}
}

static void a_stream_is_joined_in_its_midst(void **state)
{
	(void)state;
	for (int suite = ET_SRTP_AES_CM_128_HMAC_SHA1_80; suite <= ET_SRTP_AEAD_AES_256_GCM;
	     suite++) {
		struct sender s = sender_of((enum et_srtp_suite)suite, 0);
		static const uint64_t rocs[] = { 0, 1, 2, 37, 255 };
		for (size_t i = 0; i < ET_ARRAY_SIZE(rocs); i++) {
			for (uint64_t seq = 5; seq < 65536; seq += 65000) {
				struct et_srtp *o = opener(&s);
				uint64_t index = rocs[i] << 16 | seq;
				assert_int_equal(open_index(o, &s, index), 0);
				assert_int_equal(et_srtp_roc(o), rocs[i]);
				assert_int_equal(open_index(o, &s, index + 1), 0);
				/* A wrap, and one that comes late from before it. */
				assert_int_equal(open_index(o, &s, index + 30000), 0);
				assert_int_equal(open_index(o, &s, index + 60000), 0);
				assert_int_equal(open_index(o, &s, index + 59900), 0);
				(void)et_srtp_free(o);
			}
		}
	}
}

static void a_counter_beyond_the_tries_is_not_found(void **state)
{
	(void)state;
	struct sender s = sender_of(ET_SRTP_AES_CM_128_HMAC_SHA1_80, 0);
	struct et_srtp *o = opener(&s);

	et_srtp_set_tries(o, 3);
	assert_int_equal(open_index(o, &s, 4ULL << 16), ET_ENOKEY);
	assert_false(et_srtp_has_opened(o));
	assert_int_equal(open_index(o, &s, 3ULL << 16), 0);
	(void)et_srtp_free(o);
}

static void a_long_pause_is_found_again(void **state)
{
	(void)state;
	struct sender s = sender_of(ET_SRTP_AEAD_AES_128_GCM, 0);
	struct et_srtp *o = opener(&s);

	assert_int_equal(open_index(o, &s, 60000), 0);
	uint64_t later = (5ULL << 16) + 100; /* more than two hours of silence */
	assert_int_equal(open_index(o, &s, later), ET_ENOKEY);
	assert_int_equal(open_index(o, &s, later + 1), 0); /* the second failure looks for it */
	for (uint64_t i = 2; i < 200; i++) {
		assert_int_equal(open_index(o, &s, later + i), 0);
	}
	assert_int_equal(et_srtp_roc(o), 5);
	(void)et_srtp_free(o);
}

static void reordered_and_doubled_packets_are_told_apart(void **state)
{
	(void)state;
	struct sender s = sender_of(ET_SRTP_AES_CM_128_HMAC_SHA1_32, 0);
	struct et_srtp *o = opener(&s);

	assert_int_equal(open_index(o, &s, 70000), 0);
	assert_int_equal(open_index(o, &s, 69990), 0);
	assert_int_equal(open_index(o, &s, 70000), ET_EEXISTS);
	assert_int_equal(open_index(o, &s, 69990), ET_EEXISTS);
	assert_int_equal(open_index(o, &s, 70001), 0);
	assert_int_equal(open_index(o, &s, 70001 - 1024), ET_EEXISTS); /* too old to be told */
	(void)et_srtp_free(o);
}

static void what_is_not_its_own_does_not_open(void **state)
{
	(void)state;
	uint8_t packet[512];
	uint32_t room[512 / 4];
	size_t ret_size = 0;

	for (int suite = ET_SRTP_AES_CM_128_HMAC_SHA1_80; suite <= ET_SRTP_AEAD_AES_256_GCM;
	     suite++) {
		struct sender s = sender_of((enum et_srtp_suite)suite, 0);
		struct sender other = s;
		other.material[3] ^= 1;
		struct et_srtp *o = opener(&s);
		assert_int_equal(open_index(o, &s, 9), 0);
		assert_int_equal(open_index(o, &other, 10), ET_ENOKEY);
		size_t size = seal(&s, 10, packet);
		for (size_t i = 0; i < size; i += 3) {
			packet[i] ^= 0x40;
			int rc = et_srtp_open_rtp(o, packet, size, (uint8_t *)room, &ret_size);
			packet[i] ^= 0x40;
			assert_int_not_equal(rc, 0);
		}
		for (size_t n = 0; n < size; n++) {
			assert_int_not_equal(
				et_srtp_open_rtp(o, packet, n, (uint8_t *)room, &ret_size), 0);
		}
		assert_int_equal(et_srtp_open_rtp(o, packet, size, (uint8_t *)room, &ret_size), 0);
		(void)et_srtp_free(o);
	}
}

static void srtcp_opens_and_so_does_mki_of_every_suite(void **state)
{
	(void)state;
	for (int suite = ET_SRTP_AES_CM_128_HMAC_SHA1_80; suite <= ET_SRTP_AEAD_AES_256_GCM;
	     suite++) {
		for (size_t mki = 0; mki <= 4; mki += 4) {
			struct sender s = sender_of((enum et_srtp_suite)suite, mki);
			struct et_srtp *from = opener(&s);
			struct et_srtp *to = opener(&s);
			uint32_t packet[128] = { 0 };
			uint32_t ret[128];
			uint8_t *p = (uint8_t *)packet;
			size_t size = 28;
			size_t ret_size = 0;
			p[0] = 0x80;
			p[1] = 200;
			et_put16(p + 2, 6);
			et_put32(p + 4, SSRC);
			memset(p + 8, 0x5A, 20);
			assert_int_equal(et_srtp_seal_rtcp(from, p, &size), 0);
			assert_true(size > 28 && size <= 28 + ET_SRTP_OVERHEAD_MAX);
			assert_int_not_equal(p[8], 0x5A);
			p[12] ^= 1;
			assert_int_equal(et_srtp_open_rtcp(to, p, size, (uint8_t *)ret, &ret_size),
					 ET_ENOKEY);
			p[12] ^= 1;
			assert_int_equal(et_srtp_open_rtcp(to, p, size, (uint8_t *)ret, &ret_size),
					 0);
			assert_int_equal(ret_size, 28);
			assert_int_equal(((uint8_t *)ret)[27], 0x5A);
			assert_int_equal(et_srtp_open_rtcp(to, p, size, (uint8_t *)ret, &ret_size),
					 ET_EEXISTS);
			assert_int_equal(et_srtp_open_rtcp(to, p, 11, (uint8_t *)ret, &ret_size),
					 ET_EMALFORMED);
			/* RTP with an MKI, from libsrtp2 itself, with a counter that is not 0. */
			uint8_t plain[256];
			size = plain_of(9, p);
			et_srtp_seal_from(from, 3);
			assert_int_equal(et_srtp_seal_rtp(from, p, &size), 0);
			assert_int_equal(et_srtp_open_rtp(to, p, size, (uint8_t *)ret, &ret_size),
					 0);
			assert_int_equal(ret_size, plain_of(9, plain));
			assert_memory_equal(ret, plain, ret_size);
			if (mki > 0) { /* Another MKI is another key. */
				s.mki[3] ^= 1;
				struct et_srtp *wrong = opener(&s);
				assert_int_equal(
					et_srtp_open_rtp(wrong, p, size, (uint8_t *)ret, &ret_size),
					ET_ENOKEY);
				(void)et_srtp_free(wrong);
			}
			(void)et_srtp_free(from);
			(void)et_srtp_free(to);
		}
	}
}

static struct et_view view(const char *text)
{
	return (struct et_view){ (const uint8_t *)text, strlen(text) };
}

static void suites_have_their_names_and_sizes(void **state)
{
	(void)state;
	struct et_srtp *o = NULL;
	uint8_t bytes[ET_SRTP_MKI_MAX + 1] = { 0 };
	struct et_error e;

	for (int i = ET_SRTP_AES_CM_128_HMAC_SHA1_80; i <= ET_SRTP_AEAD_AES_256_GCM; i++) {
		enum et_srtp_suite suite = (enum et_srtp_suite)i;
		assert_int_equal(et_srtp_suite_find(view(et_srtp_suite_name(suite))), suite);
		struct et_srtp_key key = { .suite = suite };
		key.material = (struct et_view){ bytes, et_srtp_key_size(suite) };
		assert_int_equal(et_srtp_new(&key, 1, &o, &e), ET_EMALFORMED);
		key.material.size += et_srtp_salt_size(suite);
		key.mki = (struct et_view){ bytes, sizeof(bytes) };
		assert_int_equal(et_srtp_new(&key, 1, &o, &e), ET_EMALFORMED);
	}
	struct et_srtp_key none = { .suite = ET_SRTP_NONE };
	assert_int_equal(et_srtp_new(&none, 1, &o, &e), ET_EUNSUPPORTED);
	assert_int_equal(et_srtp_suite_find(view("aes_cm_256_hmac_sha1_80")),
			 ET_SRTP_AES_256_CM_HMAC_SHA1_80);
	assert_int_equal(et_srtp_suite_find(view("F8_128_HMAC_SHA1_80")), ET_SRTP_NONE);
	assert_int_equal(et_srtp_suite_find(view("")), ET_SRTP_NONE);
	assert_string_equal(et_srtp_suite_name(ET_SRTP_NONE), "");
	assert_int_equal(et_srtp_suite_of_profile(1), ET_SRTP_AES_CM_128_HMAC_SHA1_80);
	assert_int_equal(et_srtp_suite_of_profile(2), ET_SRTP_AES_CM_128_HMAC_SHA1_32);
	assert_int_equal(et_srtp_suite_of_profile(7), ET_SRTP_AEAD_AES_128_GCM);
	assert_int_equal(et_srtp_suite_of_profile(8), ET_SRTP_AEAD_AES_256_GCM);
	assert_int_equal(et_srtp_suite_of_profile(0), ET_SRTP_NONE);
	assert_int_equal(et_srtp_suite_of_profile(5), ET_SRTP_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(derives_as_rfc_3711_appendix_b_3),
		cmocka_unit_test(every_suite_opens_with_and_without_mki),
		cmocka_unit_test(a_stream_is_joined_in_its_midst),
		cmocka_unit_test(a_counter_beyond_the_tries_is_not_found),
		cmocka_unit_test(a_long_pause_is_found_again),
		cmocka_unit_test(reordered_and_doubled_packets_are_told_apart),
		cmocka_unit_test(what_is_not_its_own_does_not_open),
		cmocka_unit_test(srtcp_opens_and_so_does_mki_of_every_suite),
		cmocka_unit_test(suites_have_their_names_and_sizes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
