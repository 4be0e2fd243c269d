/* Which legs are one call: those that a B2BUA (an SBC, a PBX) makes of one, each a dialog of its
 * own with its own Call-ID. A list in order; the first that applies to a leg decides.
 *
 *   header   legs whose INVITEs have the same value. It needs nothing else: legs that different
 *            nodes captured are one call, too. Of Session-ID (RFC 7989) only the local UUID counts,
 *            which a B2BUA passes on; the null UUID says nothing.
 *   numbers  legs of one recorder whose From and To end with the same digits, and whose INVITEs
 *            came within a span. Where legs of two different calls fit, none is taken.
 *
 * Who sends a header chooses what it is joined with: it is no proof of anything.
 *
 * Threads: pure functions. */
#ifndef ET_NODE_RULE_JOIN_H
#define ET_NODE_RULE_JOIN_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"

#define ET_JOINS_MAX 8
#define ET_JOIN_HEADER_MAX 63
#define ET_JOIN_KEY_MAX 320 /* bytes, with the NUL */
#define ET_JOIN_DIGITS_MIN 4
#define ET_JOIN_DIGITS_MAX 15

enum et_join_by { ET_JOIN_HEADER, ET_JOIN_NUMBERS };

struct et_join {
	enum et_join_by by;
	char header[ET_JOIN_HEADER_MAX + 1];
	uint32_t digits;   /* that must be equal, from the right */
	int64_t within_us; /* between the two INVITEs */
};

/* What legs of one call have in common, by this header's value: "session-id:0123…". false: it says
 * nothing (empty, longer than fits, no UUID where one belongs). */
bool et_join_header_key(const char *name, struct et_view value, char ret[ET_JOIN_KEY_MAX]);

/* ... by both numbers: "5551234>5556789". false: one of them has fewer digits. */
bool et_join_numbers_key(const char *from, const char *to, uint32_t digits,
			 char ret[ET_JOIN_KEY_MAX]);

#endif
