#include "node/capture/tcp_internal.h"

#include "node/capture/engine_internal.h"
#include "node/sip/framer.h"
#include "node/tlsread/tlsread.h"

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

/* An early segment, or what is new of it. */
struct piece {
	struct piece *next;
	uint32_t seq;
	uint32_t size;
	uint32_t packets; /* 1: its packet is counted with it; 0: with another piece */
	uint8_t data[];
};

/* One direction. */
struct half {
	struct et_framer framer;
	struct piece *pieces; /* owned; in order, disjoint, all behind `next` */
	size_t piece_bytes;
	uint32_t piece_count;
	uint32_t undecided; /* packets in the framer that are not counted yet */
	uint32_t next;	    /* sequence number */
	uint32_t syn;
	uint32_t acked; /* by the receiver */
	uint32_t far_next;
	uint8_t far_count;
	bool synced; /* `next` is known */
	bool has_syn;
	bool has_ack;
	int64_t hole_us; /* since when something is missing; 0: nothing */
	int64_t part_us; /* since when a part of a message waits; 0: none */
};

/* No padding: hashed and compared as bytes. The lower end stands first. */
struct key {
	uint8_t address[2][16];
	uint16_t port[2];
};

struct ends {
	struct connection *older;
	struct connection *newer;
};

struct connection {
	struct et_link link;
	struct ends age;     /* in the list of its rank, by the last segment */
	struct ends holding; /* in `holding`, by when it began to hold bytes */
	struct key key;
	struct half half[2];	/* by who sends: key.address[i] */
	struct et_tlsread *tls; /* owned; NULL: in clear */
	int tls_client;		/* which half is the client's */
	int64_t seen_us;
	uint64_t bytes; /* without SIP */
	bool proven;	/* SIP was in it */
	bool trusted;	/* ... and authentic: nobody can forge what a key opens */
	bool foreign;	/* another protocol on a SIP port */
	bool over;	/* RST or FIN was seen */
	bool is_holding;
};

struct list {
	struct connection *oldest;
	struct connection *newest;
};

enum rank { UNPROVEN, PROVEN, TRUSTED, RANKS }; /* a full table gives up in this order */

struct et_tcp {
	struct et_table table;
	struct list ranks[RANKS];
	struct list holding;
	uint32_t count;
	uint32_t limit;
	size_t message_max;
	size_t bytes;
	size_t bytes_max;
	uint64_t gaps;
	uint64_t evicted;
	struct et_framer_counts framed;
};

struct et_tcp *et_tcp_new(const struct et_capture_limits *limits, uint64_t seed)
{
	struct et_tcp *t = calloc(1, sizeof(*t));
	if (t == NULL || !et_table_init(&t->table, limits->tcp_connections, seed)) {
		free(t);
		return NULL;
	}
	t->limit = limits->tcp_connections;
	t->message_max = limits->tcp_message_bytes;
	t->bytes_max = limits->tcp_bytes;
	return t;
}

void et_tcp_tell(const struct et_tcp *t, struct et_capture_metrics *ret)
{
	ret->tcp_connections = t->count;
	ret->tcp_messages = t->framed.messages;
	ret->tcp_gaps = t->gaps;
	ret->tcp_resyncs = t->framed.resyncs;
	ret->tcp_cut = t->framed.cut;
	ret->tcp_too_long = t->framed.too_long;
	ret->tcp_no_length = t->framed.no_length;
	ret->tcp_evicted = t->evicted;
	ret->websocket_compressed = t->framed.compressed;
}

size_t et_tcp_held(const struct et_tcp *t)
{
	return t->bytes;
}

/* ---- Lists ----------------------------------------------------------------------------------- */

static struct ends *ends_of(const struct et_tcp *t, const struct list *l, struct connection *c)
{
	return l == &t->holding ? &c->holding : &c->age;
}

static void list_add(struct et_tcp *t, struct list *l, struct connection *c)
{
	struct ends *ends = ends_of(t, l, c);
	ends->newer = NULL;
	ends->older = l->newest;
	*(l->newest != NULL ? &ends_of(t, l, l->newest)->newer : &l->oldest) = c;
	l->newest = c;
}

static void list_remove(struct et_tcp *t, struct list *l, struct connection *c)
{
	struct ends *ends = ends_of(t, l, c);
	*(ends->older != NULL ? &ends_of(t, l, ends->older)->newer : &l->oldest) = ends->newer;
	*(ends->newer != NULL ? &ends_of(t, l, ends->newer)->older : &l->newest) = ends->older;
}

static struct list *rank_of(struct et_tcp *t, const struct connection *c)
{
	return &t->ranks[c->trusted ? TRUSTED : c->proven ? PROVEN : UNPROVEN];
}

