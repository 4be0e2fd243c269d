/* The tails that are kept here: which there are, when each is looked at, when asked for. The
 * machine is drawn in tail_internal.h. */
#include <stdlib.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "replication/sync/sync_internal.h"

#define LOOK_AGAIN_US (5 * INT64_C(1000000)) /* after the catalogue could not be read */

/* ---- The list ---- */

/* Points to it in its bucket, or to the NULL at the end of that. */
static struct tail **tail_find_at(struct et_sync *s, const struct et_key *key)
{
	struct tail **at = &s->tails.buckets[et_key_hash(key) % ET_SYNC_TAIL_BUCKETS];
	while (*at != NULL && !et_key_equal(&(*at)->key, key)) {
		at = &(*at)->next_hash;
	}
	return at;
}

static void tail_forget(struct et_sync *s, struct tail *t)
{
	struct tails *a = &s->tails;
	struct tail **at = &a->list;

	while (*at != t) {
		at = &(*at)->next;
	}
	*at = t->next;
	a->last = *at == NULL ? at : a->last;
	*tail_find_at(s, &t->key) = t->next_hash;
	a->count--;
	free(t);
}

void et_tail_touch(struct et_sync *s, const struct et_key *key)
{
	struct tails *a = &s->tails;
	struct tail **at = tail_find_at(s, key);
	struct tail *t = *at;

	if (t != NULL) {
		t->stale = true;
		return;
	}
	t = a->count < ET_SYNC_TAILS_MAX ? calloc(1, sizeof(*t)) : NULL;
	if (t == NULL) {
		return; /* It is fetched when it is sealed. */
	}
	t->key = *key;
	t->current_us = t->due_us = et_clock_mono_us();
	*at = t;
	*a->last = t;
	a->last = &t->next;
	a->count++;
}

/* It is asked for no more; what is on its way for it is not kept. */
static void tail_withdraw(struct tail *t)
{
	struct tail_source *from = t->source;

	et_assert(t->state == TAIL_ASKED);
	for (uint32_t i = 0; i < from->count; i++) {
		if (from->parts[i].tail == t) {
			from->parts[i].tail = NULL;
		}
	}
	t->state = TAIL_FOLLOW;
}

bool et_tail_sealed(struct et_sync *s, const struct et_key *key)
{
	struct tail *t = *tail_find_at(s, key);

	if (t == NULL) {
		return false;
	}
	if (t->state == TAIL_ASKED) {
		tail_withdraw(t);
	}
	t->stale = true;
	t->due_us = 0;
	return true;
}

void et_tail_scanned(struct et_sync *s, const struct et_key *keys, size_t count)
{
	for (struct tail *t = s->tails.list; t != NULL; t = t->next) {
		t->stale = true;
	}
	for (size_t i = 0; i < count; i++) {
		et_tail_touch(s, &keys[i]);
	}
}

/* ---- Sources ---- */

static struct tail_source *source_of(struct et_sync *s, const struct et_look_source *node)
{
	struct tails *a = &s->tails;

	for (uint32_t i = 0; i < a->source_count; i++) {
		if (a->sources[i]->node.node == node->node) {
			if (a->sources[i]->state == TAIL_SOURCE_IDLE) {
				a->sources[i]->node = *node; /* Its address may be another now. */
			}
			return a->sources[i];
		}
	}
	struct tail_source *from =
		a->source_count < ET_SYNC_TAIL_SOURCES ? calloc(1, sizeof(*from)) : NULL;
	if (from != NULL) {
		from->s = s;
		from->node = *node;
		a->sources[a->source_count++] = from;
	}
	return from;
}

/* ---- Looking ---- */

/* It is sealed, or erased: nobody follows it any more. */
static bool look_leaves(const struct et_look_tail *l)
{
	return l->verdict == ET_LOOK_TAIL_FETCH || l->verdict == ET_LOOK_TAIL_DROP;
}

