#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "node/rule/rule.h"

static bool glob(const char *pattern, const char *text)
{
	return et_rule_glob(pattern, text, strlen(text), false);
}

static void patterns_are_those_of_a_shell(void **state)
{
	(void)state;
	assert_true(glob("", ""));
	assert_false(glob("", "a"));
	assert_true(glob("*", ""));
	assert_true(glob("+4202*", "+420212345678"));
	assert_false(glob("+4202*", "+420312345678"));
	assert_true(glob("*99", "100099"));
	assert_true(glob("*9*9", "1909"));
	assert_false(glob("*9*9", "190"));
	assert_true(glob("1?3", "123"));
	assert_false(glob("1?3", "13"));
	assert_true(glob("1[0-4]*", "1400"));
	assert_false(glob("1[0-4]*", "1500"));
	assert_true(glob("1[!0-4]0", "150"));
	assert_false(glob("1[!0-4]0", "140"));
	assert_true(glob("[]]", "]"));
	assert_true(glob("[x", "[x")); /* it never ends: a bracket */
	assert_true(glob("\\*9", "*9"));
	assert_false(glob("\\*9", "99"));
	assert_true(et_rule_glob("SALES*", "sales-1", 7, true));
	assert_false(et_rule_glob("SALES*", "sales-1", 7, false));
}

/* Backtracking of a pattern of stars over a text that nearly fits: this returns at all. */
static void a_hostile_text_costs_little(void **state)
{
	(void)state;
	char text[ET_RULE_TEXT_MAX];
	memset(text, 'a', sizeof(text));
	assert_false(et_rule_glob("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b",
				  text, sizeof(text), false));
}

static bool fits(const char *number, const char *text)
{
	struct et_rule_number n = { .text = "" };
	const char *why;
	assert_true(et_rule_number_check(number, &why));
	strncpy(n.text, number, sizeof(n.text) - 1);
	return et_rule_number_fits(&n, text);
}

static void ranges_are_of_numbers_of_equal_length(void **state)
{
	(void)state;
	assert_true(fits("1000-1999", "1000"));
	assert_true(fits("1000-1999", "1999"));
	assert_false(fits("1000-1999", "2000"));
	assert_false(fits("1000-1999", "999"));
	assert_false(fits("1000-1999", "10000"));
	assert_false(fits("1000-1999", "+1500"));
	assert_false(fits("1000-1999", "1x00"));
	assert_true(fits("+420100-+420199", "+420150"));
	assert_false(fits("+420100-+420199", "420150"));
	assert_true(fits("sales-*", "sales-2")); /* a dash in a name is no range */
}

static void a_range_that_fits_nothing_is_refused(void **state)
{
	(void)state;
	const char *why;
	assert_false(et_rule_number_check("1999-1000", &why));
	assert_string_equal(why, "ends before it begins");
	assert_false(et_rule_number_check("100-1000", &why));
	assert_false(et_rule_number_check("+100-199", &why));
	assert_false(et_rule_number_check("100-", &why));
	assert_false(et_rule_number_check("", &why));
}

/* ---- Rules ---- */

static bool one_header(const void *arg, const char *name, uint32_t n, struct et_view *ret)
{
	const char *value = arg;
	if (strcmp(name, "X-Queue") != 0 || n > 0) {
		return false;
	}
	*ret = (struct et_view){ (const uint8_t *)value, strlen(value) };
	return true;
}

static int set_up(void **state)
{
	*state = calloc(1, sizeof(struct et_rules));
	return *state != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
	free(*state);
	return 0;
}

static struct et_rule *add(struct et_rules *r, const char *name, enum et_rule_action action)
{
	struct et_rule *rule = &r->rules[r->count++];
	strncpy(rule->name, name, sizeof(rule->name) - 1);
	rule->action = action;
	return rule;
}

static void number(struct et_rule_numbers *n, const char *text)
{
	strncpy(n->list[n->count++].text, text, ET_RULE_PATTERN_MAX);
}

static const struct et_rule_facts bob = { .from = "alice", .to = "bob", .site = "prg" };

static bool press(struct et_rule_presses *p, const char *keys, const char *sequence, int64_t at_us)
{
	bool fired = false;
	for (; *keys != '\0'; keys++) {
		et_rule_press(p, *keys, at_us);
		fired = et_rule_pressed(p, sequence);
	}
	return fired;
}

