/* The segments that lack copies somewhere, and when to do something about each.
 *
 *   WAIT ──due──▶ LOOK ──complete──▶ forgotten
 *    ▲             │ ├── our turn ──▶ READY ──a transfer is free──▶ PULL ──got it──▶ ACK ──▶ LOOK
 *    │             │                                                 │
 *    └─── others' turn: wait for what is applied; a stand-in: for its time; failed: back-off
 *
 * Every change comes from the catalogue: a segment enters when it is sealed or loses a copy, and
 * leaves when a look finds nothing missing. Looks run in batches in a worker. What is touched while
 * it is being looked at is looked at again.
 *
 * READY is two lines for each class: near, a few hundred with what the look found, from which pulls
 * begin; and far, which are looked at again when near has room. So a backlog of a million does not
 * hold a million looks.
 *
 * The table holds all incomplete segments of the cluster, not only those that this node is to
 * fetch: that is what lag is. It is bounded; when it was full, the catalogue is scanned again once
 * there is room. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "replication/sync/sync_internal.h"

#define BUCKETS (64 * 1024)
#define IDLE_US (60 * INT64_C(1000000)) /* between looks at what cannot go on */
#define TAIL_US INT64_C(1000000)	/* ... at what has a tail here that must go first */
#define PAUSED_LOOK 64			/* of a class that is paused: others may come from near */
#define OTHERS_US (600 * INT64_C(1000000)) /* ... at what others are to do */

static size_t item_hash(const struct table *t, const struct et_key *key)
{
	return et_key_hash(key) & (t->bucket_count - 1);
}

static struct item *item_find(const struct table *t, const struct et_key *key)
{
	struct item *i = t->buckets[item_hash(t, key)];
	while (i != NULL && !et_key_equal(&i->key, key)) {
		i = i->next_hash;
	}
	return i;
}

/* ---- The heap of what waits ---- */

static void heap_put(struct table *t, size_t at, struct item *i)
{
	t->heap[at] = i;
	i->heap = at;
}

static void heap_up(struct table *t, struct item *i)
{
	size_t at = i->heap;
	while (at > 0 && t->heap[(at - 1) / 2]->due_us > i->due_us) {
		heap_put(t, at, t->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	heap_put(t, at, i);
}

static void heap_down(struct table *t, struct item *i)
{
	size_t at = i->heap;
	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= t->heap_count) {
			break;
		}
		if (child + 1 < t->heap_count &&
		    t->heap[child + 1]->due_us < t->heap[child]->due_us) {
			child++;
		}
		if (t->heap[child]->due_us >= i->due_us) {
			break;
		}
		heap_put(t, at, t->heap[child]);
		at = child;
	}
	heap_put(t, at, i);
}

static void heap_remove(struct table *t, struct item *i)
{
	struct item *last = t->heap[--t->heap_count];
	if (last != i) {
		heap_put(t, i->heap, last);
		heap_up(t, last);
		heap_down(t, last);
	}
}

/* The heap has room for every item: it grows with the table. */
static void item_wait(struct table *t, struct item *i, int64_t due_us)
{
	i->state = ITEM_WAIT;
	i->due_us = due_us;
	heap_put(t, t->heap_count++, i);
	heap_up(t, i);
}

/* ---- Items ---- */

static struct item *item_new(struct table *t, const struct et_key *key)
{
	if (t->count == ET_SYNC_TABLE_MAX) {
		return NULL;
	}
	if (t->count == t->heap_capacity) {
		size_t capacity = t->heap_capacity > 0 ? t->heap_capacity * 2 : 1024;
		struct item **heap = realloc(t->heap, capacity * sizeof(struct item *));
		if (heap == NULL) {
			return NULL;
		}
		t->heap = heap;
		t->heap_capacity = capacity;
	}
	struct item *i = calloc(1, sizeof(*i));
	if (i == NULL) {
		return NULL;
	}
	size_t bucket = item_hash(t, key);
	i->key = *key;
	i->since_us = et_clock_mono_us();
	i->next_hash = t->buckets[bucket];
	t->buckets[bucket] = i;
	t->count++;
	return i;
}

