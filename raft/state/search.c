/* Search: each condition that has lists is a stream of places; a recording is a hit when all
 * streams have its place, and what has no list holds too.
 *
 *     site ────── 17 ─── 23 ───── 40 ──▶
 *     words ───── 17 ───────── 31 ─────▶      seek each to the greatest place that any stands at,
 *                 hit                          until all agree; then go on behind it
 *
 * All lists are in one order (newest start first), so a cursor is the next place to look at,
 * whichever way a page was searched. Several words are one stream: the shortest of their lists
 * leads, and the others are asked for its places, many at one go. Conditions without a list of
 * their own:
 *   - a number's prefix or suffix that fits few entries: they are gathered and sorted; one that
 * fits many: the time index leads, and its values tell without a read whether a recording fits;
 *   - what hardly narrows (state sealed, middling durations): looked at in the record itself. */
#include "raft/state/search_internal.h"

#define STEPS_RECORD 8
#define CURSOR_SIZE (1 + 4 + PLACE_SIZE)
#define CURSOR_VERSION 2
#define LIMIT_MAX 1000
#define PAGE_FULL 1

/* ---- Conditions that a record answers ---- */

static bool number_fits(const struct search *s, const char *number)
{
	if (s->is_prefix) {
		return strncmp(number, s->number, s->number_size) == 0;
	}
	if (s->is_suffix) {
		size_t size = strlen(number);
		return size >= s->number_size &&
		       memcmp(number + size - s->number_size, s->number, s->number_size) == 0;
	}
	return strcmp(number, s->number) == 0;
}

static bool duration_fits(const struct et_state_query *q, int64_t us)
{
	if (q->duration_min_us == 0 && q->duration_max_us == 0) {
		return true;
	}
	return us >= 0 && us >= q->duration_min_us &&
	       (q->duration_max_us == 0 || us <= q->duration_max_us);
}

static bool cover_fits(const struct search *s, const struct cover *c)
{
	const struct et_state_query *q = s->q;

	return (q->number == NULL || number_fits(s, c->from) || number_fits(s, c->to)) &&
	       (q->site == NULL || strcmp(c->site, q->site) == 0) &&
	       (q->node == 0 || c->node == q->node) && (q->state < 0 || c->state == q->state) &&
	       duration_fits(q, c->duration_us);
}

/* Is it a leg of this call, or was it until somebody moved it? */
static bool recording_is_of(const Et__Recording *r, const uint8_t call[16])
{
	return (r->call.len == 16 && memcmp(r->call.data, call, 16) == 0) ||
	       (et_hand_moved(r->hand) && memcmp(r->hand->was.data, call, 16) == 0);
}

static bool recording_fits(const struct search *s, const Et__Recording *r)
{
	const struct et_state_query *q = s->q;
	const struct cover c = { (int)r->state, r->node, recording_duration(r),
				 r->site,	r->from, r->to };

	return r->start_us >= q->from_us && (q->to_us == 0 || r->start_us < q->to_us) &&
	       cover_fits(s, &c) &&
	       (q->sip_call_id == NULL || strcmp(r->sip_call_id, q->sip_call_id) == 0) &&
	       (q->call == NULL || recording_is_of(r, q->call));
}

/* ---- Cursor ---- */

static uint32_t hash_text(uint32_t crc, const char *text)
{
	return text == NULL ? et_crc32c(crc, "\xff", 1) : et_crc32c(crc, text, strlen(text) + 1);
}

/* A cursor fits the query that it came from. */
static uint32_t query_hash(const struct et_state_query *q)
{
	const int64_t numbers[] = { q->from_us,
				    q->to_us,
				    (int64_t)q->node,
				    q->state,
				    q->duration_min_us,
				    q->duration_max_us,
				    (int64_t)q->tag_count,
				    (int64_t)q->fact_count };
	const char *texts[] = { q->number, q->site, q->sip_call_id, q->agent, q->team, q->text };
	uint8_t bytes[8];
	uint32_t crc = 0;

	for (size_t i = 0; i < ET_ARRAY_SIZE(numbers); i++) {
		et_put64(bytes, (uint64_t)numbers[i]);
		crc = et_crc32c(crc, bytes, sizeof(bytes));
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		crc = hash_text(crc, texts[i]);
	}
	for (size_t i = 0; i < q->tag_count; i++) {
		crc = hash_text(crc, q->tags[i]);
	}
	for (size_t i = 0; i < q->fact_count; i++) {
		et_put64(bytes, (uint64_t)q->facts[i].number);
		crc = et_crc32c(crc, bytes, sizeof(bytes));
		bytes[0] = (uint8_t)q->facts[i].type;
		crc = et_crc32c(crc, bytes, 1);
		crc = hash_text(hash_text(crc, q->facts[i].key), q->facts[i].text);
	}
	return q->call != NULL ? et_crc32c(crc, q->call, 16) : crc;
}

