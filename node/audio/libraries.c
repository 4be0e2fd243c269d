/* Decoders of Debian's libraries. Each sees whole frames only; what is over at the end of a payload
 * is left out. */
#include <bcg729/decoder.h>
#include <gsm.h>
#include <opus/opus.h>
#include <opus/opus_multistream.h>
#include <spandsp.h>
#include <speex/speex.h>
#include <stdlib.h>
#include <string.h>

#include "node/audio/codec_internal.h"

/* One frame more of what is made up: as much of it as there is room for. */
static void frame_add(const int16_t *frame, size_t length, int16_t *samples, size_t count,
		      size_t *made)
{
	const size_t n = count - *made < length ? count - *made : length;

	memcpy(samples + *made, frame, n * sizeof(*samples));
	*made += n;
}

/* ---- G.722 ---- */

enum { G722_BLOCK = 1024 }; /* bytes given to the library at once */

static int g722_open(const struct et_codec *codec, const char *fmtp, void **ret)
{
	(void)codec;
	(void)fmtp;
	*ret = g722_decode_init(NULL, 64000, 0);
	return *ret == NULL ? -ENOMEM : 0;
}

static void g722_close(void *state)
{
	(void)g722_decode_free(state);
}

/* Two samples a byte. */
static size_t g722_payload(void *state, struct et_view payload, int16_t *samples, size_t max)
{
	const size_t size = payload.size < max / 2 ? payload.size : max / 2;
	size_t n = 0;

	for (size_t i = 0; i < size; i += G722_BLOCK) {
		const size_t block = size - i < G722_BLOCK ? size - i : G722_BLOCK;
		n += (size_t)g722_decode(state, samples + n, payload.data + i, (int)block);
	}
	return n;
}

const struct codec_kind codec_g722 = { .open = g722_open,
				       .close = g722_close,
				       .decode = g722_payload };

/* ---- G.726 ---- */

struct g726 {
	g726_state_t *state; /* owned */
	unsigned bits;	     /* a sample: 2 to 5 */
};

static int g726_open(const struct et_codec *codec, const char *fmtp, void **ret)
{
	const bool aal2 = (codec->variant & CODEC_AAL2) != 0;
	const unsigned bit_rate = codec->variant & ~CODEC_AAL2;
	struct g726 *g = malloc(sizeof(*g));

	(void)fmtp;
	if (g == NULL) {
		return -ENOMEM;
	}
	g->bits = bit_rate / 8000;
	g->state = g726_init(NULL, (int)bit_rate, G726_ENCODING_LINEAR,
			     aal2 ? G726_PACKING_LEFT : G726_PACKING_RIGHT);
	if (g->state == NULL) {
		free(g);
		return -ENOMEM;
	}
	*ret = g;
	return 0;
}

static void g726_close(void *state)
{
	struct g726 *g = state;

	(void)g726_free(g->state);
	free(g);
}

static size_t g726_payload(void *state, struct et_view payload, int16_t *samples, size_t max)
{
	struct g726 *g = state;
	const size_t most = max * g->bits / 8;
	const size_t size = payload.size < most ? payload.size : most;

	return (size_t)g726_decode(g->state, samples, payload.data, (int)size);
}

const struct codec_kind codec_g726 = { .open = g726_open,
				       .close = g726_close,
				       .decode = g726_payload };

/* ---- GSM 06.10 ---- */

enum { GSM_BYTES = 33, GSM_SAMPLES = 160 };

static int gsm_open(const struct et_codec *codec, const char *fmtp, void **ret)
{
	(void)codec;
	(void)fmtp;
	*ret = gsm_create();
	return *ret == NULL ? -ENOMEM : 0;
}

static void gsm_close(void *state)
{
	gsm_destroy(state);
}

static size_t gsm_payload(void *state, struct et_view payload, int16_t *samples, size_t max)
{
	gsm_byte frame[GSM_BYTES]; /* the library's argument is not const */
	size_t n = 0;

	while (payload.size >= GSM_BYTES && max - n >= GSM_SAMPLES) {
		memcpy(frame, payload.data, sizeof(frame));
		if (gsm_decode(state, frame, samples + n) != 0) {
			break;
		}
		payload.data += GSM_BYTES;
		payload.size -= GSM_BYTES;
		n += GSM_SAMPLES;
	}
	return n;
}

