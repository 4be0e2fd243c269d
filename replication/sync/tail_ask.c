/* Asking sources what their open segments have grown.
 *
 *   IDLE ──some are due──▶ CONNECT ──greeted──▶ ASKED ──all answered, cut, refused──▶ WRITE
 *    ▲                        │                   │                                    │
 *    └──── no connection ─────┴── nothing came ───┴────────── what came is here ───────┘
 *
 * One question at a time to each source, so what is asked for is behind what is written. The next
 * follows at once while segments are due; each is due an interval after it was asked for, or at
 * once when there was more of it. Those that were answered go to the end of the list: all take
 * turns, and what a cut left unanswered comes first. */
#include <stdlib.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "replication/sync/sync_internal.h"

#define UNKNOWN_US (60 * INT64_C(1000000)) /* until a source is asked again that knows no tails */

/* After a source failed. */
static int64_t backoff_us(const struct tail_source *from)
{
	return (int64_t)from->s->backoff_ms * 1000;
}

static void source_pause(struct tail_source *from, int64_t us)
{
	from->pause_us = et_clock_mono_us() + us;
}

/* ---- Asking ---- */

static bool tail_is_due(const struct tail *t, const struct tail_source *from, int64_t now_us)
{
	return t->source == from && t->state == TAIL_FOLLOW && !t->stale && !t->whole &&
	       t->due_us <= now_us;
}

static bool source_has_due(const struct tail_source *from, int64_t now_us)
{
	for (const struct tail *t = from->s->tails.list; t != NULL; t = t->next) {
		if (tail_is_due(t, from, now_us)) {
			return true;
		}
	}
	return false;
}

static void source_leave_link(struct tail_source *from)
{
	struct link *l = from->link;

	if (l != NULL) {
		/* What was granted and did not come is given back; what came beyond it, taken. */
		et_gate_granted(from->s, l->site, ET_SYNC_TAIL,
				(int64_t)from->bytes - (int64_t)from->window);
		l->tail = NULL;
		from->link = NULL;
	}
	from->window = 0;
	from->stream = 0;
}

/* Those that are due, as many as a question takes. */
static void source_choose(struct tail_source *from, int64_t now_us)
{
	from->count = 0;
	for (struct tail *t = from->s->tails.list; t != NULL && from->count < ET_WIRE_TAILS_MAX;
	     t = t->next) {
		if (tail_is_due(t, from, now_us)) {
			t->state = TAIL_ASKED;
			from->parts[from->count++] =
				(struct tail_part){ .tail = t, .offset = t->good };
		}
	}
}

/* Those that were answered go to the end of the list. */
static void tails_turn(struct tails *a)
{
	struct tail *turned = NULL;
	struct tail **end = &turned;

	for (struct tail **at = &a->list; *at != NULL;) {
		struct tail *t = *at;
		if (!t->answered) {
			at = &t->next;
			a->last = at;
			continue;
		}
		t->answered = false;
		*at = t->next;
		t->next = NULL;
		*end = t;
		end = &t->next;
	}
	if (turned != NULL) {
		a->last = a->list == NULL ? &a->list : a->last;
		*a->last = turned;
		a->last = end;
	}
}

static uint32_t source_window(const struct tail_source *from)
{
	uint64_t rate = et_gate_rate(from->s, from->link->site, ET_SYNC_TAIL);
	uint32_t window = ET_SYNC_TAIL_WINDOW;

	if (rate != 0 && rate / 4 < window) {
		window = rate / 4 > 65536 ? (uint32_t)(rate / 4) : 65536;
	}
	return window;
}

/* The connection stands, and the source has said what it knows. */
static void source_ask(struct tail_source *from)
{
	struct link *l = from->link;
	struct et_buffer frame = { 0 };
	int64_t now = et_clock_mono_us();

	bool knows = (l->features & ET_WIRE_HELLO_TAILS) != 0;
	bool may = knows && et_gate_may_receive(from->s, l->site, ET_SYNC_TAIL);
	if (may) {
		source_choose(from, now);
	}
	if (!may || from->count == 0) {
		source_leave_link(from);
		from->state = TAIL_SOURCE_IDLE;
		source_pause(from, knows ? 0 : UNKNOWN_US);
		return;
	}
	from->state = TAIL_SOURCE_ASKED;
	from->window = source_window(from);
	from->answered = 0;
	from->stream = l->next_stream++;
	from->asked_us = from->progress_us = now;
	et_gate_granted(from->s, l->site, ET_SYNC_TAIL, from->window);
	et_wire_add_tails(&frame, from->stream, from->window, from->count);
	for (uint32_t i = 0; i < from->count; i++) {
		const struct et_key *key = &from->parts[i].tail->key;
		struct et_wire_tail tail = { .generation = key->generation,
					     .segment = key->segment,
					     .offset = from->parts[i].offset };
		memcpy(tail.recording, key->recording, 16);
		et_wire_add_tail(&frame, &tail);
	}
	et_link_send(l, &frame);
}

