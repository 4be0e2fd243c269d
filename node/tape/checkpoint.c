#include "node/tape/checkpoint.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "node/rtp/rtp.h"
#include "node/tape/items_internal.h"
#include "node/tape/meta.h"

enum {
	VERSION = 1,
	DESCRIPTIONS_MAX = 32768, /* bytes */
	TYPES_MAX = 16,		  /* payload types of one stream whose clock is known */
	PAYLOAD_TYPES = 128,
	RATE_MAX = 1000000, /* Hz */
	NOISE = 13,	    /* RFC 3389 */
};

#define TICKS_MAX (INT64_C(1) << 40) /* 1500 hours of 192 kHz */

/* CLOCK
 *  0  stream           1
 *  1  flags            1    1 anchored before, 2 the first packet had the marker bit
 *  2  rate             4
 *  6  now              38   anchor_us 8, ticks 8, timestamp 4, sequence 2, floor_us 8, shift_us 8
 * 44  anchor sequence  2
 * 46  arrival_us       8
 * 54  length           4
 * 58  anchors          4
 * 62  first            22   arrival_us 8, anchor_us 8, timestamp 4, sequence 2
 * 84  [before          38]  as now */
enum {
	CLOCK_BEFORE = 1,
	CLOCK_MARKER = 2,
	CLOCK_SIZE = 84,
	POINT_SIZE = 38,
};

/* A payload type of a stream, and its clock. */
struct type {
	uint8_t payload_type;
	uint32_t rate; /* Hz; 0: nothing that plays */
};

struct stream {
	uint32_t number;
	uint32_t type_count;
	uint64_t seen[PAYLOAD_TYPES / 64]; /* a bit each */
	struct et_rtp_clock clock;
	struct type types[TYPES_MAX];
	size_t described_at; /* in descriptions: its last STREAM item; 0: none */
	size_t described_size;
};

struct et_tape_state {
	int64_t begin_us;
	struct stream *streams; /* owned */
	uint32_t stream_count;
	uint32_t stream_capacity;
	bool incomplete;
	uint32_t keys;		       /* KEYS records */
	struct et_buffer descriptions; /* META items, with the version in front */
	struct et_buffer pause;	       /* the item of a mark: a pause that goes on */
};

struct et_tape_state *et_tape_state_new(int64_t begin_us)
{
	struct et_tape_state *s = calloc(1, sizeof(*s));

	if (s != NULL) {
		s->begin_us = begin_us;
	}
	return s;
}

struct et_tape_state *et_tape_state_free(struct et_tape_state *s)
{
	if (s != NULL) {
		et_buffer_release(&s->descriptions);
		et_buffer_release(&s->pause);
		free(s->streams);
		free(s);
	}
	return NULL;
}

/* NULL: no memory, and the state is not complete any more. */
static struct stream *state_stream(struct et_tape_state *s, uint32_t number)
{
	for (uint32_t i = 0; i < s->stream_count; i++) {
		if (s->streams[i].number == number) {
			return &s->streams[i];
		}
	}
	if (s->stream_count == s->stream_capacity) {
		const uint32_t capacity = s->stream_capacity * 2 + 2;
		struct stream *streams = realloc(s->streams, capacity * sizeof(*streams));
		if (streams == NULL) {
			s->incomplete = true;
			return NULL;
		}
		s->streams = streams;
		s->stream_capacity = capacity;
	}
	struct stream *t = &s->streams[s->stream_count++];
	*t = (struct stream){ .number = number };
	return t;
}

/* ---- Descriptions ---- */

static bool is_named(struct et_view name, const char *text)
{
	return name.size == strlen(text) &&
	       strncasecmp((const char *)name.data, text, name.size) == 0;
}

static void stream_learn(struct stream *t, uint8_t payload_type, struct et_view name, uint32_t rate)
{
	uint32_t i = 0;

	while (i < t->type_count && t->types[i].payload_type != payload_type) {
		i++;
	}
	if (i == TYPES_MAX) {
		return;
	}
	t->type_count = i == t->type_count ? i + 1 : t->type_count;
	if (rate == 0) {
		(void)et_rtp_static_codec(payload_type, &rate);
	}
	if (is_named(name, "telephone-event") || is_named(name, "CN") || payload_type == NOISE ||
	    rate > RATE_MAX) {
		rate = 0;
	}
	t->types[i] = (struct type){ .payload_type = payload_type, .rate = rate };
}

