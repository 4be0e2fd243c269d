#include "archive/policy/target.h"

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
