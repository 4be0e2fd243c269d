#include "node/sip/sip.h"

#include "node/base/err.h"
#include "node/sip/text_internal.h"

/* ---- Text ------------------------------------------------------------------------------------ */

static bool is_token(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c != '\0' && strchr("-.!%*_+`'~", c) != NULL);
}

static struct et_view trimmed(const uint8_t *start, const uint8_t *end)
{
	return trim((struct et_view){ .data = start, .size = (size_t)(end - start) });
}

bool et_sip_is(struct et_view text, const char *word)
{
	size_t size = strlen(word);
	return text.size == size &&
	       (size == 0 || strncasecmp((const char *)text.data, word, size) == 0);
}

/* The digits at the front; false when there are none or they do not fit. */
static bool read_number(struct et_view text, uint32_t max, uint32_t *ret)
{
	uint64_t value = 0;
	size_t i = 0;
	for (; i < text.size && text.data[i] >= '0' && text.data[i] <= '9'; i++) {
		value = value * 10 + (uint64_t)(text.data[i] - '0');
		if (value > max) {
			return false;
		}
	}
	*ret = (uint32_t)value;
	return i > 0;
}

/* ---- Start line ------------------------------------------------------------------------------ */

static const struct {
	const char *text;
	enum et_sip_method method;
} methods[] = {
	{ "INVITE", ET_SIP_INVITE },   { "ACK", ET_SIP_ACK },
	{ "BYE", ET_SIP_BYE },	       { "CANCEL", ET_SIP_CANCEL },
	{ "OPTIONS", ET_SIP_OPTIONS }, { "REGISTER", ET_SIP_REGISTER },
	{ "PRACK", ET_SIP_PRACK },     { "UPDATE", ET_SIP_UPDATE },
	{ "INFO", ET_SIP_INFO },       { "REFER", ET_SIP_REFER },
	{ "NOTIFY", ET_SIP_NOTIFY },   { "SUBSCRIBE", ET_SIP_SUBSCRIBE },
	{ "MESSAGE", ET_SIP_MESSAGE }, { "PUBLISH", ET_SIP_PUBLISH },
};

/* Methods are case-sensitive (section 7.1); listeners need not be. */
static enum et_sip_method method_of(struct et_view text)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(methods); i++) {
		if (et_sip_is(text, methods[i].text)) {
			return methods[i].method;
		}
	}
	return ET_SIP_UNKNOWN;
}

enum { VERSION_SIZE = 7, METHOD_SIZE_MAX = 64, EMPTY_LINES_MAX = 16 };

static bool is_version(const uint8_t *p, size_t size)
{
	return size >= VERSION_SIZE && strncasecmp((const char *)p, "SIP/2.0", VERSION_SIZE) == 0;
}

/* Over line ends before the start line (section 7.5). */
static size_t skip_empty(const uint8_t *data, size_t size)
{
	size_t i = 0;
	while (i < size && i < (size_t)EMPTY_LINES_MAX * 2 &&
	       (data[i] == '\r' || data[i] == '\n')) {
		i++;
	}
	return i;
}

/* The end of the line at `p`: its LF, or `end`. */
static const uint8_t *line_end(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));
	return lf != NULL ? lf : end;
}

static bool read_status_line(struct et_view line, struct et_sip *m)
{
	const uint8_t *end = line.data + line.size;
	struct et_view rest = trimmed(line.data + VERSION_SIZE, end);
	uint32_t status = 0;
	/* All of its digits: 4294967301 is no 429 (RFC 4475, section 3.1.2.19). */
	if (rest.size < 3 || rest.data == line.data + VERSION_SIZE ||
	    !read_number(rest, 699, &status) || status < 100) {
		return false;
	}
	m->status = (uint16_t)status;
	return true;
}

static bool read_request_line(struct et_view line, struct et_sip *m)
{
	size_t i = 0;
	while (i < line.size && i <= METHOD_SIZE_MAX && is_token(line.data[i])) {
		i++;
	}
	if (i == 0 || i > METHOD_SIZE_MAX || i >= line.size || !is_space(line.data[i])) {
		return false;
	}
	if (line.size < i + VERSION_SIZE + 2) {
		return false;
	}
	const uint8_t *version = line.data + line.size - VERSION_SIZE;
	if (!is_version(version, VERSION_SIZE) || !is_space(version[-1])) {
		return false;
	}
	m->is_request = true;
	m->method_text = (struct et_view){ line.data, i };
	m->method = method_of(m->method_text);
	m->request_uri = trimmed(line.data + i, version);
	return true;
}

static bool read_start_line(struct et_view line, struct et_sip *m)
{
	if (is_version(line.data, line.size)) {
		return read_status_line(line, m);
	}
	return read_request_line(line, m);
}

