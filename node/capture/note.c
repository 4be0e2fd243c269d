/* What a tape says besides its packets: whose call it is, its streams, keys, gaps and pauses, who
 * keeps it. But for the last, what stands in one segment stands in each that follows, so that any
 * of them can be read without the others. */
#include <stdio.h>

#include "node/capture/writer_internal.h"

static void item_append(struct et_writer *w, struct et_slot *s, int64_t at_us,
			const struct et_meta_item *item)
{
	struct et_buffer plain = { .data = NULL };
	if (et_meta_add(&plain, item) == 0 && !plain.failed) {
		et_segment_append(w, s, ET_TAPE_META, at_us, plain.data, plain.size);
	}
	et_buffer_release(&plain);
}

static struct et_view view_of(const char *text)
{
	return (struct et_view){ (const uint8_t *)text, strlen(text) };
}

/* ---- Streams and parties --------------------------------------------------------------------- */

static void stream_item(const struct et_capture_stream *stream, struct et_meta_item *ret,
			char codec[32])
{
	/* "opus/48000/2": name, clock, channels */
	(void)snprintf(codec, 32, "%s", stream->codec);
	uint8_t channels = 1;
	char *slash = strchr(codec, '/');
	if (slash != NULL) {
		*slash = '\0';
		char *second = strchr(slash + 1, '/');
		channels = second != NULL && second[1] == '2' ? 2 : 1;
	}
	*ret = (struct et_meta_item){
		.type = ET_META_STREAM,
		.stream = {
			.stream = stream->number,
			.ssrc = stream->ssrc,
			.party = stream->party,
			.payload_type = stream->payload_type,
			.channels = channels,
			.clock_rate = stream->clock_hz,
			.codec = view_of(codec),
			.src = view_of(stream->src),
			.dst = view_of(stream->dst),
			.srtp = view_of(stream->srtp),
		},
	};
}

void et_note_stream(struct et_writer *w, struct et_slot *s, const struct et_capture_stream *stream)
{
	char codec[32];
	struct et_meta_item item;
	if (s->state == ET_SLOT_OPEN && s->tape != NULL) {
		stream_item(stream, &item, codec);
		item_append(w, s, stream->first_us, &item);
	}
}

/* Which recording this is, for whoever has only the tape and its key. */
static void write_parties(struct et_writer *w, struct et_slot *s)
{
	const struct et_facts *f = &s->facts;
	const struct {
		const char *key;
		const char *value;
		uint8_t party;
	} facts[] = {
		{ "uri", f->from_uri, 0 },
		{ "uri", f->to_uri, 1 },
		{ "number", f->from, 0 },
		{ "number", f->to, 1 },
		{ "sip-call-id", f->sip_call_id, 255 },
		{ "tones", f->tones > ET_RULE_TONES_KEEP ? et_rule_tones_text(f->tones) : "", 255 },
	};
	struct et_buffer plain = { .data = NULL };
	bool any = false;
	for (size_t i = 0; i < ET_ARRAY_SIZE(facts); i++) {
		struct et_meta_item item = {
			.type = ET_META_FACT,
			.fact = {
				.time_us = f->start_us,
				.party = facts[i].party,
				.key = view_of(facts[i].key),
				.value = view_of(facts[i].value),
			},
		};
		if (facts[i].value[0] != '\0' && et_meta_add(&plain, &item) == 0) {
			any = true;
		}
	}
	if (any && !plain.failed) {
		et_segment_append(w, s, ET_TAPE_META, f->start_us, plain.data, plain.size);
	}
	et_buffer_release(&plain);
}

/* ---- Gaps, pauses, who keeps it -------------------------------------------------------------- */

static void write_gap(struct et_writer *w, struct et_slot *s, const struct et_capture_gap *gap)
{
	const struct et_meta_item item = {
		.type = ET_META_MARK,
		.mark = {
			.what = gap->cause == et_gap_paused ? ET_MARK_PAUSE : ET_MARK_GAP,
			.from_us = gap->from_us,
			.to_us = gap->to_us,
			.cause = view_of(gap->cause),
		},
	};
	item_append(w, s, gap->to_us != 0 ? gap->to_us : s->t0_us, &item);
}

