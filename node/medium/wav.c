/* RIFF WAVE: "Multimedia Programming Interface and Data Specifications 1.0" (1991), chapter 2, and
 * WAVEFORMATEXTENSIBLE. Little-endian. */
#include <stdio.h>
#include <string.h>

#include "node/medium/medium_internal.h"

enum {
	RIFF_HEAD = 12,
	CHUNK_HEAD = 8,
	FORMAT_BYTES = 16,
	EXTENSIBLE_BYTES = 40,
	TAG_PCM = 1,
	TAG_ALAW = 6,
	TAG_ULAW = 7,
	TAG_EXTENSIBLE = 0xFFFE,
	RATE_11025 = 11025,
	PACKETS_A_SECOND = 50,
	PACKET_11025 = 441, /* frames: as many samples of 16 kHz as a whole number */
};

static uint32_t get16_little(const uint8_t *p)
{
	return (uint32_t)p[1] << 8 | p[0];
}

static uint32_t get32_little(const uint8_t *p)
{
	return get16_little(p + 2) << 16 | get16_little(p);
}

/* ---- The head ---- */

/* The 14 bytes behind the tag in a SubFormat (KSDATAFORMAT_SUBTYPE_*). */
static const uint8_t subtype[14] = { 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x80,
				     0x00, 0x00, 0xAA, 0x00, 0x38, 0x9B, 0x71 };

static uint32_t format_tag(const uint8_t *f, size_t size)
{
	const uint32_t tag = get16_little(f);

	return tag == TAG_EXTENSIBLE && size >= EXTENSIBLE_BYTES &&
			       memcmp(f + 26, subtype, sizeof(subtype)) == 0
		       ? get16_little(f + 24)
		       : tag;
}

static bool rate_is_played(const char *codec, uint32_t rate)
{
	static const uint32_t rates[] = { 8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000 };
	const bool is_linear = codec[0] == 'L';

	for (size_t i = 0; i < ET_ARRAY_SIZE(rates); i++) {
		if (rates[i] == rate) {
			return is_linear || rate == 8000;
		}
	}
	return false;
}

static const struct {
	uint32_t tag;
	uint32_t bits;
	const char *codec;
	uint8_t payload_type; /* RFC 3551, or a dynamic one */
} codecs[] = {
	{ TAG_PCM, 16, "L16", 96 },
	{ TAG_PCM, 8, "L8", 97 },
	{ TAG_ALAW, 8, "PCMA", 8 },
	{ TAG_ULAW, 8, "PCMU", 0 },
};

/* The format chunk. false: nothing that is played here. */
static bool format_read(const uint8_t *f, size_t size, struct wav_head *ret)
{
	const uint32_t tag = format_tag(f, size);
	const uint32_t channels = get16_little(f + 2);
	const uint32_t rate = get32_little(f + 4);
	const uint32_t frame_bytes = get16_little(f + 12);
	const uint32_t bits = get16_little(f + 14);
	struct et_medium_about *a = &ret->about;

	for (size_t i = 0; i < ET_ARRAY_SIZE(codecs); i++) {
		if (codecs[i].tag == tag && codecs[i].bits == bits &&
		    (channels == 1 || channels == 2) && frame_bytes == channels * bits / 8 &&
		    rate_is_played(codecs[i].codec, rate)) {
			a->kind = ET_MEDIUM_WAV;
			(void)snprintf(a->format, sizeof(a->format), "WAV");
			(void)snprintf(a->codec, sizeof(a->codec), "%s", codecs[i].codec);
			a->payload_type = codecs[i].payload_type;
			a->clock_rate = rate;
			a->channels = (uint8_t)channels;
			a->sample_bytes = (uint8_t)(bits / 8);
			a->swapped = bits == 16;
			ret->frame_bytes = frame_bytes;
			return true;
		}
	}
	(void)snprintf(a->format, sizeof(a->format), "WAV codec %u, %u bit", tag, bits);
	return false;
}

