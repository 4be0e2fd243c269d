#include "node/capture/tcp_connection_internal.h"

enum {
	PIECES_MAX = 64, /* early segments of a direction */
	FAR_STREAK = 3,
	FLAG_FIN = 1,
	FLAG_SYN = 2,
	FLAG_RST = 4,
	FLAG_ACK = 16,
	FOREIGN_BYTES = 64 * 1024, /* without SIP: it is another protocol */
};

#define WINDOW (1 << 20)	 /* bytes that a segment may be ahead or behind */
#define ACKED_US 50000		 /* a hole that the receiver does not have */
#define HOLE_US (3 * 1000000LL)	 /* a hole */
#define PART_US (30 * 1000000LL) /* a message that does not go on */
#define UNPROVEN_US (60 * 1000000LL)
#define PROVEN_US (4 * 3600 * 1000000LL)

/* ---- Bytes in order -------------------------------------------------------------------------- */

/* A segment in hand. */
struct work {
	struct et_engine *e;
	struct et_tcp_connection *c;
	struct et_tcp_half *h;
	const struct et_packet *p;
	bool malformed;
};

static void on_message(void *arg, struct et_view message)
{
	struct work *w = arg;
	struct et_sip m;
	struct et_packet p = *w->p;
	size_t side = (size_t)(w->h - w->c->half);
	/* A hole may be given up when the other direction speaks. */
	memcpy(p.src, w->c->key.address[side], 16);
	memcpy(p.dst, w->c->key.address[1 - side], 16);
	p.sport = w->c->key.port[side];
	p.dport = w->c->key.port[1 - side];
	p.time_us = w->e->packet_us;
	p.payload = message.data;
	p.size = (uint32_t)message.size;
	if (et_sip_parse(p.payload, p.size, &m) < 0) {
		w->malformed = true;
		return;
	}
	et_dialog_message(w->e, &p, &m);
}

/* What a packet without a message was. */
static void count_rest(struct work *w, unsigned flags, unsigned tls, uint32_t n)
{
	struct et_capture_packets *packets = &w->e->packets;
	if ((flags & ET_FRAMED_WEBSOCKET) != 0) {
		packets->other[ET_OTHER_WEBSOCKET] += n;
	} else if ((tls & ET_TLSREAD_FAILED) != 0) {
		packets->unclaimed[ET_UNCLAIMED_TLS_FAILED] += n;
	} else if ((flags & ET_FRAMED_LOST) != 0 && w->c->proven) {
		packets->unclaimed[ET_UNCLAIMED_TCP_UNSYNCED] += n;
	} else if ((flags & ET_FRAMED_LOST) != 0) {
		packets->other[ET_OTHER_TCP] += n;
	} else if ((flags & ET_FRAMED_KEEPALIVE) != 0) {
		packets->other[ET_OTHER_KEEPALIVE] += n;
	} else if ((tls & (ET_TLSREAD_NO_KEY | ET_TLSREAD_REFUSED)) != 0) {
		packets->unclaimed[ET_UNCLAIMED_TLS_NO_KEY] += n;
	} else {
		packets->other[w->c->tls != NULL ? ET_OTHER_TLS : ET_OTHER_TCP] += n;
	}
}

/* The packets that are not counted yet become what was made of their bytes. */
static void settle_packets(struct work *w, unsigned flags, unsigned tls)
{
	struct et_tcp_half *h = w->h;
	uint32_t n = h->undecided;
	bool whole = (flags & (ET_FRAMED_MESSAGE | ET_FRAMED_SKIPPED)) != 0;
	bool parts = et_tcp_waits(w->c, (int)(h - w->c->half));
	if (!parts) {
		h->part_us = 0;
	} else if (h->part_us == 0 || whole) {
		h->part_us = w->e->now_us;
	}
	if (n == 0 || (parts && !whole)) {
		return;
	}
	h->undecided = 0;
	w->e->packets.pending -= n;
	if (w->malformed) {
		w->e->packets.unclaimed[ET_UNCLAIMED_MALFORMED_SIP] += n;
	} else if (whole) {
		w->e->packets.sip += n;
	} else {
		count_rest(w, flags, tls, n);
	}
}

