/* SIP messages: which call, what it says of the call's state, which addresses its SDP names.
 *
 *   live ──2xx to INVITE──▶ answered ──BYE of its last dialog──▶ ended
 *     ├──CANCEL and 487──▶ cancelled, ended
 *     └──3xx..6xx────────▶ failed, ended   (401, 407: an INVITE with credentials revives it)
 *
 * A call is found by its Call-ID: a message that is seen twice (at two hops) is one call, and so
 * are the branches of a fork (legs.c). */
#include "node/capture/engine_internal.h"

#define GRACE_US (5 * 1000000LL) /* an address that a later SDP replaced still counts */

/* ---- Endpoints ------------------------------------------------------------------------------- */

static uint64_t address_hash(const struct et_engine *e, const uint8_t address[16], uint16_t port)
{
	uint8_t key[18];
	memcpy(key, address, 16);
	et_put16(key + 16, port);
	return et_hash(e->endpoints.seed, key, sizeof(key));
}

struct et_link *et_endpoint_first(struct et_engine *e, const uint8_t address[16], uint16_t port,
				  uint64_t *ret_hash)
{
	*ret_hash = address_hash(e, address, port);
	return et_table_first(&e->endpoints, *ret_hash);
}

void et_endpoint_remove(struct et_engine *e, struct et_endpoint *ep)
{
	struct et_endpoint **p = &ep->call->endpoints;
	while (*p != ep) {
		p = &(*p)->next;
	}
	*p = ep->next;
	ep->call->endpoint_count--;
	et_table_remove(&e->endpoints, &ep->link);
	free(ep);
}

/* Calls that ended and had this address: it is another call's from now on. */
static void supersede(struct et_engine *e, const struct et_call *c, const uint8_t address[16],
		      uint16_t port)
{
	uint64_t hash = 0;
	int steps = 0;
	struct et_link *l = et_endpoint_first(e, address, port, &hash);
	for (; l != NULL && steps < ET_CHAIN_MAX; l = l->next, steps++) {
		struct et_endpoint *ep = ET_CONTAINER_OF(l, struct et_endpoint, link);
		if (l->hash == hash && ep->call != c && ep->call->ended) {
			ep->call->superseded = true;
		}
	}
}

/* The call's endpoint there, for `side`; made when there is none. NULL: no room. */
struct et_endpoint *et_endpoint_add(struct et_engine *e, struct et_call *c, uint8_t side,
				    const uint8_t address[16], uint16_t port)
{
	struct et_endpoint *oldest = NULL; /* the list is newest first */
	for (struct et_endpoint *ep = c->endpoints; ep != NULL; ep = ep->next) {
		if (ep->side == side && ep->port == port && memcmp(ep->address, address, 16) == 0) {
			ep->until_us = 0;
			return ep;
		}
		/* Never the other side's: many branches of a fork must not push out the caller. */
		if (ep->side == side &&
		    (oldest == NULL || ep->until_us != 0 || oldest->until_us == 0)) {
			oldest = ep;
		}
	}
	if (c->endpoint_count >= ET_CALL_ENDPOINTS_MAX) {
		if (oldest == NULL) {
			return NULL;
		}
		et_endpoint_remove(e, oldest);
	}
	struct et_endpoint *ep = calloc(1, sizeof(*ep));
	if (ep == NULL) {
		return NULL;
	}
	supersede(e, c, address, port);
	ep->call = c;
	ep->side = side;
	ep->port = port;
	memcpy(ep->address, address, 16);
	ep->next = c->endpoints;
	c->endpoints = ep;
	c->endpoint_count++;
	et_table_add(&e->endpoints, &ep->link, address_hash(e, address, port));
	return ep;
}

static void endpoint_describe(struct et_endpoint *ep, const struct et_sdp_media *m, uint8_t index)
{
	ep->media = index;
	ep->fax = m->kind == ET_SDP_IMAGE;
	ep->rtcp_port = m->rtcp_mux ? ep->port : m->rtcp_port;
	ep->is_srtp = m->is_srtp;
	ep->is_secure = m->is_secure || m->fingerprint.data != NULL;
	struct et_view suite = { (const uint8_t *)"SRTP", 4 };
	if (m->crypto_count > 0) {
		suite = m->crypto[0].suite;
	} else if (m->fingerprint.data != NULL) {
		suite = (struct et_view){ (const uint8_t *)"DTLS-SRTP", 9 };
	}
	et_copy_text(ep->suite, sizeof(ep->suite),
		     m->is_srtp ? suite : (struct et_view){ .data = NULL });
	ep->format_count = 0;
	for (uint32_t i = 0; i < m->format_count && i < ET_ENDPOINT_FORMATS_MAX; i++) {
		struct et_format *f = &ep->formats[ep->format_count++];
		f->payload_type = m->formats[i].payload_type;
		f->clock_hz = m->formats[i].clock_hz;
		f->channels = (uint8_t)m->formats[i].channels;
		et_copy_text(f->name, sizeof(f->name), m->formats[i].name);
	}
	ep->ssrc_count = 0;
	for (uint32_t i = 0; i < m->ssrc_count && i < ET_ENDPOINT_SSRCS_MAX; i++) {
		ep->ssrcs[ep->ssrc_count++] = m->ssrcs[i];
	}
}