static int cursor_read(struct search *s)
{
	uint8_t bytes[CURSOR_SIZE];
	const char *text = s->q->cursor;

	if (text == NULL || text[0] == '\0') {
		return 0;
	}
	if (et_unbase64(text, strlen(text), bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes) ||
	    bytes[0] != CURSOR_VERSION || et_get32(bytes + 1) != query_hash(s->q)) {
		return ET_EMALFORMED;
	}
	struct place place;
	memcpy(place.bytes, bytes + 5, PLACE_SIZE);
	if (place_order(&place, &s->next) > 0) {
		s->next = place;
	}
	s->started = true;
	return 0;
}

static void cursor_write(struct search *s)
{
	uint8_t bytes[CURSOR_SIZE];

	_Static_assert(et_base64_size(CURSOR_SIZE) <= ET_STATE_CURSOR_SIZE, "a cursor fits");
	bytes[0] = CURSOR_VERSION;
	et_put32(bytes + 1, query_hash(s->q));
	memcpy(bytes + 5, s->next.bytes, PLACE_SIZE);
	et_base64(bytes, sizeof(bytes), s->ret->cursor);
}

/* ---- Walking ---- */

/* Read the records of the places that were gathered, all at once, and hand over those that fit. */
static int page_flush(struct search *s)
{
	struct page *p = s->page;

	int rc = page_read(p, s->v);
	for (size_t i = 0; i < p->count && rc == 0; i++) {
		const Et__Recording *r = p->records[i];
		if (r == NULL || !recording_fits(s, r)) {
			rc = r == NULL ? ET_ECORRUPT : 0;
			continue;
		}
		if (s->ret->found == s->q->limit) {
			s->next = p->places[i]; /* the first of the next page */
			rc = PAGE_FULL;
			continue;
		}
		s->ret->found++;
		s->result = s->fn(s->arg, r);
		if (s->result != 0) {
			s->next = p->places[i];
			place_next(&s->next);
			rc = PAGE_FULL;
		}
	}
	page_clear(p);
	return rc;
}

static int candidate(struct search *s, const struct place *place)
{
	if (s->by_time) {
		struct cover c;
		int rc = cover_read(stream_value(s->streams[0]), &c);
		if (rc < 0 || !cover_fits(s, &c)) {
			return rc;
		}
	}
	s->steps += STEPS_RECORD;
	s->page->places[s->page->count++] = *place;
	uint32_t wanted = s->q->limit - s->ret->found;
	if (s->page->count < PAGE_PLACES && s->page->count < (wanted > 8 ? wanted : 8)) {
		return 0;
	}
	return page_flush(s);
}

/* Bring all streams to one place at or behind s->next. Streams that narrow come first: the others
 * are asked only where those agree. false: one of them has ended. */
static int streams_agree(struct search *s, bool *ret)
{
	size_t agree = 0;

	*ret = true;
	while (agree < s->count) {
		struct stream *x = s->streams[agree];
		int rc = stream_seek(x, &s->next, &s->steps);
		if (rc < 0) {
			return rc;
		}
		if (x->ended || place_order(&x->at, &s->last) > 0) {
			*ret = false;
			return 0;
		}
		if (place_order(&x->at, &s->next) > 0) {
			s->next = x->at;
			agree = agree == 0 ? 1 : 0;
		} else {
			agree++;
		}
		if (s->steps >= STEPS_MAX) {
			return PAGE_FULL;
		}
	}
	return 0;
}

/* Would the stream have this place, if the index were up to date? s->index is the recording's. */
/* NOLINTNEXTLINE(misc-no-recursion): a union is of lists, or of such as lists lead */
static bool stream_holds(const struct search *s, const struct stream *x, const struct place *at)
{
	if (x->kind == STREAM_UNION || x->kind == STREAM_LED) { /* one of them, or all */
		bool all = x->kind == STREAM_LED;
		for (size_t i = 0; i < x->child_count; i++) {
			if (stream_holds(s, x->children[i], at) != all) {
				return !all;
			}
		}
		return all;
	}
	if (place_order(at, &x->first) < 0 || place_order(&x->last, at) < 0) {
		return x->kind != STREAM_LIST;
	}
	/* Links are records themselves, and numbers that were gathered are looked at in the record.
	 */
	return x->kind != STREAM_LIST || x->prefix.data[0] > 1 ||
	       index_has(s->index, &x->prefix, at->bytes);
}

