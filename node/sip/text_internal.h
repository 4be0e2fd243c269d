/* Pieces of text as views: for this module's parsers. */
#ifndef ET_NODE_SIP_TEXT_INTERNAL_H
#define ET_NODE_SIP_TEXT_INTERNAL_H

#include <string.h>
#include <strings.h>

#include "node/base/bytes.h"

static inline bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static inline struct et_view trim(struct et_view v)
{
	while (v.size > 0 && is_space(v.data[0])) {
		v.data++;
		v.size--;
	}
	while (v.size > 0 && is_space(v.data[v.size - 1])) {
		v.size--;
	}
	return v;
}

static inline struct et_view part(struct et_view v, size_t start, size_t end)
{
	return (struct et_view){ .data = v.data + start, .size = end - start };
}

static inline bool begins(struct et_view v, const char *word)
{
	size_t size = strlen(word);
	return v.size >= size && strncasecmp((const char *)v.data, word, size) == 0;
}

/* The first of `c` outside quotes, from `start`; v.size when there is none. */
static inline size_t find(struct et_view v, size_t start, char c)
{
	bool quoted = false;
	for (size_t i = start; i < v.size; i++) {
		if (quoted && v.data[i] == '\\') {
			i++;
		} else if (v.data[i] == '"') {
			quoted = !quoted;
		} else if (!quoted && v.data[i] == (uint8_t)c) {
			return i;
		}
	}
	return v.size;
}

#endif
