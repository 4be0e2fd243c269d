/* Expat reads it as it comes: no tree, no entities, no files. What a handler needs to know is the
 * path of element names that it is inside of; associations are resolved when all was read, for they
 * may stand before what they name. */
#include "node/siprec/metadata.h"

#include <errno.h>
#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum {
	LINKS_MAX = 64, /* participantstreamassoc: directions and streams */
	TEXT_MAX = 512, /* of one element; the rest is cut */
};

#define SEPARATOR '|' /* in no namespace that counts: between it and the local name */

enum element {
	EL_OTHER,
	EL_RECORDING,
	EL_DATAMODE,
	EL_GROUP,
	EL_SESSION,
	EL_SIP_SESSION,
	EL_GROUP_REF,
	EL_START,
	EL_STOP,
	EL_REASON,
	EL_PARTICIPANT,
	EL_NAME_ID,
	EL_NAME,
	EL_STREAM,
	EL_LABEL,
	EL_SESSION_ASSOC,
	EL_STREAM_ASSOC,
	EL_SEND,
	EL_RECV,
	EL_ASSOCIATE,
	EL_DISASSOCIATE,
};

static const struct {
	const char *name;
	enum element element;
} elements[] = {
	{ "recording", EL_RECORDING },
	{ "datamode", EL_DATAMODE },
	{ "group", EL_GROUP },
	{ "session", EL_SESSION },
	{ "sipSessionID", EL_SIP_SESSION },
	{ "group-ref", EL_GROUP_REF },
	{ "start-time", EL_START },
	{ "stop-time", EL_STOP },
	{ "reason", EL_REASON },
	{ "participant", EL_PARTICIPANT },
	{ "nameID", EL_NAME_ID },
	{ "name", EL_NAME },
	{ "stream", EL_STREAM },
	{ "label", EL_LABEL },
	{ "participantsessionassoc", EL_SESSION_ASSOC },
	{ "participantstreamassoc", EL_STREAM_ASSOC },
	{ "send", EL_SEND },
	{ "recv", EL_RECV },
	{ "associate-time", EL_ASSOCIATE },
	{ "disassociate-time", EL_DISASSOCIATE },
};

/* Who sends or receives what. */
struct link {
	char participant[48];
	char stream[48];
	bool sends;
};

struct parse {
	XML_Parser parser; /* borrowed */
	struct et_siprec_metadata m;
	struct et_siprec_participant assoc; /* of the association in hand: id and times */
	enum element path[ET_SIPREC_DEPTH_MAX];
	uint32_t depth;
	uint32_t elements;
	char space[128]; /* the root's namespace, with the separator; "" for none */
	char text[TEXT_MAX];
	size_t text_size;
	struct link links[LINKS_MAX];
	uint32_t link_count;
	int code; /* why it was stopped */
	const char *why;
};

/* ---- Text ------------------------------------------------------------------------------------ */

/* Without white space around it and control characters in it, cut between characters. */
static void copy_text(char *ret, size_t size, const char *text, size_t n)
{
	while (n > 0 && (unsigned char)text[0] <= ' ') {
		text++;
		n--;
	}
	while (n > 0 && (unsigned char)text[n - 1] <= ' ') {
		n--;
	}
	if (n > size - 1) {
		n = size - 1;
		while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80) {
			n--;
		}
	}
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];
		ret[i] = c < 0x20 || c == 0x7F ? ' ' : text[i];
	}
	ret[n] = '\0';
}

#define SET(field, text, n) copy_text(field, sizeof(field), text, n)

static void keep_first(char *field, size_t size, const char *text, size_t n)
{
	if (field[0] == '\0') {
		copy_text(field, size, text, n);
	}
}

#define KEEP_FIRST(field, text, n) keep_first(field, sizeof(field), text, n)

static void stop(struct parse *p, int code, const char *why)
{
	if (p->code == 0) {
		p->code = code;
		p->why = why;
		(void)XML_StopParser(p->parser, XML_FALSE);
	}
}

/* ---- What is known --------------------------------------------------------------------------- */

