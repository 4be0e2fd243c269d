#include <inttypes.h>
#include <stdio.h>

#include "node/capture/srs_internal.h"

/* RFC 3261, table 4. */
#define T2_US 4000000LL
#define T4_US 5000000LL

#define ALLOW "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE\r\n"
#define ACCEPT                                                                                     \
	"Accept: application/sdp, application/rs-metadata+xml, application/rs-metadata, "          \
	"multipart/mixed\r\n"
#define SUPPORTED "Supported: siprec\r\n"
#define RETRY_LATER "Retry-After: 60\r\n"
#define RETRY_SOON "Retry-After: 10\r\n"

enum { HEADERS_MAX = 1024 };

/* A request in hand. */
struct request {
	struct et_srs *s;
	const struct et_srs_peer *peer;
	const struct et_packet *packet;
	const struct et_sip *m;
	struct et_view text;
	uint64_t key[2];
	char tag[ET_SRS_TAG_SIZE];	/* for To, where it has none */
	struct et_srs_session *session; /* NULL: none */
};

/* What is to be answered. */
struct answer {
	uint16_t status;
	const char *reason;
	const char *headers;
	const char *content_type;
	struct et_view body;
	bool dialog;
};

/* What a body holds. */
struct content {
	bool has_sdp;
	struct et_view sdp;
	bool has_metadata;
	struct et_view metadata;
	bool unknown; /* something, and nothing that we know; or what must be understood */
};

/* ---- Transactions ---------------------------------------------------------------------------- */

/* The branch names it, where its sender follows RFC 3261; with who put it there, and the method. */
static void key_of(const struct request *r, enum et_sip_method method, uint64_t ret[2])
{
	struct et_view via;
	uint64_t parts[5];
	(void)et_sip_header(r->text, "Via", 0, &via);
	const uint8_t *comma = via.size > 0 ? memchr(via.data, ',', via.size) : NULL;
	via.size = comma != NULL ? (size_t)(comma - via.data) : via.size; /* the topmost */
	bool cookie = r->m->via_branch.size > 7 && memcmp(r->m->via_branch.data, "z9hG4bK", 7) == 0;
	for (int i = 0; i < 2; i++) {
		uint64_t seed = r->s->seeds[i];
		parts[0] = hash_of(seed, via);
		parts[1] = hash_of(seed, r->m->via_branch);
		/* Without it (RFC 2543) all that tells requests apart. */
		parts[2] = cookie ? 0 : hash_of(seed, r->m->call_id);
		parts[3] = cookie ? 0 : hash_of(seed, r->m->from.tag);
		parts[4] = (uint64_t)method << 32 | (cookie ? 0 : r->m->cseq);
		ret[i] = et_hash(seed, parts, sizeof(parts));
	}
}

static struct et_srs_transaction *transaction_find(struct et_srs *s, const uint64_t key[2])
{
	struct et_link *l = et_table_first(&s->by_key, key[0]);
	for (; l != NULL; l = l->next) {
		struct et_srs_transaction *t = ET_CONTAINER_OF(l, struct et_srs_transaction, link);
		if (l->hash == key[0] && t->key[1] == key[1]) {
			return t;
		}
	}
	return NULL;
}

static void transaction_free(struct et_srs *s, struct et_srs_transaction *t)
{
	*t->place = t->next;
	if (t->next != NULL) {
		t->next->place = t->place;
	}
	et_table_remove(&s->by_key, &t->link);
	s->response_bytes -= t->response.capacity;
	et_buffer_release(&t->response);
	s->transaction_count--;
	free(t);
}

static bool transaction_room(const struct et_srs *s, bool dialog)
{
	return dialog ? s->transaction_count < ET_SRS_TRANSACTIONS &&
				s->response_bytes < ET_SRS_RESPONSE_BYTES
		      : s->transaction_count < ET_SRS_REJECTIONS &&
				s->response_bytes < ET_SRS_REJECTION_BYTES;
}

/* NULL: no room; the answer goes out all the same. */
static struct et_srs_transaction *transaction_new(const struct request *r, bool dialog)
{
	struct et_srs *s = r->s;
	struct et_srs_transaction *t = transaction_room(s, dialog) ? calloc(1, sizeof(*t)) : NULL;
	if (t == NULL) {
		return NULL;
	}
	memcpy(t->key, r->key, sizeof(t->key));
	t->peer = *r->peer;
	t->invite = r->m->method == ET_SIP_INVITE;
	t->cseq = r->m->cseq;
	t->next = s->transactions;
	t->place = &s->transactions;
	if (t->next != NULL) {
		t->next->place = &t->next;
	}
	s->transactions = t;
	s->transaction_count++;
	et_table_add(&s->by_key, &t->link, r->key[0]);
	return t;
}

