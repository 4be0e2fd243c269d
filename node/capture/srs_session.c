/* Sessions of the recording server: dialogs (RFC 3261, section 12), and their end by us. */
#include <inttypes.h>
#include <stdio.h>

#include "node/capture/srs_internal.h"
#include "node/io/clock.h"

#define LINGER_US 2000000LL /* media ports after a BYE: what is on its way */

enum { ROUTES_MAX = 8192 };

void et_srs_session_unlink(struct et_srs *s, struct et_srs_session *x)
{
	if (x->alive) {
		x->alive = false;
		et_table_remove(&s->by_call_id, &x->link);
		et_srs_count_session(s, &x->peer, -1);
		x->ends_us = s->mono_us + LINGER_US;
	}
}

void et_srs_session_free(struct et_srs *s, struct et_srs_session *x)
{
	et_srs_session_unlink(s, x);
	for (struct et_srs_transaction *t = s->transactions; t != NULL; t = t->next) {
		if (t->session == x) {
			t->session = NULL;
		}
	}
	for (uint32_t i = 0; i < ET_SDP_MEDIA_MAX; i++) {
		et_srs_media_close(s, &x->media[i]);
		explicit_bzero(x->media[i].key, sizeof(x->media[i].key));
	}
	et_buffer_release(&x->call_id);
	et_buffer_release(&x->remote);
	et_buffer_release(&x->local);
	et_buffer_release(&x->target);
	et_buffer_release(&x->routes);
	if (x->answer.data != NULL) {
		explicit_bzero(x->answer.data, x->answer.size); /* it has keys of SRTP */
	}
	et_buffer_release(&x->answer);
	et_buffer_release(&x->bye);
	s->sessions[x->index] = NULL;
	s->session_count--;
	free(x);
}

struct et_srs_session *et_srs_session_new(struct et_srs *s)
{
	for (uint32_t i = 0; i < s->session_max; i++) {
		if (s->sessions[i] != NULL) {
			continue;
		}
		struct et_srs_session *x = calloc(1, sizeof(*x));
		if (x == NULL) {
			return NULL;
		}
		x->index = i;
		for (uint32_t k = 0; k < ET_SDP_MEDIA_MAX; k++) {
			x->media[k].rtp = -1;
			x->media[k].rtcp = -1;
		}
		s->sessions[i] = x;
		s->session_count++;
		return x;
	}
	return NULL;
}

struct et_srs_session *et_srs_session_find(struct et_srs *s, const struct et_sip *m, bool any_tag)
{
	uint64_t hash = hash_of(s->seeds[2], m->call_id);
	for (struct et_link *l = et_table_first(&s->by_call_id, hash); l != NULL; l = l->next) {
		struct et_srs_session *x = ET_CONTAINER_OF(l, struct et_srs_session, link);
		const struct et_sip_party *ours = m->is_request ? &m->to : &m->from;
		const struct et_sip_party *theirs = m->is_request ? &m->from : &m->to;
		struct et_view local = { (const uint8_t *)x->local_tag, strlen(x->local_tag) };
		struct et_view remote = { (const uint8_t *)x->remote_tag, strlen(x->remote_tag) };
		if (l->hash != hash || !view_is(&x->call_id, m->call_id)) {
			continue;
		}
		if (any_tag || (ours->tag.size == local.size &&
				memcmp(ours->tag.data, local.data, local.size) == 0 &&
				theirs->tag.size == remote.size &&
				memcmp(theirs->tag.data, remote.data, remote.size) == 0)) {
			return x;
		}
	}
	return NULL;
}

