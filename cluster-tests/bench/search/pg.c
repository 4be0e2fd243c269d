/* The peer: PostgreSQL 15 with a cluster of its own, reached by its Unix socket, asked by prepared
 * statements. Defaults but for what any operator would set on an SSD and for a bulk load; JIT is
 * off, as it makes short questions slower. */
#include <errno.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cluster-tests/bench/search/search.h"
#include "node/base/bytes.h"

#define BIN "/usr/lib/postgresql/15/bin"

struct side {
	char data[512], folder[512];
	PGconn *c; /* owned */
};

static const char settings[] =
	"listen_addresses = ''\nport = 54329\nrandom_page_cost = 1.1\njit = off\n"
	"maintenance_work_mem = 512MB\nmax_wal_size = 8GB\nmax_parallel_maintenance_workers = 2\n";

static const char *const schema[] = {
	"CREATE TABLE calls (id uuid NOT NULL, start_us bigint NOT NULL, duration_us bigint NOT "
	"NULL,"
	" site text NOT NULL, node int NOT NULL, state smallint NOT NULL, from_no text NOT NULL,"
	" to_no text NOT NULL, sip_call_id text NOT NULL, agent text NOT NULL, tags text[],"
	" facts jsonb, note text, streams jsonb NOT NULL)",
};

static const char *const indexes[] = {
	"ALTER TABLE calls ADD PRIMARY KEY (id)",
	"CREATE INDEX ON calls (start_us)",
	"CREATE INDEX ON calls (site, start_us)",
	"CREATE INDEX ON calls (from_no, start_us)",
	"CREATE INDEX ON calls (to_no, start_us)",
	"CREATE INDEX ON calls (reverse(from_no) text_pattern_ops)",
	"CREATE INDEX ON calls (reverse(to_no) text_pattern_ops)",
	"CREATE INDEX ON calls (agent, start_us)",
	"CREATE INDEX ON calls (sip_call_id)",
	"CREATE INDEX ON calls (start_us) WHERE duration_us >= 600000000",
	"CREATE INDEX ON calls USING gin (tags)",
	"CREATE INDEX ON calls USING gin (facts jsonb_path_ops)",
	"CREATE INDEX ON calls USING gin (to_tsvector('simple', note))",
	"VACUUM (ANALYZE) calls",
};

#define COLUMNS                                                                                    \
	"SELECT id, start_us, duration_us, site, node, state, from_no, to_no, sip_call_id, agent," \
	" streams FROM calls WHERE "
#define LAST " ORDER BY start_us DESC LIMIT 50"
#define EITHER(a, b) "SELECT * FROM ((" COLUMNS a LAST ") UNION (" COLUMNS b LAST ")) AS x" LAST

static const char *const questions[ASK_KINDS] = {
	[ASK_SITE_DAY] = COLUMNS "site = $1 AND start_us >= $2 AND start_us < $3" LAST,
	[ASK_NUMBER] = EITHER("from_no = $1", "to_no = $1"),
	[ASK_PREFIX_WEEK] =
		EITHER("from_no >= $1 AND from_no < $2 AND start_us >= $3 AND start_us < $4",
		       "to_no >= $1 AND to_no < $2 AND start_us >= $3 AND start_us < $4"),
	[ASK_SUFFIX] = EITHER("reverse(from_no) ~>=~ $1 AND reverse(from_no) ~<~ $2",
			      "reverse(to_no) ~>=~ $1 AND reverse(to_no) ~<~ $2"),
	[ASK_AGENT_WEEK] = COLUMNS "agent = $1 AND start_us >= $2 AND start_us < $3" LAST,
	[ASK_TAG_MONTH] = COLUMNS "tags @> $1 AND start_us >= $2 AND start_us < $3" LAST,
	/* OFFSET 0: else the planner takes the time index, and reads all of it. */
	[ASK_FACT] = "SELECT * FROM (" COLUMNS "facts @> $1 OFFSET 0) AS x" LAST,
	[ASK_WORDS_SITE] = COLUMNS
	"to_tsvector('simple', note) @@ to_tsquery('simple', $1) AND site = $2" LAST,
	[ASK_LONG_MONTH] =
		COLUMNS "duration_us >= 600000000 AND start_us >= $1 AND start_us < $2" LAST,
	[ASK_CALL_ID] = COLUMNS "sip_call_id = $1" LAST,
};