void et_note_kept(struct et_writer *w, struct et_slot *s)
{
	const struct et_facts *f = &s->facts;
	const struct et_meta_item item = {
		.type = ET_META_FACT,
		.fact = {
			.time_us = f->kept_us,
			.party = 255,
			.key = view_of("kept"),
			.value = view_of(f->kept),
		},
	};
	et_segment_flush(w, s);
	for (uint32_t i = 0; i < f->gap_count; i++) {
		if (f->gaps[i].cause == et_gap_before) {
			write_gap(w, s, &f->gaps[i]);
		}
	}
	item_append(w, s, f->kept_us, &item);
}

/* A pause begins or ends while the tape is open: it stands between the packets where it happened,
 * for facts and packets come through one queue. */
static void write_pause(struct et_writer *w, struct et_slot *s, enum et_meta_mark what,
			int64_t at_us)
{
	const struct et_meta_item item = {
		.type = ET_META_MARK,
		.mark = {
			.what = (uint8_t)what,
			.from_us = at_us,
			.cause = view_of(s->facts.pause_cause),
		},
	};
	if (s->state == ET_SLOT_OPEN && s->tape != NULL) {
		et_segment_flush(w, s); /* what was said before it */
		item_append(w, s, at_us, &item);
	}
}

void et_note_pauses(struct et_writer *w, struct et_slot *s, const struct et_facts *before)
{
	for (uint32_t i = 0; i < s->facts.gap_count; i++) {
		const struct et_capture_gap *g = &s->facts.gaps[i];
		const struct et_capture_gap *old = et_facts_find_gap(before, g);
		if (g->cause != et_gap_paused) {
			continue;
		}
		if (old == NULL) {
			write_pause(w, s, ET_MARK_PAUSE, g->from_us);
		}
		if (g->to_us != 0 && (old == NULL || old->to_us == 0)) {
			write_pause(w, s, ET_MARK_RESUME, g->to_us);
		}
	}
}

/* ---- Keys ------------------------------------------------------------------------------------ */

/* Keep a KEYS plaintext for the segments to come; the oldest give way. */
static void keep_keys(struct et_slot *s, struct et_view plain)
{
	uint32_t at = s->keys_last;

	if (plain.size + 2 > ET_SECRET_SIZE_MAX) {
		return; /* it stands in this segment */
	}
	if (s->keys[at] != NULL && s->keys_size[at] + plain.size + 2 > ET_SECRET_SIZE_MAX) {
		at = (at + 1) % ET_SLOT_KEYS_MAX;
		s->keys[at] = et_secret_free(s->keys[at]);
		s->keys_last = at;
	}
	if (s->keys[at] == NULL) {
		s->keys[at] = et_secret_new(ET_SECRET_SIZE_MAX);
		s->keys_size[at] = 0;
	}
	if (s->keys[at] != NULL) {
		uint8_t *to = et_secret_edit(s->keys[at]) + s->keys_size[at];
		et_put16(to, (uint16_t)plain.size);
		memcpy(to + 2, plain.data, plain.size);
		s->keys_size[at] = (uint16_t)(s->keys_size[at] + plain.size + 2);
	}
}

static void write_keys(struct et_writer *w, struct et_slot *s)
{
	for (uint32_t n = 1; n <= ET_SLOT_KEYS_MAX; n++) {
		uint32_t i = (s->keys_last + n) % ET_SLOT_KEYS_MAX; /* oldest first */
		for (size_t at = 0; s->keys[i] != NULL && at < s->keys_size[i];) {
			const uint8_t *p = et_secret_bytes(s->keys[i]) + at;
			size_t size = et_get16(p);
			et_segment_append(w, s, ET_TAPE_KEYS, s->t0_us, p + 2, size);
			at += 2 + size;
		}
	}
}

void et_note_keys(struct et_writer *w, struct et_slot *s, struct et_view plain)
{
	keep_keys(s, plain);
	if (s->state == ET_SLOT_OPEN && s->tape != NULL) {
		et_segment_append(w, s, ET_TAPE_KEYS, w->now_us, plain.data, plain.size);
	}
}

/* ---- A segment begins ------------------------------------------------------------------------ */

void et_note_begin(struct et_writer *w, struct et_slot *s)
{
	write_parties(w, s);
	write_keys(w, s);
	for (uint32_t i = 0; i < s->facts.gap_count && s->segment > 1; i++) {
		write_gap(w, s, &s->facts.gaps[i]);
	}
	for (uint32_t i = 0; i < s->stream_count; i++) {
		et_note_stream(w, s, &s->streams[i]);
	}
}
