/* hold, retention, recording erase, recording certificate. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive/policy/retention.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "ops/cli/cli.h"

#define LONG_MS 600000
#define STDIN_MAX ((size_t)64 << 20)
#define IDS_MAX 100000
#define HOLD_BATCH 1000

/* ---- Ids from arguments, options, or what recording list and search print ---- */

static bool id_add(json_t *ids, const char *text, size_t size)
{
	char copy[ET_UUID_TEXT_SIZE];
	char clean[ET_UUID_TEXT_SIZE];
	uint8_t id[16];
	if (size >= sizeof(copy)) {
		return false;
	}
	memcpy(copy, text, size);
	copy[size] = '\0';
	if (!et_uuid_parse(copy, id)) {
		return false;
	}
	et_uuid_format(id, clean);
	et_json_add(ids, json_string(clean));
	return true;
}

/* A line of -o ndjson, csv, a table, or of ids alone: the first word, or the object's id. */
static bool line_add(json_t *ids, const char *line, size_t size)
{
	ET_CLEANUP(et_json_freep) json_t *o = NULL;
	if (size > 0 && line[0] == '{') {
		if (et_json_parse("standard input", line, size, STDIN_MAX, &o, NULL) < 0) {
			return false;
		}
		const char *id = et_json_get_text(o, "id", "");
		return id_add(ids, id, strlen(id));
	}
	size_t word = 0;
	while (word < size && line[word] != ' ' && line[word] != ',' && line[word] != '\t' &&
	       line[word] != '\r') {
		word++;
	}
	return id_add(ids, line, word);
}

/* The document of -o json. */
static bool document_add(json_t *ids, const struct et_buffer *text)
{
	ET_CLEANUP(et_json_freep) json_t *whole = NULL;
	size_t i;
	json_t *one;
	if (et_json_parse("standard input", text->data, text->size, STDIN_MAX, &whole, NULL) < 0) {
		return false;
	}
	const json_t *list = json_object_get(whole, "recordings");
	if (!json_is_array(list)) {
		return false;
	}
	json_array_foreach(list, i, one)
	{
		const char *id = et_json_get_text(one, "id", "");
		(void)id_add(ids, id, strlen(id));
	}
	return true;
}

static int ids_read_stdin(json_t *ids, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	char piece[16384];
	size_t n;
	while ((n = fread(piece, 1, sizeof(piece), stdin)) > 0 && text.size < STDIN_MAX) {
		et_buffer_add(&text, piece, n);
	}
	if (text.failed || text.size >= STDIN_MAX) {
		return et_fail_plain(reterr, ET_ELIMIT, "too much on standard input");
	}
	if (text.size > 0 && document_add(ids, &text)) {
		return 0;
	}
	const char *at = (const char *)text.data;
	const char *end = at + text.size;
	size_t number = 0;
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *line_end = newline != NULL ? newline : end;
		size_t size = (size_t)(line_end - at);
		number++;
		/* Only the title of a table may be something else: a line that is not understood is
		 * a recording that would be forgotten. */
		if (size > 0 && !line_add(ids, at, size) && number > 1) {
			return et_fail_plain(reterr, ET_EUSAGE,
					     "line %zu of standard input names no recording",
					     number);
		}
		at = line_end + 1;
	}
	return 0;
}

static int ids_of(struct et_cli *cli, json_t *ids, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *named = et_cli_option_list(cli, "recording");
	const char *texts[ET_CLI_ARGS_MAX + 1];
	size_t count = 0;
	int rc = 0;
	/* hold add NAME: what is behind the name; recording erase: all arguments. */
	bool hold = strcmp(cli->command->path, "hold add") == 0;
	for (unsigned i = hold ? 1 : 0; i < cli->arg_count; i++) {
		texts[count++] = cli->args[i];
	}
	for (size_t i = 0; i < json_array_size(named) + count && rc == 0; i++) {
		const char *text =
			i < count ? texts[i] : json_string_value(json_array_get(named, i - count));
		if (strcmp(text, "-") == 0) {
			rc = ids_read_stdin(ids, reterr);
		} else if (!id_add(ids, text, strlen(text))) {
			rc = et_cli_usage(cli, reterr, "\"%.40s\" is no recording id", text);
		}
	}
	if (rc == 0 && json_array_size(ids) > IDS_MAX) {
		rc = et_fail_plain(reterr, ET_ELIMIT, "more than %d recordings", IDS_MAX);
	}
	return rc;
}

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
	if (cli->timeout_ms == 0) {
		cli->timeout_ms = LONG_MS;
	}
	et_json_set(sum, "name", et_json_text(cli->args[0]));
	et_json_set(sum, "placed", json_integer(0));
	et_json_set(sum, "stood_already", json_integer(0));
	et_json_set(sum, "refused", json_array());
	int rc = ids_of(cli, ids, reterr);
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
	if (cli->timeout_ms == 0) {
		cli->timeout_ms = LONG_MS;
	}
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

