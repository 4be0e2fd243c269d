#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster-tests/bench/search/run.h"
#include "cluster-tests/bench/search/search.h"

struct figures {
	struct bench_times cold, warm;
	double hits;
	struct bench_answer *answers; /* owned: of each run */
};

struct contestant {
	const struct bench_side *side;
	void *x;
	struct bench_load load;
	struct figures figures[ASK_KINDS];
	double open_seconds, first_us;
	uint64_t memory;
};

struct options {
	uint64_t calls;
	unsigned runs;
	const char *folder;
	bool keep, loaded, warm;
	unsigned rounds; /* warm ones */
	uint32_t kinds;	 /* a bit for each question that is asked */
};

/* Written blocks go to the disk, then the page cache goes. */
static bool caches_drop(void)
{
	sync();
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	if (fd < 0) {
		return false;
	}
	ssize_t n = write(fd, "3", 1);
	(void)close(fd);
	return n == 1;
}

static int kind_ask(struct contestant *c, enum bench_kind kind, const struct options *o,
		    struct bench_times *times)
{
	struct figures *f = &c->figures[kind];
	double hits = 0;

	for (unsigned run = 0; run < o->runs; run++) {
		struct bench_question q;
		bench_question_make(kind, run, o->calls, &q);
		double begun = bench_now_s();
		int rc = c->side->ask(c->x, &q, &f->answers[run]);
		bench_times_add(times, (bench_now_s() - begun) * 1e6);
		if (rc < 0) {
			return rc;
		}
		hits += f->answers[run].hits;
	}
	f->hits = hits / o->runs;
	return 0;
}

/* Cold: a fresh process state and an empty page cache, then questions that differ. Warm: the same
 * questions once more. */
static int contestant_run(struct contestant *c, enum bench_kind kind, const struct options *o)
{
	struct figures *f = &c->figures[kind];

	f->answers = calloc(o->runs, sizeof(*f->answers));
	et_assert(f->answers != NULL);
	if (!o->warm && !caches_drop()) {
		(void)fprintf(stderr,
			      "bench-search: the page cache cannot be dropped: run as root\n");
		return -EPERM;
	}
	double begun = bench_now_s();
	int rc = c->side->open(c->x);
	double opened = bench_now_s();
	rc = rc < 0 ? rc : kind_ask(c, kind, o, &f->cold);
	if (c->open_seconds == 0 && rc == 0) {
		c->open_seconds = opened - begun;
		c->first_us = f->cold.us[0];
	}
	for (unsigned i = 0; i < o->rounds && rc == 0; i++) {
		rc = kind_ask(c, kind, o, &f->warm);
	}
	c->memory =
		rc == 0 && c->side->memory(c->x) > c->memory ? c->side->memory(c->x) : c->memory;
	c->side->close(c->x);
	(void)fprintf(stderr,
		      "%s: %s: cold p50 %.0f p99 %.0f, warm p50 %.0f p99 %.0f us, %.1f hits\n",
		      c->side->name, bench_kind_name(kind), bench_times_at(&f->cold, 0.5),
		      bench_times_at(&f->cold, 0.99), bench_times_at(&f->warm, 0.5),
		      bench_times_at(&f->warm, 0.99), f->hits);
	return rc;
}

/* Kind by kind, one side after the other: what else the machine does meets both. */
static int contestants_run(struct contestant *c, int count, const struct options *o)
{
	int rc = 0;

	for (int i = 0; i < count * ASK_KINDS && rc == 0; i++) {
		if ((o->kinds >> (i / count) & 1) != 0) {
			rc = contestant_run(&c[i % count], (enum bench_kind)(i / count), o);
		}
	}
	return rc;
}

