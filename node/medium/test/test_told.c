/* Metadata: what is told is read; what is anything else is refused with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "node/medium/told.h"

static int read_text(const char *text, struct et_told *ret, struct et_error *reterr)
{
	return et_told_read("a.json", (struct et_view){ (const uint8_t *)text, strlen(text) }, ret,
			    reterr);
}

static void what_is_told_is_read(void **state)
{
	(void)state;
	struct et_told t;

	assert_int_equal(
		read_text("{\"call\": \"PBX-7\", \"start\": \"2024-03-01T09:15:00+01:00\", "
			  "\"from\": \"+4930111\", \"to\": \"1234\", \"agent\": \"jana\", "
			  "\"site\": \"prg\", \"direction\": \"inbound\", "
			  "\"facts\": {\"order\": \"A-17\", \"amount\": -12, \"vip\": true}, "
			  "\"tags\": [\"complaint\", \"stížnost\"]}",
			  &t, NULL),
		0);
	assert_int_equal(t.start_us, INT64_C(1709280900000000));
	assert_string_equal(t.call, "PBX-7");
	assert_string_equal(t.from, "+4930111");
	assert_string_equal(t.to, "1234");
	assert_string_equal(t.agent, "jana");
	assert_string_equal(t.site, "prg");
	assert_string_equal(t.direction, "inbound");
	assert_int_equal(t.fact_count, 3);
	assert_string_equal(t.facts[0].text, "A-17");
	assert_true(t.facts[1].type == ET_TOLD_INTEGER && t.facts[1].number == -12);
	assert_true(t.facts[2].type == ET_TOLD_BOOL && t.facts[2].number == 1);
	assert_int_equal(t.tag_count, 2);
	et_told_release(&t);
	assert_int_equal(read_text("", &t, NULL), 0);
	assert_true(t.start_us == 0 && t.from[0] == '\0' && t.fact_count == 0);
	et_told_release(&t);
}

static void anything_else_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		const char *says;
	} rows[] = {
		{ "[]", "a JSON object" },
		{ "{\"from\": 1}", "\"from\"" },
		{ "{\"from\": \"a\\u0007\"}", "\"from\"" },
		{ "{\"from\": \"a\\u0000b\"}", "" },
		{ "{\"form\": \"x\"}", "from" }, /* a suggestion */
		{ "{\"start\": \"yesterday\"}", "\"start\"" },
		{ "{\"start\": \"1969-01-01T00:00:00Z\"}", "\"start\"" },
		{ "{\"start\": \"2999-01-01T00:00:00Z\"}", "\"start\"" },
		{ "{\"direction\": \"sideways\"}", "inbound, outbound or internal" },
		{ "{\"facts\": []}", "\"facts\"" },
		{ "{\"facts\": {\"\": \"x\"}}", "no fact" },
		{ "{\"facts\": {\"a\": 1.5}}", "\"a\"" },
		{ "{\"facts\": {\"a\": {\"b\": 1}}}", "\"a\"" },
		{ "{\"facts\": {\"a\": 1, \"a\": 2}}", "" },
		{ "{\"tags\": [\"\"]}", "\"tags\"" },
		{ "{\"tags\": [1]}", "\"tags\"" },
		{ "{", "a.json:1:" },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		struct et_error e = { 0 };
		struct et_told t;
		assert_int_equal(read_text(rows[i].text, &t, &e), ET_EMALFORMED);
		assert_non_null(strstr(e.text, rows[i].says));
	}
}

static void it_is_bounded(void **state)
{
	(void)state;
	struct et_buffer b = { 0 };
	struct et_told t;

	et_buffer_printf(&b, "{\"facts\": {");
	for (int i = 0; i <= ET_TOLD_FACTS_MAX; i++) {
		et_buffer_printf(&b, "%s\"k%d\": 1", i > 0 ? ", " : "", i);
	}
	et_buffer_printf(&b, "}}");
	assert_int_equal(et_told_read("m", (struct et_view){ b.data, b.size }, &t, NULL),
			 ET_EMALFORMED);
	b.size = 0;
	et_buffer_printf(&b, "{\"from\": \"%0*d\"}", 300, 1);
	assert_int_equal(et_told_read("m", (struct et_view){ b.data, b.size }, &t, NULL),
			 ET_EMALFORMED);
	b.size = 0;
	et_buffer_printf(&b, "%*s", ET_TOLD_BYTES_MAX + 1, "{}");
	assert_int_equal(et_told_read("m", (struct et_view){ b.data, b.size }, &t, NULL),
			 ET_ELIMIT);
	et_buffer_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_told_is_read),
		cmocka_unit_test(anything_else_is_refused),
		cmocka_unit_test(it_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
