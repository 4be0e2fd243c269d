/* Silence over key presses, between a mix and who hears it.
 *
 *   mix ──▶ [ waits 80 ms ] ──▶ sink
 *              │
 *              └─ a window every 10 ms and channel (node/audio/dtmf.h): two in a row with one key
 *                 make a span, from ET_MASK_GUARD_MS before the first to as much behind the last
 *
 * Both channels are looked at. For ET_MASK_ECHO_MS behind a press its tones are masked where they
 * only stand out, too: the echo in the other channel, and the press that somebody talks over.
 * Spans that others know (telephone events) are added by et_mask_span().
 *
 * Of what was masked nothing is heard again: what a mix made up (et_mix_conceal()) is silence
 * within ET_MASK_MADE_MS behind a masked sample, and where there is a key when it is listened to,
 * too. What came is masked as it would be without.
 *
 * Lengths and times stay: there are as many frames as came in. What is given out depends on the
 * frames of the last ET_MASK_MEMORY_MS only, at their place since frame 0, so a range that is
 * begun so much before is cut from the same samples as the whole.
 *
 * Not found: tones shorter than 30 ms that no event tells of, and those that other sound covers
 * from their beginning to their end.
 *
 * Threads: one owner at a time. */
#ifndef ET_NODE_AUDIO_MASK_H
#define ET_NODE_AUDIO_MASK_H

#include <stddef.h>
#include <stdint.h>

#include "node/audio/mix.h"
#include "node/base/err.h"

#define ET_MASK_GUARD_MS 40
#define ET_MASK_ECHO_MS 500
#define ET_MASK_MEMORY_MS 1000
#define ET_MASK_MADE_MS 100

struct et_mask_stats {
	uint64_t keys; /* presses that were heard; an echo and one that was interrupted count again
			*/
	uint64_t frames; /* with silence in one channel at least */
};

struct et_mask;

/* Between a mix of `rate` Hz (8000, 16000, 48000) and `sink`. The caller owns *ret (16 KiB at
 * 8 kHz). */
int et_mask_new(uint32_t rate, et_mix_sink sink, void *arg, struct et_mask **ret,
		struct et_error *reterr) ET_MUST_CHECK;
struct et_mask *et_mask_free(struct et_mask *m); /* NULL is allowed; returns NULL */

/* The mix begins with this frame, not with frame 0. Before the first that comes. */
void et_mask_begin(struct et_mask *m, int64_t frame);

/* The mix's sink; `arg` is the mask. What the mask's own sink returns if it is negative. */
int et_mask_put(void *arg, const int16_t *samples, size_t frames) ET_MUST_CHECK;

/* The et_mix_made of a mix: `arg` is the mask. */
void et_mask_made(void *arg, uint8_t channel, int64_t from, int64_t to);

/* What of that is given out is told, before it is. */
void et_mask_tell_made(struct et_mask *m, et_mix_made told, void *arg);

/* Frames [from, to) of a channel are silence, as far as they were not given out yet. */
void et_mask_span(struct et_mask *m, uint8_t channel, int64_t from, int64_t to);

/* No more frames: give out what waits. */
int et_mask_finish(struct et_mask *m) ET_MUST_CHECK;

struct et_mask_stats et_mask_stats(const struct et_mask *m);

#endif
