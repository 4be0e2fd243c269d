/* Key presses as sound that a rule drops (`tones: drop`): their samples are silence before they
 * reach the tape, so that no disk ever has the digits.
 *
 *   packet ──▶ held, about 110 ms ──▶ samples of a press: the code of silence ──▶ sink
 *                │
 *                └─ decoded, at its timestamp ──▶ a window every 10 ms (node/audio/dtmf.h)
 *
 * What is a press. Two windows in a row with one key; one window with a key where samples are
 * missing in it (a packet alone between lost ones); and, for ET_MASK_ECHO_MS behind a press in any
 * stream of the call, two windows in which the tones of that key only stand out (its echo; the
 * press that somebody talks over). Silence is from ET_MASK_GUARD_MS before the first of the windows
 * to as much behind the last: what a detector needs to be sure is held back and silenced, too.
 *
 * What is changed. The bytes of samples, nothing else: sequence numbers, timestamps, times of
 * arrival, lengths and headers stay, and each packet is counted as ever (`rtp`), and as `silenced`
 * of its stream where it was changed. The tape has a mark `dropped` before the first packet of a
 * press (a moment), and one with both times and the number of packets behind the last: a recorder
 * that dies between leaves the first. Cause `tones: caller`, `tones: callee, 7 packets`.
 *
 * Which audio. G.711 that is not protected: a sample is a byte there, and the others stay as they
 * are. Of any other codec, of SRTP (with its key or without: what was changed would not be
 * authentic) and of packets that are longer than 160 ms the digits cannot be taken out. `drop`
 * keeps those as they came; `strict` does not write them (`unclaimed: tones`). Either way the
 * recording's `problem` says `cannot_drop`, it is counted, and whoever hears it hears silence, as
 * with `tones: mask`. Events (RFC 4733) are `digits`; comfort noise has no digits.
 *
 * Bounds. A stream holds at most 64 packets and 8 KiB, and 9 KiB beside them. What would be more, a
 * jump of the timestamp by more than 120 ms, samples that are others than those that were heard for
 * the same time, another codec, another rule, a pause of the recording, its end, and a packet that
 * was held for 300 ms (looked for four times a second) end the hearing: what is held is judged by
 * what there is, and goes out; the next packet begins anew, with nothing before it. Without memory
 * a packet is dropped and counted, not written unheard.
 *
 * Loss, order. What did not come is not counted in the guards, since a press may begin before a
 * hole and end behind it. A packet up to 20 ms later than its neighbours is heard with them; one
 * that is later, up to 120 ms, makes the windows around it be looked at again; one that comes twice
 * is silenced twice. A recorder that is killed loses what it held, as it loses what is on its way
 * to the disk.
 *
 * Not found: a press of less than 30 ms, and one that other sound covers from begin to end. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "node/audio/codec.h"
#include "node/audio/mask.h"
#include "node/capture/engine_internal.h"

enum {
	HELD_MAX = 64,
	HELD_BYTES = 8192,
	PACKET_MAX = 1292, /* bytes: 160 ms */
	PER_MS = ET_DTMF_RATE / 1000,
	HEARD = 4096, /* samples, a power of two */
	SLACK = 20 * PER_MS,
	JUMP = 120 * PER_MS,
	GUARD = ET_MASK_GUARD_MS * PER_MS,
	REACH = ET_DTMF_WINDOW + ET_DTMF_HOP + GUARD, /* from the end of a window back */
	REACH_MOST = REACH + JUMP,
	BEGIN = 2 * HEARD, /* no position is negative */
	SPANS_MAX = 16,
	SAMPLE_US = 1000000 / ET_DTMF_RATE,
	ABSENT = INT16_MIN, /* no code of G.711 means it */
};
_Static_assert(PACKET_MAX + JUMP + SLACK + ET_DTMF_HOP + REACH_MOST <= HEARD, "it is still here");
#define HOLD_US 300000

struct held {
	struct held *next; /* owned */
	int64_t time_us;
	int64_t came_us;  /* by the engine's clock */
	int64_t position; /* of its first sample */
	int64_t end;
	enum et_stream_sound sound;
	struct et_rtp rtp; /* its payload is in `data` */
	uint32_t size;
	uint8_t data[];
};

struct span {
	int64_t from;
	int64_t to;
};

