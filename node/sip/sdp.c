#include "node/sip/sdp.h"

#include <arpa/inet.h>

#include "node/base/err.h"
#include "node/sip/text_internal.h"

/* ---- Text ------------------------------------------------------------------------------------ */

/* Take the next word of `rest`, up to a space or one of `stops`. Empty at the end. */
static struct et_view next_word(struct et_view *rest, const char *stops)
{
	while (rest->size > 0 && (*rest->data == ' ' || *rest->data == '\t')) {
		rest->data++;
		rest->size--;
	}
	struct et_view word = { .data = rest->data, .size = 0 };
	while (rest->size > 0 && *rest->data != ' ' && *rest->data != '\t' &&
	       (*rest->data == '\0' || strchr(stops, *rest->data) == NULL)) {
		rest->data++;
		rest->size--;
		word.size++;
	}
	return word;
}

static void skip_one(struct et_view *rest, char c)
{
	if (rest->size > 0 && *rest->data == (uint8_t)c) {
		rest->data++;
		rest->size--;
	}
}

static bool to_number(struct et_view word, uint32_t max, uint32_t *ret)
{
	uint64_t value = 0;
	if (word.size == 0 || word.size > 10) {
		return false;
	}
	for (size_t i = 0; i < word.size; i++) {
		if (word.data[i] < '0' || word.data[i] > '9') {
			return false;
		}
		value = value * 10 + (uint64_t)(word.data[i] - '0');
	}
	if (value > max) {
		return false;
	}
	*ret = (uint32_t)value;
	return true;
}

static bool is_word(struct et_view word, const char *text)
{
	size_t size = strlen(text);
	return word.size == size && strncasecmp((const char *)word.data, text, size) == 0;
}

static bool contains(struct et_view text, const char *word)
{
	size_t size = strlen(word);
	for (size_t i = 0; i + size <= text.size; i++) {
		if (strncasecmp((const char *)text.data + i, word, size) == 0) {
			return true;
		}
	}
	return false;
}

static void keep_first(struct et_view *field, struct et_view value)
{
	if (field->data == NULL) {
		*field = value;
	}
}

/* ---- Lines ----------------------------------------------------------------------------------- */

/* "IN IP4 192.0.2.1/127": false when it names a host, which a listener cannot resolve. */
static bool read_address(struct et_view value, uint8_t ret[16])
{
	struct et_view rest = value;
	char text[INET6_ADDRSTRLEN + 1];
	(void)next_word(&rest, "");
	struct et_view family = next_word(&rest, "");
	struct et_view host = next_word(&rest, "/");
	if (host.size == 0 || host.size >= sizeof(text)) {
		return false;
	}
	memcpy(text, host.data, host.size);
	text[host.size] = '\0';
	if (is_word(family, "IP6")) {
		return inet_pton(AF_INET6, text, ret) == 1;
	}
	memset(ret, 0, 10);
	memset(ret + 10, 0xFF, 2);
	return inet_pton(AF_INET, text, ret + 12) == 1;
}

/* The format with this payload type; added when there is none; NULL when full. */
static struct et_sdp_format *format_of(struct et_sdp *sdp, struct et_sdp_media *m, uint32_t type)
{
	for (uint32_t i = 0; i < m->format_count; i++) {
		if (m->formats[i].payload_type == type) {
			return &m->formats[i];
		}
	}
	if (m->format_count == ET_SDP_FORMATS_MAX) {
		sdp->clipped = true;
		return NULL;
	}
	struct et_sdp_format *f = &m->formats[m->format_count++];
	*f = (struct et_sdp_format){ .payload_type = (uint8_t)type, .channels = 1 };
	return f;
}

