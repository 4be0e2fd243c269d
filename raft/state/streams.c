#include "raft/state/search_internal.h"

#define NEXT_MAX 16   /* steps that are cheaper than a seek */
#define STEPS_SEEK 8  /* what one counts for; a look-up, too */
#define AHEAD_FIRST 4 /* spans: of a week */
#define AHEAD_MAX 16
#define SPAN_NONE UINT32_MAX

static struct stream *stream_new(enum stream_kind kind)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (s != NULL) {
		s->kind = kind;
	}
	return s;
}

struct stream *stream_list(const struct et_state_view *v, enum state_cf cf,
			   const struct key *prefix)
{
	struct stream *s = stream_new(STREAM_LIST);

	if (s != NULL) {
		s->v = v;
		s->cf = cf;
		s->prefix = *prefix;
		memset(s->last.bytes, 0xff, sizeof(s->last.bytes));
	}
	return s;
}

struct stream *stream_spans(const struct et_state_view *v, uint8_t generation,
			    const struct key *prefix)
{
	struct stream *s = stream_list(v, CF_FIND, prefix);

	if (s != NULL) {
		s->kind = STREAM_SPANS;
		s->generation = generation;
		s->ahead = AHEAD_FIRST;
	}
	return s;
}

struct stream *stream_union(void)
{
	return stream_new(STREAM_UNION);
}

struct stream *stream_gathered(void)
{
	return stream_new(STREAM_GATHERED);
}

struct stream *stream_led(const struct et_state_view *v, struct stream *lead, size_t wanted)
{
	struct stream *s = stream_new(STREAM_LED);

	if (s == NULL) {
		stream_free(lead);
		return NULL;
	}
	s->v = v;
	s->wanted = wanted;
	if (stream_add(s, lead) < 0) {
		stream_free(s);
		return NULL;
	}
	return s;
}

void stream_free(struct stream *s) /* NOLINT(misc-no-recursion): a union has no unions */
{
	if (s == NULL) {
		return;
	}
	if (s->it != NULL) {
		rocksdb_iter_destroy(s->it);
	}
	for (size_t i = 0; i < s->child_count; i++) {
		stream_free(s->children[i]);
	}
	free(s->children);
	free(s->places);
	free(s);
}

int stream_add(struct stream *u, struct stream *child)
{
	if (child == NULL) {
		return -ENOMEM;
	}
	if (u->child_count == u->child_capacity) {
		size_t capacity = u->child_capacity > 0 ? u->child_capacity * 2 : 8;
		struct stream **p = realloc(u->children, capacity * sizeof(struct stream *));
		if (p == NULL) {
			stream_free(child);
			return -ENOMEM;
		}
		u->children = p;
		u->child_capacity = capacity;
	}
	u->children[u->child_count++] = child;
	return 0;
}

int stream_gather(struct stream *g, const uint8_t *place)
{
	if (g->count == g->capacity) {
		size_t capacity = g->capacity > 0 ? g->capacity * 2 : 256;
		struct place *p = realloc(g->places, capacity * sizeof(*p));
		if (p == NULL) {
			return -ENOMEM;
		}
		g->places = p;
		g->capacity = capacity;
	}
	memcpy(g->places[g->count++].bytes, place, PLACE_SIZE);
	return 0;
}

static int places_sort(const void *a, const void *b)
{
	return place_order(a, b);
}

void stream_gathered_sort(struct stream *g)
{
	if (g->count > 1) {
		qsort(g->places, g->count, sizeof(g->places[0]), places_sort);
	}
}

/* ---- Lists ---- */

/* Take over where the iterator stands. */
static int list_look(struct stream *s)
{
	if (!rocksdb_iter_valid(s->it)) {
		s->ended = true;
		return iterator_status(s->it);
	}
	size_t size;
	const uint8_t *key = (const uint8_t *)rocksdb_iter_key(s->it, &size);
	if (size < s->prefix.size || memcmp(key, s->prefix.data, s->prefix.size) != 0) {
		s->ended = true;
		return 0;
	}
	if (size != s->prefix.size + PLACE_SIZE) {
		return ET_ECORRUPT;
	}
	memcpy(s->at.bytes, key + s->prefix.size, PLACE_SIZE);
	s->ended = place_order(&s->at, &s->last) > 0;
	return 0;
}

static bool list_fits(const struct stream *s)
{
	size_t size;
	const uint8_t *value = (const uint8_t *)rocksdb_iter_value(s->it, &size);
	uint64_t has[2];
	uint64_t wanted[2];

	if (size != sizeof(struct word_cover)) {
		return true; /* the others decide */
	}
	memcpy(has, value, sizeof(has));
	memcpy(wanted, s->cover.bits, sizeof(wanted));
	return (has[0] & wanted[0]) == wanted[0] && (has[1] & wanted[1]) == wanted[1];
}