struct et_tones {
	struct held *first; /* owned: in the order of arrival */
	struct held *last;
	uint32_t count;
	uint32_t bytes;
	bool begun;	    /* what follows holds: */
	uint32_t timestamp; /* of `at` */
	int64_t at;	    /* position of the newest packet */
	int64_t newest;	    /* behind the newest sample */
	int64_t hole;	    /* behind the newest sample that did not come */
	int64_t looked;	    /* end of the last window */
	struct et_dtmf_look before;
	uint32_t span_count;
	struct span spans[SPANS_MAX];
	uint32_t changed; /* packets of the press that is under way on the tape */
	int64_t from_us;
	int64_t to_us;
	int16_t heard[HEARD]; /* at their positions */
};

static void held_free(struct held *h)
{
	explicit_bzero(h->data, h->size);
	free(h);
}

struct et_tones *et_tones_free(struct et_tones *t)
{
	while (t != NULL && t->first != NULL) {
		struct held *h = t->first;
		t->first = h->next;
		held_free(h);
	}
	if (t != NULL) {
		explicit_bzero(t, sizeof(*t));
		free(t);
	}
	return NULL;
}

enum et_stream_sound et_tones_sound(const char *name, uint32_t clock_hz, uint8_t channels)
{
	if (strcasecmp(name, "telephone-event") == 0 || strcasecmp(name, "CN") == 0) {
		return ET_SOUND_NONE;
	}
	if (clock_hz != ET_DTMF_RATE || channels != 1) {
		return ET_SOUND_OTHER;
	}
	return strcasecmp(name, "PCMU") == 0   ? ET_SOUND_ULAW
	       : strcasecmp(name, "PCMA") == 0 ? ET_SOUND_ALAW
					       : ET_SOUND_OTHER;
}

void et_tones_init(struct et_engine *e)
{
	et_dtmf_init(&e->dtmf);
	for (unsigned code = 0; code < 256; code++) {
		e->g711[0][code] = et_ulaw_decode((uint8_t)code);
		e->g711[1][code] = et_alaw_decode((uint8_t)code);
	}
}

/* ---- Out ---- */

static void mark(struct et_engine *e, struct et_stream *s, int64_t from_us, int64_t to_us)
{
	char cause[64];
	const struct et_tones *t = s->tones;
	const char *who = s->party == 0 ? "caller" : "callee";
	const int size = to_us == 0 ? snprintf(cause, sizeof(cause), ET_MARK_TONES "%s", who)
				    : snprintf(cause, sizeof(cause), ET_MARK_TONES "%s, %u packets",
					       who, t->changed);
	struct et_meta_item item = {
		.type = ET_META_MARK,
		.mark = {
			.what = ET_MARK_DROPPED,
			.from_us = from_us,
			.to_us = to_us,
			.cause = { (const uint8_t *)cause, (size_t)size },
		},
	};
	et_call_meta(e, s->call, &item);
}

static void press_end(struct et_engine *e, struct et_stream *s)
{
	struct et_tones *t = s->tones;

	if (t->changed > 0) {
		mark(e, s, t->from_us, t->to_us);
		t->changed = 0;
	}
}

/* What of a packet lies in a span becomes silence. */
static void silence(struct et_engine *e, struct et_stream *s, struct held *h)
{
	struct et_tones *t = s->tones;
	uint8_t *payload = h->data + (h->rtp.payload - h->data);
	int64_t first = INT64_MAX;
	int64_t last = 0;

	for (uint32_t i = 0; i < t->span_count && h->sound != ET_SOUND_NONE; i++) {
		const struct span *x = &t->spans[i];
		const int64_t from = x->from > h->position ? x->from : h->position;
		const int64_t to = x->to < h->end ? x->to : h->end;
		if (from < to) {
			memset(payload + (from - h->position),
			       h->sound == ET_SOUND_ALAW ? 0xD5 : 0xFF, (size_t)(to - from));
			first = from < first ? from : first;
			last = to > last ? to : last;
		}
	}
	if (last == 0) {
		if (h->sound != ET_SOUND_NONE) {
			press_end(e, s);
		}
		return;
	}
	if (t->changed++ == 0) {
		t->from_us = h->time_us + (first - h->position) * SAMPLE_US;
		mark(e, s, t->from_us, 0);
	}
	t->to_us = h->time_us + (last - h->position) * SAMPLE_US;
	s->silenced++;
	e->tones_silenced++;
}

