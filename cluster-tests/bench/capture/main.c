/* bench-capture [CALLS [SECONDS]]: prints one JSON object. Default: 1,000 calls of 20 s, 2,007,000
 * packets. Exit 1: a packet was lost, or a tape not acknowledged. */
#include <fcntl.h>
#include <ftw.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cluster-tests/bench/capture/run.h"
#include "cluster-tests/harness/calls.h"
#include "node/base/fd.h"

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void print_result(const char *name, const struct et_bench_result *r, uint64_t packets)
{
	(void)printf("\"%s\":{\"wall_s\":%.3f,\"cpu_s\":%.3f,\"peak_rss_bytes\":%llu,"
		     "\"packets_per_s\":%.0f,\"packets_per_cpu_s\":%.0f}",
		     name, r->wall_s, r->cpu_s, (unsigned long long)r->peak_rss_bytes,
		     (double)packets / r->wall_s, (double)packets / r->cpu_s);
}

/* On disk before it is read: else the first sync of the tapes' file system writes it, too, 460 MB
 * in the measured process. */
static int sync_file(const char *path, struct et_error *reterr)
{
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? et_fail(reterr, -errno, "sync '%s'", path) : 0;
}

/* What is made in `dir` begins anywhere on the disk. ext4 else puts the tapes of this run where it
 * had those of the run before, and looks at each inode that was deleted there in the last minutes
 * (it does not give them out so soon) for every file that is made: up to half a CPU second of the
 * thousand tapes that we removed. Where a file system knows nothing of it, nothing is lost. */
static void spread(const char *dir)
{
	ET_CLEANUP(et_fd_closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int flags = 0;
	if (fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
		flags |= FS_TOPDIR_FL;
		(void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
	}
}

static int measure(const char *dir, const struct et_made_config *made, struct et_error *reterr)
{
	char file[256];
	char media[256];
	char media_dropped[256];
	struct et_made_counts counts;
	char wav[256];
	struct et_bench_result own;
	struct et_bench_result dropped;
	struct et_bench_result wavs;
	struct et_bench_result peer;
	(void)snprintf(file, sizeof(file), "%s/made.pcap", dir);
	(void)snprintf(media, sizeof(media), "%s/media%s", dir, strrchr(dir, '.'));
	int rc = et_made_write(file, made, &counts, reterr);
	rc = rc < 0 ? rc : sync_file(file, reterr);
	if (rc < 0) {
		return rc;
	}
	struct et_bench_tapes tapes = { .file = file, .media = media };
	rc = et_bench_child(et_bench_to_tapes, &tapes, &own, reterr);
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(media_dropped, sizeof(media_dropped), "%s/media-dropped", dir);
	tapes = (struct et_bench_tapes){ .file = file, .media = media_dropped, .drop_tones = true };
	rc = et_bench_child(et_bench_to_tapes, &tapes, &dropped, reterr);
	if (rc < 0) {
		return rc;
	}
	struct et_bench_wavs folder = { .file = file, .folder = wav };
	(void)snprintf(wav, sizeof(wav), "%s/wav", dir);
	rc = et_bench_child(et_bench_to_wavs, &folder, &wavs, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = et_bench_child(et_bench_tshark, file, &peer, reterr);
	if (rc < 0) {
		return rc;
	}
	bool good = own.exit_code == 0 && own.packets == counts.rtp && dropped.exit_code == 0 &&
		    dropped.packets == counts.rtp && wavs.exit_code == 0 &&
		    wavs.packets == counts.rtp;
	(void)printf(
		"{\"schema\":\"evertape/bench/v1\",\"bench\":\"capture\",\"calls\":%u,"
		"\"packets\":%llu,\"rtp\":%llu,\"in_tapes\":%llu,\"in_wavs\":%llu,\"complete\":%s,",
		(unsigned)made->calls, (unsigned long long)counts.packets,
		(unsigned long long)counts.rtp, (unsigned long long)own.packets,
		(unsigned long long)wavs.packets, good ? "true" : "false");
	print_result("evertape_to_tapes", &own, counts.packets);
	(void)printf(",");
	print_result("evertape_to_tapes_tones_dropped", &dropped, counts.packets);
	(void)printf(",");
	print_result("evertape_to_wavs", &wavs, counts.packets);
	if (peer.exit_code == 0) {
		(void)printf(",");
		print_result("tshark_rtp_streams", &peer, counts.packets);
	} else {
		(void)printf(",\"tshark_rtp_streams\":null");
		(void)fprintf(stderr,
			      "bench-capture: tshark is not installed (ops/packages bench)\n");
	}
	(void)printf("}\n");
	return good ? 0
		    : et_fail(reterr, ET_EDEGRADED,
			      "not every packet is in a sealed tape and a WAV file");
}

int main(int argc, char **argv)
{
	struct et_made_config made = { .calls = 1000, .seconds = 20, .seed = 1 };
	struct et_error error;
	char dir[128];
	const char *tmp = getenv("TMPDIR");
	if (argc > 1) {
		made.calls = (uint32_t)strtoul(argv[1], NULL, 10);
	}
	if (argc > 2) {
		made.seconds = (uint32_t)strtoul(argv[2], NULL, 10);
	}
	(void)snprintf(dir, sizeof(dir), "%.64s/bench-capture.XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(dir) == NULL) {
		perror("bench-capture: mkdtemp");
		return 1;
	}
	spread(dir);
	int rc = measure(dir, &made, &error);
	(void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	if (rc < 0) {
		(void)fprintf(stderr, "bench-capture: %s\n", error.text);
		return 1;
	}
	return 0;
}