/* "audio 49170/2 RTP/AVP 0 8 101" */
static bool read_media(struct et_sdp *sdp, struct et_view value)
{
	if (sdp->media_count == ET_SDP_MEDIA_MAX) {
		sdp->clipped = true;
		return false;
	}
	struct et_sdp_media *m = &sdp->media[sdp->media_count++];
	*m = (struct et_sdp_media){ .kind = ET_SDP_OTHER };
	struct et_view rest = value;
	struct et_view kind = next_word(&rest, "");
	if (is_word(kind, "audio")) {
		m->kind = ET_SDP_AUDIO;
	} else if (is_word(kind, "video")) {
		m->kind = ET_SDP_VIDEO;
	} else if (is_word(kind, "image")) {
		m->kind = ET_SDP_IMAGE;
	}
	uint32_t port = 0;
	if (to_number(next_word(&rest, "/"), UINT16_MAX, &port)) {
		m->port = (uint16_t)port;
	}
	if (rest.size > 0 && *rest.data == '/') {
		(void)next_word(&rest, "");
	}
	m->protocol = next_word(&rest, "");
	m->is_rtp = contains(m->protocol, "RTP/");
	m->is_secure = contains(m->protocol, "/SAVP");
	m->is_srtp = m->is_secure;
	while (rest.size > 0) {
		uint32_t type = 0;
		struct et_view word = next_word(&rest, "");
		if (m->is_rtp && to_number(word, 127, &type)) {
			(void)format_of(sdp, m, type);
		}
	}
	return true;
}

/* "96 opus/48000/2" */
static void read_rtpmap(struct et_sdp *sdp, struct et_sdp_media *m, struct et_view value)
{
	struct et_view rest = value;
	uint32_t type = 0;
	if (!to_number(next_word(&rest, ""), 127, &type)) {
		return;
	}
	struct et_sdp_format *f = format_of(sdp, m, type);
	if (f == NULL) {
		return;
	}
	f->name = next_word(&rest, "/");
	skip_one(&rest, '/');
	uint32_t number = 0;
	if (to_number(next_word(&rest, "/"), 1000000, &number)) {
		f->clock_hz = number;
	}
	skip_one(&rest, '/');
	if (to_number(next_word(&rest, "/"), 255, &number) && number > 0) {
		f->channels = number;
	}
}

/* "1 AES_CM_128_HMAC_SHA1_80 inline:…" */
static void read_crypto(struct et_sdp *sdp, struct et_sdp_media *m, struct et_view value)
{
	m->is_srtp = true;
	if (m->crypto_count == ET_SDP_CRYPTO_MAX) {
		sdp->clipped = true;
		return;
	}
	struct et_sdp_crypto *c = &m->crypto[m->crypto_count++];
	struct et_view rest = value;
	*c = (struct et_sdp_crypto){ .tag = 0 };
	(void)to_number(next_word(&rest, ""), UINT32_MAX, &c->tag);
	c->suite = next_word(&rest, "");
	c->key = next_word(&rest, "");
	c->session = rest;
}

static void read_ssrc(struct et_sdp *sdp, struct et_sdp_media *m, struct et_view value)
{
	struct et_view rest = value;
	uint32_t ssrc = 0;
	if (!to_number(next_word(&rest, ""), UINT32_MAX, &ssrc)) {
		return;
	}
	for (uint32_t i = 0; i < m->ssrc_count; i++) {
		if (m->ssrcs[i] == ssrc) {
			return;
		}
	}
	if (m->ssrc_count == ET_SDP_SSRC_MAX) {
		sdp->clipped = true;
		return;
	}
	m->ssrcs[m->ssrc_count++] = ssrc;
}

/* Attributes that a session gives to all its media. false: not one of those. */
static bool read_direction(struct et_view name, enum et_sdp_direction *ret)
{
	static const struct {
		const char *text;
		enum et_sdp_direction direction;
	} directions[] = {
		{ "sendrecv", ET_SDP_SENDRECV },
		{ "sendonly", ET_SDP_SENDONLY },
		{ "recvonly", ET_SDP_RECVONLY },
		{ "inactive", ET_SDP_INACTIVE },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(directions); i++) {
		if (is_word(name, directions[i].text)) {
			*ret = directions[i].direction;
			return true;
		}
	}
	return false;
}

