/* recording join, recording split: which recordings are legs of one call, by hand. */
#include <stdio.h>

#include "ops/cli/cli.h"

static int legs_send(struct et_cli *cli, const char *verb, json_t *body, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	char path[160];

	(void)snprintf(path, sizeof(path), "/v1/recordings/%.64s/%s", cli->args[0], verb);
	et_json_set(body, "reason", et_json_text(et_cli_option(cli, "reason")));
	int rc = et_cli_send(cli, "POST", path, body, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_json_get_int(answer, "moved", 0) == 0) {
		et_cli_note(cli, "it was so already: nothing has changed");
	}
	return et_cli_print_object(cli, answer, reterr);
}

int et_cli_recording_join(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	json_t *with = json_array();

	for (size_t i = 1; i < cli->arg_count; i++) {
		et_json_add(with, et_json_text(cli->args[i]));
	}
	et_json_set(body, "with", with);
	return legs_send(cli, "join", body, reterr);
}

int et_cli_recording_split(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();

	return legs_send(cli, "split", body, reterr);
}
