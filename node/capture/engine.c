#include "node/capture/engine_internal.h"

#include "node/io/clock.h"

enum {
	STREAMS_DEFAULT = 32768,
	CANDIDATES_DEFAULT = 1024,
	CANDIDATE_PACKETS_DEFAULT = 128,
	FRAGMENTS_DEFAULT = 256,
	TCP_CONNECTIONS_DEFAULT = 4096,
	TCP_MESSAGE_DEFAULT = 65536,
	TCP_MESSAGE_MIN = 1024,
	TURN_DEFAULT = 4096,
	SIP_PORT_DEFAULT = 5060,
	SIP_SIZE_MIN = 12,	 /* a start line is longer */
	WELL_KNOWN_PORTS = 1024, /* RTP without signalling is not looked for below */
	SWEEP_AHEAD = 4,	 /* calls whose lines are fetched before their turn */
};

#define SWEEP_US 250000

static void set32(uint32_t *field, uint32_t fallback)
{
	*field = *field != 0 ? *field : fallback;
}

static void set_limits(struct et_capture_limits *l)
{
	set32(&l->calls, ET_CALLS_DEFAULT);
	set32(&l->streams, STREAMS_DEFAULT);
	set32(&l->streams_per_call, ET_CAPTURE_STREAMS_MAX);
	set32(&l->candidates, CANDIDATES_DEFAULT);
	set32(&l->candidate_packets, CANDIDATE_PACKETS_DEFAULT);
	set32(&l->fragments, FRAGMENTS_DEFAULT);
	set32(&l->tcp_connections, TCP_CONNECTIONS_DEFAULT);
	set32(&l->turn_allocations, TURN_DEFAULT);
	set32(&l->tcp_message_bytes, TCP_MESSAGE_DEFAULT);
	set32(&l->media_timeout_s, 14400);
	set32(&l->media_only_timeout_s, 30);
	set32(&l->setup_timeout_s, 240);
	if (l->candidate_bytes == 0) {
		l->candidate_bytes = (size_t)16 * 1024 * 1024;
	}
	if (l->tcp_bytes == 0) {
		l->tcp_bytes = (size_t)32 * 1024 * 1024;
	}
	if (l->tcp_message_bytes < TCP_MESSAGE_MIN) {
		l->tcp_message_bytes = TCP_MESSAGE_MIN;
	}
	if (l->streams_per_call > ET_CAPTURE_STREAMS_MAX) {
		l->streams_per_call = ET_CAPTURE_STREAMS_MAX;
	}
}

static void set_port(struct et_engine *e, uint16_t port)
{
	e->sip_ports[port / 64] |= 1ULL << (port % 64);
}

static bool is_sip_port(const struct et_engine *e, uint16_t port)
{
	return (e->sip_ports[port / 64] >> (port % 64) & 1) != 0;
}

static void set_rules(struct et_engine *e, const struct et_capture_config *config)
{
	const char *site = config->site != NULL ? config->site : "";
	if (config->rules != NULL) {
		e->rules = *config->rules;
	} else {
		e->rules.otherwise = ET_RULE_RECORD;
	}
	e->has_sample = et_rules_have_sample(&e->rules);
	et_tones_init(e);
	et_copy_text(e->site, sizeof(e->site),
		     (struct et_view){ (const uint8_t *)site, strlen(site) });
}

static bool engine_allocate(struct et_engine *e, uint64_t seed)
{
	const struct et_capture_limits *l = &e->limits;
	et_pool_init(&e->call_pool, sizeof(struct et_call));
	et_pool_init(&e->stream_pool, sizeof(struct et_stream));
	e->defrag = et_defrag_new(l->fragments, seed ^ 1);
	e->tcp = et_tcp_new(l, seed ^ 6);
	e->turn = et_turn_new(l->turn_allocations, seed ^ 7);
	e->slots = calloc(l->calls, sizeof(struct et_call *));
	e->free_slots = calloc(l->calls, sizeof(*e->free_slots));
	if (e->defrag == NULL || e->tcp == NULL || e->turn == NULL || e->slots == NULL ||
	    e->free_slots == NULL || !et_table_init(&e->streams, l->streams, seed ^ 2) ||
	    !et_table_init(&e->endpoints, l->calls * 4, seed ^ 3) ||
	    !et_table_init(&e->calls, l->calls, seed ^ 4) ||
	    !et_table_init(&e->candidates, l->candidates, seed ^ 5) || !et_joins_make(e)) {
		return false;
	}
	for (uint32_t i = 0; i < l->calls; i++) {
		e->free_slots[i] = l->calls - 1 - i;
	}
	e->free_count = l->calls;
	return true;
}

