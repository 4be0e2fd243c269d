/* Indexes: what search reads, made of recordings and of what is told of them, by index_update()
 * alone. Apply never reads them, so they may be made anew at any time, and differ in nothing then.
 * What changes is written behind apply, in bulk: tail.c.
 *
 * Family `find`; every key begins with its generation (u8), and ends with its place, so that each
 * list gives the newest first and any two can be intersected by seeking:
 *
 *   't'                          all, with a value (struct cover) to look through without a read
 *   'n' number NUL               caller and called
 *   'p' span 4, number NUL       the same by spans of time (place_span()): a prefix in a week is
 *                                a few short stretches of it, not all calls of all its numbers
 *   'r' number backwards NUL     for suffixes
 *   'o' site NUL node 8
 *   'd' u8                       ended ones: how many bits the duration in seconds has
 *   'g' tag NUL                  tags that stand
 *   'f' key NUL value            facts that count; value: 't' text NUL | type, number 8 (sign
 *                                flipped)
 *   'w' word NUL site NUL        of notes, text facts, tags, SIP users with letters (words.c), with
 *                                a value: which other words the recording has (struct
 *                                word_cover), so that the shortest list of several words is
 *                                walked alone
 *
 * Family `live`: generation, 'x', state 1, place: those that are not sealed. It is a family of its
 * own because almost every entry goes again when the call ends.
 *
 * Made anew: recordings are walked by id and put into the other generation, some at a time, with
 * the id that was reached; apply changes both generations of a recording that was reached already.
 * When all are through, the generations change places, and the old one goes. */
#include "raft/state/tail_internal.h"

/* 2: the index may have a tail. A build that knows 1 does not look for it. */
#define INDEX_LAYOUT 2
#define FEW_ENTRIES 24 /* a recording that nothing is told of has about ten */
#define TEXT_WHOLE 96  /* bytes of a fact's text that stand in its key as they are */

/* ---- Sets of entries ---- */

struct index_entry {
	uint32_t key, key_size; /* in the bytes */
	uint32_t value, value_size;
};

struct index_set {
	struct et_buffer bytes;
	struct index_entry *list; /* owned */
	size_t count;
	size_t capacity;
	struct word_cover words; /* of the words that were added */
	bool failed;
};

struct index {
	struct index_set old, new;
};

struct index *index_new(void)
{
	return calloc(1, sizeof(struct index));
}

void index_free(struct index *x)
{
	if (x != NULL) {
		et_buffer_release(&x->old.bytes);
		et_buffer_release(&x->new.bytes);
		free(x->old.list);
		free(x->new.list);
		free(x);
	}
}

static void set_clear(struct index_set *set)
{
	set->bytes.size = 0;
	set->count = 0;
	set->words = (struct word_cover){ 0 };
}

static struct index_entry *set_add(struct index_set *set, const struct key *k,
				   const struct et_buffer *value)
{
	if (set->count == set->capacity) {
		size_t capacity = set->capacity > 0 ? set->capacity * 2 : 64;
		struct index_entry *p = realloc(set->list, capacity * sizeof(*p));
		if (p == NULL) {
			set->failed = true;
			return NULL;
		}
		set->list = p;
		set->capacity = capacity;
	}
	struct index_entry *e = &set->list[set->count++];
	*e = (struct index_entry){ (uint32_t)set->bytes.size, (uint32_t)k->size, 0, 0 };
	et_buffer_add(&set->bytes, k->data, k->size);
	if (value != NULL) {
		e->value = (uint32_t)set->bytes.size;
		e->value_size = (uint32_t)value->size;
		et_buffer_add(&set->bytes, value->data, value->size);
	}
	set->failed |= set->bytes.failed;
	return e;
}

static int entry_order(const struct index_set *a, const struct index_entry *x,
		       const struct index_set *b, const struct index_entry *y)
{
	size_t least = x->key_size < y->key_size ? x->key_size : y->key_size;
	int order = memcmp(a->bytes.data + x->key, b->bytes.data + y->key, least);

	return order != 0 ? order : (x->key_size > y->key_size) - (x->key_size < y->key_size);
}

static int entry_sort(const void *a, const void *b, void *set)
{
	return entry_order(set, a, set, b);
}

static void entries_insert(struct index_set *set)
{
	struct index_entry *list = set->list;

	for (size_t i = 1; i < set->count; i++) {
		struct index_entry e = list[i];
		size_t at = i;
		for (; at > 0 && entry_order(set, &list[at - 1], set, &e) > 0; at--) {
			list[at] = list[at - 1];
		}
		list[at] = e;
	}
}