/* What the stream is: SIP, or something else? */
static void judge(struct work *w, unsigned flags, uint32_t size)
{
	struct et_tcp_connection *c = w->c;
	if ((flags & (ET_FRAMED_MESSAGE | ET_FRAMED_WEBSOCKET)) != 0) {
		c->bytes = 0;
		et_tcp_touch(w->e->tcp, c, true, c->trusted);
	} else {
		c->bytes += size;
		c->foreign = !c->proven && c->bytes > FOREIGN_BYTES;
	}
}

struct opened {
	struct work *w;
	unsigned flags[2]; /* of the framer, by half */
};

static void on_plain(void *arg, int from, int64_t time_us, struct et_view plain)
{
	struct opened *o = arg;
	struct work *w = o->w;
	struct et_tcp_half *h = w->h;
	int64_t packet_us = w->e->packet_us;
	int side = from == ET_TLSREAD_CLIENT ? w->c->tls_client : 1 - w->c->tls_client;
	if (!w->c->trusted) {
		et_tcp_touch(w->e->tcp, w->c, w->c->proven, true);
	}
	w->h = &w->c->half[side];
	w->e->packet_us = time_us; /* it may have waited for its secrets */
	o->flags[side] |= et_framer_feed(&w->h->framer, plain.data, plain.size, on_message, w);
	w->h = h;
	w->e->packet_us = packet_us;
}

/* `data` NULL: only look whether the secrets have come, which may open both directions. */
static void through_tls(struct work *w, const uint8_t *data, uint32_t size)
{
	struct et_tcp_connection *c = w->c;
	int side = (int)(w->h - c->half);
	struct opened o = { .w = w };
	unsigned tls =
		et_tlsread_feed(c->tls, w->e->config.keylog,
				side == c->tls_client ? ET_TLSREAD_CLIENT : ET_TLSREAD_SERVER,
				w->e->packet_us, data, size, on_plain, &o);
	if ((tls & ET_TLSREAD_FAILED) != 0) { /* a record is missing above too */
		et_framer_gap(&w->h->framer, 0);
	}
	judge(w, o.flags[0] | o.flags[1], size);
	for (int i = 0; i < 2; i++) {
		struct work settled = *w;
		settled.h = &c->half[i];
		settle_packets(&settled, o.flags[i], tls);
	}
	c->foreign = c->foreign || et_tlsread_is_refused(c->tls);
}

/* Is this the first that a client says? Only where secrets may come. */
static bool tls_begins(const struct et_engine *e, const uint8_t *data, uint32_t size)
{
	return e->config.keylog != NULL && et_tlsread_recognise(data, size);
}

static void in_order(struct work *w, const uint8_t *data, uint32_t size, uint32_t packets)
{
	struct et_tcp_connection *c = w->c;
	struct et_tcp_half *h = w->h;
	h->undecided += packets;
	h->next += size;
	w->malformed = false;
	if (c->tls == NULL && !c->proven && et_framer_held(&h->framer) == 0 &&
	    tls_begins(w->e, data, size) && et_tlsread_new(&c->tls) == 0) {
		c->tls_client = (int)(h - c->half);
	}
	if (c->tls != NULL) {
		through_tls(w, data, size);
		return;
	}
	unsigned flags = et_framer_feed(&h->framer, data, size, on_message, w);
	judge(w, flags, size);
	settle_packets(w, flags, 0);
}

/* Pieces that are not early any more. */
static void drain(struct work *w)
{
	struct et_tcp_half *h = w->h;
	while (h->pieces != NULL && (int32_t)(h->pieces->seq - h->next) <= 0) {
		struct et_tcp_piece *p = h->pieces;
		uint32_t seen = h->next - p->seq;
		h->pieces = p->next;
		h->piece_bytes -= sizeof(*p) + p->size;
		h->piece_count--;
		if (seen < p->size) {
			in_order(w, p->data + seen, p->size - seen, p->packets);
		} else { /* a retransmission in one segment was quicker */
			w->e->packets.pending -= p->packets;
			w->e->packets.other[ET_OTHER_TCP_AGAIN] += p->packets;
		}
		free(p);
	}
	h->hole_us = h->pieces == NULL ? 0 : h->hole_us;
}

