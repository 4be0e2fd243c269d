/* A time zone of the system's database (TZif, RFC 8536): what is added to UTC at a moment.
 *
 * Only explicit transitions are used, of the 64-bit block. A zone that still changes its clocks and
 * whose file leaves that to its footer's rule ("slim" files) is refused: Debian's are not.
 * After the last transition (2037) its offset goes on.
 *
 * Threads: plain values. */
#ifndef ET_NODE_RULE_ZONE_H
#define ET_NODE_RULE_ZONE_H

#include <stdint.h>

#include "node/base/err.h"

#define ET_ZONE_NAME_MAX 63
#define ET_ZONE_CHANGES_MAX 160 /* the latest: two a year since 1970, and some */
#define ET_ZONE_FILE_MAX 65536	/* bytes */

struct et_zone {
	char name[ET_ZONE_NAME_MAX + 1]; /* "Europe/Prague" */
	int32_t first_s;		 /* offset before the first change, seconds */
	uint32_t count;
	struct {
		int64_t at_s; /* seconds since 1970, UTC */
		int32_t offset_s;
	} changes[ET_ZONE_CHANGES_MAX];
};

/* Read a file's `size` bytes. ET_EMALFORMED; ET_EUNSUPPORTED: a slim file of a zone that changes
 * its clocks. *ret->name is "name", cut. */
int et_zone_read(const char *name, const void *data, size_t size, struct et_zone *ret,
		 struct et_error *reterr) ET_MUST_CHECK;

/* "UTC", or a name under /usr/share/zoneinfo. ET_EUSAGE: it cannot be a name; ET_ENOTFOUND. */
int et_zone_load(const char *name, struct et_zone *ret, struct et_error *reterr) ET_MUST_CHECK;

/* The number of the zone of that name among `zones`; loaded behind the *count others when it is
 * new. As et_zone_load(), or ET_ELIMIT: there are `max` others. */
int et_zone_among(struct et_zone *zones, uint32_t *count, uint32_t max, const char *name,
		  uint32_t *ret, struct et_error *reterr) ET_MUST_CHECK;

/* Seconds to add to UTC at that moment. */
int32_t et_zone_offset(const struct et_zone *z, int64_t time_us);

#endif
