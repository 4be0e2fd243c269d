#include "node/capture/tcp_connection_internal.h"

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

static struct et_tcp_ends *ends_of(const struct et_tcp *t, const struct et_tcp_list *l,
				   struct et_tcp_connection *c)
{
	return l == &t->holding ? &c->holding : &c->age;
}

static void list_add(struct et_tcp *t, struct et_tcp_list *l, struct et_tcp_connection *c)
{
	struct et_tcp_ends *ends = ends_of(t, l, c);
	ends->newer = NULL;
	ends->older = l->newest;
	*(l->newest != NULL ? &ends_of(t, l, l->newest)->newer : &l->oldest) = c;
	l->newest = c;
}

static void list_remove(struct et_tcp *t, struct et_tcp_list *l, struct et_tcp_connection *c)
{
	struct et_tcp_ends *ends = ends_of(t, l, c);
	*(ends->older != NULL ? &ends_of(t, l, ends->older)->newer : &l->oldest) = ends->newer;
	*(ends->newer != NULL ? &ends_of(t, l, ends->newer)->older : &l->newest) = ends->older;
}

static struct et_tcp_list *rank_of(struct et_tcp *t, const struct et_tcp_connection *c)
{
	return &t->ranks[c->trusted ? ET_TCP_TRUSTED : c->proven ? ET_TCP_PROVEN : ET_TCP_UNPROVEN];
}

void et_tcp_touch(struct et_tcp *t, struct et_tcp_connection *c, bool proven, bool trusted)
{
	list_remove(t, rank_of(t, c), c);
	c->proven = proven;
	c->trusted = trusted;
	list_add(t, rank_of(t, c), c);
}

/* ---- What a direction holds ------------------------------------------------------------------ */

static size_t half_held(const struct et_tcp_half *h)
{
	return h->piece_bytes + et_framer_held(&h->framer);
}

static size_t tls_held(const struct et_tcp_connection *c, int side)
{
	return c->tls != NULL ? et_tlsread_held(c->tls, side == c->tls_client ? ET_TLSREAD_CLIENT
									      : ET_TLSREAD_SERVER)
			      : 0;
}

size_t et_tcp_connection_held(const struct et_tcp_connection *c)
{
	return half_held(&c->half[0]) + half_held(&c->half[1]) + tls_held(c, 0) + tls_held(c, 1);
}

bool et_tcp_waits(const struct et_tcp_connection *c, int side)
{
	return et_framer_held(&c->half[side].framer) > 0 || tls_held(c, side) > 0;
}

void et_tcp_stream_gap(struct et_tcp_connection *c, int side, uint64_t size)
{
	if (c->tls != NULL) {
		et_tlsread_gap(c->tls,
			       side == c->tls_client ? ET_TLSREAD_CLIENT : ET_TLSREAD_SERVER);
		size = 0;
	}
	et_framer_gap(&c->half[side].framer, size);
	c->half[side].part_us = 0;
}

void et_tcp_settle(struct et_tcp *t, struct et_tcp_connection *c, size_t before)
{
	size_t now = et_tcp_connection_held(c);
	t->bytes = t->bytes - before + now;
	if (now > 0 && !c->is_holding) {
		list_add(t, &t->holding, c);
	} else if (now == 0 && c->is_holding) {
		list_remove(t, &t->holding, c);
	}
	c->is_holding = now > 0;
}

void et_tcp_give_up(struct et_engine *e, struct et_tcp_half *h, enum et_capture_unclaimed reason)
{
	e->packets.pending -= h->undecided;
	e->packets.unclaimed[reason] += h->undecided;
	h->undecided = 0;
}

static void piece_free(struct et_tcp_half *h, struct et_tcp_piece *p)
{
	h->pieces = p->next;
	h->piece_bytes -= sizeof(*p) + p->size;
	h->piece_count--;
	free(p);
}

static void drop_pieces(struct et_engine *e, struct et_tcp_half *h,
			enum et_capture_unclaimed reason)
{
	while (h->pieces != NULL) {
		h->undecided += h->pieces->packets;
		piece_free(h, h->pieces);
	}
	et_tcp_give_up(e, h, reason);
	h->hole_us = 0;
}

void et_tcp_half_reset(struct et_engine *e, struct et_tcp_connection *c, int side,
		       enum et_capture_unclaimed reason)
{
	struct et_tcp_half *h = &c->half[side];
	drop_pieces(e, h, reason);
	et_tcp_stream_gap(c, side, 0);
	h->synced = false;
	h->far_count = 0;
}

void et_tcp_drop(struct et_engine *e, struct et_tcp_connection *c, enum et_capture_unclaimed reason)
{
	size_t before = et_tcp_connection_held(c);
	if (c->tls != NULL && et_tlsread_is_waiting(c->tls)) {
		et_tlsread_give_up(c->tls);
	}
	et_tcp_half_reset(e, c, 0, reason);
	et_tcp_half_reset(e, c, 1, reason);
	et_tcp_settle(e->tcp, c, before);
}

static void connection_free(struct et_tcp *t, struct et_tcp_connection *c)
{
	et_table_remove(&t->table, &c->link);
	list_remove(t, rank_of(t, c), c);
	t->count--;
	(void)et_tlsread_free(c->tls);
	free(c);
}

void et_tcp_end(struct et_engine *e, struct et_tcp_connection *c, enum et_capture_unclaimed reason)
{
	et_tcp_drop(e, c, reason);
	connection_free(e->tcp, c);
}

struct et_tcp *et_tcp_free(struct et_tcp *t)
{
	if (t == NULL) {
		return NULL;
	}
	for (size_t i = 0; i < ET_TCP_RANKS; i++) {
		while (t->ranks[i].oldest != NULL) {
			struct et_tcp_connection *c = t->ranks[i].oldest;
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

int et_tcp_key_of(const struct et_packet *p, struct et_tcp_key *ret)
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

struct et_tcp_connection *et_tcp_find(const struct et_tcp *t, const struct et_tcp_key *key,
				      uint64_t hash)
{
	for (struct et_link *l = et_table_first(&t->table, hash); l != NULL; l = l->next) {
		struct et_tcp_connection *c = ET_CONTAINER_OF(l, struct et_tcp_connection, link);
		if (l->hash == hash && memcmp(&c->key, key, sizeof(*key)) == 0) {
			return c;
		}
	}
	return NULL;
}

struct et_tcp_connection *et_tcp_begin(struct et_engine *e, const struct et_tcp_key *key,
				       uint64_t hash)
{
	struct et_tcp *t = e->tcp;
	if (t->count == t->limit) {
		struct et_tcp_connection *old = NULL;
		for (int i = 0; old == NULL; i++) {
			et_assert(i < ET_TCP_RANKS); /* it has somebody: it is full */
			old = t->ranks[i].oldest;
		}
		t->evicted += old->proven ? 1 : 0;
		et_tcp_end(e, old, ET_UNCLAIMED_TCP_LIMIT);
	}
	struct et_tcp_connection *c = calloc(1, sizeof(*c));
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
