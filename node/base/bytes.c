#include "node/base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif

enum { VARINT_BYTES_MAX = 10 }; /* of 64 bits */

const uint8_t *et_read_bytes(struct et_reader *r, size_t size)
{
	if (r->failed || et_reader_left(r) < size) {
		r->failed = true;
		return NULL;
	}
	const uint8_t *p = r->p;
	r->p += size;
	return p;
}

uint8_t et_read8(struct et_reader *r)
{
	const uint8_t *p = et_read_bytes(r, 1);
	return p != NULL ? *p : 0;
}

uint16_t et_read16(struct et_reader *r)
{
	const uint8_t *p = et_read_bytes(r, 2);
	return p != NULL ? et_get16(p) : 0;
}

uint32_t et_read32(struct et_reader *r)
{
	const uint8_t *p = et_read_bytes(r, 4);
	return p != NULL ? et_get32(p) : 0;
}

uint64_t et_read64(struct et_reader *r)
{
	const uint8_t *p = et_read_bytes(r, 8);
	return p != NULL ? et_get64(p) : 0;
}

uint64_t et_read_varint(struct et_reader *r)
{
	const size_t left = r->failed ? 0 : et_reader_left(r);
	uint64_t v = 0;
	for (size_t i = 0; i < left && i < VARINT_BYTES_MAX; i++) {
		const uint8_t byte = r->p[i];
		if (i == VARINT_BYTES_MAX - 1 && byte > 1) {
			break;
		}
		v |= (uint64_t)(byte & 0x7F) << (7 * i);
		if ((byte & 0x80) == 0) {
			r->p += i + 1;
			return v;
		}
	}
	r->failed = true;
	return 0;
}

void et_buffer_release(struct et_buffer *b)
{
	if (b->secret && b->data != NULL) {
		explicit_bzero(b->data, b->capacity);
	}
	if (!b->lent) {
		free(b->data);
	}
	*b = (struct et_buffer){ 0 };
}

/* Where realloc() would leave the old place behind as it is, or free what is not its own. */
static uint8_t *buffer_move(struct et_buffer *b, size_t capacity)
{
	uint8_t *data = malloc(capacity);

	if (data != NULL && b->data != NULL) {
		memcpy(data, b->data, b->size);
		if (b->secret) {
			explicit_bzero(b->data, b->capacity);
		}
		if (!b->lent) {
			free(b->data);
		}
		b->lent = false;
	}
	return data;
}

uint8_t *et_buffer_reserve(struct et_buffer *b, size_t size)
{
	if (b->failed || size > SIZE_MAX / 4 || b->size > SIZE_MAX / 4) {
		b->failed = true;
		return NULL;
	}
	if (b->data == NULL || b->capacity - b->size < size) {
		size_t capacity = b->capacity < 128 ? 128 : b->capacity * 2;
		while (capacity - b->size < size) {
			capacity *= 2;
		}
		uint8_t *data = b->secret || b->lent ? buffer_move(b, capacity)
						     : realloc(b->data, capacity);
		if (data == NULL) {
			b->failed = true;
			return NULL;
		}
		b->data = data;
		b->capacity = capacity;
	}
	return b->data + b->size;
}

void et_buffer_add(struct et_buffer *b, const void *data, size_t size)
{
	uint8_t *p = et_buffer_reserve(b, size);
	if (p != NULL && size > 0) {
		memcpy(p, data, size);
		b->size += size;
	}
}

void et_buffer_add8(struct et_buffer *b, uint8_t v)
{
	et_buffer_add(b, &v, sizeof(v));
}

void et_buffer_add16(struct et_buffer *b, uint16_t v)
{
	uint8_t bytes[2];
	et_put16(bytes, v);
	et_buffer_add(b, bytes, sizeof(bytes));
}

void et_buffer_add32(struct et_buffer *b, uint32_t v)
{
	uint8_t bytes[4];
	et_put32(bytes, v);
	et_buffer_add(b, bytes, sizeof(bytes));
}

void et_buffer_add64(struct et_buffer *b, uint64_t v)
{
	uint8_t bytes[8];
	et_put64(bytes, v);
	et_buffer_add(b, bytes, sizeof(bytes));
}

void et_buffer_add_varint(struct et_buffer *b, uint64_t v)
{
	while (v >= 0x80) {
		et_buffer_add8(b, (uint8_t)(v | 0x80));
		v >>= 7;
	}
	et_buffer_add8(b, (uint8_t)v);
}

void et_buffer_printf(struct et_buffer *b, const char *fmt, ...)
{
	va_list ap;
	va_list again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int size = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	uint8_t *p = size < 0 ? NULL : et_buffer_reserve(b, (size_t)size + 1);
	if (p != NULL) {
		(void)vsnprintf((char *)p, (size_t)size + 1, fmt, again);
		b->size += (size_t)size;
	}
	va_end(again);
}

