/* What goes on: the audit log as it grows and as a file, events of the cluster, metrics. */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/io/clock.h"
#include "ops/cli/chain.h"
#include "ops/cli/cli.h"

#define FOLLOW_NS (500 * 1000000L)
#define PAGE 1000 /* audit events of one request */
#define TAIL_DEFAULT 10

static void follow_pause(void)
{
	const struct timespec pause = { .tv_nsec = FOLLOW_NS };
	(void)nanosleep(&pause, NULL);
}

/* ---- The audit log, page by page ---- */

static int page_get(struct et_cli *cli, uint64_t from, uint64_t to, json_t **ret,
		    struct et_error *reterr)
{
	char path[128];
	int n = snprintf(path, sizeof(path), "/v1/audit?from=%" PRIu64 "&limit=%d", from, PAGE);
	if (to != 0) {
		(void)snprintf(path + n, sizeof(path) - (size_t)n, "&to=%" PRIu64, to);
	}
	return et_cli_get(cli, path, ret, reterr);
}

static void event_line(struct et_cli *cli, const json_t *event)
{
	static const char *const keys[] = { "principal", "action", "target", "outcome", "reason" };
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	if (cli->format != ET_CLI_TABLE && cli->format != ET_CLI_WIDE) {
		et_json_print(event, false, &b);
	} else {
		et_buffer_printf(&b, "%" PRId64 "  ", et_json_get_int(event, "number", 0));
		et_cli_format_value(json_object_get(event, "time"), ET_CLI_TIME, &b);
		for (size_t i = 0; i < ET_ARRAY_SIZE(keys); i++) {
			const char *text = et_json_get_text(event, keys[i], "");
			et_buffer_printf(&b, "  ");
			et_cli_add_safe(&b, *text != '\0' ? text : "-");
		}
	}
	et_buffer_add8(&b, '\n');
	if (!b.failed) {
		(void)fwrite(b.data, 1, b.size, cli->out);
	}
}

/* Number of events that there are. */
static int audit_total(struct et_cli *cli, uint64_t *ret, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc = et_cli_get(cli, "/v1/audit?limit=1", &j, reterr);
	*ret = (uint64_t)et_json_get_int(j, "total", 0);
	return rc;
}

static int number_option(struct et_cli *cli, const char *name, uint64_t otherwise, uint64_t *ret,
			 struct et_error *reterr)
{
	const char *text = et_cli_option(cli, name);
	*ret = otherwise;
	if (text == NULL) {
		return 0;
	}
	size_t size = strlen(text);
	if (size == 0 || size > 18 || strspn(text, "0123456789") != size) {
		return et_cli_usage(cli, reterr, "--%s is a whole number", name);
	}
	for (*ret = 0; *text != '\0'; text++) {
		*ret = *ret * 10 + (uint64_t)(*text - '0');
	}
	return 0;
}

int et_cli_audit_tail(struct et_cli *cli, struct et_error *reterr)
{
	struct et_chain chain = { 0 };
	uint64_t total = 0;
	uint64_t last;
	int rc = number_option(cli, "last", TAIL_DEFAULT, &last, reterr);
	rc = rc < 0 ? rc : audit_total(cli, &total, reterr);
	uint64_t next = total > last ? total - last + 1 : 1;
	while (rc == 0) {
		ET_CLEANUP(et_json_freep) json_t *page = NULL;
		size_t i;
		json_t *event;
		rc = page_get(cli, next, 0, &page, reterr);
		json_array_foreach(json_object_get(page, "events"), i, event)
		{
			rc = rc < 0 ? rc : et_chain_add(&chain, event, reterr);
			if (rc == 0) {
				event_line(cli, event);
				next = chain.last + 1;
			}
		}
		if (fflush(cli->out) != 0) { /* nobody reads any more */
			return rc;
		}
		if (rc == 0 && json_array_size(json_object_get(page, "events")) < PAGE) {
			follow_pause();
		}
	}
	return rc;
}

/* ---- Export ---- */