static void item_forget(struct table *t, struct item *i)
{
	for (struct item **at = &t->buckets[item_hash(t, &i->key)]; *at != NULL;
	     at = &(*at)->next_hash) {
		if (*at == i) {
			*at = i->next_hash;
			break;
		}
	}
	if (i->state == ITEM_WAIT) {
		heap_remove(t, i);
	}
	t->count--;
	free(i->look);
	free(i);
}

void et_table_touch(struct et_sync *s, const struct et_key *key)
{
	struct table *t = &s->table;
	struct item *i = item_find(t, key);
	int64_t now = et_clock_mono_us();

	if (i == NULL) {
		i = item_new(t, key);
		if (i == NULL) {
			t->scan_again = true; /* When there is room. */
			return;
		}
		item_wait(t, i, now);
	} else if (i->state != ITEM_WAIT) {
		t->ready_stale += i->state == ITEM_READY && !i->stale;
		i->stale = true;
	} else if (i->failures == 0 || i->due_us > now + IDLE_US) {
		i->due_us = now < i->due_us ? now : i->due_us;
		heap_up(t, i);
	}
}

/* ---- Looking ---- */

static void look_run(uv_work_t *work)
{
	struct et_sync *s = work->data;
	et_look_run(&s->table.look);
}

static void line_add(struct line *l, struct item *i)
{
	i->next_ready = NULL;
	*l->last = i;
	l->last = &i->next_ready;
}

/* `at` points to it: l->first, or next_ready of the one before. */
static struct item *line_take(struct line *l, struct item **at)
{
	struct item *i = *at;

	*at = i->next_ready;
	if (*at == NULL) {
		l->last = at;
	}
	return i;
}

/* `picked`: its turn in far has come, whoever else waits there. */
static void item_ready(struct table *t, struct item *i, bool picked, const struct et_look_result *r)
{
	struct ready *ready = &t->ready[r->klass];

	et_assert(!i->stale);
	i->state = ITEM_READY;
	if (!picked && (ready->far.first != NULL || ready->near_count >= ET_SYNC_NEAR_MAX)) {
		line_add(&ready->far, i);
		return;
	}
	i->look = malloc(sizeof(*i->look));
	if (i->look == NULL) {
		item_wait(t, i, et_clock_mono_us() + IDLE_US);
		return;
	}
	*i->look = *r;
	ready->near_count++;
	line_add(&ready->near, i);
}

/* Of near, no longer READY. */
static void item_unready(struct table *t, struct item *i)
{
	t->ready[i->klass].near_count--;
	free(i->look);
	i->look = NULL;
}

/* Before near runs out, the next of far are looked at again, before all others. */
static void table_pick(struct table *t)
{
	for (size_t k = 0; k < ET_SYNC_CLASSES; k++) {
		struct ready *ready = &t->ready[k];
		while (ready->far.first != NULL &&
		       ready->near_count + ready->picked < ET_SYNC_NEAR_MAX / 2) {
			struct item *i = line_take(&ready->far, &ready->far.first);
			t->ready_stale -= i->stale;
			i->stale = false;
			i->picked = true;
			ready->picked++;
			item_wait(t, i, 0);
		}
	}
}

/* The sites of the job, as bits of ours. */
static uint64_t look_missing(struct et_sync *s, const struct et_look_result *r)
{
	const struct et_look *look = &s->table.look;
	uint64_t missing = 0;

	for (uint32_t b = 0; b < look->site_count; b++) {
		if ((r->missing >> b & 1) != 0) {
			const struct site *site = et_sync_site_of(s, look->sites[b]);
			if (site != NULL) {
				missing |= UINT64_C(1) << (site - s->sites);
			}
		}
	}
	return missing;
}

