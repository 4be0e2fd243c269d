/* A thread that may wait, and the main loop that it waits for. */
#include <time.h>

#include "node/daemon/daemon_internal.h"

void daemon_waiter_init(struct daemon_waiter *w)
{
	pthread_condattr_t attr;

	*w = (struct daemon_waiter){ .code = -ETIMEDOUT };
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&w->woken, &attr);
	(void)pthread_condattr_destroy(&attr);
	(void)pthread_mutex_init(&w->mutex, NULL);
}

void daemon_waiter_wake(struct daemon_waiter *w, int code)
{
	(void)pthread_mutex_lock(&w->mutex);
	w->code = code;
	w->done = true;
	(void)pthread_cond_signal(&w->woken);
	(void)pthread_mutex_unlock(&w->mutex);
}

int daemon_waiter_wait(struct daemon_waiter *w)
{
	(void)pthread_mutex_lock(&w->mutex);
	while (!w->done) {
		(void)pthread_cond_wait(&w->woken, &w->mutex);
	}
	int code = w->code;
	(void)pthread_mutex_unlock(&w->mutex);
	return code;
}

void daemon_waiter_destroy(struct daemon_waiter *w)
{
	(void)pthread_cond_destroy(&w->woken);
	(void)pthread_mutex_destroy(&w->mutex);
}

struct loop_call {
	struct et_post post;
	struct daemon_waiter waiter;
	void (*fn)(void *arg);
	void *arg;
};

static void on_loop_call(struct et_post *post)
{
	struct loop_call *call = ET_CONTAINER_OF(post, struct loop_call, post);

	call->fn(call->arg);
	daemon_waiter_wake(&call->waiter, 0);
}

int daemon_on_loop(struct et_daemon *d, void (*fn)(void *arg), void *arg)
{
	struct loop_call call = { .post = { .fn = on_loop_call }, .fn = fn, .arg = arg };

	daemon_waiter_init(&call.waiter);
	int rc = et_post(&d->postbox, &call.post);
	if (rc == 0) {
		rc = daemon_waiter_wait(&call.waiter);
	}
	daemon_waiter_destroy(&call.waiter);
	return rc;
}
