#include "replication/limit/limit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/text/units.h"
#include "node/text/yaml.h"

#define MINUTE_US INT64_C(60000000)
#define CHANGE_MINUTES (8 * 1440) /* a window is of a week, and clocks change once in it */

static const char *const class_names[] = { "tail", "replay", "new", "repair", "rebalance" };

/* ---- Words ---- */

const char *et_limit_class_name(int klass)
{
	return klass >= 0 && klass < ET_LIMIT_CLASSES ? class_names[klass] : "all";
}

int et_limit_class_parse(const char *name)
{
	int k = 0;
	while (k < ET_LIMIT_CLASSES && strcmp(class_names[k], name) != 0) {
		k++;
	}
	return k;
}

const char *et_limit_rate_format(uint64_t rate, char text[ET_LIMIT_RATE_TEXT])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	size_t unit = 0;

	if (rate == ET_LIMIT_NONE || rate == ET_LIMIT_PAUSE) {
		return rate == ET_LIMIT_NONE ? "none" : "pause";
	}
	while (rate % 1024 == 0 && unit + 1 < ET_ARRAY_SIZE(units)) {
		rate /= 1024;
		unit++;
	}
	(void)snprintf(text, ET_LIMIT_RATE_TEXT, "%" PRIu64 "%s", rate, units[unit]);
	return text;
}

static int rate_parse(const char *text, uint64_t *ret, struct et_error *reterr)
{
	char bytes[ET_LIMIT_RATE_TEXT];
	size_t size = strlen(text);

	if (strcmp(text, "none") == 0 || strcmp(text, "pause") == 0) {
		*ret = text[0] == 'n' ? ET_LIMIT_NONE : ET_LIMIT_PAUSE;
		return 0;
	}
	size -= size > 2 && strcmp(text + size - 2, "/s") == 0 ? 2 : 0;
	(void)snprintf(bytes, sizeof(bytes), "%.*s", (int)(size < 31 ? size : 31), text);
	if (size > 31 || !et_bytes_parse(bytes, ret) || *ret < ET_LIMIT_RATE_MIN ||
	    *ret > ET_LIMIT_RATE_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "a rate is 64KiB to 1TiB a second, none or pause, not "
				     "\"%.40s\"",
				     text);
	}
	return 0;
}

/* ---- One limit from its words ---- */

/* What a limit is about: site, class, window. Loads no zone. */
static int limit_name(const char *to, const char *klass, const char *window, struct et_limit *ret,
		      struct et_error *reterr)
{
	*ret = (struct et_limit){ .klass = ET_LIMIT_ALL };
	if (!et_name_is_valid(to)) {
		return et_fail_plain(reterr, ET_EUSAGE, "\"%.64s\" cannot be a site's name", to);
	}
	(void)snprintf(ret->to, sizeof(ret->to), "%s", to);
	if (klass != NULL) {
		ret->klass = et_limit_class_parse(klass);
		if (ret->klass == ET_LIMIT_CLASSES) {
			return et_fail_plain(
				reterr, ET_EUSAGE,
				"a class is tail, replay, new, repair or rebalance, not \"%.40s\"",
				klass);
		}
	}
	ret->has_window = window != NULL;
	return window != NULL ? et_window_parse(window, &ret->window, reterr) : 0;
}

static bool limit_same(const struct et_limit *a, const struct et_limit *b)
{
	const struct et_hours *g = &a->window.hours;
	const struct et_hours *h = &b->window.hours;
	return strcmp(a->to, b->to) == 0 && a->klass == b->klass &&
	       a->has_window == b->has_window &&
	       (!a->has_window ||
		(g->days == h->days && g->from_minute == h->from_minute &&
		 g->to_minute == h->to_minute && strcmp(a->window.zone, b->window.zone) == 0));
}

static uint32_t limit_find(const struct et_limits *l, const struct et_limit *one)
{
	uint32_t i = 0;
	while (i < l->count && !limit_same(&l->limits[i], one)) {
		i++;
	}
	return i;
}

