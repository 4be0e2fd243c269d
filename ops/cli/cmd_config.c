/* config show, config diff: what is in force at a running node, and what a file would change. */
#include <stdlib.h>
#include <string.h>

#include "node/config/config.h"
#include "ops/cli/cli.h"

/* `node`: a member; NULL: the node that is asked. */
static int settings_get(struct et_cli *cli, const char *node, json_t **ret, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };

	et_buffer_printf(&path, "/v1/config");
	et_cli_query(&path, "node", node);
	et_buffer_add8(&path, 0);
	return path.failed ? et_fail(reterr, -ENOMEM, "request")
			   : et_cli_get(cli, (const char *)path.data, ret, reterr);
}

/* ---- show ---- */

static const struct et_cli_column setting_columns[] = {
	{ "KEY", "key", ET_CLI_TEXT, false },	  { "VALUE", "shown", ET_CLI_TEXT, false },
	{ "WHERE", "where", ET_CLI_TEXT, false }, { "APPLIES BY", "applies", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static bool is_scalar(const json_t *value)
{
	return json_is_string(value) || json_is_number(value) || json_is_boolean(value);
}

/* "voter, vault, capture"; NULL: it is no list of single values. */
static json_t *list_shown(const json_t *list)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	size_t i;
	json_t *o;

	json_array_foreach((json_t *)(uintptr_t)list, i, o)
	{
		if (!is_scalar(o)) {
			return NULL;
		}
		et_buffer_printf(&b, "%s", i > 0 ? ", " : "");
		et_cli_format_value(o, ET_CLI_TEXT, &b);
	}
	return b.size > 0 ? et_json_text_n(b.data, b.size) : NULL;
}

static json_t *value_shown(const json_t *value)
{
	const char *text = json_string_value(value);

	if (text != NULL) {
		return et_json_text(text);
	}
	if (json_is_array(value)) {
		json_t *list = list_shown(value);
		if (list != NULL) {
			return list;
		}
	}
	char *dump = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	json_t *j = et_json_text(dump != NULL ? dump : "");
	free(dump);
	return j;
}

static json_t *secret_shown(const json_t *value)
{
	const char *place = json_string_value(value);

	return place == NULL || *place == '\0' ? json_string("")
					       : json_sprintf("(set, in %s)", place);
}

/* The rows of the table: what nobody has said only with --defaults. */
static json_t *rows_make(struct et_cli *cli, const json_t *settings, size_t *ret_left)
{
	bool defaults = et_cli_option(cli, "defaults") != NULL;
	json_t *rows = json_array();
	size_t i;
	json_t *o;

	*ret_left = 0;
	json_array_foreach((json_t *)(uintptr_t)settings, i, o)
	{
		const char *source = et_json_get_text(o, "source", "");
		const json_t *value = json_object_get(o, "value");
		if (strcmp(source, "default") == 0 && !defaults) {
			(*ret_left)++;
			continue;
		}
		json_t *row = json_copy(o);
		et_json_set(row, "shown",
			    et_json_get_bool(o, "secret", false) ? secret_shown(value)
								 : value_shown(value));
		et_json_set(row, "where",
			    et_json_text(strcmp(source, "file") == 0 ? et_json_get_text(o, "at", "")
								     : source));
		et_json_add(rows, row);
	}
	return rows;
}

static int yaml_print(struct et_cli *cli, const json_t *answer, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };

	et_buffer_printf(&b, "# %s: what is in force, and where it was said\n",
			 et_json_get_text(answer, "node", ""));
	et_config_settings_yaml(json_object_get(answer, "settings"),
				et_cli_option(cli, "defaults") != NULL, &b);
	if (b.failed) {
		return et_fail(reterr, -ENOMEM, "settings");
	}
	(void)fwrite(b.data, 1, b.size, cli->out);
	return 0;
}