/* What is missing before the first piece is lost. */
static void skip_hole(struct work *w)
{
	struct et_tcp_half *h = w->h;
	w->e->tcp->gaps++;
	uint32_t undecided = h->undecided;
	et_tcp_stream_gap(w->c, (int)(h - w->c->half), h->pieces->seq - h->next);
	if (undecided > 0) {
		et_tcp_give_up(w->e, h, ET_UNCLAIMED_TCP_GAP);
	}
	h->next = h->pieces->seq;
	drain(w);
	h->hole_us = h->pieces == NULL ? 0 : w->e->now_us;
}

/* ---- Early segments -------------------------------------------------------------------------- */

static bool piece_insert(struct et_tcp_half *h, struct et_tcp_piece **at, uint32_t seq,
			 const uint8_t *data, uint32_t size, uint32_t packets)
{
	struct et_tcp_piece *p = malloc(sizeof(*p) + size);
	if (p == NULL) {
		return false;
	}
	p->next = *at;
	p->seq = seq;
	p->size = size;
	p->packets = packets;
	memcpy(p->data, data, size);
	*at = p;
	h->piece_count++;
	h->piece_bytes += sizeof(*p) + size;
	return true;
}

/* What of [seq, seq + size) no piece has yet; what came first stays. Returns the pieces made. */
static uint32_t pieces_add(struct et_tcp_half *h, uint32_t seq, const uint8_t *data, uint32_t size)
{
	uint32_t made = 0;
	struct et_tcp_piece **at = &h->pieces;
	while (size > 0) {
		struct et_tcp_piece *p = *at;
		uint32_t before = p == NULL ? size : (int32_t)(p->seq - seq) > 0 ? p->seq - seq : 0;
		uint32_t n = before < size ? before : size;
		if (n > 0) {
			if (!piece_insert(h, at, seq, data, n, made == 0 ? 1 : 0)) {
				break;
			}
			made++;
			at = &(*at)->next;
		} else if ((int32_t)(p->seq + p->size - seq) > 0) {
			n = p->seq + p->size - seq;
			n = n < size ? n : size;
			at = &p->next;
		} else {
			at = &p->next;
		}
		seq += n;
		data += n;
		size -= n;
	}
	return made;
}

static void early(struct work *w, uint32_t seq)
{
	struct et_engine *e = w->e;
	struct et_tcp_half *h = w->h;
	uint32_t made = pieces_add(h, seq, w->p->payload, w->p->size);
	if (made == 0) {
		e->packets.other[ET_OTHER_TCP_AGAIN]++;
		return;
	}
	e->packets.pending++;
	h->hole_us = h->hole_us == 0 ? e->now_us : h->hole_us;
	while (h->pieces != NULL &&
	       (h->piece_count > PIECES_MAX || h->piece_bytes > e->tcp->message_max)) {
		skip_hole(w);
	}
}

/* ---- Segments -------------------------------------------------------------------------------- */

static bool is_far(uint32_t a, uint32_t b)
{
	int32_t apart = (int32_t)(a - b);
	return apart > WINDOW || apart < -WINDOW;
}

/* Has the stream really moved to [seq, seq + size), far from where it was? */
static bool moved(struct et_tcp_half *h, uint32_t seq, uint32_t size)
{
	if (h->has_syn && seq == h->syn + 1) {
		return true;
	}
	if (h->has_ack && is_far(h->acked, h->next) && !is_far(seq, h->acked)) {
		return true;
	}
	h->far_count = h->far_count > 0 && seq == h->far_next ? (uint8_t)(h->far_count + 1) : 1;
	h->far_next = seq + size;
	return h->far_count >= FAR_STREAK;
}

