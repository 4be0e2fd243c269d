/* Entries: several commands in one piece of the log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "raft/command/command.h"

struct walk {
	uint32_t count;
	size_t sizes[16];
	int end_at; /* the position at which the walk is ended; -1: never */
};

static int walk_each(void *arg, uint32_t position, struct et_view command)
{
	struct walk *w = arg;

	assert_int_equal(position, w->count);
	w->sizes[w->count++] = command.size;
	return (int)position == w->end_at ? -EINTR : 0;
}

static void entry_make(struct et_buffer *b, size_t count)
{
	et_entry_begin(b);
	for (size_t i = 1; i <= count; i++) {
		et_entry_add(b, "abcdefghijklmnop", i);
	}
	et_entry_end(b);
	assert_false(b->failed);
}

static void what_goes_in_comes_out(void **state)
{
	(void)state;
	for (size_t count = 0; count < 16; count++) {
		struct et_buffer b = { 0 };
		struct walk w = { .end_at = -1 };
		entry_make(&b, count);
		assert_int_equal(b.size % 8, 0);
		assert_int_equal(et_entry_each(b.data, b.size, walk_each, &w), 0);
		assert_int_equal(w.count, count);
		for (size_t i = 0; i < count; i++) {
			assert_int_equal(w.sizes[i], i + 1);
		}
		et_buffer_release(&b);
	}
}

static void the_callback_may_end_the_walk(void **state)
{
	struct et_buffer b = { 0 };
	struct walk w = { .end_at = 2 };

	(void)state;
	entry_make(&b, 5);
	assert_int_equal(et_entry_each(b.data, b.size, walk_each, &w), -EINTR);
	assert_int_equal(w.count, 3);
	et_buffer_release(&b);
}

/* Nothing of a damaged entry is given out, not even its good beginning. */
static void a_damaged_entry_gives_nothing(void **state)
{
	struct et_buffer b = { 0 };

	(void)state;
	entry_make(&b, 3); /* header 8, (4 + 1) (4 + 2) (4 + 3), 6 zeros */
	for (size_t size = 0; size < b.size; size++) {
		struct walk w = { .end_at = -1 };
		assert_int_equal(et_entry_each(b.data, size, walk_each, &w), ET_EMALFORMED);
		assert_int_equal(w.count, 0);
	}
	static const struct {
		size_t at;
		uint8_t to;
	} changes[] = {
		{ 0, 'X' },		/* magic */
		{ 7, 2 },		/* fewer than there are */
		{ 7, 4 },		/* more */
		{ 4, 0xff }, { 11, 0 }, /* an empty command */
		{ 11, 200 },		/* past the end */
		{ 8, 0xff }, { 31, 1 }, /* zeros that are none */
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(changes); i++) {
		struct walk w = { .end_at = -1 };
		uint8_t held = b.data[changes[i].at];
		b.data[changes[i].at] = changes[i].to;
		assert_int_equal(et_entry_each(b.data, b.size, walk_each, &w), ET_EMALFORMED);
		assert_int_equal(w.count, 0);
		b.data[changes[i].at] = held;
	}
	et_buffer_add(&b, "\0\0\0\0\0\0\0", 8); /* more padding than needed */
	struct walk w = { .end_at = -1 };
	assert_int_equal(et_entry_each(b.data, b.size, walk_each, &w), ET_EMALFORMED);
	et_buffer_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_goes_in_comes_out),
		cmocka_unit_test(the_callback_may_end_the_walk),
		cmocka_unit_test(a_damaged_entry_gives_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
