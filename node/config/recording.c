/* recording: which calls are recorded, and how. */
#include "node/config/config_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In the order of enum et_rule_action; a default is one of the first two. */
static const char *const actions[] = { "skip", "record", "on-demand" };
static const char *const whose[] = { "any", "caller", "callee" };

/* One value or a list of them: run `take` on each. */
static int each_value(const struct et_yaml_node *node, size_t max,
		      int (*take)(const struct et_yaml_node *item, void *arg,
				  struct et_error *reterr),
		      void *arg, struct et_error *reterr)
{
	if (node->kind != ET_YAML_LIST) {
		return take(node, arg, reterr);
	}
	if (node->count == 0 || node->count > max) {
		return et_yaml_fail_key(node, reterr, ET_EMALFORMED, "%s is a list of 1 to %zu",
					node->key, max);
	}
	ET_YAML_EACH(item, node)
	{
		int rc = take(item, arg, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

static int copy_number(const struct et_yaml_node *item, struct et_rule_number *ret,
		       struct et_error *reterr)
{
	const char *why;
	int rc = config_text(item, ret->text, sizeof(ret->text), reterr);
	if (rc == 0 && !et_rule_number_check(ret->text, &why)) {
		return et_yaml_fail(item, reterr, ET_EMALFORMED, "\"%s\" %s", ret->text, why);
	}
	return rc;
}

static int take_number(const struct et_yaml_node *item, void *arg, struct et_error *reterr)
{
	struct et_rule_numbers *n = arg;
	return copy_number(item, &n->list[n->count++], reterr);
}

static int take_direction(const struct et_yaml_node *item, void *arg, struct et_error *reterr)
{
	static const char *const names[] = { "inbound", "outbound", "internal", "external" };
	unsigned *directions = arg;
	size_t which;
	int rc = et_yaml_choice(item, names, ET_ARRAY_SIZE(names), &which, reterr);
	if (rc == 0) {
		*directions |= 1U << which;
	}
	return rc;
}

static int take_site(const struct et_yaml_node *item, void *arg, struct et_error *reterr)
{
	struct et_rule *rule = arg;
	return config_name(item, rule->sites[rule->site_count++], reterr);
}

static int take_days(const struct et_yaml_node *item, void *arg, struct et_error *reterr)
{
	struct et_rule_time *t = arg;
	char text[8];
	int rc = config_text(item, text, sizeof(text), reterr);
	if (rc < 0) {
		return rc;
	}
	if (!et_hours_add_days(text, strlen(text), &t->hours.days)) {
		return et_yaml_fail(item, reterr, ET_EMALFORMED,
				    "days are mon, tue, wed, thu, fri, sat, sun or mon-fri, not "
				    "\"%s\"",
				    text);
	}
	return 0;
}

/* "08:00" to "24:00", as minutes. */
static int take_minute(const struct et_yaml_node *item, uint16_t *ret, struct et_error *reterr)
{
	char text[8];
	int rc = config_text(item, text, sizeof(text), reterr);
	if (rc < 0) {
		return rc;
	}
	if (!et_hours_read_minute(text, strlen(text), ret)) {
		return et_yaml_fail(item, reterr, ET_EMALFORMED,
				    "%s is a time of day from \"00:00\" to \"24:00\", not \"%s\"",
				    item->key, text);
	}
	return 0;
}

/* The number of the zone among those that the rules name; read when it is new. */
static int take_zone(const struct et_yaml_node *item, struct et_rules *rules, uint8_t *ret,
		     struct et_error *reterr)
{
	char name[ET_ZONE_NAME_MAX + 1];
	struct et_error e;
	uint32_t zone = 0;
	int rc = config_text(item, name, sizeof(name), reterr);
	if (rc < 0) {
		return rc;
	}
	rc = et_zone_among(rules->zones, &rules->zone_count, ET_RULE_ZONES_MAX, name, &zone, &e);
	if (rc < 0) {
		return et_yaml_fail(item, reterr, rc == ET_ELIMIT ? rc : ET_EMALFORMED, "%s",
				    e.text);
	}
	*ret = (uint8_t)zone;
	return 0;
}

static int parse_rule_time(const struct et_yaml_node *map, struct et_rules *rules,
			   struct et_rule_time *t, struct et_error *reterr)
{
	static const char *const known[] = { "zone", "days", "from", "to" };
	const struct et_yaml_node *zone;
	const struct et_yaml_node *days = et_yaml_get(map, "days");
	const struct et_yaml_node *from = et_yaml_get(map, "from");
	const struct et_yaml_node *to = et_yaml_get(map, "to");
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = et_yaml_need(map, "zone", &zone, reterr);
	}
	if (rc == 0) {
		rc = take_zone(zone, rules, &t->zone, reterr);
	}
	t->given = true;
	t->hours = (struct et_hours){ .days = days == NULL ? ET_HOURS_DAILY : 0,
				      .to_minute = ET_HOURS_DAY };
	if (rc == 0 && days != NULL) {
		rc = each_value(days, 7, take_days, t, reterr);
	}
	if (rc == 0 && from != NULL) {
		rc = take_minute(from, &t->hours.from_minute, reterr);
	}
	if (rc == 0 && to != NULL) {
		rc = take_minute(to, &t->hours.to_minute, reterr);
	}
	if (rc == 0 && t->hours.from_minute == t->hours.to_minute) {
		return et_yaml_fail_key(map, reterr, ET_EMALFORMED,
					"time ends when it begins: leave from and to out for the "
					"whole day");
	}
	return rc;
}

static int parse_headers(const struct et_yaml_node *map, struct et_rule *rule,
			 struct et_error *reterr)
{
	int rc = et_yaml_is_map(map, reterr);
	if (rc == 0 && (map->count == 0 || map->count > ET_RULE_HEADERS_MAX)) {
		return et_yaml_fail_key(map, reterr, ET_EMALFORMED,
					"header names 1 to %d headers and their patterns",
					ET_RULE_HEADERS_MAX);
	}
	if (rc < 0) {
		return rc;
	}
	ET_YAML_EACH(item, map)
	{
		struct et_rule_header *h = &rule->headers[rule->header_count++];
		size_t size = strlen(item->key);
		if (size == 0 || size > ET_RULE_NAME_MAX || strpbrk(item->key, " \t:") != NULL) {
			return et_yaml_fail_key(item, reterr, ET_EMALFORMED,
						"\"%.64s\" is no name of a header", item->key);
		}
		(void)snprintf(h->name, sizeof(h->name), "%s", item->key);
		rc = config_text(item, h->value, sizeof(h->value), reterr);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "10%", "0.25%": hundredths of a percent. */
static int parse_sample(const struct et_yaml_node *node, uint32_t *ret, struct et_error *reterr)
{
	char text[16];
	uint32_t value = 0;
	uint32_t decimals = 0;
	int rc = config_text(node, text, sizeof(text), reterr);
	if (rc < 0) {
		return rc;
	}
	const char *p = text;
	while (is_digit(*p) && value <= 100) {
		value = value * 10 + (uint32_t)(*p++ - '0');
	}
	bool sound = p != text;
	if (*p == '.') {
		for (p++; is_digit(*p) && decimals < 2; decimals++) {
			value = value * 10 + (uint32_t)(*p++ - '0');
		}
		sound = sound && decimals > 0;
	}
	for (; decimals < 2; decimals++) {
		value *= 10;
	}
	if (!sound || strcmp(p, "%") != 0 || value == 0 || value > ET_RULE_SAMPLE_ALL) {
		return et_yaml_fail(node, reterr, ET_EMALFORMED,
				    "sample is a share from 0.01%% to 100%%, not \"%s\"", text);
	}
	*ret = value;
	return 0;
}

/* "keep" or "drop"; NULL: not said. */
static int parse_digits(const struct et_yaml_node *node, enum et_rule_digits *ret,
			struct et_error *reterr)
{
	static const char *const words[] = { "keep", "drop" };
	size_t which;
	int rc = node != NULL ? et_yaml_choice(node, words, 2, &which, reterr) : 0;
	if (rc == 0 && node != NULL) {
		*ret = which == 1 ? ET_RULE_DIGITS_DROP : ET_RULE_DIGITS_KEEP;
	}
	return rc;
}

/* NULL: not said. */
static int parse_tones(const struct et_yaml_node *node, enum et_rule_tones *ret,
		       struct et_error *reterr)
{
	static const char *const words[] = { "keep", "mask", "drop", "strict" };
	size_t which;
	int rc = node != NULL ? et_yaml_choice(node, words, ET_ARRAY_SIZE(words), &which, reterr)
			      : 0;
	if (rc == 0 && node != NULL) {
		*ret = (enum et_rule_tones)(ET_RULE_TONES_KEEP + which);
	}
	return rc;
}

static int parse_keys(const struct et_yaml_node *map, const char *key, char *ret,
		      struct et_error *reterr)
{
	const struct et_yaml_node *node = NULL;
	char text[32];
	int rc = et_yaml_need(map, key, &node, reterr);
	rc = rc < 0 ? rc : config_text(node, text, sizeof(text), reterr);
	if (rc == 0 && !et_rule_keys_check(text)) {
		return et_yaml_fail(node, reterr, ET_EMALFORMED,
				    "%s is 1 to %d keys of 0-9 * # A-D, such as \"*7\", not \"%s\"",
				    key, ET_RULE_KEYS_MAX, text);
	}
	if (rc == 0) {
		memcpy(ret, text, strlen(text) + 1);
	}
	return rc;
}

/* {start: "*7", stop: "*8", by: caller, without-key: pause, max: 5m} */
static int parse_rule_pause(const struct et_yaml_node *map, struct et_rule *rule,
			    struct et_error *reterr)
{
	static const char *const known[] = { "start", "stop", "by", "without-key", "max" };
	static const char *const without[] = { "record", "pause" };
	const struct et_yaml_node *node;
	size_t which = 0;
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	rc = rc < 0 ? rc : parse_keys(map, "start", rule->pause.start, reterr);
	rc = rc < 0 ? rc : parse_keys(map, "stop", rule->pause.stop, reterr);
	if (rc == 0 && rule->action == ET_RULE_SKIP) {
		return et_yaml_fail_key(map, reterr, ET_EMALFORMED,
					"a rule that records nothing pauses nothing");
	}
	if (rc == 0 && (node = et_yaml_get(map, "by")) != NULL) {
		rc = et_yaml_choice(node, whose, ET_ARRAY_SIZE(whose), &which, reterr);
		rule->pause.by = (enum et_rule_by)which;
	}
	if (rc == 0 && (node = et_yaml_get(map, "without-key")) != NULL) {
		rc = et_yaml_choice(node, without, ET_ARRAY_SIZE(without), &which, reterr);
		rule->pause.without_key = rc == 0 && which == 1;
	}
	if (rc == 0 && (node = et_yaml_get(map, "max")) != NULL) {
		rc = et_yaml_duration(node, 1000000, 86400 * (int64_t)1000000, &rule->pause.max_us,
				      reterr);
	}
	return rc;
}

/* Who presses the one must not press the other. */
static int check_keep(const struct et_yaml_node *node, const struct et_rule *rule,
		      struct et_error *reterr)
{
	if (et_rule_keys_collide(rule->ring.keep, rule->pause.start) ||
	    et_rule_keys_collide(rule->ring.keep, rule->pause.stop)) {
		return et_yaml_fail(node, reterr, ET_EMALFORMED,
				    "keep and the keys of pause: one ends with the other");
	}
	return 0;
}

/* ring: 5m, keep-for: 10m, keep: "*9", keep-by: callee: of a rule on demand, which needs a ring. */
static int parse_rule_ring(const struct et_yaml_node *map, struct et_rule *rule,
			   struct et_error *reterr)
{
	static const char *const keys[] = { "ring", "keep-for", "keep", "keep-by" };
	const struct et_yaml_node *node;
	struct et_rule_ring *r = &rule->ring;
	size_t which = 0;
	for (size_t i = 0; i < ET_ARRAY_SIZE(keys) && rule->action != ET_RULE_ON_DEMAND; i++) {
		if ((node = et_yaml_get(map, keys[i])) != NULL) {
			return et_yaml_fail_key(node, reterr, ET_EMALFORMED,
						"%s is of a rule with action: on-demand", keys[i]);
		}
	}
	if (rule->action != ET_RULE_ON_DEMAND) {
		return 0;
	}
	int rc = et_yaml_need(map, "ring", &node, reterr);
	rc = rc < 0 ? rc
		    : et_yaml_duration(node, ET_RULE_RING_MIN_US, ET_RULE_RING_MAX_US, &r->reach_us,
				       reterr);
	if (rc == 0 && (node = et_yaml_get(map, "keep-for")) != NULL) {
		rc = et_yaml_duration(node, 0, ET_RULE_KEEP_FOR_MAX_US, &r->keep_for_us, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "keep-by")) != NULL) {
		rc = et_yaml_choice(node, whose, ET_ARRAY_SIZE(whose), &which, reterr);
		r->by = (enum et_rule_by)which;
	}
	if (rc == 0 && (node = et_yaml_get(map, "keep")) != NULL) {
		rc = parse_keys(map, "keep", r->keep, reterr);
		rc = rc < 0 ? rc : check_keep(node, rule, reterr);
	} else if (rc == 0 && (node = et_yaml_get(map, "keep-by")) != NULL) {
		return et_yaml_fail_key(node, reterr, ET_EMALFORMED,
					"keep-by says whose keys keep it: with keep: \"*9\"");
	}
	return rc;
}

static int parse_rule_action(const struct et_yaml_node *map, struct et_rule *rule,
			     struct et_error *reterr)
{
	const struct et_yaml_node *node;
	size_t action;
	int rc = config_need_name(map, "name", rule->name, reterr);
	if (rc == 0 && strcmp(rule->name, "default") == 0) {
		return et_yaml_fail(et_yaml_get(map, "name"), reterr, ET_EMALFORMED,
				    "no rule is named default: recording.default is");
	}
	if (rc == 0) {
		rc = et_yaml_need(map, "action", &node, reterr);
	}
	if (rc == 0) {
		rc = et_yaml_choice(node, actions, ET_ARRAY_SIZE(actions), &action, reterr);
	}
	if (rc == 0) {
		rule->action = (enum et_rule_action)action;
		rc = parse_digits(et_yaml_get(map, "digits"), &rule->digits, reterr);
	}
	if (rc == 0) {
		rc = parse_tones(et_yaml_get(map, "tones"), &rule->tones, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "pause")) != NULL) {
		rc = parse_rule_pause(node, rule, reterr);
	}
	return rc < 0 ? rc : parse_rule_ring(map, rule, reterr);
}

static int take_agent(const struct et_yaml_node *node, void *arg, struct et_error *reterr)
{
	struct et_rule *rule = arg;
	char *to = rule->agents[rule->agent_count++];
	int rc = config_text(node, to, sizeof(rule->agents[0]), reterr);
	const char *name = strncmp(to, "team:", 5) == 0 ? to + 5 : to;
	if (rc == 0 && (*name == '\0' || strlen(name) > ET_AGENT_TEXT_MAX)) {
		return et_yaml_fail(node, reterr, ET_EMALFORMED,
				    "agent is an agent's id or team:NAME, 1 to %d bytes",
				    ET_AGENT_TEXT_MAX);
	}
	return rc;
}

static int parse_rule(const struct et_yaml_node *map, struct et_rules *rules, struct et_rule *rule,
		      struct et_error *reterr)
{
	static const char *const known[] = { "name",	 "from",  "to",	    "direction",  "site",
					     "header",	 "time",  "sample", "media-only", "action",
					     "digits",	 "tones", "pause",  "agent",	  "ring",
					     "keep-for", "keep",  "keep-by" };
	*rule = (struct et_rule){ .name = "" };
	const struct et_yaml_node *node;
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	if (rc == 0) {
		rc = parse_rule_action(map, rule, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "from")) != NULL) {
		rc = each_value(node, ET_RULE_NUMBERS_MAX, take_number, &rule->from, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "to")) != NULL) {
		rc = each_value(node, ET_RULE_NUMBERS_MAX, take_number, &rule->to, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "direction")) != NULL) {
		rc = each_value(node, 4, take_direction, &rule->directions, reterr);
		if (rc == 0 && rules->own_count == 0) {
			return et_yaml_fail_key(node, reterr, ET_EMALFORMED,
						"direction needs recording: {own-numbers: [...]}");
		}
	}
	if (rc == 0 && (node = et_yaml_get(map, "site")) != NULL) {
		rc = each_value(node, ET_RULE_SITES_MAX, take_site, rule, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "agent")) != NULL) {
		rc = each_value(node, ET_RULE_AGENTS_MAX, take_agent, rule, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "header")) != NULL) {
		rc = parse_headers(node, rule, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "time")) != NULL) {
		rc = parse_rule_time(node, rules, &rule->time, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "sample")) != NULL) {
		rc = parse_sample(node, &rule->sample, reterr);
	}
	if (rc == 0 && (node = et_yaml_get(map, "media-only")) != NULL) {
		rc = et_yaml_bool(node, &rule->media_only, reterr);
	}
	return rc;
}