/* The oldest packet goes to the sink. */
static void release_one(struct et_engine *e, struct et_stream *s)
{
	struct et_tones *t = s->tones;
	struct held *h = t->first;
	struct et_packet p = {
		.time_us = h->time_us,
		.sport = s->key.sport,
		.dport = s->key.dport,
		.payload = h->data,
		.size = h->size,
	};

	memcpy(p.src, s->key.src, sizeof(p.src));
	memcpy(p.dst, s->key.dst, sizeof(p.dst));
	t->first = h->next;
	t->last = t->first != NULL ? t->last : NULL;
	t->count--;
	t->bytes -= h->size;
	silence(e, s, h);
	et_stream_media(e, s, &h->rtp, &p);
	held_free(h);
}

/* ---- Hearing ---- */

static void span_add(struct et_tones *t, int64_t from, int64_t to)
{
	struct span *s;
	uint32_t kept = 0;

	/* No packet to come begins so early. */
	for (uint32_t i = 0; i < t->span_count; i++) {
		if (t->spans[i].to > t->at - JUMP - PACKET_MAX) {
			t->spans[kept++] = t->spans[i];
		}
	}
	t->span_count = kept;
	for (uint32_t i = 0; i < t->span_count; i++) {
		s = &t->spans[i];
		if (from <= s->to && to >= s->from) {
			s->from = from < s->from ? from : s->from;
			s->to = to > s->to ? to : s->to;
			return;
		}
	}
	if (t->span_count < SPANS_MAX) {
		t->spans[t->span_count++] = (struct span){ from, to };
		return;
	}
	s = &t->spans[SPANS_MAX - 1]; /* rather too much than too little */
	s->from = from < s->from ? from : s->from;
	s->to = to > s->to ? to : s->to;
}

/* From where on a window that ends there reaches: what did not come is not counted, for a press may
 * begin before it. */
static int64_t reach_of(const struct et_tones *t, int64_t end)
{
	int64_t at = end - REACH;

	if (t->hole <= at) {
		return at;
	}
	at = end;
	for (int left = REACH; left > 0 && at > BEGIN - JUMP && at > end - REACH_MOST;) {
		at--;
		left -= t->heard[at & (HEARD - 1)] != ABSENT;
	}
	return at;
}

/* The samples of the last window; what did not come is silent in it, and counted. */
static uint32_t window_of(const struct et_tones *t, int16_t ret[ET_DTMF_WINDOW])
{
	const uint32_t first = (uint32_t)(t->looked - ET_DTMF_WINDOW) & (HEARD - 1);
	const uint32_t whole = HEARD - first < ET_DTMF_WINDOW ? HEARD - first : ET_DTMF_WINDOW;
	uint32_t absent = 0;

	memcpy(ret, t->heard + first, whole * sizeof(ret[0]));
	memcpy(ret + whole, t->heard, (ET_DTMF_WINDOW - whole) * sizeof(ret[0]));
	if (t->hole <= t->looked - ET_DTMF_WINDOW && t->looked <= t->newest) {
		return 0;
	}
	for (uint32_t i = 0; i < ET_DTMF_WINDOW; i++) {
		absent += ret[i] == ABSENT;
		ret[i] = ret[i] == ABSENT ? 0 : ret[i];
	}
	return absent;
}

/* A window ended. */
static void look_once(const struct et_engine *e, struct et_stream *s)
{
	struct et_tones *t = s->tones;
	struct et_call *c = s->call;
	int16_t window[ET_DTMF_WINDOW];
	const uint32_t absent = window_of(t, window);

	const struct et_dtmf_look now = et_dtmf_look(&e->dtmf, window);
	const bool twice = now.key == t->before.key;
	const bool press = now.key != '\0' && (twice || absent > 0);
	const bool echo = now.faint != '\0' && now.faint == t->before.faint &&
			  now.faint == c->tone_key &&
			  s->last_us - c->tone_us <= ET_MASK_ECHO_MS * INT64_C(1000);
	if (press) {
		c->tone_key = now.key;
		c->tone_us = s->last_us;
	}
	if (press || echo) {
		span_add(t, reach_of(t, t->looked), t->looked + GUARD);
	}
	t->before = now;
}

static void look(const struct et_engine *e, struct et_stream *s, int64_t until)
{
	struct et_tones *t = s->tones;

	while (t->looked + ET_DTMF_HOP <= until) {
		t->looked += ET_DTMF_HOP;
		look_once(e, s);
	}
}

