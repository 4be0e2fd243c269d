#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/pool.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define IS_WATCHED 1
#else
#define IS_WATCHED 0
#endif

enum { SIZE = 20000, COUNT = 300 /* three chunks of them */ };

static bool is_zero(const uint8_t *p, size_t size)
{
	size_t i = 0;

	while (i < size && p[i] == 0) {
		i++;
	}
	return i == size;
}

static void objects_are_zero_apart_and_begin_at_a_line(void **state)
{
	static uint8_t *all[COUNT];
	struct et_pool p;

	(void)state;
	et_pool_init(&p, SIZE);
	for (size_t i = 0; i < COUNT; i++) {
		all[i] = et_pool_take(&p);
		assert_non_null(all[i]);
		assert_true(is_zero(all[i], SIZE));
		memset(all[i], (int)i | 1, SIZE);
#if !IS_WATCHED
		assert_int_equal((uintptr_t)all[i] % 64, 0);
#endif
	}
	for (size_t i = 0; i < COUNT; i++) { /* nobody wrote into another's */
		for (size_t at = 0; at < SIZE; at++) {
			assert_int_equal(all[i][at], (uint8_t)(i | 1));
		}
		et_pool_give(&p, all[i]);
	}
	et_pool_release(&p);
}

static void what_was_given_back_is_wiped_and_taken_again(void **state)
{
	struct et_pool p;

	(void)state;
	et_pool_init(&p, SIZE);
	uint8_t *first = et_pool_take(&p);
	uint8_t *second = et_pool_take(&p);
	uint8_t *again[2];
	assert_non_null(first);
	assert_non_null(second);
	assert_ptr_not_equal(first, second);
	memset(first, 0xA5, SIZE);
	memset(second, 0xA5, SIZE);
	et_pool_give(&p, first);
	et_pool_give(&p, second);
	et_pool_give(&p, NULL);
#if !IS_WATCHED
	/* At once, but for the word that leads to the next. */
	assert_true(is_zero(first + sizeof(void *), SIZE - sizeof(void *)));
	assert_true(is_zero(second + sizeof(void *), SIZE - sizeof(void *)));
#endif
	for (int i = 0; i < 2; i++) {
		again[i] = et_pool_take(&p);
		assert_non_null(again[i]);
		assert_true(is_zero(again[i], SIZE));
#if !IS_WATCHED
		assert_true(again[i] == first || again[i] == second);
#endif
	}
	assert_ptr_not_equal(again[0], again[1]);
	et_pool_give(&p, again[0]);
	et_pool_give(&p, again[1]);
	et_pool_release(&p);
}

/* Millions of calls in a node's life: no more memory than at its fullest moment. */
static void room_that_is_free_is_used_first(void **state)
{
	struct et_pool p;

	(void)state;
	et_pool_init(&p, ET_POOL_OBJECT_MAX);
	for (int i = 0; i < 1000; i++) {
		void *object = et_pool_take(&p);
		assert_non_null(object);
		et_pool_give(&p, object);
	}
#if !IS_WATCHED
	assert_true(p.carved < 2 * ET_POOL_OBJECT_MAX); /* the first one, of the first chunk */
#endif
	et_pool_release(&p);
}

static void an_unused_pool_is_released(void **state)
{
	struct et_pool none = { 0 };
	struct et_pool p;

	(void)state;
	et_pool_init(&p, 100);
	et_pool_release(&p);
	et_pool_release(&none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_are_zero_apart_and_begin_at_a_line),
		cmocka_unit_test(what_was_given_back_is_wiped_and_taken_again),
		cmocka_unit_test(room_that_is_free_is_used_first),
		cmocka_unit_test(an_unused_pool_is_released),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
