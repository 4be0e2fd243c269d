/* MPEG audio layer III: frames (ISO/IEC 11172-3, 2.4.1.3; 13818-3; MPEG 2.5), ID3v2 tags. */
#include <string.h>

#include "node/medium/medium_internal.h"

enum { LAYER_III = 1, MPEG_1 = 3, MPEG_2 = 2, MPEG_25 = 0 };

bool mp3_frame_read(const uint8_t h[MP3_HEAD], struct mp3_frame *ret)
{
	static const uint16_t rates_of_1[16] = { 0,   32,  40,	48,  56,  64,  80,  96,
						 112, 128, 160, 192, 224, 256, 320, 0 };
	static const uint16_t rates_of_2[16] = { 0,  8,	 16, 24,  32,  40,  48,	 56,
						 64, 80, 96, 112, 128, 144, 160, 0 };
	static const uint32_t rates[3] = { 44100, 48000, 32000 };
	const unsigned version = h[1] >> 3 & 3;
	const unsigned rate = h[2] >> 2 & 3;

	if (h[0] != 0xFF || (h[1] & 0xE0) != 0xE0 || version == 1 || (h[1] >> 1 & 3) != LAYER_III ||
	    rate == 3 || (h[3] & 3) == 2) {
		return false;
	}
	const unsigned kbits = (version == MPEG_1 ? rates_of_1 : rates_of_2)[h[2] >> 4];
	if (kbits == 0) { /* free format, or forbidden */
		return false;
	}
	ret->rate = rates[rate] >> (version == MPEG_1 ? 0 : version == MPEG_2 ? 1 : 2);
	ret->samples = version == MPEG_1 ? 1152 : 576;
	ret->size = ret->samples / 8 * kbits * 1000 / ret->rate + (h[2] >> 1 & 1);
	ret->channels = h[3] >> 6 == 3 ? 1 : 2;
	ret->key = version << 8 | rate;
	return true;
}

uint64_t mp3_tag_size(const uint8_t h[MP3_TAG_HEAD])
{
	if (memcmp(h, "ID3", 3) != 0 || ((h[6] | h[7] | h[8] | h[9]) & 0x80) != 0) {
		return 0;
	}
	const uint64_t size =
		(uint64_t)h[6] << 21 | (uint64_t)h[7] << 14 | (uint64_t)h[8] << 7 | h[9];
	return MP3_TAG_HEAD + size + ((h[5] & 0x10) != 0 ? MP3_TAG_HEAD : 0); /* a footer */
}

/* Does a frame of the stream begin here? 1, 0; -1: too few bytes to know. */
static int frame_at(const struct et_medium *m, struct et_view held, size_t at,
		    struct mp3_frame *ret)
{
	if (held.size - at < MP3_HEAD) {
		return -1;
	}
	return mp3_frame_read(held.data + at, ret) && ret->key == m->first.key;
}

/* ... and one behind it? Between frames a header alone says too little. */
static int frames_at(const struct et_medium *m, struct et_view held, size_t at, bool last)
{
	struct mp3_frame frame;
	struct mp3_frame next;

	int rc = frame_at(m, held, at, &frame);
	if (rc != 1) {
		return rc;
	}
	if (held.size - at <= frame.size) {
		return !last ? -1 : held.size - at == frame.size;
	}
	rc = frame_at(m, held, at + frame.size, &next);
	return rc >= 0 || !last ? rc : 0;
}

static int frame_give(struct et_medium *m, const uint8_t *data, const struct mp3_frame *frame)
{
	const struct et_medium_packet p = {
		.sequence = m->sequence++,
		.timestamp = (uint32_t)m->played,
		.offset_us = et_medium_duration_us(m),
		.payload = { data, frame->size },
	};

	m->played += frame->samples;
	return m->sink.packet(m->sink.arg, &p);
}

/* Bytes between frames, up to where frames begin again; *ret_found: there. */
static size_t between(struct et_medium *m, struct et_view held, size_t at, bool last,
		      bool *ret_found)
{
	const size_t begin = at;
	int rc = 0;

	while (at < held.size && (rc = frames_at(m, held, at, last)) == 0) {
		at++;
	}
	if (last && rc < 0) {
		at = held.size;
	}
	*ret_found = rc == 1;
	m->beside += at - begin;
	return at;
}

ssize_t mp3_take(struct et_medium *m, struct et_view held, bool last)
{
	struct mp3_frame frame;
	size_t at = 0;
	int rc = 0;

	while (rc == 0 && at < held.size) {
		const int here = m->in_step ? frame_at(m, held, at, &frame) : 0;
		if (here == 1 && held.size - at >= frame.size) {
			rc = frame_give(m, held.data + at, &frame);
			at += frame.size;
			continue;
		}
		if ((here == -1 || here == 1) && !last) {
			break; /* more of it comes */
		}
		const size_t end = between(m, held, at, last, &m->in_step);
		rc = medium_bytes(m, held.data + at, end - at);
		if (end == at && !m->in_step) {
			break;
		}
		at = end;
	}
	return rc < 0 ? rc : (ssize_t)at;
}
