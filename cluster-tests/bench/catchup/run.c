#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cluster-tests/bench/catchup/catchup.h"
#include "cluster-tests/bench/commit/commit.h"
#include "node/base/defs.h"
#include "node/io/clock.h"

enum { LEADER = 0, OTHER = 1, AWAY = 2 };
#define PATIENCE_US (INT64_C(1800) * 1000000)
#define STALL_MAX_US 100000
#define MEMORY_MAX (UINT64_C(200) * 1000 * 1000)

struct options {
	unsigned long long commands; /* that are missed */
	unsigned per_s;		     /* while it catches up */
	unsigned long long fill;     /* bytes that the state has before */
	bool noop;
	bool strict;
};

struct status {
	unsigned long long index;
	char digest[65];
	unsigned long long commit, term, leader, snapshot, pulled, served, reused;
	unsigned long long longest_us, longest_cpu_us, over, rss, loop_longest_us, installing;
};

struct story {
	struct options o;
	const char *program;
	char folder[256];
	pid_t pid[CATCHUP_NODES];
	int to[CATCHUP_NODES];
	FILE *from[CATCHUP_NODES];
	char address[CATCHUP_NODES][32];
	char line[512];			       /* the last answer */
	unsigned long long rss[CATCHUP_NODES]; /* before */
	double load_s;
	double catch_up_s;
	unsigned long long count, failed;
	double paced_s, p50_ms, p99_ms;
	struct status before, after[CATCHUP_NODES];
};

/* ---- The nodes ---- */

static int node_start(struct story *s, int i)
{
	int to[2];
	int from[2];
	char id[16];

	if (pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0) {
		return -errno;
	}
	(void)snprintf(id, sizeof(id), "%d", i + 1);
	if (s->address[i][0] == '\0') {
		(void)snprintf(s->address[i], sizeof(s->address[i]), "127.0.0.1:%d", bench_port());
	}
	s->pid[i] = fork();
	if (s->pid[i] == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)dup2(to[0], 0);
		(void)dup2(from[1], 1);
		(void)execl(s->program, s->program, "--node", s->folder, id, s->address[i],
			    (char *)NULL);
		_exit(127);
	}
	(void)close(to[0]);
	(void)close(from[1]);
	s->to[i] = to[1];
	s->from[i] = fdopen(from[0], "r");
	return s->pid[i] < 0 || s->from[i] == NULL ? -errno : 0;
}

static void node_stop(struct story *s, int i)
{
	if (s->pid[i] > 0) {
		(void)close(s->to[i]);
		(void)waitpid(s->pid[i], NULL, 0);
		(void)fclose(s->from[i]);
		s->pid[i] = 0;
	}
}

static int ask(struct story *s, int i, const char *question)
{
	size_t n = strlen(question);

	if (write(s->to[i], question, n) != (ssize_t)n ||
	    fgets(s->line, sizeof(s->line), s->from[i]) == NULL || strncmp(s->line, "ok", 2) != 0) {
		(void)fprintf(stderr, "bench-catchup: node %d: %.*s: failed\n", i + 1,
			      (int)(n > 0 ? n - 1 : 0), question);
		return -EIO;
	}
	return 0;
}

static int status_of(struct story *s, int i, const char *question, struct status *r)
{
	int rc = ask(s, i, question);

	if (rc == 0 &&
	    sscanf(s->line,
		   "ok %llu %64s %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu",
		   &r->index, r->digest, &r->commit, &r->term, &r->leader, &r->snapshot, &r->pulled,
		   &r->served, &r->reused, &r->longest_us, &r->longest_cpu_us, &r->over, &r->rss,
		   &r->loop_longest_us, &r->installing) != 15) {
		rc = -EPROTO;
	}
	return rc;
}

static int status_ask(struct story *s, int i, struct status *r)
{
	return status_of(s, i, "status\n", r);
}

static void pause_briefly(void)
{
	const struct timespec t = { .tv_nsec = 50 * 1000 * 1000 };
	(void)nanosleep(&t, NULL);
}

