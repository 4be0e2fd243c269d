/* The calls of a replay as time-true stereo WAV files: caller left, callee right.
 *
 * The files are replayed once. What is heard of a call is kept in a spool (spool.h) until the call
 * is over, then mixed as a whole, one call after the other: a mix holds seconds of audio (0.6 MiB
 * at 8 kHz), and packets may come late or out of the order of the whole (files given in another
 * order, a clock that was set back). So there is one mix at a time, however many calls there are.
 *
 * Files are called as their calls, which is known at the end: until then `<recording>.part`. They
 * and the folder are on disk when it returns 0. */
#ifndef ET_OPS_CLI_REPLAY_WAV_H
#define ET_OPS_CLI_REPLAY_WAV_H

#include "node/capture/replay.h"

#define ET_REPLAY_WAV_NAME 64

struct et_replay_wavs {
	struct et_replay_summary summary;
	char (*names)[ET_REPLAY_WAV_NAME]; /* of summary.calls[i]; "": nothing could be decoded */
	uint64_t *concealed_ms;		   /* likewise: what was made up, of both sides */
	uint64_t undecodable;		   /* packets that have no decoder here, or no key */
};

/* Replay `config`, whose on_media and on_close are not used, and write its calls into `folder`,
 * made when it is not there; with `conceal` what was lost is made up (node/audio/mix.h), but near
 * pauses. On success the caller owns *ret and releases it; on failure no `.part`
 * is left (a run that is killed leaves those that it has written; the same one, begun anew, takes
 * their places). Errors as of et_replay(), and the disk's. */
int et_replay_wavs(const struct et_replay_config *config, const char *folder, bool conceal,
		   struct et_replay_wavs *ret, struct et_error *reterr) ET_MUST_CHECK;
void et_replay_wavs_release(struct et_replay_wavs *w); /* zeros are allowed */

#endif
