/* Text that people write for durations, sizes and names, and the nearest word to a wrong one.
 *
 * Threads: pure functions. */
#ifndef ET_NODE_TEXT_UNITS_H
#define ET_NODE_TEXT_UNITS_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/defs.h"
#include "node/base/role.h"

/* A decimal number and a unit, without space: us ms s m h d w y; "90m", "7y". A day is 24 hours and
 * a year 366 days, so that a retention of 7y is never shorter than seven calendar years. A bare "0"
 * needs no unit. false: it is not that, or it does not fit. */
bool et_duration_parse(const char *text, int64_t *ret_us) ET_MUST_CHECK;

/* The shortest exact form: "30s", "72h" is "3d". `text` holds at least ET_UNIT_TEXT_SIZE bytes. */
#define ET_UNIT_TEXT_SIZE 32
const char *et_duration_format(int64_t us, char text[ET_UNIT_TEXT_SIZE]);

/* A decimal number and a unit: B KiB MiB GiB TiB PiB, or kB MB GB TB PB (powers of 1000). A bare
 * number is in bytes. */
bool et_bytes_parse(const char *text, uint64_t *ret) ET_MUST_CHECK;

/* For people, three digits: "612 GiB", "1.4 MiB". */
const char *et_bytes_format(uint64_t bytes, char text[ET_UNIT_TEXT_SIZE]);

/* "ip:port" or "[ip6]:port" with a port from 1 (or from 0 where `port_zero`) to 65535. */
bool et_address_is_valid(const char *text, bool port_zero);

/* Addresses that have their first bits in common: "10.1.0.0/24", "fd00:1::/32", or one, "10.1.0.7".
 */
struct et_range {
	uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
	uint32_t bits;	     /* of those 128 */
};

/* false: it is not that, or bits behind the prefix are set (then it is not clear what was meant).
 */
bool et_range_parse(const char *text, struct et_range *ret) ET_MUST_CHECK;
bool et_range_holds(const struct et_range *range, const uint8_t address[16]);

/* The nearest of `words` to `word` by edits (a swap of neighbours is one), or NULL when none is
 * near enough to be a slip of the fingers. */
const char *et_suggest(const char *word, const char *const *words, size_t count);

#endif
