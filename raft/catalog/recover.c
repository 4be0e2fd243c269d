#include <stdio.h>
#include <unistd.h>

#include "node/io/file.h"
#include "raft/catalog/catalog_internal.h"

/* The majority is lost for ever: the log of one survivor goes on with it as the only voter.
 *
 *   database opened (locked: no daemon runs) ─▶ whose, how far ─▶ confirmed? ─▶ marker ─▶
 * the configuration as the next entry of the log (bootstrap.c)
 *
 * The marker is there first, so that a recovery is never without its audit event. */

#define MARKER "raft-recovered"

/* Whose state it is: that stands in the open part of <state>/identity/identity. The database may
 * know nothing yet: after a crash it is behind the log, which it is made of. */
static int own_identity(const char *folder, struct et_catalog_recovery *ret,
			struct et_error *reterr)
{
	char path[CAT_PATH_SIZE];
	uint8_t head[256];

	(void)snprintf(path, sizeof(path), "%.400s/identity/identity", folder);
	FILE *f = fopen(path, "re");
	if (f == NULL) {
		return et_fail(reterr, -errno, "'%s'", path);
	}
	size_t n = fread(head, 1, sizeof(head), f);
	(void)fclose(f);
	struct et_reader r = et_reader_of(head, n);
	(void)et_read_bytes(&r, 21);
	ret->node = et_read64(&r);
	char *texts[] = { ret->cluster, ret->name };
	for (size_t i = 0; i < ET_ARRAY_SIZE(texts); i++) {
		uint8_t size = et_read8(&r);
		const uint8_t *p = size < 64 ? et_read_bytes(&r, size) : NULL;
		if (p == NULL || r.failed) {
			return et_fail(reterr, ET_ECORRUPT, "'%s'", path);
		}
		memcpy(texts[i], p, size);
	}
	return n > 4 && memcmp(head, "EVTI", 4) == 0 ? 0
						     : et_fail(reterr, ET_ECORRUPT, "'%s'", path);
}

static int add_member(void *arg, const Et__Node *n)
{
	struct et_catalog_recovery *r = arg;

	if (n->state == ET__NODE_STATE__REMOVED || n->state == ET__NODE_STATE__REVOKED) {
		return 0;
	}
	if (n->id == r->node) {
		(void)snprintf(r->address, sizeof(r->address), "%s", n->address);
	} else if (r->other_count < ET_ARRAY_SIZE(r->others)) {
		(void)snprintf(r->others[r->other_count++], sizeof(r->others[0]), "%s", n->name);
	}
	return 0;
}

static int facts_read(struct et_catalog *c, struct et_catalog_recovery *ret,
		      struct et_error *reterr)
{
	(void)snprintf(ret->address, sizeof(ret->address),
		       "127.0.0.1:7400"); /* a last resort only */
	struct et_state_view *v = et_state_view_open(c->state);
	int rc = v == NULL ? -ENOMEM : et_state_each_node(v, add_member, ret);
	ret->applied = v == NULL ? 0 : et_state_view_index(v);
	(void)et_state_view_close(v);
	return rc < 0 ? et_fail(reterr, rc, "the catalogue in '%s'", c->db_folder) : 0;
}

static int marker_put(const char *folder, const struct et_catalog_recovery *r,
		      struct et_error *reterr)
{
	char path[CAT_PATH_SIZE];

	(void)snprintf(path, sizeof(path), "%s/" MARKER, folder);
	FILE *f = fopen(path, "we");
	if (f == NULL) {
		return et_fail(reterr, -errno, "'%s'", path);
	}
	(void)fprintf(f, "%s alone goes on from what it had applied: index %llu\n", r->name,
		      (unsigned long long)r->applied);
	int rc = fflush(f) != 0 || fsync(fileno(f)) < 0 ? -errno : 0;
	(void)fclose(f);
	return rc < 0 ? et_fail(reterr, rc, "'%s'", path) : 0;
}

int et_catalog_recover(const char *folder, const char *confirm, struct et_catalog_recovery *ret,
		       struct et_error *reterr)
{
	struct et_catalog *c = et_cat_alloc(sizeof(*c));

	*ret = (struct et_catalog_recovery){ 0 };
	(void)snprintf(c->db_folder, sizeof(c->db_folder), "%.400s/db", folder);
	(void)snprintf(c->raft_folder, sizeof(c->raft_folder), "%.400s/raft", folder);
	int rc = own_identity(folder, ret, reterr);
	if (rc == 0 && access(c->raft_folder, F_OK) < 0) {
		rc = et_fail(reterr, -errno, "'%s'", c->raft_folder);
	}
	rc = rc < 0 ? rc : et_cat_snapshot_open_state(c, reterr);
	if (rc == 0) {
		rc = facts_read(c, ret, reterr);
	}
	if (rc == 0 && (confirm == NULL || strcmp(confirm, ret->cluster) != 0)) {
		rc = et_fail_plain(reterr, ET_EPOLICY,
				   "this is cluster %s: its name, typed, confirms it",
				   ret->cluster);
	}
	rc = rc < 0 ? rc : marker_put(folder, ret, reterr);
	rc = rc < 0 ? rc
		    : et_cat_recover_log(c->raft_folder, ret->node, ret->address, &ret->log_end,
					 reterr);
	c->state = et_state_close(c->state);
	free(c);
	return rc;
}