void et_hex(const void *data, size_t size, char *text)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;

	for (size_t i = 0; i < size; i++) {
		text[2 * i] = digits[p[i] >> 4];
		text[2 * i + 1] = digits[p[i] & 15];
	}
	text[2 * size] = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'f') {
		return c - 'a' + 10;
	}
	if (c >= 'A' && c <= 'F') {
		return c - 'A' + 10;
	}
	return -1;
}

bool et_unhex(const char *text, size_t text_size, void *ret, size_t size)
{
	uint8_t *p = ret;

	if (text_size != 2 * size) {
		return false;
	}
	for (size_t i = 0; i < text_size; i++) {
		if (hex_digit(text[i]) < 0) {
			return false;
		}
	}
	for (size_t i = 0; i < size; i++) {
		p[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
	}
	return true;
}

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void et_base64(const void *data, size_t size, char *text)
{
	const uint8_t *p = data;
	unsigned bits = 0;
	unsigned held = 0;

	for (size_t i = 0; i < size; i++) {
		bits = (bits << 8 | p[i]) & 0xFFFF;
		held += 8;
		while (held >= 6) {
			held -= 6;
			*text++ = base64_digits[bits >> held & 63];
		}
	}
	if (held > 0) {
		*text++ = base64_digits[bits << (6 - held) & 63];
	}
	*text = '\0';
}

static int base64_digit(char c)
{
	if (c == '\0') {
		return -1;
	}
	const char *at = strchr(base64_digits, c);
	return at != NULL ? (int)(at - base64_digits) : -1;
}

ssize_t et_unbase64(const char *text, size_t text_size, void *ret, size_t size)
{
	uint8_t *p = ret;
	size_t done = 0;
	unsigned bits = 0;
	unsigned held = 0;

	for (size_t i = 0; i < text_size; i++) {
		int digit = base64_digit(text[i]);
		if (digit < 0) {
			return -1;
		}
		bits = (bits << 6 | (unsigned)digit) & 0xFFFF;
		held += 6;
		if (held >= 8) {
			held -= 8;
			if (done == size) {
				return -1;
			}
			p[done++] = (uint8_t)(bits >> held);
		}
	}
	if (held >= 6 || (bits & ((1U << held) - 1)) != 0) {
		return -1; /* A lone digit, or bits that no encoder leaves. */
	}
	return (ssize_t)done;
}

static uint32_t crc32c_by_bits(uint32_t crc, const uint8_t *p, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++) {
			crc = (crc >> 1) ^ (0x82F63B78U & (0U - (crc & 1)));
		}
	}
	return crc;
}

#if defined(__x86_64__)
enum { LANE = 1360 }; /* bytes; three of four fill a record of 16 KiB */

/* One instruction needs the result of the one before, and takes three cycles: three lanes at once
 * cost as much as one. A lane's CRC is carried over n bytes by a product with x^(8n - 33) modulo
 * the polynomial (V. Gopal et al., "Fast CRC Computation for iSCSI Polynomial Using CRC32
 * Instruction", Intel 2011). */
__attribute__((target("sse4.2,pclmul"))) static uint64_t crc32c_carry(uint64_t crc, uint32_t power)
{
	const __m128i product =
		_mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)crc), _mm_cvtsi64_si128(power), 0);

	return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

static uint64_t crc32c_word(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t
crc32c_by_sse(uint32_t crc, const uint8_t *p, size_t size)
{
	uint64_t a = crc;
	for (; size >= 3 * (size_t)LANE; p += 3 * (size_t)LANE, size -= 3 * (size_t)LANE) {
		uint64_t b = 0;
		uint64_t c = 0;
		for (size_t i = 0; i < LANE; i += 8) {
			a = _mm_crc32_u64(a, crc32c_word(p + i));
			b = _mm_crc32_u64(b, crc32c_word(p + LANE + i));
			c = _mm_crc32_u64(c, crc32c_word(p + 2 * (size_t)LANE + i));
		}
		a = crc32c_carry(a, 0x5AA1F3CF) ^ crc32c_carry(b, 0x3F70CC6F) ^ c;
	}
	for (; size >= 8; p += 8, size -= 8) {
		a = _mm_crc32_u64(a, crc32c_word(p));
	}
	crc = (uint32_t)a;
	for (; size > 0; p++, size--) {
		crc = _mm_crc32_u8(crc, *p);
	}
	return crc;
}
#endif

uint32_t et_crc32c(uint32_t crc, const void *data, size_t size)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")) {
		return ~crc32c_by_sse(~crc, data, size);
	}
#endif
	return ~crc32c_by_bits(~crc, data, size);
}
