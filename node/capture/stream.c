/* RTP: which stream, whose it is, and what is kept until that is known.
 *
 * A packet whose (5-tuple, SSRC) is known costs one look-up. Another is matched with the addresses
 * that SDP names (match.c). Where several calls fit, the best is chosen and the stream says
 * "inferred". Where none fits, packets are held, bounded in time and bytes; when the flow has
 * proven to be RTP and no SDP came, it becomes a call without signalling. */
#include <stdio.h>
#include <strings.h>

#include "node/capture/match_internal.h"
#include "node/crypto/hash.h"
#include "node/rtp/rtcp.h"

#define WAIT_US (2 * 1000000LL) /* for SDP to name a flow */
#define GOES_ON_US 500000

enum {
	IN_ORDER_MIN = 1,	  /* steps of the sequence that prove a flow (RFC 3550, A.1) */
	IN_ORDER_MIN_SUSPECT = 4, /* with an SSRC of 0, which is what other protocols look like */
	STEP_MAX = 50,
	TYPE_RTCP_FIRST = 72, /* RFC 3551, section 6: never RTP */
	TYPE_RTCP_LAST = 76,
	CLOCK_DEFAULT = 8000,
	SPURTS = 3, /* of talk, that prove that nothing is sent in silence */
	SPURT_MIN_US = 100000,
	SPURT_MAX_US = 3000000,
};

/* ---- Codecs ---------------------------------------------------------------------------------- */

static bool is_aux(const char *name)
{
	return strcasecmp(name, "telephone-event") == 0 || strcasecmp(name, "CN") == 0 ||
	       strcasecmp(name, "tone") == 0;
}

/* `media`: of that media line only; ET_NO_MEDIA: of any. */
static const struct et_format *format_in(const struct et_call *c, uint8_t side, uint8_t media,
					 uint8_t type)
{
	for (const struct et_endpoint *ep = c->endpoints; ep != NULL; ep = ep->next) {
		if (ep->side != side || (media != ET_NO_MEDIA && ep->media != media)) {
			continue;
		}
		for (uint32_t i = 0; i < ep->format_count; i++) {
			if (ep->formats[i].payload_type == type && ep->formats[i].name[0] != '\0') {
				return &ep->formats[i];
			}
		}
	}
	return NULL;
}

/* The receiver's description gives payload types their meaning (RFC 3264, section 5.1). */
static void codec_of(const struct et_stream *s, uint8_t type, char name[20], uint32_t *clock_hz,
		     uint8_t *channels)
{
	/* In a recording session several media lines come from one side, each with its own types.
	 */
	uint8_t media = s->call->session != NULL ? s->media : ET_NO_MEDIA;
	const struct et_format *f = format_in(s->call, s->party == 0 ? 1 : 0, media, type);
	if (f == NULL) {
		f = format_in(s->call, s->party, media, type);
	}
	name[0] = '\0';
	*clock_hz = 0;
	*channels = 1;
	if (f != NULL) {
		(void)snprintf(name, 20, "%s", f->name);
		*clock_hz = f->clock_hz;
		*channels = f->channels;
		return;
	}
	const char *fixed = et_rtp_static_codec(type, clock_hz);
	if (fixed != NULL) {
		(void)snprintf(name, 20, "%s", fixed);
	}
}

/* A payload type that this stream has not used yet. */
static void learn_type(struct et_engine *e, struct et_stream *s, uint8_t type)
{
	char name[20];
	uint32_t clock_hz = 0;
	uint8_t channels = 1;
	codec_of(s, type, name, &clock_hz, &channels);
	bool aux = is_aux(name);
	uint8_t at = s->type_count < ET_STREAM_TYPES_MAX ? s->type_count++ : 0;
	s->types[at] = (struct et_stream_type){
		.payload_type = type,
		.aux = aux,
		.sound = (uint8_t)et_tones_sound(name, clock_hz, channels),
		.clock_hz = aux		    ? 0
			    : clock_hz != 0 ? clock_hz
					    : CLOCK_DEFAULT,
	};
	s->type_last = at;
	if (!aux && !s->has_codec) {
		s->has_codec = true;
		s->payload_type = type;
		s->clock_hz = clock_hz;
		if (name[0] != '\0') {
			(void)snprintf(s->codec, sizeof(s->codec),
				       channels > 1 ? "%s/%u/%u" : "%s/%u", name, clock_hz,
				       (unsigned)channels);
		}
		s->call->dirty = true;
	} else if (s->codec[0] == '\0' && aux && !s->has_codec) {
		s->payload_type = type;
		s->clock_hz = clock_hz;
		(void)snprintf(s->codec, sizeof(s->codec), "%s/%u", name, clock_hz);
	}
	if (s->announced) {
		struct et_meta_item item = {
			.type = ET_META_CODEC,
			.codec = {
				.stream = s->number,
				.payload_type = type,
				.channels = channels,
				.clock_rate = clock_hz,
				.codec = { (const uint8_t *)name, strlen(name) },
				.fmtp = { (const uint8_t *)"", 0 },
			},
		};
		et_call_meta(e, s->call, &item);
	}
}

