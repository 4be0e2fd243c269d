/* A body that is read as it comes: a file of any size, of which a megabyte is here at most.
 *
 *   API thread: piece ─▶ list ─▶ worker: api_read()
 *        │ enough is here: the client is held        │ half of it was read
 *        └──────────────── goes on ◀─────────────────┘ */
#include <stdlib.h>
#include <string.h>

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
	struct api_piece *piece = malloc(sizeof(*piece) + size);
	if (piece == NULL) {
		return -ENOMEM;
	}
	*piece = (struct api_piece){ .size = size };
	memcpy(piece->data, data, size);
	(void)pthread_mutex_lock(&call->mutex);
	if (call->in_last != NULL) {
		call->in_last->next = piece;
	} else {
		call->in = piece;
	}
	call->in_last = piece;
	call->in_bytes += size;
	call->in_left -= size;
	call->held = call->in_bytes >= ENOUGH_BYTES && call->in_left > 0;
	const int held = call->held;
	(void)pthread_cond_signal(&call->came);
	(void)pthread_mutex_unlock(&call->mutex);
	return held;
}

bool api_stream_resumes(struct api_call *call)
{
	(void)pthread_mutex_lock(&call->mutex);
	const bool resume = call->resume;
	call->resume = false;
	(void)pthread_mutex_unlock(&call->mutex);
	return resume;
}

static void piece_free(struct api_piece *piece)
{
	explicit_bzero(piece->data, piece->size);
	free(piece);
}

ssize_t api_read(struct api_call *call, void *data, size_t size)
{
	ssize_t n = 0;
	(void)pthread_mutex_lock(&call->mutex);
	while (call->in == NULL && call->in_left > 0 && !call->gone) {
		(void)pthread_cond_wait(&call->came, &call->mutex);
	}
	struct api_piece *piece = call->in;
	if (call->gone || atomic_load(&call->api->stopping)) {
		n = ET_ECLOSED;
	} else if (piece != NULL) {
		const size_t left = piece->size - piece->sent;
		n = (ssize_t)(left < size ? left : size);
		memcpy(data, piece->data + piece->sent, (size_t)n);
		piece->sent += (size_t)n;
		call->in_bytes -= (size_t)n;
		if (piece->sent == piece->size) {
			call->in = piece->next;
			call->in_last = call->in != NULL ? call->in_last : NULL;
			piece_free(piece);
		}
		if (call->held && call->in_bytes <= ENOUGH_BYTES / 2) {
			call->held = false;
			call->resume = true;
			api_notify(call);
		}
	}
	(void)pthread_mutex_unlock(&call->mutex);
	return n;
}

void api_stream_release(struct api_call *call)
{
	while (call->in != NULL) {
		struct api_piece *next = call->in->next;
		piece_free(call->in);
		call->in = next;
	}
}
