#include "node/text/units.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/base/err.h"

#define US_PER_S INT64_C(1000000)

struct unit {
	const char *name;
	uint64_t factor;
};

/* Largest first: formatting takes the first that divides. */
static const struct unit durations[] = {
	{ "y", (uint64_t)US_PER_S * 86400 * 366 },
	{ "w", (uint64_t)US_PER_S * 86400 * 7 },
	{ "d", (uint64_t)US_PER_S * 86400 },
	{ "h", (uint64_t)US_PER_S * 3600 },
	{ "m", (uint64_t)US_PER_S * 60 },
	{ "s", (uint64_t)US_PER_S },
	{ "ms", 1000 },
	{ "us", 1 },
};

static const struct unit sizes[] = {
	{ "PiB", UINT64_C(1) << 50 },
	{ "TiB", UINT64_C(1) << 40 },
	{ "GiB", UINT64_C(1) << 30 },
	{ "MiB", UINT64_C(1) << 20 },
	{ "KiB", UINT64_C(1) << 10 },
	{ "PB", UINT64_C(1000000000000000) },
	{ "TB", UINT64_C(1000000000000) },
	{ "GB", UINT64_C(1000000000) },
	{ "MB", UINT64_C(1000000) },
	{ "kB", UINT64_C(1000) },
	{ "B", 1 },
};

/* Digits, at least one; *ret_rest is what follows. */
static bool number_parse(const char *text, uint64_t *ret, const char **ret_rest)
{
	uint64_t v = 0;
	const char *p = text;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v)) {
			return false;
		}
	}
	if (p == text) {
		return false;
	}
	*ret = v;
	*ret_rest = p;
	return true;
}

static bool unit_apply(const struct unit *units, size_t count, const char *name, uint64_t *v)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(units[i].name, name) == 0) {
			return !__builtin_mul_overflow(*v, units[i].factor, v);
		}
	}
	return false;
}

bool et_duration_parse(const char *text, int64_t *ret_us)
{
	uint64_t v;
	const char *unit;
	if (!number_parse(text, &v, &unit)) {
		return false;
	}
	bool bare_zero = *unit == '\0' && v == 0;
	if (!bare_zero && !unit_apply(durations, ET_ARRAY_SIZE(durations), unit, &v)) {
		return false;
	}
	if (v > INT64_MAX) {
		return false;
	}
	*ret_us = (int64_t)v;
	return true;
}

const char *et_duration_format(int64_t us, char text[ET_UNIT_TEXT_SIZE])
{
	const char *sign = us < 0 ? "-" : "";
	uint64_t v = us < 0 ? (uint64_t)0 - (uint64_t)us : (uint64_t)us;
	if (v == 0) {
		(void)snprintf(text, ET_UNIT_TEXT_SIZE, "0s");
		return text;
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(durations); i++) {
		if (v % durations[i].factor == 0) {
			(void)snprintf(text, ET_UNIT_TEXT_SIZE, "%s%" PRIu64 "%s", sign,
				       v / durations[i].factor, durations[i].name);
			break;
		}
	}
	return text;
}

bool et_bytes_parse(const char *text, uint64_t *ret)
{
	uint64_t v;
	const char *unit;
	if (!number_parse(text, &v, &unit)) {
		return false;
	}
	if (*unit != '\0' && !unit_apply(sizes, ET_ARRAY_SIZE(sizes), unit, &v)) {
		return false;
	}
	*ret = v;
	return true;
}

const char *et_bytes_format(uint64_t bytes, char text[ET_UNIT_TEXT_SIZE])
{
	for (size_t i = 0; i < 5; i++) {
		if (bytes < sizes[i].factor) {
			continue;
		}
		double v = (double)bytes / (double)sizes[i].factor;
		(void)snprintf(text, ET_UNIT_TEXT_SIZE, "%.*f %s", v < 9.995 ? 1 : 0, v,
			       sizes[i].name);
		return text;
	}
	(void)snprintf(text, ET_UNIT_TEXT_SIZE, "%" PRIu64 " B", bytes);
	return text;
}

