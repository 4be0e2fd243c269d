/* FLAC (RFC 9639): blocks of metadata, then frames. A frame does not say how long it is: it ends
 * where its check sum fits and the head of the next one stands, with a check sum of its own, or
 * where the file ends. */
#include <stdio.h>
#include <string.h>

#include "node/medium/medium_internal.h"

enum {
	MARK_BYTES = 4,
	BLOCK_HEAD = 4,
	INFO_BYTES = 34,
	LAST_BLOCK = 0x80,
	HEAD_MIN = 6, /* bytes of a frame's head */
	HEAD_MAX = 16,
	FRAME_MIN = 10,	    /* bytes: head, a subframe, check sum */
	GAP_MAX_S = 3600,   /* more than that is no gap, but a wrong number */
	BLOCK_MAX = 16384,  /* samples that a decoder takes (node/audio/codec.h) */
	FAILURES_MAX = 256, /* heads behind which one looks in vain, before more than that is passed
			       over */
};

/* ---- Heads ---- */

/* Section 8.2. */
static bool info_read(const uint8_t *p, struct flac_info *ret)
{
	ret->block_min = et_get16(p);
	ret->block_max = et_get16(p + 2);
	ret->rate = (uint32_t)p[10] << 12 | (uint32_t)p[11] << 4 | p[12] >> 4;
	ret->channels = (p[12] >> 1 & 7) + 1U;
	ret->bits = ((p[12] & 1U) << 4 | p[13] >> 4) + 1U;
	ret->samples = (uint64_t)(p[13] & 15) << 32 | et_get32(p + 14);
	return ret->block_max >= 16 && ret->rate > 0;
}

static bool bits_are_played(uint32_t bits)
{
	return bits == 8 || bits == 12 || bits == 16 || bits == 20 || bits == 24 || bits == 32;
}

int flac_know(struct et_view begin, struct et_medium_about *ret, struct flac_info *ret_info)
{
	*ret = (struct et_medium_about){ .kind = ET_MEDIUM_OTHER, .format = "FLAC" };
	if (begin.size < MARK_BYTES + BLOCK_HEAD + INFO_BYTES) {
		return 0;
	}
	const uint8_t *block = begin.data + MARK_BYTES;
	if ((et_get32(block) & 0x7FFFFFFF) != INFO_BYTES ||
	    !info_read(block + BLOCK_HEAD, ret_info)) {
		return -1;
	}
	const struct flac_info *i = ret_info;
	if (i->channels > 2 || !bits_are_played(i->bits) || !medium_rate_is_played(i->rate) ||
	    i->block_max > BLOCK_MAX) {
		(void)snprintf(ret->format, sizeof(ret->format), "FLAC %u Hz %u bit %u ch", i->rate,
			       i->bits, i->channels);
		return -1;
	}
	*ret = (struct et_medium_about){
		.kind = ET_MEDIUM_FLAC,
		.format = "FLAC",
		.codec = "FLAC",
		.payload_type = 105,
		.clock_rate = i->rate,
		.channels = 1,
		.voices = (uint8_t)i->channels,
		.sample_bytes = 1,
	};
	return 1;
}

/* x^8 + x^2 + x + 1, and x^16 + x^15 + x^2 + 1. */
static uint8_t crc8(const uint8_t *p, size_t size)
{
	uint8_t crc = 0;

	for (size_t i = 0; i < size; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++) {
			crc = (uint8_t)(crc << 1 ^ ((crc & 0x80) != 0 ? 0x07 : 0));
		}
	}
	return crc;
}

/* Once a file, which may have a billion blocks of metadata. */
static void crc16_prepare(uint16_t table[256])
{
	if (table[1] != 0) {
		return;
	}
	for (unsigned i = 0; i < 256; i++) {
		unsigned c = i << 8;
		for (int bit = 0; bit < 8; bit++) {
			c = c << 1 ^ ((c & 0x8000) != 0 ? 0x8005 : 0);
		}
		table[i] = (uint16_t)c;
	}
}

struct head {
	uint32_t samples; /* of each channel */
	uint64_t place;	  /* samples before it, as it says */
};