/* In order, each key once. */
static void set_sort(struct index_set *set)
{
	size_t kept = 0;

	if (set->failed) {
		return;
	}
	if (set->count <= FEW_ENTRIES) {
		entries_insert(set);
	} else {
		qsort_r(set->list, set->count, sizeof(set->list[0]), entry_sort, set);
	}
	for (size_t i = 0; i < set->count; i++) {
		if (kept == 0 || entry_order(set, &set->list[kept - 1], set, &set->list[i]) != 0) {
			set->list[kept++] = set->list[i];
		}
	}
	set->count = kept;
}

/* ---- Keys of the lists; the generation stands in front when they are written ---- */

struct key find_key(uint8_t generation, char tag)
{
	struct key k;

	k.size = 0;
	key_add8(&k, generation);
	key_add8(&k, (uint8_t)tag);
	return k;
}

void find_key_add_number(struct key *k, const char *number, size_t size, bool backwards)
{
	for (size_t i = 0; i < size; i++) {
		key_add8(k, (uint8_t)number[backwards ? size - 1 - i : i]);
	}
}

void find_key_add_fact(struct key *k, const char *key, int type, const char *text, int64_t number)
{
	uint8_t hash[ET_SHA256_SIZE];

	key_add_text(k, key);
	if (type != ET__FACT_TYPE__FACT_TEXT && type != ET__FACT_TYPE__FACT_PHONE) {
		key_add8(k, (uint8_t)type);
		key_add64(k, (uint64_t)number ^ UINT64_C(1) << 63);
		return;
	}
	size_t size = strlen(text);
	key_add8(k, 't');
	if (size <= TEXT_WHOLE) {
		key_add_text(k, text);
		return;
	}
	et_sha256((const uint8_t *)text, size, hash);
	key_add(k, text, TEXT_WHOLE);
	key_add8(k, 1); /* a text that is whole has its NUL here at the latest */
	key_add(k, hash, 16);
}

uint8_t duration_class(int64_t us)
{
	uint64_t seconds = us > 0 ? (uint64_t)us / 1000000 : 0;
	uint8_t bits = 0;

	while (seconds > 0) {
		seconds >>= 1;
		bits++;
	}
	return bits;
}

int64_t recording_duration(const Et__Recording *r)
{
	return r->end_us > r->start_us ? r->end_us - r->start_us : r->end_us != 0 ? 0 : -1;
}

/* ---- Covers ---- */

static void cover_write(struct et_buffer *b, const Et__Recording *r)
{
	const char *texts[] = { r->site, r->from, r->to };

	et_buffer_add8(b, (uint8_t)r->state);
	et_buffer_add_varint(b, r->node);
	et_buffer_add_varint(b, (uint64_t)(recording_duration(r) + 1));
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		et_buffer_add(b, texts[i], strlen(texts[i]) + 1);
	}
}

static const char *cover_text(struct et_reader *r, const uint8_t *end)
{
	size_t left = et_reader_left(r);
	const uint8_t *at = end - left;
	const uint8_t *nul = left > 0 ? memchr(at, 0, left) : NULL;

	if (nul == NULL) {
		r->failed = true;
		return "";
	}
	(void)et_read_bytes(r, (size_t)(nul - at) + 1);
	return (const char *)at;
}

int cover_read(struct et_view value, struct cover *ret)
{
	struct et_reader r = et_reader_of(value.data, value.size);
	const uint8_t *end = value.data + value.size;

	ret->state = et_read8(&r);
	ret->node = et_read_varint(&r);
	ret->duration_us = (int64_t)et_read_varint(&r) - 1;
	ret->site = cover_text(&r, end);
	ret->from = cover_text(&r, end);
	ret->to = cover_text(&r, end);
	return r.failed ? ET_ECORRUPT : 0;
}

/* Four bits of 128 for each word: of a note of ten words, one in two hundred others seems to be in
 * it too. */
void word_cover_add(struct word_cover *c, const char *word)
{
	uint32_t hash = et_crc32c(0, word, strlen(word));

	for (int i = 0; i < 4; i++, hash >>= 7) {
		c->bits[hash % 128 / 8] |= (uint8_t)(1U << hash % 8);
	}
}

/* ---- What a recording is found by ---- */