/* ---- recording erase ---- */

static const struct et_cli_column exempt_columns[] = {
	{ "RECORDING", "recording", ET_CLI_TEXT, false },
	{ "EXEMPT BECAUSE", "why", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static int erase_plan(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *ids = json_array();
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *plan = NULL;
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	if (cli->timeout_ms == 0) {
		cli->timeout_ms = LONG_MS;
	}
	int rc = ids_of(cli, ids, reterr);
	rc = rc < 0 ? rc : et_cli_search_path(cli, "/v1/erasures", false, &path, reterr);
	if (rc < 0) {
		return rc;
	}
	bool filters = strchr((char *)path.data, '?') != NULL;
	if (!filters && json_array_size(ids) == 0 && cli->arg_count == 0 &&
	    isatty(STDIN_FILENO) == 0) {
		rc = ids_read_stdin(ids, reterr);
	}
	if (rc == 0 && filters == (json_array_size(ids) > 0)) {
		rc = et_cli_usage(cli, reterr,
				  "say what to erase: ids, - for standard input, or search "
				  "options; not both");
	}
	if (rc < 0) {
		return rc;
	}
	if (!filters) {
		et_json_set(body, "recordings", json_incref(ids));
	}
	rc = et_cli_send(cli, "POST", (char *)path.data, body, &plan, reterr);
	if (rc < 0) {
		return rc;
	}
	const char *id = et_json_get_text(plan, "plan", "");
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, plan);
		return *id != '\0' ? ET_EXIT_CHANGES : 0;
	}
	(void)fprintf(cli->out, "Plan %s: erase %zu recordings; %zu are exempt\n",
		      *id != '\0' ? id : "(nothing to do)",
		      json_array_size(json_object_get(plan, "erase")),
		      json_array_size(json_object_get(plan, "exempt")));
	if (json_array_size(json_object_get(plan, "exempt")) > 0) {
		(void)fputc('\n', cli->out);
		rc = et_cli_print(cli, plan, "exempt", exempt_columns, reterr);
	}
	if (et_json_get_bool(plan, "partial", false)) {
		(void)fprintf(cli->out, "\nThere is more than one plan holds: apply it, then plan "
					"again.\n");
	}
	if (*id != '\0') {
		(void)fprintf(cli->out,
			      "\nNothing was erased. Apply: evertape recording erase --apply %s "
			      "--reason TEXT --confirm CLUSTER\n",
			      id);
	}
	return rc < 0 ? rc : *id != '\0' ? ET_EXIT_CHANGES : 0;
}

static int erase_send(struct et_cli *cli, const char *kind, const char *named, json_t **ret,
		      struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	const char *reason = et_cli_option(cli, "reason");
	const char *confirm = et_cli_option(cli, "confirm");
	uint8_t id[16];
	char text[ET_UUID_TEXT_SIZE];
	char path[128];
	if (!et_uuid_parse(named, id)) {
		return et_cli_usage(cli, reterr, "\"%.40s\" is no id", named);
	}
	if (reason == NULL || *reason == '\0') {
		return et_cli_usage(cli, reterr,
				    "recording erase needs --reason TEXT: it goes into the audit "
				    "log");
	}
	if (confirm == NULL) {
		return et_cli_usage(cli, reterr,
				    "recording erase is for good: it needs --confirm CLUSTER, the "
				    "cluster's name");
	}
	if (cli->timeout_ms == 0) {
		cli->timeout_ms = LONG_MS;
	}
	et_uuid_format(id, text);
	(void)snprintf(path, sizeof(path), "/v1/%s/%s/%s", kind, text,
		       strcmp(kind, "erasures") == 0 ? "apply" : "erase");
	et_json_set(body, "reason", et_json_text(reason));
	et_json_set(body, "confirm", et_json_text(confirm));
	return et_cli_send(cli, "POST", path, body, ret, reterr);
}

