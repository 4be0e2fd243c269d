/* Files of samples, one after the other: what a sample can be, and packets of about 20 ms of them.
 */
#include <stdio.h>
#include <string.h>

#include "node/audio/codec.h"
#include "node/medium/medium_internal.h"

enum {
	RATE_11025 = 11025,
	PACKETS_A_SECOND = 50,
	PACKET_11025 = 441, /* frames: as many samples of 16 kHz as a whole number */
	GSM_BYTES = 65,
	GSM_SAMPLES = 320,
};

static const struct {
	enum pcm_sample sample;
	uint32_t bits;
	const char *codec;
	uint8_t payload_type; /* RFC 3551, or a dynamic one */
} codecs[] = {
	{ PCM_SIGNED, 16, "L16", 96 },	{ PCM_UNSIGNED, 8, "L8", 97 },
	{ PCM_SIGNED, 8, "S8", 99 },	{ PCM_SIGNED, 24, "L24", 100 },
	{ PCM_SIGNED, 32, "L32", 101 }, { PCM_FLOAT, 32, "F32", 102 },
	{ PCM_FLOAT, 64, "F64", 103 },	{ PCM_ALAW, 8, "PCMA", 8 },
	{ PCM_ULAW, 8, "PCMU", 0 },
};

bool medium_rate_is_played(uint32_t rate)
{
	return rate != 0 && et_codec_find("L16", strlen("L16"), rate) != NULL;
}

bool pcm_describe(struct pcm_head *h, const char *format, const struct pcm_kind *k)
{
	struct et_medium_about *a = &h->about;
	const bool is_companded = k->sample == PCM_ALAW || k->sample == PCM_ULAW;

	(void)snprintf(a->format, sizeof(a->format), "%s, %u Hz, %u bit, %u ch", format, k->rate,
		       k->bits, k->channels);
	for (size_t i = 0; i < ET_ARRAY_SIZE(codecs); i++) {
		if (codecs[i].sample == k->sample && codecs[i].bits == k->bits &&
		    (k->channels == 1 || k->channels == 2) &&
		    k->frame_bytes == k->channels * k->bits / 8 &&
		    (is_companded ? k->rate == 8000 : medium_rate_is_played(k->rate))) {
			a->kind = ET_MEDIUM_PCM;
			(void)snprintf(a->format, sizeof(a->format), "%s", format);
			(void)snprintf(a->codec, sizeof(a->codec), "%s", codecs[i].codec);
			a->payload_type = codecs[i].payload_type;
			a->clock_rate = k->rate;
			a->channels = (uint8_t)k->channels;
			a->voices = 1;
			a->sample_bytes = (uint8_t)(k->bits / 8);
			a->swapped = k->is_little && k->bits > 8;
			h->frame_bytes = k->frame_bytes;
			h->frame_samples = 1;
			return true;
		}
	}
	return false;
}

bool pcm_describe_gsm(struct pcm_head *h, const char *format, uint32_t channels, uint32_t rate,
		      uint32_t block_bytes)
{
	struct et_medium_about *a = &h->about;

	if (channels != 1 || rate != 8000 || block_bytes != GSM_BYTES) {
		return false;
	}
	a->kind = ET_MEDIUM_PCM;
	(void)snprintf(a->format, sizeof(a->format), "%s", format);
	(void)snprintf(a->codec, sizeof(a->codec), "GSM-WAV");
	a->payload_type = 104;
	a->clock_rate = rate;
	a->channels = a->voices = a->sample_bytes = 1;
	h->frame_bytes = GSM_BYTES;
	h->frame_samples = GSM_SAMPLES;
	return true;
}

/* ---- Packets ---- */

static uint32_t packet_frames(const struct et_medium *m)
{
	const uint32_t rate = m->about.clock_rate;

	if (m->frame_samples > 1) {
		return 1;
	}
	return rate == RATE_11025 ? PACKET_11025 : rate / PACKETS_A_SECOND;
}

/* `frames` of them at `data`, one packet a channel. */
static int packets_give(struct et_medium *m, const uint8_t *data, uint32_t frames)
{
	const uint32_t bytes = m->about.sample_bytes; /* 1, of blocks that are no samples */
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
			for (uint32_t k = 0; k < bytes; k++) { /* big-endian, as RFC 3551 has it */
				to[k] = from[m->about.swapped ? bytes - 1 - k : k];
			}
		}
		p.stream = c;
		p.payload = m->frame_samples > 1 ? (struct et_view){ data, m->frame_bytes }
						 : (struct et_view){ m->room[c], frames * bytes };
		rc = m->sink.packet(m->sink.arg, &p);
	}
	m->played += (uint64_t)frames * m->frame_samples;
	return rc;
}

ssize_t pcm_take(struct et_medium *m, struct et_view held, bool last)
{
	size_t at = 0;
	int rc = 0;

	if (m->packet_frames == 0) {
		m->packet_frames = packet_frames(m);
		et_assert((size_t)m->packet_frames * m->about.sample_bytes <= MEDIUM_PIECE);
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
