#include "node/tls/wire_internal.h"

void wire_add_text(struct et_buffer *b, const char *text)
{
	size_t size = strlen(text);

	et_assert(size <= 255);
	et_buffer_add8(b, (uint8_t)size);
	et_buffer_add(b, text, size);
}

bool wire_read_text(struct et_reader *r, char *ret, size_t size)
{
	size_t n = et_read8(r);
	const uint8_t *p = et_read_bytes(r, n);

	if (p == NULL || n >= size) {
		r->failed = true;
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		if (p[i] < 0x20 || p[i] == 0x7F) {
			r->failed = true;
			return false;
		}
	}
	memcpy(ret, p, n);
	ret[n] = '\0';
	return true;
}

void wire_add_bytes(struct et_buffer *b, const struct et_buffer *bytes)
{
	et_buffer_add32(b, (uint32_t)bytes->size);
	et_buffer_add(b, bytes->data, bytes->size);
	b->failed = b->failed || bytes->failed;
}

bool wire_read_bytes(struct et_reader *r, size_t size_max, struct et_buffer *ret)
{
	size_t n = et_read32(r);
	const uint8_t *p = n <= size_max ? et_read_bytes(r, n) : NULL;

	if (p == NULL) {
		r->failed = true;
		return false;
	}
	et_buffer_add(ret, p, n);
	return !ret->failed;
}
