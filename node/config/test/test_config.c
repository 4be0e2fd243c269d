#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/config/config.h"

/* The smallest node of the design. */
static const char smallest[] =
	"cluster: acme-voice\n"
	"node: {name: prg-1, site: prg, roles: [voter, vault, capture, api]}\n"
	"listen: {cluster: 10.1.0.11:7400, api: 0.0.0.0:7443}\n"
	"data: {state: /var/lib/evertape/state, media: /var/lib/evertape/media, root: "
	"file:/etc/evertape/root.key}\n"
	"capture: [{interface: eth1, filter: \"\", sip-ports: [5060]}]\n";

static int set_up(void **state)
{
	*state = calloc(1, sizeof(struct et_config));
	return *state != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
	free(*state);
	return 0;
}

static void the_smallest_node_is_enough(void **state)
{
	struct et_config *c = *state;
	struct et_error e = { 0 };
	int rc = et_config_parse("evertape.yaml", smallest, strlen(smallest), c, &e);
	assert_string_equal(e.text, "");
	assert_int_equal(rc, 0);
	assert_string_equal(c->cluster, "acme-voice");
	assert_string_equal(c->name, "prg-1");
	assert_string_equal(c->site, "prg");
	assert_int_equal(c->roles, ET_ROLE_VOTER | ET_ROLE_VAULT | ET_ROLE_CAPTURE | ET_ROLE_API);
	assert_string_equal(c->advertise, "10.1.0.11:7400");
	assert_string_equal(c->root, "file:/etc/evertape/root.key");
	assert_int_equal(c->capture_count, 1);
	assert_string_equal(c->captures[0].interface, "eth1");
	assert_string_equal(c->captures[0].filter, "");
	assert_int_equal(c->captures[0].sip_ports[0], 5060);
	assert_int_equal(c->heartbeat_us, 50000);
	assert_int_equal(c->tls.certificate_life_us, INT64_C(72) * 3600 * 1000000);

	char path[108];
	assert_int_equal(et_config_socket_path(c, path, &e), 0);
	assert_string_equal(path, "/var/lib/evertape/state/run/api.sock");
	memset(c->state, 'x', 100);
	c->state[100] = '\0';
	assert_int_equal(et_config_socket_path(c, path, &e), ET_ELIMIT);
}

/* What is documented as the defaults are the defaults. */
static void the_documented_defaults_are_true(void **state)
{
	struct et_config *c = *state;
	struct et_config *d = calloc(1, sizeof(*d));
	assert_non_null(d);
	struct et_error e = { 0 };
	const char *text = et_config_defaults_text();
	int rc = et_config_parse("f", text, strlen(text), c, &e);
	assert_string_equal(e.text, "");
	assert_int_equal(rc, 0);
	assert_int_equal(et_config_parse("f", smallest, strlen(smallest), d, &e), 0);
	assert_memory_equal(c, d, sizeof(*c));
	free(d);
}

static void refused(struct et_config *c, const char *more, const char *sentence)
{
	char text[4096];
	struct et_error e = { 0 };
	(void)snprintf(text, sizeof(text), "%s%s", smallest, more);
	assert_int_equal(et_config_parse("f.yaml", text, strlen(text), c, &e), ET_EMALFORMED);
	assert_string_equal(e.text, sentence);
}

static void a_profile_sets_what_is_not_given(void **state)
{
	struct et_config *c = *state;
	struct et_error e = { 0 };
	char text[4096];

	(void)snprintf(text, sizeof(text), "%sraft: {profile: wan}\n", smallest);
	assert_int_equal(et_config_parse("f.yaml", text, strlen(text), c, &e), 0);
	assert_int_equal(c->election_us, 3000000);
	assert_int_equal(c->heartbeat_us, 300000);
	(void)snprintf(text, sizeof(text), "%sraft: {profile: wan, heartbeat: 200ms}\n", smallest);
	assert_int_equal(et_config_parse("f.yaml", text, strlen(text), c, &e), 0);
	assert_int_equal(c->election_us, 3000000);
	assert_int_equal(c->heartbeat_us, 200000);
	(void)snprintf(text, sizeof(text), "%sraft: {profile: lan}\n", smallest);
	assert_int_equal(et_config_parse("f.yaml", text, strlen(text), c, &e), 0);
	assert_int_equal(c->election_us, 1000000);
	assert_int_equal(c->heartbeat_us, 50000);
}