static bool is_unspecified(const uint8_t address[16])
{
	static const uint8_t zero[16];
	static const uint8_t zero_ipv4[16] = { [10] = 0xFF, [11] = 0xFF };
	return memcmp(address, zero, 16) == 0 || memcmp(address, zero_ipv4, 16) == 0;
}

static struct et_endpoint *endpoint_find(const struct et_call *c, uint8_t side,
					 const uint8_t address[16], uint16_t port)
{
	for (struct et_endpoint *ep = c->endpoints; ep != NULL; ep = ep->next) {
		if (ep->side == side && ep->port == port && memcmp(ep->address, address, 16) == 0) {
			return ep;
		}
	}
	return NULL;
}

/* A description, and what it stands in. */
struct said {
	const struct et_packet *packet;
	uint64_t dialog; /* 0: of all */
	uint32_t cseq;
	uint8_t side;
	bool offer; /* in a call that goes on: it may be refused */
};

/* What this medium had before, of the same leg and told by the same hop. */
static void retire(struct et_engine *e, struct et_call *c, const struct said *said, uint32_t media)
{
	for (struct et_endpoint *ep = c->endpoints; ep != NULL; ep = ep->next) {
		if (ep->side != said->side || ep->media != media || ep->until_us != 0 ||
		    memcmp(ep->told_by, said->packet->src, 16) != 0 ||
		    (ep->dialog != 0 && said->dialog != 0 && ep->dialog != said->dialog)) {
			continue;
		}
		if (said->offer) {
			ep->offer = ET_OFFER_OLD;
			ep->offered = said->cseq;
		} else {
			ep->until_us = e->now_us + GRACE_US;
		}
	}
}

/* The addresses of one side's description are in force; those before it end. */
static void read_description(struct et_engine *e, struct et_call *c, const struct said *said)
{
	uint8_t side = said->side;
	for (uint32_t i = 0; i < e->sdp.media_count; i++) {
		const struct et_sdp_media *m = &e->sdp.media[i];
		if (c->session != NULL && side == 0) {
			et_session_describe(c, i, m);
		}
		const uint8_t *address = m->has_address ? m->address : said->packet->src;
		/* Port 0 refuses or ends it; the address 0.0.0.0 holds it (RFC 3264, 8.4). */
		if (m->port == 0 || is_unspecified(address) ||
		    (!m->is_rtp && m->kind != ET_SDP_IMAGE)) {
			continue;
		}
		bool known = endpoint_find(c, side, address, m->port) != NULL;
		retire(e, c, said, i);
		struct et_endpoint *ep = et_endpoint_add(e, c, side, address, m->port);
		if (ep != NULL) {
			endpoint_describe(ep, m, (uint8_t)i);
			memcpy(ep->told_by, said->packet->src, 16);
			ep->offer = said->offer && !known ? ET_OFFER_NEW : ET_OFFER_NONE;
			ep->offered = said->cseq;
			ep->dialog = said->dialog;
		}
		et_keys_from_description(e, c, side, m);
	}
	e->table_changed = true;
	et_stream_rematch(e, c);
}

/* An offer that moved addresses is answered. */
static void settle(struct et_engine *e, struct et_call *c, const struct et_sip *m)
{
	enum et_offer ends = m->status < 300 ? ET_OFFER_OLD : ET_OFFER_NEW;
	for (struct et_endpoint *ep = c->endpoints; ep != NULL; ep = ep->next) {
		if (ep->offer != ET_OFFER_NONE && ep->offered == m->cseq) {
			ep->until_us = ep->offer == ends ? e->now_us + GRACE_US : ep->until_us;
			ep->offer = ET_OFFER_NONE;
		}
	}
}

/* One branch of a fork answered: those of the others are not waited for. */
static void retire_others(struct et_engine *e, struct et_call *c)
{
	for (struct et_endpoint *ep = c->endpoints; ep != NULL; ep = ep->next) {
		if (ep->side == 1 && ep->dialog != 0 && ep->until_us == 0 &&
		    !et_leg_confirmed(c, ep->dialog)) {
			ep->until_us = e->now_us + GRACE_US;
		}
	}
}

/* ---- Calls ----------------------------------------------------------------------------------- */