/* ---- The server ---- */

static int command_run(const char *text)
{
	char line[2048];
	bool root = geteuid() == 0;

	(void)snprintf(line, sizeof(line), "%s%s%s >&2",
		       root ? "runuser -u postgres -- sh -c \"" : "", text, root ? "\"" : "");
	int status = system(line); /* NOLINT(cert-env33-c): a benchmark, fixed commands */
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPROTO;
}

static int connection_ok(struct side *x, PGresult *r, ExecStatusType wanted, const char *what)
{
	ExecStatusType got = PQresultStatus(r);

	PQclear(r);
	if (got != wanted) {
		(void)fprintf(stderr, "bench-search: PostgreSQL: %s: %s\n", what,
			      PQerrorMessage(x->c));
		return -EPROTO;
	}
	return 0;
}

static int side_open(void *side)
{
	struct side *x = side;
	char text[2048];

	(void)snprintf(text, sizeof(text), BIN "/pg_ctl -D %s -o '-k %s' -w -t 300 -l %s/log start",
		       x->data, x->data, x->data);
	if (command_run(text) < 0) {
		return -EPROTO;
	}
	(void)snprintf(text, sizeof(text), "host=%s port=54329 dbname=postgres user=postgres",
		       x->data);
	x->c = PQconnectdb(text);
	if (PQstatus(x->c) != CONNECTION_OK) {
		(void)fprintf(stderr, "bench-search: PostgreSQL: %s\n", PQerrorMessage(x->c));
		return -EPROTO;
	}
	PGresult *there = PQexec(x->c, "SELECT 1 FROM pg_class WHERE relname = 'calls'");
	int rows = PQntuples(there);
	PQclear(there);
	int rc = 0;
	for (int i = 0; i < ASK_KINDS && rc == 0 && rows == 1; i++) {
		char name[8];
		(void)snprintf(name, sizeof(name), "q%d", i);
		rc = connection_ok(x, PQprepare(x->c, name, questions[i], 0, NULL),
				   PGRES_COMMAND_OK, questions[i]);
	}
	return rc;
}

/* VACUUM and CHECKPOINT were part of the load. */
static int side_settle(void *side)
{
	(void)side;
	return 0;
}

static void side_close(void *side)
{
	struct side *x = side;
	char text[1200];

	PQfinish(x->c);
	x->c = NULL;
	(void)snprintf(text, sizeof(text), BIN "/pg_ctl -D %s -m fast -w -t 300 stop", x->data);
	(void)command_run(text);
}

/* ---- Load ---- */

static int copy_call(struct side *x, const struct bench_call *c, struct et_buffer *b)
{
	char id[33];

	et_hex(c->id, 16, id);
	et_buffer_printf(b, "%s\t%" PRId64 "\t%" PRId64 "\t%s\t1\t1\t%s\t%s\t%s\t%s\t", id,
			 c->start_us, c->end_us - c->start_us, c->site, c->from, c->to,
			 c->sip_call_id, c->agent);
	et_buffer_printf(b, c->tag != NULL ? "{%s}\t" : "\\N\t", c->tag);
	if (c->queue != NULL) {
		et_buffer_printf(b, "{\"queue\": \"%s\", \"order\": %" PRId64 "}\t", c->queue,
				 c->order);
	} else {
		et_buffer_printf(b, "\\N\t");
	}
	et_buffer_printf(b, "%s\t", c->note[0] != '\0' ? c->note : "\\N");
	et_buffer_printf(b,
			 "[{\"src\": \"10.1.2.3:20000\", \"dst\": \"10.1.2.4:20002\", \"codec\": "
			 "\"PCMA/8000\", \"packets\": %" PRId64 "}]\n",
			 (c->end_us - c->start_us) / 20000);
	if (b->failed || b->size < 65536) {
		return b->failed ? -ENOMEM : 0;
	}
	int rc = PQputCopyData(x->c, (const char *)b->data, (int)b->size) == 1 ? 0 : -EPROTO;
	b->size = 0;
	return rc;
}

