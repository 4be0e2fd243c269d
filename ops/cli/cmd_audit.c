/* audit list and audit verify. */
#include <inttypes.h>

#include "node/io/file.h"
#include "ops/cli/chain.h"
#include "ops/cli/cli.h"

#define FILE_MAX ((size_t)1 << 30)

static const struct et_cli_column columns[] = {
	{ "NUMBER", "number", ET_CLI_NUMBER, false }, { "TIME", "time", ET_CLI_TIME, false },
	{ "WHO", "principal", ET_CLI_TEXT, false },   { "ACTION", "action", ET_CLI_TEXT, false },
	{ "TARGET", "target", ET_CLI_TEXT, false },   { "OUTCOME", "outcome", ET_CLI_TEXT, false },
	{ "REASON", "reason", ET_CLI_TEXT, false },   { "DETAIL", "detail", ET_CLI_TEXT, true },
	{ "NODE", "node", ET_CLI_NUMBER, true },      { "HASH", "hash", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

int et_cli_audit_list(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	et_buffer_printf(&path, "/v1/audit");
	et_cli_query(&path, "from", et_cli_option(cli, "from"));
	et_cli_query(&path, "to", et_cli_option(cli, "to"));
	et_buffer_add8(&path, '\0');
	if (path.failed) {
		return et_fail(reterr, -ENOMEM, "request");
	}
	int rc = et_cli_get(cli, (char *)path.data, &j, reterr);
	if (rc == 0) {
		rc = et_cli_print(cli, j, "events", columns, reterr);
	}
	if (rc == 0 && et_json_get_bool(j, "more", false)) {
		et_cli_note(cli, "more: --from %" PRId64, et_json_get_int(j, "next_number", 0));
	}
	return rc;
}

static int verify_file(struct et_cli *cli, json_t **ret, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	struct et_chain chain;
	char head[65];
	int rc = et_file_read(cli->args[0], FILE_MAX, &text, reterr);
	if (rc == 0) {
		rc = et_chain_verify(cli->args[0], text.data != NULL ? (char *)text.data : "",
				     text.size, &chain, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	et_hex(chain.head, 32, head);
	*ret = json_object();
	et_json_set(*ret, "schema", json_string("evertape/v1"));
	et_json_set(*ret, "verified", json_true());
	et_json_set(*ret, "complete", json_boolean(chain.first == 1));
	et_json_set(*ret, "events", et_json_u64(chain.events));
	et_json_set(*ret, "first", et_json_u64(chain.first));
	et_json_set(*ret, "last", et_json_u64(chain.last));
	et_json_set(*ret, "head", json_string(head));
	if (chain.first != 1) {
		et_cli_note(cli,
			    "the export begins with event %" PRIu64 ": nothing is said of those "
			    "before",
			    chain.first);
	}
	return 0;
}

int et_cli_audit_verify(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc;
	if (cli->arg_count == 1) {
		rc = verify_file(cli, &j, reterr);
	} else {
		et_cli_patience(cli, ET_CLI_LONG_MS);
		rc = et_cli_send(cli, "POST", "/v1/audit/verify", NULL, &j, reterr);
	}
	return rc < 0 ? rc : et_cli_print_object(cli, j, reterr);
}
