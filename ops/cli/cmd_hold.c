/* hold, retention plan. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ops/cli/cli.h"

#define HOLD_BATCH 1000

/* ---- hold ---- */

static int scope_of(struct et_cli *cli, json_t **ret, struct et_error *reterr)
{
	static const char *const plain[] = { "number", "agent", "site" };
	char texts[2][ET_TIME_TEXT_SIZE];
	const char *since;
	const char *until;
	int rc = et_cli_time_option(cli, "since", texts[0], &since, reterr);
	rc = rc < 0 ? rc : et_cli_time_option(cli, "until", texts[1], &until, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	for (size_t i = 0; i < ET_ARRAY_SIZE(plain); i++) {
		if (et_cli_option(cli, plain[i]) != NULL) {
			et_json_set(o, plain[i], et_json_text(et_cli_option(cli, plain[i])));
		}
	}
	if (et_cli_option(cli, "call-id") != NULL) {
		et_json_set(o, "call_id", et_json_text(et_cli_option(cli, "call-id")));
	}
	if (since != NULL) {
		et_json_set(o, "from", json_string(since));
	}
	if (until != NULL) {
		et_json_set(o, "to", json_string(until));
	}
	*ret = o;
	return 0;
}

static int hold_send(struct et_cli *cli, const char *key, json_t *value, json_t *sum,
		     struct et_error *reterr)
{
	static const char *const counts[] = { "placed", "stood_already" };
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	et_json_set(body, "name", et_json_text(cli->args[0]));
	et_json_set(body, "reason", et_json_text(et_cli_option(cli, "reason")));
	et_json_set(body, key, value);
	int rc = et_cli_send(cli, "POST", "/v1/holds", body, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(counts); i++) {
		int64_t n = et_json_get_int(sum, counts[i], 0);
		et_json_set(sum, counts[i],
			    json_integer(n + et_json_get_int(answer, counts[i], 0)));
	}
	(void)json_array_extend(json_object_get(sum, "refused"),
				json_object_get(answer, "refused"));
	return 0;
}

static const struct et_cli_column refused_columns[] = {
	{ "RECORDING", "recording", ET_CLI_TEXT, false },
	{ "NOT HELD BECAUSE", "why", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static int hold_ids(struct et_cli *cli, const json_t *ids, json_t *sum, struct et_error *reterr)
{
	size_t count = json_array_size(ids);
	int rc = 0;
	for (size_t at = 0; at < count && rc == 0; at += HOLD_BATCH) {
		json_t *some = json_array();
		for (size_t i = at; i < count && i < at + HOLD_BATCH; i++) {
			et_json_add(some, json_incref(json_array_get(ids, i)));
		}
		rc = hold_send(cli, "recordings", some, sum, reterr);
	}
	return rc;
}

int et_cli_hold_add(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *ids = json_array();
	ET_CLEANUP(et_json_freep) json_t *sum = json_object();
	json_t *scope = NULL;
	et_cli_patience(cli, ET_CLI_LONG_MS);
	et_json_set(sum, "name", et_json_text(cli->args[0]));
	et_json_set(sum, "placed", json_integer(0));
	et_json_set(sum, "stood_already", json_integer(0));
	et_json_set(sum, "refused", json_array());
	int rc = et_cli_ids(cli, /* first= */ 1, ids, reterr);
	rc = rc < 0 ? rc : scope_of(cli, &scope, reterr);
	if (rc < 0) {
		return rc;
	}
	bool scoped = json_object_size(scope) > 0;
	if (scoped == (json_array_size(ids) > 0)) {
		json_decref(scope);
		return et_cli_usage(cli, reterr,
				    "a hold is of recordings (--recording ID, - for standard "
				    "input), or of what fits --number, --agent, --site, --call-id, "
				    "--since, --until");
	}
	if (scoped) {
		rc = hold_send(cli, "scope", scope, sum, reterr);
	} else {
		json_decref(scope);
		rc = hold_ids(cli, ids, sum, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	size_t refused = json_array_size(json_object_get(sum, "refused"));
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, sum);
	} else {
		(void)fprintf(cli->out,
			      "Hold '%s': %" PRId64 " placed, %" PRId64 " stood already%s\n",
			      cli->args[0], et_json_get_int(sum, "placed", 0),
			      et_json_get_int(sum, "stood_already", 0),
			      scoped ? ". It covers what fits now and what will come." : ".");
		if (refused > 0) {
			rc = et_cli_print(cli, sum, "refused", refused_columns, reterr);
		}
	}
	return rc < 0 ? rc : refused > 0 ? ET_EXIT_DEGRADED : 0;
}

static const struct et_cli_column hold_columns[] = {
	{ "NAME", "name", ET_CLI_TEXT, false },
	{ "RECORDING", "recording", ET_CLI_TEXT, false },
	{ "SCOPE", "scope", ET_CLI_TEXT, false },
	{ "PLACED", "placed", ET_CLI_TIME, false },
	{ "BY", "principal", ET_CLI_TEXT, false },
	{ "RELEASED", "released", ET_CLI_TIME, false },
	{ "REASON", "reason", ET_CLI_TEXT, false },
	{ "ID", "id", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

/* A scope as one text, for tables. */
static void scopes_flatten(json_t *holds)
{
	size_t i;
	json_t *h;
	json_array_foreach(holds, i, h)
	{
		json_t *scope = json_object_get(h, "scope");
		ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
		const char *key;
		json_t *value;
		json_object_foreach(scope, key, value)
		{
			et_buffer_printf(&text, "%s%s=%s", text.size > 0 ? " " : "", key,
					 json_string_value(value) != NULL ? json_string_value(value)
									  : "");
		}
		et_buffer_add8(&text, '\0');
		if (!text.failed && json_is_object(scope)) {
			et_json_set(h, "scope", et_json_text((char *)text.data));
		}
	}
}

static int holds_get(struct et_cli *cli, const char *name, bool all, json_t **ret,
		     struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	et_buffer_printf(&path, "/v1/holds");
	et_cli_query(&path, "name", name);
	et_cli_query(&path, "all", all ? "true" : NULL);
	et_buffer_add8(&path, '\0');
	if (path.failed) {
		return et_fail(reterr, -ENOMEM, "request");
	}
	int rc = et_cli_get(cli, (char *)path.data, ret, reterr);
	if (rc == 0 && !et_cli_is_json(cli)) {
		scopes_flatten(json_object_get(*ret, "holds"));
	}
	if (rc == 0 && et_json_get_bool(*ret, "more", false)) {
		et_cli_note(cli, "there are more");
	}
	return rc;
}

int et_cli_hold_list(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc = holds_get(cli, NULL, et_cli_option(cli, "all") != NULL, &j, reterr);
	return rc < 0 ? rc : et_cli_print(cli, j, "holds", hold_columns, reterr);
}

int et_cli_hold_show(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc = holds_get(cli, cli->args[0], true, &j, reterr);
	if (rc == 0 && json_array_size(json_object_get(j, "holds")) == 0) {
		return et_fail_plain(reterr, ET_ENOTFOUND, "there is no hold \"%.100s\"",
				     cli->args[0]);
	}
	return rc < 0 ? rc : et_cli_print(cli, j, "holds", hold_columns, reterr);
}

int et_cli_hold_release(struct et_cli *cli, struct et_error *reterr)
{
	int64_t released = 0;
	bool more = true;
	et_cli_patience(cli, ET_CLI_LONG_MS);
	while (more) {
		ET_CLEANUP(et_json_freep) json_t *body = json_object();
		ET_CLEANUP(et_json_freep) json_t *answer = NULL;
		et_json_set(body, "hold", et_json_text(cli->args[0]));
		et_json_set(body, "reason", et_json_text(et_cli_option(cli, "reason")));
		int rc = et_cli_send(cli, "POST", "/v1/holds/release", body, &answer, reterr);
		if (rc < 0) {
			return rc;
		}
		released += et_json_get_int(answer, "released", 0);
		more = et_json_get_bool(answer, "more", false);
	}
	ET_CLEANUP(et_json_freep) json_t *sum = json_object();
	et_json_set(sum, "hold", et_json_text(cli->args[0]));
	et_json_set(sum, "released", json_integer(released));
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, sum);
	} else {
		(void)fprintf(cli->out, "%" PRId64 " holds released. Nothing was erased.\n",
			      released);
	}
	return 0;
}

/* ---- retention ---- */

static const struct et_cli_column action_columns[] = {
	{ "ACTION", "action", ET_CLI_TEXT, false },
	{ "RULE", "rule", ET_CLI_TEXT, false },
	{ "RECORDINGS", "recordings", ET_CLI_NUMBER, false },
	{ "WHY", "why", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column item_columns[] = {
	{ "ACTION", "action", ET_CLI_TEXT, false },
	{ "RECORDING", "recording", ET_CLI_TEXT, false },
	{ "RULE", "rule", ET_CLI_TEXT, false },
	{ "DUE", "due", ET_CLI_TIME, false },
	{ "WHY", "why", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

int et_cli_retention_plan(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *plan = NULL;
	bool items = et_cli_option(cli, "items") != NULL;
	et_cli_patience(cli, ET_CLI_LONG_MS);
	int rc = et_cli_get(cli, "/v1/retention/plan", &plan, reterr);
	rc = rc < 0 ? rc
		    : et_cli_print(cli, plan, items ? "items" : "actions",
				   items ? item_columns : action_columns, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_json_get_bool(plan, "partial", false)) {
		et_cli_note(cli, "not all recordings were looked at");
		return ET_EXIT_DEGRADED;
	}
	return et_json_get_int(plan, "erase", 0) > 0 ? ET_EXIT_CHANGES : 0;
}
