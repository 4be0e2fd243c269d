/* The cluster, its nodes and sites, and tokens. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/secret.h"
#include "node/io/clock.h"
#include "node/text/units.h"
#include "ops/cli/cli.h"

#define LONG_MS 120000 /* for what waits for a quorum or makes keys */

/* "3/5" into two numbers. */
static bool fraction_parse(const char *text, unsigned *ret_k, unsigned *ret_n)
{
	char *end;
	unsigned long k = strtoul(text, &end, 10);
	if (end == text || *end != '/' || k < 1 || k > 255) {
		return false;
	}
	const char *second = end + 1;
	unsigned long n = strtoul(second, &end, 10);
	if (end == second || *end != '\0' || n < k || n > 255) {
		return false;
	}
	*ret_k = (unsigned)k;
	*ret_n = (unsigned)n;
	return true;
}

static void print_secrets(struct et_cli *cli, const json_t *answer)
{
	size_t i;
	json_t *share;
	const json_t *shares = json_object_get(answer, "escrow_shares");
	(void)fprintf(cli->out, "Cluster %s is made; this is node %" PRId64 ".\n\n",
		      et_json_get_text(answer, "cluster", "?"), et_json_get_int(answer, "node", 0));
	(void)fprintf(
		cli->out,
		"Escrow: any %" PRId64 " of these %zu shares open every recording if all vault "
		"nodes are lost.\nGive each to another person, now: they are stored nowhere.\n\n",
		et_json_get_int(answer, "escrow_threshold", 0), json_array_size(shares));
	json_array_foreach((json_t *)(uintptr_t)shares, i, share)
	{
		(void)fprintf(cli->out, "  %s\n", json_string_value(share));
	}
	const char *token = et_json_get_text(answer, "token", NULL);
	if (token != NULL) {
		(void)fprintf(cli->out,
			      "\nAPI token of the first administrator, shown once:\n\n  %s\n",
			      token);
	}
}

int et_cli_cluster_init(struct et_cli *cli, struct et_error *reterr)
{
	unsigned k = 3;
	unsigned n = 5;
	const char *escrow = et_cli_option(cli, "escrow");
	if (escrow != NULL && !fraction_parse(escrow, &k, &n)) {
		return et_cli_usage(cli, reterr, "--escrow is K/N with 1 <= K <= N, such as 3/5");
	}
	et_cli_patience(cli, LONG_MS);
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	et_json_set(body, "escrow_threshold", json_integer(k));
	et_json_set(body, "escrow_shares", json_integer(n));
	if (cli->cluster != NULL) {
		et_json_set(body, "cluster", et_json_text(cli->cluster));
	}
	int rc = et_cli_send(cli, "POST", "/v1/cluster/init", body, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, answer);
	} else {
		print_secrets(cli, answer);
	}
	return 0;
}

int et_cli_cluster_show(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc = et_cli_get(cli, "/v1/cluster", &j, reterr);
	if (rc == 0 && !et_cli_is_json(cli)) {
		(void)json_object_del(j, "ca_pem"); /* for machines: with -o json */
	}
	return rc < 0 ? rc : et_cli_print_object(cli, j, reterr);
}

static int get_and_print(struct et_cli *cli, const char *path, const char *rows,
			 const struct et_cli_column *columns, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc = et_cli_get(cli, path, &j, reterr);
	return rc < 0 ? rc : et_cli_print(cli, j, rows, columns, reterr);
}