static void transaction_timers(struct et_srs *s, struct et_srs_transaction *t, uint16_t status)
{
	bool reliable = t->peer.serial != 0;
	t->ends_us = s->mono_us + LIFE_US;
	t->success = t->invite && status < 300;
	/* A 2xx is sent again over every transport (section 13.3.1.4), a refusal over UDP (timer
	 * G), an answer to another method only when it is asked again (timer J). */
	if (t->invite && (t->success || !reliable)) {
		t->interval_us = T1_US;
		t->resend_us = s->mono_us + T1_US;
	}
}

/* ---- Answers --------------------------------------------------------------------------------- */

static void keep_sent(const struct request *r, struct et_view message)
{
	struct et_packet p = *r->packet;
	if (r->session == NULL) {
		return;
	}
	memcpy(p.src, r->packet->dst, 16);
	memcpy(p.dst, r->packet->src, 16);
	p.sport = r->packet->dport;
	p.dport = r->packet->sport;
	p.payload = message.data;
	p.size = (uint32_t)message.size;
	et_session_sent(r->s->engine, &p);
}

/* The IP address alone: "[2001:db8::1]:0" and "192.0.2.1:0" without what is around it. */
static void received_write(const struct et_srs_peer *peer, char ret[ET_CAPTURE_ADDRESS_TEXT])
{
	char text[ET_CAPTURE_ADDRESS_TEXT];
	et_address_format(peer->address, 0, text);
	const char *start = text[0] == '[' ? text + 1 : text;
	size_t size = strcspn(start, text[0] == '[' ? "]" : ":");
	memcpy(ret, start, size);
	ret[size] = '\0';
}

static void answer(const struct request *r, const struct answer *a)
{
	struct et_srs *s = r->s;
	struct et_buffer out = { .data = NULL };
	char received[ET_CAPTURE_ADDRESS_TEXT];
	received_write(r->peer, received);
	struct et_sip_reply reply = {
		.status = a->status,
		.reason = a->reason,
		.to_tag = r->session != NULL ? r->session->local_tag : r->tag,
		.received = received,
		.rport = r->peer->port,
		.dialog = a->dialog,
		.headers = a->headers,
		.content_type = a->content_type,
		.body = a->body,
	};
	et_sip_reply_write(r->text, &reply, &out);
	if (out.failed) {
		return;
	}
	bool keeps = r->m->method == ET_SIP_INVITE || r->peer->serial == 0;
	struct et_srs_transaction *t = keeps ? transaction_new(r, a->dialog) : NULL;
	et_srs_send(s, r->peer, view_of(&out));
	keep_sent(r, view_of(&out));
	if (t == NULL) {
		et_buffer_release(&out);
		return;
	}
	t->session = a->status < 300 ? r->session : NULL;
	t->response = out;
	s->response_bytes += out.capacity;
	transaction_timers(s, t, a->status);
}

static void refuse(const struct request *r, uint16_t status, const char *reason,
		   const char *headers)
{
	if (r->m->method == ET_SIP_INVITE && r->session == NULL) {
		r->s->refused++;
	}
	answer(r, &(struct answer){ .status = status, .reason = reason, .headers = headers });
}

/* ---- Bodies ---------------------------------------------------------------------------------- */

static bool must_be_understood(struct et_view disposition)
{
	struct et_view handling;
	return et_sip_param(disposition, "handling", &handling) && et_sip_is(handling, "required");
}

static void read_content(const struct request *r, struct content *ret)
{
	struct et_sip_part parts[ET_SIP_PARTS_MAX];
	struct et_view encoding;
	uint32_t count = et_sip_parts(r->m->content_type, r->m->body, parts, ET_SIP_PARTS_MAX);
	*ret = (struct content){ .unknown = false };
	for (uint32_t i = 0; i < count; i++) {
		const struct et_sip_part *part = &parts[i];
		if (et_sip_is(part->type, "application/sdp")) {
			ret->sdp = ret->has_sdp ? ret->sdp : part->body; /* as et_sdp_find() */
			ret->has_sdp = true;
		} else if (et_sip_is(part->type, "application/rs-metadata+xml") ||
			   et_sip_is(part->type, "application/rs-metadata")) {
			ret->metadata = ret->has_metadata ? ret->metadata : part->body;
			ret->has_metadata = true;
		} else if (must_be_understood(part->disposition)) {
			ret->unknown = true;
		}
	}
	if (et_sip_header(r->text, "Content-Encoding", 0, &encoding) &&
	    !et_sip_is(encoding, "identity")) {
		ret->unknown = true;
	}
	ret->unknown = ret->unknown || (r->m->body.size > 0 && !ret->has_sdp && !ret->has_metadata);
}

