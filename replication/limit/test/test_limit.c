#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node/io/clock.h"
#include "replication/limit/limit.h"

static struct et_limits limits;

static int64_t at(const char *time)
{
	int64_t us = 0;
	assert_true(et_time_parse(time, &us));
	return us;
}

static int read_text(const char *text, struct et_error *e)
{
	*e = (struct et_error){ 0 };
	return et_limits_parse(text, strlen(text), "f.yaml", &limits, e);
}

static void must_read(const char *text)
{
	struct et_error e;
	if (read_text(text, &e) < 0) {
		fail_msg("%s", e.text);
	}
}

/* The rate that decides, or 1: none does. */
static uint64_t rate_at(int klass, const char *time)
{
	const struct et_limit *l = et_limits_at(&limits, "brq", klass, at(time));
	return l != NULL ? l->rate : 1;
}

static void the_most_particular_limit_decides(void **state)
{
	(void)state;
	must_read("limits:\n"
		  "  - {to: brq, rate: 20MiB}\n"
		  "  - {to: brq, rate: 2MiB, window: \"mon-fri 08:00-18:00 Europe/Prague\"}\n"
		  "  - {to: brq, rate: 1MiB, class: rebalance}\n"
		  "  - {to: brq, rate: pause, class: rebalance, window: \"mon 09:00-10:00 "
		  "UTC\"}\n"
		  "  - {to: prg, rate: 64KiB}\n");
	/* 2026-11-30 is a Monday; Prague is an hour ahead. */
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-11-30T06:59:59Z"), 20 << 20);
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-11-30T07:00:00Z"), 2 << 20);
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-11-30T16:59:59Z"), 2 << 20);
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-11-30T17:00:00Z"), 20 << 20);
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-11-29T12:00:00Z"), 20 << 20); /* a Sunday */
	assert_int_equal(rate_at(ET_LIMIT_REBALANCE, "2026-11-30T08:59:59Z"), 1 << 20);
	assert_int_equal(rate_at(ET_LIMIT_REBALANCE, "2026-11-30T09:00:00Z"), ET_LIMIT_PAUSE);
	assert_int_equal(rate_at(ET_LIMIT_ALL, "2026-11-30T09:00:00Z"), 2 << 20);
	assert_null(et_limits_at(&limits, "vie", ET_LIMIT_NEW, at("2026-11-30T09:00:00Z")));
	/* In summer it is two hours. */
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-07-06T05:59:59Z"), 20 << 20);
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-07-06T06:00:00Z"), 2 << 20);
}

static void of_equals_the_lowest_rate_decides(void **state)
{
	(void)state;
	must_read("limits:\n"
		  "  - {to: brq, rate: none, window: \"daily 08:00-18:00 UTC\"}\n"
		  "  - {to: brq, rate: 2MiB, window: \"daily 10:00-12:00 UTC\"}\n"
		  "  - {to: brq, rate: 3MiB, window: \"daily 11:00-12:00 UTC\"}\n");
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-11-30T09:00:00Z"), ET_LIMIT_NONE);
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-11-30T11:30:00Z"), 2 << 20);
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-11-30T18:00:00Z"), 1);
}

static void a_window_over_midnight_belongs_to_the_day_it_begins_on(void **state)
{
	(void)state;
	must_read("limits: [{to: brq, rate: 1MiB, window: \"fri 22:00-06:00 UTC\"}]\n");
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-11-27T21:59:59Z"), 1);
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-11-27T22:00:00Z"), 1 << 20);
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-11-28T05:59:59Z"), 1 << 20);
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-11-28T06:00:00Z"), 1);
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-11-28T22:30:00Z"), 1);
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-11-27T05:00:00Z"), 1);
}

static void an_hour_that_comes_twice_is_in_it_twice(void **state)
{
	(void)state;
	/* 2026-10-25: at 01:00 UTC 03:00 becomes 02:00 in Prague. */
	must_read("limits: [{to: brq, rate: 1MiB, window: \"sun 02:00-03:00 Europe/Prague\"}]\n");
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-10-24T23:59:59Z"), 1);
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-10-25T00:30:00Z"), 1 << 20);
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-10-25T01:30:00Z"), 1 << 20);
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-10-25T02:00:00Z"), 1);
	/* 2026-03-29: 02:00 to 03:00 does not come. */
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-03-29T00:59:59Z"), 1);
	assert_int_equal(rate_at(ET_LIMIT_NEW, "2026-03-29T01:00:00Z"), 1);
}

static void it_says_when_another_one_decides(void **state)
{
	(void)state;
	must_read("limits:\n"
		  "  - {to: brq, rate: pause}\n"
		  "  - {to: brq, rate: none, window: \"mon-fri 18:00-08:00 Europe/Prague\"}\n"
		  "  - {to: prg, rate: pause}\n");
	int64_t change =
		et_limits_change_us(&limits, "brq", ET_LIMIT_NEW, at("2026-11-30T10:11:12Z"));
	assert_int_equal(change, at("2026-11-30T17:00:00Z"));
	change = et_limits_change_us(&limits, "brq", ET_LIMIT_NEW, change);
	assert_int_equal(change, at("2026-12-01T07:00:00Z"));
	/* From Saturday morning to Monday evening. */
	change = et_limits_change_us(&limits, "brq", ET_LIMIT_NEW, at("2026-12-05T07:00:00Z"));
	assert_int_equal(change, at("2026-12-07T17:00:00Z"));
	assert_int_equal(et_limits_change_us(&limits, "prg", ET_LIMIT_NEW, change), 0);
	assert_int_equal(et_limits_change_us(&limits, "vie", ET_LIMIT_NEW, change), 0);
}