static void add_list(struct index_set *set, struct key *k, const Et__Recording *r)
{
	key_add_place(k, r);
	(void)set_add(set, k, NULL);
}

static void add_words(struct index_set *set, const char *text, const Et__Recording *r)
{
	char word[WORD_SIZE];

	while ((text = word_next(text, word)) != NULL) {
		struct key k = find_key(0, 'w');
		key_add_text(&k, word);
		key_add_text(&k, r->site);
		add_list(set, &k, r);
		word_cover_add(&set->words, word);
	}
}

/* All words are known: each says so of all. */
static void words_cover(struct index_set *set)
{
	uint32_t at = (uint32_t)set->bytes.size;

	et_buffer_add(&set->bytes, &set->words, sizeof(set->words));
	set->failed |= set->bytes.failed;
	for (size_t i = 0; i < set->count && !set->failed; i++) {
		if (set->bytes.data[set->list[i].key + 1] == 'w') {
			set->list[i].value = at;
			set->list[i].value_size = sizeof(set->words);
		}
	}
}

static bool text_has_letters(const char *text)
{
	for (; *text != '\0'; text++) {
		if (((uint8_t)*text | 0x20) >= 'a' && (uint8_t)*text != '\x7f') {
			return true;
		}
	}
	return false;
}

static void add_number(struct index_set *set, const char *number, const Et__Recording *r)
{
	size_t size = strlen(number);

	if (size == 0) {
		return;
	}
	for (int backwards = 0; backwards < 2; backwards++) {
		struct key k = find_key(0, backwards ? 'r' : 'n');
		find_key_add_number(&k, number, size, backwards != 0);
		key_add8(&k, 0);
		add_list(set, &k, r);
	}
	struct key k = find_key(0, 'p');
	key_add32(&k, place_span(UINT64_MAX - (uint64_t)r->start_us));
	key_add_text(&k, number);
	add_list(set, &k, r);
	if (text_has_letters(number)) {
		add_words(set, number, r);
	}
}

static void add_told(struct index_set *set, const Et__Told *told, const Et__Recording *r)
{
	for (size_t i = 0; i < told->n_facts; i++) {
		const Et__Fact *f = told->facts[i];
		if (!et_told_fact_counts(told, i) || !et_told_fact_is_of(f, r)) {
			continue;
		}
		struct key k = find_key(0, 'f');
		find_key_add_fact(&k, f->key, (int)f->type, f->text, f->number);
		add_list(set, &k, r);
		if (f->type == ET__FACT_TYPE__FACT_TEXT) {
			add_words(set, f->text, r);
		}
	}
	for (size_t i = 0; i < told->n_tags; i++) {
		if (!told->tags[i]->cleared) {
			struct key k = find_key(0, 'g');
			key_add_text(&k, told->tags[i]->name);
			add_list(set, &k, r);
			add_words(set, told->tags[i]->name, r);
		}
	}
	for (size_t i = 0; i < told->n_notes; i++) {
		if (et_told_note_counts(told, i)) {
			add_words(set, told->notes[i]->text, r);
		}
	}
}

static void set_make(struct index_set *set, const struct indexed *x)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer cover = { 0 };
	const Et__Recording *r = x->r;
	struct key k = find_key(0, 't');

	set_clear(set);
	cover_write(&cover, r);
	key_add_place(&k, r);
	(void)set_add(set, &k, &cover);
	set->failed |= cover.failed;
	add_number(set, r->from, r);
	add_number(set, r->to, r);
	for (size_t i = 0; r->session != NULL && i < r->session->n_participants; i++) {
		const Et__Participant *who = r->session->participants[i];
		add_words(set, who->number, r);
		add_words(set, who->name, r);
	}
	k = find_key(0, 'o');
	key_add_text(&k, r->site);
	key_add64(&k, r->node);
	add_list(set, &k, r);
	if (r->state != ET__RECORDING_STATE__SEALED) {
		k = find_key(0, 'x');
		key_add8(&k, (uint8_t)r->state);
		add_list(set, &k, r);
	}
	if (recording_duration(r) >= 0) {
		k = find_key(0, 'd');
		key_add8(&k, duration_class(recording_duration(r)));
		add_list(set, &k, r);
	}
	for (size_t i = 0; i < TOLD_SUBJECTS; i++) {
		if (x->told != NULL && x->told[i] != NULL) {
			add_told(set, x->told[i], r);
		}
	}
	words_cover(set);
	set_sort(set);
}

/* ---- Writing ---- */