/* Options that it requires and we do not know, into Unsupported (as many as fit). false: there are
 * some. */
static bool read_require(const struct request *r, char headers[HEADERS_MAX])
{
	static const char *const known[] = { "siprec", "100rel" }; /* we send no 1xx to confirm */
	struct et_buffer b = { .data = NULL };
	struct et_sip_header h;
	struct et_view one;
	size_t at = 0;
	bool good = true;
	while (et_sip_header_next(r->text, &at, &h)) {
		while (et_sip_header_is(&h, "Require") && et_sip_list_next(&h.value, &one)) {
			if (et_sip_is(one, known[0]) || et_sip_is(one, known[1])) {
				continue;
			}
			good = false;
			if (b.size + one.size < HEADERS_MAX - 32) {
				et_buffer_printf(&b, b.size > 0 ? ", " : "Unsupported: ");
				et_sip_value_write(one, &b);
			}
		}
	}
	headers[0] = '\0';
	if (b.size > 0) {
		(void)snprintf(headers, HEADERS_MAX, "%.*s\r\n", (int)b.size, (const char *)b.data);
	}
	et_buffer_release(&b);
	return good;
}

/* ---- The first INVITE ------------------------------------------------------------------------ */

static void refuse_offer(const struct request *r, int code)
{
	if (code == ET_EMALFORMED) {
		refuse(r, 400, "Bad Session Description", "");
	} else if (code == ET_EUNSUPPORTED) {
		refuse(r, 488, "Not Acceptable Here",
		       "Warning: 304 evertape \"no media line that can be received\"\r\n");
	} else {
		refuse(r, 503, "Service Unavailable", RETRY_SOON);
	}
}

static void contact_write(const struct request *r, char headers[HEADERS_MAX])
{
	static const char *const parameters[] = {
		[ET_TRANSPORT_UDP] = "",
		[ET_TRANSPORT_TCP] = ";transport=tcp",
		[ET_TRANSPORT_TLS] = ";transport=tls",
	};
	const struct et_srs_listen *l = &r->s->listens[r->peer->listen];
	char own[ET_CAPTURE_ADDRESS_TEXT];
	et_address_format(l->address, l->port, own);
	(void)snprintf(headers, HEADERS_MAX,
		       "Contact: <sip:evertape@%s%s>;+sip.srs\r\n" ALLOW SUPPORTED ACCEPT, own,
		       parameters[l->transport]);
}

static void answer_offer(const struct request *r, bool dialog)
{
	char headers[HEADERS_MAX];
	contact_write(r, headers);
	answer(r, &(struct answer){
			  .status = 200,
			  .reason = "OK",
			  .headers = headers,
			  .content_type = "application/sdp",
			  .body = view_of(&r->session->answer),
			  .dialog = dialog,
		  });
}

static void refuse_session(const struct request *r, enum et_session_result why)
{
	switch (why) {
	case ET_SESSION_RULE:
		refuse(r, 403, "Not Recorded", "");
		break;
	case ET_SESSION_TAKEN_BEFORE:
		refuse(r, 482, "Loop Detected", "");
		break;
	case ET_SESSION_DISK:
	case ET_SESSION_DRAIN:
		refuse(r, 503, "Service Unavailable", RETRY_LATER);
		break;
	case ET_SESSION_FULL:
	case ET_SESSION_TAKEN:
	default:
		refuse(r, 503, "Service Unavailable", RETRY_SOON);
		break;
	}
}

/* Its metadata; NULL: there is none that can be read, and `problem` says why, where it should. The
 * call is worth more than what is said about it: it is recorded all the same. */
static const struct et_siprec_metadata *
read_metadata(const struct content *content, struct et_siprec_metadata *room, char problem[128])
{
	struct et_error error = { .text = "" };
	problem[0] = '\0';
	if (!content->has_metadata) {
		return NULL;
	}
	if (et_siprec_parse(content->metadata, room, &error) == 0) {
		return room;
	}
	(void)snprintf(problem, 128, "SIPREC: %.80s; it is kept as received", error.text);
	return NULL;
}

