#include "node/tape/media.h"

#include <string.h>

enum {
	MEDIA_VERSION = 1,
	MEDIA_HEAD = 9, /* version, base arrival */

	/* Flags of a packet. */
	FLAG_MARKER = 0x01,
	FLAG_WHOLE = 0x02,    /* the payload is the whole RTP packet */
	FLAG_RTCP = 0x04,     /* the payload is a whole RTCP packet: no RTP fields */
	FLAG_ABSOLUTE = 0x08, /* payload type, sequence 2, timestamp 4 follow */
	FLAG_TYPE = 0x10,     /* another payload type 1 follows */
	FLAG_SEQUENCE =
		0x20,	  /* the sequence number is not the next: zigzag of the difference to it */
	FLAG_STEP = 0x40, /* the timestamp's step is not the last one: zigzag of the step follows */
	FLAG_SIZE = 0x80, /* the size is not the last one: it follows */
};

/* Small numbers of either sign to small numbers. */
static uint64_t zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}

static int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1 ^ (0 - (v & 1)));
}

void et_media_encoder_reset(struct et_media_encoder *e)
{
	e->plain.size = 0;
	e->plain.failed = false;
	e->packets = 0;
	e->first_us = 0;
	e->last_us = 0;
	memset(e->streams, 0, sizeof(e->streams));
}

void et_media_encoder_release(struct et_media_encoder *e)
{
	if (e->plain.data != NULL) {
		explicit_bzero(e->plain.data, e->plain.capacity);
	}
	et_buffer_release(&e->plain);
	et_media_encoder_reset(e);
}

/* What of the packet differs from what its stream leads to expect. */
static unsigned packet_flags(const struct et_media_packet *p, const struct et_media_stream_state *s)
{
	unsigned flags = (p->marker ? FLAG_MARKER : 0U) | (p->whole ? FLAG_WHOLE : 0U);

	if (p->rtcp) {
		return FLAG_RTCP | FLAG_SIZE;
	}
	if (!s->known) {
		return flags | FLAG_ABSOLUTE | FLAG_SIZE;
	}
	if (p->payload_type != s->payload_type) {
		flags |= FLAG_TYPE;
	}
	if (p->sequence != (uint16_t)(s->sequence + 1)) {
		flags |= FLAG_SEQUENCE;
	}
	if (p->timestamp - s->timestamp != s->step) {
		flags |= FLAG_STEP;
	}
	if (p->payload.size != s->size) {
		flags |= FLAG_SIZE;
	}
	return flags;
}

static uint8_t *varint_put(uint8_t *at, uint64_t v)
{
	for (; v >= 0x80; v >>= 7) {
		*at++ = (uint8_t)(v | 0x80);
	}
	*at++ = (uint8_t)v;
	return at;
}

/* Behind the arrival. Returns where the next packet begins. */
static uint8_t *packet_put(uint8_t *at, const struct et_media_packet *p, unsigned flags,
			   const struct et_media_stream_state *s)
{
	if ((flags & FLAG_ABSOLUTE) != 0) {
		at[0] = p->payload_type;
		et_put16(at + 1, p->sequence);
		et_put32(at + 3, p->timestamp);
		at += 7;
	}
	if ((flags & FLAG_TYPE) != 0) {
		*at++ = p->payload_type;
	}
	if ((flags & FLAG_SEQUENCE) != 0) {
		int16_t difference = (int16_t)(uint16_t)(p->sequence - s->sequence - 1);
		at = varint_put(at, zigzag(difference));
	}
	if ((flags & FLAG_STEP) != 0) {
		int32_t step = (int32_t)(p->timestamp - s->timestamp);
		at = varint_put(at, zigzag(step));
	}
	if ((flags & FLAG_SIZE) != 0) {
		at = varint_put(at, p->payload.size);
	}
	if (p->payload.size > 0) {
		memcpy(at, p->payload.data, p->payload.size);
	}
	return at + p->payload.size;
}

static void state_follow(struct et_media_stream_state *s, const struct et_media_packet *p,
			 unsigned flags)
{
	if (p->rtcp) {
		return;
	}
	if ((flags & (FLAG_ABSOLUTE | FLAG_STEP)) != 0) {
		s->step = s->known ? p->timestamp - s->timestamp : 0;
	}
	s->timestamp = p->timestamp;
	s->sequence = p->sequence;
	s->payload_type = p->payload_type;
	s->size = (uint32_t)p->payload.size;
	s->known = true;
}

