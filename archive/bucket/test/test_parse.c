/* What comes from servers and files: XML, headers, credentials, endpoints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "archive/bucket/s3_http.h"
#include "archive/bucket/s3_xml.h"
#include "archive/bucket/test/store.h"

/* ---- XML ---- */

static void reads_an_error(void **state)
{
	(void)state;
	struct s3_xml_error e;
	const char text[] =
		"<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>a\nb</Message>"
		"<Resource><Code>Not me</Code></Resource></Error>";
	assert_true(s3_xml_error(text, strlen(text), &e));
	assert_string_equal(e.code, "SlowDown");
	assert_string_equal(e.message, "a?b");
	assert_true(s3_xml_error(text, strlen(text) - 20, &e)); /* cut: an error all the same */
	assert_string_equal(e.code, "SlowDown");
	assert_true(s3_xml_error("<Error/>", 8, &e));
	assert_string_equal(e.code, "Error");
	assert_false(s3_xml_error("<Fine/>", 7, &e));
	assert_false(s3_xml_error("<html><body>502</body></html>", 29, &e));
	assert_false(s3_xml_error("", 0, &e));
}

struct entries {
	char text[256];
};

static int entries_take(void *arg, const char *key, uint64_t size)
{
	struct entries *n = arg;
	size_t used = strlen(n->text);
	(void)snprintf(n->text + used, sizeof(n->text) - used, "%s=%llu ", key,
		       (unsigned long long)size);
	return 0;
}

static int list_read(const char *text, struct entries *n, struct s3_xml_page *page)
{
	*n = (struct entries){ 0 };
	*page = (struct s3_xml_page){ .fn = entries_take, .arg = n };
	return s3_xml_list(text, strlen(text), page, NULL);
}

#define LIST_HEAD "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"

static void reads_a_list(void **state)
{
	(void)state;
	struct entries n;
	struct s3_xml_page page;
	assert_int_equal(
		list_read(LIST_HEAD
			  "<IsTruncated>true</IsTruncated><NextContinuationToken>t/+=&amp;"
			  "</NextContinuationToken><Contents><Key>a&amp;b</Key><Size>12</Size>"
			  "<Owner><ID>x</ID></Owner></Contents><Contents><Size>0</Size><Key>c</Key>"
			  "</Contents><CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>"
			  "</ListBucketResult>",
			  &n, &page),
		0);
	assert_string_equal(n.text, "a&b=12 c=0 ");
	assert_true(page.truncated);
	assert_string_equal(page.token, "t/+=&");
}

static void refuses_what_is_no_whole_list(void **state)
{
	(void)state;
	struct entries n;
	struct s3_xml_page page;
	static const char *const texts[] = {
		"",
		"no xml",
		"<html></html>",
		LIST_HEAD "</ListBucketResult>",
		LIST_HEAD "<IsTruncated>false</IsTruncated>",
		LIST_HEAD "<IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents>"
			  "</ListBucketResult>",
		LIST_HEAD "<IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>-1</Size>"
			  "</Contents></ListBucketResult>",
		"<!DOCTYPE x [<!ENTITY a \"b\">]>" LIST_HEAD
		"<IsTruncated>false</IsTruncated></ListBucketResult>",
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		assert_int_equal(list_read(texts[i], &n, &page), ET_EMALFORMED);
	}
}

static void refuses_a_key_without_end(void **state)
{
	(void)state;
	struct et_buffer b = { 0 };
	struct entries n;
	struct s3_xml_page page;
	et_buffer_printf(&b, LIST_HEAD "<IsTruncated>false</IsTruncated><Contents><Key>");
	for (unsigned i = 0; i < 5000; i++) {
		et_buffer_add8(&b, 'k');
	}
	et_buffer_printf(&b, "</Key><Size>1</Size></Contents></ListBucketResult>");
	et_buffer_add8(&b, 0);
	assert_int_equal(list_read((const char *)b.data, &n, &page), ET_EMALFORMED);
	et_buffer_release(&b);
}

/* ---- Headers ---- */

static void line(struct s3_answer *a, const char *text)
{
	s3_answer_line(a, text, strlen(text));
}

static void reads_the_headers_of_an_answer(void **state)
{
	(void)state;
	struct s3_answer a = { 0 };
	line(&a, "HTTP/1.1 100 Continue\r\n");
	line(&a, "ETag: \"of the hundred\"\r\n");
	line(&a, "HTTP/1.1 206 Partial Content\r\n");
	assert_string_equal(a.etag, "");
	line(&a, "eTaG:\t\"0123\"  \r\n");
	line(&a, "Content-Length: 10\r\n");
	line(&a, "Content-Range: bytes 5-14/100\r\n");
	line(&a, "Date: Sun, 22 Nov 2026 14:05:02 GMT\r\n");
	line(&a, "Retry-After: 3600\r\n");
	line(&a, "x-amz-object-lock-mode: COMPLIANCE\r\n");
	a.status = 206;
	assert_string_equal(a.etag, "0123");
	assert_int_equal(a.content_length, 10);
	assert_true(a.date_us == 1795356302000000LL);
	assert_int_equal(a.retry_after_ms, 30000);
	assert_string_equal(a.lock_mode, "COMPLIANCE");
	assert_true(s3_answer_is_range(&a, 5, 10));
	assert_false(s3_answer_is_range(&a, 5, 9));
	assert_false(s3_answer_is_range(&a, 4, 11));
	line(&a, "Content-Length: 99999999999999999999\r\n");
	assert_int_equal(a.content_length, -1);
	line(&a, "Content-Length: ten\r\n");
	assert_int_equal(a.content_length, -1);
}

