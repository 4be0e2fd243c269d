/* Limits: how fast a site may be filled, by class of transfer and time of day. The text of the
 * policy `replication` (ops/doc/formats/replication-policy.md), and what it decides. Pure.
 *
 *   limits:
 *     - {to: brq, rate: 20MiB}
 *     - {to: brq, rate: 2MiB, window: "mon-fri 08:00-18:00 Europe/Prague"}
 *     - {to: brq, rate: pause, class: rebalance, window: "mon-fri 08:00-18:00 Europe/Prague"}
 *
 * A limit holds for all that nodes of other sites send to the site `to`, as a whole; its nodes
 * share it evenly. Within a site nothing is limited.
 *
 * Of the limits to a site one decides for a class, the most particular one that holds now:
 *
 *   class and window > class > window > neither; of equals the lowest rate
 *
 * and when none holds, limits.sync-rate of each node's own configuration does (it is the base).
 * A limit that names a class is an allowance of its own, beside that of the others.
 *
 * Live tails and what somebody waits to hear (classes tail, replay) never wait for a limit that
 * does not name them: their bytes count, and the others make room. They cannot be paused.
 *
 * Threads: plain values; reading text loads the zones' files. */
#ifndef ET_REPLICATION_LIMIT_LIMIT_H
#define ET_REPLICATION_LIMIT_LIMIT_H

#include "node/base/bytes.h"
#include "node/base/role.h"
#include "replication/limit/window.h"

#define ET_LIMITS_POLICY "replication" /* the policy's name in the catalogue */
#define ET_LIMITS_MAX 64
#define ET_LIMITS_ZONES_MAX 8
#define ET_LIMITS_TEXT_MAX (64 * 1024)
#define ET_LIMIT_RATE_MIN 65536 /* bytes a second: below it nothing really moves */
#define ET_LIMIT_RATE_MAX (UINT64_C(1) << 40)
#define ET_LIMIT_NONE UINT64_MAX /* rate: none, as fast as it goes */
#define ET_LIMIT_PAUSE 0	 /* rate: pause */

/* The classes of transfers; lower is more urgent. The numbers are those of sync's protocol. */
enum et_limit_class {
	ET_LIMIT_TAIL = 0,
	ET_LIMIT_REPLAY = 1,
	ET_LIMIT_NEW = 2,
	ET_LIMIT_REPAIR = 3,
	ET_LIMIT_REBALANCE = 4,
	ET_LIMIT_CLASSES = 5,
	ET_LIMIT_ALL = -1, /* of a limit: it names no class */
};

struct et_limit {
	char to[ET_NAME_MAX + 1]; /* a site */
	int klass;		  /* enum et_limit_class */
	uint64_t rate;		  /* bytes a second; ET_LIMIT_NONE, ET_LIMIT_PAUSE */
	bool has_window;
	struct et_window window;
	uint32_t zone; /* of the window: in et_limits.zones */
};

/* About 35 KiB, nothing owned: may be copied; off the stack. */
struct et_limits {
	struct et_limit limits[ET_LIMITS_MAX];
	uint32_t count;
	struct et_zone zones[ET_LIMITS_ZONES_MAX];
	uint32_t zone_count;
};

/* Read the policy's text; "" is none. ET_EMALFORMED with file:line:col, ET_ELIMIT; *ret is
 * undefined then. */
int et_limits_parse(const char *text, size_t size, const char *file, struct et_limits *ret,
		    struct et_error *reterr) ET_MUST_CHECK;
/* The policy's text, which reads as the same limits. */
void et_limits_print(const struct et_limits *l, struct et_buffer *ret);

/* Add a limit, in place of one with the same site, class and window. `klass` (NULL: all) and
 * `window` (NULL: always) as people write them; so `rate`: "20MiB" (a second; "20MiB/s" too),
 * "none", "pause". ET_EUSAGE, ET_ENOTFOUND (a zone), ET_ELIMIT; *l is as before then. */
int et_limits_set(struct et_limits *l, const char *to, const char *klass, const char *window,
		  const char *rate, struct et_error *reterr) ET_MUST_CHECK;
/* Take away the limit with exactly this site, class and window. ET_ENOTFOUND, ET_EUSAGE. */
int et_limits_remove(struct et_limits *l, const char *to, const char *klass, const char *window,
		     struct et_error *reterr) ET_MUST_CHECK;

/* The limit that decides for a class of transfers to a site; ET_LIMIT_ALL: for those that no limit
 * names. NULL: none does. A view into `l`. */
const struct et_limit *et_limits_at(const struct et_limits *l, const char *to, int klass,
				    int64_t time_us);
/* When another one decides, or with another rate: the next such minute within 8 days; 0: none. */
int64_t et_limits_change_us(const struct et_limits *l, const char *to, int klass, int64_t time_us);

const char *et_limit_class_name(int klass); /* "new", ...; ET_LIMIT_ALL: "all" */
/* ET_LIMIT_CLASSES: not the name of one. */
int et_limit_class_parse(const char *name);
/* "20MiB", exactly; "none", "pause". */
#define ET_LIMIT_RATE_TEXT 32
const char *et_limit_rate_format(uint64_t rate, char text[ET_LIMIT_RATE_TEXT]);

#endif
