/* The examples of AWS, "Signature Calculations for the Authorization Header: Transferring Payload
 * in a Single Chunk (AWS Signature Version 4)", Amazon S3 API reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "archive/bucket/s3_sign.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define KEY_ID "AKIAIOSFODNN7EXAMPLE"
#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define HOST "examplebucket.s3.amazonaws.com"
#define TIME "20130524T000000Z"

static void expect(struct s3_signing s, const char *names, const char *signature)
{
	struct et_secret *secret = et_secret_copy(SECRET, strlen(SECRET));
	struct et_buffer got = { 0 };
	struct et_buffer want = { 0 };
	s.region = "us-east-1";
	s.key_id = KEY_ID;
	s.secret = secret;
	s.time = TIME;
	assert_int_equal(s3_sign(&s, &got, NULL), 0);
	et_buffer_printf(&want,
			 "AWS4-HMAC-SHA256 Credential=" KEY_ID
			 "/20130524/us-east-1/s3/aws4_request,SignedHeaders=%s,Signature=%s",
			 names, signature);
	et_buffer_add8(&want, 0);
	assert_string_equal((const char *)got.data, (const char *)want.data);
	et_buffer_release(&got);
	et_buffer_release(&want);
	(void)et_secret_free(secret);
}

static void signs_a_get_of_a_range(void **state)
{
	(void)state;
	struct s3_header h[] = { { "host", HOST },
				 { "range", "bytes=0-9" },
				 { "x-amz-content-sha256", EMPTY },
				 { "x-amz-date", TIME } };
	expect((struct s3_signing){ .method = "GET",
				    .path = "/test.txt",
				    .query = "",
				    .headers = h,
				    .header_count = 4,
				    .payload_hash = EMPTY },
	       "host;range;x-amz-content-sha256;x-amz-date",
	       "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void signs_a_put_with_an_encoded_name(void **state)
{
	(void)state;
	const char *hash = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
	struct s3_header h[] = { { "date", "Fri, 24 May 2013 00:00:00 GMT" },
				 { "host", HOST },
				 { "x-amz-content-sha256", hash },
				 { "x-amz-date", TIME },
				 { "x-amz-storage-class", "REDUCED_REDUNDANCY" } };
	struct et_buffer path = { 0 };
	s3_encode(&path, "/test$file.text", true);
	et_buffer_add8(&path, 0);
	assert_string_equal((const char *)path.data, "/test%24file.text");
	expect((struct s3_signing){ .method = "PUT",
				    .path = (const char *)path.data,
				    .query = "",
				    .headers = h,
				    .header_count = 5,
				    .payload_hash = hash },
	       "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
	       "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
	et_buffer_release(&path);
}

static void signs_a_query(void **state)
{
	(void)state;
	struct s3_header h[] = { { "host", HOST },
				 { "x-amz-content-sha256", EMPTY },
				 { "x-amz-date", TIME } };
	struct s3_signing s = { .method = "GET",
				.path = "/",
				.query = "lifecycle=",
				.headers = h,
				.header_count = 3,
				.payload_hash = EMPTY };
	expect(s, "host;x-amz-content-sha256;x-amz-date",
	       "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
	s.query = "max-keys=2&prefix=J";
	expect(s, "host;x-amz-content-sha256;x-amz-date",
	       "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void encodes_what_aws_encodes(void **state)
{
	(void)state;
	struct et_buffer b = { 0 };
	s3_encode(&b, "a b/c+d~e_f-g.h=\xc3\xa9", false);
	et_buffer_add8(&b, 0);
	assert_string_equal((const char *)b.data, "a%20b%2Fc%2Bd~e_f-g.h%3D%C3%A9");
	et_buffer_release(&b);
}

static void writes_time_in_utc(void **state)
{
	(void)state;
	char text[S3_TIME_SIZE];
	s3_time(1369353600LL * 1000000 + 999999, text);
	assert_string_equal(text, TIME);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signs_a_get_of_a_range),
		cmocka_unit_test(signs_a_put_with_an_encoded_name),
		cmocka_unit_test(signs_a_query),
		cmocka_unit_test(encodes_what_aws_encodes),
		cmocka_unit_test(writes_time_in_utc),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
