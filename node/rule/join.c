#include "node/rule/join.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { UUID_DIGITS = 32 };

static char lower(uint8_t c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* The local UUID of a Session-ID: 32 hexadecimal digits, not all zeros. Its size, or 0. */
static size_t local_uuid(struct et_view value)
{
	bool any = false;

	for (size_t i = 0; i < UUID_DIGITS; i++) {
		char c = i < value.size ? lower(value.data[i]) : '\0';
		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
			return 0;
		}
		any = any || c != '0';
	}
	bool ends = value.size == UUID_DIGITS || value.data[UUID_DIGITS] == ';' ||
		    value.data[UUID_DIGITS] == ' ';
	return any && ends ? UUID_DIGITS : 0;
}

bool et_join_header_key(const char *name, struct et_view value, char ret[ET_JOIN_KEY_MAX])
{
	const bool is_session = strcasecmp(name, "Session-ID") == 0;
	size_t at = 0;

	if (is_session) {
		value.size = local_uuid(value);
	}
	const size_t size = strlen(name);
	if (value.size == 0 || size + 1 + value.size >= ET_JOIN_KEY_MAX) {
		return false;
	}
	for (size_t i = 0; i < size; i++) {
		ret[at++] = lower((uint8_t)name[i]);
	}
	ret[at++] = ':';
	for (size_t i = 0; i < value.size; i++) {
		const uint8_t c = value.data[i];
		if (c == '\0') {
			return false;
		}
		ret[at++] = is_session ? lower(c) : (char)c;
	}
	ret[at] = '\0';
	return true;
}

/* Its last digits; what is no digit is passed over. */
static bool tail(const char *number, uint32_t digits, char *ret)
{
	uint32_t found = 0;

	for (size_t i = strlen(number); i-- > 0 && found < digits;) {
		if (number[i] >= '0' && number[i] <= '9') {
			ret[digits - ++found] = number[i];
		}
	}
	return found == digits;
}

bool et_join_numbers_key(const char *from, const char *to, uint32_t digits,
			 char ret[ET_JOIN_KEY_MAX])
{
	if (digits < ET_JOIN_DIGITS_MIN || digits > ET_JOIN_DIGITS_MAX ||
	    !tail(from, digits, ret) || !tail(to, digits, ret + digits + 1)) {
		return false;
	}
	ret[digits] = '>';
	ret[2 * digits + 1] = '\0';
	return true;
}