static void read_attribute(struct et_sdp *sdp, struct et_sdp_media *m, struct et_view value)
{
	struct et_view rest = value;
	struct et_view name = next_word(&rest, ":");
	uint32_t number = 0;
	skip_one(&rest, ':');
	if (read_direction(name, &m->direction)) {
		return;
	}
	if (is_word(name, "rtpmap")) {
		read_rtpmap(sdp, m, rest);
	} else if (is_word(name, "crypto")) {
		read_crypto(sdp, m, rest);
	} else if (is_word(name, "ssrc")) {
		read_ssrc(sdp, m, rest);
	} else if (is_word(name, "rtcp-mux")) {
		m->rtcp_mux = true;
	} else if (is_word(name, "rtcp")) {
		if (to_number(next_word(&rest, ""), UINT16_MAX, &number)) {
			m->rtcp_port = (uint16_t)number;
		}
	} else if (is_word(name, "ptime")) {
		if (to_number(next_word(&rest, "."), 10000, &number)) {
			m->ptime_ms = number;
		}
	} else if (is_word(name, "fingerprint")) {
		keep_first(&m->fingerprint, rest);
		m->is_srtp = true;
	} else if (is_word(name, "label")) {
		keep_first(&m->label, next_word(&rest, ""));
	}
}

/* ---- The whole ------------------------------------------------------------------------------- */

/* What stands before the first m= line, and holds for all media that do not say otherwise. */
struct session {
	bool has_address;
	uint8_t address[16];
	enum et_sdp_direction direction;
	struct et_view fingerprint;
};

static void read_session_line(struct et_sdp *sdp, struct session *s, char type, struct et_view v)
{
	if (type == 'o') {
		keep_first(&sdp->origin, v);
	} else if (type == 'c') {
		s->has_address = read_address(v, s->address);
	} else if (type == 'a') {
		struct et_view rest = v;
		struct et_view name = next_word(&rest, ":");
		skip_one(&rest, ':');
		if (!read_direction(name, &s->direction) && is_word(name, "fingerprint")) {
			keep_first(&s->fingerprint, rest);
		}
	}
}

static void media_begin(struct et_sdp_media *m, const struct session *s)
{
	m->direction = s->direction;
	m->has_address = s->has_address;
	memcpy(m->address, s->address, sizeof(m->address));
	if (s->fingerprint.data != NULL) {
		m->fingerprint = s->fingerprint;
		m->is_srtp = true;
	}
}

/* The next line without its end. false: there is none. */
static bool next_line(struct et_view *rest, struct et_view *ret)
{
	if (rest->size == 0) {
		return false;
	}
	const uint8_t *lf = memchr(rest->data, '\n', rest->size);
	size_t size = lf != NULL ? (size_t)(lf - rest->data) : rest->size;
	*ret = (struct et_view){ .data = rest->data, .size = size };
	while (ret->size > 0 && ret->data[ret->size - 1] == '\r') {
		ret->size--;
	}
	size_t taken = lf != NULL ? size + 1 : size;
	rest->data += taken;
	rest->size -= taken;
	return true;
}

int et_sdp_parse(struct et_view text, struct et_sdp *ret)
{
	if (text.size < 3 || !begins(text, "v=")) {
		return ET_EMALFORMED;
	}
	struct session session = { .direction = ET_SDP_SENDRECV };
	struct et_sdp_media *media = NULL; /* the one whose lines we read */
	bool skipping = false;		   /* a media section that did not fit */
	struct et_view rest = text;
	struct et_view line;

	ret->origin = (struct et_view){ .data = NULL };
	ret->media_count = 0;
	ret->clipped = false;
	while (next_line(&rest, &line)) {
		if (line.size < 2 || line.data[1] != '=') {
			continue;
		}
		char type = (char)line.data[0];
		struct et_view value = { .data = line.data + 2, .size = line.size - 2 };
		if (type == 'm') {
			skipping = !read_media(ret, value);
			media = skipping ? NULL : &ret->media[ret->media_count - 1];
			if (media != NULL) {
				media_begin(media, &session);
			}
		} else if (media == NULL) {
			if (!skipping) {
				read_session_line(ret, &session, type, value);
			}
		} else if (type == 'c') {
			media->has_address = read_address(value, media->address);
		} else if (type == 'a') {
			read_attribute(ret, media, value);
		}
	}
	return 0;
}

