#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "node/rule/rule.h"

static const struct et_agent_claim claims[] = {
	{ "4711", "bob", "claims", 100, 200, 1 },
	{ "1234", "anna", "sales", 0, INT64_MAX, 2 },
	{ "4711", "eve", "claims", 150, INT64_MAX, 3 },
	{ "4711", "kim", "sales", 150, 300, 4 },
};

static const char *who(const struct et_agents *a, const char *number, int64_t at_us)
{
	const struct et_agent_claim *c = et_agents_at(a, number, at_us);

	return c != NULL ? c->id : "nobody";
}

static void the_one_who_began_last_has_it(void **state)
{
	struct et_agents *a = NULL;
	(void)state;
	assert_int_equal(et_agents_new(claims, 4, &a, NULL), 0);
	assert_string_equal(who(a, "4711", 99), "nobody");
	assert_string_equal(who(a, "4711", 100), "bob");
	assert_string_equal(who(a, "4711", 150), "kim"); /* told later than eve */
	assert_string_equal(who(a, "4711", 300), "eve");
	assert_string_equal(who(a, "1234", 5), "anna");
	assert_string_equal(who(a, "9999", 5), "nobody");
	(void)et_agents_free(a);
	assert_int_equal(et_agents_new(NULL, 0, &a, NULL), 0);
	assert_string_equal(who(a, "4711", 100), "nobody");
	(void)et_agents_free(a);
	assert_int_equal(et_agents_new(claims, ET_AGENTS_MAX + 1, &a, NULL), ET_ELIMIT);
}

static void a_rule_asks_who_it_is_at_the_time(void **state)
{
	static struct et_rules rules;
	struct et_agents *a = NULL;
	char why[ET_RULE_WHY_MAX];
	(void)state;
	struct et_rule *r = &rules.rules[0];
	rules.count = 1;
	r->action = ET_RULE_RECORD;
	r->agent_count = 2;
	strcpy(r->agents[0], "anna");
	strcpy(r->agents[1], "team:claims");
	assert_int_equal(et_agents_new(claims, 4, &a, NULL), 0);
	struct et_rule_facts f = { .from = "555", .to = "1234", .site = "", .start_us = 10 };
	assert_int_equal(et_rule_fits(&rules, r, &f, why), ET_RULE_UNKNOWN);
	assert_non_null(strstr(why, "not known"));
	f.agents = a;
	assert_int_equal(et_rule_fits(&rules, r, &f, why), ET_RULE_FITS);
	assert_string_equal(why, "agent anna");
	f.to = "4711";
	assert_int_equal(et_rule_fits(&rules, r, &f, why), ET_RULE_NO);
	f.start_us = 120; /* bob is of that team */
	assert_int_equal(et_rule_fits(&rules, r, &f, why), ET_RULE_FITS);
	f.start_us = 200; /* kim has it, who is of another */
	assert_int_equal(et_rule_fits(&rules, r, &f, why), ET_RULE_NO);
	assert_non_null(strstr(why, "neither party"));
	f.from = "1234";
	assert_int_equal(et_rule_fits(&rules, r, &f, why), ET_RULE_FITS);
	(void)et_agents_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_one_who_began_last_has_it),
		cmocka_unit_test(a_rule_asks_who_it_is_at_the_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