static void the_last_keys_count(void **state)
{
	(void)state;
	struct et_rule_presses p = { .count = 0 };
	int64_t s = 1000000;
	assert_true(et_rule_keys_check("*7") && et_rule_keys_check("12345678"));
	assert_false(et_rule_keys_check("") || et_rule_keys_check("123456789") ||
		     et_rule_keys_check("x"));
	assert_true(press(&p, "*7", "*7", 100 * s));
	assert_false(press(&p, "7", "*7", 101 * s)); /* what fired is forgotten */
	assert_true(press(&p, "0123456789*7", "*7", 102 * s));
	assert_false(press(&p, "*", "*7", 103 * s));
	assert_false(press(&p, "7", "*7", 114 * s)); /* too late */
	assert_false(press(&p, "*", "*7", 115 * s));
	assert_true(press(&p, "7", "*7", 125 * s));
	assert_false(press(&p, "*", "*7", 200 * s));
	assert_false(press(&p, "7", "*7", 100 * s)); /* the clock was set back */
	assert_true(press(&p, "12345678", "12345678", 101 * s));
	assert_false(press(&p, "1", "", 102 * s));
	assert_true(et_rule_keys_collide("*7", "7") && et_rule_keys_collide("9*7", "*7"));
	assert_true(et_rule_keys_collide("*7", "*7"));
	assert_false(et_rule_keys_collide("*7", "*9") || et_rule_keys_collide("", "*9") ||
		     et_rule_keys_collide("7*", "*7"));
}

static void a_ring_is_of_the_rule_that_fired(void **state)
{
	struct et_rules *r = *state;
	struct et_rule *rule = add(r, "wanted", ET_RULE_ON_DEMAND);
	rule->ring.reach_us = 300000000;
	number(&rule->to, "b*");
	(void)add(r, "rest", ET_RULE_RECORD);
	struct et_rule_decision d = et_rules_decide(r, &bob);
	assert_int_equal(d.rule, 0);
	assert_int_equal(d.action, ET_RULE_ON_DEMAND);
	assert_string_equal(et_rule_action_text(d.action), "on-demand");
	assert_ptr_equal(et_rules_ring(r, 0), &rule->ring);
	assert_null(et_rules_ring(r, 1));
	assert_null(et_rules_ring(r, -1));
	assert_null(et_rules_ring(r, 2));
}

static void the_first_that_fits_decides(void **state)
{
	struct et_rules *r = *state;
	r->otherwise = ET_RULE_SKIP;
	number(&add(r, "carol", ET_RULE_SKIP)->to, "carol");
	number(&add(r, "b", ET_RULE_RECORD)->to, "b*");
	(void)add(r, "rest", ET_RULE_SKIP);
	struct et_rule_decision d = et_rules_decide(r, &bob);
	assert_int_equal(d.rule, 1);
	assert_int_equal(d.action, ET_RULE_RECORD);
	assert_false(d.provisional);
	assert_string_equal(et_rules_name(r, d.rule), "b");
}

static void the_default_is_what_is_written(void **state)
{
	struct et_rules *r = *state;
	number(&add(r, "carol", ET_RULE_RECORD)->to, "carol");
	r->otherwise = ET_RULE_SKIP;
	assert_int_equal(et_rules_decide(r, &bob).action, ET_RULE_SKIP);
	r->otherwise = ET_RULE_RECORD;
	struct et_rule_decision d = et_rules_decide(r, &bob);
	assert_int_equal(d.action, ET_RULE_RECORD);
	assert_int_equal(d.rule, -1);
	assert_string_equal(et_rules_name(r, d.rule), "default");
}

static void all_conditions_must_hold(void **state)
{
	struct et_rules *r = *state;
	struct et_rule *rule = add(r, "a", ET_RULE_RECORD);
	char why[ET_RULE_WHY_MAX];
	number(&rule->from, "alice");
	number(&rule->to, "carol");
	number(&rule->to, "dave");
	assert_int_equal(et_rule_fits(r, rule, &bob, why), ET_RULE_NO);
	assert_string_equal(why, "to \"bob\" is not carol, nor any other of its list");
	number(&rule->to, "bob");
	strcpy(rule->sites[rule->site_count++], "brq");
	assert_int_equal(et_rule_fits(r, rule, &bob, why), ET_RULE_NO);
	assert_string_equal(why, "this node is at site prg");
	strcpy(rule->sites[rule->site_count++], "prg");
	assert_int_equal(et_rule_fits(r, rule, &bob, why), ET_RULE_FITS);
	assert_string_equal(why, "from alice, to bob, site prg");
	rule->media_only = true;
	assert_int_equal(et_rule_fits(r, rule, &bob, why), ET_RULE_NO);
}