/* Step over what does not fit. When the page's steps are used up it stands where it is: what comes
 * next is not before that. */
static int list_filter(struct stream *s, uint32_t *steps)
{
	int rc = 0;

	while (rc == 0 && !s->ended && !list_fits(s) && *steps < STEPS_MAX) {
		rocksdb_iter_next(s->it);
		(*steps)++;
		rc = list_look(s);
	}
	return rc;
}

/* A Call-ID or a call is in few tables: filters tell which (db.c), and only those are looked into.
 */
static rocksdb_iterator_t *list_iterator(const struct stream *s)
{
	if (s->cf != CF_LINK) {
		return view_iterator(s->v, s->cf);
	}
	rocksdb_readoptions_t *o = rocksdb_readoptions_create();
	rocksdb_readoptions_set_snapshot(o, s->v->snapshot);
	rocksdb_readoptions_set_prefix_same_as_start(o, 1);
	rocksdb_iterator_t *it =
		rocksdb_create_iterator_cf(s->v->database->db, o, s->v->database->cf[s->cf]);
	rocksdb_readoptions_destroy(o); /* it has a copy */
	return it;
}

static int list_seek_place(struct stream *s, const struct place *to, uint32_t *steps)
{
	const struct place *place = place_order(to, &s->first) < 0 ? &s->first : to;
	int rc = 0;

	for (int i = 0; s->started && i < NEXT_MAX; i++) {
		if (s->ended || place_order(&s->at, place) >= 0) {
			return 0;
		}
		rocksdb_iter_next(s->it);
		(*steps)++;
		rc = list_look(s);
		if (rc < 0) {
			return rc;
		}
	}
	if (s->started && (s->ended || place_order(&s->at, place) >= 0)) {
		return 0;
	}
	struct key key = s->prefix;
	key_add(&key, place->bytes, PLACE_SIZE);
	if (s->it == NULL) {
		s->it = list_iterator(s);
	}
	rocksdb_iter_seek(s->it, (const char *)key.data, key.size);
	*steps += STEPS_SEEK;
	s->started = true;
	return list_look(s);
}

static int list_seek(struct stream *s, const struct place *to, uint32_t *steps)
{
	int rc = list_seek_place(s, to, steps);

	return rc < 0 || !s->covered ? rc : list_filter(s, steps);
}

struct et_view stream_value(const struct stream *list)
{
	struct et_view v;

	et_assert(list->kind == STREAM_LIST && list->started && !list->ended);
	v.data = (const uint8_t *)rocksdb_iter_value(list->it, &v.size);
	return v;
}

const uint8_t *stream_behind(const struct stream *list, size_t *ret_size)
{
	et_assert(list->kind == STREAM_LIST && list->started && list->ended);
	*ret_size = 0;
	return rocksdb_iter_valid(list->it) ? (const uint8_t *)rocksdb_iter_key(list->it, ret_size)
					    : NULL;
}

/* ---- Gathered ---- */

static void gathered_seek(struct stream *s, const struct place *to, uint32_t *steps)
{
	size_t high = s->count;

	while (s->next < high) { /* the first that is not before `to` */
		size_t middle = s->next + (high - s->next) / 2;
		if (place_order(&s->places[middle], to) < 0) {
			s->next = middle + 1;
		} else {
			high = middle;
		}
	}
	(*steps)++;
	s->ended = s->next == s->count;
	if (!s->ended) {
		s->at = s->places[s->next];
	}
}

/* The page's steps are used up: what comes next is not before `place`. */
static void gathered_rest(struct stream *s, const struct place *place, const struct place *to)
{
	s->at = place_order(place, to) > 0 ? *place : *to;
	s->ended = false;
}

/* ---- Led: places of one list that others have, too ---- */

/* Which of the places the list has; only those stay. */
static int led_keep(struct stream *s, const struct stream *list, uint32_t *steps)
{
	size_t size = list->prefix.size + PLACE_SIZE;
	struct et_view views[FETCH_MAX];
	rocksdb_pinnableslice_t *values[FETCH_MAX];
	uint8_t *keys = malloc(s->count * size);
	size_t kept = 0;

	if (keys == NULL) {
		return -ENOMEM;
	}
	for (size_t i = 0; i < s->count; i++) {
		views[i] = (struct et_view){ keys + i * size, size };
		memcpy(keys + i * size, list->prefix.data, list->prefix.size);
		memcpy(keys + i * size + list->prefix.size, s->places[i].bytes, PLACE_SIZE);
	}
	*steps += (uint32_t)s->count * STEPS_SEEK;
	int rc = fetch(s->v, list->cf, views, s->count, values);
	for (size_t i = 0; rc == 0 && i < s->count; i++) {
		if (values[i] != NULL) {
			s->places[kept++] = s->places[i];
		}
	}
	if (rc == 0) {
		fetch_release(values, s->count);
		s->count = kept;
	}
	free(keys);
	return rc;
}

