/* Sorting keys: the order of a plain comparison, whatever they look like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/state/sort_internal.h"
#include "raft/state/state_internal.h"
#include "raft/state/test/dice.h"

#define MOST 5000

struct room {
	struct sort_key list[MOST], spare[MOST], plain[MOST];
	uint8_t bytes[MOST][STATE_KEY_MAX];
};

static int plain_compare(const struct sort_key *a, const struct sort_key *b)
{
	size_t least = a->size < b->size ? a->size : b->size;
	int order = memcmp(a->key, b->key, least);

	return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

/* Tags are numbers in the order in which the keys came. */
static int plain_order(const void *a, const void *b)
{
	const struct sort_key *x = a;
	const struct sort_key *y = b;
	int order = plain_compare(x, y);

	return order != 0 ? order : (x->tag > y->tag) - (x->tag < y->tag);
}

static void assert_sorted(struct room *r, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		r->list[i].head = i; /* means nothing before */
		r->list[i].tag = (uint32_t)i;
	}
	memcpy(r->plain, r->list, sizeof(r->plain));
	memset(r->spare, 0xa5, sizeof(r->spare));
	qsort(r->plain, count, sizeof(r->plain[0]), plain_order);
	keys_sort(r->list, r->spare, count);
	for (size_t i = 0; i < count; i++) {
		assert_ptr_equal(r->list[i].key, r->plain[i].key);
		assert_int_equal(r->list[i].size, r->plain[i].size);
		assert_int_equal(r->list[i].tag, r->plain[i].tag);
		if (i > 0) {
			assert_int_equal(sort_key_same(&r->list[i - 1], &r->list[i]),
					 plain_compare(&r->list[i - 1], &r->list[i]) == 0);
		}
	}
	for (size_t i = count; i < MOST; i++) { /* nothing behind them */
		assert_int_equal(r->spare[i].head, UINT64_C(0xa5a5a5a5a5a5a5a5));
	}
}

/* Bytes of few values, so that they meet; `alike` of them are those of one key. */
static void key_roll(struct dice *d, struct room *r, size_t i, size_t size, size_t alike,
		     unsigned values)
{
	uint8_t *key = r->bytes[i];

	for (size_t k = 0; k < size; k++) {
		uint64_t v = k < alike ? k * 7 : dice_below(d, values);
		key[k] = (uint8_t)(dice_one_in(d, 2 * values) ? 0xff - v : v);
	}
	r->list[i] = (struct sort_key){ .key = key, .size = (uint32_t)size };
}

static void as_a_plain_comparison_has_it(void **state)
{
	static const size_t counts[] = { 0, 1, 2, 3, 31, 32, 33, 64, 65, 200, 1000, MOST };
	static const unsigned values[] = { 1, 2, 256 };
	static const size_t sizes[] = { 0, 1, 6, 7, 8, 9, 14, 15, 16, 37, 100, STATE_KEY_MAX };
	struct dice d = { 17 };
	struct room *r = malloc(sizeof(*r));

	(void)state;
	assert_non_null(r);
	for (size_t c = 0; c < ET_ARRAY_SIZE(counts); c++) {
		for (size_t v = 0; v < ET_ARRAY_SIZE(values); v++) {
			for (size_t s = 0; s < ET_ARRAY_SIZE(sizes); s++) {
				for (size_t i = 0; i < counts[c]; i++) {
					size_t size = dice_below(&d, sizes[s] + 1);
					key_roll(&d, r, i, size, 0, values[v]);
				}
				assert_sorted(r, counts[c]);
			}
		}
	}
	free(r);
}

/* As those of an index are: a long beginning, the same in all; some end in it. */
static void keys_that_begin_alike(void **state)
{
	struct dice d = { 18 };
	struct room *r = malloc(sizeof(*r));

	(void)state;
	assert_non_null(r);
	for (size_t alike = 0; alike + 30 < STATE_KEY_MAX; alike += 1 + alike / 3) {
		for (size_t i = 0; i < MOST; i++) {
			size_t size = dice_one_in(&d, 20) ? dice_below(&d, alike + 1)
							  : alike + dice_below(&d, 30);
			key_roll(&d, r, i, size, alike, 10);
		}
		assert_sorted(r, MOST);
	}
	free(r);
}

/* Each begins the next, and all bytes are zero: a piece that is filled up with zeros looks so, too.
 */
static void keys_of_zeros(void **state)
{
	struct room *r = malloc(sizeof(*r));

	(void)state;
	assert_non_null(r);
	memset(r->bytes, 0, sizeof(r->bytes));
	for (size_t i = 0; i < MOST; i++) {
		r->list[i] =
			(struct sort_key){ .key = r->bytes[i],
					   .size = (uint32_t)((i * 7919) % (STATE_KEY_MAX + 1)) };
	}
	assert_sorted(r, MOST);
	free(r);
}

/* In order already, backwards, and all the same. */
static void keys_in_some_order(void **state)
{
	struct room *r = malloc(sizeof(*r));

	(void)state;
	assert_non_null(r);
	for (int way = 0; way < 3; way++) {
		for (size_t i = 0; i < MOST; i++) {
			memset(r->bytes[i], 'a', STATE_KEY_MAX);
			et_put64(r->bytes[i] + STATE_KEY_MAX - 8, way == 0   ? i
								  : way == 1 ? MOST - i
									     : 0);
			r->list[i] = (struct sort_key){ .key = r->bytes[i], .size = STATE_KEY_MAX };
		}
		assert_sorted(r, MOST);
	}
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_a_plain_comparison_has_it),
		cmocka_unit_test(keys_that_begin_alike),
		cmocka_unit_test(keys_of_zeros),
		cmocka_unit_test(keys_in_some_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