const struct codec_kind codec_gsm = { .open = gsm_open, .close = gsm_close, .decode = gsm_payload };

/* ---- GSM in WAV files (WAVE_FORMAT_GSM610): two frames in 33 bytes and 32 ---- */

enum { GSM_PAIR_BYTES = 65, GSM_PAIR_SAMPLES = 320 };

static int gsm_wav_open(const struct et_codec *codec, const char *fmtp, void **ret)
{
	int on = 1;

	if (gsm_open(codec, fmtp, ret) < 0) {
		return -ENOMEM;
	}
	(void)gsm_option(*ret, GSM_OPT_WAV49, &on); /* Debian's has it: a test says so */
	return 0;
}

/* Silence where a frame is none: a stream does not slip. */
static size_t gsm_wav_payload(void *state, struct et_view payload, int16_t *samples, size_t max)
{
	gsm_byte pair[GSM_PAIR_BYTES];
	size_t n = 0;

	while (payload.size >= GSM_PAIR_BYTES && max - n >= GSM_PAIR_SAMPLES) {
		memcpy(pair, payload.data, sizeof(pair));
		memset(samples + n, 0, GSM_PAIR_SAMPLES * sizeof(*samples));
		if (gsm_decode(state, pair, samples + n) == 0) {
			(void)gsm_decode(state, pair + GSM_BYTES, samples + n + GSM_SAMPLES);
		}
		payload.data += GSM_PAIR_BYTES;
		payload.size -= GSM_PAIR_BYTES;
		n += GSM_PAIR_SAMPLES;
	}
	return n;
}

const struct codec_kind codec_gsm_wav = { .open = gsm_wav_open,
					  .close = gsm_close,
					  .decode = gsm_wav_payload };

/* ---- G.729 ---- */

enum { G729_BYTES = 10, G729_SID_BYTES = 2, G729_SAMPLES = 80 };

static int g729_open(const struct et_codec *codec, const char *fmtp, void **ret)
{
	(void)codec;
	(void)fmtp;
	*ret = initBcg729DecoderChannel();
	return *ret == NULL ? -ENOMEM : 0;
}

static void g729_close(void *state)
{
	closeBcg729DecoderChannel(state);
}

/* Frames of speech, and at the end perhaps one of annex B that describes the noise (RFC 3551,
 * section 4.5.6). */
static size_t g729_payload(void *state, struct et_view payload, int16_t *samples, size_t max)
{
	size_t n = 0;

	while (payload.size >= G729_SID_BYTES && max - n >= G729_SAMPLES) {
		const bool sid = payload.size < G729_BYTES;
		const uint8_t bytes = sid ? G729_SID_BYTES : G729_BYTES;
		if (sid && payload.size != G729_SID_BYTES) {
			break;
		}
		bcg729Decoder(state, payload.data, bytes, 0, sid, 0, samples + n);
		payload.data += bytes;
		payload.size -= bytes;
		n += G729_SAMPLES;
	}
	return n;
}

/* Frames that were erased (ITU-T G.729, section 4.4). */
static size_t g729_conceal(void *state, struct et_view next, int16_t *samples, size_t count)
{
	int16_t frame[G729_SAMPLES];

	(void)next;
	for (size_t made = 0; made < count; frame_add(frame, G729_SAMPLES, samples, count, &made)) {
		bcg729Decoder(state, NULL, 0, 1, 0, 0, frame);
	}
	return count;
}

const struct codec_kind codec_g729 = {
	.open = g729_open, .close = g729_close, .decode = g729_payload, .conceal = g729_conceal
};

/* ---- Speex ---- */

enum { SPEEX_BYTES_MAX = 2000, SPEEX_FRAME_MAX = 640 };

struct speex {
	void *state; /* owned */
	SpeexBits bits;
	size_t frame; /* samples */
};