/* All is there but the call itself. false: refused, and answered. */
static bool open_call(struct request *r, struct et_srs_session *x, const struct content *content)
{
	struct et_siprec_metadata room;
	char problem[128];
	const struct et_siprec_metadata *metadata = read_metadata(content, &room, problem);
	enum et_session_result result =
		et_session_begin(r->s->engine, r->packet, r->m, metadata,
				 problem[0] != '\0' ? problem : NULL, &x->slot);
	if (result != ET_SESSION_TAKEN) {
		refuse_session(r, result);
		return false;
	}
	memcpy(x->id, r->s->engine->slots[x->slot]->facts.id, 16);
	return true;
}

static void begin_session(struct request *r, const struct content *content)
{
	struct et_srs *s = r->s;
	struct et_srs_session *x = transaction_room(s, true) ? et_srs_session_new(s) : NULL;
	if (x == NULL) {
		refuse_session(r, ET_SESSION_FULL);
		return;
	}
	int rc = et_srs_session_learn(x, r->m, r->text, r->peer, r->tag)
			 ? et_srs_negotiate(s, x, content->sdp)
			 : ET_ELIMIT;
	if (rc < 0) {
		refuse_offer(r, rc);
		et_srs_session_free(s, x);
		return;
	}
	if (!open_call(r, x, content)) {
		et_srs_session_free(s, x);
		return;
	}
	x->alive = true;
	et_table_add(&s->by_call_id, &x->link, hash_of(s->seeds[2], view_of(&x->call_id)));
	et_srs_count_session(s, &x->peer, 1);
	s->total++;
	r->session = x;
	answer_offer(r, true);
}

static bool is_recording(const struct request *r, const struct content *content)
{
	struct et_view contact;
	if (content->has_metadata || et_sip_header_has(r->text, "Require", "siprec")) {
		return true;
	}
	struct et_view value;
	return et_sip_header(r->text, "Contact", 0, &contact) &&
	       et_sip_param(contact, "+sip.src", &value);
}

static void on_first_invite(struct request *r, const struct content *content)
{
	if (et_srs_session_find(r->s, r->m, true) != NULL) { /* section 8.2.2.2 */
		refuse(r, 482, "Loop Detected", "");
	} else if (!is_recording(r, content)) {
		refuse(r, 421, "Extension Required", "Require: siprec\r\n");
	} else if (!content->has_sdp) {
		refuse(r, 488, "Not Acceptable Here",
		       "Warning: 399 evertape \"a recording session needs an offer\"\r\n");
	} else {
		begin_session(r, content);
	}
}

/* ---- In a dialog ----------------------------------------------------------------------------- */

/* The route back is what its last request came by (it may have connected again). */
static void session_follow(struct et_srs *s, struct et_srs_session *x, const struct request *r)
{
	if (r->peer->serial != x->peer.serial) {
		et_srs_count_session(s, &x->peer, -1);
		et_srs_count_session(s, r->peer, 1);
	}
	x->peer = *r->peer;
	x->remote_cseq = r->m->cseq;
	if (r->m->contact.uri.size > 0 &&
	    (r->m->method == ET_SIP_INVITE || r->m->method == ET_SIP_UPDATE)) {
		et_buffer_release(&x->target);
		et_sip_value_write(r->m->contact.uri, &x->target);
	}
}

static void on_bye(struct request *r, struct et_call *c)
{
	et_dialog_message(r->s->engine, r->packet, r->m);
	struct content content;
	struct et_siprec_metadata metadata;
	read_content(r, &content);
	if (content.has_metadata && et_siprec_parse(content.metadata, &metadata, NULL) == 0) {
		et_session_metadata(r->s->engine, c, &metadata); /* who left, and when */
	}
	answer(r, &(struct answer){ .status = 200, .reason = "OK", .headers = "" });
	et_srs_session_unlink(r->s, r->session);
}