/* Keep an item. False: it is there already, as the last word on that stream. */
static bool state_describe(struct et_tape_state *s, struct stream *t,
			   const struct et_meta_item *item)
{
	struct et_buffer *d = &s->descriptions;
	const bool of_stream = item->type == ET_META_STREAM;

	if (of_stream && t->described_size == item->raw.size &&
	    memcmp(d->data + t->described_at, item->raw.data, item->raw.size) == 0) {
		return false;
	}
	if (item->raw.size > DESCRIPTIONS_MAX || d->size > DESCRIPTIONS_MAX - item->raw.size) {
		s->incomplete = true;
		return true;
	}
	et_tape_item_begin(d, VERSION, item->type, item->raw.size);
	if (of_stream) {
		t->described_at = d->size;
		t->described_size = item->raw.size;
	}
	et_buffer_add(d, item->raw.data, item->raw.size);
	return true;
}

static void state_stream_item(struct et_tape_state *s, const struct et_meta_item *item)
{
	struct stream *t = state_stream(s, item->stream.stream);

	if (t != NULL && state_describe(s, t, item)) {
		t->clock = (struct et_rtp_clock){ 0 }; /* Another source under this number. */
		stream_learn(t, item->stream.payload_type, item->stream.codec,
			     item->stream.clock_rate);
	}
}

static void state_codec_item(struct et_tape_state *s, const struct et_meta_item *item)
{
	struct stream *t = state_stream(s, item->codec.stream);

	if (t != NULL) {
		(void)state_describe(s, t, item);
		stream_learn(t, item->codec.payload_type, item->codec.codec,
			     item->codec.clock_rate);
	}
}

static void state_mark_item(struct et_tape_state *s, const struct et_meta_item *item)
{
	if (item->mark.what == ET_MARK_RESUME) {
		s->pause.size = 0;
	}
	if (item->mark.what == ET_MARK_PAUSE && item->mark.to_us == 0) {
		s->pause.size = 0;
		et_buffer_add_varint(&s->pause, item->type);
		et_buffer_add_varint(&s->pause, item->raw.size);
		et_buffer_add(&s->pause, item->raw.data, item->raw.size);
	}
}

void et_tape_state_meta(struct et_tape_state *s, struct et_view plain)
{
	struct et_meta_reader r;
	struct et_meta_item item;

	int rc = et_meta_reader_init(&r, plain, NULL);
	while (rc == 0 && (rc = et_meta_reader_next(&r, &item, NULL)) == 1) {
		if (item.type == ET_META_STREAM) {
			state_stream_item(s, &item);
		} else if (item.type == ET_META_CODEC) {
			state_codec_item(s, &item);
		} else if (item.type == ET_META_MARK) {
			state_mark_item(s, &item);
		}
		rc = 0;
	}
	s->incomplete = s->incomplete || rc < 0;
}

void et_tape_state_keys(struct et_tape_state *s)
{
	s->keys++;
}

/* ---- Packets ---- */

static uint32_t stream_rate(const struct stream *t, uint8_t payload_type)
{
	uint32_t rate = 0;

	for (uint32_t i = 0; i < t->type_count; i++) {
		if (t->types[i].payload_type == payload_type) {
			return t->types[i].rate;
		}
	}
	if (payload_type != NOISE) {
		(void)et_rtp_static_codec(payload_type, &rate);
	}
	return rate;
}

void et_tape_state_packet(struct et_tape_state *s, const struct et_media_packet *p)
{
	struct et_rtp rtp;
	struct stream *t = p->rtcp ? NULL : state_stream(s, p->stream);

	if (t == NULL) {
		return;
	}
	t->seen[p->payload_type / 64] |= UINT64_C(1) << p->payload_type % 64;
	const uint32_t rate = stream_rate(t, p->payload_type);
	const bool broken =
		p->whole && et_rtp_parse(p->payload.data, (uint32_t)p->payload.size, &rtp) < 0;
	if (rate == 0 || broken || p->arrival_us > ET_RTP_CLOCK_ARRIVAL_MAX ||
	    p->arrival_us < -ET_RTP_CLOCK_ARRIVAL_MAX) {
		return;
	}
	const struct et_rtp_clock_packet packet = { .sequence = p->sequence,
						    .timestamp = p->timestamp,
						    .marker = p->marker,
						    .arrival_us = p->arrival_us };
	(void)et_rtp_clock_add(&t->clock, rate, &packet, s->begin_us, INT64_MIN);
}

