#include <stdio.h>
#include <unistd.h>

#include "node/io/file.h"
#include "raft/catalog/catalog_internal.h"

/* The first voter's log: one entry, the configuration with this node alone. On a loop of its own,
 * with a transport that goes nowhere. */

static int nowhere_init(struct raft_uv_transport *t, raft_id id, const char *address)
{
	(void)t;
	(void)id;
	(void)address;
	return 0;
}

static void nowhere_close(struct raft_uv_transport *t, raft_uv_transport_close_cb cb)
{
	cb(t);
}

static int nothing_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
	(void)fsm;
	(void)buf;
	*result = NULL;
	return 0;
}

struct put {
	struct raft_io_snapshot_put req;
	int status; /* 1: under way */
};

static void put_on_done(struct raft_io_snapshot_put *req, int status)
{
	ET_CONTAINER_OF(req, struct put, req)->status = status;
}

/* A snapshot that says: everything up to `index` is in the database. */
static int snapshot_store(uv_loop_t *loop, struct raft_io *io,
			  const struct raft_configuration *configuration, uint64_t node,
			  uint64_t index)
{
	uint8_t bytes[CAT_MANIFEST_SIZE];
	struct raft_buffer buf = { .base = bytes, .len = sizeof(bytes) };
	struct raft_snapshot snapshot = { .index = index,
					  .term = 1,
					  .configuration = *configuration,
					  .configuration_index = index,
					  .bufs = &buf,
					  .n_bufs = 1 };
	struct put put = { .status = 1 };

	et_cat_manifest_write(
		&(struct cat_manifest){ .index = index, .checkpoint = index, .source = node },
		bytes);
	int rv = io->snapshot_put(io, 1, &put.req, &snapshot, put_on_done);
	while (rv == 0 && put.status == 1) {
		(void)uv_run(loop, UV_RUN_ONCE);
	}
	return rv != 0 ? rv : put.status;
}

/* Write the configuration of one voter: as the first entry, or behind the log that is there. With
 * `index` the log begins behind a database that has been applied up to it. */
static int bootstrap_raft(uv_loop_t *loop, const char *folder, uint64_t node, const char *address,
			  bool recover, uint64_t index, struct et_error *reterr)
{
	struct raft_uv_transport transport = { .version = 1,
					       .init = nowhere_init,
					       .close = nowhere_close };
	struct raft_fsm fsm = { .version = 1, .apply = nothing_apply };
	struct raft_configuration configuration;
	struct raft_io io = { 0 };
	struct raft raft = { 0 };

	int rv = raft_uv_init(&io, loop, folder, &transport);
	if (rv != 0) {
		return et_fail(reterr, et_cat_code(rv), "Raft log '%s': %s", folder, io.errmsg);
	}
	rv = raft_init(&raft, &io, &fsm, node, address);
	if (rv != 0) {
		raft_uv_close(&io);
		return et_fail(reterr, et_cat_code(rv), "Raft log '%s': %s", folder,
			       raft_errmsg(&raft));
	}
	raft_configuration_init(&configuration);
	rv = raft_configuration_add(&configuration, node, address, RAFT_VOTER);
	if (rv == 0) {
		rv = recover ? raft_recover(&raft, &configuration)
			     : raft_bootstrap(&raft, &configuration);
	}
	if (rv == 0 && index > 0) {
		rv = snapshot_store(loop, &io, &configuration, node, index);
	}
	raft_configuration_close(&configuration);
	int rc = rv == 0 ? 0
			 : et_fail(reterr, et_cat_code(rv), "Raft log '%s': %s", folder,
				   raft_errmsg(&raft));
	raft_close(&raft, NULL);
	(void)uv_run(loop, UV_RUN_DEFAULT);
	raft_uv_close(&io);
	return rc;
}

static int bootstrap(const struct et_catalog_config *config, uint64_t index,
		     struct et_error *reterr)
{
	char raft_folder[CAT_PATH_SIZE];
	char current[CAT_PATH_SIZE];
	uv_loop_t loop;

	int n = snprintf(raft_folder, sizeof(raft_folder), "%s/raft", config->folder);
	int m = snprintf(current, sizeof(current), "%s/db/CURRENT", config->folder);
	if (n >= (int)sizeof(raft_folder) || m >= (int)sizeof(current)) {
		return et_fail(reterr, -ENAMETOOLONG, "'%s'", config->folder);
	}
	if (access(current, F_OK) == 0) {
		return et_fail(reterr, ET_EEXISTS, "a database in '%s'", config->folder);
	}
	int rc = et_file_mkdirs(raft_folder, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = uv_loop_init(&loop);
	if (rc < 0) {
		return et_fail(reterr, rc, "loop");
	}
	rc = bootstrap_raft(&loop, raft_folder, config->node, config->address, false, index,
			    reterr);
	int closed = uv_loop_close(&loop);
	et_assert(closed == 0);
	return rc;
}

int et_cat_recover_log(const char *folder, uint64_t node, const char *address,
		       struct et_error *reterr)
{
	uv_loop_t loop;

	int rc = et_cat_cut_repair(folder, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = uv_loop_init(&loop);
	if (rc < 0) {
		return et_fail(reterr, rc, "loop");
	}
	rc = bootstrap_raft(&loop, folder, node, address, true, 0, reterr);
	int closed = uv_loop_close(&loop);
	et_assert(closed == 0);
	return rc;
}

int et_catalog_bootstrap(const struct et_catalog_config *config, struct et_error *reterr)
{
	return bootstrap(config, 0, reterr);
}

int et_catalog_bootstrap_at(const struct et_catalog_config *config, uint64_t index,
			    struct et_error *reterr)
{
	return bootstrap(config, index, reterr);
}
