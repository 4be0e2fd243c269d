/* Legs of a B2BUA: which calls are told as one, by the rules of joining. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/capture/test/dialog_kit.h"

static struct fixture *under_joins(void **state, struct et_rules *rules)
{
	struct fixture *f = *state;
	*rules = (struct et_rules){
		.otherwise = ET_RULE_RECORD,
		.join_count = 3,
		.joins = { { .by = ET_JOIN_HEADER, .header = "Session-ID" },
			   { .by = ET_JOIN_HEADER, .header = "X-Call-ID" },
			   { .by = ET_JOIN_NUMBERS, .digits = 6, .within_us = 5000000 } },
	};
	f->config.rules = rules;
	make_again(f);
	return f;
}

/* A leg as its INVITE begins it; the number of its slot. */
static const struct et_facts *leg(struct fixture *f, const char *id, const char *from,
				  const char *to, const char *headers)
{
	SAY(f, CALLER, CALLEE, INVITE, "1 INVITE", "a", .id = id, .port = PORT, .user = from,
	    .callee = to, .more = headers);
	struct et_view text = { (const uint8_t *)id, strlen(id) };
	const struct et_call *c = et_call_find(f->engine, text);
	assert_non_null(c);
	return &c->facts;
}

static void legs_with_one_value_of_a_header_are_one_call(void **state)
{
	static struct et_rules rules;
	struct fixture *f = under_joins(state, &rules);
	const struct et_facts *a = leg(f, "1", "100001", "200002", "X-Call-ID: abc\r\n");
	f->now_us += 60000000; /* however late */
	const struct et_facts *b = leg(f, "2", "300003", "400004", "x-call-id: abc\r\n");
	const struct et_facts *c = leg(f, "3", "300003", "500005", "X-Call-ID: abd\r\n");
	assert_memory_equal(a->call, b->call, 16);
	assert_memory_not_equal(a->call, c->call, 16);
	assert_memory_not_equal(a->id, b->id, 16);
	assert_string_equal(a->joined, "header X-Call-ID");
	uint8_t call[16];
	memcpy(call, a->call, 16);
	assert_int_equal(call[6] >> 4, 8); /* a UUID made of a hash */

	/* Another recorder makes the same of it. */
	f = under_joins(state, &rules);
	assert_memory_equal(leg(f, "9", "1", "2", "X-Call-ID: abc\r\n")->call, call, 16);

	/* The first way that applies: the local UUID of a Session-ID, whatever the remote one is.
	 */
	a = leg(f, "10", "1", "2",
		"X-Call-ID: abc\r\nSession-ID: ab30317f1a784dc48ff824d0d3715d86;remote="
		"00000000000000000000000000000000\r\n");
	b = leg(f, "11", "1", "2", "Session-ID: AB30317F1A784DC48FF824D0D3715D86\r\n");
	assert_memory_equal(a->call, b->call, 16);
	assert_memory_not_equal(a->call, call, 16);
	assert_string_equal(a->joined, "header Session-ID");
}

static void legs_between_the_same_numbers_are_one_call(void **state)
{
	static struct et_rules rules;
	struct fixture *f = under_joins(state, &rules);
	const struct et_facts *a = leg(f, "1", "+420555100001", "+420555200002", "");
	assert_string_equal(a->joined, "");
	f->now_us += 1000000;
	const struct et_facts *b = leg(f, "2", "00420555100001", "200002", "");
	assert_memory_equal(a->call, b->call, 16);
	assert_string_equal(a->joined, "numbers");
	assert_string_equal(b->joined, "numbers");
	const struct et_facts *c = leg(f, "3", "+420555200002", "+420555100001", "");
	assert_memory_not_equal(a->call, c->call, 16); /* the other way round */
	f->now_us += 6000000;
	const struct et_facts *d = leg(f, "4", "+420555100001", "+420555200002", "");
	assert_memory_not_equal(a->call, d->call, 16); /* too late */
	assert_string_equal(d->joined, "");
	assert_string_equal(leg(f, "5", "alice", "200002", "")->joined, "");
	assert_string_equal(leg(f, "6", "alice", "200002", "")->joined, "");
}

/* Two calls between the same numbers at once: a third leg might be of either. */
static void what_fits_two_calls_is_joined_with_none(void **state)
{
	static struct et_rules rules;
	struct fixture *f = under_joins(state, &rules);
	const struct et_facts *a = leg(f, "1", "100001", "200002", "X-Call-ID: one\r\n");
	const struct et_facts *b = leg(f, "2", "100001", "200002", "X-Call-ID: two\r\n");
	const struct et_facts *c = leg(f, "3", "100001", "200002", "");
	assert_memory_not_equal(a->call, b->call, 16);
	assert_memory_not_equal(a->call, c->call, 16);
	assert_memory_not_equal(b->call, c->call, 16);
	assert_string_equal(c->joined, "");
}
int main(void)
{
	const struct CMUnitTest tests[] = {
		DIALOG(legs_with_one_value_of_a_header_are_one_call),
		DIALOG(legs_between_the_same_numbers_are_one_call),
		DIALOG(what_fits_two_calls_is_joined_with_none),
	};
	return cmocka_run_group_tests_name("node/capture/join", tests, NULL, NULL);
}
