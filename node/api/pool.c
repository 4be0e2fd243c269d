/* Workers, and waiting for other threads. */
#include <stdlib.h>
#include <time.h>

#include "node/api/api_internal.h"

static struct api_call *pool_take(struct api_pool *pool)
{
	(void)pthread_mutex_lock(&pool->mutex);
	while (pool->first == NULL && !pool->closed) {
		(void)pthread_cond_wait(&pool->filled, &pool->mutex);
	}
	struct api_call *call = pool->closed ? NULL : pool->first;
	if (call != NULL) {
		pool->first = call->next;
		pool->last = pool->first != NULL ? pool->last : NULL;
		pool->count--;
	}
	(void)pthread_mutex_unlock(&pool->mutex);
	return call;
}

static void *worker_run(void *arg)
{
	struct api_pool *pool = arg;
	for (;;) {
		struct api_call *call = pool_take(pool);
		if (call == NULL) {
			return NULL;
		}
		api_dispatch(call);
		api_call_unref(call);
	}
}

int api_pool_start(struct api_pool *pool, unsigned threads)
{
	et_assert(threads <= API_POOL_MAX);
	*pool = (struct api_pool){ 0 };
	(void)pthread_mutex_init(&pool->mutex, NULL);
	(void)pthread_cond_init(&pool->filled, NULL);
	for (unsigned i = 0; i < threads; i++) {
		int rc = pthread_create(&pool->threads[i], NULL, worker_run, pool);
		if (rc != 0) {
			api_pool_close(pool);
			api_pool_join(pool);
			return -rc;
		}
		pool->thread_count++;
	}
	return 0;
}

int api_pool_push(struct api_pool *pool, struct api_call *call)
{
	int rc = 0;
	(void)pthread_mutex_lock(&pool->mutex);
	if (pool->closed) {
		rc = ET_ECLOSED;
	} else if (pool->count >= API_WAITING_MAX) {
		rc = ET_EBUSY;
	} else {
		api_call_ref(call);
		call->next = NULL;
		if (pool->last != NULL) {
			pool->last->next = call;
		} else {
			pool->first = call;
		}
		pool->last = call;
		pool->count++;
		(void)pthread_cond_signal(&pool->filled);
	}
	(void)pthread_mutex_unlock(&pool->mutex);
	return rc;
}

void api_pool_close(struct api_pool *pool)
{
	(void)pthread_mutex_lock(&pool->mutex);
	pool->closed = true;
	struct api_call *call = pool->first;
	pool->first = NULL;
	pool->last = NULL;
	pool->count = 0;
	(void)pthread_cond_broadcast(&pool->filled);
	(void)pthread_mutex_unlock(&pool->mutex);
	while (call != NULL) {
		struct api_call *next = call->next;
		api_call_unref(call);
		call = next;
	}
}

void api_pool_join(struct api_pool *pool)
{
	for (unsigned i = 0; i < pool->thread_count; i++) {
		(void)pthread_join(pool->threads[i], NULL);
	}
	pool->thread_count = 0;
	(void)pthread_cond_destroy(&pool->filled);
	(void)pthread_mutex_destroy(&pool->mutex);
}

/* ---- Waiting ---- */

static void waits_add(struct et_api *api, struct api_wait *w)
{
	(void)pthread_mutex_lock(&api->mutex);
	w->next = api->waits;
	if (w->next != NULL) {
		w->next->prev = w;
	}
	api->waits = w;
	(void)pthread_mutex_unlock(&api->mutex);
}

static void waits_remove(struct et_api *api, struct api_wait *w)
{
	(void)pthread_mutex_lock(&api->mutex);
	if (w->prev != NULL) {
		w->prev->next = w->next;
	} else {
		api->waits = w->next;
	}
	if (w->next != NULL) {
		w->next->prev = w->prev;
	}
	w->next = NULL;
	w->prev = NULL;
	(void)pthread_mutex_unlock(&api->mutex);
}

struct api_wait *api_wait_new(struct et_api *api)
{
	(void)api;
	struct api_wait *w = calloc(1, sizeof(*w));
	if (w == NULL) {
		return NULL;
	}
	pthread_condattr_t attr;
	(void)pthread_mutex_init(&w->mutex, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&w->woken, &attr);
	(void)pthread_condattr_destroy(&attr);
	atomic_store(&w->refs, 2);
	return w;
}

void api_wait_unref(struct api_wait *w)
{
	if (atomic_fetch_sub(&w->refs, 1) == 1) {
		et_secret_freep(&w->secret);
		json_decref(w->list);
		(void)pthread_cond_destroy(&w->woken);
		(void)pthread_mutex_destroy(&w->mutex);
		free(w);
	}
}

void api_wait_answer(struct api_wait *w, int code)
{
	(void)pthread_mutex_lock(&w->mutex);
	w->code = code;
	w->done = true;
	(void)pthread_cond_signal(&w->woken);
	(void)pthread_mutex_unlock(&w->mutex);
	api_wait_unref(w);
}

int api_wait_for(struct et_api *api, struct api_wait *w, int timeout_ms)
{
	struct timespec until;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	waits_add(api, w);
	(void)pthread_mutex_lock(&w->mutex);
	int rc = 0;
	while (!w->done && !w->cancelled && !atomic_load(&api->stopping) && rc == 0) {
		rc = pthread_cond_timedwait(&w->woken, &w->mutex, &until);
	}
	w->seen = w->done;
	rc = w->done ? w->code : rc != 0 ? -ETIMEDOUT : ET_ECLOSED;
	(void)pthread_mutex_unlock(&w->mutex);
	waits_remove(api, w);
	return rc;
}

void api_waits_cancel(struct et_api *api)
{
	(void)pthread_mutex_lock(&api->mutex);
	for (struct api_wait *w = api->waits; w != NULL; w = w->next) {
		(void)pthread_mutex_lock(&w->mutex);
		w->cancelled = true;
		(void)pthread_cond_signal(&w->woken);
		(void)pthread_mutex_unlock(&w->mutex);
	}
	(void)pthread_mutex_unlock(&api->mutex);
}