int et_engine_new(const struct et_engine_config *config, struct et_engine **ret,
		  struct et_error *reterr)
{
	const struct et_capture_config *capture = config->capture;
	if (capture->sip_port_count > ET_CAPTURE_SIP_PORTS_MAX) {
		return et_fail(reterr, ET_EUSAGE, "capture: too many SIP ports");
	}
	struct et_engine *e = calloc(1, sizeof(*e));
	if (e == NULL) {
		return et_fail(reterr, -ENOMEM, "capture engine");
	}
	e->config = *config;
	e->config.capture = NULL; /* borrowed for this call only */
	e->sink = *config->sink;
	e->config.sink = NULL;
	e->limits = capture->limits;
	set_limits(&e->limits);
	set_rules(e, capture);
	for (uint32_t i = 0; i < capture->sip_port_count; i++) {
		set_port(e, capture->sip_ports[i]);
	}
	if (capture->sip_port_count == 0) {
		set_port(e, SIP_PORT_DEFAULT);
	}
	uint64_t seed = 0;
	if (!config->deterministic) {
		et_random(&seed, sizeof(seed));
	}
	if (!engine_allocate(e, seed)) {
		et_engine_free(e);
		return et_fail(reterr, -ENOMEM, "capture engine");
	}
	*ret = e;
	return 0;
}

static void drop_call(struct et_engine *e, struct et_call *c)
{
	while (c->endpoints != NULL) {
		et_endpoint_remove(e, c->endpoints);
	}
	while (c->streams != NULL) {
		et_stream_remove(e, c->streams);
	}
	et_buffer_release(&c->pending);
	(void)et_srtp_ring_free(c->keys);
	free(c->session);
	et_pool_give(&e->call_pool, c);
}

struct et_engine *et_engine_free(struct et_engine *e)
{
	if (e == NULL) {
		return NULL;
	}
	if (e->candidates.buckets != NULL) {
		et_candidates_free(e);
	}
	for (uint32_t i = 0; e->slots != NULL && i < e->limits.calls; i++) {
		if (e->slots[i] != NULL) {
			drop_call(e, e->slots[i]);
		}
	}
	et_handshakes_free(e);
	et_table_release(&e->joins);
	(void)et_defrag_free(e->defrag);
	(void)et_tcp_free(e->tcp);
	(void)et_turn_free(e->turn);
	et_table_release(&e->streams);
	et_table_release(&e->endpoints);
	et_table_release(&e->calls);
	et_table_release(&e->candidates);
	et_pool_release(&e->call_pool);
	et_pool_release(&e->stream_pool);
	free(e->slots);
	free(e->free_slots);
	free(e);
	return NULL;
}

/* ---- Classes --------------------------------------------------------------------------------- */

/* RFC 6189, section 5: a version of 1 and a cookie where RTP has its timestamp. */
static bool is_zrtp(const struct et_packet *p)
{
	return p->size >= 12 && p->payload[0] >> 4 == 1 && memcmp(p->payload + 4, "ZRTP", 4) == 0;
}

/* What SDP says of where it goes. */
const struct et_endpoint *et_endpoint_at(struct et_engine *e, const uint8_t address[16],
					 uint16_t port)
{
	uint64_t hash = 0;
	struct et_link *l = et_endpoint_first(e, address, port, &hash);
	int steps = 0;
	for (; l != NULL && steps < ET_CHAIN_MAX; l = l->next, steps++) {
		const struct et_endpoint *ep = ET_CONTAINER_OF(l, struct et_endpoint, link);
		if (l->hash == hash && ep->port == port && memcmp(ep->address, address, 16) == 0) {
			return ep;
		}
	}
	return NULL;
}

/* Neither SIP nor RTP nor RTCP nor STUN nor DTLS. */
static void count_unknown(struct et_engine *e, const struct et_packet *p, bool sip_port)
{
	/* What keeps a binding of a NAT open (RFC 5626, section 3.5.1, and its many relatives). */
	if (sip_port && p->size < SIP_SIZE_MIN) {
		e->packets.other[ET_OTHER_KEEPALIVE]++;
		return;
	}
	if (sip_port) {
		e->packets.unclaimed[ET_UNCLAIMED_MALFORMED_SIP]++;
		return;
	}
	const struct et_endpoint *ep = et_endpoint_at(e, p->dst, p->dport);
	if (ep == NULL) {
		ep = et_endpoint_at(e, p->src, p->sport);
	}
	if (is_zrtp(p)) {
		e->packets.other[ET_OTHER_ZRTP]++;
	} else if (ep == NULL) {
		e->packets.other[ET_OTHER_UDP]++;
	} else if (ep->fax) {
		e->packets.other[ET_OTHER_T38]++;
	} else {
		e->packets.unclaimed[ET_UNCLAIMED_MALFORMED_RTP]++;
	}
}

