/* FLAC (RFC 9639) through libFLAC: a payload is one whole frame, without the file's metadata: a
 * frame that leaves its rate or its bits to that is not played. Each gives as many samples as its
 * header says, silence where it cannot be decoded: so a stream never slips. The library sees one
 * frame at a time and never the file. */
#include <FLAC/stream_decoder.h>
#include <stdlib.h>
#include <string.h>

#include "node/audio/codec_internal.h"

enum { FRAME_MIN = 10 }; /* bytes: head, a subframe, check sum */

struct flac {
	FLAC__StreamDecoder *decoder; /* owned */
	enum et_channel channel;
	uint32_t rate;
	/* For the call. */
	struct et_view payload;
	int16_t *samples;
	size_t max;
	size_t count;
};

static FLAC__StreamDecoderReadStatus on_read(const FLAC__StreamDecoder *decoder, FLAC__byte *to,
					     size_t *size, void *arg)
{
	struct flac *f = arg;

	(void)decoder;
	if (f->payload.size == 0) {
		*size = 0;
		return FLAC__STREAM_DECODER_READ_STATUS_END_OF_STREAM;
	}
	*size = *size < f->payload.size ? *size : f->payload.size;
	memcpy(to, f->payload.data, *size);
	f->payload.data += *size;
	f->payload.size -= *size;
	return FLAC__STREAM_DECODER_READ_STATUS_CONTINUE;
}

static FLAC__StreamDecoderWriteStatus on_frame(const FLAC__StreamDecoder *decoder,
					       const FLAC__Frame *frame,
					       const FLAC__int32 *const channels[], void *arg)
{
	const FLAC__FrameHeader *h = &frame->header;
	struct flac *f = arg;

	(void)decoder;
	if (f->count != 0 || h->blocksize > f->max || h->sample_rate != f->rate ||
	    h->channels > 2 || h->bits_per_sample < 4 || h->bits_per_sample > 32) {
		return FLAC__STREAM_DECODER_WRITE_STATUS_ABORT;
	}
	for (uint32_t i = 0; i < h->blocksize; i++) {
		int16_t both[2] = { codec_from_bits(channels[0][i], h->bits_per_sample), 0 };
		if (h->channels == 2) {
			both[1] = codec_from_bits(channels[1][i], h->bits_per_sample);
		}
		f->samples[i] = codec_sample(both, h->channels, f->channel);
	}
	f->count = h->blocksize;
	return FLAC__STREAM_DECODER_WRITE_STATUS_CONTINUE;
}

static void on_error(const FLAC__StreamDecoder *decoder, FLAC__StreamDecoderErrorStatus status,
		     void *arg)
{
	(void)decoder;
	(void)status;
	(void)arg; /* What does not come is silence. */
}

static void flac_close(void *state)
{
	struct flac *f = state;

	if (f->decoder != NULL) {
		FLAC__stream_decoder_delete(f->decoder);
	}
	free(f);
}

static int flac_open(const struct et_codec *codec, const char *fmtp, void **ret)
{
	struct flac *f = calloc(1, sizeof(*f));

	(void)fmtp;
	if (f == NULL) {
		return -ENOMEM;
	}
	f->rate = codec->rate;
	f->decoder = FLAC__stream_decoder_new();
	if (f->decoder == NULL ||
	    FLAC__stream_decoder_init_stream(f->decoder, on_read, NULL, NULL, NULL, NULL, on_frame,
					     NULL, on_error,
					     f) != FLAC__STREAM_DECODER_INIT_STATUS_OK) {
		flac_close(f);
		return -ENOMEM;
	}
	*ret = f;
	return 0;
}

static void flac_pick(void *state, enum et_channel channel)
{
	struct flac *f = state;

	f->channel = channel;
}

/* Samples of each channel, by the frame's header (RFC 9639, section 9.1); 0: it is none. */
static size_t frame_samples(struct et_view p)
{
	if (p.size < FRAME_MIN || p.data[0] != 0xFF || (p.data[1] & 0xFE) != 0xF8) {
		return 0;
	}
	const unsigned code = p.data[2] >> 4;
	if (code == 1) {
		return 192;
	}
	if (code != 6 && code != 7) {
		return code == 0 ? 0 : code < 6 ? 576U << (code - 2) : 256U << (code - 8);
	}
	/* Behind the number of the frame, which is coded as UTF-8 codes a character. */
	const uint8_t first = p.data[4];
	size_t at = 5;
	for (uint8_t bit = 0x40; (first & 0x80) != 0 && (first & bit) != 0; bit >>= 1) {
		at++;
	}
	if (at + 2 > p.size) {
		return 0;
	}
	return code == 6 ? p.data[at] + 1U : et_get16(p.data + at) + 1U;
}

static size_t flac_payload(void *state, struct et_view payload, int16_t *samples, size_t max)
{
	struct flac *f = state;
	const size_t said = frame_samples(payload);

	if (said == 0 || said > max) {
		return 0;
	}
	f->payload = payload;
	f->samples = samples;
	f->max = said;
	f->count = 0;
	(void)FLAC__stream_decoder_process_single(f->decoder);
	(void)FLAC__stream_decoder_flush(f->decoder);
	memset(samples + f->count, 0, (said - f->count) * sizeof(*samples));
	return said;
}

const struct codec_kind codec_flac = {
	.open = flac_open, .close = flac_close, .decode = flac_payload, .pick = flac_pick
};
