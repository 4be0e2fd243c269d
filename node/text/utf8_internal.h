/* UTF-8 (RFC 3629), one character at a time.
 *
 * Threads: pure. */
#ifndef ET_NODE_TEXT_UTF8_INTERNAL_H
#define ET_NODE_TEXT_UTF8_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the UTF-8 character at `p` (RFC 3629: no overlong forms, no surrogates), or 0. */
static inline size_t utf8_size(const uint8_t *p, size_t left)
{
	if (p[0] < 0x80) {
		return p[0] == 0 ? 0 : 1;
	}
	size_t size = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
		      : (p[0] & 0xf0) == 0xe0	     ? 3
		      : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
						     : 0;
	if (size == 0 || size > left) {
		return 0;
	}
	for (size_t i = 1; i < size; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			return 0;
		}
	}
	bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
	bool outside = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f);
	return overlong || outside ? 0 : size;
}

#endif
