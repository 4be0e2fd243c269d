/* Short texts on the wire and on disk: length 1, bytes. */
#ifndef ET_NODE_TLS_WIRE_INTERNAL_H
#define ET_NODE_TLS_WIRE_INTERNAL_H

#include "node/base/bytes.h"

/* At most 255 bytes. */
void wire_add_text(struct et_buffer *b, const char *text);
/* `size` is that of `ret`, with its NUL. false: too long, or with a NUL or control character. */
bool wire_read_text(struct et_reader *r, char *ret, size_t size);
/* length 4, bytes. */
void wire_add_bytes(struct et_buffer *b, const struct et_buffer *bytes);
/* Copies at most `size_max` bytes. */
bool wire_read_bytes(struct et_reader *r, size_t size_max, struct et_buffer *ret);

#endif
