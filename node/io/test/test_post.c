#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/io/post.h"

enum { THREADS = 4, EACH = 1000 };

struct message {
	struct et_post post;
	int thread;
	int number;
};

static struct et_postbox box;
static struct message messages[THREADS][EACH];
static int next_of[THREADS];
static int total;

static void on_message(struct et_post *post)
{
	struct message *m = ET_CONTAINER_OF(post, struct message, post);

	assert_int_equal(m->number, next_of[m->thread]++);
	if (++total == THREADS * EACH) {
		et_postbox_close(&box, NULL);
	}
}

static void *sender(void *arg)
{
	int thread = *(int *)arg;
	for (int i = 0; i < EACH; i++) {
		struct message *m = &messages[thread][i];
		*m = (struct message){ .post = { .fn = on_message },
				       .thread = thread,
				       .number = i };
		if (et_post(&box, &m->post) != 0) {
			return arg;
		}
	}
	return NULL;
}

static void each_runs_once_in_the_order_of_its_thread(void **state)
{
	uv_loop_t loop;
	pthread_t threads[THREADS];
	int ids[THREADS];

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(et_postbox_init(&box, &loop), 0);
	uv_ref((uv_handle_t *)&box.async);
	for (int i = 0; i < THREADS; i++) {
		ids[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, sender, &ids[i]), 0);
	}
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	for (int i = 0; i < THREADS; i++) {
		void *failed = NULL;
		(void)pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	assert_int_equal(total, THREADS * EACH);
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_runs_once_in_the_order_of_its_thread),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