static void payload(struct work *w)
{
	struct et_engine *e = w->e;
	struct et_tcp_half *h = w->h;
	const struct et_packet *p = w->p;
	uint32_t seq = p->seq + ((p->tcp_flags & FLAG_SYN) != 0 ? 1 : 0);
	if (!h->synced) {
		h->synced = true;
		h->next = seq;
	}
	int32_t ahead = (int32_t)(seq - h->next);
	if (is_far(seq, h->next)) {
		if (!moved(h, seq, p->size)) {
			e->packets.unclaimed[ET_UNCLAIMED_TCP_STRAY]++;
			return;
		}
		e->tcp->gaps++;
		et_tcp_half_reset(e, w->c, (int)(h - w->c->half), ET_UNCLAIMED_TCP_GAP);
		h->synced = true;
		h->next = seq;
		ahead = 0;
	}
	h->far_count = 0;
	if (ahead > 0) {
		early(w, seq);
	} else if ((uint32_t)-ahead >= p->size) {
		e->packets.other[ET_OTHER_TCP_AGAIN]++;
	} else {
		e->packets.pending++;
		in_order(w, p->payload - ahead, p->size - (uint32_t)-ahead, 1);
		drain(w);
	}
}

static void note_flags(struct et_engine *e, struct et_tcp_connection *c, int sender,
		       const struct et_packet *p)
{
	struct et_tcp_half *h = &c->half[sender];
	struct et_tcp_half *peer = &c->half[1 - sender];
	if ((p->tcp_flags & FLAG_ACK) != 0) {
		peer->acked = p->ack;
		peer->has_ack = true;
	}
	if ((p->tcp_flags & FLAG_SYN) != 0) {
		if (c->over) { /* the ports are used again */
			et_tcp_half_reset(e, c, 0, ET_UNCLAIMED_TCP_GAP);
			et_tcp_half_reset(e, c, 1, ET_UNCLAIMED_TCP_GAP);
			et_framer_release(&c->half[0].framer);
			et_framer_release(&c->half[1].framer);
			c->tls = et_tlsread_free(c->tls);
			et_tcp_touch(e->tcp, c, c->proven, false);
			c->over = false;
		}
		h->syn = p->seq;
		h->has_syn = true;
		if (!h->synced) {
			h->synced = true;
			h->next = p->seq + 1;
		}
	}
	if ((p->tcp_flags & (FLAG_RST | FLAG_FIN)) != 0) {
		c->over = true;
		et_tcp_touch(e->tcp, c, false, c->trusted);
	}
}

/* Is what is missing known to be lost? */
static bool hole_is_over(const struct et_engine *e, const struct et_tcp_half *h)
{
	int64_t age_us = e->now_us - h->hole_us;
	if (h->hole_us == 0 || h->pieces == NULL) {
		return false;
	}
	bool acked = h->has_ack && (int32_t)(h->acked - h->pieces->seq) >= 0 &&
		     (int32_t)(h->acked - h->pieces->seq) < WINDOW;
	return age_us > HOLE_US || (acked && age_us > ACKED_US);
}

static void check_holes(struct et_engine *e, struct et_tcp_connection *c, const struct et_packet *p)
{
	for (int i = 0; i < 2; i++) {
		struct work w = { .e = e, .c = c, .h = &c->half[i], .p = p };
		if (hole_is_over(e, w.h)) {
			skip_hole(&w);
		}
	}
}

/* What waits longest goes first: a stranger's endless messages, not one that is almost whole. */
static void shrink(struct et_engine *e)
{
	struct et_tcp *t = e->tcp;
	while (t->bytes > t->bytes_max && t->holding.oldest != NULL) {
		t->evicted++;
		et_tcp_drop(e, t->holding.oldest, ET_UNCLAIMED_TCP_LIMIT);
	}
}

/* Is a connection that is not known worth a look? */
static bool is_worth(const struct et_engine *e, const struct et_packet *p, bool sip_port)
{
	if (p->size == 0) {
		return sip_port && (p->tcp_flags & (FLAG_SYN | FLAG_RST)) == FLAG_SYN;
	}
	return sip_port || et_framer_recognise(p->payload, p->size) ||
	       tls_begins(e, p->payload, p->size);
}

/* It is looked at no more. */
static void make_foreign(struct et_engine *e, struct et_tcp_connection *c)
{
	enum et_capture_unclaimed reason =
		c->tls != NULL ? ET_UNCLAIMED_TLS_NO_KEY : ET_UNCLAIMED_TCP_UNSYNCED;
	et_tcp_half_reset(e, c, 0, reason);
	et_tcp_half_reset(e, c, 1, reason);
	c->tls = et_tlsread_free(c->tls);
	et_tcp_touch(e->tcp, c, c->proven, false);
}

