#include "node/base/queue.h"

#include <errno.h>
#include <time.h>

#include "node/base/err.h"

int et_queue_init(struct et_queue *q, size_t count_max, size_t cost_bytes_max,
		  void (*wake)(void *arg), void *wake_arg)
{
	et_assert(count_max > 0);

	*q = (struct et_queue){ .count_max = count_max,
				.cost_bytes_max = cost_bytes_max,
				.wake = wake,
				.wake_arg = wake_arg };
	pthread_condattr_t attr;
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	int rc = pthread_cond_init(&q->filled, &attr);
	(void)pthread_condattr_destroy(&attr);
	if (rc != 0) {
		return -rc;
	}
	return -pthread_mutex_init(&q->mutex, NULL);
}

void et_queue_destroy(struct et_queue *q)
{
	(void)pthread_cond_destroy(&q->filled);
	(void)pthread_mutex_destroy(&q->mutex);
}

int et_queue_push(struct et_queue *q, struct et_queue_node *node, size_t cost_bytes)
{
	(void)pthread_mutex_lock(&q->mutex);
	int rc = 0;
	bool was_empty = q->head == NULL;
	if (q->closed) {
		rc = ET_ECLOSED;
	} else if (q->count >= q->count_max || q->cost_bytes_max - q->cost_bytes < cost_bytes) {
		rc = ET_ELIMIT;
	} else {
		node->next = NULL;
		node->cost_bytes = cost_bytes;
		if (was_empty) {
			q->head = node;
		} else {
			q->tail->next = node;
		}
		q->tail = node;
		q->count++;
		q->cost_bytes += cost_bytes;
		(void)pthread_cond_signal(&q->filled);
	}
	if (rc == 0 && was_empty && q->wake != NULL) {
		q->wake(q->wake_arg); /* Under the lock: none comes after et_queue_close(). */
	}
	(void)pthread_mutex_unlock(&q->mutex);
	return rc;
}

static struct et_queue_node *queue_take_locked(struct et_queue *q)
{
	struct et_queue_node *head = q->head;
	q->head = NULL;
	q->tail = NULL;
	q->count = 0;
	q->cost_bytes = 0;
	return head;
}

struct et_queue_node *et_queue_take(struct et_queue *q)
{
	(void)pthread_mutex_lock(&q->mutex);
	struct et_queue_node *head = queue_take_locked(q);
	(void)pthread_mutex_unlock(&q->mutex);
	return head;
}

struct et_queue_node *et_queue_wait(struct et_queue *q, int timeout_ms)
{
	struct timespec until;
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	if (timeout_ms > 0) {
		until.tv_sec += timeout_ms / 1000;
		until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
	}

	(void)pthread_mutex_lock(&q->mutex);
	int rc = 0;
	while (q->head == NULL && !q->closed && rc == 0 && timeout_ms != 0) {
		rc = timeout_ms < 0 ? pthread_cond_wait(&q->filled, &q->mutex)
				    : pthread_cond_timedwait(&q->filled, &q->mutex, &until);
	}
	struct et_queue_node *head = queue_take_locked(q);
	(void)pthread_mutex_unlock(&q->mutex);
	return head;
}

void et_queue_close(struct et_queue *q)
{
	(void)pthread_mutex_lock(&q->mutex);
	q->closed = true;
	(void)pthread_cond_broadcast(&q->filled);
	q->wake = NULL;
	(void)pthread_mutex_unlock(&q->mutex);
}

bool et_queue_is_closed(struct et_queue *q)
{
	(void)pthread_mutex_lock(&q->mutex);
	bool closed = q->closed;
	(void)pthread_mutex_unlock(&q->mutex);
	return closed;
}

size_t et_queue_count(struct et_queue *q)
{
	(void)pthread_mutex_lock(&q->mutex);
	size_t count = q->count;
	(void)pthread_mutex_unlock(&q->mutex);
	return count;
}
