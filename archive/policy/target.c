#include "archive/policy/target.h"

#include <stdio.h>

void et_archive_bucket_config(const struct et_archive_target *t, struct et_bucket_config *config)
{
	static const enum et_bucket_type types[] = { [ET_ARCHIVE_DIR] = ET_BUCKET_DIR,
						     [ET_ARCHIVE_S3] = ET_BUCKET_S3,
						     [ET_ARCHIVE_S3V2] = ET_BUCKET_S3V2 };
	*config = (struct et_bucket_config){ .type = types[t->type],
					     .path = t->path,
					     .endpoint = t->endpoint,
					     .region = t->region,
					     .bucket = t->bucket,
					     .prefix = t->prefix,
					     .virtual_host = t->virtual_host,
					     .ca_file = t->ca_file,
					     .credentials = t->credentials,
					     .insecure_tls = t->insecure_tls,
					     .storage_class = t->storage_class };
}

void et_archive_target_where(const struct et_archive_target *t, char ret[ET_ARCHIVE_WHERE_SIZE])
{
	bool prefix = t->prefix != NULL && t->prefix[0] != '\0';
	(void)snprintf(ret, ET_ARCHIVE_WHERE_SIZE, "%s%s%s%s%s",
		       t->type == ET_ARCHIVE_DIR ? t->path : t->endpoint,
		       t->type == ET_ARCHIVE_DIR ? "" : "/",
		       t->type == ET_ARCHIVE_DIR ? "" : t->bucket, prefix ? "/" : "",
		       prefix ? t->prefix : "");
}

enum et_bucket_lock et_archive_target_lock(const struct et_archive_policy *p, size_t target)
{
	static const enum et_bucket_lock locks[] = {
		[ET_ARCHIVE_LOCK_NONE] = ET_LOCK_NONE,
		[ET_ARCHIVE_LOCK_GOVERNANCE] = ET_LOCK_GOVERNANCE,
		[ET_ARCHIVE_LOCK_COMPLIANCE] = ET_LOCK_COMPLIANCE,
	};
	enum et_archive_lock strictest = ET_ARCHIVE_LOCK_NONE;
	for (size_t i = 0; i < p->rule_count; i++) {
		if (p->rules[i].target == target && p->rules[i].lock > strictest) {
			strictest = p->rules[i].lock;
		}
	}
	return locks[strictest];
}

int et_archive_targets_check(const struct et_archive_policy *p, const char *file,
			     struct et_error *reterr)
{
	for (size_t i = 0; i < p->target_count; i++) {
		const struct et_archive_target *t = &p->targets[i];
		struct et_bucket_config config;
		struct et_error e = { 0 };
		et_archive_bucket_config(t, &config);
		int rc = et_bucket_check(&config, &e);
		if (rc < 0) {
			(void)et_fail_plain(reterr, rc, "%s:%u:%u: target \"%s\": %.300s", file,
					    t->line, t->column, t->name, e.text);
			if (e.next[0] != '\0') {
				(void)et_fail_next(reterr, "%s", e.next);
			}
			return rc;
		}
	}
	return 0;
}