static int speex_open(const struct et_codec *codec, const char *fmtp, void **ret)
{
	static const int modes[] = { SPEEX_MODEID_NB, SPEEX_MODEID_WB, SPEEX_MODEID_UWB };
	struct speex *s = calloc(1, sizeof(*s));
	spx_int32_t frame = 0;
	spx_int32_t enhance = 0; /* what was sent, not what may please */

	(void)fmtp;
	if (s == NULL) {
		return -ENOMEM;
	}
	s->state = speex_decoder_init(speex_lib_get_mode(modes[codec->variant]));
	if (s->state == NULL) {
		free(s);
		return -ENOMEM;
	}
	(void)speex_decoder_ctl(s->state, SPEEX_SET_ENH, &enhance);
	(void)speex_decoder_ctl(s->state, SPEEX_GET_FRAME_SIZE, &frame);
	s->frame = (size_t)frame;
	et_assert(s->frame > 0 && s->frame <= SPEEX_FRAME_MAX);
	speex_bits_init(&s->bits);
	*ret = s;
	return 0;
}

static void speex_close(void *state)
{
	struct speex *s = state;

	speex_bits_destroy(&s->bits);
	speex_decoder_destroy(s->state);
	free(s);
}

static size_t speex_payload(void *state, struct et_view payload, int16_t *samples, size_t max)
{
	struct speex *s = state;
	char bytes[SPEEX_BYTES_MAX];
	size_t n = 0;

	if (payload.size > sizeof(bytes)) {
		return 0;
	}
	memcpy(bytes, payload.data, payload.size);
	speex_bits_read_from(&s->bits, bytes, (int)payload.size);
	while (max - n >= s->frame && speex_bits_remaining(&s->bits) > 4 &&
	       speex_decode_int(s->state, &s->bits, samples + n) == 0 &&
	       speex_bits_remaining(&s->bits) >= 0) {
		n += s->frame;
	}
	return n;
}

static size_t speex_conceal(void *state, struct et_view next, int16_t *samples, size_t count)
{
	struct speex *s = state;
	int16_t frame[SPEEX_FRAME_MAX];

	(void)next;
	for (size_t made = 0; made < count; frame_add(frame, s->frame, samples, count, &made)) {
		if (speex_decode_int(s->state, NULL, frame) != 0) {
			return 0;
		}
	}
	return count;
}

const struct codec_kind codec_speex = {
	.open = speex_open, .close = speex_close, .decode = speex_payload, .conceal = speex_conceal
};

/* ---- Opus ---- */

enum { OPUS_SAMPLES_MAX = 5760 }; /* 120 ms, RFC 6716 */

static int opus_open(const struct et_codec *codec, const char *fmtp, void **ret)
{
	int code = OPUS_OK;

	(void)fmtp;
	*ret = opus_decoder_create((opus_int32)codec->rate, 1, &code);
	return *ret == NULL ? -ENOMEM : 0;
}

static void opus_close(void *state)
{
	opus_decoder_destroy(state);
}

static size_t opus_payload(void *state, struct et_view payload, int16_t *samples, size_t max)
{
	if (payload.size > INT32_MAX || max < OPUS_SAMPLES_MAX) {
		return 0;
	}
	const int n = opus_decode(state, payload.data, (opus_int32)payload.size, samples,
				  OPUS_SAMPLES_MAX, 0);
	return n > 0 ? (size_t)n : 0;
}

/* The decoder makes up what lies before, and hears the rest in the packet that came if that tells
 * (opus_told()). It counts in steps of 2.5 ms. */
static size_t opus_conceal(void *state, struct et_view next, int16_t *samples, size_t count)
{
	const bool told = next.size > 0 && next.size <= INT32_MAX;
	const size_t step = 120;

	if (count % step != 0) {
		return 0;
	}
	const int n = opus_decode(state, told ? next.data : NULL, told ? (opus_int32)next.size : 0,
				  samples, (int)count, told);
	return n > 0 && (size_t)n == count ? count : 0;
}