/* INVITE or UPDATE: a description, metadata, both, or neither (which refreshes). */
static void on_change(struct request *r, struct et_call *c)
{
	struct et_srs *s = r->s;
	struct content content;
	struct et_siprec_metadata metadata;
	read_content(r, &content);
	if (content.unknown) {
		refuse(r, 415, "Unsupported Media Type", ACCEPT);
		return;
	}
	bool good = content.has_metadata && et_siprec_parse(content.metadata, &metadata, NULL) == 0;
	if (content.has_metadata && !good && !content.has_sdp) {
		et_dialog_message(s->engine, r->packet, r->m); /* kept as received */
		refuse(r, 400, "Bad Recording Metadata", "");
		return;
	}
	if (content.has_sdp) {
		int rc = et_srs_negotiate(s, r->session, content.sdp);
		if (rc < 0) {
			refuse_offer(r, rc);
			return;
		}
	}
	et_dialog_message(s->engine, r->packet, r->m);
	if (good) {
		et_session_metadata(s->engine, c, &metadata);
	}
	if (content.has_sdp || r->m->method == ET_SIP_INVITE) {
		answer_offer(r, r->m->method == ET_SIP_INVITE);
	} else {
		char headers[HEADERS_MAX];
		contact_write(r, headers);
		answer(r, &(struct answer){ .status = 200, .reason = "OK", .headers = headers });
	}
}

static void on_options(const struct request *r)
{
	answer(r, &(struct answer){
			  .status = 200, .reason = "OK", .headers = ALLOW SUPPORTED ACCEPT });
}

static void in_dialog(struct request *r)
{
	struct et_srs *s = r->s;
	struct et_srs_session *x = et_srs_session_find(s, r->m, false);
	struct et_call *c = x != NULL ? et_session_call(s->engine, x->slot, x->id) : NULL;
	if (c == NULL) {
		refuse(r, 481, "Call/Transaction Does Not Exist", "");
		return;
	}
	r->session = x;
	if (r->m->cseq <= x->remote_cseq) { /* section 12.2.2 */
		refuse(r, 500, "Out of Order", "");
		return;
	}
	session_follow(s, x, r);
	if (r->m->method == ET_SIP_BYE) {
		on_bye(r, c);
	} else if (r->m->method == ET_SIP_INVITE || r->m->method == ET_SIP_UPDATE) {
		on_change(r, c);
	} else if (r->m->method == ET_SIP_OPTIONS) {
		on_options(r);
	} else {
		refuse(r, 405, "Method Not Allowed", ALLOW);
	}
}

/* ---- Requests -------------------------------------------------------------------------------- */

/* It ends the sending again of what it confirms, and is never answered. */
static void on_ack(struct request *r)
{
	struct et_srs *s = r->s;
	key_of(r, ET_SIP_INVITE, r->key);
	struct et_srs_transaction *t = transaction_find(s, r->key);
	if (t != NULL && !t->success && !t->confirmed) { /* of a refusal: the same branch */
		t->confirmed = true;
		t->resend_us = 0;
		t->ends_us = s->mono_us + T4_US;
		return;
	}
	struct et_srs_session *x = et_srs_session_find(s, r->m, false);
	for (t = s->transactions; x != NULL && t != NULL; t = t->next) {
		if (t->session == x && t->success && t->cseq == r->m->cseq && !t->confirmed) {
			t->confirmed = true;
			t->resend_us = 0;
			if (et_session_call(s->engine, x->slot, x->id) != NULL) {
				et_dialog_message(s->engine, r->packet, r->m);
			}
		}
	}
}

/* All that we answer is answered at once: it comes too late, or it means nothing we know. */
static void on_cancel(struct request *r)
{
	uint64_t invite[2];
	key_of(r, ET_SIP_INVITE, invite);
	if (transaction_find(r->s, invite) != NULL) {
		answer(r, &(struct answer){ .status = 200, .reason = "OK", .headers = "" });
	} else {
		refuse(r, 481, "Call/Transaction Does Not Exist", "");
	}
}

static void out_of_dialog(struct request *r)
{
	struct content content;
	if (r->m->method == ET_SIP_OPTIONS) {
		on_options(r);
		return;
	}
	if (r->m->method == ET_SIP_BYE || r->m->method == ET_SIP_UPDATE ||
	    r->m->method == ET_SIP_PRACK) {
		refuse(r, 481, "Call/Transaction Does Not Exist", "");
		return;
	}
	if (r->m->method != ET_SIP_INVITE) {
		bool known = r->m->method != ET_SIP_UNKNOWN;
		refuse(r, known ? 405 : 501, known ? "Method Not Allowed" : "Not Implemented",
		       ALLOW);
		return;
	}
	read_content(r, &content);
	if (content.unknown) {
		refuse(r, 415, "Unsupported Media Type", ACCEPT);
	} else {
		on_first_invite(r, &content);
	}
}

