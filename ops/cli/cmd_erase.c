/* recording erase, recording certificate. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/io/file.h"
#include "ops/cli/cli.h"

static const struct et_cli_column exempt_columns[] = {
	{ "RECORDING", "recording", ET_CLI_TEXT, false },
	{ "EXEMPT BECAUSE", "why", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static int erase_plan(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *ids = json_array();
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *plan = NULL;
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	et_cli_patience(cli, ET_CLI_LONG_MS);
	int rc = et_cli_ids(cli, /* first= */ 0, ids, reterr);
	rc = rc < 0 ? rc : et_cli_search_path(cli, "/v1/erasures", false, &path, reterr);
	if (rc < 0) {
		return rc;
	}
	bool filters = strchr((char *)path.data, '?') != NULL;
	if (!filters && json_array_size(ids) == 0 && cli->arg_count == 0 &&
	    isatty(STDIN_FILENO) == 0) {
		rc = et_cli_ids_stdin(ids, reterr);
	}
	if (rc == 0 && filters == (json_array_size(ids) > 0)) {
		rc = et_cli_usage(cli, reterr,
				  "say what to erase: ids, - for standard input, or search "
				  "options; not both");
	}
	if (rc < 0) {
		return rc;
	}
	if (!filters) {
		et_json_set(body, "recordings", json_incref(ids));
	}
	rc = et_cli_send(cli, "POST", (char *)path.data, body, &plan, reterr);
	if (rc < 0) {
		return rc;
	}
	const char *id = et_json_get_text(plan, "plan", "");
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, plan);
		return *id != '\0' ? ET_EXIT_CHANGES : 0;
	}
	(void)fprintf(cli->out, "Plan %s: erase %zu recordings; %zu are exempt\n",
		      *id != '\0' ? id : "(nothing to do)",
		      json_array_size(json_object_get(plan, "erase")),
		      json_array_size(json_object_get(plan, "exempt")));
	if (json_array_size(json_object_get(plan, "exempt")) > 0) {
		(void)fputc('\n', cli->out);
		rc = et_cli_print(cli, plan, "exempt", exempt_columns, reterr);
	}
	if (et_json_get_bool(plan, "partial", false)) {
		(void)fprintf(cli->out, "\nThere is more than one plan holds: apply it, then plan "
					"again.\n");
	}
	if (*id != '\0') {
		(void)fprintf(cli->out,
			      "\nNothing was erased. Apply: evertape recording erase --apply %s "
			      "--reason TEXT --confirm CLUSTER\n",
			      id);
	}
	return rc < 0 ? rc : *id != '\0' ? ET_EXIT_CHANGES : 0;
}

static int erase_send(struct et_cli *cli, const char *kind, const char *named, json_t **ret,
		      struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	const char *reason = et_cli_option(cli, "reason");
	const char *confirm = et_cli_option(cli, "confirm");
	char text[ET_UUID_TEXT_SIZE];
	char path[128];
	int rc = et_cli_id(cli, named, "id", text, reterr);
	if (rc < 0) {
		return rc;
	}
	if (reason == NULL || *reason == '\0') {
		return et_cli_usage(cli, reterr,
				    "recording erase needs --reason TEXT: it goes into the audit "
				    "log");
	}
	if (confirm == NULL) {
		return et_cli_usage(cli, reterr,
				    "recording erase is for good: it needs --confirm CLUSTER, the "
				    "cluster's name");
	}
	et_cli_patience(cli, ET_CLI_LONG_MS);
	(void)snprintf(path, sizeof(path), "/v1/%s/%s/%s", kind, text,
		       strcmp(kind, "erasures") == 0 ? "apply" : "erase");
	et_json_set(body, "reason", et_json_text(reason));
	et_json_set(body, "confirm", et_json_text(confirm));
	return et_cli_send(cli, "POST", path, body, ret, reterr);
}

int et_cli_recording_erase(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	const char *plan = et_cli_option(cli, "apply");
	if (et_cli_option(cli, "plan") != NULL) {
		return plan != NULL ? et_cli_usage(cli, reterr, "--plan or --apply, not both")
				    : erase_plan(cli, reterr);
	}
	if (plan == NULL && cli->arg_count != 1) {
		return et_cli_usage(cli, reterr,
				    "recording erase takes one ID; for more: --plan, then --apply");
	}
	int rc = erase_send(cli, plan != NULL ? "erasures" : "recordings",
			    plan != NULL ? plan : cli->args[0], &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, answer);
	} else if (plan != NULL) {
		(void)fprintf(cli->out,
			      "%" PRId64
			      " recordings are erased: their keys are destroyed at index "
			      "%" PRId64 ".\nCertificate: evertape recording certificate %s --out "
			      "FILE\n",
			      et_json_get_int(answer, "erased", 0),
			      et_json_get_int(answer, "index", 0), plan);
	} else {
		(void)fprintf(cli->out,
			      "Recording %s is erased: its keys are destroyed at index %" PRId64
			      ".\n",
			      cli->args[0], et_json_get_int(answer, "index", 0));
	}
	return 0;
}

int et_cli_recording_certificate(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	const char *out = et_cli_option(cli, "out");
	char text[ET_UUID_TEXT_SIZE];
	char path[128];
	if (out == NULL) {
		return et_cli_usage(cli, reterr, "recording certificate needs --out FILE");
	}
	int rc = et_cli_id(cli, cli->args[0], "id", text, reterr);
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(path, sizeof(path), "/v1/erasures/%s/certificate", text);
	rc = et_cli_get(cli, path, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	char *bytes = json_dumps(answer, JSON_INDENT(1) | JSON_SORT_KEYS);
	rc = bytes == NULL ? et_fail(reterr, -ENOMEM, "certificate")
			   : et_file_publish(out, bytes, strlen(bytes), 0600, reterr);
	free(bytes);
	if (rc == 0) {
		et_cli_note(cli, "written to %s; anyone checks it: evertape verify-proof %s", out,
			    out);
	}
	return rc;
}