static void data_note(const uint8_t *begin, uint32_t size, struct wav_head *ret)
{
	const uint32_t riff_bytes = get32_little(begin + 4);
	const bool is_open =
		size == UINT32_MAX ||
		(size == 0 && (riff_bytes == 0 || riff_bytes + CHUNK_HEAD == ret->head_bytes));

	ret->to_the_end = is_open;
	ret->data_bytes = is_open ? UINT64_MAX : size;
}

int wav_head_read(struct et_view begin, struct wav_head *ret)
{
	const uint8_t *b = begin.data;
	uint64_t at = RIFF_HEAD;
	bool has_format = false;

	*ret = (struct wav_head){ .about = { .kind = ET_MEDIUM_OTHER, .format = "WAV" } };
	while (at + CHUNK_HEAD <= begin.size) {
		const uint32_t size = get32_little(b + at + 4);
		const uint64_t body = at + CHUNK_HEAD;
		if (memcmp(b + at, "data", 4) == 0) {
			ret->head_bytes = (size_t)body;
			data_note(b, size, ret);
			return has_format ? 1 : -1;
		}
		if (memcmp(b + at, "fmt ", 4) == 0) {
			if (size < FORMAT_BYTES || size > 4096) {
				return -1;
			}
			if (body + size > begin.size) {
				return 0;
			}
			if (!format_read(b + body, size, ret)) {
				return -1;
			}
			has_format = true;
		}
		at = body + size + (size & 1); /* chunks begin at even places */
	}
	return 0;
}

/* ---- Samples ---- */

static uint32_t packet_frames(uint32_t rate)
{
	return rate == RATE_11025 ? PACKET_11025 : rate / PACKETS_A_SECOND;
}

/* `frames` of them at `data`, one packet a channel. */
static int packets_give(struct et_medium *m, const uint8_t *data, uint32_t frames)
{
	const uint32_t bytes = m->about.sample_bytes;
	struct et_medium_packet p = {
		.sequence = m->sequence++,
		.timestamp = (uint32_t)m->played,
		.offset_us = et_medium_duration_us(m),
	};
	int rc = 0;

	for (uint32_t c = 0; c < m->about.channels && rc == 0; c++) {
		for (uint32_t i = 0; i < frames; i++) {
			const uint8_t *from = data + i * m->frame_bytes + c * bytes;
			uint8_t *to = m->room[c] + i * bytes;
			to[0] = from[bytes - 1]; /* big-endian, as RFC 3551 has it */
			to[bytes - 1] = from[0];
		}
		p.stream = c;
		p.payload = (struct et_view){ m->room[c], frames * bytes };
		rc = m->sink.packet(m->sink.arg, &p);
	}
	m->played += frames;
	return rc;
}

ssize_t wav_take(struct et_medium *m, struct et_view held, bool last)
{
	size_t at = 0;
	int rc = 0;

	if (m->packet_frames == 0) {
		m->packet_frames = packet_frames(m->about.clock_rate);
	}
	const size_t packet = (size_t)m->packet_frames * m->frame_bytes;
	while (rc == 0 && m->data_left > 0 && at < held.size) {
		size_t n = held.size - at < packet ? held.size - at : packet;
		n = n < m->data_left ? n : (size_t)m->data_left;
		if (n < packet && n < m->data_left && !last) {
			break; /* more of it comes */
		}
		const uint32_t frames = (uint32_t)(n / m->frame_bytes);
		rc = frames > 0 ? packets_give(m, held.data + at, frames) : 0;
		if (rc == 0 && n % m->frame_bytes != 0) { /* half a frame, at the end */
			rc = medium_bytes(m, held.data + at + frames * m->frame_bytes,
					  n % m->frame_bytes);
		}
		at += n;
		m->data_left -= m->data_left == UINT64_MAX ? 0 : n;
	}
	if (rc == 0 && m->data_left == 0) {
		rc = medium_bytes(m, held.data + at, held.size - at);
		at = held.size;
	}
	return rc < 0 ? rc : (ssize_t)at;
}
