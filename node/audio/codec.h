/* Decoders: payloads to 16-bit linear samples of one channel.
 *
 * One table. Built in: G.711 µ-law and A-law (ITU-T G.711), L16, L8 and L24
 * (RFC 3551, sections 4.5.11 and 4.5.10; RFC 3190, section 4). Through
 * Debian's libraries: G.722 and G.726 in both bit orders (spandsp; RFC 3551, section 4.5.2 and
 * 4.5.4), GSM 06.10 (libgsm), G.729 with annexes A and B (bcg729), Speex (RFC 5574), Opus
 * (RFC 7587), AMR and AMR-WB (opencore; RFC 4867 without CRC, interleaving and robust sorting).
 * Any other codec is recorded and exported as it is: et_codec_find() says NULL, and whoever plays
 * says "no decoder". What has two channels in one stream is folded into one by Opus; L16 of two
 * channels is not told from one.
 *
 * Of files only (node/medium cuts them): samples as they stand in them (S8, L32; F32 and F64 of
 * IEEE 754: 1.0 is full scale), all big-endian; GSM-WAV, pairs of GSM frames in 65 bytes; and whole
 * frames or packets of MP3 (mpg123), FLAC (libFLAC), OGG-OPUS (libopus), VORBIS (libvorbis). More
 * than 16 bits are rounded to 16. The last four may have two voices in one stream, one a channel:
 * et_codec_has_voices(), et_decoder_pick(). An empty payload of OGG-OPUS and VORBIS is no packet:
 * it stands where the file's sound begins (the first one) and where it ends (the last one); what
 * was decoded of before and behind is not the file's (RFC 7845, section 4.2 and 4.4).
 *
 * Nothing is made up for a packet that did not come: the decoder goes on with the next one, unless
 * et_decoder_conceal() is asked. G.729, Speex, Opus, AMR and AMR-WB have that; of the others the
 * mix makes something of what was heard before (node/audio/mix.h).
 *
 * Threads: the table and the functions of one sample are pure; a decoder has one owner at a time.
 */
#ifndef ET_NODE_AUDIO_CODEC_H
#define ET_NODE_AUDIO_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"

#define ET_CODEC_SAMPLES_MAX 16384U /* of one payload; what is more is left out */

struct codec_kind;

struct et_codec {
	const char *name;    /* as in SDP's rtpmap, "PCMU" */
	uint32_t clock_rate; /* Hz of the RTP timestamp */
	uint32_t rate;	     /* Hz of the samples: G.722 has 16000 at a clock of 8000 */
	const struct codec_kind *kind;
	uint32_t variant; /* for its kind: bits a second, ... */
};

/* By name without regard to case, and clock rate (0: any, but for codecs of files that have voices:
 * there it stands for a file that is kept as it is); static, or NULL: no decoder. */
const struct et_codec *et_codec_find(const char *name, size_t name_size, uint32_t clock_rate);

/* The codec of a static payload type (RFC 3551, table 4) that has a decoder, or NULL. */
const struct et_codec *et_codec_static(uint8_t payload_type);

/* Is a payload decoded the same whatever was decoded before it? */
bool et_codec_is_stateless(const struct et_codec *codec);

/* Does a stream of two channels have two voices: of the caller the left one? Not so what comes by
 * RTP: Opus says two channels whatever is in them. */
bool et_codec_has_voices(const struct et_codec *codec);

/* Does an empty payload say where the sound begins and ends? */
bool et_codec_has_ends(const struct et_codec *codec);

/* The decoder of one stream. */
struct et_decoder;

/* `fmtp`: the codec's parameters as in SDP, "octet-align=1; mode-set=0,2", or "". The caller owns
 * *ret. ET_EUNSUPPORTED: the parameters ask for what there is no decoder for. */
int et_decoder_new(const struct et_codec *codec, const char *fmtp, struct et_decoder **ret,
		   struct et_error *reterr) ET_MUST_CHECK;
struct et_decoder *et_decoder_free(struct et_decoder *d); /* NULL is allowed; returns NULL */
static inline void et_decoder_freep(struct et_decoder **d)
{
	*d = et_decoder_free(*d);
}

/* Which of two channels is heard; without it both are folded into one. Before the first payload, of
 * a codec that has voices; a payload with one channel is heard whatever was picked. */
enum et_channel { ET_CHANNEL_BOTH, ET_CHANNEL_LEFT, ET_CHANNEL_RIGHT };
void et_decoder_pick(struct et_decoder *d, enum et_channel channel);

/* Decode one payload. Returns the number of samples written (at most `max`); 0: it has nothing that
 * can be heard, or is none of this codec. */
size_t et_decoder_decode(struct et_decoder *d, struct et_view payload, int16_t *samples,
			 size_t max);

/* Does the codec have a way of its own to conceal lost packets? */
bool et_codec_conceals(const struct et_codec *codec);

/* Of how many lost samples right before it does a packet tell itself? (Opus, in-band FEC: RFC 6716,
 * section 2.1.7.) Most often 0. */
size_t et_decoder_told(const struct et_decoder *d, struct et_view packet);

/* In place of `count` samples that were lost since the last payload, what the codec makes of them;
 * `next` is the payload right behind them, or empty: it is not known, or not the one. Of a codec
 * that conceals. Returns `count`; or 0: it cannot. */
size_t et_decoder_conceal(struct et_decoder *d, struct et_view next, int16_t *samples,
			  size_t count);

/* One sample. */
int16_t et_ulaw_decode(uint8_t code);
int16_t et_alaw_decode(uint8_t code);
/* The nearest code; for tools and tests that make audio. */
uint8_t et_ulaw_encode(int16_t sample);
uint8_t et_alaw_encode(int16_t sample);

#endif
