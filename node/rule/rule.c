#include "node/rule/rule.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MINUTES_OF_DAY = 24 * 60 };

const char *et_rule_direction_text(enum et_rule_direction d)
{
	switch (d) {
	case ET_RULE_INBOUND:
		return "inbound";
	case ET_RULE_OUTBOUND:
		return "outbound";
	case ET_RULE_INTERNAL:
		return "internal";
	case ET_RULE_EXTERNAL:
		return "external";
	default:
		return "";
	}
}

const char *et_rule_action_text(enum et_rule_action a)
{
	return a == ET_RULE_RECORD ? "record" : a == ET_RULE_ON_DEMAND ? "on-demand" : "skip";
}

const char *et_rules_name(const struct et_rules *rules, int rule)
{
	return rule >= 0 ? rules->rules[rule].name : "default";
}

uint64_t et_rule_sample(const uint8_t sha256[32])
{
	return et_get64(sha256) % ET_RULE_SAMPLE_ALL;
}

bool et_rules_drop_digits(const struct et_rules *rules, int rule)
{
	enum et_rule_digits d = rule >= 0 ? rules->rules[rule].digits : ET_RULE_DIGITS_DEFAULT;
	return (d != ET_RULE_DIGITS_DEFAULT ? d : rules->digits) == ET_RULE_DIGITS_DROP;
}

enum et_rule_tones et_rules_tones(const struct et_rules *rules, int rule)
{
	enum et_rule_tones t = rule >= 0 ? rules->rules[rule].tones : ET_RULE_TONES_DEFAULT;
	t = t != ET_RULE_TONES_DEFAULT ? t : rules->tones;
	return t != ET_RULE_TONES_DEFAULT ? t : ET_RULE_TONES_KEEP;
}

const char *et_rule_tones_text(enum et_rule_tones t)
{
	static const char *const texts[] = { "", "keep", "mask", "drop", "strict" };
	return texts[t];
}

const struct et_rule_pause *et_rules_pause(const struct et_rules *rules, int rule)
{
	const struct et_rule_pause *p =
		rule >= 0 && (uint32_t)rule < rules->count ? &rules->rules[rule].pause : NULL;
	return p != NULL && p->start[0] != '\0' ? p : NULL;
}

const struct et_rule_ring *et_rules_ring(const struct et_rules *rules, int rule)
{
	const struct et_rule *r =
		rule >= 0 && (uint32_t)rule < rules->count ? &rules->rules[rule] : NULL;
	return r != NULL && r->action == ET_RULE_ON_DEMAND ? &r->ring : NULL;
}

bool et_rule_keys_check(const char *text)
{
	size_t size = strlen(text);
	return size > 0 && size <= ET_RULE_KEYS_MAX && strspn(text, "0123456789*#ABCD") == size;
}

void et_rule_press(struct et_rule_presses *p, char key, int64_t at_us)
{
	int64_t since_us = at_us - p->last_us;
	if (since_us > ET_RULE_KEYS_PAUSE_US || since_us < -ET_RULE_KEYS_PAUSE_US) {
		p->count = 0;
	}
	if (p->count == ET_RULE_KEYS_MAX) {
		memmove(p->keys, p->keys + 1, ET_RULE_KEYS_MAX - 1);
		p->count--;
	}
	p->keys[p->count++] = key;
	p->last_us = at_us;
}

bool et_rule_pressed(struct et_rule_presses *p, const char *sequence)
{
	size_t size = strlen(sequence);
	if (size == 0 || p->count < size ||
	    memcmp(p->keys + p->count - size, sequence, size) != 0) {
		return false;
	}
	p->count = 0;
	return true;
}

bool et_rule_keys_collide(const char *a, const char *b)
{
	size_t size_a = strlen(a);
	size_t size_b = strlen(b);
	size_t size = size_a < size_b ? size_a : size_b;
	return size > 0 && memcmp(a + size_a - size, b + size_b - size, size) == 0;
}

bool et_rules_have_sample(const struct et_rules *rules)
{
	for (uint32_t i = 0; i < rules->count; i++) {
		if (rules->rules[i].sample != 0) {
			return true;
		}
	}
	return false;
}

/* ---- Direction ------------------------------------------------------------------------------- */

static bool is_own(const struct et_rules *rules, const char *number)
{
	for (uint32_t i = 0; i < rules->own_count; i++) {
		if (et_rule_number_fits(&rules->own[i], number)) {
			return true;
		}
	}
	return false;
}

enum et_rule_direction et_rules_direction(const struct et_rules *rules, const char *from,
					  const char *to)
{
	if (rules->own_count == 0) {
		return (enum et_rule_direction)0;
	}
	bool own_from = is_own(rules, from);
	bool own_to = is_own(rules, to);
	return own_from && own_to ? ET_RULE_INTERNAL
	       : own_from	  ? ET_RULE_OUTBOUND
	       : own_to		  ? ET_RULE_INBOUND
				  : ET_RULE_EXTERNAL;
}