void et_tape_state_media(struct et_tape_state *s, struct et_view plain)
{
	struct et_media_decoder d;
	struct et_media_packet p;

	int rc = et_media_decoder_init(&d, plain, NULL);
	while (rc >= 0 && (rc = et_media_decoder_next(&d, &p, NULL)) == 1) {
		et_tape_state_packet(s, &p);
	}
	s->incomplete = s->incomplete || rc < 0;
}

/* ---- Written ---- */

static void point_write(struct et_buffer *b, const struct et_rtp_clock_point *p)
{
	et_buffer_add64(b, (uint64_t)p->place.anchor_us);
	et_buffer_add64(b, (uint64_t)p->place.ticks);
	et_buffer_add32(b, p->timestamp);
	et_buffer_add16(b, p->sequence);
	et_buffer_add64(b, (uint64_t)p->floor_us);
	et_buffer_add64(b, (uint64_t)p->shift_us);
}

static void clock_write(struct et_buffer *b, const struct stream *t)
{
	const struct et_rtp_clock *c = &t->clock;
	const bool before = c->was_anchored_before;

	et_tape_item_begin(b, VERSION, ET_CHECKPOINT_CLOCK, CLOCK_SIZE + (before ? POINT_SIZE : 0));
	et_buffer_add8(b, (uint8_t)t->number);
	et_buffer_add8(
		b, (uint8_t)((before ? CLOCK_BEFORE : 0) | (c->first.marker ? CLOCK_MARKER : 0)));
	et_buffer_add32(b, c->rate);
	point_write(b, &c->now);
	et_buffer_add16(b, c->anchor_sequence);
	et_buffer_add64(b, (uint64_t)c->arrival_us);
	et_buffer_add32(b, c->length);
	et_buffer_add32(b, c->anchors < UINT32_MAX ? (uint32_t)c->anchors : UINT32_MAX);
	et_buffer_add64(b, (uint64_t)c->first.arrival_us);
	et_buffer_add64(b, (uint64_t)c->first_place.anchor_us);
	et_buffer_add32(b, c->first.timestamp);
	et_buffer_add16(b, c->first.sequence);
	if (before) {
		point_write(b, &c->before);
	}
}

static void types_write(struct et_buffer *b, const struct stream *t)
{
	const size_t count =
		(size_t)__builtin_popcountll(t->seen[0]) + (size_t)__builtin_popcountll(t->seen[1]);

	if (count == 0) {
		return;
	}
	et_tape_item_begin(b, VERSION, ET_CHECKPOINT_TYPES, 1 + count);
	et_buffer_add8(b, (uint8_t)t->number);
	for (uint32_t i = 0; i < PAYLOAD_TYPES; i++) {
		if ((t->seen[i / 64] >> i % 64 & 1) != 0) {
			et_buffer_add8(b, (uint8_t)i);
		}
	}
}

int et_tape_state_write(const struct et_tape_state *s, struct et_buffer *plain)
{
	const struct et_buffer *d = &s->descriptions;

	if (s->incomplete || d->failed || s->pause.failed) {
		return ET_ELIMIT;
	}
	const bool described = d->size > 0;
	const size_t size = (described ? d->size : 1) + s->pause.size;
	et_tape_item_begin(plain, VERSION, ET_CHECKPOINT_META, size);
	if (described) {
		et_buffer_add(plain, d->data, d->size);
	} else {
		et_buffer_add8(plain, VERSION);
	}
	if (s->pause.size > 0) {
		et_buffer_add(plain, s->pause.data, s->pause.size);
	}
	if (s->keys > 0) {
		et_tape_item_begin(plain, VERSION, ET_CHECKPOINT_KEYS, sizeof(s->keys));
		et_buffer_add32(plain, s->keys);
	}
	for (uint32_t i = 0; i < s->stream_count; i++) {
		types_write(plain, &s->streams[i]);
		if (s->streams[i].clock.anchored) {
			clock_write(plain, &s->streams[i]);
		}
	}
	return 0;
}

