/* Changes of the index: the last of each key, and rows that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/state/changes_internal.h"
#include "raft/state/test/dice.h"

enum { KEYS = 40, ROWS = 5 };

/* What a key's changes come to, kept the plain way. */
struct plain {
	bool told, came, again; /* `came`: the first change says that it was not there */
	enum tail_kind last;
	uint32_t value;
};

static size_t key_make(size_t i, uint8_t key[32])
{
	size_t size = 1 + i % 13;

	memset(key, 0, 32);
	key[size - 1] = (uint8_t)i;
	return size;
}

static struct et_view view_of(const struct et_buffer *b)
{
	return (struct et_view){ b->data, b->size };
}

/* Changes to keys 0..KEYS-1 of both families, one row after the other. */
static void rows_roll(struct dice *d, struct et_buffer rows[ROWS], bool again,
		      struct plain plain[2][KEYS])
{
	uint8_t id[ROW_ID_SIZE] = { 1 };
	uint8_t key[32];
	uint8_t value[4];

	for (size_t r = 0; r < ROWS; r++) {
		struct et_buffer ids = { 0 };
		struct et_buffer changes = { 0 };
		for (size_t i = dice_below(d, 4); i > 0; i--) {
			et_buffer_add(&ids, id, sizeof(id));
		}
		for (size_t i = dice_below(d, 60); i > 0; i--) {
			bool live = dice_one_in(d, 3);
			size_t n = dice_below(d, KEYS);
			struct plain *p = &plain[live][n];
			bool there = p->told && p->last != TAIL_DELETE;
			enum tail_kind kind =
				there ? (enum tail_kind)(2 * dice_below(d, 2)) : TAIL_NEW;
			if (!p->told && dice_one_in(d, 2)) { /* it was there before */
				kind = (enum tail_kind)(2 * dice_below(d, 2));
			}
			et_put32(value, (uint32_t)dice_roll(d));
			*p = (struct plain){ .told = true,
					     .came = p->told ? p->came : kind == TAIL_NEW,
					     .again = p->told ? p->again : again && r < ROWS / 2,
					     .last = kind,
					     .value = et_get32(value) };
			change_add(&changes, kind, live ? CF_LIVE : CF_FIND, key, key_make(n, key),
				   value, kind == TAIL_DELETE ? 0 : sizeof(value));
		}
		row_make(&rows[r], &ids, &changes);
		assert_false(rows[r].failed);
		et_buffer_release(&ids);
		et_buffer_release(&changes);
	}
}

static void assert_settled(const struct change_list *list, const struct plain plain[KEYS])
{
	size_t at = 0;
	size_t expected = 0;

	for (size_t n = 0; n < KEYS; n++) {
		const struct plain *p = &plain[n];
		expected += p->told && (p->last != TAIL_DELETE || !p->came || p->again);
	}
	assert_int_equal(list->count, expected);
	for (; at < list->count; at++) {
		struct change c = change_at(list, at);
		size_t n = (uint8_t)c.key[c.key_size - 1];
		uint8_t key[32];
		assert_true(n < KEYS && plain[n].told);
		assert_int_equal(c.key_size, key_make(n, key));
		assert_memory_equal(c.key, key, c.key_size);
		assert_int_equal(c.kind, plain[n].last);
		if (c.kind == TAIL_DELETE) {
			assert_int_equal(c.value_size, 0);
		} else {
			assert_int_equal(c.value_size, 4);
			assert_int_equal(et_get32((const uint8_t *)c.value), plain[n].value);
		}
		if (at > 0) { /* RocksDB takes them in order only, each once */
			struct change b = change_at(list, at - 1);
			size_t least = b.key_size < c.key_size ? b.key_size : c.key_size;
			int order = memcmp(b.key, c.key, least);
			assert_true(order < 0 || (order == 0 && b.key_size < c.key_size));
		}
	}
}

