#include "node/sip/server.h"
#include "node/sip/text_internal.h"

/* ---- Text ------------------------------------------------------------------------------------ */

/* The end of the line that begins at `at`: its LF, or the end. */
static size_t line_end(struct et_view v, size_t at)
{
	const uint8_t *lf = at < v.size ? memchr(v.data + at, '\n', v.size - at) : NULL;
	return lf != NULL ? (size_t)(lf - v.data) : v.size;
}

/* ---- Headers --------------------------------------------------------------------------------- */

bool et_sip_list_next(struct et_view *list, struct et_view *ret)
{
	while (list->size > 0) {
		const uint8_t *comma = memchr(list->data, ',', list->size);
		size_t end = comma != NULL ? (size_t)(comma - list->data) : list->size;
		size_t taken = comma != NULL ? end + 1 : end;
		*ret = trim(part(*list, 0, end));
		*list = part(*list, taken, list->size);
		if (ret->size > 0) {
			return true;
		}
	}
	return false;
}

bool et_sip_header_has(struct et_view message, const char *name, const char *word)
{
	struct et_sip_header h;
	struct et_view one;
	size_t at = 0;
	while (et_sip_header_next(message, &at, &h)) {
		while (et_sip_header_is(&h, name) && et_sip_list_next(&h.value, &one)) {
			if (et_sip_is(one, word)) {
				return true;
			}
		}
	}
	return false;
}

/* ---- Parts ----------------------------------------------------------------------------------- */

/* A media type without its parameters. */
static struct et_view bare_type(struct et_view type)
{
	const uint8_t *end = type.size > 0 ? memchr(type.data, ';', type.size) : NULL;
	return trim(end != NULL ? part(type, 0, (size_t)(end - type.data)) : type);
}

/* What stands between two delimiters: headers, an empty line, a body. */
static struct et_sip_part read_part(struct et_view v)
{
	struct et_sip_part p = { .type = { .data = NULL } };
	size_t at = 0;
	while (at < v.size) {
		size_t end = line_end(v, at);
		struct et_view line = trim(part(v, at, end));
		at = end < v.size ? end + 1 : v.size;
		if (line.size == 0) {
			break;
		}
		const uint8_t *colon = memchr(line.data, ':', line.size);
		if (colon == NULL) {
			continue;
		}
		size_t middle = (size_t)(colon - line.data);
		struct et_sip_header h = { trim(part(line, 0, middle)),
					   trim(part(line, middle + 1, line.size)) };
		if (et_sip_header_is(&h, "Content-Type")) {
			p.type = bare_type(h.value);
		} else if (et_sip_header_is(&h, "Content-Disposition")) {
			p.disposition = h.value;
		}
	}
	p.body = part(v, at, v.size);
	/* The line end before a delimiter belongs to it. */
	if (p.body.size > 0 && p.body.data[p.body.size - 1] == '\n') {
		p.body.size--;
	}
	if (p.body.size > 0 && p.body.data[p.body.size - 1] == '\r') {
		p.body.size--;
	}
	return p;
}

static bool is_delimiter(struct et_view line, struct et_view boundary, bool *ret_last)
{
	if (line.size < boundary.size + 2 || line.data[0] != '-' || line.data[1] != '-' ||
	    memcmp(line.data + 2, boundary.data, boundary.size) != 0) {
		return false;
	}
	struct et_view rest = trim(part(line, boundary.size + 2, line.size));
	*ret_last = rest.size >= 2 && rest.data[0] == '-' && rest.data[1] == '-';
	return rest.size == 0 || *ret_last;
}

uint32_t et_sip_parts(struct et_view content_type, struct et_view body, struct et_sip_part *ret,
		      uint32_t max)
{
	struct et_view boundary = { .data = NULL };
	if (trim(body).size == 0 || max == 0) {
		return 0;
	}
	if (!begins(content_type, "multipart/") ||
	    !et_sip_param(content_type, "boundary", &boundary) || boundary.size == 0) {
		ret[0] = (struct et_sip_part){ .type = bare_type(content_type), .body = body };
		return 1;
	}
	uint32_t count = 0;
	size_t start = SIZE_MAX; /* of the part in hand; SIZE_MAX: before the first */
	bool last = false;
	for (size_t at = 0; at < body.size && count < max && !last;) {
		size_t end = line_end(body, at);
		if (is_delimiter(part(body, at, end), boundary, &last)) {
			if (start != SIZE_MAX) {
				ret[count++] = read_part(part(body, start, at));
			}
			start = end < body.size ? end + 1 : body.size;
		}
		at = end < body.size ? end + 1 : body.size;
	}
	if (!last && start != SIZE_MAX && start < body.size && count < max) {
		ret[count++] = read_part(part(body, start, body.size)); /* never closed */
	}
	return count;
}