static void look_take(struct et_sync *s, const struct et_look_result *r)
{
	struct table *t = &s->table;
	struct item *i = item_find(t, &r->key);
	int64_t now = et_clock_mono_us();

	et_assert(i != NULL && i->state == ITEM_LOOK);
	if (i->stale) {
		i->stale = false;
		item_wait(t, i, i->picked ? 0 : now);
		return;
	}
	bool picked = i->picked;
	t->ready[i->klass].picked -= picked;
	i->picked = false;
	if (r->code < 0 && r->code != ET_ENOTFOUND) {
		item_wait(t, i, now + IDLE_US);
		return;
	}
	i->missing = r->code == 0 ? look_missing(s, r) : 0;
	if (i->missing == 0) {
		item_forget(t, i);
		return;
	}
	i->size_bytes = r->expect.size_bytes;
	i->sealed_us = r->sealed_us;
	i->own = r->turn == 0;
	i->klass = r->klass;
	i->from = r->source_count > 0 ? r->sources[0].node : 0;
	i->from_site = r->source_count > 0 ? et_sync_site_of(s, r->sources[0].site) : NULL;
	i->gone = r->source_count == 0 && !r->own_copy && !r->archived;
	i->code = r->source_count == 0 ? ET_ENOTFOUND : i->code == ET_ENOTFOUND ? 0 : i->code;
	int64_t due = i->since_us + (int64_t)r->turn * s->stand_in_ms * 1000;
	if (r->turn == ET_PLAN_NO_TURN) {
		item_wait(t, i, now + OTHERS_US);
	} else if (due > now) {
		item_wait(t, i, due);
	} else if (r->source_count == 0) {
		item_wait(t, i, now + IDLE_US); /* Only a change in the catalogue helps. */
	} else {
		item_ready(t, i, picked, r);
	}
}

static void table_own_site(struct et_sync *s, const char *site)
{
	if (site[0] != '\0') {
		(void)snprintf(s->site, sizeof(s->site), "%s", site);
	}
}

static void look_after(uv_work_t *work, int status)
{
	struct et_sync *s = work->data;
	struct table *t = &s->table;

	(void)status;
	et_sync_work_done(s);
	t->looking = false;
	if (s->stopping) {
		return;
	}
	table_own_site(s, t->look.own_site);
	for (uint32_t n = 0; n < t->look.site_count; n++) {
		(void)et_sync_site_of(s, t->look.sites[n]); /* Sites without lag are shown too. */
	}
	for (uint32_t n = 0; n < t->look.count; n++) {
		look_take(s, &t->look.results[n]);
	}
	et_table_run(s);
}

/* Look at what is due. */
static void table_look(struct et_sync *s)
{
	struct table *t = &s->table;
	int64_t now = et_clock_mono_us();

	if (t->looking) {
		return;
	}
	t->look.count = 0;
	while (t->heap_count > 0 && t->heap[0]->due_us <= now && t->look.count < ET_LOOK_BATCH) {
		struct item *i = t->heap[0];
		heap_remove(t, i);
		i->state = ITEM_LOOK;
		i->stale = false;
		t->look.results[t->look.count++].key = i->key;
	}
	if (t->look.count == 0) {
		return;
	}
	t->look_work.data = s;
	if (et_sync_work(s, &t->look_work, look_run, look_after) < 0) {
		for (uint32_t n = 0; n < t->look.count; n++) {
			item_wait(t, item_find(t, &t->look.results[n].key), now + IDLE_US);
		}
		return;
	}
	t->looking = true;
}

/* ---- Scanning ---- */

static void scan_run(uv_work_t *work)
{
	struct et_sync *s = work->data;
	struct table *t = &s->table;
	t->scan_code = et_look_scan(&t->scan, &t->scan_error);
}

static void scan_after(uv_work_t *work, int status)
{
	struct et_sync *s = work->data;
	struct table *t = &s->table;

	et_sync_work_done(s);
	t->scanning = false;
	int rc = status < 0 ? status : t->scan_code;
	if (rc == 0 && !s->stopping) {
		for (size_t i = 0; i < t->scan.count; i++) {
			et_table_touch(s, &t->scan.keys[i]);
		}
		et_tail_scanned(s, t->scan.opens, t->scan.open_count);
		t->scan_again = t->scan_again || t->scan.more;
		t->scan_index = t->scan.index;
		table_own_site(s, t->scan.own_site);
		et_info("sync.scanned", "index=%llu incomplete=%zu",
			(unsigned long long)t->scan_index, t->scan.count);
	} else if (!s->stopping) {
		et_warn("sync.scan", "error=%s", et_errname(rc));
		et_table_scan_soon(s, 5000);
	}
	free(t->scan.keys);
	free(t->scan.opens);
	t->scan.keys = t->scan.opens = NULL;
	et_table_run(s);
}

