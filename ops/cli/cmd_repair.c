/* replication scrub, repair. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/text/units.h"
#include "ops/cli/cli.h"

/* Who was asked, and who not; 6 when somebody was not. */
static int asked_say(struct et_cli *cli, const json_t *answer)
{
	const json_t *missed = json_object_get(answer, "not_reached");
	size_t i;
	json_t *o;

	json_array_foreach((json_t *)(uintptr_t)missed, i, o)
	{
		et_cli_note(cli, "%s was not asked: %s", et_json_get_text(o, "node", "?"),
			    et_json_get_text(o, "why", ""));
	}
	return json_array_size(missed) == 0 ? 0 : ET_EXIT_DEGRADED;
}

/* ---- replication scrub ---- */

static const struct et_cli_column scrub_columns[] = {
	{ "NODE", "node", ET_CLI_TEXT, false },
	{ "STATE", "state", ET_CLI_TEXT, false },
	{ "PASS", "pass", ET_CLI_NUMBER, false },
	{ "BY", "by", ET_CLI_TEXT, true },
	{ "BEGUN", "begun", ET_CLI_TIME, false },
	{ "AT", "at", ET_CLI_TIME, false },
	{ "COPIES", "copies", ET_CLI_NUMBER, false },
	{ "BYTES", "bytes", ET_CLI_BYTES, false },
	{ "BAD", "bad", ET_CLI_NUMBER, false },
	{ "RATE/S", "rate", ET_CLI_BYTES, false },
	{ "LAST WHOLE ONE", "ended", ET_CLI_TIME, false },
	{ "NEXT", "next", ET_CLI_TIME, false },
	{ "WAITS FOR", "error", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static int scrub_status(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	int64_t bad = 0;
	size_t i;
	json_t *o;

	et_buffer_printf(&path, "/v1/replication/scrub");
	et_cli_query(&path, "on", et_cli_option(cli, "on"));
	et_buffer_add8(&path, 0);
	if (path.failed) {
		return et_fail(reterr, -ENOMEM, "replication scrub");
	}
	int rc = et_cli_get(cli, (const char *)path.data, &answer, reterr);
	rc = rc < 0 ? rc : et_cli_print(cli, answer, "scrubs", scrub_columns, reterr);
	if (rc < 0) {
		return rc;
	}
	json_array_foreach(json_object_get(answer, "scrubs"), i, o)
	{
		bad += et_json_get_int(o, "bad", 0);
	}
	return bad > 0					     ? et_exit_code(ET_EINTEGRITY)
	       : et_json_get_bool(answer, "complete", false) ? 0
							     : ET_EXIT_DEGRADED;
}

static void scrub_say(struct et_cli *cli, const json_t *answer, bool stop)
{
	size_t i;
	json_t *o;

	json_array_foreach(json_object_get(answer, "asked"), i, o)
	{
		const char *node = et_json_get_text(o, "node", "?");
		int64_t pass = et_json_get_int(o, "pass", 0);
		bool done = et_json_get_bool(o, "done", false);
		if (stop) {
			(void)fprintf(cli->out,
				      done ? "%s: pass %" PRId64 " was ended\n"
					   : "%s: no pass was running\n",
				      node, pass);
		} else {
			(void)fprintf(cli->out, "%s: pass %" PRId64 " runs\n", node, pass);
		}
	}
}

static int scrub_begin(struct et_cli *cli, bool stop, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	const char *reason = et_cli_option(cli, "reason");
	const char *rate = et_cli_option(cli, "rate");
	uint64_t bytes = 0;

	if (reason == NULL || *reason == '\0') {
		return et_cli_usage(cli, reterr,
				    "replication scrub needs --reason TEXT (it goes into the audit "
				    "log), or --status");
	}
	if (rate != NULL &&
	    (stop || !et_bytes_parse(rate, &bytes) || bytes < 65536 || bytes > UINT64_C(1) << 40)) {
		return et_cli_usage(cli, reterr, "--rate is 64KiB to 1TiB a second, not \"%.40s\"",
				    rate);
	}
	et_json_set(body, "reason", et_json_text(reason));
	et_json_set(body, "stop", json_boolean(stop));
	if (rate != NULL) {
		et_json_set(body, "rate", et_json_u64(bytes));
	}
	if (et_cli_option(cli, "on") != NULL) {
		et_json_set(body, "on", et_json_text(et_cli_option(cli, "on")));
	}
	et_cli_patience(cli, ET_CLI_LONG_MS);
	int rc = et_cli_send(cli, "POST", "/v1/replication/scrub", body, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, answer);
	} else {
		scrub_say(cli, answer, stop);
	}
	return asked_say(cli, answer);
}

int et_cli_replication_scrub(struct et_cli *cli, struct et_error *reterr)
{
	bool stop = et_cli_option(cli, "stop") != NULL;

	if (et_cli_option(cli, "status") == NULL) {
		return scrub_begin(cli, stop, reterr);
	}
	return stop ? et_cli_usage(cli, reterr, "--status or --stop") : scrub_status(cli, reterr);
}

/* ---- replication repair ---- */

static const struct et_cli_column repair_columns[] = {
	{ "RECORDING", "recording", ET_CLI_TEXT, false },
	{ "SEGMENT", "segment", ET_CLI_TEXT, false },
	{ "LACKS", "lacks", ET_CLI_LIST, false },
	{ "CLASS", "class", ET_CLI_TEXT, false },
	{ "BYTES", "bytes", ET_CLI_BYTES, false },
	{ "FROM", "from", ET_CLI_LIST, false },
	{ "BAD OR LOST AT", "bad_at", ET_CLI_LIST, false },
	{ "CANNOT BE REPAIRED", "why", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static void repair_say(struct et_cli *cli, const json_t *answer, bool apply)
{
	int64_t cannot = et_json_get_int(answer, "cannot", 0);

	et_cli_note(cli, "%" PRId64 " segments lack copies%s",
		    et_json_get_int(answer, "segments", 0),
		    et_json_get_bool(answer, "partial", false) ? "; not all are listed" : "");
	if (cannot > 0) {
		et_cli_note(cli,
			    "%" PRId64 " of them cannot be repaired; look into quarantine/ of the "
			    "nodes where they are bad",
			    cannot);
	}
	if (apply) {
		et_cli_note(cli,
			    "%zu nodes were asked to repair now; how it goes: evertape "
			    "replication queue",
			    json_array_size(json_object_get(answer, "asked")));
	}
}

int et_cli_replication_repair(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *ids = json_array();
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	const char *reason = et_cli_option(cli, "reason");
	bool apply = et_cli_option(cli, "apply") != NULL;

	if (apply && et_cli_option(cli, "plan") != NULL) {
		return et_cli_usage(cli, reterr, "--plan or --apply");
	}
	if (apply && (reason == NULL || *reason == '\0')) {
		return et_cli_usage(cli, reterr,
				    "replication repair --apply needs --reason TEXT: it goes into "
				    "the audit log");
	}
	int rc = et_cli_ids(cli, /* first= */ 0, ids, reterr);
	if (rc < 0) {
		return rc;
	}
	et_json_set(body, "recordings", json_incref(ids));
	if (apply) {
		et_json_set(body, "reason", et_json_text(reason));
	}
	et_cli_patience(cli, ET_CLI_LONG_MS);
	rc = et_cli_send(cli, "POST",
			 apply ? "/v1/replication/repair" : "/v1/replication/repair/plan", body,
			 &answer, reterr);
	rc = rc < 0 ? rc : et_cli_print(cli, answer, "items", repair_columns, reterr);
	if (rc < 0) {
		return rc;
	}
	if (!et_cli_is_json(cli)) {
		repair_say(cli, answer, apply);
	}
	int asked = apply ? asked_say(cli, answer) : 0;
	int64_t lack = et_json_get_int(answer, "segments", 0);
	return et_json_get_int(answer, "cannot", 0) > 0 ? et_exit_code(ET_EINTEGRITY)
	       : apply					? asked
	       : lack > 0				? ET_EXIT_CHANGES
							: 0;
}