/* ---- Replies --------------------------------------------------------------------------------- */

static void add_text(struct et_buffer *b, const char *text)
{
	et_buffer_add(b, text, strlen(text));
}

void et_sip_value_write(struct et_view value, struct et_buffer *ret)
{
	for (size_t i = 0; i < value.size; i++) {
		uint8_t c = value.data[i];
		et_buffer_add8(ret, c < 0x20 || c == 0x7F ? ' ' : c);
	}
}

static void line_write(const char *name, struct et_view value, struct et_buffer *ret)
{
	add_text(ret, name);
	add_text(ret, ": ");
	et_sip_value_write(value, ret);
	add_text(ret, "\r\n");
}

/* ";rport" that asks for a value, in the topmost Via: where it ends; 0: there is none. */
static size_t rport_end(struct et_view via)
{
	for (size_t i = 0; i + 6 <= via.size; i++) {
		if (via.data[i] != ';') {
			continue;
		}
		size_t k = i + 1;
		while (k < via.size && is_space(via.data[k])) {
			k++;
		}
		if (!begins(part(via, k, via.size), "rport")) {
			continue;
		}
		size_t end = k + 5;
		while (end < via.size && is_space(via.data[end])) {
			end++;
		}
		if (end >= via.size || via.data[end] == ';') {
			return k + 5;
		}
	}
	return 0;
}

/* With the address that it really came from. */
static void top_via_write(struct et_view value, const struct et_sip_reply *r, struct et_buffer *ret)
{
	size_t end = find(value, 0, ',');
	struct et_view own = trim(part(value, 0, end));
	size_t rport = r->rport != 0 ? rport_end(own) : 0;
	add_text(ret, "Via: ");
	et_sip_value_write(part(own, 0, rport), ret);
	if (rport != 0) {
		et_buffer_printf(ret, "=%u", (unsigned)r->rport);
	}
	et_sip_value_write(part(own, rport, own.size), ret);
	if (r->received != NULL) {
		et_buffer_printf(ret, ";received=%s", r->received);
	}
	et_sip_value_write(part(value, end, value.size), ret);
	add_text(ret, "\r\n");
}

static void to_write(struct et_view value, const struct et_sip_reply *r, struct et_buffer *ret)
{
	bool tagged = et_sip_party(value).tag.size > 0;
	add_text(ret, "To: ");
	et_sip_value_write(value, ret);
	if (!tagged && r->to_tag != NULL && r->to_tag[0] != '\0') {
		et_buffer_printf(ret, ";tag=%s", r->to_tag);
	}
	add_text(ret, "\r\n");
}

void et_sip_reply_write(struct et_view request, const struct et_sip_reply *reply,
			struct et_buffer *ret)
{
	struct et_sip_header h;
	struct et_view value;
	size_t at = 0;
	bool first = true;

	et_buffer_printf(ret, "SIP/2.0 %u %s\r\n", (unsigned)reply->status, reply->reason);
	while (et_sip_header_next(request, &at, &h)) {
		if (et_sip_header_is(&h, "Via")) {
			if (first) {
				top_via_write(h.value, reply, ret);
			} else {
				line_write("Via", h.value, ret);
			}
			first = false;
		} else if (reply->dialog && et_sip_header_is(&h, "Record-Route")) {
			line_write("Record-Route", h.value, ret);
		}
	}
	if (et_sip_header(request, "From", 0, &value)) {
		line_write("From", value, ret);
	}
	if (et_sip_header(request, "To", 0, &value)) {
		to_write(value, reply, ret);
	}
	if (et_sip_header(request, "Call-ID", 0, &value)) {
		line_write("Call-ID", value, ret);
	}
	if (et_sip_header(request, "CSeq", 0, &value)) {
		line_write("CSeq", value, ret);
	}
	add_text(ret, reply->headers != NULL ? reply->headers : "");
	if (reply->content_type != NULL) {
		et_buffer_printf(ret, "Content-Type: %s\r\n", reply->content_type);
	}
	size_t size = reply->content_type != NULL ? reply->body.size : 0;
	et_buffer_printf(ret, "Content-Length: %zu\r\n\r\n", size);
	et_buffer_add(ret, reply->body.data, size);
}

