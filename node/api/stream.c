/* A body that is read as it comes: a file of any size, of which a megabyte is here at most.
 *
 *   API thread: piece ─▶ list ─▶ worker: api_read()
 *        │ enough is here: the client is held        │ half of it was read, or it is answered
 *        └──────────────── goes on ◀─────────────────┘
 *
 * A worker that answers reads no more: what still comes is dropped, and a client that is held is
 * let go on. libwebsockets writes nothing to a connection whose reading stands still. */
#include "node/api/api_internal.h"

enum { ENOUGH_BYTES = 1024 * 1024 };

bool api_streams(const struct api_route *route)
{
	return route->run == api_import;
}

void api_stream_begin(struct api_call *call, uint64_t size)
{
	call->streams = true;
	call->in_left = size;
}

int api_stream_put(struct api_call *call, const void *data, size_t size)
{
	struct api_piece *piece = api_piece_new(data, size);
	if (piece == NULL) {
		return -ENOMEM;
	}
	(void)pthread_mutex_lock(&call->mutex);
	call->in_left -= size;
	if (call->begun) {
		api_piece_free(piece);
	} else {
		api_pieces_put(&call->in, piece);
		if (!call->held && call->in.bytes >= ENOUGH_BYTES && call->in_left > 0) {
			call->held = true;
			api_notify(call);
		}
		(void)pthread_cond_signal(&call->came);
	}
	(void)pthread_mutex_unlock(&call->mutex);
	return 0;
}

bool api_stream_is_held(struct api_call *call)
{
	(void)pthread_mutex_lock(&call->mutex);
	const bool held = call->held;
	(void)pthread_mutex_unlock(&call->mutex);
	return held;
}

uint64_t api_stream_left(struct api_call *call)
{
	(void)pthread_mutex_lock(&call->mutex);
	const uint64_t left = call->in_left + call->in.bytes;
	(void)pthread_mutex_unlock(&call->mutex);
	return left;
}

ssize_t api_read(struct api_call *call, void *data, size_t size)
{
	ssize_t n = ET_ECLOSED;
	(void)pthread_mutex_lock(&call->mutex);
	while (call->in.first == NULL && call->in_left > 0 && !call->gone) {
		(void)pthread_cond_wait(&call->came, &call->mutex);
	}
	if (!call->gone && !atomic_load(&call->api->stopping)) {
		n = (ssize_t)api_pieces_take(&call->in, data, size);
		if (call->held && call->in.bytes <= ENOUGH_BYTES / 2) {
			call->held = false;
			api_notify(call);
		}
	}
	(void)pthread_mutex_unlock(&call->mutex);
	return n;
}
