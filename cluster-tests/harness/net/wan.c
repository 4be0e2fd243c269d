/* See wan.h. What is under way lies in a heap, the soonest first. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster-tests/harness/net/wan.h"
#include "node/base/defs.h"

#define MILLION 1000000U
#define QUEUE_LIMIT 10000U

struct et_wan {
	int sites;
	uint64_t random, sequence;
	struct et_wan_link links[ET_WAN_SITES_MAX][ET_WAN_SITES_MAX];
	struct et_wan_frame **heap; /* owned */
	size_t count, capacity;
};

static void link_reset(struct et_wan_link *l)
{
	l->up = true;
	l->delay_us = l->jitter_us = 0;
	l->loss_ppm = l->duplicate_ppm = l->reorder_ppm = 0;
	l->rate_bps = 0;
	l->queue_limit = QUEUE_LIMIT;
}

static void wan_seed(struct et_wan *w, uint64_t seed)
{
	w->random = seed != 0 ? seed : 1; /* xorshift never leaves 0 */
}

struct et_wan *et_wan_new(int sites, uint64_t seed)
{
	et_assert(sites >= 1 && sites <= ET_WAN_SITES_MAX);
	struct et_wan *w = calloc(1, sizeof(*w));
	if (w == NULL) {
		return NULL;
	}
	w->sites = sites;
	wan_seed(w, seed);
	for (int i = 0; i < sites; i++) {
		for (int j = 0; j < sites; j++) {
			link_reset(&w->links[i][j]);
		}
	}
	return w;
}

struct et_wan *et_wan_free(struct et_wan *w)
{
	if (w != NULL) {
		for (size_t i = 0; i < w->count; i++) {
			free(w->heap[i]);
		}
		free(w->heap);
		free(w);
	}
	return NULL;
}

struct et_wan_link *et_wan_link(struct et_wan *w, int from, int to)
{
	et_assert(from >= 0 && from < w->sites && to >= 0 && to < w->sites);
	return &w->links[from][to];
}

static uint64_t wan_random(struct et_wan *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random;
}

static bool wan_happens(struct et_wan *w, uint32_t ppm)
{
	return ppm > 0 && wan_random(w) % MILLION < ppm;
}

/* ---- What is under way ---- */

static bool before(const struct et_wan_frame *a, const struct et_wan_frame *b)
{
	return a->due_us != b->due_us ? a->due_us < b->due_us : a->sequence < b->sequence;
}

static void heap_swap(struct et_wan *w, size_t a, size_t b)
{
	struct et_wan_frame *f = w->heap[a];
	w->heap[a] = w->heap[b];
	w->heap[b] = f;
}

static void heap_push(struct et_wan *w, struct et_wan_frame *frame)
{
	if (w->count == w->capacity) {
		size_t capacity = w->capacity > 0 ? 2 * w->capacity : 1024;
		struct et_wan_frame **grown = realloc(w->heap, capacity * sizeof(*grown));
		et_assert(grown != NULL);
		w->heap = grown;
		w->capacity = capacity;
	}
	size_t i = w->count++;
	w->heap[i] = frame;
	while (i > 0 && before(w->heap[i], w->heap[(i - 1) / 2])) {
		heap_swap(w, i, (i - 1) / 2);
		i = (i - 1) / 2;
	}
}

static struct et_wan_frame *heap_pop(struct et_wan *w)
{
	struct et_wan_frame *first = w->heap[0];
	w->heap[0] = w->heap[--w->count];
	for (size_t i = 0;;) {
		size_t least = i;
		for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < w->count; child++) {
			least = before(w->heap[child], w->heap[least]) ? child : least;
		}
		if (least == i) {
			return first;
		}
		heap_swap(w, i, least);
		i = least;
	}
}

/* ---- A frame's way ---- */