static void text_comes_back_as_it_was_meant(void **state)
{
	static const char want[] =
		"limits:\n"
		"  - {to: \"brq\", rate: 20MiB}\n"
		"  - {to: \"brq\", rate: 1000000B, window: \"mon-fri 08:00-18:00 Europe/Prague\"}\n"
		"  - {to: \"brq\", rate: pause, class: rebalance, window: \"tue,wed,fri-sun "
		"UTC\"}\n"
		"  - {to: \"prg\", rate: none, class: new, window: \"daily 00:00-24:00 UTC\"}\n";
	struct et_buffer text = { 0 };
	struct et_error e = { 0 };

	(void)state;
	memset(&limits, 0, sizeof(limits));
	assert_int_equal(et_limits_set(&limits, "brq", NULL, NULL, "20MiB/s", &e), 0);
	assert_int_equal(et_limits_set(&limits, "brq", NULL,
				       "  mon,tue,wed-fri 08:00-18:00  Europe/Prague", "1MB", &e),
			 0);
	assert_int_equal(
		et_limits_set(&limits, "brq", "rebalance", "tue-wed,fri,sat,sun UTC", "pause", &e),
		0);
	assert_int_equal(et_limits_set(&limits, "prg", "new", "mon-sun UTC", "none", &e), 0);
	et_limits_print(&limits, &text);
	/* A whole day is not told. */
	char expect[sizeof(want)];
	(void)snprintf(expect, sizeof(expect), "%s", want);
	char *whole = strstr(expect, " 00:00-24:00");
	memmove(whole, whole + 12, strlen(whole + 12) + 1);
	et_buffer_add8(&text, 0);
	assert_string_equal((const char *)text.data, expect);
	must_read(expect);
	assert_int_equal(limits.count, 4);
	et_buffer_release(&text);
}

static void setting_replaces_and_removing_is_exact(void **state)
{
	static const char window[] = "mon-fri 08:00-18:00 Europe/Prague";
	struct et_error e = { 0 };

	(void)state;
	memset(&limits, 0, sizeof(limits));
	assert_int_equal(et_limits_set(&limits, "brq", NULL, NULL, "1MiB", &e), 0);
	assert_int_equal(et_limits_set(&limits, "brq", NULL, window, "2MiB", &e), 0);
	assert_int_equal(et_limits_set(&limits, "brq", NULL, "mon-fri  08:00-18:00 Europe/Prague",
				       "3MiB", &e),
			 0);
	assert_int_equal(limits.count, 2);
	assert_int_equal(limits.limits[1].rate, 3 << 20);
	assert_int_equal(limits.zone_count, 1);

	assert_int_equal(et_limits_remove(&limits, "brq", "new", NULL, &e), ET_ENOTFOUND);
	assert_int_equal(et_limits_remove(&limits, "prg", NULL, NULL, &e), ET_ENOTFOUND);
	assert_int_equal(et_limits_remove(&limits, "brq", NULL, window, &e), 0);
	assert_int_equal(limits.count, 1);
	assert_int_equal(limits.zone_count, 0);
	assert_int_equal(et_limits_remove(&limits, "brq", NULL, NULL, &e), 0);
	assert_int_equal(limits.count, 0);
}

static void zones_are_counted_in_use(void **state)
{
	static const char *const zones[] = { "Europe/Prague", "Europe/Paris",  "Asia/Tokyo",
					     "Asia/Kolkata",  "Africa/Cairo",  "America/Lima",
					     "Asia/Dubai",    "Europe/Athens", "Asia/Seoul" };
	char window[80];
	struct et_error e = { 0 };

	(void)state;
	memset(&limits, 0, sizeof(limits));
	for (size_t i = 0; i < 8; i++) {
		(void)snprintf(window, sizeof(window), "daily 01:00-02:00 %s", zones[i]);
		assert_int_equal(et_limits_set(&limits, "brq", NULL, window, "1MiB", &e), 0);
	}
	(void)snprintf(window, sizeof(window), "daily 01:00-02:00 %s", zones[8]);
	assert_int_equal(et_limits_set(&limits, "brq", NULL, window, "1MiB", &e), ET_ELIMIT);
	assert_int_equal(limits.count, 8);
	assert_int_equal(et_limits_remove(&limits, "brq", NULL, "daily 01:00-02:00 Asia/Tokyo", &e),
			 0);
	assert_int_equal(et_limits_set(&limits, "brq", NULL, window, "1MiB", &e), 0);
	for (uint32_t i = 0; i < limits.count; i++) { /* Each has its own still. */
		assert_string_equal(limits.zones[limits.limits[i].zone].name,
				    limits.limits[i].window.zone);
	}
}