static void tapes_are_padded_or_not(void **state)
{
	static const char *const wrong[] = { "padding: yes", "padding: []", "padding-rate: 512B",
					     "padding-rate: 129KiB", "pading: auto" };
	struct et_config *c = *state;
	struct et_error e = { 0 };
	char text[4096];

	assert_int_equal(et_config_parse("f.yaml", smallest, strlen(smallest), c, &e), 0);
	assert_int_equal(c->tapes.padding, ET_CONFIG_PADDING_AUTO);
	assert_int_equal(c->tapes.rate_bytes, 8192);
	(void)snprintf(text, sizeof(text), "%stapes: {padding: always, padding-rate: 4KiB}\n",
		       smallest);
	assert_int_equal(et_config_parse("f.yaml", text, strlen(text), c, &e), 0);
	assert_int_equal(c->tapes.padding, ET_CONFIG_PADDING_ALWAYS);
	assert_int_equal(c->tapes.rate_bytes, 4096);
	(void)snprintf(text, sizeof(text), "%stapes: {padding: none}\n", smallest);
	assert_int_equal(et_config_parse("f.yaml", text, strlen(text), c, &e), 0);
	assert_int_equal(c->tapes.padding, ET_CONFIG_PADDING_NONE);
	for (size_t i = 0; i < ET_ARRAY_SIZE(wrong); i++) {
		(void)snprintf(text, sizeof(text), "%stapes: {%s}\n", smallest, wrong[i]);
		assert_int_equal(et_config_parse("f.yaml", text, strlen(text), c, &e),
				 ET_EMALFORMED);
		assert_memory_equal(e.text, "f.yaml:6:", 9);
	}
}

static void a_scrub_is_scheduled_or_off(void **state)
{
	struct et_config *c = *state;
	struct et_error e = { 0 };
	char text[4096];

	assert_int_equal(et_config_parse("f.yaml", smallest, strlen(smallest), c, &e), 0);
	assert_int_equal(c->scrub.every_us, INT64_C(30) * 86400 * 1000000);
	assert_int_equal(c->scrub.rate_bytes, 20 << 20);
	(void)snprintf(text, sizeof(text), "%sscrub: {every: 7d, rate: 64KiB}\n", smallest);
	assert_int_equal(et_config_parse("f.yaml", text, strlen(text), c, &e), 0);
	assert_int_equal(c->scrub.every_us, INT64_C(7) * 86400 * 1000000);
	assert_int_equal(c->scrub.rate_bytes, 65536);
	(void)snprintf(text, sizeof(text), "%sscrub: {every: off}\n", smallest);
	assert_int_equal(et_config_parse("f.yaml", text, strlen(text), c, &e), 0);
	assert_int_equal(c->scrub.every_us, 0);
	static const char *const wrong[] = { "every: 1ms", "every: never", "every: 400d",
					     "every: []",  "rate: 1KiB",   "evry: 1d" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(wrong); i++) {
		(void)snprintf(text, sizeof(text), "%sscrub: {%s}\n", smallest, wrong[i]);
		assert_int_equal(et_config_parse("f.yaml", text, strlen(text), c, &e),
				 ET_EMALFORMED);
		assert_memory_equal(e.text, "f.yaml:6:", 9);
	}
}

