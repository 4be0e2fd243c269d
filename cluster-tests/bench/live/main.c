/* bench-live, the highest rate without a loss:  [--calls N] [--seconds N] [--rate PPS] [--ring MIB]
 * or many calls, few of whom talk:       --hold [--calls N] [--seconds N] [--ring MIB]
 * With --flood PPS hostile frames come beside the calls (flood.h): of these none may be lost, and
 * all that came is accounted for.
 *
 * Sender and receiver in two network namespaces with a veth between, as root (exit 77 without). The
 * first finds the rate that the sender holds beside a reader that only counts (a third of the
 * seconds), and then records at that rate to sealed tapes; when a packet was lost, again at 90, 80,
 * 70 and 60 % of it (--rate: at that rate only). One JSON object. Exit 1: a packet was lost in all
 * of them, or is not accounted for. */
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cluster-tests/bench/live/live.h"
#include "node/capture/capture.h"

#define NAME_HERE "live0"
#define NAME_THERE "live1"

struct run {
	const char *name;
	struct live_plan plan;
	const char *media; /* NULL: only count */
	struct live_sent sent;
	struct live_got got;
	double send_cpu_s;
	double receive_cpu_s;
};

struct child {
	pid_t pid;
	int go;	  /* write end: a byte lets it begin (sender) or end (receiver) */
	int back; /* read end: 'r' when it is ready, then its result */
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int new_network(struct et_error *reterr)
{
	if (unshare(CLONE_NEWNET) < 0) {
		return et_fail(reterr, -errno, "network namespace (it needs root)");
	}
	/* Nothing but our frames is on the link. */
	int fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t n = write(fd, "1", 1);
		(void)close(fd);
		return n == 1 ? 0 : et_fail(reterr, -EIO, "disable IPv6");
	}
	return 0;
}

static int run_ip(const char *command, struct et_error *reterr)
{
	char text[160];
	(void)snprintf(text, sizeof(text), "ip %s", command);
	int rc = system(text); /* NOLINT(cert-env33-c): words of our own */
	return rc == 0 ? 0 : et_fail(reterr, -EIO, "%s", text);
}

/* ---- Children ----------------------------------------------------------------------------------
 */

/* The result goes back; then it stays until `go` is closed: the link goes with the sender's
 * namespace. */
static _Noreturn void finish(int go, int back, const void *result, size_t size, int rc,
			     const struct et_error *error)
{
	char byte;
	if (rc < 0) {
		(void)fprintf(stderr, "bench-live: %s\n", error->text);
		_exit(1);
	}
	bool told = write(back, result, size) == (ssize_t)size;
	while (read(go, &byte, 1) > 0) {
	}
	_exit(told ? 0 : 1);
}

static _Noreturn void be_sender(const struct run *r, int go, int back)
{
	struct et_error error = { .text = "" };
	struct live_sent sent = { .sip = 0 };
	char byte;
	int rc = new_network(&error);
	if (rc == 0 && (write(back, "r", 1) != 1 || read(go, &byte, 1) != 1)) {
		_exit(1);
	}
	rc = rc == 0 ? run_ip("link set " NAME_THERE " up", &error) : rc;
	rc = rc == 0 ? live_send(&r->plan, NAME_THERE, &sent, &error) : rc;
	finish(go, back, &sent, sizeof(sent), rc, &error);
}

static _Noreturn void be_receiver(const struct run *r, int go, int back)
{
	struct et_error error = { .text = "" };
	static struct live_got got;
	int rc = r->media != NULL
			 ? live_record(&r->plan, NAME_HERE, r->media, back, go, &got, &error)
			 : live_count(&r->plan, NAME_HERE, back, go, &got, &error);
	finish(go, back, &got, sizeof(got), rc, &error);
}

