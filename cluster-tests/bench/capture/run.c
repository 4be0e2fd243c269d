#include "cluster-tests/bench/capture/run.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/capture/replay.h"
#include "node/crypto/sign.h"
#include "node/io/clock.h"
#include "ops/cli/replay_wav.h"

static double seconds(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

int et_bench_child(int (*fn)(void *arg, uint64_t *packets), void *arg, struct et_bench_result *ret,
		   struct et_error *reterr)
{
	int fds[2];
	int status = 0;
	struct rusage usage;
	uint64_t packets = 0;
	if (pipe2(fds, O_CLOEXEC) < 0) {
		return et_fail(reterr, -errno, "pipe");
	}
	int64_t before_us = et_clock_mono_us();
	pid_t pid = fork();
	if (pid < 0) {
		return et_fail(reterr, -errno, "fork");
	}
	if (pid == 0) {
		int code = fn(arg, &packets);
		ssize_t n = write(fds[1], &packets, sizeof(packets));
		_exit(n == (ssize_t)sizeof(packets) ? code : 1);
	}
	(void)close(fds[1]);
	while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR) {
	}
	int64_t after_us = et_clock_mono_us();
	if (read(fds[0], &packets, sizeof(packets)) != (ssize_t)sizeof(packets)) {
		packets = 0;
	}
	(void)close(fds[0]);
	*ret = (struct et_bench_result){
		.wall_s = (double)(after_us - before_us) / 1e6,
		.cpu_s = seconds(&usage.ru_utime) + seconds(&usage.ru_stime),
		.peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024,
		.packets = packets,
		.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128,
	};
	return 0;
}

struct acknowledged {
	uint64_t opened;
	uint64_t sealed;
};

static int on_event(void *arg, const struct et_capture_event *ev)
{
	struct acknowledged *a = arg;
	a->opened += ev->kind == ET_CAPTURE_SEGMENT_OPEN;
	a->sealed += ev->kind == ET_CAPTURE_SEGMENT_SEALED;
	return 0;
}

int et_bench_to_tapes(void *arg, uint64_t *packets)
{
	const struct et_bench_tapes *tapes = arg;
	ET_CLEANUP(et_secret_freep) struct et_secret *sign = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *kek = NULL;
	uint8_t sign_public[32];
	struct acknowledged acknowledged = { .opened = 0 };
	static const struct et_rules drop = { .otherwise = ET_RULE_RECORD,
					      .tones = ET_RULE_TONES_DROP };
	struct et_replay_summary summary;
	struct et_replay_config config = {
		.files = &tapes->file,
		.file_count = 1,
		.capture = {
			.rules = tapes->drop_tones ? &drop : NULL,
			.media = tapes->media,
			.node = 1,
			.site = "bench",
			.kek_version = 1,
			.on_event = on_event,
			.arg = &acknowledged,
		},
	};
	if (et_ed25519_generate(&sign, sign_public, NULL) < 0 ||
	    et_x25519_generate(&kek, config.capture.kek_public, NULL) < 0) {
		return 1;
	}
	config.capture.sign_key = sign;
	if (et_replay(&config, &summary, NULL) < 0) {
		return 1;
	}
	*packets = summary.metrics.tape_packets;
	bool good =
		summary.metrics.media_dropped == 0 && acknowledged.sealed == acknowledged.opened;
	et_replay_summary_release(&summary);
	return good ? 0 : 1;
}

int et_bench_to_wavs(void *arg, uint64_t *packets)
{
	const struct et_bench_wavs *w = arg;
	const struct et_replay_config config = { .files = &w->file, .file_count = 1 };
	struct et_replay_wavs wavs;
	int rc = et_replay_wavs(&config, w->folder, false, &wavs, NULL);
	for (uint32_t i = 0; rc == 0 && i < wavs.summary.call_count; i++) {
		rc = wavs.names[i][0] != '\0' ? 0 : ET_EDEGRADED;
	}
	*packets = wavs.summary.packets.rtp - wavs.undecodable;
	et_replay_wavs_release(&wavs);
	return rc == 0 ? 0 : 1;
}

int et_bench_tshark(void *arg, uint64_t *packets)
{
	*packets = 0;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null >= 0) {
		(void)dup2(null, STDOUT_FILENO);
		(void)dup2(null, STDERR_FILENO);
	}
	(void)execlp("tshark", "tshark", "-n", "-q", "-r", (const char *)arg, "-z", "rtp,streams",
		     (char *)NULL);
	return 127;
}