static int copy_all(struct side *x, uint64_t calls)
{
	struct et_buffer b = { 0 };

	int rc = connection_ok(x, PQexec(x->c, "COPY calls FROM STDIN"), PGRES_COPY_IN, "COPY");
	for (uint64_t i = 0; i < calls && rc == 0; i++) {
		struct bench_call c;
		bench_call_make(i, calls, &c);
		rc = copy_call(x, &c, &b);
	}
	if (rc == 0 && b.size > 0 && PQputCopyData(x->c, (const char *)b.data, (int)b.size) != 1) {
		rc = -EPROTO;
	}
	et_buffer_release(&b);
	if (rc < 0 || PQputCopyEnd(x->c, NULL) != 1) {
		return rc < 0 ? rc : -EPROTO;
	}
	rc = connection_ok(x, PQgetResult(x->c), PGRES_COMMAND_OK, "COPY");
	PQclear(PQgetResult(x->c));
	return rc;
}

static int side_load(void *side, uint64_t calls, struct bench_load *ret)
{
	struct side *x = side;
	char path[2048];

	(void)snprintf(path, sizeof(path), "mkdir -p %s && chmod 700 %s%s%s", x->data, x->data,
		       geteuid() == 0 ? " && chown postgres " : " && true ", x->data);
	if (system(path) != 0) { /* NOLINT(cert-env33-c) */
		return -EPROTO;
	}
	(void)snprintf(path, sizeof(path), BIN "/initdb -D %s --locale=C -E UTF8 -U postgres",
		       x->data);
	int rc = command_run(path);
	(void)snprintf(path, sizeof(path), "%s/postgresql.conf", x->data);
	FILE *f = rc == 0 ? fopen(path, "a") : NULL;
	if (f == NULL || fputs(settings, f) < 0 || fclose(f) != 0) {
		return -EPROTO;
	}
	double begun = bench_now_s();
	rc = side_open(x);
	rc = rc < 0 ? rc : connection_ok(x, PQexec(x->c, schema[0]), PGRES_COMMAND_OK, schema[0]);
	rc = rc < 0 ? rc : copy_all(x, calls);
	double loaded = bench_now_s();
	(void)fprintf(stderr, "postgresql: %.0f s for the rows\n", loaded - begun);
	for (size_t i = 0; i < ET_ARRAY_SIZE(indexes) && rc == 0; i++) {
		rc = connection_ok(x, PQexec(x->c, indexes[i]), PGRES_COMMAND_OK, indexes[i]);
		(void)fprintf(stderr, "postgresql: %.0f s: %s\n", bench_now_s() - begun,
			      indexes[i]);
	}
	rc = rc < 0 ? rc
		    : connection_ok(x, PQexec(x->c, "CHECKPOINT"), PGRES_COMMAND_OK, "checkpoint");
	ret->seconds = bench_now_s() - begun;
	ret->index_seconds = bench_now_s() - loaded;
	ret->commands = (double)calls;
	PGresult *r =
		PQexec(x->c, "SELECT pg_total_relation_size('calls'), pg_indexes_size('calls')");
	if (PQntuples(r) == 1) {
		ret->bytes = strtoull(PQgetvalue(r, 0, 0), NULL, 10);
		ret->index_bytes = strtoull(PQgetvalue(r, 0, 1), NULL, 10);
	}
	PQclear(r);
	side_close(x);
	return rc;
}