void et_table_scan_soon(struct et_sync *s, uint32_t delay_ms)
{
	int64_t due = et_clock_mono_us() + delay_ms * INT64_C(1000);
	if (s->table.scan_due_us == 0 || due < s->table.scan_due_us) {
		s->table.scan_due_us = due;
	}
}

static void table_scan(struct et_sync *s)
{
	struct table *t = &s->table;

	if (t->scan_again && t->count < ET_SYNC_TABLE_MAX / 2 && t->scan_due_us == 0) {
		et_table_scan_soon(s, 1000);
	}
	if (t->scanning || t->scan_due_us == 0 || t->scan_due_us > et_clock_mono_us()) {
		return;
	}
	t->scan_work.data = s;
	if (et_sync_work(s, &t->scan_work, scan_run, scan_after) == 0) {
		t->scanning = true;
		t->scan_again = false;
		t->scan_due_us = 0;
	}
}

/* ---- Pulling ---- */

/* Does a limit hold it up? What comes from this site is under none. */
static bool item_is_paused(struct et_sync *s, const struct item *i)
{
	return et_gate_is_paused(s, i->from_site, (uint8_t)i->klass);
}

static struct item *table_pop_ready(struct et_sync *s)
{
	struct table *t = &s->table;

	for (size_t k = 0; k < ET_SYNC_CLASSES; k++) {
		struct line *near = &t->ready[k].near;
		struct item **at = &near->first;
		for (int n = 0; n < PAUSED_LOOK && *at != NULL && item_is_paused(s, *at); n++) {
			at = &(*at)->next_ready;
		}
		struct item *i = *at;
		if (i != NULL && !item_is_paused(s, i) && et_pull_has_room(s, (uint8_t)k, 1)) {
			return line_take(near, at);
		}
	}
	return NULL;
}

static int64_t item_backoff_us(const struct et_sync *s, const struct item *i)
{
	uint32_t shift = i->failures < 16 ? i->failures : 16;
	uint64_t ms = (uint64_t)s->backoff_ms << (shift > 0 ? shift - 1 : 0);
	return (int64_t)(ms < ET_SYNC_BACKOFF_MAX_MS ? ms : ET_SYNC_BACKOFF_MAX_MS) * 1000;
}

static void table_pull(struct et_sync *s)
{
	struct table *t = &s->table;
	int64_t now = et_clock_mono_us();

	if (s->full_until_us != 0 && now < s->full_until_us) {
		return;
	}
	s->full_until_us = 0;
	while (s->replica_count < s->transfers) {
		struct item *i = table_pop_ready(s);
		if (i == NULL) {
			return;
		}
		struct et_error error = { 0 };
		int rc = 0;
		t->ready_stale -= i->stale;
		/* The world has moved, or a tail of it is here: look again. */
		if (i->stale || et_tail_sealed(s, &i->key)) {
			rc = ET_ESTALE;
		} else {
			i->state = ITEM_PULL;
			rc = et_pull_start(s, i->look, PULL_REPLICA, NULL, &error);
		}
		if (rc == 0) {
			et_pull_find(s, &i->key, PULL_REPLICA)->quiet = i->failures > 0;
		}
		item_unready(t, i);
		if (rc == ET_ESTALE) {
			item_wait(t, i, i->stale ? now : now + TAIL_US);
			i->stale = false;
		} else if (rc < 0) {
			et_warn("sync.pull", "error=%s", et_errname(rc));
			i->failures++;
			item_wait(t, i, now + item_backoff_us(s, i));
		}
	}
}

void et_table_pulled(struct et_sync *s, const struct et_key *key, int code, bool progress)
{
	struct item *i = item_find(&s->table, key);
	int64_t now = et_clock_mono_us();

	if (i == NULL || i->state != ITEM_PULL) {
		return;
	}
	if (code == -ECANCELED) { /* Its class is paused. */
		item_wait(&s->table, i, now);
		return;
	}
	i->code = code;
	if (code == 0) {
		i->failures = 0;
		/* Its CopyAdd will touch it; should that be lost, a look finds the file here. */
		i->stale = false;
		i->state = ITEM_ACK;
		return;
	}
	i->failures = progress ? 0 : i->failures; /* A weak line is no reason to wait longer. */
	if (!et_store_is_full(code)) {
		i->failures++;
	}
	item_wait(&s->table, i, now + (i->failures > 0 ? item_backoff_us(s, i) : 0));
}

