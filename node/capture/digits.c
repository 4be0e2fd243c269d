/* Digits that a rule drops: key presses as telephone events (RFC 4733) or in SIP (INFO, KPML).
 *
 * By the payload type, which protection does not hide: it needs no key. What SDP calls
 * telephone-event goes nowhere, and is counted; of SIP, INFO with a body and NOTIFY of KPML
 * (RFC 4730) are not kept. The tape says that something was dropped, once for each key press, not
 * what. Tones inside of the audio are audio. Without a description nothing says which payload type
 * is an event: calls without signalling keep all. */
#include <strings.h>

#include "node/capture/engine_internal.h"

/* The format that the call's descriptions give `type` for who receives at `side`; NULL: none. */
static const struct et_format *format_of(const struct et_call *c, uint8_t side, uint8_t type)
{
	for (const struct et_endpoint *ep = c->endpoints; ep != NULL; ep = ep->next) {
		for (uint32_t i = 0; ep->side == side && i < ep->format_count; i++) {
			if (ep->formats[i].payload_type == type) {
				return &ep->formats[i];
			}
		}
	}
	return NULL;
}

/* Who receives says what a type means; some only say what they send. */
bool et_digits_is_event(const struct et_stream *s, uint8_t type)
{
	const struct et_format *f = NULL;
	if (s->has_codec && type == s->payload_type) {
		return false; /* its audio: nearly all packets end here */
	}
	f = format_of(s->call, s->party == 0 ? 1 : 0, type);
	if (f == NULL) {
		f = format_of(s->call, s->party, type);
	}
	return f != NULL && strcasecmp(f->name, "telephone-event") == 0;
}

static void mark(struct et_engine *e, struct et_call *c, int64_t at_us, const char *cause)
{
	struct et_meta_item item = {
		.type = ET_META_MARK,
		.mark = {
			.what = ET_MARK_DROPPED,
			.from_us = at_us,
			.cause = { (const uint8_t *)cause, strlen(cause) },
		},
	};
	et_call_meta(e, c, &item);
}

bool et_digits_drops(struct et_engine *e, struct et_stream *s, const struct et_rtp *rtp,
		     const struct et_packet *p)
{
	struct et_call *c = s->call;
	if (!c->drop_digits || !et_digits_is_event(s, rtp->payload_type)) {
		return false;
	}
	/* All packets of one key press have its timestamp (RFC 4733, section 2.5.1.2). */
	if (!s->has_digit || s->digit_timestamp != rtp->timestamp) {
		s->has_digit = true;
		s->digit_timestamp = rtp->timestamp;
		mark(e, c, p->time_us, ET_MARK_DIGIT_EVENT);
	}
	return true;
}

bool et_digits_drops_message(struct et_engine *e, struct et_call *c, int64_t time_us,
			     const struct et_sip *m)
{
	static const char kpml[] = "application/kpml-response+xml";
	size_t size = m->content_type.size;
	bool is_kpml = m->method == ET_SIP_NOTIFY && size >= sizeof(kpml) - 1 &&
		       strncasecmp((const char *)m->content_type.data, kpml, sizeof(kpml) - 1) == 0;
	bool is_info = m->method == ET_SIP_INFO && m->body.size > 0;
	if (!c->drop_digits || !m->is_request || (!is_info && !is_kpml)) {
		return false;
	}
	if (c->digit_cseq != m->cseq) { /* sent again, or seen at another hop: the same */
		c->digit_cseq = m->cseq;
		mark(e, c, time_us, is_info ? "digit: SIP INFO" : "digit: KPML");
	}
	return true;
}
