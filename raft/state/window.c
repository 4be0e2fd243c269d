/* Exactly once: which op ids were applied, and with what result.
 *
 * For each incarnation of a node (one start of its process) the catalogue keeps a watermark, up to
 * which everything is applied, and the ranges ("islands") applied above it. A hole between them is
 * an op that is still on its way, or that its sender gave up. Holes go
 *   - when the missing op is applied;
 *   - when an op says by its floor that all below it are answered for;
 *   - by force, the lowest first, when there would be more than WINDOW_RANGES_MAX islands. An op
 *     that comes later for such a hole is answered ET_EEXISTS and does nothing, but for create
 *     commands, which are applied: they say what is true of a recording, and saying it twice
 *     changes nothing.
 * The last WINDOW_RESULTS results of an incarnation are kept in a ring, so that a repeated command
 * gets its first answer. The ring lies in the database in chunks of CHUNK results.
 *
 * A node has at most WINDOW_INCARNATIONS; the oldest is forgotten when another one begins. Only
 * journalled commands can outlive 64 starts of their process, and those are create commands.
 *
 * Apply keeps the incarnations that it met last in memory, and writes what changed of them once a
 * group (windows_write). What it writes follows from the commands applied so far, not from where a
 * group ends; the running digest takes the results one by one instead. */
#include "raft/state/overlay_internal.h"

bool window_has(const struct window *w, uint64_t seq)
{
	if (seq <= w->watermark) {
		return true;
	}
	for (size_t i = 0; i < w->count; i++) {
		if (seq >= w->ranges[i].first && seq <= w->ranges[i].last) {
			return true;
		}
	}
	return false;
}

static void ranges_remove(struct window *w, size_t at, size_t count)
{
	memmove(&w->ranges[at], &w->ranges[at + count],
		(w->count - at - count) * sizeof(w->ranges[0]));
	w->count -= count;
}

/* Let the watermark take in what now touches it. */
static void window_absorb(struct window *w)
{
	size_t taken = 0;

	while (taken < w->count && w->ranges[taken].first - 1 <= w->watermark) {
		if (w->ranges[taken].last > w->watermark) {
			w->watermark = w->ranges[taken].last;
		}
		taken++;
	}
	ranges_remove(w, 0, taken);
}

static void ranges_insert(struct window *w, uint64_t seq)
{
	size_t at = 0;

	while (at < w->count && w->ranges[at].last < seq - 1) {
		at++;
	}
	bool touches = at < w->count && w->ranges[at].first - 1 <= seq;
	if (!touches) {
		et_assert(w->count <= WINDOW_RANGES_MAX);
		memmove(&w->ranges[at + 1], &w->ranges[at], (w->count - at) * sizeof(w->ranges[0]));
		w->ranges[at].first = seq;
		w->ranges[at].last = seq;
		w->count++;
		return;
	}
	if (seq < w->ranges[at].first) {
		w->ranges[at].first = seq;
	}
	if (seq > w->ranges[at].last) {
		w->ranges[at].last = seq;
	}
	if (at + 1 < w->count && w->ranges[at + 1].first - 1 == w->ranges[at].last) {
		w->ranges[at].last = w->ranges[at + 1].last;
		ranges_remove(w, at + 1, 1);
	}
}

void window_add(struct window *w, uint64_t seq, uint64_t floor)
{
	if (floor > w->watermark + 1 && floor <= seq) {
		w->watermark = floor - 1;
		window_absorb(w);
	}
	if (window_has(w, seq)) {
		return;
	}
	ranges_insert(w, seq);
	window_absorb(w);
	if (w->count > WINDOW_RANGES_MAX) {
		w->watermark = w->ranges[0].last;
		w->forced = w->watermark;
		window_absorb(w);
	}
	et_assert(w->count <= WINDOW_RANGES_MAX);
}

/* ---- Keys and values ---- */

static struct key incarnation_key(char tag, uint64_t node, const uint8_t incarnation[16])
{
	struct key k = key_tag(tag);

	key_add64(&k, node);
	key_add(&k, incarnation, 16);
	return k;
}