static struct et_siprec_participant *participant_find(struct et_siprec_metadata *m, const char *id)
{
	for (uint32_t i = 0; i < m->participant_count; i++) {
		if (strcmp(m->participants[i].id, id) == 0) {
			return &m->participants[i];
		}
	}
	return NULL;
}

/* The one with this id, made when there is none. NULL: no room. */
static struct et_siprec_participant *participant_at(struct et_siprec_metadata *m, const char *id)
{
	struct et_siprec_participant *p = participant_find(m, id);
	if (p != NULL) {
		return p;
	}
	if (m->participant_count == ET_SIPREC_PARTICIPANTS_MAX) {
		m->clipped = true;
		return NULL;
	}
	p = &m->participants[m->participant_count++];
	*p = (struct et_siprec_participant){ .gone = false };
	(void)snprintf(p->id, sizeof(p->id), "%s", id);
	return p;
}

static int stream_find(const struct et_siprec_metadata *m, const char *id)
{
	for (uint32_t i = 0; i < m->stream_count; i++) {
		if (strcmp(m->streams[i].id, id) == 0) {
			return (int)i;
		}
	}
	return -1;
}

static int stream_at(struct et_siprec_metadata *m, const char *id)
{
	int at = stream_find(m, id);
	if (at >= 0) {
		return at;
	}
	if (m->stream_count == ET_SIPREC_STREAMS_MAX) {
		m->clipped = true;
		return -1;
	}
	struct et_siprec_stream *s = &m->streams[m->stream_count];
	*s = (struct et_siprec_stream){ .label = "" };
	(void)snprintf(s->id, sizeof(s->id), "%s", id);
	return (int)m->stream_count++;
}

static void resolve(struct parse *p)
{
	for (uint32_t i = 0; i < p->link_count; i++) {
		const struct link *l = &p->links[i];
		struct et_siprec_participant *who = participant_at(&p->m, l->participant);
		int at = who != NULL ? stream_at(&p->m, l->stream) : -1;
		if (at >= 0) {
			uint16_t *mask = l->sends ? &who->sends : &who->receives;
			*mask = (uint16_t)(*mask | 1U << at);
		}
	}
}

/* ---- Handlers -------------------------------------------------------------------------------- */

static const char *attribute(const XML_Char **attributes, const char *name)
{
	for (size_t i = 0; attributes[i] != NULL; i += 2) {
		if (strcasecmp(attributes[i], name) == 0) {
			return attributes[i + 1];
		}
	}
	return NULL;
}

/* The attribute, or what the drafts called it. */
static void read_id(const XML_Char **attributes, const char *name, const char *draft, char ret[48])
{
	const char *value = attribute(attributes, name);
	if (value == NULL) {
		value = attribute(attributes, draft);
	}
	copy_text(ret, 48, value != NULL ? value : "", value != NULL ? strlen(value) : 0);
}

static enum element element_of(const struct parse *p, const char *name)
{
	size_t space = strlen(p->space);
	if (strncmp(name, p->space, space) != 0 || strchr(name + space, SEPARATOR) != NULL) {
		return EL_OTHER; /* of another namespace */
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(elements); i++) {
		if (strcasecmp(name + space, elements[i].name) == 0) {
			return elements[i].element;
		}
	}
	return EL_OTHER;
}

static void read_root(struct parse *p, const char *name)
{
	const char *local = strrchr(name, SEPARATOR);
	size_t space = local != NULL ? (size_t)(local + 1 - name) : 0;
	if (space >= sizeof(p->space)) {
		stop(p, ET_EMALFORMED, "its namespace is too long");
		return;
	}
	memcpy(p->space, name, space);
	p->space[space] = '\0';
	if (element_of(p, name) != EL_RECORDING) {
		stop(p, ET_EMALFORMED, "its root is not <recording>");
	}
}