static uint32_t clock_of(struct et_engine *e, struct et_stream *s, uint8_t type)
{
	if (s->type_count > 0 && s->types[s->type_last].payload_type == type) {
		return s->types[s->type_last].clock_hz;
	}
	for (uint8_t i = 0; i < s->type_count; i++) {
		if (s->types[i].payload_type == type) {
			s->type_last = i;
			return s->types[i].clock_hz;
		}
	}
	learn_type(e, s, type);
	return s->types[s->type_last].clock_hz;
}

/* ---- Streams --------------------------------------------------------------------------------- */

void et_stream_describe(const struct et_stream *s, struct et_capture_stream *ret)
{
	if (s->frozen) {
		*ret = *s->old;
		return;
	}
	*ret = (struct et_capture_stream){
		.number = s->number,
		.ssrc = s->key.ssrc,
		.association = s->association,
		.payload_type = s->payload_type,
		.party = s->party,
		.clock_hz = s->clock_hz,
		.packets = s->source.packets - s->unwritten,
		.lost = et_rtp_source_lost(&s->source),
		.duplicate = s->source.duplicate,
		.late = s->source.late,
		.silenced = s->silenced,
		.jitter_us = et_rtp_source_jitter_us(&s->source),
		.first_us = s->first_us,
		.last_us = s->last_us,
	};
	et_address_format(s->key.src, s->key.sport, ret->src);
	et_address_format(s->key.dst, s->key.dport, ret->dst);
	memcpy(ret->codec, s->codec, sizeof(ret->codec));
	memcpy(ret->srtp, s->srtp, sizeof(ret->srtp));
	ret->opened = s->opened;
}

bool et_stream_announce(struct et_engine *e, struct et_stream *s)
{
	struct et_capture_stream description;
	if (!s->announced) {
		et_stream_describe(s, &description);
		if (e->sink.stream(e->sink.arg, s->call->slot, &description) < 0) {
			return false;
		}
		s->announced = true;
	}
	return true;
}

void et_stream_remove(struct et_engine *e, struct et_stream *s)
{
	struct et_stream **p = &s->call->streams;
	while (*p != s) {
		p = &(*p)->next;
	}
	*p = s->next;
	if (!s->frozen) {
		et_table_remove(&e->streams, &s->link);
		e->stream_count--;
	}
	et_srtp_stream_release(&s->opening);
	free(s->old);
	s->tones = et_tones_free(s->tones);
	et_pool_give(&e->stream_pool, s);
}

static uint64_t key_hash(const struct et_table *t, const struct et_stream_key *key)
{
	_Static_assert(sizeof(*key) == 40, "no padding");
	return et_hash(t->seed, key, sizeof(*key));
}

static struct et_stream *find_stream(struct et_engine *e, const struct et_stream_key *key,
				     uint64_t hash)
{
	for (struct et_link *l = et_table_first(&e->streams, hash); l != NULL; l = l->next) {
		struct et_stream *s = ET_CONTAINER_OF(l, struct et_stream, link);
		if (l->hash == hash && memcmp(&s->key, key, sizeof(*key)) == 0) {
			return s;
		}
	}
	return NULL;
}

/* The address of the other direction, where SDP does not name it (a NAT moved it). */
static void learn_address(struct et_engine *e, const struct et_match *m,
			  const struct et_stream_key *key)
{
	struct et_endpoint *ep = NULL;
	if (m->from == NULL) {
		ep = et_endpoint_add(e, m->call, m->party, key->src, key->sport);
	} else if (m->to == NULL) {
		ep = et_endpoint_add(e, m->call, m->party == 0 ? 1 : 0, key->dst, key->dport);
	}
	if (ep != NULL && ep->format_count == 0) {
		ep->media = ET_NO_MEDIA;
	}
}