static void errors_name_file_line_and_column(void **state)
{
	struct et_config *c = *state;
	refused(c, "captrue: []\n",
		"f.yaml:6:1: unknown key \"captrue\" (did you mean \"capture\"?)");
	refused(c, "cluster: b\n", "f.yaml:6:1: duplicate key \"cluster\" (first on line 1)");
	refused(c, "raft: {election: 1}\n",
		"f.yaml:6:18: election must be a duration such as 30s (units: ms, s, m, h, d, w, "
		"y), "
		"not \"1\"");
	refused(c, "raft: {election: 1s, heartbeat: 500ms}\n",
		"f.yaml:6:1: raft: the election timeout must be at least three heartbeats");
	refused(c, "raft: {profile: wan, election: 500ms}\n",
		"f.yaml:6:1: raft: the election timeout must be at least three heartbeats");
	refused(c, "raft: {profile: man}\n",
		"f.yaml:6:17: profile must be one of lan, wan (did you mean lan?), not "
		"\"man\"");
	refused(c, "limits: {live-calls: many}\n",
		"f.yaml:6:22: live-calls must be a whole number from 1 to 100000, not \"many\"");
	refused(c, "limits: {snapshot-rate: 255KiB}\n",
		"f.yaml:6:1: limits: snapshot-rate must be 0B (no limit) or at least 256KiB a "
		"second");
	refused(c, "tls: {api-key: /a}\n", "f.yaml:6:1: api-certificate and api-key go together");
	refused(c, "recording: {rules: [{name: a, action: rekord}]}\n",
		"f.yaml:6:39: action must be one of skip, record, on-demand (did you mean "
		"record?), not "
		"\"rekord\"");
	refused(c, "recording: {rules: [{name: a, action: skip}, {name: a, action: skip}]}\n",
		"f.yaml:6:46: two rules are named a");
	refused(c, "log: {level: loud}\n",
		"f.yaml:6:14: level must be one of debug, info, warn, error, not \"loud\"");
}