/* ---- Credentials ---- */

static void expect_credentials(const char *text, const char *id, const char *secret)
{
	struct et_credentials c = { 0 };
	struct et_error e = { 0 };
	if (et_credentials_parse("f", text, strlen(text), &c, &e) < 0) {
		fail_msg("%s", e.text);
	}
	assert_string_equal(c.key_id, id);
	assert_int_equal(et_secret_size(c.secret), strlen(secret));
	assert_memory_equal(et_secret_bytes(c.secret), secret, strlen(secret));
	et_credentials_release(&c);
}

static void reads_credentials_in_both_forms(void **state)
{
	(void)state;
	expect_credentials("ID\nse/cr+et=\n", "ID", "se/cr+et=");
	expect_credentials("# mine\r\n\r\n  ID \r\n\tsecret\r\n", "ID", "secret");
	expect_credentials("[default]\naws_access_key_id=ID\naws_secret_access_key = a=b\n", "ID",
			   "a=b");
	expect_credentials("[other]\naws_access_key_id=NO\n[default]\n"
			   "aws_access_key_id = ID\naws_secret_access_key = secret",
			   "ID", "secret");
}

static void refuses_bad_credentials_without_showing_them(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"",
		"ID\n",
		"ID\nhush\nmore\n",
		"ID\nhu sh\n",
		"ID\nhush\n[default]\n",
		"[default]\naws_access_key_id=ID\n",
		"[default]\naws_access_key_id=ID\naws_access_key_id=ID\n",
		"[default]\naws_session_token=hush\n",
		"[default]\nhush\n",
		"[other]\naws_access_key_id=ID\naws_secret_access_key=hush\n",
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		struct et_credentials c = { 0 };
		struct et_error e = { 0 };
		assert_int_equal(et_credentials_parse("f", texts[i], strlen(texts[i]), &c, &e),
				 ET_EMALFORMED);
		assert_ptr_equal(strstr(e.text, "f:"), e.text);
		assert_null(strstr(e.text, "hush"));
	}
}

static void refuses_credentials_that_others_can_read(void **state)
{
	(void)state;
	static const struct {
		mode_t mode;
		int code;
	} cases[] = { { 0400, 0 },	     { 0600, 0 },	    { 0440, ET_EKEYPERM },
		      { 0604, ET_EKEYPERM }, { 0700, ET_EKEYPERM }, { 0620, ET_EKEYPERM } };
	char folder[64];
	char path[128];
	folder_make(folder);
	(void)snprintf(path, sizeof(path), "%s/cred", folder);
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		struct et_credentials c = { 0 };
		struct et_error e = { 0 };
		file_write(folder, "cred", "ID\nsecret\n", cases[i].mode);
		assert_int_equal(et_credentials_load(path, &c, &e), cases[i].code);
		et_credentials_release(&c);
	}
	struct et_credentials none = { 0 };
	assert_int_equal(et_credentials_load(folder, &none, NULL), ET_EMALFORMED);
	assert_int_equal(et_credentials_load("/tmp/et_bucket.none/cred", &none, NULL), -ENOENT);
	folder_remove(folder);
}

/* ---- Configuration ---- */

static void refuses_settings_that_make_no_sense(void **state)
{
	(void)state;
	const struct et_bucket_config good = { .type = ET_BUCKET_S3,
					       .endpoint = "https://s3.example:8443",
					       .bucket = "abc",
					       .credentials = "/etc/cred" };
	static const char *const endpoints[] = { "s3.example",	"https://",	   "https://a/b",
						 "https://a:0", "https://a:70000", "https://u:p@a",
						 "https://a?x", "https://[::1",	   "ftp://a",
						 "https://a b" };
	static const char *const buckets[] = { "ab", "Abc", "a_b", "-abc", "abc.", "a..b", "a/b" };
	struct et_bucket_config c = good;
	assert_int_equal(et_bucket_check(&c, NULL), 0);
	c.endpoint = "http://[::1]:8080";
	assert_int_equal(et_bucket_check(&c, NULL), 0);
	for (size_t i = 0; i < ET_ARRAY_SIZE(endpoints); i++) {
		c.endpoint = endpoints[i];
		assert_int_equal(et_bucket_check(&c, NULL), ET_EMALFORMED);
	}
	c = good;
	for (size_t i = 0; i < ET_ARRAY_SIZE(buckets); i++) {
		c.bucket = buckets[i];
		assert_int_equal(et_bucket_check(&c, NULL), ET_EMALFORMED);
	}
	c = good;
	c.insecure_tls = true; /* s3 verifies; nobody may switch it off */
	assert_int_equal(et_bucket_check(&c, NULL), ET_EMALFORMED);
	c = good;
	c.prefix = "../x";
	assert_int_equal(et_bucket_check(&c, NULL), ET_EMALFORMED);
	c = good;
	c.credentials = "cred";
	assert_int_equal(et_bucket_check(&c, NULL), ET_EMALFORMED);
	c = (struct et_bucket_config){ .type = ET_BUCKET_DIR, .path = "srv" };
	assert_int_equal(et_bucket_check(&c, NULL), ET_EMALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_an_error),
		cmocka_unit_test(reads_a_list),
		cmocka_unit_test(refuses_what_is_no_whole_list),
		cmocka_unit_test(refuses_a_key_without_end),
		cmocka_unit_test(reads_the_headers_of_an_answer),
		cmocka_unit_test(reads_credentials_in_both_forms),
		cmocka_unit_test(refuses_bad_credentials_without_showing_them),
		cmocka_unit_test(refuses_credentials_that_others_can_read),
		cmocka_unit_test(refuses_settings_that_make_no_sense),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
