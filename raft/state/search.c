/* Search: each condition that has lists is a stream of places; a recording is a hit when all
 * streams have its place, and what has no list holds too.
 *
 *     site ────── 17 ─── 23 ───── 40 ──▶
 *     words ───── 17 ───────── 31 ─────▶      seek each to the greatest place that any stands at,
 *                 hit                          until all agree; then go on behind it
 *
 * All lists are in one order (newest start first), so a cursor is the next place to look at,
 * whichever way a page was searched. Conditions without a list of their own:
 *   - a number's prefix or suffix that fits few entries: they are gathered and sorted; one that
 * fits many: the time index leads, and its values tell without a read whether a recording fits;
 *   - what hardly narrows (state sealed, middling durations): looked at in the record itself. */
#include "raft/state/search_internal.h"
#include "raft/state/tail_internal.h"

#define GATHER_MAX 40000
#define GATHER_BYTES (1024UL << 10) /* of the index on disk: more has too many entries */
#define SPANS_BYTES_LEAST (64UL << 10)
#define SPAN_SEEK_BYTES 1024 /* of entries take as long to walk as two seeks */
#define STEPS_RECORD 8
#define STREAMS_MAX 40
#define CHILDREN_MAX 1024 /* of one union */
#define CURSOR_SIZE (1 + 4 + PLACE_SIZE)
#define CURSOR_VERSION 2
#define LIMIT_MAX 1000
#define PAGE_FULL 1
#define DURATION_LONG INT64_C(256000000) /* from here on its lists are short */
#define DURATION_SHORT INT64_C(8000000)	 /* and up to here */

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