static uint64_t arrival(struct et_wan *w, struct et_wan_link *l, uint64_t now_us, size_t size)
{
	uint64_t left = now_us;
	if (l->rate_bps > 0) {
		left = l->busy_until_us > now_us ? l->busy_until_us : now_us;
		left += size * 8 * MILLION / l->rate_bps;
		l->busy_until_us = left;
	}
	if (wan_happens(w, l->reorder_ppm)) {
		l->reordered++;
		return left;
	}
	uint64_t due = left + l->delay_us;
	if (l->jitter_us > 0) {
		due += wan_random(w) % (2 * l->jitter_us + 1);
		due = due > l->jitter_us + left ? due - l->jitter_us : left;
	}
	due = due < l->last_due_us ? l->last_due_us : due;
	l->last_due_us = due;
	return due;
}

void et_wan_send(struct et_wan *w, uint64_t now_us, int from, int to, const uint8_t *data,
		 size_t size)
{
	struct et_wan_link *l = et_wan_link(w, from, to);
	et_assert(size <= ET_WAN_FRAME_MAX);
	l->in++;
	if (!l->up) {
		l->cut++;
		return;
	}
	if (wan_happens(w, l->loss_ppm)) {
		l->lost++;
		return;
	}
	if (l->queued >= l->queue_limit) {
		l->overflowed++;
		return;
	}
	bool twice = wan_happens(w, l->duplicate_ppm);
	l->duplicated += twice;
	for (int i = 0; i < 1 + twice; i++) {
		struct et_wan_frame *frame = malloc(sizeof(*frame) + size);
		et_assert(frame != NULL);
		*frame = (struct et_wan_frame){ .due_us = arrival(w, l, now_us, size),
						.sequence = w->sequence++,
						.from = from,
						.to = to,
						.size = size };
		memcpy(frame->data, data, size);
		l->queued++;
		heap_push(w, frame);
	}
}

uint64_t et_wan_due(const struct et_wan *w)
{
	return w->count > 0 ? w->heap[0]->due_us : UINT64_MAX;
}

struct et_wan_frame *et_wan_take(struct et_wan *w, uint64_t now_us)
{
	while (w->count > 0 && w->heap[0]->due_us <= now_us) {
		struct et_wan_frame *frame = heap_pop(w);
		struct et_wan_link *l = et_wan_link(w, frame->from, frame->to);
		et_assert(l->queued > 0);
		l->queued--;
		if (l->up) {
			l->out++;
			l->out_bytes += frame->size;
			return frame;
		}
		l->cut++;
		free(frame);
	}
	return NULL;
}

/* ---- Control ---- */

static bool number_of(const char *text, double max, double *ret)
{
	char *end = NULL;
	*ret = text != NULL && *text >= '0' && *text <= '9' ? strtod(text, &end) : -1;
	return *ret >= 0 && *ret <= max && end != NULL && *end == '\0';
}

static bool site_of(const struct et_wan *w, const char *text, int *ret)
{
	double number = 0;
	if (text != NULL && strcmp(text, "*") == 0) {
		*ret = ET_WAN_ALL;
		return true;
	}
	bool good = number_of(text, w->sites - 1, &number);
	*ret = (int)number;
	return good;
}

/* Set one key of a link; false when there is no such key or its value is out of bounds. */
static bool link_set(struct et_wan_link *l, const char *key, const char *text)
{
	const struct {
		const char *name;
		uint64_t *us;
		uint32_t *ppm;
	} keys[] = {
		{ "delay", &l->delay_us, NULL },      { "jitter", &l->jitter_us, NULL },
		{ "loss", NULL, &l->loss_ppm },	      { "dup", NULL, &l->duplicate_ppm },
		{ "reorder", NULL, &l->reorder_ppm },
	};
	double value = 0;
	for (size_t i = 0; i < ET_ARRAY_SIZE(keys); i++) {
		if (strcmp(keys[i].name, key) != 0) {
			continue;
		}
		if (!number_of(text, keys[i].us != NULL ? 60000 : 100, &value)) {
			return false;
		}
		if (keys[i].us != NULL) {
			*keys[i].us = (uint64_t)(value * 1000);
		} else {
			*keys[i].ppm = (uint32_t)(value * (MILLION / 100));
		}
		return true;
	}
	if (strcmp(key, "kbit") == 0 && number_of(text, 1e8, &value)) {
		l->rate_bps = (uint64_t)(value * 1000);
		l->busy_until_us = 0;
		return true;
	}
	if (strcmp(key, "limit") == 0 && number_of(text, 1e6, &value)) {
		l->queue_limit = (uint32_t)value;
		return true;
	}
	if (strcmp(key, "up") == 0 && number_of(text, 1, &value)) {
		l->up = value > 0;
		return true;
	}
	return false;
}

