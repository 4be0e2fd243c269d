#include "ops/cli/spool.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/io/file.h"

enum { PIECE = 16 * 1024 };

/* Some places of PIECE bytes, side by side; more than one for a packet that is longer. */
struct et_spool_piece {
	uint32_t place;
	uint32_t size;
};

struct et_spool {
	int fd;		/* owned */
	uint32_t end;	/* places that were in use at a time */
	uint32_t *free; /* owned: those that are not now */
	uint32_t free_count;
	uint32_t free_room;
	struct et_buffer piece; /* owned: room for the one that is read */
	char folder[];		/* for messages */
};

/* A file system that knows no file without a name gets one with a name for a moment. */
static int nameless(const char *folder)
{
	char path[4096];
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) {
		return fd;
	}
	int n = snprintf(path, sizeof(path), "%s/.spool-XXXXXX", folder);
	if (n < 0 || n >= (int)sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0) {
		(void)unlink(path);
	}
	return fd;
}

int et_spool_new(const char *folder, struct et_spool **ret, struct et_error *reterr)
{
	const size_t size = strlen(folder) + 1;
	struct et_spool *s = calloc(1, sizeof(*s) + size);

	if (s == NULL) {
		return et_fail(reterr, -ENOMEM, "spool");
	}
	memcpy(s->folder, folder, size);
	s->fd = nameless(folder);
	if (s->fd < 0) {
		int code = -errno;
		free(s);
		return et_fail(reterr, code, "make a file in '%s'", folder);
	}
	*ret = s;
	return 0;
}

struct et_spool *et_spool_free(struct et_spool *s)
{
	if (s != NULL) {
		(void)close(s->fd);
		free(s->free);
		et_buffer_release(&s->piece);
		free(s);
	}
	return NULL;
}

static uint32_t places_of(size_t size)
{
	return (uint32_t)((size + PIECE - 1) / PIECE);
}

static void place_free(struct et_spool *s, uint32_t place)
{
	if (s->free_count == s->free_room) {
		const uint32_t room = s->free_room * 2 + 64;
		uint32_t *more = realloc(s->free, room * sizeof(*more));
		if (more == NULL) {
			return; /* it is not used again */
		}
		s->free = more;
		s->free_room = room;
	}
	s->free[s->free_count++] = place;
}

static void call_empty(struct et_spool *s, struct et_spool_call *c)
{
	for (uint32_t i = 0; i < c->count; i++) {
		for (uint32_t k = 0; k < places_of(c->pieces[i].size); k++) {
			place_free(s, c->pieces[i].place + k);
		}
	}
	free(c->pieces);
	et_media_encoder_release(&c->encoder);
	*c = (struct et_spool_call){ .count = 0 };
}

void et_spool_drop(struct et_spool *s, struct et_spool_call *c)
{
	call_empty(s, c);
}

/* Write what the encoder has. */
static int call_flush(struct et_spool *s, struct et_spool_call *c, struct et_error *reterr)
{
	const struct et_buffer *plain = &c->encoder.plain;

	if (c->count == c->room) {
		const uint32_t room = c->room * 2 + 8;
		struct et_spool_piece *more = realloc(c->pieces, room * sizeof(*more));
		if (more == NULL) {
			return et_fail(reterr, -ENOMEM, "spool");
		}
		c->pieces = more;
		c->room = room;
	}
	const uint32_t places = places_of(plain->size);
	struct et_spool_piece piece = { .place = s->end, .size = (uint32_t)plain->size };
	if (places == 1 && s->free_count > 0) {
		piece.place = s->free[--s->free_count];
	} else if (s->end > UINT32_MAX - places) {
		return et_fail(reterr, ET_ELIMIT, "spool of %u pieces", s->end);
	} else {
		s->end += places;
	}
	c->pieces[c->count++] = piece;
	int rc = et_file_pwrite(s->fd, plain->data, plain->size, (int64_t)piece.place * PIECE);
	et_media_encoder_reset(&c->encoder);
	return rc < 0 ? et_fail(reterr, rc, "write media of calls under way to '%s'", s->folder)
		      : 0;
}

int et_spool_add(struct et_spool *s, struct et_spool_call *c, const struct et_media_packet *p,
		 struct et_error *reterr)
{
	int rc = et_media_encoder_add(&c->encoder, p, PIECE);

	if (rc == ET_ELIMIT && c->encoder.packets > 0) {
		rc = call_flush(s, c, reterr);
		if (rc < 0) {
			return rc;
		}
		rc = et_media_encoder_add(&c->encoder, p, PIECE);
	}
	if (rc == ET_ELIMIT) { /* a long one: alone */
		rc = et_media_encoder_add(&c->encoder, p, SIZE_MAX);
	}
	return rc < 0 ? et_fail(reterr, rc, "spool a packet") : 0;
}

static int piece_read(struct et_spool *s, const struct et_spool_piece *piece,
		      struct et_error *reterr)
{
	uint8_t *room = et_buffer_reserve(&s->piece, piece->size);
	if (room == NULL) {
		return et_fail(reterr, -ENOMEM, "spool");
	}
	int rc = et_file_pread(s->fd, room, piece->size, (int64_t)piece->place * PIECE);
	return rc < 0 ? et_fail(reterr, rc, "read media of calls under way in '%s'", s->folder) : 0;
}

static int piece_play(struct et_view plain, int (*fn)(void *arg, const struct et_media_packet *p),
		      void *arg, struct et_error *reterr)
{
	struct et_media_decoder d;
	struct et_media_packet p;

	int rc = et_media_decoder_init(&d, plain, reterr);
	while (rc == 0 && (rc = et_media_decoder_next(&d, &p, reterr)) == 1) {
		rc = fn(arg, &p);
	}
	return rc;
}

int et_spool_drain(struct et_spool *s, struct et_spool_call *c,
		   int (*fn)(void *arg, const struct et_media_packet *p), void *arg,
		   struct et_error *reterr)
{
	int rc = 0;

	for (uint32_t i = 0; i < c->count && rc == 0; i++) {
		rc = piece_read(s, &c->pieces[i], reterr);
		rc = rc < 0 ? rc
			    : piece_play((struct et_view){ s->piece.data, c->pieces[i].size }, fn,
					 arg, reterr);
	}
	if (rc == 0 && c->encoder.packets > 0) {
		rc = piece_play((struct et_view){ c->encoder.plain.data, c->encoder.plain.size },
				fn, arg, reterr);
	}
	call_empty(s, c);
	return rc;
}