static struct et_stream *begin_stream(struct et_engine *e, const struct et_match *m,
				      const struct et_stream_key *key, uint64_t hash)
{
	struct et_call *c = m->call;
	bool described = m->from != NULL && m->from->media != ET_NO_MEDIA;
	/* Whose address no description names may be anybody, with a new SSRC in each packet: a part
	 * is left for those that one names. */
	uint32_t most = e->limits.streams_per_call;
	most -= described ? 0 : most / 4;
	if (e->stream_count >= e->limits.streams || c->stream_count >= most) {
		return NULL;
	}
	struct et_stream *s = et_pool_take(&e->stream_pool);
	if (s == NULL) {
		return NULL;
	}
	s->call = c;
	s->key = *key;
	s->media = m->to != NULL ? m->to->media : ET_NO_MEDIA;
	s->party = c->session != NULL ? et_session_party(c, s->media) : m->party;
	s->number = c->stream_count++;
	s->association = et_match_association(m);
	/* Who sends says whether it is protected; until then who receives does (an answer's profile
	 * is the offer's). An address that only a stream taught us says nothing. */
	const struct et_endpoint *own = described ? m->from : m->to;
	et_keys_begin_stream(e, s, own);
	s->next = c->streams;
	c->streams = s;
	e->stream_count++;
	et_table_add(&e->streams, &s->link, hash);
	learn_address(e, m, key);
	c->dirty = true;
	e->table_changed = true;
	return s;
}

void et_stream_media(struct et_engine *e, struct et_stream *s, const struct et_rtp *rtp,
		     const struct et_packet *p)
{
	struct et_call *c = s->call;

	if (!et_call_open(e, c) || !et_stream_announce(e, s) ||
	    e->sink.media(e->sink.arg, c->slot, s->number, rtp, p) < 0) {
		c->dropped++;
		e->media_dropped++;
	}
}

/* A codec of constant rate whose sender sends nothing in silence: then when something comes tells
 * who speaks. Talk behind silence has the marker, and nothing was lost between (RFC 3551, section
 * 4.1); a hold looks the same, but is longer and not so often. The tape says so, once. */
static void look_for_silence(struct et_engine *e, struct et_stream *s, const struct et_rtp *rtp,
			     const struct et_packet *p)
{
	const int64_t gap_us = p->time_us - s->last_us;
	const bool follows = (uint16_t)(s->source.highest + 1) == rtp->sequence;

	if (s->source.packets == 0 || s->spurts == SPURTS || !follows || gap_us < SPURT_MIN_US ||
	    gap_us > SPURT_MAX_US || ++s->spurts < SPURTS) {
		return;
	}
	const struct et_meta_item item = {
		.type = ET_META_FACT,
		.fact = {
			.time_us = p->time_us,
			.party = s->party,
			.key = et_view_of(ET_FACT_SILENCE),
			.value = et_view_of("suppressed"),
		},
	};
	et_call_meta(e, s->call, &item);
}

/* A packet of a stream: counted here, as RTP. */
static void stream_add(struct et_engine *e, struct et_stream *s, const struct et_rtp *rtp,
		       const struct et_packet *p)
{
	struct et_call *c = s->call;
	uint32_t clock_hz = clock_of(e, s, rtp->payload_type);
	if (s->source.packets == 0) {
		s->first_us = p->time_us;
	}
	if (rtp->marker && clock_hz != 0) {
		look_for_silence(e, s, rtp, p);
	}
	(void)et_rtp_source_add(&s->source, rtp->sequence, rtp->timestamp, p->time_us, clock_hz);
	s->last_us = p->time_us > s->last_us ? p->time_us : s->last_us;
	c->media_us = e->now_us;
	e->plain_of = NULL;
	if (s->checks > 0) {
		et_keys_check(e, s, p);
	}
	if (c->by_keys != NULL || c->keep_keys != NULL) {
		et_press_rtp(e, s, rtp, p);
	}
	if (et_call_drops(e, c, p->time_us)) {
		e->packets.unclaimed[ET_UNCLAIMED_RTP_PAUSED]++;
		s->unwritten++;
		c->pause.packets++;
		return;
	}
	if (et_digits_drops(e, s, rtp, p)) {
		e->packets.unclaimed[ET_UNCLAIMED_RTP_DIGITS]++;
		s->unwritten++;
		return;
	}
	if (c->drop_tones && et_tones_refuses(e, s, p)) {
		e->packets.unclaimed[ET_UNCLAIMED_RTP_TONES]++;
		s->unwritten++;
		return;
	}
	e->packets.rtp++;
	if (c->drop_tones) {
		et_tones_media(e, s, rtp, p);
	} else {
		et_stream_media(e, s, rtp, p);
	}
	if (!s->handshake_told && c->opened) {
		et_keys_tell_handshake(e, s, p);
	}
}

