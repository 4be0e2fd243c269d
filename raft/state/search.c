/* Search: one index leads, the other conditions are checked on the recordings it names.
 *
 * All indexes of recordings end in (inverted start, id), so that a walk gives the newest first, and
 * a place in it is the same 24 bytes in every one of them: that is the cursor.
 *
 * A number with a trailing '*' has no such order across the numbers it fits. Then
 *   - few index entries fit (up to PREFIX_SCAN_MAX): they are all looked at, and a heap keeps the
 *     newest ones behind the cursor;
 *   - many do: the time index leads, as hits lie close together in it.
 *
 * A page looks at SCAN_MAX recordings at most; then it ends with a cursor, however few it gave. */
#include "raft/state/state_internal.h"

#define PREFIX_SCAN_MAX 20000
#define SCAN_MAX 50000
#define PLACE_SIZE 24 /* inverted start, id */
#define CURSOR_SIZE (1 + 4 + PLACE_SIZE)
#define CURSOR_VERSION 1
#define LIMIT_MAX 1000

struct place {
	uint8_t bytes[PLACE_SIZE];
};

struct search {
	const struct et_state_view *v;
	const struct et_state_query *q;
	int (*fn)(void *arg, const Et__Recording *record);
	void *arg;
	struct place last; /* the last one looked at */
	bool started;	   /* `last` counts */
	uint32_t found;
	uint32_t looked_at;
	bool stopped; /* the page is full: there may be more */
	int result;   /* what `fn` said, when it ended the search */
	size_t number_size;
	bool number_is_prefix;
};

#define PAGE_FULL 1

/* ---- Conditions ---- */

static bool number_fits(const struct search *s, const char *number)
{
	if (s->number_is_prefix) {
		return strncmp(number, s->q->number, s->number_size) == 0;
	}
	return strcmp(number, s->q->number) == 0;
}

static bool recording_fits(const struct search *s, const Et__Recording *r)
{
	const struct et_state_query *q = s->q;

	if (r->start_us < q->from_us || (q->to_us != 0 && r->start_us >= q->to_us)) {
		return false;
	}
	if (q->number != NULL && !number_fits(s, r->from) && !number_fits(s, r->to)) {
		return false;
	}
	if (q->site != NULL && strcmp(r->site, q->site) != 0) {
		return false;
	}
	if ((q->node != 0 && r->node != q->node) || (q->state >= 0 && (int)r->state != q->state)) {
		return false;
	}
	if (q->sip_call_id != NULL && strcmp(r->sip_call_id, q->sip_call_id) != 0) {
		return false;
	}
	return q->call == NULL || (r->call.len == 16 && memcmp(r->call.data, q->call, 16) == 0);
}

/* ---- Cursor ---- */

/* A cursor fits the query that it came from. */
static uint32_t query_hash(const struct et_state_query *q)
{
	uint8_t numbers[32];
	const char *texts[] = { q->number, q->site, q->sip_call_id };
	uint32_t crc = 0;

	et_put64(numbers, (uint64_t)q->from_us);
	et_put64(numbers + 8, (uint64_t)q->to_us);
	et_put64(numbers + 16, q->node);
	et_put64(numbers + 24, (uint64_t)q->state);
	crc = et_crc32c(crc, numbers, sizeof(numbers));
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		const char *text = texts[i] != NULL ? texts[i] : "";
		crc = et_crc32c(crc, text, strlen(text) + 1);
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
	memcpy(s->last.bytes, bytes + 5, PLACE_SIZE);
	s->started = true;
	return 0;
}

static void cursor_write(const struct search *s, char cursor[ET_STATE_CURSOR_SIZE])
{
	uint8_t bytes[CURSOR_SIZE];

	_Static_assert(et_base64_size(CURSOR_SIZE) <= ET_STATE_CURSOR_SIZE, "a cursor fits");
	cursor[0] = '\0';
	if (s->stopped) {
		bytes[0] = CURSOR_VERSION;
		et_put32(bytes + 1, query_hash(s->q));
		memcpy(bytes + 5, s->last.bytes, PLACE_SIZE);
		et_base64(bytes, sizeof(bytes), cursor);
	}
}

/* ---- One candidate ---- */

