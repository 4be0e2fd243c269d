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
		char *error = NULL;
		rocksdb_iter_get_error(s->it, &error);
		s->ended = true;
		return state_status(error, NULL, "read");
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

static int list_seek(struct stream *s, const struct place *to, uint32_t *steps)
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
	}
	return ET_ECORRUPT;
}
