#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/text/units.h"

static void durations_carry_their_unit(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t us;
	} good[] = {
		{ "30s", 30000000 },
		{ "50ms", 50000 },
		{ "5m", 300000000 },
		{ "72h", INT64_C(259200000000) },
		{ "7d", INT64_C(604800000000) },
		{ "1y", INT64_C(366) * 86400 * 1000000 },
		{ "0", 0 },
		{ "1us", 1 },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(good); i++) {
		int64_t us = -1;
		assert_true(et_duration_parse(good[i].text, &us));
		assert_int_equal(us, good[i].us);
	}
	static const char *const bad[] = { "",
					   "30",
					   "s",
					   "-1s",
					   "1.5h",
					   "30 s",
					   "30S",
					   "1min",
					   "+1s",
					   "1s ",
					   "99999999999999999999s",
					   "300000000000y" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		int64_t us;
		assert_false(et_duration_parse(bad[i], &us));
	}
}

static void a_formatted_duration_reads_back(void **state)
{
	(void)state;
	static const char *const texts[] = { "3d", "1w", "90m", "1500ms", "7y", "1us", "0s" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		int64_t us;
		char text[ET_UNIT_TEXT_SIZE];
		assert_true(et_duration_parse(texts[i], &us));
		assert_string_equal(et_duration_format(us, text), texts[i]);
	}
	char text[ET_UNIT_TEXT_SIZE];
	assert_string_equal(et_duration_format(-5000000, text), "-5s");
}

static void sizes_carry_their_unit(void **state)
{
	(void)state;
	uint64_t v;
	assert_true(et_bytes_parse("64KiB", &v));
	assert_int_equal(v, 65536);
	assert_true(et_bytes_parse("10GiB", &v));
	assert_int_equal(v, UINT64_C(10) << 30);
	assert_true(et_bytes_parse("2MB", &v));
	assert_int_equal(v, 2000000);
	assert_true(et_bytes_parse("17", &v));
	assert_int_equal(v, 17);
	static const char *const bad[] = { "", "KiB", "1K", "1 KiB", "-1B", "1.5GiB", "20000PiB" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		assert_false(et_bytes_parse(bad[i], &v));
	}
	char text[ET_UNIT_TEXT_SIZE];
	assert_string_equal(et_bytes_format(999, text), "999 B");
	assert_string_equal(et_bytes_format(1536, text), "1.5 KiB");
	assert_string_equal(et_bytes_format(UINT64_C(612) << 30, text), "612 GiB");
}

static void names_are_dns_labels(void **state)
{
	(void)state;
	assert_true(et_name_is_valid("prg-1"));
	assert_true(et_name_is_valid("a"));
	assert_true(et_name_is_valid(
		"a23456789012345678901234567890123456789012345678901234567890123"));
	assert_false(et_name_is_valid(
		"a234567890123456789012345678901234567890123456789012345678901234"));
	static const char *const bad[] = { "", "-a", "a-", "A", "a.b", "a b", "ž" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		assert_false(et_name_is_valid(bad[i]));
	}
}

static void addresses_have_an_ip_and_a_port(void **state)
{
	(void)state;
	assert_true(et_address_is_valid("10.1.0.11:7400", false));
	assert_true(et_address_is_valid("[::1]:7400", false));
	assert_true(et_address_is_valid("127.0.0.1:0", true));
	static const char *const bad[] = { "",		"10.1.0.11", "10.1.0.11:",    "10.1.0.11:0",
					   "10.1.0:1",	"host:1",    "1.2.3.4:70000", "::1:7400",
					   "[::1]7400", "1.2.3.4:1x" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		assert_false(et_address_is_valid(bad[i], false));
	}
}

static bool is_in(const char *range, const char *address)
{
	struct et_range r;
	struct et_range one;
	assert_true(et_range_parse(range, &r));
	assert_true(et_range_parse(address, &one));
	return et_range_holds(&r, one.address);
}

static void ranges_hold_addresses(void **state)
{
	(void)state;
	assert_true(is_in("10.1.0.7", "10.1.0.7"));
	assert_false(is_in("10.1.0.7", "10.1.0.6"));
	assert_true(is_in("10.1.0.0/23", "10.1.1.255"));
	assert_false(is_in("10.1.0.0/23", "10.1.2.0"));
	assert_true(is_in("0.0.0.0/0", "255.255.255.255"));
	assert_false(is_in("0.0.0.0/0", "fd00::1")); /* of IPv4 only */
	assert_true(is_in("::/0", "10.1.0.7"));
	assert_true(is_in("fd00:8000::/17", "fd00:ffff::1"));
	assert_false(is_in("fd00:8000::/17", "fd00:7fff::1"));
	assert_true(is_in("fd00::1/128", "fd00::1"));
	static const char *const bad[] = {
		"",	      "10.1.0.1/24", "10.1.0.0/33", "10.1.0.0/",   "10.1.0.0/8x", "10.1/16",
		"fd00::1/64", "fd00::/129",  "all",	    "10.1.0.0/-1", "/8"
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		struct et_range r;
		assert_false(et_range_parse(bad[i], &r));
	}
}

static void suggests_only_what_is_near(void **state)
{
	(void)state;
	static const char *const words[] = { "after", "archive", "list", "show", "s3" };
	assert_string_equal(et_suggest("afterr", words, 5), "after");
	assert_string_equal(et_suggest("arhcive", words, 5), "archive");
	assert_string_equal(et_suggest("lsit", words, 5), "list");
	assert_null(et_suggest("play", words, 5));
	assert_null(et_suggest("", words, 5));
	assert_null(et_suggest("xyzzyxyzzy", words, 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_carry_their_unit),
		cmocka_unit_test(a_formatted_duration_reads_back),
		cmocka_unit_test(sizes_carry_their_unit),
		cmocka_unit_test(names_are_dns_labels),
		cmocka_unit_test(addresses_have_an_ip_and_a_port),
		cmocka_unit_test(ranges_hold_addresses),
		cmocka_unit_test(suggests_only_what_is_near),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