static int parse_rules(const struct et_yaml_node *list, struct et_rules *rules,
		       struct et_error *reterr)
{
	int rc = et_yaml_is_list(list, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_YAML_EACH(item, list)
	{
		if (rules->count == ET_RULES_MAX) {
			return et_yaml_fail(item, reterr, ET_ELIMIT, "more than %d rules",
					    ET_RULES_MAX);
		}
		struct et_rule *rule = &rules->rules[rules->count];
		rc = parse_rule(item, rules, rule, reterr);
		if (rc < 0) {
			return rc;
		}
		for (uint32_t i = 0; i < rules->count; i++) {
			if (strcmp(rules->rules[i].name, rule->name) == 0) {
				return et_yaml_fail(item, reterr, ET_EMALFORMED,
						    "two rules are named %s", rule->name);
			}
		}
		rules->count++;
	}
	return 0;
}

static int parse_own_numbers(const struct et_yaml_node *list, struct et_rules *rules,
			     struct et_error *reterr)
{
	int rc = et_yaml_is_list(list, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_YAML_EACH(item, list)
	{
		if (rules->own_count == ET_RULE_OWN_MAX) {
			return et_yaml_fail(item, reterr, ET_ELIMIT, "more than %d own numbers",
					    ET_RULE_OWN_MAX);
		}
		rc = copy_number(item, &rules->own[rules->own_count++], reterr);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

/* {header: NAME}, or {numbers: 9, within: 5s} */
static int parse_join(const struct et_yaml_node *map, struct et_join *j, struct et_error *reterr)
{
	static const char *const known[] = { "header", "numbers", "within" };
	uint64_t digits = 0;

	*j = (struct et_join){ .by = ET_JOIN_HEADER, .within_us = 5000000 };
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	const struct et_yaml_node *header = et_yaml_get(map, "header");
	const struct et_yaml_node *numbers = et_yaml_get(map, "numbers");
	const struct et_yaml_node *within = et_yaml_get(map, "within");
	if (rc == 0 &&
	    ((header == NULL) == (numbers == NULL) || (header != NULL && within != NULL))) {
		return et_yaml_fail(map, reterr, ET_EMALFORMED,
				    "join is {header: NAME}, or {numbers: DIGITS, within: 5s}");
	}
	if (rc == 0 && header != NULL) {
		rc = config_text(header, j->header, sizeof(j->header), reterr);
		if (rc == 0 && (j->header[0] == '\0' || strpbrk(j->header, " \t:") != NULL)) {
			return et_yaml_fail(header, reterr, ET_EMALFORMED,
					    "\"%s\" is no name of a header", j->header);
		}
		return rc;
	}
	j->by = ET_JOIN_NUMBERS;
	rc = rc < 0 ? rc
		    : et_yaml_uint(numbers, ET_JOIN_DIGITS_MIN, ET_JOIN_DIGITS_MAX, &digits,
				   reterr);
	j->digits = (uint32_t)digits;
	return rc < 0 || within == NULL ? rc
					: et_yaml_duration(within, 100000, 60 * (int64_t)1000000,
							   &j->within_us, reterr);
}

static int parse_joins(const struct et_yaml_node *list, struct et_rules *rules,
		       struct et_error *reterr)
{
	bool by_numbers = false;
	int rc = et_yaml_is_list(list, reterr);
	if (rc < 0) {
		return rc;
	}
	ET_YAML_EACH(item, list)
	{
		if (rules->join_count == ET_JOINS_MAX) {
			return et_yaml_fail(item, reterr, ET_ELIMIT, "more than %d ways to join",
					    ET_JOINS_MAX);
		}
		struct et_join *j = &rules->joins[rules->join_count++];
		rc = parse_join(item, j, reterr);
		if (rc < 0) {
			return rc;
		}
		if (j->by == ET_JOIN_NUMBERS && by_numbers) {
			return et_yaml_fail(item, reterr, ET_EMALFORMED,
					    "join: numbers stands there twice");
		}
		by_numbers = by_numbers || j->by == ET_JOIN_NUMBERS;
	}
	return 0;
}

int config_recording(const struct et_yaml_node *map, struct et_config *c, struct et_error *reterr)
{
	static const char *const known[] = {
		"join",	  "default", "own-numbers",   "rules",	       "max-pause",
		"digits", "tones",   "setup-timeout", "media-timeout", "media-only-timeout"
	};
	int rc = et_yaml_check_keys(map, known, ET_ARRAY_SIZE(known), reterr);
	const struct et_yaml_node *node = et_yaml_get(map, "default");
	if (rc == 0 && node != NULL) {
		size_t action;
		rc = et_yaml_choice(node, actions, 2, &action, reterr);
		c->rules.otherwise = rc == 0 && action == 1 ? ET_RULE_RECORD : ET_RULE_SKIP;
	}
	if (rc == 0) {
		rc = parse_digits(et_yaml_get(map, "digits"), &c->rules.digits, reterr);
	}
	if (rc == 0) {
		rc = parse_tones(et_yaml_get(map, "tones"), &c->rules.tones, reterr);
	}
	node = et_yaml_get(map, "own-numbers");
	if (rc == 0 && node != NULL) { /* before the rules: they look at it */
		rc = parse_own_numbers(node, &c->rules, reterr);
	}
	node = et_yaml_get(map, "rules");
	if (rc == 0 && node != NULL) {
		rc = parse_rules(node, &c->rules, reterr);
	}
	node = et_yaml_get(map, "join");
	if (rc == 0 && node != NULL) {
		rc = parse_joins(node, &c->rules, reterr);
	}
	return rc < 0 ? rc : config_fields_read(map, "recording", c, reterr);
}
