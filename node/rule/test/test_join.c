#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "node/rule/join.h"

#define UUID "ab30317f1a784dc48ff824d0d3715d86"

static const char *by_header(const char *name, const char *value)
{
	static char key[ET_JOIN_KEY_MAX];

	return et_join_header_key(name, (struct et_view){ (const uint8_t *)value, strlen(value) },
				  key)
		       ? key
		       : NULL;
}

static void a_header_s_value_is_the_key(void **state)
{
	char longest[400];
	(void)state;
	assert_string_equal(by_header("X-Call-ID", "aB c"), "x-call-id:aB c");
	assert_null(by_header("X-Call-ID", ""));
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_null(by_header("X-Call-ID", longest));
	char key[ET_JOIN_KEY_MAX];
	assert_false(et_join_header_key("X", (struct et_view){ (const uint8_t *)"a\0b", 3 }, key));
}

static void of_a_session_id_the_local_uuid_counts(void **state)
{
	(void)state;
	assert_string_equal(by_header("session-id", UUID ";remote=" UUID), "session-id:" UUID);
	assert_string_equal(by_header("Session-ID", "AB30317F1A784DC48FF824D0D3715D86"),
			    "session-id:" UUID);
	assert_null(by_header("Session-ID", "00000000000000000000000000000000;remote=" UUID));
	assert_null(by_header("Session-ID", UUID "0"));
	assert_null(by_header("Session-ID", "ab30317f"));
	assert_null(by_header("Session-ID", "ab30317f-1a78-4dc4-8ff8-24d0d3715d86"));
}

static void numbers_count_from_the_right(void **state)
{
	char key[ET_JOIN_KEY_MAX];
	(void)state;
	assert_true(et_join_numbers_key("+420 555-1234", "005556789", 7, key));
	assert_string_equal(key, "5551234>5556789");
	assert_true(et_join_numbers_key("5551234", "5556789", 7, key));
	assert_string_equal(key, "5551234>5556789");
	assert_false(et_join_numbers_key("alice", "5556789", 7, key));
	assert_false(et_join_numbers_key("5551234", "789", 7, key));
	assert_false(et_join_numbers_key("1", "2", 1, key));
	assert_false(et_join_numbers_key("1", "2", 16, key));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_s_value_is_the_key),
		cmocka_unit_test(of_a_session_id_the_local_uuid_counts),
		cmocka_unit_test(numbers_count_from_the_right),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