bool et_sip_probe(const uint8_t *data, size_t size)
{
	size_t skip = skip_empty(data, size);
	const uint8_t *p = data + skip;
	size_t left = size - skip;
	if (left < 12 || !is_token(p[0])) {
		return false;
	}
	const uint8_t *end = line_end(p, p + left);
	struct et_sip m = { .status = 0 };
	return read_start_line(trimmed(p, end), &m);
}

/* ---- Headers --------------------------------------------------------------------------------- */

enum header {
	HEADER_OTHER,
	HEADER_CALL_ID,
	HEADER_FROM,
	HEADER_TO,
	HEADER_CSEQ,
	HEADER_VIA,
	HEADER_CONTACT,
	HEADER_ASSERTED,
	HEADER_REPLACES,
	HEADER_REFER_TO,
	HEADER_USER_AGENT,
	HEADER_CONTENT_TYPE,
	HEADER_CONTENT_ENCODING,
	HEADER_CONTENT_LENGTH,
};

static const struct {
	const char *name;
	char compact; /* RFC 3261, section 7.3.3, and the RFC of the header; '\0': none */
	enum header header;
} headers[] = {
	{ "Call-ID", 'i', HEADER_CALL_ID },
	{ "From", 'f', HEADER_FROM },
	{ "To", 't', HEADER_TO },
	{ "CSeq", '\0', HEADER_CSEQ },
	{ "Via", 'v', HEADER_VIA },
	{ "Contact", 'm', HEADER_CONTACT },
	{ "P-Asserted-Identity", '\0', HEADER_ASSERTED },
	{ "Replaces", '\0', HEADER_REPLACES },
	{ "Refer-To", 'r', HEADER_REFER_TO },
	{ "User-Agent", '\0', HEADER_USER_AGENT },
	{ "Content-Type", 'c', HEADER_CONTENT_TYPE },
	{ "Content-Encoding", 'e', HEADER_CONTENT_ENCODING },
	{ "Content-Length", 'l', HEADER_CONTENT_LENGTH },
};

static enum header header_of(struct et_view name)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(headers); i++) {
		if (name.size == 1 ? headers[i].compact != '\0' &&
					     (name.data[0] | 0x20) == headers[i].compact
				   : et_sip_is(name, headers[i].name)) {
			return headers[i].header;
		}
	}
	return HEADER_OTHER;
}

static void read_cseq(struct et_view value, struct et_sip *m)
{
	m->has_cseq = read_number(value, UINT32_MAX, &m->cseq);
	size_t i = 0;
	while (i < value.size && value.data[i] >= '0' && value.data[i] <= '9') {
		i++;
	}
	struct et_view method = trimmed(value.data + i, value.data + value.size);
	if (!m->is_request) {
		m->method_text = method;
		m->method = method_of(method);
	}
}

/* Two that differ are as good as none (RFC 4475, section 3.3.9): who took one of them could be told
 * that the message ends elsewhere than its receiver believes. */
static void read_content_length(struct et_view value, struct et_sip *m)
{
	uint32_t length = 0;
	size_t digits = 0;
	while (digits < value.size && value.data[digits] >= '0' && value.data[digits] <= '9') {
		digits++;
	}
	if (m->bad_content_length) {
		return;
	}
	if (digits < value.size || !read_number(value, INT32_MAX, &length) ||
	    (m->has_content_length && length != m->content_length)) {
		m->bad_content_length = true;
		m->has_content_length = false;
		m->content_length = 0;
		return;
	}
	m->has_content_length = true;
	m->content_length = length;
}

static void set_first(struct et_view *field, struct et_view value)
{
	if (field->data == NULL) {
		*field = value;
	}
}

static void set_party(struct et_sip_party *party, struct et_view value)
{
	if (party->uri.data == NULL) {
		*party = et_sip_party(value);
	}
}

/* The first of a header counts; what repeats it (RFC 4475 has such) does not. */
static void read_header(enum header header, struct et_view value, struct et_sip *m)
{
	switch (header) {
	case HEADER_CALL_ID:
		set_first(&m->call_id, value);
		break;
	case HEADER_FROM:
		set_party(&m->from, value);
		break;
	case HEADER_TO:
		set_party(&m->to, value);
		break;
	case HEADER_CSEQ:
		if (!m->has_cseq) {
			read_cseq(value, m);
		}
		break;
	case HEADER_VIA:
		m->via_count++;
		if (m->via_branch.data == NULL) {
			m->via_branch = (struct et_view){ value.data, 0 };
			(void)et_sip_param(value, "branch", &m->via_branch);
		}
		break;
	case HEADER_CONTACT:
		set_party(&m->contact, value);
		break;
	case HEADER_ASSERTED:
		set_party(&m->asserted, value);
		break;
	case HEADER_REPLACES:
		set_first(&m->replaces, value);
		break;
	case HEADER_REFER_TO:
		set_first(&m->refer_to, value);
		break;
	case HEADER_USER_AGENT:
		set_first(&m->user_agent, value);
		break;
	case HEADER_CONTENT_TYPE:
		set_first(&m->content_type, value);
		break;
	case HEADER_CONTENT_LENGTH:
		read_content_length(value, m);
		break;
	case HEADER_CONTENT_ENCODING:
	case HEADER_OTHER:
	default:
		break;
	}
}

