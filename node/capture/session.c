/* Calls that a recording client sends us (SIPREC): the metadata says who is heard in which of its
 * media lines.
 *
 * The dialog of the recording session is a call like any other: its client is side 0 and the only
 * one that sends, we are side 1. Whom a stream belongs to, and so which channel of an export, comes
 * from the metadata by the labels of media lines: the participant heard in the first line is party
 * 0, all others are party 1. Where no metadata tells, lines but the first are party 1. A stream
 * keeps the party that it began with. */
#include <stdio.h>

#include "node/capture/engine_internal.h"
#include "node/io/clock.h"

enum { FACT_MAX = 1024 };

static struct et_view text_view(const char *text)
{
	return (struct et_view){ (const uint8_t *)text, strlen(text) };
}

/* ---- Parties --------------------------------------------------------------------------------- */

/* Who is heard on the first media line that anybody is known to be heard on; else the first of
 * those who take part. */
static int first_party(const struct et_session *s)
{
	for (uint32_t i = 0; i < s->media_count; i++) {
		int who = et_siprec_sender(&s->known, text_view(s->media[i].label));
		if (s->media[i].label[0] != '\0' && who >= 0) {
			return who;
		}
	}
	return s->known.participant_count > 0 ? 0 : -1;
}

static void set_parties(struct et_session *s)
{
	int first = first_party(s);
	for (uint32_t i = 0; i < s->media_count; i++) {
		int who = et_siprec_sender(&s->known, text_view(s->media[i].label));
		bool known = s->media[i].label[0] != '\0' && who >= 0;
		s->media[i].party = known ? who != first : i > 0;
	}
}

/* From and To of the recording: the participants, as soon as they are known. */
static void set_facts(struct et_call *c)
{
	struct et_session *s = c->session;
	int first = first_party(s);
	struct et_facts *f = &c->facts;
	if (first < 0 || s->has_parties || s->known.participants[first].aor[0] == '\0') {
		return;
	}
	struct et_sip_party from = et_sip_party(text_view(s->known.participants[first].aor));
	et_copy_text(f->from, sizeof(f->from), from.user);
	et_copy_text(f->from_uri, sizeof(f->from_uri), from.uri);
	f->to[0] = '\0';
	f->to_uri[0] = '\0';
	for (uint32_t i = 0; i < s->known.participant_count; i++) {
		if ((int)i != first && s->known.participants[i].aor[0] != '\0') {
			struct et_sip_party to =
				et_sip_party(text_view(s->known.participants[i].aor));
			et_copy_text(f->to, sizeof(f->to), to.user);
			et_copy_text(f->to_uri, sizeof(f->to_uri), to.uri);
			s->has_parties = true; /* both: what comes later changes nothing here */
			break;
		}
	}
	c->dirty = true;
}

uint8_t et_session_party(const struct et_call *c, uint8_t media)
{
	if (media < c->session->media_count) {
		return c->session->media[media].party;
	}
	return media == 0 || media == ET_NO_MEDIA ? 0 : 1;
}

void et_session_describe(struct et_call *c, uint32_t media, const struct et_sdp_media *m)
{
	struct et_session *s = c->session;
	if (media >= ET_SDP_MEDIA_MAX) {
		return;
	}
	while (s->media_count <= media) {
		s->media[s->media_count++].label[0] = '\0';
	}
	et_copy_text(s->media[media].label, sizeof(s->media[media].label), m->label);
	set_parties(s);
	set_facts(c);
}

/* ---- To the tape and the catalogue ----------------------------------------------------------- */

static int64_t time_of(const char *text)
{
	int64_t us = 0;
	return text[0] != '\0' && et_time_parse(text, &us) ? us : 0;
}

/* "1,3": the labels of the streams in `mask`. */
static void labels_of(const struct et_siprec_metadata *m, uint16_t mask, char *ret, size_t size)
{
	size_t used = 0;
	ret[0] = '\0';
	for (uint32_t i = 0; i < m->stream_count; i++) {
		const char *label = m->streams[i].label;
		size_t length = strlen(label);
		if ((mask >> i & 1) == 0 || length == 0 || used + length + 2 > size) {
			continue;
		}
		if (used > 0) {
			ret[used++] = ',';
		}
		memcpy(ret + used, label, length + 1);
		used += length;
	}
}

static uint8_t party_of(const struct et_session *s, uint32_t participant)
{
	return (int)participant == first_party(s) ? 0 : 1;
}

static void keep_fact(struct et_engine *e, struct et_call *c, uint8_t party, const char *key,
		      const char *value)
{
	struct et_meta_item item = {
		.type = ET_META_FACT,
		.fact = {
			.time_us = e->packet_us,
			.party = party,
			.key = text_view(key),
			.value = text_view(value),
		},
	};
	if (value[0] != '\0') {
		et_call_meta(e, c, &item);
	}
}