static struct key chunk_key(uint64_t node, const uint8_t incarnation[16], size_t chunk)
{
	struct key k = incarnation_key('r', node, incarnation);

	key_add32(&k, (uint32_t)chunk);
	return k;
}

static size_t slot_index(uint64_t seq)
{
	return (size_t)(seq % WINDOW_RESULTS);
}

static int window_read(const struct et_buffer *b, struct window *ret)
{
	struct et_reader r = et_reader_of(b->data, b->size);

	ret->watermark = et_read64(&r);
	ret->forced = et_read64(&r);
	while (et_reader_left(&r) > 0 && ret->count < WINDOW_RANGES_MAX) {
		ret->ranges[ret->count].first = et_read64(&r);
		ret->ranges[ret->count].last = et_read64(&r);
		ret->count++;
	}
	return r.failed || et_reader_left(&r) > 0 ? ET_ECORRUPT : 0;
}

static int window_load(const struct et_state_view *v, const struct incarnation *n,
		       struct window *ret)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	struct key key = incarnation_key('w', n->node, n->id);

	memset(ret, 0, sizeof(*ret));
	int rc = view_get(v, CF_OP, &key, &b);
	if (rc == ET_ENOTFOUND) {
		ret->is_new = true;
		return 0;
	}
	return rc < 0 ? rc : window_read(&b, ret);
}

/* A chunk: { seq 8, size 4, packed Result } for each slot that is taken. Calls `fn` for each. */
static int chunk_each(const struct et_state_view *v, const struct key *key,
		      int (*fn)(void *arg, uint64_t seq, struct et_view packed), void *arg)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };

	int rc = view_get(v, CF_OP, key, &b);
	if (rc < 0) {
		return rc == ET_ENOTFOUND ? 0 : rc;
	}
	struct et_reader r = et_reader_of(b.data, b.size);
	while (rc == 0 && et_reader_left(&r) > 0) {
		uint64_t seq = et_read64(&r);
		uint32_t size = et_read32(&r);
		const uint8_t *packed = et_read_bytes(&r, size);
		if (packed == NULL) {
			return ET_ECORRUPT;
		}
		rc = fn(arg, seq, (struct et_view){ packed, size });
	}
	return rc;
}

/* ---- The incarnations that apply met last ---- */

static void incarnation_free(struct incarnation *n)
{
	if (n != NULL) {
		for (size_t i = 0; i < WINDOW_RESULTS; i++) {
			free(n->slots[i].packed);
		}
		free(n);
	}
}

static int slot_set(struct incarnation *n, uint64_t seq, size_t size, uint8_t **ret)
{
	struct result_slot *slot = &n->slots[slot_index(seq)];

	if (size > slot->capacity) {
		uint8_t *p = realloc(slot->packed, size);
		if (p == NULL) {
			return -ENOMEM;
		}
		slot->packed = p;
		slot->capacity = (uint32_t)size;
	}
	slot->seq = seq;
	slot->size = (uint32_t)size;
	slot->taken = true;
	*ret = slot->packed;
	return 0;
}

static int slot_read(void *arg, uint64_t seq, struct et_view packed)
{
	struct incarnation *n = arg;
	uint8_t *to = NULL;

	int rc = slot_set(n, seq, packed.size, &to);
	if (rc == 0 && packed.size > 0) {
		memcpy(to, packed.data, packed.size);
	}
	return rc;
}

/* The slot of `seq`, with its chunk in memory. */
static int slot_load(const struct et_state_view *v, struct incarnation *n, uint64_t seq,
		     struct result_slot **ret)
{
	size_t chunk = slot_index(seq) / WINDOW_CHUNK;

	if (!n->chunks[chunk].loaded) {
		struct key key = chunk_key(n->node, n->id, chunk);
		int rc = chunk_each(v, &key, slot_read, n);
		if (rc < 0) {
			return rc;
		}
		n->chunks[chunk].loaded = true;
	}
	*ret = &n->slots[slot_index(seq)];
	return 0;
}

