#include "node/io/post.h"

static void postbox_run(struct et_postbox *box)
{
	struct et_queue_node *node = et_queue_take(&box->queue);
	while (node != NULL) {
		struct et_queue_node *next = node->next;
		struct et_post *post = ET_CONTAINER_OF(node, struct et_post, node);
		post->fn(post); /* May free it. */
		node = next;
	}
}

static void postbox_on_async(uv_async_t *async)
{
	postbox_run(ET_CONTAINER_OF(async, struct et_postbox, async));
}

static void postbox_wake(void *arg)
{
	struct et_postbox *box = arg;
	(void)uv_async_send(&box->async);
}

int et_postbox_init(struct et_postbox *box, uv_loop_t *loop)
{
	int rc = et_queue_init(&box->queue, ET_POSTBOX_COUNT_MAX, SIZE_MAX, NULL, NULL);
	if (rc < 0) {
		return rc;
	}
	rc = uv_async_init(loop, &box->async, postbox_on_async);
	if (rc < 0) {
		et_queue_destroy(&box->queue);
		return rc;
	}
	uv_unref((uv_handle_t *)&box->async);
	box->queue.wake = postbox_wake;
	box->queue.wake_arg = box;
	return 0;
}

int et_post(struct et_postbox *box, struct et_post *post)
{
	et_assert(post->fn != NULL);
	return et_queue_push(&box->queue, &post->node, sizeof(*post));
}

static void postbox_on_close(uv_handle_t *handle)
{
	struct et_postbox *box = ET_CONTAINER_OF((uv_async_t *)handle, struct et_postbox, async);
	et_queue_destroy(&box->queue);
	if (box->closed != NULL) {
		box->closed(box);
	}
}

void et_postbox_close(struct et_postbox *box, void (*closed)(struct et_postbox *box))
{
	box->closed = closed;
	et_queue_close(&box->queue);
	postbox_run(box);
	uv_close((uv_handle_t *)&box->async, postbox_on_close);
}