bool et_sdp_find(struct et_view content_type, struct et_view body, struct et_view *ret)
{
	struct et_view b = body;
	while (b.size > 0 && (*b.data == '\r' || *b.data == '\n' || *b.data == ' ')) {
		b.data++;
		b.size--;
	}
	if (begins(b, "v=")) {
		*ret = b;
		return true;
	}
	if (!begins(content_type, "multipart/")) {
		return false;
	}
	/* The first line "v=…" after a part's empty line; the boundary's "--" ends it. */
	struct et_view line;
	const uint8_t *start = NULL;
	while (next_line(&b, &line)) {
		if (start == NULL && begins(line, "v=")) {
			start = line.data;
		} else if (start != NULL && begins(line, "--")) {
			*ret = (struct et_view){ start, (size_t)(line.data - start) };
			return true;
		}
	}
	if (start == NULL) {
		return false;
	}
	*ret = (struct et_view){ start, (size_t)(body.data + body.size - start) };
	return true;
}

/* ---- Keys ------------------------------------------------------------------------------------ */

/* Base64 with '+' and '/', padded or not (RFC 4568, section 9.2). */
static bool read_material(struct et_view text, struct et_sdp_key *ret)
{
	char url[64];
	size_t size = text.size;

	while (size > 0 && text.data[size - 1] == '=') {
		size--;
	}
	if (size == 0 || size > sizeof(url)) {
		return false;
	}
	for (size_t i = 0; i < size; i++) {
		char c = (char)text.data[i];
		url[i] = (char)(c == '+' ? '-' : c == '/' ? '_' : c);
	}
	ssize_t n = et_unbase64(url, size, ret->material, sizeof(ret->material));
	explicit_bzero(url, sizeof(url));
	ret->material_size = n > 0 ? (uint32_t)n : 0;
	return n > 0;
}

/* "1066:4": a number, and how many bytes it takes in a packet. */
static bool read_mki(struct et_view text, struct et_sdp_key *ret)
{
	struct et_view rest = text;
	uint32_t value = 0;
	uint32_t size = 0;

	if (!to_number(next_word(&rest, ":"), UINT32_MAX, &value)) {
		return false;
	}
	skip_one(&rest, ':');
	if (!to_number(rest, sizeof(ret->mki), &size) || size == 0) {
		return false;
	}
	for (uint32_t i = 0; i < size && i < sizeof(value); i++) {
		ret->mki[size - 1 - i] = (uint8_t)(value >> (8 * i));
	}
	ret->mki_size = size;
	return size >= sizeof(value) || value >> (8 * size) == 0;
}

/* "inline:KEY|2^20|1066:4": lifetime and MKI may be left out. */
static bool read_key(struct et_view text, struct et_sdp_key *ret)
{
	struct et_view rest = text;

	*ret = (struct et_sdp_key){ .mki_size = 0 };
	if (!is_word(next_word(&rest, ":"), "inline")) {
		return false;
	}
	skip_one(&rest, ':');
	if (!read_material(next_word(&rest, "|"), ret)) {
		return false;
	}
	while (rest.size > 0) {
		skip_one(&rest, '|');
		struct et_view word = next_word(&rest, "|");
		if (memchr(word.data, ':', word.size) != NULL && !read_mki(word, ret)) {
			return false;
		}
	}
	return true;
}

/* Session parameters that libraries which open SRTP do not follow. */
static bool is_plain_srtp(struct et_view session)
{
	struct et_view rest = session;

	while (rest.size > 0) {
		struct et_view word = next_word(&rest, "");
		if (is_word(word, "UNENCRYPTED_SRTP") || is_word(word, "UNAUTHENTICATED_SRTP") ||
		    (begins(word, "KDR=") && !is_word(word, "KDR=0"))) {
			return false;
		}
	}
	return true;
}

uint32_t et_sdp_crypto_keys(const struct et_sdp_crypto *crypto,
			    struct et_sdp_key ret[ET_SDP_KEYS_MAX])
{
	struct et_view rest = crypto->key;
	uint32_t count = 0;

	if (!is_plain_srtp(crypto->session)) {
		return 0;
	}
	while (rest.size > 0 && count < ET_SDP_KEYS_MAX) {
		if (read_key(next_word(&rest, ";"), &ret[count])) {
			count++;
		}
		skip_one(&rest, ';');
	}
	return count;
}
