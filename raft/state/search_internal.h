/* Streams of places for search (streams.c): lists of the index, unions of them, and gathered ones.
 */
#ifndef ET_RAFT_STATE_SEARCH_INTERNAL_H
#define ET_RAFT_STATE_SEARCH_INTERNAL_H

#include "raft/state/state_internal.h"

struct place {
	uint8_t bytes[PLACE_SIZE];
};

static inline int place_order(const struct place *a, const struct place *b)
{
	return memcmp(a->bytes, b->bytes, PLACE_SIZE);
}

static inline uint64_t time_inverted(int64_t us)
{
	return UINT64_MAX - (uint64_t)us;
}

/* The first place that a recording which starts at `us` may have. */
static inline struct place place_of_time(int64_t us)
{
	struct place p = { { 0 } };

	et_put64(p.bytes, time_inverted(us));
	return p;
}

enum stream_kind {
	STREAM_LIST,	 /* one list of the index */
	STREAM_UNION,	 /* of `children` */
	STREAM_GATHERED, /* of `places`, in order */
};

/* At `at` while not `ended`; new streams stand before their first place. */
struct stream {
	enum stream_kind kind;
	bool ended;
	bool started;
	struct place at;
	/* LIST */
	rocksdb_iterator_t *it; /* owned */
	struct key prefix;
	struct place first, last; /* places outside are left out */
	/* UNION */
	struct stream **children; /* owned, they too */
	size_t count;
	size_t capacity;
	/* GATHERED */
	struct place *places; /* owned */
	size_t next;
};

/* NULL: no memory. */
struct stream *stream_list(const struct et_state_view *v, enum state_cf cf,
			   const struct key *prefix);
struct stream *stream_union(void);
struct stream *stream_gathered(void);
int stream_add(struct stream *u, struct stream *child); /* takes the child, also on failure */
int stream_gather(struct stream *g, const uint8_t *place);
void stream_gathered_sort(struct stream *g);
void stream_free(struct stream *s);

/* Go to the first place that is not before `to`. `steps` counts what it cost. 0, or -EIO,
 * ET_ECORRUPT. */
int stream_seek(struct stream *s, const struct place *to, uint32_t *steps);
/* The value where a list stands. */
struct et_view stream_value(const struct stream *list);

#endif
