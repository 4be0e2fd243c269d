/* KEK versions: what they are, and what an administrator asks of them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node/text/units.h"
#include "ops/cli/cli.h"

#define LINE_EVERY_S 10

static const struct et_cli_column key_columns[] = {
	{ "VERSION", "version", ET_CLI_NUMBER, false },
	{ "STATE", "state", ET_CLI_TEXT, false },
	{ "ACTIVE SINCE", "activated", ET_CLI_TIME, false },
	{ "KEYS ON IT", "wraps", ET_CLI_NUMBER, false },
	{ "OPENED BY", "grants", ET_CLI_LIST, false },
	{ "ESCROW", "escrow", ET_CLI_TEXT, false },
	{ "WAITS FOR", "waits_for", ET_CLI_LIST, false },
	{ "DESTROY AFTER", "destroy_after", ET_CLI_TIME, true },
	{ "DESTROYED", "destroyed", ET_CLI_TIME, true },
	{ "KEY LEFT ON", "keys_on", ET_CLI_LIST, true },
	{ "REASON", "reason", ET_CLI_TEXT, true },
	{ "PUBLIC KEY", "public_key", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

/* The same words as in JSON, for a line of the table. */
static void add_waits(json_t *keys)
{
	size_t i;
	size_t n;
	json_t *key;
	json_t *await;

	json_array_foreach(keys, i, key)
	{
		json_t *list = json_array();
		json_array_foreach(json_object_get(key, "awaits"), n, await)
		{
			char text[128];
			const char *what = et_json_get_text(await, "what", "");
			const char *node = et_json_get_text(await, "node", "");
			(void)snprintf(text, sizeof(text), "%s%s%s", what,
				       *node != '\0' ? " of " : "", node);
			et_json_add(list, json_string(text));
		}
		et_json_set(key, "waits_for", list);
	}
}