/* What the codes of a packet mean. */
static const int16_t *samples_of(const struct et_engine *e, const struct held *h)
{
	return e->g711[h->sound == ET_SOUND_ALAW];
}

/* Was something else heard for the same time? */
static bool differs(const struct et_tones *t, const struct held *h, const int16_t *samples)
{
	for (int64_t i = h->position; i < h->end && i < t->newest; i++) {
		const int16_t v = t->heard[i & (HEARD - 1)];
		if (v != ABSENT && v != samples[h->rtp.payload[i - h->position]]) {
			return true;
		}
	}
	return false;
}

/* Its samples, at their place. What was passed over is looked at again. */
static void hear(struct et_tones *t, const struct held *h, const int16_t *samples)
{
	bool again = false;

	if (h->position > t->newest) { /* a press may go on behind it */
		t->hole = h->position;
		for (uint32_t i = 0; i < t->span_count; i++) {
			struct span *x = &t->spans[i];
			x->to += x->to > t->newest ? h->position - t->newest : 0;
		}
	}
	for (; t->newest < h->position; t->newest++) {
		t->heard[t->newest & (HEARD - 1)] = ABSENT;
	}
	for (int64_t i = h->position; i < h->end && i < t->looked; i++) {
		again = again || t->heard[i & (HEARD - 1)] == ABSENT;
	}
	for (uint32_t i = 0; i < h->rtp.payload_size; i++) {
		t->heard[(uint32_t)(h->position + i) & (HEARD - 1)] = samples[h->rtp.payload[i]];
	}
	t->newest = h->end > t->newest ? h->end : t->newest;
	if (again) {
		t->looked = h->position;
		t->before = (struct et_dtmf_look){ .key = '\0' };
	}
}

void et_tones_flush(struct et_engine *e, struct et_stream *s)
{
	struct et_tones *t = s->tones;

	if (t == NULL || !t->begun) {
		return;
	}
	/* To where half of a window has sound: with less, no key is one. */
	for (int64_t i = t->newest; i < t->newest + ET_DTMF_WINDOW; i++) {
		t->heard[i & (HEARD - 1)] = ABSENT;
	}
	look(e, s, t->newest + ET_DTMF_WINDOW / 2);
	while (t->count > 0) {
		release_one(e, s);
	}
	press_end(e, s);
	explicit_bzero(t->heard, sizeof(t->heard));
	t->begun = false;
}

void et_tones_flush_call(struct et_engine *e, struct et_call *c)
{
	for (struct et_stream *s = c->streams; s != NULL && c->drop_tones; s = s->next) {
		et_tones_flush(e, s);
	}
}

void et_tones_sweep(struct et_engine *e, struct et_call *c)
{
	for (struct et_stream *s = c->streams; s != NULL && c->drop_tones; s = s->next) {
		const struct held *h = s->tones != NULL ? s->tones->first : NULL;
		if (h != NULL && e->now_us - h->came_us > HOLD_US) {
			et_tones_flush(e, s);
		}
	}
}

/* ---- In ---- */

static void begin(struct et_tones *t, struct held *h)
{
	t->begun = true;
	t->timestamp = h->rtp.timestamp;
	t->at = t->newest = t->looked = t->hole = BEGIN;
	t->before = (struct et_dtmf_look){ .key = '\0' };
	t->span_count = 0;
	for (size_t i = 0; i < HEARD; i++) {
		t->heard[i] = ABSENT;
	}
}

static void place(const struct et_tones *t, struct held *h)
{
	h->position = !t->begun ? BEGIN : t->at + (int32_t)(h->rtp.timestamp - t->timestamp);
	h->end = h->position + h->rtp.payload_size;
}

/* What is no sound waits for what came before it, without a place of its own. */
static void take(struct et_engine *e, struct et_stream *s, struct held *h)
{
	struct et_tones *t = s->tones;
	const int16_t *samples = samples_of(e, h);

	if (h->sound == ET_SOUND_NONE) {
		h->position = h->end = t->newest;
		return;
	}
	place(t, h);
	if (t->begun && (h->position > t->newest + JUMP || h->position < t->at - JUMP ||
			 differs(t, h, samples))) {
		et_tones_flush(e, s);
	}
	if (!t->begun) {
		begin(t, h);
		place(t, h);
	}
	hear(t, h, samples);
	if (h->position > t->at) {
		t->at = h->position;
		t->timestamp = h->rtp.timestamp;
	}
}