static int start(const struct run *r, void (*fn)(const struct run *, int, int), struct child *ret,
		 struct et_error *reterr)
{
	int go[2];
	int back[2];
	if (pipe2(go, O_CLOEXEC) < 0 || pipe2(back, O_CLOEXEC) < 0) {
		return et_fail(reterr, -errno, "pipe");
	}
	pid_t pid = fork();
	if (pid < 0) {
		return et_fail(reterr, -errno, "fork");
	}
	if (pid == 0) {
		(void)close(go[1]);
		(void)close(back[0]);
		fn(r, go[0], back[1]);
	}
	(void)close(go[0]);
	(void)close(back[1]);
	*ret = (struct child){ pid, go[1], back[0] };
	return 0;
}

static int take(int fd, void *to, size_t size, const char *who, struct et_error *reterr)
{
	uint8_t *p = to;
	while (size > 0) {
		ssize_t n = read(fd, p, size);
		if (n <= 0) {
			return et_fail(reterr, -EIO, "the %s ended", who);
		}
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

static int reap(struct child *c, double *ret_cpu_s)
{
	struct rusage u;
	int status = 0;
	(void)close(c->go);
	(void)close(c->back);
	while (wait4(c->pid, &status, 0, &u) < 0 && errno == EINTR) {
	}
	*ret_cpu_s = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
		     (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

/* Link, receiver, sender; what both say. */
static int perform(struct run *r, struct et_error *reterr)
{
	struct child sender = { .pid = 0 };
	struct child receiver = { .pid = 0 };
	char byte;
	char command[120];

	(void)fprintf(stderr, "bench-live: %s, %u calls, %u s\n", r->name, r->plan.calls,
		      r->plan.seconds);
	int rc = start(r, be_sender, &sender, reterr);
	rc = rc == 0 ? take(sender.back, &byte, 1, "sender", reterr) : rc;
	(void)snprintf(command, sizeof(command),
		       "link add " NAME_HERE " type veth peer name " NAME_THERE " netns %d",
		       (int)sender.pid);
	rc = rc == 0 ? run_ip(command, reterr) : rc;
	rc = rc == 0 ? run_ip("link set " NAME_HERE " up", reterr) : rc;
	rc = rc == 0 ? start(r, be_receiver, &receiver, reterr) : rc;
	rc = rc == 0 ? take(receiver.back, &byte, 1, "receiver", reterr) : rc;
	if (rc == 0 && write(sender.go, "g", 1) != 1) {
		rc = et_fail(reterr, -errno, "start the sender");
	}
	rc = rc == 0 ? take(sender.back, &r->sent, sizeof(r->sent), "sender", reterr) : rc;
	if (rc == 0 && write(receiver.go, "s", 1) != 1) {
		rc = et_fail(reterr, -errno, "stop the receiver");
	}
	rc = rc == 0 ? take(receiver.back, &r->got, sizeof(r->got), "receiver", reterr) : rc;
	if (rc < 0 && sender.pid > 0) {
		(void)kill(sender.pid, SIGKILL);
	}
	if (rc < 0 && receiver.pid > 0) {
		(void)kill(receiver.pid, SIGKILL);
	}
	int ended = receiver.pid > 0 ? reap(&receiver, &r->receive_cpu_s) : 0;
	ended = sender.pid > 0 && reap(&sender, &r->send_cpu_s) < 0 ? -EIO : ended;
	return rc == 0 && ended < 0 ? et_fail(reterr, ended, "sender or receiver failed") : rc;
}

/* ---- Results -----------------------------------------------------------------------------------
 */

static uint64_t frames(const struct run *r)
{
	return r->sent.sip + r->sent.rtp + r->sent.flood;
}

/* Nothing was lost; and a recorder has each packet of media on a tape that is sealed. */
static bool is_whole(const struct run *r)
{
	const struct live_got *g = &r->got;
	bool all = g->received == frames(r) && g->kernel_dropped == 0;
	return r->media == NULL ? all
				: all && g->total == frames(r) && g->sip >= r->sent.sip &&
					  (g->sip == r->sent.sip || r->sent.flood > 0) &&
					  g->rtp == r->sent.rtp && g->tape_packets == r->sent.rtp &&
					  g->media_dropped == 0 && g->sealed == g->opened &&
					  g->opened >= r->plan.calls && g->problems == 0;
}

/* sent == kept + counted, also where something was lost. The kernel counts what it dropped as
 * received, too. */
static bool is_accounted(const struct run *r)
{
	const struct live_got *g = &r->got;
	return r->media == NULL ||
	       (frames(r) == g->total + g->kernel_dropped &&
		g->rtp == g->tape_packets + g->media_dropped &&
		g->total == g->sip + g->rtp + g->rtcp + g->other + g->unclaimed + g->pending);
}

static double rate_of(const struct run *r)
{
	return (double)r->sent.rtp / r->sent.media_s;
}

static void print_memory(const struct run *r)
{
	const struct live_got *g = &r->got;
	uint64_t most = 0;
	(void)printf(",\"rss_idle_bytes\":%llu,\"rss_bytes\":[", (unsigned long long)g->rss_idle);
	for (uint32_t i = 0; i < g->rss_count; i++) {
		(void)printf("%s%llu", i > 0 ? "," : "", (unsigned long long)g->rss[i]);
		most = g->rss[i] > most ? g->rss[i] : most;
	}
	(void)printf("],\"rss_most_per_call_bytes\":%llu",
		     (unsigned long long)(most > g->rss_idle ? (most - g->rss_idle) / r->plan.calls
							     : 0));
}

static void print_run(const struct run *r, bool first)
{
	const struct live_got *g = &r->got;
	(void)printf(
		"%s\n{\"run\":\"%s\",\"calls\":%u,\"talking\":%u,\"asked_per_s\":%llu,\"media_s\":%"
		".1f,"
		"\"sent_sip\":%llu,\"sent_rtp\":%llu,\"sent_hostile\":%llu,\"sent_per_s\":%.0f,"
		"\"received\":%llu,"
		"\"kernel_dropped\":%llu,\"send_cpu_s\":%.1f,\"receive_cpu_s\":%.1f,\"whole\":%s",
		first ? "" : ",", r->name, r->plan.calls, r->plan.talking,
		(unsigned long long)r->plan.rate, r->sent.media_s, (unsigned long long)r->sent.sip,
		(unsigned long long)r->sent.rtp, (unsigned long long)r->sent.flood, rate_of(r),
		(unsigned long long)g->received, (unsigned long long)g->kernel_dropped,
		r->send_cpu_s, r->receive_cpu_s, is_whole(r) ? "true" : "false");
	if (r->media != NULL) {
		(void)printf(",\"engine_total\":%llu,\"engine_sip\":%llu,\"engine_rtp\":%llu,"
			     "\"engine_other\":%llu,"
			     "\"unclaimed\":%llu,\"pending\":%llu,\"media_dropped\":%llu,\"tape_"
			     "packets\":%llu,"
			     "\"tape_bytes\":%llu,\"tapes\":%llu,\"sealed\":%llu,\"accounted\":%s",
			     (unsigned long long)g->total, (unsigned long long)g->sip,
			     (unsigned long long)g->rtp, (unsigned long long)(g->other + g->rtcp),
			     (unsigned long long)g->unclaimed, (unsigned long long)g->pending,
			     (unsigned long long)g->media_dropped,
			     (unsigned long long)g->tape_packets, (unsigned long long)g->tape_bytes,
			     (unsigned long long)g->opened, (unsigned long long)g->sealed,
			     is_accounted(r) ? "true" : "false");
		print_memory(r);
	}
	(void)printf("}");
	(void)fflush(stdout);
}

/* ---- What is measured --------------------------------------------------------------------------
 */

static int record(struct run *r, const char *media, struct et_error *reterr)
{
	r->media = media;
	int rc = perform(r, reterr);
	if (rc == 0) {
		print_run(r, false);
		rc = is_accounted(r)
			     ? 0
			     : et_fail(reterr, ET_EINTEGRITY, "a packet is not accounted for");
	}
	(void)nftw(media, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return rc;
}

static int measure_rate(struct run *r, const char *media, struct et_error *reterr)
{
	uint64_t asked = r->plan.rate;
	struct run counted = { .name = "count only", .plan = r->plan };
	counted.plan.seconds = (r->plan.seconds + 2) / 3;
	int rc = perform(&counted, reterr);
	if (rc < 0) {
		return rc;
	}
	print_run(&counted, true);
	for (int percent = 100; percent >= (asked != 0 ? 100 : 60); percent -= 10) {
		r->plan.rate =
			asked != 0 ? asked : (uint64_t)rate_of(&counted) * (uint64_t)percent / 100;
		rc = record(r, media, reterr);
		if (rc < 0 || is_whole(r)) {
			return rc;
		}
	}
	return et_fail(reterr, ET_EDEGRADED, "packets were lost at every rate");
}

static int measure_hold(struct run *r, const char *media, struct et_error *reterr)
{
	struct run counted = { .name = "count only", .plan = r->plan };
	counted.plan.seconds = 5;
	int rc = perform(&counted, reterr);
	if (rc < 0) {
		return rc;
	}
	print_run(&counted, true);
	rc = record(r, media, reterr);
	return rc == 0 && !is_whole(r) ? et_fail(reterr, ET_EDEGRADED, "a packet was lost") : rc;
}

static bool arguments(int argc, char **argv, struct live_plan *plan, bool *hold)
{
	for (int i = 1; i < argc; i++) {
		unsigned long value = i + 1 < argc ? strtoul(argv[i + 1], NULL, 10) : 0;
		if (strcmp(argv[i], "--hold") == 0) {
			*hold = true;
			*plan = (struct live_plan){ 5000,	 500,	30,
						    540,	 50000, plan->ring_bytes,
						    plan->rings, 0 };
			continue;
		}
		if (value == 0) {
			return false;
		}
		if (strcmp(argv[i], "--calls") == 0 && value <= 65536) {
			plan->calls = (uint32_t)value;
			plan->talking = *hold ? (plan->calls + 9) / 10 : plan->calls;
		} else if (strcmp(argv[i], "--seconds") == 0) {
			plan->seconds = (uint32_t)value;
		} else if (strcmp(argv[i], "--rate") == 0) {
			plan->rate = value;
		} else if (strcmp(argv[i], "--flood") == 0) {
			plan->flood = value;
		} else if (strcmp(argv[i], "--ring") == 0 && value < 2048) {
			plan->ring_bytes = (size_t)value << 20;
		} else if (strcmp(argv[i], "--rings") == 0 && value <= ET_CAPTURE_RINGS_MAX) {
			plan->rings = (uint32_t)value;
		} else {
			return false;
		}
		i++;
	}
	plan->rate =
		*hold ? plan->talking * 100ULL : plan->rate; /* 50 packets a second and party */
	return true;
}

int main(int argc, char **argv)
{
	struct run r = { .name = "record",
			 .plan = { 3000, 3000, 0, 60, 0, (size_t)64 << 20, 1, 0 } };
	struct et_error error = { .text = "" };
	bool hold = false;
	char media[128];
	const char *tmp = getenv("TMPDIR");

	if (!arguments(argc, argv, &r.plan, &hold)) {
		(void)fprintf(stderr, "usage: bench-live [--hold] [--calls N] [--seconds N] "
				      "[--rate PPS] [--flood PPS] [--ring MIB] [--rings N]\n");
		return 2;
	}
	if (geteuid() != 0) {
		(void)fprintf(stderr,
			      "bench-live: needs root: network namespaces and raw sockets\n");
		return 77;
	}
	r.name = hold ? "hold" : "record";
	(void)snprintf(media, sizeof(media), "%.64s/bench-live.XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(media) == NULL) {
		perror("bench-live: mkdtemp");
		return 1;
	}
	(void)printf(
		"{\"schema\":\"evertape/bench/"
		"v1\",\"bench\":\"live\",\"cores\":%ld,\"ring_bytes\":%zu,\"rings\":%u,\"runs\":[",
		sysconf(_SC_NPROCESSORS_ONLN), r.plan.ring_bytes, r.plan.rings);
	int rc = new_network(&error);
	rc = rc < 0 ? rc : hold ? measure_hold(&r, media, &error) : measure_rate(&r, media, &error);
	(void)printf("]}\n");
	(void)nftw(media, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	if (rc < 0) {
		(void)fprintf(stderr, "bench-live: %s\n", error.text);
		return 1;
	}
	return 0;
}