static const struct et_cli_column node_columns[] = {
	{ "ID", "id", ET_CLI_NUMBER, false },
	{ "NODE", "name", ET_CLI_TEXT, false },
	{ "SITE", "site", ET_CLI_TEXT, false },
	{ "ROLE", "role", ET_CLI_TEXT, false },
	{ "STATE", "state", ET_CLI_TEXT, false },
	{ "REACHABLE", "reachable", ET_CLI_TEXT, false },
	{ "ROLES", "roles", ET_CLI_LIST, false },
	{ "CHANGE", "change", ET_CLI_TEXT, false },
	{ "ADDRESS", "address", ET_CLI_TEXT, false },
	{ "API", "api_address", ET_CLI_TEXT, true },
	{ "VERSION", "version", ET_CLI_TEXT, true },
	{ "APPLIED", "applied", ET_CLI_NUMBER, true },
	{ "JOINED", "joined", ET_CLI_TIME, true },
	{ "CERT UNTIL", "cert_expires", ET_CLI_TIME, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

int et_cli_node_list(struct et_cli *cli, struct et_error *reterr)
{
	return get_and_print(cli, "/v1/nodes", "nodes", node_columns, reterr);
}

/* Put --ttl as microseconds into `body`. */
static int add_ttl(struct et_cli *cli, json_t *body, struct et_error *reterr)
{
	const char *text = et_cli_option(cli, "ttl");
	int64_t us;
	if (text == NULL) {
		return 0;
	}
	if (!et_duration_parse(text, &us) || us <= 0) {
		return et_cli_usage(cli, reterr, "--ttl is a duration such as 24h, not \"%.20s\"",
				    text);
	}
	et_json_set(body, "lifetime_us", json_integer(us));
	return 0;
}

/* Put --role, or these by default, and --reason into `body`. */
static void add_roles(struct et_cli *cli, json_t *body, const char *a, const char *b, const char *c)
{
	const char *const defaults[] = { a, b, c };
	json_t *roles = et_cli_option_list(cli, "role");
	for (size_t i = 0; json_array_size(roles) == i && i < 3 && defaults[i] != NULL; i++) {
		et_json_add(roles, json_string(defaults[i]));
	}
	et_json_set(body, "roles", roles);
	if (et_cli_option(cli, "reason") != NULL) {
		et_json_set(body, "reason", et_json_text(et_cli_option(cli, "reason")));
	}
}

/* Show a token that is shown once: alone on standard output, the rest as notes. */
static void print_token(struct et_cli *cli, const json_t *answer, const char *what)
{
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, answer);
		return;
	}
	et_cli_note(cli, "%s; valid until %s, shown once:", what,
		    et_json_get_text(answer, "expires", "?"));
	(void)fprintf(cli->out, "%s\n", et_json_get_text(answer, "token", ""));
}

int et_cli_node_token(struct et_cli *cli, struct et_error *reterr)
{
	const char *site = et_cli_option(cli, "site");
	const char *uses = et_cli_option(cli, "uses");
	if (site == NULL || !et_name_is_valid(site)) {
		return et_cli_usage(cli, reterr, "node token needs --site NAME of the new node");
	}
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	et_json_set(body, "site", json_string(site));
	add_roles(cli, body, "voter", "capture", "api");
	if (uses != NULL) {
		char *end;
		long n = strtol(uses, &end, 10);
		if (end == uses || *end != '\0' || n < 1 || n > 1000) {
			return et_cli_usage(cli, reterr, "--uses is a number from 1 to 1000");
		}
		et_json_set(body, "uses", json_integer(n));
	}
	int rc = add_ttl(cli, body, reterr);
	if (rc == 0) {
		rc = et_cli_send(cli, "POST", "/v1/nodes/token", body, &answer, reterr);
	}
	if (rc == 0) {
		print_token(cli, answer, "join token: evertape node join - ADDRESS < token");
	}
	return rc;
}

/* The token from a file, standard input, or the command line. */
static int read_token(struct et_cli *cli, char *text, size_t size, struct et_error *reterr)
{
	const char *path = cli->args[0];
	bool from_stdin = strcmp(path, "-") == 0;
	if (strncmp(path, "evt1.", 5) == 0) {
		et_cli_note(cli, "the token stood on the command line, where other users of this "
				 "machine could read it: prefer a private file, or -");
		(void)snprintf(text, size, "%s", path);
		return 0;
	}
	FILE *f = from_stdin ? stdin : fopen(path, "re");
	if (f == NULL) {
		return et_fail(reterr, -errno, "open '%s'", path);
	}
	size_t n = fread(text, 1, size - 1, f);
	bool longer = n == size - 1;
	if (!from_stdin) {
		(void)fclose(f);
	}
	text[n] = '\0';
	text[strcspn(text, " \t\r\n")] = '\0';
	if (longer || text[0] == '\0') {
		int rc = et_fail_plain(reterr, ET_EMALFORMED, "'%s' holds no token", path);
		(void)et_fail_next(reterr, "evertape node token --site NAME   (on a member)");
		return rc;
	}
	return 0;
}