static void contestant_print(struct contestant *c, const struct options *o)
{
	(void)printf(
		"  {\"side\": \"%s\", \"load_seconds\": %.1f, \"calls_per_second\": %.0f, "
		"\"commands\": %.0f, \"index_seconds\": %.1f, \"bytes\": %llu, "
		"\"index_bytes\": %llu, \"cold_open_seconds\": %.3f, \"first_answer_us\": %.0f, "
		"\"resident_bytes\": %llu, \"questions\": [\n",
		c->side->name, c->load.seconds,
		c->load.seconds > 0 ? (double)o->calls / c->load.seconds : 0, c->load.commands,
		c->load.index_seconds, (unsigned long long)c->load.bytes,
		(unsigned long long)c->load.index_bytes, c->open_seconds, c->first_us,
		(unsigned long long)c->memory);
	const char *between = "";
	for (int kind = 0; kind < ASK_KINDS; kind++) {
		struct figures *f = &c->figures[kind];
		if ((o->kinds >> kind & 1) == 0) {
			continue;
		}
		(void)printf(
			"%s    {\"question\": \"%s\", \"hits\": %.1f, \"cold_us\": {\"p50\": %.0f, "
			"\"p99\": %.0f, \"max\": %.0f}, \"warm_us\": {\"p50\": %.0f, \"p99\": "
			"%.0f, \"max\": %.0f}}",
			between, bench_kind_name((enum bench_kind)kind), f->hits,
			bench_times_at(&f->cold, 0.5), bench_times_at(&f->cold, 0.99),
			bench_times_at(&f->cold, 1), bench_times_at(&f->warm, 0.5),
			bench_times_at(&f->warm, 0.99), bench_times_at(&f->warm, 1));
		between = ",\n";
	}
	(void)printf("\n  ]}");
}

/* Both were asked the same: they must have answered the same. */
static unsigned answers_differ(const struct contestant *a, const struct contestant *b,
			       unsigned runs)
{
	unsigned differ = 0;

	for (int kind = 0; kind < ASK_KINDS; kind++) {
		for (unsigned i = 0; i < runs && a->figures[kind].answers != NULL; i++) {
			const struct bench_answer *x = &a->figures[kind].answers[i];
			const struct bench_answer *y = &b->figures[kind].answers[i];
			if (x->hits != y->hits || x->sum != y->sum) {
				(void)fprintf(stderr,
					      "bench-search: \"%s\", run %u: %u and %u hits\n",
					      bench_kind_name((enum bench_kind)kind), i, x->hits,
					      y->hits);
				differ++;
			}
		}
	}
	return differ;
}

static int usage(void)
{
	(void)fprintf(
		stderr,
		"usage: bench-search [--calls N] [--runs N] [--folder DIR] [--keep] "
		"[--loaded] [--no-peer] [--peer-only] [--warm] [--rounds N] [--questions N,N...]\n"
		"  --calls    default 200000\n"
		"  --runs     questions of each kind, default 200\n"
		"  --folder   where the databases go, default a new one in /var/tmp\n"
		"  --keep     leave them there\n"
		"  --loaded   they are there from a run with --keep and the same --calls\n"
		"  --peer-only  PostgreSQL alone, to load it apart from the other\n"
		"  --warm     do not drop the page cache: the first round is no cold one\n"
		"  --rounds   warm rounds of them, default 1\n"
		"  --questions  only these of 1..%d\n",
		ASK_KINDS);
	return 2;
}

static int both_run(struct contestant *c, int count, const struct options *o)
{
	int rc = 0;

	for (int i = 0; i < count && rc == 0; i++) {
		rc = o->loaded ? 0 : c[i].side->load(c[i].x, o->calls, &c[i].load);
		(void)fprintf(stderr, "%s: loaded in %.0f s, %.0f MB\n", c[i].side->name,
			      c[i].load.seconds, (double)c[i].load.bytes / 1e6);
	}
	for (int i = 0; i < count && rc == 0 && o->loaded; i++) {
		rc = c[i].side->open(c[i].x); /* a load that was cut off has left something to do */
		if (rc == 0) {
			rc = c[i].side->settle(c[i].x);
			c[i].side->close(c[i].x);
		}
	}
	rc = rc < 0 ? rc : contestants_run(c, count, o);
	if (rc < 0) {
		return 1;
	}
	unsigned differ = count == 2 ? answers_differ(&c[0], &c[1], o->runs) : 0;
	(void)printf("{\"bench\": \"search\", \"calls\": %llu, \"runs\": %u, \"page\": %d, "
		     "\"answers_that_differ\": %u, \"sides\": [\n",
		     (unsigned long long)o->calls, o->runs, BENCH_PAGE, differ);
	for (int i = 0; i < count; i++) {
		contestant_print(&c[i], o);
		(void)printf("%s\n", i < count - 1 ? "," : "");
	}
	(void)printf("]}\n");
	return differ == 0 ? 0 : 9;
}