/* Put it at the end of the list that it belongs to now. */
static void touch(struct et_tcp *t, struct connection *c, bool proven, bool trusted)
{
	list_remove(t, rank_of(t, c), c);
	c->proven = proven;
	c->trusted = trusted;
	list_add(t, rank_of(t, c), c);
}

/* ---- What a direction holds ------------------------------------------------------------------ */

static size_t half_held(const struct half *h)
{
	return h->piece_bytes + et_framer_held(&h->framer);
}

static size_t tls_held(const struct connection *c, int side)
{
	return c->tls != NULL ? et_tlsread_held(c->tls, side == c->tls_client ? ET_TLSREAD_CLIENT
									      : ET_TLSREAD_SERVER)
			      : 0;
}

/* One segment's work on a connection: bytes are settled at its end. */
static size_t held(const struct connection *c)
{
	return half_held(&c->half[0]) + half_held(&c->half[1]) + tls_held(c, 0) + tls_held(c, 1);
}

/* A part of something waits for the rest, or for its secrets. */
static bool waits(const struct connection *c, int side)
{
	return et_framer_held(&c->half[side].framer) > 0 || tls_held(c, side) > 0;
}

/* Bytes of a direction are missing. */
static void stream_gap(struct connection *c, int side, uint64_t size)
{
	if (c->tls != NULL) {
		et_tlsread_gap(c->tls,
			       side == c->tls_client ? ET_TLSREAD_CLIENT : ET_TLSREAD_SERVER);
		size = 0;
	}
	et_framer_gap(&c->half[side].framer, size);
	c->half[side].part_us = 0;
}

static void settle_bytes(struct et_tcp *t, struct connection *c, size_t before)
{
	size_t now = held(c);
	t->bytes = t->bytes - before + now;
	if (now > 0 && !c->is_holding) {
		list_add(t, &t->holding, c);
	} else if (now == 0 && c->is_holding) {
		list_remove(t, &t->holding, c);
	}
	c->is_holding = now > 0;
}

static void give_up_undecided(struct et_engine *e, struct half *h, enum et_capture_unclaimed reason)
{
	e->packets.pending -= h->undecided;
	e->packets.unclaimed[reason] += h->undecided;
	h->undecided = 0;
}

static void piece_free(struct half *h, struct piece *p)
{
	h->pieces = p->next;
	h->piece_bytes -= sizeof(*p) + p->size;
	h->piece_count--;
	free(p);
}

static void drop_pieces(struct et_engine *e, struct half *h, enum et_capture_unclaimed reason)
{
	while (h->pieces != NULL) {
		h->undecided += h->pieces->packets;
		piece_free(h, h->pieces);
	}
	give_up_undecided(e, h, reason);
	h->hole_us = 0;
}

/* Whatever waits is given up; where the stream is has to be learnt again. */
static void half_reset(struct et_engine *e, struct connection *c, int side,
		       enum et_capture_unclaimed reason)
{
	struct half *h = &c->half[side];
	drop_pieces(e, h, reason);
	stream_gap(c, side, 0);
	h->synced = false;
	h->far_count = 0;
}

/* Nothing is held behind it: not what waits for secrets either. */
static void connection_drop(struct et_engine *e, struct connection *c,
			    enum et_capture_unclaimed reason)
{
	size_t before = held(c);
	if (c->tls != NULL && et_tlsread_is_waiting(c->tls)) {
		et_tlsread_give_up(c->tls);
	}
	half_reset(e, c, 0, reason);
	half_reset(e, c, 1, reason);
	settle_bytes(e->tcp, c, before);
}

static void connection_free(struct et_tcp *t, struct connection *c)
{
	et_table_remove(&t->table, &c->link);
	list_remove(t, rank_of(t, c), c);
	t->count--;
	(void)et_tlsread_free(c->tls);
	free(c);
}

static void connection_end(struct et_engine *e, struct connection *c,
			   enum et_capture_unclaimed reason)
{
	connection_drop(e, c, reason);
	connection_free(e->tcp, c);
}

struct et_tcp *et_tcp_free(struct et_tcp *t)
{
	if (t == NULL) {
		return NULL;
	}
	for (size_t i = 0; i < RANKS; i++) {
		while (t->ranks[i].oldest != NULL) {
			struct connection *c = t->ranks[i].oldest;
			for (int k = 0; k < 2; k++) {
				et_framer_release(&c->half[k].framer);
				while (c->half[k].pieces != NULL) {
					piece_free(&c->half[k], c->half[k].pieces);
				}
			}
			connection_free(t, c);
		}
	}
	et_table_release(&t->table);
	free(t);
	return NULL;
}