/* ---- Conditions ------------------------------------------------------------------------------ */

/* What is said about a rule. `text` may be NULL: nobody asks, on a call's way. */
struct why {
	char *text; /* borrowed: ET_RULE_WHY_MAX bytes */
	size_t size;
};

static void say(struct why *w, const char *fmt, ...) ET_PRINTF(2, 3);
static void say(struct why *w, const char *fmt, ...)
{
	va_list ap;
	if (w->text == NULL || w->size + 1 >= ET_RULE_WHY_MAX) {
		return;
	}
	va_start(ap, fmt);
	int n = vsnprintf(w->text + w->size, ET_RULE_WHY_MAX - w->size, fmt, ap);
	va_end(ap);
	if (n > 0) {
		size_t size = w->size + (size_t)n;
		w->size = size < ET_RULE_WHY_MAX ? size : ET_RULE_WHY_MAX - 1;
	}
}

/* A condition that does not hold or is not known: it alone is told. */
static void say_only(struct why *w, const char *fmt, ...) ET_PRINTF(2, 3);
static void say_only(struct why *w, const char *fmt, ...)
{
	va_list ap;
	if (w->text != NULL) {
		va_start(ap, fmt);
		(void)vsnprintf(w->text, ET_RULE_WHY_MAX, fmt, ap);
		va_end(ap);
	}
}

static void say_holds(struct why *w, const char *what, const char *text)
{
	say(w, "%s%s%s%.60s", w->size > 0 ? ", " : "", what, *text != '\0' ? " " : "", text);
}

static enum et_rule_verdict numbers_fit(const struct et_rule_numbers *n, const char *what,
					const char *number, struct why *w)
{
	if (n->count == 0) {
		return ET_RULE_FITS;
	}
	for (uint32_t i = 0; i < n->count; i++) {
		if (et_rule_number_fits(&n->list[i], number)) {
			say_holds(w, what, n->list[i].text);
			return ET_RULE_FITS;
		}
	}
	say_only(w, "%s \"%.80s\" is not %.60s%s", what, number, n->list[0].text,
		 n->count > 1 ? ", nor any other of its list" : "");
	return ET_RULE_NO;
}

static enum et_rule_verdict direction_fits(const struct et_rules *rules, const struct et_rule *r,
					   const struct et_rule_facts *f, struct why *w)
{
	if (r->directions == 0) {
		return ET_RULE_FITS;
	}
	enum et_rule_direction d = et_rules_direction(rules, f->from, f->to);
	if ((r->directions & d) != 0) {
		say_holds(w, et_rule_direction_text(d), "");
		return ET_RULE_FITS;
	}
	say_only(w, "the call is %s, by recording.own-numbers", et_rule_direction_text(d));
	return ET_RULE_NO;
}

static enum et_rule_verdict site_fits(const struct et_rule *r, const struct et_rule_facts *f,
				      struct why *w)
{
	for (uint32_t i = 0; i < r->site_count; i++) {
		if (strcmp(r->sites[i], f->site) == 0) {
			say_holds(w, "site", r->sites[i]);
			return ET_RULE_FITS;
		}
	}
	if (r->site_count == 0) {
		return ET_RULE_FITS;
	}
	say_only(w, "this node is at site %.63s", f->site);
	return ET_RULE_NO;
}

static enum et_rule_verdict sample_fits(const struct et_rule *r, const struct et_rule_facts *f,
					struct why *w)
{
	if (r->sample == 0) {
		return ET_RULE_FITS;
	}
	bool fits = f->sample < r->sample;
	char text[80];
	(void)snprintf(text, sizeof(text), "%u.%02u %% by its Call-ID (its place: %u.%02u)",
		       r->sample / 100, r->sample % 100, (unsigned)(f->sample / 100),
		       (unsigned)(f->sample % 100));
	if (fits) {
		say_holds(w, "among", text);
		return ET_RULE_FITS;
	}
	say_only(w, "not among %s", text);
	return ET_RULE_NO;
}

static enum et_rule_verdict time_fits(const struct et_rules *rules, const struct et_rule *r,
				      const struct et_rule_facts *f, struct why *w)
{
	static const char *const days[] = { "Monday", "Tuesday",  "Wednesday", "Thursday",
					    "Friday", "Saturday", "Sunday" };
	const struct et_rule_time *t = &r->time;
	if (!t->given) {
		return ET_RULE_FITS;
	}
	const struct et_zone *zone = &rules->zones[t->zone];
	const struct et_hours_clock clock = et_hours_clock(zone, f->start_us);
	char text[128];
	(void)snprintf(text, sizeof(text), "%s %02u:%02u in %s", days[clock.weekday],
		       clock.minute / 60, clock.minute % 60, zone->name);
	if (et_hours_has(&t->hours, &clock)) {
		say_holds(w, text, "");
		return ET_RULE_FITS;
	}
	say_only(w, "it began on %s, outside of the rule's time", text);
	return ET_RULE_NO;
}

