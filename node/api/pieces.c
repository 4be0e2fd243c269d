#include "node/api/pieces_internal.h"

#include <stdlib.h>
#include <string.h>

struct api_piece *api_piece_new(const void *data, size_t size)
{
	struct api_piece *piece = malloc(sizeof(*piece) + size);
	if (piece != NULL) {
		*piece = (struct api_piece){ .size = size };
		memcpy(piece->data, data, size);
	}
	return piece;
}

void api_piece_free(struct api_piece *piece)
{
	explicit_bzero(piece->data, piece->size);
	free(piece);
}

void api_pieces_put(struct api_pieces *p, struct api_piece *piece)
{
	if (p->last != NULL) {
		p->last->next = piece;
	} else {
		p->first = piece;
	}
	p->last = piece;
	p->bytes += piece->size;
}

static void first_free(struct api_pieces *p)
{
	struct api_piece *piece = p->first;
	p->first = piece->next;
	p->last = p->first != NULL ? p->last : NULL;
	api_piece_free(piece);
}

size_t api_pieces_take(struct api_pieces *p, uint8_t *ret, size_t size)
{
	size_t n = 0;
	while (n < size && p->first != NULL) {
		struct api_piece *piece = p->first;
		const size_t left = piece->size - piece->taken;
		const size_t take = left < size - n ? left : size - n;
		memcpy(ret + n, piece->data + piece->taken, take);
		piece->taken += take;
		n += take;
		if (piece->taken == piece->size) {
			first_free(p);
		}
	}
	p->bytes -= n;
	return n;
}

void api_pieces_release(struct api_pieces *p)
{
	while (p->first != NULL) {
		first_free(p);
	}
	p->bytes = 0;
}