/* To the tail, with the group that is being applied, or (`batch`) at once. */
struct index_to {
	struct et_state *s;
	rocksdb_writebatch_t *batch;
	uint8_t generation;
};

static void entry_write(const struct index_to *to, struct index_set *set,
			const struct index_entry *e, enum tail_kind kind)
{
	uint8_t *key = set->bytes.data + e->key;
	const uint8_t *value = set->bytes.data + e->value;
	enum state_cf cf = key[1] == 'x' ? CF_LIVE : CF_FIND;

	key[0] = to->generation;
	if (to->batch == NULL) {
		tail_add(to->s->tail, kind, cf, key, e->key_size, value, e->value_size);
	} else {
		et_assert(kind == TAIL_NEW); /* made anew: nothing was there */
		rocksdb_writebatch_put_cf(to->batch, to->s->database->cf[cf], (const char *)key,
					  e->key_size, (const char *)value, e->value_size);
	}
	key[0] = 0; /* as it was sorted */
}

static bool entry_same(const struct index_set *a, const struct index_entry *x,
		       const struct index_set *b, const struct index_entry *y)
{
	return x->value_size == y->value_size &&
	       (x->value_size == 0 ||
		memcmp(a->bytes.data + x->value, b->bytes.data + y->value, x->value_size) == 0);
}

/* Both are in order: what is in one alone, or has another value. Returns how much that is. */
static size_t sets_write(const struct index_to *to, struct index *x)
{
	struct index_set *old = &x->old;
	struct index_set *new = &x->new;
	size_t i = 0;
	size_t k = 0;
	size_t written = 0;

	while (i < old->count || k < new->count) {
		int order = i == old->count   ? 1
			    : k == new->count ? -1
					      : entry_order(old, &old->list[i], new, &new->list[k]);
		if (order < 0) {
			entry_write(to, old, &old->list[i++], TAIL_DELETE);
			written++;
			continue;
		}
		if (order > 0 || !entry_same(old, &old->list[i], new, &new->list[k])) {
			entry_write(to, new, &new->list[k], order > 0 ? TAIL_NEW : TAIL_CHANGE);
			written++;
		}
		i += order == 0;
		k++;
	}
	return written;
}

int index_update(struct et_state *s, const struct indexed *before, const struct indexed *after)
{
	struct index *x = s->index;

	set_clear(&x->old);
	if (before != NULL) {
		set_make(&x->old, before);
	}
	set_make(&x->new, after);
	if (x->old.failed || x->new.failed) {
		return -ENOMEM;
	}
	struct index_to to = { s, NULL, s->find.generation };
	if (sets_write(&to, x) > 0) {
		tail_add_recording(s->tail, after->r->id.data);
	}
	if (s->find.rebuilding && memcmp(after->r->id.data, s->find.reached, 16) <= 0) {
		to.generation ^= 1;
		(void)sets_write(&to, x);
	}
	return 0;
}

int index_of(struct index *x, const struct et_state_view *v, const uint8_t id[16])
{
	ET_CLEANUP(message_freep) Et__Recording *r = NULL;
	Et__Told *told[TOLD_SUBJECTS];

	int rc = et_state_get_recording(v, id, &r);
	rc = rc < 0 ? rc : told_load(v, r, told);
	if (rc < 0) {
		return rc;
	}
	const struct indexed now = { r, (const Et__Told *const *)told };
	set_make(&x->new, &now);
	told_free(told);
	return x->new.failed ? -ENOMEM : 0;
}

bool index_has(const struct index *x, const struct key *list, const uint8_t place[PLACE_SIZE])
{
	struct key k = *list;
	size_t low = 0;
	size_t high = x->new.count;

	k.data[0] = 0; /* as it was sorted */
	key_add(&k, place, PLACE_SIZE);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct index_entry *e = &x->new.list[middle];
		size_t least = e->key_size < k.size ? e->key_size : k.size;
		int order = memcmp(x->new.bytes.data + e->key, k.data, least);
		order = order != 0 ? order : (e->key_size > k.size) - (e->key_size < k.size);
		if (order == 0) {
			return true;
		}
		low = order < 0 ? middle + 1 : low;
		high = order < 0 ? high : middle;
	}
	return false;
}

/* ---- State of the index ---- */

#define STATE_SIZE (4 + 1 + 1 + 1 + 16 + 8)

static struct key key_state(void)
{
	return key_tag('\xff');
}

