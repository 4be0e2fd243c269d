/* How many wrapped DEKs are on each KEK version. They follow from the segments: kept exactly by
 * apply, written with each group, and counted anew when a database does not have them as of its own
 * index (an older build wrote it).
 *
 *   default   "wraps"    index 8, { version 4, count 8 } in order of version, none of them zero */
#include "raft/state/state_internal.h"

#define ROW_SIZE 12

bool wrap_counts(const Et__Wrap *wrap)
{
	return wrap != NULL && !wrap->erased && wrap->ciphertext.len > 0;
}

static uint64_t wraps_find(const struct wraps *w, uint32_t version)
{
	for (size_t i = 0; i < w->count; i++) {
		if (w->list[i].version == version) {
			return w->list[i].wraps;
		}
	}
	return 0;
}

/* Add `by` (modulo 2^64) to the version's count. -ENOMEM. */
static int wraps_change(struct wraps *w, uint32_t version, uint64_t by)
{
	size_t at = 0;

	while (at < w->count && w->list[at].version < version) {
		at++;
	}
	if (at == w->count || w->list[at].version != version) {
		if (w->count == w->capacity) {
			size_t capacity = w->capacity * 2 + 8;
			struct wrap_count *p = realloc(w->list, capacity * sizeof(*p));
			if (p == NULL) {
				return -ENOMEM;
			}
			w->list = p;
			w->capacity = capacity;
		}
		memmove(w->list + at + 1, w->list + at, (w->count - at) * sizeof(*w->list));
		w->list[at] = (struct wrap_count){ .version = version };
		w->count++;
	}
	w->list[at].wraps += by;
	if (w->list[at].wraps == 0) {
		w->count--;
		memmove(w->list + at, w->list + at + 1, (w->count - at) * sizeof(*w->list));
	}
	return 0;
}

int wraps_add(struct et_state *s, const Et__Wrap *wrap)
{
	return wrap_counts(wrap) ? wraps_change(&s->wraps, wrap->kek_version, 1) : 0;
}

int wraps_remove(struct et_state *s, const Et__Wrap *wrap)
{
	return wrap_counts(wrap) ? wraps_change(&s->wraps, wrap->kek_version, UINT64_MAX) : 0;
}

void wraps_release(struct wraps *w)
{
	free(w->list);
	*w = (struct wraps){ 0 };
}

void wraps_write(struct et_state *s)
{
	uint8_t few[8 + 64 * ROW_SIZE];
	size_t size = 8 + s->wraps.count * ROW_SIZE;
	uint8_t *value = size <= sizeof(few) ? few : malloc(size);

	et_assert(value != NULL);
	et_put64(value, s->own.index);
	for (size_t i = 0; i < s->wraps.count; i++) {
		et_put32(value + 8 + i * ROW_SIZE, s->wraps.list[i].version);
		et_put64(value + 12 + i * ROW_SIZE, s->wraps.list[i].wraps);
	}
	rocksdb_writebatch_put_cf(s->batch, s->database->cf[CF_META], "wraps", 5,
				  (const char *)value, size);
	if (value != few) {
		free(value);
	}
}

static int wraps_walk(void *arg, const void *message)
{
	const Et__Segment *g = message;

	return wrap_counts(g->wrap) ? wraps_change(arg, g->wrap->kek_version, 1) : 0;
}

int wraps_read(const struct et_state_view *v, struct wraps *ret)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	struct key key = key_meta("wraps");
	struct key all = { 0 };

	*ret = (struct wraps){ 0 };
	int rc = view_get(v, CF_META, &key, &b);
	if (rc < 0 && rc != ET_ENOTFOUND) {
		return rc;
	}
	if (rc == 0 && b.size >= 8 && (b.size - 8) % ROW_SIZE == 0 &&
	    et_get64(b.data) == v->index) {
		for (size_t at = 8; at < b.size && rc == 0; at += ROW_SIZE) {
			rc = wraps_change(ret, et_get32(b.data + at), et_get64(b.data + at + 4));
		}
	} else {
		rc = view_walk_messages(v, CF_SEGMENT, &all, &et__segment__descriptor, wraps_walk,
					ret);
	}
	if (rc < 0) {
		wraps_release(ret);
	}
	return rc;
}

int et_state_wraps(const struct et_state_view *v, uint32_t version, uint64_t *ret)
{
	struct wraps w;

	if (v->overlay != NULL) { /* apply's own: what the group has changed is in it */
		*ret = wraps_find(&v->state->wraps, version);
		return 0;
	}
	int rc = wraps_read(v, &w);
	if (rc == 0) {
		*ret = wraps_find(&w, version);
		wraps_release(&w);
	}
	return rc;
}

struct wrapped {
	uint32_t version;
	struct et_state_place *at;
	uint32_t left;
	int (*fn)(void *arg, const Et__Segment *segment);
	void *arg;
};

#define WRAPPED_ENOUGH 1

static int wrapped_each(void *arg, struct et_view key, struct et_view value)
{
	struct wrapped *w = arg;
	int rc = 0;

	if (w->left == 0) {
		return WRAPPED_ENOUGH;
	}
	w->left--;
	Et__Segment *g = et__segment__unpack(NULL, value.size, value.data);
	if (g == NULL || key.size != 24) {
		rc = ET_ECORRUPT;
	} else if (wrap_counts(g->wrap) && g->wrap->kek_version == w->version) {
		rc = w->fn(w->arg, g);
	}
	message_freep(&g);
	if (rc == 0) {
		memcpy(w->at->recording, key.data, 16);
		w->at->generation = et_get32(key.data + 16);
		w->at->segment = et_get32(key.data + 20);
	}
	return rc;
}

int et_state_each_wrapped(const struct et_state_view *v, uint32_t version,
			  struct et_state_place *at, uint32_t most,
			  int (*fn)(void *arg, const Et__Segment *segment), void *arg,
			  bool *ret_more)
{
	struct wrapped w = { version, at, most, fn, arg };
	struct key all = { 0 };
	struct key from = key_segment(at->recording, at->generation, at->segment);

	key_add8(&from, 0); /* just behind it */
	int rc = view_walk(v, CF_SEGMENT, &all, &from, wrapped_each, &w);
	*ret_more = rc == WRAPPED_ENOUGH;
	return rc == WRAPPED_ENOUGH ? 0 : rc;
}

void et_state_wrap_hash(const Et__Wrap *wrap, uint8_t ret[32])
{
	static const uint8_t label[] = "evertape wrap/1";
	uint8_t head[16];
	struct et_sha256 *h = et_sha256_new();

	et_assert(h != NULL);
	et_put64(head, wrap->dek);
	et_put32(head + 8, wrap->kek_version);
	et_put32(head + 12, (uint32_t)wrap->enc.len);
	et_sha256_add(h, label, sizeof(label) - 1);
	et_sha256_add(h, head, sizeof(head));
	et_sha256_add(h, wrap->enc.data, wrap->enc.len);
	et_sha256_add(h, wrap->ciphertext.data, wrap->ciphertext.len);
	et_sha256_end(h, ret);
	(void)et_sha256_free(h);
}