/* Until node `i` has applied at least `index`, and has no catalogue of another on its way. */
static int wait_for(struct story *s, int i, unsigned long long index)
{
	int64_t end_us = et_clock_mono_us() + PATIENCE_US;
	struct status now = { 0 };
	int rc = 0;

	while (rc == 0 && (now.index < index || now.installing != 0)) {
		pause_briefly();
		rc = status_ask(s, i, &now);
		if (rc == 0 && et_clock_mono_us() > end_us) {
			(void)fprintf(stderr, "bench-catchup: node %d is at %llu, not at %llu\n",
				      i + 1, now.index, index);
			rc = -ETIMEDOUT;
		}
	}
	return rc;
}

/* ---- The story ---- */

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int cluster_make(struct story *s)
{
	int rc = catchup_identities_make(s->folder);

	for (int i = 0; rc == 0 && i < CATCHUP_NODES; i++) {
		rc = node_start(s, i);
	}
	rc = rc < 0 ? rc : ask(s, LEADER, "begin\n");
	for (int i = 1; rc == 0 && i < CATCHUP_NODES; i++) {
		char question[128];
		(void)snprintf(question, sizeof(question), "add %d %s\n", i + 1, s->address[i]);
		rc = ask(s, LEADER, question);
	}
	return rc;
}

/* The second gets the first's database: tables by hard links, so that it takes no room twice. Both
 * had applied the same when they were stopped. */
static int database_share(const struct story *s)
{
	char command[1024];

	int n = snprintf(
		command, sizeof(command),
		"cd '%s' && rm -rf 2/db && cp -al 1/db 2/db && find 2/db -type f ! -name "
		"'*.sst' -exec sh -c 'cp \"$1\" \"$1.copy\" && mv \"$1.copy\" \"$1\"' sh {} \\;",
		s->folder);
	return n > 0 && (size_t)n < sizeof(command) && system(command) == 0 ? 0 : -EIO;
}

/* The two that stay get a large state, and are started again, so that they know nothing of what
 * node 3 had: it comes back with nothing. */
static int state_fill(struct story *s)
{
	struct status now = { 0 };
	char path[300];
	int rc = 0;

	node_stop(s, LEADER);
	node_stop(s, OTHER);
	(void)snprintf(path, sizeof(path), "%s/%d/raft", s->folder, AWAY + 1);
	(void)nftw(path, remove_entry, 32, FTW_DEPTH | FTW_PHYS);
	(void)snprintf(path, sizeof(path), "%s/%d/db", s->folder, AWAY + 1);
	(void)nftw(path, remove_entry, 32, FTW_DEPTH | FTW_PHYS);
	rc = catchup_fill(s->folder, LEADER + 1, s->o.fill);
	rc = rc < 0 ? rc : database_share(s);
	rc = rc < 0 ? rc : node_start(s, LEADER);
	rc = rc < 0 ? rc : node_start(s, OTHER);
	int64_t end_us = et_clock_mono_us() + 60 * 1000000;
	while (rc == 0 && now.leader == 0) {
		pause_briefly();
		rc = status_ask(s, LEADER, &now);
		rc = rc == 0 && et_clock_mono_us() > end_us ? -ETIMEDOUT : rc;
	}
	if (rc == 0 && now.leader != LEADER + 1) {
		/* The load is made at node 1, wherever the leader is: both ways count. */
		(void)fprintf(stderr, "bench-catchup: node %llu leads\n", now.leader);
	}
	return rc;
}

/* Node 3 is away; the others go on without it, and their logs end after it. */
static int fall_behind(struct story *s)
{
	char question[64];

	node_stop(s, AWAY);
	int rc = s->o.fill > 0 ? state_fill(s) : 0;
	(void)snprintf(question, sizeof(question), "load %llu %d\n", s->o.commands, s->o.noop);
	rc = rc < 0 ? rc : ask(s, LEADER, question);
	if (rc == 0 && sscanf(s->line, "ok %*u %llu %lf", &s->failed, &s->load_s) != 2) {
		rc = -EPROTO;
	}
	for (int i = 0; rc == 0 && i < 4; i++) { /* The second leaves no log before the first. */
		rc = ask(s, i % 2, "snapshot\n");
		if (rc == 0 && i == 1) {
			rc = ask(s, LEADER, "load 2000 1\n");
		}
	}
	return rc;
}