static void count_claimed(struct et_engine *e, const struct et_match *m,
			  const struct et_stream_key *key, uint64_t hash, const struct et_rtp *rtp,
			  const struct et_packet *p)
{
	if (m->call->decision == ET_DECISION_RULE) {
		e->packets.unclaimed[ET_UNCLAIMED_RTP_RULE]++;
		m->call->media_us = e->now_us;
		return;
	}
	if (m->call->decision == ET_DECISION_REFUSED) {
		e->packets.unclaimed[ET_UNCLAIMED_RTP_REFUSED]++;
		m->call->media_us = e->now_us;
		return;
	}
	struct et_stream *s = begin_stream(e, m, key, hash);
	if (s == NULL) {
		e->packets.unclaimed[ET_UNCLAIMED_RTP_LIMIT_STREAMS]++;
		return;
	}
	stream_add(e, s, rtp, p);
}

/* ---- Candidates ------------------------------------------------------------------------------ */

static struct et_candidate *find_candidate(struct et_engine *e, const struct et_stream_key *key,
					   uint64_t hash)
{
	for (struct et_link *l = et_table_first(&e->candidates, hash); l != NULL; l = l->next) {
		struct et_candidate *c = ET_CONTAINER_OF(l, struct et_candidate, link);
		if (l->hash == hash && memcmp(&c->key, key, sizeof(*key)) == 0) {
			return c;
		}
	}
	return NULL;
}

/* Take it out of the table, with its packets. */
static void candidate_unlink(struct et_engine *e, struct et_candidate *c)
{
	et_table_remove(&e->candidates, &c->link);
	*(c->older != NULL ? &c->older->newer : &e->oldest) = c->newer;
	*(c->newer != NULL ? &c->newer->older : &e->newest) = c->older;
	e->candidate_count--;
	e->candidate_bytes -= c->bytes;
}

static void candidate_free(struct et_candidate *c)
{
	while (c->head != NULL) {
		struct et_held *held = c->head;
		c->head = held->next;
		free(held);
	}
	free(c);
}

void et_candidates_free(struct et_engine *e)
{
	while (e->oldest != NULL) {
		struct et_candidate *c = e->oldest;
		candidate_unlink(e, c);
		candidate_free(c);
	}
}

static bool is_proven(const struct et_candidate *c)
{
	return c->in_order >= (c->key.ssrc == 0 ? IN_ORDER_MIN_SUSPECT : IN_ORDER_MIN);
}

static void candidate_drop(struct et_engine *e, struct et_candidate *c,
			   enum et_capture_unclaimed reason)
{
	e->packets.pending -= c->packets;
	e->packets.unclaimed[reason] += c->packets;
	candidate_unlink(e, c);
	candidate_free(c);
}

/* Its call is known: hand its packets over, in the order of arrival. */
static void candidate_claim(struct et_engine *e, struct et_candidate *c, const struct et_match *m)
{
	uint64_t hash = key_hash(&e->streams, &c->key);
	candidate_unlink(e, c);
	e->packets.pending -= c->packets;
	for (struct et_held *held = c->head; held != NULL; held = held->next) {
		struct et_packet p = {
			.time_us = held->time_us,
			.sport = c->key.sport,
			.dport = c->key.dport,
			.payload = held->data,
			.size = held->size,
		};
		struct et_rtp rtp;
		memcpy(p.src, c->key.src, 16);
		memcpy(p.dst, c->key.dst, 16);
		struct et_stream *s = find_stream(e, &c->key, hash);
		if (et_rtp_parse(held->data, held->size, &rtp) < 0) {
			et_unreachable(); /* it was parsed before it was held */
		} else if (s != NULL) {
			stream_add(e, s, &rtp, &p);
		} else {
			count_claimed(e, m, &c->key, hash, &rtp, &p);
		}
	}
	candidate_free(c);
}