int et_cli_recording_erase(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	const char *plan = et_cli_option(cli, "apply");
	if (et_cli_option(cli, "plan") != NULL) {
		return plan != NULL ? et_cli_usage(cli, reterr, "--plan or --apply, not both")
				    : erase_plan(cli, reterr);
	}
	if (plan == NULL && cli->arg_count != 1) {
		return et_cli_usage(cli, reterr,
				    "recording erase takes one ID; for more: --plan, then --apply");
	}
	int rc = erase_send(cli, plan != NULL ? "erasures" : "recordings",
			    plan != NULL ? plan : cli->args[0], &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, answer);
	} else if (plan != NULL) {
		(void)fprintf(cli->out,
			      "%" PRId64
			      " recordings are erased: their keys are destroyed at index "
			      "%" PRId64 ".\nCertificate: evertape recording certificate %s --out "
			      "FILE\n",
			      et_json_get_int(answer, "erased", 0),
			      et_json_get_int(answer, "index", 0), plan);
	} else {
		(void)fprintf(cli->out,
			      "Recording %s is erased: its keys are destroyed at index %" PRId64
			      ".\n",
			      cli->args[0], et_json_get_int(answer, "index", 0));
	}
	return 0;
}

int et_cli_recording_certificate(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	const char *out = et_cli_option(cli, "out");
	uint8_t id[16];
	char text[ET_UUID_TEXT_SIZE];
	char path[128];
	if (out == NULL) {
		return et_cli_usage(cli, reterr, "recording certificate needs --out FILE");
	}
	if (!et_uuid_parse(cli->args[0], id)) {
		return et_cli_usage(cli, reterr, "\"%.40s\" is no id", cli->args[0]);
	}
	et_uuid_format(id, text);
	(void)snprintf(path, sizeof(path), "/v1/erasures/%s/certificate", text);
	int rc = et_cli_get(cli, path, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	char *bytes = json_dumps(answer, JSON_INDENT(1) | JSON_SORT_KEYS);
	rc = bytes == NULL ? et_fail(reterr, -ENOMEM, "certificate")
			   : et_file_publish(out, bytes, strlen(bytes), 0600, reterr);
	free(bytes);
	if (rc == 0) {
		et_cli_note(cli, "written to %s; anyone checks it: evertape verify-proof %s", out,
			    out);
	}
	return rc;
}

/* ---- retention ---- */

static int policy_read(struct et_cli *cli, struct et_buffer *text, size_t *ret_rules,
		       struct et_error *reterr)
{
	ET_CLEANUP(et_retention_policy_freep) struct et_retention_policy *policy = NULL;
	int rc = et_file_read(cli->args[0], ET_ARCHIVE_POLICY_SIZE_MAX, text, reterr);
	rc = rc < 0 ? rc
		    : et_retention_policy_parse(text->data != NULL ? (const char *)text->data : "",
						text->size, cli->args[0], &policy, reterr);
	if (rc == 0) {
		*ret_rules = policy->rule_count;
	}
	return rc;
}

int et_cli_retention_validate(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	size_t rules = 0;
	int rc = policy_read(cli, &text, &rules, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(et_json_freep) json_t *o = json_object();
	et_json_set(o, "schema", json_string("evertape/v1"));
	et_json_set(o, "file", et_json_text(cli->args[0]));
	et_json_set(o, "valid", json_true());
	et_json_set(o, "rules", json_integer((json_int_t)rules));
	return et_cli_print_object(cli, o, reterr);
}

int et_cli_retention_apply(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	size_t rules = 0;
	int rc = policy_read(cli, &text, &rules, reterr);
	if (rc < 0) {
		return rc;
	}
	et_json_set(body, "text", json_stringn((const char *)text.data, text.size));
	et_json_set(body, "reason", et_json_text(et_cli_option(cli, "reason")));
	const char *expect = et_cli_option(cli, "expect");
	if (expect != NULL) {
		char *end;
		long revision = strtol(expect, &end, 10);
		if (end == expect || *end != '\0' || revision < 0) {
			return et_cli_usage(cli, reterr, "--expect is a revision, a whole number");
		}
		et_json_set(body, "expect_revision", json_integer(revision));
	}
	rc = et_cli_send(cli, "PUT", "/v1/retention/policy", body, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, answer);
	} else {
		(void)fprintf(cli->out,
			      "Revision %" PRId64 " is in force. What is due goes from now on: "
			      "evertape retention plan\n",
			      et_json_get_int(answer, "revision", 0));
	}
	return 0;
}

int et_cli_retention_show(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc = et_cli_get(cli, "/v1/retention/policy", &j, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, j);
		return 0;
	}
	et_cli_note(cli, "revision %" PRId64 ", applied %s by %s",
		    et_json_get_int(j, "revision", 0), et_json_get_text(j, "applied", "?"),
		    et_json_get_text(j, "principal", "?"));
	(void)fputs(et_json_get_text(j, "text", ""), cli->out);
	return 0;
}

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
	if (cli->timeout_ms == 0) {
		cli->timeout_ms = LONG_MS;
	}
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
