/* The sound of a recording as a file: WAV, FLAC, Ogg Opus, MP3; two channels, in which the two
 * voices stay apart.
 *
 *   wav   PCM of 16 bits (RIFF). The samples as they are; nothing beside them, unless losses are
 *         made up: a comment behind them says so.
 *   flac  RFC 9639, through libFLAC: the same samples, bit for bit; STREAMINFO says how many, and
 *         their MD5, so that anybody's decoder checks them. Every frame is decoded again and
 *         compared before it goes out.
 *   opus  Ogg (RFC 3533) with Opus (RFC 7845), through libopus and libogg: a mono stream of its own
 *         for each voice (mapping family 1, none coupled), so that nothing of one is in the other.
 *         As long as the samples, to the sample: pre-skip, and the end by the last granule.
 *   mp3   MPEG audio layer III through libmp3lame: constant bits a second, both channels coded
 *         each for itself (no joint stereo). An Info frame tells players what to cut from begin and
 *         end, so that it is as long as the samples. They share the bits of a frame, and nothing
 *         else.
 *
 * Happy path: what is to be written is known (how many frames, of what rate), new(), write() until
 * they all came, end(). Bytes go out in order, in pieces, as they come; nothing is patched, no more
 * than about a second is held. The same `about` and samples give the same bytes with the same
 * libraries on the same kind of processor: there is no date and nothing random in them.
 *
 * All but WAV say in tags which recording they are of, when their sound began, and that they are
 * derived; and where it is so that parts are missing, and that losses are made up.
 * No number and no name is in it.
 *
 * Failures: the sink's (a full disk, a client that went away) is returned as it is, by whichever
 * function met it; ET_EUNSUPPORTED: the rate; ET_ELIMIT: more than the format can say;
 * ET_EINTEGRITY: other frames than announced came, or the encoder refuses: what was written is no
 * file. After a failure only free() is left.
 *
 * Threads: the table is constant; a writer has one owner at a time. */
#ifndef ET_NODE_AUDIO_FORMAT_H
#define ET_NODE_AUDIO_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"

#define ET_AUDIO_FORMATS "wav flac opus mp3" /* their names, for whoever lists them */

struct audio_writer_kind;

struct et_audio_format {
	const char *name;	  /* "flac": in the API, the CLI, and behind a file's dot */
	const char *content_type; /* of HTTP */
	const struct audio_writer_kind *kind;
};

/* By name; static. NULL: there is none. */
const struct et_audio_format *et_audio_format_find(const char *name);

/* What is known before the first sample. */
struct et_audio_about {
	uint8_t recording[16];
	int64_t start_us; /* UTC, of the first frame */
	uint32_t rate;	  /* Hz: 8000, 16000, 48000 */
	uint64_t frames;  /* exactly as many are written */
	uint8_t md5[16];  /* of the samples as WAV has them; all zeros: not known. Of FLAC */
	bool incomplete;  /* parts are missing: a tag says so */
	bool concealed;	  /* losses are made up: likewise */
};

/* The size of the file in bytes, or -1: it is known at its end only. */
int64_t et_audio_size(const struct et_audio_format *format, const struct et_audio_about *about);

/* Gets the bytes of the file, in order; a negative result ends it. */
typedef int (*et_audio_sink)(void *arg, const void *data, size_t size);

struct et_audio_writer;

/* The caller owns *ret. `arg` is borrowed until the writer is freed. */
int et_audio_writer_new(const struct et_audio_format *format, const struct et_audio_about *about,
			et_audio_sink sink, void *arg, struct et_audio_writer **ret,
			struct et_error *reterr) ET_MUST_CHECK;
/* `frames` frames of two interleaved samples (left, right). */
int et_audio_writer_write(struct et_audio_writer *w, const int16_t *samples, size_t frames,
			  struct et_error *reterr) ET_MUST_CHECK;
/* All came: the rest of the file. */
int et_audio_writer_end(struct et_audio_writer *w, struct et_error *reterr) ET_MUST_CHECK;
struct et_audio_writer *et_audio_writer_free(struct et_audio_writer *w); /* NULL is allowed; NULL */
static inline void et_audio_writer_freep(struct et_audio_writer **w)
{
	*w = et_audio_writer_free(*w);
}

#endif
