/* Certificates of the nodes, and the CA that issues them. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "ops/cli/cli.h"

#define LINE_EVERY_S 10
#define PAUSE_MS 200
#define RENEW_MS 60000

static const struct et_cli_column cert_columns[] = {
	{ "NODE", "name", ET_CLI_TEXT, false },
	{ "SITE", "site", ET_CLI_TEXT, false },
	{ "VALID FROM", "not_before", ET_CLI_TIME, false },
	{ "VALID UNTIL", "not_after", ET_CLI_TIME, false },
	{ "LEFT", "left_ms", ET_CLI_AGO_MS, false },
	{ "STATE", "state", ET_CLI_TEXT, false },
	{ "CA", "ca", ET_CLI_NUMBER, false },
	{ "SERIAL", "serial", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

int et_cli_cert_list(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;

	int rc = et_cli_get(cli, "/v1/certs", &answer, reterr);
	return rc < 0 ? rc : et_cli_print(cli, answer, "certs", cert_columns, reterr);
}

/* ---- renew ---- */

int et_cli_cert_renew(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	const char *node = et_cli_member(cli, 0);

	if (et_cli_member(cli, 1) != NULL) {
		return et_cli_usage(cli, reterr, "one node at a time");
	}
	if (node != NULL) {
		et_json_set(body, "node", et_json_text(node));
	}
	et_json_set(body, "reason", et_json_text(et_cli_option(cli, "reason")));
	et_cli_patience(cli, RENEW_MS);
	int rc = et_cli_send(cli, "POST", "/v1/certs/renew", body, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	const json_t *https = json_object_get(answer, "api_certificate");
	bool reloaded = !json_is_object(https) || et_json_get_bool(https, "reloaded", false);
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, answer);
		return reloaded ? 0 : ET_EXIT_DEGRADED;
	}
	(void)fprintf(cli->out, "%s: valid until %s (before: %s)\n",
		      et_json_get_text(answer, "node", "?"),
		      et_json_get_text(answer, "new_not_after", "?"),
		      et_json_get_text(answer, "old_not_after", "?"));
	if (json_is_object(https)) {
		(void)fprintf(cli->out, "HTTPS: %s %s%s\n", et_json_get_text(https, "file", ""),
			      reloaded ? "was read again, valid until "
				       : "cannot be used, the one before stays: ",
			      et_json_get_text(https, reloaded ? "not_after" : "why", "?"));
	}
	return reloaded ? 0 : ET_EXIT_DEGRADED;
}

/* ---- rotate-ca ---- */

static const char *phase_of(const json_t *ca)
{
	return et_json_get_text(json_object_get(ca, "rotation"), "phase", "settled");
}

static void status_print(struct et_cli *cli, const json_t *ca)
{
	const json_t *rotation = json_object_get(ca, "rotation");
	const json_t *o;
	size_t i;

	json_array_foreach(json_object_get(ca, "trusted"), i, o)
	{
		(void)fprintf(cli->out, "CA %" PRId64 "  key %.16s…  %s\n",
			      et_json_get_int(o, "ca", 0), et_json_get_text(o, "key_hash", ""),
			      et_json_get_bool(o, "issues", false) ? "issues" : "trusted");
	}
	if (strcmp(phase_of(ca), "settled") == 0) {
		(void)fprintf(cli->out, "no rotation is under way%s\n",
			      et_json_get_bool(rotation, "aborted", false)
				      ? "; the last one was aborted"
				      : "");
		return;
	}
	(void)fprintf(cli->out, "rotation from CA %" PRId64 " to CA %" PRId64 ": phase %s%s%s\n",
		      et_json_get_int(rotation, "from", 0), et_json_get_int(rotation, "to", 0),
		      phase_of(ca),
		      et_json_get_bool(rotation, "forced", false)    ? ", forced"
		      : et_json_get_bool(rotation, "aborted", false) ? ", on its way back"
								     : "",
		      et_json_get_bool(rotation, "finish", false)
			      ? ", without members that are away"
			      : "");
	json_array_foreach(json_object_get(rotation, "awaits"), i, o)
	{
		const char *node = et_json_get_text(o, "node", "");
		(void)fprintf(cli->out, "  waits for %s%s%s%s\n", et_json_get_text(o, "what", "?"),
			      *node != '\0' ? " of " : "", node,
			      *node != '\0' && !et_json_get_bool(o, "reachable", true)
				      ? ", which is away: --finish goes on without it"
				      : "");
	}
}

