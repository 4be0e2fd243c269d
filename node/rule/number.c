/* Patterns and ranges over what came from the wire. */
#include <string.h>

#include "node/rule/rule.h"

/* ---- Shell patterns -------------------------------------------------------------------------- */

static int lower(int c, bool ignore_case)
{
	return ignore_case && c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/* One element of a pattern, which is no star, against one byte. *ret_next: behind the element. */
static bool element_fits(const char *p, int c, bool ignore_case, const char **ret_next)
{
	if (*p == '?') {
		*ret_next = p + 1;
		return true;
	}
	if (*p == '\\' && p[1] != '\0') {
		*ret_next = p + 2;
		return lower((uint8_t)p[1], ignore_case) == c;
	}
	bool negated = *p == '[' && p[1] == '!';
	const char *first = *p == '[' && p[1] != '\0' ? p + 1 + negated : NULL;
	const char *close = first != NULL && *first != '\0' ? strchr(first + 1, ']') : NULL;
	if (close == NULL) { /* also a [ that never ends */
		*ret_next = p + 1;
		return lower((uint8_t)*p, ignore_case) == c;
	}
	bool hit = false;
	for (const char *s = first; s < close; s++) {
		int from = lower((uint8_t)*s, ignore_case);
		int to = from;
		if (s[1] == '-' && s + 2 < close) {
			to = lower((uint8_t)s[2], ignore_case);
			s += 2;
		}
		hit = hit || (c >= from && c <= to);
	}
	*ret_next = close + 1;
	return hit != negated;
}

bool et_rule_glob(const char *pattern, const char *text, size_t text_size, bool ignore_case)
{
	const char *p = pattern;
	const char *star = NULL; /* behind the last star */
	size_t at = 0;
	size_t resume = 0; /* where the text goes on when that star takes one byte more */

	while (at < text_size) {
		const char *next = NULL;
		if (*p == '*') {
			star = ++p;
			resume = at;
		} else if (*p != '\0' && element_fits(p, lower((uint8_t)text[at], ignore_case),
						      ignore_case, &next)) {
			p = next;
			at++;
		} else if (star != NULL) {
			p = star;
			at = ++resume;
		} else {
			return false;
		}
	}
	while (*p == '*') {
		p++;
	}
	return *p == '\0';
}

/* ---- Ranges ---------------------------------------------------------------------------------- */

struct range {
	const char *from;
	const char *to;
	size_t size; /* of each */
};

/* "1000-1999", "+420100-+420199": digits of equal length, perhaps behind a plus. */
static bool range_read(const char *text, struct range *ret)
{
	const char *dash = strchr(text, '-');
	if (dash == NULL) {
		return false;
	}
	bool plus = text[0] == '+';
	const char *from = text + plus;
	const char *to = dash + 1 + (dash[1] == '+');
	size_t size = (size_t)(dash - from);
	if (size == 0 || strlen(to) != size || plus != (dash[1] == '+') ||
	    strspn(from, "0123456789") != size || strspn(to, "0123456789") != size) {
		return false;
	}
	*ret = (struct range){ .from = from, .to = to, .size = size };
	return true;
}

bool et_rule_number_check(const char *text, const char **ret_why)
{
	struct range r;
	const char *dash = strchr(text, '-');
	size_t size = strlen(text);

	*ret_why = "";
	if (size == 0 || size > ET_RULE_PATTERN_MAX) {
		*ret_why = "is empty or too long";
		return false;
	}
	if (range_read(text, &r)) {
		if (memcmp(r.from, r.to, r.size) > 0) {
			*ret_why = "ends before it begins";
			return false;
		}
		return true;
	}
	/* Two numbers and a dash that are no range would quietly fit nothing. */
	if (dash != NULL && strspn(text, "+-0123456789") == size) {
		*ret_why = "is no range: both ends need as many digits, and both a plus or none";
		return false;
	}
	return true;
}

bool et_rule_number_fits(const struct et_rule_number *n, const char *number)
{
	struct range r;
	size_t size = strnlen(number, ET_RULE_TEXT_MAX);

	if (range_read(n->text, &r)) {
		bool plus = n->text[0] == '+';
		const char *digits = number + plus;
		return plus == (number[0] == '+') && size == r.size + plus &&
		       strspn(digits, "0123456789") == r.size &&
		       memcmp(digits, r.from, r.size) >= 0 && memcmp(digits, r.to, r.size) <= 0;
	}
	return et_rule_glob(n->text, number, size, /* ignore_case= */ false);
}
