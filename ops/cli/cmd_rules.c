/* evertape capture explain: which recording rule fires for a call, and why none before it does.
 *
 * The rules are those of a configuration file, the evaluation is the recorder's own
 * (node/rule/rule.h). A capture file runs through the recorder's engine, which asks here with what
 * it knows of each call at that moment. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/capture/replay.h"
#include "node/config/config.h"
#include "node/crypto/hash.h"
#include "node/io/clock.h"
#include "node/rule/rule.h"
#include "node/text/units.h"
#include "ops/cli/cli.h"

#define DEFAULT_FILE "/etc/evertape/evertape.yaml"

static const struct et_cli_column rule_columns[] = {
	{ "#", "number", ET_CLI_NUMBER, false },    { "RULE", "name", ET_CLI_TEXT, false },
	{ "ACTION", "action", ET_CLI_TEXT, false }, { "RESULT", "result", ET_CLI_TEXT, false },
	{ "WHY", "why", ET_CLI_TEXT, false },	    { "TONES", "tones", ET_CLI_TEXT, false },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

static const struct et_cli_column call_columns[] = {
	{ "START", "start", ET_CLI_TIME, false },
	{ "FROM", "from", ET_CLI_TEXT, false },
	{ "TO", "to", ET_CLI_TEXT, false },
	{ "DIRECTION", "direction", ET_CLI_TEXT, true },
	{ "RULE", "rule", ET_CLI_TEXT, false },
	{ "ACTION", "action", ET_CLI_TEXT, false },
	{ "TONES", "tones", ET_CLI_TEXT, true },
	{ "WHY", "why", ET_CLI_TEXT, false },
	{ "CALL-ID", "sip_call_id", ET_CLI_TEXT, true },
	{ NULL, NULL, ET_CLI_TEXT, false },
};

/* ---- JSON ------------------------------------------------------------------------------------ */

/* What becomes of key presses in the audio of a call for which the rule fires. */
static json_t *tones(const struct et_rules *rules, int rule, enum et_rule_action action)
{
	return action == ET_RULE_SKIP
		       ? json_null()
		       : json_string(et_rule_tones_text(et_rules_tones(rules, rule)));
}

static json_t *row(const struct et_rules *rules, int rule, const char *result, const char *why)
{
	const uint32_t number = rule >= 0 ? (uint32_t)rule : rules->count;
	const enum et_rule_action action = rule >= 0 ? rules->rules[rule].action : rules->otherwise;
	json_t *o = json_object();
	et_json_set(o, "number", json_integer((json_int_t)number + 1));
	et_json_set(o, "name", et_json_text(et_rules_name(rules, rule)));
	et_json_set(o, "action", json_string(et_rule_action_text(action)));
	et_json_set(o, "tones", tones(rules, rule, action));
	et_json_set(o, "result", json_string(result));
	et_json_set(o, "why", et_json_text(why));
	return o;
}

enum { FULL_WHY_MAX = ET_RULE_WHY_MAX + 160 };

/* What becomes of a call for which the rule fires, behind why it does. */
static void add_demand(const struct et_rule *r, char why[FULL_WHY_MAX])
{
	static const char *const whose[] = { "anybody", "caller", "callee" };
	const struct et_rule_ring *ring = &r->ring;
	size_t used = strlen(why);
	if (r->action != ET_RULE_ON_DEMAND) {
		return;
	}
	(void)snprintf(why + used, FULL_WHY_MAX - used,
		       "; its last %lld s can be kept, while it runs%s",
		       (long long)(ring->reach_us / 1000000), ring->keep_for_us > 0 ? "" : " only");
	used = strlen(why);
	if (ring->keep_for_us > 0) {
		(void)snprintf(why + used, FULL_WHY_MAX - used, " and for %lld s after",
			       (long long)(ring->keep_for_us / 1000000));
		used = strlen(why);
	}
	(void)snprintf(why + used, FULL_WHY_MAX - used, ", by recording keep%s%s%s%s",
		       ring->keep[0] != '\0' ? " or keys " : "", ring->keep,
		       ring->keep[0] != '\0' ? " of " : "",
		       ring->keep[0] != '\0' ? whose[ring->by] : "");
}