static void rules_are_read_in_order(void **state)
{
	struct et_config *c = *state;
	struct et_error e = { 0 };
	char text[4096];
	(void)snprintf(
		text, sizeof(text),
		"%srecording:\n"
		"  default: skip\n"
		"  digits: drop\n"
		"  max-pause: 2m\n"
		"  join: [{header: Session-ID}, {numbers: 9, within: 3s}]\n"
		"  own-numbers: [\"1000-1999\", \"+4202*\"]\n"
		"  rules:\n"
		"    - {name: private, from: 1001, direction: outbound, action: skip}\n"
		"    - name: sales\n"
		"      to: [\"1000-1099\", \"2*\"]\n"
		"      direction: [inbound, internal]\n"
		"      site: [prg, brq]\n"
		"      header: {X-Queue: \"sales*\", User-Agent: \"*\"}\n"
		"      time: {zone: Europe/Prague, days: [mon-wed, fri], from: \"08:00\", to: "
		"\"18:30\"}\n"
		"      sample: 12.5%%\n"
		"      agent: [anna, \"team:claims\"]\n"
		"      digits: keep\n"
		"      tones: mask\n"
		"      pause: {start: \"*7\", stop: \"*8\", by: caller, without-key: pause, max: "
		"5m}\n"
		"      action: record\n"
		"    - {name: night, time: {zone: Europe/Prague, from: \"22:00\", to: "
		"\"06:00\"}, tones: strict, action: record}\n"
		"    - {name: weekend, time: {zone: UTC, days: sat-sun}, tones: drop, action: "
		"record}\n",
		smallest);
	int rc = et_config_parse("f.yaml", text, strlen(text), c, &e);
	assert_string_equal(e.text, "");
	assert_int_equal(rc, 0);
	const struct et_rules *r = &c->rules;
	assert_int_equal(r->otherwise, ET_RULE_SKIP);
	assert_int_equal(r->count, 4);
	assert_int_equal(r->own_count, 2);
	assert_int_equal(r->digits, ET_RULE_DIGITS_DROP);
	assert_int_equal(r->rules[0].digits, ET_RULE_DIGITS_DEFAULT);
	assert_int_equal(r->rules[1].digits, ET_RULE_DIGITS_KEEP);
	assert_int_equal(r->tones, ET_RULE_TONES_KEEP);
	assert_int_equal(r->rules[1].tones, ET_RULE_TONES_MASK);
	assert_int_equal(r->rules[2].tones, ET_RULE_TONES_STRICT);
	assert_int_equal(r->rules[3].tones, ET_RULE_TONES_DROP);
	assert_int_equal(r->rules[1].agent_count, 2);
	assert_string_equal(r->rules[1].agents[1], "team:claims");
	assert_string_equal(r->rules[1].pause.start, "*7");
	assert_string_equal(r->rules[1].pause.stop, "*8");
	assert_int_equal(r->rules[1].pause.by, ET_RULE_BY_CALLER);
	assert_true(r->rules[1].pause.without_key);
	assert_int_equal(r->rules[1].pause.max_us, INT64_C(300000000));
	assert_null(et_rules_pause(r, 0));
	assert_non_null(et_rules_pause(r, 1));
	assert_null(et_rules_pause(r, -1));
	assert_int_equal(c->max_pause_us, INT64_C(120000000));
	assert_int_equal(r->join_count, 2);
	assert_int_equal(r->joins[0].by, ET_JOIN_HEADER);
	assert_string_equal(r->joins[0].header, "Session-ID");
	assert_int_equal(r->joins[1].by, ET_JOIN_NUMBERS);
	assert_int_equal(r->joins[1].digits, 9);
	assert_int_equal(r->joins[1].within_us, INT64_C(3000000));
	assert_int_equal(r->zone_count, 2);
	assert_string_equal(r->rules[0].from.list[0].text, "1001");
	assert_int_equal(r->rules[0].directions, ET_RULE_OUTBOUND);
	const struct et_rule *s = &r->rules[1];
	assert_string_equal(s->name, "sales");
	assert_int_equal(s->to.count, 2);
	assert_int_equal(s->directions, ET_RULE_INBOUND | ET_RULE_INTERNAL);
	assert_int_equal(s->site_count, 2);
	assert_int_equal(s->header_count, 2);
	assert_string_equal(s->headers[0].name, "X-Queue");
	assert_string_equal(s->headers[0].value, "sales*");
	assert_int_equal(s->time.hours.days, 0x17);
	assert_int_equal(s->time.hours.from_minute, 480);
	assert_int_equal(s->time.hours.to_minute, 1110);
	assert_int_equal(s->sample, 1250);
	assert_int_equal(s->action, ET_RULE_RECORD);
	assert_int_equal(r->rules[2].time.hours.days, 0x7F);
	assert_int_equal(r->rules[3].time.hours.days, 0x60);
	assert_int_equal(r->rules[3].time.hours.to_minute, 1440);
}

/* In a rule, behind `recording: {rules: [{name: a, action: skip, `: column 45. */
static void rule_refused(struct et_config *c, const char *condition, const char *sentence)
{
	char text[512];
	char wanted[512];
	(void)snprintf(text, sizeof(text), "recording: {rules: [{name: a, action: skip, %s}]}\n",
		       condition);
	(void)snprintf(wanted, sizeof(wanted), "f.yaml:6:%s", sentence);
	refused(c, text, wanted);
}