static int status_show(struct et_cli *cli, const json_t *ca)
{
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, ca);
	} else {
		status_print(cli, ca);
	}
	return strcmp(phase_of(ca), "settled") == 0 ? 0 : ET_EXIT_CHANGES;
}

/* What would happen, and with whom. */
static int plan_show(struct et_cli *cli, const json_t *ca, struct et_error *reterr)
{
	const json_t *live;
	size_t i;

	if (strcmp(phase_of(ca), "settled") != 0) {
		(void)et_fail_plain(reterr, ET_EEXISTS, "a rotation of the CA is under way");
		return et_fail_next(reterr, "evertape cert rotate-ca --status");
	}
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, ca);
		return ET_EXIT_CHANGES;
	}
	(void)fprintf(cli->out,
		      "CA %" PRId64 " would take the place of CA %" PRId64 ":\n"
		      "  1. a vault node makes it; every member trusts both\n"
		      "  2. it issues: every member's certificate is renewed (its key stays)\n"
		      "  3. CA %" PRId64 " leaves trust, and its key is destroyed\n"
		      "%" PRId64 " join tokens are open; they would be revoked in step 2\n"
		      "the escrow shares hold the old CA's key: issue new ones after step 2, then "
		      "make a backup\n",
		      et_json_get_int(ca, "newest", 1) + 1, et_json_get_int(ca, "issuer", 1),
		      et_json_get_int(ca, "issuer", 1), et_json_get_int(ca, "open_join_tokens", 0));
	json_array_foreach(json_object_get(ca, "live"), i, live)
	{
		if (!et_json_get_bool(live, "reachable", true)) {
			(void)fprintf(cli->out,
				      "%s is away: steps 2 and 3 wait for it, or for --finish\n",
				      et_json_get_text(live, "name", "a node"));
		}
	}
	return ET_EXIT_CHANGES;
}

static void pause_ms(long ms)
{
	const struct timespec pause = { ms / 1000, ms % 1000 * 1000000L };

	(void)nanosleep(&pause, NULL);
}

/* Until no rotation is under way; a line now and then. */
static int settle_wait(struct et_cli *cli, struct et_error *reterr)
{
	for (unsigned rounds = 0;; rounds++) {
		ET_CLEANUP(et_json_freep) json_t *ca = NULL;
		int rc = et_cli_get(cli, "/v1/ca", &ca, reterr);
		if (rc < 0) {
			return rc;
		}
		if (strcmp(phase_of(ca), "settled") == 0) {
			return status_show(cli, ca);
		}
		if (rounds % (LINE_EVERY_S * 1000 / PAUSE_MS) == 0) {
			et_cli_note(cli, "phase %s; waits for %zu", phase_of(ca),
				    json_array_size(json_object_get(json_object_get(ca, "rotation"),
								    "awaits")));
		}
		pause_ms(PAUSE_MS);
	}
}

static int rotate_ask(struct et_cli *cli, const char *path, const char *what,
		      struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	const char *reason = et_cli_option(cli, "reason");

	if (reason == NULL) {
		return et_cli_usage(cli, reterr, "cert rotate-ca%s needs --reason TEXT", what);
	}
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	et_json_set(body, "reason", et_json_text(reason));
	int rc = et_cli_send(cli, "POST", path, body, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	return et_cli_option(cli, "wait") != NULL ? settle_wait(cli, reterr)
						  : et_cli_print_object(cli, answer, reterr);
}

int et_cli_cert_rotate_ca(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *ca = NULL;
	bool plan = et_cli_option(cli, "plan") != NULL;
	bool status = et_cli_option(cli, "status") != NULL;
	bool abort_it = et_cli_option(cli, "abort") != NULL;
	bool finish = et_cli_option(cli, "finish") != NULL;

	if (plan + status + abort_it + finish > 1) {
		return et_cli_usage(cli, reterr,
				    "one of --plan, --status, --abort and --finish at a time");
	}
	if (abort_it) {
		return rotate_ask(cli, "/v1/ca/abort", " --abort", reterr);
	}
	if (finish) {
		return rotate_ask(cli, "/v1/ca/finish", " --finish", reterr);
	}
	if (!plan && !status) {
		return rotate_ask(cli, "/v1/ca/rotate", "", reterr);
	}
	int rc = et_cli_get(cli, "/v1/ca", &ca, reterr);
	if (rc < 0) {
		return rc;
	}
	return plan ? plan_show(cli, ca, reterr) : status_show(cli, ca);
}
