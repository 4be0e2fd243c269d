/* replication queue, limit. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ops/cli/cli.h"

#define IN_FORCE_MS 10000 /* for a limit to be in force on every node that answers */

/* ---- replication queue ---- */

static const struct et_cli_column queue_columns[] = {
	{ "TO", "to", ET_CLI_TEXT, false },
	{ "NODE", "node", ET_CLI_TEXT, false },
	{ "CLASS", "class", ET_CLI_TEXT, false },
	{ "WHY", "why", ET_CLI_TEXT, false },
	{ "SEGMENTS", "segments", ET_CLI_NUMBER, false },
	{ "BYTES", "bytes", ET_CLI_BYTES, false },
	{ "OLDEST", "oldest_ms", ET_CLI_AGO_MS, false },
	{ "NOW/S", "rate_bytes", ET_CLI_BYTES, false },
	{ "CHANGES", "changes", ET_CLI_TIME, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column item_columns[] = {
	{ "TO", "to", ET_CLI_TEXT, false },
	{ "NODE", "node", ET_CLI_TEXT, false },
	{ "RECORDING", "recording", ET_CLI_TEXT, false },
	{ "SEGMENT", "segment", ET_CLI_TEXT, false },
	{ "CLASS", "class", ET_CLI_TEXT, false },
	{ "WHY", "why", ET_CLI_TEXT, false },
	{ "BYTES", "bytes", ET_CLI_BYTES, false },
	{ "HERE", "done_bytes", ET_CLI_BYTES, true },
	{ "AGE", "age_ms", ET_CLI_AGO_MS, false },
	{ "FROM", "from", ET_CLI_TEXT, false },
	{ "LAST FAILURE", "detail", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static void queue_notes(struct et_cli *cli, const json_t *answer)
{
	size_t i;
	json_t *o;

	json_array_foreach(json_object_get(answer, "silent"), i, o)
	{
		et_cli_note(cli, "%s (%s) does not answer: what waits there is not in the table",
			    et_json_get_text(o, "node", "?"), et_json_get_text(o, "site", "?"));
	}
	json_array_foreach(json_object_get(answer, "sites"), i, o)
	{
		int64_t segments = et_json_get_int(o, "segments", 0);
		if (segments > 0) {
			et_cli_note(cli, "%s lacks %" PRId64 " segments in all",
				    et_json_get_text(o, "site", "?"), segments);
		}
	}
	int64_t gone = et_json_get_int(answer, "gone_segments", 0);
	if (gone > 0) {
		et_cli_note(cli,
			    "%" PRId64 " segments have no good copy anywhere: evertape "
			    "replication repair",
			    gone);
	}
}

int et_cli_replication_queue(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	bool items = et_cli_option(cli, "items") != NULL;

	et_buffer_printf(&path, "/v1/replication/queue");
	et_cli_query(&path, "site", et_cli_option(cli, "site"));
	et_cli_query(&path, "on", et_cli_option(cli, "on"));
	et_buffer_add8(&path, 0);
	if (path.failed) {
		return et_fail(reterr, -ENOMEM, "replication queue");
	}
	int rc = et_cli_get(cli, (const char *)path.data, &answer, reterr);
	rc = rc < 0 ? rc
		    : et_cli_print(cli, answer, items ? "items" : "queue",
				   items ? item_columns : queue_columns, reterr);
	if (rc < 0) {
		return rc;
	}
	if (!et_cli_is_json(cli)) {
		queue_notes(cli, answer);
	}
	return et_json_get_bool(answer, "complete", false) ? 0 : ET_EXIT_DEGRADED;
}

/* ---- replication limit ---- */

static const struct et_cli_column limit_columns[] = {
	{ "TO", "to", ET_CLI_TEXT, false },
	{ "CLASS", "class", ET_CLI_TEXT, false },
	{ "WINDOW", "window", ET_CLI_TEXT, false },
	{ "RATE/S", "rate", ET_CLI_TEXT, false },
	{ "DECIDES NOW FOR", "decides", ET_CLI_LIST, false },
	{ "CHANGES", "changes", ET_CLI_TIME, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

/* Which wins: the base is said with every list. */
static void limit_notes(struct et_cli *cli, const json_t *answer)
{
	size_t i;
	json_t *o;

	et_cli_note(cli, "Where no limit decides, limits.sync-rate of each node's configuration "
			 "does:");
	json_array_foreach(json_object_get(answer, "nodes"), i, o)
	{
		struct et_buffer rate = { 0 };
		const char *error = et_json_get_text(o, "error", "");
		bool reachable = et_json_get_bool(o, "reachable", false);
		et_cli_format_value(json_object_get(o, "sync_rate_bytes"), ET_CLI_BYTES, &rate);
		et_buffer_add8(&rate, 0);
		bool none = et_json_get_int(o, "sync_rate_bytes", 0) == 0;
		et_cli_note(cli, "  %s: %s; has revision %" PRId64 "%s%s%s",
			    et_json_get_text(o, "node", "?"),
			    none || rate.failed ? "no limit" : (const char *)rate.data,
			    et_json_get_int(o, "revision", 0),
			    reachable ? "" : ", when it was last heard",
			    *error != '\0' ? "; cannot read " : "", error);
		et_buffer_release(&rate);
	}
}

static int limit_show(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	int rc = et_cli_get(cli, "/v1/replication/limits", &answer, reterr);

	rc = rc < 0 ? rc : et_cli_print(cli, answer, "limits", limit_columns, reterr);
	if (rc == 0 && !et_cli_is_json(cli)) {
		limit_notes(cli, answer);
	}
	return rc;
}

/* Of the nodes that answer: how many have the revision in force, and who has not. */
static void limit_count(const json_t *answer, int64_t revision, unsigned *ret_have,
			unsigned *ret_answer, json_t *ret_others)
{
	size_t i;
	json_t *o;

	*ret_have = *ret_answer = 0;
	(void)json_array_clear(ret_others);
	json_array_foreach(json_object_get(answer, "nodes"), i, o)
	{
		bool reachable = et_json_get_bool(o, "reachable", false);
		bool has = reachable && et_json_get_int(o, "revision", 0) >= revision;
		*ret_answer += reachable;
		*ret_have += has;
		if (!has) {
			et_json_add(ret_others, json_incref(json_object_get(o, "node")));
		}
	}
}

/* Until every node that answers has it in force. */
static int limit_wait(struct et_cli *cli, int64_t revision, json_t *result, struct et_error *reterr)
{
	const struct timespec pause = { .tv_nsec = 200000000 };
	int64_t until = et_clock_mono_us() + IN_FORCE_MS * INT64_C(1000);
	json_t *others = json_array();
	unsigned have = 0;
	unsigned answering = 0;
	int rc = 0;

	do {
		ET_CLEANUP(et_json_freep) json_t *answer = NULL;
		rc = et_cli_get(cli, "/v1/replication/limits", &answer, reterr);
		if (rc < 0) {
			break;
		}
		limit_count(answer, revision, &have, &answering, others);
		if (have == answering) {
			break;
		}
		(void)nanosleep(&pause, NULL);
	} while (et_clock_mono_us() < until);
	et_json_set(result, "in_force", json_integer(have));
	et_json_set(result, "answering", json_integer(answering));
	et_json_set(result, "not_in_force", others);
	return rc;
}

static void limit_say(struct et_cli *cli, const json_t *result)
{
	size_t i;
	json_t *name;

	(void)fprintf(cli->out, "Revision %" PRId64 " is in force on %" PRId64 " nodes.\n",
		      et_json_get_int(result, "revision", 0),
		      et_json_get_int(result, "in_force", 0));
	json_array_foreach(json_object_get(result, "not_in_force"), i, name)
	{
		et_cli_note(cli, "not on %s: it takes it when it is back",
			    json_string_value(name) != NULL ? json_string_value(name) : "?");
	}
}

static int limit_change(struct et_cli *cli, const char *rate, struct et_error *reterr)
{
	static const char *const same[] = { "to", "class", "window", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;

	for (size_t i = 0; i < ET_ARRAY_SIZE(same); i++) {
		if (et_cli_option(cli, same[i]) != NULL) {
			et_json_set(body, same[i], et_json_text(et_cli_option(cli, same[i])));
		}
	}
	if (rate != NULL) {
		et_json_set(body, "rate", et_json_text(rate));
	}
	int rc = et_cli_send(cli, "POST",
			     rate != NULL ? "/v1/replication/limits"
					  : "/v1/replication/limits/remove",
			     body, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	int64_t revision = et_json_get_int(answer, "revision", 0);
	rc = limit_wait(cli, revision, answer, reterr);
	if (rc < 0) {
		et_cli_note(cli,
			    "revision %" PRId64 " is committed; where it is in force: evertape "
			    "replication limit --show",
			    revision);
		return rc;
	}
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, answer);
	} else {
		limit_say(cli, answer);
	}
	return json_array_size(json_object_get(answer, "not_in_force")) == 0 ? 0 : ET_EXIT_DEGRADED;
}

int et_cli_replication_limit(struct et_cli *cli, struct et_error *reterr)
{
	bool show = et_cli_option(cli, "show") != NULL;
	bool removes = et_cli_option(cli, "remove") != NULL;
	const char *reason = et_cli_option(cli, "reason");

	if (show) {
		return cli->arg_count == 0 && !removes
			       ? limit_show(cli, reterr)
			       : et_cli_usage(cli, reterr, "--show stands alone");
	}
	if (et_cli_option(cli, "to") == NULL || (cli->arg_count == 1) == removes) {
		return et_cli_usage(cli, reterr,
				    "say --to SITE and a RATE, or --to SITE --remove, or --show");
	}
	if (reason == NULL || *reason == '\0') {
		return et_cli_usage(cli, reterr,
				    "replication limit needs --reason TEXT: it goes into the audit "
				    "log");
	}
	return limit_change(cli, removes ? NULL : cli->args[0], reterr);
}