static void begin_element(struct parse *p, enum element el, const XML_Char **attributes)
{
	char id[48];
	switch ((int)el) {
	case EL_GROUP:
		read_id(attributes, "group_id", "id", id);
		KEEP_FIRST(p->m.group, id, strlen(id));
		break;
	case EL_SESSION:
		read_id(attributes, "session_id", "id", id);
		KEEP_FIRST(p->m.session, id, strlen(id));
		break;
	case EL_STREAM:
		read_id(attributes, "stream_id", "id", id);
		(void)snprintf(p->assoc.id, sizeof(p->assoc.id), "%s", id);
		(void)stream_at(&p->m, id);
		break;
	case EL_PARTICIPANT:
	case EL_SESSION_ASSOC:
	case EL_STREAM_ASSOC:
		p->assoc = (struct et_siprec_participant){ .gone = false };
		read_id(attributes, "participant_id", el == EL_PARTICIPANT ? "id" : "participant",
			p->assoc.id);
		(void)participant_at(&p->m, p->assoc.id);
		break;
	case EL_NAME_ID:
		if (p->depth >= 2 && p->path[p->depth - 2] == EL_PARTICIPANT) {
			struct et_siprec_participant *who = participant_find(&p->m, p->assoc.id);
			const char *aor = attribute(attributes, "aor");
			if (who != NULL && aor != NULL) {
				KEEP_FIRST(who->aor, aor, strlen(aor));
			}
		}
		break;
	default:
		break;
	}
}

static void XMLCALL on_begin(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct parse *p = arg;
	if (p->code != 0) {
		return;
	}
	if (p->depth == ET_SIPREC_DEPTH_MAX || ++p->elements > ET_SIPREC_ELEMENTS_MAX) {
		stop(p, ET_ELIMIT, "too many elements, or too deep");
		return;
	}
	if (p->depth == 0) {
		read_root(p, name);
	}
	enum element el = element_of(p, name);
	p->path[p->depth++] = el;
	p->text_size = 0;
	begin_element(p, el, attributes);
}

static void XMLCALL on_text(void *arg, const XML_Char *text, int size)
{
	struct parse *p = arg;
	size_t n = (size_t)size;
	size_t room = sizeof(p->text) - p->text_size;
	if (p->code != 0) {
		return;
	}
	n = n < room ? n : room;
	memcpy(p->text + p->text_size, text, n);
	p->text_size += n;
}

static void add_link(struct parse *p, bool sends)
{
	if (p->link_count == LINKS_MAX) {
		p->m.clipped = true;
		return;
	}
	struct link *l = &p->links[p->link_count++];
	l->sends = sends;
	(void)snprintf(l->participant, sizeof(l->participant), "%s", p->assoc.id);
	SET(l->stream, p->text, p->text_size);
}

/* Of a participant in the session. */
static void read_time(struct parse *p, bool joins)
{
	struct et_siprec_participant *who = participant_find(&p->m, p->assoc.id);
	if (who == NULL) {
		return;
	}
	if (joins) {
		KEEP_FIRST(who->joined, p->text, p->text_size);
	} else {
		SET(who->left, p->text, p->text_size);
		who->gone = true;
	}
}

static void read_session(struct parse *p, enum element el)
{
	switch ((int)el) {
	case EL_SIP_SESSION:
		KEEP_FIRST(p->m.sip_session, p->text, p->text_size);
		break;
	case EL_GROUP_REF:
		KEEP_FIRST(p->m.group, p->text, p->text_size);
		break;
	case EL_START:
		KEEP_FIRST(p->m.start, p->text, p->text_size);
		break;
	case EL_STOP:
		KEEP_FIRST(p->m.stop, p->text, p->text_size);
		break;
	case EL_REASON:
		KEEP_FIRST(p->m.reason, p->text, p->text_size);
		break;
	default:
		break;
	}
}

static void read_name(struct parse *p)
{
	struct et_siprec_participant *who = participant_find(&p->m, p->assoc.id);
	if (who != NULL) {
		KEEP_FIRST(who->name, p->text, p->text_size);
	}
}

