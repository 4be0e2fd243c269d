/* Hours of the week by a local clock: days, and minutes of the day. Whoever asks for a time of the
 * week asks here: recording rules, windows of limits.
 *
 * An hour that the clock shows twice is in them twice; one that it leaves out, not at all.
 *
 * Threads: plain values. */
#ifndef ET_NODE_RULE_HOURS_H
#define ET_NODE_RULE_HOURS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/rule/zone.h"

#define ET_HOURS_DAILY 0x7F
#define ET_HOURS_DAY 1440 /* minutes */

/* From behind to, or the same: over midnight; the day is that on which it begins. */
struct et_hours {
	uint8_t days; /* bit 0: Monday */
	uint16_t from_minute;
	uint16_t to_minute; /* not itself in it; ET_HOURS_DAY: the day's end */
};

struct et_hours_clock {
	unsigned weekday; /* 0: Monday */
	unsigned minute;  /* of the day */
};

extern const char *const et_hours_days[7]; /* "mon", ... */

/* Add "mon" or "mon-fri" to *days; "sat-mon" goes over the week's end. false: it is no such text.
 */
bool et_hours_add_days(const char *text, size_t size, uint8_t *days);
/* "00:00" to "24:00". false: it is no such text. */
bool et_hours_read_minute(const char *text, size_t size, uint16_t *ret);

/* What the clock of the zone shows then. */
struct et_hours_clock et_hours_clock(const struct et_zone *zone, int64_t time_us);
bool et_hours_has(const struct et_hours *h, const struct et_hours_clock *clock);

#endif