/* "rule", "action", "why", "provisional" and all "rules", into `o`. */
static void explain(const struct et_rules *rules, const struct et_rule_facts *facts, json_t *o)
{
	struct et_rule_decision d = et_rules_decide(rules, facts);
	json_t *list = json_array();
	char why[FULL_WHY_MAX] = "no rule fires";
	for (uint32_t i = 0; i < rules->count; i++) {
		const struct et_rule *r = &rules->rules[i];
		if (d.rule >= 0 && i > (uint32_t)d.rule) {
			et_json_add(list,
				    row(rules, (int)i, "not reached", "a rule before it fires"));
			continue;
		}
		char text[FULL_WHY_MAX];
		enum et_rule_verdict v = et_rule_fits(rules, r, facts, text);
		if (v == ET_RULE_FITS) {
			add_demand(r, text);
		}
		et_json_add(list, row(rules, (int)i,
				      v == ET_RULE_FITS ? "fires"
				      : v == ET_RULE_NO ? "no"
							: "unknown",
				      text));
		if (v == ET_RULE_FITS) {
			memcpy(why, text, sizeof(why));
		}
	}
	et_json_add(list, row(rules, -1, d.rule < 0 ? "fires" : "not reached",
			      d.rule < 0 ? "no rule fires" : "a rule before it fires"));
	et_json_set(o, "rule", et_json_text(et_rules_name(rules, d.rule)));
	et_json_set(o, "action", json_string(et_rule_action_text(d.action)));
	et_json_set(o, "why", et_json_text(why));
	et_json_set(o, "provisional", json_boolean(d.provisional));
	et_json_set(o, "tones", tones(rules, d.rule, d.action));
	et_json_set(o, "rules", list);
}

static json_t *call_json(const struct et_rules *rules, const struct et_rule_facts *f,
			 const char *call_id)
{
	char start[ET_TIME_TEXT_SIZE];
	json_t *o = json_object();
	const char *direction = et_rule_direction_text(et_rules_direction(rules, f->from, f->to));
	et_time_format(f->start_us, start);
	et_json_set(o, "from", et_json_text(f->from));
	et_json_set(o, "to", et_json_text(f->to));
	et_json_set(o, "direction", direction[0] != '\0' ? json_string(direction) : json_null());
	et_json_set(o, "site", et_json_text(f->site));
	et_json_set(o, "start", json_string(start));
	et_json_set(o, "sip_call_id",
		    call_id != NULL && *call_id != '\0' ? et_json_text(call_id) : json_null());
	et_json_set(o, "media_only", json_boolean(f->media_only));
	return o;
}

/* ---- A call that is described ---------------------------------------------------------------- */

struct described {
	json_t *headers; /* owned: "NAME=VALUE" each */
};

static void described_release(struct described *d)
{
	json_decref(d->headers);
}

static bool find_header(const void *arg, const char *name, uint32_t n, struct et_view *ret)
{
	const struct described *d = arg;
	size_t size = strlen(name);
	for (size_t i = 0; i < json_array_size(d->headers); i++) {
		const char *text = json_string_value(json_array_get(d->headers, i));
		if (strlen(text) > size && text[size] == '=' &&
		    strncasecmp(text, name, size) == 0 && n-- == 0) {
			text += size + 1;
			*ret = (struct et_view){ (const uint8_t *)text, strlen(text) };
			return true;
		}
	}
	return false;
}

static int read_facts(struct et_cli *cli, const struct et_rules *rules, struct described *d,
		      struct et_rule_facts *f, struct et_error *reterr)
{
	const char *time = et_cli_option(cli, "time");
	const char *call_id = et_cli_option(cli, "call-id");
	uint8_t hash[ET_SHA256_SIZE];
	f->from = cli->args[0];
	f->to = cli->args[1];
	f->start_us = et_clock_now_us();
	f->media_only = et_cli_option(cli, "media-only") != NULL;
	f->header = f->media_only ? NULL : find_header;
	f->arg = d;
	if (time != NULL && !et_time_parse(time, &f->start_us)) {
		return et_cli_usage(cli, reterr,
				    "--time is when the call began (2026-11-22T09:00:00Z), not "
				    "\"%.40s\"",
				    time);
	}
	for (size_t i = 0; i < json_array_size(d->headers); i++) {
		const char *text = json_string_value(json_array_get(d->headers, i));
		if (strchr(text, '=') == NULL || text[0] == '=') {
			return et_cli_usage(cli, reterr, "--header is NAME=VALUE, not \"%.40s\"",
					    text);
		}
	}
	if (et_rules_have_sample(rules) && call_id == NULL) {
		return et_cli_usage(cli, reterr,
				    "a rule takes a share of the calls by their Call-ID: say which "
				    "with --call-id");
	}
	if (call_id != NULL) {
		et_sha256(call_id, strlen(call_id), hash);
		f->sample = et_rule_sample(hash);
	}
	return 0;
}