static bool recording_fits(const struct search *s, const Et__Recording *r)
{
	const struct et_state_query *q = s->q;
	const struct cover c = { (int)r->state, r->node, recording_duration(r),
				 r->site,	r->from, r->to };

	return r->start_us >= q->from_us && (q->to_us == 0 || r->start_us < q->to_us) &&
	       cover_fits(s, &c) &&
	       (q->sip_call_id == NULL || strcmp(r->sip_call_id, q->sip_call_id) == 0) &&
	       (q->call == NULL || (r->call.len == 16 && memcmp(r->call.data, q->call, 16) == 0));
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

/* ---- Streams of a query ---- */

static int search_add(struct search *s, struct stream *stream)
{
	if (stream == NULL) {
		return -ENOMEM;
	}
	et_assert(s->count < STREAMS_MAX);
	s->streams[s->count++] = stream;
	return 0;
}

static int search_add_list(struct search *s, const struct key *prefix)
{
	return search_add(s, stream_list(s->v, prefix->data[1] == 'x' ? CF_LIVE : CF_FIND, prefix));
}

static int add_links(struct search *s)
{
	struct key k;
	int rc = 0;

	if (s->q->sip_call_id != NULL) {
		k = key_tag('i');
		key_add_text(&k, s->q->sip_call_id);
		rc = search_add(s, stream_list(s->v, CF_LINK, &k));
	}
	if (s->q->call != NULL && rc == 0) {
		k = key_tag('c');
		key_add(&k, s->q->call, 16);
		rc = search_add(s, stream_list(s->v, CF_LINK, &k));
	}
	return rc;
}

static int add_state(struct search *s)
{
	if (s->q->state < 0 || s->q->state == ET__RECORDING_STATE__SEALED) {
		return 0;
	}
	struct key k = find_key(s->generation, 'x');
	key_add8(&k, (uint8_t)s->q->state);
	return search_add_list(s, &k);
}

static int add_tags(struct search *s)
{
	int rc = 0;

	for (size_t i = 0; i < s->q->tag_count && rc == 0; i++) {
		struct key k = find_key(s->generation, 'g');
		if (strlen(s->q->tags[i]) > 64) {
			s->nothing = true;
			return 0;
		}
		key_add_text(&k, s->q->tags[i]);
		rc = search_add_list(s, &k);
	}
	return rc;
}

static int add_facts(struct search *s)
{
	int rc = 0;

	for (size_t i = 0; i < s->q->fact_count && rc == 0; i++) {
		const struct et_state_fact_is *f = &s->q->facts[i];
		struct key k = find_key(s->generation, 'f');
		if (f->key == NULL || strlen(f->key) > 64 || f->type < 0 || f->type > UINT8_MAX) {
			s->nothing = true;
			return 0;
		}
		find_key_add_fact(&k, f->key, f->type, f->text != NULL ? f->text : "", f->number);
		rc = search_add_list(s, &k);
	}
	return rc;
}

/* About how much a prefix has on disk: what is still in memory is not counted. */
static uint64_t prefix_bytes(const struct search *s, const struct key *prefix)
{
	const struct database *d = s->v->database;
	struct key end = *prefix;
	uint64_t bytes = 0;
	char *error = NULL;

	key_add8(&end, 0xff);
	const char *from = (const char *)prefix->data;
	const char *to = (const char *)end.data;
	rocksdb_approximate_sizes_cf(d->db, d->cf[CF_FIND], 1, &from, &prefix->size, &to, &end.size,
				     &bytes, &error);
	if (error != NULL) {
		rocksdb_free(error);
		return UINT64_MAX;
	}
	return bytes;
}

/* ---- Lists of one kind: a list for each node of each site, for each class of durations ---- */

struct places_of {
	struct search *s;
	struct stream *stream;
};

/* Whether the list with this prefix is wanted; 1: neither it nor any behind it. */
typedef int (*list_wanted_fn)(const struct search *s, const struct key *prefix, bool *ret);

/* Which lists begin with `prefix`, from `from` on, by leaping from one to the next. */
static int lists_under(struct places_of *p, const struct key *prefix, struct key from,
		       list_wanted_fn wanted)
{
	const struct search *s = p->s;
	const struct database *d = s->v->database;
	rocksdb_iterator_t *it = rocksdb_create_iterator_cf(d->db, s->v->options, d->cf[CF_FIND]);
	int rc = 0;

	while (rc == 0) {
		size_t size;
		bool take;
		rocksdb_iter_seek(it, (const char *)from.data, from.size);
		if (!rocksdb_iter_valid(it)) {
			break;
		}
		const uint8_t *key = (const uint8_t *)rocksdb_iter_key(it, &size);
		if (size < prefix->size || memcmp(key, prefix->data, prefix->size) != 0) {
			break;
		}
		if (size < 2 + 1 + PLACE_SIZE) {
			rc = ET_ECORRUPT;
			break;
		}
		from = key_of(key, size - PLACE_SIZE);
		rc = wanted(s, &from, &take);
		if (rc == 0 && take) {
			rc = p->stream->count == CHILDREN_MAX
				     ? ET_ELIMIT
				     : stream_add(p->stream, stream_list(s->v, CF_FIND, &from));
		}
		for (size_t i = 0; i < PLACE_SIZE; i++) {
			key_add8(&from, 0xff);
		}
	}
	int status = iterator_status(it);
	rocksdb_iter_destroy(it);
	return status < 0 ? status : rc < 0 ? rc : 0;
}

static int site_wanted(const struct search *s, const struct key *prefix, bool *ret)
{
	if (prefix->size < 2 + 1 + 8) {
		return ET_ECORRUPT;
	}
	*ret = s->q->node == 0 || et_get64(prefix->data + prefix->size - 8) == s->q->node;
	return 0;
}

static int add_site(struct search *s)
{
	struct places_of p = { s, NULL };
	struct key k = find_key(s->generation, 'o');

	if (s->q->site == NULL && s->q->node == 0) {
		return 0;
	}
	if (s->q->site != NULL) {
		key_add_text(&k, s->q->site);
	}
	if (s->q->site != NULL && s->q->node != 0) {
		key_add64(&k, s->q->node);
		return search_add_list(s, &k);
	}
	p.stream = stream_union();
	int rc = search_add(s, p.stream);
	return rc < 0 ? rc : lists_under(&p, &k, k, site_wanted);
}

/* ---- Words: a list for each site ---- */

static int list_each(const struct search *s, const struct key *prefix, bool *ret)
{
	(void)s;
	(void)prefix;
	*ret = true;
	return 0;
}

static int word_add(struct search *s, const struct key *k)
{
	struct places_of p = { s, stream_union() };

	if (s->q->site != NULL) {
		stream_free(p.stream);
		return search_add_list(s, k);
	}
	int rc = search_add(s, p.stream);
	return rc < 0 ? rc : lists_under(&p, k, *k, list_each);
}

static void word_set_cover(struct stream *s, const struct word_cover *cover)
{
	for (size_t i = 0; s->kind == STREAM_UNION && i < s->count; i++) {
		s->children[i]->covered = true;
		s->children[i]->cover = *cover;
	}
	s->covered = s->kind == STREAM_LIST;
	s->cover = *cover;
}

/* The list that is shortest leads; its values tell which of its recordings seem to have the other
 * words. The other lists are asked about those alone. */
static int words_lists(struct search *s, const struct key *keys, size_t count,
		       const struct word_cover *cover)
{
	uint64_t least = UINT64_MAX;
	size_t lead = 0;
	int rc = 0;

	for (size_t i = 0; i < count && count > 1; i++) {
		uint64_t bytes = prefix_bytes(s, &keys[i]);
		lead = bytes < least ? i : lead;
		least = bytes < least ? bytes : least;
	}
	for (size_t i = 0; i < count && rc == 0; i++) {
		rc = word_add(s, &keys[i == 0 ? lead : i == lead ? 0 : i]);
		if (rc == 0 && i == 0 && count > 1) {
			word_set_cover(s->streams[s->count - 1], cover);
		}
	}
	return rc;
}

static int add_words(struct search *s)
{
	struct key keys[ET_STATE_CONDITIONS_MAX];
	const char *text = s->q->text;
	char word[WORD_SIZE];
	struct word_cover cover = { 0 };
	size_t count = 0;

	if (text == NULL || text[0] == '\0') {
		return 0;
	}
	while ((text = word_next(text, word)) != NULL) {
		if (count == ET_STATE_CONDITIONS_MAX) {
			return ET_ELIMIT;
		}
		keys[count] = find_key(s->generation, 'w');
		key_add_text(&keys[count], word);
		if (s->q->site != NULL) {
			key_add_text(&keys[count], s->q->site);
		}
		count++;
		word_cover_add(&cover, word);
	}
	s->nothing |= count == 0; /* a text without words is in none */
	s->site_is_covered = count > 0;
	return words_lists(s, keys, count, &cover);
}

static int duration_wanted(const struct search *s, const struct key *prefix, bool *ret)
{
	int64_t most = s->q->duration_max_us;

	if (prefix->size != 3) {
		return ET_ECORRUPT;
	}
	*ret = most == 0 || prefix->data[2] <= duration_class(most);
	return *ret ? 0 : 1;
}

static int add_duration(struct search *s)
{
	const struct et_state_query *q = s->q;
	bool is_long = q->duration_min_us >= DURATION_LONG;
	bool is_short = q->duration_max_us > 0 && q->duration_max_us <= DURATION_SHORT;
	struct key k = find_key(s->generation, 'd');
	struct key from = k;

	if (!is_long && !is_short) {
		return 0;
	}
	struct places_of p = { s, stream_union() };
	int rc = search_add(s, p.stream);
	key_add8(&from, duration_class(q->duration_min_us));
	return rc < 0 ? rc : lists_under(&p, &k, from, duration_wanted);
}

/* ---- Agents ---- */

static int agent_list(void *arg, const char *number, int64_t from_us, int64_t to_us)
{
	struct places_of *p = arg;
	struct key k = find_key(p->s->generation, 'n');

	if (p->stream->count == CHILDREN_MAX) {
		return ET_ELIMIT;
	}
	key_add_text(&k, number);
	struct stream *list = stream_list(p->s->v, CF_FIND, &k);
	int rc = stream_add(p->stream, list);
	if (rc < 0) {
		return rc;
	}
	list->first = place_of_time(to_us - 1);
	list->last = place_of_time(from_us);
	memset(list->last.bytes + 8, 0xff, PLACE_SIZE - 8);
	if (place_order(&list->last, &p->s->next) < 0 ||
	    place_order(&p->s->last, &list->first) < 0) {
		p->stream->count--; /* outside of what is asked for */
		stream_free(list);
	}
	return 0;
}

static int add_users(struct search *s, const char *agent, const char *team)
{
	struct places_of p = { s, NULL };
	const char *name = agent != NULL ? agent : team;

	if (name == NULL) {
		return 0;
	}
	p.stream = stream_union();
	int rc = search_add(s, p.stream);
	if (rc < 0) {
		return rc;
	}
	rc = agent_numbers(s->v, agent, team, agent_list, &p);
	if (rc < 0 || p.stream->count == CHILDREN_MAX) {
		return rc < 0 ? rc : ET_ELIMIT;
	}
	struct key k = find_key(s->generation, 'f');
	if (strlen(name) > 4096) {
		return 0;
	}
	find_key_add_fact(&k, agent != NULL ? "agent" : "team", ET__FACT_TYPE__FACT_TEXT, name, 0);
	return stream_add(p.stream, stream_list(s->v, CF_FIND, &k));
}

/* ---- Numbers ---- */

/* All entries of a prefix that are in the time asked for; numbers whose entries are not are leapt
 * over. *ret_all false: there are too many. */
static int number_gather(struct search *s, const struct key *prefix, struct stream *g,
			 bool *ret_all)
{
	const struct database *d = s->v->database;
	rocksdb_iterator_t *it = rocksdb_create_iterator_cf(d->db, s->v->options, d->cf[CF_FIND]);
	uint32_t seen = 0;
	unsigned outside = 0;
	int rc = 0;

	rocksdb_iter_seek(it, (const char *)prefix->data, prefix->size);
	while (rc == 0 && rocksdb_iter_valid(it) && seen <= GATHER_MAX) {
		size_t size;
		struct place place;
		const uint8_t *key = (const uint8_t *)rocksdb_iter_key(it, &size);
		if (size < prefix->size || memcmp(key, prefix->data, prefix->size) != 0) {
			break;
		}
		if (size < 2 + PLACE_SIZE) {
			rc = ET_ECORRUPT;
			break;
		}
		memcpy(place.bytes, key + size - PLACE_SIZE, PLACE_SIZE);
		bool early = place_order(&place, &s->last) > 0;
		bool late = place_order(&place, &s->next) < 0;
		seen++;
		outside = early || late ? outside + 1 : 0;
		rc = early || late ? 0 : stream_gather(g, place.bytes);
		if (outside >= 8) {
			struct key to = key_of(key, size - PLACE_SIZE);
			struct place edge = s->next;
			if (early) {
				memset(edge.bytes, 0xff, sizeof(edge.bytes));
			}
			key_add(&to, edge.bytes, PLACE_SIZE);
			rocksdb_iter_seek(it, (const char *)to.data, to.size);
			seen += 8;
			outside = 0;
			continue;
		}
		rocksdb_iter_next(it);
	}
	*ret_all = seen <= GATHER_MAX;
	s->steps += seen;
	int status = iterator_status(it);
	rocksdb_iter_destroy(it);
	return status < 0 ? status : rc;
}

/* More than one number in a hundred begins so: the time index finds a page of them at once. */
static bool number_is_wide(const struct search *s, uint64_t bytes)
{
	struct key all = find_key(s->generation, 'n');

	return bytes > SPANS_BYTES_LEAST && bytes > prefix_bytes(s, &all) / 100;
}

/* Up to here a prefix's entries of all times are gathered sooner than those of each span that is
 * asked for are sought. */
static uint64_t number_small(const struct search *s)
{
	uint32_t first = place_span(et_get64(s->next.bytes));
	uint32_t last = place_span(et_get64(s->last.bytes));
	uint64_t spans = s->q->to_us > 0 && s->q->from_us > 0 ? (uint64_t)last - first + 1 : 64;

	return (spans < 64 ? spans : 64) * SPAN_SEEK_BYTES;
}

static int add_spans(struct search *s)
{
	struct key prefix = key_of(s->number, s->number_size);
	struct stream *x = stream_spans(s->v, s->generation, &prefix);

	if (x != NULL) {
		x->first = s->next;
		x->last = s->last;
	}
	return search_add(s, x);
}

static int add_number(struct search *s)
{
	struct key k;
	bool all = false;

	if (s->q->number == NULL) {
		return 0;
	}
	if (!s->is_prefix && !s->is_suffix) {
		k = find_key(s->generation, 'n');
		key_add_text(&k, s->number);
		return search_add_list(s, &k);
	}
	k = find_key(s->generation, s->is_prefix ? 'n' : 'r');
	find_key_add_number(&k, s->number, s->number_size, s->is_suffix);
	uint64_t bytes = s->number_size > 0 ? prefix_bytes(s, &k) : UINT64_MAX;
	if (s->is_prefix ? number_is_wide(s, bytes) : bytes > GATHER_BYTES) {
		return 0;
	}
	if (s->is_prefix && bytes > number_small(s)) {
		return add_spans(s);
	}
	struct stream *g = stream_gathered();
	int rc = g == NULL ? -ENOMEM : number_gather(s, &k, g, &all);
	if (rc < 0 || !all) {
		stream_free(g);
		return rc < 0 || !s->is_prefix ? rc : add_spans(s);
	}
	stream_gathered_sort(g);
	return search_add(s, g);
}

/* Streams for all conditions. Those that hardly narrow come last: the time index does without them
 * when a number must be looked for in it anyway. */
static int search_plan(struct search *s)
{
	int rc = add_links(s);

	rc = rc < 0 ? rc : add_tags(s);
	rc = rc < 0 ? rc : add_facts(s);
	rc = rc < 0 ? rc : add_words(s);
	rc = rc < 0 ? rc : add_users(s, s->q->agent, NULL);
	rc = rc < 0 ? rc : add_users(s, NULL, s->q->team);
	rc = rc < 0 ? rc : add_state(s);
	size_t narrow = s->count;
	rc = rc < 0 ? rc : add_number(s);
	if (rc < 0 || s->nothing) {
		return rc;
	}
	bool is_wide = s->q->number != NULL && s->count == narrow;
	if (narrow > 0 || !is_wide) {
		rc = add_duration(s);
		rc = rc < 0 || s->site_is_covered ? rc : add_site(s);
	}
	if (rc == 0 && s->count == 0) {
		struct key k = find_key(s->generation, 't');
		s->by_time = true;
		rc = search_add_list(s, &k);
	}
	return rc;
}

/* ---- Walking ---- */

static void place_next(struct place *p)
{
	for (size_t i = PLACE_SIZE; i > 0 && ++p->bytes[i - 1] == 0; i--) {
	}
}

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
static bool stream_holds(const struct search *s, const struct stream *x, const struct place *at)
{
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
		const struct stream *x = s->streams[i];
		bool holds = x->kind != STREAM_UNION && stream_holds(s, x, at);
		for (size_t k = 0; x->kind == STREAM_UNION && k < x->count && !holds; k++) {
			holds = stream_holds(s, x->children[k], at);
		}
		*ret = holds;
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