/* A name as it is meant: a rule for "user" holds for "%75se%72" too. */
static void copy_user(char *ret, size_t size, struct et_view user)
{
	uint8_t plain[128];
	size_t n = et_sip_unescape(user, plain, sizeof(plain));
	et_copy_text(ret, size, (struct et_view){ plain, n });
}

static void read_parties(struct et_call *c, const struct et_sip *m)
{
	struct et_facts *f = &c->facts;
	copy_user(f->from, sizeof(f->from), m->from.user);
	copy_user(f->to, sizeof(f->to), m->to.user);
	et_copy_text(f->from_uri, sizeof(f->from_uri), m->from.uri);
	et_copy_text(f->to_uri, sizeof(f->to_uri), m->to.uri);
	et_leg_tag(m->from.tag, c->caller_tag);
}

/* The call whose place this one takes (RFC 3891): both are recordings of one call. */
static void join_replaced(struct et_engine *e, struct et_call *c, const struct et_sip *m)
{
	struct et_view id = m->replaces;
	struct et_view to = { .data = NULL };
	struct et_view from = { .data = NULL };
	const uint8_t *end = id.size == 0 ? NULL : memchr(id.data, ';', id.size);
	if (end == NULL || !et_sip_param(id, "to-tag", &to) ||
	    !et_sip_param(id, "from-tag", &from)) {
		return;
	}
	id.size = (size_t)(end - id.data);
	const struct et_call *other = et_call_find(e, id);
	struct et_sip tags = { .from = { .tag = from }, .to = { .tag = to } };
	struct et_view callee;
	if (other != NULL && other != c && et_leg_of(other, &tags, &callee) &&
	    (other->dialog_count == 0 || et_leg_known(other, et_leg_id(e, callee)))) {
		memcpy(c->facts.call, other->facts.call, sizeof(c->facts.call));
	}
}

/* What begins a call: an INVITE, or a good answer to one that we did not see. */
static struct et_call *begin(struct et_engine *e, const struct et_sip *m,
			     const struct et_view *message)
{
	if (m->method != ET_SIP_INVITE || (!m->is_request && m->status >= 300)) {
		return NULL;
	}
	struct et_call *c = et_call_new(e, true);
	if (c == NULL) {
		return NULL;
	}
	read_parties(c, m);
	et_call_link(e, c, m->call_id);
	et_make_id(e, c, c->facts.id);
	et_make_id(e, c, c->facts.call);
	c->invite_cseq = m->cseq;
	et_call_join(e, c, m->is_request ? message : NULL);
	join_replaced(e, c, m);
	et_call_decide(e, c, m->is_request ? message : NULL);
	return c;
}

static void end(struct et_engine *e, struct et_call *c, enum et_capture_state state)
{
	if (!c->ended) {
		c->ended = true;
		c->facts.end_us = e->packet_us;
		c->facts.state = state;
		c->dirty = true;
		e->table_changed = true;
	}
}

static void on_invite(struct et_engine *e, struct et_call *c, const struct et_sip *m)
{
	if (m->to.tag.size > 0) { /* inside of a dialog, whose beginning we may not have seen */
		struct et_view tag;
		if (et_leg_of(c, m, &tag) && c->dialog_count == 0) {
			et_leg_note(c, et_leg_id(e, tag), true);
		}
	} else if (!c->answered) {
		bool first = c->sent_count == 0 || m->cseq > c->invite_cseq;
		if (first) { /* some take another tag with their credentials */
			et_leg_tag(m->from.tag, c->caller_tag);
		}
		et_leg_sent(e, c, m, first);
	}
	if (c->ended && !c->bye && m->cseq > c->invite_cseq) { /* with credentials */
		c->ended = false;
		c->cancelled = false;
		c->facts.end_us = 0;
		c->facts.state = ET_CALL_LIVE;
	}
	if (m->cseq > c->invite_cseq) {
		c->invite_cseq = m->cseq;
	}
}

static void on_request(struct et_engine *e, struct et_call *c, const struct et_sip *m)
{
	if (m->method == ET_SIP_INVITE) {
		on_invite(e, c, m);
	} else if (m->method == ET_SIP_CANCEL) {
		c->cancelled = true;
	} else if (m->method == ET_SIP_ACK) {
		et_leg_ack(e, c, m);
	} else if (m->method == ET_SIP_BYE && et_leg_bye(e, c, m)) {
		end(e, c, ET_CALL_ANSWERED);
		c->bye = true;
	}
}

static void go_on(struct et_engine *e, struct et_call *c)
{
	c->ended = false;
	c->bye = false;
	c->facts.end_us = 0;
	c->facts.state = ET_CALL_LIVE;
	c->dirty = true;
	e->table_changed = true;
}

