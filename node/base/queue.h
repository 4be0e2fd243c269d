/* A bounded queue between threads: the only place where threads meet.
 *
 * Messages are intrusive: the sender embeds `struct et_queue_node` and gives the message away; the
 * receiver owns it from then on. The limit is in messages and in bytes (the sender names the cost);
 * a full queue refuses (ET_ELIMIT) and the sender decides what that means. It never grows past it.
 *
 * Threads: any number of senders, one receiver. The receiver either waits (et_queue_wait) or is
 * woken by `wake`, which runs in the sender's thread when the queue was empty, with the lock held:
 * it must not touch the queue. None runs after et_queue_close() has returned. */
#ifndef ET_NODE_BASE_QUEUE_H
#define ET_NODE_BASE_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "node/base/defs.h"

struct et_queue_node {
	struct et_queue_node *next; /* private */
	size_t cost_bytes;	    /* private */
};

struct et_queue {
	/* Private. */
	pthread_mutex_t mutex;
	pthread_cond_t filled;
	struct et_queue_node *head;
	struct et_queue_node *tail;
	size_t count;
	size_t count_max;
	size_t cost_bytes;
	size_t cost_bytes_max;
	bool closed;
	void (*wake)(void *arg);
	void *wake_arg;
};

/* `wake` may be NULL. 0 or -errno. */
int et_queue_init(struct et_queue *q, size_t count_max, size_t cost_bytes_max,
		  void (*wake)(void *arg), void *wake_arg) ET_MUST_CHECK;

/* The queue must be empty, or its messages be owned elsewhere. */
void et_queue_destroy(struct et_queue *q);

/* Give `node` away. ET_ELIMIT: full; ET_ECLOSED: closed; the sender keeps the message then. */
int et_queue_push(struct et_queue *q, struct et_queue_node *node, size_t cost_bytes) ET_MUST_CHECK;

/* Take all there is, oldest first, as a chain through `next`; NULL when empty. Never waits. */
struct et_queue_node *et_queue_take(struct et_queue *q);

/* As et_queue_take(), but wait up to `timeout_ms` (-1: for ever) while empty and not closed. */
struct et_queue_node *et_queue_wait(struct et_queue *q, int timeout_ms);

/* No more pushes; wakes the receiver. What is inside can still be taken. */
void et_queue_close(struct et_queue *q);
bool et_queue_is_closed(struct et_queue *q);

/* What is inside now; for metrics and admission. */
size_t et_queue_count(struct et_queue *q);

#endif
