/* capture show: what capture of a node is doing now, in an operator's words. */
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "node/io/clock.h"
#include "ops/cli/cli.h"

#define WATCH_MS 2000
#define CALLS_MAX 1000

static const struct et_cli_column interface_columns[] = {
	{ "INTERFACE", "name", ET_CLI_TEXT, false },
	{ "STATE", "state", ET_CLI_TEXT, false },
	{ "PACKETS", "packets", ET_CLI_NUMBER, false },
	{ "PACKETS/S", "per_s", ET_CLI_NUMBER, false },
	{ "WAITING", "waiting", ET_CLI_NUMBER, false },
	{ "DROPPED", "dropped", ET_CLI_NUMBER, false },
	{ "BY THE CARD", "interface_dropped", ET_CLI_NUMBER, false },
	{ "FILTER", "filter", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column call_columns[] = {
	{ "CALL", "id", ET_CLI_TEXT, false },
	{ "FROM", "from", ET_CLI_TEXT, false },
	{ "TO", "to", ET_CLI_TEXT, false },
	{ "SINCE", "duration_ms", ET_CLI_MS, false },
	{ "RULE", "rule", ET_CLI_TEXT, false },
	{ "STREAMS", "streams", ET_CLI_NUMBER, false },
	{ "PACKETS", "packets", ET_CLI_NUMBER, false },
	{ "LOST", "lost", ET_CLI_NUMBER, false },
	{ "IS", "is", ET_CLI_TEXT, false },
	{ "SIP CALL-ID", "sip_call_id", ET_CLI_TEXT, true },
	{ "PROBLEM", "problem", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

/* ---- Pieces of lines ---- */

static int64_t number(const json_t *o, const char *key)
{
	return et_json_get_int(o, key, 0);
}

static int64_t moment(const json_t *o, const char *key)
{
	const char *text = et_json_get_text(o, key, NULL);
	int64_t us = 0;

	return text != NULL && et_time_parse(text, &us) ? us : 0;
}

static void add_value(struct et_buffer *b, int64_t value, enum et_cli_kind kind)
{
	ET_CLEANUP(et_json_freep) json_t *j = json_integer(value);

	et_cli_format_value(j, kind, b);
}

/* "name 12, other 3"; false: all of them are 0. */
static bool add_counts(struct et_buffer *b, const json_t *counts)
{
	const char *key;
	json_t *value;
	bool any = false;

	json_object_foreach((json_t *)(uintptr_t)counts, key, value)
	{
		if (json_integer_value(value) > 0) {
			et_buffer_printf(b, "%s%s %" JSON_INTEGER_FORMAT, any ? ", " : "", key,
					 json_integer_value(value));
			any = true;
		}
	}
	return any;
}

static void line_counts(struct et_buffer *b, const char *title, const json_t *counts)
{
	et_buffer_printf(b, "%-11s", title);
	if (!add_counts(b, counts)) {
		et_buffer_printf(b, "none");
	}
	et_buffer_printf(b, "\n");
}

/* ---- Lines ---- */

static void line_calls(struct et_buffer *b, const json_t *s)
{
	const json_t *c = json_object_get(s, "calls");
	int64_t oldest = moment(c, "oldest");

	et_buffer_printf(b, "%-11s%" PRId64 " in progress of %" PRId64 ", %" PRId64 " answered",
			 "calls", number(c, "live"), number(c, "limit"), number(c, "answered"));
	if (oldest > 0) {
		et_buffer_printf(b, ", the oldest for ");
		add_value(b, (moment(s, "time") - oldest) / 1000, ET_CLI_AGO_MS);
	}
	if (number(c, "paused") > 0) {
		et_buffer_printf(b, ", %" PRId64 " paused", number(c, "paused"));
	}
	if (number(c, "keys_missing") > 0) {
		et_buffer_printf(b, ", %" PRId64 " whose keys are missing",
				 number(c, "keys_missing"));
	}
	et_buffer_printf(b, "; %" PRId64 " since the start\n", number(c, "total"));
	et_buffer_printf(b, "%-11s%" PRId64 "\n", "streams", number(s, "streams"));
	line_counts(b, "refused", json_object_get(c, "refused"));
}

static void line_packets(struct et_buffer *b, const json_t *p)
{
	et_buffer_printf(b,
			 "%-11s%" PRId64 ": %" PRId64 " SIP, %" PRId64 " RTP, %" PRId64
			 " RTCP, %" PRId64 " not decided yet\n",
			 "packets", number(p, "total"), number(p, "sip"), number(p, "rtp"),
			 number(p, "rtcp"), number(p, "pending"));
	line_counts(b, "other", json_object_get(p, "other"));
	line_counts(b, "unclaimed", json_object_get(p, "unclaimed"));
}

static void line_rules(struct et_buffer *b, const json_t *rules)
{
	const char *between = "";
	size_t i;
	json_t *o;

	et_buffer_printf(b, "%-11s", "rules");
	json_array_foreach((json_t *)(uintptr_t)rules, i, o)
	{
		et_buffer_printf(b, "%s", between);
		et_cli_add_safe(b, et_json_get_text(o, "name", ""));
		et_buffer_printf(b, " (%s) %" PRId64, et_json_get_text(o, "action", ""),
				 number(o, "calls"));
		between = ", ";
	}
	et_buffer_printf(b, "\n");
}

static void line_writer(struct et_buffer *b, const json_t *s)
{
	const json_t *w = json_object_get(s, "writer");
	int64_t synced = moment(w, "synced_at");

	et_buffer_printf(b, "%-11squeue ", "writer");
	add_value(b, number(w, "queue_bytes"), ET_CLI_BYTES);
	et_buffer_printf(b, " of ");
	add_value(b, number(w, "queue_limit_bytes"), ET_CLI_BYTES);
	et_buffer_printf(b, "; ");
	add_value(b, number(w, "written_bytes"), ET_CLI_BYTES);
	et_buffer_printf(b, " written, %" PRId64 " packets dropped; ",
			 number(w, "dropped_packets"));
	if (!et_json_get_bool(w, "acknowledging", true)) {
		et_buffer_printf(b, "NOTHING IS ACKNOWLEDGED: a sync failed");
	} else if (synced > 0) {
		et_buffer_printf(b, "synced ");
		add_value(b, (moment(s, "time") - synced) / 1000, ET_CLI_AGO_MS);
		et_buffer_printf(b, " ago");
	} else {
		et_buffer_printf(b, "not synced yet");
	}
	et_buffer_printf(b, "; ");
	add_value(b, number(w, "free_bytes"), ET_CLI_BYTES);
	et_buffer_printf(b, " free (reserve ");
	add_value(b, number(w, "reserve_bytes"), ET_CLI_BYTES);
	et_buffer_printf(b, "); %" PRId64 " commands in the journal\n",
			 number(w, "journal_pending"));
}

static void line_siprec(struct et_buffer *b, const json_t *r)
{
	size_t i;
	json_t *o;

	if (json_array_size(json_object_get(r, "listen")) == 0) {
		return;
	}
	et_buffer_printf(b,
			 "%-11s%" PRId64 " sessions of %" PRId64 " (%" PRId64
			 " since the start, %" PRId64 " refused, %" PRId64 " denied), %" PRId64
			 " connections; on",
			 "siprec", number(r, "sessions"), number(r, "sessions_limit"),
			 number(r, "sessions_total"), number(r, "refused"), number(r, "denied"),
			 number(r, "connections"));
	json_array_foreach(json_object_get(r, "listen"), i, o)
	{
		et_buffer_printf(b, " %s", json_string_value(o));
	}
	et_buffer_printf(b, "\n");
}

static void lines_print(struct et_cli *cli, const json_t *s)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	const json_t *keys = json_object_get(s, "keys");

	line_calls(&b, s);
	line_packets(&b, json_object_get(s, "packets"));
	line_rules(&b, json_object_get(s, "rules"));
	line_writer(&b, s);
	line_siprec(&b, json_object_get(s, "siprec"));
	line_counts(&b, "tcp", json_object_get(s, "tcp"));
	if (*et_json_get_text(keys, "socket", "") != '\0') {
		line_counts(&b, "keys", keys);
	}
	if (!b.failed) {
		(void)fwrite(b.data, 1, b.size, cli->out);
	}
}

/* ---- Tables ---- */

/* What the table shows beside what the answer has. `before`: the look before this one, or NULL. */
static void rows_fill(json_t *s, const json_t *before)
{
	int64_t span_us = before != NULL ? moment(s, "time") - moment(before, "time") : 0;
	json_t *rows = json_object_get(s, "interfaces");
	size_t i;
	json_t *o;

	json_array_foreach(rows, i, o)
	{
		const json_t *old = json_array_get(json_object_get(before, "interfaces"), i);
		int64_t more = number(o, "packets") - number(old, "packets");
		et_json_set(o, "state",
			    json_string(et_json_get_bool(o, "open", false) ? "open"
					: strcmp(et_json_get_text(o, "kind", ""), "file") == 0
						? "read"
						: "gone"));
		et_json_set(o, "per_s",
			    span_us > 0 && old != NULL && more >= 0
				    ? json_integer(more * 1000000 / span_us)
				    : json_null());
	}
	json_array_foreach(json_object_get(s, "in_progress"), i, o)
	{
		bool paused = et_json_get_bool(o, "paused", false);
		bool keys = et_json_get_bool(o, "keys_missing", false);
		bool answered = et_json_get_bool(o, "answered", false);
		et_json_set(o, "is",
			    json_sprintf("%s%s%s", answered ? "answered" : "not answered",
					 paused ? ", paused" : "", keys ? ", keys missing" : ""));
	}
}

static int tables_print(struct et_cli *cli, const json_t *s, struct et_error *reterr)
{
	bool calls = json_object_get(s, "in_progress") != NULL;

	if (cli->format == ET_CLI_CSV) {
		return et_cli_print(cli, s, calls ? "in_progress" : "interfaces",
				    calls ? call_columns : interface_columns, reterr);
	}
	(void)fprintf(cli->out, "%s at %s: %s\n\n", et_json_get_text(s, "node", ""),
		      et_json_get_text(s, "site", ""),
		      et_json_get_bool(s, "running", false) ? "capture runs"
							    : "CAPTURE DOES NOT RUN");
	int rc = json_array_size(json_object_get(s, "interfaces")) > 0
			 ? et_cli_print(cli, s, "interfaces", interface_columns, reterr)
			 : 0;
	if (rc < 0) {
		return rc;
	}
	(void)fputc('\n', cli->out);
	lines_print(cli, s);
	if (!calls || json_array_size(json_object_get(s, "in_progress")) == 0) {
		return 0;
	}
	(void)fputc('\n', cli->out);
	rc = et_cli_print(cli, s, "in_progress", call_columns, reterr);
	if (rc == 0 && number(s, "more") > 0) {
		et_cli_note(cli, "%" PRId64 " more: --calls", number(s, "more"));
	}
	return rc;
}

/* Something is lost, or would be. */
static bool is_degraded(const json_t *s)
{
	const json_t *writer = json_object_get(s, "writer");
	const json_t *refused = json_object_get(json_object_get(s, "calls"), "refused");
	bool degraded = number(writer, "dropped_packets") > 0 ||
			!et_json_get_bool(writer, "acknowledging", true) ||
			number(refused, "disk") + number(refused, "limit") +
					number(refused, "journal") + number(refused, "writer") >
				0;
	size_t i;
	json_t *o;

	json_array_foreach(json_object_get(s, "interfaces"), i, o)
	{
		bool live = strcmp(et_json_get_text(o, "kind", ""), "interface") == 0;
		degraded = degraded || number(o, "dropped") > 0 ||
			   (live && !et_json_get_bool(o, "open", false));
	}
	return degraded;
}

static int path_make(struct et_cli *cli, struct et_buffer *path, struct et_error *reterr)
{
	const char *calls = et_cli_option(cli, "calls");
	char *end = NULL;
	long n = calls != NULL ? strtol(calls, &end, 10) : 0;

	if (calls != NULL && (end == calls || *end != '\0' || n < 1 || n > CALLS_MAX)) {
		return et_cli_usage(cli, reterr, "--calls is a number from 1 to %d", CALLS_MAX);
	}
	if (et_cli_member(cli, 1) != NULL) {
		return et_cli_usage(cli, reterr, "one node at a time");
	}
	et_buffer_printf(path, "/v1/capture/now");
	et_cli_query(path, "node", et_cli_member(cli, 0));
	et_cli_query(path, "calls", calls);
	et_buffer_add8(path, 0);
	return path->failed ? et_fail(reterr, -ENOMEM, "request") : 0;
}

static int look_print(struct et_cli *cli, json_t *s, const json_t *before, struct et_error *reterr)
{
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, s);
		return 0;
	}
	rows_fill(s, before);
	return tables_print(cli, s, reterr);
}

int et_cli_capture_show(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	ET_CLEANUP(et_json_freep) json_t *before = NULL;
	bool watch = et_cli_option(cli, "watch") != NULL;

	int rc = path_make(cli, &path, reterr);
	while (rc == 0) {
		json_t *s = NULL;
		rc = et_cli_get(cli, (const char *)path.data, &s, reterr);
		if (rc == 0) {
			if (watch && cli->color) {
				(void)fputs("\033[H\033[2J", cli->out);
			}
			rc = look_print(cli, s, before, reterr);
			json_decref(before);
			before = s;
		} else if (watch) {
			et_cli_print_error(cli, reterr);
			rc = 0;
		}
		if (rc < 0 || !watch) {
			break;
		}
		(void)fflush(cli->out);
		(void)poll(NULL, 0, WATCH_MS); /* the interval between two looks */
	}
	return rc < 0 ? rc : is_degraded(before) ? ET_EXIT_DEGRADED : 0;
}