int et_cli_node_join(struct et_cli *cli, struct et_error *reterr)
{
	char token[4096];
	int rc = read_token(cli, token, sizeof(token), reterr);
	if (rc < 0) {
		return rc;
	}
	et_cli_patience(cli, LONG_MS);
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	et_json_set(body, "token", et_json_text(token));
	explicit_bzero(token, sizeof(token));
	if (cli->arg_count == 2) {
		et_json_set(body, "address", et_json_text(cli->args[1]));
	}
	rc = et_cli_send(cli, "POST", "/v1/node/join", body, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, answer);
	} else {
		(void)fprintf(cli->out, "This is node %" PRId64 " of cluster %s now.\n",
			      et_json_get_int(answer, "node", 0),
			      et_json_get_text(answer, "cluster", "?"));
	}
	return 0;
}

static const struct et_cli_column site_columns[] = {
	{ "SITE", "name", ET_CLI_TEXT, false },
	{ "WHAT", "description", ET_CLI_TEXT, true },
	{ "NODES", "nodes", ET_CLI_LIST, false },
	{ "LACKS SEGMENTS", "pending_segments", ET_CLI_NUMBER, false },
	{ "BYTES", "pending_bytes", ET_CLI_BYTES, false },
	{ "LAG", "lag_ms", ET_CLI_AGO_MS, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

int et_cli_site_list(struct et_cli *cli, struct et_error *reterr)
{
	return get_and_print(cli, "/v1/sites", "sites", site_columns, reterr);
}

int et_cli_site_set(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	const char *text = et_cli_option(cli, "description");
	const char *reason = et_cli_option(cli, "reason");
	if (text == NULL) {
		return et_cli_usage(cli, reterr, "--description is needed");
	}
	et_json_set(body, "description", et_json_text(text));
	et_json_set(body, "reason", et_json_text(reason != NULL ? reason : ""));
	et_buffer_printf(&path, "/v1/sites/%s", cli->args[0]);
	et_buffer_add8(&path, 0);
	if (path.failed) {
		return et_fail(reterr, -ENOMEM, "site set");
	}
	int rc = et_cli_send(cli, "PUT", (const char *)path.data, body, &answer, reterr);
	return rc < 0 ? rc : et_cli_print_object(cli, answer, reterr);
}

int et_cli_token_create(struct et_cli *cli, struct et_error *reterr)
{
	const char *name = et_cli_option(cli, "name");
	if (name == NULL || *name == '\0') {
		return et_cli_usage(cli, reterr, "token create needs --name NAME");
	}
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	et_json_set(body, "name", et_json_text(name));
	add_roles(cli, body, "reader", NULL, NULL);
	int rc = add_ttl(cli, body, reterr);
	if (rc == 0) {
		rc = et_cli_send(cli, "POST", "/v1/tokens", body, &answer, reterr);
	}
	if (rc == 0) {
		print_token(cli, answer, "API token");
	}
	return rc;
}

static const struct et_cli_column token_columns[] = {
	{ "NAME", "name", ET_CLI_TEXT, false },
	{ "KIND", "kind", ET_CLI_TEXT, false },
	{ "ROLES", "roles", ET_CLI_LIST, false },
	{ "SITE", "site", ET_CLI_TEXT, false },
	{ "STATE", "state", ET_CLI_TEXT, false },
	{ "EXPIRES", "expires", ET_CLI_TIME, false },
	{ "USES", "uses_left", ET_CLI_NUMBER, false },
	{ "ID", "id", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

int et_cli_token_list(struct et_cli *cli, struct et_error *reterr)
{
	return get_and_print(cli, "/v1/tokens", "tokens", token_columns, reterr);
}

int et_cli_token_revoke(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	uint8_t id[16];

	if (!et_uuid_parse(cli->args[0], id)) {
		return et_cli_usage(cli, reterr, "an ID is what token list shows");
	}
	et_json_set(body, "reason", et_json_text(et_cli_option(cli, "reason")));
	et_buffer_printf(&path, "/v1/tokens/%s/revoke", cli->args[0]);
	et_buffer_add8(&path, 0);
	if (path.failed) {
		return et_fail(reterr, -ENOMEM, "token revoke");
	}
	int rc = et_cli_send(cli, "POST", (const char *)path.data, body, &answer, reterr);
	return rc < 0 ? rc : et_cli_print_object(cli, answer, reterr);
}

static const struct et_cli_column capture_columns[] = {
	{ "NODE", "node", ET_CLI_TEXT, false },
	{ "SOURCE", "source", ET_CLI_TEXT, false },
	{ "STATE", "state", ET_CLI_TEXT, false },
	{ "CALLS LIVE", "calls_live", ET_CLI_NUMBER, false },
	{ "CALLS", "calls_total", ET_CLI_NUMBER, false },
	{ "PACKETS", "packets_total", ET_CLI_NUMBER, false },
	{ "DROPS", "drops", ET_CLI_NUMBER, false },
	{ "REFUSED", "calls_refused", ET_CLI_NUMBER, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column demand_columns[] = {
	{ "ID", "id", ET_CLI_TEXT, false },	{ "START", "start", ET_CLI_TIME, false },
	{ "FROM", "from", ET_CLI_TEXT, false }, { "TO", "to", ET_CLI_TEXT, false },
	{ "RULE", "rule", ET_CLI_TEXT, false }, { "ON DEMAND", "on_demand", ET_CLI_TEXT, false },
	{ "END", "end", ET_CLI_TIME, false },	{ "KEEP UNTIL", "keep_until", ET_CLI_TIME, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

/* Calls on demand of the node that is asked: those that can be kept, and those that were. */
static int list_on_demand(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	ET_CLEANUP(et_json_freep) json_t *document = json_object();
	json_t *calls = json_array();
	const json_t *call;
	size_t i;
	et_json_set(document, "schema", json_string("evertape/v1"));
	et_json_set(document, "calls", calls);
	int rc = et_cli_get(cli, "/v1/capture", &j, reterr);
	if (rc < 0) {
		return rc;
	}
	const json_t *node = json_object_get(j, "this_node");
	et_json_set(document, "node", et_json_text(et_json_get_text(node, "node", "")));
	json_array_foreach(json_object_get(node, "live"), i, call)
	{
		if (json_is_string(json_object_get(call, "on_demand"))) {
			et_json_add(calls, json_deep_copy(call));
		}
	}
	return et_cli_print(cli, document, "calls", demand_columns, reterr);
}

int et_cli_capture_list(struct et_cli *cli, struct et_error *reterr)
{
	if (et_cli_option(cli, "on-demand") != NULL) {
		return list_on_demand(cli, reterr);
	}
	return get_and_print(cli, "/v1/capture", "captures", capture_columns, reterr);
}

static const struct et_cli_column lag_columns[] = {
	{ "SITE", "site", ET_CLI_TEXT, false },
	{ "LACKS SEGMENTS", "pending_segments", ET_CLI_NUMBER, false },
	{ "BYTES", "pending_bytes", ET_CLI_BYTES, false },
	{ "LAG", "lag_ms", ET_CLI_AGO_MS, false },
	{ "TAILS", "tails", ET_CLI_NUMBER, false },
	{ "TAIL LAG", "tail_lag_ms", ET_CLI_AGO_MS, false },
	{ "RECEIVED", "received_bytes", ET_CLI_BYTES, false },
	{ "SENT", "sent_bytes", ET_CLI_BYTES, false },
	{ "IN/S", "receive_bytes_per_s", ET_CLI_BYTES, false },
	{ "OUT/S", "send_bytes_per_s", ET_CLI_BYTES, false },
	{ "ERRORS", "errors", ET_CLI_NUMBER, false },
	{ "LAST ERROR", "last_error", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

int et_cli_replication_lag(struct et_cli *cli, struct et_error *reterr)
{
	return get_and_print(cli, "/v1/replication", "sites", lag_columns, reterr);
}