static void a_rule_or_the_default_drops_digits(void **state)
{
	struct et_rules *r = *state;
	struct et_rule *rule = add(r, "a", ET_RULE_RECORD);
	assert_false(et_rules_drop_digits(r, -1));
	assert_false(et_rules_drop_digits(r, 0));
	r->digits = ET_RULE_DIGITS_DROP;
	assert_true(et_rules_drop_digits(r, -1));
	assert_true(et_rules_drop_digits(r, 0));
	rule->digits = ET_RULE_DIGITS_KEEP;
	assert_false(et_rules_drop_digits(r, 0));
	r->digits = ET_RULE_DIGITS_KEEP;
	rule->digits = ET_RULE_DIGITS_DROP;
	assert_true(et_rules_drop_digits(r, 0));
	assert_false(et_rules_drop_digits(r, -1));
}

static void a_rule_or_the_default_masks_tones(void **state)
{
	struct et_rules *r = *state;
	struct et_rule *rule = add(r, "a", ET_RULE_RECORD);
	assert_int_equal(et_rules_tones(r, -1), ET_RULE_TONES_KEEP);
	assert_int_equal(et_rules_tones(r, 0), ET_RULE_TONES_KEEP);
	r->tones = ET_RULE_TONES_MASK;
	assert_int_equal(et_rules_tones(r, -1), ET_RULE_TONES_MASK);
	assert_int_equal(et_rules_tones(r, 0), ET_RULE_TONES_MASK);
	rule->tones = ET_RULE_TONES_KEEP;
	assert_int_equal(et_rules_tones(r, 0), ET_RULE_TONES_KEEP);
	rule->tones = ET_RULE_TONES_STRICT;
	assert_int_equal(et_rules_tones(r, 0), ET_RULE_TONES_STRICT);
	assert_string_equal(et_rule_tones_text(ET_RULE_TONES_MASK), "mask");
	assert_string_equal(et_rule_tones_text(ET_RULE_TONES_DROP), "drop");
	assert_string_equal(et_rule_tones_text(ET_RULE_TONES_STRICT), "strict");
}

static void direction_comes_from_own_numbers(void **state)
{
	struct et_rules *r = *state;
	assert_int_equal(et_rules_direction(r, "1", "2"), 0);
	strcpy(r->own[r->own_count++].text, "1000-1999");
	assert_int_equal(et_rules_direction(r, "1000", "1001"), ET_RULE_INTERNAL);
	assert_int_equal(et_rules_direction(r, "1000", "0049"), ET_RULE_OUTBOUND);
	assert_int_equal(et_rules_direction(r, "0049", "1000"), ET_RULE_INBOUND);
	assert_int_equal(et_rules_direction(r, "0049", "0043"), ET_RULE_EXTERNAL);
	struct et_rule *rule = add(r, "in", ET_RULE_RECORD);
	rule->directions = ET_RULE_INBOUND | ET_RULE_INTERNAL;
	struct et_rule_facts f = { .from = "0049", .to = "1000", .site = "prg" };
	assert_int_equal(et_rule_fits(r, rule, &f, NULL), ET_RULE_FITS);
	f.to = "0043";
	assert_int_equal(et_rule_fits(r, rule, &f, NULL), ET_RULE_NO);
}

static void a_header_that_is_not_known_makes_it_provisional(void **state)
{
	struct et_rules *r = *state;
	struct et_rule *rule = add(r, "sales", ET_RULE_SKIP);
	char why[ET_RULE_WHY_MAX];
	char sales[] = "sales-2";
	char support[] = "support";
	strcpy(rule->headers[0].name, "X-Queue");
	strcpy(rule->headers[0].value, "sales*");
	rule->header_count = 1;
	(void)add(r, "all", ET_RULE_RECORD);

	struct et_rule_decision d = et_rules_decide(r, &bob);
	assert_int_equal(d.rule, 1);
	assert_true(d.provisional);
	assert_int_equal(et_rule_fits(r, rule, &bob, why), ET_RULE_UNKNOWN);
	assert_string_equal(why, "the header X-Queue is not known: the INVITE was not seen");

	struct et_rule_facts f = bob;
	f.header = one_header;
	f.arg = sales;
	d = et_rules_decide(r, &f);
	assert_int_equal(d.rule, 0);
	assert_false(d.provisional);
	f.arg = support;
	d = et_rules_decide(r, &f);
	assert_int_equal(d.rule, 1);
	assert_false(d.provisional);

	/* What does not fit anyway is not provisional for its header's sake. */
	number(&rule->to, "carol");
	assert_false(et_rules_decide(r, &bob).provisional);
}