/* "1,4,9"; 0: that is none. */
static uint32_t kinds_read(const char *text)
{
	uint32_t kinds = 0;

	for (;;) {
		char *end;
		unsigned long n = strtoul(text, &end, 10);
		if (n < 1 || n > ASK_KINDS || (*end != '\0' && *end != ',')) {
			return 0;
		}
		kinds |= 1U << (n - 1);
		if (*end == '\0') {
			return kinds;
		}
		text = end + 1;
	}
}

int bench_search_run(int argc, char **argv)
{
	static const struct option known[] = {
		{ "calls", required_argument, NULL, 'c' },
		{ "runs", required_argument, NULL, 'r' },
		{ "folder", required_argument, NULL, 'f' },
		{ "keep", no_argument, NULL, 'k' },
		{ "loaded", no_argument, NULL, 'l' },
		{ "no-peer", no_argument, NULL, 'p' },
		{ "peer-only", no_argument, NULL, 'o' },
		{ "warm", no_argument, NULL, 'w' },
		{ "rounds", required_argument, NULL, 'n' },
		{ "questions", required_argument, NULL, 'q' },
		{ NULL, 0, NULL, 0 },
	};
	struct options o = {
		.calls = 200000, .runs = 200, .rounds = 1, .kinds = (1U << ASK_KINDS) - 1
	};
	struct contestant *c = calloc(2, sizeof(*c));
	char folder[512] = "/var/tmp/bench-search.XXXXXX";
	const char *why = "--no-peer";
	bool own = true;
	bool peer = true;
	int option;

	et_assert(c != NULL);
	while ((option = getopt_long(argc, argv, "", known, NULL)) >= 0) {
		switch (option) {
		case 'c':
			o.calls = strtoull(optarg, NULL, 10);
			break;
		case 'r':
			o.runs = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'f':
			(void)snprintf(folder, sizeof(folder), "%s", optarg);
			o.folder = folder;
			break;
		case 'k':
			o.keep = true;
			break;
		case 'l':
			o.loaded = o.keep = true;
			break;
		case 'p':
			peer = false;
			break;
		case 'o':
			own = false;
			break;
		case 'w':
			o.warm = true;
			break;
		case 'n':
			o.rounds = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'q':
			o.kinds = kinds_read(optarg);
			break;
		default:
			return usage();
		}
	}
	if (o.kinds == 0 || o.calls == 0 || o.runs == 0 || optind != argc ||
	    (o.folder == NULL ? mkdtemp(folder) == NULL
			      : mkdir(folder, 0755) < 0 && errno != EEXIST) ||
	    chmod(folder, 0755) < 0) {
		return usage();
	}
	int count = 0;
	if (own) {
		c[0].x = bench_evertape(folder, &c[0].side);
		count = 1;
	}
	c[count].x = peer ? bench_pg(folder, &c[count].side, &why) : NULL;
	if (c[count].x == NULL) {
		(void)fprintf(stderr, "bench-search: WITHOUT A PEER: %s\n", why);
	} else {
		count++;
	}
	int rc = count > 0 ? both_run(c, count, &o) : usage();
	for (int i = 0; i < 2; i++) {
		if (c[i].x != NULL) {
			c[i].side->finish(c[i].x);
		}
		for (int kind = 0; kind < ASK_KINDS; kind++) {
			free(c[i].figures[kind].cold.us);
			free(c[i].figures[kind].warm.us);
			free(c[i].figures[kind].answers);
		}
	}
	free(c);
	if (!o.keep) {
		bench_folder_remove(folder);
	}
	return rc;
}
