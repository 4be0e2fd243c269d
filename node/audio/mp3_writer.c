/* MPEG audio layer III (ISO 11172-3, 13818-3; 8 kHz: MPEG 2.5) through libmp3lame.
 *
 *   ID3v2    what the file is
 *   "Info"   a frame of silence that says how many frames and bytes there are, and how many samples
 *            are to be cut from begin and end (the tags of Xing and LAME, as libmpg123 and FFmpeg
 *            read them). Its check sum of the music is 0: that is known at the end only
 *   frames   all of one size
 *
 * libmp3lame writes such a frame itself, at the end, over the begin: here nothing is written over.
 * Bits a second are constant and no rate needs padding, so it is known before what it says:
 *
 *   delay := ENCODER_DELAY; frames := ceil((delay + samples + PAD_MIN) / frame)
 *
 * as lame_encode_flush() has it; at the end it is compared with what came. */
#include <lame/lame.h>
#include <stdlib.h>
#include <string.h>

#include "node/audio/format_internal.h"

enum {
	ENCODER_DELAY = 576,
	PAD_MIN = 576,
	CHUNK = 2048,			/* frames */
	OUT_MAX = CHUNK * 5 / 4 + 7200, /* bytes: lame.h, of lame_encode_buffer() */
	HEAD = 4,
	FRAME_MAX = 1441, /* bytes: of 320 kbit/s at 32 kHz, padded */
	TOC = 100,
	CRC_AT = 154, /* from "Info" */
};

struct mp3 {
	lame_global_flags *lame; /* owned */
	uint64_t bytes;		 /* of frames, without Info */
	uint64_t frames;	 /* likewise, as announced */
	uint32_t frame_size;	 /* bytes */
	uint32_t padding;	 /* samples behind the sound */
	uint8_t out[OUT_MAX];
};

static void mp3_free(void *state)
{
	struct mp3 *m = state;

	if (m == NULL) {
		return;
	}
	if (m->lame != NULL) {
		(void)lame_close(m->lame);
	}
	explicit_bzero(m->out, sizeof(m->out));
	free(m);
}

static void say_nothing(const char *format, va_list ap)
{
	(void)format;
	(void)ap;
}

/* kbit/s of both voices. */
static uint32_t kbits_of(uint32_t rate)
{
	return rate == 8000 ? 64 : rate == 16000 ? 96 : 192;
}

static bool lame_prepare(struct mp3 *m, const struct et_audio_about *about)
{
	lame_global_flags *l = m->lame;

	return lame_set_errorf(l, say_nothing) == 0 && lame_set_debugf(l, say_nothing) == 0 &&
	       lame_set_msgf(l, say_nothing) == 0 &&
	       lame_set_in_samplerate(l, (int)about->rate) == 0 &&
	       lame_set_out_samplerate(l, (int)about->rate) == 0 &&
	       lame_set_num_channels(l, ET_MIX_CHANNELS) == 0 && lame_set_mode(l, STEREO) == 0 &&
	       lame_set_VBR(l, vbr_off) == 0 &&
	       lame_set_brate(l, (int)kbits_of(about->rate)) == 0 &&
	       lame_set_bWriteVbrTag(l, 0) == 0;
}

static void tags_prepare(struct mp3 *m, const struct et_audio_about *about)
{
	struct audio_tag tags[AUDIO_TAGS];
	const size_t count = audio_tags(about, tags);
	char text[AUDIO_TAG_TEXT + 32];

	id3tag_init(m->lame);
	id3tag_v2_only(m->lame);
	lame_set_write_id3tag_automatic(m->lame, 0);
	for (size_t i = 0; i < count; i++) {
		if (strcmp(tags[i].name, "COMMENT") == 0) {
			id3tag_set_comment(m->lame, tags[i].text);
			continue;
		}
		(void)snprintf(text, sizeof(text), "TXXX=%s=%s", tags[i].name, tags[i].text);
		(void)id3tag_set_fieldvalue(m->lame, text);
	}
}

static int mp3_begin(struct et_audio_writer *w, struct et_error *reterr)
{
	const uint32_t samples = w->about.rate == 48000 ? 1152 : 576; /* of a frame */
	const uint64_t heard = ENCODER_DELAY + w->about.frames;
	struct mp3 *m = calloc(1, sizeof(*m));

	w->state = m;
	if (m != NULL) {
		m->lame = lame_init();
	}
	if (m == NULL || m->lame == NULL) {
		return et_fail(reterr, -ENOMEM, "MP3 file");
	}
	m->frame_size = samples / 8 * kbits_of(w->about.rate) * 1000 / w->about.rate;
	m->frames = (heard + PAD_MIN + samples - 1) / samples;
	m->padding = (uint32_t)(m->frames * samples - heard);
	if ((m->frames + 1) * m->frame_size > UINT32_MAX) {
		return et_fail_plain(reterr, ET_ELIMIT, "MP3 file of more than 4 GiB");
	}
	if (lame_prepare(m, &w->about)) {
		tags_prepare(m, &w->about);
		if (lame_init_params(m->lame) == 0 && lame_get_framesize(m->lame) == (int)samples &&
		    lame_get_encoder_delay(m->lame) == ENCODER_DELAY) {
			const size_t n = lame_get_id3v2_tag(m->lame, m->out, sizeof(m->out));
			et_assert(n <= sizeof(m->out)); /* Some hundred bytes. */
			return n > 0 ? audio_give(w, m->out, n, reterr)
				     : et_fail(reterr, -ENOMEM, "MP3 file");
		}
	}
	return et_fail_plain(reterr, ET_EINTEGRITY, "the MP3 encoder refuses its parameters");
}