/* ---- Connections ----------------------------------------------------------------------------- */

/* Returns which end sends. */
static int key_of(const struct et_packet *p, struct key *ret)
{
	_Static_assert(sizeof(*ret) == 36, "no padding");
	int order = memcmp(p->src, p->dst, 16);
	int sender = order < 0 || (order == 0 && p->sport <= p->dport) ? 0 : 1;
	memcpy(ret->address[sender], p->src, 16);
	memcpy(ret->address[1 - sender], p->dst, 16);
	ret->port[sender] = p->sport;
	ret->port[1 - sender] = p->dport;
	return sender;
}

static struct connection *find(const struct et_tcp *t, const struct key *key, uint64_t hash)
{
	for (struct et_link *l = et_table_first(&t->table, hash); l != NULL; l = l->next) {
		struct connection *c = ET_CONTAINER_OF(l, struct connection, link);
		if (l->hash == hash && memcmp(&c->key, key, sizeof(*key)) == 0) {
			return c;
		}
	}
	return NULL;
}

static struct connection *begin(struct et_engine *e, const struct key *key, uint64_t hash)
{
	struct et_tcp *t = e->tcp;
	if (t->count == t->limit) {
		struct connection *old = NULL;
		for (int i = 0; old == NULL; i++) {
			et_assert(i < RANKS); /* it has somebody: it is full */
			old = t->ranks[i].oldest;
		}
		t->evicted += old->proven ? 1 : 0;
		connection_end(e, old, ET_UNCLAIMED_TCP_LIMIT);
	}
	struct connection *c = calloc(1, sizeof(*c));
	if (c == NULL) {
		return NULL;
	}
	c->key = *key;
	for (int i = 0; i < 2; i++) {
		c->half[i].framer.message_max = t->message_max;
		c->half[i].framer.counts = &t->framed;
	}
	t->count++;
	et_table_add(&t->table, &c->link, hash);
	list_add(t, rank_of(t, c), c);
	return c;
}

/* ---- Bytes in order -------------------------------------------------------------------------- */

