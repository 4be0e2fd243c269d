/* Run a function on a loop's thread, from any other thread.
 *
 * The caller embeds `struct et_post` in what it sends; the loop's thread owns it from et_post() on
 * and runs `fn` exactly once, in the order posted by each thread.
 *
 * Threads: et_post() any; the others the loop's thread. */
#ifndef ET_NODE_IO_POST_H
#define ET_NODE_IO_POST_H

#include <uv.h>

#include "node/base/queue.h"

struct et_post {
	struct et_queue_node node; /* private */
	void (*fn)(struct et_post *post);
};

/* One per loop. Must not move. */
struct et_postbox {
	/* Private. */
	struct et_queue queue;
	uv_async_t async;
	void (*closed)(struct et_postbox *box);
};

#define ET_POSTBOX_COUNT_MAX 65536 /* messages waiting; far above what a healthy loop lets wait */

/* 0 or negative. The async handle is unreferenced: it does not keep the loop alive. */
int et_postbox_init(struct et_postbox *box, uv_loop_t *loop) ET_MUST_CHECK;

/* ET_ELIMIT: the loop is stuck; ET_ECLOSED: it is going down. The sender keeps `post` then. */
int et_post(struct et_postbox *box, struct et_post *post) ET_MUST_CHECK;

/* Run what is waiting, then close the handle; `closed` (may be NULL) runs when box may be freed. */
void et_postbox_close(struct et_postbox *box, void (*closed)(struct et_postbox *box));

#endif
