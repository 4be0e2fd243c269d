#include "replication/limit/window.h"

#include <stdio.h>
#include <string.h>

#define DAYS_ALL 0x7F
#define DAY_MINUTES 1440

static const char *const day_names[] = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" };

static bool day_parse(const char *text, size_t size, unsigned *ret)
{
	for (unsigned i = 0; i < 7; i++) {
		if (size == 3 && strncmp(text, day_names[i], 3) == 0) {
			*ret = i;
			return true;
		}
	}
	return false;
}

/* "mon", or "mon-fri"; "sat-mon" goes over the week's end. */
static bool range_parse(const char *text, size_t size, uint8_t *days)
{
	const char *dash = memchr(text, '-', size);
	size_t first = dash != NULL ? (size_t)(dash - text) : size;
	unsigned from = 0;
	unsigned to = 0;

	if (!day_parse(text, first, &from)) {
		return false;
	}
	to = from;
	if (dash != NULL && !day_parse(dash + 1, size - first - 1, &to)) {
		return false;
	}
	for (unsigned i = from; i != to; i = (i + 1) % 7) {
		*days = (uint8_t)(*days | 1U << i);
	}
	*days = (uint8_t)(*days | 1U << to);
	return true;
}

static bool days_parse(const char *text, size_t size, uint8_t *ret)
{
	*ret = 0;
	if (size == 5 && strncmp(text, "daily", 5) == 0) {
		*ret = DAYS_ALL;
		return true;
	}
	const char *end = text + size;
	while (text <= end) {
		const char *comma = memchr(text, ',', (size_t)(end - text));
		size_t one = comma != NULL ? (size_t)(comma - text) : (size_t)(end - text);
		if (!range_parse(text, one, ret)) {
			return false;
		}
		text += one + 1;
	}
	return true;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "08:00" to "24:00": five characters. */
static bool minute_parse(const char *t, uint16_t *ret)
{
	if (!is_digit(t[0]) || !is_digit(t[1]) || t[2] != ':' || !is_digit(t[3]) ||
	    !is_digit(t[4]) || t[3] > '5') {
		return false;
	}
	unsigned minute = (unsigned)((t[0] - '0') * 10 + t[1] - '0') * 60 +
			  (unsigned)((t[3] - '0') * 10 + t[4] - '0');
	*ret = (uint16_t)minute;
	return minute <= DAY_MINUTES;
}

static bool hours_parse(const char *text, size_t size, struct et_window *w)
{
	return size == 11 && text[5] == '-' && minute_parse(text, &w->from_minute) &&
	       minute_parse(text + 6, &w->to_minute) && w->from_minute != w->to_minute &&
	       w->from_minute < DAY_MINUTES && w->to_minute > 0;
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
	struct et_window w = { .to_minute = DAY_MINUTES };
	size_t size = strlen(text) <= ET_WINDOW_TEXT_MAX ? word_next(&at) : 0;
	bool ok = size > 0 && days_parse(at, size, &w.days);

	at += size;
	size = ok ? word_next(&at) : 0;
	if (size > 0 && is_digit(at[0])) {
		ok = hours_parse(at, size, &w);
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

	if (days == DAYS_ALL) {
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
				 day_names[i]);
		if (last > i) {
			used += snprintf(text + used, size - (size_t)used, "-%s", day_names[last]);
		}
		i = last;
	}
	return used;
}

void et_window_format(const struct et_window *w, char text[ET_WINDOW_TEXT_MAX + 1])
{
	char days[40];
	char hours[16] = "";

	(void)days_format(w->days, days, sizeof(days));
	if (w->from_minute != 0 || w->to_minute != DAY_MINUTES) {
		(void)snprintf(hours, sizeof(hours), " %02u:%02u-%02u:%02u",
			       w->from_minute / 60U % 100, w->from_minute % 60U,
			       w->to_minute / 60U % 100, w->to_minute % 60U);
	}
	(void)snprintf(text, ET_WINDOW_TEXT_MAX + 1, "%s%s %s", days, hours, w->zone);
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

bool et_window_has(const struct et_window *w, const struct et_zone *zone, int64_t time_us)
{
	int64_t local_s = floor_div(time_us, 1000000) + et_zone_offset(zone, time_us);
	int64_t day = floor_div(local_s, 86400);
	unsigned minute = (unsigned)((local_s - day * 86400) / 60);
	unsigned weekday = (unsigned)(((day + 3) % 7 + 7) % 7); /* 1970 began on a Thursday. */
	bool today = (w->days >> weekday & 1) != 0;
	bool yesterday = (w->days >> (weekday + 6) % 7 & 1) != 0;

	if (w->from_minute < w->to_minute) {
		return today && minute >= w->from_minute && minute < w->to_minute;
	}
	return (today && minute >= w->from_minute) || (yesterday && minute < w->to_minute);
}
