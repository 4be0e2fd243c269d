/* The calls of a replay as time-true stereo WAV files: caller left, callee right.
 *
 * A mix holds seconds of audio (0.6 MiB at 8 kHz), so the files are replayed again, once for as
 * many calls as are under way at a time within a budget of memory: a day of capture files with 200
 * concurrent calls is read twice, one with 1,000 five times. Replays are deterministic, so every
 * pass sees the same calls. A call whose packets come out of order of the whole (files given in
 * another order, a clock that was set back) is written in a pass of its own kind, to its end.
 *
 * Files are called as their calls; they and the folder are on disk when it returns 0. */
#ifndef ET_OPS_CLI_REPLAY_WAV_H
#define ET_OPS_CLI_REPLAY_WAV_H

#include "node/capture/replay.h"

#define ET_REPLAY_WAV_NAME 64
#define ET_REPLAY_WAV_BUDGET ((size_t)160 * 1024 * 1024)

/* Write the calls of `summary`, which `config` gave, into `folder`, made when it is not there.
 * `budget`: bytes of all mixes at a time; one call is always taken. names[i]: of call i; "" when
 * nothing in it could be decoded. *ret_undecodable: packets that have no decoder here, or no key.
 */
int et_replay_wavs(const struct et_replay_config *config, const struct et_replay_summary *summary,
		   const char *folder, size_t budget, char (*names)[ET_REPLAY_WAV_NAME],
		   uint64_t *ret_undecodable, struct et_error *reterr) ET_MUST_CHECK;

#endif
