/* Between format.c and the encoders. */
#ifndef ET_NODE_AUDIO_FORMAT_INTERNAL_H
#define ET_NODE_AUDIO_FORMAT_INTERNAL_H

#include "node/audio/format.h"
#include "node/audio/mix.h"

struct et_audio_writer {
	const struct et_audio_format *format;
	struct et_audio_about about;
	et_audio_sink sink;
	void *arg;	 /* borrowed */
	void *state;	 /* owned: the encoder's */
	uint64_t frames; /* so far */
};

struct audio_writer_kind {
	int64_t (*size)(const struct et_audio_about *about); /* NULL: -1 */
	/* Make w->state, and write what stands before the sound. */
	int (*begin)(struct et_audio_writer *w, struct et_error *reterr);
	int (*write)(struct et_audio_writer *w, const int16_t *samples, size_t frames,
		     struct et_error *reterr);
	int (*end)(struct et_audio_writer *w, struct et_error *reterr);
	void (*free)(void *state); /* NULL is allowed */
};

extern const struct audio_writer_kind audio_flac; /* flac_writer.c */
extern const struct audio_writer_kind audio_opus; /* opus_writer.c */
extern const struct audio_writer_kind audio_mp3;  /* mp3_writer.c */

/* A piece of the file. */
int audio_give(struct et_audio_writer *w, const void *data, size_t size, struct et_error *reterr);

/* What the file says of itself: "RECORDING", "0194...". */
enum { AUDIO_TAGS = 5, AUDIO_TAG_TEXT = 160 };
struct audio_tag {
	const char *name;
	char text[AUDIO_TAG_TEXT];
};
/* Returns how many. */
size_t audio_tags(const struct et_audio_about *about, struct audio_tag ret[AUDIO_TAGS]);

#endif