static int show_print(struct et_cli *cli, json_t *answer, struct et_error *reterr)
{
	size_t left;

	if (cli->format == ET_CLI_YAML) {
		return yaml_print(cli, answer, reterr);
	}
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, answer);
		return 0;
	}
	ET_CLEANUP(et_json_freep) json_t *document = json_object();
	et_json_set(document, "settings",
		    rows_make(cli, json_object_get(answer, "settings"), &left));
	int rc = et_cli_print(cli, document, "settings", setting_columns, reterr);
	if (rc == 0 && left > 0) {
		et_cli_note(cli, "%zu more are at their default: --defaults", left);
	}
	return rc;
}

int et_cli_config_show(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;

	if (et_cli_member(cli, 1) != NULL) {
		return et_cli_usage(cli, reterr,
				    "one node at a time; two are compared by config "
				    "diff");
	}
	int rc = settings_get(cli, et_cli_member(cli, 0), &answer, reterr);
	rc = rc < 0 ? rc : show_print(cli, answer, reterr);
	if (rc == 0 && et_json_get_bool(answer, "file_changed", false)) {
		const char *file = et_json_get_text(answer, "file", "");
		et_cli_note(cli, "%s was changed since it was read: evertape config diff %s", file,
			    file);
	}
	return rc;
}

/* ---- diff ---- */