void et_tail_ask(struct et_sync *s, struct tail_source *from)
{
	int64_t now = et_clock_mono_us();
	uint32_t asking = 0;

	for (uint32_t i = 0; i < s->tails.source_count; i++) {
		asking += s->tails.sources[i]->state != TAIL_SOURCE_IDLE;
	}
	if (from->state != TAIL_SOURCE_IDLE || now < from->pause_us || s->stopping ||
	    s->tails.interval_us == 0 || s->full_until_us > now || asking >= ET_SYNC_TAIL_ASKING ||
	    !source_has_due(from, now)) {
		return;
	}
	struct link *l = et_link_get(s, &from->node, ET_SYNC_TAIL);
	if (l == NULL || l->tail != NULL) {
		source_pause(from, backoff_us(from));
		return;
	}
	l->tail = from;
	from->link = l;
	from->state = TAIL_SOURCE_CONNECT;
	from->count = 0;
	from->bytes = 0;
	from->progress_us = now;
	et_tail_link_greeted(l);
}

void et_tail_link_greeted(struct link *l)
{
	struct tail_source *from = l->tail;

	if (from != NULL && from->state == TAIL_SOURCE_CONNECT && l->state == LINK_OPEN &&
	    l->parser.greeted) {
		source_ask(from);
	}
}

/* ---- What came ---- */

static void write_run(uv_work_t *work)
{
	struct tail_source *from = ET_CONTAINER_OF(work, struct tail_source, work);

	for (uint32_t i = 0; i < from->count; i++) {
		if (from->parts[i].tail != NULL && from->parts[i].body != NULL) {
			et_tail_file_take(from->s->media, &from->parts[i]);
		}
	}
}

static void part_failed(struct tail_source *from, struct tail_part *part, int64_t now_us)
{
	struct et_sync *s = from->s;
	struct tail *t = part->tail;
	uint32_t shift = t->failures < 6 ? t->failures : 6;

	t->failures++;
	t->nothing = part->code == ET_ESTALE || part->code == ET_ENOTFOUND ||
		     part->code == ET_ETRUNCATED;
	t->due_us = now_us + (backoff_us(from) << shift);
	if (part->disk_code < 0) {
		s->full_until_us = et_store_is_full(part->disk_code)
					   ? now_us + ET_SYNC_FULL_MS * INT64_C(1000)
					   : s->full_until_us;
	} else if (part->code == ET_ESTALE) {
		return; /* It is sealed there: this node hears of it in a moment. */
	}
	s->tails.st.errors++;
	et_sync_site_error(s, et_sync_site_of(s, from->node.site),
			   part->disk_code < 0 ? part->disk_code : part->code, NULL);
}

/* What a worker has made of it. `none`: the whole answer brought nothing. */
static void part_take(struct tail_source *from, struct tail_part *part, bool none, int64_t now_us)
{
	struct tail *t = part->tail;
	bool idle = part->good == t->good;

	t->good = part->good;
	t->records = part->records;
	t->whole = part->whole;
	if (part->code == 0 && part->more && idle && part->body->size > 16) {
		part->code = ET_ECORRUPT; /* More than any record takes, and none was in it. */
	}
	if (part->code < 0 || part->disk_code < 0) {
		part_failed(from, part, now_us);
		return;
	}
	t->failures = 0;
	t->nothing = false;
	if (part->more) {
		t->due_us = none ? now_us + backoff_us(from) : now_us;
	} else {
		t->current_us = from->asked_us;
		t->due_us = from->asked_us + from->s->tails.interval_us;
	}
}