static int candidate(struct search *s, const uint8_t place[PLACE_SIZE])
{
	ET_CLEANUP(message_freep) Et__Recording *r = NULL;

	if (s->found == s->q->limit || s->looked_at == SCAN_MAX) {
		s->stopped = true;
		return PAGE_FULL;
	}
	s->looked_at++;
	memcpy(s->last.bytes, place, PLACE_SIZE);
	int rc = et_state_get_recording(s->v, place + 8, &r);
	if (rc < 0) {
		return rc == ET_ENOTFOUND ? ET_ECORRUPT : rc;
	}
	if (!recording_fits(s, r)) {
		return 0;
	}
	s->found++;
	s->result = s->fn(s->arg, r);
	s->stopped = s->result != 0;
	return s->stopped ? PAGE_FULL : 0;
}

/* ---- An index leads ---- */

static uint64_t time_inverted(int64_t us)
{
	return UINT64_MAX - (uint64_t)us;
}

static int lead_each(void *arg, struct et_view key, struct et_view value)
{
	struct search *s = arg;

	(void)value;
	if (key.size < PLACE_SIZE) {
		return ET_ECORRUPT;
	}
	const uint8_t *place = key.data + key.size - PLACE_SIZE;
	if (s->started && memcmp(place, s->last.bytes, PLACE_SIZE) == 0) {
		return 0; /* the cursor itself */
	}
	if (et_get64(place) > time_inverted(s->q->from_us)) {
		return PAGE_FULL; /* older than asked for, from here on: not `stopped` */
	}
	return candidate(s, place);
}

static int lead_walk(struct search *s, enum state_cf cf, const struct key *prefix)
{
	struct key from = *prefix;

	if (s->started) {
		key_add(&from, s->last.bytes, PLACE_SIZE);
	} else if (s->q->to_us > 0) {
		key_add64(&from, time_inverted(s->q->to_us - 1));
	}
	int rc = view_walk(s->v, cf, prefix, &from, lead_each, s);
	return rc == PAGE_FULL ? 0 : rc;
}

/* ---- Numbers by prefix: the newest of all that fit ---- */

struct heap {
	const struct search *s;
	struct place *places; /* owned: the oldest on top */
	size_t count;
	size_t room;
	size_t seen;
	bool dropped; /* some did not fit in */
};

static int place_compare(const struct place *a, const struct place *b)
{
	return memcmp(a->bytes, b->bytes, PLACE_SIZE);
}

static void heap_swap(struct heap *h, size_t i, size_t k)
{
	struct place held = h->places[i];

	h->places[i] = h->places[k];
	h->places[k] = held;
}

static void heap_sink(struct heap *h, size_t i)
{
	for (;;) {
		size_t top = i;
		for (size_t k = 2 * i + 1; k <= 2 * i + 2 && k < h->count; k++) {
			if (place_compare(&h->places[k], &h->places[top]) > 0) {
				top = k;
			}
		}
		if (top == i) {
			return;
		}
		heap_swap(h, i, top);
		i = top;
	}
}

static void heap_add(struct heap *h, const struct place *p)
{
	if (h->count == h->room) {
		h->dropped = true;
		if (place_compare(p, &h->places[0]) >= 0) {
			return;
		}
		h->places[0] = *p;
		heap_sink(h, 0);
		return;
	}
	size_t i = h->count++;
	h->places[i] = *p;
	while (i > 0 && place_compare(&h->places[i], &h->places[(i - 1) / 2]) > 0) {
		heap_swap(h, i, (i - 1) / 2);
		i = (i - 1) / 2;
	}
}

static int heap_each(void *arg, struct et_view key, struct et_view value)
{
	struct heap *h = arg;
	const struct search *s = h->s;
	struct place p;

	(void)value;
	if (key.size < PLACE_SIZE) {
		return ET_ECORRUPT;
	}
	if (++h->seen > PREFIX_SCAN_MAX) {
		return PAGE_FULL;
	}
	memcpy(p.bytes, key.data + key.size - PLACE_SIZE, PLACE_SIZE);
	uint64_t inverted = et_get64(p.bytes);
	if ((s->started && place_compare(&p, &s->last) <= 0) ||
	    inverted > time_inverted(s->q->from_us) ||
	    (s->q->to_us > 0 && inverted < time_inverted(s->q->to_us - 1))) {
		return 0;
	}
	heap_add(h, &p);
	return 0;
}

static int places_sort(const void *a, const void *b)
{
	return place_compare(a, b);
}

static int heap_give(struct search *s, struct heap *h)
{
	int rc = 0;

	qsort(h->places, h->count, sizeof(h->places[0]), places_sort);
	for (size_t i = 0; i < h->count && rc == 0; i++) {
		/* A caller and a called that both fit give the same place twice. */
		if (i == 0 || place_compare(&h->places[i], &h->places[i - 1]) != 0) {
			rc = candidate(s, h->places[i].bytes);
		}
	}
	if (rc == 0 && h->dropped) {
		s->stopped = true; /* all in the heap were looked at; there are more behind */
	}
	return rc == PAGE_FULL ? 0 : rc;
}