/* An element whose parent is `in` ends. */
static void end_element(struct parse *p, enum element in, enum element el)
{
	if (el == EL_DATAMODE && in == EL_RECORDING) {
		char mode[16];
		SET(mode, p->text, p->text_size);
		p->m.partial = strcasecmp(mode, "partial") == 0;
	} else if (in == EL_SESSION) {
		read_session(p, el);
	} else if (el == EL_NAME && in == EL_NAME_ID) {
		if (p->depth >= 3 && p->path[p->depth - 3] == EL_PARTICIPANT) {
			read_name(p);
		}
	} else if (el == EL_LABEL && in == EL_STREAM) {
		int at = stream_find(&p->m, p->assoc.id);
		if (at >= 0) {
			SET(p->m.streams[at].label, p->text, p->text_size);
		}
	} else if ((el == EL_SEND || el == EL_RECV) &&
		   (in == EL_STREAM_ASSOC || in == EL_PARTICIPANT)) {
		add_link(p, el == EL_SEND);
	} else if ((el == EL_ASSOCIATE || el == EL_DISASSOCIATE) && in == EL_SESSION_ASSOC) {
		read_time(p, el == EL_ASSOCIATE);
	}
}

static void XMLCALL on_end(void *arg, const XML_Char *name)
{
	struct parse *p = arg;
	(void)name;
	if (p->code != 0 || p->depth == 0) {
		return;
	}
	enum element el = p->path[p->depth - 1];
	if (p->depth >= 2) {
		end_element(p, p->path[p->depth - 2], el);
	}
	p->depth--;
	p->text_size = 0;
}

/* Entities, and files elsewhere, can only come from here. */
static void XMLCALL on_doctype(void *arg, const XML_Char *name, const XML_Char *system,
			       const XML_Char *public, int internal)
{
	(void)name;
	(void)system;
	(void)public;
	(void)internal;
	stop(arg, ET_EMALFORMED, "a document type is not allowed");
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int run(struct parse *p, struct et_view xml, struct et_error *reterr)
{
	XML_SetUserData(p->parser, p);
	XML_SetElementHandler(p->parser, on_begin, on_end);
	XML_SetCharacterDataHandler(p->parser, on_text);
	XML_SetStartDoctypeDeclHandler(p->parser, on_doctype);
	enum XML_Status status =
		XML_Parse(p->parser, (const char *)xml.data, (int)xml.size, XML_TRUE);
	if (p->code != 0) {
		return et_fail_plain(reterr, p->code, "recording metadata: %s", p->why);
	}
	if (status != XML_STATUS_OK) {
		enum XML_Error code = XML_GetErrorCode(p->parser);
		return et_fail_plain(reterr, code == XML_ERROR_NO_MEMORY ? -ENOMEM : ET_EMALFORMED,
				     "recording metadata: line %lu: %s",
				     XML_GetCurrentLineNumber(p->parser), XML_ErrorString(code));
	}
	return 0;
}

/* A quoted text that ends within `max` bytes; at most so far from *p it begins, too. *p moves
 * behind it. */
static bool skip_quoted(const uint8_t **p, const uint8_t *end, size_t max)
{
	const uint8_t *stop = (size_t)(end - *p) < max ? end : *p + max;
	const uint8_t *quote = *p;
	while (quote < stop && *quote != '"' && *quote != '\'') {
		quote++;
	}
	if (quote == stop) {
		return false;
	}
	size_t left = (size_t)(end - quote - 1);
	const uint8_t *close = memchr(quote + 1, *quote, left < max + 1 ? left : max + 1);
	*p = close != NULL ? close + 1 : end;
	return close != NULL;
}

/* Expat writes a namespace's name before each attribute that has its prefix: the 64 KiB of a
 * message could become hundreds of megabytes, and a third of a second. It says so only when it has
 * done it: hence this look at the text before, which sees declarations whatever they stand in. */
static bool has_long_namespace(struct et_view xml)
{
	static const char word[] = "xmlns";
	const uint8_t *p = xml.data;
	const uint8_t *end = xml.data + xml.size;
	while ((p = memmem(p, (size_t)(end - p), word, sizeof(word) - 1)) != NULL) {
		p += sizeof(word) - 1;
		if (!skip_quoted(&p, end, ET_SIPREC_NAMESPACE_MAX)) {
			return true;
		}
	}
	return false;
}

int et_siprec_parse(struct et_view xml, struct et_siprec_metadata *ret, struct et_error *reterr)
{
	if (xml.size > ET_SIPREC_XML_MAX) {
		return et_fail_plain(reterr, ET_ELIMIT,
				     "recording metadata: %zu bytes, more than %d", xml.size,
				     ET_SIPREC_XML_MAX);
	}
	if (xml.size == 0) {
		return et_fail_plain(reterr, ET_EMALFORMED, "recording metadata: it is empty");
	}
	if (memchr(xml.data, '\0', xml.size) != NULL) {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "recording metadata: it has a NUL byte (UTF-16 is not read)");
	}
	if (has_long_namespace(xml)) {
		return et_fail_plain(reterr, ET_ELIMIT,
				     "recording metadata: a namespace of more than %d bytes",
				     ET_SIPREC_NAMESPACE_MAX);
	}
	struct parse *p = calloc(1, sizeof(*p));
	XML_Parser parser = XML_ParserCreateNS(NULL, SEPARATOR);
	int rc = -ENOMEM;
	if (p != NULL && parser != NULL) {
		p->parser = parser;
		rc = run(p, xml, reterr);
		if (rc == 0) {
			resolve(p);
			*ret = p->m;
		}
	} else {
		(void)et_fail(reterr, -ENOMEM, "recording metadata");
	}
	if (parser != NULL) {
		XML_ParserFree(parser);
	}
	free(p);
	return rc;
}

