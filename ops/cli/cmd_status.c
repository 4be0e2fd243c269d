/* status and doctor. */
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "ops/cli/cli.h"

#define WATCH_MS 2000

static const struct et_cli_column node_columns[] = {
	{ "SITE", "site", ET_CLI_TEXT, false },
	{ "NODE", "name", ET_CLI_TEXT, false },
	{ "ROLE", "role", ET_CLI_TEXT, false },
	{ "STATE", "state", ET_CLI_TEXT, false },
	{ "CALLS LIVE", "live_calls", ET_CLI_NUMBER, false },
	{ "DROPS", "drops", ET_CLI_NUMBER, false },
	{ "DISK FREE", "disk_free_bytes", ET_CLI_BYTES, false },
	{ "LAG", "lag_ms", ET_CLI_AGO_MS, false },
	{ "APPLIED", "applied", ET_CLI_NUMBER, true },
	{ "CERT UNTIL", "cert_expires", ET_CLI_TIME, true },
	{ "VERSION", "version", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column code_columns[] = {
	{ "CODE", "code", ET_CLI_TEXT, false },	    { "NODE", "node", ET_CLI_TEXT, false },
	{ "DETAIL", "detail", ET_CLI_TEXT, false }, { "NEXT", "next", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column survives_columns[] = {
	{ "LOSS OF", "loss", ET_CLI_TEXT, false },
	{ "SURVIVED", "survives", ET_CLI_TEXT, false },
	{ "WHY", "why", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const char *health_color(const struct et_cli *cli, const char *health)
{
	if (!cli->color) {
		return "";
	}
	return strcmp(health, "ok") == 0	 ? "\033[32m"
	       : strcmp(health, "degraded") == 0 ? "\033[33m"
						 : "\033[31m";
}

static void status_head(struct et_cli *cli, const json_t *s)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	const char *health = et_json_get_text(s, "health", "unknown");
	const json_t *quorum = json_object_get(s, "quorum");
	et_buffer_printf(&b, "Cluster ");
	et_cli_add_safe(&b, et_json_get_text(s, "cluster", "-"));
	et_buffer_printf(&b, "   %s", health_color(cli, health));
	et_cli_add_safe(&b, health);
	et_buffer_printf(&b, "%s   %zu sites, %zu nodes, voters %" PRId64 "/%" PRId64 ", leader ",
			 cli->color ? "\033[0m" : "", json_array_size(json_object_get(s, "sites")),
			 json_array_size(json_object_get(s, "nodes")),
			 et_json_get_int(quorum, "reachable", 0),
			 et_json_get_int(quorum, "voters", 0));
	et_cli_add_safe(&b, et_json_get_text(s, "leader", "none"));
	et_buffer_printf(&b, " (term %" PRId64 ")\n\n", et_json_get_int(s, "term", 0));
	(void)fwrite(b.data, 1, b.size, cli->out);
}

static void status_recordings(struct et_cli *cli, const json_t *s)
{
	const json_t *r = json_object_get(s, "recordings");
	const json_t *audit = json_object_get(s, "audit");
	(void)fprintf(cli->out,
		      "\nRecordings %" PRId64 "   live %" PRId64 "   pending here %" PRId64
		      "   archived segments %" PRId64 " of %" PRId64 "   holds %" PRId64
		      "   audit events %" PRId64 "\n",
		      et_json_get_int(r, "total", 0), et_json_get_int(r, "capturing", 0),
		      et_json_get_int(r, "pending", 0), et_json_get_int(r, "archived_segments", 0),
		      et_json_get_int(r, "segments", 0), et_json_get_int(s, "holds", 0),
		      et_json_get_int(audit, "events", 0));
}

/* Only while there is something to say of it. */
static void status_index(struct et_cli *cli, const json_t *s)
{
	const json_t *x = json_object_get(s, "index");

	if (et_json_get_bool(x, "rebuilding", false)) {
		(void)fprintf(cli->out,
			      "\nsearch index: being made anew, %" PRId64 " of %" PRId64
			      " recordings%s\n",
			      et_json_get_int(x, "done", 0), et_json_get_int(x, "total", 0),
			      et_json_get_bool(x, "complete", false)
				      ? ""
				      : "; until then searches miss some");
	}
}

static void survives_list(const json_t *list, bool survives, struct et_buffer *b)
{
	size_t i;
	json_t *o;
	bool any = false;
	json_array_foreach((json_t *)(uintptr_t)list, i, o)
	{
		const json_t *lacks = json_object_get(o, "lacks");
		if (et_json_get_bool(o, "survives", false) != survives) {
			continue;
		}
		et_buffer_printf(b, "%s", any ? ", " : "");
		et_cli_add_safe(b, et_json_get_text(o, "loss", ""));
		for (size_t l = 0; l < json_array_size(lacks); l++) {
			const char *what = json_string_value(json_array_get(lacks, l));
			et_buffer_printf(b, "%s", l == 0 ? " (" : ", ");
			et_cli_add_safe(b, what != NULL ? what : "");
		}
		et_buffer_printf(b, "%s", json_array_size(lacks) > 0 ? ")" : "");
		any = true;
	}
	if (!any) {
		et_buffer_printf(b, "nothing");
	}
}

/* In one line, for whoever reads no further; the table below it says why. */
static void status_survives(struct et_cli *cli, const json_t *list)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	et_buffer_printf(&b, "\nSurvives loss of: ");
	survives_list(list, true, &b);
	et_buffer_printf(&b, ".   Not of: ");
	survives_list(list, false, &b);
	et_buffer_printf(&b, ".\n\n");
	(void)fwrite(b.data, 1, b.size, cli->out);
}

static int status_table(struct et_cli *cli, const json_t *s, struct et_error *reterr)
{
	status_head(cli, s);
	int rc = et_cli_print(cli, s, "nodes", node_columns, reterr);
	if (rc < 0) {
		return rc;
	}
	status_recordings(cli, s);
	status_index(cli, s);
	if (json_array_size(json_object_get(s, "survives")) > 0) {
		status_survives(cli, json_object_get(s, "survives"));
		rc = et_cli_print(cli, s, "survives", survives_columns, reterr);
	}
	if (rc == 0 && json_array_size(json_object_get(s, "codes")) > 0) {
		(void)fputc('\n', cli->out);
		rc = et_cli_print(cli, s, "codes", code_columns, reterr);
	}
	return rc;
}

static int status_print(struct et_cli *cli, const json_t *s, struct et_error *reterr)
{
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, s);
		return 0;
	}
	if (!et_json_get_bool(s, "initialised", true)) {
		(void)fprintf(cli->out, "Node ");
		ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
		et_cli_add_safe(&b, et_json_get_text(s, "node", "?"));
		(void)fwrite(b.data, 1, b.size, cli->out);
		(void)fprintf(cli->out,
			      " belongs to no cluster yet.\nNext: evertape cluster init, or "
			      "evertape node join TOKEN\n");
		return 0;
	}
	return cli->format == ET_CLI_CSV ? et_cli_print(cli, s, "nodes", node_columns, reterr)
					 : status_table(cli, s, reterr);
}

int et_cli_status(struct et_cli *cli, struct et_error *reterr)
{
	bool watch = et_cli_option(cli, "watch") != NULL;
	for (;;) {
		ET_CLEANUP(et_json_freep) json_t *s = NULL;
		int rc = et_cli_get(cli, "/v1/status", &s, reterr);
		if (rc == 0) {
			if (watch && cli->color) {
				(void)fputs("\033[H\033[2J", cli->out);
			}
			rc = status_print(cli, s, reterr);
		} else if (watch) {
			et_cli_print_error(cli, reterr);
			rc = 0;
		}
		if (rc < 0 || !watch) {
			bool well = strcmp(et_json_get_text(s, "health", ""), "ok") == 0;
			return rc < 0 ? rc : well ? 0 : ET_EXIT_DEGRADED;
		}
		(void)fflush(cli->out);
		(void)poll(NULL, 0, WATCH_MS); /* the interval between two looks */
	}
}

static const struct et_cli_column check_columns[] = {
	{ "CHECK", "check", ET_CLI_TEXT, false },   { "RESULT", "result", ET_CLI_TEXT, false },
	{ "DETAIL", "detail", ET_CLI_TEXT, false }, { "NEXT", "next", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static int doctor_rebuild(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;

	int rc = et_cli_send(cli, "POST", "/v1/doctor/rebuild-index", NULL, &j, reterr);
	return rc < 0 ? rc : et_cli_print_object(cli, j, reterr);
}

int et_cli_doctor(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *d = NULL;
	bool deep = et_cli_option(cli, "deep") != NULL;
	if (et_cli_option(cli, "rebuild-index") != NULL) {
		return deep ? et_cli_usage(cli, reterr, "either --deep or --rebuild-index")
			    : doctor_rebuild(cli, reterr);
	}
	if (deep) {
		et_cli_patience(cli, ET_CLI_LONG_MS);
	}
	int rc = et_cli_get(cli, deep ? "/v1/doctor?deep=true" : "/v1/doctor", &d, reterr);
	if (rc == 0) {
		rc = et_cli_print(cli, d, "checks", check_columns, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	bool broken = et_json_get_bool(d, "integrity_failure", false);
	return broken ? 9 : et_json_get_bool(d, "well", false) ? 0 : ET_EXIT_DEGRADED;
}
