/* Addresses in headers: name-addr, addr-spec, their parameters (RFC 3261, sections 20.10 and 25).
 */
#include <strings.h>

#include "node/sip/sip.h"

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct et_view trim(struct et_view v)
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

static struct et_view part(struct et_view v, size_t start, size_t end)
{
	return (struct et_view){ .data = v.data + start, .size = end - start };
}

/* The first of `c` outside quotes, from `start`; v.size when there is none. */
static size_t find(struct et_view v, size_t start, char c)
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

static struct et_view unquote(struct et_view v)
{
	if (v.size >= 2 && v.data[0] == '"' && v.data[v.size - 1] == '"') {
		return part(v, 1, v.size - 1);
	}
	return v;
}

bool et_sip_param(struct et_view params, const char *name, struct et_view *ret)
{
	size_t i = find(params, 0, ';');
	while (i < params.size) {
		size_t next = find(params, i + 1, ';');
		struct et_view one = part(params, i + 1, next);
		one.size = find(one, 0, ','); /* the next value of a list */
		size_t equals = find(one, 0, '=');
		if (et_sip_is(trim(part(one, 0, equals)), name)) {
			*ret = equals < one.size ? unquote(trim(part(one, equals + 1, one.size)))
						 : part(one, one.size, one.size);
			return true;
		}
		i = next;
	}
	return false;
}

static bool has_scheme(struct et_view uri, const char *scheme)
{
	size_t size = strlen(scheme);
	return uri.size >= size && strncasecmp((const char *)uri.data, scheme, size) == 0;
}

/* The part that names the user; of a URI without one the host. */
static struct et_view user_of(struct et_view uri)
{
	bool tel = has_scheme(uri, "tel:");
	size_t start = tel || has_scheme(uri, "sip:") ? 4 : has_scheme(uri, "sips:") ? 5 : 0;
	struct et_view rest = part(uri, start, uri.size);
	if (!tel) {
		const uint8_t *at = rest.size == 0 ? NULL : memchr(rest.data, '@', rest.size);
		if (at != NULL) {
			rest.size = (size_t)(at - rest.data);
			const uint8_t *colon = memchr(rest.data, ':', rest.size);
			if (colon != NULL) { /* a password: never told */
				rest.size = (size_t)(colon - rest.data);
			}
		}
	}
	for (size_t i = 0; i < rest.size; i++) {
		if (rest.data[i] == ';' || rest.data[i] == '?') {
			rest.size = i;
			break;
		}
	}
	return rest;
}

struct et_sip_party et_sip_party(struct et_view value)
{
	struct et_sip_party party = { .uri = { .data = NULL } };
	if (value.data == NULL) {
		return party;
	}
	size_t open = find(value, 0, '<');
	if (open == value.size && value.size > 0) { /* quotes that do not close */
		const uint8_t *angle = memchr(value.data, '<', value.size);
		open = angle != NULL ? (size_t)(angle - value.data) : value.size;
	}
	struct et_view params;
	if (open < value.size) {
		size_t close = open + 1;
		while (close < value.size && value.data[close] != '>') {
			close++;
		}
		party.display = unquote(trim(part(value, 0, open)));
		party.uri = trim(part(value, open + 1, close));
		params = part(value, close, value.size);
	} else {
		size_t semicolon = find(value, 0, ';');
		party.uri = trim(part(value, 0, semicolon));
		params = part(value, semicolon, value.size);
	}
	party.user = user_of(party.uri);
	(void)et_sip_param(params, "tag", &party.tag);
	return party;
}