/* Bytes of the number of a frame: coded as UTF-8 codes a character, of up to 36 bits; 0: none. */
static size_t number_size(uint8_t first)
{
	if (first < 0x80) {
		return 1;
	}
	const int ones = __builtin_clz(~((unsigned)first << 24));
	return ones >= 2 && ones <= 7 ? (size_t)ones : 0;
}

static uint64_t number_get(const uint8_t *p, size_t size)
{
	uint64_t number = size == 1 ? p[0] : p[0] & (0x7FU >> size);

	for (size_t i = 1; i < size; i++) {
		number = number << 6 | (p[i] & 0x3F);
	}
	return number;
}

/* The head of a frame of this file (section 9.1). 1 and *ret; 0: none; -1: too few bytes: a whole
 * frame may be shorter than the longest head. */
static int head_read(const struct flac_info *info, struct et_view v, struct head *ret)
{
	static const uint32_t rates[] = { 0,	 88200, 176400, 192000, 8000,  16000,
					  22050, 24000, 32000,	44100,	48000, 96000 };
	static const uint8_t bits[] = { 0, 8, 12, 0, 16, 20, 24, 32 };
	const uint8_t *p = v.data;
	uint8_t room[HEAD_MAX] = { 0 };

	if (v.size < 2) {
		return v.size == 0 || p[0] == 0xFF ? -1 : 0;
	}
	if (p[0] != 0xFF || (p[1] & 0xFE) != 0xF8) {
		return 0;
	}
	if (v.size < HEAD_MIN) {
		return -1;
	}
	if (v.size < HEAD_MAX) {
		memcpy(room, p, v.size);
		p = room;
	}
	const unsigned block = p[2] >> 4;
	const unsigned rate = p[2] & 15;
	size_t at = 4 + number_size(p[4]);
	uint32_t hz = rate < ET_ARRAY_SIZE(rates) ? rates[rate] : 0;
	uint32_t samples = block == 1  ? 192
			   : block < 6 ? 576U << (block >= 2 ? block - 2 : 0)
				       : 256U << (block >= 8 ? block - 8 : 0);

	if (at == 4 || block == 0 || (p[3] & 1) != 0) {
		return 0;
	}
	if (block == 6 || block == 7) {
		samples = (block == 6 ? p[at] : et_get16(p + at)) + 1U;
		at += block - 5;
	}
	if (rate >= 12 && rate < 15) {
		hz = rate == 12 ? p[at] * 1000U : et_get16(p + at) * (rate == 14 ? 10U : 1U);
		at += rate == 12 ? 1 : 2;
	}
	if (at >= v.size) {
		return -1;
	}
	const unsigned channels = p[3] >> 4;
	ret->samples = samples;
	ret->place = number_get(p + 4, number_size(p[4])) * ((p[1] & 1) != 0 ? 1 : info->block_max);
	return hz == info->rate && bits[p[3] >> 1 & 7] == info->bits &&
	       samples <= info->block_max && channels <= 10 &&
	       (channels >= 8 ? 2 : channels + 1) == info->channels && crc8(p, at) == p[at];
}

/* ---- Metadata ---- */

/* A block of it: its head says how long it is. */
static ssize_t block_take(struct et_medium *m, struct et_view held, bool last)
{
	if (held.size < BLOCK_HEAD) {
		int rc = last ? medium_bytes(m, held.data, held.size) : 0;
		return rc < 0 ? rc : last ? (ssize_t)held.size : 0;
	}
	if ((held.data[0] & 0x7F) == 0x7F) { /* No block: frames, perhaps. */
		m->flac.in_sound = true;
		return flac_take(m, held, last);
	}
	m->flac.in_sound = (held.data[0] & LAST_BLOCK) != 0;
	m->skip = BLOCK_HEAD + (et_get32(held.data) & 0xFFFFFF);
	const size_t n = held.size < m->skip ? held.size : (size_t)m->skip;
	m->skip -= n;
	int rc = medium_bytes(m, held.data, n);
	return rc < 0 ? rc : (ssize_t)n;
}

/* ---- Frames ---- */

static void frame_begin(struct flac_state *f, bool in_step)
{
	f->in_step = in_step;
	f->scanned = 0;
	f->end_maybe = 0;
	f->crc = 0;
}

/* Does the head of the very next frame stand within what was taken for one? A check sum fits by
 * chance, too. */
