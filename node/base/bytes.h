/* Bytes: big-endian access, a bounded reader and a growing writer, hexadecimal and base64url.
 *
 * All formats of evertape are big-endian ("network order"). The reader never reads past its end: a
 * read that does not fit sets `failed` and yields zeros, so a parser checks once, at its end.
 *
 * Threads: plain values, no shared state. */
#ifndef ET_NODE_BASE_BYTES_H
#define ET_NODE_BASE_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "node/base/defs.h"

/* A view: points into memory that somebody else owns. */
struct et_view {
	const uint8_t *data;
	size_t size; /* bytes */
};

static inline uint16_t et_get16(const uint8_t *p)
{
	return (uint16_t)((unsigned)p[0] << 8 | p[1]);
}

static inline uint32_t et_get32(const uint8_t *p)
{
	return (uint32_t)et_get16(p) << 16 | et_get16(p + 2);
}

static inline uint64_t et_get64(const uint8_t *p)
{
	return (uint64_t)et_get32(p) << 32 | et_get32(p + 4);
}

static inline void et_put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void et_put32(uint8_t *p, uint32_t v)
{
	et_put16(p, (uint16_t)(v >> 16));
	et_put16(p + 2, (uint16_t)v);
}

static inline void et_put64(uint8_t *p, uint64_t v)
{
	et_put32(p, (uint32_t)(v >> 32));
	et_put32(p + 4, (uint32_t)v);
}

/* Reads [p, end). */
struct et_reader {
	const uint8_t *p;
	const uint8_t *end;
	bool failed; /* a read did not fit; sticky */
};

static inline struct et_reader et_reader_of(const void *data, size_t size)
{
	return (struct et_reader){ .p = data, .end = (const uint8_t *)data + size };
}

static inline size_t et_reader_left(const struct et_reader *r)
{
	return (size_t)(r->end - r->p);
}

/* The next `size` bytes, or NULL and failed. */
const uint8_t *et_read_bytes(struct et_reader *r, size_t size);
uint8_t et_read8(struct et_reader *r);
uint16_t et_read16(struct et_reader *r);
uint32_t et_read32(struct et_reader *r);
uint64_t et_read64(struct et_reader *r);
/* LEB128, at most 64 bits. */
uint64_t et_read_varint(struct et_reader *r);

/* A growing buffer; zero-initialised is empty. A failed allocation is sticky: check `failed` once.
 */
struct et_buffer {
	uint8_t *data; /* owned */
	size_t size;
	size_t capacity;
	bool failed;
	bool secret; /* set by its owner, who holds a secret in it: what it lets go is wiped */
	bool lent;   /* set by its owner: `data` is borrowed, for the buffer's life. Never freed
		      * here; when it is too small, memory of its own takes its place */
};

void et_buffer_release(struct et_buffer *b); /* NULL data is fine; leaves it empty */
/* Room for `size` more bytes at the end, not yet counted in; NULL and failed without memory. */
uint8_t *et_buffer_reserve(struct et_buffer *b, size_t size);
void et_buffer_add(struct et_buffer *b, const void *data, size_t size);
void et_buffer_add8(struct et_buffer *b, uint8_t v);
void et_buffer_add16(struct et_buffer *b, uint16_t v);
void et_buffer_add32(struct et_buffer *b, uint32_t v);
void et_buffer_add64(struct et_buffer *b, uint64_t v);
void et_buffer_add_varint(struct et_buffer *b, uint64_t v);
void et_buffer_printf(struct et_buffer *b, const char *fmt, ...) ET_PRINTF(2, 3);

/* Lower-case hexadecimal of `size` bytes and a NUL: `text` has room for 2 * size + 1. */
void et_hex(const void *data, size_t size, char *text);
/* Exactly `size` bytes from exactly 2 * size digits (either case). false: it is not that. */
bool et_unhex(const char *text, size_t text_size, void *ret, size_t size);

/* Base64url without padding (RFC 4648, section 5). `text` has room for et_base64_size(size). */
#define et_base64_size(size) (((size)*4 + 2) / 3 + 1)
void et_base64(const void *data, size_t size, char *text);
/* Returns the bytes decoded (at most `size`), or -1: not base64url, or too long. */
ssize_t et_unbase64(const char *text, size_t text_size, void *ret, size_t size);

/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), of bytes continued from `crc` (0 to begin). */
uint32_t et_crc32c(uint32_t crc, const void *data, size_t size);

#endif