static void a_wrong_condition_is_named(void **state)
{
	struct et_config *c = *state;
	rule_refused(c, "tow: \"1\"", "45: unknown key \"tow\" (did you mean \"to\"?)");
	rule_refused(c, "to: 100-1",
		     "49: \"100-1\" is no range: both ends need as many digits, and "
		     "both a plus or none");
	rule_refused(c, "to: [\"1*\", 9-1]", "56: \"9-1\" ends before it begins");
	rule_refused(c, "to: []", "45: to is a list of 1 to 16");
	rule_refused(c, "direction: inbound",
		     "45: direction needs recording: {own-numbers: [...]}");
	rule_refused(c, "direction: up",
		     "56: direction must be one of inbound, outbound, internal, external, not "
		     "\"up\"");
	rule_refused(c, "header: {\"X Y\": a}", "55: \"X Y\" is no name of a header");
	rule_refused(c, "time: {days: mon}", "45: the key \"zone\" is missing in time");
	rule_refused(c, "time: {zone: Europe/Prag}",
		     "58: there is no time zone \"Europe/Prag\" in /usr/share/zoneinfo");
	rule_refused(c, "time: {zone: UTC, days: mon-fry}",
		     "69: days are mon, tue, wed, thu, fri, sat, sun or mon-fri, not \"mon-fry\"");
	rule_refused(c, "time: {zone: UTC, from: \"8:00\"}",
		     "70: from is a time of day from \"00:00\" to \"24:00\", not \"8:00\"");
	rule_refused(c, "time: {zone: UTC, from: \"08:00\", to: \"08:00\"}",
		     "45: time ends when it begins: leave from and to out for the whole day");
	rule_refused(c, "digits: mask", "53: digits must be one of keep, drop, not \"mask\"");
	refused(c, "recording: {join: [{header: X, within: 5s}]}\n",
		"f.yaml:6:20: join is {header: NAME}, or {numbers: DIGITS, within: 5s}");
	refused(c, "recording: {join: [{numbers: 9}, {numbers: 8}]}\n",
		"f.yaml:6:34: join: numbers stands there twice");
	rule_refused(c, "ring: 5m", "45: ring is of a rule with action: on-demand");
	rule_refused(c, "keep: \"*9\"", "45: keep is of a rule with action: on-demand");
	rule_refused(c, "pause: {start: \"*7\", stop: \"*8\"}",
		     "45: a rule that records nothing pauses nothing");
	rule_refused(c, "pause: {start: \"*7\"}", "45: the key \"stop\" is missing in pause");
	rule_refused(c, "pause: {start: \"*x\", stop: \"*8\"}",
		     "61: start is 1 to 8 keys of 0-9 * # A-D, such as \"*7\", not \"*x\"");
	rule_refused(c, "sample: 10", "53: sample is a share from 0.01% to 100%, not \"10\"");
	rule_refused(c, "sample: 100.01%",
		     "53: sample is a share from 0.01% to 100%, not \"100.01%\"");
	rule_refused(c, "sample: 0%", "53: sample is a share from 0.01% to 100%, not \"0%\"");
	refused(c, "recording: {rules: [{name: default, action: skip}]}\n",
		"f.yaml:6:28: no rule is named default: recording.default is");
}

/* As rule_refused(), of a rule on demand: column 50. */
static void demand_refused(struct et_config *c, const char *condition, const char *sentence)
{
	char text[512];
	char wanted[512];
	(void)snprintf(text, sizeof(text),
		       "recording: {rules: [{name: a, action: on-demand, %s}]}\n", condition);
	(void)snprintf(wanted, sizeof(wanted), "f.yaml:6:%s", sentence);
	refused(c, text, wanted);
}