static void look_leave(const char *media, const struct et_look_tail *l, struct tail *t)
{
	bool is_sealed = l->sealed_records < UINT64_MAX;
	int rc = is_sealed && !t->opened ? et_tail_file_open(media, t) : 0;

	if (rc < 0 || l->sealed_records < t->records) { /* Unread, it may be the longer one. */
		et_tail_file_set_aside(media, &t->key);
	} else if (l->verdict == ET_LOOK_TAIL_FETCH) {
		et_tail_file_hand_over(media, &t->key);
	} else {
		et_tail_file_drop(media, &t->key);
	}
}

/* Files, too: what there is from before, or where it goes now. */
static void look_run(uv_work_t *work)
{
	struct et_sync *s = ET_CONTAINER_OF(work, struct et_sync, tails.look_work);
	struct tails *a = &s->tails;

	et_look_tails(s->state, s->node, a->looks, a->look_count);
	for (uint32_t i = 0; i < a->look_count; i++) {
		struct et_look_tail *l = &a->looks[i];
		struct tail *t = &a->copies[i];
		if (l->code < 0) {
			continue;
		}
		t->has_expected = l->has_header_hash;
		memcpy(t->expected, l->header_hash, sizeof(t->expected));
		if (look_leaves(l)) {
			look_leave(s->media, l, t);
			continue;
		}
		if (!t->opened) {
			l->code = et_tail_file_open(s->media, t);
			t->opened = l->code == 0;
		}
		t->placed = l->lost && et_tail_file_is_placed(s->media, l->file);
	}
}

/* What the worker knows now. */
static void look_copy(struct tail *t, const struct tail *copy)
{
	t->opened = copy->opened;
	t->placed = copy->placed;
	t->has_expected = copy->has_expected;
	memcpy(t->expected, copy->expected, sizeof(t->expected));
	t->has_header = copy->has_header;
	memcpy(t->header_hash, copy->header_hash, sizeof(t->header_hash));
	t->good = copy->good;
	t->records = copy->records;
}

static void look_take(struct et_sync *s, struct tail *t, const struct et_look_tail *l)
{
	const struct et_key key = t->key;
	int64_t now = et_clock_mono_us();

	et_assert(t->state == TAIL_LOOKING);
	if (l->code < 0 && l->code != ET_ENOTFOUND) {
		t->state = TAIL_LOOK;
		t->due_us = now + LOOK_AGAIN_US;
		return;
	}
	if (l->code == 0 && look_leaves(l)) {
		s->tails.st.handed_over += l->verdict == ET_LOOK_TAIL_FETCH && t->good > 0 &&
					   t->records <= l->sealed_records;
		tail_forget(s, t);
		et_table_touch(s, &key);
		return;
	}
	t->source = NULL;
	if (l->code == 0 && l->verdict == ET_LOOK_TAIL_FOLLOW) {
		t->source = source_of(s, &l->source);
		if (s->site[0] != '\0') {
			(void)et_sync_site_of(s, s->site); /* Its tails are shown with it. */
		}
	}
	t->state = t->source != NULL && s->tails.interval_us > 0 ? TAIL_FOLLOW : TAIL_KEPT;
	t->lost = t->state == TAIL_KEPT && l->code == 0 && l->lost;
	memcpy(t->file, l->file, sizeof(t->file));
	if (t->state == TAIL_KEPT && t->good == 0 && !t->placed) {
		tail_forget(s, t); /* There is nothing to be kept. */
	}
}

static void look_after(uv_work_t *work, int status)
{
	struct et_sync *s = ET_CONTAINER_OF(work, struct et_sync, tails.look_work);
	struct tails *a = &s->tails;

	(void)status;
	et_sync_work_done(s);
	a->looking = false;
	for (uint32_t i = 0; i < a->look_count; i++) {
		look_copy(a->looked[i], &a->copies[i]);
		look_take(s, a->looked[i], &a->looks[i]);
	}
	if (!s->stopping) {
		et_tail_run(s); /* There may be more than a look takes. */
		et_table_run(s);
	}
}

static bool tail_is_to_look(const struct tail *t, int64_t now_us)
{
	bool waits = t->state == TAIL_LOOK && t->due_us <= now_us;
	bool stale = t->stale && (t->state == TAIL_FOLLOW || t->state == TAIL_KEPT);
	return waits || stale;
}