/* One header line with its folded continuations, from `p`; without a colon the name is empty.
 * Returns where the next one begins. */
static const uint8_t *next_line(const uint8_t *p, const uint8_t *end, struct et_view *ret_name,
				struct et_view *ret_value)
{
	const uint8_t *lf = line_end(p, end);
	while (lf + 1 < end && (lf[1] == ' ' || lf[1] == '\t')) {
		lf = line_end(lf + 1, end);
	}
	const uint8_t *colon = memchr(p, ':', (size_t)(lf - p));
	*ret_name = (struct et_view){ .data = p, .size = 0 };
	if (colon != NULL) {
		*ret_name = trimmed(p, colon);
		*ret_value = trimmed(colon + 1, lf);
	}
	return lf < end ? lf + 1 : end;
}

static const uint8_t *read_line(const uint8_t *p, const uint8_t *end, struct et_sip *m)
{
	struct et_view name;
	struct et_view value;
	const uint8_t *next = next_line(p, end, &name, &value);
	if (name.size > 0) {
		enum header header = header_of(name);
		if (header != HEADER_OTHER) {
			read_header(header, value, m);
		}
	}
	m->header_count++;
	return next;
}

/* The end of the headers: an empty line. */
static bool is_empty_line(const uint8_t *p, const uint8_t *end)
{
	return *p == '\n' || (*p == '\r' && p + 1 < end && p[1] == '\n');
}

/* Where the body begins, or NULL: the headers do not end. */
static const uint8_t *read_headers(const uint8_t *p, const uint8_t *end, struct et_sip *m)
{
	while (p < end) {
		if (is_empty_line(p, end)) {
			return p + (*p == '\n' ? 1 : 2);
		}
		if (m->header_count >= ET_SIP_HEADERS_MAX) {
			break;
		}
		p = read_line(p, end, m);
	}
	return NULL;
}

int et_sip_parse(const uint8_t *data, size_t size, struct et_sip *ret)
{
	size_t skip = skip_empty(data, size);
	const uint8_t *p = data + skip;
	const uint8_t *end = data + size;
	const uint8_t *lf = line_end(p, end);
	struct et_sip m = { .status = 0 };
	if (p == end || !read_start_line(trimmed(p, lf), &m)) {
		return ET_EMALFORMED;
	}

	const uint8_t *body = read_headers(lf < end ? lf + 1 : end, end, &m);
	if (body == NULL) {
		m.truncated = true;
		body = end;
	}
	m.body = (struct et_view){ .data = body, .size = (size_t)(end - body) };
	if (m.has_content_length) {
		if (m.content_length < m.body.size) {
			m.body.size = m.content_length;
		} else if (m.content_length > m.body.size) {
			m.truncated = true;
		}
	}
	m.message_size = (uint32_t)(m.body.data + m.body.size - data);
	*ret = m;
	return 0;
}

bool et_sip_header_next(struct et_view message, size_t *at, struct et_sip_header *ret)
{
	const uint8_t *end = message.data + message.size;
	const uint8_t *p = message.data + *at;
	if (*at == 0) { /* over empty lines, then the start line */
		p = line_end(p + skip_empty(message.data, message.size), end);
		p = p < end ? p + 1 : end;
	}
	while (p < end && !is_empty_line(p, end)) {
		p = next_line(p, end, &ret->name, &ret->value);
		*at = (size_t)(p - message.data);
		if (ret->name.size > 0) {
			return true;
		}
	}
	return false;
}

/* A name that is known here has a compact one, perhaps; of others none is known. */
static bool is_name(struct et_view name, enum header header, const char *wanted)
{
	return header != HEADER_OTHER ? header_of(name) == header : et_sip_is(name, wanted);
}

static enum header header_of_text(const char *name)
{
	return header_of((struct et_view){ (const uint8_t *)name, strlen(name) });
}

bool et_sip_header_is(const struct et_sip_header *h, const char *name)
{
	return is_name(h->name, header_of_text(name), name);
}

bool et_sip_header(struct et_view message, const char *name, uint32_t n, struct et_view *ret)
{
	enum header header = header_of_text(name);
	struct et_sip_header h;
	size_t at = 0;
	while (et_sip_header_next(message, &at, &h)) {
		if (is_name(h.name, header, name) && n-- == 0) {
			*ret = h.value;
			return true;
		}
	}
	*ret = (struct et_view){ .data = NULL };
	return false;
}
