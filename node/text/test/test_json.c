#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "node/text/json.h"

static int parse(const char *text, json_t **ret, struct et_error *e)
{
	return et_json_parse("body", text, strlen(text), 4096, ret, e);
}

static void prints_what_it_parsed(void **state)
{
	(void)state;
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	ET_CLEANUP(et_buffer_release) struct et_buffer out = { 0 };
	const char text[] = "{\"b\":[1,2.5,null,true],\"a\":\"\\u00e9\"}";
	assert_int_equal(parse(text, &j, NULL), 0);
	et_json_print(j, false, &out);
	assert_false(out.failed);
	assert_int_equal(out.size, strlen("{\"b\":[1,2.5,null,true],\"a\":\"\u00e9\"}"));
	assert_memory_equal(out.data, "{\"b\":[1,2.5,null,true],\"a\":\"\u00e9\"}", out.size);
}

static void refuses_what_is_not_one_value(void **state)
{
	(void)state;
	static const char *const bad[] = { "",	      "{",	"{\"a\":1}x", "{\"a\":1,\"a\":2}",
					   "[1,]",    "nul",	"\"\xff\"",   "{\"a\\u0000\":1}",
					   "{'a':1}", "[1e999]" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		json_t *j = NULL;
		struct et_error e = { 0 };
		assert_int_equal(parse(bad[i], &j, &e), ET_EMALFORMED);
		assert_null(j);
		assert_memory_equal(e.text, "body:", 5);
	}
}

static void refuses_depth_and_size(void **state)
{
	(void)state;
	char deep[80];
	json_t *j = NULL;
	memset(deep, '[', ET_JSON_DEPTH_MAX);
	memset(deep + ET_JSON_DEPTH_MAX, ']', ET_JSON_DEPTH_MAX);
	assert_int_equal(et_json_parse("b", deep, 2 * ET_JSON_DEPTH_MAX, 4096, &j, NULL), 0);
	json_decref(j);
	memset(deep, '[', ET_JSON_DEPTH_MAX + 1);
	assert_int_equal(et_json_parse("b", deep, 70, 4096, &j, NULL), ET_EMALFORMED);
	assert_int_equal(et_json_parse("b", "[1,2,3]", 7, 6, &j, NULL), ET_ELIMIT);
}

static void foreign_text_becomes_utf8(void **state)
{
	(void)state;
	static const struct {
		const char *raw;
		const char *clean;
	} cases[] = {
		{ "plain", "plain" },
		{ "caf\xc3\xa9", "caf\xc3\xa9" },
		{ "a\xff"
		  "b",
		  "a\xef\xbf\xbd"
		  "b" },
		{ "\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd" },		    /* overlong */
		{ "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, /* surrogate */
		{ "\xf0\x9f\x98", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" }, /* cut */
		{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		ET_CLEANUP(et_json_freep) json_t *j = et_json_text(cases[i].raw);
		assert_non_null(j);
		assert_string_equal(json_string_value(j), cases[i].clean);
		/* jansson's own check agrees. */
		ET_CLEANUP(et_json_freep) json_t *checked = json_string(json_string_value(j));
		assert_non_null(checked);
	}
	ET_CLEANUP(et_json_freep) json_t *none = et_json_text(NULL);
	assert_true(json_is_null(none));
}

static void members_are_read_with_a_default(void **state)
{
	(void)state;
	ET_CLEANUP(et_json_freep) json_t *o = json_object();
	et_json_set(o, "text", et_json_text("x"));
	et_json_set(o, "big", et_json_u64(UINT64_MAX));
	et_json_set(o, "n", et_json_u64(7));
	et_json_set(o, "hex", et_json_hex("\x01\xab", 2));
	et_json_set(o, "nothing", NULL);
	assert_string_equal(et_json_get_text(o, "text", ""), "x");
	assert_string_equal(et_json_get_text(o, "n", "other"), "other");
	assert_string_equal(et_json_get_text(o, "big", ""), "18446744073709551615");
	assert_string_equal(et_json_get_text(o, "hex", ""), "01ab");
	assert_int_equal(et_json_get_int(o, "n", 0), 7);
	assert_int_equal(et_json_get_int(o, "none", -1), -1);
	assert_true(et_json_get_bool(o, "text", true));
	assert_true(json_is_null(json_object_get(o, "nothing")));

	const char *const known[] = { "text", "big", "n", "hex", "nothin" };
	struct et_error e = { 0 };
	assert_int_equal(et_json_check_keys(o, known, 5, &e), ET_EMALFORMED);
	assert_string_equal(e.text, "unknown key \"nothing\" (did you mean \"nothin\"?)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prints_what_it_parsed),
		cmocka_unit_test(refuses_what_is_not_one_value),
		cmocka_unit_test(refuses_depth_and_size),
		cmocka_unit_test(foreign_text_becomes_utf8),
		cmocka_unit_test(members_are_read_with_a_default),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