/* Room for more than a page, as other conditions may not hold for all of them. */
static int prefix_walk(struct search *s, bool *ret_too_many)
{
	struct heap h = { .s = s, .room = (size_t)LIMIT_MAX * 4 };
	struct key prefix = key_tag('n');

	key_add(&prefix, s->q->number, s->number_size);
	h.places = malloc(h.room * sizeof(*h.places));
	if (h.places == NULL) {
		return -ENOMEM;
	}
	int rc = view_walk(s->v, CF_INDEX, &prefix, NULL, heap_each, &h);
	*ret_too_many = rc == PAGE_FULL;
	if (rc == 0) {
		rc = heap_give(s, &h);
	}
	free(h.places);
	return rc == PAGE_FULL ? 0 : rc;
}

/* ---- Which index leads ---- */

static struct key lead_choose(const struct search *s)
{
	const struct et_state_query *q = s->q;
	struct key k;

	if (q->call != NULL) {
		k = key_tag('c');
		key_add(&k, q->call, 16);
	} else if (q->sip_call_id != NULL) {
		k = key_tag('i');
		key_add_text(&k, q->sip_call_id);
	} else if (q->number != NULL && !s->number_is_prefix) {
		k = key_tag('n');
		key_add_text(&k, q->number);
	} else if (q->state >= 0 && q->state != ET__RECORDING_STATE__SEALED) {
		k = key_tag('x');
		key_add8(&k, (uint8_t)q->state);
	} else if (q->node != 0) {
		k = key_tag('o');
		key_add64(&k, q->node);
	} else if (q->site != NULL) {
		k = key_tag('s');
		key_add_text(&k, q->site);
	} else {
		k = key_tag('t');
	}
	return k;
}

/* Texts longer than any that is stored fit nothing. */
static bool query_is_possible(const struct et_state_query *q)
{
	return (q->number == NULL || strlen(q->number) <= 512) &&
	       (q->site == NULL || strlen(q->site) <= 255) &&
	       (q->sip_call_id == NULL || strlen(q->sip_call_id) <= 512) && q->state <= UINT8_MAX;
}

int et_state_search(const struct et_state_view *v, const struct et_state_query *query,
		    int (*fn)(void *arg, const Et__Recording *record), void *arg,
		    struct et_state_found *ret)
{
	struct et_state_query q = *query;
	struct search s = { .v = v, .q = &q, .fn = fn, .arg = arg };
	bool too_many = true;

	*ret = (struct et_state_found){ .complete = true };
	if (q.agent != NULL || q.team != NULL || q.tag_count > 0 || q.fact_count > 0 ||
	    q.text != NULL || q.duration_min_us != 0 || q.duration_max_us != 0) {
		return -ENOTSUP;
	}
	q.limit = q.limit == 0 || q.limit > LIMIT_MAX ? LIMIT_MAX : q.limit;
	q.from_us = q.from_us > 0 ? q.from_us : 0;
	if (q.to_us < 0 || !query_is_possible(&q)) {
		return 0;
	}
	int rc = cursor_read(&s);
	if (rc < 0) {
		return rc;
	}
	if (q.number != NULL) {
		s.number_size = strlen(q.number);
		if (s.number_size > 0 && q.number[s.number_size - 1] == '*') {
			s.number_is_prefix = true;
			s.number_size--;
		}
	}
	if (s.number_is_prefix && q.call == NULL && q.sip_call_id == NULL) {
		rc = prefix_walk(&s, &too_many);
	}
	if (rc == 0 && too_many) {
		enum state_cf cf = q.call != NULL || q.sip_call_id != NULL ? CF_LINK : CF_INDEX;
		struct key lead = lead_choose(&s);
		rc = lead_walk(&s, cf, &lead);
	}
	if (rc == 0) {
		cursor_write(&s, ret->cursor);
		ret->found = s.found;
		ret->looked_at = s.looked_at;
		ret->total = s.found;
		ret->total_is_exact = ret->cursor[0] == '\0' && !s.started;
	}
	return rc < 0 ? rc : s.result;
}

/* ---- The index itself ---- */

int et_state_index_status(const struct et_state_view *v, struct et_state_index_status *ret)
{
	struct et_state_counts counts;

	int rc = et_state_counts(v, &counts);
	*ret = (struct et_state_index_status){ .complete = true };
	if (rc == 0) {
		ret->done = ret->total = counts.recordings;
	}
	return rc;
}