static void the_last_of_each_key_is_kept(void **state)
{
	struct dice d = { 19 };
	struct changes x = { 0 };

	(void)state;
	for (int round = 0; round < 500; round++) {
		struct et_buffer rows[ROWS] = { 0 };
		struct plain plain[2][KEYS] = { 0 };
		bool again = round % 2 == 1;
		rows_roll(&d, rows, again, plain);
		for (size_t r = 0; r < ROWS; r++) {
			assert_int_equal(changes_read(&x, view_of(&rows[r]), again && r < ROWS / 2),
					 0);
		}
		assert_int_equal(changes_settle(&x), 0);
		assert_settled(&x.find, plain[0]);
		assert_settled(&x.live, plain[1]);
		changes_clear(&x);
		for (size_t r = 0; r < ROWS; r++) {
			et_buffer_release(&rows[r]);
		}
	}
	changes_release(&x);
}

static int read_copy(const uint8_t *data, size_t size)
{
	struct changes x = { 0 };
	uint8_t *copy = malloc(size > 0 ? size : 1); /* of its size, for the sanitiser */

	assert_non_null(copy);
	memcpy(copy, data, size);
	int rc = changes_read(&x, (struct et_view){ copy, size }, false);
	rc = rc < 0 ? rc : changes_settle(&x);
	for (size_t i = 0; rc == 0 && i < x.find.count; i++) {
		(void)change_at(&x.find, i);
	}
	changes_release(&x);
	free(copy);
	return rc;
}

/* A row from a database that somebody has been at. */
static void a_row_that_does_not_fit_is_refused(void **state)
{
	struct et_buffer ids = { 0 };
	struct et_buffer changes = { 0 };
	struct et_buffer row = { 0 };
	const uint8_t bytes[ROW_ID_SIZE] = { 7 };
	const size_t first = 4 + ROW_ID_SIZE; /* the first change */

	(void)state;
	et_buffer_add(&ids, bytes, sizeof(bytes));
	change_add(&changes, TAIL_NEW, CF_FIND, bytes, 5, bytes, 9);
	change_add(&changes, TAIL_DELETE, CF_FIND, bytes, 6, NULL, 0);
	row_make(&row, &ids, &changes);
	assert_int_equal(read_copy(row.data, row.size), 0);
	for (size_t size = 0; size < row.size; size++) {
		bool whole = size == first || size == first + 8 + 5 + 9; /* between two changes */
		assert_int_equal(read_copy(row.data, size), whole ? 0 : ET_ECORRUPT);
	}
	et_put32(row.data, 100); /* recordings */
	assert_int_equal(read_copy(row.data, row.size), ET_ECORRUPT);
	et_put32(row.data, UINT32_MAX);
	assert_int_equal(read_copy(row.data, row.size), ET_ECORRUPT);
	et_put32(row.data, 1);
	row.data[first] = TAIL_CHANGE + 1;
	assert_int_equal(read_copy(row.data, row.size), ET_ECORRUPT);
	row.data[first] = TAIL_CHANGE;
	et_put32(row.data + first + 4, UINT32_MAX); /* size of a value */
	assert_int_equal(read_copy(row.data, row.size), ET_ECORRUPT);
	et_buffer_release(&row);
	et_buffer_release(&ids);
	et_buffer_release(&changes);
}

static void a_key_that_no_index_has_is_refused(void **state)
{
	static const uint8_t key[STATE_KEY_MAX + 1];
	static const size_t sizes[] = { 0, 1, STATE_KEY_MAX, STATE_KEY_MAX + 1 };

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(sizes); i++) {
		struct et_buffer none = { 0 };
		struct et_buffer changes = { 0 };
		struct et_buffer row = { 0 };
		bool good = sizes[i] > 0 && sizes[i] <= STATE_KEY_MAX;
		change_add(&changes, TAIL_NEW, CF_FIND, key, sizes[i], NULL, 0);
		row_make(&row, &none, &changes);
		assert_int_equal(read_copy(row.data, row.size), good ? 0 : ET_ECORRUPT);
		et_buffer_release(&row);
		et_buffer_release(&changes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_of_each_key_is_kept),
		cmocka_unit_test(a_row_that_does_not_fit_is_refused),
		cmocka_unit_test(a_key_that_no_index_has_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