static int explain_described(struct et_cli *cli, const struct et_config *config,
			     struct et_error *reterr)
{
	ET_CLEANUP(described_release)
	struct described d = { .headers = et_cli_option_list(cli, "header") };
	struct et_rule_facts facts = { .site = config->site };
	int rc = read_facts(cli, &config->rules, &d, &facts, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(et_json_freep) json_t *document = json_object();
	et_json_set(document, "schema", json_string("evertape/v1"));
	et_json_set(document, "config", et_json_text(config->file));
	et_json_set(document, "call",
		    call_json(&config->rules, &facts, et_cli_option(cli, "call-id")));
	explain(&config->rules, &facts, document);
	return et_cli_print(cli, document, "rules", rule_columns, reterr);
}

/* ---- The calls of a capture file ------------------------------------------------------------- */

struct found {
	const struct et_rules *rules;
	json_t *calls; /* owned */
	json_t *index; /* owned: Call-ID to its number in `calls` */
};

static void found_release(struct found *f)
{
	json_decref(f->calls);
	json_decref(f->index);
}

/* Asked again about a call when more is known: the last word counts. */
static void on_decided(void *arg, const struct et_rule_facts *facts, const char *sip_call_id)
{
	struct found *f = arg;
	json_t *o = call_json(f->rules, facts, sip_call_id);
	explain(f->rules, facts, o);
	json_t *before = *sip_call_id != '\0' ? json_object_get(f->index, sip_call_id) : NULL;
	/* A Call-ID that comes again after its call was over is another call. */
	if (before != NULL) {
		size_t i = (size_t)json_integer_value(before);
		const json_t *old = json_array_get(f->calls, i);
		if (et_json_get_bool(old, "provisional", false)) {
			(void)json_array_set_new(f->calls, i, o);
			return;
		}
	}
	if (*sip_call_id != '\0') {
		et_json_set(f->index, sip_call_id,
			    json_integer((json_int_t)json_array_size(f->calls)));
	}
	et_json_add(f->calls, o);
}

static int explain_file(struct et_cli *cli, const struct et_config *config, struct et_error *reterr)
{
	static const char *const described[] = { "header", "time", "call-id", "media-only" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(described); i++) {
		if (et_cli_option(cli, described[i]) != NULL) {
			return et_cli_usage(cli, reterr,
					    "--%s describes a call; a capture file says it itself",
					    described[i]);
		}
	}
	ET_CLEANUP(found_release)
	struct found found = { .rules = &config->rules,
			       .calls = json_array(),
			       .index = json_object() };
	struct et_replay_config replay = {
		.files = cli->args,
		.file_count = cli->arg_count,
		.capture = { .rules = &config->rules, .site = config->site },
		.on_decided = on_decided,
		.decided_arg = &found,
	};
	for (uint32_t i = 0; i < config->capture_count; i++) {
		const struct et_config_capture *c = &config->captures[i];
		for (uint32_t k = 0; k < c->sip_port_count; k++) {
			if (replay.capture.sip_port_count < ET_CAPTURE_SIP_PORTS_MAX) {
				replay.capture.sip_ports[replay.capture.sip_port_count++] =
					c->sip_ports[k];
			}
		}
	}
	struct et_replay_summary summary;
	int rc = et_replay(&replay, &summary, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_CLEANUP(et_json_freep) json_t *document = json_object();
	et_json_set(document, "schema", json_string("evertape/v1"));
	et_json_set(document, "config", et_json_text(config->file));
	et_json_set(document, "calls", json_incref(found.calls));
	rc = et_cli_print(cli, document, "calls", call_columns, reterr);
	for (uint32_t i = 0; i < summary.error_count; i++) {
		et_cli_note(cli, "%s", summary.errors[i].text);
	}
	bool truncated = summary.truncated;
	et_replay_summary_release(&summary);
	return rc < 0 ? rc : truncated ? ET_EXIT_DEGRADED : 0;
}

int et_cli_capture_explain(struct et_cli *cli, struct et_error *reterr)
{
	const char *file = et_cli_option(cli, "config");
	struct et_config *config = malloc(sizeof(*config));
	if (config == NULL) {
		return et_fail(reterr, -ENOMEM, "configuration");
	}
	int rc = et_config_load(file != NULL ? file : DEFAULT_FILE, config, reterr);
	if (rc < 0) {
		(void)et_fail_next(reterr, "evertape capture explain --config FILE");
	} else if (cli->arg_count == 1) {
		rc = explain_file(cli, config, reterr);
	} else {
		rc = explain_described(cli, config, reterr);
	}
	free(config);
	return rc;
}
