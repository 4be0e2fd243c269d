/* archive policy diff: what changes between two policies, and what would move. */
#include <inttypes.h>
#include <string.h>

#include "archive/policy/diff.h"
#include "archive/policy/target.h"
#include "node/io/file.h"
#include "ops/cli/cli.h"

static const struct et_cli_column change_columns[] = {
	{ "WHAT", "kind", ET_CLI_TEXT, false },	    { "NAME", "name", ET_CLI_TEXT, false },
	{ "CHANGE", "change", ET_CLI_TEXT, false }, { "KEY", "key", ET_CLI_TEXT, false },
	{ "BEFORE", "before", ET_CLI_TEXT, false }, { "AFTER", "after", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column action_columns[] = {
	{ "ACTION", "action", ET_CLI_TEXT, false },
	{ "RULE", "rule", ET_CLI_TEXT, false },
	{ "TARGET", "target", ET_CLI_TEXT, false },
	{ "RECORDINGS", "recordings", ET_CLI_NUMBER, false },
	{ "BYTES", "bytes", ET_CLI_BYTES, false },
	{ "WHY", "why", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

struct side {
	char name[128];			  /* "revision 3", or the file's */
	struct et_buffer text;		  /* owned; ends with NUL */
	struct et_archive_policy *policy; /* owned */
};

static void side_release(struct side *s)
{
	et_buffer_release(&s->text);
	s->policy = et_archive_policy_free(s->policy);
}

/* A revision; `given` NULL: the one in force. */
static int side_ask(struct et_cli *cli, const char *given, struct side *s, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	char path[96];
	(void)snprintf(path, sizeof(path), "/v1/archive/policy%s%s",
		       given != NULL ? "/revisions/" : "", given != NULL ? given : "");
	int rc = et_cli_get(cli, path, &j, reterr);
	if (rc == 0) {
		(void)snprintf(s->name, sizeof(s->name), "revision %" PRId64,
			       et_json_get_int(j, "revision", 0));
		et_buffer_printf(&s->text, "%s", et_json_get_text(j, "text", ""));
	}
	return rc;
}

static int side_read(struct et_cli *cli, const char *given, struct side *s, struct et_error *reterr)
{
	int rc;
	if (given == NULL || et_cli_is_revision(given)) {
		rc = side_ask(cli, given, s, reterr);
	} else {
		(void)snprintf(s->name, sizeof(s->name), "%.120s", given);
		rc = et_file_read(given, ET_ARCHIVE_POLICY_SIZE_MAX, &s->text, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	size_t size = s->text.size;
	et_buffer_add8(&s->text, 0);
	if (s->text.failed) {
		return et_fail(reterr, -ENOMEM, "policy");
	}
	rc = et_archive_policy_parse((const char *)s->text.data, size, s->name, &s->policy, reterr);
	return rc < 0 ? rc : et_archive_targets_check(s->policy, s->name, reterr);
}

/* What the cluster would do if `after` were in force now. */
static int effect_ask(struct et_cli *cli, const struct side *after, json_t *document,
		      struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *plan = NULL;
	et_json_set(body, "text", et_json_text((const char *)after->text.data));
	int rc = et_cli_send(cli, "POST", "/v1/archive/plans", body, &plan, reterr);
	if (rc == 0) {
		et_json_set(document, "actions", json_incref(json_object_get(plan, "actions")));
		et_json_set(document, "partial", json_incref(json_object_get(plan, "partial")));
	}
	return rc;
}

static int diff_print(struct et_cli *cli, const json_t *document, const struct side *before,
		      const struct side *after, struct et_error *reterr)
{
	if (et_cli_is_json(cli) || cli->format == ET_CLI_CSV) {
		return et_cli_print(cli, document, "changes", change_columns, reterr);
	}
	bool same = json_array_size(json_object_get(document, "changes")) == 0;
	(void)fprintf(cli->out, "From %s to %s%s\n", before->name, after->name,
		      same ? ": they mean the same" : "\n");
	int rc = same ? 0 : et_cli_print(cli, document, "changes", change_columns, reterr);
	if (rc == 0 && json_object_get(document, "actions") != NULL) {
		(void)fprintf(cli->out, "\nIf %s were in force now:\n\n", after->name);
		rc = et_cli_print(cli, document, "actions", action_columns, reterr);
	}
	return rc;
}

int et_cli_policy_diff(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(side_release) struct side before = { .policy = NULL };
	ET_CLEANUP(side_release) struct side after = { .policy = NULL };
	ET_CLEANUP(et_json_freep) json_t *document = json_object();
	et_cli_patience(cli, ET_CLI_LONG_MS);
	int rc = side_read(cli, cli->arg_count > 1 ? cli->args[0] : NULL, &before, reterr);
	rc = rc < 0 ? rc : side_read(cli, cli->args[cli->arg_count - 1], &after, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *changes = et_archive_policy_diff(before.policy, after.policy);
	size_t count = json_array_size(changes);
	et_json_set(document, "schema", json_string("evertape/v1"));
	et_json_set(document, "before", et_json_text(before.name));
	et_json_set(document, "after", et_json_text(after.name));
	et_json_set(document, "changes", changes);
	if (et_cli_option(cli, "offline") == NULL) {
		rc = effect_ask(cli, &after, document, reterr);
	}
	rc = rc < 0 ? rc : diff_print(cli, document, &before, &after, reterr);
	return rc < 0 ? rc : count > 0 ? ET_EXIT_CHANGES : 0;
}
