/* A policy's targets as the stores see them.
 *
 * Threads: pure functions. */
#ifndef ET_ARCHIVE_POLICY_TARGET_H
#define ET_ARCHIVE_POLICY_TARGET_H

#include "archive/bucket/bucket.h"
#include "archive/policy/policy.h"

/* Fill `config` from a target; text is borrowed from it. */
void et_archive_bucket_config(const struct et_archive_target *target,
			      struct et_bucket_config *config);

/* Where it is, for people: "/srv/archive", "https://s3.example:443/bucket/prefix". */
#define ET_ARCHIVE_WHERE_SIZE 1024
void et_archive_target_where(const struct et_archive_target *target,
			     char ret[ET_ARCHIVE_WHERE_SIZE]);

/* The strictest lock that a rule asks of targets[`target`]. */
enum et_bucket_lock et_archive_target_lock(const struct et_archive_policy *policy, size_t target);

/* What the policy's own reader cannot know: would a store take these settings? Failures are those
 * of et_bucket_check(), with file:line:column of the target. */
int et_archive_targets_check(const struct et_archive_policy *policy, const char *file,
			     struct et_error *reterr) ET_MUST_CHECK;

#endif