/* A hit whose recording has changed since its entries were written: do the lists still have it? */
static int hit_stands(struct search *s, const struct place *at, bool *ret)
{
	*ret = true;
	s->index = s->index != NULL ? s->index : index_new();
	if (s->index == NULL) {
		return -ENOMEM;
	}
	s->steps += STEPS_RECORD;
	int rc = index_of(s->index, s->v, at->bytes + 8);
	for (size_t i = 0; i < s->count && rc == 0 && *ret; i++) {
		*ret = stream_holds(s, s->streams[i], at);
	}
	return rc == ET_ENOTFOUND ? ET_ECORRUPT : rc;
}

static int search_walk(struct search *s)
{
	s->page = page_new();
	if (s->page == NULL) {
		return -ENOMEM;
	}
	for (;;) {
		bool more;
		int rc = streams_agree(s, &more);
		if (rc < 0) {
			return rc;
		}
		if (rc != 0 || !more) {
			int flushed = page_flush(s);
			return flushed != 0 ? flushed : rc;
		}
		if (s->ret->found == s->q->limit) {
			return PAGE_FULL;
		}
		struct place at = s->next;
		bool stands = true;
		place_next(&s->next);
		rc = tail_view_has(&s->tail, at.bytes + 8) ? hit_stands(s, &at, &stands) : 0;
		rc = rc == 0 && stands ? candidate(s, &at) : rc;
		if (rc != 0) {
			return rc;
		}
	}
}

/* ---- The query ---- */

static bool text_is_short(const char *text, size_t most)
{
	return text == NULL || strlen(text) <= most;
}

/* Texts longer than any that is stored fit nothing. */
static bool query_is_possible(const struct et_state_query *q)
{
	return text_is_short(q->number, NUMBER_TEXT_MAX + 1) && text_is_short(q->site, 255) &&
	       text_is_short(q->sip_call_id, 512) && text_is_short(q->agent, AGENT_ID_MAX) &&
	       text_is_short(q->team, AGENT_ID_MAX) && q->state <= UINT8_MAX && q->to_us >= 0 &&
	       q->duration_min_us >= 0 && q->duration_max_us >= 0;
}

static void number_read(struct search *s)
{
	size_t size = s->q->number != NULL ? strlen(s->q->number) : 0;

	s->number = s->q->number;
	s->number_size = size;
	if (size > 0 && s->number[size - 1] == '*') {
		s->is_prefix = true;
		s->number_size--;
	} else if (size > 0 && s->number[0] == '*') {
		s->is_suffix = true;
		s->number++;
		s->number_size--;
	}
}

int et_state_search(const struct et_state_view *v, const struct et_state_query *query,
		    int (*fn)(void *arg, const Et__Recording *record), void *arg,
		    struct et_state_found *ret)
{
	struct et_state_query q = *query;
	struct search s = { .v = v, .q = &q, .fn = fn, .arg = arg, .ret = ret };
	struct find_state find;

	*ret = (struct et_state_found){ .complete = true };
	rocksdb_set_perf_level(rocksdb_disable); /* of this thread: nobody reads its counters */
	if (q.tag_count > ET_STATE_CONDITIONS_MAX || q.fact_count > ET_STATE_CONDITIONS_MAX) {
		return ET_ELIMIT;
	}
	q.limit = q.limit == 0 || q.limit > LIMIT_MAX ? LIMIT_MAX : q.limit;
	q.from_us = q.from_us > 0 ? q.from_us : 0;
	q.number = q.number != NULL && q.number[0] != '\0' ? q.number : NULL;
	s.last = place_of_time(q.from_us);
	memset(s.last.bytes + 8, 0xff, PLACE_SIZE - 8);
	if (q.to_us > 0) {
		s.next = place_of_time(q.to_us - 1);
	}
	int rc = find_state_read(v, &find);
	rc = rc < 0 ? rc : cursor_read(&s);
	rc = rc < 0 ? rc : tail_view_read(v, &s.tail);
	if (rc < 0) {
		return rc;
	}
	ret->complete = find.complete && (s.tail.first == 0 || s.tail.first > v->needs);
	s.generation = find.generation;
	number_read(&s);
	s.nothing = !query_is_possible(&q);
	rc = s.nothing ? 0 : search_plan(&s);
	rc = rc < 0 || s.nothing ? rc : search_walk(&s);
	if (rc == PAGE_FULL) {
		cursor_write(&s);
		rc = s.result;
	}
	for (size_t i = 0; i < s.count; i++) {
		stream_free(s.streams[i]);
	}
	tail_view_release(&s.tail);
	index_free(s.index);
	page_free(s.page);
	ret->looked_at = s.steps;
	ret->total = ret->found;
	ret->total_is_exact = rc == 0 && ret->cursor[0] == '\0' && !s.started;
	return rc;
}