/* The next places of the list that leads, as many as are looked up at one go. */
static int led_gather(struct stream *s, struct place *from, uint32_t *steps)
{
	struct stream *lead = s->children[0];
	int rc;

	do {
		rc = list_seek(lead, from, steps);
		if (rc == 0 && !lead->ended) {
			rc = stream_gather(s, lead->at.bytes);
			*from = lead->at;
			place_next(from);
		}
	} while (rc == 0 && !lead->ended && s->count < s->batch && *steps < STEPS_MAX);
	return rc;
}

/* How many must be looked up to give what is wanted, if it goes on as until here. */
static size_t led_batch(const struct stream *s)
{
	size_t batch = s->given < s->wanted
			       ? (s->wanted - s->given) * (s->asked + 1) / (s->given + 1)
			       : s->batch * 2; /* it was not enough */

	return batch < FETCH_MAX ? batch : FETCH_MAX;
}

/* The next places that all have. */
static int led_load(struct stream *s, const struct place *to, uint32_t *steps)
{
	bool leap = place_order(to, &s->behind) > 0;
	struct place from = leap ? *to : s->behind;

	if (leap && s->started) {
		s->wanted = 1; /* others have more say in what is a hit */
		s->asked = s->given = 0;
	}
	s->batch = led_batch(s);
	s->started = true;
	s->count = s->next = 0;
	int rc = led_gather(s, &from, steps);
	s->behind = from;
	s->asked += s->count;
	for (size_t i = 1; i < s->child_count && rc == 0 && s->count > 0; i++) {
		rc = led_keep(s, s->children[i], steps);
	}
	s->given += s->count;
	return rc;
}

static int led_seek(struct stream *s, const struct place *to, uint32_t *steps)
{
	for (;;) {
		gathered_seek(s, to, steps);
		if (!s->ended || s->children[0]->ended) {
			return 0;
		}
		if (*steps >= STEPS_MAX) {
			gathered_rest(s, &s->behind, to);
			return 0;
		}
		int rc = led_load(s, to, steps);
		if (rc < 0) {
			return rc;
		}
	}
}

/* ---- Spans ---- */

/* One span's places, and where to go on. */
struct span {
	const struct stream *s;
	rocksdb_iterator_t *it; /* NULL: one of its own, which asks the disk, too */
	uint32_t number;
	uint32_t next; /* the first behind it that any number has; SPAN_NONE: there is none */
	uint32_t steps;
	int status;
	struct stream *places; /* gathered; not in order */
};

/* Where the iterator stands, it is behind what the span has of the prefix. */
static int span_end(struct span *x)
{
	struct key all = find_key(x->s->generation, 'p');
	size_t size;

	x->next = SPAN_NONE;
	if (!rocksdb_iter_valid(x->it)) {
		return iterator_status(x->it);
	}
	const uint8_t *key = (const uint8_t *)rocksdb_iter_key(x->it, &size);
	if (size < all.size || memcmp(key, all.data, all.size) != 0) {
		return 0;
	}
	if (size < all.size + 4 + PLACE_SIZE) {
		return ET_ECORRUPT;
	}
	uint32_t at = et_get32(key + all.size);
	x->next = at > x->number ? at : x->number + 1;
	return 0;
}

static int span_walk(struct span *x)
{
	const struct stream *s = x->s;
	struct key k = find_key(s->generation, 'p');
	int rc = 0;

	key_add32(&k, x->number);
	key_add(&k, s->prefix.data, s->prefix.size);
	x->steps = STEPS_SEEK;
	rocksdb_iter_seek(x->it, (const char *)k.data, k.size);
	for (; rc == 0 && rocksdb_iter_valid(x->it); rocksdb_iter_next(x->it), x->steps++) {
		size_t size;
		struct place place;
		const uint8_t *key = (const uint8_t *)rocksdb_iter_key(x->it, &size);
		if (size < k.size || memcmp(key, k.data, k.size) != 0) {
			break;
		}
		if (size < k.size + 1 + PLACE_SIZE) {
			return ET_ECORRUPT;
		}
		memcpy(place.bytes, key + size - PLACE_SIZE, PLACE_SIZE);
		if (place_order(&place, &s->first) >= 0 && place_order(&place, &s->last) <= 0) {
			rc = stream_gather(x->places, place.bytes);
		}
	}
	return rc < 0 ? rc : span_end(x);
}