static int export_pages(struct et_cli *cli, uint64_t from, uint64_t to, FILE *f,
			struct et_chain *chain, struct et_error *reterr)
{
	int rc = 0;
	while (rc == 0 && from <= to) {
		ET_CLEANUP(et_json_freep) json_t *page = NULL;
		size_t i;
		json_t *event;
		rc = page_get(cli, from, to, &page, reterr);
		const json_t *events = json_object_get(page, "events");
		if (rc == 0 && json_array_size(events) == 0) {
			return et_fail_plain(reterr, ET_EDEGRADED,
					     "the node that answered has events up to %" PRIu64
					     " only",
					     from - 1);
		}
		json_array_foreach(events, i, event)
		{
			ET_CLEANUP(et_buffer_release) struct et_buffer line = { 0 };
			rc = rc < 0 ? rc : et_chain_add(chain, event, reterr);
			et_json_print(event, false, &line);
			et_buffer_add8(&line, '\n');
			if (rc == 0 &&
			    (line.failed || fwrite(line.data, 1, line.size, f) != line.size)) {
				rc = et_fail(reterr, line.failed ? -ENOMEM : -errno, "write");
			}
		}
		from = chain->last + 1;
	}
	return rc;
}

struct export
{
	struct et_cli *cli;
	uint64_t from, to;
	struct et_chain *chain;
};

static int export_write(void *arg, FILE *f, struct et_error *reterr)
{
	const struct export *e = arg;
	return export_pages(e->cli, e->from, e->to, f, e->chain, reterr);
}

