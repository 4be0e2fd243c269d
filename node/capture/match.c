#include "node/capture/match_internal.h"

enum {
	RANK_SSRC = 64,
	RANK_BOTH = 32,
	RANK_ONE = 16,
	RANK_LIVE = 8,
	RANK_TWIN = 4,
	RANK_FRESH = 2
};

static const struct et_endpoint *endpoint_of(const struct et_call *c, uint8_t side,
					     const uint8_t address[16], uint16_t port)
{
	for (const struct et_endpoint *ep = c->endpoints; ep != NULL; ep = ep->next) {
		if (ep->side == side && ep->port == port && memcmp(ep->address, address, 16) == 0) {
			return ep;
		}
	}
	return NULL;
}

static bool names_ssrc(const struct et_call *c, uint8_t side, uint32_t ssrc)
{
	for (const struct et_endpoint *ep = c->endpoints; ep != NULL; ep = ep->next) {
		for (uint32_t i = 0; ep->side == side && i < ep->ssrc_count; i++) {
			if (ep->ssrcs[i] == ssrc) {
				return true;
			}
		}
	}
	return false;
}

/* What the call's streams say: does `party` send on this 5-tuple already; does the other side send
 * back with the same SSRC (some clients use one SSRC both ways)? */
static int rank_by_streams(const struct et_call *c, uint8_t party, const struct et_stream_key *key)
{
	bool fresh = true;
	bool twin = false;
	for (const struct et_stream *s = c->streams; s != NULL; s = s->next) {
		if (s->frozen) {
			continue;
		}
		if (s->party == party && s->key.sport == key->sport && s->key.dport == key->dport &&
		    memcmp(s->key.src, key->src, 32) == 0) {
			fresh = false;
		}
		if (s->party != party && s->key.ssrc == key->ssrc) {
			twin = true;
		}
	}
	return (fresh ? RANK_FRESH : 0) + (fresh && twin ? RANK_TWIN : 0);
}

/* A call is a better match when SDP names the SSRC, both addresses rather than one, when it is not
 * over, when its other side uses the SSRC, and when it has no stream there yet. */
static void rank(struct et_match *m, const struct et_stream_key *key)
{
	m->certain = (names_ssrc(m->call, m->party, key->ssrc) ? RANK_SSRC : 0) +
		     (m->to != NULL && m->from != NULL ? RANK_BOTH : RANK_ONE) +
		     (m->call->ended ? 0 : RANK_LIVE);
	m->rank = m->certain + rank_by_streams(m->call, m->party, key);
	m->rivals = 1;
}

/* Of equals that have no stream yet the oldest, else the newest. */
static bool better(const struct et_match *a, const struct et_match *b)
{
	if (a->rank != b->rank) {
		return a->rank > b->rank;
	}
	bool fresh = (a->rank & RANK_FRESH) != 0;
	return fresh ? a->call->facts.start_us < b->call->facts.start_us
		     : a->call->facts.start_us > b->call->facts.start_us;
}

static void consider(struct et_match *best, struct et_match *m, const struct et_stream_key *key)
{
	bool exact = m->to != NULL && m->from != NULL;
	if (m->call->media_only && !exact) {
		return;
	}
	if (m->call->superseded) {
		return;
	}
	rank(m, key);
	if (best->call == m->call && best->party == m->party) {
		return;
	}
	if (best->call == NULL) {
		*best = *m;
		return;
	}
	int rivals = m->certain == best->certain  ? best->rivals + 1
		     : m->certain > best->certain ? 1
						  : best->rivals;
	if (better(m, best)) {
		*best = *m;
	}
	best->rivals = rivals;
}

struct et_match et_match_find(struct et_engine *e, const struct et_stream_key *key)
{
	struct et_match best = { .call = NULL };
	uint64_t hash = 0;
	int steps = 0;
	struct et_link *l = et_endpoint_first(e, key->dst, key->dport, &hash);
	for (; l != NULL && steps < ET_CHAIN_MAX; l = l->next, steps++) {
		struct et_endpoint *ep = ET_CONTAINER_OF(l, struct et_endpoint, link);
		if (l->hash != hash || ep->port != key->dport ||
		    memcmp(ep->address, key->dst, 16) != 0) {
			continue;
		}
		uint8_t party = ep->side == 0 ? 1 : 0;
		struct et_match m = { .call = ep->call, .party = party, .to = ep };
		m.from = endpoint_of(ep->call, party, key->src, key->sport);
		consider(&best, &m, key);
	}
	if (best.call != NULL && best.to != NULL && best.from != NULL) {
		return best;
	}
	l = et_endpoint_first(e, key->src, key->sport, &hash);
	for (steps = 0; l != NULL && steps < ET_CHAIN_MAX; l = l->next, steps++) {
		struct et_endpoint *ep = ET_CONTAINER_OF(l, struct et_endpoint, link);
		if (l->hash == hash && ep->port == key->sport &&
		    memcmp(ep->address, key->src, 16) == 0) {
			struct et_match m = { .call = ep->call, .party = ep->side, .from = ep };
			consider(&best, &m, key);
		}
	}
	return best;
}

enum et_capture_association et_match_association(const struct et_match *m)
{
	if ((m->certain & RANK_SSRC) != 0) {
		return ET_ASSOCIATION_SSRC;
	}
	return m->rivals == 1 && !m->call->media_only ? ET_ASSOCIATION_SDP
						      : ET_ASSOCIATION_INFERRED;
}
