/* WAV (RIFF, PCM 16 bit little-endian, two channels) and waveform peaks.
 *
 * Threads: plain values, one owner each. */
#ifndef ET_NODE_AUDIO_WAV_H
#define ET_NODE_AUDIO_WAV_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"

#define ET_WAV_HEADER_SIZE 44	      /* bytes */
#define ET_WAV_FRAME_SIZE 4	      /* bytes: left and right */
#define ET_WAV_FRAMES_MAX 1073741814U /* the sizes in a RIFF header are 32 bits */

/* The header of a file with `frames` frames (<= ET_WAV_FRAMES_MAX, else ET_ELIMIT) of `rate` Hz. */
int et_wav_header(uint64_t frames, uint32_t rate, uint8_t ret[ET_WAV_HEADER_SIZE]) ET_MUST_CHECK;

/* A file of which sound was made up says so behind its samples: a LIST chunk with a comment (INFO,
 * ICMT). Makes it, and the header of such a file of the header of one without. ET_ELIMIT: there is
 * no room for it. */
#define ET_WAV_LABEL_SIZE 160 /* bytes */
int et_wav_label(uint8_t header[ET_WAV_HEADER_SIZE], uint8_t ret[ET_WAV_LABEL_SIZE]) ET_MUST_CHECK;

/* Samples as they stand in the file: ET_WAV_FRAME_SIZE bytes a frame. */
void et_wav_frames(const int16_t *samples, size_t frames, uint8_t *ret);

/* A file that is written as samples come; the header is patched at the end. Zero is not valid: open
 * first. */
struct et_wav {
	int fd;	       /* owned */
	uint32_t rate; /* Hz */
	uint64_t frames;
	bool concealed; /* the caller's: it gets a label at its end */
};

/* Create `path` (mode 0600; must not exist). */
int et_wav_create(struct et_wav *w, const char *path, uint32_t rate,
		  struct et_error *reterr) ET_MUST_CHECK;
int et_wav_write(struct et_wav *w, const int16_t *samples, size_t frames,
		 struct et_error *reterr) ET_MUST_CHECK;
/* Patch the header and close; it is on disk when its file system was synced. */
int et_wav_end(struct et_wav *w, struct et_error *reterr) ET_MUST_CHECK;
/* Close without finishing; after et_wav_end() nothing. */
void et_wav_close(struct et_wav *w);

/* Peaks: lowest and highest sample of each of `count` equal spans, per channel. */
struct et_peak {
	int16_t low[2];
	int16_t high[2];
};

struct et_peaks {
	struct et_peak *peaks; /* borrowed from the caller: `count` of them */
	uint32_t count;
	uint64_t frames_total; /* as announced */
	uint64_t frames;       /* seen */
};

/* `frames_total` (32 bits) must be known (0: every peak stays 0); frames behind it are ignored. */
void et_peaks_init(struct et_peaks *p, struct et_peak *peaks, uint32_t count,
		   uint64_t frames_total);
void et_peaks_add(struct et_peaks *p, const int16_t *samples, size_t frames);

#endif
