/* A checker that cannot say no is worth nothing: each claim has its bad history. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cluster-tests/harness/check/check.h"
#include "node/base/defs.h"

#define STATES 1000000
#define R(call_, ret_, value_)                                                                     \
	{                                                                                          \
		.kind = ET_OP_READ, .call = (call_), .ret = (ret_), .value = (value_)              \
	}
#define W(call_, ret_, value_)                                                                     \
	{                                                                                          \
		.kind = ET_OP_WRITE, .call = (call_), .ret = (ret_), .value = (value_)             \
	}
#define C(call_, ret_, from_, value_, swapped_)                                                    \
	{                                                                                          \
		.kind = ET_OP_CAS, .call = (call_), .ret = (ret_), .from = (from_),                \
		.value = (value_), .swapped = (swapped_)                                           \
	}
#define VERDICT(want, ...)                                                                         \
	do {                                                                                       \
		const struct et_op ops[] = { __VA_ARGS__ };                                        \
		size_t last;                                                                       \
		assert_int_equal(et_register_check(ops, ET_ARRAY_SIZE(ops), 0, STATES, &last),     \
				 want);                                                            \
	} while (0)
#define GOOD(...) VERDICT(ET_LINEARIZABLE, __VA_ARGS__)
#define BAD(...) VERDICT(ET_NOT_LINEARIZABLE, __VA_ARGS__)

static void a_stale_read_is_rejected(void **state)
{
	(void)state;
	GOOD(W(10, 20, 1), W(30, 40, 2), R(50, 60, 2));
	BAD(W(10, 20, 1), W(30, 40, 2), R(50, 60, 1));
	BAD(W(10, 20, 1), R(30, 40, 0));
	/* While the write is under way both are right, but nobody goes back. */
	GOOD(W(10, 50, 1), R(20, 30, 0), R(35, 45, 1));
	BAD(W(10, 50, 1), R(20, 30, 1), R(35, 45, 0));
	/* Two readers beside each other, one writer: the one that ended first saw the new value. */
	BAD(W(10, 100, 1), R(20, 30, 1), R(31, 60, 0), R(61, 70, 1));
}

static void a_lost_write_is_rejected(void **state)
{
	(void)state;
	BAD(W(10, 20, 1), W(30, 40, 2), R(50, 60, 2), R(70, 80, 1));
	BAD(W(10, 20, 1), R(30, 40, 1), R(50, 60, 0));
	BAD(R(10, 20, 7)); /* nobody wrote it: it was refused, or comes from nowhere */
}

static void an_open_write_may_have_happened_or_not(void **state)
{
	(void)state;
	GOOD(W(10, ET_OPEN, 1), R(20, 30, 0));
	GOOD(W(10, ET_OPEN, 1), R(20, 30, 0), R(40, 50, 1));
	GOOD(W(10, ET_OPEN, 1), W(20, 30, 2), R(40, 50, 2), R(60, 70, 1)); /* it came late */
	BAD(W(10, ET_OPEN, 1), R(20, 30, 1), R(40, 50, 0));		   /* it cannot be undone */
	BAD(R(10, 20, 1), W(30, ET_OPEN, 1)); /* nor seen before it was asked */
	BAD(W(10, ET_OPEN, 1), W(20, 30, 2), R(40, 50, 1), R(60, 70, 2),
	    R(80, 90, 1)); /* nor happen twice */
}

static void a_swap_that_did_not_see_the_other_is_rejected(void **state)
{
	(void)state;
	GOOD(C(10, 20, 0, 1, true), C(30, 40, 1, 2, true), R(50, 60, 2));
	GOOD(C(10, 20, 0, 1, true), C(30, 40, 0, 2, false), R(50, 60, 1));
	BAD(C(10, 20, 0, 1, true), C(30, 40, 0, 2, true)); /* both from 0 */
	BAD(C(10, 50, 0, 1, true), C(20, 60, 0, 2, true));
	BAD(C(10, 20, 0, 1, false)); /* refused without a reason */
	GOOD(C(10, ET_OPEN, 0, 1, false), C(20, 30, 0, 2, false), R(40, 50, 1));
	GOOD(C(10, ET_OPEN, 0, 1, false), C(20, 30, 0, 2, true), R(40, 50, 2));
	GOOD(C(10, ET_OPEN, 0, 1, false), C(20, 30, 1, 2, true));
	BAD(C(10, ET_OPEN, 0, 1, false), C(20, 30, 0, 2, true), R(40, 50, 1));
}

static uint64_t seed;

static uint64_t next(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* A history that is linearizable by its making: each operation happens at a point of its own, with
 * call and return around it, at most `width` points away. Every value is written once; every
 * hundredth operation is open. */
static void history_make(struct et_op *ops, size_t count, uint64_t width, bool cas)
{
	int64_t value = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t point = 1000000 + i * 10;
		struct et_op *o = &ops[i];
		*o = (struct et_op){ .call = point - next() % (10 * width),
				     .ret = point + 1 + next() % (10 * width) };
		o->kind = next() % 2 == 0 ? ET_OP_READ : cas ? ET_OP_CAS : ET_OP_WRITE;
		o->value = o->kind == ET_OP_READ ? value : (int64_t)i + 1;
		if (o->kind == ET_OP_CAS) {
			o->from = next() % 3 != 0 ? value : value + 1000000;
			o->swapped = o->from == value;
		}
		if (o->kind == ET_OP_WRITE || (o->kind == ET_OP_CAS && o->swapped)) {
			value = o->value;
		}
		if (o->kind != ET_OP_READ && next() % 100 == 0) {
			o->ret = ET_OPEN;
			o->swapped = false;
		}
	}
}