static void wrong_words_are_refused(void **state)
{
	static const struct {
		const char *to, *klass, *window, *rate;
		int code;
	} wrong[] = {
		{ "brq", NULL, NULL, "0", ET_EUSAGE },
		{ "brq", NULL, NULL, "63KiB", ET_EUSAGE },
		{ "brq", NULL, NULL, "2TiB", ET_EUSAGE },
		{ "brq", NULL, NULL, "fast", ET_EUSAGE },
		{ "brq", NULL, NULL, "", ET_EUSAGE },
		{ "brq", NULL, NULL, "-1MiB", ET_EUSAGE },
		{ "brq", NULL, NULL, "99999999999999999999999999999999MiB", ET_EUSAGE },
		{ "b/q", NULL, NULL, "1MiB", ET_EUSAGE },
		{ "", NULL, NULL, "1MiB", ET_EUSAGE },
		{ "brq", "bulk", NULL, "1MiB", ET_EUSAGE },
		{ "brq", "all", NULL, "1MiB", ET_EUSAGE },
		{ "brq", "replay", NULL, "pause", ET_EUSAGE },
		{ "brq", "tail", NULL, "pause", ET_EUSAGE },
		{ "brq", NULL, "", "1MiB", ET_EUSAGE },
		{ "brq", NULL, "mon-fri", "1MiB", ET_EUSAGE },
		{ "brq", NULL, "mon-fri 08:00-18:00", "1MiB", ET_EUSAGE },
		{ "brq", NULL, "mon-fri 08:00-08:00 UTC", "1MiB", ET_EUSAGE },
		{ "brq", NULL, "mon-fri 24:00-08:00 UTC", "1MiB", ET_EUSAGE },
		{ "brq", NULL, "mon-fri 08:00-24:01 UTC", "1MiB", ET_EUSAGE },
		{ "brq", NULL, "mon-fri 8:00-18:00 UTC", "1MiB", ET_EUSAGE },
		{ "brq", NULL, "mon-fri 08:60-18:00 UTC", "1MiB", ET_EUSAGE },
		{ "brq", NULL, "mon-fri 08:00-18:00 UTC UTC", "1MiB", ET_EUSAGE },
		{ "brq", NULL, "mon-, 08:00-18:00 UTC", "1MiB", ET_EUSAGE },
		{ "brq", NULL, "mon,,tue 08:00-18:00 UTC", "1MiB", ET_EUSAGE },
		{ "brq", NULL, "monday 08:00-18:00 UTC", "1MiB", ET_EUSAGE },
		{ "brq", NULL, "daily 08:00-18:00 Europe/Nowhere", "1MiB", ET_ENOTFOUND },
		{ "brq", NULL, "daily 08:00-18:00 ../../etc/passwd", "1MiB", ET_EUSAGE },
	};

	(void)state;
	memset(&limits, 0, sizeof(limits));
	for (size_t i = 0; i < ET_ARRAY_SIZE(wrong); i++) {
		struct et_error e = { 0 };
		int rc = et_limits_set(&limits, wrong[i].to, wrong[i].klass, wrong[i].window,
				       wrong[i].rate, &e);
		if (rc != wrong[i].code || e.text[0] == '\0') {
			fail_msg("%zu: %d, \"%s\"", i, rc, e.text);
		}
		assert_int_equal(limits.count, 0);
		assert_int_equal(limits.zone_count, 0);
	}
}

static void wrong_text_names_its_place(void **state)
{
	static const char *const wrong[] = {
		"limits:\n  - {to: brq}\n",
		"limits:\n  - {to: brq, rate: fast}\n",
		"limits:\n  - {to: brq, rate: 1MiB, window: sometimes}\n",
		"limits:\n  - {to: brq, rate: 1MiB, form: prg}\n",
		"limits:\n  - {to: brq, rate: 1MiB}\n  - {to: brq, rate: 2MiB}\n",
		"limits: {to: brq}\n",
		"limit: []\n",
		"limits:\n  - brq\n",
	};

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(wrong); i++) {
		struct et_error e;
		assert_int_equal(read_text(wrong[i], &e), ET_EMALFORMED);
		if (strncmp(e.text, "f.yaml:", 7) != 0) {
			fail_msg("%zu: %s", i, e.text);
		}
	}
	must_read("");
	assert_int_equal(limits.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_most_particular_limit_decides),
		cmocka_unit_test(of_equals_the_lowest_rate_decides),
		cmocka_unit_test(a_window_over_midnight_belongs_to_the_day_it_begins_on),
		cmocka_unit_test(an_hour_that_comes_twice_is_in_it_twice),
		cmocka_unit_test(it_says_when_another_one_decides),
		cmocka_unit_test(text_comes_back_as_it_was_meant),
		cmocka_unit_test(setting_replaces_and_removing_is_exact),
		cmocka_unit_test(zones_are_counted_in_use),
		cmocka_unit_test(wrong_words_are_refused),
		cmocka_unit_test(wrong_text_names_its_place),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
