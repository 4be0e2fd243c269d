/* Trying the targets of a policy out: archive/bucket/probe.h for each, as JSON.
 *
 * Threads: any that may wait; nothing is shared. */
#ifndef ET_ARCHIVE_POLICY_TRIAL_H
#define ET_ARCHIVE_POLICY_TRIAL_H

#include "archive/policy/policy.h"
#include "node/text/json.h"

/* Try `name` (NULL: every target). On success *ret is the caller's, an array of
 *
 *   {target, type, where, lock, ok, failed, code, why, next, left, steps: [{step, result, code,
 *   took_ms, text, next}]}
 *
 * where failed, code, why and next are those of the first step that failed ("" when none did).
 * ET_ENOTFOUND: the policy has no such target. That a target failed is no error of this function.
 */
int et_archive_trial(const struct et_archive_policy *policy, const char *name, json_t **ret,
		     struct et_error *reterr) ET_MUST_CHECK;

#endif
