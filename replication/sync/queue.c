/* What waits for this node to fetch it, and why it does not move; and what each site lacks. Counted
 * from the table in one walk; sync thread. */
#include <string.h>

#include "replication/sync/sync_internal.h"

_Static_assert((int)ET_SYNC_REPLAY == (int)ET_LIMIT_REPLAY &&
		       (int)ET_SYNC_REBALANCE == (int)ET_LIMIT_REBALANCE &&
		       (int)ET_SYNC_CLASSES == (int)ET_LIMIT_CLASSES,
	       "limits are by the classes of sync");

const char *et_sync_why_name(enum et_sync_why why)
{
	static const char *const names[] = { [ET_SYNC_MOVING] = "moving",
					     [ET_SYNC_LIMITED] = "limit",
					     [ET_SYNC_TURN] = "turn",
					     [ET_SYNC_PAUSED] = "paused",
					     [ET_SYNC_DISK_FULL] = "disk-full",
					     [ET_SYNC_NO_ROUTE] = "no-route",
					     [ET_SYNC_WRONG_HASH] = "wrong-hash",
					     [ET_SYNC_NO_COPY] = "no-copy",
					     [ET_SYNC_FAILED] = "failed",
					     [ET_SYNC_COMMIT] = "commit" };
	return (unsigned)why < ET_ARRAY_SIZE(names) ? names[why] : "";
}

/* Why a round failed. */
static enum et_sync_why why_of(int code)
{
	if (et_store_is_full(code)) {
		return ET_SYNC_DISK_FULL;
	}
	switch (code) {
	case 0:
		return ET_SYNC_TURN;
	case ET_EINTEGRITY:
		return ET_SYNC_WRONG_HASH;
	case ET_ENOTFOUND:
		return ET_SYNC_NO_COPY;
	case ET_EUNREACHABLE:
	case ET_ECLOSED:
	case ET_EUNTRUSTED:
	case ET_EUNSUPPORTED: /* it is starting, or no member of ours */
	case -ETIMEDOUT:
	case -ECONNREFUSED:
	case -ECONNRESET:
	case -EPIPE:
	case -EHOSTUNREACH:
	case -ENETUNREACH:
		return ET_SYNC_NO_ROUTE;
	default:
		return ET_SYNC_FAILED;
	}
}

struct counting {
	struct et_sync *s;
	struct et_sync_queue *q;
};

/* Those from other sites pass a gate; which site's does not matter to a limit, but to the base. */
static struct site *item_site(struct et_sync *s, const struct item *i, const struct pull *p)
{
	if (p != NULL && p->source < p->look.source_count) {
		return et_sync_site_of(s, p->look.sources[p->source].site);
	}
	return i->from_site;
}

static enum et_sync_why item_why(struct et_sync *s, const struct item *i, const struct pull *p)
{
	struct site *site = item_site(s, i, p);
	uint8_t klass = (uint8_t)i->klass;

	switch (i->state) {
	case ITEM_PULL:
		return et_gate_may_receive(s, site, klass) ? ET_SYNC_MOVING : ET_SYNC_LIMITED;
	case ITEM_ACK:
		return ET_SYNC_COMMIT;
	case ITEM_READY:
		return s->full_until_us != 0		   ? ET_SYNC_DISK_FULL
		       : et_gate_is_paused(s, site, klass) ? ET_SYNC_PAUSED
							   : ET_SYNC_TURN;
	case ITEM_WAIT:
	case ITEM_LOOK:
	default:
		return why_of(i->code);
	}
}

/* Among the oldest, in order; the youngest goes when it is full. */
static void oldest_add(struct et_sync_queue *q, const struct et_sync_waiting *w)
{
	uint32_t at = q->oldest_count;

	while (at > 0 && q->oldest[at - 1].sealed_us > w->sealed_us) {
		at--;
	}
	if (at == ET_SYNC_OLDEST_MAX) {
		return;
	}
	uint32_t count =
		q->oldest_count < ET_SYNC_OLDEST_MAX ? q->oldest_count + 1 : ET_SYNC_OLDEST_MAX;
	memmove(&q->oldest[at + 1], &q->oldest[at], (count - at - 1) * sizeof(*w));
	q->oldest[at] = *w;
	q->oldest_count = count;
}

/* What sites lack, whoever is to fetch it. */
static void item_lag(struct et_sync *s, const struct item *i)
{
	for (uint64_t m = i->missing; m != 0; m &= m - 1) {
		struct et_sync_site *st = &s->sites[__builtin_ctzll(m)].st;
		st->pending_segments++;
		st->pending_bytes += i->size_bytes;
		st->own_segments += i->own && strcmp(st->site, s->site) == 0;
		if (st->oldest_us == 0 || i->sealed_us < st->oldest_us) {
			st->oldest_us = i->sealed_us;
		}
	}
}

static void item_count(void *arg, const struct item *i)
{
	const struct counting *c = arg;
	struct et_sync_queue *q = c->q;

	item_lag(c->s, i);
	if (i->code == ET_ENOTFOUND && i->gone) {
		q->gone_segments++;
		q->gone_bytes += i->size_bytes;
	}
	/* What another node of this site is to fetch is in that one's queue. */
	if (!i->own && (i->state == ITEM_WAIT || i->state == ITEM_LOOK)) {
		return;
	}
	const struct pull *p =
		i->state == ITEM_PULL ? et_pull_find(c->s, &i->key, PULL_REPLICA) : NULL;
	/* While a worker judges what had arrived, that is its own. */
	uint64_t done = p != NULL && p->state != PULL_CHECK ? p->intake.good : 0;
	struct et_sync_waiting w = { .generation = i->key.generation,
				     .segment = i->key.segment,
				     .klass = i->klass,
				     .why = item_why(c->s, i, p),
				     .size_bytes = i->size_bytes,
				     .done_bytes = done,
				     .sealed_us = i->sealed_us,
				     .code = i->code };
	if (p != NULL && p->source < p->look.source_count) {
		w.from = p->look.sources[p->source].node;
	} else if (i->state == ITEM_READY) {
		w.from = i->from;
	}
	memcpy(w.recording, i->key.recording, sizeof(w.recording));
	struct et_sync_queued *row = &q->rows[w.klass][w.why];
	row->segments++;
	row->bytes += w.size_bytes - (w.done_bytes < w.size_bytes ? w.done_bytes : 0);
	row->oldest_us =
		row->oldest_us == 0 || w.sealed_us < row->oldest_us ? w.sealed_us : row->oldest_us;
	oldest_add(q, &w);
}

void et_sync_queue_count(struct et_sync *s)
{
	struct et_sync_queue *q = &s->queue;
	struct counting c = { .s = s, .q = q };

	for (uint32_t n = 0; n < s->site_count; n++) {
		struct et_sync_site *st = &s->sites[n].st;
		st->pending_segments = st->pending_bytes = st->own_segments = 0;
		st->oldest_us = 0;
	}
	memset(q->rows, 0, sizeof(q->rows));
	q->gone_segments = q->gone_bytes = 0;
	q->oldest_count = 0;
	et_table_each(&s->table, item_count, &c);
}