static void a_rule_on_demand_has_a_ring(void **state)
{
	struct et_config *c = *state;
	demand_refused(c, "to: b", "21: the key \"ring\" is missing");
	demand_refused(c, "ring: 5s", "56: ring must be a duration from 10s to 1h, not \"5s\"");
	demand_refused(c, "ring: 2h", "56: ring must be a duration from 10s to 1h, not \"2h\"");
	demand_refused(c, "ring: 5m, keep-for: 2h",
		       "70: keep-for must be a duration from 0s to 1h, not \"2h\"");
	demand_refused(c, "ring: 5m, keep: \"*x\"",
		       "67: keep is 1 to 8 keys of 0-9 * # A-D, such as \"*7\", not \"*x\"");
	demand_refused(c, "ring: 5m, keep-by: callee",
		       "60: keep-by says whose keys keep it: with keep: \"*9\"");
	demand_refused(c, "ring: 5m, keep: \"**9\", keep-by: me",
		       "82: keep-by must be one of any, caller, callee, not \"me\"");
	demand_refused(c, "ring: 5m, keep: \"**7\", pause: {start: \"*7\", stop: \"*8\"}",
		       "67: keep and the keys of pause: one ends with the other");
	refused(c, "recording: {default: on-demand}\n",
		"f.yaml:6:22: default must be one of skip, record, not \"on-demand\"");
	char text[4096];
	struct et_error e = { 0 };
	(void)snprintf(
		text, sizeof(text),
		"%srecording: {rules: [{name: a, action: on-demand, ring: 5m, keep-for: 10m, "
		"keep: \"*9\", keep-by: callee, pause: {start: \"*7\", stop: \"*8\"}}, "
		"{name: b, action: on-demand, ring: 1h}]}\n"
		"limits: {on-demand: 4GiB}\n",
		smallest);
	assert_int_equal(et_config_parse("f.yaml", text, strlen(text), c, &e), 0);
	const struct et_rule *r = c->rules.rules;
	assert_int_equal(r[0].action, ET_RULE_ON_DEMAND);
	assert_int_equal(r[0].ring.reach_us, INT64_C(300000000));
	assert_int_equal(r[0].ring.keep_for_us, INT64_C(600000000));
	assert_string_equal(r[0].ring.keep, "*9");
	assert_int_equal(r[0].ring.by, ET_RULE_BY_CALLEE);
	assert_string_equal(r[0].pause.start, "*7");
	assert_int_equal(r[1].ring.keep_for_us, 0);
	assert_string_equal(r[1].ring.keep, "");
	assert_int_equal(c->limits.demand_bytes, UINT64_C(4) << 30);
}

/* Replace one piece of the smallest node and say what must come of it. */
static void replaced(struct et_config *c, const char *old, const char *new, const char *sentence)
{
	char text[4096];
	struct et_error e = { 0 };
	const char *at = strstr(smallest, old);
	assert_non_null(at);
	(void)snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - smallest), smallest, new,
		       at + strlen(old));
	int rc = et_config_parse("f.yaml", text, strlen(text), c, &e);
	assert_string_equal(e.text, sentence);
	assert_int_equal(rc, *sentence == '\0' ? 0 : ET_EMALFORMED);
}

static void refuses_nodes_that_make_no_sense(void **state)
{
	struct et_config *c = *state;
	replaced(c, "voter, ", "",
		 "f.yaml:2:32: roles needs exactly one of voter, standby, spare, "
		 "witness");
	replaced(c, "voter,", "witness,",
		 "f.yaml:2:32: a witness holds neither media nor keys: it cannot be vault or "
		 "capture");
	replaced(c, "vault", "volt",
		 "f.yaml:2:47: the value must be one of voter, standby, spare, witness, vault, "
		 "capture, api (did you mean vault?), not \"volt\"");
	replaced(c, "capture, api", "api",
		 "f.yaml:5:1: this node captures, but its roles lack capture");
	replaced(c, ", api: 0.0.0.0:7443", "",
		 "f.yaml:3:1: the role api needs listen: {api: ADDRESS:PORT}");
	replaced(c, "10.1.0.11:7400", "localhost",
		 "f.yaml:3:19: cluster must be an IP address and a port, such as 10.1.0.11:7400, "
		 "not \"localhost\"");
	replaced(c, "file:/etc", "/etc",
		 "f.yaml:4:78: root: a node root is file:/PATH, credential:NAME, passphrase:SOURCE "
		 "or pkcs11:token=..., not \"/etc/evertape/root.key\"");
	replaced(c, "file:/etc/evertape/root.key", "passphrase:env:X",
		 "f.yaml:4:78: root: a secret comes from file:/PATH, credential:NAME, fd:N or "
		 "terminal, not \"env:X\"");
	replaced(c, "evertape/media", "evertape/state",
		 "f.yaml:4:47: media and state must be different folders");
	replaced(c, "interface: eth1, ", "",
		 "f.yaml:5:11: a source of packets is either an interface or a file");
	replaced(
		c, "name: prg-1", "name: PRG_1",
		"f.yaml:2:14: name must be a name (1 to 63 of a-z, 0-9 and -, letters or digits at "
		"the ends), not \"PRG_1\"");
	replaced(c, "cluster: acme-voice\n", "", "f.yaml:1:1: the key \"cluster\" is missing");
	replaced(c, "interface: eth1", "file: /tmp/a.pcap", "");
	assert_string_equal(c->captures[0].file, "/tmp/a.pcap");
	assert_string_equal(c->captures[0].keylog, "");
	replaced(c, "interface: eth1", "interface: eth1, key-log: /run/sbc/tls.keys", "");
	assert_string_equal(c->captures[0].keylog, "/run/sbc/tls.keys");
	assert_int_equal(c->captures[0].rings, 1);
	replaced(c, "interface: eth1", "interface: eth1, rings: 4", "");
	assert_int_equal(c->captures[0].rings, 4);
	replaced(c, "interface: eth1", "file: /tmp/a.pcap, rings: 4",
		 "f.yaml:5:31: rings are of an interface, not of a file");
	replaced(c, "interface: eth1", "interface: eth1, key-log: tls.keys",
		 "f.yaml:5:38: key-log must be an absolute path, not \"tls.keys\"");
}