static void engine_sip(struct et_engine *e, const struct et_packet *p)
{
	struct et_sip m;
	if (et_sip_parse(p->payload, p->size, &m) < 0) {
		e->packets.unclaimed[ET_UNCLAIMED_MALFORMED_SIP]++;
		return;
	}
	e->packets.sip++;
	et_dialog_message(e, p, &m);
}

static void engine_rtp(struct et_engine *e, const struct et_packet *p)
{
	if ((p->sport < WELL_KNOWN_PORTS || p->dport < WELL_KNOWN_PORTS) &&
	    et_endpoint_at(e, p->dst, p->dport) == NULL &&
	    et_endpoint_at(e, p->src, p->sport) == NULL) {
		e->packets.other[ET_OTHER_UDP]++;
		return;
	}
	et_stream_rtp(e, p);
}

/* Media, and what is agreed on beside it. false: it is none. */
static bool engine_media(struct et_engine *e, const struct et_packet *p, enum et_rtp_kind kind)
{
	switch (kind) {
	case ET_RTP_KIND_RTP:
		engine_rtp(e, p);
		return true;
	case ET_RTP_KIND_RTCP:
		et_stream_rtcp(e, p);
		return true;
	case ET_RTP_KIND_DTLS:
		e->packets.other[ET_OTHER_DTLS]++;
		et_keys_handshake(e, p);
		return true;
	case ET_RTP_KIND_STUN:
	case ET_RTP_KIND_NONE:
	default:
		return false;
	}
}

/* Inside of TURN. */
static void engine_relayed(struct et_engine *e, const struct et_packet *p)
{
	enum et_rtp_kind kind = et_rtp_classify(p->payload, p->size);

	if (!engine_media(e, p, kind)) {
		e->packets.other[kind == ET_RTP_KIND_STUN ? ET_OTHER_STUN : ET_OTHER_TURN]++;
	}
}

static void engine_datagram(struct et_engine *e, const struct et_packet *p)
{
	enum et_rtp_kind kind = et_rtp_classify(p->payload, p->size);
	struct et_packet inside;

	if (engine_media(e, p, kind)) {
		return;
	}
	if (kind == ET_RTP_KIND_STUN) {
		if (et_turn_stun(e->turn, p, &inside)) {
			engine_relayed(e, &inside);
		} else {
			e->packets.other[ET_OTHER_STUN]++;
		}
		return;
	}
	if (et_sip_probe(p->payload, p->size)) { /* before channels: both may begin with A to O */
		engine_sip(e, p);
	} else if (et_turn_channel(e->turn, p, &inside)) {
		engine_relayed(e, &inside);
	} else {
		count_unknown(e, p, is_sip_port(e, p->sport) || is_sip_port(e, p->dport));
	}
}

static bool in_own(const struct et_own_addresses *own, const uint8_t address[16], uint16_t port)
{
	if (port >= own->port_first && port <= own->port_last && own->port_first != 0 &&
	    memcmp(address, own->media, 16) == 0) {
		return true;
	}
	for (uint32_t i = 0; i < own->listen_count; i++) {
		if (port == own->listens[i].port &&
		    memcmp(address, own->listens[i].address, 16) == 0) {
			return true;
		}
	}
	return false;
}

static bool is_own(const struct et_engine *e, const struct et_packet *p)
{
	return e->own.listen_count > 0 &&
	       (in_own(&e->own, p->dst, p->dport) || in_own(&e->own, p->src, p->sport));
}

void et_engine_frame(struct et_engine *e, const struct et_frame *frame)
{
	struct et_packet p;
	e->packets.total++;
	et_engine_clock(e, frame->time_us);
	e->packet_us = frame->time_us;
	if (!et_packet_decode(frame, e->defrag, &p, &e->packets)) {
		return;
	}
	if (is_own(e, &p)) {
		e->packets.other[ET_OTHER_SIPREC]++;
	} else if (p.is_tcp) {
		et_tcp_packet(e, &p, is_sip_port(e, p.sport) || is_sip_port(e, p.dport));
	} else {
		engine_datagram(e, &p);
	}
}