void et_tail_run(struct et_sync *s)
{
	struct tails *a = &s->tails;
	int64_t now_us = et_clock_mono_us();

	if (a->looking || s->stopping) {
		return;
	}
	a->look_count = 0;
	for (struct tail *t = a->list; t != NULL && a->look_count < ET_LOOK_BATCH; t = t->next) {
		if (tail_is_to_look(t, now_us)) {
			t->state = TAIL_LOOKING;
			t->stale = false;
			a->copies[a->look_count] = *t;
			a->looks[a->look_count] = (struct et_look_tail){ .key = t->key };
			a->looked[a->look_count++] = t;
		}
	}
	if (a->look_count == 0) {
		return;
	}
	a->looking = et_sync_work(s, &a->look_work, look_run, look_after) == 0;
	for (uint32_t i = 0; i < a->look_count && !a->looking; i++) {
		a->looked[i]->state = TAIL_LOOK;
		a->looked[i]->due_us = now_us + LOOK_AGAIN_US;
	}
}

/* ---- Time ---- */

static void tails_count(struct et_sync *s, int64_t now_us)
{
	struct et_sync_tails *st = &s->tails.st;

	st->on = s->tails.interval_us > 0;
	st->count = st->bytes = st->kept = st->kept_bytes = 0;
	st->lag_ms = 0;
	for (const struct tail *t = s->tails.list; t != NULL; t = t->next) {
		if (t->state == TAIL_KEPT || t->state == TAIL_SEAL) {
			st->kept++;
			st->kept_bytes += t->good;
			continue;
		}
		int64_t lag = t->whole || t->nothing ? 0 : (now_us - t->current_us) / 1000;
		st->count++;
		st->bytes += t->good;
		st->lag_ms = lag > st->lag_ms ? lag : st->lag_ms;
	}
}

void et_tail_tick(struct et_sync *s, int64_t now_us)
{
	struct tails *a = &s->tails;

	if (s->stopping) {
		return;
	}
	et_tail_run(s);
	et_tail_seal_next(s);
	for (uint32_t i = 0; i < a->source_count; i++) {
		struct tail_source *from = a->sources[i];
		bool waits = from->state == TAIL_SOURCE_ASKED || from->state == TAIL_SOURCE_CONNECT;
		if (waits && now_us - from->progress_us > ET_SYNC_STALL_MS * INT64_C(1000)) {
			et_tail_stalled(from);
		}
		et_tail_ask(s, from);
	}
	tails_count(s, now_us);
}

/* ---- Begin and end ---- */

static void tail_found(void *arg, const struct et_key *key)
{
	et_tail_touch(arg, key);
}

int et_tail_init(struct et_sync *s, struct et_error *reterr)
{
	struct tails *a = &s->tails;

	a->last = &a->list;
	a->looked = calloc(ET_LOOK_BATCH, sizeof(struct tail *));
	a->looks = calloc(ET_LOOK_BATCH, sizeof(*a->looks));
	a->copies = calloc(ET_LOOK_BATCH, sizeof(*a->copies));
	if (a->looked == NULL || a->looks == NULL || a->copies == NULL) {
		return et_fail(reterr, -ENOMEM, "tails");
	}
	return et_tail_file_each(s->media, tail_found, s, reterr);
}

void et_tail_stop(struct et_sync *s)
{
	for (uint32_t i = 0; i < s->tails.source_count; i++) {
		struct tail_source *from = s->tails.sources[i];
		if (from->link != NULL) {
			et_tail_link_lost(from->link);
		}
	}
}

void et_tail_release(struct et_sync *s)
{
	struct tails *a = &s->tails;

	while (a->list != NULL) {
		struct tail *t = a->list;
		a->list = t->next;
		free(t);
	}
	for (uint32_t i = 0; i < a->source_count; i++) {
		free(a->sources[i]);
	}
	et_tail_seal_release(s);
	free(a->looked);
	free(a->looks);
	free(a->copies);
}