/* A flow that no signalling names: a call of its own. */
static void candidate_promote(struct et_engine *e, struct et_candidate *c)
{
	struct et_match m = et_match_find(e, &c->key); /* the other direction may have made one */
	if (m.call == NULL) {
		struct et_call *call = et_call_new(e, false);
		if (call == NULL) {
			candidate_drop(e, c, ET_UNCLAIMED_RTP_LIMIT_CALLS);
			return;
		}
		call->media_only = true;
		e->media_only_count++;
		call->facts.start_us = c->first_us;
		et_make_id(e, call, call->facts.id);
		et_make_id(e, call, call->facts.call);
		char text[ET_CAPTURE_ADDRESS_TEXT];
		et_address_format(c->key.src, c->key.sport, text);
		(void)snprintf(call->facts.from, sizeof(call->facts.from), "%s", text);
		et_address_format(c->key.dst, c->key.dport, text);
		(void)snprintf(call->facts.to, sizeof(call->facts.to), "%s", text);
		et_call_decide(e, call, NULL);
		struct et_endpoint *from = et_endpoint_add(e, call, 0, c->key.src, c->key.sport);
		struct et_endpoint *to = et_endpoint_add(e, call, 1, c->key.dst, c->key.dport);
		if (from != NULL && to != NULL) {
			from->media = ET_NO_MEDIA;
			to->media = ET_NO_MEDIA;
		}
		m = (struct et_match){
			.call = call, .party = 0, .to = to, .from = from, .rivals = 1
		};
	}
	candidate_claim(e, c, &m);
}

/* It has waited long enough, or there is no room: a call, or given up with `reason`. */
static void candidate_decide(struct et_engine *e, struct et_candidate *c,
			     enum et_capture_unclaimed reason)
{
	if (is_proven(c)) {
		candidate_promote(e, c);
	} else {
		candidate_drop(e, c, reason);
	}
}

void et_candidates_sweep(struct et_engine *e, bool all)
{
	while (e->oldest != NULL && (all || e->oldest->first_us + WAIT_US < e->now_us)) {
		candidate_decide(e, e->oldest, ET_UNCLAIMED_RTP_UNPROVEN);
	}
}

/* Cheaper than a look-up: a flood of descriptions must not make one of each flow that waits. */
static bool names(const struct et_call *c, const struct et_stream_key *key)
{
	for (const struct et_endpoint *ep = c->endpoints; ep != NULL; ep = ep->next) {
		if ((ep->port == key->dport && memcmp(ep->address, key->dst, 16) == 0) ||
		    (ep->port == key->sport && memcmp(ep->address, key->src, 16) == 0)) {
			return true;
		}
	}
	return false;
}

void et_stream_rematch(struct et_engine *e, const struct et_call *named)
{
	struct et_candidate *next = NULL;
	for (struct et_candidate *c = e->oldest; c != NULL; c = next) {
		next = c->newer;
		if (!names(named, &c->key)) {
			continue;
		}
		struct et_match m = et_match_find(e, &c->key);
		if (m.call != NULL) {
			candidate_claim(e, c, &m);
		}
	}
}

static struct et_candidate *candidate_begin(struct et_engine *e, const struct et_stream_key *key,
					    uint64_t hash)
{
	if (e->candidate_count >= e->limits.candidates) {
		candidate_decide(e, e->oldest, ET_UNCLAIMED_RTP_LIMIT_CANDIDATES);
	}
	struct et_candidate *c = calloc(1, sizeof(*c));
	if (c == NULL) {
		return NULL;
	}
	c->key = *key;
	c->first_us = e->packet_us;
	c->older = e->newest;
	*(e->newest != NULL ? &e->newest->newer : &e->oldest) = c;
	e->newest = c;
	e->candidate_count++;
	et_table_add(&e->candidates, &c->link, hash);
	return c;
}

