/* Time-true mix of a call: packets in, two channels of samples out, at a rate of 8 to 48 kHz.
 *
 * Party 0 is the left channel, party 1 the right one; both lie on one clock that begins at the
 * recording's origin. A stream's first packet is placed by its arrival (by up to
 * ET_RTP_CLOCK_EARLY_US before the origin: at the origin, as packets of two streams may overtake
 * each other on their way to the recorder, and no sound is to be cut for that); the others by their
 * RTP timestamp from there, however late or reordered they arrive (up to ET_MIX_LATE_MS). Where
 * nothing was received there is silence; nothing is concealed, stretched or made up, unless
 * et_mix_conceal() asks for it. Each sample of a stream is placed once: duplicates change nothing.
 * Streams of one party that overlap are added, clipped.
 *
 * A stream's clock is node/rtp/clock.h: when timestamp and arrival part by more than a network
 * explains, the stream is anchored again by arrival, behind what it has placed already. So a
 * network that stalls for longer than ET_RTP_CLOCK_BEHIND_US and then delivers everything shifts
 * the rest of that stream: what was sent in the stall is not told from what was sent after it.
 *
 * A stream of the mix's rate whose decoder has no memory (G.711) is placed as it is, bit for bit.
 * Others go through voice.c: their packets are decoded in the order in which they were said, and
 * resampled without a shift. A stream of a higher rate than the mix's loses its upper band. Of a
 * codec of files whose sound begins and ends within packets (et_codec_has_ends()), what lies before
 * the origin and behind the end is not heard.
 *
 * Samples come out in order by callback, in windows; memory does not grow with the call.
 *
 * Threads: one owner at a time. */
#ifndef ET_NODE_AUDIO_MIX_H
#define ET_NODE_AUDIO_MIX_H

#include <stdbool.h>
#include <stdint.h>

#include "node/audio/codec.h"
#include "node/base/err.h"
#include "node/rtp/clock.h"

#define ET_MIX_CHANNELS 2
#define ET_MIX_STREAMS_MAX 256 /* of a call, over all its segments */
#define ET_MIX_LATE_MS 10000   /* how far behind the newest sample a packet may still be placed */
#define ET_MIX_DURATION_MAX_MS 86400000 /* a day: packets behind it are counted, not placed */

/* Gets `frames` frames of two interleaved samples (left, right); a negative result stops the mix
 * and is returned by the call that caused it. */
typedef int (*et_mix_sink)(void *arg, const int16_t *samples, size_t frames);

struct et_mix_stats {
	uint64_t frames;       /* given out */
	uint64_t packets;      /* placed */
	uint64_t duplicates;   /* packets that brought no new sample */
	uint64_t too_late;     /* behind the window */
	uint64_t out_of_range; /* wholly before the origin, or after a day */
	uint64_t undecodable;  /* nothing of the codec in it, or its parameters have no decoder */
	uint64_t anchors;      /* re-anchored */
	uint64_t concealed;    /* frames of a channel that are made up: et_mix_conceal() */
};

struct et_mix;

/* The rate that a mix needs so that nothing of a codec is lost: 8000, 16000 or 48000 Hz. */
uint32_t et_mix_rate_for(const struct et_codec *codec);

/* A mix whose frame 0 is at `origin_us`, of `rate` Hz: 8000, 16000 or 48000 (else ET_EUNSUPPORTED).
 * The caller owns *ret (at 8 kHz about 0.6 MiB, and 16 KiB a stream; at 48 kHz eight times that).
 */
int et_mix_new(int64_t origin_us, uint32_t rate, et_mix_sink sink, void *arg, struct et_mix **ret,
	       struct et_error *reterr) ET_MUST_CHECK;
struct et_mix *et_mix_free(struct et_mix *m); /* NULL is allowed; returns NULL */
static inline void et_mix_freep(struct et_mix **m)
{
	*m = et_mix_free(*m);
}