/* Let one read in the middle see what was overwritten long before. */
static void history_break(struct et_op *ops, size_t count, uint64_t width)
{
	for (size_t i = count / 2; i < count; i++) {
		if (ops[i].kind != ET_OP_READ) {
			continue;
		}
		for (size_t j = i - 4 * width; j > 0; j--) {
			if (ops[j].kind == ET_OP_READ && ops[j].value != ops[i].value &&
			    ops[j].value != 0) {
				ops[i].value = ops[j].value;
				return;
			}
		}
	}
	fail_msg("no read to break");
}

static void made_histories_pass_and_broken_ones_do_not(void **state)
{
	(void)state;
	struct et_op ops[400];
	for (uint64_t run = 1; run <= 40; run++) {
		size_t last;
		seed = run * 7919;
		history_make(ops, ET_ARRAY_SIZE(ops), 5, run % 2 == 0);
		assert_int_equal(et_register_check(ops, ET_ARRAY_SIZE(ops), 0, STATES, &last),
				 ET_LINEARIZABLE);
		history_break(ops, ET_ARRAY_SIZE(ops), 5);
		assert_int_equal(et_register_check(ops, ET_ARRAY_SIZE(ops), 0, STATES, &last),
				 ET_NOT_LINEARIZABLE);
	}
}

static void what_takes_too_long_is_undecided_and_not_sound(void **state)
{
	(void)state;
	struct et_op ops[400];
	seed = 5;
	history_make(ops, ET_ARRAY_SIZE(ops), 5, false);
	assert_int_equal(et_register_check(ops, ET_ARRAY_SIZE(ops), 0, 10, NULL), ET_UNDECIDED);
}

static enum et_set_fault set_check(const struct et_set_add *adds, size_t add_count,
				   const char *final)
{
	struct et_set_add copy[8];
	char text[64], *save = NULL;
	const char *ids[8], *id;
	size_t count = 0;
	for (size_t i = 0; i < add_count; i++) {
		copy[i] = adds[i];
	}
	(void)strcpy(text, final);
	for (char *w = strtok_r(text, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
		ids[count++] = w;
	}
	return et_set_check(copy, add_count, ids, count, &id);
}

static void a_set_that_lost_or_doubled_is_rejected(void **state)
{
	(void)state;
	const struct et_set_add adds[] = {
		{ "c", ET_ADDED }, { "a", ET_ADDED }, { "b", ET_NOT_ADDED }, { "d", ET_MAYBE }
	};
	assert_int_equal(set_check(adds, 4, "a c"), ET_SET_SOUND);
	assert_int_equal(set_check(adds, 4, "d c a"), ET_SET_SOUND);
	assert_int_equal(set_check(adds, 4, "a d"), ET_SET_LOST);
	assert_int_equal(set_check(adds, 4, ""), ET_SET_LOST);
	assert_int_equal(set_check(adds, 4, "a c a"), ET_SET_TWICE);
	assert_int_equal(set_check(adds, 4, "a b c"), ET_SET_REFUSED);
	assert_int_equal(set_check(adds, 4, "a c e"), ET_SET_UNKNOWN);
	assert_int_equal(set_check(NULL, 0, ""), ET_SET_SOUND);
}

static bool order_check(const struct et_numbered *ops, size_t count, bool unique)
{
	struct et_numbered copy[8], a, b;
	memcpy(copy, ops, count * sizeof(*ops));
	return et_order_check(copy, count, unique, &a, &b);
}

static void numbers_that_go_back_are_rejected(void **state)
{
	(void)state;
	const struct et_numbered good[] = {
		{ 30, 40, 3 }, { 10, 20, 1 }, { 12, 35, 2 }, { 50, 60, 4 }
	};
	const struct et_numbered overlap[] = { { 10, 30, 2 }, { 20, 40, 1 } };
	const struct et_numbered back[] = { { 10, 20, 2 }, { 30, 40, 1 }, { 50, 60, 3 } };
	const struct et_numbered same[] = { { 10, 20, 2 }, { 30, 40, 2 } };
	assert_true(order_check(good, 4, true));
	assert_true(order_check(overlap, 2, true));
	assert_false(order_check(back, 3, true));
	assert_false(order_check(back, 3, false));
	assert_false(order_check(same, 2, true));
	assert_true(order_check(same, 2, false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stale_read_is_rejected),
		cmocka_unit_test(a_lost_write_is_rejected),
		cmocka_unit_test(an_open_write_may_have_happened_or_not),
		cmocka_unit_test(a_swap_that_did_not_see_the_other_is_rejected),
		cmocka_unit_test(made_histories_pass_and_broken_ones_do_not),
		cmocka_unit_test(what_takes_too_long_is_undecided_and_not_sound),
		cmocka_unit_test(a_set_that_lost_or_doubled_is_rejected),
		cmocka_unit_test(numbers_that_go_back_are_rejected),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