static void on_invite_answer(struct et_engine *e, struct et_call *c, const struct et_sip *m)
{
	struct et_view tag;
	if (m->status >= 200 && m->status < 300 && !c->answered) {
		et_leg_tag(m->from.tag, c->caller_tag); /* of several, that which was answered */
	}
	if (m->status > 100 && m->status < 300 && et_leg_of(c, m, &tag)) {
		et_leg_note(c, et_leg_id(e, tag), m->status >= 200);
	}
	if (m->status < 200) {
		return;
	}
	if (m->status < 300) {
		retire_others(e, c);
		if (!c->answered) {
			c->answered = true;
			c->ended = false;
			c->facts.end_us = 0;
			c->facts.state = ET_CALL_LIVE;
			c->facts.answer_us = e->packet_us;
			c->dirty = true;
			e->table_changed = true;
		}
	} else if (!c->answered && c->bye && m->status == 487) { /* a BYE before the answer */
		c->bye = false;
		c->facts.state = ET_CALL_CANCELLED;
	} else if (!c->answered && et_leg_failed(e, c, m)) {
		bool cancelled = c->cancelled && m->status == 487;
		end(e, c, cancelled ? ET_CALL_CANCELLED : ET_CALL_FAILED);
	}
}

static void on_answer(struct et_engine *e, struct et_call *c, const struct et_sip *m)
{
	if (m->method == ET_SIP_INVITE) {
		on_invite_answer(e, c, m);
	} else if (m->method == ET_SIP_BYE && c->bye && et_leg_bye_refused(e, c, m)) {
		go_on(e, c);
	}
	if (m->status >= 200 && (m->method == ET_SIP_INVITE || m->method == ET_SIP_UPDATE)) {
		settle(e, c, m);
	}
}

/* Who sent this message: 0 the caller, 1 the callee. */
static uint8_t sender(const struct et_call *c, const struct et_sip *m)
{
	char tag[ET_TAG_TEXT];
	et_leg_tag(m->from.tag, tag);
	bool from_caller = strcmp(tag, c->caller_tag) == 0; /* the one who made the request */
	return from_caller == m->is_request ? 0 : 1;
}

static void on_description(struct et_engine *e, struct et_call *c, const struct et_packet *p,
			   const struct et_sip *m)
{
	struct et_view text;
	bool negotiates = m->method == ET_SIP_INVITE || m->method == ET_SIP_ACK ||
			  m->method == ET_SIP_UPDATE || m->method == ET_SIP_PRACK;
	if (!negotiates || (!m->is_request && m->status >= 300) ||
	    !et_sdp_find(m->content_type, m->body, &text) || et_sdp_parse(text, &e->sdp) < 0) {
		return;
	}
	struct et_view tag = { .data = NULL };
	struct said said = {
		.packet = p,
		.dialog = et_leg_of(c, m, &tag) ? et_leg_id(e, tag) : 0,
		.cseq = m->cseq,
		.side = sender(c, m),
		.offer = m->is_request && c->answered && m->method != ET_SIP_ACK,
	};
	read_description(e, c, &said);
}

static void keep_message(struct et_engine *e, struct et_call *c, const struct et_packet *p,
			 const struct et_sip *m)
{
	if (!et_call_keeps_message(e, c, p->time_us, m->method) ||
	    et_digits_drops_message(e, c, p->time_us, m)) {
		e->sip_not_kept++;
		return;
	}
	char src[ET_CAPTURE_ADDRESS_TEXT];
	char dst[ET_CAPTURE_ADDRESS_TEXT];
	et_address_format(p->src, p->sport, src);
	et_address_format(p->dst, p->dport, dst);
	struct et_meta_item item = {
		.type = ET_META_SIP,
		.sip = {
			.time_us = p->time_us,
			.src = { (const uint8_t *)src, strlen(src) },
			.dst = { (const uint8_t *)dst, strlen(dst) },
			.text = { p->payload, p->size },
		},
	};
	et_call_meta(e, c, &item);
}

void et_dialog_message(struct et_engine *e, const struct et_packet *p, const struct et_sip *m)
{
	if (m->call_id.size == 0) {
		return;
	}
	const struct et_view message = { p->payload, p->size };
	struct et_call *c = et_call_find(e, m->call_id);
	if (c == NULL) {
		c = begin(e, m, &message);
	} else if (c->provisional && m->is_request && m->method == ET_SIP_INVITE) {
		et_call_decide_again(e, c, &message);
	}
	if (c == NULL) {
		return;
	}
	c->seen_us = e->now_us;
	et_press_message(e, c, sender(c, m), p->time_us, m);
	keep_message(e, c, p, m);
	if (m->is_request) {
		on_request(e, c, m);
	} else {
		on_answer(e, c, m);
	}
	on_description(e, c, p, m);
	if (c->answered && !c->opened && !c->ended) {
		(void)et_call_open(e, c);
	}
}
