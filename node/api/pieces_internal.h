/* What one thread has put and another has not taken: of an answer that waits for its client, of a
 * body that waits for its worker. It may hold secrets: what is taken is wiped, and so is what is
 * left at the end.
 *
 * Threads: guarded by the call's mutex. */
#ifndef ET_NODE_API_PIECES_INTERNAL_H
#define ET_NODE_API_PIECES_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

struct api_piece {
	struct api_piece *next; /* owned */
	size_t size;
	size_t taken;
	uint8_t data[];
};

/* Zeroed: empty. */
struct api_pieces {
	struct api_piece *first; /* owned, oldest first */
	struct api_piece *last;
	size_t bytes; /* not taken yet */
};

/* A copy of `data`: made before the mutex is taken. NULL: no memory. */
struct api_piece *api_piece_new(const void *data, size_t size);
void api_piece_free(struct api_piece *piece);
void api_pieces_put(struct api_pieces *p, struct api_piece *piece); /* it owns it now */
/* The next bytes, `size` at most. */
size_t api_pieces_take(struct api_pieces *p, uint8_t *ret, size_t size);
void api_pieces_release(struct api_pieces *p);

#endif