int et_cli_key_status(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;

	int rc = et_cli_get(cli, "/v1/keys", &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	if (!et_cli_is_json(cli)) {
		add_waits(json_object_get(answer, "keys"));
	}
	return et_cli_print(cli, answer, "keys", key_columns, reterr);
}

static json_t *body_with_reason(struct et_cli *cli)
{
	json_t *body = json_object();
	const char *reason = et_cli_option(cli, "reason");

	if (reason != NULL) {
		et_json_set(body, "reason", et_json_text(reason));
	}
	return body;
}

static void pause_ms(long ms)
{
	const struct timespec pause = { ms / 1000, ms % 1000 * 1000000L };

	(void)nanosleep(&pause, NULL);
}

/* Ask until `done` says so; a line now and then. */
static int keys_wait(struct et_cli *cli, bool (*done)(const json_t *keys, int64_t version),
		     int64_t version, struct et_error *reterr)
{
	for (unsigned tenths = 0;; tenths++) {
		ET_CLEANUP(et_json_freep) json_t *keys = NULL;
		int rc = et_cli_get(cli, "/v1/keys", &keys, reterr);
		if (rc < 0) {
			return rc;
		}
		if (done(keys, version)) {
			return 0;
		}
		if (tenths % (LINE_EVERY_S * 10) == 0) {
			et_cli_note(cli,
				    "version %" PRId64 " is active; %" PRId64
				    " keys are on older ones",
				    et_json_get_int(keys, "active", 0),
				    et_json_get_int(keys, "to_rewrap", 0));
		}
		pause_ms(100);
	}
}

static bool is_active(const json_t *keys, int64_t version)
{
	return et_json_get_int(keys, "active", 0) >= version;
}

static bool nothing_is_left(const json_t *keys, int64_t version)
{
	(void)version;
	return et_json_get_int(keys, "to_rewrap", -1) == 0;
}

int et_cli_key_rotate(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = body_with_reason(cli);
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;

	int rc = et_cli_send(cli, "POST", "/v1/keys/rotate", body, &answer, reterr);
	if (rc == 0 && et_cli_option(cli, "wait") != NULL) {
		rc = keys_wait(cli, is_active, et_json_get_int(answer, "version", 0), reterr);
	}
	return rc < 0 ? rc : et_cli_print_object(cli, answer, reterr);
}

static int duration_put(struct et_cli *cli, const char *option, const char *off, json_t *body,
			const char *key, struct et_error *reterr)
{
	const char *text = et_cli_option(cli, option);
	int64_t us = 0;

	if (text == NULL) {
		return 0;
	}
	if (off != NULL && strcmp(text, off) == 0) {
		us = -1;
	} else if (!et_duration_parse(text, &us) || us < 0) {
		return et_cli_usage(cli, reterr, "--%s is a duration such as 30d, not \"%.20s\"",
				    option, text);
	}
	et_json_set(body, key, json_integer(us == 0 ? -1 : us));
	return 0;
}

int et_cli_key_schedule(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = body_with_reason(cli);
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	const char *rate = et_cli_option(cli, "rate");

	int rc = duration_put(cli, "rotate", "off", body, "rotate_us", reterr);
	rc = rc < 0 ? rc
		    : duration_put(cli, "destroy-after", NULL, body, "destroy_after_us", reterr);
	if (rc == 0 && rate != NULL) {
		char *end;
		long n = strtol(rate, &end, 10);
		if (end == rate || *end != '\0' || n < 1 || n > 1000000) {
			return et_cli_usage(cli, reterr, "--rate is a number from 1 to 1000000");
		}
		et_json_set(body, "rewrap_rate", json_integer(n));
	}
	rc = rc < 0 ? rc : et_cli_send(cli, "POST", "/v1/keys/schedule", body, &answer, reterr);
	return rc < 0 ? rc : et_cli_print_object(cli, answer, reterr);
}

int et_cli_key_rewrap(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *keys = NULL;
	ET_CLEANUP(et_json_freep) json_t *o = json_object();

	int rc = 0;
	if (et_cli_option(cli, "wait") != NULL) {
		rc = keys_wait(cli, nothing_is_left, 0, reterr);
	}
	rc = rc < 0 ? rc : et_cli_get(cli, "/v1/keys", &keys, reterr);
	if (rc < 0) {
		return rc;
	}
	et_json_set(o, "active", json_integer(et_json_get_int(keys, "active", 0)));
	et_json_set(o, "to_rewrap", json_integer(et_json_get_int(keys, "to_rewrap", 0)));
	return et_cli_print_object(cli, o, reterr);
}

/* "/v1/keys/VERSION/WHAT" */
static int version_path(struct et_cli *cli, const char *what, char *ret, size_t size,
			struct et_error *reterr)
{
	char *end;
	unsigned long version = strtoul(cli->args[0], &end, 10);

	if (end == cli->args[0] || *end != '\0' || version == 0 || version > UINT32_MAX) {
		return et_cli_usage(cli, reterr, "VERSION is a number from 1 on");
	}
	(void)snprintf(ret, size, "/v1/keys/%lu/%s", version, what);
	return 0;
}

static int key_set(struct et_cli *cli, const char *state, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = body_with_reason(cli);
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	char path[64];

	et_json_set(body, "state", json_string(state));
	int rc = version_path(cli, "state", path, sizeof(path), reterr);
	rc = rc < 0 ? rc : et_cli_send(cli, "POST", path, body, &answer, reterr);
	return rc < 0 ? rc : et_cli_print_object(cli, answer, reterr);
}

int et_cli_key_compromise(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	char path[64];

	if (et_cli_option(cli, "plan") == NULL) {
		if (et_cli_option(cli, "reason") == NULL) {
			return et_cli_usage(cli, reterr, "key compromise needs --reason TEXT");
		}
		return key_set(cli, "compromised", reterr);
	}
	int rc = version_path(cli, "touches", path, sizeof(path), reterr);
	rc = rc < 0 ? rc : et_cli_get(cli, path, &answer, reterr);
	return rc < 0 ? rc : et_cli_print_object(cli, answer, reterr);
}

int et_cli_key_keep(struct et_cli *cli, struct et_error *reterr)
{
	return key_set(cli, "decrypt-only", reterr);
}

int et_cli_key_escrow(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *body = json_object();
	ET_CLEANUP(et_json_freep) json_t *answer = NULL;
	const char *escrow = et_cli_option(cli, "escrow");
	unsigned k = 3;
	unsigned n = 5;
	char rest;

	if (escrow != NULL && sscanf(escrow, "%3u/%3u%c", &k, &n, &rest) != 2) {
		return et_cli_usage(cli, reterr, "--escrow is K/N with 2 <= K <= N, such as 3/5");
	}
	et_json_set(body, "threshold", json_integer(k));
	et_json_set(body, "shares", json_integer(n));
	int rc = et_cli_send(cli, "POST", "/v1/keys/escrow", body, &answer, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, answer);
		return 0;
	}
	size_t i;
	json_t *share;
	json_array_foreach(json_object_get(answer, "escrow_shares"), i, share)
	{
		(void)fprintf(cli->out, "%s\n", json_string_value(share));
	}
	et_cli_note(cli,
		    "any %u of these %u shares of version %" PRId64
		    " open every recording if all vault nodes are lost; give each to another "
		    "person, now: they are stored nowhere",
		    k, n, et_json_get_int(answer, "version", 0));
	return 0;
}