bool et_address_is_valid(const char *text, bool port_zero)
{
	char host[64];
	const char *colon = strrchr(text, ':');
	if (colon == NULL || (size_t)(colon - text) >= sizeof(host)) {
		return false;
	}
	size_t size = (size_t)(colon - text);
	memcpy(host, text, size);
	host[size] = '\0';

	uint64_t port;
	const char *rest;
	if (!number_parse(colon + 1, &port, &rest) || *rest != '\0' || port > 65535 ||
	    (port == 0 && !port_zero)) {
		return false;
	}
	struct in6_addr address;
	if (size >= 2 && host[0] == '[' && host[size - 1] == ']') {
		host[size - 1] = '\0';
		return inet_pton(AF_INET6, host + 1, &address) == 1;
	}
	return inet_pton(AF_INET, host, &address) == 1;
}

bool et_range_parse(const char *text, struct et_range *ret)
{
	static const uint8_t mapped[12] = { [10] = 0xFF, [11] = 0xFF };
	char host[64];
	const char *slash = strchr(text, '/');
	size_t size = slash != NULL ? (size_t)(slash - text) : strlen(text);
	if (size >= sizeof(host)) {
		return false;
	}
	memcpy(host, text, size);
	host[size] = '\0';

	bool ipv4 = strchr(host, ':') == NULL;
	uint64_t bits = ipv4 ? 32 : 128;
	const char *rest;
	if (slash != NULL &&
	    (!number_parse(slash + 1, &bits, &rest) || *rest != '\0' || bits > (ipv4 ? 32 : 128))) {
		return false;
	}
	memcpy(ret->address, mapped, sizeof(mapped));
	if (inet_pton(ipv4 ? AF_INET : AF_INET6, host, ret->address + (ipv4 ? 12 : 0)) != 1) {
		return false;
	}
	ret->bits = (uint32_t)bits + (ipv4 ? 96 : 0);
	for (uint32_t i = ret->bits; i < 128; i++) {
		if ((ret->address[i / 8] & (0x80U >> (i % 8))) != 0) {
			return false;
		}
	}
	return true;
}

bool et_range_holds(const struct et_range *range, const uint8_t address[16])
{
	uint32_t whole = range->bits / 8;
	uint8_t rest = (uint8_t)(0xFF00U >> (range->bits % 8));

	return memcmp(range->address, address, whole) == 0 &&
	       (rest == 0 || ((range->address[whole] ^ address[whole]) & rest) == 0);
}

#define SUGGEST_WORD_MAX 48

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;
	return m < c ? m : c;
}

/* Edits between two words: insert, delete, replace, swap of neighbours (optimal string alignment).
 */
static size_t edit_distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
	size_t rows[3][SUGGEST_WORD_MAX + 1];
	size_t *before = rows[0], *last = rows[1], *now = rows[2];
	for (size_t j = 0; j <= b_size; j++) {
		before[j] = 0;
		last[j] = j;
	}
	for (size_t i = 1; i <= a_size; i++) {
		now[0] = i;
		for (size_t j = 1; j <= b_size; j++) {
			size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
			now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + cost);
			bool swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
			if (swap && before[j - 2] + 1 < now[j]) {
				now[j] = before[j - 2] + 1;
			}
		}
		size_t *oldest = before;
		before = last;
		last = now;
		now = oldest;
	}
	return last[b_size];
}

const char *et_suggest(const char *word, const char *const *words, size_t count)
{
	size_t size = strnlen(word, SUGGEST_WORD_MAX + 1);
	if (size == 0 || size > SUGGEST_WORD_MAX) {
		return NULL;
	}
	/* A third of the letters may be wrong, at most three of them. */
	size_t best_distance = size <= 3 ? 2 : 1 + (size + 2) / 3;
	if (best_distance > 4) {
		best_distance = 4;
	}
	const char *best = NULL;
	for (size_t i = 0; i < count; i++) {
		size_t other = strnlen(words[i], SUGGEST_WORD_MAX + 1);
		if (other == 0 || other > SUGGEST_WORD_MAX) {
			continue;
		}
		size_t distance = edit_distance(word, size, words[i], other);
		if (distance < best_distance) {
			best_distance = distance;
			best = words[i];
		}
	}
	return best;
}
