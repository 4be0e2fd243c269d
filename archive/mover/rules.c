/* The policy in force, and what may take its place. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/mover/mover_internal.h"

int mover_policy_read(const char *text, size_t size, const char *file,
		      struct et_archive_policy **ret, struct et_error *reterr)
{
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *p = NULL;
	int rc = et_archive_policy_parse(text, size, file, &p, reterr);
	rc = rc < 0 ? rc : et_archive_targets_check(p, file, reterr);
	if (rc == 0) {
		*ret = ET_TAKE(p);
	}
	return rc;
}

int et_archive_validate(const char *text, size_t size, const char *file, struct et_error *reterr)
{
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *p = NULL;
	return mover_policy_read(text, size, file, &p, reterr);
}

struct lost_target {
	const struct et_archive_policy *policy;
	char name[ET_ARCHIVE_NAME_MAX + 1];
	uint64_t copies;
};

static int lost_target_take(void *arg, const Et__Copy *copy)
{
	struct lost_target *l = arg;
	const char *target = mover_target_of(copy->place);
	if (target == NULL || copy->state != ET__COPY__STATE__VERIFIED ||
	    et_archive_target_find(l->policy, target) != NULL ||
	    strlen(target) > ET_ARCHIVE_NAME_MAX) {
		return 0;
	}
	if (l->copies == 0) {
		(void)snprintf(l->name, sizeof(l->name), "%s", target);
	}
	l->copies += strcmp(l->name, target) == 0 ? 1 : 0;
	return 0;
}

int et_archive_validate_against(const struct et_state_view *view, const char *text, size_t size,
				const char *file, struct et_error *reterr)
{
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *p = NULL;
	int rc = mover_policy_read(text, size, file, &p, reterr);
	if (rc < 0) {
		return rc;
	}
	struct lost_target lost = { .policy = p };
	rc = et_state_each_copy(view, lost_target_take, &lost);
	if (rc < 0) {
		return et_fail(reterr, rc, "archive policy");
	}
	if (lost.copies > 0) {
		rc = et_fail_plain(reterr, ET_EPOLICY,
				   "%s: target \"%s\" is missing, and %llu archived segments lie "
				   "there",
				   file, lost.name, (unsigned long long)lost.copies);
		(void)et_fail_next(reterr, "keep the target; a rule need not name it");
		return rc;
	}
	return 0;
}

int et_archive_policy_of(const struct et_state_view *view, struct et_archive_policy **ret,
			 uint32_t *ret_revision, struct et_error *reterr)
{
	Et__Policy *policy = NULL;
	int rc = et_state_get_policy(view, ET_ARCHIVE_POLICY, &policy);
	if (rc == ET_ENOTFOUND) {
		rc = et_fail_plain(reterr, rc, "no archive policy was applied yet");
		(void)et_fail_next(reterr, "evertape archive policy apply FILE");
		return rc;
	}
	if (rc < 0) {
		return et_fail(reterr, rc, "archive policy");
	}
	rc = et_archive_policy_parse(policy->text, strlen(policy->text), "the policy in force", ret,
				     reterr);
	if (rc == 0) {
		*ret_revision = policy->revision;
	}
	et__policy__free_unpacked(policy, NULL);
	return rc;
}