static void span_read(void *arg, size_t i)
{
	struct span *x = (struct span *)arg + i;
	const struct database *d = x->s->v->database;

	x->it = rocksdb_create_iterator_cf(d->db, x->s->v->options, d->cf[CF_FIND]);
	x->places = stream_gathered();
	x->status = x->places != NULL ? span_walk(x) : -ENOMEM;
	rocksdb_iter_destroy(x->it);
}

/* From `first` on so many spans at once: each would wait for the disk some times in a row. */
static int spans_read(struct stream *s, uint32_t first, uint32_t last, uint32_t *steps)
{
	struct span spans[AHEAD_MAX];
	uint32_t count = last - first < s->ahead ? last - first + 1 : s->ahead;
	int rc = 0;

	for (uint32_t i = 0; i < count; i++) {
		spans[i] = (struct span){ .s = s, .number = first + i };
	}
	helpers_each(s->v->state, count, span_read, spans);
	for (uint32_t i = 0; i < count; i++) {
		const struct stream *g = spans[i].places;
		*steps += spans[i].steps;
		rc = rc < 0 ? rc : spans[i].status;
		for (size_t n = 0; rc == 0 && n < g->count; n++) {
			rc = stream_gather(s, g->places[n].bytes);
		}
		stream_free(spans[i].places);
	}
	s->span = first + count - 1;
	s->span_next = spans[count - 1].next;
	s->ahead = s->ahead * 2 < AHEAD_MAX ? s->ahead * 2 : AHEAD_MAX;
	return rc;
}

/* All places of a span, or (where memory has not all of it) of several, in order. */
static int spans_load(struct stream *s, uint32_t first, uint32_t last, uint32_t *steps)
{
	const struct database *d = s->v->database;

	s->count = s->next = 0;
	if (s->it == NULL) {
		s->it = rocksdb_create_iterator_cf(d->db, s->v->cached, d->cf[CF_FIND]);
	}
	struct span x = { .s = s, .it = s->it, .number = first, .places = s };
	int rc = span_walk(&x);
	*steps += x.steps;
	s->span = first;
	s->span_next = x.next;
	if (rc < 0) { /* not in memory; another error comes again */
		s->count = 0;
		rc = spans_read(s, first, last, steps);
	}
	stream_gathered_sort(s);
	return rc;
}

static int spans_seek(struct stream *s, const struct place *to, uint32_t *steps)
{
	const struct place *place = place_order(to, &s->first) < 0 ? &s->first : to;
	uint32_t last = place_span(et_get64(s->last.bytes));
	uint32_t span = place_span(et_get64(place->bytes));
	int rc = 0;

	if (!s->started || span > s->span) {
		s->span_next = s->started && span < s->span_next ? s->span_next : span;
		s->started = true;
		s->count = s->next = 0;
	}
	for (;;) {
		gathered_seek(s, place, steps);
		if (rc < 0 || !s->ended || s->span_next > last) {
			return rc;
		}
		if (*steps >= STEPS_MAX) {
			struct place p = { { 0 } };
			et_put64(p.bytes, (uint64_t)s->span_next << 38);
			gathered_rest(s, &p, place);
			return 0;
		}
		rc = spans_load(s, s->span_next, last, steps);
	}
}

/* ---- All ---- */

static int union_seek(struct stream *s, const struct place *to, uint32_t *steps)
{
	s->ended = true;
	for (size_t i = 0; i < s->child_count; i++) {
		struct stream *c = s->children[i];
		int rc = c->kind == STREAM_LIST	 ? list_seek(c, to, steps)
			 : c->kind == STREAM_LED ? led_seek(c, to, steps)
						 : ET_ECORRUPT;
		if (rc < 0) {
			return rc;
		}
		if (!c->ended && (s->ended || place_order(&c->at, &s->at) < 0)) {
			s->at = c->at;
			s->ended = false;
		}
	}
	return 0;
}

int stream_seek(struct stream *s, const struct place *to, uint32_t *steps)
{
	switch (s->kind) {
	case STREAM_LIST:
		return list_seek(s, to, steps);
	case STREAM_UNION:
		return union_seek(s, to, steps);
	case STREAM_GATHERED:
		gathered_seek(s, to, steps);
		return 0;
	case STREAM_SPANS:
		return spans_seek(s, to, steps);
	case STREAM_LED:
		return led_seek(s, to, steps);
	}
	return ET_ECORRUPT;
}