static void take(char *field, size_t size, const char *value)
{
	if (value[0] != '\0') {
		(void)snprintf(field, size, "%s", value);
	}
}

#define TAKE(field, value) take(field, sizeof(field), value)

/* A mask over the streams of `update`, over those of `into`. */
static uint16_t remap(struct et_siprec_metadata *into, const struct et_siprec_metadata *update,
		      uint16_t mask)
{
	unsigned ret = 0;
	for (uint32_t i = 0; i < update->stream_count; i++) {
		int at = (mask >> i & 1) != 0 ? stream_find(into, update->streams[i].id) : -1;
		ret |= at >= 0 ? 1U << at : 0;
	}
	return (uint16_t)ret;
}

static void merge_participant(struct et_siprec_metadata *into,
			      const struct et_siprec_metadata *update,
			      const struct et_siprec_participant *from)
{
	struct et_siprec_participant *to = participant_at(into, from->id);
	if (to == NULL) {
		return;
	}
	TAKE(to->aor, from->aor);
	TAKE(to->name, from->name);
	TAKE(to->joined, from->joined);
	memcpy(to->left, from->left, sizeof(to->left));
	to->gone = from->gone;
	if (!update->partial || from->sends != 0 || from->receives != 0) {
		to->sends = remap(into, update, from->sends);
		to->receives = remap(into, update, from->receives);
	}
}

void et_siprec_merge(struct et_siprec_metadata *into, const struct et_siprec_metadata *update)
{
	into->partial = update->partial;
	into->clipped = into->clipped || update->clipped;
	TAKE(into->session, update->session);
	TAKE(into->sip_session, update->sip_session);
	TAKE(into->group, update->group);
	TAKE(into->start, update->start);
	TAKE(into->stop, update->stop);
	TAKE(into->reason, update->reason);
	for (uint32_t i = 0; i < update->stream_count; i++) {
		int at = stream_at(into, update->streams[i].id);
		if (at >= 0) {
			TAKE(into->streams[at].label, update->streams[i].label);
		}
	}
	for (uint32_t i = 0; i < into->participant_count && !update->partial; i++) {
		into->participants[i].gone = true;
		into->participants[i].sends = 0;
		into->participants[i].receives = 0;
	}
	for (uint32_t i = 0; i < update->participant_count; i++) {
		merge_participant(into, update, &update->participants[i]);
	}
}

int et_siprec_sender(const struct et_siprec_metadata *m, struct et_view label)
{
	for (uint32_t i = 0; i < m->participant_count; i++) {
		for (uint32_t k = 0; k < m->stream_count; k++) {
			if ((m->participants[i].sends >> k & 1) != 0 &&
			    strlen(m->streams[k].label) == label.size &&
			    memcmp(m->streams[k].label, label.data, label.size) == 0) {
				return (int)i;
			}
		}
	}
	return -1;
}
