/* recording fact, tag, note, told; agent list, at, set: what others tell of calls. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/io/clock.h"
#include "node/text/units.h"
#include "ops/cli/cli.h"

/* ---- What it is about ---- */

/* "ID", "call:ID" or "sip:CALL-ID": the kind of subject and its value. */
static int subject(struct et_cli *cli, const char **ret_kind, const char **ret_value,
		   struct et_error *reterr)
{
	const char *text = cli->args[0];
	uint8_t id[16];
	*ret_kind = "recording";
	*ret_value = text;
	if (strncmp(text, "sip:", 4) == 0) {
		*ret_kind = "sip_call_id";
		*ret_value = text + 4;
		return 0;
	}
	if (strncmp(text, "call:", 5) == 0) {
		*ret_kind = "call";
		*ret_value = text + 5;
	}
	if (!et_uuid_parse(*ret_value, id)) {
		return et_cli_usage(cli, reterr,
				    "\"%.60s\" is no recording id; call:ID and sip:CALL-ID are "
				    "allowed too",
				    text);
	}
	return 0;
}

/* {"about": {...}, "reason": ...} */
static int body_make(struct et_cli *cli, json_t **ret, struct et_error *reterr)
{
	const char *kind;
	const char *value;
	int rc = subject(cli, &kind, &value, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *about = json_object();
	*ret = json_object();
	et_json_set(about, kind, et_json_text(value));
	et_json_set(*ret, "about", about);
	if (et_cli_option(cli, "reason") != NULL) {
		et_json_set(*ret, "reason", et_json_text(et_cli_option(cli, "reason")));
	}
	return 0;
}

/* Send it, and say how far it got. */
static int tell(struct et_cli *cli, const char *path, const json_t *body, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc = et_cli_send(cli, "POST", path, body, &j, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_cli_is_json(cli) || cli->format == ET_CLI_CSV) {
		return et_cli_print_object(cli, j, reterr);
	}
	const char *id = et_json_get_text(j, "id", NULL);
	if (id != NULL) {
		(void)fprintf(cli->out, "%s\n", id);
	}
	if (et_json_get_bool(j, "pending", false)) {
		et_cli_note(cli, "kept in this node's journal; it is committed when there is a "
				 "majority");
	}
	return 0;
}

/* A time option as RFC 3339 into the body. */
static int time_put(struct et_cli *cli, const char *option, json_t *body, const char *key,
		    struct et_error *reterr)
{
	const char *given = et_cli_option(cli, option);
	int64_t us;
	char text[ET_TIME_TEXT_SIZE];
	if (given == NULL) {
		return 0;
	}
	if (!et_time_parse(given, &us)) {
		return et_cli_usage(cli, reterr, "--%s is a time (2026-11-22T09:00:00Z) or a date",
				    option);
	}
	et_time_format(us, text);
	et_json_set(body, key, et_json_text(text));
	return 0;
}

/* ---- Facts ---- */

/* KEY=TEXT, or KEY:TYPE=VALUE with TYPE text, integer, bool, time, phone. */
static json_t *fact_of(const char *text)
{
	const char *equals = strchr(text, '=');
	if (equals == NULL || equals == text) {
		return NULL;
	}
	static const char *const types[] = { "text", "integer", "time", "bool", "phone" };
	size_t size = (size_t)(equals - text);
	const char *type = NULL;
	for (size_t i = 0; i < ET_ARRAY_SIZE(types); i++) {
		size_t n = strlen(types[i]);
		if (size > n + 1 && text[size - n - 1] == ':' &&
		    memcmp(text + size - n, types[i], n) == 0) {
			type = types[i];
			size -= n + 1;
			break;
		}
	}
	json_t *o = json_object();
	const char *value = equals + 1;
	char *end;
	long long number = strtoll(value, &end, 10);
	et_json_set(o, "key", et_json_text_n(text, size));
	if (type != NULL) {
		et_json_set(o, "type", json_string(type));
	}
	if (type != NULL && strcmp(type, "integer") == 0 && *value != '\0' && *end == '\0') {
		et_json_set(o, "value", json_integer(number));
	} else if (type != NULL && strcmp(type, "bool") == 0 &&
		   (strcmp(value, "true") == 0 || strcmp(value, "false") == 0)) {
		et_json_set(o, "value", json_boolean(*value == 't'));
	} else {
		et_json_set(o, "value", et_json_text(value));
	}
	return o;
}

static int fact_options(struct et_cli *cli, json_t *fact, struct et_error *reterr)
{
	static const char *const texts[] = { "set", "source" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		const char *value = et_cli_option(cli, texts[i]);
		if (value != NULL) {
			et_json_set(fact, texts[i], et_json_text(value));
		}
	}
	int rc = time_put(cli, "valid-from", fact, "valid_from", reterr);
	return rc == 0 ? time_put(cli, "valid-to", fact, "valid_to", reterr) : rc;
}

int et_cli_recording_fact(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	bool withdraw = et_cli_option(cli, "withdraw") != NULL;
	int rc = body_make(cli, &body, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *facts = json_array();
	et_json_set(body, "facts", facts);
	for (unsigned i = 1; i < cli->arg_count; i++) {
		json_t *fact = withdraw ? json_object() : fact_of(cli->args[i]);
		if (fact == NULL) {
			return et_cli_usage(cli, reterr,
					    "\"%.60s\" is not KEY=TEXT or KEY:TYPE=VALUE",
					    cli->args[i]);
		}
		if (withdraw) {
			et_json_set(fact, "key", et_json_text(cli->args[i]));
			et_json_set(fact, "withdrawn", json_true());
		}
		et_json_add(facts, fact);
		rc = fact_options(cli, fact, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	return tell(cli, "/v1/facts", body, reterr);
}

/* ---- Tags and notes ---- */

int et_cli_recording_tag(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	int rc = body_make(cli, &body, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *set = json_array();
	et_json_set(body, "set", set);
	for (unsigned i = 1; i < cli->arg_count; i++) {
		et_json_add(set, et_json_text(cli->args[i]));
	}
	et_json_set(body, "clear", et_cli_option_list(cli, "clear"));
	if (cli->arg_count == 1 && et_cli_option(cli, "clear") == NULL) {
		return et_cli_usage(cli, reterr, "name tags to set, or --clear TAG");
	}
	return tell(cli, "/v1/tags", body, reterr);
}

int et_cli_recording_note(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = NULL;
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	const char *id = et_cli_option(cli, "id");
	bool withdraw = et_cli_option(cli, "withdraw") != NULL;
	int rc = body_make(cli, &body, reterr);
	if (rc == 0) {
		rc = time_put(cli, "at", body, "at", reterr);
	}
	if (rc < 0) {
		return rc;
	}
	for (unsigned i = 1; i < cli->arg_count; i++) {
		et_buffer_printf(&text, "%s%s", i > 1 ? " " : "", cli->args[i]);
	}
	if (withdraw && id == NULL) {
		return et_cli_usage(cli, reterr, "--withdraw needs the --id of the note");
	}
	if (!withdraw && text.size == 0) {
		return et_cli_usage(cli, reterr, "the text of the note is missing");
	}
	et_json_set(body, "text", et_json_text_n(text.data, text.size));
	if (withdraw) {
		et_json_set(body, "withdrawn", json_true());
	}
	if (id != NULL) {
		et_json_set(body, "id", et_json_text(id));
	}
	return tell(cli, "/v1/notes", body, reterr);
}

/* ---- What was told ---- */

static const struct et_cli_column fact_columns[] = {
	{ "KEY", "key", ET_CLI_TEXT, false },	     { "VALUE", "value", ET_CLI_TEXT, false },
	{ "SET", "set", ET_CLI_TEXT, false },	     { "SOURCE", "source", ET_CLI_TEXT, false },
	{ "COUNTS", "counts", ET_CLI_TEXT, false },  { "BY", "by", ET_CLI_TEXT, false },
	{ "TOLD", "told", ET_CLI_TIME, false },	     { "TYPE", "type", ET_CLI_TEXT, true },
	{ "FROM", "valid_from", ET_CLI_TIME, true }, { "TO", "valid_to", ET_CLI_TIME, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column tag_columns[] = {
	{ "TAG", "name", ET_CLI_TEXT, false }, { "COUNTS", "counts", ET_CLI_TEXT, false },
	{ "BY", "by", ET_CLI_TEXT, false },    { "TOLD", "told", ET_CLI_TIME, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column note_columns[] = {
	{ "NOTE", "id", ET_CLI_TEXT, false },	    { "VERSION", "version", ET_CLI_NUMBER, false },
	{ "TEXT", "text", ET_CLI_TEXT, false },	    { "AT", "at", ET_CLI_TIME, false },
	{ "COUNTS", "counts", ET_CLI_TEXT, false }, { "BY", "by", ET_CLI_TEXT, false },
	{ "TOLD", "told", ET_CLI_TIME, false },	    { NULL, NULL, ET_CLI_TEXT, false },
};

int et_cli_recording_told(struct et_cli *cli, struct et_error *reterr)
{
	static const struct {
		const char *key;
		const struct et_cli_column *columns;
	} parts[] = { { "facts", fact_columns },
		      { "tags", tag_columns },
		      { "notes", note_columns } };
	const char *kind;
	const char *value;
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	int rc = subject(cli, &kind, &value, reterr);
	if (rc < 0) {
		return rc;
	}
	et_buffer_printf(&path, "/v1/told");
	et_cli_query(&path, kind, value);
	et_cli_query(&path, "history", et_cli_option(cli, "history") != NULL ? "true" : NULL);
	et_buffer_add8(&path, '\0');
	rc = path.failed ? et_fail(reterr, -ENOMEM, "request")
			 : et_cli_get(cli, (char *)path.data, &j, reterr);
	if (rc < 0 || et_cli_is_json(cli) || cli->format == ET_CLI_CSV) {
		return rc < 0 ? rc : et_cli_print_object(cli, j, reterr);
	}
	bool any = false;
	for (size_t i = 0; rc == 0 && i < ET_ARRAY_SIZE(parts); i++) {
		if (json_array_size(json_object_get(j, parts[i].key)) > 0) {
			(void)fputs(any ? "\n" : "", cli->out);
			rc = et_cli_print(cli, j, parts[i].key, parts[i].columns, reterr);
			any = true;
		}
	}
	if (et_json_get_bool(j, "waiting", false)) {
		et_cli_note(cli, "no recording fits it yet");
	} else if (!any) {
		et_cli_note(cli, "nothing was told of it");
	}
	return rc;
}

/* ---- Agents ---- */

static const struct et_cli_column agent_columns[] = {
	{ "AGENT", "id", ET_CLI_TEXT, false },
	{ "NAME", "name", ET_CLI_TEXT, false },
	{ "TEAM", "team", ET_CLI_TEXT, false },
	{ "NUMBERS", "numbers", ET_CLI_LIST, false },
	{ "FROM", "valid_from", ET_CLI_TIME, false },
	{ "TO", "valid_to", ET_CLI_TIME, false },
	{ "BY", "by", ET_CLI_TEXT, true },
	{ "TOLD", "told", ET_CLI_TIME, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static int agents_print(struct et_cli *cli, const char *id, const char *number, const char *at,
			struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	et_buffer_printf(&path, "/v1/agents");
	et_cli_query(&path, "id", id);
	et_cli_query(&path, "team", et_cli_option(cli, "team"));
	et_cli_query(&path, "number", number);
	et_cli_query(&path, "at", at);
	et_buffer_add8(&path, '\0');
	int rc = path.failed ? et_fail(reterr, -ENOMEM, "request")
			     : et_cli_get(cli, (char *)path.data, &j, reterr);
	if (rc == 0) {
		rc = et_cli_print(cli, j, "agents", agent_columns, reterr);
	}
	if (rc == 0 && !et_json_get_bool(j, "complete", true)) {
		et_cli_note(cli, "there are more; ask for one agent or team");
		return ET_EXIT_DEGRADED;
	}
	return rc;
}

int et_cli_agent_list(struct et_cli *cli, struct et_error *reterr)
{
	return agents_print(cli, cli->arg_count > 0 ? cli->args[0] : NULL, NULL, NULL, reterr);
}

int et_cli_agent_at(struct et_cli *cli, struct et_error *reterr)
{
	const char *given = et_cli_option(cli, "time");
	char text[ET_TIME_TEXT_SIZE];
	int64_t us = 0;
	if (given != NULL && !et_time_parse(given, &us)) {
		return et_cli_usage(cli, reterr,
				    "--time is a time (2026-11-22T09:00:00Z) or a date");
	}
	et_time_format(us, text);
	return agents_print(cli, NULL, cli->args[0], given != NULL ? text : NULL, reterr);
}

int et_cli_agent_set(struct et_cli *cli, struct et_error *reterr)
{
	static const char *const texts[] = { "name", "team", "reason" };
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	et_json_set(body, "id", et_json_text(cli->args[0]));
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		const char *value = et_cli_option(cli, texts[i]);
		if (value != NULL) {
			et_json_set(body, texts[i], et_json_text(value));
		}
	}
	et_json_set(body, "numbers", et_cli_option_list(cli, "number"));
	if (et_cli_option(cli, "withdraw") != NULL) {
		et_json_set(body, "withdrawn", json_true());
	}
	int rc = time_put(cli, "from", body, "valid_from", reterr);
	if (rc == 0) {
		rc = time_put(cli, "until", body, "valid_to", reterr);
	}
	return rc < 0 ? rc : tell(cli, "/v1/agents", body, reterr);
}