static void state_pack(const struct find_state *f, uint8_t bytes[STATE_SIZE])
{
	et_put32(bytes, INDEX_LAYOUT);
	bytes[4] = f->generation;
	bytes[5] = f->complete;
	bytes[6] = f->rebuilding;
	memcpy(bytes + 7, f->reached, 16);
	et_put64(bytes + 23, f->done);
}

/* Of another layout: as if it were not there. */
int find_state_read(const struct et_state_view *v, struct find_state *ret)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	struct key key = key_state();

	*ret = (struct find_state){ 0 };
	int rc = view_get(v, CF_FIND, &key, &b);
	if (rc < 0) {
		return rc == ET_ENOTFOUND ? 0 : rc;
	}
	if (b.size < 4 || et_get32(b.data) != INDEX_LAYOUT) {
		return 0;
	}
	if (b.size != STATE_SIZE) {
		return ET_ECORRUPT;
	}
	ret->known = true;
	ret->generation = b.data[4] & 1;
	ret->complete = b.data[5] != 0;
	ret->rebuilding = b.data[6] != 0;
	memcpy(ret->reached, b.data + 7, 16);
	ret->done = et_get64(b.data + 23);
	return 0;
}

static void state_write(rocksdb_writebatch_t *batch, const struct database *d,
			const struct find_state *f)
{
	uint8_t bytes[STATE_SIZE];
	struct key key = key_state();

	state_pack(f, bytes);
	rocksdb_writebatch_put_cf(batch, d->cf[CF_FIND], (const char *)key.data, key.size,
				  (const char *)bytes, sizeof(bytes));
}

static int batch_write(struct et_state *s, struct database *d, rocksdb_writebatch_t *batch,
		       struct et_error *reterr)
{
	char *error = NULL;

	rocksdb_write(d->db, s->write_options, batch, &error);
	return state_status(error, reterr, "write the index");
}

/* Generation `g` is empty from now on. */
static void generation_drop(rocksdb_writebatch_t *batch, const struct database *d, uint8_t g)
{
	static const enum state_cf families[] = { CF_FIND, CF_LIVE };
	char from = (char)g;
	char to = (char)(g + 1);

	for (size_t i = 0; i < ET_ARRAY_SIZE(families); i++) {
		rocksdb_writebatch_delete_range_cf(batch, d->cf[families[i]], &from, 1, &to, 1);
	}
}

static int rebuild_begin(struct et_state *s, struct database *d, struct find_state *f,
			 struct et_error *reterr)
{
	rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
	struct find_state next = *f;

	next.known = true;
	next.rebuilding = true;
	memset(next.reached, 0, sizeof(next.reached));
	next.done = 0;
	generation_drop(batch, d, next.generation ^ 1);
	if (!f->known) { /* what a tail says is of another index */
		tail_rows_drop(batch, d);
	}
	state_write(batch, d, &next);
	int rc = batch_write(s, d, batch, reterr);
	rocksdb_writebatch_destroy(batch);
	if (rc == 0) {
		*f = next;
	}
	return rc;
}

int find_open(struct et_state *s, const struct et_state_view *v, struct find_state *ret,
	      struct et_error *reterr)
{
	struct et_state_counts counts;

	int rc = find_state_read(v, ret);
	rc = rc < 0 ? rc : et_state_counts(v, &counts);
	if (rc < 0) {
		return et_fail(reterr, rc, "the state of the index");
	}
	if (!ret->known) {
		ret->complete = counts.recordings == 0;
		rc = rebuild_begin(s, v->database, ret, reterr);
	}
	return rc;
}

/* ---- Making it anew ---- */

int et_state_index_rebuild(struct et_state *s, struct et_error *reterr)
{
	et_assert(!s->in_group);
	int rc = tail_settle(s->tail, reterr); /* it has changes to both generations */
	rc = rc < 0 ? rc : rebuild_begin(s, s->database, &s->find, reterr);
	if (rc == 0) {
		atomic_store(&s->find_pending, true);
	}
	return rc;
}

bool et_state_index_pending(const struct et_state *s)
{
	return atomic_load(&s->find_pending);
}

struct rebuild {
	struct et_state *s;
	rocksdb_writebatch_t *batch;
	struct find_state next;
	uint32_t left;
};

