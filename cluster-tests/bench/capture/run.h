/* The capture benchmark: a made capture file, from the file to sealed and synced tapes, and the
 * same file through a peer, each in a process of its own. */
#ifndef ET_CLUSTER_TESTS_BENCH_CAPTURE_RUN_H
#define ET_CLUSTER_TESTS_BENCH_CAPTURE_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/err.h"

struct et_bench_result {
	double wall_s;
	double cpu_s;
	uint64_t peak_rss_bytes;
	uint64_t packets; /* of media, in sealed and synced tapes; 0: not told (a peer) */
	int exit_code;
};

/* Run `fn` in a child and measure it. What it returns is the exit code; `packets` goes through a
 * pipe. */
int et_bench_child(int (*fn)(void *arg, uint64_t *packets), void *arg, struct et_bench_result *ret,
		   struct et_error *reterr) ET_MUST_CHECK;

struct et_bench_tapes {
	const char *file;
	const char *media; /* a fresh folder */
	bool drop_tones;   /* under a rule that drops key presses (tones: drop) */
};

/* For et_bench_child(): replay to tapes; 0 when every tape was acknowledged. */
int et_bench_to_tapes(void *arg, uint64_t *packets);

struct et_bench_wavs {
	const char *file;
	const char *folder; /* a fresh one */
};

/* For et_bench_child(): as `evertape capture replay FILE --wav`. `packets`: of media. */
int et_bench_to_wavs(void *arg, uint64_t *packets);

/* For et_bench_child(): `arg` is the file. 127: it is not installed. */
int et_bench_tshark(void *arg, uint64_t *packets);

#endif
