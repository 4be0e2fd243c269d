#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster-tests/bench/commit/commit.h"
#include "node/base/defs.h"

static const struct bench_cell cells[] = {
	{ 1, 1, 0 },   { 64, 1, 0 },  { 1024, 1, 0 }, { 1, 64, 0 },
	{ 16, 64, 0 }, { 64, 64, 0 }, { 8, 1, 20 },
};

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void print_result(const char *name, const struct bench_result *r)
{
	(void)printf("\"%s\":{\"ops_per_s\":%.0f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"ops\":%llu,"
		     "\"failed\":%llu,\"cpu_us_per_op\":%.1f}",
		     name, r->per_s, r->p50_ms, r->p99_ms, (unsigned long long)r->count,
		     (unsigned long long)r->failed, r->cpu_us);
}

/* Row by row, ours and etcd's in turn, so that a busy moment of the machine meets both. */
static int matrix_run(struct bench_raft *raft, struct bench_etcd *etcd, unsigned seconds, bool noop,
		      const char *only, unsigned rtt_ms)
{
	(void)printf("{\"bench\":\"commit\",\"nodes\":%d,\"payload_bytes\":%d,\"seconds\":%u,"
		     "\"rtt_ms\":%u,\"cpus\":%ld,\"command\":\"%s\",\"etcd\":%s,\"cells\":[",
		     BENCH_NODES, BENCH_PAYLOAD, seconds, rtt_ms, sysconf(_SC_NPROCESSORS_ONLN),
		     noop ? "noop" : "recording.open", etcd != NULL ? "true" : "false");
	bool first = true;
	for (size_t i = 0; i < ET_ARRAY_SIZE(cells); i++) {
		struct bench_result ours = { 0 };
		char name[32];
		(void)snprintf(name, sizeof(name), "%ux%u", cells[i].in_flight, cells[i].batch);
		if (only != NULL && strcmp(only, name) != 0) {
			continue;
		}
		struct bench_result theirs = { 0 };
		int rc = bench_raft_run(raft, cells[i], seconds, noop, &ours);
		if (rc == 0 && etcd != NULL) {
			rc = bench_etcd_run(etcd, cells[i], seconds, &theirs);
		}
		if (rc < 0) {
			(void)fprintf(stderr, "bench-commit: cell %ux%u: %s\n", cells[i].in_flight,
				      cells[i].batch, strerror(-rc));
			return rc;
		}
		(void)printf("%s\n{\"in_flight\":%u,\"batch\":%u,\"paced_per_s\":%u,",
			     first ? "" : ",", cells[i].in_flight, cells[i].batch, cells[i].per_s);
		first = false;
		print_result("evertape", &ours);
		if (etcd != NULL) {
			(void)printf(",");
			print_result("etcd", &theirs);
			(void)printf(",\"ratio\":%.2f",
				     theirs.per_s > 0 ? ours.per_s / theirs.per_s : 0.0);
		}
		(void)printf("}");
		(void)fflush(stdout);
	}
	(void)printf(
		"\n],\"notes\":[\"all nodes on one machine and disk, mutual TLS 1.3 between "
		"them\",\"evertape: RecordingOpen with its indexes (or Noop), proposed inside the "
		"leader's process; latency ends after the leader's RocksDB write\",\"etcd: put "
		"or txn of puts, one plain gRPC connection to the leader\",\"batch 64: one "
		"transaction there, commands proposed together here; p50 and p99 are of a whole "
		"batch\"]}\n");
	return 0;
}

int bench_run(const char *program, int argc, char **argv)
{
	const char *base = getenv("TMPDIR");
	unsigned seconds = 3;
	bool with_etcd = true;
	bool noop = false;
	const char *only = NULL;
	unsigned rtt_ms = 0;
	char folder[256];
	char etcd_folder[300];

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--no-etcd") == 0) {
			with_etcd = false;
		} else if (strcmp(argv[i], "--rtt") == 0 && i + 1 < argc) {
			rtt_ms = (unsigned)strtoul(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--cell") == 0 && i + 1 < argc) {
			only = argv[++i];
		} else if (strcmp(argv[i], "--noop") == 0) {
			noop = true;
		} else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
			seconds = (unsigned)strtoul(argv[++i], NULL, 10);
		} else {
			(void)fprintf(
				stderr,
				"usage: %s [--seconds N] [--rtt MS] [--cell AxB] [--noop] "
				"[--no-etcd]\n       %s --apply FOLDER BATCH GROUP COMMANDS\n",
				argv[0], argv[0]);
			return 2;
		}
	}
	if (with_etcd &&
	    system("command -v etcd >/dev/null && command -v openssl >/dev/null") != 0) {
		(void)fprintf(stderr,
			      "bench-commit: no etcd here (ops/packages bench): without it\n");
		with_etcd = false;
	}
	(void)snprintf(folder, sizeof(folder), "%s/bench-commit.XXXXXX",
		       base != NULL ? base : "/var/tmp");
	if (seconds == 0 || mkdtemp(folder) == NULL) {
		(void)fprintf(stderr, "bench-commit: %s: %s\n", folder, strerror(errno));
		return 1;
	}
	(void)snprintf(etcd_folder, sizeof(etcd_folder), "%s/etcd", folder);
	int rc = mkdir(etcd_folder, 0700);
	struct bench_raft *raft = rc == 0 ? bench_raft_start(program, folder, rtt_ms) : NULL;
	struct bench_etcd *etcd =
		raft != NULL && with_etcd ? bench_etcd_start(etcd_folder, rtt_ms) : NULL;
	rc = raft == NULL || (with_etcd && etcd == NULL)
		     ? -1
		     : matrix_run(raft, etcd, seconds, noop, only, rtt_ms);
	if (etcd != NULL) {
		bench_etcd_stop(etcd);
	}
	if (raft != NULL) {
		bench_raft_stop(raft);
	}
	(void)nftw(folder, remove_entry, 32, FTW_DEPTH | FTW_PHYS);
	return rc < 0 ? 1 : 0;
}
