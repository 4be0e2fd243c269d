/* The command table. Everything that says what evertape can do is derived from here. */
#include "ops/cli/table_internal.h"

const struct et_cli_option et_cli_globals[] = {
	{ "cluster", "NAME", "expect this cluster and refuse another (also $EVERTAPE_CLUSTER)",
	  NULL },
	{ "node", "ADDRESS:PORT", "ask this node over HTTPS instead of the local socket", NULL },
	{ "socket", "PATH", "Unix socket of the local node (also $EVERTAPE_SOCKET)", NULL },
	{ "token-file", "FILE", "API token for --node; the file must be private (0600)", NULL },
	{ "ca", "FILE", "PEM bundle that --node's certificate must chain to, with its name", NULL },
	{ "cluster-ca", "FILE", "PEM of the cluster's CA: any of its nodes is trusted", NULL },
	{ "pin", "SHA256", "expect this public key at --node: sha256//BASE64", NULL },
	{ "output", "FORMAT", "-o: table, wide, json, ndjson, csv", "table wide json ndjson csv" },
	{ "timeout", "DURATION", "give up after this long; default 15s", NULL },
	{ "no-color", NULL, "no colours (also $NO_COLOR)", NULL },
	{ "quiet", NULL, "-q: no notes on standard error", NULL },
	{ "verbose", NULL, "-v: say what is asked of whom", NULL },
	{ "help", NULL, "-h: this help", NULL },
	{ NULL, NULL, NULL, NULL },
};

/* In the order in which help tells them. */
static const struct et_cli_command *const rooms[] = { table_cluster, table_capture, table_recording,
						      table_keeping, table_trust };

const struct et_cli_command *et_cli_next(const struct et_cli_command *before)
{
	bool found = before == NULL;

	for (size_t i = 0; i < ET_ARRAY_SIZE(rooms); i++) {
		for (const struct et_cli_command *c = rooms[i]; c->path != NULL; c++) {
			if (found) {
				return c;
			}
			found = c == before;
		}
	}
	return NULL;
}
