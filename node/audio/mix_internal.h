/* The mix as mix.c and conceal.c know it. */
#ifndef ET_NODE_AUDIO_MIX_INTERNAL_H
#define ET_NODE_AUDIO_MIX_INTERNAL_H

#include "node/audio/holes_internal.h"
#include "node/audio/mix.h"
#include "node/audio/voice_internal.h"

/* Samples stand in a ring of RING frames that begins at `base`; what lies before was given out. A
 * packet is placed anywhere in it; if it ends behind the ring, the ring moves on. In steady state
 * the ring is given out up to LATE behind the newest sample.
 *
 *      base                    newest - LATE              newest        base + RING
 *   ────┼───────────────────────────┼────────────────────────┼───────────────┼────
 *  gone │   to be given out next    │  late packets may come │   silence yet │
 */
enum {
	RATE = 8000,	     /* Hz, the lowest; what follows is for it, and grows with the rate */
	RING = 131072,	     /* frames, a power of two: 16.4 s */
	GRAIN = 64,	     /* `base` moves in steps of this, but for the last one */
	CHUNK = 4096,	     /* frames given to the sink at once, at any rate */
	SAMPLES_MAX = 16384, /* of one packet: 2 s */
	STEPS_MAX = 8,	     /* the highest rate's ring: a power of two, again */
};
_Static_assert(ET_MIX_LATE_MS *(RATE / 1000) + SAMPLES_MAX < RING,
	       "a packet fits behind the late window");
_Static_assert(SAMPLES_MAX >= (int)ET_CODEC_SAMPLES_MAX, "a payload fits");

struct stream {
	uint8_t channel;
	struct et_rtp_clock clock;
	bool laid;	     /* it has samples: */
	int64_t end;	     /* behind its last placed sample */
	uint64_t *covered;   /* owned: a bit a frame of the ring; NULL before the first packet */
	struct voice *voice; /* owned, or NULL */
	/* When losses are concealed: */
	const struct et_codec *codec; /* of the last packet */
	uint64_t anchors;	      /* of the clock, at that time */
	struct holes holes;
	struct made *made; /* owned: what was made up and not given out yet, in order */
	size_t made_count;
	size_t made_room;
	int64_t made_end; /* behind the last hole that was dealt with */
};

struct et_mix {
	int64_t origin_us;
	uint32_t rate;
	int64_t per_ms;
	int64_t ring_size;
	size_t voices; /* streams that have one */
	et_mix_sink sink;
	void *arg;     /* borrowed */
	int64_t begin; /* nothing before it is wanted */
	int64_t base;
	int64_t newest; /* behind the newest sample of all */
	struct et_mix_stats stats;
	struct conceal *conceal; /* owned; NULL: what was lost is silence */
	struct stream streams[ET_MIX_STREAMS_MAX];
	int16_t samples[SAMPLES_MAX]; /* of the packet at hand */
	int16_t ring[];		      /* ring_size frames */
};

static size_t ring_at(const struct et_mix *m, int64_t position)
{
	return (size_t)(position & (m->ring_size - 1));
}

/* ---- conceal.c; each may be called without a `conceal` -----------------------------------------
 */

void conceal_release(struct et_mix *m);

/* A packet of the stream came. -ENOMEM. */
int conceal_came(struct et_mix *m, struct stream *s, const struct et_mix_packet *p,
		 int64_t position) ET_MUST_CHECK;

/* Before the stream's voice has its turn: what was lost before its next packet is its codec's
 * matter. -ENOMEM. */
int conceal_voice(struct et_mix *m, struct stream *s, bool all) ET_MUST_CHECK;

/* All that can come before `until` is there: what was lost is made up. -ENOMEM. */
int conceal_until(struct et_mix *m, int64_t until) ET_MUST_CHECK;

/* `count` frames at `base` are about to be given out: put into them what was made up. They do not
 * wrap. */
void conceal_lay(struct et_mix *m, size_t count);

#endif