static int limit_make(struct et_limits *l, const char *to, const char *klass, const char *window,
		      const char *rate, struct et_limit *ret, struct et_error *reterr)
{
	int rc = limit_name(to, klass, window, ret, reterr);
	rc = rc < 0 ? rc : rate_parse(rate, &ret->rate, reterr);
	if (rc == 0 && ret->rate == ET_LIMIT_PAUSE && ret->klass >= 0 &&
	    ret->klass <= ET_LIMIT_REPLAY) {
		rc = et_fail_plain(reterr, ET_EUSAGE,
				   "class %s cannot be paused: somebody waits for it", klass);
	}
	if (rc < 0 || !ret->has_window) {
		return rc;
	}
	return et_zone_among(l->zones, &l->zone_count, ET_LIMITS_ZONES_MAX, ret->window.zone,
			     &ret->zone, reterr);
}

/* Zones that no window names any more go, so that eight is the number of those in use. */
static void zones_tidy(struct et_limits *l)
{
	for (uint32_t z = 0; z < l->zone_count;) {
		bool used = false;
		for (uint32_t i = 0; i < l->count; i++) {
			used = used || (l->limits[i].has_window && l->limits[i].zone == z);
		}
		if (used) {
			z++;
			continue;
		}
		l->zone_count--;
		if (z < l->zone_count) {
			l->zones[z] = l->zones[l->zone_count];
		}
		for (uint32_t i = 0; i < l->count; i++) {
			if (l->limits[i].has_window && l->limits[i].zone == l->zone_count) {
				l->limits[i].zone = z;
			}
		}
	}
}

int et_limits_set(struct et_limits *l, const char *to, const char *klass, const char *window,
		  const char *rate, struct et_error *reterr)
{
	struct et_limit one;
	int rc = limit_make(l, to, klass, window, rate, &one, reterr);
	uint32_t at = rc < 0 ? 0 : limit_find(l, &one);

	if (rc == 0 && at == ET_LIMITS_MAX) {
		rc = et_fail_plain(reterr, ET_ELIMIT, "more than %d limits", ET_LIMITS_MAX);
	}
	if (rc == 0) {
		l->limits[at] = one;
		l->count += at == l->count;
	}
	zones_tidy(l);
	return rc;
}

int et_limits_remove(struct et_limits *l, const char *to, const char *klass, const char *window,
		     struct et_error *reterr)
{
	struct et_limit one;
	int rc = limit_name(to, klass, window, &one, reterr);
	uint32_t at = rc < 0 ? 0 : limit_find(l, &one);

	if (rc < 0) {
		return rc;
	}
	if (at == l->count) {
		(void)et_fail_plain(
			reterr, ET_ENOTFOUND, "there is no such limit to %s (class %s, %s)", to,
			et_limit_class_name(one.klass), window != NULL ? window : "no window");
		return et_fail_next(reterr, "evertape replication limit --show");
	}
	memmove(&l->limits[at], &l->limits[at + 1], (l->count - at - 1) * sizeof(l->limits[0]));
	l->count--;
	zones_tidy(l);
	return 0;
}

/* ---- Text ---- */

static int item_read(const struct et_yaml_node *item, struct et_limits *l, struct et_error *reterr)
{
	static const char *const known[] = { "to", "rate", "class", "window" };
	const struct et_yaml_node *nodes[4] = { NULL };
	const char *texts[4] = { NULL };
	struct et_error why = { 0 };
	struct et_limit one;

	int rc = et_yaml_is_map(item, reterr);
	rc = rc < 0 ? rc : et_yaml_check_keys(item, known, ET_ARRAY_SIZE(known), reterr);
	for (size_t i = 0; i < ET_ARRAY_SIZE(known) && rc == 0; i++) {
		nodes[i] = et_yaml_get(item, known[i]);
		if (i < 2) {
			rc = et_yaml_need(item, known[i], &nodes[i], reterr);
		}
		if (rc == 0 && nodes[i] != NULL) {
			rc = et_yaml_text(nodes[i], ET_WINDOW_TEXT_MAX, &texts[i], reterr);
		}
	}
	if (rc < 0) {
		return rc;
	}
	rc = limit_make(l, texts[0], texts[2], texts[3], texts[1], &one, &why);
	if (rc < 0) {
		return et_yaml_fail(item, reterr, rc == ET_ELIMIT ? rc : ET_EMALFORMED, "%s",
				    why.text);
	}
	if (limit_find(l, &one) < l->count) {
		return et_yaml_fail(item, reterr, ET_EMALFORMED,
				    "a limit with this site, class and window stands above");
	}
	if (l->count == ET_LIMITS_MAX) {
		return et_yaml_fail(item, reterr, ET_ELIMIT, "more than %d limits", ET_LIMITS_MAX);
	}
	l->limits[l->count++] = one;
	return 0;
}

