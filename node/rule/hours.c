#include "node/rule/hours.h"

#include <string.h>

const char *const et_hours_days[7] = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" };

static bool day_read(const char *text, size_t size, unsigned *ret)
{
	for (unsigned i = 0; i < 7; i++) {
		if (size == 3 && strncmp(text, et_hours_days[i], 3) == 0) {
			*ret = i;
			return true;
		}
	}
	return false;
}

bool et_hours_add_days(const char *text, size_t size, uint8_t *days)
{
	const char *dash = memchr(text, '-', size);
	size_t first = dash != NULL ? (size_t)(dash - text) : size;
	unsigned from = 0;
	unsigned to = 0;

	if (!day_read(text, first, &from)) {
		return false;
	}
	to = from;
	if (dash != NULL && !day_read(dash + 1, size - first - 1, &to)) {
		return false;
	}
	for (unsigned i = from; i != to; i = (i + 1) % 7) {
		*days = (uint8_t)(*days | 1U << i);
	}
	*days = (uint8_t)(*days | 1U << to);
	return true;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool et_hours_read_minute(const char *t, size_t size, uint16_t *ret)
{
	if (size != 5 || !is_digit(t[0]) || !is_digit(t[1]) || t[2] != ':' || !is_digit(t[3]) ||
	    !is_digit(t[4]) || t[3] > '5') {
		return false;
	}
	*ret = (uint16_t)(((t[0] - '0') * 10 + t[1] - '0') * 60 + (t[3] - '0') * 10 + t[4] - '0');
	return *ret <= ET_HOURS_DAY;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

struct et_hours_clock et_hours_clock(const struct et_zone *zone, int64_t time_us)
{
	int64_t local_s = floor_div(time_us, 1000000) + et_zone_offset(zone, time_us);
	int64_t day = floor_div(local_s, 86400);
	return (struct et_hours_clock){
		.weekday = (unsigned)(((day + 3) % 7 + 7) % 7), /* 1970 began on a Thursday. */
		.minute = (unsigned)((local_s - day * 86400) / 60),
	};
}

bool et_hours_has(const struct et_hours *h, const struct et_hours_clock *clock)
{
	bool today = (h->days >> clock->weekday & 1) != 0;
	bool yesterday = (h->days >> (clock->weekday + 6) % 7 & 1) != 0;

	if (h->from_minute < h->to_minute) {
		return today && clock->minute >= h->from_minute && clock->minute < h->to_minute;
	}
	return (today && clock->minute >= h->from_minute) ||
	       (yesterday && clock->minute < h->to_minute);
}
