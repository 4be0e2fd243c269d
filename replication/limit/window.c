#include "replication/limit/window.h"

#include <stdio.h>
#include <string.h>

static bool days_parse(const char *text, size_t size, uint8_t *ret)
{
	*ret = 0;
	if (size == 5 && strncmp(text, "daily", 5) == 0) {
		*ret = ET_HOURS_DAILY;
		return true;
	}
	const char *end = text + size;
	while (text <= end) {
		const char *comma = memchr(text, ',', (size_t)(end - text));
		size_t one = comma != NULL ? (size_t)(comma - text) : (size_t)(end - text);
		if (!et_hours_add_days(text, one, ret)) {
			return false;
		}
		text += one + 1;
	}
	return true;
}

static bool hours_parse(const char *text, size_t size, struct et_hours *h)
{
	return size == 11 && text[5] == '-' && et_hours_read_minute(text, 5, &h->from_minute) &&
	       et_hours_read_minute(text + 6, 5, &h->to_minute) && h->from_minute != h->to_minute &&
	       h->from_minute < ET_HOURS_DAY && h->to_minute > 0;
}

/* The next word, without the blanks before it; its size, 0 at the end. */
static size_t word_next(const char **text)
{
	*text += strspn(*text, " ");
	return strcspn(*text, " ");
}

int et_window_parse(const char *text, struct et_window *ret, struct et_error *reterr)
{
	const char *at = text;
	struct et_window w = { .hours = { .to_minute = ET_HOURS_DAY } };
	size_t size = strlen(text) <= ET_WINDOW_TEXT_MAX ? word_next(&at) : 0;
	bool ok = size > 0 && days_parse(at, size, &w.hours.days);

	at += size;
	size = ok ? word_next(&at) : 0;
	if (size > 0 && at[0] >= '0' && at[0] <= '9') {
		ok = hours_parse(at, size, &w.hours);
		at += size;
		size = word_next(&at);
	}
	ok = ok && size > 0 && size <= ET_ZONE_NAME_MAX &&
	     at[size + strspn(at + size, " ")] == '\0';
	if (!ok) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "a window is as \"mon-fri 08:00-18:00 Europe/Prague\" or "
				     "\"daily 22:00-06:00 UTC\", not \"%.80s\"",
				     text);
	}
	memcpy(w.zone, at, size);
	*ret = w;
	return 0;
}

/* Days as ranges, from Monday on; three in a row and more are one. */
static int days_format(uint8_t days, char *text, size_t size)
{
	int used = 0;

	if (days == ET_HOURS_DAILY) {
		return snprintf(text, size, "daily");
	}
	for (unsigned i = 0; i < 7; i++) {
		unsigned last = i;
		while (last + 1 < 7 && (days >> (last + 1) & 1) != 0) {
			last++;
		}
		if ((days >> i & 1) == 0) {
			continue;
		}
		last = last > i + 1 ? last : i;
		used += snprintf(text + used, size - (size_t)used, "%s%s", used > 0 ? "," : "",
				 et_hours_days[i]);
		if (last > i) {
			used += snprintf(text + used, size - (size_t)used, "-%s",
					 et_hours_days[last]);
		}
		i = last;
	}
	return used;
}

void et_window_format(const struct et_window *w, char text[ET_WINDOW_TEXT_MAX + 1])
{
	const struct et_hours *h = &w->hours;
	char days[40];
	char hours[16] = "";

	(void)days_format(h->days, days, sizeof(days));
	if (h->from_minute != 0 || h->to_minute != ET_HOURS_DAY) {
		(void)snprintf(hours, sizeof(hours), " %02u:%02u-%02u:%02u",
			       h->from_minute / 60U % 100, h->from_minute % 60U,
			       h->to_minute / 60U % 100, h->to_minute % 60U);
	}
	(void)snprintf(text, ET_WINDOW_TEXT_MAX + 1, "%s%s %s", days, hours, w->zone);
}

bool et_window_has(const struct et_window *w, const struct et_zone *zone, int64_t time_us)
{
	const struct et_hours_clock clock = et_hours_clock(zone, time_us);
	return et_hours_has(&w->hours, &clock);
}