static int limits_read(const struct et_yaml_node *root, struct et_limits *ret,
		       struct et_error *reterr)
{
	static const char *const known[] = { "limits" };
	const struct et_yaml_node *list = NULL;
	int rc = et_yaml_is_map(root, reterr);

	rc = rc < 0 ? rc : et_yaml_check_keys(root, known, ET_ARRAY_SIZE(known), reterr);
	list = rc == 0 ? et_yaml_get(root, "limits") : NULL;
	if (list == NULL) {
		return rc;
	}
	rc = et_yaml_is_list(list, reterr);
	for (const struct et_yaml_node *i = list->first; i != NULL && rc == 0; i = i->next) {
		rc = item_read(i, ret, reterr);
	}
	return rc;
}

int et_limits_parse(const char *text, size_t size, const char *file, struct et_limits *ret,
		    struct et_error *reterr)
{
	ET_CLEANUP(et_yaml_freep) struct et_yaml *y = NULL;

	memset(ret, 0, sizeof(*ret));
	if (size > ET_LIMITS_TEXT_MAX) {
		return et_fail_plain(reterr, ET_ELIMIT, "%.64s: more than %d bytes", file,
				     ET_LIMITS_TEXT_MAX);
	}
	int rc = et_yaml_parse(file, text, size, &y, reterr);
	return rc < 0 ? rc : limits_read(et_yaml_root(y), ret, reterr);
}

void et_limits_print(const struct et_limits *l, struct et_buffer *ret)
{
	et_buffer_printf(ret, l->count > 0 ? "limits:\n" : "limits: []\n");
	for (uint32_t i = 0; i < l->count; i++) {
		const struct et_limit *one = &l->limits[i];
		char rate[ET_LIMIT_RATE_TEXT];
		char window[ET_WINDOW_TEXT_MAX + 1];

		et_buffer_printf(ret, "  - {to: \"%s\", rate: %s", one->to,
				 et_limit_rate_format(one->rate, rate));
		if (one->klass >= 0) {
			et_buffer_printf(ret, ", class: %s", et_limit_class_name(one->klass));
		}
		if (one->has_window) {
			et_window_format(&one->window, window);
			et_buffer_printf(ret, ", window: \"%s\"", window);
		}
		et_buffer_printf(ret, "}\n");
	}
}

/* ---- Decisions ---- */

/* How particular a limit is; -1: it does not hold. */
static int limit_weight(const struct et_limits *l, const struct et_limit *one, const char *to,
			int klass, int64_t time_us)
{
	if (strcmp(one->to, to) != 0 || (one->klass >= 0 && one->klass != klass) ||
	    (one->has_window && !et_window_has(&one->window, &l->zones[one->zone], time_us))) {
		return -1;
	}
	return (one->klass >= 0 ? 2 : 0) + (one->has_window ? 1 : 0);
}

const struct et_limit *et_limits_at(const struct et_limits *l, const char *to, int klass,
				    int64_t time_us)
{
	const struct et_limit *best = NULL;
	int weight = -1;

	for (uint32_t i = 0; i < l->count; i++) {
		int one = limit_weight(l, &l->limits[i], to, klass, time_us);
		if (one > weight || (one >= 0 && one == weight && l->limits[i].rate < best->rate)) {
			best = &l->limits[i];
			weight = one;
		}
	}
	return best;
}

int64_t et_limits_change_us(const struct et_limits *l, const char *to, int klass, int64_t time_us)
{
	const struct et_limit *now = et_limits_at(l, to, klass, time_us);
	bool windows = false;

	for (uint32_t i = 0; i < l->count; i++) {
		windows = windows || (l->limits[i].has_window && strcmp(l->limits[i].to, to) == 0);
	}
	int64_t at = time_us - time_us % MINUTE_US;
	for (int i = 0; windows && i < CHANGE_MINUTES; i++) {
		at += MINUTE_US;
		if (et_limits_at(l, to, klass, at) != now) {
			return at;
		}
	}
	return 0;
}