static enum et_rule_verdict header_fits(const struct et_rule_header *h,
					const struct et_rule_facts *f, struct why *w)
{
	struct et_view value;
	uint32_t n = 0;
	if (f->header == NULL) {
		say_only(w, "the header %.63s is not known: the INVITE was not seen", h->name);
		return ET_RULE_UNKNOWN;
	}
	while (n < ET_RULE_HEADER_LINES && f->header(f->arg, h->name, n, &value)) {
		size_t size = value.size < ET_RULE_TEXT_MAX ? value.size : ET_RULE_TEXT_MAX;
		if (et_rule_glob(h->value, (const char *)value.data, size,
				 /* ignore_case= */ false)) {
			say_holds(w, h->name, h->value);
			return ET_RULE_FITS;
		}
		n++;
	}
	say_only(w, n == 0 ? "there is no header %.63s" : "no header %.63s fits %.63s", h->name,
		 h->value);
	return ET_RULE_NO;
}

/* ---- Rules ----------------------------------------------------------------------------------- */

static bool is_named(const struct et_rule *r, const struct et_agent_claim *who, struct why *w)
{
	for (uint32_t i = 0; who != NULL && i < r->agent_count; i++) {
		const char *name = r->agents[i];
		const bool is_team = strncmp(name, "team:", 5) == 0;
		if (strcmp(is_team ? name + 5 : name, is_team ? who->team : who->id) == 0) {
			say_holds(w, "agent", name);
			return true;
		}
	}
	return false;
}

static enum et_rule_verdict agent_fits(const struct et_rule *r, const struct et_rule_facts *f,
				       struct why *w)
{
	if (r->agent_count == 0) {
		return ET_RULE_FITS;
	}
	if (f->agents == NULL) {
		say_only(w, "who uses these numbers is not known here: ask a node of the cluster");
		return ET_RULE_UNKNOWN;
	}
	if (is_named(r, et_agents_at(f->agents, f->from, f->start_us), w) ||
	    is_named(r, et_agents_at(f->agents, f->to, f->start_us), w)) {
		return ET_RULE_FITS;
	}
	say_only(w, "neither party is agent %.60s%s at that time", r->agents[0],
		 r->agent_count > 1 ? ", nor any other of its list" : "");
	return ET_RULE_NO;
}

/* What is cheap and always known first: a header is looked for only when all else holds. */
enum et_rule_verdict et_rule_fits(const struct et_rules *rules, const struct et_rule *r,
				  const struct et_rule_facts *f, char *why)
{
	struct why w = { .text = why };
	if (why != NULL) {
		why[0] = '\0';
	}
	if (r->media_only && !f->media_only) {
		say_only(&w, "the call has signalling, the rule is for media only");
		return ET_RULE_NO;
	}
	if (r->media_only) {
		say_holds(&w, "media only", "");
	}
	if (numbers_fit(&r->from, "from", f->from, &w) != ET_RULE_FITS ||
	    numbers_fit(&r->to, "to", f->to, &w) != ET_RULE_FITS ||
	    direction_fits(rules, r, f, &w) != ET_RULE_FITS ||
	    site_fits(r, f, &w) != ET_RULE_FITS || time_fits(rules, r, f, &w) != ET_RULE_FITS ||
	    sample_fits(r, f, &w) != ET_RULE_FITS) {
		return ET_RULE_NO;
	}
	enum et_rule_verdict by_agent = agent_fits(r, f, &w);
	if (by_agent != ET_RULE_FITS) {
		return by_agent;
	}
	for (uint32_t i = 0; i < r->header_count; i++) {
		enum et_rule_verdict v = header_fits(&r->headers[i], f, &w);
		if (v != ET_RULE_FITS) {
			return v;
		}
	}
	if (why != NULL && w.size == 0) {
		say_only(&w, "it has no conditions");
	}
	return ET_RULE_FITS;
}

struct et_rule_decision et_rules_decide(const struct et_rules *rules,
					const struct et_rule_facts *facts)
{
	struct et_rule_decision d = { .rule = -1, .action = rules->otherwise };
	for (uint32_t i = 0; i < rules->count; i++) {
		enum et_rule_verdict v = et_rule_fits(rules, &rules->rules[i], facts, NULL);
		if (v == ET_RULE_FITS) {
			d.rule = (int)i;
			d.action = rules->rules[i].action;
			break;
		}
		d.provisional = d.provisional || v == ET_RULE_UNKNOWN;
	}
	return d;
}
