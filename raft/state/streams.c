#include "raft/state/search_internal.h"

#define NEXT_MAX 16 /* steps that are cheaper than a seek */

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
		s->prefix = *prefix;
		memset(s->last.bytes, 0xff, sizeof(s->last.bytes));
		s->it = rocksdb_create_iterator_cf(v->database->db, v->options,
						   v->database->cf[cf]);
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

void stream_free(struct stream *s) /* NOLINT(misc-no-recursion): a union has no unions */
{
	if (s == NULL) {
		return;
	}
	if (s->it != NULL) {
		rocksdb_iter_destroy(s->it);
	}
	for (size_t i = 0; s->kind == STREAM_UNION && i < s->count; i++) {
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
	if (u->count == u->capacity) {
		size_t capacity = u->capacity > 0 ? u->capacity * 2 : 8;
		struct stream **p = realloc(u->children, capacity * sizeof(struct stream *));
		if (p == NULL) {
			stream_free(child);
			return -ENOMEM;
		}
		u->children = p;
		u->capacity = capacity;
	}
	u->children[u->count++] = child;
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
	rocksdb_iter_seek(s->it, (const char *)key.data, key.size);
	*steps += 8;
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

/* ---- All ---- */

static int union_seek(struct stream *s, const struct place *to, uint32_t *steps)
{
	s->ended = true;
	for (size_t i = 0; i < s->count; i++) {
		struct stream *c = s->children[i];
		int rc = c->kind == STREAM_LIST ? list_seek(c, to, steps) : ET_ECORRUPT;
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

/* ---- Spans ---- */

static struct key span_key(const struct stream *s, uint32_t span)
{
	struct key k = find_key(s->generation, 'p');

	key_add32(&k, span);
	key_add(&k, s->prefix.data, s->prefix.size);
	return k;
}

/* The first span from `span` on that any number has. *ret_end: there is none. */
static int span_find(struct stream *s, uint32_t *span, bool *ret_end)
{
	struct key k = find_key(s->generation, 'p');
	size_t size;

	key_add32(&k, *span);
	rocksdb_iter_seek(s->it, (const char *)k.data, k.size);
	if (!rocksdb_iter_valid(s->it)) {
		*ret_end = true;
		return iterator_status(s->it);
	}
	const uint8_t *key = (const uint8_t *)rocksdb_iter_key(s->it, &size);
	*ret_end = size < 2 || memcmp(key, k.data, 2) != 0;
	if (!*ret_end && size < 6 + PLACE_SIZE) {
		return ET_ECORRUPT;
	}
	*span = *ret_end ? *span : et_get32(key + 2);
	return 0;
}

/* All places of one span, in order. */
static int span_load(struct stream *s, uint32_t span, uint32_t *steps)
{
	struct key k = span_key(s, span);
	int rc = 0;

	s->span = span;
	s->count = s->next = 0;
	rocksdb_iter_seek(s->it, (const char *)k.data, k.size);
	*steps += 8;
	for (; rc == 0 && rocksdb_iter_valid(s->it); rocksdb_iter_next(s->it), (*steps)++) {
		size_t size;
		struct place place;
		const uint8_t *key = (const uint8_t *)rocksdb_iter_key(s->it, &size);
		if (size < k.size || memcmp(key, k.data, k.size) != 0) {
			break;
		}
		if (size < k.size + 1 + PLACE_SIZE) {
			return ET_ECORRUPT;
		}
		memcpy(place.bytes, key + size - PLACE_SIZE, PLACE_SIZE);
		if (place_order(&place, &s->first) >= 0 && place_order(&place, &s->last) <= 0) {
			rc = stream_gather(s, place.bytes);
		}
	}
	int status = iterator_status(s->it);
	stream_gathered_sort(s);
	return status < 0 ? status : rc;
}

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

static int spans_seek(struct stream *s, const struct place *to, uint32_t *steps)
{
	const struct place *place = place_order(to, &s->first) < 0 ? &s->first : to;
	uint32_t last = place_span(et_get64(s->last.bytes));
	uint32_t span = place_span(et_get64(place->bytes));
	int rc = 0;

	if (!s->started || span > s->span) {
		s->started = true;
		rc = span_load(s, span, steps);
	}
	for (;;) {
		gathered_seek(s, place, steps);
		if (rc < 0 || !s->ended) {
			return rc;
		}
		if (s->spans_end || s->span >= last) {
			return 0;
		}
		if (*steps >= STEPS_MAX) { /* nothing is before the next span */
			struct place p = { { 0 } };
			et_put64(p.bytes, (uint64_t)(s->span + 1) << 38);
			s->at = place_order(&p, place) > 0 ? p : *place;
			s->ended = false;
			return 0;
		}
		span = s->span + 1;
		rc = span_find(s, &span, &s->spans_end);
		*steps += 8;
		if (rc == 0 && !s->spans_end) {
			rc = span_load(s, span, steps);
		}
	}
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
	}
	return ET_ECORRUPT;
}