static void segment(struct et_engine *e, struct et_tcp_connection *c, int sender,
		    const struct et_packet *p)
{
	struct work w = { .e = e, .c = c, .h = &c->half[sender], .p = p };
	if (c->foreign) {
		if (p->size == 0 || !is_worth(e, p, false)) {
			e->packets.other[ET_OTHER_TCP]++;
			return;
		}
		c->foreign = false;
		c->bytes = 0;
		et_tcp_half_reset(e, c, sender, ET_UNCLAIMED_TCP_GAP);
	}
	note_flags(e, c, sender, p);
	if (p->is_cut) {
		e->packets.unclaimed[ET_UNCLAIMED_TRUNCATED]++; /* a hole in the stream */
	} else if (p->size == 0) {
		e->packets.other[ET_OTHER_TCP_CONTROL]++;
	} else {
		payload(&w);
	}
	check_holes(e, c, p);
	if (c->foreign) {
		make_foreign(e, c);
	}
}

void et_tcp_packet(struct et_engine *e, const struct et_packet *p, bool sip_port)
{
	struct et_tcp *t = e->tcp;
	struct et_tcp_key key;
	int sender = et_tcp_key_of(p, &key);
	uint64_t hash = et_hash(t->table.seed, &key, sizeof(key));
	struct et_tcp_connection *c = et_tcp_find(t, &key, hash);
	if (c == NULL && is_worth(e, p, sip_port)) {
		c = et_tcp_begin(e, &key, hash);
	}
	if (c == NULL) {
		e->packets.other[ET_OTHER_TCP]++;
		return;
	}
	c->seen_us = e->now_us;
	et_tcp_touch(t, c, c->proven, c->trusted);
	size_t before = et_tcp_connection_held(c);
	segment(e, c, sender, p);
	et_tcp_settle(t, c, before);
	shrink(e);
}

/* ---- Time ------------------------------------------------------------------------------------ */

static void expire(struct et_engine *e, struct et_tcp_list *l, int64_t after_us, bool all)
{
	while (l->oldest != NULL && (all || e->now_us - l->oldest->seen_us > after_us)) {
		et_tcp_end(e, l->oldest, ET_UNCLAIMED_TCP_GAP);
	}
}

static void check_part(struct et_engine *e, struct et_tcp_connection *c)
{
	for (int i = 0; i < 2; i++) {
		struct et_tcp_half *h = &c->half[i];
		if (h->part_us == 0 || e->now_us - h->part_us <= PART_US) {
			continue;
		}
		if (c->tls != NULL && et_tlsread_is_waiting(c->tls)) {
			c->foreign = true;
			make_foreign(e, c);
			return;
		}
		et_tcp_stream_gap(c, i, 0);
		et_tcp_give_up(e, h, ET_UNCLAIMED_TCP_GAP);
	}
}

/* The key log may have grown. */
static void check_keys(struct et_engine *e, struct et_tcp_connection *c, const struct et_packet *p)
{
	if (c->tls != NULL && et_tlsread_is_waiting(c->tls)) {
		struct work w = { .e = e, .c = c, .h = &c->half[c->tls_client], .p = p };
		through_tls(&w, NULL, 0);
	}
}

void et_tcp_sweep(struct et_engine *e, bool all)
{
	struct et_tcp *t = e->tcp;
	struct et_tcp_connection *newer = NULL;
	/* Holes are given up before their connections: what came behind them may be whole. */
	for (struct et_tcp_connection *c = t->holding.oldest; c != NULL; c = newer) {
		struct et_packet p = { .time_us = e->now_us };
		newer = c->holding.newer;
		size_t before = et_tcp_connection_held(c);
		if (all) {
			for (int i = 0; i < 2; i++) {
				struct work w = { .e = e, .c = c, .h = &c->half[i], .p = &p };
				while (w.h->pieces != NULL) {
					skip_hole(&w);
				}
			}
		} else {
			check_holes(e, c, &p);
		}
		check_keys(e, c, &p);
		check_part(e, c);
		et_tcp_settle(t, c, before);
	}
	for (int i = 0; i < ET_TCP_RANKS; i++) {
		expire(e, &t->ranks[i], i == ET_TCP_UNPROVEN ? UNPROVEN_US : PROVEN_US, all);
	}
}
