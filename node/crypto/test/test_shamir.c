#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/crypto/shamir.h"
#include "node/crypto/sign.h"
#include "node/crypto/test/test_util.h"

enum { COUNT = 5, THRESHOLD = 3 };

struct fixture {
	struct et_secret *secret;
	struct et_secret *shares[COUNT];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	assert_int_equal(et_secret_random(138, &f->secret, NULL), 0);
	assert_int_equal(et_shamir_split(f->secret, THRESHOLD, COUNT, f->shares, NULL), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	f->secret = et_secret_free(f->secret);
	for (unsigned i = 0; i < COUNT; i++) {
		f->shares[i] = et_secret_free(f->shares[i]);
	}
	free(f);
	return 0;
}

static int join(struct fixture *f, const unsigned *which, unsigned count, struct et_secret **ret)
{
	const struct et_secret *chosen[8];
	for (unsigned i = 0; i < count; i++) {
		chosen[i] = f->shares[which[i]];
	}
	return et_shamir_join(chosen, count, ret, NULL);
}

static void any_threshold_of_shares_joins(void **state)
{
	struct fixture *f = *state;

	for (unsigned a = 0; a < COUNT; a++) {
		for (unsigned b = 0; b < COUNT; b++) {
			for (unsigned c = 0; c < COUNT; c++) {
				const unsigned which[] = { a, b, c };
				ET_CLEANUP(et_secret_freep) struct et_secret *back = NULL;
				if (a == b || b == c || a == c) {
					continue;
				}
				assert_int_equal(join(f, which, 3, &back), 0);
				assert_true(et_secret_equal(back, f->secret));
			}
		}
	}
	const unsigned all[] = { 4, 2, 0, 1, 3 };
	ET_CLEANUP(et_secret_freep) struct et_secret *back = NULL;
	assert_int_equal(join(f, all, COUNT, &back), 0);
	assert_true(et_secret_equal(back, f->secret));
}

static void refuses_too_few_the_same_and_foreign_shares(void **state)
{
	struct fixture *f = *state;
	const unsigned two[] = { 0, 1 };
	const unsigned twice[] = { 0, 1, 0 };
	struct et_secret *others[COUNT] = { NULL };
	struct et_secret *back = NULL;

	assert_int_equal(join(f, two, 2, &back), ET_EUSAGE);
	assert_int_equal(join(f, twice, 3, &back), ET_EUSAGE);
	assert_int_equal(et_shamir_join(NULL, 0, &back, NULL), ET_EUSAGE);

	assert_int_equal(et_shamir_split(f->secret, THRESHOLD, COUNT, others, NULL), 0);
	const struct et_secret *mixed[] = { f->shares[0], f->shares[1], others[2] };
	assert_int_equal(et_shamir_join(mixed, 3, &back, NULL), ET_EUSAGE);
	assert_null(back);
	for (unsigned i = 0; i < COUNT; i++) {
		others[i] = et_secret_free(others[i]);
	}
}

static void finds_a_mistyped_byte_anywhere(void **state)
{
	struct fixture *f = *state;
	const unsigned which[] = { 0, 1, 2 };
	struct et_secret *back = NULL;

	for (size_t i = 0; i < et_secret_size(f->shares[1]); i++) {
		et_secret_edit(f->shares[1])[i] ^= 0x10;
		assert_int_equal(join(f, which, 3, &back), ET_EMALFORMED);
		et_secret_edit(f->shares[1])[i] ^= 0x10;
	}
	assert_null(back);
}

/* One share less than needed says nothing: its bytes are not those of the secret, and two splits of
 * one secret have nothing in common but their form. */
static void a_share_does_not_show_the_secret(void **state)
{
	struct fixture *f = *state;
	struct et_secret *again[COUNT] = { NULL };

	assert_int_equal(et_shamir_split(f->secret, THRESHOLD, COUNT, again, NULL), 0);
	for (unsigned i = 0; i < COUNT; i++) {
		const size_t size = et_secret_size(f->secret);
		size_t like_secret = 0;
		size_t like_other = 0;
		for (size_t at = 0; at < size; at++) {
			uint8_t y = et_secret_bytes(f->shares[i])[8 + at];
			like_secret += y == et_secret_bytes(f->secret)[at];
			like_other += y == et_secret_bytes(again[i])[8 + at];
		}
		assert_true(like_secret < 12); /* Chance: 138 / 256. */
		assert_true(like_other < 12);
		again[i] = et_secret_free(again[i]);
	}
}

/* Two of three shares that another program made of ops/doc/formats/keys.md: the secret 00..1f. */
static void joins_the_published_shares(void **state)
{
	ET_CLEANUP(et_secret_freep)
	struct et_secret *a =
		unhex_secret("0102030153455458052b4d779dbbe50f255b7d97cdeb053f456b8dd7fd1b254f"
			     "65bbddf70d2b459fc6c7223d5f9ab0ce8d9c1799");
	ET_CLEANUP(et_secret_freep)
	struct et_secret *b =
		unhex_secret("01020303534554580f7fd39fb4dc381f7fff93b4543c135fef9fa844340743ff"
			     "9fe448342f47f3849748e7152d26ad8540dd2ea2");
	ET_CLEANUP(et_secret_freep) struct et_secret *secret = NULL;
	const struct et_secret *const shares[] = { b, a };

	(void)state;
	assert_int_equal(et_shamir_join(shares, 2, &secret, NULL), 0);
	assert_int_equal(et_secret_size(secret), 32);
	for (int i = 0; i < 32; i++) {
		assert_int_equal(et_secret_bytes(secret)[i], i);
	}
}

static void refuses_senseless_numbers(void **state)
{
	struct fixture *f = *state;
	struct et_secret *none[1] = { NULL };

	assert_int_equal(et_shamir_split(f->secret, 1, 3, none, NULL), -EINVAL);
	assert_int_equal(et_shamir_split(f->secret, 4, 3, none, NULL), -EINVAL);
	assert_int_equal(et_shamir_split(f->secret, 2, 256, none, NULL), -EINVAL);
	assert_null(none[0]);
}

static void the_largest_split_works(void **state)
{
	struct fixture *f = *state;
	struct et_secret *shares[ET_SHAMIR_SHARES_MAX] = { NULL };
	ET_CLEANUP(et_secret_freep) struct et_secret *back = NULL;

	assert_int_equal(et_shamir_split(f->secret, 255, 255, shares, NULL), 0);
	const struct et_secret *const *given = (const struct et_secret *const *)shares;
	assert_int_equal(et_shamir_join(given, 254, &back, NULL), ET_EUSAGE);
	assert_int_equal(et_shamir_join(given, 255, &back, NULL), 0);
	assert_true(et_secret_equal(back, f->secret));
	for (unsigned i = 0; i < ET_SHAMIR_SHARES_MAX; i++) {
		shares[i] = et_secret_free(shares[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(any_threshold_of_shares_joins, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refuses_too_few_the_same_and_foreign_shares, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(finds_a_mistyped_byte_anywhere, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_share_does_not_show_the_secret, set_up,
						tear_down),
		cmocka_unit_test(joins_the_published_shares),
		cmocka_unit_test_setup_teardown(refuses_senseless_numbers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_largest_split_works, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