/* A segment in hand. */
struct work {
	struct et_engine *e;
	struct connection *c;
	struct half *h;
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
	struct half *h = w->h;
	uint32_t n = h->undecided;
	bool whole = (flags & (ET_FRAMED_MESSAGE | ET_FRAMED_SKIPPED)) != 0;
	bool parts = waits(w->c, (int)(h - w->c->half));
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
	struct connection *c = w->c;
	if ((flags & (ET_FRAMED_MESSAGE | ET_FRAMED_WEBSOCKET)) != 0) {
		c->bytes = 0;
		touch(w->e->tcp, c, true, c->trusted);
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
	struct half *h = w->h;
	int64_t packet_us = w->e->packet_us;
	int side = from == ET_TLSREAD_CLIENT ? w->c->tls_client : 1 - w->c->tls_client;
	if (!w->c->trusted) {
		touch(w->e->tcp, w->c, w->c->proven, true);
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
	struct connection *c = w->c;
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
	struct connection *c = w->c;
	struct half *h = w->h;
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
	struct half *h = w->h;
	while (h->pieces != NULL && (int32_t)(h->pieces->seq - h->next) <= 0) {
		struct piece *p = h->pieces;
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
	struct half *h = w->h;
	w->e->tcp->gaps++;
	uint32_t undecided = h->undecided;
	stream_gap(w->c, (int)(h - w->c->half), h->pieces->seq - h->next);
	if (undecided > 0) {
		give_up_undecided(w->e, h, ET_UNCLAIMED_TCP_GAP);
	}
	h->next = h->pieces->seq;
	drain(w);
	h->hole_us = h->pieces == NULL ? 0 : w->e->now_us;
}

/* ---- Early segments -------------------------------------------------------------------------- */

static bool piece_insert(struct half *h, struct piece **at, uint32_t seq, const uint8_t *data,
			 uint32_t size, uint32_t packets)
{
	struct piece *p = malloc(sizeof(*p) + size);
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
static uint32_t pieces_add(struct half *h, uint32_t seq, const uint8_t *data, uint32_t size)
{
	uint32_t made = 0;
	struct piece **at = &h->pieces;
	while (size > 0) {
		struct piece *p = *at;
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
	struct half *h = w->h;
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
static bool moved(struct half *h, uint32_t seq, uint32_t size)
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
	struct half *h = w->h;
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
		half_reset(e, w->c, (int)(h - w->c->half), ET_UNCLAIMED_TCP_GAP);
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

static void note_flags(struct et_engine *e, struct connection *c, int sender,
		       const struct et_packet *p)
{
	struct half *h = &c->half[sender];
	struct half *peer = &c->half[1 - sender];
	if ((p->tcp_flags & FLAG_ACK) != 0) {
		peer->acked = p->ack;
		peer->has_ack = true;
	}
	if ((p->tcp_flags & FLAG_SYN) != 0) {
		if (c->over) { /* the ports are used again */
			half_reset(e, c, 0, ET_UNCLAIMED_TCP_GAP);
			half_reset(e, c, 1, ET_UNCLAIMED_TCP_GAP);
			et_framer_release(&c->half[0].framer);
			et_framer_release(&c->half[1].framer);
			c->tls = et_tlsread_free(c->tls);
			touch(e->tcp, c, c->proven, false);
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
		touch(e->tcp, c, false, c->trusted);
	}
}

/* Is what is missing known to be lost? */
static bool hole_is_over(const struct et_engine *e, const struct half *h)
{
	int64_t age_us = e->now_us - h->hole_us;
	if (h->hole_us == 0 || h->pieces == NULL) {
		return false;
	}
	bool acked = h->has_ack && (int32_t)(h->acked - h->pieces->seq) >= 0 &&
		     (int32_t)(h->acked - h->pieces->seq) < WINDOW;
	return age_us > HOLE_US || (acked && age_us > ACKED_US);
}

static void check_holes(struct et_engine *e, struct connection *c, const struct et_packet *p)
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
		connection_drop(e, t->holding.oldest, ET_UNCLAIMED_TCP_LIMIT);
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
static void make_foreign(struct et_engine *e, struct connection *c)
{
	enum et_capture_unclaimed reason =
		c->tls != NULL ? ET_UNCLAIMED_TLS_NO_KEY : ET_UNCLAIMED_TCP_UNSYNCED;
	half_reset(e, c, 0, reason);
	half_reset(e, c, 1, reason);
	c->tls = et_tlsread_free(c->tls);
	touch(e->tcp, c, c->proven, false);
}

static void segment(struct et_engine *e, struct connection *c, int sender,
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
		half_reset(e, c, sender, ET_UNCLAIMED_TCP_GAP);
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
	struct key key;
	int sender = key_of(p, &key);
	uint64_t hash = et_hash(t->table.seed, &key, sizeof(key));
	struct connection *c = find(t, &key, hash);
	if (c == NULL && is_worth(e, p, sip_port)) {
		c = begin(e, &key, hash);
	}
	if (c == NULL) {
		e->packets.other[ET_OTHER_TCP]++;
		return;
	}
	c->seen_us = e->now_us;
	touch(t, c, c->proven, c->trusted);
	size_t before = held(c);
	segment(e, c, sender, p);
	settle_bytes(t, c, before);
	shrink(e);
}

/* ---- Time ------------------------------------------------------------------------------------ */

static void expire(struct et_engine *e, struct list *l, int64_t after_us, bool all)
{
	while (l->oldest != NULL && (all || e->now_us - l->oldest->seen_us > after_us)) {
		connection_end(e, l->oldest, ET_UNCLAIMED_TCP_GAP);
	}
}

static void check_part(struct et_engine *e, struct connection *c)
{
	for (int i = 0; i < 2; i++) {
		struct half *h = &c->half[i];
		if (h->part_us == 0 || e->now_us - h->part_us <= PART_US) {
			continue;
		}
		if (c->tls != NULL && et_tlsread_is_waiting(c->tls)) {
			c->foreign = true;
			make_foreign(e, c);
			return;
		}
		stream_gap(c, i, 0);
		give_up_undecided(e, h, ET_UNCLAIMED_TCP_GAP);
	}
}

/* The key log may have grown. */
static void check_keys(struct et_engine *e, struct connection *c, const struct et_packet *p)
{
	if (c->tls != NULL && et_tlsread_is_waiting(c->tls)) {
		struct work w = { .e = e, .c = c, .h = &c->half[c->tls_client], .p = p };
		through_tls(&w, NULL, 0);
	}
}

void et_tcp_sweep(struct et_engine *e, bool all)
{
	struct et_tcp *t = e->tcp;
	struct connection *newer = NULL;
	/* Holes are given up before their connections: what came behind them may be whole. */
	for (struct connection *c = t->holding.oldest; c != NULL; c = newer) {
		struct et_packet p = { .time_us = e->now_us };
		newer = c->holding.newer;
		size_t before = held(c);
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
		settle_bytes(t, c, before);
	}
	for (int i = 0; i < RANKS; i++) {
		expire(e, &t->ranks[i], i == UNPROVEN ? UNPROVEN_US : PROVEN_US, all);
	}
}
