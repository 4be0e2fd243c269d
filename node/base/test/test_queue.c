#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/base/err.h"
#include "node/base/queue.h"

static int wakes;

static void on_wake(void *arg)
{
	(void)arg;
	wakes++;
}

static void refuses_what_is_over_its_limits(void **state)
{
	struct et_queue q;
	struct et_queue_node a;
	struct et_queue_node b;
	struct et_queue_node c;

	(void)state;
	assert_int_equal(et_queue_init(&q, 2, 100, on_wake, NULL), 0);
	assert_int_equal(et_queue_push(&q, &a, 101), ET_ELIMIT);
	assert_int_equal(et_queue_push(&q, &a, 60), 0);
	assert_int_equal(et_queue_push(&q, &b, 60), ET_ELIMIT);
	assert_int_equal(et_queue_push(&q, &b, 40), 0);
	assert_int_equal(et_queue_push(&q, &c, 0), ET_ELIMIT);
	assert_int_equal(wakes, 1); /* Once for each time that it was empty. */
	assert_ptr_equal(et_queue_take(&q), &a);
	assert_ptr_equal(a.next, &b);
	assert_null(b.next);
	assert_null(et_queue_take(&q));
	et_queue_close(&q);
	assert_int_equal(et_queue_push(&q, &c, 0), ET_ECLOSED);
	assert_null(et_queue_wait(&q, -1));
	et_queue_destroy(&q);
}

static void waiting_ends_at_its_time(void **state)
{
	struct et_queue q;

	(void)state;
	assert_int_equal(et_queue_init(&q, 1, 1, NULL, NULL), 0);
	assert_null(et_queue_wait(&q, 1));
	assert_null(et_queue_wait(&q, 0));
	et_queue_destroy(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_what_is_over_its_limits),
		cmocka_unit_test(waiting_ends_at_its_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
