/* Inside search: streams of places (streams.c), which of them a query needs (conditions.c), and the
 * records of a page (page.c). */
#ifndef ET_RAFT_STATE_SEARCH_INTERNAL_H
#define ET_RAFT_STATE_SEARCH_INTERNAL_H

#include "raft/state/tail_internal.h"

#define STEPS_MAX 100000 /* of one page */

struct place {
	uint8_t bytes[PLACE_SIZE];
};

static inline int place_order(const struct place *a, const struct place *b)
{
	return memcmp(a->bytes, b->bytes, PLACE_SIZE);
}

/* The first place behind it. */
static inline void place_next(struct place *p)
{
	for (size_t i = PLACE_SIZE; i > 0 && ++p->bytes[i - 1] == 0; i--) {
	}
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
	STREAM_SPANS,	 /* `places` of a span of time, the next ones when they are through */
	STREAM_LED,	 /* `places` of the first child that the other children have, too */
};

/* At `at` while not `ended`; new streams stand before their first place. */
struct stream {
	enum stream_kind kind;
	bool ended;
	bool started;
	struct place at;
	const struct et_state_view *v; /* borrowed */
	/* LIST */
	enum state_cf cf;
	rocksdb_iterator_t *it; /* owned; NULL: not needed yet */
	struct key prefix;
	struct place first, last; /* places outside are left out; SPANS, too */
	bool covered;		  /* only entries whose value has all of `cover` */
	struct word_cover cover;
	/* UNION, LED: of lists, or a union of such as are LED */
	struct stream **children; /* owned, they too */
	size_t child_count, child_capacity;
	/* GATHERED, SPANS, LED */
	struct place *places; /* owned */
	size_t count, capacity, next;
	/* LED */
	size_t wanted, asked, given; /* hits; places that were looked up; hits among them */
	size_t batch;		     /* so many are looked up at one go */
	struct place behind;	     /* those that were */
	/* SPANS: `it` sees what is in memory; `prefix` is what the number begins with */
	uint8_t generation;
	uint32_t span;	    /* the last one of the places */
	uint32_t span_next; /* none between the two has any; SPAN_NONE: nor any later one */
	uint32_t ahead;	    /* so many are read at once when the disk must be asked */
};

/* NULL: no memory. */
struct stream *stream_list(const struct et_state_view *v, enum state_cf cf,
			   const struct key *prefix);
struct stream *stream_union(void);
/* Takes the child, and NULL is a failure. The first one leads; the others are asked for what it
 * has, many places at one go; who takes about `wanted` hits has them without looking further. */
struct stream *stream_led(const struct et_state_view *v, struct stream *lead, size_t wanted);
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
/* The key behind a list that has ended. NULL: nothing is there. A view until the next seek. */
const uint8_t *stream_behind(const struct stream *list, size_t *ret_size);

/* ---- Reading, memory first (helpers.c) ---- */

/* Call fn(arg, i) for each i below `count`, by the caller and by threads that are there to wait for
 * the disk: in any order, several at once. Returns when all have returned. */
void helpers_each(struct et_state *s, size_t count, void (*fn)(void *arg, size_t i), void *arg);

#define FETCH_MAX 64 /* keys at one go */

/* The values of keys, as long as they are in memory; from the first one on that is not, from the
 * disk by several threads at once. NULL: there is none. fetch_release() after success. -EIO,
 * ET_ECORRUPT. */
int fetch(const struct et_state_view *v, enum state_cf cf, const struct et_view *keys, size_t count,
	  rocksdb_pinnableslice_t **values) ET_MUST_CHECK;
void fetch_release(rocksdb_pinnableslice_t **values, size_t count);

/* ---- The records of a page (page.c) ---- */

#define PAGE_PLACES FETCH_MAX /* whose records are read at once */

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
/* The records of its places: those that pages had lately (rows_internal.h), then by steps what lies
 * close together in memory, then fetch(). -EIO, ET_ECORRUPT, -ENOMEM. */
int page_read(struct page *p, const struct et_state_view *v);
void page_clear(struct page *p);

/* ---- A search (search.c) ---- */

#define STREAMS_MAX 40

struct search {
	const struct et_state_view *v;
	const struct et_state_query *q;
	int (*fn)(void *arg, const Et__Recording *record);
	void *arg;
	struct et_state_found *ret;
	uint8_t generation;
	struct place next; /* the first place that was not looked at */
	struct place last; /* places behind it are too old */
	bool started;	   /* not the first page */
	uint32_t steps;
	int result; /* what `fn` said, when it ended the search */

	size_t number_size; /* without the '*' */
	const char *number; /* behind the '*' of a suffix */
	bool is_prefix, is_suffix;

	struct stream *streams[STREAMS_MAX]; /* owned */
	size_t count;
	struct page *page;    /* owned: places whose records are still to be read */
	bool by_time;	      /* the only stream is the time index: its values are looked through */
	bool nothing;	      /* no recording can fit */
	bool site_is_covered; /* there is a list that is of the site alone */

	struct tail_view tail; /* recordings whose entries may be out of date */
	struct index *index;   /* owned: of such a one */
};

/* Streams for all conditions. Those that hardly narrow come last: the time index does without them
 * when a number must be looked for in it anyway (conditions.c). -ENOMEM, -EIO, ET_ECORRUPT,
 * ET_ELIMIT. */
int search_plan(struct search *s) ET_MUST_CHECK;

#endif
