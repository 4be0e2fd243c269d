/* recording why, retention explain: what the API says of one recording, with sources. */
#include <string.h>

#include "ops/cli/cli.h"

static const struct et_cli_column columns[] = {
	{ "ABOUT", "about", ET_CLI_TEXT, false },   { "WHAT", "what", ET_CLI_TEXT, false },
	{ "SINCE", "since", ET_CLI_TIME, false },   { "UNTIL", "until", ET_CLI_TIME, false },
	{ "SOURCE", "source", ET_CLI_TEXT, false }, { NULL, NULL, ET_CLI_TEXT, false },
};

static int ask(struct et_cli *cli, json_t **ret, struct et_error *reterr)
{
	char id[ET_UUID_TEXT_SIZE];
	char path[96];
	int rc = et_cli_id(cli, cli->args[0], "recording", id, reterr);
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(path, sizeof(path), "/v1/recordings/%s/why", id);
	return et_cli_get(cli, path, ret, reterr);
}

int et_cli_recording_why(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc = ask(cli, &j, reterr);
	return rc < 0 ? rc : et_cli_print(cli, j, "statements", columns, reterr);
}

int et_cli_retention_explain(struct et_cli *cli, struct et_error *reterr)
{
	static const char *const about[] = { "held", "kept", "erased" };
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc = ask(cli, &j, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *statements = json_object_get(j, "statements");
	for (size_t i = json_array_size(statements); i-- > 0;) {
		const char *word = et_json_get_text(json_array_get(statements, i), "about", "");
		bool wanted = false;
		for (size_t k = 0; k < ET_ARRAY_SIZE(about); k++) {
			wanted = wanted || strcmp(word, about[k]) == 0;
		}
		if (!wanted) {
			(void)json_array_remove(statements, i);
		}
	}
	return et_cli_print(cli, j, "statements", columns, reterr);
}
