/* Streams of places for search (streams.c): lists of the index, unions of them, and gathered ones.
 */
#ifndef ET_RAFT_STATE_SEARCH_INTERNAL_H
#define ET_RAFT_STATE_SEARCH_INTERNAL_H

#include "raft/state/state_internal.h"

#define STEPS_MAX 100000 /* of one page */

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
	STREAM_SPANS,	 /* `places` of one span of time, the next one when they are through */
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
	struct place first, last; /* places outside are left out; SPANS, too */
	bool covered;		  /* only entries whose value has all of `cover` */
	struct word_cover cover;
	/* UNION */
	struct stream **children; /* owned, they too */
	size_t count;
	size_t capacity;
	/* GATHERED, SPANS */
	struct place *places; /* owned */
	size_t next;
	/* SPANS: `it`, and `prefix` is what the number begins with */
	uint8_t generation;
	uint32_t span;	/* of the places */
	bool spans_end; /* there is no later one */
};

/* NULL: no memory. */
struct stream *stream_list(const struct et_state_view *v, enum state_cf cf,
			   const struct key *prefix);
struct stream *stream_union(void);
struct stream *stream_gathered(void);
/* Recordings of numbers that begin with `prefix`, out of the lists by spans of time. */
struct stream *stream_spans(const struct et_state_view *v, uint8_t generation,
			    const struct key *prefix);
int stream_add(struct stream *u, struct stream *child); /* takes the child, also on failure */
int stream_gather(struct stream *g, const uint8_t *place);
void stream_gathered_sort(struct stream *g);
void stream_free(struct stream *s);

/* Go to the first place that is not before `to`. `steps` counts what it cost. 0, or -EIO,
 * ET_ECORRUPT. */
int stream_seek(struct stream *s, const struct place *to, uint32_t *steps);
/* The value where a list stands. */
struct et_view stream_value(const struct stream *list);

/* ---- The records of a page (page.c) ---- */

#define PAGE_PLACES 64 /* whose records are read at once */

struct page_arena {
	struct page_block *blocks; /* owned: the one that is being filled first */
	size_t used;		   /* of it */
};

struct page {
	size_t count;
	struct place places[PAGE_PLACES];
	Et__Recording *records[PAGE_PLACES]; /* views into the arena; NULL: there is none */
	struct et_view packed[PAGE_PLACES];  /* of them, in the arena, too; NULL: not read yet */
	struct page_arena arena;
};

struct page *page_new(void); /* NULL: no memory */
void page_free(struct page *p);
/* The records of its places: those that pages had lately from memory (rows_internal.h), the others
 * from the block cache at one go; what is not there is read from the disk by several threads at
 * once. -EIO, ET_ECORRUPT, -ENOMEM. */
int page_read(struct page *p, const struct et_state_view *v);
void page_clear(struct page *p);

#endif
