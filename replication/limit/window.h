/* A window of time within the week, in a time zone: "mon-fri 08:00-18:00 Europe/Prague".
 *
 *   DAYS [FROM-TO] ZONE    DAYS: daily, or mon to sun and ranges of them, separated by commas
 *                          FROM, TO: 00:00 to 24:00; FROM behind TO goes over midnight, and the
 *                          day is that on which it begins; absent: the whole day
 *                          ZONE: UTC, or a name of the system's time zones (node/rule/zone.h)
 *
 * Clocks that change are the zone's: an hour that comes twice is in the window twice.
 *
 * Threads: plain values; reading one loads the zone's file. */
#ifndef ET_REPLICATION_LIMIT_WINDOW_H
#define ET_REPLICATION_LIMIT_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "node/rule/hours.h"

#define ET_WINDOW_TEXT_MAX 127 /* bytes */

struct et_window {
	struct et_hours hours;
	char zone[ET_ZONE_NAME_MAX + 1]; /* its rules are loaded apart: many windows share them */
};

/* ET_EUSAGE: `text` is no window; *ret is undefined then. Does not look at the zone's file. */
int et_window_parse(const char *text, struct et_window *ret, struct et_error *reterr) ET_MUST_CHECK;

/* As one writes it, the same for the same window: "mon-fri 08:00-18:00 Europe/Prague". */
void et_window_format(const struct et_window *w, char text[ET_WINDOW_TEXT_MAX + 1]);

/* Is `time_us` within it? `zone` is that of its name. */
bool et_window_has(const struct et_window *w, const struct et_zone *zone, int64_t time_us);

#endif