static void chunk_write(struct et_state *s, const struct incarnation *n, size_t chunk)
{
	const struct result_slot *slots = &n->slots[chunk * WINDOW_CHUNK];
	struct key key = chunk_key(n->node, n->id, chunk);
	size_t size = 0;

	for (size_t i = 0; i < WINDOW_CHUNK; i++) {
		size += slots[i].taken ? 12 + slots[i].size : 0;
	}
	uint8_t *p = overlay_put(&s->overlay, CF_OP, key.data, key.size, size);
	for (size_t i = 0; p != NULL && i < WINDOW_CHUNK; i++) {
		if (slots[i].taken) {
			et_put64(p, slots[i].seq);
			et_put32(p + 8, slots[i].size);
			if (slots[i].size > 0) {
				memcpy(p + 12, slots[i].packed, slots[i].size);
			}
			p += 12 + slots[i].size;
		}
	}
}

static void incarnation_write(struct et_state *s, struct incarnation *n)
{
	const struct window *w = &n->window;
	struct key key = incarnation_key('w', n->node, n->id);

	if (!n->dirty) {
		return;
	}
	n->dirty = false;
	uint8_t *p = overlay_put(&s->overlay, CF_OP, key.data, key.size, 16 + w->count * 16);
	if (p == NULL) {
		return; /* sticky in the overlay */
	}
	et_put64(p, w->watermark);
	et_put64(p + 8, w->forced);
	for (size_t i = 0; i < w->count; i++) {
		et_put64(p + 16 + i * 16, w->ranges[i].first);
		et_put64(p + 24 + i * 16, w->ranges[i].last);
	}
	for (size_t i = 0; i < WINDOW_CHUNKS; i++) {
		if (n->chunks[i].dirty) {
			n->chunks[i].dirty = false;
			chunk_write(s, n, i);
		}
	}
}

void windows_write(struct et_state *s)
{
	for (size_t i = 0; i < s->incarnation_count; i++) {
		incarnation_write(s, s->incarnations[i]);
	}
}

void windows_forget(struct et_state *s)
{
	for (size_t i = 0; i < s->incarnation_count; i++) {
		incarnation_free(s->incarnations[i]);
	}
	s->incarnation_count = 0;
}

/* Make it the first. */
static void incarnation_lift(struct et_state *s, size_t at)
{
	struct incarnation *n = s->incarnations[at];

	memmove(&s->incarnations[1], &s->incarnations[0], at * sizeof(struct incarnation *));
	s->incarnations[0] = n;
}

int window_of(struct apply *a, struct incarnation **ret)
{
	struct et_state *s = a->s;
	const Et__OpId *op = a->c->op;

	for (size_t i = 0; i < s->incarnation_count; i++) {
		const struct incarnation *n = s->incarnations[i];
		if (n->node == op->node && memcmp(n->id, op->incarnation.data, 16) == 0) {
			incarnation_lift(s, i);
			*ret = s->incarnations[0];
			return 0;
		}
	}
	struct incarnation *n = calloc(1, sizeof(*n));
	if (n == NULL) {
		return -ENOMEM;
	}
	n->node = op->node;
	memcpy(n->id, op->incarnation.data, 16);
	int rc = window_load(a->v, n, &n->window);
	if (rc < 0) {
		free(n);
		return rc;
	}
	if (s->incarnation_count == WINDOW_CACHED) {
		incarnation_write(s, s->incarnations[--s->incarnation_count]);
		incarnation_free(s->incarnations[s->incarnation_count]);
	}
	s->incarnations[s->incarnation_count++] = n;
	incarnation_lift(s, s->incarnation_count - 1);
	*ret = n;
	return 0;
}

/* ---- Incarnations of a node ---- */