/* "id=… state=joined labels=1,3 joined=… left=… aor=… name=…": the name is the rest of it. */
static void keep_participant(struct et_engine *e, struct et_call *c, uint32_t i)
{
	const struct et_siprec_metadata *m = &c->session->known;
	const struct et_siprec_participant *who = &m->participants[i];
	char text[FACT_MAX];
	char sends[96];
	labels_of(m, who->sends, sends, sizeof(sends));
	(void)snprintf(text, sizeof(text),
		       "id=%s state=%s labels=%s joined=%s left=%s aor=%s name=%s", who->id,
		       who->gone ? "left" : "joined", sends, who->joined, who->left, who->aor,
		       who->name);
	keep_fact(e, c, party_of(c->session, i), "siprec-participant", text);
}

/* What the metadata changed, as events of the tape; the message itself stands there too. */
static void keep_changes(struct et_engine *e, struct et_call *c,
			 const struct et_siprec_metadata *before)
{
	const struct et_siprec_metadata *m = &c->session->known;
	const struct {
		const char *key;
		const char *old;
		const char *now;
	} texts[] = {
		{ "siprec-session", before->session, m->session },
		{ "siprec-group", before->group, m->group },
		{ "siprec-sip-session", before->sip_session, m->sip_session },
		{ "siprec-start", before->start, m->start },
		{ "siprec-stop", before->stop, m->stop },
		{ "siprec-reason", before->reason, m->reason },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		if (strcmp(texts[i].old, texts[i].now) != 0) {
			keep_fact(e, c, 255, texts[i].key, texts[i].now);
		}
	}
	for (uint32_t i = 0; i < m->participant_count; i++) {
		if (i >= before->participant_count ||
		    memcmp(&before->participants[i], &m->participants[i],
			   sizeof(m->participants[i])) != 0) {
			keep_participant(e, c, i);
		}
	}
}

static void describe(const struct et_session *s, struct et_capture_session *ret)
{
	const struct et_siprec_metadata *m = &s->known;
	_Static_assert(ET_CAPTURE_PARTICIPANTS_MAX == ET_SIPREC_PARTICIPANTS_MAX, "one bound");
	*ret = (struct et_capture_session){
		.start_us = time_of(m->start),
		.stop_us = time_of(m->stop),
		.revision = s->revision,
		.participant_count = m->participant_count,
	};
	memcpy(ret->id, m->session, sizeof(ret->id));
	memcpy(ret->group, m->group, sizeof(ret->group));
	memcpy(ret->sip_session, m->sip_session, sizeof(ret->sip_session));
	for (uint32_t i = 0; i < m->participant_count; i++) {
		const struct et_siprec_participant *from = &m->participants[i];
		struct et_capture_participant *to = &ret->participants[i];
		memcpy(to->id, from->id, sizeof(to->id));
		memcpy(to->aor, from->aor, sizeof(to->aor));
		memcpy(to->name, from->name, sizeof(to->name));
		et_copy_text(to->number, sizeof(to->number),
			     et_sip_party(text_view(from->aor)).user);
		labels_of(m, from->sends, to->labels, sizeof(to->labels));
		to->party = party_of(s, i);
		to->joined_us = time_of(from->joined);
		to->left_us = time_of(from->left);
		to->gone = from->gone;
	}
}

void et_session_tell(struct et_engine *e, struct et_call *c)
{
	struct et_capture_session description;
	if (c->session == NULL || !c->opened || c->session->told == c->session->revision ||
	    e->sink.session == NULL) {
		return;
	}
	describe(c->session, &description);
	if (e->sink.session(e->sink.arg, c->slot, &description) == 0) {
		c->session->told = c->session->revision;
		c->dirty = true;
		c->updated_us = 0; /* the next sweep tells it, with the streams */
	}			   /* else no room: the next sweep tries again */
}

/* It grows, also over a restart, of which this knows nothing: by the second. */
static void next_revision(const struct et_engine *e, struct et_session *s)
{
	uint32_t second = (uint32_t)(e->packet_us / 1000000);
	s->revision = second > s->revision ? second : s->revision + 1;
}

void et_session_metadata(struct et_engine *e, struct et_call *c,
			 const struct et_siprec_metadata *metadata)
{
	struct et_siprec_metadata before = c->session->known;
	et_siprec_merge(&c->session->known, metadata);
	next_revision(e, c->session);
	set_parties(c->session);
	set_facts(c);
	keep_changes(e, c, &before);
	et_session_tell(e, c);
}