/* RFC 6716, section 4.2.3 and 4.2.4: a SILK frame begins with a bit for each 20 ms that says if
 * there is a voice, and one that says if it tells of the frame before. */
static size_t opus_told(struct et_view packet)
{
	const unsigned char *frames[48];
	opus_int16 sizes[48];

	if (packet.size > INT32_MAX || (packet.data[0] & 0x80) != 0 || /* CELT has none */
	    opus_packet_parse(packet.data, (opus_int32)packet.size, NULL, frames, sizes, NULL) <
		    1 ||
	    sizes[0] == 0) {
		return 0;
	}
	const int length = opus_packet_get_samples_per_frame(packet.data, 48000);
	const int voices = length > 960 ? length / 960 : 1;
	return (frames[0][0] >> (7 - voices) & 1) != 0 ? (size_t)length : 0;
}

const struct codec_kind codec_opus = { .open = opus_open,
				       .close = opus_close,
				       .decode = opus_payload,
				       .conceal = opus_conceal,
				       .told = opus_told };

/* ---- Opus of files: both channels, of which one is heard, or both as one ---- */

struct ogg_opus {
	OpusMSDecoder *decoder;	 /* owned */
	enum et_channel channel; /* heard */
	int16_t both[2 * OPUS_SAMPLES_MAX];
};

static void ogg_opus_close(void *state)
{
	struct ogg_opus *o = state;

	if (o->decoder != NULL) {
		opus_multistream_decoder_destroy(o->decoder);
	}
	explicit_bzero(o->both, sizeof(o->both));
	free(o);
}

/* "gain=": of the file, in 1/256 dB (RFC 7845, section 5.1). "streams=2": of a voice each;
 * otherwise it is one, and what has one channel is in both. */
static int ogg_opus_open(const struct et_codec *codec, const char *fmtp, void **ret)
{
	struct ogg_opus *o = calloc(1, sizeof(*o));
	const bool has_gain = strncmp(fmtp, "gain=", 5) == 0;
	const long gain = has_gain ? strtol(fmtp + 5, NULL, 10) : 0;
	const int streams = strstr(fmtp, "streams=2") != NULL ? 2 : 1;
	static const unsigned char mapping[2] = { 0, 1 };
	int code = OPUS_OK;

	if (o == NULL) {
		return -ENOMEM;
	}
	o->decoder = opus_multistream_decoder_create((opus_int32)codec->rate, 2, streams,
						     2 - streams, mapping, &code);
	if (o->decoder == NULL) {
		ogg_opus_close(o);
		return -ENOMEM;
	}
	if (gain >= INT16_MIN && gain <= INT16_MAX) {
		(void)opus_multistream_decoder_ctl(o->decoder, OPUS_SET_GAIN((opus_int32)gain));
	}
	*ret = o;
	return 0;
}

static void ogg_opus_pick(void *state, enum et_channel channel)
{
	struct ogg_opus *o = state;

	o->channel = channel;
}

/* As many samples as the packet says it has, silence where it cannot be decoded. */
static size_t ogg_opus_payload(void *state, struct et_view payload, int16_t *samples, size_t max)
{
	struct ogg_opus *o = state;
	const int said =
		payload.size > INT32_MAX
			? -1
			: opus_packet_get_nb_samples(payload.data, (opus_int32)payload.size, 48000);

	if (said <= 0 || said > OPUS_SAMPLES_MAX || (size_t)said > max) {
		return 0;
	}
	const int n = opus_multistream_decode(o->decoder, payload.data, (opus_int32)payload.size,
					      o->both, OPUS_SAMPLES_MAX, 0);
	for (int i = 0; i < n && i < said; i++) {
		samples[i] = codec_sample(o->both + 2 * i, 2, o->channel);
	}
	for (int i = n > 0 ? n : 0; i < said; i++) {
		samples[i] = 0;
	}
	return (size_t)said;
}

const struct codec_kind codec_ogg_opus = { .open = ogg_opus_open,
					   .close = ogg_opus_close,
					   .decode = ogg_opus_payload,
					   .pick = ogg_opus_pick,
					   .has_ends = true };
