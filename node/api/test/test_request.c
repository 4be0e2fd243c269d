#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "node/api/request.h"

static void paths_fit_their_pattern_only(void **state)
{
	(void)state;
	assert_true(api_path_fits("/v1/recordings", "/v1/recordings"));
	assert_true(api_path_fits("/v1/recordings/*/audio", "/v1/recordings/abc/audio"));
	assert_true(api_path_fits("/", "/"));
	assert_false(api_path_fits("/v1/recordings/*", "/v1/recordings"));
	assert_false(api_path_fits("/v1/recordings/*", "/v1/recordings/"));
	assert_false(api_path_fits("/v1/recordings/*", "/v1/recordings/a/b"));
	assert_false(api_path_fits("/v1/recordings", "/v1/recordings/"));
	assert_false(api_path_fits("/v1/recordings", "/v1/recordingsx"));
	assert_false(api_path_fits("/v1/recordings", "v1/recordings"));
	assert_false(api_path_fits("/", ""));

	char text[8];
	assert_true(api_path_star("/a/*/b", "/a/xyz/b", text, sizeof(text)));
	assert_string_equal(text, "xyz");
	assert_false(api_path_star("/a/*/b", "/a/muchtoolong/b", text, sizeof(text)));
	assert_false(api_path_star("/a/b", "/a/b", text, sizeof(text)));
}

static void parameters_are_checked(void **state)
{
	(void)state;
	static const char *const known[] = { "limit", "state", "from" };
	struct api_request r = { .param_count = 2 };
	struct et_error e = { 0 };
	uint64_t n;
	(void)snprintf(r.params[0], ET_API_PARAM_MAX, "limit=20");
	(void)snprintf(r.params[1], ET_API_PARAM_MAX, "from=2026-11-22T09:00:00Z");
	assert_int_equal(api_params_check(&r, known, 3, &e), 0);
	assert_int_equal(api_param_uint(&r, "limit", 1, 100, 50, &n, &e), 0);
	assert_int_equal(n, 20);
	assert_int_equal(api_param_uint(&r, "other", 1, 100, 50, &n, &e), 0);
	assert_int_equal(n, 50);
	int64_t us;
	assert_int_equal(api_param_time(&r, "from", &us, &e), 0);
	assert_int_equal(us, INT64_C(1795338000000000));

	(void)snprintf(r.params[0], ET_API_PARAM_MAX, "limit=2000");
	assert_int_equal(api_param_uint(&r, "limit", 1, 100, 50, &n, &e), ET_EUSAGE);
	(void)snprintf(r.params[0], ET_API_PARAM_MAX, "limit=-1");
	assert_int_equal(api_param_uint(&r, "limit", 1, 100, 50, &n, &e), ET_EUSAGE);
	(void)snprintf(r.params[0], ET_API_PARAM_MAX, "limti=1");
	assert_int_equal(api_params_check(&r, known, 3, &e), ET_EUSAGE);
	assert_string_equal(e.text, "unknown parameter \"limti\" (did you mean \"limit\"?)");
	(void)snprintf(r.params[0], ET_API_PARAM_MAX, "from=x");
	assert_int_equal(api_params_check(&r, known, 3, &e), ET_EUSAGE);
	(void)snprintf(r.params[0], ET_API_PARAM_MAX, "limit");
	assert_int_equal(api_params_check(&r, known, 3, &e), ET_EUSAGE);
}

/* RFC 9110, section 14.1.2. */
static void ranges_are_those_of_the_rfc(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		uint64_t size;
		int want;
		uint64_t first, last;
	} cases[] = {
		{ "bytes=0-499", 10000, 1, 0, 499 },
		{ "bytes=500-999", 10000, 1, 500, 999 },
		{ "bytes=-500", 10000, 1, 9500, 9999 },
		{ "bytes=9500-", 10000, 1, 9500, 9999 },
		{ "bytes=0-0", 1, 1, 0, 0 },
		{ "bytes=0-99999", 10, 1, 0, 9 },
		{ "bytes=-99999", 10, 1, 0, 9 },
		{ "bytes=10-", 10, -1, 0, 0 },
		{ "bytes=-0", 10, -1, 0, 0 },
		{ "bytes=0-", 0, -1, 0, 0 },
		{ "bytes=5-4", 10, 0, 0, 0 },
		{ "bytes=-", 10, 0, 0, 0 },
		{ "bytes=a-b", 10, 0, 0, 0 },
		{ "bytes=0-1,2-3", 10, 0, 0, 0 },
		{ "items=0-1", 10, 0, 0, 0 },
		{ "", 10, 0, 0, 0 },
		{ "bytes=99999999999999999999-", 10, 0, 0, 0 },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		uint64_t first = 0;
		uint64_t last = 0;
		assert_int_equal(api_range_parse(cases[i].text, cases[i].size, &first, &last),
				 cases[i].want);
		if (cases[i].want > 0) {
			assert_int_equal(first, cases[i].first);
			assert_int_equal(last, cases[i].last);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_fit_their_pattern_only),
		cmocka_unit_test(parameters_are_checked),
		cmocka_unit_test(ranges_are_those_of_the_rfc),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
