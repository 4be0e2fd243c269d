#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <time.h>

#include "node/rule/zone.h"

/* The C library reads the same files: every third day of seventy years agrees. */
static void offsets_are_those_of_the_c_library(void **state)
{
	static const char *const names[] = { "Europe/Prague", "America/New_York", "Asia/Kolkata",
					     "Australia/Lord_Howe", "UTC" };
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct et_zone z;
		assert_int_equal(et_zone_load(names[i], &z, NULL), 0);
		assert_string_equal(z.name, names[i]);
		assert_int_equal(setenv("TZ", names[i], 1), 0);
		tzset();
		for (int64_t s = 0; s < INT64_C(2130000000); s += 3 * 86400 + 1801) {
			time_t t = s;
			struct tm tm;
			assert_non_null(localtime_r(&t, &tm));
			assert_int_equal(et_zone_offset(&z, s * 1000000), tm.tm_gmtoff);
		}
	}
}

static void a_change_is_exact(void **state)
{
	struct et_zone z;
	const int64_t summer_s = 1774746000; /* 2026-03-29 01:00 UTC */
	(void)state;
	assert_int_equal(et_zone_load("Europe/Prague", &z, NULL), 0);
	assert_int_equal(et_zone_offset(&z, summer_s * 1000000 - 1), 3600);
	assert_int_equal(et_zone_offset(&z, summer_s * 1000000), 7200);
}

static void what_is_no_zone_is_refused(void **state)
{
	struct et_zone z;
	struct et_error e;
	(void)state;
	assert_int_equal(et_zone_load("Europe/Prag", &z, &e), ET_ENOTFOUND);
	assert_string_equal(e.text, "there is no time zone \"Europe/Prag\" in /usr/share/zoneinfo");
	assert_int_equal(et_zone_load("../../etc/passwd", &z, &e), ET_EUSAGE);
	assert_int_equal(et_zone_load("/etc/localtime", &z, &e), ET_EUSAGE);
	assert_int_equal(et_zone_load("", &z, &e), ET_EUSAGE);
	assert_int_equal(et_zone_load("Europe", &z, &e), ET_ENOTFOUND); /* a folder */
	assert_int_equal(et_zone_load("tzdata.zi", &z, &e), ET_EUSAGE);
	assert_int_equal(et_zone_read("x", "TZif2", 5, &z, &e), ET_EMALFORMED);
}

/* Version 2, no changes, one type of +1 h, and a footer that changes clocks. */
static void a_slim_file_of_a_zone_that_changes_is_refused(void **state)
{
	uint8_t file[512];
	size_t size = 0;
	struct et_zone z;
	struct et_error e;
	(void)state;
	for (int block = 0; block < 2; block++) {
		memset(file + size, 0, 44 + 6 + 4);
		memcpy(file + size, "TZif2", 5);
		file[size + 20 + 4 * 4 + 3] = 1; /* types */
		file[size + 20 + 5 * 4 + 3] = 4; /* chars */
		file[size + 44 + 2] = 0x0E;	 /* 3600 */
		file[size + 44 + 3] = 0x10;
		memcpy(file + size + 50, "CET", 3);
		size += 54;
	}
	memcpy(file + size, "\nCET-1\n", 7);
	assert_int_equal(et_zone_read("x", file, size + 7, &z, &e), 0);
	assert_int_equal(et_zone_offset(&z, 0), 3600);
	const char rule[] = "\nCET-1CEST,M3.5.0,M10.5.0/3\n";
	memcpy(file + size, rule, sizeof(rule) - 1);
	assert_int_equal(et_zone_read("x", file, size + sizeof(rule) - 1, &z, &e), ET_EUNSUPPORTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offsets_are_those_of_the_c_library),
		cmocka_unit_test(a_change_is_exact),
		cmocka_unit_test(what_is_no_zone_is_refused),
		cmocka_unit_test(a_slim_file_of_a_zone_that_changes_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
