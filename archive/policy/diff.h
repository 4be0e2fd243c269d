/* What changes between two archive policies, in plain words, by target and rule.
 *
 * Threads: pure function. */
#ifndef ET_ARCHIVE_POLICY_DIFF_H
#define ET_ARCHIVE_POLICY_DIFF_H

#include "archive/policy/policy.h"
#include "node/text/json.h"

/* A new array of {kind: "target" | "rule", name, change: "added" | "removed" | "changed" | "moved",
 * key, before, after}: one row a key that changed, in the order of the new policy, what was removed
 * behind. `before` (or `after`) is "" where the key was not given. `moved`: the rule stands at
 * another place among those that both have, and the first that fits decides. Empty: they mean the
 * same. NULL: no memory. */
json_t *et_archive_policy_diff(const struct et_archive_policy *before,
			       const struct et_archive_policy *after);

#endif
