#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/defs.h"
#include "node/io/clock.h"

static void time_survives_its_text(void **state)
{
	static const int64_t times[] = { 0, 1, -1, 1795356302123456, 253402300799999999 };

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(times); i++) {
		char text[ET_TIME_TEXT_SIZE];
		int64_t back = 42;
		et_time_format(times[i], text);
		assert_true(et_time_parse(text, &back));
		assert_int_equal(back, times[i]);
	}
}

static void reads_offsets_and_days(void **state)
{
	int64_t a = 0;
	int64_t b = 0;

	(void)state;
	assert_true(et_time_parse("2026-11-22T16:05:02+02:00", &a));
	assert_true(et_time_parse("2026-11-22T14:05:02Z", &b));
	assert_int_equal(a, b);
	assert_true(et_time_parse("1970-01-02", &a));
	assert_int_equal(a, 86400000000);
}

static void refuses_what_is_not_a_time(void **state)
{
	static const char *const wrong[] = { "",
					     "2026",
					     "2026-13-01",
					     "2026-11-22T",
					     "2026-11-22T25:00:00Z",
					     "2026-11-22T14:05:02",
					     "2026-11-22T14:05:02.Z",
					     "2026-11-22T14:05:02Zx",
					     "yesterday" };
	int64_t t;

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(wrong); i++) {
		assert_false(et_time_parse(wrong[i], &t));
	}
}

static void uuids_are_ordered_and_survive_their_text(void **state)
{
	uint8_t a[16];
	uint8_t back[16];
	char text[ET_UUID_TEXT_SIZE];

	(void)state;
	et_uuid7(a);
	assert_int_equal(a[6] >> 4, 7);
	assert_int_equal(a[8] >> 6, 2);
	et_uuid_format(a, text);
	assert_true(et_uuid_parse(text, back));
	assert_memory_equal(a, back, 16);
	text[8] = 'x';
	assert_false(et_uuid_parse(text, back));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(time_survives_its_text),
		cmocka_unit_test(reads_offsets_and_days),
		cmocka_unit_test(refuses_what_is_not_a_time),
		cmocka_unit_test(uuids_are_ordered_and_survive_their_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
