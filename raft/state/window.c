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
 * gets its first answer.
 *
 * A node has at most WINDOW_INCARNATIONS; the oldest is forgotten when another one begins. Only
 * journalled commands can outlive 64 starts of their process, and those are create commands. */
#include "raft/state/state_internal.h"

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

/* ---- In the database ---- */

static struct key incarnation_key(char tag, const Et__OpId *op)
{
	struct key k = key_tag(tag);

	key_add64(&k, op->node);
	key_add(&k, op->incarnation.data, 16);
	return k;
}

static struct key ring_key(const Et__OpId *op)
{
	struct key k = incarnation_key('r', op);

	key_add32(&k, (uint32_t)(op->seq % WINDOW_RESULTS));
	return k;
}

int window_load(const struct et_state_view *v, const Et__OpId *op, struct window *ret)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	struct key key = incarnation_key('w', op);

	memset(ret, 0, sizeof(*ret));
	int rc = view_get(v, CF_OP, &key, &b);
	if (rc == ET_ENOTFOUND) {
		ret->is_new = true;
		return 0;
	}
	if (rc < 0) {
		return rc;
	}
	struct et_reader r = et_reader_of(b.data, b.size);
	ret->watermark = et_read64(&r);
	ret->forced = et_read64(&r);
	while (et_reader_left(&r) > 0 && ret->count < WINDOW_RANGES_MAX) {
		ret->ranges[ret->count].first = et_read64(&r);
		ret->ranges[ret->count].last = et_read64(&r);
		ret->count++;
	}
	return r.failed || et_reader_left(&r) > 0 ? ET_ECORRUPT : 0;
}

struct doomed {
	struct key keys[WINDOW_RESULTS];
	size_t count;
};

static int doomed_add(void *arg, struct et_view key, struct et_view value)
{
	struct doomed *d = arg;

	(void)value;
	et_assert(d->count < WINDOW_RESULTS);
	d->keys[d->count++] = key_of(key.data, key.size);
	return 0;
}

static int incarnation_forget(struct apply *a, const uint8_t incarnation[16])
{
	Et__OpId op = *a->c->op;
	uint8_t bytes[16];

	memcpy(bytes, incarnation, sizeof(bytes));
	op.incarnation = (ProtobufCBinaryData){ sizeof(bytes), bytes };
	struct key window = incarnation_key('w', &op);
	struct key ring = incarnation_key('r', &op);
	struct doomed *d = calloc(1, sizeof(*d));
	if (d == NULL) {
		return -ENOMEM;
	}
	int rc = view_walk(a->v, CF_OP, &ring, NULL, doomed_add, d);
	if (rc == 0) {
		state_delete(a->s, CF_OP, &window);
		for (size_t i = 0; i < d->count; i++) {
			state_delete(a->s, CF_OP, &d->keys[i]);
		}
	}
	free(d);
	return rc;
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
		rc = incarnation_forget(a, list.data);
		if (rc < 0) {
			return rc;
		}
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

int window_store(struct apply *a, const struct window *w)
{
	uint8_t bytes[16 + WINDOW_RANGES_MAX * 16];
	struct key key = incarnation_key('w', a->c->op);

	if (w->is_new) {
		int rc = incarnation_add(a);
		if (rc < 0) {
			return rc;
		}
	}
	et_put64(bytes, w->watermark);
	et_put64(bytes + 8, w->forced);
	for (size_t i = 0; i < w->count; i++) {
		et_put64(bytes + 16 + i * 16, w->ranges[i].first);
		et_put64(bytes + 24 + i * 16, w->ranges[i].last);
	}
	state_put(a->s, CF_OP, &key, bytes, 16 + w->count * 16);
	return 0;
}

int window_result(const struct et_state_view *v, const Et__OpId *op, Et__Result **ret)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	struct key key = ring_key(op);

	int rc = view_get(v, CF_OP, &key, &b);
	if (rc < 0) {
		return rc;
	}
	if (b.size < 8 || et_get64(b.data) != op->seq) {
		return b.size < 8 ? ET_ECORRUPT : ET_ENOTFOUND;
	}
	*ret = et__result__unpack(NULL, b.size - 8, b.data + 8);
	return *ret != NULL ? 0 : ET_ECORRUPT;
}

int window_store_result(struct apply *a, const Et__Result *r)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	ET_CLEANUP(et_buffer_release) struct et_buffer old = { 0 };
	struct key key = ring_key(a->c->op);

	int rc = view_get(a->v, CF_OP, &key, &old);
	if (rc < 0 && rc != ET_ENOTFOUND) {
		return rc;
	}
	if (old.size >= 8 && et_get64(old.data) > a->c->op->seq) {
		return 0; /* a straggler: younger results stay */
	}
	et_buffer_add64(&b, a->c->op->seq);
	uint8_t *p = et_buffer_reserve(&b, et__result__get_packed_size(r) + 1);
	if (p == NULL) {
		return -ENOMEM;
	}
	b.size += et__result__pack(r, p);
	state_put(a->s, CF_OP, &key, b.data, b.size);
	return 0;
}

bool et_state_op_result(const struct et_state_view *v, const Et__OpId *op, Et__Result **ret)
{
	return op->incarnation.len == 16 && window_result(v, op, ret) == 0;
}