int et_cli_audit_export(struct et_cli *cli, struct et_error *reterr)
{
	struct et_chain chain = { 0 };
	const char *out = et_cli_option(cli, "out");
	uint64_t total = 0;
	uint64_t from = 0;
	uint64_t to = 0;
	char head[65];
	if (out == NULL) {
		return et_cli_usage(cli, reterr, "--out FILE is needed");
	}
	et_cli_patience(cli, ET_CLI_LONG_MS);
	int rc = number_option(cli, "from", 1, &from, reterr);
	rc = rc < 0 ? rc : audit_total(cli, &total, reterr);
	rc = rc < 0 ? rc : number_option(cli, "to", total, &to, reterr);
	if (rc == 0 && (from == 0 || from > to || to > total)) {
		rc = et_cli_usage(cli, reterr, "there are events 1 to %" PRIu64, total);
	}
	struct export e = { cli, from, to, &chain };
	rc = rc < 0 ? rc : et_cli_write_file(out, export_write, &e, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(et_json_freep) json_t *o = json_object();
	et_hex(chain.head, sizeof(chain.head), head);
	et_json_set(o, "schema", json_string("evertape/v1"));
	et_json_set(o, "file", et_json_text(out));
	et_json_set(o, "events", et_json_u64(chain.events));
	et_json_set(o, "first", et_json_u64(chain.first));
	et_json_set(o, "last", et_json_u64(chain.last));
	et_json_set(o, "head", json_string(head));
	return et_cli_print_object(cli, o, reterr);
}

/* ---- Events ---- */

static const struct et_cli_column event_columns[] = {
	{ "TIME", "time", ET_CLI_TIME, false },	    { "KIND", "kind", ET_CLI_TEXT, false },
	{ "EVENT", "event", ET_CLI_TEXT, false },   { "NODE", "node", ET_CLI_TEXT, false },
	{ "DETAIL", "detail", ET_CLI_TEXT, false }, { "NEXT", "next", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

struct feed {
	struct et_cli *cli;
	json_t *codes; /* owned: of the last look */
	uint64_t after;
	bool health, changes;
};

static json_t *row_new(const char *kind, const char *event, const char *node, const char *detail,
		       const char *next)
{
	char now[ET_TIME_TEXT_SIZE];
	json_t *o = json_object();
	et_time_format(et_clock_now_us(), now);
	et_json_set(o, "time", json_string(now));
	et_json_set(o, "kind", json_string(kind));
	et_json_set(o, "event", et_json_text(event));
	et_json_set(o, "node", et_json_text(node));
	et_json_set(o, "detail", et_json_text(detail));
	et_json_set(o, "next", et_json_text(next));
	return o;
}

static void code_add(json_t *rows, const char *state, const json_t *code)
{
	json_t *o = row_new(
		"health", et_json_get_text(code, "code", ""), et_json_get_text(code, "node", ""),
		et_json_get_text(code, "detail", ""), et_json_get_text(code, "next", ""));
	et_json_set(o, "state", json_string(state));
	et_json_set(o, "level", et_json_text(et_json_get_text(code, "level", "")));
	et_json_add(rows, o);
}

/* The same code of the same node; its detail may change. */
static bool code_is_in(const json_t *codes, const json_t *code)
{
	for (size_t i = 0; i < json_array_size(codes); i++) {
		const json_t *other = json_array_get(codes, i);
		if (strcmp(et_json_get_text(other, "code", ""),
			   et_json_get_text(code, "code", "")) == 0 &&
		    strcmp(et_json_get_text(other, "node", ""),
			   et_json_get_text(code, "node", "")) == 0) {
			return true;
		}
	}
	return false;
}

/* What came and went since the last look; the first time: what stands. */
static int health_look(struct feed *f, json_t *rows, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *status = NULL;
	size_t i;
	json_t *code;
	int rc = et_cli_get(f->cli, "/v1/status", &status, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *codes = json_object_get(status, "codes");
	json_array_foreach(codes, i, code)
	{
		if (f->codes == NULL || !code_is_in(f->codes, code)) {
			code_add(rows, f->codes == NULL ? "stands" : "came", code);
		}
	}
	json_array_foreach(f->codes, i, code)
	{
		if (!code_is_in(codes, code)) {
			code_add(rows, "went", code);
		}
	}
	if (f->after == 0) {
		f->after = (uint64_t)et_json_get_int(status, "applied", 0);
	}
	json_decref(f->codes);
	f->codes = codes != NULL ? json_incref(codes) : json_array();
	return 0;
}

static int changes_look(struct feed *f, json_t *rows, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	char path[64];
	size_t i;
	json_t *change;
	(void)snprintf(path, sizeof(path), "/v1/changes?after=%" PRIu64, f->after);
	int rc = et_cli_get(f->cli, path, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	json_array_foreach(json_object_get(answer, "changes"), i, change)
	{
		json_t *o = row_new("change", et_json_get_text(change, "change", ""), "",
				    et_json_get_text(change, "target", ""), "");
		et_json_set(o, "index", json_incref(json_object_get(change, "index")));
		et_json_add(rows, o);
	}
	f->after = (uint64_t)et_json_get_int(answer, "last", (int64_t)f->after);
	return 0;
}

static void row_line(struct et_cli *cli, const json_t *row)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	if (cli->format != ET_CLI_TABLE && cli->format != ET_CLI_WIDE) {
		et_json_print(row, false, &b);
	} else {
		static const char *const keys[] = { "state", "event", "node", "detail" };
		et_cli_format_value(json_object_get(row, "time"), ET_CLI_TIME, &b);
		for (size_t i = 0; i < ET_ARRAY_SIZE(keys); i++) {
			const char *text = et_json_get_text(row, keys[i], "");
			if (*text != '\0') {
				et_buffer_printf(&b, "  ");
				et_cli_add_safe(&b, text);
			}
		}
	}
	et_buffer_add8(&b, '\n');
	if (!b.failed) {
		(void)fwrite(b.data, 1, b.size, cli->out);
	}
}

static int feed_follow(struct feed *f, struct et_error *reterr)
{
	int rc = 0;
	while (rc == 0) {
		ET_CLEANUP(et_json_freep) json_t *rows = json_array();
		size_t i;
		json_t *row;
		rc = health_look(f, f->health ? rows : NULL, reterr);
		if (rc == 0 && f->changes) {
			rc = changes_look(f, rows, reterr);
		}
		json_array_foreach(rows, i, row)
		{
			row_line(f->cli, row);
		}
		if (fflush(f->cli->out) != 0) { /* nobody reads any more */
			return rc;
		}
		if (rc == 0) {
			follow_pause();
		}
	}
	return rc;
}

int et_cli_events(struct et_cli *cli, struct et_error *reterr)
{
	const char *kind = et_cli_option(cli, "kind");
	struct feed f = { .cli = cli,
			  .health = kind == NULL || strcmp(kind, "health") == 0,
			  .changes = kind == NULL || strcmp(kind, "change") == 0 };
	ET_CLEANUP(et_json_freep) json_t *document = json_object();
	int rc;
	if (!f.health && !f.changes) {
		return et_cli_usage(cli, reterr, "--kind is health or change");
	}
	if (et_cli_option(cli, "follow") != NULL) {
		rc = feed_follow(&f, reterr);
	} else {
		json_t *rows = json_array();
		et_json_set(document, "schema", json_string("evertape/v1"));
		et_json_set(document, "events", rows);
		rc = number_option(cli, "after", 0, &f.after, reterr);
		bool given = f.after != 0;
		rc = rc < 0 ? rc : health_look(&f, f.health ? rows : NULL, reterr);
		rc = rc < 0 || !f.changes || !given ? rc : changes_look(&f, rows, reterr);
		et_json_set(document, "last", et_json_u64(f.after));
		rc = rc < 0 ? rc : et_cli_print(cli, document, "events", event_columns, reterr);
	}
	json_decref(f.codes);
	return rc;
}

int et_cli_metrics(struct et_cli *cli, struct et_error *reterr)
{
	struct et_cli_audio head;
	return et_cli_download(cli, "/metrics", cli->out, &head, reterr);
}