static void source_done(struct tail_source *from)
{
	struct et_sync *s = from->s;
	int64_t now = et_clock_mono_us();
	bool none = from->bytes == 0;

	for (uint32_t i = 0; i < from->count; i++) {
		struct tail_part *part = &from->parts[i];
		if (part->tail != NULL) {
			part->tail->state = TAIL_FOLLOW;
			if (part->body != NULL) {
				part->tail->answered = true;
				part_take(from, part, none, now);
			}
		}
		free(part->body);
		part->body = NULL;
	}
	from->count = 0;
	from->state = TAIL_SOURCE_IDLE;
	tails_turn(&s->tails);
	if (!s->stopping) {
		et_tail_run(s);
		et_tail_ask(s, from);
	}
}

static void write_after(uv_work_t *work, int status)
{
	struct tail_source *from = ET_CONTAINER_OF(work, struct tail_source, work);

	(void)status;
	et_sync_work_done(from->s);
	source_done(from);
}

/* The question is over, with what was answered so far. */
static void source_over(struct tail_source *from)
{
	bool came = false;

	source_leave_link(from);
	for (uint32_t i = 0; i < from->count; i++) {
		struct tail_part *part = &from->parts[i];
		if (part->tail == NULL || from->s->stopping) {
			free(part->body);
			part->body = NULL;
		}
		if (part->body != NULL) {
			part->tail->state = TAIL_WRITE;
			came = true;
		} else if (part->tail != NULL) {
			part->tail->state = TAIL_FOLLOW;
			part->tail = NULL;
		}
	}
	from->state = TAIL_SOURCE_WRITE;
	if (came && et_sync_work(from->s, &from->work, write_run, write_after) == 0) {
		return;
	}
	for (uint32_t i = 0; i < from->count; i++) { /* It is asked for again. */
		if (from->parts[i].tail != NULL) {
			from->parts[i].tail->state = TAIL_FOLLOW;
			from->parts[i].tail = NULL;
		}
	}
	if (came) {
		source_pause(from, backoff_us(from));
	}
	source_done(from);
}

bool et_tail_grown(struct link *l, struct et_wire_frame *frame)
{
	struct tail_source *from = l->tail;
	struct et_wire_block *body = frame->body;
	struct et_wire_grown g;

	if (from == NULL || from->state != TAIL_SOURCE_ASKED || from->stream != frame->stream) {
		free(body);
		return frame->stream < l->next_stream; /* Canceled, and still on its way. */
	}
	struct tail_part *part = &from->parts[from->answered];
	if (!et_wire_read_grown(body, &g) || g.entry != from->answered ||
	    g.offset != part->offset ||
	    from->bytes + g.bytes.size > (uint64_t)from->window + ET_WIRE_GROWN_MAX) {
		free(body);
		return false;
	}
	from->progress_us = l->last_in_us;
	from->bytes += g.bytes.size;
	et_sync_count_received(from->s, l->site, ET_SYNC_TAIL, g.bytes.size);
	part->more = (frame->flags & ET_WIRE_GROWN_MORE) != 0;
	part->body = body;
	from->answered++;
	if (from->answered == from->count) {
		source_over(from);
	}
	return true;
}

/* ---- What goes wrong ---- */

void et_tail_link_lost(struct link *l)
{
	struct tail_source *from = l->tail;

	if (from != NULL) {
		source_pause(from, backoff_us(from));
		source_over(from);
	}
}

void et_tail_stalled(struct tail_source *from)
{
	struct et_buffer frame = { 0 };

	if (from->state == TAIL_SOURCE_ASKED) {
		et_wire_add_cancel(&frame, from->stream);
		et_link_send(from->link, &frame);
	}
	et_tail_link_lost(from->link);
}

bool et_tail_refused(struct link *l, const struct et_wire_frame *frame)
{
	struct tail_source *from = l->tail;
	bool refusal = frame->type == ET_WIRE_ERROR || frame->type == ET_WIRE_BUSY;

	if (!refusal || from == NULL || from->state != TAIL_SOURCE_ASKED ||
	    from->stream != frame->stream) {
		return false;
	}
	if (frame->type == ET_WIRE_ERROR) {
		int32_t code = (int32_t)et_get32(frame->body->data);
		from->s->tails.st.errors++;
		et_sync_site_error(from->s, l->site, code < 0 ? code : ET_EMALFORMED, NULL);
	}
	et_tail_link_lost(l);
	return true;
}