static int come_back(struct story *s)
{
	char question[64];
	struct status target = { 0 };
	int rc = 0;

	for (int i = 0; rc == 0 && i <= OTHER; i++) {
		rc = ask(s, i, "reset\n");
		s->rss[i] = strtoull(s->line + 3, NULL, 10);
	}
	rc = rc < 0 ? rc : status_ask(s, LEADER, &s->before);
	(void)snprintf(question, sizeof(question), "pace %u %d\n", s->o.per_s, s->o.noop);
	if (s->o.per_s > 0) {
		rc = rc < 0 ? rc : ask(s, LEADER, question);
	}
	int64_t begin_us = et_clock_mono_us();
	rc = rc < 0 ? rc : node_start(s, AWAY);
	rc = rc < 0 ? rc : ask(s, AWAY, "reset\n");
	s->rss[AWAY] = strtoull(s->line + 3, NULL, 10);
	/* Caught up: it has all that was committed when it was asked, and follows from there. */
	rc = rc < 0 ? rc : wait_for(s, AWAY, s->before.commit);
	for (int i = 0; rc == 0 && i < 3; i++) {
		rc = status_ask(s, LEADER, &target);
		rc = rc < 0 ? rc : wait_for(s, AWAY, target.commit);
	}
	s->catch_up_s = (double)(et_clock_mono_us() - begin_us) / 1e6;
	if (rc == 0 && s->o.per_s > 0) {
		rc = ask(s, LEADER, "stop\n");
		if (rc == 0 && sscanf(s->line, "ok %llu %llu %lf %lf %lf", &s->count, &s->failed,
				      &s->paced_s, &s->p50_ms, &s->p99_ms) != 5) {
			rc = -EPROTO;
		}
	}
	return rc;
}

static int settle(struct story *s)
{
	int rc = status_ask(s, LEADER, &s->after[LEADER]);
	unsigned long long index = s->after[LEADER].commit;

	for (int i = 0; rc == 0 && i < CATCHUP_NODES; i++) {
		rc = wait_for(s, i, index);
		rc = rc < 0 ? rc : status_of(s, i, "digest\n", &s->after[i]);
		if (rc == 0 && i > 0 && s->after[i].index != s->after[0].index) {
			index = s->after[i].index; /* A tick came between: once more. */
			i = -1;
		}
	}
	return rc;
}

/* ---- What came of it ---- */

static bool judge(const struct story *s)
{
	bool holds = true;
	unsigned long long most_rss = 0;

	for (int i = 0; i < CATCHUP_NODES; i++) {
		const struct status *a = &s->after[i];
		if (strcmp(a->digest, s->after[0].digest) != 0) {
			(void)fprintf(stderr, "bench-catchup: node %d has another digest\n", i + 1);
			holds = false;
		}
		if (a->term != s->before.term || a->leader != s->before.leader) {
			(void)fprintf(stderr, "bench-catchup: the leader has changed\n");
			holds = false;
		}
		if (s->o.strict && a->longest_us > STALL_MAX_US) {
			(void)fprintf(stderr, "bench-catchup: a turn of node %d took %llu us\n",
				      i + 1, a->longest_us);
			holds = false;
		}
		most_rss = a->rss - s->rss[i] > most_rss && a->rss > s->rss[i] ? a->rss - s->rss[i]
									       : most_rss;
	}
	if (s->failed > 0 || s->after[AWAY].pulled + s->after[AWAY].reused == 0) {
		(void)fprintf(stderr, "bench-catchup: %llu commands failed, %llu bytes pulled\n",
			      s->failed, s->after[AWAY].pulled);
		holds = false;
	}
	if (s->o.strict && s->o.per_s == 0 && most_rss > MEMORY_MAX) {
		(void)fprintf(stderr, "bench-catchup: %llu bytes of memory\n", most_rss);
		holds = false;
	}
	return holds;
}