static struct held *held_new(const struct et_engine *e, enum et_stream_sound sound,
			     const struct et_rtp *rtp, const struct et_packet *p)
{
	struct held *h = malloc(sizeof(*h) + p->size);

	if (h != NULL) {
		*h = (struct held){
			.time_us = p->time_us,
			.came_us = e->now_us,
			.sound = sound,
			.rtp = *rtp,
			.size = p->size,
		};
		memcpy(h->data, p->payload, p->size);
		h->rtp.payload = h->data + (rtp->payload - p->payload);
	}
	return h;
}

/* Why digits cannot be taken out of a packet. */
static const char *const hindrances[] = { "SRTP", "its codec", "its packets" };
enum { BY_SRTP, BY_CODEC, BY_SIZE };

const char *et_tones_hindrance(const char *text)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(hindrances); i++) {
		if (strcmp(hindrances[i], text) == 0) {
			return hindrances[i];
		}
	}
	return NULL;
}

/* NULL: they can. */
static const char *hindrance(const struct et_stream *s, enum et_stream_sound sound,
			     const struct et_packet *p)
{
	if (sound == ET_SOUND_NONE) {
		return NULL;
	}
	if (s->srtp[0] != '\0') {
		return hindrances[BY_SRTP];
	}
	return sound == ET_SOUND_OTHER ? hindrances[BY_CODEC]
	       : p->size > PACKET_MAX  ? hindrances[BY_SIZE]
				       : NULL;
}

bool et_tones_refuses(struct et_engine *e, struct et_stream *s, const struct et_packet *p)
{
	struct et_call *c = s->call;
	const char *why = hindrance(s, s->types[s->type_last].sound, p);

	if (why == NULL) {
		return false;
	}
	if (c->cannot_drop == NULL) {
		c->cannot_drop = why;
		c->dirty = true;
		e->table_changed = true;
		e->tones_cannot++;
	}
	return c->facts.tones == ET_RULE_TONES_STRICT;
}

void et_tones_problem(struct et_call *c)
{
	struct et_facts *f = &c->facts;
	const bool strict = f->tones == ET_RULE_TONES_STRICT;
	const size_t size = strlen(f->problem);

	if (c->cannot_drop == NULL || strstr(f->problem, "cannot_drop") != NULL) {
		return;
	}
	if (size == 0 || (strict && f->problem_srtp)) { /* which says that it is kept */
		(void)snprintf(f->problem, sizeof(f->problem),
			       "key presses cannot be dropped from %s (cannot_drop): %s",
			       c->cannot_drop, strict ? "not written" : "masked when heard");
		f->problem_srtp = false;
	} else {
		(void)snprintf(f->problem + size, sizeof(f->problem) - size,
			       "; key presses cannot be dropped (cannot_drop)");
	}
}

void et_tones_media(struct et_engine *e, struct et_stream *s, const struct et_rtp *rtp,
		    const struct et_packet *p)
{
	const enum et_stream_sound sound = s->types[s->type_last].sound;
	const bool passes = hindrance(s, sound, p) != NULL;
	const bool full = s->tones != NULL &&
			  (s->tones->count >= HELD_MAX || s->tones->bytes + p->size > HELD_BYTES);

	if (full || passes) {
		et_tones_flush(e, s);
	}
	if (passes || (sound == ET_SOUND_NONE && (s->tones == NULL || s->tones->count == 0))) {
		et_stream_media(e, s, rtp, p);
		return;
	}
	(void)et_call_open(e, s->call); /* when its media began, not when it goes out */
	if (s->tones == NULL) {
		s->tones = calloc(1, sizeof(*s->tones));
	}
	struct held *h = s->tones != NULL ? held_new(e, sound, rtp, p) : NULL;
	if (h == NULL) {
		s->call->dropped++;
		e->media_dropped++;
		return;
	}
	struct et_tones *t = s->tones;
	take(e, s, h);
	*(t->last != NULL ? &t->last->next : &t->first) = h;
	t->last = h;
	t->count++;
	t->bytes += h->size;
	look(e, s, t->newest - SLACK);
	const int64_t until = reach_of(t, t->looked + ET_DTMF_HOP); /* of windows to come */
	while (t->count > 0 && t->first->end <= until) {
		release_one(e, s);
	}
}
