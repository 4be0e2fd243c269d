/* Streams for the conditions of a query: see search.c. Which ones follows from sizes on disk. */
#include "raft/state/search_internal.h"

#define GATHER_MAX 40000
#define GATHER_BYTES (1024UL << 10) /* of the index on disk: more has too many entries */
#define SPANS_BYTES_LEAST (64UL << 10)
#define SPAN_SEEK_BYTES 1024 /* of entries take as long to walk as two seeks */
#define CHILDREN_MAX 1024    /* of one union */
#define WANTED_SMALL 8	     /* of a list's hits, when others have a say in what is one */
#define DURATION_LONG INT64_C(256000000) /* from here on its lists are short */
#define DURATION_SHORT INT64_C(8000000)	 /* and up to here */

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

/* Behind all places of a list: those of our time begin with a byte of ones themselves. */
static void key_add_behind(struct key *list)
{
	for (size_t i = 0; i < PLACE_SIZE; i++) {
		key_add8(list, 0xff);
	}
}

/* About how much a prefix has on disk: what is still in memory is not counted. */
static uint64_t prefix_bytes(const struct search *s, const struct key *prefix)
{
	const struct database *d = s->v->database;
	struct key end = *prefix;
	uint64_t bytes = 0;
	char *error = NULL;

	key_add_behind(&end);
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

/* ---- Lists of one kind: for each node of each site, for each site that has a word ---- */

/* Adds what it makes of a list to the union. */
typedef int (*list_fn)(const struct search *s, struct stream *u, const struct key *list,
		       const void *arg);

/* Each list that begins with `prefix`, by leaping from one to the next. */
static int lists_under(const struct search *s, struct stream *u, const struct key *prefix,
		       list_fn fn, const void *arg)
{
	const struct database *d = s->v->database;
	rocksdb_iterator_t *it = rocksdb_create_iterator_cf(d->db, s->v->options, d->cf[CF_FIND]);
	struct key from = *prefix;
	int rc = 0;

	while (rc == 0) {
		size_t size;
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
		rc = u->child_count == CHILDREN_MAX ? ET_ELIMIT : fn(s, u, &from, arg);
		key_add_behind(&from);
	}
	int status = iterator_status(it);
	rocksdb_iter_destroy(it);
	return status < 0 ? status : rc;
}

static int site_list(const struct search *s, struct stream *u, const struct key *list,
		     const void *arg)
{
	(void)arg;
	if (list->size < 2 + 1 + 8) {
		return ET_ECORRUPT;
	}
	if (s->q->node != 0 && et_get64(list->data + list->size - 8) != s->q->node) {
		return 0;
	}
	return stream_add(u, stream_list(s->v, CF_FIND, list));
}

static int add_site(struct search *s)
{
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
	struct stream *u = stream_union();
	int rc = search_add(s, u);
	return rc < 0 ? rc : lists_under(s, u, &k, site_list, NULL);
}

/* ---- Words: a list for each site ---- */

/* What a text asks for. */
struct words {
	struct key keys[ET_STATE_CONDITIONS_MAX]; /* of their lists, without a site */
	size_t count;
	struct word_cover cover; /* of all */
};

static struct stream *word_list(const struct search *s, const struct key *word, const uint8_t *site,
				size_t size)
{
	struct key k = *word;

	key_add(&k, site, size);
	return stream_list(s->v, CF_FIND, &k);
}

/* Recordings of a site (with its NUL) that have all words. The first word's list leads; its values
 * tell which of its recordings seem to have the others, whose lists are asked about those alone. */
static struct stream *words_at(const struct search *s, const struct words *w, const uint8_t *site,
			       size_t size, size_t wanted)
{
	struct stream *lead = word_list(s, &w->keys[0], site, size);

	if (lead == NULL || w->count == 1) {
		return lead;
	}
	lead->covered = true;
	lead->cover = w->cover;
	struct stream *led = stream_led(s->v, lead, wanted);
	for (size_t i = 1; led != NULL && i < w->count; i++) {
		if (stream_add(led, word_list(s, &w->keys[i], site, size)) < 0) {
			stream_free(led);
			return NULL;
		}
	}
	return led;
}

/* The list that is shortest comes first. */
static void words_sort(const struct search *s, struct words *w)
{
	const char *site = s->q->site != NULL ? s->q->site : "";
	uint64_t least = UINT64_MAX;
	size_t lead = 0;

	for (size_t i = 0; i < w->count && w->count > 1; i++) {
		struct key k = w->keys[i];
		key_add(&k, site, site[0] != '\0' ? strlen(site) + 1 : 0);
		uint64_t bytes = prefix_bytes(s, &k);
		lead = bytes < least ? i : lead;
		least = bytes < least ? bytes : least;
	}
	struct key first = w->keys[0];
	w->keys[0] = w->keys[lead];
	w->keys[lead] = first;
}

/* The words at a site that the first one has a list for. */
static int site_words(const struct search *s, struct stream *u, const struct key *list,
		      const void *words)
{
	const struct words *w = words;
	size_t size = w->keys[0].size;

	return stream_add(u, words_at(s, w, list->data + size, list->size - size, WANTED_SMALL));
}

static int words_streams(struct search *s, struct words *w)
{
	words_sort(s, w);
	if (s->q->site != NULL) {
		return search_add(s, words_at(s, w, (const uint8_t *)s->q->site,
					      strlen(s->q->site) + 1,
					      s->count > 0 ? WANTED_SMALL : s->q->limit + 1));
	}
	struct stream *u = stream_union();
	int rc = search_add(s, u);
	return rc < 0 ? rc : lists_under(s, u, &w->keys[0], site_words, w);
}

static int add_words(struct search *s)
{
	const char *text = s->q->text;
	char word[WORD_SIZE];
	struct words w = { .count = 0 };

	if (text == NULL || text[0] == '\0') {
		return 0;
	}
	while ((text = word_next(text, word)) != NULL) {
		if (w.count == ET_STATE_CONDITIONS_MAX) {
			return ET_ELIMIT;
		}
		w.keys[w.count] = find_key(s->generation, 'w');
		key_add_text(&w.keys[w.count++], word);
		word_cover_add(&w.cover, word);
	}
	s->nothing |= w.count == 0; /* a text without words is in none */
	s->site_is_covered = w.count > 0;
	return s->nothing ? 0 : words_streams(s, &w);
}

/* ---- Durations ---- */

/* The class behind the end of a class's list that has any; UINT8_MAX: there is none. */
static uint8_t duration_next(const struct stream *list)
{
	size_t size;
	const uint8_t *key = stream_behind(list, &size);
	bool is_one = key != NULL && size == list->prefix.size + PLACE_SIZE &&
		      memcmp(key, list->prefix.data, 2) == 0;

	return is_one ? key[2] : UINT8_MAX;
}

/* The highest class that has any. false: none has. */
static bool duration_highest(const struct search *s, rocksdb_iterator_t *it, unsigned *ret)
{
	struct key behind = find_key(s->generation, 'd');
	size_t size;

	key_add8(&behind, UINT8_MAX); /* of no class */
	rocksdb_iter_seek_for_prev(it, (const char *)behind.data, behind.size);
	if (!rocksdb_iter_valid(it)) {
		return false;
	}
	const uint8_t *key = (const uint8_t *)rocksdb_iter_key(it, &size);
	if (size != behind.size + PLACE_SIZE || memcmp(key, behind.data, 2) != 0) {
		return false;
	}
	*ret = key[2];
	return true;
}

/* A list for each class, sought where the search begins: of one that has nothing there, this tells
 * which is the next. The first one goes on with the iterator that looked for the last. */
static int add_duration(struct search *s)
{
	const struct et_state_query *q = s->q;
	bool is_long = q->duration_min_us >= DURATION_LONG;
	bool is_short = q->duration_max_us > 0 && q->duration_max_us <= DURATION_SHORT;
	unsigned class = duration_class(q->duration_min_us);
	unsigned last = q->duration_max_us > 0 ? duration_class(q->duration_max_us) : UINT8_MAX;
	unsigned highest;

	if (!is_long && !is_short) {
		return 0;
	}
	struct stream *u = stream_union();
	int rc = search_add(s, u);
	if (rc < 0) {
		return rc;
	}
	rocksdb_iterator_t *it = view_iterator(s->v, CF_FIND);
	bool any = duration_highest(s, it, &highest);
	last = any && highest < last ? highest : last;
	while (any && rc == 0 && class <= last) {
		struct key k = find_key(s->generation, 'd');
		key_add8(&k, (uint8_t) class);
		struct stream *list = stream_list(s->v, CF_FIND, &k);
		if (list != NULL) {
			list->it = ET_TAKE(it);
		}
		rc = list != NULL ? stream_seek(list, &s->next, &s->steps) : -ENOMEM;
		class ++;
		if (rc == 0 && !list->ended) {
			rc = stream_add(u, list);
			continue;
		}
		class = rc == 0 ? duration_next(list) : class;
		stream_free(list);
	}
	if (it != NULL) {
		rc = rc < 0 ? rc : iterator_status(it);
		rocksdb_iter_destroy(it);
	}
	return rc;
}

/* ---- Agents ---- */

struct places_of {
	struct search *s;
	struct stream *stream;
};

static int agent_list(void *arg, const char *number, int64_t from_us, int64_t to_us)
{
	struct places_of *p = arg;
	struct key k = find_key(p->s->generation, 'n');

	if (p->stream->child_count == CHILDREN_MAX) {
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
		p->stream->child_count--; /* outside of what is asked for */
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
	if (rc < 0 || p.stream->child_count == CHILDREN_MAX) {
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

int search_plan(struct search *s)
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