static void tag_write(struct request *r)
{
	uint64_t parts[3] = {
		r->key[0],
		hash_of(r->s->seeds[1], r->m->call_id),
		hash_of(r->s->seeds[1], r->m->from.tag),
	};
	(void)snprintf(r->tag, sizeof(r->tag), "%016" PRIx64,
		       et_hash(r->s->seeds[2], parts, sizeof(parts)));
}

static void on_request(struct request *r)
{
	char headers[HEADERS_MAX];
	key_of(r, r->m->method, r->key);
	struct et_srs_transaction *t = transaction_find(r->s, r->key);
	if (t != NULL) { /* it did not hear us */
		r->s->resent++;
		et_srs_send(r->s, r->peer, view_of(&t->response));
		return;
	}
	tag_write(r);
	if (r->m->method == ET_SIP_CANCEL) {
		on_cancel(r);
	} else if (r->m->call_id.size == 0 || r->m->from.tag.size == 0 || !r->m->has_cseq ||
		   r->m->truncated || r->m->bad_content_length) {
		refuse(r, 400, "Bad Request", "");
	} else if (!read_require(r, headers)) {
		refuse(r, 420, "Bad Extension", headers);
	} else if (r->m->to.tag.size > 0) {
		in_dialog(r);
	} else {
		out_of_dialog(r);
	}
}

void et_uas_message(struct et_srs *s, const struct et_srs_peer *peer, const struct et_packet *p,
		    const struct et_sip *m)
{
	struct request r = {
		.s = s,
		.peer = peer,
		.packet = p,
		.m = m,
		.text = { p->payload, p->size },
	};
	struct et_view via;
	if (!m->is_request) {
		et_srs_on_response(s, m);
	} else if (!et_sip_header(r.text, "Via", 0, &via)) {
		return; /* nobody can be answered */
	} else if (m->method == ET_SIP_ACK) {
		on_ack(&r);
	} else {
		on_request(&r);
	}
}

/* ---- Time ------------------------------------------------------------------------------------ */

static void sweep_transaction(struct et_srs *s, struct et_srs_transaction *t)
{
	if (s->mono_us >= t->ends_us) {
		struct et_srs_session *x = t->session;
		/* Never confirmed: the client is gone (section 13.3.1.4). */
		bool lost = t->success && !t->confirmed && x != NULL && x->alive;
		transaction_free(s, t);
		if (lost) {
			et_srs_session_bye(s, x);
		}
		return;
	}
	if (t->resend_us != 0 && s->mono_us >= t->resend_us) {
		t->interval_us = t->interval_us * 2 < T2_US ? t->interval_us * 2 : T2_US;
		t->resend_us = s->mono_us + t->interval_us;
		s->resent++;
		et_srs_send(s, &t->peer, view_of(&t->response));
	}
}

static void sweep_session(struct et_srs *s, struct et_srs_session *x)
{
	if (x->alive) {
		if (et_session_call(s->engine, x->slot, x->id) == NULL) {
			et_srs_session_bye(s, x); /* it was silent too long, or its tape refused */
		}
		return;
	}
	if (s->mono_us >= x->ends_us) {
		et_srs_session_free(s, x);
		return;
	}
	if (x->bye.size > 0 && s->mono_us >= x->bye_us) {
		x->bye_interval_us =
			x->bye_interval_us * 2 < T2_US ? x->bye_interval_us * 2 : T2_US;
		x->bye_us = s->mono_us + x->bye_interval_us;
		s->resent++;
		et_srs_send(s, &x->peer, view_of(&x->bye));
	}
}

void et_uas_sweep(struct et_srs *s)
{
	struct et_srs_transaction *next = NULL;
	for (struct et_srs_transaction *t = s->transactions; t != NULL; t = next) {
		next = t->next;
		sweep_transaction(s, t);
	}
	for (uint32_t i = 0; i < s->session_max && s->session_count > 0; i++) {
		if (s->sessions[i] != NULL) {
			sweep_session(s, s->sessions[i]);
		}
	}
}

void et_uas_leave(struct et_srs *s)
{
	for (uint32_t i = 0; i < s->session_max; i++) {
		if (s->sessions[i] != NULL && s->sessions[i]->alive) {
			et_srs_session_bye(s, s->sessions[i]);
		}
	}
}

void et_uas_release(struct et_srs *s)
{
	for (uint32_t i = 0; i < s->session_max; i++) {
		if (s->sessions[i] != NULL) {
			et_srs_session_free(s, s->sessions[i]);
		}
	}
	while (s->transactions != NULL) {
		transaction_free(s, s->transactions);
	}
}
