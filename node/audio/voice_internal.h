/* A stream of the mix on its way from payloads to samples of the mix's rate, for codecs whose
 * decoder has a memory, or another rate: packets wait until the next few have come, so that they
 * are decoded in the order in which they were said; what lies side by side is resampled as one run.
 */
#ifndef ET_NODE_AUDIO_VOICE_INTERNAL_H
#define ET_NODE_AUDIO_VOICE_INTERNAL_H

#include "node/audio/codec.h"

enum {
	VOICE_HELD = 8
}; /* packets that wait; one that is later than that is decoded out of order */

struct voice;

/* -ENOMEM; parameters without a decoder are no error: everything is undecodable then. */
int voice_new(const struct et_codec *codec, const char *fmtp, enum et_channel channel,
	      uint32_t rate, struct voice **ret) ET_MUST_CHECK;
struct voice *voice_free(struct voice *v); /* NULL is allowed; returns NULL */
bool voice_is_of(const struct voice *v, const struct et_codec *codec, const char *fmtp);

/* A packet that belongs at `position` (frames). 1: it is there already. -ENOMEM. */
int voice_put(struct voice *v, int64_t position, uint16_t sequence,
	      struct et_view payload) ET_MUST_CHECK;

/* What was put so far says nothing behind `position`. */
void voice_end(struct voice *v, int64_t position);

/* The lowest position of what has not been taken; false: there is nothing. */
bool voice_lowest(const struct voice *v, int64_t *ret);

struct voice_span {
	int64_t position;
	const int16_t *samples; /* valid until the next call */
	size_t count;		/* may be 0 */
	int packet; /* 1: of a packet; 0: the rest of a run, or of a packet that has none of its
		     * own; -1: a packet without sound */
	uint16_t sequence; /* of the packet; where it lies: */
	int64_t packet_position;
	int64_t packet_end;
};

/* Take the next span. Without `all`, only what no longer has to wait. false: nothing. */
bool voice_take(struct voice *v, bool all, struct voice_span *ret);

/* Is a packet next for voice_take(), or the rest of a run before one? *ret is its sequence number.
 */
bool voice_next(const struct voice *v, bool all, uint16_t *ret);

/* Has its codec a way of its own to conceal losses? */
bool voice_conceals(const struct voice *v);

/* What the codec makes of `frames` that were lost before the next packet, in frames of the mix: the
 * first *ret_head of them (up to VOICE_MADE_MS), and the last *ret_tail of them, of which the
 * packet itself tells. Between them, or if nothing can be made, there is silence. `ret` has room
 * for `frames`, up to a second. The decoder goes on from there. -ENOMEM. */
enum { VOICE_MADE_MS = 60 };
int voice_conceal(struct voice *v, size_t frames, int16_t *ret, size_t *ret_head,
		  size_t *ret_tail) ET_MUST_CHECK;

#endif
