/* The retention policy: how long recordings must be kept, and when they have to go.
 *
 *   rules:
 *     - name: mifid
 *       select: {site: [prg], number: "+4930*", min-duration: 2s}
 *       keep: 5y             # at least, since the end of the recording
 *     - name: all
 *       erase-after: 7y      # absent: never by itself
 *
 * All rules that select a recording count: it is kept for the longest `keep`, and goes after the
 * longest of its spans of both kinds, if any rule has `erase-after`. Unknown and duplicate keys are
 * errors with file:line:col. All keys: ops/doc/formats/retention-policy.md.
 *
 * Pure. Threads: any. */
#ifndef ET_ARCHIVE_POLICY_RETENTION_H
#define ET_ARCHIVE_POLICY_RETENTION_H

#include "archive/policy/policy.h"

struct et_retention_rule {
	char name[ET_ARCHIVE_NAME_MAX + 1];
	struct et_archive_values sites;
	struct et_archive_values directions;
	struct et_archive_values numbers;     /* "+420*" is a prefix, "*4711" a suffix */
	struct et_archive_values recorded_by; /* the recording rule that fired */
	int64_t min_duration_us;
	int64_t keep_us;	/* 0: no minimum */
	int64_t erase_after_us; /* 0: never */
};

struct et_retention_policy {
	struct et_retention_rule *rules; /* owned */
	size_t rule_count;
};

/* As et_archive_policy_parse(). A policy without rules is one: nothing must be kept. */
int et_retention_policy_parse(const char *text, size_t size, const char *file,
			      struct et_retention_policy **ret,
			      struct et_error *reterr) ET_MUST_CHECK;
struct et_retention_policy *et_retention_policy_free(struct et_retention_policy *p); /* NULL is
										      * allowed */

static inline void et_retention_policy_freep(struct et_retention_policy **p)
{
	*p = et_retention_policy_free(*p);
}

#endif