static void a_share_is_the_same_everywhere_and_grows(void **state)
{
	struct et_rules *r = *state;
	struct et_rule *rule = add(r, "tenth", ET_RULE_RECORD);
	uint8_t hash[32] = { 0, 0, 0, 0, 0, 0, 0x27, 0x0F }; /* 9999 */
	struct et_rule_facts f = bob;
	assert_int_equal(et_rule_sample(hash), 9999);
	hash[7] = 0x10; /* 10000 */
	assert_int_equal(et_rule_sample(hash), 0);
	assert_false(et_rules_have_sample(r));
	uint32_t taken = 0;
	for (uint32_t share = 1; share <= ET_RULE_SAMPLE_ALL; share += 333) {
		rule->sample = share;
		uint32_t now = 0;
		for (f.sample = 0; f.sample < ET_RULE_SAMPLE_ALL; f.sample++) {
			now += et_rule_fits(r, rule, &f, NULL) == ET_RULE_FITS;
		}
		assert_int_equal(now, share);
		assert_true(now > taken);
		taken = now;
	}
	assert_true(et_rules_have_sample(r));
}

static void time_is_local_and_goes_over_midnight(void **state)
{
	struct et_rules *r = *state;
	struct et_rule *rule = add(r, "hours", ET_RULE_RECORD);
	struct et_rule_facts f = bob;
	char why[ET_RULE_WHY_MAX];
	assert_int_equal(et_zone_load("Europe/Prague", &r->zones[r->zone_count++], NULL), 0);
	rule->time = (struct et_rule_time){
		.given = true,
		.hours = { .days = 0x1F, .from_minute = 8 * 60, .to_minute = 18 * 60 },
	};
	/* Monday 2026-11-30 07:00 UTC is 08:00 in Prague; in July 06:00 UTC is. */
	f.start_us = INT64_C(1796022000) * 1000000;
	assert_int_equal(et_rule_fits(r, rule, &f, why), ET_RULE_FITS);
	assert_string_equal(why, "Monday 08:00 in Europe/Prague");
	f.start_us -= 1;
	assert_int_equal(et_rule_fits(r, rule, &f, why), ET_RULE_NO);
	assert_string_equal(why, "it began on Monday 07:59 in Europe/Prague, outside of the rule's "
				 "time");
	f.start_us = INT64_C(1783317600) * 1000000; /* Monday 2026-07-06 06:00 UTC */
	assert_int_equal(et_rule_fits(r, rule, &f, why), ET_RULE_FITS);
	assert_string_equal(why, "Monday 08:00 in Europe/Prague");

	/* Friday night: until Saturday 06:00, and not Saturday night. */
	rule->time = (struct et_rule_time){
		.given = true,
		.hours = { .days = 0x10, .from_minute = 22 * 60, .to_minute = 6 * 60 },
	};
	int64_t friday = INT64_C(1796342400) * 1000000; /* 2026-12-04 00:00 UTC, 01:00 in Prague */
	f.start_us = friday;
	assert_int_equal(et_rule_fits(r, rule, &f, NULL), ET_RULE_NO);
	f.start_us = friday + INT64_C(21) * 3600 * 1000000;
	assert_int_equal(et_rule_fits(r, rule, &f, NULL), ET_RULE_FITS);
	f.start_us = friday + INT64_C(28) * 3600 * 1000000;
	assert_int_equal(et_rule_fits(r, rule, &f, NULL), ET_RULE_FITS);
	f.start_us = friday + INT64_C(29) * 3600 * 1000000;
	assert_int_equal(et_rule_fits(r, rule, &f, NULL), ET_RULE_NO);
	f.start_us = friday + INT64_C(46) * 3600 * 1000000;
	assert_int_equal(et_rule_fits(r, rule, &f, NULL), ET_RULE_NO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patterns_are_those_of_a_shell),
		cmocka_unit_test(a_hostile_text_costs_little),
		cmocka_unit_test(ranges_are_of_numbers_of_equal_length),
		cmocka_unit_test(a_range_that_fits_nothing_is_refused),
		cmocka_unit_test(the_last_keys_count),
		cmocka_unit_test_setup_teardown(a_ring_is_of_the_rule_that_fired, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(the_first_that_fits_decides, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_default_is_what_is_written, set_up, tear_down),
		cmocka_unit_test_setup_teardown(all_conditions_must_hold, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_rule_or_the_default_drops_digits, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_rule_or_the_default_masks_tones, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(direction_comes_from_own_numbers, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_header_that_is_not_known_makes_it_provisional,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_share_is_the_same_everywhere_and_grows, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(time_is_local_and_goes_over_midnight, set_up,
						tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