static void set_all(struct et_wan *w, int from, int to, const char *key, const char *value)
{
	for (int i = 0; i < w->sites; i++) {
		for (int j = 0; j < w->sites; j++) {
			if (i != j && (from < 0 || from == i) && (to < 0 || to == j)) {
				(void)link_set(&w->links[i][j], key, value);
			}
		}
	}
}

/* "FROM TO KEY VALUE..."; NULL, or what is wrong. All is looked at before anything is set. */
static const char *command_set(struct et_wan *w, char *save)
{
	const char *keys[16], *values[16];
	size_t count = 0;
	int from = 0, to = 0;
	if (!site_of(w, strtok_r(NULL, " ", &save), &from) ||
	    !site_of(w, strtok_r(NULL, " ", &save), &to)) {
		return "set FROM TO: a site's number or *";
	}
	for (const char *key; (key = strtok_r(NULL, " ", &save)) != NULL; count++) {
		struct et_wan_link scratch;
		const char *value = strtok_r(NULL, " ", &save);
		link_reset(&scratch);
		if (count == ET_ARRAY_SIZE(keys) || value == NULL ||
		    !link_set(&scratch, key, value)) {
			return "no such key, or a value out of bounds";
		}
		keys[count] = key;
		values[count] = value;
	}
	for (size_t i = 0; i < count; i++) {
		set_all(w, from, to, keys[i], values[i]);
	}
	return count > 0 ? NULL : "set FROM TO KEY VALUE";
}

static void print_stats(const struct et_wan *w, char *reply, size_t size)
{
	size_t at = 0;
	for (int i = 0; i < w->sites; i++) {
		for (int j = 0; j < w->sites && at < size; j++) {
			const struct et_wan_link *l = &w->links[i][j];
			if (i == j) {
				continue;
			}
			at += (size_t)snprintf(
				reply + at, size - at,
				"%d>%d up=%d in=%" PRIu64 " out=%" PRIu64 " bytes=%" PRIu64
				" lost=%" PRIu64 " cut=%" PRIu64 " overflow=%" PRIu64
				" dup=%" PRIu64 " reorder=%" PRIu64 " queued=%" PRIu32 "\n",
				i, j, l->up, l->in, l->out, l->out_bytes, l->lost, l->cut,
				l->overflowed, l->duplicated, l->reordered, l->queued);
		}
	}
}

void et_wan_command(struct et_wan *w, const char *line, char *reply, size_t size)
{
	char copy[512], *save = NULL;
	const char *error = NULL;
	double number = 0;
	size_t length = strcspn(line, "\n");
	if (length >= sizeof(copy)) {
		(void)snprintf(reply, size, "ERR too long\n");
		return;
	}
	memcpy(copy, line, length);
	copy[length] = '\0';
	const char *word = strtok_r(copy, " ", &save);
	if (word != NULL && strcmp(word, "stats") == 0) {
		print_stats(w, reply, size);
		return;
	}
	if (word != NULL && strcmp(word, "set") == 0) {
		error = command_set(w, save);
	} else if (word != NULL && strcmp(word, "clear") == 0) {
		for (int i = 0; i < w->sites * w->sites; i++) {
			link_reset(&w->links[i / w->sites][i % w->sites]);
		}
	} else if (word != NULL && strcmp(word, "seed") == 0 &&
		   number_of(strtok_r(NULL, " ", &save), 9e15, &number)) {
		wan_seed(w, (uint64_t)number);
	} else if (word == NULL || strcmp(word, "ping") != 0) {
		error = "set, clear, seed N, stats or ping";
	}
	(void)snprintf(reply, size, error != NULL ? "ERR %s\n" : "OK\n", error);
}