/* ---- Read ---- */

static struct et_rtp_clock_point point_read(struct et_reader *r)
{
	struct et_rtp_clock_point p;

	p.place.anchor_us = (int64_t)et_read64(r);
	p.place.ticks = (int64_t)et_read64(r);
	p.timestamp = et_read32(r);
	p.sequence = et_read16(r);
	p.floor_us = (int64_t)et_read64(r);
	p.shift_us = (int64_t)et_read64(r);
	return p;
}

static bool is_time(int64_t us)
{
	return us >= -ET_RTP_CLOCK_ARRIVAL_MAX && us <= ET_RTP_CLOCK_ARRIVAL_MAX;
}

static bool is_shift(int64_t us)
{
	return us >= ET_RTP_CLOCK_NEVER && us <= 0;
}

static bool point_is_sound(const struct et_rtp_clock_point *p)
{
	return is_shift(p->floor_us) && is_shift(p->shift_us) && is_time(p->place.anchor_us) &&
	       p->place.ticks >= -TICKS_MAX && p->place.ticks <= TICKS_MAX;
}

static bool clock_read(struct et_reader *r, struct et_checkpoint_item *ret)
{
	struct et_rtp_clock *c = &ret->clock;

	ret->stream = et_read8(r);
	const uint8_t flags = et_read8(r);
	*c = (struct et_rtp_clock){ .anchored = true,
				    .was_anchored_before = (flags & CLOCK_BEFORE) != 0 };
	c->rate = et_read32(r);
	c->now = point_read(r);
	c->anchor_sequence = et_read16(r);
	c->arrival_us = (int64_t)et_read64(r);
	c->length = et_read32(r);
	c->anchors = et_read32(r);
	c->first.marker = (flags & CLOCK_MARKER) != 0;
	c->first.arrival_us = (int64_t)et_read64(r);
	c->first_place.anchor_us = (int64_t)et_read64(r);
	c->first.timestamp = et_read32(r);
	c->first.sequence = et_read16(r);
	if (c->was_anchored_before) {
		c->before = point_read(r);
	}
	return !r->failed && ret->stream < ET_MEDIA_STREAMS_MAX && c->rate > 0 &&
	       c->rate <= RATE_MAX && point_is_sound(&c->now) && point_is_sound(&c->before) &&
	       is_time(c->arrival_us) && is_time(c->first.arrival_us) &&
	       is_time(c->first_place.anchor_us);
}

static bool types_read(struct et_reader *r, struct et_checkpoint_item *ret)
{
	ret->stream = et_read8(r);
	if (r->failed || ret->stream >= ET_MEDIA_STREAMS_MAX) {
		return false;
	}
	ret->types.size = et_reader_left(r);
	ret->types.data = et_read_bytes(r, ret->types.size);
	for (size_t i = 0; i < ret->types.size; i++) {
		if (ret->types.data[i] >= PAYLOAD_TYPES) {
			return false;
		}
	}
	return true;
}

int et_checkpoint_reader_init(struct et_checkpoint_reader *r, struct et_view plain,
			      struct et_error *reterr)
{
	return et_tape_items_init(&r->reader, plain, VERSION, "checkpoint", reterr);
}

int et_checkpoint_reader_next(struct et_checkpoint_reader *r, struct et_checkpoint_item *ret,
			      struct et_error *reterr)
{
	*ret = (struct et_checkpoint_item){ 0 };
	int rc = et_tape_items_next(&r->reader, "checkpoint", &ret->type, &ret->raw, reterr);
	if (rc <= 0) {
		return rc;
	}
	struct et_reader value = et_reader_of(ret->raw.data, ret->raw.size);
	if (ret->type == ET_CHECKPOINT_KEYS) {
		ret->keys = et_read32(&value);
	}
	if (value.failed || (ret->type == ET_CHECKPOINT_CLOCK && !clock_read(&value, ret)) ||
	    (ret->type == ET_CHECKPOINT_TYPES && !types_read(&value, ret))) {
		r->reader.failed = true;
		return et_fail(reterr, ET_EMALFORMED, "item %u in a checkpoint record", ret->type);
	}
	return 1;
}
