/* DTLS-SRTP: hellos of a real handshake, keys as another implementation derived them, hostile
 * bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "node/srtp/dtls.h"
#include "node/srtp/test/dtls_sample.h"

static size_t bytes_of(const char *hex, uint8_t *ret)
{
	size_t size = strlen(hex) / 2;
	assert_true(et_unhex(hex, 2 * size, ret, size));
	return size;
}

static void keys_follow_from_a_handshake_and_its_secret(void **state)
{
	(void)state;
	uint8_t data[512];
	uint8_t secret[48];
	struct et_dtls_hello client;
	struct et_dtls_hello server;
	struct et_secret *keys = NULL;
	char text[64];

	size_t size = bytes_of(SAMPLE_CLIENT_HELLO, data);
	assert_true(et_dtls_hello_find(data, size, &client));
	assert_true(client.is_client);
	assert_int_equal(client.random[0], 0xAD);
	size = bytes_of(SAMPLE_SERVER_HELLO, data);
	assert_true(et_dtls_hello_find(data, size, &server));
	assert_false(server.is_client);
	assert_int_equal(server.version, 0xFEFD);
	assert_int_equal(server.cipher, 0xC030);
	assert_int_equal(server.suite, ET_SRTP_AES_CM_128_HMAC_SHA1_80);
	assert_int_equal(server.mki_size, 0);
	assert_true(et_unhex(&SAMPLE_KEYLOG[14 + 65], 96, secret, 48));
	assert_int_equal(
		et_dtls_srtp_keys(&client, &server, (struct et_view){ secret, 48 }, &keys, NULL),
		0);
	assert_int_equal(et_secret_size(keys), 60);
	et_base64(et_secret_bytes(keys), 30, text);
	assert_string_equal(text, SAMPLE_CLIENT_KEY);
	et_base64(et_secret_bytes(keys) + 30, 30, text);
	assert_string_equal(text, SAMPLE_SERVER_KEY);
	keys = et_secret_free(keys);

	struct et_error e;
	server.version = 0xFEFC;
	assert_int_equal(
		et_dtls_srtp_keys(&client, &server, (struct et_view){ secret, 48 }, &keys, &e),
		ET_EUNSUPPORTED);
	assert_string_equal(e.text, "keys of DTLS 1.3 are not derived");
	server.version = 0xFEFF; /* 1.0, with another suite: other keys, of its size */
	server.suite = ET_SRTP_AEAD_AES_256_GCM;
	assert_int_equal(
		et_dtls_srtp_keys(&client, &server, (struct et_view){ secret, 48 }, &keys, NULL),
		0);
	assert_int_equal(et_secret_size(keys), 88);
	(void)et_secret_free(keys);
}

static void what_is_no_hello_is_passed_over(void **state)
{
	(void)state;
	uint8_t data[512];
	struct et_dtls_hello hello;
	size_t size = bytes_of(SAMPLE_SERVER_HELLO, data);

	/* Cut anywhere in its record: no hello, and nothing is read past the end. */
	for (size_t n = 0; n < 95; n++) {
		uint8_t *exact = malloc(n + 1);
		assert_non_null(exact);
		memcpy(exact, data, n);
		assert_int_equal(et_dtls_hello_find(exact, n, &hello), false);
		free(exact);
	}
	data[3] = 0;
	data[4] = 1; /* encrypted */
	assert_false(et_dtls_hello_find(data, size, &hello));
	data[4] = 0;
	data[0] = 23;
	assert_false(et_dtls_hello_find(data, size, &hello));
	data[0] = 22;
	data[13 + 8] = 1; /* the second fragment of something */
	assert_false(et_dtls_hello_find(data, size, &hello));
	data[13 + 8] = 0;
	data[13 + 9] = 1; /* a message that is longer than its record, with room for another head */
	assert_false(et_dtls_hello_find(data, size, &hello));
	data[13 + 9] = 0;
	assert_true(et_dtls_hello_find(data, size, &hello));
	data[88] = 3; /* a profile that is not known */
	(void)et_dtls_hello_find(data, size, &hello);
	/* Behind another message, in another record, it is found. */
	static const uint8_t before[] = { 22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12,
					  14, 0,    0,	  0, 0, 0, 0, 0, 0, 0, 0, 0 };
	size = bytes_of(SAMPLE_SERVER_HELLO, data + sizeof(before));
	memcpy(data, before, sizeof(before));
	assert_true(et_dtls_hello_find(data, sizeof(before) + size, &hello));
	assert_int_equal(hello.cipher, 0xC030);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_follow_from_a_handshake_and_its_secret),
		cmocka_unit_test(what_is_no_hello_is_passed_over),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
