/* The targets of the archive: how they are doing, and trying them out; the latter works without a
 * cluster, too. */
#include <inttypes.h>
#include <string.h>

#include "archive/policy/trial.h"
#include "node/io/file.h"
#include "ops/cli/cli.h"

static const struct et_cli_column target_columns[] = {
	{ "TARGET", "name", ET_CLI_TEXT, false },
	{ "TYPE", "type", ET_CLI_TEXT, false },
	{ "WHERE", "where", ET_CLI_TEXT, false },
	{ "RULES", "rules", ET_CLI_LIST, false },
	{ "LOCK", "lock", ET_CLI_TEXT, true },
	{ "CLASS", "storage_class", ET_CLI_TEXT, true },
	{ "COPIES", "copies", ET_CLI_NUMBER, false },
	{ "BYTES", "bytes", ET_CLI_BYTES, false },
	{ "BAD", "bad", ET_CLI_NUMBER, true },
	{ "BACKLOG", "backlog_segments", ET_CLI_NUMBER, false },
	{ "TO UPLOAD", "backlog_bytes", ET_CLI_BYTES, true },
	{ "LAST SUCCESS", "last_success", ET_CLI_TIME, false },
	{ "FAILED JOBS", "jobs_failed", ET_CLI_NUMBER, true },
	{ "LAST FAILURE", "last_failure", ET_CLI_TIME, false },
	{ "WHY", "last_failure_why", ET_CLI_TEXT, true },
	{ "UNREACHABLE", "unreachable_why", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

int et_cli_targets_list(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc = et_cli_get(cli, "/v1/archive/targets", &j, reterr);
	return rc < 0 ? rc : et_cli_print(cli, j, "targets", target_columns, reterr);
}

/* ---- Test ---- */

static const struct et_cli_column step_columns[] = {
	{ "STEP", "step", ET_CLI_TEXT, false },	   { "RESULT", "result", ET_CLI_TEXT, false },
	{ "MS", "took_ms", ET_CLI_NUMBER, false }, { "WHAT", "text", ET_CLI_TEXT, false },
	{ "NEXT", "next", ET_CLI_TEXT, false },	   { NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column flat_columns[] = {
	{ "TARGET", "target", ET_CLI_TEXT, false }, { "STEP", "step", ET_CLI_TEXT, false },
	{ "RESULT", "result", ET_CLI_TEXT, false }, { "CODE", "code", ET_CLI_TEXT, false },
	{ "MS", "took_ms", ET_CLI_NUMBER, false },  { "WHAT", "text", ET_CLI_TEXT, false },
	{ "NEXT", "next", ET_CLI_TEXT, false },	    { NULL, NULL, ET_CLI_TEXT, false },
};

/* From this machine, as the file says. */
static int test_here(struct et_cli *cli, const char *name, json_t **ret, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *policy = NULL;
	const char *file = et_cli_option(cli, "file");
	int rc = et_file_read(file, ET_ARCHIVE_POLICY_SIZE_MAX, &text, reterr);
	rc = rc < 0 ? rc
		    : et_archive_policy_parse(text.data != NULL ? (const char *)text.data : "",
					      text.size, file, &policy, reterr);
	return rc < 0 ? rc : et_archive_trial(policy, name, ret, reterr);
}

/* Ask the node to try `name`; what came of it is added to `tests`. */
static int test_there(struct et_cli *cli, const char *name, json_t *tests, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(name) ||
	    *name == '\0') {
		return et_cli_usage(cli, reterr, "'%.64s' is no target's name", name);
	}
	et_buffer_printf(&path, "/v1/archive/targets/%s/test", name);
	et_buffer_add8(&path, 0);
	int rc = path.failed
			 ? et_fail(reterr, -ENOMEM, "request")
			 : et_cli_send(cli, "POST", (const char *)path.data, NULL, &answer, reterr);
	if (rc == 0) {
		(void)json_array_extend(tests, json_object_get(answer, "tests"));
	}
	return rc;
}

/* All targets of the policy in force, or one. */
static int test_cluster(struct et_cli *cli, const char *name, json_t **ret, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *tests = json_array();
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc = 0;
	if (name != NULL) {
		rc = test_there(cli, name, tests, reterr);
	} else {
		rc = et_cli_get(cli, "/v1/archive/targets", &j, reterr);
		const json_t *targets = json_object_get(j, "targets");
		for (size_t i = 0; rc == 0 && i < json_array_size(targets); i++) {
			rc = test_there(cli,
					et_json_get_text(json_array_get(targets, i), "name", ""),
					tests, reterr);
		}
	}
	if (rc == 0) {
		*ret = ET_TAKE(tests);
	}
	return rc;
}

static int tests_csv(struct et_cli *cli, const json_t *tests, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *flat = json_object();
	json_t *rows = json_array();
	size_t i, k;
	json_t *test, *step;
	json_array_foreach(tests, i, test)
	{
		json_array_foreach(json_object_get(test, "steps"), k, step)
		{
			json_t *row = json_copy(step);
			et_json_set(row, "target",
				    et_json_text(et_json_get_text(test, "target", "")));
			et_json_add(rows, row);
		}
	}
	et_json_set(flat, "steps", rows);
	return et_cli_print(cli, flat, "steps", flat_columns, reterr);
}

static int tests_print(struct et_cli *cli, const json_t *document, struct et_error *reterr)
{
	const json_t *tests = json_object_get(document, "tests");
	size_t i;
	json_t *test;
	int rc = 0;
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, document);
		return 0;
	}
	if (cli->format == ET_CLI_CSV) {
		return tests_csv(cli, tests, reterr);
	}
	json_array_foreach(tests, i, test)
	{
		const char *lock = et_json_get_text(test, "lock", "");
		const char *left = et_json_get_text(test, "left", "");
		ET_CLEANUP(et_buffer_release) struct et_buffer where = { 0 };
		et_cli_add_safe(&where, et_json_get_text(test, "where", ""));
		et_buffer_add8(&where, 0);
		(void)fprintf(cli->out, "%s%s: %s, %s%s%s\n", i > 0 ? "\n" : "",
			      et_json_get_text(test, "target", ""),
			      et_json_get_text(test, "type", ""),
			      where.failed ? "" : (const char *)where.data,
			      *lock != '\0' ? ", lock " : "", lock);
		rc = et_cli_print(cli, test, "steps", step_columns, reterr);
		if (rc < 0) {
			return rc;
		}
		(void)fprintf(cli->out, "%s%s\n",
			      *left != '\0' ? "Left there: " : "Nothing was left there.", left);
	}
	return rc;
}

int et_cli_targets_test(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *document = json_object();
	json_t *tests = NULL;
	size_t i;
	json_t *test;
	const char *name = cli->arg_count > 0 ? cli->args[0] : NULL;
	et_cli_patience(cli, ET_CLI_LONG_MS);
	int rc = et_cli_option(cli, "file") != NULL ? test_here(cli, name, &tests, reterr)
						    : test_cluster(cli, name, &tests, reterr);
	if (rc < 0) {
		return rc;
	}
	et_json_set(document, "schema", json_string("evertape/v1"));
	et_json_set(document, "tests", tests);
	rc = tests_print(cli, document, reterr);
	if (rc < 0) {
		return rc;
	}
	json_array_foreach(tests, i, test)
	{
		if (!et_json_get_bool(test, "ok", false)) {
			rc = et_fail_plain(reterr,
					   et_cli_code_of(et_json_get_text(test, "code", "")),
					   "target %s failed at \"%s\": %.300s",
					   et_json_get_text(test, "target", ""),
					   et_json_get_text(test, "failed", ""),
					   et_json_get_text(test, "why", ""));
			(void)et_fail_next(reterr, "%s", et_json_get_text(test, "next", ""));
			return rc;
		}
	}
	et_cli_note(cli, "%zu targets: all good", json_array_size(tests));
	return 0;
}