static int rebuild_recording(void *arg, struct et_view key, struct et_view value)
{
	struct rebuild *b = arg;
	struct index *x = b->s->index;
	ET_CLEANUP(message_freep) Et__Recording *r = NULL;
	Et__Told *told[TOLD_SUBJECTS];

	if (key.size != 16) {
		return ET_ECORRUPT;
	}
	if (b->next.done > 0 && memcmp(key.data, b->next.reached, 16) == 0) {
		return 0;
	}
	if (b->left == 0) {
		return 1;
	}
	r = et__recording__unpack(NULL, value.size, value.data);
	if (r == NULL) {
		return ET_ECORRUPT;
	}
	int rc = told_load(&b->s->own, r, told);
	if (rc < 0) {
		return rc;
	}
	const struct indexed after = { r, (const Et__Told *const *)told };
	set_clear(&x->old);
	set_make(&x->new, &after);
	told_free(told);
	if (x->new.failed) {
		return -ENOMEM;
	}
	const struct index_to to = { b->s, b->batch, b->next.generation ^ 1 };
	(void)sets_write(&to, x);
	memcpy(b->next.reached, key.data, 16);
	b->next.done++;
	b->left--;
	return 0;
}

int et_state_index_step(struct et_state *s, uint32_t count, bool *ret_more, struct et_error *reterr)
{
	struct rebuild b = { .s = s, .next = s->find, .left = count > 0 ? count : 1 };
	struct key all = { 0 };

	et_assert(!s->in_group);
	*ret_more = s->find.rebuilding;
	if (!s->find.rebuilding) {
		return 0;
	}
	b.batch = rocksdb_writebatch_create();
	struct key from = key_of(s->find.reached, 16);
	int rc = view_walk(&s->own, CF_RECORDING, &all, &from, rebuild_recording, &b);
	if (rc == 0) { /* that was the last one; nothing is to come into what goes */
		rc = tail_settle(s->tail, reterr);
		generation_drop(b.batch, s->database, b.next.generation);
		b.next.generation ^= 1;
		b.next.rebuilding = false;
		b.next.complete = true;
	}
	if (rc >= 0) {
		state_write(b.batch, s->database, &b.next);
		rc = batch_write(s, s->database, b.batch, reterr);
	} else {
		et_fail(reterr, rc, "make the index anew");
	}
	rocksdb_writebatch_destroy(b.batch);
	if (rc == 0) {
		s->find = b.next;
		atomic_store(&s->find_pending, b.next.rebuilding);
		*ret_more = b.next.rebuilding;
	}
	return rc;
}

int et_state_index_status(const struct et_state_view *v, struct et_state_index_status *ret)
{
	struct et_state_counts counts;
	struct find_state f;
	const char from = 0;
	const char to = 2;
	const char *begin = &from;
	const char *end = &to;
	const size_t size = 1;
	uint64_t bytes = 0;
	char *error = NULL;

	int rc = find_state_read(v, &f);
	rc = rc < 0 ? rc : et_state_counts(v, &counts);
	if (rc < 0) {
		return rc;
	}
	rocksdb_approximate_sizes_cf(v->database->db, v->database->cf[CF_FIND], 1, &begin, &size,
				     &end, &size, &bytes, &error);
	rc = state_status(error, NULL, "read");
	*ret = (struct et_state_index_status){ .complete = f.complete,
					       .rebuilding = f.rebuilding,
					       .done = f.rebuilding ? f.done : counts.recordings,
					       .total = counts.recordings,
					       .bytes = bytes };
	return rc;
}

static int digest_each(void *arg, struct et_view key, struct et_view value)
{
	uint8_t head[8];

	et_put32(head, (uint32_t)key.size);
	et_put32(head + 4, (uint32_t)value.size);
	et_sha256_add(arg, head, sizeof(head));
	et_sha256_add(arg, key.data + 1, key.size - 1); /* not its generation */
	et_sha256_add(arg, value.data, value.size);
	return 0;
}

int et_state_index_digest(const struct et_state_view *v, uint8_t ret[32])
{
	ET_CLEANUP(et_sha256_freep) struct et_sha256 *sha = et_sha256_new();
	struct find_state f;

	if (sha == NULL) {
		return -ENOMEM;
	}
	int rc = find_state_read(v, &f);
	struct key prefix = key_of(&f.generation, 1);
	rc = rc < 0 ? rc : view_walk(v, CF_FIND, &prefix, NULL, digest_each, sha);
	rc = rc < 0 ? rc : view_walk(v, CF_LIVE, &prefix, NULL, digest_each, sha);
	if (rc == 0) {
		et_sha256_end(sha, ret);
	}
	return rc;
}