/* ---- The answer ------------------------------------------------------------------------------ */

/* "audio 49170/2 RTP/AVP 0 8": the same with our port. */
static void media_write(struct et_view value, uint16_t port, struct et_buffer *ret)
{
	size_t kind = 0;
	while (kind < value.size && !is_space(value.data[kind])) {
		kind++;
	}
	struct et_view rest = trim(part(value, kind, value.size));
	size_t offered = 0;
	while (offered < rest.size && !is_space(rest.data[offered])) {
		offered++;
	}
	add_text(ret, "m=");
	et_sip_value_write(part(value, 0, kind), ret);
	et_buffer_printf(ret, " %u ", (unsigned)port);
	et_sip_value_write(trim(part(rest, offered, rest.size)), ret);
	add_text(ret, "\r\n");
}

static void attributes_write(const struct et_sdp_answer_media *m, struct et_buffer *ret)
{
	if (m->port == 0) {
		return;
	}
	if (m->rtcp_mux) {
		add_text(ret, "a=rtcp-mux\r\n");
	}
	if (m->crypto[0] != '\0') {
		et_buffer_printf(ret, "a=crypto:%s\r\n", m->crypto);
	}
	et_buffer_printf(ret, "a=%s\r\n", m->inactive ? "inactive" : "recvonly");
}

static bool is_repeated(struct et_view line)
{
	static const char *const names[] = { "a=rtpmap:", "a=fmtp:", "a=label:", "a=ptime:" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(names); i++) {
		if (begins(line, names[i])) {
			return true;
		}
	}
	return false;
}

/* As et_sdp_parse() has it: `answer` goes by its count. */
static bool is_media_line(struct et_view line)
{
	return line.size >= 2 && line.data[0] == 'm' && line.data[1] == '=';
}

static void line_copy(struct et_view line, struct et_buffer *ret)
{
	et_sip_value_write(line, ret);
	add_text(ret, "\r\n");
}

void et_sdp_answer_write(struct et_view offer, const struct et_sdp *sdp,
			 const struct et_sdp_answer *answer, struct et_buffer *ret)
{
	struct et_view timing = { (const uint8_t *)"t=0 0", 5 };
	const struct et_sdp_answer_media *media = NULL;
	uint32_t count = 0;

	for (size_t at = 0; at < offer.size; at = line_end(offer, at) + 1) {
		if (begins(part(offer, at, line_end(offer, at)), "t=")) {
			timing = trim(part(offer, at, line_end(offer, at)));
			break;
		}
	}
	const char *family = answer->ipv6 ? "IP6" : "IP4";
	et_buffer_printf(ret, "v=0\r\no=evertape %llu %llu IN %s %s\r\ns=-\r\nc=IN %s %s\r\n",
			 (unsigned long long)answer->session, (unsigned long long)answer->version,
			 family, answer->address, family, answer->address);
	line_copy(timing, ret);
	for (size_t at = 0; at < offer.size; at = line_end(offer, at) + 1) {
		struct et_view whole = part(offer, at, line_end(offer, at));
		struct et_view line = trim(whole);
		if (is_media_line(whole)) {
			if (media != NULL) {
				attributes_write(media, ret);
			}
			media = NULL;
			if (count == sdp->media_count) {
				break;
			}
			media = &answer->media[count++];
			media_write(part(line, 2, line.size), media->port, ret);
		} else if (media != NULL && media->port != 0 && is_repeated(line)) {
			line_copy(line, ret);
		}
	}
	if (media != NULL) {
		attributes_write(media, ret);
	}
}