static void a_recording_server_is_described(void **state)
{
	struct et_config *c = *state;
#define CAPTURE_LINE "capture: [{interface: eth1"
	replaced(c, CAPTURE_LINE, "siprec: {listen: [\"udp://10.1.0.11:5060\"]}\n" CAPTURE_LINE,
		 "");
	assert_int_equal(c->siprec.listen_count, 1);
	assert_int_equal(c->siprec.listens[0].transport, ET_CONFIG_UDP);
	assert_string_equal(c->siprec.listens[0].address, "10.1.0.11:5060");
	assert_string_equal(c->siprec.media, "10.1.0.11");
	assert_int_equal(c->siprec.port_first, 20000);
	assert_int_equal(c->siprec.port_last, 24999);
	assert_int_equal(c->siprec.sessions, 1024);
	replaced(c, CAPTURE_LINE,
		 "siprec: {listen: [\"tcp://[fd00::1]:5060\", \"tls://[fd00::1]:5061\"], media: "
		 "10.1.0.12, "
		 "media-ports: 3001-4000, sessions: 5, connections: 6, certificate: /a.pem, "
		 "key: /b.pem}\n" CAPTURE_LINE,
		 "");
	assert_int_equal(c->siprec.listens[1].transport, ET_CONFIG_TLS);
	assert_string_equal(c->siprec.listens[1].address, "[fd00::1]:5061");
	assert_string_equal(c->siprec.media, "10.1.0.12");
	assert_int_equal(c->siprec.port_first, 3001);
	assert_int_equal(c->siprec.connections, 6);
	assert_string_equal(c->siprec.key, "/b.pem");
	replaced(c, CAPTURE_LINE, "key-socket: {path: /run/k.sock}\n" CAPTURE_LINE, "");
	assert_string_equal(c->key_socket.path, "/run/k.sock");
	assert_int_equal(c->key_socket.mode, 0600);
	replaced(c, CAPTURE_LINE, "key-socket: {path: /run/k.sock, group: sbc}\n" CAPTURE_LINE, "");
	assert_string_equal(c->key_socket.group, "sbc");
	assert_int_equal(c->key_socket.mode, 0660);
	replaced(
		c, CAPTURE_LINE,
		"key-socket: {path: /run/k.sock, group: sbc, mode: \"0666\"}\n" CAPTURE_LINE,
		"f.yaml:5:52: key-socket: mode is \"0600\" or \"0660\" (others never have rights), "
		"not \"0666\"");
	replaced(c, CAPTURE_LINE, "siprec: {listen: [\"tcp://[fd00::1]:5060\"]}\n" CAPTURE_LINE,
		 "");
	assert_string_equal(c->siprec.media, "fd00::1");

	replaced(c, CAPTURE_LINE, "siprec: {listen: [\"udp://0.0.0.0:5060\"]}\n" CAPTURE_LINE,
		 "f.yaml:5:20: siprec: clients are told this address: name one of this machine, "
		 "not 0.0.0.0");
	replaced(c, CAPTURE_LINE, "siprec: {listen: [\"udp://[::]:5060\"]}\n" CAPTURE_LINE,
		 "f.yaml:5:20: siprec: clients are told this address: name one of this machine, "
		 "not ::");
	replaced(c, CAPTURE_LINE, "siprec: {listen: [\"10.1.0.11:5060\"]}\n" CAPTURE_LINE,
		 "f.yaml:5:20: siprec: listen is udp://ADDRESS:PORT, tcp:// or tls://, not "
		 "\"10.1.0.11:5060\"");
	replaced(c, CAPTURE_LINE, "siprec: {listen: []}\n" CAPTURE_LINE,
		 "f.yaml:5:10: siprec: listen needs 1 to 8 addresses");
	replaced(c, CAPTURE_LINE,
		 "siprec: {listen: [\"udp://10.1.0.11:5060\"], media-ports: 5-6}\n" CAPTURE_LINE,
		 "f.yaml:5:57: siprec: media-ports is FIRST-LAST, 1024 to 65535, such as "
		 "20000-24999, "
		 "not \"5-6\"");
	replaced(c, CAPTURE_LINE, "siprec: {listen: [\"tls://10.1.0.11:5061\"]}\n" CAPTURE_LINE,
		 "f.yaml:5:1: siprec: a listen of tls:// goes with certificate and key");
	replaced(
		c, CAPTURE_LINE,
		"siprec: {listen: [\"udp://10.1.0.11:5060\"], allow: [10.1.0.1/24]}\n" CAPTURE_LINE,
		"f.yaml:5:52: siprec: allow is an IP address or a range such as 10.1.0.0/24, whose "
		"bits behind the prefix are 0, not \"10.1.0.1/24\"");
	replaced(c, CAPTURE_LINE,
		 "siprec: {listen: [\"udp://10.1.0.11:5060\"], allow: []}\n" CAPTURE_LINE,
		 "f.yaml:5:44: siprec: allow needs 1 to 64 addresses or ranges; without it any "
		 "address may record");
	replaced(c, CAPTURE_LINE,
		 "siprec: {listen: [\"udp://10.1.0.11:5060\"], client-ca: /ca.pem}\n" CAPTURE_LINE,
		 "f.yaml:5:44: siprec: client-ca goes with a listen of tls://");
	replaced(c, CAPTURE_LINE,
		 "siprec: {listen: [\"tls://10.1.0.11:5061\"], certificate: /a.pem, key: /b.pem, "
		 "client-ca: /ca.pem, allow: [10.1.0.0/24, \"fd00::7\"]}\n" CAPTURE_LINE,
		 "");
	assert_string_equal(c->siprec.client_ca, "/ca.pem");
	assert_int_equal(c->siprec.allow_count, 2);
	assert_int_equal(c->siprec.allow[0].bits, 96 + 24);
	assert_int_equal(c->siprec.allow[1].bits, 128);
}

static void roles_have_names(void **state)
{
	(void)state;
	assert_string_equal(et_config_role_name(ET_ROLE_VAULT), "vault");
	assert_int_equal(et_config_role_parse("voter"), ET_ROLE_VOTER);
	assert_int_equal(et_config_role_parse("king"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_smallest_node_is_enough, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_documented_defaults_are_true, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_profile_sets_what_is_not_given, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(tapes_are_padded_or_not, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_scrub_is_scheduled_or_off, set_up, tear_down),
		cmocka_unit_test_setup_teardown(errors_name_file_line_and_column, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(rules_are_read_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_rule_on_demand_has_a_ring, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_wrong_condition_is_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refuses_nodes_that_make_no_sense, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_recording_server_is_described, set_up, tear_down),
		cmocka_unit_test(roles_have_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