void et_engine_arrival(struct et_engine *e, int64_t time_us)
{
	e->packets.total++;
	et_engine_clock(e, time_us);
	e->packet_us = time_us;
}

/* The client may send from another port than it names, never from another machine; signalling's
 * address counts too, for a client behind a NAT. */
static bool is_from_client(const struct et_call *c, const uint8_t address[16])
{
	for (const struct et_endpoint *ep = c->endpoints; ep != NULL; ep = ep->next) {
		if (ep->side == 0 && (memcmp(ep->address, address, 16) == 0 ||
				      memcmp(ep->told_by, address, 16) == 0)) {
			return true;
		}
	}
	return false;
}

void et_engine_own_media(struct et_engine *e, const struct et_packet *p)
{
	enum et_rtp_kind kind = et_rtp_classify(p->payload, p->size);
	/* RTCP has the port above its RTP, or the same one. */
	const struct et_endpoint *ep = et_endpoint_at(e, p->dst, p->dport);

	et_engine_arrival(e, p->time_us);
	if (ep == NULL && p->dport > 0) {
		ep = et_endpoint_at(e, p->dst, (uint16_t)(p->dport - 1));
	}
	if (kind == ET_RTP_KIND_STUN) {
		e->packets.other[ET_OTHER_STUN]++;
	} else if (ep == NULL || ep->call->session == NULL) {
		e->packets.unclaimed[ET_UNCLAIMED_RTP_AFTER_END]++;
	} else if (!is_from_client(ep->call, p->src)) {
		e->packets.unclaimed[ET_UNCLAIMED_RTP_STRANGER]++;
	} else if (!engine_media(e, p, kind)) {
		e->packets.unclaimed[ET_UNCLAIMED_MALFORMED_RTP]++;
	}
}

/* ---- Time ------------------------------------------------------------------------------------ */

static void sweep(struct et_engine *e)
{
	e->swept_us = e->now_us;
	et_defrag_expire(e->defrag, e->now_us, false, &e->packets);
	et_tcp_sweep(e, false);
	et_candidates_sweep(e, false);
	for (uint32_t i = 0; i < e->limits.calls && e->call_count > 0; i++) {
		if (i + SWEEP_AHEAD < e->limits.calls && e->slots[i + SWEEP_AHEAD] != NULL) {
			const struct et_call *c = e->slots[i + SWEEP_AHEAD];
			et_fetch(c, offsetof(struct et_call, facts));
			et_fetch(&c->rule, sizeof(*c) - offsetof(struct et_call, rule));
		}
		if (e->slots[i] != NULL) {
			et_call_sweep(e, e->slots[i]);
		}
	}
}

void et_engine_clock(struct et_engine *e, int64_t now_us)
{
	if (now_us <= e->now_us) {
		return;
	}
	e->now_us = now_us;
	e->packet_us = now_us;
	if (now_us - e->swept_us >= SWEEP_US) {
		sweep(e);
	}
}

void et_engine_finish(struct et_engine *e, bool close_calls)
{
	et_defrag_expire(e->defrag, e->now_us, true, &e->packets);
	et_tcp_sweep(e, true); /* what it yields may name an address that somebody waits for */
	et_candidates_sweep(e, true);
	for (uint32_t i = 0; i < e->limits.calls; i++) {
		if (e->slots[i] != NULL && close_calls) {
			et_call_close(e, e->slots[i]);
		} else if (e->slots[i] != NULL) {
			et_tones_flush_call(e, e->slots[i]);
		}
	}
}

void et_engine_tell(const struct et_engine *e, struct et_capture_metrics *ret)
{
	ret->packets = e->packets;
	ret->calls_live = e->call_count;
	ret->calls_total = e->calls_total;
	ret->streams_live = e->stream_count;
	ret->calls_refused_disk = e->calls_refused_disk;
	ret->calls_refused_limit = e->calls_refused_limit;
	ret->calls_refused_rule = e->calls_refused_rule;
	ret->calls_refused_drain = e->calls_refused_drain;
	memcpy(ret->rule_calls, e->rule_calls, sizeof(ret->rule_calls));
	ret->media_dropped = e->media_dropped;
	ret->tones_silenced = e->tones_silenced;
	ret->tones_cannot = e->tones_cannot;
	ret->demand_lost = e->demand_lost;
	et_tcp_tell(e->tcp, ret);
}