static void incarnation_forget(struct apply *a, const uint8_t incarnation[16])
{
	struct et_state *s = a->s;
	uint64_t node = a->c->op->node;
	struct key window = incarnation_key('w', node, incarnation);

	for (size_t i = 0; i < s->incarnation_count; i++) {
		struct incarnation *n = s->incarnations[i];
		if (n->node == node && memcmp(n->id, incarnation, 16) == 0) {
			incarnation_free(n);
			s->incarnation_count--;
			memmove(&s->incarnations[i], &s->incarnations[i + 1],
				(s->incarnation_count - i) * sizeof(struct incarnation *));
			break;
		}
	}
	/* All of its keys, there or not: which are there by now depends on where groups end. */
	overlay_delete(&s->overlay, CF_OP, window.data, window.size);
	for (size_t i = 0; i < WINDOW_CHUNKS; i++) {
		struct key chunk = chunk_key(node, incarnation, i);
		overlay_delete(&s->overlay, CF_OP, chunk.data, chunk.size);
	}
}

/* Note a new incarnation of the node; forget the oldest when there are too many. */
static int incarnation_add(struct apply *a)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer list = { 0 };
	struct key key = key_tag('n');

	key_add64(&key, a->c->op->node);
	int rc = view_get(a->v, CF_OP, &key, &list);
	if (rc < 0 && rc != ET_ENOTFOUND) {
		return rc;
	}
	if (list.size % 16 != 0) {
		return ET_ECORRUPT;
	}
	if (list.size / 16 >= WINDOW_INCARNATIONS) {
		incarnation_forget(a, list.data);
		list.size -= 16;
		memmove(list.data, list.data + 16, list.size);
	}
	et_buffer_add(&list, a->c->op->incarnation.data, 16);
	if (list.failed) {
		return -ENOMEM;
	}
	state_put(a->s, CF_OP, &key, list.data, list.size);
	return 0;
}

/* ---- What apply asks ---- */

int window_result(struct apply *a, struct incarnation *n, Et__Result **ret)
{
	struct result_slot *slot = NULL;

	int rc = slot_load(a->v, n, a->c->op->seq, &slot);
	if (rc < 0) {
		return rc;
	}
	if (!slot->taken || slot->seq != a->c->op->seq) {
		return ET_ENOTFOUND;
	}
	*ret = et__result__unpack(NULL, slot->size, slot->packed);
	return *ret != NULL ? 0 : ET_ECORRUPT;
}

static int result_store(struct apply *a, struct incarnation *n, const Et__Result *r)
{
	uint64_t seq = a->c->op->seq;
	struct result_slot *slot = NULL;
	uint8_t *to = NULL;

	int rc = slot_load(a->v, n, seq, &slot);
	if (rc < 0) {
		return rc;
	}
	if (slot->taken && slot->seq > seq) {
		return 0; /* a straggler: younger results stay */
	}
	size_t size = et__result__get_packed_size(r);
	rc = slot_set(n, seq, size, &to);
	if (rc == 0 && size > 0) {
		(void)et__result__pack(r, to);
		digest_note(a->s, to, size);
	}
	n->chunks[slot_index(seq) / WINDOW_CHUNK].dirty = true;
	return rc;
}

int window_store(struct apply *a, struct incarnation *n, const Et__Result *r)
{
	if (n->window.is_new) {
		int rc = incarnation_add(a);
		if (rc < 0) {
			return rc;
		}
		n->window.is_new = false;
	}
	window_add(&n->window, a->c->op->seq, a->c->op->floor);
	n->dirty = true;
	return result_store(a, n, r);
}

/* ---- What readers ask ---- */

struct result_search {
	uint64_t seq;
	Et__Result *found;
};

static int result_search_each(void *arg, uint64_t seq, struct et_view packed)
{
	struct result_search *search = arg;

	if (seq == search->seq) {
		search->found = et__result__unpack(NULL, packed.size, packed.data);
		return 1;
	}
	return 0;
}

bool et_state_op_result(const struct et_state_view *v, const Et__OpId *op, Et__Result **ret)
{
	struct result_search search = { .seq = op->seq };

	if (op->incarnation.len != 16) {
		return false;
	}
	struct key key =
		chunk_key(op->node, op->incarnation.data, slot_index(op->seq) / WINDOW_CHUNK);
	(void)chunk_each(v, &key, result_search_each, &search);
	*ret = search.found;
	return search.found != NULL;
}