/* ---- Info ---- */

/* CRC-16 of x^16 + x^15 + x^2 + 1, from the lowest bit, from 0. */
static uint16_t crc16_of(const uint8_t *p, size_t size)
{
	uint16_t crc = 0;

	for (size_t i = 0; i < size; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++) {
			crc = (uint16_t)(crc >> 1 ^ ((crc & 1) != 0 ? 0xA001 : 0));
		}
	}
	return crc;
}

/* `p`: where "Info" stands; all behind it is 0. */
static void info_put(const struct et_audio_writer *w, uint8_t *p)
{
	const struct mp3 *m = w->state;
	const uint8_t rate =
		w->about.rate == 48000 ? 2 : 0; /* of the source: 48 kHz, or 32 and less */

	memcpy(p, "Info", 4);
	et_put32(p + 4, 15); /* what follows: frames, bytes, table, quality */
	et_put32(p + 8, (uint32_t)m->frames);
	et_put32(p + 12, (uint32_t)((m->frames + 1) * m->frame_size));
	for (unsigned i = 0; i < TOC; i++) {
		p[16 + i] = (uint8_t)(i * 256 / TOC);
	}
	et_put32(p + 116, 50); /* of 100: constant bits */
	memcpy(p + 120, "LAME3.100", 9);
	p[129] = 1; /* revision 0; constant bits */
	p[130] = (uint8_t)(lame_get_lowpassfreq(m->lame) / 100);
	p[140] = (uint8_t)kbits_of(w->about.rate);
	p[141] = (uint8_t)(ENCODER_DELAY >> 4);
	p[142] = (uint8_t)((ENCODER_DELAY & 15) << 4 | m->padding >> 8);
	p[143] = (uint8_t)m->padding;
	p[144] = (uint8_t)(1 << 2 | rate << 6); /* stereo */
	et_put32(p + 148, (uint32_t)((m->frames + 1) * m->frame_size));
}

/* The frame before the first one, with that one's head. */
static int info_give(struct et_audio_writer *w, const uint8_t *first, struct et_error *reterr)
{
	const struct mp3 *m = w->state;
	uint8_t frame[FRAME_MAX] = { 0 };
	uint8_t *info =
		frame + HEAD + (w->about.rate == 48000 ? 32 : 17); /* behind side information */

	memcpy(frame, first, HEAD);
	info_put(w, info);
	et_put16(info + CRC_AT, crc16_of(frame, (size_t)(info + CRC_AT - frame)));
	return audio_give(w, frame, m->frame_size, reterr);
}

/* ---- The sound ---- */

/* What the encoder gave: bytes, or its error. */
static int frames_give(struct et_audio_writer *w, int n, struct et_error *reterr)
{
	struct mp3 *m = w->state;
	int rc = 0;

	if (n < 0) {
		return et_fail_plain(reterr, n == -2 ? -ENOMEM : ET_EINTEGRITY,
				     "the MP3 encoder says: %d", n);
	}
	if (n > 0 && m->bytes == 0) {
		et_assert(n >= HEAD); /* It gives whole frames. */
		rc = info_give(w, m->out, reterr);
	}
	m->bytes += (uint64_t)n;
	return rc < 0 ? rc : audio_give(w, m->out, (size_t)n, reterr);
}

static int mp3_write(struct et_audio_writer *w, const int16_t *samples, size_t frames,
		     struct et_error *reterr)
{
	struct mp3 *m = w->state;
	int rc = 0;

	while (frames > 0 && rc == 0) {
		const size_t n = frames < CHUNK ? frames : CHUNK;
		/* libmp3lame has no const, and does not write there. */
		union {
			const int16_t *in;
			short *out;
		} pcm = { samples };
		rc = frames_give(
			w,
			lame_encode_buffer_interleaved(m->lame, pcm.out, (int)n, m->out, OUT_MAX),
			reterr);
		samples += n * ET_MIX_CHANNELS;
		frames -= n;
	}
	return rc;
}

static int mp3_end(struct et_audio_writer *w, struct et_error *reterr)
{
	struct mp3 *m = w->state;
	int rc = frames_give(w, lame_encode_flush(m->lame, m->out, OUT_MAX), reterr);

	if (rc == 0 && m->bytes != m->frames * m->frame_size) {
		rc = et_fail_plain(reterr, ET_EINTEGRITY,
				   "the MP3 encoder made %llu bytes in place of %llu",
				   (unsigned long long)m->bytes,
				   (unsigned long long)(m->frames * m->frame_size));
	}
	return rc;
}

const struct audio_writer_kind audio_mp3 = {
	.begin = mp3_begin, .write = mp3_write, .end = mp3_end, .free = mp3_free
};