/* ---- Life ------------------------------------------------------------------------------------ */

struct et_call *et_session_call(struct et_engine *e, uint32_t slot, const uint8_t id[16])
{
	struct et_call *c = slot < e->limits.calls ? e->slots[slot] : NULL;
	return c != NULL && memcmp(c->facts.id, id, 16) == 0 ? c : NULL;
}

/* A recording that came through a restart, whose client begins anew under the same name. */
static bool may_continue(const struct et_call *c, const struct et_sip *m)
{
	char tag[sizeof(c->caller_tag)];
	et_copy_text(tag, sizeof(tag), m->from.tag);
	return c->restored && c->session == NULL && !c->ended && strcmp(tag, c->caller_tag) == 0;
}

static void read_client(struct et_call *c, const struct et_sip *m)
{
	struct et_facts *f = &c->facts;
	et_copy_text(f->from, sizeof(f->from), m->from.user);
	et_copy_text(f->to, sizeof(f->to), m->to.user);
	et_copy_text(f->from_uri, sizeof(f->from_uri), m->from.uri);
	et_copy_text(f->to_uri, sizeof(f->to_uri), m->to.uri);
	et_copy_text(c->caller_tag, sizeof(c->caller_tag), m->from.tag);
}

static enum et_session_result why_refused(const struct et_engine *e, const struct et_call *c)
{
	if (c->decision == ET_DECISION_RULE) {
		return ET_SESSION_RULE;
	}
	bool drain = e->config.draining != NULL && *e->config.draining;
	return drain ? ET_SESSION_DRAIN : ET_SESSION_DISK;
}

/* Labels before the metadata, so that rules see participants. */
static void read_labels(struct et_engine *e, struct et_call *c, const struct et_sip *m)
{
	struct et_view text;
	if (et_sdp_find(m->content_type, m->body, &text) && et_sdp_parse(text, &e->sdp) == 0) {
		for (uint32_t i = 0; i < e->sdp.media_count; i++) {
			et_session_describe(c, i, &e->sdp.media[i]);
		}
	}
}

static enum et_session_result make(struct et_engine *e, const struct et_sip *m,
				   struct et_call **ret)
{
	struct et_call *c = et_call_find(e, m->call_id);
	bool known = c != NULL;
	if (known && !may_continue(c, m)) {
		return ET_SESSION_TAKEN_BEFORE;
	}
	if (!known) {
		c = et_call_new(e, true);
		if (c == NULL) {
			return ET_SESSION_FULL;
		}
		read_client(c, m);
		et_call_link(e, c, m->call_id);
		et_make_id(e, c, c->facts.id);
		et_make_id(e, c, c->facts.call);
		c->invite_cseq = m->cseq;
	}
	c->session = calloc(1, sizeof(*c->session));
	if (c->session == NULL) {
		if (!known) {
			et_call_close(e, c);
		}
		return ET_SESSION_FULL;
	}
	read_labels(e, c, m);
	*ret = c;
	return ET_SESSION_TAKEN;
}

enum et_session_result et_session_begin(struct et_engine *e, const struct et_packet *p,
					const struct et_sip *m,
					const struct et_siprec_metadata *metadata,
					const char *problem, uint32_t *ret_slot)
{
	const struct et_view invite = { p->payload, p->size };
	struct et_call *c = NULL;
	enum et_session_result result = make(e, m, &c);
	if (result != ET_SESSION_TAKEN) {
		return result;
	}
	if (metadata != NULL) { /* before the rules, which look at the parties */
		et_siprec_merge(&c->session->known, metadata);
		set_parties(c->session);
		set_facts(c);
	}
	if (!c->restored) {
		et_call_decide(e, c, &invite);
	}
	if (c->decision != ET_DECISION_RECORD) {
		result = why_refused(e, c);
		c->facts.state = ET_CALL_FAILED;
		et_call_close(e, c);
		return result;
	}
	if (problem != NULL) {
		(void)snprintf(c->facts.problem, sizeof(c->facts.problem), "%s", problem);
	}
	/* It will be answered with 200: what it says need not wait in memory for that. */
	(void)et_call_open(e, c);
	et_dialog_message(e, p, m);
	if (metadata != NULL) {
		const struct et_siprec_metadata nothing = { .partial = false };
		next_revision(e, c->session);
		keep_changes(e, c, &nothing);
		et_session_tell(e, c);
	}
	*ret_slot = c->slot;
	return ET_SESSION_TAKEN;
}

void et_session_sent(struct et_engine *e, const struct et_packet *p)
{
	struct et_sip m;
	if (et_sip_parse(p->payload, p->size, &m) == 0) {
		et_dialog_message(e, p, &m);
	}
}
