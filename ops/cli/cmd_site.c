/* site remove: a site is given up when nobody is there any more. */
#include <inttypes.h>
#include <string.h>

#include "node/base/role.h"
#include "ops/cli/cli.h"

static int path_make(struct et_cli *cli, const char *verb, char ret[128], struct et_error *reterr)
{
	if (!et_name_is_valid(cli->args[0])) {
		return et_cli_usage(cli, reterr, "\"%.60s\" is no name of a site", cli->args[0]);
	}
	(void)snprintf(ret, 128, "/v1/sites/%s/%s", cli->args[0], verb);
	return 0;
}

static void plan_print(struct et_cli *cli, const json_t *plan)
{
	const char *name = et_json_get_text(plan, "name", "");
	const char *description = et_json_get_text(plan, "description", "");
	int64_t tokens = et_json_get_int(plan, "open_join_tokens", 0);
	int64_t holds = et_json_get_int(plan, "holds", 0);
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	const json_t *o;
	size_t i;

	et_buffer_printf(&b, "site %s%s", name, *description != '\0' ? " (" : "");
	et_cli_add_safe(&b, description);
	et_buffer_printf(&b, "%s %s\n", *description != '\0' ? ")" : "",
			 et_json_get_bool(plan, "removable", false) ? "can be removed" : "stays:");
	json_array_foreach(json_object_get(plan, "refused"), i, o)
	{
		et_buffer_printf(&b, "  %s\n    -> %s\n", et_json_get_text(o, "why", "?"),
				 et_json_get_text(o, "next", ""));
	}
	if (tokens > 0) {
		et_buffer_printf(&b, "%" PRId64 " open join tokens for it are revoked with it\n",
				 tokens);
	}
	if (holds > 0) {
		et_buffer_printf(&b,
				 "%" PRId64 " holds name it; they stay, and cover what was "
				 "recorded there\n",
				 holds);
	}
	if (!b.failed) {
		(void)fwrite(b.data, 1, b.size, cli->out);
	}
}

static int plan_show(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *plan = NULL;
	char path[128];
	int rc = path_make(cli, "removal", path, reterr);

	rc = rc < 0 ? rc : et_cli_get(cli, path, &plan, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, plan);
	} else {
		plan_print(cli, plan);
	}
	return et_json_get_bool(plan, "removable", false) ? ET_EXIT_CHANGES
							  : et_exit_code(ET_EPOLICY);
}

int et_cli_site_remove(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	const char *reason = et_cli_option(cli, "reason");
	char path[128];

	if (et_cli_option(cli, "plan") != NULL) {
		return plan_show(cli, reterr);
	}
	if (reason == NULL) {
		return et_cli_usage(cli, reterr, "site remove needs --reason TEXT, or --plan");
	}
	et_json_set(body, "reason", et_json_text(reason));
	int rc = path_make(cli, "remove", path, reterr);
	rc = rc < 0 ? rc : et_cli_send(cli, "POST", path, body, &answer, reterr);
	return rc < 0 ? rc : et_cli_print_object(cli, answer, reterr);
}
