/* Commands that need no cluster. */
#include <string.h>

#include "node/config/config.h"
#include "ops/cli/cli.h"
#include "ops/cli/codes.h"

#ifndef ET_VERSION
#error "ET_VERSION comes from the build"
#endif

static const struct et_cli_column explain_columns[] = {
	{ "CODE", "code", ET_CLI_TEXT, false },	  { "LEVEL", "level", ET_CLI_TEXT, false },
	{ "MEANS", "means", ET_CLI_TEXT, false }, { "NEXT", "next", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static json_t *code_json(const struct et_cli_code *c)
{
	json_t *o = json_object();
	et_json_set(o, "code", json_string(c->code));
	et_json_set(o, "level", json_string(c->level));
	et_json_set(o, "means", json_string(c->means));
	et_json_set(o, "next", json_string(c->next));
	return o;
}

int et_cli_explain(struct et_cli *cli, struct et_error *reterr)
{
	if (cli->arg_count == 1) {
		const struct et_cli_code *c = et_cli_code_find(cli->args[0]);
		if (c == NULL) {
			const char *near = et_cli_code_suggest(cli->args[0]);
			int rc = et_fail_plain(reterr, ET_ENOTFOUND, "there is no code %.40s%s%s%s",
					       cli->args[0], near != NULL ? " (did you mean " : "",
					       near != NULL ? near : "", near != NULL ? "?)" : "");
			(void)et_fail_next(reterr, "evertape explain");
			return rc;
		}
		if (!et_cli_is_json(cli) && cli->format != ET_CLI_CSV) {
			(void)fprintf(cli->out, "%s (%s)\n\n%s\n\nNext: %s\n", c->code, c->level,
				      c->means, c->next);
			return 0;
		}
		ET_CLEANUP(et_json_freep) json_t *o = code_json(c);
		et_json_set(o, "schema", json_string("evertape/v1"));
		return et_cli_print_object(cli, o, reterr);
	}
	ET_CLEANUP(et_json_freep) json_t *document = json_object();
	json_t *list = json_array();
	for (const struct et_cli_code *c = et_cli_codes; c->code != NULL; c++) {
		et_json_add(list, code_json(c));
	}
	et_json_set(document, "schema", json_string("evertape/v1"));
	et_json_set(document, "codes", list);
	return et_cli_print(cli, document, "codes", explain_columns, reterr);
}

int et_cli_version(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *o = json_object();
	ET_CLEANUP(et_json_freep) json_t *health = NULL;
	et_json_set(o, "schema", json_string("evertape/v1"));
	et_json_set(o, "version", json_string(ET_VERSION));
	et_cli_patience(cli, 2000);
	/* A node that does not answer is no error here. */
	if (et_cli_get(cli, "/healthz", &health, NULL) == 0) {
		et_json_set(o, "node_version",
			    et_json_text(et_json_get_text(health, "version", NULL)));
	}
	return et_cli_print_object(cli, o, reterr);
}

int et_cli_completion_cmd(struct et_cli *cli, struct et_error *reterr)
{
	if (et_cli_completion(cli->args[0], cli->out) < 0) {
		return et_cli_usage(cli, reterr,
				    "completion is for bash, zsh or fish, not \"%.20s\"",
				    cli->args[0]);
	}
	return 0;
}

int et_cli_man_cmd(struct et_cli *cli, struct et_error *reterr)
{
	const char *page = cli->arg_count > 0 ? cli->args[0] : "evertape";

	if (et_cli_man(page, cli->out) < 0) {
		return et_cli_usage(cli, reterr,
				    "there are the pages evertape and evertape.yaml, not \"%.20s\"",
				    page);
	}
	return 0;
}

int et_cli_config_check(struct et_cli *cli, struct et_error *reterr)
{
	static struct et_config config;
	int rc = et_config_load(cli->args[0], &config, reterr);
	if (rc < 0) {
		(void)et_fail_next(reterr, "correct it; all keys: evertape config defaults");
		return rc;
	}
	json_t *roles = json_array();
	for (unsigned bit = 1; bit <= ET_ROLES_ALL; bit <<= 1) {
		if ((config.roles & bit) != 0) {
			et_json_add(roles, json_string(et_config_role_name((enum et_role)bit)));
		}
	}
	ET_CLEANUP(et_json_freep) json_t *o = json_object();
	et_json_set(o, "schema", json_string("evertape/v1"));
	et_json_set(o, "file", et_json_text(cli->args[0]));
	et_json_set(o, "valid", json_true());
	et_json_set(o, "cluster", json_string(config.cluster));
	et_json_set(o, "name", json_string(config.name));
	et_json_set(o, "site", json_string(config.site));
	et_json_set(o, "roles", roles);
	et_json_set(o, "captures", json_integer(config.capture_count));
	return et_cli_print_object(cli, o, reterr);
}

int et_cli_config_defaults(struct et_cli *cli, struct et_error *reterr)
{
	(void)reterr;
	(void)fputs(et_config_defaults_text(), cli->out);
	return 0;
}