static bool holds_next(const struct flac_info *info, struct et_view frame)
{
	struct head this;
	struct head next;

	if (head_read(info, frame, &this) != 1) {
		return false;
	}
	for (size_t at = FRAME_MIN; at < frame.size; at++) {
		const struct et_view rest = { frame.data + at, frame.size - at };
		if (head_read(info, rest, &next) == 1 && next.place == this.place + this.samples) {
			return true;
		}
	}
	return false;
}

/* Where the frame ends that begins `frame`: *ret, 0: nowhere. False: more bytes have to come. */
static bool frame_end(struct flac_state *f, struct et_view frame, bool last, size_t *ret)
{
	const size_t most = frame.size < ET_MEDIUM_PACKET_MAX ? frame.size : ET_MEDIUM_PACKET_MAX;
	struct head next;

	while (f->scanned < most) {
		if (f->scanned >= FRAME_MIN && f->crc == 0) {
			const size_t at = f->scanned;
			int rc = head_read(&f->info,
					   (struct et_view){ frame.data + at, frame.size - at },
					   &next);
			if (rc < 0 && !last) {
				return false;
			}
			if (rc == 1) {
				*ret = at;
				return true;
			}
			f->end_maybe = at;
		}
		f->crc = (uint16_t)(f->crc << 8 ^
				    f->crc_table[f->crc >> 8 ^ frame.data[f->scanned++]]);
	}
	if (frame.size <= ET_MEDIUM_PACKET_MAX && !last) {
		return false;
	}
	*ret = f->scanned >= FRAME_MIN && f->crc == 0 ? f->scanned : f->end_maybe;
	if (holds_next(&f->info, (struct et_view){ frame.data, *ret })) {
		*ret = 0;
	}
	return true;
}

static int frame_give(struct et_medium *m, const uint8_t *data, size_t size, const struct head *h)
{
	struct flac_state *f = &m->flac;

	if (!f->has_base) {
		f->has_base = true;
		f->base = h->place;
	}
	const uint64_t place = h->place - f->base;
	if (place > m->played && place - m->played <= (uint64_t)GAP_MAX_S * f->info.rate) {
		f->missing += place - m->played; /* Silence, where frames are missing. */
		m->played = place;
	}
	const struct et_medium_packet p = {
		.sequence = m->sequence++,
		.timestamp = (uint32_t)m->played,
		.offset_us = et_medium_duration_us(m),
		.payload = { data, size },
	};

	m->played += h->samples;
	return m->sink.packet(m->sink.arg, &p);
}

/* Bytes that are no frame, up to where a head stands; none, if more have to come to know. */
static ssize_t between(struct et_medium *m, struct et_view held, bool last)
{
	struct head head;
	size_t at = 0;
	int rc = 0;

	while (at < held.size) {
		rc = head_read(&m->flac.info, (struct et_view){ held.data + at, held.size - at },
			       &head);
		if (rc == 1 || (rc < 0 && !last)) {
			break;
		}
		at++;
	}
	if (rc == 1) {
		frame_begin(&m->flac, true);
	}
	m->beside += at;
	rc = medium_bytes(m, held.data, at);
	return rc < 0 ? rc : (ssize_t)at;
}

ssize_t flac_take(struct et_medium *m, struct et_view held, bool last)
{
	struct flac_state *f = &m->flac;
	struct head head;
	struct head next;
	size_t end = 0;

	if (!f->in_sound) {
		crc16_prepare(f->crc_table);
		return block_take(m, held, last);
	}
	if (!f->in_step) {
		const ssize_t n = between(m, held, last);
		if (n != 0 || !f->in_step) {
			return n;
		}
	}
	if (!frame_end(f, held, last, &end)) {
		return 0;
	}
	if (end == 0 || head_read(&f->info, held, &head) != 1) { /* It looked like one. */
		const size_t n = f->failures++ < FAILURES_MAX ? 1 : f->scanned;
		frame_begin(f, false);
		m->beside += n;
		int rc = medium_bytes(m, held.data, n);
		return rc < 0 ? rc : (ssize_t)n;
	}
	/* It goes on with a frame, or that is found anew. */
	frame_begin(f, head_read(&f->info, (struct et_view){ held.data + end, held.size - end },
				 &next) == 1);
	int rc = frame_give(m, held.data, end, &head);
	return rc < 0 ? rc : (ssize_t)end;
}
