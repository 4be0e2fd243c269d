/* Addresses in headers: name-addr, addr-spec, their parameters (RFC 3261, sections 20.10 and 25).
 */
#include "node/sip/sip.h"
#include "node/sip/text_internal.h"

enum { NUMBER_SIZE_MAX = 64 };

static struct et_view unquote(struct et_view v)
{
	if (v.size >= 2 && v.data[0] == '"' && v.data[v.size - 1] == '"') {
		return part(v, 1, v.size - 1);
	}
	return v;
}

bool et_sip_param(struct et_view params, const char *name, struct et_view *ret)
{
	params.size = find(params, 0, ','); /* the next value of a list */
	size_t i = find(params, 0, ';');
	while (i < params.size) {
		size_t next = find(params, i + 1, ';');
		struct et_view one = part(params, i + 1, next);
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

static int hex_of(uint8_t c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

size_t et_sip_unescape(struct et_view text, uint8_t *ret, size_t size)
{
	size_t n = 0;
	for (size_t i = 0; i < text.size && n < size; i++) {
		ret[n] = text.data[i];
		if (text.data[i] == '%' && i + 2 < text.size) {
			int high = hex_of(text.data[i + 1]);
			int low = hex_of(text.data[i + 2]);
			if (high >= 0 && low >= 0) {
				ret[n] = (uint8_t)(high * 16 + low);
				i += 2;
			}
		}
		n++;
	}
	return n;
}

/* Up to the first of `stops`. */
static struct et_view until(struct et_view v, const char *stops)
{
	for (size_t i = 0; i < v.size; i++) {
		if (v.data[i] != '\0' && strchr(stops, v.data[i]) != NULL) {
			v.size = i;
			break;
		}
	}
	return v;
}

/* A telephone number as RFC 3966 writes one, whose parameters are not a part of it. Those of a name
 * are (RFC 4475, section 3.1.1.9). */
static bool is_number(struct et_view v)
{
	uint8_t plain[NUMBER_SIZE_MAX];
	size_t n = et_sip_unescape(v, plain, sizeof(plain));
	for (size_t i = 0; i < n; i++) {
		if (plain[i] == '\0' || strchr("+0123456789*#-.()", plain[i]) == NULL) {
			return false;
		}
	}
	return n > 0 && n < sizeof(plain);
}

/* The part that names the user; of a URI without one the host. */
static struct et_view user_of(struct et_view uri)
{
	bool tel = begins(uri, "tel:");
	size_t start = tel || begins(uri, "sip:") ? 4 : begins(uri, "sips:") ? 5 : 0;
	struct et_view rest = part(uri, start, uri.size);
	const uint8_t *at = tel || rest.size == 0 ? NULL : memchr(rest.data, '@', rest.size);
	if (at == NULL) {
		return until(rest, ";?");
	}
	rest.size = (size_t)(at - rest.data);
	const uint8_t *colon = memchr(rest.data, ':', rest.size);
	if (colon != NULL) { /* a password: never told */
		rest.size = (size_t)(colon - rest.data);
	}
	struct et_view number = until(rest, ";");
	return is_number(number) ? number : rest;
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
		if (party.display.size > 0 && party.display.data[0] == '"') { /* does not close */
			party.display = part(party.display, 1, party.display.size);
		}
		party.uri = trim(part(value, open + 1, close));
		params = part(value, close, value.size);
	} else {
		value.size = find(value, 0, ','); /* a list: without < > no URI has one */
		size_t semicolon = find(value, 0, ';');
		party.uri = trim(part(value, 0, semicolon));
		params = part(value, semicolon, value.size);
	}
	party.user = user_of(party.uri);
	(void)et_sip_param(params, "tag", &party.tag);
	return party;
}
