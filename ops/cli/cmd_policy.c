/* The cluster's policies, of archive and of retention: YAML that is checked here, put in force
 * under a revision, and shown as it was written. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "archive/policy/retention.h"
#include "archive/policy/target.h"
#include "node/io/file.h"
#include "ops/cli/cli.h"

struct kind {
	const char *command; /* "archive policy" */
	const char *path;
	const char *in_force; /* what that means, and the next command */
	/* Check the text of the file `name`; what is counted goes into `counts`. */
	int (*check)(const char *text, size_t size, const char *name, json_t *counts,
		     struct et_error *reterr);
};

static int archive_check(const char *text, size_t size, const char *name, json_t *counts,
			 struct et_error *reterr)
{
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *policy = NULL;
	int rc = et_archive_policy_parse(text, size, name, &policy, reterr);
	rc = rc < 0 ? rc : et_archive_targets_check(policy, name, reterr);
	if (rc == 0) {
		et_json_set(counts, "targets", json_integer((json_int_t)policy->target_count));
		et_json_set(counts, "rules", json_integer((json_int_t)policy->rule_count));
	}
	return rc;
}

static int retention_check(const char *text, size_t size, const char *name, json_t *counts,
			   struct et_error *reterr)
{
	ET_CLEANUP(et_retention_policy_freep) struct et_retention_policy *policy = NULL;
	int rc = et_retention_policy_parse(text, size, name, &policy, reterr);
	if (rc == 0) {
		et_json_set(counts, "rules", json_integer((json_int_t)policy->rule_count));
	}
	return rc;
}

static const struct kind archive = {
	.command = "archive policy",
	.path = "/v1/archive/policy",
	.in_force = "Nothing was moved yet: evertape archive plan",
	.check = archive_check,
};

static const struct kind retention = {
	.command = "retention policy",
	.path = "/v1/retention/policy",
	.in_force = "What is due goes from now on: evertape retention plan",
	.check = retention_check,
};

/* Read and check the file named first; its text stays in `text`. */
static int policy_read(struct et_cli *cli, const struct kind *kind, struct et_buffer *text,
		       json_t *counts, struct et_error *reterr)
{
	const char *file = cli->args[0];
	int rc = et_file_read(file, ET_ARCHIVE_POLICY_SIZE_MAX, text, reterr);
	rc = rc < 0 ? rc
		    : kind->check(text->data != NULL ? (const char *)text->data : "", text->size,
				  file, counts, reterr);
	if (rc < 0 && reterr->next[0] == '\0') {
		(void)et_fail_next(reterr, "correct it, then: evertape %s validate %s",
				   kind->command, file);
	}
	return rc;
}

static int policy_validate(struct et_cli *cli, const struct kind *kind, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	ET_CLEANUP(et_json_freep) json_t *o = json_object();
	et_json_set(o, "schema", json_string("evertape/v1"));
	et_json_set(o, "file", et_json_text(cli->args[0]));
	et_json_set(o, "valid", json_true());
	int rc = policy_read(cli, kind, &text, o, reterr);
	return rc < 0 ? rc : et_cli_print_object(cli, o, reterr);
}

static int policy_apply(struct et_cli *cli, const struct kind *kind, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	ET_CLEANUP(et_json_freep) json_t *counts = json_object();
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	int rc = policy_read(cli, kind, &text, counts, reterr);
	if (rc < 0) {
		return rc;
	}
	et_json_set(body, "text", json_stringn((const char *)text.data, text.size));
	et_json_set(body, "reason", et_json_text(et_cli_option(cli, "reason")));
	const char *expect = et_cli_option(cli, "expect");
	if (expect != NULL) {
		if (!et_cli_is_revision(expect)) {
			return et_cli_usage(cli, reterr, "--expect is a revision, a whole number");
		}
		et_json_set(body, "expect_revision", json_integer(strtol(expect, NULL, 10)));
	}
	rc = et_cli_send(cli, "PUT", kind->path, body, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, answer);
	} else {
		(void)fprintf(cli->out, "Revision %" PRId64 " is in force. %s\n",
			      et_json_get_int(answer, "revision", 0), kind->in_force);
	}
	return 0;
}

static const struct et_cli_column revision_columns[] = {
	{ "REVISION", "revision", ET_CLI_NUMBER, false },
	{ "IN FORCE", "in_force", ET_CLI_TEXT, false },
	{ "APPLIED", "applied", ET_CLI_TIME, false },
	{ "WHO", "principal", ET_CLI_TEXT, false },
	{ "REASON", "reason", ET_CLI_TEXT, false },
	{ "AUDIT EVENT", "audit_event", ET_CLI_NUMBER, true },
	{ "SHA-256", "hash", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static int policy_list(struct et_cli *cli, const struct kind *kind, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	char path[64];
	(void)snprintf(path, sizeof(path), "%s/revisions", kind->path);
	et_cli_patience(cli, ET_CLI_LONG_MS);
	int rc = et_cli_get(cli, path, &j, reterr);
	return rc < 0 ? rc : et_cli_print(cli, j, "revisions", revision_columns, reterr);
}

static int policy_show(struct et_cli *cli, const struct kind *kind, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	const char *revision = et_cli_option(cli, "revision");
	char path[96];
	if (revision != NULL && !et_cli_is_revision(revision)) {
		return et_cli_usage(cli, reterr, "--revision is a whole number");
	}
	(void)snprintf(path, sizeof(path), "%s%s%s", kind->path,
		       revision != NULL ? "/revisions/" : "", revision != NULL ? revision : "");
	int rc = et_cli_get(cli, path, &j, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, j);
		return 0;
	}
	et_cli_note(cli, "revision %" PRId64 ", applied %s by %s",
		    et_json_get_int(j, "revision", 0), et_json_get_text(j, "applied", "?"),
		    et_json_get_text(j, "principal", "?"));
	(void)fputs(et_json_get_text(j, "text", ""), cli->out);
	return 0;
}

bool et_cli_is_revision(const char *text)
{
	size_t size = strlen(text);
	return size > 0 && size <= 9 && strspn(text, "0123456789") == size;
}

int et_cli_policy_list(struct et_cli *cli, struct et_error *reterr)
{
	return policy_list(cli, &archive, reterr);
}

int et_cli_retention_list(struct et_cli *cli, struct et_error *reterr)
{
	return policy_list(cli, &retention, reterr);
}

int et_cli_policy_validate(struct et_cli *cli, struct et_error *reterr)
{
	return policy_validate(cli, &archive, reterr);
}

int et_cli_policy_apply(struct et_cli *cli, struct et_error *reterr)
{
	return policy_apply(cli, &archive, reterr);
}

int et_cli_policy_show(struct et_cli *cli, struct et_error *reterr)
{
	return policy_show(cli, &archive, reterr);
}

int et_cli_retention_validate(struct et_cli *cli, struct et_error *reterr)
{
	return policy_validate(cli, &retention, reterr);
}

int et_cli_retention_apply(struct et_cli *cli, struct et_error *reterr)
{
	return policy_apply(cli, &retention, reterr);
}

int et_cli_retention_show(struct et_cli *cli, struct et_error *reterr)
{
	return policy_show(cli, &retention, reterr);
}