/* ---- Questions ---- */

struct parameters {
	const char *values[4];
	char text[4][96];
	int count;
};

static void add_text(struct parameters *p, const char *text)
{
	(void)snprintf(p->text[p->count], sizeof(p->text[0]), "%s", text);
	p->values[p->count] = p->text[p->count];
	p->count++;
}

static void add_time(struct parameters *p, int64_t us)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%" PRId64, us);
	add_text(p, text);
}

/* [text, the first text that does not begin with it) */
static void add_range(struct parameters *p, const char *text)
{
	char end[64];

	add_text(p, text);
	(void)snprintf(end, sizeof(end), "%s", text);
	end[strlen(end) - 1]++;
	add_text(p, end);
}

static void parameters_make(const struct bench_question *q, struct parameters *p)
{
	char text[96];
	size_t size = strlen(q->text);

	p->count = 0;
	switch (q->kind) {
	case ASK_SITE_DAY:
		add_text(p, q->name);
		break;
	case ASK_NUMBER:
	case ASK_AGENT_WEEK:
	case ASK_CALL_ID:
		add_text(p, q->text);
		break;
	case ASK_PREFIX_WEEK:
		add_range(p, q->text);
		break;
	case ASK_SUFFIX:
		for (size_t i = 0; i < size; i++) {
			text[i] = q->text[size - 1 - i];
		}
		text[size] = '\0';
		add_range(p, text);
		break;
	case ASK_TAG_MONTH:
		(void)snprintf(text, sizeof(text), "{%s}", q->name);
		add_text(p, text);
		break;
	case ASK_FACT:
		(void)snprintf(text, sizeof(text), "{\"order\": %" PRId64 "}", q->order);
		add_text(p, text);
		break;
	case ASK_WORDS_SITE:
		(void)snprintf(text, sizeof(text), "%.40s & %.40s", q->text, q->words);
		add_text(p, text);
		add_text(p, q->name);
		break;
	case ASK_LONG_MONTH:
	case ASK_KINDS:
		break;
	}
	if (q->to_us != 0) {
		add_time(p, q->from_us);
		add_time(p, q->to_us);
	}
}

static int side_ask(void *side, const struct bench_question *q, struct bench_answer *ret)
{
	struct side *x = side;
	struct parameters p;
	char name[8];

	(void)snprintf(name, sizeof(name), "q%d", (int)q->kind);
	parameters_make(q, &p);
	PGresult *r = PQexecPrepared(x->c, name, p.count, p.values, NULL, NULL, 1);
	*ret = (struct bench_answer){ 0 };
	for (int i = 0; PQresultStatus(r) == PGRES_TUPLES_OK && i < PQntuples(r); i++) {
		bench_answer_add(ret, (const uint8_t *)PQgetvalue(r, i, 0));
	}
	return connection_ok(x, r, PGRES_TUPLES_OK, questions[q->kind]);
}

static void side_finish(void *side)
{
	struct side *x = side;

	if (x->c != NULL) {
		side_close(x);
	}
	free(x);
}

/* Its shared memory and the process that answers. */
static uint64_t side_memory(void *side)
{
	const struct side *x = side;

	return bench_rss(PQbackendPID(x->c));
}

void *bench_pg(const char *folder, const struct bench_side **ret, const char **why)
{
	static const struct bench_side side = { "postgresql", side_load, side_open,   side_settle,
						side_close,   side_ask,	 side_finish, side_memory };
	if (access(BIN "/postgres", X_OK) != 0) {
		*why = "postgresql-15 is not installed: ops/packages bench";
		return NULL;
	}
	struct side *x = calloc(1, sizeof(*x));
	et_assert(x != NULL);
	(void)snprintf(x->data, sizeof(x->data), "%.400s/postgresql", folder);
	*ret = &side;
	return x;
}