struct et_mix_packet {
	uint32_t stream; /* < ET_MIX_STREAMS_MAX */
	uint8_t party;	 /* 0, 1 */
	bool marker;
	uint16_t sequence;
	uint32_t timestamp;
	int64_t arrival_us;
	const struct et_codec *codec;
	const char *fmtp;	 /* its parameters, or NULL; for the call */
	enum et_channel channel; /* of a codec that has voices: which; the same for the stream */
	struct et_view payload;	 /* a view, for the call */
};

/* Place one packet, in the order of recording. */
int et_mix_add(struct et_mix *m, const struct et_mix_packet *packet) ET_MUST_CHECK;

/* ---- Concealment ------------------------------------------------------------------------------
 * What was lost is made up, where else there is silence. The time axis stays, and so does each
 * sample that came: of a codec without a way of its own (all but G.729, Speex, Opus, AMR and
 * AMR-WB) to the bit; the decoders of those go on from what they made up, as they are meant to.
 *
 * Lost is what the sequence numbers say: a hole up to a second long, into which as many packets as
 * are missing fit, behind one that had sound. Of it the first 60 ms are made up, fading away if it
 * goes on (of the others after 50 ms); of Opus also what the packet behind it tells of the last one
 * (in-band FEC). A packet that comes within ET_MIX_LATE_MS is no loss. Not concealed is what was
 * not sent (silences, comfort noise, key presses in packets of their own: et_mix_came()), what lies
 * around et_mix_leave(), what a new anchor or another codec is behind, and what another stream of
 * the channel has sound for. Nothing is made of what was made up. */

/* Frames [from, to) of a channel, which the sink gets next, are made up. */
typedef void (*et_mix_made)(void *arg, uint8_t channel, int64_t from, int64_t to);

/* Before the first packet, once. `told` may be NULL. -ENOMEM: the mix is to be freed. */
int et_mix_conceal(struct et_mix *m, et_mix_made told, void *arg) ET_MUST_CHECK;

/* Frames [from, to) are silent for a reason (a pause): holes there and near by stay as they are. */
void et_mix_leave(struct et_mix *m, int64_t from, int64_t to);

/* A packet of the stream came that is not heard here (comfort noise, RFC 3389; a telephone event,
 * RFC 4733): so it is not lost. Without et_mix_conceal() nothing. -ENOMEM. */
int et_mix_came(struct et_mix *m, uint32_t stream, uint16_t sequence, uint32_t timestamp,
		int64_t arrival_us) ET_MUST_CHECK;

/* ---- Beginning in the midst -------------------------------------------------------------------
 * The samples from there on are those of a mix that got all packets from the begin, but for
 * decoders with a memory: give them some seconds before what is to be heard. */

/* Nothing before `frame` is given out, and stats.frames counts as if it had been. Before the first
 * packet. */
void et_mix_begin(struct et_mix *m, int64_t frame);

/* The stream's packets up to here moved `saved`: its clock goes on from there. */
void et_mix_resume(struct et_mix *m, uint32_t stream, const struct et_rtp_clock *saved);

/* A packet that moves its stream's clock and is not heard. */
void et_mix_pass(struct et_mix *m, const struct et_mix_packet *packet);

/* Where in the mix a timestamp of the stream lies: for what is no audio and shares its clock
 * (telephone events, RFC 4733). By its arrival when the clock does not say, or says something more
 * than ET_MIX_WHERE_MS away. May be before frame 0. */
#define ET_MIX_WHERE_MS 2000
int64_t et_mix_where(const struct et_mix *m, uint32_t stream, uint32_t timestamp,
		     int64_t arrival_us);

/* No more packets: give out what is left. With `end_us` (0: not known) silence is added up to there
 * (within a day); samples behind it are not cut. */
int et_mix_finish(struct et_mix *m, int64_t end_us) ET_MUST_CHECK;

struct et_mix_stats et_mix_stats(const struct et_mix *m);

#endif