bool et_srs_session_learn(struct et_srs_session *x, const struct et_sip *m, struct et_view text,
			  const struct et_srs_peer *peer, const char tag[ET_SRS_TAG_SIZE])
{
	struct et_view value;
	struct et_sip_header h;
	size_t at = 0;
	et_buffer_add(&x->call_id, m->call_id.data, m->call_id.size);
	if (et_sip_header(text, "From", 0, &value)) {
		et_sip_value_write(value, &x->remote);
	}
	if (et_sip_header(text, "To", 0, &value)) {
		et_sip_value_write(value, &x->local);
	}
	et_sip_value_write(m->contact.uri.size > 0 ? m->contact.uri : m->from.uri, &x->target);
	while (et_sip_header_next(text, &at, &h)) {
		if (et_sip_header_is(&h, "Record-Route") && x->routes.size < ROUTES_MAX) {
			et_buffer_add(&x->routes, "Route: ", 7);
			et_sip_value_write(h.value, &x->routes);
			et_buffer_add(&x->routes, "\r\n", 2);
		}
	}
	et_copy_text(x->remote_tag, sizeof(x->remote_tag), m->from.tag);
	memcpy(x->local_tag, tag, sizeof(x->local_tag));
	x->remote_cseq = m->cseq;
	x->peer = *peer;
	et_random(&x->sdp_id, sizeof(x->sdp_id));
	x->sdp_id >>= 2; /* fits in what readers call a number */
	x->sdp_version = 1;
	size_t kept =
		x->call_id.size + x->remote.size + x->local.size + x->target.size + x->routes.size;
	return kept <= ET_SRS_SESSION_TEXT && !x->call_id.failed && !x->remote.failed &&
	       !x->local.failed && !x->target.failed && !x->routes.failed &&
	       m->from.tag.size < sizeof(x->remote_tag);
}

/* ---- BYE from us ----------------------------------------------------------------------------- */

static const char *transport_text(enum et_capture_transport t)
{
	static const char *const texts[] = {
		[ET_TRANSPORT_UDP] = "UDP",
		[ET_TRANSPORT_TCP] = "TCP",
		[ET_TRANSPORT_TLS] = "TLS",
	};
	return texts[t];
}

static void bye_write(struct et_srs *s, struct et_srs_session *x)
{
	const struct et_srs_listen *l = &s->listens[x->peer.listen];
	char own[ET_CAPTURE_ADDRESS_TEXT];
	uint64_t number = 0;
	struct et_buffer *b = &x->bye;

	et_address_format(l->address, l->port, own);
	et_random(&number, sizeof(number));
	(void)snprintf(x->bye_branch, sizeof(x->bye_branch), "z9hG4bK%016" PRIx64, number);
	et_buffer_printf(b, "BYE ");
	et_buffer_add(b, x->target.data, x->target.size);
	et_buffer_printf(b,
			 " SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=%s;rport\r\nMax-Forwards: 70\r\n",
			 transport_text(l->transport), own, x->bye_branch);
	et_buffer_add(b, x->routes.data, x->routes.size);
	et_buffer_printf(b, "From: ");
	et_buffer_add(b, x->local.data, x->local.size);
	et_buffer_printf(b, ";tag=%s\r\nTo: ", x->local_tag);
	et_buffer_add(b, x->remote.data, x->remote.size);
	et_buffer_printf(b, "\r\nCall-ID: ");
	et_buffer_add(b, x->call_id.data, x->call_id.size);
	et_buffer_printf(b, "\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n");
}

void et_srs_session_bye(struct et_srs *s, struct et_srs_session *x)
{
	const struct et_srs_listen *l = &s->listens[x->peer.listen];
	struct et_packet p = { .time_us = et_clock_now_us() };

	bye_write(s, x);
	et_srs_session_unlink(s, x);
	if (x->bye.failed) {
		et_buffer_release(&x->bye);
		return;
	}
	memcpy(p.src, l->address, 16);
	memcpy(p.dst, x->peer.address, 16);
	p.sport = l->port;
	p.dport = x->peer.port;
	p.payload = x->bye.data;
	p.size = (uint32_t)x->bye.size;
	et_srs_send(s, &x->peer, view_of(&x->bye));
	if (et_session_call(s->engine, x->slot, x->id) != NULL) {
		et_session_sent(s->engine, &p);
	}
	x->ends_us = s->mono_us + LIFE_US;
	x->bye_interval_us = T1_US;
	x->bye_us = x->peer.serial == 0 ? s->mono_us + T1_US : INT64_MAX;
}

void et_srs_on_response(struct et_srs *s, const struct et_sip *m)
{
	for (uint32_t i = 0; i < s->session_max && s->session_count > 0; i++) {
		struct et_srs_session *x = s->sessions[i];
		if (x != NULL && x->bye.size > 0 && m->status >= 200 &&
		    m->via_branch.size == strlen(x->bye_branch) &&
		    memcmp(m->via_branch.data, x->bye_branch, m->via_branch.size) == 0) {
			et_buffer_release(&x->bye);
			x->ends_us = s->mono_us + LINGER_US;
		}
	}
}