void et_table_acknowledged(struct et_sync *s, const struct et_key *key)
{
	struct item *i = item_find(&s->table, key);
	if (i == NULL) {
		et_table_touch(s, key);
	} else if (i->state == ITEM_ACK) {
		i->stale = false;
		item_wait(&s->table, i, et_clock_mono_us());
	} else {
		et_table_touch(s, key);
	}
}

void et_table_run(struct et_sync *s)
{
	if (s->stopping) {
		return;
	}
	table_scan(s);
	table_pull(s);
	table_pick(&s->table);
	table_look(s);
}

static void line_refresh(struct table *t, struct line *l)
{
	struct item **at = &l->first;

	while (*at != NULL) {
		struct item *i = *at;
		if (!i->stale) {
			at = &i->next_ready;
			continue;
		}
		(void)line_take(l, at);
		if (i->look != NULL) {
			item_unready(t, i);
		}
		t->ready_stale--;
		i->stale = false;
		item_wait(t, i, et_clock_mono_us());
	}
}

void et_table_refresh(struct et_sync *s)
{
	struct table *t = &s->table;

	for (size_t k = 0; t->ready_stale > 0 && k < ET_SYNC_CLASSES; k++) {
		line_refresh(t, &t->ready[k].near);
		line_refresh(t, &t->ready[k].far);
	}
}

static bool item_is_of(const struct item *i, const uint8_t *ids, size_t count)
{
	bool is = ids == NULL;
	for (size_t n = 0; n < count && !is; n++) {
		is = memcmp(i->key.recording, ids + n * 16, 16) == 0;
	}
	return is;
}

void et_table_hurry(struct et_sync *s, const uint8_t *ids, size_t count)
{
	struct table *t = &s->table;
	int64_t now = et_clock_mono_us();

	for (size_t b = 0; t->count > 0 && b < t->bucket_count; b++) {
		for (struct item *i = t->buckets[b]; i != NULL; i = i->next_hash) {
			if (i->state == ITEM_WAIT && i->due_us > now && item_is_of(i, ids, count)) {
				i->failures = 0;
				i->due_us = now;
				heap_up(t, i);
			}
		}
	}
	memset(s->down, 0, sizeof(s->down)); /* Nodes that did not answer are tried, too. */
}

void et_table_each(const struct table *t, void (*fn)(void *arg, const struct item *i), void *arg)
{
	for (size_t b = 0; t->count > 0 && b < t->bucket_count; b++) {
		for (const struct item *i = t->buckets[b]; i != NULL; i = i->next_hash) {
			fn(arg, i);
		}
	}
}

int et_table_init(struct et_sync *s, struct et_error *reterr)
{
	struct table *t = &s->table;

	t->bucket_count = BUCKETS;
	t->buckets = calloc(t->bucket_count, sizeof(struct item *));
	t->look.results = calloc(ET_LOOK_BATCH, sizeof(*t->look.results));
	if (t->buckets == NULL || t->look.results == NULL) {
		return et_fail(reterr, -ENOMEM, "sync table");
	}
	t->look.state = s->state;
	t->look.node = s->node;
	t->scan = (struct et_scan){ .state = s->state, .node = s->node, .max = ET_SYNC_TABLE_MAX };
	for (size_t k = 0; k < ET_SYNC_CLASSES; k++) {
		t->ready[k].near.last = &t->ready[k].near.first;
		t->ready[k].far.last = &t->ready[k].far.first;
	}
	return 0;
}

void et_table_release(struct et_sync *s)
{
	struct table *t = &s->table;

	for (size_t b = 0; t->buckets != NULL && b < t->bucket_count; b++) {
		while (t->buckets[b] != NULL) {
			struct item *i = t->buckets[b];
			t->buckets[b] = i->next_hash;
			free(i->look);
			free(i);
		}
	}
	free(t->buckets);
	free(t->heap);
	free(t->look.results);
}