/* Hold a packet whose flow is not known. */
static void candidate_add(struct et_engine *e, const struct et_stream_key *key,
			  const struct et_rtp *rtp, const struct et_packet *p)
{
	uint64_t hash = key_hash(&e->candidates, key);
	struct et_candidate *c = find_candidate(e, key, hash);
	bool first = c == NULL;
	if (first) {
		c = candidate_begin(e, key, hash);
	}
	size_t bytes = sizeof(struct et_held) + p->size;
	struct et_held *held = NULL;
	while (e->candidate_bytes + bytes > e->limits.candidate_bytes && e->oldest != c) {
		candidate_decide(e, e->oldest, ET_UNCLAIMED_RTP_LIMIT_CANDIDATES);
	}
	if (c != NULL && e->candidate_bytes + bytes <= e->limits.candidate_bytes) {
		held = malloc(bytes);
	}
	if (held == NULL) {
		e->packets.unclaimed[ET_UNCLAIMED_RTP_LIMIT_CANDIDATES]++;
		return;
	}
	held->next = NULL;
	held->time_us = p->time_us;
	held->size = p->size;
	memcpy(held->data, p->payload, p->size);
	if (c->tail != NULL) {
		c->tail->next = held;
	} else {
		c->head = held;
	}
	c->tail = held;
	c->bytes += bytes;
	e->candidate_bytes += bytes;
	c->packets++;
	e->packets.pending++;
	uint16_t step = (uint16_t)(rtp->sequence - c->next_sequence);
	if (!first && step < STEP_MAX) {
		c->in_order++;
	}
	c->next_sequence = (uint16_t)(rtp->sequence + 1);
	if (c->packets >= e->limits.candidate_packets) {
		candidate_decide(e, c, ET_UNCLAIMED_RTP_UNPROVEN);
	}
}

/* ---- Packets --------------------------------------------------------------------------------- */

static void key_of(const struct et_packet *p, uint32_t ssrc, struct et_stream_key *key)
{
	memcpy(key->src, p->src, 16);
	memcpy(key->dst, p->dst, 16);
	key->sport = p->sport;
	key->dport = p->dport;
	key->ssrc = ssrc;
}

/* It goes on where the stream was: not yet the next call on the same address. */
static bool goes_on(const struct et_stream *s, const struct et_rtp *rtp, const struct et_packet *p)
{
	uint16_t step = (uint16_t)(rtp->sequence - (uint16_t)s->source.highest);
	return p->time_us - s->last_us < GOES_ON_US && step > 0 && step < STEP_MAX;
}

void et_stream_rtp(struct et_engine *e, const struct et_packet *p)
{
	struct et_rtp rtp;
	struct et_stream_key key;
	if (et_rtp_parse(p->payload, p->size, &rtp) < 0) {
		e->packets.unclaimed[ET_UNCLAIMED_MALFORMED_RTP]++;
		return;
	}
	key_of(p, rtp.ssrc, &key);
	uint64_t hash = key_hash(&e->streams, &key);
	struct et_stream *s = find_stream(e, &key, hash);
	if (s != NULL && (!s->call->superseded || goes_on(s, &rtp, p))) {
		stream_add(e, s, &rtp, p);
		return;
	}
	struct et_match m = et_match_find(e, &key);
	if (s != NULL && m.call == NULL) { /* nobody else wants it */
		stream_add(e, s, &rtp, p);
		return;
	}
	if (m.call != NULL) {
		count_claimed(e, &m, &key, hash, &rtp, p);
		return;
	}
	if (rtp.payload_type >= TYPE_RTCP_FIRST && rtp.payload_type <= TYPE_RTCP_LAST) {
		e->packets.other[ET_OTHER_UDP]++;
		return;
	}
	candidate_add(e, &key, &rtp, p);
}

/* The call that an RTCP packet belongs to: its own port, or the one below (RFC 3550, section 11).
 */
static struct et_match find_rtcp(struct et_engine *e, const struct et_packet *p, uint32_t ssrc)
{
	struct et_stream_key key;
	key_of(p, ssrc, &key);
	struct et_match m = et_match_find(e, &key);
	if (m.call == NULL && p->sport > 0 && p->dport > 0) {
		key.sport--;
		key.dport--;
		m = et_match_find(e, &key);
	}
	return m;
}

void et_stream_rtcp(struct et_engine *e, const struct et_packet *p)
{
	struct et_rtcp rtcp;
	if (et_rtcp_parse(p->payload, p->size, &rtcp) < 0) {
		e->packets.unclaimed[ET_UNCLAIMED_RTCP_UNKNOWN]++;
		return;
	}
	e->packets.rtcp++;
	struct et_match m = find_rtcp(e, p, rtcp.ssrc);
	if (m.call == NULL || !m.call->opened || et_call_drops(e, m.call, p->time_us)) {
		return;
	}
	for (struct et_stream *s = m.call->streams; s != NULL; s = s->next) {
		if (!s->frozen && s->announced && s->key.ssrc == rtcp.ssrc) {
			(void)e->sink.rtcp(e->sink.arg, m.call->slot, s->number, p);
			return;
		}
	}
}