static void tell(const struct story *s, bool holds)
{
	(void)printf("{\"bench\":\"catchup\",\"commands_missed\":%llu,\"command\":\"%s\","
		     "\"state_filled_bytes\":%llu,\"paced_per_s\":%u,\"cpus\":%ld,\n"
		     "\"load_s\":%.1f,\"catch_up_s\":%.2f,\"pulled_bytes\":%llu,"
		     "\"reused_bytes\":%llu,\"term_changes\":%llu,\n"
		     "\"meanwhile\":{\"commands\":%llu,\"failed\":%llu,\"per_s\":%.0f,"
		     "\"p50_ms\":%.2f,\"p99_ms\":%.2f},\n\"nodes\":[",
		     s->o.commands, s->o.noop ? "noop" : "recording.open", s->o.fill, s->o.per_s,
		     sysconf(_SC_NPROCESSORS_ONLN), s->load_s, s->catch_up_s, s->after[AWAY].pulled,
		     s->after[AWAY].reused, s->after[LEADER].term - s->before.term, s->count,
		     s->failed, s->paced_s > 0 ? (double)s->count / s->paced_s : 0, s->p50_ms,
		     s->p99_ms);
	for (int i = 0; i < CATCHUP_NODES; i++) {
		const struct status *a = &s->after[i];
		(void)printf("%s\n{\"node\":%d,\"role\":\"%s\",\"longest_turn_ms\":%.1f,"
			     "\"of_it_cpu_ms\":%.1f,\"turns_over_100_ms\":%llu,"
			     "\"memory_before_mb\":%.1f,\"memory_most_mb\":%.1f,\"extra_mb\":%.1f}",
			     i == 0 ? "" : ",", i + 1,
			     i == AWAY			      ? "was away"
			     : (int)s->before.leader == i + 1 ? "leader"
							      : "follower",
			     (double)a->longest_us / 1e3, (double)a->longest_cpu_us / 1e3, a->over,
			     (double)s->rss[i] / 1e6, (double)a->rss / 1e6,
			     ((double)a->rss - (double)s->rss[i]) / 1e6);
	}
	(void)printf("],\n\"holds\":%s}\n", holds ? "true" : "false");
}

static bool options_read(struct options *o, int argc, char **argv)
{
	*o = (struct options){ .commands = 1000000, .per_s = 5000 };
	for (int i = 1; i < argc; i++) {
		bool has_value = i + 1 < argc;
		if (strcmp(argv[i], "--noop") == 0) {
			o->noop = true;
		} else if (strcmp(argv[i], "--strict") == 0) {
			o->strict = true;
		} else if (strcmp(argv[i], "--commands") == 0 && has_value) {
			o->commands = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--per-s") == 0 && has_value) {
			o->per_s = (unsigned)strtoul(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--fill-mib") == 0 && has_value) {
			o->fill = strtoull(argv[++i], NULL, 10) << 20;
		} else {
			(void)fprintf(stderr,
				      "usage: %s [--commands N] [--per-s N] [--fill-mib N] "
				      "[--noop] [--strict]\n",
				      argv[0]);
			return false;
		}
	}
	return true;
}

int catchup_run(const char *program, int argc, char **argv)
{
	const char *base = getenv("TMPDIR");
	struct story *s = calloc(1, sizeof(*s));

	et_assert(s != NULL);
	if (!options_read(&s->o, argc, argv)) {
		free(s);
		return 2;
	}
	s->program = program;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)snprintf(s->folder, sizeof(s->folder), "%s/bench-catchup.XXXXXX",
		       base != NULL ? base : "/var/tmp");
	int rc = mkdtemp(s->folder) == NULL ? -errno : 0;
	rc = rc < 0 ? rc : cluster_make(s);
	rc = rc < 0 ? rc : fall_behind(s);
	rc = rc < 0 ? rc : come_back(s);
	rc = rc < 0 ? rc : settle(s);
	bool holds = rc == 0 && judge(s);
	if (rc == 0) {
		tell(s, holds);
	}
	for (int i = 0; i < CATCHUP_NODES; i++) {
		node_stop(s, i);
	}
	(void)nftw(s->folder, remove_entry, 32, FTW_DEPTH | FTW_PHYS);
	free(s);
	return holds ? 0 : 1;
}
