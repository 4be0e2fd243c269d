/* Reassembly of IP fragments (RFC 791, RFC 8200 section 4.5). Overlaps end the whole packet, as RFC
 * 5722 asks for IPv6 and safety for IPv4; a fragment that repeats another exactly is passed over.
 * Where there is no room the oldest gives way: pieces of a datagram come close together, and who
 * sends a few halves a second must not keep out all that is fragmented.
 */
#include <string.h>

#include "node/base/bytes.h"
#include "node/capture/packet_internal.h"
#include "node/capture/table_internal.h"

enum {
	PIECES_MAX = 128, /* fragments of one packet */
	PACKET_MAX = 65535,
};

#define TIMEOUT_US (10 * 1000000LL)

struct piece {
	uint32_t offset;
	uint32_t size;
};

struct key {
	uint8_t src[16];
	uint8_t dst[16];
	uint32_t id;
	uint32_t protocol;
};

struct whole {
	struct et_link link;
	struct key key;
	struct whole *newer; /* by age */
	struct whole *older;
	int64_t first_us;
	uint8_t *data; /* owned; PACKET_MAX at most */
	uint32_t capacity;
	uint32_t total; /* of the packet; 0: the last fragment was not seen yet */
	uint32_t have;	/* bytes */
	uint64_t frames;
	uint32_t piece_count;
	struct piece pieces[PIECES_MAX];
};

struct et_defrag {
	struct et_table table;
	struct whole *oldest;
	struct whole *newest;
	uint32_t count;
	uint32_t limit;
	uint8_t *done; /* owned: the packet that was handed out last */
};

struct et_defrag *et_defrag_new(uint32_t limit, uint64_t seed)
{
	struct et_defrag *d = calloc(1, sizeof(*d));
	if (d == NULL) {
		return NULL;
	}
	d->limit = limit;
	if (!et_table_init(&d->table, limit, seed)) {
		free(d);
		return NULL;
	}
	return d;
}

/* Take it out of the table and free it; keep its data when it was handed out. */
static void whole_free(struct et_defrag *d, struct whole *w)
{
	et_table_remove(&d->table, &w->link);
	*(w->older != NULL ? &w->older->newer : &d->oldest) = w->newer;
	*(w->newer != NULL ? &w->newer->older : &d->newest) = w->older;
	d->count--;
	free(w->data);
	free(w);
}

struct et_defrag *et_defrag_free(struct et_defrag *d)
{
	if (d != NULL) {
		while (d->oldest != NULL) {
			whole_free(d, d->oldest);
		}
		et_table_release(&d->table);
		free(d->done);
		free(d);
	}
	return NULL;
}

/* It will never be whole. */
static void give_up(struct et_defrag *d, struct whole *w, enum et_capture_unclaimed reason,
		    struct et_capture_packets *packets)
{
	packets->pending -= w->frames;
	packets->unclaimed[reason] += w->frames;
	whole_free(d, w);
}

void et_defrag_expire(struct et_defrag *d, int64_t now_us, bool all,
		      struct et_capture_packets *packets)
{
	while (d->oldest != NULL && (all || d->oldest->first_us + TIMEOUT_US < now_us)) {
		give_up(d, d->oldest, ET_UNCLAIMED_FRAGMENT_INCOMPLETE, packets);
	}
}

static struct whole *find(struct et_defrag *d, const struct key *key, uint64_t hash)
{
	for (struct et_link *l = et_table_first(&d->table, hash); l != NULL; l = l->next) {
		struct whole *w = ET_CONTAINER_OF(l, struct whole, link);
		if (l->hash == hash && memcmp(&w->key, key, sizeof(*key)) == 0) {
			return w;
		}
	}
	return NULL;
}

static struct whole *begin(struct et_defrag *d, const struct key *key, uint64_t hash,
			   int64_t now_us, struct et_capture_packets *packets)
{
	if (d->count == d->limit) {
		give_up(d, d->oldest, ET_UNCLAIMED_FRAGMENT_LIMIT, packets);
	}
	struct whole *w = calloc(1, sizeof(*w));
	if (w == NULL) {
		return NULL;
	}
	w->key = *key;
	w->first_us = now_us;
	w->older = d->newest;
	*(d->newest != NULL ? &d->newest->newer : &d->oldest) = w;
	d->newest = w;
	d->count++;
	et_table_add(&d->table, &w->link, hash);
	return w;
}

static bool reserve(struct whole *w, uint32_t size)
{
	if (size <= w->capacity) {
		return true;
	}
	uint32_t capacity = w->capacity == 0 ? 4096 : w->capacity;
	while (capacity < size) {
		capacity *= 2;
	}
	uint8_t *data = realloc(w->data, capacity);
	if (data == NULL) {
		return false;
	}
	w->data = data;
	w->capacity = capacity;
	return true;
}

enum place { PLACE_OK, PLACE_AGAIN, PLACE_BAD };

static enum place place(struct whole *w, const struct et_fragment *f)
{
	uint32_t end = f->offset + f->size;
	if (f->size == 0 || end > PACKET_MAX || (f->more && f->size % 8 != 0)) {
		return PLACE_BAD;
	}
	for (uint32_t i = 0; i < w->piece_count; i++) {
		const struct piece *p = &w->pieces[i];
		if (p->offset == f->offset && p->size == f->size) {
			return PLACE_AGAIN;
		}
		if (f->offset < p->offset + p->size && p->offset < end) {
			return PLACE_BAD;
		}
		if (!f->more && p->offset + p->size > end) {
			return PLACE_BAD;
		}
	}
	if ((w->total != 0 && (end > w->total || !f->more)) || w->piece_count == PIECES_MAX ||
	    !reserve(w, end)) {
		return PLACE_BAD;
	}
	memcpy(w->data + f->offset, f->data, f->size);
	w->pieces[w->piece_count++] = (struct piece){ .offset = f->offset, .size = f->size };
	w->have += f->size;
	if (!f->more) {
		w->total = end;
	}
	return PLACE_OK;
}

bool et_defrag_add(struct et_defrag *d, const struct et_fragment *f, struct et_view *ret,
		   struct et_capture_packets *packets)
{
	struct key key = { .id = f->id, .protocol = f->protocol };
	memcpy(key.src, f->src, 16);
	memcpy(key.dst, f->dst, 16);
	et_defrag_expire(d, f->time_us, false, packets);

	uint64_t hash = et_hash(d->table.seed, &key, sizeof(key));
	struct whole *w = find(d, &key, hash);
	if (w == NULL) {
		w = begin(d, &key, hash, f->time_us, packets);
	}
	if (w == NULL) {
		packets->unclaimed[ET_UNCLAIMED_FRAGMENT_LIMIT]++;
		return false;
	}
	w->frames++;
	packets->pending++;
	if (place(w, f) == PLACE_BAD) {
		give_up(d, w, ET_UNCLAIMED_FRAGMENT_BAD, packets);
		return false;
	}
	if (w->total == 0 || w->have < w->total) {
		return false;
	}

	/* The last piece is counted by the caller as what the packet is. */
	packets->pending -= w->frames;
	packets->other[ET_OTHER_FRAGMENT] += w->frames - 1;
	free(d->done);
	d->done = ET_TAKE(w->data);
	*ret = (struct et_view){ .data = d->done, .size = w->total };
	whole_free(d, w);
	return true;
}
