/* Files that grow by whole lines: key logs that other programs write while calls run. A file that
 * is not there yet is waited for; one that is replaced or became shorter is read from its
 * beginning.
 *
 * What is read passes through memory that is locked, not dumped, and wiped.
 *
 * Threads: et_follow_read() by one (it touches files), et_follow_take() by another. */
#ifndef ET_NODE_CAPTURE_FOLLOW_INTERNAL_H
#define ET_NODE_CAPTURE_FOLLOW_INTERNAL_H

#include <stdbool.h>

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/keylog/keylog.h"

struct et_follow;

/* `paths` are copied. -ENOMEM */
int et_follow_new(const char *const *paths, uint32_t count, struct et_follow **ret,
		  struct et_error *reterr) ET_MUST_CHECK;

/* Wipe and release. NULL is allowed. Always returns NULL. */
struct et_follow *et_follow_free(struct et_follow *f);

/* Read what is new, as far as there is room for it and what was read before is taken; the rest the
 * next time, when another file comes first. false: nothing was. */
bool et_follow_read(struct et_follow *f);

/* Hand what was read to the key log. Costs an atomic load when there is nothing.
 * false: no memory for some of it; the calls of those secrets stay closed. */
bool et_follow_take(struct et_follow *f, struct et_keylog *keylog);

#endif