static const struct et_cli_column change_columns[] = {
	{ "KEY", "key", ET_CLI_TEXT, false },
	{ "BEFORE", "shown_before", ET_CLI_TEXT, false },
	{ "AFTER", "shown_after", ET_CLI_TEXT, false },
	{ "APPLIES BY", "applies", ET_CLI_TEXT, false },
	{ "WHERE", "after_at", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column node_columns[] = {
	{ "KEY", "key", ET_CLI_TEXT, false },
	{ "ONE", "shown_before", ET_CLI_TEXT, false },
	{ "THE OTHER", "shown_after", ET_CLI_TEXT, false },
	{ "WHERE", "before_at", ET_CLI_TEXT, false },
	{ "AND WHERE", "after_at", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static void changes_print_add(json_t *changes)
{
	size_t i;
	json_t *o;

	json_array_foreach(changes, i, o)
	{
		const json_t *before = json_object_get(o, "before");
		const json_t *after = json_object_get(o, "after");
		et_json_set(o, "shown_before",
			    json_is_null(before) ? json_string("-") : value_shown(before));
		et_json_set(o, "shown_after",
			    json_is_null(after) ? json_string("-") : value_shown(after));
	}
}

static size_t count_applies(const json_t *changes, const char *how)
{
	size_t n = 0;
	size_t i;
	json_t *o;

	json_array_foreach((json_t *)(uintptr_t)changes, i, o)
	{
		n += strcmp(et_json_get_text(o, "applies", ""), how) == 0;
	}
	return n;
}

static void notes_print(struct et_cli *cli, const json_t *changes)
{
	size_t never = count_applies(changes, "never");
	size_t restart = count_applies(changes, "restart");

	if (never > 0) {
		et_cli_note(cli, "evertaped would not start: it would be another node "
				 "(evertape node remove, then join it anew)");
	} else if (restart > 0) {
		et_cli_note(cli, "%zu of %zu need a restart: systemctl restart evertaped", restart,
			    json_array_size(changes));
	} else if (json_array_size(changes) > 0) {
		et_cli_note(cli, "a reload is enough: systemctl reload evertaped");
	}
}

static int changes_print(struct et_cli *cli, json_t *document, const struct et_cli_column *columns,
			 struct et_error *reterr)
{
	json_t *changes = json_object_get(document, "changes");

	if (!et_cli_is_json(cli)) {
		changes_print_add(changes);
		if (json_array_size(changes) == 0 && cli->format != ET_CLI_CSV) {
			(void)fprintf(cli->out, "nothing differs\n");
			return 0;
		}
	}
	return et_cli_print(cli, document, "changes", columns, reterr);
}

/* Roles of a member are the catalogue's: only what its file said before can be changed by a file.
 */
static void roles_as_said(json_t *settings)
{
	size_t i;
	json_t *o;

	json_array_foreach(settings, i, o)
	{
		json_t *said = json_object_get(o, "said");
		if (said != NULL) {
			et_json_set(o, "value", json_incref(said));
		}
	}
}

static int diff_file(struct et_cli *cli, const char *file, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *running = NULL;
	ET_CLEANUP(et_json_freep) json_t *settings = NULL;
	ET_CLEANUP(et_json_freep) json_t *document = json_object();
	struct et_config *config = calloc(1, sizeof(*config));

	if (et_cli_member(cli, 1) != NULL) {
		free(config);
		return et_cli_usage(cli, reterr, "a file is compared with one node");
	}
	int rc = config == NULL ? et_fail(reterr, -ENOMEM, "config diff")
				: et_config_load_settings(file, config, &settings, reterr);
	free(config);
	if (rc < 0) {
		(void)et_fail_next(reterr, "correct it, then: evertape config check %s", file);
		return rc;
	}
	rc = settings_get(cli, et_cli_member(cli, 0), &running, reterr);
	if (rc < 0) {
		return rc;
	}
	roles_as_said(json_object_get(running, "settings"));
	json_t *changes = et_config_diff(json_object_get(running, "settings"), settings);
	size_t count = json_array_size(changes);
	et_json_set(document, "schema", json_string("evertape/v1"));
	et_json_set(document, "node", json_incref(json_object_get(running, "node")));
	et_json_set(document, "file", et_json_text(file));
	et_json_set(document, "valid", json_true());
	et_json_set(document, "restart", json_boolean(count_applies(changes, "restart") > 0));
	et_json_set(document, "possible", json_boolean(count_applies(changes, "never") == 0));
	et_json_set(document, "changes", changes);
	rc = changes_print(cli, document, change_columns, reterr);
	if (rc == 0) {
		notes_print(cli, changes);
	}
	return rc < 0 ? rc : count > 0 ? ET_EXIT_CHANGES : 0;
}

static int diff_nodes(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *one = NULL;
	ET_CLEANUP(et_json_freep) json_t *other = NULL;
	ET_CLEANUP(et_json_freep) json_t *document = json_object();
	json_t *common = json_array();
	size_t i;
	json_t *o;

	int rc = settings_get(cli, et_cli_member(cli, 0), &one, reterr);
	rc = rc < 0 ? rc : settings_get(cli, et_cli_member(cli, 1), &other, reterr);
	if (rc < 0) {
		json_decref(common);
		return rc;
	}
	ET_CLEANUP(et_json_freep)
	json_t *all = et_config_diff(json_object_get(one, "settings"),
				     json_object_get(other, "settings"));
	json_array_foreach(all, i, o)
	{
		if (et_json_get_bool(o, "common", false)) {
			et_json_add(common, json_incref(o));
		}
	}
	et_json_set(document, "schema", json_string("evertape/v1"));
	et_json_set(document, "node", json_incref(json_object_get(one, "node")));
	et_json_set(document, "other", json_incref(json_object_get(other, "node")));
	et_json_set(document, "changes", common);
	rc = changes_print(cli, document, node_columns, reterr);
	return rc < 0 ? rc : json_array_size(common) > 0 ? ET_EXIT_DEGRADED : 0;
}

int et_cli_config_diff(struct et_cli *cli, struct et_error *reterr)
{
	if (cli->arg_count == 1) {
		return diff_file(cli, cli->args[0], reterr);
	}
	if (et_cli_member(cli, 1) == NULL || et_cli_member(cli, 2) != NULL) {
		return et_cli_usage(cli, reterr, "config diff needs a FILE, or --node twice");
	}
	return diff_nodes(cli, reterr);
}
