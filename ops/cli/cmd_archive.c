/* Archive plans, jobs, verification. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "node/io/clock.h"
#include "ops/cli/cli.h"

static const struct et_cli_column action_columns[] = {
	{ "ACTION", "action", ET_CLI_TEXT, false },
	{ "RULE", "rule", ET_CLI_TEXT, false },
	{ "TARGET", "target", ET_CLI_TEXT, false },
	{ "RECORDINGS", "recordings", ET_CLI_NUMBER, false },
	{ "BYTES", "bytes", ET_CLI_BYTES, false },
	{ "WHY", "why", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column item_columns[] = {
	{ "ACTION", "action", ET_CLI_TEXT, false },
	{ "RECORDING", "recording", ET_CLI_TEXT, false },
	{ "SEGMENT", "segment", ET_CLI_TEXT, false },
	{ "TARGET", "target", ET_CLI_TEXT, false },
	{ "NODE", "node", ET_CLI_TEXT, false },
	{ "BYTES", "bytes", ET_CLI_BYTES, false },
	{ "WHY", "why", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static int plan_print(struct et_cli *cli, const json_t *plan, struct et_error *reterr)
{
	bool items = et_cli_option(cli, "items") != NULL;
	if (et_cli_is_json(cli) || cli->format == ET_CLI_CSV) {
		return items ? et_cli_print(cli, plan, "items", item_columns, reterr)
			     : et_cli_print(cli, plan, "actions", action_columns, reterr);
	}
	const char *id = et_json_get_text(plan, "plan", "");
	(void)fprintf(cli->out, "Plan %s for policy revision %" PRId64 "\n\n",
		      *id != '\0' ? id : "(nothing to do)",
		      et_json_get_int(plan, "policy_revision", 0));
	int rc = et_cli_print(cli, plan, "actions", action_columns, reterr);
	if (rc == 0 && items) {
		(void)fputc('\n', cli->out);
		rc = et_cli_print(cli, plan, "items", item_columns, reterr);
	}
	if (rc == 0) {
		(void)fprintf(cli->out,
			      "\n%" PRId64 " requests to the targets. Nothing was changed.\n",
			      et_json_get_int(plan, "requests", 0));
		if (et_json_get_bool(plan, "partial", false)) {
			(void)fprintf(cli->out, "There is more than one plan holds: apply it, then "
						"plan again.\n");
		}
		if (*id != '\0') {
			(void)fprintf(cli->out, "Apply: evertape archive apply %s --reason TEXT\n",
				      id);
		}
	}
	return rc;
}

int et_cli_archive_plan(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *plan = NULL;
	et_cli_patience(cli, ET_CLI_LONG_MS);
	et_json_set(body, "items", json_boolean(et_cli_option(cli, "items") != NULL));
	int rc = et_cli_send(cli, "POST", "/v1/archive/plans", body, &plan, reterr);
	if (rc == 0) {
		rc = plan_print(cli, plan, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	return *et_json_get_text(plan, "plan", "") != '\0' ? ET_EXIT_CHANGES : 0;
}

/* At a terminal: show what is to be done and let the cluster's name be typed. */
static int apply_confirm(struct et_cli *cli, const char *path, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *plan = NULL;
	ET_CLEANUP(et_json_freep) json_t *cluster = NULL;
	if (et_cli_option(cli, "yes") != NULL || isatty(STDIN_FILENO) == 0) {
		return 0; /* A script named plan and reason: that is its word. */
	}
	int rc = et_cli_get(cli, path, &plan, reterr);
	if (rc == 0) {
		rc = et_cli_get(cli, "/v1/cluster", &cluster, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	const char *name = et_json_get_text(cluster, "name", "");
	char typed[128] = "";
	(void)fprintf(cli->err, "%zu items of plan %s. Type the name of the cluster to go on: ",
		      json_array_size(json_object_get(plan, "items")), cli->args[0]);
	(void)fflush(cli->err);
	if (fgets(typed, sizeof(typed), stdin) == NULL) {
		typed[0] = '\0';
	}
	typed[strcspn(typed, "\n")] = '\0';
	if (*name == '\0' || strcmp(typed, name) != 0) {
		return et_fail_plain(reterr, ET_EDENIED, "not confirmed: nothing was changed");
	}
	return 0;
}

int et_cli_archive_apply(struct et_cli *cli, struct et_error *reterr)
{
	char text[ET_UUID_TEXT_SIZE];
	char path[128];
	int rc = et_cli_id(cli, cli->args[0], "plan id", text, reterr);
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(path, sizeof(path), "/v1/archive/plans/%s", text);
	rc = apply_confirm(cli, path, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	et_json_set(body, "reason", et_json_text(et_cli_option(cli, "reason")));
	(void)snprintf(path, sizeof(path), "/v1/archive/plans/%s/apply", text);
	rc = et_cli_send(cli, "POST", path, body, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, answer);
	} else {
		(void)fprintf(cli->out,
			      "%" PRId64 " jobs were made. See: evertape archive status\n",
			      et_json_get_int(answer, "jobs", 0));
	}
	return 0;
}

static const struct et_cli_column target_columns[] = {
	{ "TARGET", "name", ET_CLI_TEXT, false },
	{ "COPIES", "copies", ET_CLI_NUMBER, false },
	{ "BYTES", "bytes", ET_CLI_BYTES, false },
	{ "BAD", "bad", ET_CLI_NUMBER, false },
	{ "LAST GOOD", "last_ok", ET_CLI_TIME, false },
	{ "LAST ERROR", "last_error", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column job_columns[] = {
	{ "JOB", "id", ET_CLI_TEXT, false },	  { "KIND", "kind", ET_CLI_TEXT, false },
	{ "NODE", "node", ET_CLI_TEXT, false },	  { "ITEMS", "items", ET_CLI_NUMBER, false },
	{ "STATE", "state", ET_CLI_TEXT, false }, { "DONE", "done_bytes", ET_CLI_BYTES, false },
	{ "ERROR", "error", ET_CLI_TEXT, false }, { NULL, NULL, ET_CLI_TEXT, false },
};

int et_cli_archive_status(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc = et_cli_get(cli, "/v1/archive/status", &j, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_cli_is_json(cli) || cli->format == ET_CLI_CSV) {
		return et_cli_print(cli, j, "targets", target_columns, reterr);
	}
	(void)fprintf(cli->out,
		      "Policy revision %" PRId64 "   jobs waiting %" PRId64 ", failed %" PRId64
		      "   backlog %" PRId64 " segments\n\n",
		      et_json_get_int(j, "policy_revision", 0),
		      et_json_get_int(j, "jobs_waiting", 0), et_json_get_int(j, "jobs_failed", 0),
		      et_json_get_int(j, "backlog_segments", 0));
	rc = et_cli_print(cli, j, "targets", target_columns, reterr);
	if (rc == 0 && json_array_size(json_object_get(j, "jobs")) > 0) {
		(void)fputc('\n', cli->out);
		rc = et_cli_print(cli, j, "jobs", job_columns, reterr);
	}
	return rc;
}

static const struct et_cli_column bad_columns[] = {
	{ "RECORDING", "recording", ET_CLI_TEXT, false },
	{ "SEGMENT", "segment", ET_CLI_TEXT, false },
	{ "TARGET", "target", ET_CLI_TEXT, false },
	{ "OBJECT", "object", ET_CLI_TEXT, false },
	{ "CODE", "code", ET_CLI_TEXT, false },
	{ "WHY", "why", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

int et_cli_archive_verify(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	et_cli_patience(cli, 24 * 3600 * 1000L);
	if (et_cli_option(cli, "target") != NULL) {
		et_json_set(body, "target", et_json_text(et_cli_option(cli, "target")));
	}
	if (et_cli_option(cli, "recording") != NULL) {
		et_json_set(body, "recording", et_json_text(et_cli_option(cli, "recording")));
	}
	int rc = et_cli_send(cli, "POST", "/v1/archive/verify", body, &j, reterr);
	if (rc == 0) {
		rc = et_cli_print(cli, j, "problems", bad_columns, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	int64_t bad = et_json_get_int(j, "bad", 0);
	int64_t unreachable = et_json_get_int(j, "unreachable", 0);
	if (bad + unreachable == 0) {
		et_cli_note(cli, "%" PRId64 " copies, %" PRId64 " bytes: all good",
			    et_json_get_int(j, "copies", 0), et_json_get_int(j, "bytes", 0));
		return 0;
	}
	return et_fail_plain(reterr, bad > 0 ? ET_EINTEGRITY : ET_EUNREACHABLE,
			     "of %" PRId64 " copies, %" PRId64 " are bad and %" PRId64
			     " could not be read",
			     et_json_get_int(j, "copies", 0), bad, unreachable);
}