int et_media_encoder_add(struct et_media_encoder *e, const struct et_media_packet *packet,
			 size_t size_max)
{
	const size_t before = e->plain.size;
	const size_t head = before == 0 ? MEDIA_HEAD : 0;

	if (packet->stream >= ET_MEDIA_STREAMS_MAX || packet->payload.size > ET_MEDIA_PACKET_MAX ||
	    packet->payload_type > 127) {
		return -EINVAL;
	}
	if (before + head + ET_MEDIA_PACKET_OVERHEAD + packet->payload.size > size_max) {
		return ET_ELIMIT;
	}
	/* The room is asked for once, and filled without a look at it for each byte. */
	uint8_t *at = et_buffer_reserve(&e->plain,
					head + ET_MEDIA_PACKET_OVERHEAD + packet->payload.size);
	if (at == NULL) {
		e->plain.failed = false;
		return -ENOMEM;
	}
	if (before == 0) {
		at[0] = MEDIA_VERSION;
		et_put64(at + 1, (uint64_t)packet->arrival_us);
		at += MEDIA_HEAD;
		e->first_us = packet->arrival_us;
		e->last_us = packet->arrival_us;
	}
	struct et_media_stream_state *s = &e->streams[packet->stream];
	const unsigned flags = packet_flags(packet, s);
	/* Wraps like the decoder's sum: two clocks may be further apart than an int64 holds. */
	const int64_t delta = (int64_t)((uint64_t)packet->arrival_us - (uint64_t)e->last_us);
	at = varint_put(at, packet->stream);
	*at++ = (uint8_t)flags;
	at = varint_put(at, zigzag(delta));
	at = packet_put(at, packet, flags, s);
	e->plain.size = (size_t)(at - e->plain.data);
	et_assert(e->plain.size <= before + head + ET_MEDIA_PACKET_OVERHEAD + packet->payload.size);
	state_follow(s, packet, flags);
	e->last_us = packet->arrival_us;
	e->packets++;
	return 0;
}

int et_media_decoder_init(struct et_media_decoder *d, struct et_view plain, struct et_error *reterr)
{
	*d = (struct et_media_decoder){ .reader = et_reader_of(plain.data, plain.size) };
	uint8_t version = et_read8(&d->reader);
	d->arrival_us = (int64_t)et_read64(&d->reader);
	if (!d->reader.failed && version != MEDIA_VERSION) {
		return et_fail(reterr, ET_EVERSION, "media of version %u", version);
	}
	return d->reader.failed ? et_fail(reterr, ET_EMALFORMED, "media of %zu bytes", plain.size)
				: 0;
}

/* The RTP fields behind the arrival. false: the flags make no sense. */
static bool packet_get(struct et_reader *r, unsigned flags, const struct et_media_stream_state *s,
		       struct et_media_packet *p)
{
	const unsigned relative = FLAG_TYPE | FLAG_SEQUENCE | FLAG_STEP;

	if ((flags & FLAG_RTCP) != 0) {
		return flags == (FLAG_RTCP | FLAG_SIZE);
	}
	if ((flags & FLAG_ABSOLUTE) != 0) {
		p->payload_type = et_read8(r);
		p->sequence = et_read16(r);
		p->timestamp = et_read32(r);
		return (flags & relative) == 0 && (flags & FLAG_SIZE) != 0 && !s->known &&
		       p->payload_type <= 127;
	}
	if (!s->known) {
		return false;
	}
	p->payload_type = (flags & FLAG_TYPE) != 0 ? et_read8(r) : s->payload_type;
	p->sequence = (uint16_t)(s->sequence + 1);
	if ((flags & FLAG_SEQUENCE) != 0) {
		int64_t difference = unzigzag(et_read_varint(r));
		if (difference < INT16_MIN || difference > INT16_MAX || difference == 0) {
			return false;
		}
		p->sequence = (uint16_t)(p->sequence + difference);
	}
	p->timestamp = s->timestamp + s->step;
	if ((flags & FLAG_STEP) != 0) {
		int64_t step = unzigzag(et_read_varint(r));
		if (step < INT32_MIN || step > INT32_MAX) {
			return false;
		}
		p->timestamp = s->timestamp + (uint32_t)step;
	}
	return p->payload_type <= 127;
}

int et_media_decoder_next(struct et_media_decoder *d, struct et_media_packet *ret,
			  struct et_error *reterr)
{
	struct et_reader *r = &d->reader;

	if (!r->failed && et_reader_left(r) == 0) {
		return 0;
	}
	const uint64_t stream = et_read_varint(r);
	const unsigned flags = et_read8(r);
	const int64_t delta = unzigzag(et_read_varint(r));
	if (r->failed || stream >= ET_MEDIA_STREAMS_MAX) {
		r->failed = true;
		return et_fail(reterr, ET_EMALFORMED, "packet in a media record");
	}
	struct et_media_stream_state *s = &d->streams[stream];
	struct et_media_packet p = {
		.stream = (uint32_t)stream,
		.marker = (flags & FLAG_MARKER) != 0,
		.whole = (flags & FLAG_WHOLE) != 0,
		.rtcp = (flags & FLAG_RTCP) != 0,
		.arrival_us = (int64_t)((uint64_t)d->arrival_us + (uint64_t)delta),
	};
	bool sound = packet_get(r, flags, s, &p);
	const uint64_t size = (flags & FLAG_SIZE) != 0 ? et_read_varint(r) : s->size;
	p.payload.data = size <= ET_MEDIA_PACKET_MAX ? et_read_bytes(r, (size_t)size) : NULL;
	p.payload.size = (size_t)size;
	if (!sound || r->failed || p.payload.data == NULL) {
		r->failed = true;
		return et_fail(reterr, ET_EMALFORMED, "packet in a media record");
	}
	state_follow(s, &p, flags);
	d->arrival_us = p.arrival_us;
	*ret = p;
	return 1;
}
